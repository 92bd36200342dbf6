//! What it takes an office to come back to several others at once.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use branchline_crdt::record::Edit;
use branchline_simulations::World;
use serde_json::{Value as Json, json};

/// The office that is away while the first one writes.
const AWAY: usize = 4;

/// Bytes that an office which was away takes to come into step with others that are in step, and for how long.
fn bytes_back(links: &[usize]) -> u64 {
    let mut world = World::new(23, &["head", "north", "east", "south", "away"]);
    for (a, b) in [(0, 1), (0, 2), (0, 3)] {
        world.link(a, b);
    }
    for number in 0..2_000 {
        // What hardly compresses.
        let text: String =
            (0..8).map(|at| format!("{:08x}", (number * 8 + at) * 0x9e37_79b1_u64)).collect();
        let Json::Object(fields) = json!({"n": number, "text": text}) else { panic!("an object") };
        world.write(0, "products", &format!("item-{number}"), Edit::Put(fields)).unwrap();
    }
    world.run_ms(60_000);
    let digest = world.digest(0);
    assert!((1..4).all(|office| world.digest(office) == digest));
    world.take_traffic();
    for office in links {
        world.link(*office, AWAY);
    }
    world.run_ms(10_000);
    assert_eq!(world.digest(AWAY), digest);
    world.take_traffic().bytes
}

#[test]
fn an_office_that_comes_back_to_four_others_is_sent_things_once() {
    let (one, four) = (bytes_back(&[0]), bytes_back(&[0, 1, 2, 3]));
    println!("bytes to come back: {one} over one link, {four} over four");
    assert!(four < one + one / 4, "{one} over one link, {four} over four");
}
