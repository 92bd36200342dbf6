//! Whole numbers, decimals, floats and booleans.

use super::{Codec, FieldKind, Misfit};
use crate::sql::cell::Cell;
use crate::sql::database::Engine;
use crate::sql::shape::ColumnType;
use crate::sql::value::{DECIMAL_DIGITS_MAX, Value};

/// Whole numbers up to here are floats without loss.
const FLOAT_WHOLE_MAX: u64 = 1 << 53;

/// A decimal, digit by digit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Digits {
    is_negative: bool,
    /// Without zeros in front; empty for none.
    whole: String,
    /// As it was written.
    fraction: String,
}

impl Digits {
    /// Reads `-?digits(.digits)?`.
    pub(super) fn read(text: &str) -> Option<Self> {
        let unsigned = text.strip_prefix('-').unwrap_or(text);
        let (whole, fraction) = match unsigned.split_once('.') {
            Some((_, "")) => return None,
            Some(parts) => parts,
            None => (unsigned, ""),
        };
        let is_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        if whole.is_empty() || !is_digits(whole) || !is_digits(fraction) {
            return None;
        }
        Some(Self {
            is_negative: text.len() > unsigned.len(),
            whole: whole.trim_start_matches('0').to_owned(),
            fraction: fraction.to_owned(),
        })
    }

    fn is_zero(&self) -> bool {
        self.whole.is_empty() && self.fraction.bytes().all(|digit| digit == b'0')
    }

    /// Whether the node keeps it: zeros in front do not count, but for the one before a point.
    fn is_short_enough(&self) -> bool {
        self.whole.len().max(1) + self.fraction.len() <= DECIMAL_DIGITS_MAX
    }

    /// With all digits of the fraction; zero has no sign.
    fn text(&self) -> String {
        let sign = if self.is_negative && !self.is_zero() { "-" } else { "" };
        let whole = if self.whole.is_empty() { "0" } else { &self.whole };
        match &self.fraction[..] {
            "" => format!("{sign}{whole}"),
            fraction => format!("{sign}{whole}.{fraction}"),
        }
    }

    /// Without zeros at the end of the fraction.
    pub(super) fn shortest(mut self) -> String {
        self.fraction.truncate(self.fraction.trim_end_matches('0').len());
        self.text()
    }

    /// As a whole number; `None`: there is a fraction, or it needs more than 127 bits.
    fn whole_number(self) -> Option<i128> {
        let text = self.shortest();
        if text.contains('.') { None } else { text.parse().ok() }
    }

    /// As a column of `digits`, `scale` of them behind the point, writes it.
    fn fitted(mut self, digits: u32, scale: u32, is_lossy: bool) -> Result<String, String> {
        let scale = usize::try_from(scale).unwrap_or(usize::MAX);
        let needed = self.fraction.trim_end_matches('0').len();
        if needed > scale {
            if !is_lossy {
                return Err(format!("at most {scale} digits behind the point"));
            }
            self.round(scale);
        }
        self.fraction.truncate(scale);
        let room = usize::try_from(digits).unwrap_or(usize::MAX).saturating_sub(scale);
        if self.whole.len() > room {
            return Err(format!("at most {room} digits before the point"));
        }
        let zeros = scale - self.fraction.len();
        self.fraction.extend(std::iter::repeat_n('0', zeros));
        Ok(self.text())
    }

    /// To so many digits behind the point, halves away from zero, as databases do.
    fn round(&mut self, scale: usize) {
        let is_up = self.fraction.as_bytes().get(scale).is_some_and(|digit| *digit >= b'5');
        self.fraction.truncate(scale);
        if !is_up {
            return;
        }
        let mut digits = format!("0{}{}", self.whole, self.fraction).into_bytes();
        for digit in digits.iter_mut().rev() {
            if *digit < b'9' {
                *digit += 1;
                break;
            }
            *digit = b'0';
        }
        let behind = digits.split_off(digits.len() - self.fraction.len());
        let text = |bytes| String::from_utf8(bytes).unwrap_or_default();
        self.fraction = text(behind);
        self.whole = text(digits).trim_start_matches('0').to_owned();
    }
}

