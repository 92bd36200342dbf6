//! What a network is started with, and why it does not start.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use branchline_crdt::protocol::WELCOME_BYTES_MAX;
use branchline_crdt::replica::pace::REQUEST_TIMEOUT_MS;
use libp2p::{Multiaddr, identity, noise};

/// Everything [`start`](super::start) needs.
pub struct NetworkConfig {
    /// The site's key; its public half is the peer id.
    pub keypair: identity::Keypair,
    /// Addresses to listen on, such as `/ip4/0.0.0.0/udp/4001/quic-v1` and `/ip4/0.0.0.0/tcp/4001`.
    /// Port 0 lets the system choose. Empty: dial only.
    pub listen: Vec<Multiaddr>,
    /// Configured addresses, each ending in `/p2p/<peer id>`. They are never forgotten, and
    /// redialled whenever their peer is a member that is not connected.
    pub peers: Vec<Multiaddr>,
    /// Announce this site and find others on the local network. Announcements name the peer id and
    /// the addresses to everybody on that network, members or not.
    pub mdns: bool,
    /// The file in which addresses of members are kept (see `peer_book.rs`). Its folder must exist.
    pub peer_book: PathBuf,
    /// Bounds on everything that others can make this site do or hold.
    pub limits: NetworkLimits,
}

/// Why a network does not start. Nothing is left running.
#[derive(Debug, thiserror::Error)]
pub enum NetworkError {
    /// A programming error: the task needs a runtime to run on.
    #[error("the network must be started within a tokio runtime")]
    NoRuntime,
    /// The key cannot be used for encryption.
    #[error("the site's key cannot be used to secure connections")]
    Noise(#[source] noise::Error),
    /// The machine's name resolution is not set up.
    #[error("cannot read how this machine resolves names; check /etc/resolv.conf")]
    Dns(#[source] io::Error),
    /// The machine gives no random bytes.
    #[error("this machine provides no random bytes")]
    NoRandomness,
    /// The gossip limits contradict each other.
    #[error("the gossip configuration is not usable: {0}")]
    Gossip(String),
    /// Another program, or another node, holds the port.
    #[error(
        "listen address {address} is already in use; choose another port, or stop what uses it"
    )]
    AddressInUse {
        /// As configured.
        address: Multiaddr,
        /// What the system said.
        source: io::Error,
    },
    /// The address is not one of this machine, or not permitted.
    #[error("cannot listen on {address}")]
    Listen {
        /// As configured.
        address: Multiaddr,
        /// What the system said.
        source: io::Error,
    },
    /// The address is of a kind that is not listened on.
    #[error(
        "cannot listen on {address}: expected /ip4/<ip>/tcp/<port> or /ip4/<ip>/udp/<port>/quic-v1"
    )]
    ListenUnsupported {
        /// As configured.
        address: Multiaddr,
    },
    /// A configured peer address does not say whose it is, or how to get there.
    #[error(
        "peer address {address} cannot be dialled: expected an address such as \
         /dns4/<name>/tcp/<port>/p2p/<peer id>"
    )]
    PeerAddress {
        /// As configured.
        address: Multiaddr,
    },
    /// The peer book is there and cannot be read.
    #[error("cannot read the peer book {}", path.display())]
    PeerBook {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// Bounds on connections, streams, sizes and queues. The defaults fit a site with a few hundred
/// others and a few hundred MiB of memory to spare.
#[derive(Debug, Clone)]
pub struct NetworkLimits {
    /// Established connections in all. Each costs some 100 KiB and a ping every 15 s.
    pub connections_total: u32,
    /// Established connections with one peer. Two, because two sites that dial each other at the
    /// same moment must not each refuse the connection the other one keeps. A third replaces the
    /// oldest.
    pub connections_per_peer: u32,
    /// Inbound connections still in their handshake; each may last `handshake_timeout`.
    pub connections_pending_inbound: u32,
    /// The same with one address (an IPv6 /64 counts as one), and fewer the fuller it is, so that machines that open
    /// thousands and say nothing keep no other out. Many offices behind one router come one after the other.
    pub connections_pending_per_address: usize,
    /// Dials under way, so that a start with hundreds of members does not open hundreds of sockets
    /// at once.
    pub connections_pending_outbound: u32,
    /// Connected members above which no further one is dialled. Less than `connections_total`, so
    /// that sites that can only dial out still find room.
    pub dialled_peers: usize,
    /// Time for a connection to become secure and multiplexed.
    pub handshake_timeout: Duration,

    /// Connections with strangers at once.
    pub strangers: usize,
    /// The same with one address, so that it keeps no newcomer out who is elsewhere.
    pub strangers_per_address: usize,
    /// Longest life of a stranger's connection.
    pub stranger_lifetime: Duration,
    /// Bytes of an introduction.
    pub introduction_bytes: usize,
    /// Bytes of the answer to one: for a new member, all that makes the network's members, and some room.
    pub welcome_bytes: usize,

    /// Streams of one connection. A member uses at most about 30: sync both ways, gossip, ping,
    /// identify. On TCP each stream may buffer 256 KiB that nobody reads, so this also bounds the
    /// memory that one connection can claim: 16 MiB, and more only where the library has widened
    /// the windows of streams that were read quickly for long.
    pub streams_per_connection: usize,
    /// Own requests in flight to one peer; a further one fails as
    /// [`RequestFailure::Busy`](super::RequestFailure::Busy). As many of the peer's are taken, and
    /// no more.
    pub requests_per_peer: usize,
    /// Own requests in flight to all peers, which bounds the memory of their responses.
    pub requests_in_flight: usize,
    /// Bytes of a sync request.
    pub request_bytes: usize,
    /// Bytes of a sync response: 8 MiB of content and some room for its envelope.
    pub response_bytes: usize,
    /// Time for a request and its response, on the slowest link that is still of use.
    pub request_timeout: Duration,

    /// Bytes of a gossip message. Gossip is for announcements; larger things are pulled.
    pub gossip_bytes: usize,
    /// Gossip messages waiting for one slow peer, 1 MiB at most with the default sizes. Losing them
    /// costs only time.
    pub gossip_queue: usize,
    /// Topics that one peer may subscribe to.
    pub topics: usize,

    /// Commands waiting for the task.
    pub command_queue: usize,
}

impl Default for NetworkLimits {
    fn default() -> Self {
        Self {
            connections_total: 256,
            connections_per_peer: 2,
            connections_pending_inbound: 128,
            connections_pending_per_address: 16,
            connections_pending_outbound: 32,
            dialled_peers: 128,
            handshake_timeout: Duration::from_secs(10),
            strangers: 16,
            strangers_per_address: 4,
            stranger_lifetime: Duration::from_secs(10),
            introduction_bytes: 256 * 1024,
            welcome_bytes: WELCOME_BYTES_MAX + 64 * 1024,
            streams_per_connection: 64,
            requests_per_peer: 8,
            requests_in_flight: 256,
            request_bytes: 1024 * 1024,
            response_bytes: 8 * 1024 * 1024 + 64 * 1024,
            request_timeout: Duration::from_millis(REQUEST_TIMEOUT_MS),
            gossip_bytes: 8 * 1024,
            gossip_queue: 128,
            topics: 256,
            command_queue: 1024,
        }
    }
}
