//! What a site may do, entry by entry: by what admitted it and what its seniors decided of it.
//!
//! - `docket`: the operations, by the site that each concerns.
//! - `claims`: which admissions count, by their tickets.
//! - `judge`: from these to the standing of a site.
#![doc = include_str!("../../../docs/membership.md")]

mod claims;
mod docket;
mod judge;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

pub(super) use claims::Lapse;
pub(super) use docket::{Docket, Said, Sayings, Turn};

use super::past::{Followed, Recorded};
use super::{Cut, Role};
use crate::ids::{Author, SiteId, SpaceId};

/// A decision about a site that counts: a revocation, a change of role, or that it replaced its key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::membership) struct Ruling {
    /// The entry that it is in.
    entry: EntryKey,
    /// The same by its log, which may be a branch of its author's.
    at: (Author, u64),
    follows: Followed,
    /// Who decided.
    by: SiteId,
    /// What the site may do; `None`: it is revoked.
    role: Option<Role>,
    /// How far what a higher role allowed counts by its own word.
    said: Cut,
    /// How far it counts with what others vouch for.
    cut: Cut,
    /// The entries in which they do, with what each lets count.
    vouched: Vec<((Author, u64), Cut)>,
}

/// An entry of a site, by its space and log.
type EntryKey = (SpaceId, Author, u64);

impl Ruling {
    /// Whether the entry `eyes` follows this decision, and follows nothing that denies the one who decided the right to it.
    fn binds_for(&self, eyes: &Recorded, site: SiteId, all: &Sites) -> bool {
        let may = |by: &Arc<Standing>| by.seen_at(self.entry, eyes) == Some(Role::Admin);
        let is_known = self.is_known_to(&eyes.follows);
        is_known && (self.by == site || all.get(&self.by).is_some_and(may))
    }

    fn is_known_to(&self, follows: &Followed) -> bool {
        let (log, seq) = self.at;
        follows.contains(log, seq)
    }

    /// Whether it lets an entry of its site's count, as far as another entry knows.
    fn covers_for(&self, eyes: &Recorded, (space, author, seq): EntryKey) -> bool {
        let known = self.vouched.iter().filter(|((log, at), _)| eyes.follows.contains(*log, *at));
        let mut cuts = known.map(|(_, cut)| cut).chain([&self.said]);
        cuts.any(|cut| cut.covers(space, author, seq))
    }
}

/// What admitted a site, and what its seniors decided of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::membership) struct Standing {
    pub(in crate::membership) name: String,
    pub(in crate::membership) invited_by: SiteId,
    /// Who wrote its admission down.
    pub(in crate::membership) through: SiteId,
    /// Those by which it came.
    tickets: BTreeSet<SiteId>,
    admitted_as: Role,
    /// By which admission first; `None` for founders and those that replaced a key.
    admitted_at: Option<Turn>,
    /// In the order of the fold.
    decisions: Vec<Ruling>,
    /// The site whose key it replaced, and by which entry.
    succeeds: Option<(SiteId, (Author, u64))>,
    /// It is disputed.
    pub(in crate::membership) lapse: Option<Lapse>,
}

impl Standing {
    pub(in crate::membership) fn founder(site: SiteId, name: &str) -> Self {
        Self {
            name: name.to_owned(),
            invited_by: site,
            through: site,
            tickets: BTreeSet::new(),
            admitted_as: Role::Admin,
            admitted_at: None,
            decisions: Vec::new(),
            succeeds: None,
            lapse: None,
        }
    }

    fn disputed(name: String, invited_by: SiteId, lapse: Lapse) -> Self {
        Self {
            name,
            invited_by,
            through: lapse.through,
            tickets: BTreeSet::new(),
            admitted_as: Role::Reader,
            admitted_at: None,
            decisions: Vec::new(),
            succeeds: None,
            lapse: Some(lapse),
        }
    }

    /// Whether it came by a ticket.
    pub(in crate::membership) fn holds(&self, ticket: &SiteId) -> bool {
        self.tickets.contains(ticket)
    }

    /// What it may do from now on; `None`: it is revoked, or disputed.
    pub(in crate::membership) fn role(&self) -> Option<Role> {
        self.allowed_where(|_| false).filter(|_| self.lapse.is_none())
    }

