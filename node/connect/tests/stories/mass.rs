//! Much of a table deleted at once waits for a person, however it came about.

use branchline_connect::sql::worker::{BridgeCommand, Side};
use serde_json::json;

use super::office::wait_until;
use super::shop::{BOTH, Shop};

/// A hundred things, of which each office counts the quantity.
pub(crate) const HUNDRED: &str = "
CREATE TABLE stock (sku TEXT NOT NULL PRIMARY KEY, name TEXT, price TEXT, qty INTEGER NOT NULL, deleted_at DATETIME);
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 100)
INSERT INTO stock SELECT printf('s%03d', i), 'Thing', '1.00', i, NULL FROM n;
";
const SOFT: &str = r#"
table = "stock"
collection = "stock"
mode = "both"
deleted = "deleted_at"
owner = "head"
fields = { price = { kind = "decimal" }, qty = { kind = "counter" } }
"#;

async fn hundred(settings: &str) -> Shop {
    let shop = Shop::open(HUNDRED, &[settings]).await;
    shop.becomes("s100", "qty", json!(100)).await;
    shop.is_at_rest().await;
    // Counters that are more than their beginning.
    shop.merge("s001", json!({ "qty": { "$inc": 5 } })).await;
    shop.has("SELECT qty FROM stock WHERE sku = 's001'", &["6"]).await;
    shop.is_at_rest().await;
    shop
}

async fn has_stopped(shop: &Shop, part: &str) {
    let why = shop.stops("stock").await;
    assert!(why.contains("were deleted at once"), "{why}");
    assert!(why.contains(part), "{why}");
    // Nothing has spread.
    assert_eq!(shop.field("s001", "qty").await, json!(6));
    assert_eq!(shop.field("s090", "qty").await, json!(90));
    // Nor does going on without a decision spread it.
    shop.ask(BridgeCommand::Resume).await;
    let why = shop.stops("stock").await;
    assert!(why.contains("were deleted at once"), "{why}");
    assert_eq!(shop.field("s001", "qty").await, json!(6));
}

async fn is_gone_everywhere(shop: &Shop) {
    wait_until("they are deleted", || async {
        shop.view("s001").await.unwrap().deleted && shop.view("s050").await.unwrap().deleted
    })
    .await;
    shop.runs().await;
    assert_eq!(shop.field("s090", "qty").await, json!(90));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn few_deletions_go_without_a_word() {
    let shop = hundred(BOTH).await;
    shop.sql("DELETE FROM stock WHERE sku <= 's020'").await;
    shop.becomes("s020", "qty", json!(null)).await;
    assert_eq!(shop.table("stock").state, "running");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mass_deletion_stops_the_table_and_goes_everywhere_when_a_person_says_so() {
    let shop = hundred(BOTH).await;
    shop.sql("DELETE FROM stock WHERE sku <= 's050'").await;
    has_stopped(&shop, "50 of 100").await;
    shop.sql("UPDATE stock SET qty = qty - 1 WHERE sku = 's060'").await;
    shop.resync("stock", Side::Database).await;
    is_gone_everywhere(&shop).await;
    shop.becomes("s060", "qty", json!(59)).await;
    shop.is_at_rest().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mass_deletion_comes_back_when_a_person_says_so() {
    let shop = hundred(BOTH).await;
    shop.sql("DELETE FROM stock WHERE sku <= 's050'").await;
    has_stopped(&shop, "50 of 100").await;
    shop.resync("stock", Side::Collection).await;
    shop.has("SELECT count(*), sum(qty) FROM stock", &["100|5055"]).await;
    shop.runs().await;
    shop.is_at_rest().await;
    assert_eq!(shop.field("s001", "qty").await, json!(6));
    // And it works on.
    shop.sql("UPDATE stock SET qty = qty - 1 WHERE sku = 's001'").await;
    shop.becomes("s001", "qty", json!(5)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mass_deletion_by_marks_stops_the_table_too() {
    let shop = hundred(SOFT).await;
    shop.sql("UPDATE stock SET deleted_at = '2024-03-01 10:00:00' WHERE sku <= 's050'").await;
    has_stopped(&shop, "50 of 100").await;
    shop.resync("stock", Side::Database).await;
    is_gone_everywhere(&shop).await;
    shop.is_at_rest().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mass_deletion_by_marks_is_taken_back_when_a_person_says_so() {
    let shop = hundred(SOFT).await;
    shop.sql("UPDATE stock SET deleted_at = '2024-03-01 10:00:00' WHERE sku <= 's050'").await;
    has_stopped(&shop, "50 of 100").await;
    shop.resync("stock", Side::Collection).await;
    shop.has("SELECT count(*), sum(qty) FROM stock WHERE deleted_at IS NULL", &["100|5055"]).await;
    shop.runs().await;
    shop.is_at_rest().await;
    assert!(shop.errors().await.is_empty(), "{:?}", shop.errors().await);
    assert_eq!(shop.field("s001", "qty").await, json!(6));
}

async fn vanish_unseen(shop: &Shop) {
    shop.ask(BridgeCommand::Pause).await;
    shop.sql("DROP TRIGGER branchline_1_d").await;
    shop.sql("DELETE FROM stock").await;
    shop.ask(BridgeCommand::Resume).await;
    has_stopped(shop, "100 of 100").await;
}

/// B8, B10.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_that_vanish_unseen_come_back_when_a_person_says_so() {
    let shop = hundred(BOTH).await;
    vanish_unseen(&shop).await;
    shop.resync("stock", Side::Collection).await;
    shop.has("SELECT count(*), sum(qty) FROM stock", &["100|5055"]).await;
    shop.is_at_rest().await;
}

/// B8, B10.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_that_vanish_unseen_go_everywhere_when_a_person_says_so() {
    let shop = hundred(BOTH).await;
    vanish_unseen(&shop).await;
    shop.sql("INSERT INTO stock VALUES ('s001', 'New', '1', 2, NULL)").await;
    shop.resync("stock", Side::Database).await;
    wait_until("they are deleted", || async {
        shop.view("s002").await.unwrap().deleted && shop.view("s100").await.unwrap().deleted
    })
    .await;
    shop.becomes("s001", "qty", json!(2)).await;
    assert_eq!(shop.field("s001", "name").await, json!("New"));
    shop.is_at_rest().await;
}
