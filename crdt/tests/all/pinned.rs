//! Bytes that other programs read: on the wire, in the journal, in the tables. Each line of a table here is a sample's name,
//! its first six bytes, how many it has, and the beginning of their hash. An entry's own bytes are pinned in `log/entry`.

use std::collections::BTreeMap;

use branchline_crdt::format::codec;
use branchline_crdt::ids::{Author, EntryHash, Incarnation, RealmId, SiteId, SiteKey, SpaceId};
use branchline_crdt::log::entry::{Body, Draft, Entry, EntryId, Origin, Tip};
use branchline_crdt::log::fork::ForkProof;
use branchline_crdt::log::frontier::{Known, PartDigests, Predecessor};
use branchline_crdt::log::receipt::{Held, LogTag, Receipt};
use branchline_crdt::membership::{
    Admission, Cut, FormerKey, Genesis, Grant, OpenTicket, Operation, Revocation, Role, RoleChange,
    Rotation, SpaceDocument, Ticket, Vouch,
};
use branchline_crdt::protocol::{
    Answer, Gossip, Have, Introduction, Invitation, Outcome, Pull, Request, Welcome,
};
use branchline_crdt::record::{Field, Kind};
use branchline_crdt::store::Position;
use branchline_crdt::store::tables::indexes::{self, IndexRow, IndexState};
use branchline_crdt::store::tables::logs::{self, ActorRow, EntryRow, EntryStatus, LogRow};
use branchline_crdt::store::tables::records::{
    self, AlteredRow, ChangeAt, Changes, CollectionRow, RecordKey, RecordRow,
};
use serde::Serialize;

const REALM: RealmId = RealmId([1; 32]);
const SPACE: SpaceId = SpaceId([2; 16]);
const HASH: EntryHash = EntryHash([3; 32]);

fn key(number: u8) -> SiteKey {
    SiteKey::from_seed([number; 32])
}

fn author() -> Author {
    Author { site: key(1).site(), incarnation: Incarnation([4; 8]) }
}

fn tip() -> Tip {
    Tip { author: author(), seq: 5, hash: HASH }
}

fn line(name: &str, bytes: &[u8]) -> String {
    let first: String = bytes.iter().take(6).map(|byte| format!("{byte:02x}")).collect();
    let hash = blake3::hash(bytes).to_hex();
    format!("{name} {first} {} {}", bytes.len(), &hash[..8])
}

fn sample(name: &str, value: &impl Serialize) -> String {
    line(name, &codec::encode(value))
}

/// Fails with all lines as they are now, where any is another one.
fn pinned(found: &[String], expected: &str, meaning: &str) {
    let expected: Vec<&str> = expected.lines().map(str::trim).filter(|it| !it.is_empty()).collect();
    assert!(found == expected, "{meaning}. They are now:\n{}", found.join("\n"));
}

fn entry(body: &Body) -> Entry {
    let draft = Draft {
        realm: REALM,
        space: REALM.main_space(),
        author: author(),
        seq: 1,
        previous: EntryHash::NONE,
        past: vec![Tip { author: Author { site: SiteId([9; 32]), ..author() }, ..tip() }],
        membership_past: Vec::new(),
        time_ms: 6,
    };
    draft.sign(body, &key(1))
}

fn fork() -> ForkProof {
    let entries = [entry(&Body::Transactions(Vec::new())), entry(&Body::Membership(Vec::new()))];
    let [one, other] = entries.map(|entry| (entry.header, entry.signature));
    ForkProof::new(one, other).unwrap()
}

fn receipt() -> Receipt {
    let logs = BTreeMap::from([(LogTag::of(&author()), 300)]);
    let held = Held { frontier: [7; 16], log_count: 2, logs };
    Receipt::sign(REALM, SPACE, 8, held, 9, &key(1))
}

fn genesis() -> Genesis {
    Genesis { founders: vec![(key(1).site(), "head".to_owned())], time_ms: 10, nonce: [11; 16] }
}

fn document() -> SpaceDocument {
    let name = "buyers".to_owned();
    SpaceDocument { network: REALM, name, creator: key(1).site(), time_ms: 12, nonce: [13; 16] }
}

fn cut() -> Cut {
    Cut::new([((SPACE, Incarnation([14; 8])), 15)])
}

fn grant() -> Grant {
    Grant::sign(REALM, key(2).site(), Role::Writer, 16, &key(1))
}

fn admission() -> Admission {
    let (inviter, addresses) = (key(1).site(), Vec::new());
    let ticket = Ticket { grant: grant(), secret: key(2), inviter, addresses };
    Admission::sign(&ticket, key(3).site(), "north")
}

fn revocation() -> Revocation {
    Revocation::sign(REALM, key(3).site(), cut(), &key(1))
}

fn former_key() -> FormerKey {
    FormerKey::sign(REALM, &key(3), key(4).site())
}

