//! What the tables promise, on real files with the real sled.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod model;
mod runs;

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use proptest::prelude::*;
use tempfile::TempDir;

use model::{Model, assert_like, change};

use super::items::{self, CHUNK_BYTES, INLINE_BYTES_MAX};
use super::{Tables, TablesOptions, TablesState};
use branchline_crdt::store::tables::ReadTables;
use branchline_crdt::store::{Position, StoreError};

fn open(dir: &Path) -> Tables {
    let (tables, set_aside) = Tables::open(dir, TablesOptions::default()).unwrap();
    assert_eq!(set_aside, None);
    tables
}

fn put(tables: &Tables, key: &str, value: Vec<u8>) {
    tables.apply(vec![(key.into(), Some(value))], None).unwrap();
}

/// Runs `change` on the tree below the tables, which has everything that was applied.
fn beneath<T>(tables: &Tables, change: impl FnOnce(&sled::Db) -> T) -> T {
    tables.flush().unwrap();
    match &*tables.shared().state() {
        TablesState::Open(open) => change(&open.blocks.db),
        TablesState::Failed { reason, .. } => panic!("{reason}"),
    }
}

/// Writes out what is in memory and does all that there is to do, however young the generation.
fn come_to_rest(tables: &Tables) {
    tables.flush().unwrap();
    while tables.shared().tidy().unwrap() {}
}

/// Stored items but the format and the manifest.
fn stored_items(tables: &Tables) -> usize {
    beneath(tables, |db| db.scan_prefix("r").count())
}

/// The stored key of block 0 of the newest run.
fn newest_block(tables: &Tables) -> Vec<u8> {
    tables.flush().unwrap();
    match &*tables.shared().state() {
        TablesState::Open(open) => items::block_key(open.runs[0].head.number, 0),
        TablesState::Failed { reason, .. } => panic!("{reason}"),
    }
}

/// Bytes that differ along the value, so that swapped chunks would show.
fn bytes(len: usize) -> Vec<u8> {
    (0..len).map(|i| (i / 7) as u8 ^ (i / CHUNK_BYTES) as u8).collect()
}

#[test]
fn values_of_any_length_grow_and_shrink_without_leftovers() {
    let dir = TempDir::new().unwrap();
    let tables = open(dir.path());
    let lens = [
        (0, 0),
        (INLINE_BYTES_MAX, 0),
        (INLINE_BYTES_MAX + 1, 1),
        (CHUNK_BYTES, 1),
        (CHUNK_BYTES + 1, 2),
        (10 * CHUNK_BYTES, 10),
        (2 * CHUNK_BYTES + 5, 3),
        (1, 0),
        (1_000_000, 163),
    ];
    for (len, chunks) in lens {
        for step in 0..4 {
            put(&tables, "key", bytes(len));
            put(&tables, "other", bytes(step));
            come_to_rest(&tables);
            assert_eq!(tables.get(b"key").unwrap().unwrap(), bytes(len));
            let rows = [(b"key".to_vec(), bytes(len)), (b"other".to_vec(), bytes(step))];
            assert_eq!(tables.scan(b"", None, 10).unwrap(), rows);
        }
        // A block, an index and the chunks, and those of a few older runs.
        let items = stored_items(&tables);
        assert!(items >= 2 + chunks && items < 10 * (2 + 163), "{len}: {items} items");
    }
    let removed = [b"key", &b"other"[..]].map(|key| (key.to_vec(), None));
    tables.apply(removed.to_vec(), None).unwrap();
    come_to_rest(&tables);
    assert_eq!(tables.get(b"key").unwrap(), None);
    assert_eq!(stored_items(&tables), 0);
    beneath(&tables, |db| {
        let largest = db.iter().map(|row| row.unwrap().1.len()).max();
        assert!(largest < Some(64 << 10));
    });
}

