//! A whole replica that a member sends anything to, signed with its own key.

use arbitrary::Unstructured;
use branchline_crdt::Replica;
use branchline_crdt::format::codec;
use branchline_crdt::format::pack;
use branchline_crdt::ids::{EntryHash, Incarnation};
use branchline_crdt::inspect::verify::verify;
use branchline_crdt::log::entry::{Body, Entry, Tip};
use branchline_crdt::log::receipt::{LogTag, Receipt};
use branchline_crdt::protocol::{Answer, Gossip, Outcome, pack_entries};
use branchline_crdt::replica::{Input, Output};
use branchline_crdt::store::Position;
use branchline_crdt::store::memory::MemoryStore;
use branchline_crdt::store::read;
use serde_json::json;

use crate::membership::operations;
use crate::messages::{Message, every_message};
use crate::network::{Network, at, forge, key, network, open, record, write};
use crate::{Memory, Target};

/// Messages that one input may make.
const MESSAGES_MAX: u64 = 32;

/// What a member may send: the first byte of a message says which, by its remainder.
#[derive(Clone, Copy)]
enum Sent {
    Gossip,
    Records,
    MembershipPayload,
    Operations,
    Receipt,
    EntryAgain,
    Announcement,
    Request,
    Response,
    ResponseOfEntries,
    Introduction,
    IntroductionAnswer,
}

impl Sent {
    const ALL: [Self; 12] = [
        Self::Gossip,
        Self::Records,
        Self::MembershipPayload,
        Self::Operations,
        Self::Receipt,
        Self::EntryAgain,
        Self::Announcement,
        Self::Request,
        Self::Response,
        Self::ResponseOfEntries,
        Self::Introduction,
        Self::IntroductionAnswer,
    ];

    /// As what a message of its own bytes is sent.
    fn of(message: Message) -> Option<Self> {
        match message {
            Message::Request => Some(Self::Request),
            Message::Answer => Some(Self::Response),
            Message::Gossip => Some(Self::Gossip),
            Message::Introduction => Some(Self::Introduction),
            Message::Welcome => Some(Self::IntroductionAnswer),
            Message::Receipt | Message::Genesis | Message::Fork => None,
        }
    }
}

pub(crate) const REPLICA: Target = Target {
    name: "replica",
    run: replica,
    seeds: replica_seeds,
    memory: Memory { mib: 128, per_byte: 4096 },
};

/// Messages of a member. Whatever they are, the replica stays usable, its tables are sound, and what it holds makes
/// the same elsewhere and after a rebuild.
fn replica(input: &[u8]) {
    let mut input = Unstructured::new(input);
    let mut liar = Liar::new();
    let mut head = open(1, network().head.clone());
    head.handle(Input::PeerUp(key(3).site()), at(1)).expect("the store works");
    let mut requests = Vec::new();
    for ms in 2..MESSAGES_MAX {
        let Ok(Some(message)) = liar.message(&mut input, &mut requests) else { break };
        head.handle(message, at(ms)).expect("no message breaks the store");
        if ms % 3 == 0 {
            assert!(head.commit().expect("no message breaks the store"));
        }
        requests.extend(requests_to_liar(&mut head, ms));
    }
    assert!(head.commit().expect("no message breaks the store"));
    head.handle(Input::PeerDown(key(3).site()), at(40)).expect("the store works");
    stays_usable(head);
}

fn requests_to_liar(head: &mut Replica<MemoryStore>, ms: u64) -> Vec<u64> {
    let mut ids = Vec::new();
    while let Some(output) = head.output() {
        match output {
            Output::Request { id, .. } => ids.push(id),
            Output::Prepare(job) => {
                let prepared = Input::Prepared(job.run());
                head.handle(prepared, at(ms)).expect("no message breaks the store");
            }
            _ => {}
        }
    }
    ids
}

/// Writes, is sound, and is the same as a peer that pulls from it and as itself rebuilt.
pub(crate) fn stays_usable(mut head: Replica<MemoryStore>) {
    let space = network().id.main_space();
    write(&mut head, "products", "salt", json!({"price": "0.80"})).expect("an honest write");
    let spaces = [space, network().id.membership_space()];
    let report = verify(head.store(), &spaces).expect("the store works");
    assert!(report.is_sound(), "{:?}", report.faults);
    let mut north = open(2, network().north.clone());
    exchange(&mut head, &mut north);
    assert!(is_in_step(&head, &north), "north is not in step");
    let digest = read::digest(head.store(), space).expect("the store works");
    assert_eq!(read::digest(north.store(), space).expect("the store works"), digest);
    assert_eq!(members(&head), members(&north));
    let salt = read::record(north.store(), &record("salt")).expect("the store works");
    assert!(salt.is_some_and(|view| view.fields.len() == 1));
    let members_before = members(&head);
    let rebuilt = open(1, head.into_store().without_tables());
    assert_eq!(read::digest(rebuilt.store(), space).expect("the store works"), digest);
    assert_eq!(members(&rebuilt), members_before);
}

