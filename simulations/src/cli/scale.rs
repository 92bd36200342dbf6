//! `scale`: what a network costs each site.

use std::fs;

use comfy_table::presets::NOTHING;
use comfy_table::{CellAlignment, Table};

use super::args::ScaleArgs;
use super::error::CliError;
use super::output;
use crate::scale::{Question, ScaleAnswer, measure, svg};

pub(super) fn scale(args: &ScaleArgs) -> Result<(), CliError> {
    let mut answers = Vec::new();
    for sites in args.sites.iter().map(|sites| *sites as usize) {
        output::note(format_args!("{sites} sites ..."));
        let writers = args.writers.map_or(sites, |writers| writers as usize);
        let answer = measure(Question { sites, writers, seed: args.seed });
        if args.json {
            output::json(&answer)?;
        }
        answers.push(answer);
    }
    if !args.json {
        output::line(table(&answers))?;
    }
    if let Some(path) = &args.plot {
        let picture = svg(&answers).map_err(CliError::failed)?;
        fs::write(path, picture).map_err(|error| CliError::unwritable(path, &error))?;
        output::note(format_args!("wrote {}", path.display()));
    }
    match answers.iter().find(|answer| answer.converged_ms.is_none()) {
        Some(answer) => Err(CliError::failed(format!(
            "{} sites were not in step ten minutes after the last write",
            answer.sites
        ))),
        None => Ok(()),
    }
}

/// Figures by site, averages where not said otherwise.
fn table(answers: &[ScaleAnswer]) -> Table {
    let mut table = Table::new();
    table.load_style(NOTHING).set_header([
        "sites",
        "writers",
        "in step after ms",
        "messages",
        "KB entries",
        "KB receipts",
        "KB sync",
        "KB at most",
        "idle KB/min",
        "frontier B",
        "pull B",
        "memory KB",
        "seconds",
    ]);
    let kb = |bytes: f64| format!("{:.1}", bytes / 1000.0);
    for answer in answers {
        let of = |kind| kb(answer.bytes.get(kind).copied().unwrap_or(0.0));
        table.add_row([
            answer.sites.to_string(),
            answer.writers.to_string(),
            answer.converged_ms.map_or_else(|| "never".to_owned(), |ms| ms.to_string()),
            format!("{:.0}", answer.messages),
            of("entries"),
            of("receipts"),
            of("sync"),
            kb(answer.bytes_max as f64),
            kb(answer.idle_bytes_per_minute),
            answer.frontier_bytes.to_string(),
            answer.pull_bytes.to_string(),
            kb(answer.memory_bytes as f64),
            format!("{:.1}", answer.seconds),
        ]);
    }
    for column in table.column_iter_mut() {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}
