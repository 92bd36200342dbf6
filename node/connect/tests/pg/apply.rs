//! Writes: by key alone, over nobody else's row, and noted where they should be.

use branchline_connect::sql::cell::{Cell, Key};
use branchline_connect::sql::database::{Database, Insert, Mark, Update};
use branchline_connect::sql::shape::Bound;

use super::{Bench, DbErrorClass, bench, key_of, row_of};

fn insert(key: &str, cells: &[Option<&str>]) -> Insert {
    Insert { key: key_of(key), row: cells.iter().map(|cell| cell.map(Cell::text)).collect() }
}

fn update(key: &str, set: &[(usize, &str)], add: &[(usize, i64)]) -> Update {
    let set = set.iter().map(|(column, text)| (*column, row_of(&[text]).remove(0))).collect();
    Update { key: key_of(key), set, add: add.to_vec() }
}

/// B14, B15, B31: never another row, whatever else is unique.
#[tokio::test]
async fn an_insert_hits_no_other_row_and_leaves_defaults() {
    let sql = "CREATE TABLE t (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, sku text UNIQUE, made timestamptz DEFAULT '2024-01-01',
          price numeric(5,2), twice numeric GENERATED ALWAYS AS (price * 2) STORED);
        CREATE TABLE rate (at numeric(5,2) PRIMARY KEY, w text)";
    let Some(mut bench) = bench(sql).await else { return };
    let (t, rate) = (bench.bound(1, "t").await, bench.bound(2, "rate").await);
    bench.install(&[t.clone(), rate.clone()]).await;
    bench.app().await.run("INSERT INTO t (sku) VALUES ('taken')").await;
    bench.drain().await;
    bench.write().await;
    bench.bridge.guard(Some(&t)).await.unwrap();
    let rows = [
        insert("1", &[Some("1"), Some("mine"), None, None]),
        insert("5", &[Some("5"), Some("five"), None, Some("1.5")]),
        insert("6", &[None, Some("six"), Some("2025-05-05 00:00:00+00"), None]),
    ];
    assert_eq!(bench.bridge.insert(&t, &rows).await.unwrap(), [key_of("1")]);
    let rows = bench.rows(&t, &["1", "5", "6"]).await;
    assert_eq!(rows[0].row, row_of(&["1", "taken", "2024-01-01 00:00:00+00", "-"]));
    assert_eq!(rows[1].row, row_of(&["5", "five", "2024-01-01 00:00:00+00", "1.50"]));
    assert_eq!(rows[2].row, row_of(&["6", "six", "2025-05-05 00:00:00+00", "-"]));
    // Another unique key refuses the row, and the others can be written after all.
    bench.bridge.savepoint().await.unwrap();
    let taken = insert("7", &[Some("7"), Some("taken"), None, None]);
    let refused = bench.bridge.insert(&t, &[taken]).await.unwrap_err();
    assert_eq!((refused.class, &*refused.code), (DbErrorClass::Row, "23505"));
    assert_eq!(refused.constraint.as_deref(), Some("t_sku_key"));
    bench.bridge.undo().await.unwrap();
    bench.bridge.savepoint().await.unwrap();
    let nine = insert("9", &[Some("9"), Some("nine"), None, None]);
    assert_eq!(bench.bridge.insert(&t, &[nine]).await.unwrap(), []);
    // Which key was there already is known by the database's text of it.
    bench.bridge.guard(Some(&rate)).await.unwrap();
    let rows = [insert("1.5", &[Some("1.5"), Some("a")]), insert("2", &[Some("2"), Some("b")])];
    assert_eq!(bench.bridge.insert(&rate, &rows).await.unwrap(), []);
    let rows = [insert("1.5", &[Some("1.5"), Some("c")]), insert("3", &[Some("3"), Some("d")])];
    assert_eq!(bench.bridge.insert(&rate, &rows).await.unwrap(), [key_of("1.5")]);
    bench.bridge.commit().await.unwrap();
    assert_eq!(bench.drain().await, [""; 0]);
    assert_eq!(bench.rows(&rate, &["1.50", "2.00", "3.00"]).await.len(), 3);
}

