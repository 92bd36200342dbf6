//! The operations of a change, from its columns, which are refused in any other form than the one that
//! [`super::build`] gives them.

use super::super::leb128::{LayoutFault, LebReader};
use super::super::operation::{
    Action, ActorBytes, Key, ObjectId, OpId, RecordOperation, Shape, UnknownOperation,
};
use super::runs::{Booleans, Deltas, Runs};
use super::{ACTOR_BYTES, COLUMNS, ChunkFault};
use crate::record::limits::{FIELD_NAME_BYTES_MAX, OPERATIONS_MAX};
use crate::record::value::Value;

pub(super) fn read_actor(input: &mut LebReader<'_>) -> Result<ActorBytes, LayoutFault> {
    match input.unsigned()? {
        ACTOR_BYTES => input.array().map(ActorBytes),
        found => Err(LayoutFault::Actor { found }),
    }
}

/// The bytes of each column, in the order of [`COLUMNS`]; nothing for one that is not there.
fn read_columns<'a>(input: &mut LebReader<'a>) -> Result<[&'a [u8]; 12], LayoutFault> {
    input.now_within("column list");
    let mut lengths = [0; 12];
    let mut next = 0;
    for _ in 0..input.unsigned()? {
        let found = input.unsigned()?;
        let rest = COLUMNS.get(next..).unwrap_or_default();
        let at = rest.iter().position(|column| *column == found);
        let at = next + at.ok_or(LayoutFault::Column { found })?;
        if let Some(length) = lengths.get_mut(at) {
            *length = input.unsigned()?;
            input.require_canonical(*length > 0)?;
        }
        next = at + 1;
    }
    input.now_within("columns");
    let mut columns = [&[][..]; 12];
    for (column, length) in columns.iter_mut().zip(lengths) {
        *column = input.take(length)?;
    }
    input.end("columns")?;
    Ok(columns)
}

/// The columns of a change that is being read.
struct ReadColumns<'a> {
    /// Its own, then those that its operations name.
    actors: &'a [ActorBytes],
    /// Which of these are named.
    is_named: Vec<bool>,
    object_actor: Runs<'a, u64>,
    object_counter: Runs<'a, u64>,
    key_actor: Runs<'a, u64>,
    key_counter: Deltas<'a>,
    key_name: Runs<'a, &'a str>,
    insert: Booleans<'a>,
    value_kind: Runs<'a, u64>,
    value: LebReader<'a>,
    pred_count: Runs<'a, u64>,
    pred_actor: Runs<'a, u64>,
    pred_counter: Deltas<'a>,
    preds_left: u64,
}

pub(super) fn read_operations(
    input: &mut LebReader<'_>,
    actors: &[ActorBytes],
    start_op: u64,
) -> Result<Vec<RecordOperation>, ChunkFault> {
    let [
        object_actor,
        object_counter,
        key_actor,
        key_counter,
        key_name,
        insert,
        action,
        value_kind,
        value,
        pred_count,
        pred_actor,
        pred_counter,
    ] = read_columns(input)?;
    let (own, others) = actors.split_first().ok_or(LayoutFault::NoOperations)?;
    let is_in_order = others.is_sorted_by(|a, b| a < b) && !others.contains(own);
    input.require_canonical(is_in_order)?;
    let mut columns = ReadColumns {
        actors,
        is_named: vec![false; others.len()],
        object_actor: Runs::new(object_actor),
        object_counter: Runs::new(object_counter),
        key_actor: Runs::new(key_actor),
        key_counter: Deltas::new(key_counter),
        key_name: Runs::new(key_name),
        insert: Booleans::new(insert),
        value_kind: Runs::new(value_kind),
        value: LebReader::new(value, "values"),
        pred_count: Runs::new(pred_count),
        pred_actor: Runs::new(pred_actor),
        pred_counter: Deltas::new(pred_counter),
        preds_left: OPERATIONS_MAX as u64,
    };
    let mut actions: Runs<'_, u64> = Runs::new(action);
    // Mostly there are as many, for values of one type and length seldom follow each other.
    let mut operations = Vec::with_capacity(value_kind.len().min(64));
    while !actions.is_done() {
        if operations.len() == OPERATIONS_MAX {
            return Err(LayoutFault::TooManyRows.into());
        }
        let counter = start_op.checked_add(operations.len() as u64 + 1);
        let counter = counter.ok_or(LayoutFault::CounterOverflow)? - 1;
        let action = actions.next()?.ok_or(LayoutFault::Half { of: "action" })?;
        operations.push(columns.operation(OpId { counter, actor: *own }, action)?);
    }
    if operations.is_empty() {
        return Err(LayoutFault::NoOperations.into());
    }
    actions.end()?;
    columns.end()?;
    Ok(operations)
}

