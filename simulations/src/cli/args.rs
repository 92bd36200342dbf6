//! What can be asked.

use std::ops::RangeInclusive;
use std::path::PathBuf;

use clap::{Parser, Subcommand};

use crate::trace::RecordName;

/// Shows what an outage would do to your offices before it happens.
///
/// Runs the same replica as the product, with virtual time, links and disks. The same scenario and seed give the same
/// run. Exit codes: 0 every promise held, 1 one did not or the command failed, 2 wrong usage.
#[derive(Parser)]
#[command(name = "branchline-sim", version, propagate_version = true)]
pub(super) struct Args {
    #[command(subcommand)]
    pub(super) command: Command,
}

#[derive(Subcommand)]
pub(super) enum Command {
    /// List the scenarios that come with the program
    List,
    /// Print a scenario's file
    Show {
        /// A scenario's name
        scenario: String,
    },
    /// Print a new scenario file to start from, with comments
    New {
        /// The scenario's name
        name: String,
    },
    /// Run a scenario once and report what happened
    Run(RunArgs),
    /// Run scenarios with many seeds, in parallel
    Sweep(SweepArgs),
    /// Check that a run depends on nothing but its seed, by running it twice and comparing every step
    Meta(SeededArgs),
    /// Show what happened to one record, step by step
    Explain(ExplainArgs),
    /// Write a self-contained HTML page that shows a run in pictures
    Report(ReportArgs),
    /// Measure what a network costs each of its sites as it grows
    Scale(ScaleArgs),
}

#[derive(clap::Args)]
pub(super) struct SeededArgs {
    /// A scenario's name (see `list`), or the path of a scenario file
    pub(super) scenario: String,
    /// The seed for everything random
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(super) seed: u64,
}

#[derive(clap::Args)]
pub(super) struct RunArgs {
    #[command(flatten)]
    pub(super) seeded: SeededArgs,
    /// Write every step to this file, as JSON lines
    #[arg(long, value_name = "FILE")]
    pub(super) trace: Option<PathBuf>,
    /// Largest trace file, in MiB
    #[arg(long, value_name = "MIB", default_value_t = 1024, requires = "trace")]
    pub(super) trace_mib_max: u64,
    /// Write a page that shows the run in pictures to this file
    #[arg(long, value_name = "FILE")]
    pub(super) report: Option<PathBuf>,
    /// Print the outcome as JSON
    #[arg(long)]
    pub(super) json: bool,
}

#[derive(clap::Args)]
pub(super) struct SweepArgs {
    /// A scenario's name (see `list`), the path of a scenario file, or `all` for every scenario in the program
    pub(super) scenario: String,
    /// Which seeds, including both ends
    #[arg(long, value_name = "A..B", default_value = "1..20", value_parser = parse_seeds)]
    pub(super) seeds: RangeInclusive<u64>,
    /// How many runs at a time [default: one per core]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=512))]
    pub(super) jobs: Option<u16>,
    /// Stop at the first failure
    #[arg(long)]
    pub(super) fail_fast: bool,
    /// Start no more runs after this many minutes
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(super) minutes: Option<u32>,
    /// Print the totals as JSON
    #[arg(long)]
    pub(super) json: bool,
}

#[derive(clap::Args)]
pub(super) struct ExplainArgs {
    #[command(flatten)]
    pub(super) seeded: SeededArgs,
    /// Which record
    #[arg(long, value_name = "COLLECTION/ID", value_parser = parse_record)]
    pub(super) record: RecordName,
    /// Show only what concerns this office
    #[arg(long, value_name = "NAME")]
    pub(super) site: Option<String>,
}

#[derive(clap::Args)]
pub(super) struct ReportArgs {
    #[command(flatten)]
    pub(super) seeded: SeededArgs,
    /// Where to write the page [default: stdout]
    #[arg(short, long, value_name = "FILE")]
    pub(super) output: Option<PathBuf>,
}

#[derive(clap::Args)]
pub(super) struct ScaleArgs {
    /// How many sites the networks have
    #[arg(long, value_name = "N", value_delimiter = ',', default_value = "10,30,100,300",
        value_parser = clap::value_parser!(u32).range(2..=20_000))]
    pub(super) sites: Vec<u32>,
    /// How many of the sites write one record each [default: all of them]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(super) writers: Option<u32>,
    /// The seed for everything random
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(super) seed: u64,
    /// Draw the figures to this SVG file
    #[arg(long, value_name = "FILE")]
    pub(super) plot: Option<PathBuf>,
    /// Print each network's figures as a line of JSON
    #[arg(long)]
    pub(super) json: bool,
}

fn parse_seeds(text: &str) -> Result<RangeInclusive<u64>, String> {
    let expected = || format!("expected one seed or a range such as 1..100, found {text:?}");
    let number = |text: &str| text.parse::<u64>().map_err(|_| expected());
    let Some((first, last)) = text.split_once("..") else {
        let seed = number(text)?;
        return Ok(seed..=seed);
    };
    let (first, last) = (number(first)?, number(last.trim_start_matches('='))?);
    if first > last {
        return Err(format!("the range is empty; did you mean {last}..{first}?"));
    }
    Ok(first..=last)
}

fn parse_record(text: &str) -> Result<RecordName, String> {
    match text.split_once('/') {
        Some((collection, id)) if !collection.is_empty() && !id.is_empty() => {
            Ok(RecordName { collection: collection.to_owned(), id: id.to_owned() })
        }
        Some(_) | None => Err("expected COLLECTION/ID, such as products/item-7".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_arguments_are_sound() {
        Args::command().debug_assert();
    }

    #[test]
    fn seeds_are_one_or_a_range_with_both_ends() {
        assert_eq!(parse_seeds("7"), Ok(7..=7));
        assert_eq!(parse_seeds("1..100"), Ok(1..=100));
        assert_eq!(parse_seeds("1..=100"), Ok(1..=100));
        assert_eq!(parse_seeds("9..3").unwrap_err(), "the range is empty; did you mean 3..9?");
        for text in ["", "a", "1..", "..3", "-1..3"] {
            assert!(parse_seeds(text).is_err(), "{text}");
        }
    }
}
