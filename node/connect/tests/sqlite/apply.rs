//! What the bridge writes, and what it must never do while writing.

use branchline_connect::sql::cell::{Cell, Key};
use branchline_connect::sql::database::{Database, DbErrorClass, Insert, Mark, Update};
use branchline_connect::sql::shape::Bound;

use crate::shop::{Bridge, Shop, key, text};

fn insert(table: &Bound, key_text: &str, cells: &[(&str, Cell)]) -> Insert {
    let cell =
        |name: &str| cells.iter().find(|(found, _)| *found == name).map(|(_, cell)| cell.clone());
    Insert {
        key: key(key_text),
        row: table.columns.iter().map(|column| cell(&column.name)).collect(),
    }
}

fn place(table: &Bound, column: &str) -> usize {
    table.columns.iter().position(|found| found.name == column).unwrap()
}

/// B6, B15: no row but the key's own is written, also where the table itself says ON CONFLICT REPLACE or IGNORE.
#[tokio::test]
async fn a_write_never_hits_another_row() {
    let shop = Shop::wal(
        "CREATE TABLE goods (id INTEGER PRIMARY KEY ON CONFLICT REPLACE, code TEXT UNIQUE ON CONFLICT REPLACE, \
            name TEXT NOT NULL ON CONFLICT IGNORE); \
         INSERT INTO goods VALUES (1, 'x', 'one'), (2, 'y', 'two')",
    )
    .await;
    let mut till = shop.till(false).await;
    let mut bridge = shop.bridge().await;
    let goods = bridge.bound(1, "goods").await;
    bridge.install(std::slice::from_ref(&goods)).await;
    bridge.begin(None).await;
    bridge.database.savepoint().await.unwrap();
    let clash = insert(
        &goods,
        "3",
        &[("id", Cell::Integer(3)), ("code", text("x")), ("name", text("three"))],
    );
    let refused = bridge.database.insert(&goods, &[clash]).await.unwrap_err();
    assert_eq!((refused.class, refused.code.as_str()), (DbErrorClass::Row, "2067"));
    assert_eq!(refused.constraint.as_deref(), Some("goods.code"));
    assert_eq!(refused.column.as_deref(), Some("code"));
    bridge.database.undo().await.unwrap();
    let update = Update { key: key("2"), set: vec![(1, text("x"))], add: vec![] };
    let refused = bridge.database.update(&goods, &[update]).await.unwrap_err();
    assert_eq!(refused.class, DbErrorClass::Row);
    bridge.database.undo().await.unwrap();
    let without_name = insert(&goods, "4", &[("id", Cell::Integer(4)), ("name", Cell::Null)]);
    let refused = bridge.database.insert(&goods, &[without_name]).await.unwrap_err();
    assert_eq!((refused.class, refused.column.as_deref()), (DbErrorClass::Row, Some("name")));
    bridge.database.undo().await.unwrap();
    let good = insert(&goods, "5", &[("id", Cell::Integer(5)), ("name", text("five"))]);
    let there = insert(&goods, "1", &[("id", Cell::Integer(1)), ("name", text("other"))]);
    assert_eq!(bridge.database.insert(&goods, &[good, there]).await.unwrap(), [key("1")]);
    bridge.database.commit().await.unwrap();
    let all = "SELECT group_concat(id || name || coalesce(code, '-')) FROM goods";
    assert_eq!(till.value(all).await, "1onex,2twoy,5five-");
}

