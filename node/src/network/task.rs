//! The loop that owns the swarm: commands in, events out, dials in between.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime};

use futures::StreamExt as _;
use libp2p::request_response::OutboundRequestId;
use libp2p::swarm::dial_opts::{DialOpts, PeerCondition};
use libp2p::swarm::{ConnectionId, DialError};
use libp2p::{Multiaddr, PeerId, Swarm};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::address;
use super::config::NetworkLimits;
use super::interface::{Command, Event};
use super::peer_book::PeerBook;
use super::processes::Processes;
use super::redial::{DIAL_ADDRESSES_MAX, Redial};
use super::swarm::Protocols;
use super::topics::OwnTopics;
use crate::whole_file;

/// Least time between two saves of the peer book. The first change is saved at once, for a site that is killed must find
/// the others again; what follows soon after is saved together.
const SAVE_INTERVAL: Duration = Duration::from_millis(200);
/// Time for connections to say goodbye.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(2);

/// A member's connections.
#[derive(Default)]
pub(super) struct Link {
    /// Oldest first; at most [`NetworkLimits::connections_per_peer`] after each event.
    pub(super) connections: Vec<Connection>,
    pub(super) round_trip: Option<Duration>,
}

pub(super) struct Connection {
    pub(super) id: ConnectionId,
    pub(super) address: Multiaddr,
    pub(super) outbound: bool,
    pub(super) since: Instant,
    /// The process at the other end, once it has identified itself.
    pub(super) process: Option<u64>,
}

/// What a member said of itself, and what went to it and came from it since this node started.
#[derive(Default)]
pub(super) struct Exchanged {
    pub(super) version: Option<String>,
    /// Requests, answers and gossip that came from it.
    pub(super) received_bytes: u64,
    /// Requests and answers that went to it. Gossip goes to all, and the library does not say to whom.
    pub(super) sent_bytes: u64,
}

/// An introduction whose peer is being dialled.
pub(super) struct Introduction {
    pub(super) to: PeerId,
    pub(super) id: u64,
    pub(super) body: Vec<u8>,
}

/// Owner of the swarm and all that belongs to it.
pub(super) struct Task {
    pub(super) swarm: Swarm<Protocols>,
    pub(super) topics: OwnTopics,
    pub(super) limits: NetworkLimits,
    commands: mpsc::Receiver<Command>,
    /// Events that found no room yet. The swarm rests while there are any.
    outbox: VecDeque<Event>,
    pub(super) links: BTreeMap<PeerId, Link>,
    /// Of members alone, so no larger than their set.
    pub(super) known: BTreeMap<PeerId, Exchanged>,
    pub(super) dials: BTreeMap<ConnectionId, PeerId>,
    pub(super) requests: HashMap<OutboundRequestId, (PeerId, u64)>,
    pub(super) introductions: HashMap<OutboundRequestId, (PeerId, u64)>,
    pub(super) introductions_dialling: BTreeMap<ConnectionId, Introduction>,
    pub(super) redial: Redial,
    pub(super) processes: Processes,
    /// Connections that are to be closed with all others of their peer, once it has named its process or until then.
    pub(super) dialled_again: BTreeMap<ConnectionId, (PeerId, Instant)>,
    pub(super) configured: BTreeMap<PeerId, Vec<Multiaddr>>,
    pub(super) book: PeerBook,
    /// Who announces itself on the local network, member or not; never saved.
    pub(super) nearby: PeerBook,
    book_path: PathBuf,
    save_at: Option<Instant>,
    saved_at: Option<Instant>,
    saving: Option<JoinHandle<()>>,
}

impl Task {
    pub(super) fn new(
        (mut swarm, topics): (Swarm<Protocols>, OwnTopics),
        commands: mpsc::Receiver<Command>,
        configured: BTreeMap<PeerId, Vec<Multiaddr>>,
        (book, book_path): (PeerBook, PathBuf),
        limits: NetworkLimits,
    ) -> Self {
        let handshakes = &mut swarm.behaviour_mut().handshakes;
        book.reached().for_each(|address| handshakes.met(address));
        Self {
            swarm,
            topics,
            limits,
            commands,
            outbox: VecDeque::new(),
            links: BTreeMap::new(),
            known: BTreeMap::new(),
            dials: BTreeMap::new(),
            requests: HashMap::new(),
            introductions: HashMap::new(),
            introductions_dialling: BTreeMap::new(),
            redial: Redial::default(),
            processes: Processes::default(),
            dialled_again: BTreeMap::new(),
            configured,
            book,
            nearby: PeerBook::default(),
            book_path,
            save_at: None,
            saved_at: None,
            saving: None,
        }
    }

