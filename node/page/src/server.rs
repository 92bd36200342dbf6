//! Connections of the page: accepted, bounded, and ended with the node. Apart from the API's, so that no number of open
//! tabs keeps programs out.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use branchline_node::whole_file;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};
use tokio_io_timeout::TimeoutStream;
use tokio_rustls::TlsAcceptor;
use tower::ServiceExt;
use tracing::{debug, info, warn};

use crate::config::PageConfig;
use crate::office::Office;
use crate::sign_in::Ends;
use crate::{guard, tls};

/// Connections held at once; others wait in the system's queue. A browser opens up to six.
const CONNECTIONS_MAX: usize = 512;
/// Those of one other machine, so that none keeps all others out.
const OF_ADDRESS_MAX: usize = 128;
/// How long a client may take to send the head of a request, or leave a connection unused.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a handshake of TLS may take.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a client may take none of an answer.
const WRITE_TIMEOUT: Duration = Duration::from_secs(30);
/// Most bytes of a request's head, and of what waits between socket and program.
const BUFFER_BYTES_MAX: usize = 96 * 1024;
/// Most headers of a request; a browser sends some twenty.
const HEADERS_MAX: usize = 64;
/// How long requests may go on once the node stops.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(3);
/// Pause after a failed accept: out of file descriptors, mostly.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// The file of the port that was taken once.
const PORT_FILE: &str = "port";

/// A page that is served.
pub(crate) struct Server {
    stop: oneshot::Sender<()>,
    serving: JoinHandle<()>,
}

impl Server {
    /// Begins to serve.
    pub(crate) async fn start(office: Arc<Office>) -> Result<Self, String> {
        let config = office.config();
        let acceptor = match &config.tls {
            Some((certificate, key)) => Some(tls::acceptor(certificate, key)?),
            None => None,
        };
        let listener = bind(&config, &office.folder)
            .await
            .map_err(|error| format!("the page cannot listen on {}: {error}", config.listen))?;
        let address = listener.local_addr().map_err(|error| error.to_string())?;
        office.set_served(Some((address, acceptor.is_some())));
        office.learn_name().await;
        let scheme = if acceptor.is_some() { "https" } else { "http" };
        info!(address = %format!("{scheme}://{address}"), "the page is served: `branchline open`");
        let app = guard::app(Arc::clone(&office));
        let (stop, stopped) = oneshot::channel();
        let serving = tokio::spawn(serve(listener, acceptor, app, office, stopped));
        Ok(Self { stop, serving })
    }

    /// Ends what is being answered, and all streams.
    pub(crate) async fn stop(self) {
        // It may have ended by itself.
        let _ = self.stop.send(());
        let _ = self.serving.await;
    }
}

/// Whether a page was served here before, at a port that browsers know.
pub(crate) fn was_served(folder: &Path) -> bool {
    folder.join(PORT_FILE).exists()
}

/// Listens: where no port is given, at the one that was taken before, or a free one.
async fn bind(config: &PageConfig, folder: &Path) -> io::Result<TcpListener> {
    let listen = config.listen;
    if listen.port() != 0 {
        return TcpListener::bind(listen).await;
    }
    let file = folder.join(PORT_FILE);
    let kept = std::fs::read_to_string(&file).ok().and_then(|text| text.trim().parse().ok());
    if let Some(port) = kept {
        match TcpListener::bind(SocketAddr::new(listen.ip(), port)).await {
            Ok(listener) => return Ok(listener),
            Err(error) => {
                warn!(port, %error, "the page takes another port: bookmarks lead nowhere")
            }
        }
    }
    let listener = TcpListener::bind(listen).await?;
    let port = listener.local_addr()?.port();
    if let Err(error) = whole_file::replace(&file, port.to_string().as_bytes()) {
        warn!(%error, "the page's port is not kept: it will be another after a restart");
    }
    Ok(listener)
}

