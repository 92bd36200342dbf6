//! A server that says exactly what a test wants it to.

use std::io::Write;
use std::sync::{Arc, Mutex};

use flate2::Compression;
use flate2::write::GzEncoder;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

/// What becomes of one request.
pub(super) enum Act {
    /// These bytes, and the connection is closed.
    Say(Vec<u8>),
    /// These bytes, and then nothing for as long as the other side waits.
    Hang(Vec<u8>),
    /// These bytes, and then more of them for as long as the other side takes them.
    Endless(Vec<u8>),
}

/// A request, as it came.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    pub(super) head: String,
    pub(super) body: String,
}

impl Asked {
    pub(super) fn path(&self) -> &str {
        self.head.split(' ').nth(1).unwrap()
    }

    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (found, value) = line.split_once(": ")?;
            found.eq_ignore_ascii_case(name).then_some(value)
        })
    }
}

pub(super) struct HttpTestServer {
    pub(super) url: String,
    asked: Arc<Mutex<Vec<Asked>>>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for HttpTestServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl HttpTestServer {
    pub(super) async fn start(act: impl Fn(&Asked) -> Act + Send + Sync + 'static) -> Self {
        Self::start_on("127.0.0.1:0", act).await
    }

    pub(super) async fn start_on(
        place: &str,
        act: impl Fn(&Asked) -> Act + Send + Sync + 'static,
    ) -> Self {
        Self::serve(place, None, act).await
    }

    /// A server over TLS.
    pub(super) async fn start_tls(
        acceptor: TlsAcceptor,
        act: impl Fn(&Asked) -> Act + Send + Sync + 'static,
    ) -> Self {
        Self::serve("127.0.0.1:0", Some(acceptor), act).await
    }

    async fn serve(
        place: &str,
        tls: Option<TlsAcceptor>,
        act: impl Fn(&Asked) -> Act + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind(place).await.unwrap();
        let scheme = if tls.is_some() { "https" } else { "http" };
        let url = format!("{scheme}://{}", listener.local_addr().unwrap());
        let asked: Arc<Mutex<Vec<Asked>>> = Arc::default();
        let (seen, act) = (Arc::clone(&asked), Arc::new(act));
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (seen, act, tls) = (Arc::clone(&seen), Arc::clone(&act), tls.clone());
                tokio::spawn(async move {
                    match tls {
                        None => one(stream, &seen, &*act).await,
                        Some(tls) => one(tls.accept(stream).await?, &seen, &*act).await,
                    }
                });
            }
        });
        Self { url, asked, task }
    }

    pub(super) fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }

    /// How many requests came for a path.
    pub(super) fn count(&self, path: &str) -> usize {
        self.asked().iter().filter(|asked| asked.path() == path).count()
    }
}

async fn one(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    seen: &Mutex<Vec<Asked>>,
    act: &(impl Fn(&Asked) -> Act + ?Sized),
) -> std::io::Result<()> {
    let mut bytes = Vec::new();
    let head_end = loop {
        if let Some(at) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            break at + 4;
        }
        if stream.read_buf(&mut bytes).await? == 0 {
            return Ok(());
        }
        // The beginning of TLS is no request.
        if bytes.first() == Some(&0x16) {
            return stream.write_all(&head("400 Bad Request", &[], Some(0))).await;
        }
    };
    let text = String::from_utf8_lossy(&bytes[..head_end]).into_owned();
    let mut asked = Asked { head: text, body: String::new() };
    let length = asked.header("content-length").map_or(0, |length| length.parse().unwrap());
    while bytes.len() < head_end + length {
        if stream.read_buf(&mut bytes).await? == 0 {
            return Ok(());
        }
    }
    asked.body = String::from_utf8_lossy(&bytes[head_end..]).into_owned();
    seen.lock().unwrap().push(asked.clone());
    match act(&asked) {
        Act::Say(bytes) => stream.write_all(&bytes).await?,
        Act::Hang(bytes) => {
            stream.write_all(&bytes).await?;
            // Until the other side goes.
            while stream.read_buf(&mut Vec::new()).await? > 0 {}
        }
        Act::Endless(bytes) => {
            stream.write_all(&bytes).await?;
            loop {
                stream.write_all(&[b' '; 4096]).await?;
            }
        }
    }
    stream.shutdown().await
}

/// A whole answer. `headers`: lines, without their ends.
pub(super) fn answer(status: &str, headers: &[&str], body: impl AsRef<[u8]>) -> Act {
    let body = body.as_ref();
    let mut bytes = head(status, headers, Some(body.len()));
    bytes.extend_from_slice(body);
    Act::Say(bytes)
}

/// A whole answer of JSON.
pub(super) fn json(body: &str) -> Act {
    answer("200 OK", &["Content-Type: application/json"], body)
}

/// The head of an answer.
pub(super) fn head(status: &str, headers: &[&str], length: Option<usize>) -> Vec<u8> {
    let mut head = format!("HTTP/1.1 {status}\r\nConnection: close\r\n");
    for header in headers {
        head.push_str(&format!("{header}\r\n"));
    }
    if let Some(length) = length {
        head.push_str(&format!("Content-Length: {length}\r\n"));
    }
    head.push_str("\r\n");
    head.into_bytes()
}

pub(super) fn packed(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}
