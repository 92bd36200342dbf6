//! What each command does.

use std::collections::BTreeSet;
use std::time::Instant;

use libp2p::gossipsub::{IdentTopic, MessageAcceptance, MessageId, PublishError};
use libp2p::swarm::dial_opts::PeerCondition;
use libp2p::{Multiaddr, PeerId};

use super::address;
use super::interface::{
    Command, Event, IntroductionFailure, IntroductionToken, PeerInfo, RequestFailure,
    ResponseToken, Verdict,
};
use super::redial::DIAL_ADDRESSES_MAX;
use super::task::{Exchanged, Introduction, Task, dial_error};

/// Introductions under way at once. People make them, one at a time.
const INTRODUCTIONS_MAX: usize = 16;
/// Those of them to one peer that wait for a connection: an address that swallows packets keeps each for seconds.
const INTRODUCTIONS_DIALLING_MAX: usize = 4;

impl Task {
    pub(super) fn on_command(&mut self, command: Command) {
        match command {
            Command::SetMembers(members) => self.set_members(members),
            Command::Subscribe(topic) => self.subscribe(topic),
            Command::Publish { topic, data } => self.publish(topic, data),
            Command::Validate { id, source, verdict } => self.validate(&id, &source, verdict),
            Command::Request { to, id, body } => self.request(to, id, body),
            Command::Respond { token, body } => self.respond(token, body),
            Command::Introduce { to, addresses, id, body } => {
                if !addresses.is_empty() {
                    self.introduce_to_configured(to, id, &body);
                }
                self.introduce(Introduction { to, id, body }, addresses)
            }
            Command::RespondIntroduction { token, body } => self.respond_introduction(token, body),
            Command::AddAddress { peer, address } => self.add_address(peer, address),
            Command::Disconnect(peer) => {
                // An error says that it is not connected.
                self.swarm.disconnect_peer_id(peer).ok();
            }
            Command::Peers(answer) => {
                // Anyone who asked may have gone.
                answer.send(self.peers()).ok();
            }
            // Ends the loop before it comes here.
            Command::Shutdown => {}
        }
    }

    fn set_members(&mut self, mut members: BTreeSet<PeerId>) {
        members.remove(self.swarm.local_peer_id());
        let door = &mut self.swarm.behaviour_mut().members;
        let removed: Vec<PeerId> = door.members().difference(&members).copied().collect();
        let added: Vec<PeerId> = members.difference(door.members()).copied().collect();
        for connection in door.set_members(members) {
            self.swarm.close_connection(connection);
        }
        for peer in removed {
            self.redial.forget(&peer);
            self.processes.forget(&peer);
            self.known.remove(&peer);
            if self.book.remove_peer(&peer) {
                self.book_changed();
            }
        }
        for peer in added {
            self.dial_if_wanted(peer);
        }
    }

    fn subscribe(&mut self, topic: String) {
        let gossip = &mut self.swarm.behaviour_mut().members.inner_mut().gossip;
        let topic = IdentTopic::new(topic);
        self.topics.add(topic.hash());
        if let Err(error) = gossip.subscribe(&topic) {
            tracing::error!(%error, "cannot subscribe to a topic");
        }
    }

    fn publish(&mut self, topic: String, data: Vec<u8>) {
        let (bytes, bytes_max) = (data.len(), self.limits.gossip_bytes);
        if bytes > bytes_max {
            tracing::error!(bytes, bytes_max, "a gossip message is too large and not sent");
            return;
        }
        let gossip = &mut self.swarm.behaviour_mut().members.inner_mut().gossip;
        match gossip.publish(IdentTopic::new(topic), data) {
            Ok(_) => {}
            Err(
                error @ (PublishError::Duplicate
                | PublishError::NoPeersSubscribedToTopic
                | PublishError::AllQueuesFull(_)),
            ) => tracing::debug!(%error, "a gossip message is not sent"),
            Err(
                error @ (PublishError::SigningError(_)
                | PublishError::MessageTooLarge
                | PublishError::TransformFailed(_)),
            ) => tracing::error!(%error, "a gossip message is not sent"),
        }
    }

    pub(super) fn validate(&mut self, id: &MessageId, source: &PeerId, verdict: Verdict) {
        let verdict = match verdict {
            Verdict::Accept => MessageAcceptance::Accept,
            Verdict::Ignore => MessageAcceptance::Ignore,
            Verdict::Reject => MessageAcceptance::Reject,
        };
        let gossip = &mut self.swarm.behaviour_mut().members.inner_mut().gossip;
        if !gossip.report_message_validation_result(id, source, verdict) {
            tracing::debug!(%id, "a verdict came too late to forward the message");
        }
    }

    fn request(&mut self, to: PeerId, id: u64, body: Vec<u8>) {
        let (bytes, bytes_max) = (body.len(), self.limits.request_bytes);
        let in_flight = self.requests.len();
        let to_peer = self.requests.values().filter(|(peer, _)| *peer == to).count();
        let reason = if bytes > bytes_max {
            RequestFailure::TooLarge { bytes, bytes_max }
        } else if !self.links.contains_key(&to) {
            RequestFailure::NotConnected
        } else if in_flight >= self.limits.requests_in_flight {
            RequestFailure::Busy { in_flight }
        } else if to_peer >= self.limits.requests_per_peer {
            RequestFailure::Busy { in_flight: to_peer }
        } else {
            self.note_sent(to, bytes);
            let sync = &mut self.swarm.behaviour_mut().members.inner_mut().sync;
            let request = sync.send_request(&to, body);
            self.requests.insert(request, (to, id));
            return;
        };
        self.emit(Event::RequestFailed { to, id, reason });
    }

