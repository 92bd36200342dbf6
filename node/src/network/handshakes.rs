//! Unfinished handshakes have few places, and a machine that begins many and ends none must not take those of all others.
//!
//! The fuller it is, the fewer places one address gets: a sixth of those that are left, as switches share a buffer between
//! ports (Choudhury and Hahne, *Dynamic queue length thresholds*, 1998). So some addresses alone never take them all. A
//! quarter is kept for addresses where members were connected: anyone who has hundreds of addresses may take all others. The
//! library cannot end a handshake before its time, so places come free by that alone.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::{IpAddr, Ipv6Addr};
use std::task::{Context, Poll};

use indexmap::IndexSet;
use libp2p::core::Endpoint;
use libp2p::core::transport::PortUse;
use libp2p::swarm::{
    ConnectionDenied, ConnectionId, FromSwarm, NetworkBehaviour, THandler, THandlerInEvent,
    THandlerOutEvent, ToSwarm, dummy,
};
use libp2p::{Multiaddr, PeerId};

use super::address;

/// One address may have this part of the places that are left.
const SHARE: usize = 6;
/// This part of all places is kept for addresses where members were connected.
const KEPT: usize = 4;
/// Addresses of members that are remembered: more than there are sites in most networks, 32 KiB.
const MET_MAX: usize = 1024;

/// Refuses inbound connections from addresses that have enough unfinished ones.
pub(super) struct HandshakesPerAddress {
    /// No more than the limit for all addresses together.
    unfinished: BTreeMap<ConnectionId, IpAddr>,
    per_address_max: usize,
    total_max: usize,
    /// Where members were connected, the last one at the end.
    met: IndexSet<IpAddr>,
}

/// Refusal of a connection.
#[derive(Debug, thiserror::Error)]
#[error("{unfinished} handshakes with {address} are not finished yet")]
struct TooManyHandshakes {
    unfinished: usize,
    address: IpAddr,
}

impl HandshakesPerAddress {
    pub(super) fn new(per_address_max: usize, total_max: usize) -> Self {
        let (unfinished, met) = (BTreeMap::new(), IndexSet::new());
        Self { unfinished, per_address_max, total_max, met }
    }

    /// A member is, or was, connected from an address.
    pub(super) fn met(&mut self, address: &Multiaddr) {
        let Some(address) = holder(address) else { return };
        self.met.shift_remove(&address);
        self.met.insert(address);
        if self.met.len() > MET_MAX {
            self.met.shift_remove_index(0);
        }
    }

    /// Whether one handshake more with an address has a place.
    fn has_place(&self, address: IpAddr, of_address: usize) -> bool {
        let kept = if self.met.contains(&address) { 0 } else { self.total_max / KEPT };
        let left = self.total_max.saturating_sub(kept + self.unfinished.len());
        let share = left.div_ceil(SHARE).min(self.per_address_max);
        of_address < share
    }
}

/// Who holds one IPv6 address holds a whole /64 of them.
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
        if !self.has_place(address, unfinished) {
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
        let mut door = HandshakesPerAddress::new(2, 128);
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

    /// Begins handshakes from so many addresses, in turn, until none of them gets a place. Returns how many got one.
    fn fill(door: &mut HandshakesPerAddress, addresses: usize) -> usize {
        let mut number = 0;
        loop {
            let before = number;
            for address in 0..addresses {
                let from = format!("/ip4/198.51.{}.{}", address / 256, address % 256);
                number += usize::from(begin(door, number, &from));
            }
            if number == before {
                return number;
            }
        }
    }

    #[test]
    fn some_addresses_alone_do_not_take_all_places() {
        for addresses in [1, 2, 9, 30] {
            let mut door = HandshakesPerAddress::new(16, 128);
            let taken = fill(&mut door, addresses);
            assert!(taken < 96, "{addresses} addresses took {taken} of 128 places");
            assert!(begin(&mut door, 1_000, "/ip4/192.0.2.1"), "beside {addresses} addresses");
        }
    }

    #[test]
    fn an_address_where_a_member_was_connected_has_a_place_beside_hundreds_of_others() {
        let mut door = HandshakesPerAddress::new(16, 128);
        door.met(&"/ip4/192.0.2.1/tcp/4747".parse().unwrap());
        assert_eq!(fill(&mut door, 1_000), 96, "a quarter is kept");
        assert!(!begin(&mut door, 1_000, "/ip4/192.0.2.2"));
        assert!(begin(&mut door, 1_001, "/ip4/192.0.2.1"));
    }

    #[test]
    fn so_many_addresses_of_members_are_remembered_and_the_last_ones_longest() {
        let mut door = HandshakesPerAddress::new(16, 128);
        let address = |number: usize| -> Multiaddr {
            format!("/ip4/10.0.{}.{}/tcp/1", number / 256, number % 256).parse().unwrap()
        };
        (0..=MET_MAX).for_each(|number| door.met(&address(number)));
        assert_eq!(door.met.len(), MET_MAX);
        let knows = |number| door.met.contains(&holder(&address(number)).unwrap());
        assert!(!knows(0) && knows(1) && knows(MET_MAX));
    }
}
