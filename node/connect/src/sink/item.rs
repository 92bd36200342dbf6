//! What a sink is asked to do.

use std::error::Error;
use std::sync::Arc;

use async_trait::async_trait;
use serde_json::{Map, Value};

use super::config::SinkConfig;
use crate::jobs::fault::Fault;

/// Makes the third party of a sink of one kind.
pub type MakeSink =
    Arc<dyn Fn(&SinkConfig) -> Result<Arc<dyn Sink>, Box<dyn Error + Send + Sync>> + Send + Sync>;

/// A third party that takes objects. One is made for each `[[sink]]`; it is asked for several groups at a time, and for
/// each group one thing at a time.
#[async_trait]
pub trait Sink: Send + Sync {
    /// Creates an object; returns what it is called there.
    ///
    /// # Errors
    /// Its class says whether it is tried again, and `done` whether the object may be there all the same.
    async fn create(&self, item: &Item) -> Result<Stored, Fault>;

    /// Looks for the object of an item that may have been created; `None`: there is none.
    ///
    /// # Errors
    /// As with [`Sink::create`].
    async fn lookup(&self, item: &Item) -> Result<Option<RemoteId>, Fault> {
        let _ = item;
        Ok(None)
    }

    /// Makes an object what the item is now.
    ///
    /// # Errors
    /// As with [`Sink::create`].
    async fn update(&self, id: &RemoteId, item: &Item) -> Result<Stored, Fault>;

    /// Deletes an object, or archives it. One that is gone already is no error. The item has no representation.
    ///
    /// # Errors
    /// As with [`Sink::create`].
    async fn delete(&self, id: &RemoteId, item: &Item) -> Result<(), Fault>;

    /// Reads what is `.initial` in `translate`, before an object is created. `values`: the group's records by their names.
    ///
    /// # Errors
    /// As with [`Sink::create`].
    async fn initial(&self, values: &Map<String, Value>) -> Result<Option<Value>, Fault> {
        let _ = values;
        Ok(None)
    }

    /// Reads an object back, as what the item's representation is to be found in; `None`: it is gone.
    ///
    /// # Errors
    /// As with [`Sink::create`].
    async fn read(&self, id: &RemoteId, item: &Item) -> Result<Option<Value>, Fault> {
        let _ = (id, item);
        Ok(None)
    }

    /// What it can do.
    fn abilities(&self) -> Abilities {
        Abilities::default()
    }
}

/// What a sink can do beside creating.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Abilities {
    /// [`Sink::lookup`] finds what may have been created.
    pub lookup: bool,
    /// A repeated create does no harm, whenever it comes.
    pub repeat: bool,
    /// Objects can be updated.
    pub update: bool,
    /// Objects can be deleted.
    pub delete: bool,
    /// [`Sink::initial`] is to be asked.
    pub initial: bool,
    /// [`Sink::read`] reads objects back.
    pub read: bool,
}

impl Default for Abilities {
    fn default() -> Self {
        Self {
            lookup: false,
            repeat: false,
            update: true,
            delete: true,
            initial: false,
            read: false,
        }
    }
}

/// What is sent of a group.
#[derive(Clone, Debug, PartialEq)]
pub struct Item {
    /// The primary record's id.
    pub group: String,
    /// What `translate` made of the group; null where the object is deleted.
    pub representation: Value,
    /// The same whenever the same request is sent again, and another for every other: an idempotency key.
    pub key: String,
    /// How often the sink was taken over by another site, from 1: of two that send, the lower is out of date.
    pub fence: u64,
    /// Of an update: the version that the object has as far as is known. The service is to refuse the update (status 412)
    /// where it has another by now.
    pub etag: Option<String>,
}

/// What an object is called at the third party.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct RemoteId(pub String);

/// An object that the third party has taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    /// What it is called there.
    pub id: RemoteId,
    /// The version that it has there, where the third party says it and minds it.
    pub etag: Option<String>,
}

impl From<RemoteId> for Stored {
    fn from(id: RemoteId) -> Self {
        Self { id, etag: None }
    }
}
