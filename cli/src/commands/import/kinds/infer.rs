//! Which kinds the fields of an input have by their values, and what a cell becomes. A kind never changes once it is
//! declared, so what is in doubt is text.

use std::collections::BTreeMap;

use branchline_crdt::record::{self, Datetime, Kind, is_plain_decimal};
use serde_json::{Map, Number, Value};

/// What the values of a field say of its kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Inferred {
    /// There is none, or nothing but null.
    #[default]
    Nothing,
    /// They are all of this kind.
    Kind(Kind),
    /// They are JSON strings, all of which are decimals.
    DecimalText,
    /// They are JSON of several kinds.
    Mixed,
}

impl Inferred {
    /// The kind that all of them have.
    pub(crate) fn kind(self) -> Option<Kind> {
        match self {
            Self::Kind(kind) => Some(kind),
            Self::DecimalText => Some(Kind::String),
            Self::Nothing | Self::Mixed => None,
        }
    }
}

/// What all values of one column have in common so far.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Guess {
    any: bool,
    integer: bool,
    boolean: bool,
    decimal: bool,
    timestamp: bool,
    /// Times of the kind datetime with a zone.
    zoned: bool,
    /// The same without one.
    local: bool,
}

impl Guess {
    pub(crate) fn new() -> Self {
        Self {
            any: false,
            integer: true,
            boolean: true,
            decimal: true,
            timestamp: true,
            zoned: true,
            local: true,
        }
    }

    /// Takes one cell into account; empty ones say nothing.
    pub(crate) fn observe(&mut self, cell: &str) {
        if !cell.is_empty() {
            self.observe_text(cell);
        }
    }

    /// Takes a text into account, which may be empty.
    pub(crate) fn observe_text(&mut self, text: &str) {
        self.any = true;
        self.integer &= is_integer(text);
        self.boolean &= matches!(text, "true" | "false");
        self.decimal &= is_plain_decimal(text);
        let time = exact_time(text);
        self.zoned &= time.is_some_and(|time| !time.is_local());
        self.local &= time.is_some_and(Datetime::is_local);
        self.timestamp &= self.zoned && text.len() <= MILLISECONDS_BYTES;
    }

    /// The kind that holds every value exactly.
    pub(crate) fn kind(self) -> Kind {
        match self {
            Self { any: false, .. } => Kind::String,
            Self { integer: true, .. } => Kind::Integer,
            Self { boolean: true, .. } => Kind::Boolean,
            Self { decimal: true, .. } => Kind::Decimal,
            Self { timestamp: true, .. } => Kind::Timestamp,
            Self { zoned: true, .. } | Self { local: true, .. } => Kind::Datetime,
            Self { .. } => Kind::String,
        }
    }
}

/// Whether reading the text as a number and writing it again gives the same text.
fn is_integer(text: &str) -> bool {
    text.parse::<i64>().is_ok_and(|number| number.to_string() == text)
}

/// How long a time with a zone is of which a timestamp loses nothing.
const MILLISECONDS_BYTES: usize = "2026-01-31T12:00:00.123Z".len();

/// `2026-01-31T12:00:00.123456Z`, or the same without the Z, with a T and at most nine digits behind the second: a time of
/// which nothing is lost. A date alone, or the offset of a clock, would be.
fn exact_time(text: &str) -> Option<Datetime> {
    let is_written_so = text.as_bytes().get(10) == Some(&b'T') && !text.contains(['z', '+']);
    let has_offset = text.rfind('-').is_some_and(|at| at > 10);
    text.parse().ok().filter(|_| is_written_so && !has_offset)
}

fn is_decimal(text: &str) -> bool {
    Kind::Decimal.accepts(&record::Value::Str(text.to_owned()))
}

/// What a field of a JSON input holds in all its records.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct JsonGuess(Inferred);

impl JsonGuess {
    pub(crate) fn observe(&mut self, value: &Value) {
        let found = match value {
            Value::Null => return,
            Value::Bool(_) => Inferred::Kind(Kind::Boolean),
            Value::Number(number) => of_number(number),
            Value::String(text) if is_plain_decimal(text) => Inferred::DecimalText,
            Value::String(_) => Inferred::Kind(Kind::String),
            Value::Array(_) => Inferred::Kind(Kind::List),
            Value::Object(_) => Inferred::Kind(Kind::Map),
        };
        let (integer, decimal) = (Inferred::Kind(Kind::Integer), Inferred::Kind(Kind::Decimal));
        let text = Inferred::Kind(Kind::String);
        self.0 = match (self.0, found) {
            (Inferred::Nothing, found) => found,
            (known, found) if known == found => known,
            (known, found) if [known, found] == [integer, decimal] => decimal,
            (known, found) if [known, found] == [decimal, integer] => decimal,
            (Inferred::DecimalText, found) if found == text => text,
            (known, Inferred::DecimalText) if known == text => text,
            (_, _) => Inferred::Mixed,
        };
    }