impl<'a> ReadColumns<'a> {
    fn operation(&mut self, id: OpId, action: u64) -> Result<RecordOperation, ChunkFault> {
        let object = match (self.object_actor.next()?, self.object_counter.next()?) {
            (None, None) => ObjectId::Root,
            (Some(actor), Some(counter)) => {
                ObjectId::Made(OpId { counter, actor: self.actor(actor)? })
            }
            (Some(_), None) | (None, Some(_)) => {
                return Err(LayoutFault::Half { of: "object" }.into());
            }
        };
        let key = self.key()?;
        let insert = self.insert.next()?;
        let value = self.value()?;
        let action = match (action, value) {
            (1, value) => Action::Put(value),
            (0, Value::Null) => Action::Make(Shape::Map),
            (2, Value::Null) => Action::Make(Shape::List),
            (3, Value::Null) => Action::Delete,
            (4, Value::Null) => Action::Make(Shape::Text),
            (0 | 2 | 3 | 4, _) => return Err(LayoutFault::NotCanonical { within: "values" }.into()),
            (5, Value::Int(by)) => Action::Increment(by),
            (6, _) => return Err(UnknownOperation::Table.into()),
            (7, _) => return Err(UnknownOperation::Mark.into()),
            (code, _) => return Err(UnknownOperation::Action { code }.into()),
        };
        Ok(RecordOperation { id, object, key, insert, action, preds: self.preds()? })
    }

    fn actor(&mut self, found: u64) -> Result<ActorBytes, LayoutFault> {
        let known = self.actors.len() as u64;
        let place = usize::try_from(found).unwrap_or(usize::MAX);
        if let Some(is_named) = place.checked_sub(1).and_then(|other| self.is_named.get_mut(other))
        {
            *is_named = true;
        }
        let actor = self.actors.get(place);
        actor.copied().ok_or(LayoutFault::ActorIndex { found, known })
    }

    fn key(&mut self) -> Result<Key, LayoutFault> {
        let half = LayoutFault::Half { of: "key" };
        Ok(match (self.key_actor.next()?, self.key_counter.next()?, self.key_name.next()?) {
            (None, None, Some(name)) => match name.len() {
                1..=FIELD_NAME_BYTES_MAX => Key::Field(name.into()),
                found => return Err(LayoutFault::FieldName { found: found as u64 }),
            },
            (None, Some(0), None) => Key::Head,
            (Some(actor), Some(counter), None) => {
                let counter = u64::try_from(counter).map_err(|_| half)?;
                Key::Element(OpId { counter, actor: self.actor(actor)? })
            }
            (_, _, _) => return Err(half),
        })
    }

    fn value(&mut self) -> Result<Value, ChunkFault> {
        let kind = self.value_kind.next()?;
        let kind = kind.ok_or(LayoutFault::NotCanonical { within: "columns" })?;
        let length = kind >> 4;
        let mut bytes = LebReader::new(self.value.take(length)?, "values");
        let value = match kind & 0x0f {
            0 => Value::Null,
            1 => Value::Bool(false),
            2 => Value::Bool(true),
            3 => return Err(UnknownOperation::Unsigned.into()),
            4 => Value::Int(bytes.signed()?),
            5 => Value::Float(f64::from_le_bytes(bytes.array()?)),
            6 => Value::Str(bytes.string(length)?.to_owned()),
            7 => Value::Bytes(bytes.take(length)?.to_vec()),
            8 => Value::Counter(bytes.signed()?),
            9 => Value::Timestamp(bytes.signed()?),
            code => return Err(UnknownOperation::Type { code: code as u8 }.into()),
        };
        bytes.end("value")?;
        Ok(value)
    }

    fn preds(&mut self) -> Result<Vec<OpId>, LayoutFault> {
        let count = self.pred_count.next()?;
        let count = count.ok_or(LayoutFault::NotCanonical { within: "columns" })?;
        self.preds_left = self.preds_left.checked_sub(count).ok_or(LayoutFault::TooManyRows)?;
        let mut preds = Vec::new();
        for _ in 0..count {
            let half = LayoutFault::Half { of: "removed values" };
            let (Some(actor), Some(counter)) = (self.pred_actor.next()?, self.pred_counter.next()?)
            else {
                return Err(half);
            };
            let counter = u64::try_from(counter).map_err(|_| half)?;
            preds.push(OpId { counter, actor: self.actor(actor)? });
        }
        Ok(preds)
    }

    /// Demands that the operations took all that there is.
    fn end(&self) -> Result<(), LayoutFault> {
        for column in [
            &self.object_actor,
            &self.object_counter,
            &self.key_actor,
            &self.value_kind,
            &self.pred_count,
            &self.pred_actor,
        ] {
            column.end()?;
        }
        self.key_counter.end()?;
        self.key_name.end()?;
        self.insert.end()?;
        self.pred_counter.end()?;
        self.value.require_canonical(self.value.is_empty())?;
        self.value.require_canonical(self.is_named.iter().all(|is_named| *is_named))
    }
}
