//! Sites that have joined for real, and then keep to no rule.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use branchline_crdt::format::codec;
use branchline_crdt::format::pack;
use branchline_crdt::ids::{Author, EntryHash, Incarnation, RealmId, SiteId, SiteKey, SpaceId};
use branchline_crdt::log::entry::{Body, Draft, Entry, Tip};
use branchline_crdt::membership::Ticket;
use branchline_crdt::protocol::{
    Answer, Gossip, Have, Outcome, Pull, Request, topic, unpack_entries,
};
use branchline_tests::is_long;
use branchline_tests::raw_peer::{RawPeer, Replies, Reply, frame, rpc};
use futures::{AsyncReadExt, AsyncWriteExt};
use libp2p::Multiaddr;
use libp2p::core::muxing::SubstreamBox;
use libp2p::identity::Keypair;

use super::{World, duration};

const SYNC: &str = "/branchline/sync/3";
const MESHSUB: &str = "/meshsub/1.1.0";

/// A world and a member of it that is ours to drive.
pub(super) struct Traitor {
    pub(super) world: World,
    key: Keypair,
    /// It came by this.
    pub(super) ticket: Ticket,
    node: Multiaddr,
    pub(super) network: RealmId,
    pub(super) space: SpaceId,
}

impl Traitor {
    fn new() -> Self {
        Self::with_role("writer")
    }

    pub(super) fn with_role(role: &str) -> Self {
        let mut world = World::new();
        let (key, ticket) = world.member("south", role);
        let [node, _] = world.addresses();
        let status = world.head.get("/v1/status");
        let network = RealmId(super::stranger::bytes_of(status["network"].as_str().unwrap()));
        world.settle();
        Self { world, key, ticket, node, network, space: network.main_space() }
    }

    pub(super) fn site(&self) -> SiteId {
        SiteId::from_peer_id(&self.key.public().to_peer_id()).unwrap()
    }

    pub(super) fn signer(&self) -> SiteKey {
        let pair = self.key.clone().try_into_ed25519().unwrap();
        SiteKey::from_seed(pair.secret().as_ref().try_into().unwrap())
    }

    fn topic(&self) -> String {
        topic(self.network, self.space)
    }

    /// The attack, on a fresh connection, while the honest work on.
    pub(super) fn attack<T: Send>(
        &self,
        replies: Replies,
        attack: impl AsyncFnOnce(&mut RawPeer) -> T + Send,
    ) -> T {
        let connect = RawPeer::connect(&self.key, &self.node, replies);
        let mut peer = self.world.runtime.block_on(connect).unwrap();
        thread::scope(|scope| {
            let attacking = scope.spawn(|| self.world.runtime.block_on(attack(&mut peer)));
            loop {
                self.world.still_works();
                if attacking.is_finished() {
                    return attacking.join().unwrap();
                }
            }
        })
    }

    /// The entries that head holds.
    pub(super) fn held(&self) -> Vec<Entry> {
        let pull = self.pull();
        let ask = async |peer: &mut RawPeer| peer.ask(SYNC, &pull).await.unwrap();
        let answer: Answer = codec::decode("answer", &self.attack(silence(), ask)).unwrap();
        let Outcome::Entries { packed, .. } = answer.outcome else { panic!("no entries") };
        unpack_entries(&packed).unwrap()
    }

    /// Head is given an entry, and has judged it.
    pub(super) fn notify(&self, entry: &Entry) {
        let body = codec::encode(&Request::Notify(Gossip::Entry(entry.bytes().to_vec())));
        let asked = self.attack(silence(), async |peer| peer.ask(SYNC, &body).await.map(|_| ()));
        asked.unwrap();
    }

    /// The honest are unharmed, and head's log names the traitor.
    fn is_named(&mut self, attack: &str) {
        let peer = self.key.public().to_peer_id().to_string();
        self.world.head_says(&format!("refused peer={peer}"));
        self.world.unharmed(attack);
    }

    /// A pull of everything, for an answer as large as it can be.
    fn pull(&self) -> Vec<u8> {
        let have = Have::Frontier { parts: None, known: Vec::new(), after: None };
        let (receipts, shared) = ([0; 8], [0; 8]);
        let pull = Pull { space: self.space, have, receipts, shared, bytes_max: u32::MAX };
        codec::encode(&Request::Pull(pull))
    }
}

fn silence() -> Replies {
    Arc::new(|_| Reply::Silence)
}

/// A stream on which gossip goes to the node.
async fn gossip(peer: &RawPeer) -> SubstreamBox {
    peer.speak(MESHSUB).await.unwrap().expect("members speak gossip")
}

