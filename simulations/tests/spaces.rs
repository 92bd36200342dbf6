//! Private spaces: the sites of one converge, and the others learn nothing of it.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "spaces/random.rs"]
mod random;

use std::cell::RefCell;
use std::rc::Rc;

use branchline_crdt::format::codec;
use branchline_crdt::ids::{RealmId, SiteId, SpaceId};
use branchline_crdt::membership::Role;
use branchline_crdt::protocol::{Gossip, Request};
use branchline_crdt::record::Edit;
use branchline_crdt::replica::{
    Decision, DecisionError, Notice, RecordEdit, SpaceDecision, SpaceStatus, WriteError, Written,
};
use branchline_crdt::store::read;
use branchline_crdt::store::tables::records::RecordKey;
use branchline_simulations::World;
use branchline_simulations::world::{Ending, Message, Tamper};
use serde_json::{Value as Json, json};

const SETTLE_MS: u64 = 60_000;
const HEAD: usize = 0;
const NORTH: usize = 1;
const SOUTH: usize = 2;
const DEPOT: usize = 3;

/// Head and three branches, all linked.
fn offices(seed: u64) -> World {
    let mut world = World::new(seed, &["head", "north", "south", "depot"]);
    world.link_all(&[HEAD, NORTH, SOUTH, DEPOT]);
    world.run_ms(SETTLE_MS);
    assert!(world.in_step());
    world
}

fn create(world: &mut World, office: usize, name: &str) -> RealmId {
    let mut nonce = [0; 16];
    nonce[..name.len().min(16)].copy_from_slice(&name.as_bytes()[..name.len().min(16)]);
    world.decide(office, Decision::CreateSpace { name: name.to_owned(), nonce }).unwrap().unwrap();
    status(world, office, name).expect("the space that was made").realm
}

fn decide(
    world: &mut World,
    by: usize,
    realm: RealmId,
    decision: SpaceDecision,
) -> Result<(), DecisionError> {
    world.decide(by, Decision::InSpace { realm, decision }).unwrap()
}

fn grant(
    world: &mut World,
    by: usize,
    realm: RealmId,
    office: usize,
    role: Role,
) -> Result<(), DecisionError> {
    let site = world.site_id(office);
    decide(world, by, realm, SpaceDecision::Grant { site, role })
}

fn status(world: &World, office: usize, name: &str) -> Option<SpaceStatus> {
    world.replica(office)?.spaces().into_iter().find(|space| space.name == name)
}

fn write(
    world: &mut World,
    office: usize,
    realm: RealmId,
    id: &str,
    value: Json,
) -> Result<Written, WriteError> {
    let Json::Object(fields) = value else { panic!("{value} is no object") };
    let edits = vec![RecordEdit::new("sales", id, Edit::Put(fields))];
    world.try_transact_in(office, Some(realm.main_space()), None, edits).expect("an answer")
}

fn shows(world: &World, office: usize, realm: RealmId, id: &str) -> bool {
    let store = world.replica(office).unwrap().store();
    let (collection, id) = ("sales".to_owned(), id.to_owned());
    read::record(store, &RecordKey { space: realm.main_space(), collection, id }).unwrap().is_some()
}

#[track_caller]
fn assert_equal(world: &World, offices: &[usize], realm: RealmId) {
    let state = |office: usize| {
        let replica = world.replica(office).unwrap();
        let frontier = |space: SpaceId| format!("{:?}", replica.realms().frontier(space));
        let members =
            format!("{:?}", replica.realms().members_of(realm).map(|members| members.all()));
        let digest = read::digest(replica.store(), realm.main_space()).unwrap().to_string();
        (frontier(realm.membership_space()), frontier(realm.main_space()), members, digest)
    };
    for office in &offices[1..] {
        assert_eq!(state(*office), state(offices[0]), "office {office}");
    }
}

