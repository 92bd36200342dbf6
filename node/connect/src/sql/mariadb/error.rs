//! What an error of MariaDB means: by its number, never by its words.

use sqlx::mysql::MySqlDatabaseError;

use crate::sql::database::{DbError, DbErrorClass};

/// Most characters of the database's words that are kept: values of rows stand in them.
const MESSAGE_CHARS_MAX: usize = 500;

/// What is known of an error, and whether the server itself reported it, so that the connection still answers.
pub(super) struct MariadbFailure {
    pub(super) error: DbError,
    pub(super) is_answered: bool,
}

/// An error that no number stands behind.
pub(super) fn plain(class: DbErrorClass, message: impl Into<String>) -> DbError {
    DbError { class, code: String::new(), constraint: None, column: None, message: message.into() }
}

/// Reads an error of the driver.
pub(super) fn read(error: &sqlx::Error) -> MariadbFailure {
    if let sqlx::Error::Database(database) = error {
        let mysql = database.try_downcast_ref::<MySqlDatabaseError>();
        let number = mysql.map_or(0, MySqlDatabaseError::number);
        return MariadbFailure { error: reported(number, database.message()), is_answered: true };
    }
    let class = match error {
        // The configuration, the URL or a certificate.
        sqlx::Error::Configuration(_) | sqlx::Error::Tls(_) => DbErrorClass::Config,
        sqlx::Error::ColumnNotFound(_)
        | sqlx::Error::ColumnIndexOutOfBounds { .. }
        | sqlx::Error::ColumnDecode { .. }
        | sqlx::Error::Decode(_)
        | sqlx::Error::Encode(_) => DbErrorClass::Bug,
        // Lost, refused or broken connections, and what the driver does not understand: another connection may help.
        _ => DbErrorClass::Transient,
    };
    MariadbFailure { error: plain(class, cut(&error.to_string())), is_answered: false }
}

fn reported(number: u16, message: &str) -> DbError {
    DbError {
        class: class(number),
        code: number.to_string(),
        constraint: constraint(number, message),
        column: column(message),
        message: cut(message),
    }
}

fn class(number: u16) -> DbErrorClass {
    match number {
        // Locks, deadlocks, time-outs, restarts, read-only servers, too many connections, full disks.
        1213
        | 1205
        | 1969
        | 1290
        | 1412
        | 2013
        | 1927
        | 1040
        | 2006
        | 1053
        | 1152
        | 1158..=1161
        | 1184
        | 1203
        | 1226
        | 1317
        | 1836
        | 1021
        | 1114
        | 3024
        | 1047
        | 1180
        | 1637
        | 1020 => DbErrorClass::Transient,
        // Values and constraints, and what an application's own trigger refuses.
        1048 | 1364 | 1062 | 1216 | 1217 | 1451 | 1452 | 4025 | 1264 | 1406 | 1366 | 1292
        | 1265 | 1644 | 1690 | 1411 | 1441 | 1367 | 1365 | 1586 | 1761 | 1762 | 1263 | 1526
        | 1748 | 1301 | 1118 | 1442 | 3819 => DbErrorClass::Row,
        // Tables and columns that are not, or no longer, what they were.
        1054 | 1146 | 1906 | 1136 | 1051 | 1072 | 1091 | 1109 | 1267 | 1471 | 1347 | 1348 => {
            DbErrorClass::Schema
        }
        // Rights, definers, binary logs, names of databases.
        1044 | 1449 | 1419 | 1142 | 1143 | 1045 | 1049 | 1227 | 1370 | 1410 | 1698 | 1820
        | 1130 | 1129 | 1862 | 4151 | 1665 | 1046 | 1153 => DbErrorClass::Config,
        _ => DbErrorClass::Bug,
    }
}

/// The constraint that an error names: the index of 1062, the foreign key or check of the others.
fn constraint(number: u16, message: &str) -> Option<String> {
    match number {
        1062 | 1586 => {
            between(message, "for key '", "'").map(|key| match key.rsplit_once('.') {
                // MySQL writes `table.index`.
                Some((_, index)) => index.to_owned(),
                None => key.to_owned(),
            })
        }
        1216 | 1217 | 1451 | 1452 | 4025 => {
            between(message, "CONSTRAINT `", "`").map(str::to_owned)
        }
        _ => None,
    }
}

/// The column that an error names: `column 'price'`, ``column `shop`.`sales`.`price` ``, `Field 'price'`.
fn column(message: &str) -> Option<String> {
    for start in ["olumn '", "Field '"] {
        if let Some(column) = between(message, start, "'") {
            return Some(column.rsplit('.').next().unwrap_or(column).to_owned());
        }
    }
    let (_, qualified) = message.split_once("olumn `")?;
    let end = qualified.find("` ").unwrap_or(qualified.len());
    let qualified = qualified.get(..end)?;
    Some(qualified.trim_end_matches('`').rsplit("`.`").next()?.to_owned())
}

fn between<'a>(text: &'a str, start: &str, end: &str) -> Option<&'a str> {
    let (_, rest) = text.split_once(start)?;
    Some(rest.split_once(end)?.0)
}

fn cut(message: &str) -> String {
    message.chars().take(MESSAGE_CHARS_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn constraints_and_columns_are_read_from_the_words_of_the_server() {
        let named = |number, message| {
            let error = reported(number, message);
            (error.constraint, error.column)
        };
        let name = |text: &str| Some(text.to_owned());
        assert_eq!(named(1062, "Duplicate entry 'a' for key 'code'"), (name("code"), None));
        assert_eq!(named(4025, "CONSTRAINT `t.qty` failed for `x`.`t`"), (name("t.qty"), None));
        assert_eq!(
            named(
                1452,
                "Cannot add or update a child row: a foreign key constraint fails (`x`.`c`, CONSTRAINT `c_p` FOREIGN KEY (`p`) REFERENCES `p` (`id`))"
            ),
            (name("c_p"), None)
        );
        assert_eq!(named(1048, "Column 'name' cannot be null"), (None, name("name")));
        assert_eq!(named(1364, "Field 'name' doesn't have a default value"), (None, name("name")));
        assert_eq!(
            named(1366, "Incorrect string value: '\\xF0' for column `x`.`t`.`name` at row 1"),
            (None, name("name"))
        );
    }

    #[test]
    fn a_deadlock_is_transient_and_a_duplicate_is_of_the_row() {
        assert_eq!(class(1213), DbErrorClass::Transient);
        assert_eq!(class(1205), DbErrorClass::Transient);
        assert_eq!(class(1062), DbErrorClass::Row);
        assert_eq!(class(1146), DbErrorClass::Schema);
        assert_eq!(class(1419), DbErrorClass::Config);
        assert_eq!(class(1064), DbErrorClass::Bug);
    }
}
