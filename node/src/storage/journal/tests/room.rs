//! Room behind the last commit: it is used, given back, and never mistaken.

use super::{
    FRAME_HEADER_BYTES, ROOMY, TestFrames, all, append, append_one, file_len, open, open_with,
};
use crate::storage::testing::FaultyDisk;
use branchline_crdt::store::Position;

/// A shorter end of the room may be a frame's.
const TELLING_BYTES_MIN: u64 = 64;
const TAIL: &str = "00000000.seg";

/// Some commits with room behind them, the last of which ends where the length says.
fn roomy_journal(disk: &FaultyDisk) -> (TestFrames, u64) {
    let (mut journal, _) = open_with(disk, None, ROOMY);
    let mut frames = TestFrames::new();
    for number in 1..6 {
        frames.extend(append(&mut journal, &[vec![number; 40], vec![number; 9]]).unwrap());
    }
    (frames, journal.reader().end().unwrap().0)
}

#[test]
fn small_commits_go_into_room_that_outlives_a_kill_and_is_given_back_in_the_end() {
    let disk = FaultyDisk::new();
    let (mut frames, end) = roomy_journal(&disk);
    assert_eq!(file_len(&disk, TAIL), u64::from(ROOMY.segment_bytes_max));
    let (mut journal, report) = open_with(&disk, None, ROOMY);
    assert!(report.torn.is_none() && report.damaged.is_empty());
    assert_eq!(journal.reader().end(), Some(Position(end)));
    frames.extend(append(&mut journal, &[vec![7; 100]]).unwrap());
    assert_eq!(file_len(&disk, TAIL), u64::from(ROOMY.segment_bytes_max));
    assert_eq!(all(&journal), frames);
    let end = journal.reader().end().unwrap().0;
    journal.close();
    assert_eq!(file_len(&disk, TAIL), end);
    let (mut journal, report) = open_with(&disk, None, ROOMY);
    assert!(report.torn.is_none());
    frames.extend(append(&mut journal, &[vec![8; 1500]]).unwrap());
    assert_eq!(all(&journal), frames);
    assert_eq!(all(&open(&disk)), frames, "the segment before has no room any more");
}

#[test]
fn a_flipped_byte_of_the_room_costs_no_frame() {
    let disk = FaultyDisk::new();
    let (frames, end) = roomy_journal(&disk);
    for offset in (end..file_len(&disk, TAIL) - TELLING_BYTES_MIN).step_by(61) {
        let disk = FaultyDisk::new();
        assert_eq!(roomy_journal(&disk).0, frames);
        disk.flip(TAIL, offset, 0x40);
        let (mut journal, report) = open_with(&disk, frames.last().map(|(at, _)| *at), ROOMY);
        assert!(report.damaged.is_empty(), "{offset}");
        assert_eq!(report.torn.unwrap().bytes, offset + 1 - end);
        assert_eq!(all(&journal), frames);
        append_one(&mut journal, b"next");
        assert_eq!(all(&open_with(&disk, None, ROOMY).0).len(), frames.len() + 1);
    }
}

#[test]
fn a_damaged_frame_before_the_room_is_repaired_in_its_own_place() {
    for offset in 0..u64::from(FRAME_HEADER_BYTES) + 9 {
        let disk = FaultyDisk::new();
        let (frames, end) = roomy_journal(&disk);
        let (at, frame) = frames.last().unwrap();
        disk.flip(TAIL, at.0 + offset, 0x04);
        let (mut journal, report) = open_with(&disk, Some(*at), ROOMY);
        assert_eq!(report.damaged, [*at], "{offset}");
        assert_eq!(journal.reader().end(), Some(Position(end)));
        let behind = append_one(&mut journal, b"behind it");
        assert_eq!(behind, Position(end));
        journal.repair(*at, frame).unwrap();
        let (journal, report) = open_with(&disk, Some(behind), ROOMY);
        assert!(report.damaged.is_empty() && report.torn.is_none());
        assert_eq!(all(&journal)[..frames.len()], frames);
        assert_eq!(all(&journal).len(), frames.len() + 1);
    }
}
