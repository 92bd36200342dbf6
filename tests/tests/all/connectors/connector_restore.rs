//! A site is rebuilt from a backup: its connectors wait for a person, and nothing is there twice.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use branchline_tests::web::Web;
use branchline_tests::{Office, converge, eventually};
use serde_json::{Value, json};

use crate::PROGRAM;

type Orders = Arc<Mutex<BTreeMap<String, Value>>>;

/// A service that knows no keys and cannot be asked: what is created twice is there twice.
fn erp() -> (Web, Orders) {
    let orders = Orders::default();
    let kept = Arc::clone(&orders);
    let web = Web::start(move |asked| {
        let mut kept = kept.lock().unwrap();
        let body: Value = serde_json::from_str(&asked.body).unwrap_or_default();
        let id = match asked.path.strip_prefix("/orders/") {
            Some(id) => id.to_owned(),
            None => (kept.len() + 1).to_string(),
        };
        kept.insert(id.clone(), body);
        (200, json!({ "id": id }).to_string())
    });
    (web, orders)
}

fn sink(name: &str, erp: &Web) -> String {
    let url = erp.url();
    format!(
        "[[sink]]\nname = \"{name}\"\nkind = \"http\"\ncollection = \"orders\"\nas = \"order\"\n\
         translate = '{{ ref: .order.ref, state: .order.state }}'\nallow = [\"127.0.0.1\"]\n\
         [sink.create]\nmethod = \"POST\"\nurl = \"{url}/orders\"\nremote_id = \".id\"\n\
         [sink.update]\nmethod = \"PUT\"\nurl = \"{url}/orders/{{remote_id}}\"\n"
    )
}

fn source(crm: &Web) -> String {
    format!(
        "[[source]]\nname = \"crm\"\ncollection = \"accounts\"\nallow = [\"127.0.0.1\"]\n[source.request]\n\
         url = \"{}/accounts\"\nitems = \".[]\"\nid = \".id\"\n",
        crm.url()
    )
}

fn put(office: &Office, id: &str, state: &str) {
    office.run(["put", "orders", id, &json!({ "ref": id, "state": state }).to_string()]).ok();
}

/// The connectors of head office.
const CONNECTORS: [(&str, &str); 3] = [("sink", "erp"), ("sink", "shop"), ("source", "crm")];

#[track_caller]
fn rest(head: &Office) {
    for (kind, name) in CONNECTORS {
        let path = format!("/v1/{kind}s/{name}");
        eventually(&format!("{kind} {name} rests"), || head.get(&path)["state"] == "paused");
    }
}

#[test]
fn after_a_restore_sinks_and_sources_wait_and_nothing_is_doubled() {
    let folder = tempfile::tempdir().unwrap();
    let backup = folder.path().join("head.backup");
    let backup = backup.to_str().unwrap();
    let (mut head, north) = Office::pair(PROGRAM, folder.path());
    let ((erp, orders), (shop, sold)) = (self::erp(), self::erp());
    let crm = Web::start(|_| (200, json!([{ "id": 1 }]).to_string()));
    let file = head.data.join("branchline.toml");
    std::fs::write(&file, sink("erp", &erp) + &source(&crm)).unwrap();
    head.run(["reload"]).ok();
    put(&head, "1", "new");
    put(&head, "2", "new");
    head.run(["source", "run", "crm", "--wait"]).ok();
    head.run(["sink", "run", "erp", "--wait"]).ok();
    assert_eq!(orders.lock().unwrap().len(), 2);
    head.run(["backup", "create", backup]).ok();

    // What the backup does not know: a change, an order, a run, and another sink.
    let both = std::fs::read_to_string(&file).unwrap() + &sink("shop", &shop);
    std::fs::write(&file, &both).unwrap();
    head.run(["reload"]).ok();
    put(&head, "1", "sent");
    put(&head, "3", "new");
    head.run(["source", "run", "crm", "--full", "--wait"]).ok();
    for (name, orders) in [("erp", &orders), ("shop", &sold)] {
        head.run(["sink", "run", name, "--wait"]).ok();
        assert_eq!(orders.lock().unwrap().len(), 3, "{name}");
    }
    converge(&[&head, &north]);
    let before = (orders.lock().unwrap().clone(), sold.lock().unwrap().clone());
    // Ids are given in the order in which creates come, which may be any.
    assert!(before.0.values().any(|order| *order == json!({ "ref": "1", "state": "sent" })));

    head.kill();
    std::fs::remove_dir_all(&head.data).unwrap();
    head.run(["backup", "restore", backup]).ok();
    std::fs::write(&file, &both).unwrap();
    head.start();
    put(&north, "4", "new");
    converge(&[&head, &north]);
    rest(&head);
    for (kind, name) in CONNECTORS {
        let status = head.get(&format!("/v1/{kind}s/{name}"));
        assert_eq!(status["state"], "paused", "{status}");
        let reason = status["reason"].as_str().unwrap();
        let next = format!("branchline {kind} resume {name}");
        assert!(
            reason.contains("restored from a backup of 20") && reason.contains(&next),
            "{reason}"
        );
        let checked = head.run(["check"]);
        assert_ne!(checked.code, 0);
        let found = format!("{kind} {name}");
        assert!(checked.stdout.contains(&found), "{}", checked.stdout);
        let said = head.run(["status"]).ok();
        assert!(said.contains(&found) && said.contains("restored from a backup"), "{said}");
    }
    // A restart is no person.
    assert_eq!(head.stop(), 0);
    head.start();
    rest(&head);
    assert_eq!((orders.lock().unwrap().clone(), sold.lock().unwrap().clone()), before);

    for words in
        [["sink", "resume", "erp"], ["sink", "resume", "shop"], ["source", "resume", "crm"]]
    {
        head.run(words).ok();
    }
    for (name, orders, before) in [("erp", &orders, &before.0), ("shop", &sold, &before.1)] {
        head.run(["sink", "run", name, "--wait"]).ok();
        let orders = orders.lock().unwrap();
        assert_eq!(orders.len(), 4, "{name}: {orders:?}");
        assert!(before.iter().all(|(id, order)| orders[id] == *order), "{name}: {orders:?}");
        assert_eq!(orders["4"], json!({ "ref": "4", "state": "new" }));
    }
    head.run(["source", "run", "crm", "--wait"]).ok();
    let runs = head.get("/v1/sources/crm/history");
    let numbers = runs["runs"].as_array().unwrap().iter().map(|run| run["sync_version"].as_u64());
    assert_eq!(numbers.collect::<Vec<_>>(), [Some(3), Some(2), Some(1)]);
    assert_eq!(head.run(["conflicts"]).ok().trim(), "");
}
