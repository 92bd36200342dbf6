//! Forks: a site that signed two entries under one number.
//!
//! Both headers are the proof; it is kept in the journal and told to everyone. The entry with the lower hash stands
//! at every site; the other and all that its author put behind it are dropped, and the tables are rebuilt without
//! them. What honest sites wrote on top of dropped changes is void. All other logs carry on.

use crate::format::codec;
use crate::ids::{EntryHash, Signature, SpaceId};
use crate::log::entry::{Entry, Header};
use crate::logs::Logs;
use crate::protocol::count_fitting;
use crate::replica::batch::Batch;
use crate::replica::context::Context;
use crate::store::tables::logs::ForkRow;
use crate::store::{Store, StoreError};

impl ForkRow {
    /// The proof from two headers, or `None` if they are none.
    pub fn new(one: (Header, Signature), other: (Header, Signature)) -> Option<Self> {
        let hash = |(header, signature): &(Header, Signature)| header.entry_hash(signature);
        let same = |header: &Header| (header.realm, header.space, header.author, header.seq);
        let proven = same(&one.0) == same(&other.0)
            && hash(&one) != hash(&other)
            && [&one, &other].iter().all(|(header, signature)| header.is_signed(signature));
        if !proven {
            return None;
        }
        let (kept, dropped) = if hash(&one) < hash(&other) { (one, other) } else { (other, one) };
        Some(Self { kept, dropped })
    }

    /// The number at which the log forks, and the hash of the entry that stands.
    pub(in crate::replica) fn rank(&self) -> (u64, EntryHash) {
        (self.kept.0.seq, self.kept.0.entry_hash(&self.kept.1))
    }
}

/// Bytes of proofs in one answer; the rest travels with later ones, from whoever has it.
const FORKS_BYTES_MAX: usize = 1024 * 1024;

impl Batch {
    /// Whether an entry is known not to stand.
    pub(in crate::replica) fn is_dropped<S: Store>(
        &self,
        cx: Context<'_, S>,
        entry: &Entry,
    ) -> bool {
        let header = &entry.header;
        let fork = cx.realms.logs(header.space).and_then(|logs| logs.forks.get(&header.author));
        fork.is_some_and(|fork| header.seq == fork.kept.0.seq && entry.hash > fork.rank().1)
    }
}

/// Proofs for an answer to a pull, as many as fit.
pub(in crate::replica) fn some_forks(logs: &Logs) -> Vec<ForkRow> {
    let sizes = logs.forks.values().map(|fork| codec::encode(fork).len());
    let count = count_fitting(sizes, FORKS_BYTES_MAX);
    logs.forks.values().take(count).cloned().collect()
}

impl<S: Store> Context<'_, S> {
    /// Whether a proof, from here or from a peer, is one and says more than what is known.
    pub(in crate::replica) fn is_fork_news(&self, space: SpaceId, fork: &ForkRow) -> bool {
        let header = &fork.kept.0;
        let author = header.author;
        let realm = self.realms.realm_of(space).filter(|realm| *realm == header.realm);
        let members =
            realm.filter(|_| header.space == space).and_then(|realm| self.realms.members_of(realm));
        let is_member = members.is_some_and(|members| members.ever(&author.site).is_some());
        let Some(logs) = self.realms.logs(space).filter(|_| is_member) else { return false };
        // Of several forks of a log the first counts, and at one number the lowest hash.
        logs.forks.get(&author).is_none_or(|known| fork.rank() < known.rank())
    }

    /// Whether the tables show what a fork dropped: a crash may come between the proof and the rebuild.
    pub(in crate::replica) fn shows_dropped(&self, batch: &Batch) -> Result<bool, StoreError> {
        for (space, logs) in self.realms.all_logs() {
            for (author, fork) in &logs.forks {
                let (seq, kept) = fork.rank();
                let held = batch.held_hash(*self, space, *author, seq)?;
                if held.is_some_and(|held| held != kept) {
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{Author, EntryHash, Incarnation, RealmId, SiteKey};
    use crate::log::entry::{Body, Draft};

    const REALM: RealmId = RealmId([7; 32]);

    fn signed(by: u8, seq: u64, time_ms: i64) -> (Header, Signature) {
        let key = SiteKey::from_seed([by; 32]);
        let draft = Draft {
            realm: REALM,
            space: REALM.main_space(),
            author: Author { site: key.site(), incarnation: Incarnation([1; 8]) },
            seq,
            previous: EntryHash::NONE,
            past: Vec::new(),
            membership_past: Vec::new(),
            time_ms,
        };
        let entry = draft.sign(&Body::Transactions(Vec::new()), &key);
        (entry.header, entry.signature)
    }

    #[test]
    fn two_entries_under_one_number_are_a_proof_whichever_comes_first() {
        let (one, other) = (signed(1, 3, 1), signed(1, 3, 2));
        let fork = ForkRow::new(one.clone(), other.clone()).expect("a proof");
        assert_eq!(ForkRow::new(other, one), Some(fork.clone()));
        assert!(
            fork.rank().1 < fork.dropped.0.entry_hash(&fork.dropped.1),
            "the lower hash stands"
        );
        assert_eq!(fork.rank().0, 3);
    }

    #[test]
    fn an_entry_is_no_proof_against_itself_nor_against_another_number_or_site() {
        let one = signed(1, 3, 1);
        assert_eq!(ForkRow::new(one.clone(), one.clone()), None);
        assert_eq!(ForkRow::new(one.clone(), signed(1, 4, 1)), None);
        assert_eq!(ForkRow::new(one, signed(2, 3, 1)), None);
    }

    #[test]
    fn what_the_author_did_not_sign_is_no_proof() {
        let one = signed(1, 3, 1);
        let (header, _) = signed(1, 3, 2);
        let (_, of_other) = signed(2, 3, 2);
        assert_eq!(ForkRow::new(one, (header, of_other)), None);
    }
}
