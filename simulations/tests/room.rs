//! An office whose disk has too little room for what others write.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use branchline_crdt::record::Edit;
use branchline_crdt::replica::{Decision, RoomLeft};
use branchline_simulations::World;
use branchline_simulations::world::Ending;
use serde_json::{Value as Json, json};

const HEAD: usize = 0;
const NORTH: usize = 1;
const SOUTH: usize = 2;
const SHORT: RoomLeft = RoomLeft::Short { membership_bytes_max: 1 << 20 };
/// Several regular pulls.
const LONG_MS: u64 = 60_000;

/// South hears of head by north alone.
fn chain() -> World {
    let mut world = World::new(31, &["head", "north", "south"]);
    world.link(HEAD, NORTH);
    world.link(NORTH, SOUTH);
    world.run_ms(LONG_MS);
    world
}

fn write(world: &mut World, office: usize, id: &str) {
    let Json::Object(fields) = json!({ "from": office }) else { panic!("an object") };
    world.write(office, "products", id, Edit::Put(fields)).unwrap();
}

fn has(world: &World, office: usize, id: &str) -> bool {
    world.view(office, "products", id).is_some()
}

#[test]
fn own_writes_go_on_and_reach_the_others_while_theirs_wait() {
    let mut world = chain();
    world.set_room(NORTH, SHORT);
    for number in 0..50 {
        write(&mut world, HEAD, &format!("head-{number}"));
        write(&mut world, NORTH, &format!("north-{number}"));
        world.run_ms(500);
    }
    world.run_ms(LONG_MS);
    for number in 0..50 {
        let (of_head, of_north) = (format!("head-{number}"), format!("north-{number}"));
        assert!(!has(&world, NORTH, &of_head) && !has(&world, SOUTH, &of_head));
        assert!(has(&world, HEAD, &of_north) && has(&world, SOUTH, &of_north));
    }
    // Neither a power cut nor other links change that.
    world.stop(NORTH, Ending::PowerCut);
    world.start(NORTH);
    world.run_ms(LONG_MS);
    assert!(!has(&world, NORTH, "head-0") && has(&world, NORTH, "north-49"));
    world.set_room(NORTH, RoomLeft::Enough);
    // Less than a regular pull takes to come due.
    world.run_ms(2_000);
    assert!(has(&world, NORTH, "head-49"));
    world.run_ms(LONG_MS);
    assert!((1..3).all(|office| world.digest(office) == world.digest(HEAD)));
}

#[test]
fn that_somebody_is_shut_out_passes_through_an_office_without_room() {
    let mut world = chain();
    world.set_room(NORTH, SHORT);
    let thief = world.site_id(SOUTH);
    for number in 0..20 {
        write(&mut world, SOUTH, &format!("noise-{number}"));
    }
    world.run_ms(LONG_MS);
    assert!(!has(&world, NORTH, "noise-0"));
    world.decide(HEAD, Decision::Revoke { site: thief });
    world.run_ms(LONG_MS);
    let is_revoked = |office: usize| {
        let replica = world.replica(office).unwrap();
        replica.realms().members().unwrap().revoked().contains_key(&thief)
    };
    assert!(is_revoked(HEAD) && is_revoked(NORTH));
    world.set_room(NORTH, RoomLeft::Enough);
    write(&mut world, NORTH, "own");
    world.run_ms(LONG_MS);
    assert!(!has(&world, NORTH, "noise-0"), "it was not heard of before");
    assert!(has(&world, HEAD, "own"));
    assert_eq!(world.digest(HEAD), world.digest(NORTH));
}
