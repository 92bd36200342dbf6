//! Changes that are forged from those of honest offices, over random forgeries: each gets one verdict, whatever of the record's
//! history is here.

use std::collections::BTreeSet;

use proptest::prelude::*;
use serde_json::json;

use super::hostile::{entry, field, id, office};
use super::support::{
    Office, TestEntry, actor, assert_first_is_like_document, assert_like_automerge,
    is_automerge_canonical,
};
use crate::record::change::chunk::{self, ChunkFault, Decoded};
use crate::record::change::operation::{Action, Key, ObjectId, OpId, RecordOperation, Shape};
use crate::record::{Document, LayoutFault, RecordChange, Value};

/// A change to change, and what its author had.
fn story() -> (Office, Office, TestEntry) {
    let mut a = office();
    let mut b = Office::with_schema(2, &[("stock", "counter"), ("notes", "text")]);
    b.pull(&a);
    let ancestors = b.clone();
    b.merge(json!({
        "stock": 3, "notes": "hello", "name": "y", "list": [2, {"a": "b"}], "map": {"k": null},
        "new": {"$inc": 1}, "f": 1.5,
    }));
    let victim = b.entries.last().unwrap().clone();
    a.merge(json!({"stock": 9, "notes": "ih", "map": {"z": {"$inc": 1}}, "name": null}));
    (ancestors, a, victim)
}

/// One thing that is wrong with a forged change, or changes what it means.
#[derive(Debug, Clone)]
enum Forgery {
    Drop,
    Repeat,
    Object(prop::sample::Index),
    Field(prop::sample::Index),
    Element(prop::sample::Index),
    Insert,
    Pred(prop::sample::Index),
    NoPred,
    Act(prop::sample::Index),
    Dep(prop::sample::Index),
    NoDep(prop::sample::Index),
    Seq(u64),
    Start(u64),
}

fn forgery() -> impl Strategy<Value = (prop::sample::Index, Forgery)> {
    let index = any::<prop::sample::Index>;
    let forgery = prop_oneof![
        Just(Forgery::Drop),
        Just(Forgery::Repeat),
        index().prop_map(Forgery::Object),
        index().prop_map(Forgery::Field),
        index().prop_map(Forgery::Element),
        Just(Forgery::Insert),
        index().prop_map(Forgery::Pred),
        Just(Forgery::NoPred),
        index().prop_map(Forgery::Act),
        index().prop_map(Forgery::Dep),
        index().prop_map(Forgery::NoDep),
        (0u64..4).prop_map(Forgery::Seq),
        (1u64..60).prop_map(Forgery::Start),
    ];
    (index(), forgery)
}

fn actions() -> Vec<Action> {
    vec![
        Action::Put(Value::Int(7)),
        Action::Put(Value::Str("new".into())),
        Action::Put(Value::Bool(true)),
        Action::Put(Value::Counter(7)),
        Action::Make(Shape::Map),
        Action::Make(Shape::List),
        Action::Make(Shape::Text),
        Action::Increment(7),
        Action::Delete,
    ]
}

