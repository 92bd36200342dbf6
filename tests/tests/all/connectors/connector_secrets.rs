//! Secrets stay where they are: in no entry, no other site, no backup, no log and no answer. A site that takes a sink over asks
//! for a new sign-in.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use branchline_tests::web::{Asked, Web};
use branchline_tests::{Office, converge, eventually};
use serde_json::{Value, json};

use crate::PROGRAM;

/// What all secrets of the test have in them.
const MARK: &str = "s3cr3t";

/// A service with single-use refresh tokens, and objects by their reference.
#[derive(Default)]
struct Erp {
    /// The refresh token that counts, and the access token that is good.
    refresh: String,
    access: String,
    handed_out: usize,
    orders: BTreeMap<String, Value>,
    creates: usize,
}

impl Erp {
    fn answer(&mut self, asked: &Asked) -> (u16, String) {
        if asked.path == "/token" {
            let given = asked.body.split('&').find_map(|pair| pair.strip_prefix("refresh_token="));
            if given != Some(&self.refresh) {
                return (400, json!({ "error": "invalid_grant" }).to_string());
            }
            self.handed_out += 1;
            self.refresh = format!("{MARK}-refresh-{}", self.handed_out);
            self.access = format!("{MARK}-access-{}", self.handed_out);
            let answer = json!({
                "access_token": self.access, "refresh_token": self.refresh, "token_type": "Bearer", "expires_in": 3600,
            });
            return (200, answer.to_string());
        }
        let authorization = asked.header("authorization").unwrap_or_default();
        if authorization != format!("Bearer {}", self.access) {
            // It says back what it was given.
            return (401, json!({ "error": format!("{authorization} is not good") }).to_string());
        }
        let order: Value = serde_json::from_str(&asked.body).unwrap();
        let reference = order["ref"].as_str().unwrap().to_owned();
        if reference == "refused" {
            return (
                400,
                json!({ "error": format!("with {authorization} nobody may do that") }).to_string(),
            );
        }
        self.creates += usize::from(asked.method == "POST");
        self.orders.insert(reference.clone(), order);
        (201, json!({ "id": reference }).to_string())
    }
}

fn config(url: &str, secrets: &Path) -> String {
    let of = |name: &str| format!("${{file:{}}}", secrets.join(name).display());
    let (refresh, secret, key) = (of("refresh"), of("client"), of("key"));
    format!(
        "[[sink]]\nname = \"erp\"\nkind = \"http\"\ncollection = \"orders\"\nas = \"order\"\n\
         translate = '{{ ref: .order.ref, n: .order.n }}'\nallow = [\"127.0.0.1\"]\n\
         retry = {{ first = \"10ms\", max_delay = \"20ms\", attempts = 2 }}\n\
         auth = {{ kind = \"refresh_token\", token_url = \"{url}/token\", client_id = \"office\", \
         client_secret = \"{secret}\", refresh_token = \"{refresh}\" }}\n\
         [sink.create]\nmethod = \"POST\"\nurl = \"{url}/orders?key={key}\"\nremote_id = \".id\"\n\
         headers = {{ X-Key = \"{key}\" }}\n\
         [sink.update]\nmethod = \"PUT\"\nurl = \"{url}/orders/{{remote_id}}?key={key}\"\n"
    )
}

/// The files in a folder that have a text in them.
fn with(folder: &Path, text: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.is_file() && holds(&path, text) {
                found.push(path);
            }
        }
    }
    found
}

fn holds(path: &Path, text: &str) -> bool {
    let bytes = fs::read(path).unwrap();
    bytes.windows(text.len()).any(|window| window == text.as_bytes())
}

/// Nothing that a person or a program is shown has a secret in it. Entries are packed on the disk, so they are asked for.
#[track_caller]
fn shows_none(office: &Office) {
    for words in [
        vec!["status"],
        vec!["check"],
        vec!["log"],
        vec!["jobs", "list"],
        vec!["sink", "status", "erp"],
        vec!["sink", "plan", "erp"],
        vec!["sink", "groups", "erp"],
        vec!["sink", "errors", "erp"],
        vec!["sink", "history", "erp"],
        vec!["list", "sink_erp"],
        vec!["list", "connectors"],
    ] {
        for words in [words.clone(), [vec!["--json"], words].concat()] {
            let ran = office.run(&words);
            let said = format!("{}{}", ran.stdout, ran.stderr);
            assert!(!said.contains(MARK), "{words:?}: {said}");
        }
    }
    assert!(!holds(&office.log_path(), MARK), "{}", office.log_path().display());
}

