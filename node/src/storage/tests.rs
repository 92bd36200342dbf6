//! What a data folder promises as a whole.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::fs;
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::Path;

use tempfile::TempDir;

use super::folder::{DataFolder, FolderError};
use super::{OpenError, OpenReport, Options, Storage, VerifyProgress};
use branchline_crdt::store::tables::ReadTables;
use branchline_crdt::store::{Position, ReadJournal, Store, StoreError};

fn open(dir: &Path) -> (Storage, OpenReport) {
    Storage::open(dir, Options::default()).unwrap()
}

fn frame(i: u32) -> Vec<u8> {
    i.to_le_bytes().repeat(1 + i as usize % 100)
}

fn row(i: u32) -> Vec<u8> {
    i.to_be_bytes().repeat(10 + i as usize % 1000)
}

/// Writes `count` frames, each with a row that shows it.
fn fill(storage: &mut Storage, count: u32) {
    for i in 0..count {
        let at = storage.append(&[&frame(i)]).unwrap()[0];
        storage.apply(vec![(i.to_be_bytes().to_vec(), Some(row(i)))], Some(at)).unwrap();
    }
}

/// What a replica does: shows in the tables what the journal holds beyond them.
fn replay(storage: &mut Storage) {
    loop {
        let applied = storage.applied().unwrap();
        let page = storage.scan_journal(applied, 10_000).unwrap();
        if page.is_empty() {
            return;
        }
        for (at, frame) in page {
            let key: [u8; 4] = frame[..4].try_into().unwrap();
            let i = u32::from_le_bytes(key);
            storage.apply(vec![(i.to_be_bytes().to_vec(), Some(row(i)))], Some(at)).unwrap();
        }
    }
}

fn assert_shows(storage: &Storage, count: u32) {
    let rows = storage.scan(b"", None, usize::MAX).unwrap();
    assert_eq!(rows.len(), count as usize);
    for (i, (key, value)) in rows.into_iter().enumerate() {
        assert_eq!(key, (i as u32).to_be_bytes());
        assert_eq!(value, row(i as u32));
    }
}

#[test]
fn everything_is_there_after_opening_again() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("data");
    let (mut storage, report) = open(&path);
    assert!(!report.rebuild_needed && report.tables_set_aside.is_none());
    fill(&mut storage, 100);
    storage.flush_tables().unwrap();
    let sizes = storage.reader().sizes().unwrap();
    assert_eq!(sizes.segments, 1);
    assert!(sizes.journal_bytes > 10_000 && sizes.tables_bytes > 0);
    drop(storage);
    for private in ["", "journal", "tables"] {
        let mode = fs::metadata(path.join(private)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o700, "{private}");
    }
    let segment = path.join("journal/00000000.seg");
    assert_eq!(fs::metadata(segment).unwrap().permissions().mode() & 0o777, 0o600);

    let (storage, report) = open(&path);
    assert!(!report.rebuild_needed && report.journal.torn.is_none());
    assert_shows(&storage, 100);
    let mut stages = (0, 0);
    let verified = storage
        .verify(&mut |progress| match progress {
            VerifyProgress::Journal { .. } => stages.0 += 1,
            VerifyProgress::Tables { .. } => stages.1 += 1,
        })
        .unwrap();
    assert!(verified.is_sound());
    assert_eq!((verified.journal.frames, verified.tables.rows), (100, 100));
    assert!(stages.0 > 0 && stages.1 > 0);
}

#[test]
fn a_second_process_is_kept_out_until_the_last_reader_is_gone() {
    let dir = TempDir::new().unwrap();
    let (storage, _) = open(dir.path());
    let reader = storage.reader();
    drop(storage);
    let Err(error) = Storage::open(dir.path(), Options::default()) else {
        panic!("opened twice");
    };
    let own = format!("in use by process {}", std::process::id());
    assert!(error.to_string().contains(&own), "{error}");
    drop(reader);
    open(dir.path());
}

