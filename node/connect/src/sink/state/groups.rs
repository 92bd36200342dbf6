//! Which groups are dirty, and when each is due.

use sqlx::Row;
use sqlx::sqlite::SqliteRow;

use super::SinkState;
use crate::jobs::store::StoreError;

/// A group that is due.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DueGroup {
    /// The primary record's id.
    pub id: String,
    /// What touched it last.
    pub touch: i64,
    /// How often the remote has failed it in a row, without refusing it.
    pub tries: u32,
    /// 1: a person wants all of them sent that differ, also for what is not watched and where they were refused. 2: a person
    /// wants this one sent.
    pub forced: u8,
}

/// How a group is, as far as this site alone knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupRow {
    /// The primary record's id.
    pub id: String,
    /// When a record of it changed last, in ms since 1970.
    pub touched_ms: i64,
    /// Whether it waits to be looked at, or to be sent.
    pub is_dirty: bool,
    /// Whether the remote has refused it.
    pub is_aside: bool,
    /// When it is tried next, in ms since 1970; `None`: it waits for a change, or for a person.
    pub due_ms: Option<i64>,
}

/// Which groups are listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Which {
    /// All of them.
    All,
    /// Those that wait.
    Dirty,
    /// Those that were refused.
    Failed,
}

/// A group that only a change or a person makes due.
const NEVER: i64 = i64::MAX;

/// Touches what a statement selects: who is clean becomes dirty, who was refused is tried again, and who waits keeps its
/// place.
macro_rules! touch {
    ($select:literal) => {
        concat!(
            "INSERT INTO grp (id, touch, touched_ms, since_ms, due_ms) ",
            $select,
            " ON CONFLICT (id) DO UPDATE SET touch = excluded.touch, touched_ms = excluded.touched_ms, \
             since_ms = CASE WHEN due_ms IS NULL THEN excluded.since_ms ELSE since_ms END, \
             due_ms = CASE WHEN due_ms IS NULL OR aside > 0 THEN excluded.due_ms ELSE due_ms END"
        )
    };
}

impl SinkState {
    /// A group is dirty. `touch`: the number of what touches it.
    ///
    /// # Errors
    /// The file cannot be written.
    pub async fn touch(&mut self, id: &str, touch: i64, now_ms: i64) -> Result<(), StoreError> {
        let sql = touch!("VALUES (?1, ?2, ?3, ?3, ?3)");
        let done = sqlx::query(sql).bind(id).bind(touch).bind(now_ms);
        let done = done.execute(self.store.connection()).await;
        done.map(|_| ()).map_err(|error| self.store.failed(error))
    }

    /// All groups that are known are dirty.
    ///
    /// # Errors
    /// The file cannot be written.
    pub async fn touch_all(&mut self, touch: i64, now_ms: i64) -> Result<(), StoreError> {
        // `WHERE true`: or the parser takes ON for a join.
        let sql = touch!("SELECT id, ?1, ?2, ?2, ?2 FROM grp WHERE true");
        let done = sqlx::query(sql).bind(touch).bind(now_ms);
        let done = done.execute(self.store.connection()).await;
        done.map(|_| ()).map_err(|error| self.store.failed(error))
    }

    /// All groups that are dirty are sent wherever they differ.
    ///
    /// # Errors
    /// The file cannot be written.
    pub async fn force_all(&mut self, now_ms: i64) -> Result<(), StoreError> {
        let sql = "UPDATE grp SET forced = max(forced, 1), tries = 0, due_ms = min(due_ms, ?) WHERE due_ms IS NOT NULL";
        let done = sqlx::query(sql).bind(now_ms).execute(self.store.connection()).await;
        done.map(|_| ()).map_err(|error| self.store.failed(error))
    }

    /// A group that is dirty is sent if it differs, also for what is not watched.
    ///
    /// # Errors
    /// The file cannot be written.
    pub async fn force(&mut self, id: &str) -> Result<(), StoreError> {
        let sql = "UPDATE grp SET forced = max(forced, 1) WHERE id = ? AND due_ms IS NOT NULL";
        let done = sqlx::query(sql).bind(id).execute(self.store.connection()).await;
        done.map(|_| ()).map_err(|error| self.store.failed(error))
    }

    /// The groups that used a record are dirty.
    ///
    /// # Errors
    /// The file cannot be written.
    pub async fn touch_users(
        &mut self,
        collection: &str,
        id: &str,
        touch: i64,
        now_ms: i64,
    ) -> Result<(), StoreError> {
        let sql = touch!("SELECT grp, ?3, ?4, ?4, ?4 FROM used WHERE collection = ?1 AND id = ?2");
        let done = sqlx::query(sql).bind(collection).bind(id).bind(touch).bind(now_ms);
        let done = done.execute(self.store.connection()).await;
        done.map(|_| ()).map_err(|error| self.store.failed(error))
    }

