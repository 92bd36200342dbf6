//! A program that is written with Automerge: it takes an office's record, works on it without the office, and gives it back.
//!
//! `cargo run -p branchline-node --example document -- DATA-FOLDER`

use std::error::Error;
use std::path::Path;

use automerge::transaction::Transactable;
use automerge::{AutoCommit, ROOT, ReadDoc};
use branchline_node::init;
use branchline_node::records::{MergeOptions, MergedDocument};
use branchline_node::{Config, Handle, Node};
use serde_json::json;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let data = std::env::args().nth(1).unwrap_or("document-data".to_owned());
    let data = Path::new(&data);
    if !data.join("site.json").exists() {
        init(data, "office", true)?;
    }
    let node = Node::start(Config::new(data)).await?;
    let office = node.handle();
    let tea = json!({ "price": 2, "stock": { "$inc": 10 } });
    office.merge("products", "tea", tea).await?;
    let merged = work(&office, |tea| {
        tea.put(ROOT, "price", 3)?;
        tea.increment(ROOT, "stock", -1)
    });
    let MergedDocument { taken, known, .. } = merged.await?;
    println!("{taken} edits taken in, {known} changes were known");
    node.shutdown().await;
    Ok(())
}

/// Takes the tea as a document, lets `edit` work on it, and gives it back.
pub(crate) async fn work(
    office: &Handle,
    edit: impl FnOnce(&mut AutoCommit) -> Result<(), automerge::AutomergeError>,
) -> Result<MergedDocument, Box<dyn Error>> {
    let document = office.document("products", "tea").await?.ok_or("there is no tea")?;
    let mut tea = AutoCommit::load(&document.bytes)?;
    println!("the tea has the fields {:?}", tea.keys(ROOT).collect::<Vec<_>>());
    edit(&mut tea)?;
    Ok(office.merge_document("products", "tea", tea.save(), MergeOptions::default()).await?)
}
