//! Backups: a site in one file, taken while its node runs.
//!
//! A backup is a [`branchline_crdt::format::container`] file: what it is ([`BackupHeader`], as JSON), the site's small files, the files
//! of extensions, the journal's frames in order, and how many of them. The tables are not in it; they are rebuilt from the journal. The
//! journal only grows, so any beginning of it is what the site held at one moment, and writers do not wait.
//!
//! Every start writes under a new incarnation. So does a restored site: what it wrote after the backup, and others hold,
//! stays and comes back from them.

use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use branchline_crdt::format::codec::{self, DecodeError};
use branchline_crdt::format::container::{ChunkError, ChunkReader, ChunkWriter, END, FileKind};
use branchline_crdt::format::pack::{self, UnpackError};
use branchline_crdt::store::{Position, ReadJournal, Store, StoreError};
use futures::stream::{self, Stream};
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;
use tokio::task::spawn_blocking;

use crate::extension::{BackupRefused, Restoring, Snapshot, place};
use crate::handle::Handle;
use crate::site::{SiteError, SiteFolder};
use crate::storage::folder::{DataFolder, FolderError};
use crate::storage::{OpenError, Options, Reader, Storage};

/// The file.
pub const FILE: FileKind = FileKind { mark: b"branchline bckup", name: "backup", version: 1 };

// Kinds of chunks; stored, so these numbers never change.
const HEADER: u8 = 1;
const SITE_FILE: u8 = 2;
const FRAMES: u8 = 3;
const STATE: u8 = 4;

/// Bytes of frames in one chunk. While one is read from the disk no write can end, so it is read in a moment.
const FRAMES_BYTES: usize = 256 * 1024;
/// What a chunk of frames may mean: one frame of the greatest size, and some.
const FRAMES_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Bytes of an extension's file in one chunk.
const STATE_BYTES: usize = 1024 * 1024;
/// What a chunk of such a file may mean: that, and the file's name.
const STATE_BYTES_MAX: usize = STATE_BYTES + 1024;
/// Chunks that wait for the one who writes them.
const CHUNKS_WAITING_MAX: usize = 4;
/// Bytes of a backup that are read at a time.
const READ_BYTES: usize = 64 * 1024;

/// What a backup is of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackupHeader {
    /// The site's id.
    pub site: String,
    /// Its name.
    pub name: String,
    /// When the backup was taken, by the site's clock, in RFC 3339.
    pub time: String,
}

/// What a backup holds of the journal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct JournalContents {
    /// Frames: entries, and the few other things that a journal holds.
    pub frames: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Damaged stretches that are left out; other sites give back what was in them.
    pub damaged: u64,
}

/// One part of a backup.
#[derive(Debug)]
pub enum BackupPart {
    /// What it is of.
    Header(BackupHeader),
    /// One of the site's small files.
    SiteFile {
        /// Its name.
        name: String,
        /// What it holds.
        content: Vec<u8>,
    },
    /// The next bytes of a file of an extension.
    State {
        /// The extension and the file's name, with `/` between them.
        name: String,
        /// Some of what it holds.
        content: Vec<u8>,
    },
    /// Frames of the journal.
    Frames(Vec<Vec<u8>>),
    /// The end.
    End(JournalContents),
}

