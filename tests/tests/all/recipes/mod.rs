//! The page of recipes does what it says: each is run as it stands there, by a shell, against running nodes, databases
//! and servers.

mod page;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex};

use branchline_tests::weaviate::Server;
use branchline_tests::web::Web;
use branchline_tests::{Office, converge, eventually};
use serde_json::{Value, json};

use crate::PROGRAM;
use page::{Step, headings, placed, recipe};

/// Head and north, in a folder in which the page's commands are run.
struct Kitchen {
    folder: tempfile::TempDir,
    head: Office,
    north: Office,
}

impl Kitchen {
    /// Both run and are connected; what `environment` names is in that of their nodes.
    fn new(environment: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut head = Office::init(PROGRAM, folder.path(), "head", true);
        let mut north = Office::init(PROGRAM, folder.path(), "north", false);
        for office in [&mut head, &mut north] {
            let mut run = office.command(["run", "--listen", "/ip4/127.0.0.1/tcp/0", "--no-mdns"]);
            run.envs(environment.iter().copied());
            office.start_by(run);
        }
        north.join(&head);
        converge(&[&head, &north]);
        Self { folder, head, north }
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Does what a recipe says, and returns what its commands print. `servers`: what stands in the place of the servers
    /// that it names.
    #[track_caller]
    fn cook(&self, heading: &str, servers: &[(&str, String)]) -> String {
        let bin = self.path().join("bin");
        fs::create_dir_all(&bin).unwrap();
        let program = bin.join("branchline");
        if !program.exists() {
            std::os::unix::fs::symlink(PROGRAM, &program).unwrap();
        }
        let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap_or_default());
        let mut printed = String::new();
        for step in recipe(heading) {
            match step {
                Step::Configuration { site, toml } => {
                    let toml = placed(&toml, self.path(), servers);
                    // The servers are on this machine, which has to be said.
                    let toml = allowed(&toml, !servers.is_empty());
                    fs::write(self.path().join(site).join("branchline.toml"), toml).unwrap();
                }
                Step::Commands(script) => {
                    let script = placed(&script, self.path(), servers);
                    let ran = Command::new("bash")
                        .args(["-c", &format!("set -euo pipefail\n{script}")])
                        .current_dir(self.path())
                        .env("PATH", &path)
                        .output()
                        .expect("bash runs");
                    let output = String::from_utf8_lossy(&ran.stdout).into_owned();
                    let errors = String::from_utf8_lossy(&ran.stderr);
                    assert!(ran.status.success(), "{script}\n{output}\n{errors}");
                    printed.push_str(&output);
                }
            }
        }
        printed
    }
}

/// The same with this machine's addresses allowed to each source and sink.
fn allowed(toml: &str, is_remote: bool) -> String {
    if !is_remote {
        return toml.to_owned();
    }
    let allow = |text: String, section: &str| {
        text.replace(section, &format!("{section}\nallow = [\"127.0.0.1\"]"))
    };
    allow(allow(toml.to_owned(), "[[source]]"), "[[sink]]")
}

fn rows(folder: &Path, file: &str, sql: &str) -> String {
    let ran = Command::new("sqlite3").current_dir(folder).args([file, sql]).output().unwrap();
    String::from_utf8_lossy(&ran.stdout).trim().to_owned()
}

fn is_there(program: &str) -> bool {
    let found = Command::new(program).arg("--version").output().is_ok();
    if !found {
        eprintln!("NOT RUN: {program} is not installed");
    }
    found
}

#[test]
fn every_recipe_of_the_page_is_run() {
    assert_eq!(
        headings(),
        [
            "Branch sales to head office",
            "An account list every night",
            "Orders to an ERP",
            "Search in Weaviate",
            "An event log shared by offices",
        ]
    );
}

#[test]
fn sales_of_a_branch_come_into_the_database_of_head_office() {
    if !is_there("sqlite3") {
        return;
    }
    let kitchen = Kitchen::new(&[]);
    kitchen.cook("Branch sales to head office", &[]);
    eventually("the sale is in head office's table", || {
        rows(kitchen.path(), "office.db", "SELECT * FROM sales") == "north|1|tea|2.50"
    });
}

