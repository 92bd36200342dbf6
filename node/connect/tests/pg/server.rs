//! The server, its errors, the context row, installing and removing.

use std::time::Duration;

use branchline_connect::sql::cell::Cell;
use branchline_connect::sql::database::{Database, Update};
use branchline_connect::sql::postgres::Postgres;

use super::{DbErrorClass, bench, code, key_of};

const SOME: Duration = Duration::from_secs(600);

#[tokio::test]
async fn one_site_holds_the_lease_and_writes_count_the_generation() {
    let Some(mut bench) = bench("CREATE TABLE t (id int PRIMARY KEY)").await else { return };
    assert_eq!(bench.bridge.context().await.unwrap(), None);
    let t = bench.bound(1, "t").await;
    bench.bridge.install(std::slice::from_ref(&t)).await.unwrap();
    let fresh = bench.bridge.context().await.unwrap().unwrap();
    assert_eq!((fresh.generation, fresh.applied, &fresh.lease), (0, 0, &None));
    assert_eq!(fresh.server, fresh.server_now);
    // B48.
    assert!(bench.bridge.take_lease("north", "a", SOME, false).await.unwrap());
    assert!(bench.bridge.take_lease("north", "a", SOME, false).await.unwrap());
    assert!(!bench.bridge.take_lease("south", "b", SOME, false).await.unwrap());
    let lease = bench.bridge.context().await.unwrap().unwrap().lease.unwrap();
    assert_eq!((&*lease.site, &*lease.token, lease.is_expired), ("north", "a", false));
    assert!(bench.bridge.take_lease("south", "b", Duration::ZERO, true).await.unwrap());
    assert!(bench.bridge.context().await.unwrap().unwrap().lease.unwrap().is_expired);
    assert!(bench.bridge.take_lease("north", "a", SOME, false).await.unwrap());
    // Another token or generation writes nothing.
    assert!(!bench.bridge.begin_write("b", 0, Some(1)).await.unwrap());
    assert!(!bench.bridge.begin_write("a", 7, Some(1)).await.unwrap());
    assert!(bench.bridge.begin_write("a", 0, Some(5)).await.unwrap());
    bench.bridge.roll_back().await;
    assert!(bench.bridge.begin_write("a", 0, Some(5)).await.unwrap());
    // Another connection waits for the commit that is under way.
    let url = bench.server.url("postgres", &bench.database);
    let mut other = Postgres::connect(&url, None).await.unwrap();
    let waits = other.settled(Duration::from_millis(200)).await.unwrap_err();
    assert_eq!((waits.class, &*waits.code), (DbErrorClass::Transient, "55P03"));
    let (settled, committed) = tokio::join!(other.settled(SOME), bench.bridge.commit());
    committed.unwrap();
    assert_eq!(settled.unwrap(), 5);
    assert!(bench.bridge.begin_write("a", 1, None).await.unwrap());
    bench.bridge.commit().await.unwrap();
    let context = bench.bridge.context().await.unwrap().unwrap();
    assert_eq!((context.generation, context.applied), (2, 5));
    assert_eq!(context.epoch, fresh.epoch);
}

/// B5: a copy is distinguished from the original, and taken on by a person's word.
#[tokio::test]
async fn a_copied_database_is_seen_by_its_server() {
    let Some(mut bench) = bench("CREATE TABLE t (id int PRIMARY KEY)").await else { return };
    let t = bench.bound(1, "t").await;
    bench.install(std::slice::from_ref(&t)).await;
    let original = bench.bridge.context().await.unwrap().unwrap();
    drop(bench.bridge);
    let copy = bench.server.database(&format!("TEMPLATE {}", bench.database), "");
    let mut bridge = Postgres::connect(&bench.server.url("postgres", &copy), None).await.unwrap();
    let copied = bridge.context().await.unwrap().unwrap();
    assert_eq!((&copied.server, &copied.epoch), (&original.server, &original.epoch));
    assert_ne!(copied.server, copied.server_now);
    bridge.adopt("another", 40).await.unwrap();
    let adopted = bridge.context().await.unwrap().unwrap();
    assert_eq!((&*adopted.epoch, adopted.generation), ("another", 40));
    assert_eq!(adopted.server, adopted.server_now);
}

