//! Every decoder of bytes from outside, as a function that takes any bytes and asserts what must hold of them: no
//! panic, bounded memory, what is encoded decodes to itself, and what is accepted was rightly accepted.
//!
//! The same functions serve the test `decoders`, which replays the corpora and some mutations of them in seconds,
//! and the targets of `cargo fuzz` in `tests/fuzz`, which run as long as one likes.
//!
//! A member of the network can sign whatever it wants. So where a signature stands before a decoder, the input is
//! what is signed: the harness signs it with a member's key, and mutations get behind the signature.

#[cfg(feature = "node")]
mod api;
#[cfg(feature = "node")]
mod backups;
mod bundles;
mod changes;
#[cfg(feature = "node")]
mod files;
mod members;
mod membership;
mod messages;
mod mutate;
mod network;
mod operations;
mod records;
#[cfg(feature = "node")]
mod storage;
mod uploads;

use peak_alloc::PeakAlloc;

pub use mutate::Mutator;

/// One decoder.
#[derive(Clone, Copy)]
pub struct Target {
    /// Its name, and that of its fuzz target and of its corpus.
    pub name: &'static str,
    /// Asserts what must hold of any input.
    pub run: fn(&[u8]),
    /// Real encodings, from which mutations start.
    pub seeds: fn() -> Vec<Vec<u8>>,
    /// How much memory an input may take.
    pub memory: Memory,
}

/// A bound on the memory that an input may take at any one time, beyond what was taken before.
#[derive(Clone, Copy)]
pub struct Memory {
    /// Whatever the input.
    pub mib: usize,
    /// For each byte of the input.
    pub per_byte: usize,
}

/// All decoders.
pub const TARGETS: &[Target] = &[
    messages::ENTRY,
    messages::BODY,
    messages::UNPACK,
    messages::ENTRIES,
    messages::MESSAGES,
    messages::TICKET,
    messages::ROWS,
    changes::CHANGE,
    changes::DOCUMENT,
    operations::OPERATIONS,
    uploads::UPLOAD,
    members::REPLICA,
    bundles::BUNDLE,
    membership::MEMBERSHIP,
    records::EDIT,
    records::SCHEMA,
    #[cfg(feature = "node")]
    backups::BACKUP,
    #[cfg(feature = "node")]
    storage::JOURNAL,
    #[cfg(feature = "node")]
    files::CONFIG,
    #[cfg(feature = "node")]
    files::SITE,
    #[cfg(feature = "node")]
    files::IMPORT,
    #[cfg(feature = "node")]
    api::API,
];

/// The decoder of that name.
#[must_use]
pub fn target(name: &str) -> Target {
    match TARGETS.iter().find(|target| target.name == name) {
        Some(target) => *target,
        None => panic!("no decoder is named {name}"),
    }
}

impl Target {
    /// Runs the decoder on an input and asserts that it stayed within its memory. Returns the bytes that it took.
    ///
    /// Counts what all threads take, and only where [`PeakAlloc`] is the global allocator.
    pub fn check(&self, input: &[u8]) -> usize {
        let before = PeakAlloc.current_usage();
        PeakAlloc.reset_peak_usage();
        (self.run)(input);
        let taken = PeakAlloc.peak_usage().saturating_sub(before);
        let Memory { mib, per_byte } = self.memory;
        let allowed = mib * 1024 * 1024 + per_byte * input.len();
        let (name, length) = (self.name, input.len());
        assert!(taken <= allowed, "{name}: {length} bytes took {taken}, at most {allowed} may be");
        taken
    }
}