impl Codec {
    pub(super) fn number_to_value(&self, cell: &Cell) -> Result<Value, Misfit> {
        match self.field {
            FieldKind::Integer => self.whole_of(cell).map(Value::Int),
            FieldKind::Counter => self.whole_of(cell).map(Value::Counter),
            FieldKind::Boolean => self.boolean_of(cell).map(Value::Bool),
            FieldKind::Decimal => self.decimal_of(cell).map(Value::Str),
            FieldKind::Float
            | FieldKind::String
            | FieldKind::Timestamp
            | FieldKind::Datetime
            | FieldKind::Bytes
            | FieldKind::Text => self.float_of(cell).map(Value::Float),
        }
    }

    pub(super) fn number_to_cell(&self, value: &Value) -> Result<Cell, Misfit> {
        match (&self.kind, self.field) {
            (ColumnType::Boolean, _) => Ok(self.boolean_cell(self.boolean_in(value)?)),
            (ColumnType::Integer { min, max }, _) => {
                let number = match self.field {
                    FieldKind::Boolean => self.boolean_in(value)?.into(),
                    _ => self.whole_in(value)?,
                };
                if number >= *min && number <= *max {
                    self.whole_cell(number, value)
                } else {
                    Err(self.misfit(value, &format!("{min} to {max}")))
                }
            }
            (ColumnType::Decimal { digits }, _) => {
                let written = self.digits_in(value)?;
                let fitted = match digits {
                    Some((all, scale)) => written.fitted(*all, *scale, self.options.is_lossy),
                    None => Ok(written.text()),
                };
                fitted.map(Cell::Text).map_err(|expected| self.misfit(value, &expected))
            }
            (ColumnType::Loose, FieldKind::Integer) => {
                self.whole_cell(self.whole_in(value)?, value)
            }
            (ColumnType::Loose, FieldKind::Boolean) => {
                Ok(Cell::Integer(self.boolean_in(value)?.into()))
            }
            _ => self.float_cell(value),
        }
    }

    /// A cell that holds a whole number of 64 bits.
    fn whole_of(&self, cell: &Cell) -> Result<i64, Misfit> {
        let number = match cell {
            Cell::Integer(number) => Some(*number),
            Cell::Text(text) if !self.is_sqlite() => {
                Digits::read(text).and_then(Digits::whole_number).and_then(|n| n.try_into().ok())
            }
            Cell::Text(_) | Cell::Null | Cell::Real(_) | Cell::Bytes(_) => None,
        };
        number.ok_or_else(|| self.misfit(cell, "a whole number of 64 bits"))
    }

    fn boolean_of(&self, cell: &Cell) -> Result<bool, Misfit> {
        match cell {
            Cell::Integer(0) => Ok(false),
            Cell::Integer(1) => Ok(true),
            Cell::Text(text) if !self.is_sqlite() => match &text[..] {
                "f" | "false" | "0" => Ok(false),
                "t" | "true" | "1" => Ok(true),
                _ => Err(self.misfit(cell, "0 or 1, since the field is a boolean")),
            },
            Cell::Null | Cell::Integer(_) | Cell::Real(_) | Cell::Text(_) | Cell::Bytes(_) => {
                Err(self.misfit(cell, "0 or 1, since the field is a boolean"))
            }
        }
    }

    fn decimal_of(&self, cell: &Cell) -> Result<String, Misfit> {
        let digits = match cell {
            Cell::Integer(number) => Digits::read(&number.to_string()),
            Cell::Real(number) if number.is_finite() => Digits::read(&number.to_string()),
            Cell::Text(text) if matches!(self.kind, ColumnType::Float { .. }) => {
                let float: Option<f64> = text.parse().ok();
                float.and_then(|float| Digits::read(&float.to_string()))
            }
            Cell::Text(text) if !self.is_sqlite() => Digits::read(text),
            Cell::Null | Cell::Real(_) | Cell::Text(_) | Cell::Bytes(_) => None,
        };
        let digits = digits.filter(Digits::is_short_enough);
        digits.map(|digits| digits.text()).ok_or_else(|| {
            self.misfit(cell, &format!("a number of at most {DECIMAL_DIGITS_MAX} digits"))
        })
    }

    fn float_of(&self, cell: &Cell) -> Result<f64, Misfit> {
        let float = match cell {
            Cell::Real(float) => Some(*float),
            Cell::Integer(number) => exact_float(*number),
            Cell::Text(text) if !self.is_sqlite() => text.parse().ok(),
            Cell::Null | Cell::Text(_) | Cell::Bytes(_) => None,
        };
        let float = float.filter(|float| float.is_finite());
        let float =
            float.ok_or_else(|| self.misfit(cell, "a finite float, which JSON can write"))?;
        Ok(if self.is_single() { shortest_of_single(float) } else { float })
    }

