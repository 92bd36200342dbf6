//! Records and pages are read over the API, at rest and while records are imported by the same API. A real process.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use branchline_tests::Office;
use futures::future::join_all;
use hyper::Method;
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

use crate::client::{BATCH, Client};
use crate::records::{self, COLLECTION};
use crate::report::{Figures, Work, percentile_ms};
use crate::{Bench, site};

const PERIOD: Duration = Duration::from_secs(4);
const READERS: usize = 4;

/// What is read at random places.
#[derive(Clone, Copy)]
enum Read {
    /// One record.
    Point,
    /// A page of 100 records.
    Page,
}

impl Read {
    fn path(self, number: usize) -> String {
        let id = records::id(number);
        match self {
            Self::Point => format!("/v1/records/{COLLECTION}/{id}"),
            Self::Page => format!("/v1/records/{COLLECTION}?limit=100&after={id}"),
        }
    }
}

pub(crate) fn run(bench: &mut Bench) {
    let records = bench.records;
    let folder = bench.folder("read");
    let mut office = bench.office(&folder, "head");
    bench.runtime.block_on(async {
        site::start(&mut office).await.load(records).await;
    });
    let mut imported = records;
    for (is_importing, read, form) in [
        (false, Read::Point, "point reads at rest"),
        (false, Read::Page, "pages of 100 at rest"),
        (true, Read::Point, "point reads during an import"),
        (true, Read::Page, "pages of 100 during an import"),
    ] {
        let mut runs = Vec::new();
        for _ in 0..bench.runs {
            let one = one(&office, read, records, is_importing.then_some(imported));
            let (figures, more) = bench.runtime.block_on(one);
            imported += more;
            runs.push(figures);
        }
        bench.report.add(&Work { job: "read", form, records, by: "process, its API" }, &runs);
    }
    office.stop();
}

/// Figures, and how many records were imported meanwhile behind the first `imported`, if any.
async fn one(
    office: &Office,
    read: Read,
    records: usize,
    imported: Option<usize>,
) -> (Figures, usize) {
    let deadline = Instant::now() + PERIOD;
    let more = Arc::new(AtomicUsize::new(0));
    let importer = match imported {
        None => None,
        Some(first) => {
            let (mut client, more) = (Client::connect(office).await, Arc::clone(&more));
            Some(tokio::spawn(async move {
                let mut first = first;
                while Instant::now() < deadline {
                    client.import(records::lines(first..first + BATCH)).await;
                    first += BATCH;
                    more.fetch_add(BATCH, Ordering::Relaxed);
                }
            }))
        }
    };
    let clients = join_all((0..READERS).map(|_| Client::connect(office))).await;
    let readers = clients.into_iter().zip(0..).map(|(mut client, seed)| {
        tokio::spawn(async move {
            let mut random = SmallRng::seed_from_u64(seed);
            let mut took = Vec::new();
            while Instant::now() < deadline {
                let path = read.path(random.random_range(0..records));
                let started = Instant::now();
                client.ask(Method::GET, &path, Vec::new()).await;
                took.push(started.elapsed());
            }
            took
        })
    });
    let mut took = Vec::new();
    for reader in join_all(readers).await {
        took.extend(reader.expect("the reader ends well"));
    }
    if let Some(importer) = importer {
        importer.await.expect("the importer ends well");
    }
    took.sort();
    let more = more.load(Ordering::Relaxed);
    let figures = vec![
        ("reads_per_s", took.len() as f64 / PERIOD.as_secs_f64()),
        ("p50_ms", percentile_ms(&took, 50)),
        ("p99_ms", percentile_ms(&took, 99)),
        ("imported_per_s", more as f64 / PERIOD.as_secs_f64()),
    ];
    (figures, more)
}
