//! A consumer's place in the feed.

use std::fmt;
use std::str::FromStr;

use data_encoding::BASE64URL_NOPAD;
use serde::{Deserialize, Serialize};

use crate::format::codec;
use crate::ids::{SiteId, SpaceId};
use crate::log::entry::PAYLOAD_FORMAT;
use crate::store::tables::logs::{self, Versions};
use crate::store::tables::records::ChangeAt;
use crate::store::tables::{ReadTables, row};
use crate::store::{Position, ReadJournal, ReadStore, StoreError};

/// What a cursor's text begins with; the number changes with its layout.
const TEXT_PREFIX: &str = "c1";
/// Bytes of the sum at the end of a cursor's text.
const SUM_BYTES: usize = 4;
/// Longest text of a cursor.
const TEXT_CHARS_MAX: usize = 1024;
/// Damaged stretches that a cursor remembers. A journal with more is for the operator to mend first.
pub(super) const HOLES_MAX: usize = 16;
/// Stands for the last change of an entry, and for all of a frame that is none.
const ALL: u32 = u32::MAX;

/// Names the feed of one space at one site.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FeedId([u8; 8]);

impl FeedId {
    /// Of a space at a site.
    #[must_use]
    pub fn new(site: SiteId, space: SpaceId) -> Self {
        let hash = blake3::derive_key("branchline 1 feed", &codec::encode(&(site, space)));
        let mut id = [0; 8];
        id.copy_from_slice(&hash[..8]);
        Self(id)
    }
}

/// Orders what a feed tells: the journal frame, then the change within its entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct FeedPosition {
    /// The frame.
    pub position: Position,
    /// The change within it, from 0; the greatest number stands for all of it.
    pub index: u32,
}

impl FeedPosition {
    /// Behind a whole frame.
    pub(super) fn behind(position: Position) -> Self {
        Self { position, index: ALL }
    }

    /// Right before a frame; `None`: before the first.
    pub(super) fn before(position: Position) -> Option<Self> {
        Some(Self::behind(Position(position.0.checked_sub(1)?)))
    }

    /// Whether the frame has been seen to its end.
    pub(super) fn is_whole(&self) -> bool {
        self.index == ALL
    }
}

/// A consumer's place in the feed of one space at one site. It outlives restarts of the node and rebuilds of its tables.
///
/// Its text is opaque; [`FeedReader::open`](super::FeedReader::open) refuses that of another site or space, and one whose place
/// the journal does not hold (any more).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cursor {
    pub(super) feed: FeedId,
    pub(super) seen: Option<Seen>,
    pub(super) owed: Owed,
}

/// The last thing that was seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Seen {
    pub(super) place: FeedPosition,
    /// The beginning of the frame's hash; zeros where it could not be read.
    pub(super) check: [u8; 8],
}

/// What was left out on the way, and is reported later if it can be.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Owed {
    /// The first entry whose payload format was too new, and the newest format that was known then.
    pub(super) held: Option<(Position, u8)>,
    /// Damaged stretches, in order.
    pub(super) holes: Vec<Hole>,
}

/// A damaged stretch of the journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Hole {
    pub(super) start: Position,
    /// The next sound frame; `None`: there was none.
    pub(super) end: Option<Position>,
}

impl Hole {
    /// Whether some of it can be read now.
    pub(super) fn is_mended(&self, journal: &impl ReadJournal) -> Result<bool, StoreError> {
        if !journal.damaged().contains(&self.start) {
            return Ok(true);
        }
        let next = journal.scan_journal(Some(self.start), 1)?;
        let next = next.first().map(|(position, _)| *position);
        Ok(next.is_some_and(|next| self.end.is_none_or(|end| next < end)))
    }
}

/// Why a cursor cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadCursor {
    /// The text is none.
    #[error("{text:?} is not a cursor")]
    Text {
        /// The text, or its beginning.
        text: String,
    },
    /// It is of another site, or of another space.
    #[error("the cursor is from another site or another space")]
    Foreign,
    /// The journal does not hold what the consumer has seen.
    #[error(
        "this site's journal does not hold the cursor's place: it was restored from a backup, or lost"
    )]
    Gone,
}

