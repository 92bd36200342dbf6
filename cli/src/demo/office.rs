//! One office: a node with a data folder, sockets and an API of its own.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;

use branchline_crdt::ids::SiteId;
use branchline_crdt::record::{Value, View};
use branchline_crdt::replica::{LocalTransaction, RecordEdit};
use branchline_crdt::store::read;
use branchline_crdt::store::tables::records::RecordKey;
use branchline_node::init;
use branchline_node::{Config, Handle, Node, Settings};
use libp2p::Multiaddr;
use libp2p::multiaddr::Protocol;
use serde_json::json;

use super::error::DemoError;
use super::products::{merge, put};

/// The demo has twelve products and not many more sales.
const RECORDS_MAX: usize = 1000;

/// An office and its running node.
pub(super) struct Office {
    pub(super) name: &'static str,
    pub(super) handle: Handle,
    sales_made: usize,
    node: Node,
    config: Config,
}

/// What an office shows of one product, and of all its records.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Shown {
    pub(super) price: String,
    pub(super) stock: i64,
    /// Values of the price that were written without knowledge of each other; empty if it is one.
    pub(super) conflict: Vec<Written>,
    /// Records of all collections that are in conflict.
    pub(super) conflicts: usize,
    pub(super) products: u64,
    pub(super) sales: u64,
    pub(super) digest: String,
}

/// A value and who wrote it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Written {
    pub(super) value: String,
    pub(super) site: Option<SiteId>,
    /// ms since 1970, by the writer's clock.
    pub(super) time_ms: i64,
}

/// A record of `sales`.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Sale {
    pub(super) id: String,
    pub(super) product: String,
    pub(super) quantity: i64,
}

impl Office {
    /// Makes a site below `root` and starts its node.
    pub(super) async fn start(
        name: &'static str,
        root: &Path,
        found: bool,
        listen: Vec<Multiaddr>,
    ) -> Result<Self, DemoError> {
        let data = root.join(name);
        init(&data, name, found)?;
        let mut config = Config::new(data);
        config.settings = Settings { listen, mdns: false, ..Settings::default() };
        let node = Node::start(config.clone()).await?;
        Ok(Self { name, handle: node.handle(), sales_made: 0, node, config })
    }

    pub(super) async fn stop(self) {
        self.node.shutdown().await;
    }

    pub(super) fn site(&self) -> SiteId {
        self.node.site()
    }

    /// Sales that were made here since the node started.
    pub(super) fn sales_made(&self) -> usize {
        self.sales_made
    }

    /// Where its API listens.
    pub(super) fn api(&self) -> String {
        self.node.api_address().map(|api| format!("http://{api}")).unwrap_or_default()
    }

    /// The TCP socket on which others reach it.
    pub(super) fn socket(&self) -> Result<SocketAddr, DemoError> {
        let listening = self.handle.listening();
        let socket = listening.iter().find_map(|address| {
            let mut parts = address.iter();
            match (parts.next(), parts.next()) {
                (Some(Protocol::Ip4(ip)), Some(Protocol::Tcp(port))) => {
                    Some(SocketAddr::from((ip, port)))
                }
                (_, _) => None,
            }
        });
        socket.ok_or_else(|| DemoError::Claim {
            expected: format!("{} to listen on TCP", self.name),
            found: format!("{listening:?}"),
        })
    }

    /// Where others reach it, with its id.
    pub(super) fn address(&self) -> Result<Multiaddr, DemoError> {
        let socket = self.socket()?;
        let address = Multiaddr::from(socket.ip()).with(Protocol::Tcp(socket.port()));
        let peer = self.site().to_peer_id();
        Ok(peer.into_iter().fold(address, |address, peer| address.with(Protocol::P2p(peer))))
    }

    /// Writes a configuration with which `branchline run` finds the others again.
    pub(super) fn keep(&self, peers: Vec<Multiaddr>) -> Result<(), DemoError> {
        let listen = self.handle.listening();
        let settings = Settings { listen, peers, ..self.config.settings.clone() };
        let path = self.config.data.join(branchline_node::config::CONFIG_FILE);
        let written = toml::to_string(&settings)
            .map_err(std::io::Error::other)
            .and_then(|text| std::fs::write(&path, text));
        written.map_err(|source| DemoError::Folder { path, source })
    }

    /// One transaction: all of it is seen, or nothing.
    pub(super) async fn write(&self, edits: Vec<RecordEdit>) -> Result<(), DemoError> {
        let results = self.handle.write(vec![LocalTransaction { origin: None, edits }]).await?;
        for result in results {
            result.map_err(Box::new)?;
        }
        Ok(())
    }

