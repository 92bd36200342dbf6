//! HTTP as it lies on the wire, for clients that no library would be.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

use serde_json::Value;

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// A connection on which anything can be written.
pub struct Wire {
    stream: TcpStream,
    /// What arrived behind the last answer.
    rest: Vec<u8>,
}

/// An answer.
#[derive(Debug)]
pub struct Reply {
    /// The status.
    pub status: u16,
    /// The lines of the head behind the first, in lower case.
    pub head: String,
    /// The body.
    pub body: Vec<u8>,
}

impl Reply {
    /// The error code of the body, if it is an error in the API's shape.
    #[must_use]
    pub fn code(&self) -> Option<String> {
        let body: Value = serde_json::from_slice(&self.body).ok()?;
        body["error"]["message"].as_str()?;
        Some(body["error"]["code"].as_str()?.to_owned())
    }
}

impl Wire {
    /// Connects.
    #[must_use]
    pub fn to(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).expect("the node listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("a socket");
        stream.set_write_timeout(Some(PATIENCE)).expect("a socket");
        Self { stream, rest: Vec::new() }
    }

    /// Writes as much as the other side takes. Whether that was all.
    pub fn send(&mut self, bytes: &[u8]) -> bool {
        self.stream.write_all(bytes).is_ok()
    }

    /// Says that nothing more comes.
    pub fn end(&self) {
        // The other side may have closed before.
        let _ = self.stream.shutdown(Shutdown::Write);
    }

    /// The next answer; `None` where the connection is closed without one. Panics where nothing happens for a minute.
    pub fn reply(&mut self) -> Option<Reply> {
        let end = self.fill(|bytes| find(bytes, b"\r\n\r\n"))?;
        let head = String::from_utf8_lossy(&self.rest[..end]).to_ascii_lowercase();
        let (first, head) = head.split_once("\r\n").unwrap_or((&head, ""));
        let status = first.split(' ').nth(1)?.parse().ok()?;
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
        let length: usize = length.map_or(0, |length| length.parse().expect("a number"));
        let head = head.to_owned();
        self.rest.drain(..end + 4);
        self.fill(|bytes| (bytes.len() >= length).then_some(length))?;
        let body = self.rest.drain(..length).collect();
        Some(Reply { status, head, body })
    }

    /// Whether the other side has closed the connection, or does so within a minute.
    pub fn is_closed(&mut self) -> bool {
        self.fill(|_| None::<usize>).is_none()
    }

    /// Reads on until `found` finds something; `None` at the end.
    fn fill<T>(&mut self, found: impl Fn(&[u8]) -> Option<T>) -> Option<T> {
        let mut block = [0; 16 * 1024];
        loop {
            if let Some(found) = found(&self.rest) {
                return Some(found);
            }
            match self.stream.read(&mut block) {
                Ok(0) => return None,
                Ok(read) => self.rest.extend_from_slice(&block[..read]),
                Err(error) if error.kind() == ErrorKind::ConnectionReset => return None,
                Err(error) => panic!("neither an answer nor an end: {error}"),
            }
        }
    }
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|window| window == what)
}