#[test]
fn the_messages_are_pinned() {
    let known = Known {
        predecessors: vec![Predecessor {
            incarnation: Incarnation([17; 8]),
            seq: 18,
            check: [19; 8],
        }],
        ..Known::of(tip())
    };
    let asks = |name, have| {
        let pull = Pull { space: SPACE, have, receipts: [20; 8], shared: [21; 8], bytes_max: 4096 };
        sample(name, &Request::Pull(pull))
    };
    let after = Some(Position(300));
    let frontier = Have::Frontier { parts: None, known: vec![known.clone()], after };
    let answers = |name, outcome| sample(name, &Answer::of(outcome));
    let digests = PartDigests { salt: [22; 8], digests: vec![[23; 8]] };
    let entries =
        Outcome::Entries { packed: vec![24; 3], until: vec![known], at: Some(Position(301)) };
    let full = Answer {
        receipts: vec![receipt()],
        forks: vec![fork()],
        invitations: vec![Invitation { document: document(), entries: vec![25; 3] }],
        ..Answer::of(Outcome::UpToDate)
    };
    let admission = Introduction::Ticket(Box::new(admission()));
    let shown = Introduction::Entries { network: REALM, packed: vec![26; 3] };
    let found = [
        asks("pull/digest", Have::Digest([27; 16])),
        asks("pull/frontier", frontier),
        asks("pull/lost", Have::Lost(vec![(author(), 28)])),
        sample("notify", &Request::Notify(Gossip::Hint(SPACE))),
        answers("answer/up-to-date", Outcome::UpToDate),
        answers("answer/send-frontier", Outcome::SendFrontier(digests)),
        answers("answer/entries", entries),
        answers("answer/unknown-space", Outcome::UnknownSpace),
        answers("answer/revoked", Outcome::Revoked(Box::new(revocation()))),
        sample("answer/full", &full),
        sample("gossip/entry", &Gossip::Entry(vec![29; 3])),
        sample("gossip/entries", &Gossip::Entries(vec![30; 3])),
        sample("gossip/announce", &Gossip::Announce { space: SPACE, tip: tip() }),
        sample("gossip/receipt", &Gossip::Receipt(receipt())),
        sample("gossip/news", &Gossip::Hint(SPACE)),
        sample("introduction/ticket", &admission),
        sample("introduction/entries", &shown),
        sample("introduction/former-keys", &Introduction::FormerKeys(vec![former_key()])),
        sample("welcome/member", &Welcome::Member { genesis: genesis(), entries: vec![31; 3] }),
        sample("welcome/refused", &Welcome::Refused("no".to_owned())),
        sample("welcome/revoked", &Welcome::Revoked(Box::new(revocation()))),
        sample("welcome/former-keys", &Welcome::FormerKeys(vec![former_key()])),
    ];
    let expected = "
        pull/digest 000202020202 53 a9685e30
        pull/frontier 000202020202 110 a2b003f3
        pull/lost 000202020202 79 12efbda5
        notify 010402020202 18 03e9d63e
        answer/up-to-date 00000000 4 ec2bd03b
        answer/send-frontier 011616161616 21 c1bb2c27
        answer/entries 020318181801 80 e2ec8a59
        answer/unknown-space 03000000 4 beb202fa
        answer/revoked 040101010101 191 38a87e1b
        answer/full 000101010101 862 bd10c481
        gossip/entry 00031d1d1d 5 faaa20da
        gossip/entries 01031e1e1e 5 569b46dd
        gossip/announce 020202020202 90 2922532e
        gossip/receipt 030101010101 175 a35b172e
        gossip/news 040202020202 17 41ba0963
        introduction/ticket 000101010101 267 c49e9aad
        introduction/entries 010101010101 37 93c6a33e
        introduction/former-keys 0201ed4928c6 99 f71be55e
        welcome/member 00018a88e3dd 60 472dd85b
        welcome/refused 01026e6f 4 810cf02a
        welcome/revoked 020101010101 188 0b7a0d20
        welcome/former-keys 0301ed4928c6 99 f605eff9
    ";
    pinned(&found, expected, "other bytes need another name of the protocol");
}

#[test]
fn the_operations_are_pinned() {
    let (site, name) = (key(3).site(), "south".to_owned());
    let to = key(4);
    let rotation = Rotation {
        from: site,
        to: to.site(),
        held: cut(),
        consent: Rotation::consent(REALM, site, &to),
        word: former_key().word,
    };
    let ticket = OpenTicket { grant: grant(), places: 3, note: "shop".to_owned() };
    let said = |name, operation| sample(name, &Body::Membership(vec![operation]));
    let found = [
        said("admit", Operation::Admit(admission())),
        said("revoke", Operation::Revoke(revocation())),
        said(
            "change-role",
            Operation::ChangeRole(RoleChange { site, role: Role::Reader, held: cut() }),
        ),
        said("rename", Operation::Rename { site, name }),
        said("vouch", Operation::Vouch(Vouch { site, held: cut() })),
        said("rotate", Operation::Rotate(rotation)),
        said("invite", Operation::Invite(ticket)),
        said("withdraw", Operation::Withdraw { ticket: key(2).site() }),
        sample("genesis", &genesis()),
        sample("space", &document()),
        sample("fork", &fork()),
    ];
    let expected = "
        admit 010100010101 269 8a0c83b5
        revoke 010101010101 190 496f8961
        change-role 010102ed4928 62 36a23ec5
        rename 010103ed4928 41 1ad28b99
        vouch 010104ed4928 61 7c97fc93
        rotate 010105ed4928 223 e492cbb7
        invite 010106010101 172 371ad785
        withdraw 010107813977 35 746497bb
        genesis 018a88e3dd74 55 46920647
        space 010101010101 88 e8466e5d
        fork 010101010101 592 b25a3777
    ";
    pinned(&found, expected, "journals hold these bytes, and every later program has to read them");
}

