//! What the journal costs: `cargo bench -p branchline-node`. It lies in the temporary folder, so its disk is measured.

#![allow(missing_docs, clippy::unwrap_used)]

use std::hint::black_box;
use std::sync::Arc;

use branchline_node::storage::disk::RealDisk;
use branchline_node::storage::journal::{Journal, JournalOptions};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};

/// An entry of one record, and of 1,000 records.
const FRAMES: [(&str, usize); 2] = [("450 bytes", 450), ("100 KB", 100_000)];

fn append(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("append and fdatasync");
    for (name, bytes) in FRAMES {
        let folder = tempfile::tempdir().unwrap();
        let disk = Arc::new(RealDisk::open(&folder.path().join("journal")).unwrap());
        let (mut journal, _) = Journal::open(disk, None, JournalOptions::default()).unwrap();
        let frame = vec![b'x'; bytes];
        group.throughput(Throughput::Bytes(bytes as u64));
        group.bench_function(name, |bencher| {
            bencher.iter(|| journal.append(black_box(&[&frame])).unwrap());
        });
    }
}

criterion_group!(benches, append);
criterion_main!(benches);
