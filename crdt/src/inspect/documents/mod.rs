//! Records as Automerge documents, each with its whole history: what goes out to other programs, and whether Automerge
//! reads in it what this site shows.
//!
//! A record's changes are Automerge's, byte for byte, so its document is what Automerge makes of them and of the genesis
//! changes that they rely on. `crdt/docs/documents.md` says how a record is laid out in it:
#![doc = include_str!("../../../docs/documents.md")]

mod verify;

use std::collections::BTreeSet;

use crate::inspect::history::{Link, NotNamed, ancestors, named};
use crate::record::{ChangeActor, Document, RecordChange, Unreadable, Verdict, Version, View};
use crate::record::{automerge_of, heads_of_automerge, save_automerge};
use crate::store::changes::{self, RecentEntries};
use crate::store::read;
use crate::store::tables::records::{RecordKey, RecordRow};
use crate::store::{ReadStore, StoreError};

pub use verify::{DocumentsPage, DocumentsReport, verify_documents};

/// Most bytes of changes that a document is made of. While Automerge puts changes together it takes 1.3 KiB of memory for
/// each of a field or two, so some 430 MiB for these, and a machine that serves an office has little more to spare.
pub const DOCUMENT_CHANGES_BYTES_MAX: usize = 32 << 20;
/// Most operations of the changes that a document is made of. Runs of equal ones take no bytes, but 400 bytes of memory
/// each, so as much as the greatest number of bytes.
pub const DOCUMENT_OPERATIONS_MAX: usize = 1 << 20;

/// A record as an Automerge document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordDocument {
    /// The version of the record that it is of.
    pub version: Version,
    /// The document as Automerge saves it, with all changes that the version has.
    pub bytes: Vec<u8>,
}

/// Why a record is not given as it was asked for.
#[derive(Debug, thiserror::Error)]
pub enum DocumentError {
    /// The storage failed.
    #[error(transparent)]
    Store(StoreError),
    /// The record cannot be read at this site, or Automerge does not read it. A local matter: others may.
    #[error("record {collection}/{id} cannot be read at this site: {reason}")]
    Unreadable {
        /// The record's collection.
        collection: String,
        /// The record's id.
        id: String,
        /// What was found.
        reason: String,
    },
    /// The record has more changes than a document is made of.
    #[error(
        "the history of record {collection}/{id} has more than {max} {what}, too many to build a document from"
    )]
    TooLarge {
        /// The record's collection.
        collection: String,
        /// The record's id.
        id: String,
        /// What there is too much of.
        what: &'static str,
        /// How much there may be.
        max: usize,
    },
    /// Two changes of it have one actor and one number, which no document of Automerge has.
    #[error(
        "record {collection}/{id} has no Automerge document: one of its authors signed two entries under one number; the \
         record itself reads and exports as every other"
    )]
    Forked {
        /// The record's collection.
        collection: String,
        /// The record's id.
        id: String,
    },
    /// The record was never of the version.
    #[error("record {collection}/{id} has never had the version {found} at this site")]
    NoVersion {
        /// The record's collection.
        collection: String,
        /// The record's id.
        id: String,
        /// The version.
        found: Version,
    },
    /// What was given is no version, and names no change.
    #[error(transparent)]
    NotNamed(#[from] NotNamed),
}

/// Returns a record as an Automerge document, deleted or not. `at`: as it was at a version, or as a change left it, which is
/// named as [`crate::inspect::history::diff`] takes it. `None`: nobody has written the record.
///
/// # Errors
/// [`DocumentError`].
pub fn document(
    journal: &impl ReadStore,
    key: &RecordKey,
    at: Option<&str>,
) -> Result<Option<RecordDocument>, DocumentError> {
    let Some(held) = HeldDocument::of(journal, key)? else { return Ok(None) };
    let unreadable = |error: Unreadable| unreadable(key, error);
    held.require_one_branch(key)?;
    let document = automerge_of(held.changes(key, at)?.map(|held| &held.change));
    let document = document.map_err(unreadable)?;
    let heads = heads_of_automerge(&document);
    if at.is_none() && heads != held.heads {
        let reason = "its changes do not make its latest version";
        return Err(unreadable(Unreadable::Automerge(reason.to_owned())));
    }
    let bytes = save_automerge(&document).map_err(unreadable)?;
    Ok(Some(RecordDocument { version: Version::of_heads(&heads), bytes }))
}

/// Returns a record as it was, deleted or not; `at` as for [`document`]. `None`: nobody has written the record.
///
/// # Errors
/// [`DocumentError`].
pub fn view_at(
    journal: &impl ReadStore,
    key: &RecordKey,
    at: &str,
) -> Result<Option<View>, DocumentError> {
    let Some(held) = HeldDocument::of(journal, key)? else { return Ok(None) };
    let changes = held.changes(key, Some(at))?;
    let changes = changes.map(|held| (held.actor, &held.change));
    let document = Document::of_changes(changes).map_err(|error| unreadable(key, error))?;
    Ok(Some(document.view()))
}

