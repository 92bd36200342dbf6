//! The dependency engine against looking at everything: records change at random, groups are looked at now and then, and
//! whatever is not dirty is as it would be if it were looked at from scratch.
#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::Ordering;

use branchline_crdt::query::Filter;
use branchline_crdt::record::{Fields, Schema, Value};
use proptest::prelude::*;

use super::{SinkState, Which};
use crate::sink::config::SinkConfig;
use crate::sink::group::gather::tests::Held;
use crate::sink::group::gather::{Gathered, GroupStand, Members, gather};
use crate::sink::group::shape::tests::example;
use crate::sink::group::shape::{Shape, at, ids_of};

/// Ids of each collection: few, so that records meet.
const IDS: u8 = 4;

/// Something that happens.
#[derive(Clone, Debug)]
enum SinkStep {
    /// A record has these fields, or (`None`) is deleted.
    Write(&'static str, String, Option<Fields>),
    /// The feed is heard of all that was written.
    Hear,
    /// One group that is dirty is looked at, the nth of them.
    Look(usize),
}

fn id() -> impl Strategy<Value = String> {
    (0..IDS).prop_map(|n| n.to_string())
}

fn named() -> impl Strategy<Value = Value> {
    prop_oneof![
        4 => id().prop_map(Value::Str),
        1 => (0..i64::from(IDS)).prop_map(Value::Int),
        1 => Just(Value::Null),
        1 => proptest::collection::vec(id().prop_map(Value::Str), 0..3).prop_map(Value::List),
    ]
}

fn fields(names: &'static [&'static str]) -> impl Strategy<Value = Option<Fields>> {
    let all: Vec<_> = names
        .iter()
        .map(|name| named().prop_map(move |value| ((*name).to_owned(), value)))
        .collect();
    let state = prop_oneof![3 => Just("sent"), 1 => Just("open")];
    let some = (all, state).prop_map(|(fields, state)| {
        let mut fields: Fields = fields.into_iter().collect();
        fields.insert("state".to_owned(), Value::Str(state.to_owned()));
        fields
    });
    prop_oneof![5 => some.prop_map(Some), 1 => Just(None)]
}

fn step() -> impl Strategy<Value = SinkStep> {
    let write = |collection: &'static str, names: &'static [&'static str]| {
        (id(), fields(names)).prop_map(move |(id, fields)| SinkStep::Write(collection, id, fields))
    };
    prop_oneof![
        2 => write("orders", &["user_id"]),
        2 => write("billing", &["order_id"]),
        2 => write("items", &["order_id", "tag_ids"]),
        2 => write("users", &["customer_id"]),
        2 => write("customers", &["name"]),
        1 => write("tags", &["name"]),
        3 => Just(SinkStep::Hear),
        6 => any::<proptest::sample::Index>().prop_map(|n| SinkStep::Look(n.index(64))),
    ]
}

fn config() -> SinkConfig {
    let mut config = example();
    let tags = "collection = \"tags\"\nas = \"tags\"\nfrom = \"items.tag_ids\"\nmany = true";
    config.related.push(toml::from_str(tags).unwrap());
    config
}

/// A world of records, the engine's state, and what each group was when it was looked at last.
struct World {
    shape: Shape,
    filter: Filter,
    held: Held,
    unheard: BTreeSet<(String, String)>,
    state: SinkState,
    seen: BTreeMap<String, GroupStand>,
    touch: i64,
}

impl World {
    /// All members of a group, found by looking at everything.
    fn members(&self, group: &str) -> Members {
        let of = |(index, relation, path): (
            usize,
            &crate::sink::group::shape::Relation,
            &Vec<String>,
        )| {
            let names = |fields: &Fields| {
                at(fields, path).is_some_and(|value| ids_of(value).iter().any(|id| id == group))
            };
            let found = self
                .held
                .0
                .iter()
                .filter(|((of, _), fields)| *of == relation.collection && names(fields));
            (index, found.map(|((_, id), _)| id.clone()).collect())
        };
        self.shape.by().map(of).collect()
    }

    fn gather(&self, group: &str, members: &Members) -> Gathered {
        gather(&self.shape, Some(&self.filter), group, members, &self.held).unwrap()
    }

