//! The realms that a site holds: its network, and the private spaces within it that it shares.
//!
//! A private space is a network within the network: it begins with a document whose hash is its id, has members of its
//! own who are decided in a log of its own, and a log of records. So both are one type, and what is said of the one
//! holds for the other. The network is the realm without a [`SpaceDocument`]; every site holds it before any other.

mod access;
pub(in crate::replica) mod admission;
mod decide;
pub(in crate::replica) mod former_keys;
pub(in crate::replica) mod introduction;
mod replay;
pub(in crate::replica) mod rounds;
mod sites;
pub(in crate::replica) mod spaces;
#[cfg(test)]
mod tests;
mod tickets;

pub(in crate::replica) use access::{SharedDigest, digest_of};
pub(in crate::replica) use decide::Decider;

use std::collections::btree_map::Entry as Slot;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::links::receipts::Receipts;
use crate::ids::{RealmId, SiteId, SpaceId};
use crate::log::entry::{Body, Entry};
use crate::log::frontier::Frontier;
use crate::log::receipt::Receipt;
use crate::membership::{FormerKey, Genesis, Members, Operation, SpaceDocument, Ticket};
use crate::store::StoreError;
use crate::store::logs::Logs;
use crate::store::tables::ReadTables;

/// A network, or a private space within it.
#[derive(Debug)]
pub(in crate::replica) struct Realm {
    id: RealmId,
    /// What a private space begins with; `None`: it is the network.
    document: Option<SpaceDocument>,
    /// Shared between replicas of one process where there are thousands.
    members: Arc<Members>,
    /// Of the membership space.
    control: Channel,
    /// Of the space of records.
    records: Channel,
    /// A member has shown that this site was shut out, by this admin.
    revocation_notice: Option<SiteId>,
}

/// What is held of one of a realm's two spaces.
#[derive(Debug, Default)]
pub(in crate::replica) struct Channel {
    pub(in crate::replica) logs: Logs,
    pub(in crate::replica) receipts: Receipts,
}

/// What a space of a realm is of.
#[derive(Clone, Copy, Debug)]
enum Of {
    Members,
    Records,
}

/// All realms that a site holds.
#[derive(Debug)]
pub struct Realms {
    own: SiteId,
    network: Option<Network>,
    by_id: BTreeMap<RealmId, Realm>,
    /// The ids of spaces are hashes, which are not made again whenever one is looked up.
    by_space: BTreeMap<SpaceId, (RealmId, Of)>,
}

/// What makes one of the realms this site's network.
#[derive(Debug)]
struct Network {
    id: RealmId,
    /// The ticket to join with, until this site is a member.
    ticket: Option<Ticket>,
    /// By member, the site that has shown to go on for it, until the entries say so.
    successors: BTreeMap<SiteId, SiteId>,
}

/// A private space that is held here, as programs address it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeldSpace {
    /// Its name.
    pub name: String,
    /// The hash of its document.
    pub realm: RealmId,
}

impl Realm {
    fn new(id: RealmId, document: Option<SpaceDocument>, members: Members) -> Self {
        let (control, records) = (Channel::default(), Channel::default());
        let members = Arc::new(members);
        Self { id, document, members, control, records, revocation_notice: None }
    }

    pub(in crate::replica) fn members(&self) -> &Members {
        &self.members
    }

    /// What a private space begins with.
    pub(in crate::replica) fn document(&self) -> Option<&SpaceDocument> {
        self.document.as_ref()
    }

    /// What is held of one of its spaces.
    fn channel(&self, of: Of) -> &Channel {
        match of {
            Of::Members => &self.control,
            Of::Records => &self.records,
        }
    }

    fn channel_mut(&mut self, of: Of) -> &mut Channel {
        match of {
            Of::Members => &mut self.control,
            Of::Records => &mut self.records,
        }
    }

    fn channels_mut(&mut self) -> [&mut Channel; 2] {
        [&mut self.control, &mut self.records]
    }

