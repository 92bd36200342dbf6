//! `conflicts`: what was written at the same time elsewhere.

use branchline_node::api::{ConflictResponse, ConflictValueResponse, ConflictsResponse};

use crate::Context;
use crate::client::query;
use crate::error::CliError;
use crate::output::{self, visible};

/// Shows conflicted fields with all their values.
pub(crate) async fn conflicts(
    context: &Context,
    collection: Option<String>,
    id: Option<String>,
    deleted: bool,
) -> Result<(), CliError> {
    let mut after: Option<String> = None;
    let mut found = false;
    loop {
        let query = query(&[
            ("collection", collection.as_deref()),
            ("id", id.as_deref()),
            ("deleted", deleted.then_some("true")),
            ("after", after.as_deref()),
        ]);
        let answer: ConflictsResponse =
            context.client.get(&format!("/v1/conflicts{query}")).await?;
        for conflict in &answer.conflicts {
            if context.json {
                output::json(conflict)?
            } else {
                show(conflict, found)?
            }
            found = true;
        }
        match answer.next {
            Some(next) => after = Some(next),
            None => break,
        }
    }
    if !found {
        output::note(if deleted { "no deletion hides an edit" } else { "no conflicts" });
    } else if deleted && !context.json {
        output::note(
            "\n`branchline undelete` restores a record with the edit in it; `delete` after that keeps it deleted",
        );
    } else if !context.json {
        output::note("\n`branchline settle` takes one of the values");
    }
    Ok(())
}

fn show(conflict: &ConflictResponse, is_later: bool) -> Result<(), CliError> {
    if is_later {
        output::line("")?;
    }
    let ConflictResponse { collection, id, field, values, .. } = conflict;
    output::line(format_args!("{collection}/{}  {}", visible(id), visible(field)))?;
    let rows = values.iter().map(|value| {
        let ConflictValueResponse { value, shown, site_name, time, .. } = value;
        let mark = if *shown { "  shown" } else { "  also" };
        let site = site_name.as_deref().map_or("at the beginning".to_owned(), visible);
        [mark.to_owned(), visible(&value.to_string()), site, time.clone().unwrap_or_default()]
    });
    output::rows(rows.collect())
}
