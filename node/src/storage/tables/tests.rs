//! What the tables promise, on real files with the real sled.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use proptest::prelude::*;
use tempfile::TempDir;

use super::rows::{self, CHUNK_BYTES, Sum};
use super::{State, Tables, TablesOptions};
use branchline_crdt::store::{Position, StoreError};

fn open(dir: &Path) -> Tables {
    let (tables, set_aside) = Tables::open(dir, TablesOptions::default()).unwrap();
    assert_eq!(set_aside, None);
    tables
}

fn put(tables: &Tables, key: &str, value: Vec<u8>) {
    tables.apply(vec![(key.into(), Some(value))], None).unwrap();
}

/// Runs `change` on the tree below the tables.
fn beneath<T>(tables: &Tables, change: impl FnOnce(&sled::Db) -> T) -> T {
    match &*tables.state() {
        State::Open { db, .. } => change(db),
        State::Failed { reason, .. } => panic!("{reason}"),
    }
}

fn stored_rows(tables: &Tables) -> usize {
    beneath(tables, |db| db.iter().filter(|row| Sum::covers(&row.as_ref().unwrap().0)).count())
}

/// Bytes that differ along the value, so that swapped chunks would show.
fn bytes(len: usize) -> Vec<u8> {
    (0..len).map(|i| (i / 7) as u8 ^ (i / CHUNK_BYTES) as u8).collect()
}

#[test]
fn values_of_any_length_grow_and_shrink_without_leftovers() {
    let dir = TempDir::new().unwrap();
    let tables = open(dir.path());
    let empty = stored_rows(&tables);
    let lens = [
        (0, 1),
        (CHUNK_BYTES, 1),
        (CHUNK_BYTES + 1, 3),
        (10 * CHUNK_BYTES, 11),
        (2 * CHUNK_BYTES + 5, 4),
        (1, 1),
        (1_000_000, 18),
    ];
    for (len, rows) in lens {
        put(&tables, "key", bytes(len));
        assert_eq!(tables.get(b"key").unwrap().unwrap(), bytes(len));
        assert_eq!(stored_rows(&tables), empty + rows, "{len}");
        assert_eq!(tables.scan(b"", None, 10).unwrap(), [(b"key".to_vec(), bytes(len))]);
    }
    tables.apply(vec![(b"key".to_vec(), None)], None).unwrap();
    assert_eq!(tables.get(b"key").unwrap(), None);
    assert_eq!(stored_rows(&tables), empty);
    beneath(&tables, |db| {
        let largest = db.iter().map(|row| row.unwrap().1.len()).max();
        assert!(largest < Some(64 << 10));
    });
}

#[test]
fn of_several_writes_to_one_key_in_a_batch_the_last_counts() {
    let dir = TempDir::new().unwrap();
    let tables = open(dir.path());
    let empty = stored_rows(&tables);
    let key = b"key".to_vec();
    let writes = vec![
        (key.clone(), Some(bytes(300_000))),
        (key.clone(), None),
        (key.clone(), Some(b"last".to_vec())),
    ];
    tables.apply(writes, None).unwrap();
    assert_eq!(tables.get(&key).unwrap().unwrap(), b"last");
    assert_eq!(stored_rows(&tables), empty + 1);
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
    prop::collection::vec(prop::sample::select(vec![0, 1, b'c', b'm', b'r', 255]), 0..4)
}

type Write = (Vec<u8>, Option<usize>);

