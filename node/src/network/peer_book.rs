//! Where members were found, kept across restarts.
//!
//! A JSON file, readable by its owner only, replaced as a whole:
//! `{"version":1,"peers":[{"peer":"12D3…","addresses":[…]}]}`, an address being
//! `{"address":"/ip4/…","last_success":1767225600}`, times in seconds since 1970, null if a dial
//! never succeeded. Losing the file costs only time.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Read as _};
use std::path::Path;

use libp2p::{Multiaddr, PeerId};
use serde::{Deserialize, Serialize};

use super::address;

const VERSION: u32 = 1;
/// Two transports on a few interfaces, and some former ones.
pub(super) const ADDRESSES_PER_PEER_MAX: usize = 8;
/// Far more than a network has members; 8 MB on disk if ever reached.
pub(super) const PEERS_MAX: usize = 16_384;
/// Largest file read: the bounds above with the longest addresses.
const FILE_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// Addresses of peers.
#[derive(Debug, Default, PartialEq)]
pub(super) struct PeerBook {
    peers: BTreeMap<PeerId, Vec<KnownAddress>>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct KnownAddress {
    address: Multiaddr,
    last_success: Option<u64>,
}

#[derive(Serialize, Deserialize)]
struct AddressBookFile {
    version: u32,
    peers: Vec<AddressBookEntry>,
}

#[derive(Serialize, Deserialize)]
struct AddressBookEntry {
    peer: String,
    addresses: Vec<KnownAddress>,
}

impl PeerBook {
    /// Reads the file. No file is an empty book; so is a file that makes no sense, which is left
    /// for inspection as `<name>.damaged`.
    pub(super) fn load(path: &Path) -> io::Result<Self> {
        let mut bytes = Vec::new();
        match fs::File::open(path) {
            Ok(file) => file.take(FILE_BYTES_MAX).read_to_end(&mut bytes)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Self::default()),
            Err(error) => return Err(error),
        };
        let problem = match serde_json::from_slice::<AddressBookFile>(&bytes) {
            Ok(file) if file.version == VERSION => return Ok(Self::from_file(file)),
            Ok(file) => format!("version {} instead of {VERSION}", file.version),
            Err(error) => error.to_string(),
        };
        let aside = with_suffix(path, ".damaged");
        tracing::warn!(path = %path.display(), aside = %aside.display(), problem,
            "the peer book makes no sense and is set aside");
        fs::rename(path, aside)?;
        Ok(Self::default())
    }

    fn from_file(file: AddressBookFile) -> Self {
        let mut book = Self::default();
        for entry in file.peers.into_iter().take(PEERS_MAX) {
            let Ok(peer) = entry.peer.parse::<PeerId>() else {
                continue;
            };
            for known in entry.addresses.into_iter().take(ADDRESSES_PER_PEER_MAX).rev() {
                if book.add(peer, known.address.clone())
                    && let Some(at) = known.last_success
                {
                    book.succeeded(peer, known.address, at);
                }
            }
        }
        book
    }

    /// Notes an address that may be worth a try. False if it is not, or known.
    pub(super) fn add(&mut self, peer: PeerId, address: Multiaddr) -> bool {
        let Some(address) = address::dialable(address, &peer) else {
            return false;
        };
        if self.known(&peer).any(|known| known.address == address) {
            return false;
        }
        if !self.peers.contains_key(&peer) && self.peers.len() >= PEERS_MAX {
            self.evict_peer();
        }
        let known = self.peers.entry(peer).or_default();
        // Kept best first, so the worst goes.
        known.truncate(ADDRESSES_PER_PEER_MAX - 1);
        known.insert(0, KnownAddress { address, last_success: None });
        sort(known);
        true
    }

    /// Notes that a dial to this address succeeded.
    pub(super) fn succeeded(&mut self, peer: PeerId, address: Multiaddr, at: u64) {
        self.add(peer, address.clone());
        let Some(address) = address::dialable(address, &peer) else {
            return;
        };
        if let Some(known) = self.peers.get_mut(&peer) {
            if let Some(found) = known.iter_mut().find(|known| known.address == address) {
                found.last_success = Some(at);
            }
            sort(known);
        }
    }

    /// Forgets an address of a peer.
    pub(super) fn remove_address(&mut self, peer: &PeerId, address: &Multiaddr) {
        let (address, _) = address::split_peer(address.clone());
        if let Some(known) = self.peers.get_mut(peer) {
            known.retain(|known| known.address != address);
        }
    }

    /// Forgets a peer.
    pub(super) fn remove_peer(&mut self, peer: &PeerId) -> bool {
        self.peers.remove(peer).is_some()
    }

