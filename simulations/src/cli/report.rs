//! `report`: a page that shows a run.

use std::fs::File;
use std::io::Write;
use std::path::Path;

use super::args::ReportArgs;
use super::asked::Asked;
use super::error::CliError;
use super::{output, summary};
use crate::outcome::Outcome;
use crate::report::{ReportedRun, Story, page};

pub(super) fn report(args: &ReportArgs) -> Result<(), CliError> {
    let asked = Asked::load(&args.seeded.scenario)?;
    let seed = args.seeded.seed;
    let file = args.output.as_deref().map(create).transpose()?;
    let mut story = Story::default();
    let outcome =
        asked.run(seed, &mut story).map_err(|panicked| asked.panicked(seed, &panicked))?;
    match (file, &args.output) {
        (Some(file), Some(path)) => {
            write(file, path, &asked, seed, &story, &outcome)?;
            output::note(format_args!("wrote {}", path.display()));
        }
        (None, _) | (_, None) => output::line(text(&asked, seed, &story, &outcome))?,
    }
    summary::finish(&outcome)
}

/// Makes the file before the run, so that a wrong path does not cost the time of one.
pub(super) fn create(path: &Path) -> Result<File, CliError> {
    File::create(path).map_err(|error| CliError::unwritable(path, &error))
}

pub(super) fn write(
    mut file: File,
    path: &Path,
    asked: &Asked,
    seed: u64,
    story: &Story,
    outcome: &Outcome,
) -> Result<(), CliError> {
    file.write_all(text(asked, seed, story, outcome).as_bytes())
        .map_err(|error| CliError::unwritable(path, &error))
}

fn text(asked: &Asked, seed: u64, story: &Story, outcome: &Outcome) -> String {
    let command = asked.command("report", seed);
    page(&ReportedRun { scenario: &asked.scenario, seed, command: &command, story, outcome })
}
