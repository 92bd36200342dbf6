//! What the network tells, as the replica's inputs.

use std::collections::BTreeMap;

use branchline_crdt::ids::SiteId;
use branchline_crdt::replica::Input;
use branchline_crdt::replica::pace::GROUP_INPUTS_MAX;
use branchline_crdt::store::StoreError;
use libp2p::PeerId;
use tracing::{debug, info, warn};

use super::Driver;
use crate::log_limit::Subject;
use crate::network::{Event, RequestFailure};

/// Tokens of gossip messages that were not judged; older ones are forgotten, as gossipsub itself does.
const UNJUDGED_MAX: usize = 4096;
/// Requests of members that wait for an answer. All of one group do; older ones are those that never get one.
const REQUESTS_MAX: usize = 2 * GROUP_INPUTS_MAX;
/// The same for introductions.
const INTRODUCTIONS_MAX: usize = 2 * GROUP_INPUTS_MAX;

impl Driver {
    pub(super) fn take_event(&mut self, event: Event) -> Result<(), StoreError> {
        match event {
            Event::Listening(address) => {
                info!(%address, "listening");
                self.known.send_modify(|known| {
                    known.listening.retain(|other| *other != address);
                    known.listening.push(address);
                });
                Ok(())
            }
            Event::NotListening(gone) => {
                info!(address = %gone, "no longer listening");
                self.known.send_modify(|known| known.listening.retain(|address| *address != gone));
                Ok(())
            }
            Event::PeerUp { peer, address, .. } => {
                if self.may_tell_of(&peer) {
                    info!(%peer, %address, "peer connected");
                }
                if let Some(site) = SiteId::from_peer_id(&peer) {
                    self.connected.insert(site, peer);
                }
                self.feed_from(&peer, Input::PeerUp)
            }
            Event::PeerDown { peer } => {
                if self.may_tell_of(&peer) {
                    info!(%peer, "peer disconnected");
                }
                self.connected.retain(|_, connected| *connected != peer);
                self.note_link_down(&peer);
                self.feed_from(&peer, Input::PeerDown)
            }
            Event::Refused { from, reason } => {
                if self.may_tell_of(&from) {
                    warn!(peer = %from, reason, "refused");
                }
                Ok(())
            }
            Event::Gossip { source, id, topic: _, data } => {
                let token = self.number();
                keep(&mut self.gossip, token, (id, source), UNJUDGED_MAX);
                self.note_heard(&source);
                self.feed_from(&source, |from| Input::Gossip { from, token, data })
            }
            Event::Request { from, token, body } => {
                let number = self.number();
                keep(&mut self.requests, number, token, REQUESTS_MAX);
                self.note_heard(&from);
                self.feed_from(&from, |from| Input::Request { from, token: number, body })
            }
            Event::Response { from, id, body } => {
                self.note_answer(id);
                self.note_heard(&from);
                self.note_answered(&from);
                self.feed_from(&from, |from| Input::Response { from, id, body })?;
                // The next pull goes out before anything else of the group is taken in.
                self.act();
                Ok(())
            }
            Event::RequestFailed { to, id, reason } => {
                debug!(peer = %to, %reason, "a request failed");
                self.note_failed_request(id);
                let unsupported = reason == RequestFailure::Unsupported;
                self.feed_from(&to, |to| Input::RequestFailed { to, id, unsupported })
            }
            Event::Introduction { from, token, body } => {
                let number = self.number();
                keep(&mut self.introductions, number, token, INTRODUCTIONS_MAX);
                self.feed_from(&from, |from| Input::Introduction { from, token: number, body })
            }
            Event::Copies { peer, addresses } => {
                if let Some(site) = SiteId::from_peer_id(&peer) {
                    let addresses = addresses.iter().map(ToString::to_string).collect();
                    self.note_copies(site, addresses);
                }
                Ok(())
            }
            Event::Stranger { peer } => {
                debug!(%peer, "a stranger answers where a member was");
                self.feed_from(&peer, Input::Stranger)
            }
            Event::IntroductionAnswer { from, id: _, body } => {
                self.others.reached();
                self.feed_from(&from, |from| Input::IntroductionAnswer { from, body })
            }
            Event::IntroductionFailed { to, id: _, reason } => {
                debug!(peer = %to, %reason, "the introduction failed");
                self.note_unreached(&to, &reason);
                Ok(())
            }
        }
    }

    /// Whether another log line that a peer causes may be written.
    pub(super) fn may_tell_of(&mut self, peer: &PeerId) -> bool {
        SiteId::from_peer_id(peer).is_some_and(|site| self.log_limit.admits(Subject::Site(site)))
    }

    fn feed_from(
        &mut self,
        peer: &PeerId,
        input: impl FnOnce(SiteId) -> Input,
    ) -> Result<(), StoreError> {
        match SiteId::from_peer_id(peer) {
            Some(site) => self.feed(input(site)),
            // Only ed25519 keys are sites; the network layer lets no other key in as a member.
            None => Ok(()),
        }
    }
}

/// Keeps a token until it is used, and the newest `max` of those that never are.
pub(super) fn keep<T>(tokens: &mut BTreeMap<u64, T>, number: u64, token: T, max: usize) {
    tokens.insert(number, token);
    while tokens.len() > max {
        tokens.pop_first();
    }
}
