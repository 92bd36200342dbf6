//! Bridges, sources and sinks in the browser: each button, with a real table and a service on this machine.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use branchline_tests::till::Till;
use branchline_tests::web::Web;
use branchline_tests::{Office, eventually};
use serde_json::{Value, json};

use super::base;
use super::browser::{Browser, Wanted, is_there};
use super::looks::looks_well;
use crate::PROGRAM;

pub(super) const VIEWS: [&str; 4] =
    ["/jobs", "/jobs/bridge/till", "/jobs/source/crm", "/jobs/sink/erp"];
const SHOP: &str = "CREATE TABLE products (sku TEXT PRIMARY KEY NOT NULL, name TEXT, \
    qty INTEGER NOT NULL CHECK (qty >= 0)); INSERT INTO products VALUES ('tea', 'Green tea', 40)";

/// An office with one of each, and what they talk to.
pub(super) struct Connected {
    pub(super) office: Office,
    till: Till,
    /// Whether the service takes orders without a country.
    is_lenient: Arc<AtomicBool>,
    _service: Web,
    _folder: tempfile::TempDir,
}

impl Connected {
    pub(super) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut office = Office::init(PROGRAM, folder.path(), "head", true);
        let till = Till::new(&folder.path().join("shop.db"), SHOP);
        let is_lenient = Arc::new(AtomicBool::new(false));
        let service = service(Arc::clone(&is_lenient));
        std::fs::write(office.data.join("branchline.toml"), config(&till.url(), &service.url()))
            .unwrap();
        office.start();
        for (id, fields) in [("1", json!({ "country": "ES" })), ("2", json!({ "ref": "A-2" }))] {
            office.run(["put", "orders", id, &fields.to_string()]).ok();
        }
        // The API may answer a moment before bridges do.
        eventually("the bridge is installed", || {
            office.run(["bridge", "install", "till"]).code == 0
        });
        let state = |words: [&str; 3]| {
            let answer = office.run(["--json"].into_iter().chain(words)).ok();
            serde_json::from_str::<Value>(&answer).unwrap()
        };
        eventually("the bridge runs", || state(["bridge", "status", "till"])["state"] == "running");
        eventually("an order is refused", || state(["sink", "status", "erp"])["set_aside"] == 1);
        Self { office, till, is_lenient, _service: service, _folder: folder }
    }

    pub(super) fn link(&self) -> String {
        self.office.run(["open", "--print"]).ok().trim().to_owned()
    }
}

/// Takes orders that have a country, and has five accounts.
fn service(is_lenient: Arc<AtomicBool>) -> Web {
    Web::start(move |asked| {
        let body: Value = serde_json::from_str(&asked.body).unwrap_or_default();
        if asked.path.starts_with("/accounts") {
            let account = |id: usize| json!({ "id": id, "updated_at": "2026-03-01T08:00:00Z" });
            let accounts: Vec<Value> = (0..5).map(account).collect();
            return (200, json!({ "accounts": accounts }).to_string());
        }
        match asked.method.as_str() {
            "POST" | "PUT" if body["country"].is_null() && !is_lenient.load(Ordering::Relaxed) => {
                (422, json!({ "error": "<b>country</b> is missing" }).to_string())
            }
            "POST" => (201, json!({ "id": "7" }).to_string()),
            _ => (200, "{}".to_owned()),
        }
    })
}

fn config(till: &str, service: &str) -> String {
    format!(
        r#"
[page]
time_zone = "UTC"

[[bridge]]
name = "till"
url = "{till}"
poll = "20ms"
[[bridge.table]]
table = "products"
collection = "products"
mode = "both"

[[source]]
name = "crm"
allow = ["127.0.0.1"]
collection = "accounts"
[source.request]
url = "{service}/accounts"
items = ".accounts[]"
id = ".id"
updated_at = ".updated_at"
page = {{ kind = "cursor", next = ".next", param = "cursor" }}

[[sink]]
name = "erp"
kind = "http"
allow = ["127.0.0.1"]
retry = {{ first = "10ms", max_delay = "10ms", attempts = 1 }}
collection = "orders"
as = "order"
translate = "{{ ref: .order.ref, country: .order.country }}"
[sink.create]
method = "POST"
url = "{service}/orders"
remote_id = ".id"
lookup = "{service}/orders?ref={{ref}}"
lookup_id = ".items[0].id"
[sink.update]
method = "PUT"
url = "{service}/orders/{{remote_id}}"
[sink.delete]
method = "DELETE"
url = "{service}/orders/{{remote_id}}"
"#
    )
}

