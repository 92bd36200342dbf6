//! Receipts by row: which captured rows were handed to a link, and which the site that is to confirm them holds durably.

use branchline_crdt::log::entry::EntryId;

use crate::sql::cell::Key;
use crate::sql::database::{DbErrorClass, Mark};
use crate::sql::mapping::Mapping;
use crate::sql::worker::{BridgeFailure, BridgeWorker, now_ms};

/// Entries that are asked about at a time.
const ENTRIES_MAX: usize = 100;
/// Rows that are written back at a time: a transaction of some ms.
const ROWS_MAX: usize = 500;

/// What is written back.
enum Back {
    /// Neither sent nor confirmed.
    Cleared,
    Sent,
    /// Sent, and not confirmed in time.
    Lost,
    Confirmed,
}

impl BridgeWorker {
    /// Whether a table's rows are followed until another site has confirmed them.
    pub(in crate::sql::worker) fn wants_receipts(&self, table: u32) -> bool {
        self.mappings
            .get(&table)
            .is_some_and(|mapping| mapping.acked_by.is_some() || mapping.sent.is_some())
    }

    /// Takes up what receipts say; returns whether there is more.
    pub(in crate::sql::worker) async fn acknowledge(&mut self) -> Result<bool, BridgeFailure> {
        let mut is_busy = false;
        let numbers: Vec<u32> = self.mappings.keys().copied().collect();
        for number in numbers {
            if !self.wants_receipts(number) || !self.works(number) {
                continue;
            }
            let Some(mapping) = self.mappings.get(&number).cloned() else { continue };
            let done = match self.follow_up(&mapping).await {
                // The column for it is gone.
                Err(BridgeFailure::Database(error)) if error.class == DbErrorClass::Schema => {
                    self.judge(number, error).await.map(|()| false)
                }
                done => done,
            };
            is_busy |= done?;
        }
        Ok(is_busy)
    }

    async fn follow_up(&mut self, mapping: &Mapping) -> Result<bool, BridgeFailure> {
        self.clear(mapping).await?;
        self.hand_over(mapping).await?;
        self.confirm(mapping).await
    }

    /// A row that was edited since is neither sent nor confirmed.
    async fn clear(&mut self, mapping: &Mapping) -> Result<(), BridgeFailure> {
        let bound = &mapping.bound;
        let keys = self.state.to_clear(bound.number, bound.key.len(), ROWS_MAX).await?;
        if keys.is_empty() {
            return Ok(());
        }
        self.write_back(mapping, &keys, Back::Cleared).await?;
        Ok(self.state.keep_cleared(bound.number, &keys).await?)
    }

    /// What is durable here is on its way as soon as another member is connected.
    async fn hand_over(&mut self, mapping: &Mapping) -> Result<(), BridgeFailure> {
        if mapping.sent.is_none() {
            return Ok(());
        }
        let bound = &mapping.bound;
        let timeout = i64::try_from(mapping.ack_timeout.as_millis()).unwrap_or(i64::MAX);
        let before = now_ms().saturating_sub(timeout);
        let columns = bound.key.len();
        let lost = self.state.unsent(bound.number, columns, Some(before), ROWS_MAX).await?;
        if !lost.is_empty() {
            self.write_back(mapping, &lost, Back::Lost).await?;
            self.state.keep_sent(bound.number, &lost, None).await?;
        }
        let waiting = self.state.unsent(bound.number, columns, None, ROWS_MAX).await?;
        if waiting.is_empty() || !self.has_link().await? {
            return Ok(());
        }
        self.write_back(mapping, &waiting, Back::Sent).await?;
        if mapping.acked_by.is_none() {
            // Nobody is to confirm them.
            return Ok(self.state.acknowledge(bound.number, &waiting).await?);
        }
        Ok(self.state.keep_sent(bound.number, &waiting, Some(now_ms())).await?)
    }

    async fn has_link(&mut self) -> Result<bool, BridgeFailure> {
        let own = self.node.site();
        let sites = self.node.sites().await?;
        Ok(sites.iter().any(|site| site.connected && site.site != own))
    }

    /// One piece of what the site has confirmed; returns whether there is more.
    async fn confirm(&mut self, mapping: &Mapping) -> Result<bool, BridgeFailure> {
        let Some(name) = &mapping.acked_by else { return Ok(false) };
        let names = self.node.names().await?;
        let Some(site) = names.iter().find(|(_, known)| *known == name).map(|(site, _)| *site)
        else {
            return Ok(false);
        };
        let bound = &mapping.bound;
        let entries = self.state.unacknowledged_entries(bound.number, ENTRIES_MAX).await?;
        let mut confirmed: Vec<Key> = Vec::new();
        for (author, seq) in entries {
            let Some(entry) = entry_of(&author, seq) else { continue };
            let holders = self.node.holders(entry).await?;
            if holders.get(&site).copied().flatten() != Some(true) {
                // Later entries of the same author are not there either.
                break;
            }
            let (of, room) = ((author.as_str(), seq), ROWS_MAX - confirmed.len());
            let columns = bound.key.len();
            confirmed
                .extend(self.state.unacknowledged_rows(bound.number, columns, of, room).await?);
            if confirmed.len() >= ROWS_MAX {
                break;
            }
        }
        if confirmed.is_empty() {
            return Ok(false);
        }
        self.write_back(mapping, &confirmed, Back::Confirmed).await?;
        self.state.acknowledge(bound.number, &confirmed).await?;
        Ok(confirmed.len() >= ROWS_MAX)
    }

    /// Writes into the columns for it, and into no others; it is no edit.
    async fn write_back(
        &mut self,
        mapping: &Mapping,
        keys: &[Key],
        back: Back,
    ) -> Result<(), BridgeFailure> {
        let (sent, acked) = match back {
            Back::Cleared => (Some(false), Some(false)),
            Back::Sent => (Some(true), None),
            Back::Lost => (Some(false), None),
            // What is confirmed was sent.
            Back::Confirmed => (Some(true), Some(true)),
        };
        let columns = [(&mapping.sent, sent), (&mapping.acked, acked)];
        let columns: Vec<(&String, bool)> = columns
            .into_iter()
            .filter_map(|(column, is_set)| column.as_ref().zip(is_set))
            .collect();
        if columns.is_empty() {
            return Ok(());
        }
        self.begin_write(None).await?;
        self.database.guard(Some(&mapping.bound)).await?;
        for (column, is_set) in columns {
            let marks: Vec<Mark> =
                keys.iter().map(|key| Mark { key: key.clone(), is_set }).collect();
            self.database.mark(&mapping.bound, column, &marks).await?;
        }
        self.database.forget(&mapping.bound, keys).await?;
        self.database.guard(None).await?;
        self.commit().await?;
        self.progress.generation += 1;
        Ok(())
    }
}

fn entry_of(author: &str, seq: i64) -> Option<EntryId> {
    let author = serde_json::from_str(author).ok()?;
    Some(EntryId { author, seq: seq.unsigned_abs() })
}
