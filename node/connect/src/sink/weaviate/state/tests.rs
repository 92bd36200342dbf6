//! Rows of objects and edges.

use std::collections::BTreeSet;
use std::sync::atomic::Ordering;

use proptest::prelude::*;

use super::objects::ObjectCounts;
use super::*;

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
    state.counts().await.unwrap().edges
}

#[tokio::test]
async fn an_edge_is_sent_between_confirmed_objects_alone() {
    let (_folder, mut state) = state().await;
    state.touch("orders", "o1", false, 1).await.unwrap();
    state.touch("customers", "c1", false, 1).await.unwrap();
    state.want(WAY, "o1", &ids(&["c1", "c2"])).await.unwrap();
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
    state.want(WAY, "o1", &ids(&["c1"])).await.unwrap();
    state.confirm_edge(WAY.edge, "o1", "c1").await.unwrap();
    state.want(WAY, "o1", &ids(&["c2"])).await.unwrap();
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
    state.cut_to(WAY, "c2").await.unwrap();
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
        state.want(WAY, &from, &ids(&["c1"])).await.unwrap();
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
    state.want(WAY, "o1", &ids(&["c1"])).await.unwrap();
    let rows = state.sendable(WAY, 100, 10).await.unwrap();
    state.edges_go_out(WAY.edge, &rows).await.unwrap();
    // Its answer never came, and another one is wanted meanwhile.
    state.want(WAY, "o1", &ids(&["c2"])).await.unwrap();
    assert_eq!(state.replaceable(WAY, 100, 10).await.unwrap().len(), 1);
    // And then the first one once more, which is sent as any other.
    state.want(WAY, "o1", &ids(&["c1"])).await.unwrap();
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
    state.want(WAY, "o1", &ids(&["c1", "c/2"])).await.unwrap();
    for row in state.sendable(WAY, 100, 10).await.unwrap() {
        state.refuse_edge(WAY.edge, &row, "no", None, 7).await.unwrap();
    }
    assert!(sendable(&mut state).await.is_empty());
    assert_eq!(state.next_edge_due().await.unwrap(), None);
    let first = state.refused_edges(None, 1).await.unwrap().pop().unwrap();
    assert_eq!((first.from.as_str(), first.to.as_str()), ("o1", "c/2"));
    let refused = state.refused_edges(Some(first.place()), 10).await.unwrap();
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
    assert!(state.refused_edges(None, 10).await.unwrap().is_empty());
    state.keep_edges(&[]).await.unwrap();
    assert!(sendable(&mut state).await.is_empty());
}

/// Counts all there is.
async fn counted(state: &mut WeaviateState) -> Vec<u64> {
    let open = "(state > 1 OR (state = 0 AND (error IS NOT NULL OR EXISTS (SELECT 1 FROM object o \
        WHERE o.collection = target AND o.id = to_id))))";
    let sql = format!(
        "SELECT count(*), coalesce(sum(due_ms IS NOT NULL OR error IS NOT NULL), 0), count(error), \
         (SELECT coalesce(sum({open}), 0) FROM edge), (SELECT count(error) FROM edge) FROM object"
    );
    let row = sqlx::query(sqlx::AssertSqlSafe(sql)).fetch_one(state.store.connection()).await;
    let row = row.unwrap();
    (0..5).map(|index| row.get::<i64, _>(index).unsigned_abs()).collect()
}

