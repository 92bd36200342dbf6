//! Credentials, and tokens that end.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::server::{Asked, HttpTestServer, answer, json};
use super::{get, service};
use crate::jobs::fault::{Class, Done};

/// A provider: each token it hands out replaces the one before. `lifetime`: of a token, in seconds, as it writes it.
async fn provider(lifetime: &'static str) -> HttpTestServer {
    let issued = AtomicUsize::new(0);
    HttpTestServer::start(move |asked| match asked.path() {
        "/token" => {
            let number = issued.fetch_add(1, Ordering::SeqCst) + 1;
            json(&format!(
                "{{\"access_token\": \"access-{number}\", \"token_type\": \"Bearer\", \"expires_in\": {lifetime}}}"
            ))
        }
        "/always-refused" => answer("401 Unauthorized", &[], "no"),
        // A token that was taken back at once.
        "/second" if with(asked, "access-1") => answer("401 Unauthorized", &[], "stale"),
        _ => json("\"in\""),
    })
    .await
}

fn with(asked: &Asked, token: &str) -> bool {
    asked.header("authorization") == Some(&format!("Bearer {token}"))
}

fn oauth2(server: &HttpTestServer, more: &str) -> String {
    format!(
        "[auth]\nkind = \"oauth2\"\ntoken_url = \"{}/token\"\nclient_id = \"me\"\nclient_secret = \"s3cret\"\n{more}",
        server.url
    )
}

#[tokio::test]
async fn fixed_credentials_are_sent_as_their_kinds_demand() {
    let server = HttpTestServer::start(|_| json("{}")).await;
    for (auth, begins) in [
        ("kind = \"basic\", user = \"me\", password = \"pass\"", "Basic bWU6cGFzcw=="),
        ("kind = \"bearer\", token = \"abcd\"", "Bearer abcd"),
        (
            "kind = \"oauth1\", consumer_key = \"ck\", consumer_secret = \"cs\", token = \"tk\", token_secret = \"ts\", \
             realm = \"12_SB1\"",
            "OAuth realm=\"12_SB1\", oauth_consumer_key=\"ck\", oauth_nonce=",
        ),
    ] {
        let service = service("source fixed", &format!("auth = {{ {auth} }}"));
        service.send(get(&server, "/")).await.unwrap();
        let asked = server.asked().pop().unwrap();
        let header = asked.header("authorization").unwrap();
        assert!(header.starts_with(begins), "{header}");
    }
}

#[tokio::test]
async fn a_token_is_asked_for_once_and_used_for_many_requests() {
    let server = provider("3600").await;
    let service = service(
        "source token",
        &oauth2(&server, "scope = \"read write\"\nparams = { audience = \"crm\" }"),
    );
    for _ in 0..3 {
        service.send(get(&server, "/objects")).await.unwrap();
    }
    assert_eq!((server.count("/token"), server.count("/objects")), (1, 3));
    let asked = server.asked();
    // "me:s3cret"
    assert_eq!(asked[0].header("authorization"), Some("Basic bWU6czNjcmV0"));
    assert_eq!(asked[0].body, "grant_type=client_credentials&scope=read+write&audience=crm");
    assert!(with(&asked[3], "access-1"));
}

#[tokio::test]
async fn a_secret_can_be_sent_in_the_body() {
    let server = provider("\"3600\"").await;
    let service = service("source post", &oauth2(&server, "client_auth = \"post\""));
    service.send(get(&server, "/objects")).await.unwrap();
    let asked = &server.asked()[0];
    assert_eq!(asked.body, "grant_type=client_credentials&client_id=me&client_secret=s3cret");
    assert_eq!(asked.header("authorization"), None);
}

#[tokio::test]
async fn c13_a_token_that_has_ended_is_replaced_before_the_next_attempt() {
    let server = provider("0.000001").await;
    let service = service("source ended", &oauth2(&server, ""));
    service.send(get(&server, "/objects")).await.unwrap();
    service.send(get(&server, "/objects")).await.unwrap();
    assert_eq!(server.count("/token"), 2);
    assert!(with(server.asked().last().unwrap(), "access-2"));
}

#[tokio::test]
async fn c13_a_token_that_is_refused_is_replaced_once() {
    let server = provider("3600").await;
    let service = service("source refused", &oauth2(&server, ""));
    assert_eq!(service.send(get(&server, "/second")).await.unwrap().body, "\"in\"");
    assert_eq!((server.count("/token"), server.count("/second")), (2, 2));
    let fault = service.send(get(&server, "/always-refused")).await.unwrap_err();
    assert_eq!((fault.class, fault.status), (Class::Authentication, Some(401)));
    assert_eq!((server.count("/token"), server.count("/always-refused")), (3, 2));
}

