//! A node: storage, replica, network and API of one site, started and stopped together.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Instant;

use branchline_crdt::Replica;
use branchline_crdt::ids::{Incarnation, SiteId};
use branchline_crdt::replica::{Identity, Opening};
use branchline_crdt::store::StoreError;
use tokio::sync::{mpsc, oneshot, watch};
use tracing::{info, warn};

use crate::builder::Builder;
use crate::clock::{self, WrongClock};
use crate::config::{Config, ConfigError};
use crate::driver::{Driver, Message, prepare};
use crate::extension::{ExtensionError, Extensions};
use crate::feed::Feed;
use crate::handle::{Handle, Known};
use crate::metrics::Metrics;
use crate::network::{Command, NetworkError, NetworkHandle};
use crate::site::rotate;
use crate::site::token::Token;
use crate::site::{RunFile, SiteError, SiteFolder};
use crate::storage::folder::DataFolder;
use crate::storage::reserve::Reserve;
use crate::storage::{OpenError, OpenReport, Options, Reader, Storage};

const MIB: u64 = 1024 * 1024;

/// A running node, or the opened folder of a stopped one.
pub struct Node {
    handle: Handle,
    site: SiteId,
    driver: Option<JoinHandle<()>>,
    pub(crate) extensions: Arc<Extensions>,
    pub(crate) running: Option<Running>,
}

/// What a running node has besides an opened one.
pub(crate) struct Running {
    pub(crate) api_address: SocketAddr,
    pub(crate) stop_api: oneshot::Sender<()>,
    pub(crate) api: tokio::task::JoinHandle<()>,
    pub(crate) network: NetworkHandle,
    pub(crate) network_task: tokio::task::JoinHandle<()>,
    pub(crate) clock: tokio::task::JoinHandle<()>,
    pub(crate) folder: SiteFolder,
}

