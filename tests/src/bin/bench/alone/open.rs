//! A node starts on a folder that holds many records. Real processes; the files are in the page cache.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use branchline_tests::Office;
use branchline_tests::process::Gauge;

use crate::client::Client;
use crate::report::{Figures, Work};
use crate::{Bench, site};

/// After this long a node that was just started is at rest.
const REST: Duration = Duration::from_secs(10);

pub(crate) fn run(bench: &mut Bench) {
    let records = bench.records;
    let folder = bench.folder("open");
    let mut office = bench.office(&folder, "head");
    bench.runtime.block_on(async {
        site::start(&mut office).await.load(records).await;
    });
    office.kill();
    // Each run finds what the kill left, not what the run before it made of that.
    let killed = folder.join("killed");
    copy(&office.data, &killed);
    let after_kill: Vec<Figures> = (0..bench.runs)
        .map(|_| {
            std::fs::remove_dir_all(&office.data).expect("the folder goes");
            copy(&killed, &office.data);
            let figures = one(bench, &mut office, records);
            office.kill();
            figures
        })
        .collect();
    let work =
        Work { job: "open", form: "after kill -9 behind the last write", records, by: "process" };
    bench.report.add(&work, &after_kill);
    office.start();
    office.stop();
    let after_stop: Vec<Figures> = (0..bench.runs)
        .map(|_| {
            let figures = one(bench, &mut office, records);
            office.stop();
            figures
        })
        .collect();
    let work = Work { form: "after a clean stop", ..work };
    bench.report.add(&work, &after_stop);
}

fn copy(from: &Path, to: &Path) {
    let copied = Command::new("cp").args(["-r", "--reflink=auto"]).args([from, to]).status();
    assert!(copied.expect("cp runs").success());
}

fn one(bench: &Bench, office: &mut Office, records: usize) -> Figures {
    let started = Instant::now();
    let ready_s = bench.runtime.block_on(async {
        let mut client: Client = site::start(office).await;
        let status = client.get("/v1/status").await;
        let ready_s = started.elapsed().as_secs_f64();
        assert_eq!(status["records"], records as u64);
        ready_s
    });
    let start_cpu_s = site::cpu_s(office);
    std::thread::sleep(REST);
    let rested = Gauge::of(office.pid());
    vec![
        ("ready_s", ready_s),
        ("start_cpu_s", start_cpu_s),
        ("idle_cpu_percent", (site::cpu_s(office) - start_cpu_s) * 100.0 / REST.as_secs_f64()),
        ("idle_mib", rested.memory_kib as f64 / 1_024.0),
        ("peak_mib", rested.peak_kib as f64 / 1_024.0),
    ]
}
