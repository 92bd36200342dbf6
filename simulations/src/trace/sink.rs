//! Where the steps of a run go: nowhere, into memory, into a digest, into a file.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use super::Step;

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
    ///
    /// # Errors
    /// [`TraceFileError`] where the file cannot be made.
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
    ///
    /// # Errors
    /// [`TraceFileError`] where the file could not be written, or the trace was longer than it may be.
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
    use super::super::Event;
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