/// Writes until the time is over, or the node hangs up; returns how many were written.
async fn flood(peer: &RawPeer, mut next: impl FnMut(u64) -> Vec<u8>) -> u64 {
    let (mut stream, until) = (gossip(peer).await, Instant::now() + duration());
    let mut count = 0;
    while Instant::now() < until {
        let bytes = next(count);
        let write = tokio::time::timeout(duration(), stream.write_all(&bytes));
        match write.await {
            Ok(Ok(())) => count += 1,
            Ok(Err(_)) | Err(_) => break,
        }
    }
    count
}

#[test]
fn requests_that_break_the_protocol_are_refused() {
    let mut traitor = Traitor::new();
    traitor.attack(silence(), async |peer| {
        // As large as a length can say, and as large as is allowed, of garbage.
        for length in [u32::MAX, 1024 * 1024 + 1] {
            let mut stream = peer.speak(SYNC).await.unwrap().unwrap();
            stream.write_all(&length.to_be_bytes()).await.unwrap();
            // The node hangs up in between.
            let _ = stream.write_all(&vec![7; 2 * 1024 * 1024]).await;
        }
        for _ in 0..200 {
            let garbage = vec![7; 100_000];
            let asked = tokio::time::timeout(Duration::from_millis(50), peer.ask(SYNC, &garbage));
            assert!(!matches!(asked.await, Ok(Ok(_))), "garbage is answered");
        }
    });
    traitor.is_named("requests that break the protocol");
}

#[test]
fn a_flood_of_requests_whose_answers_nobody_reads_is_bounded() {
    let mut traitor = Traitor::new();
    // Something to answer with: 3 MB that do not compress.
    let folder = traitor.world.folder.path().join("large.csv");
    let mut csv = "id,content\n".to_owned();
    for row in 0..1_500_u32 {
        let mut content = String::new();
        for part in 0..60_u32 {
            let hash = row.wrapping_mul(2_654_435_761).wrapping_add(part.wrapping_mul(40_503_551));
            content.push_str(&format!("{:08x}", hash.wrapping_mul(hash | 1)));
        }
        csv.push_str(&format!("{row},{content}\n"));
    }
    std::fs::write(&folder, csv).unwrap();
    traitor.world.head.run(["import", "large", folder.to_str().unwrap(), "--id", "id"]).ok();
    traitor.world.still_works();
    traitor.world.settle();
    let pull = frame(&traitor.pull());
    let opened = traitor.attack(silence(), async |peer| {
        let (mut unread, mut refused) = (Vec::new(), 0);
        for _ in 0..500 {
            // A stream too many is answered with silence, or costs the connection.
            let spoken = tokio::time::timeout(Duration::from_millis(100), peer.speak(SYNC));
            match spoken.await {
                Ok(Ok(Some(mut stream))) => {
                    let _ = stream.write_all(&pull).await;
                    unread.push(stream);
                }
                Ok(Ok(None) | Err(_)) | Err(_) => refused += 1,
            }
            if peer.is_closed() {
                break;
            }
        }
        tokio::time::sleep(Duration::from_secs(2)).await;
        (unread.len(), refused, peer.is_closed())
    });
    println!("(requests sent, refused, connection closed): {opened:?}");
    traitor.world.unharmed("answers that nobody reads");
}

#[test]
fn requests_that_never_end_and_streams_without_number_are_bounded() {
    let mut traitor = Traitor::new();
    let (begun, is_closed) = traitor.attack(silence(), async |peer| {
        let mut streams = Vec::new();
        for _ in 0..5_000 {
            let opened = tokio::time::timeout(Duration::from_secs(1), peer.open());
            let Ok(Ok(mut stream)) = opened.await else { break };
            // Nothing, or the first half of something.
            let begun = branchline_tests::raw_peer::line("/multistream/1.0.0");
            if streams.len() % 2 == 0 && stream.write_all(&begun).await.is_err() {
                break;
            }
            let _ = stream.flush().await;
            streams.push(stream);
        }
        (streams.len(), peer.is_closed())
    });
    println!("streams begun: {begun}; the connection was closed: {is_closed}");
    let begun = traitor.attack(silence(), async |peer| {
        let mut streams = Vec::new();
        for _ in 0..60 {
            let Ok(Ok(Some(mut stream))) =
                tokio::time::timeout(Duration::from_secs(1), peer.speak(SYNC)).await
            else {
                break;
            };
            let _ = stream.write_all(&frame(&[7; 1_000_000])[..900_000]).await;
            streams.push(stream);
        }
        tokio::time::sleep(duration()).await;
        streams.len()
    });
    println!("requests begun and not ended: {begun}");
    traitor.world.unharmed("requests that never end");
}

