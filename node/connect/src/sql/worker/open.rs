//! Connecting: the database must be the one that the node knows, and what a crash left is finished.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tokio::time::Instant;

use super::drain::UNKEPT_MAX;
use super::trial::BridgeMistake;
use super::{BridgeFailure, BridgeWorker, now_ms};
use crate::sql::database::Context;
use crate::sql::mapping::Mapping;
use crate::sql::shape::{Bound, TableName};

/// How long the database's lease lasts without being renewed.
const LEASE: Duration = Duration::from_secs(60);
/// How often it is renewed.
const LEASE_EVERY: Duration = Duration::from_secs(15);
/// How long a commit that a crash left under way may take.
const SETTLE_PATIENCE: Duration = Duration::from_secs(10);
/// Writes in the database of which the state may not know after a crash: see [`BridgeWorker::begin_write`].
const GENERATIONS_AHEAD_MAX: i64 = UNKEPT_MAX + 1;

impl BridgeWorker {
    /// Connects, and makes sure that work can go on where it ended.
    pub(super) async fn open(&mut self) -> Result<(), BridgeFailure> {
        self.database.reconnect().await?;
        if self.progress.token.is_empty() {
            return Err(BridgeFailure::Rest(format!(
                "the bridge is not installed in the database: look at `branchline bridge plan {0}`, then \
                 `branchline bridge install {0}`",
                self.name
            )));
        }
        if self.database.context().await?.is_none() {
            return Err(self.gone());
        }
        // A commit of an earlier connection may still be under way: nothing is judged before it has ended.
        let applied = self.database.settled(SETTLE_PATIENCE).await?;
        let context = self.database.context().await?;
        let context = context.ok_or_else(|| self.gone())?;
        self.recognise(&context)?;
        self.progress.generation = context.generation;
        self.keep_progress().await?;
        self.lease(false).await?;
        self.trial.step().await;
        self.settle_batch(applied).await?;
        self.trial.step().await;
        if applied != self.progress.applied {
            return Err(BridgeFailure::Rest(format!(
                "this node knows {} batches that were applied to the database, and the database has {applied}: one of them was \
                 restored from a backup; decide which side holds: `branchline bridge resync {name} --from database` or \
                 `--from collection`",
                self.progress.applied,
                name = self.name
            )));
        }
        self.finish_plan().await?;
        self.trial.step().await;
        self.take_mappings().await?;
        self.stamp.clear();
        self.look_at_catalogue().await?;
        self.order = self.parents_first().await?;
        self.listen_from().await
    }

    fn gone(&self) -> BridgeFailure {
        BridgeFailure::Rest(format!(
            "the bridge's tables are gone from the database (it was restored from before the bridge was installed, or they \
             were dropped): `branchline bridge install {0}`, then `branchline bridge resync {0} --from database` or \
             `--from collection`",
            self.name
        ))
    }

    /// Sees that the database is the one that the node knows, at the point that it knows.
    pub(super) fn recognise(&self, context: &Context) -> Result<(), BridgeFailure> {
        let known = &self.progress;
        let choose = format!(
            "decide which side holds: `branchline bridge resync {0} --from database` or `--from collection`",
            self.name
        );
        let rest = |what: String| Err(BridgeFailure::Rest(format!("{what}; {choose}")));
        if context.epoch != known.epoch {
            return rest(format!(
                "the database holds another installation of a bridge (epoch {}, expected {}): it was restored, or another \
                 node has installed one",
                context.epoch, known.epoch
            ));
        }
        if context.server_now != context.server {
            return rest(format!(
                "the database is a copy, or was moved: it is {} now, and was {} when the bridge was installed",
                context.server_now, context.server
            ));
        }
        if context.generation < known.generation {
            return rest(format!(
                "the database went back in time: it knows {} writes of this bridge, and there were {}; it was restored \
                 from a backup",
                context.generation, known.generation
            ));
        }
        if context.generation > known.generation.saturating_add(GENERATIONS_AHEAD_MAX) {
            return rest(format!(
                "this node went back in time: it knows {} writes of this bridge, and the database has {}; the node was \
                 restored from a backup, or a copy of it works on the database",
                known.generation, context.generation
            ));
        }
        Ok(())
    }

