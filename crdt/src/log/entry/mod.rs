//! Entries: the signed, hash-chained items of a log.
//!
//! | part | bytes |
//! |---|---|
//! | envelope version | 1 byte, now 1 |
//! | header | length-prefixed, [`Header`] in [`codec`] layout |
//! | signature | length-prefixed (64): the site's ed25519 over BLAKE3 (`branchline 1 entry header`) of the header bytes |
//! | payload | length-prefixed: one [`pack`]ed [`Body`] |
//!
//! The hash of an entry is BLAKE3 (`branchline 1 entry`) over header bytes and signature, so it covers the payload
//! through the header's payload hash. Entries are stored and forwarded as they were signed, byte for byte.

mod body;
mod outline;
pub mod text;

use serde::{Deserialize, Serialize};

pub use body::{Body, MalformedBody, Origin, RecordWrite, Transaction};

use crate::format::codec::{self, DecodeError};
use crate::format::pack;
use crate::ids::{Author, EntryHash, RealmId, Signature, SiteKey, SpaceId};
use crate::record::ChangeActor;

/// The envelope never changes; a number other than this is no entry.
const ENVELOPE_VERSION: u8 = 1;
/// The newest payload layout that this program applies. Entries with a newer one are held and forwarded.
pub const PAYLOAD_FORMAT: u8 = 1;

/// Limits of the format, the same at every site: an entry past one is void (or no entry) everywhere.
pub mod limits {
    /// A whole entry in bytes: two of them fit one answer to a pull.
    pub const ENTRY_BYTES_MAX: usize = 4 * 1024 * 1024;
    /// An unpacked payload in bytes: what one site may ask every other to hold in memory at once. A local transaction
    /// has fewer, and so has any entry of several.
    pub const BODY_BYTES_MAX: usize = ENTRY_BYTES_MAX;
    /// Changes in one entry: bounds the work between two answers to local callers.
    pub const CHANGES_MAX: usize = 16_384;
    /// Operations in one entry: a change of 64 bytes may mean 60,000 of them, each 200 to 800 bytes in memory.
    pub const OPERATIONS_MAX: usize = 1 << 18;
    /// Tips that one entry can name. An author that learnt of more logs writes empty entries first.
    pub const PAST_TIPS_MAX: usize = 4_096;
    /// Bytes of the name of an origin's source.
    pub const ORIGIN_SOURCE_BYTES_MAX: usize = 64;
}

/// An entry of another log, named.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Tip {
    /// Whose log.
    pub author: Author,
    /// Its number there, from 1.
    pub seq: u64,
    /// Its hash.
    pub hash: EntryHash,
}

/// What the signature covers. Readiness and permission are judged from here alone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    /// The network that the entry is for.
    pub realm: RealmId,
    /// The space that the entry is in.
    pub space: SpaceId,
    /// Who writes.
    pub author: Author,
    /// 1, 2, 3 … within the author's log of this space.
    pub seq: u64,
    /// The author's previous entry; [`EntryHash::NONE`] for seq 1.
    pub previous: EntryHash,
    /// Tips of other logs of this space learnt since the author's previous entry, sorted by author. The first
    /// entry of an incarnation names the last that the site knows of its former one.
    pub past: Vec<Tip>,
    /// The same for the logs of the membership space; empty in that space itself.
    pub membership_past: Vec<Tip>,
    /// The author's wall clock in ms since 1970. For display only.
    pub time_ms: i64,
    /// The payload that belongs to this header.
    pub payload: PayloadInfo,
}

/// How the payload is recognised without having it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PayloadInfo {
    /// Layout of the unpacked payload.
    pub format: u8,
    /// BLAKE3 of the packed payload.
    pub hash: [u8; 32],
    /// Length of the packed payload in bytes.
    pub bytes: u32,
}

/// Names an entry within a space.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct EntryId {
    /// Whose log it is in.
    pub author: Author,
    /// Its number there, from 1.
    pub seq: u64,
}

/// An entry whose bytes are well formed. Says nothing of signature, permission or payload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The decoded header.
    pub header: Header,
    /// Signature over the header.
    pub signature: Signature,
    /// Hash of header and signature.
    pub hash: EntryHash,
    /// The log that it is in: its author's, or a branch of that once it is known to be in one, see
    /// [`fork`](crate::log::fork).
    pub log: Author,
    bytes: Vec<u8>,
}

