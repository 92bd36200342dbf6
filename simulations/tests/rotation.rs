//! Keys that are replaced, at the same time as other things: everyone agrees on who is in, and by which key.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::cell::RefCell;
use std::rc::Rc;

use branchline_crdt::format::codec;
use branchline_crdt::ids::{RealmId, SiteId, SiteKey};
use branchline_crdt::membership::{FORMER_KEYS_MAX, FormerKey, Role};
use branchline_crdt::protocol::{Introduction, Welcome};
use branchline_crdt::record::Edit;
use branchline_crdt::replica::Decision;
use branchline_simulations::World;
use branchline_simulations::world::Message;
use serde_json::{Value as Json, json};

const SETTLE_MS: u64 = 120_000;

fn put(value: Json) -> Edit {
    match value {
        Json::Object(map) => Edit::Put(map),
        other => panic!("{other} is no object"),
    }
}

fn write(world: &mut World, office: usize, id: &str) {
    world.write(office, "products", id, put(json!({"price": office}))).unwrap();
}

fn shows(world: &World, office: usize, id: &str) -> bool {
    world.view(office, "products", id).is_some()
}

/// Links the offices of each group to each other, and to no others.
fn part(world: &mut World, groups: &[&[usize]]) {
    for a in 0..world.office_count() {
        for b in 0..a {
            let is_linked = groups.iter().any(|group| group.contains(&a) && group.contains(&b));
            if is_linked {
                world.link(a, b);
            } else {
                world.unlink(a, b);
            }
        }
    }
}

/// Head, north, south and west, in step: head founded the network, north is an admin too.
fn offices() -> World {
    let mut world = World::new(11, &["head", "north", "south", "west"]);
    part(&mut world, &[&[0, 1, 2, 3]]);
    let site = world.site_id(1);
    world.decide(0, Decision::ChangeRole { site, role: Role::Admin }).unwrap().unwrap();
    write(&mut world, 0, "tea");
    world.run_ms(SETTLE_MS);
    assert!(world.in_step());
    world
}

/// The members as an office knows them, with their names.
fn members(world: &World, office: usize) -> Vec<(SiteId, String)> {
    let members = world.replica(office).unwrap().realms().members().unwrap();
    members.all().iter().map(|(site, member)| (*site, member.name.clone())).collect()
}

fn is_in(world: &World, office: usize) -> bool {
    members(world, 0).iter().any(|(site, _)| *site == world.site_id(office))
}

#[track_caller]
fn assert_agreed(world: &World, offices: &[usize]) {
    assert!(world.are_in_step(offices), "not in step");
    for office in offices {
        assert_eq!(members(world, *office), members(world, offices[0]));
        assert_eq!(world.digest(*office), world.digest(offices[0]));
    }
}

#[test]
fn keys_replaced_on_both_sides_of_a_cut_all_count() {
    let mut world = offices();
    part(&mut world, &[&[0, 1], &[2, 3]]);
    for office in 0..4 {
        // One keeps the key by which the other side knows it.
        assert!(office == 3 || world.rotate(office), "office {office}");
        write(&mut world, office, &format!("by-{office}"));
        world.run_ms(5_000);
    }
    world.run_ms(SETTLE_MS);
    part(&mut world, &[&[0, 1, 2, 3]]);
    world.run_ms(SETTLE_MS);
    assert_agreed(&world, &[0, 1, 2, 3]);
    let names: Vec<_> = members(&world, 0).into_iter().map(|(_, name)| name).collect();
    assert_eq!(names.len(), 4);
    for name in ["head", "north", "south", "west"] {
        assert!(names.contains(&name.to_owned()), "{names:?}");
    }
    for office in 0..4 {
        assert!((0..4).all(|by| shows(&world, office, &format!("by-{by}"))), "office {office}");
    }
}

#[test]
fn two_copies_of_a_disk_that_each_take_a_key_leave_the_site_in() {
    // With no line to each other, then one after the other, or both at once.
    for groups in [&[&[0_usize, 1, 2, 3][..], &[4]][..], &[&[0, 1, 3][..], &[2], &[4]]] {
        let mut world = offices();
        let copy = world.clone_office(2, "south-copy");
        part(&mut world, groups);
        assert!(world.rotate(2) && world.rotate(copy));
        write(&mut world, 2, "by-south");
        write(&mut world, copy, "by-copy");
        world.run_ms(SETTLE_MS);
        part(&mut world, &[&[0, 1, 2, 3, 4]]);
        world.run_ms(SETTLE_MS);
        let is_in = [2, copy].map(|office| is_in(&world, office));
        assert!(is_in.contains(&true), "neither key counts");
        let agrees = |office: &usize| match office {
            2 => is_in[0],
            4 => is_in[1],
            _ => true,
        };
        assert_agreed(&world, &(0..5).filter(agrees).collect::<Vec<_>>());
        for (office, id, is_in) in [(2, "by-south", is_in[0]), (copy, "by-copy", is_in[1])] {
            assert_eq!(shows(&world, 0, id), is_in, "office {office}");
        }
    }
}

