//! Settling conflicts: one of a field's values is written again, against the version of the record that was read.

use axum::Json;
use branchline_crdt::query::Filter;
use branchline_crdt::record::{
    Edit, Expected, Value as Field, Version, View, check_collection, check_record_id,
};
use branchline_crdt::replica::{LocalTransaction, RecordEdit, WriteError};
use branchline_crdt::store::read::{self, AtOdds};
use branchline_crdt::store::tables::records::RecordKey;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::conflicts::{self, ConflictResponse, Naming};
use crate::api::error::{ApiError, Code};
use crate::api::params::extract::{InSpace, JsonBody, page_records};
use crate::api::params::named::find_keys;

/// A value that is there, null too.
fn given<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<Value>, D::Error> {
    Value::deserialize(deserializer).map(Some)
}

/// Which conflicts are to be settled, and how: by exactly one of `take_site`, `take_shown` and `value`.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SettleRequest {
    /// The collection.
    pub collection: String,
    /// One record of it. Without, all records with conflicts, a page at a time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// One field, by its path. Without, all fields with conflicts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
    /// Only records of which this holds, as in lists; without `id`.
    #[serde(default, rename = "where", skip_serializing_if = "Option::is_none")]
    pub filter: Option<String>,
    /// Take what this site wrote, by its name or id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub take_site: Option<String>,
    /// Take what is shown.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub take_shown: bool,
    /// Take this value; with `field`.
    #[serde(default, deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    pub value: Option<Value>,
    /// Only if the record is of this version, which the list of conflicts tells; with `id`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub if_match: Option<String>,
    /// The `next` of the page before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
    /// At most so many records are looked at: 1 to 1000, 100 if not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<usize>,
}

/// What became of the conflicts of a page.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct SettleResponse {
    /// Fields that were settled.
    pub settled: Vec<SettledResponse>,
    /// Records that somebody has written meanwhile: they are as they were, look at them again. By `COLLECTION/ID`.
    pub changed: Vec<String>,
    /// Fields that are left, and why.
    pub left: Vec<UnsettledResponse>,
    /// Where the next page begins (`after`).
    pub next: Option<String>,
}

/// A field that was settled.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct SettledResponse {
    /// The record's collection.
    pub collection: String,
    /// The record's id.
    pub id: String,
    /// The field's path.
    pub field: String,
    /// The value that was taken.
    pub value: Value,
}

/// A field that was not settled.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct UnsettledResponse {
    /// The record's collection.
    pub collection: String,
    /// The record's id.
    pub id: String,
    /// The field's path.
    pub field: String,
    /// Why.
    pub reason: String,
}

/// How a value is chosen.
enum Choice {
    Site(String),
    Shown,
    Value(Value),
}

impl SettleRequest {
    fn check(&self) -> Result<(), ApiError> {
        let Self { collection, id, field, filter, after, if_match, value, .. } = self;
        check_collection(collection)?;
        if let Some(id) = id {
            check_record_id(id)?;
        }
        let refuse = |wrong: &str| Err(ApiError::new(Code::BadParameter, wrong));
        if id.is_some() && (filter.is_some() || after.is_some()) {
            return refuse("id names one record: leave out where and after");
        }
        if id.is_none() && if_match.is_some() {
            return refuse("if_match needs id");
        }
        if field.is_none() && value.is_some() {
            return refuse("value needs field");
        }
        Ok(())
    }

    fn choice(&self) -> Result<Choice, ApiError> {
        match (&self.take_site, self.take_shown, &self.value) {
            (Some(site), false, None) => Ok(Choice::Site(site.clone())),
            (None, true, None) => Ok(Choice::Shown),
            (None, false, Some(value)) => Ok(Choice::Value(value.clone())),
            (_, _, _) => {
                let message = "expected exactly one of take_site, take_shown and value";
                Err(ApiError::new(Code::BadParameter, message))
            }
        }
    }
}

impl Choice {
    /// The value of a conflict, or why there is none.
    fn of(&self, conflict: &ConflictResponse) -> Result<Value, String> {
        let values = &conflict.values;
        let taken = match self {
            Self::Value(value) => return Ok(value.clone()),
            Self::Shown => values.iter().find(|value| value.shown),
            Self::Site(site) => values.iter().find(|value| {
                value.site_name.as_ref() == Some(site) || value.site.as_ref() == Some(site)
            }),
        };
        taken.map(|taken| taken.value.clone()).ok_or_else(|| match self {
            Self::Site(site) => format!("{site} has no value of it"),
            Self::Shown | Self::Value(_) => "no value of it is shown".to_owned(),
        })
    }
}

/// One record with conflicts, as it was read.
struct ConflictsFound {
    key: RecordKey,
    view: View,
}

