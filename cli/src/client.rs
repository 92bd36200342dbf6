//! The one way to a site: its HTTP API, served by the running node or, where none runs, by this process.

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, Method, Request, Response, Uri, header};
use branchline_crdt::record::{check_collection, check_record_id};
use branchline_node::site::SiteFolder;
use branchline_node::socket;
use branchline_node::storage::OpenError;
use branchline_node::storage::folder::{DataFolder, FOLDER_PATIENCE, FOLDER_PAUSE, FolderError};
use branchline_node::{Node, StartError, api};
use futures::future::BoxFuture;
use hyper_util::client::legacy::Client as HttpClient;
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::net::UnixStream;
use tokio::time::{Instant, sleep, timeout};
use tower::util::BoxCloneSyncService;
use tower::{ServiceExt, service_fn};

use crate::error::CliError;
use crate::extensions::{configuration, extensions};

/// How long one question about a node's health may take.
const HEALTH_TIMEOUT: Duration = Duration::from_secs(2);
/// How long a request may take; the node itself gives up a little earlier.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(90);
/// Largest answer that is read. Pages end at 8 MiB and one record; escapes in JSON can make six of one byte.
const ANSWER_BYTES_MAX: usize = 128 * 1024 * 1024;

/// A site to send requests to.
pub(crate) struct Client {
    link: ClientLink,
    /// The space that requests are about; `None`: `main`.
    space: Option<String>,
}

/// A client that speaks over the socket of a data folder, whatever host its requests name.
type SocketClient = HttpClient<Connector, Body>;
type Connector = BoxCloneSyncService<Uri, TokioIo<UnixStream>, io::Error>;

enum ClientLink {
    /// A node runs on the folder and serves its API on the folder's socket, and for other programs at a port.
    Running { http: SocketClient, port: Option<SocketAddr> },
    /// This process has opened the folder.
    Opened { node: Box<Node>, router: Router },
}

impl Client {
    /// Opens the folder, or finds the node that runs on it. The folder's lock tells which. What runs is asked over the
    /// folder's socket, where nobody else can listen: a port in a file may be another program's by now.
    pub(crate) async fn connect(data: &Path) -> Result<Self, CliError> {
        let folder = SiteFolder::new(data);
        folder.site()?;
        let config = match configuration(data) {
            Ok(config) => config,
            // A running node goes on by the one that it has.
            Err(error) => return Self::at_socket(&folder).await?.ok_or_else(|| error.into()),
        };
        let deadline = Instant::now() + FOLDER_PATIENCE;
        loop {
            let builder = Node::builder(config.clone()).with_all(extensions());
            let process = match builder.open().await {
                Ok(node) => {
                    let router = api::router(node.handle());
                    return Ok(Self::new(ClientLink::Opened { node: Box::new(node), router }));
                }
                Err(StartError::Open(OpenError::Folder(FolderError::Locked {
                    process, ..
                }))) => process,
                // Another user's folder is not opened, but the node that runs on it can be asked.
                Err(StartError::Open(OpenError::Folder(FolderError::Foreign { .. })))
                    if DataFolder::is_locked(data) =>
                {
                    None
                }
                Err(error) => return Err(CliError::of_start(error, data)),
            };
            if let Some(client) = Self::at_socket(&folder).await? {
                return Ok(client);
            }
            if Instant::now() >= deadline {
                return Err(in_use(data, process));
            }
            sleep(FOLDER_PAUSE).await;
        }
    }

    /// Finds the node that runs on the folder; `None`: none does. The folder of a stopped one is left alone.
    pub(crate) async fn connect_running(data: &Path) -> Result<Option<Self>, CliError> {
        let folder = SiteFolder::new(data);
        folder.site()?;
        Self::at_socket(&folder).await
    }

