//! Bodies that mean too much or nothing, are too large, or never end.

use branchline_tests::eventually;
use branchline_tests::wire::Wire;

use super::{JSON, Site};

const MIB: u64 = 1024 * 1024;

#[test]
fn json_that_means_too_much_or_nothing_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let site = Site::start(folder.path());
    let before = site.memory_peak();
    let put = |body: &str| site.request("PUT", "/v1/records/products/tea", JSON, body);
    let deep = |open: &str, close: &str, depth: usize| {
        format!("{{\"a\":{}1{}}}", open.repeat(depth), close.repeat(depth))
    };
    for body in [
        String::new(),
        "{".to_owned(),
        "[]".to_owned(),
        "null".to_owned(),
        "{\"a\":1}{\"b\":2}".to_owned(),
        "{\"a\":NaN}".to_owned(),
        "{\"a\":01}".to_owned(),
        "{\"a\":\"\\ud800\"}".to_owned(),
        "{\"a\":\"\\udc00\\ud800\"}".to_owned(),
        "{\"a\":\"\u{1}\"}".to_owned(),
        "{a:1}".to_owned(),
        "\u{feff}{}".to_owned(),
        deep("[", "]", 200),
        deep("{\"a\":", "}", 200),
    ] {
        site.refuses(&put(&body), 400, "bad_json");
    }
    for (body, status, code) in [
        (deep("[", "]", 20), 422, "edit_refused"),
        ("{\"a\":1e400}".to_owned(), 422, "edit_refused"),
        (format!("{{\"a\":{}}}", "9".repeat(100_000)), 422, "edit_refused"),
        ("{\"a\":18446744073709551615}".to_owned(), 422, "edit_refused"),
        ("{\"a\":{\"$inc\":1.5}}".to_owned(), 422, "edit_refused"),
        ("{\"a\":{\"$inc\":9223372036854775807}}".to_owned(), 422, "edit_refused"),
        ("{\"_deleted\":true}".to_owned(), 400, "bad_name"),
        ("{\"a.b\":1}".to_owned(), 400, "bad_name"),
        ("{\"\":1}".to_owned(), 400, "bad_name"),
        (format!("{{\"{}\":1}}", "n".repeat(256)), 400, "bad_name"),
        (format!("{{\"a\":\"{}\"}}", "x".repeat(2 << 20)), 413, "transaction_too_large"),
        (format!("{{\"a\":[{}1]}}", "1,".repeat(70_000)), 413, "transaction_too_large"),
        (deep("[", "]", 1_000_000), 413, "body_too_large"),
        (format!("{{\"a\":[{}1]}}", "1,".repeat(1 << 20)), 413, "body_too_large"),
        (format!("{{\"a\":[{}1]}}", "[],".repeat(1 << 20)), 413, "body_too_large"),
    ] {
        let reply = site.send(&put(&body)).expect("an answer");
        let shown = &body[..body.len().min(60)];
        assert!((400..500).contains(&reply.status), "{shown}: {}", reply.status);
        assert_eq!((reply.status, reply.code().as_deref()), (status, Some(code)), "{shown}");
        site.is_well();
    }
    let taken = site.memory_peak() - before;
    assert!(taken < 200 * MIB, "{taken} bytes");
    site.refuses(&put("{\"a\":1,\"b\":{\"c\":1,\"c\":2}}"), 400, "bad_json");
    // A number stays what it was written as.
    let reply = site.send(&put("{\"a\":-0.0,\"b\":9007199254740993}")).unwrap();
    assert_eq!(String::from_utf8_lossy(&reply.body), "{\"a\":-0.0,\"b\":9007199254740993}");
}

#[test]
fn bodies_that_are_too_large_or_never_end_are_cut_off() {
    let folder = tempfile::tempdir().unwrap();
    let site = Site::start(folder.path());
    let before = site.memory_peak();
    let head = |path: &str| site.head(if path.contains("import") { "POST" } else { "PUT" }, path);
    let line = format!("{{\"id\":\"1\",\"fields\":{{\"_a\":\"{}\"}}}}\n", "x".repeat(16_000));
    for path in ["/v1/records/products/tea", "/v1/import/products", "/v1/schemas/products"] {
        // More than is taken, said beforehand.
        let large = format!("{}{JSON}Content-Length: 100000000\r\n\r\n", head(path));
        site.refuses(large.as_bytes(), 413, "body_too_large");
        // The same, piece by piece and without an end.
        let mut wire = Wire::to(site.address);
        wire.send(format!("{}{JSON}Transfer-Encoding: chunked\r\n\r\n", head(path)).as_bytes());
        let chunk = format!("{:x}\r\n{line}\r\n", line.len());
        let sent = (0..2_000).take_while(|_| wire.send(chunk.as_bytes())).count();
        assert!(sent < 2_000, "{path}: 32 MB were taken");
        // The answer may be lost with what was still on its way.
        assert!(wire.reply().is_none_or(|reply| reply.status == 413), "{path}");
        site.is_well();
    }
    // Many at once.
    std::thread::scope(|scope| {
        for _ in 0..40 {
            scope.spawn(|| {
                let body = line.repeat(500);
                let path = "/v1/import/products";
                let kind = "Content-Type: application/x-ndjson\r\n";
                // On a slow machine the room for bodies is not free in time for all.
                eventually("each is taken at last", || {
                    let reply = site.ask("POST", path, kind, &body);
                    assert!(matches!(reply.status, 200 | 503), "{reply:?}");
                    reply.status == 200
                });
            });
        }
    });
    let many = "x\n".repeat(10_001);
    let reply = site.ask("POST", "/v1/import/products", JSON, &many);
    assert_eq!((reply.status, reply.code().as_deref()), (413, Some("body_too_large")));
    site.is_well();
    let taken = site.memory_peak() - before;
    assert!(taken < 600 * MIB, "{taken} bytes");
}
