//! Settling what two offices wrote without knowing of each other: in private spaces, deep within records, and while
//! others go on writing.

use std::fmt::Write;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use branchline_tests::{Office, client, converge, eventually};
use serde_json::{Value, json};

use crate::PROGRAM;

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

fn conflicts(office: &Office, arguments: &[&str]) -> Vec<Value> {
    let listed = office.run([&["--json"], arguments, &["conflicts"]].concat()).ok();
    listed.lines().map(json).collect()
}

/// Both nodes stopped, one command on each folder, and both in step again.
fn apart(head: &mut Office, north: &mut Office, arguments: [&[&str]; 2]) {
    for office in [&mut *head, &mut *north] {
        assert_eq!(office.stop(), 0);
    }
    head.run(arguments[0]).ok();
    north.run(arguments[1]).ok();
    head.start();
    north.start();
    converge(&[head, north]);
}

#[test]
fn a_conflict_in_a_private_space_is_settled_there_and_in_main_it_stays() {
    let folder = tempfile::tempdir().unwrap();
    let (mut head, mut north) = Office::pair(PROGRAM, folder.path());
    head.run(["space", "create", "tills"]).ok();
    head.run(["space", "grant", "tills", "north"]).ok();
    let within = |office: &Office, arguments: &[&str]| {
        office.run([&["--space", "tills"], arguments].concat())
    };
    eventually("north is in the space", || within(&north, &["list", "sales"]).code == 0);
    // The same id in main and in the space, both at odds.
    for office in [&mut head, &mut north] {
        assert_eq!(office.stop(), 0);
    }
    for (office, price) in [(&head, "2.60"), (&north, "2.70")] {
        let fields = json!({ "price": price }).to_string();
        office.run(["put", "sales", "1", &fields]).ok();
        within(office, &["put", "sales", "1", &fields]).ok();
    }
    head.start();
    north.start();
    converge(&[&head, &north]);
    eventually("both values are in the space", || {
        [&head, &north].iter().all(|office| conflicts(office, &["--space", "tills"]).len() == 1)
    });
    within(&head, &["settle", "sales", "1", "price", "--take-site", "north"]).ok();
    for office in [&head, &north] {
        eventually("it is settled in the space", || {
            conflicts(office, &["--space", "tills"]).is_empty()
        });
        assert_eq!(json(&within(office, &["get", "sales", "1"]).ok())["price"], "2.70");
        assert_eq!(conflicts(office, &[]).len(), 1, "main is another place");
    }
}

