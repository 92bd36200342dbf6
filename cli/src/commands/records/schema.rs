//! `schema show` and `schema apply`; `schema_check` has the rest.

use std::path::Path;

use axum::http::Method;
use branchline_crdt::format::json;
use branchline_node::api::SchemasResponse;
use serde_json::{Map, Value};

use super::schema_check;
use crate::Context;
use crate::client::{Client, collection_path, query};
use crate::error::CliError;
use crate::output;

/// Prints schemas as `schema apply` reads them.
pub(crate) async fn show(context: &Context, collection: Option<String>) -> Result<(), CliError> {
    let mut schemas = Map::new();
    if let Some(collection) = collection {
        let path = collection_path("schemas", &collection, "")?;
        schemas.insert(collection, context.client.get(&path).await?);
    } else {
        schemas = all(&context.client).await?;
    }
    if context.json {
        return output::json(&schemas);
    }
    let text = serde_json::to_string_pretty(&schemas).map_err(std::io::Error::from)?;
    output::lines(text)
}

/// The schemas of all collections.
pub(crate) async fn all(client: &Client) -> Result<Map<String, Value>, CliError> {
    let mut schemas = Map::new();
    let mut after: Option<String> = None;
    loop {
        let query = query(&[("after", after.as_deref())]);
        let page: SchemasResponse = client.get(&format!("/v1/schemas{query}")).await?;
        schemas.extend(page.schemas);
        match page.next {
            Some(next) => after = Some(next),
            None => return Ok(schemas),
        }
    }
}

/// Writes the schemas of a file, and says how many records do not fit them.
pub(crate) async fn apply(context: &Context, file: &Path) -> Result<(), CliError> {
    let read = if file == Path::new("-") {
        std::io::read_to_string(std::io::stdin())
    } else {
        std::fs::read_to_string(file)
    };
    let text = read.map_err(|error| CliError::file("read", file, &error))?;
    for (collection, fields) in parse(file, &text)? {
        // Where it cannot be read, there is none, or the write tells why not.
        let path = collection_path("schemas", &collection, "")?;
        let before: Map<String, Value> = context.client.get(&path).await.unwrap_or_default();
        write(&context.client, &collection, &fields).await?;
        let count = output::counted(fields.len() as u64, "field");
        output::note(format_args!("the schema of {collection} has {count} now"));
        let gone = before.keys().filter(|name| !fields.contains_key(*name));
        let gone: Vec<_> = gone.map(String::as_str).collect();
        if !gone.is_empty() {
            output::note(format_args!("it declares no more: {}", gone.join(", ")));
        }
        schema_check::note(context, &collection).await?;
    }
    Ok(())
}

/// Writes one collection's schema.
pub(crate) async fn write(
    client: &Client,
    collection: &str,
    fields: &Map<String, Value>,
) -> Result<(), CliError> {
    let path = collection_path("schemas", collection, "")?;
    let body = serde_json::to_vec(fields).map_err(std::io::Error::from)?;
    client.send(Method::PUT, &path, Some(("application/json", body))).await?;
    Ok(())
}

/// A collection and the fields of its schema.
type CollectionSchema = (String, Map<String, Value>);

fn parse(file: &Path, text: &str) -> Result<Vec<CollectionSchema>, CliError> {
    let wrong = |what: String| {
        CliError::failed(format!("{} contains no schemas: {what}", file.display()))
            .hint(r#"expected {"COLLECTION": {"FIELD": "KIND"}}, with "KIND required" for a field that every record must have"#)
    };
    let is_toml = file.extension().is_some_and(|extension| extension == "toml");
    let schemas: Map<String, Value> = if is_toml {
        toml::from_str(text).map_err(|error| wrong(error.to_string().trim_end().to_owned()))?
    } else {
        json::read(text.as_bytes()).map_err(|error| wrong(error.to_string()))?
    };
    let flat = |(collection, fields): (String, Value)| {
        let Value::Object(fields) = fields else {
            return Err(wrong(format!("{collection} is {fields}")));
        };
        let mut flat = Map::new();
        flatten("", fields, &mut flat);
        Ok((collection, flat))
    };
    schemas.into_iter().map(flat).collect()
}

/// `{"address": {"city": "string"}}` says the same as `{"address.city": "string"}`.
fn flatten(before: &str, fields: Map<String, Value>, flat: &mut Map<String, Value>) {
    for (name, value) in fields {
        let path = format!("{before}{name}");
        match value {
            Value::Object(inner) => flatten(&format!("{path}."), inner, flat),
            value => {
                flat.insert(path, value);
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn json_and_toml_say_the_same() {
        let json = r#"{"products": {"price": "decimal required", "origin": {"city": "string"}}}"#;
        let toml = "[products]\nprice = \"decimal required\"\norigin.city = \"string\"\n";
        let of_json = parse(Path::new("s.json"), json).unwrap();
        assert_eq!(of_json, parse(Path::new("s.toml"), toml).unwrap());
        let (collection, fields) = &of_json[0];
        assert_eq!(collection, "products");
        assert_eq!(fields["origin.city"], "string");
    }

    #[test]
    fn what_is_no_schema_is_told() {
        for (name, text) in [("s.json", "{"), ("s.json", r#"{"a": 1}"#), ("s.toml", "a =")] {
            assert!(parse(Path::new(name), text).is_err(), "{text}");
        }
    }
}
