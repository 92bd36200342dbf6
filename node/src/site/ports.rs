//! Ports that were chosen freely are kept over restarts: other sites have them in their peer books.

use std::time::Duration;

use libp2p::Multiaddr;
use libp2p::multiaddr::Protocol;

use crate::handle::{Handle, Known};
use crate::network;
use crate::site::RunFile;

/// Whether `address` is one that listening on `asked` can lead to.
fn same_kind(asked: &Multiaddr, address: &Multiaddr) -> bool {
    let transport = |address: &Multiaddr| match address.iter().nth(1) {
        Some(Protocol::Tcp(_)) => Some(6),
        Some(Protocol::Udp(_)) => Some(17),
        Some(_) | None => None,
    };
    let ip = |address: &Multiaddr| match address.iter().next() {
        Some(Protocol::Ip4(ip)) => Some(std::net::IpAddr::from(ip)),
        Some(Protocol::Ip6(ip)) => Some(std::net::IpAddr::from(ip)),
        Some(_) | None => None,
    };
    let (Some(wanted), Some(found)) = (ip(asked), ip(address)) else { return false };
    let same_ip = wanted == found || wanted.is_unspecified() && wanted.is_ipv4() == found.is_ipv4();
    same_ip && transport(asked) == transport(address)
}

fn port(address: &Multiaddr) -> Option<u16> {
    match address.iter().nth(1) {
        Some(Protocol::Tcp(port) | Protocol::Udp(port)) => Some(port),
        Some(_) | None => None,
    }
}

fn with_port(address: &Multiaddr, port: u16) -> Option<Multiaddr> {
    address.replace(1, |part| match part {
        Protocol::Tcp(_) => Some(Protocol::Tcp(port)),
        Protocol::Udp(_) => Some(Protocol::Udp(port)),
        _ => None,
    })
}

/// Where port 0 was asked for, the port that it had the last time, if that is free: others have it in their books.
pub(crate) fn with_kept_ports(asked: &[Multiaddr], run: &RunFile) -> Vec<Multiaddr> {
    let keep = |address: &Multiaddr| {
        let kept = run.ports.get(&address.to_string()).filter(|_| port(address) == Some(0))?;
        with_port(address, *kept).filter(network::is_free)
    };
    asked.iter().map(|address| keep(address).unwrap_or_else(|| address.clone())).collect()
}

impl RunFile {
    /// Remembers which ports were chosen for addresses with port 0.
    pub(crate) fn keep_ports(&mut self, asked: &[Multiaddr], listening: &[Multiaddr]) {
        self.ports.clear();
        for address in asked.iter().filter(|address| port(address) == Some(0)) {
            let chosen = listening.iter().find(|found| same_kind(address, found)).and_then(port);
            self.ports.extend(chosen.map(|port| (address.to_string(), port)));
        }
    }
}

/// How long the listeners may take to say where they are.
const LISTEN_TIMEOUT: Duration = Duration::from_secs(5);

impl Handle {
    /// Waits until each listener has reported an address (an unspecified one reports one for each interface), but not for long:
    /// then the node goes on with what it has.
    pub(crate) async fn await_listening(&self) {
        let mut known = self.known.clone();
        let all = |known: &Known| {
            let has_told = |wanted| known.listening.iter().any(|found| same_kind(wanted, found));
            known.listen.iter().all(has_told)
        };
        let _ = tokio::time::timeout(LISTEN_TIMEOUT, known.wait_for(all)).await;
    }
}