#[test]
fn of_several_writes_to_one_key_in_a_batch_the_last_counts() {
    let dir = TempDir::new().unwrap();
    let tables = open(dir.path());
    let key = b"key".to_vec();
    let writes = vec![
        (key.clone(), Some(bytes(300_000))),
        (key.clone(), None),
        (key.clone(), Some(b"last".to_vec())),
    ];
    tables.apply(writes, None).unwrap();
    assert_eq!(tables.get(&key).unwrap().unwrap(), b"last");
    assert_eq!(stored_items(&tables), 2, "a block and an index");
}

#[test]
fn rows_and_applied_position_move_together_and_last() {
    let dir = TempDir::new().unwrap();
    let tables = open(dir.path());
    assert_eq!(tables.applied().unwrap(), None);
    tables.apply(vec![(b"a".to_vec(), Some(bytes(200_000)))], Some(Position(77))).unwrap();
    put(&tables, "b", vec![1]);
    assert_eq!(tables.applied().unwrap(), Some(Position(77)), "None leaves it as it is");
    drop(tables);
    let tables = open(dir.path());
    assert_eq!(tables.applied().unwrap(), Some(Position(77)));
    assert_eq!(tables.get(b"a").unwrap().unwrap(), bytes(200_000));
    let verified = tables.verify(&mut |_| {});
    assert_eq!((verified.rows, verified.bad, verified.failed), (2, 0, None));
}

fn key() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(prop::sample::select(vec![0, 1, b'b', b'c', b'm', 255]), 0..4)
}

type Write = (Vec<u8>, Option<usize>);

fn write() -> impl Strategy<Value = Write> {
    let len = prop_oneof![4 => 0..50_usize, 1 => 0..(3 * CHUNK_BYTES)];
    (key(), prop::option::weighted(0.8, len))
}

/// What happens to tables.
#[derive(Clone, Debug)]
enum TablesStep {
    Apply(Vec<Write>),
    Flush,
    /// Closed in order and opened.
    Reopen,
    /// The process is killed: what was in memory is lost.
    Kill,
}

fn step() -> impl Strategy<Value = TablesStep> {
    prop_oneof![
        8 => prop::collection::vec(write(), 0..12).prop_map(TablesStep::Apply),
        1 => Just(TablesStep::Flush),
        1 => Just(TablesStep::Reopen),
        1 => Just(TablesStep::Kill),
    ]
}

/// So little in memory, and so shortly, that rows are met in every stage of their way to sled.
fn hasty() -> TablesOptions {
    TablesOptions { flush_every_ms: 3, generation_bytes: 3000, ..TablesOptions::default() }
}

/// What a killed process leaves of `tables` in `dir`, in another folder.
fn killed(tables: Tables, dir: &TempDir) -> TempDir {
    let left = TempDir::new().unwrap();
    {
        let _nobody_writes = tables.shared().turn.take();
        crate::storage::tests::copy(&dir.path().join("tables"), &left.path().join("tables"));
    }
    left
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..Default::default() })]

    #[test]
    fn tables_behave_like_a_sorted_map_and_a_kill_sets_them_back_to_one_moment(
        steps in prop::collection::vec(step(), 1..30),
        prefixes in prop::collection::vec(key(), 30),
        limit in 1..5_usize,
    ) {
        let mut dir = TempDir::new().unwrap();
        let mut tables = Tables::open(dir.path(), hasty()).unwrap().0;
        // The model after each batch; the position says how many there were.
        let mut moments = vec![Model::new()];
        for (step, prefix) in steps.into_iter().zip(&prefixes) {
            match step {
                TablesStep::Apply(writes) => {
                    let writes: Vec<_> = writes.into_iter().map(|(k, len)| (k, len.map(bytes))).collect();
                    let mut model = moments.last().unwrap().clone();
                    change(&mut model, &writes);
                    tables.apply(writes, Some(Position(moments.len() as u64))).unwrap();
                    moments.push(model);
                }
                TablesStep::Flush => tables.flush().unwrap(),
                TablesStep::Reopen => {
                    drop(tables);
                    tables = Tables::open(dir.path(), hasty()).unwrap().0;
                }
                TablesStep::Kill => {
                    dir = killed(tables, &dir);
                    let (opened, set_aside) = Tables::open(dir.path(), hasty()).unwrap();
                    prop_assert_eq!(set_aside, None);
                    tables = opened;
                    let applied = tables.applied().unwrap().map_or(0, |applied| applied.0);
                    moments.truncate(applied as usize + 1);
                }
            }
            let applied = tables.applied().unwrap().map_or(0, |applied| applied.0);
            prop_assert_eq!(applied as usize, moments.len() - 1);
            let model = moments.last().unwrap();
            assert_like(&tables, model, prefix, limit);
            for key in model.keys().chain([prefix]) {
                prop_assert_eq!(tables.get(key).unwrap(), model.get(key).cloned());
            }
        }
    }
}

