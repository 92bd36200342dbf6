//! Tables and triggers as `sqlite_master` has them.

use std::collections::BTreeSet;

use sqlx::Row as _;
use sqlx::sqlite::SqliteRow;

use super::SqliteDatabase;
use super::install::{self, KEY_COLUMNS_MAX};
use super::sql::quoted;
use super::types::column_type;
use crate::sql::cell::Cell;
use crate::sql::database::{Blind, DbError};
use crate::sql::shape::{
    Bound, ColumnShape, ColumnType, ForeignKey, TableName, TableShape, TriggerShape, UniqueIndex,
};

/// A trigger of a bridge: its name, its statement, its table.
type OwnTrigger = (String, String, String);

/// A table, its kind and its traits.
struct SqliteCatalogue {
    name: String,
    kind: String,
    is_without_rowid: bool,
    is_strict: bool,
}

impl SqliteDatabase {
    pub(super) async fn own_triggers(&mut self) -> Result<Vec<OwnTrigger>, DbError> {
        let sql = "SELECT m.name, m.sql, m.tbl_name FROM sqlite_master AS m \
                   WHERE m.type = 'trigger' AND m.name GLOB 'branchline_[0-9]*' ORDER BY m.name";
        let read = |row: &SqliteRow| Ok((row.try_get(0)?, row.try_get(1)?, row.try_get(2)?));
        self.session.fetch(sql, Vec::new(), read).await
    }

    pub(super) async fn blind_of(&mut self, tables: &[Bound]) -> Result<Vec<Blind>, DbError> {
        let sql = "SELECT count(*) FROM sqlite_master WHERE type = 'table' \
                   AND name IN ('branchline_outbox', 'branchline_context')";
        let has_outbox = self.session.number(sql, Vec::new()).await? == Some(2);
        let found = self.own_triggers().await?;
        let mut blind = Vec::new();
        for table in tables {
            for trigger in install::triggers(table) {
                let what = match found.iter().find(|(name, _, _)| *name == trigger.name) {
                    None => format!("trigger {} is missing", trigger.name),
                    Some((_, sql, _)) if *sql != trigger.sql => {
                        format!("trigger {} is not as it was installed", trigger.name)
                    }
                    Some(_) if !has_outbox => {
                        "branchline_outbox or branchline_context is missing".to_owned()
                    }
                    Some(_) => continue,
                };
                blind.push(Blind { table: table.number, what });
                break;
            }
        }
        Ok(blind)
    }

    pub(super) async fn shape_of(&mut self, table: &str) -> Result<Option<TableShape>, DbError> {
        let name = table.strip_prefix("main.").unwrap_or(table);
        let sql = "SELECT l.name, l.type, l.wr, l.strict FROM pragma_table_list AS l \
                   WHERE l.schema = 'main' AND l.name = ?1 COLLATE NOCASE";
        let read = |row: &SqliteRow| {
            Ok(SqliteCatalogue {
                name: row.try_get(0)?,
                kind: row.try_get(1)?,
                is_without_rowid: row.try_get::<i64, _>(2)? != 0,
                is_strict: row.try_get::<i64, _>(3)? != 0,
            })
        };
        let found = self.session.fetch(sql, vec![Cell::text(name)], read).await?;
        let Some(found) = found.into_iter().next() else { return Ok(None) };
        let name = TableName { schema: None, name: found.name.clone() };
        let mut shape = TableShape {
            name,
            columns: Vec::new(),
            primary_key: Vec::new(),
            unique: Vec::new(),
            foreign_keys: Vec::new(),
            triggers: Vec::new(),
            refusals: Vec::new(),
            warnings: Vec::new(),
        };
        if found.kind != "table" {
            let what = match found.kind.as_str() {
                "view" => "a view: name the table behind it",
                "virtual" => "a virtual table, which takes no triggers",
                _ => "a table that SQLite keeps for itself",
            };
            shape.refusals.push(format!("{} is {what}", found.name));
            return Ok(Some(shape));
        }
        self.add_columns(&found, &mut shape).await?;
        self.add_unique(&found, &mut shape).await?;
        shape.foreign_keys = self.foreign_keys_of(&found.name).await?;
        self.add_triggers(&found, &mut shape).await?;
        self.add_traps(&found, &mut shape).await?;
        Ok(Some(shape))
    }

