//! The fold from operations to members: equal sets of entries give equal members, in whatever order and portions they
//! come.

mod tickets;

use std::collections::{BTreeMap, BTreeSet};

use branchline_crdt::ids::{Author, EntryHash, Incarnation, RealmId, SiteKey};
use branchline_crdt::log::entry::{Body, Draft, Entry, Tip};
use branchline_crdt::membership::{
    Admission, Cut, FormerKey, Genesis, Grant, Members, OpenTicket, Operation, Revocation, Role,
    RoleChange, Rotation, Ticket, Vouch,
};
use proptest::prelude::*;
use proptest::test_runner::RngSeed;
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

const SITES: u8 = 9;
const FOUNDERS: u8 = 2;

fn key(site: u8) -> SiteKey {
    SiteKey::from_seed([site + 1; 32])
}

fn genesis() -> Genesis {
    let founders = (0..FOUNDERS).map(|site| (key(site).site(), "office".to_owned())).collect();
    Genesis { founders, time_ms: 0, nonce: [1; 16] }
}

/// What one site knows and writes: of entries by their number in the history.
#[derive(Clone, Default)]
struct Known {
    entries: BTreeSet<usize>,
    own: Vec<usize>,
}

/// A history of sites of which each may say anything, whether or not it may.
struct History {
    network: RealmId,
    draw: SmallRng,
    entries: Vec<(Entry, Vec<Operation>)>,
    /// The numbers of the entries that each builds on.
    parents: Vec<Vec<usize>>,
    known: Vec<Known>,
    /// What was said so far, by anybody.
    said: Vec<Operation>,
}

impl History {
    fn new(seed: u64, length: usize) -> Self {
        Self::of(seed, length, SITES)
    }

    /// The same, where only the first sites say anything; of the others it is only spoken.
    fn of(seed: u64, length: usize, speakers: u8) -> Self {
        let mut history = Self {
            network: genesis().network(),
            draw: SmallRng::seed_from_u64(seed),
            entries: Vec::new(),
            parents: Vec::new(),
            known: vec![Known::default(); usize::from(SITES)],
            said: Vec::new(),
        };
        if speakers < SITES {
            // An honest beginning: the first founder lets the others in, and all know.
            for site in 2..SITES {
                let role =
                    [Role::Reader, Role::Writer, Role::Admin][history.draw.random_range(0..3)];
                let admission = history.admission(0, site, site + 110, role);
                history.write_all(0, vec![admission]);
            }
            let heard = history.known[0].entries.clone();
            history.known.iter_mut().for_each(|known| known.entries.extend(&heard));
        }
        for _ in 0..length {
            let site = history.draw.random_range(0..speakers);
            let from = history.draw.random_range(0..speakers);
            // Often it hears of something first; sometimes it works on apart.
            if history.draw.random_bool(0.6) {
                let heard = history.known[usize::from(from)].entries.clone();
                history.known[usize::from(site)].entries.extend(heard);
            }
            history.write(site);
        }
        history
    }

    fn write(&mut self, site: u8) {
        // Some entries have none, and some several, of which one is often said again.
        let mut operations = Vec::new();
        for _ in 0..[1, 1, 1, 1, 0, 2][self.draw.random_range(0..6)] {
            let operation = self.operation(site);
            operations.push(match self.said.len() {
                said @ 1.. if self.draw.random_bool(0.15) => {
                    self.said[self.draw.random_range(0..said)].clone()
                }
                _ => operation,
            });
        }
        self.said.extend(operations.iter().cloned());
        self.write_all(site, operations);
    }

