//! What runs make of what a provider lists.

use branchline_connect::source::order::Order;
use serde_json::json;

use super::office::{FULL, Puller, RUN, changed};

#[tokio::test(flavor = "multi_thread")]
async fn the_first_run_pulls_every_page_and_the_history_says_what_it_did() {
    let puller = Puller::start().await;
    for (n, id) in ["a", "b", "c", "d", "e"].into_iter().enumerate() {
        puller.provider.set(id, u32::try_from(n).unwrap(), ",\"segment\":\"smb\",\"price\":12.50");
    }
    let mut watched = puller.watch().await;
    puller.pull(RUN).await;
    let account = puller.account("c").await;
    assert_eq!(account["external_id"], "c");
    assert_eq!(
        account["data"],
        r#"{"id":"c","updated_at":"2026-03-01T08:02:00Z","segment":"smb","price":12.50}"#
    );
    assert_eq!(account["status"], "active");
    assert_eq!(account["segment"], "smb");
    assert_eq!(account["sync_version"], 1);
    assert_eq!(account["last_updated_at"], "2026-03-01T08:02:00Z");
    assert_eq!(account["created_at"], account["last_synced_at"]);
    let row = puller.row(1).await;
    assert_eq!(row["status"], "completed");
    assert_eq!((&row["kind"], &row["sync_version"]), (&json!("full"), &json!(1)));
    assert_eq!((&row["accounts_updated"], &row["accounts_deleted"]), (&json!(5), &json!(0)));
    assert!(row["completed_at"].as_str() >= row["started_at"].as_str());
    // The row that it has begun by itself, then everything in one transaction, the row last.
    let changed = changed(&mut watched).await;
    let expected = [
        "connectors/source crm",
        "sync_history/crm-1",
        "accounts/a",
        "accounts/b",
        "accounts/c",
        "accounts/d",
        "accounts/e",
        "sync_history/crm-1",
    ];
    // Whether the fence was written before the watch began is a matter of chance.
    let skipped = usize::from(changed.first().map(String::as_str) != Some(expected[0]));
    assert_eq!(changed, expected[skipped..]);
}

