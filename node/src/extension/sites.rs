//! What a person should know of the sites of the network, and decide.

use std::collections::BTreeSet;

use branchline_crdt::ids::SiteId;
use branchline_crdt::membership::Disputed;

use super::finding::{Finding, Severity};
use crate::handle::{Handle, Stopped};

/// Sites that are named one by one, of each kind; `branchline members` lists all.
const NAMED_MAX: usize = 20;

impl Handle {
    /// The sites of which an admin is to decide whether they are members, or stay such.
    pub(crate) async fn sites_to_decide(&self) -> Result<Vec<Finding>, Stopped> {
        let status = self.replica_status().await?;
        let names = status.names();
        let name = |site: &SiteId| names.get(site).cloned().unwrap_or_else(|| site.to_string());
        let disputed = |(site, disputed): (&SiteId, &Disputed)| {
            let Disputed { role, issuer, through, .. } = disputed;
            let what = format!(
                "let in by {} with a {role} ticket of {}, which had been withdrawn or used up: it is not a member until an admin decides",
                name(through),
                name(issuer),
            );
            let hint = format!(
                "`branchline role {site} {role}` makes it a member, `branchline revoke {site}` shuts it out"
            );
            let about = format!("site {} ({site})", disputed.name);
            Finding { hint: Some(hint), ..Finding::new(Severity::Warning, about, what) }
        };
        let forked: BTreeSet<SiteId> = status.forks.iter().map(|author| author.site).collect();
        let is_member = |site: &SiteId| status.sites.iter().any(|member| member.site == *site);
        let forked = forked.into_iter().filter(is_member).map(|site| {
            let what = "signed different entries under one number, as its signatures prove; both stay. Either its machine was set back, or its image started twice, or somebody else has its key";
            let hint = format!(
                "ask that office; if nobody there restored or reset a machine: `branchline revoke {site}`"
            );
            let about = format!("site {}", name(&site));
            Finding { hint: Some(hint), ..Finding::new(Severity::Warning, about, what.to_owned()) }
        });
        let disputed = status.disputed.iter().take(NAMED_MAX).map(disputed);
        Ok(disputed.chain(forked.take(NAMED_MAX)).collect())
    }
}
