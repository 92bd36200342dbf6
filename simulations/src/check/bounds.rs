//! Invariant 10: memory, queues, files, connections are bounded; one poison record blocks nothing else.
//!
//! What a replica holds in memory besides its logs is looked at whenever it changes. That no poison blocks anything is
//! shown by the other checks while a member lies. The bounds are stated here again on purpose: a wrong one in the product must
//! not pass.

use branchline_crdt::replica::Footprint;

use super::{Check, Report, Scene};
use crate::invariant::Invariant;
use crate::world::SiteIndex;

/// Documents that the replica keeps at hand.
const DOCUMENTS_MAX: usize = 512;
/// Announcements that may wait for their entry.
const ANNOUNCEMENTS_MAX: usize = 1_024;
/// Messages that wait for what they build on.
const EARLY_MAX: usize = 256;
/// The spaces that can be pulled from one peer, in a network without private ones.
const SPACES: usize = 2;

/// Looks at what replicas hold in memory.
pub struct Bounds;

impl Check for Bounds {
    fn changed(&mut self, office: SiteIndex, scene: &Scene<'_>, report: &mut Report) {
        let world = scene.world;
        let Some(replica) = world.replica(office) else { return };
        let members = replica.realms().members().map_or(0, |members| members.all().len());
        let found = replica.footprint();
        let Footprint {
            staged_entries,
            staged_bytes,
            documents,
            peers,
            pulls,
            announcements,
            early,
            outputs,
        } = found;
        let holds = staged_entries == 0
            && staged_bytes == 0
            && documents <= DOCUMENTS_MAX
            && peers <= members
            && pulls <= SPACES * peers
            && announcements <= ANNOUNCEMENTS_MAX
            && early <= EARLY_MAX
            && outputs == 0;
        report.expect(Invariant::Bounds, holds, Some(world.name(office)), || {
            format!(
                "between two groups of inputs a replica holds nothing staged or unsaid, at most {DOCUMENTS_MAX} \
                 documents, {members} peers (its members), {SPACES} pulls for each, {ANNOUNCEMENTS_MAX} \
                 announcements and {EARLY_MAX} messages that wait, found {found:?}"
            )
        });
    }

    fn sample(&mut self, office: SiteIndex, scene: &Scene<'_>, report: &mut Report) {
        self.changed(office, scene, report);
    }
}
