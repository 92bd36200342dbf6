//! Installing, removing, and looking whether all is there.

use std::time::Duration;

use sqlx::mysql::MySqlRow;

use super::identity;
use super::install::{self, MariadbTrigger, OUTBOX, PREFIX};
use super::session::{MariadbSession, text, text_or_empty};
use super::text::{name, quoted};
use crate::sql::database::{Blind, DbError, DbErrorClass};
use crate::sql::shape::Bound;

/// How often a statement is tried that waits for a lock: while it waits, every writer of the table waits behind it.
const TRIES_MAX: u32 = 6;
/// The pause before it is tried again, in which the writers that waited go on.
const PAUSE: Duration = Duration::from_secs(1);
/// Notes that are deleted at once.
const NOTES_MAX: usize = 1_000;

/// A trigger as it is.
struct MariadbInstalled {
    name: String,
    table: String,
    timing: String,
    event: String,
    body: String,
}

impl MariadbInstalled {
    fn is(&self, expected: &MariadbTrigger) -> bool {
        self.table == expected.table
            && self.timing == expected.timing
            && self.event == expected.event
            && self.body == expected.body
    }
}

/// The bridges' triggers in the database, on whatever table.
async fn found(session: &mut MariadbSession) -> Result<Vec<MariadbInstalled>, DbError> {
    let sql = "SELECT trigger_name, event_object_table, action_timing, event_manipulation, action_statement \
        FROM information_schema.triggers WHERE trigger_schema = DATABASE() AND trigger_name LIKE 'branchline\\_%'";
    let rows = session.query(sql, Vec::new()).await?;
    let read = |row: &MySqlRow| {
        Ok(MariadbInstalled {
            name: text_or_empty(row, 0)?,
            table: text_or_empty(row, 1)?,
            timing: text_or_empty(row, 2)?,
            event: text_or_empty(row, 3)?,
            body: text_or_empty(row, 4)?,
        })
    };
    rows.iter().map(read).collect()
}

/// Installs what is missing.
pub(super) async fn install(
    session: &mut MariadbSession,
    database: &str,
    tables: &[Bound],
) -> Result<(), DbError> {
    for statement in install::tables() {
        patiently(session, &statement).await?;
    }
    let found = found(session).await?;
    for trigger in install::triggers(tables) {
        match found.iter().find(|found| found.name == trigger.name) {
            Some(found) if found.is(&trigger) => continue,
            // Of its name on another table: a table was put in the place of another.
            Some(found) if found.table != trigger.table => {
                patiently(session, &trigger.drop()).await?;
            }
            Some(_) | None => {}
        }
        patiently(session, &trigger.create()).await?;
    }
    identity::keep(session, database, tables).await
}

/// Removes all triggers and tables of bridges.
pub(super) async fn remove(session: &mut MariadbSession, tables: &[Bound]) -> Result<(), DbError> {
    for found in found(session).await? {
        patiently(session, &format!("DROP TRIGGER IF EXISTS {}", name(&found.name))).await?;
    }
    for statement in install::remove(tables) {
        patiently(session, &statement).await?;
    }
    Ok(())
}

/// Removes the triggers and notes of one table.
pub(super) async fn remove_table(
    session: &mut MariadbSession,
    table: &Bound,
) -> Result<(), DbError> {
    let prefix = format!("{PREFIX}{}_", table.number);
    for found in found(session).await?.iter().filter(|found| found.name.starts_with(&prefix)) {
        patiently(session, &format!("DROP TRIGGER IF EXISTS {}", name(&found.name))).await?;
    }
    loop {
        // Read without locks, deleted by key: what other tables' transactions have noted is not waited for.
        let sql = format!(
            "SELECT CAST(id AS CHAR) FROM {OUTBOX} WHERE tbl = {} LIMIT {NOTES_MAX}",
            table.number
        );
        let rows = session.query(sql, Vec::new()).await?;
        let ids: Vec<String> =
            rows.iter().map(|row| text_or_empty(row, 0)).collect::<Result<_, _>>()?;
        super::write::delete_ids(session, &ids).await?;
        if ids.len() < NOTES_MAX {
            return Ok(());
        }
    }
}

