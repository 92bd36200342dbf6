//! Stands between programs and a node's API, and writes down what passes. For programs that send one request on each
//! connection, as curl does.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use crate::openapi::Exchange;

/// Where programs send their requests.
pub struct Recorder {
    address: SocketAddr,
    exchanges: Arc<Mutex<Vec<Exchange>>>,
}

impl Recorder {
    /// In front of the API at `target`.
    pub fn start(target: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let exchanges = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&exchanges);
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let kept = Arc::clone(&kept);
                thread::spawn(move || {
                    if let Some(exchange) = pass(client, target) {
                        kept.lock().unwrap_or_else(PoisonError::into_inner).push(exchange);
                    }
                });
            }
        });
        Self { address, exchanges }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What has passed on connections that have ended.
    pub fn exchanges(&self) -> Vec<Exchange> {
        self.exchanges.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Passes a request and its answer on. `None`: one of them did not come.
fn pass(client: TcpStream, target: SocketAddr) -> Option<Exchange> {
    let mut server = TcpStream::connect(target).ok()?;
    let mut request = BufReader::new(client.try_clone().ok()?);
    let head = head(&mut request)?;
    let mut words = head.first()?.split_whitespace();
    let (method, path) = (words.next()?.to_owned(), words.next()?.to_owned());
    for line in &head {
        // The node answers only to its own name.
        let line = match line.to_ascii_lowercase().starts_with("host:") {
            true => format!("Host: {target}"),
            false => line.clone(),
        };
        write!(server, "{line}\r\n").ok()?;
    }
    server.write_all(b"\r\n").ok()?;
    let mut to_server = server.try_clone().ok()?;
    thread::spawn(move || {
        // Once the client has what it wants, nobody waits for the server.
        let _ = std::io::copy(&mut request, &mut to_server);
        let _ = to_server.shutdown(Shutdown::Both);
    });
    let answer = pass_answer(&mut server, client);
    parse(method, path, &answer)
}

/// Passes the answer on until either side ends the connection.
fn pass_answer(server: &mut TcpStream, mut client: TcpStream) -> Vec<u8> {
    let mut answer = Vec::new();
    let mut piece = [0; 8192];
    // The client closes the connection once it has all that it wants.
    while let Ok(count @ 1..) = server.read(&mut piece) {
        answer.extend_from_slice(&piece[..count]);
        if client.write_all(&piece[..count]).is_err() {
            break;
        }
    }
    answer
}

fn head(from: &mut impl BufRead) -> Option<Vec<String>> {
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        from.read_line(&mut line).ok()?;
        match line.trim_end() {
            "" => return Some(lines),
            line => lines.push(line.to_owned()),
        }
    }
}

fn parse(method: String, path: String, answer: &[u8]) -> Option<Exchange> {
    let mut rest = answer;
    let head = head(&mut rest)?;
    let status = head.first()?.split_whitespace().nth(1)?.parse().ok()?;
    let header = |name: &str| {
        let mut values = head.iter().filter_map(|line| line.split_once(": "));
        values
            .find(|(found, _)| found.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.to_owned())
    };
    let is_chunked = header("transfer-encoding").is_some();
    let body = if is_chunked { unchunked(rest) } else { rest.to_vec() };
    Some(Exchange { method, path, status, content_type: header("content-type"), body })
}

/// The chunks that have come whole.
fn unchunked(mut rest: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    loop {
        let mut size = String::new();
        let read = rest.read_line(&mut size);
        let size = usize::from_str_radix(size.trim(), 16).unwrap_or(0);
        if read.is_err() || size == 0 || rest.len() < size + 2 {
            return body;
        }
        body.extend_from_slice(&rest[..size]);
        rest = &rest[size + 2..];
    }
}
