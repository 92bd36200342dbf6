//! A till: it sells whether or not a line to the other offices is up, and a sale that is booked twice counts once.
//!
//! `cargo run -p branchline-node --example till -- DATA-FOLDER`

use std::error::Error;
use std::path::Path;

use branchline_node::init;
use branchline_node::records::{NotWritten, Origin, Written};
use branchline_node::{Config, Handle, Node};
use serde_json::json;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let data = std::env::args().nth(1).unwrap_or("till-data".to_owned());
    let data = Path::new(&data);
    if !data.join("site.json").exists() {
        // The first till founds the network. Others join it with a ticket: `branchline join FILE`.
        init(data, "till", true)?;
    }
    let node = Node::start(Config::new(data)).await?;
    let sold = sell(&node.handle(), 1, "tea", 2).await?;
    println!("sale 1: {} records changed, durable in entry {:?}", sold.records_changed, sold.entry);
    node.shutdown().await;
    Ok(())
}

/// Books a sale: the stock and the sale itself, together or not at all. The number is the till's own; booking it again
/// changes nothing.
pub(crate) async fn sell(
    till: &Handle,
    number: u64,
    product: &str,
    quantity: i64,
) -> Result<Written, NotWritten> {
    let sale = json!({ "product": product, "quantity": quantity });
    till.transaction()
        .origin(Origin { source: format!("till {:.40}", till.site().to_string()), number })
        .merge("products", product, json!({ "stock": { "$inc": -quantity } }))
        .merge("sales", &format!("{}-{number}", till.site()), sale)
        .commit()
        .await
}