/// B11: there is no guard; the bridge's own notes go, those of triggers and cascades stay.
#[tokio::test]
async fn side_effects_of_what_is_applied_are_captured() {
    let shop = Shop::wal(
        "CREATE TABLE sales (id INTEGER PRIMARY KEY, sku TEXT, qty INTEGER); \
         CREATE TABLE stock (sku TEXT PRIMARY KEY, qty INTEGER NOT NULL); \
         CREATE TABLE parts (id INTEGER PRIMARY KEY, sale INTEGER REFERENCES sales ON DELETE CASCADE); \
         CREATE TABLE seen (sku TEXT PRIMARY KEY); \
         CREATE TRIGGER sold AFTER INSERT ON sales BEGIN \
            UPDATE stock SET qty = qty - NEW.qty WHERE sku = NEW.sku; INSERT OR IGNORE INTO seen VALUES (NEW.sku); END; \
         INSERT INTO stock VALUES ('tea', 10); INSERT INTO seen VALUES ('tea'); \
         INSERT INTO sales VALUES (1, 'none', 1); INSERT INTO parts VALUES (5, 1)",
    )
    .await;
    let mut bridge = shop.bridge().await;
    let tables = [
        bridge.bound(1, "sales").await,
        bridge.bound(2, "stock").await,
        bridge.bound(3, "parts").await,
    ];
    bridge.install(&tables).await;
    assert_eq!(
        bridge.database.shape("sales").await.unwrap().unwrap().triggers[0].event,
        "AFTER INSERT"
    );
    bridge.begin(Some(1)).await;
    let sale = insert(
        &tables[0],
        "2",
        &[("id", Cell::Integer(2)), ("sku", text("tea")), ("qty", Cell::Integer(3))],
    );
    bridge.database.guard(Some(&tables[0])).await.unwrap();
    bridge.database.insert(&tables[0], &[sale]).await.unwrap();
    bridge.database.delete(&tables[0], &[key("1")]).await.unwrap();
    bridge.database.forget(&tables[0], &[key("1"), key("2")]).await.unwrap();
    bridge.database.commit().await.unwrap();
    assert!(bridge.database.has_notes().await.unwrap(), "our own commit moves no version");
    assert_eq!(bridge.drain(&tables).await, ["2 U tea", "3 D 5"]);
}

/// B44, B27, B23, B32, B33: every class of value goes in and comes out as it is, and a counter is exact or refused.
#[tokio::test]
async fn values_keep_their_class_and_counters_never_become_floats() {
    let shop = Shop::wal(
        "CREATE TABLE v (id INTEGER PRIMARY KEY, i INTEGER, r REAL, t TEXT, b BLOB, d DECIMAL(10,2), u UUID, \
            n INTEGER NOT NULL DEFAULT 0, x, g TEXT AS (t || '!'))",
    )
    .await;
    let mut till = shop.till(false).await;
    let mut bridge = shop.bridge().await;
    let table = bridge.bound(1, "v").await;
    bridge.install(std::slice::from_ref(&table)).await;
    bridge.begin(None).await;
    let nul = "a\0b ü 🍵";
    let written = insert(
        &table,
        "1",
        &[
            ("id", Cell::Integer(1)),
            ("i", Cell::Integer(i64::MIN)),
            ("r", Cell::Real(0.1 + 0.2)),
            ("t", text(nul)),
            ("b", Cell::Bytes(vec![])),
            ("d", text("1.10")),
            ("u", text("007")),
            ("n", Cell::Integer(i64::MAX - 1)),
            ("x", Cell::Bytes(vec![0, 255])),
        ],
    );
    bridge.database.insert(&table, &[written]).await.unwrap();
    let read = bridge.database.lock(&table, &[key("1")]).await.unwrap();
    assert_eq!(
        read[0].row,
        [
            Cell::Integer(1),
            Cell::Integer(i64::MIN),
            Cell::Real(0.1 + 0.2),
            text(nul),
            Cell::Bytes(vec![]),
            // What SQLite makes of texts where the affinity is NUMERIC.
            Cell::Real(1.1),
            Cell::Integer(7),
            Cell::Integer(i64::MAX - 1),
            Cell::Bytes(vec![0, 255]),
        ]
    );
    let n = place(&table, "n");
    let add = |amount| Update { key: key("1"), set: vec![], add: vec![(n, amount)] };
    bridge.database.update(&table, &[add(1)]).await.unwrap();
    bridge.database.savepoint().await.unwrap();
    let refused = bridge.database.update(&table, &[add(1)]).await.unwrap_err();
    assert_eq!(refused.class, DbErrorClass::Row, "{refused}");
    bridge.database.undo().await.unwrap();
    bridge.database.commit().await.unwrap();
    assert_eq!(till.value("SELECT typeof(n) || n FROM v").await, format!("integer{}", i64::MAX));

    till.run("UPDATE v SET t = CAST(x'ff41' AS TEXT), i = 9223372036854775808, b = 'text', r = 9e999, n = 'many'").await;
    let row = &bridge.rows(&table, &["1"]).await[0].row;
    assert_eq!(row[place(&table, "t")], Cell::Bytes(vec![0xff, 0x41]), "not UTF-8");
    assert_eq!(row[place(&table, "i")], Cell::Real(9_223_372_036_854_775_808.0));
    assert_eq!(row[place(&table, "b")], text("text"));
    assert_eq!(row[place(&table, "r")], Cell::Real(f64::INFINITY));
    bridge.begin(None).await;
    let refused = bridge.database.update(&table, &[add(1)]).await.unwrap_err();
    assert_eq!(refused.class, DbErrorClass::Row, "a text is no counter: {refused}");
    bridge.database.roll_back().await;
    bridge.generation -= 1;
    // A key with U+0000 is not the key before it.
    till.run("CREATE TABLE k (k TEXT PRIMARY KEY); INSERT INTO k VALUES ('a')").await;
    let k = bridge.bound(2, "k").await;
    assert!(bridge.rows(&k, &["a\0b"]).await.is_empty());
    bridge.begin(None).await;
    bridge.database.delete(&k, &[key("a\0b")]).await.unwrap();
    bridge.database.commit().await.unwrap();
    assert_eq!(till.value("SELECT count(*) FROM k").await, "1");
}