/// Everything that is sent to an office from now on.
fn listen_to(world: &mut World, office: usize) -> Rc<RefCell<Vec<Vec<u8>>>> {
    let heard: Rc<RefCell<Vec<Vec<u8>>>> = Rc::default();
    let keep = heard.clone();
    let tamper: Tamper = Box::new(move |_, to, message: &mut Message| {
        if to == office {
            let mut bytes = message.bytes().to_vec();
            if let Message::Gossip { topic, .. } = message {
                bytes.extend_from_slice(topic.as_bytes());
            }
            keep.borrow_mut().push(bytes);
        }
        true
    });
    world.tamper(tamper);
    heard
}

fn has(haystack: &[u8], needle: &[u8]) -> bool {
    haystack.windows(needle.len()).any(|window| window == needle)
}

#[test]
fn the_sites_of_a_space_converge_and_the_others_learn_nothing_of_it() {
    let mut world = offices(1);
    let heard = listen_to(&mut world, SOUTH);
    let realm = create(&mut world, HEAD, "northern");
    grant(&mut world, HEAD, realm, NORTH, Role::Writer).unwrap();
    write(&mut world, HEAD, realm, "by-head", json!({"note": "confidential"})).unwrap();
    world.run_ms(2_000);
    // Without a word to anyone, north is in it and writes.
    assert!(shows(&world, NORTH, realm, "by-head"));
    write(&mut world, NORTH, realm, "by-north", json!({"total": 7})).unwrap();
    world.run_ms(2_000);
    assert!(shows(&world, HEAD, realm, "by-north"));
    world.run_ms(SETTLE_MS);
    assert_equal(&world, &[HEAD, NORTH], realm);
    let entered =
        |notice: &Notice| matches!(notice, Notice::SpaceEntered { name, .. } if name == "northern");
    assert!(world.notices(NORTH).iter().any(entered));
    for office in [SOUTH, DEPOT] {
        assert!(world.replica(office).unwrap().spaces().is_empty());
        assert!(!shows(&world, office, realm, "by-head"));
    }
    // Not a byte of it: neither its ids nor its name, nor what is in it.
    let secrets: [&[u8]; 5] = [
        &realm.0[..],
        &realm.main_space().0[..],
        &realm.membership_space().0[..],
        b"northern",
        b"confidential",
    ];
    for message in heard.borrow().iter() {
        for secret in secrets {
            assert!(!has(message, secret), "{message:?}");
        }
    }
    assert!(!heard.borrow().is_empty());
    // The records of main are everybody's.
    let edit = Edit::Put(json!({"a": 1}).as_object().unwrap().clone());
    world.write(NORTH, "products", "tea", edit).unwrap();
    world.run_ms(SETTLE_MS);
    assert!(world.view(SOUTH, "products", "tea").is_some());
    assert!(world.in_step());
}

#[test]
fn a_space_spreads_through_its_sites_alone() {
    let mut world = offices(2);
    let realm = create(&mut world, HEAD, "chain");
    for office in [NORTH, DEPOT] {
        grant(&mut world, HEAD, realm, office, Role::Writer).unwrap();
    }
    world.run_ms(SETTLE_MS);
    for office in 0..4 {
        world.unlink_all(office);
    }
    // South stands between two sites of the space and carries nothing of it.
    world.link(NORTH, SOUTH);
    world.link(SOUTH, DEPOT);
    write(&mut world, NORTH, realm, "kept", json!({"a": 1})).unwrap();
    world.run_ms(SETTLE_MS);
    assert!(!shows(&world, DEPOT, realm, "kept"));
    world.link(HEAD, NORTH);
    world.link(HEAD, DEPOT);
    world.run_ms(SETTLE_MS);
    assert!(shows(&world, DEPOT, realm, "kept"));
    assert_equal(&world, &[HEAD, NORTH, DEPOT], realm);
    assert!(world.replica(SOUTH).unwrap().spaces().is_empty());
}

