//! A group of inputs: made durable by one append with one sync, made visible, and only then anyone hears of it. When a
//! replica opens, groups are made of what the journal has beyond the tables.

use std::collections::BTreeMap;

use super::batch::accept::{Acceptance, EntrySource};
use super::batch::seal::Named;
use super::batch::stage::{After, Stage};
use super::batch::write::WriteError;
use super::{DecisionError, Notice, Output, Replica, Validation};
use crate::format::codec;
use crate::ids::{RealmId, SpaceId};
use crate::log::entry::Entry;
use crate::log::fork::ForkProof;
use crate::membership::{Genesis, Ticket};
use crate::protocol::prepare::PreparedEntry;
use crate::store::frame::Frame;
use crate::store::tables::logs::{self, Versions};
use crate::store::tables::{self, row};
use crate::store::{Position, Store, StoreError};

/// Journal bytes read at a time. They may mean some 100,000 records, so they are applied as several groups.
pub(super) const REPLAY_BYTES: usize = 4 * 1024 * 1024;

/// How far a replay has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Entries replayed.
    pub entries: u64,
    /// The last place read.
    pub position: Option<Position>,
}

/// What a replay has staged: where its entries are, and which logs this site's own entries have named.
#[derive(Default)]
pub(super) struct Replayed {
    positions: Vec<Position>,
    named: Named,
}

impl<S: Store> Replica<S> {
    /// Ends a group of inputs: makes it durable and visible, and tells those who wait for it. `false`: the journal
    /// could not be written, and the group is forgotten.
    ///
    /// # Errors
    /// [`StoreError`] where the tables or the journal cannot be trusted any more.
    pub fn commit(&mut self) -> Result<bool, StoreError> {
        let (_, cx, batch, _) = self.parts();
        let named = batch.seal(cx);
        if !self.batch.stage.is_empty() {
            let frames = self.batch.frames();
            let slices: Vec<&[u8]> = frames.iter().map(Vec::as_slice).collect();
            let appended =
                if slices.is_empty() { Ok(Vec::new()) } else { self.store.append(&slices) };
            self.links.note_append(!matches!(appended, Err(StoreError::Unwritable { .. })));
            let positions = match appended {
                Ok(positions) => positions,
                Err(error @ StoreError::Unwritable { .. }) => {
                    self.abort(&error.to_string());
                    return Ok(false);
                }
                Err(error) => return Err(error),
            };
            // The entries come last, see `Batch::frames`.
            let entries = positions.split_at(positions.len() - self.batch.stage.entries.len()).1;
            self.show(entries, positions.last().copied(), &named)?;
        }
        let stage = self.batch.drop_stage_to_cache();
        self.conclude_group(stage)?;
        Ok(true)
    }

    /// Makes a batch visible whose entries are at `positions`: in the tables, and the same in memory. `applied`: how far
    /// the journal then shows.
    fn show(
        &mut self,
        positions: &[Position],
        applied: Option<Position>,
        named: &Named,
    ) -> Result<(), StoreError> {
        let (_, cx, batch, outbox) = self.parts();
        let rows = batch.make_rows(cx, outbox, positions, named)?;
        self.store.apply(rows, applied)?;
        self.realms.note_group(&self.batch.stage, named);
        let (genesis, spaces) = self.batch.take_documents();
        if let Some(genesis) = genesis {
            self.realms.learn_genesis(&mut self.outbox, genesis);
        }
        for document in spaces {
            self.realms.know_space(&mut self.outbox, document);
        }
        let entries = self.batch.membership_entries();
        let learnt = self.learn_members(entries.iter());
        self.batch.forget_schemas();
        learnt
    }

    /// Those who wait hear that the group is durable.
    fn conclude_group(&mut self, mut stage: Stage) -> Result<(), StoreError> {
        for (id, results) in std::mem::take(&mut stage.written) {
            let written = |result: Result<_, _>| result.map(|staged| stage.written(staged));
            let results = results.into_iter().map(written).collect();
            self.outbox.push(Output::Written { id, results });
        }
        let (links, cx, batch, out) = self.parts();
        if !stage.entries.is_empty() {
            links.note_taken(cx, &stage.entries);
            links.look_for_copies(cx, out, &stage.entries);
            links.broadcast_entries(cx, out, &stage.entries);
            links.receipts_are_due(cx);
        }
        for after in stage.after {
            match after {
                After::Say(output) => out.push(output),
                After::Welcome { token, to, former } => cx.welcome(out, token, to, &former)?,
                After::Pull { from, space } => links.pull(cx, out, from, space),
                After::PullMore { from, space } => links.pull_more(cx, batch, out, from, space)?,
                After::Resume { with } => links.resume_requests(cx, out, with),
            }
        }
        Ok(())
    }

