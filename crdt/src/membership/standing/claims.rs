//! Who comes by a ticket, of all who take it up.
//!
//! An admission counts if its ticket has a place left among those who are judged before, and nothing withdraws the ticket but
//! what follows the admission. So that an admission stands, the issuer's node withdraws a ticket once it is used up: whatever
//! is signed later, or says that it was signed before, comes too late.
//!
//! One that comes too late and does not say that it knew makes its site disputed. What members hold of such a site, who may
//! write as much themselves and did not know, stays; it decides of nothing, and lets nobody in. An admin can still admit it.

use std::collections::BTreeSet;

use super::docket::{Docket, Said};
use super::{Recorded, Sites, Standing};
use crate::ids::{Author, SiteId, SpaceId};
use crate::membership::{Admission, Cut, Role, check_site_name};

/// Why a site is disputed, and what stays of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::membership) struct Lapse {
    /// Who withdrew the ticket; its issuer, where it was used up.
    pub(in crate::membership) by: SiteId,
    pub(in crate::membership) ticket: SiteId,
    /// What the ticket gives.
    pub(in crate::membership) role: Role,
    /// Who wrote the admission down.
    pub(in crate::membership) through: SiteId,
    /// Who follows one of these entries knows of it.
    known_by: BTreeSet<(Author, u64)>,
    held: Cut,
}

impl Lapse {
    pub(super) fn covers(&self, space: SpaceId, author: Author, seq: u64) -> bool {
        self.held.covers(space, author, seq)
    }

    /// Lets count what an entry vouches for of records, if its author may write such and did not know.
    fn raise_by(&mut self, entry: &Recorded, may: Option<Role>, cut: &Cut) {
        let mut known_by = self.known_by.iter();
        let is_known = known_by.any(|(log, seq)| entry.follows.contains(*log, *seq));
        if may >= Some(Role::Writer) && !is_known {
            self.held.raise(&cut.without(entry.space));
        }
    }
}

/// An entry that speaks against an admission, and by whose decision.
struct Objection {
    by: SiteId,
    entry: (Author, u64),
}

