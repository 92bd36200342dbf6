//! Lanes over time: how each office stood, and what passed over each link.

use std::collections::BTreeMap;

use maud::{Markup, html};

use super::ReportedRun;
use super::axis::{Axis, COLUMNS, LEFT, WIDTH, fitting, short};
use crate::scenario::Readable;
use crate::trace::LinkState;

/// Links shown; more are unreadable, and the offices' lanes show the story.
const LINKS_SHOWN: usize = 40;
const ROW: f64 = 24.0;

/// How a lane stands at a time, from good to bad.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum State {
    /// Not there yet.
    Absent,
    Fine,
    Partly,
    Cut,
    Off,
}

impl State {
    fn class(self) -> &'static str {
        match self {
            Self::Absent => "absent",
            Self::Fine => "fine",
            Self::Partly => "partly",
            Self::Cut => "cut",
            Self::Off => "off",
        }
    }

    /// The shape tells as much as the colour.
    fn height(self) -> f64 {
        match self {
            Self::Absent => 1.0,
            Self::Fine => 4.0,
            Self::Partly => 10.0,
            Self::Cut | Self::Off => 16.0,
        }
    }
}

struct Lane {
    name: String,
    /// From when on it stands how.
    changes: Vec<(u64, State)>,
}

/// How each office stood.
pub(super) fn offices(run: &ReportedRun<'_>) -> Markup {
    let lanes: Vec<_> =
        run.scenario.offices.iter().map(|office| office_lane(run, office)).collect();
    let legend = [
        (State::Fine, "all links up"),
        (State::Partly, "some links cut"),
        (State::Cut, "cut off"),
        (State::Off, "node off"),
    ];
    let words = |state| match state {
        State::Absent => "not there yet",
        State::Fine => "all links up",
        State::Partly => "some links cut",
        State::Cut => "cut off",
        State::Off => "node off",
    };
    chart(run, "How each office stood", &lanes, &legend, words)
}

/// What passed over the links that were not up all the time.
pub(super) fn links(run: &ReportedRun<'_>) -> Markup {
    let state = |state: LinkState| match state {
        LinkState::Up => State::Fine,
        LinkState::OneWay => State::Partly,
        LinkState::Down => State::Cut,
    };
    let changed: Vec<_> = run
        .story
        .links
        .iter()
        .filter(|(_, changes)| changes.iter().any(|(_, state)| *state != LinkState::Up))
        .collect();
    let lanes: Vec<_> = changed
        .iter()
        .take(LINKS_SHOWN)
        .map(|((a, b), changes)| Lane {
            name: format!("{a} – {b}"),
            changes: changes.iter().map(|(at_ms, link)| (*at_ms, state(*link))).collect(),
        })
        .collect();
    if lanes.is_empty() {
        return Markup::default();
    }
    let legend = [(State::Fine, "up"), (State::Partly, "one way only"), (State::Cut, "cut")];
    let words = |state| match state {
        State::Absent | State::Off => "none",
        State::Fine => "up",
        State::Partly => "one way only",
        State::Cut => "cut",
    };
    html! {
        (chart(run, "Links that were not up all the time", &lanes, &legend, words))
        @if changed.len() > LINKS_SHOWN {
            p.caption { "The first " (LINKS_SHOWN) " of " (changed.len()) " such links are shown." }
        }
    }
}

/// The states of an office: of its node, then of its links.
fn office_lane(run: &ReportedRun<'_>, office: &str) -> Lane {
    let story = run.story;
    let links: Vec<_> =
        story.links.iter().filter(|((a, b), _)| a == office || b == office).collect();
    let nodes = story.sites.get(office).map(|site| site.up.as_slice()).unwrap_or_default();
    let mut times: Vec<u64> = nodes.iter().map(|(at_ms, _)| *at_ms).collect();
    times.extend(links.iter().flat_map(|(_, changes)| changes.iter().map(|(at_ms, _)| *at_ms)));
    times.sort_unstable();
    times.dedup();
    // Every list is walked once, with the times.
    let mut node = Cursor::new(nodes);
    let mut links: Vec<_> = links.iter().map(|(_, changes)| Cursor::new(changes)).collect();
    let mut changes: Vec<(u64, State)> = Vec::new();
    for at_ms in times {
        let node = node.at(at_ms);
        let links: Vec<_> = links.iter_mut().map(|link| link.at(at_ms)).collect();
        let up = links.iter().filter(|state| **state == Some(LinkState::Up)).count();
        let through = links.iter().filter(|state| **state != Some(LinkState::Down)).count();
        let state = match node {
            None => State::Absent,
            Some(false) => State::Off,
            Some(true) if up == links.len() => State::Fine,
            Some(true) if through == 0 => State::Cut,
            Some(true) => State::Partly,
        };
        if changes.last().is_none_or(|(_, last)| *last != state) {
            changes.push((at_ms, state));
        }
    }
    Lane { name: office.to_owned(), changes }
}

