//! `sweep`: many runs in parallel, and what they found together.

use std::collections::BTreeMap;
use std::fmt;
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;

use super::args::SweepArgs;
use super::asked::{Asked, Panicked};
use super::error::CliError;
use super::output::{self, line};
use super::pace::Pace;
use crate::invariant::Invariant;
use crate::outcome::Outcome;
use crate::scenario::{FaultName, Readable};
use crate::text::{Count, counted};
use crate::trace::NoTrace;

/// Failures listed; more of them seldom say more.
const FAILURES_SHOWN: usize = 10;
/// How often a sweep that nobody looks on at says how far it is.
const SAID_EVERY: Duration = Duration::from_secs(60);
/// Most runs of one sweep: each is a place in a list.
const RUNS_MAX: u64 = 10_000_000;

/// What many runs found together.
#[derive(Debug, Default, Serialize)]
struct Totals {
    runs: u64,
    /// Runs in which a promise did not hold, or that panicked.
    failed: u64,
    simulated_ms: u64,
    writes_acknowledged: u64,
    writes_refused: u64,
    faults: BTreeMap<FaultName, u64>,
    checks: BTreeMap<Invariant, u64>,
    converge_ms_max: u64,
    converge_rounds_max: u32,
    /// The first of them, by scenario and seed.
    failures: Vec<Failure>,
    pace: Pace,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
struct Failure {
    /// The run's place in the sweep, by which failures are ordered whatever the threads do.
    #[serde(skip)]
    place: usize,
    what: String,
    reproduce: String,
}

pub(super) fn sweep(args: &SweepArgs) -> Result<(), CliError> {
    let asked = match args.scenario.as_str() {
        "all" => Asked::all()?,
        one => vec![Asked::load(one)?],
    };
    let count = (args.seeds.end() - args.seeds.start()).saturating_add(1);
    if count.saturating_mul(asked.len() as u64) > RUNS_MAX {
        return Err(CliError::usage(format!(
            "found {count} seeds, expected {RUNS_MAX} runs at the most"
        )));
    }
    // Seed by seed, so that an early stop has tried every scenario.
    let runs: Vec<(&Asked, u64)> =
        args.seeds.clone().flat_map(|seed| asked.iter().map(move |asked| (asked, seed))).collect();
    let cores = thread::available_parallelism().map_or(1, NonZeroUsize::get);
    let jobs = args.jobs.map_or(cores, usize::from).min(runs.len());
    let limits = Limits {
        fail_fast: args.fail_fast,
        until: args.minutes.map(|minutes| Instant::now() + Duration::from_secs(60) * minutes),
    };
    let totals = run_all(&runs, jobs, limits);
    if args.json {
        output::json(&totals)?;
    } else {
        print(&totals, runs.len() as u64)?;
    }
    if totals.failed > 0 { Err(CliError::reported()) } else { Ok(()) }
}

/// Ends a sweep before all of its runs are done.
#[derive(Clone, Copy)]
struct Limits {
    fail_fast: bool,
    /// The moment from which on no run is started.
    until: Option<Instant>,
}

impl Limits {
    fn are_passed(self) -> bool {
        self.until.is_some_and(|until| Instant::now() >= until)
    }
}

fn run_all(runs: &[(&Asked, u64)], jobs: usize, limits: Limits) -> Totals {
    let bar = progress(runs.len() as u64);
    let (next, stop) = (AtomicUsize::new(0), AtomicBool::new(false));
    let mut totals = Totals { pace: Pace::with(jobs), ..Totals::default() };
    let began = Instant::now();
    thread::scope(|scope| {
        // As many results as threads may wait; the totals are quicker than any run.
        let (sender, results) = mpsc::sync_channel(jobs);
        for _ in 0..jobs {
            let (sender, next, stop) = (sender.clone(), &next, &stop);
            scope.spawn(move || {
                while !stop.load(Ordering::Relaxed) && !limits.are_passed() {
                    let place = next.fetch_add(1, Ordering::Relaxed);
                    let Some((asked, seed)) = runs.get(place) else { return };
                    let began = Instant::now();
                    let result = asked.run(*seed, &mut NoTrace);
                    if sender.send((place, result, began.elapsed())).is_err() {
                        return;
                    }
                }
            });
        }
        drop(sender);
        let mut said = Instant::now();
        for (place, result, took) in results {
            let (asked, seed) = runs[place];
            totals.pace.ran(took, || asked.command("run", seed));
            let failure = totals.add(place, runs[place], result);
            bar.inc(1);
            if let Some(failure) = failure {
                // At once: a sweep of hours may be stopped before its totals.
                say(&bar, &failure.to_string());
                bar.set_message(format!("{} failed", totals.failed));
                stop.fetch_or(limits.fail_fast, Ordering::Relaxed);
            }
            if bar.is_hidden() && said.elapsed() >= SAID_EVERY {
                said = Instant::now();
                say(
                    &bar,
                    &format!("{} of {} runs, {} failed", totals.runs, runs.len(), totals.failed),
                );
            }
        }
    });
    bar.finish_and_clear();
    totals.pace.end(totals.runs, began.elapsed());
    totals
}

/// A line on stderr, above the bar where there is one.
fn say(bar: &ProgressBar, text: &str) {
    bar.suspend(|| eprintln!("{text}"));
}

/// A bar on stderr, where a person looks on.
fn progress(runs: u64) -> ProgressBar {
    let bar = ProgressBar::new(runs);
    let style = ProgressStyle::with_template("{bar:40} {pos}/{len} runs, {eta} left  {msg}");
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    bar
}

impl Totals {
    /// What failed in it, if anything did.
    fn add(
        &mut self,
        place: usize,
        run: (&Asked, u64),
        result: Result<Outcome, Panicked>,
    ) -> Option<Failure> {
        self.runs += 1;
        let outcome = match result {
            Ok(outcome) => outcome,
            Err(panicked) => {
                let what = format!("the run panicked: {}", panicked.message);
                return Some(self.fail(place, run, what));
            }
        };
        let figures = &outcome.figures;
        self.simulated_ms += figures.simulated_ms;
        self.writes_acknowledged += figures.writes_acknowledged;
        self.writes_refused += figures.writes_refused;
        for (kind, count) in &figures.faults {
            *self.faults.entry(*kind).or_default() += count;
        }
        for (invariant, count) in &outcome.checks {
            *self.checks.entry(*invariant).or_default() += count;
        }
        self.converge_ms_max = self.converge_ms_max.max(figures.converge_ms.unwrap_or_default());
        self.converge_rounds_max =
            self.converge_rounds_max.max(figures.converge_rounds.unwrap_or_default());
        let violation = outcome.violations.first()?;
        let what = format!("promise {}: {}", violation.invariant.number(), violation.what);
        Some(self.fail(place, run, what))
    }

