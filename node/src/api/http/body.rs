//! Bodies of requests, read whole: with a bound on bytes and time, from the room that there is for all of them.

use std::io::{self, Write};
use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody};
use axum::extract::Request;
use axum::http::{HeaderMap, header};
use flate2::write::MultiGzDecoder;
use futures::StreamExt as _;
use tokio::time::{Instant, timeout_at};

use super::room::{BODY_KIB_FREE, Room};
use crate::api::BODY_BYTES_MAX;
use crate::api::error::{ApiError, Code};

/// How long a body may take to arrive, from a program on the same machine;
const PATIENCE: Duration = Duration::from_secs(10);
/// and a second more for each so many bytes of it that have: on a busy machine a large one takes longer.
const BYTES_PER_SECOND: usize = 256 * 1024;
/// Bytes of a packed body that take no room: they can come to mean a thousand times as many.
const PACKED_BYTES_FREE: usize = 4 * 1024;
/// The one encoding that bodies may have.
const GZIP: [&str; 2] = ["gzip", "x-gzip"];

/// Reads the whole body of a request. The room that it takes is held until the request is answered.
pub(crate) async fn read(request: Request) -> Result<Bytes, ApiError> {
    let room = request.extensions().get::<Room>().cloned();
    let is_packed = is_gzip(request.headers())?;
    let hint = request.body().size_hint();
    let reported = usize::try_from(hint.lower()).unwrap_or(usize::MAX);
    if reported > BODY_BYTES_MAX {
        return Err(too_large());
    }
    let is_told = hint.exact().is_some() && !is_packed;
    if is_told && let Some(room) = &room {
        room.reserve(reported).await?;
    }
    // Any other may become as large as any, once there is more of it than a client that dawdles sends.
    let bytes_free = if is_packed { PACKED_BYTES_FREE } else { BODY_KIB_FREE * 1024 };
    let untold = room.as_ref().filter(|_| !is_told).map(|room| (room, bytes_free));
    // Memory that is never written to costs nothing.
    let read = Bounded(Vec::with_capacity(reported));
    let read = if is_packed {
        let unpacked = receive(request.into_body(), MultiGzDecoder::new(read), untold).await?;
        unpacked.finish().map_err(|error| not_taken(&error))?
    } else {
        receive(request.into_body(), read, untold).await?
    };
    if let Some(room) = &room {
        room.keep_only(read.0.len());
    }
    Ok(read.0.into())
}

/// Writes a body to `into`, piece by piece. `untold`: where to take room for all that it may become, and behind how many bytes.
async fn receive<W: Write>(
    body: Body,
    mut into: W,
    mut untold: Option<(&Room, usize)>,
) -> Result<W, ApiError> {
    let (mut began, mut received) = (Instant::now(), 0);
    let mut pieces = body.into_data_stream();
    loop {
        let earned = Duration::from_secs((received / BYTES_PER_SECOND) as u64);
        let patience = PATIENCE + earned;
        let Ok(piece) = timeout_at(began + patience, pieces.next()).await else {
            let seconds = patience.as_secs();
            let message = format!("of the body {received} bytes have arrived within {seconds} s");
            return Err(ApiError::new(Code::BodyUnreadable, message));
        };
        match piece {
            None => return Ok(into),
            Some(Ok(piece)) => {
                received += piece.len();
                if let Some((room, _)) = untold.take_if(|(_, bytes_free)| received > *bytes_free) {
                    let asked = Instant::now();
                    room.reserve(BODY_BYTES_MAX).await?;
                    began += asked.elapsed();
                }
                into.write_all(&piece).map_err(|error| not_taken(&error))?;
            }
            Some(Err(error)) => return Err(ApiError::of(Code::BodyUnreadable, &error)),
        }
    }
}

