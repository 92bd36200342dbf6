//! Invariant 5: no honest author signs two contents under one number; where somebody does, all know it and hold both in the
//! end, each in a log of its own.

use std::collections::BTreeMap;

use branchline_crdt::ids::{Author, EntryHash, SpaceId};
use branchline_crdt::log::entry::{Entry, Header};
use branchline_crdt::store::tables::{self, logs};

use super::{Check, Report, Scene};
use crate::invariant::Invariant;
use crate::world::{Observation, SiteIndex};

/// All contents that any office has accepted under one number.
#[derive(Default)]
pub struct OneContent {
    accepted: BTreeMap<(SpaceId, Author, u64), BTreeMap<EntryHash, Header>>,
}

impl OneContent {
    fn accept(&mut self, office: SiteIndex, entry: &Entry, scene: &Scene<'_>, report: &mut Report) {
        let header = &entry.header;
        let place = (header.space, header.author, header.seq);
        let hashes = self.accepted.entry(place).or_default();
        hashes.entry(entry.hash).or_insert_with(|| header.clone());
        let lies = scene.liars.iter().any(|liar| scene.world.site_id(*liar) == header.author.site);
        let holds = lies || hashes.len() == 1;
        report.expect(Invariant::OneContent, holds, Some(scene.world.name(office)), || {
            format!(
                "an honest site has signed entry {} of {:?} twice: {hashes:?}",
                header.seq, header.author
            )
        });
    }
}

impl Check for OneContent {
    fn observe(&mut self, observation: &Observation, scene: &Scene<'_>, report: &mut Report) {
        match observation {
            Observation::Started { office, entries }
            | Observation::Stored { office, entries, .. } => {
                for (_, entry) in entries {
                    self.accept(*office, entry, scene, report);
                }
            }
            Observation::Rebuilt { .. }
            | Observation::Stopped { .. }
            | Observation::Failed { .. }
            | Observation::DiskChanged { .. }
            | Observation::Sent { .. }
            | Observation::Delivered { .. }
            | Observation::Lost { .. }
            | Observation::Notice { .. } => {}
        }
    }

    fn finish(&mut self, scene: &Scene<'_>, report: &mut Report) {
        if !scene.converged {
            return;
        }
        let forked: Vec<_> = self.accepted.iter().filter(|(_, hashes)| hashes.len() > 1).collect();
        for office in scene.groups.iter().flatten() {
            let Some(replica) = scene.world.replica(*office) else { continue };
            let known = replica.status().forks;
            let name = scene.world.name(*office);
            for ((space, author, seq), hashes) in &forked {
                let holds = known.contains(author);
                report.expect(Invariant::OneContent, holds, Some(name), || {
                    format!("{author:?} has signed entry {seq} twice, which is not known here")
                });
                if replica.realms().frontier(*space).is_none() {
                    continue;
                }
                for (hash, header) in *hashes {
                    let log = logs::log_of(replica.store(), header, hash).unwrap_or(*author);
                    let key = logs::entry(*space, log, *seq);
                    let row: Option<logs::EntryRow> =
                        tables::row(replica.store(), "entry row", &key).unwrap_or_default();
                    let holds = row.is_some_and(|row| row.hash == *hash);
                    report.expect(Invariant::OneContent, holds, Some(name), || {
                        format!("of the entries {seq} that {author:?} signed, {hash:?} is not held")
                    });
                }
            }
        }
    }
}
