//! What a crate above the node adds to it, seen from outside a real node.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod tally;

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use branchline_node::backup::{BackupHeader, BackupPart, BackupReader, BackupWriter};
use branchline_node::extension::{RESTORED_FILE, ReloadError, Reloaded};
use branchline_node::init;
use branchline_node::site::SiteFolder;
use branchline_node::{Config, Extension, Node, Overrides};
use futures::StreamExt;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};

use tally::{LARGE, Tally};

const OWN: &str = "listen = []\nmdns = false\n";
const CONFIG: &str = "listen = []\nmdns = false\n\n[[tally]]\nname = \"tea\"\n";

fn site(config: &str) -> TempDir {
    let data = tempfile::tempdir().unwrap();
    init(data.path(), "head", true).unwrap();
    configure(data.path(), config);
    data
}

fn configure(data: &Path, config: &str) {
    std::fs::write(data.join("branchline.toml"), config).unwrap();
}

fn extensions() -> Vec<Arc<dyn Extension>> {
    vec![Arc::new(Tally)]
}

fn load(data: &Path) -> Result<Config, branchline_node::ConfigError> {
    Config::load_with(data, None, Overrides::default(), &extensions())
}

async fn start(data: &Path) -> Node {
    let config = load(data).unwrap();
    Node::builder(config).with_all(extensions()).start().await.unwrap()
}

