//! Proofs that a log forks, on their way; what a fork is stands at [`crate::log::fork`].

use std::collections::{BTreeMap, BTreeSet};

use super::Links;
use crate::format::codec;
use crate::ids::{Author, EntryHash, SiteId, SpaceId};
use crate::log::fork::ForkProof;
use crate::log::frontier::{Known, Parts, Salt};
use crate::protocol::{Have, Pull, count_fitting};
use crate::record::ParsedChange;
use crate::replica::batch::Batch;
use crate::replica::context::Context;
use crate::store::logs::Logs;
use crate::store::{Store, StoreError};

/// Bytes of proofs in one answer; the rest travels with later ones.
const FORKS_BYTES_MAX: usize = 1024 * 1024;

/// Who does not take proofs in gets them again after this long.
const FORKS_AGAIN_MS: u64 = 20_000;

/// The proofs that a peer was last sent.
#[derive(Clone, Copy, Debug)]
pub(in crate::replica) struct SentForks {
    /// The branches that were known here. They only grow in number.
    branches: usize,
    at_ms: u64,
}

impl Links {
    /// Proofs that a site with this frontier may lack, for an answer to its pull.
    pub(in crate::replica) fn forks_for<S: Store>(
        &mut self,
        cx: Context<'_, S>,
        to: SiteId,
        pull: &Pull,
        salt: Salt,
    ) -> Vec<ForkProof> {
        let (Some(logs), Have::Frontier { parts, known, .. }) =
            (cx.realms.logs(pull.space), &pull.have)
        else {
            return Vec::new();
        };
        if logs.forks.is_empty() {
            return Vec::new();
        }
        let (branches, at_ms) = (logs.forks.entries().count(), cx.now.monotonic_ms);
        let is_recent =
            |sent: &SentForks| sent.branches == branches && at_ms < sent.at_ms + FORKS_AGAIN_MS;
        let peer = self.peers.get_mut(&to);
        if peer.as_ref().and_then(|it| it.forks_sent.get(&pull.space)).is_some_and(is_recent) {
            return Vec::new();
        }
        let lacking = lacking(logs, known, parts.as_ref());
        if let Some(peer) = peer.filter(|_| !lacking.is_empty()) {
            peer.forks_sent.insert(pull.space, SentForks { branches, at_ms });
        }
        some_of(lacking, salt, FORKS_BYTES_MAX)
    }
}

/// The proofs that a site with this frontier does not show to know, by the names of the branches that it holds. `parts`: the
/// parts of the frontier that are meant, where the others are the same here.
fn lacking(logs: &Logs, known: &[Known], parts: Option<&Parts>) -> Vec<ForkProof> {
    let known: BTreeSet<Author> = known.iter().map(|item| item.author).collect();
    let is_same =
        |log: &Author| parts.is_some_and(|parts| !parts.have(log)) && logs.rows().contains_key(log);
    let names: BTreeMap<EntryHash, Author> =
        logs.forks.named().map(|(.., first, name)| (first, name)).collect();
    let is_known = |first: EntryHash| {
        names.get(&first).is_some_and(|name| known.contains(name) || is_same(name))
    };
    let mut proofs: Vec<_> = logs.forks.proofs().collect();
    proofs.retain(|proof| !proof.headers().iter().all(|(first, _)| is_known(*first)));
    proofs
}

/// As many as fit. Where not all do, each answer begins with another, so that all arrive in the end.
fn some_of(mut proofs: Vec<ForkProof>, salt: Salt, bytes_max: usize) -> Vec<ForkProof> {
    let count = |proofs: &[ForkProof]| {
        count_fitting(proofs.iter().map(|proof| codec::encode(proof).len()), bytes_max)
    };
    if count(&proofs) < proofs.len() {
        let first = u64::from_le_bytes(salt) % proofs.len() as u64;
        proofs.rotate_left(first as usize);
        proofs.truncate(count(&proofs));
    }
    proofs
}

