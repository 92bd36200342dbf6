//! Members that sign without end, and serve what they signed as an honest site serves its journal.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use branchline_crdt::format::codec;
use branchline_crdt::ids::{Author, EntryHash, Incarnation, SiteId, SpaceId};
use branchline_crdt::log::entry::{Body, Draft, Entry};
use branchline_crdt::log::frontier::{Known, PartDigests};
use branchline_crdt::membership::{Cut, Operation, Revocation, Role, RoleChange, Vouch};
use branchline_crdt::protocol::{Answer, Have, Outcome, Pull, Request, pack_entries};
use branchline_crdt::store::Position;
use branchline_tests::raw_peer::{Replies, Reply, frame};
use branchline_tests::{Office, converge};

use super::member::Traitor;
use crate::PROGRAM;

/// More logs than a request has room for.
const LIVES: u32 = 24_000;
/// Operations of a reader.
const OPERATIONS: usize = 8_000;
/// Entries in an answer.
const SERVED: usize = 1_000;
/// How long honest offices may take to have it all.
const PATIENCE: Duration = Duration::from_secs(240);

/// A journal of one space, and how much of it was asked for.
struct Journal {
    space: SpaceId,
    entries: Vec<Entry>,
    served: AtomicUsize,
}

impl Journal {
    fn new(space: SpaceId, entries: Vec<Entry>) -> Arc<Self> {
        Arc::new(Self { space, entries, served: AtomicUsize::new(0) })
    }

    fn replies(self: &Arc<Self>) -> Replies {
        let journal = Arc::clone(self);
        Arc::new(move |request| {
            let outcome = match codec::decode("request", request) {
                Ok(Request::Pull(pull)) => journal.answer(&pull),
                Ok(Request::Notify(_)) | Err(_) => Outcome::UpToDate,
            };
            Reply::Bytes(frame(&codec::encode(&Answer::of(outcome))))
        })
    }

    fn answer(&self, pull: &Pull) -> Outcome {
        match &pull.have {
            Have::Digest(_) if pull.space == self.space => {
                Outcome::SendFrontier(PartDigests::default())
            }
            Have::Frontier { known, after, .. } if pull.space == self.space => {
                let held: BTreeMap<Author, u64> =
                    known.iter().map(|item| (item.author, item.seq)).collect();
                let behind = after.map_or(0, |at| at.0 as usize);
                let lacks = |(_, entry): &(usize, &Entry)| {
                    let header = &entry.header;
                    held.get(&header.author).is_none_or(|seq| *seq < header.seq)
                };
                let mut rest = self.entries.iter().enumerate().skip(behind).filter(lacks);
                let some: Vec<_> = rest.by_ref().take(SERVED).collect();
                let last = some.last().map_or(self.entries.len(), |(number, _)| number + 1);
                self.served.fetch_max(last, Ordering::SeqCst);
                let tips = some.iter().map(|(_, entry)| (entry.header.author, entry.tip()));
                let tips: BTreeMap<_, _> = tips.collect();
                let is_cut = rest.next().is_some();
                let until = tips.into_values().filter(|_| is_cut).map(Known::of).collect();
                let packed = pack_entries(some.iter().map(|(_, entry)| *entry));
                let at = is_cut.then_some(Position(last as u64));
                Outcome::Entries { packed, until, at }
            }
            Have::Digest(_) | Have::Frontier { .. } | Have::Lost(_) => Outcome::UpToDate,
        }
    }

    fn is_served(&self) -> bool {
        self.served.load(Ordering::SeqCst) >= self.entries.len()
    }
}

impl Traitor {
    pub(super) fn draft(&self, space: SpaceId, incarnation: [u8; 8]) -> Draft {
        Draft {
            realm: self.network,
            space,
            author: Author { site: self.site(), incarnation: Incarnation(incarnation) },
            seq: 1,
            previous: EntryHash::NONE,
            past: Vec::new(),
            membership_past: Vec::new(),
            time_ms: 0,
        }
    }

