use proptest::prelude::*;

use super::*;
use crate::ids::{Incarnation, SiteKey};
use crate::log::entry::{Body, Draft, Origin, Transaction};
use crate::membership::Operation;

const NETWORK: RealmId = RealmId([1; 32]);

fn author(site: u8, life: u8) -> Author {
    let site = SiteKey::from_seed([site; 32]).site();
    Author { site, incarnation: Incarnation([life; 8]) }
}

fn tips() -> impl Strategy<Value = Vec<Tip>> {
    // Sites that write nothing themselves, so that no log names itself.
    let tip = (10_u8..14, 1_u64..4, any::<u8>()).prop_map(|(site, seq, hash)| Tip {
        author: author(site, 0),
        seq,
        hash: EntryHash([hash; 32]),
    });
    proptest::collection::vec(tip, 0..4).prop_map(|mut tips| {
        tips.sort();
        tips.dedup_by_key(|tip| tip.author);
        tips
    })
}

fn body() -> impl Strategy<Value = Body> {
    let source = proptest::collection::vec(any::<u8>(), 0..2_000)
        .prop_map(|bytes| bytes.iter().map(|byte| char::from(byte % 16 + b'a')).collect());
    let transaction =
        |source| Transaction { origin: Some(Origin { source, number: 1 }), changes: Vec::new() };
    prop_oneof![
        Just(Body::Membership(Vec::<Operation>::new())),
        source.prop_map(move |source| Body::Transactions(vec![transaction(source)])),
    ]
}

prop_compose! {
    /// An entry of one of a few logs, of which the one before it may have been made or not.
    fn written()(
        site in 1_u8..4,
        life in 0_u8..2,
        membership in any::<bool>(),
        seq in prop_oneof![6 => 1_u64..6, 1 => any::<u64>()],
        past in tips(),
        membership_past in tips(),
        time_ms in prop_oneof![4 => 0_i64..100, 1 => any::<i64>()],
        body in body(),
    ) -> (SiteKey, Draft, Body) {
        let key = SiteKey::from_seed([site; 32]);
        let (space, membership_past) = if membership { (NETWORK.membership_space(), Vec::new()) } else { (NETWORK.main_space(), membership_past) };
        let (author, seq) = (author(site, life), seq.max(1));
        let previous = if seq == 1 { EntryHash::NONE } else { EntryHash([7; 32]) };
        let draft = Draft {
            realm: NETWORK, space, author, seq, previous, past, membership_past, time_ms,
        };
        (key, draft, body)
    }
}

/// Signs, and lets entries name the ones before them, as far as there are such.
fn sign(written: Vec<(SiteKey, Draft, Body)>, chained: bool) -> Vec<Entry> {
    let mut entries: Vec<Entry> = Vec::new();
    for (key, mut draft, body) in written {
        let before = |other: &&Entry| {
            let header = &other.header;
            (header.space, header.author) == (draft.space, draft.author)
        };
        if chained {
            let before = entries.iter().rev().find(before);
            let step = |entry: &Entry| Some((entry.header.seq.checked_add(1)?, entry.hash));
            let next = before.and_then(step);
            (draft.seq, draft.previous) = next.unwrap_or((1, EntryHash::NONE));
            let site = draft.author.site;
            let mut others = entries.iter().filter(|other| other.header.author.site != site);
            draft.past.extend(others.next_back().map(Entry::tip));
            draft.past.sort();
        }
        entries.push(draft.sign(&body, &key));
    }
    entries
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn entries_come_back_byte_for_byte(
        written in proptest::collection::vec(written(), 0..20),
        chained in any::<bool>(),
        turn in any::<bool>(),
    ) {
        let mut entries = sign(written, chained);
        if turn {
            entries.reverse();
        }
        let back = unpack_entries(&pack_entries(&entries)).unwrap();
        prop_assert_eq!(&back, &entries);
        for (entry, other) in back.iter().zip(&entries) {
            prop_assert_eq!(entry.bytes(), other.bytes());
            prop_assert_eq!(&Entry::decode(entry.bytes()).unwrap(), entry);
        }
    }

    #[test]
    fn a_spoilt_piece_is_other_entries_or_an_error(
        written in proptest::collection::vec(written(), 1..6),
        spoilt in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let mut packed = pack_entries(&sign(written, true));
        for (place, byte) in spoilt {
            let place = place.index(packed.len());
            packed[place] = byte;
        }
        for entry in unpack_entries(&packed).unwrap_or_default() {
            prop_assert_eq!(&Entry::decode(entry.bytes()).unwrap(), &entry);
        }
    }
}

