//! Offices whose only link is a stick that is carried to and fro, and sticks on which something went wrong.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use branchline_tests::{Office, eventually};
use serde_json::{Value, json};

use crate::PROGRAM;

fn office(folder: &Path, name: &str) -> Office {
    Office::init(PROGRAM, folder, name, name == "head")
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

/// A site that holds a ticket of `head` and has never met it.
fn invited(folder: &Path, name: &str, head: &Office) -> Office {
    let office = office(folder, name);
    let ticket = head.run(["invite", "--address", "/ip4/192.0.2.1/tcp/4747"]).ok();
    office.run(["join", ticket.trim()]).ok();
    office
}

/// Carries all that `from` holds to `to`, and returns what merging it did.
fn carry(from: &Office, to: &Office, stick: &Path) -> Value {
    let stick = stick.to_str().unwrap();
    from.run(["bundle", stick, "--force"]).ok();
    json(&to.run(["--json", "merge", stick]).ok())
}

fn frontier(office: &Office, path: &Path) -> String {
    std::fs::write(path, office.run(["frontier"]).ok()).unwrap();
    path.to_str().unwrap().to_owned()
}

/// Whether `site` holds the tea, as `office` knows it.
fn holds(office: &Office, site: &str) -> Value {
    let answer = json(&office.run(["--json", "receipts", "products", "tea"]).ok());
    let sites = answer["sites"].as_array().unwrap();
    sites.iter().find(|found| found["site_name"] == site).unwrap()["holds"].clone()
}

/// A CSV file of rows that do not compress to nothing.
fn rows(folder: &Path, count: u64) -> PathBuf {
    let mut csv = "id,number\n".to_owned();
    let mut number = 1_u64;
    for row in 0..count {
        number = number.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(row | 1);
        writeln!(csv, "{row:05},x{number:016x}").unwrap();
    }
    let path = folder.join("rows.csv");
    std::fs::write(&path, csv).unwrap();
    path
}

#[test]
fn two_offices_that_never_meet_come_to_hold_the_same_and_know_it() {
    let folder = tempfile::tempdir().unwrap();
    let stick = folder.path().join("stick");
    let mut head = office(folder.path(), "head");
    head.start();
    head.run(["put", "products", "tea", r#"{"price": "2.50", "stock": {"$inc": 40}}"#]).ok();
    let north = invited(folder.path(), "north", &head);
    // What north holds is not for it to read before somebody has let it in.
    let stranger = office(folder.path(), "stranger");
    let early = folder.path().join("early");
    head.run(["bundle", early.to_str().unwrap()]).ok();
    assert!(stranger.run(["merge", early.to_str().unwrap()]).fails(1).contains("to a network yet"));
    assert!(north.run(["merge", early.to_str().unwrap()]).fails(1).contains("not a member"));
    assert_eq!(north.run(["get", "products", "tea"]).code, 1);

    // North writes from the first day on; its ticket travels with what it wrote.
    north.run(["put", "products", "rice", r#"{"price": "11.90"}"#]).ok();
    let merged = carry(&north, &head, &stick);
    assert_eq!((&merged["entries_new"], &merged["records_changed"]), (&json!(1), &json!(1)));
    assert_eq!(merged["maker_name"], "north");
    assert!(head.run(["members"]).ok().contains("north"));

    let merged = carry(&head, &north, &stick);
    assert!(merged["entries_new"].as_u64() >= Some(2), "{merged}");
    assert_eq!(head.digest(), north.digest());
    assert!(!north.data.join("ticket").exists(), "the used ticket stays");

    // Both sell on, and reprice the same product.
    for (office, price, sold) in [(&head, "2.60", -3), (&north, "2.70", -2)] {
        let patch = format!(r#"{{"price": "{price}", "stock": {{"$inc": {sold}}}}}"#);
        office.run(["patch", "products", "tea", &patch]).ok();
    }
    let since = frontier(&head, &folder.path().join("head.frontier"));
    let small = folder.path().join("small");
    north.run(["bundle", small.to_str().unwrap(), "--since", &since]).ok();
    let merged = json(&head.run(["--json", "merge", small.to_str().unwrap()]).ok());
    assert_eq!((&merged["entries_new"], &merged["entries_known"]), (&json!(1), &json!(0)));
    assert_eq!(merged["conflicts_new"], 1);
    // By north's receipt, which came along, head knows what north lacks.
    let back = folder.path().join("back");
    head.run(["bundle", back.to_str().unwrap(), "--for", "north"]).ok();
    let merged = json(&north.run(["--json", "merge", back.to_str().unwrap()]).ok());
    assert_eq!(merged["entries_new"], 1);
    assert_eq!(head.digest(), north.digest());
    assert_eq!(json(&north.run(["get", "products", "tea"]).ok())["stock"], 35);

    // North saw head's receipt of everything; head sees north's with the next stick.
    assert_eq!(holds(&north, "head"), true);
    carry(&north, &head, &stick);
    eventually("head has north's receipt", || holds(&head, "north") == true);
    // The same stick again changes nothing.
    let again = json(&head.run(["--json", "merge", stick.to_str().unwrap()]).ok());
    assert_eq!((&again["entries_new"], &again["conflicts_new"]), (&json!(0), &json!(0)));
    assert!(again["entries_known"].as_u64() >= Some(4), "{again}");
    for office in [&head, &north] {
        office.run(["verify"]).ok();
    }
}

#[test]
fn a_merge_that_broke_off_goes_on_where_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let mut head = office(folder.path(), "head");
    head.start();
    let north = invited(folder.path(), "north", &head);
    let stick = folder.path().join("stick");
    carry(&north, &head, &stick);
    let csv = rows(folder.path(), 30_000);
    head.run(["import", "rows", csv.to_str().unwrap(), "--id", "id"]).ok();
    let path = stick.to_str().unwrap();
    let reported = json(&head.run(["--json", "bundle", path, "--force"]).ok());
    let whole = std::fs::read(&stick).unwrap();
    assert_eq!(reported["bytes"], whole.len());
    // The last piece is lost.
    std::fs::write(&stick, &whole[..whole.len() - 1_000]).unwrap();
    let error = north.run(["merge", path]).fails(1);
    assert!(error.contains("cut off") && error.contains("are merged"), "{error}");
    let held = north.count("rows");
    assert!(held > 0 && held < 30_000, "{held}");
    std::fs::write(&stick, &whole).unwrap();
    let merged = json(&north.run(["--json", "merge", path]).ok());
    let number = |name: &str| merged[name].as_u64().unwrap();
    assert!(number("entries_known") > 0 && number("entries_new") > 0, "{merged}");
    assert_eq!(held + number("records_changed"), 30_000);
    assert_eq!(head.digest(), north.digest());
}

#[test]
fn a_stick_on_which_something_went_wrong_is_refused_with_the_reason() {
    let folder = tempfile::tempdir().unwrap();
    let mut head = office(folder.path(), "head");
    let north = invited(folder.path(), "north", &head);
    let stick = folder.path().join("stick");
    carry(&north, &head, &stick);
    head.run(["put", "products", "tea", "{}"]).ok();
    head.run(["bundle", stick.to_str().unwrap(), "--force"]).ok();
    let whole = std::fs::read(&stick).unwrap();
    let other = Office::init(PROGRAM, &folder.path().join("elsewhere"), "head", true);
    let bad = folder.path().join("bad");
    let path = bad.to_str().unwrap();
    let merge = |office: &Office, bytes: &[u8]| {
        std::fs::write(&bad, bytes).unwrap();
        office.run(["merge", path]).fails(1)
    };
    // By a stopped node's folder, and by a running node's API.
    for round in 0..2 {
        for place in [25, whole.len() / 2, whole.len() - 2] {
            let mut flipped = whole.clone();
            flipped[place] ^= 4;
            let error = merge(&head, &flipped);
            assert!(error.contains("damaged at byte"), "{place}: {error}");
        }
        for length in [0, 10, whole.len() / 2, whole.len() - 1] {
            let error = merge(&head, &whole[..length]);
            let expected = if length == 0 { "not a bundle" } else { "cut off at byte" };
            assert!(error.contains(expected), "{length}: {error}");
        }
        let mut later = whole.clone();
        later[16] = 9;
        assert!(merge(&head, &later).contains("has version 9"));
        assert!(merge(&head, b"id,name\n1,tea\n").contains("not a bundle"));
        assert!(merge(&head, &[&whole[..], b"more"].concat()).contains("something follows"));
        assert!(merge(&other, &whole).contains("the bundle is of network"));
        if round == 0 {
            head.start();
        }
    }
    assert!(head.run(["merge", "nowhere"]).fails(1).contains("cannot read"));
    let wrong = folder.path().join("wrong.frontier");
    let wrong = frontier(&other, &wrong);
    let out = folder.path().join("out");
    let error = head.run(["bundle", out.to_str().unwrap(), "--since", &wrong]).fails(1);
    assert!(error.contains("the frontier is of network"), "{error}");
    assert!(!out.exists() && !out.with_extension("partial").exists());
    std::fs::write(&bad, "{}").unwrap();
    let error = head.run(["bundle", out.to_str().unwrap(), "--since", path]).fails(1);
    assert!(error.contains("is not a frontier"), "{error}");
    let error = head.run(["bundle", out.to_str().unwrap(), "--for", "west"]).fails(1);
    assert!(error.contains("no site is called"), "{error}");
}

#[test]
fn a_stick_that_leaves_a_gap_names_what_is_missing_and_is_not_merged() {
    let folder = tempfile::tempdir().unwrap();
    let head = office(folder.path(), "head");
    let north = invited(folder.path(), "north", &head);
    let stick = folder.path().join("stick");
    carry(&north, &head, &stick);
    carry(&head, &north, &stick);
    for product in 0..3 {
        head.run(["put", "products", &product.to_string(), "{}"]).ok();
    }
    // Somebody took the frontier of the wrong office.
    let since = frontier(&head, &folder.path().join("frontier"));
    head.run(["put", "products", "last", "{}"]).ok();
    let path = stick.to_str().unwrap();
    head.run(["bundle", path, "--since", &since, "--force"]).ok();
    let error = north.run(["merge", path]).fails(1);
    assert!(error.contains("entries that this site does not have: head "), "{error}");
    assert!(error.contains("branchline frontier > FILE"), "{error}");
    assert_eq!(north.count("products"), 0);
    let since = frontier(&north, &folder.path().join("frontier"));
    head.run(["bundle", path, "--since", &since, "--force"]).ok();
    north.run(["merge", path]).ok();
    assert_eq!(north.count("products"), 4);
}

#[test]
fn a_folder_of_a_stopped_node_is_merged_like_a_bundle() {
    let folder = tempfile::tempdir().unwrap();
    let mut head = office(folder.path(), "head");
    let north = invited(folder.path(), "north", &head);
    north.run(["put", "products", "tea", "{}"]).ok();
    head.start();
    let merged = json(&head.run(["--json", "merge", north.data.to_str().unwrap()]).ok());
    assert_eq!(merged["entries_new"], 1);
    let merged = json(&north.run(["--json", "merge", head.data.to_str().unwrap()]).ok());
    assert_eq!(merged["maker_name"], "head");
    assert_eq!(head.digest(), north.digest());
}

#[test]
fn offices_that_have_both_replaced_their_keys_come_together_by_stick() {
    let folder = tempfile::tempdir().unwrap();
    let stick = folder.path().join("stick");
    let head = office(folder.path(), "head");
    let north = invited(folder.path(), "north", &head);
    head.run(["space", "create", "shared"]).ok();
    carry(&north, &head, &stick);
    head.run(["space", "grant", "shared", "north"]).ok();
    head.run(["bundle", stick.to_str().unwrap(), "--for", "north", "--force"]).ok();
    north.run(["merge", stick.to_str().unwrap()]).ok();
    let since = frontier(&north, &folder.path().join("north.frontier"));
    for office in [&head, &north] {
        office.run(["rotate"]).ok();
        let id = &office.name;
        office.run(["put", "products", id, "{}"]).ok();
        office.run(["--space", "shared", "put", "sales", id, "{}"]).ok();
    }
    // The frontier is that of the old key, which head knows.
    head.run(["bundle", stick.to_str().unwrap(), "--since", &since, "--force"]).ok();
    let merged = json(&north.run(["--json", "merge", stick.to_str().unwrap()]).ok());
    assert_eq!((&merged["entries_waiting"], &merged["entries_refused"]), (&json!(0), &json!(0)));
    north.run(["get", "products", "head"]).ok();
    // North knows head's new key by now, and so what to bring along.
    north.run(["bundle", stick.to_str().unwrap(), "--for", "head", "--force"]).ok();
    let merged = json(&head.run(["--json", "merge", stick.to_str().unwrap()]).ok());
    assert_eq!((&merged["entries_waiting"], &merged["entries_refused"]), (&json!(0), &json!(0)));
    head.run(["bundle", stick.to_str().unwrap(), "--for", "north", "--force"]).ok();
    north.run(["merge", stick.to_str().unwrap()]).ok();
    assert_eq!(head.digest(), north.digest());
    for office in [&head, &north] {
        let members = office.run(["members"]).ok();
        assert!(members.contains("head") && members.contains("north"), "{members}");
        let sales = office.run(["--space", "shared", "count", "sales"]).ok();
        assert_eq!(sales.trim(), "2", "{}", office.name);
    }
}

#[test]
fn a_bundle_is_for_its_owner_only_and_appears_whole() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let head = office(folder.path(), "head");
    let stick = folder.path().join("stick");
    head.run(["bundle", stick.to_str().unwrap()]).ok();
    assert_eq!(stick.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    let names = std::fs::read_dir(folder.path()).unwrap().map(|it| it.unwrap().file_name());
    let of_stick = names.filter(|name| name.to_string_lossy().starts_with("stick"));
    assert_eq!(of_stick.collect::<Vec<_>>(), ["stick"], "nothing half written stays");
    let nowhere = folder.path().join("none/stick");
    assert!(head.run(["bundle", nowhere.to_str().unwrap()]).fails(1).contains("cannot write"));
}

#[test]
fn a_site_that_was_revoked_neither_brings_nor_gets_anything_by_stick() {
    let folder = tempfile::tempdir().unwrap();
    let stick = folder.path().join("stick");
    let path = stick.to_str().unwrap();
    let mut head = office(folder.path(), "head");
    head.start();
    let north = invited(folder.path(), "north", &head);
    carry(&north, &head, &stick);
    carry(&head, &north, &stick);
    head.run(["revoke", "north", "--yes"]).ok();
    head.run(["put", "products", "secret", "{}"]).ok();
    north.run(["put", "products", "late", "{}"]).ok();
    north.run(["bundle", path, "--force"]).ok();
    assert_eq!(head.run(["merge", path]).code, 1);
    assert!(!head.has("products", "late"));
    head.run(["bundle", path, "--force"]).ok();
    assert!(north.run(["merge", path]).fails(1).contains("not a member"));
    assert!(!north.has("products", "secret"));
}

#[test]
fn merge_says_what_it_was_given_instead_of_a_bundle() {
    let folder = tempfile::tempdir().unwrap();
    let mut head = office(folder.path(), "head");
    head.run(["put", "products", "tea", r#"{"a": 1}"#]).ok();
    let path = |name: &str| folder.path().join(name);
    let (bundle, backup) = (path("bundle"), path("backup"));
    head.run(["bundle", bundle.to_str().unwrap()]).ok();
    head.run(["backup", "create", backup.to_str().unwrap()]).ok();
    let whole = std::fs::read(&bundle).unwrap();
    std::fs::write(path("empty"), "").unwrap();
    std::fs::write(path("text"), "sku,price\nTEA,2.50\n").unwrap();
    std::fs::write(path("cut"), &whole[..whole.len() - 5]).unwrap();
    std::fs::write(path("short"), &whole[..9]).unwrap();
    std::fs::create_dir(path("folder")).unwrap();
    for is_running in [false, true] {
        if is_running {
            head.start();
        }
        for (given, expected) in [
            (PathBuf::from("/dev/urandom"), "is not a bundle: it is "),
            (
                PathBuf::from("/dev/zero"),
                "is not a bundle: it is data that begins with the bytes 00",
            ),
            (path("empty"), "it is empty"),
            (path("text"), "it is text that begins with \"sku,price"),
            (backup.clone(), "it is a backup"),
            (path("cut"), "cut off at byte"),
            (path("short"), "cut off at byte 9"),
            (path("folder"), "no site's data folder"),
            (path("none"), "cannot read"),
        ] {
            let error = head.run(["merge", given.to_str().unwrap()]).fails(1);
            assert!(error.contains(expected), "{error}");
        }
        head.run(["merge", bundle.to_str().unwrap()]).ok();
    }
}
