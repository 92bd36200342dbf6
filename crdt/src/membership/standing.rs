//! What a site may do, entry by entry: by what admitted it and what its seniors decided of it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::{Admission, Cut, Operation, Role, check_site_name};
use crate::ids::{Author, EntryHash, SiteId, SpaceId};

/// An entry of the membership space as the fold sees it.
#[derive(Clone, Debug)]
pub(super) struct Recorded {
    pub(super) hash: EntryHash,
    pub(super) space: SpaceId,
    pub(super) author: Author,
    pub(super) seq: u64,
    pub(super) operations: Vec<Operation>,
    /// The entries in its past that decide of sites, or vouch for them.
    pub(super) follows: Arc<BTreeSet<EntryHash>>,
}

/// A revocation or a change of role that counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Decision {
    /// The entry that it is in.
    at: EntryHash,
    /// The same, by its place.
    place: Place,
    follows: Arc<BTreeSet<EntryHash>>,
    /// Who decided.
    by: SiteId,
    /// What the site may do; `None`: it is revoked.
    role: Option<Role>,
    /// What a higher role allowed counts so far: by its own word,
    said: Cut,
    /// and with what others vouch for, in these entries.
    cut: Cut,
    vouched: Vec<(EntryHash, Cut)>,
}

/// An entry of a site, by its space and log.
type Place = (SpaceId, Author, u64);

impl Decision {
    /// Whether it binds the site in the eyes of an entry: whether that follows it, and knows nothing by which whoever
    /// decided might not.
    fn binds_for(&self, eyes: &Recorded, site: SiteId, all: &Sites) -> bool {
        let may = |by: &Standing| by.seen_at(self.place, eyes) == Some(Role::Admin);
        let is_known = eyes.follows.contains(&self.at);
        is_known && (self.by == site || all.get(&self.by).is_some_and(may))
    }

    /// Whether it lets an entry of its site's count, as far as another entry knows.
    fn covers_for(&self, eyes: &Recorded, (space, author, seq): Place) -> bool {
        let known = self.vouched.iter().filter(|(at, _)| eyes.follows.contains(at));
        let mut cuts = known.map(|(_, cut)| cut).chain([&self.said]);
        cuts.any(|cut| cut.covers(space, author, seq))
    }
}

/// What admitted a site, and what its seniors decided of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Standing {
    pub(super) name: String,
    pub(super) invited_by: SiteId,
    admitted_as: Role,
    /// In the order of the fold.
    decisions: Vec<Decision>,
    /// The site whose key it replaced, by the entry of this hash.
    succeeds: Option<(SiteId, EntryHash)>,
}

impl Standing {
    pub(super) fn founder(site: SiteId, name: &str) -> Self {
        let (name, invited_by) = (name.to_owned(), site);
        let admitted_as = Role::Admin;
        Self { name, invited_by, admitted_as, decisions: Vec::new(), succeeds: None }
    }

    /// What it may do from now on; `None`: it is revoked.
    pub(super) fn role(&self) -> Option<Role> {
        self.allowed_where(|_| false)
    }

    /// What it may do by an entry of its own.
    pub(super) fn allows(&self, space: SpaceId, author: Author, seq: u64) -> Option<Role> {
        self.allowed_where(|decision| decision.cut.covers(space, author, seq))
    }

    fn allows_in(&self, entry: &Recorded) -> Option<Role> {
        self.allows(entry.space, entry.author, entry.seq)
    }

    /// What it may do in the eyes of an entry of another's.
    fn seen_from(&self, entry: &Recorded) -> Option<Role> {
        self.allowed_where(|decision| !entry.follows.contains(&decision.at))
    }

    /// What it may do by an entry of its own, as far as an entry of another's knows.
    fn seen_at(&self, place: Place, eyes: &Recorded) -> Option<Role> {
        let mut seen = self.clone();
        seen.decisions.retain(|decision| eyes.follows.contains(&decision.at));
        seen.allowed_where(|decision| decision.covers_for(eyes, place))
    }

    /// The site whose key it replaced.
    pub(super) fn predecessor(&self) -> Option<SiteId> {
        self.succeeds.map(|(site, _)| site)
    }

    /// Who revoked it, first in the order of the fold.
    pub(super) fn revoked_by(&self) -> Option<SiteId> {
        let revocation = self.decisions.iter().find(|decision| decision.role.is_none());
        revocation.map(|decision| decision.by)
    }

