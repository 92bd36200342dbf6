//! What a bridge writes, and what becomes of it when the database refuses.

use super::{Shop, TOKEN, Till, cells, key, keys, shop};
use branchline_connect::sql::cell::Cell;
use branchline_connect::sql::database::{Database, DbErrorClass, Insert, Mark, Update};
use branchline_connect::sql::shape::Bound;

const STOCK: &str = "
    CREATE TABLE stock (sku VARCHAR(20) PRIMARY KEY, name VARCHAR(10) NOT NULL, price DECIMAL(8,2), qty INT UNSIGNED NOT NULL DEFAULT 7,
      code VARCHAR(10) UNIQUE, kind ENUM('food','tool'), at DATETIME, CONSTRAINT cheap CHECK (price < 1000));
    CREATE TABLE log (id INT AUTO_INCREMENT PRIMARY KEY, what VARCHAR(50));
    CREATE TRIGGER logs AFTER UPDATE ON stock FOR EACH ROW INSERT INTO log (what) VALUES (NEW.sku);
    INSERT INTO stock (sku, name, qty, code) VALUES ('tea', 'Tea', 5, 'T'), ('mug', 'Mug', 3, 'M');";

fn row(sku: &str, values: &[Option<&str>]) -> Insert {
    let mut row = vec![Some(Cell::text(sku))];
    row.extend(values.iter().map(|value| value.map(|value| cells(&[value]).remove(0))));
    row.resize(7, None);
    Insert { key: key(&[sku]), row }
}

fn update(sku: &str, set: &[(usize, &str)], add: &[(usize, i64)]) -> Update {
    let set = set.iter().map(|(column, value)| (*column, cells(&[value]).remove(0))).collect();
    Update { key: key(&[sku]), set, add: add.to_vec() }
}

async fn stocked() -> Option<(Shop, Till, Bound, Bound)> {
    let mut shop = shop(STOCK).await?;
    let stock = shop.bound("stock", 1).await;
    let log = shop.bound("log", 2).await;
    shop.install(&[stock.clone(), log.clone()]).await;
    let till = shop.till().await;
    Some((shop, till, stock, log))
}

#[tokio::test]
async fn own_writes_are_not_noted_and_side_effects_on_other_tables_are() {
    let Some((mut shop, mut till, stock, _)) = stocked().await else { return };
    let generation = shop.generation().await;
    assert!(!shop.driver.begin_write("another", generation, None).await.unwrap());
    assert!(!shop.driver.begin_write(TOKEN, generation + 1, None).await.unwrap());
    assert!(shop.driver.begin_write(TOKEN, generation, Some(41)).await.unwrap());
    shop.driver.guard(Some(&stock)).await.unwrap();
    let locked = shop.driver.lock(&stock, &keys(&["tea", "mug", "pan"])).await.unwrap();
    assert_eq!(locked.len(), 2);
    let rows = [
        row("pan", &[Some("Pan 😀"), Some("9.90")]),
        row("pot", &[Some("Pot"), Some("NULL"), Some("4"), Some("P"), Some("tool")]),
    ];
    assert_eq!(shop.driver.insert(&stock, &rows).await.unwrap(), []);
    let updates = [
        update("tea", &[(2, "1.50")], &[(3, -2)]),
        update("mug", &[], &[(3, 4)]),
        update("no", &[(1, "x")], &[]),
    ];
    shop.driver.update(&stock, &updates).await.unwrap();
    shop.driver.delete(&stock, &keys(&["pot", "absent"])).await.unwrap();
    let back = shop.driver.rows(&stock, &keys(&["pan", "tea"])).await.unwrap();
    assert_eq!(back[0].row[..4], cells(&["pan", "Pan 😀", "9.90", "7"]));
    assert_eq!(back[1].row[..4], cells(&["tea", "Tea", "1.50", "3"]));
    shop.driver.check().await.unwrap();
    shop.driver.commit().await.unwrap();
    assert_eq!(
        till.texts("SELECT sku, qty FROM stock ORDER BY sku").await,
        ["mug|7", "pan|7", "tea|3"]
    );
    assert_eq!(shop.noted().await, ["2 I 1", "2 I 2"]);
    let context = shop.driver.context().await.unwrap().unwrap();
    assert_eq!((context.applied, context.generation), (41, generation + 2));

    // The guard is gone after a commit, a rollback, and an error, on the same connection too.
    let sell = "UPDATE stock SET qty = qty - 1 WHERE sku = 'tea'";
    shop.driver.execute(sell).await.unwrap();
    assert_eq!(shop.noted().await, ["2 I 3", "1 U tea"]);
    shop.begin().await;
    shop.driver.guard(Some(&stock)).await.unwrap();
    shop.driver.roll_back().await;
    shop.driver.execute(sell).await.unwrap();
    assert_eq!(shop.noted().await.len(), 2);
    shop.begin().await;
    shop.driver.guard(Some(&stock)).await.unwrap();
    let error = shop.driver.execute("SELECT nothing FROM stock").await.unwrap_err();
    assert_eq!(error.class, DbErrorClass::Schema);
    shop.driver.execute(sell).await.unwrap();
    assert_eq!(shop.noted().await.len(), 2);

    // Keys noted by the bridge itself.
    shop.begin().await;
    shop.driver.note(&stock, &keys(&["tea", "a\"b"])).await.unwrap();
    shop.driver.commit().await.unwrap();
    assert_eq!(shop.noted().await, ["1 L tea", "1 L a\"b"]);
}

