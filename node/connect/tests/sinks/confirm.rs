//! Creates whose outcome is unknown, deletions, and what counts as delivered.

use serde_json::json;

use super::desk::{Desk, ERP, without_lookup};
use super::office::wait_until;
use super::remote::Fault;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn c20_a_create_whose_answer_is_lost_is_looked_up_and_not_repeated() {
    let desk = Desk::open(ERP).await;
    desk.is("waiting").await;
    desk.remote.fail([Fault::CutAfter]);
    desk.order("1").await;
    desk.becomes("A-1", "country", json!("ES")).await;
    desk.is_at_rest().await;
    assert_eq!(desk.remote.objects().len(), 1);
    assert!(
        desk.remote
            .calls()
            .iter()
            .any(|call| call.method == "GET" && call.path == "/orders?ref=A-1")
    );
    let group = desk.group("1").await;
    assert_eq!(group["known"]["remote_id"], json!("1"), "{group}");
    assert_eq!(group["known"].get("pending"), None, "{group}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_create_that_was_not_carried_out_is_sent_again_after_a_look() {
    let desk = Desk::open(ERP).await;
    desk.remote.fail([Fault::CutBefore, Fault::CutBefore]);
    desk.order("1").await;
    desk.is_at_rest().await;
    assert_eq!(desk.remote.objects().len(), 1);
    assert!(desk.group("1").await["known"]["synced_at"].is_string());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_for_people_is_no_confirmation() {
    let desk = Desk::open(ERP).await;
    desk.remote.fail([Fault::Page]);
    desk.order("1").await;
    desk.is_at_rest().await;
    assert_eq!(desk.remote.objects().len(), 1);
    assert_eq!(desk.group("1").await["known"]["remote_id"], json!("1"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn c20_without_a_look_up_the_same_request_goes_out_under_the_same_key() {
    let desk = Desk::open(&without_lookup()).await;
    desk.remote.know_keys();
    desk.remote.fail([Fault::CutAfter]);
    desk.order("1").await;
    desk.is_at_rest().await;
    assert_eq!(desk.remote.objects().len(), 1);
    let posts: Vec<_> =
        desk.remote.calls().into_iter().filter(|call| call.method == "POST").collect();
    assert!(posts.len() >= 2);
    assert!(posts[0].key.is_some() && posts[0].key == posts[1].key, "{posts:?}");
    assert_eq!(posts[0].body, posts[1].body);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn c21_a_key_belongs_to_its_body_and_another_body_waits_until_the_first_is_settled() {
    let mut desk = Desk::open(&without_lookup()).await;
    desk.is("waiting").await;
    desk.remote.know_keys();
    desk.office.merge("orders", "1", json!({ "ref": "A-1", "state": "sent" })).await;
    desk.remote.rule(|call| (call.method == "POST").then_some(Fault::CutAfter));
    wait_until("the create was sent", || async { desk.remote.count("POST") > 0 }).await;
    desk.sinks.kill().await;
    // What the order is has changed while nobody knows whether it was created.
    desk.office.merge("billing", "b1", json!({ "order_id": "1", "country": "PT" })).await;
    desk.remote.heal();
    desk.crash(&without_lookup()).await;
    desk.becomes("A-1", "country", json!("PT")).await;
    desk.is_at_rest().await;
    assert_eq!(desk.remote.objects().len(), 1);
    let writes: Vec<_> =
        desk.remote.calls().into_iter().filter(|call| call.method != "GET").collect();
    let last = writes.last().unwrap();
    assert_eq!(last.method, "PUT");
    assert!(
        writes.iter().filter(|call| call.method == "POST").all(|call| call.key == writes[0].key)
    );
    assert_ne!(last.key, writes[0].key);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_object_that_its_url_names_is_put_again_without_harm() {
    let upsert = without_lookup().replace(
        "method = \"POST\", url = \"URL/orders\", remote_id = \".id\"",
        "method = \"PUT\", url = \"URL/orders/upsert-{ref}\"",
    );
    let desk = Desk::open(&upsert).await;
    desk.remote.fail([Fault::CutAfter]);
    desk.order("1").await;
    desk.is_at_rest().await;
    assert_eq!(desk.remote.objects().len(), 1);
    assert_eq!(desk.group("1").await["known"]["remote_id"], json!("1"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_without_an_id_leaves_the_outcome_unknown_and_says_so() {
    let desk = Desk::open(&without_lookup()).await;
    desk.remote.fail([Fault::NoId]);
    desk.office.merge("orders", "1", json!({ "ref": "A-1", "state": "sent" })).await;
    desk.is_at_rest().await;
    let group = desk.group("1").await;
    assert_eq!(group["set_aside"], json!(true), "{group}");
    assert!(group["known"]["pending"].is_object(), "{group}");
    assert!(group["known"]["error"].as_str().unwrap().contains("no id"), "{group}");
    assert_eq!(desk.remote.count("POST"), 1);
    assert_eq!(group["known"].get("synced_at"), None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn c29_a_deletion_is_kept_until_it_is_confirmed() {
    let mut desk = Desk::open(ERP).await;
    desk.order("1").await;
    desk.is_at_rest().await;
    desk.remote
        .rule(|call| (call.method == "DELETE").then_some(Fault::Status(503, &[], "maintenance")));
    desk.office.delete("orders", "1").await;
    wait_until("the deletion was tried", || async { desk.remote.count("DELETE") > 0 }).await;
    let group = desk.group("1").await;
    assert_eq!(group["known"]["remote_id"], json!("1"), "{group}");
    desk.crash(ERP).await;
    desk.remote.heal();
    desk.is_at_rest().await;
    assert!(desk.remote.objects().is_empty());
    assert_eq!(desk.group("1").await, json!(null));
    // It comes back as another object, under another key.
    desk.office
        .merge("orders", "1", json!({ "ref": "A-1", "state": "sent", "user_id": "u1" }))
        .await;
    desk.is_at_rest().await;
    let posts: Vec<_> =
        desk.remote.calls().into_iter().filter(|call| call.method == "POST").collect();
    assert_eq!(posts.len(), 2);
    assert_eq!(posts[0].body, posts[1].body);
    assert_ne!(posts[0].key, posts[1].key);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_object_that_is_gone_already_counts_as_deleted() {
    let desk = Desk::open(ERP).await;
    desk.order("1").await;
    desk.is_at_rest().await;
    desk.remote.fail([Fault::Status(404, &[], "gone")]);
    desk.office.delete("orders", "1").await;
    desk.is_at_rest().await;
    assert_eq!(desk.remote.count("DELETE"), 1);
    assert_eq!(desk.group("1").await, json!(null));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn objects_are_archived_where_the_configuration_says_so() {
    let archive = ERP.replace(
        "delete = { method = \"DELETE\", url = \"URL/orders/{remote_id}\" }",
        "delete = { method = \"PATCH\", url = \"URL/orders/{remote_id}\", body = '{\"archived\": true}' }",
    );
    let desk = Desk::open(&archive).await;
    desk.order("1").await;
    desk.is_at_rest().await;
    desk.office.delete("orders", "1").await;
    desk.is_at_rest().await;
    assert_eq!(desk.remote.by_ref("A-1").unwrap()["archived"], json!(true));
    let last = desk.remote.calls().pop().unwrap();
    assert_eq!((last.method.as_str(), last.body), ("PATCH", json!({ "archived": true })));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn c29_a_sink_that_is_taken_out_of_the_configuration_touches_nothing() {
    let desk = Desk::open(ERP).await;
    desk.order("1").await;
    desk.is_at_rest().await;
    let calls = desk.remote.calls().len();
    desk.sinks.take_up(&[]).await;
    desk.office.delete("orders", "1").await;
    assert_eq!(desk.remote.calls().len(), calls);
    // Put back, it goes on where it was.
    desk.reload(ERP).await;
    desk.is_at_rest().await;
    assert!(desk.remote.objects().is_empty());
    assert_eq!(desk.remote.count("POST"), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_read_before_a_create_stays_the_same_for_all_that_follows() {
    let initialise = ERP
        .replace("{ ref: .order.ref,", "{ ref: .order.ref, number: .initial.number,")
        + "initialise = { url = \"URL/new?for={order.ref}\" }\n";
    let desk = Desk::open(&initialise).await;
    desk.order("1").await;
    desk.is_at_rest().await;
    let number = desk.remote.by_ref("A-1").unwrap()["number"].clone();
    assert!(number.is_u64(), "{number}");
    desk.office.merge("billing", "b1", json!({ "country": "PT" })).await;
    desk.becomes("A-1", "country", json!("PT")).await;
    assert_eq!(desk.remote.by_ref("A-1").unwrap()["number"], number);
    let reads: Vec<_> =
        desk.remote.calls().into_iter().filter(|call| call.path.starts_with("/new")).collect();
    assert_eq!(reads.len(), 1);
    assert_eq!(reads[0].path, "/new?for=A-1");
}
