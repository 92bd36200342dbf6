//! Decisions of members: who goes, who may do what, who is called how.

use axum::Json;
use axum::extract::State;
use branchline_crdt::membership::Role;
use branchline_crdt::replica::Decision;
use branchline_crdt::{ids::SiteId, replica::DecisionError};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::api::error::{ApiError, Code, text_of};
use crate::api::params::extract::{JsonBody, Named};
use crate::handle::{Handle, NotDecided};

/// What is to change of a member.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct MemberChange {
    /// `reader`, `writer` or `admin`.
    pub role: Option<String>,
    /// Another name.
    pub name: Option<String>,
}

/// The member that was decided of.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct DecisionResponse {
    /// Its id.
    pub site: String,
}

/// Shuts a site out for good.
#[utoipa::path(
    delete,
    path = "/v1/members/{site}",
    operation_id = "revoke_member",
    params(("site" = String, Path, description = "Its name or id.")),
    responses((status = OK, description = "The site is shut out, wherever that is known.", body = DecisionResponse)),
)]
pub(crate) async fn revoke(
    State(handle): State<Handle>,
    Named(site): Named<String>,
) -> Result<Json<DecisionResponse>, ApiError> {
    let site = find(&handle, &site).await?;
    handle.decide(Decision::Revoke { site }).await?;
    Ok(Json(DecisionResponse { site: site.to_string() }))
}

/// Gives a member another role or name.
#[utoipa::path(
    patch,
    path = "/v1/members/{site}",
    operation_id = "change_member",
    params(("site" = String, Path, description = "Its name or id.")),
    request_body = MemberChange,
    responses((status = OK, description = "Role and name are changed.", body = DecisionResponse)),
)]
pub(crate) async fn change(
    State(handle): State<Handle>,
    Named(site): Named<String>,
    JsonBody(change): JsonBody<MemberChange>,
) -> Result<Json<DecisionResponse>, ApiError> {
    let bad = |message: String| ApiError::new(Code::BadParameter, message);
    let role = change.role.as_deref().map(str::parse::<Role>).transpose();
    let role = role.map_err(|error| bad(text_of(&error)))?;
    let site = find(&handle, &site).await?;
    if let Some(role) = role {
        handle.decide(Decision::ChangeRole { site, role }).await?;
    }
    if let Some(name) = change.name {
        handle.decide(Decision::Rename { site, name }).await?;
    }
    Ok(Json(DecisionResponse { site: site.to_string() }))
}

/// The site that a user means by a name or an id, member or not any more.
pub(crate) async fn find(handle: &Handle, text: &str) -> Result<SiteId, ApiError> {
    let status = handle.replica_status().await?;
    let members = status.sites.iter().map(|site| (site.site, &site.name));
    let revoked = status.revoked.iter().map(|site| (site.site, &site.name));
    let mut known = members.chain(revoked);
    let found = known.find(|(site, name)| *name == text || site.to_string() == text);
    let former = || status.former.iter().find(|(former, _)| former.to_string() == text);
    let found = found.map(|(site, _)| site).or_else(|| former().map(|(_, site)| *site));
    found.ok_or_else(|| {
        ApiError::new(Code::MemberNotFound, format!("no member is called {text:?}"))
            .hint("`branchline members` shows all, with their ids")
    })
}

impl From<NotDecided> for ApiError {
    fn from(error: NotDecided) -> Self {
        let error = match error {
            NotDecided::Stopped(error) => return error.into(),
            NotDecided::Decision(error) => error,
        };
        match &error {
            DecisionError::NoMember => Self::no_network(),
            DecisionError::Revoked { .. } => Self::of(Code::SiteRevoked, &error),
            DecisionError::OutOfSpace { .. } => Self::of(Code::SpaceClosed, &error),
            DecisionError::Role { .. } => Self::of(Code::RoleMissing, &error)
                .hint("`branchline members` shows who is an admin"),
            DecisionError::UnknownSite { .. } => Self::of(Code::MemberNotFound, &error),
            DecisionError::UnknownSpace => Self::of(Code::SpaceNotFound, &error),
            DecisionError::Name(_) | DecisionError::SpaceName(_) => Self::of(Code::BadName, &error),
            DecisionError::AlreadyRevoked { .. }
            | DecisionError::Oneself
            | DecisionError::LastAdmin
            | DecisionError::NotFresh
            | DecisionError::SpaceNameTaken { .. }
            | DecisionError::TooManySpaces
            | DecisionError::NotInSpace { .. }
            | DecisionError::OnlyHere { .. }
            | DecisionError::NameTaken { .. } => Self::of(Code::DecisionRefused, &error),
            DecisionError::Senior { .. } => Self::of(Code::DecisionRefused, &error)
                .hint("`branchline members` lists the sites by how long they belong to it"),
            DecisionError::Unwritable { .. } => Self::of(Code::Unwritable, &error)
                .hint("make room on the disk, or mend it, and try again"),
        }
    }
}
