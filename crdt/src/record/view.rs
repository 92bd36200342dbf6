//! A record as it is read: its fields and what is in conflict.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::change::operation::{ObjectId, OpId, Shape};
use super::history::live::Live;
use super::history::{History, HistoryContent, Object, Stored};
use super::limits::DELETED_FIELD;
use super::value::Value;

/// How many values of conflicts a view lists; the digest is of all. Merging makes a few. Anyone who wants to can write
/// tens of thousands at once, each with a path of 4 KiB, and everyone would have to keep them.
pub(super) const CONFLICT_VALUES_MAX: usize = 2_000;

/// Fields by name, without `_deleted`.
pub type Fields = BTreeMap<String, Value>;

/// A record as it is read. Replicas that have the same changes have the same view.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct View {
    /// The fields.
    pub fields: Fields,
    /// Whether the record is deleted. Of concurrent deleting and reviving, deleting wins.
    pub deleted: bool,
    /// The fields and elements that have values that are not equal: the first of them, where they have thousands.
    pub conflicts: Vec<Conflict>,
    /// The hashes of the changes that no other change depends on, ascending.
    pub heads: Vec<[u8; 32]>,
}

impl View {
    /// The fields of a record that is not deleted.
    #[must_use]
    pub fn live_fields(&self) -> Option<&Fields> {
        (!self.deleted).then_some(&self.fields)
    }

    /// About how many bytes the fields take as JSON.
    #[must_use]
    pub fn json_bytes(&self) -> usize {
        self.fields.iter().map(|(name, value)| name.len() + value.json_bytes()).sum()
    }
}

/// A field or element with more than one value: with several that are not equal, by kind and content. Anyone who wrote the
/// same as somebody else is not at odds with him.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Conflict {
    /// Where it is: `address.city`, `lines[2]`.
    pub path: String,
    /// The values: the shown one, then the others, later ones first.
    pub values: Vec<ConflictValue>,
}

/// One of several values.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConflictValue {
    /// The value.
    pub value: Value,
    /// The Automerge actor that wrote it.
    pub actor: [u8; 16],
    /// When, in milliseconds since 1970 as its author's clock said. 0 for a genesis.
    pub time_ms: i64,
}

/// Reads a record.
pub(crate) fn view(history: &History) -> View {
    let mut walk = ViewWalk {
        history,
        path: Vec::new(),
        conflicts: Vec::new(),
        values_left: CONFLICT_VALUES_MAX,
    };
    let mut fields = walk.map(ObjectId::Root, true);
    fields.remove(DELETED_FIELD);
    View {
        fields,
        deleted: is_deleted(history),
        conflicts: walk.conflicts,
        heads: history.heads().copied().collect(),
    }
}

pub(crate) fn is_deleted(history: &History) -> bool {
    let live = history.live(ObjectId::Root, DELETED_FIELD);
    live.iter()
        .filter_map(|id| history.value(id))
        .any(|stored| stored.content == HistoryContent::Register(Value::Bool(true)))
}

/// Whether the values of a field or element are not all equal.
pub(crate) fn is_conflict(history: &History, live: &Live) -> bool {
    let Live::Many(ids) = live else { return false };
    let mut rest = ids.iter();
    rest.next().is_some_and(|first| rest.any(|id| !is_equal(history, *first, *id)))
}

fn is_equal(history: &History, a: OpId, b: OpId) -> bool {
    let register = |id| match history.value(id).map(|stored| &stored.content) {
        Some(HistoryContent::Register(value)) => Some(value),
        Some(HistoryContent::Counter(_) | HistoryContent::Object(_)) | None => None,
    };
    match (register(a), register(b)) {
        (Some(a), Some(b)) => a == b,
        (Some(_), None) | (None, Some(_)) => false,
        (None, None) => value(history, a) == value(history, b),
    }
}

/// The value that an operation wrote, with all that is in it.
pub(crate) fn value(history: &History, id: OpId) -> Value {
    match history.value(id) {
        None => Value::Null,
        Some(stored) => match &stored.content {
            HistoryContent::Register(value) => value.clone(),
            HistoryContent::Counter(sum) => Value::Counter(clamp(*sum)),
            HistoryContent::Object(Shape::Text) => Value::Text(text(history, ObjectId::Made(id))),
            HistoryContent::Object(Shape::List) => Value::List(
                elements(history, ObjectId::Made(id))
                    .filter_map(|(_, live)| live.shown())
                    .map(|id| value(history, id))
                    .collect(),
            ),
            HistoryContent::Object(Shape::Map) => match history.object(ObjectId::Made(id)) {
                Some(Object::Map(fields)) => Value::Map(
                    fields
                        .iter()
                        .filter_map(|(name, live)| Some((name, live.shown()?)))
                        .map(|(name, id)| (name.to_string(), value(history, id)))
                        .collect(),
                ),
                Some(Object::Sequence(_)) | None => Value::Null,
            },
        },
    }
}