    /// Folds membership entries in. `Some`: who the members were, where they may be others now.
    pub(in crate::replica) fn learn<'a>(
        &mut self,
        entries: impl Iterator<Item = &'a Entry>,
    ) -> Option<BTreeSet<SiteId>> {
        let before = self.members.sites();
        let changed = Arc::make_mut(&mut self.members).extend(entries.filter_map(operations_of));
        changed.then_some(before)
    }

    /// Remembers by whom this site was shown to be shut out. Says whether that is another than before.
    pub(in crate::replica) fn note_revoked_by(&mut self, by: Option<SiteId>) -> bool {
        std::mem::replace(&mut self.revocation_notice, by) != by
    }
}

impl Realms {
    /// None, of this site.
    pub(in crate::replica) fn new(own: SiteId) -> Self {
        Self { own, network: None, by_id: BTreeMap::new(), by_space: BTreeMap::new() }
    }

    /// The network, once it is known (a ticket or the genesis document names it).
    pub fn network(&self) -> Option<RealmId> {
        self.network.as_ref().map(|network| network.id)
    }

    /// Whether a realm is the network.
    pub(in crate::replica) fn is_network(&self, realm: RealmId) -> bool {
        self.network() == Some(realm)
    }

    /// The network's members, once the network is known.
    pub fn members(&self) -> Option<&Members> {
        self.members_of(self.network()?)
    }

    /// The same, to be kept while the realms change.
    pub(in crate::replica) fn shared_members(&self) -> Option<Arc<Members>> {
        self.get(self.network()?).map(|network| Arc::clone(&network.members))
    }

    /// The sites of a realm.
    pub fn members_of(&self, realm: RealmId) -> Option<&Members> {
        self.by_id.get(&realm).map(Realm::members)
    }

    /// The document that the network began with, once known.
    pub(in crate::replica) fn genesis(&self) -> Option<&Genesis> {
        self.members()?.genesis()
    }

    pub(in crate::replica) fn get(&self, realm: RealmId) -> Option<&Realm> {
        self.by_id.get(&realm)
    }

    pub(in crate::replica) fn get_mut(&mut self, realm: RealmId) -> Option<&mut Realm> {
        self.by_id.get_mut(&realm)
    }

    /// The realm that a space is of.
    pub(in crate::replica) fn realm_of(&self, space: SpaceId) -> Option<RealmId> {
        self.by_space.get(&space).map(|(realm, _)| *realm)
    }

    fn channel(&self, space: SpaceId) -> Option<&Channel> {
        let (realm, of) = self.by_space.get(&space)?;
        Some(self.by_id.get(realm)?.channel(*of))
    }

    fn channel_mut(&mut self, space: SpaceId) -> Option<&mut Channel> {
        let (realm, of) = self.by_space.get(&space)?;
        Some(self.by_id.get_mut(realm)?.channel_mut(*of))
    }

    /// The logs of a space; `None`: it is not held.
    pub(in crate::replica) fn logs(&self, space: SpaceId) -> Option<&Logs> {
        self.channel(space).map(|channel| &channel.logs)
    }

    pub(in crate::replica) fn logs_mut(&mut self, space: SpaceId) -> Option<&mut Logs> {
        self.channel_mut(space).map(|channel| &mut channel.logs)
    }

    /// The receipts of a space.
    pub(in crate::replica) fn receipts(&self, space: SpaceId) -> Option<&Receipts> {
        self.channel(space).map(|channel| &channel.receipts)
    }

    pub(in crate::replica) fn receipts_mut(&mut self, space: SpaceId) -> Option<&mut Receipts> {
        self.channel_mut(space).map(|channel| &mut channel.receipts)
    }

    /// The latest receipt of each site in a space of records, as far as they have come here.
    pub fn receipts_of(&self, space: SpaceId) -> BTreeMap<SiteId, Receipt> {
        self.receipts(space).map(|receipts| receipts.by_site.clone()).unwrap_or_default()
    }

