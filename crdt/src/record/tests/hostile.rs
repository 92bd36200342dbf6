//! Bytes that no honest office writes.

use std::collections::BTreeSet;

use proptest::prelude::*;
use serde_json::json;

use super::support::{
    Entry, Office, actor, assert_first_is_like_document, assert_like_automerge,
    is_automerge_canonical,
};
use crate::record::chunk::{self, ChunkFault, Decoded};
use crate::record::operation::{Action, Key, ObjectId, OpId, Operation, Shape};
use crate::record::{
    Document, Fault, Genesis, GenesisKind, LayoutFault, OperationFault, RecordChange, Value,
    Verdict,
};

const START: u64 = 10;

fn id(counter: u64, number: u8) -> OpId {
    OpId { counter, actor: actor(number) }
}

fn field(name: &str) -> Key {
    Key::Field(name.into())
}

/// A change by actor 9 on all that the office has.
fn forge(office: &Office, operations: Vec<(ObjectId, Key, bool, Action, Vec<OpId>)>) -> Entry {
    let view = office.view();
    let start_op = office.automerge().get_changes(&[]);
    let start_op = start_op.iter().map(|c| c.max_op()).max().unwrap_or(0) + 1;
    let operations: Vec<Operation> = operations
        .into_iter()
        .zip(start_op..)
        .map(|((object, key, insert, action, preds), counter)| Operation {
            id: id(counter, 9),
            object,
            key,
            insert,
            action,
            preds,
        })
        .collect();
    let body = chunk::build(actor(9), 1, start_op, 0, &view.heads, &operations);
    entry(9, &body, Vec::new())
}

fn entry(number: u8, body: &[u8], genesis: Vec<Genesis>) -> Entry {
    Entry { actor: actor(number), change: RecordChange { genesis, body: body.to_vec() } }
}

fn office() -> Office {
    let mut office = Office::with_schema(1, &[("stock", "counter"), ("notes", "text")]);
    office.put(json!({"stock": 1, "notes": "hi", "name": "x", "list": [1, 2], "map": {"k": 1}}));
    office
}

fn live(office: &Office, name: &str) -> OpId {
    use automerge::ReadDoc;
    let automerge = office.automerge();
    let all = automerge.get_all(automerge::ROOT, name);
    match all.unwrap().last() {
        Some((_, automerge::ObjId::Id(counter, actor, _))) => OpId {
            counter: *counter,
            actor: crate::record::ActorBytes(actor.to_bytes().try_into().unwrap()),
        },
        other => panic!("{other:?}"),
    }
}

#[track_caller]
fn assert_operation_fault(
    office: &Office,
    operation: (ObjectId, Key, bool, Action, Vec<OpId>),
    expected: &OperationFault,
) {
    let forged = forge(office, vec![operation]);
    match office.check(&forged) {
        Err(Verdict::Fault(Fault::Operation { index: 0, source })) => {
            assert_eq!(source, *expected);
        }
        other => panic!("{other:?}, expected {expected:?}"),
    }
}

#[test]
fn operations_against_the_format_are_faults() {
    use ObjectId::Root;
    use OperationFault as F;
    let office = office();
    let name = live(&office, "name");
    let stock = live(&office, "stock");
    let list = ObjectId::Made(live(&office, "list"));
    let notes = ObjectId::Made(live(&office, "notes"));
    let one = || Action::Put(Value::Int(1));
    let nowhere = id(3, 200);
    let cases = [
        (ObjectId::Made(nowhere), field("a"), false, one(), vec![], F::NoObject),
        (ObjectId::Made(name), field("a"), false, one(), vec![], F::NoObject),
        (Root, Key::Head, true, one(), vec![], F::KeyShape),
        (list, field("a"), false, one(), vec![], F::KeyShape),
        (list, Key::Head, false, one(), vec![], F::KeyShape),
        (list, Key::Element(nowhere), true, one(), vec![], F::NoElement),
        (list, Key::Element(name), true, one(), vec![], F::NoElement),
        (list, Key::Head, true, Action::Increment(1), vec![], F::Insert),
        (Root, field("a"), false, Action::Delete, vec![], F::NoPred),
        (Root, field("name"), false, Action::Delete, vec![nowhere], F::NotLive),
        (Root, field("other"), false, Action::Delete, vec![name], F::NotLive),
        (Root, field("name"), false, Action::Increment(1), vec![name], F::NoCounter),
        (notes, Key::Head, true, one(), vec![], F::NotText),
        (notes, Key::Head, true, Action::Put(Value::Str(String::new())), vec![], F::NotText),
        (Root, field("_deleted"), false, one(), vec![], F::Deleted),
        (Root, field("_deleted"), false, Action::Make(Shape::Map), vec![], F::Deleted),
    ];
    for (object, key, insert, action, preds, expected) in cases {
        assert_operation_fault(&office, (object, key, insert, action, preds), &expected);
    }
    let found = (1 << 53) + 1;
    let increment = Action::Increment(found);
    let operation = (Root, field("stock"), false, increment, vec![stock]);
    assert_operation_fault(&office, operation, &F::Amount { found });
}

#[test]
fn a_value_is_removed_once() {
    let office = office();
    let name = live(&office, "name");
    let delete = (ObjectId::Root, field("name"), false, Action::Delete, vec![name]);
    let forged = forge(&office, vec![delete.clone(), delete]);
    let verdict = office.check(&forged);
    let Err(Verdict::Fault(Fault::Operation { index: 1, source })) = verdict else {
        panic!("{verdict:?}");
    };
    assert_eq!(source, OperationFault::NotLive);
}

