//! JSON, as the text that was written or as the database normalises it.

use std::collections::BTreeMap;

use serde::de::IgnoredAny;
use serde_json::Value as Json;

use super::{Codec, Misfit};
use crate::sql::cell::Cell;
use crate::sql::value::Value;

/// Greatest power of ten that is written out: PostgreSQL's numbers end there.
const EXPONENT_MAX: i64 = 131_072;
/// Longest JSON that is written out to be compared. A field's text is no longer than a MiB, but of `1e131072`, nine bytes,
/// come 131,073; PostgreSQL gives no such value back as a field could keep it.
const CANONICAL_BYTES_MAX: usize = 4 << 20;

impl Codec {
    pub(super) fn json_to_value(&self, cell: &Cell) -> Result<Value, Misfit> {
        match cell {
            Cell::Text(text) => Ok(Value::Str(text.clone())),
            Cell::Null | Cell::Integer(_) | Cell::Real(_) | Cell::Bytes(_) => {
                Err(self.misfit(cell, "JSON"))
            }
        }
    }

    pub(super) fn json_to_cell(&self, value: &Value, is_normalised: bool) -> Result<Cell, Misfit> {
        let (Value::Str(text) | Value::Text(text)) = value else {
            return Err(self.misfit(value, "JSON as a string"));
        };
        if serde_json::from_str::<IgnoredAny>(text).is_err() {
            return Err(self.misfit(value, "JSON"));
        }
        if is_normalised {
            let read: Json = serde_json::from_str(text)
                .map_err(|_| self.misfit(value, "JSON that is nested at most 127 times"))?;
            if has_nul(&read) {
                return Err(self.misfit(
                    value,
                    "JSON without \\u0000, which PostgreSQL's jsonb does not take",
                ));
            }
        }
        Ok(Cell::text(text))
    }
}

fn has_nul(json: &Json) -> bool {
    match json {
        Json::String(text) => text.contains('\0'),
        Json::Array(items) => items.iter().any(has_nul),
        Json::Object(fields) => {
            fields.iter().any(|(name, inner)| name.contains('\0') || has_nul(inner))
        }
        Json::Null | Json::Bool(_) | Json::Number(_) => false,
    }
}

/// JSON without what `jsonb` does not keep: the order of names, names that come twice, blanks, powers of ten. `None`: it is
/// no JSON, or too long when it is written out.
pub(super) fn canonical(text: &str) -> Option<String> {
    let mut to = String::with_capacity(text.len());
    write(&serde_json::from_str(text).ok()?, &mut to)?;
    Some(to)
}

fn write(json: &Json, to: &mut String) -> Option<()> {
    match json {
        Json::Number(number) => match plain(number.as_str()) {
            Some(plain) => to.push_str(&plain),
            None => to.push_str(number.as_str()),
        },
        Json::Array(items) => {
            to.push('[');
            for item in items {
                write(item, to)?;
                to.push(',');
            }
            to.push(']');
        }
        Json::Object(fields) => {
            to.push('{');
            for (name, inner) in fields.iter().collect::<BTreeMap<_, _>>() {
                write(&Json::String(name.clone()), to)?;
                to.push(':');
                write(inner, to)?;
                to.push(',');
            }
            to.push('}');
        }
        Json::Null | Json::Bool(_) | Json::String(_) => to.push_str(&json.to_string()),
    }
    (to.len() <= CANONICAL_BYTES_MAX).then_some(())
}

/// A number without its power of ten, as `numeric` writes it: `1e2` is `100`, `1.10` keeps its zero. `None`: it is out of
/// all bounds.
fn plain(number: &str) -> Option<String> {
    let (mantissa, exponent) = number.split_once(['e', 'E']).unwrap_or((number, "0"));
    let exponent: i64 = exponent.parse().ok().filter(|e: &i64| e.abs() <= EXPONENT_MAX)?;
    let unsigned = mantissa.strip_prefix('-').unwrap_or(mantissa);
    let (whole, fraction) = unsigned.split_once('.').unwrap_or((unsigned, ""));
    let digits = format!("{whole}{fraction}");
    let point = i64::try_from(whole.len()).ok()? + exponent;
    let length = i64::try_from(digits.len()).ok()?;
    let zeros = |n: i64| "0".repeat(usize::try_from(n).unwrap_or_default());
    let digits = format!("{}{digits}{}", zeros(-point), zeros(point - length));
    let (whole, fraction) = digits.split_at_checked(usize::try_from(point.max(0)).ok()?)?;
    let whole = whole.trim_start_matches('0');
    let is_zero = whole.is_empty() && fraction.bytes().all(|digit| digit == b'0');
    let sign = if unsigned.len() < mantissa.len() && !is_zero { "-" } else { "" };
    let whole = if whole.is_empty() { "0" } else { whole };
    Some(match fraction {
        "" => format!("{sign}{whole}"),
        fraction => format!("{sign}{whole}.{fraction}"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn normalised_json_is_compared_without_order_and_powers_of_ten() {
        let same = |a, b| canonical(a) == canonical(b);
        assert!(same(r#"{"b": 1, "a": [1e2, "x"]}"#, r#"{"a":[100,"x"],"b":1}"#));
        assert!(same(r#"{"a": 1, "a": 2}"#, r#"{"a": 2}"#));
        assert!(same(r#""\u00e9""#, "\"é\""));
        assert!(same("-0", "0") && same("1.50e1", "15.0") && same("12e-3", "0.012"));
        assert!(!same("1.10", "1.1") && !same("[1,2]", "[2,1]") && !same("\"1\"", "1"));
        assert_eq!(plain("1e400").map(|text| text.len()), Some(401));
        assert_eq!(plain("1e99999999999999999999"), None);
        assert_eq!(canonical(&format!("[{}0]", "1e131072,".repeat(100_000))), None);
    }
}
