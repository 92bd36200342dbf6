//! A PostgreSQL server.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use super::{Running, command, folder, free_port, give, not_run};

/// A server, its superuser `postgres` without a password; a role `guarded` needs one.
pub struct Postgres {
    running: Option<Running>,
    server: Command,
    folder: PathBuf,
    programs: PathBuf,
    port: u16,
    databases: AtomicU32,
    /// The certificate of the authority that signed the server's, of `localhost`; `None`: openssl is not installed.
    pub ca: Option<PathBuf>,
}

impl Postgres {
    /// The server that all tests of a binary share.
    pub fn shared() -> Option<&'static Self> {
        static SERVER: OnceLock<Option<Postgres>> = OnceLock::new();
        SERVER.get_or_init(Self::start).as_ref()
    }

    /// Starts a server; `None`: PostgreSQL is not installed.
    pub fn start() -> Option<Self> {
        Self::start_with(&[])
    }

    /// Starts a server with settings of its own.
    pub fn start_with(settings: &[&str]) -> Option<Self> {
        let Some(programs) = programs() else {
            not_run("PostgreSQL");
            return None;
        };
        let (folder, port) = (folder(), free_port());
        let user = give(&folder, "postgres").then_some("postgres");
        let data = folder.join("data");
        let mut init = command(&programs.join("initdb"), user);
        init.args(["-A", "trust", "-U", "postgres", "-E", "UTF8", "--locale=C", "--no-sync", "-D"]);
        let output = init.arg(&data).current_dir(&folder).output().unwrap();
        assert!(output.status.success(), "initdb: {}", String::from_utf8_lossy(&output.stderr));
        let rules = data.join("pg_hba.conf");
        let others = fs::read_to_string(&rules).unwrap();
        fs::write(&rules, format!("host all guarded 127.0.0.1/32 scram-sha-256\n{others}"))
            .unwrap();
        let mut server = command(&programs.join("postgres"), user);
        let ca = certificates(&folder, user);
        if ca.is_some() {
            for setting in [
                "ssl=on".to_owned(),
                file("ssl_cert_file", &folder, "server.pem"),
                file("ssl_key_file", &folder, "server.key"),
            ] {
                server.args(["-c", &setting]);
            }
        }
        server.arg("-D").arg(&data).arg("-k").arg(&folder).args(["-p", &port.to_string()]);
        // Durability is of no use to a test, and subscriptions need the logical level.
        for setting in [
            "listen_addresses=127.0.0.1",
            "fsync=off",
            "full_page_writes=off",
            "wal_level=logical",
            "autovacuum=off",
            "max_connections=200",
        ]
        .iter()
        .chain(settings)
        {
            server.args(["-c", setting]);
        }
        let databases = AtomicU32::new(0);
        let mut server = Self { running: None, server, folder, programs, port, databases, ca };
        server.restart();
        Some(server)
    }

    /// Kills the server, if it runs, and starts it.
    pub fn restart(&mut self) {
        self.kill();
        let log = self.folder.join("log");
        let deadline = Instant::now() + Duration::from_secs(60);
        loop {
            let folder = Some(self.folder.as_path());
            let running = Running::start(&self.server, "QUIT", &log, folder);
            let is_up = loop {
                if self.psql("postgres", "SELECT 1").status.success() {
                    break true;
                }
                let said = fs::read_to_string(&log).unwrap_or_default();
                // Sessions of the server that was killed have not noticed yet.
                if said.contains("pre-existing shared memory block") {
                    break false;
                }
                assert!(Instant::now() < deadline, "the server does not start:\n{said}");
                std::thread::sleep(Duration::from_millis(50));
            };
            if is_up {
                self.running = Some(running);
                return;
            }
            running.crash();
        }
    }

    /// Kills the server.
    pub fn kill(&mut self) {
        if let Some(running) = self.running.take() {
            running.crash();
        }
    }

    /// Makes a database of a test's own, with these statements run in it, and returns its name.
    pub fn database(&self, options: &str, sql: &str) -> String {
        let name = format!("test_{}", self.databases.fetch_add(1, Ordering::Relaxed));
        self.run("postgres", &format!("CREATE DATABASE {name} {options}"));
        self.run(&name, sql);
        name
    }

    /// A URL of one of its databases.
    pub fn url(&self, role: &str, database: &str) -> String {
        format!("postgres://{role}@127.0.0.1:{}/{database}?sslmode=disable", self.port)
    }

    /// The port of 127.0.0.1 that it listens on.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The process below which all of the server runs.
    pub fn pid(&self) -> u32 {
        self.running.as_ref().unwrap().pid()
    }

    /// Runs statements as the superuser.
    pub fn run(&self, database: &str, sql: &str) {
        let output = self.psql(database, sql);
        assert!(output.status.success(), "{sql}: {}", String::from_utf8_lossy(&output.stderr));
    }

    fn psql(&self, database: &str, sql: &str) -> std::process::Output {
        Command::new(self.programs.join("psql"))
            .args(["-X", "-q", "-v", "ON_ERROR_STOP=1", "-c", sql])
            .arg(self.url("postgres", database))
            .output()
            .unwrap()
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        self.running.take();
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// The folder of the newest version's programs.
fn programs() -> Option<PathBuf> {
    let versions = fs::read_dir("/usr/lib/postgresql").ok()?;
    let mut found: Vec<(u32, PathBuf)> = versions
        .filter_map(|version| {
            let folder = version.ok()?.path();
            let number = folder.file_name()?.to_str()?.parse().ok()?;
            let programs = folder.join("bin");
            Path::new(&programs.join("initdb")).exists().then_some((number, programs))
        })
        .collect();
    found.sort();
    Some(found.pop()?.1)
}

fn file(setting: &str, folder: &Path, name: &str) -> String {
    format!("{setting}={}", folder.join(name).display())
}

/// Makes an authority and the certificate of a server at `localhost`.
fn certificates(folder: &Path, user: Option<&str>) -> Option<PathBuf> {
    let openssl = Path::new("/usr/bin/openssl");
    if !openssl.exists() {
        not_run("openssl (for TLS to PostgreSQL)");
        return None;
    }
    fs::write(folder.join("names"), "subjectAltName=DNS:localhost").unwrap();
    for arguments in [
        "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout ca.key -out ca.pem -days 2 -subj /CN=ca",
        "req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout server.key -out server.csr -subj /CN=localhost",
        "x509 -req -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile names -out server.pem",
    ] {
        let mut command = command(openssl, user);
        let output = command.args(arguments.split(' ')).current_dir(folder).output().unwrap();
        assert!(
            output.status.success(),
            "{arguments}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
    Some(folder.join("ca.pem"))
}
