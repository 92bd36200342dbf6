//! A field that a query names.

use crate::record::{FieldSpec, Kind, NamedValues, SCHEMA_INDEXES_MAX, Schema, ValueRef};

use crate::record::Scalar;

/// A field that a query names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Field {
    /// Its dotted path.
    pub path: String,
    /// The kind that the schema declares.
    pub kind: Option<Kind>,
}

impl Field {
    pub(crate) fn new(path: String, schema: &Schema) -> Self {
        let kind = schema.kind(&path);
        Self { path, kind }
    }

    /// What a record holds there; `None`: nothing.
    pub(crate) fn find<'f>(&self, fields: &'f impl NamedValues) -> Option<ValueRef<'f>> {
        // As `split_once` does, which takes longer than all the rest for a name that has no point.
        let Some(point) = self.path.bytes().position(|byte| byte == b'.') else {
            return fields.named(&self.path);
        };
        let (name, path) = (&self.path[..point], &self.path[point + 1..]);
        path.split('.').try_fold(fields.named(name)?, |value, name| match value {
            ValueRef::Map(fields) => fields.named(name),
            ValueRef::Null
            | ValueRef::Bool(_)
            | ValueRef::Int(_)
            | ValueRef::Float(_)
            | ValueRef::Str(_)
            | ValueRef::Bytes(_)
            | ValueRef::Timestamp(_)
            | ValueRef::Counter(_)
            | ValueRef::Text(_)
            | ValueRef::List(_) => None,
        })
    }

    /// The record's field that it is, or is in.
    pub(crate) fn name(&self) -> &str {
        self.path.split_once('.').map_or(&self.path, |(name, _)| name)
    }

    /// What a record holds there, as it is compared.
    pub(crate) fn scalar<'f>(&self, fields: &'f impl NamedValues) -> Scalar<'f> {
        self.find(fields).map_or(Scalar::Null, |value| Scalar::of(value, self.kind))
    }
}

/// The fields of a schema that are declared as indexed, the first by name if there are too many.
#[must_use]
pub fn indexed_fields(schema: &Schema) -> Vec<Field> {
    let indexed = schema.fields().iter().filter(|(_, spec)| spec.indexed);
    let field =
        |(path, spec): (&String, &FieldSpec)| Field { path: path.clone(), kind: Some(spec.kind) };
    indexed.take(SCHEMA_INDEXES_MAX).map(field).collect()
}
