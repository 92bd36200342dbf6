//! `sink verify`.

use branchline_connect::api::{SinkJobResponse, SinkVerifyRequest};
use branchline_connect::sink::verify::Verified;

use super::path;
use crate::Context;
use crate::commands::connectors::jobs;
use crate::error::CliError;
use crate::output::{self, counted, visible};

/// Reads objects back, and shows what differs.
pub(super) async fn verify(context: &Context, name: &str, repair: bool) -> Result<(), CliError> {
    let request = SinkVerifyRequest { repair };
    let taken: SinkJobResponse = context.client.post(&path(name, "/verify"), &request).await?;
    let job = jobs::ended(context, taken.job).await?;
    jobs::well(&job).map_err(|failed| match &job.reason {
        Some(reason) => CliError::failed(visible(reason)),
        None => failed,
    })?;
    let verified: Verified = serde_json::from_value(job.result.clone().unwrap_or_default())
        .map_err(|error| CliError::failed(format!("the node's answer cannot be read: {error}")))?;
    if context.json {
        output::json(&verified)?;
    } else {
        show(&verified)?;
    }
    let Verified { differ, gone, unreadable, repaired, .. } = verified;
    let wrong = (differ + gone).saturating_sub(repaired) + unreadable;
    match wrong {
        0 => Ok(()),
        _ if repair => {
            Err(CliError::failed(format!("{} left as they are", counted(wrong, "object"))))
        }
        _ => Err(CliError::failed(format!("{} not as delivered", counted(wrong, "object"))).hint(
            format!("`branchline sink verify {name} --repair` sends those that differ once more"),
        )),
    }
}

fn show(verified: &Verified) -> Result<(), CliError> {
    let Verified { read, differ, gone, unreadable, on_the_way, repaired, differences } = verified;
    for difference in differences {
        let (id, remote_id) = (visible(&difference.id), visible(&difference.remote_id));
        output::line(format_args!("{id} ({remote_id}): {}", visible(&difference.what)))?;
    }
    output::line(format_args!(
        "{} read: {differ} differ, {gone} gone; {unreadable} cannot be read, {on_the_way} on their way; {repaired} sent \
         once more",
        counted(*read, "object")
    ))
}
