//! Disks that are full, read-only or failing, and what sled 0.34 is known to do: the node refuses writes and says so,
//! reads go on, nothing acknowledged is lost, and work goes on once the cause is gone.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use branchline_crdt::store::tables::records::{RecordKey, RecordRow};
use branchline_crdt::store::tables::{ReadTables, logs, row};
use branchline_crdt::store::{ReadJournal, Store};
use branchline_node::storage::tables::{TablesOpenError, TablesOptions};
use branchline_node::storage::{OpenError, Options, Storage};
use branchline_tests::disk::shim::{Call, Fault, Shim};
use branchline_tests::{Office, client, eventually};
use serde_json::Value;

use crate::PROGRAM;

const RUN: [&str; 4] = ["run", "--listen", "/ip4/127.0.0.1/tcp/0", "--no-mdns"];
const EIO: i32 = 5;
const ENOSPC: i32 = 28;
const EROFS: i32 = 30;

fn office(folder: &Path) -> Office {
    Office::init(PROGRAM, folder, "head", true)
}

fn put(office: &Office, id: &str) -> (u16, Value) {
    let (address, token) = office.api();
    let request = client().put(format!("http://{address}/v1/records/products/{id}"));
    let body = serde_json::json!({ "name": id.repeat(100) });
    let answer = request.bearer_auth(token).json(&body).send().unwrap();
    (answer.status().as_u16(), answer.json().unwrap())
}

#[track_caller]
fn put_ok(office: &Office, id: &str) {
    let (status, answer) = put(office, id);
    assert_eq!(status, 200, "{answer}");
    assert_eq!(without_token(office, "/readyz"), (200, "ready".to_owned()));
}

/// What a monitor is answered, which has no token.
fn without_token(office: &Office, path: &str) -> (u16, String) {
    let (address, _) = office.api();
    let answer = client().get(format!("http://{address}{path}")).send().unwrap();
    (answer.status().as_u16(), answer.text().unwrap())
}

