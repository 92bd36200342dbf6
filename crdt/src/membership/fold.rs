//! The fold from operations to members.

use std::collections::{BTreeMap, BTreeSet, btree_map};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::bearers::Bearers;
use super::past::Pasts;
use super::standing::{Docket, Lapse, Said, Sayings, Sites, Turn};
use super::{Admission, Cut, Genesis, Operation, Revocation, Role, looks_like};
use crate::ids::{Author, Incarnation, RealmId, SiteId, SpaceId};

/// One member of the network.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// Its name, unique in the network.
    pub name: String,
    /// What it may do.
    pub role: Role,
    /// Whose grant admitted it; itself for a founder.
    pub invited_by: SiteId,
}

/// A site that was a member.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Revoked {
    /// The name that it bore, which no other site gets.
    pub name: String,
    /// The admin who revoked it.
    pub by: SiteId,
}

/// A site that came by a ticket which was withdrawn, or used up, without knowing of it. An admin decides.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Disputed {
    /// The name that it wished for.
    pub name: String,
    /// The ticket.
    pub ticket: SiteId,
    /// What the ticket gives.
    pub role: Role,
    /// The admin who made the ticket.
    pub issuer: SiteId,
    /// The member that let it in.
    pub through: SiteId,
    /// Who withdrew the ticket; its issuer, where it was used up.
    pub by: SiteId,
}

/// How a site is met in the order of the fold, whether or not what it is met by counts.
#[derive(Clone, Copy, Debug)]
pub(super) struct Met {
    /// The highest role that anything ever gave it.
    pub(super) role: Role,
    /// By which operation first; `None`: by the genesis document.
    pub(super) at: Option<Turn>,
    /// The same of the role of an admin.
    pub(super) admin_at: Option<Option<Turn>>,
}

/// The members of one network as one replica knows them.
#[derive(Clone, Debug)]
pub struct Members {
    realm: RealmId,
    genesis: Option<Genesis>,
    pub(super) pasts: Pasts,
    pub(super) docket: Docket,
    /// Operations that take an admin, of sites that nothing ever made one, by these sites. They have no effect.
    pub(super) idle: Sayings,
    /// Sites that anything may have made an admin, in whatever order it is taken.
    pub(super) admins: BTreeSet<SiteId>,
    /// Logs in which their site left, or replaced its key: of several times the first counts.
    pub(super) exits: BTreeSet<Author>,
    /// Sites whose word on others, or on their own keys, others' standing may hang on.
    pub(super) speakers: BTreeSet<SiteId>,
    /// Who named which sites.
    pub(super) named_by: BTreeMap<SiteId, BTreeSet<SiteId>>,
    /// Every site that anything ever admitted, whether or not it counts.
    pub(super) met: BTreeMap<SiteId, Met>,
    /// The last operation by which a site was met.
    pub(super) last_met: Option<Turn>,
    /// The sites that are met, in the order in which they are judged.
    pub(super) order: Vec<SiteId>,
    /// Whether each site whose admission counts was judged in its turn, and none behind a later one.
    pub(super) is_straight: bool,
    /// The standing of every site that was admitted, revoked and disputed ones too. Whoever needs to know whether the admission
    /// counts looks at `lapse`, or for a rank.
    pub(super) sites: Sites,
    /// The sites whose admission counts, revoked ones too, the most senior first.
    seniority: Vec<SiteId>,
    /// Where in that order each is.
    pub(super) ranks: BTreeMap<SiteId, usize>,
    members: BTreeMap<SiteId, Member>,
    revoked: BTreeMap<SiteId, Revoked>,
    disputed: BTreeMap<SiteId, Disputed>,
    /// The keys that were replaced, with those that replaced them: the first, and all of them.
    rotated: BTreeMap<SiteId, SiteId>,
    heirs: BTreeMap<SiteId, Vec<SiteId>>,
    bearers: Bearers,
}