fn write() -> impl Strategy<Value = Write> {
    let len = prop_oneof![4 => 0..50_usize, 1 => 0..(3 * CHUNK_BYTES)];
    (key(), prop::option::weighted(0.8, len))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..Default::default() })]

    #[test]
    fn tables_behave_like_a_sorted_map(
        batches in prop::collection::vec(prop::collection::vec(write(), 0..12), 1..12),
        prefixes in prop::collection::vec(key(), 6),
        limit in 1..5_usize,
    ) {
        let dir = TempDir::new().unwrap();
        let tables = open(dir.path());
        let mut model = BTreeMap::new();
        for batch in batches {
            let writes: Vec<_> = batch.into_iter().map(|(k, len)| (k, len.map(bytes))).collect();
            for (key, value) in writes.clone() {
                match value {
                    Some(value) => model.insert(key, value),
                    None => model.remove(&key),
                };
            }
            tables.apply(writes, None).unwrap();
        }
        for prefix in prefixes {
            let mut joined: Vec<(Vec<u8>, Vec<u8>)> = Vec::new();
            loop {
                let after = joined.last().map(|(key, _)| key.clone());
                let page = tables.scan(&prefix, after.as_deref(), limit).unwrap();
                prop_assert!(page.len() <= limit);
                if page.is_empty() {
                    break;
                }
                joined.extend(page);
            }
            let expected: Vec<_> = model
                .iter()
                .filter(|(key, _)| key.starts_with(&prefix))
                .map(|(key, value)| (key.clone(), value.clone()))
                .collect();
            prop_assert_eq!(joined, expected);
        }
        for (key, value) in &model {
            let found = tables.get(key).unwrap();
            prop_assert_eq!(found.as_ref(), Some(value));
        }
    }
}

#[test]
fn a_value_that_is_not_what_was_stored_is_an_error() {
    let dir = TempDir::new().unwrap();
    let tables = open(dir.path());
    put(&tables, "a", bytes(10));
    put(&tables, "b", bytes(150_000));
    put(&tables, "c", bytes(10));
    let chunk = rows::chunk_key(b"b", 1);
    beneath(&tables, |db| {
        // A value under another key, and a chunk that is gone.
        let misplaced = db.get(rows::row_key(b"a")).unwrap().unwrap();
        db.insert(rows::row_key(b"c"), misplaced).unwrap();
        db.remove(&chunk).unwrap();
    });
    assert_eq!(tables.get(b"a").unwrap().unwrap(), bytes(10));
    for key in [b"b", b"c"] {
        assert!(matches!(tables.get(key), Err(StoreError::Tables { .. })));
    }
    let verified = tables.verify(&mut |_| {});
    assert_eq!(verified.bad_keys, [rows::row_key(b"b"), rows::row_key(b"c")]);
}

/// Sled brought back a part of a batch after a crash at a torn write: each row as it once was, and no two of one
/// moment.
#[test]
fn sound_rows_of_different_moments_are_set_aside_after_a_crash() {
    for is_mixed in [false, true] {
        let dir = TempDir::new().unwrap();
        let tables = open(dir.path());
        put(&tables, "key", vec![1]);
        let stored_key = rows::row_key(b"key");
        let older = beneath(&tables, |db| db.get(&stored_key).unwrap().unwrap());
        put(&tables, "key", vec![2]);
        if is_mixed {
            beneath(&tables, |db| db.insert(&stored_key, older).unwrap());
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
                let later = rows::plain(rows::FORMAT_KEY, b"branchline tables 2");
                db.insert(rows::FORMAT_KEY, later).unwrap();
            }
            3 => {
                db.insert(rows::FORMAT_KEY, b"garbage").unwrap();
            }
            _ => {
                db.remove(rows::FORMAT_KEY).unwrap();
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
    tables.shared.folder.remember_failure();
    tables.state_mut().fail(&super::SledFailure::Panic("as if".to_owned()));
    assert!(matches!(tables.get(b"key"), Err(StoreError::Tables { .. })));
    assert!(tables.apply(vec![], None).is_err());
    drop(tables);

    let (tables, set_aside) = Tables::open(dir.path(), TablesOptions::default()).unwrap();
    assert!(set_aside.unwrap().reason.contains("failed when last used"));
    tables.state_mut().fail(&super::SledFailure::Panic("again".to_owned()));
    tables.clear().unwrap();
    put(&tables, "key", vec![2]);
    drop(tables);
    assert_eq!(open(dir.path()).get(b"key").unwrap().unwrap(), [2]);
}
