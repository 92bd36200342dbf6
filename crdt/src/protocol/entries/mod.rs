//! How entries travel together.
//!
//! Most of an entry's header follows from the entries before it and from its own payload, and is left out.
//! [`unpack_entries`] makes the very bytes again that were signed. What does not compress lies apart from what does:
//!
//! | part | bytes |
//! |---|---|
//! | dense | length-prefixed: signatures, hashes that do not follow, payloads that are compressed already |
//! | the rest | length-prefixed: one [`pack`]ed piece of `PackedColumns` |
//!
//! Each entry is an `PackedItem`, which takes its other parts from the columns and the dense bytes in the order in which
//! `Unpacking::entry` reads them.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::ANSWER_BYTES_MAX;
use crate::format::codec::{self, DecodeError};
use crate::format::pack::{self, UnpackError};
use crate::ids::{Author, EntryHash, RealmId, Signature, SpaceId};
use crate::log::entry::limits::{ENTRY_BYTES_MAX, PAST_TIPS_MAX};
use crate::log::entry::{Entry, Header, MalformedEntry, PayloadInfo, Tip};

/// Most bytes that packed entries mean, and that their columns have: more than an answer or a welcome holds.
const UNPACKED_BYTES_MAX: usize = ANSWER_BYTES_MAX + ENTRY_BYTES_MAX;

/// Why packed entries cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum UnpackEntriesError {
    /// The columns do not unpack.
    #[error(transparent)]
    Unpack(#[from] UnpackError),
    /// The bytes do not follow the layout.
    #[error(transparent)]
    Layout(#[from] DecodeError),
    /// A part ends before the entries do, or goes on behind them.
    #[error("the {part} of packed entries do not fit the entries")]
    Length {
        /// Which part.
        part: &'static str,
    },
    /// An entry refers to a log or an entry that is not there.
    #[error("packed entries refer to {what} that is not among them")]
    Absent {
        /// To what.
        what: &'static str,
    },
    /// They mean more than such a message may.
    #[error("packed entries mean more than {bytes_max} bytes")]
    TooLarge {
        /// What they may.
        bytes_max: usize,
    },
    /// One is no entry.
    #[error(transparent)]
    Entry(#[from] MalformedEntry),
}

#[derive(Serialize, Deserialize)]
struct PackedParts<'a> {
    #[serde(borrow, with = "serde_bytes")]
    dense: &'a [u8],
    #[serde(borrow, with = "serde_bytes")]
    columns: &'a [u8],
}

#[derive(Serialize, Deserialize)]
struct PackedColumns<'a> {
    /// The logs that the others name by their place here.
    logs: Vec<Log>,
    /// One [`PackedItem`] after the other.
    #[serde(borrow, with = "serde_bytes")]
    items: &'a [u8],
    /// One [`PastTip`] after the other.
    #[serde(borrow, with = "serde_bytes")]
    tips: &'a [u8],
    /// Payloads that are not compressed.
    #[serde(borrow, with = "serde_bytes")]
    payloads: &'a [u8],
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
struct Log {
    realm: RealmId,
    space: SpaceId,
    author: Author,
}

/// What of an entry does not follow.
#[derive(Serialize, Deserialize)]
struct PackedItem {
    log: u32,
    /// By how much the number is greater than the next in its log.
    seq_step: u64,
    /// The previous entry's hash is among the dense bytes.
    tells_previous: bool,
    past: u32,
    membership_past: u32,
    /// By how much the time is later than that of the entry before it in the list.
    time_step_ms: i64,
    format: u8,
    payload_bytes: u32,
    /// The payload is among the dense bytes.
    payload_is_dense: bool,
}

#[derive(Serialize, Deserialize)]
struct PastTip {
    log: u32,
    seq: u64,
    /// Its hash is among the dense bytes.
    tells_hash: bool,
}

/// What both sides know of the entries so far.
#[derive(Default)]
struct PackedSeen {
    hashes: BTreeMap<(u32, u64), EntryHash>,
    time_ms: i64,
}

impl PackedSeen {
    fn add(&mut self, log: u32, entry: &Entry) {
        self.hashes.insert((log, entry.header.seq), entry.hash);
        self.time_ms = entry.header.time_ms;
    }

    /// The number behind the greatest one of a log.
    fn next_seq(&self, log: u32) -> u64 {
        let last = self.hashes.range((log, 0)..=(log, u64::MAX)).next_back();
        last.map_or(1, |((_, seq), _)| seq.wrapping_add(1))
    }

    fn hash(&self, log: u32, seq: u64) -> Option<EntryHash> {
        self.hashes.get(&(log, seq)).copied()
    }

    fn previous(&self, log: u32, seq: u64) -> Option<EntryHash> {
        if seq == 1 { Some(EntryHash::NONE) } else { self.hash(log, seq.wrapping_sub(1)) }
    }
}

/// Room for the lengths of parts.
const LENGTHS_BYTES: usize = 32;

/// Packs entries as one piece, in their order.
pub fn pack_entries<'a>(entries: impl IntoIterator<Item = &'a Entry>) -> Vec<u8> {
    let mut packing = Packing::default();
    for entry in entries {
        packing.add(entry);
    }
    let Packing { logs, items, tips, payloads, dense, .. } = packing;
    let (items, tips, payloads) = (&items[..], &tips[..], &payloads[..]);
    let bytes = size_of_val(&logs[..]) + items.len() + tips.len() + payloads.len();
    let columns = PackedColumns { logs, items, tips, payloads };
    let columns = pack::pack(&codec::encode_sized(&columns, bytes + LENGTHS_BYTES));
    let bytes = dense.len() + columns.len() + LENGTHS_BYTES;
    codec::encode_sized(&PackedParts { dense: &dense, columns: &columns }, bytes)
}

