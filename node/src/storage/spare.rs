//! Room that is kept for a start on a full disk: sled writes a little before it opens, and the replay of what a crash took
//! may need more. A file holds that room, where no other program can take it.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use super::disk::{create_private, free_bytes};
use crate::whole_file::NO_FOLLOW;

/// The file in the data folder.
pub(super) const FILE: &str = "spare";
/// What two generations of rows take in sled, and its list of pages.
const BYTES_MAX: u64 = 8 << 20;
/// No more than this part of what is left is taken.
const SHARE: u64 = 4;
const PIECE_BYTES: usize = 64 << 10;

/// Keeps room, as far as there is any; what cannot be kept is no reason not to start.
pub(crate) fn keep(folder: &Path) {
    let path = folder.join(FILE);
    let free = free_bytes(folder).unwrap_or(0);
    let wanted = match path.metadata().map(|found| found.len()) {
        // It was released: all that is left of it is taken again, before others do.
        Ok(0) => BYTES_MAX,
        Ok(kept) if kept + PIECE_BYTES as u64 > BYTES_MAX.min((free + kept) / SHARE) => return,
        Ok(_) | Err(_) => BYTES_MAX.min(free / SHARE),
    };
    if let Err(error) = fill(&path, wanted) {
        tracing::debug!(path = %path.display(), %error, "less room is kept for a start on a full disk");
    }
}

/// Gives the room free. False if none was kept.
pub(crate) fn release(folder: &Path) -> bool {
    let file = OpenOptions::new().write(true).custom_flags(NO_FOLLOW).open(folder.join(FILE));
    let release = |file: File| {
        let kept = file.metadata()?.len();
        file.set_len(0).map(|()| kept > 0)
    };
    file.and_then(release).unwrap_or(false)
}

/// Bytes that no file system can make smaller.
fn fill(path: &Path, bytes: u64) -> io::Result<()> {
    if bytes < PIECE_BYTES as u64 {
        return Ok(());
    }
    let mut file = create_private(path)?;
    let mut random = blake3::Hasher::new().finalize_xof();
    let mut piece = vec![0; PIECE_BYTES];
    for _ in 0..bytes / PIECE_BYTES as u64 {
        random.fill(&mut piece);
        file.write_all(&piece)?;
    }
    Ok(())
}
