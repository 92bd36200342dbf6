//! Changes to one record, and saved records.

use std::sync::OnceLock;

use branchline_crdt::record::{
    ActorBytes, Document, Edit, GenesisKind, InitialChange, RecordChange, Schema, Value, Verdict,
};
use serde_json::json;

use crate::messages::put;
use crate::{Memory, Target};

/// A record that several offices have written.
pub(crate) struct Story {
    /// The record without and with what others wrote concurrently.
    pub(crate) few: Document,
    pub(crate) many: Document,
    /// What `few` is made of.
    pub(crate) before: Vec<RecordChange>,
    /// What `many` has on top of `few`.
    concurrent: Vec<(ActorBytes, RecordChange)>,
    /// Changes by [`LIAR`] that follow `few`.
    changes: Vec<RecordChange>,
}

/// Who writes what is mutated.
pub(crate) const LIAR: ActorBytes = ActorBytes([2; 16]);
/// Who else writes.
pub(crate) const OTHER: ActorBytes = ActorBytes([1; 16]);

/// The record.
pub(crate) fn story() -> &'static Story {
    static STORY: OnceLock<Story> = OnceLock::new();
    STORY.get_or_init(make)
}

pub(crate) fn schema() -> Schema {
    let fields = [("stock", "counter"), ("notes", "text")];
    let field = |(path, kind): (&str, &str)| (path.to_owned(), Value::Str(kind.to_owned()));
    Schema::from_fields(&fields.into_iter().map(field).collect()).expect("a schema")
}

fn edit(document: &mut Document, actor: ActorBytes, edit: &Edit) -> RecordChange {
    let change = document.edit(actor, 1_000, edit, Some(&schema()));
    change.expect("an edit").expect("a change").change
}

fn merge(json: serde_json::Value) -> Edit {
    match put(json) {
        Edit::Put(patch) => Edit::Merge { patch, create: true },
        other => other,
    }
}

fn make() -> Story {
    let mut few = Document::empty();
    let first = json!({"stock": 1, "notes": "hi", "name": "x", "list": [1, 2], "map": {"k": 1}});
    let before = vec![
        edit(&mut few, OTHER, &put(first)),
        edit(&mut few, LIAR, &merge(json!({"name": "y", "list": [1, 2, 3]}))),
    ];
    let mut many = few.clone();
    let concurrent = [
        json!({"stock": 9, "notes": "ih", "map": {"z": {"$inc": 1}}, "name": null}),
        json!({"list": [3], "map": {"k": {"deep": [1]}}, "new": {"$inc": 2}}),
    ];
    let concurrent = concurrent.map(|json| (OTHER, edit(&mut many, OTHER, &merge(json)))).into();
    let edits = [
        merge(json!({"stock": 3, "notes": "hello", "name": "y", "list": [2, {"a": "b"}]})),
        merge(json!({"map": {"k": null, "n": {"m": {}}}, "new": {"$inc": 1}, "f": 1.5})),
        put(json!({"stock": 4, "name": "a longer text than before, with é and \u{1f375}"})),
        Edit::Delete,
    ];
    let changes = edits.map(|e| edit(&mut few.clone(), LIAR, &e)).into();
    Story { few, many, before, concurrent, changes }
}

pub(crate) const CHANGE: Target = Target {
    name: "change",
    run: change,
    seeds: || story().changes.iter().flat_map(seeds_of).collect(),
    memory: Memory { mib: 8, per_byte: 1024 },
};

fn seeds_of(change: &RecordChange) -> [Vec<u8>; 2] {
    // A body is the chunk's type, its length, its data.
    let data = change.body.len() - usize::from(change.body[1]);
    let length = if change.body[1] < 0x80 { 2 } else { 3 };
    assert!(data <= 3 || length == 3);
    [[&[0], change.body.as_slice()].concat(), [&[15], &change.body[length..]].concat()]
}

/// The body of a change. The first byte of the input says which genesis it names, and whether the type and the
/// length before the data are part of the input or put right.
fn change(input: &[u8]) {
    let Some((how, bytes)) = input.split_first() else { return };
    let known = [
        ("new", GenesisKind::Counter),
        ("notes", GenesisKind::Text),
        ("stock", GenesisKind::Counter),
    ];
    let named = known.iter().zip(0..).filter(|(_, bit)| how >> bit & 1 == 1);
    let mut genesis: Vec<InitialChange> = named
        .map(|((name, kind), _)| InitialChange { path: vec![(*name).to_owned()], kind: *kind })
        .collect();
    genesis.sort();
    let body = match how >> 3 & 1 {
        0 => bytes.to_vec(),
        _ => [&[1], leb128(bytes.len()).as_slice(), bytes].concat(),
    };
    one_verdict(&RecordChange { genesis, body });
}

/// The verdict is the same with and without concurrent changes; what is accepted reads alike in any order of
/// arrival, and can be saved and loaded.
pub(crate) fn one_verdict(change: &RecordChange) -> bool {
    let Story { few, many, concurrent, .. } = story();
    let first = few.check(LIAR, change);
    let second = many.check(LIAR, change);
    assert_eq!(first.as_ref().err(), second.as_ref().err(), "one change has one verdict");
    // What is no longer live may be needed for a verdict, but never makes another.
    for (document, verdict) in [(few, &first), (many, &second)] {
        let live = Document::load(&document.save()).expect("what was saved loads");
        match live.check(LIAR, change).err() {
            Some(Verdict::NeedsHistory) => {}
            also => assert_eq!(also.as_ref(), verdict.as_ref().err()),
        }
    }
    let (Ok(first), Ok(second)) = (first, second) else { return false };
    let (mut few, mut many) = (few.clone(), many.clone());
    few.apply(first).expect("what is checked applies");
    many.apply(second).expect("what is checked applies");
    for (actor, other) in concurrent {
        let checked = few.check(*actor, other).expect("an honest change stays one");
        few.apply(checked).expect("what is checked applies");
    }
    assert_eq!(few.view(), many.view(), "the order of arrival shows");
    let loaded = Document::load(&few.save()).expect("what was saved loads");
    assert_eq!(loaded.view(), few.view());
    let again = few.check(LIAR, change).expect("a change that is here is accepted");
    few.apply(again).expect("what is checked applies");
    assert_eq!(loaded.view(), few.view(), "the same change twice is the same as once");
    true
}

fn leb128(mut number: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        let low = u8::try_from(number & 0x7f).unwrap_or_default();
        number >>= 7;
        if number == 0 {
            bytes.push(low);
            return bytes;
        }
        bytes.push(low | 0x80);
    }
}

pub(crate) const DOCUMENT: Target = Target {
    name: "document",
    run: document,
    seeds: || vec![story().few.save(), story().many.save(), Vec::new()],
    memory: Memory { mib: 8, per_byte: 1024 },
};

/// A saved record.
fn document(input: &[u8]) {
    if let Ok(document) = Document::load(input) {
        let again = Document::load(&document.save()).expect("what was saved loads");
        assert_eq!(again.view(), document.view());
    }
}
