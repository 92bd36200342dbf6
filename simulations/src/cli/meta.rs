//! `meta`: does a run depend on nothing but its seed? Every other verdict rests on this.

use std::thread;

use super::args::SeededArgs;
use super::asked::{Asked, Panicked};
use super::error::CliError;
use super::output::line;
use crate::text::Count;
use crate::trace::{DigestTrace, Excerpt, TraceSink};

/// Lines shown from the first difference on.
const LINES_SHOWN: usize = 3;

pub(super) fn meta(args: &SeededArgs) -> Result<(), CliError> {
    let asked = Asked::load(&args.scenario)?;
    let (one, other) = twice(&asked, args.seed, DigestTrace::default)?;
    if one.digests == other.digests {
        let (name, seed) = (&asked.scenario.name, args.seed);
        line(format_args!(
            "{name}, seed {seed}: two runs, {} equal steps",
            Count(one.digests.len() as u64)
        ))?;
        return line(format_args!("digest {}", one.hash()));
    }
    let equal = one.digests.iter().zip(&other.digests).take_while(|(one, other)| one == other);
    let first = equal.count();
    // Run once more for the lines themselves, so that a trace need not fit in memory. Runs that differ may differ again;
    // the step at which these two did is what is reported.
    let (one, other) = twice(&asked, args.seed, || Excerpt::new(first, LINES_SHOWN))?;
    line(format_args!(
        "two runs with seed {} differ from step {} on",
        args.seed,
        Count(first as u64 + 1)
    ))?;
    for (name, excerpt) in [("one", one), ("other", other)] {
        for text in &excerpt.lines {
            line(format_args!("  {name:<6} {text}"))?;
        }
    }
    line(format_args!("\nreproduce: {}", asked.command("meta", args.seed)))?;
    Err(CliError::reported())
}

/// The traces of two runs in two threads at the same time.
fn twice<T: TraceSink + Send>(
    asked: &Asked,
    seed: u64,
    sink: impl Fn() -> T + Sync,
) -> Result<(T, T), CliError> {
    let run = || -> Result<T, Panicked> {
        let mut trace = sink();
        asked.run(seed, &mut trace)?;
        Ok(trace)
    };
    let (one, other) = thread::scope(|scope| {
        let threads = [scope.spawn(run), scope.spawn(run)];
        let [one, other] = threads.map(|thread| thread.join());
        (one, other)
    });
    let result = |joined: thread::Result<Result<T, Panicked>>| match joined {
        Ok(result) => result.map_err(|panicked| asked.panicked(seed, &panicked)),
        Err(_) => Err(CliError::failed("a thread of the simulator panicked")),
    };
    Ok((result(one)?, result(other)?))
}
