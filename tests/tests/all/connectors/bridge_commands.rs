//! A bridge to a SQLite file, driven by commands alone, as an office's IT person would.

use std::path::Path;

use branchline_tests::till::Till;
use branchline_tests::{Office, client, eventually};
use serde_json::Value;

use crate::PROGRAM;

const PAGE: &str = include_str!("../../../../node/connect/BRIDGES.md");

const SHOP: &str = "CREATE TABLE products (sku TEXT PRIMARY KEY NOT NULL, name TEXT, price TEXT NOT NULL, \
    qty INTEGER NOT NULL CHECK (qty >= 0)); INSERT INTO products VALUES ('tea', 'Green tea', '2.50', 40)";

const TABLE: &str = "[[bridge.table]]\ntable = \"products\"\ncollection = \"products\"\nmode = \"both\"\n\
    [bridge.table.fields]\nprice = { kind = \"decimal\" }\n";

fn configure(office: &Office, till: &Till, tables: &str) {
    let url = till.url();
    let text = format!("[[bridge]]\nname = \"till\"\nurl = \"{url}\"\npoll = \"20ms\"\n{tables}");
    std::fs::write(office.data.join("branchline.toml"), text).unwrap();
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

fn bridge(office: &Office) -> Value {
    json(&office.run(["--json", "bridge", "status", "till"]).ok())
}

#[track_caller]
fn until_state(office: &Office, state: &str) {
    eventually(&format!("the bridge is {state}"), || bridge(office)["state"] == state);
}

fn fields(office: &Office, id: &str) -> Value {
    let ran = office.run(["--json", "get", "products", id]);
    if ran.code == 0 { json(&ran.stdout) } else { Value::Null }
}

/// An office whose till is bridged.
fn bridged(folder: &Path) -> (Office, Till) {
    let mut office = Office::init(PROGRAM, folder, "head", true);
    let till = Till::new(&folder.join("shop.db"), SHOP);
    configure(&office, &till, TABLE);
    office.start();
    office.run(["bridge", "install", "till"]).ok();
    until_state(&office, "running");
    (office, till)
}

#[test]
fn a_plan_needs_no_node_shows_everything_and_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let office = Office::init(PROGRAM, folder.path(), "head", true);
    let till = Till::new(&folder.path().join("shop.db"), SHOP);
    configure(&office, &till, TABLE);
    let plan = office.run(["bridge", "plan", "till"]).ok();
    for part in ["products", "sku", "decimal", "CREATE TRIGGER", "DROP TRIGGER", "ReadWritePaths="]
    {
        assert!(plan.contains(part), "{part}: {plan}");
    }
    assert!(json(&office.run(["--json", "bridge", "plan", "till"]).ok())["install"].is_array());
    assert_eq!(
        till.rows("SELECT count(*) FROM sqlite_master WHERE name LIKE 'branchline%'"),
        ["0"]
    );
    assert!(!office.data.join("connect").exists());

    configure(&office, &till, &TABLE.replace("price =", "prise ="));
    let refused = office.run(["bridge", "plan", "till"]);
    assert!(refused.code == 1 && refused.stdout.contains("prise"), "{refused:?}");
    let error = office.run(["bridge", "plan", "erp"]).fails(1);
    assert!(error.contains("erp") && error.contains("it has till"), "{error}");

    // Another file, as before the node is informed of it.
    let other = folder.path().join("other.toml");
    std::fs::rename(office.data.join("branchline.toml"), &other).unwrap();
    let refused = office.run(["bridge", "plan", "till", "--config", other.to_str().unwrap()]);
    assert!(refused.code == 1 && refused.stdout.contains("prise"), "{refused:?}");
}