    /// Connects to the folder's socket; `None`: nobody listens there, or answers.
    async fn at_socket(folder: &SiteFolder) -> Result<Option<Self>, CliError> {
        let data = folder.path().to_owned();
        if let Err(error) = socket::connect(&data).await {
            return match error.kind() {
                io::ErrorKind::NotFound
                | io::ErrorKind::ConnectionRefused
                | io::ErrorKind::WouldBlock => Ok(None),
                _ => Err(unreachable_socket(&data, &error)),
            };
        }
        // Only to be shown.
        let port = folder.run().ok().and_then(|run| run.api);
        let connector = service_fn(move |_: Uri| -> BoxFuture<'static, io::Result<_>> {
            let data = data.clone();
            Box::pin(async move { socket::connect(&data).await.map(TokioIo::new) })
        });
        let http = HttpClient::builder(TokioExecutor::new()).build(Connector::new(connector));
        let health =
            timeout(HEALTH_TIMEOUT, http.get(Uri::from_static("http://localhost/healthz")));
        let is_healthy = health
            .await
            .is_ok_and(|answer| answer.is_ok_and(|answer| answer.status().is_success()));
        Ok(is_healthy.then(|| Self::new(ClientLink::Running { http, port })))
    }

    fn new(link: ClientLink) -> Self {
        Self { link, space: None }
    }

    /// The same, with requests about another space.
    pub(crate) fn in_space(self, space: Option<String>) -> Self {
        Self { space, ..self }
    }

    /// The space that requests are about; `None`: `main`.
    pub(crate) fn space(&self) -> Option<&str> {
        self.space.as_deref()
    }

    /// The port at which the running node serves its API to other programs.
    pub(crate) fn port(&self) -> Option<SocketAddr> {
        match &self.link {
            ClientLink::Running { port, .. } => *port,
            ClientLink::Opened { .. } => None,
        }
    }

    /// Whether a node runs.
    pub(crate) fn is_running(&self) -> bool {
        matches!(self.link, ClientLink::Running { .. })
    }

    /// Lets go of the site; an opened folder is written out.
    pub(crate) async fn close(self) {
        match self.link {
            ClientLink::Running { .. } => {}
            ClientLink::Opened { node, router } => {
                drop(router);
                node.shutdown().await;
            }
        }
    }

    pub(crate) async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, CliError> {
        self.ask(Method::GET, path, None).await
    }

    pub(crate) async fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
    ) -> Result<T, CliError> {
        let bytes = serde_json::to_vec(body).map_err(|error| unreadable(&error))?;
        self.ask(Method::POST, path, Some(("application/json", bytes))).await
    }

    /// Sends a request whose answer is JSON. `body` is a content type and bytes.
    pub(crate) async fn ask<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Option<(&str, Vec<u8>)>,
    ) -> Result<T, CliError> {
        let answer = timeout(REQUEST_TIMEOUT, self.send(method, path, body));
        let answer = answer.await.map_err(|_| {
            let seconds = REQUEST_TIMEOUT.as_secs();
            CliError::failed(format!("the node has not answered for {seconds} s"))
        })??;
        serde_json::from_slice(&answer).map_err(|error| unreadable(&error))
    }

    /// Asks for work that takes as long as it takes.
    pub(crate) async fn ask_patiently<T: DeserializeOwned>(
        &self,
        path: &str,
    ) -> Result<T, CliError> {
        let answer = self.send(Method::POST, path, None).await?;
        serde_json::from_slice(&answer).map_err(|error| unreadable(&error))
    }

    /// The same, with a body.
    pub(crate) async fn post_patiently<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
    ) -> Result<T, CliError> {
        let bytes = serde_json::to_vec(body).map_err(|error| unreadable(&error))?;
        let answer = self.send(Method::POST, path, Some(("application/json", bytes))).await?;
        serde_json::from_slice(&answer).map_err(|error| unreadable(&error))
    }

    /// Sends a request and reads the whole answer.
    pub(crate) async fn send(
        &self,
        method: Method,
        path: &str,
        body: Option<(&str, Vec<u8>)>,
    ) -> Result<Vec<u8>, CliError> {
        let body = body.map(|(content_type, bytes)| (content_type, Body::from(bytes)));
        read(self.exchange(method, path, None, body).await?).await
    }

    /// Sends a request whose body, a content type and bytes, and whose answer may be of any length and take any time.
    pub(crate) async fn stream(
        &self,
        method: Method,
        path: &str,
        body: (&str, Body),
    ) -> Result<Body, CliError> {
        let response = self.exchange(method, path, None, Some(body)).await?;
        if response.status().is_success() {
            Ok(response.into_body())
        } else {
            Err(read(response).await.err().unwrap_or_else(CliError::reported))
        }
    }

    /// Fetches what lies at a path in the form of a content type, of any length.
    pub(crate) async fn fetch(
        &self,
        path: &str,
        accept: &str,
    ) -> Result<(HeaderMap, Body), CliError> {
        let response = self.exchange(Method::GET, path, Some(accept), None).await?;
        if response.status().is_success() {
            let (head, body) = response.into_parts();
            Ok((head.headers, body))
        } else {
            Err(read(response).await.err().unwrap_or_else(CliError::reported))
        }
    }

    /// Reads an answer of [`Client::stream`] that is JSON.
    pub(crate) async fn read_json<T: DeserializeOwned>(answer: Body) -> Result<T, CliError> {
        let answer = read(Response::new(answer)).await?;
        serde_json::from_slice(&answer).map_err(|error| unreadable(&error))
    }

    async fn exchange(
        &self,
        method: Method,
        path: &str,
        accept: Option<&str>,
        body: Option<(&str, Body)>,
    ) -> Result<Response<Body>, CliError> {
        let path = match &self.space {
            Some(space) => {
                let before = if path.contains('?') { '&' } else { '?' };
                format!("{path}{before}space={}", encoded(space))
            }
            None => path.to_owned(),
        };
        let mut request = Request::builder().method(method);
        if let Some(accept) = accept {
            request = request.header(header::ACCEPT, accept);
        }
        let body = match body {
            Some((content_type, body)) => {
                request = request.header(header::CONTENT_TYPE, content_type);
                body
            }
            None => Body::empty(),
        };
        match &self.link {
            ClientLink::Running { http, .. } => {
                let request = request.uri(format!("http://localhost{path}"));
                let request = request.body(body).map_err(|error| unsendable(&error))?;
                let response = http.request(request).await;
                response.map(|response| response.map(Body::new)).map_err(|error| broken(&error))
            }
            ClientLink::Opened { router, .. } => {
                let request = request.uri(path).body(body).map_err(|error| unsendable(&error))?;
                match router.clone().oneshot(request).await {
                    Ok(response) => Ok(response),
                    Err(never) => match never {},
                }
            }
        }
    }
}