    /// Addresses, best first: last success, then last learnt.
    pub(super) fn addresses(&self, peer: &PeerId) -> impl Iterator<Item = &Multiaddr> {
        self.known(peer).map(|known| &known.address)
    }

    /// The address at which the peer was last reached.
    pub(super) fn last_reached(&self, peer: &PeerId) -> Option<&Multiaddr> {
        let best = self.known(peer).next()?;
        best.last_success.map(|_| &best.address)
    }

    /// The addresses at which peers were reached.
    pub(super) fn reached(&self) -> impl Iterator<Item = &Multiaddr> {
        let known = self.peers.values().flatten().filter(|known| known.last_success.is_some());
        known.map(|known| &known.address)
    }

    fn known(&self, peer: &PeerId) -> impl Iterator<Item = &KnownAddress> {
        self.peers.get(peer).into_iter().flatten()
    }

    fn evict_peer(&mut self) {
        let stalest = self
            .peers
            .iter()
            .min_by_key(|(_, known)| known.iter().map(|known| known.last_success).max().flatten())
            .map(|(peer, _)| *peer);
        if let Some(peer) = stalest {
            self.peers.remove(&peer);
        }
    }

    /// The file's bytes.
    pub(super) fn to_bytes(&self) -> io::Result<Vec<u8>> {
        let peers = self.peers.iter().map(|(peer, known)| AddressBookEntry {
            peer: peer.to_string(),
            addresses: known.clone(),
        });
        let file = AddressBookFile { version: VERSION, peers: peers.collect() };
        serde_json::to_vec(&file).map_err(io::Error::other)
    }
}

/// A stable sort: among equals the newest comes first, because it is inserted there.
fn sort(known: &mut [KnownAddress]) {
    known.sort_by_key(|known| std::cmp::Reverse(known.last_success));
}

fn with_suffix(path: &Path, suffix: &str) -> std::path::PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn address(port: u16) -> Multiaddr {
        format!("/ip4/10.0.0.1/tcp/{port}").parse().unwrap()
    }

    #[test]
    fn the_book_survives_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("peers.json");
        let (near, far) = (PeerId::random(), PeerId::random());
        let mut book = PeerBook::load(&path).unwrap();
        for port in 1..=5 {
            assert!(book.add(near, address(port)));
            assert!(!book.add(near, address(port)), "known already");
        }
        book.succeeded(near, address(2), 100);
        book.succeeded(far, address(9), 200);
        fs::write(&path, book.to_bytes().unwrap()).unwrap();
        assert_eq!(PeerBook::load(&path).unwrap(), book);
        let best: Vec<_> = book.addresses(&near).cloned().collect();
        assert_eq!(best, [2, 5, 4, 3, 1].map(address));
    }

    #[test]
    fn a_damaged_file_is_set_aside() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("peers.json");
        for content in ["{\"version\":1,", "{\"version\":9,\"peers\":[]}"] {
            fs::write(&path, content).unwrap();
            assert_eq!(PeerBook::load(&path).unwrap(), PeerBook::default());
            assert!(!path.exists());
            let aside = fs::read_to_string(folder.path().join("peers.json.damaged")).unwrap();
            assert_eq!(aside, content);
        }
    }

    #[test]
    fn addresses_of_a_peer_are_bounded_and_the_proven_stay() {
        let peer = PeerId::random();
        let mut book = PeerBook::default();
        book.succeeded(peer, address(1), 100);
        for port in 2..=100 {
            book.add(peer, address(port));
        }
        let kept: Vec<_> = book.addresses(&peer).cloned().collect();
        assert_eq!(kept.len(), ADDRESSES_PER_PEER_MAX);
        assert_eq!((&kept[0], &kept[1]), (&address(1), &address(100)));
    }

    #[test]
    fn peers_are_bounded_and_the_stalest_goes() {
        let mut book = PeerBook::default();
        let stale = PeerId::random();
        book.succeeded(stale, address(1), 1);
        for _ in 1..PEERS_MAX {
            book.succeeded(PeerId::random(), address(1), 2);
        }
        let fresh = PeerId::random();
        book.add(fresh, address(1));
        assert_eq!(book.peers.len(), PEERS_MAX);
        assert_eq!(book.addresses(&stale).count(), 0);
        assert_eq!(book.addresses(&fresh).count(), 1);
    }

    #[test]
    fn an_address_is_forgotten_under_either_form() {
        let peer = PeerId::random();
        let mut book = PeerBook::default();
        book.add(peer, address(1));
        book.remove_address(&peer, &address(1).with_p2p(peer).unwrap());
        assert_eq!(book.addresses(&peer).count(), 0);
    }
}
