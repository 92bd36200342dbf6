//! The common frame of the charts: time from left to right.

use maud::{Markup, html};

use crate::scenario::{DAY_MS, HOUR_MS, Readable};

/// Width of every chart, in its own units; the page scales it.
pub(super) const WIDTH: f64 = 960.0;
/// Where the names end and the chart begins.
pub(super) const LEFT: f64 = 180.0;
const RIGHT: f64 = WIDTH - 30.0;
/// Columns that a chart is resolved into: about one for each of its units.
pub(super) const COLUMNS: usize = 800;
/// Most marks on an axis, so that their texts stay apart.
const TICKS_MAX: u64 = 9;
/// Characters of a name that fit to the left of a chart.
const NAME_CHARS_MAX: usize = 24;
const MINUTE_MS: u64 = 60_000;

/// Time from 0 to the end of a run.
#[derive(Clone, Copy, Debug)]
pub(super) struct Axis {
    pub(super) end_ms: u64,
}

impl Axis {
    pub(super) fn new(end_ms: u64) -> Self {
        Self { end_ms: end_ms.max(1) }
    }

    /// Where a time is, from left to right.
    pub(super) fn x(&self, at_ms: u64) -> f64 {
        LEFT + (RIGHT - LEFT) * (at_ms.min(self.end_ms) as f64 / self.end_ms as f64)
    }

    /// The column that a time falls into.
    pub(super) fn column(&self, at_ms: u64) -> usize {
        let column = u128::from(at_ms) * COLUMNS as u128 / u128::from(self.end_ms);
        usize::try_from(column).unwrap_or(COLUMNS).min(COLUMNS - 1)
    }

    /// Where a column begins.
    pub(super) fn column_x(&self, column: usize) -> f64 {
        LEFT + (RIGHT - LEFT) * column as f64 / COLUMNS as f64
    }

    /// Vertical lines through the chart with their times below.
    pub(super) fn grid(&self, top: f64, bottom: f64) -> Markup {
        let step = self.step_ms();
        let ticks = (0..=self.end_ms / step).map(|tick| tick * step);
        html! {
            g.grid {
                @for at_ms in ticks {
                    @let x = short(self.x(at_ms));
                    line x1=(x) x2=(x) y1=(short(top)) y2=(short(bottom)) {}
                    text x=(x) y=(short(bottom + 17.0)) text-anchor="middle" {
                        @if at_ms == 0 { "start" } @else { (Readable(at_ms)) }
                    }
                }
            }
        }
    }

    fn step_ms(&self) -> u64 {
        let minutes = [1, 2, 5, 10, 15, 30].map(|n| n * MINUTE_MS);
        let hours = [1, 2, 3, 6, 12].map(|n| n * HOUR_MS);
        let days = [1, 2, 7, 14, 28, 56].map(|n| n * DAY_MS);
        let fits = |step: &u64| self.end_ms / step <= TICKS_MAX;
        let steps = minutes.into_iter().chain(hours).chain(days);
        steps.into_iter().find(fits).unwrap_or(self.end_ms)
    }
}

/// A name that fits beside a chart.
pub(super) fn fitting(name: &str) -> String {
    if name.chars().count() <= NAME_CHARS_MAX {
        return name.to_owned();
    }
    let beginning: String = name.chars().take(NAME_CHARS_MAX - 1).collect();
    format!("{beginning}…")
}

/// A coordinate with one digit after the point: finer is not seen.
pub(super) fn short(value: f64) -> String {
    let text = format!("{value:.1}");
    text.strip_suffix(".0").map(str::to_owned).unwrap_or(text)
}
