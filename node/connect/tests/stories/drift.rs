//! The table changes below the bridge: the till goes on selling, and nothing is lost.

use branchline_connect::sql::worker::BridgeCommand;
use serde_json::json;

use super::office::wait_until;
use super::shop::{BOTH, Shop};

async fn triggers(shop: &Shop) -> usize {
    let sql = "SELECT name FROM sqlite_master WHERE type = 'trigger' AND name LIKE 'branchline%'";
    shop.rows(sql).await.len()
}

/// B8, B47.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dropped_trigger_is_seen_and_put_back_and_the_table_is_compared() {
    let shop = Shop::usual().await;
    let installed = triggers(&shop).await;
    shop.ask(BridgeCommand::Pause).await;
    shop.sql("DROP TRIGGER branchline_1_u").await;
    shop.sql("UPDATE stock SET qty = qty - 3, name = 'Green tea' WHERE sku = 'tea'").await;
    shop.ask(BridgeCommand::Resume).await;
    shop.becomes("tea", "qty", json!(7)).await;
    assert_eq!(shop.field("tea", "name").await, json!("Green tea"));
    wait_until("it is reported", || async { shop.table("stock").blind_since_ms.is_some() }).await;
    assert_eq!(triggers(&shop).await, installed);
    shop.runs().await;
    shop.is_at_rest().await;
    // The same while it works.
    shop.sql("DROP TRIGGER branchline_1_i").await;
    shop.sql("INSERT INTO stock VALUES ('jam', 'Jam', '3', 1)").await;
    shop.becomes("jam", "qty", json!(1)).await;
    assert_eq!(triggers(&shop).await, installed);
}

/// B8: the twelve steps in which SQLite's documentation changes a table.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_table_that_is_rebuilt_is_compared_and_works_on() {
    let shop = Shop::usual().await;
    let installed = triggers(&shop).await;
    shop.sql(
        "BEGIN IMMEDIATE;
         CREATE TABLE new_stock (sku TEXT NOT NULL PRIMARY KEY, name TEXT, price TEXT, qty INTEGER NOT NULL, shelf TEXT);
         INSERT INTO new_stock SELECT sku, name, price, qty, 'A1' FROM stock;
         DROP TABLE stock;
         ALTER TABLE new_stock RENAME TO stock;
         COMMIT",
    )
    .await;
    shop.sql("UPDATE stock SET qty = qty - 1 WHERE sku = 'tea'").await;
    shop.sql("DELETE FROM stock WHERE sku = 'milk'").await;
    shop.becomes("tea", "qty", json!(9)).await;
    shop.becomes("milk", "qty", json!(null)).await;
    assert_eq!(triggers(&shop).await, installed);
    shop.merge("tea", json!({ "price": "5" })).await;
    shop.has("SELECT price, qty, shelf FROM stock", &["5|9|A1"]).await;
    shop.is_at_rest().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_column_that_is_added_disturbs_nobody_and_is_carried_once_the_mapping_is_read_again() {
    let shop = Shop::usual().await;
    shop.sql("ALTER TABLE stock ADD COLUMN shelf TEXT").await;
    shop.sql("UPDATE stock SET qty = 8, shelf = 'B2' WHERE sku = 'tea'").await;
    shop.becomes("tea", "qty", json!(8)).await;
    assert_eq!(shop.table("stock").state, "running");
    // Old rows have what they hold in it carried as well.
    shop.reload(&[&format!("{BOTH}\nmass_change = \"30%\"")]).await;
    shop.becomes("tea", "shelf", json!("B2")).await;
    shop.merge("milk", json!({ "shelf": "C3" })).await;
    shop.has("SELECT shelf FROM stock WHERE sku = 'milk'", &["C3"]).await;
    shop.is_at_rest().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dropped_column_stops_the_table_and_it_goes_on_when_a_person_has_looked() {
    let shop = Shop::usual().await;
    shop.sql("ALTER TABLE stock DROP COLUMN name").await;
    // The till goes on selling.
    shop.sql("UPDATE stock SET qty = qty - 3 WHERE sku = 'tea'").await;
    let why = shop.stops("stock").await;
    assert!(why.contains("name"), "{why}");
    shop.sql("INSERT INTO stock VALUES ('jam', '3', 1)").await;
    shop.merge("milk", json!({ "price": "1.00", "qty": { "$inc": 1 } })).await;
    shop.ask(BridgeCommand::Resume).await;
    shop.becomes("tea", "qty", json!(7)).await;
    shop.becomes("jam", "qty", json!(1)).await;
    shop.has("SELECT price, qty FROM stock WHERE sku = 'milk'", &["1.00|21"]).await;
    shop.runs().await;
    // What the column held is not taken from the records.
    assert_eq!(shop.field("tea", "name").await, json!("Tea"));
    shop.is_at_rest().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_renamed_column_stops_the_table_until_the_mapping_says_what_it_is() {
    let shop = Shop::usual().await;
    shop.sql("ALTER TABLE stock RENAME COLUMN name TO title").await;
    shop.sql("UPDATE stock SET qty = qty - 3, title = 'Green tea' WHERE sku = 'tea'").await;
    let why = shop.stops("stock").await;
    assert!(why.contains("name"), "{why}");
    shop.merge("milk", json!({ "name": "Oat milk" })).await;
    let renamed = BOTH.replace("fields = {", "fields = { title = \"name\",");
    shop.reload(&[&renamed]).await;
    shop.ask(BridgeCommand::Resume).await;
    shop.becomes("tea", "name", json!("Green tea")).await;
    shop.becomes("tea", "qty", json!(7)).await;
    shop.runs().await;
    shop.is_at_rest().await;
    assert_eq!(shop.field("tea", "title").await, json!(null));
}

/// B34: the key itself.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_renamed_key_leaves_the_till_selling() {
    let shop = Shop::usual().await;
    shop.sql("ALTER TABLE stock RENAME COLUMN sku TO code").await;
    shop.sql("UPDATE stock SET qty = qty - 3 WHERE code = 'tea'").await;
    let why = shop.stops("stock").await;
    assert!(why.contains("sku"), "{why}");
    shop.sql("INSERT INTO stock VALUES ('jam', 'Jam', '3', 1)").await;
    shop.sql("ALTER TABLE stock RENAME COLUMN code TO sku").await;
    shop.ask(BridgeCommand::Resume).await;
    shop.becomes("jam", "qty", json!(1)).await;
    shop.becomes("tea", "qty", json!(7)).await;
    shop.is_at_rest().await;
}

/// B47: a table that is not there is no reason to take anything away.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_table_that_is_gone_deletes_no_record_and_is_compared_when_it_is_back() {
    let shop = Shop::usual().await;
    shop.sql("ALTER TABLE stock RENAME TO stock_away").await;
    let why = shop.stops("stock").await;
    assert!(why.contains("stock"), "{why}");
    assert_eq!(shop.field("tea", "qty").await, json!(10));
    shop.sql("UPDATE stock_away SET qty = 9 WHERE sku = 'tea'").await;
    shop.sql("ALTER TABLE stock_away RENAME TO stock").await;
    shop.ask(BridgeCommand::Resume).await;
    shop.becomes("tea", "qty", json!(9)).await;
    shop.runs().await;
    shop.is_at_rest().await;
}

