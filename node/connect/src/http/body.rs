//! Bodies of answers: inflated while they come, and no longer than allowed.

use std::io::{self, Write};

use flate2::write::{MultiGzDecoder, ZlibDecoder};
use reqwest::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderMap};

/// Why a body cannot be taken.
#[derive(Debug, thiserror::Error)]
pub(super) enum BadBody {
    #[error("its body is longer than {max} bytes (inflated); body_max allows more")]
    Long { max: u64 },
    #[error("its body is packed as {found:?}: expected gzip, deflate or nothing")]
    Packed { found: String },
    #[error("its packed body is damaged: {0}")]
    Damaged(io::Error),
    #[error("its body is not text in {charset}")]
    Text { charset: &'static str },
    #[error("its body is in the character set {found:?}, which is not known")]
    Charset { found: String },
}

/// Takes as many bytes as it may.
struct Bounded {
    bytes: Vec<u8>,
    max: usize,
    is_over: bool,
}

impl Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if bytes.len() > self.max - self.bytes.len() {
            self.is_over = true;
            return Err(io::Error::other("longer than allowed"));
        }
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

enum Inflater {
    Plain(Bounded),
    Gzip(MultiGzDecoder<Bounded>),
    Zlib(ZlibDecoder<Bounded>),
}

/// A body that comes.
pub(super) struct Body {
    inflater: Inflater,
    max: u64,
    /// Bytes as they came.
    received: u64,
}

impl Body {
    /// A body with these headers, of at most `max` bytes once it is inflated.
    pub(super) fn new(headers: &HeaderMap, max: u64) -> Result<Self, BadBody> {
        let bound = usize::try_from(max).unwrap_or(usize::MAX);
        let sink = Bounded { bytes: Vec::new(), max: bound, is_over: false };
        let packed = headers.get(CONTENT_ENCODING).map(|value| value.to_str().unwrap_or("?"));
        let inflater = match packed.map(str::trim).map(str::to_ascii_lowercase).as_deref() {
            None | Some("" | "identity") => Inflater::Plain(sink),
            Some("gzip" | "x-gzip") => Inflater::Gzip(MultiGzDecoder::new(sink)),
            Some("deflate") => Inflater::Zlib(ZlibDecoder::new(sink)),
            Some(found) => return Err(BadBody::Packed { found: found.to_owned() }),
        };
        Ok(Self { inflater, max, received: 0 })
    }

    /// Takes the next bytes. A few that inflate to more than is allowed are not inflated any further.
    pub(super) fn take(&mut self, bytes: &[u8]) -> Result<(), BadBody> {
        self.received += u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        let written = match &mut self.inflater {
            Inflater::Plain(sink) => sink.write_all(bytes),
            Inflater::Gzip(decoder) => decoder.write_all(bytes),
            Inflater::Zlib(decoder) => decoder.write_all(bytes),
        };
        written.map_err(|error| self.failed(error))
    }

    /// The whole body.
    pub(super) fn end(mut self) -> Result<Vec<u8>, BadBody> {
        if self.received == 0 {
            return Ok(Vec::new());
        }
        let ended = match &mut self.inflater {
            Inflater::Plain(_) => Ok(()),
            Inflater::Gzip(decoder) => decoder.try_finish(),
            Inflater::Zlib(decoder) => decoder.try_finish(),
        };
        ended.map_err(|error| self.failed(error))?;
        Ok(self.into_taken())
    }

    /// What has been taken so far.
    pub(super) fn into_taken(mut self) -> Vec<u8> {
        std::mem::take(&mut self.sink_mut().bytes)
    }

    fn sink_mut(&mut self) -> &mut Bounded {
        match &mut self.inflater {
            Inflater::Plain(sink) => sink,
            Inflater::Gzip(decoder) => decoder.get_mut(),
            Inflater::Zlib(decoder) => decoder.get_mut(),
        }
    }