#[derive(Default)]
struct Packing {
    places: BTreeMap<Log, u32>,
    seen: PackedSeen,
    logs: Vec<Log>,
    items: Vec<u8>,
    tips: Vec<u8>,
    payloads: Vec<u8>,
    dense: Vec<u8>,
}

impl Packing {
    fn add(&mut self, entry: &Entry) {
        let header = &entry.header;
        let Header { realm, space, author, seq, .. } = *header;
        let log = self.place(Log { realm, space, author });
        let payload = entry.payload();
        let item = PackedItem {
            log,
            seq_step: seq.wrapping_sub(self.seen.next_seq(log)),
            tells_previous: self.seen.previous(log, seq) != Some(header.previous),
            past: header.past.len() as u32,
            membership_past: header.membership_past.len() as u32,
            time_step_ms: header.time_ms.wrapping_sub(self.seen.time_ms),
            format: header.payload.format,
            payload_bytes: header.payload.bytes,
            payload_is_dense: pack::is_compressed(payload),
        };
        self.items.extend(codec::encode(&item));
        if item.tells_previous {
            self.dense.extend(header.previous.0);
        }
        self.add_tips(realm, space, &header.past);
        self.add_tips(realm, realm.membership_space(), &header.membership_past);
        self.dense.extend(entry.signature.0);
        let column = if item.payload_is_dense { &mut self.dense } else { &mut self.payloads };
        column.extend_from_slice(payload);
        self.seen.add(log, entry);
    }

    fn add_tips(&mut self, realm: RealmId, space: SpaceId, tips: &[Tip]) {
        for tip in tips {
            let log = self.place(Log { realm, space, author: tip.author });
            let tells_hash = self.seen.hash(log, tip.seq) != Some(tip.hash);
            self.tips.extend(codec::encode(&PastTip { log, seq: tip.seq, tells_hash }));
            if tells_hash {
                self.dense.extend(tip.hash.0);
            }
        }
    }

    fn place(&mut self, log: Log) -> u32 {
        *self.places.entry(log).or_insert_with(|| {
            self.logs.push(log);
            self.logs.len() as u32 - 1
        })
    }
}

/// The inverse of [`pack_entries`].
///
/// # Errors
/// [`UnpackEntriesError`] where the bytes are no packed entries, or mean more than an answer holds.
pub fn unpack_entries(packed: &[u8]) -> Result<Vec<Entry>, UnpackEntriesError> {
    unpack_entries_within(packed, UNPACKED_BYTES_MAX)
}

