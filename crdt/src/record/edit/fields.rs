//! Writing the fields of a record and of the maps in it.

use std::collections::BTreeSet;

use serde_json::{Map, Value as Json};
use smol_str::SmolStr;

use super::draft::{EditDraft, EditPlace, EditTarget};
use super::error::EditError;
use super::json::{self, Wanted};
use super::path::Path;
use crate::record::change::genesis::GenesisKind;
use crate::record::change::operation::{Action, ObjectId, OpId, Shape};
use crate::record::history::live::Live;
use crate::record::history::{History, HistoryContent, Object};
use crate::record::limits::{DEPTH_MAX, check_user_field};
use crate::record::schema::kind::Kind;
use crate::record::schema::{Schema, check_declaration};
use crate::record::value::Value;
use crate::record::view::{clamp, value};

/// What becomes of fields that are not named, and what null means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    /// They are removed; null is a value.
    Put,
    /// They stay; null removes.
    Merge,
    /// They stay; null is a value, and what shows its value already is not written again.
    Import,
}

/// Translates one edit into operations.
#[derive(Debug)]
pub(super) struct FieldWriter<'a> {
    pub(super) draft: EditDraft<'a>,
    schema: Option<&'a Schema>,
    /// The dotted paths that were written with something other than null; not kept without a schema.
    written: BTreeSet<String>,
    /// The dotted paths that were removed or written with null.
    removed: BTreeSet<String>,
}

/// A map that is written to.
#[derive(Debug, Clone)]
pub(super) struct MapAt {
    pub(super) target: EditTarget,
    pub(super) path: Vec<String>,
}

impl MapAt {
    fn path_of<'p>(&'p self, name: &'p str) -> Path<'p> {
        Path { above: &self.path, name }
    }
}

/// A field that is written to.
#[derive(Debug)]
pub(super) struct EditedField<'p> {
    pub(super) target: EditTarget,
    pub(super) path: Path<'p>,
    /// Its live values, ascending.
    pub(super) live: Vec<OpId>,
    pub(super) declared: Option<Kind>,
}

impl EditedField<'_> {
    pub(super) fn place(&self) -> EditPlace {
        EditPlace::Field(self.path.name.into())
    }

    pub(super) fn dotted(&self) -> String {
        self.path.dotted()
    }
}

impl<'a> FieldWriter<'a> {
    pub(super) fn new(history: &'a History, schema: Option<&'a Schema>) -> Self {
        FieldWriter {
            draft: EditDraft::new(history),
            schema,
            written: BTreeSet::new(),
            removed: BTreeSet::new(),
        }
    }

