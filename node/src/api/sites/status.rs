//! What the site knows of itself and of the others.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use axum::Json;
use axum::extract::State;
use branchline_crdt::ids::SiteId;
use branchline_crdt::replica::{IndexStatus, SiteStatus};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::standing::{CopiesResponse, StandingResponse};
use crate::api::error::{ApiError, Code};
use crate::api::texts::rfc3339;
use crate::extension::{Finding, Severity};
use crate::handle::Handle;
use crate::network::PeerInfo;
use crate::peers::heard::HeardAt;
use crate::peers::others::Standing;
use crate::storage::reserve::DiskRoom;
use crate::traffic::HourTraffic;

/// What a site knows of itself, its storage and the others.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct StatusResponse {
    /// This site's id.
    pub site: String,
    /// Its name.
    pub name: String,
    /// Its network, in hex, once known.
    pub network: Option<String>,
    /// Its role, by membership or by the ticket that it holds.
    pub role: Option<String>,
    /// Whether it is a member.
    pub member: bool,
    /// Why another site does not let this one in.
    pub join_refused: Option<String>,
    /// How this site stands in its network.
    pub standing: StandingResponse,
    /// The sites of which two copies run at the same time.
    #[serde(default)]
    pub copies: Vec<CopiesResponse>,
    /// Whether a node runs here, or the folder of a stopped one was opened.
    pub running: bool,
    /// Where it listens for other sites.
    pub listening: Vec<String>,
    /// Records that are not deleted, over all collections.
    pub records: u64,
    /// Records with conflicts; counted up to 10,000.
    pub conflicts: u64,
    /// Digest of all records, in hex: equal wherever the same is held.
    pub digest: String,
    /// Entries held.
    pub entries: u64,
    /// Entries of this site among them.
    pub own_entries: u64,
    /// Entries held that this program is too old to apply.
    pub entries_unapplied: u64,
    /// Entries whose bytes are damaged here; they are asked of the peers.
    pub entries_lost: u64,
    /// Sites that signed one number twice.
    pub forked: Vec<String>,
    /// Bytes of the journal on disk.
    pub journal_bytes: u64,
    /// Bytes of the tables on disk.
    pub tables_bytes: u64,
    /// Room on the disk that the data lies on. `None`: the system does not say.
    pub disk_free_bytes: Option<u64>,
    /// Damaged journal frames.
    pub damaged_frames: u64,
    /// Why the disk refused the last write; `None` if it took it.
    pub writes_refused: Option<String>,
    /// Room that is kept for this site's own writes, beside what the tables need: while the disk has less, nothing new of
    /// what other sites wrote is taken in.
    #[serde(default)]
    pub disk_reserve_own_bytes: u64,
    /// Since when that is so, by this site's clock, in RFC 3339. `None`: it is taken in.
    #[serde(default)]
    pub held_back_since: Option<String>,
    /// The id of the admin who revoked this site, if one did: nobody syncs with it any more.
    pub revoked_by: Option<String>,
    /// All members, this site first, then the most senior.
    pub sites: Vec<SiteResponse>,
    /// The indexes that schemas declare.
    pub indexes: Vec<IndexResponse>,
    /// The names of the private spaces that are held here.
    #[serde(default)]
    pub spaces: Vec<String>,
    /// What a person should know of what extensions of the node do, of events that somebody changed, and of too little room
    /// for what other sites write, the worst first.
    #[serde(default)]
    pub findings: Vec<Finding>,
}

/// How far an index is built.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct IndexResponse {
    /// The collection.
    pub collection: String,
    /// The field, by its dotted path.
    pub field: String,
    /// `building`, `ready` or `dropping`. Queries use one that is ready.
    pub state: String,
    /// Records that are in one that is being built.
    pub records_built: u64,
}

/// What is known of one member.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct SiteResponse {
    /// Its id.
    pub site: String,
    /// Its name.
    pub name: String,
    /// Its role.
    pub role: String,
    /// Whether it is connected to this site.
    pub connected: bool,
    /// When this site last heard from it, by this site's clock, in RFC 3339. `None`: never.
    pub last_heard: Option<String>,
    /// When it last said what it holds, by this site's clock, in RFC 3339. `None`: never.
    #[serde(default)]
    pub last_confirmed: Option<String>,
    /// When it issued its latest receipt, by its own clock, in RFC 3339. `None`: none is known.
    #[serde(default)]
    pub last_receipt: Option<String>,
    /// Entries held here that it has not confirmed, those that it wrote itself left out: it may hold them by now. `None`:
    /// it has never said what it holds.
    pub lag_entries: Option<u64>,
    /// Entries of this site among them.
    pub lag_own_entries: Option<u64>,
    /// Entries that it holds and this site lacks.
    pub ahead_entries: Option<u64>,
}

/// What the network layer knows; nothing where no node runs.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct PeersResponse {
    /// The peers.
    pub peers: Vec<PeerResponse>,
    /// What all lines carried, by hour since this node started: the latest 48 hours, the present one last.
    #[serde(default)]
    pub traffic: Vec<TrafficResponse>,
    /// How this site stands in its network: a site that was revoked, or never admitted, has no peers.
    pub standing: StandingResponse,
}

