//! `list --deleted`: the deleted records of a collection.

use branchline_node::api::{DeletedResponse, PAGE_RECORDS_MAX};
use serde_json::json;

use crate::Context;
use crate::args::{LISTED, ListArgs, option};
use crate::client::{collection_path, query};
use crate::error::CliError;
use crate::output::{self, visible};

/// Shows their ids, page by page until there are as many as were asked for.
pub(super) async fn list(context: &Context, args: ListArgs) -> Result<(), CliError> {
    let ListArgs { collection, limit, mut after, .. } = args;
    let mut left = limit.get();
    let mut is_any = false;
    while left > 0 {
        let most = left.min(PAGE_RECORDS_MAX).to_string();
        let asked = [("limit", Some(most.as_str())), ("after", after.as_deref())];
        let asked = format!("/deleted{}", query(&asked));
        let path = collection_path("collections", &collection, &asked)?;
        let answer: DeletedResponse = context.client.get(&path).await?;
        left = left.saturating_sub(answer.ids.len());
        is_any |= !answer.ids.is_empty();
        for id in &answer.ids {
            if context.json {
                output::json(&json!({ "id": id }))?
            } else {
                output::line(visible(id))?
            }
        }
        after = answer.next;
        if after.is_none() {
            break;
        }
    }
    if !context.json {
        if !is_any {
            output::note(format_args!("no deleted records in {collection}"));
        }
        if let Some(after) = after {
            let limit = (limit != LISTED).then(|| option("limit", &limit.to_string()));
            let said: String =
                [Some(option("after", &after)), limit].into_iter().flatten().collect();
            let context = &context.said;
            output::note(format_args!(
                "\nmore: `branchline{context} list {collection} --deleted{said}`"
            ));
        }
    }
    Ok(())
}
