//! `import`: records from a CSV or JSON lines file. Importing the same file again changes nothing.

mod infer;
mod rejected;
mod rows;
mod source;

use std::collections::HashMap;
use std::path::Path;

use axum::http::Method;
use branchline_crdt::record::Kind;
use branchline_node::api::{Code, ImportAnswer, ImportLine};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Map, Value, json};

use super::schema;
use crate::Context;
use crate::args::{FileFormat, ImportArgs};
use crate::client::{Client, collection_path};
use crate::error::CliError;
use crate::output::{self, counted};
use infer::{Kinds, kinds_of_schema};
use rejected::Rejected;
use rows::RawRow;
use source::{Row, Source, Survey, survey};

/// Rows sent at a time.
const BATCH_ROWS: usize = 1000;
/// A batch is sent when it passes this many bytes, so that it stays below what the API takes.
const BATCH_BYTES: usize = 2 * 1024 * 1024;
/// Largest row that is sent, in bytes of JSON: with a full batch it is still below what the API takes.
const ROW_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Imports a file.
pub(crate) async fn run(context: &Context, args: ImportArgs) -> Result<(), CliError> {
    let ImportArgs { collection, file, id, format, types, write_schema } = args;
    let client = &context.client;
    let format = format.unwrap_or_else(|| FileFormat::of(&file));
    let declared = schema_of(client, &collection).await?;
    let survey = survey(&file, format, &id)?;
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
    let source = Source::open(&file, format, &id, &survey.header, &kinds)?;
    let import = Import {
        client,
        path: collection_path("import", &collection, "")?,
        rejected: Rejected::new(&file, format, &survey.raw_header),
        done: ImportAnswer::default(),
        bar: progress_bar(&file),
    };
    let import = import.all(Batches { source, lines: HashMap::new() }).await?;
    import.finish(context.json)
}

/// Reads a file as `import` does, without a site to import into: each row as an id and fields, or why it is none.
/// `None` where the file as a whole cannot be imported. For programs that check files, and for tests.
pub fn read_import(path: &Path, id: &str) -> Option<Vec<ReadRow>> {
    let format = FileFormat::of(path);
    let survey = survey(path, format, id).ok()?;
    let mut source = Source::open(path, format, id, &survey.header, &survey.kinds).ok()?;
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

fn progress_bar(file: &Path) -> ProgressBar {
    // Shown only where stderr is a terminal.
    let bytes = std::fs::metadata(file).map(|meta| meta.len()).unwrap_or_default();
    let style =
        ProgressStyle::with_template("{bar:30} {bytes}/{total_bytes} {bytes_per_sec} {eta}");
    ProgressBar::new(bytes).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}

/// Rows that are sent together.
#[derive(Default)]
struct Batch {
    body: Vec<u8>,
    rows: Vec<RawRow>,
    rejected: Vec<(RawRow, String)>,
    /// Bytes of the file up to the last of them.
    end: u64,
}

/// A file's rows, some at a time.
struct Batches<'a> {
    source: Source<'a>,
    /// The line on which each id was found: a second row of one id would undo the first, at every import anew.
    lines: HashMap<String, u64>,
}

impl Batches<'_> {
    /// The next rows; `None` behind the last.
    fn next(&mut self) -> Result<Option<Batch>, CliError> {
        let mut batch = Batch::default();
        while batch.rows.len() + batch.rejected.len() < BATCH_ROWS
            && batch.body.len() < BATCH_BYTES
            && let Some(Row { raw, record }) = self.source.next()?
        {
            match record.and_then(|(id, fields)| self.line(&raw, id, fields)) {
                Ok(mut line) => {
                    batch.body.append(&mut line);
                    batch.body.push(b'\n');
                    batch.rows.push(raw);
                }
                Err(error) => batch.rejected.push((raw, error)),
            }
        }
        batch.end = self.source.bytes();
        let is_empty = batch.rows.is_empty() && batch.rejected.is_empty();
        Ok((!is_empty).then_some(batch))
    }

    /// A row as the API takes it.
    fn line(
        &mut self,
        raw: &RawRow,
        id: String,
        fields: Map<String, Value>,
    ) -> Result<Vec<u8>, String> {
        if let Some(first) = self.lines.get(&id) {
            return Err(format!("the id {id:?} is that of line {first} already"));
        }
        self.lines.insert(id.clone(), raw.line);
        let line = serde_json::to_vec(&ImportLine { id, fields })
            .map_err(|error| format!("no JSON: {error}"))?;
        match line.len() {
            ..=ROW_BYTES_MAX => Ok(line),
            found => Err(format!("{found} bytes, at most {ROW_BYTES_MAX} are possible")),
        }
    }
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
        let Batch { body, rows, mut rejected, end } = batch;
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
                    rejected.push((row.clone(), refused.error.message));
                }
            }
        }
        rejected.sort_by_key(|(row, _)| row.line);
        let bar = self.bar.clone();
        bar.suspend(|| rejected.iter().try_for_each(|(row, error)| self.rejected.add(row, error)))?;
        bar.set_position(end);
        Ok(())
    }

    fn finish(self, as_json: bool) -> Result<(), CliError> {
        self.bar.finish_and_clear();
        let ImportAnswer { created_or_changed, unchanged, .. } = self.done;
        let rejected = self.rejected.count();
        let kept_in = self.rejected.finish()?;
        let kept_in = kept_in.map(|path| path.display().to_string());
        if as_json {
            output::json(&json!({
                "created_or_changed": created_or_changed,
                "unchanged": unchanged,
                "rejected": rejected,
                "rejected_file": kept_in,
            }))?;
        } else {
            output::line(format_args!(
                "{created_or_changed} new or changed, {unchanged} unchanged, {rejected} rejected"
            ))?;
        }
        match kept_in {
            None => Ok(()),
            Some(path) => {
                let rows = counted(rejected, "row");
                output::note(format_args!("{rows} with what is wrong in {path}"));
                Err(CliError::told())
            }
        }
    }
}
