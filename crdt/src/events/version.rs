//! Versions: places in the order in which one site took events in.

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

use crate::feed::{BadCursor, Cursor};

/// A place among the events of one space, as the site that reads them took them in: the cursor of its feed. It is no part
/// of an event; the same event has another version at another site, where it came in another order.
///
/// Versions of one site and space are in order ([`EventsVersion::compare`]), print as an opaque text and are read back from it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventsVersion(Cursor);

/// Versions of two sites, or of two spaces, which have no order between them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the versions are of two sites, or of two spaces, between which there is no order: each site counts events as it took \
     them in"
)]
pub struct NoOrder;

impl EventsVersion {
    /// Which of two comes first. Between them lies what the later one has seen more.
    ///
    /// # Errors
    /// [`NoOrder`] if they are not of one site and space.
    pub fn compare(&self, other: &Self) -> Result<Ordering, NoOrder> {
        if self.0.feed() == other.0.feed() {
            Ok(self.0.place().cmp(&other.0.place()))
        } else {
            Err(NoOrder)
        }
    }

    /// The cursor of the feed that it is.
    #[must_use]
    pub fn cursor(&self) -> &Cursor {
        &self.0
    }
}

impl From<Cursor> for EventsVersion {
    fn from(cursor: Cursor) -> Self {
        Self(cursor)
    }
}

impl From<EventsVersion> for Cursor {
    fn from(version: EventsVersion) -> Self {
        version.0
    }
}

impl fmt::Display for EventsVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for EventsVersion {
    type Err = BadCursor;

    fn from_str(text: &str) -> Result<Self, BadCursor> {
        text.parse().map(Self)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::feed::FeedId;
    use crate::ids::{RealmId, SiteKey};
    use crate::store::Store;
    use crate::store::memory::MemoryStore;
    use crate::store::tables::records::ChangeAt;

    fn feed(seed: u8) -> FeedId {
        FeedId::new(SiteKey::from_seed([seed; 32]).site(), RealmId([1; 32]).main_space())
    }

    #[test]
    fn versions_of_one_site_are_in_order_and_those_of_two_are_not() {
        let mut store = MemoryStore::new();
        let positions = store.append(&[b"\x09one", b"\x09two"]).unwrap();
        let version = |seed, frame: usize, index| {
            let at = ChangeAt { position: positions[frame].0, index };
            EventsVersion::from(Cursor::behind_change(feed(seed), &store, at).unwrap())
        };
        let in_order = [
            EventsVersion::from(Cursor::start(feed(1))),
            version(1, 0, 0),
            version(1, 0, 7),
            version(1, 1, 0),
        ];
        for (a, one) in in_order.iter().enumerate() {
            for (b, other) in in_order.iter().enumerate() {
                assert_eq!(one.compare(other), Ok(a.cmp(&b)));
            }
            assert_eq!(one.to_string().parse::<EventsVersion>().as_ref(), Ok(one));
        }
        assert_eq!(version(1, 0, 0).compare(&version(2, 0, 0)), Err(NoOrder));
        assert!("yesterday".parse::<EventsVersion>().is_err());
    }
}
