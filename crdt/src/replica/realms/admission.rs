//! Tickets, and the network and members that a site knows by its own entries.

use std::collections::BTreeSet;

use super::Realms;
use crate::format::codec;
use crate::ids::{RealmId, SiteId, SiteKey, SpaceId};
use crate::log::entry::{Entry, EntryId};
use crate::membership::{Genesis, Grant, Revoked, Role, SpaceDocument, Ticket};
use crate::protocol::topic;
use crate::replica::context::Context;
use crate::replica::outbox::Outbox;
use crate::replica::{Notice, Output};
use crate::store::logs::Logs;
use crate::store::tables::logs::{self, EntryStatus};
use crate::store::tables::{ReadTables, decode_row, row, walk};
use crate::store::{Position, RowWrite, Store, StoreError};

/// Why no ticket was made.
#[derive(Debug, thiserror::Error)]
pub enum InviteError {
    /// The site has no network to invite to.
    #[error("this site is not a member of a network yet")]
    NoMember,
    /// Admins invite.
    #[error("inviting takes the role admin; this site is {role}")]
    Role {
        /// The site's role.
        role: Role,
    },
}

/// Why a ticket cannot be used at this site.
#[derive(Debug, thiserror::Error)]
pub enum JoinError {
    /// A site belongs to one network for ever.
    #[error(
        "this site belongs to network {own}, the ticket is for {found}; use another data folder"
    )]
    OtherNetwork {
        /// The site's network.
        own: RealmId,
        /// The ticket's.
        found: RealmId,
    },
    /// The ticket has expired.
    #[error("the ticket has expired, ask for a new one")]
    Expired,
    /// The site is a member.
    #[error("this site is a member of that network already")]
    Member,
}

impl<S: Store> Context<'_, S> {
    /// Where the journal has the membership entries of a realm, in its order, and the log of each; only the applied ones if
    /// asked.
    fn membership_places(
        &self,
        realm: RealmId,
        applied_only: bool,
    ) -> Result<Vec<(Position, EntryId)>, StoreError> {
        let space = realm.membership_space();
        let mut positions = Vec::new();
        for (author, log) in self.realms.logs(space).into_iter().flat_map(Logs::rows) {
            for seq in 1..=log.seq {
                let row = self.entry_row(space, *author, seq)?;
                let row = row.filter(|row| !applied_only || row.status == EntryStatus::Applied);
                let id = EntryId { author: *author, seq };
                positions.extend(row.map(|row| (row.position(), id)));
            }
        }
        positions.sort();
        Ok(positions)
    }

    /// The membership entries that are held of a realm, in journal order; only the applied ones if asked.
    pub(in crate::replica) fn membership_entries(
        &self,
        realm: RealmId,
        applied_only: bool,
    ) -> Result<Vec<Entry>, StoreError> {
        let space = realm.membership_space();
        let positions = self.membership_places(realm, applied_only)?;
        let entry = |(at, id)| self.membership_entry(space, at, id).transpose();
        positions.into_iter().filter_map(entry).collect()
    }

    /// A membership entry that is held, as the tables have it where the journal is damaged.
    fn membership_entry(
        &self,
        space: SpaceId,
        at: Position,
        EntryId { author, seq }: EntryId,
    ) -> Result<Option<Entry>, StoreError> {
        let entry = match self.sound_entry(at)? {
            Some(entry) => Some(entry),
            None => self.kept_entry(space, author, seq)?,
        };
        Ok(entry.map(|entry| entry.in_log(author)))
    }

    /// The first membership entries of a realm that fit into so many bytes.
    pub(in crate::replica) fn first_membership_entries(
        &self,
        realm: RealmId,
        bytes_max: usize,
    ) -> Result<Vec<Entry>, StoreError> {
        self.read_fitting(realm, self.membership_places(realm, false)?, bytes_max)
    }

    /// The last of them that fit.
    pub(in crate::replica) fn last_membership_entries(
        &self,
        realm: RealmId,
        bytes_max: usize,
    ) -> Result<Vec<Entry>, StoreError> {
        let mut positions = self.membership_places(realm, false)?;
        positions.reverse();
        let mut entries = self.read_fitting(realm, positions, bytes_max)?;
        entries.reverse();
        Ok(entries)
    }

    /// The first of these entries that fit into so many bytes; no more are read.
    fn read_fitting(
        &self,
        realm: RealmId,
        positions: Vec<(Position, EntryId)>,
        bytes_max: usize,
    ) -> Result<Vec<Entry>, StoreError> {
        let (mut entries, mut bytes) = (Vec::new(), 0);
        for (at, id) in positions {
            let Some(entry) = self.membership_entry(realm.membership_space(), at, id)? else {
                continue;
            };
            bytes += entry.bytes().len();
            if bytes > bytes_max {
                break;
            }
            entries.push(entry);
        }
        Ok(entries)
    }
}

