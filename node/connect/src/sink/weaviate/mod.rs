//! `kind = "weaviate"`: each record of some collections is an object of a class there, and fields that name other records are
//! edges between them.
//!
//! An object's id is made of network, class and record, so that one that is sent twice is there once, whichever site sends it.
//! Nothing but this site's own file says what the server has: where that is lost, and at a site that takes over, all is sent
//! once more, and what was deleted here is deleted there.
//!
//! Edges come after their objects, and only between objects that the server has confirmed: it takes edges to nowhere without
//! a word. Where it keeps equal edges apart they go out in batches; elsewhere an object's edges replace those that it has.
//!
//! | file | what |
//! |---|---|
//! | `config` | what `[[sink]]` says about it |
//! | `names` | ids and places of objects |
//! | `kinds`, `classes` | classes and properties, made before they are needed |
//! | `prepare` | what records are to be there |
//! | `plan` | what would be sent |
//! | `remote`, `batch` | requests, and answers that are good in parts |
//! | `state` | what waits, and what is confirmed |
//! | `worker` | one sink at work |
//! | `answer` | what people are shown of it |

pub mod answer;
mod batch;
mod classes;
pub mod config;
mod kinds;
mod names;
mod plan;
mod prepare;
mod remote;
mod state;
#[cfg(test)]
mod tests;
mod worker;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use branchline_node::Handle;

use crate::http::Service;
use crate::jobs::board::Jobs;
use crate::jobs::jq::Filter;
use crate::jobs::secret;
use crate::jobs::store::StoreError;
use crate::jobs::template::Template;
use crate::sink::config::SinkConfig;
use crate::sink::sinks::SinkNotReady;

pub(super) use plan::{plan, plan_at_rest};
pub(super) use worker::{WeaviateParts, WeaviateWorker};

/// The kind's name.
pub const WEAVIATE: &str = "weaviate";

/// The file that holds the state of such a sink.
#[must_use]
pub fn state_file(folder: &Path, name: &str) -> std::path::PathBuf {
    state::file(folder, name)
}

/// The sink of this kind whose state a file holds; `None`: it is no such file.
#[must_use]
pub fn sink_of_file(path: &Path) -> Option<String> {
    let name = path.file_name()?.to_str()?;
    name.strip_prefix("sink-")?.strip_suffix(".weaviate.sqlite").map(str::to_owned)
}

/// Lets a sink of this kind begin with a pause, and then with everything: its file may be older than what the server has.
pub(super) async fn pause(path: &Path, reason: String) -> Result<(), StoreError> {
    let mut state = state::WeaviateState::open(path).await?;
    let mut progress = state.progress().await?;
    progress.paused = Some(reason);
    (progress.listing, progress.is_forced) = (Some(0), true);
    state.keep(&progress).await?;
    state.close().await;
    Ok(())
}

/// What a sink asks, and what makes its objects, by collection.
pub(super) struct MadeObjects {
    remote: remote::Remote,
    filters: BTreeMap<String, Filter>,
}

/// Makes of a configuration what can be made without asking anybody. `folder`: where the sink keeps its state.
pub(super) fn made(config: &SinkConfig, folder: &Path) -> Result<MadeObjects, SinkNotReady> {
    let weaviate = config.weaviate();
    weaviate.check().map_err(SinkNotReady::Config)?;
    let service = Service::new(&format!("sink {}", config.name), &config.service(), folder);
    let service = service.map_err(|error| SinkNotReady::Sink(Box::new(error)))?;
    let redactor = service.redactor().clone();
    let url = secret::complete_with(&weaviate.url, &redactor);
    let url = url.map_err(|error| SinkNotReady::Sink(Box::new(error)))?;
    let header = |(name, text): (&String, &String)| {
        let template = Template::with_secrets(text, &redactor);
        let value =
            template.map_err(|error| SinkNotReady::Config(format!("headers: {name}: {error}")))?;
        let value = value.fill(|_| None);
        let value =
            value.map_err(|error| SinkNotReady::Config(format!("headers: {name}: {error}")))?;
        Ok((name.clone(), value))
    };
    let headers = config.headers.iter().map(header).collect::<Result<_, SinkNotReady>>()?;
    let mut filters = BTreeMap::new();
    for object in &weaviate.objects {
        filters.insert(object.collection.clone(), Filter::compile(&object.translate)?);
    }
    Ok(MadeObjects { remote: remote::Remote::new(service, &url, headers), filters })
}

/// What a sink is made of. `node`: in the sink's space; `folder`: where it keeps its state.
pub(super) async fn parts(
    config: &SinkConfig,
    node: Handle,
    folder: &Path,
    jobs: Arc<Jobs>,
) -> Result<WeaviateParts, SinkNotReady> {
    let MadeObjects { remote, filters } = made(config, folder)?;
    let state = state::WeaviateState::open(state::file(folder, &config.name)).await?;
    Ok(WeaviateParts {
        name: config.name.clone(),
        remote,
        config: config.weaviate(),
        retry: config.retry.clone(),
        ask_over: config.ask_over,
        filters,
        node,
        state,
        jobs,
    })
}
