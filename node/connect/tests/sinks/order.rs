//! One thing at a time for each group, and several groups at a time.

use std::sync::Arc;

use serde_json::json;
use tokio::sync::Semaphore;

use super::desk::{Desk, ERP};
use super::office::wait_until;
use super::remote::Fault;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn c27_an_update_waits_for_its_create_and_another_group_does_not() {
    let desk = Desk::open(ERP).await;
    desk.is("waiting").await;
    let gate = Arc::new(Semaphore::new(0));
    let held = Arc::clone(&gate);
    desk.remote.rule(move |call| {
        let is_held = call.method == "POST" && call.body["ref"] == "A-1";
        is_held.then(|| Fault::Hold(Arc::clone(&held)))
    });
    desk.office.merge("orders", "1", json!({ "ref": "A-1", "state": "sent" })).await;
    wait_until("the create is under way", || async { desk.remote.count("POST") == 1 }).await;
    // It changes while its create is under way, more than once.
    for country in ["PT", "FR", "IT"] {
        desk.office.merge("billing", "b1", json!({ "order_id": "1", "country": country })).await;
    }
    desk.order("2").await;
    desk.becomes("A-2", "country", json!("ES")).await;
    assert!(desk.remote.by_ref("A-1").is_none());
    let is_early = |call: &super::remote::Call| call.method == "PUT" && call.body["ref"] == "A-1";
    assert!(!desk.remote.calls().iter().any(is_early), "no update before the create");
    gate.add_permits(1_000);
    desk.becomes("A-1", "country", json!("IT")).await;
    desk.is_at_rest().await;
    let of_one: Vec<_> =
        desk.remote.calls().into_iter().filter(|call| call.body["ref"] == "A-1").collect();
    assert_eq!(of_one[0].method, "POST");
    assert!(of_one[1..].iter().all(|call| call.method == "PUT"), "{of_one:?}");
    assert_eq!(of_one.last().unwrap().body["country"], json!("IT"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn c27_a_retry_sends_what_the_group_is_by_then() {
    let desk = Desk::open(ERP).await;
    desk.order("1").await;
    desk.is_at_rest().await;
    desk.remote.rule(|call| (call.method == "PUT").then_some(Fault::Status(500, &[], "")));
    desk.office.merge("billing", "b1", json!({ "country": "PT" })).await;
    wait_until("the update was tried", || async { desk.remote.count("PUT") > 0 }).await;
    desk.office.merge("billing", "b1", json!({ "country": "FR" })).await;
    wait_until("the newer one was tried", || async {
        desk.remote.calls().iter().any(|call| call.body["country"] == "FR")
    })
    .await;
    desk.remote.heal();
    let before = desk.remote.calls().len();
    desk.becomes("A-1", "country", json!("FR")).await;
    desk.is_at_rest().await;
    let after = desk.remote.calls().split_off(before);
    assert!(after.iter().all(|call| call.body["country"] != "PT"), "{after:?}");
}
