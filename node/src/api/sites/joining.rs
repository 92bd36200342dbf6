//! Tickets: made here, and taken up here.

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use branchline_crdt::membership::{Role, Ticket};
use libp2p::Multiaddr;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::tickets::id_of;
use crate::api::error::{ApiError, Code, text_of};
use crate::api::params::extract::JsonBody;
use crate::api::texts::rfc3339;
use crate::handle::Handle;

/// How long a ticket is good where nothing is asked for.
const LIFETIME_SECONDS: u64 = 24 * 60 * 60;
/// Longest life of a ticket. A forgotten one should not open the network years later.
const LIFETIME_SECONDS_MAX: u64 = 366 * 24 * 60 * 60;

/// The ticket that is wanted.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct InviteRequest {
    /// `reader`, `writer` (taken if none is given) or `admin`.
    pub role: Option<String>,
    /// How long it is to be good; a day if not given.
    pub expires_seconds: Option<u64>,
    /// How many sites it is to admit; one if not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sites: Option<u16>,
    /// What it is for. All members can read that, and it can be withdrawn by it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// Multiaddresses at which the new site is to look for this one; empty: all that are known.
    #[serde(default)]
    pub addresses: Vec<String>,
}

/// A ticket. Anyone who holds it can become a member.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct InviteResponse {
    /// The ticket.
    pub ticket: String,
    /// By which it is listed, and can be withdrawn.
    pub id: String,
    /// How many sites it admits.
    pub sites: u16,
    /// What its holder will be allowed.
    pub role: String,
    /// After this moment (RFC 3339) it admits nobody.
    pub expires: Option<String>,
    /// Where the new site will look for this one.
    pub addresses: Vec<String>,
}

/// A ticket to be taken up.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct JoinRequest {
    /// The ticket.
    pub ticket: String,
}

/// The ticket is kept; the site joins as soon as it reaches a member.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct JoinResponse {
    /// The network, in hex.
    pub network: String,
    /// The role that the ticket gives.
    pub role: String,
}

/// Makes a ticket for one new site, or for several.
#[utoipa::path(
    post,
    path = "/v1/invites",
    operation_id = "create_invite",
    request_body = InviteRequest,
    responses((status = OK, description = "The ticket.", body = InviteResponse)),
)]
pub(crate) async fn invite(
    State(handle): State<Handle>,
    JsonBody(request): JsonBody<InviteRequest>,
) -> Result<Json<InviteResponse>, ApiError> {
    let bad = |message: String| ApiError::new(Code::BadParameter, message);
    let role: Role = match &request.role {
        Some(role) => role.parse().map_err(|error| bad(text_of(&error)))?,
        None => Role::Writer,
    };
    let seconds = request.expires_seconds.unwrap_or(LIFETIME_SECONDS);
    if !(1..=LIFETIME_SECONDS_MAX).contains(&seconds) {
        return Err(bad(format!(
            "expires_seconds is {seconds}, expected 1 to {LIFETIME_SECONDS_MAX}"
        )));
    }
    let parse = |text: &String| {
        let parsed: Result<Multiaddr, _> = text.parse();
        parsed.map_err(|error| bad(format!("address {text:?} is not a multiaddress: {error}")))
    };
    let addresses = request.addresses.iter().map(parse).collect::<Result<Vec<_>, _>>()?;
    let (places, note) = (request.sites.unwrap_or(1), request.note.unwrap_or_default());
    let lifetime = Duration::from_secs(seconds);
    let ticket = handle.make_ticket(role, lifetime, addresses, places, note).await?;
    Ok(Json(InviteResponse {
        ticket: ticket.to_string(),
        id: id_of(&ticket.grant.ticket),
        sites: places,
        role: role.to_string(),
        expires: rfc3339(ticket.grant.expires_ms),
        addresses: ticket.addresses,
    }))
}

/// Takes up a ticket: the site joins as soon as it reaches a member.
#[utoipa::path(
    post,
    path = "/v1/join",
    operation_id = "join_network",
    request_body = JoinRequest,
    responses((status = OK, description = "The ticket is kept.", body = JoinResponse)),
)]
pub(crate) async fn join(
    State(handle): State<Handle>,
    JsonBody(request): JsonBody<JoinRequest>,
) -> Result<Json<JoinResponse>, ApiError> {
    let ticket: Ticket =
        request.ticket.parse().map_err(|error| ApiError::of(Code::BadTicket, &error))?;
    let (network, role) = (ticket.grant.realm.to_string(), ticket.grant.role.to_string());
    handle.join(ticket).await?;
    Ok(Json(JoinResponse { network, role }))
}
