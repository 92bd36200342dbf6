//! What became of the members.

use std::collections::BTreeMap;

use axum::Json;
use branchline_crdt::ids::SiteId;
use branchline_crdt::inspect::log;
use branchline_crdt::log::entry::text::MEMBERSHIP;
use branchline_crdt::membership::{MembershipEvent, MembershipStep, history};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::api::error::ApiError;
use crate::api::params::extract::{InSpace, Params, page_records};
use crate::api::texts::name_of;
use crate::api::texts::rfc3339;

/// What became of the members, in the order in which this site heard of it, newest last.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct MembersHistoryResponse {
    /// The last steps.
    pub steps: Vec<MemberStep>,
    /// How many there are in all.
    pub step_count: u64,
    /// Where the page of those before them ends (`?before=`); `None`: there are none.
    pub next: Option<u64>,
}

/// One thing that was done to the membership.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct MemberStep {
    /// When, by the clock of the site that wrote it, in RFC 3339.
    pub time: Option<String>,
    /// `founded`, `admitted`, `role_changed`, `renamed`, `key_replaced`, `revoked` or `left`.
    pub what: String,
    /// Whom it is about.
    pub site: String,
    /// That site's name, as it is or was last called.
    pub site_name: String,
    /// Who decided it.
    pub by: String,
    /// That site's name.
    pub by_name: String,
    /// The role that was given, where one was.
    pub role: Option<String>,
    /// The name that was given, where one was.
    pub name: Option<String>,
    /// The name before that.
    pub former_name: Option<String>,
    /// The new key's site, where the key was replaced.
    pub new_site: Option<String>,
    /// The member that took the ticket, where a site was admitted.
    pub through_name: Option<String>,
    /// Whether anything came of it: what a site may not decide, or what was so already, changes nothing.
    pub counts: bool,
    /// The entry that says so; `None`: what the network or space began with.
    pub entry: Option<String>,
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct MembersHistoryParams {
    /// Steps before this one: the `next` of the page behind them.
    before: Option<u64>,
    /// At most so many steps: 1 to 1000, 100 if not given.
    limit: Option<usize>,
}

/// What became of the members: who was let in, given another role or name, or shut out, by whom and when.
#[utoipa::path(
    get,
    path = "/v1/members/history",
    operation_id = "list_membership_history",
    params(InSpace, MembersHistoryParams),
    responses((status = OK, description = "A page of steps, newest last.", body = MembersHistoryResponse)),
)]
pub(crate) async fn members_history(
    InSpace(handle): InSpace,
    Params(MembersHistoryParams { before, limit }): Params<MembersHistoryParams>,
) -> Result<Json<MembersHistoryResponse>, ApiError> {
    let limit = page_records(limit)?;
    let realm = handle.realm()?;
    let names = handle.names().await?;
    let genesis = handle.look(move |driver| {
        driver.replica().realms().members_of(realm).and_then(|members| members.genesis().cloned())
    });
    let Some(genesis) = genesis.await? else { return Err(ApiError::no_network()) };
    let read = handle.read(move |journal, _| log::in_order(journal, realm.membership_space()));
    let entries = read.await?;
    let steps = history(realm, &genesis, &entries);
    let step_count = steps.len();
    let end = before.map_or(step_count, |before| usize::try_from(before).unwrap_or(step_count));
    let end = end.min(step_count);
    let begin = end.saturating_sub(limit);
    let steps = steps[begin..end].iter().map(|step| answer(step, &names)).collect();
    let next = (begin > 0).then_some(begin as u64);
    Ok(Json(MembersHistoryResponse { steps, step_count: step_count as u64, next }))
}

fn answer(step: &MembershipStep, names: &BTreeMap<SiteId, String>) -> MemberStep {
    let MembershipStep { entry, time_ms, by, site, event, counts } = step;
    let plain = |what: &str| MemberStep {
        time: rfc3339(*time_ms),
        what: what.to_owned(),
        site: site.to_string(),
        site_name: name_of(*site, names),
        by: by.to_string(),
        by_name: name_of(*by, names),
        role: None,
        name: None,
        former_name: None,
        new_site: None,
        through_name: None,
        counts: *counts,
        entry: entry.map(|entry| format!("{MEMBERSHIP}/{entry}")),
    };
    match event {
        MembershipEvent::Founded => plain("founded"),
        MembershipEvent::Admitted { name, role, through } => MemberStep {
            role: Some(role.to_string()),
            name: Some(name.clone()),
            through_name: Some(name_of(*through, names)),
            ..plain("admitted")
        },
        MembershipEvent::Revoked if by == site => plain("left"),
        MembershipEvent::Revoked => plain("revoked"),
        MembershipEvent::RoleChanged { role } => {
            MemberStep { role: Some(role.to_string()), ..plain("role_changed") }
        }
        MembershipEvent::Renamed { from, to } => {
            MemberStep { name: Some(to.clone()), former_name: from.clone(), ..plain("renamed") }
        }
        MembershipEvent::KeyReplaced { to } => {
            MemberStep { new_site: Some(to.to_string()), ..plain("key_replaced") }
        }
    }
}
