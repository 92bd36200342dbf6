//! The one form of a change in bytes.

use std::collections::BTreeSet;

use super::super::leb128::{write_signed, write_sized, write_unsigned};
use super::super::operation::{Action, ActorBytes, Key, ObjectId, Operation, Shape};
use super::super::value::Value;
use super::runs::{write_booleans, write_deltas, write_runs};
use super::{CHUNK_TYPE_CHANGE, COLUMNS};

/// The body of the change of which the fields are given. `operations` must bear ids that count up from `start_op`.
pub(crate) fn build(
    actor: ActorBytes,
    seq: u64,
    start_op: u64,
    time_ms: i64,
    deps: &[[u8; 32]],
    operations: &[Operation],
) -> Vec<u8> {
    let others = other_actors(actor, operations);
    let columns = write_columns(actor, &others, operations);
    let mut data =
        Vec::with_capacity(64 + 32 * deps.len() + columns.iter().map(Vec::len).sum::<usize>());
    write_unsigned(&mut data, deps.len() as u64);
    deps.iter().for_each(|dep| data.extend_from_slice(dep));
    write_sized(&mut data, &actor.0);
    write_unsigned(&mut data, seq);
    write_unsigned(&mut data, start_op);
    write_signed(&mut data, time_ms);
    write_unsigned(&mut data, 0); // no message
    write_unsigned(&mut data, others.len() as u64);
    others.iter().for_each(|other| write_sized(&mut data, &other.0));
    let present = COLUMNS.iter().zip(&columns).filter(|(_, bytes)| !bytes.is_empty());
    write_unsigned(&mut data, present.clone().count() as u64);
    for (column, bytes) in present {
        write_unsigned(&mut data, *column);
        write_unsigned(&mut data, bytes.len() as u64);
    }
    columns.iter().for_each(|bytes| data.extend_from_slice(bytes));
    let mut body = Vec::with_capacity(data.len() + 4);
    body.push(CHUNK_TYPE_CHANGE);
    write_sized(&mut body, &data);
    body
}

/// The actors that the operations name, but for their own, ascending.
fn other_actors(own: ActorBytes, operations: &[Operation]) -> Vec<ActorBytes> {
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
    operations: &[Operation],
) -> [Vec<u8>; 12] {
    let index = |actor: ActorBytes| -> u64 {
        match actor == own {
            true => 0,
            // Every actor that is named is listed.
            false => others.binary_search(&actor).map_or(u64::MAX, |at| at as u64 + 1),
        }
    };
    let object = |operation: &Operation| match operation.object {
        ObjectId::Root => None,
        ObjectId::Made(id) => Some(id),
    };
    let signed = |counter: u64| i64::try_from(counter).unwrap_or(i64::MAX);
    let rows = operations.iter();
    let preds = operations.iter().flat_map(|operation| &operation.preds);
    let mut columns: [Vec<u8>; 12] = Default::default();
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
    ] = &mut columns;
    write_runs(object_actor, rows.clone().map(|row| object(row).map(|id| index(id.actor))));
    write_runs(object_counter, rows.clone().map(|row| object(row).map(|id| id.counter)));
    write_runs(
        key_actor,
        rows.clone().map(|row| match &row.key {
            Key::Field(_) | Key::Head => None,
            Key::Element(id) => Some(index(id.actor)),
        }),
    );
    write_deltas(
        key_counter,
        rows.clone().map(|row| match &row.key {
            Key::Field(_) => None,
            Key::Head => Some(0),
            Key::Element(id) => Some(signed(id.counter)),
        }),
    );
    write_runs(
        key_name,
        rows.clone().map(|row| match &row.key {
            Key::Field(name) => Some(name.as_str()),
            Key::Head | Key::Element(_) => None,
        }),
    );
    write_booleans(insert, rows.clone().map(|row| row.insert));
    write_runs(action, rows.clone().map(|row| Some(action_code(&row.action))));
    write_runs(value_kind, rows.clone().map(|row| Some(write_value(value, &row.action))));
    write_runs(pred_count, rows.map(|row| Some(row.preds.len() as u64)));
    write_runs(pred_actor, preds.clone().map(|id| Some(index(id.actor))));
    write_deltas(pred_counter, preds.map(|id| Some(signed(id.counter))));
    columns
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