#[test]
fn a_field_deep_within_a_record_is_settled_and_its_neighbours_stay() {
    let folder = tempfile::tempdir().unwrap();
    let (mut head, mut north) = Office::pair(PROGRAM, folder.path());
    let schema = folder.path().join("schema.json");
    std::fs::write(&schema, r#"{"customers": {"address": "map", "address.post": "map"}}"#).unwrap();
    head.run(["schema", "apply", schema.to_str().unwrap()]).ok();
    let customer = r#"{"name": "Ada", "address": {"town": "Ulm", "post": {"code": 1, "box": 5}}}"#;
    head.run(["put", "customers", "ada", customer]).ok();
    converge(&[&head, &north]);
    let patch = |code: u32, street: &str| {
        json!({"address": {"post": {"code": code}, street: "new"}}).to_string()
    };
    let (at_head, at_north) = (patch(2, "east"), patch(3, "west"));
    apart(
        &mut head,
        &mut north,
        [&["patch", "customers", "ada", &at_head], &["patch", "customers", "ada", &at_north]],
    );
    let found = conflicts(&north, &[]);
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!(found[0]["field"], "address.post.code");
    let wrong = north.run(["settle", "customers", "ada", "address.town", "--take-shown"]).fails(1);
    assert!(wrong.contains("has no conflict of address.town"), "{wrong}");
    north.run(["settle", "customers", "ada", "address.post.code", "--take-site", "head"]).ok();
    converge(&[&head, &north]);
    for office in [&head, &north] {
        assert!(conflicts(office, &[]).is_empty());
        let post = json!({"box": 5, "code": 2});
        let address = json!({"east": "new", "west": "new", "town": "Ulm", "post": post});
        let expected = json!({"name": "Ada", "address": address});
        assert_eq!(json(&office.run(["get", "customers", "ada"]).ok()), expected);
    }
}

/// A price list of one office.
fn prices(folder: &Path, name: &str, price: &str) -> String {
    let mut csv = "sku,price\n".to_owned();
    for row in 0..RECORDS {
        writeln!(csv, "{row:04},{price}").unwrap();
    }
    let path = folder.join(format!("{name}.csv"));
    std::fs::write(&path, csv).unwrap();
    path.to_str().unwrap().to_owned()
}

const RECORDS: usize = 400;

/// Anyone who writes a field has seen its conflict, so what was written stays, whichever of the two comes first.
#[test]
fn what_is_written_while_many_are_settled_is_never_overwritten() {
    let folder = tempfile::tempdir().unwrap();
    let (mut head, mut north) = Office::pair(PROGRAM, folder.path());
    let [at_head, at_north] = [("head", "2.60"), ("north", "2.70")]
        .map(|(name, price)| prices(folder.path(), name, price));
    apart(
        &mut head,
        &mut north,
        [
            &["import", "products", &at_head, "--id", "sku"],
            &["import", "products", &at_north, "--id", "sku"],
        ],
    );
    let (address, token) = head.api();
    let is_settled = AtomicBool::new(false);
    let written = std::thread::scope(|scope| {
        let till = scope.spawn(|| {
            let client = client();
            let mut written = 0;
            // From the last one back, while the others are settled from the first on.
            for row in (0..RECORDS).rev() {
                let path = format!("http://{address}/v1/records/products/{row:04}");
                let request = client.patch(path).bearer_auth(&token);
                let answer = request.json(&json!({ "price": format!("{row}.99") })).send().unwrap();
                assert_eq!(answer.status(), 200, "{}", answer.text().unwrap());
                written += 1;
                if is_settled.load(Ordering::Relaxed) {
                    break;
                }
            }
            written
        });
        let settled = head.run(["settle", "products", "--take-site", "north"]);
        println!("{}", settled.stderr);
        settled.ok();
        is_settled.store(true, Ordering::Relaxed);
        till.join().unwrap()
    });
    assert!(written > 0);
    for row in 0..RECORDS {
        let price = head.get(&format!("/v1/records/products/{row:04}"))["price"].clone();
        let expected =
            if row >= RECORDS - written { format!("{row}.99") } else { "2.70".to_owned() };
        assert_eq!(price, expected, "product {row:04}");
    }
    assert!(conflicts(&head, &[]).is_empty());
}

#[test]
fn a_field_is_settled_to_null_and_no_unknown_site_is_taken() {
    let folder = tempfile::tempdir().unwrap();
    let (mut head, mut north) = Office::pair(PROGRAM, folder.path());
    head.run(["put", "products", "tea", r#"{"price": 1}"#]).ok();
    converge(&[&head, &north]);
    let (null, other) = (r#"{"price": null}"#, r#"{"price": 2}"#);
    apart(
        &mut head,
        &mut north,
        [&["put", "products", "tea", null], &["put", "products", "tea", other]],
    );
    for record in [&["tea"][..], &[]] {
        let settle = [&["settle", "products"], record, &["--take-site", "nosuch"]].concat();
        assert!(head.run(settle).fails(1).contains("nosuch"), "{record:?}");
    }
    head.run(["settle", "products", "tea", "price", "--value", "null"]).ok();
    assert_eq!(json(&head.run(["get", "products", "tea"]).ok())["price"], Value::Null);
    assert!(conflicts(&head, &[]).is_empty());
}
