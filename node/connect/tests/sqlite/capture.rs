//! What an application does is noted and read.

use branchline_connect::sql::cell::{Cell, Key};
use branchline_connect::sql::database::{Database, Insert, Update};

use crate::shop::{Shop, key, text};

const GOODS: &str = "CREATE TABLE goods (id INTEGER PRIMARY KEY, name TEXT, price TEXT, \
    qty INTEGER NOT NULL DEFAULT 0, code TEXT UNIQUE)";

#[tokio::test]
async fn what_the_application_writes_is_noted_read_and_applied_back_without_notes() {
    let shop = Shop::wal(GOODS).await;
    let mut till = shop.till(false).await;
    let mut bridge = shop.bridge().await;
    assert_eq!(bridge.database.context().await.unwrap(), None);
    let goods = bridge.bound(1, "goods").await;
    let tables = [goods.clone()];
    bridge.install(&tables).await;
    bridge.install(&tables).await;
    let context = bridge.database.context().await.unwrap().unwrap();
    assert_eq!((context.generation, context.applied), (0, 0));
    assert_eq!(context.server, context.server_now);
    assert_eq!(bridge.database.blind(&tables).await.unwrap(), []);
    assert!(!bridge.database.has_notes().await.unwrap());

    till.run(
        "INSERT INTO goods (id, name, price, qty) VALUES (1, 'tea', '1.10', 5), (2, NULL, '2', 0)",
    )
    .await;
    assert!(bridge.database.has_notes().await.unwrap());
    assert!(bridge.database.has_notes().await.unwrap(), "the notes are still there");
    till.run("UPDATE goods SET id = 3 WHERE id = 2; DELETE FROM goods WHERE id = 1").await;
    assert_eq!(bridge.database.notes_waiting().await.unwrap(), 5);
    assert_eq!(bridge.drain(&tables).await, ["1 I 1", "1 I 2", "1 U 3", "1 D 2", "1 D 1"]);
    assert!(!bridge.database.has_notes().await.unwrap());

    let rows = bridge.rows(&goods, &["1", "2", "3"]).await;
    let [row] = &rows[..] else { panic!("{rows:?}") };
    assert_eq!(row.key, key("3"));
    assert_eq!(row.row, [Cell::Integer(3), Cell::Null, text("2"), Cell::Integer(0), Cell::Null]);

    bridge.begin(Some(7)).await;
    let insert = |id: i64, name: &str| Insert {
        key: Key(vec![id.to_string()]),
        row: vec![Some(Cell::Integer(id)), Some(text(name)), None, None, None],
    };
    let there = bridge.database.insert(&goods, &[insert(3, "x"), insert(4, "milk")]).await.unwrap();
    assert_eq!(there, [key("3")], "the row that is there is not touched");
    let update = Update { key: key("3"), set: vec![(1, text("coffee"))], add: vec![(3, -2)] };
    bridge.database.update(&goods, &[update]).await.unwrap();
    bridge.database.delete(&goods, &[key("1")]).await.unwrap();
    bridge.database.forget(&goods, &[key("3"), key("4"), key("1")]).await.unwrap();
    bridge.database.commit().await.unwrap();
    assert_eq!(
        till.value("SELECT group_concat(id || name || qty) FROM goods").await,
        "3coffee-2,4milk0"
    );
    assert!(!bridge.database.has_notes().await.unwrap());
    assert_eq!(bridge.database.context().await.unwrap().unwrap().applied, 7);

    bridge.database.remove(&tables).await.unwrap();
    assert_eq!(
        till.value("SELECT count(*) FROM sqlite_master WHERE name LIKE 'branchline%'").await,
        "0"
    );
    till.run("UPDATE goods SET qty = 1").await;
}

