//! What a replica knows of itself and of the others.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::Replica;
use super::logs::Logs;
use super::peer::Peer;
use crate::entry::EntryId;
use crate::holders::Compared;
use crate::ids::{Author, NetworkId, SiteId, SpaceId};
use crate::membership::{Member, Members, Revoked, Role};
use crate::store::Store;

/// What a replica knows of itself and of the others.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// This site.
    pub site: SiteId,
    /// Its name.
    pub name: String,
    /// Its network, once known.
    pub network: Option<NetworkId>,
    /// Its role, by membership or by the ticket it holds.
    pub role: Option<Role>,
    /// Whether it is a member; a site with a ticket may write before it is.
    pub member: bool,
    /// Entries held in the main space.
    pub entries: u64,
    /// Entries of this site among them.
    pub own_entries: u64,
    /// Entries held whose payload this program is too old to apply.
    pub entries_unapplied: u64,
    /// Entries whose bytes are damaged here, until a peer gives them back.
    pub entries_lost: u64,
    /// Logs of which a fork is proven.
    pub forks: Vec<Author>,
    /// All members, this site first, then the most senior.
    pub sites: Vec<SiteStatus>,
    /// Who revoked this site, if anyone did.
    pub revoked_by: Option<SiteId>,
    /// The sites that were members and are no more, by name.
    pub revoked: Vec<RevokedSite>,
    /// The keys that sites have replaced, each with the site as it is known now.
    pub former: BTreeMap<SiteId, SiteId>,
    /// The indexes that schemas declare.
    pub indexes: Vec<IndexStatus>,
}

/// How far an index is built.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IndexStatus {
    /// The collection.
    pub collection: String,
    /// The field, by its dotted path.
    pub field: String,
    /// `building`, `ready` or `dropping`. Queries use one that is ready.
    pub state: String,
    /// Records that are in one that is being built.
    pub records_built: u64,
}

/// What is known of one member.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SiteStatus {
    /// The member.
    pub site: SiteId,
    /// Its name.
    pub name: String,
    /// Its role.
    pub role: Role,
    /// Whether it is connected to this site.
    pub connected: bool,
    /// When it issued its latest receipt that is known here, ms since 1970 by its own clock.
    pub receipt_ms: Option<i64>,
    /// Entries held here, others' than its own, that its receipt does not confirm; where it lists only some logs, of
    /// those. It may hold them by now. `None`: no receipt is known, or it does not tell.
    pub lacks: Option<u64>,
    /// The ones among them that this site wrote.
    pub lacks_of_ours: Option<u64>,
    /// Entries that its receipt covers and that are not held here.
    pub ahead: Option<u64>,
}

/// A private space that is held here.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SpaceStatus {
    /// The hash of its document.
    pub root: NetworkId,
    /// Its name.
    pub name: String,
    /// What this site may do in it; `None`: it is not in it any more.
    pub role: Option<Role>,
    /// Who shut this site out; itself if it left.
    pub closed_by: Option<SiteId>,
    /// Entries held in it.
    pub entries: u64,
    /// Entries of this site among them.
    pub own_entries: u64,
    /// Entries whose payload this program is too old to apply.
    pub entries_unapplied: u64,
    /// The sites that are in it, this one first, then the most senior.
    pub sites: Vec<SiteStatus>,
}

/// A site that was a member.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RevokedSite {
    /// The site.
    pub site: SiteId,
    /// The name that it bore.
    pub name: String,
    /// The admin who revoked it.
    pub by: SiteId,
}

/// What a replica holds in memory besides its logs and members. Between two groups of inputs nothing is staged, and
/// once the caller has acted nothing is unsaid.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Footprint {
    /// Entries of the group under way.
    pub staged_entries: usize,
    /// Bytes of the group under way.
    pub staged_bytes: usize,
    /// Documents kept at hand.
    pub documents: usize,
    /// Connected members.
    pub peers: usize,
    /// Pulls from them, under way or remembered.
    pub pulls: usize,
    /// Announcements that wait for their entry.
    pub announcements: usize,
    /// Outputs that wait for the caller.
    pub outputs: usize,
}

/// Entries of a space.
#[derive(Clone, Copy, Debug, Default)]
struct Counted {
    entries: u64,
    /// Those of this site.
    own: u64,
    /// Those whose payload this program is too old to apply.
    unapplied: u64,
}

impl Status {
    /// What each site is called for people: members, sites that were members, and both under their former keys.
    pub fn names(&self) -> BTreeMap<SiteId, String> {
        let members = self.sites.iter().map(|site| (site.site, site.name.clone()));
        let revoked = self.revoked.iter().map(|site| (site.site, site.name.clone()));
        let mut names: BTreeMap<_, _> = members.chain(revoked).collect();
        for (former, site) in &self.former {
            if let Some(name) = names.get(site).cloned() {
                names.insert(*former, name);
            }
        }
        names
    }
}

impl<S: Store> Replica<S> {
    /// What is held in memory now.
    pub fn footprint(&self) -> Footprint {
        Footprint {
            staged_entries: self.stage.entries.len(),
            staged_bytes: self.stage.bytes,
            documents: self.documents.count(),
            peers: self.peers.len(),
            pulls: self.peers.values().map(Peer::pull_count).sum(),
            announcements: self.announced.count(),
            outputs: self.outputs.len() + self.news.len(),
        }
    }

