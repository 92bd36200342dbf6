//! Runs.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::Duration;

use branchline_tests::disk::Random;
use branchline_tests::web::{Asked, Web};
use branchline_tests::{DEADLINE, Office, Over, eventually};
use serde_json::{Value, json};

use super::look;
use crate::PROGRAM;

/// Runs, each of which changes all accounts.
const RUNS: u64 = 9;
/// Kills of one run, at the most: it may end before.
const KILLS_OF_A_RUN: u64 = 2;
/// Accounts that are always there.
const ACCOUNTS: usize = 60;
const PAGE: usize = 20;
/// Pages of a run, the list of deletions included.
const PAGES: u64 = 5;
/// Greatest time from the last page, or the start of the node, to the kill.
const MOMENT_MS_MAX: u64 = 80;
const SEED: u64 = 23;

/// A provider of accounts, of which one comes and one goes with each round.
struct Provider {
    web: Web,
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    inner: Mutex<Inner>,
    changed: Condvar,
}

#[derive(Default)]
struct Inner {
    round: u64,
    deleted: Vec<String>,
    /// Pages that are answered before one is not.
    free: Option<u64>,
    is_held: bool,
}

impl State {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap()
    }

    fn answer(&self, asked: &Asked) -> (u16, String) {
        let mut inner = self.inner();
        let answer = inner.answer(&asked.path);
        match &mut inner.free {
            Some(0) => {
                inner.is_held = true;
                let waited =
                    self.changed.wait_timeout_while(inner, DEADLINE, |inner| inner.free.is_some());
                drop(waited.unwrap());
            }
            Some(free) => *free -= 1,
            None => {}
        }
        (200, answer.to_string())
    }
}

impl Inner {
    fn answer(&self, path: &str) -> Value {
        if path.starts_with("/accounts/deleted") {
            return json!({ "ids": self.deleted });
        }
        let from = path.split("cursor=").nth(1).map_or(0, |number| number.parse().unwrap());
        let (round, minute) = (self.round, self.round % 60);
        let ids = (0..ACCOUNTS).map(|n| format!("a-{n:03}")).chain([format!("only-{round}")]);
        let account = |id: String| json!({ "id": id, "updated_at": format!("2026-03-01T08:{minute:02}:00Z"), "round": round });
        let all: Vec<_> = ids.map(account).collect();
        let to = all.len().min(from + PAGE);
        let next = if to < all.len() { json!(to.to_string()) } else { Value::Null };
        json!({ "accounts": all[from..to], "next": next })
    }
}

impl Provider {
    fn start() -> Self {
        let state = Arc::<State>::default();
        let shared = Arc::clone(&state);
        let web = Web::start(move |asked| shared.answer(asked));
        Self { web, state }
    }

    fn config(&self) -> String {
        let url = self.web.url();
        format!(
            "[[source]]\nname = \"crm\"\ncollection = \"accounts\"\nallow = [\"127.0.0.1\"]\n\
             retry = {{ first = \"20ms\", max_delay = \"100ms\", attempts = 20 }}\n[source.request]\n\
             url = \"{url}/accounts?since={{since}}\"\nitems = \".accounts[]\"\nid = \".id\"\nupdated_at = \".updated_at\"\n\
             page = {{ kind = \"cursor\", next = \".next\", param = \"cursor\" }}\n\
             [source.deleted]\nurl = \"{url}/accounts/deleted?since={{since}}\"\nids = \".ids[]\"\n"
        )
    }

    /// The accounts of another round; the one that was there in the round before alone is gone, and said to be if
    /// `is_listed`.
    fn go_on(&self, round: u64, is_listed: bool) {
        let mut inner = self.state.inner();
        inner.round = round;
        inner.deleted.clear();
        if is_listed {
            inner.deleted.push(format!("only-{}", round - 1));
        }
    }

    /// So many more pages are answered, and the next one is not.
    fn answer_only(&self, free: u64) {
        let mut inner = self.state.inner();
        (inner.free, inner.is_held) = (Some(free), false);
    }

    fn holds(&self) {
        eventually("a page is asked for that is not answered", || self.state.inner().is_held);
    }

    /// All are answered.
    fn release(&self) {
        self.state.inner().free = None;
        self.state.changed.notify_all();
    }
}

