//! Notifying members of something: by gossip in the network's own spaces, and in a private one each site of it by itself,
//! since topics show who listens.

use std::collections::BTreeSet;

use super::Links;
use crate::format::codec;
use crate::ids::{RealmId, SiteId, SpaceId};
use crate::membership::Members;
use crate::protocol::{Gossip, Request, topic};
use crate::replica::Output;
use crate::replica::context::Context;
use crate::replica::outbox::Outbox;
use crate::store::Store;

impl Links {
    /// Says something of a space to those who are in it: by its topic where all members hold it, or else to each connected
    /// site of it.
    pub(in crate::replica) fn notify<S: Store>(
        &mut self,
        cx: Context<'_, S>,
        out: &mut Outbox,
        space: SpaceId,
        gossip: &Gossip,
    ) {
        let Some(realm) = cx.realms.realm_of(space) else { return };
        if cx.realms.is_network(realm) {
            out.push(Output::Publish { topic: topic(realm, space), data: codec::encode(gossip) });
            return;
        }
        let author = match gossip {
            Gossip::Announce { tip, .. } => Some(tip.author.site),
            Gossip::Receipt(receipt) => Some(receipt.site),
            Gossip::Entry(_) | Gossip::Entries(_) | Gossip::Hint(_) => None,
        };
        let peers = self.peers.keys().copied().filter(|site| Some(*site) != author);
        let sites: Vec<SiteId> = peers.filter(|site| cx.realms.shares(*site, space)).collect();
        for site in sites {
            self.notify_site(out, site, space, gossip.clone());
        }
    }

    /// Notifies one site: now, or when it has taken in the notification of that space before it.
    pub(in crate::replica) fn notify_site(
        &mut self,
        out: &mut Outbox,
        to: SiteId,
        space: SpaceId,
        gossip: Gossip,
    ) {
        let Some(peer) = self.peers.get_mut(&to) else { return };
        let is_full = peer.is_full();
        let queue = peer.notifications.entry(space).or_default();
        if is_full || queue.in_flight.is_some() {
            // Of several things none is worth more than that there is something.
            queue.next = Some(if queue.next.is_none() { gossip } else { Gossip::Hint(space) });
            return;
        }
        self.request_count += 1;
        let id = self.request_count;
        queue.in_flight = Some(id);
        let body = codec::encode(&Request::Notify(gossip));
        out.push(Output::Request { to, id, body });
    }

    /// Cancels the requests to a site that has left a realm, and withdraws what still waits to be sent to it.
    fn cancel_requests(&mut self, out: &mut Outbox, with: SiteId, realm: RealmId) {
        let Some(peer) = self.peers.get_mut(&with) else { return };
        let mut ended = Vec::new();
        for space in realm.spaces() {
            peer.waiting.remove(&space);
            peer.again.remove(&space);
            ended.extend(peer.pulls.remove(&space).and_then(|state| Some(state.in_flight?.id)));
            ended.extend(peer.notifications.remove(&space).and_then(|queue| queue.in_flight));
        }
        out.drop_where(|output| {
            matches!(output, Output::Request { to, id, .. } if *to == with && ended.contains(id))
        });
    }

    /// The sites of a private space are others than `before`: asks them for what could not be accepted before. Those who were
    /// let in or shut out, and are connected, hear that there is something to ask for.
    pub(in crate::replica) fn meet_sites_of<S: Store>(
        &mut self,
        cx: Context<'_, S>,
        out: &mut Outbox,
        realm: RealmId,
        before: &BTreeSet<SiteId>,
    ) {
        let Some(network) = cx.realms.network() else { return };
        let after = cx.realms.members_of(realm).map(Members::sites).unwrap_or_default();
        let connected: Vec<SiteId> = self.peers.keys().copied().collect();
        for site in connected {
            match (before.contains(&site), after.contains(&site)) {
                (true, true) => self.pull(cx, out, site, realm.main_space()),
                (false, true) => {
                    self.pull(cx, out, site, realm.main_space());
                    self.hint(out, site, network.membership_space());
                }
                (true, false) => {
                    self.cancel_requests(out, site, realm);
                    self.hint(out, site, realm.membership_space());
                }
                (false, false) => {}
            }
        }
    }

    /// Notifies a site that it may find something in a space.
    fn hint(&mut self, out: &mut Outbox, to: SiteId, space: SpaceId) {
        self.notify_site(out, to, space, Gossip::Hint(space));
    }

    /// Ends the request by which a site was notified: it has taken that in, or could not be reached. `false`: the request
    /// was another.
    pub(in crate::replica) fn end_notification(&mut self, to: SiteId, id: u64) -> bool {
        let peer = self.peers.get_mut(&to);
        let queues = peer.map(|peer| peer.notifications.values_mut());
        let queue = queues.and_then(|mut queues| queues.find(|queue| queue.in_flight == Some(id)));
        queue.is_some_and(|queue| queue.in_flight.take().is_some())
    }
}