/// Applies forgeries to a change and rebuilds it, canonical and with the right counters.
fn forged(
    victim: &TestEntry,
    known: &[chunk::Decoded],
    forgeries: &[(prop::sample::Index, Forgery)],
) -> TestEntry {
    const FIELDS: [&str; 8] = ["stock", "notes", "name", "list", "map", "k", "_deleted", "new"];
    let mut change = chunk::read(&victim.change.body).unwrap();
    let own = change.operations.clone();
    let pool: Vec<OpId> = known
        .iter()
        .flat_map(|change| &change.operations)
        .chain(&own)
        .map(|operation| operation.id)
        .collect();
    for (at, forgery) in forgeries {
        if change.operations.is_empty() {
            break;
        }
        let at = at.index(change.operations.len());
        let operation = &mut change.operations[at];
        match forgery {
            Forgery::Drop => drop(change.operations.remove(at)),
            Forgery::Repeat => {
                let again = operation.clone();
                change.operations.push(again);
            }
            Forgery::Object(to) => {
                let to = to.index(pool.len() + 1);
                operation.object = pool.get(to).map_or(ObjectId::Root, |id| ObjectId::Made(*id));
            }
            Forgery::Field(to) => operation.key = field(FIELDS[to.index(FIELDS.len())]),
            Forgery::Element(to) => {
                let to = to.index(pool.len() + 1);
                operation.key = pool.get(to).map_or(Key::Head, |id| Key::Element(*id));
            }
            Forgery::Insert => operation.insert = !operation.insert,
            Forgery::Pred(to) => operation.preds.push(pool[to.index(pool.len())]),
            Forgery::NoPred => drop(operation.preds.pop()),
            Forgery::Act(to) => operation.action = actions()[to.index(actions().len())].clone(),
            Forgery::Dep(to) => change.deps.push(known[to.index(known.len())].hash),
            Forgery::NoDep(_) if change.deps.is_empty() => {}
            Forgery::NoDep(to) => drop(change.deps.remove(to.index(change.deps.len()))),
            Forgery::Seq(to) => change.seq = *to,
            Forgery::Start(to) => change.start_op = *to,
        }
    }
    for (operation, counter) in change.operations.iter_mut().zip(change.start_op..) {
        operation.id.counter = counter;
        operation.preds.sort_unstable();
    }
    change.deps.sort_unstable();
    let Decoded { actor, seq, start_op, time_ms, deps, operations, .. } = &change;
    let body = chunk::build(*actor, *seq, *start_op, *time_ms, deps, operations);
    TestEntry {
        actor: *actor,
        change: RecordChange { genesis: victim.change.genesis.clone(), body },
    }
}

/// The verdict is the same with and without concurrent changes; what is accepted reads alike
/// everywhere, as Automerge reads it, and can be saved and loaded.
#[track_caller]
fn assert_one_verdict(mut few: Office, mut many: Office, entry: &TestEntry) -> bool {
    assert_read_like_automerge(entry, &few);
    let first = few.check(entry);
    let second = many.check(entry);
    assert_eq!(first.as_ref().err(), second.as_ref().err());
    if first.is_ok() {
        few.receive(entry);
        assert_like_automerge(&few);
        many.receive(entry);
        few.pull(&many);
        assert_eq!(few.view(), many.view());
        assert_like_automerge(&few);
    }
    first.is_ok()
}

/// What is read here, Automerge reads and writes alike, and the other way round; but for what the format does not
/// know, or the check refuses.
fn assert_read_like_automerge(entry: &TestEntry, office: &Office) {
    let ours = chunk::read(&entry.change.body);
    match (is_automerge_canonical(&entry.change.body), ours) {
        (true, Ok(_)) | (false, Err(_)) => {}
        (true, Err(ChunkFault::Unknown(_) | ChunkFault::TooLarge { .. })) => {}
        (true, Err(ChunkFault::Layout(fault))) if is_limit(&fault) => {}
        (true, Err(fault)) => panic!("Automerge reads what is refused here: {fault:?}"),
        (false, Ok(_)) => assert!(office.check(entry).is_err(), "Automerge does not read it"),
    }
}

/// Whether the format forbids what Automerge allows.
fn is_limit(fault: &LayoutFault) -> bool {
    match fault {
        LayoutFault::ChunkType { .. }
        | LayoutFault::Actor { .. }
        | LayoutFault::Message { .. }
        | LayoutFault::Column { .. }
        | LayoutFault::FieldName { .. }
        // Automerge keeps bytes behind the columns.
        | LayoutFault::Length { .. }
        | LayoutFault::TooManyRows
        | LayoutFault::NoOperations => true,
        LayoutFault::Truncated { .. }
        | LayoutFault::Number { .. }
        | LayoutFault::NotCanonical { .. }
        | LayoutFault::String { .. }
        | LayoutFault::ActorIndex { .. }
        | LayoutFault::Half { .. }
        | LayoutFault::CounterOverflow => false,
    }
}