/// Why bytes are no entry. Nothing is known of the author then: the fault is the sender's.
#[derive(Debug, thiserror::Error)]
pub enum MalformedEntry {
    /// Too long to be one.
    #[error("an entry has at most {} bytes, found {found}", limits::ENTRY_BYTES_MAX)]
    TooLarge {
        /// Length found.
        found: usize,
    },
    /// The layout is broken.
    #[error(transparent)]
    Layout(#[from] DecodeError),
    /// The envelope is of a version that does not exist.
    #[error("envelope version {ENVELOPE_VERSION} expected, found {found}")]
    Version {
        /// Version found.
        found: u8,
    },
    /// The same header could be written in fewer bytes.
    #[error("the header is not in its one canonical form")]
    NotCanonical,
    /// The header's own rules are broken.
    #[error("the header is wrong: {reason}")]
    Header {
        /// Which rule.
        reason: &'static str,
    },
    /// The payload is not the one that was signed.
    #[error("the payload does not match its hash and length in the header")]
    Payload,
}

/// Room for what an envelope has beside its header and payload.
const ENVELOPE_BYTES: usize = 96;

#[derive(Serialize, Deserialize)]
struct Envelope<'a> {
    version: u8,
    #[serde(borrow, with = "serde_bytes")]
    header: &'a [u8],
    signature: Signature,
    #[serde(borrow, with = "serde_bytes")]
    payload: &'a [u8],
}

/// What an author decides of an entry; the rest follows.
#[derive(Clone, Debug)]
pub struct Draft {
    /// See [`Header::realm`].
    pub realm: RealmId,
    /// See [`Header::space`].
    pub space: SpaceId,
    /// See [`Header::author`].
    pub author: Author,
    /// See [`Header::seq`].
    pub seq: u64,
    /// See [`Header::previous`].
    pub previous: EntryHash,
    /// See [`Header::past`].
    pub past: Vec<Tip>,
    /// See [`Header::membership_past`].
    pub membership_past: Vec<Tip>,
    /// See [`Header::time_ms`].
    pub time_ms: i64,
}

impl Draft {
    /// Packs, hashes and signs.
    pub fn sign(self, body: &Body, key: &SiteKey) -> Entry {
        self.sign_as(PAYLOAD_FORMAT, body, key)
    }

    /// The same, where the payload is said to be of this format.
    pub(crate) fn sign_as(self, format: u8, body: &Body, key: &SiteKey) -> Entry {
        let payload = pack::pack(&codec::encode_sized(body, body.bytes()));
        let header = Header {
            realm: self.realm,
            space: self.space,
            author: self.author,
            seq: self.seq,
            previous: self.previous,
            past: self.past,
            membership_past: self.membership_past,
            time_ms: self.time_ms,
            payload: PayloadInfo::new(format, &payload),
        };
        let header_bytes = codec::encode(&header);
        let signature = key.sign(&signed_digest(&header_bytes));
        Entry::assemble(header, &header_bytes, signature, &payload)
    }
}

impl PayloadInfo {
    /// Of a packed payload.
    pub fn new(format: u8, payload: &[u8]) -> Self {
        Self { format, hash: *blake3::hash(payload).as_bytes(), bytes: payload.len() as u32 }
    }
}

impl Entry {
    /// Reads an entry and checks everything that needs no knowledge of others: canonical form, header rules,
    /// payload hash. The signature is checked by [`Entry::is_signed`].
    ///
    /// # Errors
    /// [`MalformedEntry`] where the bytes are no entry or break a limit: their sender is at fault.
    pub fn decode(bytes: &[u8]) -> Result<Self, MalformedEntry> {
        if bytes.len() > limits::ENTRY_BYTES_MAX {
            return Err(MalformedEntry::TooLarge { found: bytes.len() });
        }
        if let Some(&found) = bytes.first().filter(|version| **version != ENVELOPE_VERSION) {
            return Err(MalformedEntry::Version { found });
        }
        let envelope: Envelope<'_> = codec::decode("entry", bytes)?;
        let header: Header = codec::decode("entry header", envelope.header)?;
        if codec::encode(&header) != envelope.header || codec::encode(&envelope) != bytes {
            return Err(MalformedEntry::NotCanonical);
        }
        header.check().map_err(|reason| MalformedEntry::Header { reason })?;
        let Envelope { header: header_bytes, signature, payload, .. } = envelope;
        if header.payload != PayloadInfo::new(header.payload.format, payload) {
            return Err(MalformedEntry::Payload);
        }
        let (hash, log) = (entry_hash(header_bytes, &signature), header.author);
        Ok(Self { header, signature, hash, log, bytes: bytes.to_vec() })
    }

