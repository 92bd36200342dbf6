//! Invariant 6: nothing deleted comes back by itself.
//!
//! Nobody brings records of [`GONE`] back. So once one is seen to be deleted at an office it stays so there, and in
//! the end it is deleted wherever the deletion was acknowledged.

use std::collections::{BTreeMap, BTreeSet};

use branchline_crdt::store::read;

use super::{Check, Report, Scene};
use crate::invariant::Invariant;
use crate::oracle::Reply;
use crate::workload::GONE;
use crate::world::{Observation, SiteIndex};

/// Remembers what each office has shown as deleted.
#[derive(Default)]
pub struct Deletion {
    seen: BTreeMap<SiteIndex, BTreeSet<String>>,
}

impl Check for Deletion {
    fn observe(&mut self, observation: &Observation, _: &Scene<'_>, _: &mut Report) {
        match observation {
            // A disk of before, or with holes, may know nothing of it yet.
            Observation::DiskChanged { office, .. } => {
                self.seen.remove(office);
            }
            Observation::Started { .. }
            | Observation::Stored { .. }
            | Observation::Rebuilt { .. }
            | Observation::Stopped { .. }
            | Observation::Failed { .. }
            | Observation::Sent { .. }
            | Observation::Delivered { .. }
            | Observation::Lost { .. }
            | Observation::Notice { .. } => {}
        }
    }

    fn sample(&mut self, office: SiteIndex, scene: &Scene<'_>, report: &mut Report) {
        let shown = shown(office, scene);
        let name = scene.world.name(office);
        let seen = self.seen.entry(office).or_default();
        if scene.world.damaged_count(office) == 0 {
            for id in seen.iter() {
                let holds = shown.get(id) == Some(&true);
                report.expect(Invariant::Deletion, holds, Some(name), || {
                    format!("{GONE}/{id} was deleted here and is back")
                });
            }
        }
        seen.extend(shown.into_iter().filter(|(_, deleted)| *deleted).map(|(id, _)| id));
    }

    fn finish(&mut self, scene: &Scene<'_>, report: &mut Report) {
        for office in scene.groups.iter().flatten() {
            self.sample(*office, scene, report);
        }
        if !scene.converged {
            return;
        }
        for group in scene.groups {
            for office in group {
                let shown = shown(*office, scene);
                let name = scene.world.name(*office);
                for write in scene.oracle.writes() {
                    let must = write.reported == Reply::Acknowledged && !write.excused;
                    let Some(id) = write.planned.deletes.as_ref().filter(|_| must) else {
                        continue;
                    };
                    if group.contains(&write.office) {
                        report.expect(
                            Invariant::Deletion,
                            shown.get(id) == Some(&true),
                            Some(name),
                            || format!("{GONE}/{id} shows, though its deletion was acknowledged"),
                        );
                    }
                }
            }
        }
    }
}

/// The records of [`GONE`] at an office, and whether each is deleted.
fn shown(office: SiteIndex, scene: &Scene<'_>) -> BTreeMap<String, bool> {
    let mut shown = BTreeMap::new();
    scene.world.read(office, |store, space| {
        read::each_of(store, space, GONE, None, |id, view| {
            shown.insert(id, view.deleted);
            Ok(true)
        })
    });
    shown
}
