//! A member that lies, with a real key; and a stranger that knocks.

use branchline_crdt::format::codec;
use branchline_crdt::format::pack;
use branchline_crdt::ids::{Author, EntryHash, Incarnation, RealmId, SiteId, SiteKey};
use branchline_crdt::log::entry::{
    Body, Draft, Entry, Header, PAYLOAD_FORMAT, PayloadInfo, RecordWrite, Transaction,
};
use branchline_crdt::membership::{Cut, FormerKey, Operation, Revocation, Role, RoleChange, Vouch};
use branchline_crdt::protocol::{
    Answer, Gossip, Have, Introduction, Outcome, Pull, Request, pack_entries, topic,
};
use branchline_crdt::record::{ActorBytes, Document, Edit, RecordChange};
use rand::RngExt;
use rand::rngs::SmallRng;
use serde_json::json;

use crate::scenario::Act;
use crate::world::{Message, SiteIndex, World};

/// The collection that liars write to; nobody honest does.
pub const LIES: &str = "simulated-lies";
/// What a bomb unpacks to: far more than any limit of the format.
const BOMB_BYTES: usize = 64 * 1024 * 1024;
/// Logs that a liar begins at once.
const INCARNATIONS: usize = 20;
/// How a header is signed, as the format says.
const HEADER_CONTEXT: &str = "branchline 1 entry header";

/// A member that lies.
pub struct Liar {
    /// Its office. The node there is honest; the lies are sent beside it.
    pub office: SiteIndex,
    acts: Vec<Act>,
    random: SmallRng,
    count: u64,
}

impl Liar {
    /// A liar at an office.
    pub fn new(office: SiteIndex, acts: Vec<Act>, random: SmallRng) -> Self {
        Self { office, acts, random, count: 0 }
    }

    /// Tells one lie, and repeats an old message.
    pub fn lie(&mut self, world: &mut World) {
        let Some(network) = world.network() else { return };
        let peers = world.peers(self.office);
        if self.acts.is_empty() || peers.is_empty() {
            return;
        }
        self.count += 1;
        let act = self.acts[self.random.random_range(0..self.acts.len())];
        match act {
            Act::ForgedAuthor => {
                let victim = peers[self.random.random_range(0..peers.len())];
                let author = Author { site: world.site_id(victim), incarnation: self.life() };
                let key = world.key(self.office).clone();
                let entries = [
                    forged(network, &key, author, "forged", 1),
                    forged(RealmId([8; 32]), &key, self.author(world), "foreign", 1),
                ];
                entries.iter().for_each(|entry| self.send_entry(world, network, &peers, entry));
            }
            Act::Equivocation => self.equivocate(world, network, &peers),
            Act::MalformedChanges => {
                let author = self.author(world);
                let entry = malformed(network, world.key(self.office), author, self.count);
                self.send_entry(world, network, &peers, &entry);
            }
            Act::Bombs => self.bomb(world, network, &peers),
            Act::Incarnations => {
                for number in 0..INCARNATIONS {
                    let author = self.author(world);
                    let key = world.key(self.office);
                    let entry = draft(network, author).sign(&Body::Transactions(Vec::new()), key);
                    let peer = peers[number % peers.len()];
                    self.send_entry(world, network, &[peer], &entry);
                }
            }
            Act::Decisions => {
                let victim = peers[self.random.random_range(0..peers.len())];
                let (author, victim) = (self.author(world), world.site_id(victim));
                let entry = usurping(network, world.key(self.office), author, victim);
                self.send_entry(world, network, &peers, &entry);
            }
        }
    }

    fn life(&mut self) -> Incarnation {
        Incarnation::from_random(self.random.random())
    }

    fn author(&mut self, world: &World) -> Author {
        Author { site: world.site_id(self.office), incarnation: self.life() }
    }

    fn equivocate(&mut self, world: &mut World, network: RealmId, peers: &[SiteIndex]) {
        let author = self.author(world);
        let key = world.key(self.office).clone();
        let id = format!("lie-{}", self.count);
        let entries = [1, 2].map(|value| forged(network, &key, author, &id, value));
        for (index, peer) in peers.iter().enumerate() {
            self.send_entry(world, network, &[*peer], &entries[index % 2]);
        }
        if peers.len() == 1 {
            self.send_entry(world, network, peers, &entries[1]);
        }
    }

    fn bomb(&mut self, world: &mut World, network: RealmId, peers: &[SiteIndex]) {
        let bomb = pack::pack(&vec![0; BOMB_BYTES]);
        let author = self.author(world);
        let entry =
            with_payload(network, world.key(self.office), author, PAYLOAD_FORMAT, bomb.clone());
        // As an entry, as an answer that nobody asked for, and as an introduction.
        for peer in peers {
            let gossip = Gossip::Entry(entry.clone());
            self.send_gossip(world, network, *peer, codec::encode(&gossip));
            let outcome = Outcome::Entries { packed: bomb.clone(), until: Vec::new(), at: None };
            let answer = Answer::of(outcome);
            for id in world.asked(*peer, self.office) {
                let body = codec::encode(&answer);
                world.send(self.office, *peer, Message::Response { id, body });
            }
            let introduction = Introduction::Entries { network, packed: bomb.clone() };
            let body = codec::encode(&introduction);
            world.send(self.office, *peer, Message::Introduction { body });
            let body = vec![0xff; 300];
            world.send(self.office, *peer, Message::Request { id: u64::MAX, body });
        }
    }

