//! The records of a table as CSV: read page by page as the browser takes them.

use std::collections::BTreeSet;
use std::io;
use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::extract::{Path, State};
use axum::http::{HeaderValue, Uri, header};
use axum::response::{IntoResponse, Response};
use branchline_node::api::{KindsResponse, ListResponse, ListedRecord};
use futures::stream;
use serde_json::{Map, Value};

use super::query::RecordQuery;
use super::schema;
use crate::ask::{Refused, encoded, path_with};
use crate::layout::{self, Place};
use crate::office::Office;
use crate::sign_in::Viewer;

/// Records that are read at a time.
const PAGE_RECORDS: usize = 1_000;
/// Fields that have a column each.
const FIELDS_MAX: usize = 1_000;
/// What a program that calculates takes for a formula, at the beginning of a text.
const FORMULA: [char; 6] = ['=', '+', '-', '@', '\t', '\r'];

pub(super) async fn download(
    State(office): State<Arc<Office>>,
    viewer: Viewer,
    Path(collection): Path<String>,
    uri: Uri,
) -> Response {
    let asked = RecordQuery::of(collection, &uri);
    let first: ListResponse = match office.ask.get(&asked.api_list(PAGE_RECORDS)).await {
        Ok(first) => first,
        Err(refused) => return layout::failed(&office, &viewer, Place::Records, &refused),
    };
    let columns = match columns(&office, &asked).await {
        Ok(columns) => columns,
        Err(refused) => return layout::failed(&office, &viewer, Place::Records, &refused),
    };
    // A collection's name has nothing but letters, digits, - and _: the node has read it.
    let name = format!("attachment; filename=\"{}.csv\"", plain(&asked.collection));
    let name = HeaderValue::try_from(name).unwrap_or(HeaderValue::from_static("attachment"));
    let begun = Download {
        office,
        asked,
        columns,
        rest: viewer.t.other_fields,
        page: Some(first),
        is_begun: false,
    };
    let body = Body::from_stream(stream::unfold(begun, Download::next));
    let kind = HeaderValue::from_static("text/csv; charset=utf-8");
    ([(header::CONTENT_TYPE, kind), (header::CONTENT_DISPOSITION, name)], body).into_response()
}

/// The columns of a file.
struct Columns {
    names: Vec<String>,
    /// Whether records may have other fields than these, which then stand in a column of their own.
    has_rest: bool,
    /// Whether they were chosen: what else a record has is not asked for.
    are_chosen: bool,
}

/// Those that were chosen, or all that the schema declares or a record has. The node looks at the first hundred thousand
/// records for that, and says if there are more.
async fn columns(office: &Office, asked: &RecordQuery) -> Result<Columns, Refused> {
    if !asked.columns.is_empty() {
        return Ok(Columns { names: asked.columns.clone(), has_rest: false, are_chosen: true });
    }
    let path = format!("/v1/collections/{}/kinds", encoded(&asked.collection));
    let kinds: KindsResponse =
        office.ask.get(&path_with(&path, &[("space", asked.space())])).await?;
    let schema = schema(office, &asked.collection, asked.space()).await;
    let declared = schema.keys().map(|path| path.split('.').next().unwrap_or(path).to_owned());
    let mut names: Vec<String> = Vec::new();
    let mut seen = BTreeSet::new();
    for name in declared.chain(kinds.fields.into_keys()) {
        if seen.insert(name.clone()) {
            names.push(name);
        }
    }
    let has_rest = kinds.has_more || names.len() > FIELDS_MAX;
    names.truncate(FIELDS_MAX);
    Ok(Columns { names, has_rest, are_chosen: false })
}

fn plain(name: &str) -> String {
    name.chars().filter(|c| c.is_ascii_alphanumeric() || "-_".contains(*c)).take(64).collect()
}

struct Download {
    office: Arc<Office>,
    asked: RecordQuery,
    columns: Columns,
    /// The heading of what has no column of its own.
    rest: &'static str,
    /// What is to be written next; `None`: that was all.
    page: Option<ListResponse>,
    is_begun: bool,
}

