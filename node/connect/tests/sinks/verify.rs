//! Objects that others change at the service.

use branchline_connect::jobs::board::{Job, JobState};
use serde_json::{Value as Json, json};

use super::desk::{Desk, ERP};
use super::office::wait_until;
use super::remote::Fault;

fn with_read() -> String {
    format!("{ERP}read = {{ url = \"URL/orders/{{remote_id}}\", object = \".order\" }}\n")
}

fn with_versions() -> String {
    ERP.replace(
        "url = \"URL/orders/{remote_id}\" }\ndelete",
        "url = \"URL/orders/{remote_id}\", if_match = true }\ndelete",
    )
}

async fn verified(desk: &Desk, config: &str, repair: bool) -> Job {
    let id = desk.sinks.verify(&desk.config(config), repair).await.unwrap();
    desk.has_ended(id).await;
    desk.jobs.show(id).await.unwrap()
}

fn counts(job: &Job) -> [Json; 4] {
    let result = job.result.clone().unwrap_or_default();
    ["read", "differ", "gone", "repaired"].map(|name| result[name].clone())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn c32_what_others_change_at_the_service_is_found_and_made_right() {
    let config = with_read();
    let desk = Desk::open(&config).await;
    for n in 1..=5 {
        desk.order(&n.to_string()).await;
    }
    desk.is_at_rest().await;
    let job = verified(&desk, &config, false).await;
    assert_eq!(counts(&job), [json!(5), json!(0), json!(0), json!(0)], "{job:?}");

    desk.remote.edit("A-2", |order| order.as_mut().unwrap()["country"] = json!("FR"));
    desk.remote.edit("A-3", |order| *order = None);
    // What the service has besides is its own.
    desk.remote.edit("A-4", |order| order.as_mut().unwrap()["booked_at"] = json!("2026-11-29"));
    let before = desk.remote.calls().len();
    let job = verified(&desk, &config, false).await;
    assert_eq!(counts(&job), [json!(5), json!(1), json!(1), json!(0)], "{job:?}");
    let found = job.result.unwrap()["differences"].clone();
    assert_eq!((&found[0]["id"], &found[1]["id"]), (&json!("2"), &json!("3")), "{found}");
    let what = found[0]["what"].as_str().unwrap();
    assert_eq!(what, "country is \"FR\", delivered was \"ES\"");
    let calls = desk.remote.calls().split_off(before);
    assert!(calls.iter().all(|call| call.method == "GET"), "it only looks");

    let job = verified(&desk, &config, true).await;
    assert_eq!(counts(&job), [json!(5), json!(1), json!(1), json!(2)], "{job:?}");
    desk.is_at_rest().await;
    for n in 1..=5 {
        desk.becomes(&format!("A-{n}"), "country", json!("ES")).await;
    }
    assert_eq!(desk.remote.objects().len(), 5);
    let writes =
        desk.remote.calls().split_off(before).into_iter().filter(|call| call.method != "GET");
    let mut writes: Vec<_> = writes.map(|call| call.method).collect();
    writes.sort();
    assert_eq!(writes, ["POST", "PUT"]);
    let job = verified(&desk, &config, false).await;
    assert_eq!(counts(&job), [json!(5), json!(0), json!(0), json!(0)], "{job:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn c32_a_service_that_is_down_is_waited_for_and_what_cannot_be_read_is_said() {
    let config = with_read();
    let desk = Desk::open(&config).await;
    desk.order("1").await;
    desk.order("2").await;
    desk.is_at_rest().await;
    desk.remote.fail([Fault::Status(503, &[], "")]);
    let job = verified(&desk, &config, false).await;
    assert_eq!(counts(&job)[0], json!(2), "{job:?}");
    desk.remote
        .rule(|call| (call.path == "/orders/1").then_some(Fault::Status(403, &[], "not you")));
    let job = verified(&desk, &config, true).await;
    let result = job.result.clone().unwrap();
    assert_eq!((&result["unreadable"], &result["repaired"]), (&json!(1), &json!(0)), "{job:?}");
    assert!(result["differences"][0]["what"].as_str().unwrap().contains("not you"), "{job:?}");
    desk.remote.rule(|_| Some(Fault::Status(500, &[], "")));
    let job = verified(&desk, &config, false).await;
    assert_eq!(job.state, JobState::Failed, "{job:?}");
    assert!(job.note.contains("500"), "{job:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn c32_a_service_that_knows_versions_is_not_written_over_unless_a_person_says_so() {
    let desk = Desk::open(&with_versions()).await;
    desk.order("1").await;
    desk.is_at_rest().await;
    desk.office.merge("billing", "b1", json!({ "country": "PT" })).await;
    desk.becomes("A-1", "country", json!("PT")).await;
    desk.is_at_rest().await;
    desk.remote.edit("A-1", |order| order.as_mut().unwrap()["country"] = json!("FR"));
    desk.office.merge("billing", "b1", json!({ "country": "IT" })).await;
    wait_until("it is set aside", || async { desk.group("1").await["set_aside"] == json!(true) })
        .await;
    let error = desk.group("1").await["known"]["error"].clone();
    assert!(error.as_str().unwrap().contains("somebody has changed the object"), "{error}");
    desk.is_at_rest().await;
    let puts: Vec<_> =
        desk.remote.calls().into_iter().filter(|call| call.method == "PUT").collect();
    assert_eq!(puts.len(), 2, "one that was refused for this is not tried again: {puts:?}");
    assert!(puts.iter().all(|call| call.if_match.is_some()), "{puts:?}");
    assert_eq!(desk.remote.by_ref("A-1").unwrap()["country"], "FR");
    assert_eq!(desk.requeue_all().await, json!(1));
    desk.becomes("A-1", "country", json!("IT")).await;
    // From here on it is known again.
    desk.office.merge("billing", "b1", json!({ "country": "ES" })).await;
    desk.becomes("A-1", "country", json!("ES")).await;
}