impl Cursor {
    /// Before the first change.
    #[must_use]
    pub fn start(feed: FeedId) -> Self {
        Self { feed, seen: None, owed: Owed::default() }
    }

    /// Behind the last change that the tables show.
    ///
    /// # Errors
    /// [`StoreError`] where the tables cannot be read.
    pub fn now(feed: FeedId, journal: &impl ReadJournal) -> Result<Self, StoreError> {
        let Some(applied) = journal.applied()? else { return Ok(Self::start(feed)) };
        let check = match journal.read(applied) {
            Ok(frame) => check_of(&frame),
            Err(StoreError::Damaged { .. }) => [0; 8],
            Err(error) => return Err(error),
        };
        let seen = Some(Seen { place: FeedPosition::behind(applied), check });
        Ok(Self { feed, seen, owed: Owed::default() })
    }

    /// Behind one change.
    pub(crate) fn behind_change(
        feed: FeedId,
        journal: &impl ReadJournal,
        at: ChangeAt,
    ) -> Result<Self, StoreError> {
        let place = FeedPosition { position: Position(at.position), index: at.index };
        let check = match journal.read(place.position) {
            Ok(frame) => check_of(&frame),
            Err(StoreError::Damaged { .. }) => [0; 8],
            Err(error) => return Err(error),
        };
        Ok(Self { feed, seen: Some(Seen { place, check }), owed: Owed::default() })
    }

    /// The feed that it is of.
    #[must_use]
    pub fn feed(&self) -> FeedId {
        self.feed
    }

    /// The last place that was seen; `None`: nothing was.
    #[must_use]
    pub fn place(&self) -> Option<FeedPosition> {
        self.seen.map(|seen| seen.place)
    }

    /// Whether everything up to the end of a frame has been seen.
    #[must_use]
    pub fn is_behind(&self, position: Position) -> bool {
        self.place() >= Some(FeedPosition::behind(position))
    }

    /// Whether nothing was left out on the way to it.
    #[must_use]
    pub fn is_owed_nothing(&self) -> bool {
        self.owed == Owed::default()
    }

    /// The cursor of a consumer that has come to `here` from this one: what this one was owed it is still owed.
    #[must_use]
    pub fn moved_to(&self, here: &Self) -> Self {
        let mut moved = here.clone();
        moved.owed.held = match (self.owed.held, here.owed.held) {
            (Some(own), Some(other)) => Some(own.min(other)),
            (own, other) => own.or(other),
        };
        moved.owed.holes.extend(&self.owed.holes);
        moved.owed.holes.sort_by_key(|hole| hole.start);
        moved.owed.holes.dedup_by_key(|hole| hole.start);
        moved
    }

    /// Whether the journal holds what the cursor says was seen.
    pub(crate) fn check(
        &self,
        feed: FeedId,
        journal: &impl ReadJournal,
    ) -> Result<Result<(), BadCursor>, StoreError> {
        if self.feed != feed {
            return Ok(Err(BadCursor::Foreign));
        }
        let Some(seen) = self.seen else { return Ok(Ok(())) };
        match journal.read(seen.place.position) {
            Ok(frame) if seen.check == [0; 8] || seen.check == check_of(&frame) => Ok(Ok(())),
            Ok(_) => Ok(Err(BadCursor::Gone)),
            // What is damaged there cannot be distinguished from what was.
            Err(StoreError::Damaged { .. }) => Ok(Ok(())),
            Err(StoreError::Unreadable { source })
                if source.kind() == std::io::ErrorKind::NotFound =>
            {
                Ok(Err(BadCursor::Gone))
            }
            Err(error) => Err(error),
        }
    }

    /// Whether something that was left out can be given now.
    ///
    /// # Errors
    /// [`StoreError`] where the tables cannot be read.
    pub fn is_due(&self, store: &impl ReadStore) -> Result<bool, StoreError> {
        Ok(self.clone().collect(store)?.is_some())
    }

