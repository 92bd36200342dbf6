//! What the journal promises, on a disk that keeps as little as a real one may.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod faults;
mod room;

use std::sync::Arc;

use proptest::prelude::*;

use super::frame::{FRAME_HEADER_BYTES, SEGMENT_HEADER_BYTES, SegmentHeader, encode_frame};
use super::{
    DamageKind, FRAME_BYTES_MAX, Journal, JournalOpenError, JournalOptions, JournalReport,
    TORN_COPIES_MAX,
};
use crate::storage::disk::Disk;
use crate::storage::testing::FaultyDisk;
use branchline_crdt::store::{Position, StoreError};

type TestFrames = Vec<(Position, Vec<u8>)>;

const SMALL: JournalOptions = JournalOptions { segment_bytes_max: 2048, room_bytes: 0 };
/// With room behind commits of at most 512 bytes.
const ROOMY: JournalOptions = JournalOptions { room_bytes: 8192, ..SMALL };

fn open_with(
    disk: &FaultyDisk,
    applied: Option<Position>,
    options: JournalOptions,
) -> (Journal, JournalReport) {
    Journal::open(Arc::new(disk.clone()), applied, options).unwrap()
}

fn open_after(disk: &FaultyDisk, applied: Option<Position>) -> (Journal, JournalReport) {
    open_with(disk, applied, SMALL)
}

fn open(disk: &FaultyDisk) -> Journal {
    open_after(disk, None).0
}

fn append(journal: &mut Journal, frames: &[Vec<u8>]) -> Result<TestFrames, StoreError> {
    let slices: Vec<&[u8]> = frames.iter().map(Vec::as_slice).collect();
    let positions = journal.append(&slices)?;
    Ok(positions.into_iter().zip(frames.iter().cloned()).collect())
}

fn append_one(journal: &mut Journal, frame: &[u8]) -> Position {
    journal.append(&[frame]).unwrap()[0]
}

fn all(journal: &Journal) -> TestFrames {
    journal.reader().scan(None, usize::MAX).unwrap()
}

fn is_unwritable<T: std::fmt::Debug>(result: Result<T, StoreError>) -> bool {
    matches!(result, Err(StoreError::Unwritable { .. }))
}

fn is_damaged(result: Result<Vec<u8>, StoreError>) -> bool {
    matches!(result, Err(StoreError::Damaged { .. }))
}

fn file_len(disk: &FaultyDisk, name: &str) -> u64 {
    disk.open(name).unwrap().len().unwrap()
}

#[derive(Clone, Debug)]
enum JournalStep {
    Append(Vec<usize>),
    FailSyncs(u32),
    Space(Option<u64>),
    KillAfter(u32),
    Restart,
    Crash(u64),
}

fn step() -> impl Strategy<Value = JournalStep> {
    // Lengths that repeat, so that one commit's frames can lie where another's lay.
    let len = prop::sample::select(vec![0, 12, 200, 492, 700]);
    prop_oneof![
        10 => prop::collection::vec(len, 1..6).prop_map(JournalStep::Append),
        2 => (1..4_u32).prop_map(JournalStep::FailSyncs),
        2 => prop::option::of(0..1500_u64).prop_map(JournalStep::Space),
        2 => (0..6_u32).prop_map(JournalStep::KillAfter),
        2 => Just(JournalStep::Restart),
        3 => any::<u64>().prop_map(JournalStep::Crash),
    ]
}

