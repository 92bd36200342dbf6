//! One history, from an empty table to the comparison at its end.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use branchline_connect::sql::bridges::Bridges;
use branchline_connect::sql::worker::BridgeCommand;
use branchline_connect::sql::worker::trial::{BridgeMistake, BridgeTrial};
use branchline_crdt::record::{Edit, View};
use branchline_crdt::replica::{LocalTransaction, RecordEdit};
use branchline_crdt::store::read;
use serde_json::json;
use tokio::task::JoinSet;

use super::application::{COUNTED, Dice, Engine, Place, session};
use super::office::{Office, config};
use super::servers::mariadb::MariaDb;
use super::servers::postgres::Postgres;

/// How long both sides may take to come to rest on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);
/// How long a bridge may take to come to the step behind which it is killed.
const STEPS_PATIENCE: Duration = Duration::from_millis(150);
const SESSIONS: u64 = 3;
const TRANSACTIONS: u64 = 25;
/// What each counter begins with.
const BEGINNING: i64 = 1000;

/// What a history that went well was made of.
pub(crate) struct Outcome {
    pub(crate) kills: u64,
    pub(crate) commits: u64,
}

/// Two offices, of which the first has a database.
pub(crate) struct World {
    engine: Engine,
    pub(super) head: Office,
    branch: Office,
    histories: AtomicU32,
}

impl World {
    /// `None`: the database is not installed.
    pub(crate) async fn new(engine: Engine) -> Option<Self> {
        match engine {
            Engine::Sqlite => {}
            Engine::Postgres => {
                Postgres::shared()?;
            }
            Engine::MariaDb => {
                MariaDb::shared()?;
            }
        }
        let head = Office::start("head").await;
        let branch = Office::join(&head, "branch").await;
        Some(Self { engine, head, branch, histories: AtomicU32::new(0) })
    }

    pub(super) async fn place(&self, table: &str) -> Place {
        let create = |kinds: &str| {
            let counted = COUNTED.map(|id| format!("({id}, 'counted', '1.00', {BEGINNING}, NULL)"));
            format!(
                "CREATE TABLE {table} ({kinds}); INSERT INTO {table} (id, name, price, qty, code) VALUES {}",
                counted.join(", ")
            )
        };
        match self.engine {
            Engine::Sqlite => {
                let sql = create(
                    "id INTEGER NOT NULL, name TEXT, price TEXT, qty INTEGER NOT NULL, code TEXT UNIQUE, \
                     PRIMARY KEY (id)",
                )
                .replace("id INTEGER NOT NULL,", "id BIGINT NOT NULL,");
                Place::Sqlite(self.head.sqlite(table, Box::leak(sql.into_boxed_str())).await)
            }
            Engine::Postgres => {
                let server = Postgres::shared().unwrap();
                let sql = create(
                    "id bigint PRIMARY KEY, name varchar(40), price numeric(12,2), qty integer NOT NULL, \
                     code varchar(20) UNIQUE",
                );
                let database = server.database("", &sql);
                Place::Postgres(server.url("postgres", &database))
            }
            Engine::MariaDb => {
                let server = MariaDb::shared().unwrap();
                let sql = create(
                    "id BIGINT PRIMARY KEY, name VARCHAR(40), price DECIMAL(12,2), qty INT NOT NULL, \
                     code VARCHAR(20) UNIQUE",
                );
                let database = server.database("", &sql);
                Place::MariaDb(server.url("root", &database))
            }
        }
    }