/// B17, B18: a child without its parent is refused, also where SQLite would say so only at the commit, which fails whole.
#[tokio::test]
async fn foreign_keys_are_checked_before_the_commit() {
    let shop = Shop::wal(
        "CREATE TABLE orders (id INTEGER PRIMARY KEY, part_of INTEGER REFERENCES orders DEFERRABLE INITIALLY DEFERRED); \
         CREATE TABLE lines (id INTEGER PRIMARY KEY, orders INTEGER REFERENCES orders (id) DEFERRABLE INITIALLY DEFERRED); \
         CREATE TABLE notes (id INTEGER PRIMARY KEY, orders INTEGER REFERENCES orders); \
         INSERT INTO orders VALUES (1, NULL), (2, 1); INSERT INTO lines VALUES (1, 1)",
    )
    .await;
    let mut bridge = shop.bridge().await;
    let (orders, lines, notes) = (
        bridge.bound(1, "orders").await,
        bridge.bound(2, "lines").await,
        bridge.bound(3, "notes").await,
    );
    bridge.install(&[orders.clone(), lines.clone(), notes.clone()]).await;
    bridge.begin(None).await;
    bridge.database.savepoint().await.unwrap();
    let line = |table: &Bound, order| {
        insert(table, "17", &[("id", Cell::Integer(17)), ("orders", Cell::Integer(order))])
    };
    let refused = bridge.database.insert(&notes, &[line(&notes, 9)]).await.unwrap_err();
    assert_eq!((refused.class, refused.code.as_str()), (DbErrorClass::Row, "787"));
    assert!(refused.message.contains("notes.orders is 9, which no row of orders has"), "{refused}");
    bridge.database.undo().await.unwrap();
    let kept = Update { key: key("17"), set: vec![(1, Cell::Integer(8))], add: vec![] };
    bridge.database.insert(&notes, &[line(&notes, 1)]).await.unwrap();
    let refused = bridge.database.update(&notes, &[kept]).await.unwrap_err();
    assert!(refused.message.contains("notes.orders is 8, which no row of orders has"), "{refused}");
    bridge.database.undo().await.unwrap();

    bridge.database.insert(&lines, &[line(&lines, 9)]).await.unwrap();
    let refused = bridge.database.check().await.unwrap_err();
    assert_eq!((refused.class, refused.code.as_str()), (DbErrorClass::Row, "787"));
    assert!(refused.message.contains("lines.orders is 9, which no row of orders has"), "{refused}");
    bridge.database.undo().await.unwrap();
    bridge.database.delete(&orders, &[key("1")]).await.unwrap();
    assert!(bridge.database.check().await.is_err(), "line 1 and order 2 are left without it");
    bridge.database.undo().await.unwrap();
    bridge.database.check().await.unwrap();
    // The child first, its parent in the same write.
    bridge.database.insert(&lines, &[line(&lines, 9)]).await.unwrap();
    let parent = insert(&orders, "9", &[("id", Cell::Integer(9))]);
    bridge.database.insert(&orders, &[parent]).await.unwrap();
    bridge.database.check().await.unwrap();
    bridge.database.commit().await.unwrap();
}

