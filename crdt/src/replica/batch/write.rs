//! Local writes: from an edit to a staged transaction.

use std::sync::Arc;

use data_encoding::HEXLOWER;

use super::Batch;
use super::stage::{
    ChangePlace, Mark, Pending, STAGED_BYTES_MAX, StagedChange, StagedRecord, StagedWrite,
    WrittenIn,
};
use crate::format::codec;
use crate::ids::{RealmId, SiteId, SpaceId};
use crate::log::entry::{EntryId, RecordWrite, Transaction, limits};
use crate::membership::Role;
use crate::record::{
    ActorBytes, Begun, DocumentRefused, EditError, Edited, EventFault, NameError,
    SCHEMA_COLLECTION, Schema, SchemaError, Version, View, begin, check_collection,
    check_record_id, validate_schema_edit,
};
use crate::replica::context::Context;
use crate::replica::{LocalTransaction, RecordEdit};
use crate::store::tables::logs::EntryStatus;
use crate::store::tables::records::{self, RecordKey};
use crate::store::tables::row;
use crate::store::{Store, StoreError};

/// Largest local transaction in bytes: it must fit one entry even where it does not compress and the header names
/// as many tips as it can.
const TRANSACTION_BYTES_MAX: usize = limits::ENTRY_BYTES_MAX - 1024 * 1024;

/// What a transaction did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    /// Edits that changed something. 0 where everything was as asked before, or the origin is a repeat.
    pub records_changed: usize,
    /// The hash of the change that each edit made, in their order; `None`: there was nothing to change. Empty if the origin is
    /// a repeat: [`crate::store::changes::made_by`] tells then.
    pub changes: Vec<Option<[u8; 32]>>,
    /// The entry that holds it; `None` where everything was as asked before.
    pub entry: Option<EntryId>,
    /// Whether the origin is a repeat: it was all written before.
    pub is_repeat: bool,
}

/// Why a transaction was not written. Nothing of it shows anywhere.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// The site has neither founded nor joined a network.
    #[error("this site does not belong to a network yet: found one, or join one with a ticket")]
    NoNetwork,
    /// The site was revoked: nobody would take what it writes.
    #[error(
        "this site was revoked by {by}: what it holds can still be read, but nothing can be written"
    )]
    Revoked {
        /// The name of the admin who revoked it.
        by: String,
    },
    /// The site holds no such space.
    #[error("this site holds no such space")]
    UnknownSpace,
    /// The site left the space, or was shut out of it: nobody would take what it writes.
    #[error("this site {}: what it holds of the space can still be read, but nothing can be written", match left {
        true => "left the space".to_owned(),
        false => format!("was shut out of the space by {by}"),
    })]
    OutOfSpace {
        /// Whether by its own decision.
        left: bool,
        /// The name of the site that decided.
        by: String,
    },
    /// The site may not write this.
    #[error("writing {what} takes the role {needed}, this site is {role}")]
    Role {
        /// What was to be written.
        what: &'static str,
        /// The role that it takes.
        needed: Role,
        /// The site's role.
        role: Role,
    },
    /// Collection or record id cannot be one.
    #[error(transparent)]
    Name(#[from] NameError),
    /// The edit does not fit the record.
    #[error(transparent)]
    Edit(#[from] EditError),
    /// A schema is wrong.
    #[error(transparent)]
    Schema(#[from] SchemaError),
    /// A transaction must fit one entry.
    #[error(
        "a transaction has at most {TRANSACTION_BYTES_MAX} bytes, {} changes and {} operations, found {bytes} bytes, \
         {changes} changes and {operations} operations: write less at a time",
        limits::CHANGES_MAX,
        limits::OPERATIONS_MAX
    )]
    TooLarge {
        /// Bytes found.
        bytes: usize,
        /// Changes found.
        changes: usize,
        /// Operations found.
        operations: usize,
    },
    /// A document that another program edited does not fit the record.
    #[error(transparent)]
    Document(#[from] Box<DocumentRefused>),
    /// The edits of a document must fit one group of entries.
    #[error(
        "what is new in the document takes {bytes} bytes, {changes} changes and {operations} operations; at most \
         {STAGED_BYTES_MAX} bytes, {} changes and {} operations are taken in at once: an earlier copy of it has less",
        limits::CHANGES_MAX,
        limits::OPERATIONS_MAX
    )]
    DocumentTooLarge {
        /// Bytes found.
        bytes: usize,
        /// Changes found.
        changes: usize,
        /// Operations found.
        operations: usize,
    },
    /// A collection of events does not take it.
    #[error("event {collection}/{id}: {fault}")]
    Event {
        /// The collection.
        collection: String,
        /// The event's id.
        id: String,
        /// Why.
        fault: EventFault,
    },
    /// The origin cannot be one.
    #[error(
        "the name of an origin's source has at most {} bytes, found {found}",
        limits::ORIGIN_SOURCE_BYTES_MAX
    )]
    Origin {
        /// Bytes found.
        found: usize,
    },
    /// One edit of several is refused, and so all are.
    #[error("edit {}: {error}", number + 1)]
    InEdit {
        /// Its number, from 0.
        number: usize,
        /// Why.
        error: Box<Self>,
    },
    /// Something else was written under the origin's key.
    #[error("this key was used before, for a different request")]
    OriginReused,
    /// The record is not what the edit expects.
    #[error("record {collection}/{id} is not what was expected")]
    Unexpected {
        /// Its collection.
        collection: String,
        /// Its id.
        id: String,
        /// What it is; of one that nobody has written it has no heads.
        found: Box<View>,
    },
    /// The edit builds on a version that the record does not have here.
    #[error(
        "record {collection}/{id} has no change that begins with {} at this site, and the edit builds on it: expected a \
         version that was read here; read the record and build on what it is now",
        HEXLOWER.encode(missing)
    )]
    UnknownVersion {
        /// Its collection.
        collection: String,
        /// Its id.
        id: String,
        /// How the hash of the change begins.
        missing: [u8; 16],
    },
    /// The record cannot be read at this site.
    #[error("record {collection}/{id} cannot be read at this site: {reason}")]
    Unreadable {
        /// Its collection.
        collection: String,
        /// Its id.
        id: String,
        /// What happened.
        reason: String,
    },
    /// The journal could not be written; trying again later is safe.
    #[error("nothing was written: {reason}")]
    Unwritable {
        /// What the storage said.
        reason: String,
    },
}

