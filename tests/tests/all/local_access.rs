//! Who on the machine reaches a node, and what the others of the machine cannot do: commands speak over the socket in the
//! data folder, programs at the port hold the token, and nobody else learns the token or keeps them out.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::time::Duration;

use branchline_tests::wire::{Reply, Wire};
use branchline_tests::{Office, client, eventually};

use crate::PROGRAM;

fn get(path: &str, host: SocketAddr, headers: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n{headers}\r\n").into_bytes()
}

fn ask(address: SocketAddr, path: &str, headers: &str) -> Option<Reply> {
    let mut wire = Wire::to(address);
    wire.send(&get(path, address, headers));
    wire.reply()
}

fn status_at(office: &Office, token: &str) -> u16 {
    let (address, _) = office.api();
    let request = client().get(format!("http://{address}/v1/collections")).bearer_auth(token);
    request.send().expect("an answer").status().as_u16()
}

#[test]
fn commands_speak_over_a_socket_that_only_the_owner_opens_however_long_its_path() {
    let folder = tempfile::tempdir().unwrap();
    for parent in [folder.path().to_owned(), folder.path().join("n".repeat(150))] {
        std::fs::create_dir_all(&parent).unwrap();
        let mut head = Office::init(PROGRAM, &parent, "head", true);
        head.start();
        let socket = std::fs::symlink_metadata(head.data.join("api.sock")).unwrap();
        assert!(socket.file_type().is_socket());
        assert_eq!(socket.permissions().mode() & 0o777, 0o600);
        head.run(["put", "products", "tea", r#"{"price": 1}"#]).ok();
        assert_eq!(head.status()["running"], true);
        // No token is needed there, and a wrong one does no harm: the file may be somebody else's business.
        std::fs::rename(head.data.join("api.token"), head.data.join("api.token.away")).unwrap();
        assert_eq!(head.count("products"), 1);
        std::fs::rename(head.data.join("api.token.away"), head.data.join("api.token")).unwrap();
        assert_eq!(head.stop(), 0);
        assert!(!head.data.join("api.sock").exists());
        assert_eq!(head.status()["running"], false);
        // A socket that a killed node left behind is nobody's.
        head.start();
        head.kill();
        assert!(head.data.join("api.sock").exists());
        assert_eq!(head.status()["running"], false);
        head.start();
        assert_eq!(head.count("products"), 1);
    }
}

/// The port of a node that was killed may be anybody's.
#[test]
fn who_listens_at_the_port_of_a_node_that_is_gone_learns_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let mut head = Office::init(PROGRAM, folder.path(), "head", true);
    head.start();
    let (address, _) = head.api();
    head.kill();
    assert_eq!(head.api().0, address, "the run file still names the port");
    let listener = TcpListener::bind(address).unwrap();
    listener.set_nonblocking(true).unwrap();
    let nobody_came = || match listener.accept() {
        Ok((mut stream, _)) => {
            let mut heard = Vec::new();
            stream.set_nonblocking(false).unwrap();
            stream.set_read_timeout(Some(Duration::from_secs(1))).unwrap();
            let _ = stream.read_to_end(&mut heard);
            panic!("a command sent {:?}", String::from_utf8_lossy(&heard));
        }
        Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
    };
    head.status();
    head.run(["put", "products", "tea", "{}"]).ok();
    head.run(["check"]).fails(2);
    nobody_came();
    // While a node starts, and once it runs elsewhere.
    head.start();
    assert_ne!(head.api().0, address);
    assert_eq!(head.status()["running"], true);
    head.run(["check"]);
    nobody_came();
}

#[test]
fn a_new_token_opens_at_once_and_the_old_one_no_more() {
    let folder = tempfile::tempdir().unwrap();
    let mut head = Office::init(PROGRAM, folder.path(), "head", true);
    let (first, second, third);
    head.start();
    first = head.api().1;
    let (address, _) = head.api();
    let mut events = Wire::to(address);
    let headers = format!("Authorization: Bearer {first}\r\nAccept: text/event-stream\r\n");
    events.send(&get("/v1/changes", address, &headers));
    assert_eq!(events.reply().unwrap().status, 200);
    let reported = head.run(["token", "rotate"]).ok();
    second = head.api().1;
    assert!(reported.contains("api.token") && !reported.contains(&second), "{reported}");
    assert_eq!((status_at(&head, &first), status_at(&head, &second)), (401, 200));
    let mode = std::fs::metadata(head.data.join("api.token")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert!(events.is_closed(), "nothing goes on that the old token opened");
    // Of a stopped node, too.
    assert_eq!(head.stop(), 0);
    head.run(["token", "rotate"]).ok();
    head.start();
    third = head.api().1;
    assert_eq!((status_at(&head, &second), status_at(&head, &third)), (401, 200));
}

#[test]
fn who_shows_no_token_keeps_no_connection_and_takes_nobodys_place() {
    let folder = tempfile::tempdir().unwrap();
    let mut head = Office::init(PROGRAM, folder.path(), "head", true);
    head.start();
    let (address, token) = head.api();
    let authorization = format!("Authorization: Bearer {token}\r\n");
    // Health and readiness are reported to all, and their connection ends; that of the token's holder is kept.
    for (path, body) in [("/healthz", "ok"), ("/readyz", "ready")] {
        let mut wire = Wire::to(address);
        wire.send(&get(path, address, "Connection: keep-alive\r\n"));
        let reply = wire.reply().unwrap();
        assert_eq!((reply.status, reply.body), (200, body.as_bytes().to_vec()));
        assert!(reply.head.contains("connection: close"), "{}", reply.head);
        assert!(wire.is_closed());
        let mut wire = Wire::to(address);
        for _ in 0..3 {
            wire.send(&get(path, address, &authorization));
            let reply = wire.reply().expect("the connection is kept");
            assert!(reply.head.contains("keep-alive: timeout="), "{}", reply.head);
        }
    }
    let refused = ask(address, "/v1/status", "").unwrap();
    assert!(refused.status == 401 && refused.head.contains("connection: close"));
    // Far more connections than there are places: silent ones, ones with half a request, ones that ask for health.
    let silent: Vec<_> = (0..400)
        .map(|number| {
            let mut stream = TcpStream::connect(address).expect("the node accepts");
            if number % 2 == 0 {
                let _ = stream.write_all(b"GET /healthz HT");
            }
            stream
        })
        .collect();
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(move || {
                for _ in 0..300 {
                    // It may be sent away.
                    let mut stream = TcpStream::connect(address).expect("the node accepts");
                    let _ = stream.write_all(&get("/healthz", address, ""));
                }
            });
        }
        for _ in 0..20 {
            eventually("who shows the token is answered", || {
                let reply = ask(address, "/v1/collections", &authorization);
                reply.is_some_and(|reply| reply.status == 200)
            });
            assert_eq!(head.count("products"), 0);
        }
    });
    drop(silent);
    // More connections of the token's holder than there are places wait for one.
    let mut kept: Vec<_> = (0..300)
        .map(|_| {
            let mut wire = Wire::to(address);
            wire.send(&get("/healthz", address, &authorization));
            wire
        })
        .collect();
    eventually("commands come through", || head.run(["status"]).code == 0);
    kept.drain(..100);
    for wire in &mut kept {
        assert_eq!(wire.reply().expect("an answer").status, 200);
    }
}
