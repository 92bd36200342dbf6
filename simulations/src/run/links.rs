//! What the links carry, as the trace tells it.

use super::{Event, Run};
use crate::scenario::LinkQuality;
use crate::trace::LinkState;

/// What a link carries, and how well.
#[derive(Clone, Copy)]
pub(super) struct Carried {
    /// From the office with the smaller number, and to it.
    passes: (bool, bool),
    quality: Option<LinkQuality>,
}

impl Run<'_> {
    /// Tells which links carry something else than when this was reported last.
    pub(super) fn report_links(&mut self) {
        if !self.trace.is_on() {
            return;
        }
        for (a, b) in self.scenario.links.iter().copied() {
            let passes = (self.world.passes(a, b), self.world.passes(b, a));
            let quality = self.world.quality(a, b);
            let last = self.links_reported.insert((a, b), Carried { passes, quality });
            let (name_a, name_b) = (self.world.name(a).to_owned(), self.world.name(b).to_owned());
            if last.map(|last| last.passes) != Some(passes) {
                // Of a link that passes one way only, the end that is heard comes first.
                let (a, b, state) = match passes {
                    (true, true) => (name_a.clone(), name_b.clone(), LinkState::Up),
                    (false, false) => (name_a.clone(), name_b.clone(), LinkState::Down),
                    (true, false) => (name_a.clone(), name_b.clone(), LinkState::OneWay),
                    (false, true) => (name_b.clone(), name_a.clone(), LinkState::OneWay),
                };
                self.report(Event::Link { a, b, state });
            }
            let usual = Some(self.scenario.quality);
            if let Some(quality) = quality
                && last.map_or(usual, |last| last.quality) != Some(quality)
            {
                self.report(Event::LinkQuality {
                    a: name_a,
                    b: name_b,
                    latency_ms: quality.latency_ms,
                    jitter_ms: quality.jitter_ms,
                    loss_ppm: quality.loss_ppm,
                    bytes_per_second: quality.bytes_per_second,
                });
            }
        }
    }
}
