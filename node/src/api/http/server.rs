//! Connections of the API: accepted, bounded, and ended with the node.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::http::HeaderName;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::sleep;
use tokio_io_timeout::TimeoutStream;
use tower::ServiceExt;
use tracing::{debug, warn};

use super::one_shape::OneShape;
use super::places::{Places, Visit};
use crate::api::Doors;
use crate::site::token::Token;
use crate::socket::Socket;

/// Connections to the socket held at once; others wait in its queue. For the port see [`Places`].
const SOCKET_CONNECTIONS_MAX: usize = 128;
/// How long a client may take to send the head of a request, or leave a connection unused.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// Tells clients how long a connection may be left unused. A little less than it may: a request that is on its way while
/// the connection is closed is lost.
pub(crate) const KEEP_ALIVE: (HeaderName, &str) =
    (HeaderName::from_static("keep-alive"), "timeout=8");
/// How long a client may take none of an answer.
const WRITE_TIMEOUT: Duration = Duration::from_secs(30);
/// Most bytes of a request's head, of which path and query may have 64 KiB, and of a body or answer that wait between socket
/// and program.
const BUFFER_BYTES_MAX: usize = 96 * 1024;
/// Most headers of a request; a browser sends some twenty.
const HEADERS_MAX: usize = 64;
/// How long requests may go on once the node stops.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(5);
/// How long what was asked with a token may go on once there is another: the answer to the request that replaced it, and no
/// stream of events for good.
const OLD_TOKEN_TIMEOUT: Duration = Duration::from_secs(5);
/// Pause after a failed accept: out of file descriptors, mostly.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Who is at the other end of a connection.
#[derive(Clone)]
pub(crate) enum ConnectionPeer {
    /// A process of the data folder's owner, or of root: it came by the socket.
    Owner {
        /// Its id, where the system tells.
        process: Option<i32>,
    },
    /// Any process of this machine: it came by the port.
    Anyone(Arc<Visit>),
}

/// Serves `app` until `shutdown` resolves and the requests at work are answered.
pub(crate) async fn serve(
    doors: Doors,
    app: Router,
    token: Arc<Token>,
    shutdown: impl Future<Output = ()> + Send,
) {
    let Doors { port, socket } = doors;
    let connections = GracefulShutdown::new();
    let at_port = async {
        let places = Places::new();
        loop {
            let Some(stream) = accept(&port).await else { continue };
            places.make_room().await;
            let (visit, must_go) = places.enter();
            let serving =
                connection(stream, ConnectionPeer::Anyone(visit), app.clone(), &connections);
            let replaced = token.replaced();
            let is_outdated = async move {
                replaced.await;
                sleep(OLD_TOKEN_TIMEOUT).await;
            };
            tokio::spawn(async move {
                tokio::select! {
                    biased;
                    () = serving => {}
                    () = must_go => debug!("a connection that showed no token made room for another"),
                    () = is_outdated => debug!("a connection ended that an old token had opened"),
                }
            });
        }
    };
    let at_socket = async {
        let room = Arc::new(Semaphore::new(SOCKET_CONNECTIONS_MAX));
        loop {
            if let Some((stream, process, permit)) = accept_owner(&socket, &room).await {
                let peer = ConnectionPeer::Owner { process };
                let serving = connection(stream, peer, app.clone(), &connections);
                tokio::spawn(async move {
                    serving.await;
                    drop(permit);
                });
            }
        }
    };
    tokio::select! {
        () = at_port => {}
        () = at_socket => {}
        () = shutdown => {}
    }
    drop((port, socket));
    if tokio::time::timeout(DRAIN_TIMEOUT, connections.shutdown()).await.is_err() {
        warn!("requests of the API were cut off");
    }
}

async fn accept(listener: &TcpListener) -> Option<TcpStream> {
    match listener.accept().await {
        Ok((stream, _)) => {
            // An answer that is shorter than a packet would wait for the client's acknowledgement of the one before.
            if let Err(error) = stream.set_nodelay(true) {
                debug!(%error, "answers of the API may be late");
            }
            Some(stream)
        }
        Err(error) => {
            pause(&error).await;
            None
        }
    }
}

async fn accept_owner(
    socket: &Socket,
    room: &Arc<Semaphore>,
) -> Option<(UnixStream, Option<i32>, OwnedSemaphorePermit)> {
    let permit = Arc::clone(room).acquire_owned().await.ok()?;
    match socket.accept().await {
        Ok(accepted) => accepted.map(|(stream, process)| (stream, process, permit)),
        Err(error) => {
            pause(&error).await;
            None
        }
    }
}

async fn pause(error: &std::io::Error) {
    warn!(%error, "the API cannot accept a connection");
    sleep(ACCEPT_PAUSE).await;
}

/// Serves one connection to its end.
fn connection<S: AsyncRead + AsyncWrite + Send + 'static>(
    stream: S,
    peer: ConnectionPeer,
    app: Router,
    connections: &GracefulShutdown,
) -> impl Future<Output = ()> + Send + use<S> {
    let service = service_fn(move |request: Request<Incoming>| {
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(peer.clone());
        app.clone().oneshot(request)
    });
    let mut stream = TimeoutStream::new(stream);
    stream.set_write_timeout(Some(WRITE_TIMEOUT));
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(BUFFER_BYTES_MAX)
        .max_headers(HEADERS_MAX)
        .serve_connection(TokioIo::new(OneShape::new(Box::pin(stream))), service);
    let connection = connections.watch(connection);
    async move {
        if let Err(error) = connection.await {
            debug!(%error, "a connection of the API ended");
        }
    }
}