/// Asks the API at its port; what is not JSON is returned as a string.
async fn ask(node: &Node, method: &str, path: &str, token: &str) -> (u16, Value) {
    let address: SocketAddr = node.api_address().unwrap();
    let mut stream = TcpStream::connect(address).await.unwrap();
    let head = format!(
        "{method} {path} HTTP/1.1\r\nhost: {address}\r\nauthorization: Bearer {token}\r\nconnection: close\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let status = answer.split(' ').nth(1).unwrap().parse().unwrap();
    let body = answer.split_once("\r\n\r\n").unwrap().1;
    (status, serde_json::from_str(body).unwrap_or_else(|_| Value::String(body.to_owned())))
}

fn token(data: &Path) -> String {
    std::fs::read_to_string(data.join("api.token")).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_answered_finds_the_extensions_at_work() {
    let data = site(CONFIG);
    let socket = data.path().join("api.sock");
    let asked = tokio::spawn(async move {
        let mut stream = loop {
            match UnixStream::connect(&socket).await {
                Ok(stream) => break stream,
                Err(_) => tokio::task::yield_now().await,
            }
        };
        let head = "GET /v1/tallies/tea HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    });
    let node = start(data.path()).await;
    let answer = asked.await.unwrap();
    assert!(answer.contains("\"is_at_work\":true"), "{answer}");
    node.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_section_a_route_a_metric_and_a_finding_are_seen_at_a_running_node() {
    let data = site(CONFIG);
    let node = start(data.path()).await;
    let token = &token(data.path());
    let (_, status) = ask(&node, "GET", "/v1/status", token).await;
    let expected = json!([{
        "severity": "info", "about": "tally tea", "what": "nobody has asked for it",
        "since": null, "hint": null,
    }]);
    assert_eq!(status["findings"], expected);

    let answer = json!({"count": 1, "site": node.site().to_string(), "is_at_work": true});
    assert_eq!(ask(&node, "GET", "/v1/tallies/tea", token).await, (200, answer));
    let (status, refused) = ask(&node, "GET", "/v1/tallies/coffee", token).await;
    assert_eq!((status, &refused["error"]["code"]), (404, &json!("not_found")));
    let (status, refused) = ask(&node, "GET", "/v1/tallies/tea", "wrong").await;
    assert_eq!((status, &refused["error"]["code"]), (401, &json!("unauthorized")));
    let (status, refused) = ask(&node, "POST", "/v1/tallies/tea", token).await;
    assert_eq!((status, &refused["error"]["code"]), (405, &json!("method_not_allowed")));

    assert_eq!(ask(&node, "GET", "/v1/status", token).await.1["findings"], json!([]));
    let (_, metrics) = ask(&node, "GET", "/metrics", token).await;
    let metrics = metrics.as_str().unwrap();
    assert!(metrics.contains("branchline_tallies_asked_total 1\n"), "{metrics}");
    assert!(metrics.contains("route=\"/v1/tallies/{name}\""), "{metrics}");
    assert!(metrics.ends_with("# EOF\n"), "{metrics}");

    let (_, described) = ask(&node, "GET", "/v1/openapi.json", token).await;
    let operation = &described["paths"]["/v1/tallies/{name}"]["get"];
    assert_eq!(operation["operationId"], "get_tally");
    assert!(operation["responses"]["default"].is_object(), "{operation}");
    assert!(described["components"]["schemas"]["TallyAnswer"].is_object());
    assert!(described["paths"]["/v1/status"].is_object());
    node.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_without_extensions_has_none_of_it() {
    let data = site(OWN);
    let node = Node::start(Config::load(data.path(), None, Overrides::default()).unwrap()).await;
    let node = node.unwrap();
    let token = &token(data.path());
    assert_eq!(ask(&node, "GET", "/v1/status", token).await.1["findings"], json!([]));
    assert_eq!(ask(&node, "GET", "/v1/tallies/tea", token).await.0, 404);
    let (_, described) = ask(&node, "GET", "/v1/openapi.json", token).await;
    assert!(described["paths"]["/v1/tallies/{name}"].is_null());
    node.shutdown().await;
    configure(data.path(), CONFIG);
    let error = Config::load(data.path(), None, Overrides::default()).unwrap_err().to_string();
    let part = "line 4: no part of this program reads the section [tally]: it reads no sections";
    assert!(error.contains(part), "{error}");
}

#[test]
fn keys_that_are_nobodys_are_refused_by_name_and_line() {
    for (config, parts) in [
        ("[[tali]]\nname = \"tea\"\n", &["line 1", "the section [tali]", "it reads [tally]"][..]),
        ("mdns = true\ntali = 1\n", &["line 2", "unknown field `tali`"]),
        ("tally = 1\n", &["line 1", "invalid type: integer `1`"]),
        ("[[tally]]\nname = \"tea\"\nnam = 1\n", &["line 3", "unknown field `nam`"]),
        ("[[tally]]\nname = \"a\"\n[[tally]]\nname = \"a\"\n", &["line 4", "\"a\" is there twice"]),
    ] {
        let data = site(config);
        let checked = load(data.path()).and_then(|config| Tally.check(&config));
        let error = checked.unwrap_err().to_string();
        for part in parts.iter().chain(&["branchline.toml"]) {
            assert!(error.contains(part), "{part} is missing: {error}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_does_not_start_by_a_section_that_is_refused() {
    let data = site("[[tally]]\n");
    let config = load(data.path()).unwrap();
    let started = Node::builder(config).with_all(extensions()).start().await;
    let error = started.err().unwrap().to_string();
    assert!(error.contains("missing field `name`"), "{error}");
    // A command on the stopped site is not kept from its work.
    let config = load(data.path()).unwrap();
    let opened = Node::builder(config).with_all(extensions()).open().await.unwrap();
    opened.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_section_is_taken_up_and_a_wrong_one_leaves_the_old_one_running() {
    let data = site(CONFIG);
    let node = start(data.path()).await;
    let token = &token(data.path());
    assert_eq!(ask(&node, "GET", "/v1/tallies/tea", token).await.0, 200);

    configure(data.path(), &format!("{CONFIG}[[tally]]\nname = \"coffee\"\n"));
    let answer = json!({"applied": ["tally"], "needs_restart": []});
    assert_eq!(ask(&node, "POST", "/v1/reload", token).await, (200, answer));
    assert_eq!(ask(&node, "GET", "/v1/tallies/coffee", token).await.1["count"], 1);

    for (wrong, part) in [
        ("[[tally]]\nname = 1\n", "line 4"),
        ("[[tally]]\nname = \"milk\"\nimpossible = true\n", "one of them is impossible"),
        ("[[milk]]\n", "the section [milk]"),
        ("cache_mib = 0\n", "at least 1 MiB"),
        ("= 1\n", "line 3"),
    ] {
        configure(data.path(), &format!("{OWN}{wrong}"));
        let (status, refused) = ask(&node, "POST", "/v1/reload", token).await;
        let error = &refused["error"];
        assert_eq!((status, &error["code"]), (422, &json!("configuration_refused")), "{wrong}");
        assert!(error["message"].as_str().unwrap().contains(part), "{part}: {error}");
        assert_eq!(ask(&node, "GET", "/v1/tallies/milk", token).await.0, 404);
    }
    assert_eq!(ask(&node, "GET", "/v1/tallies/coffee", token).await.1["count"], 2);
    assert_eq!(ask(&node, "GET", "/v1/tallies/tea", token).await.1["count"], 2);
    node.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_setting_that_needs_a_restart_is_named_each_time_and_the_log_is_not() {
    let data = site(OWN);
    let (set, mut was_set) = tokio::sync::mpsc::unbounded_channel();
    let set_log = move |filter: &str| match filter {
        "loud" => Err("the log filter \"loud\" is wrong".to_owned()),
        filter => set.send(filter.to_owned()).map_err(|error| error.to_string()),
    };
    let config = load(data.path()).unwrap();
    let node = Node::builder(config).with_log_filter(set_log).start().await.unwrap();
    configure(data.path(), &format!("{OWN}log = \"debug\"\ncache_mib = 32\n"));
    let handle = node.handle();
    let restart = vec!["cache_mib".to_owned()];
    let expected = Reloaded { applied: vec!["log".to_owned()], needs_restart: restart.clone() };
    assert_eq!(handle.reload().await.unwrap(), expected);
    assert_eq!(was_set.recv().await.unwrap(), "debug");
    let expected = Reloaded { applied: Vec::new(), needs_restart: restart };
    assert_eq!(handle.reload().await.unwrap(), expected);
    configure(data.path(), &format!("{OWN}log = \"loud\"\n"));
    assert!(matches!(handle.reload().await, Err(ReloadError::Log { .. })));
    node.shutdown().await;
    // Who holds a node keeps its folder.
    drop(handle);
    let opened = Node::open(load(data.path()).unwrap()).await.unwrap();
    assert!(matches!(opened.handle().reload().await, Err(ReloadError::NotRunning)));
    opened.shutdown().await;
}

/// The whole backup of a site, as `branchline backup create` makes it.
async fn backup(node: &Node, data: &Path) -> Vec<u8> {
    let (mut writer, mut bytes) = BackupWriter::start();
    let site = node.site().to_string();
    let time = "2026-11-20T12:00:00Z".to_owned();
    let header = BackupPart::Header(BackupHeader { site, name: "head".to_owned(), time });
    bytes.extend(writer.part(&header).unwrap());
    for (name, content) in SiteFolder::new(data).files().unwrap() {
        bytes.extend(writer.part(&BackupPart::SiteFile { name, content }).unwrap());
    }
    let mut stream = std::pin::pin!(node.handle().backup().await.unwrap());
    let mut reader = BackupReader::default();
    while let Some(some) = stream.next().await {
        reader.push(&some.unwrap());
        while let Some(part) = reader.next_part().unwrap() {
            bytes.extend(writer.part(&part).unwrap());
        }
    }
    reader.finish().unwrap();
    bytes
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_and_its_restore_bring_the_files_and_a_mark_and_a_rebuild_leaves_them() {
    let data = site(CONFIG);
    let node = start(data.path()).await;
    assert_eq!(ask(&node, "GET", "/v1/tallies/tea", &token(data.path())).await.0, 200);
    let folder = data.path().join("tally");
    let large: Vec<u8> = (0..2_500_000_u32).map(|at| (at.wrapping_mul(at) >> 7) as u8).collect();
    std::fs::write(folder.join(LARGE), &large).unwrap();
    // A backup that a crash has interrupted.
    std::fs::create_dir(folder.join(".backup")).unwrap();
    std::fs::write(folder.join(".backup/old"), "old").unwrap();
    node.handle().rebuild().await.unwrap();
    let bytes = backup(&node, data.path()).await;
    assert!(!folder.join(".backup").exists() && !folder.join(RESTORED_FILE).exists());
    node.shutdown().await;

    let restored = tempfile::tempdir().unwrap();
    branchline_node::backup::restore(&mut bytes.as_slice(), restored.path()).unwrap();
    let folder = restored.path().join("tally");
    assert_eq!(std::fs::read(folder.join(LARGE)).unwrap(), large);
    assert_eq!(
        std::fs::read_to_string(folder.join(RESTORED_FILE)).unwrap(),
        "2026-11-20T12:00:00Z"
    );
    let node = start(restored.path()).await;
    let token = &token(restored.path());
    let finding = &ask(&node, "GET", "/v1/status", token).await.1["findings"][0];
    assert_eq!(
        (&finding["severity"], &finding["what"]),
        (&json!("error"), &json!("come from a backup"))
    );
    assert_eq!(ask(&node, "GET", "/v1/tallies/tea", token).await.1["count"], 2);
    node.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_of_a_site_without_extensions_is_what_it_was() {
    let data = site(OWN);
    let config = Config::load(data.path(), None, Overrides::default()).unwrap();
    let node = Node::open(config).await.unwrap();
    let bytes = backup(&node, data.path()).await;
    node.shutdown().await;
    let restored = tempfile::tempdir().unwrap();
    branchline_node::backup::restore(&mut bytes.as_slice(), restored.path()).unwrap();
    assert!(!restored.path().join("tally").exists());
}
