//! Services over https: asked only where an authority that is trusted vouches for them, and never without TLS instead.

use std::path::Path;

use super::authorities::{Authority, Lifetime, setting};
use super::places::rebinding;
use super::server::{HttpTestServer, answer, json};
use super::{config, get, service};
use crate::http::{Request, Service};
use crate::jobs::fault::{Class, Done};

const NAME: &str = "crm.example.com";

/// A request to a server by the name of its service.
fn named(server: &HttpTestServer) -> Request {
    let port = server.url.rsplit_once(':').unwrap().1;
    Request::get(format!("https://{NAME}:{port}/accounts"))
}

/// Asks a server with a certificate, and gives what is wrong.
async fn refused(by: &Authority, server: &HttpTestServer) -> String {
    let service = rebinding(&config(&by.setting()), &["127.0.0.1"]);
    let fault = service.send(named(server)).await.unwrap_err();
    // Whoever renews a certificate need not tell this office, and nothing was sent.
    assert_eq!((fault.class, fault.done), (Class::Transient, Done::No), "{fault}");
    assert!(server.asked().is_empty(), "{fault}");
    fault.message
}

#[tokio::test]
async fn a_service_with_a_certificate_of_the_companys_own_authority_is_asked() {
    let authority = Authority::new("Company");
    let by_address = authority.vouch_for("127.0.0.1", Lifetime::Now);
    let server = HttpTestServer::start_tls(by_address, |_| json("\"here\"")).await;
    assert!(server.url.starts_with("https://"), "{}", server.url);
    let by_number = service("source tls", &authority.setting());
    assert_eq!(by_number.send(get(&server, "/")).await.unwrap().body, "\"here\"");
    let by_name = authority.vouch_for(NAME, Lifetime::Now);
    let server = HttpTestServer::start_tls(by_name, |_| json("\"there\"")).await;
    let by_name = rebinding(&config(&authority.setting()), &["127.0.0.1"]);
    assert_eq!(by_name.send(named(&server)).await.unwrap().body, "\"there\"");
}

#[tokio::test]
async fn a_service_for_which_nobody_vouches_is_not_asked() {
    let company = Authority::new("Company");
    let other = Authority::new("Somebody");
    let good = |authority: &Authority| authority.vouch_for(NAME, Lifetime::Now);
    let server = HttpTestServer::start_tls(good(&other), |_| json("{}")).await;
    let what = refused(&company, &server).await;
    for part in ["no authority that is trusted here vouches", NAME, "ca_file = "] {
        assert!(what.contains(part), "{part}: {what}");
    }
    // The machine's own authorities do not vouch for it either.
    let service = rebinding(&config(""), &["127.0.0.1"]);
    let fault = service.send(named(&server)).await.unwrap_err();
    assert!(fault.message.contains("ca_file = "), "{fault}");
    assert!(server.asked().is_empty());
}

#[tokio::test]
async fn a_certificate_of_another_name_or_time_is_refused_by_what_it_says() {
    let company = Authority::new("Company");
    for (name, lifetime, parts) in [
        ("erp.example.com", Lifetime::Now, ["is for", "erp.example.com", "expected one for crm."]),
        (NAME, Lifetime::Over, ["ended on 2001-01-01", "and it is 2", "needs a new one"]),
        (NAME, Lifetime::NotYet, ["begins on 4000-01-01", "and it is 2", "clock is wrong"]),
    ] {
        let acceptor = company.vouch_for(name, lifetime);
        let server = HttpTestServer::start_tls(acceptor, |_| json("{}")).await;
        let what = refused(&company, &server).await;
        for part in parts {
            assert!(what.contains(part), "{part}: {what}");
        }
    }
}

#[tokio::test]
async fn what_does_not_speak_tls_gets_nothing_to_read() {
    let server = HttpTestServer::start(|_| json("{}")).await;
    let what = refused(&Authority::new("Company"), &server).await;
    assert!(what.contains("does not speak TLS"), "{what}");
}

#[tokio::test]
async fn a_redirect_from_https_to_http_is_refused() {
    let authority = Authority::new("Company");
    let plain = HttpTestServer::start(|_| json("\"plain\"")).await;
    let elsewhere = plain.url.clone();
    let acceptor = authority.vouch_for("127.0.0.1", Lifetime::Now);
    let server = HttpTestServer::start_tls(acceptor, move |asked| {
        let host = asked.header("host").unwrap();
        let target = match asked.path() {
            "/same" => format!("http://{host}/accounts"),
            _ => format!("{elsewhere}/accounts"),
        };
        answer("302 Found", &[&format!("Location: {target}")], "")
    })
    .await;
    let with_token =
        format!("{}\nauth = {{ kind = \"bearer\", token = \"s3cret\" }}", authority.setting());
    let service = service("source downgrade", &with_token);
    for path in ["/same", "/elsewhere"] {
        let fault = service.send(get(&server, path)).await.unwrap_err();
        assert_eq!((fault.class, fault.status), (Class::Permanent, Some(302)), "{fault}");
        assert!(fault.message.contains("leads to http://127.0.0.1"), "{fault}");
    }
    assert_eq!(server.asked().len(), 2);
    assert!(plain.asked().is_empty());
}

#[tokio::test]
async fn where_tokens_are_handed_out_has_to_prove_itself_too() {
    let company = Authority::new("Company");
    let acceptor = Authority::new("Somebody").vouch_for("127.0.0.1", Lifetime::Now);
    let tokens = HttpTestServer::start_tls(acceptor, |_| json("{}")).await;
    let server = HttpTestServer::start(|_| json("{}")).await;
    let auth = format!(
        "{}\nauth = {{ kind = \"oauth2\", token_url = \"{}/token\", client_id = \"me\", client_secret = \"s3cret\" }}",
        company.setting(),
        tokens.url
    );
    let fault = service("source tokens", &auth).send(get(&server, "/")).await.unwrap_err();
    assert!(fault.message.contains("ca_file = "), "{fault}");
    assert!(tokens.asked().is_empty() && server.asked().is_empty());
}

#[test]
fn a_file_that_names_no_authority_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("ca.pem");
    let wrong = |parts: &[&str]| {
        let made = Service::new("source file", &config(&setting(&file)), Path::new("/nonexistent"));
        let error = made.unwrap_err().to_string();
        for part in parts {
            assert!(error.contains(part) && error.contains("ca.pem"), "{part}: {error}");
        }
    };
    wrong(&["cannot be read"]);
    std::fs::write(&file, "").unwrap();
    wrong(&["no certificate", "BEGIN CERTIFICATE"]);
    std::fs::write(&file, "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n")
        .unwrap();
    wrong(&["no certificate"]);
    std::fs::write(&file, "-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n").unwrap();
    wrong(&["no PEM"]);
    std::fs::write(&file, vec![b' '; (1 << 20) + 1]).unwrap();
    wrong(&["more than 1048576 bytes"]);
}