    /// The highest of its roles that no decision limits, but for those that are `void`.
    fn allowed_where(&self, void: impl Fn(&Decision) -> bool) -> Option<Role> {
        let decided = self.decisions.iter().map(|decision| (decision.role, Some(decision)));
        let roles = std::iter::once((Some(self.admitted_as), None)).chain(decided);
        let counts = |(role, from): &(Option<Role>, Option<&Decision>)| {
            let limits = |decision: &&Decision| self.limits(decision, *role, *from);
            self.decisions.iter().filter(limits).all(&void)
        };
        roles.filter(counts).filter_map(|(role, _)| role).max()
    }

    /// Whether a decision takes away a role that the site has `from` another one, or from its admission. Of
    /// decisions without knowledge of each other the lowest role counts; nothing comes after a revocation.
    fn limits(&self, decision: &Decision, role: Option<Role>, from: Option<&Decision>) -> bool {
        let is_later = |other: &Decision| other.follows.contains(&decision.at);
        let is_replaced = || self.decisions.iter().any(|d| d.role >= role && is_later(d));
        decision.role < role
            && (decision.role.is_none() || !(from.is_some_and(is_later) || is_replaced()))
    }
}

/// An entry that decides of a site, the role that it gives it (`None`: it revokes it), and the cut.
type Decided<'a> = (&'a Recorded, Option<Role>, &'a Cut);

/// The operations of the membership space by the site that each concerns, in the order of the fold.
pub(super) struct Docket<'a> {
    admissions: BTreeMap<SiteId, Vec<(&'a Recorded, &'a Admission)>>,
    decisions: BTreeMap<SiteId, Vec<Decided<'a>>>,
    vouches: BTreeMap<SiteId, Vec<(&'a Recorded, &'a Cut)>>,
    /// By the new key's site.
    rotations: BTreeMap<SiteId, Vec<(&'a Recorded, SiteId)>>,
    renamings: BTreeMap<SiteId, Vec<(&'a Recorded, &'a str)>>,
}

/// The sites that are judged, with their standing.
pub(super) type Sites = BTreeMap<SiteId, Standing>;

impl<'a> Docket<'a> {
    pub(super) fn new(entries: impl IntoIterator<Item = &'a Recorded>) -> Self {
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
            // Whoever signed it also wrote it down, so that the entry says what it follows. A site may revoke itself.
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

    /// The standing of a site whose seniors are in `sites`; `waiting` are the sites that are not judged yet. `None`:
    /// nothing that counts has admitted it.
    pub(super) fn judge(
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

    /// What admins who are judged have decided of a site that is not, or of the key that it replaced without knowing of
    /// that; and that it replaced its key.
    fn decided(&self, site: SiteId, standing: &Standing, sites: &Sites) -> Vec<Decision> {
        let counts = |(entry, role, _): &&Decided<'_>| {
            let is_rotation = entry.author.site == site && role.is_none();
            let by = sites.get(&entry.author.site);
            is_rotation || by.and_then(|by| by.allows_in(entry)) == Some(Role::Admin)
        };
        let of_former = standing.succeeds.into_iter().flat_map(|(from, rotation)| {
            let of_former = self.decisions.get(&from).into_iter().flatten();
            of_former.filter(move |(entry, _, _)| {
                entry.author.site != from && !entry.follows.contains(&rotation)
            })
        });
        let of_site = self.decisions.get(&site).into_iter().flatten().chain(of_former);
        let decision = |(entry, role, cut): &Decided<'_>| Decision {
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

    /// The standing with what others vouch for who did not know of the decisions. Who these are hangs on what counts of
    /// the site, whom it may have admitted, and on what others vouch for of them: each round lets more count. Of what
    /// was decided of juniors, only that of seniors of both can be known here.
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

    /// The name that a site is to bear: the last that it, or an admin who is its senior, has given it.
    pub(super) fn name(&self, site: SiteId, sites: &Sites, seniors: &BTreeSet<SiteId>) -> String {
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
    pub(super) fn ordered(&self, met: Vec<SiteId>, founders: usize) -> Vec<SiteId> {
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
    pub(super) fn used_tickets(&self, order: &[SiteId]) -> BTreeMap<SiteId, SiteId> {
        let mut used = BTreeMap::new();
        for site in order {
            for (_, admission) in self.admissions.get(site).into_iter().flatten() {
                used.entry(admission.grant.ticket).or_insert(*site);
            }
        }
        used
    }
}
