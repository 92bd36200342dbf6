//! Schemas: which kinds the fields of one collection have.

mod events;
pub(super) mod kind;

use std::collections::BTreeMap;

use super::limits::{
    DEPTH_MAX, FIELD_NAME_BYTES_MAX, NameError, SCHEMA_FIELDS_MAX, SCHEMA_INDEXES_MAX,
    check_user_field,
};
use super::value::Value;
use super::view::View;
use kind::{Kind, UnknownKind};

/// What a schema says of one field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FieldSpec {
    /// The kind of its values.
    pub kind: Kind,
    /// Whether every record must have it.
    pub required: bool,
    /// Whether sites keep an index of it.
    pub indexed: bool,
}

/// The schema of one collection.
///
/// It is stored as the record `_schema/<collection>`, one field per declared field: its name is
/// the dotted path (`address.city`), its value the string `KIND`, with `required` or `indexed` or both behind it, so that the
/// changes of two admins merge field by field. What a path passes through is a map, declared or
/// not. Fields that no schema declares are allowed and kept.
///
/// A collection of events is marked by the field `events` with the text `append-only`, for which `true` may be written.
/// Programs that do not know the mark leave it out, as they do with a kind that they do not know, and heed the rest.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Schema {
    fields: BTreeMap<String, FieldSpec>,
    of_schemas: bool,
    events: bool,
}

/// Why fields are no schema, or a schema no successor of another.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum SchemaError {
    /// A part of a path is no field name.
    #[error("{path:?} is not the path of a field")]
    Path {
        /// The path.
        path: String,
        /// What is wrong with it.
        source: NameError,
    },
    /// A path is too long to be the name of a field of the schema's record.
    #[error("the path {path:?} has {found} bytes, at most {FIELD_NAME_BYTES_MAX} can be declared")]
    TooLong {
        /// The path, at most its beginning.
        path: String,
        /// Its length in bytes.
        found: usize,
    },
    /// A path has too many names.
    #[error("the path {path:?} has {found} names, at most {DEPTH_MAX} are allowed")]
    TooDeep {
        /// The path.
        path: String,
        /// How many names it has.
        found: usize,
    },
    /// A field's declaration is not a string.
    #[error("the declaration of {path:?} is of kind {found}, expected a string like \"integer\"")]
    NotText {
        /// The path.
        path: String,
        /// The kind of what was found.
        found: &'static str,
    },
    /// A field's declaration names no kind.
    #[error("the declaration of {path:?} names no kind")]
    Kind {
        /// The path.
        path: String,
        /// What was found and what is known.
        source: UnknownKind,
    },
    /// Something other than `required` and `indexed` follows the kind.
    #[error(
        "the declaration of {path:?} ends in {found:?}, expected \"required\", \"indexed\", \
         \"required indexed\" or nothing"
    )]
    Trailing {
        /// The path.
        path: String,
        /// What follows the kind.
        found: String,
    },
    /// A field is to be indexed whose values have no order.
    #[error("{path:?} is declared as {kind}, which cannot be indexed")]
    NotIndexable {
        /// The path.
        path: String,
        /// Its kind.
        kind: Kind,
    },
    /// Too many fields are to be indexed.
    #[error(
        "the schema declares {found} fields as indexed, at most {SCHEMA_INDEXES_MAX} are possible"
    )]
    TooManyIndexed {
        /// How many.
        found: usize,
    },
    /// A field has fields below it and is not declared as a map.
    #[error("{path:?} is declared as {found}, but {below:?} is inside it: declare it as a map")]
    NotMap {
        /// The path.
        path: String,
        /// The declared kind.
        found: Kind,
        /// A field below it.
        below: String,
    },
    /// A schema declares too many fields.
    #[error("the schema declares {found} fields, at most {SCHEMA_FIELDS_MAX} are allowed")]
    TooMany {
        /// How many.
        found: usize,
    },
    /// The kind of a declared field changes.
    #[error(
        "the kind of {path:?} cannot change from {old} to {new}: values of the old kind are in \
         use; declare a field with another name"
    )]
    KindChange {
        /// The path.
        path: String,
        /// The declared kind.
        old: Kind,
        /// The kind that was asked for.
        new: Kind,
    },
    /// A field of a collection of events is declared otherwise than events have it.
    #[error(
        "{path:?} is declared as {found:?}; in a collection of events it is {expected:?}, or left out to be declared so"
    )]
    EventField {
        /// The path.
        path: String,
        /// Its declaration; empty: there is none.
        found: String,
        /// What it has to be.
        expected: &'static str,
    },
    /// A collection of events declares a field that events do not have.
    #[error(
        "{path:?} is declared in a collection of events, which have \"type\", \"aggregate_id\", \"data\" and \"metadata\" \
         alone: put it into the data"
    )]
    NoEventField {
        /// The path.
        path: String,
    },
    /// A collection that holds records becomes one of events, or one of events becomes another.
    #[error(
        "{collection} holds records, so {}: declare a collection with another name",
        match events {
            true => "it cannot become a collection of events",
            false => "it stays a collection of events, as no event may be changed",
        }
    )]
    EventsFixed {
        /// The collection.
        collection: String,
        /// Whether it was to become one of events.
        events: bool,
    },
}