async fn read(response: Response<Body>) -> Result<Vec<u8>, CliError> {
    let status = response.status();
    let bytes =
        to_bytes(response.into_body(), ANSWER_BYTES_MAX).await.map_err(|error| broken(&error))?;
    if status.is_success() {
        Ok(bytes.into())
    } else {
        Err(CliError::of_api(status.as_u16(), &bytes))
    }
}

fn in_use(data: &Path, process: Option<u32>) -> CliError {
    let data = data.display();
    let holder = process.map_or("another process".to_owned(), |id| format!("process {id}"));
    CliError::failed(format!(
        "the data folder {data} is in use by {holder}, whose API does not answer"
    ))
    .hint("try again once it has started or finished, or stop it")
}

fn unreachable_socket(data: &Path, error: &io::Error) -> CliError {
    let path = data.join(socket::SOCKET_FILE);
    let failed = CliError::failed(format!("cannot reach the node at {}: {error}", path.display()));
    match error.kind() {
        io::ErrorKind::PermissionDenied => {
            failed.hint("run the command as the user who owns the data folder")
        }
        _ => failed,
    }
}

fn broken(error: &dyn std::error::Error) -> CliError {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text = error.to_string();
        source = error.source();
    }
    CliError::failed(format!("the connection to the node broke: {text}")).hint(
        "`branchline status` shows whether it is running; what you asked for may have been done",
    )
}

fn unsendable(error: &axum::http::Error) -> CliError {
    CliError::failed(format!("the request cannot be sent: {error}"))
}

fn unreadable(error: &serde_json::Error) -> CliError {
    CliError::failed(format!("the node's answer is not what was expected: {error}"))
        .hint("node and command line may be of different versions: `branchline --version`")
}

/// The path of a collection's resource; `before` and `behind` surround the name.
pub(crate) fn collection_path(
    before: &str,
    collection: &str,
    behind: &str,
) -> Result<String, CliError> {
    check_collection(collection).map_err(|error| CliError::failed(error.to_string()))?;
    Ok(format!("/v1/{before}/{collection}{behind}"))
}

/// The path of a record.
pub(crate) fn record_path(collection: &str, id: &str) -> Result<String, CliError> {
    check_record_id(id).map_err(|error| CliError::failed(error.to_string()))?;
    collection_path("records", collection, &format!("/{}", encoded(id)))
}

/// Percent-encodes everything that has a meaning in a path or query.
pub(crate) fn encoded(text: &str) -> String {
    let byte = |byte: u8| match byte {
        b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
            char::from(byte).to_string()
        }
        _ => format!("%{byte:02X}"),
    };
    text.bytes().map(byte).collect()
}

/// A query from those parameters that are given.
pub(crate) fn query(parameters: &[(&str, Option<&str>)]) -> String {
    let given = parameters.iter().filter_map(|(name, value)| Some((name, (*value)?)));
    let given: Vec<_> = given.map(|(name, value)| format!("{name}={}", encoded(value))).collect();
    if given.is_empty() { String::new() } else { format!("?{}", given.join("&")) }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn any_record_id_fits_into_a_path() {
        for (id, path) in [
            ("a-1", "/v1/records/c/a-1"),
            ("a/b?c#d e", "/v1/records/c/a%2Fb%3Fc%23d%20e"),
            ("..", "/v1/records/c/.."),
            ("é+", "/v1/records/c/%C3%A9%2B"),
        ] {
            let found = record_path("c", id).unwrap();
            assert_eq!(found, path);
            assert_eq!(found.parse::<Uri>().unwrap().path(), path);
        }
        assert!(record_path("c", "").is_err());
        assert!(record_path("C", "1").is_err());
    }

    #[test]
    fn a_query_has_what_is_given() {
        assert_eq!(query(&[("a", None)]), "");
        assert_eq!(query(&[("a", None), ("b", Some("x&y")), ("c", Some("1"))]), "?b=x%26y&c=1");
    }
}
