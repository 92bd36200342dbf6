//! Offices as processes: each a real node with its own folder and sockets, driven as a user would.

use std::ffi::OsStr;
use std::io::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;

use process::Gauge;

pub mod disk;
pub mod netns;
pub mod openapi;
pub mod process;
pub mod proxy;
pub mod raw_peer;
pub mod recorder;
pub mod terminal;
pub mod till;
pub mod weaviate;
pub mod web;
pub mod wire;

/// How long a condition may take to come true on a slow machine.
pub const DEADLINE: Duration = Duration::from_secs(60);

/// Says that something is over when it goes, also where a test fails before: threads of a scope that go on until then
/// would hold the failed test up for ever.
pub struct Over<'a>(pub &'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

/// One office.
pub struct Office {
    /// Its name.
    pub name: String,
    /// Its data folder.
    pub data: PathBuf,
    program: PathBuf,
    /// The network namespace that everything of this office runs in; `None`: the test's own.
    namespace: Option<String>,
    node: Option<Child>,
}

/// What a command printed and how it ended.
#[derive(Debug)]
pub struct Ran {
    /// Exit code; -1 where a signal ended it.
    pub code: i32,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

impl Ran {
    /// The output of a command that must have succeeded.
    #[track_caller]
    pub fn ok(self) -> String {
        assert_eq!(self.code, 0, "the command failed: {}{}", self.stdout, self.stderr);
        self.stdout
    }

    /// The messages of a command that must have failed with this code.
    #[track_caller]
    pub fn fails(self, code: i32) -> String {
        assert_eq!(self.code, code, "expected exit code {code}: {}{}", self.stdout, self.stderr);
        self.stderr
    }

