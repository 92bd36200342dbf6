//! What a person does about what went past the bridge, and about what is set aside.

use branchline_connect::sql::worker::BridgeCommand;
use serde_json::json;

use super::shop::{BOTH, Shop};

/// B8: nobody can see that a trigger was away and is back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn verifying_finds_what_no_note_told_of_and_repairs_it() {
    let shop = Shop::usual().await;
    shop.is_at_rest().await;
    shop.sql(
        "BEGIN IMMEDIATE;
         UPDATE stock SET qty = qty - 3 WHERE sku = 'tea';
         DELETE FROM stock WHERE sku = 'milk';
         INSERT INTO stock VALUES ('jam', 'Jam', '3', 1);
         DELETE FROM branchline_outbox;
         COMMIT",
    )
    .await;
    let verified = shop.ask(BridgeCommand::Verify { table: None, repair: false }).await;
    assert_eq!(verified["tables"][0]["differing"], json!(3), "{verified}");
    assert_eq!(shop.field("tea", "qty").await, json!(10));
    let verified =
        shop.ask(BridgeCommand::Verify { table: Some("stock".into()), repair: true }).await;
    assert_eq!(verified["tables"][0]["repairing"], json!(true));
    shop.becomes("tea", "qty", json!(7)).await;
    shop.becomes("milk", "qty", json!(null)).await;
    shop.becomes("jam", "qty", json!(1)).await;
    shop.is_at_rest().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_set_aside_is_tried_again_when_a_person_asks() {
    let shop = Shop::usual().await;
    shop.becomes("tea", "name", json!("Tea")).await;
    shop.sql("CREATE UNIQUE INDEX names ON stock (name)").await;
    shop.merge("milk", json!({ "name": "Tea" })).await;
    let aside = shop.sets_aside(1).await;
    assert_eq!(aside[0]["code"], json!("2067"), "{aside:?}");
    shop.sql("DROP INDEX names").await;
    let number = aside[0]["number"].as_i64().unwrap();
    let asked = shop.ask(BridgeCommand::Requeue { numbers: Some(vec![number]) }).await;
    assert_eq!(asked["requeued"], json!(1));
    shop.has("SELECT name FROM stock WHERE sku = 'milk'", &["Tea"]).await;
    shop.sets_aside(0).await;
    shop.is_at_rest().await;
}

/// B23 to B27: the column of each is named.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_that_no_record_can_keep_are_set_aside_by_column() {
    const KINDS: &str = "
        CREATE TABLE stock (sku TEXT NOT NULL PRIMARY KEY, name TEXT, price TEXT, qty INTEGER NOT NULL, day TEXT,
                            fresh BOOLEAN);
    ";
    let settings = BOTH.replace(
        "fields = {",
        "fields = { day = { kind = \"timestamp\" }, fresh = { kind = \"boolean\" },",
    );
    let shop = Shop::open(KINDS, &[&settings]).await;
    for row in [
        "'price', 'x', '1234567890123456789012345678901234567890.5', 1, NULL, 1",
        "'qty', 'x', '1', 1.5, NULL, 1",
        "'day', 'x', '1', 1, 'yesterday', 1",
        "'fresh', 'x', '1', 1, NULL, 2",
        "'name', x'ff00', '1', 1, NULL, 0",
        "'fine', 'x', '1', 1, '2024-03-10 00:30:00Z', 0",
    ] {
        shop.sql(&format!("INSERT INTO stock VALUES ({row})")).await;
    }
    shop.becomes("fine", "qty", json!(1)).await;
    for item in shop.sets_aside(5).await {
        assert_eq!(item["column"], item["name"], "{item}");
    }
    shop.sql("DELETE FROM stock WHERE sku <> 'fine'").await;
    shop.sets_aside(0).await;
    shop.is_at_rest().await;
}