    /// Plays one history; the error tells what is wrong at its end.
    pub(crate) async fn history(
        &self,
        seed: u64,
        mistake: Option<BridgeMistake>,
    ) -> Result<Outcome, String> {
        let number = self.histories.fetch_add(1, Ordering::Relaxed);
        let table = format!("t{number}_{:?}", self.engine).to_lowercase();
        let place = self.place(&table).await;
        let mut dice = Dice(seed);
        let folder = self.head.path().join(format!("connect-{table}"));
        std::fs::create_dir_all(&folder).unwrap();
        let settings = toml::toml! {
            mode = "both"
            mass_change = "100%"
            owner = "head"
            [fields]
            price = { kind = "decimal" }
            qty = { kind = "counter" }
        };
        let mut settings = settings;
        settings.insert("table".to_owned(), table.clone().into());
        settings.insert("collection".to_owned(), table.clone().into());
        let config = config(&place.url(), vec![toml::Value::Table(settings)]);
        let trial = BridgeTrial::of(mistake);
        let bridges = Bridges::new(self.head.handle(), folder).with_trial(trial.clone());
        bridges.take_up(std::slice::from_ref(&config)).await;
        let installed = bridges.ask("shop", BridgeCommand::Install).await.unwrap();
        installed.map_err(|error| format!("not installed: {error}"))?;

        let mut sessions = JoinSet::new();
        let count = if self.engine == Engine::Sqlite { 1 } else { SESSIONS };
        for _ in 0..count {
            let dice = Dice(dice.roll());
            sessions.spawn(session(self.engine, place.clone(), table.clone(), dice, TRANSACTIONS));
        }
        let mut kills = 0;
        let mut added: BTreeMap<u64, i64> = BTreeMap::new();
        let mut commits = 0;
        while !sessions.is_empty() {
            let pause = tokio::time::sleep(Duration::from_millis(dice.below(60)));
            tokio::select! {
                done = sessions.join_next() => {
                    let (committed, sums) = done.unwrap().unwrap();
                    commits += committed;
                    for (id, by) in sums {
                        *added.entry(id).or_insert(0) += by;
                    }
                }
                () = pause => {
                    if dice.below(3) == 0 {
                        // Behind any step, or, where nothing is to be done, at any moment.
                        trial.stop_after(1 + u32::try_from(dice.below(12)).unwrap());
                        let _ = tokio::time::timeout(STEPS_PATIENCE, trial.stopped()).await;
                        bridges.kill().await;
                        trial.stop_after(0);
                        kills += 1;
                        bridges.take_up(std::slice::from_ref(&config)).await;
                    } else {
                        self.edit_elsewhere(&table, &mut dice, &mut added).await;
                    }
                }
            }
        }
        let result = self.compare(&bridges, &place, &table, &added).await;
        bridges.stop().await;
        result.map(|()| Outcome { kills, commits })
    }

    /// The other office edits, deletes and adds to counters.
    async fn edit_elsewhere(&self, table: &str, dice: &mut Dice, added: &mut BTreeMap<u64, i64>) {
        let id = 1 + dice.below(12);
        let fields = |json: serde_json::Value| json.as_object().cloned().unwrap();
        let text = dice.below(1000);
        let (id, edit) = match dice.below(6) {
            0 => (id, Edit::Delete),
            1 => {
                let name = format!("r{text}");
                (id, Edit::Merge { patch: fields(json!({ "name": name })), create: false })
            }
            2 => {
                let price = format!("{text}.5");
                (id, Edit::Merge { patch: fields(json!({ "price": price })), create: false })
            }
            3 => {
                let new = 50 + dice.below(5);
                let record = json!({ "id": new, "name": "new", "price": "3", "qty": 1 });
                (new, Edit::Merge { patch: fields(record), create: true })
            }
            _ => {
                let counted = COUNTED[usize::try_from(dice.below(3)).unwrap()];
                let by = i64::try_from(dice.below(21)).unwrap() - 10;
                let edit =
                    Edit::Merge { patch: fields(json!({ "qty": { "$inc": by } })), create: false };
                if self.write(table, counted, edit).await {
                    *added.entry(counted).or_insert(0) += by;
                }
                return;
            }
        };
        self.write(table, id, edit).await;
    }

    /// Whether the other office has the record, and wrote it.
    async fn write(&self, table: &str, id: u64, edit: Edit) -> bool {
        let edits = vec![RecordEdit::new(table, id.to_string(), edit)];
        let transaction = LocalTransaction { origin: None, edits };
        let written = self.branch.handle().write(vec![transaction]).await.unwrap().remove(0);
        written.is_ok_and(|written| written.records_changed > 0)
    }