/// B19: each of these comes from the server itself.
#[tokio::test]
async fn errors_are_told_apart_by_what_has_to_be_done() {
    let sql = "CREATE TABLE t (id int PRIMARY KEY, w text); INSERT INTO t VALUES (1, ''), (2, '');
        CREATE FUNCTION no() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
          IF NEW.w = 'shop' THEN RAISE EXCEPTION 'not this one' USING ERRCODE = 'S0001'; END IF;
          IF NEW.w = 'no' THEN RAISE EXCEPTION 'not this one'; END IF; RETURN NEW; END $$;
        CREATE TRIGGER no BEFORE UPDATE ON t FOR EACH ROW EXECUTE FUNCTION no()";
    let Some(mut bench) = bench(sql).await else { return };
    let t = bench.bound(1, "t").await;
    bench.install(std::slice::from_ref(&t)).await;
    let mut app = bench.app().await;
    for (sql, class, code) in [
        ("UPDATE t SET w = 'no'", DbErrorClass::Row, "P0001"),
        ("UPDATE t SET w = 'shop'", DbErrorClass::Row, "S0001"),
        ("SELECT nothing FROM t", DbErrorClass::Schema, "42703"),
        ("SELECT 1 FROM nothing", DbErrorClass::Schema, "42P01"),
        ("INSERT INTO t SELECT 1 ON CONFLICT (w) DO NOTHING", DbErrorClass::Schema, "42P10"),
        ("SELECT FROM WHERE", DbErrorClass::Config, "42601"),
        ("SET ROLE pg_monitor; UPDATE t SET w = 'x'", DbErrorClass::Config, "42501"),
        ("SET LOCAL statement_timeout = 50; SELECT pg_sleep(5)", DbErrorClass::Transient, "57014"),
        ("SET default_transaction_read_only = on", DbErrorClass::Bug, ""),
        ("UPDATE t SET w = 'x'", DbErrorClass::Transient, "25006"),
        ("SET default_transaction_read_only = off", DbErrorClass::Bug, ""),
        ("BEGIN; SELECT 1/0", DbErrorClass::Row, "22012"),
        ("SELECT 1", DbErrorClass::Bug, "25P02"),
        ("ROLLBACK", DbErrorClass::Bug, ""),
    ] {
        let done = bench.bridge.execute(sql).await;
        if code.is_empty() {
            done.unwrap_or_else(|error| panic!("{sql}: {error}"));
            continue;
        }
        let error = done.expect_err(sql);
        assert_eq!((error.class, &*error.code), (class, code), "{sql}: {error}");
    }
    // A deadlock, which the bridge loses since it waits the shorter time; the application goes on.
    app.run("SET deadlock_timeout = '20s'; BEGIN; UPDATE t SET w = 'app' WHERE id = 1").await;
    bench.bridge.execute("SET deadlock_timeout = '100ms'").await.unwrap();
    bench.write().await;
    bench.bridge.lock(&t, &[key_of("2")]).await.unwrap();
    let keys = [key_of("1")];
    let (lost, won) = tokio::join!(
        bench.bridge.lock(&t, &keys),
        app.attempt("UPDATE t SET w = 'app' WHERE id = 2; COMMIT")
    );
    let lost = lost.unwrap_err();
    assert_eq!((lost.class, &*lost.code), (DbErrorClass::Transient, "40P01"));
    bench.bridge.roll_back().await;
    won.unwrap();
    // A row that the application holds.
    app.run("BEGIN; UPDATE t SET w = 'held' WHERE id = 1").await;
    bench.write().await;
    let cell = Cell::text("mine");
    let update = Update { key: key_of("1"), set: vec![(1, cell)], add: Vec::new() };
    let held = bench.bridge.update(&t, &[update]).await.unwrap_err();
    assert_eq!((held.class, &*held.code), (DbErrorClass::Transient, "55P03"));
    bench.bridge.roll_back().await;
    app.run("COMMIT").await;
    // A connection that the server ends, and what comes after it until it is rebuilt.
    bench.write().await;
    app.run("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'branchline' AND datname = current_database()").await;
    let ended = bench.bridge.lock(&t, &[key_of("1")]).await.unwrap_err();
    assert_eq!(ended.class, DbErrorClass::Transient, "{ended}");
    assert_eq!(bench.bridge.has_notes().await.unwrap_err().class, DbErrorClass::Transient);
    bench.bridge.roll_back().await;
    bench.bridge.reconnect().await.unwrap();
    assert!(bench.bridge.has_notes().await.unwrap());
    assert_eq!(bench.drain().await, ["U 1", "U 1", "U 2"]);
}

