//! A row for each edge that a record wants, or that the server has and no record wants any more.
//!
//! States, which stay as they are: 0 wanted, 1 confirmed, 2 there and not wanted any more, 3 there and wanted while its target
//! is gone. One that is not confirmed and was `sent` may be there. One whose `target` has no record of its `to_id` `awaits` it;
//! triggers see to that.

use std::collections::BTreeSet;

use sqlx::Row;
use sqlx::sqlite::SqliteRow;

use super::WeaviateState;
use crate::jobs::store::StoreError;

/// From which collection to which an edge leads.
#[derive(Clone, Copy, Debug)]
pub(in crate::sink::weaviate) struct EdgeWay<'a> {
    /// The edge's name.
    pub(in crate::sink::weaviate) edge: &'a str,
    pub(in crate::sink::weaviate) from: &'a str,
    pub(in crate::sink::weaviate) to: &'a str,
}

/// An edge that can be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::sink::weaviate) struct EdgeRow {
    pub(in crate::sink::weaviate) from: String,
    pub(in crate::sink::weaviate) to: String,
    /// How often the server has failed or refused it in a row.
    pub(in crate::sink::weaviate) tries: u32,
    /// How often it has refused it.
    pub(in crate::sink::weaviate) attempts: u32,
}

/// Both ends are confirmed as they are now. CROSS JOIN: in this order.
macro_rules! between_confirmed {
    ($select:literal, $from:literal, $rest:literal) => {
        concat!(
            $select,
            " FROM ",
            $from,
            " CROSS JOIN object f ON f.collection = ?2 AND f.id = e.from_id AND f.confirmed = 1 AND f.due_ms IS NULL \
             CROSS JOIN object t ON t.collection = ?3 AND t.id = e.to_id AND t.confirmed = 1 WHERE e.edge = ?1 AND ",
            $rest
        )
    };
}

impl WeaviateState {
    /// These are the edges of one name that a record wants.
    pub(in crate::sink::weaviate) async fn want(
        &mut self,
        EdgeWay { edge, to: target, .. }: EdgeWay<'_>,
        from: &str,
        to: &BTreeSet<String>,
    ) -> Result<(), StoreError> {
        let rows = sqlx::query("SELECT to_id, state FROM edge WHERE edge = ? AND from_id = ?");
        let rows = rows.bind(edge).bind(from).fetch_all(self.store.connection()).await;
        let rows = rows.map_err(|error| self.store.failed(error))?;
        let mut known = BTreeSet::new();
        for row in &rows {
            let read = (|| Ok((row.try_get(0)?, row.try_get(1)?)))();
            let (id, state): (String, i64) = read.map_err(|error| self.store.failed(error))?;
            if !to.contains(&id) && state != 2 {
                // One of which nobody knows what became may be there.
                let sql = "UPDATE edge SET state = 2, due_ms = 0, tries = 0, attempts = 0, error = NULL, failed_ms = NULL \
                    WHERE edge = ?1 AND from_id = ?2 AND to_id = ?3 AND (state IN (1, 3) OR sent = 1)";
                self.of_edge(sql, edge, from, &id).await?;
                let sql = "DELETE FROM edge WHERE edge = ?1 AND from_id = ?2 AND to_id = ?3 AND state = 0 AND sent = 0";
                self.of_edge(sql, edge, from, &id).await?;
            }
            if to.contains(&id) && state == 2 {
                let sql = "UPDATE edge SET state = CASE WHEN sent = 1 THEN 0 ELSE 1 END, due_ms = 0, tries = 0, attempts = 0, \
                    error = NULL, failed_ms = NULL WHERE edge = ?1 AND from_id = ?2 AND to_id = ?3";
                self.of_edge(sql, edge, from, &id).await?;
            }
            known.insert(id);
        }
        for id in to.difference(&known) {
            let sql = "INSERT INTO edge (edge, from_id, to_id, target, state, awaits) VALUES (?1, ?2, ?3, ?4, 0, \
                NOT EXISTS (SELECT 1 FROM object WHERE collection = ?4 AND id = ?3))";
            let done = sqlx::query(sql).bind(edge).bind(from).bind(id).bind(target);
            let done = done.execute(self.store.connection()).await;
            done.map_err(|error| self.store.failed(error))?;
        }
        Ok(())
    }

    async fn of_edge(
        &mut self,
        sql: &'static str,
        edge: &str,
        from: &str,
        to: &str,
    ) -> Result<(), StoreError> {
        let done = sqlx::query(sql).bind(edge).bind(from).bind(to);
        let done = done.execute(self.store.connection()).await;
        done.map(drop).map_err(|error| self.store.failed(error))
    }

