//! Taking operations in, one by one.
//!
//! Most operations concern one site and change nothing for others: they cost as much as that site's standing. Where others'
//! standing may hang on the outcome, all is judged again ([`Members::fold`]); so it is where an operation comes late whose
//! place in the order would have mattered. Both come to the same (`crdt/tests/all/membership/mod.rs` compares them after
//! every step).
//!
//! | operation | what it costs |
//! |---|---|
//! | of a site that may not write it, whatever it is given | nothing: it lies idle until anything makes its site an admin |
//! | rename | the names with the same stem |
//! | vouch for a site of which nothing was decided, or that binds nothing | nothing |
//! | vouch for another site | its standing, if nobody's hangs on it; else all |
//! | admission of a new site, behind all others | its standing |
//! | another admission of a member | nothing, if it is by the same ticket; else all |
//! | ticket | nothing, unless sites came by it before |
//! | withdrawal of a ticket | nothing, if it follows all admissions by that; else all |
//! | decision on a site that never spoke of others | its standing |
//! | decision on one that did; a site that leaves, or replaces its key | all |

use std::collections::BTreeSet;
use std::sync::Arc;

use super::fold::{Members, Met};
use super::past::Recorded;
use super::standing::{Said, Sites, Turn};
use super::{Admission, Cut, Operation, Role, check_site_name};
use crate::ids::SiteId;
use crate::log::entry::Entry;

/// How many of the last vouches for a site are looked at to find that one says nothing new.
const REPEATS_LOOKED_AT: usize = 64;

/// What operations come to.
#[derive(Default)]
struct Learnt {
    /// Who may write what is another question than before.
    is_changed: bool,
    /// All is to be judged again.
    must_fold: bool,
}

/// What an operation comes to.
#[derive(Debug, PartialEq, Eq)]
enum Consequence {
    None,
    /// The site may be called otherwise.
    Name(SiteId),
    /// The site comes behind all others.
    Append(SiteId),
    /// Nothing hangs on the site's standing but its own.
    Standing(SiteId),
    /// The same, where all that changes is what counts of it.
    Vouched(SiteId),
    Fold,
}

/// Who may write an operation.
enum MayWrite {
    Anyone,
    /// It is of use once anything makes this site an admin.
    Admin(SiteId),
    /// The site itself, once in a log.
    Exit,
    Nobody,
}

fn may_write(said: &Said) -> MayWrite {
    let author = said.entry.author.site;
    match &*said.operation {
        Operation::Admit(admission) => MayWrite::Admin(admission.grant.issuer),
        // The one who signed it also wrote it down, so that the entry says what it follows. A site may revoke itself.
        Operation::Revoke(revocation) if revocation.issuer != author => MayWrite::Nobody,
        Operation::Revoke(revocation) if revocation.site == author => MayWrite::Exit,
        Operation::Rotate(rotation) if rotation.from == author => MayWrite::Exit,
        Operation::Rotate(_) => MayWrite::Nobody,
        Operation::Rename { site, .. } if *site == author => MayWrite::Anyone,
        Operation::Vouch(_) => MayWrite::Anyone,
        Operation::Invite(ticket) if ticket.grant.issuer != author => MayWrite::Nobody,
        Operation::Revoke(_)
        | Operation::ChangeRole(_)
        | Operation::Rename { .. }
        | Operation::Invite(_)
        | Operation::Withdraw { .. } => MayWrite::Admin(author),
    }
}

impl Members {
    /// Takes in the operations of entries of the membership space. Unsigned operations have no effect. Says whether
    /// that changed who may write what.
    pub fn extend<'a>(
        &mut self,
        entries: impl IntoIterator<Item = (&'a Entry, Vec<Operation>)>,
    ) -> bool {
        let mut learnt = Learnt::default();
        for (entry, mut operations) in entries {
            operations.retain(|operation| operation.is_signed(self.realm()));
            let (recorded, past) = self.pasts.record(entry, operations.iter());
            self.pasts.note(past);
            self.hear(recorded, operations, &mut learnt);
        }
        self.conclude(learnt)
    }

