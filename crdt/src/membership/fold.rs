//! The fold from operations to members.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::{Admission, Genesis, Operation, Role, check_site_name};
use crate::entry::Entry;
use crate::ids::{EntryHash, NetworkId, SiteId};

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

/// Why an admission would not make a member.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotAdmitted {
    /// The grant is for other sites.
    #[error("the ticket is for network {found}, this is network {expected}")]
    OtherNetwork {
        /// The network of the grant.
        found: NetworkId,
        /// The network asked.
        expected: NetworkId,
    },
    /// A signature is wrong.
    #[error("the ticket's signatures do not hold")]
    Forged,
    /// The issuer may not invite.
    #[error("the ticket was issued by {issuer}, which is no admin of this network")]
    IssuerNotAdmin {
        /// Who signed the grant.
        issuer: SiteId,
    },
    /// Tickets serve once.
    #[error("the ticket was used before, by site {used_by}")]
    Used {
        /// The site that it admitted.
        used_by: SiteId,
    },
    /// The name cannot be shown.
    #[error("the site's name is not usable")]
    Name,
}

/// Whether an admission makes a new member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admitting {
    /// It would.
    New,
    /// The site is a member already.
    AlreadyMember,
}

/// The members of one network as one replica knows them.
#[derive(Clone, Debug)]
pub struct Members {
    network: NetworkId,
    genesis: Option<Genesis>,
    /// By what orders them: one more than the greatest depth in the entry's past, so that a follower always comes
    /// later; then the entry's hash.
    operations: BTreeMap<(u64, EntryHash), Vec<Operation>>,
    depths: BTreeMap<EntryHash, u64>,
    members: BTreeMap<SiteId, Member>,
    names: BTreeSet<String>,
    used_tickets: BTreeMap<SiteId, SiteId>,
}

impl Members {
    /// No member is known before the genesis document is.
    pub fn new(network: NetworkId, genesis: Option<Genesis>) -> Self {
        let mut members = Self {
            network,
            genesis,
            operations: BTreeMap::new(),
            depths: BTreeMap::new(),
            members: BTreeMap::new(),
            names: BTreeSet::new(),
            used_tickets: BTreeMap::new(),
        };
        members.fold();
        members
    }

    /// The network.
    pub fn network(&self) -> NetworkId {
        self.network
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

    /// All member sites.
    pub fn sites(&self) -> BTreeSet<SiteId> {
        self.members.keys().copied().collect()
    }

    /// Whether `site` may do what `role` allows.
    pub fn has_role(&self, site: &SiteId, role: Role) -> bool {
        self.members.get(site).is_some_and(|member| member.role >= role)
    }

    /// Takes in the operations of entries of the membership space. Unsigned operations have no effect.
    pub fn extend<'a>(&mut self, entries: impl IntoIterator<Item = (&'a Entry, Vec<Operation>)>) {
        let network = self.network;
        let signed = |operation: &Operation| match operation {
            Operation::Admit(admission) => admission.is_signed(network),
        };
        let mut in_order = true;
        for (entry, operations) in entries {
            let operations: Vec<_> = operations.into_iter().filter(signed).collect();
            let header = &entry.header;
            let parents = header.past.iter().map(|tip| tip.hash).chain([header.previous]);
            let depths = parents.filter_map(|hash| self.depths.get(&hash));
            let depth = 1 + depths.copied().max().unwrap_or(0);
            self.depths.insert(entry.hash, depth);
            let place = (depth, entry.hash);
            in_order &= self.operations.last_key_value().is_none_or(|(last, _)| *last < place);
            if in_order {
                operations.iter().for_each(|operation| self.take(operation));
            }
            self.operations.insert(place, operations);
        }
        if !in_order {
            self.fold();
        }
    }

    fn fold(&mut self) {
        self.members.clear();
        self.names.clear();
        self.used_tickets.clear();
        let founders = self.genesis.iter().flat_map(|genesis| &genesis.founders);
        for (site, name) in founders.cloned().collect::<Vec<_>>() {
            self.enrol(site, &name, Role::Admin, site);
        }
        let operations = std::mem::take(&mut self.operations);
        operations.values().flatten().for_each(|operation| self.take(operation));
        self.operations = operations;
    }

    fn take(&mut self, operation: &Operation) {
        match operation {
            Operation::Admit(admission) => self.admit(admission),
        }
    }

    /// An admission that some member granted never ends by another becoming known, or entries that were accepted
    /// on its strength would hang in the air: a ticket that was taken up on both sides of a cut link admits both
    /// sites, and of two roles the higher counts.
    fn admit(&mut self, admission: &Admission) {
        let grant = &admission.grant;
        if !self.has_role(&grant.issuer, Role::Admin) || check_site_name(&admission.name).is_err() {
            return;
        }
        self.enrol(admission.site, &admission.name, grant.role, grant.issuer);
        self.used_tickets.entry(grant.ticket).or_insert(admission.site);
    }

    fn enrol(&mut self, site: SiteId, name: &str, role: Role, invited_by: SiteId) {
        if let Some(member) = self.members.get_mut(&site) {
            member.role = member.role.max(role);
            return;
        }
        let name = unique_name(&self.names, name);
        self.names.insert(name.clone());
        self.members.insert(site, Member { name, role, invited_by });
    }

    /// Whether `admission`, its signatures apart, would make a member now.
    fn judge(&self, admission: &Admission) -> Result<Admitting, NotAdmitted> {
        let grant = &admission.grant;
        check_site_name(&admission.name).map_err(|_| NotAdmitted::Name)?;
        if !self.has_role(&grant.issuer, Role::Admin) {
            return Err(NotAdmitted::IssuerNotAdmin { issuer: grant.issuer });
        }
        match self.used_tickets.get(&grant.ticket) {
            Some(used_by) if *used_by == admission.site => Ok(Admitting::AlreadyMember),
            Some(used_by) => Err(NotAdmitted::Used { used_by: *used_by }),
            None if self.members.contains_key(&admission.site) => Ok(Admitting::AlreadyMember),
            None => Ok(Admitting::New),
        }
    }

    /// Whether an admission that a stranger presents makes it a member. The grant's expiry is for the caller,
    /// who has a clock.
    pub fn examine(&self, admission: &Admission) -> Result<Admitting, NotAdmitted> {
        if admission.grant.network != self.network {
            let (found, expected) = (admission.grant.network, self.network);
            return Err(NotAdmitted::OtherNetwork { found, expected });
        }
        if !admission.is_signed(self.network) {
            return Err(NotAdmitted::Forged);
        }
        self.judge(admission)
    }
}

/// Two sites may wish for one name; the later in the fold gets a number behind it.
fn unique_name(taken: &BTreeSet<String>, wished: &str) -> String {
    let numbered = (2..).map(|number: u64| format!("{wished}-{number}"));
    let mut candidates = std::iter::once(wished.to_owned()).chain(numbered);
    candidates.find(|name| !taken.contains(name)).unwrap_or_else(|| wished.to_owned())
}