    fn fail(&mut self, place: usize, (asked, seed): (&Asked, u64), what: String) -> Failure {
        self.failed += 1;
        let failure = Failure { place, what, reproduce: asked.command("run", seed) };
        self.failures.push(failure.clone());
        self.failures.sort();
        self.failures.truncate(FAILURES_SHOWN);
        failure
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "    {}\n      reproduce: {}", self.what, self.reproduce)
    }
}

fn print(totals: &Totals, asked: u64) -> Result<(), CliError> {
    let row = |name: &str, text: String| line(format_args!("  {name:<15} {text}"));
    let stopped = if totals.runs < asked { ", stopped early" } else { "" };
    line(format_args!(
        "{}, {} failed{stopped}",
        counted(totals.runs, "run"),
        Count(totals.failed)
    ))?;
    row("simulated", Readable(totals.simulated_ms).to_string())?;
    let (acknowledged, refused) = (totals.writes_acknowledged, totals.writes_refused);
    row("writes", format!("{} acknowledged, {} refused", Count(acknowledged), Count(refused)))?;
    let (ms, rounds) = (totals.converge_ms_max, u64::from(totals.converge_rounds_max));
    row(
        "in step again",
        format!("after {} and {} at the most", Readable(ms), counted(rounds, "round")),
    )?;
    for (name, text) in totals.pace.lines().into_iter().flatten() {
        row(name, text)?;
    }
    line("\n  faults injected")?;
    for (kind, count) in &totals.faults {
        line(format_args!("    {kind:<15} {:>12}", Count(*count)))?;
    }
    line("\n  promises checked")?;
    for invariant in Invariant::ALL {
        let checks = totals.checks.get(&invariant).copied().unwrap_or_default();
        line(format_args!("    {:<78} {:>12}", invariant.to_string(), Count(checks)))?;
    }
    if !totals.failures.is_empty() {
        line("\n  first failures")?;
    }
    for failure in &totals.failures {
        line(failure)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_run_is_started_after_the_time_is_up() {
        let asked = Asked::load("chain").unwrap();
        let runs = [(&asked, 1), (&asked, 2)];
        let until = Some(Instant::now());
        assert_eq!(run_all(&runs, 2, Limits { fail_fast: false, until }).runs, 0);
    }
}
