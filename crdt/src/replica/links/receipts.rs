//! Receipts: saying to others what is durable here, and keeping what others say.

use std::collections::{BTreeMap, BTreeSet};

use super::Links;
use crate::format::codec;
use crate::ids::{RealmId, SiteId, SiteKey, SpaceId};
use crate::log::entry::Tip;
use crate::log::receipt::{Held, LogTag, RECEIPT_LOGS_MAX, Receipt};
use crate::protocol::count_fitting;
use crate::replica::context::Context;
use crate::replica::realms::Realms;
use crate::replica::{Now, Validation};
use crate::store::tables::{ReadTables, decode_row, logs, walk};
use crate::store::{RowWrite, Store, StoreError};

/// A receipt follows what it tells of by this much, so that a burst of writes makes one.
const RECEIPT_DELAY_MS: u64 = 500;
/// All receipts together may take a site about so many bytes a second, or a network of hundreds would do little else:
/// each member waits a random part of the time that this leaves for one of each.
const RECEIPTS_BYTES_PER_SECOND: u64 = 512;

/// Bytes of a receipt, and of each log that it lists.
const RECEIPT_BYTES: u64 = 180;
const RECEIPT_LOG_BYTES: u64 = 9;

/// Bytes of receipts in one answer: where many sites write they differ at any time, and this is sent in vain.
const RECEIPTS_BYTES_MAX: usize = 8 * 1024;

/// A receipt that was taken in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeardReceipt {
    /// When it was issued, in ms since 1970 by its site's clock.
    pub time_ms: i64,
    /// Whether it came by gossip, as it does when it is issued; otherwise it was fetched from another site, and may be old.
    pub is_live: bool,
}

/// The latest receipt of each site in one space.
#[derive(Clone, Debug, Default)]
pub(in crate::replica) struct Receipts {
    pub(in crate::replica) by_site: BTreeMap<SiteId, Receipt>,
    /// Not in the tables yet.
    unsaved: BTreeSet<SiteId>,
}

impl Receipts {
    pub(in crate::replica) fn load(
        tables: &impl ReadTables,
        space: SpaceId,
    ) -> Result<Self, StoreError> {
        let mut loaded = Self::default();
        walk(tables, &logs::receipts(space), None, |_, value| {
            let receipt: Receipt = decode_row("receipt", value)?;
            loaded.by_site.insert(receipt.site, receipt);
            Ok(true)
        })?;
        Ok(loaded)
    }

    fn digest(&self) -> [u8; 8] {
        let numbers: Vec<_> = self.by_site.iter().map(|(site, r)| (site, r.number)).collect();
        let hash = blake3::derive_key("branchline 1 receipts", &codec::encode(&numbers));
        let mut digest = [0; 8];
        digest.copy_from_slice(&hash[..8]);
        digest
    }

    /// As many receipts as fit one answer, beginning elsewhere each time: after some answers all have been sent.
    fn some(&self, turn: u64) -> Vec<Receipt> {
        let start = usize::try_from(turn).unwrap_or(0) % self.by_site.len().max(1);
        let turned = self.by_site.values().cycle().skip(start).take(self.by_site.len());
        let sizes = turned.clone().map(|receipt| codec::encode(receipt).len());
        let count = count_fitting(sizes, RECEIPTS_BYTES_MAX);
        turned.take(count).cloned().collect()
    }

    /// Forgets the receipts of all other sites.
    pub(in crate::replica) fn retain(&mut self, is_kept: impl Fn(&SiteId) -> bool) {
        self.by_site.retain(|site, _| is_kept(site));
    }

    fn keep(&mut self, receipt: Receipt) {
        self.unsaved.insert(receipt.site);
        self.by_site.insert(receipt.site, receipt);
    }
}

impl<S: Store> Context<'_, S> {
    pub(in crate::replica) fn receipts_digest(&self, space: SpaceId) -> [u8; 8] {
        self.realms.receipts(space).map(Receipts::digest).unwrap_or_default()
    }
}

