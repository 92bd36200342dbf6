//! Connections and messages, with the manners of the product's network layer: a site speaks the member protocols
//! with whom it knows as a member, answers others on the introduction protocol only, takes each gossip message once
//! and hands it on when the replica has judged it, and gives a request up after a minute.

use std::sync::Arc;

use branchline_crdt::ids::SiteId;
use branchline_crdt::replica::Input;
use branchline_crdt::replica::pace::{GROUP_INPUTS_MAX, REQUEST_TIMEOUT_MS};
use rand::RngExt;

use super::link::{End, Link};
use super::{GOOD_LINK, LostTo, Observation, SiteIndex, World, WorldEvent, pair, random};

use crate::scenario::LinkQuality;

/// A link that carries nothing is noticed after this long: pings, some of them lost.
const CUT_NOTICED_MS: (u64, u64) = (5_000, 25_000);
/// Once it can be, a connection is made again after this long: the product's pauses between dials.
const REDIAL_MS: (u64, u64) = (500, 30_000);

/// What travels between two offices.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// A [`branchline_crdt::protocol::Gossip`].
    Gossip {
        /// The topic.
        topic: String,
        /// The message.
        data: Vec<u8>,
    },
    /// A [`branchline_crdt::protocol::Request`].
    Request {
        /// The asker's number for it.
        id: u64,
        /// The message.
        body: Vec<u8>,
    },
    /// A [`branchline_crdt::protocol::Answer`].
    Response {
        /// The asker's number for it.
        id: u64,
        /// The message.
        body: Vec<u8>,
    },
    /// The request was refused: the asker is no member, as far as is known there.
    Unsupported {
        /// The asker's number for it.
        id: u64,
    },
    /// A [`branchline_crdt::protocol::Introduction`].
    Introduction {
        /// The message.
        body: Vec<u8>,
    },
    /// A [`branchline_crdt::protocol::Welcome`].
    IntroductionAnswer {
        /// The message.
        body: Vec<u8>,
    },
}

/// May change a message between two offices; false swallows it.
pub type Tamper = Box<dyn FnMut(SiteIndex, SiteIndex, &mut Message) -> bool>;

impl Message {
    /// Its bytes, without the transport's own.
    pub fn bytes(&self) -> &[u8] {
        match self {
            Self::Gossip { data: bytes, .. }
            | Self::Request { body: bytes, .. }
            | Self::Response { body: bytes, .. }
            | Self::Introduction { body: bytes }
            | Self::IntroductionAnswer { body: bytes } => bytes,
            Self::Unsupported { .. } => &[],
        }
    }

    fn is_gossip(&self) -> bool {
        matches!(self, Self::Gossip { .. })
    }
}

impl World {
    /// Connects two offices with a good link, at once.
    pub fn link(&mut self, a: SiteIndex, b: SiteIndex) {
        self.link_with(a, b, GOOD_LINK);
    }

    /// Connects each of these offices with each other.
    pub fn link_all(&mut self, offices: &[SiteIndex]) {
        for (index, a) in offices.iter().enumerate() {
            for b in &offices[index + 1..] {
                self.link(*a, *b);
            }
        }
    }

    /// Connects two offices with a link of this quality, at once.
    pub fn link_with(&mut self, a: SiteIndex, b: SiteIndex, quality: LinkQuality) {
        self.add_link(a, b, quality);
        self.set_up(a, b, true);
    }

    /// Ends all connections of an office, and takes its links away.
    pub fn unlink_all(&mut self, office: SiteIndex) {
        for peer in self.neighbours[office].clone() {
            self.unlink(office, peer);
        }
    }

    /// The offices that an office is connected to as members.
    pub fn peers(&self, office: SiteIndex) -> Vec<SiteIndex> {
        self.sites[office].connected.values().flatten().copied().collect()
    }

    /// The numbers of the requests that an office has asked another and that are not answered yet.
    pub fn asked(&self, office: SiteIndex, of: SiteIndex) -> Vec<u64> {
        let asked = self.sites[office].asked.iter();
        asked.filter(|(peer, _)| *peer == of).map(|(_, id)| *id).collect()
    }

    fn add_link(&mut self, a: SiteIndex, b: SiteIndex, quality: LinkQuality) {
        let (a, b) = pair(a, b);
        let seed = self.seed;
        let random = || random::concern(seed, "link", &[a as u64, b as u64]);
        self.links.entry((a, b)).or_insert_with(|| Link::new(quality, random())).quality = quality;
        self.neighbours[a].insert(b);
        self.neighbours[b].insert(a);
    }

    /// Ends the connection between two offices, which both notice at once; messages under way are lost.
    pub fn unlink(&mut self, a: SiteIndex, b: SiteIndex) {
        self.set_up(a, b, false);
        self.links.remove(&pair(a, b));
        self.neighbours[a].remove(&b);
        self.neighbours[b].remove(&a);
    }

