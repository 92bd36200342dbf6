//! Users, rights, sessions and the server itself.

use super::{Till, keys, shop};
use crate::servers::mariadb::MariaDb as Server;
use branchline_connect::sql::database::{Database, DbErrorClass};
use branchline_connect::sql::mariadb::MariaDb;
use sqlx::Connection;
use sqlx::mysql::MySqlConnection;

const SALES: &str = "CREATE TABLE `sales ``of`` 'ours'` (`the id` INT PRIMARY KEY, total INT);";

#[tokio::test]
async fn the_printed_grants_are_enough_and_the_application_needs_none() {
    let Some(mut shop) = shop(SALES).await else { return };
    let table = "sales `of` 'ours'";
    let name = format!("bridge_{}", shop.database);
    shop.server.run("", &format!("CREATE USER '{name}'@'127.0.0.1' IDENTIFIED BY 'a b/?@'"));
    let url = shop.server.url(&name, &shop.database);
    assert_eq!(MariaDb::connect(&url, None).await.err().unwrap().class, DbErrorClass::Config);
    assert_eq!(
        MariaDb::connect(&url, Some("wrong")).await.err().unwrap().class,
        DbErrorClass::Config
    );
    // No right in the database at all: it cannot be entered.
    assert_eq!(MariaDb::connect(&url, Some("a b/?@")).await.err().unwrap().code, "1044");
    let bound = shop.bound(table, 1).await;
    shop.server.run("", &format!("GRANT SELECT ON {}.* TO '{name}'@'127.0.0.1'", shop.database));
    let mut bridge = MariaDb::connect(&url, Some("a b/?@")).await.unwrap();
    let error = bridge.install(std::slice::from_ref(&bound)).await.unwrap_err();
    assert_eq!((error.class, error.code.as_str()), (DbErrorClass::Config, "1142"));
    let (_, warnings) = bridge.judge().await.unwrap();
    assert!(warnings.iter().any(|warning| warning.contains("GRANT PROCESS")), "{warnings:?}");
    for grant in bridge.grants(std::slice::from_ref(&bound)) {
        shop.server.run("", &grant);
    }
    shop.server.run("", &format!("REVOKE SELECT ON {}.* FROM '{name}'@'127.0.0.1'", shop.database));
    let mut bridge = MariaDb::connect(&url, Some("a b/?@")).await.unwrap();
    let shape = bridge.shape(table).await.unwrap().unwrap();
    assert_eq!(shape.primary_key, ["the id"]);
    bridge.install(std::slice::from_ref(&bound)).await.unwrap();
    assert_eq!(bridge.blind(std::slice::from_ref(&bound)).await.unwrap(), []);
    bridge.take_lease("north", "t", std::time::Duration::from_secs(9), false).await.unwrap();

    // The application has rights on its own table alone.
    let app = format!("app_{}", shop.database);
    shop.server.run(
        &shop.database,
        &format!(
            "CREATE USER {app}@'%'; GRANT INSERT, SELECT ON `sales ``of`` 'ours'` TO {app}@'%'"
        ),
    );
    let mut till =
        Till(MySqlConnection::connect(&shop.server.url(&app, &shop.database)).await.unwrap());
    till.run("INSERT INTO `sales ``of`` 'ours'` VALUES (1, 1)").await;
    assert_eq!(till.attempt("SELECT * FROM branchline_outbox").await, Err(1142));
    bridge.begin_read(std::slice::from_ref(&bound)).await.unwrap();
    assert_eq!(bridge.notes(9).await.unwrap()[0].key.as_deref(), Some("1"));
    assert_eq!(bridge.rows(&bound, &keys(&["1"])).await.unwrap().len(), 1);
    bridge.end_read().await.unwrap();
    assert!(bridge.begin_write("t", 0, Some(1)).await.unwrap());
    bridge.guard(Some(&bound)).await.unwrap();
    bridge.delete(&bound, &keys(&["1"])).await.unwrap();
    bridge.commit().await.unwrap();

    // The definer goes: the application fails loudly, the refusal is of the configuration, and removing mends it.
    shop.server.run("", &format!("DROP USER '{name}'@'127.0.0.1'"));
    assert_eq!(till.attempt("INSERT INTO `sales ``of`` 'ours'` VALUES (2, 1)").await, Err(1449));
    shop.driver.remove(std::slice::from_ref(&bound)).await.unwrap();
    till.run("INSERT INTO `sales ``of`` 'ours'` VALUES (2, 1)").await;
}