    /// The groups that a member belongs to are dirty.
    ///
    /// # Errors
    /// The file cannot be written.
    pub async fn touch_targets(
        &mut self,
        relation: &str,
        member: &str,
        touch: i64,
        now_ms: i64,
    ) -> Result<(), StoreError> {
        let sql =
            touch!("SELECT target, ?3, ?4, ?4, ?4 FROM link WHERE relation = ?1 AND member = ?2");
        let done = sqlx::query(sql).bind(relation).bind(member).bind(touch).bind(now_ms);
        let done = done.execute(self.store.connection()).await;
        done.map(|_| ()).map_err(|error| self.store.failed(error))
    }

    /// What touched a group last; `None`: it is not known.
    ///
    /// # Errors
    /// The file cannot be read.
    pub async fn touch_of(&mut self, id: &str) -> Result<Option<i64>, StoreError> {
        let row = sqlx::query("SELECT touch FROM grp WHERE id = ?").bind(id);
        let row = row.fetch_optional(self.store.connection()).await;
        let touch = row.and_then(|row| row.map(|row| row.try_get(0)).transpose());
        touch.map_err(|error| self.store.failed(error))
    }

    /// The groups that are due, those that have waited longest first.
    ///
    /// # Errors
    /// The file cannot be read.
    pub async fn due(&mut self, now_ms: i64, limit: usize) -> Result<Vec<DueGroup>, StoreError> {
        let sql = "SELECT id, touch, tries, forced FROM grp WHERE due_ms <= ? ORDER BY due_ms, id LIMIT ?";
        let rows = sqlx::query(sql).bind(now_ms).bind(i64::try_from(limit).unwrap_or(i64::MAX));
        let rows = rows.fetch_all(self.store.connection()).await;
        let rows = rows.map_err(|error| self.store.failed(error))?;
        let due = |row: &SqliteRow| {
            Ok(DueGroup {
                id: row.try_get(0)?,
                touch: row.try_get(1)?,
                tries: row.try_get(2)?,
                forced: row.try_get(3)?,
            })
        };
        rows.iter().map(due).collect::<Result<_, _>>().map_err(|error| self.store.failed(error))
    }

    /// When the next group is due, in ms since 1970; `None`: none will be by itself.
    ///
    /// # Errors
    /// The file cannot be read.
    pub async fn next_due(&mut self) -> Result<Option<i64>, StoreError> {
        let row = sqlx::query("SELECT min(due_ms) FROM grp WHERE due_ms IS NOT NULL");
        let row = row.fetch_one(self.store.connection()).await;
        let due: Option<i64> =
            row.and_then(|row| row.try_get(0)).map_err(|error| self.store.failed(error))?;
        Ok(due.filter(|due| *due < NEVER))
    }

    /// A group is as the remote has it, unless something has touched it since.
    ///
    /// # Errors
    /// The file cannot be written.
    pub async fn settle(&mut self, id: &str, touch: i64) -> Result<(), StoreError> {
        let sql = "UPDATE grp SET tries = 0, aside = 0, forced = CASE WHEN touch = ?2 THEN 0 ELSE forced END, \
            due_ms = CASE WHEN touch = ?2 THEN NULL ELSE touched_ms END WHERE id = ?1";
        let done = sqlx::query(sql).bind(id).bind(touch).execute(self.store.connection()).await;
        done.map(|_| ()).map_err(|error| self.store.failed(error))
    }

    /// There is nothing more to know of a group, unless something has touched it since.
    ///
    /// # Errors
    /// The file cannot be written.
    pub async fn forget(&mut self, id: &str, touch: i64) -> Result<(), StoreError> {
        self.settle(id, touch).await?;
        let sql = "DELETE FROM grp WHERE id = ? AND due_ms IS NULL";
        let done = sqlx::query(sql).bind(id).execute(self.store.connection()).await;
        done.map(|_| ()).map_err(|error| self.store.failed(error))
    }

    /// A group is tried again later, although nobody has refused it. It keeps what is known of it otherwise.
    ///
    /// # Errors
    /// The file cannot be written.
    pub async fn put_off(&mut self, id: &str, tries: u32, due_ms: i64) -> Result<(), StoreError> {
        let sql = "UPDATE grp SET tries = ?, due_ms = ? WHERE id = ?";
        let done = sqlx::query(sql).bind(tries).bind(due_ms).bind(id);
        let done = done.execute(self.store.connection()).await;
        done.map(|_| ()).map_err(|error| self.store.failed(error))
    }

