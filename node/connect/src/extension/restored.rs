//! What follows from a restore: the node is back where it was, and databases and services are not. Each bridge waits for a
//! person who says which side holds, each source and sink for one who says that it may go on.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use branchline_node::extension::{ExtensionError, RESTORED_FILE};

use crate::sink::config::SinkConfig;
use crate::sink::sinks::{self, sink_of_file};
use crate::sink::weaviate::WEAVIATE;
use crate::source::config::SourceConfig;
use crate::source::sources::{self, source_of_file};
use crate::sql::bridges::bridge_of_file;
use crate::sql::state::{BridgeState, Steps};
use crate::sql::worker::RESTORED;

/// Longest mark that is read: it holds a time.
const MARK_CHARS_MAX: usize = 64;

/// The states of connectors that are in a folder.
pub(super) fn states(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let files = match fs::read_dir(folder) {
        Ok(files) => files,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut states = Vec::new();
    for file in files {
        let path = file?.path();
        let is_state = bridge_of_file(&path).is_some()
            || sink_of_file(&path).is_some()
            || source_of_file(&path).is_some();
        if is_state {
            states.push(path);
        }
    }
    states.sort();
    Ok(states)
}

/// Lets every connector whose state comes from a backup begin with a pause, and takes the mark of the restore away. So do
/// sources and sinks that are configured and that the backup knows nothing of: they may have worked after it was taken.
pub(super) async fn pause(
    folder: &Path,
    sources: &[SourceConfig],
    sinks: &[SinkConfig],
) -> Result<(), ExtensionError> {
    let mark = folder.join(RESTORED_FILE);
    let when = match fs::read_to_string(&mark) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(format!("cannot read {}: {error}", mark.display()).into()),
    };
    let when: String =
        when.lines().next().unwrap_or_default().chars().take(MARK_CHARS_MAX).collect();
    let mut paths: BTreeSet<PathBuf> = states(folder)?.into_iter().collect();
    paths.extend(sources.iter().map(|source| sources::state_file(folder, &source.name)));
    // What is sent to Weaviate once more is there once.
    let doubling = sinks.iter().filter(|sink| sink.kind != WEAVIATE);
    paths.extend(doubling.map(|sink| sinks::state_file(folder, &sink.name)));
    for path in paths {
        if let Some(name) = sink_of_file(&path) {
            let reason = format!(
                "{RESTORED} of {when}: what was pushed since is not known here, and may be pushed once more: once the other \
                 sites have given back what this one lacks (`branchline status`), `branchline sink resume {name}`"
            );
            sinks::pause(&path, reason).await?;
        } else if let Some(name) = source_of_file(&path) {
            let reason = format!(
                "{RESTORED} of {when}: runs since then are not known here, and their numbers would be given once more: once \
                 the other sites have given back what this one lacks (`branchline status`), `branchline source resume {name}`"
            );
            sources::pause(&path, &reason).await?;
        } else if let Some(name) = bridge_of_file(&path) {
            pause_bridge(&path, &name, &when).await?;
        }
    }
    // Only now: a crash before this pauses them once more.
    fs::remove_file(&mark).map_err(|error| format!("cannot remove {}: {error}", mark.display()))?;
    Ok(())
}

async fn pause_bridge(path: &Path, name: &str, when: &str) -> Result<(), ExtensionError> {
    let mut state = BridgeState::open(path).await?;
    let mut progress = state.progress().await?;
    if !progress.token.is_empty() {
        progress.paused = Some(format!(
            "{RESTORED} of {when}: decide which side holds: `branchline bridge resync {name} --from database`, or `--from \
             collection` once the other sites have given back what this one lacks (`branchline status`)"
        ));
        state.keep(Steps { progress: Some(&progress), ..Steps::default() }).await?;
    }
    state.close().await;
    Ok(())
}
