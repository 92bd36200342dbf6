//! What the feed must report of a stretch of the journal.

use std::ops::{Bound, RangeBounds};

use branchline_crdt::feed::{Change, FeedPosition};
use branchline_crdt::log::entry::{Body, EntryId};
use branchline_crdt::store::frame::Frame;
use branchline_crdt::store::tables::logs::{self, EntryRow, EntryStatus};
use branchline_crdt::store::tables::records::RecordKey;
use branchline_crdt::store::tables::row;
use branchline_crdt::store::{Position, ReadJournal, StoreError};

use super::FeedSource;

/// Journal bytes read at a time.
const SCAN_BYTES: usize = 8 * 1024;

/// What names a change, where it is, and what its transaction is.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Named {
    pub(super) place: FeedPosition,
    entry: EntryId,
    key: RecordKey,
    hash: [u8; 32],
    transaction: u32,
    is_last: bool,
}

impl Named {
    /// A change that was reported.
    pub(super) fn of(change: &Change, place: FeedPosition) -> Self {
        Self {
            place,
            entry: change.entry,
            key: change.key.clone(),
            hash: change.hash,
            transaction: change.transaction,
            is_last: change.is_last,
        }
    }
}

/// The changes of the entries that show, within a stretch of the feed.
pub(super) fn changes(
    source: &FeedSource<'_>,
    stretch: (Bound<FeedPosition>, Bound<FeedPosition>),
) -> Result<Vec<Named>, StoreError> {
    // An entry may lie in it in part.
    let mut scanned = match stretch.0 {
        Bound::Included(place) | Bound::Excluded(place) => {
            place.position.0.checked_sub(1).map(Position)
        }
        Bound::Unbounded => None,
    };
    let mut found = Vec::new();
    loop {
        let frames = source.store.scan_journal(scanned, SCAN_BYTES)?;
        let Some((last, _)) = frames.last() else { return Ok(found) };
        scanned = Some(*last);
        for (position, frame) in frames {
            let first = FeedPosition { position, index: 0 };
            if matches!(stretch.1, Bound::Included(to) if first > to) {
                return Ok(found);
            }
            let changes = of_frame(source, position, &frame)?.into_iter();
            found.extend(changes.filter(|named| stretch.contains(&named.place)));
        }
    }
}

fn of_frame(
    source: &FeedSource<'_>,
    position: Position,
    frame: &[u8],
) -> Result<Vec<Named>, StoreError> {
    let mut found = Vec::new();
    let Some(entry) = Frame::entry_in(frame) else { return Ok(found) };
    let header = &entry.header;
    let log = logs::log_of(source.store, header, &entry.hash)?;
    let key = logs::entry(source.space, log, header.seq);
    let kept: Option<EntryRow> = row(source.store, "entry row", &key)?;
    let shows = kept.is_some_and(|row| {
        row.position() == position && row.hash == entry.hash && row.status == EntryStatus::Applied
    });
    if header.space != source.space || !shows {
        return Ok(found);
    }
    let Ok(Body::Transactions(transactions)) = entry.body() else { return Ok(found) };
    let mut index = 0;
    for (transaction, number) in transactions.into_iter().zip(0..) {
        let count = transaction.changes.len();
        for (write, nth) in transaction.changes.into_iter().zip(1..) {
            let (space, collection, id) = (source.space, write.collection, write.id);
            found.push(Named {
                place: FeedPosition { position, index },
                entry: EntryId { author: log, seq: header.seq },
                key: RecordKey { space, collection, id },
                hash: write.change.hash(),
                transaction: number,
                is_last: nth == count,
            });
            index += 1;
        }
    }
    Ok(found)
}
