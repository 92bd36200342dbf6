//! Measures of whole nodes, as users would see them: real processes, loopback, durable writes.
//!
//! `cargo build --release && cargo run --release -p branchline-tests --bin branchline-measure [RECORDS]`
//!
//! Prints one JSON line per measure. Compare figures of one run only: machines differ, and so do their moments.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use branchline_crdt::membership::Role;
use branchline_crdt::read;
use branchline_crdt::record::Edit;
use branchline_crdt::replica::{LocalTransaction, RecordEdit};
use branchline_crdt::tables::records::RecordKey;
use branchline_node::{Config, Handle, Node, init};
use branchline_tests::proxy::Proxy;
use branchline_tests::{Office, converge, eventually};
use serde_json::{Map, Value, json};

const LIVE_WRITES: usize = 1_000;

fn main() {
    let records = std::env::args().nth(1).map_or(100_000, |text| text.parse().expect("a number"));
    let program = std::env::current_exe().expect("a path").with_file_name("branchline");
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path();
    println!("{}", json!({"machine": machine(), "durability": "fdatasync before acknowledgement"}));
    backlog(&program, &folder.join("small"), 100.min(records));
    backlog(&program, &folder.join("large"), records);
    live(&folder.join("live"));
    kills(&program, &folder.join("kills"), records);
}

fn machine() -> Value {
    let cpus = std::thread::available_parallelism().map_or(0, usize::from);
    let cpuinfo = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model =
        cpuinfo.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or_default();
    json!({"cpus": cpus, "model": model.trim_start_matches([' ', '\t', ':'])})
}

/// 10 scalar fields, about 230 bytes of JSON.
fn record(number: usize) -> Value {
    let (branch, city) = [("A", "Yangon"), ("B", "Mandalay"), ("C", "Naypyitaw")][number % 3];
    let payment = ["cash", "card", "wallet"][number % 7 % 3];
    json!({
        "id": format!("S-{number:08}"),
        "branch": branch,
        "city": city,
        "product": format!("product {}", number % 977),
        "unit_price": number % 9_973,
        "quantity": number % 10 + 1,
        "total": number * 37 % 1_000_003,
        "date": format!("2026-{:02}-{:02}", number % 12 + 1, number % 28 + 1),
        "payment": payment,
        "member": number.is_multiple_of(2),
    })
}

/// One node imports, a second, empty one gets everything; then both reconnect with nothing to say.
fn backlog(program: &Path, folder: &Path, records: usize) {
    std::fs::create_dir_all(folder).expect("a folder");
    let file = folder.join("records.jsonl");
    let mut out = BufWriter::new(File::create(&file).expect("a file"));
    for number in 0..records {
        writeln!(out, "{}", record(number)).expect("a line");
    }
    out.flush().expect("written");

    let mut head = Office::init(program, folder, "head", true);
    head.start();
    let started = Instant::now();
    let path = file.to_str().expect("a path");
    head.run(["import", "sales", path, "--id", "id"]).ok();
    let import = started.elapsed();

    let status = head.get("/v1/status");
    let listening = status["listening"][0].as_str().expect("an address").to_owned();
    let port = listening.rsplit('/').next().and_then(|port| port.parse::<u16>().ok());
    let proxy = Proxy::to(([127, 0, 0, 1], port.expect("a port")).into());
    let address = proxy.multiaddr();
    let ticket = head.run(["invite", "--address", &address]).ok();
    let mut branch = Office::init(program, folder, "branch", false);
    // The branch listens nowhere: all its traffic goes through the proxy.
    let config = "listen = []\nmdns = false\n";
    std::fs::write(branch.data.join("branchline.toml"), config).expect("a file");
    branch.run(["join", ticket.trim()]).ok();
    let cpu_before = cpu_seconds(&head);
    let started = Instant::now();
    branch.start_with(&[]);
    let wanted = records as u64;
    eventually("the branch has every record", || {
        branch.get("/v1/collections/sales/count")["count"] == wanted
    });
    let sync = started.elapsed();
    converge(&[&head, &branch]);
    let cpu = cpu_seconds(&head) - cpu_before + cpu_seconds(&branch);
    let wire = proxy.take_bytes();
    let per_record = |bytes: u64| bytes as f64 / records as f64;
    println!(
        "{}",
        json!({
            "measure": "backlog", "records": records,
            "import_records_per_s": records as f64 / import.as_secs_f64(),
            "sync_s": sync.as_secs_f64(),
            "sync_records_per_s": records as f64 / sync.as_secs_f64(),
            "cpu_s_both": cpu,
            "wire_bytes_per_record": per_record(wire),
            "journal_bytes_per_record": per_record(disk(&branch.data.join("journal"))),
            "tables_bytes_per_record": per_record(disk(&branch.data.join("tables"))),
            "peak_memory_mib_head": peak_memory_mib(&head),
            "peak_memory_mib_branch": peak_memory_mib(&branch),
        })
    );

    settle(&head, &branch);
    proxy.cut();
    eventually("the link is gone", || !is_connected(&branch));
    proxy.take_bytes();
    proxy.mend();
    eventually("the link is back", || is_connected(&branch));
    // What a reconnect sends is sent within the first second.
    std::thread::sleep(Duration::from_secs(2));
    println!(
        "{}",
        json!({"measure": "reconnect in step", "records": records, "bytes_with_handshakes": proxy.take_bytes()})
    );
}

