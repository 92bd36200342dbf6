//! C15: requests go where the configuration allows, whatever names, redirects and addresses say.

use std::io;
use std::net::IpAddr;
use std::path::Path;
use std::sync::{Arc, Mutex};

use futures::FutureExt;
use futures::future::BoxFuture;

use super::server::{HttpTestServer, answer, json};
use super::{config, get, service};
use crate::http::resolve::Lookup;
use crate::http::{Method, Request, Service, ServiceConfig};
use crate::jobs::fault::{Class, Done};

/// Names mean something else each time; the last answer stays.
struct Rebinding(Mutex<Vec<&'static str>>);

impl Lookup for Rebinding {
    fn addresses(&self, _host: String) -> BoxFuture<'static, io::Result<Vec<IpAddr>>> {
        let mut answers = self.0.lock().unwrap();
        let answer = if answers.len() > 1 { answers.remove(0) } else { answers[0] };
        let addresses = answer.split(' ').map(|address| address.parse().unwrap()).collect();
        std::future::ready(Ok(addresses)).boxed()
    }
}

pub(super) fn rebinding(config: &ServiceConfig, answers: &[&'static str]) -> Service {
    let lookup = Arc::new(Rebinding(Mutex::new(answers.to_vec())));
    Service::with_lookup("source rebinding", config, Path::new("/nonexistent"), lookup).unwrap()
}

fn port(server: &HttpTestServer) -> &str {
    server.url.rsplit_once(':').unwrap().1
}

#[tokio::test]
async fn c15_an_address_in_the_url_is_judged_though_no_resolver_is_asked() {
    let server = HttpTestServer::start(|_| json("{}")).await;
    let service =
        Service::new("source literal", &ServiceConfig::default(), Path::new("/nonexistent"))
            .unwrap();
    let port = port(&server);
    for host in [
        "127.0.0.1",
        "2130706433",
        "0x7f.1",
        "0177.0.0.1",
        "127.1",
        "[::ffff:127.0.0.1]",
        "[::1]",
        "[64:ff9b::7f00:1]",
        "169.254.169.254",
        "0.0.0.0",
    ] {
        let url = format!("http://{host}:{port}/");
        let fault = service.send(Request::get(url)).await.unwrap_err();
        assert_eq!((fault.class, fault.done), (Class::Permanent, Done::No), "{host}: {fault}");
        assert!(fault.message.contains("allow = ["), "{host}: {fault}");
    }
    for url in ["file:///etc/passwd", "ftp://x/", "gopher://x/", "nonsense", "http://"] {
        let fault = service.send(Request::get(url)).await.unwrap_err();
        assert_eq!(fault.class, Class::Permanent, "{url}: {fault}");
    }
    assert!(server.asked().is_empty());
}

#[tokio::test]
async fn c15_a_name_that_means_this_machine_is_not_asked() {
    let server = HttpTestServer::start(|_| json("{}")).await;
    let request = || Request::get(format!("http://crm.example.com:{}/", port(&server)));
    for address in ["127.0.0.1", "::ffff:127.0.0.1", "::1 127.0.0.1", "169.254.169.254"] {
        let service = rebinding(&ServiceConfig::default(), &[address]);
        let fault = service.send(request()).await.unwrap_err();
        assert_eq!((fault.class, fault.done), (Class::Transient, Done::No), "{fault}");
        let shown =
            fault.message.contains("crm.example.com is at") && fault.message.contains("allow");
        assert!(shown, "{fault}");
    }
    assert!(server.asked().is_empty());
    let by_name = toml::from_str("allow = [\"crm.example.com\"]").unwrap();
    rebinding(&by_name, &["127.0.0.1"]).send(request()).await.unwrap();
    assert_eq!(server.asked().len(), 1);
}

#[tokio::test]
async fn c15_a_name_that_means_something_else_after_it_was_judged_is_judged_again() {
    let good = HttpTestServer::start(|_| json("\"good\"")).await;
    let evil =
        HttpTestServer::start_on(&format!("127.0.0.2:{}", port(&good)), |_| json("\"evil\"")).await;
    // The first of its addresses is open, and then another is: each connection goes to one that was judged.
    let service = rebinding(&config(""), &["127.0.0.1", "127.0.0.2", "127.0.0.2 127.0.0.1"]);
    let request = || Request::get(format!("http://crm.example.com:{}/", port(&good)));
    assert_eq!(service.send(request()).await.unwrap().body, "\"good\"");
    let fault = service.send(request()).await.unwrap_err();
    assert!(fault.message.contains("127.0.0.2"), "{fault}");
    assert_eq!(service.send(request()).await.unwrap().body, "\"good\"");
    assert!(evil.asked().is_empty());
}

#[tokio::test]
async fn c15_a_redirect_to_another_place_is_refused() {
    let evil = HttpTestServer::start(|_| json("\"evil\"")).await;
    let elsewhere = evil.url.clone();
    let server = HttpTestServer::start(move |asked| {
        let target = match asked.path() {
            "/metadata" => "http://169.254.169.254/latest/meta-data/".to_owned(),
            "/elsewhere" => format!("{elsewhere}/x"),
            "/scheme" => "file:///etc/passwd".to_owned(),
            _ => "//evil.example.com/".to_owned(),
        };
        answer("302 Found", &[&format!("Location: {target}")], "")
    })
    .await;
    let service = service("source redirect", "auth = { kind = \"bearer\", token = \"s3cret\" }");
    for path in ["/metadata", "/elsewhere", "/scheme", "/name"] {
        let fault = service.send(get(&server, path)).await.unwrap_err();
        assert_eq!((fault.class, fault.status), (Class::Permanent, Some(302)), "{fault}");
        assert!(fault.message.contains("leads to"), "{fault}");
    }
    assert!(evil.asked().is_empty());
}

#[tokio::test]
async fn a_redirect_within_the_same_place_is_followed_some_times() {
    let server = HttpTestServer::start(|asked| match asked.path() {
        "/old" => answer("301 Moved Permanently", &["Location: /new?page=1"], ""),
        "/new?page=1" => json("\"here\""),
        "/post" => answer("307 Temporary Redirect", &["Location: /posted"], ""),
        "/posted" => json("\"posted\""),
        "/see" => answer("303 See Other", &["Location: /new?page=1"], ""),
        _ => answer("302 Found", &["Location: /loop"], ""),
    })
    .await;
    let service = service("source moved", "");
    assert_eq!(service.send(get(&server, "/old")).await.unwrap().body, "\"here\"");
    let post = |path: &str| {
        let url = format!("{}{path}", server.url);
        Request {
            method: Method::POST,
            url,
            headers: Vec::new(),
            body: Some("{\"a\":1}".to_owned()),
        }
    };
    assert_eq!(service.send(post("/post")).await.unwrap().body, "\"posted\"");
    assert_eq!(server.asked().last().unwrap().body, "{\"a\":1}");
    // A POST that is led on as a GET would look like one that was carried out.
    assert_eq!(service.send(post("/see")).await.unwrap_err().class, Class::Permanent);
    let fault = service.send(get(&server, "/loop")).await.unwrap_err();
    assert!(fault.message.contains("led on 5 times"), "{fault}");
    assert_eq!(server.count("/loop"), 6);
}
