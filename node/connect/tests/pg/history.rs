//! Random histories: sessions of the application and a bridge at the same time; in the end the bridge knows every row.

use std::collections::BTreeMap;

use branchline_connect::sql::cell::{Cell, Key, Row};
use branchline_connect::sql::database::{Database, DbError, Insert, Update};
use branchline_connect::sql::shape::Bound;

use super::{App, Bench, DbErrorClass, bench};

/// Keys are few, so that all meet.
const KEYS: u64 = 12;

/// A reproducible row of numbers (splitmix64).
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % bound
    }
}

/// A session of the application: transactions of some statements, some rolled back, some refused.
async fn session(mut app: App, mut dice: Dice) {
    app.run("SET lock_timeout = '10s'").await;
    for _ in 0..40 {
        app.run("BEGIN").await;
        let mut is_failed = false;
        for _ in 0..=dice.below(4) {
            let (key, other) = (dice.below(KEYS), dice.below(KEYS));
            let sql = match dice.below(9) {
                0 => format!("INSERT INTO t VALUES ({key}, 'new', 1) ON CONFLICT DO NOTHING"),
                1 => format!(
                    "INSERT INTO t VALUES ({key}, 'up', 2) ON CONFLICT (id) DO UPDATE SET w = 'upsert', n = t.n + 1"
                ),
                2 => format!("UPDATE t SET n = n + 1 WHERE id IN ({key}, {other})"),
                3 => format!("DELETE FROM t WHERE id = {key}"),
                4 => format!("UPDATE t SET id = {other} WHERE id = {key}"),
                5 => format!(
                    "DELETE FROM t WHERE id = {key}; INSERT INTO t VALUES ({key}, 'again', 0)"
                ),
                6 => {
                    format!("SAVEPOINT s; UPDATE t SET w = 'never' WHERE id = {key}; ROLLBACK TO s")
                }
                7 => format!(
                    "INSERT INTO c SELECT {other}, id FROM t WHERE id = {key} ON CONFLICT (id) DO UPDATE SET t = excluded.t"
                ),
                _ => format!("UPDATE t SET w = 'w{other}' WHERE id = {key}"),
            };
            if app.attempt(&sql).await.is_err() {
                is_failed = true;
                break;
            }
        }
        if dice.below(5) == 0 {
            tokio::time::sleep(std::time::Duration::from_millis(dice.below(20))).await;
        }
        let is_kept = !is_failed && dice.below(4) > 0;
        app.run(if is_kept { "COMMIT" } else { "ROLLBACK" }).await;
    }
}

/// What the bridge knows of a table.
type View = BTreeMap<Key, Row>;

/// Takes notes up; returns how many there were.
async fn drain(bench: &mut Bench, tables: &[Bound], views: &mut [View]) -> Result<usize, DbError> {
    bench.bridge.begin_read(tables).await?;
    let notes = bench.bridge.notes(50).await?;
    let mut seen = views.to_vec();
    for (table, view) in tables.iter().zip(&mut seen) {
        let of_table = notes.iter().filter(|note| note.table == table.number);
        let keys: Vec<Key> =
            of_table.map(|note| Key::from_text(note.key.as_ref().unwrap(), 1).unwrap()).collect();
        for key in &keys {
            view.remove(key);
        }
        let rows = bench.bridge.rows(table, &keys).await?;
        view.extend(rows.into_iter().map(|read| (read.key, read.row)));
    }
    bench.bridge.end_read().await?;
    views.clone_from_slice(&seen);
    bench.write().await;
    bench.bridge.delete_notes(&notes).await?;
    bench.bridge.commit().await?;
    Ok(notes.len())
}

/// Writes some rows, as far as they are as the bridge knows them.
async fn apply(
    bench: &mut Bench,
    table: &Bound,
    view: &mut View,
    dice: &mut Dice,
) -> Result<(), DbError> {
    bench.write().await;
    bench.bridge.guard(Some(table)).await?;
    let keys: Vec<Key> =
        (0..KEYS).filter(|_| dice.below(4) == 0).map(|key| Key(vec![key.to_string()])).collect();
    let locked = bench.bridge.lock(table, &keys).await?;
    let locked: View = locked.into_iter().map(|read| (read.key, read.row)).collect();
    let (mut inserts, mut updates, mut deletes, mut written) = (vec![], vec![], vec![], vec![]);
    for key in keys {
        if locked.get(&key) != view.get(&key) {
            bench.bridge.note(table, &[key]).await?;
            continue;
        }
        written.push(key.clone());
        match (locked.contains_key(&key), dice.below(3)) {
            (false, _) => {
                let id = Cell::text(key.0[0].clone());
                inserts.push(Insert {
                    key,
                    row: vec![Some(id), Some(Cell::text("remote")), Some(Cell::text("5"))],
                });
            }
            (true, 0) => deletes.push(key),
            (true, _) => updates.push(Update {
                key,
                set: vec![(1, Cell::text("edited"))],
                add: vec![(2, 10)],
            }),
        }
    }
    let present = bench.bridge.insert(table, &inserts).await?;
    bench.bridge.update(table, &updates).await?;
    bench.bridge.delete(table, &deletes).await?;
    bench.bridge.note(table, &present).await?;
    written.retain(|key| !present.contains(key));
    let rows = bench.bridge.rows(table, &written).await?;
    bench.bridge.check().await?;
    bench.bridge.commit().await?;
    for key in &written {
        view.remove(key);
    }
    view.extend(rows.into_iter().map(|read| (read.key, read.row)));
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_any_history_the_bridge_knows_every_row() {
    let histories: u64 = std::env::var("HISTORIES").map_or(6, |text| text.parse().unwrap());
    for seed in 0..histories {
        let sql = "CREATE TABLE t (id int PRIMARY KEY, w text, n int NOT NULL);
            CREATE TABLE c (id int PRIMARY KEY, t int REFERENCES t ON DELETE CASCADE ON UPDATE CASCADE)";
        let Some(mut bench) = bench(sql).await else { return };
        let tables = [bench.bound(1, "t").await, bench.bound(2, "c").await];
        bench.install(&tables).await;
        let mut views = [View::new(), View::new()];
        let mut dice = Dice(seed);
        let mut sessions = Vec::new();
        for _ in 0..3 {
            let app = bench.app().await;
            sessions.push(tokio::spawn(session(app, Dice(dice.below(u64::MAX)))));
        }
        let mut is_quiet = false;
        while !is_quiet {
            let over = sessions.iter().all(tokio::task::JoinHandle::is_finished);
            let done = if dice.below(2) == 0 && !over {
                let (table, view) = (&tables[0], &mut views[0]);
                apply(&mut bench, table, view, &mut dice).await
            } else {
                let drained = drain(&mut bench, &tables, &mut views).await;
                is_quiet = over && matches!(drained, Ok(0));
                drained.map(drop)
            };
            if let Err(error) = done {
                assert_eq!(error.class, DbErrorClass::Transient, "seed {seed}: {error}");
                bench.bridge.roll_back().await;
            }
        }
        for session in sessions {
            session.await.unwrap();
        }
        for (table, view) in tables.iter().zip(&views) {
            let rows = bench.bridge.page(table, None, 1_000).await.unwrap();
            let rows: View = rows.into_iter().map(|read| (read.key, read.row)).collect();
            assert_eq!(*view, rows, "seed {seed}, {}", table.table);
        }
    }
}
