//! One after the other: of the members that hold what this site lacks, one sends it. The others are asked when that one has
//! come to its end, and then have little to send, or nothing. Without this, a site that comes back to four others would be
//! sent everything four times.

use super::Links;
use crate::ids::{SiteId, SpaceId};
use crate::replica::context::Context;
use crate::store::Store;

/// Who has not answered for so long is not waited for: the line may be slow, or dead.
const STALLED_MS: u64 = 2_000;
/// How often in a row a pull is put off, each time for a second or more: who sends little at a time, and on purpose, gains no
/// more than that.
const PUT_OFF_MAX: u32 = 20;

impl Links {
    /// Whether a pull of entries is put off, because another member is sending those of the space. It is then made again in
    /// a while.
    pub(in crate::replica) fn is_put_off<S: Store>(
        &mut self,
        cx: Context<'_, S>,
        from: SiteId,
        space: SpaceId,
    ) -> bool {
        let now_ms = cx.now.monotonic_ms;
        let others = self.peers.iter().filter(|(site, _)| **site != from);
        let is_sent = others
            .filter_map(|(_, peer)| peer.pulls.get(&space))
            .any(|state| state.brings_entries() && now_ms < state.sent_ms + STALLED_MS);
        let Some(peer) = self.peers.get_mut(&from) else { return false };
        let state = peer.pulls.entry(space).or_default();
        if !is_sent || state.put_off == PUT_OFF_MAX {
            state.put_off = 0;
            return false;
        }
        state.put_off += 1;
        self.retry_pull(cx, from, space);
        true
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::super::peer::{Asked, Peer, SentPull};
    use super::*;
    use crate::ids::{Incarnation, SiteKey};
    use crate::replica::realms::Realms;
    use crate::replica::{Identity, Now};
    use crate::store::memory::MemoryStore;

    const SPACE: SpaceId = SpaceId([1; 16]);

    fn site(number: u8) -> SiteId {
        SiteId([number; 32])
    }

    /// Links to two members, of which the first was asked for something at the 10th second.
    fn links(asked: Asked) -> Links {
        let mut links = Links::new(7);
        for number in 1..=2 {
            links.peers.insert(site(number), Peer::default());
        }
        let state = links.peers.get_mut(&site(1)).unwrap().pulls.entry(SPACE).or_default();
        let held = BTreeMap::new();
        let (id, is_whole, after) = (1, true, None);
        state.in_flight = Some(SentPull { id, asked, held, is_whole, after });
        state.sent_ms = 10_000;
        links
    }

    /// Whether the second is asked now.
    fn is_put_off(links: &mut Links, monotonic_ms: u64) -> bool {
        let key = SiteKey::from_seed([9; 32]);
        let incarnation = Incarnation([1; 8]);
        let realms = Realms::new(key.site());
        let author = crate::ids::Author { site: key.site(), incarnation };
        let identity = Identity { key, name: "head".to_owned(), incarnation, seed: 1 };
        let now = Now { wall_ms: 0, monotonic_ms };
        let store = MemoryStore::new();
        let cx = Context::new(&store, &realms, &identity, author, 1, now);
        links.is_put_off(cx, site(2), SPACE)
    }

    #[test]
    fn who_is_sent_entries_by_one_asks_the_other_later() {
        let mut links = links(Asked::Entries);
        assert!(is_put_off(&mut links, 10_001));
        let state = &links.peers[&site(2)].pulls[&SPACE];
        assert!(state.retry_ms.is_some_and(|at| (11_001..12_000).contains(&at)));
        links.peers.get_mut(&site(1)).unwrap().pulls.clear();
        assert!(!is_put_off(&mut links, 10_002), "it has ended");
    }

    #[test]
    fn a_question_whether_there_is_anything_holds_nobody_up() {
        assert!(!is_put_off(&mut links(Asked::Probe), 10_001));
        assert!(!is_put_off(&mut links(Asked::Lost), 10_001));
    }

    #[test]
    fn who_does_not_answer_is_not_waited_for() {
        let mut links = links(Asked::Entries);
        assert!(is_put_off(&mut links, 9_999 + STALLED_MS));
        assert!(!is_put_off(&mut links, 10_000 + STALLED_MS));
    }

    #[test]
    fn who_sends_without_end_is_waited_for_so_often_and_no_more() {
        let mut links = links(Asked::Entries);
        for _ in 0..3 {
            for _ in 0..PUT_OFF_MAX {
                assert!(is_put_off(&mut links, 10_001));
            }
            assert!(!is_put_off(&mut links, 10_001));
        }
    }
}
