//! How many runs there are, and what becomes of them.

use tempfile::TempDir;

use super::model::{Model, assert_like, change};
use super::{bytes, come_to_rest, killed, open, stored_items, wait_until};
use crate::storage::tables::run::RunHead;
use crate::storage::tables::{Tables, TablesOptions, TablesState};
use branchline_crdt::store::Position;
use branchline_crdt::store::tables::ReadTables;

/// The tables' runs, the newest first.
fn runs(tables: &Tables) -> Vec<RunHead> {
    match &*tables.shared().state() {
        TablesState::Open(open) => open.manifest.runs.clone(),
        TablesState::Failed { reason, .. } => panic!("{reason}"),
    }
}

#[test]
fn however_rows_come_there_are_few_runs_and_each_row_is_written_a_few_times() {
    const ROWS: u64 = 30_000;
    // Scattered, side by side, and from fifty writers who each count for themselves.
    let orders: [fn(u64) -> u64; 3] =
        [|i| i.wrapping_mul(0x9E37_79B9_7F4A_7C15), |i| i, |i| ((i % 50) << 32) | (i / 50)];
    for (number, order) in orders.into_iter().enumerate() {
        let dir = TempDir::new().unwrap();
        let options = TablesOptions { generation_bytes: 64 << 10, ..TablesOptions::default() };
        let tables = Tables::open(dir.path(), options).unwrap().0;
        let mut written = 0;
        let mut most = 0;
        for from in (0..ROWS).step_by(500) {
            let row = |i: u64| (order(i).to_be_bytes().to_vec(), Some(bytes((i % 300) as usize)));
            tables.apply((from..from + 500).map(row).collect(), Some(Position(from))).unwrap();
            let before = runs(&tables);
            come_to_rest(&tables);
            let after = runs(&tables);
            most = most.max(after.len());
            let new = after.iter().filter(|run| !before.iter().any(|old| old.number == run.number));
            written += new.map(|run| run.rows).sum::<u64>();
        }
        assert!(most <= 16, "order {number}: {most} runs");
        assert!(written < 6 * ROWS, "order {number}: {written} rows were written");
        assert_eq!(runs(&tables).iter().map(|run| run.rows).sum::<u64>(), ROWS);
        assert_eq!(tables.scan(b"", None, usize::MAX).unwrap().len() as u64, ROWS);
    }
}

#[test]
fn rows_that_are_written_again_and_again_take_no_more_room_than_twice_theirs() {
    let dir = TempDir::new().unwrap();
    let tables = open(dir.path());
    for round in 0..40_u64 {
        // What does not compress, so that it is not too little to matter.
        let noise = |i: u64| {
            let mut noise = vec![0; 300];
            blake3::Hasher::new()
                .update(&[round.to_be_bytes(), i.to_be_bytes()].concat())
                .finalize_xof()
                .fill(&mut noise);
            noise
        };
        let row = |i: u64| (i.to_be_bytes().to_vec(), Some(noise(i)));
        tables.apply((0..2000).map(row).collect(), Some(Position(round))).unwrap();
        come_to_rest(&tables);
        let rows: u64 = runs(&tables).iter().map(|run| run.rows).sum();
        assert!(rows < 2 * 2000, "round {round}: {rows} rows are stored");
    }
    assert_eq!(tables.verify(&mut |_| {}).bad, 0);
}

#[test]
fn a_merge_that_a_kill_cuts_short_leaves_nothing_behind() {
    let dir = TempDir::new().unwrap();
    let options = TablesOptions { flush_every_ms: 3_600_000, ..TablesOptions::default() };
    let tables = Tables::open(dir.path(), options).unwrap().0;
    let mut model = Model::new();
    let items = {
        let _stay = tables.shared().hold_runs();
        for round in 0..4_u8 {
            let row = |i: u16| ([&i.to_be_bytes()[..], &[round]].concat(), Some(vec![round; 300]));
            let writes: Vec<_> = (0..5000).map(row).collect();
            change(&mut model, &writes);
            tables.apply(writes, None).unwrap();
            tables.flush().unwrap();
        }
        stored_items(&tables)
    };
    tables.shared().turn.wake();
    wait_until("a step of the merge is stored", || stored_items(&tables) > items);
    let left = killed(tables, &dir);
    let tables = Tables::open(left.path(), options).unwrap().0;
    assert_like(&tables, &model, b"", 1000);
    come_to_rest(&tables);
    let of_runs: u64 = runs(&tables).iter().map(|run| run.rows).sum();
    assert_eq!((runs(&tables).len(), of_runs), (1, 20_000));
    let whole = stored_items(&tables);
    drop(tables);
    let tables = Tables::open(left.path(), options).unwrap().0;
    assert_eq!(stored_items(&tables), whole);
    assert_eq!(tables.verify(&mut |_| {}).rows, 20_000);
}
