//! A sink driven by commands alone, as an office's IT person would, by the steps of its page.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use branchline_tests::web::Web;
use branchline_tests::{Office, eventually};
use serde_json::{Value, json};

use crate::PROGRAM;

const PAGE: &str = include_str!("../../../../node/connect/SINKS.md");

type Orders = Arc<Mutex<BTreeMap<String, Value>>>;

/// An ERP that keeps orders, and refuses those without a country.
fn erp() -> (Web, Orders) {
    let orders = Orders::default();
    let kept = Arc::clone(&orders);
    let web = Web::start(move |asked| {
        assert_eq!(asked.header("authorization"), Some("Bearer s3cret"));
        let mut kept = kept.lock().unwrap();
        let body: Value = serde_json::from_str(&asked.body).unwrap_or_default();
        let id = asked.path.strip_prefix("/orders/").map(str::to_owned);
        match (asked.method.as_str(), id) {
            ("POST" | "PUT", _) if body["country"].is_null() => {
                (422, json!({"error": "country is missing"}).to_string())
            }
            ("POST", None) => {
                let id = (kept.len() + 1).to_string();
                kept.insert(id.clone(), body);
                (201, json!({"id": id}).to_string())
            }
            ("PUT", Some(id)) => {
                kept.insert(id, body);
                (200, "{}".to_owned())
            }
            ("DELETE", Some(id)) => {
                kept.remove(&id);
                (200, "{}".to_owned())
            }
            _ => (200, json!({"items": []}).to_string()),
        }
    });
    (web, orders)
}

/// The first configuration of the page, for an ERP on this machine.
fn configured(office: &Office, erp: &Web) {
    let begin = PAGE.find("[[sink]]").unwrap();
    let end = begin + PAGE[begin..].find("```").unwrap();
    let text = PAGE[begin..end].replace("https://erp.example.com", &erp.url());
    let text = text.replacen("collection = ", "allow = [\"127.0.0.1\"]\nretry = { first = \"10ms\", max_delay = \"10ms\", attempts = 2 }\ncollection = ", 1);
    let token = office.data.join("erp.token");
    std::fs::write(&token, "s3cret\n").unwrap();
    let text = text.replace("/etc/branchline/erp.token", token.to_str().unwrap());
    std::fs::write(office.data.join("branchline.toml"), text).unwrap();
}

fn json_of(office: &Office, words: &[&str]) -> Value {
    let words: Vec<&str> = ["--json"].iter().chain(words).copied().collect();
    serde_json::from_str(&office.run(words).ok()).unwrap()
}

