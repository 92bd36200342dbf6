//! A consumer of the feed with a durable cursor: however often it is started, it sees every change at least once.
//!
//! `cargo run -p branchline-node --example feed -- DATA-FOLDER CURSOR-FILE`

use std::error::Error;
use std::path::Path;
use std::time::Duration;

use branchline_node::feed::{PageBounds, Since};
use branchline_node::records::Item;
use branchline_node::{Config, Handle, Node};
use tokio::time::Instant;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(data), Some(cursor)) = (arguments.next(), arguments.next()) else {
        return Err("usage: feed DATA-FOLDER CURSOR-FILE".into());
    };
    // Here the node runs in the consumer's process; elsewhere `GET /v1/changes` is the same feed.
    let node = Node::start(Config::new(data)).await?;
    follow(&node.handle(), Path::new(&cursor), Duration::from_secs(60), |line| println!("{line}"))
        .await?;
    node.shutdown().await;
    Ok(())
}

/// Hands on what changed since the last time, and what changes until nothing has for `patience`.
pub(crate) async fn follow(
    node: &Handle,
    cursor_file: &Path,
    patience: Duration,
    mut take: impl FnMut(String),
) -> Result<(), Box<dyn Error>> {
    let since: Since = match std::fs::read_to_string(cursor_file) {
        Ok(text) => text.parse()?,
        Err(_) => Since::Start,
    };
    let mut consumer = node.follow(since, Some("products".to_owned())).await?;
    let bounds = PageBounds { items_max: 100, bytes_max: 1 << 20 };
    loop {
        let page = consumer.next_page(bounds, Instant::now() + patience).await?;
        for item in &page.items {
            match &item.reported.item {
                Item::Change(change) => match &change.values {
                    Ok(values) => {
                        take(format!("{} is now {:?}", change.key.id, values.after.fields));
                    }
                    Err(reason) => take(format!("{} cannot be read: {reason}", change.key.id)),
                },
                Item::Fork { author, seq } => {
                    take(format!("{} signed {seq} twice: read again", author.site));
                }
            }
        }
        // Only when all of it is dealt with: anyone who fails before sees it again.
        std::fs::write(cursor_file, consumer.cursor().to_string())?;
        if page.items.is_empty() && page.is_end {
            return Ok(());
        }
    }
}
