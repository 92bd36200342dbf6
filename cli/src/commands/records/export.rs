//! `export`: all records of a collection, as CSV or JSON lines.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use branchline_node::api::{Code, CollectionsResponse, ListedRecord, PAGE_RECORDS_MAX};
use serde_json::{Map, Value};

use super::cells::{CellWriter, ID_COLUMN};
use crate::Context;
use crate::args::{ExportArgs, FileFormat};
use crate::client::{Client, collection_path};
use crate::commands::records;
use crate::error::CliError;
use crate::out_file::{OutFile, Readers};
use crate::output;

/// Collections that are named where another was meant.
const COLLECTIONS_NAMED_MAX: usize = 10;

/// Exports a collection.
pub(crate) async fn run(context: &Context, args: ExportArgs) -> Result<(), CliError> {
    let ExportArgs { collection, format, output: path, force, safe } = args;
    let path = path.as_deref().unwrap_or(Path::new("-"));
    // A program that reads a .json file expects one value in it.
    let is_array = format.is_none() && path.extension().is_some_and(|ending| ending == "json");
    let format = match format {
        Some(format) => format,
        None => FileFormat::to_write(path)?,
    };
    if safe && format != FileFormat::Csv {
        return Err(CliError::usage("--safe is only for CSV: JSON is not run as formulas"));
    }
    require_known(&context.client, &collection).await?;
    let target = OutFile::create(path, Readers::Umask, force)?;
    let mut export = Export { context, collection: &collection, target };
    let (count, formulas, doubtful) = match format {
        FileFormat::Csv => export.csv(safe).await?,
        FileFormat::Jsonl => (export.json(is_array).await?, 0, Vec::new()),
    };
    export.target.finish()?;
    let records = output::counted(count, "record");
    output::note(format_args!(
        "{records} exported; `branchline import` reads them back with --id {ID_COLUMN}"
    ));
    if !doubtful.is_empty() {
        output::note(format_args!(
            "warning: {} cannot be read back as it is: in CSV a number looks like a text, and the schema does not \
             declare the field; export JSON lines (.jsonl) instead",
            output::visible(&doubtful.join(", "))
        ));
    }
    if formulas > 0 {
        let cells = output::counted(formulas, "cell");
        output::note(if safe {
            format!(
                "{cells} that a spreadsheet would run as a formula begin with an apostrophe now; import takes it away again"
            )
        } else {
            format!(
                "warning: {cells} begin like a formula, which a spreadsheet would run; --safe puts an apostrophe before them, which import takes away again"
            )
        });
    }
    Ok(())
}

/// Refuses a collection to which nobody has written, and that has no schema: its name may be mistyped.
async fn require_known(client: &Client, collection: &str) -> Result<(), CliError> {
    let known: CollectionsResponse = client.get("/v1/collections").await?;
    let names = known.collections.into_iter().map(|known| known.name);
    let names: Vec<String> = names.filter(|name| !name.starts_with('_')).collect();
    if names.iter().any(|name| name == collection) {
        return Ok(());
    }
    match client.get::<Map<String, Value>>(&collection_path("schemas", collection, "")?).await {
        Ok(_) => return Ok(()),
        Err(error) if error.is(Code::SchemaNotFound) => {}
        Err(error) => return Err(error),
    }
    let hint = if names.is_empty() {
        "there are no collections here yet; `branchline import` fills one".to_owned()
    } else {
        let more = if names.len() > COLLECTIONS_NAMED_MAX { ", ..." } else { "" };
        let named: Vec<&str> =
            names.iter().take(COLLECTIONS_NAMED_MAX).map(String::as_str).collect();
        format!("there are: {}{more}", named.join(", "))
    };
    Err(CliError::failed(format!("there is no collection {collection}")).hint(hint))
}

/// The kinds of a field's values.
#[derive(Default)]
struct KindsFound {
    has_text: bool,
    has_other: bool,
    /// A number is written with a power of ten, which a cell keeps as a text.
    has_power: bool,
}

