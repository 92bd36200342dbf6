//! Edges that the server refuses.

use serde_json::{Value as Json, json};

use super::office::{Office, eventually};
use crate::sink::state::Which;
use crate::sink::weaviate::names::Names;
use crate::sink::worker::{Requeue, SinkCommand};

async fn refused(office: &Office, after: Option<String>, limit: usize) -> Json {
    office.ask(SinkCommand::Groups { which: Which::Failed, after, limit }).await
}

async fn requeue(office: &Office, ids: &[&str]) -> Json {
    let ids = ids.iter().map(|id| (*id).to_owned()).collect();
    office.ask(SinkCommand::Requeue(Requeue { ids, ..Requeue::default() })).await["requeued"]
        .clone()
}

/// Waits until all that was refused was refused as often as it is tried.
async fn wait_for_a_person(office: &Office) {
    eventually(async || {
        let answer = refused(office, None, 100).await;
        let edges = answer["edges"].as_array().unwrap();
        edges.iter().all(|edge| edge["attempts"] == 3).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn c23_edges_that_fail_are_set_aside_with_their_ends_and_their_error() {
    for is_old in [false, true] {
        let office = Office::start().await;
        office.fill(2, 6).await;
        let names = Names::new(&office.handle().network_id().unwrap().to_string());
        {
            let mut there = office.server.there();
            there.trouble.is_old = is_old;
            there.trouble.fails_edges = Some(names.object("Customer", "c1").to_string());
        }
        office.run("").await;
        let report = || office.sinks.reports().remove("search").unwrap();
        office.wait_until("three are set aside", || report().quarantined == 3).await;
        // They are tried again some times, and then wait for a person.
        wait_for_a_person(&office).await;
        office.wait_until("they are known", || report().dirty == 3).await;
        assert_eq!(office.server.there().edges_in_all(), 3, "the others are there");
        let answer = refused(&office, None, 100).await;
        assert_eq!((&answer["groups"], &answer["next"]), (&json!([]), &json!(null)));
        let edge = &answer["edges"][1];
        for (name, expected) in [
            ("id", json!("orders/o3:hasCustomer:customers/c1")),
            ("object", json!("orders/o3")),
            ("property", json!("hasCustomer")),
            ("target", json!("customers/c1")),
            ("attempts", json!(3)),
            ("due_ms", json!(null)),
        ] {
            assert_eq!(edge[name], expected, "{name} of {edge}");
        }
        let error = edge["error"].as_str().unwrap();
        assert!(error.contains("no reference can be made of this"), "{error}");
        // By pages.
        let page = refused(&office, None, 2).await;
        assert_eq!(page["edges"].as_array().unwrap().len(), 2);
        let next = page["next"].as_str().unwrap().to_owned();
        let page = refused(&office, Some(next), 2).await;
        assert_eq!(page["edges"][0]["object"], json!("orders/o5"));
        assert_eq!(page["next"], json!(null));
        // One that is tried again is refused again.
        assert_eq!(requeue(&office, &["orders/o3:hasCustomer:customers/c1"]).await, json!(1));
        assert_eq!(requeue(&office, &["orders/o4:hasCustomer:customers/c1"]).await, json!(0));
        wait_for_a_person(&office).await;
        office.server.there().trouble.fails_edges = None;
        assert_eq!(requeue(&office, &[]).await, json!(3));
        office.wait_until("all are there", || office.server.there().edges_in_all() == 6).await;
        office.wait_until("none is set aside", || report().quarantined == 0).await;
        assert_eq!(refused(&office, None, 100).await["edges"], json!([]));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edge_to_a_record_that_is_missing_is_nothing_to_be_sent() {
    let office = Office::start().await;
    office.put("orders", "o1", json!({ "ref": "A", "price": 1, "customer_id": "nobody" })).await;
    office.run("").await;
    office.settled().await;
    let report = office.sinks.reports().remove("search").unwrap();
    assert_eq!((report.dirty, report.groups), (0, 1), "{report:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_of_which_nobody_knows_whether_it_is_there_is_deleted_with_its_record() {
    let office = Office::start().await;
    // It takes what comes, and no answer arrives.
    office.server.there().trouble.loses = usize::MAX;
    office.put("customers", "c1", json!({ "name": "One" })).await;
    office.run("").await;
    office.wait_until("the object is there", || office.server.there().objects.len() == 1).await;
    office.delete("customers", "c1").await;
    office.wait_until("the object is gone", || office.server.there().objects.is_empty()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_class_gets_the_objects_and_the_edges_to_them() {
    let office = Office::start().await;
    office.fill(1, 2).await;
    office.run("").await;
    office.settled().await;
    let mut config = office.config("");
    config.objects[0].class = "Client".to_owned();
    config.edges[0].property = "hasClient".to_owned();
    office.sinks.take_up(&[config]).await;
    office
        .wait_until("the edges lead to the other class", || {
            let there = office.server.there();
            let leads = |beacons: &Vec<String>| beacons.iter().all(|to| to.contains("/Client/"));
            there.edges_in_all() == 2 && there.edges.values().all(leads)
        })
        .await;
    office.settled().await;
}
