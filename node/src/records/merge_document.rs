//! Records as Automerge documents that other programs edit.

use std::time::Instant;

use branchline_crdt::record::{DocumentFault, Expected, ForeignDocument, Version, View};
use branchline_crdt::replica::{DocumentMerge, WriteError, Written};
use branchline_crdt::store::read;
use branchline_crdt::store::tables::records::RecordKey;

use super::document::turn;
use crate::driver::Message;
use crate::handle::{Handle, ReadError, Stopped};

/// How a document is taken in.
#[derive(Clone, Debug, Default)]
pub struct MergeOptions {
    /// Whether it shall become a new record. Otherwise it must have been made of the record.
    pub is_new: bool,
    /// What the record must be for that; `None`: whatever it is.
    pub expected: Option<Expected>,
}

/// What taking a document in did. What it says is durable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MergedDocument {
    /// The record's version now. `None`: it cannot be read at present.
    pub version: Option<Version>,
    /// Changes of the document that were new, and are edits of this site now.
    pub taken: usize,
    /// Changes of the document that were known: the record's own, and those that were taken in before.
    pub known: usize,
}

/// Why a document was not taken in. Nothing of it was, unless the node stopped meanwhile: then it may have been, and
/// taking it in again is safe.
#[derive(Debug, thiserror::Error)]
pub enum DocumentNotMerged {
    /// The bytes are no document that can be taken in.
    #[error(transparent)]
    Document(#[from] DocumentFault),
    /// It does not fit the record, or the site cannot write.
    #[error(transparent)]
    Write(#[from] WriteError),
    /// The node stopped meanwhile.
    #[error(transparent)]
    Stopped(#[from] Stopped),
}

impl Handle {
    /// Takes in what another program edited of a record: the bytes are a saved Automerge document, or a series of changes.
    /// Its edits build on the version that it was made of, and merge with what was changed since; each counts once, however
    /// often it comes. Returns when that is durable.
    ///
    /// # Errors
    /// [`DocumentNotMerged`].
    pub async fn merge_document(
        &self,
        collection: &str,
        id: &str,
        bytes: Vec<u8>,
        options: MergeOptions,
    ) -> Result<MergedDocument, DocumentNotMerged> {
        let (written, count) = self.take_document(collection, id, bytes, options).await?;
        let taken = written.changes.len();
        // It is written: where it cannot be read back, that is no error of the write.
        let view = self.view(collection, id).await.ok().flatten();
        let version = view.map(|view| view.version());
        Ok(MergedDocument { version, taken, known: count - taken })
    }

    /// As [`Handle::merge_document`]; returns what was written, and how many changes the document has.
    pub(crate) async fn take_document(
        &self,
        collection: &str,
        id: &str,
        bytes: Vec<u8>,
        options: MergeOptions,
    ) -> Result<(Written, usize), DocumentNotMerged> {
        let arrived = Instant::now();
        let turn = turn().await?;
        // The client may be gone before it is read; the turn is not.
        let read = tokio::task::spawn_blocking(move || (ForeignDocument::read(&bytes), turn)).await;
        let (document, turn) = read.map_err(|error| Stopped { reason: Some(error.to_string()) })?;
        let document = document?;
        let count = document.change_count();
        let MergeOptions { is_new, expected } = options;
        let (collection, id) = (collection.to_owned(), id.to_owned());
        let merge = Box::new(DocumentMerge { collection, id, document, is_new, expected });
        let space = self.realm.map(|realm| realm.main_space());
        let results =
            self.ask(|reply| Message::MergeDocument { space, merge, arrived, reply }).await??;
        drop(turn);
        match results.into_iter().next() {
            Some(result) => Ok((result?, count)),
            None => Err(Stopped { reason: None }.into()),
        }
    }

    /// A record as it is here, deleted or not.
    pub(crate) async fn view(&self, collection: &str, id: &str) -> Result<Option<View>, ReadError> {
        let (collection, id) = (collection.to_owned(), id.to_owned());
        let read = self.read_briefly(move |tables, space| {
            read::record(tables, &RecordKey { space, collection, id })
        });
        read.await
    }
}
