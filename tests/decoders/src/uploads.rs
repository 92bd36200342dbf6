//! Documents that other programs edited: what anybody may upload who may write.

use std::sync::OnceLock;

use automerge::transaction::Transactable;
use automerge::{ActorId, AutoCommit, ObjType, ROOT, ReadDoc, ScalarValue};
use branchline_crdt::record::{
    ActorBytes, Document, ForeignDocument, Merge, RecordChange, automerge_of, merge_document,
};

use crate::changes::{OTHER, schema, story};
use crate::{Memory, Target};

// Of few bytes come many operations, each of which takes as much in memory as some hundred bytes.
pub(crate) const UPLOAD: Target =
    Target { name: "upload", run: upload, seeds, memory: Memory { mib: 512, per_byte: 4096 } };

const MAGIC: [u8; 4] = [0x85, 0x6f, 0x4a, 0x83];
/// Bytes before the type of a chunk.
const PREFIX_BYTES: usize = 8;

/// The first byte says whether the rest is a whole upload, or one chunk without magic and checksum, which it then gets, so
/// that mutations get behind them. A document is taken in wholly, by changes that every site accepts, or not at all.
fn upload(input: &[u8]) {
    let bytes = match input {
        [0, bytes @ ..] => bytes.to_vec(),
        [_, body @ ..] => whole(body),
        [] => return,
    };
    let document = match ForeignDocument::read(&bytes) {
        Ok(document) => document,
        Err(error) => {
            assert!(!error.to_string().is_empty());
            return;
        }
    };
    for is_new in [false, true] {
        let before = if is_new { Document::empty() } else { story().few.clone() };
        let mut record = before.clone();
        let schema = schema();
        let request = Merge {
            document: &document,
            actor: OTHER,
            time_ms: 2_000,
            schema: Some(&schema),
            is_new,
            is_site: &|actor: ActorBytes| actor == OTHER,
            taken: &Default::default(),
        };
        match merge_document(&mut record, &request) {
            Err(error) => assert!(!error.to_string().is_empty()),
            Ok(taken) => {
                let mut other = before;
                let mut changes: Vec<RecordChange> = Vec::new();
                for (_, edited) in taken {
                    let checked = other.check(OTHER, &edited.change).expect("a good change");
                    other.apply(checked).expect("a change that fits");
                    changes.push(edited.change);
                }
                assert_eq!(other.save(), record.save());
                let before = if is_new { &[][..] } else { &story().before };
                let read = automerge_of(before.iter().chain(&changes)).expect("good changes");
                let mut heads: Vec<[u8; 32]> = read.get_heads().iter().map(|it| it.0).collect();
                heads.sort_unstable();
                assert_eq!(heads, record.view().heads);
            }
        }
    }
}

/// A chunk whose type, length and data are given, as if it were sound.
fn whole(body: &[u8]) -> Vec<u8> {
    let hash = sha256(body);
    [&MAGIC[..], &hash[..4], body].concat()
}

fn sha256(bytes: &[u8]) -> [u8; 32] {
    use sha2::{Digest, Sha256};
    Sha256::digest(bytes).into()
}

fn seeds() -> Vec<Vec<u8>> {
    static SEEDS: OnceLock<Vec<Vec<u8>>> = OnceLock::new();
    SEEDS.get_or_init(make).clone()
}

fn make() -> Vec<Vec<u8>> {
    let record = automerge_of(&story().before).expect("honest changes");
    let lent = || {
        AutoCommit::load(&record.save()).expect("a document").with_actor(ActorId::from(b"program"))
    };
    let mut edited = lent();
    edited.increment(ROOT, "stock", -1).expect("a counter");
    let notes = edited.get(ROOT, "notes").expect("a field").expect("a text").1;
    edited.splice_text(&notes, 1, 1, &"a long text ".repeat(40)).expect("a text");
    edited.commit();
    let list = edited.get(ROOT, "list").expect("a field").expect("a list").1;
    edited.put(&list, 0, 7).expect("an element");
    edited.delete(&list, 1).expect("an element");
    let map = edited.put_object(ROOT, "new", ObjType::Map).expect("a map");
    edited.put(&map, "x", 1.5).expect("a field");
    let mut fresh = AutoCommit::new().with_actor(ActorId::from(b"another"));
    fresh.put(ROOT, "stock", ScalarValue::counter(3)).expect("a field");
    fresh.put_object(ROOT, "notes", ObjType::Text).expect("a text");
    let changes: Vec<u8> = edited
        .get_changes(&record.get_heads())
        .iter()
        .flat_map(|it| it.raw_bytes().to_vec())
        .collect();
    let wholes = [edited.save(), edited.save_nocompress(), fresh.save(), changes];
    let mut seeds: Vec<Vec<u8>> = wholes.iter().map(|bytes| [&[0], &bytes[..]].concat()).collect();
    for bytes in [edited.save_nocompress(), fresh.save()] {
        seeds.push([&[1], &bytes[PREFIX_BYTES..]].concat());
    }
    for change in edited.get_changes(&record.get_heads()) {
        seeds.push([&[1], &change.raw_bytes()[PREFIX_BYTES..]].concat());
    }
    seeds
}