type Spoil<'a> = &'a dyn Fn(&mut Vec<Log>, &mut Vec<u8>, &mut Vec<u8>);

fn chain(count: u64) -> Vec<Entry> {
    let key = SiteKey::from_seed([1; 32]);
    let mut previous = EntryHash::NONE;
    let entry = |seq| {
        let draft = Draft {
            realm: NETWORK,
            space: NETWORK.main_space(),
            author: author(1, 1),
            seq,
            previous,
            past: Vec::new(),
            membership_past: Vec::new(),
            time_ms: 1_700_000_000_000 + seq as i64,
        };
        let entry = draft.sign(&Body::Transactions(Vec::new()), &key);
        previous = entry.hash;
        entry
    };
    (1..=count).map(entry).collect()
}

#[test]
fn a_chain_costs_its_signatures_and_little_more() {
    let entries = chain(1_000);
    let packed = pack_entries(&entries);
    assert!(packed.len() < 1_000 * 64 + 1_000, "{}", packed.len());
    assert_eq!(unpack_entries(&packed).unwrap(), entries);
}

#[test]
fn what_does_not_fit_the_entries_is_refused() {
    let packed = pack_entries(&chain(2));
    let PackedParts { dense, columns } = codec::decode("packed entries", &packed).unwrap();
    let columns = pack::unpack(columns, UNPACKED_BYTES_MAX).unwrap();
    let spoil = |spoil: Spoil<'_>| {
        let PackedColumns { mut logs, items, tips, payloads } =
            codec::decode("columns", &columns).unwrap();
        let (mut items, mut dense) = (items.to_vec(), dense.to_vec());
        spoil(&mut logs, &mut items, &mut dense);
        let columns =
            pack::pack(&codec::encode(&PackedColumns { logs, items: &items, tips, payloads }));
        unpack_entries(&codec::encode(&PackedParts { dense: &dense, columns: &columns }))
            .unwrap_err()
    };
    use UnpackEntriesError::{Absent, Length};
    assert!(matches!(spoil(&|logs, _, _| logs.clear()), Absent { what: "a log" }));
    assert!(matches!(spoil(&|_, _, dense| dense.push(0)), Length { part: "dense bytes" }));
    assert!(matches!(spoil(&|_, _, dense| dense.truncate(100)), Length { part: "dense bytes" }));
    assert!(matches!(spoil(&|_, items, _| items.clear()), Length { part: "payloads" }));
    let jump = spoil(&|_, items, _| items[1] = 5);
    assert!(matches!(jump, Absent { what: "a previous entry" }), "{jump}");
}

#[test]
fn a_kilobyte_does_not_become_megabytes() {
    // Items without signatures, and a bomb.
    let items = vec![0; 4_000_000];
    for items in [&items[..], &items[..4_000]] {
        let columns = PackedColumns { logs: Vec::new(), items, tips: &[], payloads: &[] };
        let columns = pack::pack(&codec::encode(&columns));
        let packed = codec::encode(&PackedParts { dense: &[], columns: &columns });
        assert!(packed.len() < 1_000, "{}", packed.len());
        assert!(unpack_entries(&packed).is_err());
    }
    let columns = pack::pack(&vec![0; 50_000_000]);
    let packed = codec::encode(&PackedParts { dense: &[], columns: &columns });
    assert!(matches!(unpack_entries(&packed), Err(UnpackEntriesError::Unpack(_))));
}

#[test]
fn entries_mean_no_more_than_a_message_holds() {
    // Each names thousands of tips that all are the same few bytes.
    let mut entries = chain(2);
    let known = entries[0].tip();
    let key = SiteKey::from_seed([2; 32]);
    let many = (0..PAST_TIPS_MAX as u64).map(|life| Tip {
        author: Author { site: known.author.site, incarnation: Incarnation(life.to_be_bytes()) },
        ..known
    });
    let past: Vec<Tip> = many.collect();
    for life in 0..40 {
        let draft = Draft {
            realm: NETWORK,
            space: NETWORK.main_space(),
            author: author(2, life),
            seq: 1,
            previous: EntryHash::NONE,
            past: past.clone(),
            membership_past: Vec::new(),
            time_ms: 0,
        };
        entries.push(draft.sign(&Body::Transactions(Vec::new()), &key));
    }
    let packed = pack_entries(&entries);
    assert!(matches!(unpack_entries(&packed), Err(UnpackEntriesError::TooLarge { .. })));
    assert_eq!(unpack_entries(&pack_entries(&entries[..20])).unwrap(), entries[..20]);
}
