//! Notes: none missing, and none that the application could stumble over.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use branchline_connect::sql::cell::Key;
use branchline_connect::sql::database::Database;

use super::{bench, key_of, row_of, said};

#[tokio::test]
async fn rows_are_noted_read_and_forgotten_by_transaction() {
    let sql = "CREATE TABLE stock (sku text PRIMARY KEY, name text, price numeric(12,2), qty int NOT NULL)";
    let Some(mut bench) = bench(sql).await else { return };
    let mut stock = bench.bound(1, "stock").await;
    stock.filter = Some("qty > 0 AND {site} = 'north'".to_owned());
    bench.install(std::slice::from_ref(&stock)).await;
    let mut app = bench.app().await;
    app.run("INSERT INTO stock VALUES ('tea', 'Té ☕', 1.10, 10), ('b', NULL, NULL, 0)").await;
    app.run("UPDATE stock SET qty = qty").await;
    assert!(bench.bridge.has_notes().await.unwrap());
    assert_eq!(bench.bridge.notes_waiting().await.unwrap(), 4);
    // A limit never parts a transaction.
    bench.bridge.begin_read(std::slice::from_ref(&stock)).await.unwrap();
    let notes = bench.bridge.notes(1).await.unwrap();
    bench.bridge.end_read().await.unwrap();
    assert_eq!(said(&notes), ["I b", "I tea"]);
    assert_eq!(bench.drain().await, ["I b", "I tea", "U b", "U tea"]);
    assert!(!bench.bridge.has_notes().await.unwrap());
    let rows = bench.rows(&stock, &["tea", "b", "absent"]).await;
    assert_eq!(rows.len(), 2);
    assert_eq!(rows[0].row, row_of(&["b", "-", "-", "0"]));
    assert!(!rows[0].is_captured);
    assert_eq!(rows[1].row, row_of(&["tea", "Té ☕", "1.10", "10"]));
    assert!(rows[1].is_captured);
    assert_eq!(bench.bridge.context().await.unwrap().unwrap().generation, 1);
}

/// B1, B4: numbers and transaction ids are no order of commits.
#[tokio::test]
async fn a_lower_note_that_commits_later_is_not_skipped() {
    let Some(mut bench) = bench("CREATE TABLE t (id int PRIMARY KEY, w text)").await else {
        return;
    };
    let t = bench.bound(1, "t").await;
    bench.install(std::slice::from_ref(&t)).await;
    let (mut first, mut second) = (bench.app().await, bench.app().await);
    first.run("BEGIN; INSERT INTO t VALUES (1, 'first')").await;
    second.run("INSERT INTO t VALUES (2, 'second')").await;
    assert_eq!(bench.drain().await, ["I 2"]);
    second.run("BEGIN; SAVEPOINT a; INSERT INTO t VALUES (3, ''); ROLLBACK TO a; INSERT INTO t VALUES (4, ''); COMMIT").await;
    first.run("COMMIT").await;
    assert_eq!(bench.drain().await, ["I 1", "I 4"]);
}

/// B3: small transactions are never parted, and one that no memory should have to hold is.
#[tokio::test]
async fn a_huge_transaction_is_taken_in_parts_and_loses_no_note() {
    let Some(mut bench) = bench("CREATE TABLE t (id int PRIMARY KEY)").await else { return };
    let t = bench.bound(1, "t").await;
    bench.install(std::slice::from_ref(&t)).await;
    let mut app = bench.app().await;
    app.run("INSERT INTO t VALUES (-1), (-2)").await;
    app.run("INSERT INTO t SELECT generate_series(1, 120000)").await;
    app.run("INSERT INTO t VALUES (-3)").await;
    let (mut parts, mut keys) = (Vec::new(), BTreeSet::new());
    loop {
        bench.bridge.begin_read(&[]).await.unwrap();
        let notes = bench.bridge.notes(10_000).await.unwrap();
        bench.bridge.end_read().await.unwrap();
        if notes.is_empty() {
            break;
        }
        if parts.len() == 1 {
            // What moves meanwhile is not deleted, and comes again.
            app.run("VACUUM FULL branchline_outbox").await;
        }
        bench.write().await;
        bench.bridge.delete_notes(&notes).await.unwrap();
        bench.bridge.commit().await.unwrap();
        parts.push(notes.len());
        keys.extend(notes.into_iter().map(|note| note.key.unwrap()));
    }
    assert_eq!(parts[0], 2);
    assert!(parts.iter().all(|part| *part <= 50_001), "{parts:?}");
    assert_eq!(keys.len(), 120_003);
    assert_eq!(bench.bridge.notes_waiting().await.unwrap(), 0);
}

