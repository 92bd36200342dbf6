//! A link that can be cut: a TCP proxy on loopback with a switch.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};

use libp2p::Multiaddr;
use libp2p::multiaddr::Protocol;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// Connections carried at once. Two sites keep one or two; the rest is room for redials.
const CONNECTIONS_MAX: usize = 8;

/// A proxy in front of one address. It ends, with everything it carries, when this is dropped.
pub(super) struct Link {
    port: u16,
    is_up: watch::Sender<bool>,
}

impl Link {
    /// A link to `target`, up from the start.
    pub(super) async fn to(target: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let port = listener.local_addr()?.port();
        let (is_up, switch) = watch::channel(true);
        tokio::spawn(serve(listener, target, switch));
        Ok(Self { port, is_up })
    }

    /// The way to the target, by a name that every machine has.
    pub(super) fn address(&self) -> Multiaddr {
        Multiaddr::empty().with(Protocol::Dns4("localhost".into())).with(Protocol::Tcp(self.port))
    }

    /// Closes the sockets of all connections, and of every new one at once.
    pub(super) fn cut(&self) {
        self.is_up.send_replace(false);
    }

    /// Lets new connections through again.
    pub(super) fn heal(&self) {
        self.is_up.send_replace(true);
    }
}

async fn serve(listener: TcpListener, target: SocketAddr, mut is_up: watch::Receiver<bool>) {
    let mut carried = JoinSet::new();
    loop {
        tokio::select! {
            changed = is_up.changed() => match changed {
                Ok(()) if *is_up.borrow_and_update() => {}
                Ok(()) => carried.shutdown().await,
                Err(_) => return,
            },
            accepted = listener.accept() => {
                // Without a listener the link stays down, which anyone who waits for it will see.
                let Ok((near, _)) = accepted else { return };
                if *is_up.borrow() && carried.len() < CONNECTIONS_MAX {
                    carried.spawn(carry(near, target));
                }
            }
            Some(_) = carried.join_next() => {}
        }
    }
}

/// Carries bytes both ways until both sides are done.
async fn carry(mut near: TcpStream, target: SocketAddr) -> io::Result<()> {
    let mut far = TcpStream::connect(target).await?;
    near.set_nodelay(true)?;
    far.set_nodelay(true)?;
    tokio::io::copy_bidirectional(&mut near, &mut far).await?;
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::time::Duration;

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::time::timeout;

    use super::*;

    const DEADLINE: Duration = Duration::from_secs(10);

    /// A server that sends back what it gets.
    async fn echo() -> SocketAddr {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let (mut read, mut write) = stream.split();
                    tokio::io::copy(&mut read, &mut write).await
                });
            }
        });
        address
    }

    async fn connect(link: &Link) -> TcpStream {
        TcpStream::connect((Ipv4Addr::LOCALHOST, link.port)).await.unwrap()
    }

    /// Whether `word` comes back.
    async fn answers(stream: &mut TcpStream, word: &[u8]) -> bool {
        let mut answer = vec![0; word.len()];
        let exchange = async {
            stream.write_all(word).await?;
            stream.read_exact(&mut answer).await
        };
        timeout(DEADLINE, exchange).await.unwrap().is_ok() && answer == word
    }

    #[tokio::test]
    async fn a_cut_closes_what_is_open_and_refuses_what_is_new_until_it_heals() {
        let link = Link::to(echo().await).await.unwrap();
        let mut open = connect(&link).await;
        assert!(answers(&mut open, b"before").await);

        link.cut();
        // The end of the stream, or a reset: either way the socket is closed.
        let end = timeout(DEADLINE, open.read(&mut [0; 1])).await.unwrap();
        assert!(matches!(end, Ok(0) | Err(_)), "{end:?}");
        assert!(!answers(&mut connect(&link).await, b"during").await);

        link.heal();
        let healed = async { while !answers(&mut connect(&link).await, b"after").await {} };
        timeout(DEADLINE, healed).await.unwrap();
    }

    #[tokio::test]
    async fn a_dropped_link_leaves_nothing_open() {
        let link = Link::to(echo().await).await.unwrap();
        let mut open = connect(&link).await;
        assert!(answers(&mut open, b"before").await);
        drop(link);
        let end = timeout(DEADLINE, open.read(&mut [0; 1])).await.unwrap();
        assert!(matches!(end, Ok(0) | Err(_)), "{end:?}");
    }
}
