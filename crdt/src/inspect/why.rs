//! What is not in step, and why: by record, site and reason.

use std::collections::{BTreeMap, BTreeSet};

use crate::ids::{Author, RealmId, SiteId, SpaceId};
use crate::inspect::holders::Compared;
use crate::inspect::misfits::misfits;
use crate::log::entry::{Body, Entry, PAYLOAD_FORMAT};
use crate::log::receipt::Receipt;
use crate::query::Bounds;
use crate::store::changes::read_entry;
use crate::store::logs::Logs;
use crate::store::read;
use crate::store::tables::logs::{self, EntryRow, EntryStatus};
use crate::store::tables::records::{self, RecordRow};
use crate::store::tables::{decode_row, walk};
use crate::store::{Position, ReadStore, StoreError};

/// Records that are distinguished for one reason and site.
const RECORDS_MAX: usize = 10_000;
/// Entries that are read for one reason and site to name their records.
const ENTRIES_READ_MAX: u64 = 1_000;

/// Why something is not in step. The order is that of the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reason {
    /// The site has not confirmed entries that are held here.
    Behind,
    /// The site holds entries that are not here.
    Ahead,
    /// The site is a member and has never said what it holds.
    NeverHeard,
    /// Entries of the site are of a later format than this program knows.
    Held,
    /// Entries of the site are void: they have no effect anywhere.
    Void,
    /// Entries of the site are damaged in this site's journal.
    Damaged,
    /// A record cannot be read at this site.
    Unreadable,
    /// A record does not fit the schema of its collection.
    SchemaMismatch,
}

/// What is not in step for one reason at one site.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cause {
    /// How many entries.
    pub entries: u64,
    /// The first of them.
    pub first: Option<(Author, u64)>,
    /// The records that they change, or some of them; collection and id.
    pub records: BTreeSet<(String, String)>,
    /// There may be more records.
    pub has_more_records: bool,
    /// More words, if there are any: of the first void entry, or unreadable record, why it is so.
    pub detail: Option<String>,
    entries_read: u64,
}

/// What was found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DivergenceReport {
    /// What is not in step.
    pub causes: Causes,
    /// Collections of which only some records were held against the schema, because there are too many.
    pub partly_checked: Vec<String>,
}

/// All that is not in step, by reason and by the site that is behind, ahead or not heard, or whose entries they are.
pub type Causes = BTreeMap<(Reason, SiteId), Cause>;

/// Finds out what is not in step: between `own`, this site, and the other `members`, by their receipts, and at this
/// site. Reads the rows of all entries, which takes a second for some hundred thousand, and those of at most
/// `records_max` records for each question that takes them.
///
/// # Errors
/// [`StoreError`].
pub fn causes(
    journal: &impl ReadStore,
    network: RealmId,
    own: SiteId,
    members: impl IntoIterator<Item = SiteId>,
    receipts: &BTreeMap<SiteId, Receipt>,
    records_max: usize,
) -> Result<DivergenceReport, StoreError> {
    let mut causes = Causes::new();
    let space = network.main_space();
    let logs = Logs::load(journal, space)?;
    let compared = Compared::new(&logs);
    for site in members.into_iter().filter(|site| *site != own) {
        let Some(receipt) = receipts.get(&site) else {
            causes.entry((Reason::NeverHeard, site)).or_default();
            continue;
        };
        for (author, from) in compared.lacking(receipt) {
            let last = logs.rows().get(&author).map_or(0, |row| row.seq);
            let cause = causes.entry((Reason::Behind, site)).or_default();
            for seq in from..=last.min(from.saturating_add(ENTRIES_READ_MAX)) {
                cause.read(journal, space, author, seq)?;
            }
            cause.count(author, from, last + 1 - from);
        }
        let ahead = compared.lag(receipt, own).map_or(0, |lag| lag.ahead_entries);
        if ahead > 0 {
            causes.entry((Reason::Ahead, site)).or_default().entries = ahead;
        }
    }
    let holes = holes(journal)?;
    let mut damaged = BTreeMap::new();
    for space in [network.membership_space(), space] {
        statuses(journal, space, &holes, &mut damaged, &mut causes)?;
    }
    name_damaged(journal, space, &damaged, records_max, &mut causes)?;
    unreadable(journal, space, own, &mut causes)?;
    let (cause, partly_checked) = off_schema(journal, space, records_max)?;
    causes.extend(cause.map(|cause| ((Reason::SchemaMismatch, own), cause)));
    Ok(DivergenceReport { causes, partly_checked })
}

impl Cause {
    fn count(&mut self, author: Author, first: u64, entries: u64) {
        self.entries += entries;
        self.first.get_or_insert((author, first));
        self.has_more_records |= self.entries > self.entries_read;
    }

    /// Names the records of an entry, as long as there is room.
    fn read(
        &mut self,
        journal: &impl ReadStore,
        space: SpaceId,
        author: Author,
        seq: u64,
    ) -> Result<(), StoreError> {
        let key = logs::entry(space, author, seq);
        let row: Option<EntryRow> = crate::store::tables::row(journal, "entry row", &key)?;
        match row {
            Some(row) => self.read_at(journal, row.position()),
            None => Ok(()),
        }
    }

