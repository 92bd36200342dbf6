//! Another site takes a sink over: nothing but the records tells it what the server has.

use serde_json::{Value as Json, json};

use super::office::Office;
use crate::sink::worker::SinkCommand;

/// What orders are called at the server, in order.
fn refs(office: &Office) -> Vec<String> {
    let there = office.server.there();
    let orders = there.objects.iter().filter(|((class, _), _)| class == "Order");
    let text = |value: &Json| value.as_str().unwrap_or_default().to_owned();
    let mut refs: Vec<String> = orders.map(|(_, order)| text(&order["ref"])).collect();
    refs.sort();
    refs
}

/// Every order has one edge, and no edge begins anywhere else.
fn has_one_edge_each(office: &Office) -> bool {
    let there = office.server.there();
    let orders = there.objects.keys().filter(|(class, _)| class == "Order").count();
    let edges: Vec<_> = there.edges.values().filter(|edges| !edges.is_empty()).collect();
    edges.len() == orders && edges.iter().all(|edges| edges.len() == 1)
}

async fn superseded(office: &Office) {
    office
        .wait_until("another site runs it", || {
            office.sinks.reports()["search"].state == "superseded"
        })
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_site_that_takes_over_sends_all_and_deletes_what_was_deleted_while_nobody_ran_it() {
    for is_old in [false, true] {
        let head = Office::start().await;
        head.server.there().trouble.is_old = is_old;
        head.fill(2, 6).await;
        head.run("").await;
        head.settled().await;
        let branch = Office::join(&head).await;
        branch.has_all_of(&head).await;
        branch.run("").await;
        superseded(&branch).await;
        head.sinks.stop().await;
        // Nobody runs the sink now.
        head.delete("orders", "o1").await;
        head.put("orders", "o2", json!({ "ref": "R2 changed", "customer_id": "c1" })).await;
        head.put("orders", "o6", json!({ "ref": "R6", "price": 6, "customer_id": "c0" })).await;
        branch.has_all_of(&head).await;
        let answer = branch.ask(SinkCommand::TakeOver).await;
        assert_eq!((&answer["term"], &answer["sends_all"]), (&json!(2), &json!(true)));
        branch.wait_until("the deleted one is gone", || refs(&branch).len() == 6).await;
        branch
            .wait_until("all is there once", || {
                refs(&branch) == ["R0", "R2 changed", "R3", "R4", "R5", "R6"]
                    && has_one_edge_each(&branch)
            })
            .await;
        branch.settled().await;
        // The first site takes it back, whose file knows nothing of what the other one has sent.
        branch.put("orders", "o3", json!({ "ref": "R3 changed" })).await;
        branch.wait_until("it is there", || refs(&branch).contains(&"R3 changed".to_owned())).await;
        branch.settled().await;
        branch.sinks.stop().await;
        branch.put("orders", "o3", json!({ "ref": "R3" })).await;
        branch.delete("orders", "o6").await;
        head.has_all_of(&branch).await;
        head.run("").await;
        superseded(&head).await;
        assert_eq!(head.ask(SinkCommand::TakeOver).await["term"], json!(3));
        head.wait_until("what the records say is there, once", || {
            refs(&head) == ["R0", "R2 changed", "R3", "R4", "R5"] && has_one_edge_each(&head)
        })
        .await;
        head.settled().await;
        let answer = head.ask(SinkCommand::TakeOver).await;
        assert_eq!((&answer["term"], &answer["sends_all"]), (&json!(3), &json!(false)));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_takeover_that_is_broken_off_goes_on_with_all() {
    let head = Office::start().await;
    head.fill(1, 40).await;
    head.run("").await;
    head.settled().await;
    let branch = Office::join(&head).await;
    branch.has_all_of(&head).await;
    branch.run("").await;
    superseded(&branch).await;
    head.sinks.stop().await;
    head.delete("orders", "o7").await;
    branch.has_all_of(&head).await;
    branch.server.there().trouble.status = Some((503, usize::MAX));
    branch.ask(SinkCommand::TakeOver).await;
    branch.wait_until("it tries", || branch.sinks.reports()["search"].state == "backing-off").await;
    branch.sinks.kill().await;
    branch.server.there().trouble.status = None;
    branch.run("").await;
    branch
        .wait_until("all is there", || refs(&branch).len() == 39 && has_one_edge_each(&branch))
        .await;
    branch.settled().await;
}