#[test]
fn two_copies_of_a_disk_that_take_keys_on_two_sides_of_a_cut_end_the_same_everywhere() {
    let mut world = offices();
    let copy = world.clone_office(2, "south-copy");
    part(&mut world, &[&[0, 2], &[1, 3, copy]]);
    assert!(world.rotate(2) && world.rotate(copy));
    write(&mut world, 2, "by-south");
    write(&mut world, copy, "by-copy");
    world.run_ms(SETTLE_MS);
    assert!(shows(&world, 0, "by-south") && shows(&world, 3, "by-copy"));
    part(&mut world, &[&[0, 1, 2, 3, copy]]);
    world.run_ms(SETTLE_MS);
    // Each was taken in by members who did not know of the other: nothing that showed is taken back.
    assert!(is_in(&world, 2) && is_in(&world, copy));
    assert_agreed(&world, &[0, 1, 2, 3, copy]);
    for office in 0..5 {
        assert!(shows(&world, office, "by-south") && shows(&world, office, "by-copy"), "{office}");
    }
}

#[test]
fn who_is_revoked_while_it_takes_another_key_is_out_by_both() {
    for revokes_first in [true, false] {
        let mut world = offices();
        part(&mut world, &[&[0, 1], &[2, 3]]);
        let old = world.site_id(3);
        if revokes_first {
            world.decide(1, Decision::Revoke { site: old }).unwrap().unwrap();
        }
        assert!(world.rotate(3));
        write(&mut world, 3, "seen-by-south");
        world.run_ms(SETTLE_MS);
        if !revokes_first {
            world.decide(1, Decision::Revoke { site: old }).unwrap().unwrap();
        }
        part(&mut world, &[&[0, 1, 2], &[3]]);
        write(&mut world, 3, "seen-by-nobody");
        world.run_ms(SETTLE_MS);
        part(&mut world, &[&[0, 1, 2, 3]]);
        world.run_ms(SETTLE_MS);
        assert_agreed(&world, &[0, 1, 2]);
        for office in 0..3 {
            assert!(!is_in(&world, 3));
            assert!(shows(&world, office, "seen-by-south"), "office {office}");
            assert!(!shows(&world, office, "seen-by-nobody"), "office {office}");
        }
        let members = world.replica(3).unwrap();
        assert!(members.realms().revoked_by().is_some(), "it is informed");
    }
}

#[test]
fn every_key_replaced_on_both_sides_of_a_cut() {
    let mut world = offices();
    part(&mut world, &[&[0, 1], &[2, 3]]);
    for office in 0..4 {
        assert!(world.rotate(office), "office {office}");
        world.run_ms(5_000);
    }
    world.run_ms(SETTLE_MS);
    part(&mut world, &[&[0, 1, 2, 3]]);
    world.run_ms(SETTLE_MS);
    assert_agreed(&world, &[0, 1, 2, 3]);
}

#[test]
fn two_offices_that_replace_their_keys_again_and_again_meet_though_messages_are_lost() {
    for seed in 0..4 {
        let mut world = World::new(seed, &["head", "north"]);
        part(&mut world, &[&[0, 1]]);
        world.run_ms(SETTLE_MS);
        part(&mut world, &[]);
        for round in 0..3 {
            assert!(world.rotate(0));
            assert!(round == 2 || world.rotate(1));
        }
        for office in [0, 1] {
            write(&mut world, office, &format!("by-{office}"));
        }
        // The first of what the two say to each other is lost, of each kind.
        let mut lost = [2 + seed, 1 + seed];
        world.tamper(Box::new(move |_, _, message| {
            let kind = match message {
                Message::Introduction { .. } => 0,
                Message::IntroductionAnswer { .. } => 1,
                _ => return true,
            };
            let is_lost = lost[kind] > 0;
            lost[kind] -= u64::from(is_lost);
            !is_lost
        }));
        part(&mut world, &[&[0, 1]]);
        world.run_ms(5 * SETTLE_MS);
        assert_agreed(&world, &[0, 1]);
        assert!((0..2).all(|office| shows(&world, office, &format!("by-{}", 1 - office))));
    }
}

/// What head says to a stranger that shows it these former keys, and whether it then lets it in.
fn shown(world: &mut World, stranger: SiteId, former: Vec<FormerKey>) -> (Welcome, bool) {
    let answers: Rc<RefCell<Vec<Vec<u8>>>> = Rc::default();
    let (heard, office) = (answers.clone(), world.office_count() - 1);
    assert_eq!(world.site_id(office), stranger);
    world.tamper(Box::new(move |_, to, message| {
        if let (true, Message::IntroductionAnswer { body }) = (to == office, &message) {
            heard.borrow_mut().push(body.clone());
        }
        true
    }));
    let body = codec::encode(&Introduction::FormerKeys(former));
    world.send(office, 0, Message::Introduction { body });
    world.run_ms(1_000);
    let answer = answers.borrow_mut().pop().expect("an answer");
    (codec::decode("welcome", &answer).unwrap(), world.told_members(0).contains(&stranger))
}

