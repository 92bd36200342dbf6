//! What happens in a run, step by step: the one source of every digest, report and explanation.
//!
//! A trace is a sequence of [`Step`]s, written as JSON lines. The same scenario and seed give the same bytes. Sites are
//! named by their offices, entries by [`EntryName`].

use std::fmt;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::outcome::Invariant;
use crate::scenario::FaultName;

/// Something that happened, and when.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// Virtual time since the scenario began, in ms.
    pub at_ms: u64,
    /// What happened.
    #[serde(flatten)]
    pub event: Event,
}

/// An entry, as a person can tell it from others.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct EntryName {
    /// The author's office.
    pub author: String,
    /// Which of the office's incarnations wrote it, from 1 in the order of their first entries in the run; 0 for one
    /// that no honest node began.
    pub life: u32,
    /// Its number in the log.
    pub seq: u64,
    /// The first eight hexadecimal digits of its hash, which tell two entries of one number apart.
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
        fate: Fate,
        /// How it came there.
        from: Source,
    },
    /// A replica had something to tell its operator.
    Notice {
        /// Its office.
        site: String,
        /// What it said.
        what: String,
    },
    /// How an office stands, told at regular times.
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
    /// A request for what one lacks.
    Pull,
    /// The answer to a pull.
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
pub enum Fate {
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

/// Where the steps of a run go.
pub trait TraceSink {
    /// Takes one step.
    fn step(&mut self, step: &Step);

    /// Whether anyone looks: a run may save itself the making of steps otherwise.
    fn is_on(&self) -> bool {
        true
    }
}

/// Nobody looks.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoTrace;

impl TraceSink for NoTrace {
    fn step(&mut self, _: &Step) {}

    fn is_on(&self) -> bool {
        false
    }
}

/// Every step, in memory: for tests and short runs.
#[derive(Clone, Debug, Default)]
pub struct MemoryTrace {
    /// The steps.
    pub steps: Vec<Step>,
}

impl TraceSink for MemoryTrace {
    fn step(&mut self, step: &Step) {
        self.steps.push(step.clone());
    }
}

/// Two sinks at once.
impl<A: TraceSink, B: TraceSink> TraceSink for (A, B) {
    fn step(&mut self, step: &Step) {
        self.0.step(step);
        self.1.step(step);
    }

    fn is_on(&self) -> bool {
        self.0.is_on() || self.1.is_on()
    }
}

impl<T: TraceSink + ?Sized> TraceSink for &mut T {
    fn step(&mut self, step: &Step) {
        (**self).step(step);
    }

    fn is_on(&self) -> bool {
        (**self).is_on()
    }
}

/// A hash for every step that covers all steps up to it: two runs are the same as far as these are.
#[derive(Clone, Debug, Default)]
pub struct DigestTrace {
    hasher: blake3::Hasher,
    line: Vec<u8>,
    /// After each step, the first eight bytes of the hash. Eight bytes a step keep a run of ten million steps in 80 MB.
    pub digests: Vec<[u8; 8]>,
}

impl TraceSink for DigestTrace {
    fn step(&mut self, step: &Step) {
        write_line(&mut self.line, step);
        self.hasher.update(&self.line);
        let mut digest = [0; 8];
        digest.copy_from_slice(&self.hasher.finalize().as_bytes()[..8]);
        self.digests.push(digest);
    }
}

impl DigestTrace {
    /// The hash of the whole trace, in hexadecimal.
    pub fn hash(&self) -> String {
        self.hasher.finalize().to_hex().to_string()
    }
}

/// The steps from one number on, as lines: what a difference between two runs looks like.
#[derive(Clone, Debug)]
pub struct Excerpt {
    from: usize,
    count: usize,
    seen: usize,
    /// The lines.
    pub lines: Vec<String>,
}

impl Excerpt {
    /// `count` steps from number `from` on, counted from 0.
    pub fn new(from: usize, count: usize) -> Self {
        Self { from, count, seen: 0, lines: Vec::new() }
    }
}

impl TraceSink for Excerpt {
    fn step(&mut self, step: &Step) {
        if self.seen >= self.from && self.lines.len() < self.count {
            let mut line = Vec::new();
            write_line(&mut line, step);
            self.lines.push(String::from_utf8_lossy(&line).trim_end().to_owned());
        }
        self.seen += 1;
    }
}

/// Why a trace is not wholly in its file.
#[derive(Debug, thiserror::Error)]
pub enum TraceFileError {
    /// The file could not be made or written.
    #[error("cannot write the trace to {}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The bound was reached. The file holds the beginning of the trace, in whole lines.
    #[error("the trace is longer than {bytes_max} bytes; {} holds its beginning", path.display())]
    TooLong {
        /// The file.
        path: PathBuf,
        /// The bound.
        bytes_max: u64,
    },
}

/// JSON lines in a file, up to a bound.
#[derive(Debug)]
pub struct FileTrace {
    path: PathBuf,
    file: BufWriter<File>,
    line: Vec<u8>,
    bytes: u64,
    bytes_max: u64,
    error: Option<TraceFileError>,
}

impl FileTrace {
    /// Makes the file, or empties it.
    pub fn create(path: &Path, bytes_max: u64) -> Result<Self, TraceFileError> {
        let path = path.to_owned();
        match File::create(&path) {
            Ok(file) => {
                let file = BufWriter::new(file);
                Ok(Self { path, file, line: Vec::new(), bytes: 0, bytes_max, error: None })
            }
            Err(source) => Err(TraceFileError::Io { path, source }),
        }
    }

