//! Rows of objects and edges.

use std::collections::BTreeSet;

use super::*;
use crate::sink::weaviate::config::EdgeConfig;

const WAY: EdgeWay<'static> =
    EdgeWay { edge: "orders.hasCustomer", from: "orders", to: "customers" };

async fn state() -> (tempfile::TempDir, WeaviateState) {
    let folder = tempfile::tempdir().unwrap();
    let state = WeaviateState::open(file(folder.path(), "search")).await.unwrap();
    (folder, state)
}

fn ids(ids: &[&str]) -> BTreeSet<String> {
    ids.iter().map(|id| (*id).to_owned()).collect()
}

async fn sendable(state: &mut WeaviateState) -> Vec<(String, String)> {
    let rows = state.sendable(WAY, 100, 10).await.unwrap();
    rows.into_iter().map(|row| (row.from, row.to)).collect()
}

/// Edges that are to be sent or taken back.
async fn open(state: &mut WeaviateState) -> u64 {
    let edge = EdgeConfig {
        collection: "orders".to_owned(),
        property: "hasCustomer".to_owned(),
        field: "customer_id".to_owned(),
        to: "customers".to_owned(),
    };
    state.counts(&[edge]).await.unwrap().edges
}

#[tokio::test]
async fn an_edge_is_sent_between_confirmed_objects_alone() {
    let (_folder, mut state) = state().await;
    state.touch("orders", "o1", false, 1).await.unwrap();
    state.touch("customers", "c1", false, 1).await.unwrap();
    state.want(WAY.edge, "o1", &ids(&["c1", "c2"])).await.unwrap();
    assert!(sendable(&mut state).await.is_empty());
    state.confirm("orders", "o1", "d", 2).await.unwrap();
    assert!(sendable(&mut state).await.is_empty());
    state.confirm("customers", "c1", "d", 2).await.unwrap();
    let edge = ("o1".to_owned(), "c1".to_owned());
    assert_eq!(sendable(&mut state).await, std::slice::from_ref(&edge));
    state.confirm_edge(WAY.edge, "o1", "c1").await.unwrap();
    assert!(sendable(&mut state).await.is_empty());
    // The object is written over: its edges are gone with what it was.
    state.touch("orders", "o1", false, 3).await.unwrap();
    state.clear(WAY.edge, "o1").await.unwrap();
    assert!(sendable(&mut state).await.is_empty(), "not while the object waits");
    state.confirm("orders", "o1", "d", 4).await.unwrap();
    assert_eq!(sendable(&mut state).await, [edge]);
}

#[tokio::test]
async fn edges_that_are_wanted_no_more_are_taken_back_first() {
    let (_folder, mut state) = state().await;
    for (collection, id) in [("orders", "o1"), ("customers", "c1"), ("customers", "c2")] {
        state.touch(collection, id, false, 1).await.unwrap();
        state.confirm(collection, id, "d", 1).await.unwrap();
    }
    state.want(WAY.edge, "o1", &ids(&["c1"])).await.unwrap();
    state.confirm_edge(WAY.edge, "o1", "c1").await.unwrap();
    state.want(WAY.edge, "o1", &ids(&["c2"])).await.unwrap();
    assert!(sendable(&mut state).await.is_empty());
    let rows = state.replaceable(WAY, 100, 10).await.unwrap();
    assert_eq!(rows.len(), 1);
    let targets = state.targets(WAY, "o1").await.unwrap();
    assert_eq!(targets, ["c2"]);
    state.replaced(WAY.edge, "o1", &targets).await.unwrap();
    assert!(state.replaceable(WAY, 100, 10).await.unwrap().is_empty());
    assert!(sendable(&mut state).await.is_empty());
    assert_eq!(open(&mut state).await, 0);
    // One whose target is gone is wanted still, and there again with it.
    state.cut_to(WAY.edge, "c2").await.unwrap();
    state.forget("customers", "c2").await.unwrap();
    assert_eq!(state.replaceable(WAY, 100, 10).await.unwrap().len(), 1);
    state.replaced(WAY.edge, "o1", &[]).await.unwrap();
    state.touch("customers", "c2", false, 5).await.unwrap();
    state.confirm("customers", "c2", "d", 5).await.unwrap();
    assert_eq!(sendable(&mut state).await.len(), 1);
}

#[tokio::test]
async fn some_of_all_edges_can_be_wanted_again() {
    let (_folder, mut state) = state().await;
    state.touch("customers", "c1", false, 1).await.unwrap();
    for n in 0..5 {
        let from = format!("o{n}");
        state.want(WAY.edge, &from, &ids(&["c1"])).await.unwrap();
        state.confirm_edge(WAY.edge, &from, "c1").await.unwrap();
    }
    assert_eq!(state.want_again(Some(2), 1).await.unwrap(), 2);
    assert_eq!(open(&mut state).await, 2);
    assert_eq!(state.want_again(None, 0).await.unwrap(), 5);
}

