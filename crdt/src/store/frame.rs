//! Frames of the journal: what a site's journal is a sequence of.

use super::{Position, StoreError};
use crate::format::codec;
use crate::log::entry::Entry;
use crate::membership::{Genesis, SpaceDocument};

/// A frame of the journal: one byte that says its kind, then the content. The kinds are stored, so their numbers never
/// change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Frame<'a> {
    /// An entry, as it travels.
    Entry(&'a [u8]),
    /// The document that the network began with, encoded.
    Genesis(&'a [u8]),
    /// The proof of a fork, encoded.
    Fork(&'a [u8]),
    /// The document of a private space, encoded.
    Space(&'a [u8]),
}

/// A frame of a kind that this program does not know: a newer one wrote it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("frames of kind {} to {} are known, found {found}", Frame::FIRST, Frame::LAST)]
pub struct UnknownFrame {
    /// Its kind; 0 where it has no byte.
    pub found: u8,
}

impl UnknownFrame {
    /// What it means that such a frame is in the journal.
    pub(crate) fn at(self, position: Position) -> StoreError {
        match self.found {
            0 => StoreError::Damaged { position, reason: "the frame is empty".to_owned() },
            found => StoreError::Newer { position, found },
        }
    }
}

impl<'a> Frame<'a> {
    pub(super) const FIRST: u8 = 1;
    pub(super) const LAST: u8 = 4;

    /// Reads a frame.
    ///
    /// # Errors
    /// [`UnknownFrame`].
    pub fn read(bytes: &'a [u8]) -> Result<Self, UnknownFrame> {
        match bytes.split_first() {
            Some((1, content)) => Ok(Self::Entry(content)),
            Some((2, content)) => Ok(Self::Genesis(content)),
            Some((3, content)) => Ok(Self::Fork(content)),
            Some((4, content)) => Ok(Self::Space(content)),
            Some((&found, _)) => Err(UnknownFrame { found }),
            None => Err(UnknownFrame { found: 0 }),
        }
    }

    /// Its bytes.
    #[must_use]
    pub fn bytes(&self) -> Vec<u8> {
        let (kind, content) = match self {
            Self::Entry(content) => (1, content),
            Self::Genesis(content) => (2, content),
            Self::Fork(content) => (3, content),
            Self::Space(content) => (4, content),
        };
        let mut bytes = Vec::with_capacity(1 + content.len());
        bytes.push(kind);
        bytes.extend_from_slice(content);
        bytes
    }

    /// The frames of the documents that realms begin with: the network's, and those of private spaces.
    #[must_use]
    pub fn founding<'d>(
        genesis: Option<&Genesis>,
        spaces: impl IntoIterator<Item = &'d SpaceDocument>,
    ) -> Vec<Vec<u8>> {
        let genesis = genesis.map(|document| Frame::Genesis(&codec::encode(document)).bytes());
        let spaces = spaces.into_iter();
        let spaces = spaces.map(|document| Frame::Space(&codec::encode(document)).bytes());
        genesis.into_iter().chain(spaces).collect()
    }

    /// The entry in a frame; `None`: it holds something else, or what cannot be read.
    #[must_use]
    pub fn entry_in(bytes: &[u8]) -> Option<Entry> {
        match Frame::read(bytes) {
            Ok(Frame::Entry(content)) => Entry::decode(content).ok(),
            Ok(_) | Err(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kinds_are_pinned_and_others_are_named() {
        let frames =
            [Frame::Entry(b"a"), Frame::Genesis(b"b"), Frame::Fork(b"c"), Frame::Space(b"")];
        for (frame, kind) in frames.into_iter().zip(1..) {
            let bytes = frame.bytes();
            assert_eq!(bytes[0], kind);
            assert_eq!(Frame::read(&bytes), Ok(frame));
        }
        assert_eq!(Frame::read(&[]), Err(UnknownFrame { found: 0 }));
        let unknown = Frame::read(&[9, 1]).unwrap_err();
        assert_eq!(unknown.to_string(), "frames of kind 1 to 4 are known, found 9");
        assert!(Frame::entry_in(&[1, 2, 3]).is_none() && Frame::entry_in(&[2]).is_none());
    }
}
