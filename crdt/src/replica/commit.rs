//! The end of a group: local writes are sealed in entries, everything is appended to the journal with one sync,
//! the rows follow, and only then does anyone hear of it.

use std::collections::BTreeMap;

use super::batch::stage::{After, Pending, Stage, StagedEntry, StagedRecord};
use super::batch::write::WriteError;
use super::batch::{Batch, Context};
use super::{DecisionError, Output, Replica, Validation};
use crate::cache::Kept;
use crate::format::codec;
use crate::frame::Frame;
use crate::ids::{Author, EntryHash, RealmId, SpaceId};
use crate::log::entry::{Body, Draft, Entry, Tip, Transaction, limits};
use crate::logs::Logs;
use crate::membership::{Genesis, Operation};
use crate::store::tables::logs::Fate;
use crate::store::{Position, Store, StoreError};

/// Local transactions are packed together up to this many bytes; one entry is then a quick step for every receiver.
const ENTRY_BODY_BYTES: usize = 1024 * 1024;

/// Which logs come to be in the past of local entries, by the entries' space and the logs'.
pub(super) type Named = BTreeMap<(SpaceId, SpaceId, Author), u64>;

impl Batch {
    /// Makes entries of the local transactions and operations.
    fn seal<S: Store>(&mut self, cx: Context<'_, S>) -> Named {
        let mut named = Named::new();
        let mut operations: BTreeMap<RealmId, Vec<Operation>> = BTreeMap::new();
        for (realm, operation) in std::mem::take(&mut self.stage.operations) {
            operations.entry(realm).or_default().push(operation);
        }
        for (realm, operations) in operations {
            let space = realm.membership_space();
            self.seal_entry(cx, realm, space, Body::Membership(operations), &mut named);
        }
        let transactions = std::mem::take(&mut self.stage.transactions);
        for (realm, transactions) in split(transactions) {
            let space = realm.main_space();
            let counts: Vec<u32> = transactions.iter().map(|t| t.changes.len() as u32).collect();
            self.seal_entry(cx, realm, space, Body::Transactions(transactions), &mut named);
            let entry = self.stage.entries.len() - 1;
            let mut first = 0;
            for count in counts {
                self.stage.sealed.push((entry, first));
                first += count;
            }
        }
        named
    }

    fn seal_entry<S: Store>(
        &mut self,
        cx: Context<'_, S>,
        realm: RealmId,
        space: SpaceId,
        body: Body,
        named: &mut Named,
    ) {
        let membership = realm.membership_space();
        let mut past = self.name(cx, space, space, named);
        let mut membership_past = match space == membership {
            true => Vec::new(),
            false => self.name(cx, space, membership, named),
        };
        // More tips than one entry takes go into empty ones before it.
        while past.len().max(membership_past.len()) > limits::PAST_TIPS_MAX {
            let rest = past.split_off(past.len().min(limits::PAST_TIPS_MAX));
            let count = membership_past.len().min(limits::PAST_TIPS_MAX);
            let membership_rest = membership_past.split_off(count);
            let empty = match space == membership {
                true => Body::Membership(Vec::new()),
                false => Body::Transactions(Vec::new()),
            };
            self.seal_with(cx, realm, space, past, membership_past, &empty);
            (past, membership_past) = (rest, membership_rest);
        }
        self.seal_with(cx, realm, space, past, membership_past, &body);
    }

    /// The tips of the logs of space `of` that the next own entry in `space` has to name, so that all that is held
    /// comes to be in its past, which `named` then says.
    fn name<S: Store>(
        &self,
        cx: Context<'_, S>,
        space: SpaceId,
        of: SpaceId,
        named: &mut Named,
    ) -> Vec<Tip> {
        let mut tips = self.unnamed(cx, space, of, named);
        named.extend(tips.iter().map(|tip| ((space, of, tip.author), tip.seq)));
        // What another entry names is in the past of whoever names that entry; but a site's new incarnation always
        // says where the former one ended.
        let own = cx.author.site;
        tips.retain(|tip| {
            tip.author.site == own || self.covered(cx, space, of, tip.author) < tip.seq
        });
        tips
    }

    /// How far entries in `space` name a log of space `of`, as the group sees it.
    fn covered<S: Store>(
        &self,
        cx: Context<'_, S>,
        space: SpaceId,
        of: SpaceId,
        author: Author,
    ) -> u64 {
        let logs = cx.realms.logs(space);
        let known = logs.and_then(|logs| logs.covered.get(&(of, author)));
        let staged = self.stage.covered.get(&(space, of, author));
        known.max(staged).copied().unwrap_or(0)
    }