    /// The same members, once they have taken in one more entry. It cannot be built upon.
    #[must_use]
    pub(crate) fn with(&self, entry: &Entry, mut operations: Vec<Operation>) -> Self {
        operations.retain(|operation| operation.is_signed(self.realm()));
        let (recorded, _) = self.pasts.record(entry, operations.iter());
        let (mut after, mut learnt) = (self.clone(), Learnt::default());
        after.hear(recorded, operations, &mut learnt);
        after.conclude(learnt);
        after
    }

    /// The sites whose standing is another one than with `other`.
    pub(crate) fn unlike(&self, other: &Self) -> BTreeSet<SiteId> {
        let is_unlike = |site: &&SiteId| match (self.sites.get(*site), other.sites.get(*site)) {
            (Some(one), Some(other)) => !Arc::ptr_eq(one, other) && one != other,
            (one, other) => one.is_some() != other.is_some(),
        };
        self.sites.keys().chain(other.sites.keys()).filter(is_unlike).copied().collect()
    }

    /// Whether operations of a site have no effect on what anybody may do, as is plain: they take an admin, or vouch for
    /// sites of which nothing was decided.
    pub(crate) fn are_plain(&self, entry: &Entry, operations: &[Operation]) -> bool {
        let author = entry.header.author.site;
        let is_contested = self.may_dispute(entry, operations);
        let is_undecided = |site| self.sites.get(site).is_some_and(|site| !site.is_decided());
        operations.iter().all(|operation| match operation {
            Operation::Vouch(vouch) => is_undecided(&vouch.site),
            Operation::Rename { .. } => true,
            Operation::Revoke(revocation) => {
                revocation.site != author && !self.admins.contains(&author)
            }
            Operation::ChangeRole(_) => !self.admins.contains(&author),
            Operation::Admit(_) | Operation::Invite(_) | Operation::Withdraw { .. } => {
                !is_contested
            }
            Operation::Rotate(_) => false,
        })
    }

    /// Whether a site may be disputed by these operations of an entry: one takes up a ticket that another site took up, or
    /// withdraws one without following all who did.
    pub(crate) fn may_dispute(&self, entry: &Entry, operations: &[Operation]) -> bool {
        let is_one = |operation: &Operation| match operation {
            Operation::Admit(admission) => {
                let claims = self.docket.claims.of(&admission.grant.ticket).iter();
                let mut sites = claims.filter_map(|said| Some(said.admission()?.1.site));
                sites.any(|site| site != admission.site)
            }
            Operation::Withdraw { ticket } if self.admins.contains(&entry.header.author.site) => {
                let claims = self.docket.claims.of(ticket);
                let follows = || self.pasts.record(entry, operations.iter()).0.follows;
                let follows = (!claims.is_empty()).then(follows).unwrap_or_default();
                claims.iter().any(|claim| !follows.contains(claim.entry.log, claim.entry.seq))
            }
            Operation::Withdraw { .. }
            | Operation::Revoke(_)
            | Operation::ChangeRole(_)
            | Operation::Rename { .. }
            | Operation::Vouch(_)
            | Operation::Rotate(_)
            | Operation::Invite(_) => false,
        };
        operations.iter().any(is_one)
    }

    fn hear(&mut self, entry: Recorded, operations: Vec<Operation>, learnt: &mut Learnt) {
        let entry = Arc::new(entry);
        for (number, operation) in operations.into_iter().enumerate() {
            let (entry, operation) = (Arc::clone(&entry), Arc::new(operation));
            self.take_in(&Said { entry, number, operation }, learnt);
        }
    }

    fn conclude(&mut self, mut learnt: Learnt) -> bool {
        if learnt.must_fold {
            let (sites, members) = self.outcome();
            let before = (sites.clone(), members.clone());
            self.fold();
            let (sites, members) = self.outcome();
            learnt.is_changed |= (&before.0, &before.1) != (sites, members);
        }
        learnt.is_changed
    }

    fn take_in(&mut self, said: &Said, learnt: &mut Learnt) {
        match may_write(said) {
            MayWrite::Nobody => return,
            MayWrite::Exit if !self.exits.insert(said.entry.log) => return,
            MayWrite::Admin(site) if !self.admins.contains(&site) => {
                self.idle.add(site, said);
                return;
            }
            MayWrite::Anyone | MayWrite::Exit | MayWrite::Admin(_) => {}
        }
        learnt.must_fold |= self.file(said);
        if learnt.must_fold {
            return;
        }
        match self.effect(said) {
            Consequence::None => {}
            Consequence::Name(site) => self.rename(site),
            Consequence::Append(site) => {
                self.meet(said);
                self.order.push(site);
                self.judge(&[site]);
                learnt.is_changed = true;
            }
            Consequence::Standing(site) => {
                self.meet(said);
                learnt.is_changed |= self.judge_one(site);
            }
            Consequence::Vouched(site) => learnt.is_changed |= self.vouch(said, site),
            Consequence::Fold => learnt.must_fold = true,
        }
    }