/// A write stops for its own fault, or with the store.
pub(in crate::replica) enum Stop {
    Write(WriteError),
    Store(StoreError),
}

/// What one edit made.
struct StagedEdit {
    write: RecordWrite,
    hash: [u8; 32],
    operations: usize,
}

impl Stop {
    /// Of one edit among several.
    fn of_edit(self, number: usize) -> Self {
        match self {
            Self::Write(error) => {
                Self::Write(WriteError::InEdit { number, error: Box::new(error) })
            }
            Self::Store(error) => Self::Store(error),
        }
    }
}

impl From<StoreError> for Stop {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl<E: Into<WriteError>> From<E> for Stop {
    fn from(error: E) -> Self {
        Self::Write(error.into())
    }
}

impl Batch {
    /// Takes local transactions in, each on its own.
    pub(in crate::replica) fn write<S: Store>(
        &mut self,
        cx: Context<'_, S>,
        id: u64,
        space: Option<SpaceId>,
        transactions: Vec<LocalTransaction>,
    ) -> Result<(), StoreError> {
        let main = || cx.realms.network().map(|network| network.main_space());
        if let Some(space) = space.or_else(main) {
            let edits = transactions.iter().flat_map(|transaction| &transaction.edits);
            let addresses = edits.map(|edit| (edit.collection.as_str(), edit.id.as_str()));
            self.find_vacancy(cx, space, addresses)?;
        }
        let mut results = Vec::with_capacity(transactions.len());
        for transaction in transactions {
            let mut mark = self.stage.mark();
            let result = match self.stage_transaction(cx, space, transaction, &mut mark) {
                Ok(written) => Ok(written),
                Err(Stop::Write(error)) => {
                    self.roll_back(cx, mark)?;
                    Err(error)
                }
                Err(Stop::Store(error)) => return Err(error),
            };
            results.push(result);
        }
        self.stage.written.push((id, results));
        Ok(())
    }