/// B6, B7: the application's OR REPLACE removes a row without a trigger, and its OR IGNORE reaches into triggers.
#[tokio::test]
async fn rows_that_replace_removes_are_looked_at_and_no_note_is_ignored() {
    let shop = Shop::wal(
        "CREATE TABLE goods (id INTEGER PRIMARY KEY, name TEXT, code TEXT UNIQUE, maker TEXT, part TEXT); \
         CREATE UNIQUE INDEX made ON goods (maker, part)",
    )
    .await;
    let mut till = shop.till(false).await;
    let mut bridge = shop.bridge().await;
    let tables = [bridge.bound(1, "goods").await];
    bridge.install(&tables).await;
    till.run("INSERT INTO goods VALUES (1, 'a', 'x', 'm', 'p'), (2, 'b', 'y', NULL, NULL)").await;
    bridge.drain(&tables).await;

    till.run("INSERT OR REPLACE INTO goods VALUES (4, 'c', 'x', NULL, NULL)").await;
    assert_eq!(
        bridge.drain(&tables).await,
        ["1 L 1", "1 I 4"],
        "row 1 is gone without a DELETE trigger"
    );
    till.run("UPDATE OR REPLACE goods SET code = 'x' WHERE id = 2").await;
    assert_eq!(bridge.drain(&tables).await, ["1 L 4", "1 U 2"]);
    till.run("UPDATE OR REPLACE goods SET id = 7 WHERE id = 2").await;
    assert_eq!(bridge.drain(&tables).await, ["1 U 7", "1 D 2"]);
    till.run("REPLACE INTO goods VALUES (8, 'd', NULL, 'm', 'p'); REPLACE INTO goods VALUES (9, 'e', NULL, 'm', 'p')").await;
    assert_eq!(bridge.drain(&tables).await, ["1 I 8", "1 L 8", "1 I 9"]);
    till.run("INSERT OR IGNORE INTO goods VALUES (10, 'f', 'z', 'q', 'r')").await;
    assert_eq!(bridge.drain(&tables).await, ["1 I 10"]);
    // Over a clash it is only a look.
    till.run("INSERT OR IGNORE INTO goods VALUES (11, 'g', 'z', 's', 't')").await;
    assert_eq!(bridge.drain(&tables).await, ["1 L 10"]);
}

/// B5, B10, B9, B13, B43: numbers are not given twice, `DELETE` without WHERE and cascades fire, keys of several columns,
/// rows without a number and without a key.
#[tokio::test]
async fn every_way_of_changing_a_row_is_noted_by_its_key() {
    let shop = Shop::wal(
        "CREATE TABLE orders (office TEXT, id INTEGER, note TEXT, PRIMARY KEY (office, id)) WITHOUT ROWID; \
         CREATE TABLE lines (id BLOB PRIMARY KEY, office TEXT, orders INTEGER, \
            FOREIGN KEY (office, orders) REFERENCES orders ON DELETE CASCADE ON UPDATE CASCADE); \
         CREATE TABLE names (name TEXT PRIMARY KEY, n INT) STRICT",
    )
    .await;
    let mut till = shop.till(false).await;
    till.run("PRAGMA foreign_keys = ON").await;
    let mut bridge = shop.bridge().await;
    let tables = [
        bridge.bound(1, "orders").await,
        bridge.bound(2, "lines").await,
        bridge.bound(3, "names").await,
    ];
    bridge.install(&tables).await;
    till.run(
        "INSERT INTO orders VALUES ('n\"1', 7, NULL); INSERT INTO lines VALUES (x'00FF', 'n\"1', 7); \
         INSERT INTO names VALUES ('a', 1)",
    )
    .await;
    assert_eq!(bridge.drain(&tables).await, ["1 I [\"n\\\"1\",\"7\"]", "2 I 00ff", "3 I a"]);
    let first =
        till.value("SELECT seq FROM sqlite_sequence WHERE name = 'branchline_outbox'").await;
    till.run("UPDATE orders SET id = 8").await;
    let notes = bridge.notes(&tables).await;
    assert!(notes[0].id > first, "a number is not given again after all notes are gone");
    assert_eq!(
        bridge.drain(&tables).await,
        ["2 U 00ff", "1 U [\"n\\\"1\",\"8\"]", "1 D [\"n\\\"1\",\"7\"]"]
    );
    till.run("DELETE FROM orders; DELETE FROM names").await;
    assert_eq!(bridge.drain(&tables).await, ["2 D 00ff", "1 D [\"n\\\"1\",\"8\"]", "3 D a"]);

    // A key that is no INTEGER PRIMARY KEY may be NULL, twice.
    till.run("CREATE TABLE loose (k TEXT PRIMARY KEY, v); INSERT INTO loose VALUES ('old', 1)")
        .await;
    let mut loose = bridge.bound(4, "loose").await;
    loose.filter = Some("v > 0 AND '{site}' = {site} -- and so on".to_owned());
    bridge.database.install(std::slice::from_ref(&loose)).await.unwrap();
    till.run("INSERT INTO loose VALUES (NULL, 2), (NULL, 3), ('new', 0)").await;
    let tables = [loose.clone()];
    assert_eq!(bridge.drain(&tables).await, ["4 I NULL", "4 I NULL", "4 I new"]);
    let page = bridge.database.page(&loose, None, 10).await.unwrap();
    let found: Vec<(&str, bool)> =
        page.iter().map(|read| (read.key.0[0].as_str(), read.is_captured)).collect();
    assert_eq!(found, [("new", false), ("old", true)]);
    // A filter may use any name of the table, which is read by keys too.
    loose.filter = Some(
        "loose.v > 0 AND length(k) = 3 AND EXISTS (SELECT 1 FROM names WHERE names.n > loose.v)"
            .to_owned(),
    );
    till.run("INSERT INTO names VALUES ('b', 7)").await;
    let rows = bridge.database.rows(&loose, &[key("new"), key("old")]).await.unwrap();
    assert_eq!(rows.iter().map(|read| read.is_captured).collect::<Vec<_>>(), [false, true]);
    till.run("CREATE TABLE j (key TEXT PRIMARY KEY, value INT NOT NULL, type TEXT, id INT); INSERT INTO j VALUES ('a', 1, 'x', 2)").await;
    let mut j = bridge.bound(5, "j").await;
    j.filter = Some("type = 'x' AND value = 1 AND id = 2 AND key = 'a'".to_owned());
    assert!(bridge.rows(&j, &["a"]).await[0].is_captured);
    bridge.begin(None).await;
    let update = Update { key: key("a"), set: vec![(3, Cell::Integer(9))], add: vec![(1, 2)] };
    bridge.database.update(&j, &[update]).await.unwrap();
    bridge.database.commit().await.unwrap();
    assert_eq!(till.value("SELECT value || id FROM j").await, "39");
    bridge.database.remove_table(&loose).await.unwrap();
    till.run("DELETE FROM loose").await;
    assert!(bridge.notes(&tables).await.iter().all(|note| note.table != 4));
}

