//! What one more membership operation costs, where thousands are known: `cargo bench -p branchline-crdt --bench membership`.
//!
//! A network of 1,000 sites, of which one reader has written 50,000 operations that it may write. Time is that of one
//! operation more, behind all others, with the check of its signatures.

#![allow(missing_docs, clippy::unwrap_used, clippy::panic)]

use std::time::{Duration, Instant};

use branchline_crdt::ids::{Author, EntryHash, Incarnation, RealmId, SiteId, SiteKey};
use branchline_crdt::log::entry::{Body, Draft, Entry, Tip};
use branchline_crdt::membership::{
    Admission, Cut, Genesis, Members, Operation, Revocation, Role, RoleChange, Ticket, Vouch,
};

const SITES: u32 = 1_000;
const FLOOD: u32 = 50_000;
/// Operations that are measured, of each kind.
const COUNT: u32 = 100;

fn key(site: u32) -> SiteKey {
    let mut seed = [7; 32];
    seed[..4].copy_from_slice(&site.to_be_bytes());
    SiteKey::from_seed(seed)
}

/// A site that writes into the membership space.
struct Writer {
    key: SiteKey,
    tip: Option<Tip>,
}

impl Writer {
    fn new(site: u32) -> Self {
        Self { key: key(site), tip: None }
    }

    fn write(&mut self, realm: RealmId, past: &[Tip], operation: Operation) -> Said {
        let author = Author { site: self.key.site(), incarnation: Incarnation([1; 8]) };
        let draft = Draft {
            realm,
            space: realm.membership_space(),
            author,
            seq: self.tip.map_or(1, |tip| tip.seq + 1),
            previous: self.tip.map_or(EntryHash::NONE, |tip| tip.hash),
            past: past.to_vec(),
            membership_past: Vec::new(),
            time_ms: 0,
        };
        let operations = vec![operation];
        let entry = draft.sign(&Body::Membership(operations.clone()), &self.key);
        self.tip = Some(entry.tip());
        (entry, operations)
    }
}

type Said = (Entry, Vec<Operation>);
/// What a reader says, by number.
type Saying = fn(RealmId, u32) -> Operation;

/// A network, its first admin, and a reader of it.
struct Network {
    realm: RealmId,
    members: Members,
    head: Writer,
    reader: Writer,
    next: u32,
}

fn site(number: u32) -> SiteId {
    key(number).site()
}

fn admission(realm: RealmId, number: u32) -> Operation {
    let secret = key(1_000_000 + number);
    let grant =
        branchline_crdt::membership::Grant::sign(realm, secret.site(), Role::Reader, 0, &key(0));
    let ticket = Ticket { grant, secret, inviter: site(0), addresses: Vec::new() };
    Operation::Admit(Admission::sign(&ticket, site(number), &format!("office of site {number}")))
}

impl Network {
    /// The flood: what the reader says, by number.
    fn new(flood: u32, said: Saying) -> Self {
        let founders = vec![(site(0), "head".to_owned())];
        let genesis = Genesis { founders, time_ms: 0, nonce: [1; 16] };
        let realm = genesis.network();
        let members = Members::new(realm, Some(genesis));
        let (head, reader) = (Writer::new(0), Writer::new(1));
        let mut network = Self { realm, members, head, reader, next: SITES };
        let admitted: Vec<_> = (1..SITES)
            .map(|number| network.head.write(realm, &[], admission(realm, number)))
            .collect();
        network.take(admitted);
        let past: Vec<Tip> = network.head.tip.into_iter().collect();
        let flood: Vec<_> = (0..flood)
            .map(|number| {
                let past = if number == 0 { &past[..] } else { &[] };
                network.reader.write(realm, past, said(realm, number))
            })
            .collect();
        network.take(flood);
        // Head has heard of it all.
        let past: Vec<Tip> = network.reader.tip.into_iter().collect();
        let name = "head".to_owned();
        let said = network.head.write(realm, &past, Operation::Rename { site: site(0), name });
        network.take(vec![said]);
        network
    }

    fn take(&mut self, said: Vec<Said>) {
        self.members.extend(said.iter().map(|(entry, operations)| (entry, operations.clone())));
    }
}

fn rename(_: RealmId, number: u32) -> Operation {
    Operation::Rename { site: site(1), name: format!("reader {number}") }
}

fn rename_another(_: RealmId, number: u32) -> Operation {
    Operation::Rename { site: site(0), name: format!("head {number}") }
}

fn vouch(realm: RealmId, number: u32) -> Operation {
    let log = (realm.main_space(), Incarnation([1; 8]));
    Operation::Vouch(Vouch { site: site(2), held: Cut::new([(log, u64::from(number) + 1)]) })
}

/// Runs what is named, so many times, and prints what one took.
fn measure(network: &mut Network, what: &str, mut said: impl FnMut(&mut Network) -> Said) {
    let mut times: Vec<Duration> = (0..COUNT)
        .map(|_| {
            network.next += 1;
            let (entry, operations) = said(network);
            let started = Instant::now();
            network.members.extend([(&entry, operations)]);
            started.elapsed()
        })
        .collect();
    times.sort();
    let (median, longest) = (times[times.len() / 2], times[times.len() - 1]);
    println!("  {what:<28} median {median:>10.1?}  longest {longest:>10.1?}");
}

fn main() {
    // Vouches beyond some thousand once took more memory than a machine has.
    let floods: [(&str, u32, Saying); 3] = [
        ("its own name", FLOOD, rename),
        ("another's name", FLOOD, rename_another),
        ("vouches for a member", FLOOD / 25, vouch),
    ];
    for (flood, count, said) in floods {
        println!("a reader has said {count} times: {flood}");
        let network = &mut Network::new(count, said);
        measure(network, "once more", |network| {
            network.reader.write(network.realm, &[], said(network.realm, network.next))
        });
        measure(network, "a new site", |network| {
            network.head.write(network.realm, &[], admission(network.realm, network.next))
        });
        measure(network, "another role", |network| {
            let (site, role) = (site(network.next - COUNT), Role::Writer);
            let operation = Operation::ChangeRole(RoleChange { site, role, held: Cut::default() });
            network.head.write(network.realm, &[], operation)
        });
        measure(network, "a revocation", |network| {
            let gone = site(network.next - 2 * COUNT);
            let word = Revocation::sign(network.realm, gone, Cut::default(), &key(0));
            network.head.write(network.realm, &[], Operation::Revoke(word))
        });
    }
}
