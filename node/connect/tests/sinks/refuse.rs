//! Items that the service refuses.

use branchline_connect::sink::worker::{Requeue, SinkCommand};
use serde_json::json;

use super::desk::{Desk, ERP};
use super::office::wait_until;
use super::remote::{Call, Fault};

fn refuses_three(call: &Call) -> Option<Fault> {
    let is_refused = call.method == "POST" && call.body["ref"] == "A-3";
    is_refused.then_some(Fault::Status(422, &[], "country is missing"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_item_is_set_aside_with_its_error_while_others_go_on() {
    let desk = Desk::open(ERP).await;
    desk.remote.rule(refuses_three);
    for n in 1..=5 {
        desk.order(&n.to_string()).await;
    }
    wait_until("the others are there", || async { desk.remote.objects().len() == 4 }).await;
    wait_until("it was refused as often as the configuration says", || async {
        desk.group("3").await["known"]["attempts"] == json!(3)
    })
    .await;
    let group = desk.group("3").await;
    assert_eq!(group["set_aside"], json!(true));
    let error = group["known"]["error"].as_str().unwrap();
    assert!(error.contains("422") && error.contains("country is missing"), "{error}");
    assert_eq!(group["known"].get("synced_at"), None, "what was refused does not count as synced");
    assert_eq!(group["known"].get("digest"), None);
    // It waits for a change or a person.
    desk.is_at_rest().await;
    let posts = |desk: &Desk| {
        desk.remote.calls().into_iter().filter(|call| call.body["ref"] == "A-3").count()
    };
    assert_eq!(posts(&desk), 3);
    desk.remote.heal();
    assert_eq!(desk.requeue_all().await, json!(1));
    desk.becomes("A-3", "country", json!("ES")).await;
    desk.is_at_rest().await;
    assert_eq!(desk.report().quarantined, 0);
    assert_eq!(desk.group("3").await["known"].get("error"), None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_of_a_refused_item_is_tried_at_once_and_another_is_not() {
    let desk = Desk::open(ERP).await;
    desk.remote.rule(|call| {
        let is_refused = call.method == "POST" && call.body["country"].is_null();
        is_refused.then_some(Fault::Status(400, &[], "country is missing"))
    });
    desk.office.merge("orders", "1", json!({ "ref": "A-1", "state": "sent" })).await;
    wait_until("it is set aside for good", || async {
        desk.group("1").await["known"]["attempts"] == json!(3)
    })
    .await;
    // What does not change the representation is no reason to send it again.
    desk.office.merge("orders", "1", json!({ "note": "x" })).await;
    desk.is_at_rest().await;
    assert_eq!(desk.remote.count("POST"), 3);
    desk.office.merge("billing", "b1", json!({ "order_id": "1", "country": "ES" })).await;
    desk.becomes("A-1", "country", json!("ES")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn c28_what_was_refused_in_a_time_is_requeued_by_it() {
    let desk = Desk::open(ERP).await;
    desk.remote.rule(refuses_three);
    desk.order("3").await;
    wait_until("it is set aside for good", || async {
        desk.group("3").await["known"]["attempts"] == json!(3)
    })
    .await;
    desk.remote.heal();
    let hour = 3_600_000;
    let now = jiff::Timestamp::now().as_millisecond();
    let before = Requeue { until_ms: Some(now - hour), ..Requeue::default() };
    assert_eq!(desk.ask(SinkCommand::Requeue(before)).await["requeued"], json!(0));
    let other = Requeue { ids: vec!["4".to_owned()], ..Requeue::default() };
    assert_eq!(desk.ask(SinkCommand::Requeue(other)).await["requeued"], json!(0));
    let since = Requeue { since_ms: Some(now - hour), ..Requeue::default() };
    assert_eq!(desk.ask(SinkCommand::Requeue(since)).await["requeued"], json!(1));
    desk.becomes("A-3", "country", json!("ES")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_expression_that_fails_for_one_record_sets_that_one_aside() {
    let strict = ERP.replace(
        "{ ref: .order.ref,",
        "{ ref: (.order.ref | ltrimstr(\"X\")), total: (.order.total * 2),",
    );
    let desk = Desk::open(&strict).await;
    for (id, total) in [("1", json!(2)), ("2", json!({ "of": "another kind" })), ("3", json!(4))] {
        desk.office
            .merge(
                "orders",
                id,
                json!({ "ref": format!("A-{id}"), "state": "sent", "total": total }),
            )
            .await;
    }
    wait_until("the others are there", || async { desk.remote.objects().len() == 2 }).await;
    desk.is_at_rest().await;
    let group = desk.group("2").await;
    assert_eq!(group["set_aside"], json!(true), "{group}");
    assert!(group["known"]["error"].as_str().unwrap().contains("jq"), "{group}");
    desk.office.merge("orders", "2", json!({ "total": 3 })).await;
    desk.becomes("A-2", "total", json!(6)).await;
}
