//! The standing of a site, by what admitted it, what its seniors decided of it, and what others vouch for.

use super::docket::{Docket, RulingEntry};
use super::{Recorded, Ruling, Sites, Standing};
use crate::ids::SiteId;
use crate::membership::{Admission, Cut, Role, check_site_name};

impl<'a> Docket<'a> {
    /// The standing of a site whose seniors are in `sites`; `waiting` are the sites that are not judged yet. `None`:
    /// nothing that counts has admitted it.
    pub(in crate::membership) fn judge(
        &self,
        site: SiteId,
        founder: Option<&str>,
        sites: &Sites,
        waiting: &[SiteId],
    ) -> Option<Standing> {
        let mut standing = match founder {
            Some(name) => Standing::founder(site, name),
            None => self.admitted(site, sites)?,
        };
        standing.decisions = self.decided(site, &standing, sites);
        match standing.decisions.is_empty() {
            true => Some(standing),
            false => self.vouched_for(site, standing, sites, waiting),
        }
    }

    fn admitted(&self, site: SiteId, sites: &Sites) -> Option<Standing> {
        let counts = |(entry, admission): &(&'a Recorded, &'a Admission)| {
            let issuer = admission.grant.issuer;
            let author = sites.get(&entry.author.site)?.allows_in(entry)?;
            let role = match issuer == entry.author.site {
                true => author,
                false => sites.get(&issuer)?.seen_from(entry)?,
            };
            let is_named = check_site_name(&admission.name).is_ok();
            (role == Role::Admin && is_named).then_some(*admission)
        };
        let admissions = self.admissions.get(&site).into_iter().flatten();
        let counting: Vec<_> = admissions.filter_map(counts).collect();
        let Some(first) = counting.first() else { return self.succeeded(site, sites) };
        Some(Standing {
            name: first.name.clone(),
            invited_by: first.grant.issuer,
            // A ticket that was taken up on both sides of a cut link admits both sites, and of two roles the higher
            // counts.
            admitted_as: counting.iter().map(|admission| admission.grant.role).max()?,
            decisions: Vec::new(),
            succeeds: None,
        })
    }

    /// The standing of a new key, from that of the old one.
    fn succeeded(&self, site: SiteId, sites: &Sites) -> Option<Standing> {
        let rotations = self.rotations.get(&site)?.iter();
        let mut counting = rotations.filter_map(|(entry, from)| {
            let old = sites.get(from)?;
            old.allows_in(entry)?;
            Some(Standing {
                name: old.name.clone(),
                invited_by: old.invited_by,
                admitted_as: old.seen_from(entry)?,
                decisions: Vec::new(),
                succeeds: Some((*from, entry.hash)),
            })
        });
        counting.next()
    }

    /// What counts against a site: decisions of admins who are judged already, its own exit (it left, or replaced its key),
    /// and decisions about its former key of those who had not heard of the new one.
    fn decided(&self, site: SiteId, standing: &Standing, sites: &Sites) -> Vec<Ruling> {
        let counts = |(entry, role, _): &&RulingEntry<'_>| {
            let is_own_exit = entry.author.site == site && role.is_none();
            let by = sites.get(&entry.author.site);
            is_own_exit || by.and_then(|by| by.allows_in(entry)) == Some(Role::Admin)
        };
        let of_former = standing.succeeds.into_iter().flat_map(|(from, rotation)| {
            let of_former = self.decisions.get(&from).into_iter().flatten();
            of_former.filter(move |(entry, _, _)| {
                entry.author.site != from && !entry.follows.contains(&rotation)
            })
        });
        let of_site = self.decisions.get(&site).into_iter().flatten().chain(of_former);
        let decision = |(entry, role, cut): &RulingEntry<'_>| Ruling {
            at: entry.hash,
            place: (entry.space, entry.author, entry.seq),
            follows: entry.follows.clone(),
            by: entry.author.site,
            role: *role,
            said: (*cut).clone(),
            cut: (*cut).clone(),
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
        sites: &Sites,
        waiting: &[SiteId],
    ) -> Option<Standing> {
        let mut all = sites.clone();
        all.insert(site, standing);
        let mut open = vec![site];
        loop {
            let before = all.len();
            for junior in waiting {
                if !all.contains_key(junior)
                    && let Some(mut judged) = self.admitted(*junior, &all)
                {
                    judged.decisions = self.decided(*junior, &judged, sites);
                    open.extend(Some(*junior).filter(|_| !judged.decisions.is_empty()));
                    all.insert(*junior, judged);
                }
            }
            let mut is_more = all.len() > before;
            for site in &open {
                is_more |= self.raise(*site, &mut all);
            }
            if !is_more {
                return all.remove(&site);
            }
        }
    }

    /// Lets count of a site what others vouch for who did not know of a decision. Says whether that is more than before.
    fn raise(&self, site: SiteId, all: &mut Sites) -> bool {
        let vouches = self.vouches.get(&site).into_iter().flatten().copied();
        // Who decides of a site has held what the decision says, as if it had vouched for it.
        let decisions = self.decisions.get(&site).into_iter().flatten();
        let held = vouches.chain(decisions.map(|(entry, _, cut)| (*entry, *cut)));
        let counts = |(entry, _): &(&Recorded, &Cut)| {
            all.get(&entry.author.site).is_some_and(|by| by.allows_in(entry).is_some())
        };
        let held: Vec<_> = held.filter(counts).collect();
        let Some(mut standing) = all.get(&site).cloned() else { return false };
        let mut is_more = false;
        for decision in &mut standing.decisions {
            for (entry, cut) in &held {
                let is_own_word = entry.author.site == site && decision.role.is_none();
                if !is_own_word && !decision.binds_for(entry, site, all) && decision.cut.raise(cut)
                {
                    decision.vouched.push((entry.hash, (*cut).clone()));
                    is_more = true;
                }
            }
        }
        all.insert(site, standing);
        is_more
    }
}
