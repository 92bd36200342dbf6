//! Offices that write apart end up equal.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use branchline_crdt::membership::Role;
use branchline_crdt::record::{Edit, Value};
use branchline_crdt::replica::{Input, LocalTransaction, Notice, RecordEdit, WriteError};
use branchline_crdt::store::read;
use branchline_simulations::World;
use proptest::prelude::*;
use serde_json::{Map, Value as Json, json};

const SETTLE_MS: u64 = 60_000;

fn object(value: Json) -> Map<String, Json> {
    match value {
        Json::Object(map) => map,
        other => panic!("{other} is no object"),
    }
}

fn put(value: Json) -> Edit {
    Edit::Put(object(value))
}

fn merge(value: Json) -> Edit {
    Edit::Merge { patch: object(value), create: true }
}

fn field(world: &World, office: usize, id: &str, name: &str) -> Option<Value> {
    world.view(office, "products", id)?.fields.get(name).cloned()
}

#[track_caller]
fn assert_equal(world: &World) {
    assert!(world.in_step(), "the offices are not in step");
    let digest = world.digest(0);
    assert!(!digest.is_empty());
    for office in 1..4 {
        if world.replica(office).is_some() {
            assert_eq!(world.digest(office), digest, "office {office} shows something else");
        }
    }
}

fn linked(names: &[&str]) -> World {
    let mut world = World::new(1, names);
    world.link_all(&Vec::from_iter(0..names.len()));
    world.run_ms(2_000);
    world
}

#[test]
fn a_write_reaches_every_linked_office() {
    let mut world = linked(&["head", "north", "south"]);
    world.write(1, "products", "tea", put(json!({"name": "Tea", "price": 3}))).unwrap();
    world.run_ms(200);
    for office in 0..3 {
        assert_eq!(field(&world, office, "tea", "price"), Some(Value::Int(3)), "office {office}");
    }
    world.run_ms(SETTLE_MS);
    assert_equal(&world);
}

#[test]
fn two_branches_that_never_met_converge_through_a_third() {
    let mut world = World::new(2, &["head", "north", "south"]);
    world.link(1, 0);
    world.link(0, 2);
    world.write(1, "products", "tea", put(json!({"price": 3}))).unwrap();
    world.write(2, "products", "rice", put(json!({"price": 5}))).unwrap();
    world.run_ms(SETTLE_MS);
    assert_eq!(field(&world, 2, "tea", "price"), Some(Value::Int(3)));
    assert_eq!(field(&world, 1, "rice", "price"), Some(Value::Int(5)));
    assert_equal(&world);
}

#[test]
fn counters_sum_and_registers_keep_both_values() {
    let mut world = linked(&["head", "north", "south"]);
    let first = put(json!({"price": 3, "stock": {"$inc": 10}}));
    world.write(0, "products", "tea", first).unwrap();
    world.run_ms(1_000);
    for office in 0..3 {
        for other in office + 1..3 {
            world.unlink(office, other);
        }
    }
    world.write(1, "products", "tea", merge(json!({"price": 4, "stock": {"$inc": -2}}))).unwrap();
    world.write(2, "products", "tea", merge(json!({"price": 5, "stock": {"$inc": -3}}))).unwrap();
    world.run_ms(1_000);
    assert_eq!(field(&world, 0, "tea", "stock"), Some(Value::Counter(10)));
    world.link(0, 1);
    world.link(0, 2);
    world.run_ms(SETTLE_MS);
    assert_equal(&world);
    assert_eq!(field(&world, 0, "tea", "stock"), Some(Value::Counter(5)));
    let view = world.view(0, "products", "tea").unwrap();
    assert_eq!(view.conflicts.len(), 1);
    let mut values: Vec<_> = view.conflicts[0].values.iter().map(|v| v.value.to_json()).collect();
    assert_eq!(values[0], view.fields["price"].to_json());
    values.sort_by_key(Json::to_string);
    assert_eq!(values, [json!(4), json!(5)]);
}

