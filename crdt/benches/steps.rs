//! The steps that every write and every arrival takes, each by itself: `cargo bench -p branchline-crdt`.
//!
//! Time is that of one record where nothing else is said, for records of ten scalar fields and some 200 bytes of JSON.

#![allow(missing_docs, clippy::unwrap_used, clippy::panic)]

use std::hint::black_box;

use branchline_crdt::format::pack;
use branchline_crdt::ids::{Author, EntryHash, Incarnation, RealmId, SiteKey};
use branchline_crdt::log::entry::{Body, Draft, Entry, RecordWrite, Transaction};
use branchline_crdt::record::{ActorBytes, Document, Edit, NewRecord, RecordChange, View, begin};
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use serde_json::{Value, json};

/// Records of one entry, as an import makes them.
const BATCH: usize = 1_000;

fn author() -> (SiteKey, Author) {
    let key = SiteKey::from_seed([7; 32]);
    let author = Author { site: key.site(), incarnation: Incarnation([1; 8]) };
    (key, author)
}

fn actor() -> ActorBytes {
    ActorBytes(author().1.actor())
}

fn put(number: usize) -> Edit {
    let fields = json!({
        "branch": (["Yangon", "Mandalay", "Bago"][number % 3]),
        "customer": format!("Customer {}", number * 7_919 % 50_021),
        "product": format!("P-{:05}", number * 104_729 % 30_011),
        "unit_price": format!("{}.{:02}", number * 31 % 211, number * 17 % 100),
        "quantity": number % 12 + 1,
        "total_cents": number * 6_151 % 1_000_003,
        "sold": format!("2026-{:02}-{:02}T{:02}:00:00Z", number % 12 + 1, number % 28 + 1, number % 24),
        "payment": (["cash", "card", "wallet"][number % 7 % 3]),
        "member": number.is_multiple_of(2),
        "receipt": format!("{:016x}", (number as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15)),
    });
    let Value::Object(fields) = fields else { panic!("a record is an object") };
    Edit::Put(fields)
}

fn change(number: usize) -> RecordChange {
    let mut document = Document::empty();
    document.edit(actor(), 0, &put(number), None).unwrap().unwrap().change
}

fn transaction(number: usize) -> Transaction {
    let write = RecordWrite {
        collection: "sales".to_owned(),
        id: format!("S-{number:08}"),
        change: change(number),
    };
    Transaction { origin: None, changes: vec![write] }
}

fn draft() -> Draft {
    let network = RealmId([3; 32]);
    Draft {
        realm: network,
        space: network.main_space(),
        author: author().1,
        seq: 1,
        previous: EntryHash::NONE,
        past: Vec::new(),
        membership_past: Vec::new(),
        time_ms: 0,
    }
}

fn record(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("record");
    let actor = actor();
    let edit = put(1);
    group.bench_function("build a change", |bencher| {
        bencher.iter(|| Document::empty().edit(actor, 0, black_box(&edit), None).unwrap());
    });
    group.bench_function("build a first change, and what it leaves", |bencher| {
        bencher.iter(|| begin(actor, 0, black_box(&edit), None).unwrap());
    });
    let change = change(1);
    group.bench_function("read a change", |bencher| {
        bencher.iter(|| black_box(&change).parse(actor).unwrap());
    });
    let parsed = change.parse(actor).unwrap();
    group.bench_function("what a first change leaves", |bencher| {
        bencher.iter(|| NewRecord::of(black_box(&parsed)).unwrap());
    });
    let empty = Document::empty();
    group.bench_function("check a change", |bencher| {
        bencher.iter(|| empty.check(actor, black_box(&change)).unwrap());
    });
    group.bench_function("apply a change", |bencher| {
        let inputs = || (Document::empty(), empty.check(actor, &change).unwrap());
        bencher.iter_batched(
            inputs,
            |(mut document, checked)| {
                document.apply(checked).unwrap();
                document
            },
            BatchSize::SmallInput,
        );
    });
    let mut document = Document::empty();
    document.edit(actor, 0, &edit, None).unwrap();
    group.bench_function("view", |bencher| bencher.iter(|| document.view()));
    let saved = document.save();
    group.bench_function("load what is stored and view it", |bencher| {
        bencher.iter(|| Document::load(black_box(&saved)).unwrap().view());
    });
    group.bench_function("view what is stored", |bencher| {
        bencher.iter(|| View::of_saved(black_box(&saved)).unwrap());
    });
}

fn entry(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("entry of 1,000 records");
    group.throughput(Throughput::Elements(BATCH as u64));
    let (key, _) = author();
    let body = Body::Transactions((0..BATCH).map(transaction).collect());
    group.bench_function("encode, pack and sign", |bencher| {
        bencher.iter(|| draft().sign(black_box(&body), &key));
    });
    let entry = draft().sign(&body, &key);
    group.bench_function("decode", |bencher| {
        bencher.iter(|| Entry::decode(black_box(entry.bytes())).unwrap());
    });
    group.bench_function("verify the signature", |bencher| {
        bencher.iter(|| assert!(black_box(&entry).is_signed()));
    });
    group.bench_function("unpack and decode the payload", |bencher| {
        bencher.iter(|| black_box(&entry).body().unwrap());
    });
}

fn packing(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("packing 200 KB");
    let lines: String = (0..BATCH).map(|number| format!("{:?}\n", put(number))).collect();
    let raw = &lines.as_bytes()[..200_000];
    group.throughput(Throughput::Bytes(raw.len() as u64));
    group.bench_function("pack", |bencher| bencher.iter(|| pack::pack(black_box(raw))));
    let packed = pack::pack(raw);
    group.bench_function("unpack", |bencher| {
        bencher.iter(|| pack::unpack(black_box(&packed), raw.len()).unwrap());
    });
}

criterion_group!(benches, record, entry, packing);
criterion_main!(benches);
