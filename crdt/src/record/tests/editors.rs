//! Offices that give documents out and take them in, and programs that edit them.

use std::collections::BTreeMap;

use automerge::{ActorId, AutoCommit, ObjId, ReadDoc, ScalarValue};
use serde_json::{Value as Json, json};

use super::support::{Office, actor, assert_like_automerge};
use crate::record::{
    ActorBytes, DocumentRefused, ForeignDocument, Merge, RecordChange, merge_document,
};

pub(super) const ITEM: &[(&str, &str)] = &[
    ("stock", "counter"),
    ("notes", "text"),
    ("lines", "list"),
    ("address.city", "string"),
    ("address.visits", "counter"),
    ("label", "string"),
    ("cost", "decimal"),
    ("size", "integer"),
    ("since", "timestamp"),
];

/// An office with what it knows of changes that were taken in.
#[derive(Clone)]
pub(super) struct Site {
    pub(super) office: Office,
    taken: BTreeMap<[u8; 32], RecordChange>,
}

impl Site {
    pub(super) fn new(number: u8) -> Self {
        Self { office: Office::with_schema(number, ITEM), taken: BTreeMap::new() }
    }

    /// The record as a document that is its own.
    pub(super) fn save(&self) -> Vec<u8> {
        self.office.automerge().save()
    }

    /// A program that edits the record as it is here. No two of one number edit at the same time.
    pub(super) fn lend(&self, editor: &[u8]) -> AutoCommit {
        AutoCommit::load(&self.save()).unwrap().with_actor(ActorId::from(editor))
    }

    /// Takes a document in, and returns how many of its changes were new.
    pub(super) fn take(&mut self, bytes: &[u8], is_new: bool) -> Result<usize, DocumentRefused> {
        let edits = self.try_take(bytes, is_new)?;
        assert_like_automerge(&self.office);
        assert!(!is_new || edits > 0);
        assert_eq!(self.try_take(bytes, false)?, 0, "each edit counts once");
        Ok(edits)
    }

    fn try_take(&mut self, bytes: &[u8], is_new: bool) -> Result<usize, DocumentRefused> {
        let foreign = ForeignDocument::read(bytes).unwrap();
        let mut document = self.office.document.clone();
        let request = Merge {
            document: &foreign,
            actor: self.office.actor,
            time_ms: 1_000 + self.office.entries.len() as i64,
            schema: self.office.schema.as_ref(),
            is_new,
            is_site: &|of: ActorBytes| (1..=3).any(|number| of == actor(number)),
            taken: &self.taken,
        };
        let edits = merge_document(&mut document, &request)?;
        let count = edits.len();
        let mut changes = Vec::new();
        for (hash, edited) in edits {
            self.taken.insert(hash, edited.change.clone());
            changes.push(edited.change);
        }
        self.office.take_over(document, changes);
        Ok(count)
    }

    pub(super) fn pull(&mut self, other: &Self) {
        self.office.pull(&other.office);
        self.taken.extend(other.taken.clone());
    }

    pub(super) fn json(&self) -> Json {
        self.office.json()
    }

    /// The values of a field in conflict, sorted.
    pub(super) fn conflict(&self, path: &str) -> Vec<Json> {
        let view = self.office.view();
        let conflict = view.conflicts.iter().find(|conflict| conflict.path == path);
        let values = conflict.into_iter().flat_map(|conflict| &conflict.values);
        let mut values: Vec<Json> = values.map(|value| value.value.to_json()).collect();
        values.sort_by_key(Json::to_string);
        values
    }
}

pub(super) fn meet(sites: &mut [Site]) {
    let mut all = sites[0].clone();
    sites.iter().for_each(|site| all.pull(site));
    for site in sites.iter_mut() {
        site.pull(&all);
        assert_eq!(site.office.view(), all.office.view());
    }
    assert_like_automerge(&all.office);
}

/// The object in a field.
pub(super) fn object(doc: &AutoCommit, at: &ObjId, field: &str) -> ObjId {
    doc.get(at, field).unwrap().unwrap().1
}

/// All that a document holds, whatever is shown of it: the values of each field, those of all elements of a list, the
/// pieces of a text; each in an order that does not depend on ids.
pub(super) fn contents(doc: &impl ReadDoc, at: &ObjId) -> Json {
    let value = |(value, id): (automerge::Value<'_>, ObjId)| match value {
        automerge::Value::Object(_) => contents(doc, &id),
        automerge::Value::Scalar(scalar) => match &*scalar {
            ScalarValue::Counter(sum) => json!({"counter": i64::from(sum)}),
            ScalarValue::Str(text) => json!({"string": text.to_string()}),
            other => json!(other.to_string()),
        },
    };
    let sorted = |mut values: Vec<Json>| {
        values.sort_by_key(Json::to_string);
        Json::Array(values)
    };
    match doc.object_type(at).unwrap() {
        automerge::ObjType::Text => {
            let mut pieces: Vec<char> = doc.text(at).unwrap().chars().collect();
            pieces.sort_unstable();
            json!({"text": pieces.into_iter().collect::<String>()})
        }
        automerge::ObjType::List => {
            let elements = 0..doc.length(at);
            let values = elements.flat_map(|index| doc.get_all(at, index).unwrap());
            json!({"list": sorted(values.map(value).collect())})
        }
        automerge::ObjType::Map | automerge::ObjType::Table => doc
            .keys(at)
            .map(|key| {
                let values = doc.get_all(at, key.as_str()).unwrap().into_iter();
                (key, sorted(values.map(value).collect()))
            })
            .collect::<serde_json::Map<_, _>>()
            .into(),
    }
}
