//! What checkers and the trace see of a world.

use std::sync::Arc;

use branchline_crdt::entry::Entry;
use branchline_crdt::replica::Notice;
use branchline_crdt::store::Position;

use super::{LostTo, Message, Office};

/// Something that happened in a world.
#[derive(Clone, Debug)]
pub enum Observation {
    /// A node started on what its disk held.
    Started {
        /// Its office.
        office: Office,
        /// All that its journal holds.
        entries: Vec<(Position, Arc<Entry>)>,
    },
    /// A node ended.
    Stopped {
        /// Its office.
        office: Office,
        /// Without warning.
        crashed: bool,
        /// Bytes that were on their way to the drive and are lost.
        bytes_lost: u64,
    },
    /// A node could not start.
    Failed {
        /// Its office.
        office: Office,
        /// What its storage said.
        reason: String,
    },
    /// A running replica made its tables anew and began a new incarnation.
    Rebuilt {
        /// Its office.
        office: Office,
    },
    /// An office's disk no longer holds all that it once made durable: it was damaged, or replaced.
    DiskChanged {
        /// Its office.
        office: Office,
    },
    /// Entries are durable at an office.
    Stored {
        /// The office.
        office: Office,
        /// Who sent them; `None`: the office itself.
        from: Option<Office>,
        /// The entries, in journal order.
        entries: Vec<(Position, Arc<Entry>)>,
    },
    /// A message left.
    Sent {
        /// Its number.
        number: u64,
        /// The sender.
        from: Office,
        /// The receiver.
        to: Office,
        /// The message.
        message: Arc<Message>,
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
    /// A replica told its operator something.
    Told {
        /// Its office.
        office: Office,
        /// What.
        notice: Notice,
    },
}