#[tokio::test]
async fn connections_are_refused_by_name_and_without_the_secret() {
    let Some(server) = crate::servers::postgres::Postgres::shared() else { return };
    let database = server.database("", "CREATE ROLE guarded LOGIN PASSWORD 'open sesame'");
    let url = server.url("guarded", &database);
    let class_of = |result: Result<Postgres, _>| {
        let error: branchline_connect::sql::database::DbError = result.err().unwrap();
        assert!(!format!("{error} {error:?}").contains("sesame"), "{error}");
        (error.class, error.code)
    };
    Postgres::connect(&url, Some("open sesame")).await.unwrap();
    let wrong = Postgres::connect(&url, Some("open, sesame")).await;
    assert_eq!(class_of(wrong), (DbErrorClass::Config, "28P01".to_owned()));
    let absent = Postgres::connect(&server.url("postgres", "nothing"), None).await;
    assert_eq!(class_of(absent), (DbErrorClass::Config, "3D000".to_owned()));
    let wrong = Postgres::connect("postgres://guarded:sesame@127.0.0.1:sesame/x", None).await;
    assert_eq!(class_of(wrong).0, DbErrorClass::Config);
    let nobody = Postgres::connect("postgres://x:sesame@127.0.0.1:1/x?sslmode=disable", None).await;
    assert_eq!(class_of(nobody).0, DbErrorClass::Transient);
    // TLS, and the server's certificate.
    let Some(ca) = &server.ca else { return };
    let at = |host: &str, mode: &str| {
        format!("postgres://postgres@{host}:{}/{database}?sslmode={mode}", server.port())
    };
    let root = format!("&sslrootcert={}", ca.display());
    let mut verified =
        Postgres::connect(&(at("localhost", "verify-full") + &root), None).await.unwrap();
    verified
        .execute(
            "DO $$ BEGIN ASSERT (SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()); END $$",
        )
        .await
        .unwrap();
    let unknown = Postgres::connect(&at("localhost", "verify-full"), None).await;
    assert_eq!(class_of(unknown).0, DbErrorClass::Config);
    let another = Postgres::connect(&(at("127.0.0.1", "verify-full") + &root), None).await;
    assert_eq!(class_of(another).0, DbErrorClass::Config);
}

