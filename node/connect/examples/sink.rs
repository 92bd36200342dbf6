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
use std::io::ErrorKind;
use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use branchline_connect::Kinds;
use branchline_connect::jobs::fault::Fault;
use branchline_connect::sink::{Abilities, Item, RemoteId, Sink, Stored};
use branchline_node::{Config, Node, Overrides};

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
        match std::fs::remove_file(&id.0) {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
            removed => Ok(removed?),
        }
    }

    fn abilities(&self) -> Abilities {
        // The same file is written again without harm.
        Abilities { repeat: true, ..Abilities::default() }
    }
}

/// Starts a node that has sinks of this kind.
pub(crate) async fn start(data: PathBuf) -> Result<Node, Box<dyn Error>> {
    let kinds = Kinds::default().with_sink("folder", |config| {
        let path = config.options.get("path").and_then(|path| path.as_str());
        Ok(Arc::new(Folder(path.ok_or("options.path: expected the path of a folder")?.into())))
    });
    let extensions = vec![branchline_connect::extension_with(kinds)];
    let config = Config::load_with(data, None, Overrides::default(), &extensions)?;
    Ok(Node::builder(config).with_all(extensions).start().await?)
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let node = start(std::env::args().nth(1).ok_or("usage: sink DATA-FOLDER")?.into()).await?;
    tokio::signal::ctrl_c().await?;
    node.shutdown().await;
    Ok(())
}
