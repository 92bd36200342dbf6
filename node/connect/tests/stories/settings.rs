//! What a person does with a bridge.

use branchline_connect::sql::worker::BridgeCommand;
use serde_json::json;

use super::office::wait_until;
use super::shop::{BOTH, STOCK, Shop};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_paused_bridge_carries_nothing_and_afterwards_all() {
    let shop = Shop::usual().await;
    shop.ask(BridgeCommand::Pause).await;
    let why = shop.rests().await;
    assert!(why.contains("paused"), "{why}");
    shop.sql("UPDATE stock SET qty = qty - 3 WHERE sku = 'tea'").await;
    shop.merge("milk", json!({ "name": "Oat milk" })).await;
    // A restart leaves it paused.
    shop.bridges.stop().await;
    shop.reload(&[BOTH]).await;
    shop.rests().await;
    assert_eq!(shop.field("tea", "qty").await, json!(10));
    assert_eq!(shop.rows("SELECT name FROM stock WHERE sku = 'milk'").await, ["Milk"]);
    shop.ask(BridgeCommand::Resume).await;
    shop.becomes("tea", "qty", json!(7)).await;
    shop.has("SELECT name FROM stock WHERE sku = 'milk'", &["Oat milk"]).await;
    shop.is_at_rest().await;
}

const TWO: &str = "
CREATE TABLE stock (sku TEXT NOT NULL PRIMARY KEY, name TEXT, price TEXT, qty INTEGER NOT NULL);
INSERT INTO stock VALUES ('tea', 'Tea', '1.10', 10);
CREATE TABLE sales (id INTEGER NOT NULL PRIMARY KEY, total INTEGER NOT NULL);
INSERT INTO sales VALUES (1, 5), (2, 6);
";
const SALES: &str =
    "table = \"sales\"\ncollection = \"sales\"\nmode = \"both\"\nrecord_id = \"{site}-{id}\"";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_table_that_was_out_of_the_configuration_for_a_while_loses_nothing() {
    let shop = Shop::open(TWO, &[BOTH, SALES]).await;
    let total = async |id: &str| {
        let fields = shop.office.fields("sales", id).await;
        fields.map_or(json!(null), |fields| fields["total"].clone())
    };
    wait_until("it is loaded", || async { total("head-2").await == json!(6) }).await;
    shop.is_at_rest().await;
    shop.reload(&[BOTH]).await;
    shop.sql("UPDATE sales SET total = 7 WHERE id = 1").await;
    shop.sql("INSERT INTO sales VALUES (3, 8)").await;
    shop.sql("DELETE FROM sales WHERE id = 2").await;
    shop.office.merge("sales", "head-4", json!({ "id": 4, "total": 9 })).await;
    shop.sql("UPDATE stock SET qty = 9 WHERE sku = 'tea'").await;
    shop.becomes("tea", "qty", json!(9)).await;
    assert_eq!(total("head-1").await, json!(5));
    shop.reload(&[BOTH, SALES]).await;
    wait_until("what was missed is carried", || async {
        total("head-1").await == json!(7)
            && total("head-3").await == json!(8)
            && total("head-2").await == json!(null)
    })
    .await;
    shop.has("SELECT id FROM sales ORDER BY id", &["1", "3", "4"]).await;
    shop.is_at_rest().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_column_that_the_mapping_takes_up_later_is_carried_for_old_rows() {
    let without = BOTH.replace("fields = {", "fields = { name = { skip = true },");
    let shop = Shop::open(STOCK, &[&without]).await;
    shop.becomes("tea", "qty", json!(10)).await;
    shop.sql("UPDATE stock SET name = 'Green tea' WHERE sku = 'tea'").await;
    shop.is_at_rest().await;
    assert_eq!(shop.field("tea", "name").await, json!(null));
    shop.reload(&[BOTH]).await;
    shop.becomes("tea", "name", json!("Green tea")).await;
    shop.becomes("milk", "name", json!("Milk")).await;
    assert_eq!(shop.field("tea", "qty").await, json!(10));
    shop.is_at_rest().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_removed_bridge_leaves_nothing_and_can_be_installed_again() {
    let shop = Shop::usual().await;
    shop.becomes("tea", "qty", json!(10)).await;
    shop.ask(BridgeCommand::Remove).await;
    let left = "SELECT name FROM sqlite_master WHERE name LIKE '%branchline%'";
    assert_eq!(shop.rows(left).await, [""; 0]);
    shop.sql("UPDATE stock SET qty = 7 WHERE sku = 'tea'").await;
    shop.ask(BridgeCommand::Install).await;
    // Both sides went on: the counter is the office's, which does not count twice.
    shop.runs().await;
    shop.is_at_rest().await;
    assert_eq!(shop.field("milk", "qty").await, json!(20));
    shop.sql("UPDATE stock SET qty = qty - 1 WHERE sku = 'milk'").await;
    shop.becomes("milk", "qty", json!(19)).await;
}

const SHELVES: &str = "
CREATE TABLE north (sku TEXT NOT NULL PRIMARY KEY, name TEXT, qty INTEGER NOT NULL);
CREATE TABLE south (sku TEXT NOT NULL PRIMARY KEY, name TEXT, qty INTEGER NOT NULL);
INSERT INTO north VALUES ('tea', 'Tea', 1);
INSERT INTO south VALUES ('tea', 'Tea', 2);
";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_tables_share_a_collection_and_keep_their_rows_apart() {
    let table = |name: &str| {
        format!(
            "table = \"{name}\"\ncollection = \"stock\"\nmode = \"capture\"\nrecord_id = \"{name}-{{sku}}\""
        )
    };
    let shop = Shop::open(SHELVES, &[&table("north"), &table("south")]).await;
    shop.becomes("north-tea", "qty", json!(1)).await;
    shop.becomes("south-tea", "qty", json!(2)).await;
    shop.sql("UPDATE south SET qty = 5").await;
    shop.sql("DELETE FROM north").await;
    shop.becomes("south-tea", "qty", json!(5)).await;
    shop.becomes("north-tea", "qty", json!(null)).await;
    shop.is_at_rest().await;
    assert!(shop.errors().await.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_tables_of_one_collection_in_both_directions_do_not_echo() {
    let table = |name: &str| format!("table = \"{name}\"\ncollection = \"stock\"\nmode = \"both\"");
    let shop = Shop::open(SHELVES, &[&table("north"), &table("south")]).await;
    // Both rows are one record: an edit of either is one of both.
    shop.runs().await;
    shop.sql("UPDATE south SET qty = 5, name = 'Green tea'").await;
    shop.has("SELECT name, qty FROM north", &["Green tea|5"]).await;
    shop.sql("INSERT INTO north VALUES ('jam', 'Jam', 3)").await;
    shop.has("SELECT name, qty FROM south WHERE sku = 'jam'", &["Jam|3"]).await;
    shop.sql("DELETE FROM south WHERE sku = 'jam'").await;
    shop.has("SELECT sku FROM north", &["tea"]).await;
    shop.is_at_rest().await;
}
