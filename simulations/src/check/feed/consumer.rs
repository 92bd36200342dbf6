//! One consumer of an office's feed.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::Arc;

use branchline_crdt::feed::{
    BadCursor, Change, Cursor, FeedEvent, FeedId, FeedPosition, FeedRead, FeedReader, Item,
    NotOpened, PageBounds,
};
use branchline_crdt::record::View;
use branchline_crdt::store::ReadJournal;
use branchline_crdt::store::tables::records::RecordKey;
use branchline_crdt::store::tables::{ReadTables, SCAN_ROWS, logs};
use rand::RngExt;
use rand::rngs::SmallRng;

use super::FeedSource;
use super::journal::{self, Named};
use crate::check::Report;
use crate::invariant::Invariant;
use crate::world::{DiskChange, random};

/// Items of a page: one by one, some, and many.
const ITEMS: [usize; 4] = [1, 7, 100, 1_000];
/// Bytes of a page; more than most have.
const BYTES_MAX: usize = 256 * 1024;
/// A consumer writes its cursor down after one page in so many.
const PAGES_PER_SAVE: u32 = 4;
/// It is killed after one page in so many.
const PAGES_PER_KILL: u32 = 50;

/// Follows a feed. Its copy of the records survives its death; its cursor is as old as it was written down, so it is given
/// again what followed.
pub(super) struct Consumer {
    pace: u32,
    draw: SmallRng,
    feed: FeedId,
    /// While its process runs.
    reader: Option<FeedReader>,
    /// Its cursor as it was written down last.
    saved: Saved,
    /// What it read last of each record, up to where its reader is.
    last: BTreeMap<RecordKey, Arc<View>>,
    /// What undoes `last` to where it wrote its cursor down, the latest last.
    unsaved: Vec<(RecordKey, Option<Arc<View>>)>,
    /// By the values `after`, whatever it had before.
    copy: BTreeMap<RecordKey, Arc<View>>,
    /// Where it heard of forks, and started over.
    forks: BTreeSet<FeedPosition>,
    /// The forks that the office knew when it began.
    forks_known: Vec<Vec<u8>>,
    /// What it was given is all that happened: nothing was left out or reported again.
    is_whole: bool,
    is_at_end: bool,
    /// It starts over when it next reads.
    starts_over: bool,
}

/// What outlives the death of a consumer.
struct Saved {
    /// Its cursor, as text.
    cursor: String,
    /// What it was given up to there is all that happened. It is not while a reader that went back for what was left out
    /// is on its way again: what it read last of a record is then later than its cursor.
    is_whole: bool,
}

impl Saved {
    /// Before the first change.
    fn start(feed: FeedId) -> Self {
        Self { cursor: Cursor::start(feed).to_string(), is_whole: true }
    }
}

impl Consumer {
    pub(super) fn new(feed: FeedId, pace: u32, seed: u64, numbers: [u64; 2]) -> Self {
        Self {
            pace,
            draw: random::concern(seed, "consumer", &numbers),
            feed,
            reader: None,
            saved: Saved::start(feed),
            last: BTreeMap::new(),
            unsaved: Vec::new(),
            copy: BTreeMap::new(),
            forks: BTreeSet::new(),
            forks_known: Vec::new(),
            is_whole: true,
            is_at_end: false,
            starts_over: false,
        }
    }

    pub(super) fn copy(&self) -> &BTreeMap<RecordKey, Arc<View>> {
        &self.copy
    }

    /// Whether it has read to the end of the feed.
    pub(super) fn is_at_end(&self) -> bool {
        self.is_at_end
    }

    /// Where an older copy stands in a disk's place, a cursor that was written down with the copy of the records goes on
    /// or is refused. One from before them says nothing of what the disk lost behind it: its owner starts over, as the
    /// product's pages say.
    pub(super) fn disk_changed(&mut self, change: DiskChange) {
        self.starts_over |= change == DiskChange::SetBack && self.copy != self.last;
        self.is_whole = false;
        self.saved.is_whole = false;
        self.is_at_end = false;
        self.forks.clear();
    }

    /// The node has ended, and with it the reader; without warning, the consumer too.
    pub(super) fn node_stopped(&mut self, crashed: bool) {
        if crashed {
            self.die();
        } else {
            self.save();
            self.reader = None;
        }
    }

    /// Reads on at its own pace, writes its cursor down now and then, and is killed now and then.
    pub(super) fn live(&mut self, source: &FeedSource<'_>, report: &mut Report) {
        self.is_at_end = false;
        if !self.draw.random_ratio(1, self.pace) {
            return;
        }
        self.read(source, report);
        if self.draw.random_ratio(1, PAGES_PER_SAVE) {
            self.save();
        }
        if self.draw.random_ratio(1, PAGES_PER_KILL) {
            self.die();
        }
    }

    fn save(&mut self) {
        if let Some(reader) = &self.reader {
            self.saved = Saved { cursor: reader.cursor().to_string(), is_whole: self.is_whole };
            self.unsaved.clear();
        }
    }

    fn die(&mut self) {
        self.reader = None;
        self.is_at_end = false;
        self.is_whole = self.saved.is_whole;
        for (key, view) in self.unsaved.drain(..).rev() {
            match view {
                Some(view) => self.last.insert(key, view),
                None => self.last.remove(&key),
            };
        }
    }

