//! Changes that are laid out well and mean anything: they get past every parser.

use std::num::NonZeroU64;
use std::sync::OnceLock;

use arbitrary::Unstructured;
use automerge::legacy::{ElementId, Key, ObjectId, Op, OpId, OpType};
use automerge::{ActorId, Change, ChangeHash, ExpandedChange, ObjType, ScalarValue};
use branchline_crdt::record::{RecordChange, automerge_of};

use crate::changes::{LIAR, one_verdict, story};
use crate::{Memory, Target};

pub(crate) const OPERATIONS: Target = Target {
    name: "operations",
    run: operations,
    seeds,
    memory: Memory { mib: 64, per_byte: 4096 },
};

/// A change that the input describes, checked like any other.
fn operations(input: &[u8]) {
    let mut input = Unstructured::new(input);
    let known = known();
    let change = forged(&mut input, known).unwrap_or_else(|_| known.last.clone());
    let change = Change::from(change);
    // What travels of a chunk begins behind its magic and checksum.
    let body = change.raw_bytes()[8..].to_vec();
    one_verdict(&RecordChange { genesis: Vec::new(), body });
}

/// What a forged change can refer to.
struct Known {
    /// The operations of the record.
    ids: Vec<OpId>,
    hashes: Vec<ChangeHash>,
    heads: Vec<ChangeHash>,
    /// The last change of the liar.
    last: ExpandedChange,
    /// What an honest change would say.
    seq: u64,
    start_op: u64,
}

fn known() -> &'static Known {
    static KNOWN: OnceLock<Known> = OnceLock::new();
    KNOWN.get_or_init(|| {
        let document = automerge_of(&story().before).expect("honest changes");
        let changes: Vec<Change> = document.get_changes(&[]);
        let mut ids = Vec::new();
        let (mut last, mut seq, mut start_op) = (None, 1, 1);
        for change in &changes {
            let expanded = change.decode();
            for (_, counter) in expanded.operations.iter().zip(expanded.start_op.get()..) {
                ids.push(OpId(counter, expanded.actor_id.clone()));
                start_op = start_op.max(counter + 1);
            }
            if expanded.actor_id == ActorId::from(LIAR.0) {
                seq = expanded.seq + 1;
                last = Some(expanded);
            }
        }
        let mut hashes: Vec<ChangeHash> = changes.iter().map(Change::hash).collect();
        hashes.sort_unstable();
        let mut heads = document.get_heads();
        heads.sort_unstable();
        Known { ids, hashes, heads, last: last.expect("a change by the liar"), seq, start_op }
    })
}

fn forged(input: &mut Unstructured<'_>, known: &Known) -> arbitrary::Result<ExpandedChange> {
    let seq = if one_in_sixteen(input)? { input.arbitrary()? } else { known.seq };
    let start_op =
        if one_in_sixteen(input)? { input.arbitrary::<u32>()?.into() } else { known.start_op };
    let mut deps = known.heads.clone();
    if one_in_sixteen(input)? {
        deps = (0..input.int_in_range(0..=3)?)
            .map(|_| input.choose(&known.hashes).copied())
            .collect::<arbitrary::Result<_>>()?;
        deps.sort_unstable();
    }
    let actor_id =
        if one_in_sixteen(input)? { ActorId::from([9; 16]) } else { ActorId::from(LIAR.0) };
    let mut ids = known.ids.clone();
    let mut operations = Vec::new();
    while !input.is_empty() && operations.len() < 2_000 {
        let operation = operation(input, &ids)?;
        // The same operation many times over is what runs stand for.
        let times = if one_in_sixteen(input)? { usize::from(input.arbitrary::<u8>()?) } else { 1 };
        for _ in 0..times {
            operations.push(operation.clone());
            ids.push(OpId(start_op.wrapping_add(operations.len() as u64 - 1), actor_id.clone()));
        }
    }
    Ok(ExpandedChange {
        operations,
        actor_id,
        hash: None,
        seq,
        start_op: NonZeroU64::new(start_op).unwrap_or(NonZeroU64::MIN),
        time: 7,
        message: None,
        deps,
        extra_bytes: Vec::new(),
        author: None,
    })
}

