//! Few bytes that mean much: what a member can sign, and what it then costs everyone else.

#![allow(missing_docs)]

use std::num::NonZeroU64;
use std::sync::Mutex;

use automerge::legacy::{ElementId, Key, ObjectId, Op, OpId, OpType};
use automerge::{ActorId, Change, ExpandedChange, ObjType, ScalarValue};
use branchline_crdt::format::codec;
use branchline_crdt::record::{ActorBytes, Document, RecordChange};
use peak_alloc::PeakAlloc;

#[global_allocator]
static ALLOCATOR: PeakAlloc = PeakAlloc;

/// Memory is counted for the process, so one test runs at a time.
static ALONE: Mutex<()> = Mutex::new(());

const ACTOR: ActorBytes = ActorBytes([9; 16]);

fn change(operations: Vec<Op>) -> RecordChange {
    let change = Change::from(ExpandedChange {
        operations,
        actor_id: ActorId::from(ACTOR.0),
        hash: None,
        seq: 1,
        start_op: NonZeroU64::MIN,
        time: 0,
        message: None,
        deps: Vec::new(),
        extra_bytes: Vec::new(),
        author: None,
    });
    RecordChange { genesis: Vec::new(), body: change.raw_bytes()[8..].to_vec() }
}

fn id(counter: usize) -> OpId {
    OpId(counter as u64, ActorId::from(ACTOR.0))
}

fn op(obj: ObjectId, key: Key, insert: bool, action: OpType) -> Op {
    Op { action, obj, key, pred: [].into_iter().collect(), insert }
}

fn null() -> OpType {
    OpType::Put(ScalarValue::Null)
}

/// Maps within maps with the longest names, and in the innermost two values for each of `fields` fields.
fn deep_conflicts(fields: usize, depth: usize) -> Vec<Op> {
    let mut operations = Vec::new();
    let mut object = ObjectId::Root;
    for _ in 0..depth {
        operations.push(op(
            object,
            Key::Map("n".repeat(255).into()),
            false,
            OpType::Make(ObjType::Map),
        ));
        object = ObjectId::Id(id(operations.len()));
    }
    for _ in 0..2 {
        for field in 0..fields {
            operations.push(op(
                object.clone(),
                Key::Map(format!("{field:x}").into()),
                false,
                null(),
            ));
        }
    }
    operations
}

/// Memory for each operation of two documents and what makes them: measured are 1,000 to 1,700 bytes.
const OPERATION_BYTES_MAX: usize = 2_000;
/// What a view of nothing but conflicts takes, encoded.
const VIEW_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Takes a change in as a peer does, and asserts that it takes no more than its operations warrant.
fn is_bounded(name: &str, operations: Vec<Op>) {
    let count = operations.len();
    let change = change(operations);
    let before = PeakAlloc.current_usage();
    PeakAlloc.reset_peak_usage();
    let mut document = Document::empty();
    let checked = document.check(ACTOR, &change);
    let checked = checked.unwrap_or_else(|verdict| panic!("{name}: {verdict:?}"));
    document.apply(checked).expect("what is checked applies");
    let view = codec::encode(&document.view()).len();
    let loaded = Document::load(&document.save()).expect("what was saved loads");
    assert_eq!(loaded.item_count(), count);
    let taken = PeakAlloc.peak_usage() - before;
    println!("{name}: {count} operations in {} bytes take {taken}, view {view}", change.body.len());
    assert!(taken < 2 * VIEW_BYTES_MAX + OPERATION_BYTES_MAX * count, "{name}: {taken} bytes");
    assert!(view < VIEW_BYTES_MAX, "{name}: a view of {view} bytes");
}

#[test]
fn a_change_takes_memory_by_its_operations() {
    let _alone = ALONE.lock().expect("the other test passed");
    let n = 20_000;
    let root = || ObjectId::Root;
    let name = || Key::Map("a".into());
    let long = || Key::Map("n".repeat(255).into());
    is_bounded("one field", (0..n).map(|_| op(root(), name(), false, null())).collect());
    is_bounded("a long name", (0..n).map(|_| op(root(), long(), false, null())).collect());
    let texts = (0..n).map(|_| op(root(), name(), false, OpType::Make(ObjType::Text)));
    is_bounded("texts", texts.collect());
    let list = || vec![op(root(), name(), false, OpType::Make(ObjType::List))];
    let in_list = || ObjectId::Id(id(1));
    let lists =
        (0..n).map(|_| op(in_list(), Key::Seq(ElementId::Head), true, OpType::Make(ObjType::List)));
    is_bounded("lists in a list", list().into_iter().chain(lists).collect());
    let in_a_row = (0..n).map(|i| {
        let after = if i == 0 { ElementId::Head } else { ElementId::Id(id(i + 1)) };
        op(in_list(), Key::Seq(after), true, null())
    });
    is_bounded("in a row", list().into_iter().chain(in_a_row).collect());
    is_bounded("deep conflicts", deep_conflicts(n / 2, 15));
}

#[test]
fn a_payload_takes_memory_by_its_bytes() {
    let _alone = ALONE.lock().expect("the other test passed");
    // One transaction of a million changes without content, and a million transactions without changes: both some
    // hundred bytes when packed.
    const MANY: [u8; 5] = [252, 0, 0, 15, 0];
    for start in [[&[0], &MANY[..]].concat(), [&[0, 1, 0], &MANY[..]].concat()] {
        let mut payload = start;
        payload.resize(4 * 1024 * 1024, 0);
        let taken = branchline_decoders::target("body").check(&payload);
        assert!(taken < 24 * 1024 * 1024, "{taken} bytes");
    }
}
