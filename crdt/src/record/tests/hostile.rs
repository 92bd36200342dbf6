//! Bytes that no honest office writes.

use serde_json::json;

use super::support::{Office, TestEntry, actor, assert_like_automerge};
use crate::record::change::chunk;
use crate::record::change::operation::{Action, Key, ObjectId, OpId, RecordOperation, Shape};
use crate::record::saved::assert_as_decoded;
use crate::record::{
    Document, Fault, GenesisKind, InitialChange, OperationFault, RecordChange, Value, Verdict,
};

const START: u64 = 10;

pub(super) fn id(counter: u64, number: u8) -> OpId {
    OpId { counter, actor: actor(number) }
}

pub(super) fn field(name: &str) -> Key {
    Key::Field(name.into())
}

/// A change by actor 9 on all that the office has.
fn forge(office: &Office, operations: Vec<(ObjectId, Key, bool, Action, Vec<OpId>)>) -> TestEntry {
    let view = office.view();
    let start_op = office.automerge().get_changes(&[]);
    let start_op = start_op.iter().map(|c| c.max_op()).max().unwrap_or(0) + 1;
    let operations: Vec<RecordOperation> = operations
        .into_iter()
        .zip(start_op..)
        .map(|((object, key, insert, action, preds), counter)| RecordOperation {
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

pub(super) fn entry(number: u8, body: &[u8], genesis: Vec<InitialChange>) -> TestEntry {
    TestEntry { actor: actor(number), change: RecordChange { genesis, body: body.to_vec() } }
}

pub(super) fn office() -> Office {
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
        let operation = RecordOperation {
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
    let check = |entry: &TestEntry| office.check(entry);
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
        check(&TestEntry { actor: actor(8), ..build(1, decoded.start_op, &heads) }),
    ];
    for (index, verdict) in verdicts.into_iter().enumerate() {
        assert!(matches!(verdict, Err(Verdict::Fault(_))), "{index}: {verdict:?}");
    }
    assert_eq!(check(&build(1, START, &[[3; 32]])), Err(Verdict::Missing(vec![[3; 32]])));
}

#[test]
fn a_genesis_is_named_by_those_who_depend_on_it() {
    let genesis = InitialChange { path: vec!["stock".to_owned()], kind: GenesisKind::Counter };
    let made = genesis.changes().pop().unwrap();
    let operation = RecordOperation {
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
        let other = InitialChange { path: vec!["zzz".to_owned()], kind: GenesisKind::Counter };
        let unused = check(vec![genesis.clone(), other]);
        assert!(matches!(unused, Err(Verdict::Fault(Fault::GenesisUnused { .. }))));
        let twice = check(vec![genesis.clone(), genesis.clone()]);
        assert_eq!(twice, Err(Verdict::Fault(Fault::GenesisOrder)));
    }
}

/// The tables recognise damaged rows by their checksums; whatever passes them is read without panic, and used as it reads.
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
        assert_as_decoded(&saved[..at]);
        for byte in 0..=u8::MAX {
            damaged[at] = byte;
            assert_as_decoded(&damaged);
        }
    }
}
