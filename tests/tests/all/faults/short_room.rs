//! The room that is kept for an office's own writes: others cannot take it, and what they write comes once there is room.

use std::fs;
use std::path::Path;

use branchline_tests::{Office, client, converge, eventually};
use serde_json::{Value, json};

use super::disk_faults::Mounted;
use crate::PROGRAM;

/// More than any disk has.
const ALL_OF_IT: &str = "disk_reserve_own_mib = 1000000000\n";

fn put(office: &Office, id: &str, name: &str) -> u16 {
    let (address, token) = office.api();
    let request = client().put(format!("http://{address}/v1/records/products/{id}"));
    let answer = request.bearer_auth(token).json(&json!({ "name": name })).send().unwrap();
    answer.status().as_u16()
}

fn configure(office: &Office, text: &str) {
    fs::write(office.data.join("branchline.toml"), text).unwrap();
}

#[track_caller]
fn assert_measures(office: &Office, name: &str, expected: u64) {
    let (address, token) = office.api();
    let request = client().get(format!("http://{address}/metrics")).bearer_auth(token);
    let text = request.send().unwrap().text().unwrap();
    let lines = || text.lines().filter_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    let found: Vec<f64> = lines().map(|value| value.parse().unwrap()).collect();
    assert_eq!(found, [expected as f64], "{name}");
}

/// Text that hardly compresses, another one for each number.
fn noise(number: u64) -> String {
    let mut state = number * 2 + 1;
    let mut letter = || {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        char::from(b'0' + (state >> 58) as u8)
    };
    (0..100_000).map(|_| letter()).collect()
}

fn lines_of_log(office: &Office, of: &str) -> usize {
    fs::read_to_string(office.log_path()).unwrap().matches(of).count()
}

fn is_held_back(office: &Office) -> bool {
    office.get("/v1/status")["held_back_since"].is_string()
}

/// Two offices in step, of which the second has too little room from then on.
fn pair_with_little_room(folder: &Path) -> (Office, Office) {
    let (head, mut north) = Office::pair(PROGRAM, folder);
    assert_eq!(put(&head, "before", "tea"), 200);
    converge(&[&head, &north]);
    assert!(!is_held_back(&north), "a machine for tests has room");
    configure(&north, ALL_OF_IT);
    let reloaded: Value = serde_json::from_str(&north.run(["--json", "reload"]).ok()).unwrap();
    assert_eq!(reloaded["applied"], json!(["disk_reserve_own_mib"]), "{reloaded}");
    eventually("others are held back", || is_held_back(&north));
    // It holds from the first moment of a start on, too.
    assert_eq!(north.stop(), 0);
    for number in 0..20 {
        assert_eq!(put(&head, &format!("head-{number}"), "tea"), 200);
    }
    north.start();
    eventually("others are held back", || is_held_back(&north));
    (head, north)
}

