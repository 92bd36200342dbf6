//! What a bridge's triggers cost the application: ten pairs of the same statements on a table without them and on one
//! with them, in turns, while the bridge itself is stopped.

use std::time::{Duration, Instant};

use branchline_connect::sql::worker::BridgeCommand;
use futures::future::join_all;

use super::bridge::{TABLE, ask, bridges, config, wait_until_running};
use super::database::{Place, Server, insert};
use super::session::Session;
use super::{BY, Engine};
use crate::Bench;
use crate::between::live::node;
use crate::records;
use crate::report::{Figures, Work, percentile_ms};

const PAIRS: usize = 10;
/// The table without triggers, and the one with them.
const TABLES: [&str; 2] = ["plain", TABLE];
/// Single-row commits of a pair.
const COMMITS: usize = 100;
/// Rows of one transaction.
const TOGETHER: usize = 1_000;
/// Rows of one statement.
const AT_ONCE: usize = 10_000;
const WRITERS: usize = 8;
/// How long all writers write in a pair.
const WRITING: Duration = Duration::from_secs(1);

pub(crate) fn run(bench: &mut Bench) {
    for engine in bench.databases.clone() {
        let Some(server) = Server::start(bench, engine) else { continue };
        for syncs in [true, false] {
            let runs = pairs(bench, &server, syncs);
            let what = if syncs { "commits wait for the disk" } else { "commits do not wait" };
            let form = format!("{}, {what}", engine.name());
            let work = Work { job: "sql-trigger", form: &form, records: AT_ONCE, by: BY };
            bench.report.add(&work, &runs);
        }
    }
}

fn pairs(bench: &mut Bench, server: &Server, syncs: bool) -> Vec<Figures> {
    let folder = bench.folder("trigger");
    bench.runtime.block_on(async {
        let place = server.place(&format!("trigger-{syncs}"), &TABLES).await;
        let node = node(&folder, "head").await;
        let bridges = bridges(node.handle(), &folder, &config(&place, "capture")).await;
        ask(&bridges, BridgeCommand::Install).await;
        wait_until_running(&bridges).await;
        bridges.stop().await;
        node.shutdown().await;
        let mut session = session(&place, syncs).await;
        let mut next = Numbers { next: 0 };
        let mut pairs = Vec::new();
        for pair in 0..PAIRS {
            pairs.push(one(&place, &mut session, &mut next, syncs, pair).await);
        }
        if server.engine() == Engine::MariaDb {
            session.run("SET GLOBAL innodb_flush_log_at_trx_commit = 1").await;
        }
        pairs
    })
}

/// A session whose commits wait for the disk, or do not.
async fn session(place: &Place, syncs: bool) -> Session {
    let mut session = Session::open(place).await;
    match (place.engine, syncs) {
        (_, true) => {}
        (Engine::Postgres, false) => session.run("SET synchronous_commit = off").await,
        (Engine::MariaDb, false) => {
            session.run("SET GLOBAL innodb_flush_log_at_trx_commit = 2").await;
        }
        (Engine::Sqlite, false) => session.run("PRAGMA synchronous = NORMAL").await,
    }
    session
}

/// Numbers of records that no table has yet.
struct Numbers {
    next: usize,
}

impl Numbers {
    fn take(&mut self, count: usize) -> std::ops::Range<usize> {
        self.next += count;
        self.next - count..self.next
    }
}

async fn one(
    place: &Place,
    session: &mut Session,
    next: &mut Numbers,
    syncs: bool,
    pair: usize,
) -> Figures {
    // Who comes first changes with each pair, and with each commit.
    let order = |index: usize| if index.is_multiple_of(2) { [0, 1] } else { [1, 0] };
    let engine = place.engine;
    let mut figures = Vec::new();

    let (mut inserts, mut updates) = ([const { Vec::new() }; 2], [const { Vec::new() }; 2]);
    for (index, number) in next.take(COMMITS).enumerate() {
        for table in order(index) {
            let sql = insert(engine, TABLES[table], std::iter::once(number));
            inserts[table].push(session.timed(&sql).await);
        }
        for table in order(index) {
            let (table_name, id) = (TABLES[table], records::id(number));
            let sql = format!("UPDATE {table_name} SET quantity = quantity + 1 WHERE id = '{id}'");
            updates[table].push(session.timed(&sql).await);
        }
    }
    let mut median_us = |name: [&'static str; 3], mut times: [Vec<Duration>; 2]| {
        let [plain, noted] = [0, 1].map(|table| {
            times[table].sort();
            percentile_ms(&times[table], 50) * 1_000.0
        });
        figures.extend([(name[0], plain), (name[1], noted), (name[2], noted - plain)]);
    };
    median_us(["insert_plain_us", "insert_noted_us", "insert_more_us"], inserts);
    median_us(["update_plain_us", "update_noted_us", "update_more_us"], updates);

    let mut taken = [0.0; 2];
    let numbers = next.take(TOGETHER);
    for table in order(pair) {
        let rows = numbers.clone();
        let rows: Vec<_> =
            rows.map(|row| insert(engine, TABLES[table], std::iter::once(row))).collect();
        let started = Instant::now();
        session.run("BEGIN").await;
        for row in &rows {
            session.run(row).await;
        }
        session.run("COMMIT").await;
        taken[table] = started.elapsed().as_secs_f64() * 1_000.0;
    }
    figures.extend([("1000_in_one_plain_ms", taken[0]), ("1000_in_one_noted_ms", taken[1])]);

    let numbers = next.take(AT_ONCE);
    for table in order(pair) {
        let sql = insert(engine, TABLES[table], numbers.clone());
        taken[table] = session.timed(&sql).await.as_secs_f64() * 1_000.0;
    }
    figures.extend([("10000_insert_plain_ms", taken[0]), ("10000_insert_noted_ms", taken[1])]);
    let (first, last) = (records::id(numbers.start), records::id(numbers.end - 1));
    for table in order(pair) {
        let set = "SET quantity = quantity + 1 WHERE id BETWEEN";
        let sql = format!("UPDATE {} {set} '{first}' AND '{last}'", TABLES[table]);
        taken[table] = session.timed(&sql).await.as_secs_f64() * 1_000.0;
    }
    figures.extend([("10000_update_plain_ms", taken[0]), ("10000_update_noted_ms", taken[1])]);

    for table in order(pair) {
        taken[table] = commits_per_s(place, TABLES[table], next, syncs).await;
    }
    figures.extend([("8_writers_plain_per_s", taken[0]), ("8_writers_noted_per_s", taken[1])]);
    figures
}

/// Commits of one row each, of all writers.
async fn commits_per_s(place: &Place, table: &'static str, next: &mut Numbers, syncs: bool) -> f64 {
    // More than anybody writes in that time.
    let room = 100_000;
    let mut sessions = Vec::new();
    for _ in 0..WRITERS {
        sessions.push((session(place, syncs).await, next.take(room)));
    }
    let started = Instant::now();
    let writers = sessions.into_iter().map(|(mut session, numbers)| {
        let engine = place.engine;
        tokio::spawn(async move {
            let mut commits = 0;
            for number in numbers {
                if started.elapsed() >= WRITING {
                    break;
                }
                session.run(&insert(engine, table, std::iter::once(number))).await;
                commits += 1;
            }
            session.close().await;
            commits
        })
    });
    let commits: u32 =
        join_all(writers).await.into_iter().map(|commits| commits.expect("it ends well")).sum();
    f64::from(commits) / started.elapsed().as_secs_f64()
}