    pub(crate) fn inferred(self) -> Inferred {
        self.0
    }
}

/// A number that is no integer of 64 bits is a decimal, if one has room for it.
fn of_number(number: &Number) -> Inferred {
    if number.is_i64() {
        return Inferred::Kind(Kind::Integer);
    }
    if is_decimal(&number.to_string()) { Inferred::Kind(Kind::Decimal) } else { Inferred::Mixed }
}

/// The kinds of fields by name.
pub(crate) type Kinds = BTreeMap<String, Kind>;

/// The kinds that a schema declares for fields of the record itself.
pub(crate) fn kinds_of_schema(schema: &Map<String, Value>) -> Kinds {
    let kind = |(path, spec): (&String, &Value)| {
        // What a path leads through is a map.
        let kind = match path.split_once('.') {
            Some((name, _)) => return Some((name.to_owned(), Kind::Map)),
            // `KIND`, perhaps with `required` or `indexed` behind it.
            None => spec.as_str()?.split(' ').next()?.parse().ok()?,
        };
        Some((path.clone(), kind))
    };
    schema.iter().filter_map(kind).collect()
}

/// The years that RFC 3339 writes, in ms since 1970: 0000 to 9999.
const FIRST_MS: i64 = -62_167_219_200_000;
const LAST_MS: i64 = 253_402_300_799_999;

/// What a cell of a CSV file becomes.
pub(crate) fn of_cell(name: &str, kind: Kind, cell: &str) -> Result<Value, String> {
    let wrong = || format!("{name} is {cell:?}, expected {kind}");
    match kind {
        Kind::Timestamp => match cell.parse::<i64>() {
            // A moment that no calendar names is exported as its milliseconds. Other numbers count days, or seconds.
            Ok(ms) if (FIRST_MS..=LAST_MS).contains(&ms) => {
                Err(format!("{}, such as 2026-01-31T12:00:00Z", wrong()))
            }
            Ok(ms) => Ok(ms.into()),
            Err(_) => Ok(cell.into()),
        },
        Kind::String | Kind::Text | Kind::Bytes | Kind::Datetime => Ok(cell.into()),
        Kind::Integer | Kind::Counter => cell.parse::<i64>().map(Value::from).map_err(|_| wrong()),
        Kind::Float => match cell.parse::<f64>() {
            Ok(number) if number.is_finite() => Ok(number.into()),
            Ok(_) | Err(_) => Err(wrong()),
        },
        Kind::Boolean => cell.parse::<bool>().map(Value::from).map_err(|_| wrong()),
        Kind::Decimal if is_decimal(cell) => Ok(cell.into()),
        Kind::Decimal => Err(wrong()),
        Kind::List => match serde_json::from_str(cell) {
            Ok(value @ Value::Array(_)) => Ok(value),
            Ok(_) | Err(_) => Err(wrong()),
        },
        Kind::Map => match serde_json::from_str(cell) {
            Ok(value @ Value::Object(_)) => Ok(value),
            Ok(_) | Err(_) => Err(wrong()),
        },
    }
}

/// A field that adds to a counter instead of holding a number.
pub(crate) fn addition(fields: &Map<String, Value>) -> Option<&str> {
    fn adds(value: &Value) -> bool {
        value.as_object().is_some_and(|map| map.contains_key("$inc") || map.values().any(adds))
    }
    fields.iter().find(|(_, value)| adds(value)).map(|(name, _)| name.as_str())
}

