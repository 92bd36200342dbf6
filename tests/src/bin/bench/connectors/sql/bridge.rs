//! A node in this process, with a bridge.

use std::path::Path;
use std::time::Duration;

use branchline_connect::sql::bridges::Bridges;
use branchline_connect::sql::config::BridgeConfig;
use branchline_connect::sql::worker::BridgeCommand;
use branchline_crdt::record::Edit;
use branchline_crdt::replica::{LocalTransaction, RecordEdit};
use branchline_crdt::store::read;
use branchline_crdt::store::tables::records::RecordKey;
use branchline_node::Handle;

use super::Engine;
use super::database::Place;
use crate::between::live::write_all;
use crate::client::BATCH;
use crate::records::{self, COLLECTION};
use crate::site;

/// The table and the bridge.
pub(super) const TABLE: &str = "sales";
pub(super) const NAME: &str = "shop";
/// How often it is looked whether a bridge is done.
const PAUSE: Duration = Duration::from_millis(5);

/// A bridge of the table `sales`, as a configuration has it that says no more than it must. `mode`: capture or apply.
pub(super) fn config(place: &Place, mode: &str) -> BridgeConfig {
    let (zone, fields) = match place.engine {
        Engine::Postgres => ("", ""),
        Engine::MariaDb => {
            ("zone = \"UTC\"", "sold = { kind = \"datetime\" }\nmember = { kind = \"boolean\" }")
        }
        Engine::Sqlite => ("zone = \"UTC\"", "unit_price = { kind = \"decimal\" }"),
    };
    let text = format!(
        "name = \"{NAME}\"\nurl = \"{}\"\n[[table]]\ntable = \"{TABLE}\"\ncollection = \"{COLLECTION}\"\nmode = \"{mode}\"\n\
         {zone}\n[table.fields]\n{fields}",
        place.url
    );
    toml::from_str(&text).expect("a configuration")
}

/// A node's bridges, of which one is configured and not installed.
pub(super) async fn bridges(node: Handle, folder: &Path, config: &BridgeConfig) -> Bridges {
    let folder = folder.join("connect");
    std::fs::create_dir_all(&folder).expect("a folder");
    let bridges = Bridges::new(node, folder);
    bridges.take_up(std::slice::from_ref(config)).await;
    bridges
}

pub(super) async fn ask(bridges: &Bridges, command: BridgeCommand) {
    let answer = bridges.ask(NAME, command.clone()).await.expect("the bridge");
    if let Err(error) = answer {
        panic!("{command:?}: {error}");
    }
}

/// Waits until nothing is left of what was there before.
pub(super) async fn wait_until_running(bridges: &Bridges) {
    let is_running = async || {
        let reports = bridges.reports();
        let tables = &reports[NAME].tables;
        !tables.is_empty() && tables.iter().all(|table| table.state == "running")
    };
    site::until("the bridge has caught up", PAUSE, is_running).await;
}

/// Waits until a node has the record.
pub(super) async fn wait_for_record(node: &Handle, number: usize) {
    let has = async || {
        let read = node.read(move |tables, space| {
            let (collection, id) = (COLLECTION.to_owned(), records::id(number));
            read::record(tables, &RecordKey { space, collection, id })
        });
        read.await.expect("a running node").is_some_and(|view| !view.heads.is_empty())
    };
    site::until("the record is there", PAUSE, has).await;
}

/// The records that a node has.
pub(super) async fn count(node: &Handle) -> usize {
    let read = node.read(|tables, space| {
        let mut count = 0;
        read::each_row(tables, space, COLLECTION, None, |_, _| {
            count += 1;
            Ok(true)
        })?;
        Ok(count)
    });
    read.await.expect("a running node")
}

/// The records as a captured table has them, written in batches of transactions of one record: seconds in the node.
pub(super) async fn write(node: &Handle, count: usize) -> f64 {
    let mut seconds = 0.0;
    for batch in records::batches(count, BATCH) {
        let transaction = |number| LocalTransaction { origin: None, edits: vec![edit(number)] };
        let batch = batch.map(transaction).collect();
        let started = std::time::Instant::now();
        write_all(node, batch).await;
        seconds += started.elapsed().as_secs_f64();
    }
    seconds
}

fn edit(number: usize) -> RecordEdit {
    let id = records::id(number);
    let mut fields = records::fields(number);
    fields.insert("id".to_owned(), id.clone().into());
    RecordEdit::new(COLLECTION, &id, Edit::Put(fields))
}
