//! How the bytes of an input are text.

use std::io::{self, Read};

use super::Input;

/// Bytes by which UTF-16 without a mark is recognised.
const SAMPLE_BYTES: usize = 4096;

/// An encoding of text, with which lines can be distinguished in its bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Encoding(&'static encoding_rs::Encoding);

impl Encoding {
    pub(crate) const UTF_8: Self = Self(encoding_rs::UTF_8);
    const UTF_16LE: Self = Self(encoding_rs::UTF_16LE);
    const UTF_16BE: Self = Self(encoding_rs::UTF_16BE);
    const WINDOWS_1252: Self = Self(encoding_rs::WINDOWS_1252);

    /// Reads the name of an encoding, such as `utf-8`, `latin1` or `windows-1250`.
    pub(crate) fn parse(name: &str) -> Result<Self, String> {
        let found = encoding_rs::Encoding::for_label(name.as_bytes());
        // The bytes of these do not say where a line ends, or are no text.
        let unusable =
            [encoding_rs::ISO_2022_JP, encoding_rs::REPLACEMENT, encoding_rs::X_USER_DEFINED];
        let found = found.filter(|found| !unusable.contains(found));
        found.map(Self).ok_or_else(|| {
            "no encoding that is known; utf-8, utf-16le, utf-16be, latin1, windows-1252, windows-1250, \
             iso-8859-15 and shift_jis are some"
                .to_owned()
        })
    }

    /// Returns its name for people.
    pub(crate) fn name(self) -> String {
        self.0.name().replace("windows", "Windows")
    }

    /// Decodes the bytes of whole characters; `false` where some of them are none.
    pub(crate) fn decode(self, bytes: &[u8]) -> (String, bool) {
        let (text, is_wrong) = self.0.decode_without_bom_handling(bytes);
        (text.into_owned(), !is_wrong)
    }

    /// Decodes text piece by piece.
    pub(crate) fn decoder(self) -> encoding_rs::Decoder {
        self.0.new_decoder_with_bom_removal()
    }

    /// Returns what a line feed and a carriage return are in it.
    pub(crate) fn width(self) -> Width {
        if self == Self::UTF_16LE {
            Width::TwoLittleEndian
        } else if self == Self::UTF_16BE {
            Width::TwoBigEndian
        } else {
            Width::One
        }
    }
}

/// The bytes of an ASCII character.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Width {
    One,
    TwoLittleEndian,
    TwoBigEndian,
}

/// What the bytes of a whole input say of themselves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Recognised {
    pub(crate) encoding: Encoding,
    /// Whether lines end with a carriage return alone.
    pub(crate) cr_only: bool,
}

impl Recognised {
    /// Returns how a line ends.
    pub(crate) fn line_end(self) -> &'static [u8] {
        match (self.encoding.width(), self.cr_only) {
            (Width::One, false) => b"\n",
            (Width::One, true) => b"\r",
            (Width::TwoLittleEndian, false) => b"\n\0",
            (Width::TwoLittleEndian, true) => b"\r\0",
            (Width::TwoBigEndian, false) => b"\0\n",
            (Width::TwoBigEndian, true) => b"\0\r",
        }
    }
}

/// Reads a whole input for its encoding, or for its line ends alone where the encoding is given.
///
/// A mark at the beginning decides. Without one, zeros in every second byte are UTF-16; bytes that are no UTF-8 are
/// Windows-1252 (which Latin-1 is read as), unless other bytes are UTF-8 beyond ASCII: then it is damaged UTF-8.
pub(crate) fn recognise(input: &Input, asked: Option<Encoding>) -> io::Result<Recognised> {
    let mut reader = input.reader();
    let mut sample = vec![0; SAMPLE_BYTES];
    let mut filled = 0;
    while filled < sample.len() {
        match reader.read(&mut sample[filled..])? {
            0 => break,
            read => filled += read,
        }
    }
    sample.truncate(filled);
    let of_sample = asked_for(asked, &sample).or_else(|| utf_16(&sample));
    let mut counts = Counts::default();
    counts.add(&sample);
    let mut buffer = vec![0; 64 * 1024];
    loop {
        match reader.read(&mut buffer)? {
            0 => break,
            read => counts.add(&buffer[..read]),
        }
    }
    let counts = counts.finish();
    let encoding = of_sample.unwrap_or(
        if counts.wrong > 0 && counts.beyond_ascii == 0 && !counts.is_beyond_1252 {
            Encoding::WINDOWS_1252
        } else {
            Encoding::UTF_8
        },
    );
    Ok(Recognised { encoding, cr_only: counts.returns > 0 && counts.feeds == 0 })
}

/// What is asked for goes before a mark, which alone tells the one kind of UTF-16 from the other.
fn asked_for(asked: Option<Encoding>, sample: &[u8]) -> Option<Encoding> {
    let marked = encoding_rs::Encoding::for_bom(sample).map(|(encoding, _)| Encoding(encoding));
    if asked == Some(Encoding::UTF_16LE) && marked == Some(Encoding::UTF_16BE) {
        return marked;
    }
    asked.or(marked)
}

