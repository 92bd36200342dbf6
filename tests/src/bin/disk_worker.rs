//! A process that writes, for tests that record what it writes: `branchline-disk-worker FOLDER MOVES`.
//!
//! It opens the folder several times, makes moves in groups of random size, and rebuilds the tables once. After each
//! acknowledgement it writes the number of moves to `FOLDER/acknowledged`, which thereby stands in the same record.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

use branchline_tests::disk::Random;
use branchline_tests::disk::warehouse::Warehouse;

/// How often the folder is opened.
const ROUNDS: u64 = 4;
/// The round after whose first half the tables are rebuilt.
const REBUILT_ROUND: u64 = 2;
/// Most moves in one group.
const GROUP_MAX: u64 = 6;

fn main() {
    let mut arguments = std::env::args().skip(1);
    let folder = PathBuf::from(arguments.next().expect("a folder"));
    let moves: u32 = arguments.next().and_then(|n| n.parse().ok()).expect("a number of moves");
    let acknowledged = File::create(folder.join("acknowledged")).expect("a file");
    let mut random = Random(7);
    for round in 0..ROUNDS {
        let mut warehouse = Warehouse::open(&folder, round).expect("the folder opens");
        let end = moves * (round as u32 + 1) / ROUNDS as u32;
        let middle = (warehouse.moves + end) / 2;
        let mut rebuild = round == REBUILT_ROUND;
        while warehouse.moves < end {
            if rebuild && warehouse.moves >= middle {
                warehouse.rebuild().expect("the tables are rebuilt");
                rebuild = false;
            }
            let count = (1 + random.below(GROUP_MAX) as u32).min(end - warehouse.moves);
            warehouse.go_on(count).expect("the moves are written");
            acknowledged.write_all_at(&warehouse.moves.to_le_bytes(), 0).expect("a note");
        }
    }
}