    /// Where reading goes back to for what the cursor was owed and can be given now, which is then no longer owed.
    pub(super) fn collect(
        &mut self,
        store: &impl ReadStore,
    ) -> Result<Option<Position>, StoreError> {
        let mut back: Option<Position> = None;
        if let Some((first, format)) = self.owed.held
            && format < payload_format(store)?
        {
            self.owed.held = None;
            back = Some(first);
        }
        let mut holes = Vec::new();
        for hole in std::mem::take(&mut self.owed.holes) {
            if hole.is_mended(store)? {
                back = Some(back.map_or(hole.start, |back| back.min(hole.start)))
            } else {
                holes.push(hole)
            }
        }
        self.owed.holes = holes;
        Ok(back)
    }
}

/// The newest payload format that the tables' program knows.
pub(super) fn payload_format(tables: &impl ReadTables) -> Result<u8, StoreError> {
    let versions: Option<Versions> = row(tables, "versions row", logs::VERSIONS)?;
    Ok(versions.map_or(PAYLOAD_FORMAT, |(_, format)| format))
}

/// The beginning of a frame's hash.
pub(super) fn check_of(frame: &[u8]) -> [u8; 8] {
    let mut check = [0; 8];
    check.copy_from_slice(&blake3::hash(frame).as_bytes()[..8]);
    check
}

fn sum_of(bytes: &[u8]) -> [u8; SUM_BYTES] {
    let mut sum = [0; SUM_BYTES];
    sum.copy_from_slice(&blake3::derive_key("branchline 1 cursor", bytes)[..SUM_BYTES]);
    sum
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut bytes = codec::encode(self);
        bytes.extend(sum_of(&bytes));
        write!(f, "{TEXT_PREFIX}{}", BASE64URL_NOPAD.encode(&bytes))
    }
}

impl FromStr for Cursor {
    type Err = BadCursor;

    fn from_str(text: &str) -> Result<Self, BadCursor> {
        let parse = || {
            let encoded = text.strip_prefix(TEXT_PREFIX)?;
            let encoded = Some(encoded).filter(|text| text.len() <= TEXT_CHARS_MAX)?;
            let bytes = BASE64URL_NOPAD.decode(encoded.as_bytes()).ok()?;
            let (bytes, sum) = bytes.split_at_checked(bytes.len().checked_sub(SUM_BYTES)?)?;
            let cursor: Self = codec::decode("cursor", bytes).ok()?;
            (sum == sum_of(bytes) && cursor.owed.holes.len() <= 2 * HOLES_MAX).then_some(cursor)
        };
        parse().ok_or_else(|| BadCursor::Text { text: text.chars().take(80).collect() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cursor() -> Cursor {
        let hole = |start| Hole { start: Position(start), end: None };
        Cursor {
            feed: FeedId([1; 8]),
            seen: Some(Seen {
                place: FeedPosition { position: Position(300), index: 2 },
                check: [3; 8],
            }),
            owed: Owed { held: Some((Position(7), 1)), holes: vec![hole(9)] },
        }
    }

    #[test]
    fn a_cursor_is_read_back_from_its_text_and_a_slip_of_the_pen_is_noticed() {
        let text = cursor().to_string();
        assert_eq!(text.parse(), Ok(cursor()));
        assert!(Cursor::start(FeedId([1; 8])).to_string().len() < 40);
        for place in 0..text.len() {
            let mut bytes = text.clone().into_bytes();
            bytes[place] = if bytes[place] == b'A' { b'B' } else { b'A' };
            let changed = String::from_utf8(bytes).unwrap();
            assert!(changed.parse::<Cursor>().is_err(), "{changed}");
        }
        for text in ["", "c1", "c1é", "start", &format!("c1{}", "A".repeat(2000))] {
            assert!(matches!(text.parse::<Cursor>(), Err(BadCursor::Text { .. })));
        }
    }

    #[test]
    fn whoever_moves_on_is_still_owed_what_was_left_out() {
        let mut here = Cursor::start(FeedId([1; 8]));
        here.owed.holes =
            vec![Hole { start: Position(4), end: None }, Hole { start: Position(9), end: None }];
        here.owed.held = Some((Position(8), 1));
        let moved = cursor().moved_to(&here);
        assert_eq!(moved.seen, None);
        assert_eq!(moved.owed.held, Some((Position(7), 1)));
        let starts: Vec<_> = moved.owed.holes.iter().map(|hole| hole.start.0).collect();
        assert_eq!(starts, [4, 9]);
    }
}