/// Returns whether a body is packed, by its headers.
///
/// # Errors
///
/// It is in a way that is not known here.
pub(crate) fn is_gzip(headers: &HeaderMap) -> Result<bool, ApiError> {
    let values = headers.get_all(header::CONTENT_ENCODING).iter();
    let texts: Vec<_> = values.map(|value| String::from_utf8_lossy(value.as_bytes())).collect();
    let names = texts.iter().flat_map(|text| text.split(',')).map(str::trim);
    let is_no_op = |name: &&str| name.is_empty() || name.eq_ignore_ascii_case("identity");
    let encodings: Vec<_> = names.filter(|name| !is_no_op(name)).collect();
    match encodings[..] {
        [] => Ok(false),
        [name] if GZIP.iter().any(|gzip| name.eq_ignore_ascii_case(gzip)) => Ok(true),
        _ => {
            let found = encodings.join(", ");
            let message =
                format!("the body's content encoding is {found:?}, expected gzip or none");
            Err(ApiError::new(Code::UnsupportedMediaType, message))
        }
    }
}

/// The bytes of a body, no more than there may be.
struct Bounded(Vec<u8>);

impl Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.0.len() + bytes.len() > BODY_BYTES_MAX {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn not_taken(error: &io::Error) -> ApiError {
    if error.kind() == io::ErrorKind::FileTooLarge {
        return too_large();
    }
    let message = format!("the body is not the gzip that its content encoding says: {error}");
    ApiError::new(Code::BodyUnreadable, message)
}

fn too_large() -> ApiError {
    ApiError::new(Code::BodyTooLarge, format!("the body has more than {BODY_BYTES_MAX} bytes"))
        .hint("send it in pieces; an unpacked body counts as it is then")
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use flate2::Compression;
    use flate2::write::GzEncoder;

    use super::*;

    fn packed(bytes: &[u8]) -> Vec<u8> {
        let mut packer = GzEncoder::new(Vec::new(), Compression::fast());
        packer.write_all(bytes).unwrap();
        packer.finish().unwrap()
    }

    async fn read_gzip(bytes: Vec<u8>) -> Result<Bytes, Code> {
        let request = Request::builder().header("content-encoding", "GZIP").body(bytes.into());
        read(request.unwrap()).await.map_err(|error| error.code)
    }

    #[tokio::test]
    async fn gzip_is_unpacked_to_the_bound_and_no_further() {
        assert_eq!(read_gzip(packed(b"{}")).await.unwrap(), "{}");
        let two = [packed(b"{"), packed(b"}")].concat();
        assert_eq!(read_gzip(two).await.unwrap(), "{}");
        let largest = packed(&vec![b' '; BODY_BYTES_MAX]);
        assert_eq!(read_gzip(largest).await.unwrap().len(), BODY_BYTES_MAX);
        let bomb = packed(&vec![b' '; BODY_BYTES_MAX + 1]);
        assert!(bomb.len() < BODY_BYTES_MAX / 50);
        assert_eq!(read_gzip(bomb).await, Err(Code::BodyTooLarge));
    }

    #[tokio::test]
    async fn what_is_no_gzip_or_only_some_of_it_is_refused() {
        let whole = packed(b"{\"name\": \"tea\"}");
        let mut flipped = whole.clone();
        let crc = flipped.len() - 8;
        flipped[crc] ^= 1;
        for bytes in [Vec::new(), b"{}".to_vec(), whole[..whole.len() - 1].to_vec(), flipped] {
            assert_eq!(read_gzip(bytes).await, Err(Code::BodyUnreadable));
        }
    }

    #[test]
    fn encodings_are_read_as_the_headers_say_them() {
        let of = |values: &[&'static str]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(header::CONTENT_ENCODING, value.parse().unwrap());
            }
            is_gzip(&headers).map_err(|error| error.code)
        };
        for plain in [&[][..], &["identity"], &["", "Identity"]] {
            assert_eq!(of(plain), Ok(false), "{plain:?}");
        }
        for packed in [&["gzip"][..], &["x-gzip"], &["identity, GZip"]] {
            assert_eq!(of(packed), Ok(true), "{packed:?}");
        }
        for unknown in [&["br"][..], &["deflate"], &["gzip, gzip"], &["gzip", "br"], &["gzip;q=1"]]
        {
            assert_eq!(of(unknown), Err(Code::UnsupportedMediaType), "{unknown:?}");
        }
    }
}