#[tokio::test(flavor = "multi_thread")]
async fn c1_an_unchanged_run_costs_its_history_row_and_nothing_else() {
    let puller = Puller::start().await;
    for id in ["a", "b", "c"] {
        puller.provider.set(id, 1, ",\"n\":1.10");
    }
    puller.pull(RUN).await;
    for (number, order) in [(2, RUN), (3, FULL)] {
        let mut watched = puller.watch().await;
        puller.pull(order).await;
        let row = format!("sync_history/crm-{number}");
        assert_eq!(changed(&mut watched).await, [row.clone(), row]);
        assert_eq!(puller.row(number).await["accounts_updated"], 0);
    }
    assert_eq!(puller.account("a").await["sync_version"], 1);
    // The same value, written otherwise.
    puller.provider.set("a", 1, ",\"n\": 1.1");
    puller.pull(FULL).await;
    assert_eq!(puller.account("a").await["sync_version"], 1);
    puller.provider.set("a", 1, ",\"n\": 1.2");
    puller.pull(FULL).await;
    assert_eq!(puller.account("a").await["sync_version"], 5);
    assert_eq!(puller.account("b").await["sync_version"], 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn c2_a_run_asks_from_the_start_of_the_last_good_one_by_the_providers_clock_less_the_overlap()
{
    let puller = Puller::start_with(|text| {
        text.replace(
            "items =",
            "since = { overlap = \"5m\", first = \"2000-01-01T00:00:00Z\" }\nitems =",
        )
    })
    .await;
    puller.provider.has().date = Some("Sun, 01 Mar 2026 09:00:30 GMT".to_owned());
    puller.provider.set("a", 1, "");
    puller.pull(RUN).await;
    assert_eq!(
        puller.provider.asked(),
        [
            "/accounts?since=2000-01-01T00%3A00%3A00Z&limit=100",
            "/accounts/deleted?since=2000-01-01T00%3A00%3A00Z"
        ]
    );
    puller.provider.has().date = Some("Sun, 01 Mar 2026 10:00:00 GMT".to_owned());
    puller.pull(RUN).await;
    assert_eq!(puller.provider.asked()[0], "/accounts?since=2026-03-01T08%3A55%3A30Z&limit=100");
    // One that fails moves nothing.
    puller.provider.has().instead = vec![(404, "{}".to_owned())];
    puller.fails(RUN).await;
    puller.provider.asked();
    puller.pull(RUN).await;
    assert_eq!(puller.provider.asked()[0], "/accounts?since=2026-03-01T09%3A55%3A00Z&limit=100");
    puller.pull(FULL).await;
    assert_eq!(puller.provider.asked()[0], "/accounts?since=2000-01-01T00%3A00%3A00Z&limit=100");
}

#[tokio::test(flavor = "multi_thread")]
async fn c8_what_is_listed_as_deleted_is_deleted_until_it_is_enumerated_as_later() {
    let puller = Puller::start().await;
    for id in ["a", "b"] {
        puller.provider.set(id, 1, "");
    }
    puller.pull(RUN).await;
    puller.provider.delete("a");
    puller.provider.has().deleted.push("never seen".to_owned());
    puller.pull(RUN).await;
    assert_eq!(puller.statuses(&["a", "b"]).await, ["deleted", "active"]);
    assert_eq!(puller.row(2).await["accounts_deleted"], 1);
    assert_eq!(puller.account("never seen").await, json!(null));
    // It comes back as it was: that is the provider's own list lagging behind.
    puller.provider.set("a", 1, "");
    puller.pull(FULL).await;
    assert_eq!(puller.status("a").await, "deleted");
    // It was made again, and the list of deletions still has it, as it does within the overlap: it is there, run by run.
    puller.provider.set("a", 5, "");
    for _ in 0..3 {
        puller.pull(RUN).await;
        assert_eq!(puller.status("a").await, "active");
    }
    puller.provider.has().deleted.clear();
    puller.pull(RUN).await;
    puller.provider.delete("a");
    puller.pull(RUN).await;
    assert_eq!(puller.status("a").await, "deleted");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_run_makes_inactive_what_it_did_not_see_and_active_what_reappears() {
    let puller =
        Puller::start_with(|text| text.replace("allow =", "inactive_guard = \"50%\"\nallow ="))
            .await;
    for id in ["a", "b", "c"] {
        puller.provider.set(id, 1, "");
    }
    puller.pull(RUN).await;
    puller.provider.has().accounts.remove("b");
    puller.pull(RUN).await;
    assert_eq!(puller.status("b").await, "active");
    puller.pull(FULL).await;
    assert_eq!(puller.statuses(&["a", "b", "c"]).await, ["active", "inactive", "active"]);
    assert_eq!(puller.row(3).await["accounts_inactive"], 1);
    puller.provider.set("b", 1, "");
    puller.pull(FULL).await;
    assert_eq!(puller.statuses(&["a", "b", "c"]).await, ["active", "active", "active"]);
    assert_eq!(puller.account("b").await["sync_version"], 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn c7_a_full_run_that_lists_too_little_fails_until_a_person_accepts_it() {
    let puller = Puller::start().await;
    for id in ["a", "b", "c", "d"] {
        puller.provider.set(id, 1, "");
    }
    puller.pull(RUN).await;
    let kept = std::mem::take(&mut puller.provider.has().accounts);
    let why = puller.fails(FULL).await;
    assert!(why.contains("4 of 4 active records") && why.contains("--accept"), "{why}");
    assert_eq!(puller.statuses(&["a", "d"]).await, ["active", "active"]);
    assert_eq!(puller.row(2).await["status"], "failed");
    // An error that calls itself a success is none.
    puller.provider.has().instead = vec![(200, "{\"error\":\"maintenance\"}".to_owned())];
    let why = puller.fails(FULL).await;
    assert!(why.contains("maintenance"), "{why}");
    puller.provider.has().accounts = kept.into_iter().take(1).collect();
    puller.pull(Order { accept: true, ..FULL }).await;
    assert_eq!(puller.statuses(&["a", "b", "d"]).await, ["active", "inactive", "inactive"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn c12_numbers_and_ids_keep_every_digit() {
    let puller = Puller::start().await;
    puller.provider.has().odd_items = vec![
        r#"{"id":9007199254740993,"a":1e3,"b":12.50,"c":12345678901234567890.10,"z":0.10}"#
            .to_owned(),
        r#"{"id":9007199254740992,"a":1}"#.to_owned(),
    ];
    puller.pull(RUN).await;
    assert_eq!(
        puller.account("9007199254740993").await["data"],
        r#"{"id":9007199254740993,"a":1e3,"b":12.50,"c":12345678901234567890.10,"z":0.10}"#
    );
    assert_eq!(puller.account("9007199254740992").await["status"], "active");
}

#[tokio::test(flavor = "multi_thread")]
async fn c5_rows_that_slide_to_the_page_before_are_not_missed() {
    for (kind, path) in [("number", "numbered?page=1"), ("offset", "accounts?offset=0")] {
        let puller = Puller::start_with(|text| {
            text.replace("accounts?since={since}&limit=100", path).replace(
                "{ kind = \"cursor\", next = \".next\", param = \"cursor\" }",
                &format!(
                    "{{ kind = {kind:?}, param = {:?} }}",
                    if kind == "number" { "page" } else { "offset" }
                ),
            )
        })
        .await;
        for id in ["a", "b", "c", "d", "e", "f"] {
            puller.provider.set(id, 1, "");
        }
        // Behind each answer the first account is deleted: all others slide by one.
        puller.provider.has().moves = Some(|accounts| {
            if accounts.asked.len() <= 2 {
                accounts.accounts.pop_first();
            }
        });
        let job = puller.pull(FULL).await;
        for id in ["c", "d", "e", "f"] {
            assert_eq!(puller.status(id).await, "active", "{kind}: {id}");
        }
        let duplicates = &job.result.unwrap()["counts"]["duplicates"];
        assert!(duplicates.as_u64() > Some(0), "{kind}: {duplicates}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn links_lead_to_the_next_page() {
    let puller = Puller::start_with(|text| {
        text.replace("accounts?since={since}&limit=100", "linked?limit=2").replace(
            "{ kind = \"cursor\", next = \".next\", param = \"cursor\" }",
            "{ kind = \"link\" }",
        )
    })
    .await;
    for id in ["a", "b", "c", "d", "e"] {
        puller.provider.set(id, 1, "");
    }
    puller.pull(RUN).await;
    assert_eq!(puller.row(1).await["accounts_listed"], 5);
    assert_eq!(puller.provider.asked()[..2], ["/linked?limit=2", "/linked?cursor=2"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_says_what_would_change_and_changes_nothing() {
    let puller = Puller::start().await;
    for id in ["a", "b", "c", "d", "e", "f"] {
        puller.provider.set(id, 1, "");
    }
    puller.pull(RUN).await;
    puller.provider.set("g", 2, "");
    puller.provider.set("a", 2, ",\"n\":1");
    puller.provider.delete("b");
    puller.provider.has().accounts.remove("c");
    let mut watched = puller.watch().await;
    let job = puller.pull(Order { dry_run: true, ..FULL }).await;
    let counts = &job.result.unwrap()["counts"];
    assert_eq!(
        (&counts["updated"], &counts["deleted"], &counts["inactive"]),
        (&json!(2), &json!(1), &json!(1))
    );
    assert_eq!(changed(&mut watched).await, [""; 0]);
    puller.pull(FULL).await;
    assert_eq!(
        puller.statuses(&["a", "b", "c", "g"]).await,
        ["active", "deleted", "inactive", "active"]
    );
    assert_eq!(puller.account("a").await["sync_version"], 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_too_large_for_one_entry_comes_in_parts_and_its_row_last() {
    let puller = Puller::start().await;
    puller.provider.has().page_size = 1_000;
    let filling = format!(",\"text\":\"{}\"", "x".repeat(1_000));
    for n in 0..5_000 {
        puller.provider.set(&format!("{n:04}"), 1, &filling);
    }
    let mut watched = puller.watch().await;
    puller.pull(RUN).await;
    let changed = changed(&mut watched).await;
    assert_eq!(changed.last().unwrap(), "sync_history/crm-1");
    assert_eq!(changed.iter().filter(|key| key.starts_with("accounts/")).count(), 5_000);
    assert_eq!(puller.row(1).await["accounts_updated"], 5_000);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_was_broken_off_between_its_parts_counts_what_it_wrote_before() {
    let puller = Puller::start().await;
    for id in ["a", "b", "c", "d", "e", "f", "g"] {
        puller.provider.set(id, 1, "");
    }
    puller.pull(RUN).await;
    for id in ["a", "b"] {
        puller.provider.set(id, 2, ",\"n\":2");
    }
    puller.provider.delete("c");
    puller.provider.has().accounts.remove("d");
    // The first part of run 2, as it was written before the node died.
    let data =
        |id: &str| format!("{{\"id\":\"{id}\",\"updated_at\":\"2026-03-01T08:02:00Z\",\"n\":2}}");
    let office = &puller.office;
    office.merge("accounts", "a", json!({ "data": data("a"), "sync_version": 2 })).await;
    office.merge("accounts", "c", json!({ "status": "deleted", "sync_version": 2 })).await;
    office.merge("accounts", "d", json!({ "status": "inactive", "sync_version": 2 })).await;
    puller.pull(FULL).await;
    let row = puller.row(2).await;
    let counts = ["accounts_updated", "accounts_deleted", "accounts_inactive"];
    assert_eq!(counts.map(|name| row[name].clone()), [json!(2), json!(1), json!(1)], "{row}");
    assert_eq!(puller.account("b").await["sync_version"], 2);
    puller.pull(FULL).await;
    let row = puller.row(3).await;
    assert_eq!(counts.map(|name| row[name].clone()), [json!(0), json!(0), json!(0)], "{row}");
}
