//! The bytes of a change: Automerge's change chunk, judged before Automerge sees it.
//!
//! A chunk is: magic (4 bytes), checksum (4), type (1), length (LEB128), data. A change travels
//! without its first 8 bytes, which follow from the rest. Format:
//! <https://automerge.org/automerge-binary-format-spec/>.

use std::num::NonZeroU64;
use std::panic::{AssertUnwindSafe, catch_unwind};

use automerge::{ActorId, Change, ChangeHash, ExpandedChange};
use sha2::{Digest, Sha256};

use super::limits::CHANGE_BYTES_MAX;
use super::operation::{ActorBytes, OpId, Operation, UnknownOperation, actor_from_automerge};
use super::prescan::{self, PrescanFault};

const MAGIC: [u8; 4] = [0x85, 0x6f, 0x4a, 0x83];
const CHECKSUM_BYTES: usize = 4;
const PREFIX_BYTES: usize = MAGIC.len() + CHECKSUM_BYTES;

/// Why bytes are no change of the format. All of these show without knowing the record.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ChunkFault {
    /// The change is too large.
    #[error("the change has {found} bytes, at most {CHANGE_BYTES_MAX} are allowed")]
    TooLarge {
        /// Its size in bytes.
        found: usize,
    },
    /// The bytes are not laid out as a change, or mean too much.
    #[error("the bytes are no change of the format")]
    Layout(#[from] PrescanFault),
    /// Automerge cannot read the change.
    #[error("Automerge cannot read the change: {reason}")]
    Unreadable {
        /// What Automerge says.
        reason: String,
    },
    /// Automerge panics over the change.
    #[error("Automerge panics over the change")]
    Panic,
    /// The change could be written differently. Documents keep the meaning of changes and write
    /// their bytes anew, so any other form would not be found again by its hash.
    #[error("the change is not in its one canonical form")]
    NotCanonical,
    /// The change contains what the format does not know.
    #[error("the change contains what the format does not know")]
    Unknown(#[from] UnknownOperation),
    /// The counters of the operations do not fit into 64 bits.
    #[error("the operation counters run beyond 64 bits")]
    CounterOverflow,
}

/// A change as its bytes say it, not yet judged against a record.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Decoded {
    pub(crate) hash: [u8; 32],
    pub(crate) actor: ActorBytes,
    pub(crate) seq: u64,
    pub(crate) start_op: u64,
    pub(crate) time_ms: i64,
    pub(crate) deps: Vec<[u8; 32]>,
    pub(crate) operations: Vec<Operation>,
}

impl Decoded {
    /// The counter of its last operation; without operations, that of the last one before it.
    pub(crate) fn end_op(&self) -> u64 {
        (self.start_op + self.operations.len() as u64).saturating_sub(1)
    }
}

/// What travels of a whole chunk.
pub(crate) fn body_of(chunk: &[u8]) -> &[u8] {
    chunk.get(PREFIX_BYTES..).unwrap_or_default()
}

/// A whole chunk, and the hash of the change.
pub(crate) fn chunk_of(body: &[u8]) -> (Vec<u8>, [u8; 32]) {
    let hash: [u8; 32] = Sha256::digest(body).into();
    let mut chunk = Vec::with_capacity(PREFIX_BYTES + body.len());
    chunk.extend(MAGIC);
    chunk.extend(&hash[..CHECKSUM_BYTES]);
    chunk.extend(body);
    (chunk, hash)
}

/// Reads a body that came from anyone.
pub(crate) fn read(body: &[u8]) -> Result<Decoded, ChunkFault> {
    if body.len() > CHANGE_BYTES_MAX {
        return Err(ChunkFault::TooLarge { found: body.len() });
    }
    prescan::check(body)?;
    let (chunk, hash) = chunk_of(body);
    let parsed = catch_unwind(AssertUnwindSafe(|| {
        let change = Change::try_from(chunk.as_slice())
            .map_err(|error| ChunkFault::Unreadable { reason: error.to_string() })?;
        let expanded = change.decode();
        let canonical = Change::from(expanded.clone());
        if change.hash().0 != hash || canonical.raw_bytes() != chunk {
            return Err(ChunkFault::NotCanonical);
        }
        Ok((change, expanded))
    }));
    let (change, expanded) = parsed.map_err(|_| ChunkFault::Panic)??;
    decoded(&change, &expanded)
}

fn decoded(change: &Change, expanded: &ExpandedChange) -> Result<Decoded, ChunkFault> {
    let actor = actor_from_automerge(&expanded.actor_id)?;
    let start_op = expanded.start_op.get();
    let operations: Result<Vec<_>, _> = (start_op..)
        .zip(&expanded.operations)
        .map(|(counter, op)| Operation::from_automerge(OpId { counter, actor }, op))
        .collect();
    let count =
        u64::try_from(expanded.operations.len()).map_err(|_| ChunkFault::CounterOverflow)?;
    start_op.checked_add(count).ok_or(ChunkFault::CounterOverflow)?;
    Ok(Decoded {
        hash: change.hash().0,
        actor,
        seq: expanded.seq,
        start_op,
        time_ms: expanded.time,
        deps: expanded.deps.iter().map(|dep| dep.0).collect(),
        operations: operations?,
    })
}

/// Builds the change of which the fields are given, in its canonical form. `operations` must bear
/// ids that count up from `start_op`.
pub(crate) fn build(
    actor: ActorBytes,
    seq: u64,
    start_op: NonZeroU64,
    time_ms: i64,
    deps: &[[u8; 32]],
    operations: &[Operation],
) -> Change {
    Change::from(ExpandedChange {
        operations: operations.iter().map(Operation::to_automerge).collect(),
        actor_id: ActorId::from(actor.0),
        hash: None,
        seq,
        start_op,
        time: time_ms,
        message: None,
        deps: deps.iter().copied().map(ChangeHash).collect(),
        extra_bytes: Vec::new(),
        author: None,
    })
}
