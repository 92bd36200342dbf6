//! Transports and protocols, set up for few sites on slow links.

use std::num::NonZeroUsize;
use std::time::Duration;

use libp2p::connection_limits::{self, ConnectionLimits};
use libp2p::gossipsub::{self, MessageAuthenticity, MessageId, TopicHash, ValidationMode};
use libp2p::request_response::{self, ProtocolSupport};
use libp2p::swarm::NetworkBehaviour;
use libp2p::swarm::behaviour::toggle::Toggle;
use libp2p::{
    StreamProtocol, Swarm, SwarmBuilder, identify, identity, mdns, noise, ping, tcp, yamux,
};
use prometheus_client::registry::Registry;

use super::config::{NetworkError, NetworkLimits};
use super::frame::FrameCodec;
use super::handshakes::HandshakesPerAddress;
use super::members_only::MembersOnly;
use super::topics::OwnTopics;

/// Requests and responses between members.
pub(super) const SYNC_PROTOCOL: StreamProtocol = StreamProtocol::new("/branchline/sync/3");
/// The only protocol that a stranger sees.
pub(super) const JOIN_PROTOCOL: StreamProtocol = StreamProtocol::new("/branchline/join/1");

/// Bounds a whole gossip RPC. The library loses the link for messages within 8 KiB of it, so it
/// stays far above [`NetworkLimits::gossip_bytes`].
const GOSSIP_RPC_BYTES_MAX: usize = 64 * 1024;
/// The mesh is repaired, and a message's age counted, in these steps.
const GOSSIP_HEARTBEAT: Duration = Duration::from_secs(1);
/// Heartbeats that a message is kept, waiting for its verdict.
const GOSSIP_HISTORY: usize = 10;
/// How long a message's id is known, so that it is not taken in twice: longer than anybody keeps it.
const GOSSIP_SEEN: Duration = Duration::from_secs(20);
/// Messages offered, or asked for, by name in one RPC: 11 KiB of names. The library gives a peer up whose orders have
/// more than 16 KiB, and by itself offers 5,000 messages in an RPC of 110 KB.
const GOSSIP_NAMES_MAX: usize = 500;
/// Peers that a site seeks to pass messages on to. As many seek it, so that ten sites have some five each and a message
/// reaches a site about as often; the library's six doubled that. What this loses is pulled.
const GOSSIP_PEERS: usize = 3;
/// With fewer than this, a site looks for more.
const GOSSIP_PEERS_MIN: usize = 2;
/// Of them, those that this site has dialled: nobody else chooses them.
const GOSSIP_PEERS_DIALLED: usize = 1;
/// With more than this, a site leaves some. A head office that all branches are connected with passes on to this many at
/// once; the others hear of a message at the next heartbeat.
const GOSSIP_PEERS_MAX: usize = 12;
/// Bytes of a message id: enough that nobody finds a second message with the same one.
const MESSAGE_ID_BYTES: usize = 20;

/// One round trip measured, and a dead link noticed, in these steps.
const PING_INTERVAL: Duration = Duration::from_secs(15);
/// Generous, because a ping may queue behind a large response on a slow link.
const PING_TIMEOUT: Duration = Duration::from_secs(20);
/// Longest version of a program that is kept.
const VERSION_BYTES_MAX: usize = 32;
/// A new address is reported at the next connection anyway; repeating the rest is waste.
const IDENTIFY_INTERVAL: Duration = Duration::from_secs(60 * 60);
/// Members stay connected however quiet they are; ping finds the dead, and strangers have their own
/// clock.
const IDLE_TIMEOUT: Duration = Duration::from_secs(100 * 365 * 24 * 60 * 60);
/// QUIC has no goodbye from a process that was killed; silence this long is one.
const QUIC_IDLE_TIMEOUT_MS: u32 = 30_000;
/// A third of the former, so that two lost packets do no harm.
const QUIC_KEEP_ALIVE: Duration = Duration::from_secs(10);
/// Bytes a QUIC stream may send ahead of its reader: a link of 80 Mbit/s and 200 ms stays full.
const QUIC_STREAM_BYTES_MAX: u32 = 2 * 1024 * 1024;
/// The same for a whole connection, so that one stream does not starve the others.
const QUIC_CONNECTION_BYTES_MAX: u32 = 4 * 1024 * 1024;
/// Events buffered between one connection and the task, each at most a response in size.
const CONNECTION_EVENTS_MAX: usize = 4;
/// Room for the task's orders to one connection.
const CONNECTION_COMMANDS_MAX: NonZeroUsize = NonZeroUsize::MIN.saturating_add(31);

pub(super) type Gossip = gossipsub::Behaviour<
    OwnTopics,
    gossipsub::MaxCountSubscriptionFilter<gossipsub::AllowAllSubscriptionFilter>,
>;
pub(super) type Requests = request_response::Behaviour<FrameCodec>;

