//! What an event holds, and when two of them are the same.

use serde_json::{Map, Value as Json};

use super::limits::VALUE_BYTES_MAX;
use super::value::Value;
use super::view::{Conflict, View};

/// Greatest length of an event's type and of the id of its aggregate, in bytes: that of a record's id.
pub const EVENT_NAME_BYTES_MAX: usize = super::limits::RECORD_ID_BYTES_MAX;

/// The fields of an event beside its id, in the order in which they are written.
pub(crate) const AGGREGATE_ID: &str = "aggregate_id";
pub(crate) const DATA: &str = "data";
pub(crate) const METADATA: &str = "metadata";
pub(crate) const TYPE: &str = "type";
/// The id may stand among the fields, as it does in files.
const ID: &str = "id";

/// Why something is not written to a collection of events.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EventFault {
    /// There is another event of that id.
    #[error(
        "another event with this id is stored already, and events never change: store the new one under an id of its own"
    )]
    Exists,
    /// An event was to be edited.
    #[error(
        "events never change: store another event that says what is different, under an id of its own"
    )]
    Edited,
    /// An event was to be deleted, or to come back.
    #[error("events are never deleted: store another event that says so, under an id of its own")]
    Deleted,
    /// A document was to be taken in.
    #[error("events are not taken from Automerge documents: store them as events")]
    Document,
    /// There is a field that events do not have.
    #[error("{field:?} is not a field of an event: expected type, aggregate_id, data and metadata")]
    Field {
        /// The field.
        field: String,
    },
    /// A field is missing.
    #[error("the event has no {field}")]
    Missing {
        /// The field.
        field: &'static str,
    },
    /// The type or the id of the aggregate is no name.
    #[error("{field} is {found}, expected a text of 1 to {EVENT_NAME_BYTES_MAX} bytes")]
    Name {
        /// The field.
        field: &'static str,
        /// What was found, at most its beginning.
        found: String,
    },
    /// The id among the fields is another than that of the record.
    #[error("the field id is {found}, the event is stored as {expected:?}")]
    Id {
        /// What was found, at most its beginning.
        found: String,
        /// The event's id.
        expected: String,
    },
    /// Data or metadata are a text that is no JSON.
    #[error(
        "{field} is the text {found}, which is not JSON: expected JSON itself, or JSON as text (a text in quotes of its own)"
    )]
    NotJson {
        /// The field.
        field: &'static str,
        /// What was found, at most its beginning.
        found: String,
    },
    /// Data or metadata are too large.
    #[error("{field} has {found} bytes as JSON, at most {VALUE_BYTES_MAX} fit")]
    TooLarge {
        /// The field.
        field: &'static str,
        /// Its size in bytes.
        found: usize,
    },
}

/// The fields of an event as they are stored: all of them, in one order, data and metadata as JSON text. So the first
/// changes of two sites that write one id apart have the same shape, and one of them is shown as a whole.
///
/// # Errors
/// [`EventFault`] for the first field that is not as it has to be.
pub fn event_fields(id: &str, fields: &Map<String, Json>) -> Result<Map<String, Json>, EventFault> {
    for (field, value) in fields {
        match field.as_str() {
            AGGREGATE_ID | DATA | METADATA | TYPE => {}
            ID if value.as_str() == Some(id) => {}
            ID => {
                return Err(EventFault::Id { found: beginning(value), expected: id.to_owned() });
            }
            _ => return Err(EventFault::Field { field: beginning(&field.as_str().into()) }),
        }
    }
    let mut stored = Map::new();
    stored.insert(AGGREGATE_ID.to_owned(), name(AGGREGATE_ID, fields.get(AGGREGATE_ID))?);
    let data = fields.get(DATA).ok_or(EventFault::Missing { field: DATA })?;
    stored.insert(DATA.to_owned(), json_text(DATA, data)?);
    let metadata = match fields.get(METADATA) {
        None | Some(Json::Null) => Json::Null,
        Some(metadata) => json_text(METADATA, metadata)?,
    };
    stored.insert(METADATA.to_owned(), metadata);
    stored.insert(TYPE.to_owned(), name(TYPE, fields.get(TYPE))?);
    Ok(stored)
}

