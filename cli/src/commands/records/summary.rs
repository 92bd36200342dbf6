//! What the records of a collection come to.

use branchline_node::api::{GroupResponse, SummaryResponse};

use crate::Context;
use crate::args::SummaryArgs;
use crate::client::{collection_path, query};
use crate::error::CliError;
use crate::output;

pub(crate) async fn summary(context: &Context, args: &SummaryArgs) -> Result<(), CliError> {
    let SummaryArgs { collection, filter, by, sum, avg, min, max } = args;
    let asked =
        [("where", filter), ("by", by), ("sum", sum), ("avg", avg), ("min", min), ("max", max)];
    let asked = asked.map(|(name, text)| (name, text.as_deref()));
    let path = collection_path("summary", collection, &query(&asked))?;
    let answer: SummaryResponse =
        context.client.get(&path).await.map_err(|error: CliError| error.pointing(&asked))?;
    if context.json {
        answer.groups.iter().try_for_each(output::json)?
    } else {
        show(&answer.groups)?
    }
    output::unknown_fields(&answer.unknown_fields);
    output::mismatched_fields(collection, &answer.mismatched_fields);
    let skipped: u64 = answer.groups.iter().flat_map(|group| group.skipped.values()).sum();
    if skipped > 0 && !context.json {
        let values = output::counted(skipped, "value");
        output::note(format_args!(
            "\n{values} left out, not being numbers: a schema makes text such as \"2.50\" a decimal"
        ));
    }
    Ok(())
}

fn show(groups: &[GroupResponse]) -> Result<(), CliError> {
    let Some(first) = groups.first() else {
        output::note("no such records");
        return Ok(());
    };
    let measures = first.measures.iter();
    let measures: Vec<(&str, &str)> = measures
        .flat_map(|(measure, fields)| {
            fields.keys().map(move |field| (measure.as_str(), field.as_str()))
        })
        .collect();
    let by = first.by.keys().map(|field| output::cell(&field.as_str().into()));
    let header = by.chain(["COUNT".to_owned()]).chain(
        measures.iter().map(|(measure, field)| format!("{}({field})", measure.to_uppercase())),
    );
    let row = |group: &GroupResponse| {
        let of = |measure: &&(&str, &str)| {
            let value = group.measures.get(measure.0).and_then(|fields| fields.get(measure.1));
            value.map(output::cell).unwrap_or_default()
        };
        let by = group.by.values().map(output::cell);
        by.chain([group.count.to_string()]).chain(measures.iter().map(|m| of(&m))).collect()
    };
    output::wide_table(header.collect(), groups.iter().map(row).collect())
}
