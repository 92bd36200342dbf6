//! `watch`: what changes, as this site takes it in.

use std::collections::BTreeMap;

use branchline_node::api::{
    ChangesResponse, FeedContent, FeedItemResponse, MembersResponse, RecordChangeResponse,
    RecordStateResponse,
};
use serde_json::{Map, Value};

use crate::Context;
use crate::args::WatchArgs;
use crate::client::query;
use crate::error::CliError;
use crate::output::{self, cell, visible};

/// How long the node is to wait for something new before it answers with nothing.
const WAIT: &str = "30s";
/// Changes in one answer.
const LIMIT: &str = "1000";

/// Prints changes: with a running node without end, otherwise those that there are.
pub(crate) async fn watch(context: &Context, args: WatchArgs) -> Result<(), CliError> {
    let is_running = context.client.is_running();
    // Where no node runs nothing will come.
    let since = args.since.unwrap_or(if is_running { "now" } else { "start" }.to_owned());
    let mut since = since;
    let mut names = Names::default();
    loop {
        let query = query(&[
            ("since", Some(&since)),
            ("collection", args.collection.as_deref()),
            ("limit", Some(LIMIT)),
            ("wait", is_running.then_some(WAIT)),
        ]);
        let asked = context.client.get(&format!("/v1/changes{query}")).await;
        let answer: ChangesResponse = asked.map_err(|error| go_on_from(error, &since))?;
        for change in &answer.changes {
            if context.json {
                output::json(change)?
            } else {
                show(context, &mut names, change).await?
            }
        }
        since = answer.cursor;
        if !is_running && !answer.more {
            output::note("no node runs on this folder: these are the changes that there are");
            output::note(format_args!("\nhint: later ones follow with --since {since}"));
            return Ok(());
        }
    }
}

/// Anyone who watched and was cut off wants to miss nothing.
fn go_on_from(error: CliError, since: &str) -> CliError {
    match since {
        "now" | "start" => error,
        cursor => error.hint(format!("continue from here with --since {cursor}")),
    }
}

/// The names of sites, asked for when one is needed that is not known.
#[derive(Default)]
struct Names {
    by_site: BTreeMap<String, String>,
}

impl Names {
    async fn of(&mut self, context: &Context, site: &str) -> Result<String, CliError> {
        if !self.by_site.contains_key(site) {
            let answer: MembersResponse = context.client.get("/v1/members").await?;
            let named = answer.members.into_iter().map(|member| (member.site, member.name));
            let revoked = answer.revoked.into_iter().map(|site| (site.site, site.name));
            let former = answer.former.into_iter().map(|key| (key.site, key.name));
            self.by_site.extend(named.chain(revoked).chain(former));
        }
        // One of which nothing is known keeps its id.
        let name = self.by_site.entry(site.to_owned()).or_insert_with(|| site.to_owned());
        Ok(visible(name))
    }
}

async fn show(
    context: &Context,
    names: &mut Names,
    reported: &FeedItemResponse,
) -> Result<(), CliError> {
    match &reported.item {
        FeedContent::Change(change) => {
            let RecordChangeResponse {
                collection, id, site, time, before, after, unreadable, ..
            } = change.as_ref();
            let name = names.of(context, site).await?;
            let time = time.as_deref().unwrap_or_default();
            let what = match (unreadable, after) {
                (Some(reason), _) => format!("cannot be read here: {}", visible(reason)),
                (None, Some(after)) => difference(before.as_ref(), after),
                (None, None) => String::new(),
            };
            output::line(format_args!("{time}  {name}  {collection}/{}  {what}", visible(id)))
        }
        FeedContent::Fork { site, incarnation, seq } => {
            let name = names.of(context, site).await?;
            output::line(format_args!(
                "{name} signed {incarnation}/{seq} twice: both stay, and may be in conflict"
            ))
        }
    }
}

/// What a change did, in words.
fn difference(before: Option<&RecordStateResponse>, after: &RecordStateResponse) -> String {
    let empty = Map::new();
    let was_deleted = before.is_some_and(|before| before.deleted);
    let old = before.map_or(&empty, |before| &before.fields);
    let verb = match (before, was_deleted, after.deleted) {
        (_, false, true) => return "deleted".to_owned(),
        (None, _, _) => "created",
        (Some(_), true, false) => "brought back",
        (Some(_), _, _) => "changed",
    };
    let names = old.keys().chain(after.fields.keys().filter(|name| !old.contains_key(*name)));
    let field = |name: &String| {
        let (old, new) = (old.get(name), after.fields.get(name));
        let value = |value: Option<&Value>| value.map_or("nothing".to_owned(), cell);
        let name = visible(name);
        match (old, new) {
            _ if old == new => None,
            (None, Some(new)) => Some(format!("{name} {}", cell(new))),
            (_, _) => Some(format!("{name} {} -> {}", value(old), value(new))),
        }
    };
    let fields: Vec<_> = names.filter_map(field).collect();
    if fields.is_empty() { verb.to_owned() } else { format!("{verb}: {}", fields.join(", ")) }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::json;

    use super::*;

    fn state(fields: Value, deleted: bool) -> RecordStateResponse {
        RecordStateResponse { fields: fields.as_object().unwrap().clone(), deleted }
    }

    #[test]
    fn a_change_is_told_in_words() {
        let old = state(json!({"a": 1, "b": "x"}), false);
        let gone = state(json!({"a": 1, "b": "x"}), true);
        for (before, after, expected) in [
            (None, old.clone(), "created: a 1, b x"),
            (
                Some(&old),
                state(json!({"a": 2, "c": true}), false),
                "changed: a 1 -> 2, b x -> nothing, c true",
            ),
            (Some(&old), gone.clone(), "deleted"),
            (Some(&gone), old.clone(), "brought back"),
            (Some(&gone), gone.clone(), "changed"),
        ] {
            assert_eq!(difference(before, &after), expected);
        }
    }
}