/// All protocols. The order matters: the limits and the door may refuse a connection, and the
/// protocols behind them must not have heard of one that is refused.
#[derive(NetworkBehaviour)]
pub(super) struct Protocols {
    pub(super) limits: connection_limits::Behaviour,
    pub(super) handshakes: HandshakesPerAddress,
    pub(super) members: MembersOnly<MemberProtocols>,
    pub(super) join: Requests,
    pub(super) mdns: Toggle<mdns::tokio::Behaviour>,
}

/// What members get.
#[derive(NetworkBehaviour)]
pub(super) struct MemberProtocols {
    pub(super) gossip: Gossip,
    pub(super) identify: identify::Behaviour,
    pub(super) ping: ping::Behaviour,
    pub(super) sync: Requests,
}

pub(super) fn build(
    keypair: identity::Keypair,
    mdns: bool,
    topics: OwnTopics,
    limits: &NetworkLimits,
    registry: &mut Registry,
) -> Result<Swarm<Protocols>, NetworkError> {
    let streams = limits.streams_per_connection;
    let protocols = protocols(&keypair, mdns, process()?, topics, limits)?;
    let swarm = SwarmBuilder::with_existing_identity(keypair)
        .with_tokio()
        .with_tcp(tcp::Config::default().nodelay(true), noise::Config::new, || {
            let mut config = yamux::Config::default();
            config.set_max_num_streams(streams);
            config
        })
        .map_err(NetworkError::Noise)?
        .with_quic_config(|mut config| {
            config.handshake_timeout = limits.handshake_timeout;
            config.max_idle_timeout = QUIC_IDLE_TIMEOUT_MS;
            config.keep_alive_interval = QUIC_KEEP_ALIVE;
            config.max_concurrent_stream_limit = u32::try_from(streams).unwrap_or(u32::MAX);
            config.max_stream_data = QUIC_STREAM_BYTES_MAX;
            config.max_connection_data = QUIC_CONNECTION_BYTES_MAX;
            // Its probes would cost more bytes at each connection than the handshake itself.
            config.disable_path_mtu_discovery()
        })
        .with_dns()
        .map_err(NetworkError::Dns)?
        .with_bandwidth_metrics(registry)
        .with_behaviour(|_| protocols)
        .map_err(|never| match never {})?
        .with_swarm_config(|config| {
            config
                .with_idle_connection_timeout(IDLE_TIMEOUT)
                .with_max_negotiating_inbound_streams(streams)
                .with_per_connection_event_buffer_size(CONNECTION_EVENTS_MAX)
                .with_notify_handler_buffer_size(CONNECTION_COMMANDS_MAX)
                .with_smart_dial()
        })
        .with_connection_timeout(limits.handshake_timeout)
        .build();
    Ok(swarm)
}

/// Tells this process from former ones of the same site.
fn process() -> Result<u64, NetworkError> {
    let mut bytes = [0; 8];
    getrandom::fill(&mut bytes).map_err(|_| NetworkError::NoRandomness)?;
    Ok(u64::from_le_bytes(bytes))
}

/// The process and the program's version that a member's `agent_version` names. What is no version is none.
pub(super) fn self_description(agent_version: &str) -> (Option<u64>, Option<String>) {
    let (process, version) = agent_version.split_once(' ').unwrap_or((agent_version, ""));
    let is_version = (1..=VERSION_BYTES_MAX).contains(&version.len())
        && version.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-+".contains(&byte));
    (u64::from_str_radix(process, 16).ok(), is_version.then(|| version.to_owned()))
}

fn protocols(
    keypair: &identity::Keypair,
    mdns: bool,
    process: u64,
    topics: OwnTopics,
    limits: &NetworkLimits,
) -> Result<Protocols, NetworkError> {
    // Names would be bytes at each connection that nobody reads; which process speaks, and of which version, is read.
    let identify = identify::Config::new(String::new(), keypair.public())
        .with_agent_version(format!("{process:x} {}", env!("CARGO_PKG_VERSION")))
        .with_interval(IDENTIFY_INTERVAL)
        // The peer book remembers; its addresses are checked, which the library's cache are not.
        .with_cache_size(0);
    let ping = ping::Config::new().with_interval(PING_INTERVAL).with_timeout(PING_TIMEOUT);
    let members = MemberProtocols {
        gossip: gossip(topics, limits)?,
        identify: identify::Behaviour::new(identify),
        ping: ping::Behaviour::new(ping),
        sync: requests(
            SYNC_PROTOCOL,
            FrameCodec {
                request_bytes_max: limits.request_bytes,
                response_bytes_max: limits.response_bytes,
            },
            limits.request_timeout,
            // The library counts both directions together.
            limits.requests_per_peer.saturating_mul(2),
        ),
    };
    let join = requests(
        JOIN_PROTOCOL,
        FrameCodec {
            request_bytes_max: limits.introduction_bytes,
            response_bytes_max: limits.welcome_bytes,
        },
        limits.stranger_lifetime,
        1,
    );
    Ok(Protocols {
        limits: connection_limits::Behaviour::new(connection_limits(limits)),
        handshakes: HandshakesPerAddress::new(
            limits.connections_pending_per_address,
            usize::try_from(limits.connections_pending_inbound).unwrap_or(usize::MAX),
        ),
        members: MembersOnly::new(members, limits),
        join,
        mdns: Toggle::from(mdns.then(|| local_discovery(keypair)).flatten()),
    })
}

