//! The door: members get the wrapped protocols, strangers do not learn that they exist.
//!
//! A connection is a member's or a stranger's for its whole life. A stranger's gets no handler of
//! the wrapped behaviour, and the wrapped behaviour hears nothing of it: not of its beginning and
//! end, nor in the counts of a peer's connections.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use either::Either;
use libp2p::core::Endpoint;
use libp2p::core::transport::PortUse;
use libp2p::swarm::behaviour::{ConnectionClosed, ConnectionEstablished};
use libp2p::swarm::{
    ConnectionDenied, ConnectionId, FromSwarm, NetworkBehaviour, NotifyHandler, THandler,
    THandlerInEvent, THandlerOutEvent, ToSwarm, dummy,
};
use libp2p::{Multiaddr, PeerId};

use super::config::NetworkLimits;
use super::handshakes::holder;

/// Time between an answer and the end of the stranger's connection. Closing a QUIC connection
/// discards what is not acknowledged yet, so the one who waits for the answer closes first.
const ANSWER_LINGER: Duration = Duration::from_secs(1);

/// Wraps `B` so that only members' connections carry it.
pub(super) struct MembersOnly<B> {
    inner: B,
    members: BTreeSet<PeerId>,
    member_connections: BTreeMap<PeerId, BTreeSet<ConnectionId>>,
    strangers: BTreeMap<ConnectionId, Stranger>,
    strangers_max: usize,
    strangers_per_address_max: usize,
    stranger_lifetime: Duration,
}

struct Stranger {
    peer: PeerId,
    /// Whose place it takes.
    address: Option<IpAddr>,
    /// None once it is being closed.
    deadline: Option<Instant>,
    introducing: bool,
}

/// Refusal of a connection.
#[derive(Debug, thiserror::Error)]
#[error("{strangers} strangers are connected already; only members are let in")]
struct TooManyStrangers {
    strangers: usize,
}

impl<B> MembersOnly<B> {
    pub(super) fn new(inner: B, limits: &NetworkLimits) -> Self {
        Self {
            inner,
            members: BTreeSet::new(),
            member_connections: BTreeMap::new(),
            strangers: BTreeMap::new(),
            strangers_max: limits.strangers,
            strangers_per_address_max: limits.strangers_per_address,
            stranger_lifetime: limits.stranger_lifetime,
        }
    }

    pub(super) fn inner_mut(&mut self) -> &mut B {
        &mut self.inner
    }

    pub(super) fn members(&self) -> &BTreeSet<PeerId> {
        &self.members
    }

    pub(super) fn is_member(&self, peer: &PeerId) -> bool {
        self.members.contains(peer)
    }

    /// Whether this connection was established as a member's.
    pub(super) fn is_member_connection(&self, peer: &PeerId, connection: ConnectionId) -> bool {
        self.member_connections
            .get(peer)
            .is_some_and(|connections| connections.contains(&connection))
    }

    /// Replaces the member set. Returns the connections that no longer fit it and are to be closed
    /// now; a stranger in the middle of an introduction may finish first.
    pub(super) fn set_members(&mut self, members: BTreeSet<PeerId>) -> Vec<ConnectionId> {
        self.members = members;
        let removed = self
            .member_connections
            .iter()
            .filter(|(peer, _)| !self.members.contains(peer))
            .flat_map(|(_, connections)| connections.iter().copied());
        let mut misfits: Vec<_> = removed.collect();
        for (connection, stranger) in &mut self.strangers {
            if self.members.contains(&stranger.peer) && !stranger.introducing {
                stranger.deadline = None;
                misfits.push(*connection);
            }
        }
        misfits
    }

    /// A stranger began an introduction, or is being sent one.
    pub(super) fn introducing(&mut self, peer: &PeerId) {
        for stranger in self.strangers.values_mut() {
            stranger.introducing |= stranger.peer == *peer;
        }
    }

    /// A stranger's introduction ended on this side.
    pub(super) fn introduced(&mut self, connection: ConnectionId, now: Instant) {
        if let Some(stranger) = self.strangers.get_mut(&connection) {
            stranger.deadline = stranger.deadline.map(|at| at.min(now + ANSWER_LINGER));
        }
    }

    /// Whether this connection is a stranger's.
    pub(super) fn is_stranger_connection(&self, connection: ConnectionId) -> bool {
        self.strangers.contains_key(&connection)
    }

    /// Strangers' connections whose time is up; each is named once.
    pub(super) fn expired(&mut self, now: Instant) -> Vec<ConnectionId> {
        let mut expired = Vec::new();
        for (connection, stranger) in &mut self.strangers {
            if stranger.deadline.is_some_and(|deadline| deadline <= now) {
                stranger.deadline = None;
                expired.push(*connection);
            }
        }
        expired
    }

