//! What the other side does not take is set aside, and the rest goes on.

use branchline_connect::sql::worker::BridgeCommand;
use serde_json::json;

use super::shop::{BOTH, STOCK, Shop};

const STRICT: &str = "
CREATE TABLE stock (sku TEXT NOT NULL PRIMARY KEY, name TEXT, price TEXT, qty INTEGER NOT NULL CHECK (qty >= 0));
INSERT INTO stock VALUES ('tea', 'Tea', '1.10', 10), ('milk', 'Milk', '0.90', 20);
";

/// B20.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_row_is_set_aside_by_name_and_comes_back_by_itself_once_mended() {
    let shop = Shop::open(STRICT, &[BOTH]).await;
    shop.merge("tea", json!({ "qty": { "$inc": -15 } })).await;
    shop.merge("milk", json!({ "qty": { "$inc": -1 }, "name": "Oat milk" })).await;
    shop.has("SELECT name, qty FROM stock WHERE sku = 'milk'", &["Oat milk|19"]).await;
    let aside = shop.sets_aside(1).await;
    assert_eq!(aside[0]["name"], json!("tea"));
    assert_eq!(aside[0]["direction"], json!("apply"));
    assert_eq!(aside[0]["code"], json!("275"), "{aside:?}");
    assert!(aside[0]["message"].as_str().unwrap().contains("qty >= 0"), "{aside:?}");
    assert_eq!(shop.rows("SELECT qty FROM stock WHERE sku = 'tea'").await, ["10"]);
    // The office edits that very row: its edit is captured, and the difference stays.
    shop.sql("UPDATE stock SET name = 'Green tea' WHERE sku = 'tea'").await;
    shop.becomes("tea", "name", json!("Green tea")).await;
    assert_eq!(shop.field("tea", "qty").await, json!(-5));
    shop.merge("tea", json!({ "qty": { "$inc": 6 } })).await;
    shop.has("SELECT name, qty FROM stock WHERE sku = 'tea'", &["Green tea|1"]).await;
    shop.sets_aside(0).await;
    shop.is_at_rest().await;
}

const FAMILY: &str = "
CREATE TABLE orders (id TEXT NOT NULL PRIMARY KEY, customer TEXT REFERENCES customers (id), total INTEGER);
CREATE TABLE customers (id TEXT NOT NULL PRIMARY KEY, name TEXT);
";
const ORDERS: &str = r#"
table = "orders"
collection = "orders"
mode = "apply"
"#;
const CUSTOMERS: &str = r#"
table = "customers"
collection = "customers"
mode = "apply"
"#;

/// B17, B18.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_child_that_comes_before_its_parent_waits_for_it() {
    let shop = Shop::open(FAMILY, &[ORDERS, CUSTOMERS]).await;
    shop.office.merge("orders", "17", json!({ "id": "17", "customer": "anna", "total": 5 })).await;
    shop.office.merge("orders", "18", json!({ "id": "18", "total": 6 })).await;
    shop.has("SELECT id FROM orders", &["18"]).await;
    let aside = shop.sets_aside(1).await;
    assert_eq!(aside[0]["code"], json!("787"), "{aside:?}");
    shop.office.merge("customers", "anna", json!({ "id": "anna", "name": "Anna" })).await;
    shop.has("SELECT id FROM orders ORDER BY id", &["17", "18"]).await;
    shop.sets_aside(0).await;
    // Both at once go in the right order, in either direction.
    let parent = json!({ "id": "ben", "name": "Ben" });
    shop.office.merge("orders", "19", json!({ "id": "19", "customer": "ben", "total": 1 })).await;
    shop.office.merge("customers", "ben", parent).await;
    shop.has("SELECT id FROM orders WHERE customer = 'ben'", &["19"]).await;
    shop.office.delete("customers", "ben").await;
    shop.office.delete("orders", "19").await;
    shop.has("SELECT id FROM customers", &["anna"]).await;
    shop.has("SELECT id FROM orders ORDER BY id", &["17", "18"]).await;
    shop.sets_aside(0).await;
}