    fn write_all(&mut self, site: u8, operations: Vec<Operation>) {
        let known = &self.known[usize::from(site)];
        let author = author(site);
        let previous = known.own.last().copied();
        let mut tips: BTreeMap<Author, (u64, usize)> = BTreeMap::new();
        for number in &known.entries {
            let header = &self.entries[*number].0.header;
            let tip = tips.entry(header.author).or_insert((header.seq, *number));
            *tip = (*tip).max((header.seq, *number));
        }
        tips.remove(&author);
        let parents: Vec<_> = tips.values().map(|(_, number)| *number).chain(previous).collect();
        let past =
            tips.values().map(|(_, number)| self.entries[*number].0.tip()).collect::<Vec<Tip>>();
        let draft = Draft {
            realm: self.network,
            space: self.network.membership_space(),
            author,
            seq: known.own.len() as u64 + 1,
            previous: previous.map_or(EntryHash::NONE, |number| self.entries[number].0.hash),
            past,
            membership_past: Vec::new(),
            time_ms: 0,
        };
        let entry = draft.sign(&Body::Membership(operations.clone()), &key(site));
        let number = self.entries.len();
        self.entries.push((entry, operations));
        self.parents.push(parents);
        let known = &mut self.known[usize::from(site)];
        known.entries.insert(number);
        known.own.push(number);
    }

    fn operation(&mut self, by: u8) -> Operation {
        let other = self.draw.random_range(0..SITES);
        let site = key(other).site();
        let role = [Role::Reader, Role::Writer, Role::Admin][self.draw.random_range(0..3)];
        let held = self.cut(by, other);
        match self.draw.random_range(0..18) {
            14 => {
                let (ticket, places) =
                    (self.draw.random_range(100..110), self.draw.random_range(1..4));
                let grant = Grant::sign(self.network, key(ticket - 1).site(), role, 0, &key(by));
                Operation::Invite(OpenTicket { grant, places, note: String::new() })
            }
            15..17 => Operation::Withdraw { ticket: key(self.draw.random_range(99..109)).site() },
            0..4 | 17 => {
                let ticket = self.draw.random_range(100..110);
                self.admission(by, other, ticket, role)
            }
            4..6 => Operation::Revoke(Revocation::sign(self.network, site, held, &key(by))),
            6..7 => Operation::ChangeRole(RoleChange { site, role, held }),
            7..10 => Operation::Vouch(Vouch { site, held }),
            10..=12 => Operation::Rename {
                site,
                name: ["till", "depot", "till-2", "office"][self.draw.random_range(0..4)]
                    .to_owned(),
            },
            _ => {
                let (from, to) = (key(by).site(), key(other).site());
                let consent = Rotation::consent(self.network, from, &key(other));
                let FormerKey { word, .. } = FormerKey::sign(self.network, &key(by), to);
                let held = self.cut(by, by);
                Operation::Rotate(Rotation { from, to, held, consent, word })
            }
        }
    }

    fn admission(&self, by: u8, site: u8, ticket: u8, role: Role) -> Operation {
        let secret = SiteKey::from_seed([ticket; 32]);
        let grant = Grant::sign(self.network, secret.site(), role, 0, &key(by));
        let inviter = key(by).site();
        let ticket = Ticket { grant, secret, inviter, addresses: Vec::new() };
        Operation::Admit(Admission::sign(&ticket, key(site).site(), "office"))
    }

    /// What one site holds of another, or a little less.
    fn cut(&mut self, by: u8, of: u8) -> Cut {
        let known = &self.known[usize::from(by)].entries;
        let of_site = known.iter().map(|number| &self.entries[*number].0.header);
        let seqs = of_site.filter(|header| header.author == author(of)).map(|header| header.seq);
        let seq = seqs.max().unwrap_or(0).saturating_sub(self.draw.random_range(0..2));
        let log = |space| (space, author(of).incarnation);
        let records = self.draw.random_range(0..6);
        Cut::new([
            (log(self.network.membership_space()), seq),
            (log(self.network.main_space()), records),
        ])
    }