#[test]
fn a_killed_node_goes_on_with_a_run_and_nobody_sees_half_of_one() {
    let folder = tempfile::tempdir().unwrap();
    let provider = Provider::start();
    let mut head = Office::init(PROGRAM, folder.path(), "head", true);
    std::fs::write(head.data.join("branchline.toml"), provider.config()).unwrap();
    head.start();
    let mut random = Random(SEED);
    let (data, is_over) = (head.data.clone(), AtomicBool::new(false));
    let (kills, seen) = std::thread::scope(|scope| {
        let reader = scope.spawn(|| watch(&data, &is_over));
        let over = Over(&is_over);
        let kills = (1..=RUNS)
            .map(|round| pull_and_kill(&mut head, &provider, &mut random, round))
            .sum::<u64>();
        drop(over);
        (kills, reader.join().unwrap())
    });
    println!("{kills} kills in {RUNS} runs, looked at {} times, seen: {seen:?}", seen.looks);
    assert!(kills >= RUNS && seen.versions.len() > 1, "{seen:?}");
}

/// One run, in which the node is killed; returns how often it was.
fn pull_and_kill(head: &mut Office, provider: &Provider, random: &mut Random, round: u64) -> u64 {
    let is_full = round.is_multiple_of(3);
    let is_listed = round % 3 == 2;
    provider.go_on(round, is_listed);
    let is_read = round % 2 == 1;
    provider.answer_only(if is_read { PAGES - 1 } else { random.below(PAGES) });
    let order = ["source", "run", "crm"].into_iter().chain(is_full.then_some("--full"));
    let job = head.run(order).ok();
    let job = job.trim();
    provider.holds();
    let mut kills = 0;
    if is_read {
        // It has its last page now, compares and writes.
        provider.release();
        std::thread::sleep(Duration::from_millis(random.below(MOMENT_MS_MAX)));
    }
    loop {
        head.kill();
        provider.release();
        kills += 1;
        head.start();
        if kills == KILLS_OF_A_RUN || has_ended(head, job) {
            break;
        }
        std::thread::sleep(Duration::from_millis(random.below(MOMENT_MS_MAX)));
    }
    head.run(["jobs", "show", job, "--wait"]).ok();
    // One run, one number, one row.
    let runs = head.get("/v1/sources/crm/history");
    let runs = runs["runs"].as_array().unwrap();
    assert_eq!(runs.len() as u64, round, "{runs:?}");
    assert!(runs.iter().all(|run| run["status"] == "completed"), "{runs:?}");
    assert_eq!(runs[0]["sync_version"], round);
    let accounts = head.get("/v1/records/accounts?limit=1000");
    let status = |id: &str| {
        let all = accounts["records"].as_array().unwrap();
        let found = all.iter().find(|account| account["id"] == id);
        found.map_or(Value::Null, |found| found["fields"]["status"].clone())
    };
    assert_eq!(status(&format!("only-{round}")), "active");
    if round > 1 {
        let expected = if is_full {
            "inactive"
        } else if is_listed {
            "deleted"
        } else {
            "active"
        };
        assert_eq!(status(&format!("only-{}", round - 1)), expected, "round {round}");
    }
    kills
}

fn has_ended(head: &Office, job: &str) -> bool {
    head.get(&format!("/v1/jobs/{job}"))["state"] == "completed"
}

#[derive(Debug, Default)]
struct Seen {
    looks: u64,
    versions: BTreeSet<u64>,
}

/// An account that is not as a run of this number leaves it.
fn of_another_run(accounts: &[Value], version: u64) -> Option<&Value> {
    accounts.iter().find(|account| {
        let its_own = account["fields"]["sync_version"].as_u64().unwrap();
        match account["id"].as_str().unwrap().starts_with("a-") {
            true => its_own != version,
            false => its_own > version,
        }
    })
}

/// Reads the accounts again and again, over all kills: each time they are those of one run, whose row is there.
fn watch(data: &Path, is_over: &AtomicBool) -> Seen {
    let (mut seen, mut mixed) = (Seen::default(), 0);
    while !is_over.load(Ordering::Acquire) {
        std::thread::sleep(Duration::from_millis(2));
        let Some(page) = look(data, "/v1/records/accounts?limit=1000") else { continue };
        let accounts = page["records"].as_array().unwrap();
        seen.looks += 1;
        let Some(first) = accounts.first() else { continue };
        let version = first["fields"]["sync_version"].as_u64().unwrap();
        if let Some(account) = of_another_run(accounts, version) {
            // A page that is read while a run becomes visible may show some of it: the next one shows all.
            mixed += 1;
            assert!(mixed < 3, "half of run {version} is seen: {account}");
            continue;
        }
        mixed = 0;
        assert!(accounts.len() > ACCOUNTS, "run {version} has {} accounts", accounts.len());
        let Some(row) = look(data, &format!("/v1/records/sync_history/crm-{version}")) else {
            continue;
        };
        assert_eq!(row["status"], "completed", "accounts of run {version} are seen: {row}");
        seen.versions.insert(version);
    }
    seen
}