    fn seal_with<S: Store>(
        &mut self,
        cx: Context<'_, S>,
        realm: RealmId,
        space: SpaceId,
        past: Vec<Tip>,
        membership_past: Vec<Tip>,
        body: &Body,
    ) {
        let tip = self.log(cx, space, cx.author);
        let draft = Draft {
            realm,
            space,
            author: cx.author,
            seq: tip.map_or(1, |row| row.seq + 1),
            previous: tip.map_or(EntryHash::NONE, |row| row.hash),
            past,
            membership_past,
            time_ms: cx.now.wall_ms,
        };
        let entry = draft.sign_as(cx.payload_format, body, cx.key);
        let origins = match body {
            Body::Transactions(transactions) => {
                transactions.iter().filter_map(|transaction| transaction.origin.clone()).collect()
            }
            Body::Membership(_) => Vec::new(),
        };
        self.stage_entry(cx, StagedEntry { entry, fate: Fate::Applied, origins, by_gossip: false });
    }

    /// The tips of the logs of space `of`, as the group sees them, that are not in the past of own entries in `space`.
    fn unnamed<S: Store>(
        &self,
        cx: Context<'_, S>,
        space: SpaceId,
        of: SpaceId,
        named: &Named,
    ) -> Vec<Tip> {
        let (Some(own), Some(logs)) = (cx.realms.logs(space), cx.realms.logs(of)) else {
            return Vec::new();
        };
        let mut before = own.named.clone();
        before.extend(named.iter().filter(|(key, _)| key.0 == space).map(|(key, seq)| {
            let (_, of, author) = *key;
            ((of, author), *seq)
        }));
        let staged: Vec<_> =
            self.stage.logs.iter().filter(|((space, _), _)| *space == of).collect();
        if staged.is_empty() {
            return logs.unnamed(cx.author, of, &before);
        }
        let mut rows = logs.rows.clone();
        rows.extend(staged.into_iter().map(|((_, author), row)| (*author, *row)));
        Logs { rows, ..Logs::default() }.unnamed(cx.author, of, &before)
    }

    /// Ends the group in memory; its documents go to the cache.
    pub(super) fn drop_stage_to_cache(&mut self) -> Stage {
        let mut stage = std::mem::take(&mut self.stage);
        for (key, StagedRecord { document, places, .. }) in std::mem::take(&mut stage.records) {
            if let Ok(document) = document {
                self.documents.put(key, Kept { document, changes: places });
            }
        }
        stage
    }
}

impl<S: Store> Replica<S> {
    /// Ends a group of inputs: makes it durable and visible, and tells whoever waits for it. `false`: the journal
    /// could not be written, and the group is forgotten.
    pub fn commit(&mut self) -> Result<bool, StoreError> {
        let (batch, cx, _) = self.parts();
        let named = batch.seal(cx);
        if !self.batch.stage.is_empty() {
            let mut frames = Vec::with_capacity(self.batch.stage.entries.len() + 1);
            let genesis = self.batch.stage.genesis.as_ref();
            frames.extend(genesis.map(|document| Frame::Genesis(&codec::encode(document)).bytes()));
            let spaces = self.batch.stage.spaces.iter();
            frames.extend(spaces.map(|document| Frame::Space(&codec::encode(document)).bytes()));
            let entries = self.batch.stage.entries.iter();
            frames.extend(entries.map(|staged| Frame::Entry(staged.entry.bytes()).bytes()));
            let slices: Vec<&[u8]> = frames.iter().map(Vec::as_slice).collect();
            let appended = match slices.is_empty() {
                true => Ok(Vec::new()),
                false => self.store.append(&slices),
            };
            self.links.is_unwritable = matches!(appended, Err(StoreError::Unwritable { .. }));
            let positions = match appended {
                Ok(positions) => positions,
                Err(error @ StoreError::Unwritable { .. }) => {
                    self.abort(&error.to_string());
                    return Ok(false);
                }
                Err(error) => return Err(error),
            };
            let entries = positions.split_at(positions.len() - self.batch.stage.entries.len()).1;
            self.show(entries, positions.last().copied(), &named)?;
        }
        let stage = self.batch.drop_stage_to_cache();
        self.tell(stage)?;
        Ok(true)
    }

    /// Makes a batch visible whose entries are at `positions`: in the tables, and the same in memory. `applied`: how far
    /// the journal then shows.
    pub(super) fn show(
        &mut self,
        positions: &[Position],
        applied: Option<Position>,
        named: &Named,
    ) -> Result<(), StoreError> {
        let (batch, cx, outbox) = self.parts();
        let rows = batch.rows(cx, outbox, positions, named)?;
        self.store.apply(rows, applied)?;
        self.remember(named)
    }

