//! What a sink to Weaviate would send. Asks the server for nothing.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use branchline_node::Handle;
use branchline_node::handle::ReadError;
use serde_json::Value as Json;

use super::config::{ObjectConfig, WeaviateConfig};
use super::prepare::{ObjectStand, prepare};
use super::state::{self, ObjectRow, WeaviateState, Which};
use crate::jobs::jq::Filter;
use crate::jobs::store::{self, StoreError};
use crate::sink::config::SinkConfig;
use crate::sink::group::fresh;
use crate::sink::group::look::LookError;
use crate::sink::sinks::SinkNotReady;
use crate::sink::survey::{Counting, PlannedItem, SurveyError};

/// Records that are looked at together.
const PAGE: usize = 100;

/// What a sink would send now, and the first `items_max` of it.
pub(in crate::sink) async fn plan(
    config: &SinkConfig,
    node: &Handle,
    folder: &Path,
    items_max: usize,
) -> Result<(Counting, Vec<PlannedItem>), SinkNotReady> {
    let (weaviate, filters) = parts(config)?;
    let mut state = WeaviateState::open(state::file(folder, &config.name)).await?;
    let progress = state.progress().await?;
    let planned = if progress.listing.is_some() || progress.settings.is_empty() {
        Err(SinkNotReady::Early(format!(
            "sink {name} has not looked at all records yet: `branchline sink status {name}` shows how far it is",
            name = config.name
        )))
    } else {
        let looked = look(&weaviate, &filters, node, &mut state, items_max).await;
        looked.map_err(SinkNotReady::from)
    };
    state.close().await;
    planned
}

/// The same where no node runs: by a copy of what the sink remembers, in which all records are noted, since it may be behind
/// them.
pub(in crate::sink) async fn plan_at_rest(
    config: &SinkConfig,
    node: &Handle,
    folder: &Path,
    items_max: usize,
) -> Result<(Counting, Vec<PlannedItem>), SinkNotReady> {
    let (weaviate, filters) = parts(config)?;
    let (of_sink, copied) = (state::file(folder, &config.name), plan_file(folder, &config.name));
    fresh::remove(&copied);
    if of_sink.exists() {
        store::copy(&of_sink, &copied).await?;
    }
    let mut state = WeaviateState::open(&copied).await?;
    let planned = match note_all(&weaviate, node, &mut state).await {
        Ok(()) => look(&weaviate, &filters, node, &mut state, items_max).await,
        Err(error) => Err(error),
    };
    state.close().await;
    fresh::remove(&copied);
    planned.map_err(SinkNotReady::from)
}

async fn note_all(
    config: &WeaviateConfig,
    node: &Handle,
    state: &mut WeaviateState,
) -> Result<(), NotLooked> {
    state.begin().await?;
    for ObjectConfig { collection, .. } in &config.objects {
        let mut after = None;
        loop {
            let page = fresh::ids(node, collection, after).await.map_err(NotLooked::Node)?;
            let Some(last) = page.last() else { break };
            after = Some(last.clone());
            for id in &page {
                state.touch(collection, id, false, 0).await?;
            }
        }
    }
    Ok(state.end().await?)
}

fn plan_file(folder: &Path, name: &str) -> PathBuf {
    folder.join(format!("plan-{name}.weaviate.sqlite"))
}

/// What of a configuration makes objects, by collection.
fn parts(config: &SinkConfig) -> Result<(WeaviateConfig, BTreeMap<String, Filter>), SinkNotReady> {
    let weaviate = config.weaviate();
    weaviate.check().map_err(SinkNotReady::Config)?;
    let mut filters = BTreeMap::new();
    for object in &weaviate.objects {
        filters.insert(object.collection.clone(), Filter::compile(&object.translate)?);
    }
    Ok((weaviate, filters))
}

/// Why it cannot be said what would be sent.
#[derive(Debug)]
pub(super) enum NotLooked {
    Node(ReadError),
    State(StoreError),
}

impl From<StoreError> for NotLooked {
    fn from(error: StoreError) -> Self {
        Self::State(error)
    }
}

impl From<NotLooked> for SinkNotReady {
    fn from(error: NotLooked) -> Self {
        match error {
            NotLooked::Node(error) => SurveyError::Look(LookError::Read(error)).into(),
            NotLooked::State(error) => error.into(),
        }
    }
}

/// Looks at all records that are known. `filters`: by collection.
pub(super) async fn look(
    config: &WeaviateConfig,
    filters: &BTreeMap<String, Filter>,
    node: &Handle,
    state: &mut WeaviateState,
    items_max: usize,
) -> Result<(Counting, Vec<PlannedItem>), NotLooked> {
    let (mut counting, mut items) = (Counting::default(), Vec::new());
    for index in 0..config.objects.len() {
        let Some(object) = config.objects.get(index).cloned() else { continue };
        let Some(filter) = filters.get(&object.collection) else { continue };
        let mut after = String::new();
        loop {
            let rows = state.objects(Which::All, Some((&object.collection, &after)), PAGE).await?;
            let rows: Vec<ObjectRow> =
                rows.into_iter().take_while(|row| row.collection == object.collection).collect();
            let Some(last) = rows.last() else { break };
            after.clone_from(&last.id);
            let ids = rows.iter().map(|row| row.id.clone()).collect();
            let stands = prepare(node, config, &object, filter, ids).await;
            let stands = stands.map_err(NotLooked::Node)?;
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

fn planned(row: ObjectRow, stand: ObjectStand, counting: &mut Counting) -> Option<PlannedItem> {
    counting.groups += 1;
    let id = format!("{}/{}", row.collection, row.id);
    match stand {
        ObjectStand::Gone if row.is_confirmed => {
            counting.delete += 1;
            Some(PlannedItem { id, action: "delete", representation: None, error: None })
        }
        ObjectStand::Gone => {
            counting.unchanged += 1;
            None
        }
        ObjectStand::Impossible(error) => {
            counting.aside += 1;
            Some(PlannedItem { id, action: "set aside", representation: None, error: Some(error) })
        }
        ObjectStand::Made(made)
            if row.is_confirmed && row.digest.as_ref() == Some(&made.digest) =>
        {
            counting.unchanged += 1;
            None
        }
        // It was refused as it is, and is tried again some times at most.
        ObjectStand::Made(_) if row.error.is_some() => {
            counting.aside += 1;
            Some(PlannedItem { id, action: "set aside", representation: None, error: row.error })
        }
        ObjectStand::Made(made) => {
            let action = if row.is_confirmed { "update" } else { "create" };
            if row.is_confirmed {
                counting.update += 1
            } else {
                counting.create += 1
            }
            let representation = Some(Json::Object(made.properties));
            Some(PlannedItem { id, action, representation, error: row.error })
        }
    }
}
