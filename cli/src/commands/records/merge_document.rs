//! `merge-document`: what another program edited of a record.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use axum::http::Method;
use branchline_crdt::record::DOCUMENT_BYTES_MAX;
use branchline_node::api::{AUTOMERGE, DocumentResponse};

use crate::Context;
use crate::args::MergeDocumentArgs;
use crate::client::{query, record_path};
use crate::error::CliError;
use crate::output::{self, counted};

/// Takes a document in.
pub(crate) async fn run(context: &Context, args: MergeDocumentArgs) -> Result<(), CliError> {
    let MergeDocumentArgs { record, file, new } = args;
    let bytes = read(&file)?;
    let path = record_path(&record.collection, &record.id)?;
    let path = format!("{path}/document{}", query(&[("new", new.then_some("true"))]));
    let body = Some((AUTOMERGE, bytes));
    let answer: DocumentResponse = context.client.ask(Method::POST, &path, body).await?;
    if context.json {
        return output::json(&answer);
    }
    let edits = counted(answer.taken as u64, "edit");
    let known = counted(answer.known as u64, "change");
    output::line(format_args!("{edits} taken in, {known} known; version {}", answer.version))
}

/// The whole document, from a file or from standard input.
fn read(file: &Path) -> Result<Vec<u8>, CliError> {
    if file == Path::new("-") {
        return bounded(io::stdin())
            .map_err(|error| CliError::failed(format!("cannot read stdin: {error}")));
    }
    File::open(file).and_then(bounded).map_err(|error| CliError::file("read", file, &error))
}

fn bounded(input: impl Read) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    // One byte more than is taken in tells what is too large from what just fits.
    input.take(DOCUMENT_BYTES_MAX as u64 + 1).read_to_end(&mut bytes)?;
    if bytes.len() > DOCUMENT_BYTES_MAX {
        let message = format!("it has more than {DOCUMENT_BYTES_MAX} bytes");
        return Err(io::Error::new(io::ErrorKind::InvalidData, message));
    }
    Ok(bytes)
}