#[tokio::test]
async fn the_session_is_the_bridges_own_whatever_the_server_is_set_to() {
    let options = [
        "--sql-mode=ANSI,NO_BACKSLASH_ESCAPES",
        "--init-connect=SET autocommit=0, time_zone='+05:00', sql_safe_updates=1, foreign_key_checks=0",
        "--log-bin=bin",
        "--server-id=1",
        "--binlog-format=STATEMENT",
        "--default-time-zone=+03:00",
        "--max-allowed-packet=4M",
    ];
    let Some(mut server) = Server::start_with(&options) else { return };
    let database = server.database("", "CREATE TABLE t (id INT PRIMARY KEY, at TIMESTAMP)");
    server.run("", "CREATE USER b@'127.0.0.1'; GRANT ALL ON *.* TO b@'127.0.0.1'; REVOKE SUPER ON *.* FROM b@'127.0.0.1'");
    let mut driver = MariaDb::connect(&server.url("b", &database), None).await.unwrap();
    let (refusals, warnings) = driver.judge().await.unwrap();
    for what in ["binlog_format", "log_bin_trust_function_creators", "max_allowed_packet"] {
        assert!(refusals.iter().any(|refusal| refusal.contains(what)), "{what}: {refusals:?}");
    }
    assert!(warnings.iter().all(|warning| !warning.contains("TRUNCATE")));
    server.run("", "SET GLOBAL binlog_format = 'MIXED', GLOBAL log_bin_trust_function_creators = 1, GLOBAL max_allowed_packet = 16777216");
    driver.reconnect().await.unwrap();
    let (refusals, _) = driver.judge().await.unwrap();
    assert_eq!(refusals, Vec::<String>::new());
    driver.execute("INSERT INTO t VALUES (1, '2024-01-01 00:00:00')").await.unwrap();
    server.run(
        &database,
        "SELECT 1; INSERT INTO t SELECT 2, at FROM t WHERE at = '2024-01-01 03:00:00'",
    );
    let mut till = Till(MySqlConnection::connect(&server.url("root", &database)).await.unwrap());
    assert_eq!(till.text("SELECT COUNT(*) FROM t").await, "2");

    // A server that is killed: transient, whatever was asked, until another connection is made.
    server.kill();
    for _ in 0..2 {
        let error = driver.has_notes().await.unwrap_err();
        assert_eq!((error.class, error.code.as_str()), (DbErrorClass::Transient, ""), "{error}");
    }
    let error = driver.reconnect().await.unwrap_err();
    assert_eq!(error.class, DbErrorClass::Transient, "{error}");
    server.restart();
    driver.reconnect().await.unwrap();
    driver.roll_back().await;
    assert!(driver.context().await.unwrap().is_none());
}

#[tokio::test]
async fn a_dropped_wait_and_a_killed_session_leave_nothing_open() {
    let Some(mut shop) =
        shop("CREATE TABLE sales (id INT PRIMARY KEY, total INT); INSERT INTO sales VALUES (1, 1)")
            .await
    else {
        return;
    };
    let sales = shop.bound("sales", 1).await;
    shop.install(std::slice::from_ref(&sales)).await;
    let mut till = shop.till().await;
    shop.begin().await;
    shop.driver.guard(Some(&sales)).await.unwrap();
    shop.driver.delete(&sales, &keys(&["1"])).await.unwrap();
    let soon = std::time::Duration::from_millis(100);
    assert!(tokio::time::timeout(soon, shop.driver.execute("SELECT SLEEP(2)")).await.is_err());
    assert_eq!(shop.driver.commit().await.unwrap_err().class, DbErrorClass::Transient);
    shop.driver.reconnect().await.unwrap();
    shop.driver.execute("INSERT INTO sales VALUES (2, 2)").await.unwrap();
    assert_eq!(shop.noted().await, ["1 I 2"]);

    shop.begin().await;
    shop.driver.guard(Some(&sales)).await.unwrap();
    shop.driver.delete(&sales, &keys(&["2"])).await.unwrap();
    let id = till.text("SELECT id FROM information_schema.processlist WHERE db = DATABASE() AND id <> CONNECTION_ID()").await;
    till.run(&format!("KILL {id}")).await;
    assert_eq!(shop.driver.commit().await.unwrap_err().class, DbErrorClass::Transient);
    assert_eq!(till.text("SELECT COUNT(*) FROM sales").await, "2");
    shop.driver.reconnect().await.unwrap();
    assert!(!shop.driver.has_notes().await.unwrap());
}