    fn read_at(&mut self, journal: &impl ReadStore, at: Position) -> Result<(), StoreError> {
        let is_full = self.records.len() >= RECORDS_MAX && self.has_more_records;
        if self.entries_read >= ENTRIES_READ_MAX || is_full {
            return Ok(());
        }
        self.entries_read += 1;
        match read_entry(journal, at) {
            Ok(entry) => self.name(&entry),
            Err(StoreError::Damaged { .. }) => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }

    fn name(&mut self, entry: &Entry) {
        let is_known = entry.header.payload.format <= PAYLOAD_FORMAT;
        let Some(Ok(Body::Transactions(transactions))) = is_known.then(|| entry.body()) else {
            return;
        };
        for write in transactions.into_iter().flat_map(|transaction| transaction.changes) {
            self.add(write.collection, write.id);
        }
    }

    fn add(&mut self, collection: String, id: String) {
        let record = (collection, id);
        if self.records.len() < RECORDS_MAX {
            self.records.insert(record);
        } else {
            self.has_more_records |= !self.records.contains(&record);
        }
    }
}

/// Each damaged stretch, and where the next sound frame is.
type DamagedRanges = BTreeMap<Position, Option<Position>>;

fn holes(journal: &impl ReadStore) -> Result<DamagedRanges, StoreError> {
    let mut holes = DamagedRanges::new();
    for from in journal.damaged() {
        let next = journal.scan_journal(Some(from), 1)?;
        holes.insert(from, next.first().map(|(position, _)| *position));
    }
    Ok(holes)
}

/// The entries whose effects do not show, and those that are damaged; of the latter also whose lies where.
fn statuses(
    journal: &impl ReadStore,
    space: SpaceId,
    holes: &DamagedRanges,
    damaged: &mut BTreeMap<u64, SiteId>,
    causes: &mut Causes,
) -> Result<(), StoreError> {
    walk(journal, &logs::entries_of_space(space), None, |key, value| {
        let row: EntryRow = decode_row("entry row", value)?;
        let Some((author, seq)) = logs::entry_of_key(key) else { return Ok(true) };
        let hole = holes.range(..=row.position()).next_back();
        let is_damaged = hole.is_some_and(|(_, end)| end.is_none_or(|end| row.position() < end));
        let reason = match row.status {
            _ if is_damaged => Reason::Damaged,
            EntryStatus::Held => Reason::Held,
            EntryStatus::Void => Reason::Void,
            EntryStatus::Applied => return Ok(true),
        };
        let cause = causes.entry((reason, author.site)).or_default();
        if is_damaged {
            damaged.insert(row.position, author.site);
            cause.entries_read += 1;
        } else {
            cause.read_at(journal, row.position())?
        }
        if reason == Reason::Void && cause.detail.is_none() {
            let key = logs::void_reason(space, author, seq);
            cause.detail = crate::store::tables::row(journal, "void reason row", &key)?;
        }
        cause.count(author, seq, 1);
        Ok(true)
    })
}

/// Names the records of damaged entries by the places of their last changes. Reads the rows of records, where anything
/// is damaged.
fn name_damaged(
    journal: &impl ReadStore,
    space: SpaceId,
    damaged: &BTreeMap<u64, SiteId>,
    records_max: usize,
    causes: &mut Causes,
) -> Result<(), StoreError> {
    if damaged.is_empty() {
        return Ok(());
    }
    let mut read = 0;
    walk(journal, &records::records_of_space(space), None, |key, value| {
        if read == records_max {
            let damaged = causes.iter_mut().filter(|((reason, _), _)| *reason == Reason::Damaged);
            damaged.for_each(|(_, cause)| cause.has_more_records = true);
            return Ok(false);
        }
        read += 1;
        let row = RecordRow::decode(value)?;
        let sites = row.changes.last.iter().filter_map(|place| damaged.get(&place.position));
        for site in sites {
            if let Some(key) = records::record_of_key(key) {
                let cause = causes.entry((Reason::Damaged, *site)).or_default();
                cause.add(key.collection, key.id);
            }
        }
        Ok(true)
    })
}

fn unreadable(
    journal: &impl ReadStore,
    space: SpaceId,
    own: SiteId,
    causes: &mut Causes,
) -> Result<(), StoreError> {
    walk(journal, &records::unreadable_of_space(space), None, |key, value| {
        let reason: String = decode_row("unreadable row", value)?;
        let cause = causes.entry((Reason::Unreadable, own)).or_default();
        if let Some(key) = records::record_of_key(key) {
            cause.add(key.collection, key.id);
        }
        cause.detail.get_or_insert(reason);
        Ok(true)
    })
}

/// Records that do not fit their schemas, and how many they are in each collection; beside it the collections that were
/// not read to their end. Each has an equal share of what is left of `records_max`.
fn off_schema(
    journal: &impl ReadStore,
    space: SpaceId,
    records_max: usize,
) -> Result<(Option<Cause>, Vec<String>), StoreError> {
    let mut declared = Vec::new();
    for collection in read::collections(journal, space)?.into_keys() {
        let schema = read::schema(journal, space, &collection)?;
        declared.extend(schema.map(|schema| (collection, schema)));
    }
    let (mut left, mut budget) = (declared.len(), records_max);
    let (mut counts, mut partly_checked, mut cause) = (Vec::new(), Vec::new(), Cause::default());
    for (collection, schema) in declared {
        let scanned = (budget / left).max(1);
        let bounds = Bounds { records: scanned, bytes: usize::MAX, scanned, sorted: 0 };
        let page = misfits(journal, (space, &collection), &schema, None, bounds)?;
        (left, budget) = (left - 1, budget.saturating_sub(page.read));
        let count = page.records.len();
        page.records.into_iter().for_each(|misfit| cause.add(collection.clone(), misfit.id));
        cause.has_more_records |= page.next.is_some() && count > 0;
        if count > 0 {
            let at_least = if page.next.is_some() { "at least " } else { "" };
            counts.push(format!("{at_least}{count} of {collection}"));
        }
        partly_checked.extend(page.next.map(|_| collection));
    }
    let cause = (!counts.is_empty()).then(|| Cause { detail: Some(counts.join(", ")), ..cause });
    Ok((cause, partly_checked))
}
