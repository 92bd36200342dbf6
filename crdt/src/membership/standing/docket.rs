//! The operations of the membership space, by the site that each concerns, and what follows from them alone.

use std::collections::{BTreeMap, BTreeSet};

use super::{Recorded, Sites, Standing};
use crate::ids::SiteId;
use crate::membership::{Admission, Cut, Operation, Role, check_site_name};

/// An entry that decides of a site, the role that it gives it (`None`: it revokes it), and the cut.
pub(super) type RulingEntry<'a> = (&'a Recorded, Option<Role>, &'a Cut);

/// The operations of the membership space by the site that each concerns, in the order of the fold.
pub(in crate::membership) struct Docket<'a> {
    pub(super) admissions: BTreeMap<SiteId, Vec<(&'a Recorded, &'a Admission)>>,
    pub(super) decisions: BTreeMap<SiteId, Vec<RulingEntry<'a>>>,
    pub(super) vouches: BTreeMap<SiteId, Vec<(&'a Recorded, &'a Cut)>>,
    /// By the new key's site.
    pub(super) rotations: BTreeMap<SiteId, Vec<(&'a Recorded, SiteId)>>,
    renamings: BTreeMap<SiteId, Vec<(&'a Recorded, &'a str)>>,
}

impl<'a> Docket<'a> {
    pub(in crate::membership) fn new(entries: impl IntoIterator<Item = &'a Recorded>) -> Self {
        let mut docket = Self {
            admissions: BTreeMap::new(),
            decisions: BTreeMap::new(),
            vouches: BTreeMap::new(),
            rotations: BTreeMap::new(),
            renamings: BTreeMap::new(),
        };
        for entry in entries {
            for operation in &entry.operations {
                docket.add(entry, operation);
            }
        }
        docket
    }

    fn add(&mut self, entry: &'a Recorded, operation: &'a Operation) {
        match operation {
            Operation::Admit(admission) => {
                self.admissions.entry(admission.site).or_default().push((entry, admission));
            }
            // The one who signed it also wrote it down, so that the entry says what it follows. A site may revoke itself.
            Operation::Revoke(revocation) if revocation.issuer == entry.author.site => {
                let of_site = self.decisions.entry(revocation.site).or_default();
                of_site.push((entry, None, &revocation.held));
            }
            Operation::Revoke(_) => {}
            Operation::ChangeRole(change) => {
                let of_site = self.decisions.entry(change.site).or_default();
                of_site.push((entry, Some(change.role), &change.held));
            }
            Operation::Vouch(vouch) => {
                self.vouches.entry(vouch.site).or_default().push((entry, &vouch.held));
            }
            Operation::Rotate(rotation) if rotation.from == entry.author.site => {
                let of_site = self.decisions.entry(rotation.from).or_default();
                of_site.push((entry, None, &rotation.held));
                self.rotations.entry(rotation.to).or_default().push((entry, rotation.from));
            }
            Operation::Rotate(_) => {}
            Operation::Rename { site, name } => {
                self.renamings.entry(*site).or_default().push((entry, name));
            }
        }
    }

    /// The name that a site is to bear: the last that it, or an admin who is its senior, has given it.
    pub(in crate::membership) fn name(
        &self,
        site: SiteId,
        sites: &Sites,
        seniors: &BTreeSet<SiteId>,
    ) -> String {
        let counts = |(entry, name): &&(&Recorded, &str)| {
            let author = entry.author.site;
            let role = sites.get(&author).and_then(|by| by.allows_in(entry));
            let may = if author == site {
                role.is_some()
            } else {
                role == Some(Role::Admin) && seniors.contains(&author)
            };
            may && check_site_name(name).is_ok()
        };
        let given = self.renamings.get(&site).into_iter().flatten().rfind(counts);
        let standing = sites.get(&site);
        let former = standing.and_then(Standing::predecessor);
        match (given, former) {
            (Some((_, name)), _) => (*name).to_owned(),
            (None, Some(former)) => self.name(former, sites, seniors),
            (None, None) => standing.map(|standing| standing.name.clone()).unwrap_or_default(),
        }
    }

    /// Sites in the order of seniority: a new key's right behind the old one's. The first ones are founders.
    pub(in crate::membership) fn ordered(&self, met: Vec<SiteId>, founders: usize) -> Vec<SiteId> {
        let mut successors: BTreeMap<SiteId, Vec<SiteId>> = BTreeMap::new();
        for site in met.iter().skip(founders) {
            let rotation = self.rotations.get(site).and_then(|rotations| rotations.first());
            if let Some((_, from)) = rotation.filter(|_| !self.admissions.contains_key(site)) {
                successors.entry(*from).or_default().push(*site);
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

    /// The tickets that count as used, with the site that each admitted first.
    pub(in crate::membership) fn used_tickets(&self, order: &[SiteId]) -> BTreeMap<SiteId, SiteId> {
        let mut used = BTreeMap::new();
        for site in order {
            for (_, admission) in self.admissions.get(site).into_iter().flatten() {
                used.entry(admission.grant.ticket).or_insert(*site);
            }
        }
        used
    }
}
