//! What comes in one piece: entries, their payloads, the messages of the protocols, tickets, rows.

use std::fmt::Debug;
use std::str::FromStr;

use branchline_crdt::format::codec;
use branchline_crdt::format::pack::{self, UnpackError};
use branchline_crdt::ids::SiteId;
use branchline_crdt::log::entry::{Body, Entry, EntryId};
use branchline_crdt::log::fork::{ForkProof, SignedHeader};
use branchline_crdt::log::frontier::PartDigests;
use branchline_crdt::log::receipt::Receipt;
use branchline_crdt::membership::{
    Cut, FormerKey, Genesis, Revocation, Role, SpaceDocument, Ticket,
};
use branchline_crdt::protocol::{
    Answer, Gossip, Have, Introduction, Invitation, Outcome, Pull, Request, Welcome, pack_entries,
    unpack_entries,
};
use branchline_crdt::record::{Edit, Field, FieldNames, Kind, View};
use branchline_crdt::store::Position;
use branchline_crdt::store::tables::indexes::{IndexRow, IndexState};
use branchline_crdt::store::tables::logs::{ActorRow, EntryRow, EntryStatus, LogRow, Versions};
use branchline_crdt::store::tables::records::{
    AlteredRow, ChangeAt, Changes, CollectionRow, RecordRow,
};
use branchline_crdt::store::tables::{ReadTables, decode_row};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::network::{Network, forge, network, record};
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

/// The messages that sites send each other, and what these hold.
#[derive(Clone, Copy)]
pub(crate) enum Message {
    Request,
    Answer,
    Gossip,
    Introduction,
    Welcome,
    Receipt,
    Genesis,
    Fork,
}

impl Message {
    const ALL: [Self; 8] = [
        Self::Request,
        Self::Answer,
        Self::Gossip,
        Self::Introduction,
        Self::Welcome,
        Self::Receipt,
        Self::Genesis,
        Self::Fork,
    ];
}

/// A message; the first byte of the input says which.
fn messages(input: &[u8]) {
    let Some((message, bytes)) = input.split_first() else { return };
    match Message::ALL[usize::from(*message) % Message::ALL.len()] {
        Message::Request => comes_back::<Request>("request", bytes),
        Message::Answer => comes_back::<Answer>("answer", bytes),
        Message::Gossip => comes_back::<Gossip>("gossip", bytes),
        Message::Introduction => comes_back::<Introduction>("introduction", bytes),
        Message::Welcome => comes_back::<Welcome>("welcome", bytes),
        Message::Receipt => comes_back::<Receipt>("receipt", bytes),
        Message::Genesis => comes_back::<Genesis>("genesis", bytes),
        Message::Fork => {
            comes_back::<ForkProof>("fork", bytes);
            if let Ok(fork) = codec::decode::<ForkProof>("fork", bytes) {
                let _ = ForkProof::new(fork.lower, fork.higher);
            }
        }
    }
}

fn message_seeds() -> Vec<Vec<u8>> {
    let seeds = every_message();
    seeds
        .into_iter()
        .map(|(message, bytes)| [&[message as u8], bytes.as_slice()].concat())
        .collect()
}