/// What must hold after a crash: all acknowledged frames in their places and order, and behind
/// them nothing, or a whole prefix of one commit that was not acknowledged.
fn check_after_crash(
    found: &TestFrames,
    acknowledged: &TestFrames,
    unacknowledged: &[Vec<Vec<u8>>],
) {
    let (kept, extra) = found.split_at(acknowledged.len().min(found.len()));
    assert_eq!(kept, acknowledged, "an acknowledged frame is missing, moved or changed");
    let extra: Vec<&Vec<u8>> = extra.iter().map(|(_, frame)| frame).collect();
    let is_prefix = |commit: &Vec<Vec<u8>>| {
        commit.len() >= extra.len() && commit.iter().zip(&extra).all(|(a, b)| a == *b)
    };
    assert!(
        extra.is_empty() || unacknowledged.iter().any(is_prefix),
        "{} frames that are no prefix of any commit tried",
        extra.len()
    );
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..Default::default() })]

    #[test]
    fn crashes_keep_what_was_acknowledged(
        steps in prop::collection::vec(step(), 1..40),
        options in prop::sample::select(vec![SMALL, ROOMY]),
    ) {
        let disk = FaultyDisk::new();
        let mut journal = open_with(&disk, None, options).0;
        let mut acknowledged = TestFrames::new();
        let mut unacknowledged = Vec::new();
        let mut stamp = 0_u8;
        for step in steps {
            match step {
                JournalStep::Append(lens) => {
                    // Content differs from commit to commit, so that no two are mistaken.
                    stamp = stamp.wrapping_add(1);
                    let frames: Vec<_> = lens.iter().map(|len| vec![stamp; *len]).collect();
                    match append(&mut journal, &frames) {
                        Ok(placed) => acknowledged.extend(placed),
                        Err(StoreError::Unwritable { .. }) => unacknowledged.push(frames),
                        Err(error) => panic!("{error}"),
                    }
                    prop_assert_eq!(&all(&journal), &acknowledged);
                }
                JournalStep::FailSyncs(count) => disk.fail_syncs(count),
                JournalStep::Space(bytes) => disk.set_space(bytes),
                JournalStep::KillAfter(changes) => disk.kill_after(changes),
                JournalStep::Restart | JournalStep::Crash(_) => {
                    disk.fail_syncs(0);
                    disk.set_space(None);
                    drop(journal);
                    match step {
                        JournalStep::Crash(seed) => {
                            disk.crash(seed);
                            if seed % 3 == 0 {
                                // And once more while the journal is being opened.
                                disk.kill_after((seed / 3 % 8) as u32);
                                let _ = Journal::open(Arc::new(disk.clone()), None, options);
                                disk.crash(seed.rotate_left(9));
                            }
                        }
                        _ => disk.restart(),
                    }
                    let (opened, report) = open_with(&disk, None, options);
                    journal = opened;
                    prop_assert!(report.damaged.is_empty(), "{:?}", report);
                    let found = all(&journal);
                    check_after_crash(&found, &acknowledged, &unacknowledged);
                    // What opening served is durable from then on.
                    acknowledged = found;
                    unacknowledged.clear();
                }
            }
        }
        for (at, frame) in &acknowledged {
            prop_assert_eq!(&journal.reader().read(*at).unwrap(), frame);
        }
    }
}

#[test]
fn what_a_failed_attempt_left_of_a_segment_is_not_mixed_with_the_next() {
    for (seed, life) in (0..200).flat_map(|seed| (1..6).map(move |life| (seed, life))) {
        let disk = FaultyDisk::new();
        let mut journal = open(&disk);
        let mut acknowledged = append(&mut journal, &[vec![1]]).unwrap();
        disk.fail_syncs(1);
        let given_up = vec![vec![2]];
        assert!(is_unwritable(append(&mut journal, &given_up)));
        // The second frame of the one attempt would follow on the first of the other.
        let attempts = [vec![vec![3; 700], vec![]], vec![vec![4; 700]]];
        for attempt in &attempts {
            disk.kill_after(life);
            acknowledged.extend(append(&mut journal, attempt).unwrap_or_default());
        }
        if disk.is_killed() {
            drop(journal);
            disk.crash(seed);
            let found = all(&open(&disk));
            let [one, other] = attempts;
            check_after_crash(&found, &acknowledged, &[given_up, one, other]);
        }
    }
}

