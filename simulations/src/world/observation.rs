//! What checkers and the trace see of a world.

use std::sync::Arc;

use branchline_crdt::log::entry::Entry;
use branchline_crdt::replica::Notice;
use branchline_crdt::store::Position;

use super::{LostTo, Message, SiteIndex, World};

/// How a disk comes to hold less than it did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DiskChange {
    /// Some of it cannot be read any more.
    Damaged,
    /// An older copy stands in its place.
    SetBack,
}

/// What the receiver of a message is when it is sent: later in the same step the sender may learn otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Receiver {
    /// Some office knows it as a member, and the sender does not know that it was shut out.
    Member,
    /// The sender knows that it was shut out.
    Revoked,
    /// No office knows it as a member.
    Stranger,
}

/// Something that happened in a world.
#[derive(Clone, Debug)]
pub enum Observation {
    /// A node started on what its disk held.
    Started {
        /// Its office.
        office: SiteIndex,
        /// All that its journal holds.
        entries: Vec<(Position, Arc<Entry>)>,
    },
    /// A node ended.
    Stopped {
        /// Its office.
        office: SiteIndex,
        /// Without warning.
        crashed: bool,
        /// Bytes that were on their way to the drive and are lost.
        bytes_lost: u64,
    },
    /// A node could not start.
    Failed {
        /// Its office.
        office: SiteIndex,
        /// What its storage said.
        reason: String,
    },
    /// A running replica rebuilt its tables and began a new incarnation.
    Rebuilt {
        /// Its office.
        office: SiteIndex,
    },
    /// An office's disk no longer holds all that it once made durable: it was damaged, or replaced.
    DiskChanged {
        /// Its office.
        office: SiteIndex,
        /// In which way.
        change: DiskChange,
    },
    /// Entries are durable at an office.
    Stored {
        /// The office.
        office: SiteIndex,
        /// Who sent them; `None`: the office itself.
        from: Option<SiteIndex>,
        /// The entries, in journal order.
        entries: Vec<(Position, Arc<Entry>)>,
    },
    /// A message left.
    Sent {
        /// Its number.
        number: u64,
        /// The sender.
        from: SiteIndex,
        /// The receiver.
        to: SiteIndex,
        /// The message.
        message: Arc<Message>,
        /// What the receiver was at that moment.
        receiver: Receiver,
    },
    /// A message arrived.
    Delivered {
        /// Its number.
        number: u64,
    },
    /// A message did not arrive.
    Lost {
        /// Its number.
        number: u64,
        /// Why.
        to: LostTo,
    },
    /// A replica said something to its operator.
    Notice {
        /// Its office.
        office: SiteIndex,
        /// What.
        notice: Notice,
    },
}

impl World {
    /// Judges the receiver of a message that is about to be sent. A revoked sender may ask whether that still holds, and goes by nothing that it
    /// knows of others.
    pub(super) fn receiver(&self, from: SiteIndex, to: SiteIndex) -> Receiver {
        let site = self.site_id(to);
        let is_revoked = self.replica(from).is_some_and(|replica| {
            let members =
                replica.realms().members().filter(|_| replica.realms().revoked_by().is_none());
            members.is_some_and(|members| members.revoked().contains_key(&site))
        });
        let knows = |office: SiteIndex| {
            let members = self.replica(office).and_then(|replica| replica.realms().members());
            members.is_some_and(|members| members.get(&site).is_some())
        };
        // Anyone who sent it may be off by now; the first office founded the network.
        if is_revoked {
            Receiver::Revoked
        } else if to == 0 || (0..self.office_count()).any(knows) {
            Receiver::Member
        } else {
            Receiver::Stranger
        }
    }
}
