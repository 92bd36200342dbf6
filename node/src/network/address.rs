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

/// Whether a member is to be dialled at an address because it says so: it may say what it likes, and all would dial it. A
/// public IP means one host to everybody; one of a private range only where the member was `met` there, and a loopback one
/// where it is on this machine. A name is dialled where an operator, or a ticket, has given it.
pub(super) fn is_believed(address: &Multiaddr, met: &[IpAddr], is_on_this_machine: bool) -> bool {
    match ip(address) {
        Some(ip) if ip.is_loopback() => is_on_this_machine,
        Some(ip) => is_public(ip) || met.contains(&ip),
        None => false,
    }
}

fn is_public(ip: IpAddr) -> bool {
    match ip.to_canonical() {
        IpAddr::V4(ip) => {
            let [first, second, ..] = ip.octets();
            let is_shared = first == 100 && (64..128).contains(&second);
            !(ip.is_private() || ip.is_link_local() || ip.is_loopback() || is_shared)
        }
        IpAddr::V6(ip) => !(ip.is_unique_local() || ip.is_unicast_link_local() || ip.is_loopback()),
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
    fn what_a_member_says_of_itself_is_believed_where_it_leads_to_one_host_or_was_proven() {
        let met = ["10.1.2.3".parse().unwrap()];
        let believed = |text: &str| is_believed(&text.parse().unwrap(), &met, false);
        assert!(believed("/ip4/8.8.8.8/tcp/4001") && believed("/ip4/10.1.2.3/tcp/22"));
        assert!(!believed("/ip4/10.1.2.4/tcp/4001") && !believed("/dns4/printer.local/tcp/9100"));
        let loopback = "/ip4/127.0.0.1/tcp/4001".parse().unwrap();
        assert!(!is_believed(&loopback, &[], false) && is_believed(&loopback, &[], true));
    }

    #[test]
    fn private_ranges_are_no_public_ones() {
        for (text, expected) in [
            ("8.8.8.8", true),
            ("100.63.0.1", true),
            ("2001:4860::1", true),
            ("10.1.2.3", false),
            ("172.20.0.1", false),
            ("192.168.1.7", false),
            ("100.64.0.1", false),
            ("169.254.1.1", false),
            ("127.0.0.1", false),
            ("fd00::1", false),
            ("fe80::1", false),
            ("::1", false),
            ("::ffff:10.1.2.3", false),
        ] {
            assert_eq!(is_public(text.parse().unwrap()), expected, "{text}");
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
