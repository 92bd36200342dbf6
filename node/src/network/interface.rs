//! What goes into the network task and what comes out of it.

use std::collections::BTreeSet;

use libp2p::gossipsub::MessageId;
use libp2p::request_response::ResponseChannel;
use libp2p::swarm::ConnectionId;
use libp2p::{Multiaddr, PeerId};
use tokio::sync::oneshot;

/// An order to the network task.
#[derive(Debug)]
pub enum Command {
    /// Replaces the member set. Removed members are disconnected; a stranger that is a member now
    /// is disconnected too, after its introduction is answered, and comes back as a member.
    SetMembers(BTreeSet<PeerId>),
    /// Receives a topic's messages from now on.
    Subscribe(String),
    /// Spreads a message to the members subscribed to a topic. More than
    /// [`gossip_bytes`](super::NetworkLimits::gossip_bytes) is an error in the log; nothing is
    /// sent.
    Publish {
        /// The topic, which need not be subscribed.
        topic: String,
        /// The message. The same bytes on the same topic are one message, no matter who publishes them.
        data: Vec<u8>,
    },
    /// Decides on a message of [`Event::Gossip`], within 10 s. Only accepted messages are
    /// forwarded.
    Validate {
        /// The message.
        id: MessageId,
        /// Who delivered it.
        source: PeerId,
        /// What becomes of it.
        verdict: Verdict,
    },
    /// Asks a connected member. Ends in [`Event::Response`] or [`Event::RequestFailed`].
    Request {
        /// Whom to ask.
        to: PeerId,
        /// The caller's number, given back with the outcome.
        id: u64,
        /// At most [`request_bytes`](super::NetworkLimits::request_bytes).
        body: Vec<u8>,
    },
    /// Answers an [`Event::Request`]. Dropping the token instead closes the stream.
    Respond {
        /// The token of the request.
        token: ResponseToken,
        /// At most [`response_bytes`](super::NetworkLimits::response_bytes); more is an error in
        /// the log and closes the stream.
        body: Vec<u8>,
    },
    /// Introduces this site to a peer, member or not, dialling it if it is not connected. Ends in
    /// [`Event::IntroductionAnswer`] or [`Event::IntroductionFailed`]. With addresses it is a site that is to let this one
    /// in, as any member can: the configured peers are asked as well, each with an end of its own.
    Introduce {
        /// Who must answer; anybody else at the addresses is refused.
        to: PeerId,
        /// Where to find it, besides what is configured, remembered and seen nearby.
        addresses: Vec<Multiaddr>,
        /// The caller's number, given back with the outcome.
        id: u64,
        /// At most [`introduction_bytes`](super::NetworkLimits::introduction_bytes).
        body: Vec<u8>,
    },
    /// Answers an [`Event::Introduction`]. Dropping the token instead closes the stream.
    RespondIntroduction {
        /// The token of the introduction.
        token: IntroductionToken,
        /// At most [`welcome_bytes`](super::NetworkLimits::welcome_bytes).
        body: Vec<u8>,
    },
    /// Notes an address in the peer book, and dials it if the peer is a member that is not
    /// connected.
    AddAddress {
        /// Whose address.
        peer: PeerId,
        /// The address, with or without `/p2p/<peer id>`.
        address: Multiaddr,
    },
    /// Closes all connections with a peer. A member is dialled again after a pause.
    Disconnect(PeerId),
    /// Asks for every member, configured peer and connected peer.
    Peers(oneshot::Sender<Vec<PeerInfo>>),
    /// Closes all connections, saves the peer book and ends the task.
    Shutdown,
}

/// What becomes of a gossip message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Forward it.
    Accept,
    /// Neither forward it nor blame anyone.
    Ignore,
    /// Do not forward it: it is wrong.
    Reject,
}

