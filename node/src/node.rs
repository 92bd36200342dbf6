//! A node: storage, replica, network and API of one site, started and stopped together.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Instant;

use branchline_crdt::Replica;
use branchline_crdt::ids::{Incarnation, NetworkId, SiteId};
use branchline_crdt::membership::Genesis;
use branchline_crdt::replica::Identity;
use branchline_crdt::store::StoreError;
use libp2p::Multiaddr;
use libp2p::multiaddr::Protocol;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::MissedTickBehavior;
use tracing::{info, warn};

use crate::api::{self, ApiState};
use crate::config::{Config, ConfigError};
use crate::driver::{Driver, Message, QUEUE_MAX, TICK, wall_ms};
use crate::handle::{Handle, Known};
use crate::network::{
    self, Command, Event, NetworkConfig, NetworkError, NetworkHandle, NetworkLimits,
};
use crate::site::{RunFile, SiteError, SiteFolder};
use crate::storage::folder::{DataFolder, FolderError};
use crate::storage::{OpenError, OpenReport, Options, Reader, Storage};

const MIB: u64 = 1024 * 1024;
/// Events of the network that wait for the replica's thread.
const EVENTS_MAX: usize = 256;

/// A running node, or the opened folder of a stopped one.
pub struct Node {
    handle: Handle,
    site: SiteId,
    driver: Option<JoinHandle<()>>,
    running: Option<Running>,
}

/// What a running node has besides an opened one.
struct Running {
    api_address: SocketAddr,
    stop_api: oneshot::Sender<()>,
    api: tokio::task::JoinHandle<()>,
    network: NetworkHandle,
    tasks: Vec<tokio::task::JoinHandle<()>>,
    clock: tokio::task::JoinHandle<()>,
    folder: SiteFolder,
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
    /// The machine gives no random bytes.
    #[error("this machine gives no random bytes")]
    NoRandomness,
    /// A thread could not be started.
    #[error("a thread could not be started: {source}")]
    Thread {
        /// Why.
        source: std::io::Error,
    },
}

/// Why a site was not made.
#[derive(Debug, thiserror::Error)]
pub enum InitError {
    /// The folder cannot be used.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// The site's files cannot be made.
    #[error(transparent)]
    Start(#[from] StartError),
    /// The network's first entry could not be written. Nothing of the site is left.
    #[error(
        "no network was founded: the journal in {} cannot be written; check the disk and its free space, then try again",
        data.display()
    )]
    NotFounded {
        /// The data folder.
        data: PathBuf,
    },
}

impl From<SiteError> for InitError {
    fn from(error: SiteError) -> Self {
        Self::Start(error.into())
    }
}

/// What was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InitReport {
    /// The new site.
    pub site: SiteId,
    /// The network that it founded.
    pub network: Option<NetworkId>,
}

/// Makes a site in a new data folder, and a network with it if `found`.
pub fn init(data: &Path, name: &str, found: bool) -> Result<InitReport, InitError> {
    let folder = SiteFolder::new(data);
    match folder.site() {
        Ok(site) => return Err(SiteError::Exists { path: data.to_owned(), name: site.name }.into()),
        Err(SiteError::NoSite { .. }) => {}
        Err(error) => return Err(error.into()),
    }
    let locked = DataFolder::open_or_create(data)?;
    let had_data = DATA.iter().any(|name| data.join(name).exists());
    let site = folder.create(name)?.site();
    if !found {
        return Ok(InitReport { site, network: None });
    }
    match found_network(&folder, locked, site, name) {
        Ok(network) => Ok(InitReport { site, network: Some(network) }),
        Err(error) => {
            remove_site(data, had_data);
            Err(error)
        }
    }
}

