//! Tickets: made, and what became of them.

use std::time::Duration;

use branchline_crdt::ids::SiteId;
use branchline_crdt::membership::{OpenTicket, Role, Ticket, TicketStanding};
use branchline_crdt::replica::Decision;
use libp2p::Multiaddr;

use crate::driver::Message;
use crate::handle::{Handle, NoTicket, NotDecided, Stopped};

impl Handle {
    /// A ticket for one new site, good for `lifetime`. `addresses`: where the new site is to look; empty: all that
    /// are known.
    ///
    /// # Errors
    /// [`NoTicket`] where the site may not let others in, has no address to put into it, or the node has stopped.
    pub async fn invite(
        &self,
        role: Role,
        lifetime: Duration,
        addresses: Vec<Multiaddr>,
    ) -> Result<Ticket, NoTicket> {
        self.make_ticket(role, lifetime, addresses, 1, String::new()).await
    }

    /// The same for so many sites, with a `note` of what it is for, which all members can read. It is made known before
    /// anybody gets it.
    ///
    /// # Errors
    /// [`NoTicket`] where the site may not let others in, has no address to put into it, or the node has stopped.
    pub async fn make_ticket(
        &self,
        role: Role,
        lifetime: Duration,
        addresses: Vec<Multiaddr>,
        places: u16,
        note: String,
    ) -> Result<Ticket, NoTicket> {
        if self.is_running() && addresses.is_empty() {
            self.await_listening().await;
        }
        let made = self.ask(|reply| Message::Invite { role, lifetime, addresses, reply });
        let ticket = made.await??;
        let open = Box::new(OpenTicket { grant: ticket.grant.clone(), places, note });
        match self.decide(Decision::Invite { ticket: open }).await {
            Ok(()) => Ok(ticket),
            Err(NotDecided::Stopped(error)) => Err(error.into()),
            Err(NotDecided::Decision(error)) => Err(error.into()),
        }
    }

    /// The tickets that were made in the network.
    ///
    /// # Errors
    /// [`Stopped`] once the node has stopped.
    pub async fn tickets(&self) -> Result<Vec<TicketStanding>, Stopped> {
        self.look(|driver| driver.replica().realms().tickets()).await
    }

    /// The members that came by a site: by its ticket, or through it, and by those in turn.
    ///
    /// # Errors
    /// [`Stopped`] once the node has stopped.
    pub async fn let_in_by(&self, site: SiteId) -> Result<Vec<SiteId>, Stopped> {
        self.look(move |driver| {
            let members = driver.replica().realms().members();
            members.map(|members| members.let_in_by(site)).unwrap_or_default()
        })
        .await
    }
}
