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

use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use branchline_connect::Kinds;
use branchline_connect::jobs::fault::{Class, Fault};
use branchline_connect::sink::{Abilities, Item, RemoteId, Sink};
use branchline_node::{Config, Node, Overrides};

/// One folder: the label of order 4711 is `4711.json`.
struct Folder(PathBuf);

impl Folder {
    fn write(&self, item: &Item) -> Result<RemoteId, Fault> {
        let path = self.0.join(format!("{}.json", item.group));
        // The folder may be on a share that comes back: it is tried again.
        let away = |error: std::io::Error| Fault::unsent(Class::Transient, error.to_string());
        std::fs::write(&path, item.representation.to_string()).map_err(away)?;
        Ok(RemoteId(path.display().to_string()))
    }
}

#[async_trait]
impl Sink for Folder {
    async fn create(&self, item: &Item) -> Result<RemoteId, Fault> {
        self.write(item)
    }

    async fn update(&self, _: &RemoteId, item: &Item) -> Result<(), Fault> {
        self.write(item).map(drop)
    }

    async fn delete(&self, id: &RemoteId, _: &Item) -> Result<(), Fault> {
        match std::fs::remove_file(&id.0) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(Fault::unsent(Class::Transient, error.to_string()))
            }
            Ok(()) | Err(_) => Ok(()),
        }
    }

    fn abilities(&self) -> Abilities {
        // The same file is written again without harm.
        Abilities { repeat: true, ..Abilities::default() }
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let data = std::env::args().nth(1).ok_or("usage: sink DATA-FOLDER")?;
    let kinds = Kinds::default().with_sink("folder", |config| {
        let path = config.options.get("path").and_then(|path| path.as_str());
        Ok(Arc::new(Folder(path.ok_or("options.path: expected the path of a folder")?.into())))
    });
    let extensions = vec![branchline_connect::extension_with(kinds)];
    let config = Config::load_with(data, None, Overrides::default(), &extensions)?;
    let node = Node::builder(config).with_all(extensions).start().await?;
    tokio::signal::ctrl_c().await?;
    node.shutdown().await;
    Ok(())
}
