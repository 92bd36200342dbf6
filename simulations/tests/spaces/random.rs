//! Random histories of spaces.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::rc::Rc;

use branchline_crdt::ids::RealmId;
use branchline_crdt::membership::Role;
use branchline_crdt::replica::SpaceDecision;
use branchline_simulations::World;
use branchline_simulations::world::{Ending, Message, Tamper};
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use serde_json::json;

use super::{
    DEPOT, HEAD, NORTH, SETTLE_MS, SOUTH, assert_equal, create, decide, grant, has, offices, write,
};

/// What must not be seen by whom: by the bytes that name a space, the offices that were ever let into it.
type Secrets = Rc<RefCell<Vec<(Vec<u8>, BTreeSet<usize>)>>>;

/// Looks into every message for the names of spaces that its receiver was never let into.
fn watch(world: &mut World) -> (Secrets, Rc<RefCell<Vec<String>>>) {
    let (secrets, leaks): (Secrets, Rc<RefCell<Vec<String>>>) = Default::default();
    let (known, found) = (secrets.clone(), leaks.clone());
    let tamper: Tamper = Box::new(move |from, to, message: &mut Message| {
        for (secret, allowed) in known.borrow().iter() {
            if !allowed.contains(&to) && has(message.bytes(), secret) {
                found.borrow_mut().push(format!("{from} reported {to}: {message:?}"));
            }
        }
        true
    });
    world.tamper(tamper);
    (secrets, leaks)
}

/// A history at random: spaces are made, sites are let in and shut out and leave, all write, links break, nodes die.
fn history(seed: u64) {
    let mut draw = SmallRng::seed_from_u64(seed);
    let mut world = offices(seed);
    let (secrets, leaks) = watch(&mut world);
    let mut roots: Vec<RealmId> = Vec::new();
    for step in 0..60 {
        let office = draw.random_range(0..4);
        let other = draw.random_range(0..4);
        let realm = (!roots.is_empty()).then(|| roots[draw.random_range(0..roots.len())]);
        match (draw.random_range(0..12), realm) {
            (0, _) if roots.len() < 5 => {
                let realm = create(&mut world, HEAD, &format!("space-{step}"));
                let ids = [realm.0.to_vec(), realm.main_space().0.to_vec()];
                let all = ids.into_iter().chain([realm.membership_space().0.to_vec()]);
                secrets.borrow_mut().extend(all.map(|id| (id, BTreeSet::from([HEAD]))));
                roots.push(realm);
            }
            (1..=3, Some(realm)) => {
                let role = [Role::Reader, Role::Writer, Role::Admin][draw.random_range(0..3)];
                let of_root = roots.iter().position(|known| *known == realm).unwrap() * 3;
                let before = secrets.borrow()[of_root].1.clone();
                let allow = |offices: &BTreeSet<usize>| {
                    for (_, allowed) in &mut secrets.borrow_mut()[of_root..of_root + 3] {
                        allowed.clone_from(offices);
                    }
                };
                // It may be reported while the decision is made.
                allow(&before.iter().copied().chain([other]).collect());
                if grant(&mut world, office, realm, other, role).is_err() {
                    allow(&before);
                }
            }
            (4, Some(realm)) => {
                let site = world.site_id(other);
                let _ = decide(&mut world, office, realm, SpaceDecision::Revoke { site });
            }
            (5, Some(realm)) => {
                let _ = decide(&mut world, office, realm, SpaceDecision::Leave);
            }
            (6..=8, Some(realm)) => {
                let id = format!("{}", draw.random_range(0..5));
                let _ = write(&mut world, office, realm, &id, json!({"by": office, "at": step}));
            }
            (9, _) => world.unlink(office, other),
            (10, _) if office != other => world.link(office, other),
            (11, _) => {
                world.stop(office, Ending::Killed);
                world.start(office);
            }
            _ => {}
        }
        world.run_ms(draw.random_range(0..8_000));
    }
    world.link_all(&[HEAD, NORTH, SOUTH, DEPOT]);
    world.run_ms(3 * SETTLE_MS);
    assert!(world.in_step(), "seed {seed}");
    for realm in roots {
        // Anyone who was shut out has been informed.
        let is_inside = |office: &usize| {
            let spaces = world.replica(*office).unwrap().spaces();
            let found = spaces.into_iter().find(|space| space.realm == realm);
            found.is_some_and(|space| space.closed_by.is_none() && space.role.is_some())
        };
        let inside: Vec<_> = (0..4).filter(is_inside).collect();
        // On both sides of a cut link the last two may have left.
        let Some(first) = inside.first() else { continue };
        assert_equal(&world, &inside, realm);
        let members = world.replica(*first).unwrap().realms().members_of(realm).unwrap().sites();
        let sites: BTreeSet<_> = inside.iter().map(|office| world.site_id(*office)).collect();
        assert_eq!(members, sites, "seed {seed}");
    }
    assert!(leaks.borrow().is_empty(), "seed {seed}: {:?}", leaks.borrow().first());
}

#[test]
fn whatever_happens_the_sites_of_each_space_converge_and_no_other_hears_of_it() {
    for seed in 0..12 {
        history(seed);
    }
}

#[test]
#[ignore = "takes minutes: the same as the test above, more often"]
fn whatever_happens_often() {
    for seed in 100..600 {
        history(seed);
    }
}
