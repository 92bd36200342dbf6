//! Members exchange requests and gossip.

use std::io::Write as _;

use super::super::RequestFailure;
use super::*;

const TOPIC: &str = "announcements";

async fn exchange(transport: &str) {
    let mut a = TestPeer::start(&[transport]).await;
    let mut b = TestPeer::start(&[transport]).await;
    connect(&mut a, &mut b).await;
    ask(&mut a, &mut b, b"what is new?", &[1; 3_000_000]).await;
    ask(&mut b, &mut a, &[2; 1024 * 1024], b"").await;
    a.send(Command::Subscribe(TOPIC.into())).await;
    b.send(Command::Subscribe(TOPIC.into())).await;
    a.warm_up(&mut b, TOPIC).await;
    a.publish(TOPIC, b"an entry").await;
    let (source, _, data) = b.gossip().await;
    assert_eq!((source, data), (a.peer, b"an entry".to_vec()));
    a.until(b.peer, "measured", |info| info.round_trip_ms.is_some()).await;
    let peer = a.peer;
    a.stop().await;
    b.down(peer).await;
    b.stop().await;
}

#[tokio::test]
async fn members_exchange_requests_and_gossip_over_tcp() {
    exchange(TCP).await;
}

#[tokio::test]
async fn members_exchange_requests_and_gossip_over_quic() {
    exchange(QUIC).await;
}

#[tokio::test]
async fn gossip_is_forwarded_only_after_accept() {
    let mut a = TestPeer::start(&[TCP]).await;
    let mut b = TestPeer::start(&[TCP]).await;
    let mut c = TestPeer::start(&[TCP]).await;
    for site in [&a, &b, &c] {
        site.send(Command::Subscribe(TOPIC.into())).await;
    }
    a.members(&[b.peer]).await;
    b.members(&[a.peer, c.peer]).await;
    c.members(&[b.peer]).await;
    a.knows(&b).await;
    c.knows(&b).await;
    a.up(b.peer).await;
    c.up(b.peer).await;
    a.warm_up(&mut b, TOPIC).await;
    b.warm_up(&mut c, TOPIC).await;

    a.publish(TOPIC, b"first").await;
    a.publish(TOPIC, b"second").await;
    let mut ids = std::collections::BTreeMap::new();
    while ids.len() < 2 {
        let (source, id, data) = b.gossip().await;
        assert_eq!(source, a.peer);
        if data == b"first" || data == b"second" {
            ids.insert(data, id);
        }
    }
    // Were the first forwarded unasked, it would come before the second on the same stream.
    b.accept(a.peer, ids[&b"second".to_vec()].clone()).await;
    let at_c = c.gossip().await;
    assert_eq!((at_c.0, at_c.2.as_slice()), (b.peer, &b"second"[..]));
    b.accept(a.peer, ids[&b"first".to_vec()].clone()).await;
    assert_eq!(c.gossip().await.2, b"first");
}

#[tokio::test]
async fn equal_content_from_two_publishers_is_one_message() {
    let mut a = TestPeer::start(&[TCP]).await;
    let mut b = TestPeer::start(&[TCP]).await;
    let mut c = TestPeer::start(&[TCP]).await;
    for site in [&a, &b, &c] {
        site.send(Command::Subscribe(TOPIC.into())).await;
    }
    a.members(&[b.peer]).await;
    b.members(&[a.peer, c.peer]).await;
    c.members(&[b.peer]).await;
    a.knows(&b).await;
    c.knows(&b).await;
    a.up(b.peer).await;
    c.up(b.peer).await;
    a.warm_up(&mut b, TOPIC).await;
    c.warm_up(&mut b, TOPIC).await;

    a.publish(TOPIC, b"the same").await;
    c.publish(TOPIC, b"the same").await;
    // Each comes after its publisher's copy on the same stream.
    a.publish(TOPIC, b"last of a").await;
    c.publish(TOPIC, b"last of c").await;
    let (mut same, mut last) = (0, 0);
    while last < 2 {
        match b.gossip().await.2.as_slice() {
            b"the same" => same += 1,
            b"last of a" | b"last of c" => last += 1,
            _ => {}
        }
    }
    assert_eq!(same, 1);
}

#[tokio::test]
async fn gossip_of_more_than_8_kib_is_not_sent() {
    let mut a = TestPeer::start(&[TCP]).await;
    let mut b = TestPeer::start(&[TCP]).await;
    a.send(Command::Subscribe(TOPIC.into())).await;
    b.send(Command::Subscribe(TOPIC.into())).await;
    connect(&mut a, &mut b).await;
    a.warm_up(&mut b, TOPIC).await;
    a.publish(TOPIC, &[1; 8 * 1024 + 1]).await;
    a.publish(TOPIC, &[2; 8 * 1024]).await;
    assert!(b.gossip().await.2 == [2; 8 * 1024]);
}

