//! A crash at every write of a real process: a worker's writes are recorded, and its folder is made again as a drive
//! could have left it at each moment, with what was not synced lost, kept, torn or mixed.
//!
//! Whatever the moment: the folder opens, everything acknowledged is there, transactions are there wholly or not at
//! all, the tables are what a fresh rebuild from the journal makes, and the site can write.
//!
//! All moments: `cargo test --release -p branchline-tests --test all crash_every_write -- --ignored --nocapture`; with
//! `CRASH_STEP=4` before it, every fourth.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use branchline_crdt::store::Row;
use branchline_node::storage::tables::SetAside;
use branchline_tests::disk::drive::{Drive, Fate};
use branchline_tests::disk::recording::{self, Operation};
use branchline_tests::disk::shim::Shim;
use branchline_tests::disk::warehouse::{Warehouse, rebuilt_rows};

const WORKER: &str = env!("CARGO_BIN_EXE_branchline-disk-worker");
/// Moves that the worker makes.
const MOVES: u32 = 240;

/// What was tried.
#[derive(Debug, Default)]
struct Tried {
    operations: usize,
    boundaries: usize,
    folders: usize,
    tables_set_aside: usize,
    rebuilt: usize,
    /// Set aside because sled brought back rows that do not belong together.
    mixtures: usize,
    torn: usize,
    /// What went wrong, and where.
    failures: Vec<String>,
}

/// Tries every `step`-th boundary, with `fates` for each.
fn crash_at_writes(step: usize, fates: impl Fn(usize) -> Vec<Fate>) -> Tried {
    let place = tempfile::tempdir().unwrap();
    let folder = place.path().join("data");
    std::fs::create_dir(&folder).unwrap();
    let record = place.path().join("record");
    let mut worker = Command::new(WORKER);
    worker.arg(&folder).arg(MOVES.to_string());
    Shim::build(place.path()).record(&mut worker, &folder, &record);
    let ran = worker.output().unwrap();
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));

    let operations = recording::read(&record);
    let mut tried = Tried { operations: operations.len(), ..Tried::default() };
    let mut drive = Drive::new(&folder);
    let mut acknowledged = Acknowledged::default();
    let mut expected = Expected::default();
    for operation in &operations {
        if acknowledged.take(operation) {
            continue;
        }
        if !drive.play(operation) {
            continue;
        }
        tried.boundaries += 1;
        if !tried.boundaries.is_multiple_of(step) {
            continue;
        }
        for fate in fates(tried.boundaries) {
            let seed = tried.boundaries as u64;
            let found = place.path().join("found");
            drive.crash(fate, seed, &found);
            if let Err(reason) = check(&found, acknowledged.moves, &mut expected, &mut tried) {
                let context = format!("boundary {}, {fate:?}", tried.boundaries);
                tried.failures.push(format!("{context}, at {operation:.200?}: {reason}"));
            }
            std::fs::remove_dir_all(&found).unwrap();
            tried.folders += 1;
        }
    }
    assert_eq!(acknowledged.moves, MOVES);
    tried
}

/// Follows the file in which the worker says what was acknowledged.
#[derive(Default)]
struct Acknowledged {
    fd: Option<u32>,
    moves: u32,
}

impl Acknowledged {
    /// Whether the operation is on that file.
    fn take(&mut self, operation: &Operation) -> bool {
        match operation {
            Operation::Open { fd, path, .. } if path.ends_with("acknowledged") => {
                self.fd = Some(*fd);
                true
            }
            Operation::Write { fd, bytes, .. } if Some(*fd) == self.fd => {
                self.moves = u32::from_le_bytes(bytes[..].try_into().unwrap());
                true
            }
            Operation::Close { fd } => Some(*fd) == self.fd,
            Operation::Open { .. }
            | Operation::Write { .. }
            | Operation::Truncate { .. }
            | Operation::Sync { .. }
            | Operation::SyncRange { .. }
            | Operation::Rename { .. }
            | Operation::Unlink { .. }
            | Operation::MakeFolder { .. }
            | Operation::RemoveFolder { .. } => false,
        }
    }
}

/// The rows that a rebuild makes of the first so many frames: the journal is the same in every folder, but for its
/// end.
#[derive(Default)]
struct Expected(BTreeMap<usize, Vec<Row>>);

fn check(
    found: &Path,
    acknowledged: u32,
    expected: &mut Expected,
    tried: &mut Tried,
) -> Result<(), String> {
    let mut warehouse = Warehouse::open(found, 100)?;
    tried.tables_set_aside += usize::from(warehouse.report.tables_set_aside.is_some());
    let mixture = |aside: &SetAside| aside.reason.contains("rows that do not belong together");
    tried.mixtures += usize::from(warehouse.report.tables_set_aside.as_ref().is_some_and(mixture));
    tried.rebuilt += usize::from(warehouse.report.rebuild_needed);
    tried.torn += usize::from(warehouse.report.journal.torn.is_some());
    if !warehouse.report.journal.damaged.is_empty() {
        return Err(format!("the journal is damaged: {:?}", warehouse.report));
    }
    if warehouse.moves < acknowledged {
        let moves = warehouse.moves;
        return Err(format!("{moves} of {acknowledged} acknowledged moves are there"));
    }
    warehouse.check().map_err(|unsound| format!("{unsound:?}"))?;
    let rows = expected
        .0
        .entry(warehouse.frames())
        .or_insert_with(|| rebuilt_rows(found, &found.with_extension("rebuilt")));
    if warehouse.rows() != *rows {
        return Err("the tables are not what a rebuild makes".to_owned());
    }
    let before = warehouse.moves;
    warehouse.go_on(1)?;
    warehouse.check().map_err(|unsound| format!("after a write: {unsound:?}"))?;
    match warehouse.moves == before + 1 {
        true => Ok(()),
        false => Err("the write does not show".to_owned()),
    }
}

#[test]
fn a_crash_at_some_writes_loses_nothing_acknowledged_and_halves_nothing() {
    let tried = crash_at_writes(23, |boundary| vec![Fate::ALL[boundary % Fate::ALL.len()]]);
    assert!(tried.failures.is_empty(), "{tried:#?}");
    println!("{tried:?}");
    // How much is tried varies with the worker's timing.
    let is_much = tried.operations > 800 && tried.boundaries > 300 && tried.folders > 15;
    assert!(is_much && tried.rebuilt > 0 && tried.tables_set_aside >= tried.mixtures, "{tried:?}");
}

#[test]
#[ignore = "takes many minutes; the test above is a slice of it"]
fn a_crash_at_every_write_loses_nothing_acknowledged_and_halves_nothing() {
    let step = std::env::var("CRASH_STEP").map_or(1, |step| step.parse().unwrap());
    let tried = crash_at_writes(step, |_| Fate::ALL.to_vec());
    assert!(tried.failures.is_empty(), "{tried:#?}");
    println!("{tried:?}");
}
