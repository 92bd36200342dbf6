//! Tickets, and the network and members that a site knows by its own entries.

use std::collections::BTreeSet;

use crate::ids::{RealmId, SiteId, SiteKey};
use crate::log::entry::Entry;
use crate::membership::{Genesis, Grant, Revoked, Role, Ticket};
use crate::protocol::{count_fitting, topic};
use crate::replica::batch::Context;
use crate::replica::{Notice, Output, Replica};
use crate::store::tables::logs::Fate;
use crate::store::{Store, StoreError};

/// Why no ticket was made.
#[derive(Debug, thiserror::Error)]
pub enum InviteError {
    /// The site has no network to invite to.
    #[error("this site is no member of a network yet")]
    NoMember,
    /// Admins invite.
    #[error("inviting takes the role admin, this site is {role}")]
    Role {
        /// The site's role.
        role: Role,
    },
}

/// Why a ticket cannot be used at this site.
#[derive(Debug, thiserror::Error)]
pub enum JoinError {
    /// A site belongs to one network for ever.
    #[error(
        "this site belongs to network {own}, the ticket is for {found}; use another data folder"
    )]
    OtherNetwork {
        /// The site's network.
        own: RealmId,
        /// The ticket's.
        found: RealmId,
    },
    /// The ticket has expired.
    #[error("the ticket has expired, ask for a new one (`branchline invite`)")]
    Expired,
    /// The site is a member.
    #[error("this site is a member of that network already")]
    Member,
}

impl<S: Store> Context<'_, S> {
    /// The membership entries that are held of a realm, in journal order; only the applied ones if asked.
    fn membership_entries(
        &self,
        realm: RealmId,
        applied_only: bool,
    ) -> Result<Vec<Entry>, StoreError> {
        let space = realm.membership_space();
        let mut positions = Vec::new();
        for (author, log) in self.realms.logs(space).into_iter().flat_map(|logs| &logs.rows) {
            for seq in 1..=log.seq {
                let row = self.entry_row(space, *author, seq)?;
                let row = row.filter(|row| !applied_only || row.fate == Fate::Applied);
                positions.extend(row.map(|row| row.position()));
            }
        }
        positions.sort();
        // A damaged one is missed until it is repaired; the others still count.
        positions.into_iter().filter_map(|at| self.read_entry(at).transpose()).collect()
    }

    /// The first membership entries of a realm that fit into so many bytes.
    pub(in crate::replica) fn first_membership_entries(
        &self,
        realm: RealmId,
        bytes_max: usize,
    ) -> Result<Vec<Entry>, StoreError> {
        let mut entries = self.membership_entries(realm, false)?;
        entries.truncate(count_fitting(sizes(&entries), bytes_max));
        Ok(entries)
    }

    /// The last of them that fit.
    pub(in crate::replica) fn last_membership_entries(
        &self,
        realm: RealmId,
        bytes_max: usize,
    ) -> Result<Vec<Entry>, StoreError> {
        let mut entries = self.membership_entries(realm, false)?;
        let kept = count_fitting(sizes(&entries).rev(), bytes_max);
        Ok(entries.split_off(entries.len() - kept))
    }
}

impl<S: Store> Replica<S> {
    /// Begins a network with this document. The caller commits.
    pub fn found(&mut self, genesis: Genesis) {
        self.batch.stage.genesis = Some(genesis);
    }

    /// A ticket for one new site. `secret` is a fresh random key pair, `expires_ms` in ms since 1970.
    pub fn invite(
        &self,
        role: Role,
        expires_ms: i64,
        secret: SiteKey,
        addresses: Vec<String>,
    ) -> Result<Ticket, InviteError> {
        let network = self.realms.network().ok_or(InviteError::NoMember)?;
        let member = self.realms.members().and_then(|members| members.get(&self.site()));
        match member.ok_or(InviteError::NoMember)?.role {
            Role::Admin => {}
            role @ (Role::Reader | Role::Writer) => return Err(InviteError::Role { role }),
        }
        let grant = Grant::sign(network, secret.site(), role, expires_ms, &self.identity.key);
        Ok(Ticket { grant, secret, inviter: self.site(), addresses })
    }

