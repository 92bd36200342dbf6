//! What each event of the swarm means to the node.

use std::io;
use std::time::{Duration, Instant};

use libp2p::core::ConnectedPoint;
use libp2p::request_response::{self, InboundFailure, OutboundFailure};
use libp2p::swarm::{ConnectionId, DialError, SwarmEvent};
use libp2p::{Multiaddr, PeerId, gossipsub, identify, mdns, ping};

use super::address;
use super::interface::{
    Event, IntroductionFailure, IntroductionToken, RequestFailure, ResponseToken, Verdict,
};
use super::swarm::{MemberProtocolsEvent, ProtocolsEvent, self_description};
use super::task::{Connection, Task, dial_error, unix_seconds};

type Messages = request_response::Event<Vec<u8>, Vec<u8>>;
type NetworkMessage = request_response::Message<Vec<u8>, Vec<u8>>;

/// Two sites that dial each other at the same time have both connections, one each way, within this.
const SIMULTANEOUS: Duration = Duration::from_secs(2);
/// How long a peer that dialled again may take to name its process: a round trip, on a slow link.
const NAMING: Duration = Duration::from_secs(1);

impl Task {
    pub(super) fn on_swarm_event(&mut self, event: SwarmEvent<ProtocolsEvent>) {
        match event {
            SwarmEvent::Behaviour(event) => self.on_protocol_event(event),
            SwarmEvent::ConnectionEstablished { peer_id, connection_id, endpoint, .. } => {
                self.on_established(peer_id, connection_id, &endpoint)
            }
            SwarmEvent::ConnectionClosed { peer_id, connection_id, cause, .. } => {
                tracing::debug!(peer = %peer_id, ?cause, "a connection is closed");
                self.on_closed(peer_id, connection_id);
            }
            SwarmEvent::OutgoingConnectionError { connection_id, peer_id, error } => {
                self.on_dial_failed(connection_id, peer_id, &error)
            }
            SwarmEvent::IncomingConnectionError { send_back_addr, error, .. } => {
                tracing::debug!(from = %send_back_addr, %error, "an inbound connection failed")
            }
            SwarmEvent::NewListenAddr { address, .. } => self.emit(Event::Listening(address)),
            SwarmEvent::ExpiredListenAddr { address, .. } => {
                self.emit(Event::NotListening(address));
            }
            SwarmEvent::ListenerClosed { addresses, reason, .. } => {
                tracing::error!(?addresses, ?reason, "no longer listening");
                for address in addresses {
                    self.emit(Event::NotListening(address));
                }
            }
            SwarmEvent::ListenerError { error, .. } => {
                tracing::warn!(%error, "a listener has a problem");
            }
            SwarmEvent::IncomingConnection { .. }
            | SwarmEvent::Dialing { .. }
            | SwarmEvent::NewExternalAddrCandidate { .. }
            | SwarmEvent::ExternalAddrConfirmed { .. }
            | SwarmEvent::ExternalAddrExpired { .. }
            | SwarmEvent::NewExternalAddrOfPeer { .. } => {}
            // The library may add events.
            _ => {}
        }
    }

    fn on_protocol_event(&mut self, event: ProtocolsEvent) {
        match event {
            ProtocolsEvent::Limits(never) | ProtocolsEvent::Handshakes(never) => match never {},
            ProtocolsEvent::Members(MemberProtocolsEvent::Gossip(event)) => self.on_gossip(event),
            ProtocolsEvent::Members(MemberProtocolsEvent::Identify(event)) => {
                self.on_identify(event);
            }
            ProtocolsEvent::Members(MemberProtocolsEvent::Ping(event)) => self.on_ping(event),
            ProtocolsEvent::Members(MemberProtocolsEvent::Sync(event)) => self.on_sync(event),
            ProtocolsEvent::Join(event) => self.on_join(event),
            ProtocolsEvent::Mdns(mdns::Event::Discovered(found)) => self.on_discovered(found),
            ProtocolsEvent::Mdns(mdns::Event::Expired(gone)) => {
                for (peer, address) in gone {
                    self.nearby.remove_address(&peer, &address);
                }
            }
        }
    }

