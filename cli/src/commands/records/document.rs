//! `get`, and Automerge documents on their way out.

use std::path::Path;

use axum::http::{HeaderMap, header};
use branchline_node::api::{AUTOMERGE, DocumentsResponse};
use branchline_node::records::DocumentsReport;
use futures::StreamExt as _;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;

use crate::Context;
use crate::args::{GetArgs, RecordArgs};
use crate::client::{query, record_path};
use crate::commands::records;
use crate::error::CliError;
use crate::out_file::{OutFile, Readers};
use crate::output::{self, counted};

/// Shows a record, or writes its Automerge document to a file.
pub(crate) async fn get(context: &Context, args: GetArgs) -> Result<(), CliError> {
    let GetArgs { record, at, automerge, force } = args;
    match automerge {
        None => records::get(context, &record, at.as_deref()).await,
        Some(out) => write(context, &record, at.as_deref(), &out, force).await,
    }
}

async fn write(
    context: &Context,
    record: &RecordArgs,
    at: Option<&str>,
    out: &Path,
    force: bool,
) -> Result<(), CliError> {
    let path = format!("{}{}", record_path(&record.collection, &record.id)?, query(&[("at", at)]));
    let mut file = OutFile::create(out, Readers::Umask, force)?;
    let is_stdout = file.is_stdout();
    let (headers, body) = context.client.fetch(&path, AUTOMERGE).await?;
    let (mut body, mut bytes) = (body.into_data_stream(), 0);
    while let Some(some) = body.next().await {
        let some = some.map_err(|error| {
            CliError::failed(format!("the document did not come to its end: {error}"))
        })?;
        file.write(&some)?;
        bytes += some.len() as u64;
    }
    file.finish()?;
    let (version, name) = (version_of(&headers), out.display());
    if context.json {
        let answer = json!({ "file": name.to_string(), "version": version, "bytes": bytes });
        return output::result(is_stdout, answer);
    }
    let RecordArgs { collection, id } = record;
    output::result(is_stdout, format_args!("{collection}/{id} in {name}, {bytes} bytes"))?;
    output::note(format_args!("its version is {version}"));
    Ok(())
}

/// The version that an answer names.
fn version_of(headers: &HeaderMap) -> String {
    let tag = headers.get(header::ETAG).and_then(|tag| tag.to_str().ok());
    tag.unwrap_or_default().trim_matches('"').to_owned()
}

/// Has Automerge read all records, part by part, and shows how far it is.
pub(crate) async fn verify(context: &Context) -> Result<DocumentsReport, CliError> {
    // Shown only where stderr is a terminal.
    let style = ProgressStyle::with_template("{bar:30} {pos}/{len} records {eta}");
    let bar = ProgressBar::new(0);
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    let (mut found, mut after) = (DocumentsReport::default(), None);
    loop {
        let path = format!("/v1/verify/documents{}", query(&[("after", after.as_deref())]));
        let part = context.client.ask_patiently(&path).await;
        let part: DocumentsResponse = part.inspect_err(|_| bar.finish_and_clear())?;
        let DocumentsResponse { records, fault_count, faults, skipped_count, skipped, .. } = part;
        found.add(DocumentsReport { records, fault_count, faults, skipped_count, skipped });
        bar.set_length(part.records_total);
        bar.set_position(found.records + found.skipped_count);
        after = part.next;
        if after.is_none() {
            bar.finish_and_clear();
            return Ok(found);
        }
    }
}

/// Says which records could not be compared.
pub(crate) fn tell_left_out(found: &DocumentsReport) {
    if found.skipped_count == 0 {
        return;
    }
    let records = counted(found.skipped_count, "record");
    output::note(format_args!("{records} not compared with Automerge:"));
    found.skipped.iter().for_each(|reason| output::note(format_args!("  {reason}")));
    let unnamed = found.skipped_count.saturating_sub(found.skipped.len() as u64);
    if unnamed > 0 {
        output::note(format_args!("  and {} more", counted(unnamed, "record")));
    }
}
