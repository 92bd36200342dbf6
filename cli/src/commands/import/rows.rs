//! The rows of an input, with their line numbers and as they stand there.

/// A row as it stands in the input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RawRow {
    /// The number of its first line, from 1.
    pub(crate) line: u64,
    /// How many lines it has.
    pub(crate) lines: u64,
    /// Its bytes, with its line end.
    pub(crate) bytes: Vec<u8>,
}
