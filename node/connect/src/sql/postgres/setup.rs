//! Installing, removing, and seeing whether all that was installed is there.

use std::time::Duration;

use sqlx::Row as _;
use sqlx::postgres::PgRow;

use crate::sql::database::{Blind, DbError};
use crate::sql::shape::Bound;

use super::Postgres;
use super::arguments::Arguments;
use super::catalogue::get;
use super::error::of;
use super::install::{self, CONTEXT, NOTE, OUTBOX, TRUNCATE, own};
use super::statement::{quote, table};

/// How often installing waits for locks: with the pauses between, some twenty seconds.
const TRIES: u32 = 6;

/// The pause between two tries, in which those who waited behind the bridge's wish for a lock go on.
const PAUSE: Duration = Duration::from_secs(1);

/// The triggers of a table by name, with their functions.
const OWN_TRIGGERS: &str = "\
SELECT c.oid IS NOT NULL AS is_there, t.tgname::text AS trigger, t.tgenabled::text AS enabled,
  t.tgtype::integer AS bits, n.nspname || '.' || p.proname AS function, p.prosrc AS source,
  p.prosecdef AS is_definer, p.proconfig AS settings
FROM (SELECT to_regclass($1::text)::oid AS oid) AS c
LEFT JOIN pg_trigger t ON t.tgrelid = c.oid AND t.tgname IN ('branchline_note', 'branchline_truncate')
LEFT JOIN pg_proc p ON p.oid = t.tgfoid LEFT JOIN pg_namespace n ON n.oid = p.pronamespace";

/// The partitions of a table that its row trigger has not come to, or not as it should.
const DEAF_PARTITIONS: &str = "\
SELECT t.relid::regclass::text FROM pg_partition_tree(to_regclass($1::text)) AS t WHERE t.isleaf AND t.level > 0
AND NOT EXISTS (SELECT FROM pg_trigger g WHERE g.tgrelid = t.relid AND g.tgname = 'branchline_note' AND g.tgenabled = 'A')
LIMIT 1";

/// All that concerns a bridge of tables, by schema and name. Of types only what columns use.
const STAMP: &str = "\
SELECT md5(coalesce(string_agg(concat_ws('|', u.place, c.oid, c.relkind, c.relpersistence, c.relowner,
  c.relrowsecurity, c.relforcerowsecurity,
  (SELECT string_agg(concat_ws(',', a.attnum, a.attname, a.atttypid, a.atttypmod, a.attnotnull, a.atthasdef,
      a.attidentity, a.attgenerated, a.attcollation, y.typbasetype, y.typtypmod, y.typnotnull,
      (SELECT string_agg(e.enumlabel, ',' ORDER BY e.enumsortorder) FROM pg_enum e WHERE e.enumtypid = y.oid)),
      ';' ORDER BY a.attnum)
    FROM pg_attribute a JOIN pg_type y ON y.oid = a.atttypid WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped),
  (SELECT string_agg(concat_ws(',', t.tgname, t.tgenabled, t.tgtype, t.tgfoid, p.prosecdef, p.proconfig, md5(p.prosrc)),
      ';' ORDER BY t.tgname)
    FROM pg_trigger t JOIN pg_proc p ON p.oid = t.tgfoid WHERE t.tgrelid = c.oid AND NOT t.tgisinternal),
  (SELECT string_agg(concat_ws(',', k.oid, k.conname, k.contype, k.condeferrable, k.confdeltype, k.confupdtype),
      ';' ORDER BY k.oid)
    FROM pg_constraint k WHERE k.conrelid = c.oid OR k.confrelid = c.oid),
  (SELECT string_agg(concat_ws(',', i.indexrelid, i.indisunique, i.indisprimary, i.indisvalid, i.indimmediate),
      ';' ORDER BY i.indexrelid)
    FROM pg_index i WHERE i.indrelid = c.oid),
  (SELECT string_agg(concat_ws(',', r.oid, r.ev_enabled), ';' ORDER BY r.oid) FROM pg_rewrite r WHERE r.ev_class = c.oid),
  (SELECT string_agg(concat_ws(',', h.inhrelid, h.inhparent), ';' ORDER BY h.inhrelid)
    FROM pg_inherits h WHERE h.inhparent = c.oid OR h.inhrelid = c.oid),
  CASE WHEN c.relkind = 'p' THEN
    (SELECT string_agg(concat_ws(',', l.relid, g.tgenabled), ';' ORDER BY l.relid) FROM pg_partition_tree(c.oid) AS l
      LEFT JOIN pg_trigger g ON g.tgrelid = l.relid AND g.tgname = 'branchline_note') END
  ), E'\\n' ORDER BY u.place), '') || $3::text || coalesce(to_regclass($3)::oid::text, '-'))
