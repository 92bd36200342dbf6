//! What this site decides of tickets, and of those who came by one too late.

use super::{Decider, Realms};
use crate::ids::{RealmId, SiteId};
use crate::membership::{
    NOTE_BYTES_MAX, OpenTicket, Operation, PLACES_MAX, Role, TicketStanding, admission_by,
};
use crate::replica::decision::DecisionError;

impl Realms {
    /// There is a ticket of this site's.
    pub(in crate::replica) fn decide_invitation(
        &self,
        ticket: OpenTicket,
    ) -> Result<Operation, DecisionError> {
        let network = self.network().ok_or(DecisionError::NoMember)?;
        self.require_admin(network)?;
        let OpenTicket { grant, places, note } = &ticket;
        let is_own = grant.realm == network && grant.issuer == self.own;
        let is_bounded = (1..=PLACES_MAX).contains(places) && note.len() <= NOTE_BYTES_MAX;
        if is_own && is_bounded && !note.chars().any(char::is_control) {
            Ok(Operation::Invite(ticket))
        } else {
            Err(DecisionError::Ticket)
        }
    }

    /// A ticket of the network admits nobody any more.
    pub(in crate::replica) fn decide_withdrawal(
        &self,
        ticket: SiteId,
    ) -> Result<Operation, DecisionError> {
        let network = self.network().ok_or(DecisionError::NoMember)?;
        self.require_admin(network)?;
        let mut open = self.tickets().into_iter().filter(TicketStanding::is_open);
        if open.any(|it| it.ticket == ticket) {
            Ok(Operation::Withdraw { ticket })
        } else {
            Err(DecisionError::NoTicket { ticket })
        }
    }

    /// A site that came by a ticket too late is a member by the decision of an admin. `None`: it is not disputed.
    pub(in crate::replica) fn acceptance(
        &self,
        by: Decider<'_>,
        realm: RealmId,
        site: SiteId,
        role: Role,
    ) -> Option<Operation> {
        let disputed = self.members_of(realm)?.disputed().get(&site)?;
        Some(Operation::Admit(admission_by(realm, site, &disputed.name, role, by.key)))
    }

    /// The tickets that were made in the network.
    pub fn tickets(&self) -> Vec<TicketStanding> {
        self.members().map(|members| members.tickets()).unwrap_or_default()
    }

    /// The withdrawals of this site's tickets that are used up, or have expired by its own clock.
    pub(in crate::replica) fn withdrawals_due(&self, wall_ms: i64) -> Vec<(RealmId, Operation)> {
        let is_admin =
            |it: &RealmId| self.require_admin(*it).is_ok() && self.revoked_by().is_none();
        let Some(network) = self.network().filter(is_admin) else { return Vec::new() };
        let is_over = |it: &TicketStanding| {
            let is_due = it.expires_ms < wall_ms || !it.is_open();
            it.issuer == self.own && it.withdrawn_by.is_none() && is_due
        };
        let over = self.tickets().into_iter().filter(is_over);
        over.map(|it| (network, Operation::Withdraw { ticket: it.ticket })).collect()
    }
}