    fn failed(&mut self, error: io::Error) -> BadBody {
        if self.sink_mut().is_over {
            BadBody::Long { max: self.max }
        } else {
            BadBody::Damaged(error)
        }
    }
}

/// The text of a body, in the character set that its headers name: UTF-8 unless they say otherwise.
pub(super) fn text(headers: &HeaderMap, bytes: Vec<u8>) -> Result<String, BadBody> {
    let charset = headers.get(CONTENT_TYPE).and_then(|value| charset(value.to_str().ok()?));
    let encoding = match charset {
        None => encoding_rs::UTF_8,
        Some(label) => encoding_rs::Encoding::for_label(label.as_bytes())
            .ok_or_else(|| BadBody::Charset { found: label.to_owned() })?,
    };
    // A mark of the byte order stands above the header.
    let (text, encoding, is_bad) = encoding.decode(&bytes);
    if is_bad { Err(BadBody::Text { charset: encoding.name() }) } else { Ok(text.into_owned()) }
}

fn charset(content_type: &str) -> Option<&str> {
    content_type.split(';').skip(1).find_map(|parameter| {
        let (name, value) = parameter.split_once('=')?;
        let value = value.trim().trim_matches('"');
        (name.trim().eq_ignore_ascii_case("charset") && !value.is_empty()).then_some(value)
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use flate2::Compression;
    use flate2::write::GzEncoder;
    use reqwest::header::HeaderValue;

    use super::*;

    fn packed(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn headers(encoding: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(CONTENT_ENCODING, HeaderValue::from_static(encoding))])
    }

    fn inflated(encoding: &'static str, max: u64, bytes: &[u8]) -> Result<Vec<u8>, BadBody> {
        let mut body = Body::new(&headers(encoding), max)?;
        for part in bytes.chunks(3) {
            body.take(part)?;
        }
        body.end()
    }

    #[test]
    fn a_packed_body_is_inflated_up_to_its_bound_and_no_further() {
        let bytes = b"a text that repeats, a text that repeats";
        assert_eq!(inflated("gzip", 40, &packed(bytes)).unwrap(), bytes);
        assert!(matches!(inflated("gzip", 39, &packed(bytes)), Err(BadBody::Long { max: 39 })));
        // Ten megabytes in ten kilobytes.
        let bomb = packed(&vec![0; 10 << 20]);
        assert!(bomb.len() < 20_000);
        assert!(matches!(inflated("gzip", 1 << 20, &bomb), Err(BadBody::Long { .. })));
        assert_eq!(inflated("gzip", 10, b"").unwrap(), b"");
    }

    #[test]
    fn a_body_that_is_cut_damaged_or_packed_otherwise_is_refused() {
        let whole = packed(b"some text");
        let cut = &whole[..whole.len() - 3];
        assert!(matches!(inflated("gzip", 100, cut), Err(BadBody::Damaged(_))));
        assert!(matches!(inflated("gzip", 100, b"plain text"), Err(BadBody::Damaged(_))));
        let error = inflated("br", 100, b"x").unwrap_err();
        assert!(error.to_string().contains("\"br\""), "{error}");
    }

    #[test]
    fn text_is_read_in_the_character_set_that_is_named() {
        let of = |kind: &'static str, bytes: &[u8]| {
            let headers = HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static(kind))]);
            text(&headers, bytes.to_vec())
        };
        assert_eq!(of("application/json", "é".as_bytes()).unwrap(), "é");
        assert_eq!(of("application/json; charset=\"ISO-8859-1\"", b"\xe9").unwrap(), "é");
        assert_eq!(of("application/json", b"\xef\xbb\xbf{}").unwrap(), "{}");
        assert!(matches!(of("application/json", b"\xe9"), Err(BadBody::Text { .. })));
        assert!(matches!(of("a/b; charset=klingon", b"x"), Err(BadBody::Charset { .. })));
    }
}
