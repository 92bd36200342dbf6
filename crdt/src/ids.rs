//! The names of things: sites, networks, spaces, authors and entries.

use std::fmt;

use data_encoding::HEXLOWER;
use libp2p_identity::{PeerId, PublicKey, ed25519};
use serde::{Deserialize, Serialize};

use crate::verified;

/// One office's node: its ed25519 public key. Shown as a libp2p peer id (`12D3KooW…`).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct SiteId(pub [u8; 32]);

/// The multihash of what stands in it as it is.
const IDENTITY_CODE: u64 = 0;
/// What stands before the 32 bytes of an ed25519 key as libp2p encodes it: kind 1 (ed25519), then 32 bytes.
const ED25519_KEY_PREFIX: [u8; 4] = [0x08, 0x01, 0x12, 0x20];

impl SiteId {
    /// The site of a libp2p peer id, or `None` where the id is not an inlined ed25519 key. That the key is a point of the
    /// curve is not looked at: it takes as long as a tenth of a signature, and a connection has proven it.
    pub fn from_peer_id(peer: &PeerId) -> Option<Self> {
        let hash = peer.as_ref();
        let key = hash.digest().strip_prefix(&ED25519_KEY_PREFIX)?;
        (hash.code() == IDENTITY_CODE).then(|| key.try_into().ok().map(Self))?
    }

    /// The libp2p peer id, or `None` where the bytes are no point of the curve.
    pub fn to_peer_id(&self) -> Option<PeerId> {
        let key = ed25519::PublicKey::try_from_bytes(&self.0).ok()?;
        Some(PeerId::from_public_key(&PublicKey::from(key)))
    }

    /// Whether `signature` is this site's over `message`.
    pub fn verify(&self, message: &[u8], signature: &[u8]) -> bool {
        let key = || ed25519::PublicKey::try_from_bytes(&self.0);
        let verify = || key().is_ok_and(|key| key.verify(message, signature));
        verified::holds(&self.0, message, signature, verify)
    }
}

impl fmt::Display for SiteId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.to_peer_id() {
            Some(peer) => peer.fmt(f),
            None => write!(f, "no-key-{}", HEXLOWER.encode(&self.0[..8])),
        }
    }
}

impl fmt::Debug for SiteId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SiteId({})", HEXLOWER.encode(&self.0[..4]))
    }
}

/// A site's key pair, as the replica uses it: to name itself and to sign.
#[derive(Clone)]
pub struct SiteKey(ed25519::Keypair);

impl SiteKey {
    /// The pair that grows from 32 secret bytes.
    pub fn from_seed(mut seed: [u8; 32]) -> Self {
        // Every 32-byte string is a valid ed25519 seed; the length is the only thing that is checked.
        match ed25519::SecretKey::try_from_bytes(&mut seed) {
            Ok(secret) => Self(ed25519::Keypair::from(secret)),
            Err(_) => unreachable!("32 bytes are a valid ed25519 seed"),
        }
    }

    /// The 32 secret bytes.
    pub fn seed(&self) -> [u8; 32] {
        let mut seed = [0; 32];
        seed.copy_from_slice(self.0.secret().as_ref());
        seed
    }

    /// The public half.
    pub fn site(&self) -> SiteId {
        SiteId(self.0.public().to_bytes())
    }

    /// A 64-byte signature.
    pub fn sign(&self, message: &[u8]) -> Signature {
        let mut signature = [0; 64];
        signature.copy_from_slice(&self.0.sign(message));
        Signature(signature)
    }

    /// The same pair for libp2p.
    pub fn to_libp2p(&self) -> libp2p_identity::Keypair {
        self.0.clone().into()
    }
}

impl fmt::Debug for SiteKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SiteKey({:?})", self.site())
    }
}

/// An ed25519 signature.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Signature(#[serde(with = "serde_bytes")] pub [u8; 64]);

impl fmt::Debug for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Signature({})", HEXLOWER.encode(&self.0[..4]))
    }
}

macro_rules! hash_id {
    ($(#[$doc:meta])* $name:ident, $len:expr) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub struct $name(pub [u8; $len]);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&HEXLOWER.encode(&self.0))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), HEXLOWER.encode(&self.0[..4]))
            }
        }
    };
}

hash_id!(
    /// A network, or a private space within one: the hash of the document that it begins with, which all of its sites trust.
    RealmId,
    32
);
hash_id!(
    /// The logs that a realm has of one kind: of membership entries, or of entries that change records. Opaque, so that a
    /// name is not shown to sites outside the realm.
    SpaceId,
    16
);
hash_id!(
    /// Hash of an entry: its header and signature, and through the header its payload and its whole past.
    EntryHash,
    32
);

impl RealmId {
    /// Both of its spaces: membership first, without which records cannot be judged.
    pub fn spaces(&self) -> [SpaceId; 2] {
        [self.membership_space(), self.main_space()]
    }

