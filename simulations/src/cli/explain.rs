//! `explain`: what happened to one record.

use super::args::ExplainArgs;
use super::asked::Asked;
use super::error::CliError;
use super::{output, summary};
use crate::explain::Explanation;

pub(super) fn explain(args: ExplainArgs) -> Result<(), CliError> {
    let asked = Asked::load(&args.seeded.scenario)?;
    let seed = args.seeded.seed;
    if let Some(site) = &args.site
        && !asked.scenario.offices.contains(site)
    {
        return Err(CliError::usage(format!(
            "there is no office {site:?} in {}",
            asked.scenario.name
        ))
        .hint(format!("its offices are {}", asked.scenario.offices.join(", "))));
    }
    let mut explanation = Explanation::of(args.record, asked.scenario.offices.clone(), args.site);
    let outcome =
        asked.run(seed, &mut explanation).map_err(|panicked| asked.panicked(seed, &panicked))?;
    if !explanation.is_known() {
        let near = explanation.near();
        let hint = if near.is_empty() {
            "nothing was written in that collection".to_owned()
        } else {
            format!("records that were written: {}", near.join(", "))
        };
        return Err(CliError::usage(format!(
            "{} never existed in {} with seed {seed}",
            explanation.record(),
            asked.scenario.name
        ))
        .hint(hint));
    }
    for line in explanation.lines() {
        output::line(line)?;
    }
    summary::finish(&outcome)
}
