//! Forks: a site that signed two entries under one number.
//!
//! Both headers are the proof; it is kept in the journal and told to everyone. The entry with the lower hash stands
//! at every site; the other and all that its author put behind it are dropped, and the tables are rebuilt without
//! them. What honest sites wrote on top of dropped changes is void. All other logs carry on.

use super::commit::{FRAME_FORK, frame};
use super::{Notice, Replica};
use crate::codec;
use crate::entry::{Entry, Header};
use crate::ids::{Signature, SpaceId};
use crate::store::{Store, StoreError};
use crate::tables::logs::{self, ForkRow};

impl ForkRow {
    /// The proof from two headers, or `None` if they are none.
    pub fn new(one: (Header, Signature), other: (Header, Signature)) -> Option<Self> {
        let hash = |(header, signature): &(Header, Signature)| header.entry_hash(signature);
        let same = |header: &Header| (header.network, header.space, header.author, header.seq);
        let proven = same(&one.0) == same(&other.0)
            && hash(&one) != hash(&other)
            && [&one, &other].iter().all(|(header, signature)| header.is_signed(signature));
        if !proven {
            return None;
        }
        let (kept, dropped) = if hash(&one) < hash(&other) { (one, other) } else { (other, one) };
        Some(Self { kept, dropped })
    }
}

impl<S: Store> Replica<S> {
    /// An entry came under the number of another that is held.
    pub(super) fn found_fork(&mut self, entry: &Entry) -> Result<(), StoreError> {
        // What this group holds goes to the journal first, so that the other entry can be read from there.
        self.commit()?;
        let header = &entry.header;
        let held = self.entry_row(header.space, header.author, header.seq)?;
        let Some(held) = held else { return Ok(()) };
        let bytes = self.store.read(held.position())?;
        let Ok(held) = Entry::decode(bytes.get(1..).unwrap_or_default()) else { return Ok(()) };
        let one = (held.header, held.signature);
        match ForkRow::new(one, (entry.header.clone(), entry.signature)) {
            Some(fork) => self.take_fork(entry.header.space, fork),
            None => Ok(()),
        }
    }

    /// Takes in a proof, from here or from a peer.
    pub(super) fn take_fork(&mut self, space: SpaceId, fork: ForkRow) -> Result<(), StoreError> {
        let Some(fork) = ForkRow::new(fork.kept, fork.dropped) else { return Ok(()) };
        let header = &fork.kept.0;
        let (author, seq) = (header.author, header.seq);
        let ours = self.network() == Some(header.network) && header.space == space;
        let Some(logs) = self.spaces.get(&space).filter(|_| ours) else { return Ok(()) };
        if logs.forks.get(&author).is_some_and(|known| known.kept.0.seq <= seq) {
            return Ok(());
        }
        self.commit()?;
        let dropped = fork.dropped.0.entry_hash(&fork.dropped.1);
        let kept_ours = self.held_hash(space, author, seq)? != Some(dropped);
        let content = codec::encode(&fork);
        let positions = self.store.append(&[&frame(FRAME_FORK, &content)])?;
        let rows = vec![(logs::fork(space, author), Some(content))];
        self.store.apply(rows, positions.last().copied())?;
        if let Some(logs) = self.spaces.get_mut(&space) {
            logs.forks.insert(author, fork);
        }
        self.notice(Notice::Fork { author, seq, kept_ours });
        if !kept_ours {
            self.rebuild(&mut |_| ())?;
        }
        let peers: Vec<_> = self.peers.keys().copied().collect();
        for peer in peers {
            self.pull(peer, space);
        }
        Ok(())
    }

    /// Whether an entry is known not to stand.
    pub(super) fn is_dropped(&self, entry: &Entry) -> bool {
        let header = &entry.header;
        let fork = self.spaces.get(&header.space).and_then(|logs| logs.forks.get(&header.author));
        fork.is_some_and(|fork| {
            let kept = fork.kept.0.entry_hash(&fork.kept.1);
            header.seq == fork.kept.0.seq && entry.hash != kept
        })
    }
}
