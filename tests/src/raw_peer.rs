//! A peer that speaks by hand: proven keys and multiplexed streams from libp2p, everything above byte by byte, so that
//! it can keep to no rule.

use std::io;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use futures::future::poll_fn;
use futures::{AsyncReadExt, AsyncWriteExt};
use libp2p::core::muxing::{StreamMuxerBox, StreamMuxerExt, SubstreamBox};
use libp2p::core::transport::{Boxed, DialOpts, PortUse};
use libp2p::core::{Endpoint, Transport, upgrade::Version};
use libp2p::identity::Keypair;
use libp2p::multiaddr::Protocol;
use libp2p::{Multiaddr, PeerId, noise, quic, tcp, yamux};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

/// How long the other side may take for anything.
pub const PATIENCE: Duration = Duration::from_secs(20);
/// What multistream-select begins with.
const HEADER: &str = "/multistream/1.0.0";

/// Protocols of members.
pub const MEMBER_PROTOCOLS: [&str; 8] = [
    "/branchline/sync/3",
    "/meshsub/1.3.0",
    "/meshsub/1.2.0",
    "/meshsub/1.1.0",
    "/meshsub/1.0.0",
    "/ipfs/id/1.0.0",
    "/ipfs/id/push/1.0.0",
    "/ipfs/ping/1.0.0",
];

/// What a peer answers to a request on `/branchline/sync/3`.
pub enum Reply {
    /// This frame.
    Frame(Vec<u8>),
    /// These bytes, whatever they are, without a length before them.
    Bytes(Vec<u8>),
    /// Nothing, and the stream stays open.
    Silence,
}

/// Makes replies.
pub type Replies = Arc<dyn Fn(&[u8]) -> Reply + Send + Sync>;

/// A connection to a node.
pub struct RawPeer {
    orders: mpsc::Sender<oneshot::Sender<io::Result<SubstreamBox>>>,
    heard: mpsc::UnboundedReceiver<Heard>,
    task: JoinHandle<()>,
}

/// What the node said on a stream that it opened itself.
#[derive(Debug)]
pub struct Heard {
    /// The protocol that it asked for.
    pub protocol: String,
    /// The first bytes after that.
    pub bytes: Vec<u8>,
}

impl RawPeer {
    /// Connects over TCP or QUIC with a proven key. Requests of the node are answered by `replies`.
    ///
    /// # Errors
    /// What the connection says: the node may have refused it.
    pub async fn connect(key: &Keypair, node: &Multiaddr, replies: Replies) -> io::Result<Self> {
        let mut transport = transport(key, node)?;
        let options = DialOpts { role: Endpoint::Dialer, port_use: PortUse::New };
        let dial = transport.dial(node.clone(), options).map_err(io::Error::other)?;
        let connected = tokio::time::timeout(PATIENCE, dial).await.map_err(io::Error::other)?;
        let (_, muxer): (PeerId, StreamMuxerBox) = connected.map_err(io::Error::other)?;
        let (orders, ordered) = mpsc::channel(1);
        let (report, heard) = mpsc::unbounded_channel();
        let task = tokio::spawn(drive(muxer, ordered, report, replies));
        Ok(Self { orders, heard, task })
    }

    /// A stranger, or a member that answers nothing.
    ///
    /// # Errors
    /// What the connection says: the node may have refused it.
    pub async fn silent(key: &Keypair, node: &Multiaddr) -> io::Result<Self> {
        Self::connect(key, node, Arc::new(|_| Reply::Silence)).await
    }

    /// Whether the node has ended the connection.
    pub fn is_closed(&self) -> bool {
        self.task.is_finished()
    }

    /// Waits until the node ends the connection; false if it does not.
    pub async fn closes(&mut self) -> bool {
        tokio::time::timeout(PATIENCE, &mut self.task).await.is_ok()
    }

    /// A stream on which nothing was said yet.
    ///
    /// # Errors
    /// What the connection says: the node may have closed it.
    pub async fn open(&self) -> io::Result<SubstreamBox> {
        let (order, stream) = oneshot::channel();
        let closed = || io::Error::from(io::ErrorKind::ConnectionAborted);
        self.orders.send(order).await.map_err(|_| closed())?;
        stream.await.map_err(|_| closed())?
    }

