//! `bundle` and `merge`: entries carried by hand.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use axum::body::Body;
use axum::http::Method;
use branchline_crdt::bundle::{BundleReader, Contents, Piece};
use branchline_node::api::{BundleRequest, FrontierResponse, MergeResponse};
use branchline_node::bundle::MergeCounts;
use branchline_node::storage::folder::FORMAT_FILE;
use futures::StreamExt as _;
use serde_json::json;

use super::merge_file;
use crate::Context;
use crate::args::BundleArgs;
use crate::client::Client;
use crate::error::CliError;
use crate::out_file::{OutFile, Readers};
use crate::output::{self, counted, counted_entries};

/// Longest frontier file that is read: that of some 10,000 logs.
const FRONTIER_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// Writes a bundle.
pub(crate) async fn bundle(context: &Context, args: BundleArgs) -> Result<(), CliError> {
    let BundleArgs { out, since, for_site, force } = args;
    let file = OutFile::create(&out, Readers::Owner, force)?;
    let is_stdout = file.is_stdout();
    let since = since.as_deref().map(read_frontier).transpose()?;
    let body = request(&BundleRequest { since, for_site })?;
    let answer = context.client.stream(Method::POST, "/v1/bundle", body).await?;
    let (contents, bytes) = write_whole(file, answer).await?;
    let Contents { entries, skipped, receipts } = contents;
    if context.json {
        let file = out.display().to_string();
        let answer = json!({ "file": file, "entries": entries, "entries_left_out": skipped, "receipts": receipts, "bytes": bytes });
        return output::result(is_stdout, &answer);
    }
    let entries = counted_entries(entries);
    output::result(is_stdout, format_args!("{entries} in {}, {bytes} bytes", out.display()))?;
    if skipped > 0 {
        output::note(format_args!(
            "{} left out: damaged here (`branchline status --why`)",
            counted_entries(skipped)
        ));
    }
    Ok(())
}

fn read_frontier(path: &Path) -> Result<FrontierResponse, CliError> {
    let mut text = String::new();
    let read =
        File::open(path).and_then(|file| file.take(FRONTIER_BYTES_MAX).read_to_string(&mut text));
    read.map_err(|error| CliError::file("read", path, &error))?;
    serde_json::from_str(&text).map_err(|error| {
        CliError::failed(format!("{} is not a frontier: {error}", path.display()))
            .hint("`branchline frontier > FILE` at the receiving site writes one")
    })
}

fn request(request: &BundleRequest) -> Result<(&'static str, Body), CliError> {
    let bytes = serde_json::to_vec(request).map_err(std::io::Error::from)?;
    Ok(("application/json", Body::from(bytes)))
}

/// Writes an answer to a file, and reads each piece of it: what is damaged on the way is noticed here.
async fn write_whole(mut file: OutFile, answer: Body) -> Result<(Contents, u64), CliError> {
    let wrong = |error: &dyn std::error::Error| {
        CliError::failed(format!("the bundle was not written to its end: {error}"))
    };
    let mut answer = answer.into_data_stream();
    let mut reader = BundleReader::default();
    let (mut contents, mut bytes) = (Contents::default(), 0);
    while let Some(some) = answer.next().await {
        let some = some.map_err(|error| wrong(&error))?;
        file.write(&some)?;
        bytes += some.len() as u64;
        reader.push(&some);
        while let Some(piece) = reader.next_piece().map_err(|error| wrong(&error))? {
            if let Piece::End(end) = piece {
                contents = end;
            }
        }
    }
    reader.finish().map_err(|error| wrong(&error))?;
    file.finish()?;
    Ok((contents, bytes))
}

/// Takes in a bundle, or what another site's folder holds.
pub(crate) async fn merge(context: &Context, path: &Path) -> Result<(), CliError> {
    let answer = if path.is_dir() {
        merge_folder(context, path).await?
    } else {
        upload(context, merge_file::body(path)?).await?
    };
    if context.json {
        output::json(&answer)?;
    } else {
        show(&answer)?;
    }
    let MergeCounts { entries_waiting, entries_refused, refusal, entries_without_room, .. } =
        answer.counts;
    if entries_refused > 0 {
        let (entries, reason) = (counted_entries(entries_refused), refusal.unwrap_or_default());
        return Err(CliError::failed(format!("{entries} refused, the first: {reason}")));
    }
    if entries_without_room > 0 {
        let entries = counted_entries(entries_without_room);
        let message = format!(
            "{entries} were left out: the disk here has too little room for what other sites wrote"
        );
        return Err(CliError::failed(message)
            .hint("free some disk space (`branchline status` says how much), and merge it again"));
    }
    if entries_waiting > 0 {
        let entries = counted_entries(entries_waiting);
        return Err(CliError::failed(format!("{entries} build on others that are not here"))
            .hint("make the bundle from this site's frontier: `branchline frontier > FILE` here, `branchline bundle OUT --since FILE` there"));
    }
    Ok(())
}

async fn merge_folder(context: &Context, path: &Path) -> Result<MergeResponse, CliError> {
    if path.join(FORMAT_FILE).try_exists().is_ok_and(|is_there| !is_there) {
        let message = format!("{} is a folder, but no site's data folder", path.display());
        return Err(CliError::failed(message)
            .hint("name the bundle itself, a file, or the data folder of the other site"));
    }
    let other = Client::connect(path).await?;
    // A site without a network has no frontier, and says so when it merges.
    let since = context.client.get::<FrontierResponse>("/v1/frontier").await.ok();
    let body = request(&BundleRequest { since, for_site: None })?;
    let answer = match other.stream(Method::POST, "/v1/bundle", body).await {
        Ok(bundle) => upload(context, bundle).await,
        Err(error) => Err(error),
    };
    other.close().await;
    answer
}

async fn upload(context: &Context, body: Body) -> Result<MergeResponse, CliError> {
    let body = ("application/octet-stream", body);
    let answer = context.client.stream(Method::POST, "/v1/merge", body).await?;
    Client::read_json(answer).await
}

fn show(answer: &MergeResponse) -> Result<(), CliError> {
    let MergeResponse { maker_name, time, counts, .. } = answer;
    let MergeCounts { entries_new, entries_known, .. } = counts;
    let (maker, time) = (output::visible(maker_name), time.clone().unwrap_or_default());
    output::line(format_args!("bundle of {maker}, made {time}"))?;
    let mut rows = vec![
        ["entries", &format!("{entries_new} new, {entries_known} known")].map(str::to_owned),
        ["records", &format!("{} changed", counts.records_changed)].map(str::to_owned),
    ];
    if counts.conflicts_new > 0 {
        let conflicts = counted(counts.conflicts_new, "record");
        rows.push(
            ["conflicts", &format!("{conflicts} more: `branchline conflicts`")].map(str::to_owned),
        );
    }
    if counts.entries_left_out > 0 {
        let skipped = counted_entries(counts.entries_left_out);
        rows.push(["left out", &format!("{skipped}, damaged at {maker}")].map(str::to_owned));
    }
    output::rows(rows)
}
