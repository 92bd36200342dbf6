//! Disks that are full, that fail, that tear what they were writing, or that lose a file.

use super::*;

#[test]
fn a_full_disk_refuses_and_takes_up_again_when_there_is_room() {
    let disk = FaultyDisk::new();
    let mut journal = open(&disk);
    let first = append_one(&mut journal, &[1; 100]);
    for space in 0..200 {
        disk.set_space(Some(space.min(119)));
        assert!(is_unwritable(journal.append(&[&[2; 100]])));
        assert!(is_unwritable(journal.append(&[&[2; 1900], &[2; 900]])), "in a new segment");
        assert_eq!(journal.reader().read(first).unwrap(), [1; 100], "reads go on");
        assert_eq!(all(&journal).len(), 1);
    }
    disk.set_space(None);
    let second = append_one(&mut journal, &[3; 100]);
    assert!(second > first);
    disk.crash(1);
    let frames: Vec<_> = all(&open(&disk)).into_iter().map(|(_, frame)| frame).collect();
    assert_eq!(frames, [[1; 100], [3; 100]]);
}

/// Two commits of equal lengths are refused one after the other: sectors of both may be on their
/// way to the same place, where each frame (a sector of its own) is sound.
#[test]
fn a_crash_does_not_mix_refused_commits() {
    for seed in 0..3000 {
        let disk = FaultyDisk::new();
        let mut journal = open(&disk);
        let first = append(&mut journal, &[vec![0; 468]]).unwrap();
        disk.set_space(Some(1100));
        let tried = [1, 2].map(|stamp| vec![vec![stamp; 492]; 3]);
        for commit in &tried {
            assert!(is_unwritable(append(&mut journal, commit)));
        }
        disk.set_space(None);
        disk.crash(seed);
        check_after_crash(&all(&open(&disk)), &first, &tried);
    }
}

#[test]
fn after_a_failed_sync_nothing_of_that_segment_is_trusted_beyond_its_durable_end() {
    for crash in 0..200 {
        let disk = FaultyDisk::new();
        let mut journal = open(&disk);
        append_one(&mut journal, b"durable");
        disk.fail_syncs(1 + crash as u32 % 4);
        let mut tried = vec![];
        let mut refused = 0;
        // Refuses as long as syncs fail, then goes on without being opened again.
        loop {
            let frame = vec![b'a' + refused; 600];
            tried.push(frame.clone());
            match journal.append(&[&frame]) {
                Ok(_) => break,
                Err(StoreError::Unwritable { .. }) => refused += 1,
                Err(error) => panic!("{error}"),
            }
        }
        assert!(refused > 0);
        let expected = [b"durable".to_vec(), tried.last().unwrap().clone()];
        let frames: Vec<_> = all(&journal).into_iter().map(|(_, frame)| frame).collect();
        assert_eq!(frames, expected);
        disk.fail_syncs(0);
        disk.crash(crash);
        let frames: Vec<_> = all(&open(&disk)).into_iter().map(|(_, frame)| frame).collect();
        assert_eq!(frames, expected, "no refused frame comes back before an acknowledged one");
    }
}

#[test]
fn a_torn_tail_is_cut_and_its_bytes_are_kept_aside() {
    let disk = FaultyDisk::new();
    let mut journal = open(&disk);
    let whole = append_one(&mut journal, b"whole");
    let end = journal.reader().end().unwrap();
    let file = disk.open("00000000.seg").unwrap();
    let mut torn = Vec::new();
    encode_frame(&mut torn, end, 0, &[7; 100]);
    torn.truncate(60);
    for _ in 0..TORN_COPIES_MAX + 3 {
        let end = open(&disk).reader().end().unwrap();
        file.write_at(end.0, &torn).unwrap();
        let (mut journal, report) = open_after(&disk, Some(whole));
        let cut = report.torn.unwrap();
        assert_eq!((cut.at, cut.bytes), (end, 60));
        assert!(report.damaged.is_empty());
        let copy = disk.open(&cut.kept_as.unwrap()).unwrap();
        let mut bytes = vec![0; 100];
        assert_eq!(copy.read_at(0, &mut bytes).unwrap(), 60);
        assert_eq!(bytes[..60], torn);
        append_one(&mut journal, b"next");
    }
    let copies = disk.list().unwrap().iter().filter(|name| name.starts_with("torn-")).count();
    assert_eq!(copies, TORN_COPIES_MAX);
    assert_eq!(all(&open(&disk)).len(), 1 + TORN_COPIES_MAX + 3);
}

#[test]
fn a_torn_tail_that_cannot_be_kept_is_left_in_place_and_does_not_count() {
    let disk = FaultyDisk::new();
    let frames = small_journal(&disk);
    disk.open("00000002.seg").unwrap().write_at(1950, &[9; 50]).unwrap();
    disk.set_space(Some(10));
    let (mut journal, report) = open_after(&disk, None);
    assert!(report.torn.unwrap().kept_as.is_err());
    assert_eq!(all(&journal), frames);
    assert!(is_unwritable(journal.append(&[b"no room"])));
    disk.set_space(None);
    let at = append_one(&mut journal, b"room");
    assert_eq!(at.0 >> 32, 3, "in a segment of its own");
    let (journal, report) = open_after(&disk, None);
    assert!(report.damaged.is_empty());
    assert_eq!(all(&journal).len(), frames.len() + 1);
    journal.reader().verify_all(&mut |_, _| {}).unwrap();
    assert!(journal.reader().damaged().is_empty());
}

