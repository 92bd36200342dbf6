//! The spaces that are held here: the network's own, which every member holds, and private ones, of which only the
//! sites that share one learn anything.
//!
//! Whatever is sent of a space goes through [`Replica::shares`]. Of private spaces nothing is gossiped, since topics
//! show who listens: the sites of one tell each other directly (`inform`). Who was let in hears of it in the answer
//! to a pull of the network's members, with the proof.

use std::collections::BTreeSet;
use std::collections::btree_map::Entry as Slot;

use super::{Notice, Output, Replica};
use crate::codec;
use crate::entry::{Body, Entry};
use crate::ids::{NetworkId, SiteId, SpaceId};
use crate::membership::{Members, Operation, Role, SpaceDocument};
use crate::protocol::{
    Gossip, INVITATIONS_BYTES_MAX, Invitation, Request, pack_entries, topic, unpack_entries,
};
use crate::store::{Store, StoreError};
use crate::tables::logs;
use crate::tables::{decode_row, walk};

/// Private spaces of one site: each has its logs and members in memory.
const SPACES_MAX: usize = 1024;
/// A site that does not take an invitation up is told again after this long.
const INVITE_AGAIN_MS: u64 = 60_000;

/// A space that some sites share.
#[derive(Debug)]
pub(super) struct PrivateSpace {
    pub(super) document: SpaceDocument,
    pub(super) members: Members,
    /// A site of it has shown that this site was shut out, by this admin.
    pub(super) told_revoked_by: Option<SiteId>,
}

/// A private space that is held here, as programs address it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeldSpace {
    /// Its name.
    pub name: String,
    /// The hash of its document.
    pub root: NetworkId,
}

/// Which private spaces two sites share, as one of them knows it.
pub(super) type SharedDigest = [u8; 8];

/// The invitations that a peer was last sent: by what it said to share, by what it shares, and when.
#[derive(Clone, Copy, Debug)]
pub(super) struct Invited {
    said: SharedDigest,
    shared: SharedDigest,
    at_ms: u64,
}

impl<S: Store> Replica<S> {
    /// What stands for the network's id in a space that is held here; in the network's own it is that id.
    pub(super) fn root_of(&self, space: SpaceId) -> Option<NetworkId> {
        self.roots.get(&space).copied()
    }

    /// The sites of the spaces with this root.
    pub fn members_of(&self, root: NetworkId) -> Option<&Members> {
        match self.network() == Some(root) {
            true => self.members(),
            false => self.private.get(&root).map(|space| &space.members),
        }
    }

    /// Whether a member of the network may be sent anything of a space, or asked for it.
    pub(super) fn shares(&self, site: SiteId, space: SpaceId) -> bool {
        match self.root_of(space) {
            Some(root) if self.network() == Some(root) => true,
            Some(root) => self.private.get(&root).is_some_and(|held| self.is_in(held, site)),
            None => false,
        }
    }

    /// Whether a member of the network is in a private space: by its key, or by a former one that it has replaced, for
    /// it brings the word of that itself.
    pub(super) fn is_in(&self, space: &PrivateSpace, site: SiteId) -> bool {
        let is_in = |key: SiteId| space.members.get(&key).is_some();
        let members = self.members().filter(|members| members.get(&site).is_some());
        members.is_some_and(|members| members.keys_of(site).any(is_in))
    }

    /// What this site may do in the space of records with this root; see [`Replica::role`] for the network's.
    pub(super) fn role_in(&self, root: NetworkId) -> Option<Role> {
        match self.private.get(&root) {
            Some(space) => space.members.get(&self.site()).map(|member| member.role),
            None => self.role().filter(|_| self.network() == Some(root)),
        }
    }

    /// Who shut this site out of a private space; itself if it left.
    pub(super) fn revoked_from(&self, root: NetworkId) -> Option<SiteId> {
        let space = self.private.get(&root)?;
        let revoked = space.members.revoked().get(&self.site()).map(|revoked| revoked.by);
        revoked.or(space.told_revoked_by)
    }