    /// Ends the file and tells whether it holds the whole trace.
    pub fn finish(mut self) -> Result<(), TraceFileError> {
        let flushed = self.file.flush();
        match (self.error, flushed) {
            (Some(error), _) => Err(error),
            (None, Err(source)) => Err(TraceFileError::Io { path: self.path, source }),
            (None, Ok(())) => Ok(()),
        }
    }
}

impl TraceSink for FileTrace {
    fn step(&mut self, step: &Step) {
        if self.error.is_some() {
            return;
        }
        write_line(&mut self.line, step);
        self.bytes += self.line.len() as u64;
        if self.bytes > self.bytes_max {
            let (path, bytes_max) = (self.path.clone(), self.bytes_max);
            self.error = Some(TraceFileError::TooLong { path, bytes_max });
        } else if let Err(source) = self.file.write_all(&self.line) {
            self.error = Some(TraceFileError::Io { path: self.path.clone(), source });
        }
    }

    fn is_on(&self) -> bool {
        self.error.is_none()
    }
}

/// Replaces `line` by a step's line of JSON, with its newline.
fn write_line(line: &mut Vec<u8>, step: &Step) {
    line.clear();
    if let Err(error) = serde_json::to_writer(&mut *line, step) {
        // Strings, numbers and lists always have a JSON form; should that change, the trace says so.
        line.extend_from_slice(error.to_string().as_bytes());
    }
    line.push(b'\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(at_ms: u64, site: &str) -> Step {
        Step { at_ms, event: Event::Started { site: site.to_owned(), start: 1 } }
    }

    #[test]
    fn a_step_is_one_line_that_reads_back() {
        let mut line = Vec::new();
        write_line(&mut line, &step(7, "head\n"));
        let text = std::str::from_utf8(&line).unwrap();
        assert_eq!(text, "{\"at_ms\":7,\"event\":\"started\",\"site\":\"head\\n\",\"start\":1}\n");
        assert_eq!(serde_json::from_str::<Step>(text).unwrap(), step(7, "head\n"));
    }

    #[test]
    fn digests_part_where_the_runs_do() {
        let run = |third: &str| {
            let mut trace = DigestTrace::default();
            for (at_ms, site) in ["head", "north", third, "west"].into_iter().enumerate() {
                trace.step(&step(at_ms as u64, site));
            }
            trace
        };
        let (one, same, other) = (run("south"), run("south"), run("east"));
        assert_eq!(one.digests, same.digests);
        assert_eq!(one.hash(), same.hash());
        let differs: Vec<_> =
            one.digests.iter().zip(&other.digests).map(|(one, other)| one != other).collect();
        assert_eq!(differs, [false, false, true, true]);
    }

    #[test]
    fn a_trace_file_ends_with_a_whole_line_at_its_bound() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("trace.jsonl");
        let mut trace = FileTrace::create(&path, 120).unwrap();
        for at_ms in 0..5 {
            trace.step(&step(at_ms, "head"));
        }
        assert!(!trace.is_on());
        assert!(matches!(trace.finish(), Err(TraceFileError::TooLong { bytes_max: 120, .. })));
        let text = std::fs::read_to_string(&path).unwrap();
        assert_eq!(text.lines().count(), 2);
        assert!(text.lines().all(|line| serde_json::from_str::<Step>(line).is_ok()), "{text}");
    }

    #[test]
    fn an_excerpt_holds_the_steps_asked_for() {
        let mut excerpt = Excerpt::new(1, 2);
        for at_ms in 0..5 {
            excerpt.step(&step(at_ms, "head"));
        }
        assert_eq!(excerpt.lines.len(), 2);
        assert!(excerpt.lines[0].starts_with("{\"at_ms\":1,"), "{:?}", excerpt.lines);
    }
}