    async fn add_columns(
        &mut self,
        found: &SqliteCatalogue,
        shape: &mut TableShape,
    ) -> Result<(), DbError> {
        // A primary key without an index of its own is the row's number.
        let sql = "SELECT count(*) FROM pragma_index_list(?1) AS i WHERE i.origin = 'pk'";
        let has_key_index =
            self.session.number(sql, vec![Cell::text(found.name.clone())]).await? != Some(0);
        let sql = "SELECT x.name, x.type, x.\"notnull\", x.dflt_value IS NOT NULL, x.pk, x.hidden \
                   FROM pragma_table_xinfo(?1) AS x ORDER BY x.cid";
        let read =
            |row: &SqliteRow| -> Result<(String, String, bool, bool, i64, i64), sqlx::Error> {
                let is = |index: usize| Ok::<bool, sqlx::Error>(row.try_get::<i64, _>(index)? != 0);
                Ok((
                    row.try_get(0)?,
                    row.try_get(1)?,
                    is(2)?,
                    is(3)?,
                    row.try_get(4)?,
                    row.try_get(5)?,
                ))
            };
        let columns = self.session.fetch(sql, vec![Cell::text(found.name.clone())], read).await?;
        let mut key: Vec<(i64, String)> = Vec::new();
        for (name, declared, is_not_null, has_default, key_place, hidden) in columns {
            let is_rowid = key_place > 0 && !has_key_index && !found.is_without_rowid;
            if key_place > 0 {
                key.push((key_place, name.clone()));
            }
            let (kind, warning) = column_type(&declared, found.is_strict);
            if let Some(warning) = warning {
                shape.warnings.push(format!("{}.{name} is {declared}: {warning}", found.name));
            }
            let is_nullable = !(is_not_null || is_rowid || found.is_without_rowid && key_place > 0);
            shape.columns.push(ColumnShape {
                name,
                declared,
                kind,
                is_nullable,
                has_default: has_default || is_nullable || is_rowid,
                is_generated: hidden == 2 || hidden == 3,
                is_numbered: is_rowid,
                is_identity_always: false,
                key_trap: None,
            });
        }
        key.sort();
        shape.primary_key = key.into_iter().map(|(_, name)| name).collect();
        if shape.primary_key.len() > KEY_COLUMNS_MAX {
            let what = format!(
                "the primary key of {} has {} columns; a bridge can work with {KEY_COLUMNS_MAX} at most",
                found.name,
                shape.primary_key.len(),
            );
            shape.refusals.push(what);
        }
        Ok(())
    }

    async fn add_unique(
        &mut self,
        found: &SqliteCatalogue,
        shape: &mut TableShape,
    ) -> Result<(), DbError> {
        let sql = "SELECT i.name, i.partial FROM pragma_index_list(?1) AS i \
                   WHERE i.\"unique\" AND i.origin <> 'pk' ORDER BY i.name";
        let read =
            |row: &SqliteRow| Ok((row.try_get::<String, _>(0)?, row.try_get::<i64, _>(1)? != 0));
        let indexes = self.session.fetch(sql, vec![Cell::text(found.name.clone())], read).await?;
        for (name, is_partial) in indexes {
            let sql = "SELECT x.name FROM pragma_index_xinfo(?1) AS x WHERE x.key ORDER BY x.seqno";
            let read = |row: &SqliteRow| row.try_get::<Option<String>, _>(0);
            let columns = self.session.fetch(sql, vec![Cell::text(name.clone())], read).await?;
            let is_whole = !is_partial && columns.iter().all(Option::is_some);
            let columns: Vec<String> = columns.into_iter().flatten().collect();
            let is_plain = is_whole && self.is_found_by(&found.name, &name, &columns).await;
            if !is_plain {
                shape.warnings.push(format!(
                    "a row of {} that REPLACE removes by the unique index {name} is missed until `bridge verify`, since \
                     the index has an expression, a condition or a collation of its own",
                    found.name
                ));
            }
            shape.unique.push(UniqueIndex { name, columns, is_plain });
        }
        Ok(())
    }