    /// The logs in which its membership is decided.
    pub fn membership_space(&self) -> SpaceId {
        self.space("_network")
    }

    /// The logs of its records.
    pub fn main_space(&self) -> SpaceId {
        self.space("main")
    }

    fn space(&self, name: &str) -> SpaceId {
        let mut hasher = blake3::Hasher::new_derive_key("branchline 1 space of a network by name");
        hasher.update(&self.0);
        hasher.update(name.as_bytes());
        let mut id = [0; 16];
        id.copy_from_slice(&hasher.finalize().as_bytes()[..16]);
        SpaceId(id)
    }
}

impl EntryHash {
    /// What the first entry of a log names as its predecessor.
    pub const NONE: Self = Self([0; 32]);

    /// Its beginning: enough to notice a difference, not to prove one.
    pub fn short(&self) -> [u8; 8] {
        let mut short = [0; 8];
        short.copy_from_slice(&self.0[..8]);
        short
    }
}

/// The life of a site from one start of its node to the next. Random, so that a restored backup or a cloned
/// disk never writes under the numbers of another life.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Incarnation(pub [u8; 8]);

impl Incarnation {
    /// What the name of a branch begins with, and no life of a site.
    const OF_BRANCH: [u8; 2] = [0xff; 2];

    /// From random bytes; one of 65,536 lives would have a branch's name, and gets another.
    #[must_use]
    pub fn from_random(mut bytes: [u8; 8]) -> Self {
        if bytes.starts_with(&Self::OF_BRANCH) {
            bytes[0] = 0;
        }
        Self(bytes)
    }

    /// The name under which the branch of a log goes.
    pub(crate) fn of_branch(name: [u8; 6]) -> Self {
        let mut bytes = [0; 8];
        bytes[..2].copy_from_slice(&Self::OF_BRANCH);
        bytes[2..].copy_from_slice(&name);
        Self(bytes)
    }

    /// Whether this is the name of a branch, under which nothing is signed.
    #[must_use]
    pub fn is_of_branch(&self) -> bool {
        self.0.starts_with(&Self::OF_BRANCH)
    }
}

impl fmt::Debug for Incarnation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&HEXLOWER.encode(&self.0))
    }
}

/// Who writes one log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Author {
    /// The site that signs.
    pub site: SiteId,
    /// Its life.
    pub incarnation: Incarnation,
}

impl Author {
    /// The Automerge actor of everything that this author writes.
    pub fn actor(&self) -> [u8; 16] {
        let mut hasher =
            blake3::Hasher::new_derive_key("branchline 1 automerge actor of an author");
        hasher.update(&self.site.0);
        hasher.update(&self.incarnation.0);
        let mut actor = [0; 16];
        actor.copy_from_slice(&hasher.finalize().as_bytes()[..16]);
        actor
    }

    /// 40 bytes, ordered as the authors are: used in keys.
    pub fn to_bytes(&self) -> [u8; 40] {
        let mut bytes = [0; 40];
        bytes[..32].copy_from_slice(&self.site.0);
        bytes[32..].copy_from_slice(&self.incarnation.0);
        bytes
    }

    /// The inverse of [`Author::to_bytes`].
    pub fn from_bytes(bytes: &[u8; 40]) -> Self {
        let mut site = [0; 32];
        let mut incarnation = [0; 8];
        site.copy_from_slice(&bytes[..32]);
        incarnation.copy_from_slice(&bytes[32..]);
        Self { site: SiteId(site), incarnation: Incarnation(incarnation) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_site_id_and_its_peer_id_name_the_same_key() {
        let site = SiteKey::from_seed([7; 32]).site();
        let peer = site.to_peer_id().unwrap();
        assert!(peer.to_string().starts_with("12D3KooW"));
        assert_eq!(SiteId::from_peer_id(&peer), Some(site));
        assert_eq!(
            SiteId::from_peer_id(
                &PeerId::from_bytes(&[
                    0x12, 0x20, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19,
                    20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31, 32
                ])
                .unwrap()
            ),
            None
        );
    }

    #[test]
    fn signatures_hold_for_their_message_and_key_only() {
        let key = SiteKey::from_seed([7; 32]);
        let signature = key.sign(b"stock");
        assert!(key.site().verify(b"stock", &signature.0));
        assert!(!key.site().verify(b"stocks", &signature.0));
        assert!(!SiteKey::from_seed([8; 32]).site().verify(b"stock", &signature.0));
        assert!(!SiteId([0xff; 32]).verify(b"stock", &signature.0));
    }

    #[test]
    fn authors_keep_their_order_in_bytes() {
        let author =
            |site, life| Author { site: SiteId([site; 32]), incarnation: Incarnation([life; 8]) };
        assert!(author(1, 9).to_bytes() < author(2, 1).to_bytes());
        assert_eq!(Author::from_bytes(&author(1, 9).to_bytes()), author(1, 9));
        assert_ne!(author(1, 1).actor(), author(1, 2).actor());
    }
}
