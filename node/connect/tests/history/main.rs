//! Random histories: an application works on a table while a bridge that is ended at any moment carries its rows to a
//! collection, and records that another office edits back. In the end table and collection are the same, and what was
//! added to counters adds up, whatever was killed meanwhile.
//!
//! `BRANCHLINE_HISTORIES=N` tries N seeds of each database, `BRANCHLINE_SEED=S` begins with S.
#![allow(clippy::unwrap_used, clippy::panic, clippy::expect_used)]

#[path = "../office/mod.rs"]
mod office;
#[path = "../servers/mod.rs"]
mod servers;

mod application;
mod story;
mod trade;

use branchline_connect::sql::worker::trial::BridgeMistake;
use story::{Outcome, World};

/// Histories of each database in a run of all tests.
const HISTORIES: u64 = 3;
/// Histories within which a mistake has to show.
const HISTORIES_OF_MISTAKES: u64 = 60;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// Seeds that no run has used before, unless one is asked for.
fn first_seed() -> u64 {
    number("BRANCHLINE_SEED").unwrap_or_else(|| {
        u64::try_from(jiff::Timestamp::now().as_microsecond()).unwrap_or_default()
    })
}

async fn try_histories(engine: application::Engine) {
    let Some(world) = World::new(engine).await else { return };
    let first = first_seed();
    let (mut kills, mut commits) = (0, 0);
    let count = number("BRANCHLINE_HISTORIES").unwrap_or(HISTORIES);
    for seed in first..first + count {
        match world.history(seed, None).await {
            Ok(Outcome { kills: killed, commits: committed }) => {
                kills += killed;
                commits += committed;
            }
            Err(wrong) => {
                panic!("{engine:?}, BRANCHLINE_SEED={seed} BRANCHLINE_HISTORIES=1:\n{wrong}")
            }
        }
    }
    eprintln!("{engine:?}: {count} histories from seed {first}, {kills} kills, {commits} commits");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sqlite_and_a_collection_end_as_one_whatever_is_killed() {
    try_histories(application::Engine::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgres_and_a_collection_end_as_one_whatever_is_killed() {
    try_histories(application::Engine::Postgres).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mariadb_and_a_collection_end_as_one_whatever_is_killed() {
    try_histories(application::Engine::MariaDb).await;
}

/// B16.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_that_trade_unique_values_do_so_in_every_database() {
    use application::Engine;
    for engine in [Engine::Sqlite, Engine::Postgres, Engine::MariaDb] {
        let Some(world) = World::new(engine).await else { continue };
        world.trade().await;
    }
}

/// A mistake shows in some histories only, so this takes minutes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes minutes; see the module's page"]
async fn planted_mistakes_are_found() {
    let world = World::new(application::Engine::Sqlite).await.unwrap();
    let mistakes = [
        BridgeMistake::NotesFirst,
        BridgeMistake::Blindly,
        BridgeMistake::NoIntent,
        BridgeMistake::NoPlan,
    ];
    for mistake in mistakes {
        let first = first_seed();
        let mut found = None;
        for seed in first..first + HISTORIES_OF_MISTAKES {
            if let Err(wrong) = world.history(seed, Some(mistake)).await {
                found = Some((seed - first + 1, wrong));
                break;
            }
        }
        let (tries, wrong) = found.unwrap_or_else(|| panic!("{mistake:?} does not show"));
        eprintln!(
            "{mistake:?} shows in history {tries}: {}",
            wrong.lines().next().unwrap_or_default()
        );
    }
}
