//! What a person does with a sink, and what the configuration does.

use branchline_connect::jobs::board::JobState;
use branchline_connect::sink::worker::SinkCommand;
use serde_json::json;

use super::desk::{Desk, ERP};
use super::office::wait_until;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_paused_sink_sends_nothing_and_afterwards_all() {
    let mut desk = Desk::open(ERP).await;
    desk.is("waiting").await;
    desk.ask(SinkCommand::Pause).await;
    desk.is("paused").await;
    desk.order("1").await;
    desk.crash(ERP).await;
    let report = desk.is("paused").await;
    assert!(report.reason.unwrap().contains("paused"));
    assert!(desk.remote.calls().is_empty());
    desk.ask(SinkCommand::Resume).await;
    desk.becomes("A-1", "country", json!("ES")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn c31_a_changed_expression_says_how_much_it_would_push_and_waits_for_a_yes() {
    let careful = format!("ask_over = 3\n{}", ERP.trim_start());
    let desk = Desk::open(&careful).await;
    for n in 1..=5 {
        desk.order(&n.to_string()).await;
    }
    desk.is_at_rest().await;
    let changed = careful.replace("{ ref: .order.ref,", "{ ref: .order.ref, channel: \"office\",");
    let before = desk.remote.calls().len();
    desk.reload(&changed).await;
    let report = desk.is("paused").await;
    let reason = report.reason.unwrap();
    assert!(reason.contains("would push 5 of 5 items") && reason.contains("--yes"), "{reason}");
    assert_eq!(desk.remote.calls().len(), before);
    let (counting, items) = desk.sinks.plan(&desk.config(&changed), 2).await.unwrap();
    assert_eq!((counting.update, counting.pushes(), items.len()), (5, 5, 2));
    assert_eq!(items[0].representation.as_ref().unwrap()["channel"], json!("office"));
    let id = desk.run(false, true).await;
    desk.has_ended(id).await;
    for n in 1..=5 {
        desk.becomes(&format!("A-{n}"), "channel", json!("office")).await;
    }
    // One that changes nothing that is sent asks nobody.
    let same = changed.replace("channel: \"office\"", "channel: (\"off\" + \"ice\")");
    let before = desk.remote.calls().len();
    desk.reload(&same).await;
    desk.is_at_rest().await;
    assert_eq!(desk.remote.calls().len(), before);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dry_run_shows_what_would_be_sent_and_sends_nothing() {
    let desk = Desk::open(ERP).await;
    desk.is("waiting").await;
    desk.ask(SinkCommand::Pause).await;
    desk.is("paused").await;
    desk.ask(SinkCommand::Resume).await;
    desk.order("1").await;
    desk.is_at_rest().await;
    let before = desk.remote.calls().len();
    let (counting, items) = desk.sinks.plan(&desk.config(ERP), 10).await.unwrap();
    assert_eq!((counting.unchanged, counting.pushes(), items.len()), (1, 0, 0));
    assert_eq!(desk.remote.calls().len(), before);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_is_a_job_that_ends_and_stands_in_the_history() {
    let desk = Desk::open(ERP).await;
    desk.order("1").await;
    desk.is_at_rest().await;
    desk.office.merge("billing", "b1", json!({ "country": "PT" })).await;
    let id = desk.run(true, false).await;
    desk.has_ended(id).await;
    let job = desk.jobs.show(id).await.unwrap();
    assert_eq!(job.state, JobState::Completed, "{job:?}");
    desk.becomes("A-1", "country", json!("PT")).await;
    wait_until("the runs are over", || async {
        let answer = desk.ask(SinkCommand::History { limit: 10 }).await;
        let runs = answer["runs"].as_array().unwrap().clone();
        let created: u64 = runs.iter().map(|run| run["counted"]["created"].as_u64().unwrap()).sum();
        created == 1 && runs.iter().all(|run| run["status"] == "completed")
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn c16_secrets_go_to_the_service_and_nowhere_else() {
    let folder = tempfile::tempdir().unwrap();
    let secret = "S3cret-of-the-ERP";
    let path = folder.path().join("token");
    std::fs::write(&path, secret).unwrap();
    let config = format!(
        "headers = {{ Authorization = \"Bearer ${{file:{}}}\" }}\n{}",
        path.display(),
        ERP.trim_start()
    );
    let desk = Desk::open(&config).await;
    // A service that says the credential back in its refusal.
    desk.remote.rule(|call| {
        (call.body["ref"] == "A-2").then_some(super::remote::Fault::Status(
            400,
            &[],
            "bad token S3cret-of-the-ERP",
        ))
    });
    desk.order("1").await;
    desk.order("2").await;
    desk.becomes("A-1", "country", json!("ES")).await;
    wait_until("it is refused", || async { desk.group("2").await["set_aside"] == json!(true) })
        .await;
    let calls = desk.remote.calls();
    assert_eq!(calls[0].authorization, Some(format!("Bearer {secret}")));
    assert!(desk.group("2").await["known"]["error"].as_str().unwrap().contains("***"));
    desk.sinks.stop().await;
    let mut folders = vec![desk.office.path().to_owned()];
    let mut scanned = 0;
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if let Ok(bytes) = std::fs::read(&path) {
                scanned += 1;
                let holds = bytes.windows(secret.len()).any(|part| part == secret.as_bytes());
                assert!(!holds, "{} holds the secret", path.display());
            }
        }
    }
    assert!(scanned > 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sink_without_its_secret_says_so_and_begins_when_it_is_there() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("token");
    let config = format!(
        "headers = {{ Authorization = \"Bearer ${{file:{}}}\" }}\n{}",
        path.display(),
        ERP.trim_start()
    );
    let desk = Desk::open(&config).await;
    let report = desk.is("failed").await;
    assert!(report.reason.unwrap().contains("token"));
    std::fs::write(&path, "a-token").unwrap();
    desk.order("1").await;
    desk.reload(&config).await;
    desk.becomes("A-1", "country", json!("ES")).await;
}
