//! Databases and nodes that are restored or copied: the bridge rests until a person has said which side holds.

use std::fs;
use std::path::{Path, PathBuf};

use branchline_connect::sql::bridges::state_file;
use branchline_connect::sql::worker::{BridgeCommand, Side};
use serde_json::json;

use super::mass::HUNDRED;
use super::office::{Office, wait_until};
use super::shop::{BOTH, STOCK, Shop};

/// Copies a database that nobody has open, with what stands beside it. A file that is there is written over, as `cp` does.
fn copy(from: &Path, to: &Path) {
    for end in ["", "-wal", "-shm"] {
        let beside = |path: &Path| PathBuf::from(format!("{}{end}", path.display()));
        if beside(from).exists() {
            fs::copy(beside(from), beside(to)).unwrap();
        } else if beside(to).exists() {
            fs::remove_file(beside(to)).unwrap();
        }
    }
}

/// Puts the database back to where it was when the shop had opened, after both sides went on.
async fn restored_database() -> Shop {
    let shop = Shop::usual().await;
    shop.becomes("tea", "qty", json!(10)).await;
    shop.is_at_rest().await;
    shop.stop().await;
    let backup = shop.office.path().join("backup.db");
    copy(&shop.file, &backup);
    shop.reload(&[BOTH]).await;
    for n in 1..=8 {
        shop.sql("UPDATE stock SET qty = qty - 1 WHERE sku = 'tea'").await;
        shop.becomes("tea", "qty", json!(10 - n)).await;
    }
    shop.merge("tea", json!({ "qty": { "$inc": 100 } })).await;
    shop.has("SELECT qty FROM stock WHERE sku = 'tea'", &["102"]).await;
    shop.sql("INSERT INTO stock VALUES ('jam', 'Jam', '3', 4)").await;
    shop.becomes("jam", "qty", json!(4)).await;
    shop.is_at_rest().await;
    shop.stop().await;
    copy(&backup, &shop.file);
    shop.sql("UPDATE stock SET qty = qty - 1, name = 'Green tea' WHERE sku = 'tea'").await;
    shop.reload(&[BOTH]).await;
    let why = shop.rests().await;
    assert!(why.contains("back in time"), "{why}");
    assert!(why.contains("resync shop --from database"), "{why}");
    assert_eq!(shop.field("tea", "qty").await, json!(102));
    assert_eq!(shop.rows("SELECT qty FROM stock WHERE sku = 'tea'").await, ["9"]);
    // Going on without a decision is no way out.
    let _ = shop.bridges.ask("shop", BridgeCommand::Resume).await;
    let why = shop.rests().await;
    assert!(why.contains("back in time"), "{why}");
    shop
}

/// B5.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restored_database_waits_for_a_person_and_can_hold() {
    let shop = restored_database().await;
    shop.ask(BridgeCommand::Resync { table: None, from: Side::Database }).await;
    shop.becomes("tea", "qty", json!(9)).await;
    shop.becomes("tea", "name", json!("Green tea")).await;
    shop.becomes("jam", "qty", json!(null)).await;
    shop.runs().await;
    shop.is_at_rest().await;
    assert_eq!(shop.rows("SELECT sku, qty FROM stock ORDER BY sku").await, ["milk|20", "tea|9"]);
    shop.sql("UPDATE stock SET qty = qty + 1 WHERE sku = 'tea'").await;
    shop.becomes("tea", "qty", json!(10)).await;
}

