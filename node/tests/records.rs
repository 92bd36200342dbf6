//! Records by the library alone.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use automerge::transaction::Transactable;
use automerge::{AutoCommit, ROOT, ScalarValue};
use branchline_node::init;
use branchline_node::records::{
    DocumentError, DocumentFault, DocumentNotMerged, DocumentRefused, Edit, Expected, MergeOptions,
    NoDocument, NotWritten, Origin, RecordEdit, Value, Version, WriteError,
};
use branchline_node::{Config, Handle, Node};
use serde_json::json;

async fn with_node(test: impl AsyncFnOnce(Handle)) {
    let data = tempfile::tempdir().unwrap();
    init(data.path(), "till", true).unwrap();
    let node = Node::open(Config::new(data.path())).await.unwrap();
    test(node.handle()).await;
    node.shutdown().await;
}

#[tokio::test]
async fn a_record_is_written_read_and_deleted() {
    with_node(async |node| {
        node.put("products", "tea", json!({"price": 1, "shelf": "B"})).await.unwrap();
        let written = node.merge("products", "tea", json!({"price": 2})).await.unwrap();
        let read = node.get("products", "tea").await.unwrap().unwrap();
        assert_eq!((&read.fields["price"], read.fields.len()), (&Value::Int(2), 2));
        assert_eq!(read.heads, [written.changes[0].unwrap()]);
        assert_eq!(read.version(), Version::of_heads(&read.heads));
        node.delete("products", "tea").await.unwrap();
        assert_eq!(node.get("products", "tea").await.unwrap(), None);
        assert_eq!(node.get("products", "rice").await.unwrap(), None);
        let twice = node.delete("products", "tea").await;
        assert!(matches!(twice, Err(NotWritten::Write(WriteError::Edit(_)))), "{twice:?}");
    })
    .await;
}

#[tokio::test]
async fn a_transaction_is_written_once_and_tells_its_changes() {
    with_node(async |node| {
        let origin = Origin { source: "till 7".to_owned(), number: 1 };
        let sell = async || {
            let undelete = RecordEdit::new("products", "tea", Edit::Undelete);
            let edits = node.transaction().origin(origin.clone());
            let edits = edits.merge("products", "tea", json!({"stock": {"$inc": -2}}));
            edits.edit(undelete).put("sales", "7-1", json!({"product": "tea"})).commit().await
        };
        let first = sell().await.unwrap();
        let reported: Vec<bool> = first.changes.iter().map(Option::is_some).collect();
        assert_eq!(reported, [true, false, true]);
        let again = sell().await.unwrap();
        assert!(again.is_repeat && again.changes.is_empty() && again.entry == first.entry);
        let entry = again.entry.unwrap();
        let made = node.made_by(entry, origin.clone()).await.unwrap().unwrap();
        let hashes = made.iter().map(|made| made.hash);
        assert!(hashes.eq(first.changes.into_iter().flatten()));
        assert_eq!((made[1].collection.as_str(), made[1].id.as_str()), ("sales", "7-1"));
        let other = Origin { number: 2, ..origin };
        assert_eq!(node.made_by(entry, other).await.unwrap(), None);
    })
    .await;
}

#[tokio::test]
async fn an_edit_of_an_older_version_stands_beside_what_came_since() {
    with_node(async |node| {
        node.put("products", "tea", json!({"price": 1})).await.unwrap();
        let seen = node.get("products", "tea").await.unwrap().unwrap().version();
        node.merge("products", "tea", json!({"price": 2})).await.unwrap();
        let late = || node.transaction().merge("products", "tea", json!({"price": 3}));
        let refused = late().expected(Expected::OneOf(vec![seen.clone()])).commit().await;
        let Err(NotWritten::Write(WriteError::Unexpected { .. })) = refused else {
            panic!("{refused:?}");
        };
        late().builds_on(seen).commit().await.unwrap();
        let read = node.get("products", "tea").await.unwrap().unwrap();
        assert_eq!(read.conflicts.len(), 1);
        let foreign = late().builds_on("00".repeat(16).parse().unwrap()).commit().await;
        let Err(NotWritten::Write(WriteError::UnknownVersion { .. })) = foreign else {
            panic!("{foreign:?}");
        };
    })
    .await;
}

