//! `GET /metrics` of real nodes: a scraper can read it, it tells what `/v1/status` tells, and every name is described.

// Gauges are floats, and the status's counts are compared with them.
#![allow(clippy::disallowed_methods)]

mod connectors;
mod exposition;

use std::collections::BTreeSet;
use std::io::Read;

use branchline_tests::{Office, client, converge, eventually};
use serde_json::{Value, json};

use exposition::Exposition;

use crate::PROGRAM;

const PAGE: &str = include_str!("../../../../node/OPERATIONS.md");

fn scrape(office: &Office) -> Exposition {
    let (address, token) = office.api();
    let request = client().get(format!("http://{address}/metrics")).bearer_auth(token);
    let answer = request.send().unwrap();
    assert_eq!(answer.status(), 200);
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    assert_eq!(answer.headers()["content-type"], kind);
    Exposition::parse(&answer.text().unwrap())
}

/// The status of an answer to a write.
fn put(office: &Office, id: &str, fields: &Value) -> u16 {
    let (address, token) = office.api();
    let path = format!("http://{address}/v1/records/products/{id}");
    let answer = client().put(path).bearer_auth(token).json(fields).send().unwrap();
    answer.status().as_u16()
}

/// Of a member, as `/v1/status` tells it.
fn of_site(status: &Value, name: &str, what: &str) -> Value {
    let sites = status["sites"].as_array().unwrap();
    sites.iter().find(|site| site["name"] == name).unwrap()[what].clone()
}

#[test]
fn what_is_measured_adds_up_and_is_what_status_tells() {
    let folder = tempfile::tempdir().unwrap();
    let (head, mut north) = Office::pair(PROGRAM, folder.path());
    eventually("north is a member", || {
        of_site(&head.get("/v1/status"), "head", "site").is_string()
            && head.get("/v1/status")["sites"].as_array().unwrap().len() == 2
    });
    let first = scrape(&head);
    for number in 0..5 {
        assert_eq!(put(&head, &number.to_string(), &json!({"n": number})), 200);
    }
    assert_eq!(put(&head, "0", &json!({"n": 0})), 200);
    assert_eq!(put(&head, "bad", &json!({"_n": 0})), 400);
    converge(&[&head, &north]);
    eventually("north's receipt covers all", || {
        scrape(&head).value("branchline_peer_lag_entries", &[("name", "north")]) == Some(0.0)
    });

    assert_eq!(north.stop(), 0);
    for number in 5..9 {
        assert_eq!(put(&head, &number.to_string(), &json!({"n": number})), 200);
    }
    eventually("head has lost north", || {
        scrape(&head).value("branchline_peer_connected", &[("name", "north")]) == Some(0.0)
    });
    let cut = scrape(&head);
    cut.assert_not_fallen_since(&first);
    let lag = cut.value("branchline_peer_lag_entries", &[("name", "north")]);
    assert_eq!(lag, of_site(&head.get("/v1/status"), "north", "lag_entries").as_f64());
    assert_eq!(lag, Some(4.0));

    north.start();
    converge(&[&head, &north]);
    let peer = [("name", "north")];
    eventually("head has met north again", || {
        let now = scrape(&head);
        now.value("branchline_peer_connected", &peer) == Some(1.0)
            && now.value("branchline_peer_lag_entries", &peer) == Some(0.0)
    });
    let healed = scrape(&head);
    healed.assert_not_fallen_since(&cut);
    let since = |name: &str, labels: &[(&str, &str)]| {
        healed.value(name, labels).unwrap_or(0.0) - first.value(name, labels).unwrap_or(0.0)
    };
    let outcomes = [("written", 9.0), ("unchanged", 1.0), ("refused", 1.0)];
    for (outcome, count) in outcomes {
        let labels = [("outcome", outcome)];
        assert_eq!(since("branchline_transactions_total", &labels), count, "{outcome}");
    }
    assert_eq!(since("branchline_write_duration_seconds_count", &[]), 11.0);
    assert!(since("branchline_commit_writes_sum", &[]) == 11.0);
    assert!(since("branchline_journal_append_duration_seconds_count", &[]) >= 1.0);
    assert!(since("branchline_gossip_published_total", &[]) >= 1.0);
    assert!(since("branchline_peer_entries_pushed_total", &peer) >= 4.0);
    assert!(scrape(&north).value("branchline_peer_entries_pulled_total", &[]) >= Some(4.0));
    assert!(scrape(&north).value("branchline_pull_duration_seconds_count", &[]) >= Some(1.0));
    let puts = [("route", "/v1/records/{collection}/{id}"), ("method", "PUT"), ("status", "2xx")];
    assert_eq!(since("branchline_http_request_duration_seconds_count", &puts), 10.0);
    for office in [&head, &north] {
        tells_the_status(office);
    }
}

