//! Answers that hold the room of their request until the client has taken them.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use axum::Error;
use axum::body::{Body, Bytes, HttpBody};
use axum::response::Response;
use hyper::body::{Frame, SizeHint};

use super::room::Room;

/// What is handed to the connection at a time. A smaller answer is handed over whole, and holds no room any more.
const PIECE_BYTES_MAX: usize = 64 * 1024;

/// A body, and the room that it holds.
struct HeldBody {
    body: Body,
    /// What the connection has not asked for yet.
    rest: Bytes,
    _room: Room,
}

/// Keeps the room of a large answer, or of one that is made while it is sent.
pub(crate) fn held_until_taken(response: Response, room: Room) -> Response {
    let is_small =
        response.body().size_hint().upper().is_some_and(|upper| upper <= PIECE_BYTES_MAX as u64);
    if is_small || !room.is_held() {
        return response;
    }
    response.map(|body| Body::new(HeldBody { body, rest: Bytes::new(), _room: room }))
}

impl HttpBody for HeldBody {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        if self.rest.is_empty() {
            match ready!(Pin::new(&mut self.body).poll_frame(context)) {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => self.rest = data,
                    Err(frame) => return Poll::Ready(Some(Ok(frame))),
                },
                end => return Poll::Ready(end),
            }
        }
        let piece = self.rest.len().min(PIECE_BYTES_MAX);
        Poll::Ready(Some(Ok(Frame::data(self.rest.split_to(piece)))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let (of_body, rest) = (self.body.size_hint(), self.rest.len() as u64);
        let mut hint = SizeHint::new();
        hint.set_lower(of_body.lower() + rest);
        if let Some(upper) = of_body.upper() {
            hint.set_upper(upper + rest);
        }
        hint
    }
}