    /// A stream on which the node speaks this protocol; `None` if it says that it does not.
    ///
    /// # Errors
    /// What the connection says: the node may have closed it.
    pub async fn speak(&self, protocol: &str) -> io::Result<Option<SubstreamBox>> {
        let mut stream = self.open().await?;
        let negotiate = async {
            write_line(&mut stream, HEADER).await?;
            write_line(&mut stream, protocol).await?;
            let header = read_line(&mut stream).await?;
            if header != HEADER {
                return Err(io::Error::other(format!("{HEADER} expected, found {header}")));
            }
            read_line(&mut stream).await
        };
        let answer =
            tokio::time::timeout(PATIENCE, negotiate).await.map_err(io::Error::other)??;
        Ok((answer == protocol).then_some(stream))
    }

    /// Sends one frame on a new stream and reads the frame that comes back.
    ///
    /// # Errors
    /// What the connection says: the node may have closed it.
    pub async fn ask(&self, protocol: &str, body: &[u8]) -> io::Result<Vec<u8>> {
        let refused = || io::Error::other("the protocol is refused");
        let mut stream = self.speak(protocol).await?.ok_or_else(refused)?;
        let exchange = async {
            stream.write_all(&frame(body)).await?;
            stream.flush().await?;
            read_frame(&mut stream).await
        };
        tokio::time::timeout(PATIENCE, exchange).await.map_err(io::Error::other)?
    }

    /// Everything that the node has said by itself so far.
    pub fn heard(&mut self) -> Vec<Heard> {
        std::iter::from_fn(|| self.heard.try_recv().ok()).collect()
    }
}

impl Drop for RawPeer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn transport(key: &Keypair, node: &Multiaddr) -> io::Result<Boxed<(PeerId, StreamMuxerBox)>> {
    if node.iter().any(|part| part == Protocol::QuicV1) {
        let quic = quic::tokio::Transport::new(quic::Config::new(key));
        return Ok(quic.map(|(peer, muxer), _| (peer, StreamMuxerBox::new(muxer))).boxed());
    }
    let noise = noise::Config::new(key).map_err(io::Error::other)?;
    let tcp = tcp::tokio::Transport::new(tcp::Config::default().nodelay(true));
    let secured = tcp.upgrade(Version::V1).authenticate(noise);
    Ok(secured.multiplex(yamux::Config::default()).boxed())
}

/// Owns the connection: opens streams as ordered, and takes the node's.
async fn drive(
    mut muxer: StreamMuxerBox,
    mut orders: mpsc::Receiver<oneshot::Sender<io::Result<SubstreamBox>>>,
    report: mpsc::UnboundedSender<Heard>,
    replies: Replies,
) {
    let mut order = None;
    poll_fn(|context| {
        loop {
            if order.is_none()
                && let Poll::Ready(next) = orders.poll_recv(context)
            {
                match next {
                    Some(next) => order = Some(next),
                    None => return Poll::Ready(()),
                }
            }
            let mut is_idle = true;
            if order.is_some()
                && let Poll::Ready(stream) = muxer.poll_outbound_unpin(context)
            {
                is_idle = false;
                if let Some(order) = order.take() {
                    // Anyone who ordered may have gone.
                    let _ = order.send(stream.map_err(io::Error::other));
                }
            }
            match muxer.poll_inbound_unpin(context) {
                Poll::Ready(Ok(stream)) => {
                    is_idle = false;
                    tokio::spawn(listen(stream, report.clone(), Arc::clone(&replies)));
                }
                Poll::Ready(Err(_)) => return Poll::Ready(()),
                Poll::Pending => {}
            }
            match muxer.poll_unpin(context) {
                Poll::Ready(Ok(_)) => is_idle = false,
                Poll::Ready(Err(_)) => return Poll::Ready(()),
                Poll::Pending => {}
            }
            if is_idle {
                return Poll::Pending;
            }
        }
    })
    .await;
}

