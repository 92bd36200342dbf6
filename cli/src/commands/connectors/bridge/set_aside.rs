//! `bridge errors` and `bridge requeue`.

use branchline_connect::api::{RequeueRequest, RequeuedResponse, SetAsideItem, SetAsideResponse};

use super::path;
use crate::Context;
use crate::commands::connectors::say;
use crate::error::CliError;
use crate::output::{self, counted, visible};

/// Shows what is set aside.
pub(crate) async fn errors(context: &Context, name: &str) -> Result<(), CliError> {
    let answer: SetAsideResponse = context.client.get(&path(name, "/errors")).await?;
    if context.json {
        return output::json(&answer);
    }
    if answer.errors.is_empty() {
        output::note("nothing is set aside");
        return Ok(());
    }
    for item in &answer.errors {
        show(item)?;
    }
    output::note(format_args!(
        "\nthey are tried again by themselves; `branchline bridge requeue {name} ID` (or --all) does it at once"
    ));
    Ok(())
}

fn show(item: &SetAsideItem) -> Result<(), CliError> {
    let SetAsideItem { number, direction, name, message, tries, .. } = item;
    let table = item.table.as_deref().unwrap_or("a table that is bridged no more");
    let (what, way) = match direction.as_str() {
        "capture" => ("row", "from"),
        _ => ("record", "to"),
    };
    let since = item.since.as_deref().map_or(String::new(), |since| format!(", since {since}"));
    let tries = if *tries == 1 { "tried once".to_owned() } else { format!("tried {tries} times") };
    output::line(format_args!("{number}  {what} {} {way} {table}, {tries}{since}", visible(name)))?;
    let code = if item.code.is_empty() { String::new() } else { format!(" ({})", item.code) };
    // The database's message may end in the code already.
    let code = if message.ends_with(code.trim_start()) { "" } else { &code };
    output::line(format_args!("   {}{code}", visible(message)))?;
    let details =
        [("constraint", &item.constraint), ("column", &item.column), ("value", &item.value)];
    let details = details.into_iter().filter_map(|(what, text)| Some((what, text.as_ref()?)));
    let details: Vec<_> = details.map(|(what, text)| format!("{what} {}", visible(text))).collect();
    if details.is_empty() {
        Ok(())
    } else {
        output::line(format_args!("   {}", details.join(", ")))
    }
}

/// Tries again what is set aside: these numbers, or all.
pub(crate) async fn requeue(
    context: &Context,
    name: &str,
    numbers: Option<Vec<i64>>,
) -> Result<(), CliError> {
    let asked = numbers.as_ref().map(Vec::len);
    let answer: RequeuedResponse =
        context.client.post(&path(name, "/requeue"), &RequeueRequest { numbers }).await?;
    let again = counted(answer.requeued, "error");
    say(context, &answer, format!("{again} tried again at once"))?;
    match asked {
        Some(asked) if asked as u64 > answer.requeued => {
            Err(CliError::failed("some of these numbers are not set aside (any more)")
                .hint(format!("`branchline bridge errors {name}` shows what is")))
        }
        Some(_) | None => Ok(()),
    }
}