    fn of(output: Output) -> Self {
        Self {
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}

impl Office {
    /// A new site in `folder`, by `program`.
    pub fn init(program: impl Into<PathBuf>, folder: &Path, name: &str, found: bool) -> Self {
        let office = Self {
            name: name.to_owned(),
            data: folder.join(name),
            program: program.into(),
            namespace: None,
            node: None,
        };
        let mut arguments = vec!["init", "--name", name];
        arguments.extend(found.then_some("--found"));
        office.run(arguments).ok();
        office
    }

    /// Head and north in one network by `program`, both running and connected.
    pub fn pair(program: &str, folder: &Path) -> (Self, Self) {
        let mut head = Self::init(program, folder, "head", true);
        let mut north = Self::init(program, folder, "north", false);
        head.start();
        north.start();
        north.join(&head);
        (head, north)
    }

    /// The office in a network namespace (see [`netns`]), where its API can be reached by its commands alone.
    pub fn within(mut self, namespace: String) -> Self {
        self.namespace = Some(namespace);
        self
    }

    /// The program that this office runs.
    pub fn program(&self) -> &Path {
        &self.program
    }

    /// Runs a command of the program on this office's folder.
    pub fn run<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Ran {
        self.run_with(arguments, "")
    }

    /// The same with standard input.
    pub fn run_with<S: AsRef<OsStr>>(
        &self,
        arguments: impl IntoIterator<Item = S>,
        input: &(impl AsRef<[u8]> + ?Sized),
    ) -> Ran {
        let mut child = self
            .command(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program runs");
        let mut stdin = child.stdin.take().expect("standard input");
        // A command that does not read its input closes it.
        let _ = stdin.write_all(input.as_ref());
        drop(stdin);
        Ran::of(child.wait_with_output().expect("the command ends"))
    }

    /// A command of the program on this office's folder, not started yet.
    pub fn command<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Command {
        let mut command = match &self.namespace {
            None => Command::new(&self.program),
            Some(namespace) => {
                let mut command = Command::new("ip");
                command.args(["netns", "exec", namespace]).arg(&self.program);
                command
            }
        };
        command.arg("--data").arg(&self.data).args(arguments).env_remove("BRANCHLINE_DATA");
        command
    }

    /// Starts the node on loopback, and waits until it is ready.
    pub fn start(&mut self) {
        self.start_with(&["--listen", "/ip4/127.0.0.1/tcp/0", "--no-mdns"]);
    }

    /// Starts the node with these arguments of `run`, and waits until it is ready.
    pub fn start_with(&mut self, arguments: &[&str]) {
        let command = self.command([&["run"], arguments].concat());
        self.start_by(command);
    }

    /// Starts the node on loopback without waiting for it.
    pub fn spawn(&mut self) {
        let command = self.command(["run", "--listen", "/ip4/127.0.0.1/tcp/0", "--no-mdns"]);
        self.spawn_by(command);
    }

    fn spawn_by(&mut self, mut command: Command) {
        let log = std::fs::File::create(self.log_path()).expect("a log file");
        let node = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn();
        self.node = Some(node.expect("the program runs"));
    }

    /// Starts the node by a command of [`Office::command`], and waits until it is ready.
    pub fn start_by(&mut self, command: Command) {
        self.spawn_by(command);
        let pid = self.pid();
        eventually(&format!("{} is ready", self.name), || {
            let node = self.node.as_mut().expect("a node");
            if let Some(status) = node.try_wait().expect("the node can be waited for") {
                let log = std::fs::read_to_string(self.data.with_extension("log"));
                panic!("the node ended with {status}: {}", log.unwrap_or_default());
            }
            let run = std::fs::read(self.data.join("run.json")).unwrap_or_default();
            let run: Value = serde_json::from_slice(&run).unwrap_or_default();
            run["pid"] == pid && run["api"].is_string() && self.is_healthy()
        });
    }

    /// Where the running node logs to.
    pub fn log_path(&self) -> PathBuf {
        self.data.with_extension("log")
    }

    /// The process id of the node.
    pub fn pid(&self) -> u32 {
        self.node.as_ref().expect("the node runs").id()
    }

    /// Kills the node: nothing is written out any more.
    pub fn kill(&mut self) {
        let mut node = self.node.take().expect("the node runs");
        node.kill().expect("the node can be killed");
        node.wait().expect("the node ends");
    }

    /// Asks the node to stop and returns its exit code.
    pub fn stop(&mut self) -> i32 {
        self.signal("TERM");
        self.ended()
    }

    /// Waits until the node ends, and returns its exit code.
    pub fn ended(&mut self) -> i32 {
        let mut node = self.node.take().expect("the node runs");
        let deadline = Instant::now() + DEADLINE;
        loop {
            if let Some(status) = node.try_wait().expect("the node can be waited for") {
                return status.code().unwrap_or(-1);
            }
            assert!(Instant::now() < deadline, "{} does not end", self.name);
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Sends the node a signal by name.
    pub fn signal(&self, name: &str) {
        let pid = self.pid().to_string();
        let sent = Command::new("kill").args(["-s", name, &pid]).status();
        assert!(sent.expect("kill runs").success());
    }

    /// Joins the network of `inviter`, whose node runs.
    pub fn join(&self, inviter: &Office) {
        let ticket = inviter.run(["invite"]).ok();
        self.run(["join", ticket.trim()]).ok();
    }

    /// Address and token of the running node's API.
    pub fn api(&self) -> (SocketAddr, String) {
        let run = std::fs::read(self.data.join("run.json")).expect("a run file");
        let run: Value = serde_json::from_slice(&run).expect("a JSON object");
        let address = run["api"].as_str().and_then(|address| address.parse().ok());
        let token = std::fs::read_to_string(self.data.join("api.token")).expect("a token");
        (address.expect("an address"), token.trim().to_owned())
    }

    /// Asks the API of the running node.
    pub fn get(&self, path: &str) -> Value {
        let (address, token) = self.api();
        let request = client().get(format!("http://{address}{path}")).bearer_auth(token);
        request.send().expect("an answer").json().expect("JSON")
    }

    /// The digest of the main space.
    pub fn digest(&self) -> String {
        self.run(["digest"]).ok().trim().to_owned()
    }

    /// The number of records in a collection.
    pub fn count(&self, collection: &str) -> u64 {
        self.run(["count", collection]).ok().trim().parse().expect("a number")
    }

    /// The status, by the command.
    pub fn status(&self) -> Value {
        serde_json::from_str(&self.run(["--json", "status"]).ok()).expect("JSON")
    }

    /// What the node's process holds now.
    pub fn gauge(&self) -> Gauge {
        Gauge::of(self.pid())
    }

    /// Whether a record is held here.
    pub fn has(&self, collection: &str, id: &str) -> bool {
        self.run(["get", collection, id]).code == 0
    }

    fn is_healthy(&self) -> bool {
        if self.namespace.is_some() {
            return self.run(["status"]).code == 0;
        }
        let (address, _) = self.api();
        let answer = client().get(format!("http://{address}/healthz")).send();
        answer.is_ok_and(|answer| answer.status().is_success())
    }
}

impl Drop for Office {
    fn drop(&mut self) {
        if let Some(mut node) = self.node.take() {
            // It may have ended by itself.
            let _ = node.kill();
            let _ = node.wait();
        }
    }
}

/// An HTTP client without proxies of the environment.
pub fn client() -> reqwest::blocking::Client {
    reqwest::blocking::Client::builder().no_proxy().build().expect("a client")
}

/// Waits until a condition holds; panics after [`DEADLINE`].
#[track_caller]
pub fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + DEADLINE;
    while !condition() {
        assert!(Instant::now() < deadline, "not within {DEADLINE:?}: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Waits until all offices show the same.
#[track_caller]
pub fn converge(offices: &[&Office]) {
    converge_within(offices, DEADLINE);
}

/// The same with another deadline, for slow links; returns how long it took.
#[track_caller]
pub fn converge_within(offices: &[&Office], deadline: Duration) -> Duration {
    let digests = || offices.iter().map(|office| office.digest()).collect::<Vec<_>>();
    let started = Instant::now();
    loop {
        let digests = digests();
        if digests.iter().all(|digest| *digest == digests[0]) {
            return started.elapsed();
        }
        let is_late = started.elapsed() > deadline;
        assert!(!is_late, "the offices do not converge within {deadline:?}: {digests:?}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Whether tests take their long form: minutes instead of seconds, thousands instead of hundreds. Set
/// `BRANCHLINE_LONG=1` for it.
pub fn is_long() -> bool {
    std::env::var_os("BRANCHLINE_LONG").is_some()
}