/// One peer.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct PeerResponse {
    /// Its id.
    pub site: String,
    /// Its name, if it is or was a member.
    pub name: Option<String>,
    /// Whether it is a member.
    pub member: bool,
    /// Whether it made the ticket that this site holds and has not been admitted with.
    #[serde(default)]
    pub inviter: bool,
    /// Whether it is connected.
    pub connected: bool,
    /// The address of the newest connection.
    pub address: Option<String>,
    /// Whether this site dialled that connection.
    pub outbound: Option<bool>,
    /// Last measured round trip.
    pub round_trip_ms: Option<f64>,
    /// Failed dials since it was last connected.
    pub dial_failures: u32,
    /// Why the last dial failed.
    pub dial_error: Option<String>,
    /// Addresses at which it may be found, best first.
    pub known_addresses: Vec<String>,
    /// The version of its program, as it says itself. `None`: it has not been connected since this node started.
    #[serde(default)]
    pub version: Option<String>,
    /// Bytes of requests, answers and gossip that came from it since this node started, before they are encrypted.
    #[serde(default)]
    pub received_bytes: u64,
    /// Bytes of requests and answers that went to it since then. Gossip goes to all, and is not counted.
    #[serde(default)]
    pub sent_bytes: u64,
}

/// What all lines carried within one hour, gossip included, before encryption.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TrafficResponse {
    /// When the hour began, by this node's clock, in RFC 3339.
    pub hour: String,
    /// Bytes that came.
    pub received_bytes: u64,
    /// Bytes that went.
    pub sent_bytes: u64,
}

/// Whether the node is there. Needs no token.
#[utoipa::path(
    get,
    path = "/healthz",
    operation_id = "get_health",
    responses((status = OK, description = "The node is there.", body = String)),
    security(()),
)]
pub(crate) async fn health() -> &'static str {
    "ok"
}

/// Whether the node works and takes writes. Needs no token, and so says no more than that.
#[utoipa::path(
    get,
    path = "/readyz",
    operation_id = "get_readiness",
    responses((status = OK, description = "The node works and takes writes.", body = String)),
    security(()),
)]
pub(crate) async fn ready(State(handle): State<Handle>) -> Result<&'static str, ApiError> {
    match handle.takes_writes().await {
        Ok(true) => Ok("ready"),
        Ok(false) => Err(ApiError::new(Code::NotReady, "the node refuses writes now")
            .hint("`branchline status` shows why")),
        Err(_) => Err(ApiError::new(Code::NotReady, "the node does not work")
            .hint("its log says why; start it again with `branchline run`")),
    }
}

/// What the site knows of itself, its storage and the others.
#[utoipa::path(
    get,
    path = "/v1/status",
    operation_id = "get_status",
    responses((status = OK, description = "The status.", body = StatusResponse)),
)]
pub(crate) async fn status(State(handle): State<Handle>) -> Result<Json<StatusResponse>, ApiError> {
    let node = handle.status().await?;
    let replica = node.replica;
    let names = replica.names();
    let join_refused = match &node.standing {
        Standing::Refused(refused) => Some(refused.reason.clone()),
        Standing::Member
        | Standing::NoNetwork
        | Standing::NotAdmitted { .. }
        | Standing::Disputed { .. }
        | Standing::Revoked { .. } => None,
    };
    let copies = node.copies.into_iter().map(|copies| CopiesResponse::of(copies, &names));
    let (heard, room) = (node.heard, node.room);
    let site = |site: SiteStatus| SiteResponse::of(site, &heard);
    Ok(Json(StatusResponse {
        site: replica.site.to_string(),
        name: replica.name,
        network: replica.network.map(|network| network.to_string()),
        role: replica.role.map(|role| role.to_string()),
        member: replica.member,
        join_refused,
        standing: StandingResponse::of(node.standing, &names),
        copies: copies.collect(),
        running: node.running,
        listening: node.listening,
        records: node.records,
        conflicts: node.conflicts,
        digest: node.digest,
        entries: replica.entries,
        own_entries: replica.own_entries,
        entries_unapplied: replica.entries_unapplied,
        entries_lost: replica.entries_lost,
        forked: replica.forks.iter().map(|author| author.site.to_string()).collect(),
        journal_bytes: node.journal_bytes,
        tables_bytes: node.tables_bytes,
        disk_free_bytes: node.disk_free_bytes,
        damaged_frames: node.damaged_frames,
        writes_refused: node.writes_refused,
        disk_reserve_own_bytes: room.reserve_bytes,
        held_back_since: room.held_back_since_ms.and_then(rfc3339),
        revoked_by: replica.revoked_by.map(|by| by.to_string()),
        indexes: replica.indexes.into_iter().map(index).collect(),
        spaces: handle.space_names(),
        findings: findings(&handle, &room).await,
        sites: replica.sites.into_iter().map(site).collect(),
    }))
}

