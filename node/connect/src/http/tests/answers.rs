//! Answers that are slow, endless, cut off, too big, or something else.

use serde_json::Value;

use super::server::{Act, HttpTestServer, answer, head, json, packed};
use super::{get, service};
use crate::http::{Method, Request};
use crate::jobs::fault::{Class, Done};

#[tokio::test]
async fn a_request_and_its_answer_arrive_whole() {
    let server = HttpTestServer::start(|_| {
        let body = packed(b"{\"price\": 12.50, \"id\": 9007199254740993}");
        let headers = ["Content-Type: application/json", "Content-Encoding: gzip"];
        answer("201 Created", &headers, body)
    })
    .await;
    let service = service("sink whole", "");
    let body = serde_json::json!({ "a": 1 });
    let request = Request::json(Method::POST, format!("{}/orders", server.url), &body);
    let answer = service.send(request.header("Idempotency-Key", "k1")).await.unwrap();
    assert_eq!(answer.status, 201);
    // C12: no number passes through a float.
    let read: Value = answer.json().unwrap();
    assert_eq!(read.to_string(), "{\"price\":12.50,\"id\":9007199254740993}");
    let [asked] = &server.asked()[..] else { panic!("one request") };
    assert!(asked.head.starts_with("POST /orders HTTP/1.1\r\n"), "{}", asked.head);
    assert_eq!(asked.body, "{\"a\":1}");
    assert_eq!(asked.header("content-type"), Some("application/json"));
    assert_eq!(asked.header("idempotency-key"), Some("k1"));
    assert_eq!(asked.header("accept-encoding"), Some("gzip"));
    assert_eq!(asked.header("referer"), None);
}

#[tokio::test]
async fn c11_the_providers_clock_comes_with_its_answer() {
    let date = "Date: Sun, 01 Nov 2026 12:00:00 GMT";
    let server = HttpTestServer::start(move |_| answer("200 OK", &[date], "{}")).await;
    let answer = service("source clock", "").send(get(&server, "/")).await.unwrap();
    assert_eq!(answer.date().unwrap().to_string(), "2026-11-01T12:00:00Z");
}

#[tokio::test]
async fn c17_an_answer_that_stops_coming_is_given_up() {
    let server = HttpTestServer::start(|_| {
        let mut bytes = head("200 OK", &["Content-Type: application/json"], Some(1000));
        bytes.extend_from_slice(b"{\"begun\": ");
        Act::Hang(bytes)
    })
    .await;
    let service = service("source slow", "idle = \"100ms\"");
    let fault = service.send(get(&server, "/slow")).await.unwrap_err();
    assert_eq!((fault.class, fault.done), (Class::Transient, Done::Unknown));
    assert_eq!(fault.status, Some(200));
    assert!(fault.message.contains("no byte of its body came for 100ms"), "{fault}");
}

#[tokio::test]
async fn c17_an_answer_that_never_begins_is_given_up() {
    let server = HttpTestServer::start(|_| Act::Hang(Vec::new())).await;
    let service = service("source silent", "timeout = \"150ms\"");
    let fault = service.send(get(&server, "/silent")).await.unwrap_err();
    assert_eq!((fault.class, fault.done), (Class::Transient, Done::Unknown));
    assert!(fault.message.contains("no whole answer within 150ms"), "{fault}");
}

#[tokio::test]
async fn c17_an_endless_answer_is_taken_up_to_its_bound() {
    let server = HttpTestServer::start(|_| Act::Endless(head("200 OK", &[], None))).await;
    let service = service("source endless", "body_max = 100000");
    let fault = service.send(get(&server, "/endless")).await.unwrap_err();
    assert_eq!(fault.class, Class::Transient);
    assert!(fault.message.contains("longer than 100000 bytes"), "{fault}");
}

#[tokio::test]
async fn c17_an_answer_that_says_it_is_too_long_is_not_read() {
    let server = HttpTestServer::start(|_| Act::Hang(head("200 OK", &[], Some(1 << 40)))).await;
    let fault = service("source long", "").send(get(&server, "/long")).await.unwrap_err();
    assert!(fault.message.contains("longer than 67108864 bytes"), "{fault}");
}

#[tokio::test]
async fn c17_a_gzip_bomb_is_inflated_up_to_its_bound() {
    // 50 MB in 50 KB.
    let bomb = packed(&vec![b' '; 50 << 20]);
    assert!(bomb.len() < 100_000);
    let server =
        HttpTestServer::start(move |_| answer("200 OK", &["Content-Encoding: gzip"], bomb.clone()))
            .await;
    let service = service("source bomb", "body_max = 1000000");
    let fault = service.send(get(&server, "/bomb")).await.unwrap_err();
    assert!(fault.message.contains("longer than 1000000 bytes"), "{fault}");
}