    async fn hear(&mut self) {
        self.touch += 1;
        self.state.begin().await.unwrap();
        for (collection, id) in std::mem::take(&mut self.unheard) {
            let fields = self.held.0.get(&(collection.clone(), id.clone()));
            let of = self.shape.by().filter(|(_, relation, _)| relation.collection == collection);
            let targets: Vec<_> = of
                .map(|(index, _, path)| {
                    let value = fields.and_then(|fields| at(fields, path));
                    (index, value.map(ids_of).unwrap_or_default())
                })
                .collect();
            let changed = (self.touch, 0);
            self.state
                .record_changed(&self.shape, (&collection, &id), &targets, changed)
                .await
                .unwrap();
        }
        self.state.end().await.unwrap();
    }

    async fn dirty(&mut self) -> Vec<super::DueGroup> {
        self.state.due(i64::MAX - 1, 1_000).await.unwrap()
    }

    /// Looks at a group as the sink does.
    async fn look(&mut self, due: &super::DueGroup) {
        let members = self.state.members(&self.shape, &due.id).await.unwrap();
        let Gathered { stand, used } = self.gather(&due.id, &members);
        self.state.begin().await.unwrap();
        self.state.keep_used(&due.id, &used).await.unwrap();
        match stand {
            GroupStand::Gone => self.state.forget(&due.id, due.touch).await.unwrap(),
            _ => self.state.settle(&due.id, due.touch).await.unwrap(),
        }
        self.state.end().await.unwrap();
        self.seen.insert(due.id.clone(), stand);
    }

    /// Every group that is another than it was seen is dirty, once the feed was heard.
    async fn check(&mut self) -> Result<(), TestCaseError> {
        let dirty: BTreeSet<String> = self.dirty().await.into_iter().map(|due| due.id).collect();
        for id in (0..IDS).map(|n| n.to_string()) {
            let now = self.gather(&id, &self.members(&id)).stand;
            let seen = self.seen.get(&id).unwrap_or(&GroupStand::Gone);
            if now != *seen {
                prop_assert!(
                    dirty.contains(&id),
                    "group {id} is {now:?}, was seen as {seen:?}, and is clean"
                );
            }
        }
        Ok(())
    }
}

async fn play(steps: Vec<SinkStep>) -> Result<(), TestCaseError> {
    let folder = tempfile::tempdir().unwrap();
    let mut world = World {
        shape: Shape::of(&config()).unwrap(),
        filter: Filter::parse("state = 'sent'", &Schema::default()).unwrap(),
        held: Held::default(),
        unheard: BTreeSet::new(),
        state: SinkState::open(folder.path().join("sink.sqlite")).await.unwrap(),
        seen: BTreeMap::new(),
        touch: 0,
    };
    for step in steps {
        match step {
            SinkStep::Write(collection, id, fields) => {
                let key = (collection.to_owned(), id);
                match fields {
                    Some(fields) => world.held.0.insert(key.clone(), fields),
                    None => world.held.0.remove(&key),
                };
                world.unheard.insert(key);
            }
            SinkStep::Hear => {
                world.hear().await;
                world.check().await?;
            }
            // Also before the feed was heard of what has changed since.
            SinkStep::Look(n) => {
                let dirty = world.dirty().await;
                if !dirty.is_empty() {
                    world.look(&dirty[n % dirty.len()]).await;
                }
            }
        }
    }
    world.hear().await;
    world.check().await?;
    // When nothing is dirty any more, every group was seen as it is.
    for due in world.dirty().await {
        world.look(&due).await;
    }
    prop_assert!(world.dirty().await.is_empty());
    world.check().await
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn no_group_that_has_changed_is_clean(steps in proptest::collection::vec(step(), 1..60)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(play(steps))?;
    }
}

async fn state() -> (tempfile::TempDir, SinkState) {
    let folder = tempfile::tempdir().unwrap();
    let state = SinkState::open(folder.path().join("sink.sqlite")).await.unwrap();
    (folder, state)
}

