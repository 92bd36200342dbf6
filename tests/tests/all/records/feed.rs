//! The feed of changes as programs use it: pages, long polls, events, over restarts and rebuilds.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read};
use std::net::TcpStream;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use branchline_tests::{DEADLINE, Office, client, converge, eventually, is_long};
use reqwest::blocking::Response;
use serde_json::{Value, json};

use crate::PROGRAM;

fn office(folder: &Path, name: &str) -> Office {
    let mut office = Office::init(PROGRAM, folder, name, name == "head");
    office.start();
    office
}

fn put(office: &Office, id: &str, fields: &Value) {
    let (address, token) = office.api();
    let path = format!("http://{address}/v1/records/products/{id}");
    let answer = client().put(path).bearer_auth(token).json(fields).send().unwrap();
    assert!(answer.status().is_success(), "{}", answer.text().unwrap());
}

/// Imports records that differ in their numbers, in entries of up to 1,000.
fn import(office: &Office, collection: &str, numbers: std::ops::Range<usize>) {
    let (address, token) = office.api();
    let lines: Vec<String> = numbers
        .map(|number| json!({"id": number.to_string(), "fields": {"n": number}}).to_string())
        .collect();
    for lines in lines.chunks(1000) {
        let path = format!("http://{address}/v1/import/{collection}");
        let request = client().post(path).bearer_auth(&token).body(lines.join("\n"));
        let request = request.header("content-type", "application/x-ndjson");
        assert!(request.send().unwrap().status().is_success());
    }
}

/// A stream of server-sent events.
struct Events {
    lines: std::io::Lines<BufReader<Response>>,
    last_id: String,
}

impl Events {
    fn open(office: &Office, since: &str) -> Self {
        let (address, token) = office.api();
        let client = reqwest::blocking::Client::builder().no_proxy().timeout(None).build().unwrap();
        let request = client.get(format!("http://{address}/v1/changes")).bearer_auth(token);
        let request = request.header("accept", "text/event-stream");
        // As a browser comes again: what it was given last.
        let response = request.header("last-event-id", since).send().unwrap();
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        assert_eq!(response.headers()["x-accel-buffering"], "no", "a proxy holds nothing back");
        let mut events = Self { lines: BufReader::new(response).lines(), last_id: String::new() };
        events.block();
        events
    }

    /// The next block: its data, if it has some. `None`: the stream has ended.
    fn block(&mut self) -> Option<Option<Value>> {
        let mut data = None;
        loop {
            let line = self.lines.next()?.ok()?;
            if let Some(id) = line.strip_prefix("id: ") {
                self.last_id = id.to_owned();
            } else if let Some(text) = line.strip_prefix("data: ") {
                data = Some(serde_json::from_str(text).unwrap());
            } else if line.is_empty() {
                return Some(data);
            }
        }
    }

    /// The next event.
    fn event(&mut self) -> Option<Value> {
        loop {
            if let Some(event) = self.block()? {
                return Some(event);
            }
        }
    }
}

/// All that follows a cursor, page by page, and the cursor behind it.
fn pages(office: &Office, since: &str, query: &str) -> (Vec<Value>, String) {
    let (mut reported, mut since) = (Vec::new(), since.to_owned());
    loop {
        let page = office.get(&format!("/v1/changes?since={since}{query}"));
        reported.extend(page["changes"].as_array().unwrap_or_else(|| panic!("{page}")).clone());
        since = page["cursor"].as_str().unwrap().to_owned();
        if page["more"] == false {
            return (reported, since);
        }
    }
}

fn id(event: &Value) -> &str {
    event["id"].as_str().unwrap()
}

#[test]
fn a_consumer_misses_nothing_over_restarts_and_a_rebuild() {
    let folder = tempfile::tempdir().unwrap();
    let mut head = office(folder.path(), "head");
    import(&head, "sales", 0..300);
    let mut seen = Vec::new();
    let mut cursor = "start".to_owned();
    for (round, disturb) in ["none", "stop", "kill", "rebuild", "tables"].iter().enumerate() {
        match *disturb {
            "stop" => {
                assert_eq!(head.stop(), 0);
                head.start();
            }
            "kill" => {
                head.kill();
                head.start();
            }
            "rebuild" => drop(head.run(["rebuild"]).ok()),
            "tables" => {
                head.kill();
                std::fs::remove_dir_all(head.data.join("tables")).unwrap();
                head.start();
            }
            _ => {}
        }
        // One small page only, so that each disturbance finds the consumer in the middle of an entry.
        let page = head.get(&format!("/v1/changes?since={cursor}&limit=37"));
        seen.extend(page["changes"].as_array().unwrap().iter().map(|event| id(event).to_owned()));
        cursor = page["cursor"].as_str().unwrap().to_owned();
        put(&head, &format!("round-{round}"), &json!({"round": round}));
    }
    let (rest, _) = pages(&head, &cursor, "&limit=100");
    seen.extend(rest.iter().map(|event| id(event).to_owned()));
    let expected = (0..300).map(|number| number.to_string());
    let expected = expected.chain((0..5).map(|round| format!("round-{round}")));
    assert_eq!(seen, expected.collect::<Vec<_>>());
}

