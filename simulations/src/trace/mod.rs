//! What happens in a run, step by step: the one source of every digest, report and explanation.
//!
//! A trace is a sequence of [`Step`]s, written as JSON lines. The same scenario and seed give the same bytes. Sites are
//! named by their offices, entries by [`EntryName`].

mod sink;

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::invariant::Invariant;
use crate::scenario::FaultName;

pub use sink::{DigestTrace, Excerpt, FileTrace, MemoryTrace, NoTrace, TraceFileError, TraceSink};

/// Something that happened, and when.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// Virtual time since the scenario began, in ms.
    pub at_ms: u64,
    /// What happened.
    #[serde(flatten, deserialize_with = "branchline_crdt::format::json::flattened")]
    pub event: Event,
}

/// An entry, as a person can distinguish it from others.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct EntryName {
    /// The author's office.
    pub author: String,
    /// Which of the office's incarnations wrote it, from 1 in the order of their first entries in the run; 0 for one
    /// that no honest node began.
    pub life: u32,
    /// Its number in the log.
    pub seq: u64,
    /// The first eight hexadecimal digits of its hash, which distinguish two entries of one number.
    pub hash: String,
}

impl fmt::Display for EntryName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}#{} ({})", self.author, self.life, self.seq, self.hash)
    }
}

/// A record of the main space.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct RecordName {
    /// Its collection.
    pub collection: String,
    /// Its id.
    pub id: String,
}

impl fmt::Display for RecordName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.collection, self.id)
    }
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum Event {
    /// A node started.
    Started {
        /// Its office.
        site: String,
        /// Which start of this office's node it is, from 1.
        start: u32,
    },
    /// A node stopped: asked to, or without warning.
    Stopped {
        /// Its office.
        site: String,
        /// Without warning.
        crashed: bool,
        /// Bytes that were not on the drive yet and are lost.
        bytes_lost: u64,
    },
    /// An office's disk was replaced by an old copy of itself.
    Restored {
        /// The office.
        site: String,
        /// How old the copy is, in ms.
        age_ms: u64,
    },
    /// A copy of an office's disk runs as a second node of the same site.
    Cloned {
        /// The office.
        site: String,
    },
    /// The link between two offices changed.
    Link {
        /// One end.
        a: String,
        /// The other end.
        b: String,
        /// What passes from now on.
        state: LinkState,
    },
    /// The quality of the link between two offices changed.
    LinkQuality {
        /// One end.
        a: String,
        /// The other end.
        b: String,
        /// Delay of a message, in ms.
        latency_ms: u64,
        /// Most that is added to the delay at random, in ms.
        jitter_ms: u64,
        /// Messages lost among a million.
        loss_ppm: u32,
        /// Bytes that pass in a second; `None`: no bound.
        bytes_per_second: Option<u64>,
    },
    /// A fault of the scenario begins.
    Fault {
        /// Its kind.
        kind: FaultName,
        /// The offices that it hits.
        sites: Vec<String>,
        /// What exactly, in words.
        what: String,
        /// How long it lasts, in ms; `None`: it happens at once, or lasts to the end.
        for_ms: Option<u64>,
    },
    /// Someone at an office wrote.
    Write {
        /// The office.
        site: String,
        /// The records of the transaction.
        records: Vec<RecordName>,
        /// What was written, in short.
        what: String,
        /// What the node answered.
        answer: Answer,
    },
    /// A message left.
    Sent {
        /// Its number in the run.
        message: u64,
        /// Who sends it.
        from: String,
        /// To whom.
        to: String,
        /// What it is.
        kind: MessageKind,
        /// Its size.
        bytes: u64,
        /// The entries in it.
        entries: Vec<EntryName>,
    },
    /// A message arrived.
    Delivered {
        /// Its number in the run.
        message: u64,
    },
    /// A message did not arrive.
    Lost {
        /// Its number in the run.
        message: u64,
        /// Why, in words.
        reason: String,
    },
    /// An entry exists that no one had seen.
    FirstSeen {
        /// The entry.
        entry: EntryName,
        /// The records that it touches; none in an entry about members.
        records: Vec<RecordName>,
    },
    /// An entry is held durably at an office.
    Held {
        /// The office.
        site: String,
        /// The entry.
        entry: EntryName,
        /// What became of it there.
        status: EntryStatus,
        /// How it came there.
        from: Source,
    },
    /// A replica had something to say to its operator.
    Notice {
        /// Its office.
        site: String,
        /// What it said.
        what: String,
    },
    /// How an office stands, reported at regular times.
    Sample {
        /// The office.
        site: String,
        /// Whether its node runs.
        up: bool,
        /// Entries that exist at honest offices and are not held here.
        backlog: u64,
        /// Bytes that came in since the last sample.
        bytes_in: u64,
        /// Bytes that went out since the last sample.
        bytes_out: u64,
        /// Size of its journal, in bytes.
        journal_bytes: u64,
        /// Size of its tables, in bytes.
        rows_bytes: u64,
    },
    /// The faults end here; from now on the offices must come into step.
    Healed,
    /// All offices are in step after the faults.
    Converged {
        /// Sync rounds since the faults ended.
        rounds: u32,
    },
    /// An invariant does not hold.
    Violation {
        /// Which.
        invariant: Invariant,
        /// Where, if at one office.
        site: Option<String>,
        /// What was found and what was expected.
        what: String,
    },
}

/// What passes over a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LinkState {
    /// Everything.
    Up,
    /// Nothing.
    Down,
    /// Only what goes from `a` to `b`.
    OneWay,
}

/// What a node answers to a write.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Answer {
    /// It is durable, in this entry; `None` where nothing had to change.
    Acknowledged(Option<EntryName>),
    /// It was not written.
    Refused(String),
}

/// What a message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MessageKind {
    /// A small new entry, or the announcement of one.
    Gossip,
    /// A receipt on its way to all.
    Receipt,
    /// A request for what one lacks, or bytes that are no request.
    Pull,
    /// The answer to a request.
    Answer,
    /// A site presents itself.
    Introduction,
    /// The answer to an introduction.
    Welcome,
}

impl MessageKind {
    /// The name that people read.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Gossip => "gossip",
            Self::Receipt => "receipt",
            Self::Pull => "pull",
            Self::Answer => "answer",
            Self::Introduction => "introduction",
            Self::Welcome => "welcome",
        }
    }
}

/// What became of an entry at a site.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EntryStatus {
    /// Its effects show.
    Applied,
    /// It is bad as a whole and shows nowhere.
    Void,
    /// It is kept and handed on, but this program does not understand it.
    Held,
}

/// How an entry came to a site.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Source {
    /// Written there.
    Own,
    /// Read from its own journal, on a start.
    Replay,
    /// Sent by this office.
    Peer(String),
}
