//! What a program holds of a running (or opened) node: writes, reads, membership.

mod error;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Weak};
use std::time::Instant;

use branchline_crdt::ids::{Author, RealmId, SiteId, SpaceId};
use branchline_crdt::inspect::verify::VerifyReport;
use branchline_crdt::log::entry::EntryId;
use branchline_crdt::membership::{MAIN_SPACE, Ticket};
use branchline_crdt::replica::{
    Decision, HeldSpace, LocalTransaction, SiteStatus, SpaceStatus, Status, WriteError, Written,
};
use branchline_crdt::store::read;
use branchline_crdt::store::tables::ReadTables;
use branchline_crdt::store::tables::records::RecordKey;
use branchline_crdt::store::{ReadJournal, StoreError};
use libp2p::Multiaddr;
use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, oneshot, watch};

use crate::clock::wall_ms;
use crate::drafts;
use crate::driver::{Driver, Message, Seen};
use crate::extension::Extensions;
use crate::feed::{Consumer, Feed, FeedError, Since};
use crate::metrics::Metrics;
use crate::network::{NetworkHandle, PeerInfo};
use crate::peers::heard::HeardAt;
use crate::peers::others::{Copies, Standing};
use crate::site::token::Token;
use crate::storage::reserve::DiskRoom;
use crate::storage::{Reader, Sizes, disk};
use crate::traffic::HourTraffic;

pub use error::{NoNetwork, NoTicket, NotDecided, NotJoined, ReadError, SpaceNotFound, Stopped};

/// A node, as programs use it. Cheap to clone; it stops working when the node stops.
#[derive(Clone)]
pub struct Handle {
    pub(crate) messages: mpsc::Sender<Message>,
    pub(crate) reader: Reader,
    pub(crate) known: watch::Receiver<Known>,
    pub(crate) network: Option<NetworkHandle>,
    pub(crate) feed: Feed,
    pub(crate) receipts: watch::Receiver<u64>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) token: Arc<Token>,
    /// The realm of the private space that it addresses; `None`: `main`.
    pub(crate) realm: Option<RealmId>,
    /// The node's; they hold handles themselves.
    pub(crate) extensions: Weak<Extensions>,
}

/// What changes rarely and everyone may ask for at any time.
#[derive(Clone, Debug, Default)]
pub(crate) struct Known {
    /// As whom this site writes.
    pub(crate) author: Option<Author>,
    pub(crate) network: Option<RealmId>,
    /// The private spaces that are held.
    pub(crate) spaces: Vec<HeldSpace>,
    /// Where a node is to listen.
    pub(crate) listen: Vec<Multiaddr>,
    pub(crate) listening: Vec<Multiaddr>,
    /// Set when the node can no longer work.
    pub(crate) failed: Option<String>,
}

/// What a node knows of itself, its storage and the others.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeStatus {
    /// What the replica knows.
    #[serde(flatten, deserialize_with = "branchline_crdt::format::json::flattened")]
    pub replica: Status,
    /// Whether a node is running here (or its folder was opened by a command).
    pub running: bool,
    /// Addresses that it listens on.
    pub listening: Vec<String>,
    /// Live records over all collections, `_schema` left out.
    pub records: u64,
    /// Records with conflicts; counted up to 10,000.
    pub conflicts: u64,
    /// Digest of the main space, in hex.
    pub digest: String,
    /// Bytes of the journal on disk.
    pub journal_bytes: u64,
    /// Bytes of the tables on disk.
    pub tables_bytes: u64,
    /// Room on the disk that the data lies on. `None`: the system does not say.
    pub disk_free_bytes: Option<u64>,
    /// Damaged journal frames.
    pub damaged_frames: u64,
    /// Why the disk refused the last write; `None` if it took it.
    pub writes_refused: Option<String>,
    /// Whether there is room for what other sites wrote.
    pub room: DiskRoom,
    /// How this site stands in its network.
    pub standing: Standing,
    /// When each other site was last heard, by this machine's clock.
    pub heard: BTreeMap<SiteId, HeardAt>,
    /// The sites of which two copies are at work.
    pub copies: Vec<Copies>,
}