    fn on_established(&mut self, peer: PeerId, id: ConnectionId, endpoint: &ConnectedPoint) {
        let sought = self.dials.remove(&id).filter(|sought| *sought != peer);
        let (address, _) = address::split_peer(endpoint.get_remote_address().clone());
        let outbound = endpoint.is_dialer();
        if let Some(member) = sought {
            self.found_other(member, peer, address.clone());
        }
        let door = &self.swarm.behaviour().members;
        if door.is_member_connection(&peer, id) {
            tracing::debug!(%peer, %address, outbound, "a member is connected");
            self.swarm.behaviour_mut().handshakes.met(&address);
            self.redial.pause_dials(&peer);
            if outbound {
                self.book.succeeded(peer, address.clone(), unix_seconds());
                self.book_changed();
            }
            let since = Instant::now();
            let connection = Connection { id, address, outbound, since, process: None };
            self.add_connection(peer, connection);
        } else {
            tracing::debug!(%peer, %address, outbound, "a stranger is connected");
            if sought.is_some() {
                self.emit(Event::Stranger { peer });
            }
        }
        // Any connection with the peer serves the introductions that wait for one.
        let waiting = self.introductions_dialling.iter();
        let ready: Vec<ConnectionId> = waiting
            .filter(|(_, introduction)| introduction.to == peer)
            .map(|(dial, _)| *dial)
            .collect();
        for dial in ready {
            if let Some(introduction) = self.introductions_dialling.remove(&dial) {
                self.send_introduction(introduction);
            }
        }
    }

    fn add_connection(&mut self, peer: PeerId, connection: Connection) {
        let (address, outbound) = (connection.address.clone(), connection.outbound);
        let link = self.links.entry(peer).or_default();
        let is_leftover =
            |older: &Connection| older.outbound == outbound || older.since.elapsed() > SIMULTANEOUS;
        let is_again = link.connections.iter().any(is_leftover);
        let id = connection.id;
        link.connections.push(connection);
        if is_again {
            // A peer dials only when it knows of no connection: it has restarted, or lost the old one. Or it is a copy,
            // which shows by the process that it names.
            tracing::debug!(%peer, "a connected peer has dialled again");
            self.dialled_again.insert(id, (peer, Instant::now() + NAMING));
            return;
        }
        let connections_max =
            usize::try_from(self.limits.connections_per_peer).unwrap_or(usize::MAX).max(1);
        if link.connections.len() > connections_max {
            // The oldest is the likeliest to be dead without our knowing.
            self.swarm.close_connection(link.connections[0].id);
        } else if link.connections.len() == 1 {
            self.emit(Event::PeerUp { peer, address, outbound });
        }
    }

    /// Closes all connections of a peer of which one is a leftover: the protocols keep state for each peer that began
    /// with the old connection. Both sides dial again after their usual pauses, so that two machines that run one site
    /// by mistake do not do this in a tight loop.
    pub(super) fn begin_anew(&mut self, peer: PeerId) {
        // An error says that they are closed already.
        self.swarm.disconnect_peer_id(peer).ok();
    }

    /// Notes which process is at the other end. Two at once: one is dead, and we were not informed.
    fn note_process(&mut self, peer: PeerId, id: ConnectionId, process: u64) {
        let Some(link) = self.links.get_mut(&peer) else { return };
        for connection in link.connections.iter_mut().filter(|connection| connection.id == id) {
            connection.process = Some(process);
        }
        let address = link.connections.iter().find(|connection| connection.id == id);
        let address = address.map(|connection| connection.address.clone());
        let mut processes = link.connections.iter().filter_map(|connection| connection.process);
        let is_other = processes.any(|other| other != process);
        let now = Instant::now();
        let copies = address.and_then(|address| self.processes.seen(peer, process, address, now));
        if let Some(addresses) = copies {
            self.emit(Event::Copies { peer, addresses });
        }
        if is_other {
            tracing::debug!(%peer, "a connected peer has restarted");
        }
        if self.dialled_again.remove(&id).is_some() || is_other {
            self.begin_anew(peer);
        }
    }