    /// Whether `column = value` for these columns finds rows by this index: then a trigger that asks so is fast and sees
    /// what the index sees. Not where the index has another collation than its columns.
    async fn is_found_by(&mut self, table: &str, index: &str, columns: &[String]) -> bool {
        let conditions: Vec<String> =
            columns.iter().map(|column| format!("t.{} = ?1", quoted(column))).collect();
        let sql = format!(
            "EXPLAIN QUERY PLAN SELECT 1 FROM {} AS t INDEXED BY {} WHERE {}",
            quoted(table),
            quoted(index),
            conditions.join(" AND "),
        );
        let read = |row: &SqliteRow| row.try_get::<String, _>(3);
        let plan = self.session.fetch(&sql, vec![Cell::Null], read).await.unwrap_or_default();
        plan.iter()
            .any(|step| step.starts_with("SEARCH") && step.matches("=?").count() == columns.len())
    }

    /// The foreign keys out of a table and into it.
    pub(super) async fn foreign_keys_of(&mut self, name: &str) -> Result<Vec<ForeignKey>, DbError> {
        let sql = "SELECT m.name, f.id, coalesce((SELECT o.name FROM sqlite_master AS o WHERE o.type = 'table' \
                   AND o.name = f.\"table\" COLLATE NOCASE), f.\"table\"), f.\"from\", f.\"to\", f.on_delete, f.on_update \
                   FROM sqlite_master AS m CROSS JOIN pragma_foreign_key_list(m.name) AS f \
                   WHERE m.type = 'table' AND (m.name = ?1 COLLATE NOCASE OR f.\"table\" = ?1 COLLATE NOCASE) \
                   ORDER BY m.name, f.id, f.seq";
        let read = |row: &SqliteRow| {
            let table = |name| TableName { schema: None, name };
            let from: String = row.try_get(0)?;
            let name = format!("{from}_{}", row.try_get::<i64, _>(1)?);
            Ok(ForeignKey {
                name,
                from: table(from),
                from_columns: vec![row.try_get(3)?],
                to: table(row.try_get(2)?),
                to_columns: row.try_get::<Option<String>, _>(4)?.into_iter().collect(),
                on_delete: row.try_get(5)?,
                on_update: row.try_get(6)?,
            })
        };
        let mut keys: Vec<ForeignKey> = Vec::new();
        for key in self.session.fetch(sql, vec![Cell::text(name)], read).await? {
            // One row for each column.
            match keys.last_mut() {
                Some(last) if last.name == key.name => {
                    last.from_columns.extend(key.from_columns);
                    last.to_columns.extend(key.to_columns);
                }
                _ => keys.push(key),
            }
        }
        // Without columns a foreign key refers to the primary key.
        for key in &mut keys {
            if key.to_columns.is_empty() {
                key.to_columns = self.primary_key(&key.to.name).await?;
            }
        }
        Ok(keys)
    }

    async fn primary_key(&mut self, table: &str) -> Result<Vec<String>, DbError> {
        let sql = "SELECT x.name FROM pragma_table_xinfo(?1) AS x WHERE x.pk > 0 ORDER BY x.pk";
        self.session.fetch(sql, vec![Cell::text(table)], |row| row.try_get::<String, _>(0)).await
    }

    async fn add_triggers(
        &mut self,
        found: &SqliteCatalogue,
        shape: &mut TableShape,
    ) -> Result<(), DbError> {
        let sql = "SELECT m.name, m.sql FROM sqlite_master AS m WHERE m.type = 'trigger' \
                   AND m.tbl_name = ?1 COLLATE NOCASE AND m.name NOT GLOB 'branchline_[0-9]*' ORDER BY m.name";
        let read = |row: &SqliteRow| Ok((row.try_get(0)?, row.try_get::<String, _>(1)?));
        let triggers: Vec<(String, String)> =
            self.session.fetch(sql, vec![Cell::text(found.name.clone())], read).await?;
        for (name, sql) in triggers {
            let event = event_of(&name, &sql);
            // It would take the whole batch with it, again and again.
            let bare: String = sql.to_ascii_uppercase().split_whitespace().collect();
            if bare.contains("RAISE(ROLLBACK") {
                shape.warnings.push(format!(
                    "trigger {name} of {} rolls back the whole transaction where it refuses a row, so a row that it refuses \
                     stops the bridge: let it say RAISE(ABORT, …)",
                    found.name
                ));
            }
            shape.triggers.push(TriggerShape { name, event, is_enabled: true });
        }
        Ok(())
    }

