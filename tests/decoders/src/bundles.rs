//! Bundles, whole and piece by piece: what anybody may write on a stick.

use branchline_crdt::bundle::{Begin, BundleHeader, BundleReader, Bundling, FILE, Piece, Since};
use branchline_crdt::format::codec;
use branchline_crdt::format::container::{ChunkReader, ChunkWriter, END};
use branchline_crdt::membership::SpaceDocument;

use crate::members::stays_usable;
use crate::network::{at, key, network, open};
use crate::{Memory, Target};

/// Kinds of pieces, and one more.
const KINDS: u8 = 9;
const HEADER: u8 = 1;

pub(crate) const BUNDLE: Target =
    Target { name: "bundle", run: bundle, seeds, memory: Memory { mib: 128, per_byte: 4096 } };

/// The first byte of the input says whether the rest is a file, or (a kind, then its content) a piece that is put into a
/// sound file, so that mutations get behind the checksums. Whatever a site takes in, it stays usable.
fn bundle(input: &[u8]) {
    let file = match input {
        [0, file @ ..] => file.to_vec(),
        [_, kind, content @ ..] => with_piece(kind % KINDS, content),
        [] | [_] => return,
    };
    let mut head = open(1, network().head.clone());
    let mut reader = BundleReader::default();
    let mut maker = key(2).site();
    'file: for bytes in file.chunks(1_000) {
        reader.push(bytes);
        loop {
            let piece = match reader.next_piece() {
                Ok(Some(piece)) => piece,
                Ok(None) => break,
                Err(_) => break 'file,
            };
            if let Piece::Header(header) = &piece {
                maker = header.maker;
            }
            let merged = head.merge(maker, piece.prepare(), at(5));
            if merged.expect("no bundle breaks the store").is_err() {
                break 'file;
            }
        }
    }
    while head.output().is_some() {}
    stays_usable(head);
}

/// A file with a header of this network, one piece, and an end.
fn with_piece(kind: u8, content: &[u8]) -> Vec<u8> {
    let header =
        BundleHeader { network: network().id, maker: key(2).site(), time_ms: 0, since: Vec::new() };
    let (mut writer, mut file) = ChunkWriter::start(FILE);
    file.extend(writer.chunk(HEADER, &codec::encode(&header)));
    file.extend(writer.chunk(kind, content));
    file.extend(writer.chunk(END, &[0, 0, 0]));
    file
}

fn seeds() -> Vec<Vec<u8>> {
    let admission = Some(network().admission.clone());
    let north = network().north.clone();
    let site = key(2).site();
    let document = SpaceDocument {
        network: network().id,
        name: "north".to_owned(),
        creator: site,
        time_ms: 0,
        nonce: [8; 16],
    };
    let (network, private) = (network().id, vec![document]);
    let begin = Begin { network, maker: site, admission, private, time_ms: 0 };
    let bundling = Bundling::new(north, begin, &Since::Nothing);
    let mut bundling = bundling.expect("the store works");
    let mut file = Vec::new();
    while let Some(bytes) = bundling.next_bytes().expect("the store works") {
        file.extend(bytes);
    }
    let mut chunks = ChunkReader::new(FILE);
    chunks.push(&file);
    let mut seeds = vec![[&[0], &file[..]].concat()];
    while let Some((kind, content)) = chunks.next_chunk().expect("a sound file") {
        seeds.push([&[1, kind], &content[..]].concat());
    }
    seeds
}