    fn stage_transaction<S: Store>(
        &mut self,
        cx: Context<'_, S>,
        space: Option<SpaceId>,
        transaction: LocalTransaction,
        mark: &mut Mark,
    ) -> Result<StagedWrite, Stop> {
        let realm = cx.realms.writable(space)?;
        let space = realm.main_space();
        if let Some(before) = self.written_before(cx, realm, space, &transaction)? {
            return Ok(StagedWrite { hashes: Vec::new(), written_in: before, is_repeat: true });
        }
        let (mut changes, mut operations) = (Vec::new(), 0);
        let number = self.stage.transactions.len();
        let edit_count = transaction.edits.len();
        let mut hashes = Vec::with_capacity(edit_count);
        for (edit, nth) in transaction.edits.into_iter().zip(0..) {
            let place = ChangePlace::Local { transaction: number, change: changes.len() as u32 };
            let staged = self.stage_edit(cx, space, edit, place, mark);
            let staged =
                if edit_count > 1 { staged.map_err(|stop| stop.of_edit(nth)) } else { staged };
            let staged = staged?;
            hashes.push(staged.as_ref().map(|staged| staged.hash));
            if let Some(StagedEdit { write, operations: count, .. }) = staged {
                changes.push(write);
                operations += count;
            }
        }
        let records_changed = changes.len();
        if records_changed > 0 {
            let transaction = Transaction { origin: transaction.origin, changes };
            let bytes = transaction.bytes_max();
            debug_assert!(codec::encode(&transaction).len() <= bytes);
            if bytes > TRANSACTION_BYTES_MAX
                || records_changed > limits::CHANGES_MAX
                || operations > limits::OPERATIONS_MAX
            {
                let changes = records_changed;
                return Err(WriteError::TooLarge { bytes, changes, operations }.into());
            }
            self.stage.bytes += bytes;
            self.stage.operation_count += operations;
            self.stage.transactions.push(Pending { realm, transaction, bytes, operations });
        }
        let written_in = match records_changed {
            0 => WrittenIn::Nothing,
            _ => WrittenIn::Group(number),
        };
        Ok(StagedWrite { hashes, written_in, is_repeat: false })
    }

    /// Where this site has written a transaction of the same origin, under its key or one that it replaced, if it has.
    fn written_before<S: Store>(
        &self,
        cx: Context<'_, S>,
        realm: RealmId,
        space: SpaceId,
        transaction: &LocalTransaction,
    ) -> Result<Option<WrittenIn>, Stop> {
        let Some(origin) = &transaction.origin else { return Ok(None) };
        if origin.source.len() > limits::ORIGIN_SOURCE_BYTES_MAX {
            return Err(WriteError::Origin { found: origin.source.len() }.into());
        }
        let members = cx.realms.members_of(realm);
        let keys: Vec<SiteId> = match members {
            Some(members) => members.keys_of(cx.author.site).collect(),
            None => vec![cx.author.site],
        };
        let is_own = |site: &SiteId| keys.contains(site) || origin.is_of_document();
        let staged = || {
            let pending = self.stage.transactions.iter().enumerate();
            let of_space = pending.filter(|(_, pending)| pending.realm == realm);
            let local = of_space.filter_map(|(number, pending)| {
                Some((WrittenIn::Group(number), pending.transaction.origin.as_ref()?))
            });
            // What this site wrote before its data was lost comes back in the entries of others' answers.
            let entries = self.stage.entries.iter();
            let of_space = entries.filter(|staged| {
                let header = &staged.entry.header;
                let is_of_space = header.space == space && staged.status == EntryStatus::Applied;
                is_of_space && is_own(&header.author.site)
            });
            local.chain(of_space.flat_map(|staged| {
                let entry = staged.entry.id();
                staged.origins.iter().map(move |origin| (WrittenIn::Entry(entry), origin))
            }))
        };
        if let Some((written_in, _)) = staged().find(|(_, staged)| *staged == origin) {
            return Ok(Some(written_in));
        }
        for site in &keys {
            let held: Option<EntryId> =
                row(cx.store, "origin", &records::origin(space, *site, origin))?;
            if let Some(entry) = held {
                return Ok(Some(WrittenIn::Entry(entry)));
            }
        }
        let Some(key) = origin.key() else { return Ok(None) };
        let mut is_reused = staged().any(|(_, staged)| staged.key().as_ref() == Some(&key));
        for site in &keys {
            is_reused |= !cx.store.scan(&records::origin(space, *site, &key), None, 1)?.is_empty();
        }
        if is_reused { Err(WriteError::OriginReused.into()) } else { Ok(None) }
    }

