//! Which addresses are worth keeping and dialling.

use std::net::{IpAddr, SocketAddr};

use libp2p::multiaddr::Protocol;
use libp2p::{Multiaddr, PeerId};

/// Longest address kept, in bytes: a DNS name of 253 and the rest.
const ADDRESS_BYTES_MAX: usize = 300;

/// Cuts a trailing `/p2p/<peer id>` off.
pub(super) fn split_peer(mut address: Multiaddr) -> (Multiaddr, Option<PeerId>) {
    match address.pop() {
        Some(Protocol::P2p(peer)) => (address, Some(peer)),
        Some(other) => (address.with(other.acquire()), None),
        None => (address, None),
    }
}

/// The address without `/p2p/<peer id>`, if `peer` could be dialled there over TCP or QUIC.
pub(super) fn dialable(address: Multiaddr, peer: &PeerId) -> Option<Multiaddr> {
    let (address, named) = split_peer(address);
    if named.is_some_and(|named| named != *peer) || address.len() > ADDRESS_BYTES_MAX {
        return None;
    }
    let mut parts = address.iter();
    let host = match parts.next()? {
        Protocol::Ip4(ip) => !ip.is_unspecified() && !ip.is_multicast() && !ip.is_broadcast(),
        Protocol::Ip6(ip) => !ip.is_unspecified() && !ip.is_multicast(),
        Protocol::Dns(_) | Protocol::Dns4(_) | Protocol::Dns6(_) => true,
        _ => false,
    };
    let transport = match (parts.next()?, parts.next(), parts.next()) {
        (Protocol::Tcp(port), None, None) => port != 0,
        (Protocol::Udp(port), Some(Protocol::QuicV1), None) => port != 0,
        _ => false,
    };
    (host && transport).then(|| address.clone())
}

/// The address's IP, if it has one.
pub(super) fn ip(address: &Multiaddr) -> Option<IpAddr> {
    match address.iter().next()? {
        Protocol::Ip4(ip) => Some(ip.into()),
        Protocol::Ip6(ip) => Some(ip.into()),
        _ => None,
    }
}

/// What an address is bound with.
pub(super) enum Transport {
    Tcp,
    Udp,
}

/// The socket that listening on this address binds.
pub(super) fn socket(address: &Multiaddr) -> Option<(Transport, SocketAddr)> {
    let (transport, port) = match address.iter().nth(1)? {
        Protocol::Tcp(port) => (Transport::Tcp, port),
        Protocol::Udp(port) => (Transport::Udp, port),
        _ => return None,
    };
    Some((transport, SocketAddr::new(ip(address)?, port)))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn kept(text: &str, peer: &PeerId) -> Option<String> {
        dialable(text.parse().unwrap(), peer).map(|address| address.to_string())
    }

    #[test]
    fn addresses_that_lead_somewhere_are_kept_without_their_peer_id() {
        let peer = PeerId::random();
        for text in [
            "/ip4/127.0.0.1/tcp/4001",
            "/ip4/192.168.1.7/udp/4001/quic-v1",
            "/ip6/::1/tcp/4001",
            "/dns4/office.example/tcp/4001",
        ] {
            assert_eq!(kept(text, &peer).as_deref(), Some(text));
            assert_eq!(kept(&format!("{text}/p2p/{peer}"), &peer).as_deref(), Some(text));
        }
    }

    #[test]
    fn addresses_that_lead_nowhere_are_dropped() {
        let (peer, other) = (PeerId::random(), PeerId::random());
        for text in [
            "/ip4/0.0.0.0/tcp/4001".to_owned(),
            "/ip6/::/udp/4001/quic-v1".to_owned(),
            "/ip4/10.0.0.1/tcp/0".to_owned(),
            "/ip4/10.0.0.1/udp/4001".to_owned(),
            "/ip4/10.0.0.1/tcp/4001/ws".to_owned(),
            format!("/ip4/10.0.0.1/tcp/4001/p2p/{other}"),
            format!("/ip4/10.0.0.1/tcp/4001/p2p/{other}/p2p-circuit/p2p/{peer}"),
            "/memory/7".to_owned(),
            format!("/dns4/{}/tcp/1", "x".repeat(400)),
        ] {
            assert_eq!(kept(&text, &peer), None, "{text}");
        }
    }
}