#[test]
fn many_rows_in_any_order_are_found_after_splits_and_removals() {
    let dir = TempDir::new().unwrap();
    let tables = Tables::open(dir.path(), hasty()).unwrap().0;
    let mut model = Model::new();
    for round in 0..60_u64 {
        let key = |i: u64| format!("rec-{:04}", (round * 61 + i * 7919) % 2000).into_bytes();
        let value = |i: u64| {
            (!i.is_multiple_of(3) || round < 30).then(|| bytes((i * round % 400) as usize))
        };
        let writes: Vec<_> = (0..60).map(|i| (key(i), value(i))).collect();
        change(&mut model, &writes);
        tables.apply(writes, Some(Position(round))).unwrap();
    }
    assert_like(&tables, &model, b"rec-", 97);
    assert!(stored_items(&tables) > 20, "all rows are in one block");
    // Merges go on in it.
    let left = killed(tables, &dir);
    let tables = Tables::open(left.path(), hasty()).unwrap().0;
    assert_like(&tables, &model, b"rec-", 1000);
}

fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !is_so() {
        assert!(Instant::now() < deadline, "waited too long: {what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn where_sled_does_not_follow_applying_waits_and_memory_stays_bounded() {
    const BATCHES: u64 = 60;
    let dir = TempDir::new().unwrap();
    let options = TablesOptions { generation_bytes: 20_000, ..TablesOptions::default() };
    let tables = Tables::open(dir.path(), options).unwrap().0;
    let sled_stands_still = tables.shared().turn.take();
    let writer = tables.clone();
    let writer = std::thread::spawn(move || {
        for i in 0..BATCHES {
            let write = (i.to_be_bytes().to_vec(), Some(bytes(1000)));
            writer.apply(vec![write], Some(Position(i))).unwrap();
        }
    });
    let is_full = || match &*tables.shared().state() {
        TablesState::Open(open) => open.memory.is_full(20_000),
        TablesState::Failed { reason, .. } => panic!("{reason}"),
    };
    wait_until("memory is full", is_full);
    // The batch that filled it is the last one that went in.
    assert_eq!(tables.scan(b"", None, usize::MAX).unwrap().len(), 19);
    assert!(!writer.is_finished());
    drop(sled_stands_still);
    writer.join().unwrap();
    assert_eq!(tables.applied().unwrap(), Some(Position(BATCHES - 1)));
    assert_eq!(tables.scan(b"", None, usize::MAX).unwrap().len(), BATCHES as usize);
}

#[test]
fn what_fails_in_the_background_is_told_to_every_call_after_it() {
    let dir = TempDir::new().unwrap();
    let tables = Tables::open(dir.path(), hasty()).unwrap().0;
    put(&tables, "key", vec![1]);
    let block = newest_block(&tables);
    beneath(&tables, |db| db.insert(block, b"garbage").unwrap());
    // What is written now is merged with it.
    for number in 0..4 {
        let _ = tables.apply(vec![(vec![number], Some(vec![2]))], None);
        let _ = tables.flush();
    }
    wait_until("the tables fail", || tables.applied().is_err());
    let reported = tables.get(b"key").unwrap_err().to_string();
    assert!(reported.contains("does not match its checksum"), "{reported}");
    assert_eq!(tables.scan(b"", None, 1).unwrap_err().to_string(), reported);
    assert_eq!(tables.applied().unwrap_err().to_string(), reported);
    assert_eq!(tables.apply(vec![], None).unwrap_err().to_string(), reported);
    assert_eq!(tables.flush().unwrap_err().to_string(), reported);
    drop(tables);
    let (tables, set_aside) = Tables::open(dir.path(), hasty()).unwrap();
    assert!(set_aside.unwrap().reason.contains("failed when last used"));
    put(&tables, "key", vec![3]);
    assert_eq!(tables.get(b"key").unwrap().unwrap(), [3]);
}

#[test]
fn rows_reach_sled_without_being_asked_to() {
    let dir = TempDir::new().unwrap();
    let tables = Tables::open(dir.path(), hasty()).unwrap().0;
    put(&tables, "key", vec![1]);
    wait_until("the row is in sled", || match &*tables.shared().state() {
        TablesState::Open(open) => open.runs.len() == 1,
        TablesState::Failed { reason, .. } => panic!("{reason}"),
    });
}

#[test]
fn a_value_that_is_not_what_was_stored_is_an_error() {
    let dir = TempDir::new().unwrap();
    let tables = open(dir.path());
    put(&tables, "a", bytes(10));
    put(&tables, "b", bytes(150_000));
    put(&tables, "c", bytes(10));
    put(&tables, "m", bytes(10));
    let block = newest_block(&tables);
    let run = items::run_of(&block).unwrap();
    beneath(&tables, |db| db.remove(items::chunk_key(run, 0, 1)).unwrap());
    assert_eq!(tables.get(b"a").unwrap().unwrap(), bytes(10));
    assert!(matches!(tables.get(b"b"), Err(StoreError::Tables { .. })));
    let verified = tables.verify(&mut |_| {});
    assert_eq!((verified.bad, verified.bad_keys), (1, vec![block.clone()]));
    // A block under another key; the first run's stays in memory.
    put(&tables, "n", bytes(10));
    let newer = newest_block(&tables);
    beneath(&tables, |db| {
        let misplaced = db.get(&block).unwrap().unwrap();
        db.insert(&newer, misplaced).unwrap();
    });
    assert_eq!(tables.get(b"c").unwrap().unwrap(), bytes(10));
    assert!(matches!(tables.get(b"n"), Err(StoreError::Tables { .. })));
    assert!(matches!(tables.scan(b"", Some(b"b"), 9), Err(StoreError::Tables { .. })));
    let verified = tables.verify(&mut |_| {});
    assert_eq!(verified.bad_keys, [newer.clone(), block.clone()]);
    // An item that is missing altogether.
    let index = items::index_key(items::run_of(&newer).unwrap(), 0);
    beneath(&tables, |db| (db.remove(&newer).unwrap(), db.remove(index).unwrap()));
    let verified = tables.verify(&mut |_| {});
    assert_eq!(verified.bad_keys, [block, newer[..9].to_vec()]);
}

/// Sled brought back a part of a batch after a crash at a torn write: each row as it once was, and no two of one
/// moment.
#[test]
fn sound_rows_of_different_moments_are_set_aside_after_a_crash() {
    for is_mixed in [false, true] {
        let dir = TempDir::new().unwrap();
        let tables = open(dir.path());
        put(&tables, "key", vec![1]);
        let older = newest_block(&tables);
        put(&tables, "key", vec![2]);
        let newer = newest_block(&tables);
        if is_mixed {
            beneath(&tables, |db| {
                let older = db.get(older).unwrap().unwrap();
                let bytes = &older[4..];
                db.insert(&newer[..], items::encode(&newer, bytes)).unwrap();
            });
        }
        drop(tables);
        // As if it had not come to closing.
        fs::remove_file(dir.path().join("tables.closed")).unwrap();
        let (tables, set_aside) = Tables::open(dir.path(), TablesOptions::default()).unwrap();
        assert_eq!(set_aside.is_some(), is_mixed, "{set_aside:?}");
        assert_eq!(tables.get(b"key").unwrap(), (!is_mixed).then(|| vec![2]));
    }
}

#[test]
fn clearing_empties_the_tables_under_their_readers() {
    let dir = TempDir::new().unwrap();
    let tables = open(dir.path());
    let reader = tables.clone();
    for i in 0..50 {
        tables.apply(vec![(vec![i], Some(bytes(5000)))], Some(Position(9))).unwrap();
    }
    tables.clear().unwrap();
    assert_eq!(reader.get(&[3]).unwrap(), None);
    assert_eq!(reader.applied().unwrap(), None);
    assert!(reader.scan(b"", None, 9).unwrap().is_empty());
    put(&tables, "new", vec![1]);
    drop((tables, reader));
    let tables = open(dir.path());
    assert_eq!(tables.scan(b"", None, 9).unwrap(), [(b"new".to_vec(), vec![1])]);
}

#[test]
fn an_unfinished_snapshot_does_not_keep_the_tables_from_opening() {
    let dir = TempDir::new().unwrap();
    let tables = open(dir.path());
    put(&tables, "key", vec![1]);
    drop(tables);
    let leftover = dir.path().join("tables/snap.00000000000000FF.generating");
    fs::write(&leftover, b"half").unwrap();
    let tables = open(dir.path());
    assert_eq!(tables.get(b"key").unwrap().unwrap(), [1]);
    assert!(!leftover.exists());
}

#[test]
fn tables_of_another_format_are_set_aside_and_two_are_kept() {
    let dir = TempDir::new().unwrap();
    for round in 1..=4 {
        let (tables, _) = Tables::open(dir.path(), TablesOptions::default()).unwrap();
        put(&tables, "key", vec![round]);
        beneath(&tables, |db| match round {
            1 | 2 => {
                let later = items::encode(items::FORMAT_KEY, b"branchline tables 4");
                db.insert(items::FORMAT_KEY, later).unwrap();
            }
            3 => {
                db.insert(items::FORMAT_KEY, b"garbage").unwrap();
            }
            _ => {
                db.remove(items::FORMAT_KEY).unwrap();
            }
        });
        drop(tables);
        let (tables, set_aside) = Tables::open(dir.path(), TablesOptions::default()).unwrap();
        let set_aside = set_aside.unwrap();
        assert_eq!(set_aside.to, dir.path().join(format!("tables.set-aside-{round}")));
        assert!(set_aside.reason.contains("format"), "{}", set_aside.reason);
        assert_eq!(tables.get(b"key").unwrap(), None);
    }
    for (round, kept) in [(1, false), (2, false), (3, true), (4, true)] {
        let path = dir.path().join(format!("tables.set-aside-{round}"));
        assert_eq!(path.exists(), kept, "{round}");
    }
}

#[test]
fn after_a_batch_that_failed_half_way_nothing_is_served_until_cleared() {
    let dir = TempDir::new().unwrap();
    let tables = open(dir.path());
    put(&tables, "key", vec![1]);
    tables.shared().folder.remember_failure();
    tables.shared().state_mut().fail("as if".to_owned());
    assert!(matches!(tables.get(b"key"), Err(StoreError::Tables { .. })));
    assert!(tables.apply(vec![], None).is_err());
    drop(tables);

    let (tables, set_aside) = Tables::open(dir.path(), TablesOptions::default()).unwrap();
    assert!(set_aside.unwrap().reason.contains("failed when last used"));
    tables.shared().state_mut().fail("again".to_owned());
    tables.clear().unwrap();
    put(&tables, "key", vec![2]);
    drop(tables);
    assert_eq!(open(dir.path()).get(b"key").unwrap().unwrap(), [2]);
}