#[test]
fn one_record_created_twice_is_one_record() {
    let mut world = World::new(3, &["head", "north", "south"]);
    let schema = put(json!({"stock": "counter", "note": "text", "price": "decimal"}));
    world.write(0, "_schema", "products", schema).unwrap();
    for branch in [1, 2] {
        world.link(0, branch);
        world.run_ms(2_000);
        world.unlink(0, branch);
    }
    let create = |stock: i64, price: &str| put(json!({"stock": stock, "price": price}));
    world.write(1, "products", "tea", create(10, "2.50")).unwrap();
    world.write(2, "products", "tea", create(7, "2.60")).unwrap();
    world.link(1, 0);
    world.link(2, 0);
    world.run_ms(SETTLE_MS);
    assert_equal(&world);
    assert_eq!(field(&world, 0, "tea", "stock"), Some(Value::Counter(17)));
    assert_eq!(world.view(0, "products", "tea").unwrap().conflicts.len(), 1);
}

#[test]
fn a_transaction_arrives_whole() {
    let mut world = linked(&["head", "north"]);
    let edit = |id: &str, change: Json| RecordEdit::new("products", id, merge(change));
    let edits = vec![edit("tea", json!({"a": 1})), edit("rice", json!({"a": 2}))];
    let written = world.transact(0, None, edits).unwrap();
    assert_eq!(written.records_changed, 2);
    world.run_ms(500);
    assert!(field(&world, 1, "tea", "a").is_some() && field(&world, 1, "rice", "a").is_some());

    let bad = vec![edit("tea", json!({"a": 5})), edit("", json!({"a": 6}))];
    let Err(WriteError::InEdit { number: 1, error }) = world.transact(0, None, bad) else {
        panic!("the second edit is refused");
    };
    assert!(matches!(*error, WriteError::Name(_)), "{error}");
    assert_eq!(field(&world, 0, "tea", "a"), Some(Value::Int(1)));
    world.run_ms(SETTLE_MS);
    assert_equal(&world);
}

#[test]
fn a_crash_loses_nothing_with_or_without_tables() {
    let mut world = linked(&["head", "north", "south"]);
    for number in 0..20 {
        let id = format!("item-{number}");
        world.write(number % 3, "products", &id, put(json!({"n": number}))).unwrap();
        if number % 5 == 4 {
            world.restart(1, number % 2 == 0);
        }
    }
    let before = world.digest(1);
    world.restart(1, true);
    assert_eq!(world.digest(1), before);
    world.run_ms(SETTLE_MS);
    assert_equal(&world);
    assert!(field(&world, 2, "item-19", "n").is_some());
}

#[test]
fn an_office_may_write_before_its_admission_reaches_it() {
    let mut world = World::new(5, &["head", "north"]);
    let late = world.add_office("late");
    let refused = world.write(late, "products", "x", put(json!({"a": 1})));
    assert!(matches!(refused, Err(WriteError::NoNetwork)));
    // No link yet: the ticket cannot be presented.
    world.join(0, late, Role::Writer);
    world.write(late, "products", "x", put(json!({"a": 1}))).unwrap();
    world.restart(late, true);
    let role = world.replica(late).unwrap().realms().role();
    assert_eq!(role, Some(Role::Writer), "the ticket's file outlives the process");
    world.link(0, 1);
    world.link(0, late);
    world.run_ms(SETTLE_MS);
    assert_eq!(field(&world, 1, "x", "a"), Some(Value::Int(1)));
    assert_equal(&world);
}

#[test]
fn a_member_admitted_elsewhere_introduces_itself() {
    let mut world = World::new(6, &["head", "north"]);
    let late = world.add_office("late");
    world.link(0, late);
    world.join(0, late, Role::Writer);
    world.unlink(0, late);
    // North knows nothing of the newcomer; the newcomer knows north.
    world.write(late, "products", "x", put(json!({"a": 1}))).unwrap();
    world.link(1, late);
    let introduction = world.replica(late).unwrap().site();
    assert!(world.replica(1).unwrap().realms().members().unwrap().get(&introduction).is_none());
    world.present(late, 1);
    world.run_ms(SETTLE_MS);
    assert_eq!(field(&world, 1, "x", "a"), Some(Value::Int(1)));
}

