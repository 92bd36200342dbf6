//! Strangers can introduce themselves and do nothing else.

use futures::{FutureExt as _, StreamExt as _};
use libp2p::request_response::{self, OutboundFailure, ProtocolSupport};
use libp2p::swarm::SwarmEvent;
use libp2p::{StreamProtocol, Swarm, SwarmBuilder, noise, tcp, yamux};

use super::super::frame::FrameCodec;
use super::super::swarm::{JOIN_PROTOCOL, SYNC_PROTOCOL};
use super::super::{IntroductionFailure, IntroductionToken, RequestFailure};
use super::*;

pub(super) type Probe = Swarm<request_response::Behaviour<FrameCodec>>;

/// A stranger with a valid key that speaks one protocol and keeps to no limit.
pub(super) fn probe(protocol: StreamProtocol) -> Probe {
    let codec = FrameCodec { request_bytes_max: usize::MAX, response_bytes_max: usize::MAX };
    let protocols = [(protocol, ProtocolSupport::Full)];
    SwarmBuilder::with_new_identity()
        .with_tokio()
        .with_tcp(tcp::Config::default(), noise::Config::new, yamux::Config::default)
        .unwrap()
        .with_behaviour(|_| {
            request_response::Behaviour::with_codec(codec, protocols, Default::default())
        })
        .unwrap()
        .with_swarm_config(|config| config.with_idle_connection_timeout(DEADLINE * 2))
        .build()
}

/// Sends one request and returns its outcome.
async fn outcome(
    probe: &mut Probe,
    (peer, addresses): (PeerId, Vec<Multiaddr>),
    body: Vec<u8>,
) -> Result<Vec<u8>, OutboundFailure> {
    let behaviour = probe.behaviour_mut();
    behaviour.send_request_with_addresses(&peer, body, addresses);
    let search = async {
        loop {
            match probe.select_next_some().await {
                SwarmEvent::Behaviour(request_response::Event::Message {
                    message: request_response::Message::Response { response, .. },
                    ..
                }) => return Ok(response),
                SwarmEvent::Behaviour(request_response::Event::OutboundFailure {
                    error, ..
                }) => return Err(error),
                _ => {}
            }
        }
    };
    tokio::time::timeout(DEADLINE, search).await.unwrap()
}

async fn introduction(site: &mut TestPeer) -> (PeerId, IntroductionToken, Vec<u8>) {
    site.wait("introduction", |event| match event {
        Event::Introduction { from, token, body } => Ok((from, token, body)),
        event => Err(event),
    })
    .await
}

async fn answer(site: &mut TestPeer, number: u64) -> Result<Vec<u8>, IntroductionFailure> {
    site.wait("answer", |event| match event {
        Event::IntroductionAnswer { id, body, .. } if id == number => Ok(Ok(body)),
        Event::IntroductionFailed { id, reason, .. } if id == number => Ok(Err(reason)),
        event => Err(event),
    })
    .await
}

async fn introduce(site: &TestPeer, to: &TestPeer, id: u64, body: &[u8]) {
    site.send(Command::Introduce {
        to: to.peer,
        addresses: vec![to.address()],
        id,
        body: body.to_vec(),
    })
    .await;
}

#[tokio::test]
async fn a_stranger_sees_no_protocol_but_join() {
    let mut a = TestPeer::start(&[TCP]).await;
    a.send(Command::Subscribe("secret".into())).await;
    for protocol in [
        SYNC_PROTOCOL,
        StreamProtocol::new("/ipfs/id/1.0.0"),
        StreamProtocol::new("/ipfs/id/push/1.0.0"),
        StreamProtocol::new("/ipfs/ping/1.0.0"),
        StreamProtocol::new("/meshsub/1.3.0"),
        StreamProtocol::new("/meshsub/1.2.0"),
        StreamProtocol::new("/meshsub/1.1.0"),
        StreamProtocol::new("/meshsub/1.0.0"),
    ] {
        let refused =
            outcome(&mut probe(protocol.clone()), (a.peer, a.addresses.clone()), vec![]).await;
        assert!(
            matches!(refused, Err(OutboundFailure::UnsupportedProtocols)),
            "{protocol}: {refused:?}"
        );
    }
    let mut stranger = probe(JOIN_PROTOCOL);
    let peer = *stranger.local_peer_id();
    let to = (a.peer, a.addresses.clone());
    let host = async {
        let (from, token, body) = introduction(&mut a).await;
        assert_eq!((from, body), (peer, b"let me in".to_vec()));
        let body = b"who are you?".to_vec();
        a.send(Command::RespondIntroduction { token, body }).await;
    };
    let (answer, ()) = tokio::join!(outcome(&mut stranger, to, b"let me in".to_vec()), host);
    assert_eq!(answer.unwrap(), b"who are you?");
}

#[tokio::test]
async fn a_strangers_oversized_introduction_is_cut() {
    let mut a = TestPeer::start(&[TCP]).await;
    let to = (a.peer, a.addresses.clone());
    let cut = outcome(&mut probe(JOIN_PROTOCOL), to, vec![0; 256 * 1024 + 1]).await;
    assert!(
        matches!(cut, Err(OutboundFailure::Io(_) | OutboundFailure::ConnectionClosed)),
        "{cut:?}"
    );
    // The next event is the next introduction: the oversized one never came up.
    let b = TestPeer::start(&[TCP]).await;
    introduce(&b, &a, 1, b"hello").await;
    assert_eq!(introduction(&mut a).await.0, b.peer);
    let (to, addresses) = (a.peer, vec![a.address()]);
    let body = vec![0; 256 * 1024 + 1];
    let mut b = b;
    b.send(Command::Introduce { to, addresses, id: 2, body }).await;
    let refused = answer(&mut b, 2).await.unwrap_err();
    assert!(matches!(refused, IntroductionFailure::Failed(RequestFailure::TooLarge { .. })));
}

