//! Providers that misbehave.

use branchline_connect::jobs::board::JobState;
use serde_json::json;

use super::office::{FULL, Puller, RUN};

#[tokio::test(flavor = "multi_thread")]
async fn c9_a_run_that_fails_leaves_its_row_and_nothing_else() {
    let puller = Puller::start().await;
    puller.provider.set("a", 1, "");
    puller.pull(RUN).await;
    for id in ["a", "b", "c", "d"] {
        puller.provider.set(id, 2, ",\"n\":2");
    }
    // The second page is refused.
    puller.provider.has().moves = Some(|accounts| {
        accounts.instead = vec![(403, "{\"error\":\"no right to that\"}".to_owned())];
        accounts.moves = None;
    });
    let why = puller.fails(RUN).await;
    assert!(why.contains("403") && why.contains("no right to that"), "{why}");
    assert_eq!(puller.account("a").await["sync_version"], 1);
    assert_eq!(puller.account("b").await, json!(null));
    let row = puller.row(2).await;
    assert_eq!((&row["status"], &row["accounts_updated"]), (&json!("failed"), &json!(0)));
    assert!(row["error"].as_str().unwrap().contains("no right to that"), "{row:?}");
    puller.pull(RUN).await;
    assert_eq!(puller.account("b").await["sync_version"], 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_fails_for_the_time_being_is_tried_again_and_a_longer_outage_is_a_failed_run() {
    let puller = Puller::start().await;
    puller.provider.set("a", 1, "");
    puller.provider.has().instead = vec![
        (503, "{}".to_owned()),
        (200, "<html>Maintenance</html>".to_owned()),
        (429, "{}".to_owned()),
    ];
    puller.pull(RUN).await;
    assert_eq!(puller.status("a").await, "active");
    puller.provider.has().instead = vec![(500, "{}".to_owned()); 4];
    let why = puller.fails(RUN).await;
    assert!(why.contains("500") && why.contains("tried 4 times"), "{why}");
    puller.pull(RUN).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn c10_paging_that_goes_in_a_circle_is_a_failed_run() {
    let puller = Puller::start().await;
    for id in ["a", "b", "c"] {
        puller.provider.set(id, 1, "");
    }
    puller.provider.has().is_circle = true;
    let why = puller.fails(RUN).await;
    assert!(why.contains("circle"), "{why}");
    assert_eq!(puller.account("a").await, json!(null));
}

#[tokio::test(flavor = "multi_thread")]
async fn c10_a_list_that_never_ends_is_a_failed_run() {
    let puller = Puller::start_with(|text| text.replace("allow =", "pages_max = 7\nallow =")).await;
    // Behind each page there is one more.
    puller.provider.has().moves = Some(|accounts| {
        for _ in 0..2 {
            let id = format!("{:06}", accounts.accounts.len());
            accounts.accounts.insert(id, ("2026-03-01T08:01:00Z".to_owned(), String::new()));
        }
    });
    for id in ["000000", "000001", "000002"] {
        puller.provider.set(id, 1, "");
    }
    let why = puller.fails(RUN).await;
    assert!(why.contains("7 pages") && why.contains("pages_max"), "{why}");
    assert_eq!(puller.account("000000").await, json!(null));
}

#[tokio::test(flavor = "multi_thread")]
async fn items_that_cannot_be_kept_are_set_aside_and_the_others_come() {
    let puller = Puller::start().await;
    for id in ["a", "b", "c"] {
        puller.provider.set(id, 1, "");
    }
    puller.pull(RUN).await;
    puller.provider.set("d", 2, "");
    puller.provider.has().accounts.remove("c");
    puller.provider.has().odd_items = vec![
        r#"{"name":"without an id"}"#.to_owned(),
        r#"{"id":["list"]}"#.to_owned(),
        format!(r#"{{"id":"large","text":"{}"}}"#, "x".repeat(1 << 20)),
        r#"{"id":"lossy","segment":1234567890.123456789012}"#.to_owned(),
        r#"{"id":"fine","segment":1.5}"#.to_owned(),
    ];
    puller.pull(FULL).await;
    assert_eq!(puller.statuses(&["d", "fine", "lossy"]).await, ["active", "active", ""]);
    // What was listed without a name might have been it.
    assert_eq!(puller.status("c").await, "active");
    assert_eq!(puller.row(2).await["refused"], 4);
    let errors = puller.sources.errors(&puller.config).await.unwrap();
    let texts: Vec<String> =
        errors.iter().map(|item| format!("{:?} {}", item.id, item.what)).collect();
    assert_eq!(errors.len(), 4, "{texts:?}");
    for part in ["without an id", "[\"list\"]", "\"large\"", "would lose digits"] {
        assert!(texts.iter().any(|text| text.contains(part)), "{part}: {texts:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn items_that_the_schema_refuses_are_set_aside_however_many_they_are() {
    let puller = Puller::start().await;
    puller.office.merge("_schema", "accounts", json!({ "segment": "integer" })).await;
    puller.provider.has().page_size = 1_000;
    for number in 0..2_000 {
        let segment = if number % 2 == 0 { "1" } else { "\"text\"" };
        puller.provider.set(&format!("{number:04}"), 1, &format!(",\"segment\":{segment}"));
    }
    puller.pull(FULL).await;
    let row = puller.row(1).await;
    assert_eq!(
        (&row["accounts_updated"], &row["refused"]),
        (&json!(1_000), &json!(1_000)),
        "{row}"
    );
    assert_eq!(
        puller.statuses(&["0000", "0001", "1998", "1999"]).await,
        ["active", "", "active", ""]
    );
    let errors = puller.sources.errors(&puller.config).await.unwrap();
    assert!(errors.iter().all(|item| item.what.contains("segment")), "{:?}", errors[0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn c16_no_secret_is_in_the_records_the_history_or_any_file() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("token");
    std::fs::write(&file, "s3cr3t-t0ken/1\n").unwrap();
    let secret = format!("${{file:{}}}", file.display());
    let puller = Puller::start_with(|text| {
        text.replace("limit=100", &format!("key={secret}")).replace(
            "items =",
            &format!("headers = {{ Authorization = \"Bearer {secret}\" }}\nitems ="),
        )
    })
    .await;
    puller.provider.set("a", 1, "");
    puller.pull(RUN).await;
    assert!(puller.provider.asked()[0].ends_with("key=s3cr3t-t0ken/1"));
    let sent = puller.provider.has().headers.get("authorization").cloned();
    assert_eq!(sent.unwrap(), "Bearer s3cr3t-t0ken/1");
    // A provider that gives it back in an error.
    puller.provider.has().instead = vec![(
        400,
        "{\"error\":\"s3cr3t-t0ken/1 is out of date, s3cr3t-t0ken%2F1 too\"}".to_owned(),
    )];
    let why = puller.fails(RUN).await;
    assert!(why.contains("out of date") && !why.contains("s3cr3t"), "{why}");
    puller.sources.stop().await;
    let mut scanned = 0;
    let mut folders = vec![puller.office.path().to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.is_file() {
                let bytes = std::fs::read(&path).unwrap();
                let found = bytes.windows(6).any(|window| window == b"s3cr3t");
                assert!(!found, "{}", path.display());
                scanned += 1;
            }
        }
    }
    assert!(scanned > 5, "{scanned} files");
}

#[tokio::test(flavor = "multi_thread")]
async fn c15_an_address_that_is_not_allowed_is_not_asked() {
    let puller = Puller::start_with(|text| text.replace("allow = [\"127.0.0.1\"]", "")).await;
    let why = puller.fails(RUN).await;
    assert!(why.contains("127.0.0.1") && why.contains("allow"), "{why}");
    assert_eq!(puller.provider.asked(), [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_is_cancelled_while_the_provider_is_waited_for() {
    let puller =
        Puller::start_with(|text| text.replace("\"5ms\"", "\"1h\"").replace("\"1ms\"", "\"1h\""))
            .await;
    puller.provider.has().instead = vec![(503, "{}".to_owned())];
    let id = puller.sources.run(&puller.config, RUN).await.unwrap();
    let waiting = puller.until(id, |job| job.state == JobState::BackingOff).await;
    assert!(waiting.note.contains("503") && waiting.note.contains("try 2 of 4"), "{waiting:?}");
    puller.jobs.cancel(id).await.unwrap();
    assert_eq!(puller.end_of(id).await.state, JobState::Cancelled);
    assert_eq!(puller.row(1).await["status"], "failed");
    puller.pull(RUN).await;
}
