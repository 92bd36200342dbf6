//! What records are to be there.

use std::collections::BTreeSet;

use branchline_node::Handle;
use branchline_node::handle::ReadError;
use branchline_node::records::{Fields, RecordKey, fields_into_json, read};
use serde_json::{Map, Value as Json, json};

use super::classes::ends;
use super::config::{EdgeConfig, ObjectConfig, WeaviateConfig};
use crate::jobs::digest::digest;
use crate::jobs::jq::Filter;
use crate::sink::group::shape::{at, ids_of};

/// Bytes of an object, as JSON.
const OBJECT_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Edges of one name that begin at one object.
const TARGETS_MAX: usize = 10_000;

/// What a record is to be there.
#[derive(Debug)]
pub(super) enum ObjectStand {
    /// Nothing: the record is not there, or deleted.
    Gone,
    /// It cannot be an object.
    Impossible(String),
    /// An object.
    Made(PreparedObject),
}

#[derive(Debug)]
pub(super) struct PreparedObject {
    pub(super) properties: Map<String, Json>,
    /// Of all that it is there: its class, its properties, and where its edges lead.
    pub(super) digest: String,
    /// For each edge of the collection, in order: the records that it leads to.
    pub(super) targets: Vec<BTreeSet<String>>,
}

/// Reads records of a collection, and makes of each what it is to be.
pub(super) async fn prepare(
    node: &Handle,
    config: &WeaviateConfig,
    of: &ObjectConfig,
    translate: &Filter,
    ids: Vec<String>,
) -> Result<Vec<ObjectStand>, ReadError> {
    let edges: Vec<&EdgeConfig> = config.edges_from(&of.collection).collect();
    let place = json!([
        of.class,
        edges.iter().map(|edge| (&edge.property, ends(config, edge))).collect::<Vec<_>>()
    ]);
    let of = of.collection.clone();
    let read = node.read(move |tables, space| {
        let one = |id: String| {
            let key = RecordKey { space, collection: of.clone(), id };
            let view = read::record(tables, &key)?;
            let view = view.filter(|view| !view.deleted && !view.heads.is_empty());
            Ok((key.id, view.map(|view| view.fields)))
        };
        ids.into_iter().map(one).collect::<Result<Vec<_>, _>>()
    });
    let records: Vec<(String, Option<Fields>)> = read.await?;
    let mut targets = Vec::new();
    let mut inputs = Vec::new();
    for (id, fields) in &records {
        let Some(fields) = fields else { continue };
        targets.push(edges.iter().map(|edge| targets_of(fields, edge)).collect::<Vec<_>>());
        let mut record = fields_into_json(fields.clone());
        record.entry("id").or_insert_with(|| Json::String(id.clone()));
        inputs.push(Json::Object(record));
    }
    let made = translate.run_each(inputs).await.into_iter().zip(targets);
    let mut made = made.map(|(outputs, targets)| {
        let output = outputs.and_then(|outputs| translate.one(outputs));
        match output {
            Ok(output) => object(output, targets, &place),
            Err(error) => ObjectStand::Impossible(error.to_string()),
        }
    });
    let gone = || ObjectStand::Impossible("translate has made nothing of it".to_owned());
    let stand = |fields: &Option<Fields>| match fields {
        Some(_) => made.next().unwrap_or_else(gone),
        None => ObjectStand::Gone,
    };
    Ok(records.iter().map(|(_, fields)| fields).map(stand).collect())
}

fn targets_of(fields: &Fields, edge: &EdgeConfig) -> BTreeSet<String> {
    let path: Vec<String> = edge.field.split('.').map(str::to_owned).collect();
    at(fields, &path).map(ids_of).unwrap_or_default().into_iter().collect()
}

/// `place`: what else makes it another object than before.
fn object(output: Json, targets: Vec<BTreeSet<String>>, place: &Json) -> ObjectStand {
    let Json::Object(mut properties) = output else {
        return ObjectStand::Impossible(
            "translate makes no object of it: expected { name, … }".to_owned(),
        );
    };
    if targets.iter().any(|targets| targets.len() > TARGETS_MAX) {
        return ObjectStand::Impossible(format!(
            "it names more than {TARGETS_MAX} others by one edge"
        ));
    }
    // What is not there has no type.
    properties.retain(|_, value| !value.is_null());
    let object = Json::Object(properties);
    if object.to_string().len() > OBJECT_BYTES_MAX {
        return ObjectStand::Impossible(format!("it is larger than {OBJECT_BYTES_MAX} bytes"));
    }
    let whole = json!([place, object]);
    let digest = data_encoding::HEXLOWER.encode(&digest(&whole));
    let Json::Object(properties) = object else { return ObjectStand::Gone };
    ObjectStand::Made(PreparedObject { properties, digest, targets })
}
