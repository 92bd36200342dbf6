//! A small network, made once: three offices, some records, and a member that lies.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use branchline_crdt::Replica;
use branchline_crdt::format::codec;
use branchline_crdt::format::pack;
use branchline_crdt::ids::{Author, Incarnation, RealmId, SiteKey};
use branchline_crdt::log::entry::Entry;
use branchline_crdt::log::fork::ForkProof;
use branchline_crdt::log::frontier::{Known, Predecessor};
use branchline_crdt::log::receipt::{Held, LogTag, Receipt};
use branchline_crdt::membership::{Admission, Genesis, Role, Ticket};
use branchline_crdt::protocol::{Gossip, Introduction};
use branchline_crdt::replica::{
    Identity, Input, LocalTransaction, Now, Opening, Output, RecordEdit, WriteError,
};
use branchline_crdt::store::memory::MemoryStore;
use branchline_crdt::store::tables::records::RecordKey;
use branchline_crdt::store::{ReadJournal, Store};
use serde_json::{Value, json};

use crate::messages::put;

/// What the harness works with.
pub(crate) struct Network {
    pub(crate) id: RealmId,
    pub(crate) genesis: Genesis,
    /// The key of the member that lies: a writer.
    pub(crate) liar: SiteKey,
    /// A ticket that nobody has used, and the admission of the liar by another.
    pub(crate) ticket: Ticket,
    pub(crate) admission: Admission,
    /// What head holds, and what north does.
    pub(crate) head: MemoryStore,
    pub(crate) north: MemoryStore,
    /// All entries, and the unpacked payloads of those with records.
    pub(crate) entries: Vec<Vec<u8>>,
    pub(crate) payloads: Vec<Vec<u8>>,
    pub(crate) receipt: Receipt,
    pub(crate) fork: ForkProof,
    pub(crate) frontier: Vec<Known>,
}

/// A moment this many ms after the beginning.
pub(crate) fn at(ms: u64) -> Now {
    Now { wall_ms: 1_767_225_600_000 + ms.cast_signed(), monotonic_ms: 1_000 + ms }
}

/// The network.
pub(crate) fn network() -> &'static Network {
    static NETWORK: OnceLock<Network> = OnceLock::new();
    NETWORK.get_or_init(make)
}

/// The key of an office by number: head, north, the liar.
pub(crate) fn key(number: u8) -> SiteKey {
    SiteKey::from_seed([number; 32])
}

/// Where a record is.
pub(crate) fn record(id: &str) -> RecordKey {
    let space = network().id.main_space();
    RecordKey { space, collection: "products".to_owned(), id: id.to_owned() }
}

/// An office's replica on what `store` holds.
pub(crate) fn open(number: u8, store: MemoryStore) -> Replica<MemoryStore> {
    let identity = Identity {
        key: key(number),
        name: format!("office {number}"),
        incarnation: Incarnation([number; 8]),
        seed: number.into(),
    };
    Replica::open(store, identity, Opening::with(None), at(0), &mut |_| ())
        .expect("a replica opens")
}

/// Writes one record and commits.
pub(crate) fn write(
    replica: &mut Replica<MemoryStore>,
    collection: &str,
    id: &str,
    fields: Value,
) -> Result<(), WriteError> {
    let (collection, id) = (collection.to_owned(), id.to_owned());
    let edits = vec![RecordEdit::new(collection, id, put(fields))];
    let transactions = vec![LocalTransaction { origin: None, edits }];
    replica
        .handle(Input::Write { id: u64::MAX, space: None, transactions }, at(10))
        .expect("the store works");
    assert!(replica.commit().expect("the store works"));
    while let Some(output) = replica.output() {
        if let Output::Written { id: u64::MAX, results } = output {
            return results.into_iter().next().expect("a result").map(|_| ());
        }
    }
    panic!("the write was not answered");
}

