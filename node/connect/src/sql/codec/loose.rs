//! SQLite's columns that keep whatever they are given. Their affinity makes numbers of texts that look like one, so that
//! `'00123'` is 123 in them.

use super::{Codec, FieldKind, Misfit};
use crate::sql::cell::Cell;
use crate::sql::value::Value;

impl Codec {
    pub(super) fn loose_to_value(&self, cell: &Cell) -> Result<Value, Misfit> {
        match (self.field, cell) {
            (FieldKind::String | FieldKind::Text, Cell::Text(text)) => Ok(Value::Str(text.clone())),
            (FieldKind::String | FieldKind::Text, _) => Err(self.misfit(
                cell,
                "text; SQLite makes numbers of texts that look like one in a column of this type: declare it TEXT",
            )),
            (FieldKind::Bytes, Cell::Bytes(bytes)) => Ok(Value::Bytes(bytes.clone())),
            (FieldKind::Bytes, _) => Err(self.misfit(cell, "a blob")),
            _ => self.number_to_value(cell),
        }
    }

    pub(super) fn loose_to_cell(&self, value: &Value) -> Result<Cell, Misfit> {
        match (self.field, value) {
            (FieldKind::String | FieldKind::Text, Value::Str(text) | Value::Text(text)) => {
                if looks_like_a_number(text) {
                    Err(self.misfit(
                    value,
                    "a text that does not look like a number, since SQLite would make one of it: declare the column TEXT",
                ))
                } else {
                    Ok(Cell::text(text))
                }
            }
            (FieldKind::String | FieldKind::Text, _) => Err(self.misfit(value, "a string")),
            (FieldKind::Bytes, Value::Bytes(bytes)) => Ok(Cell::Bytes(bytes.clone())),
            (FieldKind::Bytes, _) => Err(self.misfit(value, "bytes")),
            _ => self.number_to_cell(value),
        }
    }
}

/// Whether an affinity of numbers could change a text: more than those that SQLite takes for numbers.
fn looks_like_a_number(text: &str) -> bool {
    let text = text.trim_matches(|c: char| c.is_ascii_whitespace() || c == '\u{b}');
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    let (mantissa, exponent) = digits.split_once(['e', 'E']).unwrap_or((digits, "0"));
    let exponent = exponent.strip_prefix(['-', '+']).unwrap_or(exponent);
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let is_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    is_digits(whole)
        && is_digits(fraction)
        && is_digits(exponent)
        && !(whole.is_empty() && fraction.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_that_sqlite_would_change_are_told() {
        for changed in ["1", "007", "1e5", " 12 ", "-.5", "5.", "+3.0E-2", "12345678901234567890"] {
            assert!(looks_like_a_number(changed), "{changed}");
        }
        for kept in ["", "a", "1a", "2024-03-10", "0x1F", "1 2", ".", "e5", "Infinity", "1,5"] {
            assert!(!looks_like_a_number(kept), "{kept}");
        }
    }
}