const UNIQUE: &str = "
CREATE TABLE stock (sku TEXT NOT NULL PRIMARY KEY, name TEXT, code TEXT UNIQUE);
INSERT INTO stock VALUES ('tea', 'Tea', 'A'), ('milk', 'Milk', 'B');
";
const UNIQUE_BOTH: &str = r#"
table = "stock"
collection = "stock"
mode = "both"
"#;

/// B15.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_row_that_another_ones_unique_value_keeps_out_waits_until_that_changes() {
    let shop = Shop::open(UNIQUE, &[UNIQUE_BOTH]).await;
    shop.becomes("milk", "code", json!("B")).await;
    shop.merge("jam", json!({ "sku": "jam", "name": "Jam", "code": "A" })).await;
    shop.merge("milk", json!({ "code": "A" })).await;
    shop.merge("rice", json!({ "sku": "rice", "name": "Rice", "code": "C" })).await;
    shop.has("SELECT sku, code FROM stock ORDER BY sku", &["milk|B", "rice|C", "tea|A"]).await;
    let aside = shop.sets_aside(2).await;
    assert!(aside.iter().all(|item| item["code"] == json!("2067")), "{aside:?}");
    assert!(aside[0]["message"].as_str().unwrap().contains("stock.code"), "{aside:?}");
    // The application makes room for one of them.
    shop.sql("UPDATE stock SET code = 'T' WHERE sku = 'tea'").await;
    shop.merge("jam", json!({ "code": "J" })).await;
    shop.has("SELECT sku, code FROM stock ORDER BY sku", &["jam|J", "milk|A", "rice|C", "tea|T"])
        .await;
    shop.sets_aside(0).await;
    shop.is_at_rest().await;
}

/// B16: two rows trade a value that is unique, whether or not it may be NULL meanwhile.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_rows_trade_a_unique_value() {
    const NOT_NULL: &str = "
        CREATE TABLE stock (sku TEXT NOT NULL PRIMARY KEY, name TEXT, code TEXT NOT NULL UNIQUE);
        INSERT INTO stock VALUES ('tea', 'Tea', 'A'), ('milk', 'Milk', 'B');
    ";
    for sql in [UNIQUE, NOT_NULL] {
        let shop = Shop::open(sql, &[UNIQUE_BOTH]).await;
        shop.becomes("milk", "code", json!("B")).await;
        shop.ask(BridgeCommand::Pause).await;
        shop.merge("tea", json!({ "code": "B" })).await;
        shop.merge("milk", json!({ "code": "A" })).await;
        shop.merge("rice", json!({ "sku": "rice", "code": "C" })).await;
        shop.ask(BridgeCommand::Resume).await;
        let rows = "SELECT sku, code FROM stock ORDER BY sku";
        shop.has(rows, &["milk|A", "rice|C", "tea|B"]).await;
        shop.sets_aside(0).await;
        shop.is_at_rest().await;
    }
}

/// B26, B27: cells that are not of the kind that the column is declared as.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_row_that_no_record_can_keep_is_set_aside_and_its_record_never_overwrites_it() {
    let shop = Shop::usual().await;
    shop.sql("UPDATE stock SET price = 'dear' WHERE sku = 'tea'").await;
    shop.sql("UPDATE stock SET qty = 19 WHERE sku = 'milk'").await;
    shop.becomes("milk", "qty", json!(19)).await;
    let aside = shop.sets_aside(1).await;
    assert_eq!(aside[0]["direction"], json!("capture"));
    assert_eq!(aside[0]["column"], json!("price"), "{aside:?}");
    assert!(aside[0]["value"].as_str().unwrap().contains("dear"), "{aside:?}");
    // An edit of its record elsewhere leaves what the till holds alone, and others go on.
    shop.merge("tea", json!({ "name": "Green tea" })).await;
    shop.merge("milk", json!({ "name": "Oat milk" })).await;
    shop.has("SELECT name FROM stock WHERE sku = 'milk'", &["Oat milk"]).await;
    assert_eq!(shop.rows("SELECT name, price FROM stock WHERE sku = 'tea'").await, ["Tea|dear"]);
    // Mended, both sides have all.
    shop.sql("UPDATE stock SET price = '2.50' WHERE sku = 'tea'").await;
    shop.becomes("tea", "price", json!("2.50")).await;
    shop.has("SELECT name, price FROM stock WHERE sku = 'tea'", &["Green tea|2.50"]).await;
    shop.sets_aside(0).await;
    shop.is_at_rest().await;
}

