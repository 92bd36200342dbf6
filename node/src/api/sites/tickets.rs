//! The tickets of the network that are open: listed, and withdrawn.

use axum::Json;
use axum::extract::State;
use branchline_crdt::ids::SiteId;
use branchline_crdt::membership::TicketStanding;
use branchline_crdt::replica::Decision;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::api::error::{ApiError, Code};
use crate::api::params::extract::Named;
use crate::api::texts::{name_of, rfc3339};
use crate::clock::wall_ms;
use crate::handle::Handle;

/// The open tickets.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct InvitesResponse {
    /// Those of all admins.
    pub invites: Vec<OpenInviteResponse>,
}

/// A ticket by which sites can still come. The ticket itself is known only to who holds it.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct OpenInviteResponse {
    /// Its id.
    pub id: String,
    /// What it gives.
    pub role: String,
    /// The name of the admin who made it.
    pub issuer: String,
    /// What it is for, by that admin.
    pub note: String,
    /// How many sites it admits.
    pub sites: u16,
    /// The names of those that came by it.
    pub admitted: Vec<String>,
    /// After this moment (RFC 3339) no member lets in by it.
    pub expires: Option<String>,
    /// Whether that is over by this machine's clock: its maker's node withdraws it as soon as it runs.
    pub expired: bool,
}

/// The ticket that was withdrawn.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct WithdrawnResponse {
    /// Its id.
    pub id: String,
}

/// The tickets by which sites can still come.
#[utoipa::path(
    get,
    path = "/v1/invites",
    operation_id = "list_invites",
    responses((status = OK, description = "The open tickets.", body = InvitesResponse)),
)]
pub(crate) async fn list(State(handle): State<Handle>) -> Result<Json<InvitesResponse>, ApiError> {
    let (now, names) = (wall_ms(), handle.names().await?);
    let invite = |ticket: TicketStanding| OpenInviteResponse {
        id: id_of(&ticket.ticket),
        role: ticket.role.to_string(),
        issuer: name_of(ticket.issuer, &names),
        note: ticket.note,
        sites: ticket.places,
        admitted: ticket.admitted.iter().map(|site| name_of(*site, &names)).collect(),
        expires: rfc3339(ticket.expires_ms),
        expired: ticket.expires_ms < now,
    };
    let open = open(&handle).await?;
    Ok(Json(InvitesResponse { invites: open.into_iter().map(invite).collect() }))
}

/// Withdraws a ticket: nobody comes by it any more.
#[utoipa::path(
    delete,
    path = "/v1/invites/{ticket}",
    operation_id = "withdraw_invite",
    params(("ticket" = String, Path, description = "Its id or the beginning of that, or its note.")),
    responses((status = OK, description = "The ticket is withdrawn.", body = WithdrawnResponse)),
)]
pub(crate) async fn withdraw(
    State(handle): State<Handle>,
    Named(text): Named<String>,
) -> Result<Json<WithdrawnResponse>, ApiError> {
    let open = open(&handle).await?;
    let is_meant = |ticket: &&TicketStanding| {
        ticket.note == text
            || text.len() >= ID_CHARS_MIN && id_of(&ticket.ticket).starts_with(&text)
    };
    let meant: Vec<_> = open.iter().filter(is_meant).map(|ticket| ticket.ticket).collect();
    let [ticket] = meant[..] else {
        let message = match meant.len() {
            0 => format!("no open ticket has the id or note {text:?}"),
            several => format!("{several} open tickets have the id or note {text:?}"),
        };
        return Err(ApiError::new(Code::TicketNotFound, message)
            .hint("`branchline invite list` shows open tickets with their ids"));
    };
    handle.decide(Decision::Withdraw { ticket }).await?;
    Ok(Json(WithdrawnResponse { id: id_of(&ticket) }))
}

async fn open(handle: &Handle) -> Result<Vec<TicketStanding>, ApiError> {
    let mut tickets = handle.tickets().await?;
    tickets.retain(TicketStanding::is_open);
    tickets.sort_by_key(|ticket| (ticket.expires_ms, ticket.ticket));
    Ok(tickets)
}

/// A ticket's id as people see it.
pub(super) fn id_of(ticket: &SiteId) -> String {
    ticket.0[..ID_BYTES].iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Of the public half of its secret: enough that no two tickets of a network have the same.
const ID_BYTES: usize = 8;
/// Fewer characters of an id are taken for a note alone.
const ID_CHARS_MIN: usize = 4;
