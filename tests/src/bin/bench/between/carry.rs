//! Bundles and backups: what is written to a file while a node runs, and taken in elsewhere. Real processes.

use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use branchline_tests::Office;
use branchline_tests::process::Gauge;

use crate::Bench;
use crate::client::Client;
use crate::report::{Figures, Work, percentile_ms};
use crate::site;

/// How long writes are timed before the backup is begun.
const CALM: Duration = Duration::from_secs(5);

/// A bundle of all records, for a site that has never been reached; and the same merged once more.
pub(crate) fn bundles(bench: &mut Bench) {
    let records = bench.records;
    let folder = bench.folder("bundle");
    let mut head = bench.office(&folder, "head");
    load(bench, &mut head, records);
    let runs: Vec<Figures> =
        (0..bench.runs).map(|run| bundle(bench, &folder, &head, run, records)).collect();
    let work = Work { job: "bundle", form: "to a new site", records, by: "processes" };
    bench.report.add(&work, &runs);
}

fn bundle(bench: &Bench, folder: &Path, head: &Office, run: usize, records: usize) -> Figures {
    let file = folder.join(format!("bundle-{run}"));
    let path = file.to_str().expect("a path");
    let mut branch = bench.office(folder, &format!("branch-{run}"));
    let ticket = head.run(["invite", "--address", "/ip4/192.0.2.1/tcp/4747"]).ok();
    branch.run(["join", ticket.trim()]).ok();
    branch.run(["bundle", path]).ok();
    head.run(["merge", path]).ok();
    branch.start();
    let write_s = timed(|| head.run(["bundle", path, "--force"]).ok());
    let bytes = std::fs::metadata(&file).expect("a file").len() as f64;
    let merge_s = timed(|| branch.run(["merge", path]).ok());
    assert_eq!(head.digest(), branch.digest());
    let peak_mib = Gauge::of(branch.pid()).peak_kib as f64 / 1_024.0;
    let again_s = timed(|| branch.run(["merge", path]).ok());
    branch.stop();
    vec![
        ("file_bytes", bytes),
        ("file_bytes_per_record", bytes / records as f64),
        ("write_s", write_s),
        ("merge_s", merge_s),
        ("merge_records_per_s", records as f64 / merge_s),
        ("merge_again_s", again_s),
        ("peak_mib", peak_mib),
    ]
}

/// One writer goes on while a backup is taken.
pub(crate) fn backups(bench: &mut Bench) {
    let records = bench.records;
    let folder = bench.folder("backup");
    let mut head = bench.office(&folder, "head");
    load(bench, &mut head, records);
    let mut next = records;
    let runs: Vec<Figures> =
        (0..bench.runs).map(|run| backup(bench, &folder, &head, run, &mut next)).collect();
    let work = Work { job: "backup", form: "beside one writer", records, by: "process, its API" };
    bench.report.add(&work, &runs);
}

fn backup(bench: &Bench, folder: &Path, head: &Office, run: usize, next: &mut usize) -> Figures {
    let file = folder.join(format!("backup-{run}"));
    let command = ["backup", "create", file.to_str().expect("a path")];
    let (calm, busy, backup_s) = bench.runtime.block_on(async {
        let mut client = Client::connect(head).await;
        let mut write = async |times: &mut Vec<Duration>| {
            let started = Instant::now();
            client.put(*next).await;
            *next += 1;
            times.push(started.elapsed());
        };
        let (mut calm, mut busy) = (Vec::new(), Vec::new());
        let started = Instant::now();
        while started.elapsed() < CALM {
            write(&mut calm).await;
        }
        let quiet = Stdio::null;
        let mut backup = head.command(command);
        let backup = backup.stdin(quiet()).stdout(quiet()).stderr(quiet());
        let started = Instant::now();
        let mut backup = backup.spawn().expect("the program runs");
        let status = loop {
            write(&mut busy).await;
            if let Some(status) = backup.try_wait().expect("the backup can be waited for") {
                break status;
            }
        };
        assert!(status.success(), "the backup failed");
        (calm, busy, started.elapsed().as_secs_f64())
    });
    let bytes = std::fs::metadata(&file).expect("a file").len() as f64;
    let restored = folder.join(format!("restored-{run}"));
    let mut restore = std::process::Command::new(head.program());
    let restore = restore.arg("--data").arg(&restored).args(["backup", "restore"]).arg(&file);
    let restore = restore.stdout(Stdio::null()).stderr(Stdio::null());
    let restore_s = timed(|| assert!(restore.status().expect("the program runs").success()));
    let sorted = |mut times: Vec<Duration>| {
        times.sort();
        times
    };
    let (calm, busy) = (sorted(calm), sorted(busy));
    vec![
        ("backup_s", backup_s),
        ("file_bytes", bytes),
        ("restore_s", restore_s),
        ("writes_meanwhile", busy.len() as f64),
        ("write_p50_ms", percentile_ms(&busy, 50)),
        ("write_longest_ms", percentile_ms(&busy, 100)),
        ("write_p50_before_ms", percentile_ms(&calm, 50)),
        ("write_longest_before_ms", percentile_ms(&calm, 100)),
    ]
}

fn load(bench: &Bench, head: &mut Office, records: usize) {
    bench.runtime.block_on(async {
        site::start(head).await.load(records).await;
    });
}

fn timed<T>(work: impl FnOnce() -> T) -> f64 {
    let started = Instant::now();
    work();
    started.elapsed().as_secs_f64()
}
