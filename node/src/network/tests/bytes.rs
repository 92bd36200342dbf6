//! What a reconnect costs in bytes on the wire.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream, UdpSocket};

use super::*;

/// Nothing moved for this long: the reconnect is over.
const QUIET: Duration = Duration::from_secs(2);

#[derive(Default)]
struct Counter {
    bytes: AtomicU64,
    pieces: AtomicU64,
}

impl Counter {
    fn add(&self, bytes: usize) {
        self.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
        self.pieces.fetch_add(1, Ordering::Relaxed);
    }
}

async fn tcp_proxy(target: u16, counter: Arc<Counter>) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((near, _)) = listener.accept().await {
            let far = TcpStream::connect(("127.0.0.1", target)).await.unwrap();
            let (near_read, near_write) = near.into_split();
            let (far_read, far_write) = far.into_split();
            for (mut read, mut write) in [(near_read, far_write), (far_read, near_write)] {
                let counter = Arc::clone(&counter);
                tokio::spawn(async move {
                    let mut buffer = [0; 16 * 1024];
                    while let Ok(bytes @ 1..) = read.read(&mut buffer).await {
                        counter.add(bytes);
                        if write.write_all(&buffer[..bytes]).await.is_err() {
                            return;
                        }
                    }
                });
            }
        }
    });
    port
}

async fn udp_proxy(target: u16, counter: Arc<Counter>) -> u16 {
    let near = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let far = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    far.connect(("127.0.0.1", target)).await.unwrap();
    let port = near.local_addr().unwrap().port();
    tokio::spawn(async move {
        let mut client = None;
        let (mut from_near, mut from_far) = ([0; 65_536], [0; 65_536]);
        loop {
            tokio::select! {
                Ok((bytes, from)) = near.recv_from(&mut from_near) => {
                    client = Some(from);
                    counter.add(bytes);
                    far.send(&from_near[..bytes]).await.unwrap();
                }
                Ok(bytes) = far.recv(&mut from_far) => {
                    counter.add(bytes);
                    near.send_to(&from_far[..bytes], client.unwrap()).await.unwrap();
                }
            }
        }
    });
    port
}

/// A connection through a proxy, with identify, two topics, and the first ping.
async fn reconnect(transport: &str) -> (u64, u64) {
    let a = TestPeer::start(&[TCP, QUIC]).await;
    let counter = Arc::new(Counter::default());
    let proxy = if transport == "tcp" {
        let port = tcp_proxy(port_of(&a.addresses[0]), Arc::clone(&counter)).await;
        format!("/ip4/127.0.0.1/tcp/{port}/p2p/{}", a.peer)
    } else {
        let quic = a.addresses.iter().find(|address| address.to_string().contains("quic"));
        let port = udp_proxy(port_of(quic.unwrap()), Arc::clone(&counter)).await;
        format!("/ip4/127.0.0.1/udp/{port}/quic-v1/p2p/{}", a.peer)
    };
    let mut plan = Plan::new(&[TCP, QUIC]);
    plan.peers = vec![proxy.parse().unwrap()];
    let mut b = plan.start().await;
    for site in [&a, &b] {
        for topic in ["0123456789abcdef", "fedcba9876543210"] {
            site.send(Command::Subscribe(topic.into())).await;
        }
    }
    a.members(&[b.peer]).await;
    b.members(&[a.peer]).await;
    b.up(a.peer).await;
    b.until(a.peer, "identified", |info| info.known_addresses.len() > 2).await;
    let mut last = (0, Instant::now());
    while last.1.elapsed() < QUIET {
        let bytes = counter.bytes.load(Ordering::Relaxed);
        if bytes != last.0 {
            last = (bytes, Instant::now());
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    (last.0, counter.pieces.load(Ordering::Relaxed))
}

#[tokio::test]
async fn a_reconnect_costs_few_bytes() {
    let (bytes, pieces) = reconnect("tcp").await;
    println!("reconnect over tcp:  {bytes} bytes of payload, in {pieces} reads");
    let (bytes, packets) = reconnect("quic").await;
    println!("reconnect over quic: {bytes} bytes of payload, in {packets} packets");
}