pub(crate) fn members(replica: &Replica<MemoryStore>) -> String {
    format!("{:?}", replica.realms().members().expect("a network").all())
}

/// Lets two replicas pull from each other until nothing is left to say.
fn exchange(head: &mut Replica<MemoryStore>, north: &mut Replica<MemoryStore>) {
    let (head_site, north_site) = (key(1).site(), key(2).site());
    let mut ms = 1_000;
    head.handle(Input::PeerUp(north_site), at(ms)).expect("the store works");
    north.handle(Input::PeerUp(head_site), at(ms)).expect("the store works");
    // Each round leads one step further: members, then what they wrote, then what waited for that.
    for _ in 0..12 {
        if is_in_step(head, north) {
            break;
        }
        while pass(head, head_site, north, ms) | pass(north, north_site, head, ms) {
            ms += 1;
        }
        ms += 20_000;
        for replica in [&mut *head, &mut *north] {
            replica.handle(Input::Tick, at(ms)).expect("the store works");
            assert!(replica.commit().expect("the store works"));
        }
    }
}

fn is_in_step(head: &Replica<MemoryStore>, north: &Replica<MemoryStore>) -> bool {
    let id = network().id;
    [id.main_space(), id.membership_space()]
        .iter()
        .all(|space| head.realms().frontier(*space) == north.realms().frontier(*space))
}

/// Passes what one replica says on to the other and its answers back. Whether there was anything.
fn pass(
    from: &mut Replica<MemoryStore>,
    site: branchline_crdt::ids::SiteId,
    to: &mut Replica<MemoryStore>,
    ms: u64,
) -> bool {
    let mut any = false;
    while let Some(output) = from.output() {
        let input = match output {
            Output::Prepare(job) => {
                from.handle(Input::Prepared(job.run()), at(ms)).expect("the store works");
                assert!(from.commit().expect("the store works"));
                any = true;
                continue;
            }
            Output::Request { id, body, .. } => Input::Request { from: site, token: id, body },
            Output::Respond { token, body } => Input::Response { from: site, id: token, body },
            _ => continue,
        };
        any = true;
        to.handle(input, at(ms)).expect("the store works");
        assert!(to.commit().expect("the store works"));
    }
    any
}

/// A member that signs anything.
struct Liar {
    /// The last entry of its log in the main space, and in the membership space.
    logs: [Option<Tip>; 2],
    /// All that it signed.
    signed: Vec<Vec<u8>>,
}

impl Liar {
    fn new() -> Self {
        Self { logs: [None, None], signed: Vec::new() }
    }

    fn message(
        &mut self,
        input: &mut Unstructured<'_>,
        requests: &mut Vec<u64>,
    ) -> arbitrary::Result<Option<Input>> {
        if input.is_empty() {
            return Ok(None);
        }
        let from = key(3).site();
        let gossip = |gossip: &Gossip| codec::encode(gossip);
        let data = match *input.choose(&Sent::ALL)? {
            Sent::Gossip => bytes(input)?,
            Sent::Records => {
                let payload = bytes(input)?;
                gossip(&Gossip::Entry(self.entry(0, &payload, input)?))
            }
            Sent::MembershipPayload => {
                let payload = bytes(input)?;
                gossip(&Gossip::Entry(self.entry(1, &payload, input)?))
            }
            Sent::Operations => {
                let operations = operations(input)?;
                let payload = codec::encode(&Body::Membership(operations));
                gossip(&Gossip::Entry(self.entry(1, &payload, input)?))
            }
            Sent::Receipt => gossip(&Gossip::Receipt(receipt(input)?)),
            Sent::EntryAgain => gossip(&Gossip::Entry(self.again(input)?)),
            Sent::Announcement => {
                let (space, tip) = (network().id.main_space(), tip(input)?);
                gossip(&Gossip::Announce { space, tip })
            }
            Sent::Request => {
                return Ok(Some(Input::Request { from, token: 1, body: bytes(input)? }));
            }
            Sent::Response => {
                let id = requests.pop().unwrap_or(1);
                return Ok(Some(Input::Response { from, id, body: bytes(input)? }));
            }
            Sent::ResponseOfEntries => {
                let id = requests.pop().unwrap_or(1);
                let entries = self.signed.iter().filter_map(|bytes| Entry::decode(bytes).ok());
                let packed = pack_entries(&entries.collect::<Vec<_>>());
                let outcome = Outcome::Entries {
                    packed,
                    until: network().frontier.clone(),
                    at: Some(Position(700)),
                };
                let forks = vec![network().fork.clone()];
                let forks = if input.arbitrary::<u8>()? > 200 { forks } else { Vec::new() };
                let receipts = vec![receipt(input)?];
                let body = codec::encode(&Answer { receipts, forks, ..Answer::of(outcome) });
                return Ok(Some(Input::Response { from, id, body }));
            }
            Sent::Introduction => {
                return Ok(Some(Input::Introduction { from, token: 2, body: bytes(input)? }));
            }
            Sent::IntroductionAnswer => {
                return Ok(Some(Input::IntroductionAnswer { from, body: bytes(input)? }));
            }
        };
        Ok(Some(Input::Gossip { from, token: 3, data }))
    }