#[test]
fn readers_and_other_writers_are_told_what_they_may_not() {
    let mut world = World::new(7, &["head", "north"]);
    let reader = world.add_office("reader");
    world.link(0, reader);
    world.join(0, reader, Role::Reader);
    let refused = world.write(reader, "products", "x", put(json!({"a": 1})));
    assert!(matches!(refused, Err(WriteError::Role { needed: Role::Writer, .. })));
    let refused = world.write(1, "_schema", "products", put(json!({"a": "counter"})));
    assert!(matches!(refused, Err(WriteError::Role { needed: Role::Admin, .. })));
}

#[test]
fn a_full_disk_refuses_writes_and_recovers() {
    let mut world = linked(&["head", "north"]);
    world.set_full(0, true);
    let refused = world.write(0, "products", "x", put(json!({"a": 1})));
    assert!(matches!(refused, Err(WriteError::Unwritable { .. })), "{refused:?}");
    assert!(world.view(0, "products", "x").is_none());
    world.write(1, "products", "y", put(json!({"a": 2}))).unwrap();
    world.run_ms(5_000);
    assert!(world.view(0, "products", "y").is_none());
    world.set_full(0, false);
    world.write(0, "products", "x", put(json!({"a": 1}))).unwrap();
    world.run_ms(SETTLE_MS);
    assert!(field(&world, 1, "x", "a").is_some() && field(&world, 0, "y", "a").is_some());
    assert_equal(&world);
}

#[test]
fn in_step_offices_say_little_however_much_they_hold() {
    let mut costs = Vec::new();
    for records in [100, 2_000] {
        let mut world = linked(&["head", "north"]);
        for number in 0..records {
            let id = format!("item-{number}");
            world.write(0, "products", &id, put(json!({"n": number}))).unwrap();
        }
        world.run_ms(SETTLE_MS);
        assert_equal(&world);
        world.unlink(0, 1);
        world.take_traffic();
        world.link(0, 1);
        world.run_ms(500);
        costs.push(world.take_traffic().bytes);
    }
    println!("sync bytes of a reconnect in step: {costs:?}");
    assert!(costs[0] < 1024, "{costs:?}");
    assert_eq!(costs[0], costs[1]);
}

#[test]
fn garbage_from_a_member_changes_nothing_and_is_reported() {
    let mut world = linked(&["head", "north"]);
    let from = world.site_id(1);
    let before = world.digest(0);
    for data in [vec![], vec![0xff; 100], b"hello".to_vec()] {
        world.input(0, Input::Gossip { from, token: 1, data: data.clone() });
        world.input(0, Input::Request { from, token: 2, body: data.clone() });
        world.input(0, Input::Response { from, id: 3, body: data.clone() });
        world.input(0, Input::Introduction { from, token: 4, body: data.clone() });
        world.input(0, Input::IntroductionAnswer { from, body: data });
    }
    assert_eq!(world.digest(0), before);
    let refusals =
        world.notices(0).iter().filter(|notice| matches!(notice, Notice::Refused { .. })).count();
    assert!(refusals >= 3, "{:?}", world.notices(0));
    world.write(0, "products", "x", put(json!({"a": 1}))).unwrap();
    world.run_ms(SETTLE_MS);
    assert_equal(&world);
}

