//! The one form of a change in bytes.

use std::collections::BTreeSet;

use super::super::leb128::{write_signed, write_sized, write_unsigned};
use super::super::operation::{Action, ActorBytes, Key, ObjectId, RecordOperation, Shape};
use super::runs::{write_booleans, write_deltas, write_runs};
use super::{CHUNK_TYPE_CHANGE, COLUMNS};
use crate::record::value::Value;

/// The body of the change of which the fields are given. `operations` must bear ids that count up from `start_op`.
pub(crate) fn build(
    actor: ActorBytes,
    seq: u64,
    start_op: u64,
    time_ms: i64,
    deps: &[[u8; 32]],
    operations: &[RecordOperation],
) -> Vec<u8> {
    let others = other_actors(actor, operations);
    let columns = write_columns(actor, &others, operations);
    let mut header = Vec::with_capacity(128 + 32 * deps.len());
    write_unsigned(&mut header, deps.len() as u64);
    deps.iter().for_each(|dep| header.extend_from_slice(dep));
    write_sized(&mut header, &actor.0);
    write_unsigned(&mut header, seq);
    write_unsigned(&mut header, start_op);
    write_signed(&mut header, time_ms);
    write_unsigned(&mut header, 0); // no message
    write_unsigned(&mut header, others.len() as u64);
    others.iter().for_each(|other| write_sized(&mut header, &other.0));
    let present = COLUMNS.iter().zip(columns.lengths).filter(|(_, length)| *length > 0);
    write_unsigned(&mut header, present.clone().count() as u64);
    for (column, length) in present {
        write_unsigned(&mut header, *column);
        write_unsigned(&mut header, length as u64);
    }
    let length = header.len() + columns.bytes.len();
    let mut body = Vec::with_capacity(length + 8);
    body.push(CHUNK_TYPE_CHANGE);
    write_unsigned(&mut body, length as u64);
    body.extend_from_slice(&header);
    body.extend_from_slice(&columns.bytes);
    body
}

/// The columns of a change, one behind the other.
struct WriteColumns {
    bytes: Vec<u8>,
    lengths: [usize; COLUMNS.len()],
    count: usize,
}

impl WriteColumns {
    fn add(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        let start = self.bytes.len();
        write(&mut self.bytes);
        if let Some(length) = self.lengths.get_mut(self.count) {
            *length = self.bytes.len() - start;
        }
        self.count += 1;
    }
}

/// The actors that the operations name, but for their own, ascending.
fn other_actors(own: ActorBytes, operations: &[RecordOperation]) -> Vec<ActorBytes> {
    let mut others = BTreeSet::new();
    for operation in operations {
        if let ObjectId::Made(id) = operation.object {
            others.insert(id.actor);
        }
        if let Key::Element(id) = operation.key {
            others.insert(id.actor);
        }
        others.extend(operation.preds.iter().map(|id| id.actor));
    }
    others.remove(&own);
    others.into_iter().collect()
}

fn write_columns(
    own: ActorBytes,
    others: &[ActorBytes],
    operations: &[RecordOperation],
) -> WriteColumns {
    let index = |actor: ActorBytes| -> u64 {
        if actor == own {
            0
        } else {
            // Every actor that is named is listed.
            others.binary_search(&actor).map_or(u64::MAX, |at| at as u64 + 1)
        }
    };
    let object = |operation: &RecordOperation| match operation.object {
        ObjectId::Root => None,
        ObjectId::Made(id) => Some(id),
    };
    let signed = |counter: u64| i64::try_from(counter).unwrap_or(i64::MAX);
    let key_actor = |row: &RecordOperation| match &row.key {
        Key::Field(_) | Key::Head => None,
        Key::Element(id) => Some(index(id.actor)),
    };
    let key_counter = |row: &RecordOperation| match &row.key {
        Key::Field(_) => None,
        Key::Head => Some(0),
        Key::Element(id) => Some(signed(id.counter)),
    };
    let rows = operations.iter();
    let preds = operations.iter().flat_map(|operation| &operation.preds);
    let mut values = Vec::with_capacity(128);
    let kinds: Vec<u64> = rows.clone().map(|row| write_value(&mut values, &row.action)).collect();
    let bytes = Vec::with_capacity(256 + values.len());
    let mut columns = WriteColumns { bytes, lengths: [0; COLUMNS.len()], count: 0 };
    // In the order of `COLUMNS`.
    columns.add(|out| write_runs(out, rows.clone().map(|r| object(r).map(|id| index(id.actor)))));
    columns.add(|out| write_runs(out, rows.clone().map(|r| object(r).map(|id| id.counter))));
    columns.add(|out| write_runs(out, rows.clone().map(key_actor)));
    columns.add(|out| write_deltas(out, rows.clone().map(key_counter)));
    columns.add(|out| write_runs(out, rows.clone().map(key_name)));
    columns.add(|out| write_booleans(out, rows.clone().map(|row| row.insert)));
    columns.add(|out| write_runs(out, rows.clone().map(|row| Some(action_code(&row.action)))));
    columns.add(|out| write_runs(out, kinds.iter().map(|kind| Some(*kind))));
    columns.add(|out| out.extend_from_slice(&values));
    columns.add(|out| write_runs(out, rows.clone().map(|row| Some(row.preds.len() as u64))));
    columns.add(|out| write_runs(out, preds.clone().map(|id| Some(index(id.actor)))));
    columns.add(|out| write_deltas(out, preds.clone().map(|id| Some(signed(id.counter)))));
    columns
}

fn key_name(row: &RecordOperation) -> Option<&str> {
    match &row.key {
        Key::Field(name) => Some(name.as_str()),
        Key::Head | Key::Element(_) => None,
    }
}

fn action_code(action: &Action) -> u64 {
    match action {
        Action::Make(Shape::Map) => 0,
        Action::Put(_) => 1,
        Action::Make(Shape::List) => 2,
        Action::Delete => 3,
        Action::Make(Shape::Text) => 4,
        Action::Increment(_) => 5,
    }
}

/// Appends the bytes of an action's value and returns their type and number.
fn write_value(out: &mut Vec<u8>, action: &Action) -> u64 {
    let start = out.len();
    let code = match action {
        Action::Make(_) | Action::Delete => 0,
        Action::Increment(by) => {
            write_signed(out, *by);
            4
        }
        Action::Put(value) => match value {
            // Texts, lists and maps are made, never put.
            Value::Null | Value::Text(_) | Value::List(_) | Value::Map(_) => 0,
            Value::Bool(false) => 1,
            Value::Bool(true) => 2,
            Value::Int(n) => {
                write_signed(out, *n);
                4
            }
            Value::Float(n) => {
                out.extend_from_slice(&n.to_le_bytes());
                5
            }
            Value::Str(s) => {
                out.extend_from_slice(s.as_bytes());
                6
            }
            Value::Bytes(b) => {
                out.extend_from_slice(b);
                7
            }
            Value::Counter(n) => {
                write_signed(out, *n);
                8
            }
            Value::Timestamp(ms) => {
                write_signed(out, *ms);
                9
            }
        },
    };
    ((out.len() - start) as u64) << 4 | code
}