#[test]
fn accounts_of_a_provider_become_records_in_a_run_that_the_history_names() {
    let kitchen = Kitchen::new(&[("CRM_TOKEN", "s3cret-token")]);
    let crm = Web::start(|asked| {
        let account = |id: u32, segment: &str| json!({"id": id, "updated_at": "2026-01-02T03:04:05Z", "segment": segment, "limit": 12.5});
        let (status, answer) = match asked.path.contains("cursor=") {
            _ if asked.header("authorization") != Some("Bearer s3cret-token") => {
                (401, json!({"error": "who are you"}))
            }
            false => {
                (200, json!({"accounts": [account(1, "retail"), account(2, "food")], "next": "x"}))
            }
            true => (200, json!({"accounts": [account(3, "retail")], "next": null})),
        };
        (status, answer.to_string())
    });
    let printed =
        kitchen.cook("An account list every night", &[("https://crm.example.com", crm.url())]);
    assert!(printed.contains("completed"), "{printed}");
    converge(&[&kitchen.head, &kitchen.north]);
    assert_eq!(kitchen.north.count("accounts"), 3);
    let listed = kitchen.north.run(["--json", "list", "accounts", "--where", "segment = 'retail'"]);
    assert_eq!(listed.ok().lines().count(), 2);
}

#[test]
fn orders_of_a_branch_are_pushed_to_an_erp_with_what_belongs_to_them() {
    let kitchen = Kitchen::new(&[("ERP_TOKEN", "s3cret-token")]);
    let orders = Arc::new(Mutex::new(BTreeMap::<String, Value>::new()));
    let kept = Arc::clone(&orders);
    let erp = Web::start(move |asked| {
        let mut kept = kept.lock().unwrap();
        let body: Value = serde_json::from_str(&asked.body).unwrap_or_default();
        let (status, answer) = match (asked.method.as_str(), asked.path.strip_prefix("/orders/")) {
            _ if asked.header("authorization") != Some("Bearer s3cret-token") => {
                (401, json!({"error": "who are you"}))
            }
            ("POST", None) => {
                let id = (kept.len() + 100).to_string();
                kept.insert(id.clone(), body);
                (201, json!({"id": id}))
            }
            ("PUT", Some(id)) => {
                kept.insert(id.to_owned(), body);
                (200, json!({}))
            }
            ("DELETE", Some(id)) => {
                kept.remove(id);
                (200, json!({}))
            }
            _ => (200, json!({"items": []})),
        };
        (status, answer.to_string())
    });
    let printed = kitchen.cook("Orders to an ERP", &[("https://erp.example.com", erp.url())]);
    assert!(printed.contains("synced") && printed.contains("0 items tried again"), "{printed}");
    let order = |country: &str| {
        let lines = json!([{"sku": "tea", "qty": 2}]);
        json!({"ref": "A-7", "country": country, "seller": "Ana", "lines": lines})
    };
    let is_there = |order: &Value| orders.lock().unwrap().get("100") == Some(order);
    eventually("the order is there", || is_there(&order("ES")));
    kitchen.north.run(["put", "billing", "b7", r#"{"order_id": "7", "country": "PT"}"#]).ok();
    kitchen.north.run(["put", "orders", "8", r#"{"ref": "A-8", "state": "new"}"#]).ok();
    eventually("it follows", || is_there(&order("PT")));
    eventually("the other order has come", || kitchen.head.has("orders", "8"));
    kitchen.head.run(["sink", "run", "erp", "--wait"]).ok();
    assert_eq!(orders.lock().unwrap().len(), 1, "one that is not sent does not count");
    kitchen.north.run(["delete", "orders", "7"]).ok();
    eventually("it is gone", || orders.lock().unwrap().is_empty());
}

#[test]
fn a_catalogue_can_be_searched_in_weaviate() {
    let kitchen = Kitchen::new(&[("WEAVIATE_KEY", "s3cret-key")]);
    let weaviate = Server::start_with_key("s3cret-key");
    let printed =
        kitchen.cook("Search in Weaviate", &[("https://weaviate.example.com", weaviate.url())]);
    assert!(printed.contains("products/sencha"), "{printed}");
    eventually("what has changed since is there", || {
        let there = weaviate.there();
        let objects: Vec<_> = there.objects.iter().collect();
        let [((class, _), sencha)] = objects[..] else { return false };
        class == "Product" && sencha["price"] == json!(13.0) && there.edges_in_all() == 0
    });
    let there = weaviate.there();
    assert_eq!(there.classes["Product"]["since"]["dataType"], json!(["date"]));
    assert_eq!(there.classes["Product"]["hasSupplier"]["dataType"], json!(["Supplier"]));
}

#[test]
fn an_event_log_is_shared_and_followed_behind_a_version() {
    let kitchen = Kitchen::new(&[]);
    let printed = kitchen.cook("An event log shared by offices", &[]);
    let followed: Value = serde_json::from_str(printed.trim().lines().last().unwrap()).unwrap();
    assert_eq!((&followed["id"], &followed["type"]), (&json!("north-2"), &json!("shipped")));
    assert!(printed.contains("paid"), "{printed}");
    for office in [&kitchen.head, &kitchen.north] {
        let loaded = office.run(["--json", "events", "load", "ledger"]).ok();
        assert_eq!(loaded.lines().count(), 3, "{loaded}");
        assert!(loaded.contains(r#""total":12.50"#), "{loaded}");
    }
}
