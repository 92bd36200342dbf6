//! Forks: a site that signed two entries under one number.
//!
//! Both headers are the proof; it is kept in the journal and told to everyone. The entry with the lower hash stands
//! at every site; the other and all that its author put behind it are dropped, and the tables are rebuilt without
//! them. What honest sites wrote on top of dropped changes is void. All other logs carry on.

use crate::format::codec;
use crate::frame::Frame;
use crate::ids::{EntryHash, Signature, SpaceId};
use crate::log::entry::{Entry, Header};
use crate::logs::Logs;
use crate::protocol::count_fitting;
use crate::replica::batch::{Batch, Context};
use crate::replica::{Notice, Replica};
use crate::store::tables::logs::{self, ForkRow};
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

impl<S: Store> Replica<S> {
    /// An entry came under the number of another that is held.
    pub(in crate::replica) fn found_fork(&mut self, entry: &Entry) -> Result<(), StoreError> {
        // What this group holds goes to the journal first, so that the other entry can be read from there.
        self.commit()?;
        let header = &entry.header;
        let held = self.context().entry_row(header.space, header.author, header.seq)?;
        let Some(held) = held else { return Ok(()) };
        // A damaged one is no proof; the next pull after its repair finds the fork again.
        let Some(held) = self.context().read_entry(held.position())? else { return Ok(()) };
        let one = (held.header, held.signature);
        match ForkRow::new(one, (entry.header.clone(), entry.signature)) {
            Some(fork) => self.take_fork(entry.header.space, fork),
            None => Ok(()),
        }
    }

    /// Takes in a proof, from here or from a peer.
    pub(in crate::replica) fn take_fork(
        &mut self,
        space: SpaceId,
        fork: ForkRow,
    ) -> Result<(), StoreError> {
        let Some(fork) = ForkRow::new(fork.kept, fork.dropped) else { return Ok(()) };
        let header = &fork.kept.0;
        let (author, seq) = (header.author, header.seq);
        let realm = self.realms.realm_of(space).filter(|realm| *realm == header.realm);
        let members =
            realm.filter(|_| header.space == space).and_then(|realm| self.realms.members_of(realm));
        let is_member = members.is_some_and(|members| members.ever(&author.site).is_some());
        let Some(logs) = self.realms.logs(space).filter(|_| is_member) else {
            return Ok(());
        };
        // Of several forks of a log the first counts, and at one number the lowest hash.
        if logs.forks.get(&author).is_some_and(|known| known.rank() <= fork.rank()) {
            return Ok(());
        }
        self.commit()?;
        let held = self.batch.held_hash(self.context(), space, author, seq)?;
        let kept_ours = held.is_none_or(|held| held == fork.rank().1);
        let content = codec::encode(&fork);
        let positions = match self.store.append(&[&Frame::Fork(&content).bytes()]) {
            Ok(positions) => positions,
            // The proof comes again with the next pull.
            Err(StoreError::Unwritable { .. }) => return Ok(()),
            Err(error) => return Err(error),
        };
        let rows = vec![(logs::fork(space, author), Some(content))];
        self.store.apply(rows, positions.last().copied())?;
        if let Some(logs) = self.realms.logs_mut(space) {
            logs.forks.insert(author, fork);
        }
        self.outbox.notice(Notice::Fork { author, seq, kept_ours });
        if !kept_ours {
            self.rebuild(&mut |_| ())?;
        }
        let peers: Vec<_> = self.links.peers.keys().copied().collect();
        for peer in peers {
            self.pull(peer, space);
        }
        Ok(())
    }

    /// Rebuilds the tables where they show what a fork dropped: a crash may come between the proof and the rebuild.
    pub(in crate::replica) fn rebuild_if_dropped_shows(&mut self) -> Result<(), StoreError> {
        if self.shows_dropped()? { self.rebuild(&mut |_| ()) } else { Ok(()) }
    }

    fn shows_dropped(&self) -> Result<bool, StoreError> {
        for (space, logs) in self.realms.all_logs() {
            for (author, fork) in &logs.forks {
                let (seq, kept) = fork.rank();
                let held = self.batch.held_hash(self.context(), space, *author, seq)?;
                if held.is_some_and(|held| held != kept) {
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }
}
