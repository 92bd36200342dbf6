//! A cable that can be cut: a TCP proxy on loopback that counts bytes.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

/// A cable to one address.
#[derive(Clone)]
pub struct Proxy {
    address: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    is_cut: AtomicBool,
    bytes: AtomicU64,
    streams: Mutex<Vec<TcpStream>>,
}

impl Proxy {
    /// A cable that leads to `to`.
    pub fn to(to: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("an address");
        let shared = Arc::new(Shared {
            is_cut: AtomicBool::new(false),
            bytes: AtomicU64::new(0),
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

    /// Where the cable begins, as sites are told of it.
    pub fn multiaddr(&self) -> String {
        format!("/ip4/{}/tcp/{}", self.address.ip(), self.address.port())
    }

    /// Ends all connections; none can be made until [`Proxy::mend`].
    pub fn cut(&self) {
        self.shared.is_cut.store(true, Ordering::SeqCst);
        let mut streams = self.shared.streams.lock().unwrap_or_else(PoisonError::into_inner);
        for stream in streams.drain(..) {
            // It may have ended by itself.
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    /// Lets connections through again.
    pub fn mend(&self) {
        self.shared.is_cut.store(false, Ordering::SeqCst);
    }

    /// Bytes carried both ways since the last call.
    pub fn take_bytes(&self) -> u64 {
        self.shared.bytes.swap(0, Ordering::SeqCst)
    }
}

fn carry(from: TcpStream, to: SocketAddr, shared: &Arc<Shared>) {
    if shared.is_cut.load(Ordering::SeqCst) {
        return;
    }
    let Ok(onward) = TcpStream::connect(to) else { return };
    let _ = (from.set_nodelay(true), onward.set_nodelay(true));
    let clones = || Some((from.try_clone().ok()?, onward.try_clone().ok()?));
    let (Some((a, b)), Some((c, d))) = (clones(), clones()) else { return };
    shared.streams.lock().unwrap_or_else(PoisonError::into_inner).extend([a, b]);
    for (mut input, mut output) in [(from, onward), (d, c)] {
        let shared = Arc::clone(shared);
        thread::spawn(move || {
            let mut buffer = vec![0; 64 * 1024];
            while let Ok(count @ 1..) = input.read(&mut buffer) {
                shared.bytes.fetch_add(count as u64, Ordering::SeqCst);
                if output.write_all(&buffer[..count]).is_err() {
                    break;
                }
            }
            let _ = (input.shutdown(Shutdown::Both), output.shutdown(Shutdown::Both));
        });
    }
}
