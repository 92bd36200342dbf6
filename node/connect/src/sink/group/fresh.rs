//! The records that a sink has to do with, page by page; and all of them at once, for a plan where no node runs: the sink's
//! own file may be behind the records then, or not be there.

use std::path::Path as FilePath;

use branchline_node::Handle;
use branchline_node::handle::ReadError;
use branchline_node::records::read;

use super::look::LookError;
use super::shape::{Path, Shape, at, ids_of};
use crate::sink::group::delivered;
use crate::sink::state::SinkState;
use crate::sink::survey::SurveyError;

/// Records that are listed at a time.
pub(in crate::sink) const PAGE: usize = 1_000;

/// The records of a collection behind `after`, with what a field of each names.
pub(in crate::sink) async fn links(
    node: &Handle,
    collection: &str,
    path: &Path,
    after: Option<String>,
) -> Result<Vec<(String, Vec<String>)>, ReadError> {
    let (collection, path) = (collection.to_owned(), path.clone());
    let page = node.read(move |tables, space| {
        let mut page = Vec::new();
        read::each_of(tables, space, &collection, after.as_deref(), |id, view| {
            let value = view.live_fields().and_then(|fields| at(fields, &path));
            page.push((id, value.map(ids_of).unwrap_or_default()));
            Ok(page.len() < PAGE)
        })?;
        Ok(page)
    });
    page.await
}

/// The ids of the records of a collection behind `after`.
pub(in crate::sink) async fn ids(
    node: &Handle,
    collection: &str,
    after: Option<String>,
) -> Result<Vec<String>, ReadError> {
    let collection = collection.to_owned();
    let page = node.read(move |tables, space| {
        let mut page = Vec::new();
        read::each_row(tables, space, &collection, after.as_deref(), |id, _| {
            page.push(id.to_owned());
            Ok(page.len() < PAGE)
        })?;
        Ok(page)
    });
    page.await
}

/// A state of its own that knows all groups and links there are. [`remove`] removes its file.
pub(in crate::sink) async fn listed(
    file: &FilePath,
    name: &str,
    shape: &Shape,
    node: &Handle,
) -> Result<SinkState, SurveyError> {
    remove(file);
    let mut state = SinkState::open(file).await?;
    state.begin().await?;
    for (_, relation, path) in shape.by() {
        let mut after = None;
        loop {
            let page = links(node, &relation.collection, path, after).await;
            let page = page.map_err(LookError::from)?;
            let Some((last, _)) = page.last() else { break };
            after = Some(last.clone());
            for (id, targets) in &page {
                state.link(&relation.name, id, targets).await?;
            }
        }
    }
    for collection in [shape.collection.clone(), delivered::collection(name)] {
        let mut after = None;
        loop {
            let page = ids(node, &collection, after).await.map_err(LookError::from)?;
            let Some(last) = page.last() else { break };
            after = Some(last.clone());
            for id in &page {
                state.touch(id, 0, 0).await?;
            }
        }
    }
    state.end().await?;
    Ok(state)
}

/// Removes such a file, and its folder where there is nothing else.
pub(in crate::sink) fn remove(file: &FilePath) {
    for end in ["", "-wal", "-shm"] {
        let mut path = file.as_os_str().to_owned();
        path.push(end);
        // It may not be there.
        let _ = std::fs::remove_file(path);
    }
    let _ = file.parent().map(std::fs::remove_dir);
}