    pub(super) fn into_draft(self) -> EditDraft<'a> {
        self.draft
    }

    pub(super) fn write_record(
        &mut self,
        fields: &Map<String, Json>,
        mode: Mode,
    ) -> Result<(), EditError> {
        json::check_no_increment(fields)?;
        let record = MapAt { target: EditTarget::Known(ObjectId::Root), path: Vec::new() };
        self.write_fields(&record, fields, mode)
    }

    /// Checks that the required fields are there: all of them in a record that is written again;
    /// else it is enough that the edit removed none, so that a record from before the schema can
    /// still be changed field by field.
    pub(super) fn check_required(&self, is_whole: bool) -> Result<(), EditError> {
        let fields = self.schema.into_iter().flat_map(|schema| schema.fields());
        for (path, spec) in fields.filter(|(_, spec)| spec.required) {
            let is_removed = self.is_removed(path);
            let is_there = self.written.contains(path)
                || (!is_removed && is_present(self.draft.history, path));
            if !is_there && (is_whole || is_removed) {
                return Err(EditError::Required { path: path.clone(), kind: spec.kind });
            }
        }
        Ok(())
    }

    fn is_removed(&self, path: &str) -> bool {
        let parents = path.match_indices('.').map(|(dot, _)| &path[..dot]);
        parents.chain([path]).any(|path| self.removed.contains(path))
    }

    pub(super) fn write_fields(
        &mut self,
        map: &MapAt,
        fields: &Map<String, Json>,
        mode: Mode,
    ) -> Result<(), EditError> {
        if mode == Mode::Put {
            for name in self.names_in(map.target) {
                let is_reserved = map.path.is_empty() && name.starts_with('_');
                if !fields.contains_key(name.as_str()) && !is_reserved {
                    let field = self.field(map, &name);
                    self.remove(&field, false)?;
                }
            }
        }
        for (name, json) in fields {
            self.check_name(map, name, json)?;
            let field = self.field(map, name);
            self.write(&field, json, mode)?;
        }
        Ok(())
    }

    pub(super) fn names_in(&self, target: EditTarget) -> Vec<SmolStr> {
        let EditTarget::Known(object) = target else {
            return Vec::new();
        };
        match self.draft.history.object(object) {
            Some(Object::Map(fields)) => {
                let live = fields.iter().filter(|(_, live)| !live.is_empty());
                live.map(|(name, _)| name.clone()).collect()
            }
            Some(Object::Sequence(_)) | None => Vec::new(),
        }
    }

    fn check_name(&self, map: &MapAt, name: &str, json: &Json) -> Result<(), EditError> {
        if self.schema.is_some_and(Schema::is_of_schemas) && map.path.is_empty() {
            let declaration = match json {
                // A merge with null removes the declaration.
                Json::Null => return Ok(()),
                Json::String(s) => Value::Str(s.clone()),
                Json::Bool(_) | Json::Number(_) | Json::Array(_) | Json::Object(_) => Value::Null,
            };
            return Ok(check_declaration(name, &declaration)?);
        }
        check_user_field(name)
            .map_err(|source| EditError::Name { path: map.path_of(name).dotted(), source })
    }

    pub(super) fn field<'p>(&self, map: &'p MapAt, name: &'p str) -> EditedField<'p> {
        let path = map.path_of(name);
        let live = match map.target {
            EditTarget::Known(object) => self.draft.history.live(object, name).iter().collect(),
            EditTarget::New(_) => Vec::new(),
        };
        let declared = self.schema.and_then(|schema| schema.kind(&path.dotted()));
        EditedField { target: map.target, path, live, declared }
    }

    pub(super) fn content(&self, id: OpId) -> Option<&'a HistoryContent> {
        self.draft.history.value(id).map(|stored| &stored.content)
    }

    pub(super) fn shown(&self, field: &EditedField<'_>) -> Option<&'a HistoryContent> {
        self.content(*field.live.last()?)
    }

    fn write(&mut self, field: &EditedField<'_>, json: &Json, mode: Mode) -> Result<(), EditError> {
        if json.is_null() {
            return self.write_null(field, mode);
        }
        if self.schema.is_some() {
            self.written.insert(field.dotted());
        }
        if let Some(by) = json::increment(json, field.path)? {
            return self.increment(field, by);
        }
        let wanted = json::wanted(field.declared, self.shown(field), json, field.path)?;
        let history = self.draft.history;
        let is_shown = |id: &OpId| wanted.is_shown_as(&value(history, *id));
        if mode == Mode::Import && field.live.last().is_some_and(is_shown) {
            return Ok(());
        }
        match wanted {
            Wanted::Register(value) => self.put(field, value, json::kind_name(json)),
            Wanted::Counter(to) => self.set_counter(field, to),
            Wanted::Text(text) => self.write_text(field, text),
            Wanted::List(items) => self.write_list(field, items),
            Wanted::Map(fields) => self.write_map(field, fields, mode),
        }
    }

    fn write_null(&mut self, field: &EditedField<'_>, mode: Mode) -> Result<(), EditError> {
        let is_register = field.declared.is_none_or(Kind::is_register);
        if field.declared == Some(Kind::Counter) {
            return Err(EditError::CounterRemoved { path: field.dotted() });
        }
        if mode == Mode::Merge || !is_register {
            return self.remove(field, true);
        }
        self.removed.insert(field.dotted());
        match self.shown(field) {
            Some(HistoryContent::Counter(_)) => {
                Err(EditError::CounterRemoved { path: field.dotted() })
            }
            Some(HistoryContent::Register(Value::Null)) if mode == Mode::Import => Ok(()),
            Some(HistoryContent::Register(_) | HistoryContent::Object(_)) | None => {
                self.put(field, Value::Null, "null")
            }
        }
    }

    fn put(
        &mut self,
        field: &EditedField<'_>,
        value: Value,
        kind: &'static str,
    ) -> Result<(), EditError> {
        let shown = self.shown(field);
        if let (None, Some(last)) = (field.declared, field.live.last())
            && !self.is_removable(*last)
        {
            return Err(EditError::WrongKind {
                path: field.dotted(),
                expected: shown.map_or("null", HistoryContent::kind_name),
                found: kind,
            });
        }
        let preds = self.removable(field, None);
        let is_shown = matches!(shown, Some(HistoryContent::Register(shown)) if *shown == value);
        if !is_shown || preds.len() > 1 {
            self.draft.add(field.target, field.place(), Action::Put(value), preds);
        }
        Ok(())
    }

    /// Removes a field's values, but not counters and what holds some. `is_asked`: the user named
    /// the field, and is reported so.
    fn remove(&mut self, field: &EditedField<'_>, is_asked: bool) -> Result<(), EditError> {
        let preds = self.removable(field, None);
        for id in field.live.iter().filter(|id| !preds.contains(id)) {
            match self.content(*id) {
                Some(HistoryContent::Object(Shape::Map)) => {
                    let map = MapAt {
                        target: EditTarget::Known(ObjectId::Made(*id)),
                        path: field.path.to_vec(),
                    };
                    for name in self.names_in(map.target) {
                        let inner = self.field(&map, &name);
                        self.remove(&inner, is_asked)?;
                    }
                }
                Some(HistoryContent::Counter(_)) if is_asked => {
                    return Err(EditError::CounterRemoved { path: field.dotted() });
                }
                Some(
                    HistoryContent::Counter(_)
                    | HistoryContent::Register(_)
                    | HistoryContent::Object(_),
                )
                | None => {}
            }
        }
        if !preds.is_empty() {
            self.removed.insert(field.dotted());
            self.draft.add(field.target, field.place(), Action::Delete, preds);
        }
        Ok(())
    }

    /// Removes what stands beside the value that was written. It is no longer a conflict: the
    /// user saw it.
    pub(super) fn settle(&mut self, field: &EditedField<'_>, keep: OpId) {
        let others = self.removable(field, Some(keep));
        if !others.is_empty() {
            self.draft.add(field.target, field.place(), Action::Delete, others);
        }
    }

    pub(super) fn removable(&self, field: &EditedField<'_>, keep: Option<OpId>) -> Vec<OpId> {
        let live = field.live.iter().copied();
        live.filter(|id| Some(*id) != keep && self.is_removable(*id)).collect()
    }

    /// Counters are never removed, nor maps that hold some, nor maps that others may be putting
    /// counters into.
    fn is_removable(&self, id: OpId) -> bool {
        match self.content(id) {
            Some(HistoryContent::Counter(_)) => false,
            Some(HistoryContent::Object(Shape::Map)) => {
                !self.draft.history.is_of_genesis(id) && !self.holds_counter(id)
            }
            Some(
                HistoryContent::Register(_) | HistoryContent::Object(Shape::List | Shape::Text),
            )
            | None => true,
        }
    }

    fn holds_counter(&self, map: OpId) -> bool {
        match self.draft.history.object(ObjectId::Made(map)) {
            Some(Object::Map(fields)) => fields.values().flat_map(Live::iter).any(|id| match self
                .content(id)
            {
                Some(HistoryContent::Counter(_)) => true,
                Some(HistoryContent::Object(Shape::Map)) => self.holds_counter(id),
                Some(
                    HistoryContent::Register(_) | HistoryContent::Object(Shape::List | Shape::Text),
                )
                | None => false,
            }),
            Some(Object::Sequence(_)) | None => false,
        }
    }

    fn set_counter(&mut self, field: &EditedField<'_>, to: i64) -> Result<(), EditError> {
        let mut sums = field.live.iter().filter_map(|id| match self.content(*id) {
            Some(HistoryContent::Counter(sum)) => Some(clamp(*sum)),
            Some(HistoryContent::Register(_) | HistoryContent::Object(_)) | None => None,
        });
        let from = sums.next_back().unwrap_or(0);
        self.add_to_counter(field, i128::from(to) - i128::from(from))
    }

    pub(super) fn shared_object(
        &mut self,
        field: &EditedField<'_>,
        kind: GenesisKind,
    ) -> Option<OpId> {
        if field.path.len() <= DEPTH_MAX && self.draft.is_shared(field.target) {
            self.draft.genesis(&field.path.to_vec(), kind)
        } else {
            None
        }
    }

    /// The object of this shape in a field, made if there is none, with nothing beside it.
    pub(super) fn object_in(
        &mut self,
        field: &EditedField<'_>,
        shape: Shape,
        is_shared: bool,
    ) -> Result<EditTarget, EditError> {
        if field.path.len() > DEPTH_MAX {
            return Err(EditError::TooDeep { path: field.dotted() });
        }
        let is_such = |id: &OpId| self.content(*id) == Some(&HistoryContent::Object(shape));
        let there = field.live.iter().copied().rfind(is_such);
        let kind = match shape {
            Shape::Map => GenesisKind::Map,
            Shape::List => GenesisKind::List,
            Shape::Text => GenesisKind::Text,
        };
        let found = match there {
            None if is_shared => self.shared_object(field, kind),
            Some(_) | None => there,
        };
        Ok(match found {
            Some(id) => {
                self.settle(field, id);
                EditTarget::Known(ObjectId::Made(id))
            }
            None => {
                let preds = self.removable(field, None);
                let made = self.draft.add(field.target, field.place(), Action::Make(shape), preds);
                EditTarget::New(made)
            }
        })
    }

    fn write_map(
        &mut self,
        field: &EditedField<'_>,
        fields: &Map<String, Json>,
        mode: Mode,
    ) -> Result<(), EditError> {
        // Counters are shared only if the maps around them are.
        let is_shared = field.declared.is_some() || json::has_increment(fields);
        let shown = field.live.last().filter(|_| mode == Mode::Import);
        let is_map = |id: &&OpId| self.content(**id) == Some(&HistoryContent::Object(Shape::Map));
        let target = match shown.filter(is_map) {
            Some(shown) => EditTarget::Known(ObjectId::Made(*shown)),
            None => self.object_in(field, Shape::Map, is_shared)?,
        };
        let map = MapAt { target, path: field.path.to_vec() };
        self.write_fields(&map, fields, mode)
    }
}

/// Whether the record shows something other than null at a dotted path.
fn is_present(history: &History, path: &str) -> bool {
    let mut object = ObjectId::Root;
    let mut shown = None;
    for name in path.split('.') {
        let Some(id) = history.live(object, name).shown() else {
            return false;
        };
        object = ObjectId::Made(id);
        shown = Some(id);
    }
    shown.is_some_and(|id| value(history, id) != Value::Null)
}
