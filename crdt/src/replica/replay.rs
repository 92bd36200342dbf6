//! Opening: the tables catch up with the journal, or are made anew from it.

use super::batch::Batch;
use super::batch::accept::{Acceptance, Origin};
use super::indexes::Indexes;
use super::links::Links;
use super::links::repair::Losses;
use super::outbox::Outbox;
use super::realms::Realms;
use super::{BTreeMap, Identity, Notice, Now, Output, Replica, VecDeque};
use crate::format::codec;
use crate::frame::Frame;
use crate::ids::{Author, Incarnation, SpaceId};
use crate::log::entry::{Entry, PAYLOAD_FORMAT};
use crate::membership::{Genesis, SpaceDocument, Ticket};
use crate::protocol::prepare::PreparedEntry;
use crate::store::tables::logs::{self, ForkRow, Versions};
use crate::store::tables::{self, decode_row, records, row, walk};
use crate::store::{Position, Store, StoreError};

/// Journal bytes read at a time. They may mean some 100,000 records, so they are applied as several groups.
const REPLAY_BYTES: usize = 4 * 1024 * 1024;

/// How far a replay has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Entries replayed.
    pub entries: u64,
    /// The last place read.
    pub position: Option<Position>,
}

impl<S: Store> Replica<S> {
    /// Opens the replica on what `store` holds and lets the tables catch up with the journal.
    ///
    /// `ticket`: the ticket that the site is to join with, if it has one. Damaged journal frames are left out; see
    /// [`ReadJournal::damaged`](crate::store::ReadJournal::damaged).
    pub fn open(
        store: S,
        identity: Identity,
        ticket: Option<Ticket>,
        now: Now,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Self, StoreError> {
        Self::open_with(store, identity, ticket, PAYLOAD_FORMAT, None, now, progress)
    }

    /// As [`Replica::open`], where another replica of this process may know the same members: they are then shared
    /// instead of read and verified once more. For simulations of thousands of sites.
    pub fn open_beside(
        store: S,
        identity: Identity,
        other: &Self,
        now: Now,
    ) -> Result<Self, StoreError> {
        Self::open_with(store, identity, None, PAYLOAD_FORMAT, Some(other), now, &mut |_| ())
    }

    /// As [`Replica::open`], by a program of another time, which writes this payload format and applies what is not
    /// newer. For simulations of networks whose sites run different versions.
    pub fn open_as_of(
        store: S,
        identity: Identity,
        payload_format: u8,
        now: Now,
    ) -> Result<Self, StoreError> {
        Self::open_with(store, identity, None, payload_format, None, now, &mut |_| ())
    }

    fn open_with(
        store: S,
        identity: Identity,
        ticket: Option<Ticket>,
        payload_format: u8,
        beside: Option<&Self>,
        now: Now,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Self, StoreError> {
        let author = Author { site: identity.key.site(), incarnation: identity.incarnation };
        let mut replica = Self {
            store,
            author,
            payload_format,
            realms: Realms::new(author.site),
            batch: Batch::new(),
            taking: VecDeque::new(),
            links: Links::new(identity.seed),
            receipt_count: 0,
            heard_receipts: BTreeMap::new(),
            outbox: Outbox::default(),
            now,
            identity,
        };
        let made_by: Option<Versions> = row(&replica.store, "versions row", logs::VERSIONS)?;
        if made_by.is_some_and(|versions| versions != replica.versions()) {
            replica.store.clear_tables()?;
        }
        replica.load(ticket, beside)?;
        replica.replay(progress)?;
        replica.rebuild_if_dropped_shows()?;
        replica.find_losses()?;
        Ok(replica)
    }

    /// What its tables are made by.
    fn versions(&self) -> Versions {
        (tables::FORMAT, self.payload_format)
    }

    /// Reads what the tables say into memory.
    fn load(&mut self, ticket: Option<Ticket>, beside: Option<&Self>) -> Result<(), StoreError> {
        self.batch.indexes = Indexes::load(&self.store)?;
        let genesis: Option<Genesis> = row(&self.store, "genesis document", logs::GENESIS)?;
        let named = ticket.as_ref().map(|ticket| ticket.grant.realm);
        let network = genesis.as_ref().map(Genesis::network).or(named);
        if let Some(network) = network {
            let ticket = ticket.filter(|ticket| ticket.grant.realm == network);
            self.enter_network(network, genesis, ticket);
            self.load_private()?;
            self.load_spaces()?;
            self.load_members(beside)?;
            self.load_told_revoked_by()?;
            self.load_unreadable()?;
        }
        Ok(())
    }

    fn load_unreadable(&mut self) -> Result<(), StoreError> {
        self.batch.unreadable.clear();
        for space in self.realms.spaces() {
            walk(&self.store, &records::unreadable_of_space(space), None, |key, value| {
                if let Some(key) = records::record_of_key(key) {
                    self.batch.unreadable.insert(key, decode_row("unreadable row", value)?);
                }
                Ok(true)
            })?;
        }
        Ok(())
    }

    /// Empties the tables and makes them anew from the journal. A new incarnation begins, as with a start: where the
    /// journal is damaged, less may be held of this site's own log than others hold.
    pub fn rebuild(&mut self, progress: &mut dyn FnMut(Progress)) -> Result<(), StoreError> {
        let ticket = self.realms.take_ticket();
        // What others said of what they hold is in no journal.
        let receipts = self.realms.clear();
        self.batch.drop_stage();
        self.batch.foresight = None;
        self.batch.documents.clear();
        self.batch.recent.clear();
        self.batch.unreadable.clear();
        self.author.incarnation = Incarnation(self.links.random.bytes());
        self.store.clear_tables()?;
        self.load(ticket, None)?;
        self.replay(progress)?;
        self.realms.take_up(receipts);
        self.links.losses = Losses::default();
        self.find_losses()
    }

    fn replay(&mut self, progress: &mut dyn FnMut(Progress)) -> Result<(), StoreError> {
        let mut after = self.store.applied()?;
        if after.is_none() {
            self.find_forks()?;
        }
        let mut done = Progress { entries: 0, position: after };
        loop {
            let frames = self.store.scan_journal(after, REPLAY_BYTES)?;
            let Some((last, _)) = frames.last() else { break };
            after = Some(*last);
            let mut group = Group::default();
            for (position, frame) in frames {
                self.replay_frame(position, &frame, &mut group)?;
                let is_entry = matches!(Frame::read(&frame), Ok(Frame::Entry(_)));
                let entries = done.entries + u64::from(is_entry);
                done = Progress { entries, position: Some(position) };
            }
            self.show_group(&mut group, after)?;
            progress(done);
        }
        let versions = (logs::VERSIONS.to_vec(), Some(codec::encode(&self.versions())));
        self.store.apply(vec![versions], None)?;
        // Whoever became a member on the way is no news; that they are members is said once.
        self.outbox.drop_where(|output| {
            matches!(
                output,
                Output::Members(_)
                    | Output::Spaces(_)
                    | Output::Notice(
                        Notice::MemberAdmitted { .. }
                            | Notice::MemberRevoked { .. }
                            | Notice::Revoked { .. }
                    )
            )
        });
        self.tell_members();
        self.tell_spaces();
        Ok(())
    }

    /// Forks decide which entries count, so a rebuild knows of them before the first entry.
    fn find_forks(&mut self) -> Result<(), StoreError> {
        let mut after = None;
        loop {
            let frames = self.store.scan_journal(after, REPLAY_BYTES)?;
            let Some((last, _)) = frames.last() else { return Ok(()) };
            after = Some(*last);
            for (_, frame) in &frames {
                match Frame::read(frame) {
                    Ok(Frame::Fork(content)) => self.replay_fork(content)?,
                    Ok(Frame::Genesis(content)) => self.replay_genesis(content),
                    Ok(Frame::Space(content)) => self.replay_space(content),
                    Ok(Frame::Entry(_)) | Err(_) => {}
                }
            }
        }
    }

    fn replay_frame(
        &mut self,
        position: Position,
        frame: &[u8],
        group: &mut Group,
    ) -> Result<(), StoreError> {
        let damaged = |reason: String| StoreError::Damaged { position, reason };
        match Frame::read(frame).map_err(|error| damaged(error.to_string()))? {
            Frame::Entry(content) => {
                let entry = Entry::decode(content).map_err(|error| damaged(error.to_string()))?;
                self.replay_entry(position, entry, group)
            }
            Frame::Genesis(content) => {
                self.replay_genesis(content);
                Ok(())
            }
            Frame::Fork(content) => self.replay_fork(content),
            Frame::Space(content) => {
                self.replay_space(content);
                Ok(())
            }
        }
    }

    fn replay_genesis(&mut self, content: &[u8]) {
        let genesis = codec::decode::<Genesis>("genesis document", content);
        if let Ok(genesis) = genesis
            && self.realms.genesis().is_none()
        {
            self.learn_genesis(genesis.clone());
            self.batch.stage.genesis = Some(genesis);
        }
    }

    fn replay_space(&mut self, content: &[u8]) {
        if let Ok(document) = codec::decode::<SpaceDocument>("space document", content)
            && self.realms.members_of(document.realm()).is_none()
        {
            self.enter_space(document.clone());
            self.batch.stage.spaces.push(document);
        }
    }

    fn replay_fork(&mut self, content: &[u8]) -> Result<(), StoreError> {
        let Ok(fork) = codec::decode::<ForkRow>("fork", content) else { return Ok(()) };
        let (space, author) = (fork.kept.0.space, fork.kept.0.author);
        let known = self.realms.logs(space).and_then(|logs| logs.forks.get(&author));
        if known.is_some_and(|known| known.rank() <= fork.rank()) {
            return Ok(());
        }
        self.store.apply(vec![(logs::fork(space, author), Some(content.to_vec()))], None)?;
        if let Some(logs) = self.realms.logs_mut(space) {
            logs.forks.insert(author, fork);
        }
        Ok(())
    }

    fn replay_entry(
        &mut self,
        position: Position,
        entry: Entry,
        group: &mut Group,
    ) -> Result<(), StoreError> {
        if self.realms.network().is_none() {
            // A site may have written before it learnt its genesis document.
            self.enter_network(entry.header.realm, None, None);
        }
        let header = entry.header.clone();
        let membership = header.realm.membership_space();
        match self.accept(PreparedEntry::unread(entry), Origin::Journal)? {
            Acceptance::Staged => group.positions.push(position),
            // Behind a damaged frame, or dropped by a fork: it comes again from a peer, or never.
            Acceptance::Repeat | Acceptance::NotReady => {}
            Acceptance::Refused(_) | Acceptance::Fork { .. } => {}
        }
        if header.author.site == self.site() {
            let space = header.space;
            let past = header.past.iter().map(|tip| ((space, space, tip.author), tip.seq));
            group.named.extend(past);
            let past = header.membership_past.iter();
            group.named.extend(past.map(|tip| ((space, membership, tip.author), tip.seq)));
        }
        // Entries after one of members may be by those whom it admits.
        match header.space == membership || self.batch.stage.is_large() {
            true => self.show_group(group, Some(position)),
            false => Ok(()),
        }
    }

    fn show_group(
        &mut self,
        group: &mut Group,
        applied: Option<Position>,
    ) -> Result<(), StoreError> {
        let Group { positions, named } = std::mem::take(group);
        self.show(&positions, applied, &named)?;
        self.batch.drop_stage_to_cache();
        Ok(())
    }
}

/// What a replay has staged: where its entries are, and which logs this site's own entries have named.
#[derive(Default)]
struct Group {
    positions: Vec<Position>,
    named: BTreeMap<(SpaceId, SpaceId, Author), u64>,
}
