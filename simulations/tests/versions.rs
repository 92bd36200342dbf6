//! Offices whose programs are of different versions: what is too new for one is held, handed on, and shown after the
//! upgrade.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use branchline_crdt::log::entry::PAYLOAD_FORMAT;
use branchline_crdt::record::{Edit, Value};
use branchline_simulations::World;
use branchline_simulations::world::Ending;
use serde_json::{Value as Json, json};

const SETTLE_MS: u64 = 60_000;

fn merge(value: Json) -> Edit {
    match value {
        Json::Object(patch) => Edit::Merge { patch, create: true },
        other => panic!("{other} is no object"),
    }
}

fn upgrade(world: &mut World, office: usize) {
    world.stop(office, Ending::Orderly);
    world.upgrade(office);
    world.start(office);
}

/// Head, north and south in a line, in step; one record is in it.
fn line() -> World {
    let mut world = World::new(3, &["head", "north", "south"]);
    world.link(0, 1);
    world.link(1, 2);
    world.write(0, "products", "tea", merge(json!({"price": 1, "stock": {"$inc": 10}}))).unwrap();
    world.run_ms(SETTLE_MS);
    assert!(world.in_step());
    world
}

fn held(world: &World, office: usize) -> u64 {
    world.replica(office).unwrap().status().entries_unapplied
}

fn field(world: &World, office: usize, name: &str) -> Option<Value> {
    world.view(office, "products", "tea")?.fields.get(name).cloned()
}

#[test]
fn what_an_older_program_holds_it_hands_on_and_shows_after_its_upgrade() {
    let mut world = line();
    upgrade(&mut world, 0);
    upgrade(&mut world, 2);
    world.run_ms(SETTLE_MS);
    world.write(0, "products", "tea", merge(json!({"price": 2, "stock": {"$inc": -1}}))).unwrap();
    // North does not see that, and writes for itself.
    world.run_ms(SETTLE_MS);
    world.write(1, "products", "tea", merge(json!({"price": 3, "stock": {"$inc": -2}}))).unwrap();
    world.run_ms(SETTLE_MS);
    assert!(world.in_step());
    assert_eq!((held(&world, 0), held(&world, 1), held(&world, 2)), (0, 1, 0));
    assert_eq!(field(&world, 1, "stock"), Some(Value::Counter(8)));
    assert_eq!(field(&world, 2, "stock"), Some(Value::Counter(7)));
    // A restart and a rebuild of the older program change nothing of that.
    let before = world.digest(1);
    for tables_are_lost in [false, true] {
        world.restart(1, tables_are_lost);
        assert_eq!((held(&world, 1), world.digest(1)), (1, before.clone()));
    }
    upgrade(&mut world, 1);
    assert_eq!(world.payload_format(1), PAYLOAD_FORMAT + 1);
    // At once, before it could fetch anything.
    assert_eq!(held(&world, 1), 0);
    assert_eq!(field(&world, 1, "stock"), Some(Value::Counter(7)));
    world.run_ms(SETTLE_MS);
    assert!(world.in_step());
    assert_eq!(world.digest(0), world.digest(1));
    assert_eq!(world.digest(1), world.digest(2));
}

#[test]
fn what_builds_on_what_is_held_is_held_too() {
    let mut world = line();
    upgrade(&mut world, 0);
    world.run_ms(SETTLE_MS);
    world.write(0, "products", "tea", merge(json!({"price": 2}))).unwrap();
    world.run_ms(SETTLE_MS);
    assert_eq!((held(&world, 1), held(&world, 2)), (1, 1));
    // South learns to read it, and what it writes builds on that; north holds both.
    upgrade(&mut world, 2);
    world.run_ms(SETTLE_MS);
    world.write(2, "products", "tea", merge(json!({"price": 3}))).unwrap();
    world.run_ms(SETTLE_MS);
    assert_eq!(held(&world, 1), 2);
    assert_eq!(field(&world, 1, "price"), Some(Value::Int(1)));
    upgrade(&mut world, 1);
    assert_eq!(field(&world, 1, "price"), Some(Value::Int(3)));
}
