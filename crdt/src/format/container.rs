//! Files that are carried: a mark that tells what they are, then chunks with checksums, the last of which says that the
//! file is whole.
//!
//! | part | bytes |
//! |---|---|
//! | mark | 16: what the file is, in letters |
//! | version | 4, little endian |
//! | chunk, any number of times | kind 1, length 4 (little endian), checksum 8, content |
//! | last chunk | the same of kind [`END`]; nothing follows |
//!
//! A checksum is the beginning of BLAKE3 over the chunk's number in the file, its kind and its content. It finds what
//! disks and cables do; anyone who writes such a file can write any. So nothing in one is trusted for being in it.

/// The kind of the last chunk.
pub const END: u8 = 0;
/// Most bytes of a chunk's content: an entry of the greatest size, and some.
pub const CHUNK_BYTES_MAX: usize = 6 * 1024 * 1024;

const MARK_BYTES: usize = 16;
const START_BYTES: usize = MARK_BYTES + 4;
const HEAD_BYTES: usize = 1 + 4 + 8;

/// What a file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileKind {
    /// Its first bytes.
    pub mark: &'static [u8; MARK_BYTES],
    /// What people call it.
    pub name: &'static str,
    /// The version that this program writes, and the last that it reads.
    pub version: u32,
}

/// Why bytes are no such file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChunkError {
    /// It begins otherwise.
    #[error("this is not a {expected}: it does not begin like one")]
    Mark {
        /// What was expected.
        expected: &'static str,
    },
    /// A later program made it.
    #[error(
        "the {name} has version {found}, this program reads up to {expected}: use the newer program that made it"
    )]
    Version {
        /// What it is.
        name: &'static str,
        /// Its version.
        found: u32,
        /// The last version known here.
        expected: u32,
    },
    /// Bytes are not the ones that were written.
    #[error("the {name} is damaged at byte {offset}: copy it again")]
    Damaged {
        /// What it is.
        name: &'static str,
        /// Where the damaged chunk begins.
        offset: u64,
    },
    /// It ends too early.
    #[error("the {name} is cut off at byte {offset}: copy it again")]
    Truncated {
        /// What it is.
        name: &'static str,
        /// How long it is.
        offset: u64,
    },
    /// Something follows its end.
    #[error("the {name} ends at byte {offset}, but something follows: copy it again")]
    Trailing {
        /// What it is.
        name: &'static str,
        /// Where it ends.
        offset: u64,
    },
}

/// Writes a file's parts, one after the other.
#[derive(Debug)]
pub struct ChunkWriter {
    count: u64,
}

impl ChunkWriter {
    /// Begins a file: with these bytes.
    pub fn start(kind: FileKind) -> (Self, Vec<u8>) {
        let start = [&kind.mark[..], &kind.version.to_le_bytes()].concat();
        (Self { count: 0 }, start)
    }

    /// The bytes of the next chunk. `content` has at most [`CHUNK_BYTES_MAX`].
    pub fn chunk(&mut self, kind: u8, content: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(HEAD_BYTES + content.len());
        bytes.push(kind);
        bytes.extend_from_slice(&(content.len() as u32).to_le_bytes());
        bytes.extend_from_slice(&checksum(self.count, kind, content));
        bytes.extend_from_slice(content);
        self.count += 1;
        bytes
    }
}

/// Reads a file's chunks from bytes that come in pieces of any size.
#[derive(Debug)]
pub struct ChunkReader {
    kind: FileKind,
    buffer: Vec<u8>,
    /// Bytes before those in the buffer.
    offset: u64,
    count: u64,
    is_started: bool,
    is_ended: bool,
}

impl ChunkReader {
    /// Of a file of this kind.
    pub fn new(kind: FileKind) -> Self {
        let buffer = Vec::new();
        Self { kind, buffer, offset: 0, count: 0, is_started: false, is_ended: false }
    }

    /// Takes more bytes in. Call [`ChunkReader::next_chunk`] until it yields nothing before the next.
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// The next chunk: its kind and its content. `None`: more bytes are needed.
    ///
    /// # Errors
    /// [`ChunkError`] where the bytes are another kind of file, damaged, or of a later version. Chunks that were read
    /// before are sound.
    pub fn next_chunk(&mut self) -> Result<Option<(u8, Vec<u8>)>, ChunkError> {
        let FileKind { name, .. } = self.kind;
        if !self.start()? {
            return Ok(None);
        }
        if self.is_ended {
            return if self.buffer.is_empty() {
                Ok(None)
            } else {
                Err(ChunkError::Trailing { name, offset: self.offset })
            };
        }
        let damaged = ChunkError::Damaged { name, offset: self.offset };
        let Some((head, rest)) = self.buffer.split_first_chunk::<HEAD_BYTES>() else {
            return Ok(None);
        };
        let [kind, a, b, c, d, sum @ ..] = *head;
        let length = u32::from_le_bytes([a, b, c, d]) as usize;
        if length > CHUNK_BYTES_MAX {
            return Err(damaged);
        }
        let Some(content) = rest.get(..length) else { return Ok(None) };
        if checksum(self.count, kind, content) != sum {
            return Err(damaged);
        }
        let content = content.to_vec();
        self.drop_front(HEAD_BYTES + length);
        self.count += 1;
        self.is_ended = kind == END;
        Ok(Some((kind, content)))
    }