    /// Whether the column keeps floats of 32 bits.
    fn is_single(&self) -> bool {
        self.kind == ColumnType::Float { is_double: false }
    }

    fn boolean_in(&self, value: &Value) -> Result<bool, Misfit> {
        match value {
            Value::Bool(is_true) => Ok(*is_true),
            _ => Err(self.misfit(value, "true or false")),
        }
    }

    fn boolean_cell(&self, is_true: bool) -> Cell {
        match (self.options.engine, is_true) {
            (Engine::Sqlite, _) => Cell::Integer(is_true.into()),
            (Engine::Postgres, true) => Cell::text("true"),
            (Engine::Postgres, false) => Cell::text("false"),
            (Engine::MariaDb, true) => Cell::text("1"),
            (Engine::MariaDb, false) => Cell::text("0"),
        }
    }

    fn whole_in(&self, value: &Value) -> Result<i128, Misfit> {
        let number = match value {
            Value::Int(number) | Value::Counter(number) => Some(i128::from(*number)),
            Value::Str(text) if self.field == FieldKind::Decimal => {
                Digits::read(text).and_then(Digits::whole_number)
            }
            _ => None,
        };
        number.ok_or_else(|| self.misfit(value, "a whole number"))
    }

    fn whole_cell(&self, number: i128, value: &Value) -> Result<Cell, Misfit> {
        if !self.is_sqlite() {
            return Ok(Cell::text(number.to_string()));
        }
        let number = number.try_into().map(Cell::Integer);
        number.map_err(|_| self.misfit(value, "a whole number of 64 bits"))
    }

    fn digits_in(&self, value: &Value) -> Result<Digits, Misfit> {
        let digits = match value {
            Value::Int(number) | Value::Counter(number) => Digits::read(&number.to_string()),
            Value::Str(text) => Digits::read(text),
            Value::Float(float) if self.options.is_lossy && float.is_finite() => {
                Digits::read(&float.to_string())
            }
            _ => None,
        };
        let digits = digits.filter(Digits::is_short_enough);
        digits.ok_or_else(|| {
            self.misfit(value, &format!("a decimal of at most {DECIMAL_DIGITS_MAX} digits"))
        })
    }

    fn float_cell(&self, value: &Value) -> Result<Cell, Misfit> {
        let found = match value {
            Value::Float(float) => Some(*float),
            Value::Int(number) => exact_float(*number),
            Value::Str(text) if self.field == FieldKind::Decimal => {
                Digits::read(text).and_then(|_| text.parse().ok())
            }
            _ => None,
        };
        let found = found.filter(|float| float.is_finite());
        let float = found.ok_or_else(|| self.misfit(value, "a finite float"))?;
        if self.is_single() && !self.options.is_lossy {
            let is_kept = is_single(float);
            is_kept.then_some(()).ok_or_else(|| {
                self.misfit(value, "a float of 32 bits, which has some seven digits")
            })?;
        }
        match self.options.engine {
            Engine::Sqlite => Ok(Cell::Real(float)),
            Engine::Postgres | Engine::MariaDb => Ok(Cell::text(format!("{float:?}"))),
        }
    }

    pub(super) fn is_sqlite(&self) -> bool {
        self.options.engine == Engine::Sqlite
    }
}

/// A whole number as a float, where that is the same number.
fn exact_float(number: i64) -> Option<f64> {
    #[allow(clippy::cast_precision_loss, reason = "no more than 53 bits")]
    (number.unsigned_abs() <= FLOAT_WHOLE_MAX).then_some(number as f64)
}

/// The float of 64 bits that is written with the fewest digits that distinguish a float of 32 bits from all others: PostgreSQL
/// writes 0.1 so, MariaDB widens it to 0.10000000149011612.
fn shortest_of_single(float: f64) -> f64 {
    #[allow(clippy::cast_possible_truncation, reason = "asked for")]
    let single = float as f32;
    if single.is_finite() { single.to_string().parse().unwrap_or(float) } else { float }
}

/// Whether a float of 32 bits gives it back, in either of the two ways.
fn is_single(float: f64) -> bool {
    #[allow(clippy::cast_possible_truncation, reason = "compared with what it was")]
    let single = float as f32;
    single.is_finite() && (f64::from(single) == float || shortest_of_single(float) == float)
}