    /// What the rows now say, in memory.
    fn remember(&mut self, named: &Named) -> Result<(), StoreError> {
        for ((space, author), row) in &self.batch.stage.logs {
            if let Some(logs) = self.realms.logs_mut(*space) {
                logs.rows.insert(*author, *row);
            }
        }
        for ((space, of, author), seq) in named {
            if let Some(logs) = self.realms.logs_mut(*space) {
                logs.named.insert((*of, *author), *seq);
            }
        }
        for ((space, of, author), seq) in std::mem::take(&mut self.batch.stage.covered) {
            if let Some(logs) = self.realms.logs_mut(space) {
                let covered = logs.covered.entry((of, author)).or_insert(0);
                *covered = seq.max(*covered);
            }
        }
        if let Some(genesis) = self.batch.stage.genesis.take() {
            self.learn_genesis(genesis);
        }
        for document in std::mem::take(&mut self.batch.stage.spaces) {
            self.enter_space(document);
        }
        let entries = std::mem::take(&mut self.batch.stage.entries);
        let applied = entries.iter().filter(|staged| staged.fate == Fate::Applied);
        let learnt = self.learn_members(applied.map(|staged| &staged.entry));
        self.batch.stage.entries = entries;
        self.batch.schemas.clear();
        learnt
    }

    /// Tells whoever waits that the group is durable.
    fn tell(&mut self, mut stage: Stage) -> Result<(), StoreError> {
        for (id, results) in std::mem::take(&mut stage.written) {
            let told = |result: Result<_, _>| result.map(|staged| stage.written(staged));
            let results = results.into_iter().map(told).collect();
            self.outbox.push(Output::Written { id, results });
        }
        if !stage.entries.is_empty() {
            let (links, cx, _, out) = self.sync();
            links.look_for_copies(cx, out, &stage.entries);
            links.spread(cx, out, &stage.entries);
            links.receipts_are_due(cx);
        }
        for after in stage.after {
            match after {
                After::Say(output) => self.outbox.push(output),
                After::Welcome { token, to, former } => self.welcome(token, to, &former)?,
                After::Pull { from, space } => self.pull(from, space),
                After::PullMore { from, space } => {
                    let (links, cx, batch, out) = self.sync();
                    links.pull_more(cx, batch, out, from, space)?;
                }
                After::GoOn { with } => self.go_on_with(with),
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
                    self.refuse(token, "this site cannot write at present")
                }
                After::Pull { .. } | After::PullMore { .. } | After::GoOn { .. } => {}
            }
        }
    }

    /// Takes over a genesis document whose hash was checked.
    pub(super) fn learn_genesis(&mut self, genesis: Genesis) {
        let network = genesis.network();
        let ticket = self.realms.take_ticket();
        self.enter_network(network, Some(genesis), ticket);
        self.tell_members();
    }

    /// Folds the membership entries among `entries` in. Who may write what is then another question than before, so
    /// everyone is asked again for what could not be accepted.
    pub(super) fn learn_members<'a>(
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
            match self.realms.is_network(realm) {
                true => self.learn_network_members(&entries)?,
                false => self.learn_space_members(realm, &entries)?,
            }
        }
        Ok(())
    }

    fn learn_network_members(&mut self, entries: &[&Entry]) -> Result<(), StoreError> {
        let network = self.realms.network().and_then(|network| self.realms.get_mut(network));
        let learnt = network.and_then(|network| network.learn(entries.iter().copied()));
        let (Some(network), Some(before)) = (self.realms.network(), learnt) else { return Ok(()) };
        self.set_told_revoked_by(network, None)?;
        self.tell_of_changes(&before);
        self.tell_members();
        let peers: Vec<_> = self.links.peers.keys().copied().collect();
        for peer in peers {
            self.pull(peer, network.main_space());
        }
        Ok(())
    }
}

/// Transactions in as few entries as the format and [`ENTRY_BODY_BYTES`] allow, each with the realm of its space.
fn split(transactions: Vec<Pending>) -> Vec<(RealmId, Vec<Transaction>)> {
    let mut entries: Vec<(RealmId, Vec<Transaction>)> = Vec::new();
    let (mut bytes, mut changes, mut operations) = (0, 0, 0);
    for pending in transactions {
        bytes += pending.bytes;
        changes += pending.transaction.changes.len();
        operations += pending.operations;
        let fits = bytes <= ENTRY_BODY_BYTES
            && changes <= limits::CHANGES_MAX
            && operations <= limits::OPERATIONS_MAX;
        match entries.last_mut() {
            Some((realm, entry)) if fits && *realm == pending.realm => {
                entry.push(pending.transaction)
            }
            Some(_) | None => {
                bytes = pending.bytes;
                changes = pending.transaction.changes.len();
                operations = pending.operations;
                entries.push((pending.realm, vec![pending.transaction]));
            }
        }
    }
    entries
}
