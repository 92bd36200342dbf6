//! Whole networks on loopback sockets.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
// An event that a test passes over is given back whole.
#![allow(clippy::result_large_err)]

mod admission;
mod bytes;
mod delivery;
mod limits;
mod reconnect;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use libp2p::identity::Keypair;
use libp2p::multiaddr::Protocol;
use libp2p::{Multiaddr, PeerId};
use tempfile::TempDir;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::{
    Command, Event, MessageId, NetworkConfig, NetworkHandle, NetworkLimits, PeerInfo, Verdict,
    start,
};

/// Longest wait for anything; far more than it takes.
const DEADLINE: Duration = Duration::from_secs(30);
const TCP: &str = "/ip4/127.0.0.1/tcp/0";
const QUIC: &str = "/ip4/127.0.0.1/udp/0/quic-v1";

/// What a site is started from, and again after a stop.
struct Plan {
    keypair: Keypair,
    listen: Vec<Multiaddr>,
    peers: Vec<Multiaddr>,
    folder: TempDir,
    limits: NetworkLimits,
    event_queue: usize,
}

impl Plan {
    fn new(listen: &[&str]) -> Self {
        Self {
            keypair: Keypair::generate_ed25519(),
            listen: listen.iter().map(|text| text.parse().unwrap()).collect(),
            peers: vec![],
            folder: tempfile::tempdir().unwrap(),
            limits: NetworkLimits::default(),
            event_queue: 256,
        }
    }

    fn peer(&self) -> PeerId {
        self.keypair.public().to_peer_id()
    }

    fn book(&self) -> PathBuf {
        self.folder.path().join("peers.json")
    }

    fn config(&self) -> NetworkConfig {
        NetworkConfig {
            keypair: self.keypair.clone(),
            listen: self.listen.clone(),
            peers: self.peers.clone(),
            mdns: false,
            peer_book: self.book(),
            limits: self.limits.clone(),
        }
    }

    async fn start(&self) -> TestPeer {
        let (sender, events) = mpsc::channel(self.event_queue);
        let (handle, task) = start(self.config(), sender).unwrap();
        let mut site =
            TestPeer { peer: handle.peer(), handle, events, task, addresses: vec![], seen: vec![] };
        while site.addresses.len() < self.listen.len() {
            let address = site
                .wait("listening", |event| match event {
                    Event::Listening(address) => Ok(address),
                    other => Err(other),
                })
                .await;
            site.addresses.push(address);
        }
        site
    }
}

/// What messages begin with that only try whether a topic carries.
const WARM_UP: &[u8] = b"warm up";

struct TestPeer {
    handle: NetworkHandle,
    peer: PeerId,
    addresses: Vec<Multiaddr>,
    events: mpsc::Receiver<Event>,
    task: JoinHandle<()>,
    /// Events that were passed over, for the message of a failed wait.
    seen: Vec<String>,
}

impl TestPeer {
    async fn start(listen: &[&str]) -> Self {
        Plan::new(listen).start().await
    }

    /// The first address, with the peer id.
    fn address(&self) -> Multiaddr {
        self.addresses[0].clone().with(Protocol::P2p(self.peer))
    }

    async fn send(&self, command: Command) {
        self.handle.send(command).await.unwrap();
    }

    async fn members(&self, members: &[PeerId]) {
        self.send(Command::SetMembers(members.iter().copied().collect::<BTreeSet<_>>())).await;
    }

    async fn knows(&self, other: &Self) {
        let (peer, address) = (other.peer, other.address());
        self.send(Command::AddAddress { peer, address }).await;
    }

    /// Waits for the event that `pick` takes; events that it gives back are passed over.
    async fn wait<T>(&mut self, what: &str, mut pick: impl FnMut(Event) -> Result<T, Event>) -> T {
        let (events, seen) = (&mut self.events, &mut self.seen);
        let search = async {
            while let Some(event) = events.recv().await {
                match pick(event) {
                    Ok(found) => return found,
                    Err(event) => seen.push(format!("{event:?}")),
                }
            }
            panic!("the network stopped while waiting for {what}");
        };
        match tokio::time::timeout(DEADLINE, search).await {
            Ok(found) => found,
            Err(_) => panic!("no {what} in {DEADLINE:?}; seen: {:#?}", self.seen),
        }
    }