#[test]
fn what_is_read_as_a_whole_is_a_job_that_ends() {
    let folder = tempfile::tempdir().unwrap();
    let (mut office, _till) = bridged(folder.path());
    let jobs = |office: &Office| {
        let listed = json(&office.run(["--json", "jobs", "list"]).ok());
        let of = |job: &Value| (job["connector"] == "bridge till").then(|| job.clone());
        listed["jobs"].as_array().unwrap().iter().filter_map(of).collect::<Vec<_>>()
    };
    let ended = |office: &Office, count: usize| {
        eventually(&format!("{count} jobs have ended"), || {
            let jobs = jobs(office);
            jobs.len() == count && jobs.iter().all(|job| job["state"] == "completed")
        });
    };
    ended(&office, 1);
    let load = &jobs(&office)[0];
    assert_eq!(
        (&load["order"]["tables"][0], &load["result"]["rows"]),
        (&"products".into(), &1.into()),
        "{load}"
    );
    office.run(["bridge", "resync", "till", "--from", "database", "--yes"]).ok();
    ended(&office, 2);
    // One that the node did not come to end is ended by the next.
    office.kill();
    office.start();
    until_state(&office, "running");
    ended(&office, 2);
    let listed = office.run(["jobs", "list"]).ok();
    assert!(listed.contains("bridge till"), "{listed}");
}

