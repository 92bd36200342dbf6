//! Starting a node, or opening the folder of a stopped one, with what a program adds to it.

use std::sync::Arc;
use std::time::Instant;

use futures::future::OptionFuture;
use libp2p::Multiaddr;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::MissedTickBehavior;
use tracing::{info, warn};

use crate::api::http::hosts::Hosts;
use crate::api::{self, ApiState, Doors};
use crate::clock;
use crate::config::Config;
use crate::driver::{Message, QUEUE_MAX, TICK};
use crate::extension::{Extension, Extensions, SetLog};
use crate::network::{self, NetworkConfig, NetworkLimits};
use crate::node::{Node, Opened, Running, StartError, stop_network};
use crate::site::ports::with_kept_ports;
use crate::site::{PEERS_FILE, RunFile, SiteError};
use crate::socket::{SOCKET_FILE, Socket};
use crate::storage::room::is_full;
use crate::storage::spare;

/// A node that is yet to be started or opened.
pub struct Builder {
    config: Config,
    extensions: Vec<Arc<dyn Extension>>,
    set_log: Option<SetLog>,
}

impl Builder {
    pub(crate) fn new(config: Config) -> Self {
        Self { config, extensions: Vec::new(), set_log: None }
    }

    /// Adds an extension.
    pub fn with(mut self, extension: Arc<dyn Extension>) -> Self {
        self.extensions.push(extension);
        self
    }

    /// Adds extensions.
    pub fn with_all(mut self, extensions: impl IntoIterator<Item = Arc<dyn Extension>>) -> Self {
        self.extensions.extend(extensions);
        self
    }

    /// Says how the log filter is changed where the node is asked to reload; without it, `log` needs a restart.
    pub fn with_log_filter(
        self,
        set: impl Fn(&str) -> Result<(), String> + Send + Sync + 'static,
    ) -> Self {
        Self { set_log: Some(Box::new(set)), ..self }
    }

    /// See [`Node::start`].
    ///
    /// # Errors
    /// [`StartError`]; nothing is left running.
    pub async fn start(self) -> Result<Node, StartError> {
        let Self { config, extensions, set_log } = self;
        config.check()?;
        clock::check()?;
        let extensions = Arc::new(Extensions::new(extensions, set_log)?);
        extensions.check(&config)?;
        let settings = config.settings.clone();
        let api = TcpListener::bind(settings.api)
            .await
            .map_err(|source| StartError::Api { address: settings.api, source })?;
        let api_address =
            api.local_addr().map_err(|source| StartError::Api { address: settings.api, source })?;
        let opened = Opened::open(&config).await?;
        opened.reader.folder().say_node();
        let folder = opened.folder.clone();
        opened.token.read()?;
        let socket = Socket::listen(folder.path()).map_err(|source| StartError::Socket {
            path: folder.path().join(SOCKET_FILE),
            source,
        })?;
        clock::warn(settings.listen.iter().chain(&settings.peers));

        let mut run = folder.run_or_set_aside()?;
        let listen: Vec<Multiaddr> = with_kept_ports(&settings.listen, &run);
        let (messages, queue) = mpsc::channel(QUEUE_MAX);
        let network_config = NetworkConfig {
            keypair: folder.key()?.to_libp2p(),
            listen,
            peers: settings.peers.clone(),
            mdns: settings.mdns,
            peer_book: folder.path().join(PEERS_FILE),
            limits: NetworkLimits::default(),
        };
        let (network, network_task) = network::start(network_config, messages.clone())?;

        let queues = (messages.clone(), queue);
        let wanted = opened.tick_wanted();
        let mut node = match opened.run(Some(network.clone()), queues, Arc::clone(&extensions)) {
            Ok(node) => node,
            Err(error) => {
                stop_network(&network, network_task).await;
                return Err(error);
            }
        };
        let clock = tokio::spawn(tell_time(messages, wanted));
        // Before anybody is answered: who finds the node finds what works beside it at work.
        let started = match extensions.open(&node.handle(), &config).await {
            Ok(()) => extensions.start(config).await,
            Err(error) => Err(error),
        };
        if let Err(error) = started {
            clock.abort();
            stop_network(&network, network_task).await;
            node.shutdown().await;
            return Err(error);
        }
        let (stop_api, stopped) = oneshot::channel::<()>();
        let doors = Doors { port: api, socket };
        let hosts = Hosts::new(api_address.port(), &settings.api_hosts);
        let state = ApiState { handle: node.handle(), hosts };
        let until = async {
            // An error means that the node is gone: stop as well.
            let _ = stopped.await;
        };
        let api = tokio::spawn(api::serve(doors, state, until));

        let handle = node.handle();
        handle.await_listening().await;
        let listening = handle.listening();
        run.keep_ports(&settings.listen, &listening);
        run = RunFile { api: Some(api_address), pid: Some(std::process::id()), listening, ..run };
        let kept = folder.keep_run(&run);
        node.running = Some(Running {
            api_address,
            stop_api,
            api,
            network,
            network_task,
            clock,
            folder: folder.clone(),
        });
        match kept {
            Ok(()) => {}
            // Reading works without it.
            Err(SiteError::Io { path, source }) if is_full(&source) => {
                warn!(path = %path.display(), error = %source, "the run file was not updated");
            }
            Err(error) => {
                node.shutdown().await;
                return Err(error.into());
            }
        }
        spare::keep(folder.path());
        info!(site = %node.site(), api = %api_address, "the node is ready");
        Ok(node)
    }