    /// An object was written over, and has none of its edges any more.
    pub(in crate::sink::weaviate) async fn clear(
        &mut self,
        edge: &str,
        from: &str,
    ) -> Result<(), StoreError> {
        let sql = "DELETE FROM edge WHERE edge = ? AND from_id = ? AND state = 2";
        let done = sqlx::query(sql).bind(edge).bind(from).execute(self.store.connection()).await;
        done.map_err(|error| self.store.failed(error))?;
        let sql = "UPDATE edge SET state = 0, sent = 0, due_ms = 0, tries = 0, attempts = 0, error = NULL, failed_ms = NULL \
            WHERE edge = ? AND from_id = ?";
        let done = sqlx::query(sql).bind(edge).bind(from).execute(self.store.connection()).await;
        done.map(drop).map_err(|error| self.store.failed(error))
    }

    /// An object is gone, and with it the edges that begin there.
    pub(in crate::sink::weaviate) async fn cut_from(
        &mut self,
        edge: &str,
        from: &str,
    ) -> Result<(), StoreError> {
        let sql = "DELETE FROM edge WHERE edge = ? AND from_id = ?";
        let done = sqlx::query(sql).bind(edge).bind(from).execute(self.store.connection()).await;
        done.map(drop).map_err(|error| self.store.failed(error))
    }

    /// An object is gone, and the edges that lead there are to be taken back.
    pub(in crate::sink::weaviate) async fn cut_to(
        &mut self,
        EdgeWay { edge, to: target, .. }: EdgeWay<'_>,
        to: &str,
    ) -> Result<(), StoreError> {
        let sql = "UPDATE edge INDEXED BY edge_to SET state = 3, due_ms = 0, tries = 0, attempts = 0, error = NULL, \
            failed_ms = NULL WHERE edge = ? AND target = ? AND to_id = ? AND (state = 1 OR (state = 0 AND sent = 1))";
        let done = sqlx::query(sql).bind(edge).bind(target).bind(to);
        let done = done.execute(self.store.connection()).await;
        done.map(drop).map_err(|error| self.store.failed(error))
    }

    /// Edges that can be sent: wanted, between objects that are confirmed, of objects that have none to be taken back.
    pub(in crate::sink::weaviate) async fn sendable(
        &mut self,
        way: EdgeWay<'_>,
        now_ms: i64,
        limit: usize,
    ) -> Result<Vec<EdgeRow>, StoreError> {
        let sql = between_confirmed!(
            "SELECT e.from_id, e.to_id, e.tries, e.attempts",
            "edge e INDEXED BY edge_open",
            // That it is not 1 has to be said for the index to be taken.
            "e.state = 0 AND e.state <> 1 AND e.awaits = 0 AND e.due_ms <= ?4 AND NOT EXISTS (SELECT 1 FROM edge g WHERE g.edge = e.edge \
             AND g.from_id = e.from_id AND g.state IN (2, 3)) ORDER BY e.due_ms, e.from_id, e.to_id LIMIT ?5"
        );
        self.rows(sql, way, now_ms, limit).await
    }

    /// Objects of which edges are to be taken back.
    pub(in crate::sink::weaviate) async fn replaceable(
        &mut self,
        EdgeWay { edge, from, .. }: EdgeWay<'_>,
        now_ms: i64,
        limit: usize,
    ) -> Result<Vec<EdgeRow>, StoreError> {
        let sql = "SELECT e.from_id, min(e.to_id), max(e.tries), max(e.attempts) FROM edge e INDEXED BY edge_open \
            CROSS JOIN object f ON f.collection = ? AND f.id = e.from_id AND f.confirmed = 1 AND f.due_ms IS NULL \
            WHERE e.edge = ? AND e.state IN (2, 3) AND e.state <> 1 AND e.due_ms <= ? GROUP BY e.from_id ORDER BY e.from_id LIMIT ?";
        let rows = sqlx::query(sql)
            .bind(from)
            .bind(edge)
            .bind(now_ms)
            .bind(i64::try_from(limit).unwrap_or(i64::MAX))
            .fetch_all(self.store.connection())
            .await;
        self.read(rows)
    }

    async fn rows(
        &mut self,
        sql: &'static str,
        EdgeWay { edge, from, to }: EdgeWay<'_>,
        now_ms: i64,
        limit: usize,
    ) -> Result<Vec<EdgeRow>, StoreError> {
        let rows = sqlx::query(sql)
            .bind(edge)
            .bind(from)
            .bind(to)
            .bind(now_ms)
            .bind(i64::try_from(limit).unwrap_or(i64::MAX))
            .fetch_all(self.store.connection())
            .await;
        self.read(rows)
    }

    fn read(&self, rows: Result<Vec<SqliteRow>, sqlx::Error>) -> Result<Vec<EdgeRow>, StoreError> {
        let rows = rows.map_err(|error| self.store.failed(error))?;
        let row = |row: &SqliteRow| {
            let (from, to) = (row.try_get(0)?, row.try_get(1)?);
            Ok(EdgeRow { from, to, tries: row.try_get(2)?, attempts: row.try_get(3)? })
        };
        rows.iter().map(row).collect::<Result<_, _>>().map_err(|error| self.store.failed(error))
    }