/// B39: who installs waits shortly and comes again, and no writer waits for long.
#[tokio::test]
async fn installing_waits_for_writers_and_removing_leaves_nothing() {
    let sql = "CREATE TABLE t (id int PRIMARY KEY); CREATE TABLE o (id text PRIMARY KEY)";
    let Some(mut bench) = bench(sql).await else { return };
    let tables = [bench.bound(1, "t").await, bench.bound(2, "o").await];
    let (mut app, mut other) = (bench.app().await, bench.app().await);
    app.run("BEGIN; INSERT INTO t VALUES (1)").await;
    let writers = async {
        let waiting = "SELECT count(*)::text FROM pg_stat_activity WHERE application_name = 'branchline' \
             AND datname = current_database() AND wait_event_type = 'Lock'";
        while other.text(waiting).await == "0" {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        // Behind the bridge's wish for a lock, and it goes through once the bridge has given up for now.
        other.run("SET lock_timeout = '5s'; INSERT INTO t VALUES (2)").await;
        app.run("COMMIT").await;
    };
    let (installed, ()) = tokio::join!(bench.bridge.install(&tables), writers);
    installed.unwrap();
    app.run("INSERT INTO t VALUES (3); INSERT INTO o VALUES ('a')").await;
    let lifetime = Duration::from_secs(600);
    assert!(bench.bridge.take_lease("north", super::TOKEN, lifetime, false).await.unwrap());
    // One table less: its notes go too.
    bench.bridge.remove_table(&tables[1]).await.unwrap();
    assert_eq!(bench.drain().await, ["I 3"]);
    let left = "SELECT (SELECT count(*) FROM pg_class WHERE relname LIKE 'branchline%') + \
         (SELECT count(*) FROM pg_proc WHERE proname LIKE 'branchline%') + \
         (SELECT count(*) FROM pg_trigger WHERE tgname LIKE 'branchline%')";
    let left = format!("SELECT ({left})::text");
    app.run("ALTER TABLE t RENAME TO t_old").await;
    bench.bridge.remove(&tables).await.unwrap();
    assert_eq!(app.text(&left).await, "0");
    bench.bridge.remove(&tables).await.unwrap();
    app.run("ALTER TABLE t_old RENAME TO t").await;
    // The SQL that is printed does the same.
    for sql in bench.bridge.install_sql(&tables) {
        app.run(&sql).await;
    }
    assert_eq!(bench.bridge.blind(&tables).await.unwrap(), []);
    assert!(bench.bridge.context().await.unwrap().is_some());
    for sql in bench.bridge.remove_sql(&tables) {
        app.run(&sql).await;
    }
    assert_eq!(app.text(&left).await, "0");
}

#[tokio::test]
async fn a_server_is_judged_and_a_plain_role_with_the_rights_named_can_do_all() {
    let sql = "DO $$ BEGIN CREATE ROLE shop; CREATE ROLE bridge LOGIN; EXCEPTION WHEN OTHERS THEN NULL; END $$;
        CREATE SCHEMA shop AUTHORIZATION shop; SET ROLE shop; CREATE TABLE shop.t (id int PRIMARY KEY, w text)";
    let Some(mut bench) = bench(sql).await else { return };
    let (refusals, warnings) = bench.bridge.judge().await.unwrap();
    assert_eq!(refusals, [""; 0]);
    assert!(
        warnings.iter().any(|w| w.contains("superuser"))
            && warnings.iter().any(|w| w.contains("fsync"))
    );
    let url = bench.server.url("bridge", &bench.database);
    bench.bridge = Postgres::connect(&url, None).await.unwrap();
    let (refusals, _) = bench.bridge.judge().await.unwrap();
    assert!(
        refusals.len() == 1 && refusals[0].contains("GRANT USAGE, CREATE ON SCHEMA"),
        "{refusals:?}"
    );
    let t = bench.bound(1, "shop.t").await;
    assert_eq!(code(bench.bridge.install(std::slice::from_ref(&t)).await), "42501");
    let mut admin = bench.app().await;
    for grant in bench.bridge.grants(std::slice::from_ref(&t)) {
        admin.run(&grant).await;
    }
    assert_eq!(
        bench.bridge.judge().await.unwrap(),
        (vec![], vec!["fsync is off: a crash of the server can lose or corrupt rows".to_owned()])
    );
    assert_eq!(bench.bridge.shape("shop.t").await.unwrap().unwrap().refusals, [""; 0]);
    bench.install(std::slice::from_ref(&t)).await;
    admin.run("SET ROLE shop; INSERT INTO shop.t VALUES (1, 'a')").await;
    assert_eq!(bench.drain().await, ["I 1"]);
    bench.write().await;
    bench.bridge.guard(Some(&t)).await.unwrap();
    assert_eq!(bench.bridge.lock(&t, &[key_of("1")]).await.unwrap().len(), 1);
    bench.bridge.delete(&t, &[key_of("1")]).await.unwrap();
    bench.bridge.commit().await.unwrap();
    assert_eq!(bench.drain().await, [""; 0]);
    bench.bridge.remove(&[t]).await.unwrap();
    assert_eq!(bench.bridge.context().await.unwrap(), None);

    // Or the owner runs what the plan prints, and the bridge's role is no more than a reader and writer.
    admin.run("SET ROLE postgres; DO $$ BEGIN CREATE ROLE clerk LOGIN; EXCEPTION WHEN OTHERS THEN NULL; END $$").await;
    admin.run("GRANT USAGE ON SCHEMA shop TO clerk; GRANT SELECT, UPDATE ON shop.t TO clerk; GRANT CREATE ON SCHEMA public TO shop").await;
    let url = bench.server.url("clerk", &bench.database);
    bench.bridge = Postgres::connect(&url, None).await.unwrap();
    let t = bench.bound(1, "shop.t").await;
    admin.run("SET ROLE shop").await;
    for sql in bench.bridge.install_sql(std::slice::from_ref(&t)) {
        admin.run(&sql).await;
    }
    bench.bridge.reconnect().await.unwrap();
    assert_eq!(bench.bridge.judge().await.unwrap().0, [""; 0]);
    bench.install(std::slice::from_ref(&t)).await;
    admin.run("INSERT INTO shop.t VALUES (1, 'a')").await;
    assert_eq!(bench.drain().await, ["I 1"]);

    // Databases whose texts nobody can read, or that cannot hold all of them.
    let ascii = bench.server.database("ENCODING 'SQL_ASCII' TEMPLATE template0", "");
    let mut ascii = Postgres::connect(&bench.server.url("postgres", &ascii), None).await.unwrap();
    assert!(ascii.judge().await.unwrap().0[0].contains("SQL_ASCII"));
    let latin = bench.server.database(
        "ENCODING 'LATIN1' TEMPLATE template0",
        "CREATE TABLE t (id int PRIMARY KEY, w text)",
    );
    let mut latin = Postgres::connect(&bench.server.url("postgres", &latin), None).await.unwrap();
    assert!(latin.judge().await.unwrap().1[0].contains("LATIN1"));
    bench.bridge = latin;
    let t = bench.bound(1, "t").await;
    bench.install(std::slice::from_ref(&t)).await;
    bench.bridge.execute("INSERT INTO t VALUES (1, 'Té')").await.unwrap();
    let (accents, emoji) = (Cell::text("ÄÖÜ"), Cell::text("😀"));
    for (cell, expected) in
        [(accents, None), (emoji, Some((DbErrorClass::Row, "22P05".to_owned())))]
    {
        bench.write().await;
        let update = Update { key: key_of("1"), set: vec![(1, cell)], add: Vec::new() };
        let done = bench.bridge.update(&t, &[update]).await;
        assert_eq!(done.err().map(|error| (error.class, error.code)), expected);
        bench.bridge.roll_back().await;
    }
}
