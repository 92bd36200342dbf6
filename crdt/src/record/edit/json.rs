//! What a JSON value means in a field.

use data_encoding::BASE64;
use serde_json::{Map, Number, Value as Json};

use super::error::EditError;
use super::path::Path;
use crate::record::change::operation::Shape;
use crate::record::history::HistoryContent;
use crate::record::schema::kind::Kind;
use crate::record::value::{Value, timestamp_from_text};
use crate::record::written::{
    DECIMAL_FORM, Whole, decimal_of, exact_float, nearest_float, of_text, whole,
};

/// What a field shall hold.
#[derive(Debug)]
pub(super) enum Wanted<'a> {
    Register(Value),
    Counter(i64),
    Text(&'a str),
    List(&'a [Json]),
    Map(&'a Map<String, Json>),
}

impl Wanted<'_> {
    /// Whether a field that shows this value holds it already; the fields of a map are looked at one by one.
    pub(super) fn is_shown_as(&self, shown: &Value) -> bool {
        match (shown, self) {
            (Value::Counter(shown), Wanted::Counter(to)) => shown == to,
            (Value::Text(shown), Wanted::Text(to)) => shown == to,
            (Value::List(shown), Wanted::List(to)) => {
                shown.len() == to.len()
                    && shown.iter().zip(*to).all(|(a, b)| a.to_json() == as_kept(b))
            }
            (shown, Wanted::Register(to)) => shown == to,
            (_, Wanted::Counter(_) | Wanted::Text(_) | Wanted::List(_) | Wanted::Map(_)) => false,
        }
    }
}

/// The key of the object that stands for an increment.
const INCREMENT: &str = "$inc";
/// How much of a bad value an error shows, in characters.
const SHOWN_CHARACTERS: usize = 64;

/// What a JSON value other than null means in a field of the declared kind, or else in one that
/// holds `shown`, or else by itself.
pub(super) fn wanted<'a>(
    declared: Option<Kind>,
    shown: Option<&HistoryContent>,
    json: &'a Json,
    path: Path<'_>,
) -> Result<Wanted<'a>, EditError> {
    match declared {
        Some(kind) => declared_value(kind, json, path),
        None => match shown.and_then(|shown| like_shown(shown, json)) {
            Some(wanted) => Ok(wanted),
            None => by_type(json, path),
        },
    }
}

/// The amount of `{"$inc": n}`, `None` if the value is no increment.
pub(super) fn increment(json: &Json, path: Path<'_>) -> Result<Option<i64>, EditError> {
    let Some(fields) = json.as_object().filter(|fields| fields.contains_key(INCREMENT)) else {
        return Ok(None);
    };
    let wrong = || EditError::Increment { path: path.dotted() };
    match fields.get(INCREMENT) {
        Some(Json::Number(n)) if fields.len() == 1 => integer(n, path, wrong).map(Some),
        Some(_) | None => Err(wrong()),
    }
}

/// Refuses a record that is an increment: only a field can be one.
pub(super) fn check_no_increment(record: &Map<String, Json>) -> Result<(), EditError> {
    if record.contains_key(INCREMENT) {
        Err(EditError::Increment { path: INCREMENT.to_owned() })
    } else {
        Ok(())
    }
}

/// Whether there are increments in the fields below.
pub(super) fn has_increment(fields: &Map<String, Json>) -> bool {
    fields
        .values()
        .filter_map(Json::as_object)
        .any(|inner| inner.contains_key(INCREMENT) || has_increment(inner))
}

/// A value that is no list and no map, by its JSON type alone. `None` for those.
pub(super) fn plain(json: &Json, path: Path<'_>) -> Result<Option<Value>, EditError> {
    Ok(Some(match json {
        Json::Null => Value::Null,
        Json::Bool(b) => Value::Bool(*b),
        Json::Number(n) => number(n, path)?,
        Json::String(s) => Value::Str(s.clone()),
        Json::Array(_) | Json::Object(_) => return Ok(None),
    }))
}

/// The name of a JSON value's kind.
pub(super) fn kind_name(json: &Json) -> &'static str {
    match json {
        Json::Null => "null",
        Json::Bool(_) => "boolean",
        Json::Number(n) if has_fraction(n) => "float",
        Json::Number(_) => "integer",
        Json::String(_) => "string",
        Json::Array(_) => "list",
        Json::Object(_) => "map",
    }
}

