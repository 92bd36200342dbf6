//! Many at the page at once: open tabs, slow readers, two who settle one conflict. No browser is needed for that.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use branchline_tests::{DEADLINE, Office, eventually};
use serde_json::json;

use super::{Scene, base};
use crate::PROGRAM;

/// Somebody who is signed in, with a browser's requests.
struct Visitor {
    http: reqwest::blocking::Client,
    base: String,
    cookie: String,
}

impl Visitor {
    fn of(office: &Office) -> Self {
        let link = office.run(["open", "--print"]).ok().trim().to_owned();
        let http = reqwest::blocking::Client::builder().no_proxy();
        let http = http.redirect(reqwest::redirect::Policy::none()).build().unwrap();
        let answer = http.get(&link).send().unwrap();
        let cookie = answer.headers()["set-cookie"].to_str().unwrap();
        let cookie = cookie.split(';').next().unwrap().to_owned();
        Self { http, base: base(&link).to_owned(), cookie }
    }

    fn get(&self, path: &str) -> String {
        let request = self.http.get(format!("{}{path}", self.base)).header("cookie", &self.cookie);
        let answer = request.send().unwrap();
        assert!(answer.status().is_success(), "{path}: {}", answer.status());
        answer.text().unwrap()
    }

    fn post(&self, path: &str, fields: &[(String, String)]) {
        let pairs = fields.iter().map(|(name, value)| {
            let encode =
                |text: &str| text.bytes().map(|byte| format!("%{byte:02X}")).collect::<String>();
            format!("{}={}", encode(name), encode(value))
        });
        let body = pairs.collect::<Vec<_>>().join("&");
        let request = self.http.post(format!("{}{path}", self.base)).header("cookie", &self.cookie);
        let request = request.header("content-type", "application/x-www-form-urlencoded");
        assert_eq!(request.body(body).send().unwrap().status(), 303);
    }

    /// Sends a request on a connection of its own, which stays open.
    fn begin(&self, path: &str) -> TcpStream {
        let host = self.base.strip_prefix("http://").unwrap();
        let address: SocketAddr = host.parse().unwrap();
        let mut stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        let request =
            format!("GET {path} HTTP/1.1\r\nhost: {host}\r\ncookie: {}\r\n\r\n", self.cookie);
        stream.write_all(request.as_bytes()).unwrap();
        stream
    }
}

/// The first forms of a view that are sent to a path, each with its fields.
fn forms(view: &str, action: &str) -> Vec<Vec<(String, String)>> {
    let begin = format!("action=\"{action}\">");
    let fields = |form: &str| {
        let inputs = form.split("<input type=\"hidden\" name=\"").skip(1);
        let field = |input: &str| {
            let (name, rest) = input.split_once("\" value=\"").unwrap();
            (name.to_owned(), rest.split('"').next().unwrap().to_owned())
        };
        inputs.map(field).collect()
    };
    let parts = view.split(begin.as_str()).skip(1);
    parts.map(|part| fields(part.split("</form>").next().unwrap())).collect()
}

#[test]
fn of_two_people_who_settle_one_conflict_the_second_is_told_and_nothing_is_lost() {
    let scene = Scene::new();
    let (one, other) = (Visitor::of(&scene.head), Visitor::of(&scene.head));
    let (first, second) = (one.get("/conflicts"), other.get("/conflicts"));
    let take = |view: &str, number: usize| forms(view, "/conflicts/settle")[number].clone();
    one.post("/conflicts/settle", &take(&first, 0));
    let settled = scene.head.run(["get", "products", "assam"]).ok();
    other.post("/conflicts/settle", &take(&second, 1));
    assert!(other.get("/conflicts").contains("Somebody has changed or settled this meanwhile"));
    assert_eq!(scene.head.run(["get", "products", "assam"]).ok(), settled);
    assert!(one.get("/conflicts").contains("is settled"));
}

