//! Rows become records: those that were there before, and those that are inserted once triggers note them.

use branchline_connect::sql::worker::BridgeCommand;

use super::bridge::{
    TABLE, ask, bridges, config, count, wait_for_record, wait_until_running, write,
};
use super::database::Server;
use super::used::{Took, Watch};
use super::{BY, session::Session};
use crate::between::live::node;
use crate::report::{Figures, Work};
use crate::{Bench, site};

/// How often it is looked whether notes wait.
const PAUSE: std::time::Duration = std::time::Duration::from_millis(20);

pub(crate) fn run(bench: &mut Bench) {
    for engine in bench.databases.clone() {
        let Some(server) = Server::start(bench, engine) else { continue };
        let (mut loaded, mut noted) = (Vec::new(), Vec::new());
        for run in 0..bench.runs {
            let (first, second) = one(bench, &server, run);
            loaded.push(first);
            noted.push(second);
        }
        let records = bench.records;
        for (what, runs) in [("there before", loaded), ("noted", noted)] {
            let form = format!("{}, rows {what}", engine.name());
            bench.report.add(&Work { job: "sql-capture", form: &form, records, by: BY }, &runs);
        }
    }
}

fn one(bench: &mut Bench, server: &Server, run: usize) -> (Figures, Figures) {
    let (folder, records) = (bench.folder("capture"), bench.records);
    bench.runtime.block_on(async {
        let alone = node(&folder.join("alone"), "head").await;
        let node_s = write(&alone.handle(), records).await;
        alone.shutdown().await;

        // What is in the table already.
        let place = server.place(&format!("before-{run}"), &[TABLE]).await;
        let mut session = Session::open(&place).await;
        let plain_s = session.fill(TABLE, records).await.as_secs_f64();
        let before = node(&folder.join("before"), "head").await;
        let data = folder.join("before");
        let bridges_before = bridges(before.handle(), &data, &config(&place, "capture")).await;
        let watch = Watch::start(server);
        ask(&bridges_before, BridgeCommand::Install).await;
        wait_for_record(&before.handle(), records - 1).await;
        let took = watch.stop(server);
        assert_eq!(count(&before.handle()).await, records);
        wait_until_running(&bridges_before).await;
        bridges_before.stop().await;
        before.shutdown().await;
        let loaded = figures(records, plain_s, node_s, &took);

        // What comes later.
        let place = server.place(&format!("after-{run}"), &[TABLE, "plain"]).await;
        let mut session = Session::open(&place).await;
        let plain_s = session.fill("plain", records).await.as_secs_f64();
        let after = node(&folder.join("after"), "head").await;
        let data = folder.join("after");
        let bridges_after = bridges(after.handle(), &data, &config(&place, "capture")).await;
        ask(&bridges_after, BridgeCommand::Install).await;
        wait_until_running(&bridges_after).await;
        ask(&bridges_after, BridgeCommand::Pause).await;
        let noted_s = session.fill(TABLE, records).await.as_secs_f64();
        let watch = Watch::start(server);
        ask(&bridges_after, BridgeCommand::Resume).await;
        wait_for_record(&after.handle(), records - 1).await;
        site::until("the notes are gone", PAUSE, async || !session.has_notes().await).await;
        let took = watch.stop(server);
        assert_eq!(count(&after.handle()).await, records);
        bridges_after.stop().await;
        after.shutdown().await;
        let mut noted = figures(records, plain_s, node_s, &took);
        noted.push(("inserts_noted_rows_per_s", records as f64 / noted_s));
        (loaded, noted)
    })
}

/// Rows a second of the bridge, of plain inserts and of the node, and what the bridge used. It is to reach a third of the
/// inserts, or 80 % of the node, whichever is less.
pub(super) fn figures(records: usize, plain_s: f64, node_s: f64, took: &Took) -> Figures {
    let rows = records as f64;
    let target = (rows / plain_s / 3.0).min(rows / node_s * 0.8);
    vec![
        ("rows_per_s", rows / took.seconds),
        ("plain_inserts_rows_per_s", rows / plain_s),
        ("node_writes_rows_per_s", rows / node_s),
        ("of_plain_percent", plain_s / took.seconds * 100.0),
        ("of_node_percent", node_s / took.seconds * 100.0),
        ("target_rows_per_s", target),
        ("of_target_percent", rows / took.seconds / target * 100.0),
        ("own_cpu_us_per_row", took.own_s / rows * 1e6),
        ("server_cpu_us_per_row", took.server_s / rows * 1e6),
        ("peak_mib", took.peak_mib),
    ]
}