fn declared_value<'a>(kind: Kind, json: &'a Json, path: Path<'_>) -> Result<Wanted<'a>, EditError> {
    let form = |form: &'static str| EditError::Form {
        path: path.dotted(),
        expected: kind,
        found: shown_part(json),
        form,
    };
    let wrong_kind = || EditError::WrongKind {
        path: path.dotted(),
        expected: kind.as_str(),
        found: kind_name(json),
    };
    if let Json::String(text) = json
        && let Some(read) = of_text(kind, text)
    {
        return Ok(Wanted::Register(read.map_err(form)?));
    }
    let register = match (kind, json) {
        (Kind::Counter, Json::Number(n)) => {
            return Ok(Wanted::Counter(integer(n, path, wrong_kind)?));
        }
        (Kind::Text, Json::String(s)) => return Ok(Wanted::Text(s)),
        (Kind::List, Json::Array(items)) => return Ok(Wanted::List(items)),
        (Kind::Map, Json::Object(fields)) => return Ok(Wanted::Map(fields)),
        (Kind::Integer, Json::Number(n)) => Value::Int(integer(n, path, wrong_kind)?),
        (Kind::Float, Json::Number(n)) => {
            Value::Float(nearest_float(n.as_str()).ok_or_else(|| EditError::FloatRange {
                path: path.dotted(),
                found: shown_part(json),
            })?)
        }
        (Kind::Boolean, Json::Bool(b)) => Value::Bool(*b),
        (Kind::Timestamp, Json::Number(n)) => Value::Timestamp(integer(n, path, wrong_kind)?),
        (Kind::Bytes, Json::String(s)) => Value::Bytes(
            BASE64.decode(s.as_bytes()).map_err(|_| form("standard base64 with padding"))?,
        ),
        (Kind::Decimal, Json::Number(n)) => {
            Value::Str(decimal_of(n.as_str()).ok_or_else(|| form(DECIMAL_FORM))?)
        }
        (
            Kind::String
            | Kind::Integer
            | Kind::Float
            | Kind::Boolean
            | Kind::Timestamp
            | Kind::Bytes
            | Kind::Decimal
            | Kind::Datetime
            | Kind::Counter
            | Kind::Text
            | Kind::List
            | Kind::Map,
            _,
        ) => return Err(wrong_kind()),
    };
    Ok(Wanted::Register(register))
}

/// What JSON means in a field without declaration that holds a value of the same kind, so that
/// writing back what was read changes nothing. `None` if it is of another kind.
fn like_shown<'a>(shown: &HistoryContent, json: &'a Json) -> Option<Wanted<'a>> {
    Some(match (shown, json) {
        (HistoryContent::Counter(_), Json::Number(n)) => Wanted::Counter(fitting_integer(n)?),
        (HistoryContent::Object(Shape::Text), Json::String(s)) => Wanted::Text(s),
        (HistoryContent::Register(Value::Timestamp(_)), Json::String(s)) => {
            Wanted::Register(Value::Timestamp(timestamp_from_text(s)?))
        }
        (HistoryContent::Register(Value::Timestamp(_)), Json::Number(n)) => {
            Wanted::Register(Value::Timestamp(fitting_integer(n)?))
        }
        (HistoryContent::Register(Value::Bytes(_)), Json::String(s)) => {
            Wanted::Register(Value::Bytes(BASE64.decode(s.as_bytes()).ok()?))
        }
        (HistoryContent::Register(Value::Float(_)), Json::Number(n)) => {
            Wanted::Register(Value::Float(exact_float(n.as_str())?))
        }
        (
            HistoryContent::Counter(_) | HistoryContent::Object(_) | HistoryContent::Register(_),
            _,
        ) => return None,
    })
}

fn by_type<'a>(json: &'a Json, path: Path<'_>) -> Result<Wanted<'a>, EditError> {
    Ok(match json {
        Json::Array(items) => Wanted::List(items),
        Json::Object(fields) => Wanted::Map(fields),
        Json::Null | Json::Bool(_) | Json::Number(_) | Json::String(_) => {
            Wanted::Register(plain(json, path)?.unwrap_or(Value::Null))
        }
    })
}

/// A JSON value as it is shown once it is kept by its JSON type, so that it can be compared with what is there.
pub(super) fn as_kept(json: &Json) -> Json {
    match json {
        Json::Number(n) => kept_number(n).map_or_else(|| json.clone(), Value::into_json),
        Json::Array(items) => items.iter().map(as_kept).collect(),
        Json::Object(fields) => {
            let kept = fields.iter().map(|(name, json)| (name.clone(), as_kept(json)));
            Json::Object(kept.collect())
        }
        Json::Null | Json::Bool(_) | Json::String(_) => json.clone(),
    }
}

/// What a number is kept as where nothing else is known: an integer, or where it is written with a fraction or a power
/// of ten a float. `None`: that would change it.
fn kept_number(n: &Number) -> Option<Value> {
    if has_fraction(n) {
        exact_float(n.as_str()).map(Value::Float)
    } else {
        fitting_integer(n).map(Value::Int)
    }
}

fn number(n: &Number, path: Path<'_>) -> Result<Value, EditError> {
    kept_number(n).ok_or_else(|| {
        let (path, found) = (path.dotted(), shown_number(n));
        if has_fraction(n) {
            EditError::Digits { path, found }
        } else {
            EditError::IntegerRange { path, found }
        }
    })
}

fn has_fraction(n: &Number) -> bool {
    n.as_str().contains(['.', 'e', 'E'])
}

fn fitting_integer(n: &Number) -> Option<i64> {
    match whole(n.as_str()) {
        Whole::Is(integer) => Some(integer),
        Whole::TooLarge | Whole::Broken => None,
    }
}

/// A number as an integer, or `broken` if it has a fraction.
fn integer(n: &Number, path: Path<'_>, broken: impl Fn() -> EditError) -> Result<i64, EditError> {
    match whole(n.as_str()) {
        Whole::Is(integer) => Ok(integer),
        Whole::TooLarge => {
            Err(EditError::IntegerRange { path: path.dotted(), found: shown_number(n) })
        }
        Whole::Broken => Err(broken()),
    }
}

fn shown_number(n: &Number) -> String {
    n.as_str().chars().take(SHOWN_CHARACTERS).collect()
}

fn shown_part(json: &Json) -> String {
    let text = match json {
        Json::String(s) => s.clone(),
        other => other.to_string(),
    };
    text.chars().take(SHOWN_CHARACTERS).collect()
}
