//! A sink of a program's own: labels in a folder that a printer looks at, one file for each order.
//!
//! `cargo run -p branchline-connect --example sink -- DATA-FOLDER`, with this in DATA-FOLDER/branchline.toml:
//!
//! ```toml
//! [[sink]]
//! name = "labels"
//! kind = "folder"
//! collection = "orders"
//! translate = '{ to: .orders.name, street: .orders.street }'
//! options = { path = "/var/spool/labels" }
//! ```

use std::error::Error;
use std::io::ErrorKind::NotFound;
use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use branchline_connect::jobs::fault::Fault;
use branchline_connect::sink::{Abilities, Item, RemoteId, Sink, Stored};
use branchline_connect::{Kinds, option};

/// One folder: the label of order 4711 is `4711.json`.
struct Folder(PathBuf);

#[async_trait]
impl Sink for Folder {
    async fn create(&self, item: &Item) -> Result<Stored, Fault> {
        let path = self.0.join(format!("{}.json", item.group.replace('/', "%2F")));
        // The folder may be on a share that comes back: an error of the system is tried again.
        std::fs::write(&path, item.representation.to_string())?;
        Ok(RemoteId(path.display().to_string()).into())
    }

    async fn update(&self, _: &RemoteId, item: &Item) -> Result<Stored, Fault> {
        self.create(item).await
    }

    async fn delete(&self, id: &RemoteId, _: &Item) -> Result<(), Fault> {
        let removed = std::fs::remove_file(&id.0);
        Ok(removed.or_else(|error| if error.kind() == NotFound { Ok(()) } else { Err(error) })?)
    }

    fn abilities(&self) -> Abilities {
        Abilities { repeat: true, ..Abilities::default() } // the same file is written again
    }
}

/// The kinds of sinks that the program has besides.
pub(crate) fn kinds() -> Kinds {
    Kinds::default()
        .with_sink("folder", |config| Ok(Arc::new(Folder(option(&config.options, "path")?.into()))))
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error + Send + Sync>> {
    let data = std::env::args().nth(1).ok_or("usage: sink DATA-FOLDER")?;
    let node = kinds().start(data).await?;
    tokio::signal::ctrl_c().await?;
    node.shutdown().await;
    Ok(())
}
