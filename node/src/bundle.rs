//! Bundles: made from what is stored, and taken in through the replica.

use std::collections::BTreeSet;
use std::time::Duration;

use branchline_crdt::bundle::{
    BundleError, BundleReader, Bundling, Contents, MergePiece, Piece, Since,
};
use branchline_crdt::ids::SiteId;
use branchline_crdt::replica::{MergeError, Merged};
use branchline_crdt::store::StoreError;
use futures::stream::{self, Stream, StreamExt as _};
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;
use tokio::task::spawn_blocking;
use utoipa::ToSchema;

use crate::driver::Message;
use crate::handle::{Handle, NoNetwork, ReadError, Stopped, conflicted};
use crate::storage::Reader;

/// Pieces of a bundle that wait for the one who writes them: some 256 KiB each.
const PIECES_WAITING_MAX: usize = 4;
/// Pieces that are prepared while one is taken in.
const PREPARED_MAX: usize = 2;
/// How long the next bytes of a bundle may take to come.
const BYTES_PATIENCE: Duration = Duration::from_secs(30);
/// Records that are distinguished where changed ones are counted; further ones count at each change.
const RECORDS_TOLD_APART_MAX: usize = 1 << 20;

/// What merging a bundle did. What it says is durable.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MergeReport {
    /// The site that made the bundle, by its own word.
    pub maker: Option<SiteId>,
    /// When, in ms since 1970 by its clock.
    pub time_ms: i64,
    /// What became of the entries.
    pub counts: MergeCounts,
}

/// What became of a bundle's entries.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct MergeCounts {
    /// Entries that are held now and were not.
    pub entries_new: u64,
    /// Entries that were held already.
    pub entries_known: u64,
    /// Entries that build on others which neither were here nor in the bundle.
    pub entries_waiting: u64,
    /// Entries that must not be here.
    pub entries_refused: u64,
    /// Why the first of these was refused.
    pub refusal: Option<String>,
    /// Records that the new entries change.
    pub records_changed: u64,
    /// Records that have conflicts now and had none.
    pub conflicts_new: u64,
    /// Entries that the maker left out since they are damaged there.
    pub entries_left_out: u64,
    /// Entries that were not taken in, because the disk here has too little room for what other sites wrote.
    #[serde(default)]
    pub entries_without_room: u64,
}

