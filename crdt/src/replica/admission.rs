//! Tickets, and the network and members that a site knows by its own entries.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::logs::Logs;
use super::receipts::Receipts;
use super::{Network, Notice, Output, Replica};
use crate::entry::Entry;
use crate::ids::{NetworkId, SiteId, SiteKey};
use crate::membership::{Genesis, Grant, Members, Revoked, Role, Ticket};
use crate::protocol::{count_fitting, topic};
use crate::store::{Store, StoreError};
use crate::tables::logs::Fate;

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
        own: NetworkId,
        /// The ticket's.
        found: NetworkId,
    },
    /// The ticket has expired.
    #[error("the ticket has expired, ask for a new one (`branchline invite`)")]
    Expired,
    /// The site is a member.
    #[error("this site is a member of that network already")]
    Member,
}

impl<S: Store> Replica<S> {
    /// Begins a network with this document. The caller commits.
    pub fn found(&mut self, genesis: Genesis) {
        self.stage.genesis = Some(genesis);
    }

    /// A ticket for one new site. `secret` is a fresh random key pair, `expires_ms` in ms since 1970.
    pub fn invite(
        &self,
        role: Role,
        expires_ms: i64,
        secret: SiteKey,
        addresses: Vec<String>,
    ) -> Result<Ticket, InviteError> {
        let network = self.network().ok_or(InviteError::NoMember)?;
        let member = self.members().and_then(|members| members.get(&self.site()));
        match member.ok_or(InviteError::NoMember)?.role {
            Role::Admin => {}
            role @ (Role::Reader | Role::Writer) => return Err(InviteError::Role { role }),
        }
        let grant = Grant::sign(network, secret.site(), role, expires_ms, &self.identity.key);
        Ok(Ticket { grant, secret, inviter: self.site(), addresses })
    }

    /// Whether this site could join with a ticket.
    pub fn may_join(&self, ticket: &Ticket, wall_ms: i64) -> Result<(), JoinError> {
        let found = ticket.grant.network;
        if let Some(own) = self.network().filter(|own| *own != found) {
            return Err(JoinError::OtherNetwork { own, found });
        }
        if self.members().is_some_and(|members| members.get(&self.site()).is_some()) {
            return Err(JoinError::Member);
        }
        if ticket.grant.expires_ms < wall_ms { Err(JoinError::Expired) } else { Ok(()) }
    }

    /// Takes a ticket to join with; an unusable one changes nothing.
    pub(super) fn join(&mut self, ticket: Ticket) -> Result<(), StoreError> {
        if self.may_join(&ticket, self.now.wall_ms).is_err() {
            return Ok(());
        }
        let genesis = self.genesis().cloned();
        self.enter_network(ticket.grant.network, genesis, Some(ticket));
        self.load_spaces()?;
        self.load_members(None)?;
        self.tell_members();
        self.timers.introduce_ms = 0;
        self.present_ticket()
    }

    /// Knows its network from now on.
    pub(super) fn enter_network(
        &mut self,
        id: NetworkId,
        genesis: Option<Genesis>,
        ticket: Option<Ticket>,
    ) {
        let members = Arc::new(Members::new(id, genesis));
        self.network = Some(Network { id, members, ticket, gone_on: BTreeMap::new() });
        if self.roots.values().any(|root| *root == id) {
            return;
        }
        self.hold(id);
        for space in [id.membership_space(), id.main_space()] {
            self.outputs.push_back(Output::Subscribe(topic(id, space)));
        }
    }

    /// Says who the members are: to a site that was revoked, nobody. It comes before all that waits to be said, so that
    /// nothing of it goes to whoever is out by now.
    pub(super) fn tell_members(&mut self) {
        let is_revoked = self.revoked_by().is_some();
        if let Some(Network { members, gone_on, .. }) = &mut self.network {
            gone_on.retain(|member, _| members.get(member).is_some());
            let sites = match is_revoked {
                true => BTreeSet::new(),
                false => members.all().keys().chain(gone_on.values()).copied().collect(),
            };
            self.outputs.retain(|output| !matches!(output, Output::Members(_)));
            self.outputs.push_front(Output::Members(sites));
        }
    }