    /// A group was refused. `due_ms`: when it is tried again; `None`: only a change or a person makes it due. What has
    /// touched it since makes it due at once.
    ///
    /// # Errors
    /// The file cannot be written.
    pub async fn set_aside(
        &mut self,
        id: &str,
        touch: i64,
        due_ms: Option<i64>,
    ) -> Result<(), StoreError> {
        let sql = "UPDATE grp SET aside = 1, tries = 0, forced = CASE WHEN touch = ?2 THEN 0 ELSE forced END, \
            due_ms = CASE WHEN touch = ?2 THEN ?3 ELSE touched_ms END WHERE id = ?1";
        let done = sqlx::query(sql).bind(id).bind(touch).bind(due_ms.unwrap_or(NEVER));
        let done = done.execute(self.store.connection()).await;
        done.map(|_| ()).map_err(|error| self.store.failed(error))
    }

    /// A group that was refused is due at once; returns whether it was one. `touch`: so that it stays due where it is just
    /// being refused once more.
    ///
    /// # Errors
    /// The file cannot be written.
    pub async fn requeue(&mut self, id: &str, touch: i64, now_ms: i64) -> Result<bool, StoreError> {
        let sql = "UPDATE grp SET due_ms = ?, touch = ?, forced = 2, tries = 0 WHERE id = ? AND aside > 0";
        let done = sqlx::query(sql).bind(now_ms).bind(touch).bind(id);
        let done = done.execute(self.store.connection()).await;
        let done = done.map_err(|error| self.store.failed(error))?;
        Ok(done.rows_affected() > 0)
    }

    /// Those that wait for the remote to recover are due at once.
    ///
    /// # Errors
    /// The file cannot be written.
    pub async fn hurry(&mut self, now_ms: i64) -> Result<(), StoreError> {
        let sql = "UPDATE grp SET due_ms = ?1 WHERE due_ms > ?1 AND due_ms < ?2 AND aside = 0";
        let done = sqlx::query(sql).bind(now_ms).bind(NEVER).execute(self.store.connection()).await;
        done.map(|_| ()).map_err(|error| self.store.failed(error))
    }

    /// Groups by id, behind `after`.
    ///
    /// # Errors
    /// The file cannot be read.
    pub async fn groups(
        &mut self,
        which: Which,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<GroupRow>, StoreError> {
        let sql = match which {
            Which::All => {
                "SELECT id, touched_ms, due_ms, aside FROM grp WHERE id > ? ORDER BY id LIMIT ?"
            }
            Which::Dirty => {
                "SELECT id, touched_ms, due_ms, aside FROM grp WHERE id > ? AND due_ms IS NOT NULL ORDER BY id LIMIT ?"
            }
            Which::Failed => {
                "SELECT id, touched_ms, due_ms, aside FROM grp WHERE id > ? AND aside > 0 ORDER BY id LIMIT ?"
            }
        };
        let rows = sqlx::query(sql)
            .bind(after.unwrap_or_default())
            .bind(i64::try_from(limit).unwrap_or(i64::MAX));
        let rows = rows.fetch_all(self.store.connection()).await;
        let rows = rows.map_err(|error| self.store.failed(error))?;
        let group = |row: &SqliteRow| {
            let due_ms: Option<i64> = row.try_get(2)?;
            Ok(GroupRow {
                id: row.try_get(0)?,
                touched_ms: row.try_get(1)?,
                is_dirty: due_ms.is_some(),
                is_aside: row.try_get(3)?,
                due_ms: due_ms.filter(|due| *due < NEVER),
            })
        };
        rows.iter().map(group).collect::<Result<_, _>>().map_err(|error| self.store.failed(error))
    }

    /// How many groups wait, are set aside, and are known.
    ///
    /// # Errors
    /// The file cannot be read.
    pub async fn counts(&mut self) -> Result<(u64, u64, u64), StoreError> {
        let row = sqlx::query("SELECT dirty, aside, known FROM counts");
        let row = row.fetch_one(self.store.connection()).await;
        let read = |row: SqliteRow| Ok((row.try_get(0)?, row.try_get(1)?, row.try_get(2)?));
        let counts: Result<(i64, i64, i64), sqlx::Error> = row.and_then(read);
        let (dirty, aside, known) = counts.map_err(|error| self.store.failed(error))?;
        Ok((dirty.unsigned_abs(), aside.unsigned_abs(), known.unsigned_abs()))
    }

    /// Since when the group that has waited longest waits, in ms since 1970. Those that were refused do not count.
    ///
    /// # Errors
    /// The file cannot be read.
    pub async fn waiting_since(&mut self) -> Result<Option<i64>, StoreError> {
        let sql = "SELECT min(since_ms) FROM grp WHERE due_ms IS NOT NULL AND aside = 0";
        let row = sqlx::query(sql).fetch_one(self.store.connection()).await;
        row.and_then(|row| row.try_get(0)).map_err(|error| self.store.failed(error))
    }
}
