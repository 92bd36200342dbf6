//! Invariant 11: no verdict on an entry hangs on a wall clock.
//!
//! A scenario with wrong clocks is run once more with right ones: everything else being the same, the same writes must
//! be answered alike and the same values show in the end. Where chance depends on sizes (a bandwidth, torn writes) or on
//! hashes (two entries under one number), which change with the times in them, two runs cannot be compared.

use std::collections::{BTreeMap, BTreeSet};

use branchline_crdt::store::read;

use crate::scenario::{Clocks, FaultKind, FaultName, Scenario};
use crate::world::{SiteIndex, World};

/// What shows in the end, without times: the fields of each record, by office and address.
pub type Shown = BTreeMap<String, String>;

/// The same scenario with right clocks, if the two can be compared and clocks are wrong in the first.
pub fn with_right_clocks(scenario: &Scenario) -> Option<Scenario> {
    let is_clock = |kind: &FaultKind| kind.name() == FaultName::Clock;
    let is_wrong = scenario.clocks != Clocks::default()
        || scenario.faults.iter().any(|fault| is_clock(&fault.kind));
    let depends_on_bytes = |kind: &FaultKind| match kind.name() {
        FaultName::Degrade
        | FaultName::Crash
        | FaultName::TornFrame
        | FaultName::BitFlip
        | FaultName::Byzantine => true,
        FaultName::Split
        | FaultName::Isolate
        | FaultName::Cut
        | FaultName::OneWay
        | FaultName::Stop
        | FaultName::LostTables
        | FaultName::FullDisk
        | FaultName::ShortRoom
        | FaultName::Restore
        | FaultName::Clone
        | FaultName::JoinLate
        | FaultName::Revoke
        | FaultName::Role
        | FaultName::Rotate
        | FaultName::Upgrade
        | FaultName::Clock => false,
    };
    let is_comparable = scenario.quality.bytes_per_second.is_none()
        && scenario.mixtures.is_empty()
        && !scenario.faults.iter().any(|fault| depends_on_bytes(&fault.kind));
    if !is_wrong || !is_comparable {
        return None;
    }
    let mut right = scenario.clone();
    right.clocks = Clocks::default();
    right.faults.retain(|fault| !is_clock(&fault.kind));
    Some(right)
}

/// The first difference between what two runs show.
pub fn difference(wrong: &Shown, right: &Shown) -> Option<String> {
    let records: BTreeSet<_> = wrong.keys().chain(right.keys()).collect();
    records.into_iter().find(|record| wrong.get(*record) != right.get(*record)).map(|record| {
        let shown =
            |shown: &Shown| shown.get(record).cloned().unwrap_or_else(|| "nothing".to_owned());
        format!("{record} shows {}, with right clocks it shows {}", shown(wrong), shown(right))
    })
}

/// What shows at all offices.
pub fn shown(scenario: &Scenario, world: &World) -> Shown {
    let mut shown = Shown::new();
    for office in 0..scenario.offices.len() {
        show(office, world, &mut shown);
    }
    shown
}

/// Adds what shows at an office, without times and without what is hashed over times.
fn show(office: SiteIndex, world: &World, shown: &mut Shown) {
    world.read(office, |store, space| {
        read::each_record(store, space, |key, view| {
            let address = format!("{}/{} at {}", key.collection, key.id, world.name(office));
            let conflicts: Vec<_> = view
                .conflicts
                .iter()
                .map(|conflict| {
                    let values = conflict.values.iter().map(|value| (&value.value, value.actor));
                    (&conflict.path, values.collect::<Vec<_>>())
                })
                .collect();
            shown.insert(address, format!("{:?}", (&view.fields, view.deleted, conflicts)));
        })
    });
}