    /// The entry that has these parts, which belong together, in its one canonical form. As [`Entry::decode`], says
    /// nothing of the signature.
    pub(crate) fn from_parts(
        header: Header,
        signature: Signature,
        payload: &[u8],
    ) -> Result<Self, MalformedEntry> {
        header.check().map_err(|reason| MalformedEntry::Header { reason })?;
        let header_bytes = codec::encode(&header);
        let entry = Self::assemble(header, &header_bytes, signature, payload);
        match entry.bytes.len() {
            0..=limits::ENTRY_BYTES_MAX => Ok(entry),
            found => Err(MalformedEntry::TooLarge { found }),
        }
    }

    fn assemble(header: Header, header_bytes: &[u8], signature: Signature, payload: &[u8]) -> Self {
        let (hash, log) = (entry_hash(header_bytes, &signature), header.author);
        let envelope =
            Envelope { version: ENVELOPE_VERSION, header: header_bytes, signature, payload };
        let bytes = ENVELOPE_BYTES + header_bytes.len() + payload.len();
        Self { header, signature, hash, log, bytes: codec::encode_sized(&envelope, bytes) }
    }

    /// Whether the author's site signed the header.
    pub fn is_signed(&self) -> bool {
        self.header.is_signed(&self.signature)
    }

    /// The bytes as signed, stored and forwarded.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The packed payload.
    pub(crate) fn payload(&self) -> &[u8] {
        let start = self.bytes.len().saturating_sub(self.header.payload.bytes as usize);
        self.bytes.get(start..).unwrap_or_default()
    }

    /// This entry as the tip of its log.
    pub fn tip(&self) -> Tip {
        Tip { author: self.log, seq: self.header.seq, hash: self.hash }
    }

    /// This entry's name.
    pub fn id(&self) -> EntryId {
        EntryId { author: self.log, seq: self.header.seq }
    }

    /// The same, known to be in a log.
    pub(crate) fn in_log(self, log: Author) -> Self {
        Self { log, ..self }
    }

    /// Whose changes it holds.
    pub(crate) fn actor(&self) -> ChangeActor {
        ChangeActor::of(self.header.author, self.log)
    }

    /// The unpacked payload. Call only where [`PayloadInfo::format`] is not newer than [`PAYLOAD_FORMAT`].
    ///
    /// # Errors
    /// [`MalformedBody`] where the payload does not unpack, does not decode, or breaks a limit: the entry is void.
    pub fn body(&self) -> Result<Body, MalformedBody> {
        let raw = pack::unpack(self.payload(), limits::BODY_BYTES_MAX)?;
        outline::check(&raw)?;
        let body: Body = codec::decode("payload", &raw)?;
        body.check().map_err(|reason| MalformedBody::Limit { reason })?;
        Ok(body)
    }
}

impl Header {
    /// The proof of a fork needs headers and signatures only.
    pub fn is_signed(&self, signature: &Signature) -> bool {
        self.author.site.verify(&signed_digest(&codec::encode(self)), &signature.0)
    }

    /// All that it names as its past, each with the space of the log.
    pub(crate) fn tips(&self) -> impl Iterator<Item = (SpaceId, &Tip)> {
        let membership = self.realm.membership_space();
        let of_members = self.membership_past.iter().map(move |tip| (membership, tip));
        self.past.iter().map(|tip| (self.space, tip)).chain(of_members)
    }

    /// The hash of the entry that has this header and signature.
    pub fn entry_hash(&self, signature: &Signature) -> EntryHash {
        entry_hash(&codec::encode(self), signature)
    }

