//! A site in one file: taken while the site writes, and rebuilt from it.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use branchline_tests::{Office, Over, client, converge, eventually};
use serde_json::Value;

use crate::PROGRAM;

fn office(folder: &Path, name: &str) -> Office {
    Office::init(PROGRAM, folder, name, name == "head")
}

/// Writes sales one by one until it is stopped; returns how many were acknowledged.
fn sell(office: &Office, is_over: &AtomicBool) -> usize {
    let (address, token) = office.api();
    let client = client();
    let mut count = 0;
    while !is_over.load(Ordering::Acquire) {
        let path = format!("http://{address}/v1/records/sales/{count}");
        let request = client.put(path).bearer_auth(&token).body(r#"{"quantity": 1}"#);
        let request = request.header("content-type", "application/json");
        assert!(request.send().expect("an answer").status().is_success());
        count += 1;
    }
    count
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

#[test]
fn a_site_restored_from_a_backup_of_its_busy_hours_rejoins_without_a_fork() {
    let folder = tempfile::tempdir().unwrap();
    let backup = folder.path().join("head.backup");
    let (mut head, north) = Office::pair(PROGRAM, folder.path());
    let is_over = AtomicBool::new(false);
    let (sold, taken) = std::thread::scope(|scope| {
        let sales = scope.spawn(|| sell(&head, &is_over));
        let over = Over(&is_over);
        eventually("sales go on", || head.count("sales") > 20);
        let taken = json(&head.run(["--json", "backup", "create", backup.to_str().unwrap()]).ok());
        let then = head.count("sales");
        eventually("sales go on after the backup", || head.count("sales") > then + 20);
        drop(over);
        (sales.join().expect("a count"), taken)
    });
    assert_eq!(taken["damaged"], 0);
    converge(&[&head, &north]);
    assert_eq!(north.count("sales"), sold as u64);
    let incarnations = |office: &Office| {
        let log = office.run(["--json", "log", "head", "--limit", "1000"]).ok();
        let entries = log.lines().map(json).filter(|entry| entry["space"] == "main");
        let names = entries.map(|entry| entry["incarnation"].as_str().unwrap().to_owned());
        names.collect::<std::collections::BTreeSet<_>>()
    };
    let before = incarnations(&head);

    // The disk is lost. The backup is older than the last sales, which north has.
    head.kill();
    std::fs::remove_dir_all(&head.data).unwrap();
    let reported = json(&head.run(["--json", "backup", "restore", backup.to_str().unwrap()]).ok());
    assert_eq!(reported["name"], "head");
    let restored = head.count("sales");
    assert!(restored >= 20 && restored < sold as u64, "{restored} of {sold}");
    head.start();
    head.run(["put", "products", "tea", "{}"]).ok();
    converge(&[&head, &north]);
    for office in [&head, &north] {
        assert_eq!(office.count("sales"), sold as u64);
        assert!(office.has("products", "tea"));
        assert_eq!(office.status()["forked"], Value::Array(Vec::new()));
        assert_eq!(office.status()["copies"], Value::Array(Vec::new()), "they are no copies");
        office.run(["verify"]).ok();
    }
    assert!(incarnations(&north).len() > before.len(), "a new incarnation writes");
}

#[test]
fn a_request_repeated_after_a_restore_is_not_done_twice() {
    let folder = tempfile::tempdir().unwrap();
    let backup = folder.path().join("head.backup");
    let (mut head, north) = Office::pair(PROGRAM, folder.path());
    head.run(["put", "products", "tea", r#"{"stock": {"$inc": 10}}"#]).ok();
    head.run(["backup", "create", backup.to_str().unwrap()]).ok();
    let sell = |office: &Office| {
        let (address, token) = office.api();
        let request = client().patch(format!("http://{address}/v1/records/products/tea"));
        let request = request.bearer_auth(token).header("idempotency-key", "sale-1");
        let request = request.header("content-type", "application/merge-patch+json");
        let answer = request.body(r#"{"stock": {"$inc": -1}}"#).send().expect("an answer");
        assert!(answer.status().is_success(), "{answer:?}");
        answer.headers().contains_key("idempotency-replayed")
    };
    assert!(!sell(&head));
    converge(&[&head, &north]);

    // The disk is lost. The backup is older than the sale, which north has.
    head.kill();
    std::fs::remove_dir_all(&head.data).unwrap();
    head.run(["backup", "restore", backup.to_str().unwrap()]).ok();
    let tea = json(&head.run(["get", "products", "tea"]).ok());
    assert_eq!(tea["stock"], 10, "it is not in the backup: {tea}");
    head.start();
    converge(&[&head, &north]);
    assert!(sell(&head), "the sale is known again");
    converge(&[&head, &north]);
    for office in [&head, &north] {
        assert_eq!(office.get("/v1/records/products/tea")["stock"], 9);
    }
}

#[test]
fn a_backup_of_a_stopped_site_is_private_and_restores_to_the_same() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let backup = folder.path().join("backup");
    let head = office(folder.path(), "head");
    head.run(["put", "products", "tea", r#"{"price": "2.50"}"#]).ok();
    let digest = head.digest();
    head.run(["backup", "create", backup.to_str().unwrap()]).ok();
    assert_eq!(backup.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    let token = |data: &Path| std::fs::read_to_string(data.join("api.token")).unwrap();
    let old = token(&head.data);
    let moved = folder.path().join("moved");
    std::fs::rename(&head.data, &moved).unwrap();
    // An empty folder, as a mount point is.
    std::fs::create_dir(&head.data).unwrap();
    let reported = head.run(["backup", "restore", backup.to_str().unwrap()]).ok();
    assert!(reported.contains("1 record") && reported.contains(&digest), "{reported}");
    assert_eq!(head.digest(), digest);
    assert_ne!(token(&head.data), old);
    let error = head.run(["backup", "restore", backup.to_str().unwrap()]).fails(1);
    assert!(error.contains("is not empty"), "{error}");
}

#[test]
fn a_backup_that_is_not_whole_restores_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let backup = folder.path().join("backup");
    let head = office(folder.path(), "head");
    head.run(["put", "products", "tea", "{}"]).ok();
    head.run(["backup", "create", backup.to_str().unwrap()]).ok();
    let whole = std::fs::read(&backup).unwrap();
    let mut flipped = whole.clone();
    flipped[whole.len() / 2] ^= 1;
    let mut later = whole.clone();
    later[16] = 7;
    let bundle = folder.path().join("bundle");
    head.run(["bundle", bundle.to_str().unwrap()]).ok();
    let bundle = std::fs::read(bundle).unwrap();
    std::fs::rename(&head.data, folder.path().join("moved")).unwrap();
    let bad = folder.path().join("bad");
    for (bytes, reason) in [
        (&flipped[..], "damaged at byte"),
        (&whole[..whole.len() - 1], "cut off at byte"),
        (&later, "has version 7"),
        (b"something else", "this is not a backup"),
        (&bundle, "this is not a backup"),
    ] {
        std::fs::write(&bad, bytes).unwrap();
        let error = head.run(["backup", "restore", bad.to_str().unwrap()]).fails(1);
        assert!(error.contains(reason), "{reason}: {error}");
        assert!(!head.data.exists(), "{reason}");
    }
}

#[test]
fn a_backup_from_before_its_key_was_replaced_says_so_and_what_it_writes_counts_nowhere() {
    let folder = tempfile::tempdir().unwrap();
    let backup = folder.path().join("north.backup");
    let (head, mut north) = Office::pair(PROGRAM, folder.path());
    north.run(["put", "products", "tea", r#"{"price": "2.50"}"#]).ok();
    converge(&[&head, &north]);
    north.run(["backup", "create", backup.to_str().unwrap()]).ok();
    assert_eq!(north.stop(), 0);
    north.run(["rotate"]).ok();
    north.start();
    north.run(["put", "products", "after", "{}"]).ok();
    converge(&[&head, &north]);

    north.kill();
    std::fs::remove_dir_all(&north.data).unwrap();
    north.run(["backup", "restore", backup.to_str().unwrap()]).ok();
    north.start();
    eventually("it is reported", || {
        north.run(["status"]).ok().contains("key of this site was replaced")
    });
    let check = north.run(["check"]);
    assert_eq!(check.code, 1);
    assert!(check.stdout.contains("was replaced"), "{}", check.stdout);
    // What the backup held can be read; what is written on it stays there.
    assert!(north.has("products", "tea"));
    north.run(["put", "products", "nowhere", "{}"]).ok();
    head.run(["put", "products", "later", "{}"]).ok();
    eventually("head goes on", || head.has("products", "later"));
    assert!(head.has("products", "after") && !head.has("products", "nowhere"));
    assert!(!north.has("products", "later"));
    assert_eq!(head.status()["forked"], Value::Array(Vec::new()));
}
