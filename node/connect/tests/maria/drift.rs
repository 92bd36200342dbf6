//! Tables that change, triggers that vanish, databases that are copied.

use super::{TOKEN, cells, keys, shop};
use branchline_connect::sql::database::{Database, DbErrorClass};
use std::time::Duration;

const SALES: &str = "CREATE TABLE sales (id INT PRIMARY KEY, total INT);";

#[tokio::test]
async fn missing_and_changed_triggers_are_seen_and_made_again() {
    let Some(mut shop) = shop(SALES).await else { return };
    let sales = [shop.bound("sales", 1).await];
    assert_eq!(shop.driver.blind(&sales).await.unwrap().len(), 4);
    assert!(shop.driver.context().await.unwrap().is_none());
    shop.install(&sales).await;
    let epoch = shop.driver.context().await.unwrap().unwrap().epoch;
    let mut till = shop.till().await;
    let mut stamp = shop.driver.stamp(&sales).await.unwrap();
    assert_eq!(shop.driver.stamp(&sales).await.unwrap(), stamp);
    let blinding = [
        ("DROP TRIGGER branchline_1_u", "trigger branchline_1_u on sales is missing"),
        (
            "CREATE OR REPLACE TRIGGER branchline_1_d AFTER DELETE ON sales FOR EACH ROW SET @x = 1",
            "trigger branchline_1_d on sales was changed",
        ),
        // A table is rebuilt beside the old one and put in its place: gh-ost and migrations do it.
        (
            "CREATE TABLE new LIKE sales; INSERT INTO new SELECT * FROM sales; RENAME TABLE sales TO old, new TO sales",
            "trigger branchline_1_i is on table old, expected on sales: the table was put in another's place",
        ),
        ("DROP TABLE branchline_outbox", "table branchline_outbox is missing"),
    ];
    for (sql, what) in blinding {
        till.run(sql).await;
        // The application goes on in every case.
        till.run("INSERT INTO sales VALUES (1, 1); DELETE FROM sales").await;
        let blind = shop.driver.blind(&sales).await.unwrap();
        assert!(blind.iter().any(|blind| blind.what == what && blind.table == 1), "{blind:?}");
        let now = shop.driver.stamp(&sales).await.unwrap();
        assert_ne!(now, stamp, "{sql}");
        shop.driver.install(&sales).await.unwrap();
        assert_eq!(shop.driver.blind(&sales).await.unwrap(), []);
        stamp = shop.driver.stamp(&sales).await.unwrap();
        shop.drain().await;
        till.run("INSERT INTO sales VALUES (1, 1); UPDATE sales SET total = 2; DELETE FROM sales")
            .await;
        assert_eq!(shop.noted().await, ["1 I 1", "1 U 1", "1 D 1"]);
    }
    // An ALTER keeps the triggers.
    till.run("ALTER TABLE sales ADD COLUMN note TEXT").await;
    assert_eq!(shop.driver.blind(&sales).await.unwrap(), []);
    assert_ne!(shop.driver.stamp(&sales).await.unwrap(), stamp);
    // The epoch is of the first install.
    assert_eq!(shop.driver.context().await.unwrap().unwrap().epoch, epoch);

    shop.driver.remove_table(&sales[0]).await.unwrap();
    assert_eq!(shop.driver.blind(&sales).await.unwrap().len(), 3);
    shop.driver.install(&sales).await.unwrap();
    shop.driver.remove(&sales).await.unwrap();
    shop.driver.remove(&sales).await.unwrap();
    assert_eq!(till.text("SHOW TABLES LIKE 'branchline%'").await, "");
    assert_eq!(till.text("SHOW TRIGGERS").await, "");
    // The statements that plan prints do the same.
    for sql in shop.driver.install_sql(&sales) {
        till.run(&sql).await;
    }
    assert_eq!(shop.driver.blind(&sales).await.unwrap(), []);
    for sql in shop.driver.remove_sql(&sales) {
        till.run(&sql).await;
    }
    assert_eq!(till.text("SHOW TRIGGERS").await, "");
}

