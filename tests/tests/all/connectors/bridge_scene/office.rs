//! An office: a node, a database, and what befalls both.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::AtomicBool;
use std::thread;
use std::time::Duration;

use branchline_tests::disk::Random;
use branchline_tests::{Office as Node, Over};
use serde_json::Value;

use super::application::{Application, NEVER};
use super::client::Place;
use super::servers::free_port;
use super::servers::mariadb::MariaDb;
use super::servers::postgres::Postgres;
use super::{FILE, KILLS, PROGRAM, TILL, tables};

/// An office's database.
pub(crate) enum Server {
    Postgres(Box<Postgres>, String),
    MariaDb(MariaDb, String),
    Sqlite(PathBuf),
}

impl Server {
    pub(crate) fn place(&self) -> Place {
        match self {
            Self::Postgres(server, name) => Place::Postgres(server.url("postgres", name)),
            Self::MariaDb(server, name) => Place::MariaDb(server.url("root", name)),
            Self::Sqlite(path) => Place::Sqlite(path.clone()),
        }
    }

    /// Kills it with SIGKILL, and starts it. A file has no server: its application dies in the middle of a transaction.
    fn crash(&mut self, down: Duration) {
        match self {
            Self::Postgres(server, _) => {
                server.kill();
                thread::sleep(down);
                server.restart();
            }
            Self::MariaDb(server, _) => {
                server.kill();
                thread::sleep(down);
                server.restart();
            }
            Self::Sqlite(path) => crash_till(path),
        }
    }
}

fn crash_till(path: &Path) {
    // Tests are called by their path without the crate.
    let (_, test) = TILL.split_once("::").unwrap();
    let mut till = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", test, "--ignored", "--nocapture"])
        .env(FILE, path)
        .stdout(Stdio::piped())
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(till.stdout.take().unwrap()).lines();
    let holds = lines.any(|line| line.unwrap().contains(NEVER));
    assert!(holds, "the till ended by itself");
    till.kill().unwrap();
    till.wait().unwrap();
}

/// An office.
pub(crate) struct Office {
    pub(crate) node: Node,
    pub(crate) place: Place,
    server: Server,
    pub(crate) application: Application,
    listen: String,
}

impl Office {
    /// Fills the tables, and starts the node.
    pub(crate) fn open(folder: &Path, name: &str, server: Server, seed: u64) -> Self {
        let place = server.place();
        let mut application = Application::new(&place, seed);
        application.run(tables::made(&place));
        application.fill();
        let node = Node::init(PROGRAM, folder, name, name == "head");
        std::fs::write(node.data.join("branchline.toml"), tables::bridge(&place)).unwrap();
        let listen = format!("/ip4/127.0.0.1/tcp/{}", free_port());
        let mut office = Self { node, place, server, application, listen };
        office.start();
        office
    }

    pub(crate) fn name(&self) -> &str {
        &self.node.name
    }

    pub(crate) fn start(&mut self) {
        self.node.start_with(&["--listen", &self.listen, "--no-mdns"]);
    }

    /// A day on which everything is killed while the shop is open; returns how often.
    pub(crate) fn bad_day(&mut self, seed: u64) -> String {
        let mut random = Random(seed);
        let is_closed = AtomicBool::new(false);
        let Self { node, server, application, listen, .. } = self;
        let arguments = ["--listen", listen.as_str(), "--no-mdns"];
        let mut moment = |ms_max| thread::sleep(Duration::from_millis(random.below(ms_max)));
        thread::scope(|scope| {
            let shop = scope.spawn(|| application.sell(&is_closed));
            let over = Over(&is_closed);
            for number in 0..KILLS {
                moment(600);
                node.kill();
                // Offline, with the database's crash in it every other time.
                moment(300);
                if number % 2 == 0 {
                    server.crash(Duration::from_millis(100));
                }
                node.start_with(&arguments);
                moment(600);
                if number % 2 == 1 {
                    server.crash(Duration::from_millis(100));
                }
            }
            drop(over);
            shop.join().unwrap();
        });
        format!("{}: {} transactions", self.node.name, self.application.done)
    }

    /// The answer of `branchline --json bridge …`.
    pub(crate) fn bridge(&self, arguments: &[&str]) -> Result<Value, String> {
        let ran = self.node.run([&["--json", "bridge"], arguments].concat());
        let answer = serde_json::from_str(&ran.stdout);
        match (ran.code, answer) {
            (0, Ok(answer)) => Ok(answer),
            _ => Err(format!("{}: {}{}", self.node.name, ran.stdout, ran.stderr)),
        }
    }

    /// What stands in the way of being content with this office's bridge.
    pub(crate) fn is_in_step(&self) -> Result<(), String> {
        let status = self.bridge(&["status", "shop"])?;
        let of_table = |table: &Value| {
            table["state"] == "running"
                && table["set_aside"] == 0
                && table["waiting"] == 0
                && table["unacknowledged"] == 0
        };
        let tables = status["tables"].as_array().cloned().unwrap_or_default();
        if status["state"] != "running" || tables.len() != 2 || !tables.iter().all(of_table) {
            let errors = self.bridge(&["errors", "shop"])?;
            return Err(format!("{}: {status:#} {errors:#}", self.node.name));
        }
        self.bridge(&["verify", "shop"]).map(drop)
    }
}
