//! What other sites have not confirmed yet.

use std::collections::{BTreeMap, BTreeSet};

use axum::Json;
use branchline_crdt::ids::SiteId;
use branchline_crdt::inspect::unsent::{self, Unsent};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::api::error::{ApiError, Code};
use crate::api::params::bounds::READ_MAX;
use crate::api::params::extract::{InSpace, Params};
use crate::api::params::named::find_member;
use crate::api::texts::name_of;
use crate::api::texts::rfc3339;

/// What other sites have not confirmed yet of what is held in a space here, by their receipts. A receipt proves what its
/// site holds; what none covers may be there by now, or not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct UnsentResponse {
    /// By site.
    pub sites: Vec<UnsentSite>,
    /// What no other site has confirmed: it would be lost with this one.
    pub only_here: UnsentCount,
}

/// What one site has not confirmed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct UnsentSite {
    /// The site.
    pub site: String,
    /// Its name.
    pub site_name: String,
    /// When it issued its latest receipt that has come here, by its own clock, in RFC 3339. `None`: never.
    pub receipt: Option<String>,
    /// What its receipt does not confirm.
    #[serde(flatten)]
    pub count: UnsentCount,
    /// Entries besides of which its receipt does not say, since it lists the 64 logs that went on last.
    pub entries_unlisted: u64,
}

/// How much is not confirmed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct UnsentCount {
    /// Entries.
    pub entries: u64,
    /// Those among them that this site wrote; the others it relays.
    pub entries_own: u64,
    /// Different records that these entries change.
    pub records: u64,
    /// The same records by collection. Of more than 64 collections those that were met first.
    pub by_collection: BTreeMap<String, u64>,
    /// Different schemas that they change.
    pub schemas: u64,
    /// Whether there may be more records: two million are distinguished, and damaged entries speak of none.
    pub has_more_records: bool,
    /// Bytes of the entries, packed and signed as they are sent.
    pub bytes: u64,
    /// When the oldest of them was written, by its author's clock, in RFC 3339.
    pub since: Option<String>,
}

impl From<&Unsent> for UnsentCount {
    fn from(unsent: &Unsent) -> Self {
        Self {
            entries: unsent.entries,
            entries_own: unsent.entries_own,
            records: unsent.records,
            by_collection: unsent.by_collection.clone(),
            schemas: unsent.schemas,
            has_more_records: unsent.has_more_records,
            bytes: unsent.bytes,
            since: unsent.since_ms.and_then(rfc3339),
        }
    }
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct UnsentParams {
    /// By this site only: its name or id. `only_here` is about all.
    site: Option<String>,
    /// Read no more than so many entries, which takes some microseconds each; one of several KiB counts for as many. Records
    /// and bytes of the others are not counted, and `has_more_records` is true. All, if not given.
    read_max: Option<usize>,
}

/// What other sites have not confirmed yet of what this site holds.
#[utoipa::path(
    get,
    path = "/v1/unsent",
    operation_id = "list_unsent",
    params(InSpace, UnsentParams),
    responses((status = OK, description = "Records, bytes and since when, by site.", body = UnsentResponse)),
)]
pub(crate) async fn unsent(
    InSpace(handle): InSpace,
    Params(UnsentParams { site, read_max }): Params<UnsentParams>,
) -> Result<Json<UnsentResponse>, ApiError> {
    if let Some(found) = read_max.filter(|asked| !(1..=READ_MAX).contains(asked)) {
        let message = format!("read_max is {found}, expected 1 to {READ_MAX}");
        return Err(ApiError::new(Code::BadParameter, message));
    }
    let space = handle.realm()?.main_space();
    let names = handle.names().await?;
    let own = handle.site();
    let others = handle.sites().await?.into_iter().map(|site| site.site);
    let others: BTreeSet<SiteId> = others.filter(|site| *site != own).collect();
    let asked = match site {
        None => others.clone(),
        Some(text) => {
            let site = find_member(&handle, &text).await?;
            let bad = |message: String| Err(ApiError::new(Code::BadParameter, message));
            if site == own {
                return bad("that is this site: name another one, to which it sends".to_owned());
            }
            if !others.contains(&site) {
                let name = name_of(site, &names);
                return bad(format!("{name} is not in that space: nothing of it is sent there"));
            }
            BTreeSet::from([site])
        }
    };
    let receipts = handle.receipts_of(space).await?;
    let of_site = asked.clone();
    let read_max = read_max.unwrap_or(usize::MAX);
    let read = handle.read(move |journal, _| {
        let found = unsent::unsent(journal, space, own, (&others, &of_site), &receipts, read_max)?;
        Ok((found, receipts))
    });
    let (found, receipts) = read.await?;
    let of_site = |site: SiteId| {
        let count = found.by_site.get(&site).cloned().unwrap_or_default();
        UnsentSite {
            site: site.to_string(),
            site_name: name_of(site, &names),
            receipt: receipts.get(&site).and_then(|receipt| rfc3339(receipt.time_ms)),
            entries_unlisted: count.entries_unlisted,
            count: UnsentCount::from(&count),
        }
    };
    let mut sites: Vec<_> = asked.into_iter().map(of_site).collect();
    sites.sort_by(|a, b| a.site_name.cmp(&b.site_name));
    Ok(Json(UnsentResponse { sites, only_here: UnsentCount::from(&found.only_here) }))
}
