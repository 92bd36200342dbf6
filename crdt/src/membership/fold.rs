//! The fold from operations to members.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::{Admission, Genesis, Operation, Role, check_site_name};
use crate::entry::{Entry, Tip};
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
    operations: Vec<Ordered>,
    members: BTreeMap<SiteId, Member>,
    used_tickets: BTreeMap<SiteId, SiteId>,
}

/// The operations of one entry, with what orders them.
#[derive(Clone, Debug)]
struct Ordered {
    /// One more than the greatest depth in its past: a follower always comes later.
    depth: u64,
    tip: Tip,
    operations: Vec<Operation>,
}

impl Members {
    /// No member is known before the genesis document is.
    pub fn new(network: NetworkId, genesis: Option<Genesis>) -> Self {
        let mut members = Self {
            network,
            genesis,
            operations: Vec::new(),
            members: BTreeMap::new(),
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

    /// Takes in the operations of an entry of the membership space. Unsigned operations have no effect.
    pub fn add(&mut self, entry: &Entry, operations: Vec<Operation>) {
        let signed = |operation: &Operation| match operation {
            Operation::Admit(admission) => admission.is_signed(self.network),
        };
        let operations = operations.into_iter().filter(signed).collect();
        let header = &entry.header;
        let parents = header.past.iter().map(|tip| tip.hash).chain([header.previous]);
        let depth = 1 + parents.map(|hash| self.depth(hash)).max().unwrap_or(0);
        self.operations.push(Ordered { depth, tip: entry.tip(), operations });
        self.operations.sort_by_key(|ordered| (ordered.depth, ordered.tip.hash));
        self.fold();
    }

    fn depth(&self, hash: EntryHash) -> u64 {
        self.operations.iter().find(|o| o.tip.hash == hash).map_or(0, |ordered| ordered.depth)
    }

    fn fold(&mut self) {
        self.members.clear();
        self.used_tickets.clear();
        for (site, name) in self.genesis.iter().flat_map(|genesis| &genesis.founders) {
            let name = unique_name(&self.members, name);
            let member = Member { name, role: Role::Admin, invited_by: *site };
            self.members.insert(*site, member);
        }
        let operations = std::mem::take(&mut self.operations);
        for operation in operations.iter().flat_map(|ordered| &ordered.operations) {
            match operation {
                Operation::Admit(admission) => self.admit(admission),
            }
        }
        self.operations = operations;
    }

    fn admit(&mut self, admission: &Admission) {
        if self.judge(admission) != Ok(Admitting::New) {
            return;
        }
        let member = Member {
            name: unique_name(&self.members, &admission.name),
            role: admission.grant.role,
            invited_by: admission.grant.issuer,
        };
        self.members.insert(admission.site, member);
        self.used_tickets.insert(admission.grant.ticket, admission.site);
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
fn unique_name(members: &BTreeMap<SiteId, Member>, wished: &str) -> String {
    let taken = |name: &str| members.values().any(|member| member.name == name);
    let numbered = (2..).map(|number| format!("{wished}-{number}"));
    let mut candidates = std::iter::once(wished.to_owned()).chain(numbered);
    candidates.find(|name| !taken(name)).unwrap_or_else(|| wished.to_owned())
}
