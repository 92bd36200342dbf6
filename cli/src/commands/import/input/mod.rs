//! The input of an import: a file that is read in place, or a private copy of what can be read only once.

pub(super) mod encoding;
pub(super) mod lines;

use std::fs::File;
use std::io::{self, BufRead, BufReader, IsTerminal, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{FileExt, FileTypeExt};
use std::path::{Path, PathBuf};

use encoding_rs::DecoderResult;
use flate2::read::MultiGzDecoder;

use crate::error::CliError;
use crate::output;
use encoding::Encoding;

/// Most bytes of a copy. It lies in the temporary folder, which others need as well, and may be made of zeros by a few
/// bytes of gzip. Files are read in place, whatever their length.
const COPY_BYTES_MAX: u64 = 4 * 1024 * 1024 * 1024;
const BUFFER_BYTES: usize = 256 * 1024;
const GZIP: &[u8] = &[0x1f, 0x8b];

/// The beginnings of files that hold no text, and what to do with them.
const NO_TEXT: [(&[u8], &str, &str); 8] = [
    (
        b"PK\x03\x04",
        "an Excel workbook (.xlsx) or another ZIP archive",
        "save the sheet as CSV, or unpack the archive, and import that",
    ),
    (
        b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1",
        "an old Excel workbook (.xls)",
        "save the sheet as CSV and import that",
    ),
    (b"%PDF-", "a PDF document", "export the table as CSV and import that"),
    (b"\x28\xb5\x2f\xfd", "packed by zstd", "`zstdcat FILE | branchline import COLLECTION -`"),
    (b"BZh", "packed by bzip2", "`bzcat FILE | branchline import COLLECTION -`"),
    (b"\xfd7zXZ\x00", "packed by xz", "`xzcat FILE | branchline import COLLECTION -`"),
    (b"SQLite format 3\x00", "an SQLite database", "export the table as CSV and import that"),
    (b"PAR1", "a Parquet file", "export it as CSV and import that"),
];

/// An input that can be read any number of times.
#[derive(Debug)]
pub(crate) struct Input {
    /// Its path, or `stdin`.
    pub(crate) name: String,
    /// Where it lies, and what it is called without the ending of a packed file. `None`: it came through a pipe.
    pub(crate) path: Option<PathBuf>,
    file: File,
    bytes: u64,
}

impl Input {
    /// Opens a file, a pipe, or stdin (`-`). What cannot be read twice, or is packed by gzip, is copied first.
    pub(crate) fn open(path: &Path) -> Result<Self, CliError> {
        let is_stdin = path == Path::new("-") || path == Path::new("/dev/stdin");
        let name = if is_stdin { "stdin".to_owned() } else { path.display().to_string() };
        let unreadable =
            |error: io::Error| CliError::failed(format!("cannot read {name}: {error}"));
        if is_stdin {
            if io::stdin().is_terminal() {
                output::note("reading from the terminal; Ctrl-D ends it");
            }
            let file = copy(&name, io::stdin().lock(), COPY_BYTES_MAX)?;
            return Self::of_text(name, None, file);
        }
        let meta = std::fs::metadata(path).map_err(unreadable)?;
        if meta.is_dir() {
            return Err(CliError::failed(format!("{name} is a folder, expected a file"))
                .hint("name one of the files in it"));
        }
        let kind = meta.file_type();
        if kind.is_socket() {
            return Err(CliError::failed(format!("{name} is a socket, expected a file or a pipe")));
        }
        let file = File::open(path).map_err(unreadable)?;
        if !kind.is_file() {
            return Self::of_text(name.clone(), None, copy(&name, file, COPY_BYTES_MAX)?);
        }
        let mut start = [0; GZIP.len()];
        let is_packed =
            file.read_at(&mut start, 0).map_err(unreadable)? == GZIP.len() && start == GZIP;
        let file = if is_packed { copy(&name, file, COPY_BYTES_MAX)? } else { file };
        let is_named_so =
            path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("gz"));
        let path = if is_named_so { path.with_extension("") } else { path.to_owned() };
        Self::of_text(name, Some(path), file)
    }

    fn of_text(name: String, path: Option<PathBuf>, file: File) -> Result<Self, CliError> {
        let bytes = file.metadata().map(|meta| meta.len()).unwrap_or_default();
        let input = Self { name, path, file, bytes };
        let mut start = Vec::new();
        let read = input.reader().take(32).read_to_end(&mut start);
        read.map_err(|error| input.unreadable(&error))?;
        if start.is_empty() {
            return Err(CliError::failed(format!("{} is empty", input.name))
                .hint("the first row of a CSV file names the columns; JSON has one object for each record"));
        }
        match NO_TEXT.iter().find(|(magic, ..)| start.starts_with(magic)) {
            Some((_, what, hint)) => {
                Err(CliError::failed(format!("{} is {what}, expected CSV or JSON", input.name))
                    .hint(*hint))
            }
            None => Ok(input),
        }
    }

    /// Reads it from its beginning.
    pub(crate) fn reader(&self) -> InputReader<'_> {
        BufReader::with_capacity(BUFFER_BYTES, FromStart { file: &self.file, at: 0 })
    }

    /// Puts a copy in UTF-8 in the place of an input in another encoding.
    pub(crate) fn make_utf_8(&mut self, encoding: Encoding) -> Result<(), CliError> {
        if encoding != Encoding::UTF_8 {
            let decoded = Decoded::new(self.reader(), encoding);
            let file = copy_text(&self.name, decoded, COPY_BYTES_MAX)?;
            self.bytes = file.metadata().map(|meta| meta.len()).unwrap_or_default();
            self.file = file;
        }
        Ok(())
    }

    /// Returns its length.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(crate) fn unreadable(&self, error: &dyn std::fmt::Display) -> CliError {
        CliError::failed(format!("cannot read {}: {error}", self.name))
    }
}

