//! `invite`, `join`, `peers`.

use std::time::Duration;

use branchline_node::api::{
    InviteRequest, InviteResponse, JoinRequest, JoinResponse, PeerResponse, PeersResponse,
    StandingResponse, StatusResponse,
};
use serde_json::json;
use tokio::time::{Instant, sleep};

use super::ticket::{self, TicketFile};
use crate::Context;
use crate::args::TicketArgs;
use crate::commands::site::status::size;
use crate::error::CliError;
use crate::output::{self, visible};

/// How long a running node's membership is waited for.
const JOIN_PATIENCE: Duration = Duration::from_secs(10);
const JOIN_PAUSE: Duration = Duration::from_millis(100);

/// Prints a ticket.
pub(crate) async fn invite(context: &Context, args: TicketArgs) -> Result<(), CliError> {
    let request = InviteRequest {
        role: Some(args.role.to_string()),
        expires_seconds: Some(args.expires.as_secs()),
        sites: Some(args.sites),
        note: args.note.clone(),
        addresses: args.address.iter().map(ToString::to_string).collect(),
    };
    let file = args.output.as_deref().map(TicketFile::create).transpose()?;
    let invite: InviteResponse = context.client.post("/v1/invites", &request).await?;
    let InviteResponse { ticket, id, sites, role, expires, addresses } = &invite;
    if let Some(file) = file {
        file.write(ticket)?;
        if context.json {
            // Not the ticket, which is for the file alone.
            output::json(
                &json!({ "file": args.output, "id": id, "sites": sites, "role": role, "expires": expires, "addresses": addresses }),
            )?;
        }
    } else if context.json {
        return output::json(&invite);
    } else {
        output::line(ticket)?;
    }
    let expires = expires.as_deref().unwrap_or_default();
    let admits = match sites {
        1 => format!("one {role}"),
        several => format!("{several} sites as {role}"),
    };
    output::note(format_args!("ticket {id} admits {admits} until {expires}; keep it secret"));
    if !context.client.is_running() {
        output::note("the new site can join while this one runs: `branchline run`");
    }
    Ok(())
}

/// Joins with a ticket.
pub(crate) async fn join(context: &Context, ticket: String) -> Result<(), CliError> {
    let request = JoinRequest { ticket: ticket::read(&ticket)? };
    let JoinResponse { network, role } = context.client.post("/v1/join", &request).await?;
    if !context.client.is_running() {
        output::note(format_args!(
            "the ticket is kept: this site joins network {network} as {role} when it next runs (`branchline run`)"
        ));
        return Ok(());
    }
    let deadline = Instant::now() + JOIN_PATIENCE;
    let StandingResponse { error, hint, .. } = loop {
        let is_late = Instant::now() >= deadline;
        let status: StatusResponse = context.client.get("/v1/status").await?;
        if status.member {
            output::note(format_args!(
                "this site is a member of network {network} now, as {} ({role})",
                status.name
            ));
            return Ok(());
        }
        if let Some(reason) = status.join_refused {
            return Err(CliError::failed(format!("the ticket was refused: {reason}"))
                .hint("ask an admin for a new one, made with `branchline invite`"));
        }
        if is_late {
            break status.standing;
        }
        sleep(JOIN_PAUSE).await;
    };
    let error = error.map(|error| format!(" ({})", visible(&error))).unwrap_or_default();
    output::note(format_args!(
        "the ticket is kept, but no member could be reached within {} s{error}; the node keeps trying (`branchline status` shows how it goes)",
        JOIN_PATIENCE.as_secs()
    ));
    if let Some(hint) = hint {
        output::note(format_args!("\nhint: {hint}"));
    }
    Ok(())
}

/// Shows the connections.
pub(crate) async fn peers(context: &Context) -> Result<(), CliError> {
    let answer: PeersResponse = context.client.get("/v1/peers").await?;
    if context.json {
        return output::json(&answer);
    }
    let standing = &answer.standing;
    if let Some(reason) = &standing.reason {
        output::line(visible(reason))?;
    }
    if !context.client.is_running() {
        output::note("the node is not running, so it has no connections: `branchline run`");
        return Ok(());
    }
    if let Some(hint) = standing.hint.as_ref().filter(|_| answer.peers.is_empty()) {
        output::note(format_args!("\nhint: {hint}"));
        return Ok(());
    }
    if answer.peers.is_empty() {
        output::note("no other site is known yet: `branchline invite` makes a ticket for one");
        return Ok(());
    }
    let rows = answer.peers.into_iter().map(peer_row).collect();
    let heading =
        ["NAME", "LINK", "ROUND TRIP", "RECEIVED", "SENT", "VERSION", "ADDRESS", "LAST DIAL ERROR"];
    output::table(heading, rows)
}

fn peer_row(peer: PeerResponse) -> [String; 8] {
    let name = visible(peer.name.as_deref().unwrap_or(&peer.site));
    let name = match (peer.member, peer.inviter) {
        (true, _) => name,
        (false, true) => format!("{name} (made the ticket)"),
        (false, false) => format!("{name} (no member)"),
    };
    let link = match (peer.connected, peer.outbound) {
        (false, _) if peer.dial_failures > 0 => {
            format!("down, {} failed", output::counted(peer.dial_failures.into(), "dial"))
        }
        (false, _) => "down".to_owned(),
        (true, Some(true)) => "up, dialled".to_owned(),
        (true, Some(false)) => "up, accepted".to_owned(),
        (true, None) => "up".to_owned(),
    };
    let round_trip = peer.round_trip_ms.map(|ms| format!("{ms:.1} ms")).unwrap_or_default();
    let address =
        peer.address.filter(|_| peer.connected).or(peer.known_addresses.into_iter().next());
    let error = peer.dial_error.filter(|_| !peer.connected).unwrap_or_default();
    let error = visible(error.trim_end_matches([':', ' ']));
    let (received, sent) = (size(peer.received_bytes), size(peer.sent_bytes));
    let version = visible(peer.version.as_deref().unwrap_or("not known"));
    [name, link, round_trip, received, sent, version, address.unwrap_or_default(), error]
}
