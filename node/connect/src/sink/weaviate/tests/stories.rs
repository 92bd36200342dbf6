//! What becomes of records.

use serde_json::{Value as Json, json};

use super::office::Office;
use crate::sink::state::Which;
use crate::sink::worker::{Requeue, RunPart, SinkCommand};

/// The objects of a class, by one of their properties.
fn values(office: &Office, class: &str, property: &str) -> Vec<Json> {
    let there = office.server.there();
    let of_class = there.objects.iter().filter(|((of, _), _)| of == class);
    let mut values: Vec<Json> = of_class.map(|(_, object)| object[property].clone()).collect();
    values.sort_by_key(Json::to_string);
    values
}

#[tokio::test(flavor = "multi_thread")]
async fn records_are_objects_and_their_fields_edges() {
    let office = Office::start().await;
    office.fill(3, 10).await;
    office.run("batch = 4").await;
    office.settled().await;
    assert_eq!(values(&office, "Customer", "name").len(), 3);
    assert_eq!(values(&office, "Order", "ref").len(), 10);
    {
        let there = office.server.there();
        assert_eq!(there.edges_in_all(), 10);
        assert_eq!(there.classes["Order"]["price"]["dataType"], json!(["number"]));
        assert_eq!(there.classes["Order"]["hasCustomer"]["dataType"], json!(["Customer"]));
        // 1 + 3 batches of objects, 3 of edges.
        assert_eq!((there.count("/v1/batch/objects"), there.count("/v1/batch/references")), (4, 3));
        // Objects come first.
        let last_object = there.asked.iter().rposition(|(_, path)| path == "/v1/batch/objects");
        let first_edge = there.asked.iter().position(|(_, path)| path == "/v1/batch/references");
        assert!(last_object < first_edge);
    }
    let asked = office.server.there().asked.len();
    // A change of one is a request for one, and its edge.
    office.put("orders", "o3", json!({ "price": 99 })).await;
    office
        .wait_until("the change is there", || {
            values(&office, "Order", "price").contains(&json!(99))
                && office.server.there().edges_in_all() == 10
        })
        .await;
    office.settled().await;
    assert_eq!(office.server.there().asked.len(), asked + 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_sends_everything_once_more_doubles_nothing() {
    for is_old in [false, true] {
        let office = Office::start().await;
        office.server.there().trouble.is_old = is_old;
        office.fill(3, 30).await;
        office.run("").await;
        office.settled().await;
        let before = office.server.there().edges.clone();
        assert_eq!(office.server.there().edges_in_all(), 30);
        let job = office.order(true, None).await;
        let result = job.result.unwrap();
        assert_eq!(result["objects"]["confirmed"], json!(33), "{result}");
        assert_eq!(result["edges"]["confirmed"], json!(30), "{result}");
        assert_eq!(office.server.there().edges, before);
        let job = office.order(false, Some(RunPart::Edges { limit: Some(7), offset: 5 })).await;
        let result = job.result.unwrap();
        assert_eq!(result["objects"]["items"], json!(0), "{result}");
        if !is_old {
            assert_eq!(result["edges"]["confirmed"], json!(7), "{result}");
        }
        assert_eq!(office.server.there().edges, before);
        let job = office.order(false, Some(RunPart::Entity("customers".to_owned()))).await;
        assert_eq!(job.result.unwrap()["objects"]["confirmed"], json!(3));
        office.settled().await;
        assert_eq!(
            office.server.there().edges,
            before,
            "an order's edges stay when its customer is sent"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_sends_nothing_that_is_there() {
    let office = Office::start().await;
    office.fill(2, 5).await;
    office.run("").await;
    office.settled().await;
    office.sinks.stop().await;
    let asked = |office: &Office| {
        let there = office.server.there();
        there.count("/v1/batch/objects") + there.count("/v1/batch/references")
    };
    let before = asked(&office);
    office.put("orders", "o1", json!({ "ref": "R1 again" })).await;
    office.run("").await;
    office
        .wait_until("the change is there", || {
            values(&office, "Order", "ref").contains(&json!("R1 again"))
                && office.server.there().edges_in_all() == 5
        })
        .await;
    office.settled().await;
    assert_eq!(asked(&office), before + 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edge_waits_for_its_other_end_and_follows_it() {
    let office = Office::start().await;
    office.put("orders", "o1", json!({ "ref": "A", "price": 1, "customer_id": "c1" })).await;
    office.run("").await;
    office.settled().await;
    assert_eq!(office.server.there().edges_in_all(), 0, "the server would take an edge to nowhere");
    office.put("customers", "c1", json!({ "name": "One" })).await;
    office.wait_until("the edge is there", || office.server.there().edges_in_all() == 1).await;
    // Another customer.
    office.put("customers", "c2", json!({ "name": "Two" })).await;
    office.put("orders", "o1", json!({ "customer_id": "c2" })).await;
    let names = super::super::names::Names::new(&office.handle().network_id().unwrap().to_string());
    let beacon = super::super::names::beacon("Customer", names.object("Customer", "c2"));
    office
        .wait_until("the edge leads to the other", || {
            let there = office.server.there();
            there.edges.values().next().is_some_and(|edges| *edges == [beacon.clone()])
        })
        .await;
    // No customer at all.
    office.delete("customers", "c2").await;
    office
        .wait_until("the edge is gone", || {
            let there = office.server.there();
            there.edges_in_all() == 0 && there.objects.len() == 2
        })
        .await;
    office.delete("orders", "o1").await;
    office.wait_until("the order is gone", || office.server.there().objects.len() == 1).await;
    office.settled().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn c23_objects_that_fail_inside_a_good_answer_are_set_aside_with_their_error() {
    let office = Office::start().await;
    office.server.there().trouble.fails = Some("R4".to_owned());
    office.fill(2, 9).await;
    office.run("").await;
    let failed = |office: &Office| office.sinks.reports().remove("search").unwrap().quarantined;
    office.wait_until("one is set aside", || failed(&office) == 1).await;
    office.wait_until("the others are there", || office.server.there().edges_in_all() == 8).await;
    let groups =
        office.ask(SinkCommand::Groups { which: Which::Failed, after: None, limit: 10 }).await;
    let group = &groups["groups"][0];
    assert_eq!(group["id"], json!("orders/o4"));
    assert_eq!(group["known"]["error"], json!("vectorizer: no vector for this"));
    let requeue = Requeue { ids: vec!["orders/o4".to_owned()], ..Requeue::default() };
    assert_eq!(office.ask(SinkCommand::Requeue(requeue.clone())).await["requeued"], json!(1));
    office.server.there().trouble.fails = None;
    // It may have failed once more meanwhile.
    office.ask(SinkCommand::Requeue(requeue)).await;
    office.wait_until("it is there", || office.server.there().edges_in_all() == 9).await;
    office.settled().await;
    assert_eq!(failed(&office), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn c22_a_batch_that_is_refused_leaves_the_others_going() {
    let office = Office::start().await;
    office.server.there().trouble.refuses = Some("R7\"".to_owned());
    office.fill(1, 40).await;
    office.run("batch = 20").await;
    office.wait_until("all but one are there", || office.server.there().edges_in_all() == 39).await;
    office
        .wait_until("one is set aside", || {
            let report = office.sinks.reports().remove("search").unwrap();
            report.quarantined == 1
        })
        .await;
    assert_eq!(values(&office, "Order", "ref").len(), 39);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_that_cannot_be_is_set_aside_by_itself() {
    let office = Office::start().await;
    office.fill(1, 2).await;
    office.put("orders", "nested", json!({ "ref": { "a": 1 }, "price": 1 })).await;
    office.put("orders", "wrong", json!({ "ref": "X", "price": "dear" })).await;
    office.run("").await;
    office
        .wait_until("two are set aside", || {
            office.sinks.reports().remove("search").unwrap().quarantined == 2
        })
        .await;
    let groups =
        office.ask(SinkCommand::Groups { which: Which::Failed, after: None, limit: 10 }).await;
    let errors = groups.to_string();
    for part in ["orders/nested", "orders/wrong", "invalid property price"] {
        assert!(errors.contains(part), "{part}: {errors}");
    }
    assert_eq!(values(&office, "Order", "ref").len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_busy_or_loses_answers_gets_everything_once() {
    for is_old in [false, true] {
        let office = Office::start().await;
        office.fill(2, 12).await;
        {
            let mut there = office.server.there();
            there.trouble.is_old = is_old;
            there.trouble.status = Some((429, 2));
            there.trouble.loses = 3;
        }
        office.run("batch = 5").await;
        office.settled().await;
        office
            .wait_until("all is there", || {
                let there = office.server.there();
                there.objects.len() == 14 && there.edges_in_all() == 12
            })
            .await;
        assert_eq!(office.sinks.reports().remove("search").unwrap().quarantined, 0);
        office.order(false, Some(RunPart::Edges { limit: None, offset: 0 })).await;
        assert_eq!(office.server.there().edges_in_all(), 12);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_type_that_is_there_and_another_stop_the_sink_visibly() {
    let office = Office::start().await;
    let number = json!({ "name": "hasCustomer", "dataType": ["number"] });
    let properties = [("hasCustomer".to_owned(), number)].into_iter().collect();
    office.server.there().classes.insert("Order".to_owned(), properties);
    office.fill(1, 1).await;
    office.run("").await;
    office
        .wait_until("it rests", || {
            let report = office.sinks.reports().remove("search").unwrap();
            report.state == "paused"
                && report.reason.is_some_and(|why| why.contains("a type never changes"))
        })
        .await;
    assert!(office.server.there().objects.is_empty());
    office.server.there().classes.clear();
    office.ask(SinkCommand::Resume).await;
    office.settled().await;
    assert_eq!(office.server.there().edges_in_all(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_state_that_is_lost_is_made_once_more_without_doubles() {
    let office = Office::start().await;
    office.fill(2, 9).await;
    office.run("").await;
    office.settled().await;
    office.sinks.stop().await;
    let before = office.server.there().edges.clone();
    office.delete("orders", "o8").await;
    std::fs::remove_file(super::super::state_file(&office.folder().join("connect"), "search"))
        .unwrap();
    office.run("").await;
    office.settled().await;
    let there = office.server.there();
    assert_eq!((before.len(), there.edges.len(), there.edges_in_all()), (9, 8, 8));
    assert_eq!(there.objects.len(), 10, "and what was deleted meanwhile is gone");
}