    fn on_closed(&mut self, peer: PeerId, id: ConnectionId) {
        self.dialled_again.remove(&id);
        let Some(link) = self.links.get_mut(&peer) else {
            // A stranger leaves; if it is a member by now, it is dialled as one.
            self.dial_if_wanted(peer);
            return;
        };
        link.connections.retain(|connection| connection.id != id);
        if link.connections.is_empty() {
            self.links.remove(&peer);
            self.emit(Event::PeerDown { peer });
            if self.is_member(&peer) {
                self.redial.later(peer, Instant::now());
            }
        }
    }

    fn on_dial_failed(&mut self, id: ConnectionId, peer: Option<PeerId>, error: &DialError) {
        let peer = self.dials.remove(&id).or(peer);
        let text = dial_error(error);
        if let Some(introduction) = self.introductions_dialling.remove(&id) {
            self.emit(Event::IntroductionFailed {
                to: introduction.to,
                id: introduction.id,
                reason: IntroductionFailure::Unreachable(text.clone()),
            });
        }
        let Some(peer) = peer else { return };
        tracing::debug!(%peer, error = text, "a dial failed");
        match error {
            DialError::WrongPeerId { obtained, address } => {
                let (address, _) = address::split_peer(address.clone());
                self.found_other(peer, *obtained, address);
                return;
            }
            DialError::LocalPeerId { address } => {
                self.book.remove_address(&peer, address);
                self.nearby.remove_address(&peer, address);
                self.book_changed();
            }
            DialError::NoAddresses
            | DialError::DialPeerConditionFalse(_)
            | DialError::Aborted
            | DialError::Denied { .. }
            | DialError::Transport(_) => {}
        }
        if self.is_member(&peer) && !self.links.contains_key(&peer) {
            self.redial.failed(peer, text, Instant::now());
        }
    }

    fn on_gossip(&mut self, event: gossipsub::Event) {
        match event {
            gossipsub::Event::Message { propagation_source: source, message_id: id, message } => {
                let (bytes, bytes_max) = (message.data.len(), self.limits.gossip_bytes);
                if bytes > bytes_max {
                    self.validate(&id, &source, Verdict::Reject);
                    let reason = format!(
                        "a gossip message of {bytes} bytes, at most {bytes_max} are allowed"
                    );
                    self.emit(Event::Refused { from: source, reason });
                    return;
                }
                self.note_received(source, bytes);
                self.emit(Event::Gossip {
                    source,
                    id,
                    topic: message.topic.into_string(),
                    data: message.data,
                });
            }
            gossipsub::Event::SlowPeer { peer_id, .. } => {
                tracing::debug!(peer = %peer_id, "a peer is too slow for gossip");
            }
            gossipsub::Event::Subscribed { .. }
            | gossipsub::Event::Unsubscribed { .. }
            | gossipsub::Event::GossipsubNotSupported { .. } => {}
        }
    }

    fn on_identify(&mut self, event: identify::Event) {
        let (peer, id, info) = match event {
            identify::Event::Received { connection_id, peer_id, info } => {
                (peer_id, connection_id, info)
            }
            identify::Event::Error { peer_id, error, .. } => {
                tracing::debug!(peer = %peer_id, %error, "a peer does not identify itself");
                return;
            }
            identify::Event::Sent { .. } | identify::Event::Pushed { .. } => return,
        };
        self.redial.proved(&peer);
        let Some(link) = self.links.get(&peer) else {
            return;
        };
        let mut connections = link.connections.iter();
        let neighbour = connections
            .find(|connection| connection.id == id)
            .is_some_and(|connection| self.is_this_machine(&connection.address));
        let met: Vec<_> =
            link.connections.iter().filter_map(|at| address::ip(&at.address)).collect();
        for address in info.listen_addrs {
            let is_believed = address::is_believed(&address, &met, neighbour);
            if is_believed && !self.is_own(&address) && self.book.add(peer, address) {
                self.book_changed();
            }
        }
        let (process, version) = self_description(&info.agent_version);
        if let Some(known) = self.exchanged_with(peer) {
            known.version = version.or(known.version.take());
        }
        if let Some(process) = process {
            self.note_process(peer, id, process);
        }
    }

