//! Links come back, no matter who was away, and where it comes back.

use std::fs;

use super::super::{NetworkError, is_free};
use super::*;

/// Fixes a plan's port to the one that the site got.
fn same_port(plan: &mut Plan, site: &TestPeer) {
    plan.listen = site.addresses.clone();
}

async fn redial(transport: &str) {
    let mut a = TestPeer::start(&[transport]).await;
    let mut plan = Plan::new(&[transport]);
    let mut b = plan.start().await;
    connect(&mut a, &mut b).await;
    same_port(&mut plan, &b);
    b.stop().await;
    a.down(plan.peer()).await;
    a.until(plan.peer(), "failing", |info| info.dial_failures > 0).await;
    // Back with an empty peer book: it can only be found.
    fs::remove_file(plan.book()).ok();
    let mut b = plan.start().await;
    b.members(&[a.peer]).await;
    assert!(a.up(b.peer).await, "found by a dial");
    b.up(a.peer).await;
    a.until(b.peer, "proved", |info| info.dial_failures == 0).await;
}

#[tokio::test]
async fn a_peer_that_comes_back_is_redialled_over_tcp() {
    redial(TCP).await;
}

#[tokio::test]
async fn a_peer_that_comes_back_is_redialled_over_quic() {
    redial(QUIC).await;
}

#[tokio::test]
async fn a_restart_on_a_new_port_is_learnt_from_the_peer_that_dials() {
    let mut a = TestPeer::start(&[TCP]).await;
    let plan = Plan::new(&[TCP]);
    let mut b = plan.start().await;
    connect(&mut a, &mut b).await;
    b.until(a.peer, "learnt", |info| !info.known_addresses.is_empty()).await;
    let old = b.addresses[0].clone();
    b.stop().await;
    a.down(plan.peer()).await;
    let mut b = plan.start().await;
    assert_ne!(b.addresses[0], old);
    b.members(&[a.peer]).await;
    assert!(b.up(a.peer).await, "from its own peer book");
    a.up(b.peer).await;
    a.until(b.peer, "learnt", |info| info.known_addresses.contains(&b.addresses[0])).await;
}

