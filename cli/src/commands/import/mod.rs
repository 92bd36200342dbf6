//! `import`: records from a CSV or JSON input. Importing the same again changes nothing.
//!
//! A file for each step: [`input`] opens a file or copies a pipe, [`encoding`] and [`lines`] make text of it, [`reading`]
//! and [`dialect`] recognise what it is, [`csv`] and [`json`] read its rows, [`survey`] finds the kinds of its fields with
//! [`columns`], [`source`] makes records of its rows, [`batches`] sends them, and [`rejected`] keeps what is none.

mod batches;
mod booleans;
mod cells;
mod columns;
mod csv;
mod dialect;
mod encoding;
mod ids;
mod infer;
mod input;
mod json;
mod lines;
mod numbers;
mod reading;
mod rejected;
mod rows;
mod source;
mod survey;
#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;

use std::path::Path;

use axum::http::Method;
use branchline_crdt::record::Kind;
use branchline_node::api::{Code, ErrorDetail, ImportAnswer};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Map, Value, json};

use super::schema;
use crate::Context;
use crate::args::ImportArgs;
use crate::client::{Client, collection_path};
use crate::error::CliError;
use crate::output::{self, counted};
use batches::{Batch, Batches};
use infer::{Kinds, kinds_of_schema};
use input::Input;
pub(crate) use reading::ReadArgs;
use rejected::{Kept, Rejected};
use source::Source;
use survey::Survey;

/// Imports a file or a pipe.
pub(crate) async fn run(context: &Context, args: ImportArgs) -> Result<(), CliError> {
    let ImportArgs { collection, file, id, read, types, undelete, write_schema } = args;
    let client = &context.client;
    let (input, survey) = open(&file, &read, &id)?;
    let declared = schema_of(client, &collection).await?;
    tell_reading(&survey);
    let kinds = kinds(&survey, types, declared.as_ref(), write_schema)?;
    match (write_schema, declared) {
        (true, None) => {
            let schema = kinds.iter().map(|(name, kind)| (name.clone(), kind.as_str().into()));
            schema::write(client, &collection, &schema.collect()).await?;
            let fields = counted(kinds.len() as u64, "field");
            output::note(format_args!("the schema of {collection} has {fields} now"));
        }
        (true, Some(_)) => {
            output::note(format_args!("{collection} has a schema already, which stays as it is"));
        }
        (false, _) => {}
    }
    let source = Source::open(&input, &survey, &kinds)?;
    let query = if undelete { "?undelete=true" } else { "" };
    let import = Import {
        client,
        path: collection_path("import", &collection, query)?,
        rejected: Rejected::new(&input, &survey, &collection),
        done: ImportAnswer::default(),
        bar: progress_bar(input.bytes()),
    };
    let import = import.all(Batches::new(source)).await?;
    import.finish(context.json, &survey)
}

/// Opens an input and reads it once.
fn open(path: &Path, args: &ReadArgs, id: &str) -> Result<(Input, Survey), CliError> {
    let mut input = Input::open(path)?;
    let reading = reading::Reading::of(&mut input, args, id)?;
    let survey = Survey::of(&input, reading, id)?;
    Ok((input, survey))
}

/// Says how the input is read where that is not the plainest way, and what of it is in doubt.
fn tell_reading(survey: &Survey) {
    let decimal_comma = survey.has_decimal_comma();
    if decimal_comma || !survey.reading.is_plain() {
        output::note(format_args!("read as {}", survey.reading.text(decimal_comma)));
    }
    for (name, example) in survey.ambiguous() {
        output::note(format_args!(
            "{}: {example} may mean two numbers, so the column is read as text; --decimal . or --decimal , says what stands \
             before the fraction",
            output::visible(name)
        ));
    }
}

/// Reads a file as `import` does, without a site to import into: each row as an id and fields, or why it is none.
/// `None` where the file as a whole cannot be imported. For programs that check files, and for tests.
pub fn read_import(path: &Path, id: &str) -> Option<Vec<ReadRow>> {
    let (input, survey) = open(path, &ReadArgs::default(), id).ok()?;
    let mut source = Source::open(&input, &survey, &survey.kinds).ok()?;
    let mut rows = Vec::new();
    while let Some(row) = source.next().ok()? {
        rows.push(row.record);
    }
    Some(rows)
}

/// A row's id and fields, or why it is no record.
pub type ReadRow = Result<(String, Map<String, Value>), String>;

async fn schema_of(
    client: &Client,
    collection: &str,
) -> Result<Option<Map<String, Value>>, CliError> {
    match client.get(&collection_path("schemas", collection, "")?).await {
        Ok(schema) => Ok(Some(schema)),
        Err(error) if error.is(Code::SchemaNotFound) => Ok(None),
        Err(error) => Err(error),
    }
}