    /// Forgets a group that could not be written, and says so.
    fn abort(&mut self, reason: &str) {
        let stage = self.batch.drop_stage();
        for (id, results) in stage.written {
            // Also the ones that changed nothing: they may have found what another write of the group had staged.
            let unwritable = || WriteError::Unwritable { reason: reason.to_owned() };
            let results = results.into_iter().map(|result| result.and_then(|_| Err(unwritable())));
            self.outbox.push(Output::Written { id, results: results.collect() });
        }
        for after in stage.after {
            match after {
                After::Say(Output::Validate { token, .. }) => {
                    let verdict = Validation::Ignore;
                    self.outbox.push(Output::Validate { token, verdict });
                }
                After::Say(Output::Decided { id, result }) => {
                    let unwritable = || DecisionError::Unwritable { reason: reason.to_owned() };
                    let result = result.and_then(|()| Err(unwritable()));
                    self.outbox.push(Output::Decided { id, result });
                }
                After::Say(output) => self.outbox.push(output),
                After::Welcome { token, .. } => {
                    self.outbox.refuse(token, "this site cannot write at present");
                }
                After::Pull { .. } | After::PullMore { .. } | After::Resume { .. } => {}
            }
        }
    }

    /// Folds the membership entries among `entries` in. Who may write what is then another question than before, so
    /// everyone is asked again for what could not be accepted.
    fn learn_members<'a>(
        &mut self,
        entries: impl Iterator<Item = &'a Entry>,
    ) -> Result<(), StoreError> {
        let mut of_realms: BTreeMap<RealmId, Vec<&Entry>> = BTreeMap::new();
        for entry in entries {
            let realm = entry.header.realm;
            if entry.header.space == realm.membership_space() {
                of_realms.entry(realm).or_default().push(entry);
            }
        }
        for (realm, entries) in of_realms {
            let held = self.realms.get_mut(realm);
            let Some(before) = held.and_then(|held| held.learn(entries.into_iter())) else {
                continue;
            };
            if let Some(row) = self.realms.note_revoked_by(realm, None) {
                self.store.apply(vec![row], None)?;
            }
            if self.realms.is_network(realm) {
                let gone = self.realms.note_changes(&mut self.outbox, &before);
                gone.iter().for_each(|site| self.links.peer_down(site));
                self.realms.show_members(&mut self.outbox);
                let (links, cx, _, out) = self.parts();
                for (token, site) in out.take_back_welcomes(&gone) {
                    cx.answer_former_keys(out, site, token, &[], false);
                }
                links.pull_from_all(cx, out, realm.main_space());
            } else {
                self.realms.retain_receipts_in(realm);
                let (links, cx, _, out) = self.parts();
                links.meet_sites_of(cx, out, realm, &before);
            }
        }
        Ok(())
    }

    /// Reads what the tables say into memory.
    pub(super) fn load(
        &mut self,
        ticket: Option<Ticket>,
        beside: Option<&Self>,
    ) -> Result<(), StoreError> {
        self.batch.load_indexes(&self.store)?;
        let genesis: Option<Genesis> = row(&self.store, "genesis document", logs::GENESIS)?;
        let named = ticket.as_ref().map(|ticket| ticket.grant.realm);
        let network = genesis.as_ref().map(Genesis::network).or(named);
        if let Some(network) = network {
            let ticket = ticket.filter(|ticket| ticket.grant.realm == network);
            self.realms.know_network(&mut self.outbox, network, genesis, ticket);
            self.realms.load_private(&self.store, &mut self.outbox)?;
            self.realms.load(&self.store)?;
            self.load_members(beside)?;
            self.realms.load_revoked_by(&self.store)?;
            self.batch.load_unreadable(&self.store, &self.realms.spaces())?;
        }
        Ok(())
    }

    /// Members from the entries of the membership space: the last step of opening.
    pub(super) fn load_members(&mut self, beside: Option<&Self>) -> Result<(), StoreError> {
        if beside.is_some_and(|other| self.realms.share_members(&other.realms)) {
            return Ok(());
        }
        for realm in self.realms.ids() {
            let entries = self.context().membership_entries(realm, true)?;
            self.learn_members(entries.iter())?;
        }
        Ok(())
    }

    /// Empties the tables and rebuilds them from the journal. A new incarnation begins, as with a start: where the
    /// journal is damaged, less may be held of this site's own log than others hold.
    ///
    /// # Errors
    /// [`StoreError`] where the journal cannot be read or the tables cannot be written.
    pub fn rebuild(&mut self, progress: &mut dyn FnMut(Progress)) -> Result<(), StoreError> {
        self.author.incarnation = self.links.another_life(self.author, &self.realms);
        let ticket = self.realms.take_ticket();
        // What others said of what they hold is in no journal.
        let receipts = self.realms.clear();
        self.batch.forget();
        self.store.clear_tables()?;
        self.load(ticket, None)?;
        self.replay(progress)?;
        self.realms.take_up(receipts);
        let Self { links, store, realms, outbox, .. } = self;
        links.forget_losses();
        links.find_losses(store, realms, outbox)
    }

    /// Keeps the proof of a fork.
    pub(super) fn keep_fork(&mut self, space: SpaceId, fork: ForkProof) -> Result<(), StoreError> {
        let (author, seq) = (fork.lower.0.author, fork.lower.0.seq);
        let content = codec::encode(&fork);
        let positions = match self.store.append(&[&Frame::Fork(&content).bytes()]) {
            Ok(positions) => positions,
            // The proof comes again with the next pull.
            Err(StoreError::Unwritable { .. }) => return Ok(()),
            Err(error) => return Err(error),
        };
        self.links.note_proof(content.len());
        self.store.apply(logs::fork_rows(&fork).into(), positions.last().copied())?;
        if let Some(logs) = self.realms.logs_mut(space) {
            logs.forks.learn(&fork);
        }
        let (links, cx, batch, out) = self.parts();
        let is_renamed = cx.is_misnamed(batch, space, author, seq)?;
        out.notice(Notice::Fork { author, seq, is_renamed });
        links.note_forks_news();
        links.pull_from_all(cx, out, space);
        Ok(())
    }

    /// Lets the tables catch up with the journal.
    pub(super) fn replay(&mut self, progress: &mut dyn FnMut(Progress)) -> Result<(), StoreError> {
        let mut after = self.store.applied()?;
        if after.is_none() {
            self.realms.replay_others_ahead(&mut self.store, &mut self.batch, &mut self.outbox)?;
        }
        let mut done = Progress { entries: 0, position: after };
        loop {
            let frames = self.store.scan_journal(after, REPLAY_BYTES)?;
            let Some((last, _)) = frames.last() else { break };
            after = Some(*last);
            let mut replayed = Replayed::default();
            for (position, frame) in frames {
                let is_entry = self.replay_frame(position, &frame, &mut replayed)?;
                done.entries += u64::from(is_entry);
                done.position = Some(position);
            }
            self.show_replayed(&mut replayed, after)?;
            progress(done);
        }
        let versions =
            (logs::VERSIONS.to_vec(), Some(codec::encode(&versions(self.payload_format))));
        self.store.apply(vec![versions], None)?;
        // That somebody became a member on the way is no news; who the members are is said once.
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
        self.realms.show_members(&mut self.outbox);
        self.realms.show_spaces(&mut self.outbox);
        Ok(())
    }

    /// Stages what a frame of the journal holds. Says whether it is an entry.
    fn replay_frame(
        &mut self,
        position: Position,
        frame: &[u8],
        replayed: &mut Replayed,
    ) -> Result<bool, StoreError> {
        let damaged = |reason: String| StoreError::Damaged { position, reason };
        let frame = Frame::read(frame).map_err(|unknown| unknown.at(position))?;
        let Frame::Entry(content) = frame else {
            let Self { realms, store, batch, outbox, .. } = self;
            realms.replay_other(store, batch, outbox, &frame)?;
            return Ok(false);
        };
        let entry = Entry::decode(content).map_err(|error| damaged(error.to_string()))?;
        if self.realms.network().is_none() {
            // A site may have written before it learnt its genesis document.
            self.realms.know_network(&mut self.outbox, entry.header.realm, None, None);
        }
        let header = entry.header.clone();
        let (space, membership) = (header.space, header.realm.membership_space());
        let (_, cx, batch, out) = self.parts();
        let mut prepared = PreparedEntry::unread(entry);
        let acceptance = match batch.judge_header(cx, &mut prepared, EntrySource::Journal)? {
            Some(acceptance) => acceptance,
            None => batch.judge_past(cx, out, prepared, EntrySource::Journal)?,
        };
        match acceptance {
            Acceptance::Staged => replayed.positions.push(position),
            // Behind a damaged frame: it comes again from a peer.
            Acceptance::Repeat | Acceptance::NotReady | Acceptance::NoRoom => {}
            Acceptance::Refused(_) | Acceptance::Fork => {}
        }
        if header.author.site == self.site() {
            for (of, tip) in header.tips() {
                // A branch may have been named by another name than it has now: it is named once more.
                let logs = self.realms.logs(of);
                if logs.is_none_or(|logs| !logs.forks.concerns(tip.author)) {
                    replayed.named.logs.insert((space, of, tip.author), tip.seq);
                }
            }
        }
        // Entries after one of members may be by those whom it admits.
        if space == membership || self.batch.stage.is_large() {
            self.show_replayed(replayed, Some(position))?;
        }
        Ok(true)
    }

    fn show_replayed(
        &mut self,
        replayed: &mut Replayed,
        applied: Option<Position>,
    ) -> Result<(), StoreError> {
        let Replayed { positions, named } = std::mem::take(replayed);
        self.show(&positions, applied, &named)?;
        self.batch.drop_stage_to_cache();
        Ok(())
    }
}

/// What the tables of a replica are made by that applies this payload format.
pub(super) fn versions(payload_format: u8) -> Versions {
    (tables::FORMAT, payload_format)
}
