//! What others can make a site do or hold is bounded. Where each limit is proved:
//!
//! | limit | test |
//! |---|---|
//! | `connections_total` | [`a_full_site_lets_others_in_when_there_is_room_again`] |
//! | `connections_per_peer` | `reconnect.rs`: simultaneous dials; `tests/hostile_peer`: reconnects without end |
//! | `connections_pending_inbound`, `…_per_address` | `handshakes.rs`; `tests/hostile_peer`: half-open connections. The total is the library's and needs as many machines |
//! | `connections_pending_outbound` | none: the library's, for this site's own dials, which `Task::may_redial` keeps below half of it |
//! | `dialled_peers` | [`enough_members_are_dialled_and_more_are_let_in`] |
//! | `handshake_timeout` | [`a_handshake_without_end_is_ended`] |
//! | `strangers`, `stranger_lifetime`, `introduction_bytes` | `admission.rs`; `tests/hostile_peer`: introductions without end |
//! | `welcome_bytes` | `admission.rs`: an answer is sent; `frame.rs`: a longer one is refused |
//! | `strangers_per_address` | [`one_address_does_not_take_the_places_of_all_strangers`] |
//! | `streams_per_connection` | `tests/hostile_peer`: streams without number |
//! | `requests_per_peer` | `delivery.rs` for own ones; [`more_requests_than_allowed_are_not_taken`] |
//! | `requests_in_flight` | [`requests_to_all_peers_together_are_bounded`] |
//! | `request_bytes`, `response_bytes` | `delivery.rs`, `frame.rs`; `tests/hostile_peer`: broken requests, bombs |
//! | `request_timeout` | [`a_request_that_nobody_answers_ends`] |
//! | `gossip_bytes` | `delivery.rs`; `tests/hostile_peer`: gossip floods |
//! | `gossip_queue` | `tests/network_links`: a link that stops carrying |
//! | `topics` | `tests/hostile_peer`: topics without number |
//! | `command_queue` | `delivery.rs`: a full event channel |

use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;

use super::super::RequestFailure;
use super::admission::{closed, stranger};
use super::delivery::failure;
use super::*;

#[tokio::test]
async fn a_handshake_without_end_is_ended() {
    let mut plan = Plan::new(&[TCP]);
    plan.limits.handshake_timeout = Duration::from_millis(300);
    let a = plan.start().await;
    let mut silent = TcpStream::connect(("127.0.0.1", port_of(&a.addresses[0]))).await.unwrap();
    let mut heard = Vec::new();
    let end = tokio::time::timeout(DEADLINE, silent.read_to_end(&mut heard)).await;
    // However it ends.
    let _ = end.expect("the site hangs up");
    assert!(heard.is_empty(), "{heard:?}");
}

#[tokio::test]
async fn one_address_does_not_take_the_places_of_all_strangers() {
    let mut plan = Plan::new(&[TCP]);
    plan.limits.strangers_per_address = 1;
    let a = plan.start().await;
    let first = stranger(&a).await;
    closed(&mut stranger(&a).await).await;
    assert!(first.is_connected(&a.peer), "the first is still there");
}

#[tokio::test]
async fn a_full_site_lets_others_in_when_there_is_room_again() {
    let mut plan = Plan::new(&[TCP]);
    plan.limits.connections_total = 1;
    let mut a = plan.start().await;
    let b = TestPeer::start(&[TCP]).await;
    let mut c = TestPeer::start(&[TCP]).await;
    a.members(&[b.peer, c.peer]).await;
    b.members(&[a.peer]).await;
    c.members(&[a.peer]).await;
    b.knows(&a).await;
    a.up(b.peer).await;
    c.knows(&a).await;
    // To c it looks like a connection that ends at once.
    c.down(a.peer).await;
    assert!(a.info(b.peer).await.unwrap().connected);
    assert!(!a.info(c.peer).await.unwrap().connected);
    b.stop().await;
    a.up(c.peer).await;
}

#[tokio::test]
async fn enough_members_are_dialled_and_more_are_let_in() {
    let mut plan = Plan::new(&[TCP]);
    plan.limits.dialled_peers = 1;
    let mut a = plan.start().await;
    let mut b = TestPeer::start(&[TCP]).await;
    let mut c = TestPeer::start(&[TCP]).await;
    a.members(&[b.peer, c.peer]).await;
    b.members(&[a.peer]).await;
    c.members(&[a.peer]).await;
    a.knows(&b).await;
    assert!(a.up(b.peer).await, "a dials the first");
    a.knows(&c).await;
    ask(&mut a, &mut b, b"still there?", b"yes").await;
    c.knows(&a).await;
    assert!(c.up(a.peer).await, "the second had to dial");
    assert!(!a.up(c.peer).await);
}

#[tokio::test]
async fn requests_to_all_peers_together_are_bounded() {
    let mut plan = Plan::new(&[TCP]);
    plan.limits.requests_in_flight = 2;
    let mut a = plan.start().await;
    let mut b = TestPeer::start(&[TCP]).await;
    let c = TestPeer::start(&[TCP]).await;
    connect(&mut a, &mut b).await;
    a.members(&[b.peer, c.peer]).await;
    c.members(&[a.peer]).await;
    a.knows(&c).await;
    a.up(c.peer).await;
    for (id, to) in [(1, b.peer), (2, c.peer), (3, c.peer)] {
        a.send(Command::Request { to, id, body: vec![] }).await;
    }
    assert_eq!(failure(&mut a, 3).await, RequestFailure::Busy { in_flight: 2 });
}

#[tokio::test]
async fn a_request_that_nobody_answers_ends() {
    let mut plan = Plan::new(&[TCP]);
    plan.limits.request_timeout = Duration::from_millis(300);
    let mut a = plan.start().await;
    let mut b = TestPeer::start(&[TCP]).await;
    connect(&mut a, &mut b).await;
    a.send(Command::Request { to: b.peer, id: 1, body: vec![] }).await;
    assert_eq!(failure(&mut a, 1).await, RequestFailure::Timeout);
}

#[tokio::test]
async fn more_requests_than_allowed_are_not_taken() {
    let mut plan = Plan::new(&[TCP]);
    plan.limits.requests_per_peer = 1;
    let mut a = TestPeer::start(&[TCP]).await;
    let mut b = plan.start().await;
    connect(&mut a, &mut b).await;
    for id in 0..8 {
        a.send(Command::Request { to: b.peer, id, body: vec![] }).await;
    }
    // The library counts both directions together, so two are taken; the others fail without an answer.
    let mut tokens = Vec::new();
    while tokens.len() < 2 {
        let token = b
            .wait("request", |event| match event {
                Event::Request { token, .. } => Ok(token),
                event => Err(event),
            })
            .await;
        tokens.push(token);
    }
    let mut failed = BTreeSet::new();
    while failed.len() < 6 {
        let id = a
            .wait("failure", |event| match event {
                Event::RequestFailed { id, .. } => Ok(id),
                event => Err(event),
            })
            .await;
        failed.insert(id);
    }
    while let Ok(event) = b.events.try_recv() {
        assert!(!matches!(event, Event::Request { .. }), "a third request was taken");
    }
}
