//! `branchline demo`: a head office and two branches, in one process and one terminal.
//!
//! Three real nodes, with their own data folders, sockets and APIs, live through a day on which the link to one of
//! them is cut. Every value that is printed is read from the nodes, and what the story claims is checked: the demo
//! fails if it is not so. [`sql`] is another story: of offices that have databases of their own.

mod check;
mod error;
mod link;
mod office;
mod products;
mod screen;
mod sql;
mod story;

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use crate::args::DemoStory;
use crate::error::CliError;

use error::DemoError;
use screen::Screen;
use story::Story;

/// Tells the story, in folders below `keep` or in a temporary one that is removed at the end.
pub(crate) fn run(story: Option<DemoStory>, keep: Option<PathBuf>) -> Result<(), CliError> {
    let coloured = screen::stdout_is_coloured();
    crate::block_on(async {
        Ok(report(story, keep.as_deref(), &mut io::stdout(), coloured).await?)
    })
}

async fn report(
    story: Option<DemoStory>,
    keep: Option<&Path>,
    out: &mut dyn Write,
    coloured: bool,
) -> Result<(), DemoError> {
    let mut screen = Screen::new(out, coloured);
    let temporary;
    let root = match keep {
        Some(root) => new_folder(root)?,
        None => {
            let made = tempfile::Builder::new().prefix("branchline-demo-").tempdir();
            let path = std::env::temp_dir();
            temporary = made.map_err(|source| DemoError::Folder { path, source })?;
            temporary.path()
        }
    };
    let story = async {
        match story {
            None => Story::report(&mut screen, root, keep.is_some()).await,
            Some(DemoStory::Sql) => sql::report(&mut screen, root).await,
        }
    };
    tokio::select! {
        reported = story => reported,
        // Where signals cannot be had, Ctrl-C ends the process by itself.
        Ok(()) = tokio::signal::ctrl_c() => Err(DemoError::Interrupted),
    }
}

/// Makes the folder that is to be kept; an empty one will do.
fn new_folder(path: &Path) -> Result<&Path, DemoError> {
    let failed = |source| DemoError::Folder { path: path.to_owned(), source };
    std::fs::create_dir_all(path).map_err(failed)?;
    match std::fs::read_dir(path).map_err(failed)?.next() {
        None => Ok(path),
        Some(_) => Err(DemoError::NotEmpty { path: path.to_owned() }),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[tokio::test(flavor = "multi_thread")]
    async fn the_story_of_three_databases_holds() {
        let mut out = Vec::new();
        let reported = report(Some(DemoStory::Sql), None, &mut out, false).await;
        let text = String::from_utf8(out).unwrap();
        assert!(reported.is_ok() && text.lines().count() <= 66, "{reported:?}\n{text}");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn the_story_holds_and_its_folders_open_again() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("kept");
        let mut out = Vec::new();
        report(None, Some(&root), &mut out, false).await.unwrap();
        let text = String::from_utf8(out).unwrap();
        assert!(text.lines().count() <= 66, "{text}");
        for office in ["head", "north", "south"] {
            let data = root.join(office);
            let config = branchline_node::Config::load(&data, None, Default::default()).unwrap();
            assert_eq!(config.settings.peers.is_empty(), office == "head");
            let node = branchline_node::Node::open(config).await.unwrap();
            assert_eq!(node.handle().status().await.unwrap().conflicts, 0);
            node.shutdown().await;
        }
        let again = report(None, Some(&root), &mut Vec::new(), false).await;
        assert!(matches!(again, Err(DemoError::NotEmpty { .. })), "{again:?}");
    }
}