    /// What is held of a space; `None` where the space is not held.
    pub fn frontier(&self, space: SpaceId) -> Option<Frontier> {
        self.logs(space).map(Logs::frontier)
    }

    /// All realms, by id.
    pub(in crate::replica) fn all(&self) -> impl Iterator<Item = &Realm> {
        self.by_id.values()
    }

    /// The ids of all realms, in order.
    pub(in crate::replica) fn ids(&self) -> Vec<RealmId> {
        self.by_id.keys().copied().collect()
    }

    /// All spaces that are held here.
    pub fn spaces(&self) -> Vec<SpaceId> {
        self.by_space.keys().copied().collect()
    }

    /// The logs of all spaces, by space.
    pub(in crate::replica) fn all_logs(&self) -> impl Iterator<Item = (SpaceId, &Logs)> {
        self.by_space.keys().filter_map(|space| Some((*space, self.logs(*space)?)))
    }

    /// The private spaces.
    pub(in crate::replica) fn private(&self) -> impl Iterator<Item = (&SpaceDocument, &Realm)> {
        self.by_id.values().filter_map(|realm| Some((realm.document.as_ref()?, realm)))
    }

    /// The private spaces, as programs address them.
    pub fn private_spaces(&self) -> Vec<HeldSpace> {
        let held = |(document, realm): (&SpaceDocument, &Realm)| HeldSpace {
            name: document.name.clone(),
            realm: realm.id,
        };
        self.private().map(held).collect()
    }

    /// Whether a private space that is held here has this name.
    pub(in crate::replica) fn has_space_named(&self, name: &str) -> bool {
        self.private().any(|(document, _)| document.name == name)
    }

    /// Knows its network from now on, and what it began with if that is known; who the members are is yet to be learnt.
    /// True: its spaces were not held before.
    pub(in crate::replica) fn enter_network(
        &mut self,
        id: RealmId,
        genesis: Option<Genesis>,
        ticket: Option<Ticket>,
    ) -> bool {
        let members = Members::new(id, genesis);
        self.network = Some(Network { id, ticket, successors: BTreeMap::new() });
        match self.by_id.entry(id) {
            Slot::Occupied(mut held) => {
                held.get_mut().members = Arc::new(members);
                false
            }
            Slot::Vacant(vacant) => {
                vacant.insert(Realm::new(id, None, members));
                self.note_spaces(id);
                true
            }
        }
    }

    /// Knows a private space from now on. True: it was not held before.
    pub(in crate::replica) fn enter_space(&mut self, document: SpaceDocument) -> bool {
        let id = document.realm();
        let Slot::Vacant(vacant) = self.by_id.entry(id) else { return false };
        let members = document.members();
        vacant.insert(Realm::new(id, Some(document), members));
        self.note_spaces(id);
        true
    }

    fn note_spaces(&mut self, realm: RealmId) {
        self.by_space.insert(realm.membership_space(), (realm, Of::Members));
        self.by_space.insert(realm.main_space(), (realm, Of::Records));
    }

    /// Reads the logs and receipts of all realms.
    pub(in crate::replica) fn load(&mut self, tables: &impl ReadTables) -> Result<(), StoreError> {
        for space in self.spaces() {
            let logs = Logs::load(tables, space)?;
            let receipts = Receipts::load(tables, space)?;
            if let Some(channel) = self.channel_mut(space) {
                *channel = Channel { logs, receipts };
            }
        }
        Ok(())
    }

    /// Shares the members of another replica that holds the same of the network. False: it does not.
    pub(in crate::replica) fn share_members(&mut self, other: &Self) -> bool {
        let held = |realms: &Self| {
            let network = realms.network()?;
            Some((network, realms.frontier(network.membership_space())?))
        };
        let network = other.network().and_then(|network| other.get(network));
        let (Some(theirs), true) = (network, held(self) == held(other)) else { return false };
        if let Some(own) = self.by_id.get_mut(&theirs.id) {
            own.members = Arc::clone(&theirs.members);
        }
        true
    }

