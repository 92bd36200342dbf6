//! Values of other programs, as the kinds that a schema declares have them. Nothing is rounded: what does not fit exactly
//! does not fit.

use super::super::limits::INCREMENT_MAX;
use super::super::schema::kind::Kind;
use super::super::value::Value;
use super::super::written::{self, Whole, whole};
use super::fault::MisfitReason;

/// How much of a bad value an error shows, in characters.
const SHOWN_CHARACTERS: usize = 64;

/// A value as a field of a kind that is replaced as a whole has it.
pub(super) fn register(kind: Kind, value: Value) -> Result<Value, MisfitReason> {
    if kind.accepts(&value) {
        return Ok(value);
    }
    match (kind, value) {
        // Programs that have one type of numbers write those without a fraction as integers.
        (Kind::Float, Value::Int(n)) if n.unsigned_abs() <= INCREMENT_MAX.unsigned_abs() => {
            Ok(Value::Float(n as f64))
        }
        (Kind::Integer, Value::Float(n)) if n.fract() == 0.0 && n.abs() <= INCREMENT_MAX as f64 => {
            Ok(Value::Int(n as i64))
        }
        (Kind::Decimal, Value::Int(n)) => Ok(Value::Str(n.to_string())),
        (_, Value::Str(text)) => of_text(kind, &text),
        (expected, value) => Err(MisfitReason::Kind { expected, found: value.kind_name() }),
    }
}

/// A text as a field of a kind that is replaced as a whole has it: for programs in which every string is a text that can
/// be edited in place.
pub(super) fn of_text(kind: Kind, text: &str) -> Result<Value, MisfitReason> {
    let form = |form: &'static str| MisfitReason::Form {
        expected: kind,
        found: text.chars().take(SHOWN_CHARACTERS).collect(),
        form,
    };
    if let Some(read) = written::of_text(kind, text) {
        return read.map_err(form);
    }
    if kind != Kind::Integer {
        return Err(MisfitReason::Kind { expected: kind, found: "string" });
    }
    match whole(text) {
        Whole::Is(n) => Ok(Value::Int(n)),
        Whole::TooLarge | Whole::Broken => {
            Err(form("a whole number of at most 64 bits like \"-12\""))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_fit_exactly_or_not_at_all() {
        let text = |text: &str| Value::Str(text.to_owned());
        for (kind, value, expected) in [
            (Kind::String, text("tea"), Some(text("tea"))),
            (Kind::Integer, text("-12"), Some(Value::Int(-12))),
            (Kind::Integer, text("1.5"), None),
            (Kind::Integer, text("9223372036854775808"), None),
            (Kind::Integer, Value::Float(3.0), Some(Value::Int(3))),
            (Kind::Integer, Value::Float(3.5), None),
            (Kind::Integer, Value::Float(1e300), None),
            (Kind::Float, Value::Int(3), Some(Value::Float(3.0))),
            (Kind::Float, Value::Int(i64::MAX), None),
            (Kind::Decimal, text("1.20"), Some(text("1.20"))),
            (Kind::Decimal, Value::Int(7), Some(text("7"))),
            (Kind::Decimal, Value::Float(1.2), None),
            (Kind::Decimal, text("1,20"), None),
            (Kind::Timestamp, text("1970-01-01T00:00:01Z"), Some(Value::Timestamp(1000))),
            (Kind::Timestamp, text("noon"), None),
            (Kind::Boolean, text("true"), None),
            (Kind::Boolean, Value::Null, Some(Value::Null)),
            (Kind::Counter, Value::Int(1), None),
        ] {
            assert_eq!(register(kind, value.clone()).ok(), expected, "{kind} {value:?}");
        }
    }
}
