//! Reading a record, or some of its fields, straight from its stored form, without a history.
//!
//! Nearly every record is fields with one plain value each. Such a record is read as it is decoded. It is read as
//! [`Document::view`](crate::record::Document::view) reads it, to which the tests hold it.

use super::glance;
use super::{Saved, SavedContent, SavedObject, SavedValue, load};
use crate::format::codec;
use crate::record::limits::DELETED_FIELD;
use crate::record::some_fields::{FieldNames, SomeFields};
use crate::record::unreadable::Unreadable;
use crate::record::value::Value;
use crate::record::view::{self, Fields, View, clamp};

impl View {
    /// Reads what [`Document::save`](crate::record::Document::save) wrote.
    ///
    /// # Errors
    /// [`Unreadable`] if the bytes are damaged.
    pub fn of_saved(saved: &[u8]) -> Result<Self, Unreadable> {
        match plain(&codec::decode("record", saved)?) {
            Some(view) => Ok(view),
            None => Ok(view::view(&load(saved)?)),
        }
    }

    /// Looks at the fields of those names alone; `None` if the record is deleted. Takes a small fraction of the time of
    /// [`View::of_saved`]: a record with plain values is looked at where it lies.
    ///
    /// # Errors
    /// [`Unreadable`] if the bytes are damaged.
    pub fn some_of_saved<'a>(
        saved: &'a [u8],
        names: &'a FieldNames<'a>,
    ) -> Result<Option<SomeFields<'a>>, Unreadable> {
        if let Some((values, deleted)) = glance::plain_fields(saved, names) {
            return Ok((!deleted).then(|| SomeFields::plain(names, values)));
        }
        // Damaged ones are found to be so here.
        let Self { fields, deleted, .. } = Self::of_saved(saved)?;
        Ok((!deleted).then(|| SomeFields::of(names, fields)))
    }
}

/// The view of a record without conflicts, whose only object is the record itself; `None` for any other.
fn plain(saved: &Saved<'_>) -> Option<View> {
    let (fields, deleted) = plain_fields(saved)?;
    let mut heads: Vec<[u8; 32]> = saved.heads.iter().map(|head| head.hash).collect();
    heads.sort_unstable();
    Some(View { fields, deleted, conflicts: Vec::new(), heads })
}

/// The fields of a record, and whether it is deleted; `None` if one of them, or that, is no single plain value.
fn plain_fields(saved: &Saved<'_>) -> Option<(Fields, bool)> {
    let [SavedObject::Map(saved_fields)] = saved.objects.as_slice() else { return None };
    let actors = saved.actors.len() + saved.genesis.len();
    let mut fields = Fields::new();
    let mut deleted = false;
    for (name, values) in saved_fields {
        let [SavedValue { id, content }] = values.as_slice() else { return None };
        if id.actor as usize >= actors {
            return None;
        }
        let value = value(content)?;
        if *name == DELETED_FIELD {
            deleted = value == Value::Bool(true);
        } else {
            fields.insert((*name).to_owned(), value);
        }
    }
    Some((fields, deleted))
}

/// A value that is no object.
fn value(content: &SavedContent<'_>) -> Option<Value> {
    Some(match content {
        SavedContent::Null => Value::Null,
        SavedContent::Bool(b) => Value::Bool(*b),
        SavedContent::Int(n) => Value::Int(*n),
        SavedContent::Float(n) => Value::Float(*n),
        SavedContent::Str(s) => Value::Str((*s).to_owned()),
        SavedContent::Bytes(b) => Value::Bytes(b.to_vec()),
        SavedContent::Timestamp(ms) => Value::Timestamp(*ms),
        SavedContent::Counter(sum) => Value::Counter(clamp(*sum)),
        SavedContent::Map | SavedContent::List | SavedContent::Text => return None,
    })
}