impl Handle {
    /// The same node, whose records, changes and entries are those of another space. `name`: the space's name, or its id.
    ///
    /// # Errors
    /// [`SpaceNotFound`] where no space that is held here is called so, or several are.
    pub fn in_space(&self, name: &str) -> Result<Self, SpaceNotFound> {
        if name == MAIN_SPACE {
            return Ok(Self { realm: None, ..self.clone() });
        }
        let known = self.known.borrow();
        // An id is meant before a name, which others choose.
        if let Some(space) = known.spaces.iter().find(|held| held.realm.to_string() == name) {
            return Ok(Self { realm: Some(space.realm), ..self.clone() });
        }
        let meant: Vec<&HeldSpace> = known.spaces.iter().filter(|held| held.name == name).collect();
        let found = name.to_owned();
        match meant[..] {
            [space] => Ok(Self { realm: Some(space.realm), ..self.clone() }),
            [] => Err(SpaceNotFound::Unknown { found }),
            _ => {
                let ids = meant.iter().map(|space| space.realm.to_string()).collect();
                Err(SpaceNotFound::Ambiguous { found, ids })
            }
        }
    }

    /// What stands for the network's id in the space that this addresses; in `main` it is that id.
    ///
    /// # Errors
    /// [`NoNetwork`] before the site belongs to a network.
    pub fn realm(&self) -> Result<RealmId, NoNetwork> {
        self.realm.or_else(|| self.network_id()).ok_or(NoNetwork)
    }

    /// The names of the private spaces that are held here.
    pub fn space_names(&self) -> Vec<String> {
        let mut names: Vec<_> =
            self.known.borrow().spaces.iter().map(|space| space.name.clone()).collect();
        names.sort();
        names
    }

    /// The private spaces that are held here, by name.
    ///
    /// # Errors
    /// [`Stopped`] once the node has stopped.
    pub async fn spaces(&self) -> Result<Vec<SpaceStatus>, Stopped> {
        self.ask(Message::Spaces).await
    }

    /// The sites of the space that this addresses.
    ///
    /// # Errors
    /// [`Stopped`] once the node has stopped.
    pub async fn sites(&self) -> Result<Vec<SiteStatus>, Stopped> {
        match self.realm {
            None => Ok(self.replica_status().await?.sites),
            Some(realm) => {
                let spaces = self.spaces().await?.into_iter();
                let meant = spaces.filter(|space| space.realm == realm);
                Ok(meant.flat_map(|space| space.sites).collect())
            }
        }
    }

    /// Writes transactions, each judged on its own. Returns when what was written is durable.
    ///
    /// # Errors
    /// [`Stopped`] once the node has stopped: whether the transactions were written is then unknown, unless they have
    /// an origin and are repeated. Within, why each one was refused.
    pub async fn write(
        &self,
        transactions: Vec<LocalTransaction>,
    ) -> Result<Vec<Result<Written, WriteError>>, Stopped> {
        let arrived = Instant::now();
        let transactions = self.drafted(transactions).await?;
        let space = self.realm.map(|realm| realm.main_space());
        self.ask(|reply| Message::Write { space, transactions, arrived, reply }).await?
    }

    /// The same transactions, of large writes with the edits made as far as can be without the replica.
    async fn drafted(
        &self,
        mut transactions: Vec<LocalTransaction>,
    ) -> Result<Vec<LocalTransaction>, Stopped> {
        let author = self.known.borrow().author;
        let (Some(author), Ok(realm)) = (author, self.realm()) else { return Ok(transactions) };
        if !drafts::are_worthwhile(&transactions) {
            return Ok(transactions);
        }
        let reader = self.reader.clone();
        let draft = move || {
            // Where the tables cannot be read, the replica says so.
            let _ =
                drafts::draft(&mut transactions, author, wall_ms(), &reader, realm.main_space());
            transactions
        };
        let drafted = tokio::task::spawn_blocking(draft).await;
        drafted.map_err(|error| Stopped { reason: Some(error.to_string()) })
    }

