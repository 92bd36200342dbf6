//! How large a document of another program may be.

/// Greatest size of a document that is taken in, in bytes.
pub const DOCUMENT_BYTES_MAX: usize = 8 << 20;
/// What the parts of a document may inflate to together, in bytes. Columns of text are seldom deflated to less than a
/// fifth; a bomb is to a thousandth.
pub const INFLATED_BYTES_MAX: usize = 64 << 20;
/// Greatest number of operations in a document, of other programs and of sites: what is made of them takes some 200 MB.
pub const DOCUMENT_OPERATIONS_MAX: u64 = 1 << 19;
/// Greatest number of changes in a document. A program that makes one of each key that is hit makes no more in a year.
pub const DOCUMENT_CHANGES_MAX: u64 = 1 << 17;
