//! The feed: every change of every record in one space, in the order in which this site took it in, with the record
//! before and after it. Reading it takes the tables and the journal, and no replica.
//!
//! A consumer has a [`Cursor`], its place in the feed, and gets every change behind it at least once, in journal order.
//! What could be missed is reported again:
//!
//! | what happens | what a consumer sees |
//! |---|---|
//! | the tables are rebuilt | nothing: the feed follows the journal |
//! | an entry is of a payload format that this program is too old for | it is left out, and the cursor remembers the first of them; under a newer program the feed goes back to it and tells everything from there again |
//! | a stretch of the journal is damaged | it is left out, and the cursor remembers it; once a peer has mended some of it, the feed goes back to its beginning |
//! | a record changes of which an earlier change is damaged | its change without values; once the stretch is mended, the feed goes back to its beginning |
//! | entries lay behind a damaged stretch when the tables were rebuilt, and come again from a peer | their changes again, at the journal's end |
//! | a fork is proven | an [`Item::Fork`]: both branches stay, but of values in conflict that the site wrote from that number on another one may be shown |
//! | an entry is void | nothing: it has no effects |
//! | an event is changed, by a site that does not keep them ([`crate::events`]) | a change behind which the event is as before |
//! | a backup of the site is restored | a cursor from within the backup goes on, a later one is refused ([`BadCursor::Gone`]) |
//!
//! So anyone who keeps a copy by the values `after` has, after reading to the end, what the site shows; and by
//! [`Change::entry`], [`Change::key`] and [`Change::hash`] it recognises what it has seen before. One thing no cursor can
//! say: that a restored site has lost what was read behind it. Anyone who writes the cursor down together with the copy is
//! always refused or right; anyone who writes it down less often starts over once a backup was restored.

mod cursor;
mod reader;
#[cfg(test)]
mod tests;
mod values;

use crate::ids::Author;
use crate::log::entry::{EntryId, Origin};
use crate::record::View;
use crate::store::tables::records::RecordKey;

pub use cursor::{BadCursor, Cursor, FeedId, FeedPosition};
pub use reader::{FeedRead, FeedReader, NotOpened, PageBounds};

/// One thing that the feed tells, and the cursor behind it.
#[derive(Clone, Debug, PartialEq)]
pub struct FeedEvent {
    /// The consumer's place once it has seen the item.
    pub cursor: Cursor,
    /// What is reported.
    pub item: Item,
}

impl FeedEvent {
    /// About how many bytes its values take as JSON.
    #[must_use]
    pub fn json_bytes(&self) -> usize {
        match &self.item {
            Item::Change(change) => change.values.as_ref().map_or(0, |values| {
                values.before.iter().chain([&values.after]).map(View::json_bytes).sum()
            }),
            Item::Fork { .. } => 0,
        }
    }
}

/// What the feed tells.
#[derive(Clone, Debug, PartialEq)]
pub enum Item {
    /// A record changed.
    Change(Box<Change>),
    /// A site signed one number of its log twice. Both stay, but of values in conflict another one may be shown than was
    /// reported before.
    Fork {
        /// Whose log.
        author: Author,
        /// The number.
        seq: u64,
    },
}

/// A change of a record.
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    /// The record.
    pub key: RecordKey,
    /// The change's hash.
    pub hash: [u8; 32],
    /// The entry that it came in, which names its author.
    pub entry: EntryId,
    /// When the entry was made, in ms since 1970 by its author's clock.
    pub time_ms: i64,
    /// The number of its transaction within the entry, from 0.
    pub transaction: u32,
    /// The transaction's origin.
    pub origin: Option<Origin>,
    /// Whether it is the last of its transaction.
    pub is_last: bool,
    /// Whether it is the last of its transaction in its collection.
    pub is_last_of_collection: bool,
    /// The record before and after it, or why that cannot be given here.
    pub values: Result<Values, String>,
}

/// A record before and after a change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Values {
    /// Before; `None` where the change created it. It may have been deleted.
    pub before: Option<View>,
    /// After; it may be deleted.
    pub after: View,
}
