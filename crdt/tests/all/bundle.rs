//! Bundles of journals that are damaged, forked, or of former incarnations.

use std::collections::BTreeMap;

use super::pair::Pair;
use branchline_crdt::bundle::{BundleReader, Bundling, Contents, Piece, Since};
use branchline_crdt::inspect::log;
use branchline_crdt::replica::{Merged, Now};
use serde_json::json;

const NOW: Now = Now { wall_ms: 0, monotonic_ms: 0 };

/// What one office holds, as a file.
pub(crate) fn bundle(pair: &Pair, office: usize, since: &Since) -> (Vec<u8>, Contents) {
    let store = pair.replicas[office].store().clone();
    let begin = pair.replicas[office].begin_bundle(None, None, 0).unwrap();
    let bundling = Bundling::new(store, begin, since);
    let (mut bundling, mut file) = (bundling.unwrap(), Vec::new());
    while let Some(bytes) = bundling.next_bytes().unwrap() {
        file.extend(bytes);
    }
    let mut contents = None;
    for piece in pieces(&file) {
        if let Piece::End(end) = piece {
            contents = Some(end);
        }
    }
    (file, contents.expect("an end"))
}

fn pieces(file: &[u8]) -> Vec<Piece> {
    let mut reader = BundleReader::default();
    reader.push(file);
    let mut pieces = Vec::new();
    while let Some(piece) = reader.next_piece().unwrap() {
        pieces.push(piece);
    }
    reader.finish().unwrap();
    pieces
}

/// Merges a file at an office.
pub(crate) fn merge(pair: &mut Pair, office: usize, file: &[u8]) -> Merged {
    let maker = pair.site(1 - office);
    let mut sum = Merged::default();
    for piece in pieces(file) {
        let merged = pair.replicas[office].merge(maker, piece.prepare(), NOW).unwrap().unwrap();
        sum.new += merged.new;
        sum.known += merged.known;
        sum.waiting += merged.waiting;
        sum.without_room += merged.without_room;
        sum.refused += merged.refused;
    }
    pair.settle();
    sum
}

/// What an office has said of itself.
fn frontier(pair: &Pair, office: usize) -> Since {
    let network = pair.replicas[office].realms().network().unwrap();
    let spaces = [network.membership_space(), network.main_space()];
    let known = |space| (space, log::known(pair.replicas[office].store(), space).unwrap());
    Since::Frontier(pair.site(office), BTreeMap::from(spaces.map(known)))
}

#[test]
fn what_is_damaged_is_left_out_with_all_that_builds_on_it() {
    let mut pair = Pair::new();
    pair.down();
    for id in ["tea", "rice", "salt"] {
        pair.write(0, id, json!({"price": "1.00"}));
    }
    let second = pair.places(0, 0)[1];
    pair.replicas[0].store_mut().damage(second);
    let (file, contents) = bundle(&pair, 0, &frontier(&pair, 1));
    assert_eq!((contents.entries, contents.skipped), (1, 2));
    let merged = merge(&mut pair, 1, &file);
    assert_eq!((merged.new, merged.waiting), (1, 0));
    assert_eq!(pair.count(1), 1);
}

#[test]
fn entries_of_former_incarnations_are_not_sent_again() {
    let mut pair = Pair::new();
    pair.write(1, "tea", json!({"price": "1.00"}));
    pair.down();
    // Head hears nothing of north's new life.
    pair.restart(1, |store| store);
    pair.write(1, "rice", json!({"price": "2.00"}));
    let (_, contents) = bundle(&pair, 0, &frontier(&pair, 1));
    assert_eq!(contents.entries, 0);
    let (file, contents) = bundle(&pair, 1, &frontier(&pair, 0));
    assert_eq!(contents.entries, 1);
    let merged = merge(&mut pair, 0, &file);
    assert_eq!((merged.new, merged.known), (1, 0));
    assert_eq!(pair.digest(0), pair.digest(1));
}

#[test]
fn a_fork_that_comes_by_stick_is_found() {
    let mut pair = Pair::new();
    pair.down();
    let before = pair.replicas[1].store().clone();
    pair.write(1, "tea", json!({"price": "1.00"}));
    let (file, _) = bundle(&pair, 1, &Since::Nothing);
    merge(&mut pair, 0, &file);
    assert!(pair.replicas[0].status().forks.is_empty());
    // North was copied, and the copy goes on under the same incarnation.
    pair.start_as(1, before, 1);
    pair.write(1, "tea", json!({"price": "2.00"}));
    let (file, contents) = bundle(&pair, 1, &frontier(&pair, 0));
    assert_eq!(contents.entries, 1, "the log starts over where it differs");
    merge(&mut pair, 0, &file);
    assert_eq!(pair.replicas[0].status().forks.len(), 1);
    // The proof travels back, and both sides then show the same.
    let (file, _) = bundle(&pair, 0, &Since::Nothing);
    merge(&mut pair, 1, &file);
    assert_eq!(pair.replicas[1].status().forks.len(), 1);
    let (file, _) = bundle(&pair, 1, &Since::Nothing);
    merge(&mut pair, 0, &file);
    assert_eq!(pair.digest(0), pair.digest(1));
}