#[tokio::test]
async fn the_till_goes_on_selling_while_its_table_is_altered() {
    let Some(mut shop) = shop(SALES).await else { return };
    let sales = shop.bound("sales", 1).await;
    shop.install(std::slice::from_ref(&sales)).await;
    let mut till = shop.till().await;
    till.run("INSERT INTO sales VALUES (1, 1)").await;
    assert_eq!(shop.rows(&sales, &keys(&["1"])).await[0].row, cells(&["1", "1"]));
    for (sql, row) in [
        ("ALTER TABLE sales ADD COLUMN first TEXT FIRST", Some(["1", "1"])),
        ("ALTER TABLE sales MODIFY total DECIMAL(9,2)", Some(["1", "1.00"])),
        ("ALTER TABLE sales RENAME COLUMN total TO sum", None),
        ("ALTER TABLE sales CHANGE sum total BLOB", Some(["1", "1.00"])),
        ("ALTER TABLE sales DROP COLUMN total", None),
        ("ALTER TABLE sales ADD COLUMN total INT DEFAULT 3", Some(["1", "3"])),
    ] {
        till.run(sql).await;
        shop.driver.begin_read(std::slice::from_ref(&sales)).await.unwrap();
        let read = shop.driver.rows(&sales, &keys(&["1"])).await;
        match row {
            Some(row) => assert_eq!(read.unwrap()[0].row, cells(&row), "{sql}"),
            None => assert_eq!(read.unwrap_err().class, DbErrorClass::Schema, "{sql}"),
        }
        shop.driver.roll_back().await;
        till.run("UPDATE sales SET id = 1").await;
    }
    shop.drain().await;
    // Even where the key's column is not what it was: the whole table has to be looked at.
    till.run("ALTER TABLE sales RENAME COLUMN id TO number").await;
    till.run("INSERT INTO sales (number) VALUES (2)").await;
    assert_eq!(shop.noted().await, ["1 T "]);
    till.run("RENAME TABLE sales TO sold; INSERT INTO sold (number) VALUES (3)").await;
    assert_eq!(
        shop.driver.begin_read(std::slice::from_ref(&sales)).await.unwrap_err().class,
        DbErrorClass::Schema
    );
    assert!(shop.driver.shape("sales").await.unwrap().is_none());
}

