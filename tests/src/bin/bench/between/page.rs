//! The page for the office: each view's first byte and size, at rest and beside an import; what open pages take; and how long
//! a write at another office takes until a page can show it. Real processes, and a client that does what a browser does.

use std::io::Read;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use branchline_tests::Office;
use branchline_tests::process::Gauge;
use hyper::Method;
use reqwest::blocking::{Client as Http, Response};
use serde_json::json;

use crate::Bench;
use crate::client::{BATCH, Client};
use crate::records::{self, COLLECTION};
use crate::report::{Figures, Work};
use crate::site::{self, cpu_s};

/// The views, by the name of their figures.
const VIEWS: [(&str, &str, &str); 8] = [
    ("offices_ms", "offices_kib", "/"),
    ("why_ms", "why_kib", "/why"),
    ("conflicts_ms", "conflicts_kib", "/conflicts"),
    ("records_ms", "records_kib", "/records"),
    ("table_ms", "table_kib", "/records/COLLECTION"),
    ("record_ms", "record_kib", "/record/COLLECTION/ID"),
    ("jobs_ms", "jobs_kib", "/jobs"),
    ("network_ms", "network_kib", "/network"),
];
/// Requests for each view, of which the median is shown.
const ASKED: usize = 15;
/// Sites of the network. All but two joined while there was nothing, and have been away since.
const SITES: usize = 100;
/// Most records in conflict.
const CONFLICTS: usize = 10_000;
/// Open pages that follow, and how many of them are one person's.
const PAGES: usize = 100;
const PAGES_OF_ONE: usize = 25;
/// How long they are watched, and how often something is written meanwhile.
const WATCHED: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_millis(200);
/// Writes at the other office whose way to a page is measured.
const WRITES: usize = 20;

pub(crate) fn run(bench: &mut Bench) {
    let records = bench.records;
    let folder = bench.folder("page");
    let mut head = bench.office(&folder, "head");
    head.start();
    let mut north = site::member(bench, &folder, "north", &head);
    for number in 2..SITES {
        site::member(bench, &folder, &format!("office-{number}"), &head).stop();
    }
    let conflicts = CONFLICTS.min(records / 10);
    bench.runtime.block_on(async {
        Client::connect(&head).await.load(records).await;
        equal(&head, &north).await;
    });
    north.stop();
    bench.runtime.block_on(rewrite(&head, conflicts, "head"));
    head.stop();
    north.start();
    bench.runtime.block_on(rewrite(&north, conflicts, "north"));
    head.start();
    bench.runtime.block_on(equal(&head, &north));
    let browser = Browser::open(&head);
    let mut imported = records;
    for (form, is_importing) in [("at rest", false), ("during an import", true)] {
        let mut runs = Vec::new();
        for _ in 0..bench.runs {
            let is_over = Arc::new(AtomicBool::new(false));
            let importer = is_importing.then(|| import(&head, imported, Arc::clone(&is_over)));
            runs.push(browser.views());
            is_over.store(true, Ordering::Relaxed);
            imported += importer.map_or(0, |importer| importer.join().expect("an import"));
        }
        bench
            .report
            .add(&Work { job: "page", form, records, by: "process, a browser's requests" }, &runs);
    }
    let runs: Vec<Figures> =
        (0..bench.runs).map(|_| followed(bench, &browser, &head, &north)).collect();
    let form = "100 open pages, five writes a second at another office";
    bench
        .report
        .add(&Work { job: "page", form, records, by: "processes, a browser's requests" }, &runs);
    north.stop();
    head.stop();
}

async fn equal(head: &Office, north: &Office) {
    let (mut a, mut b) = (Client::connect(head).await, Client::connect(north).await);
    site::until("both hold the same", Duration::from_millis(50), async || {
        a.digest().await == b.digest().await
    })
    .await;
}

/// Changes a field of each of the first records.
async fn rewrite(office: &Office, records: usize, by: &str) {
    let mut client = Client::connect(office).await;
    for batch in records::batches(records, BATCH) {
        let line = |number: usize| {
            json!({ "id": records::id(number), "fields": { "note": by } }).to_string() + "\n"
        };
        client.import(batch.map(line).collect::<String>().into_bytes()).await;
    }
}

/// Imports more records until that is over; returns how many.
fn import(office: &Office, first: usize, is_over: Arc<AtomicBool>) -> thread::JoinHandle<usize> {
    let (address, token) = office.api();
    thread::spawn(move || {
        let http = branchline_tests::client();
        let mut next = first;
        while !is_over.load(Ordering::Relaxed) {
            let url = format!("http://{address}/v1/import/{COLLECTION}");
            let request =
                http.post(url).bearer_auth(&token).body(records::lines(next..next + BATCH));
            let sent = request.header("content-type", "application/x-ndjson").send();
            assert!(sent.expect("an answer").status().is_success());
            next += BATCH;
        }
        next - first
    })
}

/// Somebody who is signed in.
#[derive(Clone)]
struct Browser {
    http: Http,
    base: String,
    cookie: String,
}