/// Text that is mostly ASCII has a zero in every second byte.
fn utf_16(sample: &[u8]) -> Option<Encoding> {
    let pairs = sample.len() / 2;
    let zeros =
        |offset: usize| sample.iter().skip(offset).step_by(2).filter(|byte| **byte == 0).count();
    let (even, odd) = (zeros(0), zeros(1));
    let (many, few) = (pairs.div_ceil(2), pairs / 16);
    if pairs == 0 {
        None
    } else if odd >= many && even <= few {
        Some(Encoding::UTF_16LE)
    } else if even >= many && odd <= few {
        Some(Encoding::UTF_16BE)
    } else {
        None
    }
}

/// What there is in the bytes so far.
#[derive(Default)]
struct Counts {
    /// Characters of UTF-8 beyond ASCII.
    beyond_ascii: u64,
    /// Places that are no UTF-8.
    wrong: u64,
    /// Whether there are bytes that Windows-1252 has no character for.
    is_beyond_1252: bool,
    feeds: u64,
    returns: u64,
    /// The beginning of a character.
    begun: Vec<u8>,
}

impl Counts {
    fn add(&mut self, bytes: &[u8]) {
        let mut text = std::mem::take(&mut self.begun);
        text.extend_from_slice(bytes);
        for byte in bytes {
            match byte {
                b'\n' => self.feeds += 1,
                b'\r' => self.returns += 1,
                0x81 | 0x8d | 0x8f | 0x90 | 0x9d => self.is_beyond_1252 = true,
                _ => {}
            }
        }
        for chunk in text.utf8_chunks() {
            let (valid, invalid) = (chunk.valid(), chunk.invalid());
            if !valid.is_ascii() {
                self.beyond_ascii += valid.chars().filter(|c| !c.is_ascii()).count() as u64;
            }
            let is_begun =
                std::str::from_utf8(invalid).is_err_and(|error| error.error_len().is_none());
            let is_last = invalid.as_ptr_range().end == text.as_ptr_range().end;
            if is_begun && is_last {
                self.begun = invalid.to_vec();
            } else {
                self.wrong += u64::from(!invalid.is_empty());
            }
        }
    }

    fn finish(mut self) -> Self {
        self.wrong += u64::from(!self.begun.is_empty());
        self
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn of(bytes: &[u8]) -> (String, bool) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.csv");
        std::fs::write(&path, bytes).unwrap();
        let found = recognise(&Input::open(&path).unwrap(), None).unwrap();
        (found.encoding.name(), found.cr_only)
    }

    fn utf_16(text: &str, to_bytes: fn(u16) -> [u8; 2]) -> Vec<u8> {
        text.encode_utf16().flat_map(to_bytes).collect()
    }

    #[test]
    fn the_bytes_tell_the_encoding() {
        let text = "id,name\n1,Crème brûlée €\n";
        for (bytes, name) in [
            (text.as_bytes().to_vec(), "UTF-8"),
            (b"id\n1\n".to_vec(), "UTF-8"),
            (b"\xef\xbb\xbfid\n\xff\n".to_vec(), "UTF-8"),
            (b"id,name\n1,Cr\xe8me \x80\n".to_vec(), "Windows-1252"),
            (b"id,name\n1,Cr\xe8me".to_vec(), "Windows-1252"),
            (b"id,name\n1,Cr\xe8".to_vec(), "Windows-1252"),
            // Damaged UTF-8: what is right of it says so.
            ([text.as_bytes(), b"2,\xe8\n"].concat(), "UTF-8"),
            // Windows-1252 has no such character either.
            (b"id\n\x8d\xff\n".to_vec(), "UTF-8"),
            (utf_16(text, u16::to_le_bytes), "UTF-16LE"),
            (utf_16(text, u16::to_be_bytes), "UTF-16BE"),
            (utf_16(&format!("\u{feff}{text}"), u16::to_le_bytes), "UTF-16LE"),
            (utf_16(&format!("\u{feff}{text}"), u16::to_be_bytes), "UTF-16BE"),
        ] {
            assert_eq!(of(&bytes).0, name, "{bytes:?}");
        }
    }

    #[test]
    fn a_character_may_lie_on_the_border_of_what_is_read_at_a_time() {
        for shift in 0..4 {
            let text = format!("{}{}\n", "x".repeat(shift), "é€😀".repeat(40_000));
            assert_eq!(of(text.as_bytes()).0, "UTF-8");
        }
    }

    #[test]
    fn carriage_returns_alone_end_lines_where_no_line_feed_does() {
        assert!(of(b"id\r1\r").1);
        assert!(!of(b"id\r\n1\r\n").1);
        assert!(!of(b"id\n1\r\n").1);
    }

    #[test]
    fn encodings_are_known_by_their_usual_names() {
        for (name, found) in [
            ("utf-8", "UTF-8"),
            ("UTF8", "UTF-8"),
            ("latin1", "Windows-1252"),
            ("ISO-8859-1", "Windows-1252"),
            ("cp1252", "Windows-1252"),
            ("windows-1250", "Windows-1250"),
            ("utf-16", "UTF-16LE"),
            ("shift_jis", "Shift_JIS"),
        ] {
            assert_eq!(Encoding::parse(name).map(Encoding::name), Ok(found.to_owned()));
        }
        assert!(Encoding::parse("utf-7").is_err());
        assert!(Encoding::parse("iso-2022-jp").is_err());
    }
}
