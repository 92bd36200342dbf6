//! C14: a refresh token that is replaced at each use is all that is left of a sign-in, and is not lost.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use super::server::{Asked, HttpTestServer, answer, json};
use super::{config, get};
use crate::http::Service;
use crate::jobs::fault::{Class, Done};

/// What becomes of the provider's answers about tokens.
#[derive(Clone, Copy, PartialEq)]
enum Trouble {
    None,
    /// The token is replaced, and its answer lost.
    Lost,
    /// Nothing is replaced.
    Busy,
    /// While it answers, the disk of the one who asks is full.
    DiskFull,
}

struct Provider {
    server: HttpTestServer,
    trouble: Arc<Mutex<Trouble>>,
    folder: tempfile::TempDir,
}

impl Provider {
    /// A provider that takes the refresh token `refresh-0`, and each one once.
    async fn start() -> Self {
        let trouble = Arc::new(Mutex::new(Trouble::None));
        let folder = tempfile::tempdir().unwrap();
        let (now, path) = (Arc::clone(&trouble), folder.path().to_owned());
        let latest = Mutex::new(0);
        let server = HttpTestServer::start(move |asked| {
            if asked.path() != "/token" {
                return json("\"in\"");
            }
            let trouble = *now.lock().unwrap();
            let mut latest = latest.lock().unwrap();
            let is_latest = refresh_token(asked) == format!("refresh-{latest}");
            if trouble == Trouble::Busy {
                return answer("503 Busy", &[], "later");
            }
            if !is_latest {
                return answer("400 Bad Request", &[], "{\"error\": \"invalid_grant\"}");
            }
            *latest += 1;
            if trouble == Trouble::Lost {
                return answer("502 Bad Gateway", &[], "");
            }
            if trouble == Trouble::DiskFull {
                block(&path);
            }
            json(&format!(
                "{{\"access_token\": \"access-{latest}\", \"expires_in\": 3600, \"refresh_token\": \"refresh-{latest}\"}}"
            ))
        })
        .await;
        Self { server, trouble, folder }
    }

    fn set(&self, trouble: Trouble) {
        *self.trouble.lock().unwrap() = trouble;
    }

    /// The connector as it is after a start of its node.
    fn service(&self, name: &str) -> Service {
        self.service_with(name, "refresh-0")
    }

    fn service_with(&self, name: &str, refresh_token: &str) -> Service {
        let auth = format!(
            "[auth]\nkind = \"refresh_token\"\ntoken_url = \"{}/token\"\nclient_id = \"me\"\nclient_secret = \"s3cret\"\n\
             refresh_token = \"{refresh_token}\"",
            self.server.url
        );
        Service::new(name, &config(&auth), &self.folder.path().join("tokens")).unwrap()
    }

    fn used(&self) -> Vec<String> {
        let asked = self.server.asked();
        asked.iter().filter(|asked| asked.path() == "/token").map(refresh_token).collect()
    }

    fn files(&self) -> Vec<PathBuf> {
        files(self.folder.path())
    }
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder.join("tokens")).unwrap();
    entries.map(|entry| entry.unwrap().path()).collect()
}

fn refresh_token(asked: &Asked) -> String {
    let form = url::form_urlencoded::parse(asked.body.as_bytes());
    form.into_owned().find(|(name, _)| name == "refresh_token").unwrap().1
}

/// A folder stands where the next file of tokens would be written.
fn block(folder: &Path) {
    let file = files(folder).into_iter().find(|path| path.extension().unwrap() == "json").unwrap();
    fs::create_dir_all(file.with_extension("new")).unwrap();
}

fn unblock(folder: &Path) {
    for path in files(folder).iter().filter(|path| path.extension().unwrap() == "new") {
        fs::remove_dir(path).unwrap();
    }
}

#[tokio::test]
async fn each_start_goes_on_with_the_latest_token() {
    let provider = Provider::start().await;
    for n in 0..3 {
        let service = provider.service("source starts");
        service.send(get(&provider.server, "/objects")).await.unwrap();
        service.send(get(&provider.server, "/objects")).await.unwrap();
        assert_eq!(provider.used().len(), n + 1);
    }
    assert_eq!(provider.used(), ["refresh-0", "refresh-1", "refresh-2"]);
    assert_eq!(provider.server.count("/objects"), 6);
    // What the configuration and its secrets hold is in no file.
    for file in provider.files() {
        let text = fs::read_to_string(&file).unwrap();
        assert!(!text.contains("s3cret") && !text.contains("access-"), "{text}");
    }
}

