//! A simulation of one's own schema and rules: does the stock come out right when two depots count beside each other
//! for a day without a line, and one of them loses its tables?
//!
//! `cargo run -p branchline-simulations --example own_schema`

use branchline_crdt::record::{Edit, Value};
use branchline_crdt::replica::{RecordEdit, WriteError};
use branchline_simulations::World;
use serde_json::{Value as Json, json};

const HOUR_MS: u64 = 3_600_000;

fn main() -> Result<(), WriteError> {
    let (stock, conflicts) = run(7)?;
    println!("stock {stock:?}, conflicts {conflicts}");
    Ok(())
}

/// The stock that all offices show in the end, and how many fields are in conflict. The same seed gives the same run.
pub(crate) fn run(seed: u64) -> Result<(Option<Value>, usize), WriteError> {
    let mut world = World::new(seed, &["head", "north", "south"]);
    let schema = json!({"stock": "counter", "shelf": "string", "price": "decimal required"});
    world.write(0, "_schema", "parts", Edit::Put(fields(schema)))?;
    let bolt = json!({"stock": {"$inc": 100}, "shelf": "A1", "price": "0.10"});
    world.write(0, "parts", "bolt", Edit::Put(fields(bolt)))?;
    for depot in [1, 2] {
        world.link(0, depot);
    }
    world.run_ms(HOUR_MS);
    for depot in [1, 2] {
        world.unlink(0, depot);
    }
    for hour in 0..24 {
        for depot in [1, 2] {
            // What belongs together is one transaction: the stock, and the slip for it.
            let slip = json!({"part": "bolt", "quantity": depot});
            let taken = json!({"stock": {"$inc": -(depot as i64)}, "shelf": format!("B{depot}")});
            let edits = vec![
                RecordEdit::new("parts", "bolt", merge(taken)),
                RecordEdit::new("slips", format!("{depot}-{hour}"), merge(slip)),
            ];
            world.transact(depot, None, edits)?;
        }
        world.run_ms(HOUR_MS);
    }
    world.restart(1, true);
    for depot in [1, 2] {
        world.link(0, depot);
    }
    world.run_ms(HOUR_MS);
    assert!(world.in_step(), "the offices are in step again");
    let view = world.view(0, "parts", "bolt");
    let conflicts = view.as_ref().map_or(0, |view| view.conflicts.len());
    Ok((view.and_then(|view| view.fields.get("stock").cloned()), conflicts))
}

fn merge(value: Json) -> Edit {
    Edit::Merge { patch: fields(value), create: true }
}

fn fields(value: Json) -> serde_json::Map<String, Json> {
    value.as_object().cloned().unwrap_or_default()
}
