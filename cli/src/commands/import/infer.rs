//! Which kinds the columns of a file have, and what a cell becomes.

use std::collections::BTreeMap;

use branchline_crdt::record::{self, Kind};
use serde_json::{Map, Value};

/// What all values of one column have in common so far.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Guess {
    any: bool,
    integer: bool,
    boolean: bool,
    decimal: bool,
}

impl Guess {
    pub(crate) fn new() -> Self {
        Self { any: false, integer: true, boolean: true, decimal: true }
    }

    /// Takes one cell into account; empty ones say nothing.
    pub(crate) fn observe(&mut self, cell: &str) {
        if cell.is_empty() {
            return;
        }
        self.any = true;
        self.integer &= is_integer(cell);
        self.boolean &= matches!(cell, "true" | "false");
        self.decimal &= is_plain_decimal(cell);
    }

    /// The kind that holds every value exactly.
    pub(crate) fn kind(self) -> Kind {
        match self {
            Self { any: false, .. } => Kind::String,
            Self { integer: true, .. } => Kind::Integer,
            Self { boolean: true, .. } => Kind::Boolean,
            Self { decimal: true, .. } => Kind::Decimal,
            Self { .. } => Kind::String,
        }
    }
}

/// Whether reading the text as a number and writing it again gives the same text.
fn is_integer(text: &str) -> bool {
    text.parse::<i64>().is_ok_and(|number| number.to_string() == text)
}

/// `74.69`, `-0.5`, `100`: digits with at most one point between them, and no zeros that a number would lose.
fn is_plain_decimal(text: &str) -> bool {
    let unsigned = text.strip_prefix('-').unwrap_or(text);
    let whole = unsigned.split('.').next().unwrap_or_default();
    let leading_zero = whole.len() > 1 && whole.starts_with('0');
    !leading_zero && is_decimal(text)
}

fn is_decimal(text: &str) -> bool {
    Kind::Decimal.accepts(&record::Value::Str(text.to_owned()))
}

/// What a field of a JSON lines file holds in all its lines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum JsonGuess {
    /// Nothing but null so far.
    #[default]
    Nothing,
    /// This kind.
    Kind(Kind),
    /// Several kinds: the schema leaves the field out.
    Mixed,
}

impl JsonGuess {
    pub(crate) fn observe(&mut self, value: &Value) {
        let kind = match value {
            Value::Null => return,
            Value::Bool(_) => Kind::Boolean,
            Value::Number(number) if number.is_i64() => Kind::Integer,
            Value::Number(_) => Kind::Float,
            Value::String(_) => Kind::String,
            Value::Array(_) => Kind::List,
            Value::Object(_) => Kind::Map,
        };
        *self = match *self {
            Self::Nothing => Self::Kind(kind),
            Self::Kind(Kind::Integer | Kind::Float) if kind == Kind::Float => Self::Kind(kind),
            Self::Kind(Kind::Float) if kind == Kind::Integer => *self,
            Self::Kind(known) if known == kind => *self,
            Self::Kind(_) | Self::Mixed => Self::Mixed,
        };
    }

    pub(crate) fn kind(self) -> Option<Kind> {
        match self {
            Self::Kind(kind) => Some(kind),
            Self::Nothing | Self::Mixed => None,
        }
    }
}

/// The kinds of fields by name.
pub(crate) type Kinds = BTreeMap<String, Kind>;

/// The kinds that a schema declares for fields of the record itself.
pub(crate) fn kinds_of_schema(schema: &Map<String, Value>) -> Kinds {
    let kind = |(name, spec): (&String, &Value)| {
        // `KIND`, perhaps with `required` or `indexed` behind it.
        let kind = spec.as_str()?.split(' ').next()?.parse().ok()?;
        Some((name.clone(), kind))
    };
    schema.iter().filter_map(kind).collect()
}

/// What a cell of a CSV file becomes.
pub(crate) fn of_cell(name: &str, kind: Kind, cell: &str) -> Result<Value, String> {
    let wrong = || format!("{name} is {cell:?}, expected {kind}");
    match kind {
        Kind::String | Kind::Text | Kind::Timestamp | Kind::Bytes => Ok(cell.into()),
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

/// What a field of a JSON lines file becomes: a decimal may stand there as a number, with all its digits.
pub(crate) fn of_json(kind: Option<Kind>, value: Value) -> Value {
    match (kind, value) {
        (Some(Kind::Decimal), Value::Number(number)) => {
            record::decimal_of(number.as_str()).map_or(Value::Number(number), Value::String)
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
            (&["2019-01-05"], Kind::String),
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
    fn json_fields_of_several_kinds_are_left_out() {
        let guess = |values: &[Value]| {
            let mut guess = JsonGuess::default();
            values.iter().for_each(|value| guess.observe(value));
            guess.kind()
        };
        assert_eq!(guess(&[json!(1), json!(null)]), Some(Kind::Integer));
        assert_eq!(guess(&[json!(1), json!(1.5), json!(2)]), Some(Kind::Float));
        assert_eq!(guess(&[json!(1), json!("1")]), None);
        assert_eq!(guess(&[json!(null)]), None);
    }

    #[test]
    fn a_schema_tells_kinds() {
        let schema = json!({"price": "decimal required", "stock": "counter", "odd": 1});
        let kinds = kinds_of_schema(schema.as_object().unwrap());
        let expected = [("price".to_owned(), Kind::Decimal), ("stock".to_owned(), Kind::Counter)];
        assert_eq!(kinds, Kinds::from(expected));
    }
}
