//! The write path: commits, what to do when the disk refuses them, and repair.

use std::io;

use super::frame::{
    FRAME_BYTES_MAX, FRAME_HEADER_BYTES, SEGMENT_HEADER_BYTES, SegmentHeader, encode_frame,
    offset_of, position, segment_of,
};
use super::{Damage, DamageKind, Journal, SEGMENT_BYTES_MAX, Tail, room, segment_name};
use branchline_crdt::store::{Position, StoreError};

/// Only commits that fit so many times into the room leave some: what larger ones take hardly depends on it.
const COMMITS_IN_ROOM_MIN: u32 = 16;

fn unwritable(source: io::Error) -> StoreError {
    StoreError::Unwritable { source }
}

fn refused(text: String) -> StoreError {
    unwritable(io::Error::new(io::ErrorKind::InvalidInput, text))
}

pub(super) fn append(journal: &mut Journal, frames: &[&[u8]]) -> Result<Vec<Position>, StoreError> {
    if frames.is_empty() {
        return Ok(Vec::new());
    }
    let commit_bytes = commit_bytes(frames)?;
    match &journal.tail {
        Tail::Open { end, .. } if end.saturating_add(commit_bytes) <= segment_max(journal) => {
            append_to_tail(journal, frames)
        }
        Tail::Open { .. } | Tail::Closed => append_to_new_segment(journal, frames),
    }
    .map_err(unwritable)
}

fn segment_max(journal: &Journal) -> u32 {
    journal.options.segment_bytes_max.min(SEGMENT_BYTES_MAX)
}

/// Bytes that a commit of these frames takes.
fn commit_bytes(frames: &[&[u8]]) -> Result<u32, StoreError> {
    let mut sum = 0_usize;
    for frame in frames {
        if frame.len() > FRAME_BYTES_MAX {
            let len = frame.len();
            return Err(refused(format!(
                "frame of {len} bytes, expected at most {FRAME_BYTES_MAX}"
            )));
        }
        sum = sum.saturating_add(frame.len() + FRAME_HEADER_BYTES as usize);
    }
    let max = (SEGMENT_BYTES_MAX - SEGMENT_HEADER_BYTES) as usize;
    match u32::try_from(sum) {
        Ok(bytes) if sum <= max => Ok(bytes),
        Ok(_) | Err(_) => Err(refused(format!(
            "commit of {sum} bytes, expected at most {max}: append fewer frames"
        ))),
    }
}

/// Encodes the commit behind what the buffer holds, whose first byte lies at offset `base`.
fn encode_commit(buffer: &mut Vec<u8>, number: u32, base: u32, frames: &[&[u8]]) -> Vec<Position> {
    let commit = base + buffer.len() as u32;
    let mut positions = Vec::with_capacity(frames.len());
    for frame in frames {
        let offset = base + buffer.len() as u32;
        let at = position(number, offset);
        encode_frame(buffer, at, offset - commit, frame);
        positions.push(at);
    }
    positions
}

/// Puts room behind the commit in the buffer, which ends at offset `end`, if it is small; says where the room ends.
fn add_room(journal: &mut Journal, end: u32) -> u32 {
    let room_bytes = journal.options.room_bytes;
    if journal.buffer.len() > (room_bytes / COMMITS_IN_ROOM_MIN) as usize {
        return end;
    }
    let room = end.saturating_add(room_bytes).min(segment_max(journal)).max(end);
    room::fill(&mut journal.buffer, end, room);
    room
}

/// Cuts the newest segment where its last commit ends.
pub(super) fn give_room_back(journal: &mut Journal) -> io::Result<()> {
    if let Tail::Open { file, end, room, .. } = &mut journal.tail
        && *room > *end
    {
        file.truncate(u64::from(*end))?;
        *room = *end;
    }
    Ok(())
}

fn append_to_tail(journal: &mut Journal, frames: &[&[u8]]) -> io::Result<Vec<Position>> {
    let Tail::Open { file, number, end, room } = &journal.tail else {
        return append_to_new_segment(journal, frames);
    };
    let (file, number, end, room) = (file.clone(), *number, *end, *room);
    journal.buffer.clear();
    let positions = encode_commit(&mut journal.buffer, number, end, frames);
    let new_end = end + journal.buffer.len() as u32;
    let room = if new_end > room { add_room(journal, new_end) } else { room };
    if let Err(error) = file.write_at(u64::from(end), &journal.buffer) {
        // Room for the next commit, in the same place; synced, so that no crash can leave a
        // mixture of the two. If that fails too, the segment is given up like below.
        if file.truncate(u64::from(end)).and_then(|()| file.fdatasync()).is_err() {
            journal.tail = Tail::Closed;
        } else {
            journal.tail = Tail::Open { file, number, end, room: end };
        }
        return Err(error);
    }
    if let Err(error) = file.fdatasync() {
        // The page cache now shows bytes that may never reach the drive, and a second sync would
        // call them safe. So nothing more goes into this segment; its end stays the last durable
        // one, which the next segment's header makes binding.
        let _ = file.truncate(u64::from(end));
        journal.tail = Tail::Closed;
        return Err(error);
    }
    journal.shared().state_mut().segments.insert(number, new_end);
    journal.tail = Tail::Open { file, number, end: new_end, room };
    Ok(positions)
}