/// Lets the node speak whatever it likes, and notes it.
async fn listen(
    mut stream: SubstreamBox,
    report: mpsc::UnboundedSender<Heard>,
    replies: Replies,
) -> io::Result<()> {
    read_line(&mut stream).await?;
    let protocol = read_line(&mut stream).await?;
    write_line(&mut stream, HEADER).await?;
    write_line(&mut stream, &protocol).await?;
    if protocol == "/branchline/sync/3" {
        let bytes = read_frame(&mut stream).await?;
        let reply = replies(&bytes);
        let _ = report.send(Heard { protocol, bytes });
        match reply {
            Reply::Frame(body) => stream.write_all(&frame(&body)).await?,
            Reply::Bytes(bytes) => stream.write_all(&bytes).await?,
            Reply::Silence => tokio::time::sleep(PATIENCE * 6).await,
        }
        return stream.close().await;
    }
    let mut buffer = vec![0; 64 * 1024];
    while let count @ 1.. = stream.read(&mut buffer).await? {
        let bytes = buffer[..count].to_vec();
        if protocol == "/ipfs/ping/1.0.0" {
            stream.write_all(&bytes).await?;
            stream.flush().await?;
        }
        let _ = report.send(Heard { protocol: protocol.clone(), bytes });
    }
    Ok(())
}

/// A body with its length before it, as `/branchline/sync/3` and `/branchline/join/1` have it.
pub fn frame(body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len()).expect("a body of less than 4 GiB");
    [&length.to_be_bytes()[..], body].concat()
}

async fn read_frame(stream: &mut SubstreamBox) -> io::Result<Vec<u8>> {
    let mut length = [0; 4];
    stream.read_exact(&mut length).await?;
    let mut body = vec![0; usize::try_from(u32::from_be_bytes(length)).unwrap_or(0)];
    stream.read_exact(&mut body).await?;
    Ok(body)
}

/// A line of multistream-select: its length, the text, a newline.
pub fn line(text: &str) -> Vec<u8> {
    let mut bytes = varint(text.len() + 1);
    bytes.extend_from_slice(text.as_bytes());
    bytes.push(b'\n');
    bytes
}

async fn write_line(stream: &mut SubstreamBox, text: &str) -> io::Result<()> {
    stream.write_all(&line(text)).await?;
    stream.flush().await
}

/// Reads one line; what `ls` is answered with comes whole, with its inner lengths.
///
/// # Errors
/// What the connection says: the node may have closed it.
pub async fn read_line(stream: &mut SubstreamBox) -> io::Result<String> {
    let (mut length, mut shift) = (0, 0);
    loop {
        let mut byte = [0];
        stream.read_exact(&mut byte).await?;
        length |= usize::from(byte[0] & 0x7f) << shift;
        shift += 7;
        if byte[0] < 0x80 || shift > 14 {
            break;
        }
    }
    let mut text = vec![0; length];
    stream.read_exact(&mut text).await?;
    Ok(String::from_utf8_lossy(&text).trim_end_matches('\n').to_owned())
}

/// A number as protobuf and multistream-select write it.
pub fn varint(mut number: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    while number >= 0x80 {
        bytes.push(number as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
    bytes
}

/// Gossip RPCs, by hand.
pub mod rpc {
    use super::varint;

    /// A field with a length.
    pub fn field(number: u8, content: &[u8]) -> Vec<u8> {
        [&[number << 3 | 2][..], &varint(content.len()), content].concat()
    }

    /// A field with a number.
    pub fn number(field: u8, value: u64) -> Vec<u8> {
        let value = usize::try_from(value).expect("64 bits");
        [&[field << 3][..], &varint(value)].concat()
    }

    /// The RPC as it lies on the stream.
    pub fn framed(parts: &[Vec<u8>]) -> Vec<u8> {
        let content = parts.concat();
        [varint(content.len()), content].concat()
    }

    /// Subscribes to a topic.
    pub fn subscribe(topic: &str) -> Vec<u8> {
        field(1, &[number(1, 1), field(2, topic.as_bytes())].concat())
    }

    /// Publishes a message.
    pub fn publish(topic: &str, data: &[u8]) -> Vec<u8> {
        field(2, &[field(2, data), field(4, topic.as_bytes())].concat())
    }

    /// Takes the node into the mesh of a topic.
    pub fn graft(topic: &str) -> Vec<u8> {
        field(3, &field(3, &field(1, topic.as_bytes())))
    }

    /// Sends the node out of the mesh of a topic for so many seconds.
    pub fn prune(topic: &str, seconds: u64) -> Vec<u8> {
        field(3, &field(4, &[field(1, topic.as_bytes()), number(3, seconds)].concat()))
    }

    /// Claims to have messages.
    pub fn have(topic: &str, ids: &[Vec<u8>]) -> Vec<u8> {
        let ids: Vec<_> = ids.iter().map(|id| field(2, id)).collect();
        field(3, &field(1, &[field(1, topic.as_bytes()), ids.concat()].concat()))
    }
}
