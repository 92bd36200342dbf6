//! Cells of a column and values of a field: what the one is as the other, exactly or not at all.
//!
//! Databases round decimals, cut fractions of seconds and strip blanks without a word, so all of it is checked before a
//! value is written: scale, range, length, digits, characters, labels. What does not fit is a [`Misfit`], by which the row
//! is set aside, and never anything near it, unless a person has accepted the loss (`lossy`).
//!
//! | file | types |
//! |---|---|
//! | `datetime` | dates with times |
//! | `civil` | the text forms of dates and times |
//! | `number` | whole numbers, decimals, floats, booleans |
//! | `text` | texts, labels, UUIDs, dates, times, bytes |
//! | `json` | JSON |
//! | `loose` | SQLite's columns that keep whatever they are given, and not always as they were given it |
//! | `kinds` | which kinds of fields a column can be |

mod civil;
mod datetime;
mod json;
mod kinds;
mod loose;
mod misfit;
mod number;
#[cfg(test)]
mod tests;
mod text;

use data_encoding::HEXLOWER_PERMISSIVE;
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};

pub use kinds::FieldKind;
pub(in crate::sql) use kinds::check_key;
pub use misfit::{Misfit, shown};

use super::cell::{Cell, hex_of};
use super::database::Engine;
use super::shape::{ColumnShape, ColumnType};
use super::value::{VALUE_BYTES_MAX, Value};

/// What a MariaDB date of zeros is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ZeroDate {
    /// The row is set aside.
    #[default]
    SetAside,
    /// No value.
    Null,
}

/// How SQLite holds a time, or any database in a column of numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TimeForm {
    /// `2024-03-10 00:30:00.123`, with an offset from UTC or without.
    #[default]
    Text,
    /// Seconds since 1970, with a fraction perhaps.
    Unix,
    /// Milliseconds since 1970.
    UnixMs,
    /// Julian days.
    Julian,
}

/// What a table's settings say about the values of its columns.
#[derive(Clone, Debug)]
pub struct Options {
    /// Whose text forms the cells have.
    pub engine: Engine,
    /// The zone of columns that have none.
    pub zone: Option<TimeZone>,
    /// What a MariaDB date of zeros is.
    pub zero_date: ZeroDate,
    /// Whether a person accepts that a column cannot keep all that a field can.
    pub is_lossy: bool,
    /// How times are held.
    pub form: TimeForm,
}

/// Translates between the cells of one column and the values of one field.
#[derive(Clone, Debug)]
pub struct Codec {
    column: String,
    kind: ColumnType,
    is_nullable: bool,
    declared: String,
    field: FieldKind,
    options: Options,
}

impl Codec {
    /// A codec of a column whose field is of this kind.
    ///
    /// # Errors
    /// Why no field of the kind can hold the column, and what to do.
    pub fn new(shape: &ColumnShape, field: FieldKind, options: Options) -> Result<Self, String> {
        kinds::check(shape, field, &options)?;
        Ok(Self {
            column: shape.name.clone(),
            kind: shape.kind.clone(),
            is_nullable: shape.is_nullable,
            declared: shape.declared.clone(),
            field,
            options,
        })
    }

    /// The kind of field that suits a column best.
    ///
    /// # Errors
    /// Why none does, and what to do.
    pub fn infer(
        shape: &ColumnShape,
        is_key: bool,
        options: &Options,
    ) -> Result<FieldKind, String> {
        kinds::infer(shape, is_key, options)
    }

    /// The kind of the field.
    #[must_use]
    pub fn field(&self) -> FieldKind {
        self.field
    }

    /// What a field holds whose column holds this cell.
    ///
    /// # Errors
    /// [`Misfit`], where the field cannot keep it.
    pub fn to_value(&self, cell: &Cell) -> Result<Value, Misfit> {
        let value = match (&self.kind, cell) {
            (_, Cell::Null) => return Ok(Value::Null),
            _ if self.field.is_time() => self.time_to_value(cell)?,
            (ColumnType::Loose, _) => self.loose_to_value(cell)?,
            (
                ColumnType::Integer { .. }
                | ColumnType::Decimal { .. }
                | ColumnType::Float { .. }
                | ColumnType::Boolean,
                _,
            ) => self.number_to_value(cell)?,
            (ColumnType::Json { .. }, _) => self.json_to_value(cell)?,
            (ColumnType::DateTime { .. }, _) => self.time_to_value(cell)?,
            (ColumnType::Refused { why }, _) => return Err(self.misfit(cell, why)),
            (
                ColumnType::Text { .. }
                | ColumnType::Bytes { .. }
                | ColumnType::Date
                | ColumnType::Time
                | ColumnType::Uuid
                | ColumnType::Enum { .. }
                | ColumnType::Set { .. }
                | ColumnType::Other,
                _,
            ) => self.text_to_value(cell)?,
        };
        match &value {
            Value::Str(text) | Value::Text(text) if text.len() > VALUE_BYTES_MAX => {
                Err(self.misfit(cell, &format!("at most {VALUE_BYTES_MAX} bytes")))
            }
            Value::Bytes(bytes) if bytes.len() > VALUE_BYTES_MAX => {
                Err(self.misfit(cell, &format!("at most {VALUE_BYTES_MAX} bytes")))
            }
            _ => Ok(value),
        }
    }

