//! The application changes its tables while the bridge works.

use branchline_connect::sql::database::{Database, DbErrorClass};

use crate::shop::{Shop, bound};

const GOODS: &str = "CREATE TABLE goods (id INTEGER PRIMARY KEY, name TEXT, price TEXT); INSERT INTO goods VALUES (1, 'tea', '2')";

/// B34: never a panic, never the text "name" for a column that is gone, and the till goes on selling.
#[tokio::test]
async fn a_table_that_is_altered_meanwhile_is_an_error_and_the_till_sells_on() {
    let shop = Shop::wal(GOODS).await;
    let mut till = shop.till(false).await;
    let mut bridge = shop.bridge().await;
    let goods = bridge.bound(1, "goods").await;
    let tables = [goods.clone()];
    bridge.install(&tables).await;
    let before = bridge.rows(&goods, &["1"]).await;
    let stamp = bridge.database.stamp(&tables).await.unwrap();

    till.run("ALTER TABLE goods ADD COLUMN colour TEXT DEFAULT 'red'").await;
    assert_eq!(bridge.rows(&goods, &["1"]).await, before, "a new column is no matter");
    assert_ne!(bridge.database.stamp(&tables).await.unwrap(), stamp);
    till.run("ALTER TABLE goods DROP COLUMN name; UPDATE goods SET price = '3'").await;
    bridge.database.begin_read(&tables).await.unwrap();
    let error = bridge.database.rows(&goods, &["1"].map(crate::shop::key)).await.unwrap_err();
    assert_eq!(error.class, DbErrorClass::Schema, "{error}");
    bridge.database.roll_back().await;
    till.run(
        "ALTER TABLE goods RENAME COLUMN id TO number; INSERT INTO goods (price) VALUES ('4')",
    )
    .await;
    assert_eq!(
        bridge.drain(&tables).await,
        ["1 U 1", "1 I 2"],
        "SQLite renames it in the triggers too"
    );
    assert_eq!(bridge.database.blind(&tables).await.unwrap().len(), 1, "which the bridge sees");

    till.run("ALTER TABLE goods RENAME TO wares").await;
    bridge.database.begin_read(&tables).await.unwrap();
    let error = bridge.database.page(&goods, None, 10).await.unwrap_err();
    assert_eq!(error.class, DbErrorClass::Schema, "{error}");
    bridge.database.roll_back().await;
    let shape = bridge.database.shape("wares").await.unwrap().unwrap();
    let wares = bound(1, &shape, &["number"]);
    bridge.database.install(std::slice::from_ref(&wares)).await.unwrap();
    assert_eq!(bridge.database.blind(&[wares]).await.unwrap(), []);
    assert_eq!(bridge.database.shape("goods").await.unwrap(), None);
}

/// B8: the way by which Django, Alembic and Prisma change a table drops its triggers without a word.
#[tokio::test]
async fn a_table_that_is_rebuilt_is_blind_until_it_is_installed_again() {
    let shop = Shop::wal(GOODS).await;
    let mut till = shop.till(false).await;
    let mut bridge = shop.bridge().await;
    let tables = [bridge.bound(1, "goods").await];
    bridge.install(&tables).await;
    let epoch = bridge.database.context().await.unwrap().unwrap().epoch;
    let stamp = bridge.database.stamp(&tables).await.unwrap();
    till.run(
        "BEGIN; CREATE TABLE new (id INTEGER PRIMARY KEY, name TEXT NOT NULL, price TEXT); \
         INSERT INTO new SELECT * FROM goods; DROP TABLE goods; ALTER TABLE new RENAME TO goods; COMMIT; \
         INSERT INTO goods VALUES (2, 'unseen', '1')",
    )
    .await;
    assert_ne!(bridge.database.stamp(&tables).await.unwrap(), stamp);
    let blind = bridge.database.blind(&tables).await.unwrap();
    assert_eq!((blind.len(), blind[0].table), (1, 1));
    assert!(blind[0].what.contains("missing"), "{blind:?}");
    bridge.drain(&tables).await;
    bridge.database.install(&tables).await.unwrap();
    assert_eq!(bridge.database.blind(&tables).await.unwrap(), []);
    assert_eq!(
        bridge.database.context().await.unwrap().unwrap().epoch,
        epoch,
        "what is right stays"
    );
    till.run("INSERT INTO goods VALUES (3, 'seen', '1')").await;
    assert_eq!(bridge.drain(&tables).await, ["1 I 3"]);
    till.run("DROP TRIGGER branchline_1_u").await;
    assert_eq!(
        bridge.database.blind(&tables).await.unwrap()[0].what,
        "trigger branchline_1_u is missing"
    );

    // Without the outbox the application cannot write: the triggers are there still.
    till.run("DROP TABLE branchline_outbox").await;
    till.try_run("DELETE FROM goods").await.unwrap_err();
    let blind = bridge.database.blind(&tables).await.unwrap();
    assert!(blind[0].what.contains("branchline_outbox"), "{blind:?}");
    bridge.database.install(&tables).await.unwrap();
    // SQLite looks for a trigger's table in the schema as the connection knows it, which a read brings up to date.
    till.value("SELECT count(*) FROM goods").await;
    till.run("DELETE FROM goods WHERE id = 3").await;
    assert_eq!(bridge.drain(&tables).await, ["1 D 3"]);
}

/// The driver's thread panics when a `SELECT *` meets another process's ALTER TABLE; ours does not ask so, and a dead
/// connection is an error like others.
#[tokio::test]
async fn migrations_while_rows_are_read_never_panic() {
    let shop = Shop::wal(GOODS).await;
    let mut till = shop.till(false).await;
    let mut bridge = shop.bridge().await;
    let goods = bridge.bound(1, "goods").await;
    for round in 0..40 {
        till.run(&format!("ALTER TABLE goods ADD COLUMN c{round} TEXT")).await;
        assert_eq!(bridge.database.page(&goods, None, 10).await.unwrap().len(), 1);
        if round % 2 == 1 {
            till.run(&format!("ALTER TABLE goods DROP COLUMN c{round}")).await;
        }
        assert_eq!(bridge.rows(&goods, &["1"]).await.len(), 1);
    }
}