#[test]
fn a_newer_data_folder_is_refused_with_found_and_expected() {
    let dir = TempDir::new().unwrap();
    drop(open(dir.path()));
    fs::write(dir.path().join("format"), "branchline data 2\n").unwrap();
    let error = DataFolder::open(dir.path()).unwrap_err();
    assert!(matches!(error, FolderError::NewerFormat { found: 2, expected: 1, .. }), "{error}");
    fs::write(dir.path().join("format"), "something else").unwrap();
    let error = DataFolder::open(dir.path()).unwrap_err();
    assert!(matches!(error, FolderError::UnknownFormat { .. }), "{error}");
}

#[test]
fn a_folder_of_a_former_version_is_taken_up_and_then_refused_by_the_program_of_before() {
    let dir = TempDir::new().unwrap();
    let (mut storage, _) = open(dir.path());
    storage.append(&[b"kept"]).unwrap();
    drop(storage);
    drop(DataFolder::open_as(dir.path(), 2).unwrap());
    let error = DataFolder::open_as(dir.path(), 1).unwrap_err();
    assert!(matches!(error, FolderError::NewerFormat { found: 2, expected: 1, .. }), "{error}");
    drop(DataFolder::open_as(dir.path(), 2).unwrap());
    drop(DataFolder::open_as(dir.path(), 3).unwrap());
    assert_eq!(fs::read_to_string(dir.path().join("format")).unwrap(), "branchline data 3\n");
    fs::write(dir.path().join("format"), "branchline data 0\n").unwrap();
    let error = DataFolder::open_as(dir.path(), 3).unwrap_err();
    assert!(matches!(error, FolderError::UnknownFormat { .. }), "{error}");
}

#[test]
fn a_data_folder_is_created_only_where_there_is_no_data() {
    let dir = TempDir::new().unwrap();
    let error = DataFolder::open(dir.path()).unwrap_err();
    assert!(matches!(error, FolderError::NotADataFolder { .. }), "{error}");
    drop(DataFolder::create(dir.path()).unwrap());
    let error = DataFolder::create(dir.path()).unwrap_err();
    assert!(matches!(error, FolderError::NotEmpty { .. }), "{error}");
    fs::create_dir(dir.path().join("journal")).unwrap();
    fs::remove_file(dir.path().join("format")).unwrap();
    let error = Storage::open(dir.path(), Options::default()).err().unwrap();
    assert!(matches!(error, OpenError::Folder(FolderError::NotEmpty { .. })), "{error}");
}

#[test]
fn tables_that_lag_are_brought_up_from_where_they_are() {
    let dir = TempDir::new().unwrap();
    let (mut storage, _) = open(dir.path());
    fill(&mut storage, 20);
    for i in 20..40 {
        storage.append(&[&frame(i)]).unwrap();
    }
    drop(storage);
    let (mut storage, report) = open(dir.path());
    assert!(!report.rebuild_needed);
    replay(&mut storage);
    assert_shows(&storage, 40);
}

#[test]
fn tables_ahead_of_the_journal_are_set_aside() {
    let dir = TempDir::new().unwrap();
    let (mut storage, _) = open(dir.path());
    fill(&mut storage, 20);
    let end = storage.append(&[b"last"]).unwrap()[0];
    drop(storage);
    let path = dir.path().join("journal/00000000.seg");
    let segment = fs::OpenOptions::new().write(true).open(path).unwrap();
    segment.set_len(end.0).unwrap();
    drop(open(dir.path()));

    let (mut storage, _) = open(dir.path());
    storage.apply(vec![], Some(end)).unwrap();
    drop(storage);
    let (mut storage, report) = open(dir.path());
    assert!(report.tables_set_aside.unwrap().reason.contains("more than the journal"));
    assert!(report.rebuild_needed);
    assert_eq!(storage.applied().unwrap(), None);
    replay(&mut storage);
    assert_shows(&storage, 20);
}

