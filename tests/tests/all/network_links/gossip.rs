//! What a node gossips stays within what other nodes take: gossipsub gives a peer up whose orders are too long.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use branchline_node::network::{self, Command, Event, NetworkConfig, NetworkLimits};
use branchline_tests::DEADLINE;
use branchline_tests::raw_peer::{RawPeer, rpc};
use futures::AsyncWriteExt;
use libp2p::identity::Keypair;
use tokio::sync::mpsc;

/// Bytes of orders (here: names of messages) in one RPC, as the library takes them.
const ORDERS_BYTES_MAX: usize = 16 * 1024;
/// Messages in the time for which their names are offered: a busy second of a node.
const MESSAGES: u32 = 3_000;

/// The largest whole RPC in what was heard, in bytes, and how many there were.
fn largest(mut heard: &[u8]) -> (usize, usize) {
    let (mut largest, mut count) = (0, 0);
    while !heard.is_empty() {
        let (mut length, mut used) = (0, 0);
        for byte in heard {
            length |= usize::from(byte & 0x7f) << (7 * used);
            used += 1;
            if byte & 0x80 == 0 {
                break;
            }
        }
        let Some(rest) = heard.get(used + length..) else { break };
        (largest, count, heard) = (largest.max(length), count + 1, rest);
    }
    (largest, count)
}

#[tokio::test]
async fn a_busy_node_offers_no_more_messages_at_once_than_others_take() {
    let folder = tempfile::tempdir().unwrap();
    let reader = Keypair::generate_ed25519();
    let config = NetworkConfig {
        keypair: Keypair::generate_ed25519(),
        listen: vec!["/ip4/127.0.0.1/tcp/0".parse().unwrap()],
        peers: Vec::new(),
        mdns: false,
        peer_book: folder.path().join("peers.json"),
        limits: NetworkLimits::default(),
    };
    let (sender, mut events) = mpsc::channel(256);
    let (node, _task) = network::start(config, sender).unwrap();
    let members = BTreeSet::from([reader.public().to_peer_id()]);
    node.send(Command::SetMembers(members)).await.unwrap();
    node.send(Command::Subscribe("news".to_owned())).await.unwrap();
    let address = loop {
        match events.recv().await.unwrap() {
            Event::Listening(address) => break address,
            event => drop(event),
        }
    };
    let mut peer = RawPeer::silent(&reader, &address).await.unwrap();
    let mut stream = peer.speak("/meshsub/1.1.0").await.unwrap().unwrap();
    // It reads the topic and is in no mesh, as most sites of a large network are to each other.
    let outside = [rpc::subscribe("news"), rpc::prune("news", 3_600)];
    stream.write_all(&rpc::framed(&outside)).await.unwrap();
    stream.flush().await.unwrap();
    let (started, mut gossip, mut number) = (Instant::now(), Vec::new(), 0_u32);
    let is_offer = |gossip: &[u8]| largest(gossip).0 > 4 * 1024;
    while !is_offer(&gossip) {
        assert!(started.elapsed() < DEADLINE, "no message is offered: {:?}", largest(&gossip));
        for _ in 0..MESSAGES / 10 {
            let (topic, data) = ("news".to_owned(), number.to_be_bytes().to_vec());
            node.send(Command::Publish { topic, data }).await.unwrap();
            number += 1;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
        let heard = peer.heard().into_iter().filter(|heard| heard.protocol.contains("meshsub"));
        gossip.extend(heard.flat_map(|heard| heard.bytes));
    }
    let (bytes, count) = largest(&gossip);
    println!("{number} messages; the largest of {count} RPCs has {bytes} bytes");
    assert!(bytes <= ORDERS_BYTES_MAX, "an RPC of {bytes} bytes would be refused");
}
