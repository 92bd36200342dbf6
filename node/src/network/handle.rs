//! Starting the network task, and talking to it.

use std::collections::BTreeMap;
use std::io;
use std::net::{TcpListener, UdpSocket};
use std::sync::Arc;

use libp2p::{Multiaddr, PeerId, Swarm, TransportError};
use prometheus_client::registry::Registry;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use super::address::{self, Transport};
use super::config::{NetworkConfig, NetworkError};
use super::interface::{Command, Event, PeerInfo};
use super::peer_book::PeerBook;
use super::swarm::{self, Protocols};
use super::task::Task;
use super::topics::OwnTopics;
use crate::traffic::{HourTraffic, Traffic};

/// Why a command was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    /// The command channel is full; try again later.
    #[error("the network is busy; try again later")]
    Full,
    /// The network task has ended.
    #[error("the network has stopped")]
    Stopped,
}

/// Sends commands to the network task. Clones share one bounded channel; when all are dropped the
/// task shuts down.
#[derive(Debug, Clone)]
pub struct NetworkHandle {
    peer: PeerId,
    commands: mpsc::Sender<Command>,
    traffic: Arc<Traffic>,
}

impl NetworkHandle {
    /// This site's peer id.
    pub fn peer(&self) -> PeerId {
        self.peer
    }

    /// Waits for room in the channel.
    ///
    /// # Errors
    /// [`SendError::Stopped`].
    pub async fn send(&self, command: Command) -> Result<(), SendError> {
        let sent = self.commands.send(command).await;
        sent.map_err(|_| SendError::Stopped)
    }

    /// Does not wait. The command is lost if there is no room.
    ///
    /// # Errors
    /// [`SendError::Full`] or [`SendError::Stopped`].
    pub fn try_send(&self, command: Command) -> Result<(), SendError> {
        self.commands.try_send(command).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => SendError::Full,
            mpsc::error::TrySendError::Closed(_) => SendError::Stopped,
        })
    }

    /// Blocks the thread until there is room. Panics within a runtime's own threads: use
    /// [`send`](Self::send) there.
    ///
    /// # Errors
    /// [`SendError::Stopped`].
    pub fn blocking_send(&self, command: Command) -> Result<(), SendError> {
        let sent = self.commands.blocking_send(command);
        sent.map_err(|_| SendError::Stopped)
    }

    /// Every member, configured peer and connected peer.
    ///
    /// # Errors
    /// [`SendError::Stopped`].
    pub async fn peers(&self) -> Result<Vec<PeerInfo>, SendError> {
        let (answer, peers) = oneshot::channel();
        self.send(Command::Peers(answer)).await?;
        peers.await.map_err(|_| SendError::Stopped)
    }

    /// What all lines carried, by hour since this node started, the present hour last.
    pub fn traffic(&self) -> Vec<HourTraffic> {
        self.traffic.hours()
    }
}

/// Listens on all configured addresses and spawns the task that owns the swarm. Must be called
/// within a tokio runtime. No member is known until [`Command::SetMembers`]. Events go straight into whatever queue
/// their reader has, for each task between would delay them by a wake-up.
///
/// # Errors
/// [`NetworkError`], naming the address or file at fault.
pub fn start<M: From<Event> + Send + 'static>(
    config: NetworkConfig,
    events: mpsc::Sender<M>,
) -> Result<(NetworkHandle, JoinHandle<()>), NetworkError> {
    let runtime = tokio::runtime::Handle::try_current().map_err(|_| NetworkError::NoRuntime)?;
    let configured = configured_peers(&config.peers)?;
    let book = PeerBook::load(&config.peer_book)
        .map_err(|source| NetworkError::PeerBook { path: config.peer_book.clone(), source })?;
    let topics = OwnTopics::default();
    let (limits, mut registry) = (&config.limits, Registry::default());
    let mut swarm =
        swarm::build(config.keypair, config.mdns, topics.clone(), limits, &mut registry)?;
    let traffic = Traffic::new(registry);
    runtime.spawn(Arc::clone(&traffic).count());
    for address in config.listen {
        listen(&mut swarm, address)?;
    }
    let (commands, receiver) = mpsc::channel(config.limits.command_queue.max(1));
    let handle = NetworkHandle { peer: *swarm.local_peer_id(), commands, traffic };
    let book = (book, config.peer_book);
    let task = Task::new((swarm, topics), receiver, configured, book, config.limits);
    Ok((handle, runtime.spawn(task.run(events))))
}

fn configured_peers(
    addresses: &[Multiaddr],
) -> Result<BTreeMap<PeerId, Vec<Multiaddr>>, NetworkError> {
    let mut peers = BTreeMap::<_, Vec<_>>::new();
    for address in addresses {
        let (bare, peer) = address::split_peer(address.clone());
        let (peer, bare) = peer
            .and_then(|peer| Some((peer, address::dialable(bare, &peer)?)))
            .ok_or_else(|| NetworkError::PeerAddress { address: address.clone() })?;
        peers.entry(peer).or_default().push(bare);
    }
    Ok(peers)
}

fn listen(swarm: &mut Swarm<Protocols>, address: Multiaddr) -> Result<(), NetworkError> {
    probe(&address).map_err(|source| listen_error(address.clone(), source))?;
    match swarm.listen_on(address.clone()) {
        Ok(_) => Ok(()),
        Err(TransportError::MultiaddrNotSupported(_)) => {
            Err(NetworkError::ListenUnsupported { address })
        }
        Err(TransportError::Other(source)) => Err(listen_error(address, source)),
    }
}

/// Whether nobody listens on an address yet.
pub fn is_free(address: &Multiaddr) -> bool {
    probe(address).is_ok()
}

/// The TCP transport lets several processes share a port, so that half of the connections would end at the wrong
/// one, and the QUIC transport buries the reason. A plain bind says whether somebody is there.
fn probe(address: &Multiaddr) -> io::Result<()> {
    match address::socket(address) {
        Some((Transport::Tcp, socket)) => TcpListener::bind(socket).map(drop),
        Some((Transport::Udp, socket)) => UdpSocket::bind(socket).map(drop),
        None => Ok(()),
    }
}

fn listen_error(address: Multiaddr, source: io::Error) -> NetworkError {
    if source.kind() == io::ErrorKind::AddrInUse {
        NetworkError::AddressInUse { address, source }
    } else {
        NetworkError::Listen { address, source }
    }
}
