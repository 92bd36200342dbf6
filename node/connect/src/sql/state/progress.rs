//! How far a bridge has come: its numbers, its plan and its last batch.

use branchline_crdt::format::codec;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use sqlx::Row;

use super::unacknowledged::Unacknowledged;
use super::views::ViewChange;
use super::{BridgeState, StateError};

/// How a bridge was installed, and how far it has come.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// The site's name when the bridge was installed; empty: it is not.
    pub site: String,
    /// The secret by which the database knows this bridge.
    pub token: String,
    /// The epoch of the database's context.
    pub epoch: String,
    /// The server that the context was installed on.
    pub server: String,
    /// Write transactions in the database that are known of.
    pub generation: i64,
    /// Number of the last transaction that was written in the network.
    pub batch: i64,
    /// Number of the last batch that was applied to the database.
    pub applied: i64,
    /// The place in the feed behind what is applied or waiting.
    pub cursor: Option<String>,
    /// Why the bridge rests until a person has decided; `None`: it works.
    pub paused: Option<String>,
}

/// What becomes durable together.
#[derive(Debug, Default)]
pub struct Steps<'a> {
    /// How far it has come then.
    pub progress: Option<&'a Progress>,
    /// Views that change.
    pub views: &'a [ViewChange],
    /// Records, by table and id, that wait to be applied.
    pub waiting: &'a [(u32, String)],
    /// Records that do so no longer.
    pub done: &'a [(u32, String)],
    /// Captured rows that another site is to confirm.
    pub unacknowledged: &'a [Unacknowledged],
    /// Of a table being loaded, by its number: the last key, and how many rows were loaded with it.
    pub loaded: Option<(u32, &'a str, u64)>,
}

impl BridgeState {
    /// How far the bridge has come.
    ///
    /// # Errors
    /// [`StateError`] where the bridge's file cannot be read, or is damaged.
    pub async fn progress(&mut self) -> Result<Progress, StateError> {
        let sql = "SELECT site, token, epoch, server, generation, batch, applied, cursor, paused FROM bridge";
        let row = sqlx::query(sql).fetch_one(self.store.connection()).await;
        let row = row.map_err(|source| self.store.failed(source))?;
        let read = || {
            Ok(Progress {
                site: row.try_get(0)?,
                token: row.try_get(1)?,
                epoch: row.try_get(2)?,
                server: row.try_get(3)?,
                generation: row.try_get(4)?,
                batch: row.try_get(5)?,
                applied: row.try_get(6)?,
                cursor: row.try_get(7)?,
                paused: row.try_get(8)?,
            })
        };
        read().map_err(|source| self.store.failed(source))
    }

    /// Makes steps durable, all or none.
    ///
    /// # Errors
    /// [`StateError`] where the bridge's file cannot be written.
    pub async fn keep(&mut self, steps: Steps<'_>) -> Result<(), StateError> {
        self.store.begin().await?;
        self.take(steps).await?;
        self.store.end().await
    }

    /// Makes a plan durable, before it is written under its number.
    ///
    /// # Errors
    /// [`StateError`] where the bridge's file cannot be written.
    pub async fn keep_plan(
        &mut self,
        progress: &Progress,
        batch: i64,
        body: &impl Serialize,
    ) -> Result<(), StateError> {
        let body = codec::encode(body);
        self.store.begin().await?;
        self.keep_progress(progress).await?;
        let sql = "INSERT OR REPLACE INTO plan (batch, body) VALUES (?, ?)";
        let kept = sqlx::query(sql).bind(batch).bind(body).execute(self.store.connection()).await;
        kept.map_err(|source| self.store.failed(source))?;
        self.store.end().await
    }

    /// The plan that was not finished.
    ///
    /// # Errors
    /// [`StateError`] where the bridge's file cannot be read, or is damaged.
    pub async fn plan<T: DeserializeOwned>(&mut self) -> Result<Option<(i64, T)>, StateError> {
        let row =
            sqlx::query("SELECT batch, body FROM plan").fetch_optional(self.store.connection());
        let row = row.await;
        self.numbered(row)
    }

    /// The plan was written: its views hold.
    ///
    /// # Errors
    /// [`StateError`] where the bridge's file cannot be written.
    pub async fn finish_plan(&mut self, steps: Steps<'_>) -> Result<(), StateError> {
        self.store.begin().await?;
        self.store.run("DELETE FROM plan").await?;
        self.take(steps).await?;
        self.store.end().await
    }