/// `sent` and `acked`: a time or a number, and no other column.
#[tokio::test]
async fn marks_write_one_column() {
    let shop = Shop::wal(
        "CREATE TABLE s (office TEXT, id INT, sent_at DATETIME, acked BOOLEAN NOT NULL DEFAULT 0, v TEXT, \
            PRIMARY KEY (office, id)); INSERT INTO s VALUES ('n', 1, NULL, 0, 'a'), ('n', 2, 'x', 1, 'b')",
    )
    .await;
    let mut till = shop.till(false).await;
    let mut bridge = shop.bridge().await;
    let table = bridge.bound(1, "s").await;
    bridge.install(std::slice::from_ref(&table)).await;
    let mark = |id: &str, is_set| Mark { key: Key(vec!["n".into(), id.into()]), is_set };
    bridge.begin(None).await;
    let marks = [mark("1", true), mark("2", false)];
    bridge.database.mark(&table, "sent_at", &marks).await.unwrap();
    bridge.database.mark(&table, "acked", &marks).await.unwrap();
    let keys = marks.map(|mark| mark.key);
    bridge.database.forget(&table, &keys).await.unwrap();
    bridge.database.note(&table, &keys[..1]).await.unwrap();
    bridge.database.commit().await.unwrap();
    assert_eq!(till.value("SELECT (sent_at BETWEEN datetime('now', '-1 minute') AND datetime('now', '+1 minute')) || acked || v FROM s WHERE id = 1").await, "11a");
    assert_eq!(
        till.value("SELECT (sent_at IS NULL) || acked || v FROM s WHERE id = 2").await,
        "10b"
    );
    assert_eq!(bridge.drain(std::slice::from_ref(&table)).await, ["1 L [\"n\",\"1\"]"]);
}

