//! A record as Automerge itself reads it, in the form of a [`View`], so that one can be held to the other.

use automerge::{Automerge, ObjId, ObjType, Prop, ReadDoc, ScalarValue};

use super::{guarded, heads, refused};
use crate::record::limits::DELETED_FIELD;
use crate::record::unreadable::Unreadable;
use crate::record::value::Value;
use crate::record::view::{CONFLICT_VALUES_MAX, Conflict, ConflictValue, Fields, View};

/// Reads a document as a record. The rules by which a view is made of what Automerge holds are the same as those of
/// [`super::super::view::view`]: which conflicts are shown, in which order, and how many of them.
///
/// # Errors
/// [`Unreadable`] if it holds what no record does, or Automerge fails.
pub(crate) fn view_of(document: &Automerge) -> Result<View, Unreadable> {
    guarded(|| {
        let mut walk =
            AutomergeWalk { document, conflicts: Vec::new(), values_left: CONFLICT_VALUES_MAX };
        let mut fields = walk.map(&automerge::ROOT, "", true)?;
        fields.remove(DELETED_FIELD);
        let deletions = document.get_all(automerge::ROOT, DELETED_FIELD).map_err(refused)?;
        let is_true = |value: &automerge::Value<'_>| value.as_bool() == Some(true);
        Ok(View {
            fields,
            deleted: deletions.iter().any(|(value, _)| is_true(value)),
            conflicts: walk.conflicts,
            heads: heads(document),
        })
    })
}

/// One walk over all live values, shown or not.
struct AutomergeWalk<'a> {
    document: &'a Automerge,
    conflicts: Vec<Conflict>,
    /// How many more values of conflicts are listed.
    values_left: usize,
}

impl AutomergeWalk<'_> {
    fn map(&mut self, object: &ObjId, path: &str, is_shown: bool) -> Result<Fields, Unreadable> {
        let mut fields = Fields::new();
        for name in self.document.keys(object) {
            let path = match path {
                "" => name.clone(),
                around => format!("{around}.{name}"),
            };
            let value = self.place(object, name.as_str().into(), &path, is_shown)?;
            fields.insert(name, value);
        }
        Ok(fields)
    }

    fn list(
        &mut self,
        object: &ObjId,
        path: &str,
        is_shown: bool,
    ) -> Result<Vec<Value>, Unreadable> {
        let elements = 0..self.document.length(object);
        elements
            .map(|index| self.place(object, index.into(), &format!("{path}[{index}]"), is_shown))
            .collect()
    }

    /// Reads the values of one field or element and returns the shown one, the last.
    fn place(
        &mut self,
        object: &ObjId,
        at: Prop,
        path: &str,
        is_shown: bool,
    ) -> Result<Value, Unreadable> {
        let all = self.document.get_all(object, at).map_err(refused)?;
        let last = all.len().saturating_sub(1);
        let mut values = Vec::with_capacity(all.len());
        for (index, (value, id)) in all.into_iter().enumerate() {
            values.push((self.value(value, &id, path, is_shown && index == last)?, id));
        }
        values.reverse();
        let is_conflict =
            values.iter().any(|(value, _)| Some(value) != values.first().map(|it| &it.0));
        if is_shown && is_conflict && path != DELETED_FIELD && self.values_left > 1 {
            let listed = values.len().min(self.values_left);
            self.values_left -= listed;
            let shown = values.iter().take(listed);
            let shown = shown.map(|(value, id)| self.conflict_value(value, id));
            let values = shown.collect::<Result<_, _>>()?;
            self.conflicts.push(Conflict { path: path.to_owned(), values });
        }
        let shown = values.into_iter().next();
        Ok(shown.ok_or_else(|| Unreadable::Automerge(format!("{path} has no value")))?.0)
    }

    fn value(
        &mut self,
        value: automerge::Value<'_>,
        id: &ObjId,
        path: &str,
        is_shown: bool,
    ) -> Result<Value, Unreadable> {
        Ok(match value {
            automerge::Value::Object(ObjType::Map | ObjType::Table) => {
                Value::Map(self.map(id, path, is_shown)?)
            }
            automerge::Value::Object(ObjType::List) => Value::List(self.list(id, path, is_shown)?),
            automerge::Value::Object(ObjType::Text) => {
                Value::Text(self.document.text(id).map_err(refused)?)
            }
            automerge::Value::Scalar(scalar) => match &*scalar {
                ScalarValue::Null => Value::Null,
                ScalarValue::Boolean(it) => Value::Bool(*it),
                ScalarValue::Int(it) => Value::Int(*it),
                ScalarValue::F64(it) => Value::Float(*it),
                ScalarValue::Str(it) => Value::Str(it.to_string()),
                ScalarValue::Bytes(it) => Value::Bytes(it.clone()),
                ScalarValue::Timestamp(ms) => Value::Timestamp(*ms),
                ScalarValue::Counter(it) => Value::Counter(i64::from(it)),
                ScalarValue::Uint(_) | ScalarValue::Unknown { .. } => {
                    let found = format!("{path} is {scalar:?}, which no record holds");
                    return Err(Unreadable::Automerge(found));
                }
            },
        })
    }

    fn conflict_value(&self, value: &Value, id: &ObjId) -> Result<ConflictValue, Unreadable> {
        let ObjId::Id(_, actor, _) = id else {
            return Err(Unreadable::Automerge(
                "a value of a field is the record itself".to_owned(),
            ));
        };
        let actor = actor.to_bytes().try_into().map_err(|_| {
            Unreadable::Automerge(format!("the actor {actor} has not 16 bytes, as those of sites"))
        })?;
        let change = self.document.hash_for_opid(id);
        let change = change.and_then(|hash| self.document.get_change_meta_by_hash(&hash));
        let time_ms = change.map_or(0, |change| change.timestamp);
        Ok(ConflictValue { value: value.clone(), actor, time_ms })
    }
}
