//! What this site has written and not said yet. One who writes alone says it at once. Where several sites write, each
//! collects for some milliseconds what it writes: a message costs every site about as much with five entries as with
//! one, and entries that are heard of together need not name each other one by one.

use std::collections::BTreeMap;

use super::Links;
use crate::ids::SiteId;
use crate::log::entry::Entry;
use crate::protocol::{GOSSIP_BYTES_MAX, Gossip, pack_entries};
use crate::replica::outbox::Outbox;

/// Between two messages of a site, for each other one that writes: all together say something 200 times a second at most.
const PAUSE_MS: u64 = 5;
/// So many others count: with more of them, who reads would wait longer than a quarter of a second.
const WRITERS_MAX: usize = 50;
/// A site that was heard to write counts for so long.
const WRITES_MS: u64 = 1_000;
/// More is not collected: messages of it are full.
const WAITING_BYTES_MAX: usize = 2 * GOSSIP_BYTES_MAX;
/// A message takes some bytes besides its entries.
const MESSAGE_BYTES: usize = 8;

/// What is yet to be said, and when.
#[derive(Default)]
pub(in crate::replica) struct News {
    entries: Vec<Entry>,
    bytes: usize,
    /// When something was said last.
    said_ms: Option<u64>,
    /// When other sites were last heard to write.
    writers: BTreeMap<SiteId, u64>,
}

/// Whether gossip carries an entry whole.
pub(in crate::replica) fn is_small(entry: &Entry) -> bool {
    fits(entry.bytes())
}

fn fits(bytes: &[u8]) -> bool {
    bytes.len() + MESSAGE_BYTES <= GOSSIP_BYTES_MAX
}

impl News {
    /// Adds an entry of this site's.
    pub(in crate::replica) fn add(&mut self, entry: &Entry) {
        self.bytes += entry.bytes().len();
        self.entries.push(entry.clone());
    }

    /// Another site is heard to write.
    pub(in crate::replica) fn note_writer(&mut self, site: SiteId, now_ms: u64) {
        self.writers.insert(site, now_ms);
        if self.writers.len() > WRITERS_MAX {
            self.writers.retain(|_, at_ms| *at_ms + WRITES_MS > now_ms);
        }
        if self.writers.len() > WRITERS_MAX {
            self.writers.pop_first();
        }
    }

    /// When what waits is to be said; `None`: nothing waits.
    pub(in crate::replica) fn due_ms(&self) -> Option<u64> {
        if self.entries.is_empty() {
            return None;
        }
        let Some(said_ms) = self.said_ms.filter(|_| self.bytes < WAITING_BYTES_MAX) else {
            return Some(0);
        };
        let writing = self.writers.values().filter(|at_ms| **at_ms + WRITES_MS > said_ms);
        Some(said_ms + PAUSE_MS * writing.count() as u64)
    }

    /// Takes what waits, if it is to be said by now.
    fn take(&mut self, now_ms: u64) -> Vec<Entry> {
        if self.due_ms().is_none_or(|due_ms| now_ms < due_ms) {
            return Vec::new();
        }
        self.said_ms = Some(now_ms);
        self.bytes = 0;
        std::mem::take(&mut self.entries)
    }
}

impl Links {
    /// Announces what this site has written, if it is time.
    pub(in crate::replica) fn say_news(&mut self, out: &mut Outbox, now_ms: u64) {
        let entries = self.news.take(now_ms);
        for of_space in entries.chunk_by(|a, b| a.header.space == b.header.space) {
            for gossip in messages(of_space) {
                out.broadcast(of_space[0].header.space, gossip);
            }
        }
    }
}

/// As few messages as these entries fit.
fn messages(entries: &[Entry]) -> Vec<Gossip> {
    if let [entry] = entries {
        return vec![Gossip::Entry(entry.bytes().to_vec())];
    }
    let packed = pack_entries(entries);
    if fits(&packed) {
        return vec![Gossip::Entries(packed)];
    }
    let (first, rest) = entries.split_at(entries.len() / 2);
    messages(first).into_iter().chain(messages(rest)).collect()
}

#[cfg(test)]
mod tests {
    use rand::rngs::SmallRng;
    use rand::{RngExt, SeedableRng};