#[tokio::test]
async fn a_record_is_given_as_an_automerge_document() {
    with_node(async |node| {
        node.put("products", "tea", json!({"price": 1})).await.unwrap();
        let seen = node.get("products", "tea").await.unwrap().unwrap().version();
        node.merge("products", "tea", json!({"price": 2})).await.unwrap();
        node.delete("products", "tea").await.unwrap();
        let whole = node.document("products", "tea").await.unwrap().unwrap();
        let then = node.document_at("products", "tea", &seen).await.unwrap().unwrap();
        assert_eq!(then.version, seen);
        assert!(whole.version != seen && whole.bytes != then.bytes);
        // What Automerge's files begin with, and that it is a document and no change.
        assert_eq!((&then.bytes[..4], then.bytes[8]), (&[0x85, 0x6f, 0x4a, 0x83][..], 0));
        assert_eq!(node.document("products", "rice").await.unwrap(), None);
        let unknown = "00".repeat(16).parse().unwrap();
        let unknown = node.document_at("products", "tea", &unknown).await;
        let Err(NoDocument::Document(DocumentError::NoVersion { .. })) = unknown else {
            panic!("{unknown:?}");
        };
        let page = node.verify_documents(None).await.unwrap();
        assert_eq!((page.report.records, page.records_total, page.next), (1, 1, None));
        assert!(page.report.is_sound(), "{:?}", page.report);
    })
    .await;
}

#[tokio::test]
async fn what_is_put_together_wrongly_is_told_and_writes_nothing() {
    with_node(async |node| {
        let list = node.put("products", "tea", json!([1])).await.unwrap_err();
        assert!(list.to_string().starts_with("the fields of products/tea are a list"), "{list}");
        let edits = node.transaction().expected(Expected::Existing);
        let nothing = edits.put("products", "tea", json!({})).commit().await.unwrap_err();
        assert!(matches!(nothing, NotWritten::NoEdit { what: "expected" }), "{nothing}");
        assert_eq!(node.get("products", "tea").await.unwrap(), None);
        let empty = node.transaction().commit().await.unwrap();
        assert_eq!((empty.records_changed, empty.entry), (0, None));
    })
    .await;
}

#[tokio::test]
async fn a_document_is_taken_in_once_also_after_a_restart_and_wholly_or_not_at_all() {
    let data = tempfile::tempdir().unwrap();
    init(data.path(), "office", true).unwrap();
    let mut doc = AutoCommit::new();
    doc.put(ROOT, "stock", ScalarValue::counter(5)).unwrap();
    let open = async || Node::open(Config::new(data.path())).await.unwrap();
    let node = open().await;
    let handle = node.handle();
    let options = |is_new| MergeOptions { is_new, ..MergeOptions::default() };
    let missing = handle.merge_document("products", "tea", doc.save(), options(false)).await;
    let is_missing = matches!(&missing, Err(DocumentNotMerged::Write(WriteError::Document(error)))
        if matches!(**error, DocumentRefused::Missing));
    assert!(is_missing, "{missing:?}");
    let merged = handle.merge_document("products", "tea", doc.save(), options(true)).await.unwrap();
    assert_eq!((merged.taken, merged.known), (1, 0));
    let again = handle.merge_document("products", "tea", doc.save(), options(false)).await.unwrap();
    assert_eq!((again.taken, again.known), (0, 1));
    // The same document is another record's edits too.
    let other = handle.merge_document("products", "rice", doc.save(), options(true)).await.unwrap();
    assert_eq!((other.taken, other.known), (1, 0));
    drop(handle);
    node.shutdown().await;
    let node = open().await;
    let handle = node.handle();
    doc.increment(ROOT, "stock", 1).unwrap();
    doc.commit();
    doc.increment(ROOT, "stock", 1).unwrap();
    let stale = MergeOptions { is_new: false, expected: Some(Expected::OneOf(Vec::new())) };
    let refused = handle.merge_document("products", "tea", doc.save(), stale).await;
    let is_refused =
        matches!(&refused, Err(DocumentNotMerged::Write(WriteError::Unexpected { .. })));
    assert!(is_refused, "{refused:?}");
    let merged = handle.merge_document("products", "tea", doc.save(), options(false)).await;
    assert_eq!(merged.unwrap().taken, 2);
    let stock = async |handle: &Handle| {
        handle.get("products", "tea").await.unwrap().unwrap().fields["stock"].clone()
    };
    assert_eq!(stock(&handle).await, Value::Counter(7));
    // The second change is refused, and so nothing of the first is there.
    doc.increment(ROOT, "stock", 1).unwrap();
    doc.commit();
    doc.delete(ROOT, "stock").unwrap();
    let refused = handle.merge_document("products", "tea", doc.save(), options(false)).await;
    assert!(refused.is_err());
    assert_eq!(stock(&handle).await, Value::Counter(7));
    let none = handle.merge_document("products", "tea", b"tea".to_vec(), options(false)).await;
    assert!(matches!(none, Err(DocumentNotMerged::Document(DocumentFault::NoDocument))));
    node.shutdown().await;
}
