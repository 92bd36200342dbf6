//! What must never change: the bytes that every site derives, and the forms in which changes and
//! views are kept.

use data_encoding::HEXLOWER;
use serde_json::json;

use super::support::Office;
use crate::record::change::chunk;
use crate::record::{GenesisKind, InitialChange, RecordChange, View};

fn genesis(path: &[&str], kind: GenesisKind) -> InitialChange {
    InitialChange { path: path.iter().map(|name| (*name).to_owned()).collect(), kind }
}

/// If one of these fails, sites with the old and the new build create counters, texts, lists and
/// maps that do not merge. Do not change the bytes: change what changed them.
#[test]
fn genesis_changes_are_these_bytes() {
    let cases = [
        (
            &["stock"][..],
            GenesisKind::Counter,
            concat!(
                "856f4a83ae50e7bd01330010c2c71e4e2acf3c816749da0b9674ce240101000000061507",
                "340142025602570170027f0573746f636b017f017f18007f00"
            ),
        ),
        (
            &["notes"][..],
            GenesisKind::Text,
            concat!(
                "856f4a83bedeb0e2013000107c3a16c9a07c230cdcff2189c7677e440101000000051507",
                "34014202560270027f056e6f746573017f047f007f00"
            ),
        ),
        (
            &["lines"][..],
            GenesisKind::List,
            concat!(
                "856f4a83dcf97952013000106768457f1347166f786b7f7a741f0b980101000000051507",
                "34014202560270027f056c696e6573017f027f007f00"
            ),
        ),
        (
            &["address"][..],
            GenesisKind::Map,
            concat!(
                "856f4a83829fcbb701320010b8f497232d1d83733bbbe2413621544e0101000000051509",
                "34014202560270027f0761646472657373017f007f007f00"
            ),
        ),
        (
            &["address", "visits"][..],
            GenesisKind::Counter,
            concat!(
                "856f4a83fffd3558016d01829fcbb7f8f67a743d313de2e9103211530beebef8f06756db",
                "ea3b62cfc611a410437dbb97d4b2bf346b4d8a365916d2a2010200000110b8f497232d1d",
                "83733bbbe2413621544e08010202021508340142025602570170027f017f017f06766973",
                "697473017f017f18007f00"
            ),
        ),
    ];
    for (path, kind, pinned) in cases {
        let changes = genesis(path, kind).changes();
        assert_eq!(changes.len(), path.len());
        let own = changes.last().unwrap();
        let bytes = HEXLOWER.encode(&chunk::whole(&own.body()));
        assert_eq!(bytes, pinned, "{path:?} {kind:?}");
    }
}

#[test]
fn changes_and_views_keep_their_stored_form() {
    let mut office =
        Office::with_schema(1, &[("stock", "counter"), ("when", "timestamp"), ("photo", "bytes")]);
    office.put(
        json!({"stock": 3, "when": 5, "photo": "AQID", "name": "bolt", "tags": ["a", {"b": null}]}),
    );
    let config = bincode::config::standard();
    let view = office.view();
    let bytes = bincode::serde::encode_to_vec(&view, config).unwrap();
    let (read, _): (View, usize) = bincode::serde::decode_from_slice(&bytes, config).unwrap();
    assert_eq!(read, view);

    let change = office.entries[0].change.clone();
    let bytes = bincode::serde::encode_to_vec(&change, config).unwrap();
    let (read, _): (RecordChange, usize) =
        bincode::serde::decode_from_slice(&bytes, config).unwrap();
    assert_eq!(read, change);
    // The list of genesis: its length, the path's length, "stock", the discriminant.
    assert_eq!(&bytes[..9], b"\x01\x01\x05stock\x00");
}
