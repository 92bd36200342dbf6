//! A source of a program's own: a folder into which a scale drops one file for each weighing.
//!
//! `cargo run -p branchline-connect --example source -- DATA-FOLDER`, with this in DATA-FOLDER/branchline.toml:
//!
//! ```toml
//! [[source]]
//! name = "scale"
//! kind = "folder"
//! schedule = "*/5 * * * *"
//! collection = "weighings"
//! options = { path = "/var/spool/scale" }
//! ```

use std::error::Error;
use std::path::PathBuf;

use async_trait::async_trait;
use branchline_connect::jobs::fault::Fault;
use branchline_connect::source::{Ask, Object, Source, SourcePage};
use branchline_connect::{Kinds, option};

/// The files of one folder: `4711.json` is the object 4711.
struct Folder(PathBuf);

#[async_trait]
impl Source for Folder {
    async fn page(&mut self, _: &Ask) -> Result<SourcePage, Fault> {
        let mut page = SourcePage::default();
        // The folder may be on a share that comes back: an error of the system is tried again.
        for entry in std::fs::read_dir(&self.0)? {
            let path = entry?.path();
            let Some(id) = path.file_stem().and_then(|name| name.to_str()) else { continue };
            let data = std::fs::read_to_string(&path)?;
            let (id, fields) = (id.to_owned(), serde_json::Map::new());
            page.objects.push(Object { id, data, updated_at: None, fields });
        }
        Ok(page)
    }
}

/// The kinds of sources that the program has besides.
pub(crate) fn kinds() -> Kinds {
    Kinds::default().with_source("folder", |config| {
        Ok(Box::new(Folder(option(&config.options, "path")?.into())))
    })
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error + Send + Sync>> {
    let data = std::env::args().nth(1).ok_or("usage: source DATA-FOLDER")?;
    let node = kinds().start(data).await?;
    tokio::signal::ctrl_c().await?;
    node.shutdown().await;
    Ok(())
}