    /// Makes durable what holds once the database has committed the batch of this number, and what held before, should it
    /// not. The one before was committed.
    ///
    /// # Errors
    /// [`StateError`] where the bridge's file cannot be written.
    pub async fn keep_batch(
        &mut self,
        number: i64,
        before: &BeforeBatch,
        steps: Steps<'_>,
    ) -> Result<(), StateError> {
        let body = codec::encode(before);
        self.store.begin().await?;
        self.store.run("DELETE FROM last_batch").await?;
        let sql = "INSERT INTO last_batch (number, body) VALUES (?, ?)";
        let kept = sqlx::query(sql).bind(number).bind(body).execute(self.store.connection()).await;
        kept.map_err(|source| self.store.failed(source))?;
        self.take(steps).await?;
        self.store.end().await
    }

    /// The number of the last batch, and what held before it. Nobody has noted whether it was committed.
    ///
    /// # Errors
    /// [`StateError`] where the bridge's file cannot be read, or is damaged.
    pub async fn before(&mut self) -> Result<Option<(i64, BeforeBatch)>, StateError> {
        let row = sqlx::query("SELECT number, body FROM last_batch")
            .fetch_optional(self.store.connection());
        let row = row.await;
        self.numbered(row)
    }

    /// The last batch was committed; or it was not, and what held before it holds again.
    ///
    /// # Errors
    /// [`StateError`] where the bridge's file cannot be written.
    pub async fn settle_batch(
        &mut self,
        progress: &Progress,
        is_committed: bool,
    ) -> Result<(), StateError> {
        let before = match self.before().await? {
            Some((_, before)) if !is_committed => before,
            Some(_) | None => BeforeBatch::default(),
        };
        self.store.begin().await?;
        self.store.run("DELETE FROM last_batch").await?;
        let BeforeBatch { views, waiting } = &before;
        self.take(Steps { progress: Some(progress), views, waiting, ..Steps::default() }).await?;
        self.store.end().await
    }

    /// Forgets the plan, and what held before the last batch: a person has said which side holds.
    ///
    /// # Errors
    /// [`StateError`] where the bridge's file cannot be written.
    pub async fn forget_unfinished(&mut self) -> Result<(), StateError> {
        self.store.begin().await?;
        self.store.run("DELETE FROM plan").await?;
        self.store.run("DELETE FROM last_batch").await?;
        self.store.end().await
    }

    async fn take(&mut self, steps: Steps<'_>) -> Result<(), StateError> {
        let Steps { progress, views, waiting, done, unacknowledged, loaded } = steps;
        if let Some(progress) = progress {
            self.keep_progress(progress).await?;
        }
        self.change_views(views).await?;
        self.wait(waiting).await?;
        self.is_done(done).await?;
        self.keep_unacknowledged(unacknowledged).await?;
        if let Some((table, key, rows)) = loaded {
            self.has_loaded(table, key, rows).await?;
        }
        Ok(())
    }

    async fn keep_progress(&mut self, progress: &Progress) -> Result<(), StateError> {
        let sql = "UPDATE bridge SET site = ?, token = ?, epoch = ?, server = ?, generation = ?, batch = ?, \
                   applied = ?, cursor = ?, paused = ?";
        let kept = sqlx::query(sql)
            .bind(&progress.site)
            .bind(&progress.token)
            .bind(&progress.epoch)
            .bind(&progress.server)
            .bind(progress.generation)
            .bind(progress.batch)
            .bind(progress.applied)
            .bind(&progress.cursor)
            .bind(&progress.paused)
            .execute(self.store.connection())
            .await;
        kept.map(|_| ()).map_err(|source| self.store.failed(source))
    }

    fn numbered<T: DeserializeOwned>(
        &self,
        row: Result<Option<sqlx::sqlite::SqliteRow>, sqlx::Error>,
    ) -> Result<Option<(i64, T)>, StateError> {
        let read = |row: sqlx::sqlite::SqliteRow| Ok((row.try_get(0)?, row.try_get(1)?));
        let read = row.and_then(|row| row.map(read).transpose());
        let Some((number, body)) = read.map_err(|source| self.store.failed(source))? else {
            return Ok(None);
        };
        let body: Vec<u8> = body;
        let body = codec::decode("plan or batch", &body);
        Ok(Some((number, body.map_err(|error| self.store.damaged(error.to_string()))?)))
    }
}

/// What held before a batch was written to the database, as far as it changes it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct BeforeBatch {
    /// The views of the rows that it writes, as they were.
    pub views: Vec<ViewChange>,
    /// The records that waited for it.
    pub waiting: Vec<(u32, String)>,
}
