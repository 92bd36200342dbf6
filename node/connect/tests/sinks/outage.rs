//! The service, or the way to it, is out of order: nothing is set aside, and nothing is lost.

use std::sync::Arc;

use branchline_connect::sink::worker::SinkCommand;
use serde_json::json;
use tokio::sync::Semaphore;

use super::desk::{Desk, ERP};
use super::office::wait_until;
use super::remote::Fault;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_that_is_down_sets_nothing_aside() {
    let mut desk = Desk::open(ERP).await;
    desk.is("waiting").await;
    desk.remote.go_down().await;
    for n in 1..=5 {
        desk.order(&n.to_string()).await;
    }
    let report = desk.is("backing-off").await;
    assert!(report.reason.is_some(), "{report:?}");
    wait_until("it was tried more often than an item may be refused", || async {
        desk.report().counted.retried > 5
    })
    .await;
    assert_eq!(desk.report().quarantined, 0);
    desk.remote.come_back().await;
    wait_until("all are there", || async { desk.remote.objects().len() == 5 }).await;
    desk.is("waiting").await;
    assert_eq!(desk.group("1").await["known"]["attempts"], json!(null));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_that_asks_for_a_pause_gets_it_and_sets_nothing_aside() {
    let desk = Desk::open(ERP).await;
    let busy = Fault::Status(429, &[("retry-after", "1")], "slow down");
    desk.remote.fail([busy.clone(), busy, Fault::Status(503, &[], "")]);
    for n in 1..=4 {
        desk.order(&n.to_string()).await;
    }
    wait_until("all are there", || async { desk.remote.objects().len() == 4 }).await;
    desk.is_at_rest().await;
    let report = desk.report();
    assert_eq!(report.quarantined, 0);
    assert!(report.faults.transient >= 1, "{report:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_item_that_breaks_the_service_does_not_keep_the_others_back() {
    let desk = Desk::open(ERP).await;
    desk.remote.rule(|call| {
        let is_poison = call.method == "POST" && call.body["ref"] == "A-3";
        is_poison.then_some(Fault::Status(500, &[], "internal error"))
    });
    for n in 1..=6 {
        desk.order(&n.to_string()).await;
    }
    wait_until("the others are there", || async { desk.remote.objects().len() == 5 }).await;
    assert_eq!(desk.report().quarantined, 0);
    desk.remote.heal();
    desk.becomes("A-3", "country", json!("ES")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_that_does_not_accept_the_office_stops_the_sink_until_a_person_resumes_it() {
    let mut desk = Desk::open(ERP).await;
    desk.remote.rule(|_| Some(Fault::Status(401, &[], "who are you")));
    desk.order("1").await;
    let report = desk.is("paused").await;
    let reason = report.reason.unwrap();
    assert!(reason.contains("401") && reason.contains("sink resume erp"), "{reason}");
    assert_eq!(report.quarantined, 0);
    desk.remote.heal();
    desk.crash(ERP).await;
    desk.is("paused").await;
    desk.ask(SinkCommand::Resume).await;
    desk.becomes("A-1", "country", json!("ES")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_more_requests_are_under_way_than_the_configuration_says() {
    let desk = Desk::open(ERP).await;
    let gate = Arc::new(Semaphore::new(0));
    let held = Arc::clone(&gate);
    desk.remote.rule(move |call| (call.method == "POST").then(|| Fault::Hold(Arc::clone(&held))));
    for n in 1..=8 {
        desk.order(&n.to_string()).await;
    }
    wait_until("two wait", || async { desk.remote.count("POST") == 2 }).await;
    gate.add_permits(1_000);
    wait_until("all are there", || async { desk.remote.objects().len() == 8 }).await;
    assert_eq!(desk.remote.at_work_max(), 2);
}
