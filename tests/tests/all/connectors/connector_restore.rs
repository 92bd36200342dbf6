//! A site is rebuilt from a backup: its connectors wait for a person, and nothing is there twice.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use branchline_tests::weaviate::Server;
use branchline_tests::web::Web;
use branchline_tests::{Office, converge, eventually};
use serde_json::{Value, json};

use super::weaviate_commands::configured;
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

/// What a Weaviate has: objects by name, and edges as the names of their ends.
fn had(server: &Server) -> (BTreeMap<String, Value>, Vec<String>) {
    let there = server.there();
    let name = |properties: &Value| {
        let name = properties["name"].as_str().or_else(|| properties["ref"].as_str());
        name.unwrap().to_owned()
    };
    let by_id: BTreeMap<&str, String> =
        there.objects.iter().map(|((_, id), object)| (id.as_str(), name(object))).collect();
    let objects = there.objects.values().map(|object| (name(object), object.clone()));
    let of_edges = there.edges.iter().flat_map(|((_, from, _), targets)| {
        let end = |target: &String| by_id[target.rsplit('/').next().unwrap()].clone();
        targets
            .iter()
            .map(|target| format!("{} to {}", by_id[from.as_str()], end(target)))
            .collect::<Vec<_>>()
    });
    let mut edges: Vec<String> = of_edges.collect();
    edges.sort();
    (objects.collect(), edges)
}

#[test]
fn after_a_restore_a_sink_to_weaviate_waits_and_then_makes_the_server_as_the_records_are() {
    let folder = tempfile::tempdir().unwrap();
    let backup = folder.path().join("head.backup");
    let backup = backup.to_str().unwrap();
    let (mut head, north) = Office::pair(PROGRAM, folder.path());
    let server = Server::start();
    configured(&head, &server);
    let file = head.data.join("branchline.toml");
    let config = std::fs::read_to_string(&file).unwrap();
    let customer = |id: &str, name: &str| {
        head.run([
            "put",
            "customers",
            id,
            &json!({ "name": name, "segment": "retail" }).to_string(),
        ])
        .ok();
    };
    let order = |id: &str, of: &str| {
        let fields = json!({ "ref": id, "placed_at": "2026-05-01T00:00:00Z", "total": "1.50", "customer_id": of });
        head.run(["put", "orders", id, &fields.to_string()]).ok();
    };
    head.run(["reload"]).ok();
    for (id, name) in [("c1", "One"), ("c2", "Two")] {
        customer(id, name);
    }
    order("A-1", "c1");
    order("A-2", "c2");
    head.run(["sink", "run", "search", "--wait"]).ok();
    assert_eq!(had(&server).1, ["A-1 to One", "A-2 to Two"]);
    head.run(["backup", "create", backup]).ok();

    // What the backup does not know, and the server has: a change, a deletion, and new ones.
    customer("c1", "Uno");
    customer("c3", "Three");
    order("A-2", "c3");
    order("A-3", "c1");
    head.run(["delete", "customers", "c2"]).ok();
    head.run(["sink", "run", "search", "--wait"]).ok();
    let before = had(&server);
    assert_eq!(before.1, ["A-1 to Uno", "A-2 to Three", "A-3 to Uno"]);
    assert_eq!(before.0.len(), 5);
    converge(&[&head, &north]);

    head.kill();
    std::fs::remove_dir_all(&head.data).unwrap();
    head.run(["backup", "restore", backup]).ok();
    std::fs::write(&file, config).unwrap();
    head.start();
    // Meanwhile another office goes on.
    north.run(["delete", "orders", "A-3"]).ok();
    converge(&[&head, &north]);
    let is_paused = |head: &Office| head.get("/v1/sinks/search")["state"] == "paused";
    eventually("the sink rests", || is_paused(&head));
    let status = head.get("/v1/sinks/search");
    let reason = status["reason"].as_str().unwrap();
    assert!(reason.contains("restored from a backup of 20"), "{reason}");
    assert!(reason.contains("branchline sink resume search"), "{reason}");
    assert!(head.run(["check"]).stdout.contains("sink search"));
    // A restart is no person.
    assert_eq!(head.stop(), 0);
    head.start();
    eventually("the sink rests still", || is_paused(&head));
    assert_eq!(had(&server), before);

    head.run(["sink", "resume", "search"]).ok();
    head.run(["sink", "run", "search", "--wait"]).ok();
    let now = had(&server);
    assert_eq!(now.1, ["A-1 to Uno", "A-2 to Three"], "no edge is there twice");
    assert_eq!(now.0.keys().collect::<Vec<_>>(), ["A-1", "A-2", "Three", "Uno"]);
    let status = head.get("/v1/sinks/search");
    assert_eq!((&status["dirty"], &status["set_aside"]), (&json!(0), &json!(0)), "{status}");
}