/// Founds a network with one member, and checks that it stands.
fn found_network(
    folder: &SiteFolder,
    locked: DataFolder,
    site: SiteId,
    name: &str,
) -> Result<NetworkId, InitError> {
    let founders = vec![(site, name.to_owned())];
    let genesis = Genesis { founders, time_ms: wall_ms(), nonce: random_bytes()? };
    let network = genesis.network();
    let mut replica = open_replica(folder, locked, Options::default(), Instant::now())?.0;
    replica.found(genesis);
    replica.commit().map_err(StartError::from)?;
    match replica.network() == Some(network) {
        true => Ok(network),
        false => Err(InitError::NotFounded { data: folder.path().to_owned() }),
    }
}

/// What makes a folder a site's; the one that says that the site is complete goes first.
const SITE_FILES: [&str; 3] = ["site.json", "site.key", "api.token"];
/// What makes a folder hold data.
const DATA: [&str; 2] = ["journal", "tables"];

/// Takes back a site that could not found its network, so that it can be tried again. Data that was there before stays.
fn remove_site(folder: &Path, had_data: bool) {
    let files = SITE_FILES.iter().map(|name| std::fs::remove_file(folder.join(name)));
    let folders = DATA.iter().filter(|_| !had_data);
    let folders = folders.map(|name| std::fs::remove_dir_all(folder.join(name)));
    for error in files.chain(folders).filter_map(Result::err) {
        if error.kind() != std::io::ErrorKind::NotFound {
            warn!(folder = %folder.display(), %error, "a part of the unfinished site stays");
        }
    }
}

impl Node {
    /// Starts a node: opens its data, listens, dials, and serves the API.
    ///
    /// Returns when it is ready. Errors leave nothing running.
    pub async fn start(config: Config) -> Result<Self, StartError> {
        config.check()?;
        let settings = config.settings.clone();
        let api = TcpListener::bind(settings.api)
            .await
            .map_err(|source| StartError::Api { address: settings.api, source })?;
        let api_address =
            api.local_addr().map_err(|source| StartError::Api { address: settings.api, source })?;
        let opened = Opened::open(&config).await?;
        let folder = opened.folder.clone();
        let token = folder.token()?;

        let mut run = folder.run()?;
        let listen = with_kept_ports(&settings.listen, &run);
        let (events, event_queue) = mpsc::channel(EVENTS_MAX);
        let network_config = NetworkConfig {
            keypair: folder.key()?.to_libp2p(),
            listen,
            peers: settings.peers.clone(),
            mdns: settings.mdns,
            peer_book: folder.path().join("peers.json"),
            limits: NetworkLimits::default(),
        };
        let (network, network_task) = network::start(network_config, events)?;

        let mut node = match opened.run(Some(network.clone())) {
            Ok(node) => node,
            Err(error) => {
                stop_network(&network, vec![network_task]).await;
                return Err(error);
            }
        };
        let messages = node.handle.messages.clone();
        let tasks = vec![network_task, tokio::spawn(pass_on(event_queue, messages.clone()))];
        let clock = tokio::spawn(tell_time(messages));
        let (stop_api, stopped) = oneshot::channel::<()>();
        let state = ApiState { handle: node.handle.clone(), token, port: api_address.port() };
        let until = async {
            // An error means that the node is gone: stop as well.
            let _ = stopped.await;
        };
        let api = tokio::spawn(api::serve(api, state, until));

        let listening = await_listening(&node.handle, &settings.listen).await;
        run.keep_ports(&settings.listen, &listening);
        run = RunFile { api: Some(api_address), pid: Some(std::process::id()), listening, ..run };
        let kept = folder.keep_run(&run);
        node.running = Some(Running { api_address, stop_api, api, network, tasks, clock, folder });
        if let Err(error) = kept {
            node.shutdown().await;
            return Err(error.into());
        }
        info!(site = %node.site, api = %api_address, "the node is ready");
        Ok(node)
    }