    /// What makes two keys one, and what this SQLite lacks that the application's has.
    async fn add_traps(
        &mut self,
        found: &SqliteCatalogue,
        shape: &mut TableShape,
    ) -> Result<(), DbError> {
        let table = quoted(&found.name);
        for column in &mut shape.columns {
            let name = quoted(&column.name);
            // The collation of a column is not in the catalogue, but what is compared with the column has it.
            let sql = format!(
                "SELECT c = 'A', c = 'a ' FROM (SELECT t.{name} AS c FROM {table} AS t WHERE 0 UNION ALL SELECT 'a')"
            );
            let read = |row: &SqliteRow| {
                let is = |index: usize| {
                    Ok::<bool, sqlx::Error>(row.try_get::<Option<i64>, _>(index)? == Some(1))
                };
                Ok((is(0)?, is(1)?))
            };
            let traps = match self.session.fetch(&sql, Vec::new(), read).await {
                Ok(traps) => traps,
                Err(why) if why.message.contains("no such collation") => {
                    shape.refusals.push(format!(
                        "{}.{} has a collation that only the application knows: {}",
                        found.name, column.name, why.message
                    ));
                    continue;
                }
                Err(why) => return Err(why),
            };
            column.key_trap = match traps.first() {
                Some((true, _)) => Some("COLLATE NOCASE: 'A' and 'a' are one key".to_owned()),
                Some((_, true)) => Some("COLLATE RTRIM: 'a' and 'a ' are one key".to_owned()),
                _ if matches!(column.kind, ColumnType::Float { .. }) => {
                    Some("floats have no exact text, so a row may not be found by it".to_owned())
                }
                _ if column.declared.is_empty() => {
                    Some("no type is declared: 7 and '7' are two keys".to_owned())
                }
                _ => None,
            };
        }
        let mut found_wrong = BTreeSet::new();
        for statement in [
            format!("EXPLAIN INSERT INTO {table} DEFAULT VALUES"),
            format!("EXPLAIN DELETE FROM {table}"),
        ] {
            // Compiling a statement compiles its triggers, checks and indexes too.
            if let Err(why) = self.session.run(&statement, Vec::new()).await {
                found_wrong.insert(why.message);
            }
        }
        for why in found_wrong {
            shape.warnings.push(format!(
                "rows of {} can be captured but not applied: the table or its triggers need what only the application \
                 has ({why})",
                found.name
            ));
        }
        Ok(())
    }
}

/// `BEFORE INSERT`, out of a trigger's statement.
fn event_of(name: &str, sql: &str) -> String {
    let upper = sql.to_ascii_uppercase();
    // The name may hold any of the words.
    let after_name = upper.find(&name.to_ascii_uppercase()).map_or(0, |at| at + name.len());
    let words: Vec<&str> = upper.get(after_name..).unwrap_or(&upper).split_whitespace().collect();
    let has =
        |word: &str| words.iter().take_while(|found| **found != "ON").any(|found| *found == word);
    let when = if has("AFTER") {
        "AFTER"
    } else if has("INSTEAD") {
        "INSTEAD OF"
    } else {
        "BEFORE"
    };
    let what = ["INSERT", "UPDATE", "DELETE"].into_iter().find(|what| has(what)).unwrap_or("WRITE");
    format!("{when} {what}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_event_of_a_trigger_is_read_out_of_its_statement() {
        let sql = "CREATE TRIGGER \"after delete\" before\n update of price ON \"on\" BEGIN DELETE FROM x; END";
        assert_eq!(event_of("after delete", sql), "BEFORE UPDATE");
        assert_eq!(
            event_of("t", "CREATE TRIGGER t INSERT ON x BEGIN SELECT 1; END"),
            "BEFORE INSERT"
        );
        assert_eq!(
            event_of("t", "create trigger t after insert on x begin select 1; end"),
            "AFTER INSERT"
        );
    }
}
