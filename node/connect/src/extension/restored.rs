//! What follows from a restore: the node is back where it was, and the databases most likely are not. Each bridge waits for
//! a person who says which side holds, and each sink for one who says that it may go on.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use branchline_node::extension::{ExtensionError, RESTORED_FILE};

use crate::sink::sinks::{self, sink_of_file};
use crate::sql::bridges::bridge_of_file;
use crate::sql::state::{State, Steps};
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
        let is_state =
            bridge_of_file(&path).is_some() || sink_of_file(&path).is_some() || is_of_source(&path);
        if is_state {
            states.push(path);
        }
    }
    states.sort();
    Ok(states)
}

fn is_of_source(path: &Path) -> bool {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    name.starts_with("source-") && name.ends_with(".sqlite")
}

/// Lets every bridge and sink whose state comes from a backup begin with a pause, and takes the mark of the restore away.
pub(super) async fn pause(folder: &Path) -> Result<(), ExtensionError> {
    let mark = folder.join(RESTORED_FILE);
    let when = match fs::read_to_string(&mark) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(format!("cannot read {}: {error}", mark.display()).into()),
    };
    let when: String =
        when.lines().next().unwrap_or_default().chars().take(MARK_CHARS_MAX).collect();
    for path in states(folder)? {
        if let Some(name) = sink_of_file(&path) {
            let reason = format!(
                "{} of {when}: what was pushed since is not known here, and may be pushed once more: once the other sites have \
                 given back what this one lacks (`branchline status`), `branchline sink resume {name}`",
                crate::sink::worker::RESTORED
            );
            sinks::pause(&path, reason).await?;
            continue;
        }
        // A source goes on: where its runs stand is among the records, which were restored with it.
        let Some(name) = bridge_of_file(&path) else { continue };
        let mut state = State::open(&path).await?;
        let mut progress = state.progress().await?;
        if !progress.token.is_empty() {
            progress.paused = Some(format!(
                "{RESTORED} of {when}: decide which side holds: `branchline bridge resync {name} --from database`, or `--from \
                 collection` once the other sites have given back what this one lacks (`branchline status`)"
            ));
            state.keep(Steps { progress: Some(&progress), ..Steps::default() }).await?;
        }
        state.close().await;
    }
    // Only now: a crash before this pauses them once more.
    fs::remove_file(&mark).map_err(|error| format!("cannot remove {}: {error}", mark.display()))?;
    Ok(())
}
