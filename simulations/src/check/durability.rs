//! Invariant 3: an acknowledged write survives any crash; an entry is applied wholly or not at all, everywhere.
//!
//! The marks of the workload say: wherever a mark shows, its whole transaction does, so each counter is the sum of the
//! increments whose marks show, at every office at every moment; and a mark that was acknowledged shows at its own
//! office after every start, and at every office in the end.

use std::collections::{BTreeMap, BTreeSet};

use branchline_crdt::record::Value;
use branchline_crdt::store::tables::{self, records};

use super::{Check, Report, Scene};
use crate::invariant::Invariant;
use crate::oracle::{Reply, Write};
use crate::trace::RecordName;
use crate::workload::MARKS;
use crate::world::{Observation, SiteIndex};

/// Compares counters and marks with what was acknowledged.
#[derive(Default)]
pub struct Durability {
    /// Offices whose disks were damaged or replaced: what was written before that may be there only once the others have
    /// given it back. The number of writes then.
    changed: BTreeMap<SiteIndex, u64>,
}

impl Check for Durability {
    fn observe(&mut self, observation: &Observation, scene: &Scene<'_>, report: &mut Report) {
        match observation {
            Observation::Started { office, .. } | Observation::Rebuilt { office } => {
                let after = self.changed.get(office).copied().unwrap_or(0);
                own_writes_are_there(*office, after, scene, report);
                counters_are_sums(*office, scene, report);
            }
            Observation::Failed { office, reason } => {
                let name = scene.world.name(*office);
                report.expect(Invariant::Durability, false, Some(name), || {
                    format!("the node expected to find its data, and found: {reason}")
                });
            }
            Observation::DiskChanged { office, .. } => {
                self.changed.insert(*office, scene.oracle.count());
            }
            Observation::Stopped { .. }
            | Observation::Stored { .. }
            | Observation::Sent { .. }
            | Observation::Delivered { .. }
            | Observation::Lost { .. }
            | Observation::Notice { .. } => {}
        }
    }

    fn sample(&mut self, office: SiteIndex, scene: &Scene<'_>, report: &mut Report) {
        counters_are_sums(office, scene, report);
    }

    fn finish(&mut self, scene: &Scene<'_>, report: &mut Report) {
        for office in scene.groups.iter().flatten() {
            counters_are_sums(*office, scene, report);
            own_writes_are_there(*office, 0, scene, report);
        }
        // Whether they reach all is a matter of convergence; once that is there, so are they.
        if scene.converged {
            for group in scene.groups {
                all_writes_are_there(group, scene, report);
            }
        }
    }
}

fn must_show(write: &Write) -> bool {
    write.reported == Reply::Acknowledged && !write.excused
}

/// What an office has acknowledged shows there; of the writes with a greater number than `after`.
fn own_writes_are_there(office: SiteIndex, after: u64, scene: &Scene<'_>, report: &mut Report) {
    let shown = marks(office, scene);
    let own = |write: &&Write| write.office == office && write.number > after && must_show(write);
    for write in scene.oracle.writes().filter(own) {
        expect_mark(write, &shown, office, scene, report);
    }
}

fn all_writes_are_there(group: &[SiteIndex], scene: &Scene<'_>, report: &mut Report) {
    for office in group {
        let shown = marks(*office, scene);
        for write in scene.oracle.writes() {
            if must_show(write) && group.contains(&write.office) {
                expect_mark(write, &shown, *office, scene, report);
            }
            if write.reported == Reply::Refused {
                let mark = &write.planned.mark;
                let name = scene.world.name(*office);
                report.expect(Invariant::Durability, !shown.contains(mark), Some(name), || {
                    format!("{MARKS}/{mark} shows, though it was refused ({})", write.planned.what)
                });
            }
        }
    }
}

fn expect_mark(
    write: &Write,
    shown: &BTreeSet<String>,
    office: SiteIndex,
    scene: &Scene<'_>,
    report: &mut Report,
) {
    let mark = &write.planned.mark;
    let name = scene.world.name(office);
    report.expect(Invariant::Durability, shown.contains(mark), Some(name), || {
        let writer = scene.world.name(write.office);
        format!(
            "{MARKS}/{mark} is not there, though {writer} acknowledged it ({})",
            write.planned.what
        )
    });
}

/// The marks that show at an office.
fn marks(office: SiteIndex, scene: &Scene<'_>) -> BTreeSet<String> {
    let mut shown = BTreeSet::new();
    scene.world.read(office, |store, space| {
        tables::walk(store, &records::records(space, MARKS), None, |key, _| {
            shown.extend(records::record_of_key(key).map(|key| key.id));
            Ok(true)
        })
    });
    shown
}

fn counters_are_sums(office: SiteIndex, scene: &Scene<'_>, report: &mut Report) {
    let shown = marks(office, scene);
    let mut sums: BTreeMap<&RecordName, i64> = BTreeMap::new();
    for write in scene.oracle.writes() {
        for (record, amount) in &write.planned.increments {
            let sum = sums.entry(record).or_default();
            *sum += if shown.contains(&write.planned.mark) { *amount } else { 0 };
        }
    }
    for (record, expected) in sums {
        let view = scene.world.view(office, &record.collection, &record.id);
        let found = match view.and_then(|mut view| view.fields.remove("stock")) {
            Some(Value::Counter(found)) => found,
            Some(_) | None => 0,
        };
        let name = scene.world.name(office);
        report.expect(Invariant::Durability, found == expected, Some(name), || {
            format!(
                "{record} has stock {found}, the transactions that show there add up to {expected}"
            )
        });
    }
}
