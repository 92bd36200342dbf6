//! What becomes of one object's record.

use branchline_node::records::{Edit, RecordEdit, Value, View, fields_into_json};
use jiff::Timestamp;
use serde_json::{Map, Value as Json, json};

use super::history::written;
use super::spool::Spooled;
use crate::jobs::digest::digest;
use crate::jobs::tenure::text;

/// The run that compares.
#[derive(Clone, Copy, Debug)]
pub(super) struct Version {
    /// Its number.
    pub(super) number: u64,
    /// When it began.
    pub(super) started: Timestamp,
}

impl Version {
    /// Whether this run has changed a record last: one that writes its parts may be broken off between them.
    pub(super) fn has_changed(self, view: &View) -> bool {
        let number = i64::try_from(self.number).unwrap_or(i64::MAX);
        let version = view.fields.get("sync_version");
        self.number > 0 && matches!(version, Some(Value::Int(found)) if *found == number)
    }
}

/// A record's state, as far as the source is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Status {
    /// The provider has it.
    Active,
    /// A full run did not list it.
    Inactive,
    /// The provider has said that it is deleted.
    Deleted,
}

impl Status {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Inactive => "inactive",
            Self::Deleted => "deleted",
        }
    }

    /// That of a record.
    pub(super) fn of(view: &View) -> Self {
        match text(view, "status") {
            Some("inactive") => Self::Inactive,
            Some("deleted") => Self::Deleted,
            Some(_) | None => Self::Active,
        }
    }
}

/// What a listed object makes of its record; `None`: it is as it should be.
pub(super) fn of_object(
    object: &Spooled,
    view: Option<&View>,
    version: Version,
) -> Option<Map<String, Json>> {
    let now = written(version.started);
    let updated_at = object.updated_at.clone().unwrap_or_else(|| now.clone());
    let Some(view) = view.filter(|view| !view.deleted) else {
        let mut fields = object.fields.clone();
        fields.insert("external_id".to_owned(), json!(object.id));
        fields.insert("created_at".to_owned(), json!(now));
        extend(&mut fields, object, Status::Active, updated_at, &now, version);
        return Some(fields);
    };
    let status = match Status::of(view) {
        Status::Deleted if !is_later(object, view) => return None,
        Status::Active | Status::Inactive | Status::Deleted => Status::Active,
    };
    let is_same = Status::of(view) == status
        && is_same_json(text(view, "data").unwrap_or_default(), &object.data)
        && has_same_fields(object, view);
    if is_same {
        return None;
    }
    let mut fields = object.fields.clone();
    extend(&mut fields, object, status, updated_at, &now, version);
    Some(fields)
}

/// What becomes of the record of an object that is gone.
pub(super) fn of_gone(status: Status, version: Version) -> Map<String, Json> {
    let mut fields = Map::new();
    fields.insert("status".to_owned(), json!(status.as_str()));
    fields.insert("last_synced_at".to_owned(), json!(written(version.started)));
    fields.insert("sync_version".to_owned(), json!(version.number));
    fields
}

/// The edit that makes of a record what was found.
pub(super) fn edit(collection: &str, id: &str, fields: Map<String, Json>) -> RecordEdit {
    RecordEdit::new(collection, id, Edit::Merge { patch: fields, create: true })
}

/// Whether an object is later than what its record knows of it: one that was deleted is there again.
pub(super) fn is_later(object: &Spooled, view: &View) -> bool {
    let known = text(view, "last_updated_at").unwrap_or_default();
    match &object.updated_at {
        Some(updated_at) => is_later_time(updated_at, known),
        None => false,
    }
}

fn extend(
    fields: &mut Map<String, Json>,
    object: &Spooled,
    status: Status,
    updated_at: String,
    now: &str,
    version: Version,
) {
    fields.insert("data".to_owned(), json!(object.data));
    fields.insert("status".to_owned(), json!(status.as_str()));
    fields.insert("last_updated_at".to_owned(), json!(updated_at));
    fields.insert("last_synced_at".to_owned(), json!(now));
    fields.insert("sync_version".to_owned(), json!(version.number));
}

/// Times of one provider, as it writes them: as moments where both are, as numbers where both are, else as text.
fn is_later_time(one: &str, other: &str) -> bool {
    if let (Ok(one), Ok(other)) = (one.parse::<Timestamp>(), other.parse::<Timestamp>()) {
        return one > other;
    }
    if let (Ok(one), Ok(other)) = (one.parse::<i128>(), other.parse::<i128>()) {
        return one > other;
    }
    one > other
}

fn is_same_json(one: &str, other: &str) -> bool {
    if one == other {
        return true;
    }
    let parsed = |text: &str| serde_json::from_str::<Json>(text).ok();
    match (parsed(one), parsed(other)) {
        (Some(one), Some(other)) => digest(&one) == digest(&other),
        _ => false,
    }
}