#[tokio::test]
async fn an_insert_meets_no_other_row() {
    let Some((mut shop, mut till, stock, _)) = stocked().await else { return };
    shop.begin().await;
    shop.driver.guard(Some(&stock)).await.unwrap();
    // Rows that are there are reported and left; the others are written.
    let rows =
        [row("tea", &[Some("x")]), row("pan", &[Some("Pan")]), row("mug", &[Some("x"), Some("1")])];
    let mut there = shop.driver.insert(&stock, &rows).await.unwrap();
    there.sort();
    assert_eq!(there, keys(&["mug", "tea"]));
    // A key that the collation calls the same is another row's: nobody's value is written there.
    for sku in ["TEA", "tea ", "téa"] {
        shop.driver.savepoint().await.unwrap();
        let error = shop.driver.insert(&stock, &[row(sku, &[Some("x")])]).await.unwrap_err();
        assert_eq!(
            (error.class, error.constraint.as_deref()),
            (DbErrorClass::Row, Some("PRIMARY"))
        );
        shop.driver.undo().await.unwrap();
        assert!(shop.driver.rows(&stock, &keys(&[sku])).await.unwrap().is_empty());
        shop.driver.update(&stock, &[update(sku, &[(1, "x")], &[])]).await.unwrap();
        shop.driver.delete(&stock, &keys(&[sku])).await.unwrap();
    }
    // Another unique index: the row is refused, by name, and the other row stays.
    let taken = [row("new", &[Some("New"), None, None, Some("T")])];
    let error = shop.driver.insert(&stock, &taken).await.unwrap_err();
    assert_eq!((error.class, error.constraint.as_deref()), (DbErrorClass::Row, Some("code")));
    shop.driver.commit().await.unwrap();
    let rows = till.texts("SELECT sku, name, IFNULL(code, '') FROM stock ORDER BY sku").await;
    assert_eq!(rows, ["mug|Mug|M", "pan|Pan|", "tea|Tea|T"]);
}

