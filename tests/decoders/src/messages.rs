//! What comes in one piece: entries, their payloads, the messages of the protocols, tickets, rows.

use std::fmt::Debug;
use std::str::FromStr;

use branchline_crdt::format::codec;
use branchline_crdt::format::pack::{self, UnpackError};
use branchline_crdt::log::entry::{Body, Entry};
use branchline_crdt::log::fork::ForkProof;
use branchline_crdt::log::frontier::PartDigests;
use branchline_crdt::log::receipt::Receipt;
use branchline_crdt::membership::{FormerKey, Genesis, Operation, Role, SpaceDocument, Ticket};
use branchline_crdt::protocol::{
    Answer, Gossip, Have, Introduction, Invitation, Outcome, Pull, Request, Welcome, pack_entries,
    unpack_entries,
};
use branchline_crdt::record::Field;
use branchline_crdt::record::{Edit, Kind, View};
use branchline_crdt::store::Position;
use branchline_crdt::store::tables::decode_row;
use branchline_crdt::store::tables::indexes::{IndexRow, IndexState};
use branchline_crdt::store::tables::logs::{ActorRow, EntryRow, EntryStatus, LogRow};
use branchline_crdt::store::tables::records::CollectionRow;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::network::{Network, forge, network};
use crate::{Memory, Target};

pub(crate) const ENTRY: Target = Target {
    name: "entry",
    run: entry,
    seeds: || network().entries.clone(),
    memory: Memory { mib: 48, per_byte: 64 },
};

/// An entry as it is stored and forwarded. Nobody has checked its signature yet.
fn entry(input: &[u8]) {
    let Ok(entry) = Entry::decode(input) else { return };
    assert_eq!(entry.bytes(), input, "an entry has one form");
    assert_eq!(entry.header.entry_hash(&entry.signature), entry.hash);
    let _ = (entry.is_signed(), entry.body());
}

pub(crate) const BODY: Target = Target {
    name: "body",
    run: body,
    seeds: || network().payloads.clone(),
    memory: Memory { mib: 8, per_byte: 24 },
};

/// The unpacked payload of an entry that a member signed.
fn body(input: &[u8]) {
    let Network { id, liar, .. } = network();
    let entry = forge::first(*id, liar, &pack::pack(input));
    let entry = Entry::decode(&entry).expect("what is signed is well formed");
    assert!(entry.is_signed());
    if let Ok(body) = entry.body() {
        comes_back::<Body>("body", &codec::encode(&body));
    }
}

pub(crate) const UNPACK: Target = Target {
    name: "unpack",
    run: unpack,
    seeds: || {
        let payloads = network().payloads.iter().map(|payload| pack::pack(payload));
        payloads.chain([pack_entries(&all_entries()), pack::pack(&vec![0; 200_000])]).collect()
    },
    memory: Memory { mib: 48, per_byte: 16 },
};

/// A packed piece, and a packed list of entries.
fn unpack(input: &[u8]) {
    for bytes_max in [0, 1_000, 100_000] {
        match pack::unpack(input, bytes_max) {
            Ok(raw) => {
                assert!(raw.len() <= bytes_max);
                assert_eq!(pack::unpack(&pack::pack(&raw), raw.len()).ok(), Some(raw));
            }
            Err(UnpackError::TooLarge { .. }) => {}
            Err(_) => break,
        }
    }
}

pub(crate) const ENTRIES: Target = Target {
    name: "entries",
    run: entries,
    seeds: || {
        let all = all_entries();
        let columns = |entries: &[Entry]| {
            let packed = pack_entries(entries);
            let (dense, columns) = split(&packed).expect("two parts");
            let columns = pack::unpack(columns, 1 << 24).expect("columns");
            [&[1], &codec::encode(&(dense, columns))[..]].concat()
        };
        let whole = [&[0], &pack_entries(&all)[..]].concat();
        [vec![whole, columns(&all)], all.chunks(3).map(columns).collect()].concat()
    },
    memory: Memory { mib: 64, per_byte: 64 },
};

/// All entries of the network.
fn all_entries() -> Vec<Entry> {
    let entries = network().entries.iter();
    entries.map(|bytes| Entry::decode(bytes).expect("an entry")).collect()
}

/// The two parts of packed entries.
fn split(packed: &[u8]) -> Option<(&[u8], &[u8])> {
    codec::decode("two parts", packed).ok()
}