impl<S: Store> Context<'_, S> {
    /// Whether a proof, from here or from a peer, says more than what is known of a member.
    pub(in crate::replica) fn is_fork_news(&self, space: SpaceId, proof: &ForkProof) -> bool {
        let header = &proof.lower.0;
        let realm = self.realms.realm_of(space).filter(|realm| *realm == header.realm);
        let members =
            realm.filter(|_| header.space == space).and_then(|realm| self.realms.members_of(realm));
        let is_member = members.is_some_and(|members| members.ever(&header.author.site).is_some());
        let logs = self.realms.logs(space).filter(|_| is_member);
        logs.is_some_and(|logs| logs.forks.is_news(proof))
    }

    /// Whether a change is of a log that forks, or names an operation of one: it can be read only with its ancestors.
    pub(in crate::replica) fn is_of_forked_log(
        &self,
        space: SpaceId,
        change: &ParsedChange,
    ) -> bool {
        let logs = self.realms.logs(space).filter(|logs| !logs.forks.is_empty());
        logs.is_some_and(|logs| change.mentions(logs.forks.actors()))
    }

    /// Whether a log is held under another name than it has by the known forks.
    pub(in crate::replica) fn is_any_misnamed(&self, batch: &Batch) -> Result<bool, StoreError> {
        for (space, logs) in self.realms.all_logs() {
            for branch in logs.forks.named() {
                if self.holds_misnamed(batch, space, logs, branch)? {
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }

    /// Whether that is so of a log that forks at this number of its author's.
    pub(in crate::replica) fn is_misnamed(
        &self,
        batch: &Batch,
        space: SpaceId,
        author: Author,
        seq: u64,
    ) -> Result<bool, StoreError> {
        let Some(logs) = self.realms.logs(space) else { return Ok(false) };
        let is_there =
            |branch: &(Author, u64, EntryHash, Author)| (branch.0, branch.1) == (author, seq);
        for branch in logs.forks.named().filter(is_there) {
            if self.holds_misnamed(batch, space, logs, branch)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Whether a branch is held under another name than its own. It is of who signed, begins with this number and entry, and
    /// has this name.
    fn holds_misnamed(
        &self,
        batch: &Batch,
        space: SpaceId,
        logs: &Logs,
        (author, seq, first, name): (Author, u64, EntryHash, Author),
    ) -> Result<bool, StoreError> {
        for log in logs.of_site(author.site).filter(|log| *log != name) {
            if batch.held_hash(*self, space, log, seq)? == Some(first) {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{Incarnation, RealmId, SiteKey};
    use crate::log::entry::{Body, Draft, Tip};

    const REALM: RealmId = RealmId([7; 32]);

    /// Proofs of a site that signed each of so many numbers twice.
    fn proofs(count: u64) -> Vec<ForkProof> {
        let key = SiteKey::from_seed([1; 32]);
        let author = Author { site: key.site(), incarnation: Incarnation([1; 8]) };
        let signed = |seq, time_ms| {
            let draft = Draft {
                realm: REALM,
                space: REALM.main_space(),
                author,
                seq,
                previous: EntryHash([seq as u8; 32]),
                past: Vec::new(),
                membership_past: Vec::new(),
                time_ms,
            };
            let entry = draft.sign(&Body::Transactions(Vec::new()), &key);
            (entry.header, entry.signature)
        };
        (1..=count).map(|seq| ForkProof::new(signed(seq, 1), signed(seq, 2)).unwrap()).collect()
    }

    #[test]
    fn who_names_the_branches_of_a_fork_is_not_sent_its_proof() {
        let mut logs = Logs::default();
        let all = proofs(3);
        all.iter().for_each(|proof| assert!(logs.forks.learn(proof)));
        let of = |seq| logs.forks.named().filter(move |(_, first, ..)| *first == seq);
        let known =
            |seq| of(seq).map(|(_, seq, hash, author)| Known::of(Tip { author, seq, hash }));
        let numbers = |known: &[Known], parts: Option<&Parts>| -> BTreeSet<u64> {
            lacking(&logs, known, parts).iter().map(|proof| proof.lower.0.seq).collect()
        };
        assert_eq!(numbers(&[], None), BTreeSet::from([1, 2, 3]));
        let both: Vec<Known> = known(2).collect();
        assert_eq!(numbers(&both, None), BTreeSet::from([1, 3]));
        // One branch alone may go by its author's name there.
        assert_eq!(numbers(&both[..1], None), BTreeSet::from([1, 2, 3]));
        let every: Vec<Known> = (1..=3).flat_map(known).collect();
        assert_eq!(numbers(&every, None), BTreeSet::new());
    }

    #[test]
    fn what_fits_goes_in_its_order() {
        let all = proofs(3);
        assert_eq!(some_of(all.clone(), [5; 8], FORKS_BYTES_MAX), all);
        assert_eq!(some_of(Vec::new(), [5; 8], FORKS_BYTES_MAX), []);
    }

    #[test]
    fn where_not_all_fit_all_arrive_in_the_end() {
        let all = proofs(7);
        let two = codec::encode(&all[0]).len() * 2 + 8;
        let mut arrived = BTreeSet::new();
        for salt in 0..7_u64 {
            let some = some_of(all.clone(), salt.to_le_bytes(), two);
            assert_eq!(some.len(), 2);
            arrived.extend(some.iter().map(|proof| proof.lower.0.seq));
        }
        assert_eq!(arrived.len(), 7);
    }
}
