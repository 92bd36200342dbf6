//! Documents that another program edited, taken into records.
//!
//! Each change of such a document becomes a transaction of its own, whose origin names the document's record and the change.
//! So it is known at every site that has the entry what was taken in before and what became of it, for as long as the
//! entry is kept: nothing else is remembered, and nothing of that forgotten.

use std::collections::{BTreeMap, BTreeSet};

use data_encoding::BASE64URL_NOPAD;

use super::Batch;
use super::events::refused;
use super::stage::{
    ChangePlace, Mark, NotTaken, Pending, STAGED_BYTES_MAX, StagedChange, StagedWrite, WrittenIn,
};
use super::write::{Stop, WriteError};
use crate::ids::{RealmId, SpaceId};
use crate::log::entry::{Body, EntryId, Origin, RecordWrite, Transaction, limits};
use crate::record::{
    ActorBytes, DocumentRefused, Edited, EventFault, Expected, ForeignDocument, Merge,
    RecordChange, SCHEMA_COLLECTION, check_collection, check_record_id, merge_document,
};
use crate::replica::context::Context;
use crate::store::changes;
use crate::store::tables::logs::{self, ActorRow, EntryStatus};
use crate::store::tables::records::{self, RecordKey};
use crate::store::tables::row;
use crate::store::{Store, StoreError};

/// A document that another program may have edited, to be taken into a record.
#[derive(Clone, Debug)]
pub struct DocumentMerge {
    /// The record's collection.
    pub collection: String,
    /// Its id.
    pub id: String,
    /// The document.
    pub document: ForeignDocument,
    /// Whether it shall become a new record. Otherwise it must have been made of the record.
    pub is_new: bool,
    /// What the record must be for that; `None`: whatever it is.
    pub expected: Option<Expected>,
}

/// Separates these hashes from every other use of the hash. Part of what is kept.
const CONTEXT: &str = "branchline 2026 change of a document";

/// The origin under which a change of a document is taken into a record.
fn origin(key: &RecordKey, change: &[u8; 32]) -> Origin {
    let mut hasher = blake3::Hasher::new_derive_key(CONTEXT);
    for name in [&key.collection, &key.id] {
        hasher.update(&(name.len() as u64).to_le_bytes());
        hasher.update(name.as_bytes());
    }
    let hash = hasher.update(change).finalize();
    Origin::of_document(&BASE64URL_NOPAD.encode(hash.as_bytes()))
}

impl Batch {
    /// Takes a document in, wholly or not at all.
    pub(in crate::replica) fn merge_document<S: Store>(
        &mut self,
        cx: Context<'_, S>,
        id: u64,
        space: Option<SpaceId>,
        request: DocumentMerge,
    ) -> Result<(), StoreError> {
        let mut mark = self.stage.mark();
        let result = match self.stage_document(cx, space, request, &mut mark) {
            Ok(written) => Ok(written),
            Err(Stop::Write(error)) => {
                self.roll_back(cx, mark)?;
                Err(error)
            }
            Err(Stop::Store(error)) => return Err(error),
        };
        self.stage.written.push((id, vec![result]));
        Ok(())
    }

    fn stage_document<S: Store>(
        &mut self,
        cx: Context<'_, S>,
        space: Option<SpaceId>,
        request: DocumentMerge,
        mark: &mut Mark,
    ) -> Result<StagedWrite, Stop> {
        let DocumentMerge { collection, id, document, is_new, expected } = request;
        let realm = cx.realms.writable(space)?;
        let space = realm.main_space();
        check_collection(&collection)?;
        check_record_id(&id)?;
        if collection == SCHEMA_COLLECTION {
            return Err(WriteError::Document(Box::new(DocumentRefused::OfSchema)).into());
        }
        let schema = self.schema(cx, space, &collection)?;
        let key = RecordKey { space, collection, id };
        if schema.as_ref().is_some_and(|schema| schema.is_of_events()) {
            return Err(refused(&key, EventFault::Document));
        }
        self.stage_whole(cx, &key, mark)?;
        let record = self.staged_with(cx, &key, mark)?;
        let Ok(whole) = &record.document else {
            return Err(unreadable(&key, "it is unreadable here").into());
        };
        if whole.has_branches() {
            return Err(WriteError::Document(Box::new(DocumentRefused::Forked)).into());
        }
        if let Some(expected) = expected {
            let found = whole.view();
            if !expected.is_met(&found) {
                let RecordKey { collection, id, .. } = key;
                let found = Box::new(found);
                return Err(WriteError::Unexpected { collection, id, found }.into());
            }
        }
        let unknown: Vec<[u8; 32]> =
            document.hashes().filter(|hash| !whole.has_change(hash)).copied().collect();
        let taken = self.taken_before(cx, realm, &key, &unknown)?;
        let sites = self.sites_among(cx, &document)?;
        let actor = ActorBytes(cx.author.actor());
        let request = Merge {
            document: &document,
            actor,
            time_ms: cx.now.wall_ms,
            schema: schema.as_deref(),
            is_new,
            is_site: &|actor| sites.contains(&actor),
            taken: &taken,
        };
        let record = self.staged_with(cx, &key, mark)?;
        let Ok(whole) = &mut record.document else {
            return Err(unreadable(&key, "it is unreadable here").into());
        };
        let edits = merge_document(whole, &request)
            .map_err(|error| WriteError::Document(Box::new(error)))?;
        self.stage_edits(cx, realm, &key, actor, edits)
    }

