//! `space`: what some sites share and the others learn nothing of.

use std::fmt::Display;

use axum::http::Method;
use branchline_node::api::{
    DecisionResponse, GrantRequest, SiteResponse, SpaceRequest, SpaceResponse, SpacesResponse,
};

use crate::Context;
use crate::args::SpaceCommand;
use crate::client::encoded;
use crate::error::CliError;
use crate::output::{self, counted, counted_entries};

pub(crate) async fn run(context: &Context, command: SpaceCommand) -> Result<(), CliError> {
    match command {
        SpaceCommand::Create { name } => create(context, name).await,
        SpaceCommand::Grant { space, site, role } => {
            let request = GrantRequest { role: role.to_string() };
            let body = serde_json::to_vec(&request).map_err(std::io::Error::from)?;
            let body = Some(("application/json", body));
            let path = of_site(&space, &site);
            let done = format_args!("{site} is {role} in space {space} now");
            decide(context, Method::PUT, &path, body, done).await
        }
        SpaceCommand::Revoke { space, site, yes } => {
            let question = format_args!(
                "{site} can come back into space {space} only under another key. Shut it out?"
            );
            output::require_yes(yes, question)?;
            let path = of_site(&space, &site);
            let done = format_args!(
                "{site} is in space {space} no more: what it holds of it stays there, and nothing more comes"
            );
            decide(context, Method::DELETE, &path, None, done).await
        }
        SpaceCommand::Leave { space, yes } => {
            let question = format_args!(
                "this site can come back into space {space} only under another key. Leave it?"
            );
            output::require_yes(yes, question)?;
            let path = format!("/v1/spaces/{}/leave", encoded(&space));
            let done = format_args!(
                "this site has left space {space}: what it holds of it stays, and nothing more comes"
            );
            decide(context, Method::POST, &path, None, done).await
        }
        SpaceCommand::List => list(context).await,
        SpaceCommand::Show { space } => show(context, &space).await,
    }
}

fn of_site(space: &str, site: &str) -> String {
    format!("/v1/spaces/{}/sites/{}", encoded(space), encoded(site))
}

async fn create(context: &Context, name: String) -> Result<(), CliError> {
    let space: SpaceResponse = context.client.post("/v1/spaces", &SpaceRequest { name }).await?;
    if context.json {
        return output::json(&space);
    }
    let name = space.name;
    output::note(format_args!(
        "space {name} is created: `branchline space grant {name} SITE` adds a site"
    ));
    Ok(())
}

async fn decide(
    context: &Context,
    method: Method,
    path: &str,
    body: Option<(&str, Vec<u8>)>,
    done: impl Display,
) -> Result<(), CliError> {
    let answer: DecisionResponse = context.client.ask(method, path, body).await?;
    if context.json {
        return output::json(&answer);
    }
    output::note(done);
    Ok(())
}

async fn list(context: &Context) -> Result<(), CliError> {
    let SpacesResponse { spaces } = context.client.get("/v1/spaces").await?;
    if context.json {
        return output::json(&SpacesResponse { spaces });
    }
    if spaces.is_empty() {
        output::note("this site is in no space but main: `branchline space create NAME` makes one");
        return Ok(());
    }
    let row = |space: SpaceResponse| {
        let names: Vec<_> = space.sites.iter().map(|site| site.name.clone()).collect();
        let role = role(&space);
        [space.name, role, space.records.to_string(), names.join(", "), space.id]
    };
    output::table(["NAME", "ROLE", "RECORDS", "SITES", "ID"], spaces.into_iter().map(row).collect())
}

/// What this site may do in a space, or why it may not.
fn role(space: &SpaceResponse) -> String {
    match (&space.role, space.left, &space.revoked_by) {
        (Some(role), false, None) => role.clone(),
        (_, true, _) => "left".to_owned(),
        (_, false, Some(_)) => "revoked".to_owned(),
        (None, false, None) => "none".to_owned(),
    }
}

async fn show(context: &Context, space: &str) -> Result<(), CliError> {
    let path = format!("/v1/spaces/{}", encoded(space));
    let space: SpaceResponse = context.client.get(&path).await?;
    if context.json {
        return output::json(&space);
    }
    output::line(format_args!("space    {} ({})", space.name, space.id))?;
    output::line(format_args!("role     {}", role(&space)))?;
    output::line(format_args!(
        "holds    {} in {}, digest {}",
        counted(space.records, "record"),
        counted_entries(space.entries),
        space.digest
    ))?;
    let row = |site: SiteResponse| {
        let behind = match (site.lag_entries, site.ahead_entries) {
            (None, _) => "not confirmed: never heard".to_owned(),
            (Some(0), Some(0) | None) => "in step".to_owned(),
            (Some(0), Some(ahead)) => format!("{ahead} ahead"),
            (Some(lag), _) => format!("{lag} not confirmed"),
        };
        let link = if site.connected { "connected" } else { "not connected" };
        [site.name, site.role, link.to_owned(), behind]
    };
    let rows = space.sites.into_iter().map(row).collect();
    output::table(["SITE", "ROLE", "LINK", "ENTRIES"], rows)
}
