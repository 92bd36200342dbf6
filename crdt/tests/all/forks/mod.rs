//! Logs that fork. Machines that were set back with their memory, two of which write as one author: nobody lies, and nothing
//! that anybody wrote is lost. And a member that signs whatever it likes: nothing of what others wrote is lost.

mod offices;

use std::collections::{BTreeMap, BTreeSet};

use branchline_crdt::format::codec;
use branchline_crdt::ids::{Author, EntryHash, Incarnation, SiteKey};
use branchline_crdt::log::entry::{Body, Draft, Entry, EntryId, RecordWrite, Tip, Transaction};
use branchline_crdt::protocol::Gossip;
use branchline_crdt::record::{ActorBytes, Document, Edit, Value};
use branchline_crdt::replica::{Decision, Input, Notice};
use branchline_crdt::store::tables::ReadTables;
use branchline_crdt::store::tables::logs::EntryStatus;
use branchline_crdt::store::tables::records::{RecordKey, RecordRow};
use proptest::prelude::*;
use serde_json::json;

use offices::{Offices, Step, object, step};

#[test]
fn both_branches_of_a_log_stay_with_what_was_built_on_either() {
    for number in 0..8 {
        let mut offices = Offices::new();
        offices.put(2, "tea", json!({"price": 1, "stock": 10}));
        offices.meet(0, 2);
        let copy = offices.copy(2);
        offices.put(2, "tea", json!({"price": 10 + number}));
        offices.put(copy, "tea", json!({"price": 20 + number}));
        // Head builds on the one, north on the other; neither knows of both.
        offices.meet(0, 2);
        offices.meet(1, copy);
        offices.put(0, "tea", json!({"price": 30 + number, "by": "head"}));
        offices.put(1, "tea", json!({"weight": 7}));
        offices.put(1, "rice", json!({"price": 5}));
        offices.converge();
        offices.agree().unwrap();
        for office in 0..offices.replicas.len() {
            let prices = offices.values(office, "tea", "price");
            let expected = [20 + number, 30 + number].map(|price| price.to_string());
            assert_eq!(prices, BTreeSet::from(expected), "head's replaced the one that it saw");
            assert_eq!(offices.field(office, "tea", "weight"), Some(Value::Int(7)));
            assert_eq!(offices.field(office, "rice", "price"), Some(Value::Int(5)));
        }
        let is_fork = |notice: &Notice| matches!(notice, Notice::Fork { .. });
        for office in 0..offices.replicas.len() {
            let count = offices.notices[office].iter().filter(|notice| is_fork(notice)).count();
            assert_eq!(count, 1, "each office learns of it once");
            assert_eq!(offices.replicas[office].status().forks.len(), 1);
        }
    }
}

#[test]
fn an_office_takes_all_of_another_that_built_on_a_branch_it_has_not_seen() {
    for number in 0..8 {
        let mut offices = Offices::new();
        let copy = offices.copy(2);
        offices.put(2, "bait", json!({"price": number}));
        offices.put(copy, "bait", json!({"price": 100 + number}));
        offices.meet(0, 2);
        offices.put(0, "bait", json!({"price": 300}));
        offices.put(0, "rice", json!({"price": 9}));
        // Head hears of the other branch; north meets head alone.
        offices.meet(0, copy);
        offices.meet(0, 1);
        offices.put(0, "salt", json!({"price": 1}));
        offices.meet(0, 1);
        assert_eq!(offices.field(1, "salt", "price"), Some(Value::Int(1)));
        assert_eq!(offices.digest(0), offices.digest(1));
        assert_eq!(offices.values(1, "bait", "price").len(), 2);
    }
}

