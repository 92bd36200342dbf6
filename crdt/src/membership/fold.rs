//! The fold from operations to members.

use std::collections::{BTreeMap, BTreeSet, btree_map};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::standing::{Docket, Recorded, Sites, Standing};
use super::{Admission, Cut, Genesis, Operation, Revocation, Role, looks_like};
use crate::ids::{Author, EntryHash, Incarnation, RealmId, SiteId, SpaceId};
use crate::log::entry::Entry;

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

/// What orders entries: one more than the greatest depth in an entry's past, so that a follower always comes later;
/// then the entry's hash.
type FoldPlace = (u64, EntryHash);

/// What an entry has behind it.
#[derive(Clone, Debug)]
struct KnownPast {
    depth: u64,
    /// The entries up to this one, itself included, that decide of sites.
    decisions: Arc<BTreeSet<EntryHash>>,
}

/// The members of one network as one replica knows them.
#[derive(Clone, Debug)]
pub struct Members {
    realm: RealmId,
    genesis: Option<Genesis>,
    entries: BTreeMap<FoldPlace, Recorded>,
    pasts: BTreeMap<EntryHash, KnownPast>,
    /// Every site that any operation concerns.
    concerned: BTreeSet<SiteId>,
    /// Every site that anything ever admitted, whether or not it counts, with the highest role that anything gave it.
    ever: BTreeMap<SiteId, Role>,
    /// The sites whose admission counts, revoked ones too.
    sites: Sites,
    /// The same, the most senior first.
    seniority: Vec<SiteId>,
    members: BTreeMap<SiteId, Member>,
    revoked: BTreeMap<SiteId, Revoked>,
    /// The keys that were replaced, with those that replaced them.
    rotated: BTreeMap<SiteId, SiteId>,
    names: BTreeSet<String>,
    used_tickets: BTreeMap<SiteId, SiteId>,
}