fn connection_limits(limits: &NetworkLimits) -> ConnectionLimits {
    ConnectionLimits::default()
        .with_max_pending_incoming(Some(limits.connections_pending_inbound))
        .with_max_pending_outgoing(Some(limits.connections_pending_outbound))
        .with_max_established(Some(limits.connections_total))
        // One more than are kept, so that a new connection can replace one that died unnoticed.
        .with_max_established_per_peer(Some(limits.connections_per_peer.saturating_add(1)))
}

fn requests(
    protocol: StreamProtocol,
    codec: FrameCodec,
    timeout: Duration,
    streams: usize,
) -> Requests {
    let config = request_response::Config::default()
        .with_request_timeout(timeout)
        .with_max_concurrent_streams(streams);
    Requests::with_codec(codec, [(protocol, ProtocolSupport::Full)], config)
}

/// Gossip without signatures, because what is gossiped carries its own, and without authors, so
/// that equal announcements from several sites are one message.
fn gossip(topics: OwnTopics, limits: &NetworkLimits) -> Result<Gossip, NetworkError> {
    let config = gossipsub::ConfigBuilder::default()
        .validation_mode(ValidationMode::Anonymous)
        .message_id_fn(|message| message_id(&message.topic, &message.data))
        .validate_messages()
        .max_transmit_size(GOSSIP_RPC_BYTES_MAX)
        .connection_handler_queue_len(limits.gossip_queue)
        .heartbeat_initial_delay(GOSSIP_HEARTBEAT)
        .heartbeat_interval(GOSSIP_HEARTBEAT)
        .history_length(GOSSIP_HISTORY)
        .duplicate_cache_time(GOSSIP_SEEN)
        .max_control_messages_sent(GOSSIP_NAMES_MAX)
        .mesh_n(GOSSIP_PEERS)
        .mesh_n_low(GOSSIP_PEERS_MIN)
        .mesh_outbound_min(GOSSIP_PEERS_DIALLED)
        .mesh_n_high(GOSSIP_PEERS_MAX)
        // The mesh of a small network is everybody; in a large one the publisher's link is spared.
        .flood_publish(false)
        .build()
        .map_err(|error| NetworkError::Gossip(error.to_string()))?;
    let filter = gossipsub::MaxCountSubscriptionFilter {
        filter: gossipsub::AllowAllSubscriptionFilter::default(),
        max_subscribed_topics: limits.topics,
        max_subscriptions_per_request: limits.topics,
    };
    let anonymous = MessageAuthenticity::Anonymous;
    Gossip::new_with_subscription_filter_and_transform(anonymous, config, filter, topics)
        .map_err(|error| NetworkError::Gossip(error.to_owned()))
}

/// The hash of topic and data; the topic's length keeps the two apart.
pub(super) fn message_id(topic: &TopicHash, data: &[u8]) -> MessageId {
    let topic = topic.as_str().as_bytes();
    let mut hasher = blake3::Hasher::new_derive_key("branchline 2026 gossip message id");
    hasher.update(&(topic.len() as u64).to_be_bytes());
    hasher.update(topic);
    hasher.update(data);
    let mut id = vec![0; MESSAGE_ID_BYTES];
    hasher.finalize_xof().fill(&mut id);
    MessageId(id)
}

/// A machine without multicast is no reason not to start.
fn local_discovery(keypair: &identity::Keypair) -> Option<mdns::tokio::Behaviour> {
    mdns::tokio::Behaviour::new(mdns::Config::default(), keypair.public().to_peer_id())
        .inspect_err(|error| tracing::warn!(%error, "discovery on the local network is off"))
        .ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_says_its_process_and_version_and_what_is_none_of_them_is_left_out() {
        let version = |text: &str| Some(text.to_owned());
        for (said, expected) in [
            ("ff 0.1.0", (Some(255), version("0.1.0"))),
            ("ff 1.2.3-rc.1+b", (Some(255), version("1.2.3-rc.1+b"))),
            ("ff", (Some(255), None)),
            ("ff <b>", (Some(255), None)),
            ("x 0.1.0", (None, version("0.1.0"))),
            ("", (None, None)),
            ("ff 0.1.0 0.2.0", (Some(255), None)),
        ] {
            assert_eq!(self_description(said), expected, "{said}");
        }
        assert_eq!(self_description(&format!("ff {}", "1".repeat(33))).1, None);
    }

    #[test]
    fn a_message_id_depends_on_topic_and_data_only() {
        let id = |topic: &str, data: &[u8]| message_id(&TopicHash::from_raw(topic), data);
        assert_eq!(id("a", b"b"), id("a", b"b"));
        assert_ne!(id("a", b"b"), id("b", b"b"));
        assert_ne!(id("a", b"bc"), id("ab", b"c"));
    }
}
