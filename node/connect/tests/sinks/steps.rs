//! The sink is ended at every step of its way, as a crash of the node would, and begins again: nothing is lost, and no
//! object is there twice at a service that can be asked, or that knows keys.

use std::time::Duration;

use branchline_connect::sink::trial::{SinkMistake, SinkTrial};
use serde_json::json;

use super::desk::{Desk, ERP, without_lookup};
use super::office::wait_until;

/// More steps than a create and an update of two groups have.
const STEPS: u32 = 9;
/// Histories within which a mistake has to show.
const HISTORIES_OF_MISTAKES: usize = 12;
/// How long the sink may take to come to a step behind which it is killed: there may be fewer.
const PATIENCE: Duration = Duration::from_millis(1_500);

/// Kills the sink behind each step while orders come, change and go; returns how many objects there are too many.
async fn too_many(config: &str, knows_keys: bool, mistake: Option<SinkMistake>) -> usize {
    let mut desk = Desk::open(config).await;
    desk.sinks.kill().await;
    desk.trial = SinkTrial::of(mistake);
    desk.crash(config).await;
    if knows_keys {
        desk.remote.know_keys();
    }
    let mut expected = 0;
    for steps in 1..=STEPS {
        let id = steps.to_string();
        desk.trial.stop_after(steps);
        desk.order(&id).await;
        expected += 1;
        // Something changes that is there already, and something goes.
        if steps > 2 {
            let old = (steps - 2).to_string();
            desk.office.merge("billing", &format!("b{old}"), json!({ "country": "PT" })).await;
        }
        if steps > 4 {
            desk.office.delete("orders", &(steps - 4).to_string()).await;
            expected -= 1;
        }
        let _ = tokio::time::timeout(PATIENCE, desk.trial.stopped()).await;
        desk.crash(config).await;
    }
    desk.is_at_rest().await;
    wait_until("all are there", || async { desk.remote.objects().len() >= expected }).await;
    desk.is_at_rest().await;
    let objects = desk.remote.objects();
    if mistake.is_none() {
        for steps in STEPS - 3..=STEPS {
            let country = if steps > STEPS - 2 { "ES" } else { "PT" };
            let object = desk.remote.by_ref(&format!("A-{steps}"));
            assert_eq!(
                object.map(|object| object["country"].clone()),
                Some(json!(country)),
                "{steps}"
            );
        }
    }
    objects.len() - expected
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_at_any_step_nothing_is_lost_and_nothing_doubled_where_it_can_be_looked_up() {
    assert_eq!(too_many(ERP, false, None).await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_at_any_step_nothing_is_lost_and_nothing_doubled_where_keys_are_known() {
    assert_eq!(too_many(&without_lookup(), true, None).await, 0);
}

/// Which request a kill meets differs from one history to the next: the mistake shows in one of several.
async fn shows(config: &str, knows_keys: bool, mistake: SinkMistake) {
    for _ in 0..HISTORIES_OF_MISTAKES {
        if too_many(config, knows_keys, Some(mistake)).await > 0 {
            return;
        }
    }
    panic!("{mistake:?} does not show in {HISTORIES_OF_MISTAKES} histories");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sink_that_notes_nothing_before_a_create_doubles_objects() {
    shows(ERP, false, SinkMistake::NothingPending).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sink_that_changes_its_keys_doubles_objects() {
    shows(&without_lookup(), true, SinkMistake::OtherKey).await;
}
