//! Schemas of collections of events: the mark, and what such a collection declares.

use std::collections::BTreeMap;

use serde_json::{Map, Value as Json};

use super::{Schema, SchemaError, Value, read_spec};

/// The field of a schema's record that says so.
pub(super) const MARK: &str = "events";
/// Its text. It stands where a kind would, so that programs which do not know it take it for a kind of a newer program.
const APPEND_ONLY: &str = "append-only";

/// What a collection of events declares: that an event has no more, and may lack no more than its metadata. Data and
/// metadata are JSON as text, which keeps every digit and is in conflict as a whole.
const DECLARED: [(&str, &str); 4] = [
    ("aggregate_id", "string required indexed"),
    ("data", "string required"),
    ("metadata", "string"),
    ("type", "string required"),
];

/// Whether a field of a schema's record is the mark.
pub(super) fn is_mark(path: &str, value: &Value) -> bool {
    path == MARK && matches!(value, Value::Str(text) if text == APPEND_ONLY)
}

/// Whether the fields of a schema's record have the mark.
pub(super) fn are_marked(fields: &BTreeMap<String, Value>) -> bool {
    fields.get(MARK).is_some_and(|value| is_mark(MARK, value))
}

impl Schema {
    /// Whether the collection is one of events: what is written there stays as it is.
    #[must_use]
    pub fn is_of_events(&self) -> bool {
        self.events
    }

    /// The fields of a schema's record as somebody wrote them. Of a collection of events: with the mark as it is stored,
    /// and with every declaration that was left out.
    #[must_use]
    pub fn completed(mut fields: Map<String, Json>) -> Map<String, Json> {
        let is_marked = match fields.get(MARK) {
            Some(Json::Bool(is_marked)) => *is_marked,
            Some(Json::String(text)) => text == APPEND_ONLY,
            Some(Json::Null | Json::Number(_) | Json::Array(_) | Json::Object(_)) | None => false,
        };
        if fields.get(MARK) == Some(&Json::Bool(false)) {
            fields.shift_remove(MARK);
        }
        if is_marked {
            fields.insert(MARK.to_owned(), APPEND_ONLY.into());
            for (path, declaration) in DECLARED {
                fields.entry(path).or_insert_with(|| declaration.into());
            }
        }
        fields
    }

    /// The mark, as it is stored.
    pub(super) fn events_mark(&self) -> Option<(String, Value)> {
        self.events.then(|| (MARK.to_owned(), Value::Str(APPEND_ONLY.to_owned())))
    }

    /// Checks that the fields of events are declared, and no others.
    pub(super) fn check_events(&self) -> Result<(), SchemaError> {
        for (path, expected) in DECLARED {
            let needed = read_spec(path, &Value::Str(expected.to_owned()))?;
            let found = self.fields.get(path);
            if found != Some(&needed) {
                let found = match found.map(|spec| spec.to_value()) {
                    Some(Value::Str(text)) => text,
                    Some(_) | None => String::new(),
                };
                return Err(SchemaError::EventField { path: path.to_owned(), found, expected });
            }
        }
        let is_known = |path: &String| DECLARED.iter().any(|(known, _)| known == path);
        match self.fields.keys().find(|path| !is_known(path)) {
            Some(path) => Err(SchemaError::NoEventField { path: path.clone() }),
            None => Ok(()),
        }
    }
}
