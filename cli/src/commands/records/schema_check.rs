//! `schema check`: records that do not fit the schema of their collection.

use std::collections::BTreeMap;

use branchline_node::api::{
    MisfitFieldResponse, MisfitResponse, PAGE_RECORDS_MAX, SchemaCheckResponse,
};
use serde_json::json;

use super::schema;
use crate::Context;
use crate::client::{Client, collection_path, query};
use crate::error::CliError;
use crate::output::{self, counted};

/// What was found in one collection.
#[derive(Default)]
struct CheckFound {
    scanned: usize,
    misfits: u64,
    /// In how many records, by field, what was found there and what is declared.
    kinds: BTreeMap<(String, String, String), u64>,
    /// The first of the records.
    listed: Vec<MisfitResponse>,
}

/// Counts and lists the records that do not fit.
pub(crate) async fn check(
    context: &Context,
    collection: Option<String>,
    limit: usize,
) -> Result<(), CliError> {
    let collections = match collection {
        Some(collection) => vec![collection],
        None => schema::all(&context.client).await?.into_iter().map(|(name, _)| name).collect(),
    };
    if collections.is_empty() {
        output::note("no collection has a schema");
    }
    for (number, collection) in collections.iter().enumerate() {
        let found = find(&context.client, collection, limit).await?;
        if context.json {
            for MisfitResponse { id, fields } in &found.listed {
                output::json(&json!({ "collection": collection, "id": id, "fields": fields }))?;
            }
            let CheckFound { scanned, misfits, .. } = found;
            output::note(format_args!("{collection}: {misfits} of {scanned} do not fit"));
            continue;
        }
        if number > 0 {
            output::line("")?;
        }
        show(collection, found)?;
    }
    Ok(())
}

/// Says how many records of a collection do not fit its schema, if any.
pub(crate) async fn note(context: &Context, collection: &str) -> Result<(), CliError> {
    let CheckFound { misfits, .. } = find(&context.client, collection, 0).await?;
    if misfits > 0 {
        let records = counted(misfits, "record");
        let said = &context.said;
        output::note(format_args!(
            "{records} of {collection} do not fit it: `branchline{said} schema check {collection}` lists them"
        ));
    }
    Ok(())
}

async fn find(client: &Client, collection: &str, limit: usize) -> Result<CheckFound, CliError> {
    let mut found = CheckFound::default();
    let mut after: Option<String> = None;
    let most = PAGE_RECORDS_MAX.to_string();
    loop {
        let query = query(&[("limit", Some(&most)), ("after", after.as_deref())]);
        let path = collection_path("schemas", collection, &format!("/check{query}"))?;
        let page: SchemaCheckResponse = client.get(&path).await?;
        found.scanned += page.scanned;
        found.misfits += page.records.len() as u64;
        for misfit in page.records {
            for MisfitFieldResponse { field, declared, found: is, .. } in &misfit.fields {
                let kind = (field.clone(), is.clone(), declared.clone());
                *found.kinds.entry(kind).or_insert(0) += 1;
            }
            if found.listed.len() < limit {
                found.listed.push(misfit);
            }
        }
        match page.next {
            Some(next) => after = Some(next),
            None => return Ok(found),
        }
    }
}

fn show(collection: &str, found: CheckFound) -> Result<(), CliError> {
    let CheckFound { scanned, misfits, kinds, listed } = found;
    let records = counted(scanned as u64, "record");
    if misfits == 0 {
        return output::line(format_args!("{collection}: all of {records} fit the schema"));
    }
    output::line(format_args!("{collection}: {misfits} of {records} do not fit the schema"))?;
    let rows = kinds.into_iter().map(|((field, is, declared), count)| {
        [format!("  {}", output::visible(&field)), is, declared, count.to_string()]
    });
    output::table(["  FIELD", "FOUND", "DECLARED", "RECORDS"], rows.collect())?;
    if listed.is_empty() {
        return Ok(());
    }
    output::line("")?;
    let more = misfits - listed.len() as u64;
    let text = |text: &str| output::cell(&text.into());
    let rows = listed.iter().flat_map(|MisfitResponse { id, fields }| {
        fields.iter().map(|MisfitFieldResponse { field, declared, found, value }| {
            let value = text(value.as_deref().unwrap_or_default());
            [format!("  {}", text(id)), text(field), format!("{found} {value}"), declared.clone()]
        })
    });
    output::table(["  ID", "FIELD", "FOUND", "DECLARED"], rows.collect())?;
    if more > 0 {
        output::note(format_args!("  and {}; --limit lists more", counted(more, "more record")));
    }
    output::note(
        "a field fits once it is written again: `branchline patch`, or import the file again",
    );
    Ok(())
}
