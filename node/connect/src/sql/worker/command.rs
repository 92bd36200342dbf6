//! What a person asks of a bridge.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Value as Json, json};
use tokio::sync::oneshot;

use super::open::settings_of;
use super::{BridgeFailure, BridgeWorker, now_ms};
use crate::sql::database::{DbError, Lease};
use crate::sql::mapping::Mapping;
use crate::sql::shape::Bound;
use crate::sql::state::{Phase, StateError};

/// How long a lease lasts that a person has taken for the bridge.
const LEASE: Duration = Duration::from_secs(60);

/// Why a bridge rests that a person has paused.
pub const PAUSED: &str = "a person has paused it";
/// How the reason begins for which a bridge rests after the node was restored: what it planned since the backup may be
/// written under numbers that it would use again.
pub const RESTORED: &str = "the node was restored from a backup";

/// How the reason begins for which a table rests whose database was restored.
const UNDECIDED: &str = "a person has to say which side holds";

/// What a person asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BridgeCommand {
    /// Installs what the database needs, and begins to load.
    Install,
    /// Rests until [`BridgeCommand::Resume`].
    Pause,
    /// Goes on. Tables that stopped are compared as a whole.
    Resume,
    /// One side holds: of one table, or of all.
    Resync {
        /// The table.
        table: Option<String>,
        /// Which side.
        from: Side,
    },
    /// Compares table, views and records: of one table, or of all.
    Verify {
        /// The table.
        table: Option<String>,
        /// Whether what differs is carried over.
        repair: bool,
    },
    /// What is set aside.
    Errors,
    /// What is set aside is tried again: these numbers, or all.
    Requeue {
        /// The numbers.
        numbers: Option<Vec<i64>>,
    },
    /// Removes all from the database, and forgets it.
    Remove,
}

/// The side that holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Side {
    /// The database: its rows are written over the records.
    Database,
    /// The collection: its records are written over the rows.
    Collection,
}

