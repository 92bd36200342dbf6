//! Sites that present themselves to each other: with a ticket, as members that are not known yet, or by former keys.

use std::collections::VecDeque;

use super::Realms;
use super::former_keys::former_keys_in;
use super::rounds::Round;
use crate::format::codec;
use crate::ids::SiteId;
use crate::log::entry::Entry;
use crate::membership::{
    Admission, Admitting, FormerKey, Genesis, Members, NotAdmitted, Operation,
};
use crate::protocol::prepare::PreparedEntry;
use crate::protocol::{
    INTRODUCTION_BYTES_MAX, Introduction, WELCOME_BYTES_MAX, Welcome, pack_entries, unpack_entries,
};
use crate::replica::batch::Batch;
use crate::replica::batch::arrival::{Arrival, Waiting};
use crate::replica::batch::stage::After;
use crate::replica::context::Context;
use crate::replica::links::Links;
use crate::replica::outbox::Outbox;
use crate::replica::task::Task;
use crate::replica::{Notice, Output};
use crate::store::{Store, StoreError};

/// How often a ticket is presented until someone answers.
const PRESENT_INTERVAL_MS: u64 = 2_000;
/// How long after a refusal it is presented again: an admin may yet learn of the inviter.
const PRESENT_AGAIN_MS: u64 = 60_000;
/// Characters of a refusal that are kept and shown: it is the other side's text.
const REFUSAL_CHARS_MAX: usize = 300;
/// What a site hears that came by a ticket too late.
const DISPUTED: &str = "your ticket had been withdrawn, or was used up, when you came by it: an admin decides whether you \
                        are a member";

impl Batch {
    /// Whether a site may become a member by a ticket now, or why not.
    pub(in crate::replica) fn may_take_up<S: Store>(
        &self,
        cx: Context<'_, S>,
        admission: &Admission,
    ) -> Result<Admitting, String> {
        let Some(members) = cx.realms.members() else {
            return Err("this site has no network".to_owned());
        };
        match members.examine(admission) {
            Ok(Admitting::AlreadyMember) => Ok(Admitting::AlreadyMember),
            Ok(Admitting::New) if admission.grant.expires_ms < cx.now.wall_ms => {
                Err("the ticket has expired, ask for a new one".to_owned())
            }
            Ok(Admitting::New) if self.is_used_up(members, admission) => {
                Err(NotAdmitted::Used { used_by: admission.site }.to_string())
            }
            Ok(Admitting::New) => Ok(Admitting::New),
            Err(error) => Err(error.to_string()),
        }
    }

    /// Whether others leave no place of the ticket, with those that take it up in this very group.
    fn is_used_up(&self, members: &Members, admission: &Admission) -> bool {
        let ticket = &admission.grant.ticket;
        let staged = self.stage.operations.iter().filter(|(_, operation)| match operation {
            Operation::Admit(other) => {
                other.grant.ticket == *ticket && other.site != admission.site
            }
            Operation::Revoke(_)
            | Operation::ChangeRole(_)
            | Operation::Rename { .. }
            | Operation::Vouch(_)
            | Operation::Rotate(_)
            | Operation::Invite(_)
            | Operation::Withdraw { .. } => false,
        });
        staged.count() + members.admitted_by(ticket).len() >= members.places(ticket)
    }

    /// Writes an admission down. The issuer withdraws a ticket that is used up, so that nobody comes by it who says to have
    /// done so before; where another one lets the site in, it does so when it hears of that.
    pub(in crate::replica) fn admit<S: Store>(&mut self, cx: Context<'_, S>, admission: Admission) {
        let (realm, ticket) = (admission.grant.realm, admission.grant.ticket);
        let is_issuer = admission.grant.issuer == cx.author.site;
        let other = Admission { site: cx.author.site, ..admission.clone() };
        self.stage.operations.push((realm, Operation::Admit(admission)));
        if is_issuer && cx.realms.members().is_some_and(|it| self.is_used_up(it, &other)) {
            self.stage.operations.push((realm, Operation::Withdraw { ticket }));
        }
    }
}