    /// Waits until both sides are at rest, and says what is wrong then.
    async fn compare(
        &self,
        bridges: &Bridges,
        place: &Place,
        table: &str,
        added: &BTreeMap<u64, i64>,
    ) -> Result<(), String> {
        let deadline = Instant::now() + PATIENCE;
        let mut last = String::new();
        let mut reader = place.session().await;
        loop {
            if Instant::now() > deadline {
                return Err(format!("not at rest: {last}"));
            }
            tokio::time::sleep(Duration::from_millis(30)).await;
            let here = self.head.records(table).await;
            if here != self.branch.records(table).await {
                last = "the offices differ".to_owned();
                continue;
            }
            let report = bridges.reports().remove("shop").unwrap_or_default();
            if let Some(reason) = &report.reason {
                last = format!("{}: {reason}", report.state);
                continue;
            }
            let errors = bridges.ask("shop", BridgeCommand::Errors).await.unwrap();
            let errors = errors.map_err(|error| error.to_string())?;
            let verify = BridgeCommand::Verify { table: None, repair: false };
            let verified = bridges.ask("shop", verify).await.unwrap();
            let verified = verified.map_err(|error| error.to_string())?;
            let differing = &verified["tables"][0]["differing"];
            let is_quiet = report.state == "running" && report.notes_waiting == 0;
            if !is_quiet || errors["errors"] != json!([]) || differing != 0 {
                last = format!("{report:?}\n{errors}\n{verified}");
                continue;
            }
            let rows = reader.rows(table).await;
            match differences(&rows, &here, added) {
                None => return Ok(()),
                Some(wrong) => last = wrong,
            }
        }
    }
}

/// What of a table and its collection is not the same.
fn differences(
    rows: &BTreeMap<String, [Option<String>; 4]>,
    records: &BTreeMap<String, View>,
    added: &BTreeMap<u64, i64>,
) -> Option<String> {
    let (ids, names): (Vec<_>, Vec<_>) = (rows.keys().collect(), records.keys().collect());
    if ids != names {
        return Some(format!("rows {ids:?}, records {names:?}"));
    }
    for (id, [name, price, qty, code]) in rows {
        let fields = &records[id].fields;
        let text = |field: &str| fields.get(field).map(|value| value.to_json());
        let is_same = |field: &str, cell: &Option<String>| {
            let held = text(field).unwrap_or_default();
            match (field, cell) {
                ("price", Some(cell)) => {
                    let cents = |text: &str| (text.parse::<f64>().unwrap() * 100.0).round();
                    held.as_str().is_some_and(|held| cents(held).to_bits() == cents(cell).to_bits())
                }
                ("qty", Some(cell)) => held.as_i64() == cell.parse().ok(),
                (_, cell) => held == json!(cell),
            }
        };
        let cells = [("name", name), ("price", price), ("qty", qty), ("code", code)];
        for (field, cell) in cells {
            if !is_same(field, cell) {
                return Some(format!(
                    "row {id} has {field} {cell:?}, its record {:?}",
                    text(field)
                ));
            }
        }
    }
    for id in COUNTED {
        let expected = BEGINNING + added.get(&id).copied().unwrap_or_default();
        let found = rows.get(&id.to_string()).and_then(|row| row[2].clone());
        if found != Some(expected.to_string()) {
            return Some(format!("counter {id} is {found:?}, expected {expected}"));
        }
    }
    None
}

impl Office {
    /// The records of a collection that are not deleted.
    async fn records(&self, collection: &str) -> BTreeMap<String, View> {
        let collection = collection.to_owned();
        let handle = self.handle();
        let read =
            handle.read(move |tables, space| read::list(tables, space, &collection, None, 10_000));
        read.await.unwrap().into_iter().collect()
    }
}