    /// The numbers of all entries in an order in which each follows those that it builds on.
    fn order(&self, draw: &mut SmallRng) -> Vec<usize> {
        let mut left: Vec<_> = (0..self.entries.len()).collect();
        let mut order = Vec::new();
        let mut done = BTreeSet::new();
        while !left.is_empty() {
            let ready: Vec<_> = (0..left.len())
                .filter(|at| self.parents[left[*at]].iter().all(|parent| done.contains(parent)))
                .collect();
            let number = left.swap_remove(ready[draw.random_range(0..ready.len())]);
            done.insert(number);
            order.push(number);
        }
        order
    }

    /// Everything that the fold says, when it is given the entries in this order and in portions.
    fn fold(&self, order: &[usize], draw: &mut SmallRng) -> (String, Members) {
        let mut members = Members::new(self.network, Some(genesis()));
        let mut rest = order;
        while !rest.is_empty() {
            let (portion, others) = rest.split_at(draw.random_range(1..=rest.len().min(9)));
            let entries = portion.iter().map(|number| &self.entries[*number]);
            members.extend(entries.map(|(entry, operations)| (entry, operations.clone())));
            rest = others;
        }
        (self.outcome(&members), members)
    }

    /// Whether the tickets that were taken up count as used, and by whom.
    fn tickets(&self, members: &Members) -> String {
        let admissions = self.said.iter().filter_map(|operation| match operation {
            Operation::Admit(admission) => Some(members.examine(admission)),
            _ => None,
        });
        format!("{:?}", admissions.collect::<Vec<_>>())
    }

    fn allowed(&self, members: &Members) -> String {
        let allowed: Vec<_> = (0..SITES)
            .flat_map(|site| (1..12).map(move |seq| (site, seq)))
            .map(|(site, seq)| {
                let spaces = [self.network.membership_space(), self.network.main_space()];
                spaces.map(|space| members.allowed(space, author(site), seq))
            })
            .collect();
        format!("{allowed:?}")
    }

    fn outcome(&self, members: &Members) -> String {
        let allowed = self.allowed(members);
        let ever: Vec<_> = (0..SITES).map(|site| members.ever(&key(site).site())).collect();
        let goes_on: Vec<_> = (0..SITES).map(|site| members.successor(&key(site).site())).collect();
        format!(
            "{:?}\n{:?}\n{:?}\n{:?}\n{:?}\n{allowed}\n{ever:?}\n{goes_on:?}",
            members.all(),
            members.revoked(),
            members.disputed(),
            members.tickets(),
            members.seniority()
        )
    }
}

fn author(site: u8) -> Author {
    Author { site: key(site).site(), incarnation: Incarnation([site; 8]) }
}

