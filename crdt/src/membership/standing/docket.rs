//! The operations of the membership space, by the site that each concerns, and what follows from these alone.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::{Recorded, Sites, Standing};
use crate::ids::SiteId;
use crate::membership::past::FoldOrder;
use crate::membership::{Admission, Cut, Operation, Revocation, Role, Rotation, check_site_name};

/// An operation, with the entry that it is in.
#[derive(Clone, Debug)]
pub(in crate::membership) struct Said {
    pub(in crate::membership) entry: Arc<Recorded>,
    /// Its number among those of the entry.
    pub(in crate::membership) number: usize,
    pub(in crate::membership) operation: Arc<Operation>,
}

/// The order of operations: by entry, then as the entry has them.
pub(in crate::membership) type Turn = (FoldOrder, usize);

impl Said {
    pub(in crate::membership) fn turn(&self) -> Turn {
        (self.entry.order, self.number)
    }

    /// Whether it follows another: its entry does, or it comes behind the other in the same entry.
    pub(in crate::membership) fn follows(&self, other: &Self) -> bool {
        if self.entry.order == other.entry.order {
            other.number < self.number
        } else {
            self.entry.follows.contains(other.entry.log, other.entry.seq)
        }
    }

    pub(in crate::membership) fn admission(&self) -> Option<(&Recorded, &Admission)> {
        let Operation::Admit(admission) = &*self.operation else { return None };
        Some((&self.entry, admission))
    }

    /// The role that it gives (`None`: it revokes, or replaces the key), and the cut.
    pub(super) fn decision(&self) -> Option<(&Recorded, Option<Role>, &Cut)> {
        let (_, role, cut) = self.operation.decision()?;
        Some((&self.entry, role, cut))
    }

    pub(in crate::membership) fn vouch(&self) -> Option<(&Recorded, &Cut)> {
        let Operation::Vouch(vouch) = &*self.operation else { return None };
        Some((&self.entry, &vouch.held))
    }

    pub(in crate::membership) fn revocation(&self) -> Option<&Revocation> {
        let Operation::Revoke(revocation) = &*self.operation else { return None };
        Some(revocation)
    }

    pub(in crate::membership) fn rotation(&self) -> Option<(&Recorded, &Rotation)> {
        let Operation::Rotate(rotation) = &*self.operation else { return None };
        Some((&self.entry, rotation))
    }

    fn name(&self) -> Option<(&Recorded, &str)> {
        let Operation::Rename { name, .. } = &*self.operation else { return None };
        Some((&self.entry, name))
    }
}

/// Operations by site, each site's in the order of the fold. Those of one site are copied if that site's change.
#[derive(Clone, Debug, Default)]
pub(in crate::membership) struct Sayings(BTreeMap<SiteId, Arc<Vec<Said>>>);

impl Sayings {
    pub(in crate::membership) fn of(&self, site: &SiteId) -> &[Said] {
        self.0.get(site).map_or(&[], |all| all.as_slice())
    }

    pub(in crate::membership) fn add(&mut self, site: SiteId, said: &Said) {
        let all = Arc::make_mut(self.0.entry(site).or_default());
        let at = all.partition_point(|other| other.turn() < said.turn());
        all.insert(at, said.clone());
    }

    pub(in crate::membership) fn take(&mut self, site: &SiteId) -> Option<Arc<Vec<Said>>> {
        self.0.remove(site)
    }

    /// By whom or what each is found, and these.
    pub(in crate::membership) fn iter(&self) -> impl Iterator<Item = (&SiteId, &Said)> {
        self.0.iter().flat_map(|(key, all)| all.iter().map(move |said| (key, said)))
    }

    /// All of them, in the order of the fold.
    fn all(&self) -> Vec<&Said> {
        let mut all: Vec<_> = self.0.values().flat_map(|all| all.iter()).collect();
        all.sort_by_key(|said| said.turn());
        all
    }
}

/// The operations of the membership space by the site that each concerns, in the order of the fold.
#[derive(Clone, Debug, Default)]
pub(in crate::membership) struct Docket {
    pub(in crate::membership) admissions: Sayings,
    /// With the replacements of its own key.
    pub(in crate::membership) decisions: Sayings,
    pub(in crate::membership) vouches: Sayings,
    /// By the new key's site.
    pub(in crate::membership) rotations: Sayings,
    renamings: Sayings,
    /// Admissions once more, by ticket.
    pub(in crate::membership) claims: Sayings,
    /// By ticket.
    pub(in crate::membership) invitations: Sayings,
    /// By ticket.
    pub(in crate::membership) withdrawals: Sayings,
}