#[test]
fn what_both_branches_decided_about_members_counts() {
    for number in 0..4 {
        let mut offices = Offices::new();
        let copy = offices.copy(0);
        let renamed = [(0, 1, format!("harbour-{number}")), (copy, 2, format!("depot-{number}"))];
        for (office, member, name) in &renamed {
            let (site, name) = (offices.replicas[*member].site(), name.clone());
            let decision = Decision::Rename { site, name };
            offices.input(*office, Input::Decide { id: 1, decision });
            offices.settle(*office, *office);
        }
        offices.put(0, "tea", json!({"price": 1}));
        offices.put(copy, "tea", json!({"price": 2}));
        offices.meet(0, 1);
        offices.meet(copy, 2);
        offices.converge();
        offices.agree().unwrap();
        for office in 0..offices.replicas.len() {
            let members = offices.replicas[office].realms().members().unwrap();
            for (_, member, name) in &renamed {
                let site = offices.replicas[*member].site();
                assert_eq!(members.name_of(&site), Some(name.as_str()), "at {office}");
            }
        }
    }
}

/// How many histories are tried: more with BRANCHLINE_HISTORIES.
fn histories() -> u32 {
    let asked = std::env::var("BRANCHLINE_HISTORIES").ok();
    asked.and_then(|asked| asked.parse().ok()).unwrap_or(48)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: histories(), max_shrink_iters: 200, ..ProptestConfig::default() })]

    /// Offices write, meet, and are copied, as often as not in the middle of a copy's life. All that they wrote is there in
    /// the end: each unique record, and each counter's difference once.
    #[test]
    fn nothing_is_lost_however_often_machines_are_set_back(steps in prop::collection::vec(step(), 10..40)) {
        let mut offices = Offices::new();
        let mut own = Vec::new();
        let mut sold: BTreeMap<u8, i64> = BTreeMap::new();
        for (number, step) in steps.into_iter().enumerate() {
            if let Step::Sell { id, by, .. } = &step {
                *sold.entry(*id).or_default() += i64::from(*by);
            }
            offices.take(step, number, 5, &mut own);
        }
        offices.converge();
        offices.agree()?;
        for office in 0..offices.replicas.len() {
            for (id, _) in &own {
                prop_assert!(offices.view(office, id).is_some(), "{} at {}", id, office);
            }
            for (id, sum) in &sold {
                let stock = offices.field(office, &format!("stock-{id}"), "stock");
                prop_assert_eq!(stock, Some(Value::Counter(*sum)), "stock of {} at {}", id, office);
            }
        }
    }
}

/// What a liar does, who holds the key of a site: it signs another entry behind any that it ever signed, with a change that
/// builds on what some office shows, or none, and hands it to some office.
#[derive(Clone, Debug)]
enum Lie {
    Sign {
        behind: usize,
        seen_at: usize,
        id: u8,
        is_empty: bool,
        names_past: bool,
        to: usize,
    },
    /// The payload of a former entry once more, in another place.
    Repeat {
        behind: usize,
        former: usize,
        to: usize,
    },
    Honest(Step),
}

fn lies() -> impl Strategy<Value = Vec<Lie>> {
    let one = || 0..64_usize;
    let sign = (one(), one(), 0..3_u8, prop::bool::weighted(0.1), any::<bool>(), one());
    let lie = prop_oneof![
        4 => sign.prop_map(|(behind, seen_at, id, is_empty, names_past, to)| {
            Lie::Sign { behind, seen_at, id, is_empty, names_past, to }
        }),
        1 => (one(), one(), one())
            .prop_map(|(behind, former, to)| Lie::Repeat { behind, former, to }),
        8 => step().prop_map(Lie::Honest),
    ];
    prop::collection::vec(lie, 10..50)
}

/// A member whose key somebody else has got hold of.
struct Liar {
    key: SiteKey,
    author: Author,
    signed: Vec<(Entry, Body)>,
}

impl Liar {
    fn sign(&mut self, offices: &Offices, behind: usize, past: Vec<Tip>, body: Body) -> Entry {
        let behind = self.signed.get(behind % (self.signed.len() + 1)).map(|(entry, _)| entry);
        let realm = offices.replicas[0].realms().network().unwrap();
        let draft = Draft {
            realm,
            space: realm.main_space(),
            author: self.author,
            seq: behind.map_or(1, |entry| entry.header.seq + 1),
            previous: behind.map_or(EntryHash::NONE, |entry| entry.hash),
            past,
            membership_past: Vec::new(),
            time_ms: self.signed.len() as i64,
        };
        let entry = draft.sign(&body, &self.key);
        self.signed.push((entry.clone(), body));
        entry
    }

