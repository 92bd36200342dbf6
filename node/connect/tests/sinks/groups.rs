//! Which groups a change makes dirty, and which of them are sent.

use branchline_connect::sink::state::Which;
use branchline_connect::sink::worker::SinkCommand;
use serde_json::json;

use super::desk::{Desk, ERP};
use super::office::wait_until;
use super::remote::Fault;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_to_any_member_reaches_the_object() {
    let desk = Desk::open(ERP).await;
    desk.order("1").await;
    desk.is_at_rest().await;
    let expected = json!({ "ref": "A-1", "country": "ES", "segment": null, "lines": [{ "sku": "tea", "qty": 1 }] });
    assert_eq!(desk.remote.by_ref("A-1"), Some(expected));
    desk.office.merge("users", "u1", json!({ "customer_id": "c1" })).await;
    desk.office.merge("customers", "c1", json!({ "segment": "gold" })).await;
    desk.becomes("A-1", "segment", json!("gold")).await;
    desk.office.merge("items", "i2", json!({ "order_id": "1", "sku": "jam", "qty": 2 })).await;
    let lines = json!([{ "sku": "tea", "qty": 1 }, { "sku": "jam", "qty": 2 }]);
    desk.becomes("A-1", "lines", lines).await;
    desk.office.delete("items", "i1").await;
    desk.becomes("A-1", "lines", json!([{ "sku": "jam", "qty": 2 }])).await;
    // A chain: another customer of the same user.
    desk.office.merge("customers", "c2", json!({ "segment": "silver" })).await;
    desk.office.merge("users", "u1", json!({ "customer_id": "c2" })).await;
    desk.becomes("A-1", "segment", json!("silver")).await;
    desk.office.delete("customers", "c2").await;
    desk.becomes("A-1", "segment", json!(null)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn exactly_the_affected_objects_are_sent() {
    let desk = Desk::open(ERP).await;
    for n in 1..=20 {
        desk.order(&n.to_string()).await;
    }
    desk.is_at_rest().await;
    let before = desk.remote.calls().len();
    desk.office.merge("items", "i3", json!({ "order_id": "4" })).await;
    desk.is_at_rest().await;
    let calls = desk.remote.calls().split_off(before);
    let mut refs: Vec<_> =
        calls.iter().map(|call| call.body["ref"].as_str().unwrap().to_owned()).collect();
    refs.sort();
    assert_eq!(refs, ["A-3", "A-4"], "an item that moves makes both orders dirty");
    let object = desk.remote.by_ref("A-4").unwrap();
    assert_eq!(object["lines"].as_array().unwrap().len(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_does_not_change_the_representation_is_not_sent() {
    let desk = Desk::open(ERP).await;
    desk.order("1").await;
    desk.is_at_rest().await;
    let before = desk.remote.calls().len();
    desk.office.merge("orders", "1", json!({ "note": "fragile" })).await;
    desk.office.merge("users", "u1", json!({ "name": "Ada" })).await;
    wait_until("the group was looked at", || async { desk.report().counted.unchanged > 0 }).await;
    desk.is_at_rest().await;
    // All of it once more.
    let id = desk.run(true, false).await;
    desk.has_ended(id).await;
    assert_eq!(desk.remote.calls().len(), before);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn several_changes_before_a_push_are_one_push() {
    let desk = Desk::open(ERP).await;
    desk.order("1").await;
    desk.is_at_rest().await;
    desk.remote.rule(|_| Some(Fault::Status(503, &[], "")));
    desk.office.merge("billing", "b1", json!({ "country": "PT" })).await;
    desk.is("backing-off").await;
    for n in 1..=10 {
        desk.office.merge("items", "i1", json!({ "qty": n })).await;
    }
    let before = desk.remote.calls().len();
    desk.remote.heal();
    desk.becomes("A-1", "lines", json!([{ "sku": "tea", "qty": 10 }])).await;
    desk.is_at_rest().await;
    let sent = desk.remote.calls().split_off(before);
    let bodies: Vec<_> = sent.iter().map(|call| call.body["lines"][0]["qty"].clone()).collect();
    assert!(bodies.len() <= 3, "{bodies:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_records_that_count_are_pushed_and_those_that_leave_stay_or_go() {
    let filtered = format!("where = \"state = 'sent'\"\n{}", ERP.trim_start());
    let desk = Desk::open(&filtered).await;
    desk.order("1").await;
    desk.office.merge("orders", "2", json!({ "ref": "A-2", "state": "open" })).await;
    desk.is_at_rest().await;
    assert_eq!(desk.remote.objects().len(), 1);
    desk.office.merge("orders", "1", json!({ "state": "open", "ref": "B-1" })).await;
    desk.office.merge("orders", "2", json!({ "state": "sent" })).await;
    desk.becomes("A-2", "country", json!(null)).await;
    desk.is_at_rest().await;
    assert!(desk.remote.by_ref("A-1").is_some(), "it left, and stays as it was");
    // It comes back as the same object.
    desk.office.merge("orders", "1", json!({ "state": "sent" })).await;
    desk.becomes("B-1", "country", json!("ES")).await;
    assert_eq!(desk.remote.objects().len(), 2);
    let deleting = format!("on_leave = \"delete\"\n{filtered}");
    desk.reload(&deleting).await;
    desk.is_at_rest().await;
    desk.office.merge("orders", "1", json!({ "state": "open" })).await;
    wait_until("its object is deleted", || async { desk.remote.objects().len() == 1 }).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_what_is_watched_makes_a_push() {
    let watched = format!("watch = [\"billing.country\", \"items\"]\n{}", ERP.trim_start());
    let desk = Desk::open(&watched).await;
    desk.order("1").await;
    desk.is_at_rest().await;
    desk.office.merge("orders", "1", json!({ "ref": "B-1" })).await;
    wait_until("the group was looked at", || async { desk.report().counted.unchanged > 0 }).await;
    desk.is_at_rest().await;
    assert!(desk.remote.by_ref("A-1").is_some());
    // What else has changed goes along with what is watched.
    desk.office.merge("billing", "b1", json!({ "country": "PT" })).await;
    desk.becomes("B-1", "country", json!("PT")).await;
    desk.office.merge("orders", "1", json!({ "ref": "C-1" })).await;
    let id = desk.run(true, false).await;
    desk.has_ended(id).await;
    assert!(desk.remote.by_ref("C-1").is_some(), "a full run looks at everything");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn records_of_before_are_found_and_changes_of_while_the_sink_was_down() {
    let mut desk = Desk::open(ERP).await;
    desk.sinks.stop().await;
    desk.order("1").await;
    desk.reload(ERP).await;
    desk.becomes("A-1", "country", json!("ES")).await;
    desk.is_at_rest().await;
    desk.sinks.stop().await;
    desk.office.merge("billing", "b1", json!({ "country": "PT" })).await;
    desk.crash(ERP).await;
    desk.becomes("A-1", "country", json!("PT")).await;
    // Without its own file it looks at everything, and sends nothing that is there.
    desk.is_at_rest().await;
    desk.sinks.stop().await;
    let before = desk.remote.calls().len();
    let connect = desk.office.path().join("connect");
    for suffix in ["", "-wal", "-shm"] {
        let _ = std::fs::remove_file(connect.join(format!("sink-erp.sqlite{suffix}")));
    }
    desk.crash(ERP).await;
    desk.is_at_rest().await;
    assert_eq!(desk.remote.calls().len(), before);
    desk.office.merge("items", "i1", json!({ "qty": 9 })).await;
    desk.becomes("A-1", "lines", json!([{ "sku": "tea", "qty": 9 }])).await;
    assert_eq!(desk.remote.objects().len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pages_of_groups_skip_none_that_stays_and_show_none_twice_whatever_comes_and_goes() {
    let desk = Desk::open(ERP).await;
    let stay: Vec<String> = (10..30).map(|number| number.to_string()).collect();
    for id in &stay {
        desk.order(id).await;
    }
    desk.is_at_rest().await;
    let (mut seen, mut after) = (Vec::new(), None);
    for page in 0.. {
        let command = SinkCommand::Groups { which: Which::All, after, limit: 3 };
        let answer = desk.ask(command).await;
        let ids = answer["groups"].as_array().unwrap().iter();
        let ids: Vec<String> = ids.map(|group| group["id"].as_str().unwrap().to_owned()).collect();
        let Some(last) = ids.last().cloned() else { break };
        // Before the place, and behind it: one comes, and one of the page before goes, and all are touched.
        desk.order(&format!("0{page}")).await;
        desk.order(&format!("2{page}x")).await;
        if page == 2 {
            desk.office.delete("orders", "12").await;
            desk.office.merge("billing", "b29", json!({ "country": "PT" })).await;
        }
        desk.is_at_rest().await;
        seen.extend(ids);
        after = Some(last);
    }
    assert!(seen.is_sorted_by(|one, other| one < other), "none twice, and by id: {seen:?}");
    assert!(stay.iter().filter(|id| *id != "12").all(|id| seen.contains(id)), "{seen:?}");
}