impl Links {
    /// The receipts of a space, where they are not the ones with this digest.
    pub(in crate::replica) fn receipts_unless<S: Store>(
        &self,
        cx: Context<'_, S>,
        space: SpaceId,
        digest: &[u8; 8],
    ) -> Vec<Receipt> {
        match cx.realms.receipts(space) {
            Some(receipts) if receipts.digest() != *digest => receipts.some(self.request_count),
            Some(_) | None => Vec::new(),
        }
    }

    pub(in crate::replica) fn receipts_are_due<S: Store>(&mut self, cx: Context<'_, S>) {
        if self.timers.receipt_ms.is_some() {
            return;
        }
        let members = cx.realms.members().map_or(0, |members| members.all().len() as u64);
        // Any member may come to write.
        let bytes = RECEIPT_BYTES + RECEIPT_LOG_BYTES * members.min(RECEIPT_LOGS_MAX as u64);
        let round_ms = members * bytes * 1000 / RECEIPTS_BYTES_PER_SECOND;
        let delay_ms = RECEIPT_DELAY_MS + self.random.below(round_ms);
        self.timers.receipt_ms = Some(cx.now.monotonic_ms + delay_ms);
    }

    /// Whether receipts are due by now; they are then taken as issued.
    pub(in crate::replica) fn take_due_receipts(&mut self, now: Now) -> bool {
        self.timers.receipt_ms.take_if(|at| *at <= now.monotonic_ms).is_some()
    }

    /// What others may rely on: of a log that has lost an entry, only what comes before it.
    pub(in crate::replica) fn held_durably<S: Store>(
        &self,
        cx: Context<'_, S>,
        space: SpaceId,
    ) -> Result<Held, StoreError> {
        let Some(logs) = cx.realms.logs(space) else { return Ok(Held::default()) };
        let durable = |tip: Tip| {
            let lost = self.losses.first(space, tip.author);
            (tip.author, lost.map_or(tip.seq, |first| tip.seq.min(first - 1)))
        };
        let listed = || logs.latest().map(durable).filter(|(_, seq)| *seq > 0);
        let (frontier, log_count) = match self.losses.count() {
            0 => (logs.frontier_digest(), logs.head_count()),
            _ => ([0; 16], listed().count()),
        };
        let log_count = log_count as u64;
        let listed = listed().take(RECEIPT_LOGS_MAX);
        let logs = listed.map(|(author, seq)| (LogTag::of(&author), seq)).collect();
        Ok(Held { frontier, log_count, logs })
    }
}

impl Realms {
    /// Keeps a receipt if it is its site's latest; it is saved with this site's own.
    pub(in crate::replica) fn take_receipt(&mut self, receipt: Receipt) -> Validation {
        let realm = self.realm_of(receipt.space).filter(|realm| *realm == receipt.realm);
        let members = realm.and_then(|realm| self.members_of(realm));
        let is_member = members.is_some_and(|members| members.get(&receipt.site).is_some());
        let Some(receipts) = self.receipts_mut(receipt.space) else { return Validation::Ignore };
        let known = receipts.by_site.get(&receipt.site).map_or(0, |known| known.number);
        if !is_member || receipt.number <= known {
            return Validation::Ignore;
        }
        if !receipt.is_signed() {
            return Validation::Reject;
        }
        receipts.keep(receipt);
        Validation::Accept
    }

    /// This site's next receipt of a realm's records, if it is in that realm and holds something else than it said last.
    pub(in crate::replica) fn next_receipt(
        &mut self,
        realm: RealmId,
        held: Held,
        key: &SiteKey,
        now: Now,
    ) -> Option<Receipt> {
        let (site, space) = (key.site(), realm.main_space());
        self.members_of(realm)?.get(&site)?;
        let receipts = self.receipts_mut(space)?;
        let last = receipts.by_site.get(&site);
        if last.is_some_and(|last| last.held == held) {
            return None;
        }
        let number = last.map_or(1, |last| last.number + 1);
        let receipt = Receipt::sign(realm, space, number, held, now.wall_ms, key);
        receipts.keep(receipt.clone());
        Some(receipt)
    }

