//! Single records, and lists of them.

pub(crate) mod cells;
pub(crate) mod conflicts;
pub(crate) mod deleted;
pub(crate) mod document;
pub(crate) mod events;
pub(crate) mod export;
pub(crate) mod history;
pub(crate) mod merge_document;
pub(crate) mod schema;
pub(crate) mod schema_check;
pub(crate) mod settle;
pub(crate) mod summary;
pub(crate) mod watch;

use std::collections::BTreeSet;
use std::io::{self, Read};
use std::path::Path;

use axum::http::Method;
use branchline_node::api::{
    BODY_BYTES_MAX, CountResponse, KindMismatchResponse, ListResponse, ListedRecord,
    PAGE_RECORDS_MAX,
};
use serde_json::{Map, Value};

use crate::Context;
use crate::args::{LISTED, ListArgs, RecordArgs, option};
use crate::client::{Client, collection_path, query, record_path};
use crate::error::CliError;
use crate::output;

pub(crate) async fn get(
    context: &Context,
    record: &RecordArgs,
    at: Option<&str>,
) -> Result<(), CliError> {
    let path = record_path(&record.collection, &record.id)?;
    show(context, &context.client.get(&format!("{path}{}", query(&[("at", at)]))).await?)
}

pub(crate) async fn put(
    context: &Context,
    record: &RecordArgs,
    json: &str,
) -> Result<(), CliError> {
    write(context, Method::PUT, record, json).await
}

pub(crate) async fn patch(
    context: &Context,
    record: &RecordArgs,
    json: &str,
) -> Result<(), CliError> {
    write(context, Method::PATCH, record, json).await
}

async fn write(
    context: &Context,
    method: Method,
    record: &RecordArgs,
    json: &str,
) -> Result<(), CliError> {
    let path = record_path(&record.collection, &record.id)?;
    let body = ("application/json", read_json(json)?);
    show(context, &context.client.ask(method, &path, Some(body)).await?)
}

fn show(context: &Context, fields: &Map<String, Value>) -> Result<(), CliError> {
    output::json_for_reader(fields, context.json)
}

pub(crate) async fn delete(context: &Context, record: &RecordArgs) -> Result<(), CliError> {
    let path = record_path(&record.collection, &record.id)?;
    context.client.send(Method::DELETE, &path, None).await?;
    Ok(())
}

pub(crate) async fn undelete(context: &Context, record: &RecordArgs) -> Result<(), CliError> {
    let path = format!("{}/undelete", record_path(&record.collection, &record.id)?);
    show(context, &context.client.ask(Method::POST, &path, None).await?)
}

