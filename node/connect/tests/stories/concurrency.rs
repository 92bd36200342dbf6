//! The application and other offices at the same rows.

use branchline_connect::sql::worker::BridgeCommand;
use serde_json::json;

use super::office::{Office, wait_until};
use super::shop::{BOTH, STOCK, Shop};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_edits_of_one_field_are_a_conflict() {
    let shop = Shop::usual().await;
    shop.ask(BridgeCommand::Pause).await;
    shop.sql("UPDATE stock SET name = 'Green tea' WHERE sku = 'tea'").await;
    shop.merge("tea", json!({ "name": "Black tea" })).await;
    shop.ask(BridgeCommand::Resume).await;
    wait_until("there is a conflict", || async {
        shop.view("tea").await.unwrap().conflicts.len() == 1
    })
    .await;
    // One of them is shown everywhere, the same in table and collection.
    shop.is_at_rest().await;
    let shown = shop.field("tea", "name").await;
    assert_eq!(
        shop.rows("SELECT name FROM stock WHERE sku = 'tea'").await,
        [shown.as_str().unwrap()]
    );
    assert_eq!(shop.view("tea").await.unwrap().conflicts.len(), 1);
    // An edit that has seen both settles it.
    shop.sql("UPDATE stock SET name = 'Any tea' WHERE sku = 'tea'").await;
    shop.becomes("tea", "name", json!("Any tea")).await;
    assert!(shop.view("tea").await.unwrap().conflicts.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn edits_of_two_fields_merge() {
    let shop = Shop::usual().await;
    shop.ask(BridgeCommand::Pause).await;
    shop.sql("UPDATE stock SET name = 'Green tea' WHERE sku = 'tea'").await;
    shop.merge("tea", json!({ "price": "1.30" })).await;
    shop.ask(BridgeCommand::Resume).await;
    shop.has("SELECT name, price FROM stock WHERE sku = 'tea'", &["Green tea|1.30"]).await;
    shop.becomes("tea", "name", json!("Green tea")).await;
    assert!(shop.view("tea").await.unwrap().conflicts.is_empty());
    shop.is_at_rest().await;
}

/// B44.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_two_offices_sell_of_one_thing_adds_up() {
    let head = Office::start("head").await;
    let branch = Office::join(&head, "branch").await;
    let shop = Shop::open_at(head, STOCK, &[BOTH]).await;
    let branch = Shop::open_at(branch, STOCK, &[BOTH]).await;
    for shop in [&shop, &branch] {
        shop.becomes("tea", "qty", json!(10)).await;
        shop.ask(BridgeCommand::Pause).await;
    }
    shop.sql("UPDATE stock SET qty = qty - 3 WHERE sku = 'tea'").await;
    branch.sql("UPDATE stock SET qty = qty - 4 WHERE sku = 'tea'").await;
    // Setting it is a difference too.
    branch.sql("UPDATE stock SET qty = 50 WHERE sku = 'tea'").await;
    for shop in [&shop, &branch] {
        shop.ask(BridgeCommand::Resume).await;
    }
    for shop in [&shop, &branch] {
        shop.has("SELECT qty FROM stock WHERE sku = 'tea'", &["47"]).await;
        shop.becomes("tea", "qty", json!(47)).await;
        shop.is_at_rest().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_row_edited_while_its_record_is_deleted_goes_and_the_edit_stays_listed() {
    let shop = Shop::usual().await;
    shop.ask(BridgeCommand::Pause).await;
    shop.sql("UPDATE stock SET name = 'Green tea', qty = qty - 1 WHERE sku = 'tea'").await;
    shop.office.delete("stock", "tea").await;
    shop.ask(BridgeCommand::Resume).await;
    shop.has("SELECT sku FROM stock", &["milk"]).await;
    assert!(shop.view("tea").await.unwrap().deleted);
    assert!(shop.hidden("tea").await > 0);
    shop.is_at_rest().await;
    assert!(shop.errors().await.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_row_deleted_while_another_office_edits_its_record_is_gone_everywhere() {
    let head = Office::start("head").await;
    let branch = Office::join(&head, "branch").await;
    let shop = Shop::open_at(head, STOCK, &[BOTH]).await;
    wait_until("it is loaded", || async { branch.fields("stock", "tea").await.is_some() }).await;
    shop.ask(BridgeCommand::Pause).await;
    shop.sql("DELETE FROM stock WHERE sku = 'tea'").await;
    branch.merge("stock", "tea", json!({ "name": "Green tea" })).await;
    shop.becomes("tea", "name", json!("Green tea")).await;
    shop.ask(BridgeCommand::Resume).await;
    wait_until("the record is deleted", || async { shop.view("tea").await.unwrap().deleted }).await;
    shop.is_at_rest().await;
    assert_eq!(shop.rows("SELECT sku FROM stock").await, ["milk"]);
    assert!(shop.hidden("tea").await > 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_row_inserted_again_has_its_own_fields_and_no_others() {
    let shop = Shop::usual().await;
    shop.merge("tea", json!({ "origin": "Assam", "qty": { "$inc": 5 } })).await;
    shop.has("SELECT qty FROM stock WHERE sku = 'tea'", &["15"]).await;
    shop.sql("DELETE FROM stock WHERE sku = 'tea'").await;
    shop.becomes("tea", "qty", json!(null)).await;
    shop.sql("INSERT INTO stock VALUES ('tea', NULL, '2.00', 7)").await;
    shop.becomes("tea", "qty", json!(7)).await;
    let fields = shop.office.fields("stock", "tea").await.unwrap();
    assert_eq!(fields, json!({ "sku": "tea", "name": null, "price": "2.00", "qty": 7 }));
    // Also in one go, and while the record was deleted elsewhere.
    shop.ask(BridgeCommand::Pause).await;
    shop.office.delete("stock", "milk").await;
    shop.ask(BridgeCommand::Resume).await;
    shop.has("SELECT sku FROM stock", &["tea"]).await;
    shop.sql("INSERT INTO stock VALUES ('milk', 'Oat milk', '1', 3)").await;
    shop.becomes("milk", "qty", json!(3)).await;
    shop.is_at_rest().await;
    assert_eq!(shop.rows("SELECT qty FROM stock ORDER BY sku").await, ["3", "7"]);
}

/// B6: the application replaces a row as a whole.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_row_that_is_replaced_is_an_edit_of_what_differs() {
    let shop = Shop::usual().await;
    shop.ask(BridgeCommand::Pause).await;
    shop.sql("REPLACE INTO stock VALUES ('tea', 'Tea', '1.50', 8)").await;
    shop.merge("tea", json!({ "name": "Black tea", "qty": { "$inc": -1 } })).await;
    shop.ask(BridgeCommand::Resume).await;
    shop.has("SELECT name, price, qty FROM stock WHERE sku = 'tea'", &["Black tea|1.50|7"]).await;
    shop.is_at_rest().await;
    assert!(shop.view("tea").await.unwrap().conflicts.is_empty());
}

/// B13.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_that_changes_is_one_record_gone_and_another_come() {
    let shop = Shop::usual().await;
    shop.sql("UPDATE stock SET sku = 'green', qty = 9 WHERE sku = 'tea'").await;
    shop.becomes("green", "qty", json!(9)).await;
    shop.becomes("tea", "qty", json!(null)).await;
    // The old name again, and a row that takes another's.
    shop.sql("UPDATE stock SET sku = 'tea' WHERE sku = 'milk'").await;
    shop.sql("UPDATE stock SET sku = 'milk' WHERE sku = 'green'").await;
    shop.becomes("milk", "qty", json!(9)).await;
    shop.becomes("tea", "name", json!("Milk")).await;
    shop.becomes("green", "qty", json!(null)).await;
    assert_eq!(shop.field("tea", "qty").await, json!(20));
    shop.is_at_rest().await;
}

const SOFT: &str = "
CREATE TABLE stock (sku TEXT NOT NULL PRIMARY KEY, name TEXT, qty INTEGER NOT NULL, deleted_at DATETIME);
INSERT INTO stock VALUES ('tea', 'Tea', 10, NULL), ('old', 'Old', 1, '2024-03-01 10:00:00');
";
const SOFT_BOTH: &str = r#"
table = "stock"
collection = "stock"
mode = "both"
deleted = "deleted_at"
owner = "head"
fields = { qty = { kind = "counter" } }
"#;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_soft_deletion_deletes_and_is_taken_back_with_what_changed_meanwhile() {
    let shop = Shop::open(SOFT, &[SOFT_BOTH]).await;
    shop.becomes("tea", "qty", json!(10)).await;
    assert!(shop.view("old").await.unwrap().deleted);
    shop.sql("UPDATE stock SET deleted_at = '2024-03-01 10:00:00' WHERE sku = 'tea'").await;
    shop.becomes("tea", "name", json!(null)).await;
    shop.sql("UPDATE stock SET qty = 4 WHERE sku = 'tea'").await;
    shop.is_at_rest().await;
    assert!(shop.view("tea").await.unwrap().deleted);
    shop.sql("UPDATE stock SET deleted_at = NULL, name = 'Green tea' WHERE sku = 'tea'").await;
    shop.becomes("tea", "name", json!("Green tea")).await;
    assert_eq!(shop.field("tea", "qty").await, json!(4));
    shop.sql("UPDATE stock SET deleted_at = NULL, name = 'New' WHERE sku = 'old'").await;
    shop.becomes("old", "name", json!("New")).await;
    shop.is_at_rest().await;
    assert_eq!(shop.field("old", "qty").await, json!(1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deletion_elsewhere_marks_the_row_and_its_return_takes_the_mark_away() {
    let shop = Shop::open(SOFT, &[SOFT_BOTH]).await;
    shop.becomes("tea", "qty", json!(10)).await;
    shop.office.delete("stock", "tea").await;
    shop.has("SELECT count(*) FROM stock WHERE deleted_at IS NULL", &["0"]).await;
    shop.is_at_rest().await;
    assert!(shop.view("tea").await.unwrap().deleted);
    let revive = json!({ "sku": "tea", "name": "Back", "qty": 3 }).as_object().cloned().unwrap();
    shop.office.edit("stock", "tea", branchline_crdt::record::Edit::Revive(revive)).await;
    shop.has("SELECT name, qty, deleted_at FROM stock WHERE sku = 'tea'", &["Back|3|NULL"]).await;
    shop.is_at_rest().await;
}
