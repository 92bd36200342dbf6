//! Decisions of members: who goes, who may do what, who is called how.

use axum::Json;
use axum::extract::State;
use branchline_crdt::membership::Role;
use branchline_crdt::replica::Decision;
use branchline_crdt::{ids::SiteId, replica::DecisionError};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::api::error::{ApiError, Code, text_of};
use crate::api::params::extract::{JsonBody, Named, Params};
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

/// A site that another one let in.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct LetInResponse {
    /// Its id.
    pub site: String,
    /// Its name.
    pub name: String,
    /// What it may do.
    pub role: String,
}

/// The members that came by a site, and by those in turn.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct AdmittedResponse {
    /// Its id.
    pub site: String,
    /// They came by its ticket, or it took their ticket; the most senior first.
    pub admitted: Vec<LetInResponse>,
}

/// The site that was shut out.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct RevocationResponse {
    /// Its id.
    pub site: String,
    /// The members that it had let in, and they in turn, which were shut out with it.
    pub with: Vec<LetInResponse>,
    /// Those that stay.
    pub admitted: Vec<LetInResponse>,
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct With {
    /// Whether the members are shut out too that it let in, and they in turn.
    #[serde(default)]
    with_admitted: bool,
}

/// The members that a site let in, and they in turn.
#[utoipa::path(
    get,
    path = "/v1/members/{site}/admitted",
    operation_id = "list_admitted",
    params(("site" = String, Path, description = "Its name or id.")),
    responses((status = OK, description = "The members that joined with it.", body = AdmittedResponse)),
)]
pub(crate) async fn admitted(
    State(handle): State<Handle>,
    Named(site): Named<String>,
) -> Result<Json<AdmittedResponse>, ApiError> {
    let site = find(&handle, &site).await?;
    let admitted = let_in(&handle, site).await?.into_iter().map(|(_, shown)| shown).collect();
    Ok(Json(AdmittedResponse { site: site.to_string(), admitted }))
}

async fn let_in(handle: &Handle, site: SiteId) -> Result<Vec<(SiteId, LetInResponse)>, ApiError> {
    let let_in = handle.let_in_by(site).await?;
    let status = handle.replica_status().await?;
    let shown = |site: SiteId| {
        let member = status.sites.iter().find(|member| member.site == site)?;
        let (name, role) = (member.name.clone(), member.role.to_string());
        Some((site, LetInResponse { site: site.to_string(), name, role }))
    };
    Ok(let_in.into_iter().filter_map(shown).collect())
}

/// Shuts a site out for good.
#[utoipa::path(
    delete,
    path = "/v1/members/{site}",
    operation_id = "revoke_member",
    params(("site" = String, Path, description = "Its name or id."), With),
    responses((status = OK, description = "The site is shut out, wherever that is known.", body = RevocationResponse)),
)]
pub(crate) async fn revoke(
    State(handle): State<Handle>,
    Named(site): Named<String>,
    Params(With { with_admitted }): Params<With>,
) -> Result<Json<RevocationResponse>, ApiError> {
    let site = find(&handle, &site).await?;
    let let_in = let_in(&handle, site).await?;
    match handle.decide(Decision::Revoke { site }).await {
        // Those whom it let in are left.
        Err(NotDecided::Decision(DecisionError::AlreadyRevoked { .. }))
            if with_admitted && !let_in.is_empty() => {}
        decided => decided?,
    }
    let (mut with, mut admitted) = (Vec::new(), Vec::new());
    for (site, shown) in let_in {
        // One that is this site, or its senior, stays.
        let is_out = with_admitted && handle.decide(Decision::Revoke { site }).await.is_ok();
        if is_out { &mut with } else { &mut admitted }.push(shown);
    }
    Ok(Json(RevocationResponse { site: site.to_string(), with, admitted }))
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
    let disputed = status.disputed.iter().map(|(site, disputed)| (*site, &disputed.name));
    let mut known = members.chain(revoked).chain(disputed);
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
            DecisionError::NoTicket { .. } => Self::of(Code::TicketNotFound, &error)
                .hint("`branchline invite list` shows open tickets"),
            DecisionError::Ticket => Self::of(Code::BadParameter, &error),
            DecisionError::UnknownSite { .. } => Self::of(Code::MemberNotFound, &error),
            DecisionError::UnknownSpace => Self::of(Code::SpaceNotFound, &error),
            DecisionError::Name(_) | DecisionError::SpaceName(_) => Self::of(Code::BadName, &error),
            DecisionError::AlreadyRevoked { .. } => Self::of(Code::DecisionRefused, &error)
                .hint("`branchline rotate` there gives it another key, once it knows that it is out"),
            DecisionError::LastAdmin => Self::of(Code::DecisionRefused, &error).hint(
                "`branchline role SITE admin` makes one, in a space `branchline space grant SPACE SITE admin`",
            ),
            DecisionError::OnlyHere { .. } => Self::of(Code::DecisionRefused, &error)
                .hint("`branchline sync` asks the others"),
            DecisionError::Oneself
            | DecisionError::NotFresh
            | DecisionError::SpaceNameTaken { .. }
            | DecisionError::TooManySpaces
            | DecisionError::NotInSpace { .. }
            | DecisionError::NameTaken { .. } => Self::of(Code::DecisionRefused, &error),
            DecisionError::Senior { .. } => Self::of(Code::DecisionRefused, &error)
                .hint("`branchline members` lists the sites by how long they belong to it"),
            DecisionError::Unwritable { .. } => Self::of(Code::Unwritable, &error)
                .hint("free some disk space, or fix the disk, and try again"),
        }
    }
}
