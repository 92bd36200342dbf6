//! Databases that are slow, locked or away, and tables that are large.

use std::fs;
use std::time::Duration;

use branchline_connect::sql::worker::BridgeCommand;
use serde_json::json;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{Connection, Executor};

use super::office::{Office, wait_until};
use super::shop::{BOTH, STOCK, Shop};

async fn application(shop: &Shop) -> SqliteConnection {
    let options = SqliteConnectOptions::new().filename(&shop.file);
    SqliteConnection::connect_with(&options).await.unwrap()
}

/// B19, B40: longer than the bridge waits for a lock.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_the_till_holds_locked_for_long_costs_time_and_nothing_else() {
    let shop = Shop::usual().await;
    shop.becomes("tea", "qty", json!(10)).await;
    let mut till = application(&shop).await;
    till.execute("BEGIN IMMEDIATE").await.unwrap();
    till.execute("UPDATE stock SET qty = qty - 1 WHERE sku = 'tea'").await.unwrap();
    shop.merge("milk", json!({ "name": "Oat milk" })).await;
    shop.merge("jam", json!({ "sku": "jam", "qty": 1 })).await;
    tokio::time::sleep(Duration::from_secs(8)).await;
    till.execute("UPDATE stock SET qty = qty - 1 WHERE sku = 'tea'").await.unwrap();
    till.execute("COMMIT").await.unwrap();
    shop.becomes("tea", "qty", json!(8)).await;
    shop.has("SELECT name FROM stock WHERE sku = 'milk'", &["Oat milk"]).await;
    shop.has("SELECT qty FROM stock WHERE sku = 'jam'", &["1"]).await;
    assert!(shop.errors().await.is_empty());
    shop.runs().await;
    shop.is_at_rest().await;
}

/// B40: a till that waits for no lock at all, and reads before it writes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_till_that_holds_a_transaction_open_reads_what_it_read_and_is_not_overwritten() {
    let shop = Shop::usual().await;
    shop.becomes("tea", "qty", json!(10)).await;
    shop.is_at_rest().await;
    let mut till = application(&shop).await;
    till.execute("BEGIN").await.unwrap();
    till.execute("SELECT qty FROM stock").await.unwrap();
    shop.merge("tea", json!({ "qty": { "$inc": 5 } })).await;
    shop.sql("UPDATE stock SET qty = qty - 1 WHERE sku = 'milk'").await;
    shop.becomes("milk", "qty", json!(19)).await;
    till.execute("COMMIT").await.unwrap();
    shop.has("SELECT qty FROM stock WHERE sku = 'tea'", &["15"]).await;
    shop.is_at_rest().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_is_away_at_the_start_is_taken_up_when_it_comes() {
    let shop = Shop::usual().await;
    shop.becomes("tea", "qty", json!(10)).await;
    shop.is_at_rest().await;
    shop.bridges.stop().await;
    let away = shop.file.with_extension("away");
    fs::rename(&shop.file, &away).unwrap();
    shop.reload(&[BOTH]).await;
    wait_until("it tries again", || async { shop.report().state == "retrying" }).await;
    let why = shop.report().reason.unwrap();
    assert!(why.contains("shop.db"), "{why}");
    // No empty database is made in its place, and the node works.
    assert!(!shop.file.exists());
    shop.merge("tea", json!({ "name": "Green tea" })).await;
    fs::rename(&away, &shop.file).unwrap();
    shop.has("SELECT name FROM stock WHERE sku = 'tea'", &["Green tea"]).await;
    shop.runs().await;
    shop.is_at_rest().await;
}

/// B39: rows that change while the table is loaded.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_large_table_is_loaded_in_pages_while_the_till_goes_on() {
    const LARGE: &str = "
        CREATE TABLE stock (sku TEXT NOT NULL PRIMARY KEY, name TEXT, price TEXT, qty INTEGER NOT NULL);
        WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 20000)
        INSERT INTO stock SELECT printf('s%05d', i), 'Thing ' || i, '1.00', i FROM n;
    ";
    let office = Office::start("head").await;
    let file = office.sqlite("shop", LARGE).await;
    let bridges = office.bridges(&file, vec![toml::from_str(BOTH).unwrap()]).await;
    let shop = Shop { office, file, bridges };
    shop.ask(BridgeCommand::Install).await;
    let mut seen = Vec::new();
    for n in 0_i64.. {
        shop.sql("UPDATE stock SET qty = qty - 1 WHERE sku IN ('s00001', 's10000', 's20000')")
            .await;
        let table = shop.table("stock");
        if seen.last() != Some(&table.loaded_rows) {
            seen.push(table.loaded_rows);
        }
        // A stop in between loads nothing twice.
        if n == 20 {
            shop.bridges.kill().await;
            shop.reload(&[BOTH]).await;
        }
        if table.state == "running" && n > 40 {
            let left = 20_000 - (n + 1);
            shop.becomes("s20000", "qty", json!(left)).await;
            shop.becomes("s00001", "qty", json!(1 - (n + 1))).await;
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(seen.len() > 2, "{seen:?}");
    shop.is_at_rest().await;
    assert_eq!(shop.table("stock").loaded_rows, 20_000);
    assert_eq!(shop.field("s12345", "name").await, json!("Thing 12345"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn counters_of_an_office_that_does_not_own_them_wait_for_the_owners() {
    let head = Office::start("head").await;
    let branch = Office::join(&head, "branch").await;
    let kinds = json!({ "sku": "string", "name": "string", "price": "decimal", "qty": "counter" });
    Shop::declare(&head, &branch, kinds).await;
    let branch = Shop::open_at(branch, STOCK, &[BOTH]).await;
    branch.becomes("tea", "name", json!("Tea")).await;
    assert_eq!(branch.field("tea", "qty").await, json!(null));
    // What it sells meanwhile counts once the owner has said what there was.
    branch.sql("UPDATE stock SET qty = qty - 4 WHERE sku = 'tea'").await;
    branch.sql("UPDATE stock SET name = 'Green tea' WHERE sku = 'tea'").await;
    branch.becomes("tea", "name", json!("Green tea")).await;
    assert_eq!(branch.field("tea", "qty").await, json!(null));
    let shop = Shop::open_at(head, STOCK, &[BOTH]).await;
    shop.sql("UPDATE stock SET qty = qty - 1 WHERE sku = 'tea'").await;
    for shop in [&shop, &branch] {
        shop.has("SELECT qty FROM stock WHERE sku = 'tea'", &["5"]).await;
        shop.becomes("tea", "qty", json!(5)).await;
        shop.becomes("milk", "qty", json!(20)).await;
        shop.is_at_rest().await;
    }
}
