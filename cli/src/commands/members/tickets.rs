//! `invite list` and `invite withdraw`.

use axum::http::Method;
use branchline_node::api::{InvitesResponse, OpenInviteResponse, WithdrawnResponse};

use crate::Context;
use crate::args::InviteCommand;
use crate::client::encoded;
use crate::error::CliError;
use crate::output::{self, visible};

pub(crate) async fn run(context: &Context, command: InviteCommand) -> Result<(), CliError> {
    match command {
        InviteCommand::List => list(context).await,
        InviteCommand::Withdraw { ticket } => withdraw(context, &ticket).await,
    }
}

async fn list(context: &Context) -> Result<(), CliError> {
    let answer: InvitesResponse = context.client.get("/v1/invites").await?;
    if context.json {
        return output::json(&answer);
    }
    if answer.invites.is_empty() {
        output::note("no ticket is open");
        return Ok(());
    }
    let row = |invite: OpenInviteResponse| {
        let mut admits = format!("{} of {}", invite.admitted.len(), invite.sites);
        if !invite.admitted.is_empty() {
            let names: Vec<_> = invite.admitted.iter().map(|name| visible(name)).collect();
            admits = format!("{admits} ({})", names.join(", "));
        }
        let mut expires = invite.expires.unwrap_or_default();
        if invite.expired {
            expires += " (over)";
        }
        [invite.id, invite.role, visible(&invite.issuer), admits, expires, visible(&invite.note)]
    };
    let rows = answer.invites.into_iter().map(row).collect();
    output::table(["TICKET", "ROLE", "MADE BY", "TAKEN UP", "EXPIRES", "NOTE"], rows)
}

async fn withdraw(context: &Context, ticket: &str) -> Result<(), CliError> {
    let path = format!("/v1/invites/{}", encoded(ticket));
    let answer: WithdrawnResponse = context.client.ask(Method::DELETE, &path, None).await?;
    if context.json {
        return output::json(&answer);
    }
    output::note(format_args!(
        "ticket {} is withdrawn: nobody can join with it any more",
        answer.id
    ));
    Ok(())
}
