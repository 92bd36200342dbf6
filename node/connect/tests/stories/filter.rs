//! Rows and records that enter and leave a filter.

use serde_json::json;

use super::office::wait_until;
use super::shop::{STOCK, Shop};

const KEEP: &str = r#"
table = "stock"
collection = "stock"
mode = "both"
where = "qty > 0"
owner = "head"
fields = { price = { kind = "decimal" }, qty = { kind = "counter" } }
"#;
const DELETE: &str = r#"
table = "stock"
collection = "stock"
mode = "both"
where = "qty > 0"
on_leave = "delete"
fields = { price = { kind = "decimal" } }
"#;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_row_that_leaves_the_filter_keeps_its_record_as_it_was() {
    let shop = Shop::open(STOCK, &[KEEP]).await;
    shop.becomes("tea", "qty", json!(10)).await;
    shop.sql("INSERT INTO stock VALUES ('none', 'None', '1', 0)").await;
    shop.sql("UPDATE stock SET qty = 0, name = 'Gone' WHERE sku = 'tea'").await;
    shop.sql("UPDATE stock SET qty = 19 WHERE sku = 'milk'").await;
    shop.becomes("milk", "qty", json!(19)).await;
    assert_eq!(shop.view("none").await, None);
    assert_eq!(shop.field("tea", "name").await, json!("Tea"));
    assert_eq!(shop.field("tea", "qty").await, json!(10));
    // It comes back with all that changed meanwhile.
    shop.sql("UPDATE stock SET qty = 4 WHERE sku = 'tea'").await;
    shop.becomes("tea", "qty", json!(4)).await;
    assert_eq!(shop.field("tea", "name").await, json!("Gone"));
    shop.sql("UPDATE stock SET qty = 1 WHERE sku = 'none'").await;
    shop.becomes("none", "qty", json!(1)).await;
    shop.is_at_rest().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_row_that_leaves_the_filter_takes_its_record_along_where_it_is_said() {
    let shop = Shop::open(STOCK, &[DELETE]).await;
    shop.becomes("tea", "qty", json!(10)).await;
    shop.sql("UPDATE stock SET qty = 0 WHERE sku = 'tea'").await;
    shop.becomes("tea", "qty", json!(null)).await;
    wait_until("it is deleted", || async { shop.view("tea").await.unwrap().deleted }).await;
    // The row is the application's: it stays.
    assert_eq!(shop.rows("SELECT qty FROM stock WHERE sku = 'tea'").await, ["0"]);
    shop.sql("UPDATE stock SET qty = 3 WHERE sku = 'tea'").await;
    shop.becomes("tea", "qty", json!(3)).await;
    shop.sets_aside(0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_record_of_a_row_outside_of_the_filter_never_overwrites_it() {
    let shop = Shop::open(STOCK, &[KEEP]).await;
    shop.becomes("tea", "qty", json!(10)).await;
    shop.sql("UPDATE stock SET qty = 0, name = 'Out' WHERE sku = 'tea'").await;
    shop.sql("INSERT INTO stock VALUES ('none', 'None', '1', 0)").await;
    shop.has("SELECT count(*) FROM branchline_outbox", &["0"]).await;
    shop.merge("tea", json!({ "name": "Green tea" })).await;
    shop.merge("none", json!({ "sku": "none", "name": "Some", "qty": 8 })).await;
    shop.merge("milk", json!({ "name": "Oat milk" })).await;
    shop.has("SELECT name FROM stock WHERE sku = 'milk'", &["Oat milk"]).await;
    let mut aside = shop.sets_aside(2).await;
    aside.sort_by_key(|item| item["name"].to_string());
    assert_eq!(aside[0]["name"], json!("none"));
    assert_eq!(aside[1]["name"], json!("tea"));
    assert!(aside[1]["message"].as_str().unwrap().contains("outside of the filter"), "{aside:?}");
    let rows = "SELECT sku, name, qty FROM stock WHERE qty = 0 ORDER BY sku";
    assert_eq!(shop.rows(rows).await, ["none|None|0", "tea|Out|0"]);
    // Back in the filter both merge.
    shop.sql("UPDATE stock SET qty = 2 WHERE sku = 'tea'").await;
    shop.becomes("tea", "qty", json!(2)).await;
    shop.sql("DELETE FROM stock WHERE sku = 'none'").await;
    shop.has("SELECT name, qty FROM stock WHERE sku = 'none'", &["Some|8"]).await;
    shop.sets_aside(0).await;
    shop.is_at_rest().await;
}

fn applied(on_leave: &str) -> String {
    format!(
        "table = \"stock\"\ncollection = \"stock\"\nmode = \"apply\"\nwhere = \"qty > 0\"\non_leave = \"{on_leave}\"\n\
         fields = {{ price = {{ kind = \"decimal\" }} }}"
    )
}

const EMPTY: &str = "CREATE TABLE stock (sku TEXT NOT NULL PRIMARY KEY, name TEXT, price TEXT, qty INTEGER NOT NULL)";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_record_that_leaves_the_filter_leaves_its_row_as_it_was() {
    let shop = Shop::open(EMPTY, &[&applied("keep")]).await;
    shop.merge("none", json!({ "sku": "none", "qty": 0 })).await;
    shop.merge("tea", json!({ "sku": "tea", "name": "Tea", "qty": 4 })).await;
    shop.has("SELECT sku, qty FROM stock", &["tea|4"]).await;
    shop.merge("tea", json!({ "qty": 0, "name": "Gone" })).await;
    shop.merge("jam", json!({ "sku": "jam", "qty": 1 })).await;
    shop.has("SELECT sku, qty FROM stock ORDER BY sku", &["jam|1", "tea|4"]).await;
    shop.merge("none", json!({ "qty": 2 })).await;
    shop.merge("tea", json!({ "qty": 5 })).await;
    shop.has("SELECT sku, qty FROM stock ORDER BY sku", &["jam|1", "none|2", "tea|5"]).await;
    assert_eq!(shop.rows("SELECT name FROM stock WHERE sku = 'tea'").await, ["Gone"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_record_that_leaves_the_filter_takes_its_row_along_where_it_is_said() {
    let shop = Shop::open(EMPTY, &[&applied("delete")]).await;
    shop.merge("tea", json!({ "sku": "tea", "name": "Tea", "qty": 4 })).await;
    shop.has("SELECT sku, qty FROM stock", &["tea|4"]).await;
    shop.merge("tea", json!({ "qty": 0 })).await;
    shop.has("SELECT sku FROM stock", &[]).await;
    shop.merge("tea", json!({ "qty": 3 })).await;
    shop.has("SELECT name, qty FROM stock", &["Tea|3"]).await;
    shop.sets_aside(0).await;
}
