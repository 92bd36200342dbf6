//! What an error means: by SQLSTATE, and by what the connection said where there is none.

use std::io;

use sqlx::postgres::PgDatabaseError;

use crate::sql::database::{DbError, DbErrorClass};

/// An error as the worker wants it.
pub(super) fn of(error: &sqlx::Error) -> DbError {
    let no_code = |class, message: String| DbError {
        class,
        code: String::new(),
        constraint: None,
        column: None,
        message,
    };
    match error {
        sqlx::Error::Database(error) => {
            let code = error.code().unwrap_or_default().into_owned();
            let full = error.try_downcast_ref::<PgDatabaseError>();
            let column = full.and_then(PgDatabaseError::column);
            let message = match full.and_then(PgDatabaseError::detail) {
                Some(detail) => format!("{}: {}", error.message(), cut(detail)),
                None => error.message().to_owned(),
            };
            DbError {
                class: class(&code),
                constraint: error.constraint().map(str::to_owned),
                column: column.map(str::to_owned),
                message,
                code,
            }
        }
        // A certificate that is refused comes as invalid data.
        sqlx::Error::Io(error) if error.kind() == io::ErrorKind::InvalidData => no_code(
            DbErrorClass::Config,
            format!("the server's TLS certificate was refused: {error}"),
        ),
        sqlx::Error::Tls(error) => {
            no_code(DbErrorClass::Config, format!("no TLS connection to the server: {error}"))
        }
        sqlx::Error::Configuration(error) => {
            no_code(DbErrorClass::Config, format!("the bridge's url is not understood: {error}"))
        }
        sqlx::Error::Io(_) | sqlx::Error::Protocol(_) | sqlx::Error::WorkerCrashed => {
            no_code(DbErrorClass::Transient, format!("no connection to the server: {error}"))
        }
        error => no_code(DbErrorClass::Bug, error.to_string()),
    }
}

/// The values that a detail names may be of any length.
fn cut(detail: &str) -> String {
    const CHARS_MAX: usize = 200;
    match detail.char_indices().nth(CHARS_MAX) {
        Some((end, _)) => format!("{}…", detail.get(..end).unwrap_or_default()),
        None => detail.to_owned(),
    }
}

/// Whether the connection is of no use after the error.
pub(super) fn ends_connection(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Database(error) => {
            let code = error.code().unwrap_or_default();
            code.starts_with("08")
                || matches!(&*code, "57P01" | "57P02" | "57P03" | "57P05" | "25P03" | "25P04")
        }
        _ => true,
    }
}

/// What an SQLSTATE means.
fn class(code: &str) -> DbErrorClass {
    match code {
        // Deadlocks, serialization, lock and statement time-outs, a server that only reads for now, restarts, limits.
        "40001" | "40P01" | "55P03" | "57014" | "25006" | "25P03" | "25P04" | "55006" => {
            DbErrorClass::Transient
        }
        // "Data corrupted", "index corrupted" and an unreadable configuration: nothing that waiting would mend.
        "XX001" | "XX002" | "F0000" | "F0001" => DbErrorClass::Config,
        // Values, keys, checks; what a row's size or an application's trigger says no to.
        "21000" | "44000" | "54000" => DbErrorClass::Row,
        // Columns, tables, types and unique keys that are not (or not as) they were.
        "0A000" | "3F000" | "42703" | "42P01" | "42804" | "42846" | "42883" | "42704" | "428C9"
        | "42P10" | "42P18" | "55000" => DbErrorClass::Schema,
        "42501" | "3D000" | "42601" => DbErrorClass::Config,
        code => match code.get(..2).unwrap_or_default() {
            "08" | "53" | "57" | "58" | "XX" => DbErrorClass::Transient,
            "22" | "23" | "P0" | "38" | "39" => DbErrorClass::Row,
            "28" => DbErrorClass::Config,
            // The SQL standard leaves these to applications: their triggers raise them.
            other if other.starts_with(|first: char| matches!(first, '5'..='9' | 'I'..='Z')) => {
                DbErrorClass::Row
            }
            _ => DbErrorClass::Bug,
        },
    }
}

/// What is said when there is no connection.
pub(super) fn not_connected() -> DbError {
    transient("the connection to the server is closed".to_owned())
}

/// Something that will pass.
pub(super) fn transient(message: String) -> DbError {
    without_code(DbErrorClass::Transient, message)
}

/// A refusal that is not the database's own.
pub(super) fn without_code(class: DbErrorClass, message: String) -> DbError {
    DbError { class, code: String::new(), constraint: None, column: None, message }
}
