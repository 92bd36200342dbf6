//! `sync`: with the peers, now.

use axum::body::Body;
use axum::http::Method;
use branchline_node::api::{PeerSyncResponse, SyncRequest, SyncResponse};
use serde_json::Value;

use crate::Context;
use crate::args::SyncArgs;
use crate::client::Client;
use crate::error::CliError;
use crate::output::{self, cell, counted};

/// Syncs now.
pub(crate) async fn sync(context: &Context, args: SyncArgs) -> Result<(), CliError> {
    let SyncArgs { peer, push, pull, timeout } = args;
    let direction = match (push, pull) {
        (true, _) => Some("push".to_owned()),
        (false, true) => Some("pull".to_owned()),
        (false, false) => None,
    };
    let request = SyncRequest { peer, direction, timeout_seconds: Some(timeout.as_secs()) };
    let body = serde_json::to_vec(&request).map_err(std::io::Error::from)?;
    let body = ("application/json", Body::from(body));
    let answer = context.client.stream(Method::POST, "/v1/sync", body).await?;
    let answer: SyncResponse = Client::read_json(answer).await?;
    if context.json {
        output::json(&answer)?;
    } else if answer.peers.is_empty() {
        output::note("there is no other site: `branchline invite` makes a ticket for one");
    } else {
        output::table(
            ["SITE", "PULLED", "PUSHED", "TOOK", "RESULT"],
            answer.peers.iter().map(row).collect(),
        )?;
    }
    if answer.conflicts_new > 0 && !context.json {
        let records = counted(answer.conflicts_new, "record");
        output::note(format_args!("\n{records} with new conflicts: `branchline conflicts`"));
    }
    if answer.complete {
        Ok(())
    } else {
        Err(CliError::failed("not every site was reached and brought in step in time"))
    }
}

fn row(peer: &PeerSyncResponse) -> [String; 5] {
    [
        cell(&Value::from(peer.site_name.as_str())),
        peer.pulled.to_string(),
        peer.pushed.to_string(),
        format!("{} ms", peer.duration_ms),
        peer.error.clone().unwrap_or_else(|| "done".to_owned()),
    ]
}