impl Links {
    /// Presents the ticket, if this site still needs to.
    pub(in crate::replica) fn present_ticket<S: Store>(
        &mut self,
        cx: Context<'_, S>,
        out: &mut Outbox,
    ) -> Result<(), StoreError> {
        let now = cx.now.monotonic_ms;
        let own = cx.author.site;
        let Some(ticket) = cx.realms.ticket().filter(|_| self.timers.introduce_ms <= now) else {
            return Ok(());
        };
        self.timers.introduce_ms = now + PRESENT_INTERVAL_MS;
        let admission = Box::new(Admission::sign(ticket, own, cx.name));
        let body = codec::encode(&Introduction::Ticket(admission));
        let addresses = ticket.addresses.clone();
        out.push(Output::Introduce { to: ticket.inviter, addresses, body });
        Ok(())
    }

    /// Shows a member that does not know of it that this site is one.
    pub(in crate::replica) fn introduce_to<S: Store>(
        &mut self,
        cx: Context<'_, S>,
        out: &mut Outbox,
        to: SiteId,
    ) -> Result<(), StoreError> {
        let Some(network) = cx.realms.network() else { return Ok(()) };
        let now = cx.now.monotonic_ms;
        if self.peers.get_mut(&to).is_some_and(|peer| !peer.is_to_be_shown(now)) {
            return Ok(());
        }
        // The other side lacks what is newest.
        let entries = cx.last_membership_entries(network, INTRODUCTION_BYTES_MAX)?;
        let packed = pack_entries(&entries);
        let body = codec::encode(&Introduction::Entries { network, packed });
        out.push(Output::Introduce { to, addresses: Vec::new(), body });
        Ok(())
    }
}

/// Membership entries that a site shows which is no member here, and is answered by what they say.
pub(in crate::replica) struct Shown {
    from: SiteId,
    token: u64,
    left: VecDeque<Entry>,
    former: Vec<FormerKey>,
}

/// The site that let this one in, and whether it was a member before.
pub(in crate::replica) struct Welcomed {
    pub(in crate::replica) by: SiteId,
    pub(in crate::replica) was_member: bool,
}

impl Shown {
    pub(in crate::replica) fn new(from: SiteId, token: u64, packed: &[u8]) -> Self {
        let entries = unpack_entries(packed).unwrap_or_default();
        let former = former_keys_in(&entries, from);
        Self { from, token, left: entries.into(), former }
    }
}

impl<S: Store> Context<'_, S> {
    /// Whether this site can let anyone in, or answer that they are out.
    pub(in crate::replica) fn can_take_up(&self, introduction: &Introduction) -> bool {
        let is_member = self.realms.is_member();
        let is_revoked = self.realms.revoked_by().is_some();
        match introduction {
            Introduction::Ticket(admission) => {
                self.realms.is_network(admission.grant.realm) && is_member
            }
            // They may say that the site that revoked this one could not.
            Introduction::Entries { network, .. } => {
                self.realms.is_network(*network) && (is_member || is_revoked)
            }
            Introduction::FormerKeys(_) => is_member && !is_revoked,
        }
    }

    /// Answers an introduction by what is durable now.
    pub(in crate::replica) fn welcome(
        &self,
        out: &mut Outbox,
        token: u64,
        to: SiteId,
        former: &[FormerKey],
    ) -> Result<(), StoreError> {
        if self.show_revocation(out, token, to, former) {
            return Ok(());
        }
        if let Some(by) = self.realms.members().and_then(|members| members.successor(&to)) {
            // Its folder is a copy from before, or a backup.
            out.refuse(token, &NotAdmitted::Replaced { by }.to_string());
            return Ok(());
        }
        let members = self.realms.members().filter(|members| members.get(&to).is_some());
        let Some(genesis) = members.and_then(Members::genesis).cloned() else {
            let disputed = self.realms.members().and_then(|it| it.disputed().get(&to));
            out.refuse(
                token,
                match disputed {
                    Some(_) => DISPUTED,
                    None => "this site knows of no admission of yours",
                },
            );
            return Ok(());
        };
        let entries = self.first_membership_entries(genesis.network(), WELCOME_BYTES_MAX)?;
        let welcome = Welcome::Member { genesis, entries: pack_entries(&entries) };
        out.welcome(token, to, codec::encode(&welcome));
        Ok(())
    }
}

