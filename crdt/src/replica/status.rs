//! What a replica knows of itself and of the others.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::batch::Batch;
use super::context::Context;
use super::links::Links;
use super::links::peer::Peer;
use super::outbox::Outbox;
use crate::ids::{Author, RealmId, SiteId};
use crate::membership::{Disputed, Members, Role};
use crate::store::Store;

/// What a replica knows of itself and of the others.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// This site.
    pub site: SiteId,
    /// Its name.
    pub name: String,
    /// Its network, once known.
    pub network: Option<RealmId>,
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
    /// Sites of which an admin is to decide whether they are members: they came too late by their tickets.
    pub disputed: BTreeMap<SiteId, Disputed>,
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
    /// those. It may hold them by now. `None`: no receipt is known, or it does not say.
    pub lag_entries: Option<u64>,
    /// The ones among them that this site wrote.
    pub lag_own_entries: Option<u64>,
    /// Entries that its receipt covers and that are not held here.
    pub ahead_entries: Option<u64>,
}

/// A private space that is held here.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SpaceStatus {
    /// The hash of its document.
    pub realm: RealmId,
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
    /// Messages that wait for what their entries build on.
    pub early: usize,
    /// Outputs that wait for the caller.
    pub outputs: usize,
}

impl Status {
    /// What each site is called for people: members, sites that were members, and both under their former keys.
    pub fn names(&self) -> BTreeMap<SiteId, String> {
        let members = self.sites.iter().map(|site| (site.site, site.name.clone()));
        let revoked = self.revoked.iter().map(|site| (site.site, site.name.clone()));
        let disputed = self.disputed.iter().map(|(site, disputed)| (*site, disputed.name.clone()));
        let mut names: BTreeMap<_, _> = disputed.chain(members).chain(revoked).collect();
        for (former, site) in &self.former {
            if let Some(name) = names.get(site).cloned() {
                names.insert(*former, name);
            }
        }
        names
    }
}

impl Footprint {
    /// What these parts hold.
    pub(super) fn of(batch: &Batch, links: &Links, outbox: &Outbox) -> Self {
        Self {
            staged_entries: batch.stage.entries.len(),
            staged_bytes: batch.stage.bytes,
            documents: batch.documents.count(),
            peers: links.peers.len(),
            pulls: links.peers.values().map(Peer::pull_count).sum(),
            announcements: links.announced.count(),
            early: links.early.count(),
            outputs: outbox.len(),
        }
    }
}

impl Status {
    /// What these parts know.
    pub(super) fn of<S: Store>(cx: Context<'_, S>, batch: &Batch, links: &Links) -> Self {
        let (realms, own) = (cx.realms, cx.author.site);
        let space = realms.network().map(|network| network.main_space());
        let logs = space.and_then(|space| realms.logs(space));
        let counted = space.map(|space| realms.count(space)).unwrap_or_default();
        let network = realms.network();
        let sites = network.map(|network| realms.sites_of(network, &|site| links.is_up(site)));
        let member = realms.members().and_then(|members| members.get(&own));
        Self {
            site: own,
            name: member.map_or_else(|| cx.name.to_owned(), |member| member.name.clone()),
            network,
            role: realms.role(),
            member: member.is_some(),
            entries: counted.entries,
            own_entries: counted.own,
            entries_unapplied: counted.unapplied,
            entries_lost: links.losses.count(),
            forks: logs.iter().flat_map(|logs| logs.forks.authors().copied()).collect(),
            sites: sites.unwrap_or_default(),
            indexes: batch.indexes.status(),
            revoked_by: realms.revoked_by(),
            revoked: realms.revoked_sites(),
            disputed: realms.members().map(|it| it.disputed().clone()).unwrap_or_default(),
            former: realms.members().map(Members::former).unwrap_or_default(),
        }
    }
}
