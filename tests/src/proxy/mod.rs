//! A cable that can be cut or spoilt: proxies on loopback, for TCP here, for UDP (QUIC) in [`udp`].

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

pub mod udp;

/// What is read at once; small, so that a slow cable does not carry in jumps.
const PIECE_BYTES: usize = 16 * 1024;
/// Pieces under way in one direction; the sender feels a cable that holds more.
const PIECES_MAX: usize = 64;
/// How often a stalled cable looks whether it goes on.
const STALL_PAUSE: Duration = Duration::from_millis(5);

/// What a cable does to what it carries, the same both ways except where nothing passes.
#[derive(Clone, Copy, Debug, Default)]
pub struct Faults {
    /// Everything arrives this much later.
    pub delay: Duration,
    /// Bytes that pass in a second. `None`: as many as come.
    pub bytes_per_s_max: Option<u64>,
    /// Nothing passes towards the target; TCP connections stay open and are not read.
    pub stalled_there: bool,
    /// Nothing passes from the target.
    pub stalled_back: bool,
    /// UDP only: packets of a hundred that are lost.
    pub loss_percent: u32,
    /// UDP only: up to this much more delay for some packets, so that others overtake them.
    pub jitter: Duration,
}

impl Faults {
    /// A cable that is there, and carries nothing either way.
    pub const SILENT: Self = Self {
        delay: Duration::ZERO,
        bytes_per_s_max: None,
        stalled_there: true,
        stalled_back: true,
        loss_percent: 0,
        jitter: Duration::ZERO,
    };

    /// How long so many bytes take.
    fn time_for(&self, bytes: usize) -> Duration {
        let seconds = self.bytes_per_s_max.map(|rate| bytes as f64 / rate.max(1) as f64);
        Duration::from_secs_f64(seconds.unwrap_or(0.0))
    }

    fn stalls(&self, way: Way) -> bool {
        match way {
            Way::There => self.stalled_there,
            Way::Back => self.stalled_back,
        }
    }
}

/// A direction, seen from where the cable begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    There,
    Back,
}

/// A cable for TCP to one address.
#[derive(Clone)]
pub struct Proxy {
    address: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    is_cut: AtomicBool,
    faults: Mutex<Faults>,
    bytes: AtomicU64,
    connections: AtomicU64,
    streams: Mutex<Vec<TcpStream>>,
}

impl Proxy {
    /// A cable that leads to `to`.
    pub fn to(to: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("an address");
        let shared = Arc::new(Shared {
            is_cut: AtomicBool::new(false),
            faults: Mutex::new(Faults::default()),
            bytes: AtomicU64::new(0),
            connections: AtomicU64::new(0),
            streams: Mutex::new(Vec::new()),
        });
        let carried = Arc::clone(&shared);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                carry(stream, to, &carried);
            }
        });
        Self { address, shared }
    }

    /// Where the cable begins.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where the cable begins, as sites are informed of it.
    pub fn multiaddr(&self) -> String {
        format!("/ip4/{}/tcp/{}", self.address.ip(), self.address.port())
    }

    /// Ends all connections; none can be made until [`Proxy::mend`].
    pub fn cut(&self) {
        self.shared.is_cut.store(true, Ordering::SeqCst);
        self.reset();
    }

    /// Ends all connections; new ones can be made at once.
    pub fn reset(&self) {
        let mut streams = self.shared.streams.lock().unwrap_or_else(PoisonError::into_inner);
        for stream in streams.drain(..) {
            // It may have ended by itself.
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    /// Lets connections through again, without faults.
    pub fn mend(&self) {
        self.spoil(Faults::default());
        self.shared.is_cut.store(false, Ordering::SeqCst);
    }

    /// From now on the cable does this, to what is under way too.
    pub fn spoil(&self, faults: Faults) {
        *self.shared.faults.lock().unwrap_or_else(PoisonError::into_inner) = faults;
    }

    /// Bytes carried both ways since the last call.
    pub fn take_bytes(&self) -> u64 {
        self.shared.bytes.swap(0, Ordering::SeqCst)
    }

    /// Connections made since the beginning.
    pub fn connections(&self) -> u64 {
        self.shared.connections.load(Ordering::SeqCst)
    }
}

impl Shared {
    fn faults(&self) -> Faults {
        *self.faults.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn carry(from: TcpStream, to: SocketAddr, shared: &Arc<Shared>) {
    if shared.is_cut.load(Ordering::SeqCst) {
        return;
    }
    let Ok(onward) = TcpStream::connect(to) else { return };
    shared.connections.fetch_add(1, Ordering::SeqCst);
    let _ = (from.set_nodelay(true), onward.set_nodelay(true));
    let clones = || Some((from.try_clone().ok()?, onward.try_clone().ok()?));
    let (Some((a, b)), Some((c, d))) = (clones(), clones()) else { return };
    let mut streams = shared.streams.lock().unwrap_or_else(PoisonError::into_inner);
    // Ended ones need no cutting any more, and a long test makes thousands.
    streams.retain(|stream| stream.peer_addr().is_ok());
    streams.extend([a, b]);
    drop(streams);
    for (way, input, output) in [(Way::There, from, onward), (Way::Back, d, c)] {
        let (pieces, arriving) = sync_channel(PIECES_MAX);
        let (reading, writing) = (Arc::clone(shared), Arc::clone(shared));
        thread::spawn(move || take_in(input, &pieces, &reading));
        thread::spawn(move || hand_out(&output, &arriving, way, &writing));
    }
}

fn take_in(mut input: TcpStream, pieces: &SyncSender<(Instant, Vec<u8>)>, shared: &Shared) {
    let mut buffer = vec![0; PIECE_BYTES];
    while let Ok(count @ 1..) = input.read(&mut buffer) {
        let due = Instant::now() + shared.faults().delay;
        if pieces.send((due, buffer[..count].to_vec())).is_err() {
            break;
        }
    }
    let _ = input.shutdown(Shutdown::Read);
}

fn hand_out(
    mut output: &TcpStream,
    pieces: &Receiver<(Instant, Vec<u8>)>,
    way: Way,
    shared: &Shared,
) {
    for (due, piece) in pieces {
        thread::sleep(due.saturating_duration_since(Instant::now()));
        thread::sleep(shared.faults().time_for(piece.len()));
        while shared.faults().stalls(way) && !shared.is_cut.load(Ordering::SeqCst) {
            thread::sleep(STALL_PAUSE);
        }
        shared.bytes.fetch_add(piece.len() as u64, Ordering::SeqCst);
        if output.write_all(&piece).is_err() {
            break;
        }
    }
    let _ = output.shutdown(Shutdown::Both);
}