/// Why bytes are no backup.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// The file is not whole, or none.
    #[error(transparent)]
    File(#[from] ChunkError),
    /// A part does not say what it should: another program made it.
    #[error("the backup contains what does not belong in a backup: {0}")]
    Layout(#[from] DecodeError),
    /// Frames do not unpack.
    #[error("the backup contains what does not belong in a backup: {0}")]
    Unpack(#[from] UnpackError),
    /// The header is none.
    #[error("the backup contains what does not belong in a backup: {0}")]
    Header(#[from] serde_json::Error),
    /// A file has a name that no extension's file can have.
    #[error("the backup contains what does not belong in a backup: a file called {found:?}")]
    Name {
        /// The name.
        found: String,
    },
    /// A part is of a kind that there is not.
    #[error("the backup contains a part of unknown kind {found}")]
    Kind {
        /// The kind.
        found: u8,
    },
    /// Parts are missing.
    #[error("the backup has {found} frames, its end says {expected}")]
    Count {
        /// Frames found.
        found: u64,
        /// Frames that there should be.
        expected: u64,
    },
}

/// Why a site was not restored. The folder is then as it was.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// The folder holds something.
    #[error("{path} is not empty: restore a site to a new folder", path = path.display())]
    NotEmpty {
        /// The folder.
        path: PathBuf,
    },
    /// The backup cannot be read.
    #[error("cannot read the backup: {source}")]
    Read {
        /// Why.
        source: io::Error,
    },
    /// It is none, or damaged.
    #[error(transparent)]
    Backup(#[from] BackupError),
    /// The folder cannot be used.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// The journal cannot be made.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The journal cannot be written.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The site's files cannot be written, or are not those of the site that the backup is of.
    #[error(transparent)]
    Site(#[from] SiteError),
    /// The folder cannot be written.
    #[error("cannot write to {path}: {source}", path = path.display())]
    Io {
        /// The folder.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// What was restored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Restored {
    /// What the backup was of.
    pub header: BackupHeader,
    /// What it held of the journal.
    pub contents: JournalContents,
}

/// Writes a backup's parts.
pub struct BackupWriter(ChunkWriter);

impl BackupWriter {
    /// Begins a backup: with these bytes.
    pub fn start() -> (Self, Vec<u8>) {
        let (chunks, start) = ChunkWriter::start(FILE);
        (Self(chunks), start)
    }

    /// The bytes of a part.
    ///
    /// # Errors
    /// [`BackupError`] where the bytes of the part are damaged or missing.
    pub fn part(&mut self, part: &BackupPart) -> Result<Vec<u8>, BackupError> {
        Ok(match part {
            BackupPart::Header(header) => self.0.chunk(HEADER, &serde_json::to_vec(header)?),
            BackupPart::SiteFile { name, content } => {
                self.0.chunk(SITE_FILE, &codec::encode(&(name, content)))
            }
            BackupPart::State { name, content } => {
                self.0.chunk(STATE, &pack::pack(&codec::encode(&(name, content))))
            }
            BackupPart::Frames(frames) => self.0.chunk(FRAMES, &pack::pack(&codec::encode(frames))),
            BackupPart::End(contents) => self.0.chunk(END, &codec::encode(contents)),
        })
    }
}

/// Reads a backup from bytes that come in pieces of any size.
pub struct BackupReader {
    chunks: ChunkReader,
    frames: u64,
}

impl Default for BackupReader {
    fn default() -> Self {
        Self { chunks: ChunkReader::new(FILE), frames: 0 }
    }
}

impl BackupReader {
    /// Takes more bytes in. Call [`BackupReader::next_part`] until it yields nothing before the next.
    pub fn push(&mut self, bytes: &[u8]) {
        self.chunks.push(bytes);
    }

    /// The next part. `None`: more bytes are needed.
    ///
    /// # Errors
    /// [`BackupError`] where the bytes are no backup, are damaged, or come from a later program.
    pub fn next_part(&mut self) -> Result<Option<BackupPart>, BackupError> {
        let Some((kind, content)) = self.chunks.next_chunk()? else { return Ok(None) };
        Ok(Some(match kind {
            HEADER => BackupPart::Header(serde_json::from_slice(&content)?),
            SITE_FILE => {
                let (name, content) = codec::decode("file of a site", &content)?;
                BackupPart::SiteFile { name, content }
            }
            STATE => {
                let raw = pack::unpack(&content, STATE_BYTES_MAX)?;
                let (name, content): (String, _) = codec::decode("file of an extension", &raw)?;
                match place(&name) {
                    Some(_) => BackupPart::State { name, content },
                    None => return Err(BackupError::Name { found: name }),
                }
            }
            FRAMES => {
                let raw = pack::unpack(&content, FRAMES_BYTES_MAX)?;
                let frames: Vec<Vec<u8>> = codec::decode("frames", &raw)?;
                self.frames += frames.len() as u64;
                BackupPart::Frames(frames)
            }
            END => {
                let contents: JournalContents = codec::decode("end of a backup", &content)?;
                let (found, expected) = (self.frames, contents.frames);
                if found != expected {
                    return Err(BackupError::Count { found, expected });
                }
                BackupPart::End(contents)
            }
            found => return Err(BackupError::Kind { found }),
        }))
    }

    /// Whether the backup was whole; asked when there are no more bytes.
    ///
    /// # Errors
    /// [`BackupError`] where the backup is cut off: make or copy it again.
    pub fn finish(&self) -> Result<(), BackupError> {
        Ok(self.chunks.finish()?)
    }
}

impl Handle {
    /// What extensions keep and the journal, as they are now, as the parts of a backup that hold them, and its end; the bytes
    /// of a backup file without a header and without the site's files.
    ///
    /// # Errors
    /// [`BackupRefused`] where an extension cannot copy its files, or there is no room for the copies. The node works
    /// on.
    pub async fn backup(
        &self,
    ) -> Result<impl Stream<Item = io::Result<Vec<u8>>> + Send + 'static, BackupRefused> {
        let reader = self.reader.clone();
        // Before the journal, which so holds all that these know of.
        let snapshot = match self.extensions.upgrade() {
            Some(extensions) => Some(extensions.snapshot(reader.path()).await?),
            None => None,
        };
        let (chunks, mut waiting) = mpsc::channel(CHUNKS_WAITING_MAX);
        spawn_blocking(move || {
            let (writer, start) = BackupWriter::start();
            let sending = Sending { writer, chunks: chunks.clone() };
            if let Err(error) = sending.send(start, &reader, snapshot) {
                // Nobody may be reading any more.
                let _ = chunks.blocking_send(Err(error));
            }
        });
        Ok(stream::poll_fn(move |context| waiting.poll_recv(context)))
    }
}

/// A backup on its way to the one who writes it. It is given up when nobody reads any more.
struct Sending {
    writer: BackupWriter,
    chunks: mpsc::Sender<io::Result<Vec<u8>>>,
}

impl Sending {
    fn send(
        mut self,
        start: Vec<u8>,
        reader: &Reader,
        snapshot: Option<Snapshot>,
    ) -> io::Result<()> {
        let end = reader.journal_end();
        self.bytes(start)?;
        if let Some(snapshot) = snapshot {
            for (name, path) in &snapshot.files {
                self.file(name, path)?;
            }
        }
        self.journal(reader, end)
    }

    /// Sends a file of an extension.
    fn file(&mut self, name: &str, path: &Path) -> io::Result<()> {
        let unreadable = |error: io::Error| {
            io::Error::new(error.kind(), format!("cannot read {}: {error}", path.display()))
        };
        let mut file = fs::File::open(path).map_err(unreadable)?;
        loop {
            let mut content = Vec::new();
            file.by_ref().take(STATE_BYTES as u64).read_to_end(&mut content).map_err(unreadable)?;
            let is_last = content.len() < STATE_BYTES;
            self.part(&BackupPart::State { name: name.to_owned(), content })?;
            if is_last {
                return Ok(());
            }
        }
    }

    /// Sends the journal up to `end`, and says that this is the end.
    fn journal(&mut self, reader: &Reader, end: Option<Position>) -> io::Result<()> {
        let mut contents = JournalContents::default();
        let mut after: Option<Position> = None;
        loop {
            let page = reader.scan_journal(after, FRAMES_BYTES).map_err(io::Error::other)?;
            let known = page.into_iter().filter(|(at, _)| end.is_some_and(|end| *at < end));
            let (places, frames): (Vec<_>, Vec<_>) = known.unzip();
            let Some(last) = places.last() else { break };
            after = Some(*last);
            contents.frames += frames.len() as u64;
            contents.bytes += frames.iter().map(Vec::len).sum::<usize>() as u64;
            self.part(&BackupPart::Frames(frames))?;
        }
        let damaged = reader.damaged().into_iter().filter(|at| end.is_some_and(|end| *at < end));
        contents.damaged = damaged.count() as u64;
        self.part(&BackupPart::End(contents))
    }

    fn part(&mut self, part: &BackupPart) -> io::Result<()> {
        let bytes = self.writer.part(part).map_err(io::Error::other)?;
        self.bytes(bytes)
    }

    fn bytes(&self, bytes: Vec<u8>) -> io::Result<()> {
        let gone = |_| io::Error::new(io::ErrorKind::BrokenPipe, "nobody reads the backup");
        self.chunks.blocking_send(Ok(bytes)).map_err(gone)
    }
}

/// Makes a site of a backup in a new or empty folder.
///
/// # Errors
/// [`RestoreError`] where the backup is damaged, or the folder holds data or cannot be written. A folder that was
/// begun is not to be used.
pub fn restore(backup: &mut impl Read, data: &Path) -> Result<Restored, RestoreError> {
    let io_error = |source| RestoreError::Io { path: data.to_owned(), source };
    let existed = match fs::read_dir(data) {
        Ok(mut entries) => match entries.next() {
            Some(_) => return Err(RestoreError::NotEmpty { path: data.to_owned() }),
            None => true,
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => false,
        Err(source) => return Err(io_error(source)),
    };
    let restored = restore_into(backup, data);
    if restored.is_err() {
        // There was nothing in it before.
        let removed = fs::remove_dir_all(data);
        if existed {
            // Anyone who made it may want it back.
            let _ = removed.and_then(|()| fs::create_dir(data));
        }
    }
    restored
}

fn restore_into(backup: &mut impl Read, data: &Path) -> Result<Restored, RestoreError> {
    let io_error = |source| RestoreError::Io { path: data.to_owned(), source };
    let folder = DataFolder::create(data)?;
    let (mut storage, _) = Storage::open_in(folder, Options::default())?;
    let mut reader = BackupReader::default();
    let mut state = Restoring::new(data);
    let mut piece = vec![0; READ_BYTES];
    let (mut header, mut contents, mut files) = (None, JournalContents::default(), Vec::new());
    loop {
        while let Some(part) = reader.next_part()? {
            match part {
                BackupPart::Header(found) => header = Some(found),
                BackupPart::SiteFile { name, content } => files.push((name, content)),
                BackupPart::State { name, content } => {
                    state.write(&name, &content).map_err(io_error)?;
                }
                BackupPart::Frames(frames) => {
                    let frames: Vec<&[u8]> = frames.iter().map(Vec::as_slice).collect();
                    storage.append(&frames)?;
                }
                BackupPart::End(found) => contents = found,
            }
        }
        match backup.read(&mut piece).map_err(|source| RestoreError::Read { source })? {
            0 => break,
            count => reader.push(&piece[..count]),
        }
    }
    reader.finish()?;
    drop(storage);
    let expected = "a header, which says what the backup is of";
    let damaged = || SiteError::Damaged { path: data.to_owned(), expected };
    let header = header.ok_or_else(damaged)?;
    state.finish(&header.time).map_err(io_error)?;
    SiteFolder::new(data).restore(&header.site, files)?;
    Ok(Restored { header, contents })
}