/// Writes one value of each conflicted field again: of one record, or of those of a page.
#[utoipa::path(
    post,
    path = "/v1/conflicts/settle",
    operation_id = "settle_conflicts",
    params(InSpace),
    request_body = SettleRequest,
    responses((status = OK, description = "What was settled, durably, and what is left.", body = SettleResponse)),
)]
pub(crate) async fn settle(
    InSpace(handle): InSpace,
    JsonBody(request): JsonBody<SettleRequest>,
) -> Result<Json<SettleResponse>, ApiError> {
    request.check()?;
    let choice = request.choice()?;
    if let Choice::Site(site) = &choice {
        find_keys(&handle.replica_status().await?, site)?;
    }
    let version = request.if_match.as_deref().map(version).transpose()?;
    let limit = page_records(request.limit)?;
    let after = request.after.as_deref().map(conflicts::parse_after).transpose()?;
    let SettleRequest { collection, id, field, filter, .. } = request;
    let is_one = id.is_some();
    let read = handle.read(move |tables, space| {
        let key = |collection, id| RecordKey { space, collection, id };
        let keys = match id {
            Some(id) => vec![key(collection.clone(), id)],
            None => {
                let after = after.map(|(collection, id)| key(collection, id));
                let which = AtOdds::Conflicted;
                read::at_odds(tables, space, which, Some(&collection), after.as_ref(), limit)?
            }
        };
        let last = keys.last().filter(|_| !is_one && keys.len() == limit);
        let next = last.map(|key| format!("{}/{}", key.collection, key.id));
        let schema = read::schema(tables, space, &collection)?.unwrap_or_default();
        let filter = match filter.map(|text| Filter::parse(&text, &schema)).transpose() {
            Ok(filter) => filter,
            Err(error) => return Ok(Err(error)),
        };
        let (mut found, mut naming) = (Vec::new(), Naming::default());
        for key in keys {
            let Some(view) = read::record(tables, &key)?.filter(|view| !view.deleted) else {
                continue;
            };
            if filter.as_ref().is_none_or(|filter| filter.matches(&view.fields)) {
                naming.sites.append(&mut conflicts::sites(tables, conflicts::actors(&view))?);
                found.push(ConflictsFound { key, view });
            }
        }
        Ok(Ok((found, naming, next)))
    });
    let (found, naming, next) = read.await??;
    let naming = Naming { names: handle.names().await?, ..naming };
    let mut answer = SettleResponse { next, ..SettleResponse::default() };
    let (mut transactions, mut settled) = (Vec::new(), Vec::new());
    for ConflictsFound { key, view } in found {
        let taken = take(&key, &view, &naming, (&choice, field.as_deref()), &mut answer.left);
        if taken.is_empty() {
            continue;
        }
        let expected = version.clone().unwrap_or_else(|| Version::of(&view));
        let edit = Edit::Merge { patch: patch(&view, &taken), create: false };
        let edit = RecordEdit {
            expected: Some(Expected::OneOf(vec![expected])),
            ..RecordEdit::new(key.collection, key.id, edit)
        };
        transactions.push(LocalTransaction { origin: None, edits: vec![edit] });
        settled.push(taken);
    }
    if transactions.is_empty() {
        return Ok(Json(answer));
    }
    for (result, taken) in handle.write(transactions).await?.into_iter().zip(settled) {
        let Some(SettledResponse { collection, id, .. }) = taken.first() else { continue };
        match result {
            Ok(_) => answer.settled.extend(taken),
            Err(WriteError::Unexpected { .. }) if !is_one => {
                answer.changed.push(format!("{collection}/{id}"));
            }
            Err(error) if is_one => return Err(ApiError::of_write(&error, collection, id)),
            Err(error) => {
                let reason = error.to_string();
                let left = |it: SettledResponse| UnsettledResponse {
                    collection: it.collection,
                    id: it.id,
                    field: it.field,
                    reason: reason.clone(),
                };
                answer.left.extend(taken.into_iter().map(left));
            }
        }
    }
    Ok(Json(answer))
}

fn version(text: &str) -> Result<Version, ApiError> {
    let bad = |error| ApiError::of(Code::BadParameter, &error).about("if_match");
    text.trim_matches('"').parse().map_err(bad)
}

/// What is taken of the conflicts of a record, or of one field of it.
fn take(
    key: &RecordKey,
    view: &View,
    naming: &Naming,
    (choice, field): (&Choice, Option<&str>),
    left: &mut Vec<UnsettledResponse>,
) -> Vec<SettledResponse> {
    let mut taken = Vec::new();
    for conflict in conflicts::of_view(&key.collection, &key.id, view, naming) {
        if field.is_some_and(|field| field != conflict.field) {
            continue;
        }
        let value = choice.of(&conflict);
        let ConflictResponse { collection, id, field, .. } = conflict;
        match value {
            Ok(value) => taken.push(SettledResponse { collection, id, field, value }),
            Err(reason) => left.push(UnsettledResponse { collection, id, field, reason }),
        }
    }
    taken
}