/// Messages of every kind; the test below holds that none is left out.
pub(crate) fn every_message() -> Vec<(Message, Vec<u8>)> {
    let Network { id, genesis, liar, entries, receipt, fork, admission, frontier, .. } = network();
    let all = all_entries();
    let space = id.main_space();
    let pull =
        |have| Request::Pull(Pull { space, have, receipts: [7; 8], shared: [6; 8], bytes_max: 9 });
    let packed = pack_entries(&all);
    let document = document();
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
    let revocation = Box::new(Revocation::sign(*id, liar.site(), Cut::default(), liar));
    let seeds = [
        (Message::Request, codec::encode(&pull(frontier_of(Some(Position(300)))))),
        (Message::Request, codec::encode(&pull(Have::Digest([3; 16])))),
        (Message::Request, codec::encode(&pull(frontier_of(None)))),
        (Message::Request, codec::encode(&pull(Have::Lost(vec![(frontier[0].author, 3)])))),
        (Message::Request, codec::encode(&Request::Notify(Gossip::Hint(space)))),
        (Message::Request, codec::encode(&Request::Notify(Gossip::Entry(entries[0].clone())))),
        (Message::Answer, codec::encode(&answer(Outcome::UpToDate))),
        (Message::Answer, codec::encode(&answer(Outcome::SendFrontier(digests)))),
        (Message::Answer, codec::encode(&answer(Outcome::UnknownSpace))),
        (Message::Answer, codec::encode(&answer(Outcome::Revoked(revocation.clone())))),
        (
            Message::Answer,
            codec::encode(&answer(Outcome::Entries {
                packed: packed.clone(),
                until: frontier.clone(),
                at: Some(Position(300)),
            })),
        ),
        (Message::Gossip, codec::encode(&Gossip::Entry(entries[0].clone()))),
        (Message::Gossip, codec::encode(&Gossip::Entries(packed.clone()))),
        (Message::Gossip, codec::encode(&Gossip::Announce { space, tip })),
        (Message::Gossip, codec::encode(&Gossip::Receipt(receipt.clone()))),
        (Message::Gossip, codec::encode(&Gossip::Hint(space))),
        (Message::Introduction, codec::encode(&Introduction::Ticket(Box::new(admission.clone())))),
        (
            Message::Introduction,
            codec::encode(&Introduction::Entries { network: *id, packed: packed.clone() }),
        ),
        (Message::Introduction, codec::encode(&Introduction::FormerKeys(keys.clone()))),
        (
            Message::Welcome,
            codec::encode(&Welcome::Member { genesis: genesis.clone(), entries: packed }),
        ),
        (Message::Welcome, codec::encode(&Welcome::Refused("no".to_owned()))),
        (Message::Welcome, codec::encode(&Welcome::Revoked(revocation))),
        (Message::Welcome, codec::encode(&Welcome::FormerKeys(keys))),
        (Message::Receipt, codec::encode(receipt)),
        (Message::Genesis, codec::encode(genesis)),
        (Message::Fork, codec::encode(fork)),
    ];
    seeds.into()
}