fn one_in_sixteen(input: &mut Unstructured<'_>) -> arbitrary::Result<bool> {
    Ok(input.arbitrary::<u8>()? >= 0xf0)
}

fn operation(input: &mut Unstructured<'_>, ids: &[OpId]) -> arbitrary::Result<Op> {
    const FIELDS: [&str; 9] =
        ["stock", "notes", "name", "list", "map", "k", "_deleted", "new", "a.b"];
    let obj = match input.arbitrary::<u8>()? % 3 {
        0 => ObjectId::Root,
        _ => ObjectId::Id(id(input, ids)?),
    };
    let key = match input.arbitrary::<u8>()? % 4 {
        0 | 1 => Key::Map((*input.choose(&FIELDS)?).into()),
        2 => Key::Seq(ElementId::Id(id(input, ids)?)),
        _ => Key::Seq(ElementId::Head),
    };
    let pred = (0..input.arbitrary::<u8>()? % 4).map(|_| id(input, ids));
    let mut pred: Vec<OpId> = pred.collect::<arbitrary::Result<_>>()?;
    pred.sort_unstable();
    let insert = input.arbitrary::<u8>()? & 1 == 1;
    Ok(Op { action: action(input)?, obj, key, pred: pred.into_iter().collect(), insert })
}

/// Mostly one of the last: they are the ones that a change works with.
fn id(input: &mut Unstructured<'_>, ids: &[OpId]) -> arbitrary::Result<OpId> {
    let back = usize::from(input.arbitrary::<u8>()?) % ids.len();
    Ok(ids[ids.len() - 1 - back].clone())
}

fn action(input: &mut Unstructured<'_>) -> arbitrary::Result<OpType> {
    Ok(match input.arbitrary::<u8>()? % 16 {
        0 => OpType::Make(ObjType::Map),
        1 => OpType::Make(ObjType::List),
        2 => OpType::Make(ObjType::Text),
        3 => OpType::Make(ObjType::Table),
        4 => OpType::Delete,
        5 => OpType::Increment(input.arbitrary()?),
        6 => OpType::Increment(1),
        7 => OpType::Put(ScalarValue::counter(input.arbitrary()?)),
        8 => OpType::Put(ScalarValue::counter(1)),
        9 => OpType::Put(ScalarValue::Str("ab".into())),
        10 => OpType::Put(ScalarValue::Bytes(vec![1; usize::from(input.arbitrary::<u8>()?)])),
        11 => OpType::Put(ScalarValue::F64(input.arbitrary()?)),
        12 => OpType::Put(ScalarValue::Timestamp(input.arbitrary()?)),
        13 => OpType::Put(ScalarValue::Boolean(true)),
        14 => OpType::Put(ScalarValue::Uint(input.arbitrary()?)),
        _ => OpType::Put(ScalarValue::Null),
    })
}

/// Some changes by hand: bytes in the order in which they are read above.
fn seeds() -> Vec<Vec<u8>> {
    let change = [0; 4];
    let put = [0, 0, 2, 0, 0, 13, 0];
    let map = [0, 0, 4, 0, 0, 0, 0];
    let in_it = [1, 0, 0, 5, 0, 0, 8, 0];
    let list = [0, 0, 3, 0, 0, 1, 0];
    let item = [1, 0, 3, 0, 1, 13, 0];
    let many = [1, 1, 3, 0, 1, 15, 0xff, 200];
    let increment = [0, 0, 0, 1, 0, 0, 6, 0];
    let parts: [&[&[u8]]; 5] = [
        &[&put],
        &[&map, &in_it],
        &[&list, &item, &item, &many],
        &[&increment],
        &[&put, &put, &map],
    ];
    parts.map(|parts| [&[&change[..]], parts].concat().concat()).into()
}
