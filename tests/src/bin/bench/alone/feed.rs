//! Records are written one request after the other, and subscribers of server-sent events hear of them. A real
//! process; the subscribers share the machine with it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use branchline_tests::Office;
use futures::future::join_all;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::sync::Barrier;

use crate::client::{BATCH, Client};
use crate::records;
use crate::report::{Figures, Work, percentile_ms};
use crate::{Bench, site};

/// Records of the form that measures throughput.
const IMPORTED: usize = 10_000;
/// Records of the form that measures lag, one at a time.
const WRITTEN: usize = 500;
/// Between two of those.
const PAUSE: Duration = Duration::from_millis(5);

pub(crate) fn run(bench: &mut Bench) {
    for subscribers in [1, 10, 100] {
        for (is_import, records, form) in [
            (true, IMPORTED, format!("imported, {subscribers} subscribers")),
            (false, WRITTEN, format!("one at a time, {subscribers} subscribers")),
        ] {
            let mut runs = Vec::new();
            for _ in 0..bench.runs {
                let folder = bench.folder("feed");
                let mut office = bench.office(&folder, "head");
                runs.push(bench.runtime.block_on(one(&mut office, subscribers, is_import)));
                office.stop();
            }
            let work = Work { job: "feed", form: &form, records, by: "process, its API" };
            bench.report.add(&work, &runs);
        }
    }
}

async fn one(office: &mut Office, subscribers: usize, is_import: bool) -> Figures {
    let mut client = site::start(office).await;
    let count = if is_import { IMPORTED } else { WRITTEN };
    let ready = Arc::new(Barrier::new(subscribers + 1));
    let tasks: Vec<_> = (0..subscribers)
        .map(|_| tokio::spawn(subscribe(office.api(), count, Arc::clone(&ready))))
        .collect();
    ready.wait().await;
    let used = site::cpu_s(office);
    let started = Instant::now();
    // When each record was durable, or its import.
    let mut written = Vec::with_capacity(count);
    match is_import {
        true => import(&mut client, &mut written).await,
        false => {
            for number in 0..count {
                client.put(number).await;
                written.push(Instant::now());
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
    let (mut lags, mut last) = (Vec::new(), started);
    for heard in join_all(tasks).await {
        let heard = heard.expect("the subscriber ends well");
        last = last.max(*heard.last().expect("an event"));
        let pairs = heard.into_iter().zip(&written);
        lags.extend(pairs.map(|(heard, written)| heard.saturating_duration_since(*written)));
    }
    lags.sort();
    let seconds = (last - started).as_secs_f64();
    vec![
        ("events_per_s", (count * subscribers) as f64 / seconds),
        ("records_per_s", count as f64 / seconds),
        ("lag_p50_ms", percentile_ms(&lags, 50)),
        ("lag_p99_ms", percentile_ms(&lags, 99)),
        ("cpu_s", site::cpu_s(office) - used),
    ]
}

async fn import(client: &mut Client, written: &mut Vec<Instant>) {
    for batch in records::batches(IMPORTED, BATCH) {
        let size = batch.len();
        client.import(records::lines(batch)).await;
        written.extend(std::iter::repeat_n(Instant::now(), size));
    }
}

/// When each of `count` events came.
async fn subscribe(
    (address, token): (std::net::SocketAddr, String),
    count: usize,
    ready: Arc<Barrier>,
) -> Vec<Instant> {
    let mut stream = TcpStream::connect(address).await.expect("the API answers");
    let request = format!(
        "GET /v1/changes?since=now HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {token}\r\n\
         Accept: text/event-stream\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await.expect("the request is sent");
    let mut lines = BufReader::with_capacity(1 << 18, stream);
    let mut line = Vec::new();
    let mut heard = Vec::with_capacity(count);
    let mut is_ready = false;
    while heard.len() < count {
        line.clear();
        lines.read_until(b'\n', &mut line).await.expect("the stream goes on");
        assert!(!line.is_empty(), "the stream has ended");
        if line.starts_with(b"data: ") {
            heard.push(Instant::now());
        } else if !is_ready && line.starts_with(b"id: ") {
            is_ready = true;
            ready.wait().await;
        }
    }
    heard
}