/// A row as it lies in the tables: its key, then its value.
fn row(key: &[u8], value: &[u8]) -> String {
    let letter = char::from(key[0]).to_string();
    line(&letter, &[key, value].concat())
}

fn coded(key: &[u8], value: &impl Serialize) -> String {
    row(key, &codec::encode(value))
}

#[test]
fn the_rows_are_pinned() {
    let record =
        RecordKey { space: SPACE, collection: "products".to_owned(), id: "tea".to_owned() };
    let at = ChangeAt { position: 32, index: 33 };
    let changes = Changes { rows: 1, last: vec![at] };
    let field = Field { path: "price".to_owned(), kind: Some(Kind::Decimal) };
    let state = IndexState::Building { after: Some(vec![34]), records: 35 };
    let origin = |source: &str| Origin { source: source.to_owned(), number: 36 };
    let id = EntryId { author: author(), seq: 37 };
    let log =
        LogRow { seq: 38, hash: HASH, applied: 39, applied_hash: HASH, predecessor: Some(tip()) };
    let (site, reason) = (key(1).site(), "a reason".to_owned());
    let signed = fork().lower;
    let held = EntryRow { position: 40, hash: HASH, status: EntryStatus::Held };
    let found = [
        coded(&logs::actor(&[41; 16]), &ActorRow { author: author() }),
        row(&logs::membership_entry(SPACE, author(), 53), &[54; 3]),
        coded(
            &records::collection(SPACE, "products"),
            &CollectionRow { live: 42, deleted: 43, ..CollectionRow::default() },
        ),
        row(
            &record.record(),
            &RecordRow { changes, live: &[44; 3], first: Some(&[45; 3]) }.encode(),
        ),
        coded(&logs::entry(SPACE, author(), 46), &held),
        coded(&logs::fork(SPACE, author(), &HASH), &signed),
        coded(logs::GENESIS, &genesis()),
        coded(&record.changes(47), &vec![at]),
        row(&indexes::entry(SPACE, "products", &field, "tea", &BTreeMap::new()), &[]),
        coded(&indexes::index(SPACE, "products", "price"), &IndexRow::new(&field, state)),
        coded(&record.altered(), &AlteredRow { count: 48, first: at }),
        coded(&logs::log(SPACE, author()), &log),
        coded(&records::origin(SPACE, site, &origin("document:1")), &id),
        coded(&logs::named(SPACE, SpaceId([49; 16]), author()), &50_u64),
        coded(&records::origin(SPACE, site, &origin("till")), &id),
        coded(logs::VERSIONS, &(12_u32, 1_u8)),
        coded(&logs::receipt(SPACE, site), &receipt()),
        coded(&logs::space(REALM), &document()),
        coded(&logs::revocation_notice(REALM), &site),
        coded(&record.unreadable(), &reason),
        coded(&logs::void_reason(SPACE, author(), 51), &reason),
        row(&logs::void_change(&[52; 32]), &[]),
        row(&record.conflict(), &[]),
        row(&record.hidden(), &[]),
    ];
    let expected = "
        a 612929292929 57 c9bced9c
        b 620202020202 68 86fee4ad
        c 630202020202 59 1cc52189
        d 640202020202 42 b5632d1e
        e 650202020202 99 2f29c3cd
        f 660202020202 385 bdd7c793
        g 67018a88e3dd 56 ff9001d8
        h 680202020202 36 82eb4b32
        i 690202020202 36 9017cc9d
        j 6a0202020202 45 470b7af5
        k 6b0202020202 32 8f7a22f0
        l 6c0202020202 197 b09e659a
        m 6d0202020202 76 676eddf3
        n 6e0202020202 74 67e7de8f
        o 6f0202020202 102 a2114203
        p 700c01 3 5fb4a30d
        r 720202020202 223 eced9c74
        s 730101010101 121 6442c7ad
        t 740101010101 65 1a4bfb9b
        u 750202020202 38 56f8c8a2
        v 760202020202 74 d989c4fc
        w 773434343434 33 b49e0902
        x 780202020202 29 6b508eec
        y 790202020202 29 eb7b1c47
    ";
    pinned(&found, expected, "other bytes need a higher FORMAT in store/tables/mod.rs");
}
