//! Proofs that a log forks, on their way; what a fork is stands at [`crate::log::fork`].

use crate::format::codec;
use crate::ids::{Author, EntryHash, SpaceId};
use crate::log::fork::ForkProof;
use crate::log::frontier::Salt;
use crate::protocol::count_fitting;
use crate::record::ParsedChange;
use crate::replica::batch::Batch;
use crate::replica::context::Context;
use crate::store::logs::Logs;
use crate::store::{Store, StoreError};

/// Bytes of proofs in one answer; the rest travels with later ones.
const FORKS_BYTES_MAX: usize = 1024 * 1024;

/// Proofs for an answer to a pull, as many as fit.
pub(in crate::replica) fn some_forks(logs: &Logs, salt: Salt) -> Vec<ForkProof> {
    some_of(logs.forks.proofs().collect(), salt, FORKS_BYTES_MAX)
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
    use std::collections::BTreeSet;

    use super::*;
    use crate::ids::{Incarnation, RealmId, SiteKey};
    use crate::log::entry::{Body, Draft};

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
                previous: EntryHash([9; 32]),
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
