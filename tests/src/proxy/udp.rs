//! The cable for UDP, and so for QUIC: it may also lose packets and change their order.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

use super::{Faults, Way};

/// Packets under way; more are lost, as in a router.
const PACKETS_MAX: usize = 4096;
/// A router's queue before a slow link, as time.
const QUEUE_MAX: Duration = Duration::from_secs(1);
/// A sender that is silent for this long is forgotten.
const IDLE_MAX: Duration = Duration::from_secs(60);
/// The same packets are lost in each run, as far as they are the same packets.
const SEED: u64 = 4747;

/// A cable for UDP to one address.
#[derive(Clone)]
pub struct UdpProxy {
    address: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    is_cut: AtomicBool,
    bytes: AtomicU64,
    lost: AtomicU64,
    link: Mutex<Link>,
    changed: Condvar,
}

struct Link {
    faults: Faults,
    random: SmallRng,
    /// When the last packet each way has left a slow link.
    free_at: [Instant; 2],
    count: u64,
    /// First what is due first.
    under_way: BinaryHeap<Reverse<(Instant, u64)>>,
    packets: BTreeMap<u64, Packet>,
}

struct Packet {
    content: Vec<u8>,
    through: Arc<UdpSocket>,
    /// `None`: where the socket is connected to.
    to: Option<SocketAddr>,
}

impl UdpProxy {
    /// A cable that leads to `target`.
    pub fn to(target: SocketAddr) -> Self {
        let near = Arc::new(UdpSocket::bind("127.0.0.1:0").expect("a free port"));
        let address = near.local_addr().expect("an address");
        let link = Link {
            faults: Faults::default(),
            random: SmallRng::seed_from_u64(SEED),
            free_at: [Instant::now(); 2],
            count: 0,
            under_way: BinaryHeap::new(),
            packets: BTreeMap::new(),
        };
        let shared = Arc::new(Shared {
            is_cut: AtomicBool::new(false),
            bytes: AtomicU64::new(0),
            lost: AtomicU64::new(0),
            link: Mutex::new(link),
            changed: Condvar::new(),
        });
        let (taking, handing) = (Arc::clone(&shared), Arc::clone(&shared));
        thread::spawn(move || take_in(&near, target, &taking));
        thread::spawn(move || hand_out(&handing));
        Self { address, shared }
    }

    /// Where the cable begins, as sites are informed of it.
    pub fn multiaddr(&self) -> String {
        format!("/ip4/{}/udp/{}/quic-v1", self.address.ip(), self.address.port())
    }

    /// Nothing passes any more, and nobody is informed.
    pub fn cut(&self) {
        self.shared.is_cut.store(true, Ordering::SeqCst);
    }

    /// Everything passes again.
    pub fn mend(&self) {
        self.spoil(Faults::default());
        self.shared.is_cut.store(false, Ordering::SeqCst);
    }

    /// From now on the cable does this.
    pub fn spoil(&self, faults: Faults) {
        self.shared.link().faults = faults;
    }

    /// Bytes carried both ways since the last call.
    pub fn take_bytes(&self) -> u64 {
        self.shared.bytes.swap(0, Ordering::SeqCst)
    }

    /// Packets lost since the beginning.
    pub fn lost(&self) -> u64 {
        self.shared.lost.load(Ordering::SeqCst)
    }
}

impl Shared {
    fn link(&self) -> MutexGuard<'_, Link> {
        self.link.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends a packet on its way, or loses it.
    fn accept(&self, packet: Packet, way: Way) {
        let mut link = self.link();
        let (faults, now) = (link.faults, Instant::now());
        let start = link.free_at[way as usize].max(now);
        let is_lost = self.is_cut.load(Ordering::SeqCst)
            || faults.stalls(way)
            || link.random.random_range(0..100) < faults.loss_percent
            || link.packets.len() >= PACKETS_MAX
            || start - now > QUEUE_MAX;
        if is_lost {
            self.lost.fetch_add(1, Ordering::SeqCst);
            return;
        }
        self.bytes.fetch_add(packet.content.len() as u64, Ordering::SeqCst);
        let sent = start + faults.time_for(packet.content.len());
        link.free_at[way as usize] = sent;
        let jitter = faults.jitter.mul_f64(link.random.random_range(0.0..1.0));
        link.count += 1;
        let number = link.count;
        link.under_way.push(Reverse((sent + faults.delay + jitter, number)));
        link.packets.insert(number, packet);
        self.changed.notify_one();
    }
}

/// Each sender gets a socket of its own to the target, as behind a router.
fn take_in(near: &Arc<UdpSocket>, target: SocketAddr, shared: &Arc<Shared>) {
    let senders: Arc<Mutex<BTreeMap<SocketAddr, Arc<UdpSocket>>>> = Arc::default();
    let mut buffer = vec![0; 65_536];
    while let Ok((count, from)) = near.recv_from(&mut buffer) {
        let known = || senders.lock().unwrap_or_else(PoisonError::into_inner);
        let far = known().get(&from).map(Arc::clone);
        let far = far.unwrap_or_else(|| {
            let far = Arc::new(UdpSocket::bind("127.0.0.1:0").expect("a free port"));
            far.connect(target).expect("a target on loopback");
            far.set_read_timeout(Some(IDLE_MAX)).expect("a timeout");
            known().insert(from, Arc::clone(&far));
            let (near, far_end) = (Arc::clone(near), Arc::clone(&far));
            let (shared, senders) = (Arc::clone(shared), Arc::clone(&senders));
            thread::spawn(move || {
                take_back(&far_end, &near, from, &shared);
                senders.lock().unwrap_or_else(PoisonError::into_inner).remove(&from);
            });
            far
        });
        let content = buffer[..count].to_vec();
        shared.accept(Packet { content, through: far, to: None }, Way::There);
    }
}

fn take_back(far: &UdpSocket, near: &Arc<UdpSocket>, to: SocketAddr, shared: &Shared) {
    let mut buffer = vec![0; 65_536];
    loop {
        match far.recv(&mut buffer) {
            Ok(count) => {
                let content = buffer[..count].to_vec();
                let packet = Packet { content, through: Arc::clone(near), to: Some(to) };
                shared.accept(packet, Way::Back);
            }
            // The target is not there at the moment.
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionRefused => {}
            Err(_) => return,
        }
    }
}

fn hand_out(shared: &Shared) {
    let mut link = shared.link();
    loop {
        let now = Instant::now();
        let wait = link.under_way.peek().map(|Reverse((due, _))| *due);
        match wait {
            Some(due) if due <= now => {
                let number = link.under_way.pop().map_or(0, |Reverse((_, number))| number);
                let Some(packet) = link.packets.remove(&number) else { continue };
                drop(link);
                // What cannot be sent is lost.
                let _ = match packet.to {
                    Some(to) => packet.through.send_to(&packet.content, to),
                    None => packet.through.send(&packet.content),
                };
                link = shared.link();
            }
            wait => {
                let pause = wait.map_or(Duration::from_secs(1), |due| due - now);
                let waited = shared.changed.wait_timeout(link, pause);
                link = waited.unwrap_or_else(PoisonError::into_inner).0;
            }
        }
    }
}