/// A field of a record that does not fit a schema.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SchemaMismatch<'a> {
    /// Its dotted path.
    pub path: &'a str,
    /// The declared kind, or map where declared fields lie below it.
    pub expected: Kind,
    /// What it holds; `None` or null: it is required and missing.
    pub found: Option<&'a Value>,
}

impl FieldSpec {
    /// As it stands in the schema's record.
    fn to_value(self) -> Value {
        let required = if self.required { " required" } else { "" };
        let indexed = if self.indexed { " indexed" } else { "" };
        Value::Str(format!("{}{required}{indexed}", self.kind))
    }
}

impl Schema {
    /// The schema that a record of `_schema` declares; `None` if the record is deleted or declares none. Fields of a kind
    /// that a newer program knows count as not declared, and the others hold.
    #[must_use]
    pub fn of(view: &View) -> Option<Self> {
        if view.deleted {
            return None;
        }
        Self::read(&view.fields, true).ok()
    }

    /// Reads a schema from the fields of its record.
    ///
    /// # Errors
    /// [`SchemaError`] for the first field that is no declaration.
    pub fn from_fields(fields: &BTreeMap<String, Value>) -> Result<Self, SchemaError> {
        Self::read(fields, false)
    }

    /// `is_partly`: without the fields of kinds that are unknown here.
    fn read(fields: &BTreeMap<String, Value>, is_partly: bool) -> Result<Self, SchemaError> {
        if fields.len() > SCHEMA_FIELDS_MAX {
            return Err(SchemaError::TooMany { found: fields.len() });
        }
        let mut specs = BTreeMap::new();
        let events = events::are_marked(fields);
        for (path, value) in fields {
            if events && path == events::MARK {
                continue;
            }
            check_path(path)?;
            match read_spec(path, value) {
                Err(SchemaError::Kind { .. }) if is_partly => {}
                spec => drop(specs.insert(path.clone(), spec?)),
            }
        }
        let schema = Self { fields: specs, of_schemas: false, events };
        schema.check_parents()?;
        if events && !is_partly {
            schema.check_events()?;
        }
        Ok(schema)
    }

    /// The schema of the records of `_schema` itself: names may have dots, and each value is a
    /// declaration.
    #[must_use]
    pub fn of_schemas() -> Self {
        Self { of_schemas: true, ..Self::default() }
    }

    /// The fields of the schema's record.
    #[must_use]
    pub fn to_fields(&self) -> BTreeMap<String, Value> {
        let fields = self.fields.iter().map(|(path, spec)| (path.clone(), spec.to_value()));
        fields.chain(self.events_mark()).collect()
    }

    /// The declared fields by dotted path.
    #[must_use]
    pub fn fields(&self) -> &BTreeMap<String, FieldSpec> {
        &self.fields
    }

    /// The kind of the field at a dotted path: the declared one, or map where declared fields lie
    /// below it.
    #[must_use]
    pub fn kind(&self, path: &str) -> Option<Kind> {
        if let Some(spec) = self.fields.get(path) {
            return Some(spec.kind);
        }
        let below = format!("{path}.");
        let (first, _) = self.fields.range(below.clone()..).next()?;
        first.starts_with(&below).then_some(Kind::Map)
    }

    /// Whether this is [`Schema::of_schemas`].
    pub(crate) fn is_of_schemas(&self) -> bool {
        self.of_schemas
    }