fn document() -> SpaceDocument {
    let Network { id, receipt, .. } = network();
    let (name, creator) = ("north".to_owned(), receipt.site);
    SpaceDocument { network: *id, name, creator, time_ms: 5, nonce: [8; 16] }
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

/// A kind of row: how its value is read, and a value.
type RowKind = (fn(&[u8]), fn() -> Vec<u8>);

/// The kinds of rows whose values have a layout, in the order of `crdt/src/store/tables/mod.rs`.
const ROW_KINDS: [RowKind; 18] = [
    (row::<ActorRow>, || codec::encode(&ActorRow { author: entry_of_network().header.author })),
    (row::<CollectionRow>, || {
        codec::encode(&CollectionRow { live: 3, deleted: 1, ..Default::default() })
    }),
    (record_row, || record_of(None)),
    (record_row, || record_of(Some(&[7; 9]))),
    (row::<EntryRow>, || {
        let hash = entry_of_network().hash;
        codec::encode(&EntryRow { position: 9, hash, status: EntryStatus::Applied })
    }),
    (row::<SignedHeader>, || codec::encode(&network().fork.lower)),
    (row::<Genesis>, || codec::encode(&network().genesis)),
    (row::<Vec<ChangeAt>>, || codec::encode(&vec![AT; 3])),
    (row::<IndexRow>, || {
        let index = Field { path: "price".to_owned(), kind: Some(Kind::Decimal) };
        let building = IndexState::Building { after: Some(b"tea".to_vec()), records: 3 };
        codec::encode(&IndexRow::new(&index, building))
    }),
    (row::<AlteredRow>, || codec::encode(&AlteredRow { count: 2, first: AT })),
    (row::<LogRow>, || {
        let entry = entry_of_network();
        let (seq, hash, predecessor) = (entry.header.seq, entry.hash, Some(entry.tip()));
        codec::encode(&LogRow { seq, hash, applied: 1, applied_hash: hash, predecessor })
    }),
    (row::<EntryId>, || codec::encode(&entry_of_network().id())),
    (row::<u64>, || codec::encode(&300_u64)),
    (row::<Versions>, || codec::encode(&(12_u32, 1_u8))),
    (row::<Receipt>, || codec::encode(&network().receipt)),
    (row::<SpaceDocument>, || codec::encode(&document())),
    (row::<SiteId>, || codec::encode(&network().receipt.site)),
    (row::<String>, || codec::encode(&"a reason".to_owned())),
];

const AT: ChangeAt = ChangeAt { position: 9, index: 300 };

fn entry_of_network() -> Entry {
    Entry::decode(&network().entries[0]).expect("an entry")
}

/// The row of the record that the network has, wherever its journal has the change.
fn record_of(first: Option<&[u8]>) -> Vec<u8> {
    let row = network().head.get(&record("tea").record()).expect("the store works");
    let row = row.expect("a record");
    let row = RecordRow::decode(&row).expect("a row");
    let changes = Changes { rows: 1, last: vec![AT] };
    RecordRow { changes, first: first.or(row.first), ..row }.encode()
}

/// A row of the tables; the first byte of the input says which.
fn rows(input: &[u8]) {
    let Some((kind, bytes)) = input.split_first() else { return };
    let (read, _) = ROW_KINDS[usize::from(*kind) % ROW_KINDS.len()];
    read(bytes);
}

fn row_seeds() -> Vec<Vec<u8>> {
    let seeds =
        (0..).zip(ROW_KINDS).map(|(kind, (_, seed)): (u8, RowKind)| [vec![kind], seed()].concat());
    seeds.collect()
}

/// The row of a record, and whatever is read of it.
fn record_row(bytes: &[u8]) {
    let Ok(row) = RecordRow::decode(bytes) else { return };
    assert_eq!(RecordRow::decode(&row.encode()).ok().as_ref(), Some(&row));
    let names = FieldNames::from_iter(["price"]);
    let _ = (row.document().is_ok(), row.whole_view().is_ok(), row.fields(&names).is_ok());
    if let Ok(view) = row.view() {
        comes_back::<View>("view", &codec::encode(&view));
    }
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

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use branchline_crdt::membership::Operation;

    use super::*;

    /// How many variants an enum has, as the decoder says that finds another number.
    fn variants<T: DeserializeOwned>() -> usize {
        let Err(error) = codec::decode::<T>("enum", &[250]) else { panic!("250 is a variant") };
        let text = error.to_string();
        let count = text.rsplit("0 <= i < ").next().unwrap_or_default();
        let count = count.trim_end_matches(|it: char| !it.is_ascii_digit());
        count.parse().unwrap_or_else(|_| panic!("{text}"))
    }

    fn all_are_drawn<T: DeserializeOwned>(what: &str, numbers: impl Iterator<Item = u8>) {
        let drawn: BTreeSet<usize> = numbers.map(usize::from).collect();
        let all: BTreeSet<usize> = (0..variants::<T>()).collect();
        assert_eq!(drawn, all, "the variants of {what} that are drawn");
    }

    #[test]
    fn every_variant_of_a_message_is_among_the_seeds() {
        let of = |wanted: Message| {
            let all = every_message().into_iter();
            all.filter(move |(message, _)| *message as u8 == wanted as u8).map(|(_, bytes)| bytes)
        };
        all_are_drawn::<Request>("Request", of(Message::Request).map(|bytes| bytes[0]));
        all_are_drawn::<Outcome>("Outcome", of(Message::Answer).map(|bytes| bytes[0]));
        all_are_drawn::<Gossip>("Gossip", of(Message::Gossip).map(|bytes| bytes[0]));
        all_are_drawn::<Introduction>("Introduction", of(Message::Introduction).map(|it| it[0]));
        all_are_drawn::<Welcome>("Welcome", of(Message::Welcome).map(|bytes| bytes[0]));
        let have = |bytes: Vec<u8>| match codec::decode("request", &bytes) {
            Ok(Request::Pull(pull)) => Some(codec::encode(&pull.have)[0]),
            Ok(Request::Notify(_)) | Err(_) => None,
        };
        all_are_drawn::<Have>("Have", of(Message::Request).filter_map(have));
    }

    #[test]
    fn every_membership_operation_is_drawn() {
        let mut drawn = Vec::new();
        for seed in 0..=255_u8 {
            let bytes: Vec<u8> =
                (0..400).map(|at| seed.wrapping_mul(31).wrapping_add(at as u8)).collect();
            let mut input = arbitrary::Unstructured::new(&bytes);
            let operations = crate::membership::operations(&mut input).unwrap_or_default();
            drawn.extend(operations.iter().map(|operation| codec::encode(operation)[0]));
        }
        all_are_drawn::<Operation>("Operation", drawn.into_iter());
    }
}
