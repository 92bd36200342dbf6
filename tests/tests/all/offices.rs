//! Offices as users run them: processes, folders, sockets, kill -9.

use std::fmt::Write;
use std::path::Path;

use branchline_tests::proxy::Proxy;
use branchline_tests::{Office, converge, eventually};
use serde_json::Value;

use crate::PROGRAM;

fn office(folder: &Path, name: &str) -> Office {
    Office::init(PROGRAM, folder, name, name == "head")
}

/// Rows of sales in one branch, as a CSV file.
fn sales(folder: &Path, branch: &str, rows: std::ops::Range<usize>) -> String {
    let mut csv = "invoice,branch,quantity,price\n".to_owned();
    for row in rows {
        writeln!(csv, "{branch}-{row:04},{branch},{},{}.50", row % 9 + 1, row % 80).unwrap();
    }
    let path = folder.join(format!("{branch}.csv"));
    std::fs::write(&path, csv).unwrap();
    path.to_str().unwrap().to_owned()
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

#[test]
fn three_offices_import_their_sales_one_of_them_offline() {
    let folder = tempfile::tempdir().unwrap();
    let mut offices = ["head", "north", "south"].map(|name| office(folder.path(), name));
    for office in &mut offices {
        office.start();
    }
    offices[1].join(&offices[0]);
    offices[2].join(&offices[0]);
    // South's node is away during the import; its folder takes the rows all the same.
    assert_eq!(offices[2].stop(), 0);
    for office in &offices {
        let file = sales(folder.path(), &office.name, 0..200);
        office.run(["import", "sales", &file, "--id", "invoice"]).ok();
    }
    offices[2].start();
    converge(&[&offices[0], &offices[1], &offices[2]]);
    for office in &offices {
        assert_eq!(office.count("sales"), 600);
        let sale = json(&office.run(["get", "sales", "south-0007"]).ok());
        assert_eq!(sale["quantity"], 8);
        assert_eq!(sale["price"], "7.50");
    }
    let again = sales(folder.path(), "head", 0..200);
    let digest = offices[0].digest();
    offices[0].run(["import", "sales", &again, "--id", "invoice"]).ok();
    assert_eq!(offices[0].digest(), digest);
}

#[test]
fn offices_without_a_link_converge_through_a_third() {
    let folder = tempfile::tempdir().unwrap();
    let mut head = office(folder.path(), "head");
    let mut north = office(folder.path(), "north");
    let mut south = office(folder.path(), "south");
    head.start();
    // The branches listen nowhere: they can reach head, and never each other.
    for branch in [&mut north, &mut south] {
        std::fs::write(branch.data.join("branchline.toml"), "listen = []\nmdns = false\n").unwrap();
        branch.start_with(&[]);
        branch.join(&head);
    }
    north.run(["put", "products", "tea", r#"{"price": "2.50"}"#]).ok();
    south.run(["put", "products", "rice", r#"{"price": "11.90"}"#]).ok();
    converge(&[&head, &north, &south]);
    eventually("south has the tea", || south.run(["get", "products", "tea"]).code == 0);
    assert_eq!(json(&north.run(["get", "products", "rice"]).ok())["price"], "11.90");
    let peers = north.get("/v1/status");
    let south_id = south.get("/v1/status")["site"].clone();
    let sites = peers["sites"].as_array().unwrap();
    assert!(sites.iter().any(|site| site["site"] == south_id && site["connected"] == false));
}

#[test]
fn a_cut_link_keeps_both_prices_and_sums_the_stock() {
    let folder = tempfile::tempdir().unwrap();
    let mut head = office(folder.path(), "head");
    let mut north = office(folder.path(), "north");
    head.start();
    let listening = head.get("/v1/status")["listening"][0].as_str().unwrap().to_owned();
    let port = listening.rsplit('/').next().unwrap().parse().unwrap();
    let cable = Proxy::to(([127, 0, 0, 1], port).into());
    std::fs::write(north.data.join("branchline.toml"), "listen = []\nmdns = false\n").unwrap();
    let ticket = head.run(["invite", "--address", &cable.multiaddr()]).ok();
    north.start_with(&[]);
    north.run(["join", ticket.trim()]).ok();
    head.run(["put", "products", "tea", r#"{"price": "2.50", "stock": {"$inc": 40}}"#]).ok();
    converge(&[&head, &north]);

    cable.cut();
    let connected = |office: &Office| {
        let status = office.get("/v1/status");
        status["sites"].as_array().unwrap().iter().all(|site| site["connected"] == true)
    };
    eventually("the cable is cut", || !connected(&head) && !connected(&north));
    for (office, price, sold) in [(&head, "2.60", -3), (&north, "2.70", -2)] {
        let patch = format!(r#"{{"price": "{price}", "stock": {{"$inc": {sold}}}}}"#);
        office.run(["patch", "products", "tea", &patch]).ok();
    }
    assert_ne!(head.digest(), north.digest());
    assert_eq!(json(&head.run(["get", "products", "tea"]).ok())["stock"], 37);
    assert_eq!(json(&north.run(["get", "products", "tea"]).ok())["stock"], 38);

    cable.mend();
    converge(&[&head, &north]);
    let at_head = json(&head.run(["get", "products", "tea"]).ok());
    assert_eq!(at_head, json(&north.run(["get", "products", "tea"]).ok()));
    assert_eq!(at_head["stock"], 35);
    let conflicts = head.run(["conflicts", "products", "tea"]).ok();
    for expected in ["2.60", "2.70", "head", "north"] {
        assert!(conflicts.contains(expected), "{conflicts}");
    }
    settle_by_site_and_by_version(&head, &north);
}

/// Each says which value to take, against the record as it was shown.
fn settle_by_site_and_by_version(head: &Office, north: &Office) {
    let listed = json(&head.run(["conflicts", "products", "tea", "--json"]).ok());
    let version = listed["version"].as_str().expect("a version").to_owned();
    let wrong = head.run(["settle", "products", "tea", "price", "--take-site", "nobody"]);
    assert!(wrong.fails(1).contains("no site is called \"nobody\""), "it names the site");
    head.run(["patch", "products", "tea", r#"{"note": "newer"}"#]).ok();
    let late = ["settle", "products", "tea", "--take-shown", "--if-version", version.as_str()];
    assert!(head.run(late).fails(1).contains("products/tea"));
    head.run(["settle", "products", "tea", "price", "--take-site", "head"]).ok();
    converge(&[head, north]);
    assert_eq!(json(&north.run(["get", "products", "tea"]).ok())["price"], "2.60");
    assert!(!north.run(["conflicts"]).ok().contains("2.70"));
    let again = head.run(["settle", "products", "tea", "--take-shown"]);
    assert!(again.fails(1).contains("has no conflict"));
    head.run(["settle", "products", "--where", "price = '2.60'", "--take-shown"]).ok();
}

#[test]
fn kill_minus_nine_during_imports_loses_nothing_that_was_acknowledged() {
    let folder = tempfile::tempdir().unwrap();
    let mut head = office(folder.path(), "head");
    let mut acknowledged = 0;
    for round in 0..5 {
        head.start();
        let rows = acknowledged..acknowledged + 300;
        let file = sales(folder.path(), "head", rows.clone());
        head.run(["import", "sales", &file, "--id", "invoice"]).ok();
        acknowledged = rows.end;
        // More is under way when the node dies.
        let more = sales(folder.path(), "more", round * 5_000..(round + 1) * 5_000);
        let mut import = head.command(["import", "more", &more, "--id", "invoice"]);
        let quiet = || std::process::Stdio::null();
        let mut import = import.stdin(quiet()).stdout(quiet()).stderr(quiet()).spawn().unwrap();
        let before = head.count("more");
        eventually("the import is under way", || head.count("more") > before);
        head.kill();
        import.wait().unwrap();
        assert_eq!(head.count("sales"), acknowledged as u64);
        head.run(["verify"]).ok();
    }
    let last = format!("head-{:04}", acknowledged - 1);
    head.run(["get", "sales", &last]).ok();
}

#[test]
fn an_office_killed_in_mid_connection_is_heard_as_soon_as_it_is_back() {
    let folder = tempfile::tempdir().unwrap();
    let mut head = office(folder.path(), "head");
    let mut north = office(folder.path(), "north");
    // QUIC: the other side does not see the process die.
    let quic = ["--listen", "/ip4/127.0.0.1/udp/0/quic-v1", "--no-mdns"];
    head.start_with(&quic);
    north.start_with(&quic);
    north.join(&head);
    head.run(["put", "products", "tea", r#"{"stock": {"$inc": 40}}"#]).ok();
    converge(&[&head, &north]);
    for round in 1..=3 {
        north.kill();
        north.run(["patch", "products", "tea", r#"{"stock": {"$inc": -3}}"#]).ok();
        north.start_with(&quic);
        eventually("head has what was sold in the meantime", || {
            json(&head.run(["get", "products", "tea"]).ok())["stock"] == 40 - 3 * round
        });
        head.run(["put", "products", "seen", &format!("{{\"round\": {round}}}")]).ok();
        converge(&[&head, &north]);
    }
}

#[test]
fn a_stopped_node_serves_the_same_commands_from_its_folder() {
    let folder = tempfile::tempdir().unwrap();
    let mut head = office(folder.path(), "head");
    head.run(["put", "products", "tea", r#"{"price": "2.50"}"#]).ok();
    assert_eq!(json(&head.run(["get", "products", "tea"]).ok())["price"], "2.50");
    head.run(["delete", "products", "tea"]).ok();
    assert!(head.run(["get", "products", "tea"]).fails(1).starts_with("error: "));
    head.run(["undelete", "products", "tea"]).ok();
    assert_eq!(head.count("products"), 1);
    assert_eq!(head.count("unknown"), 0);
    let digest = head.digest();
    head.start();
    assert_eq!(head.digest(), digest);
    let status = head.run(["--json", "status"]).ok();
    assert_eq!(json(&status)["running"], true);
    assert_eq!(head.stop(), 0);
    head.run(["rebuild"]).ok();
    assert_eq!(head.digest(), digest);
    head.run(["verify"]).ok();
}

#[test]
fn an_entry_that_the_disk_spoils_comes_back_from_a_peer() {
    let folder = tempfile::tempdir().unwrap();
    let (mut head, north) = Office::pair(PROGRAM, folder.path());
    for product in 0..12 {
        let (writer, id) = (if product % 2 == 0 { &head } else { &north }, product.to_string());
        writer.run(["put", "products", &id, r#"{"price": "2.50"}"#]).ok();
    }
    converge(&[&head, &north]);
    let digest = head.digest();
    let journal = head.data.join("journal/00000000.seg");
    for percent in [30, 50, 70, 90] {
        assert_eq!(head.stop(), 0);
        let mut bytes = std::fs::read(&journal).unwrap();
        let at = bytes.len() * percent / 100;
        bytes[at] ^= 1;
        std::fs::write(&journal, bytes).unwrap();
        head.start();
        eventually("the journal is whole again", || {
            let status = head.status();
            status["damaged_frames"] == 0 && status["entries_lost"] == 0
        });
        assert_eq!(head.digest(), digest, "flipped at {percent} %");
    }
    let log = std::fs::read_to_string(head.log_path()).unwrap();
    assert!(log.contains("a damaged entry is repaired"), "{log}");
    assert_eq!(head.stop(), 0);
    head.run(["verify"]).ok();
}

#[test]
fn a_ticket_taken_by_a_stopped_site_serves_when_it_next_runs() {
    let folder = tempfile::tempdir().unwrap();
    let mut head = office(folder.path(), "head");
    let mut north = office(folder.path(), "north");
    head.start();
    let ticket = head.run(["invite"]).ok();
    assert_eq!(ticket.lines().count(), 1, "the ticket stands alone: {ticket}");
    north.run_with(["join", "-"], &ticket).ok();
    // It may write before anybody knows of it.
    north.run(["put", "products", "tea", r#"{"price": "2.50"}"#]).ok();
    north.start();
    eventually("head has the tea", || head.run(["get", "products", "tea"]).code == 0);
    let members = head.run(["members"]).ok();
    assert!(members.contains("head") && members.contains("north"), "{members}");
    assert!(!north.data.join("ticket").exists(), "the used ticket stays");
}

#[test]
fn secrets_are_readable_by_their_owner_only() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let mut head = office(folder.path(), "head");
    head.start();
    let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o777;
    for file in ["site.key", "api.token", "site.json", "run.json"] {
        assert_eq!(mode(&head.data.join(file)), 0o600, "{file}");
    }
    for folder in ["", "journal", "tables"] {
        assert_eq!(mode(&head.data.join(folder)), 0o700, "{folder}");
    }
}

#[test]
fn a_ticket_admits_as_many_as_it_says_is_listed_by_its_note_and_withdrawn() {
    let folder = tempfile::tempdir().unwrap();
    let mut offices: Vec<_> =
        ["head", "north", "south", "east"].map(|name| office(folder.path(), name)).into();
    offices.iter_mut().for_each(Office::start);
    let [head, north, south, east] = &offices[..] else { panic!("four offices") };
    let ticket = head.run(["invite", "--sites", "3", "--note", "the coast"]).ok();
    north.run(["join", ticket.trim()]).ok();
    south.run(["join", ticket.trim()]).ok();
    converge(&[head, north, south]);
    // Any member sees it.
    let listed = north.run(["invite", "list"]).ok();
    assert!(listed.contains("the coast") && listed.contains("2 of 3 (north, south)"), "{listed}");
    let refused = north.run(["invite", "withdraw", "the coast"]).fails(1);
    assert!(refused.contains("takes the role admin"), "{refused}");
    head.run(["invite", "withdraw", "the coast"]).ok();
    assert_eq!(head.run(["invite", "list"]).ok(), "");
    let refused = east.run(["join", ticket.trim()]).fails(1);
    assert!(refused.contains("the ticket was withdrawn by"), "{refused}");
    // Who came by it before stays.
    converge(&[head, north, south]);
    assert_eq!(south.get("/v1/status")["member"], true);
}

/// How many arenas the memory of a node has at the most, by its environment.
fn arenas(office: &Office) -> Option<String> {
    let environment = std::fs::read(format!("/proc/{}/environ", office.pid())).unwrap();
    let environment = String::from_utf8_lossy(&environment).into_owned();
    environment
        .split('\0')
        .find_map(|pair| pair.strip_prefix("MALLOC_ARENA_MAX=").map(str::to_owned))
}

#[test]
fn a_node_begins_with_few_arenas_under_the_same_process_id_unless_it_is_told_how_many() {
    let folder = tempfile::tempdir().unwrap();
    let mut head = office(folder.path(), "head");
    let mut run = head.command(["run", "--listen", "/ip4/127.0.0.1/tcp/0", "--no-mdns"]);
    run.env_remove("MALLOC_ARENA_MAX");
    // It is ready once `run.json` names the process that was started.
    head.start_by(run);
    assert_eq!(arenas(&head).as_deref(), Some("2"));
    assert_eq!(head.stop(), 0);
    let mut run = head.command(["run", "--listen", "/ip4/127.0.0.1/tcp/0", "--no-mdns"]);
    run.env("MALLOC_ARENA_MAX", "5");
    head.start_by(run);
    assert_eq!(arenas(&head).as_deref(), Some("5"));
}
