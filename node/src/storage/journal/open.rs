//! Opening the journal: which segments there are, where each one ends, and what to make of the
//! bytes that a crash left behind.

use std::collections::BTreeMap;
use std::io;
use std::ops::RangeInclusive;
use std::sync::Arc;

use super::frame::{SEGMENT_HEADER_BYTES, SEGMENT_VERSION, SegmentHeader, position};
use super::reader::{JournalReader, JournalShared, WALK_CHUNK_BYTES};
use super::room;
use super::walk::{Step, Walk};
use super::{
    Damage, DamageKind, Journal, JournalOpenError, JournalOptions, JournalReport, JournalState,
    TORN_COPIES_MAX, Tail, Torn, segment_name, segment_number,
};
use crate::storage::disk::{Disk, DiskFile};
use branchline_crdt::store::Position;

/// A segment file as it was found.
struct SegmentsFound {
    number: u32,
    len: u32,
    header: SegmentHeader,
}

pub(super) fn open(
    disk: Arc<dyn Disk>,
    applied: Option<Position>,
    options: JournalOptions,
) -> Result<(Journal, JournalReport), JournalOpenError> {
    let mut report = JournalReport::default();
    let mut state = JournalState::default();
    // What this process finds it will serve, so it has to be durable first: the one before may
    // have been killed between its write and its sync. Here the names, below the last commit.
    disk.sync_dir()?;
    let mut found = find_segments(&*disk)?;

    let mut tail = Tail::Closed;
    while let Some(last) = found.last() {
        let file = disk.open(&segment_name(last.number))?;
        let judged = judge_newest(&file, last, applied)?;
        if last.header == SegmentHeader::Bad && judged.end <= SEGMENT_HEADER_BYTES {
            report.torn = put_away(&*disk, last)?;
            found.pop();
            continue;
        }
        state.damaged = judged.damaged;
        state.segments.insert(last.number, judged.end);
        let (number, end, room) = (last.number, judged.end, judged.room);
        tail = Tail::Open { file: file.clone(), number, end, room };
        if judged.torn {
            let torn = cut(&*disk, &file, number, (end, judged.written))?;
            if torn.kept_as.is_err() {
                tail = Tail::Closed;
            }
            report.torn = Some(torn);
        }
        make_durable(&file, judged.newest_commit, judged.end)?;
        break;
    }

    settle_older(&mut state, &found);
    report.headers_rewritten = rewrite_headers(&*disk, &state, &found);
    report.segments_missing = missing(&found);
    for range in &report.segments_missing {
        let at = position(*range.start(), SEGMENT_HEADER_BYTES);
        state.damaged.insert(at, Damage { end: u32::MAX, kind: DamageKind::SegmentMissing });
    }
    report.damaged = state.damaged.keys().copied().collect();
    let reader = JournalReader::new(JournalShared::new(disk.clone(), state));
    Ok((Journal { disk, options, tail, buffer: Vec::new(), reader }, report))
}

/// All segment files by number, with their headers.
fn find_segments(disk: &dyn Disk) -> Result<Vec<SegmentsFound>, JournalOpenError> {
    let mut numbers: Vec<u32> = disk.list()?.iter().filter_map(|n| segment_number(n)).collect();
    numbers.sort_unstable();
    let mut found = Vec::with_capacity(numbers.len());
    for number in numbers {
        let file = disk.open(&segment_name(number))?;
        let mut bytes = [0; SEGMENT_HEADER_BYTES as usize];
        let got = file.read_at(0, &mut bytes)?;
        let header = SegmentHeader::decode(number, &bytes[..got]);
        if let SegmentHeader::Version(version) = header {
            return Err(JournalOpenError::NewerFormat {
                segment: number,
                found: version,
                expected: SEGMENT_VERSION,
            });
        }
        let len = u32::try_from(file.len()?).unwrap_or(u32::MAX);
        found.push(SegmentsFound { number, len, header });
    }
    Ok(found)
}