impl Realms {
    /// A ticket for one new site, signed by this one. `secret` is a fresh random key pair, `expires_ms` in ms since 1970.
    pub(in crate::replica) fn invite(
        &self,
        key: &SiteKey,
        role: Role,
        expires_ms: i64,
        secret: SiteKey,
        addresses: Vec<String>,
    ) -> Result<Ticket, InviteError> {
        let network = self.network().ok_or(InviteError::NoMember)?;
        let inviter = key.site();
        let member = self.members().and_then(|members| members.get(&inviter));
        match member.ok_or(InviteError::NoMember)?.role {
            Role::Admin => {}
            role @ (Role::Reader | Role::Writer) => return Err(InviteError::Role { role }),
        }
        let grant = Grant::sign(network, secret.site(), role, expires_ms, key);
        Ok(Ticket { grant, secret, inviter, addresses })
    }

    /// Whether this site could join with a ticket.
    pub(in crate::replica) fn may_join(
        &self,
        ticket: &Ticket,
        wall_ms: i64,
    ) -> Result<(), JoinError> {
        let found = ticket.grant.realm;
        if let Some(own) = self.network().filter(|own| *own != found) {
            return Err(JoinError::OtherNetwork { own, found });
        }
        if self.is_member() {
            return Err(JoinError::Member);
        }
        if ticket.grant.expires_ms < wall_ms { Err(JoinError::Expired) } else { Ok(()) }
    }

    /// Knows its network from now on, and listens to what is gossiped in it.
    pub(in crate::replica) fn know_network(
        &mut self,
        out: &mut Outbox,
        id: RealmId,
        genesis: Option<Genesis>,
        ticket: Option<Ticket>,
    ) {
        if self.enter_network(id, genesis, ticket) {
            for space in id.spaces() {
                out.push(Output::Subscribe(topic(id, space)));
            }
        }
    }

    /// Takes over a genesis document whose hash was checked.
    pub(in crate::replica) fn learn_genesis(&mut self, out: &mut Outbox, genesis: Genesis) {
        let network = genesis.network();
        let ticket = self.take_ticket();
        self.know_network(out, network, Some(genesis), ticket);
        self.show_members(out);
    }

    /// Knows a private space from now on.
    pub(in crate::replica) fn know_space(&mut self, out: &mut Outbox, document: SpaceDocument) {
        if self.enter_space(document) {
            self.show_spaces(out);
        }
    }

    /// Says who the members are: to a site that was revoked, nobody. It comes before all that waits to be said, so that
    /// nothing of it goes to a site that is out by now.
    pub(in crate::replica) fn show_members(&mut self, out: &mut Outbox) {
        if let Some(sites) = self.admitted() {
            let is_former = |output: &Output| matches!(output, Output::Members(_));
            out.push_first(Output::Members(sites), is_former);
        }
    }

    /// Says which private spaces are held.
    pub(in crate::replica) fn show_spaces(&self, out: &mut Outbox) {
        out.push(Output::Spaces(self.private_spaces()));
    }

    /// Says who came and who went, and forgets the receipts of those who went, which it returns. `before`: who the members
    /// were.
    pub(in crate::replica) fn note_changes(
        &mut self,
        out: &mut Outbox,
        before: &BTreeSet<SiteId>,
    ) -> Vec<SiteId> {
        let Some(members) = self.shared_members() else { return Vec::new() };
        let own = self.own;
        for (site, member) in members.all().iter().filter(|(site, _)| !before.contains(site)) {
            if *site != own {
                out.notice(Notice::MemberAdmitted { site: *site, name: member.name.clone() });
            }
        }
        let gone = before.iter().filter(|site| members.get(site).is_none());
        let gone: Vec<SiteId> = gone.copied().collect();
        for site in &gone {
            if let Some(Revoked { name, by }) = members.revoked().get(site).cloned() {
                out.notice(if *site == own {
                    Notice::Revoked { by }
                } else {
                    Notice::MemberRevoked { site: *site, name, by }
                });
            }
        }
        self.retain_receipts_of_members();
        gone
    }

    /// Takes note of the site that has shown this one to be shut out of a realm; `None`: that is to be heard again. Returns
    /// what the tables have to remember of it, over restarts too.
    pub(in crate::replica) fn note_revoked_by(
        &mut self,
        realm: RealmId,
        by: Option<SiteId>,
    ) -> Option<RowWrite> {
        let is_news = self.get_mut(realm)?.note_revoked_by(by);
        is_news.then(|| (logs::revocation_notice(realm), by.map(|by| codec::encode(&by))))
    }

    /// Reads what was remembered of that.
    pub(in crate::replica) fn load_revoked_by(
        &mut self,
        tables: &impl ReadTables,
    ) -> Result<(), StoreError> {
        for realm in self.by_id.values_mut() {
            let by = row(tables, "row of a revocation", &logs::revocation_notice(realm.id))?;
            realm.note_revoked_by(by);
        }
        Ok(())
    }

    /// Reads the private spaces that the tables know.
    pub(in crate::replica) fn load_private(
        &mut self,
        tables: &impl ReadTables,
        out: &mut Outbox,
    ) -> Result<(), StoreError> {
        let mut documents: Vec<SpaceDocument> = Vec::new();
        walk(tables, logs::SPACES, None, |_, value| {
            documents.push(decode_row("space document", value)?);
            Ok(true)
        })?;
        for document in documents {
            self.know_space(out, document);
        }
        Ok(())
    }
}