/// Runs a statement that waits 2 s for a lock at most, some times.
async fn patiently(session: &mut MariadbSession, statement: &str) -> Result<(), DbError> {
    let mut tries = 0;
    loop {
        tries += 1;
        match session.raw(statement).await {
            Err(error)
                if error.class == DbErrorClass::Transient
                    && !error.code.is_empty()
                    && tries < TRIES_MAX =>
            {
                tokio::time::sleep(PAUSE).await;
            }
            answer => return answer,
        }
    }
}

/// The captured tables whose triggers are not as they should be.
pub(super) async fn blind(
    session: &mut MariadbSession,
    database: &str,
    tables: &[Bound],
) -> Result<Vec<Blind>, DbError> {
    let others = identity::others(session, database, tables).await?;
    let mut blind = Vec::new();
    let sql = "SELECT '1' FROM information_schema.tables WHERE table_schema = DATABASE() AND table_name = ?";
    let has_outbox = session.value(sql, vec![OUTBOX.into()]).await?.is_some();
    let found = found(session).await?;
    for table in tables.iter().filter(|table| table.is_captured) {
        let mut missing = |what: String| blind.push(Blind { table: table.number, what });
        if !has_outbox {
            missing(format!("table {OUTBOX} is missing"));
        }
        if others.contains(&table.number) {
            let name = &table.table;
            missing(format!("table {name} was truncated or rebuilt, and nothing noted it"));
        }
        for trigger in install::of_table(table) {
            let (label, on) = (&trigger.name, &trigger.table);
            match found.iter().find(|found| found.name == trigger.name) {
                Some(found) if found.is(&trigger) => {}
                Some(found) if found.table != trigger.table => missing(format!(
                    "trigger {label} is on table {}, expected on {on}: the table was put in another's place",
                    found.table
                )),
                Some(_) => missing(format!("trigger {label} on {on} was changed")),
                None => missing(format!("trigger {label} on {on} is missing")),
            }
        }
    }
    Ok(blind)
}

/// Changes with columns, indexes, triggers, engine and rebuilds of these tables, and with the outbox.
pub(super) async fn stamp(
    session: &mut MariadbSession,
    database: &str,
    tables: &[Bound],
) -> Result<String, DbError> {
    let mut names: Vec<&str> = vec![OUTBOX];
    for table in tables {
        names.push(&table.table.name);
        names.extend(table.silent_cascades.iter().map(|key| key.to.name.as_str()));
    }
    names.sort_unstable();
    names.dedup();
    let mut stamp = String::new();
    for (number, identity) in identity::now(session, database, tables).await? {
        stamp.push_str(&format!("{number}={identity};"));
    }
    for table in names {
        let rows = session.query(stamp_sql(table), Vec::new()).await?;
        let found = rows.first().map_or(Ok(None), |row| text(row, 0))?;
        stamp.push_str(&found.unwrap_or_default());
        stamp.push(';');
    }
    Ok(stamp)
}

/// The table's name stands in the statement as a constant: then the server opens that table alone.
fn stamp_sql(table: &str) -> String {
    let table = quoted(table);
    let of = |what: &str, order: &str, from: &str, schema: &str, column: &str| {
        format!(
            "(SELECT GROUP_CONCAT(CONCAT_WS('|', {what}) ORDER BY {order}) FROM information_schema.{from} \
             WHERE {schema} = DATABASE() AND {column} = {table})"
        )
    };
    let columns = of(
        "column_name, column_type, collation_name, is_nullable, IFNULL(column_default, '-'), extra, generation_expression",
        "ordinal_position",
        "columns",
        "table_schema",
        "table_name",
    );
    let triggers = of(
        "trigger_name, action_timing, event_manipulation, action_order, MD5(action_statement)",
        "trigger_name",
        "triggers",
        "trigger_schema",
        "event_object_table",
    );
    let indexes = of(
        "index_name, non_unique, column_name, sub_part",
        "index_name, seq_in_index",
        "statistics",
        "table_schema",
        "table_name",
    );
    let itself =
        of("table_type, engine, create_time", "table_name", "tables", "table_schema", "table_name");
    format!("SELECT MD5(CONCAT_WS('/', {columns}, {triggers}, {indexes}, {itself}))")
}
