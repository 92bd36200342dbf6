//! Requests that are no sound HTTP, hide others, or lead elsewhere.

use std::fmt::Write;

use branchline_tests::wire::Wire;

use super::{JSON, Site};

#[test]
fn what_is_no_sound_request_ends_its_connection() {
    let folder = tempfile::tempdir().unwrap();
    let site = Site::start(folder.path());
    let put = site.head("PUT", "/v1/records/products/tea");
    let flood = (0..10_000).fold(site.head("GET", "/v1/status"), |mut head, number| {
        write!(head, "X-{number}: {number}\r\n").unwrap();
        head
    });
    for bytes in [
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0".to_vec(),
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".to_vec(),
        b"\r\n\r\n\r\n".to_vec(),
        vec![0; 100_000],
        vec![b'A'; 300_000],
        b"GET /v1/status\r\n\r\n".to_vec(),
        b"GET /v1/status HTTP/9.9\r\n\r\n".to_vec(),
        format!("{put}Content-Length: 2\r\nContent-Length: 9\r\n\r\n{{}}").into_bytes(),
        format!("{put}Content-Length: 2, 9\r\n\r\n{{}}").into_bytes(),
        format!("{put}Content-Length: -1\r\n\r\n{{}}").into_bytes(),
        format!("{put}Content-Length: 99999999999999999999\r\n\r\n{{}}").into_bytes(),
        format!("{put}Transfer-Encoding: gzip\r\n\r\n{{}}").into_bytes(),
        format!("{put}{JSON}Transfer-Encoding: chunked\r\n\r\nzz\r\n{{}}\r\n0\r\n\r\n")
            .into_bytes(),
        format!("{put}{JSON}Transfer-Encoding: chunked\r\n\r\nffffffffffffffffff\r\n{{}}")
            .into_bytes(),
        format!(
            "{put}{JSON}Transfer-Encoding: chunked\r\n\r\n2;{}\r\n{{}}\r\n0\r\n\r\n",
            "x".repeat(100_000)
        )
        .into_bytes(),
        format!("{put}Header without a colon\r\n\r\n").into_bytes(),
        format!("{put}X: a\r\n folded\r\n\r\n").into_bytes(),
        format!("{put}X: {}\r\n\r\n", "x".repeat(200_000)).into_bytes(),
        format!("{put}Bad Name: x\r\n\r\n").into_bytes(),
        format!("{put}X: a\0b\r\n\r\n").into_bytes(),
        format!("{flood}\r\n").into_bytes(),
        site.head("GET", &format!("/v1/records/products/{}", "a".repeat(100_000))).into_bytes(),
        [site.head("GET", "/v1/records/products/").as_bytes(), b"\xff\xfe"].concat(),
        b"GET /v1/records/\xff\xfe HTTP/1.1\r\n\r\n".to_vec(),
    ] {
        site.drops(&bytes);
    }
}

#[test]
fn one_connection_does_not_smuggle_requests_past_the_guard() {
    let folder = tempfile::tempdir().unwrap();
    let site = Site::start(folder.path());
    let record = "/v1/records/products/tea";
    let hidden = format!(
        "PUT {record} HTTP/1.1\r\nHost: {}\r\n{JSON}Content-Length: 2\r\n\r\n{{}}",
        site.address
    );
    let status = site.head("GET", "/v1/status");
    // Whichever of the two lengths one believes, the second request has no token.
    let chunked = format!(
        "{status}Content-Length: {}\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{hidden}",
        hidden.len() + 5
    );
    let twisted = format!(
        "{status}Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n{hidden}"
    );
    let spaced = format!(
        "{status}Transfer-Encoding : chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n{hidden}"
    );
    let plain = format!("{status}\r\n{hidden}");
    for bytes in [chunked, twisted, spaced, plain] {
        let mut wire = Wire::to(site.address);
        wire.send(bytes.as_bytes());
        wire.end();
        let mut statuses = Vec::new();
        while let Some(reply) = wire.reply() {
            statuses.push(reply.status);
        }
        assert!(statuses.iter().skip(1).all(|status| *status >= 400), "{statuses:?}: {bytes}");
        site.is_well();
    }
    // Many at once are answered one after the other, in order.
    let mut wire = Wire::to(site.address);
    let health = site.head("GET", "/healthz");
    assert!(wire.send(format!("{health}\r\n{status}\r\n").repeat(100).as_bytes()));
    for _ in 0..100 {
        assert_eq!(wire.reply().unwrap().body, b"ok");
        assert_eq!(wire.reply().unwrap().status, 200);
    }
    // Headers and parameters change no method.
    let put = "X-HTTP-Method-Override: PUT\r\nX-Method-Override: PUT\r\nX-HTTP-Method: PUT\r\n";
    assert_eq!(site.ask("GET", "/v1/collections?_method=PUT", put, "").status, 200);
    for method in ["POST", "TRACE", "CONNECT", "BREW", "get"] {
        let reply = site.send(&site.request(method, record, put, "{}"));
        let refused = reply.as_ref().is_none_or(|reply| (400..500).contains(&reply.status));
        assert!(refused, "{method}: {reply:?}");
        site.is_well();
    }
}

#[test]
fn paths_and_parameters_lead_nowhere_else() {
    let folder = tempfile::tempdir().unwrap();
    let site = Site::start(folder.path());
    let get = |path: &str| site.request("GET", path, "", "");
    for path in [
        "/../../etc/passwd",
        "/v1/../v1/status",
        "/v1/records/..%2f..%2fsite.key",
        "//v1/status",
        "/v1//status",
        "/v1/status/",
        "/v1/status%00",
        "/%76%31/status",
        "/v1/records/products/a/b/c",
        "/V1/STATUS",
        "/v1/records//tea",
    ] {
        let reply = site.send(&get(path)).expect("an answer");
        let code = reply.code().expect("an error");
        assert!(matches!(reply.status, 400 | 404), "{path}: {reply:?}");
        assert!(matches!(code.as_str(), "not_found" | "bad_name" | "bad_parameter"), "{path}");
    }
    for (path, code) in [
        ("/v1/records/products/a%00b", "bad_name"),
        ("/v1/records/products/a%0ab", "bad_name"),
        ("/v1/records/products/%ff%fe", "bad_parameter"),
        ("/v1/records/%2e%2e/tea", "bad_name"),
        ("/v1/records/products%2ftea", "bad_name"),
        ("/v1/records/_network/tea", "bad_name"),
        ("/v1/records/products?limit=0", "bad_parameter"),
        ("/v1/records/products?limit=-1", "bad_parameter"),
        ("/v1/records/products?limit=99999999999999999999", "bad_parameter"),
        ("/v1/records/products?limit=1&limit=2", "bad_parameter"),
        ("/v1/records/products?unknown=1", "bad_parameter"),
        ("/v1/conflicts?after=nonsense", "bad_parameter"),
        ("/v1/conflicts?after=Products/tea", "bad_name"),
        ("/v1/conflicts?id=tea", "bad_parameter"),
        ("/v1/digest?collection=..", "bad_name"),
    ] {
        site.refuses(&get(path), 400, code);
    }
    let long = format!("/v1/records/products/{}", "a".repeat(256));
    site.refuses(&get(&long), 400, "bad_name");
    // An id that looks like a path is an id.
    site.refuses(&get("/v1/records/products/%2e%2e%2f%2e%2e"), 404, "record_not_found");
    // A cursor that nobody gave out is a place like any other.
    assert_eq!(
        site.send(&get("/v1/records/products?after=%F0%9F%8D%B5%2F..")).unwrap().status,
        200
    );
}