FROM unnest($1::text[], $2::text[]) WITH ORDINALITY AS u(schema, name, place)
LEFT JOIN pg_namespace s ON s.nspname = u.schema LEFT JOIN pg_class c ON c.relnamespace = s.oid AND c.relname = u.name";

impl Postgres {
    /// A text that changes with the tables.
    pub(super) async fn stamp_of(&mut self, tables: &[Bound]) -> Result<String, DbError> {
        let mut arguments = Arguments::default();
        let schemas = tables.iter().map(|bound| bound.table.schema.clone());
        arguments.texts(schemas.collect())?;
        arguments.texts(tables.iter().map(|bound| Some(bound.table.name.clone())).collect())?;
        arguments.text(&own(self.home_or_public(), OUTBOX))?;
        let row = self.session.one(STAMP.to_owned(), arguments).await?;
        row.map_or(Ok(String::new()), |row| row.try_get(0)).map_err(|error| of(&error))
    }

    /// The captured tables of which something is missing.
    pub(super) async fn find_blind(&mut self, tables: &[Bound]) -> Result<Vec<Blind>, DbError> {
        let mut missing = None;
        for name in [CONTEXT, OUTBOX] {
            if !self.has_own(name).await? {
                missing = Some(format!("table {name} is missing"));
            }
        }
        let mut blind = Vec::new();
        for bound in tables.iter().filter(|bound| bound.is_captured) {
            let what = match &missing {
                Some(missing) => Some(missing.clone()),
                None => self.blindness(bound).await?,
            };
            blind.extend(what.map(|what| Blind { table: bound.number, what }));
        }
        Ok(blind)
    }

    /// What is missing or wrong of a table's triggers.
    async fn blindness(&mut self, bound: &Bound) -> Result<Option<String>, DbError> {
        let home = self.home()?.to_owned();
        let mut arguments = Arguments::default();
        arguments.text(&table(&bound.table))?;
        let rows = self.session.all(OWN_TRIGGERS.to_owned(), arguments).await?;
        let is_there = rows.first().map(|row| get::<bool>(row, "is_there")).transpose()?;
        if is_there != Some(true) {
            return Ok(Some(format!("table {} is missing", bound.table)));
        }
        for (is_truncate, name, body) in [
            (false, NOTE, install::note_body(&home, bound)),
            (true, TRUNCATE, install::truncate_body(&home, bound.number)),
        ] {
            let mut found = None;
            for row in &rows {
                if get::<Option<String>>(row, "trigger")?.as_deref() == Some(name) {
                    found = Some(row);
                }
            }
            let Some(row) = found else {
                return Ok(Some(format!("trigger {name} is missing")));
            };
            match &*get::<String>(row, "enabled")? {
                "A" => {}
                "D" => return Ok(Some(format!("trigger {name} is disabled"))),
                _ => return Ok(Some(format!("trigger {name} is not enabled ALWAYS"))),
            }
            // AFTER, for each row: INSERT, DELETE, UPDATE; for each statement: TRUNCATE.
            let bits = if is_truncate { 32 } else { 1 | 4 | 8 | 16 };
            let function = format!("{home}.{}", install::function_name(bound.number, is_truncate));
            if get::<i32>(row, "bits")? != bits
                || get::<String>(row, "function")? != function
                || !is_as_made(row, bound, &body)?
            {
                return Ok(Some(format!("trigger {name} is not as it was installed")));
            }
        }
        let mut arguments = Arguments::default();
        arguments.text(&table(&bound.table))?;
        let deaf = self.session.one(DEAF_PARTITIONS.to_owned(), arguments).await?;
        let Some(row) = deaf else { return Ok(None) };
        let partition: String = row.try_get(0).map_err(|error| of(&error))?;
        Ok(Some(format!(
            "trigger {NOTE} of partition {partition} is missing or not enabled ALWAYS"
        )))
    }