/// Three segments, commits of one and of several frames.
fn small_journal(disk: &FaultyDisk) -> TestFrames {
    let mut journal = open(disk);
    let mut frames = TestFrames::new();
    for (i, lens) in [vec![30], vec![0, 25, 40], vec![1900], vec![60, 1], vec![1800], vec![9, 33]]
        .iter()
        .enumerate()
    {
        let commit: Vec<_> = lens.iter().map(|len| vec![i as u8 + 1; *len]).collect();
        frames.extend(append(&mut journal, &commit).unwrap());
    }
    assert_eq!(journal.reader().sizes().segments, 3);
    frames
}

#[test]
fn no_flipped_byte_is_ever_served_and_every_one_is_repaired() {
    let disk = FaultyDisk::new();
    let frames = small_journal(&disk);
    let last = frames.last().unwrap().0;
    for name in disk.list().unwrap() {
        for offset in 0..file_len(&disk, &name) {
            for mask in [0x01, 0x80, 0xff] {
                disk.flip(&name, offset, mask);
                let (mut journal, report) = open_after(&disk, Some(last));
                assert!(report.torn.is_none(), "{name} {offset}");
                let mut served = TestFrames::new();
                for (at, frame) in &frames {
                    match journal.reader().read(*at) {
                        Ok(found) => {
                            assert_eq!(&found, frame, "{name} {offset}");
                            served.push((*at, frame.clone()));
                        }
                        Err(StoreError::Damaged { position, .. }) => {
                            assert_eq!(position, *at);
                            assert!(journal.reader().damaged().contains(at), "{name} {offset}");
                        }
                        Err(error) => panic!("{name} {offset}: {error}"),
                    }
                }
                assert_eq!(all(&journal), served);
                if offset < u64::from(SEGMENT_HEADER_BYTES) {
                    // Mended on opening.
                    assert_eq!(report.headers_rewritten.len(), 1, "{name} {offset}");
                    assert_eq!(served, frames);
                    continue;
                }
                assert_eq!(served.len() + 1, frames.len(), "{name} {offset}");
                for at in journal.reader().damaged() {
                    let (_, frame) = frames.iter().find(|(place, _)| *place == at).unwrap();
                    assert!(is_unwritable(journal.repair(at, &[0; 2000])));
                    journal.repair(at, frame).unwrap();
                }
                assert_eq!(all(&journal), frames);
                assert_eq!(all(&open_after(&disk, Some(last)).0), frames, "{name} {offset}");
            }
        }
    }
}

#[test]
fn several_frames_lost_in_one_stretch_are_repaired_one_by_one() {
    let disk = FaultyDisk::new();
    let frames = small_journal(&disk);
    // The headers of the second commit's three frames, all in the first segment.
    for (at, _) in &frames[1..4] {
        disk.flip("00000000.seg", at.0, 0x10);
    }
    let mut journal = open(&disk);
    assert!(is_damaged(journal.reader().read(frames[2].0)));
    assert_eq!(journal.reader().damaged(), [frames[1].0], "one stretch: inner borders are lost");
    for (at, frame) in &frames[1..4] {
        journal.repair(*at, frame).unwrap();
    }
    assert!(journal.reader().damaged().is_empty());
    assert_eq!(all(&journal), frames);
    assert_eq!(all(&open(&disk)), frames);
}

#[test]
fn a_repair_that_is_not_synced_leaves_the_frame_damaged() {
    let disk = FaultyDisk::new();
    let frames = small_journal(&disk);
    let (at, frame) = &frames[0];
    disk.flip("00000000.seg", at.0 + 25, 1);
    let mut journal = open(&disk);
    assert!(is_damaged(journal.reader().read(*at)));
    disk.fail_syncs(1);
    assert!(is_unwritable(journal.repair(*at, frame)));
    assert!(is_damaged(journal.reader().read(*at)));
    journal.repair(*at, frame).unwrap();
    disk.crash(7);
    assert_eq!(all(&open(&disk)), frames);
}

#[test]
fn repairing_a_sound_frame_changes_nothing() {
    let disk = FaultyDisk::new();
    let frames = small_journal(&disk);
    let mut journal = open(&disk);
    journal.repair(frames[0].0, &frames[0].1).unwrap();
    assert!(is_unwritable(journal.repair(frames[0].0, b"other bytes")));
    assert_eq!(all(&journal), frames);
}

