//! Records become rows of an empty table.

use branchline_connect::sql::worker::BridgeCommand;

use super::bridge::{TABLE, ask, bridges, config, write};
use super::capture::figures;
use super::database::Server;
use super::used::Watch;
use super::{BY, session::Session};
use crate::between::live::node;
use crate::report::{Figures, Work};
use crate::{Bench, site};

/// How often the table is looked at.
const PAUSE: std::time::Duration = std::time::Duration::from_millis(20);

pub(crate) fn run(bench: &mut Bench) {
    for engine in bench.databases.clone() {
        let Some(server) = Server::start(bench, engine) else { continue };
        let runs: Vec<Figures> = (0..bench.runs).map(|run| one(bench, &server, run)).collect();
        let (form, records) = (format!("{}, records there before", engine.name()), bench.records);
        bench.report.add(&Work { job: "sql-apply", form: &form, records, by: BY }, &runs);
    }
}

fn one(bench: &mut Bench, server: &Server, run: usize) -> Figures {
    let (folder, records) = (bench.folder("apply"), bench.records);
    bench.runtime.block_on(async {
        let place = server.place(&format!("apply-{run}"), &[TABLE, "plain"]).await;
        let mut session = Session::open(&place).await;
        let plain_s = session.fill("plain", records).await.as_secs_f64();
        let node = node(&folder, "head").await;
        let node_s = write(&node.handle(), records).await;
        let bridges = bridges(node.handle(), &folder, &config(&place, "apply")).await;
        let watch = Watch::start(server);
        ask(&bridges, BridgeCommand::Install).await;
        let last = records - 1;
        site::until("the last row is there", PAUSE, async || session.has(TABLE, last).await).await;
        let all = i64::try_from(records).expect("a count");
        site::until("all rows are there", PAUSE, async || session.count(TABLE).await == all).await;
        let took = watch.stop(server);
        bridges.stop().await;
        node.shutdown().await;
        figures(records, plain_s, node_s, &took)
    })
}