#[test]
fn a_lost_journal_means_tables_are_set_aside() {
    let dir = TempDir::new().unwrap();
    let (mut storage, _) = open(dir.path());
    fill(&mut storage, 5);
    drop(storage);
    fs::remove_dir_all(dir.path().join("journal")).unwrap();
    let (storage, report) = open(dir.path());
    assert!(report.tables_set_aside.is_some());
    assert!(!report.rebuild_needed, "there is nothing to rebuild from");
    assert_shows(&storage, 0);
}

#[test]
fn clearing_and_replaying_rebuilds_the_tables() {
    let dir = TempDir::new().unwrap();
    let (mut storage, _) = open(dir.path());
    fill(&mut storage, 50);
    storage.clear_tables().unwrap();
    assert_eq!(storage.applied().unwrap(), None);
    assert_shows(&storage, 0);
    replay(&mut storage);
    assert_shows(&storage, 50);
}

/// A record that was not replayed yet passed for one that does not exist: a write during a rebuild was answered so.
#[test]
fn while_the_tables_are_made_anew_readers_are_refused() {
    let dir = TempDir::new().unwrap();
    let (mut storage, _) = open(dir.path());
    fill(&mut storage, 3);
    let reader = storage.reader();
    let frames = storage.scan_journal(None, usize::MAX).unwrap();
    storage.clear_tables().unwrap();
    for (at, frame) in frames {
        for read in [reader.get(b"key").map(|_| ()), reader.scan(b"", None, 9).map(|_| ())] {
            assert!(read.unwrap_err().to_string().contains("rebuilt"));
        }
        storage.apply(vec![(frame[..4].to_vec(), Some(frame))], Some(at)).unwrap();
    }
    assert_eq!(reader.scan(b"", None, 9).unwrap().len(), 3);
    // Without a frame there is nothing to wait for but the end.
    let dir = TempDir::new().unwrap();
    let (mut storage, _) = open(dir.path());
    storage.clear_tables().unwrap();
    storage.apply(vec![], None).unwrap();
    assert_eq!(storage.reader().get(b"key").unwrap(), None);
}

/// sled 0.34 panics on garbled pages, in its callers and in its own threads. None of that may
/// reach the node: whatever lies in its files, opening succeeds, what is served is what was
/// written, and a rebuild brings everything back.
#[test]
fn garbage_in_the_tables_files_never_gets_out() {
    let dir = TempDir::new().unwrap();
    let (mut storage, _) = open(dir.path());
    fill(&mut storage, 300);
    drop(storage);
    let saved = TempDir::new().unwrap();
    copy(&dir.path().join("tables"), &saved.path().join("tables"));

    let mut random = 1_u64;
    let mut next = move || {
        random =
            random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        random >> 33
    };
    let (mut set_aside, mut errors, mut unharmed) = (0, 0, 0);
    let rounds = std::env::var("GARBAGE_ROUNDS").map_or(30, |rounds| rounds.parse().unwrap());
    for round in 0..rounds {
        fs::remove_dir_all(dir.path().join("tables")).unwrap();
        copy(&saved.path().join("tables"), &dir.path().join("tables"));
        let files = files_below(&dir.path().join("tables"));
        // Single bytes, runs of garbage, runs of zeros, and files cut short.
        for _ in 0..=next() % 4 {
            let path = &files[next() as usize % files.len()];
            let file = fs::OpenOptions::new().write(true).open(path).unwrap();
            let len = file.metadata().unwrap().len();
            let at = next() % (len + 1);
            let run = if round % 4 == 0 { 1 } else { next() % 5000 };
            let garbage: Vec<u8> =
                (0..run).map(|_| if round % 4 == 2 { 0 } else { next() as u8 }).collect();
            if round % 4 == 3 {
                file.set_len(at).unwrap();
            }
            file.write_all_at(&garbage, at).unwrap();
        }
        let (mut storage, report) = open(dir.path());
        set_aside += u32::from(report.tables_set_aside.is_some());
        let mut sound = true;
        for i in 0..300_u32 {
            match storage.get(&i.to_be_bytes()) {
                Ok(Some(value)) => assert_eq!(value, row(i)),
                // Older state or emptied: the replay brings it.
                Ok(None) => {}
                Err(StoreError::Tables { .. }) => sound = false,
                Err(error) => panic!("{error}"),
            }
        }
        let verified = storage.verify(&mut |_| {}).unwrap();
        sound &= verified.is_sound();
        errors += u32::from(!sound);
        unharmed += u32::from(sound && report.tables_set_aside.is_none());
        if sound && report.tables_set_aside.is_none() {
            replay(&mut storage);
            assert_shows(&storage, 300);
        }
        storage.clear_tables().unwrap();
        replay(&mut storage);
        assert_shows(&storage, 300);
    }
    println!("{set_aside} set aside, {errors} with errors when read, {unharmed} unharmed");
}