fn first_operation() -> impl Strategy<Value = (&'static str, Action, Vec<OpId>)> {
    let name = prop_oneof![
        8 => prop_oneof![Just("a"), Just("b"), Just("c"), Just("d"), Just("e"), Just("f")],
        1 => prop_oneof![Just("_deleted"), Just("a\n"), Just("")],
    ];
    let value = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::Bool),
        any::<i64>().prop_map(Value::Int),
        any::<f64>().prop_map(Value::Float),
        "[ab]{0,20}".prop_map(Value::Str),
        Just(Value::Bytes(vec![1, 2])),
        any::<i64>().prop_map(Value::Timestamp),
    ];
    let action = prop_oneof![
        12 => value.prop_map(Action::Put),
        1 => prop_oneof![
            Just(Action::Put(Value::Counter(1))),
            Just(Action::Delete),
            Just(Action::Make(Shape::Map)),
        ],
    ];
    let preds = prop_oneof![12 => Just(Vec::new()), 1 => Just(vec![id(1, 9)])];
    (name, action, preds)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    /// Changes that are laid out well and mean something else: these get past every parser.
    #[test]
    fn forged_changes_get_one_verdict(
        forgeries in proptest::collection::vec(forgery(), 1..4),
    ) {
        let (few, many, victim) = story();
        let changes = few.automerge().get_changes(&[]);
        let bodies = changes.iter().map(|change| chunk::body_of(change.raw_bytes()));
        let known: Vec<_> = bodies.map(|body| chunk::read(body).unwrap()).collect();
        assert_one_verdict(few, many, &forged(&victim, &known, &forgeries));
    }

    /// Whatever a change is made into: no panic, and one verdict at replicas that have its
    /// ancestors, with or without concurrent changes; if it is accepted, all read the same.
    #[test]
    fn mutated_changes_get_one_verdict(
        edits in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0..4), 1..4),
    ) {
        let (few, many, mut victim) = story();
        for (index, byte, how) in edits {
            let body = &mut victim.change.body;
            let at = index.index(body.len());
            match how {
                0 => body[at] = byte,
                1 => body[at] ^= 1 << (byte % 8),
                2 => body[at] = body[at].wrapping_add(1),
                _ => { body.remove(at); body.push(byte); }
            }
        }
        assert_one_verdict(few, many, &victim);
    }

    #[test]
    fn what_is_said_of_a_first_change_is_what_a_document_says(
        operations in proptest::collection::vec(first_operation(), 1..5),
        seq in 1u64..3,
        start_op in 1u64..3,
    ) {
        let operations: Vec<RecordOperation> = operations
            .into_iter()
            .zip(start_op..)
            .map(|((name, action, preds), counter)| RecordOperation {
                id: id(counter, 9),
                object: ObjectId::Root,
                key: field(name),
                insert: false,
                action,
                preds,
            })
            .collect();
        let names: BTreeSet<_> = operations.iter().map(|o| format!("{:?}", o.key)).collect();
        let is_plain = |o: &RecordOperation| {
            o.preds.is_empty() && matches!(&o.action, Action::Put(value) if *value != Value::Counter(1))
        };
        let unsound = [field(""), field("a\n"), field("_deleted")];
        let is_first = names.len() == operations.len()
            && operations.iter().all(|o| is_plain(o) && !unsound.contains(&o.key))
            && (seq, start_op) == (1, 1);
        let body = chunk::build(actor(9), seq, start_op, 7, &[], &operations);
        prop_assert_eq!(assert_first_is_like_document(&entry(9, &body, Vec::new())), is_first);
    }

    #[test]
    fn any_bytes_are_judged_without_panic(body in proptest::collection::vec(any::<u8>(), 0..200)) {
        let entry = entry(9, &body, Vec::new());
        prop_assert!(Document::empty().check(entry.actor, &entry.change).is_err());
        if let Ok(document) = Document::load(&body) {
            let _ = document.view();
        }
    }
}
