//! Records go out as Automerge documents and come back edited, and all of them are held to what Automerge reads. A real process.

use std::time::Instant;

use automerge::transaction::Transactable;
use automerge::{AutoCommit, ROOT};
use branchline_node::api::AUTOMERGE;
use branchline_tests::Office;
use branchline_tests::process::Gauge;
use hyper::Method;
use serde_json::{Value, json};

use crate::client::{BATCH, Client};
use crate::records::{self, COLLECTION};
use crate::report::{Figures, Work};
use crate::{Bench, site};

/// Changes of the records that go out.
const CHANGES: [usize; 3] = [10, 1_000, 10_000];
const RECORD: &str = "changed";

pub(crate) fn run(bench: &mut Bench) {
    for changes in CHANGES {
        let folder = bench.folder("document");
        let mut office = bench.office(&folder, "head");
        bench.runtime.block_on(async {
            let mut client = site::start(&mut office).await;
            change(&mut client, changes).await;
        });
        let runs: Vec<Figures> = (0..bench.runs).map(|_| out(bench, &office)).collect();
        let form = format!("out of a record with {changes} changes");
        bench.report.add(&Work { job: "documents", form: &form, records: 1, by: "process" }, &runs);
        let runs: Vec<Figures> = (0..bench.runs).map(|_| back(bench, &office)).collect();
        let form = format!("back of a record with {changes} changes");
        bench.report.add(&Work { job: "documents", form: &form, records: 1, by: "process" }, &runs);
        office.stop();
    }
    let records = bench.records;
    let folder = bench.folder("documents");
    let mut office = bench.office(&folder, "head");
    bench.runtime.block_on(async {
        site::start(&mut office).await.load(records).await;
    });
    let runs: Vec<Figures> = (0..bench.runs).map(|_| verify(bench, &office, records)).collect();
    let form = "verify --documents";
    bench.report.add(&Work { job: "documents", form, records, by: "process" }, &runs);
    office.stop();
}

/// Makes a record of ten fields, and changes one of them or the stock, in turn.
async fn change(client: &mut Client, changes: usize) {
    let line = |number: usize| {
        let fields = match number {
            0 => Value::Object(records::fields(0)),
            _ if number.is_multiple_of(2) => json!({ "stock": { "$inc": 1 } }),
            _ => json!({ "total_cents": number * 7_919 % 100_003 }),
        };
        json!({ "id": RECORD, "fields": fields }).to_string() + "\n"
    };
    for batch in records::batches(changes, BATCH) {
        client.import(batch.map(line).collect::<String>().into_bytes()).await;
    }
}

fn out(bench: &Bench, office: &Office) -> Figures {
    let path = format!("/v1/records/{COLLECTION}/{RECORD}");
    Gauge::reset_peak(office.pid());
    let before = Gauge::of(office.pid());
    let (took, bytes) = bench.runtime.block_on(async {
        let mut client = Client::connect(office).await;
        let started = Instant::now();
        let document = client.ask_for(AUTOMERGE, Method::GET, &path, Vec::new()).await;
        (started.elapsed(), document.len())
    });
    let after = Gauge::of(office.pid());
    vec![
        ("out_ms", took.as_secs_f64() * 1_000.0),
        ("document_kib", bytes as f64 / 1_024.0),
        ("more_memory_mib", after.peak_kib.saturating_sub(before.memory_kib) as f64 / 1_024.0),
    ]
}

/// A record that was edited in two fields comes back.
fn back(bench: &Bench, office: &Office) -> Figures {
    let path = format!("/v1/records/{COLLECTION}/{RECORD}");
    let document = bench.runtime.block_on(async {
        let mut client = Client::connect(office).await;
        client.ask_for(AUTOMERGE, Method::GET, &path, Vec::new()).await
    });
    let mut document = AutoCommit::load(&document).expect("a document");
    document.put(ROOT, "total_cents", 1).expect("a field");
    document.increment(ROOT, "stock", 1).expect("a counter");
    let bytes = document.save();
    Gauge::reset_peak(office.pid());
    let before = Gauge::of(office.pid());
    let (took, answer) = bench.runtime.block_on(async {
        let mut client = Client::connect(office).await;
        let started = Instant::now();
        let answer = client.send(AUTOMERGE, &format!("{path}/document"), bytes).await;
        (started.elapsed(), answer)
    });
    let answer: Value = serde_json::from_slice(&answer).expect("JSON");
    assert_eq!(answer["taken"], 1, "{answer}");
    let after = Gauge::of(office.pid());
    vec![
        ("back_ms", took.as_secs_f64() * 1_000.0),
        ("more_memory_mib", after.peak_kib.saturating_sub(before.memory_kib) as f64 / 1_024.0),
    ]
}

fn verify(bench: &Bench, office: &Office, records: usize) -> Figures {
    Gauge::reset_peak(office.pid());
    let before = Gauge::of(office.pid());
    let started = Instant::now();
    let compared = bench.runtime.block_on(async {
        let mut client = Client::connect(office).await;
        let (mut compared, mut next) = (0, Value::Null);
        loop {
            let after = next.as_str().map(|next| format!("?after={next}")).unwrap_or_default();
            let path = format!("/v1/verify/documents{after}");
            let part = client.ask(Method::POST, &path, Vec::new()).await;
            let mut part: Value = serde_json::from_slice(&part).expect("JSON");
            assert_eq!(part["fault_count"], 0, "{part}");
            compared += part["records"].as_u64().expect("a number");
            next = part["next"].take();
            if next.is_null() {
                return compared;
            }
        }
    });
    let took = started.elapsed().as_secs_f64();
    assert!(compared >= records as u64, "{compared} records were compared");
    let after = Gauge::of(office.pid());
    vec![
        ("records_per_s", compared as f64 / took),
        ("more_memory_mib", after.peak_kib.saturating_sub(before.memory_kib) as f64 / 1_024.0),
    ]
}