#[test]
fn what_is_too_large_is_refused() {
    let disk = FaultyDisk::new();
    let mut journal = open(&disk);
    assert!(is_unwritable(journal.append(&[&vec![0; FRAME_BYTES_MAX + 1]])));
    let frame = vec![7; FRAME_BYTES_MAX];
    assert!(is_unwritable(journal.append(&[frame.as_slice(); 8])), "more than a segment");
    let at = append_one(&mut journal, &frame);
    assert_eq!(journal.reader().read(at).unwrap(), frame);
    assert!(journal.append(&[]).unwrap().is_empty());
}

#[test]
fn pages_hold_at_least_one_frame_and_join_without_gaps() {
    let disk = FaultyDisk::new();
    let frames = small_journal(&disk);
    let journal = open(&disk);
    for bytes_max in [0, 1, 30, 100, 2000, usize::MAX] {
        let mut joined = TestFrames::new();
        loop {
            let after = joined.last().map(|(at, _)| *at);
            let page = journal.reader().scan(after, bytes_max).unwrap();
            let bytes: usize = page.iter().map(|(_, frame)| frame.len()).sum();
            assert!(page.len() <= 1 || bytes <= bytes_max);
            if page.is_empty() {
                break;
            }
            joined.extend(page);
        }
        assert_eq!(joined, frames);
    }
}

#[test]
fn scanning_goes_on_from_places_that_are_no_frames() {
    let disk = FaultyDisk::new();
    let frames = small_journal(&disk);
    let journal = open(&disk);
    let end = journal.reader().end().unwrap();
    for number in 0..4 {
        for offset in (0..2048).step_by(3) {
            let after = Position(number << 32 | offset);
            let expected = frames.iter().find(|(at, _)| *at > after);
            let page = journal.reader().scan(Some(after), 0).unwrap();
            assert_eq!(page.first(), expected);
            if !frames.iter().any(|(at, _)| *at == after) {
                let error = journal.reader().read(after).unwrap_err();
                assert!(matches!(error, StoreError::Unreadable { .. }), "{error}");
            }
        }
    }
    assert!(end > frames.last().unwrap().0);
    assert!(journal.reader().damaged().is_empty(), "asking wrongly damages nothing");
}

#[test]
fn verification_finds_damage_in_old_segments() {
    let disk = FaultyDisk::new();
    let frames = small_journal(&disk);
    let at = frames[2].0;
    disk.flip("00000000.seg", at.0 + u64::from(FRAME_HEADER_BYTES), 4);
    let journal = open(&disk);
    assert!(journal.reader().damaged().is_empty(), "old segments are not read on opening");
    let mut seen = Vec::new();
    let verified =
        journal.reader().verify_all(&mut |done, total| seen.push((done, total))).unwrap();
    assert_eq!(verified.damaged, [at]);
    assert_eq!(verified.frames, frames.len() as u64 - 1);
    assert!(seen.iter().all(|(done, total)| done <= total));
    let Err(StoreError::Damaged { reason, .. }) = journal.reader().read(at) else {
        panic!("served");
    };
    assert_eq!(reason, DamageKind::Bytes.to_string());
}

#[test]
fn readers_follow_the_writer_from_other_threads() {
    let disk = FaultyDisk::new();
    let mut journal = open(&disk);
    let reader = journal.reader().clone();
    let follower = std::thread::spawn(move || {
        let mut seen = TestFrames::new();
        while seen.len() < 2000 {
            let page = reader.scan(seen.last().map(|(at, _)| *at), 500).unwrap();
            for (at, frame) in &page {
                assert_eq!(&reader.read(*at).unwrap(), frame);
            }
            seen.extend(page);
        }
        seen
    });
    let mut written = TestFrames::new();
    for i in 0..1000_u32 {
        let frame = i.to_le_bytes().repeat(i as usize % 50);
        written.extend(append(&mut journal, &[frame.clone(), frame]).unwrap());
    }
    assert_eq!(follower.join().unwrap(), written);
}
