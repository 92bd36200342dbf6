//! Services that have had enough.

use std::time::Duration;

use futures::poll;

use super::server::{Act, HttpTestServer, answer, json};
use super::{get, service};
use crate::jobs::fault::{Class, Done};

fn auth(token: &str) -> String {
    format!("auth = {{ kind = \"bearer\", token = \"{token}\" }}")
}

#[tokio::test]
async fn c24_connectors_with_the_same_credential_rest_together() {
    let server = HttpTestServer::start(|_| {
        answer("429 Too Many Requests", &["Retry-After: 300"], "slow down")
    })
    .await;
    let one = service("sink rest-a", &auth("token-of-both"));
    let other = service("sink rest-b", &auth("token-of-both"));
    let apart = service("sink rest-c", &auth("token-of-another"));
    let fault = one.send(get(&server, "/")).await.unwrap_err();
    assert_eq!((fault.class, fault.done), (Class::Transient, Done::No));
    assert_eq!((fault.status, fault.retry_after), (Some(429), Some(Duration::from_secs(300))));
    // The other one's first request finds out whose credential it has.
    let fault = other.send(get(&server, "/")).await.unwrap_err();
    assert_eq!((fault.class, fault.done, fault.status), (Class::Transient, Done::No, None));
    assert!(fault.retry_after.unwrap() > Duration::from_secs(250), "{fault:?}");
    assert!(fault.message.contains("left alone"), "{fault}");
    assert!(other.blocked().is_some());
    assert_eq!(server.asked().len(), 1);
    assert_eq!(apart.send(get(&server, "/")).await.unwrap_err().status, Some(429));
    assert_eq!(server.asked().len(), 2);
}

#[tokio::test]
async fn c24_a_credential_in_a_header_counts_as_one() {
    let server = HttpTestServer::start(|_| answer("503 Busy", &["Retry-After: 300"], "")).await;
    let request = || get(&server, "/").header("X-Api-Key", "key-in-a-header");
    let (one, other) = (service("source key-a", ""), service("source key-b", ""));
    assert_eq!(one.send(request()).await.unwrap_err().status, Some(503));
    assert_eq!(other.send(request()).await.unwrap_err().status, None);
    assert_eq!(server.asked().len(), 1);
}

#[tokio::test]
async fn c24_a_pause_beyond_reason_is_cut_and_said() {
    let server =
        HttpTestServer::start(|_| answer("429 Too Many Requests", &["Retry-After: 86400"], ""))
            .await;
    let fault = service("sink pause", "").send(get(&server, "/")).await.unwrap_err();
    assert_eq!(fault.retry_after, Some(Duration::from_secs(900)));
    assert!(fault.message.contains("a pause of 1d and is asked again after 15m"), "{fault}");
}

#[tokio::test]
async fn c24_a_403_of_a_limit_is_no_refusal() {
    let server = HttpTestServer::start(|asked| match asked.path() {
        "/limit" => {
            let headers = ["X-RateLimit-Remaining: 0", "X-RateLimit-Reset: 0"];
            answer("403 Forbidden", &headers, "rate limit exceeded")
        }
        _ => answer("403 Forbidden", &[], "this order is closed"),
    })
    .await;
    let service = service("sink forbidden", "");
    assert_eq!(service.send(get(&server, "/limit")).await.unwrap_err().class, Class::Transient);
    assert_eq!(service.send(get(&server, "/order")).await.unwrap_err().class, Class::Permanent);
}

#[tokio::test]
async fn c25_too_many_at_once_become_fewer_whatever_it_calls_itself() {
    let server = HttpTestServer::start(|asked| match asked.path() {
        "/full" => answer("401 Unauthorized", &[], "{\"title\": \"Invalid login attempt.\"}"),
        "/held" => Act::Hang(Vec::new()),
        _ => json("{}"),
    })
    .await;
    let service = service("sink crowd", "concurrency = 2\noverload = [\"Invalid login attempt\"]");
    let fault = service.send(get(&server, "/full")).await.unwrap_err();
    assert_eq!(fault.class, Class::Transient, "{fault}");
    // One at a time now: the second request waits while the first is under way.
    let mut held = std::pin::pin!(service.send(get(&server, "/held")));
    while server.count("/held") == 0 {
        assert!(poll!(&mut held).is_pending());
        tokio::task::yield_now().await;
    }
    let mut next = std::pin::pin!(service.send(get(&server, "/next")));
    assert!(poll!(&mut next).is_pending());
    assert_eq!(server.count("/next"), 0);
}

#[tokio::test]
async fn c26_what_will_never_be_taken_is_not_sent_again() {
    let server = HttpTestServer::start(|_| answer("400 Bad Request", &[], "no such field")).await;
    let fault = service("sink poison", "").send(get(&server, "/")).await.unwrap_err();
    assert_eq!((fault.class, fault.retry_after), (Class::Permanent, None));
    assert_eq!(server.asked().len(), 1);
}