#[test]
fn pages_garbled_under_an_open_store_are_errors_until_the_tables_are_rebuilt() {
    let dir = TempDir::new().unwrap();
    let mut options = Options::default();
    // So small that rows are read from the file again.
    options.tables.cache_bytes = 64 << 10;
    let (mut storage, _) = Storage::open(dir.path(), options).unwrap();
    fill(&mut storage, 3000);
    storage.flush_tables().unwrap();
    drop(storage);
    let (mut storage, _) = Storage::open(dir.path(), options).unwrap();
    // All of it, so that whatever has to be read again is garbage, wherever the store chose to put it.
    let db = fs::OpenOptions::new().write(true).open(dir.path().join("tables/db")).unwrap();
    let len = db.metadata().unwrap().len();
    for at in (0..len).step_by(3000) {
        db.write_all_at(&vec![0xa5; 3000.min((len - at) as usize)], at).unwrap();
    }
    let mut errors = 0;
    for i in 0..3000_u32 {
        match storage.get(&i.to_be_bytes()) {
            Ok(value) => assert_eq!(value, Some(row(i))),
            Err(StoreError::Tables { .. }) => errors += 1,
            Err(error) => panic!("{error}"),
        }
    }
    assert!(errors > 0);
    assert!(!storage.verify(&mut |_| {}).unwrap().is_sound());
    storage.clear_tables().unwrap();
    replay(&mut storage);
    assert_shows(&storage, 3000);
}

pub(super) fn copy(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &to);
        } else {
            fs::copy(entry.path(), to).unwrap();
        }
    }
}

fn files_below(dir: &Path) -> Vec<std::path::PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(files_below(&path));
        } else {
            files.push(path);
        }
    }
    files.sort();
    files
}

#[test]
fn readers_see_batches_whole_while_the_writer_writes() {
    let dir = TempDir::new().unwrap();
    let (mut storage, _) = open(dir.path());
    let write = |storage: &mut Storage, i: u8| {
        let at = storage.append(&[&[i]]).unwrap()[0];
        let value = vec![i; 100_000 + usize::from(i) * 1000];
        let writes = vec![(b"a".to_vec(), Some(value.clone())), (b"b".to_vec(), Some(value))];
        storage.apply(writes, Some(at)).unwrap();
        at
    };
    let mut last = write(&mut storage, 0);
    let reader = storage.reader();
    let follower = std::thread::spawn(move || {
        let mut seen = 0;
        while seen < 99 {
            let rows = reader.scan(b"", None, 2).unwrap();
            assert_eq!(rows[0].1, rows[1].1);
            let i = rows[0].1[0];
            assert!(rows[0].1.iter().all(|byte| *byte == i) && i >= seen);
            seen = i;
            let at: Option<Position> = reader.applied().unwrap();
            assert!(reader.read(at.unwrap()).unwrap()[0] >= i);
        }
        seen
    });
    for i in 1..100 {
        last = write(&mut storage, i);
    }
    assert_eq!(follower.join().unwrap(), 99);
    assert_eq!(storage.applied().unwrap(), Some(last));
}