impl KindsFound {
    fn see(&mut self, value: &Value) {
        match value {
            Value::Null => {}
            Value::String(_) => self.has_text = true,
            Value::Number(number) => {
                self.has_other = true;
                self.has_power |= number.as_str().contains(['e', 'E']);
            }
            Value::Bool(_) | Value::Array(_) | Value::Object(_) => self.has_other = true,
        }
    }

    fn is_mixed(&self) -> bool {
        self.has_text && self.has_other
    }
}

struct Export<'a> {
    context: &'a Context,
    collection: &'a str,
    target: OutFile,
}

impl Export<'_> {
    /// Writes CSV; returns the records, the cells that a spreadsheet would run, and the fields of which CSV loses the kind.
    async fn csv(&mut self, is_safe: bool) -> Result<(u64, u64, Vec<String>), CliError> {
        // The names of the columns come first, so all records are read for them.
        let found = self.columns().await?;
        let declared = self.declared().await?;
        let is_doubtful = |(name, kinds): &(&String, &KindsFound)| {
            !declared.contains(name.as_str()) && (kinds.is_mixed() || kinds.has_power)
        };
        let doubtful = found.iter().filter(is_doubtful).map(|(name, _)| name.clone()).collect();
        let columns: BTreeSet<String> = found.into_keys().collect();
        let mut cells = CellWriter::new(is_safe);
        cells.name(ID_COLUMN);
        columns.iter().for_each(|name| cells.name(name));
        self.target.write(cells.end_row().as_bytes())?;
        let (context, collection, target) = (self.context, self.collection, &mut self.target);
        let count = each_record(context, collection, |ListedRecord { id, fields }| {
            if let Some(name) = fields.keys().find(|name| !columns.contains(*name)) {
                let message = format!(
                    "record {collection}/{id} got the new field {name:?} during the export"
                );
                return Err(CliError::failed(message).hint("export again"));
            }
            cells.name(&id);
            columns.iter().for_each(|name| cells.value(fields.get(name)));
            target.write(cells.end_row().as_bytes())
        })
        .await?;
        Ok((count, cells.formulas, doubtful))
    }

    async fn columns(&self) -> Result<BTreeMap<String, KindsFound>, CliError> {
        let mut columns: BTreeMap<String, KindsFound> = BTreeMap::new();
        let visit = |record: ListedRecord| {
            for (name, value) in record.fields {
                columns.entry(name).or_default().see(&value);
            }
            Ok(())
        };
        each_record(self.context, self.collection, visit).await?;
        Ok(columns)
    }

    /// The fields that the schema declares, without what is within them.
    async fn declared(&self) -> Result<BTreeSet<String>, CliError> {
        let path = collection_path("schemas", self.collection, "")?;
        match self.context.client.get::<Map<String, Value>>(&path).await {
            Ok(schema) => {
                let top = |path: &String| path.split('.').next().unwrap_or(path).to_owned();
                Ok(schema.keys().map(top).collect())
            }
            Err(error) if error.is(Code::SchemaNotFound) => Ok(BTreeSet::new()),
            Err(error) => Err(error),
        }
    }

    /// Writes an object for each record, on a line of its own, or in one array.
    async fn json(&mut self, is_array: bool) -> Result<u64, CliError> {
        let (context, collection, target) = (self.context, self.collection, &mut self.target);
        let mut before = if is_array { "[" } else { "" };
        let count = each_record(context, collection, |ListedRecord { id, fields }| {
            let mut object = Map::from_iter([(ID_COLUMN.to_owned(), Value::from(id))]);
            object.extend(fields);
            target.write(format!("{before}{}", Value::Object(object)).as_bytes())?;
            before = if is_array { ",\n" } else { "\n" };
            Ok(())
        })
        .await?;
        let end = match (is_array, count) {
            (true, 0) => "[]\n",
            (true, _) => "]\n",
            (false, 0) => "",
            (false, _) => "\n",
        };
        target.write(end.as_bytes())?;
        Ok(count)
    }
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
