//! What is known of the sites of a realm, for people.

use std::collections::{BTreeMap, BTreeSet};

use super::{Realm, Realms};
use crate::ids::{RealmId, SiteId, SpaceId};
use crate::inspect::holders::Compared;
use crate::log::entry::EntryId;
use crate::membership::{Member, Members, SpaceDocument};
use crate::replica::status::{RevokedSite, SiteStatus, SpaceStatus};
use crate::store::logs::Logs;

/// Entries of a space.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::replica) struct Counted {
    pub(in crate::replica) entries: u64,
    /// Those of this site.
    pub(in crate::replica) own: u64,
    /// Those whose payload this program is too old to apply.
    pub(in crate::replica) unapplied: u64,
}

impl Counted {
    fn of(logs: &Logs, own: SiteId) -> Self {
        let mut counted = Self::default();
        for (author, row) in logs.rows() {
            let entries = row.seq + 1 - logs.forks.first(author);
            counted.entries += entries;
            counted.unapplied += entries.min(row.seq - row.applied);
            if author.site == own {
                counted.own += entries;
            }
        }
        counted
    }
}

impl Realms {
    /// What a site is called, also one that is a member no more; its id where that is not known.
    pub(in crate::replica) fn name_of(&self, site: SiteId) -> String {
        let name = self.members().and_then(|members| members.name_of(&site));
        name.map_or_else(|| site.to_string(), str::to_owned)
    }

    /// The entries of a space.
    pub(in crate::replica) fn count(&self, space: SpaceId) -> Counted {
        self.logs(space).map(|logs| Counted::of(logs, self.own)).unwrap_or_default()
    }

    /// How many entries of a space are held: what a status says of it, without the rest.
    pub fn entries_held(&self, space: SpaceId) -> u64 {
        self.count(space).entries
    }

    /// How many of them have a payload that this program is too old to apply.
    pub fn entries_unapplied(&self, space: SpaceId) -> u64 {
        self.count(space).unapplied
    }

    /// The sites that were members of the network and are no more, by name.
    pub(in crate::replica) fn revoked_sites(&self) -> Vec<RevokedSite> {
        let revoked = self.members().into_iter().flat_map(Members::revoked);
        let revoked = revoked.map(|(site, revoked)| RevokedSite {
            site: *site,
            name: revoked.name.clone(),
            by: revoked.by,
        });
        let mut revoked: Vec<_> = revoked.collect();
        revoked.sort_by(|a, b| a.name.cmp(&b.name));
        revoked
    }

    /// What is known of the sites of a realm by the receipts of its records, this site first, then the most senior.
    pub(in crate::replica) fn sites_of(
        &self,
        realm: RealmId,
        is_connected: &dyn Fn(&SiteId) -> bool,
    ) -> Vec<SiteStatus> {
        let Some(Realm { members, records, .. }) = self.get(realm) else { return Vec::new() };
        let compared = Compared::new(&records.logs);
        let site = |(site, member): (&SiteId, &Member)| {
            let receipt = records.receipts.by_site.get(site);
            let lag = receipt.and_then(|receipt| compared.lag(receipt, self.own));
            let is_own = *site == self.own;
            let of_network = self.members().and_then(|members| members.get(site));
            SiteStatus {
                site: *site,
                name: of_network.unwrap_or(member).name.clone(),
                role: member.role,
                connected: is_own || is_connected(site),
                receipt_ms: receipt.map(|receipt| receipt.time_ms),
                lag_entries: if is_own { Some(0) } else { lag.map(|lag| lag.entries) },
                lag_own_entries: if is_own { Some(0) } else { lag.map(|lag| lag.own_entries) },
                ahead_entries: if is_own { Some(0) } else { lag.map(|lag| lag.ahead_entries) },
            }
        };
        let mut sites: Vec<_> = members.all().iter().map(site).collect();
        let places: BTreeMap<_, _> = members.seniority().iter().zip(0..).collect();
        sites.sort_by_key(|site| (site.site != self.own, places.get(&site.site).copied()));
        sites
    }

    /// What is known of the private spaces, by name.
    pub(in crate::replica) fn space_statuses(
        &self,
        is_connected: &dyn Fn(&SiteId) -> bool,
    ) -> Vec<SpaceStatus> {
        let status = |(document, realm): (&SpaceDocument, &Realm)| {
            let counted = Counted::of(&realm.records.logs, self.own);
            SpaceStatus {
                realm: realm.id,
                name: document.name.clone(),
                role: self.role_in(realm.id),
                closed_by: self.revoked_from(realm.id),
                entries: counted.entries,
                own_entries: counted.own,
                entries_unapplied: counted.unapplied,
                sites: self.sites_of(realm.id, is_connected),
            }
        };
        let mut spaces: Vec<_> = self.private().map(status).collect();
        spaces.sort_by(|a, b| (&a.name, a.realm).cmp(&(&b.name, b.realm)));
        spaces
    }

    /// Entries that this site wrote in a realm and that no other site is known to hold all of.
    pub(in crate::replica) fn only_here(&self, realm: RealmId) -> u64 {
        let sites = self.sites_of(realm, &|_| false);
        let others = sites.iter().filter(|site| site.site != self.own);
        let lag = others.filter_map(|site| site.lag_own_entries).min();
        lag.unwrap_or_else(|| self.count(realm.main_space()).own)
    }

    /// Which of the other sites of a space hold an entry durably, by their receipts: `Some(false)` where a receipt
    /// shows that it does not, `None` where none tells. `space`: one of records.
    pub fn holders(&self, space: SpaceId, entry: EntryId) -> BTreeMap<SiteId, Option<bool>> {
        let compared = self.logs(space).map(Compared::new);
        let receipts = self.receipts(space);
        let members = self.realm_of(space).and_then(|realm| self.members_of(realm));
        let members = members.map(Members::sites).unwrap_or_default();
        let holds = |site: &SiteId| {
            let receipt = receipts?.by_site.get(site)?;
            compared.as_ref()?.covers(receipt, entry.author, entry.seq)
        };
        let others: BTreeSet<_> = members.into_iter().filter(|site| *site != self.own).collect();
        others.into_iter().map(|site| (site, holds(&site))).collect()
    }
}