    /// Opens the data of a stopped node, without network and API.
    pub async fn open(config: Config) -> Result<Self, StartError> {
        Opened::open(&config).await?.run(None)
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
        if let Some(running) = running {
            // Each of these may have stopped by itself already.
            running.clock.abort();
            let _ = running.stop_api.send(());
            let _ = running.api.await;
            stop_network(&running.network, running.tasks).await;
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

async fn stop_network(network: &NetworkHandle, tasks: Vec<tokio::task::JoinHandle<()>>) {
    // It may have stopped by itself already.
    let _ = network.send(Command::Shutdown).await;
    for task in tasks {
        let abort = task.abort_handle();
        if tokio::time::timeout(STOP_TIMEOUT, task).await.is_err() {
            abort.abort();
        }
    }
}

/// A site whose data is open, before its thread runs.
struct Opened {
    driver: Driver,
    folder: SiteFolder,
    reader: Reader,
    known: watch::Receiver<Known>,
    site: SiteId,
}

impl Opened {
    async fn open(config: &Config) -> Result<Self, StartError> {
        let config = config.clone();
        match tokio::task::spawn_blocking(move || Self::open_blocking(&config)).await {
            Ok(opened) => opened,
            Err(error) => Err(StartError::Thread { source: std::io::Error::other(error) }),
        }
    }

    fn open_blocking(config: &Config) -> Result<Self, StartError> {
        let folder = SiteFolder::new(&config.data);
        folder.site()?;
        let locked = DataFolder::open(&config.data).map_err(OpenError::from)?;
        let mut options = Options::default();
        options.tables.cache_bytes = config.settings.cache_mib.saturating_mul(MIB);
        options.disk_reserve_bytes = config.settings.disk_reserve_mib.saturating_mul(MIB);
        let started = Instant::now();
        let (replica, report) = open_replica(&folder, locked, options, started)?;
        tell(&report);
        let reader = replica.store().reader();
        let site = replica.site();
        let start = Known { network: replica.network(), ..Known::default() };
        let (sender, known) = watch::channel(start);
        let external = config.settings.external.clone();
        let driver = Driver::new(replica, folder.clone(), Arc::new(sender), external, started);
        Ok(Self { driver, folder, reader, known, site })
    }

    fn run(self, network: Option<NetworkHandle>) -> Result<Node, StartError> {
        let (messages, queue) = mpsc::channel(QUEUE_MAX);
        let Self { driver, reader, known, site, .. } = self;
        let handle = Handle { messages, reader, known, network: network.clone() };
        let thread = std::thread::Builder::new().name("replica".to_owned());
        let thread = thread.spawn(move || driver.run(network, queue));
        let driver = thread.map_err(|source| StartError::Thread { source })?;
        Ok(Node { handle, site, driver: Some(driver), running: None })
    }
}

fn open_replica(
    folder: &SiteFolder,
    locked: DataFolder,
    options: Options,
    started: Instant,
) -> Result<(Replica<Storage>, OpenReport), StartError> {
    let identity = Identity {
        key: folder.key()?,
        name: folder.site()?.name,
        incarnation: Incarnation(random_bytes()?),
        seed: u64::from_le_bytes(random_bytes()?),
    };
    let (storage, report) = Storage::open_in(locked, options)?;
    let mut told = Instant::now();
    let mut progress = |progress: branchline_crdt::replica::Progress| {
        if told.elapsed().as_secs() >= 1 {
            told = Instant::now();
            info!(entries = progress.entries, "replaying the journal");
        }
    };
    let now = Driver::now(started);
    let replica = Replica::open(storage, identity, folder.ticket()?, now, &mut progress)?;
    Ok((replica, report))
}

fn tell(report: &OpenReport) {
    if let Some(set_aside) = &report.tables_set_aside {
        warn!(to = %set_aside.to.display(), reason = set_aside.reason, "the tables were not usable and are made anew");
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

fn random_bytes<const N: usize>() -> Result<[u8; N], StartError> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|_| StartError::NoRandomness)?;
    Ok(bytes)
}

async fn pass_on(mut events: mpsc::Receiver<Event>, messages: mpsc::Sender<Message>) {
    while let Some(event) = events.recv().await {
        if messages.send(Message::Network(event)).await.is_err() {
            return;
        }
    }
}

async fn tell_time(messages: mpsc::Sender<Message>) {
    let mut interval = tokio::time::interval(TICK);
    interval.set_missed_tick_behavior(MissedTickBehavior::Skip);
    loop {
        interval.tick().await;
        match messages.try_send(Message::Tick) {
            // A full queue has work enough; the next tick will do.
            Ok(()) | Err(mpsc::error::TrySendError::Full(_)) => {}
            Err(mpsc::error::TrySendError::Closed(_)) => return,
        }
    }
}

/// How long a task may take to stop.
const STOP_TIMEOUT: std::time::Duration = std::time::Duration::from_secs(5);
/// How long the listeners may take to say where they are.
const LISTEN_TIMEOUT: std::time::Duration = std::time::Duration::from_secs(5);

/// Waits until each listener has told an address (an unspecified one tells one for each interface).
async fn await_listening(handle: &Handle, asked: &[Multiaddr]) -> Vec<Multiaddr> {
    let mut known = handle.known.clone();
    let all = |known: &Known| {
        asked.iter().all(|wanted| known.listening.iter().any(|address| same_kind(wanted, address)))
    };
    // After a while the node goes on with what it has.
    let _ = tokio::time::timeout(LISTEN_TIMEOUT, known.wait_for(all)).await;
    handle.listening()
}

/// Whether `address` is one that listening on `asked` can lead to.
fn same_kind(asked: &Multiaddr, address: &Multiaddr) -> bool {
    let transport = |address: &Multiaddr| match address.iter().nth(1) {
        Some(Protocol::Tcp(_)) => Some(6),
        Some(Protocol::Udp(_)) => Some(17),
        Some(_) | None => None,
    };
    let ip = |address: &Multiaddr| match address.iter().next() {
        Some(Protocol::Ip4(ip)) => Some(std::net::IpAddr::from(ip)),
        Some(Protocol::Ip6(ip)) => Some(std::net::IpAddr::from(ip)),
        Some(_) | None => None,
    };
    let (Some(wanted), Some(found)) = (ip(asked), ip(address)) else { return false };
    let same_ip = wanted == found || wanted.is_unspecified() && wanted.is_ipv4() == found.is_ipv4();
    same_ip && transport(asked) == transport(address)
}

fn port(address: &Multiaddr) -> Option<u16> {
    match address.iter().nth(1) {
        Some(Protocol::Tcp(port) | Protocol::Udp(port)) => Some(port),
        Some(_) | None => None,
    }
}

fn with_port(address: &Multiaddr, port: u16) -> Option<Multiaddr> {
    address.replace(1, |part| match part {
        Protocol::Tcp(_) => Some(Protocol::Tcp(port)),
        Protocol::Udp(_) => Some(Protocol::Udp(port)),
        _ => None,
    })
}

/// Where port 0 was asked for, the port that it had the last time, if that is free: others have it in their books.
fn with_kept_ports(asked: &[Multiaddr], run: &RunFile) -> Vec<Multiaddr> {
    let keep = |address: &Multiaddr| {
        let kept = run.ports.get(&address.to_string()).filter(|_| port(address) == Some(0))?;
        with_port(address, *kept).filter(network::is_free)
    };
    asked.iter().map(|address| keep(address).unwrap_or_else(|| address.clone())).collect()
}

impl RunFile {
    /// Remembers which ports were chosen for addresses with port 0.
    fn keep_ports(&mut self, asked: &[Multiaddr], listening: &[Multiaddr]) {
        self.ports.clear();
        for address in asked.iter().filter(|address| port(address) == Some(0)) {
            let chosen = listening.iter().find(|found| same_kind(address, found)).and_then(port);
            self.ports.extend(chosen.map(|port| (address.to_string(), port)));
        }
    }
}