/// JSON from the command line, from stdin (`-`) or from a file (`@FILE`); the API reads it.
fn read_json(text: &str) -> Result<Vec<u8>, CliError> {
    let bytes = match (text, text.strip_prefix('@')) {
        ("-", _) => read_bounded(io::stdin())
            .map_err(|error| CliError::failed(format!("cannot read stdin: {error}")))?,
        (_, Some(path)) => std::fs::File::open(path)
            .and_then(read_bounded)
            .map_err(|error| CliError::file("read", Path::new(path), &error))?,
        (text, None) => text.as_bytes().to_vec(),
    };
    let found = match serde_json::from_slice(&bytes) {
        Ok(Value::Object(_)) => return Ok(bytes),
        Ok(other) => format!("found {}", output::cell(&other)),
        Err(error) => error.to_string(),
    };
    Err(CliError::failed(format!("expected a JSON object: {found}"))
        .hint(r#"in a shell, put it into single quotes: '{"name": "Tea", "stock": 5}'"#))
}

fn read_bounded(input: impl Read) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    // One byte more than is allowed tells what is too large from what just fits.
    input.take(BODY_BYTES_MAX as u64 + 1).read_to_end(&mut bytes)?;
    if bytes.len() > BODY_BYTES_MAX {
        let message = format!("it has more than {BODY_BYTES_MAX} bytes");
        return Err(io::Error::new(io::ErrorKind::InvalidData, message));
    }
    Ok(bytes)
}

pub(crate) async fn count(context: &Context, collection: &str) -> Result<(), CliError> {
    let path = collection_path("collections", collection, "/count")?;
    let answer: CountResponse = context.client.get(&path).await?;
    if context.json { output::json(&answer) } else { output::line(answer.count) }
}

/// One page of a collection.
pub(crate) async fn page(
    client: &Client,
    collection: &str,
    asked: &[(&str, Option<&str>)],
    limit: usize,
) -> Result<ListResponse, CliError> {
    let limit = limit.clamp(1, PAGE_RECORDS_MAX).to_string();
    let asked = [&[("limit", Some(limit.as_str()))], asked].concat();
    let path = collection_path("records", collection, &query(&asked))?;
    client.get(&path).await.map_err(|error: CliError| error.pointing(&asked))
}

pub(crate) async fn list(context: &Context, args: ListArgs) -> Result<(), CliError> {
    if args.deleted {
        return deleted::list(context, args).await;
    }
    let ListArgs { collection, filter, order, limit, mut after, .. } = args;
    let (filter, order) = (filter.as_deref(), order.as_deref());
    let mut left = limit.get();
    let mut shown = Vec::new();
    // On every page: one that some record has is known.
    let mut unknown: Option<Vec<String>> = None;
    let mut unlike: Vec<KindMismatchResponse> = Vec::new();
    while left > 0 {
        let asked = [("where", filter), ("order", order), ("after", after.as_deref())];
        let answer = page(&context.client, &collection, &asked, left).await?;
        left = left.saturating_sub(answer.records.len());
        if answer.scanned > 0 {
            match &mut unknown {
                Some(unknown) => unknown.retain(|field| answer.unknown_fields.contains(field)),
                None => unknown = Some(answer.unknown_fields),
            }
        }
        for found in answer.mismatched_fields {
            let is_same = |known: &&mut KindMismatchResponse| {
                (&known.field, &known.kind, &known.compared_with)
                    == (&found.field, &found.kind, &found.compared_with)
            };
            match unlike.iter_mut().find(is_same) {
                Some(known) => known.records += found.records,
                None => unlike.push(found),
            }
        }
        after = answer.next;
        if context.json {
            answer.records.iter().try_for_each(output::json)?
        } else {
            shown.extend(answer.records)
        }
        if after.is_none() {
            break;
        }
    }
    if !context.json {
        show_page(&collection, filter, &shown)?;
    }
    output::unknown_fields(&unknown.unwrap_or_default());
    output::mismatched_fields(&collection, &unlike);
    if let Some(after) = after.filter(|_| !context.json) {
        let said = [("where", filter), ("order", order), ("after", Some(after.as_str()))];
        let said = said.into_iter().filter_map(|(name, value)| Some(option(name, value?)));
        let limit = (limit != LISTED).then(|| option("limit", &limit.to_string()));
        let said: String = said.chain(limit).collect();
        output::note(format_args!("\nmore: `branchline{} list {collection}{said}`", context.said));
    }
    Ok(())
}

fn show_page(
    collection: &str,
    filter: Option<&str>,
    records: &[ListedRecord],
) -> Result<(), CliError> {
    if records.is_empty() {
        let such = if filter.is_some() { "such " } else { "" };
        output::note(format_args!("no {such}records in {collection}"));
        return Ok(());
    }
    let names: BTreeSet<_> = records.iter().flat_map(|record| record.fields.keys()).collect();
    let header = std::iter::once("ID".to_owned())
        .chain(names.iter().map(|name| output::cell(&Value::from(name.as_str()))));
    let row = |record: &ListedRecord| {
        let cell = |name: &&String| record.fields.get(*name).map(output::cell).unwrap_or_default();
        let id = output::cell(&Value::from(record.id.as_str()));
        std::iter::once(id).chain(names.iter().map(cell)).collect()
    };
    output::wide_table(header.collect(), records.iter().map(row).collect())
}