    /// The network's id, and the root of each private space that this site is in.
    pub fn roots(&self) -> Vec<NetworkId> {
        let own = self.site();
        let private = self.private.iter().filter(|(_, space)| space.members.get(&own).is_some());
        self.network().into_iter().chain(private.map(|(root, _)| *root)).collect()
    }

    /// Of them, those that nobody has shown this site to be shut out of.
    pub(super) fn open_roots(&self) -> Vec<NetworkId> {
        self.roots().into_iter().filter(|root| self.revoked_from(*root).is_none()).collect()
    }

    /// All spaces that are held here.
    pub fn held_spaces(&self) -> Vec<SpaceId> {
        self.spaces.keys().copied().collect()
    }

    /// Holds the two spaces of a root from now on.
    pub(super) fn hold(&mut self, root: NetworkId) {
        for space in [root.membership_space(), root.main_space()] {
            self.spaces.entry(space).or_default();
            self.receipts.entry(space).or_default();
            self.roots.insert(space, root);
        }
    }

    /// Knows a private space from now on.
    pub(super) fn enter_space(&mut self, document: SpaceDocument) {
        let root = document.root();
        if let Slot::Vacant(vacant) = self.private.entry(root) {
            let members = document.members();
            vacant.insert(PrivateSpace { document, members, told_revoked_by: None });
            self.hold(root);
            self.tell_spaces();
        }
    }

    /// Enters the private spaces that the tables know.
    pub(super) fn load_private(&mut self) -> Result<(), StoreError> {
        let mut documents: Vec<SpaceDocument> = Vec::new();
        walk(&self.store, logs::SPACES, None, |_, value| {
            documents.push(decode_row("space document", value)?);
            Ok(true)
        })?;
        for document in documents {
            self.enter_space(document);
        }
        Ok(())
    }

    /// The private spaces that are held here.
    pub fn private_spaces(&self) -> Vec<HeldSpace> {
        let held = |(root, space): (&NetworkId, &PrivateSpace)| HeldSpace {
            name: space.document.name.clone(),
            root: *root,
        };
        self.private.iter().map(held).collect()
    }

    /// Says which private spaces are held.
    pub(super) fn tell_spaces(&mut self) {
        self.outputs.push_back(Output::Spaces(self.private_spaces()));
    }

    /// Whether a space with this name can be made here.
    pub(super) fn has_space_named(&self, name: &str) -> bool {
        self.private.values().any(|space| space.document.name == name)
    }

    /// Whether there is room for another private space.
    pub(super) fn has_room_for_space(&self) -> bool {
        self.private.len() + self.stage.spaces.len() < SPACES_MAX
    }

    /// The roots of the private spaces that this site and another are in, as far as this one knows.
    fn shared_with(&self, site: SiteId) -> Vec<NetworkId> {
        let own = self.site();
        let both =
            |space: &PrivateSpace| space.members.get(&own).is_some() && self.is_in(space, site);
        let shared = self.private.iter().filter(|(_, space)| both(space));
        shared.map(|(root, _)| *root).collect()
    }

    /// Which private spaces this site and another share. Says nothing to whom it does not concern.
    pub(super) fn shared_digest(&self, with: SiteId) -> SharedDigest {
        digest_of(&self.shared_with(with))
    }

    /// What a site that shares private spaces with this one may not know of them: all that it takes to enter them.
    /// `said`: what it says to share.
    pub(super) fn invitations_for(
        &mut self,
        site: SiteId,
        said: SharedDigest,
    ) -> Result<Vec<Invitation>, StoreError> {
        let roots = self.shared_with(site);
        let shared = digest_of(&roots);
        let at_ms = self.now.monotonic_ms;
        let Some(peer) = self.peers.get_mut(&site).filter(|_| shared != said) else {
            return Ok(Vec::new());
        };
        let is_told = peer.invited.is_some_and(|invited| {
            (invited.said, invited.shared) == (said, shared)
                && at_ms < invited.at_ms + INVITE_AGAIN_MS
        });
        if is_told {
            return Ok(Vec::new());
        }
        peer.invited = Some(Invited { said, shared, at_ms });
        let (mut invitations, mut bytes) = (Vec::new(), 0);
        for root in roots {
            let Some(invitation) = self.invitation(root)? else { continue };
            bytes += invitation.entries.len();
            // The others are told when these are known.
            if bytes > INVITATIONS_BYTES_MAX && !invitations.is_empty() {
                break;
            }
            invitations.push(invitation);
        }
        Ok(invitations)
    }

