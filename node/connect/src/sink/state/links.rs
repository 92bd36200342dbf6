//! What groups depend on: the records that they used, and the members that name their primary record.

use sqlx::Row;

use super::SinkState;
use crate::jobs::store::StoreError;
use crate::sink::group::gather::{MEMBERS_MAX, Members, Used};
use crate::sink::group::shape::Shape;

impl SinkState {
    /// A record has changed: every group that may be another for it becomes dirty. `targets`: what it names now, for each
    /// relation of the shape whose records name their primary record and are of its collection.
    ///
    /// # Errors
    /// The file cannot be written.
    pub async fn record_changed(
        &mut self,
        shape: &Shape,
        (collection, id): (&str, &str),
        targets: &[(usize, Vec<String>)],
        (touch, now_ms): (i64, i64),
    ) -> Result<(), StoreError> {
        if collection == shape.collection {
            self.touch(id, touch, now_ms).await?;
        }
        for (index, targets) in targets {
            let Some(relation) = shape.relations.get(*index) else { continue };
            self.touch_targets(&relation.name, id, touch, now_ms).await?;
            self.link(&relation.name, id, targets).await?;
            self.touch_targets(&relation.name, id, touch, now_ms).await?;
        }
        self.touch_users(collection, id, touch, now_ms).await
    }

    /// Keeps which primary records a member names now.
    ///
    /// # Errors
    /// The file cannot be written.
    pub async fn link(
        &mut self,
        relation: &str,
        member: &str,
        targets: &[String],
    ) -> Result<(), StoreError> {
        let gone = sqlx::query("DELETE FROM link WHERE relation = ? AND member = ?");
        let gone = gone.bind(relation).bind(member).execute(self.store.connection()).await;
        gone.map_err(|error| self.store.failed(error))?;
        for target in targets {
            let sql = "INSERT OR IGNORE INTO link (relation, target, member) VALUES (?, ?, ?)";
            let kept = sqlx::query(sql).bind(relation).bind(target).bind(member);
            let kept = kept.execute(self.store.connection()).await;
            kept.map_err(|error| self.store.failed(error))?;
        }
        Ok(())
    }

    /// Forgets all that groups depend on.
    ///
    /// # Errors
    /// The file cannot be written.
    pub async fn forget_links(&mut self) -> Result<(), StoreError> {
        self.store.run("DELETE FROM link").await?;
        self.store.run("DELETE FROM used").await
    }

    /// The members of a group, by the relation's index; of each relation at most one more than are possible.
    ///
    /// # Errors
    /// The file cannot be read.
    pub async fn members(&mut self, shape: &Shape, group: &str) -> Result<Members, StoreError> {
        let mut members = Members::new();
        for (index, relation, _) in shape.by() {
            let sql =
                "SELECT member FROM link WHERE relation = ? AND target = ? ORDER BY member LIMIT ?";
            let limit = i64::try_from(MEMBERS_MAX + 1).unwrap_or(i64::MAX);
            let rows = sqlx::query(sql).bind(&relation.name).bind(group).bind(limit);
            let rows = rows.fetch_all(self.store.connection()).await;
            let rows = rows.map_err(|error| self.store.failed(error))?;
            let ids = rows.iter().map(|row| row.try_get(0)).collect::<Result<_, _>>();
            members.insert(index, ids.map_err(|error| self.store.failed(error))?);
        }
        Ok(members)
    }

    /// Keeps which records a group used when it was looked at last.
    ///
    /// # Errors
    /// The file cannot be written.
    pub async fn keep_used(&mut self, group: &str, used: &Used) -> Result<(), StoreError> {
        let rows = sqlx::query("SELECT collection, id FROM used WHERE grp = ?").bind(group);
        let rows = rows.fetch_all(self.store.connection()).await;
        let rows = rows.map_err(|error| self.store.failed(error))?;
        let before: Result<Used, sqlx::Error> =
            rows.iter().map(|row| Ok((row.try_get(0)?, row.try_get(1)?))).collect();
        let before = before.map_err(|error| self.store.failed(error))?;
        for (collection, id) in before.difference(used) {
            let gone = sqlx::query("DELETE FROM used WHERE collection = ? AND id = ? AND grp = ?");
            let gone = gone.bind(collection).bind(id).bind(group);
            let gone = gone.execute(self.store.connection()).await;
            gone.map_err(|error| self.store.failed(error))?;
        }
        for (collection, id) in used.difference(&before) {
            let kept = sqlx::query("INSERT INTO used (collection, id, grp) VALUES (?, ?, ?)");
            let kept = kept.bind(collection).bind(id).bind(group);
            let kept = kept.execute(self.store.connection()).await;
            kept.map_err(|error| self.store.failed(error))?;
        }
        Ok(())
    }
}
