//! The entries of logs, newest first, by what the tables and the journal say of them.

use std::collections::{BTreeSet, BinaryHeap};

use crate::ids::{Author, EntryHash, SiteId, SpaceId};
use crate::log::entry::text::EntryText;
use crate::log::entry::{Body, Entry, EntryId, PAYLOAD_FORMAT};
use crate::log::frontier::Known;
use crate::store::changes::read_entry;
use crate::store::logs::Logs;
use crate::store::tables::logs::{self, EntryRow, EntryStatus};
use crate::store::tables::{ReadTables, decode_row, row, walk};
use crate::store::{Position, ReadStore, StoreError};

/// One entry, as far as it can be given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoggedEntry {
    /// Its space.
    pub space: SpaceId,
    /// Whose log it is in.
    pub author: Author,
    /// Its number there.
    pub seq: u64,
    /// Its hash.
    pub hash: EntryHash,
    /// What became of it.
    pub status: EntryStatus,
    /// Its place in the journal.
    pub position: Position,
    /// What it says itself; `None`: its bytes are damaged.
    pub content: Option<LoggedContent>,
}

/// What an entry says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LoggedContent {
    /// When it was written, in ms since 1970 by its author's clock.
    pub time_ms: i64,
    /// Its size in bytes.
    pub bytes: usize,
    /// Transactions, or operations on members; `None`: the payload cannot be read here.
    pub transactions: Option<usize>,
    /// Changes to records in them.
    pub changes: Option<usize>,
}

/// What is held of a space: the tips of its logs.
///
/// # Errors
/// [`StoreError`] where the tables cannot be read: rebuild them from the journal.
pub fn known(tables: &impl ReadTables, space: SpaceId) -> Result<Vec<Known>, StoreError> {
    Ok(Logs::load(tables, space)?.known(None))
}

/// The last `limit` entries of these spaces before `before` in the journal, newest first; of some sites or of all.
///
/// # Errors
/// [`StoreError`] where the tables cannot be read; an entry whose frame is damaged is listed without its content.
pub fn entries(
    journal: &impl ReadStore,
    spaces: &[SpaceId],
    sites: Option<&BTreeSet<SiteId>>,
    before: Option<Position>,
    limit: usize,
) -> Result<Vec<LoggedEntry>, StoreError> {
    let mut newest = BinaryHeap::new();
    for space in spaces {
        let is_meant = |author: &Author| sites.is_none_or(|sites| sites.contains(&author.site));
        let logs = Logs::load(journal, *space)?;
        for (author, log) in logs.rows().iter().filter(|(author, _)| is_meant(author)) {
            let last = last_before(journal, *space, *author, log.seq, before)?;
            newest.extend(place_of(journal, *space, *author, last)?);
        }
    }
    let mut found = Vec::new();
    while let Some((_, space, author, seq)) = newest.pop()
        && found.len() < limit
    {
        found.extend(logged(journal, space, EntryId { author, seq })?);
        newest.extend(place_of(journal, space, author, seq - 1)?);
    }
    Ok(found)
}