/// What extensions find, events that somebody changed, and that the disk has too little room for others.
async fn findings(handle: &Handle, room: &DiskRoom) -> Vec<Finding> {
    let mut found = handle.findings().await;
    found.extend(held_back(room));
    // Where it cannot be read, the rest of the status says so.
    found.extend(handle.altered_events().await.unwrap_or_default());
    found.extend(handle.sites_to_decide().await.unwrap_or_default());
    found.sort_by_key(|finding| Reverse(finding.severity));
    found
}

/// That what other sites write waits for room.
fn held_back(room: &DiskRoom) -> Option<Finding> {
    let what = format!(
        "what other sites write is not accepted for now, and will arrive by itself once there is space: {}",
        room.held_back()?
    );
    let hint = "make room on that disk; `branchline members` shows how much each site added, and `branchline revoke SITE` shuts out one that fills it; `disk_reserve_own_mib` is how much room is kept";
    let since = room.held_back_since_ms.and_then(rfc3339);
    let found = Finding::new(Severity::Error, "disk", what);
    Some(Finding { since, hint: Some(hint.to_owned()), ..found })
}

fn index(status: IndexStatus) -> IndexResponse {
    let IndexStatus { collection, field, state, records_built } = status;
    IndexResponse { collection, field, state, records_built }
}

impl SiteResponse {
    /// What the replica knows of it, with when this site last heard of each.
    pub(crate) fn of(status: SiteStatus, heard: &BTreeMap<SiteId, HeardAt>) -> Self {
        let heard = heard.get(&status.site);
        Self {
            site: status.site.to_string(),
            name: status.name,
            role: status.role.to_string(),
            connected: status.connected,
            last_heard: heard.and_then(|at| rfc3339(at.any_ms)),
            last_confirmed: heard.and_then(|at| rfc3339(at.receipt_ms?)),
            last_receipt: status.receipt_ms.and_then(rfc3339),
            lag_entries: status.lag_entries,
            lag_own_entries: status.lag_own_entries,
            ahead_entries: status.ahead_entries,
        }
    }
}

/// What the network layer knows of other sites.
#[utoipa::path(
    get,
    path = "/v1/peers",
    operation_id = "list_peers",
    responses((status = OK, description = "The peers.", body = PeersResponse)),
)]
pub(crate) async fn peers(State(handle): State<Handle>) -> Result<Json<PeersResponse>, ApiError> {
    let names = handle.names().await?;
    let name = |peer: &PeerInfo| names.get(&SiteId::from_peer_id(&peer.peer)?).cloned();
    let peer = |peer: PeerInfo| PeerResponse {
        site: peer.peer.to_string(),
        name: name(&peer),
        member: peer.member,
        inviter: false,
        connected: peer.connected,
        address: peer.address.map(|address| address.to_string()),
        outbound: peer.outbound,
        round_trip_ms: peer.round_trip_ms,
        dial_failures: peer.dial_failures,
        dial_error: peer.dial_error,
        known_addresses: peer.known_addresses.iter().map(ToString::to_string).collect(),
        version: peer.version,
        received_bytes: peer.received_bytes,
        sent_bytes: peer.sent_bytes,
    };
    let standing = StandingResponse::of(handle.standing().await?, &names);
    let mut peers: Vec<_> = handle.peers().await?.into_iter().map(peer).collect();
    note_inviter(&mut peers, &standing);
    let hour = |hour: HourTraffic| {
        let HourTraffic { begins_s, received_bytes, sent_bytes } = hour;
        let hour = rfc3339(i64::try_from(begins_s.saturating_mul(1_000)).ok()?)?;
        Some(TrafficResponse { hour, received_bytes, sent_bytes })
    };
    let traffic = handle.traffic().into_iter().filter_map(hour).collect();
    Ok(Json(PeersResponse { peers, traffic, standing }))
}

/// The site that made this one's ticket is looked for as well.
fn note_inviter(peers: &mut Vec<PeerResponse>, standing: &StandingResponse) {
    let StandingResponse { by, by_name, attempts, error, addresses, .. } = standing;
    let Some(inviter) = by.clone().filter(|_| !addresses.is_empty()) else { return };
    let known = peers.iter().position(|peer| peer.site == inviter);
    let place = known.unwrap_or_else(|| {
        peers.push(PeerResponse {
            site: inviter,
            name: by_name.clone(),
            member: false,
            inviter: true,
            connected: false,
            address: None,
            outbound: None,
            round_trip_ms: None,
            dial_failures: 0,
            dial_error: None,
            known_addresses: Vec::new(),
            version: None,
            received_bytes: 0,
            sent_bytes: 0,
        });
        peers.len() - 1
    });
    let peer = &mut peers[place];
    peer.inviter = true;
    peer.dial_failures = peer.dial_failures.max(u32::try_from(*attempts).unwrap_or(u32::MAX));
    if error.is_some() {
        peer.dial_error.clone_from(error);
    }
    for address in addresses {
        if !peer.known_addresses.contains(address) {
            peer.known_addresses.push(address.clone());
        }
    }
}
