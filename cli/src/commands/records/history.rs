//! `history`, `diff` and `receipts`: what became of a record, and who holds it.

use branchline_node::api::{
    DiffResponse, FieldDiffResponse, HistoryChangeResponse, HistoryResponse, PAGE_RECORDS_MAX,
    RecordReceiptsResponse,
};
use serde_json::Value;

use crate::Context;
use crate::args::RecordArgs;
use crate::client::{query, record_path};
use crate::error::CliError;
use crate::output::{self, cell};

/// Characters of a change's hash that are shown: enough to name one of thousands.
const HASH_CHARS: usize = 10;

/// Shows a record's changes.
pub(crate) async fn history(
    context: &Context,
    record: &RecordArgs,
    limit: usize,
) -> Result<(), CliError> {
    let limit = limit.clamp(1, PAGE_RECORDS_MAX).to_string();
    let query = query(&[("limit", Some(&limit))]);
    let path = format!("{}/history{query}", record_path(&record.collection, &record.id)?);
    let answer: HistoryResponse = context.client.get(&path).await?;
    if context.json {
        return answer.changes.iter().try_for_each(output::json);
    }
    let rows = answer.changes.iter().flat_map(change_rows).collect();
    output::table(["WHEN", "SITE", "ENTRY", "CHANGE", "FIELD", "BEFORE", "AFTER"], rows)?;
    let shown = answer.changes.len() as u64;
    if shown < answer.change_count {
        let count = output::counted(answer.change_count, "change");
        output::note(format_args!("\nthe last {shown} of {count}; --limit shows more"));
    }
    Ok(())
}

/// A row for each field of a change; the first tells of the change as well.
fn change_rows(change: &HistoryChangeResponse) -> Vec<[String; 7]> {
    let mut head = [
        change.time.clone().unwrap_or_default(),
        cell(&Value::from(change.site_name.as_str())),
        change.entry.clone(),
        short(&change.change, HASH_CHARS),
    ];
    let shown = change.fields.iter().map(field_row);
    let hidden = change.other_values.iter().map(|hidden| {
        let field = cell(&Value::from(hidden.field.as_str()));
        [field, String::new(), format!("{} (kept, not shown)", cell(&hidden.value))]
    });
    let mut fields: Vec<_> = shown.chain(hidden).collect();
    if fields.is_empty() {
        fields.push(["".to_owned(), String::new(), "nothing that shows".to_owned()]);
    }
    let row = |[field, before, after]: [String; 3]| {
        let [time, site, entry, hash] = std::mem::take(&mut head);
        [time, site, entry, hash, field, before, after]
    };
    fields.into_iter().map(row).collect()
}

fn field_row(field: &FieldDiffResponse) -> [String; 3] {
    let value = |value: &Option<Value>| match value {
        None => "-".to_owned(),
        Some(Value::Null) => "null".to_owned(),
        Some(value) => cell(value),
    };
    [cell(&Value::from(field.field.as_str())), value(&field.before), value(&field.after)]
}

fn short(hex: &str, chars: usize) -> String {
    hex.chars().take(chars).collect()
}

/// Shows what is different between two states of a record.
pub(crate) async fn diff(
    context: &Context,
    record: &RecordArgs,
    from: Option<String>,
    to: Option<String>,
) -> Result<(), CliError> {
    let query = query(&[("from", from.as_deref()), ("to", to.as_deref())]);
    let path = format!("{}/diff{query}", record_path(&record.collection, &record.id)?);
    let answer: DiffResponse = context.client.get(&path).await?;
    if context.json {
        return output::json(&answer);
    }
    if answer.fields.is_empty() {
        output::note("no difference");
        return Ok(());
    }
    output::table(["FIELD", "BEFORE", "AFTER"], answer.fields.iter().map(field_row).collect())
}

/// Shows who holds a record.
pub(crate) async fn receipts(context: &Context, record: &RecordArgs) -> Result<(), CliError> {
    let path = format!("{}/receipts", record_path(&record.collection, &record.id)?);
    let answer: RecordReceiptsResponse = context.client.get(&path).await?;
    if context.json {
        return output::json(&answer);
    }
    let row = |site: branchline_node::api::HolderResponse| {
        let holds = match site.holds {
            Some(true) => "yes",
            Some(false) | None => "not confirmed",
        };
        let heard = site.last_heard.unwrap_or_default();
        [cell(&Value::from(site.site_name)), holds.to_owned(), heard]
    };
    output::table(["SITE", "HOLDS IT", "LAST HEARD"], answer.sites.into_iter().map(row).collect())
}
