//! What the connectors add.

use branchline_tests::till::Till;
use branchline_tests::web::Web;
use branchline_tests::{Office, eventually};
use serde_json::{Value, json};

use super::Asker;

/// A table of a till's, and back out.
pub(super) fn bridge(asker: &mut Asker, head: &Office) {
    asker.get(head, "/v1/bridges");
    let sql = "CREATE TABLE customers (id INTEGER PRIMARY KEY, name TEXT); INSERT INTO customers VALUES (1, 'Ann')";
    let till = Till::new(&head.data.join("shop.db"), sql);
    let text = format!(
        "[[bridge]]\nname = \"till\"\nurl = \"{}\"\n[[bridge.table]]\ntable = \"customers\"\n\
         collection = \"customers\"\nmode = \"both\"\nrecord_id = \"{{site}}-{{id}}\"\n",
        till.url()
    );
    std::fs::write(head.data.join("branchline.toml"), text).unwrap();
    asker.ask(head, "POST", "/v1/reload", Value::Null);
    let path = "/v1/bridges/till";
    let plan = asker.get(head, &format!("{path}/plan"));
    assert_eq!(plan["refusals"], json!([]), "{plan}");
    asker.ask(head, "POST", &format!("{path}/install"), Value::Null);
    eventually("the bridge has loaded", || head.get(path)["state"] == "running");
    assert_eq!(asker.get(head, "/v1/bridges")["bridges"][0]["tables"][0]["state"], "running");
    asker.get(head, path);
    for (command, body) in [
        ("pause", Value::Null),
        ("resume", Value::Null),
        ("verify", json!({"table": "customers"})),
        ("requeue", json!({})),
        ("resync", json!({"from": "database"})),
    ] {
        asker.ask(head, "POST", &format!("{path}/{command}"), body);
    }
    asker.get(head, &format!("{path}/errors"));
    for (command, body, code) in [
        ("till/resync", json!({"from": "nowhere"}), "bad_parameter"),
        ("till/verify", json!({"table": "nothing"}), "not_found"),
        ("till/verify", json!({"tables": []}), "bad_json"),
        ("erp/pause", Value::Null, "not_found"),
    ] {
        asker.refused(head, "POST", &format!("/v1/bridges/{command}"), body, code);
    }
    asker.refused(head, "GET", "/v1/bridges/erp", Value::Null, "not_found");
    asker.ask(head, "POST", &format!("{path}/remove"), Value::Null);
}

/// A provider's accounts, and the jobs that pull them.
pub(super) fn source(asker: &mut Asker, head: &Office) {
    asker.get(head, "/v1/sources");
    let provider =
        Web::start(|_| (200, json!({"accounts": [{"id": 7}, {"name": "no id"}]}).to_string()));
    let text = format!(
        "[[source]]\nname = \"crm\"\ncollection = \"accounts\"\nallow = [\"127.0.0.1\"]\n[source.request]\n\
         url = \"{}\"\nitems = \".accounts[]\"\nid = \".id\"\n",
        provider.url()
    );
    std::fs::write(head.data.join("branchline.toml"), text).unwrap();
    asker.ask(head, "POST", "/v1/reload", Value::Null);
    let path = "/v1/sources/crm";
    assert_eq!(asker.get(head, &format!("{path}/plan"))["requests"][0]["what"], "objects");
    let taken = asker.ask(head, "POST", &format!("{path}/run"), json!({"full": true}));
    let job = format!("/v1/jobs/{}", taken["job"]);
    eventually("the run has ended", || head.get(&job)["state"] == "completed");
    assert_eq!(asker.get(head, &job)["result"]["counts"]["updated"], 1);
    assert_eq!(asker.get(head, &format!("{path}/history"))["runs"][0]["status"], "completed");
    assert_eq!(asker.get(head, &format!("{path}/errors"))["errors"][0]["run"], 1);
    assert_eq!(asker.get(head, path)["term"], 1);
    asker.ask(head, "POST", &format!("{path}/takeover"), Value::Null);
    asker.ask(head, "POST", &format!("{path}/pause"), Value::Null);
    let waits = asker.ask(head, "POST", &format!("{path}/run"), json!({}));
    let waits = format!("/v1/jobs/{}", waits["job"]);
    assert_eq!(
        asker.ask(head, "POST", &format!("{waits}/cancel"), Value::Null)["state"],
        "cancelled"
    );
    asker.ask(head, "POST", &format!("{path}/resume"), Value::Null);
    let jobs = asker.get(head, "/v1/jobs");
    let of_source = |job: &&Value| job["connector"] == "source crm";
    assert_eq!(jobs["jobs"].as_array().unwrap().iter().filter(of_source).count(), 2, "{jobs}");
    asker.get(head, "/v1/sources");
    for (method, path, body, code) in [
        ("POST", format!("{waits}/cancel"), Value::Null, "conflict"),
        ("POST", format!("{path}/resume"), Value::Null, "conflict"),
        ("POST", format!("{path}/run"), json!({"whole": true}), "bad_json"),
        ("GET", "/v1/jobs/99".to_owned(), Value::Null, "not_found"),
        ("GET", "/v1/jobs/first".to_owned(), Value::Null, "bad_parameter"),
        ("GET", "/v1/sources/erp".to_owned(), Value::Null, "not_found"),
        ("GET", "/v1/sources/erp/plan".to_owned(), Value::Null, "not_found"),
    ] {
        asker.refused(head, method, &path, body, code);
    }
}

