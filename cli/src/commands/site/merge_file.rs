//! The file that `merge` is given: what it is, before any of it is sent.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use axum::body::{Body, Bytes};
use branchline_crdt::bundle;
use branchline_node::backup;
use futures::stream;

use crate::error::CliError;
use crate::output;

/// Bytes of a file that are read at a time.
const READ_BYTES: usize = 64 * 1024;
/// Bytes that say what a file is.
const START_BYTES: usize = 64;
/// Characters of a text, and bytes of what is none, that are shown of what is no bundle.
const SHOWN_CHARS: usize = 24;
const SHOWN_BYTES: usize = 8;
/// What files of other kinds begin with.
const KINDS: [(&[u8], &str); 5] = [
    (&[0x1f, 0x8b], "compressed by gzip"),
    (&[0x28, 0xb5, 0x2f, 0xfd], "compressed by zstd"),
    (&[0xfd, b'7', b'z', b'X', b'Z'], "compressed by xz"),
    (b"PK\x03\x04", "a ZIP archive"),
    (b"7z\xbc\xaf\x27\x1c", "a 7-Zip archive"),
];

/// A bundle as a body that is read while it is sent.
pub(super) fn body(path: &Path) -> Result<Body, CliError> {
    let failed = |error: io::Error| CliError::file("read", path, &error);
    let mut file = File::open(path).map_err(failed)?;
    let mut start = Vec::new();
    file.by_ref().take(START_BYTES as u64).read_to_end(&mut start).map_err(failed)?;
    recognise(path, &start)?;
    let pieces = stream::try_unfold((start, file), |(start, mut file)| async move {
        if !start.is_empty() {
            return Ok(Some((Bytes::from(start), (Vec::new(), file))));
        }
        let mut piece = vec![0; READ_BYTES];
        let count = file.read(&mut piece)?;
        piece.truncate(count);
        Ok::<_, io::Error>((count > 0).then_some((Bytes::from(piece), (Vec::new(), file))))
    });
    Ok(Body::from_stream(pieces))
}

/// Refuses what does not begin as a bundle, and says what it is.
fn recognise(path: &Path, start: &[u8]) -> Result<(), CliError> {
    let mark = bundle::FILE.mark;
    let seen = start.len().min(mark.len());
    if seen > 0 && start[..seen] == mark[..seen] {
        return Ok(());
    }
    let is = |what: String, hint: &str| {
        let message = format!("{} is not a bundle: it is {what}", path.display());
        Err(CliError::failed(message).hint(hint))
    };
    let make = "`branchline bundle FILE` at the other site makes a bundle";
    if start.is_empty() {
        return is("empty".to_owned(), "copy it again, or make it again: `branchline bundle FILE`");
    }
    if start.starts_with(backup::FILE.mark) {
        let hint = "a backup makes a whole site: `branchline --data DIR backup restore FILE`";
        return is("a backup".to_owned(), hint);
    }
    if let Some((_, kind)) = KINDS.iter().find(|(begin, _)| start.starts_with(begin)) {
        return is((*kind).to_owned(), "unpack it first, and merge what is in it");
    }
    let text = whole_characters(start);
    if let Some(text) =
        text.filter(|text| !text.contains(|c: char| c.is_control() && !c.is_whitespace()))
    {
        let shown: String = text.chars().take(SHOWN_CHARS).collect();
        return is(format!("text that begins with \"{}\"", output::visible(&shown)), make);
    }
    let shown: Vec<_> = start.iter().take(SHOWN_BYTES).map(|byte| format!("{byte:02x}")).collect();
    is(format!("data that begins with the bytes {}", shown.join(" ")), make)
}

/// Text whose last character may be cut off.
fn whole_characters(bytes: &[u8]) -> Option<&str> {
    match std::str::from_utf8(bytes) {
        Ok(text) => Some(text),
        Err(error) if error.error_len().is_none() => {
            bytes.get(..error.valid_up_to()).and_then(|whole| std::str::from_utf8(whole).ok())
        }
        Err(_) => None,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_no_bundle_is_told_what_it_is() {
        let backup = [&backup::FILE.mark[..], &[1, 0, 0, 0]].concat();
        for (start, expected) in [
            (&b""[..], "it is empty"),
            (b"hello\nworld", r#"it is text that begins with "hello\u000aworld""#),
            ("naïve: é".as_bytes(), "text that begins with"),
            (&[0x9c, 0xff, 0x00, 0x13], "the bytes 9c ff 00 13"),
            (&[0x1f, 0x8b, 8, 0], "compressed by gzip"),
            (b"PK\x03\x04rest", "a ZIP archive"),
            (&backup, "it is a backup"),
        ] {
            let message = recognise(Path::new("f"), start).unwrap_err().message();
            assert!(
                message.starts_with("f is not a bundle: ") && message.contains(expected),
                "{message}"
            );
        }
        recognise(Path::new("f"), bundle::FILE.mark).unwrap();
        recognise(Path::new("f"), b"branch").unwrap();
    }
}
