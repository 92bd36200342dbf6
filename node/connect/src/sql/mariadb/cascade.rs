//! Triggers for what MariaDB's foreign keys change by themselves, without a trigger of the table that is changed.
//!
//! They stand on the tables that are referred to and note the rows below before these go. A cascade goes on from table to
//! table in silence, so every table up the chain has them. They do not ask for the guard: a row that the bridge deletes
//! takes others with it that the bridge knows nothing of.

use super::install::{MariadbTrigger, OUTBOX, PREFIX, body, key};
use super::text::name;
use crate::sql::shape::{Bound, ForeignKey, TableName};

/// Foreign keys from a row up to the one by whose deletion it goes. With longer chains the whole table is looked at.
const LINKS_MAX: usize = 4;
/// Foreign keys that are followed for one table, so that a dense net of them has an end.
const PATHS_MAX: usize = 40;

/// Foreign keys from a table up: the first leaves the table, each next one leaves the table that the last refers to.
struct CascadePath<'a> {
    links: Vec<&'a ForeignKey>,
    /// Whether the rows below are not looked for: a table on the way refers to itself, the chain turns back or is too long.
    is_coarse: bool,
}

/// The triggers on parents of a table.
pub(super) fn triggers(table: &Bound) -> Vec<MariadbTrigger> {
    let mut paths = Vec::new();
    climb(table, &table.table, &mut Vec::new(), &mut paths);
    let mut triggers = Vec::new();
    for (index, path) in paths.iter().enumerate() {
        let Some(top) = path.links.last() else { continue };
        let trigger = |letter: &str, timing, event, statements: String| MariadbTrigger {
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
    paths: &mut Vec<CascadePath<'a>>,
) {
    for link in table.silent_cascades.iter().filter(|link| link.from == *from) {
        let is_loop = link.from == link.to;
        // The loops of other tables are followed where those tables are: see `notes`.
        if paths.len() >= PATHS_MAX || (is_loop && !links.is_empty()) {
            continue;
        }
        let is_circle = link.to == table.table || links.iter().any(|l| l.from == link.to);
        let has_loop = links.iter().any(|link| loops(table, &link.to).next().is_some());
        links.push(link);
        let is_end = is_circle || links.len() >= LINKS_MAX;
        paths.push(CascadePath {
            links: links.clone(),
            is_coarse: has_loop || (is_end && !is_loop),
        });
        if !is_end {
            climb(table, &link.to, links, paths);
        }
        links.pop();
    }
}

/// The foreign keys by which a table refers to itself.
fn loops<'a>(table: &'a Bound, name: &TableName) -> impl Iterator<Item = &'a ForeignKey> {
    table.silent_cascades.iter().filter(move |link| link.from == *name && link.to == *name)
}

/// Notes the rows that a parent's row takes with it; `row`: `OLD` or `NEW`.
fn notes(table: &Bound, path: &CascadePath<'_>, row: &str) -> String {
    let number = table.number;
    let Some((top, below)) = path.links.split_last() else { return String::new() };
    if path.is_coarse {
        return format!("INSERT INTO {OUTBOX} (tbl, op) VALUES ({number}, 'T');");
    }
    let mut with = Vec::new();
    // From the table up to the one that refers to the row.
    let mut from = format!("{} AS {}", name(&table.table.name), alias(0));
    for (i, link) in below.iter().enumerate() {
        let on = joined(link, &alias(i), &alias(i + 1));
        from.push_str(&format!(" JOIN {} AS {} ON {on}", name(&link.to.name), alias(i + 1)));
    }
    let above: Vec<&ForeignKey> = loops(table, &top.to).collect();
    if top.to == table.table || above.is_empty() {
        from.push_str(&format!(" WHERE {}", joined(top, &alias(below.len()), row)));
    } else {
        let columns = names(top.to_columns.iter().chain(above.iter().flat_map(|l| &l.to_columns)));
        let first = listed(&columns, row);
        with.push(closure("branchline_above", &first, "", &columns, &top.to, &above));
        let on = joined(top, &alias(below.len()), "branchline_above");
        from.push_str(&format!(" JOIN branchline_above ON {on}"));
    }
    let own: Vec<&ForeignKey> = loops(table, &table.table).collect();
    let mut rows = alias(0);
    if !own.is_empty() {
        // The rows that refer to these in turn.
        let key = table.key_columns().map(|column| &column.name);
        let columns = names(key.chain(own.iter().flat_map(|link| &link.to_columns)));
        let first = listed(&columns, &alias(0));
        let from_first = format!(" FROM {from}");
        with.push(closure("branchline_rows", &first, &from_first, &columns, &table.table, &own));
        "branchline_rows".clone_into(&mut rows);
        from.clone_from(&rows);
    }
    let with = if with.is_empty() {
        String::new()
    } else {
        format!("WITH RECURSIVE {} ", with.join(", "))
    };
    let key = key(table, &rows);
    format!("INSERT INTO {OUTBOX} (tbl, op, k) {with}SELECT {number}, 'L', {key} FROM {from};")
}

/// Rows of a table, and those that refer to them in turn.
fn closure(
    label: &str,
    first: &str,
    from: &str,
    columns: &[&str],
    table: &TableName,
    loops: &[&ForeignKey],
) -> String {
    let on: Vec<String> =
        loops.iter().map(|link| format!("({})", joined(link, "branchline_next", label))).collect();
    format!(
        "{label} AS (SELECT {first}{from} UNION SELECT {} FROM {} AS branchline_next JOIN {label} ON {})",
        listed(columns, "branchline_next"),
        name(&table.name),
        on.join(" OR ")
    )
}

fn names<'a>(columns: impl Iterator<Item = &'a String>) -> Vec<&'a str> {
    let mut names: Vec<&str> = Vec::new();
    for column in columns {
        if !names.contains(&column.as_str()) {
            names.push(column);
        }
    }
    names
}

fn listed(columns: &[&str], row: &str) -> String {
    let columns: Vec<String> =
        columns.iter().map(|column| format!("{row}.{0} AS {0}", name(column))).collect();
    columns.join(", ")
}

fn alias(index: usize) -> String {
    format!("branchline_t{index}")
}

/// The condition that a row of `from` refers to a row of `to`.
fn joined(link: &ForeignKey, from: &str, to: &str) -> String {
    let on: Vec<String> = link
        .from_columns
        .iter()
        .zip(&link.to_columns)
        .map(|(f, t)| format!("{from}.{} = {to}.{}", name(f), name(t)))
        .collect();
    on.join(" AND ")
}