fn is_refused(shown: &(Welcome, bool)) -> bool {
    matches!(shown.0, Welcome::Refused(_)) && !shown.1
}

#[test]
fn a_stranger_is_let_in_by_the_words_of_a_members_keys_alone() {
    let mut world = offices();
    let stranger = world.add_office("stranger");
    world.link(0, stranger);
    let (network, site) = (world.network().unwrap(), world.site_id(stranger));
    let key = |byte| SiteKey::from_seed([byte; 32]);
    let south = world.key(2).clone();
    let frontier = |world: &World| {
        let space = network.membership_space();
        world.replica(0).unwrap().realms().frontier(space)
    };
    let before = frontier(&world);
    let mine = FormerKey::sign(network, &key(5), site);
    let forged = FormerKey { site: south.site(), word: mine.word };
    let elsewhere = FormerKey::sign(RealmId([8; 32]), &south, site);
    let for_another = FormerKey::sign(network, &south, key(6).site());
    // Longer than anyone replaces keys between two words of each other.
    let keys: Vec<_> = (0..=FORMER_KEYS_MAX as u8).map(|number| key(100 + number)).collect();
    let mut long = vec![FormerKey::sign(network, &keys[0], site)];
    long.extend(keys.windows(2).map(|two| FormerKey::sign(network, &two[1], two[0].site())));
    let member = keys.last().unwrap().site();
    long.push(FormerKey::sign(network, &south, member));
    for former in [vec![], vec![mine], vec![forged], vec![elsewhere], vec![for_another], long] {
        let shown = shown(&mut world, site, former);
        assert!(is_refused(&shown), "{:?}", shown.0);
    }
    assert_eq!(frontier(&world), before, "something was kept");

    // The word of a member's key, by way of another.
    let former =
        [FormerKey::sign(network, &key(5), site), FormerKey::sign(network, &south, key(5).site())];
    let (welcome, is_in) = shown(&mut world, site, former.to_vec());
    assert!(matches!(welcome, Welcome::FormerKeys(_)) && is_in, "{welcome:?}");
    // What the member's key has decided since counts more: it has no other word.
    assert!(world.rotate(2));
    world.run_ms(SETTLE_MS);
    assert!(!world.told_members(0).contains(&site), "it is still let in");
    assert!(is_refused(&shown(&mut world, site, former.to_vec())));
    // The new key's word is a member's, until that is revoked.
    let word = |world: &World| vec![FormerKey::sign(network, world.key(2), site)];
    let former = word(&world);
    assert!(!is_refused(&shown(&mut world, site, former.clone())));
    let revoked = world.site_id(2);
    world.decide(0, Decision::Revoke { site: revoked }).unwrap().unwrap();
    assert!(!world.told_members(0).contains(&site), "it is still let in");
    let (welcome, is_in) = shown(&mut world, site, former);
    assert!(matches!(welcome, Welcome::Revoked(_)) && !is_in, "{welcome:?}");
}

#[test]
fn who_replaced_its_key_before_it_knew_that_it_was_revoked_is_told() {
    let mut world = offices();
    part(&mut world, &[&[0, 1, 2], &[3]]);
    let site = world.site_id(3);
    world.decide(0, Decision::Revoke { site }).unwrap().unwrap();
    assert!(world.rotate(3));
    write(&mut world, 3, "by-west");
    part(&mut world, &[&[0, 1, 2, 3]]);
    world.run_ms(SETTLE_MS);
    assert_eq!(world.replica(3).unwrap().realms().revoked_by(), Some(world.site_id(0)));
    assert!((0..3).all(|office| !shows(&world, office, "by-west")));
}

#[test]
fn who_was_revoked_does_not_come_back_under_another_key_where_all_have_one() {
    let mut world = offices();
    part(&mut world, &[&[0, 1, 2], &[3]]);
    let site = world.site_id(3);
    world.decide(1, Decision::Revoke { site }).unwrap().unwrap();
    for office in 0..4 {
        assert!(world.rotate(office));
    }
    write(&mut world, 3, "by-west");
    world.run_ms(SETTLE_MS);
    part(&mut world, &[&[0, 1, 2, 3]]);
    for _ in 0..24 {
        world.run_ms(10_000);
        for office in 0..3 {
            assert!(!world.told_members(office).contains(&world.site_id(3)), "office {office}");
        }
    }
    assert_agreed(&world, &[0, 1, 2]);
    assert!((0..3).all(|office| !shows(&world, office, "by-west")));
}
