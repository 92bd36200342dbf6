//! What a sink to Weaviate would send. Asks the server for nothing.

use std::path::Path;

use branchline_node::Handle;
use serde_json::Value as Json;

use super::config::{EdgeConfig, WeaviateConfig};
use super::prepare::{Stand, prepare};
use super::state::{self, ObjectRow, State, Which};
use crate::jobs::jq::Filter;
use crate::sink::config::SinkConfig;
use crate::sink::look::LookError;
use crate::sink::sinks::NotReady;
use crate::sink::survey::{Counting, Planned, SurveyError};

/// Records that are looked at together.
const PAGE: usize = 100;

/// What a sink would send now, and the first `items_max` of it.
pub(in crate::sink) async fn plan(
    config: &SinkConfig,
    node: &Handle,
    folder: &Path,
    items_max: usize,
) -> Result<(Counting, Vec<Planned>), NotReady> {
    let weaviate = config.weaviate();
    weaviate.check().map_err(NotReady::Config)?;
    let mut state = State::open(state::file(folder, &config.name)).await?;
    let planned = look(&config.name, &weaviate, node, &mut state, items_max).await;
    state.close().await;
    planned
}

async fn look(
    name: &str,
    config: &WeaviateConfig,
    node: &Handle,
    state: &mut State,
    items_max: usize,
) -> Result<(Counting, Vec<Planned>), NotReady> {
    let progress = state.progress().await?;
    if progress.listing.is_some() || progress.settings.is_empty() {
        return Err(NotReady::Early(format!(
            "sink {name} has not looked at all records yet: `branchline sink status {name}` shows how far it is"
        )));
    }
    let (mut counting, mut items) = (Counting::default(), Vec::new());
    for index in 0..config.objects.len() {
        let Some(object) = config.objects.get(index).cloned() else { continue };
        let filter = Filter::compile(&object.translate)?;
        let edges: Vec<EdgeConfig> = config.edges_from(&object.collection).cloned().collect();
        let mut after = String::new();
        loop {
            let rows = state.objects(Which::All, Some((&object.collection, &after)), PAGE).await?;
            let rows: Vec<ObjectRow> =
                rows.into_iter().take_while(|row| row.collection == object.collection).collect();
            let Some(last) = rows.last() else { break };
            after.clone_from(&last.id);
            let ids = rows.iter().map(|row| row.id.clone()).collect();
            let stands = prepare(node, &object.collection, &filter, &edges, ids).await;
            let stands = stands.map_err(|error| SurveyError::Look(LookError::Read(error)))?;
            for (row, stand) in rows.into_iter().zip(stands) {
                let planned = planned(row, stand, &mut counting);
                if let Some(planned) = planned
                    && items.len() < items_max
                {
                    items.push(planned);
                }
            }
        }
    }
    Ok((counting, items))
}

fn planned(row: ObjectRow, stand: Stand, counting: &mut Counting) -> Option<Planned> {
    counting.groups += 1;
    let id = format!("{}/{}", row.collection, row.id);
    match stand {
        Stand::Gone if row.is_confirmed => {
            counting.delete += 1;
            Some(Planned { id, action: "delete", representation: None, error: None })
        }
        Stand::Gone => {
            counting.unchanged += 1;
            None
        }
        Stand::Impossible(error) => {
            counting.aside += 1;
            Some(Planned { id, action: "set aside", representation: None, error: Some(error) })
        }
        Stand::Made(made) if row.is_confirmed && row.digest.as_ref() == Some(&made.digest) => {
            counting.unchanged += 1;
            None
        }
        Stand::Made(made) => {
            let action = if row.is_confirmed { "update" } else { "create" };
            match row.is_confirmed {
                true => counting.update += 1,
                false => counting.create += 1,
            }
            let representation = Some(Json::Object(made.properties));
            Some(Planned { id, action, representation, error: row.error })
        }
    }
}