#[test]
fn a_space_goes_on_between_sites_that_have_all_replaced_their_keys() {
    let mut world = offices(4);
    let realm = create(&mut world, HEAD, "northern");
    grant(&mut world, HEAD, realm, NORTH, Role::Writer).unwrap();
    write(&mut world, HEAD, realm, "before", json!({"a": 1})).unwrap();
    world.run_ms(SETTLE_MS);
    world.unlink_all(HEAD);
    for office in [HEAD, NORTH, SOUTH, DEPOT] {
        assert!(world.rotate(office));
    }
    write(&mut world, HEAD, realm, "by-head", json!({"a": 1})).unwrap();
    write(&mut world, NORTH, realm, "by-north", json!({"a": 1})).unwrap();
    world.run_ms(SETTLE_MS);
    world.link_all(&[HEAD, NORTH, SOUTH, DEPOT]);
    world.run_ms(SETTLE_MS);
    assert!(world.in_step());
    assert_equal(&world, &[HEAD, NORTH], realm);
    for office in [HEAD, NORTH] {
        assert!(
            shows(&world, office, realm, "by-head") && shows(&world, office, realm, "by-north")
        );
    }
    assert!([SOUTH, DEPOT].iter().all(|office| status(&world, *office, "northern").is_none()));
}

#[test]
fn roles_are_those_of_the_space() {
    let mut world = World::found(3, &["head"]);
    for (name, role) in [("north", Role::Reader), ("south", Role::Admin)] {
        let office = world.add_office(name);
        world.link(HEAD, office);
        world.join(HEAD, office, role);
    }
    world.link(NORTH, SOUTH);
    world.run_ms(SETTLE_MS);
    let realm = create(&mut world, HEAD, "tills");
    grant(&mut world, HEAD, realm, NORTH, Role::Writer).unwrap();
    grant(&mut world, HEAD, realm, SOUTH, Role::Reader).unwrap();
    world.run_ms(SETTLE_MS);
    // A reader of the network writes here, and an admin of it only reads.
    write(&mut world, NORTH, realm, "sale", json!({"a": 1})).unwrap();
    let refused = write(&mut world, SOUTH, realm, "sale", json!({"a": 2}));
    assert!(matches!(refused, Err(WriteError::Role { role: Role::Reader, .. })), "{refused:?}");
    let refused = grant(&mut world, SOUTH, realm, NORTH, Role::Admin);
    assert!(matches!(refused, Err(DecisionError::Role { .. })), "{refused:?}");
    grant(&mut world, HEAD, realm, SOUTH, Role::Writer).unwrap();
    world.run_ms(SETTLE_MS);
    write(&mut world, SOUTH, realm, "sale", json!({"a": 2})).unwrap();
    world.run_ms(SETTLE_MS);
    assert_equal(&world, &[HEAD, NORTH, SOUTH], realm);
}

#[test]
fn what_cannot_be_decided_of_a_space_says_why() {
    let mut world = offices(4);
    let realm = create(&mut world, HEAD, "tills");
    let taken = world.decide(HEAD, Decision::CreateSpace { name: "tills".into(), nonce: [1; 16] });
    assert!(matches!(taken, Some(Err(DecisionError::SpaceNameTaken { .. }))), "{taken:?}");
    let bad = world.decide(HEAD, Decision::CreateSpace { name: "main".into(), nonce: [1; 16] });
    assert!(matches!(bad, Some(Err(DecisionError::SpaceName(_)))), "{bad:?}");
    let by_writer = world.decide(NORTH, Decision::CreateSpace { name: "x".into(), nonce: [1; 16] });
    assert!(matches!(by_writer, Some(Err(DecisionError::Role { .. }))), "{by_writer:?}");
    let unknown = grant(&mut world, NORTH, realm, SOUTH, Role::Writer);
    assert!(matches!(unknown, Err(DecisionError::UnknownSpace)), "{unknown:?}");
    let (site, role) = (SiteId([9; 32]), Role::Writer);
    let stranger = decide(&mut world, HEAD, realm, SpaceDecision::Grant { site, role });
    assert!(matches!(stranger, Err(DecisionError::UnknownSite { .. })), "{stranger:?}");
    let site = world.site_id(SOUTH);
    let outside = decide(&mut world, HEAD, realm, SpaceDecision::Revoke { site });
    assert!(matches!(outside, Err(DecisionError::NotInSpace { .. })), "{outside:?}");
    let last = decide(&mut world, HEAD, realm, SpaceDecision::Leave);
    assert!(matches!(last, Err(DecisionError::LastAdmin)), "{last:?}");
    let nowhere = write(&mut world, NORTH, realm, "x", json!({"a": 1}));
    assert!(matches!(nowhere, Err(WriteError::UnknownSpace)), "{nowhere:?}");
}