impl Docket {
    pub(in crate::membership) fn add(&mut self, said: &Said) {
        match &*said.operation {
            Operation::Admit(admission) => {
                self.admissions.add(admission.site, said);
                self.claims.add(admission.grant.ticket, said);
            }
            Operation::Invite(ticket) => self.invitations.add(ticket.grant.ticket, said),
            Operation::Withdraw { ticket } => self.withdrawals.add(*ticket, said),
            Operation::Revoke(revocation) => self.decisions.add(revocation.site, said),
            Operation::ChangeRole(change) => self.decisions.add(change.site, said),
            Operation::Vouch(vouch) => self.vouches.add(vouch.site, said),
            Operation::Rotate(rotation) => {
                self.decisions.add(rotation.from, said);
                self.rotations.add(rotation.to, said);
            }
            Operation::Rename { site, .. } => self.renamings.add(*site, said),
        }
    }

    /// Whether nothing but one admission is said of a site.
    pub(in crate::membership) fn only_admits(&self, site: &SiteId) -> bool {
        let others = [&self.decisions, &self.vouches, &self.rotations, &self.renamings];
        self.admissions.of(site).len() == 1 && others.iter().all(|all| all.of(site).is_empty())
    }

    /// What sites are met by, in the order of the fold.
    pub(in crate::membership) fn in_order(&self) -> Vec<&Said> {
        let mut all = self.admissions.all();
        // A replacement of a key is among the decisions too.
        all.extend(self.decisions.all());
        all.sort_by_key(|said| said.turn());
        all
    }

    /// The name that a site is to bear: the last that it, or an admin who is its senior, has given it.
    pub(in crate::membership) fn name(
        &self,
        site: SiteId,
        sites: &Sites,
        is_senior: &dyn Fn(&SiteId) -> bool,
    ) -> String {
        let counts = |(entry, name): &(&Recorded, &str)| {
            let author = entry.author.site;
            let role = sites.get(&author).and_then(|by| by.allows_in(entry));
            let may = if author == site {
                role.is_some()
            } else {
                role == Some(Role::Admin) && is_senior(&author)
            };
            may && check_site_name(name).is_ok()
        };
        let given = self.renamings.of(&site).iter().filter_map(Said::name).rfind(counts);
        let standing = sites.get(&site);
        let former = standing.and_then(|standing| standing.predecessor());
        match (given, former) {
            (Some((_, name)), _) => name.to_owned(),
            (None, Some(former)) => self.name(former, sites, is_senior),
            (None, None) => standing.map(|standing| standing.name.clone()).unwrap_or_default(),
        }
    }

    /// Sites in the order of seniority: a new key's right behind the old one's. The first ones are founders.
    pub(in crate::membership) fn ordered(&self, met: Vec<SiteId>, founders: usize) -> Vec<SiteId> {
        let mut successors: BTreeMap<SiteId, Vec<SiteId>> = BTreeMap::new();
        for site in met.iter().skip(founders) {
            let rotation = self.rotations.of(site).first().and_then(Said::rotation);
            if let Some((_, rotation)) = rotation.filter(|_| self.admissions.of(site).is_empty()) {
                successors.entry(rotation.from).or_default().push(*site);
            }
        }
        let later: BTreeSet<SiteId> = successors.values().flatten().copied().collect();
        let mut order = Vec::with_capacity(met.len());
        // Each waits on the stack above those that come behind it and its successors.
        let mut stack: Vec<_> =
            met.into_iter().filter(|site| !later.contains(site)).rev().collect();
        while let Some(site) = stack.pop() {
            order.push(site);
            stack.extend(successors.remove(&site).into_iter().flatten().rev());
        }
        order
    }
}

impl Standing {
    /// Whether a further admission, behind the one that counts, gives nothing more.
    pub(in crate::membership) fn has(&self, role: Role, turn: Turn) -> bool {
        self.admitted_at.is_some_and(|at| at < turn) && role <= self.admitted_as
    }
}
