//! Fields of a record that are looked at where they lie, without values of one's own.

use super::value::ValueRef;
use super::view::Fields;

/// What a query looks a record's fields up in: [`Fields`], or [`SomeFields`].
pub trait NamedValues {
    /// What the record holds under a name; `None`: nothing.
    fn named(&self, name: &str) -> Option<ValueRef<'_>>;
}

impl NamedValues for Fields {
    fn named(&self, name: &str) -> Option<ValueRef<'_>> {
        self.get(name).map(ValueRef::from)
    }
}

/// Names of fields, each once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldNames<'n> {
    names: Vec<&'n str>,
    /// By their last six bits, which lengths there are: most other names have another one.
    lengths: u64,
}

/// So many names are soonest looked through one by one.
const LOOKED_THROUGH_MAX: usize = 8;

impl<'n> FromIterator<&'n str> for FieldNames<'n> {
    fn from_iter<I: IntoIterator<Item = &'n str>>(names: I) -> Self {
        let mut names: Vec<&str> = names.into_iter().collect();
        names.sort_unstable();
        names.dedup();
        let lengths = names.iter().fold(0, |lengths, name| lengths | length_bit(name.as_bytes()));
        FieldNames { names, lengths }
    }
}

fn length_bit(name: &[u8]) -> u64 {
    1 << (name.len() % 64)
}

impl FieldNames<'_> {
    pub(super) fn len(&self) -> usize {
        self.names.len()
    }

    #[inline]
    pub(super) fn place(&self, name: &[u8]) -> Option<usize> {
        if self.lengths & length_bit(name) == 0 {
            None
        } else if self.names.len() <= LOOKED_THROUGH_MAX {
            self.names.iter().position(|known| known.as_bytes() == name)
        } else {
            self.names.binary_search_by(|known| known.as_bytes().cmp(name)).ok()
        }
    }
}

/// The fields of a record that have one of some names.
#[derive(Debug)]
pub struct SomeFields<'a> {
    names: &'a FieldNames<'a>,
    values: SomeValues<'a>,
}

#[derive(Debug)]
enum SomeValues<'a> {
    /// By the places of their names.
    Plain(Vec<Option<ValueRef<'a>>>),
    /// Those of other names may be among them.
    Whole(Fields),
}

impl<'a> SomeFields<'a> {
    /// Fields with plain values, by the places of their names.
    pub(super) fn plain(names: &'a FieldNames<'a>, values: Vec<Option<ValueRef<'a>>>) -> Self {
        SomeFields { names, values: SomeValues::Plain(values) }
    }

    /// Those that are in the whole record.
    pub(super) fn of(names: &'a FieldNames<'a>, fields: Fields) -> Self {
        SomeFields { names, values: SomeValues::Whole(fields) }
    }

    /// The fields, for those who keep them.
    #[must_use]
    pub fn to_fields(&self) -> Fields {
        let found = self.names.names.iter().filter_map(|name| Some((*name, self.named(name)?)));
        found.map(|(name, value)| (name.to_owned(), value.to_value())).collect()
    }
}

impl NamedValues for SomeFields<'_> {
    fn named(&self, name: &str) -> Option<ValueRef<'_>> {
        match &self.values {
            SomeValues::Plain(values) => *values.get(self.names.place(name.as_bytes())?)?,
            SomeValues::Whole(fields) => fields.named(name),
        }
    }
}