    /// Sends an entry to offices by gossip, and once more in an answer where one is awaited.
    fn send_entry(&self, world: &mut World, network: RealmId, peers: &[SiteIndex], entry: &Entry) {
        for peer in peers {
            let gossip = Gossip::Entry(entry.bytes().to_vec());
            self.send_gossip(world, network, *peer, codec::encode(&gossip));
            let packed = pack_entries([entry, entry]);
            let outcome = Outcome::Entries { packed, until: Vec::new(), at: None };
            let answer = Answer::of(outcome);
            for id in world.asked(*peer, self.office) {
                let body = codec::encode(&answer);
                world.send(self.office, *peer, Message::Response { id, body });
            }
        }
    }

    fn send_gossip(&self, world: &mut World, network: RealmId, to: SiteIndex, data: Vec<u8>) {
        let topic = topic(network, network.main_space());
        world.send(self.office, to, Message::Gossip { topic, data });
    }
}

/// What a stranger tries at an office: a ticket of its own making, a request, gossip.
pub fn knock(world: &mut World, stranger: SiteIndex, office: SiteIndex, random: &mut SmallRng) {
    let Some(network) = world.network() else { return };
    let space = network.main_space();
    let pull = Pull {
        space,
        have: Have::Frontier { parts: None, known: Vec::new(), after: None },
        receipts: [0; 8],
        shared: [0; 8],
        bytes_max: u32::MAX,
    };
    let body = codec::encode(&Request::Pull(pull));
    world.send(stranger, office, Message::Request { id: random.random(), body });
    let author = Author {
        site: world.site_id(stranger),
        incarnation: Incarnation::from_random(random.random()),
    };
    let entry = forged(network, world.key(stranger), author, "stranger", 1);
    let packed = pack_entries([&entry]);
    let next = FormerKey::sign(network, world.key(stranger), world.site_id(stranger));
    let office_key = FormerKey { site: world.site_id(office), ..next };
    for introduction in [
        Introduction::Entries { network, packed },
        Introduction::FormerKeys(vec![office_key]),
        Introduction::FormerKeys(Vec::new()),
    ] {
        let body = codec::encode(&introduction);
        world.send(stranger, office, Message::Introduction { body });
    }
}

/// Sends a stranger what only members may have: to prove that checkers notice.
pub fn leak(world: &mut World, from: SiteIndex, stranger: SiteIndex) {
    let Some(network) = world.network() else { return };
    let author = Author { site: world.site_id(from), incarnation: Incarnation([1; 8]) };
    let entry = forged(network, world.key(from), author, "leak", 1);
    let topic = topic(network, network.main_space());
    let data = codec::encode(&Gossip::Entry(entry.bytes().to_vec()));
    world.send(from, stranger, Message::Gossip { topic, data });
}

/// An entry as the holder of `key` may sign it, with one record written in it.
pub fn forged(network: RealmId, key: &SiteKey, author: Author, id: &str, value: i64) -> Entry {
    let fields = match json!({"value": value}) {
        serde_json::Value::Object(fields) => fields,
        _ => serde_json::Map::new(),
    };
    let actor = ActorBytes(author.actor());
    let change = Document::empty().edit(actor, 0, &Edit::Put(fields), None);
    let writes = change.ok().flatten().map(|edited| (id, edited.change));
    draft(network, author).sign(&body(writes), key)
}

/// An entry that decides of another member, as only an admin may.
fn usurping(network: RealmId, key: &SiteKey, author: Author, site: SiteId) -> Entry {
    let held = Cut::default;
    let operations = vec![
        Operation::Rename { site, name: "usurped".to_owned() },
        Operation::ChangeRole(RoleChange { site, role: Role::Reader, held: held() }),
        Operation::Revoke(Revocation::sign(network, site, held(), key)),
        Operation::Vouch(Vouch { site, held: held() }),
    ];
    let space = network.membership_space();
    Draft { space, ..draft(network, author) }.sign(&Body::Membership(operations), key)
}

/// An entry whose change is none.
fn malformed(network: RealmId, key: &SiteKey, author: Author, count: u64) -> Entry {
    let mut bytes = vec![0x85, 0x6f, 0x4a, 0x83];
    bytes.extend((0..count % 60).map(|byte| byte.to_le_bytes()[0].wrapping_mul(37)));
    let garbage = RecordChange { genesis: Vec::new(), body: bytes };
    draft(network, author).sign(&body([("malformed", garbage)]), key)
}

/// The bytes of a rightly signed first entry with this payload, said to be of this format.
pub fn with_payload(
    network: RealmId,
    key: &SiteKey,
    author: Author,
    format: u8,
    payload: Vec<u8>,
) -> Vec<u8> {
    let Draft { space, seq, previous, past, membership_past, time_ms, .. } = draft(network, author);
    let info = PayloadInfo::new(format, &payload);
    let header = codec::encode(&Header {
        realm: network,
        space,
        author,
        seq,
        previous,
        past,
        membership_past,
        time_ms,
        payload: info,
    });
    let signature = key.sign(&blake3::derive_key(HEADER_CONTEXT, &header));
    let bytes = |bytes: Vec<u8>| serde_bytes::ByteBuf::from(bytes);
    codec::encode(&(1_u8, bytes(header), signature, bytes(payload)))
}

/// The first entry of an author, without a past.
pub fn draft(network: RealmId, author: Author) -> Draft {
    Draft {
        realm: network,
        space: network.main_space(),
        author,
        seq: 1,
        previous: EntryHash::NONE,
        past: Vec::new(),
        membership_past: Vec::new(),
        time_ms: 0,
    }
}

/// One transaction for each change.
fn body<'a>(changes: impl IntoIterator<Item = (&'a str, RecordChange)>) -> Body {
    let transactions = changes.into_iter().map(|(id, change)| {
        let (collection, id) = (LIES.to_owned(), id.to_owned());
        Transaction { origin: None, changes: vec![RecordWrite { collection, id, change }] }
    });
    Body::Transactions(transactions.collect())
}