#[tokio::test]
async fn errors_are_told_apart_by_what_to_do_about_them() {
    let Some((mut shop, mut till, stock, log)) = stocked().await else { return };
    till.run(
        "CREATE TABLE part (id INT PRIMARY KEY, sku VARCHAR(20), CONSTRAINT part_sku FOREIGN KEY (sku) REFERENCES stock (sku));
         INSERT INTO part VALUES (1, 'mug'); ALTER TABLE stock ADD COLUMN old VARCHAR(5) CHARACTER SET utf8mb3;
         CREATE TRIGGER refuses BEFORE INSERT ON stock FOR EACH ROW IF NEW.sku = 'bad' THEN SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'no'; END IF",
    )
    .await;
    let stock_now = shop.bound("stock", 1).await;
    let part = shop.bound("part", 3).await;
    shop.begin().await;
    shop.driver.guard(Some(&stock)).await.unwrap();
    let insert = |columns: &[(usize, &str)]| {
        let mut row = vec![None; 8];
        row[0] = Some(Cell::text("x"));
        row[1] = Some(Cell::text("X"));
        for (column, value) in columns {
            row[*column] = Some(cells(&[value]).remove(0));
        }
        Insert { key: key(&["x"]), row }
    };
    let refused = [
        (insert(&[(1, "NULL")]), "1048", Some("name"), None),
        (insert(&[(1, "longer than ten")]), "1406", Some("name"), None),
        (insert(&[(2, "1234567.00")]), "1264", Some("price"), None),
        (insert(&[(2, "a")]), "1366", Some("price"), None),
        (insert(&[(2, "1000.00")]), "4025", None, Some("cheap")),
        (insert(&[(3, "-1")]), "1264", Some("qty"), None),
        (insert(&[(4, "T")]), "1062", None, Some("code")),
        (insert(&[(5, "toy")]), "1265", Some("kind"), None),
        (insert(&[(5, "2")]), "", Some("kind"), None),
        (insert(&[(6, "2024-02-30 00:00:00")]), "1292", Some("at"), None),
        (insert(&[(6, "0000-00-00 00:00:00")]), "1292", Some("at"), None),
        (insert(&[(7, "😀")]), "1366", Some("old"), None),
        (insert(&[(0, "bad")]), "1644", None, None),
    ];
    for (insert, code, column, constraint) in refused {
        shop.driver.savepoint().await.unwrap();
        let error = shop.driver.insert(&stock_now, &[insert]).await.unwrap_err();
        let said = (error.class, error.code.as_str(), error.column.as_deref());
        assert_eq!(said, (DbErrorClass::Row, code, column), "{error}");
        assert_eq!(error.constraint.as_deref(), constraint, "{error}");
        shop.driver.undo().await.unwrap();
    }
    shop.driver.savepoint().await.unwrap();
    let parts =
        Insert { key: key(&["2"]), row: cells(&["2", "none"]).into_iter().map(Some).collect() };
    let error = shop.driver.insert(&part, &[parts]).await.unwrap_err();
    assert_eq!(
        (error.class, error.code.as_str(), error.constraint.as_deref()),
        (DbErrorClass::Row, "1452", Some("part_sku"))
    );
    shop.driver.undo().await.unwrap();
    let error = shop.driver.delete(&stock, &keys(&["mug"])).await.unwrap_err();
    assert_eq!(
        (error.class, error.code.as_str(), error.constraint.as_deref()),
        (DbErrorClass::Row, "1451", Some("part_sku"))
    );
    shop.driver.undo().await.unwrap();
    let error = shop.driver.update(&stock, &[update("mug", &[], &[(3, -9)])]).await.unwrap_err();
    assert_eq!((error.class, error.code.as_str()), (DbErrorClass::Row, "1690"));
    shop.driver.undo().await.unwrap();
    // What was before the mark is still to be committed.
    shop.driver.update(&stock, &[update("mug", &[(1, "Cup")], &[])]).await.unwrap();

    // A lock that another holds: nothing is set aside, all is rolled back, and the connection goes on.
    till.run("START TRANSACTION; UPDATE stock SET qty = 1 WHERE sku = 'tea'").await;
    let error = shop.driver.update(&stock, &[update("tea", &[(1, "Te")], &[])]).await.unwrap_err();
    assert_eq!((error.class, error.code.as_str()), (DbErrorClass::Transient, "1205"));
    assert_eq!(shop.driver.undo().await.unwrap_err().class, DbErrorClass::Transient);
    assert_eq!(
        shop.driver.delete(&log, &keys(&["1"])).await.unwrap_err().class,
        DbErrorClass::Transient
    );
    assert_eq!(shop.driver.commit().await.unwrap_err().class, DbErrorClass::Transient);
    till.run("ROLLBACK").await;
    assert_eq!(till.text("SELECT name FROM stock WHERE sku = 'mug'").await, "Mug");
    shop.begin().await;
    shop.driver.roll_back().await;
}

#[tokio::test]
async fn a_deadlock_ends_the_whole_write_and_none_goes_through_behind_it() {
    let Some((mut shop, mut till, stock, _)) = stocked().await else { return };
    shop.begin().await;
    shop.driver.guard(Some(&stock)).await.unwrap();
    shop.driver.savepoint().await.unwrap();
    shop.driver.update(&stock, &[update("tea", &[(1, "ours")], &[])]).await.unwrap();
    // The other has written more, so the server gives up ours.
    till.run("SET innodb_lock_wait_timeout = 20; START TRANSACTION; INSERT INTO log (what) SELECT 'x' FROM seq_1_to_50; UPDATE stock SET qty = 9 WHERE sku = 'mug'").await;
    let id = till.text("SELECT CONNECTION_ID()").await;
    let waiting = tokio::spawn(async move {
        till.run("UPDATE stock SET qty = 9 WHERE sku = 'tea'").await;
        till.run("COMMIT").await;
        till
    });
    let mut watch = shop.till().await;
    let waits = format!(
        "SELECT COUNT(*) FROM information_schema.innodb_trx WHERE trx_state = 'LOCK WAIT' AND trx_mysql_thread_id = {id}"
    );
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(15);
    while watch.text(&waits).await == "0" {
        assert!(std::time::Instant::now() < deadline, "the application does not wait");
        // What InnoDB shows is rebuilt once nobody has asked for 100 ms.
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    }
    let error =
        shop.driver.update(&stock, &[update("mug", &[(1, "ours")], &[])]).await.unwrap_err();
    assert_eq!((error.class, error.code.as_str()), (DbErrorClass::Transient, "1213"));
    assert_eq!(shop.driver.undo().await.unwrap_err().class, DbErrorClass::Transient);
    let late = shop.driver.update(&stock, &[update("tea", &[(1, "late")], &[])]).await;
    assert_eq!(late.unwrap_err().class, DbErrorClass::Transient);
    let mut till = waiting.await.unwrap();
    assert_eq!(till.text("SELECT name, qty FROM stock WHERE sku = 'tea'").await, "Tea|9");
}