/// Orders that are pushed to an ERP.
pub(super) fn sink(asker: &mut Asker, head: &Office) {
    asker.get(head, "/v1/sinks");
    let erp = Web::start(|asked| match asked.body.contains("A-2") {
        true => (422, json!({"error": "no"}).to_string()),
        false => (201, json!({"id": 7}).to_string()),
    });
    let text = format!(
        "[[sink]]\nname = \"erp\"\nkind = \"http\"\ncollection = \"erp_orders\"\nas = \"order\"\n\
         translate = '{{ ref: .order.ref }}'\nallow = [\"127.0.0.1\"]\nretry = {{ attempts = 1 }}\n\
         [sink.create]\nmethod = \"POST\"\nurl = \"{0}/orders\"\nremote_id = \".id\"\n\
         [sink.read]\nurl = \"{0}/orders/{{remote_id}}\"\n",
        erp.url()
    );
    std::fs::write(head.data.join("branchline.toml"), text).unwrap();
    for (id, fields) in [("1", r#"{"ref": "A-1"}"#), ("2", r#"{"ref": "A-2"}"#)] {
        head.run(["put", "erp_orders", id, fields]).ok();
    }
    asker.ask(head, "POST", "/v1/reload", Value::Null);
    let path = "/v1/sinks/erp";
    eventually("one is there, and one set aside", || {
        let sink = head.get(path);
        sink["created"] == 1 && sink["set_aside"] == 1
    });
    assert_eq!(asker.get(head, path)["term"], 1);
    assert_eq!(asker.get(head, &format!("{path}/plan?items=3"))["groups"], 2);
    let groups = asker.get(head, &format!("{path}/groups?which=all&limit=1"));
    assert_eq!((&groups["groups"][0]["remote_id"], &groups["next"]), (&json!("7"), &json!("1")));
    assert_eq!(asker.get(head, &format!("{path}/errors"))["groups"][0]["attempts"], 1);
    asker.ask(head, "POST", &format!("{path}/requeue"), json!({"ids": ["2"]}));
    let taken = asker.ask(head, "POST", &format!("{path}/run"), json!({"full": true}));
    let job = format!("/v1/jobs/{}", taken["job"]);
    eventually("the run has ended", || head.get(&job)["state"] == "completed");
    asker.get(head, &format!("{path}/history"));
    let taken = asker.ask(head, "POST", &format!("{path}/verify"), json!({"repair": false}));
    let job = format!("/v1/jobs/{}", taken["job"]);
    eventually("all is read back", || head.get(&job)["state"] == "completed");
    assert_eq!(asker.get(head, &job)["result"]["differ"], 1);
    for command in ["takeover", "pause", "resume"] {
        asker.ask(head, "POST", &format!("{path}/{command}"), Value::Null);
    }
    asker.get(head, "/v1/sinks");
    for (method, path, body, code) in [
        ("GET", format!("{path}/groups?which=some"), Value::Null, "bad_parameter"),
        ("GET", format!("{path}/plan?items=0"), Value::Null, "bad_parameter"),
        ("POST", format!("{path}/requeue"), json!({"since": "today"}), "bad_parameter"),
        ("POST", format!("{path}/run"), json!({"whole": true}), "bad_json"),
        ("POST", format!("{path}/verify"), json!({"mend": true}), "bad_json"),
        ("GET", "/v1/sinks/crm".to_owned(), Value::Null, "not_found"),
    ] {
        asker.refused(head, method, &path, body, code);
    }
}