#[tokio::test]
async fn requests_that_cannot_be_sent_fail_with_their_reason() {
    let mut a = TestPeer::start(&[TCP]).await;
    let mut b = TestPeer::start(&[TCP]).await;
    connect(&mut a, &mut b).await;
    let nobody = PeerId::random();
    let too_large = 1024 * 1024 + 1;
    let requests = [(nobody, 1, vec![]), (b.peer, 2, vec![0; too_large])];
    let expected = [
        RequestFailure::NotConnected,
        RequestFailure::TooLarge { bytes: too_large, bytes_max: too_large - 1 },
    ];
    for ((to, id, body), expected) in requests.into_iter().zip(expected) {
        a.send(Command::Request { to, id, body }).await;
        assert_eq!(failure(&mut a, id).await, expected);
    }
    // Unanswered, the ninth is one too many.
    for id in 10..19 {
        let (to, body) = (b.peer, vec![]);
        a.send(Command::Request { to, id, body }).await;
    }
    let busy = RequestFailure::Busy { in_flight: 8 };
    assert_eq!(failure(&mut a, 18).await, busy);
    b.stop().await;
    for _ in 10..18 {
        let reason = a
            .wait("failure", |event| match event {
                Event::RequestFailed { reason, .. } => Ok(reason),
                event => Err(event),
            })
            .await;
        assert!(
            matches!(reason, RequestFailure::ConnectionClosed | RequestFailure::Stream(_)),
            "{reason:?}"
        );
    }
}

pub(super) async fn failure(site: &mut TestPeer, wanted: u64) -> RequestFailure {
    site.wait("failure", |event| match event {
        Event::RequestFailed { id, reason, .. } if id == wanted => Ok(reason),
        event => Err(event),
    })
    .await
}

#[tokio::test]
async fn a_full_event_channel_holds_up_no_command() {
    let mut plan = Plan::new(&[]);
    plan.event_queue = 1;
    let mut site = plan.start().await;
    let to = PeerId::random();
    for id in 0..500 {
        let body = vec![];
        let sent = site.handle.send(Command::Request { to, id, body });
        tokio::time::timeout(DEADLINE, sent).await.unwrap().unwrap();
    }
    assert_eq!(site.handle.peers().await.unwrap(), []);
    for wanted in 0..500 {
        assert_eq!(failure(&mut site, wanted).await, RequestFailure::NotConnected);
    }
}

#[tokio::test]
async fn a_slow_reader_holds_up_its_peers_and_loses_nothing() {
    let mut plan = Plan::new(&[TCP]);
    plan.event_queue = 1;
    let mut slow = plan.start().await;
    let mut b = TestPeer::start(&[TCP]).await;
    connect(&mut slow, &mut b).await;
    for id in 0..8 {
        let (to, body) = (slow.peer, vec![0; 100_000]);
        b.send(Command::Request { to, id, body }).await;
    }
    for _ in 0..8 {
        let token = slow
            .wait("request", |event| match event {
                Event::Request { token, .. } => Ok(token),
                event => Err(event),
            })
            .await;
        let body = vec![];
        slow.send(Command::Respond { token, body }).await;
    }
    let mut answered = BTreeSet::new();
    while answered.len() < 8 {
        let id = b
            .wait("response", |event| match event {
                Event::Response { id, .. } => Ok(id),
                event => Err(event),
            })
            .await;
        answered.insert(id);
    }
}

#[tokio::test]
async fn garbage_on_a_raw_socket_disturbs_nobody() {
    let mut a = TestPeer::start(&[TCP, QUIC]).await;
    let mut b = TestPeer::start(&[TCP]).await;
    connect(&mut a, &mut b).await;
    let garbage: Vec<u8> = (0..100_000_u32).map(|i| (i * 31 % 251) as u8).collect();
    let tcp = ("127.0.0.1", port_of(&a.addresses[0]));
    let mut sockets = Vec::new();
    for _ in 0..20 {
        let mut socket = std::net::TcpStream::connect(tcp).unwrap();
        // The other side hangs up when it has seen enough.
        socket.write_all(&garbage).ok();
        sockets.push(socket);
    }
    for address in &a.addresses {
        let udp = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        for chunk in garbage.chunks(1000) {
            udp.send_to(chunk, ("127.0.0.1", port_of(address))).ok();
        }
    }
    ask(&mut a, &mut b, b"still there?", b"yes").await;
    let mut c = TestPeer::start(&[TCP]).await;
    a.members(&[b.peer, c.peer]).await;
    c.members(&[a.peer]).await;
    c.knows(&a).await;
    c.up(a.peer).await;
}
