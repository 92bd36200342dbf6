//! The examples of connectors of a program's own work as they stand.
#![allow(clippy::unwrap_used, clippy::panic, clippy::expect_used)]

use std::future::Future;
use std::path::Path;
use std::time::{Duration, Instant};

use branchline_node::init;
use serde_json::json;

#[allow(dead_code, reason = "its main is for people")]
#[path = "../examples/sink.rs"]
mod sink;
#[allow(dead_code, reason = "its main is for people")]
#[path = "../examples/source.rs"]
mod source;

/// How long something may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// Makes a site that is configured as an example says, for another folder.
fn site(data: &Path, example: &str, from: &str, to: &Path) {
    init(data, "head", true).unwrap();
    let lines = example.lines().map_while(|line| line.strip_prefix("//!"));
    let page: String = lines.map(|line| format!("{}\n", line.trim_start())).collect();
    let toml = page.split("```toml").nth(1).unwrap().split("```").next().unwrap();
    let toml = toml.replace(from, to.to_str().unwrap());
    let text = format!("mdns = false\nlisten = [\"/ip4/127.0.0.1/tcp/0\"]\n{toml}");
    std::fs::write(data.join("branchline.toml"), text).unwrap();
}

async fn wait_until<F: Future<Output = bool>>(what: &str, mut is_so: impl FnMut() -> F) {
    let deadline = Instant::now() + PATIENCE;
    while !is_so().await {
        assert!(Instant::now() < deadline, "not within {PATIENCE:?}: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_sink_of_the_example_keeps_a_label_for_each_order() {
    let folder = tempfile::tempdir().unwrap();
    let (data, labels) = (folder.path().join("node"), folder.path().join("labels"));
    site(&data, include_str!("../examples/sink.rs"), "/var/spool/labels", &labels);
    let node = sink::kinds().start(data).await.unwrap();
    let office = node.handle();
    office.put("orders", "7", json!({ "name": "Ana", "street": "Calle Mayor 1" })).await.unwrap();
    // The share comes back later.
    std::fs::create_dir(&labels).unwrap();
    let label = || std::fs::read_to_string(labels.join("7.json")).unwrap_or_default();
    wait_until("the label is there", || async { label().contains("Calle Mayor 1") }).await;
    office.put("orders", "7", json!({ "name": "Ana", "street": "Gran Vía 2" })).await.unwrap();
    wait_until("the label follows", || async { label().contains("Gran Vía 2") }).await;
    office.delete("orders", "7").await.unwrap();
    wait_until("the label is gone", || async { !labels.join("7.json").exists() }).await;
    node.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_source_of_the_example_makes_records_of_files() {
    let folder = tempfile::tempdir().unwrap();
    let (data, scale) = (folder.path().join("node"), folder.path().join("scale"));
    std::fs::create_dir(&scale).unwrap();
    std::fs::write(scale.join("4711.json"), r#"{"kg": 12.50}"#).unwrap();
    site(&data, include_str!("../examples/source.rs"), "/var/spool/scale", &scale);
    // Without waiting for its schedule.
    let node = source::kinds().start(data.clone()).await.unwrap();
    let run = std::fs::read_to_string(data.join("run.json")).unwrap();
    let run: serde_json::Value = serde_json::from_str(&run).unwrap();
    let token = std::fs::read_to_string(data.join("api.token")).unwrap();
    let url = format!("http://{}/v1/sources/scale/run", run["api"].as_str().unwrap());
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let asked =
        client.post(url).bearer_auth(token.trim()).header("content-type", "application/json");
    let answer = asked.body(r#"{"full": true}"#).send().await.unwrap();
    assert!(answer.status().is_success(), "{}", answer.text().await.unwrap());
    let office = node.handle();
    wait_until("the weighing is there", || async {
        let view = office.get("weighings", "4711").await.unwrap();
        let fields = view.map(|view| branchline_node::records::fields_into_json(view.fields));
        fields.is_some_and(|fields| fields["data"] == json!(r#"{"kg": 12.50}"#))
    })
    .await;
    node.shutdown().await;
}
