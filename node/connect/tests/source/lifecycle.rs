//! Pauses, schedules, and which site runs a source.

use branchline_connect::jobs::board::JobState;
use branchline_connect::source::runner::SEEN;
use branchline_connect::source::sources::{BY_A_PERSON, state_file};
use branchline_connect::source::spool::Spool;
use serde_json::json;
use tokio::sync::oneshot;

use super::office::{Puller, RUN};
use super::offices::{Office, wait_until};

impl Puller {
    async fn comes_to(&self, state: JobState) {
        let what = format!("the source is {}", state.as_str());
        wait_until(&what, || async { self.sources.reports()["crm"].state == state }).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_rests_until_it_is_resumed_also_over_a_restart() {
    let mut puller = Puller::start().await;
    puller.provider.set("a", 1, "");
    puller.sources.pause(&puller.config, BY_A_PERSON).await.unwrap();
    puller.comes_to(JobState::Paused).await;
    let id = puller.sources.run(&puller.config, RUN).await.unwrap();
    puller.restart().await;
    puller.comes_to(JobState::Paused).await;
    assert_eq!(puller.jobs.show(id).await.unwrap().state, JobState::Waiting);
    assert_eq!(puller.sources.reports()["crm"].note, BY_A_PERSON);
    puller.sources.resume(&puller.config).await.unwrap();
    assert_eq!(puller.end_of(id).await.state, JobState::Completed);
    let again = puller.sources.resume(&puller.config).await.unwrap_err().to_string();
    assert!(again.contains("crm is not paused"), "{again}");
}

#[tokio::test(flavor = "multi_thread")]
async fn runs_that_fell_due_while_the_node_was_stopped_are_one() {
    let mut puller = Puller::start_with(|text| {
        text.replace(
            "allow =",
            "schedule = \"0 2 * * *\"\nfull_schedule = \"0 3 * * 0\"\nzone = \"UTC\"\nallow =",
        )
    })
    .await;
    puller.provider.set("a", 1, "");
    wait_until("the schedules are seen to", || async {
        puller.sources.reports()["crm"].next_ms.is_some()
    })
    .await;
    assert_eq!(puller.jobs.list().await.unwrap().len(), 0);
    puller.sources.stop().await;
    let mut spool = Spool::open(state_file(puller.office.path(), "crm")).await.unwrap();
    // Weeks ago.
    spool.remember(SEEN, &json!({ "until": "2026-01-01T00:00:00Z" })).await.unwrap();
    spool.close().await;
    puller.restart().await;
    wait_until("a run is there", || async { !puller.jobs.list().await.unwrap().is_empty() }).await;
    let job = puller.end_of(1).await;
    assert_eq!((job.state, &job.order["full"]), (JobState::Completed, &json!(true)));
    assert_eq!(puller.jobs.list().await.unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn c33_a_source_runs_at_one_site_until_another_takes_it_over() {
    let head = Puller::start().await;
    head.provider.set("a", 1, "");
    head.pull(RUN).await;
    let branch = Office::join(&head.office, "branch").await;
    wait_until("the branch has the records", || async {
        branch.fields("accounts", "a").await.is_some()
    })
    .await;
    let address = head.provider.address().to_owned();
    let branch =
        Puller::at(branch, head.provider.clone(), |text| text.replace('%', &address)).await;
    branch.comes_to(JobState::Paused).await;
    let note = branch.sources.reports()["crm"].note.clone();
    assert!(
        note.contains(&head.office.handle().site().to_string()) && note.contains("takeover"),
        "{note}"
    );
    let tenure = branch.sources.take_over(&branch.config).await.unwrap();
    assert_eq!(tenure.term, 2);
    branch.provider.set("a", 2, ",\"n\":2");
    branch.pull(RUN).await;
    // It goes on where the other stood, under the next number.
    assert_eq!(branch.account("a").await["sync_version"], 2);
    assert_eq!(branch.row(2).await["kind"], "incremental");
    wait_until("head has heard of it", || async { head.account("a").await["sync_version"] == 2 })
        .await;
    let id = head.sources.run(&head.config, RUN).await.unwrap();
    head.comes_to(JobState::Paused).await;
    assert_eq!(head.jobs.show(id).await.unwrap().state, JobState::Waiting);
    head.sources.take_over(&head.config).await.unwrap();
    assert_eq!(head.end_of(id).await.state, JobState::Completed);
    assert_eq!(head.row(3).await["status"], "completed");
}

#[tokio::test(flavor = "multi_thread")]
async fn c33_a_run_that_another_site_has_overtaken_applies_nothing() {
    let puller = Puller::start().await;
    puller.provider.set("a", 1, "");
    // The provider answers once it is let go.
    let (taken, is_taken) = oneshot::channel();
    let (let_go, is_let_go) = std::sync::mpsc::channel();
    let provider = puller.provider.clone();
    let holding = std::thread::spawn(move || {
        let _there = provider.has();
        taken.send(()).unwrap();
        is_let_go.recv().unwrap();
    });
    is_taken.await.unwrap();
    let id = puller.sources.run(&puller.config, RUN).await.unwrap();
    wait_until("the run has begun", || async { puller.row(1).await["status"] == "in_progress" })
        .await;
    let of_other = json!({ "source": "crm", "sync_version": 2, "status": "in_progress" });
    puller.office.merge("sync_history", "crm-2", of_other).await;
    let_go.send(()).unwrap();
    holding.join().unwrap();
    let job = puller.end_of(id).await;
    assert_eq!(job.state, JobState::Failed);
    assert!(job.note.contains("run 2 has begun meanwhile at another site"), "{}", job.note);
    assert_eq!(puller.row(1).await["status"], "failed");
    assert_eq!(puller.account("a").await, json!(null));
    puller.pull(RUN).await;
    assert_eq!(puller.account("a").await["sync_version"], 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_site_whose_state_is_lost_goes_on_from_the_history() {
    let mut puller = Puller::start().await;
    puller.provider.has().date = Some("Sun, 01 Mar 2026 09:00:00 GMT".to_owned());
    puller.provider.set("a", 1, "");
    puller.pull(RUN).await;
    puller.pull(RUN).await;
    puller.sources.stop().await;
    for beside in ["", "-wal", "-shm"] {
        let file = state_file(puller.office.path(), "crm");
        let _ = std::fs::remove_file(format!("{}{beside}", file.display()));
    }
    puller.restart().await;
    puller.provider.asked();
    puller.pull(RUN).await;
    assert_eq!(puller.provider.asked()[0], "/accounts?since=2026-03-01T08%3A55%3A00Z&limit=100");
    assert_eq!(puller.row(3).await["status"], "completed");
    // Who watches it knows how long ago that was, also after a restart.
    puller.restart().await;
    wait_until("the last good run is known", || async {
        puller.sources.reports()["crm"].last_good_ms.is_some()
    })
    .await;
}
