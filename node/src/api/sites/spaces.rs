//! Private spaces: which there are, who is in them, and what is decided of that.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use branchline_crdt::ids::RealmId;
use branchline_crdt::membership::Role;
use branchline_crdt::replica::{Decision, SpaceDecision, SpaceStatus};
use branchline_crdt::store::read;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::decisions::{DecisionResponse, find};
use super::status::SiteResponse;
use crate::api::error::{ApiError, Code, text_of};
use crate::api::params::extract::{JsonBody, Named};
use crate::handle::{Handle, SpaceNotFound, live_records};

/// The private spaces that this site holds, by name.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct SpacesResponse {
    /// The spaces.
    pub spaces: Vec<SpaceResponse>,
}

/// A private space.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct SpaceResponse {
    /// Its name.
    pub name: String,
    /// Its id, in hex: names it where two spaces are called the same.
    pub id: String,
    /// What this site may do in it: `reader`, `writer` or `admin`. `None`: it is not in it any more.
    pub role: Option<String>,
    /// Whether this site left it.
    pub left: bool,
    /// The id of the admin who shut this site out of it, if one did.
    pub revoked_by: Option<String>,
    /// Records that are not deleted, over all collections.
    pub records: u64,
    /// Digest of its records, in hex: equal wherever the same is held.
    pub digest: String,
    /// Entries held.
    pub entries: u64,
    /// Entries of this site among them.
    pub own_entries: u64,
    /// Entries held that this program is too old to apply.
    pub entries_unapplied: u64,
    /// The sites that are in it, this one first, then the most senior.
    pub sites: Vec<SiteResponse>,
}

/// A space that is to be made.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SpaceRequest {
    /// Its name: letters a to z, digits, - and _, beginning with a letter.
    pub name: String,
}

/// What a site may do in a space from now on.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct GrantRequest {
    /// `reader`, `writer` or `admin`.
    pub role: String,
}

/// The private spaces that this site holds.
#[utoipa::path(
    get,
    path = "/v1/spaces",
    operation_id = "list_spaces",
    responses((status = OK, description = "All, by name.", body = SpacesResponse)),
)]
pub(crate) async fn list(State(handle): State<Handle>) -> Result<Json<SpacesResponse>, ApiError> {
    let mut spaces = Vec::new();
    for space in handle.spaces().await? {
        spaces.push(answer(&handle, space).await?);
    }
    Ok(Json(SpacesResponse { spaces }))
}

/// Makes a private space, with this site in it.
#[utoipa::path(
    post,
    path = "/v1/spaces",
    operation_id = "create_space",
    request_body = SpaceRequest,
    responses((status = CREATED, description = "The space.", body = SpaceResponse)),
)]
pub(crate) async fn create(
    State(handle): State<Handle>,
    JsonBody(SpaceRequest { name }): JsonBody<SpaceRequest>,
) -> Result<(StatusCode, Json<SpaceResponse>), ApiError> {
    let mut nonce = [0; 16];
    getrandom::fill(&mut nonce).map_err(|error| ApiError::of(Code::Internal, &error))?;
    handle.decide(Decision::CreateSpace { name: name.clone(), nonce }).await?;
    let space = status(&handle, &name).await?;
    Ok((StatusCode::CREATED, Json(answer(&handle, space).await?)))
}

/// A private space.
#[utoipa::path(
    get,
    path = "/v1/spaces/{space}",
    operation_id = "get_space",
    params(("space" = String, Path, description = "Its name or id.")),
    responses((status = OK, description = "The space.", body = SpaceResponse)),
)]
pub(crate) async fn show(
    State(handle): State<Handle>,
    Named(name): Named<String>,
) -> Result<Json<SpaceResponse>, ApiError> {
    let space = status(&handle, &name).await?;
    Ok(Json(answer(&handle, space).await?))
}

