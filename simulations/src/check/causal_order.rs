//! Invariant 4: entries apply in causal order; a frontier never moves back within an incarnation.
//!
//! Read from the journals, not from what replicas say: in each, an entry lies behind its log's previous one, which it
//! names, and behind everything that it names as its past.

use std::collections::{BTreeMap, BTreeSet};

use branchline_crdt::ids::{Author, EntryHash, SiteId, SpaceId};
use branchline_crdt::log::entry::{Entry, Tip};
use branchline_crdt::replica::Notice;

use super::{Check, Report, Scene};
use crate::invariant::Invariant;
use crate::world::{Observation, SiteIndex};

/// Follows each office's journal and frontier.
#[derive(Default)]
pub struct CausalOrder {
    journals: BTreeMap<SiteIndex, Journal>,
}

/// What one journal holds so far.
#[derive(Default)]
struct Journal {
    held: BTreeSet<(SpaceId, SiteId, u64, EntryHash)>,
    /// The frontier of this incarnation, by log.
    frontier: BTreeMap<(SpaceId, Author), u64>,
    /// Frames are missing: what follows them may build on what cannot be read.
    has_holes: bool,
}

impl Journal {
    /// By the hash alone: a tip's author may have known a branch by another name.
    fn holds(&self, space: SpaceId, tip: &Tip) -> bool {
        self.held.contains(&(space, tip.author.site, tip.seq, tip.hash))
    }

    /// What is missing before this entry.
    fn lacks(&self, entry: &Entry) -> Option<String> {
        let header = &entry.header;
        let membership = header.realm.membership_space();
        if header.seq > 1 {
            let previous =
                Tip { author: header.author, seq: header.seq - 1, hash: header.previous };
            if !self.holds(header.space, &previous) {
                return Some("the previous one of its log".to_owned());
            }
        }
        let own = header.past.iter().map(|tip| (header.space, tip));
        let mut past = own.chain(header.membership_past.iter().map(|tip| (membership, tip)));
        let missing = past.find(|(space, tip)| !self.holds(*space, tip));
        missing.map(|(_, tip)| format!("entry {} of {:?}, which it names", tip.seq, tip.author))
    }

    fn add(&mut self, entry: &Entry) {
        let header = &entry.header;
        self.held.insert((header.space, header.author.site, header.seq, entry.hash));
    }
}

impl CausalOrder {
    fn follow<'a>(
        &mut self,
        office: SiteIndex,
        entries: impl Iterator<Item = &'a Entry>,
        scene: &Scene<'_>,
        report: &mut Report,
    ) {
        let name = scene.world.name(office);
        let journal = self.journals.entry(office).or_default();
        journal.has_holes |= scene.world.damaged_count(office) > 0;
        for entry in entries {
            let lacks = journal.lacks(entry);
            let is_excused = journal.has_holes;
            report.expect(
                Invariant::CausalOrder,
                lacks.is_none() || is_excused,
                Some(name),
                || {
                    let header = &entry.header;
                    let lacks = lacks.unwrap_or_default();
                    format!(
                        "entry {} of {:?} lies in the journal before {lacks}",
                        header.seq, header.author
                    )
                },
            );
            journal.add(entry);
        }
    }

    fn compare_frontier(&mut self, office: SiteIndex, scene: &Scene<'_>, report: &mut Report) {
        let Some(replica) = scene.world.replica(office) else { return };
        let Some(network) = replica.realms().network() else { return };
        let name = scene.world.name(office);
        let journal = self.journals.entry(office).or_default();
        let mut frontier = BTreeMap::new();
        for space in [network.main_space(), network.membership_space()] {
            let tips = replica.realms().frontier(space);
            let tips = tips.iter().flat_map(|frontier| frontier.tips());
            frontier.extend(tips.map(|tip| ((space, tip.author), tip.seq)));
        }
        for ((space, author), before) in &journal.frontier {
            let now = frontier.get(&(*space, *author));
            // A log that is no longer listed is implied by a later incarnation of its site.
            let is_implied =
                || frontier.keys().any(|(of, other)| of == space && other.site == author.site);
            let holds = now.map_or_else(is_implied, |now| now >= before);
            report.expect(Invariant::CausalOrder, holds, Some(name), || {
                format!("the frontier held entry {before} of {author:?} and went back to {now:?}")
            });
        }
        journal.frontier = frontier;
    }
}

impl Check for CausalOrder {
    fn changed(&mut self, office: SiteIndex, scene: &Scene<'_>, report: &mut Report) {
        self.compare_frontier(office, scene, report);
    }

    fn observe(&mut self, observation: &Observation, scene: &Scene<'_>, report: &mut Report) {
        match observation {
            Observation::Started { office, entries } => {
                self.journals.remove(office);
                self.follow(*office, entries.iter().map(|(_, entry)| &**entry), scene, report);
            }
            Observation::Stored { office, entries, .. } => {
                self.follow(*office, entries.iter().map(|(_, entry)| &**entry), scene, report);
            }
            // A new incarnation; a branch of a log may have another name.
            Observation::Rebuilt { office }
            | Observation::Notice { office, notice: Notice::Fork { is_renamed: true, .. } } => {
                self.journals.entry(*office).or_default().frontier.clear();
            }
            Observation::Stopped { .. }
            | Observation::Failed { .. }
            | Observation::DiskChanged { .. }
            | Observation::Sent { .. }
            | Observation::Delivered { .. }
            | Observation::Lost { .. }
            | Observation::Notice { .. } => {}
        }
    }
}
