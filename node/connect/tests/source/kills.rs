//! A node that dies at any step of a run.

use std::time::Duration;

use branchline_connect::jobs::board::JobState;
use branchline_node::records::{ReadTables, RecordKey, SpaceId, StoreError, Value, read};
use serde_json::json;
use tokio::time::sleep;

use super::office::{FULL, Puller, RUN};

/// Accounts of the story.
const ACCOUNTS: usize = 40;

fn id(n: usize) -> String {
    format!("{n:02}")
}

/// The versions of the run that changed each account last, all read at one moment: what the node was given before its source
/// was ended may be on its way still.
async fn versions(puller: &Puller) -> Vec<u64> {
    let read = |tables: &dyn ReadTables, space: SpaceId| {
        let version = |n: usize| {
            let key = RecordKey { space, collection: "accounts".to_owned(), id: id(n) };
            let view = read::record(tables, &key)?;
            let version = view.as_ref().and_then(|view| view.fields.get("sync_version"));
            Ok(match version {
                Some(Value::Int(version)) => version.unsigned_abs(),
                Some(_) | None => 0,
            })
        };
        (0..ACCOUNTS).map(version).collect::<Result<Vec<u64>, StoreError>>()
    };
    puller.office.handle().read_briefly(read).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn c6_a_run_that_is_broken_off_anywhere_goes_on_and_is_seen_whole_or_not_at_all() {
    let mut puller = Puller::start().await;
    for round in 1..=12_u64 {
        for n in 0..ACCOUNTS {
            puller.provider.set(
                &id(n),
                u32::try_from(round).unwrap(),
                &format!(",\"round\":{round}"),
            );
        }
        puller.provider.set(&format!("only {round}"), 1, "");
        let gone = format!("only {}", round - 1);
        puller.provider.has().accounts.remove(&gone);
        let order = if round % 2 == 0 { FULL } else { RUN };
        let job = puller.sources.run(&puller.config, order).await.unwrap();
        // At another moment each round: before the first request, between pages, while it compares and writes.
        let mut kills = 0;
        while !puller.jobs.show(job).await.unwrap().state.is_end() {
            sleep(Duration::from_millis(round * 7 % 40 + kills * 5)).await;
            puller.sources.stop().await;
            kills += 1;
            // While nobody writes.
            let seen = versions(&puller).await;
            assert!(
                seen.iter().all(|version| *version == seen[0]),
                "half of a run is seen: {seen:?}"
            );
            puller.restart().await;
        }
        let ended = puller.end_of(job).await;
        assert_eq!(ended.state, JobState::Completed, "{ended:?}");
        // One run, one number, one row.
        assert_eq!(versions(&puller).await, vec![round; ACCOUNTS], "round {round}");
        assert_eq!(puller.row(round).await["status"], "completed");
        assert_eq!(puller.row(round + 1).await, json!(null));
        if round % 2 == 0 {
            assert_eq!(puller.status(&gone).await, "inactive");
        }
        assert_eq!(
            puller.account(&id(0)).await["data"],
            json!(format!(
                "{{\"id\":\"00\",\"updated_at\":\"2026-03-01T08:{round:02}:00Z\",\"round\":{round}}}"
            ))
        );
    }
}
