//! Room: bytes that are written behind the last commit ahead of time. What comes to lie there changes neither the
//! file's length nor its blocks, so a sync of it waits for its own bytes only, and not for whatever else the file
//! system has to set down. Bytes that read as room were never written to; so a commit that a crash interrupted, or
//! damage, does not pass for it.

use std::io;
use std::sync::Arc;

use crate::storage::disk::DiskFile;

/// What the room is filled with, over and over by the offset in the file. Stored, so it never changes.
const FILL: &[u8; 16] = b"room to write in";
/// Bytes that end a damaged stretch pass for room only if they are so many: some could be the stretch's own.
const TELLING_BYTES_MIN: u32 = 64;
/// How much is read at a time.
const READ_BYTES: u32 = 64 << 10;

fn fill_at(offset: u32) -> u8 {
    FILL[offset as usize % FILL.len()]
}

/// Adds the room from offset `from` to `to` to a buffer.
pub(super) fn fill(buffer: &mut Vec<u8>, from: u32, to: u32) {
    buffer.extend((from..to).map(fill_at));
}

/// Where the room begins at the end of a stretch without frames, from offset `from` to the file's end at `to`. `to`: it
/// has none.
pub(super) fn begin(file: &Arc<dyn DiskFile>, from: u32, to: u32) -> io::Result<u32> {
    let mut buffer = vec![0; READ_BYTES as usize];
    let mut begin = to;
    while begin > from {
        let start = from.max(begin.saturating_sub(READ_BYTES));
        let piece = &mut buffer[..(begin - start) as usize];
        let got = file.read_at(u64::from(start), piece)?;
        if got < piece.len() {
            return Ok(to);
        }
        let is_other = |(at, byte): (u32, &u8)| *byte != fill_at(at);
        if let Some(last) = (start..begin).zip(piece.iter()).rev().find(|other| is_other(*other)) {
            begin = last.0 + 1;
            return Ok(if to - begin < TELLING_BYTES_MIN { to } else { begin });
        }
        begin = start;
    }
    Ok(from)
}
