//! A table as `information_schema` has it.

use sqlx::mysql::MySqlRow;

use super::error::plain;
use super::session::{MariadbSession, Parameter, text, text_or_empty};
use super::text::COLLATE;
use super::types::{MariadbDeclared, key_trap, kind};
use crate::sql::database::{DbError, DbErrorClass};
use crate::sql::shape::{
    ColumnShape, ForeignKey, TableName, TableShape, TriggerShape, UniqueIndex,
};

/// Foreign keys that are followed upwards from a table: see [`TableShape::cascades_from_above`].
const CASCADES_MAX: usize = 200;

/// A table by its name, which may have the database before it.
pub(super) async fn shape(
    session: &mut MariadbSession,
    database: &str,
    table: &str,
) -> Result<Option<TableShape>, DbError> {
    let own = table.strip_prefix(database).and_then(|rest| rest.strip_prefix('.'));
    let table = own.unwrap_or(table);
    let sql = "SELECT table_name, table_type, engine, create_options FROM information_schema.tables \
        WHERE table_schema = DATABASE() AND table_name = ?";
    let found = session.query(sql, vec![table.into()]).await?;
    let Some(found) = found.first() else { return Ok(None) };
    let table = text_or_empty(found, 0)?;
    if text_or_empty(found, 1)? == "BASE TABLE" && text(found, 2)?.is_none() {
        let message = format!("table {table} cannot be looked at: it is being made or altered");
        return Err(plain(DbErrorClass::Transient, message));
    }
    let (refusals, warnings) = judged(found, &table)?;
    let statistics = statistics(session, &table).await?;
    let (primary_key, unique) = indexes(&statistics)?;
    Ok(Some(TableShape {
        columns: columns(session, &table, &statistics).await?,
        primary_key,
        unique,
        foreign_keys: foreign_keys(session, &table).await?,
        triggers: triggers(session, &table).await?,
        name: TableName { schema: None, name: table },
        refusals,
        warnings,
    }))
}

fn judged(found: &MySqlRow, table: &str) -> Result<(Vec<String>, Vec<String>), DbError> {
    let (kind, engine) = (text_or_empty(found, 1)?, text_or_empty(found, 2)?);
    let options = text_or_empty(found, 3)?;
    let mut refusals = Vec::new();
    let mut warnings = Vec::new();
    if !matches!(kind.as_str(), "BASE TABLE" | "SYSTEM VERSIONED") {
        let kind = kind.to_lowercase();
        refusals
            .push(format!("{table} is a {kind}, which has no triggers: name the table behind it"));
    } else if !engine.eq_ignore_ascii_case("InnoDB") {
        refusals.push(format!(
            "{table} has the engine {engine}, which has no transactions: ALTER TABLE {} ENGINE=InnoDB",
            super::text::name(table)
        ));
    }
    if options.contains("partitioned") {
        warnings.push(format!(
            "{table} is partitioned: TRUNCATE, DROP and EXCHANGE PARTITION make no notes; run bridge verify after them"
        ));
    }
    Ok((refusals, warnings))
}

/// Index, whether it is not unique, column, and how much of the column it holds.
struct Indexed {
    index: String,
    is_unique: bool,
    column: String,
    prefix: Option<String>,
}

async fn statistics(session: &mut MariadbSession, table: &str) -> Result<Vec<Indexed>, DbError> {
    let sql = "SELECT index_name, CAST(non_unique AS CHAR), column_name, CAST(sub_part AS CHAR) \
        FROM information_schema.statistics WHERE table_schema = DATABASE() AND table_name = ? \
        ORDER BY index_name, seq_in_index";
    let rows = session.query(sql, vec![table.into()]).await?;
    let read = |row: &MySqlRow| {
        Ok(Indexed {
            index: text_or_empty(row, 0)?,
            is_unique: text_or_empty(row, 1)? == "0",
            column: text_or_empty(row, 2)?,
            prefix: text(row, 3)?,
        })
    };
    rows.iter().map(read).collect()
}