/// The patch that gives fields these values. A list is written as a whole.
fn patch(view: &View, taken: &[SettledResponse]) -> Map<String, Value> {
    let mut patch = Map::new();
    // Lists of which several elements are written come together from what is written before.
    for SettledResponse { field, value, .. } in taken {
        let Some((name, rest)) = step(view.fields.keys(), field) else { continue };
        let Some(shown) = view.fields.get(name) else { continue };
        let begun = patch.remove(name);
        patch.insert(name.to_owned(), patched(shown, rest, value, begun));
    }
    patch
}

/// The longest of these names that a path begins with, and what follows it.
fn step<'n, 'p>(
    names: impl Iterator<Item = &'n String>,
    path: &'p str,
) -> Option<(&'n str, &'p str)> {
    let fits = |name: &'n String| {
        let rest = path.strip_prefix(name.as_str())?;
        (rest.is_empty() || rest.starts_with(['.', '['])).then_some((name.as_str(), rest))
    };
    names.filter_map(fits).max_by_key(|(name, _)| name.len())
}

/// What a merge patch says of a field that is shown so, to give a value to what lies at `path` in it. `begun`: what it
/// says already.
fn patched(shown: &Field, path: &str, value: &Value, begun: Option<Value>) -> Value {
    match shown {
        Field::Map(fields) if !path.is_empty() => {
            let inner = path.strip_prefix('.').unwrap_or(path);
            let mut patch = match begun {
                Some(Value::Object(patch)) => patch,
                Some(_) | None => Map::new(),
            };
            if let Some((name, rest)) = step(fields.keys(), inner)
                && let Some(shown) = fields.get(name)
            {
                let begun = patch.remove(name);
                patch.insert(name.to_owned(), patched(shown, rest, value, begun));
            }
            Value::Object(patch)
        }
        Field::List(_) if !path.is_empty() => {
            let mut list = begun.unwrap_or_else(|| shown.to_json());
            put(&mut list, path, value);
            list
        }
        _ => value.clone(),
    }
}

/// Puts a value at a path in JSON.
fn put(json: &mut Value, path: &str, value: &Value) {
    let (place, rest) = match json {
        Value::Array(list) => {
            let Some((index, rest)) = path.strip_prefix('[').and_then(|it| it.split_once(']'))
            else {
                return;
            };
            let index = index.parse::<usize>().ok();
            (index.and_then(|index| list.get_mut(index)), rest)
        }
        Value::Object(fields) => {
            let inner = path.strip_prefix('.').unwrap_or(path);
            let Some((name, rest)) = step(fields.keys(), inner) else { return };
            let name = name.to_owned();
            (fields.get_mut(&name), rest)
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => return,
    };
    match place {
        Some(place) if rest.is_empty() => *place = value.clone(),
        Some(place) => put(place, rest, value),
        None => {}
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::collections::BTreeMap;

    use serde_json::json;

    use super::*;

    fn field(json: &Value) -> Field {
        match json {
            Value::Array(list) => Field::List(list.iter().map(field).collect()),
            Value::Object(fields) => {
                Field::Map(fields.iter().map(|(name, it)| (name.clone(), field(it))).collect())
            }
            Value::String(text) => Field::Str(text.clone()),
            other => Field::Int(other.as_i64().unwrap()),
        }
    }

    fn patch_of(fields: &Value, taken: &[(&str, Value)]) -> Value {
        let Field::Map(fields) = field(fields) else { return Value::Null };
        let fields: BTreeMap<String, Field> = fields.into_iter().collect();
        let view = View { fields, deleted: false, conflicts: Vec::new(), heads: Vec::new() };
        let settled = |(path, value): &(&str, Value)| SettledResponse {
            collection: String::new(),
            id: String::new(),
            field: (*path).to_owned(),
            value: value.clone(),
        };
        Value::Object(patch(&view, &taken.iter().map(settled).collect::<Vec<_>>()))
    }

    #[test]
    fn a_patch_gives_the_value_to_what_lies_at_a_path_and_leaves_the_rest() {
        let fields = json!({
            "price": 1, "a.b": 2, "a": {"b": 3, "c": 4}, "lines": [1, {"n": 2, "m": 3}, 4]
        });
        for (taken, expected) in [
            (vec![("price", json!(9))], json!({"price": 9})),
            (vec![("a.b", json!(9))], json!({"a.b": 9})),
            (vec![("a.c", json!(9))], json!({"a": {"c": 9}})),
            (
                vec![("lines[0]", json!(7)), ("lines[1].n", json!(8)), ("a.c", json!("x"))],
                json!({"lines": [7, {"n": 8, "m": 3}, 4], "a": {"c": "x"}}),
            ),
            (vec![("gone", json!(1))], json!({})),
        ] {
            assert_eq!(patch_of(&fields, &taken), expected, "{taken:?}");
        }
    }
}
