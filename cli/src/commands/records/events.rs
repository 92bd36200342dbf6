//! `events`: storing, loading and following what is never changed.

use std::io::{self, Read};
use std::time::Duration;

use branchline_node::api::{
    AlteredEvent, AlteredEventsResponse, BODY_BYTES_MAX, Code, EventContentResponse, EventRequest,
    EventResponse, EventsResponse, EventsVersionResponse, PAGE_RECORDS_MAX, StoreEventsResponse,
    StoreRequest,
};
use serde_json::{Map, Value, json};
use tokio::time::{Instant, sleep};

use super::schema;
use crate::Context;
use crate::args::EventsCommand;
use crate::client::{collection_path, query};
use crate::error::CliError;
use crate::output::{self, cell, counted};

/// How long the node is to wait for something new before it answers with nothing.
const WAIT: &str = "30s";
/// How long, and how often, an index that is being built is waited for: that of a new collection takes moments.
const INDEX_PATIENCE: Duration = Duration::from_secs(30);
const INDEX_PAUSE: Duration = Duration::from_millis(100);

pub(crate) async fn run(context: &Context, command: EventsCommand) -> Result<(), CliError> {
    match command {
        EventsCommand::Declare { collection } => declare(context, &collection).await,
        EventsCommand::Store { collection, events } => store(context, &collection, events).await,
        EventsCommand::Load { collection, since, aggregate, limit } => {
            load(context, &collection, since, aggregate.as_deref(), limit).await
        }
        EventsCommand::Latest { collection } => latest(context, &collection).await,
        EventsCommand::Watch { collection, since } => watch(context, &collection, since).await,
        EventsCommand::Altered { collection } => altered(context, &collection).await,
    }
}

async fn declare(context: &Context, collection: &str) -> Result<(), CliError> {
    let fields = Map::from_iter([("events".to_owned(), Value::Bool(true))]);
    schema::write(&context.client, collection, &fields).await?;
    output::note(format_args!("{collection} takes events from now on, and nothing else"));
    Ok(())
}

async fn store(context: &Context, collection: &str, texts: Vec<String>) -> Result<(), CliError> {
    let events = if texts.is_empty() { of_lines(&stdin()?)? } else { of_arguments(&texts)? };
    if events.is_empty() {
        output::note("there are no events on stdin, so nothing was stored");
        return Ok(());
    }
    let path = collection_path("events", collection, "")?;
    let answer: StoreEventsResponse = context.client.post(&path, &StoreRequest { events }).await?;
    if context.json {
        return output::json(&answer);
    }
    let StoreEventsResponse { stored, known, .. } = answer;
    let known = if known > 0 { format!(", {known} known already") } else { String::new() };
    output::line(format_args!("{} stored{known}", counted(stored, "event")))
}

fn stdin() -> Result<String, CliError> {
    let mut text = String::new();
    // One byte more than is allowed tells what is too large from what just fits.
    let read = io::stdin().take(BODY_BYTES_MAX as u64 + 1).read_to_string(&mut text);
    read.map_err(|error| CliError::failed(format!("cannot read stdin: {error}")))?;
    if text.len() > BODY_BYTES_MAX {
        Err(CliError::failed(format!("stdin has more than {BODY_BYTES_MAX} bytes"))
            .hint("store the events in parts: each part is stored as a whole or not at all"))
    } else {
        Ok(text)
    }
}

fn of_arguments(texts: &[String]) -> Result<Vec<EventRequest>, CliError> {
    let numbered = texts.iter().zip(1..);
    numbered.map(|(text, number)| event(text, &format!("event {number}"))).collect()
}

fn of_lines(text: &str) -> Result<Vec<EventRequest>, CliError> {
    let lines = text.lines().zip(1..).filter(|(line, _)| !line.trim().is_empty());
    lines.map(|(line, number)| event(line, &format!("line {number}"))).collect()
}

fn event(text: &str, whose: &str) -> Result<EventRequest, CliError> {
    serde_json::from_str(text).map_err(|error| {
        CliError::failed(format!("{whose} is not an event: {error}")).hint(
            r#"expected for example '{"id": "7-1", "type": "paid", "aggregate_id": "order 7", "data": {"amount": "12.50"}}'"#,
        )
    })
}

async fn load(
    context: &Context,
    collection: &str,
    mut since: Option<String>,
    aggregate: Option<&str>,
    limit: usize,
) -> Result<(), CliError> {
    let mut left = limit;
    let mut rows = Vec::new();
    loop {
        let most = left.clamp(1, PAGE_RECORDS_MAX).to_string();
        let asked = [
            ("since", since.as_deref()),
            ("aggregate_id", aggregate),
            ("limit", Some(most.as_str())),
        ];
        let path = collection_path("events", collection, &query(&asked))?;
        let EventsResponse { events, version, more } = once_indexed(context, &path).await?;
        left = left.saturating_sub(events.len());
        for event in events {
            if context.json { output::json(&event)? } else { rows.push(row(&event)) }
        }
        let is_over = !more || left == 0;
        since = Some(version);
        if is_over {
            break;
        }
    }
    if !context.json {
        output::table(["ID", "TYPE", "AGGREGATE", "DATA", "TIME"], rows)?;
    }
    let since = since.unwrap_or_default();
    output::note(format_args!("\nhint: later ones follow with --since {since}"));
    Ok(())
}

