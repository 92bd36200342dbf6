//! Tickets that this site makes, and the one that it is to join with.

use std::time::Duration;

use branchline_crdt::ids::SiteKey;
use branchline_crdt::membership::{Role, Ticket};
use libp2p::Multiaddr;

use super::Driver;
use crate::clock::wall_ms;
use crate::handle::{NoTicket, NotJoined};

/// More addresses make a ticket too long to copy.
const ADDRESSES_IN_TICKET_MAX: usize = 16;

impl Driver {
    pub(super) fn invite(
        &self,
        role: Role,
        lifetime: Duration,
        addresses: Vec<Multiaddr>,
    ) -> Result<Ticket, NoTicket> {
        let addresses = if addresses.is_empty() { self.addresses() } else { addresses };
        if addresses.is_empty() {
            return Err(NoTicket::NoAddress);
        }
        let lifetime_ms = i64::try_from(lifetime.as_millis()).unwrap_or(i64::MAX);
        let expires_ms = wall_ms().saturating_add(lifetime_ms);
        let mut seed = [0; 32];
        getrandom::fill(&mut seed).map_err(|_| NoTicket::NoRandomness)?;
        let addresses = addresses.iter().map(Multiaddr::to_string).collect();
        Ok(self.replica.invite(role, expires_ms, SiteKey::from_seed(seed), addresses)?)
    }

    /// Where this site may be reached: what is configured, where it listens, or where it last did.
    fn addresses(&self) -> Vec<Multiaddr> {
        let mut addresses = self.external.clone();
        let listening = self.known.borrow().listening.clone();
        if !listening.is_empty() {
            addresses.extend(listening)
        } else {
            addresses.extend(self.folder.run().unwrap_or_default().listening)
        }
        addresses.truncate(ADDRESSES_IN_TICKET_MAX);
        addresses
    }

    pub(super) fn join(&self, ticket: &Ticket) -> Result<(), NotJoined> {
        self.replica.may_join(ticket, wall_ms())?;
        Ok(self.folder.keep_ticket(ticket)?)
    }
}