    /// Installs what is missing. One transaction for the bridge's own tables and one for each table, so that no table's
    /// writers wait for another table's lock.
    pub(super) async fn install_all(&mut self, tables: &[Bound]) -> Result<(), DbError> {
        let home = self.home()?.to_owned();
        let is_whole = self.has_own(OUTBOX).await? && self.read_context().await?.is_some();
        if !is_whole {
            self.change(install::base(&home, &self.user)).await?;
        }
        for bound in tables.iter().filter(|bound| bound.is_captured) {
            if self.blindness(bound).await?.is_some() {
                self.change(install::for_table(&home, bound)).await?;
            }
        }
        Ok(())
    }

    /// Removes a table's triggers, functions and notes.
    pub(super) async fn remove_one(&mut self, bound: &Bound) -> Result<(), DbError> {
        let home = self.home()?.to_owned();
        let mut sql = install::remove_table(&home, bound);
        if self.has_own(OUTBOX).await? {
            sql.push(format!("DELETE FROM {} WHERE tbl = {}", own(&home, OUTBOX), bound.number));
        }
        self.change(sql).await
    }

    /// Removes all that is installed, also triggers of tables that no bridge names any more.
    pub(super) async fn remove_all(&mut self, tables: &[Bound]) -> Result<(), DbError> {
        let home = self.home()?.to_owned();
        let mut arguments = Arguments::default();
        let schema = arguments.text(&home)?;
        // The triggers of partitions go with that of the partitioned table.
        let sql = format!(
            "SELECT p.proname::text AS function, t.tgname::text AS trigger, t.tgrelid::regclass::text AS table \
             FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace \
             LEFT JOIN pg_trigger t ON t.tgfoid = p.oid AND t.tgparentid = 0 \
             WHERE n.nspname = {schema} AND p.proname ~ '^branchline_note_[0-9]+(_truncate)?$' ORDER BY 3, 1"
        );
        for row in self.session.all(sql, arguments).await? {
            let function: String = get(&row, "function")?;
            let trigger: Option<String> = get(&row, "trigger")?;
            let table: Option<String> = get(&row, "table")?;
            let mut sql = Vec::new();
            if let Some((trigger, table)) = trigger.zip(table) {
                sql.push(format!("DROP TRIGGER IF EXISTS {} ON {table}", quote(&trigger)));
            }
            sql.push(format!("DROP FUNCTION IF EXISTS {}() CASCADE", own(&home, &function)));
            self.change(sql).await?;
        }
        for bound in tables.iter().filter(|bound| bound.is_captured) {
            self.change(install::drop_functions(&home, bound.number)).await?;
        }
        self.change(install::remove_base(&home)).await
    }

    /// Runs DDL as one transaction. It waits for locks shortly, since every later writer of a table waits behind it.
    async fn change(&mut self, sql: Vec<String>) -> Result<(), DbError> {
        let sql = sql.join(";\n");
        let mut tries = 0;
        loop {
            self.session.roll_back().await;
            self.session.is_open = true;
            let changed = self
                .session
                .run(format!("BEGIN; SET LOCAL lock_timeout = '2s';\n{sql};\nCOMMIT"))
                .await;
            tries += 1;
            match changed {
                Ok(()) => {
                    self.session.is_open = false;
                    return Ok(());
                }
                Err(error) if matches!(&*error.code, "55P03" | "40P01") && tries < TRIES => {
                    self.session.roll_back().await;
                    tokio::time::sleep(PAUSE).await;
                }
                Err(error) => {
                    self.session.roll_back().await;
                    return Err(error);
                }
            }
        }
    }
}

/// Whether a trigger's function is as it was made.
fn is_as_made(row: &PgRow, bound: &Bound, body: &str) -> Result<bool, DbError> {
    let settings: Vec<String> = get::<Option<Vec<String>>>(row, "settings")?.unwrap_or_default();
    let expected = install::settings(bound)
        .into_iter()
        .map(|(name, value)| format!("{name}={}", value.trim_matches('\'')));
    Ok(get::<String>(row, "source")? == body
        && get::<bool>(row, "is_definer")?
        && settings == expected.collect::<Vec<_>>())
}
