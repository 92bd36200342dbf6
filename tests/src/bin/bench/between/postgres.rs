//! The same backlog by logical replication of PostgreSQL: defaults, fsync on, a table of ten columns and its key.
//!
//! The subscription is made with the table empty, and not enabled until all rows are in: they come out of the log.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use branchline_tests::process::cpu_seconds;
use serde_json::Value;

use crate::Bench;
use crate::client::BATCH;
use crate::records;
use crate::report::{Figures, Work};
use crate::site::disk_bytes;

const TABLE: &str = "create table sales (id text primary key, branch text, customer text, product text, \
    unit_price numeric, quantity bigint, total_cents bigint, sold timestamptz, payment text, member boolean, receipt text)";

/// The user and group that servers run as where this program is root, whom they refuse.
const UNPRIVILEGED: [&str; 2] = ["postgres", "nobody"];

pub(crate) fn backlog(bench: &mut Bench) {
    let Some(programs) = programs() else {
        eprintln!(
            "PostgreSQL was NOT measured: initdb, postgres and psql are not found (package postgresql)"
        );
        return;
    };
    let records = bench.records;
    let mut runs: Vec<Figures> = Vec::new();
    for _ in 0..bench.runs {
        let folder = bench.folder("postgres");
        runs.push(one(&programs, &folder, records));
    }
    let work =
        Work { job: "backlog", form: "PostgreSQL, rows in the log", records, by: "processes" };
    bench.report.add(&work, &runs);
}

fn one(programs: &Path, folder: &Path, records: usize) -> Figures {
    let a = Server::start(programs, &folder.join("a"));
    let b = Server::start(programs, &folder.join("b"));
    let (mut on_a, mut on_b) = (a.session(), b.session());
    for session in [&mut on_a, &mut on_b] {
        session.run(TABLE);
    }
    on_a.run("create publication sales for table sales");
    let from = a.socket.display();
    on_b.run(&format!(
        "create subscription sales connection 'host={from} dbname=postgres user=postgres' publication sales \
         with (enabled = false, create_slot = false, slot_name = 'sales', copy_data = false)"
    ));
    on_a.run("select pg_create_logical_replication_slot('sales', 'pgoutput')");
    let started = Instant::now();
    for batch in records::batches(records, BATCH) {
        on_a.run(&insert(batch));
    }
    let load_s = started.elapsed().as_secs_f64();
    let cpu_before = a.cpu_seconds() + b.cpu_seconds();
    let last = format!("select count(*) from sales where id = '{}'", records::id(records - 1));
    let started = Instant::now();
    on_b.run("alter subscription sales enable");
    // Rows come in the order of the log: with the last one all are there.
    while on_b.ask(&last) != "1" {
        std::thread::sleep(Duration::from_millis(3));
    }
    let sync_s = started.elapsed().as_secs_f64();
    std::thread::sleep(Duration::from_secs(2));
    let cpu_s = a.cpu_seconds() + b.cpu_seconds() - cpu_before;
    assert_eq!(on_b.ask("select count(*) from sales"), records.to_string());
    let relation = on_b.ask("select pg_total_relation_size('sales')");
    let relation: f64 = relation.parse().expect("a size");
    let per_record = |bytes: f64| bytes / records as f64;
    vec![
        ("records_per_s", records as f64 / sync_s),
        ("from_enabled_s", sync_s),
        ("cpu_s", cpu_s),
        ("table_and_key_bytes_per_record", per_record(relation)),
        ("wal_bytes_per_record", per_record(disk_bytes(b.data.join("pg_wal")) as f64)),
        ("load_records_per_s", records as f64 / load_s),
    ]
}

fn insert(numbers: std::ops::Range<usize>) -> String {
    let literal = |value: &Value| match value {
        Value::String(text) => format!("'{text}'"),
        value => value.to_string(),
    };
    let row = |number: usize| {
        let fields: Vec<_> = records::fields(number).values().map(literal).collect();
        format!("('{}', {})", records::id(number), fields.join(", "))
    };
    format!("insert into sales values {}", numbers.map(row).collect::<Vec<_>>().join(", "))
}

/// The folder of the programs: on the path, or where Debian puts them.
fn programs() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut folders: Vec<PathBuf> = std::env::split_paths(&path).collect();
    let has_client = folders.iter().any(|folder| folder.join("psql").is_file());
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    folders.extend(versions.map(|version| version.path().join("bin")));
    let has_server = |folder: &PathBuf| {
        ["initdb", "postgres"].iter().all(|program| folder.join(program).is_file())
    };
    folders.into_iter().find(has_server).filter(|_| has_client)
}

