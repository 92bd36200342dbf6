//! Connectors of a space that only some offices are in: what they read, write and remember stays there.

use std::collections::BTreeMap;
use std::fs;
use std::sync::{Arc, Mutex};

use branchline_tests::web::Web;
use branchline_tests::{Office, eventually};
use serde_json::{Value, json};

use crate::PROGRAM;

type Orders = Arc<Mutex<BTreeMap<String, Value>>>;

fn config(web: &Web) -> String {
    let url = web.url();
    format!(
        "[[source]]\nname = \"crm\"\nspace = \"tills\"\ncollection = \"accounts\"\nallow = [\"127.0.0.1\"]\n\
         [source.request]\nurl = \"{url}/accounts\"\nitems = \".[]\"\nid = \".id\"\n\
         [[sink]]\nname = \"erp\"\nkind = \"http\"\nspace = \"tills\"\ncollection = \"orders\"\nas = \"order\"\n\
         related = [{{ collection = \"accounts\", as = \"account\", from = \"account_id\" }}]\n\
         translate = '{{ ref: .order.ref, account: .account.status }}'\nallow = [\"127.0.0.1\"]\n\
         [sink.create]\nmethod = \"PUT\"\nurl = \"{url}/orders/{{ref}}\"\n\
         [sink.update]\nmethod = \"PUT\"\nurl = \"{url}/orders/{{remote_id}}\"\n"
    )
}

#[test]
fn a_source_and_a_sink_of_a_space_stay_in_it_and_another_office_of_it_takes_them_over() {
    let folder = tempfile::tempdir().unwrap();
    let (head, north) = Office::pair(PROGRAM, folder.path());
    let orders = Orders::default();
    let kept = Arc::clone(&orders);
    let web = Web::start(move |asked| match asked.path.strip_prefix("/orders/") {
        Some(id) => {
            kept.lock().unwrap().insert(id.to_owned(), serde_json::from_str(&asked.body).unwrap());
            (200, "{}".to_owned())
        }
        None => (200, json!([{ "id": 1 }]).to_string()),
    });
    head.run(["space", "create", "tills"]).ok();
    fs::write(head.data.join("branchline.toml"), config(&web)).unwrap();
    head.run(["reload"]).ok();
    // The same ids in the main space are other records.
    head.run(["put", "orders", "1", r#"{"ref": "main", "account_id": "1"}"#]).ok();
    let order = |office: &Office, id: &str| {
        let fields = json!({ "ref": id, "account_id": "1" }).to_string();
        office.run(["--space", "tills", "put", "orders", id, &fields]).ok();
    };
    order(&head, "A-1");
    head.run(["source", "run", "crm", "--wait"]).ok();
    head.run(["sink", "run", "erp", "--wait"]).ok();
    let is = |id: &str| orders.lock().unwrap().get(id).cloned();
    assert_eq!(is("A-1"), Some(json!({ "ref": "A-1", "account": "active" })));
    assert_eq!(orders.lock().unwrap().len(), 1, "what is in the main space is not sent");
    for collection in ["accounts", "sync_history", "sink_erp", "connectors"] {
        let there = |space: &[&str]| {
            let said = head.run([space, &["count", collection]].concat()).ok();
            said.trim().parse::<u64>().unwrap()
        };
        assert!(there(&["--space", "tills"]) > 0, "{collection}");
        assert_eq!(there(&[]), 0, "{collection}");
    }
    // Who is not in the space cannot run them.
    fs::write(north.data.join("branchline.toml"), config(&web)).unwrap();
    let refused = north.run(["reload"]);
    assert!(refused.code != 0 && refused.stderr.contains("tills"), "{refused:?}");
    head.run(["space", "grant", "tills", "north"]).ok();
    eventually("north is in the space", || {
        north.run(["--space", "tills", "get", "orders", "A-1"]).code == 0
            && north.run(["--space", "tills", "get", "sync_history", "crm-1"]).code == 0
    });
    north.run(["reload"]).ok();
    eventually("they are head's", || {
        north.get("/v1/sinks/erp")["state"] == "superseded"
            && north.get("/v1/sources/crm")["state"] == "paused"
    });
    north.run(["sink", "takeover", "erp"]).ok();
    north.run(["source", "takeover", "crm"]).ok();
    order(&north, "A-2");
    eventually("north pushes", || is("A-2").is_some());
    north.run(["source", "run", "crm", "--wait"]).ok();
    assert_eq!(north.run(["--space", "tills", "get", "sync_history", "crm-2"]).code, 0);
    eventually("head has stopped", || head.get("/v1/sinks/erp")["state"] == "superseded");
    assert_eq!(orders.lock().unwrap().len(), 2);
}