#[tokio::test]
async fn what_was_refused_waits_for_a_change_or_a_person() {
    let (_folder, mut state) = state().await;
    state.touch("orders", "o1", false, 1).await.unwrap();
    state.touch("orders", "o2", false, 1).await.unwrap();
    state.refuse("orders", "o1", "no such property", None, 7).await.unwrap();
    assert_eq!(state.due("orders", 100, 10).await.unwrap().len(), 1);
    let failed = state.objects(Which::Failed, None, 10).await.unwrap();
    assert_eq!(failed[0].error.as_deref(), Some("no such property"));
    let behind = state.objects(Which::All, Some(("orders", "o1")), 10).await.unwrap();
    assert_eq!(behind[0].id, "o2");
    assert_eq!(state.requeue(None, (8, i64::MAX), 9).await.unwrap(), 0);
    assert_eq!(state.requeue(Some(("orders", "o1")), (0, i64::MAX), 9).await.unwrap(), 1);
    let due = state.due("orders", 100, 10).await.unwrap();
    assert!(due.iter().any(|due| due.id == "o1" && due.is_forced));
    state.refuse("orders", "o1", "no", None, 10).await.unwrap();
    state.touch("orders", "o1", false, 11).await.unwrap();
    assert_eq!(state.due("orders", 100, 10).await.unwrap().len(), 2);
    assert_eq!(state.attempts("orders", "o1").await.unwrap(), 1);
}

#[tokio::test]
async fn what_may_be_there_is_taken_back() {
    let (_folder, mut state) = state().await;
    for (collection, id) in [("orders", "o1"), ("customers", "c1"), ("customers", "c2")] {
        state.touch(collection, id, false, 1).await.unwrap();
        state.confirm(collection, id, "d", 1).await.unwrap();
    }
    state.want(WAY.edge, "o1", &ids(&["c1"])).await.unwrap();
    let rows = state.sendable(WAY, 100, 10).await.unwrap();
    state.edges_go_out(WAY.edge, &rows).await.unwrap();
    // Its answer never came, and another one is wanted meanwhile.
    state.want(WAY.edge, "o1", &ids(&["c2"])).await.unwrap();
    assert_eq!(state.replaceable(WAY, 100, 10).await.unwrap().len(), 1);
    // And then the first one once more, which is sent as any other.
    state.want(WAY.edge, "o1", &ids(&["c1"])).await.unwrap();
    assert_eq!(sendable(&mut state).await, [("o1".to_owned(), "c1".to_owned())]);
    state.touch("orders", "o2", false, 1).await.unwrap();
    let is_sent =
        async |state: &mut WeaviateState| state.due("orders", 100, 10).await.unwrap()[0].is_sent;
    assert!(!is_sent(&mut state).await);
    state.goes_out("orders", "o2").await.unwrap();
    assert!(is_sent(&mut state).await);
}

#[tokio::test]
async fn refused_edges_wait_for_their_object_or_a_person() {
    let (_folder, mut state) = state().await;
    for (collection, id) in [("orders", "o1"), ("customers", "c1"), ("customers", "c/2")] {
        state.touch(collection, id, false, 1).await.unwrap();
        state.confirm(collection, id, "d", 1).await.unwrap();
    }
    state.want(WAY.edge, "o1", &ids(&["c1", "c/2"])).await.unwrap();
    for row in state.sendable(WAY, 100, 10).await.unwrap() {
        state.refuse_edge(WAY.edge, &row, "no", None, 7).await.unwrap();
    }
    assert!(sendable(&mut state).await.is_empty());
    assert_eq!(state.next_edge_due().await.unwrap(), None);
    let refused = state.refused_edges(1, 10).await.unwrap();
    assert_eq!(refused.len(), 1);
    assert_eq!((refused[0].to.as_str(), refused[0].attempts, refused[0].due_ms), ("c1", 1, None));
    let meant = |name, times| Meant { name, parts: ("orders/", ":hasCustomer:customers/"), times };
    let all = (i64::MIN, i64::MAX);
    for (name, times, expected) in [
        (Some("orders/o1:hasCustomer:customers/c3"), all, 0),
        (Some("orders/o1:hasCustomer:customers/c/2"), all, 1),
        (None, (8, i64::MAX), 0),
        (None, (7, 8), 2),
    ] {
        let requeued = state.requeue_edges(WAY.edge, meant(name, times)).await.unwrap();
        assert_eq!(requeued, expected, "{name:?} {times:?}");
    }
    assert_eq!(sendable(&mut state).await.len(), 2);
    // Their object is written over: nothing was refused of what it is now.
    state.clear(WAY.edge, "o1").await.unwrap();
    assert!(state.refused_edges(0, 10).await.unwrap().is_empty());
    state.keep_edges(&[]).await.unwrap();
    assert!(sendable(&mut state).await.is_empty());
}