#[test]
fn bombs_garbage_and_silence_instead_of_answers_harm_nobody() {
    let mut traitor = Traitor::new();
    let bomb = pack::pack(&vec![0; 100_000_000]);
    let many = codec::encode(&(Vec::<u8>::new(), bomb.clone()));
    let answer = |packed: &[u8]| {
        let outcome = Outcome::Entries { packed: packed.to_vec(), until: Vec::new(), at: None };
        codec::encode(&Answer::of(outcome))
    };
    let replies: Vec<Vec<u8>> = vec![
        frame(&answer(&bomb)),
        frame(&answer(&many)),
        frame(&answer(&[9; 1_000])),
        frame(&vec![0xff; 8 * 1024 * 1024]),
        frame(&[]),
        // More than is allowed, less than is promised, nothing.
        [&u32::MAX.to_be_bytes()[..], &[0; 100_000]].concat(),
        frame(&[1; 1_000])[..500].to_vec(),
        vec![],
    ];
    let asked = Arc::new(AtomicU64::new(0));
    let count = Arc::clone(&asked);
    let answers: Replies = Arc::new(move |_| {
        let number = count.fetch_add(1, Ordering::SeqCst);
        Reply::Bytes(replies[number as usize % replies.len()].clone())
    });
    let (topic, space, site) = (traitor.topic(), traitor.space, traitor.site());
    traitor.attack(answers, async |peer| {
        let mut stream = gossip(peer).await;
        stream.write_all(&rpc::framed(&[rpc::subscribe(&topic)])).await.unwrap();
        let until = Instant::now() + duration();
        let mut seq = 0;
        while Instant::now() < until && !peer.is_closed() {
            // Each announcement makes head ask for what there is not.
            seq += 1;
            let author = Author { site, incarnation: Incarnation([9; 8]) };
            let tip = Tip { author, seq, hash: EntryHash([8; 32]) };
            let data = codec::encode(&Gossip::Announce { space, tip });
            let _ = stream.write_all(&rpc::framed(&[rpc::publish(&topic, &data)])).await;
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
    let asked = asked.load(Ordering::SeqCst);
    println!("{asked} requests were answered wrongly");
    assert!(asked >= 8, "only {asked} requests came");
    traitor.is_named("bombs instead of answers");
}

#[test]
fn forged_and_replayed_entries_change_nothing() {
    let mut traitor = Traitor::new();
    let head = traitor.world.head.get("/v1/status")["site"].as_str().unwrap().to_owned();
    let head = SiteId::from_peer_id(&head.parse().unwrap()).unwrap();
    let draft = |network: RealmId, space, site| Draft {
        realm: network,
        space,
        author: Author { site, incarnation: Incarnation([5; 8]) },
        seq: 1,
        previous: EntryHash::NONE,
        past: Vec::new(),
        membership_past: Vec::new(),
        time_ms: 0,
    };
    let (own, site) = (traitor.signer(), traitor.site());
    let held = traitor.held();
    let mut body = held.iter().find_map(|entry| match entry.body() {
        Ok(Body::Transactions(transactions)) if !transactions.is_empty() => Some(transactions),
        Ok(_) | Err(_) => None,
    });
    for write in body.iter_mut().flatten().flat_map(|transaction| &mut transaction.changes) {
        write.id = "forged".to_owned();
    }
    let body = Body::Transactions(body.expect("a write of head's or north's"));
    let nobody = SiteKey::from_seed([3; 32]);
    let other = RealmId([4; 32]);
    let forged = [
        // In head's name; of another network; of a space that is not there; by a site that nobody knows.
        draft(traitor.network, traitor.space, head).sign(&body, &own),
        draft(other, other.main_space(), site).sign(&body, &own),
        draft(traitor.network, SpaceId([6; 16]), site).sign(&body, &own),
        draft(traitor.network, traitor.space, nobody.site()).sign(&body, &nobody),
    ];
    let entries = forged.iter().chain(&held).map(|entry| entry.bytes().to_vec());
    let messages: Vec<_> = entries.map(Gossip::Entry).collect();
    let topic = traitor.topic();
    let replayed = traitor.attack(silence(), async |peer| {
        flood(peer, |number| {
            let message = &messages[number as usize % messages.len()];
            // Gossipsub itself hands equal messages on once only; a forger varies them.
            let mut data = codec::encode(message);
            if number as usize >= messages.len() {
                let last = data.len() - 1;
                data[last] ^= (number >> 8) as u8 | 1;
                data[last - 1] ^= number as u8;
            }
            rpc::framed(&[rpc::publish(&topic, &data)])
        })
        .await
    });
    println!("{replayed} forged and replayed entries were gossiped");
    for office in [&traitor.world.head, &traitor.world.north] {
        assert!(!office.has("proofs", "forged"), "a forged entry shows at {}", office.name);
    }
    traitor.is_named("forged and replayed entries");
}

#[test]
fn gossip_floods_are_bounded_and_drown_nobody() {
    let mut traitor = Traitor::new();
    let topic = traitor.topic();
    let unique = |number: u64, bytes: usize| {
        let mut data = vec![0xee; bytes];
        data[..8].copy_from_slice(&number.to_le_bytes());
        data
    };
    // As large as allowed, larger, as large as an RPC may be, tiny; and on a topic of nobody's.
    for (what, topic, bytes) in [
        ("gossip of 8 KiB", &*topic, 8 * 1024),
        ("gossip of 9 KiB", &*topic, 9 * 1024),
        ("gossip of 40 KiB", &*topic, 40 * 1024),
        ("tiny gossip", &*topic, 8),
        ("gossip of 40 KiB on a topic that nobody reads", "nobody's", 40 * 1024),
        ("tiny gossip on a topic that nobody reads", "nobody's", 8),
    ] {
        let count = traitor.attack(silence(), async |peer| {
            flood(peer, |number| rpc::framed(&[rpc::publish(topic, &unique(number, bytes))])).await
        });
        println!("{what}: {count} messages in {:?}", duration());
        traitor.world.unharmed(what);
    }
    traitor.is_named("all of them");
}

#[test]
fn topics_and_orders_to_the_mesh_without_number_are_bounded() {
    let mut traitor = Traitor::new();
    let topic = traitor.topic();
    for (what, next) in [
        (
            "thousands of topics",
            Box::new(|number| {
                let name = |part| format!("{number}-{part}-{}", "x".repeat(500));
                rpc::framed(&(0..25).map(|part| rpc::subscribe(&name(part))).collect::<Vec<_>>())
            }) as Box<dyn FnMut(u64) -> Vec<u8> + Send>,
        ),
        (
            "one topic more each time, with long names",
            Box::new(|number| {
                rpc::framed(&[rpc::subscribe(&format!("{number}-{}", "x".repeat(15_000)))])
            }),
        ),
        (
            "grafts and prunes",
            Box::new(|number| {
                let seconds = [0, 1, 3_600, u64::MAX, u64::MAX / 2][number as usize % 5];
                rpc::framed(&[
                    rpc::subscribe(&topic),
                    rpc::graft(&topic),
                    rpc::prune(&topic, seconds),
                    rpc::prune(&format!("topic {number}"), seconds),
                    rpc::graft(&format!("topic {number}")),
                ])
            }),
        ),
        (
            "promises of messages",
            Box::new(|number| {
                let ids = (0..1_000_u64).map(|part| (number * 1_000 + part).to_le_bytes().to_vec());
                rpc::framed(&[rpc::have(&topic, &ids.collect::<Vec<_>>())])
            }),
        ),
        ("garbage", Box::new(|number| vec![number as u8; 1_000])),
    ] {
        let count = traitor.attack(silence(), async |peer| flood(peer, next).await);
        println!("{what}: {count} RPCs in {:?}", duration());
        traitor.world.unharmed(what);
    }
}

#[test]
fn a_member_that_reconnects_without_end_leaks_nothing() {
    let mut traitor = Traitor::new();
    let rounds = if is_long() { 5_000 } else { 300 };
    let started = Instant::now();
    let connected = traitor.world.runtime.block_on(async {
        let mut connected = 0;
        for round in 0..rounds {
            let Ok(peer) = RawPeer::silent(&traitor.key, &traitor.node).await else { continue };
            connected += 1;
            match round % 3 {
                // At once, in the middle of something, after something.
                0 => {}
                1 => drop(peer.speak(SYNC).await),
                _ => {
                    let Ok(Some(mut stream)) = peer.speak("/ipfs/ping/1.0.0").await else {
                        continue;
                    };
                    let _ = stream.write_all(&[7; 32]).await;
                    let _ = stream.read_exact(&mut [0; 32]).await;
                }
            }
        }
        connected
    });
    println!("{connected} of {rounds} reconnects in {:?}", started.elapsed());
    assert!(connected > rounds / 2, "only {connected} of {rounds} were let in");
    traitor.world.unharmed("reconnects");
}