proptest! {
    #![proptest_config(ProptestConfig {
        rng_seed: RngSeed::Fixed(20),
        ..ProptestConfig::with_cases(
            std::env::var("BRANCHLINE_HISTORIES").ok().and_then(|n| n.parse().ok()).unwrap_or(120)
        )
    })]

    #[test]
    fn equal_sets_of_operations_give_equal_members(seed in any::<u64>(), length in 1..60_usize) {
        let history = History::new(seed, length);
        let mut draw = SmallRng::seed_from_u64(seed ^ 1);
        let all: Vec<_> = (0..history.entries.len()).collect();
        let (expected, members) = history.fold(&all, &mut draw);
        for _ in 0..4 {
            let order = history.order(&mut draw);
            prop_assert_eq!(&history.fold(&order, &mut draw).0, &expected);
        }
        // The first founder is there whatever the others say, unless it goes itself, and nobody is in and out.
        let goes = |(entry, operations): &(Entry, Vec<Operation>)| {
            let is_leave = |operation: &Operation| match operation {
                Operation::Rotate(_) => true,
                Operation::Revoke(revocation) => revocation.site == key(0).site(),
                Operation::Admit(_)
                | Operation::ChangeRole(_)
                | Operation::Rename { .. }
                | Operation::Vouch(_)
                | Operation::Invite(_)
                | Operation::Withdraw { .. } => false,
            };
            entry.header.author == author(0) && operations.iter().any(is_leave)
        };
        let may_be_gone = history.entries.iter().any(goes);
        prop_assert!(may_be_gone || members.has_role(&key(0).site(), Role::Admin));
        prop_assert!(members.revoked().keys().all(|site| members.get(site).is_none()));
        prop_assert!(members.disputed().keys().all(|site| members.get(site).is_none()));
        for ticket in members.tickets() {
            prop_assert!(ticket.admitted.len() <= usize::from(ticket.places), "{:?}", ticket);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        rng_seed: RngSeed::Fixed(21),
        ..ProptestConfig::with_cases(
            std::env::var("BRANCHLINE_HISTORIES").ok().and_then(|n| n.parse().ok()).unwrap_or(120)
        )
    })]

    #[test]
    fn each_step_comes_to_what_all_comes_to_that_is_judged_anew(
        seed in any::<u64>(),
        length in 1..60_usize,
        speakers in 2..=SITES,
        is_in_order in any::<bool>(),
    ) {
        let history = History::of(seed, length, speakers);
        let mut draw = SmallRng::seed_from_u64(seed ^ 2);
        let order = if is_in_order { (0..history.entries.len()).collect() } else { history.order(&mut draw) };
        let mut members = Members::new(history.network, Some(genesis()));
        for number in order {
            let (entry, operations) = &history.entries[number];
            let before = history.allowed(&members);
            let is_changed = members.extend([(entry, operations.clone())]);
            let after = history.outcome(&members);
            prop_assert_eq!(&after, &history.outcome(&members.judged_anew()), "{:?}", operations);
            prop_assert!(is_changed || before == history.allowed(&members));
        }
        prop_assert_eq!(history.tickets(&members), history.tickets(&members.judged_anew()));
    }
}

/// A history in which each site writes exactly what it is asked to.
struct Reported(History);

impl Reported {
    fn new() -> Self {
        Self(History::new(0, 0))
    }

    fn hear(&mut self, site: u8, from: u8) {
        let heard = self.0.known[usize::from(from)].entries.clone();
        self.0.known[usize::from(site)].entries.extend(heard);
    }

    fn say(&mut self, site: u8, operation: Operation) {
        self.0.write_all(site, vec![operation.clone()]);
        let number = self.0.entries.len() - 1;
        let header = self.0.entries[number].0.header.clone();
        let draft = Draft {
            realm: header.realm,
            space: header.space,
            author: header.author,
            seq: header.seq,
            previous: header.previous,
            past: header.past,
            membership_past: Vec::new(),
            time_ms: 0,
        };
        let operations = vec![operation];
        let entry = draft.sign(&Body::Membership(operations.clone()), &key(site));
        self.0.entries[number] = (entry, operations);
    }

    fn admit(&mut self, by: u8, site: u8, role: Role) {
        let secret = SiteKey::from_seed([100 + site; 32]);
        let grant = Grant::sign(self.0.network, secret.site(), role, 0, &key(by));
        let inviter = key(by).site();
        let ticket = Ticket { grant, secret, inviter, addresses: Vec::new() };
        self.say(by, Operation::Admit(Admission::sign(&ticket, key(site).site(), "office")));
    }

    /// What one holds of another at the time, or as much of it as is asked.
    fn held(&self, by: u8, of: u8) -> Cut {
        let known = self.0.known[usize::from(by)].entries.iter();
        let headers = known.map(|number| &self.0.entries[*number].0.header);
        let seqs = headers.filter(|header| header.author == author(of)).map(|header| header.seq);
        let log = (self.0.network.membership_space(), author(of).incarnation);
        Cut::new([(log, seqs.max().unwrap_or(0))])
    }

    fn revoke(&mut self, by: u8, of: u8) {
        let held = self.held(by, of);
        let site = key(of).site();
        self.say(by, Operation::Revoke(Revocation::sign(self.0.network, site, held, &key(by))));
    }

    fn vouch(&mut self, by: u8, of: u8, held: Cut) {
        self.say(by, Operation::Vouch(Vouch { site: key(of).site(), held }));
    }

