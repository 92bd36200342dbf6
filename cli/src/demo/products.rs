//! What the shops of the demo sell, and the edits that they write.

use branchline_crdt::record::{Edit, SCHEMA_COLLECTION};
use branchline_crdt::replica::RecordEdit;
use serde::Deserialize;
use serde_json::{Value, json};

use super::error::DemoError;

const PRODUCTS: &str = include_str!("products.csv");

/// One line of the catalogue.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub(super) struct Product {
    pub(super) id: String,
    pub(super) name: String,
    /// A decimal.
    pub(super) price: String,
    pub(super) stock: i64,
}

impl Product {
    /// Its record.
    pub(super) fn put(&self) -> RecordEdit {
        let Self { id, name, price, stock } = self;
        put("products", id, json!({ "name": name, "price": price, "stock": stock }))
    }
}

/// The catalogue, in the order of its file.
pub(super) fn products() -> Result<Vec<Product>, DemoError> {
    let mut reader = csv::Reader::from_reader(PRODUCTS.as_bytes());
    Ok(reader.deserialize().collect::<Result<_, _>>()?)
}

/// A stock to which concurrent sales add up, a price that is exact.
pub(super) fn schemas() -> Vec<RecordEdit> {
    let products =
        json!({ "name": "string required", "price": "decimal required", "stock": "counter" });
    let sales = json!({
        "product": "string required", "quantity": "integer required", "price": "decimal required"
    });
    vec![put(SCHEMA_COLLECTION, "products", products), put(SCHEMA_COLLECTION, "sales", sales)]
}

/// The record shall have these fields.
pub(super) fn put(collection: &str, id: &str, fields: Value) -> RecordEdit {
    record_edit(collection, id, Edit::Put(fields.as_object().cloned().unwrap_or_default()))
}

/// These fields of the record change.
pub(super) fn merge(collection: &str, id: &str, fields: Value) -> RecordEdit {
    let patch = fields.as_object().cloned().unwrap_or_default();
    record_edit(collection, id, Edit::Merge { patch, create: false })
}

fn record_edit(collection: &str, id: &str, edit: Edit) -> RecordEdit {
    RecordEdit::new(collection, id, edit)
}