#[test]
fn a_restored_backup_loses_nothing_that_others_hold() {
    let mut world = linked(&["head", "north", "south"]);
    world.write(1, "products", "before", put(json!({"a": 1}))).unwrap();
    world.run_ms(1_000);
    let backup = world.backup(1).unwrap();
    world.write(1, "products", "after", put(json!({"a": 2}))).unwrap();
    world.restart(1, false);
    world.write(1, "products", "later", put(json!({"a": 3}))).unwrap();
    world.run_ms(1_000);
    // The disk dies; what takes its place knows neither of the newer writes, nor of the newer incarnation.
    world.restore(1, backup);
    world.write(1, "products", "restored", put(json!({"a": 4}))).unwrap();
    world.link(0, 1);
    world.run_ms(SETTLE_MS);
    assert_equal(&world);
    for id in ["before", "after", "later", "restored"] {
        assert!(field(&world, 2, id, "a").is_some() && field(&world, 1, id, "a").is_some(), "{id}");
    }
}

#[test]
fn a_cloned_disk_makes_two_offices_of_one_site_and_neither_loses() {
    let mut world = linked(&["head", "north"]);
    world.write(1, "products", "x", put(json!({"a": 1}))).unwrap();
    world.run_ms(1_000);
    let clone = world.backup(1).unwrap();
    world.unlink(0, 1);
    world.write(1, "products", "original", put(json!({"a": 2}))).unwrap();
    world.run_ms(1_000);
    let original = world.backup(1).unwrap();
    world.restore(1, clone);
    world.write(1, "products", "clone", put(json!({"a": 3}))).unwrap();
    world.link(0, 1);
    world.run_ms(SETTLE_MS);
    world.restore(1, original);
    world.link(0, 1);
    world.run_ms(SETTLE_MS);
    assert_equal(&world);
    assert!(field(&world, 0, "original", "a").is_some());
    assert!(field(&world, 1, "clone", "a").is_some());
}

#[test]
fn a_repeat_that_shares_a_failed_commit_is_not_acknowledged() {
    let mut world = linked(&["head", "north"]);
    let write = |id| {
        let edit = put(json!({"a": 1}));
        let edits = vec![RecordEdit::new("products", "x", edit)];
        Input::Write {
            id,
            space: None,
            transactions: vec![LocalTransaction { origin: None, edits }],
        }
    };
    world.set_full(0, true);
    world.inputs(0, vec![write(1 << 50), write(2 << 50)]);
    for id in [1 << 50, 2 << 50] {
        let results = world.take_results(0, id).unwrap();
        assert!(matches!(results[0], Err(WriteError::Unwritable { .. })), "{results:?}");
    }
}

#[test]
fn a_rebuild_in_a_running_office_cuts_nobody_off() {
    let mut world = linked(&["head", "north", "south"]);
    world.write(1, "products", "x", put(json!({"a": 1}))).unwrap();
    world.run_ms(1_000);
    world.rebuild(1);
    let members = world.told_members(1);
    assert_eq!(members.len(), 3);
    world.write(1, "products", "y", put(json!({"a": 2}))).unwrap();
    world.write(2, "products", "z", put(json!({"a": 3}))).unwrap();
    world.run_ms(SETTLE_MS);
    assert_equal(&world);
    assert!(field(&world, 0, "y", "a").is_some() && field(&world, 1, "z", "a").is_some());
}

#[test]
fn a_list_shows_live_records_by_id() {
    let mut world = linked(&["head", "north"]);
    for id in ["c", "a", "b"] {
        world.write(0, "products", id, put(json!({"n": id}))).unwrap();
    }
    world.write(0, "products", "b", Edit::Delete).unwrap();
    let replica = world.replica(0).unwrap();
    let space = replica.realms().network().unwrap().main_space();
    let ids = |after, limit| -> Vec<String> {
        let page = read::list(replica.store(), space, "products", after, limit).unwrap();
        page.into_iter().map(|(id, _)| id).collect()
    };
    assert_eq!(ids(None, 10), ["a", "c"]);
    assert_eq!(ids(None, 1), ["a"]);
    assert_eq!(ids(Some("a"), 10), ["c"]);
    let row = read::collection(replica.store(), space, "products").unwrap();
    assert_eq!((row.live, row.deleted), (2, 1));
}

