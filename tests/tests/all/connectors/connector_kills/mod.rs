//! `kill -9` of a whole node while its connectors work: whatever a push or a run had come to, the service has every object
//! once in the end, and nobody sees half of a run.

mod erp;
mod sinks;
mod sources;

use std::path::Path;

use branchline_tests::client;
use serde_json::Value;

/// What the API of a node answers, whether or not it runs; `None`: it says nothing.
fn look(data: &Path, path: &str) -> Option<Value> {
    let run = std::fs::read(data.join("run.json")).ok()?;
    let run: Value = serde_json::from_slice(&run).ok()?;
    let token = std::fs::read_to_string(data.join("api.token")).ok()?;
    let address = run["api"].as_str()?;
    let answer = client().get(format!("http://{address}{path}")).bearer_auth(token.trim()).send();
    let answer = answer.ok().filter(|answer| answer.status().is_success())?;
    answer.json().ok()
}
