//! A MariaDB server.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use super::{Running, command, folder, free_port, give, not_run};

/// A server, its superuser `root` without a password.
pub struct MariaDb {
    running: Option<Running>,
    server: Vec<String>,
    user: Option<&'static str>,
    folder: PathBuf,
    port: u16,
    databases: AtomicU32,
}

impl MariaDb {
    /// The server that all tests of a binary share.
    pub fn shared() -> Option<&'static Self> {
        static SERVER: OnceLock<Option<MariaDb>> = OnceLock::new();
        SERVER.get_or_init(Self::start).as_ref()
    }

    /// Starts a server; `None`: MariaDB is not installed.
    pub fn start() -> Option<Self> {
        Self::start_with(&[])
    }

    /// Starts a server with options of its own.
    pub fn start_with(options: &[&str]) -> Option<Self> {
        let (Some(daemon), Some(install)) = (program("mariadbd"), program("mariadb-install-db"))
        else {
            not_run("MariaDB");
            return None;
        };
        let (folder, port) = (folder(), free_port());
        let user = give(&folder, "mysql").then_some("mysql");
        let data = format!("--datadir={}", folder.join("data").display());
        // A server that starts removes the temporary tables in its folder for them, be they another server's.
        let temporary = format!("--tmpdir={}", folder.display());
        let mut init = command(&install, user);
        init.args(["--no-defaults", "--auth-root-authentication-method=normal", "--skip-test-db"]);
        let output = init.args([&data, &temporary]).current_dir(&folder).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let mut server =
            vec![daemon.display().to_string(), "--no-defaults".to_owned(), data, temporary];
        server.push(format!("--socket={}", folder.join("socket").display()));
        server.push(format!("--pid-file={}", folder.join("pid").display()));
        server.push(format!("--port={port}"));
        // Durability is of no use to a test; the rest keeps the server small.
        for option in [
            "--bind-address=127.0.0.1",
            "--skip-networking=0",
            "--innodb-flush-log-at-trx-commit=0",
            "--innodb-buffer-pool-size=64M",
            "--innodb-log-file-size=16M",
            "--character-set-server=latin1",
        ] {
            server.push(option.to_owned());
        }
        server.extend(options.iter().map(|option| (*option).to_owned()));
        let databases = AtomicU32::new(0);
        let mut server = Self { running: None, server, user, folder, port, databases };
        server.restart();
        Some(server)
    }

    /// Kills the server, if it runs, and starts it.
    pub fn restart(&mut self) {
        self.kill();
        let (program, arguments) = self.server.split_first().unwrap();
        let mut server = command(Path::new(program), self.user);
        server.args(arguments);
        let log = self.folder.join("log");
        self.running = Some(Running::start(&server, "KILL", &log, None));
        let deadline = Instant::now() + Duration::from_secs(60);
        while !self.client("", "SELECT 1").status.success() {
            let said = fs::read_to_string(&log).unwrap_or_default();
            assert!(Instant::now() < deadline, "the server does not start:\n{said}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Kills the server.
    pub fn kill(&mut self) {
        self.running.take();
    }

    /// Makes a database of a test's own, with these statements run in it, and returns its name.
    pub fn database(&self, options: &str, sql: &str) -> String {
        let name = format!("test_{}", self.databases.fetch_add(1, Ordering::Relaxed));
        self.run("", &format!("CREATE DATABASE {name} {options}"));
        self.run(&name, sql);
        name
    }

    /// A URL of one of its databases.
    pub fn url(&self, user: &str, database: &str) -> String {
        format!("mysql://{user}@127.0.0.1:{}/{database}", self.port)
    }

    /// The process below which all of the server runs; `None`: it was killed.
    pub fn pid(&self) -> Option<u32> {
        self.running.as_ref().map(Running::pid)
    }

    /// Runs statements as the superuser, in the session of an application that sets nothing up.
    pub fn run(&self, database: &str, sql: &str) {
        let output = self.client(database, sql);
        assert!(output.status.success(), "{sql}: {}", String::from_utf8_lossy(&output.stderr));
    }

    fn client(&self, database: &str, sql: &str) -> std::process::Output {
        let client = program("mariadb").unwrap();
        Command::new(client)
            .args(["--no-defaults", "--default-character-set=utf8mb4", "-uroot"])
            .arg(format!("--socket={}", self.folder.join("socket").display()))
            .args(["-e", sql, database])
            .output()
            .unwrap()
    }
}

impl Drop for MariaDb {
    fn drop(&mut self) {
        self.running.take();
        let _ = fs::remove_dir_all(&self.folder);
    }
}

fn program(name: &str) -> Option<PathBuf> {
    ["/usr/sbin", "/usr/bin", "/usr/local/bin", "/usr/local/sbin"]
        .map(|folder| Path::new(folder).join(name))
        .into_iter()
        .find(|program| program.exists())
}
