//! Another site takes a sink over.

use std::sync::Arc;

use branchline_connect::Kinds;
use branchline_connect::jobs::board::Jobs;
use branchline_connect::sink::sinks::Sinks;
use branchline_connect::sink::worker::SinkCommand;
use serde_json::json;

use super::desk::{Desk, ERP};
use super::office::{Office, wait_until};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn c33_a_site_that_takes_over_knows_what_was_pushed_and_the_other_stops() {
    let desk = Desk::open(ERP).await;
    desk.order("1").await;
    desk.is_at_rest().await;
    let branch = Office::join(&desk.office, "branch").await;
    wait_until("the branch has the records", || async {
        branch.fields("sink_erp", "1").await.is_some_and(|fields| fields["remote_id"] == "1")
            && branch.fields("connectors", "sink erp").await.is_some()
            && branch.fields("items", "i1").await.is_some()
    })
    .await;
    let folder = branch.path().join("connect");
    std::fs::create_dir_all(&folder).unwrap();
    let jobs = Arc::new(Jobs::open(&folder).await.unwrap());
    let kinds = Arc::new(Kinds::default());
    let sinks = Sinks::new(branch.handle(), folder, jobs, kinds);
    sinks.take_up(&[desk.config(ERP)]).await;
    let state = |sinks: &Sinks| sinks.reports()["erp"].clone();
    wait_until("the branch does not push beside the head", || async {
        state(&sinks).state == "superseded"
    })
    .await;
    assert!(state(&sinks).reason.unwrap().contains("head runs this sink"));
    let before = desk.remote.calls().len();
    let answer = sinks.ask("erp", SinkCommand::TakeOver).await.unwrap().unwrap();
    assert_eq!(answer["term"], json!(2));
    wait_until("the head has heard of it", || async { desk.report().state == "superseded" }).await;
    wait_until("the branch works", || async { state(&sinks).state == "waiting" }).await;
    assert_eq!(desk.remote.calls().len(), before, "what is there is not sent again");
    desk.office.merge("billing", "b1", json!({ "country": "PT" })).await;
    desk.becomes("A-1", "country", json!("PT")).await;
    let calls = desk.remote.calls();
    assert_eq!(calls[0].term.as_deref(), Some("1"));
    assert_eq!(calls.last().unwrap().term.as_deref(), Some("2"));
    assert_eq!(desk.remote.objects().len(), 1);
    sinks.stop().await;
}
