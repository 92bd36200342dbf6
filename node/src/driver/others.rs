//! What is noted of the other sites, and what is said of it.

use std::collections::{BTreeMap, BTreeSet};

use branchline_crdt::Replica;
use branchline_crdt::ids::SiteId;
use branchline_crdt::replica::{SiteNotes, Status};
use libp2p::PeerId;
use tracing::{error, info, warn};

use super::Driver;
use crate::network::{IntroductionFailure, RequestFailure};
use crate::peers::added::AddedSeen;
use crate::peers::heard::HeardAt;
use crate::peers::others::{Copies, PendingTicket, Standing};
use crate::site::{ADDED_FILE, HEARD_FILE};
use crate::storage::Storage;
use crate::storage::reserve::DiskRoom;

/// What a node knows of itself and of the others at one moment.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    /// What the replica knows.
    pub(crate) status: Status,
    /// How this site stands.
    pub(crate) standing: Standing,
    /// When each other site was last heard.
    pub(crate) heard: BTreeMap<SiteId, HeardAt>,
    /// The sites of which two copies are at work.
    pub(crate) copies: Vec<Copies>,
    /// Room on the disk.
    pub(crate) room: DiskRoom,
}

impl Driver {
    /// The replica, to look at.
    pub(crate) fn replica(&self) -> &Replica<Storage> {
        &self.replica
    }

    /// What is known at this moment.
    pub(crate) fn seen(&self) -> Seen {
        let now = Self::now(self.started);
        let status = self.replica.status();
        let standing = self.others.standing(&status, self.replica.realms().ticket(), now);
        let (heard, copies) = (self.others.heard.moments(now), self.others.copies());
        let room = self.room().clone();
        Seen { status, standing, heard, copies, room }
    }

    /// When each other site was last heard.
    pub(crate) fn heard(&self) -> BTreeMap<SiteId, HeardAt> {
        self.others.heard.moments(Self::now(self.started))
    }

    /// How much each site has added.
    pub(crate) fn added(&self) -> AddedSeen {
        self.added.seen(Self::now(self.started))
    }

    /// Something came from a member.
    pub(super) fn note_heard(&mut self, peer: &PeerId) {
        if let Some(site) = SiteId::from_peer_id(peer) {
            self.others.heard.note(site, Self::now(self.started));
        }
    }

    /// A member answered a request, as it does to members alone.
    pub(super) fn note_answered(&mut self, peer: &PeerId) {
        if let Some(site) = SiteId::from_peer_id(peer) {
            self.others.answered(site);
        }
    }

    /// What the replica has noted of other sites.
    pub(super) fn note_of_others(&mut self) {
        let now = Self::now(self.started);
        let SiteNotes { receipts, taken } = self.replica.take_notes();
        self.added.note(taken, now);
        for (site, receipt) in receipts {
            self.others.heard.note_receipt(site, receipt, now);
        }
    }

    /// An introduction was not answered. While this site holds a ticket, the operator has to know why.
    pub(super) fn note_unreached(&mut self, to: &PeerId, reason: &IntroductionFailure) {
        let is_told = match reason {
            // Another attempt is under way.
            IntroductionFailure::Failed(RequestFailure::Busy { .. }) => false,
            IntroductionFailure::Failed(_) | IntroductionFailure::Unreachable(_) => true,
        };
        let Some(ticket) = self.replica.realms().ticket().filter(|_| is_told) else { return };
        let inviter = PendingTicket::from(ticket).inviter;
        let error = reason.to_string();
        if self.others.unreached(&error, Self::now(self.started)) {
            warn!(peer = %to, site = %inviter, error, "the ticket leads to no member: the addresses do not answer; --peer gives another one");
        }
    }

    /// Two copies of a site are noticed.
    pub(super) fn note_copies(&mut self, site: SiteId, addresses: Vec<String>) {
        let reported = addresses.join(" ");
        if self.others.found_copies(site, addresses, Self::now(self.started)) {
            let name = self.replica.status().names().remove(&site).unwrap_or_default();
            error!(%site, name, addresses = reported, "two copies of one site are running: stop one, and give it a folder of its own");
        }
    }

    /// Time has passed.
    pub(super) fn tick_others(&mut self) {
        let now = Self::now(self.started);
        for site in self.others.copies_that_ended(now) {
            info!(%site, "no sign of two copies of the site any more");
        }
        if self.others.heard.is_due(now) {
            let path = self.folder.path().join(HEARD_FILE);
            self.others.heard.save(path, &member_sites(&self.replica), now);
        }
        if self.added.is_due(now) {
            self.added.save(self.folder.path().join(ADDED_FILE), now);
        }
    }
}

/// Whose silence is kept over restarts.
pub(super) fn member_sites(replica: &Replica<Storage>) -> BTreeSet<SiteId> {
    replica.realms().members().map(|members| members.sites()).unwrap_or_default()
}