/// Only what is named is changed; amounts are added by the database.
#[tokio::test]
async fn updates_deletes_and_marks_change_what_they_name() {
    let sql = "CREATE TABLE t (office text, id int, name text, qty smallint NOT NULL DEFAULT 0, photo bytea, sent timestamptz, acked boolean,
          PRIMARY KEY (office, id))";
    let Some(mut bench) = bench(sql).await else { return };
    let mut t = bench.bound(1, "t").await;
    // Columns that are written back need not be mapped.
    t.columns.truncate(5);
    bench.install(std::slice::from_ref(&t)).await;
    let mut app = bench.app().await;
    app.run(
        "INSERT INTO t SELECT 'north', i, 'n' || i, 10, '\\x00' FROM generate_series(1, 2500) i",
    )
    .await;
    bench.drain().await;
    let keys: Vec<Key> = (1..=2500).map(|id| key_of(&format!("north|{id}"))).collect();
    bench.write().await;
    bench.bridge.guard(Some(&t)).await.unwrap();
    assert_eq!(bench.bridge.lock(&t, &keys).await.unwrap().len(), 2500);
    let others =
        app.attempt("SET lock_timeout = '200ms'; UPDATE t SET qty = 0 WHERE id = 2500").await;
    assert!(others.unwrap_err().to_string().contains("lock timeout"));
    let updates: Vec<Update> = (1..=2500)
        .map(|id| update(&format!("north|{id}"), &[(2, "-")], &[(3, if id == 1 { -3 } else { 1 })]))
        .collect();
    bench.bridge.update(&t, &updates).await.unwrap();
    let bytes =
        Update { key: key_of("north|2"), set: vec![(4, Cell::Bytes(Vec::new()))], add: Vec::new() };
    bench.bridge.update(&t, &[bytes, update("north|1", &[(2, "x")], &[])]).await.unwrap();
    bench.bridge.delete(&t, &keys[2..]).await.unwrap();
    bench.bridge.savepoint().await.unwrap();
    let too_much =
        bench.bridge.update(&t, &[update("north|1", &[], &[(3, 40_000)])]).await.unwrap_err();
    assert_eq!((too_much.class, &*too_much.code), (DbErrorClass::Row, "22003"));
    bench.bridge.undo().await.unwrap();
    let mark = |id: u32, is_set| Mark { key: key_of(&format!("north|{id}")), is_set };
    bench.bridge.mark(&t, "sent", &[mark(1, true), mark(2, true)]).await.unwrap();
    bench.bridge.mark(&t, "acked", &[mark(1, true), mark(2, false)]).await.unwrap();
    bench.bridge.mark(&t, "sent", &[mark(2, false)]).await.unwrap();
    let no_time = bench.bridge.mark(&t, "name", &[mark(1, true)]).await.unwrap_err();
    assert_eq!(no_time.class, DbErrorClass::Config);
    bench.bridge.check().await.unwrap();
    bench.bridge.commit().await.unwrap();
    assert_eq!(bench.drain().await, [""; 0]);
    let rows = bench.bridge.page(&t, None, 10).await.unwrap();
    assert_eq!(rows.len(), 2);
    assert_eq!(rows[0].row[..4], row_of(&["north", "1", "x", "7"])[..]);
    assert_eq!(rows[1].row[..4], row_of(&["north", "2", "-", "11"])[..]);
    assert_eq!(rows[1].row[4], Cell::Bytes(Vec::new()));
    let marks =
        "SELECT string_agg(concat_ws(' ', id, sent IS NOT NULL, acked), ', ' ORDER BY id) FROM t";
    assert_eq!(app.text(marks).await, "1 t t, 2 f f");
}