    fn on_ping(&mut self, event: ping::Event) {
        match event.result {
            Ok(time) => {
                if let Some(link) = self.links.get_mut(&event.peer) {
                    link.round_trip = Some(time);
                }
            }
            // To the other side we are a stranger.
            Err(ping::Failure::Unsupported) => {}
            Err(error @ (ping::Failure::Timeout | ping::Failure::Other { .. })) => {
                // The library keeps the first failure to itself: this is the second in a row.
                tracing::debug!(peer = %event.peer, %error, "a connection is dead");
                self.swarm.close_connection(event.connection);
            }
        }
    }

    fn on_sync(&mut self, event: Messages) {
        match event {
            Messages::Message { peer, message, .. } => match message {
                NetworkMessage::Request { request, channel, .. } => {
                    self.note_received(peer, request.len());
                    self.emit(Event::Request {
                        from: peer,
                        token: ResponseToken { from: peer, channel },
                        body: request,
                    });
                }
                NetworkMessage::Response { request_id, response } => {
                    self.note_received(peer, response.len());
                    if let Some((from, id)) = self.requests.remove(&request_id) {
                        let body = response;
                        self.emit(Event::Response { from, id, body });
                    }
                }
            },
            Messages::OutboundFailure { request_id, error, .. } => {
                if let Some((to, id)) = self.requests.remove(&request_id) {
                    let reason = request_failure(error);
                    self.emit(Event::RequestFailed { to, id, reason });
                }
            }
            Messages::InboundFailure { peer, error: InboundFailure::Io(error), .. }
                if error.kind() == io::ErrorKind::InvalidData =>
            {
                let reason = format!("a request: {error}");
                self.emit(Event::Refused { from: peer, reason });
            }
            Messages::InboundFailure { peer, error, .. } => log_inbound(peer, &error),
            Messages::ResponseSent { .. } => {}
        }
    }

    fn on_join(&mut self, event: Messages) {
        let now = Instant::now();
        match event {
            Messages::Message { peer, connection_id, message } => match message {
                NetworkMessage::Request { request, channel, .. } => {
                    self.swarm.behaviour_mut().members.introducing(&peer);
                    self.emit(Event::Introduction {
                        from: peer,
                        token: IntroductionToken { from: peer, connection: connection_id, channel },
                        body: request,
                    });
                }
                NetworkMessage::Response { request_id, response } => {
                    if self.swarm.behaviour().members.is_stranger_connection(connection_id) {
                        self.swarm.close_connection(connection_id);
                    }
                    if let Some((from, id)) = self.introductions.remove(&request_id) {
                        let body = response;
                        self.emit(Event::IntroductionAnswer { from, id, body });
                    }
                }
            },
            Messages::OutboundFailure { request_id, connection_id, error, .. } => {
                let door = &mut self.swarm.behaviour_mut().members;
                door.introduced(connection_id, now);
                if let Some((to, id)) = self.introductions.remove(&request_id) {
                    let reason = request_failure(error).into();
                    self.emit(Event::IntroductionFailed { to, id, reason });
                }
            }
            Messages::InboundFailure { peer, connection_id, error, .. } => {
                log_inbound(peer, &error);
                let door = &mut self.swarm.behaviour_mut().members;
                door.introduced(connection_id, now);
            }
            Messages::ResponseSent { connection_id, .. } => {
                let door = &mut self.swarm.behaviour_mut().members;
                door.introduced(connection_id, now);
            }
        }
    }

    fn on_discovered(&mut self, found: Vec<(PeerId, Multiaddr)>) {
        let now = Instant::now();
        for (peer, address) in found {
            let fresh = self.nearby.add(peer, address);
            if fresh && self.is_member(&peer) && !self.links.contains_key(&peer) {
                self.redial.at_once(peer, now);
            }
        }
    }
}

fn request_failure(error: OutboundFailure) -> RequestFailure {
    match error {
        OutboundFailure::DialFailure => RequestFailure::NotConnected,
        OutboundFailure::Timeout => RequestFailure::Timeout,
        OutboundFailure::ConnectionClosed => RequestFailure::ConnectionClosed,
        OutboundFailure::UnsupportedProtocols => RequestFailure::Unsupported,
        OutboundFailure::Io(error) => RequestFailure::Stream(error.to_string()),
    }
}

fn log_inbound(peer: PeerId, error: &InboundFailure) {
    tracing::debug!(%peer, %error, "an inbound request failed");
}
