//! Offices that are shut out or given other roles, as users run them: processes, folders, sockets.

use std::collections::BTreeSet;
use std::path::Path;

use branchline_tests::proxy::Proxy;
use branchline_tests::{Office, converge, eventually};
use serde_json::Value;

use crate::PROGRAM;

fn office(folder: &Path, name: &str) -> Office {
    Office::init(PROGRAM, folder, name, name == "head")
}

/// The address of an office's first TCP listener.
fn port(office: &Office) -> u16 {
    let status = office.get("/v1/status");
    let listening = status["listening"].as_array().unwrap();
    let tcp = listening.iter().filter_map(Value::as_str).find(|address| address.contains("/tcp/"));
    tcp.unwrap().rsplit('/').next().unwrap().parse().unwrap()
}

fn put(office: &Office, id: &str) {
    office.run(["put", "products", id, r#"{"price": "2.50"}"#]).ok();
}

fn is_connected(office: &Office, other: &str) -> bool {
    let status = office.get("/v1/status");
    let sites = status["sites"].as_array().unwrap();
    sites.iter().any(|site| site["name"] == other && site["connected"] == true)
}

#[test]
fn what_a_revoked_office_writes_behind_a_cut_link_shows_nowhere_else() {
    let folder = tempfile::tempdir().unwrap();
    let mut head = office(folder.path(), "head");
    let mut south = office(folder.path(), "south");
    let mut north = office(folder.path(), "north");
    head.start();
    south.start();
    south.join(&head);
    // North reaches the others by one cable alone.
    let cable = Proxy::to(([127, 0, 0, 1], port(&head)).into());
    std::fs::write(north.data.join("branchline.toml"), "listen = []\nmdns = false\n").unwrap();
    let ticket = head.run(["invite", "--address", &cable.multiaddr()]).ok();
    north.start_with(&[]);
    north.run(["join", ticket.trim()]).ok();
    put(&north, "before");
    converge(&[&head, &south, &north]);

    cable.cut();
    eventually("the cable is cut", || {
        !is_connected(&head, "north") && !is_connected(&north, "head")
    });
    put(&north, "after");
    head.run(["revoke", "north"]).ok();
    put(&head, "unknown-to-north");
    cable.mend();

    eventually("north knows", || !north.get("/v1/status")["revoked_by"].is_null());
    converge(&[&head, &south]);
    for office in [&head, &south] {
        assert!(office.has("products", "before") && !office.has("products", "after"));
        let members = office.run(["members"]).ok();
        let row = members.lines().find(|line| line.contains("north")).unwrap();
        assert!(row.contains("revoked") && row.contains("by head"), "{members}");
    }
    // It keeps what it has, says how it stands, and takes no writes, by its node or without.
    assert!(north.has("products", "after") && !north.has("products", "unknown-to-north"));
    let status = north.run(["status"]).ok();
    assert!(status.contains("revoked") && status.contains("by head"), "{status}");
    let refused = north.run(["put", "products", "later", "{}"]).fails(1);
    assert!(refused.contains("revoked"), "{refused}");
    assert!(!is_connected(&north, "head"));
    let checked = north.run(["check"]);
    assert_eq!(checked.code, 2, "{}", checked.stdout);
    for reported in [checked.stdout, north.run(["peers"]).ok(), status] {
        assert!(reported.contains("this site was revoked by head"), "{reported}");
    }
    assert!(refused.contains("revoked by head"), "{refused}");
    let metrics = branchline_tests::client();
    let (address, token) = north.api();
    let metrics = metrics.get(format!("http://{address}/metrics")).bearer_auth(token).send();
    let metrics = metrics.unwrap().text().unwrap();
    assert!(metrics.contains(r#"branchline_standing{state="revoked"} 1"#), "{metrics}");
    // The others still know it by its name, and what became of it.
    let history = head.run(["history", "products", "before"]).ok();
    assert!(history.contains(" north "), "{history}");
    assert!(head.run(["log", "north"]).ok().contains(" north "));
    assert!(head.run(["sync", "north"]).fails(1).contains("north was revoked by head"));
    let reported = head.run(["members", "--history"]).ok();
    let places =
        ["founded it", "let south in as writer", "let north in as writer", "revoked north"];
    let places: Vec<_> = places.iter().map(|what| reported.find(what)).collect();
    assert!(places.iter().all(Option::is_some) && places.is_sorted(), "{reported}");
    // Neither another key nor a ticket brings it back.
    north.stop();
    let refused = north.run(["rotate"]).fails(1);
    assert!(refused.contains("was revoked by"), "{refused}");
    north.start_with(&[]);
    let ticket = head.run(["invite", "--address", &cable.multiaddr()]).ok();
    let refused = north.run(["join", ticket.trim()]).fails(1);
    assert!(refused.contains("this site"), "{refused}");
}

#[test]
fn roles_and_names_change_and_what_cannot_be_decided_says_why() {
    let folder = tempfile::tempdir().unwrap();
    let (mut head, north) = Office::pair(PROGRAM, folder.path());
    converge(&[&head, &north]);
    let own = head.run(["revoke", "head"]).fails(1);
    assert!(own.contains("only admin"), "{own}");
    let unknown = head.run(["revoke", "nobody", "--yes"]).fails(1);
    assert!(unknown.contains("no member is called") && unknown.contains("members"), "{unknown}");
    let junior = north.run(["role", "head", "reader"]).fails(1);
    assert!(junior.contains("takes the role admin"), "{junior}");

    head.run(["role", "north", "admin"]).ok();
    let role = |office: &Office| north_of(office)["role"].as_str().map(str::to_owned);
    eventually("north is an admin", || role(&north).as_deref() == Some("admin"));
    let senior = north.run(["revoke", "head"]).fails(1);
    assert!(senior.contains("is senior to this site"), "{senior}");
    let own = head.run(["revoke", "head"]).fails(1);
    assert!(own.contains("another admin can"), "{own}");

    head.run(["role", "north", "reader"]).ok();
    eventually("north reads only", || role(&north).as_deref() == Some("reader"));
    let refused = north.run(["put", "products", "tea", "{}"]).fails(1);
    assert!(refused.contains("reader"), "{refused}");
    let id = north_of(&head)["site"].as_str().unwrap().to_owned();
    head.run(["rename", &id, "harbour"]).ok();
    eventually("the name is known", || north.run(["members"]).ok().contains("harbour"));
    let taken = head.run(["rename", "harbour", "head"]).fails(1);
    assert!(taken.contains("another site"), "{taken}");
    // The folder of a stopped node takes decisions too.
    assert_eq!(head.stop(), 0);
    head.run(["role", "harbour", "writer"]).ok();
    head.start();
    eventually("harbour writes", || north.run(["put", "products", "tea", "{}"]).code == 0);
    converge(&[&head, &north]);
}

/// The member that was admitted second.
fn north_of(office: &Office) -> Value {
    let members = office.get("/v1/members");
    let all = members["members"].as_array().unwrap();
    all.iter().find(|member| member["name"] != "head").unwrap().clone()
}

#[test]
fn a_rotated_key_keeps_name_and_role_and_the_old_one_is_worth_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let (head, mut north) = Office::pair(PROGRAM, folder.path());
    put(&north, "before");
    converge(&[&head, &north]);
    let old = north_of(&head)["site"].as_str().unwrap().to_owned();
    let running = north.run(["rotate"]).fails(1);
    assert!(running.contains("in use"), "{running}");
    assert_eq!(north.stop(), 0);
    // Somebody has made a copy of the folder.
    let mut copy = office(folder.path(), "copy");
    let mut copied = std::process::Command::new("cp");
    std::fs::remove_dir_all(&copy.data).unwrap();
    assert!(copied.arg("-r").args([&north.data, &copy.data]).status().unwrap().success());

    north.run(["rotate"]).ok();
    north.start();
    put(&north, "after");
    converge(&[&head, &north]);
    let member = north_of(&head);
    assert!(member["name"] == "north" && member["role"] == "writer" && member["site"] != old);
    assert!(head.has("products", "before") && head.has("products", "after"));
    assert_eq!(head.get("/v1/members")["revoked"].as_array().unwrap().len(), 0);

    // What stands under the old key is still north's.
    let history = head.run(["--json", "history", "products", "before"]).ok();
    assert!(history.contains(r#""site_name":"north""#) && history.contains(&old), "{history}");
    let logged = head.run(["--json", "log", "north"]).ok();
    assert!(logged.contains(&old) && logged.contains(member["site"].as_str().unwrap()), "{logged}");
    assert!(head.run(["members", "--history"]).ok().contains("took another key"));

    copy.start();
    put(&copy, "stolen");
    put(&north, "more");
    converge(&[&head, &north]);
    assert!(!head.has("products", "stolen") && !copy.has("products", "more"));
    // The old key cannot come back by a ticket either.
    assert_eq!(north_of(&head)["site"], member["site"]);
}

#[test]
fn two_running_copies_of_an_office_are_noticed_and_restarts_are_not() {
    let folder = tempfile::tempdir().unwrap();
    let (head, mut north) = Office::pair(PROGRAM, folder.path());
    let copies = |office: &Office| office.get("/v1/status")["copies"].as_array().unwrap().clone();
    for number in 0..3 {
        put(&north, &number.to_string());
        converge(&[&head, &north]);
        if number == 1 {
            north.kill();
        } else {
            north.stop();
        }
        north.start();
    }
    put(&north, "last");
    converge(&[&head, &north]);
    assert_eq!(copies(&head), Vec::<Value>::new());

    let mut copy = office(folder.path(), "copy");
    std::fs::remove_dir_all(&copy.data).unwrap();
    assert_eq!(north.stop(), 0);
    let mut copied = std::process::Command::new("cp");
    assert!(copied.arg("-r").args([&north.data, &copy.data]).status().unwrap().success());
    north.start();
    copy.start();
    eventually("head notices both", || copies(&head).len() == 1);
    let found = copies(&head).remove(0);
    assert_eq!(found["site_name"], "north");
    assert!(found["since"].is_string(), "{found}");
    let checked = head.run(["check"]);
    assert_eq!(checked.code, 2, "{}", checked.stdout);
    for reported in [checked.stdout, head.run(["status"]).ok()] {
        assert!(reported.contains("two copies of north are running"), "{reported}");
    }
    let log = std::fs::read_to_string(head.log_path()).unwrap();
    assert!(log.contains("two copies of one site are running"), "{log}");
}

/// The names of the members, with their keys' sites.
fn members(office: &Office) -> BTreeSet<(String, String)> {
    let members: Value =
        serde_json::from_str(&office.run(["--json", "members"]).ok()).expect("JSON");
    let text = |member: &Value, name: &str| member[name].as_str().unwrap().to_owned();
    let all = members["members"].as_array().unwrap().iter();
    all.map(|member| (text(member, "name"), text(member, "site"))).collect()
}

#[test]
fn offices_that_have_both_replaced_their_keys_find_each_other_again() {
    let folder = tempfile::tempdir().unwrap();
    let (mut head, mut north) = Office::pair(PROGRAM, folder.path());
    head.run(["space", "create", "north-sales"]).ok();
    head.run(["space", "grant", "north-sales", "north"]).ok();
    let sell = |office: &Office, id: &str| {
        office.run(["--space", "north-sales", "put", "sales", id, r#"{"total": "2.60"}"#])
    };
    eventually("north is in the space", || sell(&north, "before").code == 0);
    put(&head, "before");
    converge(&[&head, &north]);
    let before = members(&head);
    for office in [&mut head, &mut north] {
        assert_eq!(office.stop(), 0);
    }
    head.run(["rotate"]).ok();
    for _ in 0..2 {
        north.run(["rotate"]).ok();
    }
    for office in [&mut head, &mut north] {
        office.start();
        put(office, &format!("by-{}", office.name));
        sell(office, &format!("by-{}", office.name)).ok();
    }
    converge(&[&head, &north]);
    for office in [&head, &north] {
        assert!(office.has("products", "by-head") && office.has("products", "by-north"));
        eventually("all sales are there", || {
            office.run(["--space", "north-sales", "count", "sales"]).ok().trim() == "3"
        });
    }
    let after = members(&head);
    assert_eq!(after, members(&north));
    let names = |all: &BTreeSet<(String, String)>| -> Vec<String> {
        all.iter().map(|(name, _)| name.clone()).collect()
    };
    assert_eq!(names(&after), names(&before));
    assert!(after.is_disjoint(&before), "{after:?}");
    // They find each other as before.
    assert_eq!(head.stop(), 0);
    put(&north, "later");
    head.start();
    converge(&[&head, &north]);
}

#[test]
fn an_office_that_only_dials_finds_the_one_whose_key_was_replaced() {
    for both in [false, true] {
        let folder = tempfile::tempdir().unwrap();
        let mut head = office(folder.path(), "head");
        let mut north = office(folder.path(), "north");
        head.start();
        let deaf = "listen = []\nmdns = false\n";
        std::fs::write(north.data.join("branchline.toml"), deaf).unwrap();
        north.start_with(&[]);
        north.join(&head);
        converge(&[&head, &north]);
        assert_eq!(head.stop(), 0);
        head.run(["rotate"]).ok();
        if both {
            assert_eq!(north.stop(), 0);
            north.run(["rotate"]).ok();
            north.start_with(&[]);
        }
        put(&north, "by-north");
        head.start();
        put(&head, "by-head");
        converge(&[&head, &north]);
    }
}