    /// From now on nothing passes from one office to another, which is noticed after a while.
    pub fn cut(&mut self, from: SiteIndex, to: SiteIndex) {
        self.change_link(from, to, CUT_NOTICED_MS, |link, end| link.cut(end));
    }

    /// Takes one [`World::cut`] back; after a while the offices connect again.
    pub fn mend(&mut self, from: SiteIndex, to: SiteIndex) {
        self.change_link(from, to, REDIAL_MS, |link, end| link.mend(end));
    }

    /// Takes all that is wrong with a link away.
    pub fn mend_all(&mut self, a: SiteIndex, b: SiteIndex) {
        self.change_link(a, b, REDIAL_MS, |link, _| link.mend_all());
    }

    /// Makes a link worse, until [`World::restore_quality`] with the same number.
    pub fn degrade(&mut self, a: SiteIndex, b: SiteIndex, number: u64, quality: LinkQuality) {
        self.change_link(a, b, REDIAL_MS, |link, _| link.degrade(number, quality));
    }

    /// Takes a [`World::degrade`] back.
    pub fn restore_quality(&mut self, a: SiteIndex, b: SiteIndex, number: u64) {
        self.change_link(a, b, REDIAL_MS, |link, _| link.restore_quality(number));
    }

    /// Whether there is a link that carries what one office sends to another.
    pub fn passes(&self, from: SiteIndex, to: SiteIndex) -> bool {
        let end = usize::from(from > to);
        self.links.get(&pair(from, to)).is_some_and(|link| link.passes(end))
    }

    /// The quality of a link at present.
    pub fn quality(&self, a: SiteIndex, b: SiteIndex) -> Option<LinkQuality> {
        self.links.get(&pair(a, b)).map(Link::quality_now)
    }

    fn change_link(
        &mut self,
        from: SiteIndex,
        to: SiteIndex,
        notice_ms: (u64, u64),
        change: impl FnOnce(&mut Link, End),
    ) {
        let (a, b) = pair(from, to);
        let Some(link) = self.links.get_mut(&(a, b)) else { return };
        change(link, usize::from(from != a));
        if link.is_up != link.is_open() {
            let session = link.session;
            let mut draw =
                random::concern(self.seed, "notice", &[a as u64, b as u64, self.time_ms]);
            let after_ms = draw.random_range(notice_ms.0..notice_ms.1);
            self.events.plan(self.time_ms + after_ms, WorldEvent::Notice { a, b, session });
        }
    }

    pub(super) fn notice_link(&mut self, a: SiteIndex, b: SiteIndex, session: u64) {
        let Some(link) = self.links.get(&(a, b)) else { return };
        if link.session == session && link.is_up != link.is_open() {
            let is_up = link.is_open();
            self.set_up(a, b, is_up);
        }
    }

    fn set_up(&mut self, a: SiteIndex, b: SiteIndex, is_up: bool) {
        if let Some(link) = self.links.get_mut(&pair(a, b)).filter(|link| link.is_up != is_up) {
            link.set_up(is_up);
            if is_up {
                let session = link.session;
                self.plan_search(a, b, session);
                self.plan_search(b, a, session);
            }
        }
        if !is_up {
            self.disconnect(a, b);
            self.disconnect(b, a);
        }
        self.refresh(a, b);
    }

    /// All connections of an office end, as when its node does.
    pub(super) fn disconnect_all(&mut self, office: SiteIndex) {
        for peer in self.neighbours[office].clone() {
            self.set_up(office, peer, false);
        }
    }

    /// All open links of an office connect.
    pub(super) fn connect_all(&mut self, office: SiteIndex) {
        for peer in self.neighbours[office].clone() {
            let is_open = self.links.get(&pair(office, peer)).is_some_and(Link::is_open);
            if is_open && self.replica(peer).is_some() {
                self.set_up(office, peer, true);
            }
        }
    }

    /// The members that an office knows have changed.
    pub(super) fn refresh_office(&mut self, office: SiteIndex) {
        for peer in self.neighbours[office].clone() {
            self.refresh(office, peer);
        }
    }

    /// Each side that knows the other as a member has it as a peer.
    fn refresh(&mut self, a: SiteIndex, b: SiteIndex) {
        let is_up = self.links.get(&pair(a, b)).is_some_and(|link| link.is_up);
        let is_up = is_up && self.replica(a).is_some() && self.replica(b).is_some();
        for (office, peer) in [(a, b), (b, a)] {
            let site = self.site_id(peer);
            let is_wanted =
                is_up && site != self.site_id(office) && self.sites[office].members.contains(&site);
            match (is_wanted, self.sites[office].is_connected(&site, peer)) {
                (true, false) => self.connect(office, peer),
                (false, true) => self.disconnect(office, peer),
                (true, true) | (false, false) => {}
            }
        }
    }