    fn respond(&mut self, token: ResponseToken, body: Vec<u8>) {
        let (bytes, bytes_max) = (body.len(), self.limits.response_bytes);
        if bytes > bytes_max {
            tracing::error!(to = %token.from, bytes, bytes_max, "a response is too large");
            return;
        }
        let sync = &mut self.swarm.behaviour_mut().members.inner_mut().sync;
        if sync.send_response(token.channel, body).is_err() {
            tracing::debug!(to = %token.from, "a response came too late");
            return;
        }
        self.note_sent(token.from, bytes);
    }

    fn note_sent(&mut self, to: PeerId, bytes: usize) {
        if let Some(known) = self.exchanged_with(to) {
            known.sent_bytes = known.sent_bytes.saturating_add(bytes as u64);
        }
    }

    pub(super) fn note_received(&mut self, from: PeerId, bytes: usize) {
        if let Some(known) = self.exchanged_with(from) {
            known.received_bytes = known.received_bytes.saturating_add(bytes as u64);
        }
    }

    /// What is known of a member.
    pub(super) fn exchanged_with(&mut self, peer: PeerId) -> Option<&mut Exchanged> {
        self.is_member(&peer).then(|| self.known.entry(peer).or_default())
    }

    /// Asks those to let this site in whom the operator has named.
    fn introduce_to_configured(&mut self, asked: PeerId, id: u64, body: &[u8]) {
        let own = *self.swarm.local_peer_id();
        let others = self.configured.keys().filter(|peer| **peer != asked && **peer != own);
        for to in others.copied().collect::<Vec<_>>() {
            self.introduce(Introduction { to, id, body: body.to_vec() }, Vec::new());
        }
    }

    fn introduce(&mut self, introduction: Introduction, addresses: Vec<Multiaddr>) {
        let to = introduction.to;
        let (bytes, bytes_max) = (introduction.body.len(), self.limits.introduction_bytes);
        let in_flight = self.introductions.len() + self.introductions_dialling.len();
        let waiting = self.introductions_dialling.values();
        let dialling = waiting.filter(|other| other.to == to).count();
        let reason = if bytes > bytes_max {
            RequestFailure::TooLarge { bytes, bytes_max }.into()
        } else if in_flight >= INTRODUCTIONS_MAX {
            RequestFailure::Busy { in_flight }.into()
        } else if dialling >= INTRODUCTIONS_DIALLING_MAX {
            RequestFailure::Busy { in_flight: dialling }.into()
        } else if self.swarm.is_connected(&to) {
            self.send_introduction(introduction);
            return;
        } else {
            let dialable = |address| address::dialable(address, &to);
            let mut addresses: Vec<_> = addresses.into_iter().filter_map(dialable).collect();
            for address in self.addresses_to_dial(&to) {
                if !addresses.contains(&address) {
                    addresses.push(address);
                }
            }
            addresses.truncate(DIAL_ADDRESSES_MAX);
            match self.dial(to, addresses, PeerCondition::Always) {
                Ok(connection) => {
                    self.introductions_dialling.insert(connection, introduction);
                    return;
                }
                Err(error) => IntroductionFailure::Unreachable(dial_error(&error)),
            }
        };
        let id = introduction.id;
        self.emit(Event::IntroductionFailed { to, id, reason });
    }

    /// Sends an introduction to a connected peer.
    pub(super) fn send_introduction(&mut self, introduction: Introduction) {
        let Introduction { to, id, body } = introduction;
        let protocols = self.swarm.behaviour_mut();
        protocols.members.introducing(&to);
        let request = protocols.join.send_request(&to, body);
        self.introductions.insert(request, (to, id));
    }

    fn respond_introduction(&mut self, token: IntroductionToken, body: Vec<u8>) {
        let (bytes, bytes_max) = (body.len(), self.limits.welcome_bytes);
        if bytes > bytes_max {
            let to = token.from;
            tracing::error!(%to, bytes, bytes_max, "an answer to an introduction is too large");
            return;
        }
        let protocols = self.swarm.behaviour_mut();
        if protocols.join.send_response(token.channel, body).is_err() {
            tracing::debug!(to = %token.from, "an answer to an introduction came too late");
            protocols.members.introduced(token.connection, Instant::now());
        }
    }

    fn add_address(&mut self, peer: PeerId, address: Multiaddr) {
        if peer == *self.swarm.local_peer_id() {
            return;
        }
        if self.book.add(peer, address) {
            self.book_changed();
        }
        self.dial_if_wanted(peer);
    }

    fn peers(&self) -> Vec<PeerInfo> {
        let members = self.swarm.behaviour().members.members();
        let peers: BTreeSet<&PeerId> = members
            .iter()
            .chain(self.configured.keys())
            .chain(self.links.keys())
            .filter(|peer| *peer != self.swarm.local_peer_id())
            .collect();
        peers.into_iter().map(|peer| self.peer(*peer)).collect()
    }

    fn peer(&self, peer: PeerId) -> PeerInfo {
        let link = self.links.get(&peer);
        let connection = link.and_then(|link| link.connections.last());
        let round_trip = link.and_then(|link| link.round_trip);
        let (dial_failures, dial_error) = self.redial.failures(&peer);
        let known = self.known.get(&peer);
        PeerInfo {
            peer,
            member: self.is_member(&peer),
            connected: connection.is_some(),
            address: connection.map(|connection| connection.address.clone()),
            outbound: connection.map(|connection| connection.outbound),
            round_trip_ms: round_trip.map(|time| time.as_secs_f64() * 1000.0),
            dial_failures,
            dial_error,
            known_addresses: self.addresses_to_dial(&peer),
            version: known.and_then(|known| known.version.clone()),
            received_bytes: known.map_or(0, |known| known.received_bytes),
            sent_bytes: known.map_or(0, |known| known.sent_bytes),
        }
    }
}
