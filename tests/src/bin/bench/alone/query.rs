//! Filtered lists, ordered lists and summaries over the API, without an index and with one, at rest and while records
//! are imported by the same API. A real process; and SQLite beside it.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use branchline_tests::Office;
use hyper::Method;
use serde_json::json;

use super::sqlite::Sqlite;
use crate::client::{BATCH, Client};
use crate::records::{self, COLLECTION};
use crate::report::{Figures, Work};
use crate::{Bench, site};

/// What is asked, as it is asked of a node and of SQLite.
struct Question {
    figure: &'static str,
    what: &'static str,
    query: &'static str,
    sql: &'static str,
}

/// Every twelfth record is of one branch, every 30,000th of one product, and seven of a thousand come to so much.
const QUERIES: [Question; 7] = [
    Question {
        figure: "product_ms",
        what: "records",
        query: "where=product%20%3D%20'P-00042'",
        sql: "SELECT * FROM sales WHERE product = 'P-00042' ORDER BY id LIMIT 100",
    },
    Question {
        figure: "branch_page_ms",
        what: "records",
        query: "where=branch%20%3D%20'Bago'",
        sql: "SELECT * FROM sales WHERE branch = 'Bago' ORDER BY id LIMIT 100",
    },
    Question {
        figure: "top_100_ms",
        what: "records",
        query: "order=-total_cents",
        sql: "SELECT * FROM sales ORDER BY total_cents DESC, id LIMIT 100",
    },
    Question {
        figure: "summary_ms",
        what: "summary",
        query: "by=branch&sum=quantity,unit_price",
        sql: "SELECT branch, COUNT(*), SUM(quantity), SUM(unit_price) FROM sales GROUP BY branch",
    },
    Question {
        figure: "count_ms",
        what: "summary",
        query: "by=branch",
        sql: "SELECT branch, COUNT(*) FROM sales GROUP BY branch",
    },
    Question {
        figure: "product_summary_ms",
        what: "summary",
        query: "where=product%20%3D%20'P-00042'&sum=unit_price",
        sql: "SELECT COUNT(*), SUM(unit_price) FROM sales WHERE product = 'P-00042'",
    },
    Question {
        figure: "total_range_ms",
        what: "records",
        query: "where=total_cents%20%3E%3D%20220000",
        sql: "SELECT * FROM sales WHERE total_cents >= 220000 ORDER BY id LIMIT 100",
    },
];

/// The fields that have an index, where there are indexes.
const INDEXED: [&str; 3] = ["product", "branch", "total_cents"];

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
    compare(bench, records, &folder.join("sales.sqlite"));
}

/// Asks SQLite the same.
fn compare(bench: &mut Bench, records: usize, file: &Path) {
    let mut sqlite = bench.runtime.block_on(Sqlite::filled(file, records));
    for (indexed, form) in
        [(&[][..], "SQLite without an index"), (&INDEXED, "SQLite with an index")]
    {
        bench.runtime.block_on(sqlite.index(indexed));
        let ask = async |sqlite: &mut Sqlite| {
            sqlite.ask(QUERIES.map(|Question { figure, sql, .. }| (figure, sql))).await
        };
        let runs: Vec<_> =
            (0..bench.runs).map(|_| bench.runtime.block_on(ask(&mut sqlite))).collect();
        bench.report.add(&Work { job: "query", form, records, by: "this process" }, &runs);
    }
}

/// Writes the schema, and waits for its indexes.
async fn declare(office: &Office, indexed: &str) {
    let mut client = Client::connect(office).await;
    let mut schema = json!({ "unit_price": "decimal" });
    for (field, kind) in INDEXED.into_iter().zip(["string", "string", "integer"]) {
        schema[field] = format!("{kind}{indexed}").into();
    }
    let path = format!("/v1/schemas/{COLLECTION}");
    client.ask(Method::PUT, &path, schema.to_string().into_bytes()).await;
    site::until("the indexes are as declared", Duration::from_millis(100), async || {
        let status = client.get("/v1/status").await;
        let indexes = status["indexes"].as_array().expect("indexes");
        let count = if indexed.is_empty() { 0 } else { INDEXED.len() };
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
    for Question { figure, what, query, .. } in QUERIES {
        let path = format!("/v1/{what}/{COLLECTION}?{query}");
        let started = Instant::now();
        let mut page = client.get(&path).await;
        // It has looked at as many records as one page does, and found few.
        while page["truncated"] == true {
            let next = page["next"].as_str().expect("where to go on");
            page = client.get(&format!("{path}&after={next}")).await;
        }
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