#[test]
fn who_is_shut_out_of_a_space_is_told_and_gets_nothing_more() {
    let mut world = offices(5);
    let realm = create(&mut world, HEAD, "tills");
    for office in [NORTH, SOUTH] {
        grant(&mut world, HEAD, realm, office, Role::Writer).unwrap();
    }
    world.run_ms(SETTLE_MS);
    write(&mut world, SOUTH, realm, "before", json!({"a": 1})).unwrap();
    world.run_ms(2_000);
    let site = world.site_id(SOUTH);
    decide(&mut world, HEAD, realm, SpaceDecision::Revoke { site }).unwrap();
    world.run_ms(SETTLE_MS);
    write(&mut world, HEAD, realm, "after", json!({"a": 1})).unwrap();
    world.run_ms(SETTLE_MS);
    assert!(shows(&world, SOUTH, realm, "before") && !shows(&world, SOUTH, realm, "after"));
    assert_eq!(status(&world, SOUTH, "tills").unwrap().closed_by, Some(world.site_id(HEAD)));
    let refused = write(&mut world, SOUTH, realm, "late", json!({"a": 1}));
    assert!(matches!(refused, Err(WriteError::OutOfSpace { left: false, .. })), "{refused:?}");
    assert_equal(&world, &[HEAD, NORTH], realm);
    assert!(shows(&world, NORTH, realm, "before"));
    // A member of the network it stays.
    assert!(world.in_step());
    let again = grant(&mut world, HEAD, realm, SOUTH, Role::Writer);
    assert!(matches!(again, Err(DecisionError::AlreadyRevoked { .. })), "{again:?}");
}

#[test]
fn who_was_shut_out_of_a_space_comes_back_under_another_key() {
    for knows in [true, false] {
        let mut world = offices(6);
        let realm = create(&mut world, HEAD, "tills");
        grant(&mut world, HEAD, realm, NORTH, Role::Writer).unwrap();
        world.run_ms(SETTLE_MS);
        world.unlink_all(NORTH);
        let site = world.site_id(NORTH);
        decide(&mut world, HEAD, realm, SpaceDecision::Revoke { site }).unwrap();
        if knows {
            world.link(HEAD, NORTH);
            world.run_ms(2_000);
            assert!(status(&world, NORTH, "tills").unwrap().closed_by.is_some());
        } else {
            // Nobody there takes this key for one of the space, and it hears so.
            assert!(world.rotate(NORTH));
            world.link(HEAD, NORTH);
            world.run_ms(SETTLE_MS);
            let again = grant(&mut world, HEAD, realm, NORTH, Role::Writer);
            assert!(matches!(again, Err(DecisionError::AlreadyRevoked { .. })), "{again:?}");
        }
        let refused = write(&mut world, NORTH, realm, "out", json!({"a": 1}));
        assert!(matches!(refused, Err(WriteError::OutOfSpace { left: false, .. })), "{refused:?}");
        assert!(world.rotate(NORTH));
        world.run_ms(SETTLE_MS);
        let refused = write(&mut world, NORTH, realm, "still-out", json!({"a": 1}));
        assert!(refused.is_err(), "{refused:?}");
        grant(&mut world, HEAD, realm, NORTH, Role::Writer).unwrap();
        world.run_ms(SETTLE_MS);
        write(&mut world, NORTH, realm, "back", json!({"a": 1})).unwrap();
        world.run_ms(SETTLE_MS);
        assert!(shows(&world, HEAD, realm, "back"), "knows: {knows}");
        assert_equal(&world, &[HEAD, NORTH], realm);
    }
}

