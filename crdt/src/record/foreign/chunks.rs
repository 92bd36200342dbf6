//! The chunks of a document's bytes, looked at before Automerge sees them: magic, checksum, type, lengths, what columns
//! inflate to and how many rows they stand for. What Automerge gets is inflated already.
//!
//! Format: <https://automerge.org/automerge-binary-format-spec/>.

use std::io::Read;

use flate2::read::DeflateDecoder;
use sha2::{Digest, Sha256};

use super::super::change::leb128::{LebReader, write_unsigned};
use super::columns::{self, Column, DEFLATED, read_list};
use super::fault::DocumentFault;
use super::limits::{
    DOCUMENT_BYTES_MAX, DOCUMENT_CHANGES_MAX, DOCUMENT_OPERATIONS_MAX, INFLATED_BYTES_MAX,
};

/// Greatest number of rows of the columns of all chunks: a column that says what others have, how many values each
/// operation replaces, counts those with its own.
const ROWS_MAX: u64 = 2 * DOCUMENT_OPERATIONS_MAX;

const MAGIC: [u8; 4] = [0x85, 0x6f, 0x4a, 0x83];
const DOCUMENT: u8 = 0;
const CHANGE: u8 = 1;
const COMPRESSED_CHANGE: u8 = 2;
const BUNDLE: u8 = 3;

/// A chunk that Automerge may see.
#[derive(Debug)]
pub(super) enum Chunk {
    Document(Vec<u8>),
    Change(Vec<u8>),
}

/// Splits bytes into chunks.
pub(super) fn split(bytes: &[u8]) -> Result<Vec<Chunk>, DocumentFault> {
    if bytes.len() > DOCUMENT_BYTES_MAX {
        return Err(DocumentFault::TooLarge { found: bytes.len() });
    }
    if bytes.is_empty() {
        return Err(DocumentFault::Empty);
    }
    let mut input = LebReader::new(bytes, "document");
    let mut budget = Budget { bytes: INFLATED_BYTES_MAX, rows: ROWS_MAX };
    let mut chunks = Vec::new();
    while !input.is_empty() {
        if chunks.len() as u64 == DOCUMENT_CHANGES_MAX {
            return Err(DocumentFault::TooManyRows { max: DOCUMENT_CHANGES_MAX });
        }
        chunks.push(next(&mut input, &mut budget)?);
    }
    Ok(chunks)
}

/// What the chunks that are still to come may mean.
struct Budget {
    /// Bytes that are inflated.
    bytes: usize,
    rows: u64,
}

impl Budget {
    /// Counts the rows of a column; the longest of a chunk is `longest`.
    fn count(&self, spec: u64, column: &[u8], longest: &mut u64) -> Result<(), DocumentFault> {
        *longest = columns::check(spec, column, self.rows)?.max(*longest);
        Ok(())
    }
}

fn next(input: &mut LebReader<'_>, budget: &mut Budget) -> Result<Chunk, DocumentFault> {
    if input.array().ok() != Some(MAGIC) {
        return Err(DocumentFault::NoDocument);
    }
    let checksum: [u8; 4] = input.array()?;
    let kind = input.byte()?;
    match kind {
        DOCUMENT | CHANGE | COMPRESSED_CHANGE => {}
        BUNDLE => return Err(DocumentFault::Bundle),
        found => return Err(DocumentFault::UnknownChunk { found }),
    }
    let length = input.unsigned()?;
    let data = input.take(length)?;
    let inflated;
    let (kind, data) = match kind {
        COMPRESSED_CHANGE => {
            inflated = inflate(data, &mut budget.bytes)?;
            (CHANGE, &inflated[..])
        }
        kind => (kind, data),
    };
    if checksum_of(kind, data) != checksum {
        return Err(DocumentFault::Checksum);
    }
    if kind == CHANGE {
        check_change(data, budget)?;
        return Ok(Chunk::Change(chunk(kind, data)));
    }
    Ok(Chunk::Document(chunk(kind, &check_document(data, budget)?)))
}

