//! A record's changes, read back from the journal by the places that its rows name.

use lru::LruCache;

use crate::ids::{Author, SpaceId};
use crate::log::entry::{Body, Entry, EntryId, Header, Origin, RecordWrite, Transaction};
use crate::record::{ChangeActor, RecordChange};
use crate::store::frame::Frame;
use crate::store::tables::logs::{self, EntryRow};
use crate::store::tables::records::{ChangeAt, Changes, RecordKey};
use crate::store::tables::{ReadTables, row};
use crate::store::{Position, ReadStore, StoreError};

/// An entry of the journal. A frame that holds something else counts as damaged.
///
/// # Errors
/// [`StoreError::Damaged`] where the frame is damaged or holds no entry, [`StoreError::Newer`] where a newer program wrote it,
/// another where the journal cannot be read.
pub fn read_entry(journal: &impl ReadStore, at: Position) -> Result<Entry, StoreError> {
    let frame = journal.read(at)?;
    let damaged = |reason: String| StoreError::Damaged { position: at, reason };
    let Frame::Entry(bytes) = Frame::read(&frame).map_err(|unknown| unknown.at(at))? else {
        return Err(damaged("an entry was expected".to_owned()));
    };
    Entry::decode(bytes).map_err(|error| damaged(error.to_string()))
}

/// A change that a transaction made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MadeChange {
    /// The record's collection.
    pub collection: String,
    /// The record's id.
    pub id: String,
    /// The change's hash: the record as the change left it is [`crate::record::Version::of_heads`] of it.
    pub hash: [u8; 32],
}

/// The changes that the transaction of an origin made, in the order of its edits, from one reading of its entry: for
/// those who asked for it, were not there when it was answered, and are shown the entry as one of a repeat. `None`: the
/// entry holds no transaction of that origin.
///
/// # Errors
/// [`StoreError`] where the entry cannot be read.
pub fn made_by(
    journal: &impl ReadStore,
    space: SpaceId,
    entry: EntryId,
    origin: &Origin,
) -> Result<Option<Vec<MadeChange>>, StoreError> {
    let mut transactions = transactions_of(journal, space, entry)?.into_iter();
    let made = transactions.find(|transaction| transaction.origin.as_ref() == Some(origin));
    let Some(made) = made else { return Ok(None) };
    let change = |RecordWrite { collection, id, change }| {
        let hash = change.hash();
        MadeChange { collection, id, hash }
    };
    Ok(Some(made.changes.into_iter().map(change).collect()))
}

/// The transactions of an entry that an origin names.
pub(crate) fn transactions_of(
    journal: &impl ReadStore,
    space: SpaceId,
    EntryId { author, seq }: EntryId,
) -> Result<Vec<Transaction>, StoreError> {
    let entry: Option<EntryRow> = row(journal, "entry row", &logs::entry(space, author, seq))?;
    let lost = || StoreError::Tables { reason: "the entry of an origin has no row".to_owned() };
    let position = Position(entry.ok_or_else(lost)?.position);
    match read_entry(journal, position)?.body() {
        Ok(Body::Transactions(transactions)) => Ok(transactions),
        Ok(Body::Membership(_)) | Err(_) => {
            let reason = "an entry with changes of records was expected".to_owned();
            Err(StoreError::Damaged { position, reason })
        }
    }
}

/// Where all of a record's changes are, in the order in which they were applied.
///
/// # Errors
/// [`StoreError`] where the tables cannot be read: rebuild them from the journal.
pub fn places(
    tables: &impl ReadTables,
    key: &RecordKey,
    changes: &Changes,
) -> Result<Vec<ChangeAt>, StoreError> {
    let mut places = Vec::new();
    for number in 0..changes.rows {
        let full: Option<Vec<ChangeAt>> = row(tables, "places of changes", &key.changes(number))?;
        let missing = || {
            let RecordKey { collection, id, .. } = key;
            format!("the row of places of changes {number} of {collection}/{id} is missing")
        };
        places.extend(full.ok_or_else(|| StoreError::Tables { reason: missing() })?);
    }
    places.extend(&changes.last);
    Ok(places)
}

/// Reads changes. The last entry is kept: changes of one record often lie in one.
pub struct ChangeReader<'a, J> {
    journal: &'a J,
    last: Option<ReadEntry>,
}

/// The entry that a change lies in.
pub struct MadeIn {
    /// Its header.
    pub header: Header,
    /// The log that it is in.
    pub log: Author,
}

impl MadeIn {
    /// The entry's name.
    #[must_use]
    pub fn id(&self) -> EntryId {
        EntryId { author: self.log, seq: self.header.seq }
    }

    /// Whose change it is.
    #[must_use]
    pub fn actor(&self) -> ChangeActor {
        ChangeActor::of(self.header.author, self.log)
    }
}

struct ReadEntry {
    position: u64,
    made_in: MadeIn,
    changes: Vec<RecordChange>,
}

impl<'a, J: ReadStore> ChangeReader<'a, J> {
    /// Reads from this journal.
    pub fn new(journal: &'a J) -> Self {
        Self { journal, last: None }
    }

    /// The change at a place, and the entry that it lies in.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] where the frame of the entry is damaged or does not hold the change, another where the
    /// journal cannot be read.
    pub fn at(&mut self, place: ChangeAt) -> Result<(&MadeIn, &RecordChange), StoreError> {
        if self.last.as_ref().is_none_or(|last| last.position != place.position) {
            self.last = Some(ReadEntry::read(self.journal, place.position)?);
        }
        let last = self.last.as_ref();
        let found =
            last.and_then(|last| Some((&last.made_in, last.changes.get(place.index as usize)?)));
        let reason = || "a row names a change that its entry does not hold".to_owned();
        found.ok_or_else(|| StoreError::Tables { reason: reason() })
    }
}