#[tokio::test]
async fn a_write_back_changes_no_other_column() {
    let tables = "CREATE TABLE sales (id INT PRIMARY KEY, qty INT, sent_at DATETIME(3) NULL, is_acked BOOLEAN NOT NULL DEFAULT 0,
        updated_at DATETIME(3) NOT NULL DEFAULT CURRENT_TIMESTAMP(3) ON UPDATE CURRENT_TIMESTAMP(3));
        INSERT INTO sales VALUES (1, 1, NULL, 0, '2020-01-01'), (2, 1, '2020-01-01', 1, '2020-01-01'), (3, 1, NULL, 0, '2020-01-01');";
    let Some(mut shop) = shop(tables).await else { return };
    let mut sales = shop.bound("sales", 1).await;
    shop.install(std::slice::from_ref(&sales)).await;
    let mut till = shop.till().await;
    shop.begin().await;
    shop.driver.guard(Some(&sales)).await.unwrap();
    let marks = [(1, true), (2, false)];
    let marks = marks.map(|(id, is_set)| Mark { key: key(&[&id.to_string()]), is_set });
    shop.driver.mark(&sales, "sent_at", &marks).await.unwrap();
    shop.driver.mark(&sales, "is_acked", &marks).await.unwrap();
    // A column that is mapped and that the record has not changed stays as well; one that is not mapped is the database's.
    shop.driver
        .update(
            &sales,
            &[Update { key: key(&["3"]), set: vec![(1, Cell::text("2"))], add: vec![] }],
        )
        .await
        .unwrap();
    shop.driver.commit().await.unwrap();
    let rows = till.texts("SELECT id, ABS(TIMESTAMPDIFF(SECOND, sent_at, UTC_TIMESTAMP())) < 100, is_acked, updated_at FROM sales").await;
    assert_eq!(
        rows,
        [
            "1|1|1|2020-01-01 00:00:00.000",
            "2|NULL|0|2020-01-01 00:00:00.000",
            "3|NULL|0|2020-01-01 00:00:00.000"
        ]
    );
    assert_eq!(shop.noted().await, [""; 0]);
    sales.columns.pop();
    shop.begin().await;
    shop.driver
        .update(&sales, &[Update { key: key(&["3"]), set: vec![], add: vec![(1, 1)] }])
        .await
        .unwrap();
    shop.driver.commit().await.unwrap();
    assert_eq!(till.text("SELECT updated_at > '2020-01-02' FROM sales WHERE id = 3").await, "1");
}

#[tokio::test]
async fn the_application_inserts_while_a_bridge_reads_and_writes() {
    let tables = "CREATE TABLE sales (id INT PRIMARY KEY, total INT, KEY (total));
        INSERT INTO sales VALUES (10, 1), (20, 2), (30, 3);";
    let Some(mut shop) = shop(tables).await else { return };
    let sales = shop.bound("sales", 1).await;
    shop.install(std::slice::from_ref(&sales)).await;
    let mut till = shop.till().await;
    till.run("INSERT INTO sales VALUES (40, 4)").await;
    shop.driver.begin_read(std::slice::from_ref(&sales)).await.unwrap();
    let notes = shop.driver.notes(10).await.unwrap();
    till.run("INSERT INTO sales VALUES (50, 5)").await;
    assert_eq!(shop.driver.page(&sales, None, 9).await.unwrap().len(), 4);
    shop.driver.end_read().await.unwrap();
    shop.begin().await;
    shop.driver.guard(Some(&sales)).await.unwrap();
    shop.driver.delete_notes(&notes).await.unwrap();
    shop.driver.lock(&sales, &keys(&["15", "30", "99"])).await.unwrap();
    shop.driver.delete(&sales, &keys(&["10", "17", "98"])).await.unwrap();
    till.run("INSERT INTO sales VALUES (11, 1), (15, 1), (16, 2), (17, 3), (31, 3), (98, 1), (99, 9), (100, 9)").await;
    let there = shop
        .driver
        .insert(
            &sales,
            &[Insert {
                key: key(&["15"]),
                row: cells(&["15", "0"]).into_iter().map(Some).collect(),
            }],
        )
        .await;
    assert_eq!(there.unwrap(), keys(&["15"]));
    shop.driver.commit().await.unwrap();
}
