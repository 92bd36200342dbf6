//! The tables of a bridge: how far each is loaded, and why one stopped.

use sqlx::Row;

use super::{BridgeState, StateError};
use crate::sql::cell::Key;
use crate::sql::shape::Bound;

/// How far a table has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// The rows that were there before are being read.
    Loading,
    /// Rows are being read again, because changes of the table may have been missed.
    Comparing,
    /// The same: rows that are known are looked for in the table.
    Sweeping,
    /// A person has said that the database holds: rows are being read, and written over their records.
    FromDatabase,
    /// The same: records of which the row is gone are being deleted.
    Pruning,
    /// A person has said that the collection holds: rows are being read, to be written over.
    FromCollection,
    /// The same: rows of which there is no record are listed.
    Clearing,
    /// The records that were there before are being listed.
    Listing,
    /// What changes is carried over.
    Running,
}

impl Phase {
    const ALL: [Self; 9] = [
        Self::Loading,
        Self::Comparing,
        Self::Sweeping,
        Self::FromDatabase,
        Self::Pruning,
        Self::FromCollection,
        Self::Clearing,
        Self::Listing,
        Self::Running,
    ];

    /// As it is stored and shown.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Loading => "loading",
            Self::Comparing => "comparing",
            Self::Sweeping => "sweeping",
            Self::FromDatabase => "from-database",
            Self::Pruning => "pruning",
            Self::FromCollection => "from-collection",
            Self::Clearing => "clearing",
            Self::Listing => "listing",
            Self::Running => "running",
        }
    }

    /// The phase in which a table is read again as a whole: where a person has said which side holds, that stays so.
    #[must_use]
    pub fn again(self) -> Self {
        match self {
            Self::Loading => Self::Loading,
            Self::FromDatabase | Self::Pruning => Self::FromDatabase,
            Self::FromCollection | Self::Clearing => Self::FromCollection,
            Self::Comparing | Self::Sweeping | Self::Listing | Self::Running => Self::Comparing,
        }
    }

    fn of(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|phase| phase.as_str() == text)
    }
}

/// A table of a bridge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableState {
    /// The table as it was installed.
    pub bound: Bound,
    /// What else its mapping says, as text.
    pub settings: String,
    /// How far it has come.
    pub phase: Phase,
    /// The last key (while loading and sweeping) or record id (while listing) that was dealt with, as text.
    pub loaded_to: Option<String>,
    /// Rows that were loaded.
    pub loaded_rows: u64,
    /// Why the table stopped, and since when, in ms since 1970; `None`: it works.
    pub stopped: Option<(String, i64)>,
}

impl TableState {
    /// The last key that was loaded.
    #[must_use]
    pub fn loaded_key(&self) -> Option<Key> {
        Key::from_text(self.loaded_to.as_deref()?, self.bound.key.len())
    }
}

impl BridgeState {
    /// The tables, by number.
    ///
    /// # Errors
    /// [`StateError`] where the bridge's file cannot be read, or is damaged.
    pub async fn tables(&mut self) -> Result<Vec<TableState>, StateError> {
        let sql = "SELECT bound, phase, loaded_to, loaded_rows, stopped, stopped_at, settings FROM bridged_table ORDER BY number";
        let rows = sqlx::query(sql).fetch_all(self.store.connection()).await;
        let rows = rows.map_err(|source| self.store.failed(source))?;
        rows.iter().map(|row| self.table_of(row)).collect()
    }

    /// Keeps a table as it is installed and begins to load it, or, where it is known, keeps its new shape alone.
    ///
    /// # Errors
    /// [`StateError`] where the bridge's file cannot be written.
    pub async fn keep_table(&mut self, bound: &Bound, settings: &str) -> Result<(), StateError> {
        let text =
            serde_json::to_string(bound).map_err(|error| self.store.damaged(error.to_string()))?;
        let sql = "INSERT INTO bridged_table (number, bound, settings, phase) VALUES (?, ?, ?, 'loading') \
                   ON CONFLICT (number) DO UPDATE SET bound = excluded.bound, settings = excluded.settings";
        let kept = sqlx::query(sql).bind(bound.number).bind(text).bind(settings);
        let kept = kept.execute(self.store.connection()).await;
        kept.map(|_| ()).map_err(|source| self.store.failed(source))
    }