    /// Puts an operation where it is found, and those that are idle no more because of it. Says whether there are any.
    fn file(&mut self, said: &Said) -> bool {
        let mut awake = vec![said.clone()];
        let mut filed = 0;
        while let Some(said) = awake.pop() {
            filed += 1;
            self.docket.add(&said);
            let author = said.entry.author.site;
            let admin = match &*said.operation {
                Operation::Rename { site, .. } => {
                    self.named_by.entry(author).or_default().insert(*site);
                    continue;
                }
                Operation::Admit(Admission { grant, site, .. }) => {
                    self.speakers.insert(grant.issuer);
                    (grant.role == Role::Admin).then_some(*site)
                }
                Operation::ChangeRole(change) => {
                    (change.role == Role::Admin).then_some(change.site)
                }
                Operation::Rotate(rotation) => {
                    self.admins.contains(&rotation.from).then_some(rotation.to)
                }
                Operation::Revoke(_)
                | Operation::Vouch(_)
                | Operation::Invite(_)
                | Operation::Withdraw { .. } => None,
            };
            self.speakers.insert(author);
            let mut admins: Vec<SiteId> = admin.into_iter().collect();
            while let Some(site) = admins.pop() {
                if self.admins.insert(site) {
                    awake.extend(self.idle.take(&site).into_iter().flat_map(Arc::unwrap_or_clone));
                    let decisions = self.docket.decisions.of(&site).iter();
                    let rotations = decisions.filter_map(Said::rotation);
                    admins.extend(rotations.map(|(_, rotation)| rotation.to));
                }
            }
        }
        filed > 1
    }

    fn effect(&self, said: &Said) -> Consequence {
        let entry = &said.entry;
        match &*said.operation {
            Operation::Rename { site, .. } => Consequence::Name(*site),
            Operation::Admit(admission) => self.effect_of_admission(said, admission),
            Operation::Revoke(revocation) => self.effect_of_decision(said, revocation.site),
            Operation::ChangeRole(change) if self.is_behind(said, change.site) => {
                self.effect_of_decision(said, change.site)
            }
            Operation::ChangeRole(_) | Operation::Rotate(_) => Consequence::Fold,
            Operation::Vouch(vouch) => self.effect_of_vouch(entry, vouch.site, &vouch.held),
            Operation::Invite(ticket) => match self.docket.claims.of(&ticket.grant.ticket) {
                [] => Consequence::None,
                _ => Consequence::Fold,
            },
            Operation::Withdraw { ticket } => {
                let mut claims = self.docket.claims.of(ticket).iter();
                let is_known = claims.all(|claim| said.follows(claim));
                if is_known { Consequence::None } else { Consequence::Fold }
            }
        }
    }

    fn effect_of_admission(&self, said: &Said, admission: &Admission) -> Consequence {
        let Admission { grant, site, name, .. } = admission;
        let turn = said.turn();
        let Some(met) = self.met.get(site) else {
            let is_new = self.docket.only_admits(site)
                && !self.speakers.contains(site)
                && !self.named_by.contains_key(site);
            return match self.is_admin_at(&grant.issuer, turn) {
                false => Consequence::None,
                true if is_new && self.is_straight && self.last_met < Some(turn) => {
                    Consequence::Append(*site)
                }
                true => Consequence::Fold,
            };
        };
        let is_no_more = met.at < Some(turn) && grant.role <= met.role;
        match self.sites.get(site) {
            Some(_) if self.founders().iter().any(|(founder, _)| founder == site) => {
                Consequence::None
            }
            Some(standing)
                if is_no_more
                    && standing.has(grant.role, turn)
                    && standing.holds(&grant.ticket) =>
            {
                Consequence::None
            }
            // Under such a name it never counts.
            None if is_no_more && check_site_name(name).is_err() => Consequence::None,
            Some(_) | None => Consequence::Fold,
        }
    }

