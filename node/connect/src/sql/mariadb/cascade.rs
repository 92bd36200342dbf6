//! Triggers for what MariaDB's foreign keys change by themselves, without a trigger of the table that is changed.
//!
//! They stand on the tables that are referred to and note the rows below before these go. A cascade goes on from table to
//! table in silence, so every table up the chain has them. They do not ask for the guard: a row that the bridge deletes
//! takes others with it that the bridge knows nothing of.

use super::install::{OUTBOX, PREFIX, Trigger, body, key};
use super::text::name;
use crate::sql::shape::{Bound, ForeignKey, TableName};

/// Tables between a row and the one by whose deletion it goes. Chains that are longer are looked at as a whole.
const LINKS_MAX: usize = 4;
/// Foreign keys that are followed for one table, so that a dense net of them has an end.
const PATHS_MAX: usize = 40;

/// Foreign keys from a table up: the first leaves the table, each next one leaves the table that the last refers to.
struct Path<'a> {
    links: Vec<&'a ForeignKey>,
    /// Whether the rows below cannot be found by joins: a table on the way refers to itself, or the chain goes on.
    is_coarse: bool,
}

/// The triggers on parents of a table.
pub(super) fn triggers(table: &Bound) -> Vec<Trigger> {
    let mut paths = Vec::new();
    climb(table, &table.table, &mut Vec::new(), &mut paths);
    let mut triggers = Vec::new();
    for (index, path) in paths.iter().enumerate() {
        let Some(top) = path.links.last() else { continue };
        let trigger = |letter: &str, timing, event, statements: String| Trigger {
            number: table.number,
            name: format!("{PREFIX}{}_p{index}_{letter}", table.number),
            table: top.to.name.clone(),
            timing,
            event,
            body: body(table.number, &statements),
        };
        if is_active(&top.on_delete) {
            triggers.push(trigger("d", "BEFORE", "DELETE", notes(table, path, "OLD")));
        }
        if is_active(&top.on_update) {
            let is_same: Vec<String> =
                top.to_columns.iter().map(|c| format!("OLD.{0} <=> NEW.{0}", name(c))).collect();
            let when = |notes: String| {
                format!("IF NOT ({}) THEN\n  {notes}\n  END IF;", is_same.join(" AND "))
            };
            triggers.push(trigger("u", "BEFORE", "UPDATE", when(notes(table, path, "OLD"))));
            // Keys that the cascade itself makes.
            triggers.push(trigger("v", "AFTER", "UPDATE", when(notes(table, path, "NEW"))));
        }
    }
    triggers
}

fn is_active(action: &str) -> bool {
    !matches!(action, "RESTRICT" | "NO ACTION")
}

fn climb<'a>(
    table: &'a Bound,
    from: &TableName,
    links: &mut Vec<&'a ForeignKey>,
    paths: &mut Vec<Path<'a>>,
) {
    for link in table.silent_cascades.iter().filter(|link| link.from == *from) {
        if paths.len() >= PATHS_MAX {
            return;
        }
        let is_known = link.to == table.table || links.iter().any(|known| known.from == link.to);
        let is_own_loop = links.is_empty() && link.to == table.table;
        links.push(link);
        let ends = is_known || link.from == link.to || links.len() >= LINKS_MAX;
        let is_looped = |name: &TableName| {
            *name != table.table
                && table
                    .silent_cascades
                    .iter()
                    .any(|other| other.from == *name && other.to == *name)
        };
        let is_coarse = (ends && !is_own_loop) || links.iter().any(|link| is_looped(&link.to));
        paths.push(Path { links: links.clone(), is_coarse });
        if !ends {
            climb(table, &link.to, links, paths);
        }
        links.pop();
    }
}

/// Notes the rows that a parent's row takes with it; `row`: `OLD` or `NEW`.
fn notes(table: &Bound, path: &Path<'_>, row: &str) -> String {
    let number = table.number;
    let Some((top, below)) = path.links.split_last() else { return String::new() };
    let refers: Vec<String> = top
        .from_columns
        .iter()
        .zip(&top.to_columns)
        .map(|(from, to)| format!("{}.{} = {row}.{}", alias(below.len()), name(from), name(to)))
        .collect();
    let refers = refers.join(" AND ");
    if path.is_coarse {
        let from = format!("{} AS {}", name(&top.from.name), alias(below.len()));
        return format!(
            "INSERT INTO {OUTBOX} (tbl, op) SELECT {number}, 'T' FROM {from} WHERE {refers} LIMIT 1;"
        );
    }
    // From the table up to the one that refers to the row.
    let mut from = format!("{} AS {}", name(&table.table.name), alias(0));
    for (i, link) in below.iter().enumerate() {
        let on = joined(link, &alias(i), &alias(i + 1));
        from.push_str(&format!(" JOIN {} AS {} ON {on}", name(&link.to.name), alias(i + 1)));
    }
    let own: Vec<&ForeignKey> = table
        .silent_cascades
        .iter()
        .filter(|l| l.from == table.table && l.to == table.table)
        .collect();
    if own.is_empty() {
        let key = key(table, &alias(0));
        return format!(
            "INSERT INTO {OUTBOX} (tbl, op, k) SELECT {number}, 'L', {key} FROM {from} WHERE {refers};"
        );
    }
    // The rows that refer to these in turn.
    let mut columns: Vec<&str> = table.key_columns().map(|column| column.name.as_str()).collect();
    for column in own.iter().flat_map(|link| &link.to_columns) {
        if !columns.contains(&column.as_str()) {
            columns.push(column);
        }
    }
    let columns: Vec<String> =
        columns.iter().map(|column| format!("{}.{}", alias(0), name(column))).collect();
    let columns = columns.join(", ");
    let on: Vec<String> = own
        .iter()
        .map(|link| format!("({})", joined(link, &alias(0), "branchline_rows")))
        .collect();
    let key = key(table, "branchline_rows");
    format!(
        "INSERT INTO {OUTBOX} (tbl, op, k)
  WITH RECURSIVE branchline_rows AS (
    SELECT {columns} FROM {from} WHERE {refers}
    UNION SELECT {columns} FROM {} AS {} JOIN branchline_rows ON {})
  SELECT {number}, 'L', {key} FROM branchline_rows;",
        name(&table.table.name),
        alias(0),
        on.join(" OR ")
    )
}

fn alias(index: usize) -> String {
    format!("branchline_t{index}")
}

fn joined(link: &ForeignKey, from: &str, to: &str) -> String {
    let on: Vec<String> = link
        .from_columns
        .iter()
        .zip(&link.to_columns)
        .map(|(f, t)| format!("{from}.{} = {to}.{}", name(f), name(t)))
        .collect();
    on.join(" AND ")
}
