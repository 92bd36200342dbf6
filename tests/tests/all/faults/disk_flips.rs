//! Bytes that changed on the disk by themselves: each is harmless, or is reported and mended from the journal; no record is
//! ever shown other than it was written.
//!
//! A sample by default; `BRANCHLINE_FLIPS=1` tries every byte, `BRANCHLINE_FLIPS=50` every fiftieth.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use branchline_tests::Office;
use branchline_tests::disk::warehouse::{Unsound, Warehouse};

use crate::PROGRAM;

const MOVES: u32 = 12;

/// Every so many bytes are tried.
fn step(default: usize) -> usize {
    std::env::var("BRANCHLINE_FLIPS").map_or(default, |step| step.parse().unwrap())
}

fn warehouse(folder: &Path) {
    let mut warehouse = Warehouse::open(folder, 0).unwrap();
    for _ in 0..MOVES {
        warehouse.go_on(1).unwrap();
    }
    drop(warehouse);
    // Opened and closed once more, so that sled has a snapshot.
    Warehouse::open(folder, 1).unwrap();
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let to = to.join(path.file_name().unwrap());
        match path.is_dir() {
            true => copy(&path, &to),
            false => drop(fs::copy(&path, to).unwrap()),
        }
    }
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => found.extend(files(&path)),
            false => found.push(path),
        }
    }
    found.sort();
    found
}

/// Calls `try_it` on copies of `folder`, in each of which one byte of a file below `part` is flipped.
fn flip(folder: &Path, part: &str, step: usize, mut try_it: impl FnMut(&Path, &str)) -> usize {
    let scratch = tempfile::tempdir().unwrap();
    let copied = scratch.path().join("data");
    let mut tried = 0;
    // Without a flip all is well: else the rest would prove nothing.
    copy(folder, &copied);
    let unharmed = Warehouse::open(&copied, 2).unwrap();
    assert!(unharmed.report.tables_set_aside.is_none(), "{:?}", unharmed.report);
    assert_eq!(unharmed.check(), Ok(()));
    drop(unharmed);
    fs::remove_dir_all(&copied).unwrap();
    for file in files(&folder.join(part)) {
        let name = file.strip_prefix(folder).unwrap();
        let bytes = fs::read(&file).unwrap();
        // Sled's file ends in a long stretch that was never used.
        let used = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
        for at in (tried % step..used).step_by(step) {
            copy(folder, &copied);
            let mut flipped = bytes.clone();
            flipped[at] ^= 1 << (at % 8);
            fs::write(copied.join(name), flipped).unwrap();
            try_it(&copied, &format!("byte {at} of {}", name.display()));
            tried += 1;
            fs::remove_dir_all(&copied).unwrap();
        }
    }
    tried
}

#[test]
fn a_flipped_byte_of_the_tables_is_never_served() {
    let place = tempfile::tempdir().unwrap();
    let folder = place.path().join("data");
    warehouse(&folder);
    let mut seen = BTreeMap::<&str, u32>::new();
    let tried = flip(&folder, "tables", step(997), |copied, what| {
        // Where even the replica finds a row that fails, it does not open; `rebuild` mends that too.
        let opened = Warehouse::open(copied, 2);
        let outcome = match opened {
            Err(_) => "not opened, with an error",
            Ok(mut warehouse) => match warehouse.check() {
                Err(Unsound::Shown(reason)) => panic!("{what}: {reason}"),
                Err(Unsound::Reported(_)) => {
                    warehouse.rebuild().unwrap();
                    "reported when read"
                }
                Ok(()) if warehouse.report.tables_set_aside.is_some() => "set aside when opened",
                Ok(()) => "harmless",
            },
        };
        if copied.join("tables").exists() && outcome.starts_with("not") {
            fs::remove_dir_all(copied.join("tables")).unwrap();
        }
        let mended = Warehouse::open(copied, 3).unwrap();
        assert_eq!((mended.moves, mended.check()), (MOVES, Ok(())), "{what}");
        *seen.entry(outcome).or_default() += 1;
    });
    println!("{tried} bytes of the tables flipped: {seen:?}");
}

#[test]
fn a_flipped_byte_of_the_journal_is_told_and_never_served() {
    let place = tempfile::tempdir().unwrap();
    let folder = place.path().join("data");
    warehouse(&folder);
    let mut seen = BTreeMap::<&str, u32>::new();
    let tried = flip(&folder, "journal", step(397), |copied, what| {
        let opened = Warehouse::open(copied, 2).unwrap();
        let report = &opened.report.journal;
        let reported = match report.headers_rewritten.is_empty() {
            false => "mended",
            true => match opened.check() {
                Err(Unsound::Reported(_)) => "reported",
                found => panic!("{what}: {found:?}, {report:?}"),
            },
        };
        assert_eq!(opened.moves, MOVES, "{what}: the tables show what the journal has lost");
        drop(opened);
        // Without the tables less is there, and that is whole.
        fs::remove_dir_all(copied.join("tables")).unwrap();
        let rebuilt = Warehouse::open(copied, 3).unwrap();
        assert!(rebuilt.moves <= MOVES);
        if let Err(Unsound::Shown(reason)) = rebuilt.check() {
            panic!("{what}: {reason}");
        }
        *seen.entry(reported).or_default() += 1;
    });
    println!("{tried} bytes of the journal flipped: {seen:?}");
}

#[test]
fn a_flipped_byte_of_a_small_file_is_harmless_or_a_clear_error() {
    let place = tempfile::tempdir().unwrap();
    let mut head = Office::init(PROGRAM, place.path(), "head", true);
    fs::write(head.data.join("branchline.toml"), "cache_mib = 8\nlog = \"info\"\n").unwrap();
    head.start();
    head.run(["put", "products", "tea", r#"{"price": "2.50"}"#]).ok();
    assert_eq!(head.stop(), 0);
    let digest = head.digest();
    let names = ["format", "lock", "site.key", "site.json", "api.token", "branchline.toml"];
    let mut seen = BTreeMap::<(&str, &str), u32>::new();
    for name in names {
        let path = head.data.join(name);
        let bytes = fs::read(&path).unwrap();
        for at in (0..bytes.len()).step_by(step(13)) {
            let mut flipped = bytes.clone();
            flipped[at] ^= 1 << (at % 8);
            fs::write(&path, flipped).unwrap();
            let ran = head.run(["digest"]);
            assert!(!ran.stderr.contains("panicked"), "{name} {at}: {ran:?}");
            let outcome = match ran.code {
                0 => {
                    assert_eq!(ran.stdout.trim(), digest, "{name} {at}");
                    assert_ne!(name, "site.key", "byte {at}: another site's key was taken");
                    "harmless"
                }
                1 | 2 => {
                    assert!(ran.stderr.starts_with("error: "), "{name} {at}: {ran:?}");
                    assert!(
                        ran.stderr.contains(name) || ran.stderr.contains("site.key"),
                        "{ran:?}"
                    );
                    "reported"
                }
                code => panic!("{name} {at}: exit code {code}, {ran:?}"),
            };
            *seen.entry((name, outcome)).or_default() += 1;
            fs::write(&path, &bytes).unwrap();
        }
    }
    println!("bytes of small files flipped: {seen:?}");
}
