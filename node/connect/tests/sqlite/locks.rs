//! Locks between the bridge and the application.

use std::time::{Duration, Instant};

use branchline_connect::sql::database::{Database, DbErrorClass};

use crate::shop::{Shop, TOKEN};

const TABLE: &str = "CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT)";

/// B40, B19: what waits for the application's lock is transient, and nothing is left begun.
#[tokio::test]
async fn a_lock_of_the_application_is_waited_for_and_is_transient() {
    let shop = Shop::wal(TABLE).await;
    let mut till = shop.till(false).await;
    let mut bridge = shop.bridge().await;
    let tables = [bridge.bound(1, "t").await];
    bridge.install(&tables).await;
    till.run("BEGIN IMMEDIATE; INSERT INTO t VALUES (1, 'a')").await;
    let error = bridge.database.begin_write(TOKEN, 0, None).await.unwrap_err();
    assert_eq!((error.class, error.code.as_str()), (DbErrorClass::Transient, "5"));
    let started = Instant::now();
    let error = bridge.database.settled(Duration::from_millis(50)).await.unwrap_err();
    assert_eq!(error.class, DbErrorClass::Transient);
    assert!(started.elapsed() < Duration::from_secs(1), "{:?}", started.elapsed());
    assert!(bridge.notes(&tables).await.is_empty(), "reading does not wait with WAL");
    till.run("COMMIT").await;
    assert_eq!(bridge.drain(&tables).await, ["1 I 1"]);
}

/// A snapshot is one: what is committed during it is in the next.
#[tokio::test]
async fn notes_and_rows_of_a_snapshot_are_of_one_moment() {
    let shop = Shop::wal(TABLE).await;
    let mut till = shop.till(false).await;
    let mut bridge = shop.bridge().await;
    let tables = [bridge.bound(1, "t").await];
    bridge.install(&tables).await;
    till.run("INSERT INTO t VALUES (1, 'a')").await;
    bridge.database.begin_read(&tables).await.unwrap();
    till.run("UPDATE t SET v = 'b'; INSERT INTO t VALUES (2, 'c')").await;
    assert_eq!(bridge.database.notes(10).await.unwrap().len(), 1);
    let rows = bridge.database.rows(&tables[0], &["1", "2"].map(crate::shop::key)).await.unwrap();
    assert_eq!((rows.len(), &rows[0].row[1]), (1, &crate::shop::text("a")));
    bridge.database.end_read().await.unwrap();
    assert!(bridge.database.has_notes().await.unwrap());
    assert_eq!(bridge.drain(&tables).await.len(), 3);
}

/// A till without busy_timeout sells on beside the bridge's drains and writes. The bridge's worker keeps them apart by 250
/// ms; here they are without a pause between, and still nearly all of the till's writes pass at once, and all after a
/// second try.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_till_without_busy_timeout_is_not_locked_out() {
    for journal_mode in ["wal", "delete"] {
        let shop = Shop::new(journal_mode, TABLE).await;
        let mut till = shop.till(false).await;
        let mut bridge = shop.bridge().await;
        let tables = [bridge.bound(1, "t").await];
        bridge.install(&tables).await;
        let selling = tokio::spawn(async move {
            let mut refused = 0;
            for id in 0..200 {
                let deadline = Instant::now() + Duration::from_secs(5);
                while let Err(why) =
                    till.try_run(&format!("INSERT INTO t VALUES ({id}, 'x')")).await
                {
                    refused += 1;
                    assert!(Instant::now() < deadline, "locked out: {why}");
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
            }
            refused
        });
        let mut seen = 0;
        let deadline = Instant::now() + Duration::from_secs(60);
        while seen < 200 && Instant::now() < deadline {
            if bridge.database.has_notes().await.unwrap() {
                seen += bridge.drain(&tables).await.len();
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        assert_eq!(seen, 200, "{journal_mode}");
        let refused = selling.await.unwrap();
        eprintln!("{journal_mode}: {refused} refusals of 200 inserts beside a write each 20 ms");
    }
}

/// B40, from knowledge of what such a till must expect: it is its own read-then-write that is refused.
#[tokio::test]
async fn a_till_that_reads_and_then_writes_in_one_transaction_is_refused_once_the_bridge_wrote_between()
 {
    let shop = Shop::wal(TABLE).await;
    let mut till = shop.till(false).await;
    let mut bridge = shop.bridge().await;
    let tables = [bridge.bound(1, "t").await];
    bridge.install(&tables).await;
    till.run("BEGIN").await;
    till.value("SELECT count(*) FROM t").await;
    bridge.begin(None).await;
    bridge.database.commit().await.unwrap();
    let refused = till.try_run("INSERT INTO t VALUES (1, 'a')").await.unwrap_err();
    let code =
        refused.as_database_error().and_then(|error| error.code().map(|code| code.to_string()));
    assert_eq!(code.as_deref(), Some("517"));
    till.run("ROLLBACK").await;
    let (_, warnings) = bridge.database.judge().await.unwrap();
    assert!(warnings.iter().any(|text| text.contains("BEGIN IMMEDIATE")), "{warnings:?}");
}