    /// The rows of the receipts of a space that are not in the tables yet.
    pub(in crate::replica) fn unsaved_receipts(&mut self, space: SpaceId) -> Vec<RowWrite> {
        let Some(receipts) = self.receipts_mut(space) else { return Vec::new() };
        let unsaved = std::mem::take(&mut receipts.unsaved);
        let row = |site| {
            let receipt = receipts.by_site.get(&site)?;
            Some((logs::receipt(space, site), Some(codec::encode(receipt))))
        };
        unsaved.into_iter().filter_map(row).collect()
    }
}

/// The receipts that were taken in.
#[derive(Debug, Default)]
pub(in crate::replica) struct HeardReceipts {
    /// How many since the start.
    pub(in crate::replica) count: u64,
    by_site: BTreeMap<SiteId, HeardReceipt>,
}

impl HeardReceipts {
    /// Takes note of one. Where several came of a site, one that came by gossip counts.
    pub(in crate::replica) fn note(&mut self, site: SiteId, heard: HeardReceipt) {
        self.count += 1;
        if heard.is_live {
            self.by_site.insert(site, heard);
        } else {
            self.by_site.entry(site).or_insert(heard);
        }
    }

    /// Those that were taken in since this was last asked.
    pub(in crate::replica) fn take(&mut self) -> BTreeMap<SiteId, HeardReceipt> {
        std::mem::take(&mut self.by_site)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::RealmId;

    const REALM: RealmId = RealmId([7; 32]);

    fn receipt(by: u8, number: u64) -> Receipt {
        let key = SiteKey::from_seed([by; 32]);
        Receipt::sign(REALM, REALM.main_space(), number, Held::default(), 0, &key)
    }

    fn receipts(count: u8) -> Receipts {
        let mut receipts = Receipts::default();
        (0..count).for_each(|by| receipts.keep(receipt(by, 1)));
        receipts
    }

    #[test]
    fn receipts_that_do_not_fit_one_answer_have_their_turn() {
        let receipts = receipts(200);
        let mut shown = BTreeSet::new();
        for turn in 0..200 {
            let some = receipts.some(turn);
            let bytes: usize = some.iter().map(|receipt| codec::encode(receipt).len()).sum();
            assert!(!some.is_empty() && bytes <= RECEIPTS_BYTES_MAX);
            assert!(some.len() < 200);
            shown.extend(some.iter().map(|receipt| receipt.site));
        }
        assert_eq!(shown.len(), 200);
    }

    #[test]
    fn the_digest_changes_with_any_receipt() {
        let mut receipts = receipts(3);
        let before = receipts.digest();
        assert_eq!(before, self::receipts(3).digest());
        receipts.keep(receipt(1, 2));
        assert_ne!(before, receipts.digest());
    }

    #[test]
    fn of_what_was_heard_of_a_site_gossip_counts() {
        let (site, mut heard) = (SiteId([1; 32]), HeardReceipts::default());
        let of = |time_ms, is_live| HeardReceipt { time_ms, is_live };
        heard.note(site, of(1, false));
        heard.note(site, of(3, true));
        heard.note(site, of(2, false));
        assert_eq!(heard.count, 3);
        assert_eq!(heard.take(), BTreeMap::from([(site, of(3, true))]));
        assert!(heard.take().is_empty());
    }

    #[test]
    fn receipts_are_issued_once_when_they_are_due() {
        let mut links = Links::new(1);
        let at = |monotonic_ms| Now { wall_ms: 0, monotonic_ms };
        assert!(!links.take_due_receipts(at(10_000)), "nothing has changed");
        links.timers.receipt_ms = Some(500);
        assert!(!links.take_due_receipts(at(499)));
        assert!(links.take_due_receipts(at(500)));
        assert!(!links.take_due_receipts(at(501)));
    }
}