fn make() -> Network {
    let (head, north, liar) = (key(1), key(2), key(3));
    let founders = vec![(head.site(), "head".to_owned())];
    let genesis = Genesis { founders, time_ms: 0, nonce: [7; 16] };
    let id = genesis.network();
    let mut replica = open(1, MemoryStore::new());
    replica.found(genesis.clone());
    assert!(replica.commit().expect("the store works"));
    let mut admissions = Vec::new();
    for (number, key) in [(10, &north), (11, &liar)] {
        let secret = SiteKey::from_seed([number; 32]);
        let ticket = replica.invite(Role::Writer, i64::MAX, secret, Vec::new()).expect("a ticket");
        let admission = Admission::sign(&ticket, key.site(), &format!("office {number}"));
        admissions.push(admission.clone());
        let body = codec::encode(&Introduction::Ticket(Box::new(admission)));
        let input = Input::Introduction { from: key.site(), token: 1, body };
        replica.handle(input, at(1)).expect("the store works");
        assert!(replica.commit().expect("the store works"));
    }
    let ticket =
        replica.invite(Role::Writer, i64::MAX, key(12), vec!["/ip4/10.0.0.1/tcp/1".into()]);
    let schema = json!({"price": "decimal", "stock": "counter", "notes": "text", "tags": "list"});
    write(&mut replica, "_schema", "products", schema).expect("a schema");
    write(&mut replica, "products", "tea", tea()).expect("a record");
    write(&mut replica, "products", "rice", json!({"price": "1.10"})).expect("a record");
    let author = Author { site: liar.site(), incarnation: Incarnation([3; 8]) };
    let proof = [1_u8, 2].map(|byte| {
        let entry = Entry::decode(&forge::first(id, &liar, &[0, byte])).expect("an entry");
        (entry.header, entry.signature)
    });
    let [one, other] = proof;
    let store = replica.into_store();
    let entries: Vec<Vec<u8>> = journal(&store);
    let space = id.main_space();
    let held =
        Held { log_count: 1, logs: BTreeMap::from([(LogTag::of(&author), 3)]), ..Held::default() };
    Network {
        genesis,
        ticket: ticket.expect("a ticket"),
        admission: admissions.pop().expect("an admission"),
        payloads: entries.iter().map(|entry| payload(entry)).collect(),
        receipt: Receipt::sign(id, space, 1, held, 5, &liar),
        fork: ForkProof::new(one, other).expect("a fork"),
        frontier: vec![Known {
            author,
            seq: 3,
            check: [1; 8],
            predecessors: vec![Predecessor {
                incarnation: Incarnation([2; 8]),
                seq: 9,
                check: [3; 8],
            }],
        }],
        north: catch_up(&entries, &store),
        head: store,
        entries,
        id,
        liar,
    }
}

fn tea() -> Value {
    json!({
        "name": "Tea", "price": "2.50", "stock": 5, "notes": "green", "tags": ["a", {"b": 1}],
        "origin": {"land": "IN", "height": 1.5}, "open": true, "none": null,
    })
}

/// The entries that a store holds.
pub(crate) fn journal(store: &MemoryStore) -> Vec<Vec<u8>> {
    let frames = store.scan_journal(None, usize::MAX).expect("the store works");
    let frames = frames.into_iter().map(|(_, frame)| frame);
    // A frame is one byte for its kind, 1 for an entry, then its content.
    frames.filter(|frame| frame[0] == 1).map(|frame| frame[1..].to_vec()).collect()
}

fn payload(entry: &[u8]) -> Vec<u8> {
    let body = Entry::decode(entry).expect("an entry").body().expect("a payload");
    codec::encode(&body)
}

/// A store that holds what head holds: its genesis, then its entries by gossip.
fn catch_up(entries: &[Vec<u8>], head: &MemoryStore) -> MemoryStore {
    let genesis = head.read(branchline_crdt::store::Position(0)).expect("the first frame");
    let mut store = MemoryStore::new();
    store.append(&[genesis.as_slice()]).expect("the store works");
    let mut replica = open(2, store);
    for entry in entries {
        let data = codec::encode(&Gossip::Entry(entry.clone()));
        let input = Input::Gossip { from: key(1).site(), token: 1, data };
        replica.handle(input, at(2)).expect("the store works");
        assert!(replica.commit().expect("the store works"));
    }
    let store = replica.into_store();
    assert_eq!(journal(&store), entries, "north holds what head holds");
    store
}

/// Entries as a member may sign them, whatever their payload.
pub(crate) mod forge {
    use branchline_crdt::ids::EntryHash;
    use branchline_crdt::log::entry::{Header, PayloadInfo};
    use serde_bytes::ByteBuf;

    use super::{Author, Incarnation, RealmId, SiteKey, codec, pack};

    /// The header of the first entry of the liar's log in the main space, without a past.
    pub(crate) fn header(network: RealmId, key: &SiteKey) -> Header {
        Header {
            realm: network,
            space: network.main_space(),
            author: Author { site: key.site(), incarnation: Incarnation([3; 8]) },
            seq: 1,
            previous: EntryHash::NONE,
            past: Vec::new(),
            membership_past: Vec::new(),
            time_ms: 0,
            payload: PayloadInfo { format: 1, hash: [0; 32], bytes: 0 },
        }
    }

    /// The bytes of an entry with this header, whose payload is `packed`.
    pub(crate) fn sign(mut header: Header, key: &SiteKey, packed: &[u8]) -> Vec<u8> {
        let format = header.payload.format;
        let bytes = u32::try_from(packed.len()).expect("a short payload");
        header.payload = PayloadInfo { format, hash: *blake3::hash(packed).as_bytes(), bytes };
        let header = codec::encode(&header);
        let signature = key.sign(&blake3::derive_key("branchline 1 entry header", &header));
        codec::encode(&(1_u8, ByteBuf::from(header), signature, ByteBuf::from(packed)))
    }

    /// The first entry of a log.
    pub(crate) fn first(network: RealmId, key: &SiteKey, packed: &[u8]) -> Vec<u8> {
        sign(header(network, key), key, packed)
    }

    /// Packs and signs as the first entry of a log.
    #[allow(dead_code)]
    pub(crate) fn packed(network: RealmId, key: &SiteKey, payload: &[u8]) -> Vec<u8> {
        first(network, key, &pack::pack(payload))
    }
}
