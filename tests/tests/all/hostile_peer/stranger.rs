//! Anyone who can reach a port of a node, and holds no ticket.

use std::io::{Read, Write};
use std::net::{TcpStream, UdpSocket};
use std::time::{Duration, Instant};

use branchline_crdt::format::codec;
use branchline_crdt::format::pack;
use branchline_crdt::ids::RealmId;
use branchline_crdt::protocol::{Introduction, Welcome, pack_entries};
use branchline_tests::raw_peer::{MEMBER_PROTOCOLS, RawPeer, frame, line, read_line};
use branchline_tests::{DEADLINE, Office, eventually};
use futures::AsyncWriteExt;
use libp2p::Multiaddr;
use libp2p::identity::Keypair;

use super::{PROGRAM, World, duration, socket};

const JOIN: &str = "/branchline/join/1";
/// Connections opened and left alone, and handshakes broken off.
const HALF_OPEN: usize = 2_000;

fn garbage(bytes: usize) -> Vec<u8> {
    (0..bytes).map(|number| (number * 31 % 251) as u8).collect()
}

/// An introduction that presents packed membership entries.
fn introduction(network: RealmId, packed: Vec<u8>) -> Vec<u8> {
    codec::encode(&Introduction::Entries { network, packed })
}

fn refusal(answer: &[u8]) -> String {
    match codec::decode("welcome", answer).unwrap() {
        Welcome::Refused(reason) => reason,
        Welcome::Member { .. } | Welcome::Revoked(_) | Welcome::FormerKeys(_) => {
            panic!("a stranger was not refused")
        }
    }
}

#[test]
fn a_stranger_with_a_valid_key_learns_nothing() {
    let mut world = World::new();
    let status = world.head.get("/v1/status");
    let network = bytes_of(status["network"].as_str().unwrap());
    for node in world.addresses() {
        world.runtime.block_on(ask_everything(&node, network));
    }
    world.unharmed("a curious stranger");
}

async fn ask_everything(node: &Multiaddr, network: [u8; 32]) {
    let mut stranger = RawPeer::silent(&Keypair::generate_ed25519(), node).await.unwrap();
    for protocol in MEMBER_PROTOCOLS {
        assert!(stranger.speak(protocol).await.unwrap().is_none(), "{protocol} is spoken");
    }
    // What there is to speak, as multistream-select tells it to anybody.
    let mut stream = stranger.open().await.unwrap();
    let question = [line("/multistream/1.0.0"), line("ls")].concat();
    stream.write_all(&question).await.unwrap();
    stream.flush().await.unwrap();
    assert_eq!(read_line(&mut stream).await.unwrap(), "/multistream/1.0.0");
    let spoken = read_line(&mut stream).await.unwrap();
    assert_eq!(spoken.matches('/').count(), JOIN.matches('/').count(), "{spoken:?}");
    assert!(spoken.contains(JOIN), "{spoken:?}");

    let admission = Keypair::generate_ed25519();
    let asked = [
        garbage(1_000),
        introduction(RealmId([7; 32]), pack_entries([])),
        introduction(RealmId(network), pack_entries([])),
        introduction(RealmId(network), garbage(400)),
        admission.public().encode_protobuf(),
    ];
    for body in asked {
        let reason = refusal(&stranger.ask(JOIN, &body).await.unwrap());
        for secret in ["head", "north", "127.0.0.1", "/ip4", "12D3Koo"] {
            assert!(!reason.contains(secret), "{reason}");
        }
    }
    assert!(stranger.closes().await, "a stranger is not sent away");
    let heard = stranger.heard();
    assert!(heard.is_empty(), "the node spoke to a stranger: {heard:?}");
}

pub(crate) fn bytes_of(hex: &str) -> [u8; 32] {
    let digit = |at: usize| u8::from_str_radix(&hex[at..at + 2], 16).unwrap();
    std::array::from_fn(|number| digit(2 * number))
}

#[test]
fn garbage_and_broken_handshakes_leave_nothing_behind() {
    let mut world = World::new();
    let [tcp, quic] = world.addresses().map(|address| socket(&address));
    let noise = [line("/multistream/1.0.0"), line("/noise")].concat();
    let openings = [
        garbage(100_000),
        b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n".to_vec(),
        line("/multistream/9.9.9"),
        [line("/multistream/1.0.0"), line("/tls/1.0.0"), line("/plaintext/2.0.0")].concat(),
        [line("/multistream/1.0.0"), line("ls").repeat(10_000)].concat(),
        // A line of 4 GiB.
        vec![0xff, 0xff, 0xff, 0xff, 0x0f],
        noise.clone(),
        // A handshake message that is none, and half of one.
        [&noise[..], &[0, 32], &garbage(32)].concat(),
        [&noise[..], &[0xff, 0xff], &garbage(1_000)].concat(),
    ];
    for round in 0..20 {
        for opening in &openings {
            let mut socket = TcpStream::connect(tcp).unwrap();
            socket.set_read_timeout(Some(Duration::from_millis(10))).unwrap();
            // The other side hangs up when it has seen enough.
            let _ = socket.write_all(opening);
            if round % 2 == 0 {
                let _ = socket.read(&mut [0; 4096]);
            }
        }
    }
    let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
    udp.set_nonblocking(true).unwrap();
    let (mut sent, mut came_back) = (0, 0);
    for round in 0..5_000_u32 {
        let mut packet = garbage(1_200);
        // Long headers of QUIC: initial packets, packets of unknown versions, and others.
        packet[0] = 0xc0 | (round % 64) as u8;
        packet[1..5].copy_from_slice(&(round % 3).to_be_bytes());
        packet[5] = 8;
        packet[6..10].copy_from_slice(&round.to_be_bytes());
        sent += udp.send_to(&packet, quic).unwrap_or(0);
        while let Ok(count) = udp.recv(&mut [0; 4096]) {
            came_back += count;
        }
    }
    println!("QUIC: {sent} bytes of garbage were answered with {came_back} bytes");
    assert!(came_back <= 3 * sent, "the node amplifies: {came_back} bytes for {sent}");
    world.unharmed("garbage and broken handshakes");
}