#[test]
fn who_is_connected_hears_at_once_that_it_was_shut_out_of_a_space() {
    let mut world = offices(6);
    let realm = create(&mut world, HEAD, "tills");
    grant(&mut world, HEAD, realm, NORTH, Role::Writer).unwrap();
    world.run_ms(SETTLE_MS);
    let site = world.site_id(NORTH);
    decide(&mut world, HEAD, realm, SpaceDecision::Revoke { site }).unwrap();
    world.run_ms(500);
    assert!(status(&world, NORTH, "tills").unwrap().closed_by.is_some());
}

/// Head shuts two offices out of a space while it is alone; north hears of both decisions in one answer, and vouches for
/// what it holds of them.
#[test]
fn who_hears_of_two_sites_shut_out_of_a_space_tells_neither_anything_in_between() {
    let mut world = offices(11);
    let realm = create(&mut world, HEAD, "tills");
    for office in [NORTH, SOUTH, DEPOT] {
        grant(&mut world, HEAD, realm, office, Role::Writer).unwrap();
    }
    world.run_ms(SETTLE_MS);
    world.unlink_all(HEAD);
    for office in [SOUTH, DEPOT] {
        let site = world.site_id(office);
        decide(&mut world, HEAD, realm, SpaceDecision::Revoke { site }).unwrap();
        write(&mut world, office, realm, &format!("late-{office}"), json!({"a": 1})).unwrap();
    }
    world.run_ms(SETTLE_MS);
    let reported: Rc<RefCell<Vec<Gossip>>> = Rc::default();
    let keep = reported.clone();
    world.tamper(Box::new(move |from, to, message: &mut Message| {
        if let Message::Request { body, .. } = message
            && let Ok(Request::Notify(gossip)) = codec::decode("request", body)
            && from == NORTH
            && (to == SOUTH || to == DEPOT)
        {
            keep.borrow_mut().push(gossip);
        }
        true
    }));
    world.link(HEAD, NORTH);
    world.run_ms(SETTLE_MS);
    assert_equal(&world, &[HEAD, NORTH], realm);
    assert!(shows(&world, HEAD, realm, "late-2") && shows(&world, HEAD, realm, "late-3"));
    // That there is something to ask for, by which they learn that they are out.
    let reported = reported.borrow();
    let is_hint = |gossip: &Gossip| *gossip == Gossip::Hint(realm.membership_space());
    assert!(reported.len() >= 2 && reported.iter().all(is_hint), "{reported:?}");
}

#[test]
fn a_site_leaves_when_what_it_wrote_is_held_elsewhere() {
    let mut world = offices(6);
    let realm = create(&mut world, HEAD, "tills");
    grant(&mut world, HEAD, realm, NORTH, Role::Writer).unwrap();
    world.run_ms(SETTLE_MS);
    world.unlink_all(NORTH);
    world.run_ms(SETTLE_MS);
    write(&mut world, NORTH, realm, "alone", json!({"a": 1})).unwrap();
    let refused = decide(&mut world, NORTH, realm, SpaceDecision::Leave);
    assert!(matches!(refused, Err(DecisionError::OnlyHere { entries: 1.. })), "{refused:?}");
    world.link(HEAD, NORTH);
    world.run_ms(SETTLE_MS);
    decide(&mut world, NORTH, realm, SpaceDecision::Leave).unwrap();
    world.run_ms(SETTLE_MS);
    write(&mut world, HEAD, realm, "later", json!({"a": 1})).unwrap();
    world.run_ms(SETTLE_MS);
    assert!(shows(&world, HEAD, realm, "alone"));
    assert!(!shows(&world, NORTH, realm, "later"));
    let refused = write(&mut world, NORTH, realm, "late", json!({"a": 1}));
    assert!(matches!(refused, Err(WriteError::OutOfSpace { left: true, .. })), "{refused:?}");
    assert_eq!(status(&world, HEAD, "tills").unwrap().sites.len(), 1);
}