fn append_to_new_segment(journal: &mut Journal, frames: &[&[u8]]) -> io::Result<Vec<Position>> {
    let last = journal.shared().state().segments.iter().next_back().map(|(n, end)| (*n, *end));
    let (number, previous_end) = match last {
        Some((last, end)) => (last.checked_add(1), end),
        None => (Some(0), 0),
    };
    let number = number.ok_or_else(|| io::Error::other("no segment number is left"))?;
    give_room_back(journal)?;
    journal.buffer.clear();
    journal.buffer.extend_from_slice(&SegmentHeader::encode(number, previous_end));
    let positions = encode_commit(&mut journal.buffer, number, 0, frames);
    let end = journal.buffer.len() as u32;
    let room = add_room(journal, end);

    let name = segment_name(number);
    let created = journal.disk.create(&name).and_then(|file| {
        // What a failed attempt left is gone for good first, so that no crash can leave a mixture of the two.
        file.fdatasync()?;
        file.write_at(0, &journal.buffer)?;
        file.fdatasync()?;
        journal.disk.sync_dir()?;
        Ok(file)
    });
    let file = match created {
        Ok(file) => file,
        Err(error) => {
            // If it cannot be removed, the next attempt empties it. Should it outlive a crash, its
            // header says where the segment before it ends: so nothing more may go in there.
            let _ = journal.disk.remove(&name);
            journal.tail = Tail::Closed;
            return Err(error);
        }
    };
    journal.shared().keep_file(number, file.clone());
    journal.shared().state_mut().segments.insert(number, end);
    journal.tail = Tail::Open { file, number, end, room };
    Ok(positions)
}

pub(super) fn repair(journal: &mut Journal, at: Position, frame: &[u8]) -> Result<(), StoreError> {
    let known = journal.shared().state().damaged.contains_key(&at);
    if !known {
        // Either damaged and not noticed yet (reading notices), or sound.
        match journal.reader.read(at) {
            Ok(found) if found == frame => return Ok(()),
            Ok(_) => return Err(refused("the frame is sound and has other bytes".to_owned())),
            Err(StoreError::Damaged { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    let shared = journal.shared();
    let mut state = shared.state_mut();
    let Some(Damage { end, kind }) = state.damaged.get(&at).copied() else {
        return Err(refused("no damaged stretch begins there".to_owned()));
    };
    if kind == DamageKind::SegmentMissing {
        let reason = format!("{kind}: put {} back", segment_name(segment_of(at)));
        return Err(StoreError::Damaged { position: at, reason });
    }
    let segment_end = state.segments.get(&segment_of(at)).copied().unwrap_or(0);
    let room = end.min(segment_end).saturating_sub(offset_of(at)) as usize;
    let whole = FRAME_HEADER_BYTES as usize + frame.len();
    let left = room.checked_sub(whole);
    let fits = match kind {
        DamageKind::Bytes => left == Some(0),
        // Several frames may have lain here: the rest must at least have room for one.
        DamageKind::Header | DamageKind::CutShort | DamageKind::SegmentMissing => {
            left == Some(0) || left >= Some(FRAME_HEADER_BYTES as usize)
        }
    };
    if !fits || frame.len() > FRAME_BYTES_MAX {
        let len = frame.len();
        return Err(refused(format!("frame of {len} bytes does not fit a place of {room} bytes")));
    }
    let mut bytes = Vec::with_capacity(whole);
    // A commit of its own: which one it was part of matters only until that one is durable.
    encode_frame(&mut bytes, at, 0, frame);
    // Until the sync succeeds the place stays damaged: what reads back would prove nothing.
    let file = shared.file(segment_of(at)).map_err(unwritable)?;
    file.write_at(u64::from(offset_of(at)), &bytes).map_err(unwritable)?;
    file.fdatasync().map_err(unwritable)?;
    state.damaged.remove(&at);
    if left != Some(0) {
        let rest = position(segment_of(at), offset_of(at) + whole as u32);
        state.damaged.insert(rest, Damage { end, kind: DamageKind::Header });
    }
    Ok(())
}