    /// Says who came and who went, and forgets what was kept of whoever went. `before`: who the members were.
    pub(super) fn tell_of_changes(&mut self, before: &BTreeSet<SiteId>) {
        let Some(Network { members, .. }) = &self.network else { return };
        let members = members.clone();
        let own = self.site();
        for (site, member) in members.all().iter().filter(|(site, _)| !before.contains(site)) {
            if *site != own {
                self.notice(Notice::MemberAdmitted { site: *site, name: member.name.clone() });
            }
        }
        for site in before.iter().filter(|site| members.get(site).is_none()) {
            self.peers.remove(site);
            if let Some(Revoked { name, by }) = members.revoked().get(site).cloned() {
                self.notice(match *site == own {
                    true => Notice::Revoked { by },
                    false => Notice::MemberRevoked { site: *site, name, by },
                });
            }
        }
        for receipts in self.receipts.values_mut() {
            receipts.retain(|site| members.get(site).is_some());
        }
    }

    /// Reads the logs and receipts of the network's spaces.
    pub(super) fn load_spaces(&mut self) -> Result<(), StoreError> {
        for (space, logs) in &mut self.spaces {
            *logs = Logs::load(&self.store, *space)?;
            self.receipts.insert(*space, Receipts::load(&self.store, *space)?);
        }
        Ok(())
    }

    /// Whether this site holds a ticket and is no member yet.
    pub(super) fn has_ticket_to_present(&self) -> bool {
        self.network.as_ref().is_some_and(|network| {
            network.ticket.is_some() && network.members.get(&self.author.site).is_none()
        })
    }

    /// The ticket that this site holds, until it is a member.
    pub fn ticket(&self) -> Option<&Ticket> {
        self.network.as_ref()?.ticket.as_ref().filter(|_| self.has_ticket_to_present())
    }

    /// The membership entries that are held of a root, in journal order; only the applied ones if asked.
    fn membership_entries(
        &self,
        root: NetworkId,
        applied_only: bool,
    ) -> Result<Vec<Entry>, StoreError> {
        let space = root.membership_space();
        let mut positions = Vec::new();
        for (author, log) in self.spaces.get(&space).iter().flat_map(|logs| &logs.rows) {
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

    /// Members from the entries of the membership space: the last step of opening.
    pub(super) fn load_members(&mut self, beside: Option<&Self>) -> Result<(), StoreError> {
        let held = |replica: &Self| {
            let network = replica.network()?;
            Some((network, replica.frontier(network.membership_space())?))
        };
        if let Some(Network { members, .. }) = beside.and_then(|other| other.network.as_ref())
            && beside.and_then(held) == held(self)
            && let Some(network) = &mut self.network
        {
            network.members = members.clone();
            return Ok(());
        }
        for root in self.roots.values().copied().collect::<BTreeSet<_>>() {
            let entries = self.membership_entries(root, true)?;
            self.learn_members(entries.iter())?;
        }
        Ok(())
    }

    /// The first membership entries of a root that fit into so many bytes.
    pub(super) fn first_membership_entries(
        &self,
        root: NetworkId,
        bytes_max: usize,
    ) -> Result<Vec<Entry>, StoreError> {
        let mut entries = self.membership_entries(root, false)?;
        entries.truncate(count_fitting(sizes(&entries), bytes_max));
        Ok(entries)
    }

    /// The last of them that fit.
    pub(super) fn last_membership_entries(
        &self,
        root: NetworkId,
        bytes_max: usize,
    ) -> Result<Vec<Entry>, StoreError> {
        let mut entries = self.membership_entries(root, false)?;
        let kept = count_fitting(sizes(&entries).rev(), bytes_max);
        Ok(entries.split_off(entries.len() - kept))
    }
}

fn sizes(entries: &[Entry]) -> impl DoubleEndedIterator<Item = usize> {
    entries.iter().map(|entry| entry.bytes().len())
}