/// A running server; it ends with its value.
struct Server {
    data: PathBuf,
    socket: PathBuf,
    process: Child,
}

impl Server {
    fn start(programs: &Path, folder: &Path) -> Self {
        let user = unprivileged();
        fs::create_dir(folder).expect("a folder");
        for folder in folder.ancestors().take(3) {
            let open = fs::Permissions::from_mode(0o755);
            // Only those above it that are this program's need to let the server through.
            let _ = fs::set_permissions(folder, open);
        }
        if let Some((uid, gid)) = user {
            chown(folder, Some(uid), Some(gid)).expect("the server gets its folder");
        }
        let command = |program: &str| {
            let mut command = Command::new(programs.join(program));
            command.current_dir(folder).stdout(Stdio::null());
            if let Some((uid, gid)) = user {
                command.uid(uid).gid(gid);
            }
            command
        };
        let data = folder.join("data");
        let made = command("initdb")
            .args(["--username=postgres", "--auth=trust", "--encoding=UTF8", "--pgdata"])
            .arg(&data)
            .status();
        assert!(made.expect("initdb runs").success());
        let log = fs::File::create(folder.join("log")).expect("a log");
        let process = command("postgres")
            .arg("-D")
            .arg(&data)
            .args(["-c", "listen_addresses=", "-c", "wal_level=logical", "-k"])
            .arg(folder)
            .stderr(log)
            .spawn()
            .expect("postgres runs");
        let server = Self { data, socket: folder.to_owned(), process };
        branchline_tests::eventually("the server answers", || {
            let asked = server
                .psql()
                .args(["-c", "select 1"])
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .status();
            asked.expect("psql runs").success()
        });
        server
    }

    fn psql(&self) -> Command {
        let mut command = Command::new("psql");
        command.args(["-XqAt", "-v", "ON_ERROR_STOP=1", "-U", "postgres", "-d", "postgres", "-h"]);
        command.arg(&self.socket);
        command
    }

    fn session(&self) -> Session {
        let mut process =
            self.psql().stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("psql runs");
        let input = process.stdin.take().expect("its input");
        let output = BufReader::new(process.stdout.take().expect("its output"));
        Session { process, input: Some(input), output }
    }

    /// Time used by the server, its workers, and those of them that have ended.
    fn cpu_seconds(&self) -> f64 {
        let children = format!("/proc/{0}/task/{0}/children", self.process.id());
        let children = fs::read_to_string(children).expect("the server runs");
        let workers = children.split_whitespace().filter_map(|pid| pid.parse().ok());
        let own = cpu_seconds(self.process.id()).expect("the server runs");
        own + workers.filter_map(cpu_seconds).sum::<f64>()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // An immediate shutdown, which its children hear of.
        let pid = self.process.id().to_string();
        let _ = Command::new("kill").args(["-s", "QUIT", &pid]).status();
        let _ = self.process.wait();
    }
}

/// A connection of `psql`.
struct Session {
    process: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
}

impl Session {
    /// Runs a statement, whatever it answers.
    fn run(&mut self, statement: &str) {
        self.answer(statement);
    }

    /// The first line of a query's answer.
    fn ask(&mut self, query: &str) -> String {
        self.answer(query).into_iter().next().expect("a row")
    }

    fn answer(&mut self, statement: &str) -> Vec<String> {
        let input = self.input.as_mut().expect("an open session");
        writeln!(input, "{statement};\n\\echo done").expect("psql reads");
        input.flush().expect("psql reads");
        let mut lines = Vec::new();
        loop {
            let mut line = String::new();
            let read = self.output.read_line(&mut line).expect("psql answers");
            assert!(read > 0, "psql has ended over: {statement:.200}");
            match line.trim_end() {
                "done" => return lines,
                line => lines.push(line.to_owned()),
            }
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        drop(self.input.take());
        let _ = self.process.wait();
    }
}

/// User and group for the servers, where this program is root.
fn unprivileged() -> Option<(u32, u32)> {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let uid = status.lines().find_map(|line| line.strip_prefix("Uid:"))?;
    if uid.split_whitespace().nth(1) != Some("0") {
        return None;
    }
    let users = fs::read_to_string("/etc/passwd").unwrap_or_default();
    let find = |name: &&str| {
        let line = users.lines().find(|line| line.split(':').next() == Some(name))?;
        let mut fields = line.split(':').skip(2);
        Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
    };
    UNPRIVILEGED.iter().find_map(find)
}
