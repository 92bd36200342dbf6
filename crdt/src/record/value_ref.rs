//! Values and fields that are looked at where they lie, without a value of one's own.

use std::collections::BTreeMap;

use super::value::Value;
use super::view::Fields;

/// A value that is borrowed: from a [`Value`], or as a plain one from what is stored of a record.
#[derive(Debug, Clone, Copy)]
pub enum ValueRef<'a> {
    /// [`Value::Null`].
    Null,
    /// [`Value::Bool`].
    Bool(bool),
    /// [`Value::Int`].
    Int(i64),
    /// [`Value::Float`].
    Float(f64),
    /// [`Value::Str`].
    Str(&'a str),
    /// [`Value::Bytes`].
    Bytes(&'a [u8]),
    /// [`Value::Timestamp`].
    Timestamp(i64),
    /// [`Value::Counter`].
    Counter(i64),
    /// [`Value::Text`].
    Text(&'a str),
    /// [`Value::List`].
    List(&'a [Value]),
    /// [`Value::Map`].
    Map(&'a BTreeMap<String, Value>),
}

impl<'a> From<&'a Value> for ValueRef<'a> {
    fn from(value: &'a Value) -> Self {
        match value {
            Value::Null => ValueRef::Null,
            Value::Bool(b) => ValueRef::Bool(*b),
            Value::Int(n) => ValueRef::Int(*n),
            Value::Float(n) => ValueRef::Float(*n),
            Value::Str(text) => ValueRef::Str(text),
            Value::Bytes(bytes) => ValueRef::Bytes(bytes),
            Value::Timestamp(ms) => ValueRef::Timestamp(*ms),
            Value::Counter(n) => ValueRef::Counter(*n),
            Value::Text(text) => ValueRef::Text(text),
            Value::List(values) => ValueRef::List(values),
            Value::Map(fields) => ValueRef::Map(fields),
        }
    }
}

impl ValueRef<'_> {
    /// The value, for those who keep it.
    #[must_use]
    pub fn to_value(self) -> Value {
        match self {
            ValueRef::Null => Value::Null,
            ValueRef::Bool(b) => Value::Bool(b),
            ValueRef::Int(n) => Value::Int(n),
            ValueRef::Float(n) => Value::Float(n),
            ValueRef::Str(text) => Value::Str(text.to_owned()),
            ValueRef::Bytes(bytes) => Value::Bytes(bytes.to_vec()),
            ValueRef::Timestamp(ms) => Value::Timestamp(ms),
            ValueRef::Counter(n) => Value::Counter(n),
            ValueRef::Text(text) => Value::Text(text.to_owned()),
            ValueRef::List(values) => Value::List(values.to_vec()),
            ValueRef::Map(fields) => Value::Map(fields.clone()),
        }
    }

    /// What the value is, in the words of the kinds of fields.
    #[must_use]
    pub fn kind_name(self) -> &'static str {
        match self {
            ValueRef::Null => "null",
            ValueRef::Bool(_) => "boolean",
            ValueRef::Int(_) => "integer",
            ValueRef::Float(_) => "float",
            ValueRef::Str(_) => "string",
            ValueRef::Bytes(_) => "bytes",
            ValueRef::Timestamp(_) => "timestamp",
            ValueRef::Counter(_) => "counter",
            ValueRef::Text(_) => "text",
            ValueRef::List(_) => "list",
            ValueRef::Map(_) => "map",
        }
    }

    /// About how many bytes it takes as JSON.
    pub(crate) fn json_bytes(self) -> usize {
        match self {
            ValueRef::Null
            | ValueRef::Bool(_)
            | ValueRef::Int(_)
            | ValueRef::Float(_)
            | ValueRef::Timestamp(_)
            | ValueRef::Counter(_) => 8,
            ValueRef::Str(text) | ValueRef::Text(text) => text.len(),
            ValueRef::Bytes(bytes) => bytes.len(),
            ValueRef::List(values) => values.iter().map(Value::json_bytes).sum(),
            ValueRef::Map(fields) => {
                fields.iter().map(|(name, value)| name.len() + value.json_bytes()).sum()
            }
        }
    }
}

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
