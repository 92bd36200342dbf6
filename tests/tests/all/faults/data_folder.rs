//! The data folder: who may use it, who waits for whom, and what in it and around it keeps a node from starting.

use std::fs::{self, File, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use branchline_tests::disk::shim::Shim;
use branchline_tests::{Office, Ran, eventually};

use crate::PROGRAM;

const RUN: [&str; 4] = ["run", "--listen", "/ip4/127.0.0.1/tcp/0", "--no-mdns"];
/// A user that no machine has, for a service.
const SERVICE: u32 = 47_110;

fn head(folder: &Path) -> Office {
    Office::init(PROGRAM, folder, "head", true)
}

fn put(office: &Office, id: &str) -> Ran {
    office.run(["put", "products", id, r#"{"a": 1}"#])
}

#[test]
fn a_start_and_other_commands_wait_for_a_command_that_has_the_folder() {
    let folder = tempfile::tempdir().unwrap();
    let mut head = head(folder.path());
    // A killed node leaves this behind.
    head.start();
    head.kill();
    let lock = File::options().write(true).open(head.data.join("lock")).unwrap();
    lock.lock().unwrap();
    fs::write(head.data.join("lock"), "1\n").unwrap();
    head.spawn();
    let log = head.log_path();
    eventually("the start waits", || fs::read_to_string(&log).unwrap().contains("waits for it"));
    lock.unlock().unwrap();
    // A command before that could take the folder first.
    eventually("the node runs", || {
        let run = fs::read(head.data.join("run.json")).unwrap();
        let run: serde_json::Value = serde_json::from_slice(&run).unwrap_or_default();
        run["pid"] == head.pid() && run["api"].is_string()
    });
    put(&head, "tea").ok();
    let error = head.run(["run"]).fails(1);
    assert!(error.contains("in use") && error.contains(&head.pid().to_string()), "{error}");
    assert_eq!(head.stop(), 0);

    // Two: the second has as long as a command waits for the first to end, however busy the machine is.
    let commands: Vec<_> = (0..2)
        .map(|number| {
            let mut command =
                head.command(["put", "products", &format!("n{number}"), r#"{"a": 1}"#]);
            command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap()
        })
        .collect();
    for command in commands {
        let ended = command.wait_with_output().unwrap();
        assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
    }
    assert_eq!(head.count("products"), 3);
}

#[test]
fn a_ticket_names_all_addresses_at_which_the_node_listens() {
    let folder = tempfile::tempdir().unwrap();
    let mut head = head(folder.path());
    let listen = ["--listen", "/ip4/127.0.0.1/tcp/0", "--listen", "/ip4/127.0.0.1/udp/0/quic-v1"];
    head.start_with(&[&["--no-mdns"][..], &listen].concat());
    let ticket: serde_json::Value =
        serde_json::from_str(&head.run(["--json", "invite"]).ok()).unwrap();
    let addresses = ticket["addresses"].to_string();
    assert!(addresses.contains("/tcp/") && addresses.contains("/quic-v1"), "{addresses}");
    assert_eq!(head.status()["listening"].as_array().unwrap().len(), 2);
}

#[test]
fn what_is_no_token_is_refused_at_the_start_and_an_empty_run_file_is_set_aside() {
    let folder = tempfile::tempdir().unwrap();
    let mut head = head(folder.path());
    let path = head.data.join("api.token");
    for token in ["", "short", "no hex digits, but as long as a token is to be, which is 64 char"] {
        fs::write(&path, token).unwrap();
        let error = head.run(RUN).fails(1);
        assert!(error.contains("api.token") && error.contains("64 hex digits"), "{error}");
        assert!(error.contains("branchline token rotate"), "{error}");
    }
    fs::write(&path, "0".repeat(64)).unwrap();
    fs::write(head.data.join("run.json"), "").unwrap();
    put(&head, "tea").ok();
    head.start();
    assert_eq!(fs::read(head.data.join("run.json.damaged")).unwrap(), b"");
    assert_eq!(head.get("/v1/records/products/tea")["a"], 1);
}

#[test]
fn a_configuration_by_which_no_node_runs_keeps_no_command_from_working() {
    let folder = tempfile::tempdir().unwrap();
    let mut head = head(folder.path());
    let config = head.data.join("branchline.toml");
    for wrong in
        ["listen = []", "api = \"0.0.0.0:80\"", "listen = []\nexternal = [\"/ip4/1.2.3.4/tcp/1\"]"]
    {
        fs::write(&config, wrong).unwrap();
        assert_eq!(head.run(["run"]).code, 2, "{wrong}");
        put(&head, "tea").ok();
    }
    fs::write(&config, "listen = []").unwrap();
    head.start_with(&["--no-mdns"]);
    put(&head, "salt").ok();
    for command in ["status", "members", "peers", "digest", "verify"] {
        head.run([command]).ok();
    }
    assert!(head.run(["invite"]).fails(1).contains("--address"));
    head.run(["invite", "--address", "/ip4/192.0.2.1/tcp/4747"]).ok();
    let (mut north, log) = (Office::init(PROGRAM, folder.path(), "north", false), head.log_path());
    north.start();
    north.run(["peers"]).ok();
    assert_eq!(north.stop(), 0);
    assert_eq!(head.stop(), 0, "{:?}", fs::read_to_string(log));
    assert_eq!(head.count("products"), 2);
}

#[test]
fn a_clock_that_cannot_be_right_is_an_error_at_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let mut head = head(folder.path());
    let shim = Shim::build(folder.path());
    for seconds in [-86_400, 253_402_300_800, i64::from(u32::MAX) * 1_000] {
        for words in [&RUN[..], &["status"], &["put", "products", "tea", "{}"], &["check"]] {
            let mut command = head.command(words);
            shim.set_clock(&mut command, seconds);
            let ran = command.output().unwrap();
            let said = [ran.stdout, ran.stderr].concat();
            let said = String::from_utf8_lossy(&said);
            assert!(
                said.contains("expected a time from 1970 to 9999"),
                "{seconds} {words:?}: {said}"
            );
            assert!(!said.contains("panicked"), "{said}");
            let code = if words == ["check"] { 3 } else { 1 };
            assert_eq!(ran.status.code(), Some(code), "{said}");
        }
    }
    // Right after 1970 all works, but for QUIC, of which the log says why.
    let listen = ["--listen", "/ip4/127.0.0.1/tcp/0", "--listen", "/ip4/127.0.0.1/udp/0/quic-v1"];
    let mut command = head.command([&["run", "--no-mdns"][..], &listen].concat());
    shim.set_clock(&mut command, 10);
    head.start_by(command);
    put(&head, "tea").ok();
    let log = fs::read_to_string(head.log_path()).unwrap();
    assert!(log.contains("links by QUIC fail until the clock is set"), "{log}");
}

/// What a service's user runs: a program and folders that it can reach. `None`, with a note, where this user cannot be
/// another.
struct Service {
    program: PathBuf,
    data: PathBuf,
}

impl Service {
    fn new(folder: &Path) -> Option<Self> {
        if !rustix::process::geteuid().is_root() {
            eprintln!("NOT RUN: this test works as another user, which takes root");
            return None;
        }
        fs::set_permissions(folder, Permissions::from_mode(0o755)).unwrap();
        let (program, home) = (folder.join("branchline"), folder.join("service"));
        fs::copy(PROGRAM, &program).unwrap();
        fs::create_dir(&home).unwrap();
        chown(&home, Some(SERVICE), Some(SERVICE)).unwrap();
        Some(Self { program, data: home.join("data") })
    }

    fn command(&self, words: &[&str], user: u32) -> Command {
        let mut command = Command::new(&self.program);
        command.arg("--data").arg(&self.data).args(words).env_remove("BRANCHLINE_DATA");
        command.uid(user).gid(user).current_dir("/");
        command
    }

    fn run(&self, words: &[&str], user: u32) -> Ran {
        let ran = self.command(words, user).output().unwrap();
        Ran {
            code: ran.status.code().unwrap_or(-1),
            stdout: String::from_utf8_lossy(&ran.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&ran.stderr).into_owned(),
        }
    }

    /// Files in the data folder that are not the service's.
    fn foreign(&self) -> Vec<PathBuf> {
        let mut foreign = Vec::new();
        let mut folders = vec![self.data.clone()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                let found = path.symlink_metadata().unwrap();
                if found.is_dir() {
                    folders.push(path.clone());
                }
                if found.uid() != SERVICE {
                    foreign.push(path);
                }
            }
        }
        foreign
    }
}

#[test]
fn root_never_locks_a_service_out_of_its_folder() {
    let folder = tempfile::tempdir().unwrap();
    let Some(service) = Service::new(folder.path()) else { return };
    service.run(&["init", "--name", "head", "--found"], SERVICE).ok();
    service.run(&["put", "products", "tea", r#"{"a": 1}"#], SERVICE).ok();
    let before = fs::read_dir(&service.data).unwrap().count();
    let backup = folder.path().join("backup");
    let words: [&[&str]; 7] = [
        &["status"],
        &["put", "products", "tea", r#"{"a": 2}"#],
        &["rotate"],
        &["rebuild"],
        &["run", "--no-mdns"],
        &["backup", "create", backup.to_str().unwrap()],
        &["merge", "/dev/null"],
    ];
    for words in words {
        let error = service.run(words, 0).fails(1);
        assert!(
            error.contains(&format!("belongs to user #{SERVICE}, and this is user root")),
            "{error}"
        );
        assert!(error.contains(&format!("sudo -u #{SERVICE} branchline")), "{error}");
    }
    assert_eq!(service.foreign(), Vec::<PathBuf>::new());
    assert_eq!(fs::read_dir(&service.data).unwrap().count(), before);
    assert!(service.run(&["get", "products", "tea"], SERVICE).ok().contains("\"a\":1"));

    // With the node running root asks that.
    let mut node = service.command(&RUN, SERVICE).stderr(Stdio::null()).spawn().unwrap();
    eventually("root reaches the node", || {
        service.run(&["put", "products", "tea", r#"{"a": 3}"#], 0).code == 0
    });
    service.run(&["status"], 0).ok();
    assert_eq!(service.foreign(), Vec::<PathBuf>::new());
    node.kill().unwrap();
    node.wait().unwrap();
    assert!(service.run(&["get", "products", "tea"], SERVICE).ok().contains("\"a\":3"));

    // Another user is informed whose it is, and a file that root has left is named.
    let error = service.run(&["status"], SERVICE + 1).fails(1);
    assert!(error.contains(&format!("sudo -u #{SERVICE} branchline")), "{error}");
    for name in ["run.json.new", "journal/00000000.seg", "tables/db", "lock"] {
        let path = service.data.join(name);
        let was = path.exists();
        if !was {
            fs::write(&path, "").unwrap();
        }
        chown(&path, Some(0), Some(0)).unwrap();
        let error = service.run(&["status"], SERVICE).fails(1);
        assert!(error.contains(&format!("{} belongs to user root", path.display())), "{error}");
        chown(&path, Some(SERVICE), Some(SERVICE)).unwrap();
        if !was {
            fs::remove_file(&path).unwrap();
        }
    }
    // A configuration is often root's.
    let config = service.data.join("branchline.toml");
    fs::write(&config, "mdns = false\n").unwrap();
    service.run(&["status"], SERVICE).ok();
}

#[test]
fn a_folder_that_others_may_write_to_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let head = head(folder.path());
    for mode in [0o720, 0o702, 0o777] {
        fs::set_permissions(&head.data, Permissions::from_mode(mode)).unwrap();
        for words in [&RUN[..], &["status"]] {
            let error = head.run(words).fails(1);
            assert!(error.contains("can be written to by other users"), "{error}");
            assert!(error.contains(&format!("chmod go-w {}", head.data.display())), "{error}");
        }
    }
    fs::set_permissions(&head.data, Permissions::from_mode(0o755)).unwrap();
    put(&head, "tea").ok();
    let empty = folder.path().join("empty");
    fs::create_dir(&empty).unwrap();
    fs::set_permissions(&empty, Permissions::from_mode(0o777)).unwrap();
    let mut init = Command::new(PROGRAM);
    init.arg("--data").arg(&empty).args(["init", "--name", "x", "--found"]);
    let ran = init.output().unwrap();
    assert!(String::from_utf8_lossy(&ran.stderr).contains("chmod go-w"), "{ran:?}");
    assert_eq!(fs::read_dir(&empty).unwrap().count(), 0);
}

#[test]
fn tickets_travel_in_files_that_only_their_owner_reads() {
    let folder = tempfile::tempdir().unwrap();
    let mut head = head(folder.path());
    head.start();
    let ticket = folder.path().join("ticket");
    let file = ticket.to_str().unwrap();
    let made = head.run(["invite", "-o", file]);
    assert!(
        !made.stdout.contains("branchline-ticket") && !made.stderr.contains("branchline-ticket")
    );
    made.ok();
    assert_eq!(ticket.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    let text = fs::read_to_string(&ticket).unwrap();
    assert!(text.starts_with("branchline-ticket-1-") && text.ends_with('\n'), "{text}");
    let error = head.run(["invite", "-o", file]).fails(1);
    assert!(error.contains("exists already"), "{error}");
    assert_eq!(fs::read_to_string(&ticket).unwrap(), text);
    let nowhere = folder.path().join("none/ticket");
    head.run(["invite", "-o", nowhere.to_str().unwrap()]).fails(1);
    // No ticket comes of this, and no file.
    let unmade = folder.path().join("unmade");
    head.run(["invite", "--expires", "9999d", "-o", unmade.to_str().unwrap()]).fails(1);
    assert!(!unmade.exists());
    let second = folder.path().join("second");
    let json = head.run(["--json", "invite", "-o", second.to_str().unwrap()]).ok();
    assert!(json.contains("second") && !json.contains("branchline-ticket"), "{json}");

    let mut north = Office::init(PROGRAM, folder.path(), "north", false);
    north.start();
    north.run(["join", file]).ok();
    let mut south = Office::init(PROGRAM, folder.path(), "south", false);
    south.start();
    south.run_with(["join", "-"], &fs::read_to_string(&second).unwrap()).ok();
    for office in [&north, &south] {
        eventually("a member", || office.get("/v1/status")["member"] == true);
    }
    let empty = folder.path().join("empty");
    fs::write(&empty, "\n").unwrap();
    for (given, expected) in [
        (empty.to_str().unwrap(), "is empty"),
        (folder.path().to_str().unwrap(), "cannot read"),
        ("no-such-file", "neither a file nor a ticket"),
    ] {
        let error = north.run(["join", given]).fails(1);
        assert!(error.contains(expected) && error.contains(given), "{error}");
    }
}