pub(crate) type InputReader<'a> = BufReader<FromStart<'a>>;

/// Reads a file at a place of its own, so that two can read it.
pub(crate) struct FromStart<'a> {
    file: &'a File,
    at: u64,
}

impl Read for FromStart<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read_at(buffer, self.at)?;
        self.at += read as u64;
        Ok(read)
    }
}

/// Text in another encoding, read as UTF-8.
struct Decoded<R> {
    input: R,
    encoding: Encoding,
    decoder: encoding_rs::Decoder,
}

impl<R: BufRead> Decoded<R> {
    fn new(input: R, encoding: Encoding) -> Self {
        Self { input, encoding, decoder: encoding.decoder() }
    }
}

impl<R: BufRead> Read for Decoded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let bytes = self.input.fill_buf()?;
            let is_last = bytes.is_empty();
            let (result, read, written) =
                self.decoder.decode_to_utf8_without_replacement(bytes, buffer, is_last);
            self.input.consume(read);
            match result {
                DecoderResult::Malformed(..) => {
                    let message = format!("it has bytes that are not {}", self.encoding.name());
                    return Err(io::Error::new(io::ErrorKind::InvalidData, message));
                }
                DecoderResult::InputEmpty | DecoderResult::OutputFull if written > 0 || is_last => {
                    return Ok(written);
                }
                DecoderResult::InputEmpty | DecoderResult::OutputFull => {}
            }
        }
    }
}

/// Copies `input`, unpacked, to a file without a name, which nobody else can open and which is gone with this process.
fn copy(name: &str, mut input: impl Read, bytes_max: u64) -> Result<File, CliError> {
    let mut start = Vec::new();
    let read = input.by_ref().take(GZIP.len() as u64).read_to_end(&mut start);
    read.map_err(|error| CliError::failed(format!("cannot read {name}: {error}")))?;
    let is_packed = start == GZIP;
    let input = io::Cursor::new(start).chain(input);
    if is_packed {
        copy_text(name, MultiGzDecoder::new(BufReader::new(input)), bytes_max)
    } else {
        copy_text(name, input, bytes_max)
    }
}