/// What a field of a JSON lines file becomes: a decimal may stand there as a number, with all its digits.
pub(crate) fn of_json(kind: Option<Kind>, value: Value) -> Value {
    match (kind, value) {
        (Some(Kind::Decimal), Value::Number(number)) => {
            record::decimal_of(number.as_str()).map_or(Value::Number(number), Value::String)
        }
        (Some(Kind::String | Kind::Text), Value::Number(number)) => number.to_string().into(),
        (Some(Kind::Float), Value::Number(number)) => {
            let nearest = number.as_str().parse().ok().filter(|float: &f64| float.is_finite());
            nearest.map_or(Value::Number(number), Value::from)
        }
        (_, value) => value,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::json;

    use super::*;

    fn kind_of(cells: &[&str]) -> Kind {
        let mut guess = Guess::new();
        cells.iter().for_each(|cell| guess.observe(cell));
        guess.kind()
    }

    #[test]
    fn a_column_is_what_all_its_values_are() {
        for (cells, kind) in [
            (&["7", "-5", "", "0"][..], Kind::Integer),
            (&["9223372036854775807"], Kind::Integer),
            (&["9223372036854775808"], Kind::Decimal),
            (&["7", "007"], Kind::String),
            (&["+7"], Kind::String),
            (&["-0"], Kind::Decimal),
            (&["74.69", "15.28", "76.4", "100"], Kind::Decimal),
            (&["00.5"], Kind::String),
            (&["1e3"], Kind::String),
            (&[".5"], Kind::String),
            (&["1.5", "n/a"], Kind::String),
            (&["true", "false", ""], Kind::Boolean),
            (&["true", "1"], Kind::String),
            (&["True"], Kind::String),
            (&[" 7"], Kind::String),
            (&["+49 30 1234"], Kind::String),
            (&["00501", "10001"], Kind::String),
            (&["2019-01-05"], Kind::String),
            (&["05/01/2019"], Kind::String),
            (&["2019-01-05T10:00:00Z", "2019-01-05T10:00:00.123Z"], Kind::Timestamp),
            (&["2019-01-05T10:00:00.1234Z", "2019-01-05T10:00:00Z"], Kind::Datetime),
            (&["2019-01-05T10:00:00.123456000Z"], Kind::Datetime),
            (&["2019-01-05T10:00:00", "", "2019-01-05T10:00:00.5"], Kind::Datetime),
            (&["2019-01-05T10:00:00", "2019-01-05T10:00:00Z"], Kind::String),
            (&["2019-01-05T10:00:00+01:00"], Kind::String),
            (&["2019-01-05T10:00:00.1234-01:00"], Kind::String),
            (&["2019-01-05 10:00:00.1234"], Kind::String),
            (&["2019-01-05t10:00:00z"], Kind::String),
            (&["2019-01-05T10:00:00.1234567890Z"], Kind::String),
            (&["2019-01-05T10:00"], Kind::String),
            (&["2019-01-05T24:00:00"], Kind::String),
            (&["0000-01-05T10:00:00Z"], Kind::String),
            (&["2019-02-30T10:00:00Z"], Kind::String),
            (&["2016-12-31T23:59:60Z"], Kind::String),
            (&["2019-01-05T10:00:00Z", "soon"], Kind::String),
            (&["", ""], Kind::String),
            (&[], Kind::String),
        ] {
            assert_eq!(kind_of(cells), kind, "{cells:?}");
        }
    }

    #[test]
    fn numbers_are_kept_as_they_are_written() {
        assert_eq!(of_cell("a", Kind::Decimal, "74.690"), Ok(json!("74.690")));
        assert_eq!(of_cell("a", Kind::Integer, "7"), Ok(json!(7)));
        assert_eq!(of_cell("a", Kind::Counter, "7"), Ok(json!(7)));
        assert_eq!(of_cell("a", Kind::Float, "7"), Ok(json!(7.0)));
        assert_eq!(of_cell("a", Kind::List, "[1]"), Ok(json!([1])));
        assert_eq!(of_json(Some(Kind::Decimal), json!(74.69)), json!("74.69"));
        for (kind, cell) in [
            (Kind::Integer, "7.5"),
            (Kind::Boolean, "yes"),
            (Kind::Decimal, "1e3"),
            (Kind::Float, "inf"),
            (Kind::Map, "[]"),
        ] {
            let error = of_cell("price", kind, cell).unwrap_err();
            assert!(error.contains("price") && error.contains(cell), "{error}");
        }
    }

    #[test]
    fn json_says_its_kinds_and_money_is_no_float() {
        let guess = |values: &str| {
            let values: Vec<Value> = serde_json::from_str(values).unwrap();
            let mut guess = JsonGuess::default();
            values.iter().for_each(|value| guess.observe(value));
            guess.inferred()
        };
        for (values, inferred) in [
            ("[1, null]", Inferred::Kind(Kind::Integer)),
            ("[1, 1.10, 2]", Inferred::Kind(Kind::Decimal)),
            ("[1.5, 1]", Inferred::Kind(Kind::Decimal)),
            ("[1, 18446744073709551616]", Inferred::Kind(Kind::Decimal)),
            ("[1e400]", Inferred::Mixed),
            ("[1, \"1\"]", Inferred::Mixed),
            ("[\"1.50\", \"2\"]", Inferred::DecimalText),
            ("[\"1.50\", \"n/a\", \"2\"]", Inferred::Kind(Kind::String)),
            ("[\"007\"]", Inferred::Kind(Kind::String)),
            ("[[1]]", Inferred::Kind(Kind::List)),
            ("[null]", Inferred::Nothing),
        ] {
            assert_eq!(guess(values), inferred, "{values}");
        }
    }

    #[test]
    fn a_schema_tells_kinds() {
        let schema = json!({
            "price": "decimal required", "stock": "counter", "odd": 1, "address.city": "string",
        });
        let kinds = kinds_of_schema(schema.as_object().unwrap());
        let expected = [("price", Kind::Decimal), ("stock", Kind::Counter), ("address", Kind::Map)];
        let expected = expected.map(|(name, kind)| (name.to_owned(), kind));
        assert_eq!(kinds, Kinds::from(expected));
    }
}
