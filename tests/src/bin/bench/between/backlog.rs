//! A holds records while B, a member, is away; B connects. Real processes.

use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

use branchline_tests::Office;
use branchline_tests::process::Gauge;

use crate::Bench;
use crate::between::postgres;
use crate::client::Client;
use crate::report::{Figures, Work};
use crate::site::{self, Used, data_bytes, disk_bytes};

/// How the backlog was written.
#[derive(Clone, Copy, PartialEq)]
enum Form {
    /// 1,000 records a request, and so many an entry.
    Batched,
    /// One at a time, one an entry.
    Single,
}

/// Records of the form that is written one at a time.
const SINGLE_RECORDS: usize = 10_000;

pub(crate) fn run(bench: &mut Bench) {
    let records = bench.records;
    ours(bench, Form::Batched, "1,000 records a request", records);
    if bench.against_postgres {
        postgres::backlog(bench);
    }
    ours(bench, Form::Single, "one record an entry", SINGLE_RECORDS.min(records));
}

fn ours(bench: &mut Bench, form: Form, name: &str, records: usize) {
    let folder = bench.folder("backlog");
    let (mut head, mut branches) = (bench.office(&folder, "head"), Vec::new());
    head.start();
    for number in 0..bench.runs {
        branches.push(away(bench, &folder, &format!("branch-{number}"), &head));
    }
    let load_s = bench.runtime.block_on(async {
        let mut client = Client::connect(&head).await;
        let started = Instant::now();
        match form {
            Form::Batched => client.load(records).await,
            Form::Single => {
                for number in 0..records {
                    client.put(number).await;
                }
            }
        }
        started.elapsed().as_secs_f64()
    });
    eprintln!("loaded {records} records in {load_s:.1} s");
    // As after a night: nothing of the writing is left in memory.
    head.stop();
    head.start();
    let runs: Vec<Figures> =
        branches.iter_mut().map(|branch| one(bench, &head, branch, records)).collect();
    bench.report.add(&Work { job: "backlog", form: name, records, by: "processes" }, &runs);
}

/// A member that was connected once and is stopped.
fn away(bench: &Bench, folder: &Path, name: &str, head: &Office) -> Office {
    let mut branch = site::member(bench, folder, name, head);
    branch.stop();
    branch
}

fn one(bench: &Bench, head: &Office, branch: &mut Office, records: usize) -> Figures {
    Gauge::reset_peak(head.pid());
    let before = Used::by(head);
    let (started, done) = bench.runtime.block_on(async {
        let started = SystemTime::now();
        let mut client = site::start(branch).await;
        let pause = Duration::from_millis(3);
        site::until("the branch has everything", pause, async || client.count().await == records)
            .await;
        (started, SystemTime::now())
    });
    let since = |start| done.duration_since(start).unwrap_or_default().as_secs_f64();
    let sync_s = since(site::peers_connected(branch)[0]);
    // What was put off is part of the work.
    std::thread::sleep(Duration::from_secs(2));
    let (theirs, ours) = (Used::by(head), Used::by(branch));
    let running_bytes = data_bytes(branch);
    assert_eq!(head.digest(), branch.digest());
    branch.stop();
    let journal_bytes = disk_bytes(branch.data.join("journal"));
    let tables_bytes = disk_bytes(branch.data.join("tables"));
    let per_record = |bytes: u64| bytes as f64 / records as f64;
    vec![
        ("records_per_s", records as f64 / sync_s),
        ("from_connected_s", sync_s),
        ("from_process_start_s", since(started)),
        ("cpu_s", theirs.cpu_s - before.cpu_s + ours.cpu_s),
        ("wire_bytes_per_record", per_record(ours.wire_bytes)),
        ("disk_bytes_per_record", per_record(journal_bytes + tables_bytes)),
        ("disk_running_bytes_per_record", per_record(running_bytes)),
        ("journal_bytes_per_record", per_record(journal_bytes)),
        ("tables_bytes_per_record", per_record(tables_bytes)),
        ("peak_mib_a", theirs.peak_mib),
        ("peak_mib_b", ours.peak_mib),
    ]
}