    /// What it may do by an entry of its own.
    pub(in crate::membership) fn allows(
        &self,
        space: SpaceId,
        author: Author,
        seq: u64,
    ) -> Option<Role> {
        let is_let_in = self.lapse.as_ref().is_none_or(|lapse| lapse.covers(space, author, seq));
        self.allowed_where(|decision| decision.cut.covers(space, author, seq)).filter(|_| is_let_in)
    }

    fn allows_in(&self, entry: &Recorded) -> Option<Role> {
        self.allows(entry.space, entry.author, entry.seq)
    }

    /// What it may do in the eyes of an entry of another's.
    fn seen_from(&self, entry: &Recorded) -> Option<Role> {
        let role = self.allowed_where(|decision| !decision.is_known_to(&entry.follows));
        role.filter(|_| self.lapse.is_none())
    }

    /// What it may do by an entry of its own, as far as an entry of another's knows.
    fn seen_at(&self, entry: EntryKey, eyes: &Recorded) -> Option<Role> {
        let mut seen = self.clone();
        seen.decisions.retain(|decision| decision.is_known_to(&eyes.follows));
        seen.allowed_where(|decision| decision.covers_for(eyes, entry))
    }

    /// Whether anything was decided of it that counts.
    pub(in crate::membership) fn is_decided(&self) -> bool {
        !self.decisions.is_empty()
    }

    /// The cuts of the decisions that do not bind what an entry says of the site, each with whether the entry knows of it.
    pub(in crate::membership) fn open_to(
        &self,
        entry: &Recorded,
        site: SiteId,
        all: &Sites,
    ) -> impl Iterator<Item = (&Cut, bool)> {
        let open = self.decisions.iter().filter(move |it| !it.binds_for(entry, site, all));
        open.map(|decision| (&decision.said, decision.is_known_to(&entry.follows)))
    }

    /// Lets count what an entry vouches for that does not know of a decision. Says whether that is more than before.
    pub(in crate::membership) fn raise_by(
        &mut self,
        entry: &Recorded,
        cut: &Cut,
        site: SiteId,
        all: &Sites,
    ) -> bool {
        let mut is_more = false;
        for decision in &mut self.decisions {
            let is_own_word = entry.author.site == site && decision.role.is_none();
            if !is_own_word && !decision.binds_for(entry, site, all) && decision.cut.raise(cut) {
                decision.vouched.push(((entry.log, entry.seq), cut.clone()));
                is_more = true;
            }
        }
        is_more
    }

    /// The site whose key it replaced.
    pub(in crate::membership) fn predecessor(&self) -> Option<SiteId> {
        self.succeeds.map(|(site, _)| site)
    }

    /// Who revoked it, first in the order of the fold.
    pub(in crate::membership) fn revoked_by(&self) -> Option<SiteId> {
        let revocation = self.decisions.iter().find(|decision| decision.role.is_none());
        revocation.map(|decision| decision.by)
    }

    /// The highest of its roles that no decision limits, but for those for which `unless` holds.
    fn allowed_where(&self, unless: impl Fn(&Ruling) -> bool) -> Option<Role> {
        let decided = self.decisions.iter().map(|decision| (decision.role, Some(decision)));
        let roles = std::iter::once((Some(self.admitted_as), None)).chain(decided);
        let counts = |(role, from): &(Option<Role>, Option<&Ruling>)| {
            let limits = |decision: &&Ruling| self.limits(decision, *role, *from);
            self.decisions.iter().filter(limits).all(&unless)
        };
        roles.filter(counts).filter_map(|(role, _)| role).max()
    }

    /// Whether a decision takes away a role that the site has `from` another one, or from its admission. Of
    /// decisions without knowledge of each other the lowest role counts; nothing comes after a revocation.
    fn limits(&self, decision: &Ruling, role: Option<Role>, from: Option<&Ruling>) -> bool {
        let is_later = |other: &Ruling| decision.is_known_to(&other.follows);
        let is_replaced = || self.decisions.iter().any(|d| d.role >= role && is_later(d));
        decision.role < role
            && (decision.role.is_none() || !(from.is_some_and(is_later) || is_replaced()))
    }
}

/// The sites that are judged, with their standing.
pub(in crate::membership) type Sites = BTreeMap<SiteId, Arc<Standing>>;
