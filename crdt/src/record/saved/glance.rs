//! Looking at some fields of a record in its stored form: the rest is passed over, and nothing is copied.
//!
//! All of the bytes are looked at. Each function reads, or passes over, what one of the types of the form is made of, and
//! has to accept what that type does and nothing else; the tests hold it to that.

use crate::format::skim::Skim;
use crate::record::change::genesis::GenesisKind;
use crate::record::limits::DELETED_FIELD;
use crate::record::some_fields::FieldNames;
use crate::record::value::ValueRef;
use crate::record::view::clamp;

const ACTOR_BYTES: usize = 16;
const HASH_BYTES: usize = 32;

/// The fields of those names by their places, and whether the record is deleted. `None` if one of them, or that, is no
/// single plain value, or the bytes are damaged: reading the whole record says which.
pub(super) fn plain_fields<'a>(
    saved: &'a [u8],
    names: &FieldNames<'_>,
) -> Option<(Vec<Option<ValueRef<'a>>>, bool)> {
    let mut skim = Skim::new(saved);
    let _max_op = skim.u64()?;
    let mut actors = 0_usize;
    skim.each(|skim| {
        actors += 1;
        skim.bytes_of(ACTOR_BYTES)?;
        let (_seq, _end_op) = (skim.u64()?, skim.u64()?);
        Some(())
    })?;
    skim.each(|skim| {
        actors += 1;
        genesis(skim)
    })?;
    skim.each(|skim| {
        skim.bytes_of(HASH_BYTES)?;
        skim.each(|skim| id(skim).map(|_| ()))
    })?;
    skim.each(|skim| {
        let (_actor, _start_op, _time_ms) = (skim.u32()?, skim.u64()?, skim.i64()?);
        Some(())
    })?;
    let mut fields = Glance { names, actors, values: vec![None; names.len()], is_deleted: false };
    let mut is_first = true;
    skim.each(|skim| {
        let is_map = object_is_map(skim)?;
        match (std::mem::take(&mut is_first), is_map) {
            (true, true) => skim.each(|skim| fields.field(skim)),
            // The record itself is a map.
            (true, false) => None,
            (false, true) => skim.each(|skim| {
                skim.str_bytes()?;
                values(skim)
            }),
            (false, false) => skim.each(run),
        }
    })?;
    skim.end()?;
    (!is_first).then_some((fields.values, fields.is_deleted))
}

/// What has been found.
struct Glance<'n, 'a> {
    names: &'n FieldNames<'n>,
    actors: usize,
    values: Vec<Option<ValueRef<'a>>>,
    is_deleted: bool,
}

impl<'a> Glance<'_, 'a> {
    fn field(&mut self, skim: &mut Skim<'a>) -> Option<()> {
        let name = skim.str_bytes()?;
        if name == DELETED_FIELD.as_bytes() {
            self.is_deleted = matches!(self.single(skim)?, ValueRef::Bool(true));
        } else if let Some(place) = self.names.place(name) {
            let value = self.single(skim)?;
            *self.values.get_mut(place)? = Some(value);
        } else {
            values(skim)?;
        }
        Some(())
    }

    /// The one value of a field, if it is a plain one.
    fn single(&self, skim: &mut Skim<'a>) -> Option<ValueRef<'a>> {
        let (1, place) = (skim.u64()?, id(skim)?) else { return None };
        if place as usize >= self.actors {
            return None;
        }
        plain(skim)
    }
}

/// Whether an object, which follows, is a map or a sequence.
fn object_is_map(skim: &mut Skim<'_>) -> Option<bool> {
    match skim.u32()? {
        0 => Some(true),
        1 => Some(false),
        _ => None,
    }
}

/// The values of one field or element.
fn values(skim: &mut Skim<'_>) -> Option<()> {
    skim.each(|skim| {
        id(skim)?;
        content(skim)
    })
}

/// The place of an operation's actor.
#[inline]
fn id(skim: &mut Skim<'_>) -> Option<u32> {
    let (actor, _counter) = (skim.u32()?, skim.u64()?);
    Some(actor)
}

/// A value that is no object.
#[inline]
fn plain<'a>(skim: &mut Skim<'a>) -> Option<ValueRef<'a>> {
    Some(match skim.u32()? {
        0 => ValueRef::Null,
        1 => ValueRef::Bool(skim.bool()?),
        2 => ValueRef::Int(skim.i64()?),
        3 => ValueRef::Float(skim.f64()?),
        4 => ValueRef::Str(skim.str()?),
        5 => ValueRef::Bytes(skim.bytes()?),
        6 => ValueRef::Timestamp(skim.i64()?),
        7 => ValueRef::Counter(clamp(skim.i128()?)),
        // Maps, lists and texts are objects.
        _ => return None,
    })
}

