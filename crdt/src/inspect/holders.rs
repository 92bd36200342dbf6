//! What receipts say of the entries that are held here: who holds them too, and who has not confirmed which.

use std::collections::BTreeMap;

use crate::ids::{Author, SiteId, SpaceId};
use crate::log::frontier::Known;
use crate::log::receipt::{LogTag, Receipt};
use crate::store::StoreError;
use crate::store::logs::Logs;
use crate::store::tables::{ReadTables, decode_row, logs, walk};

/// What a site says of some entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Holding {
    /// Whether it holds them durably. `None`: its receipt lists the logs that went on last, and theirs are not among
    /// them.
    pub holds: Option<bool>,
    /// When it issued its receipt, in ms since 1970 by its own clock.
    pub receipt_ms: i64,
}

/// The latest receipt of each site, as far as they are in the tables: some seconds may be missing.
///
/// # Errors
/// [`StoreError`] where the tables cannot be read: rebuild them from the journal.
pub fn receipts(
    tables: &impl ReadTables,
    space: SpaceId,
) -> Result<BTreeMap<SiteId, Receipt>, StoreError> {
    let mut found = BTreeMap::new();
    walk(tables, &logs::receipts(space), None, |_, value| {
        let receipt: Receipt = decode_row("receipt", value)?;
        found.insert(receipt.site, receipt);
        Ok(true)
    })?;
    Ok(found)
}

/// What each site that has issued one of these receipts says of these entries.
///
/// # Errors
/// [`StoreError`] where the tables cannot be read: rebuild them from the journal.
pub fn holders(
    tables: &impl ReadTables,
    space: SpaceId,
    entries: &[(Author, u64)],
    receipts: BTreeMap<SiteId, Receipt>,
) -> Result<BTreeMap<SiteId, Holding>, StoreError> {
    let logs = Logs::load(tables, space)?;
    let compared = Compared::new(&logs);
    let holding = |(site, receipt): (SiteId, Receipt)| {
        let reported: Vec<_> =
            entries.iter().map(|(author, seq)| compared.covers(&receipt, *author, *seq)).collect();
        let holds = if reported.contains(&Some(false)) {
            Some(false)
        } else {
            reported.into_iter().collect::<Option<Vec<_>>>().map(|_| true)
        };
        (site, Holding { holds, receipt_ms: receipt.time_ms })
    };
    Ok(receipts.into_iter().map(holding).collect())
}

/// How far a site is behind, or ahead.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Lag {
    /// Entries held here that the site has not confirmed.
    pub(crate) entries: u64,
    /// Those of one site among them.
    pub(crate) own_entries: u64,
    /// Entries that it holds and this site lacks.
    pub(crate) ahead_entries: u64,
}

/// The logs that are held here, to compare receipts with.
pub(crate) struct Compared<'a> {
    logs: &'a Logs,
    tags: BTreeMap<LogTag, Author>,
    digest: [u8; 16],
}

impl<'a> Compared<'a> {
    pub(crate) fn new(logs: &'a Logs) -> Self {
        let tags = logs.rows().keys().map(|author| (LogTag::of(author), *author)).collect();
        Self { logs, tags, digest: logs.frontier_digest() }
    }

    /// Whether the receipt is of exactly what is held here.
    fn is_same(&self, receipt: &Receipt) -> bool {
        receipt.held.frontier == self.digest
    }

    /// The logs that a receipt lists, as far as they are known here.
    pub(crate) fn known(&self, receipt: &Receipt) -> Vec<Known> {
        let known = |(tag, seq): (&LogTag, &u64)| {
            let author = *self.tags.get(tag)?;
            Some(Known { author, seq: *seq, check: [0; 8], predecessors: Vec::new() })
        };
        receipt.held.logs.iter().filter_map(known).collect()
    }

    /// For each log of which a receipt tells, and that it does not confirm up to its end: the number of the first entry
    /// that is not confirmed.
    pub(crate) fn lacking(&self, receipt: &Receipt) -> BTreeMap<Author, u64> {
        self.unconfirmed(receipt.site, Some(receipt)).0
    }

    /// The logs that a site has not confirmed up to their end, each with the number of the first entry that is not; apart
    /// from them those of which its receipt does not say.
    ///
    /// What the site wrote itself needs no receipt: its signature shows that it held the entry. Only where its receipt
    /// says that something is damaged there, it may have lost what it wrote.
    pub(crate) fn unconfirmed(
        &self,
        site: SiteId,
        receipt: Option<&Receipt>,
    ) -> (BTreeMap<Author, u64>, BTreeMap<Author, u64>) {
        if receipt.is_some_and(|receipt| self.is_same(receipt)) {
            return (BTreeMap::new(), BTreeMap::new());
        }
        let known = receipt.map(|receipt| self.known(receipt)).unwrap_or_default();
        let mut unconfirmed = self.logs.lacking(&known, None);
        if receipt.is_none_or(|receipt| !receipt.held.is_damaged()) {
            unconfirmed.retain(|author, _| author.site != site);
        }
        let is_listed = |author: &Author| known.iter().any(|item| item.author == *author);
        let tells_all = receipt.is_none_or(|receipt| receipt.held.is_whole());
        unconfirmed.into_iter().partition(|(author, _)| tells_all || is_listed(author))
    }

    /// How a receipt compares with what is held here, where `own` is this site; `None` where it lists some logs, all of
    /// them as held here, and others differ.
    pub(crate) fn lag(&self, receipt: &Receipt, own: SiteId) -> Option<Lag> {
        if self.is_same(receipt) {
            return Some(Lag::default());
        }
        let held_seq = |author: &Author| self.logs.rows().get(author).map_or(0, |row| row.seq);
        let mut lag = Lag::default();
        for (author, from) in self.lacking(receipt) {
            let count = held_seq(&author) + 1 - from;
            lag.entries += count;
            lag.own_entries += if author.site == own { count } else { 0 };
        }
        for (tag, seq) in &receipt.held.logs {
            // Of a log whose tag is not known here nothing is held.
            let held = self.tags.get(tag).map_or(0, held_seq);
            lag.ahead_entries = lag.ahead_entries.saturating_add(seq.saturating_sub(held));
        }
        let tells = receipt.held.is_whole() || lag.entries > 0 || lag.ahead_entries > 0;
        tells.then_some(lag)
    }

    /// Whether a receipt covers an entry of a log that is known here; `None`: it does not say.
    pub(crate) fn covers(&self, receipt: &Receipt, author: Author, seq: u64) -> Option<bool> {
        self.logs.rows().get(&author)?;
        let wrote_it = author.site == receipt.site && !receipt.held.is_damaged();
        if wrote_it || self.is_same(receipt) {
            return Some(true);
        }
        let (known, reported) = (self.known(receipt), self.lacking(receipt));
        if reported.get(&author).is_some_and(|from| *from <= seq) {
            return Some(false);
        }
        let is_listed = known.iter().any(|item| item.author == author);
        let is_implied = !self.logs.lacking(&known, None).contains_key(&author);
        (is_listed || is_implied).then_some(true)
    }
}