    /// All that an object is to have of one edge: its targets that are confirmed.
    pub(in crate::sink::weaviate) async fn targets(
        &mut self,
        EdgeWay { edge, from, to }: EdgeWay<'_>,
        id: &str,
    ) -> Result<Vec<String>, StoreError> {
        let sql = between_confirmed!(
            "SELECT e.to_id",
            "edge e",
            "e.from_id = ?4 AND e.state IN (0, 1) ORDER BY e.to_id"
        );
        let rows = sqlx::query(sql).bind(edge).bind(from).bind(to).bind(id);
        let rows = rows.fetch_all(self.store.connection()).await;
        let rows = rows.map_err(|error| self.store.failed(error))?;
        let ids = rows.iter().map(|row| row.try_get(0)).collect::<Result<_, _>>();
        ids.map_err(|error| self.store.failed(error))
    }

    /// These are about to be sent: from here on the server may have them.
    pub(in crate::sink::weaviate) async fn edges_go_out(
        &mut self,
        edge: &str,
        rows: &[EdgeRow],
    ) -> Result<(), StoreError> {
        self.begin().await?;
        for row in rows {
            let sql = "UPDATE edge SET sent = 1 WHERE edge = ?1 AND from_id = ?2 AND to_id = ?3 AND state = 0";
            self.of_edge(sql, edge, &row.from, &row.to).await?;
        }
        self.end().await
    }

    /// All edges of these objects are about to be replaced by those that are wanted.
    pub(in crate::sink::weaviate) async fn objects_edges_go_out(
        &mut self,
        edge: &str,
        rows: &[EdgeRow],
    ) -> Result<(), StoreError> {
        self.begin().await?;
        for row in rows {
            let sql = "UPDATE edge SET sent = 1 WHERE edge = ? AND from_id = ? AND state = 0";
            let done = sqlx::query(sql).bind(edge).bind(&row.from);
            let done = done.execute(self.store.connection()).await;
            done.map_err(|error| self.store.failed(error))?;
        }
        self.end().await
    }

    /// The server has an edge.
    pub(in crate::sink::weaviate) async fn confirm_edge(
        &mut self,
        edge: &str,
        from: &str,
        to: &str,
    ) -> Result<(), StoreError> {
        let sql = "UPDATE edge SET state = 1, sent = 0, due_ms = 0, tries = 0, attempts = 0, error = NULL, failed_ms = NULL \
            WHERE edge = ?1 AND from_id = ?2 AND to_id = ?3";
        self.of_edge(sql, edge, from, to).await
    }

    /// The server has these edges of an object and no others.
    pub(in crate::sink::weaviate) async fn replaced(
        &mut self,
        edge: &str,
        from: &str,
        to: &[String],
    ) -> Result<(), StoreError> {
        self.clear(edge, from).await?;
        for id in to {
            self.confirm_edge(edge, from, id).await?;
        }
        Ok(())
    }

    /// The server has failed an edge: it is tried again then.
    pub(in crate::sink::weaviate) async fn put_off_edge(
        &mut self,
        edge: &str,
        row: &EdgeRow,
        due_ms: i64,
    ) -> Result<(), StoreError> {
        let sql = "UPDATE edge SET due_ms = ?4, tries = tries + 1 WHERE edge = ?1 AND from_id = ?2 AND to_id = ?3";
        let done = sqlx::query(sql).bind(edge).bind(&row.from).bind(&row.to).bind(due_ms);
        let done = done.execute(self.store.connection()).await;
        done.map(drop).map_err(|error| self.store.failed(error))
    }

    /// Some of all edges are sent once more, in the order of their names and ends; returns how many.
    pub(in crate::sink::weaviate) async fn want_again(
        &mut self,
        limit: Option<u64>,
        offset: u64,
    ) -> Result<u64, StoreError> {
        let sql = "UPDATE edge SET sent = max(sent, state), state = 0, due_ms = 0, tries = 0, attempts = 0, error = NULL, \
            failed_ms = NULL WHERE (edge, from_id, to_id) IN \
            (SELECT edge, from_id, to_id FROM edge WHERE state IN (0, 1) ORDER BY edge, from_id, to_id LIMIT ? OFFSET ?)";
        let limit = limit.and_then(|limit| i64::try_from(limit).ok()).unwrap_or(-1);
        let done = sqlx::query(sql).bind(limit).bind(i64::try_from(offset).unwrap_or(i64::MAX));
        let done = done.execute(self.store.connection()).await;
        done.map(|done| done.rows_affected()).map_err(|error| self.store.failed(error))
    }

    /// When the next edge is due that waits for another try; `None`: none does.
    pub(in crate::sink::weaviate) async fn next_edge_due(
        &mut self,
    ) -> Result<Option<i64>, StoreError> {
        // The greatest number is of those that wait for a change or a person.
        let sql = "SELECT min(due_ms) FROM edge INDEXED BY edge_later WHERE due_ms > 0 AND due_ms < 9223372036854775807 AND state <> 1";
        let row = sqlx::query(sql);
        let row = row.fetch_one(self.store.connection()).await;
        row.and_then(|row| row.try_get(0)).map_err(|error| self.store.failed(error))
    }
}