impl Docket {
    /// The admission, if its ticket is signed by who was an admin as far as the entry knows, and its author may write it.
    fn granted<'a>(&self, said: &'a Said, sites: &Sites) -> Option<(&'a Recorded, &'a Admission)> {
        let (entry, admission) = said.admission()?;
        let issuer = admission.grant.issuer;
        let author = sites.get(&entry.author.site)?.allows_in(entry)?;
        let role = if issuer == entry.author.site {
            author
        } else {
            sites.get(&issuer)?.seen_from(entry)?
        };
        let is_named = check_site_name(&admission.name).is_ok();
        (role == Role::Admin && is_named).then_some((entry, admission))
    }

    /// The admissions of a site that count, by what counts of `sites`; `judged` are those of them that are judged.
    pub(super) fn counting(
        &self,
        site: SiteId,
        sites: &Sites,
        judged: &Sites,
    ) -> Vec<(&Said, &Admission)> {
        let admissions = self.admissions.of(&site).iter();
        let granted = admissions.filter_map(|said| Some((said, self.granted(said, sites)?.1)));
        granted.filter(|(said, _)| self.objections(said, judged).is_empty()).collect()
    }

    /// What speaks against an admission that is granted.
    fn objections(&self, said: &Said, judged: &Sites) -> Vec<Objection> {
        let Some((_, admission)) = said.admission() else { return Vec::new() };
        let late = self.withdrawn(said, admission, judged);
        if late.is_empty() { self.used_up(admission, judged).into_iter().collect() } else { late }
    }

    /// What withdraws the ticket of an admission without following that.
    fn withdrawn(&self, said: &Said, admission: &Admission, judged: &Sites) -> Vec<Objection> {
        let claim = &said.entry;
        let withdrawals = self
            .withdrawals
            .of(&admission.grant.ticket)
            .iter()
            .filter(|other| !other.follows(said) && self.withdraws(other, judged));
        let withdrawals = withdrawals.map(|other| Objection {
            by: other.entry.author.site,
            entry: (other.entry.log, other.entry.seq),
        });
        // What its issuer wrote down itself counts as far as the issuer's own entries do.
        let issuer = admission.grant.issuer;
        let issuer = judged.get(&issuer).filter(|_| claim.author.site != issuer);
        let decisions = issuer.into_iter().flat_map(|issuer| &issuer.decisions);
        let apart = decisions.filter(|decision| {
            decision.role < Some(Role::Admin)
                && !decision.follows.contains(claim.log, claim.seq)
                && !decision.is_known_to(&claim.follows)
        });
        let apart = apart.map(|decision| Objection { by: decision.by, entry: decision.at });
        withdrawals.chain(apart).collect()
    }

    /// Whether a withdrawal counts.
    pub(in crate::membership) fn withdraws(&self, said: &Said, judged: &Sites) -> bool {
        let by = judged.get(&said.entry.author.site);
        by.and_then(|by| by.allows_in(&said.entry)) == Some(Role::Admin)
    }

    /// The admission that took the last place of a ticket, if there is none left for another one.
    fn used_up(&self, admission: &Admission, judged: &Sites) -> Option<Objection> {
        let ticket = &admission.grant.ticket;
        let places = self.places(ticket, judged);
        let mut holders = BTreeSet::new();
        self.claims.of(ticket).iter().find_map(|other| {
            let site = other.admission()?.1.site;
            let holds = judged.get(&site).is_some_and(|standing| standing.holds(ticket));
            if site == admission.site || !holds || !holders.insert(site) {
                return None;
            }
            let entry = (other.entry.log, other.entry.seq);
            (holders.len() >= places).then_some(Objection { by: admission.grant.issuer, entry })
        })
    }

    /// How many sites a ticket admits: as its issuer says, or one.
    pub(in crate::membership) fn places(&self, ticket: &SiteId, judged: &Sites) -> usize {
        let said = self.invitations.of(ticket).iter().filter(|said| self.withdraws(said, judged));
        let places = said.filter_map(|said| Some(usize::from(said.invitation()?.places)));
        places.max().unwrap_or(1).max(1)
    }

    /// The standing of a site all of whose admissions come too late, where all others are judged. `None`: nothing admits it,
    /// or who admitted it knew.
    pub(in crate::membership) fn disputed(&self, site: SiteId, sites: &Sites) -> Option<Standing> {
        let mut standing: Option<Standing> = None;
        for said in self.admissions.of(&site) {
            let Some((entry, admission)) = self.granted(said, sites) else { continue };
            let objections = self.objections(said, sites);
            let is_known = |it: &Objection| entry.follows.contains(it.entry.0, it.entry.1);
            if objections.iter().any(is_known) {
                continue;
            }
            let Some(first) = objections.first() else { continue };
            let (grant, through) = (&admission.grant, entry.author.site);
            let standing = standing.get_or_insert_with(|| {
                let lapse = Lapse {
                    by: first.by,
                    ticket: grant.ticket,
                    role: grant.role,
                    through,
                    known_by: BTreeSet::new(),
                    held: Cut::default(),
                };
                Standing::disputed(admission.name.clone(), grant.issuer, lapse)
            });
            let admitted_as = standing.admitted_as.max(grant.role.min(Role::Writer));
            standing.admitted_as = admitted_as;
            if let Some(lapse) = &mut standing.lapse {
                lapse.known_by.extend(objections.iter().map(|it| it.entry));
            }
        }
        let mut standing = standing?;
        standing.decisions = self.decided(site, &standing, sites);
        for (entry, cut) in self.held_by_others(site) {
            let Some(by) = sites.get(&entry.author.site) else { continue };
            let may = by.allows_in(entry);
            if may.is_some() {
                standing.raise_by(entry, cut, site, sites);
            }
            if let Some(lapse) = &mut standing.lapse {
                lapse.raise_by(entry, may, cut);
            }
        }
        Some(standing)
    }
}
