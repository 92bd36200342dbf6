//! Who is a member, and who was.

use axum::Json;
use axum::extract::State;
use branchline_crdt::ids::SiteId;
use branchline_crdt::replica::SiteStatus;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::api::error::ApiError;
use crate::api::texts::{name_of, rfc3339};
use crate::handle::Handle;
use crate::peers::added::AddedBySite;

/// All members, this site first, then the most senior.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct MembersResponse {
    /// The members.
    pub members: Vec<MemberResponse>,
    /// The sites that were members and are no more.
    pub revoked: Vec<RevokedMemberResponse>,
    /// The sites that came by a ticket which had been withdrawn or was used up: an admin decides whether they are members.
    #[serde(default)]
    pub disputed: Vec<DisputedMemberResponse>,
    /// The keys that sites have replaced, under which older entries stand.
    #[serde(default)]
    pub former: Vec<FormerMemberResponse>,
    /// Since when it is counted how much each site has added, by this site's clock, in RFC 3339.
    #[serde(default)]
    pub added_since: Option<String>,
}

/// How much of what is held here a site has added: the entries that it wrote, under its former keys too.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AddedResponse {
    /// Entries that came to be held today: the day of UTC by this site's clock.
    pub entries_today: u64,
    /// Their bytes in the journal.
    pub bytes_today: u64,
    /// Entries since it is counted.
    pub entries: u64,
    /// Their bytes in the journal.
    pub bytes: u64,
}

impl From<AddedBySite> for AddedResponse {
    fn from(added: AddedBySite) -> Self {
        let AddedBySite { in_all, today } = added;
        Self {
            entries_today: today.entries,
            bytes_today: today.bytes,
            entries: in_all.entries,
            bytes: in_all.bytes,
        }
    }
}

/// A key that a site has replaced.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct FormerMemberResponse {
    /// The site by its former key.
    pub site: String,
    /// Its name.
    pub name: String,
    /// The site by the key that it has now.
    pub now: String,
}

/// A site that was a member.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct RevokedMemberResponse {
    /// Its id.
    pub site: String,
    /// The name that it bore.
    pub name: String,
    /// The name of the admin who revoked it.
    pub by: String,
    /// How much it has added.
    #[serde(default)]
    pub added: AddedResponse,
}

/// A site that is no member until an admin decides.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct DisputedMemberResponse {
    /// Its id.
    pub site: String,
    /// The name that it wished for. Another site may bear it.
    pub name: String,
    /// What its ticket gives.
    pub role: String,
    /// The name of the admin who made the ticket.
    pub issuer: String,
    /// The name of the member that let it in.
    pub through: String,
    /// The name of the admin who withdrew the ticket, or made it, where it was used up.
    pub by: String,
}

/// One member.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct MemberResponse {
    /// Its id.
    pub site: String,
    /// Its name.
    pub name: String,
    /// `reader`, `writer` or `admin`.
    pub role: String,
    /// Whether it is connected to this site.
    pub connected: bool,
    /// Whether it is this site.
    pub this_site: bool,
    /// How much it has added.
    #[serde(default)]
    pub added: AddedResponse,
}

/// The members of the network, and those that were.
#[utoipa::path(
    get,
    path = "/v1/members",
    operation_id = "list_members",
    responses((status = OK, description = "The members, this site first.", body = MembersResponse)),
)]
pub(crate) async fn members(
    State(handle): State<Handle>,
) -> Result<Json<MembersResponse>, ApiError> {
    let (status, seen) = handle.look(|driver| (driver.replica().status(), driver.added())).await?;
    let added = |site: SiteId| {
        let keys = status.former.iter().filter(|(_, now)| **now == site).map(|(former, _)| *former);
        let by_key = |key: SiteId| seen.sites.get(&key).copied().unwrap_or_default();
        AddedResponse::from(keys.map(by_key).fold(by_key(site), AddedBySite::and))
    };
    let member = |member: &SiteStatus| MemberResponse {
        site: member.site.to_string(),
        name: member.name.clone(),
        role: member.role.to_string(),
        connected: member.connected,
        this_site: member.site == status.site,
        added: added(member.site),
    };
    let names = status.names();
    let revoked = status.revoked.iter().map(|revoked| RevokedMemberResponse {
        site: revoked.site.to_string(),
        name: revoked.name.clone(),
        by: name_of(revoked.by, &names),
        added: added(revoked.site),
    });
    let revoked = revoked.collect();
    let former = status.former.iter().map(|(former, now)| FormerMemberResponse {
        site: former.to_string(),
        name: name_of(*former, &names),
        now: now.to_string(),
    });
    let former = former.collect();
    let disputed = status.disputed.iter().map(|(site, disputed)| DisputedMemberResponse {
        site: site.to_string(),
        name: disputed.name.clone(),
        role: disputed.role.to_string(),
        issuer: name_of(disputed.issuer, &names),
        through: name_of(disputed.through, &names),
        by: name_of(disputed.by, &names),
    });
    let disputed = disputed.collect();
    let members = status.sites.iter().map(member).collect();
    let added_since = rfc3339(seen.since_ms);
    Ok(Json(MembersResponse { members, revoked, disputed, former, added_since }))
}