/// Waits until receipts have told both that nothing is lacking.
fn settle(head: &Office, branch: &Office) {
    eventually("receipts are exchanged", || {
        [head, branch].iter().all(|office| {
            let status = office.get("/v1/status");
            let sites = status["sites"].as_array().cloned().unwrap_or_default();
            sites.len() == 2 && sites.iter().all(|site| site["lacks"] == 0 && site["ahead"] == 0)
        })
    });
}

fn is_connected(office: &Office) -> bool {
    let status = office.get("/v1/status");
    let sites = status["sites"].as_array().cloned().unwrap_or_default();
    sites.len() == 2 && sites.iter().all(|site| site["connected"] == true)
}

/// One durable write at a time, until it can be read at a connected peer.
fn live(folder: &Path) {
    std::fs::create_dir_all(folder).expect("a folder");
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let mut took = runtime.block_on(async {
        let start = async |name: &str, found| {
            let data = folder.join(name);
            init(&data, name, found).expect("a site");
            let mut config = Config::new(&data);
            config.settings.listen = vec!["/ip4/127.0.0.1/tcp/0".parse().expect("an address")];
            config.settings.mdns = false;
            Node::start(config).await.expect("a node")
        };
        let head = start("head", true).await;
        let branch = start("branch", false).await;
        let day = Duration::from_secs(86_400);
        let ticket = head.handle().invite(Role::Writer, day, vec![]).await.expect("a ticket");
        branch.handle().join(ticket).await.expect("joined");
        write(&head.handle(), 0).await;
        while !has(&branch.handle(), 0).await {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let mut took = Vec::new();
        for number in 1..=LIVE_WRITES {
            let started = Instant::now();
            write(&head.handle(), number).await;
            while !has(&branch.handle(), number).await {}
            took.push(started.elapsed());
        }
        head.shutdown().await;
        branch.shutdown().await;
        took
    });
    took.sort();
    let ms = |index: usize| took[index].as_secs_f64() * 1_000.0;
    println!(
        "{}",
        json!({
            "measure": "write to visible at a peer", "writes": LIVE_WRITES,
            "p50_ms": ms(LIVE_WRITES / 2), "p99_ms": ms(LIVE_WRITES * 99 / 100), "max_ms": ms(LIVE_WRITES - 1),
        })
    );
}

async fn write(handle: &Handle, number: usize) {
    let Value::Object(fields) = record(number) else { unreachable!("a record is an object") };
    let fields: Map<_, _> = fields;
    let edit = RecordEdit {
        collection: "sales".to_owned(),
        id: number.to_string(),
        edit: Edit::Put(fields),
    };
    let transaction = LocalTransaction { origin: None, edits: vec![edit] };
    let results = handle.write(vec![transaction]).await.expect("a running node");
    results.into_iter().for_each(|result| {
        result.expect("written");
    });
}

async fn has(handle: &Handle, number: usize) -> bool {
    let read = handle.read(move |reader, space| {
        let (collection, id) = ("sales".to_owned(), number.to_string());
        read::record(reader, &RecordKey { space, collection, id })
    });
    read.await.is_ok_and(|view| view.is_some())
}

/// `kill -9` during an import, ten times.
fn kills(program: &Path, folder: &Path, records: usize) {
    std::fs::create_dir_all(folder).expect("a folder");
    let mut office = Office::init(program, folder, "head", true);
    let mut acknowledged: Vec<usize> = Vec::new();
    let (mut next, mut looked_up, mut lost) = (0, 0, 0);
    for round in 0..10 {
        office.start();
        let (address, token) = office.api();
        let pid = office.pid();
        let killer = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(150 + 70 * round));
            let killed = std::process::Command::new("kill").args(["-9", &pid.to_string()]).status();
            killed.expect("kill runs");
        });
        let client = branchline_tests::client();
        while next + 100 <= records {
            let batch: Vec<_> = (next..next + 100).collect();
            next += 100;
            let lines = batch.iter().map(|number| {
                json!({"id": number.to_string(), "fields": record(*number)}).to_string() + "\n"
            });
            let request = client.post(format!("http://{address}/v1/import/sales"));
            let sent = request.bearer_auth(&token).body(lines.collect::<String>()).send();
            match sent {
                Ok(answer) if answer.status().is_success() => acknowledged.extend(batch),
                Ok(_) | Err(_) => break,
            }
        }
        killer.join().expect("the killer ends");
        office.kill();
        // The newest are the ones that a crash could take.
        for number in acknowledged.iter().rev().take(200).step_by(20) {
            looked_up += 1;
            lost += i32::from(office.run(["get", "sales", &number.to_string()]).code != 0);
        }
        let count = office.count("sales");
        assert!(count >= acknowledged.len() as u64, "{count} of {}", acknowledged.len());
    }
    office.run(["verify"]).ok();
    println!(
        "{}",
        json!({
            "measure": "kill -9 during import", "kills": 10,
            "acknowledged": acknowledged.len(), "found": office.count("sales"),
            "looked_up": looked_up, "lost": lost,
        })
    );
}

fn proc_file(office: &Office, name: &str) -> String {
    std::fs::read_to_string(PathBuf::from(format!("/proc/{}/{name}", office.pid())))
        .unwrap_or_default()
}

fn peak_memory_mib(office: &Office) -> f64 {
    let status = proc_file(office, "status");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib: f64 =
        line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok()).unwrap_or_default();
    kib / 1024.0
}

/// User and system time of a node so far, at 100 ticks a second.
fn cpu_seconds(office: &Office) -> f64 {
    let stat = proc_file(office, "stat");
    let after_name = stat.rsplit(')').next().unwrap_or_default();
    let fields: Vec<f64> =
        after_name.split_whitespace().map(|field| field.parse().unwrap_or_default()).collect();
    fields.get(11..13).map_or(0.0, |times| times.iter().sum::<f64>() / 100.0)
}

fn disk(folder: &Path) -> u64 {
    use std::os::unix::fs::MetadataExt;
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let size = |entry: std::fs::DirEntry| match entry.metadata() {
        Ok(metadata) if metadata.is_dir() => disk(&entry.path()),
        Ok(metadata) => metadata.blocks() * 512,
        Err(_) => 0,
    };
    entries.map(size).sum()
}
