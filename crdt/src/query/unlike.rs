//! Fields that are compared with values of another kind. No such comparison holds, so that records seem not to be there.

use std::collections::BTreeMap;

use super::filter::{Condition, Filter, Literal, Test};
use super::unseen::Unseen;
use crate::record::Field;
use crate::record::NamedValues;

/// A field that holds values of another kind than it is compared with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unlike {
    /// Its dotted path.
    pub field: String,
    /// The kind of those values.
    pub kind: &'static str,
    /// What it is compared with: `number`, `text`, `boolean`, `timestamp`, `datetime` or `bytes`.
    pub compared_with: &'static str,
    /// In how many of the records that were looked at and not found.
    pub records: u64,
}

/// What is to be said of a query besides what it found.
pub(super) struct Noted<'q> {
    unseen: Unseen<'q>,
    /// The tests of the filter, by field.
    tests: BTreeMap<&'q str, Vec<&'q Test>>,
    /// By field, its kind and what it is compared with.
    unlike: BTreeMap<(&'q str, &'static str, &'static str), u64>,
}

impl<'q> Noted<'q> {
    /// Before any record was looked at.
    pub(super) fn of(
        fields: impl IntoIterator<Item = &'q Field>,
        filter: Option<&'q Filter>,
    ) -> Self {
        let mut tests: BTreeMap<&str, Vec<&Test>> = BTreeMap::new();
        for test in filter.into_iter().flat_map(Filter::tests) {
            tests.entry(&test.field.path).or_default().push(test);
        }
        Noted { unseen: Unseen::of(fields), tests, unlike: BTreeMap::new() }
    }

    /// Looks at a record.
    pub(super) fn see(&mut self, fields: &impl NamedValues) {
        self.unseen.see(fields);
    }

    /// Looks at a record that the filter does not let through.
    pub(super) fn miss(&mut self, fields: &impl NamedValues) {
        for (path, tests) in &self.tests {
            let compared_with = tests.iter().find_map(|test| test.unlike(fields));
            if let Some((kind, with)) = compared_with {
                *self.unlike.entry((*path, kind, with)).or_insert(0) += 1;
            }
        }
    }

    /// The fields that no schema declares and no record had, and those that were compared in vain.
    pub(super) fn end(self) -> (Vec<String>, Vec<Unlike>) {
        let unlike = self.unlike.into_iter();
        let unlike = unlike.map(|((field, kind, compared_with), records)| Unlike {
            field: field.to_owned(),
            kind,
            compared_with,
            records,
        });
        (self.unseen.end(), unlike.collect())
    }
}

impl Test {
    /// The kind of the record's value, and with what it is compared, if the two cannot be compared.
    fn unlike(&self, fields: &impl NamedValues) -> Option<(&'static str, &'static str)> {
        let value = self.field.find(fields)?;
        let found = self.field.scalar(fields);
        let with = |literal: &Literal| {
            let is_like = literal.scalars().any(|scalar| scalar.is_like(found));
            literal.name().filter(|_| !is_like)
        };
        let with = match &self.condition {
            Condition::IsNull => None,
            Condition::StartsWith(prefix) => with(&Literal::Str(prefix.clone())),
            Condition::In(literals) => {
                let mut unlike = literals.iter().map(with);
                // One that can be compared is enough.
                let first = unlike.next().flatten();
                first.filter(|_| unlike.all(|unlike| unlike.is_some()))
            }
            Condition::Compare(_, literal) => with(literal),
        };
        (value.kind_name() != "null").then_some((value.kind_name(), with?))
    }
}
