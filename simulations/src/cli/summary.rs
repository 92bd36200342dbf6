//! What came of a run, for a person.

use super::asked::Asked;
use super::error::CliError;
use super::output::line;
use super::scenarios::wrapped;
use crate::outcome::{Figures, Outcome, Verdict};
use crate::scenario::Readable;
use crate::text::{Bytes, Count, counted};

/// Violations shown; the trace has them all.
const VIOLATIONS_SHOWN: usize = 10;
const WIDTH: usize = 100;

pub(super) fn print(asked: &Asked, seed: u64, outcome: &Outcome) -> Result<(), CliError> {
    let scenario = &asked.scenario;
    line(format_args!("{}, seed {seed}", scenario.name))?;
    for text in wrapped(&scenario.about, WIDTH) {
        line(format_args!("  {text}"))?;
    }
    line("")?;
    figures(&outcome.figures)?;
    line("")?;
    for verdict in outcome.verdicts() {
        line(format_args!("  {}", verdict_line(&verdict)))?;
    }
    line("")?;
    if outcome.held() {
        let unchecked = outcome.verdicts().filter(|verdict| verdict.checks == 0).count();
        let rest = match unchecked {
            0 => String::new(),
            _ => format!(" ({} not checked in this run)", counted(unchecked as u64, "promise")),
        };
        return line(format_args!("held: every promise that was checked{rest}"));
    }
    line(format_args!("violated: {}", counted(outcome.violations_count, "finding")))?;
    for violation in outcome.violations.iter().take(VIOLATIONS_SHOWN) {
        let at = Readable(violation.at_ms);
        let site = violation.site.as_ref().map(|site| format!(" at {site}")).unwrap_or_default();
        let number = violation.invariant.number();
        line(format_args!("  after {at}{site}, promise {number}: {}", violation.what))?;
    }
    line(format_args!("\nreproduce: {}", asked.command("run", seed)))
}

fn figures(figures: &Figures) -> Result<(), CliError> {
    let row = |name: &str, text: String| line(format_args!("  {name:<15} {text}"));
    let faults: Vec<_> =
        figures.faults.iter().map(|(kind, count)| format!("{kind} {}", Count(*count))).collect();
    row("simulated", Readable(figures.simulated_ms).to_string())?;
    row("faults", if faults.is_empty() { "none".to_owned() } else { faults.join(", ") })?;
    let (acknowledged, refused) = (figures.writes_acknowledged, figures.writes_refused);
    row("writes", format!("{} acknowledged, {} refused", Count(acknowledged), Count(refused)))?;
    let (sent, lost) = messages(figures);
    row("messages", format!("{} sent, {} of them lost", Count(sent), Count(lost)))?;
    row("in step again", figures.in_step_again())?;
    if let Some((name, site)) = figures.sites.iter().max_by_key(|(_, site)| site.backlog_max) {
        row("most behind", format!("{name}, by {}", entries(site.backlog_max)))?;
    }
    let bytes: u64 = figures.sites.values().map(|site| site.bytes_out).sum();
    if let Some((name, site)) = figures.sites.iter().max_by_key(|(_, s)| s.bytes_in + s.bytes_out) {
        let (bytes_in, bytes_out) = (Bytes(site.bytes_in), Bytes(site.bytes_out));
        row(
            "bytes sent",
            format!("{} in all; most at {name}: {bytes_in} in, {bytes_out} out", Bytes(bytes)),
        )?;
    }
    let journals: u64 = figures.sites.values().map(|site| site.journal_bytes).max().unwrap_or(0);
    row(
        "disk",
        format!("{} entries; the largest journal has {}", Count(figures.entries), Bytes(journals)),
    )
}

fn entries(count: u64) -> String {
    match count {
        1 => "1 entry".to_owned(),
        _ => format!("{} entries", Count(count)),
    }
}

fn messages(figures: &Figures) -> (u64, u64) {
    let kinds = figures.messages.values();
    kinds.fold((0, 0), |(sent, lost), kind| (sent + kind.sent, lost + kind.lost))
}

fn verdict_line(verdict: &Verdict<'_>) -> String {
    let word = match (verdict.violation, verdict.checks) {
        (Some(_), _) => "FAIL",
        (None, 0) => "--",
        (None, _) => "ok",
    };
    let checks = match verdict.checks {
        0 => "not checked".to_owned(),
        1 => "checked once".to_owned(),
        checks => format!("checked {} times", Count(checks)),
    };
    format!("{word:<5}{:<78}{checks}", verdict.invariant.to_string())
}

/// A promise that did not hold is a failure of the command.
pub(super) fn finish(outcome: &Outcome) -> Result<(), CliError> {
    if outcome.held() { Ok(()) } else { Err(CliError::reported()) }
}
