//! What an error of SQLite means, by its extended result code.

use std::path::Path;

use crate::sql::database::{DbError, DbErrorClass};

/// An error that is not SQLite's own.
pub(super) fn error(class: DbErrorClass, message: impl Into<String>) -> DbError {
    DbError { class, code: String::new(), constraint: None, column: None, message: message.into() }
}

/// Names the file, which SQLite's own words never do.
pub(super) fn of_file(path: &Path, mut error: DbError) -> DbError {
    error.message = format!("{}: {}", path.display(), error.message);
    error
}

/// An error as the driver gives it.
pub(super) fn classified(error_found: &sqlx::Error) -> DbError {
    let sqlx::Error::Database(found) = error_found else {
        return error(class_of_driver(error_found), error_found.to_string());
    };
    let code: i32 = found.code().and_then(|code| code.parse().ok()).unwrap_or(0);
    let message = found.message().to_owned();
    let (constraint, column) = named(&message);
    DbError { class: class_of(code, &message), code: code.to_string(), constraint, column, message }
}

fn class_of_driver(error: &sqlx::Error) -> DbErrorClass {
    match error {
        // The driver's thread is gone, or a file operation failed: another connection may do better.
        sqlx::Error::WorkerCrashed | sqlx::Error::Io(_) => DbErrorClass::Transient,
        sqlx::Error::Configuration(_) => DbErrorClass::Config,
        _ => DbErrorClass::Bug,
    }
}

/// The class of an extended result code. The lower eight bits are the plain code.
fn class_of(code: i32, message: &str) -> DbErrorClass {
    match code {
        // The file was moved away under the connection, or another process has to be waited for.
        264 | 520 | 1032 => return DbErrorClass::Transient,
        // A RAISE of an application's trigger, and every other constraint.
        1811 => return DbErrorClass::Row,
        _ => {}
    }
    match code & 0xff {
        1 => class_of_text(message),
        // BUSY, LOCKED, NOMEM, INTERRUPT, IOERR, FULL, CANTOPEN, PROTOCOL, SCHEMA.
        5 | 6 | 7 | 9 | 10 | 13 | 14 | 15 | 17 => DbErrorClass::Transient,
        // TOOBIG, CONSTRAINT, MISMATCH.
        18..=20 => DbErrorClass::Row,
        // PERM, READONLY, CORRUPT, NOLFS, AUTH, NOTADB.
        3 | 8 | 11 | 22 | 23 | 26 => DbErrorClass::Config,
        _ => DbErrorClass::Bug,
    }
}

/// SQLITE_ERROR covers all that has no code of its own; only the text tells.
fn class_of_text(message: &str) -> DbErrorClass {
    const SCHEMA: [&str; 5] =
        ["no such table", "no such column", "has no column named", "error in ", "cannot modify"];
    const CONFIG: [&str; 3] = ["no such function", "no such collation", "no such module"];
    const GONE: [&str; 2] = ["no such savepoint", "no transaction is active"];
    let says = |texts: &[&str]| texts.iter().any(|text| message.contains(text));
    if says(&CONFIG) {
        DbErrorClass::Config
    } else if says(&SCHEMA) || message.contains("generated column") {
        DbErrorClass::Schema
    } else if says(&GONE) {
        DbErrorClass::Transient
    } else if message.contains("integer overflow") {
        DbErrorClass::Row
    } else {
        DbErrorClass::Bug
    }
}

/// The constraint and the column that a message names: `UNIQUE constraint failed: goods.code`.
fn named(message: &str) -> (Option<String>, Option<String>) {
    let column_of = |text: &str| text.rsplit_once('.').map(|(_, column)| column.to_owned());
    if let Some((kind, what)) = message.split_once(" constraint failed: ") {
        let is_one = !what.contains(", ");
        return match kind {
            "NOT NULL" => (Some(message.to_owned()), column_of(what)),
            "UNIQUE" => (Some(what.to_owned()), is_one.then(|| column_of(what)).flatten()),
            _ => (Some(what.to_owned()), None),
        };
    }
    if message.starts_with("FOREIGN KEY constraint failed") {
        return (Some("FOREIGN KEY".to_owned()), None);
    }
    if message.starts_with("cannot store ") {
        return (None, column_of(message));
    }
    (None, None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_and_texts_have_their_classes() {
        let class = |code, text| class_of(code, text);
        for (code, text, expected) in [
            (5, "database is locked", DbErrorClass::Transient),
            (517, "database is locked", DbErrorClass::Transient),
            (13, "database or disk is full", DbErrorClass::Transient),
            (2067, "UNIQUE constraint failed: t.code", DbErrorClass::Row),
            (3091, "cannot store TEXT value in INTEGER column t.n", DbErrorClass::Row),
            (1811, "not on Sundays", DbErrorClass::Row),
            (1, "integer overflow", DbErrorClass::Row),
            (1, "no such column: t.w", DbErrorClass::Schema),
            (1, "no such function: till_price", DbErrorClass::Config),
            (8, "attempt to write a readonly database", DbErrorClass::Config),
            (26, "file is not a database", DbErrorClass::Config),
            (1, "near \"SELEC\": syntax error", DbErrorClass::Bug),
        ] {
            assert_eq!(class(code, text), expected, "{code} {text}");
        }
    }

    #[test]
    fn constraints_and_columns_are_taken_from_the_message() {
        assert_eq!(
            named("UNIQUE constraint failed: t.code"),
            (Some("t.code".into()), Some("code".into()))
        );
        assert_eq!(named("UNIQUE constraint failed: t.a, t.b"), (Some("t.a, t.b".into()), None));
        assert_eq!(named("CHECK constraint failed: qty >= 0"), (Some("qty >= 0".into()), None));
        assert_eq!(
            named("cannot store TEXT value in INTEGER column t.n"),
            (None, Some("n".into()))
        );
        assert_eq!(named("database is locked"), (None, None));
    }
}