/// Why a command was not carried out.
#[derive(Debug, thiserror::Error)]
pub enum BridgeWrong {
    /// There is no such table.
    #[error("bridge {bridge} has no table {found:?}: expected one of {}", known.join(", "))]
    Table {
        /// The bridge.
        bridge: String,
        /// What was given.
        found: String,
        /// Its tables.
        known: Vec<String>,
    },
    /// It cannot be done as things are.
    #[error("{0}")]
    State(String),
    /// The database refused.
    #[error("the database refused: {0}")]
    Database(#[from] DbError),
    /// The bridge's own file.
    #[error(transparent)]
    File(#[from] StateError),
    /// It failed on the way.
    #[error("{0}")]
    Failed(String),
}

impl From<BridgeFailure> for BridgeWrong {
    fn from(failure: BridgeFailure) -> Self {
        match failure {
            BridgeFailure::Database(error) => Self::Database(error),
            BridgeFailure::State(error) => Self::File(error),
            other => Self::Failed(other.to_string()),
        }
    }
}

/// What was done, as JSON.
pub type BridgeAnswer = Result<Json, BridgeWrong>;

/// A command, and where its answer goes.
pub struct BridgeRequest {
    /// What is asked for.
    pub command: BridgeCommand,
    /// Where the answer goes.
    pub reply: oneshot::Sender<BridgeAnswer>,
}

impl BridgeWorker {
    /// Carries a command out; returns whether the bridge is over.
    pub(super) async fn obey(&mut self, request: BridgeRequest) -> bool {
        let BridgeRequest { command, reply } = request;
        let removes = command == BridgeCommand::Remove;
        let answer = self.carry_out(command).await;
        if answer.is_err() {
            self.database.roll_back().await;
        }
        let is_over = removes && answer.is_ok();
        // Anyone who asked may be gone.
        let _ = reply.send(answer);
        is_over
    }

    async fn carry_out(&mut self, command: BridgeCommand) -> BridgeAnswer {
        match command {
            BridgeCommand::Install => self.install().await,
            BridgeCommand::Pause => {
                // Why it rests already, and what a person has to decide, stays.
                if self.progress.paused.is_none() {
                    self.progress.paused = Some(PAUSED.to_owned());
                    self.keep_progress().await?;
                }
                Ok(json!({ "paused": true }))
            }
            BridgeCommand::Resume => self.resume().await,
            BridgeCommand::Resync { table, from } => self.resync(table.as_deref(), from).await,
            BridgeCommand::Verify { table, repair } => self.verify(table.as_deref(), repair).await,
            BridgeCommand::Errors => Ok(json!({ "errors": self.errors().await? })),
            BridgeCommand::Requeue { numbers } => {
                let count = self.state.hasten(numbers.as_deref()).await?;
                Ok(json!({ "requeued": count }))
            }
            BridgeCommand::Remove => self.remove().await,
        }
    }

    fn bounds(&self) -> Vec<Bound> {
        self.mappings.values().map(|mapping| mapping.bound.clone()).collect()
    }

    /// The tables that are meant: one, or all.
    pub(super) fn meant(&self, table: Option<&str>) -> Result<Vec<Mapping>, BridgeWrong> {
        let Some(name) = table else { return Ok(self.mappings.values().cloned().collect()) };
        let is_meant = |mapping: &&Mapping| {
            mapping.bound.table.name == name || mapping.bound.table.to_string() == name
        };
        let found: Vec<Mapping> = self.mappings.values().filter(is_meant).cloned().collect();
        if found.is_empty() {
            let known = self.mappings.values().map(|mapping| mapping.bound.table.to_string());
            return Err(BridgeWrong::Table {
                bridge: self.name.clone(),
                found: name.to_owned(),
                known: known.collect(),
            });
        }
        Ok(found)
    }

    async fn install(&mut self) -> BridgeAnswer {
        self.database.reconnect().await?;
        let (refusals, _) = self.database.judge().await?;
        if let Some(refusal) = refusals.first() {
            return Err(BridgeWrong::State(refusal.clone()));
        }
        let before = self.database.context().await?;
        let site = self.site_name().await?;
        let lease = before.as_ref().and_then(|context| context.lease.as_ref());
        let is_foreign = |lease: &&Lease| {
            !lease.is_expired && lease.token != self.progress.token && lease.site != site
        };
        if let Some(lease) = lease.filter(is_foreign) {
            return Err(BridgeWrong::State(format!(
                "site {} works on this database with a bridge of its own: two would carry every change twice; remove that \
                 one first, or put the tables into one bridge",
                lease.site
            )));
        }
        self.declare().await?;
        let bounds = self.bounds();
        self.database.install(&bounds).await?;
        let is_known = !self.progress.token.is_empty()
            && before.as_ref().is_some_and(|context| context.epoch == self.progress.epoch);
        if !is_known {
            let stale = !self.progress.token.is_empty();
            self.begin_anew().await?;
            if stale {
                // What the node knew of the rows may not hold for this database.
                self.stop_others(&[]).await?;
            }
        }
        for bound in &bounds {
            if let Some(mapping) = self.mappings.get(&bound.number) {
                self.state.keep_table(bound, &settings_of(mapping)).await?;
            }
        }
        self.progress.paused = None;
        self.keep_progress().await?;
        self.reread_tables().await?;
        let tables: Vec<_> = bounds.iter().map(|bound| bound.table.to_string()).collect();
        Ok(json!({ "installed": tables, "epoch": self.progress.epoch }))
    }

    /// Another installation: with an epoch and a token of its own, under which nothing was written before.
    async fn begin_anew(&mut self) -> Result<(), BridgeWrong> {
        let token = random_hex()?;
        let site = self.site_name().await?;
        self.database.take_lease(&site, &token, LEASE, true).await?;
        let context = self.database.context().await?;
        let generation = context.map_or(0, |context| context.generation);
        let generation = generation.max(self.progress.generation) + 1;
        let epoch = random_hex()?;
        self.database.adopt(&epoch, generation).await?;
        let applied = self.database.settled(LEASE).await?;
        let server = self.database.context().await?.map(|context| context.server);
        self.state.forget_unfinished().await?;
        let site = if self.progress.site.is_empty() { site } else { self.progress.site.clone() };
        self.progress.site = site;
        self.progress.token = token;
        self.progress.epoch = epoch;
        self.progress.server = server.unwrap_or_default();
        self.progress.generation = generation;
        self.progress.applied = applied;
        self.progress.batch = 0;
        Ok(())
    }

    async fn site_name(&mut self) -> Result<String, BridgeWrong> {
        let status = self.node.replica_status().await;
        status.map(|status| status.name).map_err(|error| BridgeWrong::Failed(error.to_string()))
    }

    async fn resume(&mut self) -> BridgeAnswer {
        if self.progress.token.is_empty() {
            return Err(BridgeWrong::State(format!(
                "the bridge is not installed: `branchline bridge install {}`",
                self.name
            )));
        }
        if self.progress.paused.as_ref().is_some_and(|reason| reason.starts_with(RESTORED)) {
            return Err(BridgeWrong::State(format!(
                "{RESTORED}, so a person has to say which side holds: `branchline bridge resync {0} --from database` or \
                 `--from collection`",
                self.name
            )));
        }
        let stopped: Vec<u32> = self
            .tables
            .values()
            .filter(|table| table.stopped.is_some())
            .map(|table| table.bound.number)
            .collect();
        let undecided = |number: &&u32| {
            let table = self.tables.get(number).and_then(|table| table.stopped.as_ref());
            table.is_some_and(|(reason, _)| reason.starts_with(UNDECIDED))
        };
        if let Some(number) = stopped.iter().find(undecided) {
            let table = self.tables.get(number).map(|table| table.bound.table.to_string());
            return Err(BridgeWrong::State(format!(
                "{UNDECIDED} of table {table}: `branchline bridge resync {name} {table} --from database` or \
                 `--from collection`",
                table = table.unwrap_or_default(),
                name = self.name
            )));
        }
        for number in &stopped {
            self.state.stop_table(*number, None, now_ms()).await?;
            let phase = self.tables.get(number).map_or(Phase::Loading, |table| table.phase.again());
            self.state.enter(*number, phase).await?;
            if let Some(mapping) = self.mappings.get(number) {
                self.state.keep_table(&mapping.bound, &settings_of(mapping)).await?;
            }
        }
        self.progress.paused = None;
        self.keep_progress().await?;
        self.reread_tables().await?;
        self.stamp.clear();
        Ok(json!({ "resumed": true, "tables_compared": stopped.len() }))
    }

    async fn resync(&mut self, table: Option<&str>, from: Side) -> BridgeAnswer {
        let meant = self.meant(table)?;
        let side_of = |mapping: &Mapping| match (mapping.mode.captures(), mapping.mode.applies()) {
            // A table that goes one way has one side that can hold.
            (true, false) => Side::Database,
            (false, _) => Side::Collection,
            (true, true) => from,
        };
        if let Some(mapping) = meant.iter().find(|m| table.is_some() && side_of(m) != from) {
            let (side, mode) = match from {
                Side::Database => ("database", "apply"),
                Side::Collection => ("collection", "capture"),
            };
            return Err(BridgeWrong::State(format!(
                "table {} is in mode {mode}, so the {side} cannot be the side that holds",
                mapping.bound.table
            )));
        }
        self.database.reconnect().await?;
        let is_known = self.finish_what_is_known().await?;
        self.database.install(&self.bounds()).await?;
        // Under another token: what was planned before is not written any more.
        self.begin_anew().await?;
        let numbers: Vec<u32> = meant.iter().map(|mapping| mapping.bound.number).collect();
        if !is_known {
            self.stop_others(&numbers).await?;
        }
        for mapping in &meant {
            let number = mapping.bound.number;
            self.state.keep_table(&mapping.bound, &settings_of(mapping)).await?;
            self.state.stop_table(number, None, now_ms()).await?;
            let phase = match side_of(mapping) {
                Side::Database => Phase::FromDatabase,
                Side::Collection => {
                    self.state.drop_views(number).await?;
                    Phase::FromCollection
                }
            };
            self.state.enter(number, phase).await?;
        }
        self.progress.paused = None;
        self.keep_progress().await?;
        self.reread_tables().await?;
        self.stamp.clear();
        let tables: Vec<_> = meant.iter().map(|mapping| mapping.bound.table.to_string()).collect();
        Ok(json!({ "resyncing": tables, "from": from }))
    }

    /// Finishes what was under way, if the database is the one that the node knows; says whether it is.
    async fn finish_what_is_known(&mut self) -> Result<bool, BridgeWrong> {
        let Some(context) = self.database.context().await? else { return Ok(false) };
        let restored = self.progress.paused.as_ref().is_some_and(|why| why.starts_with(RESTORED));
        if self.progress.token.is_empty() || restored || self.recognise(&context).is_err() {
            return Ok(false);
        }
        let applied = self.database.settled(LEASE).await?;
        self.progress.generation = context.generation;
        self.settle_batch(applied).await?;
        if applied != self.progress.applied {
            return Ok(false);
        }
        self.finish_plan().await?;
        Ok(true)
    }

    /// Tables of a database that is not as the node knew it rest, but for those that a person has decided about.
    async fn stop_others(&mut self, decided: &[u32]) -> Result<(), BridgeWrong> {
        let undecided: Vec<u32> =
            self.tables.keys().copied().filter(|number| !decided.contains(number)).collect();
        for number in undecided {
            let table = self.tables.get(&number).map(|table| table.bound.table.to_string());
            let what = format!(
                "{UNDECIDED} of this table, since database or node were restored: `branchline bridge resync {name} {table} \
                 --from database` or `--from collection`",
                name = self.name,
                table = table.unwrap_or_default()
            );
            self.state.stop_table(number, Some(&what), now_ms()).await?;
        }
        self.reread_tables().await?;
        Ok(())
    }

    async fn errors(&mut self) -> Result<Vec<Json>, BridgeWrong> {
        let items = self.state.quarantined(None).await?;
        let shown = items.into_iter().map(|item| {
            let table = self.mappings.get(&item.table);
            let table = table.map(|mapping| mapping.bound.table.to_string());
            json!({
                "number": item.number,
                "table": table,
                "direction": item.direction,
                "name": item.name,
                "code": item.code,
                "constraint": item.constraint,
                "column": item.column,
                "value": item.value,
                "message": item.message,
                "since_ms": item.since_ms,
                "tries": item.tries,
            })
        });
        Ok(shown.collect())
    }

    async fn remove(&mut self) -> BridgeAnswer {
        self.database.reconnect().await?;
        let mut bounds = self.bounds();
        for table in self.tables.values() {
            if !bounds.iter().any(|bound| bound.number == table.bound.number) {
                bounds.push(table.bound.clone());
            }
        }
        self.database.remove(&bounds).await?;
        for bound in &bounds {
            self.state.drop_table(bound.number).await?;
        }
        self.state.forget_unfinished().await?;
        self.progress = crate::sql::state::Progress::default();
        self.keep_progress().await?;
        let tables: Vec<_> = bounds.iter().map(|bound| bound.table.to_string()).collect();
        Ok(json!({ "removed": tables }))
    }
}

/// 16 random bytes in hex.
fn random_hex() -> Result<String, BridgeWrong> {
    let mut bytes = [0_u8; 16];
    getrandom::fill(&mut bytes)
        .map_err(|_| BridgeWrong::State("this machine gives no random bytes".to_owned()))?;
    Ok(data_encoding::HEXLOWER.encode(&bytes))
}
