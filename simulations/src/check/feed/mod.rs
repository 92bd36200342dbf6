//! Invariant 9: a feed cursor sees every change at least once, in order, across restarts, crashes and rebuilds; each event
//! carries the value before and after, its transaction and whether it is the transaction's last.
//!
//! At every office a few consumers follow the feed at paces of their own, write their cursors down now and then, and
//! are killed. Each page is compared with the journal (`journal`): the same changes, in the same order, none between
//! them. `before` must be the last `after` that the consumer was given of the record; and anyone who keeps a copy by the values
//! `after` must have, at the end of the feed, the very records that the office shows.

mod consumer;
mod journal;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use branchline_crdt::feed::FeedId;
use branchline_crdt::ids::SpaceId;
use branchline_crdt::record::View;
use branchline_crdt::store::read;
use branchline_crdt::store::tables::records::RecordKey;

use super::{Check, Report, Scene};
use crate::invariant::Invariant;
use crate::store::SimulatedStore;
use crate::world::{Observation, SiteIndex};

use consumer::Consumer;

/// Each office's consumers read on about every second and every thirty-second time that its journal has grown.
const PACES: [u32; 2] = [2, 32];
/// Pages until a consumer must have come to the end of a feed that does not grow; each fork makes it start over.
const PAGES_MAX: usize = 100_000;

/// What one office's feed is read from.
struct FeedSource<'a> {
    store: &'a SimulatedStore,
    feed: FeedId,
    space: SpaceId,
    /// The office's name.
    name: &'a str,
    /// Some of its journal was damaged or replaced, now or before.
    is_changed: bool,
}

/// Follows the feed of every office.
#[derive(Default)]
pub struct Feed {
    consumers: BTreeMap<SiteIndex, Vec<Consumer>>,
    /// Offices whose disks were damaged or replaced.
    changed: BTreeSet<SiteIndex>,
}

impl Feed {
    fn source<'a>(&self, office: SiteIndex, scene: &Scene<'a>) -> Option<FeedSource<'a>> {
        let replica = scene.world.replica(office)?;
        let space = replica.realms().network()?.main_space();
        let feed = FeedId::new(scene.world.site_id(office), space);
        let is_changed = self.changed.contains(&office) || scene.world.damaged_count(office) > 0;
        let name = scene.world.name(office);
        Some(FeedSource { store: replica.store(), feed, space, name, is_changed })
    }

    fn consumers(
        &mut self,
        office: SiteIndex,
        source: &FeedSource<'_>,
        seed: u64,
    ) -> &mut Vec<Consumer> {
        self.consumers.entry(office).or_insert_with(|| {
            let new =
                |(number, pace)| Consumer::new(source.feed, pace, seed, [office as u64, number]);
            (0..).zip(PACES).map(new).collect()
        })
    }
}

impl Check for Feed {
    fn observe(&mut self, observation: &Observation, _: &Scene<'_>, _: &mut Report) {
        match observation {
            Observation::DiskChanged { office, change } => {
                self.changed.insert(*office);
                for consumer in self.consumers.get_mut(office).into_iter().flatten() {
                    consumer.disk_changed(*change);
                }
            }
            Observation::Stopped { office, crashed, .. } => {
                for consumer in self.consumers.get_mut(office).into_iter().flatten() {
                    consumer.node_stopped(*crashed);
                }
            }
            Observation::Started { .. }
            | Observation::Stored { .. }
            | Observation::Rebuilt { .. }
            | Observation::Failed { .. }
            | Observation::Sent { .. }
            | Observation::Delivered { .. }
            | Observation::Lost { .. }
            | Observation::Notice { .. } => {}
        }
    }

    fn changed(&mut self, office: SiteIndex, scene: &Scene<'_>, report: &mut Report) {
        let Some(source) = self.source(office, scene) else { return };
        for consumer in self.consumers(office, &source, scene.seed) {
            consumer.live(&source, report);
        }
    }

    fn sample(&mut self, office: SiteIndex, scene: &Scene<'_>, report: &mut Report) {
        let Some(source) = self.source(office, scene) else { return };
        if source.is_changed {
            // What lies behind damage may show only later.
            return;
        }
        let consumers = self.consumers(office, &source, scene.seed);
        let at_end: Vec<_> = consumers.iter().filter(|consumer| consumer.is_at_end()).collect();
        if at_end.is_empty() {
            return;
        }
        let shown = shown(&source);
        for consumer in at_end {
            compare(consumer, &shown, &source, report);
        }
    }

    fn finish(&mut self, scene: &Scene<'_>, report: &mut Report) {
        for office in scene.groups.iter().flatten().copied() {
            let Some(source) = self.source(office, scene) else { continue };
            if scene.world.damaged_count(office) > 0 {
                continue;
            }
            let shown = shown(&source);
            let newcomer = [office as u64, PACES.len() as u64];
            let newcomer = Consumer::new(source.feed, 1, scene.seed, newcomer);
            let consumers = self.consumers(office, &source, scene.seed);
            consumers.push(newcomer);
            for consumer in consumers {
                let is_at_end = (0..PAGES_MAX).any(|_| {
                    consumer.read(&source, report);
                    consumer.is_at_end()
                });
                report.expect(Invariant::Feed, is_at_end, Some(source.name), || {
                    "the feed has no end, though nothing is written".to_owned()
                });
                compare(consumer, &shown, &source, report);
            }
        }
    }
}

/// What an office shows.
fn shown(source: &FeedSource<'_>) -> BTreeMap<RecordKey, View> {
    let mut shown = BTreeMap::new();
    // A storage that fails shows less than the consumers hold.
    read::each_record(source.store, source.space, |key, view| {
        shown.insert(key, view);
    })
    .ok();
    shown
}

/// A consumer at the end of the feed holds what the office shows.
fn compare(
    consumer: &Consumer,
    shown: &BTreeMap<RecordKey, View>,
    source: &FeedSource<'_>,
    report: &mut Report,
) {
    let copy = consumer.copy();
    let keys: BTreeSet<_> = shown.keys().chain(copy.keys()).collect();
    let held = |key: &&RecordKey| copy.get(*key).map(Arc::as_ref);
    let differs = keys.into_iter().find(|key| held(key) != shown.get(*key));
    report.expect(Invariant::Feed, differs.is_none(), Some(source.name), || {
        let (key, held) = match differs {
            Some(key) => (format!("{}/{}", key.collection, key.id), held(&key)),
            None => (String::new(), None),
        };
        let shows = differs.and_then(|key| shown.get(key));
        format!("anyone who followed the feed to its end holds {key} as {held:?}, the office shows {shows:?}")
    });
}