    /// A change of a record as an office shows it.
    fn change(&self, offices: &Offices, seen_at: usize, id: u8) -> Option<RecordWrite> {
        let (collection, id) = ("products".to_owned(), id.to_string());
        let key = RecordKey { space: offices.space(), collection, id };
        let row = offices.replicas[seen_at].store().get(&key.record()).unwrap();
        let mut document = match &row {
            Some(row) => RecordRow::decode(row).unwrap().document().unwrap(),
            None => Document::empty(),
        };
        let number = self.signed.len();
        let fields = json!({"price": format!("lie {number}"), "note": format!("lied {number}"), "list": [number]});
        let edit = Edit::Merge { patch: object(fields), create: true };
        let actor = ActorBytes(self.author.actor());
        let edited = document.edit(actor, number as i64, &edit, None).ok()??;
        Some(RecordWrite { collection: key.collection, id: key.id, change: edited.change })
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: histories(), max_shrink_iters: 200, ..ProptestConfig::default() })]

    /// Whatever one member signs, whenever: the offices come to show the same, and nothing that an honest one wrote is void.
    #[test]
    fn a_liar_takes_nothing_of_what_others_wrote(lies in lies()) {
        let mut offices = Offices::new();
        let key = SiteKey::from_seed([3; 32]);
        let author = Author { site: key.site(), incarnation: Incarnation([9; 8]) };
        let mut liar = Liar { key, author, signed: Vec::new() };
        let mut own = Vec::new();
        for (number, lie) in lies.into_iter().enumerate() {
            let (entry, to) = match lie {
                Lie::Honest(step) => {
                    offices.take(step, number, 3, &mut own);
                    continue;
                }
                Lie::Sign { behind, seen_at, id, is_empty, names_past, to } => {
                    let seen_at = seen_at % 3;
                    let change = liar.change(&offices, seen_at, id).filter(|_| !is_empty);
                    let changes: Vec<_> = change.into_iter().collect();
                    let transactions = if changes.is_empty() { Vec::new() } else { vec![Transaction { origin: None, changes }] };
                    let tips = offices.replicas[seen_at].realms().frontier(offices.space()).unwrap();
                    let tips = tips.tips().filter(|tip| names_past && tip.author != author);
                    let (past, body) = (tips.collect(), Body::Transactions(transactions));
                    (liar.sign(&offices, behind, past, body), to)
                }
                Lie::Repeat { behind, former, to } => {
                    let former = former % liar.signed.len().max(1);
                    let Some((_, body)) = liar.signed.get(former).cloned() else { continue };
                    (liar.sign(&offices, behind, Vec::new(), body), to)
                }
            };
            let data = codec::encode(&Gossip::Entry(entry.bytes().to_vec()));
            let from = liar.key.site();
            offices.input(to % 2, Input::Gossip { from, token: 0, data });
            offices.settle(to % 2, to % 2);
        }
        offices.converge();
        let space = offices.space();
        let frontier = offices.replicas[0].realms().frontier(space);
        for office in 0..3 {
            prop_assert_eq!(&offices.replicas[office].realms().frontier(space), &frontier);
            prop_assert_eq!(offices.digest(office), offices.digest(0), "digest of {}", office);
            prop_assert_eq!(offices.statuses(office), offices.statuses(0), "entries of {}", office);
            for (id, by) in &own {
                prop_assert_eq!(offices.field(office, id, "by"), Some(Value::Int(*by as i64)), "{} at {}", id, office);
            }
        }
        let is_honest = |id: &EntryId| id.author.site != author.site;
        let statuses = offices.statuses(0);
        let void: Vec<_> = statuses.iter().filter(|(id, status)| is_honest(id) && **status != EntryStatus::Applied).collect();
        prop_assert!(void.is_empty(), "{void:?}");
        let digest = offices.digest(0);
        for office in 0..3 {
            offices.rebuild(office);
            prop_assert_eq!(offices.digest(office), digest.clone(), "rebuilt at {}", office);
        }
    }
}