    /// When [`expired`](Self::expired) has something next.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.strangers.values().filter_map(|s| s.deadline).min()
    }

    fn on_established(
        &mut self,
        peer: PeerId,
        connection: ConnectionId,
        remote: &Multiaddr,
    ) -> Option<usize> {
        // The set cannot have changed since the handler was made: both happen in one step of the
        // swarm.
        if self.members.contains(&peer) {
            let connections = self.member_connections.entry(peer).or_default();
            let others = connections.len();
            connections.insert(connection);
            return Some(others);
        }
        let stranger = Stranger {
            peer,
            address: holder(remote),
            deadline: Some(Instant::now() + self.stranger_lifetime),
            introducing: false,
        };
        self.strangers.insert(connection, stranger);
        None
    }

    fn on_closed(&mut self, peer: PeerId, connection: ConnectionId) -> Option<usize> {
        if self.strangers.remove(&connection).is_some() {
            return None;
        }
        let connections = self.member_connections.get_mut(&peer)?;
        connections.remove(&connection);
        let remaining = connections.len();
        if remaining == 0 {
            self.member_connections.remove(&peer);
        }
        Some(remaining)
    }

    /// The member connection that an event of the wrapped behaviour goes to.
    fn target(&self, peer: &PeerId, handler: NotifyHandler) -> Option<ConnectionId> {
        let connections = self.member_connections.get(peer)?;
        match handler {
            NotifyHandler::One(connection) => connections.get(&connection).copied(),
            NotifyHandler::Any => connections.last().copied(),
        }
    }
}

impl<B: NetworkBehaviour> NetworkBehaviour for MembersOnly<B> {
    type ConnectionHandler = Either<THandler<B>, dummy::ConnectionHandler>;
    type ToSwarm = B::ToSwarm;

    fn handle_pending_inbound_connection(
        &mut self,
        connection: ConnectionId,
        local: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<(), ConnectionDenied> {
        self.inner.handle_pending_inbound_connection(connection, local, remote)
    }

    fn handle_established_inbound_connection(
        &mut self,
        connection: ConnectionId,
        peer: PeerId,
        local: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        if self.members.contains(&peer) {
            let handler = self
                .inner
                .handle_established_inbound_connection(connection, peer, local, remote)?;
            return Ok(Either::Left(handler));
        }
        let strangers = self.strangers.len();
        let from = holder(remote);
        let neighbours = self.strangers.values().filter(|other| other.address == from).count();
        if strangers >= self.strangers_max || neighbours >= self.strangers_per_address_max {
            return Err(ConnectionDenied::new(TooManyStrangers { strangers }));
        }
        Ok(Either::Right(dummy::ConnectionHandler))
    }

    fn handle_pending_outbound_connection(
        &mut self,
        connection: ConnectionId,
        peer: Option<PeerId>,
        addresses: &[Multiaddr],
        role: Endpoint,
    ) -> Result<Vec<Multiaddr>, ConnectionDenied> {
        self.inner.handle_pending_outbound_connection(connection, peer, addresses, role)
    }

    fn handle_established_outbound_connection(
        &mut self,
        connection: ConnectionId,
        peer: PeerId,
        address: &Multiaddr,
        role: Endpoint,
        port: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        if !self.members.contains(&peer) {
            return Ok(Either::Right(dummy::ConnectionHandler));
        }
        self.inner
            .handle_established_outbound_connection(connection, peer, address, role, port)
            .map(Either::Left)
    }

    fn on_swarm_event(&mut self, event: FromSwarm) {
        match event {
            FromSwarm::ConnectionEstablished(event) => {
                let remote = event.endpoint.get_remote_address();
                if let Some(other_established) =
                    self.on_established(event.peer_id, event.connection_id, remote)
                {
                    let event = ConnectionEstablished { other_established, ..event };
                    self.inner.on_swarm_event(FromSwarm::ConnectionEstablished(event));
                }
            }
            FromSwarm::ConnectionClosed(event) => {
                if let Some(remaining_established) =
                    self.on_closed(event.peer_id, event.connection_id)
                {
                    let event = ConnectionClosed { remaining_established, ..event };
                    self.inner.on_swarm_event(FromSwarm::ConnectionClosed(event));
                }
            }
            FromSwarm::AddressChange(event) => {
                if self.is_member_connection(&event.peer_id, event.connection_id) {
                    self.inner.on_swarm_event(FromSwarm::AddressChange(event));
                }
            }
            // Everything else concerns no established connection.
            event => self.inner.on_swarm_event(event),
        }
    }

    fn on_connection_handler_event(
        &mut self,
        peer: PeerId,
        connection: ConnectionId,
        event: THandlerOutEvent<Self>,
    ) {
        match event {
            Either::Left(event) => self.inner.on_connection_handler_event(peer, connection, event),
            Either::Right(never) => match never {},
        }
    }

    fn poll(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<ToSwarm<Self::ToSwarm, THandlerInEvent<Self>>> {
        loop {
            match std::task::ready!(self.inner.poll(cx)) {
                ToSwarm::NotifyHandler { peer_id, handler, event } => {
                    // An event for a connection that is gone is dropped, as the swarm would do.
                    if let Some(connection) = self.target(&peer_id, handler) {
                        return Poll::Ready(ToSwarm::NotifyHandler {
                            peer_id,
                            handler: NotifyHandler::One(connection),
                            event: Either::Left(event),
                        });
                    }
                }
                other => return Poll::Ready(other.map_in(Either::Left)),
            }
        }
    }
}