/// A packed list of entries. The first byte of the input says whether its columns are packed as they travel, or lie
/// open so that mutations get into them.
fn entries(input: &[u8]) {
    let Some((kind, bytes)) = input.split_first() else { return };
    let packed = match (kind % 2, split(bytes)) {
        (0, _) => bytes.to_vec(),
        (_, Some((dense, columns))) => codec::encode(&(dense, pack::pack(columns))),
        (_, None) => return,
    };
    let Ok(entries) = unpack_entries(&packed) else { return };
    for entry in &entries {
        assert_eq!(
            Entry::decode(entry.bytes()).as_ref().ok(),
            Some(entry),
            "an entry has one form"
        );
    }
    assert_eq!(unpack_entries(&pack_entries(&entries)).ok(), Some(entries));
}

pub(crate) const MESSAGES: Target = Target {
    name: "messages",
    run: messages,
    seeds: message_seeds,
    memory: Memory { mib: 2, per_byte: 64 },
};

/// A message; the first byte of the input says which.
fn messages(input: &[u8]) {
    let Some((kind, bytes)) = input.split_first() else { return };
    match kind % 8 {
        0 => comes_back::<Request>("request", bytes),
        1 => comes_back::<Answer>("answer", bytes),
        2 => comes_back::<Gossip>("gossip", bytes),
        3 => comes_back::<Introduction>("introduction", bytes),
        4 => comes_back::<Welcome>("welcome", bytes),
        5 => comes_back::<Receipt>("receipt", bytes),
        6 => comes_back::<Genesis>("genesis", bytes),
        _ => {
            comes_back::<ForkProof>("fork", bytes);
            if let Ok(fork) = codec::decode::<ForkProof>("fork", bytes) {
                let _ = ForkProof::new(fork.lower, fork.higher);
            }
        }
    }
}

fn message_seeds() -> Vec<Vec<u8>> {
    let seeds = every_message();
    seeds.into_iter().map(|(kind, bytes)| [&[kind], bytes.as_slice()].concat()).collect()
}

/// The messages, by whom they are for: gossip, requests, answers, introductions, welcomes.
pub(crate) fn message_kinds(numbers: [u8; 5]) -> impl Iterator<Item = (u8, Vec<u8>)> {
    let [gossip, pull, answer, introduction, welcome] = numbers;
    every_message().into_iter().filter_map(move |(kind, bytes)| {
        let number = match kind {
            0 => pull,
            1 => answer,
            2 => gossip,
            3 => introduction,
            4 => welcome,
            _ => return None,
        };
        Some((number, bytes))
    })
}

/// Every kind of message, numbered as [`messages`] reads them.
fn every_message() -> Vec<(u8, Vec<u8>)> {
    let Network { id, genesis, entries, receipt, fork, admission, frontier, .. } = network();
    let all = all_entries();
    let space = id.main_space();
    let pull =
        |have| Request::Pull(Pull { space, have, receipts: [7; 8], shared: [6; 8], bytes_max: 9 });
    let packed = pack_entries(&all);
    let document = SpaceDocument {
        network: *id,
        name: "north".to_owned(),
        creator: receipt.site,
        time_ms: 5,
        nonce: [8; 16],
    };
    let answer = |outcome| Answer {
        outcome,
        receipts: vec![receipt.clone()],
        forks: vec![fork.clone()],
        invitations: vec![Invitation { document: document.clone(), entries: packed.clone() }],
    };
    let tip = all[0].tip();
    let keys = vec![FormerKey { site: receipt.site, word: admission.signature }; 3];
    let digests = PartDigests { salt: [4; 8], digests: vec![[5; 8]] };
    let frontier_of = |after| Have::Frontier { parts: None, known: frontier.clone(), after };
    let seeds = [
        (0, codec::encode(&pull(frontier_of(Some(Position(300)))))),
        (0, codec::encode(&pull(Have::Digest([3; 16])))),
        (0, codec::encode(&pull(frontier_of(None)))),
        (0, codec::encode(&pull(Have::Lost(vec![(frontier[0].author, 3)])))),
        (0, codec::encode(&Request::Notify(Gossip::News(space)))),
        (0, codec::encode(&Request::Notify(Gossip::Entry(entries[0].clone())))),
        (1, codec::encode(&answer(Outcome::UpToDate))),
        (1, codec::encode(&answer(Outcome::SendFrontier(digests)))),
        (1, codec::encode(&answer(Outcome::UnknownSpace))),
        (
            1,
            codec::encode(&answer(Outcome::Entries {
                packed: packed.clone(),
                until: frontier.clone(),
                at: Some(Position(300)),
            })),
        ),
        (2, codec::encode(&Gossip::Entry(entries[0].clone()))),
        (2, codec::encode(&Gossip::Announce { space, tip })),
        (2, codec::encode(&Gossip::Receipt(receipt.clone()))),
        (2, codec::encode(&Gossip::News(space))),
        (3, codec::encode(&Introduction::Ticket(Box::new(admission.clone())))),
        (3, codec::encode(&Introduction::Entries { network: *id, packed: packed.clone() })),
        (3, codec::encode(&Introduction::FormerKeys(keys.clone()))),
        (4, codec::encode(&Welcome::Member { genesis: genesis.clone(), entries: packed })),
        (4, codec::encode(&Welcome::Refused("no".to_owned()))),
        (4, codec::encode(&Welcome::FormerKeys(keys))),
        (5, codec::encode(receipt)),
        (6, codec::encode(genesis)),
        (7, codec::encode(fork)),
    ];
    seeds.into()
}