/// B27, B43.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn counters_beyond_all_bounds_and_keys_of_null_hold_up_nobody() {
    const NULLS: &str = "
        CREATE TABLE stock (sku TEXT PRIMARY KEY, name TEXT, price TEXT, qty INTEGER NOT NULL);
        INSERT INTO stock VALUES ('tea', 'Tea', '1.10', 10);
    ";
    let office = super::office::Office::start("head").await;
    let file = office.sqlite("shop", NULLS).await;
    let bridges = office.bridges(&file, vec![toml::from_str(BOTH).unwrap()]).await;
    // A key that may be NULL is refused by name.
    let refused =
        bridges.ask("shop", BridgeCommand::Install).await.unwrap().unwrap_err().to_string();
    assert!(refused.contains("sku") && refused.contains("NULL"), "{refused}");

    let shop = Shop::usual().await;
    shop.sql("UPDATE stock SET qty = 9223372036854775807 WHERE sku = 'tea'").await;
    shop.sql("INSERT INTO stock VALUES ('jam', x'00ff', '1', 1)").await;
    shop.sql("INSERT INTO stock VALUES ('rice', 'Rice', '2', 1)").await;
    shop.becomes("rice", "qty", json!(1)).await;
    let aside = shop.sets_aside(2).await;
    let columns: std::collections::BTreeSet<_> =
        aside.iter().map(|item| item["column"].as_str().unwrap().to_owned()).collect();
    assert_eq!(columns, ["name".to_owned(), "qty".to_owned()].into());
    shop.sql("UPDATE stock SET qty = 5 WHERE sku = 'tea'").await;
    shop.sql("DELETE FROM stock WHERE sku = 'jam'").await;
    shop.becomes("tea", "qty", json!(5)).await;
    shop.sets_aside(0).await;
    shop.is_at_rest().await;
}

/// B23, B24: values that the database would cut or take as something else.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_column_cannot_hold_is_set_aside_with_the_column() {
    const NARROW: &str =
        "CREATE TABLE stock (sku VARCHAR(8) NOT NULL PRIMARY KEY, name VARCHAR(5), amount INTEGER)";
    let shop = Shop::open(NARROW, &[UNIQUE_BOTH]).await;
    shop.merge("tea", json!({ "sku": "tea", "name": "Tea", "amount": 4 })).await;
    shop.has("SELECT name, amount FROM stock", &["Tea|4"]).await;
    // The key's field says another key than the id.
    shop.merge("jam", json!({ "sku": "marmalade", "name": "Jam" })).await;
    shop.merge("tea", json!({ "amount": 5 })).await;
    shop.has("SELECT amount FROM stock", &["5"]).await;
    let aside = shop.sets_aside(1).await;
    assert_eq!(aside[0]["name"], json!("jam"), "{aside:?}");
    assert_eq!(aside[0]["column"], json!("sku"), "{aside:?}");
    shop.office.delete("stock", "jam").await;
    shop.sets_aside(0).await;
}

const SITES: &str = r#"
table = "stock"
collection = "stock"
mode = "both"
record_id = "{site}-{sku}"
fields = { price = { kind = "decimal" }, qty = { kind = "counter" } }
"#;

/// B14.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn records_of_other_sites_never_become_rows_here() {
    let shop = Shop::open(STOCK, &[SITES]).await;
    shop.becomes("head-tea", "qty", json!(10)).await;
    shop.merge("branch-tea", json!({ "sku": "tea", "name": "Branch's", "qty": 1 })).await;
    shop.merge("head-jam", json!({ "sku": "jam", "name": "Jam", "qty": 1 })).await;
    shop.has("SELECT sku, name FROM stock ORDER BY sku", &["jam|Jam", "milk|Milk", "tea|Tea"])
        .await;
    // An id that the template does not give is set aside, not guessed at.
    shop.merge("nonsense", json!({ "sku": "x", "qty": 1 })).await;
    let aside = shop.sets_aside(1).await;
    assert_eq!(aside[0]["name"], json!("nonsense"));
    assert_eq!(aside[0]["column"], json!("record id"));
}