/// B36, B11: the application's last_insert_rowid() and changes() stay its own, and what it rolls back is not noted.
#[tokio::test]
async fn the_application_sees_nothing_of_the_notes() {
    let shop = Shop::wal(GOODS).await;
    let mut till = shop.till(false).await;
    let mut bridge = shop.bridge().await;
    let tables = [bridge.bound(1, "goods").await];
    bridge.install(&tables).await;
    for _ in 0..3 {
        till.run("INSERT INTO goods (name) VALUES ('a'); DELETE FROM goods").await;
    }
    till.run("INSERT INTO goods (id, name) VALUES (77, 'b')").await;
    assert_eq!(till.value("SELECT last_insert_rowid()").await, "77");
    assert_eq!(till.value("SELECT changes()").await, "1");
    bridge.drain(&tables).await;
    till.run("BEGIN; UPDATE goods SET qty = 1; SAVEPOINT s; UPDATE goods SET qty = 2; ROLLBACK TO s; COMMIT").await;
    till.run("BEGIN; DELETE FROM goods; ROLLBACK").await;
    assert_eq!(bridge.drain(&tables).await, ["1 U 77"]);
    // What is attached elsewhere is written through the same triggers.
    let mut other = Shop::wal("CREATE TABLE x (y)").await.till(false).await;
    other
        .run(&format!(
            "ATTACH '{}' AS shop; INSERT INTO shop.goods (id) VALUES (78)",
            shop.path.display()
        ))
        .await;
    assert_eq!(bridge.drain(&tables).await, ["1 I 78"]);
}

/// Every page is as long as asked for, in the key's order, whatever the key is.
#[tokio::test]
async fn pages_go_through_a_table_in_the_order_of_its_key() {
    let shop = Shop::wal(
        "CREATE TABLE n (id INTEGER PRIMARY KEY); CREATE TABLE b (id BLOB PRIMARY KEY); \
         CREATE TABLE m (office TEXT NOT NULL, id INT NOT NULL, PRIMARY KEY (office, id))",
    )
    .await;
    let mut till = shop.till(false).await;
    till.run("WITH RECURSIVE c(x) AS (SELECT -5 UNION ALL SELECT x + 1 FROM c WHERE x < 20) INSERT INTO n SELECT x FROM c").await;
    till.run("INSERT INTO b SELECT CAST(x'00' || char(id + 65) AS BLOB) FROM n; INSERT INTO m SELECT 'o' || (id % 2), id FROM n").await;
    let mut bridge = shop.bridge().await;
    for (number, table) in [(1, "n"), (2, "b"), (3, "m")] {
        let table = bridge.bound(number, table).await;
        let mut keys: Vec<Key> = Vec::new();
        loop {
            let page = bridge.database.page(&table, keys.last(), 7).await.unwrap();
            let is_last = page.len() < 7;
            keys.extend(page.into_iter().map(|read| read.key));
            if is_last {
                break;
            }
        }
        assert_eq!(keys.len(), 26, "{}", table.table);
        let rows = bridge.database.rows(&table, &keys).await.unwrap();
        let found: Vec<Key> = rows.into_iter().map(|read| read.key).collect();
        assert_eq!(found, keys, "{}", table.table);
    }
}