    /// Stages what was made of the changes of a document that were new, each as a transaction.
    fn stage_edits<S: Store>(
        &mut self,
        cx: Context<'_, S>,
        realm: RealmId,
        key: &RecordKey,
        actor: ActorBytes,
        edits: Vec<([u8; 32], Edited)>,
    ) -> Result<StagedWrite, Stop> {
        let first = self.stage.transactions.len();
        let (mut hashes, mut pending) = (Vec::new(), Vec::new());
        let (mut bytes, mut operations) = (0, 0);
        for (foreign, edited) in &edits {
            let RecordKey { collection, id, .. } = key.clone();
            let write = RecordWrite { collection, id, change: edited.change.clone() };
            let transaction =
                Transaction { origin: Some(origin(key, foreign)), changes: vec![write] };
            let size = transaction.bytes_max();
            bytes += size;
            operations += edited.operations;
            hashes.push(Some(edited.hash));
            pending.push(Pending {
                realm,
                transaction,
                bytes: size,
                operations: edited.operations,
            });
        }
        let changes = pending.len();
        if bytes > STAGED_BYTES_MAX
            || changes > limits::CHANGES_MAX
            || operations > limits::OPERATIONS_MAX
        {
            return Err(WriteError::DocumentTooLarge { bytes, changes, operations }.into());
        }
        let record = self.staged(cx, key)?;
        for ((_, edited), number) in edits.into_iter().zip(first..) {
            let place = ChangePlace::Local { transaction: number, change: 0 };
            record.changes.push(StagedChange { actor: actor.into(), change: edited.change, place });
        }
        self.stage.bytes += bytes;
        self.stage.operation_count += operations;
        self.stage.transactions.extend(pending);
        let written_in = match changes {
            0 => WrittenIn::Nothing,
            _ => WrittenIn::Group(first + changes - 1),
        };
        Ok(StagedWrite { hashes, written_in, is_repeat: false })
    }

    /// Stages a record with its whole history.
    fn stage_whole<S: Store>(
        &mut self,
        cx: Context<'_, S>,
        key: &RecordKey,
        mark: &mut Mark,
    ) -> Result<(), Stop> {
        let record = self.staged_with(cx, key, mark)?;
        match &record.document {
            Ok(document) if document.is_whole() => Ok(()),
            Ok(_) => self.load_history(cx, key).map_err(|stop| match stop {
                NotTaken::Damaged | NotTaken::Store(StoreError::Damaged { .. }) => {
                    unreadable(key, "the journal's copy of one of its changes is damaged").into()
                }
                NotTaken::Store(error) => error.into(),
                NotTaken::Verdict(verdict) => unreadable(key, &verdict.to_string()).into(),
            }),
            Err(reason) => Err(unreadable(key, reason).into()),
        }
    }

    /// What became of those of a document's changes that were taken into the record before.
    fn taken_before<S: Store>(
        &self,
        cx: Context<'_, S>,
        realm: RealmId,
        key: &RecordKey,
        changes: &[[u8; 32]],
    ) -> Result<BTreeMap<[u8; 32], RecordChange>, Stop> {
        let origins = changes.iter().map(|hash| (origin(key, hash), *hash));
        let origins: BTreeMap<Origin, [u8; 32]> = origins.collect();
        let mut taken = BTreeMap::new();
        let mut note = |transaction: &Transaction| {
            let hash = transaction.origin.as_ref().and_then(|origin| origins.get(origin));
            let mut changes = transaction.changes.iter();
            let change = changes.find(|it| it.collection == key.collection && it.id == key.id);
            if let (Some(hash), Some(write)) = (hash, change) {
                taken.insert(*hash, write.change.clone());
            }
        };
        let pending = self.stage.transactions.iter().filter(|pending| pending.realm == realm);
        pending.for_each(|pending| note(&pending.transaction));
        for staged in &self.stage.entries {
            let is_of_space =
                staged.entry.header.space == key.space && staged.status == EntryStatus::Applied;
            if is_of_space
                && staged.origins.iter().any(|origin| origins.contains_key(origin))
                && let Ok(Body::Transactions(transactions)) = staged.entry.body()
            {
                transactions.iter().for_each(&mut note);
            }
        }
        let mut entries: BTreeSet<EntryId> = BTreeSet::new();
        for origin in origins.keys() {
            entries.extend(row::<EntryId>(
                cx.store,
                "origin",
                &records::origin(key.space, cx.author.site, origin),
            )?);
        }
        for entry in entries {
            let read = changes::transactions_of(cx.store, key.space, entry);
            let transactions = read.map_err(|error| match error {
                StoreError::Damaged { .. } => {
                    let reason =
                        "the journal's copy of an entry that took the document in is damaged";
                    Stop::from(unreadable(key, reason))
                }
                error @ (StoreError::Unwritable { .. }
                | StoreError::Newer { .. }
                | StoreError::Unreadable { .. }
                | StoreError::Tables { .. }) => error.into(),
            })?;
            transactions.iter().for_each(&mut note);
        }
        Ok(taken)
    }

    /// The actors of a document that are those of sites, as far as is known here.
    fn sites_among<S: Store>(
        &self,
        cx: Context<'_, S>,
        document: &ForeignDocument,
    ) -> Result<BTreeSet<ActorBytes>, StoreError> {
        let mut sites = BTreeSet::from([ActorBytes(cx.author.actor())]);
        for actor in document.site_actors() {
            let known: Option<ActorRow> = row(cx.store, "actor", &logs::actor(&actor.0))?;
            sites.extend(known.map(|_| actor));
        }
        Ok(sites)
    }
}

fn unreadable(key: &RecordKey, reason: &str) -> WriteError {
    let RecordKey { collection, id, .. } = key.clone();
    WriteError::Unreadable { collection, id, reason: reason.to_owned() }
}
