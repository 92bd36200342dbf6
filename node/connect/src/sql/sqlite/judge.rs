//! Whether a bridge can work on the file, and what a person should know of it.

use super::SqliteDatabase;
use super::owners;
use crate::sql::cell::Cell;
use crate::sql::database::DbError;

/// A larger file is not searched for broken foreign keys.
const SEARCHED_BYTES_MAX: u64 = 1 << 30;

impl SqliteDatabase {
    pub(super) async fn judge_file(&mut self) -> Result<(Vec<String>, Vec<String>), DbError> {
        self.session.check_file()?;
        let path = self.session.path.clone();
        let (refusals, mut warnings) = owners::judge(&path);
        let mode = self.text("SELECT j.journal_mode FROM pragma_journal_mode AS j").await?;
        if mode != "wal" {
            warnings.push(format!(
                "{} is in journal mode `{mode}`, not `wal`: while the bridge reads or writes, some milliseconds each time, \
                 the application's COMMIT is refused with \"database is locked\" unless it has a busy_timeout (tried: 34 \
                 of 400 single inserts beside a write each 200 ms, against 2 of 400 with WAL). Where all of its \
                 connections are on this machine, let the application run `PRAGMA journal_mode = WAL` once and \
                 `PRAGMA busy_timeout = 5000` in each connection; a bridge changes neither",
                path.display()
            ));
        } else {
            warnings.push(format!(
                "each write of the bridge can refuse one of an application without busy_timeout (\"database is locked\"), \
                 and one that reads and then writes in the same transaction (`BEGIN`, `SELECT`, `UPDATE`) whatever its \
                 busy_timeout: let it begin such transactions with `BEGIN IMMEDIATE` and run `PRAGMA busy_timeout = 5000` \
                 in each connection ({})",
                path.display()
            ));
        }
        let is_checked = "SELECT f.foreign_keys FROM pragma_foreign_keys AS f";
        let length = std::fs::metadata(&path).map_or(0, |metadata| metadata.len());
        // In the other journal modes a long read would stop the application's commits.
        if mode == "wal" && length <= SEARCHED_BYTES_MAX && self.text(is_checked).await? == "1" {
            let sql = "SELECT v.\"table\" FROM pragma_foreign_key_check AS v LIMIT 1";
            let broken = self.text(sql).await?;
            if !broken.is_empty() {
                warnings.push(format!(
                    "rows of {broken} break a foreign key, so the application does not seem to check them, but the bridge \
                     does: such rows from the network are set aside, and its deletions cascade where the application's \
                     do not. `?foreign_keys=off` at the end of the url makes it like the application"
                ));
            }
        }
        Ok((refusals, warnings))
    }

    /// The first value of a query as text; empty where there is none.
    async fn text(&mut self, sql: &str) -> Result<String, DbError> {
        let sql = format!("SELECT CAST(x.y AS TEXT) FROM (SELECT ({sql}) AS y) AS x");
        let read = |row: &sqlx::sqlite::SqliteRow| sqlx::Row::try_get::<Option<String>, _>(row, 0);
        let found = self.session.fetch(&sql, Vec::<Cell>::new(), read).await?;
        Ok(found.into_iter().flatten().next().unwrap_or_default())
    }
}
