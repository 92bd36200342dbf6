//! What other sites have not confirmed yet: by their receipts, which prove what they hold.
//!
//! A receipt that does not cover an entry proves nothing: the site may hold it by now. What counts here is therefore
//! what is not confirmed, and none of it may be relied on to be anywhere else.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use crate::ids::{Author, SiteId, SpaceId};
use crate::inspect::holders::Compared;
use crate::log::entry::{Body, Entry, PAYLOAD_FORMAT};
use crate::log::receipt::Receipt;
use crate::record::SCHEMA_COLLECTION;
use crate::store::changes::read_entry;
use crate::store::logs::Logs;
use crate::store::tables::logs::{self, EntryRow, EntryStatus};
use crate::store::tables::row;
use crate::store::{ReadStore, StoreError};

/// Records that are distinguished over all sites, by 16 bytes of a hash each: some 80 MB.
const RECORDS_MAX: usize = 2_000_000;
/// Collections that are counted apart for each site: an office has some dozens.
const COLLECTIONS_MAX: usize = 64;

/// What one site has not confirmed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Unsent {
    /// Entries that are not confirmed.
    pub entries: u64,
    /// Those among them that this site wrote.
    pub entries_own: u64,
    /// Entries of logs of which its receipt does not say: it lists those that went on last. They are not counted in
    /// anything else here.
    pub entries_unlisted: u64,
    /// Entries among the unconfirmed whose records cannot be named here: damaged, or of a later format.
    pub entries_unread: u64,
    /// Different records that the entries change.
    pub records: u64,
    /// The same by collection. Of more than 64 collections those that were met first.
    pub by_collection: BTreeMap<String, u64>,
    /// Different schemas that they change.
    pub schemas: u64,
    /// There may be more records than were counted.
    pub has_more_records: bool,
    /// Bytes of the entries, packed and signed as they are stored and sent.
    pub bytes: u64,
    /// When the oldest of them was written, in ms since 1970 by its author's clock.
    pub since_ms: Option<i64>,
}

/// What has not been confirmed, and by whom.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AllUnsent {
    /// By each of the sites asked for.
    pub by_site: BTreeMap<SiteId, Unsent>,
    /// By none of the other sites: what would be lost with this one.
    pub only_here: Unsent,
}

/// What some sites, all of them the same, have not confirmed.
struct Unconfirmed {
    /// Where it begins, by log.
    from: BTreeMap<Author, u64>,
    found: Unsent,
    records: HashSet<[u8; 16]>,
}

/// Finds out what the `asked` sites, among the `others` of a space of records, have not confirmed by their receipts of
/// what is held in it here, at `own`. Reads each entry that one of them has not confirmed, but no more than `read_max`, of
/// which one of several KiB counts for as many, and beyond them the first of each log: the others are only counted.
///
/// # Errors
/// [`StoreError`] where the journal or the tables cannot be read.
pub fn unsent(
    journal: &impl ReadStore,
    space: SpaceId,
    own: SiteId,
    (others, asked): (&BTreeSet<SiteId>, &BTreeSet<SiteId>),
    receipts: &BTreeMap<SiteId, Receipt>,
    read_max: usize,
) -> Result<AllUnsent, StoreError> {
    let logs = Logs::load(journal, space)?;
    let compared = Compared::new(&logs);
    let held = |author: &Author| logs.rows().get(author).map_or(0, |row| row.seq);
    // What nobody else has confirmed, every other site has not.
    let mut nowhere: BTreeMap<Author, u64> =
        logs.rows().keys().map(|author| (*author, logs.forks.first(author))).collect();
    let mut all: Vec<Unconfirmed> = Vec::new();
    let mut places = Vec::new();
    for site in others {
        let (from, untold) = compared.unconfirmed(*site, receipts.get(site));
        nowhere.retain(|author, first| {
            let other = from.get(author).or(untold.get(author));
            *first = other.map_or(*first, |other| (*first).max(*other));
            other.is_some()
        });
        if asked.contains(site) {
            let untold: u64 = untold.iter().map(|(author, first)| held(author) + 1 - first).sum();
            places.push((*site, place_of(&mut all, from), untold));
        }
    }
    let nowhere = place_of(&mut all, nowhere);
    let (mut records_left, mut reads_left) = (RECORDS_MAX, read_max);
    for author in logs.rows().keys() {
        let first = all.iter().filter_map(|some| some.from.get(author)).min();
        for seq in first.copied().unwrap_or(u64::MAX)..=held(author) {
            if reads_left == 0 {
                let is_own = author.site == own;
                let mut begins = Begins { journal, space, author, read: BTreeMap::new() };
                for some in &mut all {
                    some.count_unread(seq, held(author), is_own, &mut begins)?;
                }
                break;
            }
            let read = UnsentEntry::read(journal, space, author, seq)?;
            let weight = usize::try_from(read.bytes / 1_024).unwrap_or(usize::MAX).max(1);
            reads_left = reads_left.saturating_sub(weight);
            for some in all.iter_mut().filter(|some| some.has(author, seq)) {
                some.count(&read, author.site == own, &mut records_left);
            }
        }
    }
    let of_site = |(site, place, entries_unlisted): (SiteId, usize, u64)| {
        (site, Unsent { entries_unlisted, ..all[place].found.clone() })
    };
    let by_site = places.into_iter().map(of_site).collect();
    Ok(AllUnsent { by_site, only_here: all[nowhere].found.clone() })
}