    /// The cell of a column whose field holds this value. Servers get text (bytes for blobs), SQLite the class of the
    /// column.
    ///
    /// # Errors
    /// [`Misfit`], where the column would keep something else, or nothing.
    pub fn to_cell(&self, value: &Value) -> Result<Cell, Misfit> {
        let cell = match (&self.kind, value) {
            (_, Value::Null) => {
                let null = self.is_nullable.then_some(Cell::Null);
                return null.ok_or_else(|| self.misfit(value, "a value, the column is NOT NULL"));
            }
            _ if self.field.is_time() => self.time_to_cell(value)?,
            (ColumnType::Loose, _) => self.loose_to_cell(value)?,
            (
                ColumnType::Integer { .. }
                | ColumnType::Decimal { .. }
                | ColumnType::Float { .. }
                | ColumnType::Boolean,
                _,
            ) => self.number_to_cell(value)?,
            (ColumnType::Json { is_normalised }, _) => self.json_to_cell(value, *is_normalised)?,
            (ColumnType::DateTime { .. }, _) => self.time_to_cell(value)?,
            (ColumnType::Refused { why }, _) => return Err(self.misfit(value, why)),
            (
                ColumnType::Text { .. }
                | ColumnType::Bytes { .. }
                | ColumnType::Date
                | ColumnType::Time
                | ColumnType::Uuid
                | ColumnType::Enum { .. }
                | ColumnType::Set { .. }
                | ColumnType::Other,
                _,
            ) => self.text_to_cell(value)?,
        };
        match &cell {
            Cell::Text(text) if self.is_postgres() && text.contains('\0') => {
                Err(self.misfit(value, "a text without U+0000, which PostgreSQL does not take"))
            }
            _ => Ok(cell),
        }
    }

    /// Whether the column makes one of these two values: `1.10` and `1.1` where its scale says so, a UUID in either case,
    /// the orders of JSON's names, `+00:00` and `Z`. For comparing a record with the view of a row.
    #[must_use]
    pub fn is_same(&self, a: &Value, b: &Value) -> bool {
        a == b || self.canonical(a) == self.canonical(b)
    }

    /// What the column makes of a value; the value itself, where it does not fit.
    fn canonical(&self, value: &Value) -> Value {
        let kept = self.to_cell(value).and_then(|cell| self.to_value(&cell));
        match kept.unwrap_or_else(|_| value.clone()) {
            // 0 and -0 are one number, and not every database keeps the sign.
            Value::Float(0.0) => Value::Float(0.0),
            Value::Str(text) if self.is_normalised_json() => {
                Value::Str(json::canonical(&text).unwrap_or(text))
            }
            value => value,
        }
    }

    /// A key column's text, as [`Key`](super::cell::Key) has it.
    ///
    /// # Errors
    /// [`Misfit`]: NULL or a float names no row.
    pub fn key_text(&self, cell: &Cell) -> Result<String, Misfit> {
        match cell {
            Cell::Integer(number) => Ok(number.to_string()),
            Cell::Text(text) => Ok(text.clone()),
            Cell::Bytes(bytes) => Ok(hex_of(bytes)),
            Cell::Null | Cell::Real(_) => {
                Err(self.misfit(cell, "a key, which is no NULL and no float"))
            }
        }
    }

    /// The cell of a key column's text.
    ///
    /// # Errors
    /// [`Misfit`]: the column cannot have given the text.
    pub fn key_cell(&self, text: &str) -> Result<Cell, Misfit> {
        let is_integer = matches!(self.kind, ColumnType::Integer { .. })
            || (self.kind == ColumnType::Loose && self.field == FieldKind::Integer);
        if matches!(self.kind, ColumnType::Bytes { .. }) {
            let bytes = HEXLOWER_PERMISSIVE.decode(text.as_bytes());
            return bytes.map(Cell::Bytes).map_err(|_| self.misfit(text, "hex digits"));
        }
        if is_integer && self.options.engine == Engine::Sqlite {
            let number = text.parse().map(Cell::Integer);
            return number.map_err(|_| self.misfit(text, "a whole number"));
        }
        Ok(Cell::text(text))
    }

    /// A key column's part of a record's id: the same at every office, whatever database it has.
    ///
    /// # Errors
    /// [`Misfit`], where the field cannot keep the cell.
    pub fn id_text(&self, cell: &Cell) -> Result<String, Misfit> {
        Ok(match self.to_value(cell)? {
            Value::Int(number) => number.to_string(),
            Value::Str(number) if self.field == FieldKind::Decimal => {
                number::Digits::read(&number).map_or(number, |digits| digits.shortest())
            }
            Value::Str(text) => text,
            Value::Bytes(bytes) => hex_of(&bytes),
            _ => return Err(self.misfit(cell, "a key, which is no NULL and no float")),
        })
    }

    /// The cell of a key column, by its part of a record's id.
    ///
    /// # Errors
    /// [`Misfit`], where the column cannot hold it.
    pub fn id_cell(&self, text: &str) -> Result<Cell, Misfit> {
        let value = match self.field {
            FieldKind::Integer => {
                let number = text.parse().map(Value::Int);
                number.map_err(|_| self.misfit(text, "a whole number"))?
            }
            FieldKind::Bytes => {
                let bytes = HEXLOWER_PERMISSIVE.decode(text.as_bytes()).map(Value::Bytes);
                bytes.map_err(|_| self.misfit(text, "hex digits"))?
            }
            _ => Value::Str(text.to_owned()),
        };
        let cell = self.to_cell(&value)?;
        // `007`, `+7` and `ABCD…` of a UUID are other ids than that of the row.
        if self.id_text(&cell)? == text {
            Ok(cell)
        } else {
            Err(self.misfit(text, "the form in which the column's own values are written"))
        }
    }

    fn is_postgres(&self) -> bool {
        self.options.engine == Engine::Postgres
    }

    fn is_normalised_json(&self) -> bool {
        self.kind == ColumnType::Json { is_normalised: true }
    }

    fn misfit(&self, found: impl misfit::Shown, expected: &str) -> Misfit {
        Misfit {
            column: self.column.clone(),
            found: shown(&found.shown()),
            expected: expected.to_owned(),
        }
    }
}
