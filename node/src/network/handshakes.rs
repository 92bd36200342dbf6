//! Few unfinished handshakes with one address: a machine that begins many and ends none must not take the places of
//! all others.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::{IpAddr, Ipv6Addr};
use std::task::{Context, Poll};

use libp2p::core::Endpoint;
use libp2p::core::transport::PortUse;
use libp2p::swarm::{
    ConnectionDenied, ConnectionId, FromSwarm, NetworkBehaviour, THandler, THandlerInEvent,
    THandlerOutEvent, ToSwarm, dummy,
};
use libp2p::{Multiaddr, PeerId};

use super::address;

/// Refuses inbound connections from addresses that have enough unfinished ones.
pub(super) struct HandshakesPerAddress {
    /// No more than the limit for all addresses together.
    unfinished: BTreeMap<ConnectionId, IpAddr>,
    per_address_max: usize,
}

/// Refusal of a connection.
#[derive(Debug, thiserror::Error)]
#[error("{unfinished} handshakes with {address} are not finished yet")]
struct TooManyHandshakes {
    unfinished: usize,
    address: IpAddr,
}

impl HandshakesPerAddress {
    pub(super) fn new(per_address_max: usize) -> Self {
        Self { unfinished: BTreeMap::new(), per_address_max }
    }
}

/// Whoever has one IPv6 address has a whole /64 of them.
pub(super) fn holder(address: &Multiaddr) -> Option<IpAddr> {
    Some(match address::ip(address)?.to_canonical() {
        IpAddr::V4(ip) => ip.into(),
        IpAddr::V6(ip) => Ipv6Addr::from_bits(ip.to_bits() & (u128::MAX << 64)).into(),
    })
}

impl NetworkBehaviour for HandshakesPerAddress {
    type ConnectionHandler = dummy::ConnectionHandler;
    type ToSwarm = Infallible;

    fn handle_pending_inbound_connection(
        &mut self,
        connection: ConnectionId,
        _: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<(), ConnectionDenied> {
        let Some(address) = holder(remote) else { return Ok(()) };
        let unfinished = self.unfinished.values().filter(|other| **other == address).count();
        if unfinished >= self.per_address_max {
            return Err(ConnectionDenied::new(TooManyHandshakes { unfinished, address }));
        }
        self.unfinished.insert(connection, address);
        Ok(())
    }

    fn handle_established_inbound_connection(
        &mut self,
        connection: ConnectionId,
        _: PeerId,
        _: &Multiaddr,
        _: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.unfinished.remove(&connection);
        Ok(dummy::ConnectionHandler)
    }

    fn handle_established_outbound_connection(
        &mut self,
        _: ConnectionId,
        _: PeerId,
        _: &Multiaddr,
        _: Endpoint,
        _: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        Ok(dummy::ConnectionHandler)
    }

    fn on_swarm_event(&mut self, event: FromSwarm) {
        if let FromSwarm::ListenFailure(failure) = event {
            self.unfinished.remove(&failure.connection_id);
        }
    }

    fn on_connection_handler_event(
        &mut self,
        _: PeerId,
        _: ConnectionId,
        event: THandlerOutEvent<Self>,
    ) {
        match event {}
    }

    fn poll(&mut self, _: &mut Context<'_>) -> Poll<ToSwarm<Infallible, THandlerInEvent<Self>>> {
        Poll::Pending
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn begin(door: &mut HandshakesPerAddress, number: usize, from: &str) -> bool {
        let from = format!("{from}/tcp/4747").parse().unwrap();
        let connection = ConnectionId::new_unchecked(number);
        door.handle_pending_inbound_connection(connection, &Multiaddr::empty(), &from).is_ok()
    }

    #[test]
    fn one_address_does_not_take_the_places_of_others() {
        let mut door = HandshakesPerAddress::new(2);
        assert!(begin(&mut door, 1, "/ip4/192.0.2.1"));
        assert!(begin(&mut door, 2, "/ip4/192.0.2.1"));
        assert!(!begin(&mut door, 3, "/ip4/192.0.2.1"));
        assert!(begin(&mut door, 4, "/ip4/192.0.2.2"));
        assert!(begin(&mut door, 5, "/ip6/2001:db8::1"));
        assert!(begin(&mut door, 6, "/ip6/2001:db8::2"));
        assert!(!begin(&mut door, 7, "/ip6/2001:db8::3"));
        assert!(begin(&mut door, 8, "/ip6/2001:db8:0:1::1"));
        let (peer, any) = (PeerId::random(), Multiaddr::empty());
        let finished = ConnectionId::new_unchecked(1);
        door.handle_established_inbound_connection(finished, peer, &any, &any).unwrap();
        assert!(begin(&mut door, 9, "/ip4/192.0.2.1"));
        assert!(!begin(&mut door, 10, "/ip4/192.0.2.1"));
    }
}