    /// Whether this site could join with a ticket.
    pub fn may_join(&self, ticket: &Ticket, wall_ms: i64) -> Result<(), JoinError> {
        let found = ticket.grant.realm;
        if let Some(own) = self.realms.network().filter(|own| *own != found) {
            return Err(JoinError::OtherNetwork { own, found });
        }
        if self.realms.members().is_some_and(|members| members.get(&self.site()).is_some()) {
            return Err(JoinError::Member);
        }
        if ticket.grant.expires_ms < wall_ms { Err(JoinError::Expired) } else { Ok(()) }
    }

    /// Takes a ticket to join with; an unusable one changes nothing.
    pub(in crate::replica) fn join(&mut self, ticket: Ticket) -> Result<(), StoreError> {
        if self.may_join(&ticket, self.now.wall_ms).is_err() {
            return Ok(());
        }
        let genesis = self.realms.genesis().cloned();
        self.enter_network(ticket.grant.realm, genesis, Some(ticket));
        self.load_spaces()?;
        self.load_members(None)?;
        self.tell_members();
        self.links.timers.introduce_ms = 0;
        self.present_ticket()
    }

    /// Knows its network from now on.
    pub(in crate::replica) fn enter_network(
        &mut self,
        id: RealmId,
        genesis: Option<Genesis>,
        ticket: Option<Ticket>,
    ) {
        if self.realms.enter_network(id, genesis, ticket) {
            for space in id.spaces() {
                self.outbox.push(Output::Subscribe(topic(id, space)));
            }
        }
    }

    /// Says who the members are: to a site that was revoked, nobody. It comes before all that waits to be said, so that
    /// nothing of it goes to whoever is out by now.
    pub(in crate::replica) fn tell_members(&mut self) {
        if let Some(sites) = self.realms.admitted() {
            let is_former = |output: &Output| matches!(output, Output::Members(_));
            self.outbox.push_first(Output::Members(sites), is_former);
        }
    }

    /// Says who came and who went, and forgets what was kept of whoever went. `before`: who the members were.
    pub(in crate::replica) fn tell_of_changes(&mut self, before: &BTreeSet<SiteId>) {
        let Some(members) = self.realms.shared_members() else { return };
        let own = self.site();
        for (site, member) in members.all().iter().filter(|(site, _)| !before.contains(site)) {
            if *site != own {
                self.outbox
                    .notice(Notice::MemberAdmitted { site: *site, name: member.name.clone() });
            }
        }
        for site in before.iter().filter(|site| members.get(site).is_none()) {
            self.links.peers.remove(site);
            if let Some(Revoked { name, by }) = members.revoked().get(site).cloned() {
                self.outbox.notice(match *site == own {
                    true => Notice::Revoked { by },
                    false => Notice::MemberRevoked { site: *site, name, by },
                });
            }
        }
        self.realms.retain_receipts_of_members();
    }

    /// Reads the logs and receipts of the network's spaces.
    pub(in crate::replica) fn load_spaces(&mut self) -> Result<(), StoreError> {
        self.realms.load(&self.store)
    }

    /// Members from the entries of the membership space: the last step of opening.
    pub(in crate::replica) fn load_members(
        &mut self,
        beside: Option<&Self>,
    ) -> Result<(), StoreError> {
        if beside.is_some_and(|other| self.realms.share_members(&other.realms)) {
            return Ok(());
        }
        for realm in self.realms.ids() {
            let entries = self.context().membership_entries(realm, true)?;
            self.learn_members(entries.iter())?;
        }
        Ok(())
    }
}

fn sizes(entries: &[Entry]) -> impl DoubleEndedIterator<Item = usize> {
    entries.iter().map(|entry| entry.bytes().len())
}