#[test]
fn the_first_steps_of_the_page_work_as_they_stand() {
    let folder = tempfile::tempdir().unwrap();
    let mut office = Office::init(PROGRAM, folder.path(), "head", true);
    office.start();
    let none = office.run(["sink", "list"]);
    assert!(none.stderr.contains("[[sink]]"), "{}", none.stderr);
    let (erp, orders) = erp();
    configured(&office, &erp);
    office.run(["put", "orders", "1", r#"{"ref": "A-1"}"#]).ok();
    office.run(["put", "billing", "b1", r#"{"order_id": "1", "country": "ES"}"#]).ok();
    office.run(["put", "orders", "2", r#"{"ref": "A-2"}"#]).ok();
    office.run(["reload"]).ok();
    eventually("the order is there", || orders.lock().unwrap().len() == 1);
    let begin = PAGE.find("```sh\nbranchline reload").unwrap() + "```sh\n".len();
    let end = begin + PAGE[begin..].find("```").unwrap();
    eventually("the other is set aside", || {
        json_of(&office, &["sink", "status", "erp"])["set_aside"] == 1
            && json_of(&office, &["sink", "groups", "erp", "--failed"])["groups"][0]["attempts"]
                == 2
    });
    let mut said = Vec::new();
    for line in PAGE[begin..end].lines() {
        let words = line.split('#').next().unwrap().split_whitespace().skip(1);
        said.push(office.run(words).ok());
    }
    let [_, status, groups, plan, history] = &said[..] else { panic!("{said:?}") };
    assert!(
        status.contains("sink erp (orders to http)") && status.contains("1 set aside"),
        "{status}"
    );
    assert!(groups.contains("synced") && groups.contains("set aside"), "{groups}");
    assert!(plan.contains("would push 0 of 2 items"), "{plan}");
    assert!(history.contains("changes"), "{history}");
    let errors = office.run(["sink", "errors", "erp"]).ok();
    assert!(
        errors.contains("country is missing") && errors.contains("refused 2 times"),
        "{errors}"
    );
    let checked = office.run(["check"]);
    assert!(checked.stdout.contains("sink erp"), "{}", checked.stdout);
    office.run(["put", "billing", "b2", r#"{"order_id": "2", "country": "PT"}"#]).ok();
    eventually("the other is there too", || orders.lock().unwrap().len() == 2);
    let job = office.run(["sink", "run", "erp", "--full"]).ok();
    office.run(["jobs", "show", job.trim(), "--wait"]).ok();
    assert_eq!(json_of(&office, &["sink", "status", "erp"])["set_aside"], 0);
    let dry = office.run(["sink", "run", "erp", "--dry-run"]).ok();
    assert!(dry.contains("would push 0 of 2 items"), "{dry}");
    office.run(["sink", "pause", "erp"]).ok();
    eventually("it rests", || json_of(&office, &["sink", "status", "erp"])["state"] == "paused");
    office.run(["sink", "resume", "erp"]).ok();
    let dirty = office.run(["sink", "groups", "erp", "--dirty"]);
    assert!(dirty.code == 0 && !dirty.stdout.contains("synced"), "{dirty:?}");
    let times = ["--since", "2020-01-01T00:00:00Z", "--until", "2021-01-01T00:00:00Z"];
    let requeued = office.run([&["sink", "requeue", "erp"], &times[..]].concat()).ok();
    assert!(requeued.contains("0 items"), "{requeued}");
    let requeued = office.run(["sink", "requeue", "erp", "--all"]).ok();
    assert!(requeued.contains("0 items"), "{requeued}");
    let unknown = office.run(["sink", "requeue", "erp", "7"]);
    assert!(unknown.code != 0 && unknown.stderr.contains("sink errors erp"), "{}", unknown.stderr);
}

#[test]
fn mistakes_are_named_and_change_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let mut office = Office::init(PROGRAM, folder.path(), "head", true);
    let (erp, orders) = erp();
    configured(&office, &erp);
    office.start();
    let file = office.data.join("branchline.toml");
    let text = std::fs::read_to_string(&file).unwrap();
    for (from, to, part) in [
        ("remote_id = ", "remoteid = ", "remoteid"),
        ("{ ref: .order.ref", "{ ref: .order.ref | now", "translate"),
        ("by = \"order_id\" },", "of = \"order_id\" },", "of"),
    ] {
        std::fs::write(&file, text.replacen(from, to, 1)).unwrap();
        let refused = office.run(["reload"]);
        assert!(refused.code != 0 && refused.stderr.contains(part), "{}", refused.stderr);
        assert!(refused.stderr.contains("sink erp"), "{}", refused.stderr);
    }
    // The old configuration works on.
    office.run(["put", "billing", "b1", r#"{"order_id": "1", "country": "ES"}"#]).ok();
    office.run(["put", "orders", "1", r#"{"ref": "A-1"}"#]).ok();
    eventually("the order is there", || orders.lock().unwrap().len() == 1);
    let unknown = office.run(["sink", "run", "crm"]);
    assert!(unknown.code != 0 && unknown.stderr.contains("erp"), "{}", unknown.stderr);
}

#[test]
fn a_plan_needs_no_node_that_runs_and_knows_what_was_written_since() {
    let folder = tempfile::tempdir().unwrap();
    let mut office = Office::init(PROGRAM, folder.path(), "head", true);
    let (erp, orders) = erp();
    configured(&office, &erp);
    let put = |office: &Office, id: &str| {
        let billing = json!({ "order_id": id, "country": "ES" }).to_string();
        office.run(["put", "billing", &format!("b{id}"), &billing]).ok();
        office.run(["put", "orders", id, &json!({ "ref": format!("A-{id}") }).to_string()]).ok();
    };
    put(&office, "1");
    let plan = office.run(["sink", "plan", "erp"]).ok();
    assert!(plan.contains("create: POST"), "{plan}");
    assert!(plan.contains("would push 1 of 1 item: 1 to create"), "{plan}");
    assert!(plan.contains(r#""country":"ES""#), "{plan}");
    office.start();
    eventually("it is there", || orders.lock().unwrap().len() == 1);
    eventually("that is known", || json_of(&office, &["sink", "status", "erp"])["dirty"] == 0);
    assert_eq!(office.stop(), 0);
    put(&office, "2");
    let plan = office.run(["sink", "plan", "erp"]).ok();
    assert!(plan.contains("would push 1 of 2 items: 1 to create"), "{plan}");
    assert!(plan.contains("1 unchanged"), "{plan}");
    let files = std::fs::read_dir(office.data.join("connect")).unwrap();
    let names: Vec<_> = files.map(|file| file.unwrap().file_name()).collect();
    assert!(!names.iter().any(|name| name.to_string_lossy().contains("plan")), "{names:?}");
    assert_eq!(orders.lock().unwrap().len(), 1, "a plan sends nothing");
}