    /// Where a member was that is somewhere else or has another key, an office dials again and again, and finds the one who
    /// is there.
    fn plan_search(&mut self, office: SiteIndex, peer: SiteIndex, session: u64) {
        let known = self.sites[office].book.get(&peer);
        let is_missing = known.is_some_and(|site| {
            *site != self.sites[peer].id && self.sites[office].members.contains(site)
        });
        if is_missing {
            let numbers = [office as u64, peer as u64, self.time_ms];
            let mut draw = random::concern(self.seed, "search", &numbers);
            let after_ms = draw.random_range(REDIAL_MS.0..REDIAL_MS.1);
            self.events.plan(self.time_ms + after_ms, WorldEvent::Search { office, peer, session });
        }
    }

    pub(super) fn search(&mut self, office: SiteIndex, peer: SiteIndex, session: u64) {
        let link = self.links.get(&pair(office, peer));
        if link.is_none_or(|link| link.session != session || !link.is_up) {
            return;
        }
        let site = self.site_id(peer);
        if self.replica(peer).is_some() && !self.sites[office].members.contains(&site) {
            self.input(office, Input::Stranger(site));
        }
        self.plan_search(office, peer, session);
    }

    fn connect(&mut self, office: SiteIndex, peer: SiteIndex) {
        let site = self.site_id(peer);
        self.sites[office].book.insert(peer, site);
        let offices = self.sites[office].connected.entry(site).or_default();
        offices.insert(peer);
        if offices.len() == 1 {
            self.input(office, Input::PeerUp(site));
        }
    }

    fn disconnect(&mut self, office: SiteIndex, peer: SiteIndex) {
        let site = self.site_id(peer);
        let Some(offices) = self.sites[office].connected.get_mut(&site) else { return };
        if !offices.remove(&peer) {
            return;
        }
        let is_gone = offices.is_empty();
        let asked = &mut self.sites[office].asked;
        let failed: Vec<_> = asked.iter().filter(|(to, _)| *to == peer).copied().collect();
        asked.retain(|(to, _)| *to != peer);
        let fail = |(_, id)| Input::RequestFailed { to: site, id, unsupported: false };
        let mut inputs: Vec<_> = failed.into_iter().map(fail).collect();
        if is_gone {
            self.sites[office].connected.remove(&site);
            inputs.push(Input::PeerDown(site));
        }
        self.inputs(office, inputs);
    }

    /// Where a site is that an office has a connection with, member or not.
    pub(super) fn linked_office_of(&self, office: SiteIndex, site: &SiteId) -> Option<SiteIndex> {
        let is_linked = |other: &SiteIndex| {
            self.links.get(&pair(office, *other)).is_some_and(|link| link.is_up)
        };
        self.offices.get(site)?.iter().copied().find(is_linked)
    }

    pub(super) fn request(&mut self, office: SiteIndex, to: &SiteId, id: u64, body: Vec<u8>) {
        // Of two nodes with one key the one that connected first is asked, as long as it is there.
        let connected = self.sites[office].connected_member(to);
        let Some(peer) = connected.and_then(|all| all.first()).copied() else { return };
        self.sites[office].asked.insert((peer, id));
        let start = self.sites[office].starts;
        let at_ms = self.time_ms + REQUEST_TIMEOUT_MS;
        self.events.plan(at_ms, WorldEvent::TimedOut { office, peer, id, start });
        self.send(office, peer, Message::Request { id, body });
    }

    pub(super) fn time_out(&mut self, office: SiteIndex, peer: SiteIndex, id: u64, start: u32) {
        if self.sites[office].starts == start && self.sites[office].asked.remove(&(peer, id)) {
            let to = self.site_id(peer);
            self.input(office, Input::RequestFailed { to, id, unsupported: false });
        }
    }

    /// Hands a gossip message to all peers that listen, but for the one it came from.
    pub(super) fn spread(
        &mut self,
        office: SiteIndex,
        except: Option<SiteIndex>,
        topic: &str,
        data: &[u8],
    ) {
        let own = self.site_id(office);
        let site = &self.sites[office];
        let connected = site.connected.keys().filter_map(|peer| site.connected_member(peer));
        let peers: Vec<_> = connected.flatten().copied().collect();
        for peer in peers {
            // The other side must know this one too, or it hears nothing on that topic.
            let listens = self.sites[peer].topics.contains(topic)
                && self.sites[peer].is_connected(&own, office);
            if Some(peer) != except && listens {
                let (topic, data) = (topic.to_owned(), data.to_vec());
                self.send(office, peer, Message::Gossip { topic, data });
            }
        }
    }