fn indexes(statistics: &[Indexed]) -> Result<(Vec<String>, Vec<UniqueIndex>), DbError> {
    let mut primary_key = Vec::new();
    let mut unique: Vec<UniqueIndex> = Vec::new();
    for part in statistics.iter().filter(|part| part.is_unique) {
        if part.index == "PRIMARY" {
            primary_key.push(part.column.clone());
            continue;
        }
        if unique.last().is_none_or(|last| last.name != part.index) {
            let name = part.index.clone();
            unique.push(UniqueIndex { name, columns: Vec::new(), is_plain: true });
        }
        if let Some(last) = unique.last_mut() {
            last.columns.push(part.column.clone());
            last.is_plain &= part.prefix.is_none();
        }
    }
    Ok((primary_key, unique))
}

async fn columns(
    session: &mut MariadbSession,
    table: &str,
    statistics: &[Indexed],
) -> Result<Vec<ColumnShape>, DbError> {
    let sql = "SELECT column_name, column_type, CAST(character_maximum_length AS CHAR), \
        CAST(numeric_precision AS CHAR), CAST(numeric_scale AS CHAR), CAST(datetime_precision AS CHAR), \
        character_set_name, collation_name, is_nullable, column_default, extra, generation_expression \
        FROM information_schema.columns WHERE table_schema = DATABASE() AND table_name = ? \
        ORDER BY ordinal_position";
    let rows = session.query(sql, vec![table.into()]).await?;
    let sql = "SELECT check_clause FROM information_schema.check_constraints \
        WHERE constraint_schema = DATABASE() AND table_name = ?";
    let checks = session.query(sql, vec![table.into()]).await?;
    let checks: Vec<String> =
        checks.iter().map(|row| text_or_empty(row, 0)).collect::<Result<_, _>>()?;
    rows.iter().map(|row| column(row, &checks, statistics)).collect()
}

fn column(
    row: &MySqlRow,
    checks: &[String],
    statistics: &[Indexed],
) -> Result<ColumnShape, DbError> {
    let name = text_or_empty(row, 0)?;
    let column_type = text_or_empty(row, 1)?;
    let (charset, collation) = (text(row, 6)?, text(row, 7)?);
    let is_nullable = text_or_empty(row, 8)? == "YES";
    let default = text(row, 9)?;
    let extra = text_or_empty(row, 10)?.to_lowercase();
    let check = format!("json_valid({})", super::text::name(&name));
    let kind = kind(&MariadbDeclared {
        column_type: &column_type,
        length: number(row, 2)?,
        precision: number(row, 3)?,
        scale: number(row, 4)?,
        fraction: number(row, 5)?,
        charset: charset.as_deref(),
        is_json: checks.iter().any(|other| other.eq_ignore_ascii_case(&check)),
    });
    let prefix = statistics
        .iter()
        .find(|part| part.index == "PRIMARY" && part.column == name)
        .and_then(|part| part.prefix.clone());
    let is_sequence = default.as_deref().is_some_and(|default| default.contains("nextval("));
    let is_numbered = extra.contains("auto_increment") || is_sequence;
    Ok(ColumnShape {
        is_generated: extra.contains("generated") || text(row, 11)?.is_some(),
        is_identity_always: false,
        key_trap: key_trap(&kind, collation.as_deref(), prefix.as_deref()),
        declared: match collation {
            Some(collation) => format!("{column_type}{COLLATE}{collation}"),
            None => column_type,
        },
        has_default: is_nullable || default.is_some() || is_numbered,
        is_nullable,
        is_numbered,
        kind,
        name,
    })
}

fn number<T: std::str::FromStr>(row: &MySqlRow, column: usize) -> Result<Option<T>, DbError> {
    Ok(text(row, column)?.and_then(|text| text.parse().ok()))
}