    fn invitation(&self, root: NetworkId) -> Result<Option<Invitation>, StoreError> {
        let Some(space) = self.private.get(&root) else { return Ok(None) };
        let entries = self.first_membership_entries(root, INVITATIONS_BYTES_MAX)?;
        let entries = pack_entries(&entries);
        Ok(Some(Invitation { document: space.document.clone(), entries }))
    }

    /// Enters the private spaces that another site shows this one to be in.
    pub(super) fn take_invitations(
        &mut self,
        from: SiteId,
        invitations: Vec<Invitation>,
    ) -> Result<(), StoreError> {
        for Invitation { document, entries } in invitations {
            let root = document.root();
            let entries = unpack_entries(&entries).unwrap_or_default();
            if !self.private.contains_key(&root) {
                if let Err(reason) = self.may_enter(&document, &entries) {
                    self.notice(Notice::Refused { from, reason: reason.to_owned() });
                    continue;
                }
                let name = document.name.clone();
                self.stage.spaces.push(document);
                if !self.commit()? {
                    return Ok(());
                }
                self.notice(Notice::SpaceEntered { name, root });
            }
            self.take_membership_entries(root, &entries)?;
            self.pull(from, root.membership_space());
            self.pull(from, root.main_space());
        }
        Ok(())
    }

