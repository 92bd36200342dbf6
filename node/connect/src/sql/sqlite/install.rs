//! The SQL that installs and removes what a bridge needs in the file.
//!
//! Triggers run inside the application, in its version of SQLite, which may be old and built without JSON: they use
//! nothing but INSERT, SELECT, `=`, `IS NOT`. The outbox has no constraint that could fail: the application's OR IGNORE
//! and OR REPLACE reach into triggers, and would lose the note there.

use super::sql::{literal, quoted};
use crate::sql::shape::{Bound, UniqueIndex};

/// Columns of the outbox for the values of a key.
pub(super) const KEY_COLUMNS_MAX: usize = 8;

/// A trigger: its name and the statement that makes it, as SQLite keeps it.
pub(super) struct SqliteTrigger {
    pub(super) name: String,
    pub(super) sql: String,
}

/// The table with the context row.
pub(super) const CONTEXT: &str = "CREATE TABLE IF NOT EXISTS branchline_context (\
one INTEGER PRIMARY KEY CHECK (one = 1), epoch TEXT NOT NULL, server TEXT NOT NULL, \
generation INTEGER NOT NULL DEFAULT 0, applied INTEGER NOT NULL DEFAULT 0, \
lease_site TEXT, lease_token TEXT, lease_until INTEGER)";

/// The table with the notes. AUTOINCREMENT: a number is never given twice, also when all notes were deleted.
pub(super) const OUTBOX: &str = "CREATE TABLE IF NOT EXISTS branchline_outbox (\
id INTEGER PRIMARY KEY AUTOINCREMENT, tbl INTEGER, op TEXT, k1, k2, k3, k4, k5, k6, k7, k8)";

/// Makes the context row, once.
pub(super) fn context_row(server: &str) -> String {
    format!(
        "INSERT INTO branchline_context (one, epoch, server) SELECT 1, lower(hex(randomblob(16))), {} \
         WHERE NOT EXISTS (SELECT 1 FROM branchline_context)",
        literal(server)
    )
}

/// The triggers of a captured table; none for others.
pub(super) fn triggers(table: &Bound) -> Vec<SqliteTrigger> {
    if !table.is_captured {
        return Vec::new();
    }
    let keys: Vec<String> =
        table.key_columns().map(|column| quoted(&column.name)).take(KEY_COLUMNS_MAX).collect();
    let outbox: Vec<String> = (1..=keys.len()).map(|number| format!("k{number}")).collect();
    let note = format!("INSERT INTO branchline_outbox (tbl, op, {})", outbox.join(", "));
    let of = |row: &str| -> String {
        keys.iter().map(|key| format!("{row}.{key}")).collect::<Vec<_>>().join(", ")
    };
    let number = table.number;
    let name = quoted(&table.table.name);
    let moved: Vec<String> = keys.iter().map(|key| format!("OLD.{key} IS NOT NEW.{key}")).collect();
    let mut triggers = vec![
        trigger(
            format!("branchline_{number}_i"),
            &format!("AFTER INSERT ON {name}"),
            &format!("{note} VALUES ({number}, 'I', {});", of("NEW")),
        ),
        trigger(
            format!("branchline_{number}_d"),
            &format!("AFTER DELETE ON {name}"),
            &format!("{note} VALUES ({number}, 'D', {});", of("OLD")),
        ),
        trigger(
            format!("branchline_{number}_u"),
            &format!("AFTER UPDATE ON {name}"),
            &format!(
                "{note} VALUES ({number}, 'U', {}); {note} SELECT {number}, 'D', {} WHERE {};",
                of("NEW"),
                of("OLD"),
                moved.join(" OR "),
            ),
        ),
    ];
    for (place, index) in table.unique.iter().filter(|index| index.is_plain).enumerate() {
        triggers.extend(looks(table, place + 1, index, &note, &keys));
    }
    triggers
}

/// REPLACE removes the row that stands in its way by another unique index without firing a trigger. So the key of such a
/// row is noted before, as one to look at again.
fn looks(
    table: &Bound,
    place: usize,
    index: &UniqueIndex,
    note: &str,
    keys: &[String],
) -> [SqliteTrigger; 2] {
    let (number, name) = (table.number, quoted(&table.table.name));
    let columns: Vec<String> = index.columns.iter().map(|column| quoted(column)).collect();
    let equal: Vec<String> =
        columns.iter().map(|column| format!("{name}.{column} = NEW.{column}")).collect();
    let found: Vec<String> = keys.iter().map(|key| format!("{name}.{key}")).collect();
    let body = |row: &str| {
        let other: Vec<String> =
            keys.iter().map(|key| format!("{name}.{key} IS NOT {row}.{key}")).collect();
        format!(
            "{note} SELECT {number}, 'L', {} FROM {name} WHERE {} AND ({});",
            found.join(", "),
            equal.join(" AND "),
            other.join(" OR "),
        )
    };
    [
        trigger(
            format!("branchline_{number}_bi_{place}"),
            &format!("BEFORE INSERT ON {name}"),
            &body("NEW"),
        ),
        trigger(
            format!("branchline_{number}_bu_{place}"),
            &format!("BEFORE UPDATE OF {} ON {name}", columns.join(", ")),
            &body("OLD"),
        ),
    ]
}

fn trigger(name: String, event: &str, body: &str) -> SqliteTrigger {
    let sql = format!("CREATE TRIGGER {name} {event} BEGIN {body} END");
    SqliteTrigger { name, sql }
}

/// All statements that install what these tables need.
pub(super) fn install(tables: &[Bound], server: &str) -> Vec<String> {
    let mut statements = vec![CONTEXT.to_owned(), context_row(server), OUTBOX.to_owned()];
    statements.extend(tables.iter().flat_map(triggers).map(|trigger| trigger.sql));
    in_transaction(statements)
}

/// All statements that remove it: triggers first, for with the outbox gone and a trigger left the application could not
/// write any more.
pub(super) fn remove(tables: &[Bound]) -> Vec<String> {
    let mut statements: Vec<String> = tables
        .iter()
        .flat_map(triggers)
        .map(|trigger| format!("DROP TRIGGER IF EXISTS {}", trigger.name))
        .collect();
    statements.push("DROP TABLE IF EXISTS branchline_outbox".to_owned());
    statements.push("DROP TABLE IF EXISTS branchline_context".to_owned());
    in_transaction(statements)
}

fn in_transaction(mut statements: Vec<String>) -> Vec<String> {
    statements.insert(0, "BEGIN IMMEDIATE".to_owned());
    statements.push("COMMIT".to_owned());
    statements
}