impl Batch {
    /// Lets a site in by its ticket, or says why not.
    pub(in crate::replica) fn take_up<S: Store>(
        &mut self,
        cx: Context<'_, S>,
        out: &mut Outbox,
        from: SiteId,
        token: u64,
        admission: Admission,
    ) {
        let verdict = if admission.site == from {
            self.may_take_up(cx, &admission)
        } else {
            Err("the ticket was taken up by another site".to_owned())
        };
        match verdict {
            Ok(admitting) => {
                if admitting == Admitting::New {
                    self.admit(cx, admission);
                }
                self.then(After::Welcome { token, to: from, former: Vec::new() });
            }
            Err(reason) => out.refuse(token, &reason),
        }
    }

    /// Takes in the next of the entries that a site shows: what counts, and nothing that is only held to be judged.
    pub(in crate::replica) fn take_shown<S: Store>(
        &mut self,
        cx: Context<'_, S>,
        mut shown: Shown,
    ) -> Vec<Task> {
        while let Some(entry) = shown.left.pop_front() {
            let header = &entry.header;
            let (space, author, seq) = (header.space, header.author, header.seq);
            let members = cx.realms.members();
            let counts = members.is_some_and(|m| m.allowed(space, author, seq).is_some());
            let network = cx.realms.network().map(|network| network.membership_space());
            if counts && network == Some(space) {
                let entry = PreparedEntry::unread(entry);
                return vec![Task::Judge(Arrival::new(entry, Waiting::Shown(shown)))];
            }
        }
        let Shown { from, token, former, .. } = shown;
        self.then(After::Welcome { token, to: from, former });
        Vec::new()
    }

    /// Takes in what lets this site into its network: the document that the network began with, and who its members are.
    pub(in crate::replica) fn take_welcome<S: Store>(
        &mut self,
        cx: Context<'_, S>,
        out: &mut Outbox,
        from: SiteId,
        genesis: Genesis,
        packed: &[u8],
    ) -> Vec<Task> {
        let Some(network) = cx.realms.network() else { return Vec::new() };
        if genesis.network() != network {
            let reason = "its genesis document is another network's".to_owned();
            out.notice(Notice::Refused { from, reason });
            return Vec::new();
        }
        let mut tasks = Vec::new();
        if cx.realms.genesis().is_none() {
            self.found(genesis);
            tasks.push(Task::Commit);
        }
        let entries = unpack_entries(packed).unwrap_or_default();
        tasks.push(Task::Members(Round::new(network, entries)));
        let was_member = cx.realms.is_member();
        tasks.push(Task::Welcomed(Welcomed { by: from, was_member }));
        tasks
    }
}

impl Realms {
    /// The site that let this one in has shown the members.
    pub(in crate::replica) fn welcomed(&mut self, out: &mut Outbox, welcomed: &Welcomed) {
        let (Some(network), true) = (self.network(), self.is_member()) else { return };
        if !welcomed.was_member {
            out.notice(Notice::Joined { network, by: welcomed.by });
        }
        self.take_ticket();
    }

    /// A bundle may have let this site in.
    pub(in crate::replica) fn joined_by_bundle(&mut self, out: &mut Outbox, by: SiteId) {
        if self.is_member()
            && let Some(ticket) = self.take_ticket()
        {
            out.notice(Notice::Joined { network: ticket.grant.realm, by });
        }
    }
}

impl Links {
    /// This site was not let in: it presents itself again in a while.
    pub(in crate::replica) fn not_welcome<S: Store>(
        &mut self,
        cx: Context<'_, S>,
        out: &mut Outbox,
        from: SiteId,
        reason: &str,
    ) {
        self.timers.introduce_ms = cx.now.monotonic_ms + PRESENT_AGAIN_MS;
        let reason = reason.chars().take(REFUSAL_CHARS_MAX).collect();
        let is_member = cx.realms.is_member_of_network(from);
        out.notice(if is_member || cx.realms.has_ticket_to_present() {
            Notice::NotAdmitted { by: from, reason }
        } else {
            // A stranger, where a member was looked for.
            Notice::Refused { from, reason }
        });
    }
}
