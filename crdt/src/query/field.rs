//! A field that a query names.

use crate::record::{Kind, Schema, Value, View};

use super::scalar::Scalar;

/// A field that a query names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Field {
    /// Its dotted path.
    pub(super) path: String,
    /// The kind that the schema declares.
    pub(super) kind: Option<Kind>,
    /// Where its name stands in the text.
    pub(super) offset: usize,
}

impl Field {
    pub(super) fn new(path: String, offset: usize, schema: &Schema) -> Field {
        let kind = schema.kind(&path);
        Field { path, kind, offset }
    }

    /// What a record holds there; `None`: nothing.
    pub(super) fn find<'v>(&self, view: &'v View) -> Option<&'v Value> {
        let (first, rest) = match self.path.split_once('.') {
            None => (self.path.as_str(), None),
            Some((first, rest)) => (first, Some(rest)),
        };
        let found = view.fields.get(first)?;
        rest.into_iter().flat_map(|rest| rest.split('.')).try_fold(found, |value, name| {
            let Value::Map(fields) = value else { return None };
            fields.get(name)
        })
    }

    /// What a record holds there, as it is compared.
    pub(super) fn scalar<'v>(&self, view: &'v View) -> Scalar<'v> {
        self.find(view).map_or(Scalar::Null, |value| Scalar::of(value, self.kind))
    }
}