    async fn lease(&mut self, is_forced: bool) -> Result<(), BridgeFailure> {
        let (site, token) = (self.progress.site.clone(), self.progress.token.clone());
        if self.database.take_lease(&site, &token, LEASE, is_forced).await? {
            self.lease_due = Instant::now() + LEASE_EVERY;
            return Ok(());
        }
        let lease = self.database.context().await?.and_then(|context| context.lease);
        let holder =
            lease.map_or("another node".to_owned(), |lease| format!("site {}", lease.site));
        Err(BridgeFailure::Leased(format!(
            "{holder} works on this database: two nodes would carry every change twice; remove the bridge there, or wait \
             until its lease has run out"
        )))
    }

    pub(super) async fn renew_lease(&mut self) -> Result<(), BridgeFailure> {
        if Instant::now() < self.lease_due { Ok(()) } else { self.lease(false).await }
    }

    /// A table whose mapping has changed, or that was not bridged for a while, is read again as a whole: what was not
    /// carried before is a difference now.
    async fn take_mappings(&mut self) -> Result<(), BridgeFailure> {
        for (number, table) in self.tables.clone() {
            let Some(mapping) = self.mappings.get(&number).cloned() else {
                self.state.enter(number, table.phase.again()).await?;
                if let Some(why) = self.unbound.get(&number).cloned()
                    && table.stopped.is_none()
                {
                    self.stop_table(number, &why).await?;
                }
                continue;
            };
            let (was, settings) = (&table.bound, settings_of(&mapping));
            if *was == mapping.bound && table.settings == settings {
                continue;
            }
            let keys = |bound: &Bound| -> Vec<String> {
                bound.key_columns().map(|column| column.name.clone()).collect()
            };
            if keys(was) != keys(&mapping.bound) {
                return Err(BridgeFailure::Rest(format!(
                    "the key of table {} was {} when the bridge was installed, and is {} in branchline.toml now: put it \
                     back, or start over with `branchline bridge remove {name}` and `branchline bridge install {name}`",
                    was.table,
                    keys(was).join(", "),
                    keys(&mapping.bound).join(", "),
                    name = self.name
                )));
            }
            let found = self.database.shape(&was.table.to_string()).await?;
            if let Some(what) = drift(was, found.as_ref()) {
                let what = format!(
                    "{what}; `branchline bridge plan {0}` shows what that means, then `branchline bridge resume {0}`",
                    self.name
                );
                if table.stopped.is_none() {
                    self.stop_table(number, &what).await?;
                }
                continue;
            }
            self.state.keep_table(&mapping.bound, &settings).await?;
            self.state.enter(number, table.phase.again()).await?;
        }
        self.aside.clear();
        for number in self.mappings.keys() {
            if self.state.quarantined_count(*number).await? > 0 {
                self.aside.insert(*number);
            }
        }
        self.reread_tables().await
    }

    /// A batch of which nobody knew whether it was committed: the database's number tells.
    pub(super) async fn settle_batch(&mut self, applied: i64) -> Result<(), BridgeFailure> {
        let Some((number, _)) = self.state.before().await? else {
            return Ok(());
        };
        let is_committed = applied >= number && !self.trial.makes(BridgeMistake::NoIntent);
        if is_committed {
            self.progress.applied = number;
        } else {
            tracing::info!(bridge = %self.name, number, "a batch that was under way was not committed");
        }
        self.state.settle_batch(&self.progress, is_committed).await?;
        self.is_unsettled = false;
        Ok(())
    }