/// All changes of a record.
struct HeldDocument {
    changes: Vec<HeldChange>,
    /// The heads by the record's row.
    heads: Vec<[u8; 32]>,
}

/// One of them.
struct HeldChange {
    link: Link,
    actor: ChangeActor,
    change: RecordChange,
}

impl HeldDocument {
    /// Reads them, no more than a document is made of. `None`: nobody has written the record.
    fn of(journal: &impl ReadStore, key: &RecordKey) -> Result<Option<Self>, DocumentError> {
        let failed = |error| failed(key, error);
        if let Some(reason) = read::unreadable(journal, key).map_err(failed)? {
            let RecordKey { collection, id, .. } = key.clone();
            return Err(DocumentError::Unreadable { collection, id, reason });
        }
        let Some(value) = journal.get(&key.record()).map_err(failed)? else { return Ok(None) };
        let row = RecordRow::decode(&value).map_err(failed)?;
        Self::of_row(journal, &mut RecentEntries::new(), key, &row).map(Some)
    }

    fn of_row(
        journal: &impl ReadStore,
        entries: &mut RecentEntries,
        key: &RecordKey,
        row: &RecordRow<'_>,
    ) -> Result<Self, DocumentError> {
        let failed = |error| failed(key, error);
        let heads = row.whole_view().map_err(failed)?.heads;
        let mut held = Self { changes: Vec::new(), heads };
        let (mut bytes, mut operations) = (0, 0);
        for place in changes::places(journal, key, &row.changes).map_err(failed)? {
            let (entry, actor, change) = entries.in_entry(journal, place).map_err(failed)?;
            bytes += change.body.len();
            demand(key, "bytes of changes", bytes, DOCUMENT_CHANGES_BYTES_MAX)?;
            let parsed = change
                .parse(actor)
                .map_err(|fault| unreadable(key, Unreadable::Refused(Verdict::Fault(fault))))?;
            operations += parsed.operations();
            demand(key, "operations", operations, DOCUMENT_OPERATIONS_MAX)?;
            let (link, change) = (Link::new(entry, change, &parsed), change.clone());
            held.changes.push(HeldChange { link, actor, change });
        }
        Ok(held)
    }

    /// The changes that the record had at a moment, in the order in which they were applied; `None`: all.
    fn changes(
        &self,
        key: &RecordKey,
        at: Option<&str>,
    ) -> Result<impl Iterator<Item = &HeldChange>, DocumentError> {
        let reach = at.map(|at| self.reach(key, at)).transpose()?;
        let is_in = move |hash| reach.as_ref().is_none_or(|reach| reach.contains(hash));
        Ok(self.changes.iter().filter(move |held| is_in(&held.link.hash)))
    }

    fn links(&self) -> impl Iterator<Item = &Link> {
        self.changes.iter().map(|held| &held.link)
    }

    /// Refuses where a document of Automerge cannot hold the changes.
    fn require_one_branch(&self, key: &RecordKey) -> Result<(), DocumentError> {
        let RecordKey { collection, id, .. } = key.clone();
        if self.changes.iter().any(|held| held.actor.is_of_branch) {
            Err(DocumentError::Forked { collection, id })
        } else {
            Ok(())
        }
    }

    /// The hashes of the changes that the record had at a version, or that a change builds on.
    fn reach(&self, key: &RecordKey, at: &str) -> Result<BTreeSet<[u8; 32]>, DocumentError> {
        let heads = match at.parse::<Version>() {
            Ok(version) => {
                let hashes: BTreeSet<_> = self.links().map(|link| link.hash).collect();
                let heads = version.heads_among(&hashes);
                let RecordKey { collection, id, .. } = key.clone();
                heads.ok_or(DocumentError::NoVersion { collection, id, found: version })?
            }
            Err(_) => vec![named(self.links(), at)?],
        };
        Ok(ancestors(self.links(), heads))
    }
}

fn demand(
    key: &RecordKey,
    what: &'static str,
    found: usize,
    max: usize,
) -> Result<(), DocumentError> {
    if found <= max {
        return Ok(());
    }
    let RecordKey { collection, id, .. } = key.clone();
    Err(DocumentError::TooLarge { collection, id, what, max })
}

fn unreadable(key: &RecordKey, error: Unreadable) -> DocumentError {
    let RecordKey { collection, id, .. } = key.clone();
    DocumentError::Unreadable { collection, id, reason: error.to_string() }
}

/// What is damaged of one record leaves others as they are.
fn failed(key: &RecordKey, error: StoreError) -> DocumentError {
    match error {
        StoreError::Damaged { .. } | StoreError::Tables { .. } => {
            let RecordKey { collection, id, .. } = key.clone();
            DocumentError::Unreadable { collection, id, reason: error.to_string() }
        }
        StoreError::Unwritable { .. }
        | StoreError::Newer { .. }
        | StoreError::Unreadable { .. } => DocumentError::Store(error),
    }
}
