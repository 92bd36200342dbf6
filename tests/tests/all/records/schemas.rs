//! Schemas that two admins declare without knowing of each other.

use std::path::Path;

use branchline_tests::{Office, converge};
use serde_json::Value;

use crate::PROGRAM;

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

fn file(folder: &Path, name: &str, csv: &str) -> String {
    let path = folder.join(name);
    std::fs::write(&path, csv).unwrap();
    path.to_str().unwrap().to_owned()
}

#[test]
fn two_admins_who_declare_a_field_apart_lose_no_record_and_choose_one_kind() {
    let folder = tempfile::tempdir().unwrap();
    let mut head = Office::init(PROGRAM, folder.path(), "head", true);
    let mut north = Office::init(PROGRAM, folder.path(), "north", false);
    head.start();
    north.start();
    let ticket = head.run(["invite", "--role", "admin"]).ok();
    north.run(["join", ticket.trim()]).ok();
    converge(&[&head, &north]);
    for office in [&mut head, &mut north] {
        assert_eq!(office.stop(), 0);
    }
    // Each declares by its first import what its own list looks like: at head prices have cents, at north they have none.
    let at_head = file(folder.path(), "head.csv", "sku,price\nTEA,2.50\nRICE,11.90\n");
    let at_north = file(folder.path(), "north.csv", "sku,price,shelf\nSALT,1,4\nSOAP,3,2\n");
    head.run(["import", "products", &at_head, "--id", "sku"]).ok();
    north.run(["import", "products", &at_north, "--id", "sku"]).ok();
    head.start();
    north.start();
    converge(&[&head, &north]);

    // All fields of both are declared, of the one that both declared there are two kinds, and no record is lost.
    for office in [&head, &north] {
        let schema = json(&office.run(["--json", "schema", "show", "products"]).ok());
        assert_eq!(schema["products"]["shelf"], "integer", "{schema}");
        let listed = office.run(["conflicts", "_schema", "products"]).ok();
        assert!(listed.contains("decimal") && listed.contains("integer"), "{listed}");
        assert_eq!(office.count("products"), 4);
    }
    let shown = |office: &Office| office.run(["--json", "schema", "show", "products"]).ok();
    assert_eq!(shown(&head), shown(&north));

    // One of the two is chosen; what the other wrote stays readable, and is named until it is written again.
    north.run(["settle", "_schema", "products", "price", "--take-site", "head"]).ok();
    converge(&[&head, &north]);
    for office in [&head, &north] {
        assert_eq!(json(&shown(office))["products"]["price"], "decimal");
        assert!(!office.run(["conflicts"]).ok().contains("price"));
        let misfits = office.get("/v1/schemas/products/check");
        let ids: Vec<_> =
            misfits["records"].as_array().unwrap().iter().map(|record| &record["id"]).collect();
        assert_eq!(ids, ["SALT", "SOAP"], "{misfits}");
        assert_eq!(json(&office.run(["get", "products", "SALT"]).ok())["price"], 1);
    }
    north.run(["import", "products", &at_north, "--id", "sku"]).ok();
    converge(&[&head, &north]);
    for office in [&head, &north] {
        let dear = office.run(["--json", "list", "products", "--where", "price > 2"]).ok();
        let found = ["TEA", "RICE", "SOAP"].iter().filter(|id| dear.contains(**id)).count();
        assert_eq!((found, dear.contains("SALT")), (3, false), "{dear}");
        assert_eq!(office.get("/v1/schemas/products/check")["records"], Value::Array(Vec::new()));
    }
}