    /// Throws its copy away and begins at the beginning.
    fn begin_anew(&mut self, source: &FeedSource<'_>) {
        self.reader = None;
        self.saved = Saved::start(self.feed);
        self.last.clear();
        self.unsaved.clear();
        self.copy.clear();
        self.forks_known = forks_of(source);
        self.is_whole = true;
        self.starts_over = false;
    }

    /// Takes one page.
    pub(super) fn read(&mut self, source: &FeedSource<'_>, report: &mut Report) {
        self.is_at_end = false;
        let Some(mut reader) = self.open(source, report) else { return };
        let before = reader.cursor().place();
        let items_max = ITEMS[self.draw.random_range(0..ITEMS.len())];
        let bounds = PageBounds { items_max, bytes_max: BYTES_MAX };
        match reader.read(source.store, bounds) {
            Ok(page) => {
                self.reader = Some(reader);
                self.take(page, before, source, report);
            }
            Err(error) => {
                report.expect(Invariant::Feed, source.is_changed, Some(source.name), || {
                    format!("the feed cannot be read: {error}")
                });
            }
        }
    }

    /// The reader, opened at the cursor that was written down if there is none.
    fn open(&mut self, source: &FeedSource<'_>, report: &mut Report) -> Option<FeedReader> {
        if let Some(reader) = self.reader.take() {
            return Some(reader);
        }
        // A site that goes on under another key has another feed.
        if self.feed != source.feed || self.starts_over {
            self.feed = source.feed;
            self.begin_anew(source);
        }
        let opened =
            self.saved.cursor.parse::<Cursor>().map_err(NotOpened::from).and_then(|cursor| {
                FeedReader::open(source.store, source.feed, source.space, cursor, None)
            });
        match opened {
            Ok(reader) => return Some(reader),
            Err(NotOpened::Cursor(BadCursor::Gone)) if source.is_changed => {
                self.begin_anew(source);
            }
            Err(error) => {
                report.expect(Invariant::Feed, source.is_changed, Some(source.name), || {
                    format!("a cursor that was written down is refused: {error}")
                });
            }
        }
        None
    }

    fn take(
        &mut self,
        page: FeedRead,
        before: Option<FeedPosition>,
        source: &FeedSource<'_>,
        report: &mut Report,
    ) {
        compare(&page, before, source, report);
        let is_sound = source.store.damaged().is_empty()
            && page.cursor.is_owed_nothing()
            && self.forks_known == forks_of(source);
        self.is_whole &= is_sound && !page.went_back;
        for reported in page.reported {
            match reported.item {
                Item::Change(change) => self.follow(&change, source, report),
                // What it holds may not hold any more.
                Item::Fork { .. } => {
                    if let Some(place) = reported.cursor.place()
                        && self.forks.insert(place)
                    {
                        return self.begin_anew(source);
                    }
                }
            }
        }
        self.is_at_end = page.is_end;
        // Whatever was left out has been reported by now.
        self.is_whole |= is_sound && page.is_end && !source.is_changed;
    }

    fn follow(&mut self, change: &Change, source: &FeedSource<'_>, report: &mut Report) {
        let key = &change.key;
        let values = match &change.values {
            Ok(values) => values,
            Err(reason) => {
                self.is_whole = false;
                return report.expect(
                    Invariant::Feed,
                    source.is_changed,
                    Some(source.name),
                    || {
                        format!(
                            "{}/{} is reported without its values: {reason}",
                            key.collection, key.id
                        )
                    },
                );
            }
        };
        if self.is_whole {
            let last = self.last.get(key).map(Arc::as_ref);
            let holds = values.before.as_ref() == last;
            report.expect(Invariant::Feed, holds, Some(source.name), || {
                let before = &values.before;
                format!(
                    "{}/{} was reported as {last:?}, and before its next change as {before:?}",
                    key.collection, key.id
                )
            });
        }
        let after = Arc::new(values.after.clone());
        self.unsaved.push((key.clone(), self.last.insert(key.clone(), after.clone())));
        self.copy.insert(key.clone(), after);
    }
}

/// The proofs of forks that an office knows.
fn forks_of(source: &FeedSource<'_>) -> Vec<Vec<u8>> {
    let rows = source.store.scan(&logs::forks(source.space), None, SCAN_ROWS).unwrap_or_default();
    rows.into_iter().map(|(_, value)| value).collect()
}

/// A page tells all changes between its ends, in order, and no others.
fn compare(
    page: &FeedRead,
    before: Option<FeedPosition>,
    source: &FeedSource<'_>,
    report: &mut Report,
) {
    let named = |reported: &FeedEvent| match &reported.item {
        Item::Change(change) => reported.cursor.place().map(|place| Named::of(change, place)),
        Item::Fork { .. } => None,
    };
    let reported: Vec<_> = page.reported.iter().filter_map(named).collect();
    let Some(to) = page.cursor.place() else { return };
    let from = match (page.went_back, reported.first()) {
        // What was left out before is reported from its beginning on, which only the reader knows.
        (true, Some(first)) => Bound::Included(first.place),
        (true, None) => return,
        (false, _) => before.map_or(Bound::Unbounded, Bound::Excluded),
    };
    match journal::changes(source, (from, Bound::Included(to))) {
        Ok(expected) => report.expect(Invariant::Feed, reported == expected, Some(source.name), || {
            format!("from {from:?} to {to:?} the feed tells {reported:?}, the journal has {expected:?}")
        }),
        Err(error) => report.expect(Invariant::Feed, source.is_changed, Some(source.name), || {
            format!("the journal cannot be read: {error}")
        }),
    }
}
