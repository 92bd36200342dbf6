//! The records of a table as CSV: read page by page as the browser takes them.

use std::io;
use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::extract::{Path, State};
use axum::http::{HeaderValue, Uri, header};
use axum::response::{IntoResponse, Response};
use branchline_node::api::{ListResponse, ListedRecord};
use futures::stream;
use serde_json::Value;

use super::query::Asked;
use super::schema;
use super::table::known_fields;
use crate::ask::Refused;
use crate::layout::{self, Place};
use crate::office::Office;
use crate::sign_in::Viewer;

/// Records that are read at a time.
const PAGE_RECORDS: usize = 1_000;
/// What a program that calculates takes for a formula, at the beginning of a text.
const FORMULA: [char; 6] = ['=', '+', '-', '@', '\t', '\r'];

pub(super) async fn download(
    State(office): State<Arc<Office>>,
    viewer: Viewer,
    Path(collection): Path<String>,
    uri: Uri,
) -> Response {
    let asked = Asked::of(collection, &uri);
    let first: ListResponse = match office.ask.get(&asked.api_list(PAGE_RECORDS)).await {
        Ok(first) => first,
        Err(refused) => return layout::failed(&office, &viewer, Place::Records, &refused),
    };
    let schema = schema(&office, &asked.collection, asked.space()).await;
    let columns = match asked.columns.is_empty() {
        true => known_fields(schema.keys(), &first.records),
        false => asked.columns.clone(),
    };
    // A collection's name has nothing but letters, digits, - and _: the node has read it.
    let name = format!("attachment; filename=\"{}.csv\"", plain(&asked.collection));
    let name = HeaderValue::try_from(name).unwrap_or(HeaderValue::from_static("attachment"));
    let begun = Download { office, asked, columns, page: Some(first), is_begun: false };
    let body = Body::from_stream(stream::unfold(begun, Download::next));
    let kind = HeaderValue::from_static("text/csv; charset=utf-8");
    ([(header::CONTENT_TYPE, kind), (header::CONTENT_DISPOSITION, name)], body).into_response()
}

fn plain(name: &str) -> String {
    name.chars().filter(|c| c.is_ascii_alphanumeric() || "-_".contains(*c)).take(64).collect()
}

struct Download {
    office: Arc<Office>,
    asked: Asked,
    columns: Vec<String>,
    /// What is to be written next; `None`: that was all.
    page: Option<ListResponse>,
    is_begun: bool,
}

impl Download {
    async fn next(mut self) -> Option<(io::Result<Bytes>, Self)> {
        let page = self.page.take()?;
        let mut writer = csv::Writer::from_writer(Vec::new());
        let heading = (!self.is_begun).then(|| heading(&self.columns));
        self.is_begun = true;
        let rows = page.records.iter().map(|record| row(record, &self.columns));
        for row in heading.into_iter().chain(rows) {
            if let Err(error) = writer.write_record(row) {
                return Some((Err(io::Error::other(error)), self));
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

fn heading(columns: &[String]) -> Vec<String> {
    std::iter::once("id").chain(columns.iter().map(String::as_str)).map(safe).collect()
}

fn row(record: &ListedRecord, columns: &[String]) -> Vec<String> {
    let cells = columns.iter().map(|column| cell(record.fields.get(column)));
    std::iter::once(safe(&record.id)).chain(cells).collect()
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
    match text.starts_with(FORMULA) {
        true => format!("'{text}"),
        false => text.to_owned(),
    }
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
    fn the_name_of_the_file_breaks_no_header() {
        assert_eq!(plain("a\"; x=\r\nset-cookie: b/../c"), "axset-cookiebc");
    }
}
