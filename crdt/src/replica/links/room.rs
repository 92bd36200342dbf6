//! Room: while the disk has too little, nothing new of what other sites wrote is taken in, and nothing is asked for, so that
//! this site's own writes have what is left. What is left out is neither judged nor remembered; once there is room again it
//! is pulled, as if the site had been away. Others are served all the while. What decides about members is taken in within
//! a bound: it shuts out the one who fills the disk.

use std::collections::BTreeMap;

use super::Links;
use crate::ids::{SiteId, SpaceId};
use crate::log::entry::Header;
use crate::replica::batch::stage::StagedEntry;
use crate::replica::context::Context;
use crate::replica::outbox::Outbox;
use crate::store::Store;

/// How much of what other sites wrote is taken in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RoomLeft {
    /// All of it.
    #[default]
    Enough,
    /// What decides about members, and nothing else.
    Short {
        /// So many bytes of it at the most, from the input on that says so.
        membership_bytes_max: u64,
    },
}

/// What came to be held of the entries that one site wrote.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Taken {
    /// How many entries.
    pub entries: u64,
    /// Their bytes in the journal.
    pub bytes: u64,
}

impl RoomLeft {
    /// Whether an entry of another site is taken in.
    pub(in crate::replica) fn takes(self, header: &Header) -> bool {
        self.has_any(header.space == header.realm.membership_space())
    }

    fn has_any(self, is_of_members: bool) -> bool {
        match self {
            Self::Enough => true,
            Self::Short { membership_bytes_max } => is_of_members && membership_bytes_max > 0,
        }
    }

    /// What was taken in is no longer left.
    fn spend(&mut self, bytes: usize) {
        if let Self::Short { membership_bytes_max } = self {
            *membership_bytes_max = membership_bytes_max.saturating_sub(bytes as u64);
        }
    }
}

impl Links {
    /// Takes note of how much is taken in from now on. Where that is all, everybody is asked for what was left out.
    pub(in crate::replica) fn note_room<S: Store>(
        &mut self,
        cx: Context<'_, S>,
        out: &mut Outbox,
        room: RoomLeft,
    ) {
        let was_short = self.room != RoomLeft::Enough;
        self.room = room;
        if was_short && room == RoomLeft::Enough {
            let peers: Vec<SiteId> = self.peers.keys().copied().collect();
            for peer in peers {
                self.pull_all(cx, out, peer);
            }
        }
    }

    /// Whether entries of a space are taken in.
    pub(in crate::replica) fn has_room_for<S: Store>(
        &self,
        cx: Context<'_, S>,
        space: SpaceId,
    ) -> bool {
        let realm = cx.realms.realm_of(space);
        self.room.has_any(realm.is_some_and(|realm| realm.membership_space() == space))
    }

    /// Entries are durable.
    pub(in crate::replica) fn note_taken<S: Store>(
        &mut self,
        cx: Context<'_, S>,
        entries: &[StagedEntry],
    ) {
        for StagedEntry { entry, .. } in entries {
            let bytes = entry.bytes().len();
            let taken = self.taken.entry(entry.header.author.site).or_default();
            taken.entries += 1;
            taken.bytes += bytes as u64;
            if entry.log != cx.author {
                self.room.spend(bytes);
            }
        }
    }

    /// The proof of a fork is durable.
    pub(in crate::replica) fn note_proof(&mut self, bytes: usize) {
        self.room.spend(bytes);
    }

    /// What came to be held of each site's entries since this was last asked.
    pub(in crate::replica) fn take_taken(&mut self) -> BTreeMap<SiteId, Taken> {
        std::mem::take(&mut self.taken)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn while_room_is_short_entries_about_members_are_taken_up_to_a_bound() {
        let mut room = RoomLeft::Short { membership_bytes_max: 100 };
        assert!(!room.has_any(false));
        room.spend(99);
        assert!(room.has_any(true), "the last may go beyond it");
        room.spend(1_000);
        assert!(!room.has_any(true) && !room.has_any(false));
        room = RoomLeft::Enough;
        room.spend(1_000);
        assert!(room.has_any(true) && room.has_any(false));
    }
}
