//! The end of a group: local writes are sealed in entries.

use std::collections::BTreeMap;

use super::Batch;
use super::stage::{Pending, Stage, StagedEntry, StagedRecord};
use crate::format::codec;
use crate::ids::{Author, EntryHash, RealmId, SpaceId};
use crate::log::entry::{Body, Draft, Tip, Transaction, limits};
use crate::membership::{Operation, in_pieces};
use crate::protocol::count_fitting;
use crate::replica::context::Context;
use crate::store::Store;
use crate::store::cache::Kept;
use crate::store::frame::Frame;
use crate::store::tables::logs::EntryStatus;

/// Local transactions are packed together up to this many bytes; one entry is then a quick step for every receiver.
const ENTRY_BODY_BYTES: usize = 1024 * 1024;

/// Which logs come to be in the past of local entries.
#[derive(Debug, Default)]
pub(in crate::replica) struct Named {
    /// How far each, by the entries' space and the log's.
    pub(in crate::replica) logs: BTreeMap<(SpaceId, SpaceId, Author), u64>,
    /// By the same spaces, the turn of the logs by which all of them are, see [`Logs::turn`](crate::store::logs::Logs::turn).
    pub(in crate::replica) all: BTreeMap<(SpaceId, SpaceId), u64>,
}

impl Batch {
    /// Makes entries of the local transactions and operations.
    pub(in crate::replica) fn seal<S: Store>(&mut self, cx: Context<'_, S>) -> Named {
        let mut named = Named::default();
        let mut operations: BTreeMap<RealmId, Vec<Operation>> = BTreeMap::new();
        for (realm, operation) in std::mem::take(&mut self.stage.operations) {
            let pieces = in_pieces(realm, operation, cx.key);
            operations.entry(realm).or_default().extend(pieces);
        }
        for (realm, mut operations) in operations {
            let space = realm.membership_space();
            while !operations.is_empty() {
                let sizes = operations.iter().map(|operation| codec::encode(operation).len());
                let count = count_fitting(sizes, ENTRY_BODY_BYTES).max(1);
                let rest = operations.split_off(count);
                self.seal_entry(cx, realm, space, Body::Membership(operations), &mut named);
                operations = rest;
            }
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
        let mut membership_past =
            if space == membership { Vec::new() } else { self.name(cx, space, membership, named) };
        // More tips than one entry takes go into empty ones before it.
        while past.len().max(membership_past.len()) > limits::PAST_TIPS_MAX {
            let rest = past.split_off(past.len().min(limits::PAST_TIPS_MAX));
            let count = membership_past.len().min(limits::PAST_TIPS_MAX);
            let membership_rest = membership_past.split_off(count);
            let empty = if space == membership {
                Body::Membership(Vec::new())
            } else {
                Body::Transactions(Vec::new())
            };
            self.seal_with(cx, realm, space, past, membership_past, &empty);
            (past, membership_past) = (rest, membership_rest);
        }
        self.seal_with(cx, realm, space, past, membership_past, &body);
    }

    /// The tips in space `of` that this site's next entry in `space` must name so that its past covers all that is held.
    /// Records them in `named`.
    fn name<S: Store>(
        &self,
        cx: Context<'_, S>,
        space: SpaceId,
        of: SpaceId,
        named: &mut Named,
    ) -> Vec<Tip> {
        let mut tips = self.unnamed(cx, space, of, named);
        named.logs.extend(tips.iter().map(|tip| ((space, of, tip.author), tip.seq)));
        if let Some(logs) = cx.realms.logs(of) {
            named.all.insert((space, of), logs.turn());
        }
        // What another entry names is in the past of those who name that entry; but a site's new incarnation always
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
        self.stage_entry(
            cx,
            StagedEntry { entry, status: EntryStatus::Applied, origins, by_gossip: false },
        );
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
        let staged = self.stage.logs.iter().filter(|((space, _), _)| *space == of);
        let staged = staged.map(|((_, author), row)| (*author, *row)).collect();
        let since = own.named_all.get(&of).copied().unwrap_or(0);
        logs.unnamed(cx.author, &staged, since, |author| {
            let before = own.named.get(&(of, *author));
            let now = named.logs.get(&(space, of, *author));
            before.max(now).copied().unwrap_or(0)
        })
    }

    /// The frames that the journal is to have of the group: what realms began with, that of the group before once more, then
    /// the entries. These come last, on which [`Replica::commit`](crate::Replica::commit) relies.
    pub(in crate::replica) fn frames(&self) -> Vec<Vec<u8>> {
        let entries = self.stage.entries.iter();
        let entries = entries.map(|staged| Frame::Entry(staged.entry.bytes()).bytes());
        let founding = self.founding.iter().cloned().chain(self.stage.founding_frames());
        founding.chain(entries).collect()
    }

    /// Ends the group in memory; its documents go to the cache.
    pub(in crate::replica) fn drop_stage_to_cache(&mut self) -> Stage {
        let mut stage = std::mem::take(&mut self.stage);
        for (key, StagedRecord { document, places, .. }) in std::mem::take(&mut stage.records) {
            if let Ok(document) = document {
                self.documents.put(key, Kept { document, changes: places });
            }
        }
        stage
    }
}

impl Stage {
    /// What realms began with that the group brings, as frames of the journal.
    pub(in crate::replica) fn founding_frames(&self) -> Vec<Vec<u8>> {
        Frame::founding(self.genesis.as_ref(), &self.spaces)
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::entry::Origin;

    const HERE: RealmId = RealmId([1; 32]);
    const THERE: RealmId = RealmId([2; 32]);

    /// A transaction that its number distinguishes.
    fn pending(realm: RealmId, number: u64, bytes: usize, operations: usize) -> Pending {
        let origin = Some(Origin { source: "till".to_owned(), number });
        Pending {
            realm,
            transaction: Transaction { origin, changes: Vec::new() },
            bytes,
            operations,
        }
    }

    fn numbers(entries: &[(RealmId, Vec<Transaction>)]) -> Vec<(RealmId, Vec<u64>)> {
        let number = |it: &Transaction| it.origin.as_ref().map_or(0, |origin| origin.number);
        let of =
            |(realm, it): &(RealmId, Vec<Transaction>)| (*realm, it.iter().map(number).collect());
        entries.iter().map(of).collect()
    }

    #[test]
    fn transactions_of_a_group_share_an_entry_in_their_order() {
        let entries = split((1..=3).map(|number| pending(HERE, number, 100, 1)).collect());
        assert_eq!(numbers(&entries), [(HERE, vec![1, 2, 3])]);
        assert!(split(Vec::new()).is_empty());
    }

    #[test]
    fn an_entry_holds_no_more_bytes_than_is_quick_to_take_in() {
        let half = ENTRY_BODY_BYTES / 2;
        let entries = split((1..=3).map(|number| pending(HERE, number, half, 1)).collect());
        assert_eq!(numbers(&entries), [(HERE, vec![1, 2]), (HERE, vec![3])]);
    }

    #[test]
    fn a_transaction_that_is_larger_has_an_entry_of_its_own() {
        let large = pending(HERE, 2, 3 * ENTRY_BODY_BYTES, 1);
        let entries = split(vec![pending(HERE, 1, 10, 1), large, pending(HERE, 3, 10, 1)]);
        assert_eq!(numbers(&entries), [(HERE, vec![1]), (HERE, vec![2]), (HERE, vec![3])]);
    }

    #[test]
    fn an_entry_keeps_to_the_limits_of_the_format() {
        let most = limits::OPERATIONS_MAX;
        let entries = split(vec![pending(HERE, 1, 10, most), pending(HERE, 2, 10, 1)]);
        assert_eq!(numbers(&entries), [(HERE, vec![1]), (HERE, vec![2])]);
    }

    #[test]
    fn transactions_of_two_realms_share_no_entry() {
        let realms = [HERE, THERE, THERE, HERE];
        let pending =
            realms.into_iter().zip(1..).map(|(realm, number)| pending(realm, number, 1, 1));
        let entries = split(pending.collect());
        assert_eq!(numbers(&entries), [(HERE, vec![1]), (THERE, vec![2, 3]), (HERE, vec![4])]);
    }
}