/// Compares with `/v1/status`; both are asked again until nothing happens in between.
fn tells_the_status(office: &Office) {
    let mut found = Vec::new();
    eventually("metrics and status say the same", || {
        let (reported, status) = (scrape(office), office.get("/v1/status"));
        found = [
            ("branchline_entries", "entries"),
            ("branchline_entries_own", "own_entries"),
            ("branchline_entries_unapplied", "entries_unapplied"),
            ("branchline_entries_lost", "entries_lost"),
            ("branchline_records", "records"),
            ("branchline_conflicts", "conflicts"),
            ("branchline_damaged_frames", "damaged_frames"),
            ("branchline_journal_bytes", "journal_bytes"),
            ("branchline_tables_bytes", "tables_bytes"),
        ]
        .map(|(name, field)| (name, reported.value(name, &[]), status[field].as_f64()))
        .to_vec();
        let sites = status["sites"].as_array().unwrap().iter();
        let others = sites.filter(|site| site["site"] != status["site"]);
        for site in others {
            let labels = [("site", site["site"].as_str().unwrap())];
            let lag = reported.value("branchline_peer_lag_entries", &labels);
            found.push(("branchline_peer_lag_entries", lag, site["lag_entries"].as_f64()));
            let ahead = reported.value("branchline_peer_ahead_entries", &labels);
            found.push(("branchline_peer_ahead_entries", ahead, site["ahead_entries"].as_f64()));
        }
        found.iter().all(|(_, reported, expected)| reported.is_some() && reported == expected)
    });
    assert_eq!(found.len(), 11, "{found:?}");
}

#[test]
fn labels_are_bounded_whatever_is_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let mut head = Office::init(PROGRAM, folder.path(), "head", true);
    head.start();
    let (address, token) = head.api();
    for number in 0..20 {
        let path = format!("http://{address}/v1/nothing/{number}");
        assert_eq!(client().get(&path).bearer_auth(&token).send().unwrap().status(), 404);
        let method = reqwest::Method::from_bytes(format!("METHOD{number}").as_bytes()).unwrap();
        client().request(method, &path).bearer_auth(&token).send().unwrap();
        let path = format!("http://{address}/v1/records/products/{number}");
        assert_eq!(client().get(&path).bearer_auth(&token).send().unwrap().status(), 404);
        assert_eq!(client().get(&path).bearer_auth("wrong").send().unwrap().status(), 401);
    }
    let reported = scrape(&head);
    let count = "branchline_http_request_duration_seconds_count";
    let record = [("route", "/v1/records/{collection}/{id}"), ("status", "4xx")];
    assert_eq!(reported.value(count, &record), Some(40.0));
    assert_eq!(reported.value(count, &[("route", "none"), ("method", "GET")]), Some(20.0));
    assert_eq!(reported.value(count, &[("route", "none"), ("method", "other")]), Some(20.0));
    // Those three, and what the start of the office asked for.
    assert!(reported.of(count).count() <= 5, "{:?}", reported.of(count).collect::<Vec<_>>());
}

#[test]
fn consumers_of_the_feed_are_counted_while_they_are_there() {
    let folder = tempfile::tempdir().unwrap();
    let mut head = Office::init(PROGRAM, folder.path(), "head", true);
    head.start();
    assert_eq!(put(&head, "tea", &json!({"n": 1})), 200);
    let (address, token) = head.api();
    let stream = client().get(format!("http://{address}/v1/changes?since=now")).bearer_auth(token);
    let mut stream = stream.header("accept", "text/event-stream").send().unwrap();
    let mut first = [0; 16];
    stream.read_exact(&mut first).unwrap();
    let reported = scrape(&head);
    assert_eq!(reported.value("branchline_feed_consumers", &[]), Some(1.0));
    assert_eq!(reported.value("branchline_feed_lag_bytes", &[]), Some(0.0));
    drop(stream);
    eventually("nobody reads the feed", || {
        scrape(&head).value("branchline_feed_consumers", &[]) == Some(0.0)
    });
}

#[test]
fn every_name_that_is_served_is_described_and_the_other_way_round() {
    let cells = PAGE.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next());
    let is_metric = |name: &&str| name.starts_with("branchline_") || name.starts_with("process_");
    let described: BTreeSet<String> = cells.filter(is_metric).map(str::to_owned).collect();
    let folder = tempfile::tempdir().unwrap();
    let (head, _north) = Office::pair(PROGRAM, folder.path());
    let mut served = BTreeSet::new();
    // What is not known yet is left out: the first round trip is measured after some seconds, and
    // what a site lacks is known from its first receipt.
    eventually("everything is known", || {
        served = scrape(&head).names();
        let known_last =
            ["branchline_peer_round_trip_seconds", "branchline_peer_receipt_timestamp_seconds"];
        known_last.iter().all(|name| served.contains(*name))
    });
    assert_eq!(served, described);
}