#[tokio::test]
async fn a_member_that_moves_makes_both_groups_dirty_and_no_other() {
    let (_folder, mut state) = state().await;
    let shape = Shape::of(&example()).unwrap();
    let (items, _, _) = shape.by().find(|(_, relation, _)| relation.name == "items").unwrap();
    for order in ["1", "2", "3"] {
        state.touch(order, 1, 0).await.unwrap();
        state.settle(order, 1).await.unwrap();
    }
    let named = |order: &str| vec![(items, vec![order.to_owned()])];
    state.record_changed(&shape, ("items", "i"), &named("1"), (2, 0)).await.unwrap();
    state.settle("1", 2).await.unwrap();
    state.record_changed(&shape, ("items", "i"), &named("2"), (3, 0)).await.unwrap();
    let dirty: Vec<_> = state.due(0, 9).await.unwrap().into_iter().map(|due| due.id).collect();
    assert_eq!(dirty, ["1", "2"]);
}

#[tokio::test]
async fn what_is_touched_while_it_is_pushed_stays_dirty() {
    let (_folder, mut state) = state().await;
    state.touch("7", 1, 10).await.unwrap();
    state.touch("7", 2, 20).await.unwrap();
    state.settle("7", 1).await.unwrap();
    assert_eq!(state.due(20, 9).await.unwrap().len(), 1);
    state.settle("7", 2).await.unwrap();
    assert_eq!(state.due(20, 9).await.unwrap().len(), 0);
}

#[tokio::test]
async fn what_was_refused_waits_for_a_change_or_a_person() {
    let (_folder, mut state) = state().await;
    state.touch("7", 1, 10).await.unwrap();
    state.set_aside("7", 1, None).await.unwrap();
    assert_eq!(state.next_due().await.unwrap(), None);
    assert_eq!(state.counts().await.unwrap(), (1, 1, 1));
    assert!(state.requeue("7", 2, 30).await.unwrap());
    assert!(!state.requeue("8", 2, 30).await.unwrap());
    assert_eq!(state.due(30, 9).await.unwrap()[0].forced, 2);
    // A refusal that was under way when it was requeued.
    state.set_aside("7", 1, None).await.unwrap();
    assert_eq!(state.due(30, 9).await.unwrap()[0].forced, 2);
    state.set_aside("7", 2, Some(90)).await.unwrap();
    assert_eq!(state.next_due().await.unwrap(), Some(90));
    state.touch("7", 3, 40).await.unwrap();
    assert_eq!(state.next_due().await.unwrap(), Some(40));
    // What waits for the remote keeps its place.
    state.settle("7", 3).await.unwrap();
    state.touch("7", 4, 50).await.unwrap();
    state.put_off("7", 2, 80).await.unwrap();
    state.touch("7", 5, 60).await.unwrap();
    assert_eq!(state.next_due().await.unwrap(), Some(80));
    assert_eq!(state.due(80, 9).await.unwrap()[0].tries, 2);
}

/// Steps that SQLite takes for what a sink asks in each turn, and for a page of each list, beside so many groups that are
/// clean, and as many that were refused.
async fn steps(groups: usize) -> u64 {
    let (_folder, mut state) = state().await;
    state.begin().await.unwrap();
    for number in 0..groups {
        let (clean, refused) = (format!("a{number}"), format!("b{number}"));
        state.touch(&clean, 1, 10).await.unwrap();
        state.settle(&clean, 1).await.unwrap();
        state.touch(&refused, 1, 10).await.unwrap();
        state.set_aside(&refused, 1, None).await.unwrap();
    }
    state.end().await.unwrap();
    let steps = state.store.count_steps().await;
    state.touch("c", 2, 20).await.unwrap();
    assert_eq!(
        state.counts().await.unwrap(),
        (groups as u64 + 1, groups as u64, 2 * groups as u64 + 1)
    );
    assert_eq!(state.waiting_since().await.unwrap(), Some(20));
    assert_eq!(state.next_due().await.unwrap(), Some(20));
    assert_eq!(state.due(20, 9).await.unwrap().len(), 1);
    for (which, after, expected) in
        [(Which::All, "b", "b0"), (Which::Dirty, "b999", "c"), (Which::Failed, "a", "b0")]
    {
        let page = state.groups(which, Some(after), 9).await.unwrap();
        assert_eq!(page[0].id, expected, "{which:?}");
    }
    state.settle("c", 2).await.unwrap();
    state.forget("c", 2).await.unwrap();
    steps.load(Ordering::Relaxed)
}

#[tokio::test]
async fn a_turn_costs_no_more_where_there_are_more_groups() {
    let (few, many) = (steps(100).await, steps(2_000).await);
    assert!(many < few + few / 4, "{few} steps among 200 groups, {many} among 4,000");
}