#[test]
fn a_counter_may_be_overwritten_by_others() {
    let mut office = office();
    let stock = live(&office, "stock");
    let put = Action::Put(Value::Int(1));
    let forged = forge(&office, vec![(ObjectId::Root, field("stock"), false, put, vec![stock])]);
    office.receive(&forged);
    assert_eq!(office.view().fields["stock"], Value::Int(1));
    assert_like_automerge(&office);
    office.merge(json!({"stock": 4}));
    assert_eq!(office.view().fields["stock"], Value::Counter(4));
    assert_like_automerge(&office);
}

#[test]
fn the_place_in_the_actors_chain_is_checked() {
    let office = office();
    let heads = office.view().heads;
    let build = |seq, start_op, deps: &[[u8; 32]]| {
        let operation = Operation {
            id: id(start_op, 9),
            object: ObjectId::Root,
            key: field("a"),
            insert: false,
            action: Action::Put(Value::Int(1)),
            preds: Vec::new(),
        };
        let body = chunk::build(actor(9), seq, start_op, 0, deps, &[operation]);
        entry(9, &body, Vec::new())
    };
    let check = |entry: &Entry| office.check(entry);
    let next = forge(
        &office,
        vec![(ObjectId::Root, field("a"), false, Action::Put(Value::Int(1)), vec![])],
    );
    let decoded = chunk::read(&next.change.body).unwrap();
    assert_eq!(check(&build(1, decoded.start_op, &heads)), Ok(()));
    let verdicts = [
        check(&build(2, decoded.start_op, &heads)),
        check(&build(1, decoded.start_op + 1, &heads)),
        check(&build(1, (1 << 31) + 1, &heads)),
        check(&build(1, START, &[heads[0], heads[0]])),
        check(&Entry { actor: actor(8), ..build(1, decoded.start_op, &heads) }),
    ];
    for (index, verdict) in verdicts.into_iter().enumerate() {
        assert!(matches!(verdict, Err(Verdict::Fault(_))), "{index}: {verdict:?}");
    }
    assert_eq!(check(&build(1, START, &[[3; 32]])), Err(Verdict::Missing(vec![[3; 32]])));
}

#[test]
fn a_genesis_is_named_by_those_who_depend_on_it() {
    let genesis = Genesis { path: vec!["stock".to_owned()], kind: GenesisKind::Counter };
    let made = genesis.changes().pop().unwrap();
    let operation = Operation {
        id: id(2, 9),
        object: ObjectId::Root,
        key: field("stock"),
        insert: false,
        action: Action::Increment(4),
        preds: vec![made.operation.id],
    };
    let body = chunk::build(actor(9), 1, 2, 0, &[made.hash], &[operation]);
    // An office that has the genesis says the same as one that has not.
    for office in [Office::new(1), office()] {
        let check = |genesis| {
            let entry = entry(9, &body, genesis);
            office.check(&entry)
        };
        assert_eq!(check(vec![genesis.clone()]), Ok(()));
        assert_eq!(check(vec![]), Err(Verdict::Missing(vec![made.hash])));
        let other = Genesis { path: vec!["zzz".to_owned()], kind: GenesisKind::Counter };
        let unused = check(vec![genesis.clone(), other]);
        assert!(matches!(unused, Err(Verdict::Fault(Fault::GenesisUnused { .. }))));
        let twice = check(vec![genesis.clone(), genesis.clone()]);
        assert_eq!(twice, Err(Verdict::Fault(Fault::GenesisOrder)));
    }
}

/// The tables tell damaged rows by their checksums; whatever passes them is read without panic, and used as it reads.
#[test]
fn a_stored_record_that_is_cut_is_an_error_and_a_damaged_one_no_panic() {
    let saved = office().document.save();
    for at in 0..saved.len() {
        assert!(Document::load(&saved[..at]).is_err(), "cut at {at}");
        let mut damaged = saved.clone();
        damaged[at] ^= 0x55;
        if let Ok(document) = Document::load(&damaged) {
            let _ = (document.view(), document.summary(), document.save());
        }
    }
}

/// A change to change, and what its author had.
fn story() -> (Office, Office, Entry) {
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

/// Applies forgeries to a change and builds it anew, canonical and with the right counters.
fn forged(
    victim: &Entry,
    known: &[chunk::Decoded],
    forgeries: &[(prop::sample::Index, Forgery)],
) -> Entry {
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
    Entry { actor: *actor, change: RecordChange { genesis: victim.change.genesis.clone(), body } }
}

/// The verdict is the same with and without concurrent changes; what is accepted reads alike
/// everywhere, as Automerge reads it, and can be saved and loaded.
#[track_caller]
fn assert_one_verdict(mut few: Office, mut many: Office, entry: &Entry) -> bool {
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
fn assert_read_like_automerge(entry: &Entry, office: &Office) {
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
        let operations: Vec<Operation> = operations
            .into_iter()
            .zip(start_op..)
            .map(|((name, action, preds), counter)| Operation {
                id: id(counter, 9),
                object: ObjectId::Root,
                key: field(name),
                insert: false,
                action,
                preds,
            })
            .collect();
        let names: BTreeSet<_> = operations.iter().map(|o| format!("{:?}", o.key)).collect();
        let is_plain = |o: &Operation| {
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