    use super::*;
    use crate::format::codec;
    use crate::ids::{Author, EntryHash, Incarnation, RealmId, SiteKey};
    use crate::log::entry::{Body, Draft, Origin, Transaction};
    use crate::protocol::unpack_entries;

    fn entries(count: u64, bytes: usize) -> Vec<Entry> {
        let (key, realm) = (SiteKey::from_seed([1; 32]), RealmId([7; 32]));
        let author = Author { site: key.site(), incarnation: Incarnation([0; 8]) };
        let (mut previous, mut draw) = (EntryHash::NONE, SmallRng::seed_from_u64(9));
        let entry = |seq| {
            // What hardly compresses.
            let source = (0..bytes).map(|_| char::from(draw.random_range(b'a'..=b'z'))).collect();
            let transaction =
                Transaction { origin: Some(Origin { source, number: seq }), changes: Vec::new() };
            let space = realm.main_space();
            let (past, membership_past) = (Vec::new(), Vec::new());
            let draft =
                Draft { realm, space, author, seq, previous, past, membership_past, time_ms: 0 };
            let entry = draft.sign(&Body::Transactions(vec![transaction]), &key);
            previous = entry.hash;
            entry
        };
        (1..=count).map(entry).collect()
    }

    fn site(number: u8) -> SiteId {
        SiteId([number; 32])
    }

    #[test]
    fn who_writes_alone_says_it_at_once() {
        let mut news = News::default();
        for (now_ms, entry) in entries(5, 50).iter().enumerate() {
            news.add(entry);
            assert!(news.due_ms().is_some_and(|due_ms| due_ms <= now_ms as u64));
            assert_eq!(news.take(now_ms as u64).len(), 1);
            assert_eq!(news.due_ms(), None);
        }
    }

    #[test]
    fn the_more_write_the_longer_each_collects_and_who_has_stopped_does_not_count() {
        let (mut news, entries) = (News::default(), entries(4, 50));
        for number in 1..=9 {
            news.note_writer(site(number), 1_000);
        }
        news.add(&entries[0]);
        assert_eq!(news.take(1_000).len(), 1, "nothing was said yet");
        news.add(&entries[1]);
        news.add(&entries[2]);
        assert_eq!(news.due_ms(), Some(1_000 + 9 * PAUSE_MS));
        assert!(news.take(1_000 + 9 * PAUSE_MS - 1).is_empty());
        assert_eq!(news.take(1_000 + 9 * PAUSE_MS).len(), 2);
        assert!(news.take(1_500).is_empty());
        news.said_ms = Some(1_000 + WRITES_MS);
        news.add(&entries[3]);
        assert_eq!(news.due_ms(), Some(1_000 + WRITES_MS));
    }

    #[test]
    fn what_fills_messages_is_not_collected_any_longer() {
        let mut news = News::default();
        news.note_writer(site(1), 0);
        news.said_ms = Some(0);
        let entries = entries(40, 400);
        let added = entries.iter().take_while(|entry| {
            news.add(entry);
            news.due_ms() != Some(0)
        });
        let bytes: usize = added.map(|entry| entry.bytes().len()).sum();
        assert!((WAITING_BYTES_MAX - 1_000..WAITING_BYTES_MAX).contains(&bytes), "{bytes}");
    }

    #[test]
    fn messages_hold_all_entries_in_their_order_and_keep_to_their_bound() {
        for (count, bytes) in [(1, 50), (2, 50), (7, 50), (40, 400), (3, 3_000)] {
            let entries = entries(count, bytes);
            let mut said = Vec::new();
            let messages = messages(&entries);
            for gossip in &messages {
                assert!(codec::encode(gossip).len() <= GOSSIP_BYTES_MAX, "{count} of {bytes}");
                match gossip {
                    Gossip::Entry(bytes) => said.push(Entry::decode(bytes).unwrap()),
                    Gossip::Entries(packed) => said.extend(unpack_entries(packed).unwrap()),
                    other => panic!("{other:?}"),
                }
            }
            assert_eq!(said, entries);
            assert!(
                messages.len()
                    <= 1 + entries.iter().map(|e| e.bytes().len()).sum::<usize>() / 2_000
            );
        }
    }

    #[test]
    fn writers_that_are_remembered_are_bounded() {
        let mut news = News::default();
        for number in 0..=255 {
            news.note_writer(site(number), u64::from(number));
        }
        assert!(news.writers.len() <= WRITERS_MAX);
    }
}