#[derive(Clone, Debug)]
enum Step {
    Write { office: usize, record: u8, edit: u8, value: i64 },
    Link { a: usize, b: usize },
    Unlink { a: usize, b: usize },
    Restart { office: usize, tables_lost: bool },
    Run { ms: u64 },
}

fn step() -> impl Strategy<Value = Step> {
    let offices = 0..3_usize;
    prop_oneof![
        6 => (offices.clone(), 0..3_u8, 0..5_u8, -9..9_i64)
            .prop_map(|(office, record, edit, value)| Step::Write { office, record, edit, value }),
        2 => (offices.clone(), 1..3_usize).prop_map(|(a, b)| Step::Link { a, b: (a + b) % 3 }),
        2 => (offices.clone(), 1..3_usize).prop_map(|(a, b)| Step::Unlink { a, b: (a + b) % 3 }),
        1 => (offices, any::<bool>())
            .prop_map(|(office, tables_lost)| Step::Restart { office, tables_lost }),
        2 => (50..3_000_u64).prop_map(|ms| Step::Run { ms }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(48) })]

    /// Whatever is written, cut and restarted in whatever order: once linked, all offices show the same, and the
    /// stock is the sum of everything that was acknowledged.
    #[test]
    fn any_history_converges(seed in any::<u64>(), steps in prop::collection::vec(step(), 1..60)) {
        let mut world = World::new(seed, &["head", "north", "south"]);
        let mut stock = [0_i64; 3];
        for step in steps {
            match step {
                Step::Write { office, record, edit, value } => {
                    let id = format!("r{record}");
                    let edit = match edit {
                        0 => merge(json!({"price": value})),
                        1 => merge(json!({"stock": {"$inc": value}})),
                        2 => merge(json!({"place": {"row": value, "shelf": "b"}})),
                        3 => merge(json!({"tags": [value, "x"]})),
                        _ => Edit::Delete,
                    };
                    let is_increment = matches!(&edit, Edit::Merge { patch, .. } if patch.contains_key("stock"));
                    let result = world.write(office, "products", &id, edit);
                    if is_increment {
                        prop_assert!(result.is_ok());
                        stock[usize::from(record)] += value;
                    }
                }
                Step::Link { a, b } => world.link(a, b),
                Step::Unlink { a, b } => world.unlink(a, b),
                Step::Restart { office, tables_lost } => world.restart(office, tables_lost),
                Step::Run { ms } => world.run_ms(ms),
            }
        }
        world.link(0, 1);
        world.link(0, 2);
        world.run_ms(SETTLE_MS);
        assert_equal(&world);
        for (record, expected) in stock.iter().enumerate() {
            let shown = field(&world, 0, &format!("r{record}"), "stock");
            let shown = match shown { Some(Value::Counter(sum)) => sum, _ => 0 };
            prop_assert_eq!(shown, *expected);
        }
        for office in 0..3 {
            let before = world.digest(office);
            world.restart(office, true);
            prop_assert_eq!(world.digest(office), before, "a rebuild shows something else");
        }
    }
}

/// A day of writes and cuts, and what it left at each office.
fn day(tick_always: bool) -> (Vec<String>, u64) {
    let mut world = World::new(11, &["head", "north", "south"]);
    if tick_always {
        world.tick_always();
    }
    world.link(0, 1);
    world.link(0, 2);
    for hour in 0..6 {
        world.write(hour % 3, "products", "tea", merge(json!({"stock": {"$inc": 1}}))).unwrap();
        world.cut(0, 1);
        world.run_ms(90_000);
        world.mend(0, 1);
        world.restart(hour % 3, false);
        world.run_ms(45_000);
    }
    assert_equal(&world);
    ((0..3).map(|office| world.digest(office)).collect(), world.take_traffic().bytes)
}

#[test]
fn ticks_that_are_left_out_would_have_done_nothing() {
    assert_eq!(day(false), day(true));
}