impl Members {
    /// No member is known before the genesis document is.
    pub fn new(realm: RealmId, genesis: Option<Genesis>) -> Self {
        let founders = genesis.iter().flat_map(|genesis| &genesis.founders);
        let mut members = Self {
            realm,
            admins: founders.map(|(site, _)| *site).collect(),
            genesis,
            pasts: Pasts::default(),
            docket: Docket::default(),
            idle: Sayings::default(),
            exits: BTreeSet::new(),
            speakers: BTreeSet::new(),
            named_by: BTreeMap::new(),
            met: BTreeMap::new(),
            last_met: None,
            order: Vec::new(),
            is_straight: true,
            sites: Sites::new(),
            seniority: Vec::new(),
            ranks: BTreeMap::new(),
            members: BTreeMap::new(),
            revoked: BTreeMap::new(),
            disputed: BTreeMap::new(),
            rotated: BTreeMap::new(),
            heirs: BTreeMap::new(),
            bearers: Bearers::default(),
        };
        members.fold();
        members
    }

    /// The network.
    pub fn realm(&self) -> RealmId {
        self.realm
    }

    /// The document that it began with, once known.
    pub fn genesis(&self) -> Option<&Genesis> {
        self.genesis.as_ref()
    }

    /// All members by site.
    pub fn all(&self) -> &BTreeMap<SiteId, Member> {
        &self.members
    }

    /// One member.
    pub fn get(&self, site: &SiteId) -> Option<&Member> {
        self.members.get(site)
    }

    /// All sites that were members and are no more.
    pub fn revoked(&self) -> &BTreeMap<SiteId, Revoked> {
        &self.revoked
    }

    /// The site that a site's key was replaced by.
    pub fn successor(&self, site: &SiteId) -> Option<SiteId> {
        self.rotated.get(site).copied()
    }

    /// All sites of which an admin is to decide whether they are members: they came too late by their tickets.
    pub fn disputed(&self) -> &BTreeMap<SiteId, Disputed> {
        &self.disputed
    }

    /// All member sites.
    pub fn sites(&self) -> BTreeSet<SiteId> {
        self.members.keys().copied().collect()
    }

    /// Whether `site` may do what `role` allows.
    pub fn has_role(&self, site: &SiteId, role: Role) -> bool {
        self.members.get(site).is_some_and(|member| member.role >= role)
    }