    /// Sells: the sale and the stock in one transaction. Returns the stock that is left.
    pub(super) async fn sell(&mut self, product: &str, quantity: i64) -> Result<i64, DemoError> {
        let price = self.shows(product).await?.price;
        self.sales_made += 1;
        let id = format!("{}-{}", self.name, self.sales_made);
        let sale = json!({ "product": product, "quantity": quantity, "price": price });
        let taken = json!({ "stock": { "$inc": -quantity } });
        self.write(vec![put("sales", &id, sale), merge("products", product, taken)]).await?;
        Ok(self.shows(product).await?.stock)
    }

    /// Whether it is connected to `other`.
    pub(super) async fn sees(&self, other: &Self) -> Result<bool, DemoError> {
        let status = self.handle.replica_status().await?;
        Ok(status.sites.iter().any(|found| found.site == other.site() && found.connected))
    }

    /// Per member, how many entries it has not confirmed by its signed receipt; `None` where no receipt has come here.
    pub(super) async fn lags(&self) -> Result<Vec<(String, Option<u64>)>, DemoError> {
        let status = self.handle.replica_status().await?;
        Ok(status.sites.into_iter().map(|member| (member.name, member.lag_entries)).collect())
    }

    /// The addresses at which it would look for `other`.
    pub(super) async fn ways_to(&self, other: &Self) -> Result<Vec<Multiaddr>, DemoError> {
        let peers = self.handle.peers().await?;
        let found = peers.into_iter().find(|peer| Some(peer.peer) == other.site().to_peer_id());
        Ok(found.map(|peer| peer.known_addresses).unwrap_or_default())
    }

    /// The sum over all that it shows.
    pub(super) async fn digest(&self) -> Result<String, DemoError> {
        let digest = self.handle.read(read::digest).await?;
        Ok(digest.to_string())
    }

    /// What it shows of a product.
    pub(super) async fn shows(&self, product: &str) -> Result<Shown, DemoError> {
        let id = product.to_owned();
        let shown = self.handle.read(move |tables, space| {
            let key = RecordKey { space, collection: "products".to_owned(), id };
            let Some(view) = read::record(tables, &key)? else { return Ok(None) };
            let mut conflict = Vec::new();
            let of_price = view.conflicts.iter().find(|conflict| conflict.path == "price");
            for found in of_price.into_iter().flat_map(|conflict| &conflict.values) {
                conflict.push(Written {
                    value: text(Some(&found.value)),
                    site: read::author_of(tables, &found.actor)?.map(|author| author.site),
                    time_ms: found.time_ms,
                });
            }
            Ok(Some(Shown {
                price: text(view.fields.get("price")),
                stock: number(view.fields.get("stock")),
                conflict,
                conflicts: read::conflicted(tables, space, None, None, RECORDS_MAX)?.len(),
                products: read::collection(tables, space, "products")?.live,
                sales: read::collection(tables, space, "sales")?.live,
                digest: read::digest(tables, space)?.to_string(),
            }))
        });
        shown.await?.ok_or_else(|| DemoError::Claim {
            expected: format!("the product {product} at {}", self.name),
            found: "no such record".to_owned(),
        })
    }

    /// The stock of every product, by id.
    pub(super) async fn stocks(&self) -> Result<BTreeMap<String, i64>, DemoError> {
        let list = self.handle.read(|tables, space| {
            let records = read::list(tables, space, "products", None, RECORDS_MAX)?;
            let stock = |(id, view): (String, View)| (id, number(view.fields.get("stock")));
            Ok(records.into_iter().map(stock).collect())
        });
        Ok(list.await?)
    }

    /// All sales, by id.
    pub(super) async fn sales(&self) -> Result<Vec<Sale>, DemoError> {
        let list = self.handle.read(|tables, space| {
            let records = read::list(tables, space, "sales", None, RECORDS_MAX)?;
            let sale = |(id, view): (String, View)| Sale {
                id,
                product: text(view.fields.get("product")),
                quantity: number(view.fields.get("quantity")),
            };
            Ok(records.into_iter().map(sale).collect())
        });
        Ok(list.await?)
    }
}

/// TCP and QUIC on loopback, on free ports.
pub(super) fn on_loopback() -> Vec<Multiaddr> {
    let ip = Multiaddr::from(Ipv4Addr::LOCALHOST);
    let tcp = ip.clone().with(Protocol::Tcp(0));
    vec![tcp, ip.with(Protocol::Udp(0)).with(Protocol::QuicV1)]
}

fn text(value: Option<&Value>) -> String {
    match value.map(Value::to_json) {
        Some(serde_json::Value::String(text)) => text,
        Some(other) => other.to_string(),
        None => String::new(),
    }
}

fn number(value: Option<&Value>) -> i64 {
    value.and_then(|value| value.to_json().as_i64()).unwrap_or_default()
}
