//! Edges that the server has refused.

use serde::{Deserialize, Serialize};
use sqlx::Row;
use sqlx::sqlite::SqliteRow;

use super::{EdgeRow, WeaviateState};
use crate::jobs::store::StoreError;
use crate::sink::weaviate::config::EdgeConfig;

/// An edge that the server has refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::sink::weaviate) struct RefusedEdge {
    /// The edge's name.
    pub(in crate::sink::weaviate) edge: String,
    pub(in crate::sink::weaviate) from: String,
    pub(in crate::sink::weaviate) to: String,
    pub(in crate::sink::weaviate) attempts: u32,
    pub(in crate::sink::weaviate) error: String,
    pub(in crate::sink::weaviate) failed_ms: Option<i64>,
    /// When it is tried again by itself; `None`: it is set aside.
    pub(in crate::sink::weaviate) due_ms: Option<i64>,
}

/// Where an edge is in the list of them: its name and its ends.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::sink::weaviate) struct EdgePlace(String, String, String);

impl RefusedEdge {
    pub(in crate::sink::weaviate) fn place(&self) -> EdgePlace {
        EdgePlace(self.edge.clone(), self.from.clone(), self.to.clone())
    }
}

/// Which of the edges that were refused are meant.
#[derive(Clone, Copy, Debug)]
pub(in crate::sink::weaviate) struct Meant<'a> {
    /// The one of this name, as people call it; `None`: all.
    pub(in crate::sink::weaviate) name: Option<&'a str>,
    /// The name's parts before and between the ends.
    pub(in crate::sink::weaviate) parts: (&'a str, &'a str),
    /// Refused within these times.
    pub(in crate::sink::weaviate) times: (i64, i64),
}

impl WeaviateState {
    /// The server has refused an edge. `due_ms`: when it is tried again by itself; `None`: it is set aside.
    pub(in crate::sink::weaviate) async fn refuse_edge(
        &mut self,
        edge: &str,
        row: &EdgeRow,
        error: &str,
        due_ms: Option<i64>,
        now_ms: i64,
    ) -> Result<(), StoreError> {
        let sql = "UPDATE edge SET due_ms = ?4, tries = tries + 1, attempts = attempts + 1, error = ?5, failed_ms = ?6 \
            WHERE edge = ?1 AND from_id = ?2 AND to_id = ?3";
        let done = sqlx::query(sql)
            .bind(edge)
            .bind(&row.from)
            .bind(&row.to)
            .bind(due_ms.unwrap_or(i64::MAX))
            .bind(error)
            .bind(now_ms)
            .execute(self.store.connection())
            .await;
        done.map(drop).map_err(|error| self.store.failed(error))
    }

    /// Edges that were refused, by name and ends, behind this place or from the first on.
    pub(in crate::sink::weaviate) async fn refused_edges(
        &mut self,
        behind: Option<EdgePlace>,
        limit: usize,
    ) -> Result<Vec<RefusedEdge>, StoreError> {
        let EdgePlace(edge, from, to) = behind.unwrap_or_default();
        let sql = "SELECT edge, from_id, to_id, attempts, error, failed_ms, nullif(due_ms, 9223372036854775807) FROM edge \
            WHERE error IS NOT NULL AND (edge, from_id, to_id) > (?, ?, ?) ORDER BY edge, from_id, to_id LIMIT ?";
        let rows = sqlx::query(sql)
            .bind(edge)
            .bind(from)
            .bind(to)
            .bind(i64::try_from(limit).unwrap_or(i64::MAX))
            .fetch_all(self.store.connection())
            .await;
        let rows = rows.map_err(|error| self.store.failed(error))?;
        let edge = |row: &SqliteRow| {
            Ok(RefusedEdge {
                edge: row.try_get(0)?,
                from: row.try_get(1)?,
                to: row.try_get(2)?,
                attempts: row.try_get(3)?,
                error: row.try_get(4)?,
                failed_ms: row.try_get(5)?,
                due_ms: row.try_get(6)?,
            })
        };
        rows.iter().map(edge).collect::<Result<_, _>>().map_err(|error| self.store.failed(error))
    }

    /// Edges of one name that were refused are due again; returns how many.
    pub(in crate::sink::weaviate) async fn requeue_edges(
        &mut self,
        edge: &str,
        Meant { name, parts, times }: Meant<'_>,
    ) -> Result<u64, StoreError> {
        let sql = "UPDATE edge SET due_ms = 0, tries = 0, attempts = 0 WHERE edge = ?1 AND error IS NOT NULL \
            AND (?2 IS NULL OR ?3 || from_id || ?4 || to_id = ?2) AND failed_ms >= ?5 AND failed_ms < ?6";
        let done = sqlx::query(sql)
            .bind(edge)
            .bind(name)
            .bind(parts.0)
            .bind(parts.1)
            .bind(times.0)
            .bind(times.1)
            .execute(self.store.connection())
            .await;
        done.map(|done| done.rows_affected()).map_err(|error| self.store.failed(error))
    }

    /// Edges other than these are none any more, and some may lead elsewhere: the configuration has changed.
    pub(in crate::sink::weaviate) async fn keep_edges(
        &mut self,
        edges: &[EdgeConfig],
    ) -> Result<(), StoreError> {
        let rows = sqlx::query("SELECT DISTINCT edge FROM edge");
        let rows = rows.fetch_all(self.store.connection()).await;
        let names = rows.and_then(|rows| rows.iter().map(|row| row.try_get(0)).collect());
        let names: Vec<String> = names.map_err(|error| self.store.failed(error))?;
        for name in names.iter().filter(|name| edges.iter().all(|edge| edge.name() != **name)) {
            let gone = sqlx::query("DELETE FROM edge WHERE edge = ?").bind(name);
            let gone = gone.execute(self.store.connection()).await;
            gone.map_err(|error| self.store.failed(error))?;
        }
        for edge in edges {
            let sql = "UPDATE edge SET target = ?2, awaits = NOT EXISTS (SELECT 1 FROM object WHERE collection = ?2 \
                AND id = edge.to_id) WHERE edge = ?1 AND target <> ?2";
            let done = sqlx::query(sql).bind(edge.name()).bind(&edge.to);
            let done = done.execute(self.store.connection()).await;
            done.map_err(|error| self.store.failed(error))?;
        }
        Ok(())
    }
}
