//! A source driven by commands alone, as an office's IT person would, by the steps of its page.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use branchline_tests::web::Web;
use branchline_tests::{Office, converge, eventually};
use serde_json::{Value, json};

use crate::PROGRAM;

const PAGE: &str = include_str!("../../../../node/connect/SOURCES.md");

/// A provider of accounts on pages of two.
fn provider() -> Web {
    Web::start(|asked| {
        let cursor =
            asked.path.split("cursor=").nth(1).and_then(|text| text.parse().ok()).unwrap_or(0);
        let account =
            |id: usize| json!({"id": id, "updated_at": "2026-03-01T08:00:00Z", "price": 12.5});
        let accounts: Vec<Value> = (cursor..5.min(cursor + 2)).map(account).collect();
        let next = (cursor + 2 < 5).then(|| (cursor + 2).to_string());
        (200, json!({"accounts": accounts, "next": next}).to_string())
    })
}

/// The first configuration of the page, for a provider on this machine.
fn configured(office: &Office, provider: &Web) {
    let begin = PAGE.find("[[source]]").unwrap();
    let end = begin + PAGE[begin..].find("```").unwrap();
    let text = PAGE[begin..end].replace("https://crm.example.com", &provider.url());
    let text = text.replace("collection = ", "allow = [\"127.0.0.1\"]\ncollection = ");
    let token = office.data.join("crm.token");
    std::fs::write(&token, "s3cret\n").unwrap();
    let text = text.replace("/etc/branchline/crm.token", token.to_str().unwrap());
    std::fs::write(office.data.join("branchline.toml"), text).unwrap();
}

#[test]
fn the_first_steps_of_the_page_work_as_they_stand() {
    let folder = tempfile::tempdir().unwrap();
    let mut office = Office::init(PROGRAM, folder.path(), "head", true);
    office.start();
    let none = office.run(["source", "list"]);
    assert!(none.stderr.contains("[[source]]"), "{}", none.stderr);
    configured(&office, &provider());
    let begin = PAGE.find("```sh\nbranchline reload").unwrap() + "```sh\n".len();
    let end = begin + PAGE[begin..].find("```").unwrap();
    let mut said = Vec::new();
    for line in PAGE[begin..end].lines() {
        let command = line.split('#').next().unwrap();
        let words = command.split_whitespace().skip(1);
        said.push(office.run(words).ok());
    }
    let [_, plan, dry, pulled, history, listed] = &said[..] else { panic!("{said:?}") };
    assert!(plan.contains("objects: GET") && plan.contains("next run at"), "{plan}");
    assert!(!plan.contains("s3cret"), "{plan}");
    assert!(dry.contains("updated: 5") && pulled.contains("updated: 5"), "{said:?}");
    assert!(history.contains("completed") && !history.contains("\n2 "), "{history}");
    assert_eq!(listed.matches("  active  ").count(), 5, "{listed}");
    let status = office.run(["source", "status"]).ok();
    assert!(status.contains("waiting") && status.contains("next run at"), "{status}");
    let jobs: Value = serde_json::from_str(&office.run(["--json", "jobs", "list"]).ok()).unwrap();
    assert_eq!(jobs["jobs"].as_array().unwrap().len(), 2);
}

#[test]
fn mistakes_are_named_and_change_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let mut office = Office::init(PROGRAM, folder.path(), "head", true);
    let provider = provider();
    configured(&office, &provider);
    office.start();
    office.run(["source", "run", "crm", "--wait"]).ok();
    let file = office.data.join("branchline.toml");
    let text = std::fs::read_to_string(&file).unwrap();
    for (from, to, part) in [
        (".accounts[]", ".accounts[", "request.items"),
        ("collection =", "colection =", "colection"),
        ("0 2 * * *", "2 o'clock", "2 o'clock"),
    ] {
        std::fs::write(&file, text.replace(from, to)).unwrap();
        let refused = office.run(["reload"]);
        assert!(refused.code != 0 && refused.stderr.contains(part), "{}", refused.stderr);
        assert!(refused.stderr.contains("crm"), "{}", refused.stderr);
    }
    // The old configuration works on.
    office.run(["source", "run", "crm", "--wait"]).ok();
    let unknown = office.run(["source", "run", "erp"]);
    assert!(unknown.code != 0 && unknown.stderr.contains("crm"), "{}", unknown.stderr);
}

#[test]
fn c4_a_plan_warns_of_a_source_that_misses_changes_whether_or_not_the_node_runs() {
    let folder = tempfile::tempdir().unwrap();
    let mut office = Office::init(PROGRAM, folder.path(), "head", true);
    configured(&office, &provider());
    let good = office.run(["source", "plan", "crm"]).ok();
    assert!(!good.contains("created"), "{good}");
    let file = office.data.join("branchline.toml");
    let text =
        std::fs::read_to_string(&file).unwrap().replace("since={since}", "created_after={since}");
    std::fs::write(&file, text.replace("\".updated_at\"", "\".created_at\"")).unwrap();
    let stopped = office.run(["source", "plan", "crm"]).ok();
    office.start();
    for plan in [stopped, office.run(["source", "plan", "crm"]).ok()] {
        assert!(plan.contains("created_after asks for what was created since"), "{plan}");
        assert!(plan.contains("`.updated_at // .created_at`"), "{plan}");
    }
}