/// Does the nth of all that becomes of rows.
async fn step(state: &mut WeaviateState, number: u8, order: &str, customer: &str) {
    let row = EdgeRow { from: order.to_owned(), to: customer.to_owned(), tries: 0, attempts: 0 };
    let done = match number {
        0 => state.touch("orders", order, false, 1).await,
        1 => state.touch("customers", customer, true, 1).await,
        2 => state.confirm("orders", order, "d", 2).await,
        3 => state.confirm("customers", customer, "d", 2).await,
        4 => state.settle("customers", customer).await,
        5 => state.forget("customers", customer).await,
        6 => state.refuse("orders", order, "no", None, 3).await,
        7 => state.refuse("customers", customer, "no", Some(9), 3).await,
        8 => state.want(WAY, order, &ids(&[customer])).await,
        9 => state.want(WAY, order, &ids(&["c0", "c1"])).await,
        10 => state.edges_go_out(WAY.edge, &[row]).await,
        11 => state.confirm_edge(WAY.edge, order, customer).await,
        12 => state.refuse_edge(WAY.edge, &row, "no", None, 3).await,
        13 => state.cut_to(WAY, customer).await,
        14 => state.cut_from(WAY.edge, order).await,
        15 => state.clear(WAY.edge, order).await,
        16 => state.replaced(WAY.edge, order, &[customer.to_owned()]).await,
        17 => state.want_again(Some(2), 0).await.map(drop),
        18 => state.forget_remote().await,
        19 => state.requeue(None, (0, i64::MAX), 9).await.map(drop),
        _ => state.touch_known("orders", true, 9).await,
    };
    done.unwrap();
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]
    #[test]
    fn what_is_counted_as_it_comes_is_what_there_is(
        steps in proptest::collection::vec((0_u8..=20, 0_u8..3, 0_u8..3), 1..60),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let (_folder, mut state) = state().await;
            for (number, order, customer) in steps {
                step(&mut state, number, &format!("o{order}"), &format!("c{customer}")).await;
                let found = state.counts().await.unwrap();
                let ObjectCounts { objects, dirty, aside, edges, edges_aside, .. } = found;
                let found = vec![objects, dirty, aside, edges, edges_aside];
                assert_eq!(found, counted(&mut state).await, "after step {number}");
            }
        });
    }
}

/// Steps that SQLite takes for what a sink asks in each turn, beside so many records that are there, as many that were
/// refused, and as many edges that are there, were refused, and wait for a record.
async fn steps(rows: usize) -> u64 {
    let (_folder, mut state) = state().await;
    state.begin().await.unwrap();
    for number in 0..rows {
        let (order, customer) = (format!("o{number}"), format!("c{number}"));
        for (collection, id) in [("orders", &order), ("customers", &customer)] {
            state.touch(collection, id, false, 1).await.unwrap();
            state.confirm(collection, id, "d", 1).await.unwrap();
        }
        state.want(WAY, &order, &ids(&[&customer, "gone", "x"])).await.unwrap();
        state.confirm_edge(WAY.edge, &order, &customer).await.unwrap();
        let refused = format!("r{number}");
        state.touch("orders", &refused, false, 1).await.unwrap();
        state.refuse("orders", &refused, "no", None, 1).await.unwrap();
        let row = EdgeRow { from: order, to: "x".to_owned(), tries: 0, attempts: 0 };
        state.refuse_edge(WAY.edge, &row, "no", None, 1).await.unwrap();
    }
    for (collection, id) in [("orders", "z"), ("customers", "z")] {
        state.touch(collection, id, false, 1).await.unwrap();
        state.confirm(collection, id, "d", 1).await.unwrap();
    }
    state.want(WAY, "z", &ids(&["z"])).await.unwrap();
    state.end().await.unwrap();
    let steps = state.store.count_steps().await;
    let counts = state.counts().await.unwrap();
    assert_eq!((counts.objects, counts.edges_aside), (3 * rows as u64 + 2, rows as u64));
    assert_eq!(counts.edges, rows as u64 + 1, "what waits for a record is not to be sent");
    assert_eq!(state.next_due("orders").await.unwrap(), None);
    assert_eq!(state.next_edge_due().await.unwrap(), None);
    assert!(state.due("orders", 100, 9).await.unwrap().is_empty());
    assert!(state.replaceable(WAY, 100, 9).await.unwrap().is_empty());
    assert_eq!(sendable(&mut state).await, [("z".to_owned(), "z".to_owned())]);
    state.confirm_edge(WAY.edge, "z", "z").await.unwrap();
    state.cut_to(WAY, "z").await.unwrap();
    state.forget("customers", "z").await.unwrap();
    state.touch("orders", "z", false, 2).await.unwrap();
    for (which, behind) in [(Which::All, "o"), (Which::Dirty, "o"), (Which::Failed, "o")] {
        let page = state.objects(which, Some(("orders", behind)), 9).await.unwrap();
        assert!(!page.is_empty(), "{which:?}");
    }
    assert_eq!(state.refused_edges(None, 9).await.unwrap().len(), 9);
    steps.load(Ordering::Relaxed)
}

#[tokio::test]
async fn a_turn_costs_no_more_where_there_are_more_records_and_edges() {
    let (few, many) = (steps(100).await, steps(2_000).await);
    assert!(many < few + few / 4, "{few} steps among 302 records, {many} among 6,002");
}