    fn may_enter(&self, document: &SpaceDocument, entries: &[Entry]) -> Result<(), &'static str> {
        if self.network() != Some(document.network) {
            return Err("an invitation to a space of another network");
        }
        if !self.has_room_for_space() {
            return Err("an invitation to more spaces than a site can hold");
        }
        match admits(document, entries, self.site()) {
            true => Ok(()),
            false => Err("an invitation to a space that does not show this site to be in it"),
        }
    }

    /// Folds membership entries of a private space in, and asks its sites for what could not be accepted before. Those
    /// who were let in or shut out, and are connected, are told that there is something to ask for.
    pub(super) fn learn_space_members(
        &mut self,
        root: NetworkId,
        entries: &[&Entry],
    ) -> Result<(), StoreError> {
        let Some(space) = self.private.get_mut(&root) else { return Ok(()) };
        let before = space.members.sites();
        if !space.members.extend(entries.iter().filter_map(|entry| operations_of(entry))) {
            return Ok(());
        }
        let after = space.members.sites();
        self.set_told_revoked_by(root, None)?;
        for space in [root.membership_space(), root.main_space()] {
            if let Some(receipts) = self.receipts.get_mut(&space) {
                receipts.retain(|site| after.contains(site));
            }
        }
        let Some(network) = self.network() else { return Ok(()) };
        let connected: BTreeSet<SiteId> = self.peers.keys().copied().collect();
        for site in connected {
            match (before.contains(&site), after.contains(&site)) {
                (true, true) => self.pull(site, root.main_space()),
                (false, true) => {
                    self.pull(site, root.main_space());
                    self.hint(site, network.membership_space());
                }
                (true, false) => {
                    self.stop_exchange(site, root);
                    self.hint(site, root.membership_space());
                }
                (false, false) => {}
            }
        }
        Ok(())
    }

    /// As an admin of private spaces, shuts out of them who is no member of the network any more.
    pub(super) fn follow_revocations(&mut self) {
        let Some(members) = self.members() else { return };
        let gone: BTreeSet<SiteId> = members.revoked().keys().copied().collect();
        let own = self.site();
        let mut revoked = Vec::new();
        for (root, space) in &self.private {
            let members = &space.members;
            for site in gone.iter().filter(|site| members.get(site).is_some()) {
                if members.has_role(&own, Role::Admin) && members.is_senior(&own, site) {
                    revoked.push((*root, *site));
                }
            }
        }
        for (root, site) in revoked {
            let operation = self.revocation_of(root, site);
            self.stage.operations.push((root, operation));
        }
    }

    /// Spreads something new of a space: by its topic where all members hold it, and else to each connected site of it.
    pub(super) fn inform(&mut self, space: SpaceId, gossip: &Gossip) {
        let Some(root) = self.root_of(space) else { return };
        if self.network() == Some(root) {
            self.outputs.push_back(Output::Publish {
                topic: topic(root, space),
                data: codec::encode(gossip),
            });
            return;
        }
        let author = match gossip {
            Gossip::Announce { tip, .. } => Some(tip.author.site),
            Gossip::Receipt(receipt) => Some(receipt.site),
            Gossip::Entry(_) | Gossip::News(_) => None,
        };
        let peers = self.peers.keys().copied().filter(|site| Some(*site) != author);
        let sites: Vec<SiteId> = peers.filter(|site| self.shares(*site, space)).collect();
        for site in sites {
            self.inform_site(site, space, gossip.clone());
        }
    }

    /// Tells one site: now, or when it has taken in what it was told of that space before.
    pub(super) fn inform_site(&mut self, to: SiteId, space: SpaceId, gossip: Gossip) {
        let Some(peer) = self.peers.get_mut(&to) else { return };
        let is_full = peer.is_full();
        let told = peer.told.entry(space).or_default();
        if is_full || told.in_flight.is_some() {
            // Of several things none is worth more than that there is something.
            told.next = Some(if told.next.is_none() { gossip } else { Gossip::News(space) });
            return;
        }
        self.request_count += 1;
        let id = self.request_count;
        told.in_flight = Some(id);
        let body = codec::encode(&Request::Tell(gossip));
        self.outputs.push_back(Output::Request { to, id, body });
    }

    /// Asks and tells a site nothing more of the spaces of a root that it is out of; what waits to be said is not.
    fn stop_exchange(&mut self, with: SiteId, root: NetworkId) {
        let Some(peer) = self.peers.get_mut(&with) else { return };
        let mut ended = Vec::new();
        for space in [root.membership_space(), root.main_space()] {
            peer.waiting.remove(&space);
            ended.extend(peer.pulls.remove(&space).and_then(|state| Some(state.in_flight?.id)));
            ended.extend(peer.told.remove(&space).and_then(|told| told.in_flight));
        }
        self.outputs.retain(|output| {
            !matches!(output, Output::Request { to, id, .. } if *to == with && ended.contains(id))
        });
    }

    /// Tells a site that it may find something in a space.
    fn hint(&mut self, to: SiteId, space: SpaceId) {
        self.inform_site(to, space, Gossip::News(space));
    }

    /// A site has taken in what it was told, or could not be reached. `false`: the request was another.
    pub(super) fn told(&mut self, to: SiteId, id: u64) -> bool {
        let peer = self.peers.get_mut(&to);
        let told = peer.and_then(|peer| peer.told.values_mut().find(|t| t.in_flight == Some(id)));
        told.is_some_and(|told| told.in_flight.take().is_some())
    }
}

fn digest_of(roots: &[NetworkId]) -> SharedDigest {
    let mut digest = SharedDigest::default();
    if !roots.is_empty() {
        let hash = blake3::derive_key("branchline 1 shared spaces", &codec::encode(&roots));
        digest.copy_from_slice(&hash[..8]);
    }
    digest
}

/// Whether membership entries of a space show that a site is in it.
fn admits(document: &SpaceDocument, entries: &[Entry], site: SiteId) -> bool {
    let root = document.root();
    let mut members = document.members();
    let of_space = |entry: &&Entry| {
        let header = &entry.header;
        header.network == root && header.space == root.membership_space() && entry.is_signed()
    };
    members.extend(entries.iter().filter(of_space).filter_map(operations_of));
    members.get(&site).is_some()
}

/// A membership entry with its operations.
pub(super) fn operations_of(entry: &Entry) -> Option<(&Entry, Vec<Operation>)> {
    match entry.body() {
        Ok(Body::Membership(operations)) => Some((entry, operations)),
        Ok(Body::Transactions(_)) | Err(_) => None,
    }
}
