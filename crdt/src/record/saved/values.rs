//! The values of one field or element in the stored form.

use std::fmt;
use std::marker::PhantomData;
use std::slice::from_ref;

use serde::de::{SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::SavedValue;

/// The values of one field or element. Nearly always it is one, which is read without allocating; what is stored is a
/// list, whatever their number.
#[derive(Clone)]
pub(super) enum SavedValues<'a> {
    One(SavedValue<'a>),
    Several(Vec<SavedValue<'a>>),
}

impl<'a> SavedValues<'a> {
    pub(super) fn as_slice(&self) -> &[SavedValue<'a>] {
        match self {
            SavedValues::One(value) => from_ref(value),
            SavedValues::Several(values) => values,
        }
    }

    pub(super) fn into_vec(self) -> Vec<SavedValue<'a>> {
        match self {
            SavedValues::One(value) => vec![value],
            SavedValues::Several(values) => values,
        }
    }
}

impl Serialize for SavedValues<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.as_slice().serialize(serializer)
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for SavedValues<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(ListVisitor(PhantomData))
    }
}

struct ListVisitor<'a>(PhantomData<SavedValue<'a>>);

impl<'de: 'a, 'a> Visitor<'de> for ListVisitor<'a> {
    type Value = SavedValues<'a>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a list of values")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
        let Some(first) = list.next_element()? else { return Ok(SavedValues::Several(Vec::new())) };
        let Some(second) = list.next_element()? else { return Ok(SavedValues::One(first)) };
        let mut values = vec![first, second];
        while let Some(value) = list.next_element()? {
            values.push(value);
        }
        Ok(SavedValues::Several(values))
    }
}