/// The write is refused as by a disk that takes nothing: code, message, exit code, and the status tells.
#[track_caller]
fn assert_refused(office: &Office, expected: &str) {
    let (status, answer) = put(office, "refused");
    assert_eq!((status, answer["error"]["code"].as_str()), (503, Some("unwritable")), "{answer}");
    let reported = office.run(["put", "products", "refused", r#"{"name": "x"}"#]).fails(1);
    assert!(
        reported.starts_with("error: nothing was written") && reported.contains(expected),
        "{reported}"
    );
    assert!(reported.contains("hint: "), "{reported}");
    let refused = office.get("/v1/status")["writes_refused"].clone();
    assert!(refused.as_str().is_some_and(|reason| reason.contains(expected)), "{refused}");
    assert!(office.run(["status"]).ok().contains("refused"));
}

/// Readiness is red, and says no more to those without a token; the node is there all the same.
#[track_caller]
fn assert_not_ready(office: &Office, expected: &str) {
    let (status, answer) = without_token(office, "/readyz");
    let answer: Value = serde_json::from_str(&answer).unwrap();
    assert_eq!((status, answer["error"]["code"].as_str()), (503, Some("not_ready")), "{answer}");
    assert!(!answer.to_string().contains(expected), "{answer}");
    assert_eq!(without_token(office, "/healthz"), (200, "ok".to_owned()));
}

#[track_caller]
fn assert_has(office: &Office, ids: &[&str]) {
    for id in ids {
        let fields = office.get(&format!("/v1/records/products/{id}"));
        assert_eq!(fields["name"], id.repeat(100), "{id}: {fields}");
    }
    assert_eq!(office.run(["get", "products", "refused"]).code, 1, "a refused write shows");
}

/// A small disk of its own. `None`, with a note, where this user may not mount.
pub(super) struct Mounted(pub(super) PathBuf);

impl Mounted {
    pub(super) fn new(folder: &Path, mib: u32) -> Option<Mounted> {
        let at = folder.join("disk");
        fs::create_dir(&at).unwrap();
        let mounted = Mounted::mount(&["-t", "tmpfs", "-o", &format!("size={mib}m"), "tmpfs"], &at);
        if !mounted {
            eprintln!("NOT RUN: this test mounts a small disk, which takes root");
        }
        mounted.then_some(Mounted(at))
    }

    fn mount(arguments: &[&str], at: &Path) -> bool {
        let ran = Command::new("mount").args(arguments).arg(at).output();
        ran.is_ok_and(|output| output.status.success())
    }

    pub(super) fn remount(&self, how: &str) {
        assert!(Self::mount(&["-o", &format!("remount,{how}")], &self.0), "remount {how}");
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        // A node that a failed test left behind may still use it.
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

/// Fills the disk until `free_mib` are left.
fn fill(disk: &Mounted, free_mib: u64) -> PathBuf {
    let ballast = (0..).map(|number| disk.0.join(format!("ballast-{number}")));
    let ballast = ballast.into_iter().find(|path| !path.exists()).unwrap();
    let df = Command::new("df").args(["--output=avail", "-B1"]).arg(&disk.0).output().unwrap();
    let text = String::from_utf8(df.stdout).unwrap();
    let free: u64 = text.lines().nth(1).unwrap().trim().parse().unwrap();
    // Written in pieces up to the very last byte.
    let bytes = vec![0xff; free.saturating_sub(free_mib << 20) as usize];
    let _ = fs::write(&ballast, bytes);
    ballast
}

#[test]
fn a_full_disk_refuses_writes_serves_reads_and_takes_up_again() {
    let folder = tempfile::tempdir().unwrap();
    let Some(disk) = Mounted::new(folder.path(), 24) else { return };
    let mut head = office(&disk.0);
    fs::write(head.data.join("branchline.toml"), "disk_reserve_mib = 6\n").unwrap();
    head.start();
    put_ok(&head, "before");

    let ballast = fill(&disk, 4);
    assert_refused(&head, "6 MiB are kept");
    assert_not_ready(&head, "6 MiB are kept");
    assert_has(&head, &["before"]);
    fs::remove_file(&ballast).unwrap();
    put_ok(&head, "between");
    assert_eq!(head.get("/v1/status")["writes_refused"], Value::Null);

    // Now another program takes the reserve too.
    let ballast = fill(&disk, 0);
    assert_refused(&head, "0 MiB left");
    assert_not_ready(&head, "0 MiB left");
    assert_has(&head, &["before", "between"]);
    // However it ended on the full disk, and however often: it starts, for reading, and says where there is no room.
    let mut ballasts = vec![ballast];
    for is_killed in [true, true, false] {
        if is_killed {
            head.kill();
        } else {
            head.stop();
        }
        // What the end gave back is taken by others.
        ballasts.push(fill(&disk, 0));
        head.start();
        assert_refused(&head, "0 MiB left");
        assert_not_ready(&head, "0 MiB left");
        assert_refused(&head, &disk.0.display().to_string());
        assert_has(&head, &["before", "between"]);
        let log = fs::read_to_string(head.log_path()).unwrap();
        assert!(log.contains("writes are refused") && log.contains("0 MiB left"), "{log}");
    }
    head.stop();
    assert!(head.run(["get", "products", "between"]).ok().contains("between"));
    for ballast in ballasts {
        fs::remove_file(&ballast).unwrap();
    }
    head.start();
    eventually("there is room", || put(&head, "after").0 == 200);
    assert_has(&head, &["before", "between", "after"]);
    head.run(["verify"]).ok();
}

#[test]
fn a_folder_on_a_read_only_disk_is_refused_with_the_reason_and_works_again() {
    let folder = tempfile::tempdir().unwrap();
    let Some(disk) = Mounted::new(folder.path(), 64) else { return };
    let mut head = office(&disk.0);
    fs::write(head.data.join("branchline.toml"), "disk_reserve_mib = 1\n").unwrap();
    head.run(["put", "products", "first", &format!(r#"{{"name": "{}"}}"#, "first".repeat(100))])
        .ok();
    disk.remount("ro");
    for arguments in [&RUN[..], &["get", "products", "first"]] {
        let reported = head.run(arguments).fails(1);
        assert!(reported.contains("Read-only"), "{reported}");
    }
    disk.remount("rw");
    head.start();
    put_ok(&head, "second");
    assert_has(&head, &["first", "second"]);
    head.run(["verify"]).ok();
}

/// A node whose calls on the disk fail on demand.
fn faulty(head: &mut Office, folder: &Path) -> Fault {
    let mut command = head.command(RUN);
    let fault = Shim::build(folder).fault(&mut command, &head.data);
    head.start_by(command);
    fault
}

#[test]
fn a_journal_that_cannot_be_synced_or_written_refuses_writes_until_it_can() {
    let folder = tempfile::tempdir().unwrap();
    let mut head = office(folder.path());
    let fault = faulty(&mut head, folder.path());
    put_ok(&head, "before");
    let mut taken = vec!["before".to_owned()];
    for (call, errno, expected) in [
        (Call::Sync, EIO, "Input/output error"),
        (Call::Sync, ENOSPC, "No space left"),
        (Call::Write, EIO, "Input/output error"),
        (Call::Write, ENOSPC, "No space left"),
        (Call::Write, EROFS, "Read-only file system"),
    ] {
        fault.on(call, errno, "/journal/");
        assert_refused(&head, expected);
        assert_refused(&head, expected);
        if errno != ENOSPC {
            // The disk has room: as far as can be seen without a write, it takes one again.
            assert_not_ready(&head, expected);
        }
        assert_has(&head, &["before"]);
        fault.off();
        // One that changes something: only what is appended shows that the disk takes appends again.
        let after = format!("after-{}", taken.len());
        put_ok(&head, &after);
        taken.push(after);
    }
    let taken: Vec<&str> = taken.iter().map(String::as_str).collect();
    assert_has(&head, &taken);
    head.kill();
    head.start();
    assert_has(&head, &taken);
    head.run(["verify"]).ok();
}

/// Writes until a write is not taken, and returns those that were. Sled writes in the background: some still are, then
/// the tables fail and cannot be rebuilt.
fn put_until_it_ends(head: &Office) -> Vec<String> {
    let (address, token) = head.api();
    let mut taken = Vec::new();
    loop {
        let id = format!("taken-{}", taken.len());
        let request = client().put(format!("http://{address}/v1/records/products/{id}"));
        let body = serde_json::json!({ "name": id.repeat(100) });
        match request.bearer_auth(&token).json(&body).send() {
            Ok(answer) if answer.status().is_success() => taken.push(id),
            // It is durable, but the answer shows the record, which takes the tables.
            Ok(answer) if answer.status().as_u16() == 500 => {
                let text = answer.text().unwrap_or_default();
                assert!(text.contains("the tables failed"), "{text}");
            }
            Ok(answer) => {
                assert_eq!(answer.status().as_u16(), 503, "{:?}", answer.text());
                return taken;
            }
            Err(_) => return taken,
        }
    }
}

#[test]
fn tables_that_cannot_be_written_cost_no_acknowledged_write() {
    let folder = tempfile::tempdir().unwrap();
    let mut head = office(folder.path());
    let fault = faulty(&mut head, folder.path());
    put_ok(&head, "before");
    fault.on(Call::Write, EIO, "/tables/");
    let taken = put_until_it_ends(&head);
    assert_eq!(head.ended(), 1, "a node that cannot work ends with an error");
    let log = fs::read_to_string(head.log_path()).unwrap();
    assert!(log.contains("error: the node has failed: ") && log.contains("hint: "), "{log}");

    // Nothing started on a disk that still fails; started on one that works, all is there.
    let mut command = head.command(RUN);
    Shim::build(folder.path()).fault(&mut command, &head.data);
    let again = command.output().unwrap();
    assert_eq!(again.status.code(), Some(1), "{}", String::from_utf8_lossy(&again.stderr));
    fault.off();
    head.start();
    let taken: Vec<&str> = taken.iter().map(String::as_str).collect();
    assert_has(&head, &taken);
    assert_has(&head, &["before"]);
    head.run(["verify"]).ok();
}

#[test]
fn syncs_of_the_tables_that_fail_cost_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let mut head = office(folder.path());
    let fault = faulty(&mut head, folder.path());
    fault.on(Call::Sync, EIO, "/tables/");
    let kept = put_until_it_ends(&head);
    assert_eq!(head.ended(), 1);
    fault.off();
    head.start();
    let kept: Vec<&str> = kept.iter().map(String::as_str).collect();
    assert_has(&head, &kept);
    head.run(["verify"]).ok();
}

/// A closed folder whose tables are spoilt; every command then rebuilds them and goes on.
#[test]
fn tables_spoilt_in_every_known_way_are_made_anew() {
    let folder = tempfile::tempdir().unwrap();
    let mut head = office(folder.path());
    head.start();
    for number in 0..50 {
        put_ok(&head, &format!("n{number}"));
    }
    assert_eq!(head.stop(), 0);
    let digest = head.digest();
    let tables = head.data.join("tables");
    type Spoil = fn(&Path);
    let spoils: [(&str, Spoil, bool); 8] = [
        (
            "an unfinished snapshot",
            |t| fs::write(t.join("snap.FF.generating"), "half").unwrap(),
            false,
        ),
        (
            "a snapshot of garbage",
            |t| fs::write(t.join("snap.FFFFFFFFFFFFFFFF"), vec![9; 99]).unwrap(),
            true,
        ),
        ("garbage for configuration", |t| fs::write(t.join("conf"), vec![0xa5; 64]).unwrap(), true),
        (
            "a folder for a file",
            |t| {
                fs::remove_file(t.join("db")).unwrap();
                fs::create_dir(t.join("db")).unwrap();
            },
            true,
        ),
        (
            "zeros for pages",
            |t| {
                let len = t.join("db").metadata().unwrap().len();
                fs::write(t.join("db"), vec![0; len as usize]).unwrap();
            },
            true,
        ),
        (
            "garbage for pages",
            |t| {
                let len = t.join("db").metadata().unwrap().len();
                fs::write(t.join("db"), vec![0x5a; len as usize]).unwrap();
            },
            true,
        ),
        (
            "the beginning of the file alone",
            |t| {
                let db = fs::OpenOptions::new().write(true).open(t.join("db")).unwrap();
                db.set_len(3000).unwrap();
            },
            true,
        ),
        ("no file", |t| fs::remove_file(t.join("db")).unwrap(), true),
    ];
    for (what, spoil, is_anew) in spoils {
        spoil(&tables);
        let ran = head.run(["digest"]);
        println!("{what}: {}", ran.stderr.lines().next().unwrap_or("nothing said"));
        assert_eq!(ran.stdout.trim(), digest, "{what}: {}", ran.stderr);
        assert!(!is_anew || !ran.stderr.is_empty(), "{what}: the operator learns nothing");
        head.run(["verify"]).ok();
        let kept = fs::read_dir(&head.data).unwrap().filter(|entry| {
            entry.as_ref().unwrap().file_name().to_string_lossy().starts_with("tables.set-aside")
        });
        assert!(kept.count() <= 2);
    }
}

#[test]
fn an_open_that_never_ends_is_given_up_and_the_next_one_begins_anew() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let open = |open_wait_max| {
        let tables = TablesOptions { open_wait_max, ..TablesOptions::default() };
        Storage::open(&data, Options { tables, ..Options::default() })
    };
    let (mut storage, _) = open(Duration::from_secs(60)).unwrap();
    let at = storage.append(&[b"frame"]).unwrap()[0];
    storage.apply(vec![(b"key".to_vec(), Some(b"value".to_vec()))], Some(at)).unwrap();
    drop(storage);
    // Who opens a pipe for reading waits for a writer.
    fs::remove_file(data.join("tables/conf")).unwrap();
    assert!(Command::new("mkfifo").arg(data.join("tables/conf")).status().unwrap().success());
    let error = open(Duration::from_millis(300)).err().unwrap();
    assert!(matches!(error, OpenError::Tables(TablesOpenError::Stuck { .. })), "{error}");
    assert!(error.to_string().contains("rebuilt"), "{error}");
    let (storage, report) = open(Duration::from_secs(60)).unwrap();
    assert!(report.rebuild_needed && report.tables_set_aside.is_some(), "{report:?}");
    assert_eq!(storage.read(at).unwrap(), b"frame");
}

#[test]
fn a_record_that_cannot_be_read_blocks_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let mut head = office(folder.path());
    for id in ["tea", "rice"] {
        head.run(["put", "products", id, r#"{"stock": {"$inc": 5}}"#]).ok();
    }
    poison(&head.data, "tea");
    head.start();
    let code = |id: &str| {
        let (address, token) = head.api();
        let request = client().patch(format!("http://{address}/v1/records/products/{id}"));
        let body = serde_json::json!({ "stock": { "$inc": 1 } });
        let answer = request.bearer_auth(token).json(&body).send().unwrap();
        (answer.status().as_u16(), answer.json::<Value>().unwrap()["error"]["code"].clone())
    };
    assert_eq!(code("tea"), (500, "record_unreadable".into()));
    assert_eq!(code("rice").0, 200);
    put_ok(&head, "salt");
    let reported = head.run(["patch", "products", "tea", r#"{"stock": {"$inc": 1}}"#]).fails(1);
    assert!(
        reported.contains("products/tea cannot be read") && reported.contains("hint: "),
        "{reported}"
    );
    let verified = head.run(["verify"]);
    assert_eq!(verified.code, 1);
    assert!(verified.stdout.contains("products/tea"), "{verified:?}");
    assert_eq!(head.get("/v1/records/products/rice")["stock"], 6);
    head.run(["rebuild"]).ok();
    assert_eq!(code("tea").0, 200);
    assert_eq!(head.get("/v1/records/products/tea")["stock"], 6);
    head.run(["verify"]).ok();
}

/// Puts bytes that are no document where the record's document is, as a fault of the program would.
fn poison(data: &Path, id: &str) {
    let (mut storage, _) = Storage::open(data, Options::default()).unwrap();
    let genesis = row(&storage, "genesis document", logs::GENESIS).unwrap();
    let genesis: branchline_crdt::membership::Genesis = genesis.unwrap();
    let space = genesis.network().main_space();
    let key = RecordKey { space, collection: "products".to_owned(), id: id.to_owned() };
    let mut value = storage.get(&key.record()).unwrap().unwrap();
    let live = RecordRow::decode(&value).unwrap().live.to_vec();
    let at = value.windows(live.len()).position(|bytes| bytes == live).unwrap();
    value[at..at + live.len()].fill(0xff);
    storage.apply(vec![(key.record(), Some(value))], None).unwrap();
}

#[test]
fn the_switch_of_a_fault_is_seen_by_the_node() {
    // Were the library not preloaded, the tests above would prove nothing.
    let folder = tempfile::tempdir().unwrap();
    let mut head = office(folder.path());
    let fault = faulty(&mut head, folder.path());
    fault.on(Call::Open, EIO, "/journal/");
    fault.off();
    fault.on(Call::Sync, EIO, "/journal/");
    eventually("a write is refused", || put(&head, "refused").0 == 503);
}