#[test]
fn what_others_write_waits_for_room_and_everybody_is_told_why() {
    let folder = tempfile::tempdir().unwrap();
    let (mut head, mut north) = pair_with_little_room(folder.path());
    for number in 0..20 {
        let id = format!("north-{number}");
        assert_eq!(put(&north, &id, "rice"), 200);
    }
    eventually("own writes reach the others", || head.has("products", "north-19"));
    assert_eq!(put(&head, "live", "tea"), 200);
    // Asked for by a person, it says why it is not in step.
    let synced = north.run(["sync", "--timeout", "3s"]);
    assert_ne!(synced.code, 0, "{synced:?}");
    let said = format!("{}{}", synced.stdout, synced.stderr);
    assert!(said.contains("are kept for this office's own writes"), "{said}");
    assert_eq!(north.count("products"), 21, "what it held, and its own");

    let status = north.get("/v1/status");
    assert_eq!(status["disk_reserve_own_bytes"], 1_000_000_000_u64 << 20);
    let finding = &status["findings"][0];
    assert_eq!((&finding["about"], &finding["severity"]), (&json!("disk"), &json!("error")));
    let data = north.data.canonicalize().unwrap().display().to_string();
    for part in ["is not accepted for now", "will arrive by itself", &data] {
        assert!(finding["what"].as_str().unwrap().contains(part), "{part}: {finding}");
    }
    assert!(finding["hint"].as_str().unwrap().contains("branchline revoke"), "{finding}");
    let checked = north.run(["check"]);
    assert_eq!(checked.code, 2, "{checked:?}");
    assert!(
        checked.stdout.contains("what other sites write is not accepted for now"),
        "{checked:?}"
    );
    assert!(north.run(["status", "--why"]).ok().contains("held back"));
    assert_measures(&north, "branchline_held_back", 1);
    assert_measures(&north, "branchline_writable", 1);
    assert_measures(&north, "branchline_disk_reserve_own_bytes", 1_000_000_000 << 20);

    // A stick brings who is a member, and no records.
    let stick = folder.path().join("stick");
    head.run(["bundle", stick.to_str().unwrap()]).ok();
    let merged = north.run(["merge", stick.to_str().unwrap()]).fails(1);
    assert!(merged.contains("21 entries were left out"), "{merged}");
    // So do links: this is how one that fills the disk is shut out.
    let mut thief = Office::init(PROGRAM, folder.path(), "thief", false);
    thief.start();
    thief.join(&head);
    eventually("the new member is known", || north.run(["members"]).ok().contains("thief"));
    head.run(["revoke", "thief"]).ok();
    eventually("and that it is none", || north.run(["members"]).ok().contains("revoked"));

    configure(&north, "disk_reserve_own_mib = 0\n");
    north.run(["reload"]).ok();
    converge(&[&head, &north]);
    assert_eq!(north.count("products"), 42);
    assert!(!is_held_back(&north));
    eventually("all is well", || north.run(["check"]).code == 0);
    assert_measures(&north, "branchline_held_back", 0);
    // Once at each change; the log is that of the last start.
    for line in
        ["what other sites write is not taken in", "what other sites write is taken in again"]
    {
        assert_eq!(lines_of_log(&north, line), 1, "{line}");
    }
    // The setting is gone: the default is used again.
    configure(&north, "");
    let reloaded = north.run(["reload"]).ok();
    assert!(reloaded.contains("disk_reserve_own_mib"), "{reloaded}");
    let kept = north.get("/v1/status")["disk_reserve_own_bytes"].as_u64().unwrap();
    assert!((1..=1 << 30).contains(&kept), "{kept}");
    for office in [&mut head, &mut north, &mut thief] {
        assert_eq!(office.stop(), 0);
    }
}

#[test]
fn noise_leaves_an_office_room_for_its_own_writes() {
    const MIB: u64 = 1 << 20;
    let folder = tempfile::tempdir().unwrap();
    let Some(disk) = Mounted::new(folder.path(), 128) else { return };
    let mut head = Office::init(PROGRAM, folder.path(), "head", true);
    head.start();
    let mut north = Office::init(PROGRAM, &disk.0, "north", false);
    configure(&north, "disk_reserve_mib = 16\ndisk_reserve_own_mib = 48\n");
    north.start();
    north.join(&head);
    let mut thief = Office::init(PROGRAM, folder.path(), "thief", false);
    thief.start();
    thief.join(&head);
    eventually("the thief is a member", || put(&thief, "noise", "noise") == 200);
    let free = || north.get("/v1/status")["disk_free_bytes"].as_u64().unwrap();
    let write_noise = |number: u64| {
        assert_eq!(put(&thief, &format!("noise-{number}"), &noise(number)), 200);
    };
    let mut number = 0;
    // What does not compress, until north takes no more of it, and as much again.
    while !is_held_back(&north) {
        assert!(number < 2_000, "north has {} MiB left", free() / MIB);
        write_noise(number);
        number += 1;
    }
    for further in number..2 * number {
        write_noise(further);
    }
    assert!(is_held_back(&north));
    let added: Value = serde_json::from_str(&north.run(["--json", "members"]).ok()).unwrap();
    let of = |name: &str| {
        let members = added["members"].as_array().unwrap();
        members.iter().find(|member| member["name"] == name).unwrap()["added"].clone()
    };
    let (of_thief, of_head) = (of("thief"), of("head"));
    assert!(of_thief["bytes_today"].as_u64() > Some(10 * MIB), "{of_thief}");
    assert!(of_head["bytes"].as_u64() < Some(MIB), "{of_head}");
    // The office works on, and has the disk to itself.
    for number in 0..40 {
        assert_eq!(put(&north, &format!("own-{number}"), &noise(1_000_000 + number)), 200);
    }
    assert!(free() > 16 * MIB, "{} MiB are left", free() / MIB);
    assert_eq!(north.get("/v1/status")["writes_refused"], Value::Null);
    eventually("own writes reach head", || head.has("products", "own-39"));
    head.run(["revoke", "thief"]).ok();
    eventually("north knows", || north.run(["members"]).ok().contains("revoked"));
    // Somebody makes room.
    disk.remount("size=512m");
    converge(&[&head, &north]);
    assert!(!is_held_back(&north));
    north.run(["verify"]).ok();
    for office in [&mut head, &mut north, &mut thief] {
        assert_eq!(office.stop(), 0);
    }
}