#[tokio::test]
async fn c14_a_token_that_is_not_durable_is_not_used_and_not_lost() {
    let provider = Provider::start().await;
    let service = provider.service("source disk");
    provider.set(Trouble::DiskFull);
    let fault = service.send(get(&provider.server, "/objects")).await.unwrap_err();
    assert_eq!((fault.class, fault.done), (Class::Transient, Done::No));
    assert!(fault.message.contains("cannot be kept"), "{fault}");
    assert_eq!(provider.server.count("/objects"), 0);
    provider.set(Trouble::None);
    unblock(provider.folder.path());
    // The token that was handed out is written now, and not asked for again.
    service.send(get(&provider.server, "/objects")).await.unwrap();
    assert_eq!(provider.used(), ["refresh-0"]);
    drop(service);
    provider.service("source disk").send(get(&provider.server, "/objects")).await.unwrap();
    assert_eq!(provider.used(), ["refresh-0", "refresh-1"]);
}

#[tokio::test]
async fn c14_a_crash_before_the_answer_came_is_said_when_the_token_is_no_good_any_more() {
    let provider = Provider::start().await;
    provider.set(Trouble::Lost);
    let service = provider.service("source crash");
    let fault = service.send(get(&provider.server, "/objects")).await.unwrap_err();
    assert_eq!(fault.class, Class::Transient);
    drop(service);
    provider.set(Trouble::None);
    let service = provider.service("source crash");
    let fault = service.send(get(&provider.server, "/objects")).await.unwrap_err();
    assert_eq!((fault.class, fault.done), (Class::Authentication, Done::No));
    for part in ["invalid_grant", "was cut short", "sign in again"] {
        assert!(fault.message.contains(part), "{part}: {fault}");
    }
    // A new sign-in.
    let service = provider.service_with("source crash", "refresh-1");
    service.send(get(&provider.server, "/objects")).await.unwrap();
}

#[tokio::test]
async fn c14_a_crash_after_the_answer_was_kept_goes_on_from_there() {
    let provider = Provider::start().await;
    provider.service("source kept").send(get(&provider.server, "/objects")).await.unwrap();
    let kept: BTreeSet<PathBuf> = provider.files().into_iter().collect();
    // A file that was being written when the machine stopped.
    let json = kept.iter().find(|path| path.extension().unwrap() == "json").unwrap();
    fs::write(json.with_extension("new"), "{\"format\": 1, \"refr").unwrap();
    provider.service("source kept").send(get(&provider.server, "/objects")).await.unwrap();
    assert_eq!(provider.used(), ["refresh-0", "refresh-1"]);
}

#[tokio::test]
async fn a_provider_in_trouble_costs_no_token() {
    let provider = Provider::start().await;
    provider.set(Trouble::Busy);
    let service = provider.service("source busy");
    for _ in 0..3 {
        let fault = service.send(get(&provider.server, "/objects")).await.unwrap_err();
        assert_eq!(fault.class, Class::Transient);
    }
    provider.set(Trouble::None);
    service.send(get(&provider.server, "/objects")).await.unwrap();
    assert_eq!(provider.used(), ["refresh-0"; 4]);
}

#[tokio::test]
async fn c14_two_connectors_with_one_sign_in_refresh_once() {
    let provider = Provider::start().await;
    let services = [provider.service("source two-a"), provider.service("sink two-b")];
    let sent = (0..6).map(|n| services[n % 2].send(get(&provider.server, "/objects")));
    for answer in futures::future::join_all(sent).await {
        answer.unwrap();
    }
    assert_eq!(provider.used(), ["refresh-0"]);
}

#[tokio::test]
async fn a_refresh_that_nobody_waits_for_any_more_is_kept() {
    let provider = Provider::start().await;
    let service = provider.service("source dropped");
    {
        let mut sent = std::pin::pin!(service.send(get(&provider.server, "/objects")));
        while provider.used().is_empty() {
            assert!(futures::poll!(&mut sent).is_pending());
            tokio::task::yield_now().await;
        }
    }
    service.send(get(&provider.server, "/objects")).await.unwrap();
    drop(service);
    provider.service("source dropped").send(get(&provider.server, "/objects")).await.unwrap();
    assert_eq!(provider.used(), ["refresh-0", "refresh-1"]);
}