async fn serve(
    listener: TcpListener,
    acceptor: Option<TlsAcceptor>,
    app: Router,
    office: Arc<Office>,
    stopped: oneshot::Receiver<()>,
) {
    let connections = GracefulShutdown::new();
    let places = Places::new();
    let accepting = async {
        loop {
            let Ok(permit) = Arc::clone(&places.all).acquire_owned().await else { return };
            let Some((stream, ends)) = accept(&listener).await else { continue };
            let Some(place) = places.take(ends.peer.ip(), permit) else {
                debug!(peer = %ends.peer, "a machine has too many connections to the page");
                continue;
            };
            let (acceptor, app) = (acceptor.clone(), app.clone());
            let watcher = connections.watcher();
            tokio::spawn(async move {
                let _place = place;
                match acceptor {
                    None => connection(stream, ends, app, watcher).await,
                    Some(acceptor) => {
                        match timeout(HANDSHAKE_TIMEOUT, acceptor.accept(stream)).await {
                            Ok(Ok(stream)) => connection(stream, ends, app, watcher).await,
                            Ok(Err(error)) => debug!(%error, "a handshake of the page failed"),
                            Err(_) => debug!("a handshake of the page took too long"),
                        }
                    }
                }
            });
        }
    };
    tokio::select! {
        () = accepting => {}
        _ = stopped => {}
    }
    drop(listener);
    office.live.stop();
    if timeout(DRAIN_TIMEOUT, connections.shutdown()).await.is_err() {
        warn!("requests of the page were cut off");
    }
}

async fn accept(listener: &TcpListener) -> Option<(TcpStream, Ends)> {
    match listener.accept().await {
        Ok((stream, peer)) => {
            let local = stream.local_addr().ok()?;
            // An answer that is shorter than a packet would wait for the client's acknowledgement of the one before.
            let _ = stream.set_nodelay(true);
            Some((stream, Ends { peer, local }))
        }
        Err(error) => {
            warn!(%error, "the page cannot accept a connection");
            sleep(ACCEPT_PAUSE).await;
            None
        }
    }
}

/// Serves one connection to its end.
async fn connection<S: AsyncRead + AsyncWrite + Send + 'static>(
    stream: S,
    ends: Ends,
    app: Router,
    watcher: Watcher,
) {
    let service = service_fn(move |request: hyper::Request<Incoming>| {
        let mut request: Request = request.map(Body::new);
        request.extensions_mut().insert(ends);
        app.clone().oneshot(request)
    });
    let mut stream = TimeoutStream::new(stream);
    stream.set_write_timeout(Some(WRITE_TIMEOUT));
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(BUFFER_BYTES_MAX)
        .max_headers(HEADERS_MAX)
        .serve_connection(TokioIo::new(Box::pin(stream)), service);
    if let Err(error) = watcher.watch(connection).await {
        debug!(%error, "a connection of the page ended");
    }
}

/// Places for connections, by the machine that they come from.
struct Places {
    all: Arc<Semaphore>,
    by_address: Mutex<BTreeMap<IpAddr, usize>>,
}

struct Slot {
    places: Arc<Places>,
    address: IpAddr,
    _permit: OwnedSemaphorePermit,
}

impl Places {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            all: Arc::new(Semaphore::new(CONNECTIONS_MAX)),
            by_address: Mutex::default(),
        })
    }

    /// `None`: the machine has as many as it may. This one may have all.
    fn take(self: &Arc<Self>, address: IpAddr, permit: OwnedSemaphorePermit) -> Option<Slot> {
        let mut by_address = self.by_address.lock().unwrap_or_else(PoisonError::into_inner);
        let count = by_address.entry(address).or_default();
        if *count >= OF_ADDRESS_MAX && !address.is_loopback() {
            return None;
        }
        *count += 1;
        drop(by_address);
        Some(Slot { places: Arc::clone(self), address, _permit: permit })
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut by_address = self.places.by_address.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = by_address.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                by_address.remove(&self.address);
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn one_machine_leaves_places_for_others() {
        let places = Places::new();
        let permit = || Arc::clone(&places.all).try_acquire_owned();
        let (one, other) = (IpAddr::from([10, 0, 0, 1]), IpAddr::from([10, 0, 0, 2]));
        let taken: Vec<_> =
            std::iter::from_fn(|| places.take(one, permit().ok()?)).take(OF_ADDRESS_MAX).collect();
        assert_eq!(taken.len(), OF_ADDRESS_MAX);
        assert!(places.take(one, permit().unwrap()).is_none());
        assert!(places.take(other, permit().unwrap()).is_some());
        drop(taken);
        assert!(places.by_address.lock().unwrap().is_empty());
        assert_eq!(places.all.available_permits(), CONNECTIONS_MAX);
    }
}