    /// Forgets a table with all that is known of it.
    ///
    /// # Errors
    /// [`StateError`] where the bridge's file cannot be written.
    pub async fn drop_table(&mut self, number: u32) -> Result<(), StateError> {
        self.store.begin().await?;
        for sql in [
            "DELETE FROM bridged_table WHERE number = ?",
            "DELETE FROM view WHERE tbl = ?",
            "DELETE FROM waiting WHERE tbl = ?",
            "DELETE FROM quarantine WHERE tbl = ?",
            "DELETE FROM unacknowledged WHERE tbl = ?",
        ] {
            let done = sqlx::query(sql).bind(number).execute(self.store.connection()).await;
            done.map_err(|source| self.store.failed(source))?;
        }
        self.store.end().await
    }

    /// A table has come to another phase.
    ///
    /// # Errors
    /// [`StateError`] where the bridge's file cannot be written.
    pub async fn enter(&mut self, table: u32, phase: Phase) -> Result<(), StateError> {
        let sql = "UPDATE bridged_table SET phase = ?, loaded_to = NULL WHERE number = ?";
        let done = sqlx::query(sql).bind(phase.as_str()).bind(table);
        let done = done.execute(self.store.connection()).await;
        done.map(|_| ()).map_err(|source| self.store.failed(source))
    }

    /// A table stops, or (`None`) goes on. `now_ms`: since 1970.
    ///
    /// # Errors
    /// [`StateError`] where the bridge's file cannot be written.
    pub async fn stop_table(
        &mut self,
        table: u32,
        reason: Option<&str>,
        now_ms: i64,
    ) -> Result<(), StateError> {
        let sql = "UPDATE bridged_table SET stopped = ?1, stopped_at = CASE WHEN ?1 IS NULL THEN NULL ELSE ?2 END \
                   WHERE number = ?3";
        let done = sqlx::query(sql).bind(reason).bind(now_ms).bind(table);
        let done = done.execute(self.store.connection()).await;
        done.map(|_| ()).map_err(|source| self.store.failed(source))
    }

    pub(super) async fn has_loaded(
        &mut self,
        table: u32,
        to: &str,
        rows: u64,
    ) -> Result<(), StateError> {
        let sql = "UPDATE bridged_table SET loaded_to = ?, loaded_rows = loaded_rows + ? WHERE number = ?";
        let rows = i64::try_from(rows).unwrap_or(i64::MAX);
        let done = sqlx::query(sql).bind(to).bind(rows).bind(table);
        let done = done.execute(self.store.connection()).await;
        done.map(|_| ()).map_err(|source| self.store.failed(source))
    }

    fn table_of(&self, row: &sqlx::sqlite::SqliteRow) -> Result<TableState, StateError> {
        let failed = |source| self.store.failed(source);
        let bound: String = row.try_get(0).map_err(failed)?;
        let phase: String = row.try_get(1).map_err(failed)?;
        let stopped: Option<String> = row.try_get(4).map_err(failed)?;
        let stopped_at: Option<i64> = row.try_get(5).map_err(failed)?;
        let loaded_rows: i64 = row.try_get(3).map_err(failed)?;
        let known = |error: serde_json::Error| self.store.damaged(error.to_string());
        Ok(TableState {
            bound: serde_json::from_str(&bound).map_err(known)?,
            settings: row.try_get(6).map_err(failed)?,
            phase: Phase::of(&phase)
                .ok_or_else(|| self.store.damaged(format!("phase {phase:?}")))?,
            loaded_to: row.try_get(2).map_err(failed)?,
            loaded_rows: loaded_rows.unsigned_abs(),
            stopped: stopped.zip(stopped_at),
        })
    }
}