/// What the newest segment holds.
struct Judged {
    /// Where it ends; what lies behind is torn, or room.
    end: u32,
    torn: bool,
    /// Where ends what was ever written, but for room.
    written: u32,
    /// Where the room behind its end ends.
    room: u32,
    /// Where its last commit begins: the only one that may not be durable yet.
    newest_commit: u32,
    damaged: BTreeMap<Position, Damage>,
}

/// Reads the newest segment and tells torn from damaged: see [`Journal::open`].
fn judge_newest(
    file: &Arc<dyn DiskFile>,
    segment: &SegmentsFound,
    applied: Option<Position>,
) -> io::Result<Judged> {
    let mut walk = Walk::new(file.clone(), segment.number, 0, segment.len, WALK_CHUNK_BYTES);
    let mut bad = Vec::new();
    let mut newest_commit = 0;
    while let Some(step) = walk.next()? {
        match step {
            Step::Frame { commit, .. } => newest_commit = commit,
            Step::Bad { at, end, commit, kind } => {
                newest_commit = commit.unwrap_or(newest_commit);
                bad.push((at, Damage { end, kind }));
            }
        }
    }
    let mut written = segment.len.max(SEGMENT_HEADER_BYTES);
    if let Some((at, damage)) = bad.last_mut()
        && damage.kind == DamageKind::Header
        && damage.end == segment.len
    {
        written = room::begin(file, *at, segment.len)?;
        damage.end = written;
    }
    bad.retain(|(at, damage)| damage.end > *at);
    let may_be_torn = |at: u32| {
        let acknowledged = applied.is_some_and(|applied| position(segment.number, at) <= applied);
        at >= newest_commit && !acknowledged
    };
    let cut_at = bad.iter().map(|(at, _)| *at).find(|at| may_be_torn(*at));
    let mut damaged = BTreeMap::new();
    let mut end = cut_at.unwrap_or(written);
    for (at, damage) in bad {
        if cut_at.is_none_or(|cut_at| at < cut_at) {
            // A frame that was cut short, yet acknowledged, gets its whole place back.
            end = end.max(damage.end);
            damaged.insert(position(segment.number, at), damage);
        }
    }
    let room = if cut_at.is_some() { end } else { segment.len.max(end) };
    Ok(Judged { end, torn: cut_at.is_some(), written, room, newest_commit, damaged })
}

/// Cuts the newest segment at `at`, after copying what was written behind, up to `written`, to a file of its own.
fn cut(
    disk: &dyn Disk,
    file: &Arc<dyn DiskFile>,
    number: u32,
    (at, written): (u32, u32),
) -> io::Result<Torn> {
    let from = position(number, at);
    let name = torn_name(from);
    let bytes = u64::from(written - at);
    let kept_as = copy_tail(disk, file, at, written, &name);
    tracing::warn!(position = from.0, bytes, "a torn tail of the journal was cut");
    match kept_as {
        Ok(()) => {
            file.truncate(u64::from(at))?;
            Ok(Torn { at: from, bytes, kept_as: Ok(name) })
        }
        Err(error) => {
            let _ = disk.remove(&name);
            Ok(Torn { at: from, bytes, kept_as: Err(error) })
        }
    }
}

/// Writes the last commit once more, as it is, and syncs. A sync alone would not do: if the one
/// before failed and its process was killed there and then, the page cache shows what the drive
/// does not have, and takes it for written.
fn make_durable(file: &Arc<dyn DiskFile>, newest_commit: u32, end: u32) -> io::Result<()> {
    // The segment's header goes with its first commit.
    let first = newest_commit <= SEGMENT_HEADER_BYTES;
    let mut at = if first { 0 } else { u64::from(newest_commit) };
    let mut buffer = vec![0; WALK_CHUNK_BYTES as usize];
    while at < u64::from(end) {
        let want = buffer.len().min((u64::from(end) - at) as usize);
        let got = file.read_at(at, &mut buffer[..want])?;
        if got == 0 {
            break;
        }
        file.write_at(at, &buffer[..got])?;
        at += got as u64;
    }
    file.fdatasync()
}

