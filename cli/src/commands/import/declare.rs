//! The schema that the first import into a collection declares, and what is said where it may not.

use std::collections::BTreeMap;

use branchline_crdt::record::{Kind, SCHEMA_COLLECTION};
use branchline_node::api::{Code, KindsResponse, TransactionResponse};
use serde_json::{Map, Value, json};

use super::kinds::infer::{Inferred, kinds_of_schema};
use super::kinds::plan::{Known, Plan};
use super::survey::Survey;
use crate::Context;
use crate::args::option;
use crate::client::{Client, collection_path};
use crate::error::CliError;
use crate::output;

/// What became of the schema.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// There is nothing to declare, or the collection has one.
    Nothing,
    /// It is declared.
    Declared,
    /// It is not, for a reason in words.
    NotDeclared(String),
    /// The collection got a schema meanwhile.
    Other,
}

/// Decides how the fields of an input are read, and declares the schema, if the collection has none.
pub(crate) async fn plan(
    context: &Context,
    collection: &str,
    survey: &Survey,
    asked: &[(String, Kind)],
    is_wanted: bool,
) -> Result<(Plan, Outcome), CliError> {
    let client = &context.client;
    let plan = async || {
        let mut known = known(client, collection, &survey.inferred).await?;
        let mut inferred = survey.inferred.clone();
        if let [id] = survey.id.as_slice() {
            read_as_text(id, &mut inferred, &mut known);
        }
        let plan = Plan::new(&inferred, survey.is_json(), asked, &known)?;
        Ok::<_, CliError>((plan, known.has_records))
    };
    let (first, has_records) = plan().await?;
    let outcome = if first.schema.is_empty() {
        Outcome::Nothing
    } else if !is_wanted {
        Outcome::NotDeclared("no schema is declared".to_owned())
    } else if has_records {
        Outcome::NotDeclared(format!("{collection} holds records without a schema"))
    } else {
        declare(client, collection, &first).await?
    };
    match outcome {
        Outcome::Other => Ok((plan().await?.0, outcome)),
        outcome => Ok((first, outcome)),
    }
}

/// Takes the record's id for a text, unless the collection holds or declares it otherwise: behind 999 may come A1.
fn read_as_text(id: &str, inferred: &mut BTreeMap<String, Inferred>, known: &mut Known) {
    let is_text = |kind: &String| matches!(kind.as_str(), "string" | "decimal" | "null");
    let declared = known.declared.as_ref().and_then(|declared| declared.get(id));
    let is_declared = declared.is_some_and(|kind| *kind != Kind::String);
    let is_other = known.held.get(id).is_some_and(|held| !held.keys().all(is_text));
    if let Some(kind @ Inferred::Kind(_)) = inferred.get_mut(id)
        && !is_declared
        && !is_other
    {
        *kind = Inferred::Kind(Kind::String);
        known.held.remove(id);
    }
}

/// Asks what is known of the kinds of a collection.
async fn known(
    client: &Client,
    collection: &str,
    inferred: &BTreeMap<String, Inferred>,
) -> Result<Known, CliError> {
    let path = collection_path("schemas", collection, "")?;
    let declared = match client.get::<Map<String, Value>>(&path).await {
        Ok(schema) => Some(kinds_of_schema(&schema)),
        Err(error) if error.is(Code::SchemaNotFound) => None,
        Err(error) => return Err(error),
    };
    let is_declared = |name| declared.as_ref().is_some_and(|kinds| kinds.contains_key(name));
    let held = if inferred.keys().all(is_declared) {
        None
    } else {
        let path = collection_path("collections", collection, "/kinds")?;
        Some(client.get::<KindsResponse>(&path).await?)
    };
    let held = held.map(|held| held.fields).unwrap_or_default();
    Ok(Known { declared, has_records: !held.is_empty(), held })
}

/// Declares the plan's schema, if the collection has none.
async fn declare(client: &Client, collection: &str, plan: &Plan) -> Result<Outcome, CliError> {
    let edit = json!({
        "op": "put",
        "collection": SCHEMA_COLLECTION,
        "id": collection,
        "fields": plan.schema,
        "if_none_match": "*",
    });
    let written: Result<TransactionResponse, CliError> =
        client.post("/v1/transactions", &json!({ "edits": [edit] })).await;
    match written {
        Ok(_) => Ok(Outcome::Declared),
        Err(error) if error.is(Code::PreconditionFailed) => Ok(Outcome::Other),
        Err(error) if error.is(Code::RoleMissing) => {
            Ok(Outcome::NotDeclared("this site may not write schemas".to_owned()))
        }
        Err(error) if error.is(Code::SchemaRefused) || error.is(Code::EditRefused) => {
            Ok(Outcome::NotDeclared(format!("no schema is declared: {}", error.message())))
        }
        Err(error) => Err(error),
    }
}

/// Says how the fields are read, and what became of the schema.
pub(crate) fn report(context: &Context, collection: &str, plan: &Plan, outcome: &Outcome) {
    plan.differences.iter().for_each(output::note);
    match outcome {
        Outcome::Nothing | Outcome::Other => {
            let fields = output::visible(&plan.text_fields.join(", "));
            if !fields.is_empty() {
                output::note(format_args!(
                    "the schema of {collection} does not declare {fields}, which stay text: `branchline schema show {collection}` prints it, `schema apply` adds to it"
                ));
            }
        }
        Outcome::Declared => {
            output::note(format_args!(
                "declared as the schema of {collection}, based on the file:"
            ));
            let width =
                plan.schema.keys().map(|name| name.chars().count()).max().unwrap_or_default();
            for (name, kind) in &plan.schema {
                let (name, kind) = (output::visible(name), kind.as_str().unwrap_or_default());
                output::note(format_args!("  {name:width$}  {kind}"));
            }
            for (name, reason) in &plan.skipped {
                let name = output::visible(name);
                output::note(format_args!("  {name:width$}  left out: {reason}"));
            }
        }
        Outcome::NotDeclared(why) => tell_text_fields(context, collection, plan, why),
    }
}

/// Says which fields are not what they are meant to be until a schema declares them, and how an admin does that.
fn tell_text_fields(context: &Context, collection: &str, plan: &Plan, why: &str) {
    let fields = &plan.text_fields;
    let Some(first) = fields.first().map(|first| output::visible(first)) else { return };
    let fields = output::visible(&fields.join(", "));
    output::note(format_args!(
        "{why}: {fields} of {collection} stay text until a schema declares them, in which a filter such as \"{first} > 1\" finds no number"
    ));
    let schema = json!({ collection: plan.schema }).to_string().replace('\'', r"'\''");
    let said = context.client.space().map(|space| option("space", space)).unwrap_or_default();
    output::note(format_args!(
        "hint: an admin, such as the head office, declares them with\n  echo '{schema}' | branchline{said} schema apply -"
    ));
}
