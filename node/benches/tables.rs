//! What the tables cost: `cargo bench -p branchline-node --bench tables`. They lie in the temporary folder.

#![allow(missing_docs, clippy::unwrap_used)]

use std::hint::black_box;

use branchline_crdt::store::tables::ReadTables;
use branchline_crdt::store::{Position, RowWrite};
use branchline_node::storage::tables::{Tables, TablesOptions};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};

const BATCH_ROWS: u64 = 1000;
const ROWS: u64 = 100_000;

fn key(number: u64) -> Vec<u8> {
    format!("v0123456789abcdefproducts\0record-{number:012}").into_bytes()
}

/// As many bytes as a record of ten fields has, half of them its own.
fn row(number: u64) -> RowWrite {
    let own: String =
        (0..8).map(|i| format!("{:x}", number.wrapping_mul(i * 2_654_435_761 + 7))).collect();
    let value =
        format!("name=Coffee beans;price=12.90;stock=40;shelf=7;supplier=north;note={own:0>180}");
    (key(number), Some(value.into_bytes()))
}

fn batch(from: u64, step: u64) -> Vec<RowWrite> {
    (0..BATCH_ROWS).map(|i| row((from + i * step) % ROWS)).collect()
}

fn filled(folder: &std::path::Path) -> Tables {
    let (tables, _) = Tables::open(folder, TablesOptions::default()).unwrap();
    for from in (0..ROWS).step_by(BATCH_ROWS as usize) {
        tables.apply(batch(from, 1), Some(Position(from))).unwrap();
    }
    tables.flush().unwrap();
    tables
}

/// Batches go on and on, so that this is the pace at which sled follows.
fn apply(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("apply 1,000 rows to 100,000");
    group.throughput(Throughput::Elements(BATCH_ROWS));
    for (name, step) in [("side by side", 1), ("scattered", 7919)] {
        let folder = tempfile::tempdir().unwrap();
        let tables = filled(folder.path());
        let mut from = 0;
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                from += BATCH_ROWS * step;
                tables.apply(black_box(batch(from, step)), Some(Position(from))).unwrap();
            });
        });
    }
}

fn read(criterion: &mut Criterion) {
    let folder = tempfile::tempdir().unwrap();
    let tables = filled(folder.path());
    let mut number = 0;
    let mut next = move || {
        number = (number + 7919) % ROWS;
        number
    };
    criterion.bench_function("get a row of 100,000", |bencher| {
        bencher.iter(|| tables.get(&key(next())).unwrap().unwrap());
    });
    criterion.bench_function("scan 1,000 rows of 100,000", |bencher| {
        bencher.iter(|| tables.scan(b"v", Some(&key(next() / 2)), 1000).unwrap());
    });
}

criterion_group!(benches, apply, read);
criterion_main!(benches);
