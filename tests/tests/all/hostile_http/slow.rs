//! Clients that hold what they got: they send slowly, or read nothing.

use std::time::Duration;

use branchline_tests::wire::Wire;

use super::{JSON, Site};

#[test]
fn slow_clients_keep_nobody_out_for_long() {
    let folder = tempfile::tempdir().unwrap();
    let site = Site::start(folder.path());
    let put = site.head("PUT", "/v1/records/products/tea");
    // As many as may connect, and more; some with half a head, some with half a body, some silent.
    let beginnings = [
        String::new(),
        "GET /v1/st".to_owned(),
        put.clone(),
        format!("{put}{JSON}Content-Length: 100\r\n\r\n{{"),
        format!("{put}{JSON}Transfer-Encoding: chunked\r\n\r\n1\r\n{{\r\n"),
    ];
    let mut slow: Vec<Wire> = Vec::new();
    for (number, beginning) in (0..300).zip(beginnings.iter().cycle()) {
        let mut wire = Wire::to(site.address);
        assert!(wire.send(beginning.as_bytes()), "connection {number}");
        slow.push(wire);
    }
    // Within the patience of a client.
    site.is_well();
    for (number, wire) in slow.iter_mut().enumerate() {
        let reply = wire.reply();
        let refused = reply.as_ref().is_none_or(|reply| (400..500).contains(&reply.status));
        assert!(refused, "connection {number}: {reply:?}");
        assert!(wire.is_closed(), "connection {number}");
    }
    // One byte every now and then is no better.
    let mut wire = Wire::to(site.address);
    let drip = put.as_bytes().iter().cycle();
    let sent = drip.take(600).take_while(|byte| {
        std::thread::sleep(Duration::from_millis(100));
        wire.send(&[**byte])
    });
    assert!(sent.count() < 600, "a head may take a minute");
    site.is_well();
}

#[test]
#[ignore = "takes a minute: an answer that is not read is held for half of one"]
fn answers_that_nobody_reads_are_given_up() {
    let folder = tempfile::tempdir().unwrap();
    let site = Site::start(folder.path());
    let fields = format!("{{\"a\":\"{}\"}}", "x".repeat(1_000_000));
    for number in 0..12 {
        let path = format!("/v1/records/large/{number}");
        assert_eq!(site.ask("PUT", &path, JSON, &fields).status, 200);
    }
    let list = site.request("GET", "/v1/records/large", "", "");
    let unread: Vec<Wire> = (0..256)
        .map(|_| {
            let mut wire = Wire::to(site.address);
            wire.send(&list);
            wire
        })
        .collect();
    // They hold all connections there are, until they are given up.
    assert_eq!(site.ask("GET", "/v1/status", "", "").status, 200);
    drop(unread);
}