    async fn up(&mut self, other: PeerId) -> bool {
        self.wait("peer up", |event| match event {
            Event::PeerUp { peer, outbound, .. } if peer == other => Ok(outbound),
            event => Err(event),
        })
        .await
    }

    async fn down(&mut self, other: PeerId) {
        self.wait("peer down", |event| match event {
            Event::PeerDown { peer } if peer == other => Ok(()),
            event => Err(event),
        })
        .await;
    }

    /// The next message that is not of a warm-up, which may come late.
    async fn gossip(&mut self) -> (PeerId, MessageId, Vec<u8>) {
        self.wait("gossip", |event| match event {
            Event::Gossip { source, id, data, .. } if !data.starts_with(WARM_UP) => {
                Ok((source, id, data))
            }
            event => Err(event),
        })
        .await
    }

    async fn accept(&self, source: PeerId, id: MessageId) {
        let verdict = Verdict::Accept;
        self.send(Command::Validate { id, source, verdict }).await;
    }

    async fn publish(&self, topic: &str, data: &[u8]) {
        let (topic, data) = (topic.to_owned(), data.to_vec());
        self.send(Command::Publish { topic, data }).await;
    }

    /// Publishes numbered messages until `reader` gets one, so that the topic is known to carry.
    async fn warm_up(&self, reader: &mut Self, topic: &str) {
        for round in 0.. {
            let message = format!(" {} {round}", self.peer);
            self.publish(topic, &[WARM_UP, message.as_bytes()].concat()).await;
            let message = tokio::time::timeout(Duration::from_millis(50), reader.events.recv());
            match message.await {
                Ok(Some(Event::Gossip { .. })) => return,
                Ok(Some(event)) => reader.seen.push(format!("{event:?}")),
                Ok(None) => panic!("the network stopped"),
                Err(_) => assert!(round < 600, "the topic carries nothing: {:#?}", reader.seen),
            }
        }
    }

    async fn info(&self, other: PeerId) -> Option<PeerInfo> {
        let peers = self.handle.peers().await.unwrap();
        peers.into_iter().find(|info| info.peer == other)
    }

    /// Polls [`PeerInfo`] until it fits.
    async fn until(&self, other: PeerId, what: &str, fits: impl Fn(&PeerInfo) -> bool) {
        let mut last = None;
        let search = async {
            loop {
                last = self.info(other).await;
                if last.as_ref().is_some_and(&fits) {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        if tokio::time::timeout(DEADLINE, search).await.is_err() {
            panic!("not {what} in {DEADLINE:?}; last {last:#?}");
        }
    }

    async fn stop(self) {
        self.send(Command::Shutdown).await;
        tokio::time::timeout(DEADLINE, self.task)
            .await
            .expect("the task ends")
            .expect("the task does not panic");
    }
}

/// Makes two sites members of each other and waits until both say so.
async fn connect(a: &mut TestPeer, b: &mut TestPeer) {
    a.members(&[b.peer]).await;
    b.members(&[a.peer]).await;
    a.knows(b).await;
    a.up(b.peer).await;
    b.up(a.peer).await;
}

/// Asks and answers, and checks both.
async fn ask(a: &mut TestPeer, b: &mut TestPeer, question: &[u8], answer: &[u8]) {
    let (to, body) = (b.peer, question.to_vec());
    a.send(Command::Request { to, id: 7, body }).await;
    let token = b
        .wait("request", |event| match event {
            Event::Request { from, token, body } if from == a.peer => {
                assert!(body == question);
                Ok(token)
            }
            event => Err(event),
        })
        .await;
    let body = answer.to_vec();
    b.send(Command::Respond { token, body }).await;
    a.wait("response", |event| match event {
        Event::Response { from, id: 7, body } if from == to => {
            assert!(body == answer);
            Ok(())
        }
        event => Err(event),
    })
    .await;
}

fn port_of(address: &Multiaddr) -> u16 {
    address
        .iter()
        .find_map(|part| match part {
            Protocol::Tcp(port) | Protocol::Udp(port) => Some(port),
            _ => None,
        })
        .unwrap()
}