/// Walks a list of changes along with time.
struct Cursor<'a, T> {
    rest: std::iter::Peekable<std::slice::Iter<'a, (u64, T)>>,
    now: Option<T>,
}

impl<'a, T: Copy> Cursor<'a, T> {
    fn new(changes: &'a [(u64, T)]) -> Self {
        Self { rest: changes.iter().peekable(), now: None }
    }

    fn at(&mut self, at_ms: u64) -> Option<T> {
        while let Some((_, state)) = self.rest.next_if(|(change_ms, _)| *change_ms <= at_ms) {
            self.now = Some(*state);
        }
        self.now
    }
}

fn chart(
    run: &ReportedRun<'_>,
    title: &str,
    lanes: &[Lane],
    legend: &[(State, &str)],
    words: impl Fn(State) -> &'static str,
) -> Markup {
    let axis = Axis::new(run.story.end_ms);
    let bottom = lanes.len() as f64 * ROW + 6.0;
    let view = format!("0 0 {WIDTH} {}", bottom + 26.0);
    html! {
        ul.legend aria-hidden="true" {
            @for (state, text) in legend {
                li { svg class="key" viewBox="0 0 22 16" { (bar(*state, 0.0, 22.0, 8.0)) } (text) }
            }
        }
        svg.chart viewBox=(view) role="img" aria-label=(title) {
            (axis.grid(0.0, bottom))
            @for (row, lane) in lanes.iter().enumerate() {
                @let middle = row as f64 * ROW + ROW / 2.0 + 3.0;
                text.name x=(short(LEFT - 8.0)) y=(short(middle + 4.0)) text-anchor="end" { (fitting(&lane.name)) }
                @for (from, to, state) in runs(lane, &axis) {
                    @let (x, end) = (axis.column_x(from), axis.column_x(to));
                    (bar(state, x, end - x, middle))
                }
            }
        }
        details {
            summary { "As text" }
            ul {
                @for lane in lanes {
                    li { (lane.name) ": " (totals(lane, axis.end_ms, &words)) }
                }
            }
        }
    }
}

fn bar(state: State, x: f64, width: f64, middle: f64) -> Markup {
    let height = state.height();
    let (x, width) = (short(x), short(width));
    let y = short(middle - height / 2.0);
    html! {
        rect class=(state.class()) x=(x) y=(y) width=(width) height=(short(height)) {}
    }
}

/// The worst state of each column, joined where it stays the same: a short cut is seen, and a page stays small.
fn runs(lane: &Lane, axis: &Axis) -> Vec<(usize, usize, State)> {
    let mut columns = vec![State::Absent; COLUMNS];
    let ends = lane.changes.iter().skip(1).map(|(at_ms, _)| *at_ms).chain([axis.end_ms]);
    for ((from_ms, state), to_ms) in lane.changes.iter().zip(ends) {
        let (first, last) =
            (axis.column(*from_ms), axis.column(to_ms.saturating_sub(1).max(*from_ms)));
        for column in &mut columns[first..=last] {
            *column = (*column).max(*state);
        }
    }
    let mut runs: Vec<(usize, usize, State)> = Vec::new();
    for (column, state) in columns.into_iter().enumerate() {
        match runs.last_mut() {
            Some((_, to, last)) if *last == state => *to = column + 1,
            Some(_) | None => runs.push((column, column + 1, state)),
        }
    }
    runs
}

/// How long a lane was in which state.
fn totals(lane: &Lane, end_ms: u64, words: &impl Fn(State) -> &'static str) -> String {
    let mut totals: BTreeMap<State, (u64, u64)> = BTreeMap::new();
    let ends = lane.changes.iter().skip(1).map(|(at_ms, _)| *at_ms).chain([end_ms]);
    for ((from_ms, state), to_ms) in lane.changes.iter().zip(ends) {
        let (ms, times) = totals.entry(*state).or_default();
        *ms += to_ms.saturating_sub(*from_ms);
        *times += 1;
    }
    let parts = totals.into_iter().map(|(state, (ms, times))| {
        let times = if times > 1 { format!(" ({times} times)") } else { String::new() };
        format!("{} for {}{times}", words(state), Readable(ms))
    });
    parts.collect::<Vec<_>>().join(", ")
}