    /// The fields that are of another kind than declared, or required and missing.
    pub fn mismatches<'a>(
        &'a self,
        fields: &'a BTreeMap<String, Value>,
    ) -> impl Iterator<Item = SchemaMismatch<'a>> {
        self.fields.iter().filter_map(|(path, spec)| {
            let expected = spec.kind;
            let mismatch = |path, expected, found| Some(SchemaMismatch { path, expected, found });
            match find(fields, path) {
                FoundKind::Value(Value::Null) if spec.required => {
                    mismatch(path, expected, Some(&Value::Null))
                }
                FoundKind::Value(value) if expected.accepts(value) => None,
                FoundKind::Value(value) => mismatch(path, expected, Some(value)),
                FoundKind::Nothing if spec.required => mismatch(path, expected, None),
                FoundKind::Nothing => None,
                FoundKind::NoMap(above, value) => mismatch(&path[..above], Kind::Map, Some(value)),
            }
        })
    }

    /// Checks that `new` may follow this schema: no field changes its kind.
    ///
    /// # Errors
    /// [`SchemaError::KindChange`] for the first field that does.
    pub fn check_change(&self, new: &Self) -> Result<(), SchemaError> {
        for (path, spec) in &new.fields {
            self.check_kind(path, spec.kind)?;
            // What a new path passes through becomes a map.
            for (dot, _) in path.match_indices('.') {
                self.check_kind(&path[..dot], Kind::Map)?;
            }
        }
        Ok(())
    }

    /// Takes for declared what `new` declares and the view has beside the declaration that is shown: of kinds that two
    /// admins declared apart from each other, either may stay.
    fn choose(&mut self, new: &Self, view: &View) {
        for (path, spec) in &mut self.fields {
            let Some(chosen) = new.fields.get(path) else { continue };
            let conflicts = view.conflicts.iter().filter(|conflict| conflict.path == *path);
            let mut declared = conflicts.flat_map(|conflict| &conflict.values);
            if declared.any(|other| {
                read_spec(path, &other.value).is_ok_and(|other| other.kind == chosen.kind)
            }) {
                spec.kind = chosen.kind;
            }
        }
    }

    fn check_kind(&self, path: &str, new: Kind) -> Result<(), SchemaError> {
        match self.kind(path) {
            Some(old) if old != new => {
                Err(SchemaError::KindChange { path: path.to_owned(), old, new })
            }
            Some(_) | None => Ok(()),
        }
    }

    fn check_parents(&self) -> Result<(), SchemaError> {
        for path in self.fields.keys() {
            for (dot, _) in path.match_indices('.') {
                let parent = &path[..dot];
                match self.fields.get(parent) {
                    None => {}
                    Some(spec) if spec.kind == Kind::Map => {}
                    Some(spec) => {
                        return Err(SchemaError::NotMap {
                            path: parent.to_owned(),
                            found: spec.kind,
                            below: path.clone(),
                        });
                    }
                }
            }
        }
        Ok(())
    }
}

/// Checks an edit of a record of `_schema` by the record before and after it, and reads the
/// schema that results.
///
/// # Errors
/// [`SchemaError`] if the new record is no schema, or changes the kind of a field.
pub fn validate_schema_edit(old: Option<&View>, new: &View) -> Result<Schema, SchemaError> {
    let schema = Schema::from_fields(&new.fields)?;
    // Two admins together may declare more: then the first by name count.
    let found = schema.fields.values().filter(|spec| spec.indexed).count();
    if found > SCHEMA_INDEXES_MAX {
        return Err(SchemaError::TooManyIndexed { found });
    }
    // A record that was no schema (two admins' changes may meet so) restricts nothing.
    if let Some((view, Ok(mut before))) = old.map(|view| (view, Schema::read(&view.fields, true))) {
        before.choose(&schema, view);
        before.check_change(&schema)?;
    }
    Ok(schema)
}

/// Checks one field of a schema's record.
pub(crate) fn check_declaration(path: &str, value: &Value) -> Result<(), SchemaError> {
    if events::is_mark(path, value) {
        return Ok(());
    }
    check_path(path)?;
    read_spec(path, value)?;
    Ok(())
}

fn check_path(path: &str) -> Result<(), SchemaError> {
    if path.len() > FIELD_NAME_BYTES_MAX {
        let beginning = path.chars().take(2 * FIELD_NAME_BYTES_MAX).collect();
        return Err(SchemaError::TooLong { path: beginning, found: path.len() });
    }
    let found = path.split('.').count();
    if found > DEPTH_MAX {
        return Err(SchemaError::TooDeep { path: path.to_owned(), found });
    }
    path.split('.')
        .try_for_each(check_user_field)
        .map_err(|source| SchemaError::Path { path: path.to_owned(), source })
}

fn read_spec(path: &str, value: &Value) -> Result<FieldSpec, SchemaError> {
    let Value::Str(text) = value else {
        return Err(SchemaError::NotText { path: path.to_owned(), found: value.kind_name() });
    };
    let (kind, rest) = text.split_once(' ').unwrap_or((text, ""));
    let kind: Kind =
        kind.parse().map_err(|source| SchemaError::Kind { path: path.to_owned(), source })?;
    let (required, indexed) = match rest {
        "" => (false, false),
        "required" => (true, false),
        "indexed" => (false, true),
        "required indexed" => (true, true),
        found => {
            return Err(SchemaError::Trailing { path: path.to_owned(), found: found.to_owned() });
        }
    };
    if indexed && matches!(kind, Kind::List | Kind::Map) {
        return Err(SchemaError::NotIndexable { path: path.to_owned(), kind });
    }
    Ok(FieldSpec { kind, required, indexed })
}

/// What a record has at a dotted path.
enum FoundKind<'a> {
    Nothing,
    Value(&'a Value),
    /// So many bytes of the path lead to a value that is no map.
    NoMap(usize, &'a Value),
}

fn find<'a>(mut fields: &'a BTreeMap<String, Value>, path: &str) -> FoundKind<'a> {
    let mut begin = 0;
    for (dot, _) in path.match_indices('.') {
        match fields.get(&path[begin..dot]) {
            None | Some(Value::Null) => return FoundKind::Nothing,
            Some(Value::Map(inner)) => fields = inner,
            Some(value) => return FoundKind::NoMap(dot, value),
        }
        begin = dot + 1;
    }
    fields.get(&path[begin..]).map_or(FoundKind::Nothing, FoundKind::Value)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
