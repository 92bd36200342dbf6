//! From a commit in a branch's database until the row can be read in head office's: two nodes in this process, connected
//! over loopback, each with a bridge as a configuration has it that says no more than it must.
//!
//! Between two PostgreSQL databases the same rows also go by logical replication, half way between two sales.

use std::time::{Duration, Instant};

use branchline_connect::sql::worker::BridgeCommand;
use branchline_tests::process::cpu_seconds;
use tokio::time::{sleep, sleep_until};

use super::bridge::{NAME, TABLE, ask, bridges, config, wait_until_running};
use super::database::{Place, Server, insert};
use super::session::Session;
use super::used::Watch;
use super::{BY, Engine};
use crate::between::live::pair;
use crate::report::{Figures, Work, percentile_ms};
use crate::{Bench, site};

const SALES: usize = 300;
/// Five sales a second.
const EVERY: Duration = Duration::from_millis(200);
/// How often head office's database is looked at.
const PAUSE: Duration = Duration::from_millis(1);
/// The table that PostgreSQL replicates by itself.
const REPLICATED: &str = "replicated";

pub(crate) fn run(bench: &mut Bench) {
    for engine in bench.databases.clone() {
        let Some(server) = Server::start(bench, engine) else { continue };
        let runs: Vec<Figures> = (0..bench.runs).map(|run| one(bench, &server, run)).collect();
        let form = format!("{} to {}", engine.name(), engine.name());
        bench.report.add(&Work { job: "sql-lag", form: &form, records: SALES, by: BY }, &runs);
    }
}

fn one(bench: &mut Bench, server: &Server, run: usize) -> Figures {
    let (folder, silence) = (bench.folder("lag"), bench.silence);
    bench.runtime.block_on(async {
        let at_branch = server.place(&format!("branch-{run}"), &[TABLE, REPLICATED]).await;
        let at_head = server.place(&format!("head-{run}"), &[TABLE, REPLICATED]).await;
        let (head, branch) = pair(&folder).await;
        let folder_of = |name: &str| folder.join(format!("bridge-{name}"));
        let captures =
            bridges(branch.handle(), &folder_of("branch"), &config(&at_branch, "capture")).await;
        let applies = bridges(head.handle(), &folder_of("head"), &config(&at_head, "apply")).await;
        // The site that founded the network declares the collection's schema, and the branch has to have heard of it.
        ask(&applies, BridgeCommand::Install).await;
        wait_until_running(&applies).await;
        let installs = async || {
            captures.ask(NAME, BridgeCommand::Install).await.is_some_and(|done| done.is_ok())
        };
        site::until("the branch knows the schema", EVERY, installs).await;
        wait_until_running(&captures).await;
        let replicates = server.engine() == Engine::Postgres;
        if replicates {
            replicate(&at_branch, &at_head, run).await;
        }

        let (mut seller, mut reader) =
            (Session::open(&at_branch).await, Session::open(&at_head).await);
        // The first two pay for what is made once.
        sell(&mut seller, &mut reader, TABLE, 0).await;
        sell(&mut seller, &mut reader, TABLE, 1).await;
        let (mut lags, mut replicated) = (Vec::new(), Vec::new());
        let mut due = tokio::time::Instant::now();
        let watch = Watch::start(server);
        for number in 2..SALES + 2 {
            sleep_until(due).await;
            lags.push(sell(&mut seller, &mut reader, TABLE, number).await);
            if replicates {
                sleep_until(due + EVERY / 2).await;
                replicated.push(sell(&mut seller, &mut reader, REPLICATED, number).await);
            }
            due = (due + EVERY).max(tokio::time::Instant::now());
        }
        let took = watch.stop(server);
        let idle_s = cpu_seconds(std::process::id()).expect("this process runs");
        sleep(silence).await;
        let idle_s = cpu_seconds(std::process::id()).expect("this process runs") - idle_s;
        let first = sell(&mut seller, &mut reader, TABLE, SALES + 2).await;
        for bridges in [captures, applies] {
            bridges.stop().await;
        }
        head.shutdown().await;
        branch.shutdown().await;

        lags.sort();
        replicated.sort();
        let mut figures = vec![
            ("visible_p50_ms", percentile_ms(&lags, 50)),
            ("visible_p99_ms", percentile_ms(&lags, 99)),
            ("visible_most_ms", percentile_ms(&lags, 100)),
            ("silence_s", silence.as_secs_f64()),
            ("first_after_silence_ms", first.as_secs_f64() * 1_000.0),
            ("both_nodes_cpu_percent", took.own_s / took.seconds * 100.0),
            ("both_nodes_cpu_percent_in_silence", idle_s / silence.as_secs_f64() * 100.0),
            ("both_nodes_peak_mib", took.peak_mib),
        ];
        if replicates {
            figures.push(("replication_p50_ms", percentile_ms(&replicated, 50)));
            figures.push(("replication_p99_ms", percentile_ms(&replicated, 99)));
        }
        figures
    })
}

/// One sale: from its commit until head office can read it.
async fn sell(seller: &mut Session, reader: &mut Session, table: &str, number: usize) -> Duration {
    let sql = insert(seller.engine(), table, std::iter::once(number));
    seller.run(&sql).await;
    let committed = Instant::now();
    while !reader.has(table, number).await {
        sleep(PAUSE).await;
    }
    committed.elapsed()
}

/// Lets PostgreSQL replicate a table of its own.
async fn replicate(from: &Place, to: &Place, run: usize) {
    let (mut source, mut target) = (Session::open(from).await, Session::open(to).await);
    source.run(&format!("CREATE PUBLICATION sales FOR TABLE {REPLICATED}")).await;
    // Within one server a subscription cannot make its slot by itself.
    let slot = format!("sales_{run}");
    let sql =
        format!("SELECT count(*) FROM pg_create_logical_replication_slot('{slot}', 'pgoutput')");
    source.number(&sql).await;
    let url = from.url.replace("?sslmode=disable", "");
    let sql = format!(
        "CREATE SUBSCRIPTION sales CONNECTION '{url}' PUBLICATION sales \
         WITH (create_slot = false, slot_name = '{slot}', copy_data = false)"
    );
    target.run(&sql).await;
}
