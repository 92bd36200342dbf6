//! What a JSON value means in a field.

use data_encoding::BASE64;
use serde_json::{Map, Number, Value as Json};

use super::error::EditError;
use super::fields::Path;
use crate::record::history::Content;
use crate::record::kind::Kind;
use crate::record::operation::Shape;
use crate::record::value::{Value, is_decimal, timestamp_from_text};

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
                shown.len() == to.len() && shown.iter().zip(*to).all(|(a, b)| a.to_json() == *b)
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
    shown: Option<&Content>,
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
    let amount = fields.get(INCREMENT).and_then(Json::as_i64);
    match amount.filter(|_| fields.len() == 1) {
        Some(amount) => Ok(Some(amount)),
        None => Err(EditError::Increment { path: path.dotted() }),
    }
}

/// Refuses a record that is an increment: only a field can be one.
pub(super) fn check_no_increment(record: &Map<String, Json>) -> Result<(), EditError> {
    match record.contains_key(INCREMENT) {
        true => Err(EditError::Increment { path: INCREMENT.to_owned() }),
        false => Ok(()),
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
        Json::Number(n) if n.is_f64() => "float",
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
    let register = match (kind, json) {
        (Kind::Counter, Json::Number(n)) if !n.is_f64() => {
            return Ok(Wanted::Counter(integer(n, path)?));
        }
        (Kind::Text, Json::String(s)) => return Ok(Wanted::Text(s)),
        (Kind::List, Json::Array(items)) => return Ok(Wanted::List(items)),
        (Kind::Map, Json::Object(fields)) => return Ok(Wanted::Map(fields)),
        (Kind::String, Json::String(s)) => Value::Str(s.clone()),
        (Kind::Integer, Json::Number(n)) if !n.is_f64() => Value::Int(integer(n, path)?),
        (Kind::Float, Json::Number(n)) => Value::Float(n.as_f64().ok_or_else(wrong_kind)?),
        (Kind::Boolean, Json::Bool(b)) => Value::Bool(*b),
        (Kind::Timestamp, Json::String(s)) => Value::Timestamp(
            timestamp_from_text(s)
                .ok_or_else(|| form("an RFC 3339 timestamp like \"2026-01-31T12:00:00Z\""))?,
        ),
        (Kind::Timestamp, Json::Number(n)) if !n.is_f64() => Value::Timestamp(integer(n, path)?),
        (Kind::Bytes, Json::String(s)) => Value::Bytes(
            BASE64.decode(s.as_bytes()).map_err(|_| form("standard base64 with padding"))?,
        ),
        (Kind::Decimal, Json::String(_) | Json::Number(_)) => {
            let text = match json {
                Json::String(s) => s.clone(),
                other => other.to_string(),
            };
            if !is_decimal(&text) {
                return Err(form("a decimal like \"-12.50\" of at most 38 digits"));
            }
            Value::Str(text)
        }
        (
            Kind::String
            | Kind::Integer
            | Kind::Float
            | Kind::Boolean
            | Kind::Timestamp
            | Kind::Bytes
            | Kind::Decimal
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
fn like_shown<'a>(shown: &Content, json: &'a Json) -> Option<Wanted<'a>> {
    Some(match (shown, json) {
        (Content::Counter(_), Json::Number(n)) => Wanted::Counter(n.as_i64()?),
        (Content::Object(Shape::Text), Json::String(s)) => Wanted::Text(s),
        (Content::Register(Value::Timestamp(_)), Json::String(s)) => {
            Wanted::Register(Value::Timestamp(timestamp_from_text(s)?))
        }
        (Content::Register(Value::Timestamp(_)), Json::Number(n)) => {
            Wanted::Register(Value::Timestamp(n.as_i64()?))
        }
        (Content::Register(Value::Bytes(_)), Json::String(s)) => {
            Wanted::Register(Value::Bytes(BASE64.decode(s.as_bytes()).ok()?))
        }
        (Content::Register(Value::Float(_)), Json::Number(n)) => {
            Wanted::Register(Value::Float(n.as_f64()?))
        }
        (Content::Counter(_) | Content::Object(_) | Content::Register(_), _) => return None,
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

fn number(n: &Number, path: Path<'_>) -> Result<Value, EditError> {
    match n.as_f64().filter(|_| n.is_f64()) {
        Some(float) => Ok(Value::Float(float)),
        None => Ok(Value::Int(integer(n, path)?)),
    }
}

fn integer(n: &Number, path: Path<'_>) -> Result<i64, EditError> {
    n.as_i64().ok_or_else(|| EditError::IntegerRange { path: path.dotted(), found: n.to_string() })
}

fn shown_part(json: &Json) -> String {
    let text = match json {
        Json::String(s) => s.clone(),
        other => other.to_string(),
    };
    text.chars().take(SHOWN_CHARACTERS).collect()
}
