//! `run`: one run, and what came of it.

use serde::Serialize;

use super::args::RunArgs;
use super::asked::Asked;
use super::error::CliError;
use super::{output, report, summary};
use crate::outcome::Outcome;
use crate::report::Story;
use crate::trace::{FileTrace, TraceSink};

#[derive(Serialize)]
struct RunOutput<'a> {
    scenario: &'a str,
    seed: u64,
    held: bool,
    #[serde(flatten)]
    outcome: &'a Outcome,
}

pub(super) fn run(args: &RunArgs) -> Result<(), CliError> {
    let asked = Asked::load(&args.seeded.scenario)?;
    let seed = args.seeded.seed;
    let bytes_max = args.trace_mib_max.saturating_mul(1024 * 1024);
    let trace = args.trace.as_ref().map(|path| FileTrace::create(path, bytes_max)).transpose()?;
    // Before the run, so that a wrong path does not cost the time of one.
    let page = args.report.as_deref().map(report::create).transpose()?;
    let mut sinks = (trace, args.report.as_ref().map(|_| Story::default()));
    let outcome =
        asked.run(seed, &mut sinks).map_err(|panicked| asked.panicked(seed, &panicked))?;
    let (trace, story) = sinks;
    if let (Some(page), Some(story), Some(path)) = (page, story, &args.report) {
        report::write(page, path, &asked, seed, &story, &outcome)?;
    }
    if args.json {
        let (scenario, held) = (asked.scenario.name.as_str(), outcome.held());
        output::json(&RunOutput { scenario, seed, held, outcome: &outcome })?;
    } else {
        summary::print(&asked, seed, &outcome)?;
    }
    // Last, so that a trace cut off at its bound does not hide the outcome.
    trace.map_or(Ok(()), FileTrace::finish)?;
    summary::finish(&outcome)
}

/// A sink that may not be there.
impl<T: TraceSink> TraceSink for Option<T> {
    fn step(&mut self, step: &crate::trace::Step) {
        if let Some(sink) = self {
            sink.step(step);
        }
    }

    fn is_on(&self) -> bool {
        self.as_ref().is_some_and(TraceSink::is_on)
    }
}