pub(crate) const TICKET: Target = Target {
    name: "ticket",
    run: ticket,
    seeds: || vec![network().ticket.to_string().into_bytes(), b"branchline-ticket-1-AA".to_vec()],
    memory: Memory { mib: 1, per_byte: 64 },
};

/// The text of a ticket.
fn ticket(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    if let Ok(ticket) = Ticket::from_str(&text) {
        let again = Ticket::from_str(&ticket.to_string()).expect("a ticket's own text");
        assert_eq!((again.grant, again.addresses), (ticket.grant, ticket.addresses));
    }
    let _ = Role::from_str(&text);
}

pub(crate) const ROWS: Target =
    Target { name: "rows", run: rows, seeds: row_seeds, memory: Memory { mib: 2, per_byte: 128 } };

/// A row of the tables; the first byte of the input says which.
fn rows(input: &[u8]) {
    let Some((kind, bytes)) = input.split_first() else { return };
    match kind % 8 {
        0 => row::<View>(bytes),
        1 => row::<CollectionRow>(bytes),
        2 => row::<LogRow>(bytes),
        3 => row::<EntryRow>(bytes),
        4 => row::<ActorRow>(bytes),
        5 => row::<Vec<Operation>>(bytes),
        6 => row::<(u32, u8)>(bytes),
        _ => row::<IndexRow>(bytes),
    }
}

fn row_seeds() -> Vec<Vec<u8>> {
    let Network { entries, view, admission, .. } = network();
    let entry = Entry::decode(&entries[0]).expect("an entry");
    let (seq, hash) = (entry.header.seq, entry.hash);
    let predecessor = Some(entry.tip());
    let index = Field { path: "price".to_owned(), kind: Some(Kind::Decimal) };
    let building = IndexState::Building { after: Some(b"tea".to_vec()), records: 3 };
    let seeds = [
        (0, codec::encode(view)),
        (1, codec::encode(&CollectionRow { live: 3, deleted: 1, ..Default::default() })),
        (2, codec::encode(&LogRow { seq, hash, applied: 1, applied_hash: hash, predecessor })),
        (3, codec::encode(&EntryRow { position: 9, hash, status: EntryStatus::Applied })),
        (4, codec::encode(&ActorRow { author: entry.header.author })),
        (5, codec::encode(&vec![Operation::Admit(admission.clone())])),
        (6, codec::encode(&(1_u32, 1_u8))),
        (7, codec::encode(&IndexRow::new(&index, building))),
    ];
    seeds.map(|(kind, bytes)| [&[kind], bytes.as_slice()].concat()).into()
}

fn row<T: DeserializeOwned + Serialize + PartialEq + Debug>(bytes: &[u8]) {
    if let Ok(row) = decode_row::<T>("row", bytes) {
        comes_back::<T>("row", &codec::encode(&row));
    }
}

/// What decodes is encoded and decoded to itself.
fn comes_back<T: DeserializeOwned + Serialize + PartialEq + Debug>(
    what: &'static str,
    bytes: &[u8],
) {
    if let Ok(value) = codec::decode::<T>(what, bytes) {
        let again = codec::decode::<T>(what, &codec::encode(&value));
        assert_eq!(again.ok(), Some(value), "a {what} does not come back");
    }
}

/// A put of these fields.
pub(crate) fn put(json: serde_json::Value) -> Edit {
    match json {
        serde_json::Value::Object(fields) => Edit::Put(fields),
        other => panic!("{other} is no object"),
    }
}
