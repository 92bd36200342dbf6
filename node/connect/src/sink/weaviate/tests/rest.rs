//! What a person has to decide.

use serde_json::json;

use super::office::Office;
use crate::sink::worker::{RunOrder, SinkCommand};

async fn rests(office: &Office, part: &str) {
    office
        .wait_until(&format!("it rests: {part}"), || {
            let report = office.sinks.reports().remove("search").unwrap();
            report.state == "paused" && report.reason.is_some_and(|why| why.contains(part))
        })
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn c31_a_changed_configuration_asks_before_it_sends_more_than_a_number() {
    let office = Office::start().await;
    office.fill(1, 3).await;
    office.run("ask_over = 2").await;
    office.settled().await;
    let mut config = office.config("ask_over = 2");
    config.objects[1].translate = "{ ref, cost: .price }".to_owned();
    office.sinks.take_up(&[config.clone()]).await;
    rests(&office, "would send 3 of 4 objects").await;
    assert_eq!(office.server.there().count("/v1/batch/objects"), 2, "nothing was sent");
    let (counting, items) = office.sinks.plan(&config, 1).await.unwrap();
    assert_eq!((counting.update, counting.unchanged, items.len()), (3, 1, 1));
    office.ask(SinkCommand::Run(RunOrder { yes: true, ..RunOrder::default() })).await;
    office
        .wait_until("all are there as they are now", || {
            let there = office.server.there();
            let orders = there.objects.iter().filter(|((class, _), _)| class == "Order");
            orders.filter(|(_, order)| order["cost"].is_number()).count() == 3
                && there.edges_in_all() == 3
        })
        .await;
    office.settled().await;
    // One that changes little does not ask, and neither does a new edge of few.
    config.objects[0].translate = "{ name, also: .name }".to_owned();
    office.sinks.take_up(&[config]).await;
    office
        .wait_until("the customer is there as it is now", || {
            let there = office.server.there();
            there.objects.values().any(|object| object["also"] == json!("Customer 0"))
        })
        .await;
    office.settled().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_does_not_accept_this_office_stops_the_sink_until_a_person_has_seen_to_it() {
    for status in [401, 403] {
        let office = Office::start().await;
        office.server.there().trouble.status = Some((status, usize::MAX));
        office.fill(1, 2).await;
        office.run("").await;
        rests(&office, "does not accept this office").await;
        let asked = office.server.there().asked.len();
        assert_eq!(asked, 1, "it does not try again by itself");
        office.server.there().trouble.status = None;
        office.ask(SinkCommand::Resume).await;
        office.settled().await;
        office.wait_until("all is there", || office.server.there().edges_in_all() == 2).await;
        // Also while it is at work.
        office.server.there().trouble.status = Some((status, usize::MAX));
        office.put("orders", "o1", json!({ "price": 7 })).await;
        rests(&office, "does not accept this office").await;
        assert_eq!(office.sinks.reports()["search"].quarantined, 0, "nothing is set aside");
        office.server.there().trouble.status = None;
        office.ask(SinkCommand::Resume).await;
        office.settled().await;
    }
}