#[test]
fn events_come_live_from_every_office_and_resume_by_their_id() {
    let folder = tempfile::tempdir().unwrap();
    let mut head = office(folder.path(), "head");
    let north = office(folder.path(), "north");
    north.join(&head);
    put(&head, "tea", &json!({"price": "2.50"}));
    converge(&[&head, &north]);
    let mut events = Events::open(&head, "now");
    put(&north, "tea", &json!({"price": "2.70"}));
    let event = events.event().unwrap();
    assert_eq!((&event["kind"], id(&event)), (&json!("change"), "tea"));
    assert_eq!(event["before"], json!({"fields": {"price": "2.50"}, "deleted": false}));
    assert_eq!(event["after"], json!({"fields": {"price": "2.70"}, "deleted": false}));
    assert_eq!(event["site"], north.status()["site"]);
    assert_eq!(event["transaction"]["last"], true);
    assert_eq!(event["cursor"], json!(events.last_id));

    // The node tells what a stream is to end with: its own end.
    let last_id = events.last_id.clone();
    assert_eq!(head.stop(), 0);
    assert!(events.event().is_none());
    head.run(["delete", "products", "tea"]).ok();
    head.start();
    let mut events = Events::open(&head, &last_id);
    let event = events.event().unwrap();
    assert_eq!(
        (&event["after"]["deleted"], &event["before"]["deleted"]),
        (&json!(true), &json!(false))
    );
    // Tables that are rebuilt under a stream do not end it.
    head.run(["rebuild"]).ok();
    put(&head, "rice", &json!({"price": "11.90"}));
    assert_eq!(id(&events.event().unwrap()), "rice");
}

/// The longest wait there is, which a change must end however busy the machine is.
const WAIT: Duration = Duration::from_secs(50);

#[test]
fn a_long_poll_answers_with_the_change_it_waited_for() {
    let folder = tempfile::tempdir().unwrap();
    let head = office(folder.path(), "head");
    let now = head.get("/v1/changes?since=now")["cursor"].as_str().unwrap().to_owned();
    let started = Instant::now();
    let path = format!("/v1/changes?since={now}&wait={}s&collection=products", WAIT.as_secs());
    let page = std::thread::scope(|scope| {
        let poll = scope.spawn(|| head.get(&path));
        import(&head, "sales", 0..10);
        put(&head, "tea", &json!({}));
        poll.join().unwrap()
    });
    assert_eq!(id(&page["changes"][0]), "tea");
    assert!(started.elapsed() < WAIT, "it did not wait to the end");
    let path = format!("/v1/changes?since={}&wait=100ms", page["cursor"].as_str().unwrap());
    assert_eq!(head.get(&path)["changes"], json!([]));
}

#[test]
fn a_hundred_subscribers_get_everything_in_order_beside_one_that_stalls() {
    let folder = tempfile::tempdir().unwrap();
    let head = office(folder.path(), "head");
    let count = if is_long() { 20_000 } else { 1_200 };
    let before = head.gauge();
    // It reads nothing, and much more than sockets hold is sent to it.
    let (address, token) = head.api();
    let mut stalled = TcpStream::connect(address).unwrap();
    let request = format!(
        "GET /v1/changes?since=start HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {token}\r\n\
         Accept: text/event-stream\r\n\r\n"
    );
    std::io::Write::write_all(&mut stalled, request.as_bytes()).unwrap();
    let mut subscribers: Vec<_> = (0..100).map(|_| Events::open(&head, "now")).collect();
    std::thread::scope(|scope| {
        for events in &mut subscribers {
            scope.spawn(move || {
                for number in 0..count {
                    let event = events.event().expect("an event");
                    assert_eq!(id(&event), number.to_string());
                }
            });
        }
        import(&head, "sales", 0..count);
    });
    let grown_kib = head.gauge().memory_kib.saturating_sub(before.memory_kib);
    assert!(grown_kib < 200 * 1024, "{grown_kib} KiB for 101 subscribers");
    assert_eq!(head.get("/v1/collections/sales/count")["count"], count);
    drop(subscribers);
    // Anyone who read nothing finds it all, or is cut off and comes again.
    let mut text = [0; 4096];
    stalled.set_read_timeout(Some(DEADLINE)).unwrap();
    assert!(stalled.read(&mut text).unwrap() > 0);
}

#[test]
fn consumers_at_different_paces_are_told_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let head = office(folder.path(), "head");
    import(&head, "sales", 0..1500);
    import(&head, "products", 0..200);
    let (all, end) = pages(&head, "start", "&limit=1000");
    assert_eq!(all.len(), 1700);
    std::thread::scope(|scope| {
        for (start, limit) in [(0, 1000), (0, 64), (1, 1000), (700, 301), (1490, 7)] {
            let (head, all, end) = (&head, &all, &end);
            let since =
                all[..start].last().map_or("start", |event| event["cursor"].as_str().unwrap());
            scope.spawn(move || {
                let (reported, cursor) = pages(head, since, &format!("&limit={limit}"));
                assert_eq!((reported.as_slice(), &cursor), (&all[start..], end));
            });
            scope.spawn(move || {
                let query = format!("&limit={limit}&collection=products");
                let (reported, _) = pages(head, since, &query);
                let products =
                    all[start..].iter().filter(|event| event["collection"] == "products");
                assert!(reported.iter().eq(products));
            });
        }
    });
}