#[tokio::test]
async fn many_requests_at_once_and_many_connectors_ask_for_one_token() {
    let server = provider("3600").await;
    let services: Vec<_> = ["source many-a", "source many-b"]
        .iter()
        .map(|name| service(name, &oauth2(&server, "scope = \"many\"")))
        .collect();
    let sent = (0..8).map(|n| services[n % 2].send(get(&server, "/objects")));
    for answer in futures::future::join_all(sent).await {
        answer.unwrap();
    }
    assert_eq!((server.count("/token"), server.count("/objects")), (1, 8));
}

#[tokio::test]
async fn a_provider_that_denies_is_told_from_one_in_trouble() {
    let cases: [(&str, &str, Class, &str); 6] = [
        (
            "400 Bad Request",
            "{\"error\": \"invalid_client\"}",
            Class::Authentication,
            "invalid_client",
        ),
        ("401 Unauthorized", "s3cret is wrong", Class::Authentication, "*** is wrong"),
        ("200 OK", "{\"error\": \"bad_scope\"}", Class::Authentication, "bad_scope"),
        ("200 OK", "<html>Maintenance</html>", Class::Transient, "Maintenance"),
        ("503 Busy", "{\"error\": \"invalid_client\"}", Class::Transient, "503"),
        ("400 Bad Request", "{\"error\": \"slow_down\"}", Class::Transient, "slow_down"),
    ];
    for (n, (status, body, class, part)) in cases.into_iter().enumerate() {
        let server = HttpTestServer::start(move |_| answer(status, &[], body)).await;
        let service = service(&format!("source denied-{n}"), &oauth2(&server, ""));
        let fault = service.send(get(&server, "/objects")).await.unwrap_err();
        assert_eq!((fault.class, fault.done, fault.status), (class, Done::No, None), "{fault}");
        assert!(fault.message.contains(part) && !fault.message.contains("s3cret"), "{fault}");
        assert_eq!(server.count("/objects"), 0);
    }
}

#[tokio::test]
async fn where_tokens_are_handed_out_is_judged_like_any_place() {
    let server = provider("3600").await;
    let auth = oauth2(&server, "").replace(&server.url, "http://169.254.169.254");
    let fault = service("source judged", &auth).send(get(&server, "/objects")).await.unwrap_err();
    // It is not about the item that was to be sent.
    assert_eq!(fault.class, Class::Authentication);
    assert!(fault.message.contains("169.254.169.254 is at"), "{fault}");
    assert!(server.asked().is_empty());
}

#[tokio::test]
async fn a_key_signs_for_who_asks() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("key.pem");
    std::fs::write(&path, EC_KEY).unwrap();
    let server = provider("3600").await;
    let auth = format!(
        "[auth]\nkind = \"oauth2\"\ntoken_url = \"{}/token\"\nclient_id = \"me\"\nscope = \"rest\"\n\
         assertion = {{ key = \"${{file:{}}}\", kid = \"k1\", algorithm = \"ES256\" }}",
        server.url,
        path.display()
    );
    service("sink signed", &auth).send(get(&server, "/objects")).await.unwrap();
    let asked = &server.asked()[0];
    let form: Vec<(String, String)> =
        url::form_urlencoded::parse(asked.body.as_bytes()).into_owned().collect();
    let names: Vec<&str> = form.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["grant_type", "client_assertion_type", "client_assertion", "scope"]);
    assert_eq!(form[0].1, "client_credentials");
    assert_eq!(form[1].1, "urn:ietf:params:oauth:client-assertion-type:jwt-bearer");
    assert_eq!(form[2].1.split('.').count(), 3);
    assert!(
        super::Service::new(
            "sink none",
            &super::config(&auth.replace("key.pem", "no.pem")),
            Path::new("/x")
        )
        .is_err()
    );
}

/// Made for this test, and good for nothing else.
const EC_KEY: &str = "-----BEGIN PRIVATE KEY-----\n\
    MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgNSXNGJ3s9h2teZGi\n\
    7Sgbb2vri6GZYVpjhlePqhGbRi6hRANCAAT2/TKEelckN+bGH5QtjQKFBY/G/rHg\n\
    lIZoQ3sZxdJ/ofB3PKZMthN/t96zZeD0SDVyqbqdmElcbcDvXkB0Jro6\n\
    -----END PRIVATE KEY-----\n";

#[tokio::test]
async fn a_service_is_shared_by_its_clones() {
    let server = provider("3600").await;
    let service = Arc::new(service("source clones", &oauth2(&server, "scope = \"clones\"")));
    let clone = service.as_ref().clone();
    clone.send(get(&server, "/objects")).await.unwrap();
    service.send(get(&server, "/objects")).await.unwrap();
    assert_eq!(server.count("/token"), 1);
}