/// The same of a message that may mean less.
///
/// # Errors
/// [`UnpackEntriesError`] where the bytes are no packed entries, or mean more than `bytes_max`.
pub(super) fn unpack_entries_within(
    packed: &[u8],
    bytes_max: usize,
) -> Result<Vec<Entry>, UnpackEntriesError> {
    let PackedParts { dense, columns } = codec::decode("packed entries", packed)?;
    let columns = pack::unpack(columns, bytes_max)?;
    let PackedColumns { logs, items, tips, payloads } =
        codec::decode("columns of entries", &columns)?;
    let mut unpacking = Unpacking {
        logs,
        seen: PackedSeen::default(),
        items: PackedPart { name: "items", bytes: items },
        tips: PackedPart { name: "tips", bytes: tips },
        payloads: PackedPart { name: "payloads", bytes: payloads },
        dense: PackedPart { name: "dense bytes", bytes: dense },
    };
    let (mut entries, mut bytes) = (Vec::new(), 0);
    // Each takes a signature from bytes that are not compressed, so their number is bounded by what was sent.
    while !unpacking.items.bytes.is_empty() {
        let entry = unpacking.entry()?;
        bytes += entry.bytes().len();
        if bytes > bytes_max {
            return Err(UnpackEntriesError::TooLarge { bytes_max });
        }
        entries.push(entry);
    }
    let Unpacking { tips, payloads, dense, .. } = unpacking;
    match [tips, payloads, dense].iter().find(|part| !part.bytes.is_empty()) {
        Some(part) => Err(part.unfit()),
        None => Ok(entries),
    }
}

struct Unpacking<'a> {
    logs: Vec<Log>,
    seen: PackedSeen,
    items: PackedPart<'a>,
    tips: PackedPart<'a>,
    payloads: PackedPart<'a>,
    dense: PackedPart<'a>,
}

impl Unpacking<'_> {
    fn entry(&mut self) -> Result<Entry, UnpackEntriesError> {
        let item: PackedItem = self.items.value()?;
        let log = item.log;
        let Log { realm, space, author } = self.log(log)?;
        let seq = self.seen.next_seq(log).wrapping_add(item.seq_step);
        let previous = if item.tells_previous {
            Some(EntryHash(self.dense.array()?))
        } else {
            self.seen.previous(log, seq)
        };
        let previous = previous.ok_or(UnpackEntriesError::Absent { what: "a previous entry" })?;
        let past = self.past(item.past)?;
        let membership_past = self.past(item.membership_past)?;
        let time_ms = self.seen.time_ms.wrapping_add(item.time_step_ms);
        let signature = Signature(self.dense.array()?);
        let column = if item.payload_is_dense { &mut self.dense } else { &mut self.payloads };
        let payload = column.take(item.payload_bytes as usize)?;
        let info = PayloadInfo::new(item.format, payload);
        let header = Header {
            realm,
            space,
            author,
            seq,
            previous,
            past,
            membership_past,
            time_ms,
            payload: info,
        };
        let entry = Entry::from_parts(header, signature, payload)?;
        self.seen.add(log, &entry);
        Ok(entry)
    }

    fn past(&mut self, count: u32) -> Result<Vec<Tip>, UnpackEntriesError> {
        if count as usize > PAST_TIPS_MAX {
            return Err(MalformedEntry::Header { reason: "it names too many tips" }.into());
        }
        (0..count).map(|_| self.tip()).collect()
    }

    fn tip(&mut self) -> Result<Tip, UnpackEntriesError> {
        let PastTip { log, seq, tells_hash } = self.tips.value()?;
        let hash = if tells_hash {
            Some(EntryHash(self.dense.array()?))
        } else {
            self.seen.hash(log, seq)
        };
        let hash = hash.ok_or(UnpackEntriesError::Absent { what: "an entry of the past" })?;
        Ok(Tip { author: self.log(log)?.author, seq, hash })
    }

    fn log(&self, place: u32) -> Result<Log, UnpackEntriesError> {
        let log = self.logs.get(place as usize);
        log.copied().ok_or(UnpackEntriesError::Absent { what: "a log" })
    }
}

/// Bytes that are taken from the front.
struct PackedPart<'a> {
    name: &'static str,
    bytes: &'a [u8],
}

impl<'a> PackedPart<'a> {
    fn unfit(&self) -> UnpackEntriesError {
        UnpackEntriesError::Length { part: self.name }
    }

    fn take(&mut self, count: usize) -> Result<&'a [u8], UnpackEntriesError> {
        let (taken, rest) = self.bytes.split_at_checked(count).ok_or_else(|| self.unfit())?;
        self.bytes = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], UnpackEntriesError> {
        let (taken, rest) = self.bytes.split_first_chunk().ok_or_else(|| self.unfit())?;
        self.bytes = rest;
        Ok(*taken)
    }

    fn value<T: Deserialize<'a>>(&mut self) -> Result<T, UnpackEntriesError> {
        let (value, used) = codec::decode_start(self.name, self.bytes)?;
        self.take(used)?;
        Ok(value)
    }
}