fn chunk(kind: u8, data: &[u8]) -> Vec<u8> {
    let mut chunk = Vec::with_capacity(MAGIC.len() + 16 + data.len());
    chunk.extend(MAGIC);
    chunk.extend(checksum_of(kind, data));
    chunk.push(kind);
    write_unsigned(&mut chunk, data.len() as u64);
    chunk.extend_from_slice(data);
    chunk
}

/// The first bytes of the hash of a chunk.
fn checksum_of(kind: u8, data: &[u8]) -> [u8; 4] {
    let mut header = vec![kind];
    write_unsigned(&mut header, data.len() as u64);
    let hash: [u8; 32] = Sha256::new().chain_update(header).chain_update(data).finalize().into();
    [hash[0], hash[1], hash[2], hash[3]]
}

/// Inflates, and no further than there is budget.
fn inflate(deflated: &[u8], budget: &mut usize) -> Result<Vec<u8>, DocumentFault> {
    let mut inflated = Vec::new();
    let mut decoder = DeflateDecoder::new(deflated).take(*budget as u64 + 1);
    decoder.read_to_end(&mut inflated).map_err(|_| DocumentFault::Deflate)?;
    *budget = budget.checked_sub(inflated.len()).ok_or(DocumentFault::Inflates)?;
    Ok(inflated)
}

/// Counts the rows of a change's columns.
fn check_change(data: &[u8], budget: &mut Budget) -> Result<(), DocumentFault> {
    let mut input = LebReader::new(data, "change");
    let count = input.unsigned()?;
    input.take(count.saturating_mul(32))?;
    skip_sized(&mut input)?; // actor
    input.unsigned()?; // number
    input.unsigned()?; // first operation
    input.signed()?; // time
    skip_sized(&mut input)?; // message
    for _ in 0..input.unsigned()? {
        skip_sized(&mut input)?; // other actors
    }
    let mut longest = 1;
    for Column { spec, length } in read_list(&mut input)? {
        if spec & DEFLATED != 0 {
            return Err(DocumentFault::Deflate);
        }
        budget.count(spec, input.take(length)?, &mut longest)?;
    }
    budget.rows = budget.rows.saturating_sub(longest);
    Ok(())
}

fn skip_sized(input: &mut LebReader<'_>) -> Result<(), DocumentFault> {
    let length = input.unsigned()?;
    input.take(length)?;
    Ok(())
}

/// Counts the rows of a document's columns, and returns its data with the columns inflated.
fn check_document(data: &[u8], budget: &mut Budget) -> Result<Vec<u8>, DocumentFault> {
    let mut input = LebReader::new(data, "document");
    for _ in 0..input.unsigned()? {
        skip_sized(&mut input)?; // actors
    }
    let count = input.unsigned()?;
    input.take(count.saturating_mul(32))?; // heads
    let prefix = data.len() - input.len();
    let changes = read_list(&mut input)?;
    let operations = read_list(&mut input)?;
    let mut columns = Vec::new();
    let mut lists = Vec::new();
    let mut longest = 0;
    for list in [changes, operations] {
        write_unsigned(&mut lists, list.len() as u64);
        for Column { spec, length } in list {
            let start = columns.len();
            let bytes = input.take(length)?;
            match spec & DEFLATED {
                0 => columns.extend_from_slice(bytes),
                _ => columns.extend(inflate(bytes, &mut budget.bytes)?),
            }
            let column = columns.get(start..).unwrap_or_default();
            budget.count(spec, column, &mut longest)?;
            write_unsigned(&mut lists, spec & !DEFLATED);
            write_unsigned(&mut lists, column.len() as u64);
        }
    }
    budget.rows = budget.rows.saturating_sub(longest);
    // Behind the columns, where the heads are among the changes.
    let suffix = input.take(input.len() as u64)?;
    Ok([data.get(..prefix).unwrap_or_default(), &lists, &columns, suffix].concat())
}