    fn check(&self) -> Result<(), &'static str> {
        if self.seq == 0 {
            return Err("entries are numbered from 1");
        }
        if self.author.incarnation.is_of_branch() {
            return Err("its author has the name of a branch, under which nobody signs");
        }
        if (self.seq == 1) != (self.previous == EntryHash::NONE) {
            return Err("the first entry, and no other, has no previous one");
        }
        if self.past.len() > limits::PAST_TIPS_MAX
            || self.membership_past.len() > limits::PAST_TIPS_MAX
        {
            return Err("it names too many tips");
        }
        let sorted = |tips: &[Tip]| tips.windows(2).all(|pair| pair[0].author < pair[1].author);
        if !sorted(&self.past) || !sorted(&self.membership_past) {
            return Err("tips are sorted by author, each author once");
        }
        if self.past.iter().any(|tip| tip.author == self.author) {
            return Err("its own log is not part of its past list");
        }
        let membership = self.space == self.realm.membership_space();
        if membership && !self.membership_past.is_empty() {
            return Err("an entry of the membership space has one past list");
        }
        if self.past.iter().chain(&self.membership_past).any(|tip| tip.seq == 0) {
            return Err("tips are numbered from 1");
        }
        Ok(())
    }
}

fn signed_digest(header: &[u8]) -> [u8; 32] {
    blake3::derive_key("branchline 1 entry header", header)
}

fn entry_hash(header: &[u8], signature: &Signature) -> EntryHash {
    let mut hasher = blake3::Hasher::new_derive_key("branchline 1 entry");
    hasher.update(header);
    hasher.update(&signature.0);
    EntryHash(*hasher.finalize().as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{Incarnation, SiteId};

    fn draft(key: &SiteKey) -> Draft {
        let realm = RealmId([1; 32]);
        Draft {
            realm,
            space: realm.main_space(),
            author: Author { site: key.site(), incarnation: Incarnation([2; 8]) },
            seq: 1,
            previous: EntryHash::NONE,
            past: vec![],
            membership_past: vec![],
            time_ms: 1_700_000_000_000,
        }
    }

    #[test]
    fn an_entry_comes_back_as_it_was_signed() {
        let key = SiteKey::from_seed([1; 32]);
        let body = Body::Transactions(vec![]);
        let entry = draft(&key).sign(&body, &key);
        let back = Entry::decode(entry.bytes()).unwrap();
        assert_eq!(back, entry);
        assert!(back.is_signed());
        assert_eq!(back.body().unwrap(), body);
        assert_eq!(back.header.entry_hash(&back.signature), back.hash);
    }

    /// The bytes of an entry are stored for ever: this pins them.
    #[test]
    fn the_format_is_pinned() {
        let key = SiteKey::from_seed([1; 32]);
        let entry = draft(&key).sign(&Body::Transactions(vec![]), &key);
        assert_eq!(entry.bytes().len(), 237);
        assert_eq!(
            entry.hash.to_string(),
            "ab98140554583fd57e4971b26240faf9a927ab5d61c9fc76480d87665d5b4fb9"
        );
    }

    #[test]
    fn every_changed_byte_is_noticed() {
        let key = SiteKey::from_seed([1; 32]);
        let entry = draft(&key).sign(&Body::Transactions(vec![]), &key);
        for place in 0..entry.bytes().len() {
            let mut bytes = entry.bytes().to_vec();
            bytes[place] ^= 1;
            let noticed = Entry::decode(&bytes).map_or(true, |entry| !entry.is_signed());
            assert!(noticed, "a changed byte at {place} went unnoticed");
        }
    }

    #[test]
    fn a_forged_author_is_noticed() {
        let key = SiteKey::from_seed([1; 32]);
        let mut forged = draft(&key);
        forged.author.site = SiteId([9; 32]);
        assert!(!forged.sign(&Body::Transactions(vec![]), &key).is_signed());
    }

    #[test]
    fn header_rules_hold() {
        let key = SiteKey::from_seed([1; 32]);
        let refused = |change: fn(&mut Draft)| {
            let mut draft = draft(&key);
            change(&mut draft);
            let entry = draft.sign(&Body::Transactions(vec![]), &key);
            Entry::decode(entry.bytes()).is_err()
        };
        assert!(refused(|d| d.seq = 0));
        assert!(refused(|d| d.seq = 2));
        assert!(refused(|d| d.previous = EntryHash([1; 32])));
        assert!(refused(|d| {
            let tip = Tip { author: d.author, seq: 1, hash: EntryHash([1; 32]) };
            d.past = vec![tip];
        }));
        assert!(refused(|d| {
            let other = Author { site: SiteId([9; 32]), ..d.author };
            let tip = Tip { author: other, seq: 1, hash: EntryHash([1; 32]) };
            d.past = vec![tip, tip];
        }));
        assert!(!refused(|_| ()));
    }
}
