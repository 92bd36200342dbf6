//! `export`: all records of a collection, as CSV or JSON lines.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, BufWriter, Write};

use branchline_node::api::{ListedRecord, PAGE_RECORDS_MAX};
use serde_json::{Map, Value};

use super::records;
use crate::Context;
use crate::args::{ExportArgs, FileFormat};
use crate::error::CliError;
use crate::output;

/// The column or field of the record id. No record has a field of that name: names with `_` are reserved.
pub(crate) const ID_COLUMN: &str = "_id";

/// Exports a collection.
pub(crate) async fn run(context: &Context, args: ExportArgs) -> Result<(), CliError> {
    let ExportArgs { collection, format, output: path } = args;
    let by_name = || path.as_deref().map_or(FileFormat::Csv, FileFormat::of);
    let format = format.unwrap_or_else(by_name);
    // The names of the columns come first in a CSV file, so all records are read for them.
    let columns = match format {
        FileFormat::Csv => columns(context, &collection).await?,
        FileFormat::Jsonl => BTreeSet::new(),
    };
    let mut target: Box<dyn Write> = match &path {
        Some(path) => {
            let file = File::create(path).map_err(|error| CliError::file("write", path, &error))?;
            Box::new(BufWriter::new(file))
        }
        None => Box::new(BufWriter::new(io::stdout())),
    };
    let count = match format {
        FileFormat::Csv => write_csv(context, &collection, &columns, &mut target).await?,
        FileFormat::Jsonl => write_lines(context, &collection, &mut target).await?,
    };
    target.flush()?;
    let records = output::counted(count, "record");
    output::note(format_args!(
        "{records} exported; `branchline import` reads them back with --id {ID_COLUMN}"
    ));
    Ok(())
}

async fn each_record(
    context: &Context,
    collection: &str,
    mut visit: impl FnMut(ListedRecord) -> Result<(), CliError>,
) -> Result<u64, CliError> {
    let mut after = None;
    let mut count = 0;
    loop {
        let asked = [("after", after.as_deref())];
        let page = records::page(&context.client, collection, &asked, PAGE_RECORDS_MAX).await?;
        count += page.records.len() as u64;
        page.records.into_iter().try_for_each(&mut visit)?;
        match page.next {
            Some(next) => after = Some(next),
            None => return Ok(count),
        }
    }
}

async fn columns(context: &Context, collection: &str) -> Result<BTreeSet<String>, CliError> {
    let mut columns = BTreeSet::new();
    let visit = |record: ListedRecord| {
        columns.extend(record.fields.into_iter().map(|(name, _)| name));
        Ok(())
    };
    each_record(context, collection, visit).await?;
    Ok(columns)
}

async fn write_csv(
    context: &Context,
    collection: &str,
    columns: &BTreeSet<String>,
    target: &mut dyn Write,
) -> Result<u64, CliError> {
    let mut writer = csv::Writer::from_writer(target);
    let header = std::iter::once(ID_COLUMN).chain(columns.iter().map(String::as_str));
    writer.write_record(header).map_err(io_error)?;
    let count = each_record(context, collection, |ListedRecord { id, fields }| {
        if let Some(name) = fields.keys().find(|name| !columns.contains(*name)) {
            let message =
                format!("record {collection}/{id} got the new field {name:?} during the export");
            return Err(CliError::failed(message).hint("export again"));
        }
        let cells = columns.iter().map(|name| fields.get(name).map(csv_cell).unwrap_or_default());
        Ok(writer.write_record(std::iter::once(id).chain(cells)).map_err(io_error)?)
    })
    .await?;
    writer.flush()?;
    Ok(count)
}

fn io_error(error: csv::Error) -> io::Error {
    match error.into_kind() {
        csv::ErrorKind::Io(error) => error,
        other => io::Error::other(format!("{other:?}")),
    }
}

fn csv_cell(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => value.to_string(),
    }
}

async fn write_lines(
    context: &Context,
    collection: &str,
    target: &mut dyn Write,
) -> Result<u64, CliError> {
    each_record(context, collection, |ListedRecord { id, fields }| {
        let mut object = Map::from_iter([(ID_COLUMN.to_owned(), Value::from(id))]);
        object.extend(fields);
        Ok(writeln!(target, "{}", Value::Object(object))?)
    })
    .await
}