/// A counter's sum as it is shown: beyond 64 bits it stands still at the end.
pub(crate) fn clamp(sum: i128) -> i64 {
    let least = i128::from(i64::MIN);
    let greatest = i128::from(i64::MAX);
    i64::try_from(sum.clamp(least, greatest)).unwrap_or_default()
}

/// The elements of a list or text that have values, in order.
pub(crate) fn elements(history: &History, object: ObjectId) -> impl Iterator<Item = (OpId, &Live)> {
    let sequence = match history.object(object) {
        Some(Object::Sequence(sequence)) => Some(sequence),
        Some(Object::Map(_)) | None => None,
    };
    sequence.into_iter().flat_map(|sequence| sequence.visible())
}

/// The piece of text that an element of a text shows.
pub(crate) fn piece<'a>(history: &'a History, live: &Live) -> &'a str {
    match live.shown().and_then(|id| history.value(id)) {
        Some(Stored { content: HistoryContent::Register(Value::Str(piece)), .. }) => piece,
        Some(_) | None => "",
    }
}

fn text(history: &History, object: ObjectId) -> String {
    elements(history, object).map(|(_, live)| piece(history, live)).collect()
}

/// One step of the path to a value.
enum ViewStep<'a> {
    Field(&'a str),
    Element(usize),
}

/// One walk over all live values, shown or not.
struct ViewWalk<'a> {
    history: &'a History,
    path: Vec<ViewStep<'a>>,
    conflicts: Vec<Conflict>,
    /// How many more values of conflicts are listed.
    values_left: usize,
}

impl ViewWalk<'_> {
    fn map(&mut self, object: ObjectId, is_shown: bool) -> BTreeMap<String, Value> {
        let history = self.history;
        let Some(Object::Map(fields)) = history.object(object) else {
            return BTreeMap::new();
        };
        let mut values = BTreeMap::new();
        for (name, live) in fields {
            if live.is_empty() {
                continue;
            }
            self.path.push(ViewStep::Field(name));
            if let Some(value) = self.place(live, is_shown) {
                values.insert(name.to_string(), value);
            }
            self.path.pop();
        }
        values
    }

    fn list(&mut self, object: ObjectId, is_shown: bool) -> Vec<Value> {
        let history = self.history;
        let mut values = Vec::new();
        for (_, live) in elements(history, object) {
            self.path.push(ViewStep::Element(values.len()));
            values.extend(self.place(live, is_shown));
            self.path.pop();
        }
        values
    }

    /// Reads the values of one field or element and returns the shown one, the last.
    fn place(&mut self, live: &Live, is_shown: bool) -> Option<Value> {
        let mut values = Vec::with_capacity(1);
        for id in live.iter() {
            values.push(self.value(id, is_shown && live.shown() == Some(id)));
        }
        let is_deletion = matches!(self.path.as_slice(), [ViewStep::Field(DELETED_FIELD)]);
        let is_conflict = is_shown && !is_deletion && is_conflict(self.history, live);
        if is_conflict && self.values_left > 1 {
            let listed = values.len().min(self.values_left);
            self.values_left -= listed;
            let shown_first = live.iter().rev().zip(values.iter().rev()).take(listed);
            let conflict = Conflict {
                path: self.path_text(),
                values: shown_first.map(|(id, value)| self.conflict_value(id, value)).collect(),
            };
            self.conflicts.push(conflict);
        }
        values.pop()
    }

    fn conflict_value(&self, id: OpId, value: &Value) -> ConflictValue {
        ConflictValue { value: value.clone(), actor: id.actor.0, time_ms: self.history.time_ms(id) }
    }

    fn value(&mut self, id: OpId, is_shown: bool) -> Value {
        let history = self.history;
        match history.value(id).map(|stored| &stored.content) {
            None => Value::Null,
            Some(HistoryContent::Register(value)) => value.clone(),
            Some(HistoryContent::Counter(sum)) => Value::Counter(clamp(*sum)),
            Some(HistoryContent::Object(Shape::Map)) => {
                Value::Map(self.map(ObjectId::Made(id), is_shown))
            }
            Some(HistoryContent::Object(Shape::List)) => {
                Value::List(self.list(ObjectId::Made(id), is_shown))
            }
            Some(HistoryContent::Object(Shape::Text)) => {
                Value::Text(text(history, ObjectId::Made(id)))
            }
        }
    }

    fn path_text(&self) -> String {
        let mut text = String::new();
        for step in &self.path {
            match step {
                ViewStep::Field(name) => {
                    if !text.is_empty() {
                        text.push('.');
                    }
                    text.push_str(name);
                }
                ViewStep::Element(index) => text.push_str(&format!("[{index}]")),
            }
        }
        text
    }
}