const FOREIGN_KEYS: &str = "SELECT r.constraint_name, r.constraint_schema, r.table_name, \
    r.unique_constraint_schema, r.referenced_table_name, r.delete_rule, r.update_rule, DATABASE(), \
    k.column_name, k.referenced_column_name \
    FROM information_schema.referential_constraints r JOIN information_schema.key_column_usage k \
    ON k.constraint_schema = r.constraint_schema AND k.table_name = r.table_name \
    AND k.constraint_name = r.constraint_name AND k.referenced_table_name IS NOT NULL";
const FOREIGN_KEYS_ORDER: &str =
    "ORDER BY r.constraint_schema, r.table_name, r.constraint_name, k.ordinal_position";

/// Those out of the table and into it, and those further up by whose cascades rows of the table are changed in silence.
async fn foreign_keys(
    session: &mut MariadbSession,
    table: &str,
) -> Result<Vec<ForeignKey>, DbError> {
    let both = "WHERE (r.constraint_schema = DATABASE() AND r.table_name = ?) \
        OR (r.unique_constraint_schema = DATABASE() AND r.referenced_table_name = ?)";
    let sql = format!("{FOREIGN_KEYS} {both} {FOREIGN_KEYS_ORDER}");
    let mut keys = grouped(&session.query(sql, vec![table.into(), table.into()]).await?)?;
    let mut asked = vec![TableName { schema: None, name: table.to_owned() }];
    loop {
        let is_up = |key: &ForeignKey| asked.contains(&key.from) && key.cascades();
        let next = keys.iter().filter(|key| is_up(key)).map(|key| key.to.clone());
        let next = next.into_iter().find(|to| !asked.contains(to) && to.schema.is_none());
        let Some(next) = next else { return Ok(keys) };
        if keys.len() >= CASCADES_MAX {
            return Ok(keys);
        }
        let sql = format!(
            "{FOREIGN_KEYS} WHERE r.constraint_schema = DATABASE() AND r.table_name = ? {FOREIGN_KEYS_ORDER}"
        );
        let above = grouped(&session.query(sql, vec![Parameter::from(next.name.as_str())]).await?)?;
        let is_new = |key: &ForeignKey, keys: &[ForeignKey]| key.cascades() && !keys.contains(key);
        for key in above {
            if is_new(&key, &keys) {
                keys.push(key);
            }
        }
        asked.push(next);
    }
}

fn grouped(rows: &[MySqlRow]) -> Result<Vec<ForeignKey>, DbError> {
    let mut keys: Vec<ForeignKey> = Vec::new();
    for row in rows {
        let own = text_or_empty(row, 7)?;
        let table = |schema: String, name: String| TableName {
            schema: Some(schema).filter(|schema| *schema != own),
            name,
        };
        let name = text_or_empty(row, 0)?;
        let from = table(text_or_empty(row, 1)?, text_or_empty(row, 2)?);
        if keys.last().is_none_or(|last| last.name != name || last.from != from) {
            keys.push(ForeignKey {
                name,
                from,
                from_columns: Vec::new(),
                to: table(text_or_empty(row, 3)?, text_or_empty(row, 4)?),
                to_columns: Vec::new(),
                on_delete: text_or_empty(row, 5)?,
                on_update: text_or_empty(row, 6)?,
            });
        }
        if let Some(key) = keys.last_mut() {
            key.from_columns.push(text_or_empty(row, 8)?);
            key.to_columns.push(text_or_empty(row, 9)?);
        }
    }
    Ok(keys)
}

async fn triggers(session: &mut MariadbSession, table: &str) -> Result<Vec<TriggerShape>, DbError> {
    let sql = "SELECT trigger_name, CONCAT(action_timing, ' ', event_manipulation) \
        FROM information_schema.triggers WHERE trigger_schema = DATABASE() AND event_object_table = ? \
        AND trigger_name NOT LIKE 'branchline\\_%' ORDER BY event_manipulation, action_timing, action_order";
    let rows = session.query(sql, vec![table.into()]).await?;
    let read = |row: &MySqlRow| {
        let (name, event) = (text_or_empty(row, 0)?, text_or_empty(row, 1)?);
        Ok(TriggerShape { name, event, is_enabled: true })
    };
    rows.iter().map(read).collect()
}