/// B5.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restored_database_waits_for_a_person_and_can_be_made_good() {
    let shop = restored_database().await;
    shop.ask(BridgeCommand::Resync { table: None, from: Side::Collection }).await;
    let rows = ["jam|Jam|4", "milk|Milk|20", "tea|Tea|102"];
    shop.has("SELECT sku, name, qty FROM stock ORDER BY sku", &rows).await;
    shop.runs().await;
    shop.is_at_rest().await;
    assert_eq!(shop.field("tea", "qty").await, json!(102));
    shop.sql("UPDATE stock SET qty = qty + 1 WHERE sku = 'tea'").await;
    shop.becomes("tea", "qty", json!(103)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_restored_from_before_the_bridge_waits_for_a_person() {
    let shop = Shop::usual().await;
    shop.sql("UPDATE stock SET qty = 6 WHERE sku = 'tea'").await;
    shop.becomes("tea", "qty", json!(6)).await;
    shop.stop().await;
    let fresh = shop.office.sqlite("fresh", STOCK).await;
    copy(&fresh, &shop.file);
    shop.reload(&[BOTH]).await;
    let why = shop.rests().await;
    assert!(why.contains("are gone from the database"), "{why}");
    shop.ask(BridgeCommand::Install).await;
    let why = shop.stops("stock").await;
    assert!(why.contains("which side holds"), "{why}");
    assert_eq!(shop.field("tea", "qty").await, json!(6));
    assert_eq!(shop.rows("SELECT qty FROM stock WHERE sku = 'tea'").await, ["10"]);
    shop.resync("stock", Side::Collection).await;
    shop.has("SELECT qty FROM stock WHERE sku = 'tea'", &["6"]).await;
    shop.is_at_rest().await;
}

/// The node goes back in time, and its database does not.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_state_that_is_older_than_the_database_rests() {
    let shop = Shop::usual().await;
    shop.becomes("tea", "qty", json!(10)).await;
    shop.is_at_rest().await;
    shop.stop().await;
    let state = state_file(&shop.office.path().join("connect"), "shop");
    let backup = shop.office.path().join("state.backup");
    copy(&state, &backup);
    shop.reload(&[BOTH]).await;
    for n in 1..=8 {
        shop.sql("UPDATE stock SET qty = qty - 1 WHERE sku = 'tea'").await;
        shop.becomes("tea", "qty", json!(10 - n)).await;
    }
    shop.is_at_rest().await;
    shop.stop().await;
    copy(&backup, &state);
    shop.sql("UPDATE stock SET qty = qty - 1 WHERE sku = 'tea'").await;
    shop.reload(&[BOTH]).await;
    let why = shop.rests().await;
    assert!(why.contains("this node went back in time"), "{why}");
    assert_eq!(shop.field("tea", "qty").await, json!(2));
    shop.resync("stock", Side::Database).await;
    shop.becomes("tea", "qty", json!(1)).await;
    shop.runs().await;
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

/// A decision about one table is none about the others.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_restore_each_table_waits_for_its_own_decision() {
    let shop = Shop::open(TWO, &[BOTH, SALES]).await;
    shop.becomes("tea", "qty", json!(10)).await;
    shop.is_at_rest().await;
    shop.stop().await;
    let backup = shop.office.path().join("backup.db");
    copy(&shop.file, &backup);
    shop.reload(&[BOTH, SALES]).await;
    for n in 1..=8 {
        shop.sql("UPDATE stock SET qty = qty - 1 WHERE sku = 'tea'").await;
        shop.becomes("tea", "qty", json!(10 - n)).await;
    }
    shop.sql("UPDATE sales SET total = 50 WHERE id = 1").await;
    wait_until("the sale", || async {
        shop.office.fields("sales", "head-1").await.unwrap()["total"] == json!(50)
    })
    .await;
    shop.stop().await;
    copy(&backup, &shop.file);
    shop.reload(&[BOTH, SALES]).await;
    shop.rests().await;
    shop.resync("stock", Side::Database).await;
    shop.becomes("tea", "qty", json!(10)).await;
    let why = shop.stops("sales").await;
    assert!(why.contains("which side holds"), "{why}");
    shop.sql("UPDATE sales SET total = 7 WHERE id = 2").await;
    shop.sql("UPDATE stock SET qty = 11 WHERE sku = 'tea'").await;
    shop.becomes("tea", "qty", json!(11)).await;
    let refused = shop.refuses(BridgeCommand::Resume).await;
    assert!(refused.contains("sales"), "{refused}");
    assert_eq!(shop.office.fields("sales", "head-1").await.unwrap()["total"], json!(50));
    assert_eq!(shop.office.fields("sales", "head-2").await.unwrap()["total"], json!(6));
    assert_eq!(shop.rows("SELECT total FROM sales ORDER BY id").await, ["5", "7"]);
    shop.resync("sales", Side::Collection).await;
    shop.has("SELECT total FROM sales ORDER BY id", &["50", "6"]).await;
    shop.runs().await;
    shop.is_at_rest().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_collection_that_holds_leaves_rows_outside_of_the_filter_and_rows_deleted_before_alone() {
    const SETTINGS: &str = r#"
        table = "stock"
        collection = "stock"
        mode = "both"
        where = "qty > 50"
        deleted = "deleted_at"
        fields = { price = { kind = "decimal" } }
    "#;
    let shop = Shop::open(HUNDRED, &[SETTINGS]).await;
    shop.becomes("s100", "qty", json!(100)).await;
    shop.sql("UPDATE stock SET deleted_at = '2024-03-01 10:00:00' WHERE sku = 's099'").await;
    wait_until("it is deleted", || async { shop.view("s099").await.unwrap().deleted }).await;
    shop.resync("stock", Side::Collection).await;
    shop.merge("s100", json!({ "name": "Other" })).await;
    shop.has("SELECT name FROM stock WHERE sku = 's100'", &["Other"]).await;
    shop.runs().await;
    assert_eq!(shop.rows("SELECT count(*) FROM stock").await, ["100"]);
    let deleted = "SELECT sku FROM stock WHERE deleted_at IS NOT NULL";
    assert_eq!(shop.rows(deleted).await, ["s099"]);
    assert!(shop.view("s099").await.unwrap().deleted);
    assert_eq!(shop.view("s001").await, None);
}

/// B48.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_node_on_one_database_is_refused_by_the_first_ones_name() {
    let head = Office::start("head").await;
    let branch = Office::join(&head, "branch").await;
    let shop = Shop::open_at(head, STOCK, &[BOTH]).await;
    let bridges = branch.bridges(&shop.file, vec![toml::from_str(BOTH).unwrap()]).await;
    let refused =
        bridges.ask("shop", BridgeCommand::Install).await.unwrap().unwrap_err().to_string();
    assert!(refused.contains("site head works on this database"), "{refused}");
    shop.sql("UPDATE stock SET qty = 9 WHERE sku = 'tea'").await;
    shop.becomes("tea", "qty", json!(9)).await;
    assert_eq!(shop.report().state, "running");
    bridges.stop().await;
}