/// Lets a member into a private space, or gives it another role there.
#[utoipa::path(
    put,
    path = "/v1/spaces/{space}/sites/{site}",
    operation_id = "grant_space",
    params(
        ("space" = String, Path, description = "Its name or id."),
        ("site" = String, Path, description = "The member's name or id."),
    ),
    request_body = GrantRequest,
    responses((status = OK, description = "The member has the role.", body = DecisionResponse)),
)]
pub(crate) async fn grant(
    State(handle): State<Handle>,
    Named((name, site)): Named<(String, String)>,
    JsonBody(GrantRequest { role }): JsonBody<GrantRequest>,
) -> Result<Json<DecisionResponse>, ApiError> {
    let role = role.parse::<Role>();
    let role = role.map_err(|error| ApiError::new(Code::BadParameter, text_of(&error)))?;
    let realm = private_root(&handle, &name)?;
    let site = find(&handle, &site).await?;
    let decision = SpaceDecision::Grant { site, role };
    handle.decide(Decision::InSpace { realm, decision }).await?;
    Ok(Json(DecisionResponse { site: site.to_string() }))
}

/// Shuts a site out of a private space.
#[utoipa::path(
    delete,
    path = "/v1/spaces/{space}/sites/{site}",
    operation_id = "revoke_space",
    params(
        ("space" = String, Path, description = "Its name or id."),
        ("site" = String, Path, description = "The site's name or id."),
    ),
    responses((status = OK, description = "The site is shut out, wherever that is known.", body = DecisionResponse)),
)]
pub(crate) async fn revoke(
    State(handle): State<Handle>,
    Named((name, site)): Named<(String, String)>,
) -> Result<Json<DecisionResponse>, ApiError> {
    let realm = private_root(&handle, &name)?;
    let site = find(&handle, &site).await?;
    let decision = SpaceDecision::Revoke { site };
    handle.decide(Decision::InSpace { realm, decision }).await?;
    Ok(Json(DecisionResponse { site: site.to_string() }))
}

/// This site leaves a private space.
#[utoipa::path(
    post,
    path = "/v1/spaces/{space}/leave",
    operation_id = "leave_space",
    params(("space" = String, Path, description = "Its name or id.")),
    responses((status = OK, description = "The site has left the space.", body = DecisionResponse)),
)]
pub(crate) async fn leave(
    State(handle): State<Handle>,
    Named(name): Named<String>,
) -> Result<Json<DecisionResponse>, ApiError> {
    let realm = private_root(&handle, &name)?;
    handle.decide(Decision::InSpace { realm, decision: SpaceDecision::Leave }).await?;
    Ok(Json(DecisionResponse { site: handle.site().to_string() }))
}

/// The realm of the private space that is called so, or has that id.
fn private_root(handle: &Handle, name: &str) -> Result<RealmId, SpaceNotFound> {
    let realm = handle.in_space(name)?.realm;
    realm.ok_or_else(|| SpaceNotFound::Unknown { found: name.to_owned() })
}

/// What the replica knows of it.
async fn status(handle: &Handle, name: &str) -> Result<SpaceStatus, ApiError> {
    let realm = private_root(handle, name)?;
    let found = handle.spaces().await?.into_iter().find(|space| space.realm == realm);
    found.ok_or_else(|| SpaceNotFound::Unknown { found: name.to_owned() }.into())
}

async fn answer(handle: &Handle, space: SpaceStatus) -> Result<SpaceResponse, ApiError> {
    let id = space.realm.to_string();
    let handle = handle.in_space(&id)?;
    let content = handle
        .read(|tables, space| Ok((live_records(tables, space)?, read::digest(tables, space)?)));
    let (records, digest) = content.await?;
    let heard = handle.heard().await?;
    let left = space.closed_by == Some(handle.site());
    Ok(SpaceResponse {
        name: space.name,
        id,
        role: space.role.map(|role| role.to_string()),
        left,
        revoked_by: space.closed_by.filter(|_| !left).map(|site| site.to_string()),
        records,
        digest: digest.to_string(),
        entries: space.entries,
        own_entries: space.own_entries,
        entries_unapplied: space.entries_unapplied,
        sites: space.sites.into_iter().map(|site| SiteResponse::of(site, &heard)).collect(),
    })
}
