//! `revoke`, `role`, `rename`.

use std::io;

use axum::http::Method;
use branchline_crdt::membership::Role;
use branchline_node::api::{DecisionResponse, MemberChange};

use crate::Context;
use crate::client::encoded;
use crate::error::CliError;
use crate::output;

/// Shuts a site out.
pub(crate) async fn revoke(context: &Context, site: &str, yes: bool) -> Result<(), CliError> {
    let question = format_args!("{site} can never come back under its key. Revoke it?");
    output::demand_yes(yes, question)?;
    decide(context, Method::DELETE, site, None).await?;
    output::note(format_args!(
        "{site} is revoked: what it writes from now on counts nowhere, and nobody syncs with it once they know"
    ));
    Ok(())
}

/// Lets a site do more or less.
pub(crate) async fn role(context: &Context, site: &str, role: Role) -> Result<(), CliError> {
    let change = MemberChange { role: Some(role.to_string()), name: None };
    decide(context, Method::PATCH, site, Some(change)).await?;
    output::note(format_args!("{site} is {role} now"));
    Ok(())
}

/// Calls a site otherwise.
pub(crate) async fn rename(context: &Context, site: &str, name: String) -> Result<(), CliError> {
    let change = MemberChange { role: None, name: Some(name.clone()) };
    decide(context, Method::PATCH, site, Some(change)).await?;
    output::note(format_args!("{site} is called {name} now"));
    Ok(())
}

async fn decide(
    context: &Context,
    method: Method,
    site: &str,
    change: Option<MemberChange>,
) -> Result<(), CliError> {
    let body = change.map(|change| serde_json::to_vec(&change)).transpose();
    let body = body.map_err(io::Error::from)?.map(|bytes| ("application/json", bytes));
    let path = format!("/v1/members/{}", encoded(site));
    let answer: DecisionResponse = context.client.ask(method, &path, body).await?;
    if context.json { output::json(&answer) } else { Ok(()) }
}
