//! What passes between sites that share a private space.
//!
//! Whatever is sent of a space goes to whom this site knows to share it (`Realms::shares`). Of private spaces nothing is gossiped,
//! since topics show who listens: the sites of one notify each other directly (`links/notify.rs`). Who was let in hears of it in the
//! answer to a pull of the network's members, with the proof.

use std::collections::VecDeque;

use super::rounds::Round;
use super::{Realm, SharedDigest, digest_of, operations_of};
use crate::ids::{RealmId, SiteId};
use crate::log::entry::Entry;
use crate::membership::{Role, SpaceDocument, check_space_name};
use crate::protocol::{INVITATIONS_BYTES_MAX, Invitation, pack_entries, unpack_entries};
use crate::replica::Notice;
use crate::replica::batch::Batch;
use crate::replica::batch::decide::SPACES_MAX;
use crate::replica::context::Context;
use crate::replica::links::Links;
use crate::replica::outbox::Outbox;
use crate::replica::task::Task;
use crate::store::{Store, StoreError};

/// Private spaces of one site's making that another enters: half of those that it can hold, so that no single admin takes up
/// the room for those of others and for its own.
const SPACES_OF_ONE_MAX: usize = SPACES_MAX / 2;
/// A site that does not take an invitation up gets it again after this long.
const INVITE_AGAIN_MS: u64 = 60_000;

/// The invitations that a peer was last sent: by what it said to share, by what it shares, and when.
#[derive(Clone, Copy, Debug)]
pub(in crate::replica) struct Invited {
    said: SharedDigest,
    shared: SharedDigest,
    at_ms: u64,
}

impl<S: Store> Context<'_, S> {
    fn invitation(&self, realm: RealmId) -> Result<Option<Invitation>, StoreError> {
        let space = self.realms.get(realm).and_then(Realm::document).cloned();
        let Some(document) = space else { return Ok(None) };
        let entries = self.first_membership_entries(realm, INVITATIONS_BYTES_MAX)?;
        let entries = pack_entries(&entries);
        Ok(Some(Invitation { document, entries }))
    }
}

impl Links {
    /// What a site that shares private spaces with this one may not know of them: all that it takes to enter them.
    /// `said`: what it says to share.
    pub(in crate::replica) fn invitations_for<S: Store>(
        &mut self,
        cx: Context<'_, S>,
        site: SiteId,
        said: SharedDigest,
    ) -> Result<Vec<Invitation>, StoreError> {
        let realms = cx.realms.shared_with(site);
        let shared = digest_of(&realms);
        let at_ms = cx.now.monotonic_ms;
        let Some(peer) = self.peers.get_mut(&site).filter(|_| shared != said) else {
            return Ok(Vec::new());
        };
        let is_invited = peer.invited.is_some_and(|invited| {
            (invited.said, invited.shared) == (said, shared)
                && at_ms < invited.at_ms + INVITE_AGAIN_MS
        });
        if is_invited {
            return Ok(Vec::new());
        }
        peer.invited = Some(Invited { said, shared, at_ms });
        let (mut invitations, mut bytes) = (Vec::new(), 0);
        for realm in realms {
            let Some(invitation) = cx.invitation(realm)? else { continue };
            bytes += invitation.entries.len();
            // The others follow when these are known.
            if bytes > INVITATIONS_BYTES_MAX && !invitations.is_empty() {
                break;
            }
            invitations.push(invitation);
        }
        Ok(invitations)
    }
}

/// Invitations to private spaces, which are taken up one after the other.
pub(in crate::replica) struct Invitations {
    from: SiteId,
    left: VecDeque<Invitation>,
}

/// An invitation whose space is about to be known.
pub(in crate::replica) struct Entered {
    name: String,
    realm: RealmId,
    entries: Vec<Entry>,
    behind: Invitations,
}

impl Invitations {
    pub(in crate::replica) fn new(from: SiteId, invitations: Vec<Invitation>) -> Self {
        Self { from, left: invitations.into() }
    }

    /// With the space known: takes its members in, and pulls it. Then come the others.
    fn take_up(self, realm: RealmId, entries: Vec<Entry>) -> Vec<Task> {
        let members = Task::Members(Round::new(realm, entries));
        vec![members, Task::PullRealm { from: self.from, realm }, Task::Invitations(self)]
    }
}

impl Entered {
    /// Goes on once the group has ended; not at all if it could not be written.
    pub(in crate::replica) fn go_on(self, out: &mut Outbox, is_durable: bool) -> Vec<Task> {
        if !is_durable {
            return Vec::new();
        }
        let Self { name, realm, entries, behind } = self;
        out.notice(Notice::SpaceEntered { name, realm });
        behind.take_up(realm, entries)
    }
}

impl Batch {
    /// Enters the next of the private spaces that another site shows this one to be in.
    pub(in crate::replica) fn take_invitation<S: Store>(
        &mut self,
        cx: Context<'_, S>,
        out: &mut Outbox,
        mut invitations: Invitations,
    ) -> Vec<Task> {
        while let Some(Invitation { document, entries }) = invitations.left.pop_front() {
            let realm = document.realm();
            let entries = unpack_entries(&entries).unwrap_or_default();
            if cx.realms.get(realm).is_some() {
                return invitations.take_up(realm, entries);
            }
            if let Err(reason) = self.may_enter(cx, &document, &entries) {
                let (from, reason) = (invitations.from, reason.to_owned());
                out.notice(Notice::Refused { from, reason });
                continue;
            }
            let name = document.name.clone();
            self.bring_space(document);
            let entered = Entered { name, realm, entries, behind: invitations };
            return vec![Task::Commit, Task::Entered(entered)];
        }
        Vec::new()
    }

    fn may_enter<S: Store>(
        &self,
        cx: Context<'_, S>,
        document: &SpaceDocument,
        entries: &[Entry],
    ) -> Result<(), &'static str> {
        if cx.realms.network() != Some(document.network) {
            return Err("an invitation to a space of another network");
        }
        if check_space_name(&document.name).is_err() {
            return Err("an invitation to a space whose name is none");
        }
        // Only admins make spaces. One who is no admin any more may have made this one before.
        let creator =
            cx.realms.members().filter(|it| !it.disputed().contains_key(&document.creator));
        if creator.and_then(|it| it.ever(&document.creator)) != Some(Role::Admin) {
            return Err("an invitation to a space of a site that is no admin");
        }
        let is_of_creator = |(space, _): &(&SpaceDocument, _)| space.creator == document.creator;
        let of_creator = cx.realms.private().filter(is_of_creator).count();
        if of_creator >= SPACES_OF_ONE_MAX || !self.has_room_for_space(cx) {
            return Err("an invitation to more spaces than a site can hold");
        }
        if admits(document, entries, cx.author.site) {
            Ok(())
        } else {
            Err("an invitation to a space that does not show this site to be in it")
        }
    }
}

/// Whether membership entries of a space show that a site is in it.
fn admits(document: &SpaceDocument, entries: &[Entry], site: SiteId) -> bool {
    let realm = document.realm();
    let mut members = document.members();
    let of_space = |entry: &&Entry| {
        let header = &entry.header;
        header.realm == realm && header.space == realm.membership_space() && entry.is_signed()
    };
    members.extend(entries.iter().filter(of_space).filter_map(operations_of));
    members.get(&site).is_some()
}
