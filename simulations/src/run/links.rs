//! What the links carry, as the trace tells it.

use super::{Event, Run};
use crate::trace::LinkState;

impl Run<'_> {
    /// Tells which links carry something else than when this was told last.
    pub(super) fn tell_links(&mut self) {
        if !self.trace.is_on() {
            return;
        }
        for (a, b) in self.scenario.links.iter().copied() {
            let passes = (self.world.passes(a, b), self.world.passes(b, a));
            let quality = self.world.quality(a, b);
            let last = self.links_told.insert((a, b), (passes, quality));
            let (name_a, name_b) = (self.world.name(a).to_owned(), self.world.name(b).to_owned());
            if last.map(|(passes, _)| passes) != Some(passes) {
                // Of a link that passes one way only, the end that is heard comes first.
                let (a, b, state) = match passes {
                    (true, true) => (name_a.clone(), name_b.clone(), LinkState::Up),
                    (false, false) => (name_a.clone(), name_b.clone(), LinkState::Down),
                    (true, false) => (name_a.clone(), name_b.clone(), LinkState::OneWay),
                    (false, true) => (name_b.clone(), name_a.clone(), LinkState::OneWay),
                };
                self.tell(Event::Link { a, b, state });
            }
            let usual = Some(self.scenario.quality);
            if let Some(quality) = quality
                && last.map_or(usual, |(_, quality)| quality) != Some(quality)
            {
                self.tell(Event::LinkQuality {
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