/// Asks for events, and waits for the index that leads to them if it is being built.
async fn once_indexed(context: &Context, path: &str) -> Result<EventsResponse, CliError> {
    let deadline = Instant::now() + INDEX_PATIENCE;
    loop {
        match context.client.get(path).await {
            Err(error) if error.is(Code::IndexBuilding) && Instant::now() < deadline => {
                sleep(INDEX_PAUSE).await;
            }
            answer => return answer,
        }
    }
}

fn row(event: &EventResponse) -> [String; 5] {
    let text = |text: &str| cell(&Value::from(text));
    let conflict = match event.others.len() {
        0 => String::new(),
        count => format!(" (in conflict with {count} of the same id)"),
    };
    [
        format!("{}{conflict}", text(&event.id)),
        text(&event.r#type),
        text(&event.aggregate_id),
        cell(&event.data),
        event.time.clone().unwrap_or_default(),
    ]
}

async fn latest(context: &Context, collection: &str) -> Result<(), CliError> {
    let path = collection_path("events", collection, "/latest")?;
    let answer: EventsVersionResponse = context.client.get(&path).await?;
    if context.json { output::json(&answer) } else { output::line(answer.version) }
}

/// Prints events: with a running node without end, otherwise those that there are.
async fn watch(context: &Context, collection: &str, since: Option<String>) -> Result<(), CliError> {
    let is_running = context.client.is_running();
    // Where no node runs nothing will come.
    let mut since = since.unwrap_or(if is_running { "now" } else { "start" }.to_owned());
    loop {
        let asked = [
            ("since", Some(since.as_str())),
            ("limit", Some("1000")),
            ("wait", is_running.then_some(WAIT)),
        ];
        let path = collection_path("events", collection, &query(&asked))?;
        let asked = context.client.get(&path).await;
        let EventsResponse { events, version, more } =
            asked.map_err(|error: CliError| match since.as_str() {
                "now" | "start" => error,
                version => error.hint(format!("continue from here with --since {version}")),
            })?;
        for event in &events {
            if context.json { output::json(event)? } else { show(event)? }
        }
        since = version;
        if !is_running && !more {
            output::note("no node runs on this folder: these are the events that there are");
            output::note(format_args!("\nhint: later ones follow with --since {since}"));
            return Ok(());
        }
    }
}

fn show(event: &EventResponse) -> Result<(), CliError> {
    let EventResponse { id, r#type, aggregate_id, data, time, others, .. } = event;
    let (id, aggregate_id) = (output::visible(id), output::visible(aggregate_id));
    let time = time.as_deref().unwrap_or_default();
    output::line(format_args!(
        "{time}  {aggregate_id}  {}  {id}  {data}",
        output::visible(r#type)
    ))?;
    for EventContentResponse { r#type, aggregate_id, data, .. } in others {
        let (kind, of) = (output::visible(r#type), output::visible(aggregate_id));
        output::line(format_args!("  in conflict with {of}  {kind}  {id}  {data}"))?;
    }
    Ok(())
}

async fn altered(context: &Context, collection: &str) -> Result<(), CliError> {
    let mut after: Option<String> = None;
    let mut rows = Vec::new();
    loop {
        let asked = query(&[("limit", Some("1000")), ("after", after.as_deref())]);
        let path = collection_path("events", collection, &format!("/altered{asked}"))?;
        let AlteredEventsResponse { events, next } = context.client.get(&path).await?;
        for event in events {
            let AlteredEvent { id, changes, site, site_name, time } = event;
            if context.json {
                output::json(&json!({
                    "id": id, "changes": changes, "site": site, "site_name": site_name, "time": time,
                }))?;
                continue;
            }
            let text = |text: &str| cell(&Value::from(text));
            let by = site_name.as_deref().map_or("unknown".to_owned(), text);
            rows.push([text(&id), changes.to_string(), by, time.unwrap_or_default()]);
        }
        after = next;
        if after.is_none() {
            break;
        }
    }
    match (context.json, rows.is_empty()) {
        (true, _) => Ok(()),
        (false, true) => output::line(format_args!("no event of {collection} was changed")),
        (false, false) => output::table(["ID", "CHANGES", "FIRST BY", "TIME"], rows),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn events_are_read_from_lines_and_what_is_none_is_named_by_its_line() {
        let one = r#"{"id": "1", "type": "t", "aggregate_id": "a", "data": 12.50}"#;
        let events = of_lines(&format!("{one}\n\n{one}\n")).unwrap();
        assert_eq!((events.len(), events[1].data.to_string().as_str()), (2, "12.50"));
        let error = of_lines(&format!("{one}\n{{\"id\": \"2\"}}\n")).unwrap_err();
        assert!(error.message().contains("line 2"), "{}", error.message());
    }
}