const SALES: &str =
    "table = \"sales\"\ncollection = \"sales\"\nmode = \"both\"\nrecord_id = \"{site}-{id}\"";

/// A restart of the node while a table is away: the others go on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_table_that_cannot_be_bound_at_the_start_holds_up_no_other() {
    const TWO: &str = "
        CREATE TABLE stock (sku TEXT NOT NULL PRIMARY KEY, name TEXT, price TEXT, qty INTEGER NOT NULL);
        INSERT INTO stock VALUES ('tea', 'Tea', '1.10', 10);
        CREATE TABLE sales (id INTEGER NOT NULL PRIMARY KEY, total INTEGER NOT NULL);
        INSERT INTO sales VALUES (1, 5), (2, 6);
    ";
    let shop = Shop::open(TWO, &[BOTH, SALES]).await;
    let total = async |id: &str| {
        let fields = shop.office.fields("sales", id).await;
        fields.map_or(json!(null), |fields| fields["total"].clone())
    };
    wait_until("it is loaded", || async { total("head-2").await == json!(6) }).await;
    shop.is_at_rest().await;
    shop.stop().await;
    shop.sql("ALTER TABLE sales RENAME TO sales_away").await;
    shop.reload(&[BOTH, SALES]).await;
    shop.sql("UPDATE stock SET qty = 9 WHERE sku = 'tea'").await;
    shop.becomes("tea", "qty", json!(9)).await;
    let why = shop.stops("sales").await;
    assert!(why.contains("no table sales") && why.contains("resume shop"), "{why}");
    shop.ask(BridgeCommand::Resume).await;
    shop.stops("sales").await;
    assert_eq!(total("head-1").await, json!(5));
    shop.sql("UPDATE sales_away SET total = 7 WHERE id = 1").await;
    shop.sql("ALTER TABLE sales_away RENAME TO sales").await;
    shop.ask(BridgeCommand::Resume).await;
    wait_until("the table is compared", || async { total("head-1").await == json!(7) }).await;
    shop.runs().await;
    shop.is_at_rest().await;
}
