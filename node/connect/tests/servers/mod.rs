//! Real servers for tests: each of its own, on a private port and in a temporary folder, gone when the test's process is.

// Each test binary uses its part.
#![allow(dead_code, unreachable_pub)]

pub mod mariadb;
pub mod postgres;

use std::fs;
use std::io::{PipeWriter, Write};
use std::net::TcpListener;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// Says that a test was not run: on stderr itself, since the test harness keeps what a test that passes prints.
pub fn not_run(what: &str) {
    let _ = writeln!(std::io::stderr(), "NOT RUN: {what} is not installed");
}

/// A port that is free.
pub fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

/// A folder of the server's own, which any user may enter.
pub fn folder() -> PathBuf {
    let folder = tempfile::Builder::new().prefix("branchline-server-").tempdir().unwrap().keep();
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o755)).unwrap();
    folder
}

/// Gives a folder to a user, where the test is root: servers refuse to run as root.
pub fn give(folder: &Path, user: &str) -> bool {
    let is_root = fs::metadata(folder).unwrap().uid() == 0;
    if is_root {
        let done = Command::new("chown").arg(user).arg(folder).status().unwrap();
        assert!(done.success(), "{} could not be given to {user}", folder.display());
    }
    is_root
}

/// A command that runs as a user, where the test is root.
pub fn command(program: &Path, as_user: Option<&str>) -> Command {
    match as_user {
        Some(user) => {
            let mut command = Command::new("setpriv");
            command.args([&format!("--reuid={user}"), "--clear-groups", "--"]).arg(program);
            command
        }
        None => Command::new(program),
    }
}

/// A server that ends when this is dropped, and when the test's process ends in whatever way: a shell waits for the end
/// of a pipe that the process holds.
pub struct Running {
    shell: Child,
    pipe: Option<PipeWriter>,
}

impl Running {
    /// Starts a server. `signal`: what ends it (`QUIT`, `KILL`); `folder`: is removed with it.
    pub fn start(server: &Command, signal: &str, log: &Path, folder: Option<&Path>) -> Self {
        let (reader, writer) = std::io::pipe().unwrap();
        let log = fs::File::create(log).unwrap();
        let script = r#"
            trap '' INT TERM HUP
            signal=$1 folder=$2; shift 2
            "$@" < /dev/null & pid=$!
            read word
            if [ "$word" = crash ]; then signal=KILL folder=; fi
            kill -s "$signal" $pid; wait $pid
            if [ -n "$folder" ]; then rm -rf "$folder"; fi
        "#;
        let shell = Command::new("sh")
            .args(["-c", script, "sh", signal])
            .arg(folder.unwrap_or(Path::new("")))
            .arg(server.get_program())
            .args(server.get_args())
            .stdin(reader)
            .stdout(log.try_clone().unwrap())
            .stderr(Stdio::from(log))
            .spawn()
            .unwrap();
        Self { shell, pipe: Some(writer) }
    }

    /// The process below which all of the server runs.
    pub fn pid(&self) -> u32 {
        self.shell.id()
    }

    /// Kills the server, and leaves its folder.
    pub fn crash(mut self) {
        self.pipe.take().unwrap().write_all(b"crash\n").unwrap();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.pipe.take();
        let _ = self.shell.wait();
    }
}
