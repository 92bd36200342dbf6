//! Parameters of statements: numbered as they are added.

use sqlx::Arguments as _;
use sqlx::postgres::PgArguments;

use data_encoding::HEXLOWER_PERMISSIVE;

use crate::sql::cell::{Cell, Key};
use crate::sql::database::{DbError, DbErrorClass};
use crate::sql::shape::{ColumnShape, ColumnType};

use super::error::without_code;

/// Parameters, and how many there are.
#[derive(Default)]
pub(super) struct Arguments {
    values: PgArguments,
    count: usize,
}

impl Arguments {
    /// For sqlx.
    pub(super) fn into_values(self) -> PgArguments {
        self.values
    }

    fn add<'q, T>(&mut self, value: T) -> Result<String, DbError>
    where
        T: sqlx::Encode<'q, sqlx::Postgres> + sqlx::Type<sqlx::Postgres>,
    {
        self.values
            .add(value)
            .map_err(|error| bug(format!("a parameter does not encode: {error}")))?;
        self.count += 1;
        Ok(format!("${}", self.count))
    }

    /// A text.
    pub(super) fn text(&mut self, value: &str) -> Result<String, DbError> {
        self.add(value.to_owned())
    }

    /// A whole number.
    pub(super) fn number(&mut self, value: i64) -> Result<String, DbError> {
        self.add(value)
    }

    /// True or false.
    pub(super) fn flag(&mut self, value: bool) -> Result<String, DbError> {
        self.add(value)
    }

    /// An array of texts.
    pub(super) fn texts(&mut self, values: Vec<Option<String>>) -> Result<String, DbError> {
        self.add(values)
    }

    /// An array of whole numbers.
    pub(super) fn numbers(&mut self, values: Vec<i64>) -> Result<String, DbError> {
        self.add(values)
    }

    /// The value of one of a key's columns.
    pub(super) fn key_value(
        &mut self,
        key: &Key,
        number: usize,
        column: &ColumnShape,
    ) -> Result<String, DbError> {
        let text = part(key, number)?;
        if is_bytes(column) { self.add(bytes_of(text)?) } else { self.text(text) }
    }

    /// The values of one of the keys' columns.
    pub(super) fn key_array(
        &mut self,
        keys: &[Key],
        number: usize,
        column: &ColumnShape,
    ) -> Result<String, DbError> {
        if is_bytes(column) {
            let values = keys.iter().map(|key| bytes_of(part(key, number)?).map(Some));
            self.add(values.collect::<Result<Vec<_>, _>>()?)
        } else {
            let values = keys.iter().map(|key| part(key, number).map(|text| Some(text.to_owned())));
            self.add(values.collect::<Result<Vec<_>, _>>()?)
        }
    }

    /// The values of a column.
    pub(super) fn cells<'a>(
        &mut self,
        column: &ColumnShape,
        cells: impl Iterator<Item = &'a Cell>,
    ) -> Result<String, DbError> {
        if is_bytes(column) {
            let values = cells.map(|cell| match cell {
                Cell::Null => Ok(None),
                Cell::Bytes(bytes) => Ok(Some(bytes.clone())),
                Cell::Integer(_) | Cell::Real(_) | Cell::Text(_) => Err(misfit(column, "bytes")),
            });
            self.add(values.collect::<Result<Vec<_>, _>>()?)
        } else {
            let values = cells.map(|cell| match cell {
                Cell::Null => Ok(None),
                Cell::Integer(number) => Ok(Some(number.to_string())),
                Cell::Real(number) => Ok(Some(number.to_string())),
                Cell::Text(text) => Ok(Some(text.clone())),
                Cell::Bytes(_) => Err(misfit(column, "text")),
            });
            self.add(values.collect::<Result<Vec<_>, _>>()?)
        }
    }
}

fn part(key: &Key, number: usize) -> Result<&str, DbError> {
    let value = key.0.get(number).map(String::as_str);
    value.ok_or_else(|| bug(format!("a key has {} values, more are needed", key.0.len())))
}

fn bytes_of(text: &str) -> Result<Vec<u8>, DbError> {
    let bytes = HEXLOWER_PERMISSIVE.decode(text.as_bytes());
    bytes.map_err(|error| bug(format!("the key of a bytes column is not hexadecimal: {error}")))
}

fn misfit(column: &ColumnShape, expected: &str) -> DbError {
    bug(format!("column {} of type {} takes {expected}", column.name, column.declared))
}

fn bug(message: String) -> DbError {
    without_code(DbErrorClass::Bug, message)
}

/// Whether a column's values cross as bytes.
pub(super) fn is_bytes(column: &ColumnShape) -> bool {
    matches!(column.kind, ColumnType::Bytes { .. })
}