/// Batches larger than one statement, and rows with different columns in one batch.
#[tokio::test]
async fn a_thousand_rows_are_written_by_key() {
    let shop = Shop::wal("CREATE TABLE m (o TEXT, id INT, q INTEGER NOT NULL DEFAULT 5, t TEXT, PRIMARY KEY (o, id))").await;
    let mut till = shop.till(false).await;
    let mut bridge = shop.bridge().await;
    let table = bridge.bound(1, "m").await;
    bridge.install(std::slice::from_ref(&table)).await;
    let key_of = |id: i64| Key(vec![format!("o{}", id % 3), id.to_string()]);
    let rows: Vec<Insert> = (0..1500_i64)
        .map(|id| Insert {
            key: key_of(id),
            row: vec![
                Some(text(&format!("o{}", id % 3))),
                Some(Cell::Integer(id)),
                (id % 2 == 0).then_some(Cell::Integer(id)),
                Some(Cell::Null),
            ],
        })
        .collect();
    bridge.begin(None).await;
    assert!(bridge.database.insert(&table, &rows).await.unwrap().is_empty());
    let updates: Vec<Update> = (0..1500)
        .map(|id| Update { key: key_of(id), set: vec![(3, text("t"))], add: vec![(2, 1)] })
        .collect();
    bridge.database.update(&table, &updates).await.unwrap();
    let gone: Vec<Key> = (0..1500).filter(|id| id % 5 == 0).map(key_of).collect();
    bridge.database.delete(&table, &gone).await.unwrap();
    let keys: Vec<Key> = (0..1500).map(key_of).collect();
    bridge.database.forget(&table, &keys).await.unwrap();
    bridge.database.commit().await.unwrap();
    assert_eq!(
        till.value("SELECT count(*) || ' ' || sum(q) || ' ' || sum(t = 't') FROM m").await,
        format!(
            "1200 {} 1200",
            (0..1500_i64)
                .filter(|id| id % 5 != 0)
                .map(|id| if id % 2 == 0 { id + 1 } else { 6 })
                .sum::<i64>()
        )
    );
    assert_eq!(bridge.database.notes_waiting().await.unwrap(), 0);
    let there = is_present(&mut bridge, &table, &rows).await;
    assert_eq!(there, 1200);
}

async fn is_present(bridge: &mut Bridge, table: &Bound, rows: &[Insert]) -> usize {
    bridge.begin(None).await;
    let there = bridge.database.insert(table, rows).await.unwrap();
    bridge.database.roll_back().await;
    bridge.generation -= 1;
    there.len()
}

/// B19: each refusal of a row is one of the row, with what the database says about it, and the write goes on.
#[tokio::test]
async fn refused_rows_say_why_and_the_write_goes_on() {
    let shop = Shop::wal(
        "CREATE TABLE s (id INTEGER PRIMARY KEY, n INT CONSTRAINT few CHECK (n < 100), d TEXT) STRICT; \
         CREATE TRIGGER ignores BEFORE INSERT ON s WHEN NEW.n < 0 BEGIN SELECT RAISE(IGNORE); END; \
         CREATE TRIGGER aborts BEFORE INSERT ON s WHEN NEW.n = 7 BEGIN SELECT RAISE(ABORT, 'not on Sundays'); END",
    )
    .await;
    let mut till = shop.till(false).await;
    let mut bridge = shop.bridge().await;
    let table = bridge.bound(1, "s").await;
    bridge.install(std::slice::from_ref(&table)).await;
    bridge.begin(None).await;
    for (n, code, constraint, column, says) in [
        (Cell::Integer(100), "275", Some("few"), None, "CHECK constraint failed"),
        (text("many"), "3091", None, Some("n"), "cannot store TEXT value"),
        (Cell::Integer(7), "1811", None, None, "not on Sundays"),
        (Cell::Integer(-1), "", None, None, "ignores it"),
    ] {
        let row = insert(&table, "1", &[("id", Cell::Integer(1)), ("n", n)]);
        bridge.database.savepoint().await.unwrap();
        let refused = bridge.database.insert(&table, &[row]).await.unwrap_err();
        assert_eq!((refused.class, refused.code.as_str()), (DbErrorClass::Row, code), "{refused}");
        assert_eq!(
            (refused.constraint.as_deref(), refused.column.as_deref()),
            (constraint, column)
        );
        assert!(refused.message.contains(says), "{refused}");
        bridge.database.undo().await.unwrap();
    }
    let row = insert(&table, "1", &[("id", Cell::Integer(1)), ("n", text("42"))]);
    bridge.database.insert(&table, &[row]).await.unwrap();
    bridge.database.commit().await.unwrap();
    assert_eq!(till.value("SELECT typeof(n) || n FROM s").await, "integer42");
    // Nothing is begun: a commit is no success then.
    assert_eq!(bridge.database.commit().await.unwrap_err().class, DbErrorClass::Transient);
}
