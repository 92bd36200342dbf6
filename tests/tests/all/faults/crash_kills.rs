//! `kill -9` of a node under load, at any moment: while it starts, replays, rebuilds, imports, or takes writes.
//!
//! After each kill everything acknowledged is there; at the end the storage is sound.
//!
//! `BRANCHLINE_KILLS=200 cargo test -p branchline-tests --test all crash_kills -- --nocapture` for the long run.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::process::{Child, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use branchline_tests::disk::Random;
use branchline_tests::{Office, client};

use crate::PROGRAM;

const KILLS_DEFAULT: u64 = 20;
const SEED: u64 = 11;
/// Rows of each import, which is under way when the node dies.
const IMPORT_ROWS: u64 = 3000;
/// Greatest time from the beginning of the work to the kill.
const MOMENT_MS_MAX: u64 = 400;
/// The same for imports, whose first rows are acknowledged later.
const MOMENT_OF_IMPORT_MS_MAX: u64 = 2000;

/// What the node does when it is killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum During {
    Start,
    Replay,
    Writes,
    Import,
    Rebuild,
}

const EVERY: [During; 5] =
    [During::Start, During::Writes, During::Import, During::Rebuild, During::Replay];

#[test]
fn a_node_killed_at_any_moment_has_everything_acknowledged() {
    let kills = std::env::var("BRANCHLINE_KILLS").map_or(KILLS_DEFAULT, |n| n.parse().unwrap());
    let folder = tempfile::tempdir().unwrap();
    let mut head = Office::init(PROGRAM, folder.path(), "head", true);
    let mut random = Random(SEED);
    let acknowledged = Arc::new(Mutex::new(Vec::new()));
    let mut killed = BTreeMap::<During, u32>::new();
    for round in 0..kills {
        let during = EVERY[round as usize % EVERY.len()];
        let moment_ms_max = match during {
            During::Import => MOMENT_OF_IMPORT_MS_MAX,
            During::Start | During::Replay | During::Writes | During::Rebuild => MOMENT_MS_MAX,
        };
        let moment = Duration::from_millis(random.below(moment_ms_max));
        if during == During::Replay && head.data.join("tables").exists() {
            std::fs::remove_dir_all(head.data.join("tables")).unwrap();
        }
        match during {
            During::Start | During::Replay => kill_while_it_starts(&head, moment),
            During::Writes | During::Import | During::Rebuild => {
                head.start();
                assert_holds(&head, &acknowledged.lock().unwrap());
                let writer = write(&head, round, acknowledged.clone());
                let other = match during {
                    During::Import => Some(import(&head, folder.path(), round)),
                    During::Rebuild => Some(quietly(&head, &["rebuild"])),
                    During::Start | During::Replay | During::Writes => None,
                };
                thread::sleep(moment);
                head.kill();
                writer.join().unwrap();
                if let Some(mut other) = other {
                    // It has lost its node; that it fails is all right.
                    other.wait().unwrap();
                }
            }
        }
        *killed.entry(during).or_default() += 1;
    }
    head.start();
    let acknowledged = acknowledged.lock().unwrap();
    assert!(!acknowledged.is_empty());
    assert_holds(&head, &acknowledged);
    let verified = head.run(["verify"]).ok();
    println!("{kills} kills {killed:?}, {} writes acknowledged; {verified}", acknowledged.len());
}

/// Starts the node and kills it after a while, ready or not.
fn kill_while_it_starts(head: &Office, moment: Duration) {
    let mut node = quietly(head, &["run", "--listen", "/ip4/127.0.0.1/tcp/0", "--no-mdns"]);
    thread::sleep(moment);
    node.kill().unwrap();
    node.wait().unwrap();
}

/// Writes records one after the other, noting each that was acknowledged, until the node is gone.
fn write(head: &Office, round: u64, acknowledged: Arc<Mutex<Vec<String>>>) -> JoinHandle<()> {
    let (address, token) = head.api();
    thread::spawn(move || {
        let client = client();
        for number in 0.. {
            let id = format!("{round:04}-{number:06}");
            let request = client.put(format!("http://{address}/v1/records/load/{id}"));
            let request = request.bearer_auth(&token).json(&fields(&id));
            match request.send() {
                Ok(answer) if answer.status().is_success() => acknowledged.lock().unwrap().push(id),
                // Not acknowledged, though it may be there: the answer shows the record, which takes the tables.
                Ok(answer) if answer.status().as_u16() == 500 => {
                    let text = answer.text().unwrap_or_default();
                    assert!(text.contains("are being rebuilt"), "{text}");
                }
                Ok(answer) => panic!("{}", answer.text().unwrap_or_default()),
                Err(_) => return,
            }
        }
    })
}

fn fields(id: &str) -> serde_json::Value {
    serde_json::json!({ "name": format!("record {id}"), "note": id.repeat(20) })
}

fn import(head: &Office, folder: &std::path::Path, round: u64) -> Child {
    let mut csv = "id,quantity\n".to_owned();
    for row in 0..IMPORT_ROWS {
        writeln!(csv, "{round:04}-{row:06},{}", row % 9).unwrap();
    }
    let file = folder.join("import.csv");
    std::fs::write(&file, csv).unwrap();
    quietly(head, &["import", "imported", file.to_str().unwrap(), "--id", "id"])
}

fn quietly(head: &Office, arguments: &[&str]) -> Child {
    let mut command = head.command(arguments);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

/// Reads all records of the load and demands every acknowledged one as it was written.
#[track_caller]
fn assert_holds(head: &Office, acknowledged: &[String]) {
    let mut found = BTreeMap::new();
    let mut after = String::new();
    loop {
        let page = head.get(&format!("/v1/records/load?limit=1000{after}"));
        let records = page["records"].as_array().unwrap_or_else(|| panic!("{page}"));
        for record in records {
            found.insert(record["id"].as_str().unwrap().to_owned(), record["fields"].clone());
        }
        match records.last() {
            Some(last) => after = format!("&after={}", last["id"].as_str().unwrap()),
            None => break,
        }
    }
    for id in acknowledged {
        assert_eq!(found.get(id), Some(&fields(id)), "{id} was acknowledged");
    }
}