#[test]
fn a_bad_last_frame_is_torn_unless_the_tables_show_it() {
    let disk = FaultyDisk::new();
    let frames = small_journal(&disk);
    let (at, _) = frames.last().unwrap();
    disk.flip("00000002.seg", (at.0 & 0xffff_ffff) + 22, 1);
    let (journal, report) = open_after(&disk, Some(*at));
    assert!(report.torn.is_none());
    assert_eq!(report.damaged, [*at]);
    assert!(is_damaged(journal.reader().read(*at)));

    let (journal, report) = open_after(&disk, Some(frames[frames.len() - 2].0));
    assert_eq!(report.torn.unwrap().at, *at);
    assert_eq!(all(&journal), frames[..frames.len() - 1]);
}

#[test]
fn a_bad_frame_before_a_later_commit_is_damage_within_the_last_commit_it_is_torn() {
    let disk = FaultyDisk::new();
    let frames = small_journal(&disk);
    let last_commit = frames[frames.len() - 2].0;
    disk.flip("00000002.seg", 50, 1);
    let (journal, report) = open_after(&disk, None);
    assert!(report.torn.is_none());
    assert_eq!(report.damaged, [frames[frames.len() - 3].0]);
    assert_eq!(all(&journal).len(), frames.len() - 1);
    drop(journal);

    disk.flip("00000002.seg", last_commit.0 & 0xffff_ffff, 1);
    let (_, report) = open_after(&disk, None);
    assert_eq!(report.torn.unwrap().at, last_commit, "its second frame is cut with it");
}

#[test]
fn an_acknowledged_frame_that_was_cut_short_keeps_its_whole_place() {
    let disk = FaultyDisk::new();
    let frames = small_journal(&disk);
    let (at, frame) = frames.last().unwrap();
    let len = file_len(&disk, "00000002.seg");
    disk.open("00000002.seg").unwrap().truncate(len - 5).unwrap();
    let (mut journal, report) = open_after(&disk, Some(*at));
    assert_eq!(report.damaged, [*at]);
    append_one(&mut journal, b"behind it");
    journal.repair(*at, frame).unwrap();
    assert_eq!(all(&journal)[..frames.len()], frames);
    assert_eq!(all(&open(&disk)).len(), frames.len() + 1);
}

#[test]
fn a_newest_segment_without_a_header_is_put_away() {
    for len in 0..SEGMENT_HEADER_BYTES as usize {
        let disk = FaultyDisk::new();
        let frames = small_journal(&disk);
        let file = disk.create("00000003.seg").unwrap();
        file.write_at(0, &SegmentHeader::encode(3, 1900)[..len]).unwrap();
        let (mut journal, report) = open_after(&disk, None);
        assert_eq!(report.torn.map(|torn| torn.bytes), (len > 0).then_some(len as u64));
        assert_eq!(all(&journal), frames);
        append_one(&mut journal, &[5; 1000]);
        assert_eq!(all(&open(&disk)).len(), frames.len() + 1);
    }
}

#[test]
fn a_missing_segment_is_reported_and_the_rest_is_served() {
    let disk = FaultyDisk::new();
    let frames = small_journal(&disk);
    disk.remove("00000001.seg").unwrap();
    let (mut journal, report) = open_after(&disk, None);
    assert_eq!(report.segments_missing, [1..=1]);
    assert_eq!(report.damaged.len(), 1);
    let (lost, kept): (TestFrames, TestFrames) =
        frames.into_iter().partition(|(at, _)| at.0 >> 32 == 1);
    assert_eq!(all(&journal), kept);
    for (at, frame) in lost {
        assert!(is_damaged(journal.reader().read(at)));
        assert!(journal.repair(at, &frame).is_err());
    }
}

#[test]
fn a_newer_format_is_refused_with_what_was_found() {
    let disk = FaultyDisk::new();
    small_journal(&disk);
    let mut header = SegmentHeader::encode(1, 0);
    header[8] = 2;
    let crc = crc32c::crc32c(&header[..20]);
    header[20..].copy_from_slice(&crc.to_le_bytes());
    disk.open("00000001.seg").unwrap().write_at(0, &header).unwrap();
    let Err(error) = Journal::open(Arc::new(disk), None, SMALL) else {
        panic!("opened");
    };
    assert!(matches!(error, JournalOpenError::NewerFormat { segment: 1, found: 2, expected: 1 }));
}

#[test]
fn a_frame_within_a_damaged_frame_is_not_taken_for_one() {
    let disk = FaultyDisk::new();
    let mut journal = open(&disk);
    append_one(&mut journal, b"first");
    // What an attacker could send: a copy of a real frame of this journal, header and all.
    let mut copy = vec![0; 25];
    disk.open("00000000.seg").unwrap().read_at(24, &mut copy).unwrap();
    let outer = append_one(&mut journal, &copy);
    let last = append_one(&mut journal, b"last");
    disk.flip("00000000.seg", outer.0, 1);
    let (journal, report) = open_after(&disk, None);
    assert_eq!(report.damaged, [outer]);
    let served: Vec<_> = all(&journal).into_iter().map(|(at, _)| at).collect();
    assert_eq!(served, [Position(24), last]);
}