    /// Forgets the receipts of sites that are no members of the network, of all realms.
    pub(in crate::replica) fn retain_receipts_of_members(&mut self) {
        let Some(network) = self.network().and_then(|id| self.by_id.get(&id)) else { return };
        let members = Arc::clone(&network.members);
        for channel in self.by_id.values_mut().flat_map(Realm::channels_mut) {
            channel.receipts.retain(|site| members.get(site).is_some());
        }
    }

    /// Forgets the receipts of sites that are not in a realm.
    pub(in crate::replica) fn retain_receipts_in(&mut self, realm: RealmId) {
        let Some(realm) = self.by_id.get_mut(&realm) else { return };
        let members = Arc::clone(&realm.members);
        for channel in realm.channels_mut() {
            channel.receipts.retain(|site| members.get(site).is_some());
        }
    }

    /// Ends all that is known, but for what other sites said: that is handed back.
    pub(in crate::replica) fn clear(&mut self) -> BTreeMap<SpaceId, Receipts> {
        let realms = std::mem::take(&mut self.by_id).into_values();
        let receipts = realms.flat_map(|Realm { id, control, records, .. }| {
            [(id.membership_space(), control.receipts), (id.main_space(), records.receipts)]
        });
        self.by_space.clear();
        self.network = None;
        receipts.collect()
    }

    /// Takes up again what other sites said, as far as they are still in these realms.
    pub(in crate::replica) fn take_up(&mut self, receipts: BTreeMap<SpaceId, Receipts>) {
        for (space, receipts) in receipts {
            if let Some(channel) = self.channel_mut(space) {
                channel.receipts = receipts;
            }
        }
        self.retain_receipts_of_members();
        for realm in self.ids() {
            self.retain_receipts_in(realm);
        }
    }

    /// Whether this site holds a ticket and is no member yet.
    pub(in crate::replica) fn has_ticket_to_present(&self) -> bool {
        self.ticket().is_some()
    }

    /// The ticket that this site holds, until it is a member.
    pub fn ticket(&self) -> Option<&Ticket> {
        self.network.as_ref()?.ticket.as_ref().filter(|_| !self.is_member())
    }

    /// Takes the ticket out, used or not.
    pub(in crate::replica) fn take_ticket(&mut self) -> Option<Ticket> {
        self.network.as_mut()?.ticket.take()
    }

    /// Lets a site in as the member that it goes on for, by what it shows. `None`: it goes on for none; `Some(true)`: it
    /// is let in by this.
    pub(in crate::replica) fn let_go_on(
        &mut self,
        site: SiteId,
        former: &[FormerKey],
    ) -> Option<bool> {
        let member = self.members()?.goes_on_for(site, former)?;
        let network = self.network.as_mut()?;
        // Of several that show the word of one member the last counts: there are no more than members.
        Some(member != site && network.successors.insert(member, site) != Some(site))
    }

    /// Who may use the protocols of members with this site: nobody once it was revoked. `None`: no network is known.
    pub(in crate::replica) fn admitted(&mut self) -> Option<BTreeSet<SiteId>> {
        let is_revoked = self.revoked_by().is_some();
        let network = self.network.as_mut()?;
        let members = &self.by_id.get(&network.id)?.members;
        network.successors.retain(|member, _| members.get(member).is_some());
        Some(if is_revoked {
            BTreeSet::new()
        } else {
            members.all().keys().chain(network.successors.values()).copied().collect()
        })
    }
}

/// A membership entry with its operations.
pub(in crate::replica) fn operations_of(entry: &Entry) -> Option<(&Entry, Vec<Operation>)> {
    match entry.body() {
        Ok(Body::Membership(operations)) => Some((entry, operations)),
        Ok(Body::Transactions(_)) | Err(_) => None,
    }
}
