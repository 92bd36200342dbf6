//! Records as Automerge documents: one of them, and whether Automerge reads them all as this site does.

use branchline_crdt::inspect::documents::{self, DocumentError, DocumentsPage, RecordDocument};
use branchline_crdt::record::{Version, View};
use branchline_crdt::store::StoreError;
use branchline_crdt::store::tables::records::RecordKey;
use tokio::sync::{Semaphore, SemaphorePermit};

use crate::handle::{Handle, ReadError, Stopped};
use crate::storage::Reader;

/// Documents that are made or read at a time, in the whole process; others wait. Each may take half a GiB of memory and keep
/// a core busy for seconds.
const DOCUMENTS_AT_ONCE: usize = 1;
static DOCUMENT_PERMITS: Semaphore = Semaphore::const_new(DOCUMENTS_AT_ONCE);

/// Why there is no document of a record.
#[derive(Debug, thiserror::Error)]
pub enum NoDocument {
    /// The record is not given as it was asked for.
    #[error(transparent)]
    Document(#[from] DocumentError),
    /// Nothing could be read.
    #[error(transparent)]
    Read(#[from] ReadError),
}

impl Handle {
    /// Returns a record as an Automerge document, with its whole history, as Automerge itself saves it; a deleted record
    /// too. `None`: nobody has written the record.
    ///
    /// # Errors
    /// [`NoDocument`].
    pub async fn document(
        &self,
        collection: &str,
        id: &str,
    ) -> Result<Option<RecordDocument>, NoDocument> {
        self.document_as_of(collection, id, None).await
    }

    /// As [`Handle::document`], of the record as it was at a version.
    ///
    /// # Errors
    /// [`NoDocument`]; a version that the record never had here is an error.
    pub async fn document_at(
        &self,
        collection: &str,
        id: &str,
        version: &Version,
    ) -> Result<Option<RecordDocument>, NoDocument> {
        self.document_as_of(collection, id, Some(version.to_string())).await
    }

    /// As [`Handle::document_at`], by the text of a version, or by a change as the history names it.
    pub(crate) async fn document_as_of(
        &self,
        collection: &str,
        id: &str,
        at: Option<String>,
    ) -> Result<Option<RecordDocument>, NoDocument> {
        self.in_turn(collection, id, move |reader, key| {
            documents::document(reader, key, at.as_deref())
        })
        .await
    }

    /// Returns a record as it was, deleted or not, by the same texts. `None`: nobody has written it.
    pub(crate) async fn view_as_of(
        &self,
        collection: &str,
        id: &str,
        at: String,
    ) -> Result<Option<View>, NoDocument> {
        self.in_turn(collection, id, move |reader, key| documents::view_at(reader, key, &at)).await
    }

    /// Has Automerge read a page of the records of all spaces, and compares that with what this site shows. `after`: the
    /// `next` of the page before; `None`: from the first record.
    ///
    /// # Errors
    /// [`ReadError`]; what is wrong with single records is in the report.
    pub async fn verify_documents(
        &self,
        after: Option<Vec<u8>>,
    ) -> Result<DocumentsPage, ReadError> {
        let (turn, reader) = (turn().await?, self.reader.clone());
        let verify = move || {
            let page = documents::verify_documents(&reader, after.as_deref());
            drop(turn);
            page
        };
        match tokio::task::spawn_blocking(verify).await {
            Ok(page) => Ok(page?),
            Err(error) => Err(Stopped { reason: Some(error.to_string()) }.into()),
        }
    }

    /// Reads a record's history when its turn has come. The client may be gone by then; the turn is not.
    async fn in_turn<T: Send + 'static>(
        &self,
        collection: &str,
        id: &str,
        read: impl FnOnce(&Reader, &RecordKey) -> Result<T, DocumentError> + Send + 'static,
    ) -> Result<T, NoDocument> {
        let (collection, id) = (collection.to_owned(), id.to_owned());
        let turn = turn().await.map_err(ReadError::from)?;
        let done = self.read(move |reader, space| {
            let done = read(reader, &RecordKey { space, collection, id });
            drop(turn);
            Ok::<_, StoreError>(done)
        });
        Ok(done.await??)
    }
}

/// Waits for a place among the documents that are made or read.
pub(super) async fn turn() -> Result<SemaphorePermit<'static>, Stopped> {
    let turn = DOCUMENT_PERMITS.acquire().await;
    turn.map_err(|error| Stopped { reason: Some(error.to_string()) })
}