#[tokio::test]
async fn a_snapshot_is_not_altered_or_truncated_beneath() {
    let Some(mut shop) = shop(SALES).await else { return };
    let sales = shop.bound("sales", 1).await;
    shop.install(std::slice::from_ref(&sales)).await;
    let mut till = shop.till().await;
    till.run("INSERT INTO sales VALUES (1, 1)").await;
    shop.driver.begin_read(std::slice::from_ref(&sales)).await.unwrap();
    till.run("INSERT INTO sales VALUES (2, 1); UPDATE sales SET total = 9").await;
    assert_eq!(till.attempt("TRUNCATE sales").await, Err(1205));
    assert_eq!(till.attempt("ALTER TABLE sales ADD COLUMN x INT").await, Err(1205));
    let notes = shop.driver.notes(10).await.unwrap();
    assert_eq!(notes.len(), 1);
    let rows = shop.driver.rows(&sales, &keys(&["1", "2"])).await.unwrap();
    assert_eq!(rows.len(), 1);
    assert_eq!(rows[0].row, cells(&["1", "1"]));
    shop.driver.end_read().await.unwrap();
    // TRUNCATE fires no trigger, and is seen all the same, once.
    let tables = std::slice::from_ref(&sales);
    assert_eq!(shop.driver.blind(tables).await.unwrap(), []);
    let stamp = shop.driver.stamp(tables).await.unwrap();
    till.run("TRUNCATE sales").await;
    assert_ne!(shop.driver.stamp(tables).await.unwrap(), stamp);
    let blind = shop.driver.blind(tables).await.unwrap();
    assert_eq!(blind[0].what, "table sales was truncated or rebuilt, and nothing noted it");
    shop.driver.install(tables).await.unwrap();
    assert_eq!(shop.driver.blind(tables).await.unwrap(), []);
    assert!(shop.rows(&sales, &keys(&["1"])).await.is_empty());
    // A table that somebody is altering is waited for, 2 s at most.
    till.run("LOCK TABLES sales WRITE").await;
    let error = shop.driver.begin_read(std::slice::from_ref(&sales)).await.unwrap_err();
    assert_eq!((error.class, error.code.as_str()), (DbErrorClass::Transient, "1205"));
    till.run("UNLOCK TABLES").await;
    // While a table is being made or altered the catalogue does not say that it is not there.
    let mut slow = shop.till().await;
    let making =
        tokio::spawn(async move { slow.run("CREATE TABLE made AS SELECT SLEEP(4) AS s").await });
    let mut is_seen = false;
    loop {
        match shop.driver.shape("made").await {
            Ok(None) => assert!(!is_seen, "the table is not gone"),
            Ok(Some(made)) => {
                assert_eq!((made.refusals.len(), made.columns.len()), (0, 1));
                break;
            }
            Err(error) => {
                assert_eq!(error.class, DbErrorClass::Transient);
                is_seen = true;
            }
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    making.await.unwrap();
    assert!(shop.driver.shape("made").await.unwrap().is_some());
    shop.driver.begin_read(std::slice::from_ref(&sales)).await.unwrap();
    shop.driver.end_read().await.unwrap();
}

#[tokio::test]
async fn an_emptied_partition_and_a_rebuilt_table_are_seen() {
    let sql = "CREATE TABLE `my sales-1` (id INT PRIMARY KEY) PARTITION BY HASH (id) PARTITIONS 2; INSERT INTO `my sales-1` VALUES (1), (2);";
    let Some(mut shop) = shop(sql).await else { return };
    let sales = [shop.bound("my sales-1", 7).await];
    shop.install(&sales).await;
    let mut till = shop.till().await;
    let quiet =
        ["ALTER TABLE `my sales-1` ADD COLUMN x INT", "INSERT INTO `my sales-1` (id) VALUES (3)"];
    let loud = [
        "ALTER TABLE `my sales-1` TRUNCATE PARTITION p1",
        "ALTER TABLE `my sales-1` MODIFY x BIGINT",
    ];
    for sql in quiet {
        till.run(sql).await;
        assert_eq!(shop.driver.blind(&sales).await.unwrap(), [], "{sql}");
    }
    for sql in loud {
        till.run(sql).await;
        assert_eq!(shop.driver.blind(&sales).await.unwrap().len(), 1, "{sql}");
        shop.driver.install(&sales).await.unwrap();
        assert_eq!(shop.driver.blind(&sales).await.unwrap(), []);
    }
}

#[tokio::test]
async fn one_site_holds_the_lease_and_a_copied_database_is_told_from_its_original() {
    let Some(mut shop) = shop(SALES).await else { return };
    let sales = [shop.bound("sales", 1).await];
    shop.install(&sales).await;
    let (second, hour) = (Duration::from_secs(1), Duration::from_secs(3600));
    assert!(!shop.driver.take_lease("south", "other", hour, false).await.unwrap());
    assert!(shop.driver.take_lease("north", TOKEN, hour, false).await.unwrap());
    let lease = shop.driver.context().await.unwrap().unwrap().lease.unwrap();
    assert_eq!(
        (lease.site.as_str(), lease.token.as_str(), lease.is_expired),
        ("north", TOKEN, false)
    );
    assert!(shop.driver.take_lease("south", "other", Duration::ZERO, true).await.unwrap());
    assert!(shop.driver.context().await.unwrap().unwrap().lease.unwrap().is_expired);
    assert!(shop.driver.take_lease("north", TOKEN, hour, false).await.unwrap());

    // A commit that is still under way is waited for.
    let generation = shop.generation().await;
    assert!(shop.driver.begin_write(TOKEN, generation, Some(5)).await.unwrap());
    let mut till = shop.till().await;
    shop.driver.commit().await.unwrap();
    assert_eq!(shop.driver.settled(second).await.unwrap(), 5);
    till.run("START TRANSACTION; UPDATE branchline_context SET applied = 6").await;
    assert_eq!(shop.driver.settled(second).await.unwrap_err().class, DbErrorClass::Transient);
    till.run("COMMIT").await;
    assert_eq!(shop.driver.settled(second).await.unwrap(), 6);

    let context = shop.driver.context().await.unwrap().unwrap();
    assert_eq!(context.server, context.server_now);
    let copy = shop.server.database(
        "",
        &format!(
            "CREATE TABLE branchline_context AS SELECT * FROM {}.branchline_context",
            shop.database
        ),
    );
    let url = shop.server.url("root", &copy);
    let mut copied = branchline_connect::sql::mariadb::MariaDb::connect(&url, None).await.unwrap();
    let context = copied.context().await.unwrap().unwrap();
    assert_ne!(context.server, context.server_now);
    copied.adopt("new", 70).await.unwrap();
    let context = copied.context().await.unwrap().unwrap();
    assert_eq!((context.epoch.as_str(), context.generation), ("new", 70));
    assert_eq!(context.server, context.server_now);
}
