//! `settle`: one of a field's values is written again.

use axum::http::Method;
use branchline_node::api::{SettleRequest, SettleResponse, SettledResponse, UnsettledResponse};
use serde_json::Value;

use crate::Context;
use crate::args::SettleArgs;
use crate::error::CliError;
use crate::output::{self, visible};

/// Records and fields that are named one by one in messages.
const NAMED_MAX: usize = 20;

pub(crate) async fn run(context: &Context, args: SettleArgs) -> Result<(), CliError> {
    let SettleArgs { collection, id, field, filter, take, if_version } = args;
    let value = take.value.as_deref().map(json).transpose()?;
    let mut request = SettleRequest {
        collection,
        field,
        filter,
        take_site: take.take_site,
        take_shown: take.take_shown,
        value,
        if_match: if_version,
        id,
        ..SettleRequest::default()
    };
    let (mut records, mut fields) = (0, 0);
    let (mut changed, mut left): (Vec<String>, Vec<UnsettledResponse>) = (Vec::new(), Vec::new());
    loop {
        let body = serde_json::to_vec(&request)
            .map_err(|error| CliError::failed(format!("the request cannot be written: {error}")))?;
        let body = ("application/json", body);
        let asked = context.client.ask(Method::POST, "/v1/conflicts/settle", Some(body));
        let answer: SettleResponse = asked.await?;
        fields += answer.settled.len();
        records += records_of(&answer.settled);
        if context.json {
            output::json(&answer)?;
        } else {
            answer.settled.iter().try_for_each(show)?;
        }
        changed.extend(answer.changed);
        left.extend(answer.left);
        match answer.next {
            Some(next) => request.after = Some(next),
            None => break,
        }
    }
    if !context.json {
        report(&request, (records, fields), &changed, &left);
    }
    let is_done = fields > 0 && changed.is_empty() && left.is_empty();
    if request.id.is_some() && !is_done {
        let SettleRequest { collection, id, field, .. } = &request;
        let id = id.as_deref().unwrap_or_default();
        let what = match (left.first(), field) {
            (Some(UnsettledResponse { field, reason, .. }), _) => {
                format!("{collection}/{id}: {field} is left: {reason}")
            }
            (None, Some(field)) => format!("{collection}/{id} has no conflict of {field}"),
            (None, None) => format!("{collection}/{id} has no conflict"),
        };
        return Err(CliError::failed(what).hint(format!(
            "`branchline conflicts {collection} {id}` shows the fields and values"
        )));
    }
    Ok(())
}

fn json(text: &str) -> Result<Value, CliError> {
    serde_json::from_str(text).map_err(|error| {
        CliError::failed(format!("--value is not JSON: {error}"))
            .hint("put a text in double quotes within single ones: --value '\"2.60\"'")
    })
}

fn records_of(settled: &[SettledResponse]) -> usize {
    let mut ids: Vec<&str> = settled.iter().map(|it| it.id.as_str()).collect();
    ids.dedup();
    ids.len()
}

fn show(settled: &SettledResponse) -> Result<(), CliError> {
    let SettledResponse { collection, id, field, value } = settled;
    let (id, field) = (visible(id), visible(field));
    output::line(format_args!("{collection}/{id}  {field}  {}", visible(&value.to_string())))
}

fn report(
    request: &SettleRequest,
    (records, fields): (usize, usize),
    changed: &[String],
    left: &[UnsettledResponse],
) {
    if request.id.is_none() {
        output::note(format_args!("settled {fields} fields of {records} records"));
    }
    if !changed.is_empty() {
        let named: Vec<_> = changed.iter().take(NAMED_MAX).map(|name| visible(name)).collect();
        let more = changed.len().saturating_sub(NAMED_MAX);
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        output::note(format_args!(
            "{} records were written by somebody else meanwhile and are left: {}{more}",
            changed.len(),
            named.join(", ")
        ));
    }
    if request.id.is_none() && !left.is_empty() {
        output::note(format_args!("{} fields are left:", left.len()));
        for UnsettledResponse { collection, id, field, reason } in left.iter().take(NAMED_MAX) {
            output::note(format_args!(
                "  {collection}/{}  {}: {}",
                visible(id),
                visible(field),
                visible(reason)
            ));
        }
    }
}