#[test]
fn each_button_of_a_bridge_a_source_and_a_sink_does_what_it_says() {
    if !is_there() {
        return;
    }
    let scene = Connected::new();
    let browser = Browser::start(Wanted::default());
    let link = scene.link();
    let at = |path: &str| browser.go(&format!("{}{path}", base(&link)));
    browser.go(&link);
    browser.press("nav a[href='/jobs']");
    browser.shows("1 set aside");
    of_a_sink(&scene, &browser);
    at("/jobs");
    of_a_bridge(&scene, &browser);
    at("/jobs");
    of_a_source(&browser);
    let complaints = browser.complaints();
    assert!(complaints.is_empty(), "the browser complains: {complaints:#?}");
}

#[test]
fn what_is_wrong_with_a_connector_is_found_from_everywhere_and_reads_well() {
    if !is_there() {
        return;
    }
    let scene = Connected::new();
    scene.office.run(["sink", "pause", "erp"]).ok();
    for wanted in [
        Wanted::default(),
        Wanted { width: 320, ..Wanted::default() },
        Wanted { dark: true, ..Wanted::default() },
    ] {
        let browser = Browser::start(wanted);
        let link = scene.link();
        browser.go(&link);
        browser.shows("to look at");
        browser.press("main a[href='/why#findings']");
        browser.press("a[href='/jobs/sink/erp']");
        browser.shows("<b>country</b> is missing");
        for path in VIEWS {
            browser.go(&format!("{}{path}", base(&link)));
            looks_well(&browser, &format!("{path} ({})", wanted.width));
        }
    }
}

fn of_a_sink(scene: &Connected, browser: &Browser) {
    browser.press("a[href='/jobs/sink/erp#aside']");
    browser.shows("<b>country</b> is missing");
    browser.press("form[action='/jobs/sink/erp/dry-run'] button");
    browser.shows("0 would be sent");
    browser.press(".crumbs a[href='/jobs/sink/erp']");
    scene.is_lenient.store(true, Ordering::Relaxed);
    browser.press("#connector td form[action='/jobs/sink/erp/requeue'] button");
    browser.shows("1 is tried again");
    browser.shows("Nothing set aside");
    browser.press("form[action='/jobs/sink/erp/run'] button");
    browser.shows("erp: the run is accepted");
    browser.press("form[action='/jobs/sink/erp/pause'] button");
    browser.shows("erp is paused until");
    browser.press("form[action='/jobs/sink/erp/resume'] button");
    browser.shows("erp is running again");
    browser.shows("branchline sink errors erp");
}

fn of_a_bridge(scene: &Connected, browser: &Browser) {
    browser.press("h2 a[href='/jobs/bridge/till']");
    browser.shows("products");
    browser.press("form[action='/jobs/bridge/till/compare'] button");
    browser.shows("0 differ");
    browser.press(".crumbs a");
    browser.press("form[action='/jobs/bridge/till/plan'] button");
    browser.shows("would be run in the database");
    browser.press(".crumbs a");
    // The till's CHECK does not allow it.
    scene.office.run(["patch", "products", "tea", r#"{"qty": -1}"#]).ok();
    browser.shows("CHECK");
    browser.shows("Try all again");
    eventually("the record is linked", || {
        browser.count("#connector td a[href='/record/products/tea']") == 1
    });
    browser.press("form[action='/jobs/bridge/till/requeue'] button");
    browser.shows("1 is tried again");
    scene.office.run(["patch", "products", "tea", r#"{"qty": 3}"#]).ok();
    let qty = || scene.till.rows("SELECT qty FROM products WHERE sku = 'tea'");
    eventually("the row is written", || qty() == ["3"]);
    browser.shows("Nothing set aside");
}

fn of_a_source(browser: &Browser) {
    browser.press("h2 a[href='/jobs/source/crm']");
    browser.press("form[action='/jobs/source/crm/dry-run'] button");
    browser.shows("crm: the run is accepted");
    browser.press("form[action='/jobs/source/crm/run'] button");
    browser.shows("completed");
    browser.press("dl a[href='/records/accounts']");
    browser.shows("5 in all");
    browser.press("nav a[href='/jobs']");
    browser.shows("source crm");
    browser.press("td a[href='/jobs/source/crm']");
    browser.shows("branchline source history crm");
}
