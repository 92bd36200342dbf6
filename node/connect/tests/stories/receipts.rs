//! Rows are reported when they were handed over, and when the other office holds them.

use branchline_connect::sql::worker::BridgeCommand;
use serde_json::json;

use super::office::{Office, wait_until};
use super::shop::Shop;

const SALES: &str = "
CREATE TABLE stock (sku TEXT NOT NULL PRIMARY KEY, qty INTEGER NOT NULL, sent_at DATETIME, acked_at DATETIME);
INSERT INTO stock VALUES ('s1', 5, NULL, NULL), ('s2', 6, NULL, NULL);
";
const CAPTURED: &str = r#"
table = "stock"
collection = "stock"
mode = "capture"
sent = "sent_at"
acked = "acked_at"
acked_by = "head"
"#;
const OPEN: &str = "SELECT count(*) FROM stock WHERE acked_at IS NULL";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_are_marked_as_sent_and_confirmed_and_an_edit_clears_both() {
    let head = Office::start("head").await;
    let branch = Office::join(&head, "branch").await;
    Shop::declare(&head, &branch, json!({ "sku": "string", "qty": "integer" })).await;
    let shop = Shop::open_at(branch, SALES, &[CAPTURED]).await;
    shop.has("SELECT count(*) FROM stock WHERE sent_at IS NULL OR acked_at IS NULL", &["0"]).await;
    wait_until("head has them", || async { head.fields("stock", "s2").await.is_some() }).await;
    // It was no edit: nothing is captured, and the record knows nothing of it.
    shop.is_at_rest().await;
    let fields = head.fields("stock", "s1").await.unwrap();
    assert_eq!(fields, json!({ "sku": "s1", "qty": 5 }));
    let heads = shop.view("s2").await.unwrap().heads;
    // Head office is not there: the edited row alone is open again, and its other columns are as the till left them.
    head.node.shutdown().await;
    wait_until("the link is gone", || async {
        let handle = shop.office.handle();
        let sites = handle.sites().await.unwrap();
        !sites.iter().any(|site| site.connected && site.site != handle.site())
    })
    .await;
    shop.sql("UPDATE stock SET qty = 50 WHERE sku = 's1'").await;
    shop.becomes("s1", "qty", json!(50)).await;
    let rows = ["s1|50|NULL|NULL"];
    shop.has("SELECT sku, qty, sent_at, acked_at FROM stock WHERE acked_at IS NULL", &rows).await;
    assert_eq!(
        shop.rows("SELECT qty FROM stock WHERE sku = 's2' AND acked_at IS NOT NULL").await,
        ["6"]
    );
    assert_eq!(shop.view("s2").await.unwrap().heads, heads);
    wait_until("it is reported how many are open", || async {
        shop.table("stock").unacknowledged == 1
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_till_writes_into_the_marks_itself_is_no_edit_either() {
    let head = Office::start("head").await;
    let branch = Office::join(&head, "branch").await;
    Shop::declare(&head, &branch, json!({ "sku": "string", "qty": "integer" })).await;
    let shop = Shop::open_at(branch, SALES, &[CAPTURED]).await;
    shop.has(OPEN, &["0"]).await;
    shop.is_at_rest().await;
    let heads = shop.view("s1").await.unwrap().heads;
    shop.sql("UPDATE stock SET sent_at = NULL WHERE sku = 's1'").await;
    shop.is_at_rest().await;
    assert_eq!(shop.view("s1").await.unwrap().heads, heads);
    // The bridge goes on, and so do the receipts of new rows.
    shop.sql("INSERT INTO stock (sku, qty) VALUES ('s3', 7)").await;
    shop.has(OPEN, &["0"]).await;
    assert_eq!(shop.rows("SELECT qty FROM stock ORDER BY sku").await, ["5", "6", "7"]);
    shop.ask(BridgeCommand::Pause).await;
}