    /// Runs until [`Command::Shutdown`], or until nobody sends commands or reads events any more.
    pub(super) async fn run<M: From<Event>>(mut self, events: mpsc::Sender<M>) {
        loop {
            let rested = self.outbox.is_empty();
            let wake_at = self.wake_at();
            let room = self.outbox.len() < self.limits.command_queue;
            tokio::select! {
                command = self.commands.recv(), if room => {
                    match command {
                        None | Some(Command::Shutdown) => break,
                        Some(command) => self.on_command(command),
                    }
                }
                permit = events.reserve(), if !rested => match (permit, self.outbox.pop_front()) {
                    (Ok(permit), Some(event)) => permit.send(event.into()),
                    (Ok(_), None) => {}
                    (Err(_), _) => break,
                },
                () = events.closed(), if rested => break,
                event = self.swarm.select_next_some(), if rested => self.on_swarm_event(event),
                () = sleep_until(wake_at), if rested => self.on_time(Instant::now()),
            }
        }
        self.shut_down().await;
    }

    pub(super) fn emit(&mut self, event: Event) {
        self.outbox.push_back(event);
    }

    fn wake_at(&self) -> Option<Instant> {
        let redial = self.may_redial().then(|| self.redial.next_due()).flatten();
        let strangers = self.swarm.behaviour().members.next_deadline();
        let dialled_again = self.dialled_again.values().map(|(_, at)| *at).min();
        [redial, strangers, dialled_again, self.save_at].into_iter().flatten().min()
    }

    fn on_time(&mut self, now: Instant) {
        for connection in self.swarm.behaviour_mut().members.expired(now) {
            self.swarm.close_connection(connection);
        }
        let unnamed = self.dialled_again.extract_if(.., |_, (_, at)| *at <= now);
        for (_, (peer, _)) in unnamed.collect::<Vec<_>>() {
            self.begin_anew(peer);
        }
        while self.may_redial()
            && let Some(peer) = self.redial.take_due(now)
        {
            self.redial_peer(peer, now);
        }
        if self.save_at.is_some_and(|at| at <= now) {
            self.save_book();
        }
    }

    /// Half of the dials are left for introductions, which would otherwise wait behind absent
    /// members.
    fn may_redial(&self) -> bool {
        let dials_max = self.limits.connections_pending_outbound / 2;
        self.dials.len() < usize::try_from(dials_max).unwrap_or(usize::MAX).max(1)
    }

    fn redial_peer(&mut self, peer: PeerId, now: Instant) {
        if self.links.contains_key(&peer) || !self.is_member(&peer) {
            return;
        }
        let enough = self.links.len() >= self.limits.dialled_peers;
        if enough && !self.configured.contains_key(&peer) {
            self.redial.later(peer, now);
            return;
        }
        let is_free = |address: &Multiaddr| self.redial.found_at(&peer, address).is_none();
        let (mut addresses, taken): (Vec<_>, Vec<_>) =
            self.addresses_to_dial(&peer).into_iter().partition(is_free);
        let failures = self.redial.failures(&peer).0;
        // Anyone who has taken an address may win the race against all others, so that each of these is dialled by itself,
        // in turns.
        if !taken.is_empty() && (addresses.is_empty() || failures % 2 == 1) {
            let turn = usize::try_from(failures / 2).unwrap_or_default() % taken.len();
            self.dial_whoever(peer, taken[turn].clone(), now);
            return;
        }
        // After a short cut, one handshake where the peer was last is enough; racing all addresses
        // would cost several. If it fails, they race.
        if failures == 0
            && let Some(last) = self.book.last_reached(&peer)
            && addresses.contains(last)
        {
            addresses = vec![last.clone()];
        }
        if addresses.is_empty() {
            // An address that is learnt plans the next dial.
            return;
        }
        match self.dial(peer, addresses, PeerCondition::NotDialing) {
            Ok(_) | Err(DialError::DialPeerConditionFalse(_)) => {}
            Err(error) => self.redial.failed(peer, dial_error(&error), now),
        }
    }

    /// Dials an address of a member at which somebody else was found. The member may have come back; or a stranger goes
    /// on for it under another key, which is for the node to find out.
    fn dial_whoever(&mut self, member: PeerId, address: Multiaddr, now: Instant) {
        let found = self.redial.found_at(&member, &address);
        if let Some(found) = found.filter(|found| self.is_member(found)) {
            // It is another member's, who is dialled as such.
            self.redial.found(member, address, found, now);
            return;
        }
        let options = DialOpts::unknown_peer_id().address(address).allocate_new_port().build();
        let connection = options.connection_id();
        match self.swarm.dial(options) {
            Ok(()) => {
                self.dials.insert(connection, member);
            }
            Err(error) => self.redial.failed(member, dial_error(&error), now),
        }
    }

    /// Somebody else answers at an address of a peer.
    pub(super) fn found_other(&mut self, peer: PeerId, found: PeerId, address: Multiaddr) {
        if !self.is_member(&peer) || self.links.contains_key(&peer) {
            return;
        }
        // If it is let in, it is dialled there.
        self.nearby.add(found, address.clone());
        self.redial.found(peer, address, found, Instant::now());
        self.dial_if_wanted(found);
    }

