//! The context row: lease, generation, and how a copied or restored file is distinguished from the one that the node knows.

use std::time::Duration;

use branchline_connect::sql::database::{Database, DbErrorClass};
use branchline_connect::sql::sqlite::SqliteDatabase;

use crate::shop::{Shop, TOKEN};

const TABLE: &str = "CREATE TABLE t (id INTEGER PRIMARY KEY)";

/// B48: two nodes on one file.
#[tokio::test]
async fn a_second_node_gets_no_lease_while_the_first_holds_it() {
    let shop = Shop::wal(TABLE).await;
    let mut one = shop.bridge().await;
    let tables = [one.bound(1, "t").await];
    one.install(&tables).await;
    let mut other = shop.bridge().await;
    let minute = Duration::from_secs(60);
    assert!(!other.database.take_lease("south", "other", minute, false).await.unwrap());
    let lease = other.database.context().await.unwrap().unwrap().lease.unwrap();
    assert_eq!((lease.site.as_str(), lease.is_expired), ("north", false));
    assert!(!other.database.begin_write("other", 0, None).await.unwrap());
    assert!(!other.database.begin_write(TOKEN, 1, None).await.unwrap(), "another generation");
    assert!(one.database.take_lease("north", TOKEN, Duration::ZERO, false).await.unwrap());
    assert!(one.database.context().await.unwrap().unwrap().lease.unwrap().is_expired);
    assert!(other.database.take_lease("south", "other", minute, false).await.unwrap());
    assert!(!one.database.begin_write(TOKEN, 0, None).await.unwrap());
    assert!(one.database.take_lease("north", TOKEN, minute, true).await.unwrap(), "by force");
}

/// B5: going back in time and copies show in generation and server.
#[tokio::test]
async fn restored_and_copied_files_are_told() {
    let shop = Shop::wal(TABLE).await;
    let mut bridge = shop.bridge().await;
    let tables = [bridge.bound(1, "t").await];
    bridge.install(&tables).await;
    let copy = shop.path.with_file_name("copy.db");
    let mut till = shop.till(false).await;
    till.run(&format!("VACUUM INTO '{}'", copy.display())).await;
    bridge.begin(Some(4)).await;
    bridge.database.commit().await.unwrap();
    assert_eq!(bridge.database.settled(Duration::from_millis(100)).await.unwrap(), 4);

    let url = format!("sqlite:{}", copy.display());
    let mut copied = SqliteDatabase::connect(&url, None).await.unwrap();
    let context = copied.context().await.unwrap().unwrap();
    assert_ne!(context.server, context.server_now);
    assert_eq!(context.generation, 0);
    copied.adopt("another", 12).await.unwrap();
    let context = copied.context().await.unwrap().unwrap();
    assert_eq!(
        (context.server, context.epoch.as_str(), context.generation),
        (context.server_now, "another", 12)
    );
    drop(copied);

    // Put in the first one's place while that is open: what is written there would never be seen.
    drop(till);
    for suffix in ["-wal", "-shm"] {
        std::fs::remove_file(format!("{}{suffix}", shop.path.display())).unwrap();
    }
    std::fs::rename(&copy, &shop.path).unwrap();
    let error = bridge.database.has_notes().await.unwrap_err();
    assert_eq!(error.class, DbErrorClass::Transient);
    assert!(error.message.contains("replaced"), "{error}");
    bridge.database.reconnect().await.unwrap();
    let context = bridge.database.context().await.unwrap().unwrap();
    assert_eq!(context.generation, 12);
    assert_ne!(context.server, context.server_now);
}

#[tokio::test]
async fn a_file_that_is_not_there_is_not_made() {
    let shop = Shop::wal(TABLE).await;
    let absent = shop.path.with_file_name("absent.db");
    let url = format!("sqlite:{}?mode=rwc", absent.display());
    let error = SqliteDatabase::connect(&url, None).await.unwrap_err();
    assert_eq!(error.class, DbErrorClass::Config);
    assert!(error.message.contains("absent.db") && error.message.contains("never does"), "{error}");
    assert!(!absent.exists());
    let error = SqliteDatabase::connect(&shop.url(), Some("secret")).await.unwrap_err();
    assert!(!error.message.contains("secret"), "{error}");
    for (url, says) in [
        ("sqlite::memory:".to_owned(), "cannot be opened"),
        (format!("{}?foreign_keys=maybe", shop.url()), "expected `on` or `off`"),
        (format!("sqlite:{}", shop.path.parent().unwrap().display()), "is not a file"),
    ] {
        let error = SqliteDatabase::connect(&url, None).await.unwrap_err();
        assert_eq!(error.class, DbErrorClass::Config);
        assert!(error.message.contains(says), "{url}: {error}");
    }
    std::fs::write(&absent, "this is a text of more than some bytes, and no database at all")
        .unwrap();
    let url = format!("sqlite:{}", absent.display());
    let error = match SqliteDatabase::connect(&url, None).await {
        Ok(mut database) => database.shape("t").await.unwrap_err(),
        Err(error) => error,
    };
    assert_eq!(error.class, DbErrorClass::Config, "{error}");
}

#[tokio::test]
async fn a_file_without_wal_and_broken_foreign_keys_are_named() {
    let schema = "CREATE TABLE p (id INTEGER PRIMARY KEY); CREATE TABLE c (p REFERENCES p); INSERT INTO c VALUES (7)";
    let shop = Shop::new("delete", schema).await;
    let (refusals, warnings) = shop.bridge().await.database.judge().await.unwrap();
    let none: [String; 0] = [];
    assert_eq!(refusals, none);
    assert!(warnings.iter().any(|text| text.contains("journal mode `delete`")), "{warnings:?}");
    let shop = Shop::wal(schema).await;
    let (_, warnings) = shop.bridge().await.database.judge().await.unwrap();
    assert!(
        warnings.iter().any(|text| text.contains("rows of c break a foreign key")),
        "{warnings:?}"
    );
    let url = format!("{}?foreign_keys=off", shop.url());
    let (_, warnings) = SqliteDatabase::connect(&url, None).await.unwrap().judge().await.unwrap();
    assert!(!warnings.iter().any(|text| text.contains("break")), "{warnings:?}");
}
