//! Bundles: entries in a file, for offices whose link is a USB stick.
//!
//! A bundle is a [`crate::format::container`] file of [`Piece`]s: the header, the genesis document, the taking up of a ticket if its
//! maker is no member yet, membership entries, proofs of forks, the entries of the main space, and receipts; then for
//! each private space that it is to hold the proof of who is in it, and the same of that space. Entries
//! stand in the maker's journal order, packed as in answers to pulls. A bundle is a hint: anyone who takes it in judges
//! each part as if a stranger had sent it.

mod make;

use serde::{Deserialize, Serialize};

use crate::format::codec::{self, DecodeError};
use crate::format::container::{ChunkError, ChunkReader, END, FileKind};
use crate::ids::{RealmId, SiteId, SpaceId};
use crate::log::fork::ForkProof;
use crate::log::frontier::Known;
use crate::log::receipt::Receipt;
use crate::membership::{Admission, Genesis};
use crate::protocol::Invitation;
use crate::protocol::prepare::{Job, Prepared};

pub use make::{Begin, Bundling, Since};

/// The file.
pub const FILE: FileKind = FileKind { mark: b"branchline bundl", name: "bundle", version: 1 };

/// Bytes of entries in one piece, as in an answer to a pull.
const ENTRIES_BYTES: usize = 256 * 1024;
/// Receipts in one piece.
const RECEIPTS: usize = 256;

// Kinds of chunks; stored, so these numbers never change.
const HEADER: u8 = 1;
const GENESIS: u8 = 2;
const ADMISSION: u8 = 3;
const ENTRIES: u8 = 4;
const FORK: u8 = 5;
const RECEIPTS_KIND: u8 = 6;
const SPACE: u8 = 7;

/// What a bundle is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BundleHeader {
    /// The network that it is of.
    pub network: RealmId,
    /// The site that made it.
    pub maker: SiteId,
    /// When, in ms since 1970 by that site's clock.
    pub time_ms: i64,
    /// By space, what it takes to be held wherever it is merged: it begins behind that. Nothing: it begins with the
    /// first entry.
    pub since: Vec<(SpaceId, Vec<Known>)>,
}

/// What a bundle holds, said at its end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Contents {
    /// Entries.
    pub entries: u64,
    /// Entries that were left out since they, or what they build on, are damaged at the maker's.
    pub skipped: u64,
    /// Receipts.
    pub receipts: u64,
}

/// One piece.
#[derive(Debug)]
pub enum Piece {
    /// The first.
    Header(BundleHeader),
    /// The document that the network began with.
    Genesis(Genesis),
    /// The maker is no member yet and takes up its ticket.
    Admission(Box<Admission>),
    /// Entries, see [`crate::protocol::pack_entries`].
    Entries(Vec<u8>),
    /// A private space, shown to its members. What follows is of that space.
    Space(Box<Invitation>),
    /// The proof of a fork, and the space of the log.
    Fork(SpaceId, Box<ForkProof>),
    /// The latest receipts of some sites.
    Receipts(Vec<Receipt>),
    /// The last.
    End(Contents),
}

/// A piece of a bundle, its entries prepared.
#[derive(Debug)]
pub enum MergePiece {
    /// See [`Piece::Header`].
    Header(BundleHeader),
    /// See [`Piece::Genesis`].
    Genesis(Genesis),
    /// See [`Piece::Admission`].
    Admission(Box<Admission>),
    /// See [`Piece::Entries`].
    Entries(Prepared),
    /// See [`Piece::Space`].
    Space(Box<Invitation>),
    /// See [`Piece::Fork`].
    Fork(SpaceId, Box<ForkProof>),
    /// See [`Piece::Receipts`].
    Receipts(Vec<Receipt>),
    /// See [`Piece::End`].
    End(Contents),
}

impl Piece {
    /// The piece for [`crate::Replica::merge`]: its entries are read and their signatures verified, which takes a while
    /// and needs no state.
    #[must_use]
    pub fn prepare(self) -> MergePiece {
        match self {
            Self::Header(header) => MergePiece::Header(header),
            Self::Genesis(genesis) => MergePiece::Genesis(genesis),
            Self::Admission(admission) => MergePiece::Admission(admission),
            Self::Entries(packed) => MergePiece::Entries(Job::of_bundle(packed).run()),
            Self::Space(invitation) => MergePiece::Space(invitation),
            Self::Fork(space, fork) => MergePiece::Fork(space, fork),
            Self::Receipts(receipts) => MergePiece::Receipts(receipts),
            Self::End(contents) => MergePiece::End(contents),
        }
    }
}

/// Why bytes are no bundle.
#[derive(Debug, thiserror::Error)]
pub enum BundleError {
    /// The file is not whole, or none.
    #[error(transparent)]
    File(#[from] ChunkError),
    /// A piece does not say what it should: another program made it.
    #[error("the bundle contains what does not belong in a bundle: {0}")]
    Layout(#[from] DecodeError),
    /// A piece is of a kind that there is not.
    #[error("the bundle contains a piece of unknown kind {found}")]
    Kind {
        /// The kind.
        found: u8,
    },
    /// The pieces are not in their order.
    #[error("the bundle does not begin with a header")]
    NoHeader,
}

/// Reads a bundle from bytes that come in pieces of any size.
#[derive(Debug)]
pub struct BundleReader {
    chunks: ChunkReader,
    has_header: bool,
}

impl Default for BundleReader {
    fn default() -> Self {
        Self { chunks: ChunkReader::new(FILE), has_header: false }
    }
}

impl BundleReader {
    /// Takes more bytes in. Call [`BundleReader::next_piece`] until it yields nothing before the next.
    pub fn push(&mut self, bytes: &[u8]) {
        self.chunks.push(bytes);
    }

    /// The next piece. `None`: more bytes are needed.
    ///
    /// # Errors
    /// [`BundleError`] where the bytes are no bundle, are damaged or come from a later program. What was read before
    /// stands; copy the file again, or read it with the newer program.
    pub fn next_piece(&mut self) -> Result<Option<Piece>, BundleError> {
        let Some((kind, content)) = self.chunks.next_chunk()? else { return Ok(None) };
        let piece = match kind {
            HEADER => Piece::Header(codec::decode("header of a bundle", &content)?),
            GENESIS => Piece::Genesis(codec::decode("genesis document", &content)?),
            ADMISSION => Piece::Admission(Box::new(codec::decode("admission", &content)?)),
            ENTRIES => Piece::Entries(content),
            FORK => {
                let (space, fork) = codec::decode("fork", &content)?;
                Piece::Fork(space, Box::new(fork))
            }
            SPACE => Piece::Space(Box::new(codec::decode("private space", &content)?)),
            RECEIPTS_KIND => Piece::Receipts(codec::decode("receipts", &content)?),
            END => Piece::End(codec::decode("end of a bundle", &content)?),
            found => return Err(BundleError::Kind { found }),
        };
        let is_header = matches!(piece, Piece::Header(_));
        if is_header == self.has_header {
            return Err(BundleError::NoHeader);
        }
        self.has_header = true;
        Ok(Some(piece))
    }

    /// Whether the bundle was whole; asked when there are no more bytes.
    ///
    /// # Errors
    /// [`BundleError`] where the bundle is cut off: copy it again.
    pub fn finish(&self) -> Result<(), BundleError> {
        Ok(self.chunks.finish()?)
    }
}