impl ReadEntry {
    fn read(journal: &impl ReadStore, position: u64) -> Result<Self, StoreError> {
        let entry = read_entry(journal, Position(position))?;
        let log = logs::log_of(journal, &entry.header, &entry.hash)?;
        let Ok(Body::Transactions(transactions)) = entry.body() else {
            let reason = "an entry with changes of records was expected".to_owned();
            return Err(StoreError::Damaged { position: Position(position), reason });
        };
        let writes = transactions.into_iter().flat_map(|transaction| transaction.changes);
        let changes = writes.map(|write| write.change).collect();
        Ok(Self { position, made_in: MadeIn { header: entry.header, log }, changes })
    }
}

/// Bytes of changes that [`RecentEntries`] keeps unless it is to keep fewer: those of some 400,000 changes of a field or two. A site that meets
/// another again reads of each record what was changed meanwhile, which lies in the same entries for most of them.
const RECENT_BYTES_MAX: usize = 64 << 20;
/// What a change takes in memory beside its bytes, about.
const CHANGE_OVERHEAD_BYTES: usize = 80;

/// Entries that were read lately, decoded: one serves all the records that it changed. At least one is kept.
pub(crate) struct RecentEntries {
    entries: LruCache<u64, RecentEntry>,
    bytes: usize,
    bytes_max: usize,
}

struct RecentEntry {
    id: EntryId,
    actor: ChangeActor,
    changes: Vec<RecordChange>,
    bytes: usize,
}

impl RecentEntries {
    pub(crate) fn new() -> Self {
        Self::bounded(RECENT_BYTES_MAX)
    }

    /// Keeps changes of so many bytes.
    pub(crate) fn bounded(bytes_max: usize) -> Self {
        Self { entries: LruCache::unbounded(), bytes: 0, bytes_max }
    }

    /// Forgets all of them.
    pub(crate) fn clear(&mut self) {
        *self = Self::bounded(self.bytes_max);
    }

    /// Returns the change at a place, by whom it is, and how many changes were decoded for it.
    pub(crate) fn at(
        &mut self,
        journal: &impl ReadStore,
        place: ChangeAt,
    ) -> Result<(ChangeActor, &RecordChange, usize), StoreError> {
        let (entry, change, decoded) = self.entry_of(journal, place)?;
        Ok((entry.actor, change, decoded))
    }

    /// As [`RecentEntries::at`], with the entry that the change lies in.
    pub(crate) fn in_entry(
        &mut self,
        journal: &impl ReadStore,
        place: ChangeAt,
    ) -> Result<(EntryId, ChangeActor, &RecordChange), StoreError> {
        let (entry, change, _) = self.entry_of(journal, place)?;
        Ok((entry.id, entry.actor, change))
    }

    fn entry_of(
        &mut self,
        journal: &impl ReadStore,
        place: ChangeAt,
    ) -> Result<(&RecentEntry, &RecordChange, usize), StoreError> {
        let mut decoded = 0;
        if !self.entries.contains(&place.position) {
            let ReadEntry { made_in, changes, .. } = ReadEntry::read(journal, place.position)?;
            decoded = changes.len();
            let bytes = changes.iter().map(|change| CHANGE_OVERHEAD_BYTES + change.body.len());
            let (id, actor, bytes) = (made_in.id(), made_in.actor(), bytes.sum());
            self.make_room(bytes);
            self.bytes += bytes;
            self.entries.push(place.position, RecentEntry { id, actor, changes, bytes });
        }
        let found = self
            .entries
            .get(&place.position)
            .and_then(|entry| Some((entry, entry.changes.get(place.index as usize)?, decoded)));
        let reason = || "a row names a change that its entry does not hold".to_owned();
        found.ok_or_else(|| StoreError::Tables { reason: reason() })
    }

    fn make_room(&mut self, bytes: usize) {
        while self.bytes + bytes > self.bytes_max
            && let Some((_, oldest)) = self.entries.pop_lru()
        {
            self.bytes -= oldest.bytes;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::codec;
    use crate::ids::SpaceId;
    use crate::store::Store;
    use crate::store::memory::MemoryStore;

    #[test]
    fn a_missing_row_of_places_is_a_fault_of_the_tables() {
        let (collection, id) = ("products".to_owned(), "tea".to_owned());
        let key = RecordKey { space: SpaceId([1; 16]), collection, id };
        let place = |position| ChangeAt { position, index: 0 };
        let changes = Changes { rows: 2, last: vec![place(9)] };
        let mut store = MemoryStore::new();
        let full = |first: u64| Some(codec::encode(&vec![place(first), place(first + 1)]));
        store.apply(vec![(key.changes(0), full(1))], None).unwrap();
        let error = places(&store, &key, &changes).unwrap_err();
        assert!(error.to_string().contains("places of changes 1 of products/tea"), "{error}");
        store.apply(vec![(key.changes(1), full(5))], None).unwrap();
        let found: Vec<_> = places(&store, &key, &changes).unwrap();
        assert_eq!(found.iter().map(|at| at.position).collect::<Vec<_>>(), [1, 2, 5, 6, 9]);
    }
}