    fn members(&self) -> Vec<u8> {
        let order: Vec<_> = (0..self.0.entries.len()).collect();
        let (_, members) = self.0.fold(&order, &mut SmallRng::seed_from_u64(0));
        (0..SITES).filter(|site| members.get(&key(*site).site()).is_some()).collect()
    }
}

#[test]
fn a_vouch_of_one_whom_only_the_vouched_for_admitted_counts_for_nothing() {
    let mut reported = Reported::new();
    reported.admit(0, 2, Role::Admin);
    reported.hear(2, 0);
    reported.revoke(0, 2);
    // Two, revoked and not naming that, lets three in, who speaks for two.
    reported.admit(2, 3, Role::Admin);
    reported.hear(3, 2);
    let held = reported.held(3, 2);
    reported.vouch(3, 2, held);
    assert_eq!(reported.members(), [0, 1]);
}

#[test]
fn a_vouch_that_follows_the_revocation_counts_for_nothing() {
    let mut reported = Reported::new();
    reported.admit(0, 2, Role::Admin);
    reported.hear(2, 0);
    reported.admit(2, 3, Role::Writer);
    reported.revoke(0, 2);
    reported.hear(1, 0);
    reported.hear(1, 2);
    let held = reported.held(1, 2);
    reported.vouch(1, 2, held.clone());
    assert_eq!(reported.members(), [0, 1]);
    // The same word of one who did not know.
    let mut reported = Reported::new();
    reported.admit(0, 2, Role::Admin);
    reported.hear(2, 0);
    reported.admit(2, 3, Role::Writer);
    reported.hear(1, 2);
    reported.vouch(1, 2, held);
    reported.revoke(0, 2);
    assert_eq!(reported.members(), [0, 1, 3]);
}

#[test]
fn juniors_decide_nothing_of_their_seniors() {
    let mut reported = Reported::new();
    reported.admit(0, 2, Role::Admin);
    reported.hear(2, 0);
    reported.revoke(2, 0);
    reported.revoke(2, 1);
    reported.revoke(1, 0);
    assert_eq!(reported.members(), [0, 1, 2]);
    reported.revoke(1, 2);
    assert_eq!(reported.members(), [0, 1]);
}

impl Reported {
    fn rotate(&mut self, from: u8, to: u8) {
        let space = self.0.network.membership_space();
        let seq = self.0.known[usize::from(from)].own.len() as u64 + 1;
        let held = Cut::new([((space, author(from).incarnation), seq)]);
        let (from_site, to_site) = (key(from).site(), key(to).site());
        let consent = Rotation::consent(self.0.network, from_site, &key(to));
        let FormerKey { word, .. } = FormerKey::sign(self.0.network, &key(from), to_site);
        let rotation = Rotation { from: from_site, to: to_site, held, consent, word };
        self.say(from, Operation::Rotate(rotation));
    }
}

#[test]
fn a_new_key_has_the_standing_of_the_old_one() {
    let mut reported = Reported::new();
    reported.admit(0, 2, Role::Admin);
    reported.hear(2, 0);
    reported.admit(0, 3, Role::Writer);
    reported.rotate(2, 4);
    reported.hear(4, 2);
    reported.hear(4, 0);
    // Senior to the one who came after the old key, and the old key has no say any more.
    reported.revoke(4, 3);
    reported.admit(2, 5, Role::Writer);
    assert_eq!(reported.members(), [0, 1, 4]);
}

#[test]
fn who_revokes_the_old_key_without_knowing_revokes_the_new_one() {
    let mut reported = Reported::new();
    reported.admit(0, 2, Role::Admin);
    reported.hear(2, 0);
    reported.rotate(2, 4);
    reported.hear(1, 2);
    let held = reported.held(1, 2);
    reported.vouch(1, 2, held);
    assert_eq!(reported.members(), [0, 1, 4]);
    reported.revoke(0, 2);
    assert_eq!(reported.members(), [0, 1]);
}