/// The entries of a space whose bytes are sound, in the order in which they were taken in. For the membership, of which
/// there are few.
///
/// # Errors
/// [`StoreError`] where the tables cannot be read, or the frame of an entry is damaged.
pub fn in_order(journal: &impl ReadStore, space: SpaceId) -> Result<Vec<Entry>, StoreError> {
    let mut places = Vec::new();
    walk(journal, &logs::entries_of_space(space), None, |_, value| {
        let row: EntryRow = decode_row("entry row", value)?;
        places.push(row.position());
        Ok(true)
    })?;
    places.sort_unstable();
    let mut entries = Vec::with_capacity(places.len());
    for place in places {
        match read_entry(journal, place) {
            Ok(entry) => entries.push(entry),
            Err(StoreError::Damaged { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(entries)
}

/// An entry, and the records that it changes, each as collection and id.
pub type WithRecords = (LoggedEntry, Vec<(String, String)>);

/// The entries of a space that a person may mean, with the records that each changes: more than one where only the
/// beginning of an incarnation is given.
///
/// # Errors
/// [`StoreError`] where the journal or the tables cannot be read.
pub fn named(
    journal: &impl ReadStore,
    space: SpaceId,
    text: &EntryText,
) -> Result<Vec<WithRecords>, StoreError> {
    let mut found = Vec::new();
    for author in Logs::load(journal, space)?.rows().keys() {
        let entry = EntryId { author: *author, seq: text.seq };
        if !text.may_be(entry) {
            continue;
        }
        if let Some(logged) = logged(journal, space, entry)? {
            let read = logged.content.map(|_| read_entry(journal, logged.position)).transpose()?;
            found.push((logged, read.map(|entry| records(&entry)).unwrap_or_default()));
        }
    }
    Ok(found)
}

/// The records that an entry changes, each once, in order.
fn records(entry: &Entry) -> Vec<(String, String)> {
    let is_known = entry.header.payload.format <= PAYLOAD_FORMAT;
    let Some(Ok(Body::Transactions(transactions))) = is_known.then(|| entry.body()) else {
        return Vec::new();
    };
    let changes = transactions.into_iter().flat_map(|transaction| transaction.changes);
    let records: BTreeSet<_> = changes.map(|write| (write.collection, write.id)).collect();
    records.into_iter().collect()
}

/// What is known of one entry; `None`: it is not held.
fn logged(
    journal: &impl ReadStore,
    space: SpaceId,
    EntryId { author, seq }: EntryId,
) -> Result<Option<LoggedEntry>, StoreError> {
    let row: Option<EntryRow> = row(journal, "entry row", &logs::entry(space, author, seq))?;
    let Some(row) = row else { return Ok(None) };
    let (hash, status, position) = (row.hash, row.status, row.position());
    let content = match read_entry(journal, position) {
        Ok(entry) => Some(content(&entry)),
        Err(StoreError::Damaged { .. }) => None,
        Err(error) => return Err(error),
    };
    Ok(Some(LoggedEntry { space, author, seq, hash, status, position, content }))
}

/// The number of a log's last entry before a place; 0: there is none.
fn last_before(
    tables: &impl ReadTables,
    space: SpaceId,
    author: Author,
    last: u64,
    before: Option<Position>,
) -> Result<u64, StoreError> {
    let Some(before) = before else { return Ok(last) };
    // Entries of one log lie in the journal in their order.
    let (mut low, mut high) = (0, last);
    while low < high {
        let middle = high - (high - low) / 2;
        let place = place_of(tables, space, author, middle)?;
        if place.is_some_and(|(position, ..)| position < before) {
            low = middle
        } else {
            high = middle - 1
        }
    }
    Ok(low)
}

type LogPlace = (Position, SpaceId, Author, u64);

fn place_of(
    tables: &impl ReadTables,
    space: SpaceId,
    author: Author,
    seq: u64,
) -> Result<Option<LogPlace>, StoreError> {
    let row: Option<EntryRow> = row(tables, "entry row", &logs::entry(space, author, seq))?;
    Ok(row.map(|row| (row.position(), space, author, seq)))
}

fn content(entry: &Entry) -> LoggedContent {
    let is_known = entry.header.payload.format <= PAYLOAD_FORMAT;
    let (transactions, changes) = match is_known.then(|| entry.body()) {
        Some(Ok(Body::Transactions(transactions))) => {
            let changes = transactions.iter().map(|transaction| transaction.changes.len()).sum();
            (Some(transactions.len()), Some(changes))
        }
        Some(Ok(Body::Membership(operations))) => (Some(operations.len()), Some(0)),
        Some(Err(_)) | None => (None, None),
    };
    let (time_ms, bytes) = (entry.header.time_ms, entry.bytes().len());
    LoggedContent { time_ms, bytes, transactions, changes }
}