/// Waits until nobody listens on an address any more: QUIC says goodbye for a while.
async fn until_free(address: &Multiaddr) {
    let wait = async {
        while !is_free(address) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(DEADLINE, wait).await.unwrap();
}

/// Another site at the address of one, as the network task of a third tells of it.
async fn stranger_at(transport: &str) -> (TestPeer, Plan, Plan, TestPeer) {
    let mut a = TestPeer::start(&[transport]).await;
    let mut former = Plan::new(&[transport]);
    let mut b = former.start().await;
    connect(&mut a, &mut b).await;
    same_port(&mut former, &b);
    b.stop().await;
    a.down(former.peer()).await;
    until_free(&former.listen[0]).await;
    let next = Plan { listen: former.listen.clone(), ..Plan::new(&[]) };
    let c = next.start().await;
    let found = a.wait("stranger", |event| match event {
        Event::Stranger { peer } => Ok(peer),
        event => Err(event),
    });
    assert_eq!(found.await, next.peer());
    (a, former, next, c)
}

async fn replaced(transport: &str) {
    let (mut a, former, next, mut c) = stranger_at(transport).await;
    // What is said to it needs no address.
    let (to, body) = (next.peer(), b"who are you?".to_vec());
    a.send(Command::Introduce { to, addresses: vec![], id: 1, body }).await;
    let token = c
        .wait("introduction", |event| match event {
            Event::Introduction { from, token, .. } if from == a.peer => Ok(token),
            event => Err(event),
        })
        .await;
    c.members(&[a.peer]).await;
    c.send(Command::RespondIntroduction { token, body: b"who I was".to_vec() }).await;
    a.wait("answer", |event| match event {
        Event::IntroductionAnswer { id: 1, .. } => Ok(()),
        event => Err(event),
    })
    .await;
    a.members(&[former.peer(), next.peer()]).await;
    assert!(a.up(next.peer()).await, "where it was found");
    c.up(a.peer).await;
}

#[tokio::test]
async fn whoever_answers_where_a_member_was_can_be_let_in_over_tcp() {
    replaced(TCP).await;
}

#[tokio::test]
async fn whoever_answers_where_a_member_was_can_be_let_in_over_quic() {
    replaced(QUIC).await;
}

#[tokio::test]
async fn a_stranger_at_a_members_address_keeps_it_away_only_while_it_is_there() {
    let (mut a, former, _, c) = stranger_at(TCP).await;
    c.stop().await;
    until_free(&former.listen[0]).await;
    // With an empty peer book: it can only be found.
    fs::remove_file(former.book()).ok();
    let mut b = former.start().await;
    b.members(&[a.peer]).await;
    a.up(b.peer).await;
    b.up(a.peer).await;
}

#[tokio::test]
async fn the_peer_book_survives_a_restart() {
    let plan = Plan::new(&[TCP]);
    let mut a = plan.start().await;
    let mut other = Plan::new(&[TCP]);
    let mut b = other.start().await;
    connect(&mut a, &mut b).await;
    same_port(&mut other, &b);
    a.stop().await;
    b.stop().await;
    fs::remove_file(other.book()).ok();
    let b = other.start().await;
    b.members(&[plan.peer()]).await;
    let mut a = plan.start().await;
    a.members(&[b.peer]).await;
    assert!(a.up(b.peer).await, "only its own book knows where");
}

#[tokio::test]
async fn configured_peers_are_dialled() {
    let mut a = TestPeer::start(&[TCP]).await;
    let mut plan = Plan::new(&[QUIC]);
    plan.peers = vec![a.address()];
    let mut b = plan.start().await;
    a.members(&[b.peer]).await;
    b.members(&[a.peer]).await;
    assert!(b.up(a.peer).await);
    a.up(b.peer).await;
    // Turned away, it comes again.
    a.send(Command::Disconnect(b.peer)).await;
    b.down(a.peer).await;
    b.up(a.peer).await;
}

#[tokio::test]
#[ignore = "needs multicast on the local network"]
async fn members_find_each_other_on_the_local_network() {
    let mut sites = Vec::new();
    for _ in 0..2 {
        let plan = Plan::new(&["/ip4/0.0.0.0/tcp/0"]);
        let mut config = plan.config();
        config.mdns = true;
        let (sender, events) = mpsc::channel(256);
        let (handle, task) = start(config, sender).unwrap();
        let site =
            TestPeer { peer: handle.peer(), handle, events, task, addresses: vec![], seen: vec![] };
        sites.push((plan, site));
    }
    let (mut b, mut a) = (sites.pop().unwrap().1, sites.pop().unwrap().1);
    a.members(&[b.peer]).await;
    b.members(&[a.peer]).await;
    a.up(b.peer).await;
    b.up(a.peer).await;
}

#[tokio::test]
async fn sites_that_dial_each_other_at_once_are_up_once() {
    let mut a = TestPeer::start(&[TCP, QUIC]).await;
    let mut b = TestPeer::start(&[TCP, QUIC]).await;
    a.members(&[b.peer]).await;
    b.members(&[a.peer]).await;
    let (to_b, to_a) = (b.addresses.clone(), a.addresses.clone());
    for (site, peer, addresses) in [(&a, b.peer, to_b), (&b, a.peer, to_a)] {
        for address in addresses {
            site.send(Command::AddAddress { peer, address }).await;
        }
    }
    a.up(b.peer).await;
    b.up(a.peer).await;
    for round in 0..20_u8 {
        ask(&mut a, &mut b, &[round], &[round]).await;
        ask(&mut b, &mut a, &[round], &[round]).await;
    }
    for site in [&a, &b] {
        let flaps = site.seen.iter().filter(|event| event.starts_with("Peer"));
        assert_eq!(flaps.count(), 0, "{:?}", site.seen);
    }
}

#[tokio::test]
async fn a_restart_is_noticed_while_the_old_connection_still_seems_alive() {
    let mut a = TestPeer::start(&[QUIC]).await;
    let former = Plan::new(&[QUIC]);
    let b = former.start().await;
    b.members(&[a.peer]).await;
    a.members(&[b.peer]).await;
    a.knows(&b).await;
    assert!(a.up(b.peer).await, "dialled, so that the next connection is the other way");
    // The same site in another process, as after a kill that nobody was informed of.
    let again = Plan { keypair: former.keypair.clone(), ..Plan::new(&[QUIC]) };
    let c = again.start().await;
    c.members(&[a.peer]).await;
    c.knows(&a).await;
    a.down(again.peer()).await;
    b.stop().await;
    a.up(again.peer()).await;
}

#[tokio::test]
async fn a_port_in_use_is_a_clear_error() {
    for transport in [TCP, QUIC] {
        let first = TestPeer::start(&[transport]).await;
        let mut plan = Plan::new(&[]);
        plan.listen = first.addresses.clone();
        let (sender, _events) = mpsc::channel::<Event>(1);
        let error = start(plan.config(), sender).unwrap_err();
        assert!(matches!(error, NetworkError::AddressInUse { .. }), "{error:?}");
        let text = error.to_string();
        assert!(text.contains(&first.addresses[0].to_string()), "{text}");
    }
}

#[tokio::test]
async fn addresses_that_make_no_sense_are_errors_at_start() {
    let unsupported: Multiaddr = "/memory/7".parse().unwrap();
    let nobodys: Multiaddr = "/ip4/127.0.0.1/tcp/4001".parse().unwrap();
    let mut plan = Plan::new(&[]);
    plan.listen = vec![unsupported.clone()];
    let (sender, _events) = mpsc::channel::<Event>(1);
    let error = start(plan.config(), sender.clone()).unwrap_err();
    assert!(
        matches!(&error, NetworkError::ListenUnsupported { address } if *address == unsupported),
        "{error:?}"
    );
    plan.listen = vec![];
    plan.peers = vec![nobodys.clone()];
    let error = start(plan.config(), sender).unwrap_err();
    assert!(
        matches!(&error, NetworkError::PeerAddress { address } if *address == nobodys),
        "{error:?}"
    );
}