#[test]
fn rows_and_records_follow_each_other_and_what_is_refused_is_set_aside() {
    let folder = tempfile::tempdir().unwrap();
    let (office, till) = bridged(folder.path());
    eventually("the row that was there is a record", || fields(&office, "tea")["qty"] == 40);
    till.run("UPDATE products SET qty = 38 WHERE sku = 'tea'");
    eventually("an UPDATE is seen", || fields(&office, "tea")["qty"] == 38);
    office
        .run([
            "put",
            "products",
            "mug",
            r#"{"sku": "mug", "name": "Mug", "price": "7.20", "qty": 60}"#,
        ])
        .ok();
    let mug = "SELECT name, price, qty FROM products WHERE sku = 'mug'";
    eventually("a record is a row", || till.rows(mug) == ["Mug|7.20|60"]);
    let list = office.run(["bridge", "list"]).ok();
    assert!(list.contains("till") && list.contains("running"), "{list}");

    // The till's CHECK does not allow it; the rest goes on.
    office.run(["patch", "products", "mug", r#"{"qty": -1}"#]).ok();
    office.run(["patch", "products", "tea", r#"{"name": "Sencha"}"#]).ok();
    let tea = "SELECT name FROM products WHERE sku = 'tea'";
    eventually("others are not held up", || till.rows(tea) == ["Sencha"]);
    let errors =
        || json(&office.run(["--json", "bridge", "errors", "till"]).ok())["errors"].clone();
    eventually("it is set aside", || errors()[0]["name"] == "mug");
    let shown = office.run(["bridge", "errors", "till"]).ok();
    assert!(shown.contains("mug") && shown.contains("CHECK"), "{shown}");
    // Counting takes some time, so it is reported a little later.
    eventually("it is counted", || {
        office.run(["bridge", "status", "till"]).ok().contains("1 set aside")
    });
    assert!(office.run(["status"]).ok().contains("bridge till: table products: 1 set aside"));
    let number = errors()[0]["number"].to_string();
    office.run(["bridge", "requeue", "till", &number]).ok();
    office.run(["bridge", "requeue", "till", "4711"]).fails(1);
    office.run(["bridge", "requeue", "till"]).fails(2);
    office.run(["patch", "products", "mug", r#"{"qty": 5}"#]).ok();
    office.run(["bridge", "requeue", "till", "--all"]).ok();
    eventually("what was refused is right now", || till.rows(mug) == ["Mug|7.20|5"]);
    eventually("nothing is set aside", || errors() == Value::Array(Vec::new()));

    eventually("all is in step", || office.run(["bridge", "verify", "till"]).code == 0);
    let (address, token) = office.api();
    let request = client().get(format!("http://{address}/metrics")).bearer_auth(token);
    let served = request.send().unwrap().text().unwrap();
    let described =
        PAGE.lines().filter_map(|line| line.strip_prefix("| `branchline_")?.split('`').next());
    for name in described.filter(|name| !name.contains("acknowledged") && !name.contains("lag")) {
        let name = name.strip_suffix("_total").unwrap_or(name);
        assert!(served.contains(&format!("# TYPE branchline_{name} ")), "{name}: {served}");
    }
}

#[test]
fn a_bridge_pauses_verifies_reloads_and_leaves_no_trace() {
    let folder = tempfile::tempdir().unwrap();
    let (office, till) = bridged(folder.path());
    office.run(["bridge", "pause", "till"]).ok();
    until_state(&office, "paused");
    till.run("UPDATE products SET qty = 7 WHERE sku = 'tea'");
    let verified = office.run(["bridge", "verify", "till"]);
    assert!(verified.code == 1 && verified.stdout.contains("tea"), "{verified:?}");
    assert_eq!(fields(&office, "tea")["qty"], 40, "it rests");
    let status = office.run(["status"]).ok();
    assert!(status.contains("bridge till: a person has paused it"), "{status}");
    office.run(["bridge", "resume", "till"]).ok();
    eventually("it has caught up", || fields(&office, "tea")["qty"] == 7);

    // A file that is wrong, or asks for what the database does not have, changes nothing.
    for (tables, part) in [
        (TABLE.replace("mode =", "mod ="), "bridge till, table products"),
        (TABLE.replace("table = \"products\"", "table = \"goods\""), "goods"),
    ] {
        configure(&office, &till, &tables);
        let error = office.run(["reload"]).fails(1);
        assert!(error.contains(part), "{part}: {error}");
    }
    till.run("UPDATE products SET qty = 6 WHERE sku = 'tea'");
    eventually("the old one works on", || fields(&office, "tea")["qty"] == 6);
    configure(&office, &till, TABLE);
    office.run(["reload"]).ok();

    let sql = office.run(["bridge", "remove", "till", "--sql"]).ok();
    assert!(sql.contains("DROP TRIGGER") && sql.contains("branchline_outbox"), "{sql}");
    office.run(["bridge", "remove", "till"]).ok();
    assert_eq!(till.rows("SELECT name FROM sqlite_master WHERE name LIKE '%branchline%'"), [""; 0]);
    assert_eq!(till.rows("SELECT qty FROM products"), ["6"]);
    eventually("it waits to be installed", || {
        bridge(&office)["reason"]
            .as_str()
            .is_some_and(|reason| reason.contains("bridge install till"))
    });
    // Once more, and by the script alone this time.
    office.run(["bridge", "install", "till"]).ok();
    until_state(&office, "running");
    office.run(["bridge", "pause", "till"]).ok();
    till.run(&sql);
    assert_eq!(till.rows("SELECT name FROM sqlite_master WHERE name LIKE '%branchline%'"), [""; 0]);
}

#[test]
fn after_a_restore_a_bridge_waits_until_a_person_has_chosen() {
    let folder = tempfile::tempdir().unwrap();
    let backup = folder.path().join("head.backup");
    let (mut office, till) = bridged(folder.path());
    eventually("the row is a record", || fields(&office, "tea")["qty"] == 40);
    office.run(["backup", "create", backup.to_str().unwrap()]).ok();
    till.run("UPDATE products SET qty = 30 WHERE sku = 'tea'");
    eventually("the sale after the backup is known", || fields(&office, "tea")["qty"] == 30);
    office.kill();
    std::fs::remove_dir_all(&office.data).unwrap();
    office.run(["backup", "restore", backup.to_str().unwrap()]).ok();
    configure(&office, &till, TABLE);
    office.start();
    until_state(&office, "paused");
    let reason = bridge(&office)["reason"].as_str().unwrap().to_owned();
    assert!(
        reason.contains("restored from a backup of") && reason.contains("--from database"),
        "{reason}"
    );
    assert!(office.run(["check"]).stdout.contains("bridge till"));
    assert_eq!(fields(&office, "tea")["qty"], 40);
    office.run(["bridge", "resync", "till", "--from", "database"]).ok();
    until_state(&office, "running");
    eventually("the database holds", || fields(&office, "tea")["qty"] == 30);
}
