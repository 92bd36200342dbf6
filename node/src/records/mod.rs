//! Records, as programs write and read them: the methods of [`Handle`] for one record and for several at once, and all
//! that these take and give.
//!
//! ```no_run
//! # use branchline_node::{Config, Node, records::Origin};
//! # use serde_json::json;
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let node = Node::start(Config::new("data")).await?;
//! let handle = node.handle();
//! handle.put("products", "tea", json!({ "price": 2, "shelf": "B" })).await?;
//! let read = handle.get("products", "tea").await?.expect("it was just written");
//! // Together or not at all, and once however often it is sent.
//! let origin = Origin { source: "till 7".to_owned(), number: 4711 };
//! let sold = handle
//!     .transaction()
//!     .origin(origin)
//!     .merge("products", "tea", json!({ "stock": { "$inc": -2 } }))
//!     .put("sales", "7-4711", json!({ "product": "tea", "quantity": 2 }))
//!     .commit()
//!     .await?;
//! // An edit of what was read: had somebody else set the price meanwhile, both would stand there, in conflict.
//! handle
//!     .transaction()
//!     .merge("products", "tea", json!({ "price": 3 }))
//!     .builds_on(read.version())
//!     .commit()
//!     .await?;
//! # node.shutdown().await;
//! # Ok(())
//! # }
//! ```

mod document;
mod merge_document;
mod transaction;

use branchline_crdt::store::changes::made_by;
use serde_json::{Map, Value as Json};

use crate::handle::{Handle, ReadError, Stopped};

pub use branchline_crdt::feed::{BadCursor, Change, Cursor, FeedEvent, Item, Values};
pub use branchline_crdt::ids::{Author, RealmId, SiteId, SpaceId};
pub use branchline_crdt::inspect::documents::{
    DocumentError, DocumentsPage, DocumentsReport, RecordDocument,
};
pub use branchline_crdt::log::entry::{EntryId, Origin};
pub use branchline_crdt::query;
pub use branchline_crdt::record::{
    BadVersion, Conflict, ConflictValue, DECIMAL_DIGITS_MAX, DOCUMENT_BYTES_MAX, Datetime,
    DatetimeError, DocumentFault, DocumentRefused, Edit, EditError, Expected, FIELD_NAME_BYTES_MAX,
    FieldSpec, Fields, INCREMENT_MAX, Kind, NameError, RECORD_ID_BYTES_MAX, SCHEMA_COLLECTION,
    Schema, SchemaError, VALUE_BYTES_MAX, Value, Version, View, check_collection, check_record_id,
    decimal_of, fields_into_json,
};
pub use branchline_crdt::replica::{LocalTransaction, RecordEdit, WriteError, Written};
pub use branchline_crdt::store::changes::MadeChange;
pub use branchline_crdt::store::read;
pub use branchline_crdt::store::tables::ReadTables;
pub use branchline_crdt::store::tables::records::RecordKey;
pub use branchline_crdt::store::{ReadJournal, ReadStore, StoreError};
pub use document::NoDocument;
pub use merge_document::{DocumentNotMerged, MergeOptions, MergedDocument};
pub use transaction::TransactionBuilder;

/// Why something was not written. Nothing of it shows anywhere, unless the node stopped meanwhile: then it may have been
/// written, and sending it again under the same origin is safe.
#[derive(Debug, thiserror::Error)]
pub enum NotWritten {
    /// It cannot be written, or not at present.
    #[error(transparent)]
    Write(#[from] WriteError),
    /// The node stopped meanwhile.
    #[error(transparent)]
    Stopped(#[from] Stopped),
    /// What was given for the fields of a record are none.
    #[error(
        "the fields of {collection}/{id} are {found}: expected a JSON object, such as {{\"price\": 2}}"
    )]
    NoFields {
        /// The record's collection.
        collection: String,
        /// The record's id.
        id: String,
        /// What was given.
        found: &'static str,
    },
    /// Something was said of the edit before, and there was none.
    #[error(
        "{what} without an edit: put it after the put, merge, delete or edit that it belongs to"
    )]
    NoEdit {
        /// What was said.
        what: &'static str,
    },
}

impl Handle {
    /// The record shall have these fields, a JSON object, and no others; see [`Edit::Put`]. Returns when that is durable.
    ///
    /// # Errors
    /// [`NotWritten`].
    pub async fn put(
        &self,
        collection: &str,
        id: &str,
        fields: Json,
    ) -> Result<Written, NotWritten> {
        self.transaction().put(collection, id, fields).commit().await
    }

    /// These fields of the record, a JSON object, change and the others stay; a missing record is created. See
    /// [`Edit::Merge`]. Returns when that is durable.
    ///
    /// # Errors
    /// [`NotWritten`].
    pub async fn merge(
        &self,
        collection: &str,
        id: &str,
        fields: Json,
    ) -> Result<Written, NotWritten> {
        self.transaction().merge(collection, id, fields).commit().await
    }

    /// Deletes the record, which keeps what it had. Returns when that is durable.
    ///
    /// # Errors
    /// [`NotWritten`]; a record that is missing or deleted is an error.
    pub async fn delete(&self, collection: &str, id: &str) -> Result<Written, NotWritten> {
        self.transaction().delete(collection, id).commit().await
    }

    /// The record as it is here. `None`: it is missing or deleted.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn get(&self, collection: &str, id: &str) -> Result<Option<View>, ReadError> {
        Ok(self.view(collection, id).await?.filter(|view| !view.deleted))
    }

    /// Edits of several records, which become visible together or not at all.
    pub fn transaction(&self) -> TransactionBuilder {
        TransactionBuilder::new(self.clone())
    }

    /// The changes that the transaction of an origin made, in the order of its edits: for those whose transaction is a
    /// repeat of one in `entry`. `None`: the entry holds none of that origin.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn made_by(
        &self,
        entry: EntryId,
        origin: Origin,
    ) -> Result<Option<Vec<MadeChange>>, ReadError> {
        self.read(move |reader, space| made_by(reader, space, entry, &origin)).await
    }
}

/// The fields of a record, from a JSON object.
fn fields(collection: &str, id: &str, json: Json) -> Result<Map<String, Json>, NotWritten> {
    let found = match json {
        Json::Object(fields) => return Ok(fields),
        Json::Null => "null",
        Json::Bool(_) => "a boolean",
        Json::Number(_) => "a number",
        Json::String(_) => "a string",
        Json::Array(_) => "a list",
    };
    let (collection, id) = (collection.to_owned(), id.to_owned());
    Err(NotWritten::NoFields { collection, id, found })
}
