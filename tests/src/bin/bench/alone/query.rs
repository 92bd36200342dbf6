//! Filtered lists, ordered lists and summaries over the API, without an index and with one, at rest and while records
//! are imported by the same API. A real process.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use branchline_tests::Office;
use hyper::Method;
use serde_json::json;

use crate::client::{BATCH, Client};
use crate::records::{self, COLLECTION};
use crate::report::{Figures, Work};
use crate::{Bench, site};

/// What is asked, by the name of its figure. Every twelfth record is of one branch,
/// every 30,000th of one product, and seven of a thousand come to so much.
const QUERIES: [(&str, &str, &str); 6] = [
    ("product_ms", "records", "where=product%20%3D%20'P-00042'"),
    ("branch_page_ms", "records", "where=branch%20%3D%20'Bago'"),
    ("top_100_ms", "records", "order=-total_cents"),
    ("summary_ms", "summary", "by=branch&sum=quantity,unit_price"),
    ("product_summary_ms", "summary", "where=product%20%3D%20'P-00042'&sum=unit_price"),
    ("total_range_ms", "records", "where=total_cents%20%3E%3D%20220000"),
];

pub(crate) fn run(bench: &mut Bench) {
    let records = bench.records;
    let folder = bench.folder("query");
    let mut office = bench.office(&folder, "head");
    bench.runtime.block_on(async {
        site::start(&mut office).await.load(records).await;
        declare(&office, "").await;
    });
    let mut imported = records;
    for (indexed, is_importing, form) in [
        ("", false, "without an index, at rest"),
        (" indexed", false, "with an index, at rest"),
        (" indexed", true, "with an index, during an import"),
        ("", true, "without an index, during an import"),
    ] {
        bench.runtime.block_on(declare(&office, indexed));
        let mut runs = Vec::new();
        for _ in 0..bench.runs {
            let one = one(&office, is_importing.then_some(imported));
            let (figures, more) = bench.runtime.block_on(one);
            imported += more;
            runs.push(figures);
        }
        bench.report.add(&Work { job: "query", form, records, by: "process, its API" }, &runs);
    }
    office.stop();
}

/// Writes the schema, and waits for its indexes.
async fn declare(office: &Office, indexed: &str) {
    let mut client = Client::connect(office).await;
    let schema = json!({
        "unit_price": "decimal",
        "product": format!("string{indexed}"),
        "branch": format!("string{indexed}"),
        "total_cents": format!("integer{indexed}"),
    });
    let path = format!("/v1/schemas/{COLLECTION}");
    client.ask(Method::PUT, &path, schema.to_string().into_bytes()).await;
    site::until("the indexes are as declared", Duration::from_millis(100), async || {
        let status = client.get("/v1/status").await;
        let indexes = status["indexes"].as_array().expect("indexes");
        let count = if indexed.is_empty() { 0 } else { 3 };
        indexes.len() == count && indexes.iter().all(|index| index["state"] == "ready")
    })
    .await;
}

/// How long each query takes, and how many records were imported meanwhile behind the first `imported`, if any.
async fn one(office: &Office, imported: Option<usize>) -> (Figures, usize) {
    let is_over = Arc::new(AtomicBool::new(false));
    let importer = match imported {
        None => None,
        Some(first) => {
            let (mut client, is_over) = (Client::connect(office).await, Arc::clone(&is_over));
            Some(tokio::spawn(async move {
                let mut next = first;
                while !is_over.load(Ordering::Relaxed) {
                    client.import(records::lines(next..next + BATCH)).await;
                    next += BATCH;
                }
                next - first
            }))
        }
    };
    let mut client = Client::connect(office).await;
    let begun = Instant::now();
    let mut figures = Figures::new();
    for (figure, what, query) in QUERIES {
        let path = format!("/v1/{what}/{COLLECTION}?{query}");
        let started = Instant::now();
        client.ask(Method::GET, &path, Vec::new()).await;
        figures.push((figure, started.elapsed().as_secs_f64() * 1_000.0));
    }
    let took = begun.elapsed();
    is_over.store(true, Ordering::Relaxed);
    let more = match importer {
        Some(importer) => importer.await.expect("the importer ends well"),
        None => 0,
    };
    figures.push(("imported_per_s", more as f64 / took.as_secs_f64()));
    (figures, more)
}