    /// The next entry of a log, with a lie in its header now and then.
    fn entry(
        &mut self,
        log: usize,
        payload: &[u8],
        input: &mut Unstructured<'_>,
    ) -> arbitrary::Result<Vec<u8>> {
        let Network { id, liar, .. } = network();
        let mut header = forge::header(*id, liar);
        if log == 1 {
            header.space = id.membership_space();
        }
        if let Some(last) = self.logs[log] {
            (header.seq, header.previous) = (last.seq + 1, last.hash);
        }
        // What was held before, so that its changes may build on it.
        header.past = network()
            .entries
            .iter()
            .filter_map(|bytes| Entry::decode(bytes).ok())
            .filter(|entry| entry.header.space == header.space)
            .map(|entry| entry.tip())
            .max_by_key(|tip| tip.seq)
            .into_iter()
            .collect();
        match input.arbitrary::<u8>()? {
            0..=200 => {}
            201..=206 => header.seq = input.arbitrary()?,
            207..=210 => header.previous = EntryHash(input.arbitrary()?),
            211..=216 => header.past.push(tip(input)?),
            217..=220 => header.membership_past.push(tip(input)?),
            221..=224 => header.payload.format = input.arbitrary()?,
            225..=228 => header.author.incarnation = Incarnation(input.arbitrary()?),
            229..=232 => header.author.site = key(2).site(),
            233..=236 => header.time_ms = input.arbitrary()?,
            237..=240 => header.past.clear(),
            // The same number twice.
            241..=255 => {
                header.seq = header.seq.saturating_sub(1).max(1);
                if header.seq == 1 {
                    header.previous = EntryHash::NONE;
                }
            }
        }
        header.past.sort_unstable();
        let bytes = forge::sign(header, liar, &pack::pack(payload));
        if let Ok(entry) = Entry::decode(&bytes)
            && entry.header.author.incarnation == Incarnation([3; 8])
        {
            self.logs[log] = Some(entry.tip());
        }
        self.signed.push(bytes.clone());
        Ok(bytes)
    }

    fn again(&self, input: &mut Unstructured<'_>) -> arbitrary::Result<Vec<u8>> {
        let index = usize::from(input.arbitrary::<u8>()?);
        Ok(self.signed.get(index % self.signed.len().max(1)).cloned().unwrap_or_default())
    }
}

/// A piece of the input: two bytes of length, then so many bytes or what there is.
fn bytes(input: &mut Unstructured<'_>) -> arbitrary::Result<Vec<u8>> {
    let length = usize::from(input.arbitrary::<u16>()?).min(input.len());
    Ok(input.bytes(length)?.to_vec())
}

fn tip(input: &mut Unstructured<'_>) -> arbitrary::Result<Tip> {
    let tips = network().entries.iter().filter_map(|bytes| Entry::decode(bytes).ok());
    let mut tip = tips.map(|entry| entry.tip()).next_back().expect("an entry");
    match input.arbitrary::<u8>()? % 4 {
        0 => tip.seq = input.arbitrary()?,
        1 => tip.hash = EntryHash(input.arbitrary()?),
        2 => tip.author.incarnation = Incarnation(input.arbitrary()?),
        _ => {}
    }
    Ok(tip)
}

fn receipt(input: &mut Unstructured<'_>) -> arbitrary::Result<Receipt> {
    let Network { id, liar, .. } = network();
    let mut held = network().receipt.held.clone();
    let tip = tip(input)?;
    held.logs.insert(LogTag::of(&tip.author), tip.seq);
    Ok(Receipt::sign(*id, id.main_space(), input.arbitrary()?, held, input.arbitrary()?, liar))
}

fn replica_seeds() -> Vec<Vec<u8>> {
    let Network { payloads, entries, .. } = network();
    let piece = |bytes: &[u8]| {
        let length = u16::try_from(bytes.len()).expect("a short piece");
        [&length.to_le_bytes(), bytes].concat()
    };
    let gossip = |entry: &Vec<u8>| {
        [vec![Sent::Gossip as u8], piece(&codec::encode(&Gossip::Entry(entry.clone())))]
    };
    let mut seeds: Vec<Vec<u8>> = entries.iter().map(|entry| gossip(entry).concat()).collect();
    for payload in payloads {
        // Signed by the liar, in either space, once and under one number twice.
        for log in [Sent::Records as u8, Sent::MembershipPayload as u8] {
            seeds.push([vec![log], piece(payload), vec![0]].concat());
            let twice = [vec![log], piece(&payload[1..]), vec![250], vec![9, 255, 3, 0, 0, 1]];
            seeds.push([vec![log], piece(payload), vec![0], twice.concat()].concat());
        }
    }
    seeds.extend(every_message().into_iter().filter_map(|(message, bytes)| {
        Some([vec![Sent::of(message)? as u8], piece(&bytes)].concat())
    }));
    seeds.push([&[Sent::Operations as u8, 2], &[1; 40][..]].concat());
    seeds
}