/// Why a bundle was not merged to its end. What came before stays merged, and merging it again is safe.
#[derive(Debug, thiserror::Error)]
pub enum NotMerged {
    /// It is no bundle, or damaged.
    #[error(transparent)]
    Bundle(#[from] BundleError),
    /// It cannot be merged here.
    #[error(transparent)]
    Merge(#[from] MergeError),
    /// Its bytes do not come.
    #[error("the bundle cannot be read: {reason}")]
    Source {
        /// Why.
        reason: String,
    },
    /// The node cannot be asked.
    #[error(transparent)]
    Read(#[from] ReadError),
}

impl From<Stopped> for NotMerged {
    fn from(error: Stopped) -> Self {
        Self::Read(error.into())
    }
}

impl Handle {
    /// The bytes of a bundle of all that is held now and that its receiver lacks, with the private space that is
    /// addressed and those that the receiver is in. The stream ends early with an error; the file is then not whole,
    /// and says so to the one who reads it.
    ///
    /// # Errors
    /// [`ReadError`] where the site is in no network, the tables cannot be read, or the node has stopped. The stream
    /// ends with the [`StoreError`] that it meets.
    pub async fn bundle(
        &self,
        since: Since,
    ) -> Result<impl Stream<Item = Result<Vec<u8>, StoreError>> + Send + 'static, ReadError> {
        let receiver = match &since {
            Since::Frontier(site, _) | Since::Receipt(site) => Some(*site),
            Since::Nothing => None,
        };
        let realm = self.realm;
        let begin = self.ask(|reply| Message::BeginBundle { receiver, realm, reply }).await?;
        let begin = begin.ok_or(NoNetwork)?;
        let read = move |reader: &Reader, _| Bundling::new(reader.clone(), begin, &since);
        let bundling = self.read(read).await?;
        let (pieces, mut waiting) = mpsc::channel(PIECES_WAITING_MAX);
        spawn_blocking(move || write(bundling, &pieces));
        Ok(stream::poll_fn(move |context| waiting.poll_recv(context)))
    }

    /// Takes a bundle in. `bytes`: the file, in pieces of any size.
    pub async fn merge_bundle<E: std::fmt::Display>(
        &self,
        bytes: impl Stream<Item = Result<impl AsRef<[u8]>, E>> + Send,
    ) -> (MergeReport, Result<(), NotMerged>) {
        let mut report = MergeReport::default();
        let merged = self.merge_into(bytes, &mut report).await;
        (report, merged)
    }

    async fn merge_into<E: std::fmt::Display>(
        &self,
        bytes: impl Stream<Item = Result<impl AsRef<[u8]>, E>> + Send,
        report: &mut MergeReport,
    ) -> Result<(), NotMerged> {
        if self.network_id().is_none() {
            return Err(MergeError::NoNetwork.into());
        }
        let before = self.read(conflicted).await?;
        let mut records = BTreeSet::new();
        let pieces = pieces(Box::pin(bytes)).map(prepare).buffered(PREPARED_MAX);
        let mut pieces = std::pin::pin!(pieces);
        while let Some(piece) = pieces.next().await {
            let piece = piece?;
            match &piece {
                MergePiece::Header(header) => {
                    report.maker = Some(header.maker);
                    report.time_ms = header.time_ms;
                }
                MergePiece::End(Contents { skipped, .. }) => {
                    report.counts.entries_left_out = *skipped;
                }
                MergePiece::Genesis(_)
                | MergePiece::Admission(_)
                | MergePiece::Entries(_)
                | MergePiece::Space(_)
                | MergePiece::Fork(..)
                | MergePiece::Receipts(_) => {}
            }
            let Some(maker) = report.maker else { return Err(BundleError::NoHeader.into()) };
            for piece in split(piece) {
                let piece = Box::new(piece);
                let merged = self.ask(|reply| Message::Merge { maker, piece, reply }).await??;
                report.counts.add(merged, &mut records);
            }
        }
        let after = self.read(conflicted).await?;
        report.counts.conflicts_new = after.difference(&before).count() as u64;
        Ok(())
    }
}

impl MergeCounts {
    fn add(&mut self, merged: Merged, records: &mut BTreeSet<[u8; 8]>) {
        self.entries_new += merged.new;
        self.entries_known += merged.known;
        self.entries_waiting += merged.waiting;
        self.entries_refused += merged.refused;
        self.entries_without_room += merged.without_room;
        self.refusal = self.refusal.take().or(merged.refusal);
        for record in merged.records {
            let is_new = records.len() >= RECORDS_TOLD_APART_MAX || records.insert(record);
            self.records_changed += u64::from(is_new);
        }
    }
}

/// Writes until the bundle is whole or nobody reads it any more.
fn write(mut bundling: Bundling<Reader>, pieces: &mpsc::Sender<Result<Vec<u8>, StoreError>>) {
    loop {
        let piece = match bundling.next_bytes() {
            Ok(Some(bytes)) => Ok(bytes),
            Ok(None) => return,
            Err(error) => Err(error),
        };
        let is_last = piece.is_err();
        if pieces.blocking_send(piece).is_err() || is_last {
            return;
        }
    }
}

/// The pieces of a bundle, with who made it.
fn pieces<E: std::fmt::Display>(
    bytes: impl Stream<Item = Result<impl AsRef<[u8]>, E>> + Send + Unpin,
) -> impl Stream<Item = Result<Piece, NotMerged>> + Send {
    let state = (bytes, BundleReader::default(), false);
    stream::try_unfold(state, |(mut bytes, mut reader, mut is_done)| async move {
        loop {
            if let Some(piece) = reader.next_piece()? {
                return Ok(Some((piece, (bytes, reader, is_done))));
            }
            if is_done {
                reader.finish()?;
                return Ok(None);
            }
            let source = |reason: String| NotMerged::Source { reason };
            let next = tokio::time::timeout(BYTES_PATIENCE, bytes.next()).await;
            let seconds = BYTES_PATIENCE.as_secs();
            match next.map_err(|_| source(format!("no more bytes came for {seconds} s")))? {
                Some(Ok(some)) => reader.push(some.as_ref()),
                Some(Err(error)) => return Err(source(error.to_string())),
                None => is_done = true,
            }
        }
    })
}

/// Entries one by one, so that each has its turn beside anyone else who wants something of the replica.
fn split(piece: MergePiece) -> Vec<MergePiece> {
    match piece {
        MergePiece::Entries(prepared) => {
            prepared.split().into_iter().map(MergePiece::Entries).collect()
        }
        other => vec![other],
    }
}

/// Prepares a piece on another thread.
async fn prepare(piece: Result<Piece, NotMerged>) -> Result<MergePiece, NotMerged> {
    let piece = piece?;
    let failed = || "this program failed while reading them; please report this".to_owned();
    let prepared = spawn_blocking(|| piece.prepare()).await;
    Ok(prepared.map_err(|_| MergeError::Unreadable { reason: failed() })?)
}
