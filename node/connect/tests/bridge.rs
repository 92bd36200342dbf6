//! A bridge on a SQLite file: rows become records, and records rows.
#![allow(clippy::unwrap_used, clippy::panic, clippy::expect_used)]

mod office;

use std::time::Duration;

use branchline_connect::sql::worker::BridgeCommand;
use office::{Office, wait_until};
use serde_json::json;

const TABLES: &str = "
CREATE TABLE stock (sku TEXT NOT NULL PRIMARY KEY, name TEXT, price TEXT, qty INTEGER NOT NULL);
INSERT INTO stock VALUES ('tea', 'Tea', '1.10', 10), ('milk', 'Milk', NULL, 0);
";

fn both() -> toml::Value {
    toml::from_str(
        r#"
        table = "stock"
        collection = "stock"
        mode = "both"
        owner = "head"
        [fields]
        price = { kind = "decimal" }
        qty = { kind = "counter" }
        "#,
    )
    .unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_become_records_and_records_rows() {
    let office = Office::start("head").await;
    let file = office.sqlite("shop", TABLES).await;
    let bridges = office.bridges(&file, vec![both()]).await;
    let installed = bridges.ask("shop", BridgeCommand::Install).await.unwrap().unwrap();
    assert_eq!(installed["installed"], json!(["stock"]));

    // What was there before.
    wait_until("the rows are loaded", || async { office.fields("stock", "tea").await.is_some() })
        .await;
    assert_eq!(
        office.fields("stock", "tea").await.unwrap(),
        json!({ "sku": "tea", "name": "Tea", "price": "1.10", "qty": 10 })
    );
    wait_until("milk", || async { office.fields("stock", "milk").await.is_some() }).await;
    assert_eq!(office.fields("stock", "milk").await.unwrap()["price"], json!(null));

    // What changes in the table.
    office.execute(&file, "UPDATE stock SET qty = qty - 3, price = '1.20' WHERE sku = 'tea'").await;
    office.execute(&file, "INSERT INTO stock VALUES ('jam', 'Jam', '3', 7)").await;
    office.execute(&file, "DELETE FROM stock WHERE sku = 'milk'").await;
    wait_until("the sale is captured", || async {
        office.fields("stock", "tea").await.unwrap()["qty"] == json!(7)
            && office.fields("stock", "jam").await.is_some()
            && office.fields("stock", "milk").await.is_none()
    })
    .await;
    assert_eq!(office.fields("stock", "tea").await.unwrap()["price"], json!("1.20"));

    // What changes in the collection.
    office.merge("stock", "tea", json!({ "price": "1.30", "qty": { "$inc": 5 } })).await;
    office
        .merge("stock", "rice", json!({ "sku": "rice", "name": "Rice", "price": "2", "qty": 1 }))
        .await;
    office.delete("stock", "jam").await;
    wait_until("the price is in the table", || async {
        office.rows(&file, "SELECT sku, price, qty FROM stock ORDER BY sku").await
            == ["rice|2|1", "tea|1.30|12"]
    })
    .await;

    // Nothing bounces, and nothing is left to do.
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(office.rows(&file, "SELECT count(*) FROM branchline_outbox").await, ["0"]);
    let verified = bridges.ask("shop", BridgeCommand::Verify { table: None, repair: false }).await;
    assert_eq!(verified.unwrap().unwrap()["tables"][0]["differing"], json!(0));

    bridges.ask("shop", BridgeCommand::Remove).await.unwrap().unwrap();
    let left = "SELECT name FROM sqlite_master WHERE name LIKE 'branchline%'";
    assert_eq!(office.rows(&file, left).await, [""; 0]);
}

/// A table of sales, whose rows are marked where they are deleted.
fn sales(settings: &str) -> toml::Value {
    let table = "table = \"sales\"\n collection = \"sales\"\n deleted = \"deleted_at\"\n";
    toml::from_str(&format!("{table}{settings}")).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_row_that_is_marked_as_deleted_goes_with_its_last_edit_and_is_kept_elsewhere_too() {
    let head = Office::start("head").await;
    let branch = Office::join(&head, "north").await;
    let there = "CREATE TABLE sales (office TEXT NOT NULL, id INTEGER NOT NULL, paid TEXT, deleted_at DATETIME, \
        PRIMARY KEY (office, id))";
    let here = "CREATE TABLE sales (id INTEGER PRIMARY KEY AUTOINCREMENT, paid TEXT, deleted_at DATETIME); \
        INSERT INTO sales VALUES (1, '5', NULL), (2, '6', '2024-05-01 10:00:00+02:00')";
    let there = head.sqlite("head", there).await;
    let here = branch.sqlite("till", here).await;
    let applied = "mode = \"apply\"\n key = [\"office\", \"id\"]\n record_id = \"{office}-{id}\"";
    let captured = "mode = \"capture\"\n record_id = \"{site}-{id}\"\n [fields]\n office = { constant = \"{site}\" }";
    let heads = head.bridges(&there, vec![sales(applied)]).await;
    heads.ask("shop", BridgeCommand::Install).await.unwrap().unwrap();
    let branches = branch.bridges(&here, vec![sales(captured)]).await;
    wait_until("the branch knows the schema", || async {
        branches.ask("shop", BridgeCommand::Install).await.unwrap().is_ok()
    })
    .await;
    let rows = "SELECT office, id, paid, deleted_at IS NOT NULL FROM sales ORDER BY id";
    wait_until("what was there is there, deleted or not", || async {
        head.rows(&there, rows).await == ["north|1|5|0", "north|2|6|1"]
    })
    .await;
    let till = "UPDATE sales SET paid = '7', deleted_at = '2024-05-01 11:00:00+02:00' WHERE id = 1";
    branch.execute(&here, till).await;
    branch.execute(&here, "INSERT INTO sales VALUES (3, '8', '2024-05-01 12:00:00+02:00')").await;
    wait_until("the last edit goes with the deletion", || async {
        head.rows(&there, rows).await == ["north|1|7|1", "north|2|6|1", "north|3|8|1"]
    })
    .await;
    branch.execute(&here, "UPDATE sales SET deleted_at = NULL WHERE id = 2").await;
    wait_until("a row comes back", || async {
        head.rows(&there, rows).await == ["north|1|7|1", "north|2|6|0", "north|3|8|1"]
    })
    .await;
}