#[test]
fn a_job_that_was_asked_for_is_carried_out_after_the_node_was_killed() {
    let folder = tempfile::tempdir().unwrap();
    let mut office = Office::init(PROGRAM, folder.path(), "head", true);
    static ASKED: AtomicUsize = AtomicUsize::new(0);
    // It does not answer before it was asked three times.
    let provider = Web::start(|_| match ASKED.fetch_add(1, Ordering::SeqCst) {
        0..3 => (503, "{}".to_owned()),
        _ => (200, json!({"accounts": [{"id": 1}], "next": null}).to_string()),
    });
    configured(&office, &provider);
    office.start();
    let job = office.run(["source", "run", "crm"]).ok();
    let job = job.trim();
    eventually("the provider was asked", || ASKED.load(Ordering::SeqCst) > 0);
    office.kill();
    let kept = office.run(["--json", "jobs", "show", job]).ok();
    let kept: Value = serde_json::from_str(&kept).unwrap();
    assert_eq!(kept["state"], "waiting", "{kept}");
    office.start();
    office.run(["jobs", "show", job, "--wait"]).ok();
    let runs: Value =
        serde_json::from_str(&office.run(["--json", "source", "history", "crm"]).ok()).unwrap();
    assert_eq!(runs["runs"].as_array().unwrap().len(), 1, "{runs}");
    let checked = office.run(["check"]);
    assert!(!checked.stdout.contains("source crm"), "{}", checked.stdout);
}

#[test]
fn a_person_sees_errors_accepts_cancels_and_takes_over_by_commands() {
    let folder = tempfile::tempdir().unwrap();
    let (head, north) = Office::pair(PROGRAM, folder.path());
    static FEW: AtomicBool = AtomicBool::new(false);
    let provider = Web::start(|_| {
        let account = |id: usize| json!({ "id": id, "updated_at": "2026-03-01T08:00:00Z" });
        let mut accounts: Vec<Value> = (0..10).map(account).collect();
        match FEW.load(Ordering::SeqCst) {
            true => accounts.truncate(2),
            false => accounts.push(json!({ "name": "nobody" })),
        }
        (200, json!({ "accounts": accounts, "next": null }).to_string())
    });
    configured(&head, &provider);
    head.run(["reload"]).ok();
    head.run(["source", "run", "crm", "--wait"]).ok();
    let errors = head.run(["source", "errors", "crm"]).ok();
    assert!(errors.contains("nobody"), "{errors}");
    assert!(
        head.run(["check"]).stdout.contains("items of its last run could not be kept"),
        "check says so"
    );
    FEW.store(true, Ordering::SeqCst);
    let refused = head.run(["source", "run", "crm", "--full", "--wait"]);
    assert!(refused.code == 1 && refused.stdout.contains("8 of 10 active records"), "{refused:?}");
    assert!(refused.stdout.contains("--accept"), "{refused:?}");
    assert!(head.run(["check"]).stdout.contains("its last run failed"), "check says so");
    let accepted = head.run(["source", "run", "crm", "--full", "--accept", "--wait"]).ok();
    assert!(accepted.contains("inactive: 8"), "{accepted}");

    head.run(["source", "pause", "crm"]).ok();
    eventually("it rests", || head.get("/v1/sources/crm")["state"] == "paused");
    let job = head.run(["source", "run", "crm"]).ok();
    assert!(head.run(["jobs", "list", "--open"]).ok().contains("waiting"), "it waits");
    let cancelled = head.run(["jobs", "cancel", job.trim()]).ok();
    assert!(cancelled.contains("is cancelled"), "{cancelled}");
    let again = head.run(["jobs", "cancel", job.trim()]);
    assert!(again.code == 1 && again.stderr.contains("has ended already"), "{again:?}");
    head.run(["source", "resume", "crm"]).ok();
    converge(&[&head, &north]);

    configured(&north, &provider);
    north.run(["reload"]).ok();
    eventually("it is head's", || north.get("/v1/sources/crm")["state"] == "paused");
    let taken = north.run(["source", "takeover", "crm", "--yes"]).ok();
    assert!(taken.contains("this site runs source crm, term 2"), "{taken}");
    north.run(["source", "run", "crm", "--wait"]).ok();
    eventually("head has stopped", || {
        head.run(["source", "status", "crm"]).ok().contains("branchline source takeover crm")
    });
    let history = head.run(["source", "history", "crm"]).ok();
    for status in ["completed", "failed"] {
        assert!(history.contains(status), "{history}");
    }
}

#[test]
fn c15_a_proxy_of_the_nodes_environment_is_not_asked() {
    let folder = tempfile::tempdir().unwrap();
    let mut office = Office::init(PROGRAM, folder.path(), "head", true);
    static PROXIED: AtomicUsize = AtomicUsize::new(0);
    let proxy = Web::start(|_| {
        PROXIED.fetch_add(1, Ordering::SeqCst);
        (200, json!({ "accounts": [{ "id": "of the proxy" }], "next": null }).to_string())
    });
    configured(&office, &provider());
    let mut run = office.command(["run", "--listen", "/ip4/127.0.0.1/tcp/0", "--no-mdns"]);
    for name in ["http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"]
    {
        run.env(name, proxy.url());
    }
    office.start_by(run);
    let pulled = office.run(["source", "run", "crm", "--wait"]).ok();
    assert!(pulled.contains("updated: 5"), "{pulled}");
    assert_eq!(PROXIED.load(Ordering::SeqCst), 0);
}
