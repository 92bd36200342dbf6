//! Pushes.

use std::collections::BTreeMap;
use std::time::Duration;

use branchline_tests::disk::Random;
use branchline_tests::{Office, client, eventually};
use serde_json::{Value, json};

use super::erp::{self, Erp, Knows};
use crate::PROGRAM;

/// How often the node is killed.
const KILLS: u64 = 10;
/// Orders that come between two kills; half of those that were there before change, and a quarter of those before that go.
const ORDERS: u64 = 16;
/// Greatest time from the start of the node to its kill.
const MOMENT_MS_MAX: u64 = 500;
/// Most requests that are answered before one is not.
const ANSWERED_MAX: u64 = 12;

#[test]
fn a_killed_node_doubles_and_loses_nothing_at_a_service_that_knows_keys() {
    let repeated = kill_while_it_pushes(Knows::Keys, 21);
    assert!(repeated > 0, "no create was sent under its key once more");
}

#[test]
fn a_killed_node_doubles_and_loses_nothing_at_a_service_that_can_be_asked() {
    let repeated = kill_while_it_pushes(Knows::Lookup, 22);
    assert!(repeated > 0, "no order was found by its reference");
}

/// Returns how many creates were repeated or found.
fn kill_while_it_pushes(knows: Knows, seed: u64) -> u64 {
    let folder = tempfile::tempdir().unwrap();
    let erp = Erp::start(knows);
    let mut head = Office::init(PROGRAM, folder.path(), "head", true);
    std::fs::write(head.data.join("branchline.toml"), erp.config()).unwrap();
    let mut random = Random(seed);
    for round in 0..KILLS {
        head.start();
        std::thread::scope(|scope| {
            let office = &head;
            let work = scope.spawn(move || work(office, round));
            match round % 2 {
                // Between a request that was carried out and its answer, which nobody hears any more.
                0 => erp.hold_behind(random.below(ANSWERED_MAX)),
                _ => std::thread::sleep(Duration::from_millis(random.below(MOMENT_MS_MAX))),
            }
            head.signal("KILL");
            work.join().unwrap();
        });
        head.ended();
        erp.release();
    }
    head.start();
    assert!(work(&head, KILLS), "the node is there to the end");
    let mut lack = (Vec::new(), Vec::new());
    eventually("the service has each order once, as it is", || {
        lack = (expected(&head), erp.orders());
        lack.0 == lack.1
    });
    head.run(["sink", "run", "erp", "--full", "--wait"]).ok();
    assert_eq!(erp.orders(), expected(&head));
    assert_confirmed(&head);
    let (repeated, deleted) = erp.counts();
    println!("{KILLS} kills, {repeated} creates repeated or found, {deleted} orders deleted");
    assert!(deleted > 0);
    repeated
}

/// Orders come, change and go while the node is there; returns whether it was to the end.
fn work(head: &Office, round: u64) -> bool {
    let (address, token) = head.api();
    let client = client();
    let edit = |edits: Value| {
        let request = client.post(format!("http://{address}/v1/transactions")).bearer_auth(&token);
        let answer = request.json(&json!({ "edits": edits })).send();
        // It may have been killed before it could say anything else.
        answer.is_ok_and(|answer| answer.status().is_success())
    };
    let merge = |collection: &str, id: String, fields: Value| json!({"op": "merge", "collection": collection, "id": id, "fields": fields});
    for number in 0..ORDERS {
        let order = format!("{round}-{number}");
        let fields = json!({ "ref": format!("A-{order}") });
        let billing = json!({ "order_id": order, "country": "ES" });
        let mut edits = vec![
            merge("orders", order.clone(), fields),
            merge("billing", format!("b-{order}"), billing),
        ];
        if number.is_multiple_of(2) && round > 0 {
            let order = format!("{}-{number}", round - 1);
            let billing = json!({ "order_id": order, "country": format!("{round}") });
            edits.push(merge("billing", format!("b-{order}"), billing));
        }
        if !edit(Value::Array(edits)) {
            return false;
        }
        if number.is_multiple_of(4) && round > 1 {
            let order = format!("{}-{number}", round - 2);
            let request = client
                .delete(format!("http://{address}/v1/records/orders/{order}"))
                .bearer_auth(&token);
            // It may not have come to be.
            if request.send().is_err() {
                return false;
            }
        }
    }
    true
}

fn fields_of(head: &Office, collection: &str) -> BTreeMap<String, Value> {
    let page = head.get(&format!("/v1/records/{collection}?limit=1000"));
    let records = page["records"].as_array().unwrap_or_else(|| panic!("{page}"));
    assert!(records.len() < 1_000);
    let record =
        |record: &Value| (record["id"].as_str().unwrap().to_owned(), record["fields"].clone());
    records.iter().map(record).collect()
}

/// What the service should have, sorted.
fn expected(head: &Office) -> Vec<String> {
    let billing = fields_of(head, "billing");
    let object = |(id, order): (String, Value)| {
        let country = &billing[&format!("b-{id}")]["country"];
        erp::order(&json!({ "country": country, "ref": order["ref"] }))
    };
    let mut objects: Vec<_> = fields_of(head, "orders").into_iter().map(object).collect();
    objects.sort();
    objects
}

/// Every group is synced, and of those that are gone it is known that the service has confirmed it.
fn assert_confirmed(head: &Office) {
    let orders = fields_of(head, "orders");
    let groups = head.get("/v1/sinks/erp/groups?limit=1000");
    let groups = groups["groups"].as_array().unwrap();
    for group in groups {
        assert_eq!(group["state"], "synced", "{group}");
    }
    assert_eq!(groups.len(), orders.len());
    let mut gone = 0;
    for (id, known) in fields_of(head, "sink_erp") {
        if !orders.contains_key(&id) {
            // One that was deleted before it had come to be at the service is not deleted there.
            gone += u32::from(known["deleted"] == json!(true));
            assert_eq!(
                (&known["pending"], &known["remote_id"]),
                (&json!(null), &json!(null)),
                "{id}: {known}"
            );
        }
    }
    assert!(gone > 0);
}
