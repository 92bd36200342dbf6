//! The sites that a user means by a name or an id.

use std::collections::BTreeSet;

use branchline_crdt::ids::SiteId;
use branchline_crdt::replica::Status;

use crate::api::error::{ApiError, Code};
use crate::api::texts::name_of;
use crate::handle::Handle;

/// The member of a name or id, by whichever key it is given. Anyone who is a member no more is said to be.
pub(crate) async fn find_member(handle: &Handle, text: &str) -> Result<SiteId, ApiError> {
    let status = handle.replica_status().await?;
    let is_meant = |site: SiteId, name: &str| name == text || site.to_string() == text;
    let members = || status.sites.iter().map(|site| (site.site, site.name.as_str()));
    if let Some((site, _)) = members().find(|(site, name)| is_meant(*site, name)) {
        return Ok(site);
    }
    let newest = status.former.iter().find(|(former, _)| former.to_string() == text);
    let newest = newest.map(|(_, site)| *site);
    if let Some(site) = newest.filter(|newest| members().any(|(site, _)| site == *newest)) {
        return Ok(site);
    }
    let revoked = status.revoked.iter();
    let revoked = revoked
        .map(|revoked| (revoked.site, &revoked.name, revoked.by))
        .find(|(site, name, _)| is_meant(*site, name) || newest == Some(*site));
    Err(match revoked {
        Some((_, name, by)) => {
            let by = name_of(by, &status.names());
            let message = format!("{name} was revoked by {by}: nothing is exchanged with it");
            ApiError::new(Code::BadParameter, message)
        }
        None => ApiError::new(Code::BadParameter, format!("no site is called {text:?}")),
    }
    .hint("`branchline members` shows names and ids"))
}

/// All keys of the sites, members or not any more, of a name; or the one key of an id.
pub(crate) fn find_keys(status: &Status, text: &str) -> Result<BTreeSet<SiteId>, ApiError> {
    let names = status.names();
    let is_meant = |(site, name): &(SiteId, String)| name == text || site.to_string() == text;
    let keys: BTreeSet<_> = names.into_iter().filter(is_meant).map(|(site, _)| site).collect();
    if keys.is_empty() {
        let message = format!("no site is called {text:?}");
        return Err(ApiError::new(Code::BadParameter, message)
            .hint("`branchline members` shows names and ids"));
    }
    Ok(keys)
}
