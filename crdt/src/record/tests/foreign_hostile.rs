//! Documents that someone made to harm: none is taken in by half, none takes more than it may, none stops the program.

use automerge::transaction::Transactable;
use automerge::{AutoCommit, ROOT};
use flate2::Compression;
use flate2::write::DeflateEncoder;
use serde_json::json;
use sha2::{Digest, Sha256};
use std::io::Write as _;

use super::editors::Site;
use crate::record::change::leb128::write_unsigned;
use crate::record::{DOCUMENT_BYTES_MAX, DocumentFault, ForeignDocument};

const MAGIC: [u8; 4] = [0x85, 0x6f, 0x4a, 0x83];

fn site() -> Site {
    let mut site = Site::new(1);
    site.office.put(json!({"stock": 3, "notes": "abc", "lines": [1, 2], "price": 1}));
    site
}

fn edited(site: &Site) -> AutoCommit {
    let mut doc = site.lend(b"hostile");
    doc.put(ROOT, "price", 2).unwrap();
    doc.increment(ROOT, "stock", 1).unwrap();
    let notes = super::editors::object(&doc, &ROOT, "notes");
    doc.splice_text(&notes, 1, 1, &"long enough to be compressed ".repeat(5)).unwrap();
    doc.commit();
    doc
}

/// A chunk with the checksum that it should have.
fn chunk(kind: u8, data: &[u8]) -> Vec<u8> {
    let mut body = vec![kind];
    write_unsigned(&mut body, data.len() as u64);
    body.extend(data);
    let hash = Sha256::digest(&body);
    [&MAGIC[..], &hash[..4], &body].concat()
}

/// The bytes with the checksum that they should have, if they are one chunk.
fn mended(bytes: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    if bytes.len() > 8 {
        let hash = Sha256::digest(&bytes[8..]);
        bytes[4..8].copy_from_slice(&hash[..4]);
    }
    bytes
}

fn fault(bytes: &[u8]) -> DocumentFault {
    ForeignDocument::read(bytes).unwrap_err()
}

#[test]
fn a_document_that_is_cut_anywhere_is_refused() {
    let mut doc = edited(&site());
    for bytes in [doc.save(), doc.save_nocompress()] {
        for length in 0..bytes.len() {
            assert!(ForeignDocument::read(&bytes[..length]).is_err(), "{length}");
        }
    }
}

#[test]
fn flipped_bits_are_refused_or_lead_to_what_is_judged_like_any_other() {
    std::panic::set_hook(Box::new(|_| ()));
    let site = site();
    let mut doc = edited(&site);
    let change = doc.get_changes(&[]).last().unwrap().raw_bytes().to_vec();
    for bytes in [doc.save_nocompress(), change] {
        // One of each byte: all of them are for the fuzzer.
        for bit in (0..bytes.len()).map(|byte| byte * 8 + byte * 5 % 8) {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(ForeignDocument::read(&flipped).is_err(), "{bit}");
            let mut taker = site.clone();
            if let Ok(read) = ForeignDocument::read(&mended(&flipped)) {
                assert!(read.change_count() > 0);
                let before = taker.json();
                // What fits is taken in, and then is as Automerge has it; of anything else nothing is.
                if taker.take(&mended(&flipped), false).is_err() {
                    assert_eq!(taker.json(), before);
                }
            }
        }
    }
    let _ = std::panic::take_hook();
}

#[test]
fn bundles_and_unknown_parts_are_named() {
    assert_eq!(fault(&chunk(3, b"anything")), DocumentFault::Bundle);
    assert_eq!(fault(&chunk(7, b"anything")), DocumentFault::UnknownChunk { found: 7 });
    assert_eq!(fault(b"{\"price\": 1}"), DocumentFault::NoDocument);
    assert_eq!(fault(b""), DocumentFault::Empty);
    let good = edited(&site()).save();
    assert_eq!(fault(&[&good[..], &chunk(3, b"x")].concat()), DocumentFault::Bundle);
    assert_eq!(fault(&[&good[..], b"rest"].concat()), DocumentFault::NoDocument);
    let large = vec![0; DOCUMENT_BYTES_MAX + 1];
    assert_eq!(fault(&large), DocumentFault::TooLarge { found: large.len() });
}

fn deflated(bytes: usize) -> Vec<u8> {
    let mut encoder = DeflateEncoder::new(Vec::new(), Compression::best());
    let piece = vec![0; 1 << 20];
    (0..bytes >> 20).for_each(|_| encoder.write_all(&piece).unwrap());
    encoder.finish().unwrap()
}

#[test]
fn bombs_are_not_inflated() {
    let bomb = deflated(128 << 20);
    assert!(bomb.len() < 1 << 20);
    assert_eq!(fault(&chunk(2, &bomb)), DocumentFault::Inflates);
    // A document whose one column of operations is the bomb.
    let mut data = vec![0, 0, 0, 1, 0x42 | 8];
    write_unsigned(&mut data, bomb.len() as u64);
    data.extend(&bomb);
    assert_eq!(fault(&chunk(0, &data)), DocumentFault::Inflates);
    assert_eq!(fault(&chunk(2, b"no deflate")), DocumentFault::Deflate);
}

#[test]
fn a_few_bytes_that_mean_millions_of_operations_are_refused() {
    // A change: no dependencies, actor, number, first operation, time, message, other actors, one column of one run.
    let mut data = vec![0, 1, 9, 1, 1, 0, 0, 0, 1, 0x42, 6, 0x80, 0x80, 0x80, 0x80, 0x04, 1];
    assert!(matches!(fault(&chunk(1, &data)), DocumentFault::TooManyRows { .. }));
    data = vec![0, 0, 0, 1, 0x42, 6, 0x80, 0x80, 0x80, 0x80, 0x04, 1];
    assert!(matches!(fault(&chunk(0, &data)), DocumentFault::TooManyRows { .. }));
    // Many that are small by themselves.
    let one = chunk(1, &[0, 1, 9, 1, 1, 0, 0, 0, 1, 0x42, 4, 0x80, 0x80, 0x18, 1]);
    let many = one.repeat(20);
    assert!(matches!(fault(&many), DocumentFault::TooManyRows { .. }), "{:?}", fault(&many));
}

#[test]
fn a_change_that_counts_to_the_end_is_refused() {
    let (mut first, mut second) = (AutoCommit::new(), AutoCommit::new());
    first.put(ROOT, "a", 1).unwrap();
    second.put(ROOT, "a", 1).unwrap();
    let mut expanded = first.get_last_local_change().unwrap().decode();
    expanded.start_op = u64::from(u32::MAX).try_into().unwrap();
    let bytes = automerge::Change::from(expanded).raw_bytes().to_vec();
    assert!(matches!(fault(&bytes), DocumentFault::Counter { .. }));
}
