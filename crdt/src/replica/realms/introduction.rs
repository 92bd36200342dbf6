//! Sites that present themselves to each other: with a ticket, as members that are not known yet, or by former keys.

use super::former_keys::former_keys_in;
use crate::format::codec;
use crate::ids::{RealmId, SiteId};
use crate::log::entry::Entry;
use crate::membership::{Admission, Admitting, FormerKey, Members, NotAdmitted, Operation};
use crate::protocol::prepare::PreparedEntry;
use crate::protocol::{
    INTRODUCTION_BYTES_MAX, Introduction, WELCOME_BYTES_MAX, Welcome, pack_entries, unpack_entries,
};
use crate::replica::batch::accept::{Acceptance, Origin};
use crate::replica::batch::stage::After;
use crate::replica::batch::{Batch, Context};
use crate::replica::links::Links;
use crate::replica::outbox::Outbox;
use crate::replica::{Notice, Output, Replica};
use crate::store::{Store, StoreError};

/// How often a ticket is presented until someone answers.
const PRESENT_INTERVAL_MS: u64 = 2_000;
/// How long after a refusal it is presented again: an admin may yet learn of the inviter.
const PRESENT_AGAIN_MS: u64 = 60_000;
/// Characters of a refusal that are kept and shown: it is the other side's text.
const REFUSAL_CHARS_MAX: usize = 300;
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
            Ok(Admitting::New) if self.is_taken_up(admission) => {
                Err(NotAdmitted::Used { used_by: admission.site }.to_string())
            }
            Ok(Admitting::New) => Ok(Admitting::New),
            Err(error) => Err(error.to_string()),
        }
    }

    /// Whether another site takes the same grant up in this very group.
    fn is_taken_up(&self, admission: &Admission) -> bool {
        self.stage.operations.iter().any(|(_, operation)| match operation {
            Operation::Admit(other) => {
                other.grant.ticket == admission.grant.ticket && other.site != admission.site
            }
            Operation::Revoke(_)
            | Operation::ChangeRole(_)
            | Operation::Rename { .. }
            | Operation::Vouch(_)
            | Operation::Rotate(_) => false,
        })
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

impl<S: Store> Replica<S> {
    /// Another site presents itself.
    pub(in crate::replica) fn introduced(
        &mut self,
        from: SiteId,
        token: u64,
        body: &[u8],
    ) -> Result<(), StoreError> {
        let Ok(introduction) = codec::decode::<Introduction>("introduction", body) else {
            self.refuse(token, "the introduction cannot be read");
            return Ok(());
        };
        let is_member = self.realms.is_member();
        let is_own = |network: RealmId| self.realms.is_network(network);
        let can_take_up = match &introduction {
            Introduction::Ticket(admission) => is_own(admission.grant.realm) && is_member,
            // They may say that whoever revoked this site could not.
            Introduction::Entries { network, .. } => {
                is_own(*network) && (is_member || self.realms.revoked_by().is_some())
            }
            Introduction::FormerKeys(_) => is_member && self.realms.revoked_by().is_none(),
        };
        if !can_take_up {
            self.refuse(token, "this site cannot let anyone into that network");
            return Ok(());
        }
        match introduction {
            Introduction::Ticket(admission) => self.take_up(from, token, *admission),
            Introduction::Entries { network, packed } => {
                let entries = unpack_entries(&packed).unwrap_or_default();
                let former = former_keys_in(&entries, from);
                for entry in entries {
                    // Strangers bring what counts, and nothing that is only held to be judged.
                    let header = &entry.header;
                    let (space, author, seq) = (header.space, header.author, header.seq);
                    if self
                        .realms
                        .members()
                        .is_some_and(|m| m.allowed(space, author, seq).is_some())
                    {
                        self.take_membership_entry(network, entry)?;
                    }
                }
                self.batch.stage.after.push(After::Welcome { token, to: from, former });
            }
            Introduction::FormerKeys(former) => self.shown_former_keys(from, token, &former),
        }
        Ok(())
    }

    fn take_up(&mut self, from: SiteId, token: u64, admission: Admission) {
        let verdict = match admission.site == from {
            true => self.batch.may_take_up(self.context(), &admission),
            false => Err("the ticket was taken up by another site".to_owned()),
        };
        match verdict {
            Ok(admitting) => {
                if admitting == Admitting::New {
                    let realm = admission.grant.realm;
                    self.batch.stage.operations.push((realm, Operation::Admit(admission)));
                }
                self.batch.stage.after.push(After::Welcome { token, to: from, former: Vec::new() });
            }
            Err(reason) => self.refuse(token, &reason),
        }
    }

    fn take_membership_entry(&mut self, realm: RealmId, entry: Entry) -> Result<bool, StoreError> {
        if entry.header.space != realm.membership_space() {
            return Ok(false);
        }
        let acceptance =
            self.accept(PreparedEntry::unread(entry), Origin::Peer { by_gossip: false })?;
        Ok(acceptance == Acceptance::Staged)
    }

    /// Takes membership entries of a realm in. Each round admits the authors of entries that the next one can accept.
    pub(in crate::replica) fn take_membership_entries(
        &mut self,
        realm: RealmId,
        entries: &[Entry],
    ) -> Result<(), StoreError> {
        loop {
            let mut progress = false;
            for entry in entries {
                progress |= self.take_membership_entry(realm, entry.clone())?;
            }
            if !progress || !self.commit()? {
                return Ok(());
            }
        }
    }

    pub(in crate::replica) fn refuse(&mut self, token: u64, reason: &str) {
        let body = codec::encode(&Welcome::Refused(reason.to_owned()));
        self.outbox.push(Output::AnswerIntroduction { token, body });
    }

    /// Answers an introduction by what is durable now.
    pub(in crate::replica) fn welcome(
        &mut self,
        token: u64,
        to: SiteId,
        former: &[FormerKey],
    ) -> Result<(), StoreError> {
        if self.show_revocation(token, to, former) {
            return Ok(());
        }
        if let Some(by) = self.realms.members().and_then(|members| members.successor(&to)) {
            // Its folder is a copy from before, or a backup.
            self.refuse(token, &NotAdmitted::Replaced { by }.to_string());
            return Ok(());
        }
        let members = self.realms.members().filter(|members| members.get(&to).is_some());
        let Some(genesis) = members.and_then(Members::genesis).cloned() else {
            self.refuse(token, "this site knows of no admission of yours");
            return Ok(());
        };
        let entries =
            self.context().first_membership_entries(genesis.network(), WELCOME_BYTES_MAX)?;
        let welcome = Welcome::Member { genesis, entries: pack_entries(&entries) };
        let body = codec::encode(&welcome);
        self.outbox.push(Output::AnswerIntroduction { token, body });
        Ok(())
    }

    /// The answer to this site's introduction.
    pub(in crate::replica) fn welcomed(
        &mut self,
        from: SiteId,
        body: &[u8],
    ) -> Result<(), StoreError> {
        let (genesis, packed) = match codec::decode("welcome", body) {
            Ok(Welcome::Member { genesis, entries }) => (genesis, entries),
            Ok(Welcome::FormerKeys(former)) => {
                if !self.goes_on_for(from, &former) {
                    let reason = "it goes on for no member by the keys that it shows".to_owned();
                    self.outbox.notice(Notice::Refused { from, reason });
                }
                return Ok(());
            }
            Ok(Welcome::Refused(reason)) => {
                self.links.timers.introduce_ms = self.now.monotonic_ms + PRESENT_AGAIN_MS;
                let reason = reason.chars().take(REFUSAL_CHARS_MAX).collect();
                let is_member = self.realms.is_member_of_network(from);
                self.outbox.notice(match is_member || self.realms.has_ticket_to_present() {
                    true => Notice::NotAdmitted { by: from, reason },
                    // A stranger, where a member was looked for.
                    false => Notice::Refused { from, reason },
                });
                return Ok(());
            }
            Ok(Welcome::Revoked(revocation)) => {
                let was_known = self.realms.revoked_by().is_some();
                let realm = revocation.realm;
                if !self.take_revocation(from, realm, &revocation)? {
                    let reason = "what it showed as this site's revocation is none".to_owned();
                    self.outbox.notice(Notice::Refused { from, reason });
                } else if !was_known {
                    self.outbox.notice(Notice::Revoked { by: revocation.issuer });
                }
                self.tell_members();
                return Ok(());
            }
            Err(error) => {
                self.outbox.notice(Notice::Refused { from, reason: error.to_string() });
                return Ok(());
            }
        };
        let Some(id) = self.realms.network() else { return Ok(()) };
        if genesis.network() != id {
            let reason = "its genesis document is another network's".to_owned();
            self.outbox.notice(Notice::Refused { from, reason });
            return Ok(());
        }
        let was_member = self.realms.is_member();
        if self.realms.genesis().is_none() {
            self.batch.stage.genesis = Some(genesis);
            self.commit()?;
        }
        self.take_membership_entries(id, &unpack_entries(&packed).unwrap_or_default())?;
        let is_member = self.realms.is_member();
        if is_member && !was_member {
            self.outbox.notice(Notice::Joined { network: id, by: from });
        }
        if is_member {
            self.realms.take_ticket();
        }
        Ok(())
    }
}