#[test]
fn thousands_of_half_open_connections_keep_no_member_out() {
    let mut world = World::new();
    let [node, _] = world.addresses();
    let address = socket(&node);
    // From a machine of its own, as the node sees it.
    let connect = || {
        let runtime = &world.runtime;
        runtime.block_on(async {
            let socket = tokio::net::TcpSocket::new_v4()?;
            socket.bind("127.0.0.2:0".parse().unwrap())?;
            socket.connect(address).await?.into_std()
        })
    };
    let mut open: Vec<TcpStream> = (0..HALF_OPEN).filter_map(|_| connect().ok()).collect();
    let opened = open.len();
    assert!(opened > HALF_OPEN / 2, "{opened} connections were made");
    let gauge = world.head.gauge();
    println!("{opened} half-open connections: head holds {gauge:?}");
    assert!(gauge.files < world.before[0].files + super::FILES_MAX, "{gauge:?}");
    // Whatever is closed is opened again at once, until somebody has joined.
    let mut south = Office::init(PROGRAM, world.folder.path(), "south", false);
    south.start();
    let ticket = world.head.run(["invite", "--address", &node.to_string()]).ok();
    let joining = std::thread::scope(|scope| {
        let join = scope.spawn(|| south.run(["join", ticket.trim()]));
        let is_member = || south.get("/v1/status")["member"] == true;
        let deadline = Instant::now() + DEADLINE;
        while !(join.is_finished() && is_member()) {
            assert!(Instant::now() < deadline, "the half-open connections keep south out");
            let is_closed = |socket: &TcpStream| {
                socket.set_nonblocking(true).unwrap();
                matches!(socket.peek(&mut [0]), Ok(0))
                    || matches!(socket.peek(&mut [0]), Err(error) if error.kind() != std::io::ErrorKind::WouldBlock)
            };
            open.retain(|socket| !is_closed(socket));
            while open.len() < HALF_OPEN
                && let Ok(socket) = connect()
            {
                open.push(socket);
            }
        }
        join.join().unwrap()
    });
    joining.ok();
    drop(open);
    world.unharmed("half-open connections");
}

#[test]
fn introductions_without_end_and_at_a_high_rate_keep_no_newcomer_out() {
    let mut world = World::new();
    let [node, _] = world.addresses();
    let status = world.head.get("/v1/status");
    let network = RealmId(bytes_of(status["network"].as_str().unwrap()));
    let until = Instant::now() + duration();
    let flood = world.runtime.spawn({
        let node = node.clone();
        async move {
            // One more than are let in at once, each doing it another way, again and again.
            let attacks = (0..17).map(|number| {
                let node = node.clone();
                tokio::spawn(async move {
                    let mut count = 0_u32;
                    while Instant::now() < until {
                        let key = Keypair::generate_ed25519();
                        let Ok(stranger) = RawPeer::silent(&key, &node).await else { continue };
                        count += attack(&stranger, number, network, until).await;
                    }
                    count
                })
            });
            futures::future::join_all(attacks).await.into_iter().flatten().sum::<u32>()
        }
    });
    world.still_works();
    let count = world.runtime.block_on(flood).unwrap();
    println!("{count} introductions in {:?}", duration());
    let mut south = Office::init(PROGRAM, world.folder.path(), "south", false);
    south.start();
    south.join(&world.head);
    eventually("south is a member", || south.get("/v1/status")["member"] == true);
    world.unharmed("a flood of introductions");
}

/// Introduces itself in a way of its own until the connection ends; returns how often.
async fn attack(stranger: &RawPeer, number: usize, network: RealmId, until: Instant) -> u32 {
    let mut count = 0;
    while !stranger.is_closed() && Instant::now() < until {
        count += 1;
        let Ok(Some(mut stream)) = stranger.speak(JOIN).await else { continue };
        // The node may hang up at any point.
        let _ = match number % 4 {
            // Longer than allowed.
            0 => stream.write_all(&[&u32::MAX.to_be_bytes()[..], &garbage(100_000)].concat()).await,
            // As long as allowed, and never finished.
            1 => {
                let begun = stream.write_all(&frame(&garbage(256 * 1024))[..200_000]).await;
                tokio::time::sleep(Duration::from_millis(200)).await;
                begun
            }
            // Much work in few bytes.
            2 => {
                let columns = pack::pack(&vec![0; 8_000_000]);
                let bomb = codec::encode(&(Vec::<u8>::new(), columns));
                stranger.ask(JOIN, &introduction(network, bomb)).await.map(drop)
            }
            _ => stranger.ask(JOIN, &introduction(network, pack_entries([]))).await.map(drop),
        };
    }
    count
}
