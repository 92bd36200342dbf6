//! Invariant 1: equal frontiers mean equal digests, at every site, whatever the order of arrival.

use std::collections::BTreeMap;

use super::{Check, Report, Scene};
use crate::invariant::Invariant;
use crate::world::SiteIndex;

/// Frontiers remembered: some runs pass through more, and the later ones are then compared among themselves.
const FRONTIERS_MAX: usize = 100_000;

/// Remembers what each frontier showed, at whichever office and time.
#[derive(Default)]
pub struct EqualDigests {
    shown: BTreeMap<[[u8; 16]; 2], (String, SiteIndex)>,
}

impl Check for EqualDigests {
    fn changed(&mut self, office: SiteIndex, scene: &Scene<'_>, report: &mut Report) {
        let world = scene.world;
        let Some(replica) = world.replica(office) else { return };
        let Some(network) = replica.realms().network() else { return };
        if replica.realms().entries_unapplied(network.main_space()) > 0 {
            // Its program is too old to show all that it holds.
            return;
        }
        let spaces = [network.main_space(), network.membership_space()];
        let [Some(main), Some(membership)] = spaces.map(|space| replica.realms().frontier(space))
        else {
            return;
        };
        let digest = world.digest(office);
        if self.shown.len() >= FRONTIERS_MAX {
            self.shown.clear();
        }
        let frontiers = [main.digest(), membership.digest()];
        let (expected, at) =
            self.shown.entry(frontiers).or_insert_with(|| (digest.clone(), office));
        report.expect(
            Invariant::EqualDigests,
            *expected == digest,
            Some(world.name(office)),
            || {
                let other = world.name(*at);
                format!("digest {digest} found; {other} showed {expected} with the same frontier")
            },
        );
    }

    fn finish(&mut self, scene: &Scene<'_>, report: &mut Report) {
        for office in scene.groups.iter().flatten() {
            self.changed(*office, scene, report);
        }
    }
}