impl Download {
    async fn next(mut self) -> Option<(io::Result<Bytes>, Self)> {
        let page = self.page.take()?;
        let mut writer = csv::Writer::from_writer(Vec::new());
        let heading = (!self.is_begun).then(|| Ok(self.columns.heading(self.rest)));
        self.is_begun = true;
        let rows = page.records.iter().map(|record| self.columns.row(record));
        for row in heading.into_iter().chain(rows) {
            let written = row.and_then(|row| writer.write_record(row).map_err(io::Error::other));
            if let Err(error) = written {
                return Some((Err(error), self));
            }
        }
        let written = writer.into_inner().map_err(|error| io::Error::other(error.to_string()));
        if let Some(next) = page.next {
            self.asked.after = Some(next);
            match self.office.ask.get(&self.asked.api_list(PAGE_RECORDS)).await {
                Ok(page) => self.page = Some(page),
                // The download breaks off, so that nobody takes a part for the whole.
                Err(refused) => return Some((Err(broken(&refused)), self)),
            }
        }
        Some((written.map(Bytes::from), self))
    }
}

fn broken(refused: &Refused) -> io::Error {
    io::Error::other(refused.detail.message.clone())
}

impl Columns {
    fn heading(&self, rest: &str) -> Vec<String> {
        let names = self.names.iter().map(String::as_str);
        let rest = self.has_rest.then_some(rest);
        std::iter::once("id").chain(names).chain(rest).map(safe).collect()
    }

    /// A record's cells. No field of it is left out unseen.
    fn row(&self, record: &ListedRecord) -> io::Result<Vec<String>> {
        let cells = self.names.iter().map(|name| cell(record.fields.get(name)));
        let mut cells: Vec<String> = std::iter::once(safe(&record.id)).chain(cells).collect();
        if self.are_chosen {
            return Ok(cells);
        }
        match self.others(record) {
            others if others.is_empty() && !self.has_rest => {}
            others if others.is_empty() => cells.push(String::new()),
            others if self.has_rest => cells.push(Value::Object(others).to_string()),
            _ => {
                let text = format!("{} got a new field during the download", record.id);
                return Err(io::Error::other(text));
            }
        }
        Ok(cells)
    }

    /// The fields of a record that have no column.
    fn others(&self, record: &ListedRecord) -> Map<String, Value> {
        let with_column =
            self.names.iter().filter(|name| record.fields.contains_key(*name)).count();
        if with_column == record.fields.len() {
            return Map::new();
        }
        let others = record.fields.iter().filter(|(name, _)| !self.names.contains(name));
        others.map(|(name, value)| (name.clone(), value.clone())).collect()
    }
}

fn cell(value: Option<&Value>) -> String {
    match value {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => safe(text),
        // A number that is less than zero is no formula.
        Some(value) => value.to_string(),
    }
}

/// A text that no program takes for a formula.
fn safe(text: &str) -> String {
    if text.starts_with(FORMULA) { format!("'{text}") } else { text.to_owned() }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn no_text_is_a_formula_and_numbers_stay_numbers() {
        for (value, expected) in [
            (json!("=1+2"), "'=1+2"),
            (json!("@SUM(A1)"), "'@SUM(A1)"),
            (json!("-2+3"), "'-2+3"),
            (json!("\t=1"), "'\t=1"),
            (json!("Tea"), "Tea"),
            (json!(-2.5), "-2.5"),
            (json!(null), ""),
            (json!(["=1"]), "[\"=1\"]"),
        ] {
            assert_eq!(cell(Some(&value)), expected);
        }
        assert_eq!(cell(None), "");
    }

    #[test]
    fn a_field_that_has_no_column_is_in_the_last_one_or_breaks_the_download_off() {
        let record = |fields: Value| ListedRecord {
            id: "1".to_owned(),
            fields: serde_json::from_value(fields).unwrap_or_default(),
        };
        let (plain, more) = (record(json!({ "a": 1 })), record(json!({ "a": 1, "b": "x" })));
        let columns =
            |has_rest, are_chosen| Columns { names: vec!["a".to_owned()], has_rest, are_chosen };
        let row = |columns: &Columns, record: &ListedRecord| columns.row(record).ok();
        let cells = |cells: &[&str]| Some(cells.iter().map(|it| (*it).to_owned()).collect());
        assert_eq!(row(&columns(false, false), &plain), cells(&["1", "1"]));
        assert_eq!(row(&columns(true, false), &plain), cells(&["1", "1", ""]));
        assert_eq!(row(&columns(true, false), &more), cells(&["1", "1", r#"{"b":"x"}"#]));
        assert_eq!(columns(true, false).heading("more"), ["id", "a", "more"]);
        assert_eq!(row(&columns(false, true), &more), cells(&["1", "1"]));
        assert_eq!(row(&columns(false, false), &more), None);
    }

    #[test]
    fn the_name_of_the_file_breaks_no_header() {
        assert_eq!(plain("a\"; x=\r\nset-cookie: b/../c"), "axset-cookiebc");
    }
}