/// Any value.
#[inline]
fn content(skim: &mut Skim<'_>) -> Option<()> {
    match skim.u32()? {
        0 | 8..=10 => {}
        1 => drop(skim.bool()?),
        2 | 6 => drop(skim.i64()?),
        3 => drop(skim.f64()?),
        4 => drop(skim.str_bytes()?),
        5 => drop(skim.bytes()?),
        7 => drop(skim.i128()?),
        _ => return None,
    }
    Some(())
}

/// Elements that follow each other.
fn run(skim: &mut Skim<'_>) -> Option<()> {
    let _first = id(skim)?;
    if skim.bool()? {
        let _after = id(skim)?;
    }
    skim.each(|skim| match skim.u32()? {
        0 => Some(()),
        1 => content(skim),
        2 => values(skim),
        _ => None,
    })
}

/// A beginning that all sites share.
fn genesis(skim: &mut Skim<'_>) -> Option<()> {
    skim.each(|skim| skim.str_bytes().map(|_| ()))?;
    (skim.u32()? <= GenesisKind::Map as u32).then_some(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
pub(in crate::record) mod tests {
    use std::collections::BTreeMap;

    use super::super::{Saved, SavedContent, SavedObject, SavedValue};
    use super::*;
    use crate::format::codec;
    use crate::record::some_fields::SomeFields;
    use crate::record::value::Value;

    type Glanced = Option<(BTreeMap<String, Value>, bool)>;

    /// What the whole form says of the fields of some names.
    fn decoded(saved: &Saved<'_>, names: &[&str]) -> Glanced {
        let [SavedObject::Map(fields), ..] = saved.objects.as_slice() else { return None };
        let (mut found, mut is_deleted) = (BTreeMap::new(), false);
        for (name, values) in fields {
            if *name != DELETED_FIELD && !names.contains(name) {
                continue;
            }
            let [SavedValue { id, content }] = values.as_slice() else { return None };
            if id.actor as usize >= saved.actors.len() + saved.genesis.len() {
                return None;
            }
            let value = match content {
                SavedContent::Null => Value::Null,
                SavedContent::Bool(b) => Value::Bool(*b),
                SavedContent::Int(n) => Value::Int(*n),
                SavedContent::Float(n) => Value::Float(*n),
                SavedContent::Str(text) => Value::Str((*text).to_owned()),
                SavedContent::Bytes(bytes) => Value::Bytes(bytes.to_vec()),
                SavedContent::Timestamp(ms) => Value::Timestamp(*ms),
                SavedContent::Counter(sum) => Value::Counter(clamp(*sum)),
                SavedContent::Map | SavedContent::List | SavedContent::Text => return None,
            };
            if *name == DELETED_FIELD {
                is_deleted = value == Value::Bool(true);
            } else {
                found.insert((*name).to_owned(), value);
            }
        }
        Some((found, is_deleted))
    }

    fn glanced(saved: &[u8], names: &[&str]) -> Glanced {
        let names: FieldNames<'_> = names.iter().copied().collect();
        let (values, is_deleted) = plain_fields(saved, &names)?;
        Some((SomeFields::plain(&names, values).to_fields(), is_deleted))
    }

    /// Asserts that a glance finds of any fields what decoding the whole form finds, and finds nothing where that fails.
    pub(in crate::record) fn assert_as_decoded(bytes: &[u8]) {
        let whole = codec::decode::<Saved<'_>>("record", bytes);
        let fields = match whole.as_ref().map(|saved| saved.objects.first()) {
            Ok(Some(SavedObject::Map(fields))) => fields.as_slice(),
            Ok(Some(SavedObject::Sequence(_)) | None) | Err(_) => &[],
        };
        let all: Vec<&str> = fields.iter().map(|(name, _)| *name).chain(["nowhere"]).collect();
        let each = all.iter().map(std::slice::from_ref);
        for names in each.chain([&[][..], &all]) {
            let expected = whole.as_ref().ok().and_then(|saved| decoded(saved, names));
            assert_eq!(glanced(bytes, names), expected, "{names:?} of {bytes:?}");
        }
    }
}