fn name(field: &'static str, value: Option<&Json>) -> Result<Json, EventFault> {
    match value {
        None | Some(Json::Null) => Err(EventFault::Missing { field }),
        Some(Json::String(text)) if (1..=EVENT_NAME_BYTES_MAX).contains(&text.len()) => {
            Ok(text.as_str().into())
        }
        Some(value) => Err(EventFault::Name { field, found: beginning(value) }),
    }
}

fn json_text(field: &'static str, value: &Json) -> Result<Json, EventFault> {
    let text = match value {
        Json::String(text) if serde_json::from_str::<Json>(text).is_ok() => text.clone(),
        Json::String(_) => return Err(EventFault::NotJson { field, found: beginning(value) }),
        value => value.to_string(),
    };
    match text.len() {
        found if found > VALUE_BYTES_MAX => Err(EventFault::TooLarge { field, found }),
        _ => Ok(text.into()),
    }
}

/// At most the first characters of a value.
fn beginning(value: &Json) -> String {
    value.to_string().chars().take(80).collect()
}

/// Whether an event that is stored is the one with these fields, which [`event_fields`] made; or one of those that were
/// stored under its id apart from each other.
pub(crate) fn is_event(shown: &View, fields: &Map<String, Json>) -> bool {
    let conflicts = shown.conflicts.iter();
    let actors = conflicts.flat_map(|conflict| &conflict.values).map(|value| Some(value.actor));
    std::iter::once(None).chain(actors).any(|actor| is_first(shown, actor, fields))
}

/// As [`is_event`], of what one actor wrote; `None`: of what is shown.
fn is_first(shown: &View, actor: Option<[u8; 16]>, fields: &Map<String, Json>) -> bool {
    fields.iter().all(|(field, json)| {
        let conflict = shown.conflicts.iter().find(|conflict| conflict.path == *field);
        let value = match (conflict, actor) {
            (Some(conflict), Some(actor)) => by(conflict, actor),
            (Some(_) | None, _) => shown.fields.get(field),
        };
        is_same(value, json)
    })
}

fn by(conflict: &Conflict, actor: [u8; 16]) -> Option<&Value> {
    conflict.values.iter().find(|value| value.actor == actor).map(|value| &value.value)
}

/// Data that is written otherwise is the same if it is the same JSON.
fn is_same(value: Option<&Value>, json: &Json) -> bool {
    match (value, json) {
        (None | Some(Value::Null), Json::Null) => true,
        (Some(Value::Str(stored)), Json::String(text)) => {
            let read = |text: &str| serde_json::from_str::<Json>(text).ok();
            stored == text || read(stored).is_some_and(|stored| read(text) == Some(stored))
        }
        (_, _) => false,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::json;

    use super::*;

    fn fields(json: &Json) -> Result<Map<String, Json>, EventFault> {
        event_fields("e1", json.as_object().unwrap())
    }

    #[test]
    fn an_event_is_stored_with_all_its_fields_and_every_digit() {
        let data: Json =
            serde_json::from_str(r#"{"amount":12.50,"n":123456789012345678901}"#).unwrap();
        let event = json!({"type": "paid", "data": data, "aggregate_id": "order 7", "id": "e1"});
        let stored = fields(&event).unwrap();
        let names: Vec<_> = stored.keys().map(String::as_str).collect();
        assert_eq!(names, ["aggregate_id", "data", "metadata", "type"]);
        assert_eq!(stored["data"], r#"{"amount":12.50,"n":123456789012345678901}"#);
        // What was stored is stored again as it is.
        assert_eq!(fields(&Json::Object(stored.clone())).unwrap(), stored);
    }

    #[test]
    fn what_is_no_event_is_refused_by_the_field_that_is_wrong() {
        for (event, expected) in [
            (json!({"type": "t", "aggregate_id": "a"}), "no data"),
            (json!({"type": "t", "data": 1}), "no aggregate_id"),
            (json!({"type": "", "aggregate_id": "a", "data": 1}), "type is \"\""),
            (json!({"type": "t", "aggregate_id": 7, "data": 1}), "aggregate_id is 7"),
            (json!({"type": "t", "aggregate_id": "a", "data": "x"}), "not JSON"),
            (json!({"type": "t", "aggregate_id": "a", "data": 1, "shop": 1}), "\"\\\"shop"),
            (json!({"type": "t", "aggregate_id": "a", "data": 1, "id": "e2"}), "e2"),
        ] {
            let error = fields(&event).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
    }
}