#[test]
fn spaces_survive_crashes_and_rebuilds() {
    let mut world = offices(7);
    let realm = create(&mut world, HEAD, "tills");
    grant(&mut world, HEAD, realm, NORTH, Role::Writer).unwrap();
    world.run_ms(SETTLE_MS);
    write(&mut world, NORTH, realm, "one", json!({"a": 1})).unwrap();
    world.stop(NORTH, Ending::Killed);
    world.start(NORTH);
    world.run_ms(SETTLE_MS);
    assert!(shows(&world, NORTH, realm, "one"));
    write(&mut world, NORTH, realm, "two", json!({"a": 2})).unwrap();
    world.rebuild(NORTH);
    world.run_ms(SETTLE_MS);
    for id in ["one", "two"] {
        assert!(shows(&world, NORTH, realm, id) && shows(&world, HEAD, realm, id), "{id}");
    }
    assert_equal(&world, &[HEAD, NORTH], realm);
}

#[test]
fn who_is_shut_out_of_the_network_is_shut_out_of_its_spaces() {
    let mut world = offices(8);
    let realm = create(&mut world, HEAD, "tills");
    for office in [NORTH, SOUTH] {
        grant(&mut world, HEAD, realm, office, Role::Writer).unwrap();
    }
    world.run_ms(SETTLE_MS);
    let site = world.site_id(SOUTH);
    world.decide(HEAD, Decision::Revoke { site }).unwrap().unwrap();
    world.run_ms(SETTLE_MS);
    for office in [HEAD, NORTH] {
        let members = world.replica(office).unwrap().realms().members_of(realm).unwrap();
        assert!(members.get(&site).is_none() && members.revoked().contains_key(&site));
    }
    assert_equal(&world, &[HEAD, NORTH], realm);
}

#[test]
fn grants_on_both_sides_of_a_partition_both_count() {
    let mut world = offices(9);
    let realm = create(&mut world, HEAD, "tills");
    grant(&mut world, HEAD, realm, NORTH, Role::Admin).unwrap();
    world.run_ms(SETTLE_MS);
    for office in 0..4 {
        world.unlink_all(office);
    }
    world.link(HEAD, SOUTH);
    world.link(NORTH, DEPOT);
    grant(&mut world, HEAD, realm, SOUTH, Role::Writer).unwrap();
    grant(&mut world, NORTH, realm, DEPOT, Role::Writer).unwrap();
    world.run_ms(SETTLE_MS);
    write(&mut world, SOUTH, realm, "south", json!({"a": 1})).unwrap();
    write(&mut world, DEPOT, realm, "depot", json!({"a": 1})).unwrap();
    world.link_all(&[HEAD, NORTH, SOUTH, DEPOT]);
    world.run_ms(2 * SETTLE_MS);
    assert_equal(&world, &[HEAD, NORTH, SOUTH, DEPOT], realm);
    for office in 0..4 {
        assert!(shows(&world, office, realm, "south") && shows(&world, office, realm, "depot"));
    }
}

#[test]
fn two_sites_may_share_many_spaces() {
    let mut world = offices(10);
    let roots: Vec<_> = (0..40)
        .map(|number| {
            let realm = create(&mut world, HEAD, &format!("space-{number}"));
            grant(&mut world, HEAD, realm, NORTH, Role::Writer).unwrap();
            write(&mut world, HEAD, realm, "one", json!({"a": number})).unwrap();
            realm
        })
        .collect();
    world.run_ms(SETTLE_MS);
    for realm in &roots {
        assert!(shows(&world, NORTH, *realm, "one"));
    }
    world.unlink(HEAD, NORTH);
    world.run_ms(SETTLE_MS);
    for realm in &roots {
        write(&mut world, NORTH, *realm, "two", json!({"a": 2})).unwrap();
    }
    world.link(HEAD, NORTH);
    world.run_ms(SETTLE_MS);
    for realm in &roots {
        assert_equal(&world, &[HEAD, NORTH], *realm);
    }
}
