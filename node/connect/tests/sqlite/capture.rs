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