    /// Puts a message on a link, as an office's node does; also for tests in which it lies.
    pub fn send(&mut self, from: SiteIndex, to: SiteIndex, mut message: Message) {
        let (a, b) = pair(from, to);
        let Some(link) = self.links.get_mut(&(a, b)).filter(|link| link.is_up) else { return };
        let swallowed = self.tamper.as_mut().is_some_and(|tamper| !tamper(from, to, &mut message));
        let bytes = message.bytes().len();
        let arrives = if swallowed {
            Err(LostTo::Sabotage)
        } else {
            link.send(usize::from(from != a), self.time_ms, bytes, message.is_gossip())
        };
        let session = link.session;
        let number = self.number();
        let message = Arc::new(message);
        if self.observations.is_some() {
            let (receiver, message) = (self.receiver(from, to), message.clone());
            self.observed(|| Observation::Sent { number, from, to, message, receiver });
        }
        match arrives {
            Ok(at_ms) => {
                self.events.plan(at_ms, WorldEvent::Deliver { number, from, to, session, message });
            }
            Err(lost) => self.observed(|| Observation::Lost { number, to: lost }),
        }
    }

    /// A message arrives, and with it all others that arrive there at this very time: they share one commit.
    pub(super) fn deliver(
        &mut self,
        number: u64,
        from: SiteIndex,
        to: SiteIndex,
        session: u64,
        message: Arc<Message>,
    ) {
        let mut inputs = Vec::new();
        inputs.extend(self.arrive(number, from, to, session, message));
        let mut from_all = Some(from);
        while inputs.len() < GROUP_INPUTS_MAX
            && let Some(event) = self.events.next_for(to, self.time_ms)
        {
            if let WorldEvent::Deliver { number, from, session, message, .. } = event {
                from_all = from_all.filter(|office| *office == from);
                inputs.extend(self.arrive(number, from, to, session, message));
            }
        }
        if !inputs.is_empty() {
            self.inputs_from(to, Some(from_all.unwrap_or(from)), inputs);
        }
    }

    /// What a message means to the replica, if it arrives and means something.
    fn arrive(
        &mut self,
        number: u64,
        from: SiteIndex,
        to: SiteIndex,
        session: u64,
        message: Arc<Message>,
    ) -> Option<Input> {
        let (a, b) = pair(from, to);
        let end = usize::from(from != a);
        let link = self.links.get_mut(&(a, b)).filter(|link| link.session == session);
        let lost = match link {
            None => Some(LostTo::Closed),
            Some(link) => {
                if message.is_gossip() {
                    link.gossip_arrived(end);
                }
                (!link.passes(end)).then_some(LostTo::Cut)
            }
        };
        if let Some(lost) = lost {
            self.observed(|| Observation::Lost { number, to: lost });
            return None;
        }
        self.observed(|| Observation::Delivered { number });
        let sender = self.site_id(from);
        let token = self.number();
        let now_ms = self.time_ms;
        match Arc::unwrap_or_clone(message) {
            Message::Gossip { topic, data } => {
                let site = &mut self.sites[to];
                if !site.seen.insert(&data, now_ms) {
                    return None;
                }
                site.gossip.keep(token, (from, topic, data.clone()));
                Some(Input::Gossip { from: sender, token, data })
            }
            Message::Request { id, body } => {
                self.count_bytes(&body);
                if !self.sites[to].members.contains(&sender) {
                    self.send(to, from, Message::Unsupported { id });
                    return None;
                }
                self.sites[to].requests.keep(token, (from, id));
                Some(Input::Request { from: sender, token, body })
            }
            Message::Response { id, body } => {
                self.count_bytes(&body);
                let asked = self.sites[to].asked.remove(&(from, id));
                asked.then_some(Input::Response { from: sender, id, body })
            }
            Message::Unsupported { id } => {
                let asked = self.sites[to].asked.remove(&(from, id));
                asked.then_some(Input::RequestFailed { to: sender, id, unsupported: true })
            }
            Message::Introduction { body } => {
                self.sites[to].requests.keep(token, (from, 0));
                Some(Input::Introduction { from: sender, token, body })
            }
            Message::IntroductionAnswer { body } => {
                Some(Input::IntroductionAnswer { from: sender, body })
            }
        }
    }

    fn count_bytes(&mut self, body: &[u8]) {
        self.traffic.messages += 1;
        self.traffic.bytes += body.len() as u64;
    }

    /// Lets an office find out that a linked one does not know it as a member.
    pub fn present(&mut self, office: SiteIndex, to: SiteIndex) {
        let to = self.site_id(to);
        self.input(office, Input::RequestFailed { to, id: 0, unsupported: true });
    }
}