    fn stage_edit<S: Store>(
        &mut self,
        cx: Context<'_, S>,
        space: SpaceId,
        edit: RecordEdit,
        place: ChangePlace,
        mark: &mut Mark,
    ) -> Result<Option<StagedEdit>, Stop> {
        let RecordEdit { collection, id, mut edit, expected, builds_on, drafted } = edit;
        check_collection(&collection)?;
        check_record_id(&id)?;
        let is_schema = collection == SCHEMA_COLLECTION;
        let schema = if is_schema {
            let realm = cx.realms.realm_of(space).ok_or(WriteError::UnknownSpace)?;
            cx.realms.require_role(realm, Role::Admin, "schemas")?;
            check_collection(&id)?;
            edit = edit.of_schema();
            Some(Arc::new(Schema::of_schemas()))
        } else {
            self.schema(cx, space, &collection)?
        };
        let actor = ActorBytes(cx.author.actor());
        let time_ms = cx.now.wall_ms;
        let key = RecordKey { space, collection, id };
        if schema.as_ref().is_some_and(|schema| schema.is_of_events()) {
            match self.edit_of_event(cx, &key, edit, expected.as_ref(), mark)? {
                Some(stored) => edit = stored,
                None => return Ok(None),
            }
        }
        let on_nothing = builds_on.as_ref().is_none_or(|version| *version == Version::default());
        if !is_schema && expected.is_none() && on_nothing && self.is_new(cx, &key)? {
            let begun = match drafted.and_then(|drafted| drafted.begun(actor, schema.as_ref())) {
                Some(begun) => Some(begun),
                None => begin(actor, time_ms, &edit, schema.as_deref())?,
            };
            return self.begin_record(cx, key, begun, place, mark);
        }
        let seen = match &builds_on {
            Some(version) => self.at_version(cx, &key, version, mark)?,
            None => None,
        };
        let record = self.staged_with(cx, &key, mark)?;
        let document = match &mut record.document {
            Ok(document) => document,
            Err(reason) => {
                let reason = reason.clone();
                let RecordKey { collection, id, .. } = key;
                return Err(WriteError::Unreadable { collection, id, reason }.into());
            }
        };
        if let Some(expected) = expected {
            let found = document.view();
            if !expected.is_met(&found) {
                let RecordKey { collection, id, .. } = key;
                let found = Box::new(found);
                return Err(WriteError::Unexpected { collection, id, found }.into());
            }
        }
        let before = (is_schema && !document.is_empty()).then(|| document.view());
        let edited = match &seen {
            Some(seen) => document.edit_on(seen, actor, time_ms, &edit, schema.as_deref())?,
            None => document.edit(actor, time_ms, &edit, schema.as_deref())?,
        };
        let Some(Edited { change, hash, operations }) = edited else { return Ok(None) };
        // Remembered first, so that a schema which is refused below is rolled back.
        record.changes.push(StagedChange { actor: actor.into(), change: change.clone(), place });
        if is_schema {
            let after = document.view();
            validate_schema_edit(before.as_ref(), &after)?;
            self.check_events_fixed(cx, &key, before.as_ref(), &after)?;
        }
        let write = RecordWrite { collection: key.collection, id: key.id, change };
        Ok(Some(StagedEdit { write, hash, operations }))
    }

    /// The first edit of a record that nobody has written.
    fn begin_record<S: Store>(
        &mut self,
        cx: Context<'_, S>,
        key: RecordKey,
        begun: Option<(Edited, Begun)>,
        place: ChangePlace,
        mark: &mut Mark,
    ) -> Result<Option<StagedEdit>, Stop> {
        let actor = ActorBytes(cx.author.actor());
        let Some((Edited { change, hash, operations }, begun)) = begun else { return Ok(None) };
        let staged = StagedChange { actor: actor.into(), change: change.clone(), place };
        match begun {
            Begun::New(first) => self.take_new(key.clone(), staged, first),
            Begun::Document(document) => {
                mark.touch(&key, 0);
                let record = StagedRecord::begun(Ok(document), staged);
                self.stage.records.insert(key.clone(), record);
            }
        }
        let write = RecordWrite { collection: key.collection, id: key.id, change };
        Ok(Some(StagedEdit { write, hash, operations }))
    }
}