/// The kind of each field: by the schema, else by `--types`, else by its values.
fn kinds(
    survey: &Survey,
    types: Vec<(String, Kind)>,
    schema: Option<&Map<String, Value>>,
    write_schema: bool,
) -> Result<Kinds, CliError> {
    let declared = schema.map(kinds_of_schema).unwrap_or_default();
    let mut kinds = survey.kinds.clone();
    for (name, kind) in types {
        if !survey.fields.contains(&name) {
            let fields = survey.fields.iter().map(String::as_str).collect::<Vec<_>>().join(", ");
            return Err(CliError::usage(format!(
                "--types names {name:?}, which the file does not have"
            ))
            .hint(format!("it has {fields}")));
        }
        // Without a schema these would become plain strings and integers.
        let needs_schema =
            matches!(kind, Kind::Counter | Kind::Text | Kind::Timestamp | Kind::Bytes);
        let will_be_declared = write_schema && schema.is_none();
        if needs_schema && !will_be_declared && !declared.contains_key(&name) {
            return Err(CliError::usage(format!("only a schema can make {name} a {kind}")).hint(
                match schema {
                    None => {
                        "add --write-schema, or write a schema with `branchline schema apply FILE`"
                    }
                    Some(_) => "add the field to the schema with `branchline schema apply FILE`",
                },
            ));
        }
        kinds.insert(name, kind);
    }
    kinds.extend(declared.into_iter().filter(|(name, _)| survey.fields.contains(name)));
    Ok(kinds)
}

fn progress_bar(bytes: u64) -> ProgressBar {
    // Shown only where stderr is a terminal.
    let style =
        ProgressStyle::with_template("{bar:30} {bytes}/{total_bytes} {bytes_per_sec} {eta}");
    ProgressBar::new(bytes).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}

/// An import under way.
struct Import<'a> {
    client: &'a Client,
    path: String,
    rejected: Rejected<'a>,
    done: ImportAnswer,
    bar: ProgressBar,
}

impl Import<'_> {
    async fn all(mut self, mut batches: Batches<'_>) -> Result<Self, CliError> {
        let mut batch = batches.next()?;
        while let Some(sent) = batch {
            // The next rows are read while the node writes these.
            let (took, next) = tokio::join!(biased; self.send(sent), async { batches.next() });
            took?;
            batch = next?;
        }
        Ok(self)
    }

    async fn send(&mut self, batch: Batch) -> Result<(), CliError> {
        let Batch { body, rows, mut rejected, doubts, end } = batch;
        if !rows.is_empty() {
            let body = Some(("application/x-ndjson", body));
            let answer = self.client.ask(Method::POST, &self.path, body).await;
            let answer: ImportAnswer = answer.inspect_err(|_| {
                self.bar.finish_and_clear();
                let done = self.done.created_or_changed + self.done.unchanged;
                if done > 0 {
                    let rows = counted(done, "row");
                    output::note(format_args!(
                        "{rows} were imported before it failed; importing the file again is safe"
                    ));
                }
            })?;
            self.done.created_or_changed += answer.created_or_changed;
            self.done.unchanged += answer.unchanged;
            for refused in answer.rejected {
                let index = usize::try_from(refused.line - 1).unwrap_or(usize::MAX);
                if let Some(row) = rows.get(index) {
                    rejected.push((row.clone(), reason(refused.error)));
                }
            }
        }
        rejected.sort_by_key(|(row, _)| row.line);
        let bar = self.bar.clone();
        bar.suspend(|| doubts.iter().for_each(|(line, doubt)| self.rejected.doubt(*line, doubt)));
        bar.suspend(|| rejected.iter().try_for_each(|(row, error)| self.rejected.add(row, error)))?;
        bar.set_position(end);
        Ok(())
    }

    fn finish(self, as_json: bool, survey: &Survey) -> Result<(), CliError> {
        self.bar.finish_and_clear();
        let ImportAnswer { created_or_changed, unchanged, .. } = self.done;
        let (rejected, doubtful) = (self.rejected.count(), self.rejected.doubts());
        if created_or_changed + unchanged + rejected == 0 {
            output::note("the input has no rows");
        }
        let kept = self.rejected.finish()?;
        let shown = |path: &Path| path.display().to_string();
        if as_json {
            output::json(&json!({
                "created_or_changed": created_or_changed,
                "unchanged": unchanged,
                "rejected": rejected,
                "doubtful": doubtful,
                "rejected_file": kept.as_ref().map(|kept| shown(&kept.rows)),
                "reasons_file": kept.as_ref().map(|kept| shown(&kept.reasons)),
                "read_as": survey.json(),
            }))?;
        } else {
            output::line(format_args!(
                "{created_or_changed} new or changed, {unchanged} unchanged, {rejected} rejected"
            ))?;
        }
        match kept {
            None => Ok(()),
            Some(Kept { rows, reasons }) => {
                let count = counted(rejected, "row");
                output::note(format_args!(
                    "{count} set aside in {}, with what is wrong in {}; the same command imports that file once it is mended",
                    rows.display(),
                    reasons.display()
                ));
                Err(CliError::told())
            }
        }
    }
}

/// What is wrong with a row that the node refused. Of an import only deleted records are not found.
fn reason(error: ErrorDetail) -> String {
    if error.code == Code::RecordNotFound.as_str() {
        return format!(
            "{}; --undelete brings it back, with the fields of this row and no others",
            error.message
        );
    }
    error.message
}