fn has_same_fields(object: &Spooled, view: &View) -> bool {
    let meant = object.fields.keys();
    let there: branchline_node::records::Fields =
        meant.filter_map(|name| Some((name.clone(), view.fields.get(name)?.clone()))).collect();
    let there = fields_into_json(there);
    object.fields.iter().all(|(name, value)| match there.get(name) {
        Some(found) => is_same_value(found, value),
        // Null takes a field away.
        None => value.is_null(),
    })
}

/// Whether a field holds a value; a decimal is kept as text.
fn is_same_value(found: &Json, value: &Json) -> bool {
    match (found, value) {
        (Json::String(text), Json::Number(number)) => serde_json::from_str(text)
            .is_ok_and(|there: Json| digest(&there) == digest(&json!(number))),
        _ => digest(found) == digest(value),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const NOW: Version = Version { number: 7, started: Timestamp::UNIX_EPOCH };

    fn object(data: &str, updated_at: Option<&str>) -> Spooled {
        let mut fields = Map::new();
        fields.insert("segment".to_owned(), json!("smb"));
        Spooled {
            id: "1".to_owned(),
            data: data.to_owned(),
            updated_at: updated_at.map(str::to_owned),
            fields,
        }
    }

    fn record(data: &str, status: &str, updated_at: &str) -> View {
        let text = |text: &str| Value::Str(text.to_owned());
        let fields = [
            ("data", text(data)),
            ("status", text(status)),
            ("last_updated_at", text(updated_at)),
            ("segment", text("smb")),
        ];
        let fields = fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        View { fields, deleted: false, conflicts: Vec::new(), heads: Vec::new() }
    }

    #[test]
    fn a_new_object_becomes_a_record_of_this_run() {
        let fields = of_object(&object(r#"{"id":1}"#, Some("2026-01-01")), None, NOW).unwrap();
        assert_eq!(
            Json::Object(fields),
            json!({
                "segment": "smb", "external_id": "1", "created_at": "1970-01-01T00:00:00.000Z", "data": "{\"id\":1}",
                "status": "active", "last_updated_at": "2026-01-01", "last_synced_at": "1970-01-01T00:00:00.000Z",
                "sync_version": 7,
            })
        );
    }

    #[test]
    fn an_object_that_says_the_same_changes_nothing() {
        let there = record(r#"{"a": 1.50, "b": [1]}"#, "active", "2026-01-01");
        assert_eq!(
            of_object(&object(r#"{"b":[1],"a":1.5}"#, Some("2026-02-02")), Some(&there), NOW),
            None
        );
        let changed =
            of_object(&object(r#"{"b":[1],"a":1.6}"#, Some("2026-02-02")), Some(&there), NOW);
        assert_eq!(changed.unwrap().get("last_updated_at"), Some(&json!("2026-02-02")));
        let mut other = there.clone();
        other.fields.insert("segment".to_owned(), Value::Str("enterprise".to_owned()));
        assert!(of_object(&object(r#"{"b":[1],"a":1.5}"#, None), Some(&other), NOW).is_some());
    }

    #[test]
    fn what_reappears_is_active_and_what_was_deleted_only_if_it_is_later() {
        let same = object("{}", Some("2026-01-01T00:00:00Z"));
        let inactive = record("{}", "inactive", "2026-01-01T00:00:00Z");
        assert_eq!(
            of_object(&same, Some(&inactive), NOW).unwrap().get("status"),
            Some(&json!("active"))
        );
        let deleted = record("{}", "deleted", "2026-01-01T00:00:00Z");
        assert_eq!(of_object(&same, Some(&deleted), NOW), None);
        // The same moment, written otherwise.
        assert_eq!(
            of_object(&object("{}", Some("2026-01-01T01:00:00+01:00")), Some(&deleted), NOW),
            None
        );
        let later = of_object(&object("{}", Some("2026-01-01T00:00:00.001Z")), Some(&deleted), NOW);
        assert_eq!(later.unwrap().get("status"), Some(&json!("active")));
        // A record that a person deleted here is written again.
        let gone = View { deleted: true, ..record("{}", "active", "2026-01-01") };
        assert!(of_object(&same, Some(&gone), NOW).unwrap().contains_key("external_id"));
    }

    #[test]
    fn times_are_compared_as_the_provider_means_them() {
        for (later, earlier) in [
            ("2026-01-02", "2026-01-01"),
            ("1767225600", "999999999"),
            ("2026-01-01T00:00:00+00:00", "2026-01-01T00:30:00+01:00"),
        ] {
            assert!(
                is_later_time(later, earlier) && !is_later_time(earlier, later),
                "{later} {earlier}"
            );
        }
    }

    #[test]
    fn a_number_is_the_same_in_a_field_that_keeps_text_and_a_missing_field_is_null() {
        assert!(is_same_value(&json!("1.10"), &serde_json::from_str("1.1").unwrap()));
        assert!(!is_same_value(&json!("1.10"), &json!("1.1")));
        let mut object = object("{}", None);
        object.fields.insert("none".to_owned(), Json::Null);
        assert!(has_same_fields(&object, &record("{}", "active", "")));
    }
}