fn copy_tail(
    disk: &dyn Disk,
    file: &Arc<dyn DiskFile>,
    from: u32,
    to: u32,
    name: &str,
) -> io::Result<()> {
    make_room_for_torn(disk, name)?;
    let copy = disk.create(name)?;
    let mut buffer = vec![0; WALK_CHUNK_BYTES as usize];
    let (mut read, mut written) = (u64::from(from), 0);
    while read < u64::from(to) {
        let got = file.read_at(read, &mut buffer)?;
        if got == 0 {
            break;
        }
        copy.write_at(written, &buffer[..got])?;
        read += got as u64;
        written += got as u64;
    }
    copy.fdatasync()?;
    disk.sync_dir()
}

/// Takes a newest segment without a sound header or frame out of the series: the remains of a
/// segment whose creation a crash interrupted.
fn put_away(disk: &dyn Disk, segment: &SegmentsFound) -> io::Result<Option<Torn>> {
    let name = segment_name(segment.number);
    let at = position(segment.number, 0);
    let torn = if segment.len == 0 {
        disk.remove(&name)?;
        None
    } else {
        let kept = torn_name(at);
        make_room_for_torn(disk, &kept)?;
        disk.rename(&name, &kept)?;
        Some(Torn { at, bytes: u64::from(segment.len), kept_as: Ok(kept) })
    };
    disk.sync_dir()?;
    Ok(torn)
}

fn torn_name(at: Position) -> String {
    format!("torn-{:016x}", at.0)
}

/// Removes the oldest copies, so that with the one to come there are [`TORN_COPIES_MAX`].
fn make_room_for_torn(disk: &dyn Disk, coming: &str) -> io::Result<()> {
    let mut names = disk.list()?;
    names.retain(|name| name.starts_with("torn-") && name != coming);
    names.sort_unstable();
    let surplus = (names.len() + 1).saturating_sub(TORN_COPIES_MAX);
    names.iter().take(surplus).try_for_each(|name| disk.remove(name))
}

/// Sets down where each segment but the newest ends: where its successor says, or (without one
/// that can be read) where its file does.
fn settle_older(state: &mut JournalState, found: &[SegmentsFound]) {
    for pair in found.windows(2) {
        let [segment, next] = pair else {
            continue;
        };
        let end = match next.header {
            SegmentHeader::Sound { previous_end } if next.number == segment.number + 1 => {
                previous_end
            }
            SegmentHeader::Sound { .. } | SegmentHeader::Version(_) | SegmentHeader::Bad => {
                segment.len
            }
        };
        state.segments.insert(segment.number, end);
    }
}

/// Writes garbled segment headers again. Nothing is lost if that fails: frames are sound by
/// themselves, and the next opening tries again.
fn rewrite_headers(disk: &dyn Disk, state: &JournalState, found: &[SegmentsFound]) -> Vec<u32> {
    let mut rewritten = Vec::new();
    for segment in found.iter().filter(|segment| segment.header == SegmentHeader::Bad) {
        let number = segment.number;
        let before = number.checked_sub(1).and_then(|before| state.segments.get(&before));
        let header = SegmentHeader::encode(number, before.copied().unwrap_or(0));
        let result = disk.open(&segment_name(number)).and_then(|file| {
            file.write_at(0, &header)?;
            file.fdatasync()
        });
        match result {
            Ok(()) => rewritten.push(number),
            Err(error) => tracing::warn!(number, %error, "segment header cannot be rewritten"),
        }
    }
    rewritten
}

/// Ranges of numbers that have no file, from 0 up to the newest segment.
fn missing(found: &[SegmentsFound]) -> Vec<RangeInclusive<u32>> {
    let mut missing = Vec::new();
    let mut expected = 0;
    for segment in found {
        if segment.number > expected {
            missing.push(expected..=segment.number - 1);
        }
        expected = segment.number.saturating_add(1);
    }
    missing
}