/// News from the network task.
#[derive(Debug)]
pub enum Event {
    /// This site can be reached here.
    Listening(Multiaddr),
    /// This site can no longer be reached here.
    NotListening(Multiaddr),
    /// The first connection with a member is established.
    PeerUp {
        /// The member.
        peer: PeerId,
        /// Its address; a temporary one if it dialled.
        address: Multiaddr,
        /// Whether this site dialled.
        outbound: bool,
    },
    /// The last connection with a member is gone.
    PeerDown {
        /// The member, or former member.
        peer: PeerId,
    },
    /// A message on a subscribed topic, once, however many members send it. Answer with
    /// [`Command::Validate`].
    Gossip {
        /// Who delivered it, which need not be who published it.
        source: PeerId,
        /// The hash of topic and data.
        id: MessageId,
        /// The topic.
        topic: String,
        /// The message.
        data: Vec<u8>,
    },
    /// What a member sent breaks the protocol; nothing came of it.
    Refused {
        /// Who sent it.
        from: PeerId,
        /// What was wrong.
        reason: String,
    },
    /// A member asks. Answer with [`Command::Respond`].
    Request {
        /// Who asks.
        from: PeerId,
        /// Needed to answer.
        token: ResponseToken,
        /// The question.
        body: Vec<u8>,
    },
    /// A member answered.
    Response {
        /// Who answered.
        from: PeerId,
        /// The number of the request.
        id: u64,
        /// The answer.
        body: Vec<u8>,
    },
    /// There will be no answer. Whether the request arrived is not known, except as the reason
    /// says.
    RequestFailed {
        /// Who was asked.
        to: PeerId,
        /// The number of the request.
        id: u64,
        /// Why.
        reason: RequestFailure,
    },
    /// Somebody, perhaps a stranger, introduces itself. Answer with
    /// [`Command::RespondIntroduction`].
    Introduction {
        /// The proven peer id.
        from: PeerId,
        /// Needed to answer.
        token: IntroductionToken,
        /// What it says. Trust nothing in it.
        body: Vec<u8>,
    },
    /// Two processes take turns in speaking for one peer: copies of one site, with one key.
    Copies {
        /// The peer.
        peer: PeerId,
        /// Where they are; temporary addresses if they dialled.
        addresses: [Multiaddr; 2],
    },
    /// Where this site looked for a member it found somebody else, who is connected as a stranger, for a while.
    Stranger {
        /// The proven peer id.
        peer: PeerId,
    },
    /// The answer to an introduction.
    IntroductionAnswer {
        /// Who answered.
        from: PeerId,
        /// The number of the introduction.
        id: u64,
        /// The answer.
        body: Vec<u8>,
    },
    /// There will be no answer to an introduction.
    IntroductionFailed {
        /// Who was addressed.
        to: PeerId,
        /// The number of the introduction.
        id: u64,
        /// Why.
        reason: IntroductionFailure,
    },
}

/// Lets one request be answered once.
#[derive(Debug)]
pub struct ResponseToken {
    pub(super) from: PeerId,
    pub(super) channel: ResponseChannel<Vec<u8>>,
}

/// Lets one introduction be answered once.
#[derive(Debug)]
pub struct IntroductionToken {
    pub(super) from: PeerId,
    pub(super) connection: ConnectionId,
    pub(super) channel: ResponseChannel<Vec<u8>>,
}

/// Why a request has no response.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RequestFailure {
    /// Nothing was sent: the peer is not a connected member.
    #[error("the peer is not connected as a member")]
    NotConnected,
    /// The peer does not speak the protocol with us: to it this site is no member.
    #[error("the peer does not accept this site as a member")]
    Unsupported,
    /// No response within [`request_timeout`](super::NetworkLimits::request_timeout).
    #[error("the peer did not respond in time")]
    Timeout,
    /// The connection closed before the response.
    #[error("the connection closed before the response")]
    ConnectionClosed,
    /// Nothing was sent: the body is larger than the protocol allows.
    #[error("the body has {bytes} bytes, at most {bytes_max} are allowed")]
    TooLarge {
        /// The body's size.
        bytes: usize,
        /// The limit.
        bytes_max: usize,
    },
    /// Nothing was sent: too many are in flight.
    #[error("{in_flight} requests are in flight already; wait for one to end")]
    Busy {
        /// How many.
        in_flight: usize,
    },
    /// The stream broke, for example because the peer refused the body or dropped the request.
    #[error("the stream failed: {0}")]
    Stream(String),
}

/// Why an introduction has no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IntroductionFailure {
    /// Nothing was sent: none of the addresses led to the peer.
    #[error("the peer cannot be reached: {0}")]
    Unreachable(String),
    /// The connection is there and the introduction failed on it.
    #[error(transparent)]
    Failed(#[from] RequestFailure),
}

/// What is known of one peer.
#[derive(Debug, Clone, PartialEq)]
pub struct PeerInfo {
    /// The peer.
    pub peer: PeerId,
    /// Whether it is a member.
    pub member: bool,
    /// Whether it is connected as a member.
    pub connected: bool,
    /// Address of the newest connection.
    pub address: Option<Multiaddr>,
    /// Whether this site dialled that connection.
    pub outbound: Option<bool>,
    /// Last measured round trip.
    pub round_trip_ms: Option<f64>,
    /// Dials that failed, or led nowhere, since the peer was last connected in earnest.
    pub dial_failures: u32,
    /// Why the last dial failed.
    pub dial_error: Option<String>,
    /// Configured and learnt addresses, best first.
    pub known_addresses: Vec<Multiaddr>,
    /// The program's version at the other end, as it says itself. `None`: it has not been connected since this node started.
    pub version: Option<String>,
    /// Bytes of requests, answers and gossip that came from it since this node started.
    pub received_bytes: u64,
    /// Bytes of requests and answers that went to it since then. Gossip goes to all and is not counted.
    pub sent_bytes: u64,
}