impl Browser {
    fn open(office: &Office) -> Self {
        let link = office.run(["open", "--print"]).ok().trim().to_owned();
        let http = Http::builder().no_proxy().redirect(reqwest::redirect::Policy::none());
        let http = http.timeout(None).build().expect("a client");
        let answer = http.get(&link).send().expect("an answer");
        let cookie = answer.headers()["set-cookie"].to_str().expect("a cookie");
        let cookie = cookie.split(';').next().unwrap_or_default().to_owned();
        let base = link.split("/sign-in/").next().unwrap_or_default().to_owned();
        Self { http, base, cookie }
    }

    fn get(&self, path: &str) -> Response {
        let request = self.http.get(format!("{}{path}", self.base)).header("cookie", &self.cookie);
        let answer = request.send().expect("an answer");
        assert!(answer.status().is_success(), "{path}: {}", answer.status());
        answer
    }

    /// The median time to the first byte of each view, and its size.
    fn views(&self) -> Figures {
        let mut figures = Figures::new();
        for (time, size, path) in VIEWS {
            let path = path.replace("COLLECTION", COLLECTION).replace("ID", &records::id(7));
            let mut times = Vec::new();
            let mut bytes = 0;
            for _ in 0..ASKED {
                let started = Instant::now();
                let answer = self.get(&path);
                times.push(started.elapsed().as_secs_f64() * 1_000.0);
                bytes = answer.bytes().expect("a view").len();
            }
            times.sort_by(f64::total_cmp);
            figures.push((time, times[times.len() / 2]));
            figures.push((size, bytes as f64 / 1_024.0));
        }
        figures
    }

    /// Follows, and asks for the offices each time when something has changed, as an open page does. Returns how often.
    fn follow(&self, ends: Instant) -> usize {
        let mut stream = self.get("/live");
        let (mut asked, mut heard, mut bytes) = (0, Vec::new(), [0; 4096]);
        while Instant::now() < ends {
            let Ok(count @ 1..) = stream.read(&mut bytes) else { break };
            heard.extend_from_slice(&bytes[..count]);
            let text = String::from_utf8_lossy(&heard).into_owned();
            if text.contains("event: changed") {
                self.get("/").bytes().expect("a view");
                asked += 1;
            }
            if text.ends_with("\n\n") {
                heard.clear();
            }
        }
        asked
    }
}

/// What open pages take while another office writes, and how long a write takes to a page.
fn followed(bench: &Bench, browser: &Browser, head: &Office, north: &Office) -> Figures {
    let shown = shown_after(bench, browser, north);
    let (cpu_before, memory_before) = (cpu_s(head), Gauge::of(head.pid()).memory_kib);
    let ends = Instant::now() + WATCHED;
    let people: Vec<Browser> = (0..PAGES / PAGES_OF_ONE).map(|_| Browser::open(head)).collect();
    let open = |number: usize| {
        let browser = people[number % people.len()].clone();
        thread::spawn(move || browser.follow(ends))
    };
    let pages: Vec<_> = (0..PAGES).map(open).collect();
    bench.runtime.block_on(async {
        let mut client = Client::connect(north).await;
        let mut number = 0;
        while Instant::now() < ends + Duration::from_secs(2) {
            let body = json!({ "number": number }).to_string().into_bytes();
            client.ask(Method::PUT, "/v1/records/beside/1", body).await;
            number += 1;
            tokio::time::sleep(PAUSE).await;
        }
    });
    let memory = Gauge::of(head.pid()).memory_kib;
    let views: usize = pages.into_iter().map(|page| page.join().expect("a page")).sum();
    let seconds = WATCHED.as_secs_f64();
    vec![
        ("shown_after_p50_ms", shown[shown.len() / 2]),
        ("shown_after_longest_ms", shown[shown.len() - 1]),
        ("views_per_s", views as f64 / seconds),
        ("cpu_percent", (cpu_s(head) - cpu_before) / seconds * 100.0),
        ("memory_more_mib", memory.saturating_sub(memory_before) as f64 / 1_024.0),
    ]
}

/// From a write at the other office until the page of a record shows it, in order.
fn shown_after(bench: &Bench, browser: &Browser, north: &Office) -> Vec<f64> {
    let mut stream = browser.get("/live");
    let mut times = Vec::new();
    for number in 0..WRITES {
        let value =
            format!("written {number} {:?}", Instant::now()).replace([' ', '{', '}', ':'], "-");
        let body = json!({ "number": value }).to_string().into_bytes();
        let started = Instant::now();
        bench.runtime.block_on(async {
            Client::connect(north).await.ask(Method::PUT, "/v1/records/beside/2", body).await;
        });
        loop {
            let mut bytes = [0; 4096];
            let count = stream.read(&mut bytes).expect("the stream goes on");
            assert!(count > 0, "the stream ended");
            if browser.get("/records/beside").text().expect("a view").contains(&value) {
                break;
            }
        }
        times.push(started.elapsed().as_secs_f64() * 1_000.0);
        // The stream's pace is over.
        thread::sleep(Duration::from_secs(1));
    }
    times.sort_by(f64::total_cmp);
    times
}
