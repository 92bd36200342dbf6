//! The standing of a site, by what admitted it, what its seniors decided of it, and what others vouch for.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::docket::{Docket, Said};
use super::{Recorded, Ruling, Sites, Standing};
use crate::ids::SiteId;
use crate::membership::{Cut, Role};

impl Docket {
    /// The standing of a site whose seniors are in `sites`; `met` are all sites in the order in which they are judged, and those
    /// of them that are not in `sites` are not judged yet. `None`: nothing that counts has admitted it.
    pub(in crate::membership) fn judge(
        &self,
        site: SiteId,
        founders: &[(SiteId, String)],
        sites: &Sites,
        met: &[SiteId],
    ) -> Option<Standing> {
        let mut standing = self.let_in(site, founders, sites, sites)?;
        standing.decisions = self.decided(site, &standing, sites);
        if standing.decisions.is_empty() {
            Some(standing)
        } else {
            self.vouched_for(site, standing, (founders, sites), met)
        }
    }

    /// The standing of a site by what let it in, by what counts of `sites`, of which `judged` are judged: these alone withdraw
    /// tickets, or have used them up.
    fn let_in(
        &self,
        site: SiteId,
        founders: &[(SiteId, String)],
        sites: &Sites,
        judged: &Sites,
    ) -> Option<Standing> {
        match founders.iter().rev().find(|(founder, _)| *founder == site) {
            Some((_, name)) => Some(Standing::founder(site, name)),
            None => self.admitted(site, sites, judged),
        }
    }

    fn admitted(&self, site: SiteId, sites: &Sites, judged: &Sites) -> Option<Standing> {
        let counting = self.counting(site, sites, judged);
        let Some((said, first)) = counting.first() else { return self.succeeded(site, sites) };
        Some(Standing {
            name: first.name.clone(),
            invited_by: first.grant.issuer,
            through: said.entry.author.site,
            tickets: counting.iter().map(|(_, admission)| admission.grant.ticket).collect(),
            admitted_at: Some(said.turn()),
            // Of two roles the higher counts.
            admitted_as: counting.iter().map(|(_, admission)| admission.grant.role).max()?,
            decisions: Vec::new(),
            succeeds: None,
            lapse: None,
        })
    }

    /// The standing of a new key, from that of the old one.
    fn succeeded(&self, site: SiteId, sites: &Sites) -> Option<Standing> {
        let rotations = self.rotations.of(&site).iter().filter_map(Said::rotation);
        let mut counting = rotations.filter_map(|(entry, rotation)| {
            let from = rotation.from;
            let old = sites.get(&from)?;
            old.allows_in(entry)?;
            Some(Standing {
                name: old.name.clone(),
                invited_by: old.invited_by,
                through: old.through,
                tickets: BTreeSet::new(),
                admitted_as: old.seen_from(entry)?,
                admitted_at: None,
                decisions: Vec::new(),
                succeeds: Some((from, (entry.log, entry.seq))),
                lapse: None,
            })
        });
        counting.next()
    }

    /// What counts against a site: decisions of admins who are judged already, its own exit (it left, or replaced its key),
    /// and decisions about its former key of those who had not heard of the new one.
    pub(super) fn decided(&self, site: SiteId, standing: &Standing, sites: &Sites) -> Vec<Ruling> {
        let counts = |(entry, role, _): &(&Recorded, Option<Role>, &Cut)| {
            let is_own_exit = entry.author.site == site && role.is_none();
            let by = sites.get(&entry.author.site);
            is_own_exit || by.and_then(|by| by.allows_in(entry)) == Some(Role::Admin)
        };
        let of_former = standing.succeeds.into_iter().flat_map(|(from, (log, seq))| {
            let of_former = self.decisions.of(&from).iter().filter_map(Said::decision);
            of_former.filter(move |(entry, ..)| {
                entry.author.site != from && !entry.follows.contains(log, seq)
            })
        });
        let of_site = self.decisions.of(&site).iter().filter_map(Said::decision).chain(of_former);
        let decision = |(entry, role, cut): (&Recorded, Option<Role>, &Cut)| Ruling {
            entry: (entry.space, entry.author, entry.seq),
            at: (entry.log, entry.seq),
            follows: entry.follows.clone(),
            by: entry.author.site,
            role,
            said: cut.clone(),
            cut: cut.clone(),
            vouched: Vec::new(),
        };
        of_site.filter(counts).map(decision).collect()
    }

    /// The standing with what others vouch for who did not know of the decisions. Those may have been admitted by the site
    /// itself, so who they are depends on what counts of it, and on what is vouched for of them in turn: each round lets
    /// more count. Of what was decided of juniors, only that of seniors of both can be known here.
    fn vouched_for(
        &self,
        site: SiteId,
        standing: Standing,
        (founders, sites): (&[(SiteId, String)], &Sites),
        met: &[SiteId],
    ) -> Option<Standing> {
        let mut all = sites.clone();
        all.insert(site, Arc::new(standing));
        let mut open = vec![site];
        loop {
            let before = all.len();
            for junior in met {
                if !all.contains_key(junior)
                    && let Some(mut judged) = self.let_in(*junior, founders, &all, sites)
                {
                    judged.decisions = self.decided(*junior, &judged, sites);
                    open.extend(Some(*junior).filter(|_| !judged.decisions.is_empty()));
                    all.insert(*junior, Arc::new(judged));
                }
            }
            let mut is_more = all.len() > before;
            for site in &open {
                is_more |= self.raise(*site, &mut all);
            }
            if !is_more {
                return all.remove(&site).map(Arc::unwrap_or_clone);
            }
        }
    }

    /// What others say to hold of a site. Who decides of it has held what the decision says, as if it had vouched for it.
    pub(super) fn held_by_others(&self, site: SiteId) -> impl Iterator<Item = (&Recorded, &Cut)> {
        let vouches = self.vouches.of(&site).iter().filter_map(Said::vouch);
        let decisions = self.decisions.of(&site).iter().filter_map(Said::decision);
        vouches.chain(decisions.map(|(entry, _, cut)| (entry, cut)))
    }

    /// Lets count of a site what others vouch for who did not know of a decision. Says whether that is more than before.
    fn raise(&self, site: SiteId, all: &mut Sites) -> bool {
        let held = self.held_by_others(site);
        let counts = |(entry, _): &(&Recorded, &Cut)| {
            all.get(&entry.author.site).is_some_and(|by| by.allows_in(entry).is_some())
        };
        let held: Vec<_> = held.filter(counts).collect();
        let Some(standing) = all.get(&site) else { return false };
        let mut standing = Standing::clone(standing);
        let mut is_more = false;
        for (entry, cut) in held {
            is_more |= standing.raise_by(entry, cut, site, all);
        }
        if is_more {
            all.insert(site, Arc::new(standing));
        }
        is_more
    }
}
