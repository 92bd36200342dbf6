//! Syncing now.

use std::collections::BTreeSet;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use data_encoding::HEXLOWER;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::api::error::{ApiError, Code};
use crate::api::params::extract::JsonBody;
use crate::api::params::named::find_member;
use crate::api::texts::name_of;
use crate::api::texts::rfc3339;
use crate::handle::Handle;
use crate::sync::{Direction, PeerSync, SyncFrontier};

/// How long is tried where nothing is asked for.
const PATIENCE_SECONDS: u64 = 30;
/// Longest that is tried: people and scripts wait for the answer.
const PATIENCE_SECONDS_MAX: u64 = 60 * 60;

/// What is to be done.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SyncRequest {
    /// With whom, by name or id; with all members if not given.
    pub peer: Option<String>,
    /// `pull`: done once this site has got what the others hold; `push`: once the others have got what it holds; if not
    /// given, once both hold the same.
    pub direction: Option<String>,
    /// How long to try; 30 s if not given.
    pub timeout_seconds: Option<u64>,
}

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SyncResponse {
    /// Whether it is done with every peer.
    pub complete: bool,
    /// Each peer.
    pub peers: Vec<PeerSyncResponse>,
    /// Records that have conflicts now and had none.
    pub conflicts_new: u64,
    /// The first 100 of them, as `collection/id`.
    #[serde(default)]
    pub conflicts: Vec<String>,
    /// Entries that came, from all peers.
    #[serde(default)]
    pub pulled: u64,
    /// Entries that peers asked for, all together.
    #[serde(default)]
    pub pushed: u64,
    /// Why it is not done with every peer, one line for each that it is not done with.
    #[serde(default)]
    pub errors: Vec<String>,
    /// When it began, by this site's clock, in RFC 3339.
    #[serde(default)]
    pub started: Option<String>,
    /// How long it took.
    #[serde(default)]
    pub duration_ms: u64,
    /// What this site holds of `main` at the end.
    #[serde(default)]
    pub frontier: Option<SiteFrontierResponse>,
}

/// What a site holds of `main`, in short.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SiteFrontierResponse {
    /// A digest of its frontier, in hex: equal where the same entries are held.
    pub digest: String,
    /// How many logs the frontier lists; `/v1/frontier` lists those of this site.
    pub logs: u64,
}

/// What came of it with one peer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PeerSyncResponse {
    /// The peer.
    pub site: String,
    /// Its name.
    pub site_name: String,
    /// Entries that came from it.
    pub pulled: u64,
    /// Entries that it asked for.
    pub pushed: u64,
    /// How long it took.
    pub duration_ms: u64,
    /// Why it is not done; `None`: it is.
    pub error: Option<String>,
    /// What it holds: the same as this site when the two were found in step, else what its latest receipt says. `None`: it
    /// has never said.
    #[serde(default)]
    pub frontier: Option<SiteFrontierResponse>,
}

/// Pulls from and pushes to the peers now.
#[utoipa::path(
    post,
    path = "/v1/sync",
    operation_id = "sync_peers",
    request_body = SyncRequest,
    responses((status = OK, description = "What came of it, complete or not.", body = SyncResponse)),
)]
pub(crate) async fn sync(
    State(handle): State<Handle>,
    JsonBody(request): JsonBody<SyncRequest>,
) -> Result<Json<SyncResponse>, ApiError> {
    let bad = |message: String| ApiError::new(Code::BadParameter, message);
    let direction = match request.direction.as_deref() {
        None => Direction::Both,
        Some("pull") => Direction::Pull,
        Some("push") => Direction::Push,
        Some(found) => return Err(bad(format!("direction is {found:?}, expected pull or push"))),
    };
    let seconds = request.timeout_seconds.unwrap_or(PATIENCE_SECONDS);
    if !(1..=PATIENCE_SECONDS_MAX).contains(&seconds) {
        return Err(bad(format!(
            "timeout_seconds is {seconds}, expected 1 to {PATIENCE_SECONDS_MAX}"
        )));
    }
    if !handle.is_running() {
        return Err(ApiError::new(Code::Stopped, "the node is not running, so it has no links")
            .hint("start it with `branchline run`, or carry a bundle: `branchline bundle OUT`"));
    }
    let status = handle.replica_status().await?;
    let (names, own) = (status.names(), status.site);
    let sites: BTreeSet<_> = match request.peer {
        Some(peer) => BTreeSet::from([find_member(&handle, &peer).await?]),
        None => {
            let members = status.sites.iter().map(|member| member.site);
            members.filter(|site| *site != own).collect()
        }
    };
    if sites.contains(&own) {
        return Err(bad("a site does not sync with itself".to_owned()));
    }
    let report = handle.sync(sites, direction, Duration::from_secs(seconds)).await?;
    let peer = |peer: PeerSync| PeerSyncResponse {
        site: peer.site.to_string(),
        site_name: name_of(peer.site, &names),
        pulled: peer.pulled,
        pushed: peer.pushed,
        duration_ms: ms(peer.duration),
        error: peer.error,
        frontier: peer.frontier.map(held),
    };
    let error = |peer: &PeerSync| {
        let error = peer.error.as_ref()?;
        Some(format!("{}: {error}", name_of(peer.site, &names)))
    };
    Ok(Json(SyncResponse {
        complete: report.peers.iter().all(|peer| peer.error.is_none()),
        pulled: report.pulled(),
        pushed: report.pushed(),
        errors: report.peers.iter().filter_map(error).collect(),
        peers: report.peers.into_iter().map(peer).collect(),
        conflicts_new: report.conflicts_new,
        conflicts: report
            .conflicts
            .iter()
            .map(|key| format!("{}/{}", key.collection, key.id))
            .collect(),
        started: rfc3339(report.started_ms),
        duration_ms: ms(report.duration),
        frontier: report.frontier.map(held),
    }))
}

fn ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn held(frontier: SyncFrontier) -> SiteFrontierResponse {
    SiteFrontierResponse { digest: HEXLOWER.encode(&frontier.digest), logs: frontier.logs }
}