    /// Dials from a port of its own: with the listening port, two sites that dial each other would
    /// meet in the middle of one TCP connection, and a redial would collide with its predecessor.
    pub(super) fn dial(
        &mut self,
        peer: PeerId,
        addresses: Vec<Multiaddr>,
        condition: PeerCondition,
    ) -> Result<ConnectionId, DialError> {
        let options = DialOpts::peer_id(peer)
            .condition(condition)
            .addresses(addresses)
            .allocate_new_port()
            .build();
        let connection = options.connection_id();
        self.swarm.dial(options)?;
        self.dials.insert(connection, peer);
        Ok(connection)
    }

    /// Plans a dial to a member that is not connected.
    pub(super) fn dial_if_wanted(&mut self, peer: PeerId) {
        if self.is_member(&peer) && !self.links.contains_key(&peer) {
            self.redial.soon(peer, Instant::now());
        }
    }

    pub(super) fn is_member(&self, peer: &PeerId) -> bool {
        self.swarm.behaviour().members.is_member(peer)
    }

    /// Configured, remembered and nearby addresses, without this site's own.
    pub(super) fn addresses_to_dial(&self, peer: &PeerId) -> Vec<Multiaddr> {
        let mut addresses = Vec::new();
        let configured = self.configured.get(peer).into_iter().flatten();
        let learnt = self.book.addresses(peer).chain(self.nearby.addresses(peer));
        for address in configured.chain(learnt) {
            if !addresses.contains(address) && !self.is_own(address) {
                addresses.push(address.clone());
            }
        }
        addresses.truncate(DIAL_ADDRESSES_MAX);
        addresses
    }

    pub(super) fn is_own(&self, address: &Multiaddr) -> bool {
        self.swarm.listeners().any(|own| own == address)
    }

    /// Whether what is at this address is on this machine, so that loopback addresses mean the same
    /// to both.
    pub(super) fn is_this_machine(&self, address: &Multiaddr) -> bool {
        address::ip(address).is_some_and(|ip| {
            ip.is_loopback() || self.swarm.listeners().any(|own| address::ip(own) == Some(ip))
        })
    }

    /// Saves the peer book before long.
    pub(super) fn book_changed(&mut self) {
        let now = Instant::now();
        let at = self.saved_at.map_or(now, |saved_at| now.max(saved_at + SAVE_INTERVAL));
        self.save_at.get_or_insert(at);
    }

    fn save_book(&mut self) {
        if self.saving.as_ref().is_some_and(|task| !task.is_finished()) {
            self.save_at = Some(Instant::now() + SAVE_INTERVAL);
            return;
        }
        self.save_at = None;
        self.saved_at = Some(Instant::now());
        let path = self.book_path.clone();
        let bytes = self.book.to_bytes();
        self.saving = Some(tokio::task::spawn_blocking(move || {
            let saved = bytes.and_then(|bytes| whole_file::replace(&path, &bytes));
            if let Err(error) = saved {
                tracing::warn!(path = %path.display(), %error, "the peer book is not saved");
            }
        }));
    }

    async fn shut_down(mut self) {
        let peers: Vec<PeerId> = self.swarm.connected_peers().copied().collect();
        for peer in peers {
            // An error says that it is gone already.
            self.swarm.disconnect_peer_id(peer).ok();
        }
        let goodbye = async {
            while self.swarm.connected_peers().next().is_some() {
                self.swarm.select_next_some().await;
            }
        };
        tokio::time::timeout(SHUTDOWN_TIMEOUT, goodbye).await.ok();
        for _ in 0..2 {
            if let Some(saving) = self.saving.take() {
                // A panic while saving has been reported already.
                saving.await.ok();
            }
            if self.save_at.is_some() {
                self.save_book();
            }
        }
    }
}

/// The innermost message of each address's failure.
pub(super) fn dial_error(error: &DialError) -> String {
    match error {
        DialError::Transport(failures) => {
            let texts = failures.iter().map(|(address, error)| {
                // Whose address it is stands beside it wherever this is shown.
                let (address, _) = address::split_peer(address.clone());
                let error = innermost(error);
                format!("{address}: {}", error.trim_end_matches([':', ' ']))
            });
            texts.collect::<Vec<_>>().join("; ")
        }
        DialError::WrongPeerId { obtained, address } => {
            let (address, _) = address::split_peer(address.clone());
            format!("{address}: {obtained} answers there")
        }
        DialError::LocalPeerId { .. }
        | DialError::NoAddresses
        | DialError::DialPeerConditionFalse(_)
        | DialError::Aborted
        | DialError::Denied { .. } => error.to_string(),
    }
}

/// The text of the last error in a chain: the outer ones only name layers.
fn innermost(error: &dyn std::error::Error) -> String {
    let mut innermost = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost.to_string()
}

pub(super) fn unix_seconds() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs())
}

async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at.into()).await,
        None => std::future::pending().await,
    }
}
