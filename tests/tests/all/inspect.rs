//! What offices say of their past and of each other: history, logs, receipts, and what is not in step.

use std::path::Path;

use branchline_tests::{Office, converge, eventually};
use serde_json::{Value, json};

use crate::PROGRAM;

fn office(folder: &Path, name: &str) -> Office {
    Office::init(PROGRAM, folder, name, name == "head")
}

fn lines(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

fn patch(office: &Office, fields: Value) {
    office.run(["patch", "products", "tea", &fields.to_string()]).ok();
}

/// Head and north in one network, both running and connected, with one record.
fn pair(folder: &Path) -> (Office, Office) {
    let (head, north) = Office::pair(PROGRAM, folder);
    head.run(["put", "products", "tea", r#"{"price": "2.50", "origin": {"land": "IN"}}"#]).ok();
    converge(&[&head, &north]);
    (head, north)
}

#[test]
fn a_history_names_each_change_its_site_and_what_became_of_each_field() {
    let folder = tempfile::tempdir().unwrap();
    let (head, mut north) = pair(folder.path());
    north.stop();
    patch(&head, json!({"price": "2.60", "stock": {"$inc": 40}}));
    patch(&north, json!({"price": "2.70", "origin": {"land": "LK"}}));
    north.start();
    converge(&[&head, &north]);
    head.run(["delete", "products", "tea"]).ok();
    converge(&[&head, &north]);

    for office in [&head, &north] {
        let steps = lines(&office.run(["--json", "history", "products", "tea"]).ok());
        assert_eq!(steps.len(), 4);
        assert_eq!(steps[0]["site_name"], "head");
        assert_eq!(
            steps[0]["fields"],
            json!([{"field": "origin", "after": {"land": "IN"}}, {"field": "price", "after": "2.50"}])
        );
        // The two middle ones were written at the same time: each site took its own in first.
        let by = |name: &str| steps[1..3].iter().find(|step| step["site_name"] == name).unwrap();
        let land = json!({"field": "origin.land", "before": "IN", "after": "LK"});
        assert!(by("north")["fields"].as_array().unwrap().contains(&land));
        assert!(
            by("head")["fields"]
                .as_array()
                .unwrap()
                .contains(&json!({"field": "stock", "after": 40}))
        );
        assert_eq!(
            steps[3]["fields"],
            json!([{"field": "_deleted", "before": false, "after": true}])
        );
        let prices = steps[1..3].iter().map(|step| {
            let fields = step["fields"].as_array().unwrap().iter();
            let hidden = step["other_values"].as_array().into_iter().flatten();
            fields.chain(hidden).filter(|field| field["field"] == "price").count()
        });
        assert_eq!(prices.sum::<usize>(), 2, "both prices are reported: {steps:?}");
        assert!(steps.iter().all(|step| step["time"].is_string()));
        let last =
            lines(&office.run(["--json", "history", "products", "tea", "--limit", "1"]).ok());
        assert_eq!(last, steps[3..]);
    }
    let table = head.run(["history", "products", "tea"]).ok();
    assert!(table.contains("origin.land") && table.contains("north"), "{table}");
    assert!(head.run(["history", "products", "none"]).fails(1).contains("was never written"));
}

#[test]
fn a_diff_compares_states_that_any_two_changes_made() {
    let folder = tempfile::tempdir().unwrap();
    let mut head = office(folder.path(), "head");
    head.run(["put", "products", "tea", r#"{"price": "2.50"}"#]).ok();
    patch(&head, json!({"price": "2.60"}));
    patch(&head, json!({"price": "2.70", "stock": 4}));
    let diff = |head: &Office, arguments: &[&str]| {
        let arguments = [&["--json", "diff", "products", "tea"], arguments].concat();
        lines(&head.run(arguments).ok())[0]["fields"].clone()
    };
    let last = json!([
        {"field": "price", "before": "2.60", "after": "2.70"},
        {"field": "stock", "after": 4},
    ]);
    assert_eq!(diff(&head, &[]), last);
    let steps = lines(&head.run(["--json", "history", "products", "tea"]).ok());
    let hash = |number: usize| steps[number]["change"].as_str().unwrap();
    // The same by a running node.
    head.start();
    assert_eq!(diff(&head, &[&hash(1)[..12]]), last);
    let first = json!([{"field": "price", "before": "2.50", "after": "2.60"}]);
    assert_eq!(diff(&head, &[hash(0), &hash(1)[..12]]), first);
    assert_eq!(diff(&head, &[hash(2), hash(2)]), json!([]));
    for (wrong, reason) in
        [("ffffffffffff", "has no change"), ("", "3 changes of the record begin")]
    {
        let error = head.run(["diff", "products", "tea", wrong]).fails(1);
        assert!(error.contains(reason), "{error}");
    }
}

#[test]
fn a_log_lists_entries_of_one_site_or_of_all_page_by_page() {
    let folder = tempfile::tempdir().unwrap();
    let (head, north) = pair(folder.path());
    for number in 0..5 {
        patch(if number % 2 == 0 { &head } else { &north }, json!({"stock": number}));
        converge(&[&head, &north]);
    }
    let log = |arguments: &[&str]| lines(&head.run([&["--json", "log"], arguments].concat()).ok());
    let all = log(&["--limit", "1000"]);
    assert!(all.iter().any(|entry| entry["space"] == "_network"));
    let main: Vec<_> = all.iter().filter(|entry| entry["space"] == "main").collect();
    assert_eq!(main.len(), 6);
    assert!(main.iter().all(|entry| entry["status"] == "applied" && entry["changes"] == 1));
    let of_north = log(&["north"]);
    assert!(of_north.iter().all(|entry| entry["site_name"] == "north"));
    assert_eq!(of_north.iter().filter(|entry| entry["space"] == "main").count(), 2);
    let (mut pages, mut before) = (Vec::new(), None);
    loop {
        let query = before.map_or(String::new(), |before| format!("&before={before}"));
        let page = head.get(&format!("/v1/log?limit=2{query}"));
        let entries = page["entries"].as_array().unwrap().clone();
        pages = [entries, pages].concat();
        match page["next"].as_u64() {
            Some(next) => before = Some(next),
            None => break,
        }
    }
    assert_eq!(pages, all);
    assert!(head.run(["log", "south"]).fails(1).contains("no site is called"));
    let tips = head.get("/v1/frontier");
    assert_eq!(tips["spaces"]["main"].as_array().unwrap().len(), 2);
}

#[test]
fn receipts_tell_who_holds_a_record_and_why_names_what_is_not_in_step() {
    let folder = tempfile::tempdir().unwrap();
    let (head, mut north) = pair(folder.path());
    let holds = |head: &Office, name: &str| {
        let answer = head.get("/v1/records/products/tea/receipts");
        let sites = answer["sites"].as_array().unwrap().clone();
        sites.into_iter().find(|site| site["site_name"] == name).unwrap()["holds"].clone()
    };
    eventually("north confirms the tea", || holds(&head, "north") == true);
    assert_eq!(head.run(["status", "--why"]).ok().trim(), "all in step");
    north.stop();
    patch(&head, json!({"stock": 7}));
    head.run(["put", "products", "rice", "{}"]).ok();
    assert_eq!(holds(&head, "north"), false);
    assert_eq!(holds(&head, "head"), true);
    assert!(head.run(["receipts", "products", "tea"]).ok().contains("not confirmed"));
    let why = head.get("/v1/status/why");
    assert_eq!(why["in_sync"], false);
    let cause = &why["causes"][0];
    assert_eq!((&cause["reason"], &cause["site_name"]), (&json!("not_confirmed"), &json!("north")));
    assert_eq!(cause["entries"], 2);
    assert_eq!(cause["records"], json!(["products/rice", "products/tea"]));
    let text = head.run(["status", "--why"]).ok();
    assert!(text.contains("north: not confirmed 2 entries"), "{text}");
    assert!(text.contains("products/rice"), "{text}");
    assert!(head.run(["status"]).ok().contains("2 entries not confirmed"));
    // What it prints of the first entry can be pasted.
    let first = cause["first_entry"].as_str().unwrap();
    let found = lines(&head.run(["--json", "log", first]).ok());
    assert_eq!(found.len(), 1);
    assert_eq!((&found[0]["entry"], &found[0]["site_name"]), (&json!(first), &json!("head")));
    assert_eq!(found[0]["records"], json!(["products/tea"]));
    north.start();
    eventually("north confirms both", || head.get("/v1/status/why")["in_sync"] == true);
}

#[test]
fn what_an_office_has_not_had_confirmed_is_counted_exactly() {
    let folder = tempfile::tempdir().unwrap();
    let (mut head, north) = pair(folder.path());
    let unsent = |space: &[&str]| {
        let arguments = [space, &["--json", "unsent", "head"]].concat();
        lines(&north.run(arguments).ok()).remove(0)
    };
    let count = |answer: &Value, name: &str| answer["sites"][0][name].as_u64().unwrap();
    eventually("head confirms the tea", || count(&unsent(&[]), "entries") == 0);
    head.run(["space", "create", "tills"]).ok();
    head.run(["space", "grant", "tills", "north"]).ok();
    eventually("north is in the space", || {
        north.run(["--space", "tills", "count", "sales"]).code == 0
    });
    head.stop();
    for (id, stock) in [("rice", 1), ("salt", 2), ("rice", 3)] {
        north.run(["put", "products", id, &json!({"stock": stock}).to_string()]).ok();
    }
    north.run(["--space", "tills", "put", "sales", "1", "{}"]).ok();

    let answer = unsent(&[]);
    let entries = lines(&north.run(["--json", "log", "north", "--limit", "3"]).ok());
    assert_eq!((count(&answer, "entries"), count(&answer, "entries_own")), (3, 3));
    assert_eq!(count(&answer, "records"), 2, "rice counts once: {answer}");
    assert_eq!(answer["sites"][0]["by_collection"], json!({"products": 2}));
    let bytes: u64 = entries.iter().map(|entry| entry["bytes"].as_u64().unwrap()).sum();
    assert_eq!(count(&answer, "bytes"), bytes);
    assert_eq!(answer["sites"][0]["since"], entries[0]["time"]);
    assert_eq!(answer["only_here"]["records"], 2);
    let in_space = unsent(&["--space", "tills"]);
    assert_eq!((count(&in_space, "entries"), count(&in_space, "records")), (1, 1));
    assert_eq!(in_space["sites"][0]["by_collection"], json!({"sales": 1}));
    let table = north.run(["unsent"]).ok();
    assert!(table.contains("head") && table.contains("3 entries"), "{table}");
    for (wrong, reason) in [("north", "this site"), ("west", "no site is called")] {
        assert!(north.run(["unsent", wrong]).fails(1).contains(reason), "{wrong}");
    }
    head.start();
    eventually("head confirms all", || {
        count(&unsent(&[]), "entries") == 0 && count(&unsent(&["--space", "tills"]), "entries") == 0
    });
    // Nobody lacks what it wrote itself, whether or not its receipt has come.
    let mut north = north;
    patch(&north, json!({"stock": 9}));
    eventually("head has it", || head.digest() == north.digest());
    north.kill();
    let status = head.get("/v1/status");
    let of_north = status["sites"].as_array().unwrap().iter().find(|site| site["name"] == "north");
    assert_eq!(of_north.unwrap()["lag_entries"], 0, "{status}");
    assert_eq!(head.get("/v1/status/why")["in_sync"], true);
}

#[test]
fn an_entry_has_one_name_which_commands_take() {
    let folder = tempfile::tempdir().unwrap();
    let head = office(folder.path(), "head");
    head.run(["put", "products", "tea", r#"{"price": "2.50"}"#]).ok();
    patch(&head, json!({"price": "2.60"}));
    patch(&head, json!({"price": "2.70"}));
    let steps = lines(&head.run(["--json", "history", "products", "tea"]).ok());
    let names: Vec<_> = steps.iter().map(|step| step["entry"].as_str().unwrap()).collect();
    let logged = lines(&head.run(["--json", "log"]).ok());
    let main = logged.iter().filter(|entry| entry["space"] == "main");
    assert_eq!(main.map(|entry| entry["entry"].as_str().unwrap()).collect::<Vec<_>>(), names);
    for command in [&["history", "products", "tea"][..], &["log"]] {
        let table = head.run(command).ok();
        assert!(names.iter().all(|name| table.contains(name)), "{table}");
    }
    let diff = head.run(["--json", "diff", "products", "tea", names[0], names[2]]).ok();
    assert_eq!(
        lines(&diff)[0]["fields"],
        json!([{"field": "price", "before": "2.50", "after": "2.70"}])
    );
    let before = lines(&head.run(["--json", "log", "--before", names[1]]).ok());
    assert_eq!(before.last().unwrap()["entry"], names[0]);
    let (incarnation, seq) = names[2].split_once('/').unwrap();
    let short = format!("{}/{seq}", &incarnation[..6]);
    assert_eq!(lines(&head.run(["--json", "log", &short]).ok())[0]["entry"], names[2]);
    let none = head.run(["log", "ffffffff/1"]).fails(1);
    assert!(none.contains("holds no entry ffffffff/1"), "{none}");
    let none = head.run(["log", "--before", "nonsense"]).fails(1);
    assert!(none.contains("is not an entry"), "{none}");
}

#[test]
fn silence_goes_on_by_this_clock_over_restarts() {
    let folder = tempfile::tempdir().unwrap();
    let (mut head, mut north) = pair(folder.path());
    let heard = |head: &Office| {
        let status = head.status();
        let sites = status["sites"].as_array().unwrap().clone();
        sites.into_iter().find(|site| site["name"] == "north").unwrap()["last_heard"].clone()
    };
    eventually("north is heard", || heard(&head).is_string());
    north.stop();
    eventually("north is gone", || {
        let status = head.get("/v1/status");
        status["sites"]
            .as_array()
            .unwrap()
            .iter()
            .all(|site| site["name"] == "head" || site["connected"] == false)
    });
    head.stop();
    // As if all that had been three days ago.
    let path = head.data.join("heard.json");
    let mut file: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    assert_eq!(file["sites"].as_array().unwrap().len(), 1);
    let at = file["sites"][0]["heard"].as_i64().unwrap();
    file["sites"][0]["heard"] = json!(at - 3 * 86_400_000);
    std::fs::write(&path, file.to_string()).unwrap();
    assert!(head.run(["status"]).ok().contains("3 days ago"), "also of a stopped node");
    head.start();
    let ran = head.run(["check", "--last-contact-seconds", "86400,604800"]);
    assert_eq!(ran.code, 1, "{}", ran.stdout);
    assert!(
        ran.stdout.contains("north is not connected and was last heard from 2592"),
        "{}",
        ran.stdout
    );
    north.start();
    eventually("north is heard again", || {
        head.run(["check", "--last-contact-seconds", "86400,604800"]).code == 0
    });
}

#[test]
fn a_ticket_that_leads_nowhere_says_where_and_another_address_helps() {
    let folder = tempfile::tempdir().unwrap();
    let (mut head, north) = pair(folder.path());
    let mut south = office(folder.path(), "south");
    let nowhere = "/ip4/127.0.0.1/tcp/1";
    let ticket = head.run(["invite", "--address", nowhere]).ok();
    head.stop();
    south.run(["join", ticket.trim()]).ok();
    assert!(south.run(["status"]).ok().contains("never admitted"));
    south.start();
    let standing = || south.get("/v1/status")["standing"].clone();
    eventually("south says why", || standing()["error"].is_string());
    let standing = standing();
    assert_eq!(standing["state"], "not_admitted");
    assert_eq!(standing["addresses"], json!([nowhere]));
    assert!(standing["since"].is_string(), "{standing}");
    for arguments in [&["status"][..], &["peers"], &["check"]] {
        let reported = south.run(arguments).stdout;
        assert!(
            reported.contains(nowhere) && reported.contains("refused"),
            "{arguments:?}: {reported}"
        );
        assert!(
            reported.contains(standing["since"].as_str().unwrap()),
            "{arguments:?}: {reported}"
        );
    }
    assert!(south.run(["peers"]).ok().contains("made the ticket"));
    assert_eq!(south.run(["check"]).code, 1);
    let log = std::fs::read_to_string(south.log_path()).unwrap();
    let reported = log.lines().filter(|line| line.contains("the ticket leads to no member"));
    let reported: Vec<_> = reported.collect();
    assert!(reported.len() == 1 && reported[0].contains(nowhere), "{reported:?}");

    // Any member can let it in, and its operator knows of one.
    let status = north.get("/v1/status");
    let address = status["listening"][0].as_str().unwrap().to_owned();
    let peer = format!("{address}/p2p/{}", status["site"].as_str().unwrap());
    south.stop();
    south.start_with(&["--listen", "/ip4/127.0.0.1/tcp/0", "--no-mdns", "--peer", &peer]);
    eventually("south is a member", || south.get("/v1/status")["member"] == true);
    assert_eq!(south.get("/v1/status")["standing"]["state"], "member");
    converge(&[&north, &south]);
}

#[test]
fn why_and_log_name_a_damaged_entry() {
    let folder = tempfile::tempdir().unwrap();
    let mut head = office(folder.path(), "head");
    for product in 0..8 {
        head.run(["put", "products", &product.to_string(), "{}"]).ok();
    }
    let journal = head.data.join("journal/00000000.seg");
    let mut bytes = std::fs::read(&journal).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&journal, bytes).unwrap();
    // Damage in the newest segment shows when it is opened.
    head.start();
    let why = head.get("/v1/status/why");
    let damaged = why["causes"].as_array().unwrap().iter().find(|c| c["reason"] == "damaged");
    let damaged = damaged.unwrap();
    assert_eq!(damaged["site_name"], "head", "{why}");
    assert_eq!((&damaged["entries"], &damaged["record_count"]), (&json!(1), &json!(1)), "{why}");
    assert!(damaged["records"][0].as_str().unwrap().starts_with("products/"), "{why}");
    let fates = head.get("/v1/log?limit=1000");
    let fates = fates["entries"].as_array().unwrap();
    assert_eq!(fates.iter().filter(|entry| entry["status"] == "damaged").count(), 1);
}

#[test]
fn a_sync_ends_in_step_or_says_who_was_not_reached() {
    let folder = tempfile::tempdir().unwrap();
    let (head, mut north) = pair(folder.path());
    for (number, arguments) in
        [&["north"][..], &["--push"], &["north", "--pull"]].iter().enumerate()
    {
        patch(if number == 2 { &north } else { &head }, json!({"stock": number}));
        let answer = lines(&head.run([&["--json", "sync"], *arguments].concat()).ok()).remove(0);
        assert_eq!(answer["complete"], true, "{answer}");
        assert_eq!(answer["peers"][0]["site_name"], "north");
        if number != 1 {
            // What was pushed may be on its way into the peer's journal.
            assert_eq!(head.digest(), north.digest());
        }
    }
    north.stop();
    let ran = head.run(["--json", "sync", "--timeout", "1s"]);
    assert_eq!(ran.code, 1);
    let error = lines(&ran.stdout)[0]["peers"][0]["error"].clone();
    assert!(error.as_str().unwrap().contains("not connected"), "{error}");
    assert!(head.run(["sync", "west"]).fails(1).contains("no site is called"));
    assert!(head.run(["sync", "head"]).fails(1).contains("with itself"));
    assert!(north.run(["sync"]).fails(1).contains("not running"));
}

#[test]
fn a_check_ends_as_monitoring_systems_expect() {
    let folder = tempfile::tempdir().unwrap();
    let (head, mut north) = pair(folder.path());
    let healthy = "BRANCHLINE OK - head: 1 of 1 other sites in step, 1 record | ";
    eventually("all is well", || head.run(["check"]).stdout.starts_with(healthy));
    let line = head.run(["check"]).ok();
    assert_eq!(line.lines().count(), 1);
    assert_eq!(head.run(["check", "--disk-free-mib", "99999999,1"]).code, 1);
    let full = head.run(["--json", "check", "--disk-free-mib", "99999999,99999999"]);
    assert_eq!((full.code, &lines(&full.stdout)[0]["state"]), (2, &json!("critical")));
    north.stop();
    let stopped = north.run(["check"]);
    assert_eq!(stopped.code, 2);
    assert!(stopped.stdout.contains("CRITICAL - the node is not running"), "{}", stopped.stdout);
    patch(&head, json!({"stock": 1}));
    eventually("north is behind", || head.run(["check", "--behind-entries", "1,5"]).code == 1);
    std::fs::remove_dir_all(&north.data).unwrap();
    assert_eq!(north.run(["check"]).code, 3);
    let reported = head.run(["check", "--space", "main"]);
    assert_eq!(reported.code, 3);
    assert!(
        reported.stdout.starts_with("BRANCHLINE UNKNOWN - --space main"),
        "{}",
        reported.stdout
    );
    for wrong in [["check", "--no-such-flag"], ["check", "--damaged=many"]] {
        let reported = head.run(wrong);
        assert_eq!(reported.code, 3, "{wrong:?}");
        assert_eq!(reported.stdout.trim_end(), "BRANCHLINE UNKNOWN - the command line is wrong");
        assert!(reported.stderr.contains("--help"), "{}", reported.stderr);
    }
    assert_eq!(head.run(["check", "--help"]).code, 0);
    assert_eq!(head.run(["status", "--no-such-flag"]).code, 2);
}

/// The unit must be one that systemd takes, and must start what there is.
#[test]
fn systemd_takes_the_unit() {
    let unit = Path::new(env!("CARGO_MANIFEST_DIR")).join("../node/branchline.service");
    let text = std::fs::read_to_string(&unit).unwrap();
    assert!(text.contains("ExecStart=/usr/local/bin/branchline-node --data /var/lib/branchline"));
    let folder = tempfile::tempdir().unwrap();
    // The program is not installed here; another one stands in for it.
    let here = text.replace("/usr/local/bin/branchline-node", "/bin/true");
    let path = folder.path().join("branchline.service");
    std::fs::write(&path, here).unwrap();
    let verified = std::process::Command::new("systemd-analyze").arg("verify").arg(&path).output();
    match verified {
        Ok(verified) => {
            let reported = String::from_utf8_lossy(&verified.stderr).into_owned();
            let of_unit = reported.lines().filter(|line| line.contains("branchline.service"));
            assert_eq!(of_unit.collect::<Vec<_>>(), Vec::<&str>::new());
            assert!(verified.status.success(), "{reported}");
        }
        Err(error) => eprintln!("NOT RUN: systemd-analyze is not here (package systemd): {error}"),
    }
}

#[test]
fn completions_know_every_command() {
    let folder = tempfile::tempdir().unwrap();
    let head = office(folder.path(), "head");
    let script = head.run(["completions", "bash"]).ok();
    for command in [
        "history", "diff", "receipts", "log", "frontier", "unsent", "sync", "bundle", "merge",
        "backup", "check",
    ] {
        assert!(script.contains(&format!("branchline,{command})")), "{command}");
    }
}
