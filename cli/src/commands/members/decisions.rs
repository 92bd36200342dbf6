//! `revoke`, `role`, `rename`.

use std::io;

use axum::http::Method;
use branchline_crdt::membership::Role;
use branchline_node::api::{
    AdmittedResponse, DecisionResponse, LetInResponse, MemberChange, RevocationResponse,
};

use crate::Context;
use crate::client::encoded;
use crate::error::CliError;
use crate::output::{self, visible};

/// Shuts a site out.
pub(crate) async fn revoke(
    context: &Context,
    site: &str,
    with_admitted: bool,
    yes: bool,
) -> Result<(), CliError> {
    let path = format!("/v1/members/{}", encoded(site));
    let AdmittedResponse { admitted, .. } = context.client.get(&format!("{path}/admitted")).await?;
    let with = if with_admitted && !admitted.is_empty() {
        format!(", and neither can whom it let in: {}", names(&admitted))
    } else {
        String::new()
    };
    let question = format_args!("{site} can never come back under its key{with}. Revoke it?");
    output::require_yes(yes, question)?;
    let path = format!("{path}?with_admitted={with_admitted}");
    let answer: RevocationResponse = context.client.ask(Method::DELETE, &path, None).await?;
    if context.json {
        output::json(&answer)?;
    }
    output::note(format_args!(
        "{site} is revoked: what it writes from now on counts nowhere, and nobody syncs with it once they know"
    ));
    if !answer.with.is_empty() {
        output::note(format_args!("revoked with it: {}", names(&answer.with)));
    }
    if !answer.admitted.is_empty() {
        output::note(format_args!(
            "it let in {}, who stay; `branchline revoke --with-admitted {site}` shuts them out as well",
            names(&answer.admitted)
        ));
    }
    Ok(())
}

fn names(sites: &[LetInResponse]) -> String {
    sites.iter().map(|site| visible(&site.name)).collect::<Vec<_>>().join(", ")
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