#[tokio::test]
async fn c17_an_answer_that_is_cut_off_is_of_unknown_outcome() {
    let cut = |bytes: Vec<u8>| HttpTestServer::start(move |_| Act::Say(bytes.clone()));
    let mut half = head("200 OK", &[], Some(100));
    half.extend_from_slice(b"{\"a\":");
    let server = cut(half).await;
    let service = service("source cut", "");
    let fault = service.send(get(&server, "/")).await.unwrap_err();
    assert_eq!((fault.class, fault.done), (Class::Transient, Done::Unknown));
    assert!(fault.message.contains("cut off"), "{fault}");
    let server = cut(b"HTTP/1.1 200 OK\r\nConte".to_vec()).await;
    let fault = service.send(get(&server, "/")).await.unwrap_err();
    assert_eq!((fault.class, fault.done, fault.status), (Class::Transient, Done::Unknown, None));
    let server = cut(b"SSH-2.0-OpenSSH_9.2\r\n".to_vec()).await;
    let fault = service.send(get(&server, "/")).await.unwrap_err();
    assert_eq!((fault.class, fault.status), (Class::Transient, None));
}

#[tokio::test]
async fn c17_a_page_with_200_is_no_answer() {
    let page = format!("<html><h1>Maintenance</h1>{}</html>", "x".repeat(1000));
    let server =
        HttpTestServer::start(move |_| answer("200 OK", &["Content-Type: text/html"], &page)).await;
    let answer = service("source page", "").send(get(&server, "/objects")).await.unwrap();
    let fault = answer.json::<Value>().unwrap_err();
    assert_eq!(fault.class, Class::Transient);
    assert!(fault.message.contains("<h1>Maintenance</h1>") && fault.message.len() < 400, "{fault}");
}

#[tokio::test]
async fn c17_a_body_in_another_character_set_is_read_in_it() {
    let server = HttpTestServer::start(|asked| match asked.path() {
        "/latin" => answer(
            "200 OK",
            &["Content-Type: application/json; charset=iso-8859-1"],
            b"\"caf\xe9\"",
        ),
        _ => answer("200 OK", &["Content-Type: application/json"], b"\"caf\xe9\""),
    })
    .await;
    let service = service("source charset", "");
    let answer = service.send(get(&server, "/latin")).await.unwrap();
    assert_eq!(answer.json::<String>().unwrap(), "café");
    let fault = service.send(get(&server, "/wrong")).await.unwrap_err();
    assert!(fault.message.contains("not text in UTF-8"), "{fault}");
}

#[tokio::test]
async fn a_connection_that_is_refused_has_done_nothing() {
    let server = HttpTestServer::start(|_| json("{}")).await;
    let request = get(&server, "/");
    drop(server);
    // The listener's task is gone once its port can be had again.
    let place = request.url.trim_start_matches("http://").trim_end_matches('/').to_owned();
    while tokio::net::TcpListener::bind(&place).await.is_err() {
        tokio::task::yield_now().await;
    }
    let fault = service("sink refused", "").send(request).await.unwrap_err();
    assert_eq!((fault.class, fault.done, fault.status), (Class::Transient, Done::No, None));
}

#[tokio::test]
async fn a_refusal_shows_what_it_says_and_no_secret() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("token");
    std::fs::write(&path, "s3cret-token").unwrap();
    // C16: a service that repeats what it was sent, as many do.
    let server = HttpTestServer::start(|asked| {
        let head = asked.head.replace(['\r', '\n'], " ");
        answer("422 Unprocessable Entity", &[], format!("bad request: {head}"))
    })
    .await;
    let auth = format!("auth = {{ kind = \"bearer\", token = \"${{file:{}}}\" }}", path.display());
    let service = service("sink redacted", &auth);
    service.redactor().learn("k3y in url");
    let fault = service.send(get(&server, "/x?key=k3y%20in%20url")).await.unwrap_err();
    assert_eq!((fault.class, fault.done), (Class::Permanent, Done::No));
    assert!(fault.message.contains("422") && fault.message.contains("bad request"), "{fault}");
    let shown = format!("{fault:?} {service:?}");
    assert!(
        shown.contains("***") && !shown.contains("s3cret") && !shown.contains("k3y"),
        "{shown}"
    );
    assert!(server.asked()[0].head.contains("s3cret-token"), "it was sent");
}