#[tokio::test]
async fn a_silent_stranger_is_sent_away() {
    let mut plan = Plan::new(&[TCP]);
    plan.limits.stranger_lifetime = Duration::from_millis(300);
    let a = plan.start().await;
    closed(&mut stranger(&a).await).await;
    assert!(a.handle.peers().await.unwrap().is_empty());
}

#[tokio::test]
async fn few_strangers_are_let_in() {
    let mut plan = Plan::new(&[TCP]);
    plan.limits.strangers = 2;
    // Far longer than the test: only their number can be a reason to send one away.
    plan.limits.stranger_lifetime = DEADLINE * 10;
    let a = plan.start().await;
    let mut let_in = [stranger(&a).await, stranger(&a).await];
    closed(&mut stranger(&a).await).await;
    for one in &mut let_in {
        while one.next().now_or_never().is_some() {}
        assert!(one.is_connected(&a.peer));
    }
    assert!(a.handle.peers().await.unwrap().is_empty());
}

/// Connects somebody who is no member and says nothing.
pub(super) async fn stranger(site: &TestPeer) -> Probe {
    let mut stranger = probe(JOIN_PROTOCOL);
    stranger.dial(site.address()).unwrap();
    let established = async {
        while !matches!(stranger.select_next_some().await, SwarmEvent::ConnectionEstablished { .. })
        {
        }
    };
    tokio::time::timeout(DEADLINE, established).await.unwrap();
    stranger
}

/// Waits until the site has closed the connection.
pub(super) async fn closed(stranger: &mut Probe) {
    let closed = async {
        while !matches!(stranger.select_next_some().await, SwarmEvent::ConnectionClosed { .. }) {}
    };
    tokio::time::timeout(DEADLINE, closed).await.unwrap();
}

async fn admission(transport: &str) {
    let mut a = TestPeer::start(&[transport]).await;
    let mut b = TestPeer::start(&[transport]).await;
    introduce(&b, &a, 1, b"a ticket").await;
    let (from, token, body) = introduction(&mut a).await;
    assert_eq!((from, body.as_slice()), (b.peer, &b"a ticket"[..]));
    // Admitted before it is answered: the answer must still arrive.
    a.members(&[b.peer]).await;
    let body = vec![5; 200_000];
    a.send(Command::RespondIntroduction { token, body }).await;
    assert!(answer(&mut b, 1).await.unwrap() == vec![5; 200_000]);
    b.members(&[a.peer]).await;
    b.knows(&a).await;
    a.up(b.peer).await;
    b.up(a.peer).await;
    ask(&mut a, &mut b, b"now?", b"now").await;
    ask(&mut b, &mut a, b"and back?", b"and back").await;

    // Gossip must not be misled by the connection that was a stranger's.
    a.send(Command::Subscribe("news".into())).await;
    b.send(Command::Subscribe("news".into())).await;
    a.warm_up(&mut b, "news").await;
    b.warm_up(&mut a, "news").await;

    // Members can introduce themselves too, and stay connected.
    introduce(&b, &a, 2, b"again").await;
    let (_, token, _) = introduction(&mut a).await;
    let body = b"welcome".to_vec();
    a.send(Command::RespondIntroduction { token, body }).await;
    assert_eq!(answer(&mut b, 2).await.unwrap(), b"welcome");
    ask(&mut a, &mut b, b"still?", b"still").await;
}

#[tokio::test]
async fn an_admitted_stranger_becomes_a_member_over_tcp() {
    admission(TCP).await;
}

#[tokio::test]
async fn an_admitted_stranger_becomes_a_member_over_quic() {
    admission(QUIC).await;
}

#[tokio::test]
async fn an_introduction_to_nobody_fails() {
    let a = TestPeer::start(&[TCP]).await;
    let mut b = TestPeer::start(&[TCP]).await;
    let somebody_else = a.addresses.clone();
    for (id, addresses) in [(1, somebody_else), (2, vec![])] {
        let (to, body) = (PeerId::random(), vec![]);
        b.send(Command::Introduce { to, addresses, id, body }).await;
        let failure = answer(&mut b, id).await.unwrap_err();
        assert!(matches!(failure, IntroductionFailure::Unreachable(_)), "{failure:?}");
    }
}

#[tokio::test]
async fn a_removed_member_is_disconnected_and_cannot_come_back() {
    let mut a = TestPeer::start(&[TCP]).await;
    let mut b = TestPeer::start(&[TCP]).await;
    connect(&mut a, &mut b).await;
    a.members(&[]).await;
    a.down(b.peer).await;
    b.down(a.peer).await;
    // To the removed member the other is still one, so it comes again, and gets nothing.
    b.knows(&a).await;
    b.up(a.peer).await;
    let (to, body) = (a.peer, b"let me in".to_vec());
    b.send(Command::Request { to, id: 1, body }).await;
    let reason = b
        .wait("failure", |event| match event {
            Event::RequestFailed { reason, .. } => Ok(reason),
            event => Err(event),
        })
        .await;
    assert_eq!(reason, RequestFailure::Unsupported);
    introduce(&b, &a, 1, b"please").await;
    let from = a
        .wait("introduction", |event| match event {
            Event::PeerUp { .. } | Event::Request { .. } => panic!("{event:?}"),
            Event::Introduction { from, .. } => Ok(from),
            event => Err(event),
        })
        .await;
    assert_eq!(from, b.peer);
    assert_eq!(a.info(b.peer).await, None);
}