#[test]
fn c14_refresh_tokens_stay_at_their_site_and_a_takeover_asks_for_a_new_sign_in() {
    let folder = tempfile::tempdir().unwrap();
    let secrets = folder.path().join("secrets");
    fs::create_dir(&secrets).unwrap();
    for name in ["refresh", "client", "key"] {
        fs::write(secrets.join(name), format!("{MARK}-{name}-0")).unwrap();
    }
    let erp = Arc::new(Mutex::new(Erp { refresh: format!("{MARK}-refresh-0"), ..Erp::default() }));
    let of_web = Arc::clone(&erp);
    let web = Web::start(move |asked| of_web.lock().unwrap().answer(asked));
    let (head, north) = Office::pair(PROGRAM, folder.path());
    let config = config(&web.url(), &secrets);
    fs::write(head.data.join("branchline.toml"), &config).unwrap();
    head.run(["reload"]).ok();
    let put = |office: &Office, id: &str, n: u32| {
        office.run(["put", "orders", id, &json!({ "ref": id, "n": n }).to_string()]).ok();
    };
    put(&head, "1", 1);
    eventually("it is there", || erp.lock().unwrap().orders.contains_key("1"));
    // A token that is taken back early is replaced, and with it the refresh token.
    erp.lock().unwrap().access = String::new();
    put(&head, "1", 2);
    put(&head, "refused", 1);
    eventually("it follows", || erp.lock().unwrap().orders["1"]["n"] == 2);
    assert_eq!(erp.lock().unwrap().handed_out, 2);
    eventually("the other is set aside", || head.get("/v1/sinks/erp")["set_aside"] == 1);
    converge(&[&head, &north]);

    let latest = with(&head.data, &format!("{MARK}-refresh-2"));
    let [kept] = &latest[..] else { panic!("{latest:?}") };
    assert!(kept.starts_with(head.data.join("connect")), "{}", kept.display());
    assert_eq!(with(&head.data, MARK), latest, "the latest refresh token, and nothing else");
    assert_eq!(with(&north.data, MARK), [""; 0].map(PathBuf::from));
    let backup = folder.path().join("head.backup");
    head.run(["backup", "create", backup.to_str().unwrap()]).ok();
    assert!(!holds(&backup, MARK));
    shows_none(&head);
    assert!(head.run(["sink", "errors", "erp"]).ok().contains("nobody may do that"));

    // Another site has the configuration, and the sign-in's first token is worth nothing any more.
    fs::write(north.data.join("branchline.toml"), &config).unwrap();
    north.run(["reload"]).ok();
    eventually("it is head's", || north.get("/v1/sinks/erp")["state"] == "superseded");
    let creates = erp.lock().unwrap().creates;
    north.run(["sink", "takeover", "erp"]).ok();
    put(&north, "2", 1);
    eventually("it asks for a sign-in", || {
        let sink = north.get("/v1/sinks/erp");
        let reason = sink["reason"].as_str().unwrap_or_default().to_owned();
        sink["state"] == "paused"
            && reason.contains("sign in again")
            && reason.contains("sink resume erp")
    });
    assert_eq!(erp.lock().unwrap().creates, creates, "nothing was sent without it");
    shows_none(&north);
    erp.lock().unwrap().refresh = format!("{MARK}-refresh-new");
    fs::write(secrets.join("refresh"), format!("{MARK}-refresh-new")).unwrap();
    north.run(["reload"]).ok();
    north.run(["sink", "resume", "erp"]).ok();
    eventually("north goes on", || erp.lock().unwrap().orders.contains_key("2"));
    assert_eq!(erp.lock().unwrap().creates, creates + 1, "what was there is not sent again");
    assert_eq!(with(&north.data, MARK).len(), 1, "its own sign-in");
    shows_none(&north);
}