impl Members {
    /// No member is known before the genesis document is.
    pub fn new(realm: RealmId, genesis: Option<Genesis>) -> Self {
        let mut members = Self {
            realm,
            genesis,
            entries: BTreeMap::new(),
            pasts: BTreeMap::new(),
            concerned: BTreeSet::new(),
            ever: BTreeMap::new(),
            sites: Sites::new(),
            seniority: Vec::new(),
            members: BTreeMap::new(),
            revoked: BTreeMap::new(),
            rotated: BTreeMap::new(),
            names: BTreeSet::new(),
            used_tickets: BTreeMap::new(),
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

    /// The site that a ticket admitted.
    pub(super) fn admitted_by(&self, ticket: &SiteId) -> Option<SiteId> {
        self.used_tickets.get(ticket).copied()
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
        self.names.iter().map(String::as_str)
    }

    /// Whether another site bears or bore a name that people take for this one.
    pub(crate) fn has_name_like(&self, name: &str, site: SiteId) -> bool {
        let own = self.get(&site).map(|member| member.name.as_str());
        let mut others = self.names.iter().filter(|other| Some(other.as_str()) != own);
        others.any(|other| looks_like(other, name))
    }

    /// Whether a site goes on, by now, under the key of another one, or is that one.
    pub(crate) fn goes_on_as(&self, former: &SiteId, site: &SiteId) -> bool {
        std::iter::successors(Some(*former), |key| self.successor(key)).any(|key| key == *site)
    }

    /// Every signed operation, whether or not it counts.
    pub(super) fn operations(&self) -> impl Iterator<Item = &Operation> {
        self.entries.values().flat_map(|entry| &entry.operations)
    }

    /// The site whose key a site's replaced.
    pub(super) fn predecessor(&self, site: &SiteId) -> Option<SiteId> {
        self.sites.get(site).and_then(Standing::predecessor)
    }

    /// The word by which a site was revoked: of its key, or of a former one without knowledge of this.
    pub(crate) fn revocation(&self, site: &SiteId) -> Option<&Revocation> {
        let by = self.revoked.get(site)?.by;
        let mut of_site = self.operations().filter_map(|operation| match operation {
            Operation::Revoke(revocation) => Some(revocation),
            Operation::Admit(_)
            | Operation::ChangeRole(_)
            | Operation::Rename { .. }
            | Operation::Vouch(_)
            | Operation::Rotate(_) => None,
        });
        of_site
            .find(|revocation| revocation.issuer == by && self.goes_on_as(&revocation.site, site))
    }

    /// What the author of an entry may do by it: its role, or a former one as far as that was cut. `None`: the entry
    /// does not count.
    pub fn allowed(&self, space: SpaceId, author: Author, seq: u64) -> Option<Role> {
        self.sites.get(&author.site)?.allows(space, author, seq)
    }

    /// The highest role that anything ever gave to a site, whether or not it counts.
    pub fn ever(&self, site: &SiteId) -> Option<Role> {
        self.ever.get(site).copied()
    }

    /// All sites whose admission counts, the most senior first.
    pub fn seniority(&self) -> &[SiteId] {
        &self.seniority
    }

    /// Whether `one` may decide of `other`, if it is an admin. Among sites that are known alone.
    pub fn is_senior(&self, one: &SiteId, other: &SiteId) -> bool {
        let place = |site| self.seniority.iter().position(|known| known == site);
        place(one).zip(place(other)).is_some_and(|(one, other)| one < other)
    }

    /// Whether a site has vouched for all this of another.
    pub(crate) fn has_vouched(&self, by: SiteId, of: SiteId, held: &Cut) -> bool {
        let authors = self.entries.values().filter(|entry| entry.author.site == by);
        authors.flat_map(|entry| &entry.operations).any(|operation| match operation {
            Operation::Vouch(vouch) => vouch.site == of && vouch.held.includes(held),
            Operation::Admit(_)
            | Operation::Revoke(_)
            | Operation::ChangeRole(_)
            | Operation::Rename { .. }
            | Operation::Rotate(_) => false,
        })
    }

    /// The first number of each log of a site's at which it revokes another.
    pub(crate) fn revocations_by(&self, by: SiteId, of: SiteId) -> BTreeMap<Incarnation, u64> {
        let revokes = |operation: &Operation| match operation {
            Operation::Revoke(revocation) => revocation.site == of,
            Operation::Admit(_)
            | Operation::ChangeRole(_)
            | Operation::Rename { .. }
            | Operation::Vouch(_)
            | Operation::Rotate(_) => false,
        };
        let mut first = BTreeMap::new();
        for entry in self.entries.values().filter(|entry| entry.author.site == by) {
            if entry.operations.iter().any(revokes) {
                let seq = first.entry(entry.author.incarnation).or_insert(entry.seq);
                *seq = entry.seq.min(*seq);
            }
        }
        first
    }

    /// Takes in the operations of entries of the membership space. Unsigned operations have no effect. Says whether
    /// that changed who may write what.
    pub fn extend<'a>(
        &mut self,
        entries: impl IntoIterator<Item = (&'a Entry, Vec<Operation>)>,
    ) -> bool {
        let last = self.entries.last_key_value().map(|(place, _)| *place);
        let mut places = Vec::new();
        // The short way is right only while no site waits for its admission to count: a new entry may let it in.
        let mut are_new = self.sites.len() == self.ever.len();
        for (entry, mut operations) in entries {
            operations.retain(|operation| operation.is_signed(self.realm));
            are_new &= self.are_new(&operations);
            places.push(self.record(entry, operations));
        }
        let is_last = |pair: &[Option<FoldPlace>]| pair[0] < pair[1];
        let placed: Vec<_> = [last].into_iter().chain(places.iter().copied().map(Some)).collect();
        match places.first().filter(|_| placed.windows(2).all(is_last)) {
            None if places.is_empty() => false,
            Some(first) if are_new => self.append(*first),
            Some(_) | None => {
                let before = (self.sites.clone(), self.members.clone());
                self.fold();
                before != (self.sites.clone(), self.members.clone())
            }
        }
    }

    fn record(&mut self, entry: &Entry, operations: Vec<Operation>) -> FoldPlace {
        let header = &entry.header;
        let parents = header.past.iter().map(|tip| tip.hash).chain([header.previous]);
        let parents: Vec<_> = parents.filter_map(|hash| self.pasts.get(&hash)).collect();
        let depth = 1 + parents.iter().map(|past| past.depth).max().unwrap_or(0);
        let longest = parents.iter().map(|past| &past.decisions).max_by_key(|all| all.len());
        let mut follows = longest.cloned().unwrap_or_default();
        for past in parents {
            if !past.decisions.is_subset(&follows) {
                Arc::make_mut(&mut follows).extend(past.decisions.iter());
            }
        }
        let mut decisions = follows.clone();
        if operations.iter().any(Operation::is_of_standing) {
            Arc::make_mut(&mut decisions).insert(entry.hash);
        }
        self.pasts.insert(entry.hash, KnownPast { depth, decisions });
        let (space, author, seq) = (header.space, header.author, header.seq);
        let recorded = Recorded { hash: entry.hash, space, author, seq, operations, follows };
        self.entries.insert((depth, entry.hash), recorded);
        (depth, entry.hash)
    }

    /// Whether operations only admit sites of which nothing was known, as most do. Such sites are known from now on.
    fn are_new(&mut self, operations: &[Operation]) -> bool {
        let mut are_new = true;
        for operation in operations {
            let (site, admits) = match operation {
                Operation::Admit(admission) => (admission.site, true),
                Operation::Revoke(revocation) => (revocation.site, false),
                Operation::ChangeRole(change) => (change.site, false),
                Operation::Rename { site, .. } => (*site, false),
                Operation::Vouch(vouch) => (vouch.site, false),
                Operation::Rotate(rotation) => {
                    self.concerned.insert(rotation.from);
                    (rotation.to, false)
                }
            };
            let is_new = self.concerned.insert(site) && !self.ever.contains_key(&site);
            are_new &= admits && is_new;
        }
        are_new
    }

    /// Adds entries that only admit new sites, behind all others; says whether there is anything.
    fn append(&mut self, from: FoldPlace) -> bool {
        let entries = std::mem::take(&mut self.entries);
        let order = self.meet(entries.range(from..).map(|(_, entry)| entry));
        let docket = Docket::new(entries.range(from..).map(|(_, entry)| entry));
        let seniors = self.seniority.len();
        self.judge(&docket, &order);
        self.name(&docket, seniors);
        self.entries = entries;
        !order.is_empty()
    }

    fn fold(&mut self) {
        self.ever.clear();
        self.sites.clear();
        self.seniority.clear();
        self.members.clear();
        self.revoked.clear();
        self.rotated.clear();
        self.names.clear();
        self.used_tickets.clear();
        let founders = self.genesis.iter().flat_map(|genesis| &genesis.founders);
        let mut order: Vec<SiteId> = Vec::new();
        for (site, _) in founders {
            if self.ever.insert(*site, Role::Admin).is_none() {
                order.push(*site);
            }
        }
        let entries = std::mem::take(&mut self.entries);
        let founders = order.len();
        order.extend(self.meet(entries.values()));
        let docket = Docket::new(entries.values());
        let order = docket.ordered(order, founders);
        self.judge(&docket, &order);
        self.name(&docket, 0);
        self.entries = entries;
    }

    /// Meets the sites that entries admit, in this order, whether or not that counts; says which were not known.
    fn meet<'a>(&mut self, entries: impl Iterator<Item = &'a Recorded>) -> Vec<SiteId> {
        let mut new = Vec::new();
        for entry in entries {
            for operation in &entry.operations {
                let (by, site, role) = match operation {
                    Operation::Admit(Admission { grant, site, .. }) => {
                        (grant.issuer, *site, grant.role)
                    }
                    Operation::ChangeRole(change) if self.ever.contains_key(&change.site) => {
                        (entry.author.site, change.site, change.role)
                    }
                    Operation::Rotate(rotation) => {
                        let from = &rotation.from;
                        let role = self.ever.get(from).filter(|_| *from == entry.author.site);
                        let Some(role) = role.copied() else { continue };
                        if let btree_map::Entry::Vacant(new_site) = self.ever.entry(rotation.to) {
                            new_site.insert(role);
                            new.push(rotation.to);
                        }
                        continue;
                    }
                    Operation::ChangeRole(_)
                    | Operation::Revoke(_)
                    | Operation::Rename { .. }
                    | Operation::Vouch(_) => continue,
                };
                if self.ever.get(&by) != Some(&Role::Admin) {
                    continue;
                }
                match self.ever.get_mut(&site) {
                    Some(known) => *known = role.max(*known),
                    None => {
                        self.ever.insert(site, role);
                        new.push(site);
                    }
                }
            }
        }
        new
    }

    /// Judges sites, seniors first. One that only a later one has admitted comes behind that one.
    fn judge(&mut self, docket: &Docket<'_>, order: &[SiteId]) {
        let founders = self.genesis.iter().flat_map(|genesis| &genesis.founders);
        let founders: BTreeMap<SiteId, &str> =
            founders.map(|(site, name)| (*site, name.as_str())).collect();
        let mut waiting = order.to_vec();
        loop {
            let before = waiting.len();
            for site in std::mem::take(&mut waiting) {
                let founder = founders.get(&site).copied();
                match docket.judge(site, founder, &self.sites, order) {
                    Some(standing) => {
                        self.sites.insert(site, standing);
                        self.seniority.push(site);
                    }
                    None => waiting.push(site),
                }
            }
            if waiting.len() == before {
                return;
            }
        }
    }

    /// Names the sites from a place in the seniority on, and says what became of them and of their tickets.
    fn name(&mut self, docket: &Docket<'_>, from: usize) {
        let (seniors, new) = self.seniority.split_at(from);
        let mut seniors: BTreeSet<SiteId> = seniors.iter().copied().collect();
        for site in new {
            if let Some(former) = self.predecessor(site) {
                self.rotated.entry(former).or_insert(*site);
            }
        }
        for site in new {
            let Some(standing) = self.sites.get(site) else { continue };
            if self.rotated.contains_key(site) {
                seniors.insert(*site);
                continue;
            }
            let wished = docket.name(*site, &self.sites, &seniors);
            let name = unique_name(&self.names, &wished);
            self.names.insert(name.clone());
            match (standing.role(), standing.revoked_by()) {
                (Some(role), _) => {
                    let invited_by = standing.invited_by;
                    self.members.insert(*site, Member { name, role, invited_by });
                }
                (None, by) => {
                    let by = by.unwrap_or(*site);
                    self.revoked.insert(*site, Revoked { name, by });
                }
            }
            seniors.insert(*site);
        }
        for (ticket, site) in docket.used_tickets(new) {
            self.used_tickets.entry(ticket).or_insert(site);
        }
    }
}

/// Two sites may wish for one name; the junior gets a number behind it.
fn unique_name(taken: &BTreeSet<String>, wished: &str) -> String {
    let numbered = (2..).map(|number: u64| format!("{wished}-{number}"));
    let mut candidates = std::iter::once(wished.to_owned()).chain(numbered);
    candidates.find(|name| !taken.contains(name)).unwrap_or_else(|| wished.to_owned())
}