/// Why a node does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The configuration is refused.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The site's files cannot be used.
    #[error(transparent)]
    Site(#[from] SiteError),
    /// The clock is wrong.
    #[error(transparent)]
    Clock(#[from] WrongClock),
    /// The data cannot be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The data cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The network cannot be reached.
    #[error(transparent)]
    Network(#[from] NetworkError),
    /// The API cannot listen.
    #[error("the API cannot listen on {address}: {source}")]
    Api {
        /// The address that was asked for.
        address: SocketAddr,
        /// Why.
        source: std::io::Error,
    },
    /// Commands could not reach the node.
    #[error("the API cannot listen at {path}: {source}", path = path.display())]
    Socket {
        /// The socket.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The machine gives no random bytes.
    #[error("this machine provides no random bytes")]
    NoRandomness,
    /// An extension cannot work.
    #[error("{name} cannot start: {source}")]
    Extension {
        /// Which.
        name: &'static str,
        /// Why.
        source: ExtensionError,
    },
    /// A thread could not be started.
    #[error("a thread could not be started: {source}")]
    Thread {
        /// Why.
        source: std::io::Error,
    },
}

impl Node {
    /// A node that is yet to be started or opened, for programs that add extensions to it.
    pub fn builder(config: Config) -> Builder {
        Builder::new(config)
    }

    /// Starts a node: opens its data, listens, dials, and serves the API.
    ///
    /// Returns when it is ready. Errors leave nothing running.
    ///
    /// # Errors
    /// [`StartError`] says what is in the way: the folder, the configuration, a port, the clock.
    pub async fn start(config: Config) -> Result<Self, StartError> {
        Self::builder(config).start().await
    }

    /// Opens the data of a stopped node, without network and API.
    ///
    /// # Errors
    /// [`StartError`] where the folder is no site's, is in use, or cannot be read.
    pub async fn open(config: Config) -> Result<Self, StartError> {
        Self::builder(config).open().await
    }

    /// What programs use.
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// This site.
    pub fn site(&self) -> SiteId {
        self.site
    }

    /// Where the API listens; `None` where the node was only opened.
    pub fn api_address(&self) -> Option<SocketAddr> {
        self.running.as_ref().map(|running| running.api_address)
    }

    /// Waits until the node can no longer work; returns why. Does not return while all is well.
    pub async fn failed(&self) -> String {
        let mut known = self.handle.known.clone();
        match known.wait_for(|known| known.failed.is_some()).await {
            Ok(known) => known.failed.clone().unwrap_or_default(),
            Err(_) => "the replica's thread has ended".to_owned(),
        }
    }

    /// Stops: no new requests, connections closed, everything written out.
    pub async fn shutdown(mut self) {
        let running = self.running.take();
        self.extensions.stop().await;
        self.handle.feed.stop();
        if let Some(running) = running {
            // Each of these may have stopped by itself already.
            running.clock.abort();
            let _ = running.stop_api.send(());
            let _ = running.api.await;
            stop_network(&running.network, running.network_task).await;
            let ended = running.folder.run().map(|run| RunFile { api: None, pid: None, ..run });
            if let Err(error) = ended.and_then(|run| running.folder.keep_run(&run)) {
                warn!(%error, "the run file was not updated");
            }
        }
        self.stop_driver().await;
    }

    async fn stop_driver(&mut self) {
        let _ = self.handle.messages.send(Message::Stop).await;
        if let Some(driver) = self.driver.take()
            && let Ok(Err(_)) = tokio::task::spawn_blocking(move || driver.join()).await
        {
            warn!("the replica's thread has panicked");
        }
    }
}

pub(crate) async fn stop_network(network: &NetworkHandle, task: tokio::task::JoinHandle<()>) {
    // It may have stopped by itself already.
    let _ = network.send(Command::Shutdown).await;
    let abort = task.abort_handle();
    if tokio::time::timeout(STOP_TIMEOUT, task).await.is_err() {
        abort.abort();
    }
}

/// A site whose data is open, before its thread runs.
pub(crate) struct Opened {
    driver: Driver,
    pub(crate) folder: SiteFolder,
    pub(crate) reader: Reader,
    known: watch::Receiver<Known>,
    metrics: Arc<Metrics>,
    pub(crate) token: Arc<Token>,
    site: SiteId,
}

impl Opened {
    pub(crate) async fn open(config: &Config) -> Result<Self, StartError> {
        let config = config.clone();
        match tokio::task::spawn_blocking(move || Self::open_blocking(&config)).await {
            Ok(opened) => opened,
            Err(error) => Err(StartError::Thread { source: std::io::Error::other(error) }),
        }
    }

    fn open_blocking(config: &Config) -> Result<Self, StartError> {
        clock::check()?;
        config.check_storage()?;
        let folder = SiteFolder::new(&config.data);
        folder.site()?;
        let locked = DataFolder::open(&config.data).map_err(OpenError::from)?;
        let mut options = Options::default();
        options.tables.cache_bytes = config.settings.cache_mib.saturating_mul(MIB);
        options.disk_reserve_bytes = config.settings.disk_reserve_mib.saturating_mul(MIB);
        let started = Instant::now();
        let (mut replica, mut report) = open_replica(&folder, locked, options, started)?;
        if rotate::finish(&folder, &replica)? {
            replica.into_store().flush_tables()?;
            let locked = DataFolder::open(&config.data).map_err(OpenError::from)?;
            (replica, report) = open_replica(&folder, locked, options, started)?;
        }
        warn_of_damage(&report);
        let reader = replica.store().reader();
        let site = replica.site();
        let author = Some(replica.author());
        let (network, spaces) = (replica.realms().network(), replica.realms().private_spaces());
        let listen = config.settings.listen.clone();
        let start = Known { author, network, spaces, listen, ..Known::default() };
        let (sender, known) = watch::channel(start);
        let external = config.settings.external.clone();
        let metrics = Arc::new(Metrics::new(replica.store().append_duration()));
        let (known_to, measures) = (Arc::new(sender), Arc::clone(&metrics));
        let own_mib = config.settings.disk_reserve_own_mib;
        let reserve = Reserve::new(&config.data, options.disk_reserve_bytes, own_mib);
        let driver =
            Driver::new(replica, folder.clone(), known_to, measures, external, reserve, started);
        let token = Arc::new(Token::of(folder.clone()));
        Ok(Self { driver, folder, reader, known, metrics, token, site })
    }

    /// When the replica wants to know the time sooner than it regularly does.
    pub(crate) fn tick_wanted(&self) -> watch::Receiver<Option<Instant>> {
        self.driver.tick_wanted()
    }

    pub(crate) fn run(
        self,
        network: Option<NetworkHandle>,
        (messages, queue): (mpsc::Sender<Message>, mpsc::Receiver<Message>),
        extensions: Arc<Extensions>,
    ) -> Result<Node, StartError> {
        let Self { driver, reader, known, metrics, token, site, .. } = self;
        let network = network.map(|network| (network, prepare::start(messages.clone())));
        let sends = network.as_ref().map(|(network, _)| network.clone());
        let feed = Feed::new(reader.clone(), site);
        let receipts = driver.receipts();
        let realm = None;
        let handle = Handle {
            messages,
            reader,
            known,
            network: sends,
            feed,
            receipts,
            metrics,
            token,
            realm,
            extensions: Arc::downgrade(&extensions),
        };
        let thread = std::thread::Builder::new().name("replica".to_owned());
        let thread = thread.spawn(move || driver.run(network, queue));
        let driver = thread.map_err(|source| StartError::Thread { source })?;
        Ok(Node { handle, site, driver: Some(driver), extensions, running: None })
    }
}

pub(crate) fn open_replica(
    folder: &SiteFolder,
    locked: DataFolder,
    options: Options,
    started: Instant,
) -> Result<(Replica<Storage>, OpenReport), StartError> {
    let identity = Identity {
        key: folder.key()?,
        name: folder.site()?.name,
        incarnation: Incarnation::from_random(random_bytes()?),
        seed: u64::from_le_bytes(random_bytes()?),
    };
    let (storage, report) = Storage::open_in(locked, options)?;
    let mut reported = Instant::now();
    let mut progress = |progress: branchline_crdt::replica::Progress| {
        if reported.elapsed().as_secs() >= 1 {
            reported = Instant::now();
            info!(entries = progress.entries, "replaying the journal");
        }
    };
    let now = Driver::now(started);
    let replica =
        Replica::open(storage, identity, Opening::with(folder.ticket()?), now, &mut progress)?;
    Ok((replica, report))
}

fn warn_of_damage(report: &OpenReport) {
    if let Some(set_aside) = &report.tables_set_aside {
        warn!(to = %set_aside.to.display(), reason = set_aside.reason, "the tables were not usable and are rebuilt");
    }
    if report.rebuild_needed {
        info!("the tables were made from the whole journal");
    }
    if let Some(torn) = &report.journal.torn {
        warn!(?torn, "an unfinished write at the journal's end was cut off");
    }
    for damaged in &report.journal.damaged {
        warn!(?damaged, "a journal frame is damaged; it is not served");
    }
}

pub(crate) fn random_bytes<const N: usize>() -> Result<[u8; N], StartError> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|_| StartError::NoRandomness)?;
    Ok(bytes)
}

/// How long a task may take to stop.
const STOP_TIMEOUT: std::time::Duration = std::time::Duration::from_secs(5);

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use std::fs;
    use std::path::Path;
    use std::time::Duration;

    use branchline_crdt::membership::Role;
    use branchline_crdt::record::Edit;
    use branchline_crdt::replica::{LocalTransaction, RecordEdit};
    use libp2p::Multiaddr;

    use super::*;
    use crate::driver::QUEUE_MAX;
    use crate::network::Event;
    use crate::site::SITE_FILES;
    use crate::site::init::init;

    fn config(data: &Path) -> Config {
        let mut config = Config::new(data);
        config.settings.listen = vec!["/ip4/127.0.0.1/tcp/0".parse().unwrap()];
        config.settings.api = ([127, 0, 0, 1], 0).into();
        config.settings.mdns = false;
        config
    }

    #[test]
    fn a_write_right_before_the_stop_is_answered() {
        let data = tempfile::tempdir().unwrap();
        init(data.path(), "head", true).unwrap();
        let opened = Opened::open_blocking(&config(data.path())).unwrap();
        let (messages, queue) = mpsc::channel(QUEUE_MAX);
        let (reply, mut answer) = oneshot::channel();
        let edit = Edit::Put(serde_json::Map::new());
        let edits = vec![RecordEdit::new("products", "tea", edit)];
        let transactions = vec![LocalTransaction { origin: None, edits }];
        let arrived = Instant::now();
        let write = Message::Write { space: None, transactions, arrived, reply };
        messages.try_send(write).ok().unwrap();
        messages.try_send(Message::Stop).ok().unwrap();
        opened.driver.run(None, queue);
        answer.try_recv().unwrap().unwrap().remove(0).unwrap();
    }

    #[test]
    fn an_address_that_is_gone_is_no_longer_told() {
        let data = tempfile::tempdir().unwrap();
        init(data.path(), "head", true).unwrap();
        let opened = Opened::open_blocking(&config(data.path())).unwrap();
        let (messages, queue) = mpsc::channel(QUEUE_MAX);
        let gone: Multiaddr = "/ip4/192.0.2.1/tcp/4001".parse().unwrap();
        let stays: Multiaddr = "/ip4/192.0.2.2/tcp/4001".parse().unwrap();
        let listening = [&gone, &stays, &stays].map(|address| Event::Listening(address.clone()));
        for event in listening.into_iter().chain([Event::NotListening(gone)]) {
            messages.try_send(Message::Network(event)).ok().unwrap();
        }
        messages.try_send(Message::Stop).ok().unwrap();
        opened.driver.run(None, queue);
        assert_eq!(opened.known.borrow().listening, [stays]);
    }

    #[tokio::test]
    async fn a_start_that_fails_at_its_end_leaves_nothing_running() {
        let data = tempfile::tempdir().unwrap();
        init(data.path(), "head", true).unwrap();
        let obstacle = data.path().join("run.json.new");
        fs::create_dir(&obstacle).unwrap();
        let Err(error) = Node::start(config(data.path())).await else { panic!("it has started") };
        assert!(matches!(error, StartError::Site(SiteError::Io { .. })), "{error}");
        fs::remove_dir(&obstacle).unwrap();
        Node::start(config(data.path())).await.unwrap().shutdown().await;
    }

    #[test]
    fn a_site_that_could_not_found_its_network_can_be_made_again() {
        let data = tempfile::tempdir().unwrap();
        fs::write(data.path().join("format"), "branchline data 1\n").unwrap();
        fs::write(data.path().join("journal"), "no folder").unwrap();
        init(data.path(), "head", true).unwrap_err();
        assert!(SITE_FILES.iter().all(|name| !data.path().join(name).exists()));
        fs::remove_file(data.path().join("journal")).unwrap();
        assert!(init(data.path(), "head", true).unwrap().network.is_some());
    }

    #[tokio::test]
    async fn a_ticket_that_a_crash_left_behind_goes_when_the_member_is_opened() {
        let data = tempfile::tempdir().unwrap();
        init(data.path(), "head", true).unwrap();
        let node = Node::open(config(data.path())).await.unwrap();
        let address = "/ip4/127.0.0.1/tcp/4001".parse().unwrap();
        let lifetime = Duration::from_secs(60);
        let ticket = node.handle().invite(Role::Writer, lifetime, vec![address]).await.unwrap();
        node.shutdown().await;
        let folder = SiteFolder::new(data.path());
        folder.keep_ticket(&ticket).unwrap();
        Node::open(config(data.path())).await.unwrap().shutdown().await;
        assert!(folder.ticket().unwrap().is_none());
    }
}
