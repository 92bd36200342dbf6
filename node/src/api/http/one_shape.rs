//! Refusals that the HTTP library makes by itself, before there is a request that could be answered: it sends them without
//! a body. On their way out they get the one that all errors of this API have.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::api::error::{ApiError, Code, ErrorBody};

/// More than such a refusal has: status line, length, date and the end of the connection.
const REFUSAL_BYTES_MAX: usize = 256;

/// A connection on which every error has a body.
pub(crate) struct OneShape<S> {
    stream: S,
    /// What is still to be sent in place of a refusal.
    instead: Vec<u8>,
}

impl<S> OneShape<S> {
    pub(crate) fn new(stream: S) -> Self {
        Self { stream, instead: Vec::new() }
    }
}

/// Returns the refusal with a body, if these bytes are one without. No answer of the API begins so: its errors have bodies.
fn with_body(bytes: &[u8]) -> Option<Vec<u8>> {
    let head = bytes.strip_suffix(b"\r\n\r\n").filter(|head| head.len() <= REFUSAL_BYTES_MAX)?;
    let head = std::str::from_utf8(head).ok()?;
    let status = head.strip_prefix("HTTP/1.1 ")?.get(..3)?;
    let (code, message) = match status {
        "400" => (Code::BadRequest, "what arrived is not a sound HTTP/1.1 request"),
        "414" => (Code::UriTooLong, "the request's path and query are longer than 65,534 bytes"),
        "431" => (Code::HeadTooLarge, "the request's head has more than 96 KiB or 64 headers"),
        _ => return None,
    };
    let empty = "content-length: 0";
    head.lines().find(|line| *line == empty)?;
    let error = ApiError::new(code, message).detail();
    let body = serde_json::to_string(&ErrorBody { error }).ok()?;
    let length = format!("content-type: application/json\r\ncontent-length: {}", body.len());
    Some(format!("{}\r\n\r\n{body}", head.replacen(empty, &length, 1)).into_bytes())
}

impl<S: AsyncWrite + Unpin> AsyncWrite for OneShape<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.instead.is_empty() {
            match with_body(bytes) {
                None => return Pin::new(&mut self.stream).poll_write(context, bytes),
                Some(instead) => self.instead = instead,
            }
        }
        let Self { stream, instead } = &mut *self;
        while !instead.is_empty() {
            match ready!(Pin::new(&mut *stream).poll_write(context, instead))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                written => drop(instead.drain(..written)),
            }
        }
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let mut filled = pieces.iter().filter(|piece| !piece.is_empty());
        match (filled.next(), filled.next()) {
            (Some(only), None) => self.poll_write(context, only),
            _ => Pin::new(&mut self.stream).poll_write_vectored(context, pieces),
        }
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for OneShape<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}
