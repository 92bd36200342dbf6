//! Sources: a third party's objects, pulled into a collection.
//!
//! A run reads all pages of what the provider lists, and the list of what it has deleted, into a file beside the node's
//! data ([`spool`]). Only when it has all of it, it compares each object with its record, and writes what differs together
//! with the run's own row in the history: others see all of a run or nothing. Where a run is broken off it goes on, or begins
//! again, under the same number.
//!
//! | file | a run's step |
//! |---|---|
//! | `config`, `timing`, `since` | what is configured, when runs are due, and from when on objects are asked for |
//! | `remarks` | what a person should know of a source before it works |
//! | `http`, `paging` | the provider's pages over HTTP: the [`Source`] that the configuration describes |
//! | `spool` | what has been read so far, on disk |
//! | `pull` | reads everything |
//! | `compare` | what becomes of one object's record |
//! | `apply` | writes what differs |
//! | `history` | the runs, as records |
//! | `runner`, `sources` | when runs are due, and what is asked of sources |

mod apply;
mod compare;
pub mod config;
pub mod history;
mod http;
mod moment;
pub mod order;
mod paging;
mod pull;
pub mod remarks;
pub mod runner;
pub mod since;
pub mod sources;
pub mod spool;
pub mod timing;

use std::sync::Arc;

use async_trait::async_trait;
use jiff::Timestamp;
use serde_json::{Map, Value};

use crate::jobs::fault::Fault;
use crate::kinds::Kinds;
use config::SourceConfig;

pub use http::{BadSource, HttpSource};

/// Makes the source of a kind that a program has registered, as it is configured.
pub type MakeSource = Arc<
    dyn Fn(&SourceConfig) -> Result<Box<dyn Source>, Box<dyn std::error::Error + Send + Sync>>
        + Send
        + Sync,
>;

/// A service whose objects are pulled. One run works with it at a time, from its first page to its last.
#[async_trait]
pub trait Source: Send + Sync {
    /// A page of the objects that have changed since `ask.since`, or of all. Pages that were read may be asked for again
    /// after a restart.
    ///
    /// # Errors
    /// A transient [`Fault`] is tried again; any other ends the run, of which nothing is applied then.
    async fn page(&mut self, ask: &Ask) -> Result<SourcePage, Fault>;

    /// A page of the ids of objects that the service has deleted since `ask.since`. A service without such a list gives
    /// none.
    ///
    /// # Errors
    /// As [`Source::page`].
    async fn deleted(&mut self, ask: &Ask) -> Result<DeletedPage, Fault> {
        let _ = ask;
        Ok(DeletedPage::default())
    }
}

/// What a page is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ask {
    /// The moment by the provider's clock from which on changes are asked for. `None`: on a full run all objects are.
    pub since: Option<Timestamp>,
    /// What the page before gave as its `next`. `None`: the first page.
    pub place: Option<String>,
}

/// A page of objects.
#[derive(Clone, Debug, Default)]
pub struct SourcePage {
    /// The objects, up to some thousands.
    pub objects: Vec<Object>,
    /// Items that are no objects that could be kept, with what is wrong with each.
    pub refused: Vec<RefusedItem>,
    /// Where the next page begins; `None`: this is the last.
    pub next: Option<String>,
    /// When the provider answered, by its own clock.
    pub provider_time: Option<Timestamp>,
}

/// An object of the provider.
#[derive(Clone, Debug, PartialEq)]
pub struct Object {
    /// The provider's id, which is the record's: 1 to 255 bytes, no control characters.
    pub id: String,
    /// The provider's JSON, as it came, up to 1 MiB.
    pub data: String,
    /// When the provider last changed it, as the provider writes it.
    pub updated_at: Option<String>,
    /// Fields of the record besides, by name.
    pub fields: Map<String, Value>,
}

/// An item that cannot be kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefusedItem {
    /// Its id, where it has one.
    pub id: Option<String>,
    /// What is wrong with it.
    pub what: String,
}

/// A page of ids of objects that were deleted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeletedPage {
    /// The ids.
    pub ids: Vec<String>,
    /// Where the next page begins; `None`: this is the last.
    pub next: Option<String>,
}