    /// Whether something made a site an admin before.
    fn is_admin_at(&self, site: &SiteId, turn: Turn) -> bool {
        let admin_at = self.met.get(site).and_then(|met| met.admin_at);
        admin_at.is_some_and(|at| at < Some(turn))
    }

    /// Whether an operation comes behind those by which its author and this site were met.
    fn is_behind(&self, said: &Said, site: SiteId) -> bool {
        let is_met = |met: &Met| met.at < Some(said.turn());
        self.is_admin_at(&said.entry.author.site, said.turn())
            && self.met.get(&site).is_none_or(is_met)
    }

    fn effect_of_decision(&self, said: &Said, site: SiteId) -> Consequence {
        let is_other = said.entry.author.site != site;
        match (self.met.contains_key(&site), self.sites.contains_key(&site)) {
            (false, _) => Consequence::None,
            (true, true) if is_other && !self.speakers.contains(&site) => {
                Consequence::Standing(site)
            }
            (true, _) => Consequence::Fold,
        }
    }

    fn effect_of_vouch(&self, entry: &Recorded, site: SiteId, cut: &Cut) -> Consequence {
        let Some(standing) = self.sites.get(&site) else {
            return if self.met.contains_key(&site) {
                Consequence::Fold
            } else {
                Consequence::None
            };
        };
        if standing.lapse.is_some() {
            return Consequence::Standing(site);
        }
        let open = standing.open_to(entry, site, &self.sites);
        let open: Vec<_> = open.filter(|(said, _)| !said.includes(cut)).collect();
        // An earlier word of the same log that says as much stands wherever this one does.
        let is_repeat = || {
            let vouches = self.docket.vouches.of(&site).iter().rev().take(REPEATS_LOOKED_AT);
            let vouches = vouches.filter_map(Said::vouch);
            let mut own = vouches.filter(|(other, _)| other.log == entry.log);
            own.any(|(other, held)| other.seq < entry.seq && held.includes(cut))
        };
        if open.is_empty() || open.iter().all(|(_, is_known)| !is_known) && is_repeat() {
            return Consequence::None;
        }
        let author = entry.author.site;
        let by = self.sites.get(&author);
        let is_plain = author != site && by.is_some_and(|by| !by.is_decided());
        if is_plain && !self.speakers.contains(&site) {
            Consequence::Vouched(site)
        } else {
            Consequence::Fold
        }
    }

    fn rename(&mut self, site: SiteId) {
        self.call(site);
        self.settle_names();
    }

    /// Judges a site on which no other's standing hangs. Says whether that is another one than before.
    fn judge_one(&mut self, site: SiteId) -> bool {
        if self.sites.get(&site).is_some_and(|standing| standing.lapse.is_some()) {
            return self.dispute(site);
        }
        let Some(rank) = self.ranks.get(&site).copied() else { return false };
        let seniors = self.seniority()[..rank].iter();
        let seniors: Sites =
            seniors.filter_map(|site| Some((*site, Arc::clone(self.sites.get(site)?)))).collect();
        let founders = self.founders();
        let Some(standing) = self.docket.judge(site, founders, &seniors, &self.order) else {
            return false;
        };
        if self.sites.get(&site).is_some_and(|before| **before == standing) {
            return false;
        }
        self.sites.insert(site, Arc::new(standing));
        self.counts_otherwise(site);
        true
    }

    /// Lets count what one more member vouches for. Says whether that is more than before.
    fn vouch(&mut self, said: &Said, site: SiteId) -> bool {
        let (Some((entry, cut)), Some(standing)) = (said.vouch(), self.sites.get(&site)) else {
            return false;
        };
        let mut standing = (**standing).clone();
        let is_more = standing.raise_by(entry, cut, site, &self.sites);
        if is_more {
            self.sites.insert(site, Arc::new(standing));
            self.counts_otherwise(site);
        }
        is_more
    }

    /// What a site may do has changed, or how much of what it wrote counts: also of the names that it gave.
    fn counts_otherwise(&mut self, site: SiteId) {
        for named in self.named_by.get(&site).cloned().unwrap_or_default() {
            self.call(named);
        }
        self.settle_names();
        self.file_member(site);
    }
}