    /// Serves a journal until head has asked for all of it, and says how long that took.
    fn serve(&self, journal: &Arc<Journal>) -> Duration {
        let started = Instant::now();
        self.attack(journal.replies(), async |peer| {
            while !journal.is_served() && started.elapsed() < PATIENCE && !peer.is_closed() {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        });
        assert!(journal.is_served(), "head asked for {:?}", journal.served);
        started.elapsed()
    }
}

#[test]
fn logs_without_number_keep_no_office_from_hearing_of_the_others() {
    let mut traitor = Traitor::with_role("writer");
    let (key, space) = (traitor.signer(), traitor.space);
    let life = |number: u32| {
        let mut incarnation = [3; 8];
        incarnation[..4].copy_from_slice(&number.to_be_bytes());
        traitor.draft(space, incarnation).sign(&Body::Transactions(Vec::new()), &key)
    };
    let journal = Journal::new(space, (0..LIVES).map(life).collect());
    println!("{LIVES} logs of one entry: asked for within {:?}", traitor.serve(&journal));
    traitor.world.unharmed("logs without number");
    let site = traitor.site();
    let held = traitor.held();
    let lives = held.iter().filter(|entry| entry.header.author.site == site).count();
    assert!(lives > 10_000, "head holds {lives} of them");
    // One who comes later gets in step as well.
    let mut east = Office::init(PROGRAM, traitor.world.folder.path(), "east", false);
    east.start();
    east.join(&traitor.world.head);
    converge(&[&traitor.world.head, &traitor.world.north, &east]);
    traitor.world.still_works();
    assert_eq!(east.stop(), 0);
}

#[test]
fn a_reader_that_floods_the_members_changes_nothing_for_the_others() {
    let mut traitor = Traitor::with_role("reader");
    let (key, own) = (traitor.signer(), traitor.site());
    let status = traitor.world.head.get("/v1/status");
    let head: SiteId =
        SiteId::from_peer_id(&status["site"].as_str().unwrap().parse().unwrap()).unwrap();
    let space = traitor.network.membership_space();
    let log = (traitor.space, Incarnation([1; 8]));
    let operation = |number: usize| {
        let held = Cut::new([(log, number as u64)]);
        match number % 16 {
            0..7 => Operation::Rename { site: own, name: format!("south {}", number % 3) },
            7..13 => Operation::Rename { site: head, name: format!("south {number}") },
            13 => Operation::Vouch(Vouch { site: head, held }),
            14 => Operation::ChangeRole(RoleChange { site: head, role: Role::Reader, held }),
            _ => Operation::Revoke(Revocation::sign(traitor.network, head, held, &key)),
        }
    };
    let mut entries: Vec<Entry> = Vec::new();
    for number in 0..OPERATIONS {
        let mut draft = traitor.draft(space, [4; 8]);
        draft.seq = number as u64 + 1;
        draft.previous = entries.last().map_or(EntryHash::NONE, |entry| entry.hash);
        entries.push(draft.sign(&Body::Membership(vec![operation(number)]), &key));
    }
    let journal = Journal::new(space, entries);
    println!("{OPERATIONS} operations: asked for within {:?}", traitor.serve(&journal));
    traitor.world.unharmed("a flood of membership operations");
    for office in [&traitor.world.head, &traitor.world.north] {
        let members = office.run(["members"]).ok();
        assert!(members.contains("head") && members.contains("south"), "{members}");
        let status = office.get("/v1/status");
        assert_eq!(status["member"], true);
    }
    // Who comes later still gets in, and an admin still decides.
    let mut east = Office::init(PROGRAM, traitor.world.folder.path(), "east", false);
    east.start();
    east.join(&traitor.world.head);
    converge(&[&traitor.world.head, &traitor.world.north, &east]);
    traitor.world.head.run(["revoke", &own.to_string(), "--yes"]).ok();
    traitor.world.still_works();
    assert_eq!(east.stop(), 0);
}