    /// What is known now.
    pub fn status(&self) -> Status {
        let space = self.network().map(|network| network.main_space());
        let logs = space.and_then(|space| self.spaces.get(&space));
        let counted = logs.map(|logs| self.count(logs)).unwrap_or_default();
        let sites = self.network().map(|network| self.sites_of(network)).unwrap_or_default();
        let revoked = self.members().into_iter().flat_map(Members::revoked);
        let mut revoked: Vec<_> = revoked
            .map(|(site, Revoked { name, by })| RevokedSite {
                site: *site,
                name: name.clone(),
                by: *by,
            })
            .collect();
        revoked.sort_by(|a, b| a.name.cmp(&b.name));
        Status {
            site: self.site(),
            name: self.own_name(),
            network: self.network(),
            role: self.role(),
            member: self.members().is_some_and(|members| members.get(&self.site()).is_some()),
            entries: counted.entries,
            own_entries: counted.own,
            entries_unapplied: counted.unapplied,
            entries_lost: self.losses.count(),
            forks: logs.iter().flat_map(|logs| logs.forks.keys().copied()).collect(),
            sites,
            indexes: self.indexes.status(),
            revoked_by: self.revoked_by(),
            revoked,
            former: self.members().map(Members::former).unwrap_or_default(),
        }
    }

    /// What a site is called, also one that is a member no more; its id where that is not known.
    pub(super) fn name_of(&self, site: SiteId) -> String {
        let name = self.members().and_then(|members| members.name_of(&site));
        name.map_or_else(|| site.to_string(), str::to_owned)
    }

    /// What is known of the sites of the space of records with this root, this site first, then the most senior.
    fn sites_of(&self, root: NetworkId) -> Vec<SiteStatus> {
        let Some(members) = self.members_of(root) else { return Vec::new() };
        let space = root.main_space();
        let compared = self.spaces.get(&space).map(Compared::new);
        let receipts = self.receipts.get(&space);
        let site = |(site, member): (&SiteId, &Member)| {
            let receipt = receipts.and_then(|receipts| receipts.by_site.get(site));
            let lag = receipt.zip(compared.as_ref());
            let lag = lag.and_then(|(receipt, compared)| compared.lag(receipt, self.site()));
            let is_own = *site == self.site();
            let of_network = self.members().and_then(|members| members.get(site));
            SiteStatus {
                site: *site,
                name: of_network.unwrap_or(member).name.clone(),
                role: member.role,
                connected: is_own || self.peers.contains_key(site),
                receipt_ms: receipt.map(|receipt| receipt.time_ms),
                lacks: if is_own { Some(0) } else { lag.map(|lag| lag.lacks) },
                lacks_of_ours: if is_own { Some(0) } else { lag.map(|lag| lag.lacks_of_ours) },
                ahead: if is_own { Some(0) } else { lag.map(|lag| lag.ahead) },
            }
        };
        let mut sites: Vec<_> = members.all().iter().map(site).collect();
        let places: BTreeMap<_, _> = members.seniority().iter().zip(0..).collect();
        sites.sort_by_key(|site| (site.site != self.site(), places.get(&site.site).copied()));
        sites
    }

    /// The private spaces that are held here, by name.
    pub fn spaces(&self) -> Vec<SpaceStatus> {
        let mut spaces: Vec<_> = self
            .private
            .iter()
            .map(|(root, space)| {
                let logs = self.spaces.get(&root.main_space());
                let counted = logs.map(|logs| self.count(logs)).unwrap_or_default();
                SpaceStatus {
                    root: *root,
                    name: space.document.name.clone(),
                    role: self.role_in(*root),
                    closed_by: self.revoked_from(*root),
                    entries: counted.entries,
                    own_entries: counted.own,
                    entries_unapplied: counted.unapplied,
                    sites: self.sites_of(*root),
                }
            })
            .collect();
        spaces.sort_by(|a, b| (&a.name, a.root).cmp(&(&b.name, b.root)));
        spaces
    }

    /// Entries that this site wrote under a root and that no other site is known to hold all of.
    pub(super) fn only_here(&self, root: NetworkId) -> u64 {
        let sites = self.sites_of(root);
        let others = sites.iter().filter(|site| site.site != self.site());
        let lacks = others.filter_map(|site| site.lacks_of_ours);
        let logs = self.spaces.get(&root.main_space());
        lacks.min().unwrap_or_else(|| logs.map_or(0, |logs| self.count(logs).own))
    }

    fn count(&self, logs: &Logs) -> Counted {
        let mut counted = Counted::default();
        for (author, row) in &logs.rows {
            counted.entries += row.seq;
            counted.unapplied += row.seq - row.applied;
            if author.site == self.site() {
                counted.own += row.seq;
            }
        }
        counted
    }

    fn own_name(&self) -> String {
        let member = self.members().and_then(|members| members.get(&self.site()));
        member.map_or_else(|| self.identity.name.clone(), |member| member.name.clone())
    }

    /// Which of the other sites of a space hold an entry durably, by their receipts: `Some(false)` where a receipt
    /// shows that it does not, `None` where none tells. `space`: one of records.
    pub fn holders(&self, space: SpaceId, entry: EntryId) -> BTreeMap<SiteId, Option<bool>> {
        let compared = self.spaces.get(&space).map(Compared::new);
        let receipts = self.receipts.get(&space);
        let members = self.root_of(space).and_then(|root| self.members_of(root));
        let members = members.map(|members| members.sites()).unwrap_or_default();
        let holds = |site: &SiteId| {
            let receipt = receipts?.by_site.get(site)?;
            compared.as_ref()?.covers(receipt, entry.author, entry.seq)
        };
        let others = members.into_iter().filter(|site| *site != self.site());
        others.map(|site| (site, holds(&site))).collect()
    }
}
