//! Fields that nobody knows: a slip of the pen, most likely.

use std::collections::BTreeSet;

use crate::record::Field;
use crate::record::NamedValues;

/// The fields of a query that no schema declares, and that none of the records that were looked at has.
pub(super) struct Unseen<'q> {
    fields: Vec<&'q Field>,
    has_records: bool,
}

impl<'q> Unseen<'q> {
    /// Before any record was looked at.
    pub(super) fn of(fields: impl IntoIterator<Item = &'q Field>) -> Self {
        let undeclared = fields.into_iter().filter(|field| field.kind.is_none());
        Unseen { fields: undeclared.collect(), has_records: false }
    }

    /// Looks at a record.
    pub(super) fn see(&mut self, fields: &impl NamedValues) {
        self.has_records = true;
        self.fields.retain(|field| field.find(fields).is_none());
    }

    /// Their paths; none as long as there was no record to look at.
    pub(super) fn paths(&self) -> BTreeSet<&'q str> {
        let fields = self.fields.iter().filter(|_| self.has_records);
        fields.map(|field| field.path.as_str()).collect()
    }

    /// The same, for an answer.
    pub(super) fn end(self) -> Vec<String> {
        self.paths().into_iter().map(str::to_owned).collect()
    }
}