/// The place of what begins so, which many sites have in common.
fn place_of(all: &mut Vec<Unconfirmed>, from: BTreeMap<Author, u64>) -> usize {
    all.iter().position(|some| some.from == from).unwrap_or_else(|| {
        all.push(Unconfirmed { from, found: Unsent::default(), records: HashSet::new() });
        all.len() - 1
    })
}

impl Unconfirmed {
    fn has(&self, author: &Author, seq: u64) -> bool {
        self.from.get(author).is_some_and(|from| *from <= seq)
    }

    /// Counts the entries of a log from a number on, of which none is read but the one with which what is not confirmed
    /// begins.
    fn count_unread<S: ReadStore>(
        &mut self,
        from: u64,
        held: u64,
        is_own: bool,
        begins: &mut Begins<'_, S>,
    ) -> Result<(), StoreError> {
        let Some(begin) = self.from.get(begins.author).copied() else { return Ok(()) };
        let entries = (held + 1).saturating_sub(begin.max(from));
        if entries == 0 {
            return Ok(());
        }
        let found = &mut self.found;
        found.entries += entries;
        found.entries_own += if is_own { entries } else { 0 };
        found.has_more_records = true;
        if begin >= from {
            found.since_ms = found.since_ms.into_iter().chain(begins.time_ms(begin)?).min();
        }
        Ok(())
    }

    fn count(&mut self, read: &UnsentEntry, is_own: bool, records_left: &mut usize) {
        let found = &mut self.found;
        found.entries += 1;
        found.entries_own += u64::from(is_own);
        found.bytes += read.bytes;
        found.since_ms = found.since_ms.into_iter().chain(read.time_ms).min();
        let Some(records) = &read.records else {
            found.entries_unread += 1;
            found.has_more_records = true;
            return;
        };
        for Record { hash, collection } in records {
            if self.records.contains(hash) {
                continue;
            }
            if *records_left == 0 {
                found.has_more_records = true;
                return;
            }
            *records_left -= 1;
            self.records.insert(*hash);
            if collection == SCHEMA_COLLECTION {
                found.schemas += 1;
                continue;
            }
            found.records += 1;
            if let Some(count) = found.by_collection.get_mut(collection) {
                *count += 1;
            } else if found.by_collection.len() < COLLECTIONS_MAX {
                found.by_collection.insert(collection.clone(), 1);
            }
        }
    }
}

/// When entries of a log were written with which something begins, each read once.
struct Begins<'a, S> {
    journal: &'a S,
    space: SpaceId,
    author: &'a Author,
    read: BTreeMap<u64, Option<i64>>,
}

impl<S: ReadStore> Begins<'_, S> {
    fn time_ms(&mut self, seq: u64) -> Result<Option<i64>, StoreError> {
        if let Some(time_ms) = self.read.get(&seq) {
            return Ok(*time_ms);
        }
        let time_ms = UnsentEntry::read(self.journal, self.space, self.author, seq)?.time_ms;
        self.read.insert(seq, time_ms);
        Ok(time_ms)
    }
}

/// An entry, as far as it can be read.
struct UnsentEntry {
    bytes: u64,
    time_ms: Option<i64>,
    /// The records that it changes; `None`: they cannot be named here.
    records: Option<Vec<Record>>,
}

struct Record {
    /// Of collection and id.
    hash: [u8; 16],
    collection: String,
}

impl UnsentEntry {
    fn read(
        journal: &impl ReadStore,
        space: SpaceId,
        author: &Author,
        seq: u64,
    ) -> Result<Self, StoreError> {
        let unread = Self { bytes: 0, time_ms: None, records: None };
        let found: Option<EntryRow> = row(journal, "entry row", &logs::entry(space, *author, seq))?;
        let Some(found) = found else { return Ok(unread) };
        let entry = match read_entry(journal, found.position()) {
            Ok(entry) => entry,
            Err(StoreError::Damaged { .. }) => return Ok(unread),
            Err(error) => return Err(error),
        };
        let records = match found.status {
            // It changes nothing, anywhere.
            EntryStatus::Void => Some(Vec::new()),
            EntryStatus::Applied | EntryStatus::Held => records(&entry),
        };
        let bytes = entry.bytes().len() as u64;
        Ok(Self { bytes, time_ms: Some(entry.header.time_ms), records })
    }
}

fn records(entry: &Entry) -> Option<Vec<Record>> {
    if entry.header.payload.format > PAYLOAD_FORMAT {
        return None;
    }
    let transactions = match entry.body() {
        Ok(Body::Transactions(transactions)) => transactions,
        Ok(Body::Membership(_)) => return Some(Vec::new()),
        Err(_) => return None,
    };
    let changes = transactions.iter().flat_map(|transaction| &transaction.changes);
    let record = |write: &crate::log::entry::RecordWrite| {
        let mut hasher = blake3::Hasher::new();
        // No name of a collection contains a slash.
        hasher.update(write.collection.as_bytes()).update(b"/").update(write.id.as_bytes());
        let mut hash = [0; 16];
        hash.copy_from_slice(&hasher.finalize().as_bytes()[..16]);
        Record { hash, collection: write.collection.clone() }
    };
    Some(changes.map(record).collect())
}
