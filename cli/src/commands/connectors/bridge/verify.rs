//! `bridge verify`.

use branchline_connect::api::{VerifiedResponse, VerifiedTable, VerifyRequest};

use super::path;
use crate::Context;
use crate::error::CliError;
use crate::output::{self, counted, visible};

/// Compares a bridge's tables with the records.
pub(crate) async fn verify(
    context: &Context,
    name: &str,
    table: Option<String>,
    repair: bool,
) -> Result<(), CliError> {
    let request = VerifyRequest { table, repair };
    let answer: VerifiedResponse =
        context.client.post_patiently(&path(name, "/verify"), &request).await?;
    if context.json {
        output::json(&answer)?
    } else {
        answer.tables.iter().try_for_each(show)?
    }
    let differing: u64 = answer.tables.iter().map(|table| table.differing).sum();
    match (differing, repair) {
        (0, _) => Ok(()),
        (_, true) => {
            output::note("what differs is being carried over; ask again to see whether all is in step");
            Err(CliError::reported())
        }
        (number, false) => Err(CliError::failed(format!("{} found", counted(number, "difference")))
            .hint(format!(
                "what is on its way is counted too, so ask again; `branchline bridge verify {name} --repair` carries it over"
            ))),
    }
}

fn show(table: &VerifiedTable) -> Result<(), CliError> {
    let VerifiedTable { table: name, rows, differing, differences, repairing } = table;
    let rows = counted(*rows, "row");
    if *differing == 0 {
        return output::line(format_args!("{name}: {rows}, all in step"));
    }
    let repair = if *repairing { ", being carried over" } else { "" };
    output::line(format_args!("{name}: {rows}, {differing} differ{repair}"))?;
    for found in differences {
        output::line(format_args!("  {}: {}", visible(&found.name), found.what))?;
    }
    match differing.saturating_sub(differences.len() as u64) {
        0 => Ok(()),
        more => output::line(format_args!("  and {more} more")),
    }
}
