//! `import`: records from a CSV or JSON input. Importing the same again changes nothing.
//!
//! A file for each step: [`input`] opens a file or copies a pipe, [`encoding`] and [`lines`] make text of it, [`reading`]
//! and [`dialect`] recognise what it is, [`csv`] and [`json`] read its rows, [`survey`] infers the kinds of its fields with
//! [`columns`], [`plan`] and [`declare`] decide about them and declare the first schema, [`source`] makes records of its rows, [`batches`] sends them, and [`rejected`] keeps what is none.

mod batches;
mod csv;
mod declare;
mod ids;
mod input;
mod json;
mod kinds;
mod reading;
mod rejected;
#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod round_trip;
mod rows;
mod source;
mod survey;
#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;

use std::path::Path;

use axum::http::Method;
use branchline_node::api::{Code, ErrorDetail, ImportResponse};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Map, Value, json};

use crate::Context;
use crate::args::ImportArgs;
use crate::client::{Client, collection_path};
use crate::error::CliError;
use crate::output::{self, counted};
use batches::{Batch, Batches};
use declare::Outcome;
use input::Input;
pub(crate) use reading::ReadArgs;
use rejected::{Kept, Rejected};
use source::Source;
use survey::Survey;

/// Imports a file or a pipe.
pub(crate) async fn run(context: &Context, args: ImportArgs) -> Result<(), CliError> {
    let ImportArgs { collection, file, id, read, types, undelete, no_schema, write_schema } = args;
    if write_schema {
        return Err(CliError::usage("--write-schema no longer exists").hint(
            "leave it out: the first import into a collection declares its schema, unless --no-schema says not to",
        ));
    }
    let client = &context.client;
    let (input, survey) = open(&file, &read, &id)?;
    tell_reading(&survey);
    let (plan, outcome) = declare::plan(context, &collection, &survey, &types, !no_schema).await?;
    declare::report(context, &collection, &plan, &outcome);
    let source = Source::open(&input, &survey, &plan.kinds)?;
    let query = if undelete { "?undelete=true" } else { "" };
    let import = Import {
        client,
        path: collection_path("import", &collection, query)?,
        rejected: Rejected::new(&input, &survey, &collection),
        done: ImportResponse::default(),
        bar: progress_bar(input.bytes()),
    };
    let import = import.all(Batches::new(source)).await?;
    let declared = (outcome == Outcome::Declared).then_some(&plan.schema);
    import.finish(context.json, &survey, declared)
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
    let kinds = survey.kinds();
    let mut source = Source::open(&input, &survey, &kinds).ok()?;
    let mut rows = Vec::new();
    while let Some(row) = source.next().ok()? {
        rows.push(row.record);
    }
    Some(rows)
}

/// A row's id and fields, or why it is no record.
pub type ReadRow = Result<(String, Map<String, Value>), String>;

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
    done: ImportResponse,
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
            let answer: ImportResponse = answer.inspect_err(|_| {
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

    fn finish(
        self,
        as_json: bool,
        survey: &Survey,
        declared: Option<&Map<String, Value>>,
    ) -> Result<(), CliError> {
        self.bar.finish_and_clear();
        let ImportResponse { created_or_changed, unchanged, .. } = self.done;
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
                "declared": declared,
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
                Err(CliError::reported())
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