    /// Sees whether tables and triggers are as they were installed. A table that is not is read again as a whole once it
    /// is.
    pub(super) async fn look_at_catalogue(&mut self) -> Result<(), BridgeFailure> {
        let bounds: Vec<_> = self.mappings.values().map(|mapping| mapping.bound.clone()).collect();
        let stamp = self.database.stamp(&bounds).await?;
        if stamp == self.stamp {
            return Ok(());
        }
        for (number, was) in self.mappings.clone().into_iter().map(|(n, m)| (n, m.bound)) {
            let found = self.database.shape(&was.table.to_string()).await?;
            if let Some(what) = drift(&was, found.as_ref())
                && self.works(number)
            {
                let what = format!(
                    "{what}; `branchline bridge plan {0}` shows what that means, then `branchline reload` (a changed mapping) \
                     and `branchline bridge resume {0}`",
                    self.name
                );
                self.stop_table(number, &what).await?;
            }
        }
        for blind in self.database.blind(&bounds).await? {
            if !self.works(blind.table) {
                continue;
            }
            tracing::warn!(bridge = %self.name, table = blind.table, what = %blind.what,
                "the bridge was blind: its triggers are put back, and the table is compared as a whole");
            self.counts.blind_since.entry(blind.table).or_insert_with(now_ms);
            let bound = bounds.iter().find(|bound| bound.number == blind.table).cloned();
            let captured: Vec<_> = bound.into_iter().collect();
            self.database.install(&captured).await?;
            self.compare_again(blind.table).await?;
        }
        self.reread_tables().await?;
        self.stamp = self.database.stamp(&bounds).await?;
        Ok(())
    }
}

impl BridgeWorker {
    /// The tables, so that every table comes behind those that it refers to. Where tables refer to each other in a circle,
    /// by number: rows that come too early are set aside, and tried again.
    async fn parents_first(&mut self) -> Result<Vec<u32>, BridgeFailure> {
        let mut parents: BTreeMap<u32, BTreeSet<u32>> = BTreeMap::new();
        let names: BTreeMap<TableName, u32> = self
            .mappings
            .iter()
            .map(|(number, mapping)| (mapping.bound.table.clone(), *number))
            .collect();
        for (name, number) in &names {
            let shape = self.database.shape(&name.to_string()).await?;
            let keys = shape.map(|shape| shape.foreign_keys).unwrap_or_default();
            let of_table = keys.into_iter().filter(|key| key.from == *name && key.to != *name);
            let of_table = of_table.filter_map(|key| names.get(&key.to).copied()).collect();
            parents.insert(*number, of_table);
        }
        let mut order = Vec::new();
        while order.len() < parents.len() {
            let is_free = |number: &u32| {
                !order.contains(number)
                    && parents.get(number).is_some_and(|of| of.iter().all(|p| order.contains(p)))
            };
            let next = parents.keys().copied().find(is_free);
            let left = || parents.keys().copied().find(|number| !order.contains(number));
            let Some(next) = next.or_else(left) else { break };
            order.push(next);
        }
        Ok(order)
    }
}

/// What of a mapping is not in the bound table, and changes what is carried.
pub(super) fn settings_of(mapping: &Mapping) -> String {
    let fields: Vec<_> = mapping.columns.iter().map(|column| &column.field).collect();
    format!(
        "{:?} {} {:?} {:?} {:?} {:?} {:?} {:?}",
        mapping.mode,
        mapping.collection,
        fields,
        mapping.kinds(),
        mapping.constants,
        mapping.record_filter,
        mapping.on_leave,
        mapping.deleted
    )
}

/// What of a table is not as it was bound, if it matters.
fn drift(was: &Bound, found: Option<&crate::sql::shape::TableShape>) -> Option<String> {
    let Some(found) = found else {
        return Some(format!("the table {} is gone", was.table));
    };
    for column in &was.columns {
        match found.column(&column.name) {
            None => {
                return Some(format!("the column {}.{} is gone", was.table, column.name));
            }
            Some(now) if now.kind != column.kind => {
                return Some(format!(
                    "the column {}.{} was {} and is {} now",
                    was.table, column.name, column.declared, now.declared
                ));
            }
            Some(_) => {}
        }
    }
    None
}