#[test]
fn many_conflicts_are_settled_by_a_filter_and_taken_back_together() {
    let scene = Scene::new();
    let visitor = Visitor::of(&scene.head);
    let before = ["assam", "mate"].map(|id| scene.head.run(["get", "products", id]).ok());
    // Whose prices are shown is decided by keys. There is something to take back only where the others' are taken.
    let prices = [["8.25", "5.25"], ["7.95", "4.95"]];
    let is_shown =
        |prices: &[&str; 2]| before.iter().zip(prices).all(|(it, price)| it.contains(price));
    let (office, prices) = match is_shown(&prices[1]) {
        true => (&scene.head, prices[0]),
        false => (&scene.north, prices[1]),
    };
    let taken = office.status()["site"].as_str().unwrap().to_owned();
    let view = visitor.get("/conflicts");
    let mut form = forms(&view, "/conflicts/settle-many")[0].clone();
    for (name, value) in [("collection", "products"), ("where", "shelf = 4"), ("take", &taken)] {
        form.push((name.to_owned(), value.to_owned()));
    }
    visitor.post("/conflicts/settle-many", &form);
    let view = visitor.get("/conflicts");
    assert!(view.contains("2 fields are settled") && view.contains("Nothing to settle"), "{view}");
    for (id, price) in ["assam", "mate"].into_iter().zip(prices) {
        assert!(scene.head.run(["get", "products", id]).ok().contains(price), "{id}");
    }
    visitor.post("/conflicts/undo", &forms(&view, "/conflicts/undo")[0]);
    let after = ["assam", "mate"].map(|id| scene.head.run(["get", "products", id]).ok());
    assert_eq!(after, before);
}

#[test]
fn a_thousand_open_tabs_keep_neither_others_nor_the_api_out() {
    let folder = tempfile::tempdir().unwrap();
    let mut head = Office::init(PROGRAM, folder.path(), "head", true);
    head.start();
    let (greedy, other) = (Visitor::of(&head), Visitor::of(&head));
    let mut tabs: Vec<TcpStream> = Vec::new();
    let mut followed = 0;
    for _ in 0..1_000 {
        let mut tab = greedy.begin("/live");
        let mut status = [0; 12];
        tab.read_exact(&mut status).unwrap();
        match &status {
            b"HTTP/1.1 200" => {
                followed += 1;
                tabs.push(tab);
            }
            b"HTTP/1.1 503" => {}
            other => panic!("{}", String::from_utf8_lossy(other)),
        }
    }
    assert_eq!(followed, 32, "streams of one session are bounded");
    assert!(other.get("/").contains("head"));
    assert!(greedy.get("/records").contains("Records"));
    let mut follows = other.begin("/live");
    let mut status = [0; 12];
    follows.read_exact(&mut status).unwrap();
    assert_eq!(&status, b"HTTP/1.1 200");
    assert_eq!(head.get("/v1/status")["name"], "head");
    drop(tabs);
    // What the tabs held is there for others again.
    eventually("a new tab follows", || {
        let mut tab = greedy.begin("/live");
        let mut status = [0; 12];
        tab.read_exact(&mut status).is_ok() && &status == b"HTTP/1.1 200"
    });
}

#[test]
fn a_slow_reader_is_ended_takes_little_memory_and_keeps_nobody_out() {
    let folder = tempfile::tempdir().unwrap();
    let mut head = Office::init(PROGRAM, folder.path(), "head", true);
    // No other office shall connect: connections are counted.
    head.start_with(&["--no-mdns"]);
    let alone = head.gauge().tcp_established;
    // Far more than sockets hold.
    let (notes, bytes) = (30, 1_000_000);
    for number in 0..notes {
        let record = json!({ "note": "x".repeat(bytes) }).to_string();
        let id = format!("n{number}");
        head.run_with(["put", "notes", id.as_str(), "-"], &record).ok();
    }
    let visitor = Visitor::of(&head);
    visitor.get("/records/notes");
    let before = head.gauge().memory_kib;
    let mut slow: Vec<TcpStream> = (0..3).map(|_| visitor.begin("/records/notes/csv")).collect();
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(2) {
        assert!(visitor.get("/").contains("head"));
    }
    let taken = head.gauge().memory_kib.saturating_sub(before) / 1024;
    assert!(taken < 3 * 64, "slow readers take {taken} MiB");
    // Each is ended by itself, once it has taken nothing for half a minute; and so is a connection that nobody uses.
    let deadline = Instant::now() + 3 * DEADLINE;
    while head.gauge().tcp_established > alone {
        assert!(Instant::now() < deadline, "slow readers stay: {:?}", head.gauge());
        std::thread::sleep(Duration::from_millis(100));
    }
    for reader in &mut slow {
        let mut got = Vec::new();
        let whole = reader.read_to_end(&mut got);
        assert!(whole.is_err() || got.len() < notes * bytes, "it got {} bytes", got.len());
    }
}