/// B12: rows that a subscription of the application's own brings are noted, and its worker does not stumble.
#[tokio::test]
async fn rows_that_logical_replication_brings_are_noted() {
    let table = "CREATE TABLE t (id int PRIMARY KEY, w text)";
    let Some(mut bench) = bench(table).await else { return };
    let source = bench.server.database("", &format!("{table}; CREATE PUBLICATION p FOR TABLE t"));
    bench
        .server
        .run(&source, "SELECT pg_create_logical_replication_slot('branchline_test', 'pgoutput')");
    let t = bench.bound(1, "t").await;
    bench.install(std::slice::from_ref(&t)).await;
    let mut app = bench.app().await;
    app.run(&format!(
        "CREATE SUBSCRIPTION s CONNECTION 'host=127.0.0.1 port={} user=postgres dbname={source}' PUBLICATION p \
         WITH (create_slot = false, slot_name = 'branchline_test', copy_data = false)",
        bench.server.port()
    ))
    .await;
    bench.server.run(&source, "INSERT INTO t VALUES (1, 'a'); UPDATE t SET w = 'b'");
    let deadline = Instant::now() + Duration::from_secs(60);
    while bench.bridge.notes_waiting().await.unwrap() < 2 {
        assert!(Instant::now() < deadline, "nothing was noted");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(bench.drain().await, ["I 1", "U 1"]);
    app.run("ALTER SUBSCRIPTION s DISABLE; ALTER SUBSCRIPTION s SET (slot_name = NONE); DROP SUBSCRIPTION s").await;
}

/// B13, B42, B10: keys that change, what the application's own triggers make of a row, cascades, TRUNCATE.
#[tokio::test]
async fn key_changes_cascades_and_truncation_are_noted() {
    let sql = "CREATE TABLE p (a text COLLATE \"C\", b date, w text, PRIMARY KEY (a, b));
        CREATE TABLE c (id bytea PRIMARY KEY, a text, b date,
          FOREIGN KEY (a, b) REFERENCES p ON DELETE CASCADE ON UPDATE CASCADE)";
    let Some(mut bench) = bench(sql).await else { return };
    let (p, c) = (bench.bound(1, "p").await, bench.bound(2, "public.c").await);
    bench.install(&[p.clone(), c.clone()]).await;
    let mut app = bench.app().await;
    // The application's session has another form of dates and bytes.
    app.run("SET DateStyle = 'German'; SET bytea_output = 'escape'").await;
    app.run("INSERT INTO p VALUES ('x', '2024-03-10'); INSERT INTO c VALUES ('\\x00ff', 'x', '2024-03-10')").await;
    assert_eq!(bench.drain().await, ["I 00ff", "I [\"x\", \"2024-03-10\"]"]);
    app.run("UPDATE p SET b = '2024-03-11'").await;
    assert_eq!(
        bench.drain().await,
        ["D [\"x\", \"2024-03-10\"]", "U 00ff", "U [\"x\", \"2024-03-11\"]"]
    );
    let rows = bench.rows(&p, &["x|2024-03-11", "x|2024-03-10", "y|2024-03-11"]).await;
    assert_eq!(rows.len(), 1);
    assert_eq!(rows[0].key, key_of("x|2024-03-11"));
    assert_eq!(bench.rows(&c, &["00ff"]).await[0].key, key_of("00ff"));
    app.run("DELETE FROM p").await;
    assert_eq!(bench.drain().await, ["D 00ff", "D [\"x\", \"2024-03-11\"]"]);
    app.run("INSERT INTO p VALUES ('x', '2024-03-10')").await;
    bench.drain().await;
    // TRUNCATE reaches the other table, and waits while a snapshot is read.
    bench.bridge.begin_read(&[p.clone(), c.clone()]).await.unwrap();
    let waits = app.attempt("SET lock_timeout = '300ms'; TRUNCATE p CASCADE").await.unwrap_err();
    assert!(waits.to_string().contains("lock timeout"), "{waits}");
    bench.bridge.end_read().await.unwrap();
    app.run("TRUNCATE p CASCADE").await;
    assert_eq!(bench.drain().await, ["T -", "T -"]);
}

/// B35, B36, B11: the application has no right on the outbox, cannot divert notes, and its `lastval()` is its own.
#[tokio::test]
async fn the_application_does_not_notice_the_triggers() {
    let sql = "CREATE TABLE t (id serial PRIMARY KEY, w text);
        DO $$ BEGIN CREATE ROLE till LOGIN; EXCEPTION WHEN OTHERS THEN NULL; END $$;
        GRANT INSERT, UPDATE, SELECT ON t TO till; GRANT USAGE ON SEQUENCE t_id_seq TO till;
        CREATE PUBLICATION everything FOR ALL TABLES";
    let Some(mut bench) = bench(sql).await else { return };
    let t = bench.bound(1, "t").await;
    bench.install(std::slice::from_ref(&t)).await;
    let mut app = bench.app_as("till").await;
    app.run("CREATE TEMP TABLE branchline_outbox (tbl int, op \"char\", key text)").await;
    app.run("INSERT INTO t (w) VALUES ('a')").await;
    assert_eq!(app.text("SELECT lastval()::text").await, "1");
    assert_eq!(app.text("SELECT count(*)::text FROM branchline_outbox").await, "0");
    let denied = app.attempt("SELECT * FROM public.branchline_outbox").await.unwrap_err();
    assert!(denied.to_string().contains("permission denied"), "{denied}");
    // As the workers of logical replication write, and `pg_restore --disable-triggers`.
    let mut replica = bench.app().await;
    replica.run("SET session_replication_role = replica; SET search_path = ''; INSERT INTO public.t VALUES (7, 'r')").await;
    // With a publication of all tables, notes can be deleted all the same.
    assert_eq!(bench.drain().await, ["I 1", "I 7"]);
    let (_, warnings) = bench.bridge.judge().await.unwrap();
    assert!(warnings.iter().any(|warning| warning.contains("everything")), "{warnings:?}");
}

/// B8: what was done to triggers behind the bridge's back.
#[tokio::test]
async fn a_table_that_is_not_seen_is_blind_until_it_is_installed_again() {
    let sql = "CREATE TABLE t (id int PRIMARY KEY, w text);
        CREATE TABLE part (id int, at date, PRIMARY KEY (id, at)) PARTITION BY RANGE (at);
        CREATE TABLE part_1 PARTITION OF part FOR VALUES FROM ('2024-01-01') TO ('2025-01-01')";
    let Some(mut bench) = bench(sql).await else { return };
    let tables = [bench.bound(1, "t").await, bench.bound(2, "part").await];
    assert_eq!(bench.bridge.blind(&tables).await.unwrap().len(), 2);
    bench.install(&tables).await;
    let context = bench.bridge.context().await.unwrap();
    let mut app = bench.app().await;
    let mut stamp = bench.bridge.stamp(&tables).await.unwrap();
    assert_eq!(bench.bridge.stamp(&tables).await.unwrap(), stamp);
    for (damage, said) in [
        ("ALTER TABLE t DISABLE TRIGGER ALL", "trigger branchline_note is disabled"),
        ("ALTER TABLE t ENABLE TRIGGER ALL", "trigger branchline_note is not enabled ALWAYS"),
        ("DROP TRIGGER branchline_truncate ON t", "trigger branchline_truncate is missing"),
        (
            "CREATE OR REPLACE FUNCTION branchline_note_1() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'",
            "trigger branchline_note is not as it was installed",
        ),
        (
            "ALTER FUNCTION branchline_note_1() RESET search_path",
            "trigger branchline_note is not as it was installed",
        ),
        (
            "CREATE TABLE t_new (LIKE t INCLUDING ALL); ALTER TABLE t RENAME TO t_old; ALTER TABLE t_new RENAME TO t",
            "trigger branchline_note is missing",
        ),
        (
            "ALTER TABLE part_1 DISABLE TRIGGER branchline_note",
            "trigger branchline_note of partition part_1 is missing or not enabled ALWAYS",
        ),
        ("DROP TABLE t", "table public.t is missing"),
        ("CREATE TABLE t (id int PRIMARY KEY, w text)", "trigger branchline_note is missing"),
        ("DROP TABLE branchline_outbox", "table branchline_outbox is missing"),
    ] {
        app.run(damage).await;
        let blind = bench.bridge.blind(&tables).await.unwrap();
        assert_eq!(blind.first().map(|blind| &*blind.what), Some(said), "{damage}");
        let damaged = bench.bridge.stamp(&tables).await.unwrap();
        assert_ne!(damaged, stamp, "{damage}");
        if !damage.starts_with("DROP TABLE t") {
            bench.bridge.install(&tables).await.unwrap();
            assert_eq!(bench.bridge.blind(&tables).await.unwrap(), [], "{damage}");
        }
        stamp = bench.bridge.stamp(&tables).await.unwrap();
    }
    // Installing again has changed nothing of what was right.
    assert_eq!(bench.bridge.context().await.unwrap().map(|c| c.epoch), context.map(|c| c.epoch));
    // B43: rows of partitions that come later are noted, and rows that move are.
    app.run(
        "CREATE TABLE part_2 PARTITION OF part FOR VALUES FROM ('2025-01-01') TO ('2026-01-01');
         INSERT INTO part VALUES (1, '2024-05-05'); UPDATE part SET at = '2025-05-05'",
    )
    .await;
    assert_ne!(bench.bridge.stamp(&tables).await.unwrap(), stamp);
    assert_eq!(bench.bridge.blind(&tables).await.unwrap(), []);
    let noted = bench.drain().await;
    assert!(noted.contains(&"D [\"1\", \"2024-05-05\"]".to_owned()), "{noted:?}");
    assert!(noted.contains(&"I [\"1\", \"2025-05-05\"]".to_owned()), "{noted:?}");
}

/// B34: migrations, while the application's sessions go on.
#[tokio::test]
async fn the_application_writes_on_through_every_change_of_its_table() {
    let sql = "CREATE TABLE t (id int PRIMARY KEY, code char(4) NOT NULL UNIQUE, w text)";
    let Some(mut bench) = bench(sql).await else { return };
    let t = bench.bound(1, "t").await;
    bench.install(std::slice::from_ref(&t)).await;
    let (mut app, mut migration) = (bench.app().await, bench.app().await);
    app.run("INSERT INTO t VALUES (1, 'ab', 'a'), (2, 'cd', 'b'); UPDATE t SET w = 'c'").await;
    bench.drain().await;
    bench.rows(&t, &["1"]).await;
    migration.run("ALTER TABLE t ALTER id TYPE bigint, ALTER w TYPE varchar(20)").await;
    app.run("UPDATE t SET w = 'd' WHERE id = 1; DELETE FROM t WHERE id = 2; UPDATE t SET id = 3")
        .await;
    assert_eq!(bench.drain().await, ["D 1", "D 2", "U 1", "U 3"]);
    // Statements that were prepared before are not in the way.
    assert_eq!(bench.rows(&t, &["3"]).await[0].row, row_of(&["3", "ab", "d"]));
    migration.run("ALTER TABLE t ADD more int DEFAULT 5").await;
    assert_eq!(bench.rows(&t, &["3"]).await[0].row, row_of(&["3", "ab", "d"]));
    migration.run("ALTER TABLE t DROP w").await;
    let keys = [Key(vec!["3".to_owned()])];
    let gone = bench.bridge.rows(&t, &keys).await.unwrap_err();
    assert_eq!((gone.class, &*gone.code), (super::DbErrorClass::Schema, "42703"));
    app.run("UPDATE t SET more = 6").await;
    assert_eq!(bench.drain().await, ["U 3"]);
    // With the key gone, the table is to be looked at as a whole.
    migration.run("ALTER TABLE t RENAME id TO ident").await;
    app.run("INSERT INTO t VALUES (9, 'ef')").await;
    assert_eq!(bench.drain().await, ["T -"]);
    migration.run("ALTER TABLE t RENAME TO sales_2025").await;
    app.run("DELETE FROM sales_2025 WHERE ident = 9").await;
    assert_eq!(bench.drain().await, ["T -"]);
    let gone = bench.bridge.begin_read(std::slice::from_ref(&t)).await.unwrap_err();
    assert_eq!((gone.class, &*gone.code), (super::DbErrorClass::Schema, "42P01"));
}