#[test]
fn more_subscribers_than_there_is_room_for_are_refused_and_others_are_served() {
    let folder = tempfile::tempdir().unwrap();
    let head = office(folder.path(), "head");
    let (address, token) = head.api();
    let mut subscribers: Vec<_> = (0..128).map(|_| Events::open(&head, "now")).collect();
    let poll = || {
        let path = format!("http://{address}/v1/changes?since=now&wait=1s");
        client().get(path).bearer_auth(&token)
    };
    let answer = poll().send().unwrap();
    assert_eq!(
        (answer.status().as_u16(), answer.headers().contains_key("retry-after")),
        (503, true)
    );
    let answer: Value = answer.json().unwrap();
    assert_eq!(answer["error"]["code"], "too_many_waiting");
    // Places are left for other clients.
    let other = || poll().header("user-agent", "other").send().unwrap();
    assert_eq!(other().status(), 200);
    put(&head, "tea", &json!({}));
    subscribers.clear();
    eventually("there is room again", || poll().send().unwrap().status().is_success());
}

#[test]
fn bad_cursors_are_refused_with_a_reason() {
    let folder = tempfile::tempdir().unwrap();
    let mut head = office(folder.path(), "head");
    let mut north = office(folder.path(), "north");
    north.join(&head);
    put(&head, "tea", &json!({}));
    converge(&[&head, &north]);
    let of_north = pages(&north, "start", "").1;
    // What the head office is to lose is nowhere else.
    assert_eq!(north.stop(), 0);
    let backup = folder.path().join("backup");
    assert_eq!(head.stop(), 0);
    let copied = std::process::Command::new("cp").arg("-r").arg(&head.data).arg(&backup).status();
    assert!(copied.unwrap().success());
    head.start();
    let kept = pages(&head, "start", "").1;
    put(&head, "rice", &json!({}));
    let lost = pages(&head, "start", "").1;
    // The office goes on from its backup: `rice` is not in its journal any more.
    head.kill();
    std::fs::remove_dir_all(&head.data).unwrap();
    std::fs::rename(&backup, &head.data).unwrap();
    head.start();
    let code = |since: &str| {
        let answer = head.get(&format!("/v1/changes?since={since}"));
        answer["error"]["code"].as_str().unwrap_or("none").to_owned()
    };
    let mut garbled = kept.clone();
    garbled.replace_range(10..11, if &kept[10..11] == "A" { "B" } else { "A" });
    for (since, expected) in [
        ("nonsense", "bad_cursor"),
        ("", "bad_cursor"),
        (&garbled, "bad_cursor"),
        (&of_north, "bad_cursor"),
        (&lost, "cursor_gone"),
        (&kept, "none"),
    ] {
        assert_eq!(code(since), expected, "{since}");
    }
    for query in ["wait=1h", "wait=soon", "wait=-1s", "limit=0", "collection=Ä", "sinse=now"] {
        let answer = head.get(&format!("/v1/changes?{query}"));
        assert_eq!(
            answer["error"]["code"].as_str().map(|code| &code[..4]),
            Some("bad_"),
            "{query}"
        );
    }
    let refused = head.run(["watch", "--since", &of_north]).fails(1);
    assert!(refused.contains("another site"), "{refused}");
}

#[test]
fn the_command_watches_a_running_node_and_prints_what_a_stopped_one_has() {
    let folder = tempfile::tempdir().unwrap();
    let mut head = office(folder.path(), "head");
    put(&head, "tea", &json!({"price": "2.50"}));
    let mut watch = head.command(["watch", "products", "--since", "start"]);
    let mut watch = watch.stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(watch.stdout.take().unwrap()).lines();
    let mut line = || lines.next().unwrap().unwrap();
    assert!(line().ends_with("head  products/tea  created: price 2.50"));
    import(&head, "sales", 0..3);
    put(&head, "tea", &json!({"price": "2.70"}));
    assert!(line().ends_with("head  products/tea  changed: price 2.50 -> 2.70"));
    watch.kill().unwrap();
    watch.wait().unwrap();
    assert_eq!(head.stop(), 0);

    let ran = head.run(["--json", "watch"]);
    let hint = ran.stderr.clone();
    let reported: Vec<Value> =
        ran.ok().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let by_collection = reported.iter().fold(BTreeMap::new(), |mut counts, event| {
        *counts.entry(event["collection"].as_str().unwrap()).or_insert(0) += 1;
        counts
    });
    assert_eq!(by_collection, BTreeMap::from([("products", 2), ("sales", 3)]));
    let (_, cursor) = hint.trim().rsplit_once(' ').unwrap();
    assert_eq!(head.run(["watch", "--since", cursor]).ok(), "");
}
