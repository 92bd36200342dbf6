//! The example does what it says.

#![allow(missing_docs, dead_code, clippy::unwrap_used)]

use branchline_crdt::record::Value;

#[path = "../examples/own_schema.rs"]
mod own_schema;

#[test]
fn an_own_schema_comes_out_right_by_any_seed() {
    for seed in [7, 8] {
        // 100 - 24 * (1 + 2), and two depots that moved it to different shelves.
        assert_eq!(own_schema::run(seed).unwrap(), (Some(Value::Counter(28)), 1));
    }
}