    /// The names that sites bear or bore.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.bearers.names().iter().map(String::as_str)
    }

    /// Whether another site bears or bore a name that people take for this one.
    pub(crate) fn has_name_like(&self, name: &str, site: SiteId) -> bool {
        let own = self.get(&site).map(|member| member.name.as_str());
        let mut others = self.bearers.names().iter().filter(|other| Some(other.as_str()) != own);
        others.any(|other| looks_like(other, name))
    }

    /// Whether a site goes on, by now, under the key of another one, or is that one.
    pub(crate) fn is_succeeded_by(&self, former: &SiteId, site: &SiteId) -> bool {
        std::iter::successors(Some(*former), |key| self.successor(key)).any(|key| key == *site)
    }

    /// The site whose key a site's replaced.
    pub(super) fn predecessor(&self, site: &SiteId) -> Option<SiteId> {
        self.sites.get(site)?.predecessor()
    }

    /// The word by which a site was revoked: of its key, or of a former one without knowledge of this.
    pub(crate) fn revocation(&self, site: &SiteId) -> Option<&Revocation> {
        let by = self.revoked.get(site)?.by;
        let of_keys = self.keys_of(*site).flat_map(|key| self.docket.decisions.of(&key));
        let mut revocations = of_keys.filter_map(Said::revocation);
        revocations.find(|revocation| revocation.issuer == by)
    }

    /// What the author of an entry may do by it: its role, or a former one as far as that was cut. `None`: the entry
    /// does not count.
    pub fn allowed(&self, space: SpaceId, author: Author, seq: u64) -> Option<Role> {
        self.sites.get(&author.site)?.allows(space, author, seq)
    }

    /// The highest role that anything ever gave to a site, whether or not it counts.
    pub fn ever(&self, site: &SiteId) -> Option<Role> {
        self.met.get(site).map(|met| met.role)
    }

    /// All sites whose admission counts, the most senior first.
    pub fn seniority(&self) -> &[SiteId] {
        &self.seniority
    }

    /// Whether `one` may decide of `other`, if it is an admin. Among sites that are known alone.
    pub fn is_senior(&self, one: &SiteId, other: &SiteId) -> bool {
        let ranks = self.ranks.get(one).zip(self.ranks.get(other));
        ranks.is_some_and(|(one, other)| one < other)
    }

    /// Whether a site has vouched for all this of another.
    pub(crate) fn has_vouched(&self, by: SiteId, of: SiteId, held: &Cut) -> bool {
        let vouches = self.docket.vouches.of(&of).iter().filter_map(Said::vouch);
        let mut said = Cut::default();
        for (_, cut) in vouches.filter(|(entry, _)| entry.author.site == by) {
            said.raise(cut);
        }
        said.includes(held)
    }

    /// The first number of each log of a site's at which it revokes another.
    pub(crate) fn revocations_by(&self, by: SiteId, of: SiteId) -> BTreeMap<Incarnation, u64> {
        let mut first = BTreeMap::new();
        for said in self.docket.decisions.of(&of).iter().chain(self.idle.of(&by)) {
            let is_meant = |revocation: &Revocation| revocation.site == of;
            let entry = &said.entry;
            if entry.author.site == by && said.revocation().is_some_and(is_meant) {
                let seq = first.entry(entry.author.incarnation).or_insert(entry.seq);
                *seq = entry.seq.min(*seq);
            }
        }
        first
    }

    /// The same, judged from the beginning: what all steps so far must have come to.
    #[must_use]
    pub fn judged_anew(&self) -> Self {
        let mut members = self.clone();
        members.fold();
        members
    }

    /// Judges all sites by all that is said.
    pub(super) fn fold(&mut self) {
        self.met.clear();
        self.last_met = None;
        self.sites.clear();
        self.seniority.clear();
        self.ranks.clear();
        self.is_straight = true;
        self.members.clear();
        self.revoked.clear();
        self.disputed.clear();
        self.rotated.clear();
        self.heirs.clear();
        self.bearers = Bearers::default();
        let mut order: Vec<SiteId> = Vec::new();
        for (site, _) in self.genesis.iter().flat_map(|genesis| &genesis.founders) {
            let met = Met { role: Role::Admin, at: None, admin_at: Some(None) };
            if self.met.insert(*site, met).is_none() {
                order.push(*site);
            }
        }
        let founders = order.len();
        let docket = std::mem::take(&mut self.docket);
        let said = docket.in_order();
        order.extend(said.into_iter().filter_map(|said| self.meet(said)));
        self.order = docket.ordered(order, founders);
        self.docket = docket;
        let order = self.order.clone();
        self.judge(&order);
    }

    /// Meets the site that an operation admits, whether or not that counts. Says which it is if it was not known.
    pub(super) fn meet(&mut self, said: &Said) -> Option<SiteId> {
        let author = said.entry.author.site;
        let (by, site, role) = match &*said.operation {
            Operation::Admit(Admission { grant, site, .. }) => (grant.issuer, *site, grant.role),
            Operation::ChangeRole(change) if self.met.contains_key(&change.site) => {
                (author, change.site, change.role)
            }
            Operation::Rotate(rotation) => {
                let role = self.met.get(&rotation.from)?.role;
                if self.met.contains_key(&rotation.to) {
                    return None;
                }
                return self.met_by(rotation.to, role, said.turn());
            }
            Operation::ChangeRole(_)
            | Operation::Revoke(_)
            | Operation::Rename { .. }
            | Operation::Vouch(_)
            | Operation::Invite(_)
            | Operation::Withdraw { .. } => return None,
        };
        match self.met.get(&by)?.role {
            Role::Admin => self.met_by(site, role, said.turn()),
            Role::Reader | Role::Writer => None,
        }
    }

    fn met_by(&mut self, site: SiteId, role: Role, turn: Turn) -> Option<SiteId> {
        let admin_at = (role == Role::Admin).then_some(Some(turn));
        match self.met.entry(site) {
            btree_map::Entry::Occupied(known) => {
                let known = known.into_mut();
                known.role = role.max(known.role);
                known.admin_at = match (known.admin_at, admin_at) {
                    (Some(one), Some(other)) => Some(one.min(other)),
                    (one, other) => one.or(other),
                };
                None
            }
            btree_map::Entry::Vacant(new) => {
                new.insert(Met { role, at: Some(turn), admin_at });
                self.last_met = self.last_met.max(Some(turn));
                Some(site)
            }
        }
    }

    /// The founders, with their names in the genesis document.
    pub(super) fn founders(&self) -> &[(SiteId, String)] {
        self.genesis.as_ref().map_or(&[], |genesis| &genesis.founders)
    }

    /// Judges sites that come behind all others, seniors first. One that only a later one has admitted comes behind that one.
    pub(super) fn judge(&mut self, order: &[SiteId]) {
        let from = self.seniority.len();
        let mut waiting = order.to_vec();
        let mut is_first = true;
        loop {
            let before = waiting.len();
            for site in std::mem::take(&mut waiting) {
                let founders = self.founders();
                match self.docket.judge(site, founders, &self.sites, &self.order) {
                    Some(standing) => {
                        self.sites.insert(site, Arc::new(standing));
                        self.ranks.insert(site, self.seniority.len());
                        self.seniority.push(site);
                        self.is_straight &= is_first;
                    }
                    None => waiting.push(site),
                }
            }
            if waiting.len() == before {
                break;
            }
            is_first = false;
        }
        // What speaks against a ticket is known now, and nothing hangs on those who are disputed.
        for site in waiting {
            self.dispute(site);
        }
        let new = self.seniority.split_off(from);
        for site in &new {
            if let Some(former) = self.predecessor(site) {
                self.rotated.entry(former).or_insert(*site);
                self.heirs.entry(former).or_default().push(*site);
            }
        }
        for site in &new {
            self.call(*site);
        }
        self.settle_names();
        for site in &new {
            self.file_member(*site);
        }
        self.seniority.extend(new);
    }

    /// A site wishes for the name that was given to it last, and so do those that replaced its key.
    pub(super) fn call(&mut self, site: SiteId) {
        let mut keys = vec![site];
        while let Some(site) = keys.pop() {
            keys.extend(self.heirs.get(&site).into_iter().flatten());
            let Some(rank) = self.ranks.get(&site).copied() else { continue };
            if !self.rotated.contains_key(&site) {
                let is_senior =
                    |other: &SiteId| self.ranks.get(other).is_some_and(|other| *other < rank);
                let name = self.docket.name(site, &self.sites, &is_senior);
                self.bearers.wish(site, rank, name);
            }
        }
    }

    /// Gives the names out that are wished for.
    pub(super) fn settle_names(&mut self) {
        for (site, name) in self.bearers.settle() {
            if let Some(member) = self.members.get_mut(&site) {
                member.name = name;
            } else if let Some(revoked) = self.revoked.get_mut(&site) {
                revoked.name = name;
            }
        }
    }

    /// A site that bears a name is a member, or was one, by its standing.
    pub(super) fn file_member(&mut self, site: SiteId) {
        let (Some(standing), Some(name)) = (self.sites.get(&site), self.bearers.of(&site)) else {
            return;
        };
        let name = name.to_owned();
        match (standing.role(), standing.revoked_by()) {
            (Some(role), _) => {
                let invited_by = standing.invited_by;
                self.revoked.remove(&site);
                self.members.insert(site, Member { name, role, invited_by });
            }
            (None, by) => {
                self.members.remove(&site);
                self.revoked.insert(site, Revoked { name, by: by.unwrap_or(site) });
            }
        }
    }

    /// A site that is no member by what admits it may be disputed. Says whether it stands otherwise than before.
    pub(super) fn dispute(&mut self, site: SiteId) -> bool {
        let Some(standing) = self.docket.disputed(site, &self.sites) else { return false };
        self.disputed.remove(&site);
        match (&standing.lapse, standing.revoked_by()) {
            (_, Some(by)) => {
                self.revoked.insert(site, Revoked { name: standing.name.clone(), by });
            }
            (Some(lapse), None) => {
                let (name, issuer) = (standing.name.clone(), standing.invited_by);
                let Lapse { by, ticket, role, through, .. } = *lapse;
                self.disputed.insert(site, Disputed { name, ticket, role, issuer, through, by });
            }
            (None, None) => {}
        }
        let before = self.sites.insert(site, Arc::new(standing));
        before.as_ref() != self.sites.get(&site)
    }

    /// What is known of a network's members, apart from how it came about.
    pub(super) fn outcome(&self) -> (&Sites, &BTreeMap<SiteId, Member>) {
        (&self.sites, &self.members)
    }
}
