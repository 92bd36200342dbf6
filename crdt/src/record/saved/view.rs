//! Reading a record straight from its stored form, without a history.
//!
//! Nearly every record is fields with one plain value each. Such a record is read as it is decoded. It is read as
//! [`Document::view`] reads it, to which the tests hold it.

use std::collections::BTreeMap;

use super::{Saved, SavedContent, SavedObject, SavedValue};
use crate::codec;
use crate::record::document::{Document, Unreadable};
use crate::record::limits::DELETED_FIELD;
use crate::record::value::Value;
use crate::record::view::{View, clamp};

impl View {
    /// Reads what [`Document::save`] wrote.
    ///
    /// # Errors
    /// [`Unreadable`] if the bytes are damaged.
    pub fn of_saved(saved: &[u8]) -> Result<View, Unreadable> {
        match plain(codec::decode("record", saved)?) {
            Some(view) => Ok(view),
            None => Ok(Document::load(saved)?.view()),
        }
    }
}

/// The view of a record without conflicts, whose only object is the record itself; `None` for any other.
fn plain(saved: Saved<'_>) -> Option<View> {
    let [SavedObject::Map(saved_fields)] = saved.objects.as_slice() else { return None };
    let actors = saved.actors.len() + saved.genesis.len();
    let mut fields = BTreeMap::new();
    let mut deleted = false;
    for (name, values) in saved_fields {
        let [SavedValue { id, content }] = values.as_ref() else { return None };
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
    let mut heads: Vec<[u8; 32]> = saved.heads.iter().map(|head| head.hash).collect();
    heads.sort_unstable();
    Some(View { fields, deleted, conflicts: Vec::new(), heads })
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