    /// Whether the file was whole; asked when there are no more bytes.
    ///
    /// # Errors
    /// [`ChunkError`] where the file ends before its last chunk: copy it again.
    pub fn finish(&self) -> Result<(), ChunkError> {
        let offset = self.offset + self.buffer.len() as u64;
        match (self.is_ended, self.is_started) {
            (true, _) => Ok(()),
            (false, false) if offset == 0 => Err(ChunkError::Mark { expected: self.kind.name }),
            (false, _) => Err(ChunkError::Truncated { name: self.kind.name, offset }),
        }
    }

    /// Reads the beginning; `false`: more bytes are needed.
    fn start(&mut self) -> Result<bool, ChunkError> {
        if self.is_started {
            return Ok(true);
        }
        let FileKind { mark, name, version } = self.kind;
        let seen = self.buffer.len().min(MARK_BYTES);
        if self.buffer[..seen] != mark[..seen] {
            return Err(ChunkError::Mark { expected: name });
        }
        let Some(start) = self.buffer.first_chunk::<START_BYTES>() else { return Ok(false) };
        let [.., a, b, c, d] = *start;
        let found = u32::from_le_bytes([a, b, c, d]);
        if found > version {
            return Err(ChunkError::Version { name, found, expected: version });
        }
        self.drop_front(START_BYTES);
        self.is_started = true;
        Ok(true)
    }

    fn drop_front(&mut self, count: usize) {
        self.buffer.drain(..count);
        self.offset += count as u64;
    }
}

fn checksum(number: u64, kind: u8, content: &[u8]) -> [u8; 8] {
    let mut hasher = blake3::Hasher::new_derive_key("branchline 1 chunk of a file");
    hasher.update(&number.to_le_bytes());
    hasher.update(&[kind]);
    hasher.update(content);
    let mut sum = [0; 8];
    sum.copy_from_slice(&hasher.finalize().as_bytes()[..8]);
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    const KIND: FileKind = FileKind { mark: b"branchline tests", name: "test", version: 3 };

    fn file(version: u32) -> Vec<u8> {
        let (mut writer, mut bytes) = ChunkWriter::start(FileKind { version, ..KIND });
        for content in [&b"one"[..], &[], &[7; 3_000]] {
            bytes.extend(writer.chunk(1, content));
        }
        bytes.extend(writer.chunk(END, b"3"));
        bytes
    }

    fn read(bytes: &[u8], piece: usize) -> Result<usize, ChunkError> {
        let (mut reader, mut count) = (ChunkReader::new(KIND), 0);
        for piece in bytes.chunks(piece) {
            reader.push(piece);
            while reader.next_chunk()?.is_some() {
                count += 1;
            }
        }
        reader.finish().map(|()| count)
    }

    #[test]
    fn chunks_come_back_whatever_the_pieces_that_they_come_in() {
        for piece in [1, 7, 64, 10_000] {
            assert_eq!(read(&file(3), piece), Ok(4));
        }
        assert_eq!(read(&file(1), 100), Ok(4));
    }

    #[test]
    fn every_cut_and_every_changed_byte_is_noticed() {
        let whole = file(3);
        for cut in 0..whole.len() {
            assert!(read(&whole[..cut], 50).is_err(), "cut at {cut}");
        }
        for place in 0..whole.len() {
            let mut changed = whole.clone();
            changed[place] ^= 1;
            let is_version = (MARK_BYTES..START_BYTES).contains(&place);
            assert!(read(&changed, 50).is_err() || is_version, "byte {place}");
        }
        let more = [&whole[..], b"x"].concat();
        assert!(matches!(read(&more, 50), Err(ChunkError::Trailing { .. })));
    }

    #[test]
    fn what_it_is_and_its_version_are_told_apart() {
        assert_eq!(
            read(b"PK\x03\x04 something else", 5),
            Err(ChunkError::Mark { expected: "test" })
        );
        assert_eq!(read(b"", 5), Err(ChunkError::Mark { expected: "test" }));
        let newer = ChunkError::Version { name: "test", found: 4, expected: 3 };
        assert_eq!(read(&file(4), 5), Err(newer));
    }

    #[test]
    fn chunks_do_not_change_places() {
        let (mut writer, start) = ChunkWriter::start(KIND);
        let (one, two) = (writer.chunk(1, b"one"), writer.chunk(1, b"two"));
        let end = writer.chunk(END, &[]);
        assert_eq!(read(&[&start[..], &one, &two, &end].concat(), 9), Ok(3));
        assert!(read(&[&start[..], &two, &one, &end].concat(), 9).is_err());
        assert!(read(&[&start[..], &two, &end].concat(), 9).is_err());
    }
}
