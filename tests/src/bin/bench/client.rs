//! A lean HTTP client on one kept connection: it shares the machine's cores with the nodes it measures.

use std::io;
use std::net::SocketAddr;

use branchline_tests::Office;
use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::{Method, Request, StatusCode, header};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpStream;

use crate::records::{self, COLLECTION};

/// Lines of one import request.
pub(crate) const BATCH: usize = 1_000;

/// A connection to a node's API, kept while it is used: the node closes it after ten seconds without. A failed request ends the program: nothing is measured by it.
pub(crate) struct Client {
    requests: SendRequest<Full<Bytes>>,
    address: SocketAddr,
    authorization: String,
}

impl Client {
    /// Connects to a running node.
    pub(crate) async fn connect(office: &Office) -> Self {
        Self::try_connect(office).await.expect("the API answers")
    }

    /// Connects to a node that may not be ready yet.
    pub(crate) async fn try_connect(office: &Office) -> Option<Self> {
        let run = std::fs::read(office.data.join("run.json")).ok()?;
        let run: Value = serde_json::from_slice(&run).ok()?;
        if run["pid"] != office.pid() || !run["api"].is_string() {
            return None;
        }
        let (address, token) = office.api();
        let requests = connect(address).await.ok()?;
        Some(Self { requests, address, authorization: format!("Bearer {token}") })
    }

    /// The body of the answer to a request that must succeed.
    pub(crate) async fn ask(&mut self, method: Method, path: &str, body: Vec<u8>) -> Bytes {
        self.ask_for("*/*", method, path, body).await
    }

    /// The same, for an answer of a content type.
    pub(crate) async fn ask_for(
        &mut self,
        accept: &str,
        method: Method,
        path: &str,
        body: Vec<u8>,
    ) -> Bytes {
        self.exchange(accept, method, path, ("application/json", body)).await
    }

    /// The answer to a POST of a body of a content type.
    pub(crate) async fn send(&mut self, content_type: &str, path: &str, body: Vec<u8>) -> Bytes {
        self.exchange("*/*", Method::POST, path, (content_type, body)).await
    }

    async fn exchange(
        &mut self,
        accept: &str,
        method: Method,
        path: &str,
        (content_type, body): (&str, Vec<u8>),
    ) -> Bytes {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::ACCEPT, accept)
            .header(header::HOST, self.address.to_string())
            .header(header::AUTHORIZATION, &self.authorization)
            .header(header::CONTENT_TYPE, content_type)
            .body(Full::new(Bytes::from(body)))
            .expect("a request");
        if self.requests.ready().await.is_err() {
            self.requests = connect(self.address).await.expect("the API answers");
        }
        let answer = self.requests.send_request(request).await.expect("an answer");
        let status = answer.status();
        let body = answer.into_body().collect().await.expect("a whole answer").to_bytes();
        assert!(
            matches!(status, StatusCode::OK | StatusCode::CREATED),
            "{path}: {status}: {}",
            String::from_utf8_lossy(&body)
        );
        body
    }

    /// An answer in JSON.
    pub(crate) async fn get(&mut self, path: &str) -> Value {
        let body = self.ask(Method::GET, path, Vec::new()).await;
        serde_json::from_slice(&body).expect("JSON")
    }

    /// Records held.
    pub(crate) async fn count(&mut self) -> usize {
        let answer = self.get(&format!("/v1/collections/{COLLECTION}/count")).await;
        answer["count"].as_u64().expect("a count") as usize
    }

    /// The digest of all records.
    pub(crate) async fn digest(&mut self) -> Value {
        self.get("/v1/digest").await["digest"].take()
    }

    /// Writes one record.
    pub(crate) async fn put(&mut self, number: usize) {
        let path = format!("/v1/records/{COLLECTION}/{}", records::id(number));
        self.ask(Method::PUT, &path, records::body(number)).await;
    }

    /// Imports JSON lines, all of which must be taken.
    pub(crate) async fn import(&mut self, lines: Vec<u8>) {
        let answer = self.ask(Method::POST, &format!("/v1/import/{COLLECTION}"), lines).await;
        let answer: Value = serde_json::from_slice(&answer).expect("JSON");
        assert_eq!(answer["rejected"], Value::Array(Vec::new()));
    }

    /// Imports the records `0..count`.
    pub(crate) async fn load(&mut self, count: usize) {
        for batch in records::batches(count, BATCH) {
            self.import(records::lines(batch)).await;
        }
    }
}

async fn connect(address: SocketAddr) -> io::Result<SendRequest<Full<Bytes>>> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let (requests, connection) = handshake(TokioIo::new(stream)).await.map_err(io::Error::other)?;
    tokio::spawn(connection);
    Ok(requests)
}
