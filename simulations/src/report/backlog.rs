//! How far behind each office was, over time.

use std::fmt::Write;

use maud::{Markup, html};

use super::axis::{Axis, COLUMNS, LEFT, WIDTH, short};
use super::{ReportedRun, SiteStory};
use crate::text::Count;

/// Offices with a colour and a name of their own: those that were furthest behind. The others are grey.
const NAMED: usize = 6;
/// A line that is lower than this part of the highest is not distinguished from zero, and needs no name.
const SEEN: u64 = 40;
const TOP: f64 = 22.0;
const BOTTOM: f64 = 262.0;
/// Faults whose time is shaded; more would hide the lines.
const SHADED: usize = 12;

struct BacklogLine<'a> {
    name: &'a str,
    max: u64,
    columns: Vec<Option<u64>>,
}

/// The chart; empty where nobody was ever behind.
pub(super) fn chart(run: &ReportedRun<'_>) -> Markup {
    let axis = Axis::new(run.story.end_ms);
    let sampled = run.story.sites.iter().filter(|(_, site)| !site.backlog.is_empty());
    let mut lines: Vec<_> = sampled.map(|(name, site)| line(name, site, &axis)).collect();
    // The furthest behind first, the order of names among equals.
    lines.sort_by(|one, other| other.max.cmp(&one.max).then(one.name.cmp(other.name)));
    let max = lines.first().map_or(0, |line| line.max);
    if max == 0 {
        return Markup::default();
    }
    let is_seen = |line: &&BacklogLine<'_>| line.max.saturating_mul(SEEN) >= max;
    let (named, others) = lines.split_at(lines.iter().take(NAMED).take_while(is_seen).count());
    let top = nice(max);
    let view = format!("0 0 {WIDTH} {}", BOTTOM + 26.0);
    html! {
        ul.legend aria-hidden="true" {
            @for (number, line) in named.iter().enumerate() {
                li { svg class="key" viewBox="0 0 22 16" { path class=(format!("line c{number}")) d="M0 8H22" {} } (line.name) }
            }
            @if !others.is_empty() {
                li { svg class="key" viewBox="0 0 22 16" { path class="line other" d="M0 8H22" {} } "the others" }
            }
        }
        svg.chart viewBox=(view) role="img" aria-label="Entries that each office lacked, over time" {
            (shades(run, &axis))
            (axis.grid(TOP, BOTTOM))
            g.grid {
                @for quarter in 0..=4_u64 {
                    @let value = top * quarter / 4;
                    @let y = y(value, top);
                    line x1=(short(LEFT)) x2=(short(axis.x(axis.end_ms))) y1=(short(y)) y2=(short(y)) {}
                    text x=(short(LEFT - 8.0)) y=(short(y + 4.0)) text-anchor="end" { (Count(value)) }
                }
            }
            @for line in others { path class="line other" d=(path(line, &axis, top)) {} }
            // The furthest behind is drawn last, over the others.
            @for (number, line) in named.iter().enumerate().rev() {
                path class=(format!("line c{number}")) d=(path(line, &axis, top)) {}
            }
        }
        details {
            summary { "As text" }
            table {
                thead { tr { th scope="col" { "Office" } th.number scope="col" { "Most entries behind" } } }
                tbody { @for line in &lines { tr { td { (line.name) } td.number { (Count(line.max)) } } } }
            }
        }
    }
}

/// The times of the faults.
fn shades(run: &ReportedRun<'_>, axis: &Axis) -> Markup {
    let faults = &run.story.faults;
    let shaded = if faults.len() <= SHADED { faults.as_slice() } else { &[] };
    html! {
        @for fault in shaded {
            @if let Some(for_ms) = fault.for_ms {
                @let (from, to) = (axis.x(fault.at_ms), axis.x(fault.at_ms + for_ms));
                rect.shade x=(short(from)) y=(short(TOP)) width=(short((to - from).max(1.0))) height=(short(BOTTOM - TOP)) {
                    title { (fault.what) }
                }
            }
        }
        @if let Some(healed_ms) = run.story.healed_ms {
            @let x = short(axis.x(healed_ms));
            line.healed x1=(x) x2=(x) y1=(short(TOP)) y2=(short(BOTTOM)) {}
            text.healed x=(x) y=(short(TOP - 7.0)) text-anchor="end" { "all faults over" }
        }
    }
}

/// The greatest value of each column.
fn line<'a>(name: &'a str, site: &SiteStory, axis: &Axis) -> BacklogLine<'a> {
    let mut columns = vec![None; COLUMNS];
    for (at_ms, backlog) in &site.backlog {
        let column = &mut columns[axis.column(*at_ms)];
        *column = (*column).max(Some(*backlog));
    }
    let max = site.backlog.iter().map(|(_, backlog)| *backlog).max().unwrap_or(0);
    BacklogLine { name, max, columns }
}

fn path(line: &BacklogLine<'_>, axis: &Axis, top: u64) -> String {
    let mut path = String::new();
    for (column, value) in line.columns.iter().enumerate() {
        let Some(value) = value else { continue };
        let verb = if path.is_empty() { 'M' } else { 'L' };
        let (x, y) = (short(axis.column_x(column)), short(y(*value, top)));
        // Writing to a string does not fail.
        let _ = write!(path, "{verb}{x} {y}");
    }
    path
}

fn y(value: u64, top: u64) -> f64 {
    BOTTOM - (BOTTOM - TOP) * value as f64 / top as f64
}

/// The next number that divides well by four.
fn nice(max: u64) -> u64 {
    let mut unit = 4;
    loop {
        for factor in [1, 2, 5] {
            if unit * factor >= max {
                return unit * factor;
            }
        }
        unit = match unit.checked_mul(10) {
            Some(greater) if greater <= u64::MAX / 10 => greater,
            Some(_) | None => return max,
        };
    }
}
