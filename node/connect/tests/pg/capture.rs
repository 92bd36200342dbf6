//! Notes: none missing, none that the application could stumble over.

use branchline_connect::sql::database::Database;

use super::{bench, row_of};

#[tokio::test]
async fn rows_are_noted_read_and_forgotten_by_transaction() {
    let sql = "CREATE TABLE stock (sku text PRIMARY KEY, name text, price numeric(12,2), qty int NOT NULL)";
    let Some(mut bench) = bench(sql).await else { return };
    let stock = bench.bound(1, "stock").await;
    bench.install(std::slice::from_ref(&stock)).await;
    let mut app = bench.app().await;
    app.run("INSERT INTO stock VALUES ('tea', 'Té ☕', 1.10, 10), ('b', NULL, NULL, 0)").await;
    assert!(bench.bridge.has_notes().await.unwrap());
    assert_eq!(bench.bridge.notes_waiting().await.unwrap(), 2);
    assert_eq!(bench.drain().await, ["I b", "I tea"]);
    assert!(!bench.bridge.has_notes().await.unwrap());
    let rows = bench.rows(&stock, &["tea", "b", "absent"]).await;
    assert_eq!(rows.len(), 2);
    assert_eq!(rows[0].row, row_of(&["b", "-", "-", "0"]));
    assert_eq!(rows[1].row, row_of(&["tea", "Té ☕", "1.10", "10"]));
    assert_eq!(bench.bridge.context().await.unwrap().unwrap().generation, 1);
}