/// A copy of node and database works elsewhere: of two nodes with one lease, at most one writes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_was_copied_with_its_bridge_is_told_from_the_first() {
    let shop = Shop::usual().await;
    shop.is_at_rest().await;
    shop.stop().await;
    let elsewhere = shop.office.path().join("elsewhere.db");
    copy(&shop.file, &elsewhere);
    // The same node, with word that its database is the copy.
    let url = format!("sqlite:{}", elsewhere.display());
    let tables = vec![toml::from_str(BOTH).unwrap()];
    shop.bridges.take_up(&[super::office::config(&url, tables)]).await;
    let why = shop.rests().await;
    assert!(why.contains("copy"), "{why}");
    // Back at the first it works on.
    shop.reload(&[BOTH]).await;
    let answered = shop.bridges.ask("shop", BridgeCommand::Resume).await.unwrap();
    answered.unwrap();
    shop.sql("UPDATE stock SET qty = 9 WHERE sku = 'tea'").await;
    shop.becomes("tea", "qty", json!(9)).await;
}

/// B48: while it works.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lease_that_another_node_has_taken_is_respected_until_it_runs_out() {
    let shop = Shop::usual().await;
    shop.is_at_rest().await;
    shop.sql(
        "UPDATE branchline_context SET lease_site = 'other', lease_token = 'x', \
         lease_until = (unixepoch('subsec') + 8) * 1000",
    )
    .await;
    shop.sql("UPDATE stock SET qty = 9 WHERE sku = 'tea'").await;
    wait_until("it says whose it is", || async {
        shop.report().reason.is_some_and(|why| why.contains("site other works on this database"))
    })
    .await;
    assert_eq!(shop.rows("SELECT lease_site FROM branchline_context").await, ["other"]);
    shop.becomes("tea", "qty", json!(9)).await;
    shop.runs().await;
    shop.is_at_rest().await;
}