    /// See [`Node::open`]. The extensions answer, but do not start to work.
    ///
    /// # Errors
    /// [`StartError`]; nothing is left open.
    pub async fn open(self) -> Result<Node, StartError> {
        let Self { config, extensions, set_log } = self;
        let extensions = Arc::new(Extensions::new(extensions, set_log)?);
        let opened = Opened::open(&config).await?;
        spare::keep(&config.data);
        let node = opened.run(None, mpsc::channel(QUEUE_MAX), Arc::clone(&extensions))?;
        match extensions.open(&node.handle(), &config).await {
            Ok(()) => Ok(node),
            Err(error) => {
                node.shutdown().await;
                Err(error)
            }
        }
    }
}

/// Lets the replica know the time: regularly, and once for each time that it wants it sooner.
async fn tell_time(messages: mpsc::Sender<Message>, mut wanted: watch::Receiver<Option<Instant>>) {
    let mut interval = tokio::time::interval(TICK);
    interval.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let mut told = None;
    loop {
        let at = wanted.borrow_and_update().filter(|at| Some(*at) != told);
        let sooner = OptionFuture::from(at.map(|at| tokio::time::sleep_until(at.into())));
        tokio::select! {
            _ = interval.tick() => {}
            Some(()) = sooner => told = at,
            changed = wanted.changed() => match changed {
                Ok(()) => continue,
                Err(_) => return,
            }
        }
        match messages.try_send(Message::Tick) {
            // A full queue has work enough; the next tick will do.
            Ok(()) | Err(mpsc::error::TrySendError::Full(_)) => {}
            Err(mpsc::error::TrySendError::Closed(_)) => return,
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::time::Duration;

    use branchline_crdt::membership::Role;
    use futures::poll;

    use super::*;
    use crate::network::Event;
    use crate::site::init::init;

    #[tokio::test]
    async fn a_ticket_asked_for_right_after_the_start_waits_for_the_addresses() {
        let data = tempfile::tempdir().unwrap();
        init(data.path(), "head", true).unwrap();
        let mut config = Config::new(data.path());
        config.settings.listen = vec!["/ip4/127.0.0.1/tcp/0".parse().unwrap()];
        let opened = Opened::open(&config).await.unwrap();
        let network_config = NetworkConfig {
            keypair: opened.folder.key().unwrap().to_libp2p(),
            listen: config.settings.listen.clone(),
            peers: Vec::new(),
            mdns: false,
            peer_book: data.path().join(PEERS_FILE),
            limits: NetworkLimits::default(),
        };
        // What the network says is held back here.
        let (said, mut heard) = mpsc::channel::<Message>(QUEUE_MAX);
        let (network, network_task) = network::start(network_config, said).unwrap();
        let (messages, queue) = mpsc::channel(QUEUE_MAX);
        let extensions = Arc::new(Extensions::new(Vec::new(), None).unwrap());
        let queues = (messages.clone(), queue);
        let node = opened.run(Some(network.clone()), queues, extensions).unwrap();
        let handle = node.handle();
        let lifetime = Duration::from_secs(60);
        let mut invited = Box::pin(handle.invite(Role::Writer, lifetime, Vec::new()));
        assert!(poll!(&mut invited).is_pending());
        loop {
            let said = heard.recv().await.unwrap();
            let is_address = matches!(said, Message::Network(Event::Listening(_)));
            messages.send(said).await.unwrap();
            if is_address {
                break;
            }
        }
        let ticket = invited.await.unwrap();
        assert_eq!(ticket.addresses.len(), 1, "{:?}", ticket.addresses);
        stop_network(&network, network_task).await;
        node.shutdown().await;
    }
}