    /// Reads the tables, away from the threads that serve the network. `SpaceId` is that of the records addressed.
    ///
    /// # Errors
    /// [`ReadError`] where the site is in no network, the tables fail, or the node has stopped.
    pub async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Reader, SpaceId) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, ReadError> {
        let space = self.realm()?.main_space();
        let reader = self.reader.clone();
        match tokio::task::spawn_blocking(move || read(&reader, space)).await {
            Ok(result) => Ok(result?),
            Err(error) => Err(Stopped { reason: Some(error.to_string()) }.into()),
        }
    }

    /// As [`Handle::read`], on the calling thread if nobody is writing the tables. For a row or two, which take less
    /// time than to wake another thread.
    ///
    /// # Errors
    /// [`ReadError`] as for [`Handle::read`].
    pub async fn read_briefly<T: Send + 'static>(
        &self,
        read: impl FnOnce(&dyn ReadTables, SpaceId) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, ReadError> {
        let space = self.realm()?.main_space();
        if let Some(moment) = self.reader.moment() {
            return Ok(read(&moment, space)?);
        }
        self.read(|reader, space| read(reader, space)).await
    }

    /// Whether a node runs, with links to others; or a stopped one's folder was opened.
    pub fn is_running(&self) -> bool {
        self.network.is_some()
    }

    /// This site.
    pub fn site(&self) -> SiteId {
        self.feed.site()
    }

    /// Which other sites hold an entry durably, by their receipts: `Some(false)` where one shows that it does not.
    ///
    /// # Errors
    /// [`ReadError`] as for [`Handle::read`].
    pub async fn holders(
        &self,
        entry: EntryId,
    ) -> Result<BTreeMap<SiteId, Option<bool>>, ReadError> {
        let space = self.realm()?.main_space();
        Ok(self.ask(|reply| Message::Holders { space, entry, reply }).await?)
    }

    /// Changes whenever another site has said what it holds.
    pub fn receipts(&self) -> watch::Receiver<u64> {
        self.receipts.clone()
    }

    /// Changes whenever something new shows: a change of a record, or of the members.
    pub fn grown(&self) -> watch::Receiver<u64> {
        self.reader.grown()
    }

    /// A consumer of the feed of changes, of one collection or of all.
    ///
    /// # Errors
    /// [`FeedError`] where the cursor is none of this feed, or it cannot be read now: a consumer that tries again
    /// later misses nothing.
    pub async fn follow(
        &self,
        since: Since,
        collection: Option<String>,
    ) -> Result<Consumer, FeedError> {
        let space = self.realm().map_err(ReadError::from)?.main_space();
        self.feed.open(space, since, collection).await
    }

    /// The network, once known.
    pub fn network_id(&self) -> Option<RealmId> {
        self.known.borrow().network
    }

    /// Addresses that the node listens on.
    pub fn listening(&self) -> Vec<Multiaddr> {
        self.known.borrow().listening.clone()
    }

    /// What the node knows of itself and the others.
    ///
    /// # Errors
    /// [`ReadError`] where the tables cannot be read, or the node has stopped.
    pub async fn status(&self) -> Result<NodeStatus, ReadError> {
        let Seen { status: replica, standing, heard, copies, room } =
            self.look(Driver::seen).await?;
        let (sizes, damaged) = {
            let reader = self.reader.clone();
            let ask = move || Ok::<_, StoreError>((reader.sizes()?, reader.damaged().len()));
            match tokio::task::spawn_blocking(ask).await {
                Ok(result) => result?,
                Err(error) => return Err(Stopped { reason: Some(error.to_string()) }.into()),
            }
        };
        let Sizes { journal_bytes, tables_bytes, .. } = sizes;
        let content = match self.network_id() {
            Some(_) => self.read(content).await?,
            None => Content::default(),
        };
        let known = self.known.borrow().clone();
        Ok(NodeStatus {
            replica,
            running: self.is_running(),
            listening: known.listening.iter().map(Multiaddr::to_string).collect(),
            records: content.records,
            conflicts: content.conflicts,
            digest: content.digest,
            journal_bytes,
            tables_bytes,
            disk_free_bytes: disk::free_bytes(self.reader.path()).ok(),
            damaged_frames: damaged as u64,
            writes_refused: self.reader.refusal(),
            room,
            standing,
            heard,
            copies,
        })
    }

    /// What the replica knows: members, who lacks what.
    ///
    /// # Errors
    /// [`Stopped`] once the node has stopped.
    pub async fn replica_status(&self) -> Result<Status, Stopped> {
        self.ask(Message::Status).await
    }

    /// Whether the node answers, and would take a write as far as its disk is concerned.
    pub(crate) async fn takes_writes(&self) -> Result<bool, Stopped> {
        // The replica's thread has answered all that came before.
        self.ask(Message::Ping).await?;
        let reader = self.reader.clone();
        let ask = tokio::task::spawn_blocking(move || reader.takes_appends()).await;
        ask.map_err(|error| Stopped { reason: Some(error.to_string()) })
    }

    /// The peers that the network layer knows; none where no node runs.
    ///
    /// # Errors
    /// [`Stopped`] once the node has stopped.
    pub async fn peers(&self) -> Result<Vec<PeerInfo>, Stopped> {
        match &self.network {
            Some(network) => network.peers().await.map_err(|_| self.stopped()),
            None => Ok(Vec::new()),
        }
    }

    /// What all lines carried, by hour since this node started, the present hour last; nothing where no node runs.
    pub fn traffic(&self) -> Vec<HourTraffic> {
        self.network.as_ref().map(|network| network.traffic()).unwrap_or_default()
    }

    /// Joins with a ticket: it is kept, and presented as soon as the node runs.
    ///
    /// # Errors
    /// [`NotJoined`] where the site has a network or the ticket has expired, it cannot be kept, or the node has
    /// stopped.
    pub async fn join(&self, ticket: Ticket) -> Result<(), NotJoined> {
        self.ask(|reply| Message::Join { ticket: Box::new(ticket), reply }).await?
    }

    /// Makes a decision of a member. Returns when it is durable.
    ///
    /// # Errors
    /// [`NotDecided`] says why the site may not decide so, or that the node has stopped.
    pub async fn decide(&self, decision: Decision) -> Result<(), NotDecided> {
        Ok(self.ask(|reply| Message::Decide { decision, reply }).await??)
    }

    /// Reads the whole journal and all tables and compares them.
    ///
    /// # Errors
    /// [`ReadError`] where the tables cannot be read, or the node has stopped.
    pub async fn verify(&self) -> Result<VerifyReport, ReadError> {
        Ok(self.ask(Message::Verify).await??)
    }

    /// Rebuilds the tables from the journal.
    ///
    /// # Errors
    /// [`ReadError`] where the tables cannot be read, or the node has stopped.
    pub async fn rebuild(&self) -> Result<u64, ReadError> {
        Ok(self.ask(Message::Rebuild).await??)
    }

    /// What each site is called for people: members, sites that were members, and both under their former keys.
    ///
    /// # Errors
    /// [`Stopped`] once the node has stopped.
    pub async fn names(&self) -> Result<BTreeMap<SiteId, String>, Stopped> {
        Ok(self.replica_status().await?.names())
    }

    pub(crate) async fn ask<T>(
        &self,
        message: impl FnOnce(oneshot::Sender<T>) -> Message,
    ) -> Result<T, Stopped> {
        let (reply, answer) = oneshot::channel();
        self.messages.send(message(reply)).await.map_err(|_| self.stopped())?;
        answer.await.map_err(|_| self.stopped())
    }

    fn stopped(&self) -> Stopped {
        Stopped { reason: self.known.borrow().failed.clone() }
    }
}

/// Conflicts are counted, and compared, no further than this.
const CONFLICTS_COUNTED_MAX: usize = 10_000;

/// The records with conflicts.
pub(crate) fn conflicted(
    reader: &Reader,
    space: SpaceId,
) -> Result<BTreeSet<RecordKey>, StoreError> {
    let found = read::conflicted(reader, space, None, None, CONFLICTS_COUNTED_MAX)?;
    Ok(found.into_iter().collect())
}

/// Records that are not deleted, `_schema` left out.
pub(crate) fn live_records(reader: &Reader, space: SpaceId) -> Result<u64, StoreError> {
    let collections = read::collections(reader, space)?;
    let users = collections.iter().filter(|(name, _)| !name.starts_with('_'));
    Ok(users.map(|(_, row)| row.live).sum())
}

/// What the tables hold.
#[derive(Default)]
pub(crate) struct Content {
    pub(crate) records: u64,
    pub(crate) conflicts: u64,
    digest: String,
}

pub(crate) fn content(reader: &Reader, space: SpaceId) -> Result<Content, StoreError> {
    Ok(Content {
        records: live_records(reader, space)?,
        conflicts: conflicted(reader, space)?.len() as u64,
        digest: read::digest(reader, space)?.to_string(),
    })
}