async fn with_side_effects(self_cascade: bool) -> Option<(Bench, [Bound; 3])> {
    let sql = "CREATE TABLE stock (sku text PRIMARY KEY, qty int NOT NULL);
        CREATE TABLE sale (id int PRIMARY KEY, sku text, parent int REFERENCES sale ON DELETE CASCADE);
        CREATE TABLE line (id int PRIMARY KEY, sale int REFERENCES sale ON DELETE CASCADE);
        CREATE FUNCTION take() RETURNS trigger LANGUAGE plpgsql AS
          $$ BEGIN UPDATE stock SET qty = qty - 1 WHERE sku = NEW.sku; RETURN NULL; END $$;
        CREATE TRIGGER take AFTER INSERT ON sale FOR EACH ROW EXECUTE FUNCTION take();
        INSERT INTO stock VALUES ('tea', 10)";
    let mut bench = bench(sql).await?;
    let stock = bench.bound(1, "stock").await;
    let mut sale = bench.bound(2, "sale").await;
    let line = bench.bound(3, "line").await;
    sale.cascades_to_itself = self_cascade;
    let tables = [stock, sale, line];
    bench.install(&tables).await;
    Some((bench, tables))
}

/// B11: what the application's triggers and cascades do to other rows is the application's, and noted.
#[tokio::test]
async fn side_effects_of_applied_rows_are_noted_and_the_rows_are_not() {
    for self_cascade in [false, true] {
        let Some((mut bench, [_, sale, _])) = with_side_effects(self_cascade).await else { return };
        bench.write().await;
        bench.bridge.guard(Some(&sale)).await.unwrap();
        let rows = [
            insert("1", &[Some("1"), Some("tea"), None]),
            insert("2", &[Some("2"), None, Some("1")]),
        ];
        bench.bridge.insert(&sale, &rows).await.unwrap();
        bench.bridge.forget(&sale, &[key_of("1"), key_of("2")]).await.unwrap();
        bench.bridge.commit().await.unwrap();
        assert_eq!(bench.drain().await, ["U tea"]);
        bench.app().await.run("INSERT INTO line VALUES (7, 1)").await;
        bench.drain().await;
        bench.write().await;
        bench.bridge.guard(Some(&sale)).await.unwrap();
        bench.bridge.delete(&sale, &[key_of("1")]).await.unwrap();
        bench.bridge.forget(&sale, &[key_of("1")]).await.unwrap();
        bench.bridge.guard(None).await.unwrap();
        bench.bridge.note(&sale, &[key_of("40")]).await.unwrap();
        bench.bridge.commit().await.unwrap();
        // The sale below it went by a cascade: seen only where there is no guard.
        let expected: &[&str] =
            if self_cascade { &["D 2", "D 7", "L 40"] } else { &["D 7", "L 40"] };
        assert_eq!(bench.drain().await, expected);
    }
}

/// B16, B17: what is checked at the commit is checked before it; what fails fails for the row.
#[tokio::test]
async fn deferred_constraints_are_checked_before_the_commit() {
    let sql = "CREATE TABLE parent (id int PRIMARY KEY);
        CREATE TABLE t (id int PRIMARY KEY, code text UNIQUE DEFERRABLE,
          parent int REFERENCES parent DEFERRABLE INITIALLY DEFERRED);
        INSERT INTO t VALUES (1, 'a'), (2, 'b')";
    let Some(mut bench) = bench(sql).await else { return };
    let t = bench.bound(1, "t").await;
    bench.install(std::slice::from_ref(&t)).await;
    bench.write().await;
    bench.bridge.guard(Some(&t)).await.unwrap();
    bench.bridge.savepoint().await.unwrap();
    // Values change places in one statement.
    bench
        .bridge
        .update(&t, &[update("1", &[(1, "b")], &[]), update("2", &[(1, "a")], &[])])
        .await
        .unwrap();
    bench.bridge.check().await.unwrap();
    bench.bridge.savepoint().await.unwrap();
    let orphan = bench.bridge.update(&t, &[update("1", &[(2, "99")], &[])]).await;
    let refused = match orphan {
        Ok(()) => bench.bridge.check().await.unwrap_err(),
        Err(refused) => refused,
    };
    assert_eq!((refused.class, &*refused.code), (DbErrorClass::Row, "23503"));
    // A failed transaction does not pass for a committed one.
    assert_eq!(super::code(bench.bridge.commit().await), "25P02");
    bench.bridge.undo().await.unwrap();
    bench.bridge.commit().await.unwrap();
    let rows = bench.rows(&t, &["1", "2"]).await;
    assert_eq!(
        (&rows[0].row, &rows[1].row),
        (&row_of(&["1", "b", "-"]), &row_of(&["2", "a", "-"]))
    );
}