fn copy_text(name: &str, mut input: impl Read, bytes_max: u64) -> Result<File, CliError> {
    let folder = std::env::temp_dir();
    let unwritable = |error: io::Error| {
        let message = format!("cannot keep a copy of {name} in {}: {error}", folder.display());
        CliError::failed(message)
            .hint("write it to a file and import that, or set TMPDIR to a folder with enough space")
    };
    let mut file = tempfile::tempfile().map_err(unwritable)?;
    let mut buffer = vec![0; BUFFER_BYTES];
    let mut bytes = 0;
    loop {
        let read = match input.read(&mut buffer) {
            Ok(0) => break,
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => {
                let message = format!("cannot read {name} after {bytes} bytes: {error}");
                return Err(CliError::failed(message).hint("nothing was imported"));
            }
        };
        bytes += read as u64;
        if bytes > bytes_max {
            let message =
                format!("{name} has more than {bytes_max} bytes, which are copied at most");
            return Err(CliError::failed(message).hint(
                "write it to a file, unpacked, and import that: a file is read in place, whatever its length",
            ));
        }
        file.write_all(&buffer[..read]).map_err(unwritable)?;
    }
    file.seek(SeekFrom::Start(0)).map_err(unwritable)?;
    Ok(file)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use flate2::Compression;
    use flate2::write::GzEncoder;

    use super::*;

    fn text(input: &Input) -> String {
        let mut text = String::new();
        input.reader().read_to_string(&mut text).unwrap();
        text
    }

    fn gzip(text: &str) -> Vec<u8> {
        let mut packer = GzEncoder::new(Vec::new(), Compression::fast());
        packer.write_all(text.as_bytes()).unwrap();
        packer.finish().unwrap()
    }

    #[test]
    fn a_copy_is_read_as_often_as_a_file() {
        let file = copy("pipe", &b"id\n1\n"[..], 100).unwrap();
        let input = Input::of_text("pipe".to_owned(), None, file).unwrap();
        assert_eq!(text(&input), "id\n1\n");
        assert_eq!(text(&input), "id\n1\n");
        assert_eq!(input.bytes(), 5);
    }

    #[test]
    fn gzip_is_unpacked_wherever_it_comes_from() {
        let mut packed = gzip("id\n1\n");
        // Two packed files behind each other are one.
        packed.extend(gzip("2\n"));
        let file = copy("pipe", &packed[..], 100).unwrap();
        assert_eq!(text(&Input::of_text("pipe".to_owned(), None, file).unwrap()), "id\n1\n2\n");
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.csv.gz");
        std::fs::write(&path, &packed).unwrap();
        let input = Input::open(&path).unwrap();
        assert_eq!(text(&input), "id\n1\n2\n");
        assert_eq!(input.path, Some(folder.path().join("a.csv")));
        std::fs::write(&path, &packed[..packed.len() - 12]).unwrap();
        assert!(Input::open(&path).unwrap_err().message().contains("a.csv.gz"));
    }

    #[test]
    fn a_copy_ends_at_its_bound_with_the_way_out() {
        for bytes in [&b"0123456789"[..], &gzip("0123456789")] {
            let error = copy("pipe", bytes, 9).unwrap_err().message();
            assert!(
                error.contains("more than 9 bytes") && error.contains("write it to a file"),
                "{error}"
            );
            assert!(copy("pipe", bytes, 10).is_ok());
        }
    }

    #[test]
    fn what_is_no_text_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.csv");
        for (bytes, part) in [
            (&b"PK\x03\x04 and so on"[..], "Excel"),
            (b"", "is empty"),
            (b"\x28\xb5\x2f\xfd", "zstdcat"),
        ] {
            std::fs::write(&path, bytes).unwrap();
            let error = Input::open(&path).unwrap_err().message();
            assert!(error.contains(part), "{error}");
        }
        let error = Input::open(folder.path()).unwrap_err().message();
        assert!(error.contains("is a folder"), "{error}");
    }
}
