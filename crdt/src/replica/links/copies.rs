//! Two copies of one site at work: somebody copied its data folder and runs both.
//!
//! The lives of a site follow each other: a later one may know what an earlier one wrote, never the other way round, and
//! what has ended does not speak again. A restart, a restored backup and a replaced key keep to that; copies do not:
//!
//! - Of two lives each names the other's entries as its past.
//! - A life is heard by gossip, which comes from the writer and at once, after another one was heard.
//! - This site itself hears by gossip what is written in its name, or is named by another life of its own.
//!
//! A copy that writes nothing is noticed by the sites that it is connected with: see the network layer. What is fetched
//! before this site was in step with any other is not looked at, since it may be of long ago.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::Links;
use crate::ids::{Author, Incarnation, SiteId};
use crate::log::entry::Header;
use crate::replica::Notice;
use crate::replica::batch::stage::StagedEntry;
use crate::replica::context::Context;
use crate::replica::outbox::Outbox;
use crate::store::Store;

/// Lives of one site that are remembered as heard by gossip.
const LIVES_MAX: usize = 8;
/// Pairs of lives of which one has named the other. Most are a restart's, which names the life before.
const NAMED_MAX: usize = 4096;

/// What was noticed of the lives of sites since the start.
#[derive(Debug, Default)]
pub(in crate::replica) struct Lives {
    /// By site, those that were heard by gossip, the last one at the end.
    heard: BTreeMap<SiteId, VecDeque<Incarnation>>,
    /// A log, and another of the same site that an entry of it names.
    named: BTreeSet<(Author, Author)>,
}

impl Lives {
    /// A life is heard by gossip. Says whether another one has been heard since this one was.
    fn is_heard_again(&mut self, author: Author) -> bool {
        let lives = self.heard.entry(author.site).or_default();
        let place = lives.iter().position(|life| *life == author.incarnation);
        let is_again = place.is_some_and(|place| place + 1 < lives.len());
        if let Some(place) = place {
            lives.remove(place);
        }
        lives.push_back(author.incarnation);
        if lives.len() > LIVES_MAX {
            lives.pop_front();
        }
        is_again
    }

    /// A life names others of its site. Says whether one of them has named it.
    fn is_named_back(&mut self, header: &Header) -> bool {
        let author = header.author;
        let of_site = header.past.iter().map(|tip| tip.author);
        let mut is_back = false;
        for other in of_site.filter(|other| other.site == author.site) {
            self.named.insert((author, other));
            is_back |= self.named.contains(&(other, author));
        }
        while self.named.len() > NAMED_MAX {
            self.named.pop_first();
        }
        is_back
    }
}

impl Links {
    /// Looks at entries of others that are durable now.
    pub(in crate::replica) fn look_for_copies<S: Store>(
        &mut self,
        cx: Context<'_, S>,
        out: &mut Outbox,
        entries: &[StagedEntry],
    ) {
        let mut found = BTreeSet::new();
        for StagedEntry { entry, by_gossip, .. } in entries {
            let header = &entry.header;
            let author = header.author;
            if author == cx.author {
                continue;
            }
            let in_step = |count: Option<&u64>| count.is_some_and(|count| *count > 0);
            let mut peers = self.peers.values();
            let is_late = peers.any(|peer| in_step(peer.exchange.in_step.get(&header.space)));
            let is_own = author.site == cx.author.site;
            let names_this = is_own && header.past.iter().any(|tip| tip.author == cx.author);
            let is_copy = (*by_gossip && (self.lives.is_heard_again(author) || is_own))
                || (is_late && (self.lives.is_named_back(header) || names_this));
            if is_copy {
                found.insert(author.site);
            }
        }
        for site in found {
            out.notice(Notice::Copies { site });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{EntryHash, RealmId};
    use crate::log::entry::{PayloadInfo, Tip};

    fn life(number: u8) -> Author {
        Author { site: SiteId([1; 32]), incarnation: Incarnation([number; 8]) }
    }

    fn header(author: Author, names: &[Author]) -> Header {
        let network = RealmId([3; 32]);
        let tip = |author: &Author| Tip { author: *author, seq: 1, hash: EntryHash([1; 32]) };
        Header {
            realm: network,
            space: network.main_space(),
            author,
            seq: 1,
            previous: EntryHash::NONE,
            past: names.iter().map(tip).collect(),
            membership_past: Vec::new(),
            time_ms: 0,
            payload: PayloadInfo { format: 1, hash: [0; 32], bytes: 0 },
        }
    }

    #[test]
    fn restarts_follow_each_other_and_copies_take_turns() {
        let mut lives = Lives::default();
        for number in 1..=20 {
            assert!(!lives.is_heard_again(life(number)), "{number}");
            assert!(!lives.is_heard_again(life(number)), "{number}");
        }
        assert!(lives.is_heard_again(life(19)));
        assert!(!lives.is_heard_again(life(19)));
        assert!(lives.is_heard_again(life(20)));
        assert!(!lives.is_heard_again(life(1)), "forgotten long ago");
    }

    #[test]
    fn a_restored_backup_names_the_lives_before_it_and_is_named_by_none() {
        let mut lives = Lives::default();
        // The second goes on from an old state of the first, and later gets the rest; so does a third.
        for (author, names) in [
            (life(2), vec![life(1)]),
            (life(1), vec![]),
            (life(2), vec![life(1)]),
            (life(3), vec![life(1)]),
            (life(3), vec![life(2)]),
        ] {
            assert!(!lives.is_named_back(&header(author, &names)), "{author:?}");
        }
        assert!(lives.is_named_back(&header(life(2), &[life(3)])));
    }
}
