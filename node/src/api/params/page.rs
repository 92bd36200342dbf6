//! Pages of records, bounded by number, by bytes and by work.

use branchline_crdt::query::Bounds;

/// A page ends after the record with which its fields pass this many bytes, however few records it has.
pub const PAGE_BYTES: usize = 8 * 1024 * 1024;
/// Records that one page looks at: a filter that lets few through ends a page early, after some tenths of a second.
pub(crate) const LOOKED_AT_MAX: usize = 100_000;
/// Records that one request puts in order or sums up, which takes all of them: some seconds.
const SORTED_MAX: usize = 2_000_000;

/// How much work one request may be that asks for so many records.
pub(crate) fn bounds(records: usize) -> Bounds {
    Bounds { records, bytes: PAGE_BYTES, scanned: LOOKED_AT_MAX, sorted: SORTED_MAX }
}
