//! Rows that trade the values of a unique column, two and three at a time, beside one that is refused for good.

use std::collections::BTreeMap;

use branchline_connect::sql::bridges::Bridges;
use branchline_connect::sql::worker::BridgeCommand;
use branchline_crdt::record::Edit;
use branchline_crdt::replica::{LocalTransaction, RecordEdit};
use serde_json::json;

use super::office::{config, wait_until};
use super::story::World;

impl World {
    pub(crate) async fn trade(&self) {
        let table = "traded";
        let place = self.place(table).await;
        let mut session = place.session().await;
        for (id, code) in [(1, "a"), (2, "b"), (3, "c"), (4, "d"), (5, "e"), (6, "f")] {
            let row = format!("({id}, 'n', '1.00', 1, '{code}')");
            let insert = format!("INSERT INTO {table} (id, name, price, qty, code) VALUES {row}");
            session.run(&insert).await.unwrap();
        }
        let folder = self.head.path().join("connect-traded");
        std::fs::create_dir_all(&folder).unwrap();
        let settings = toml::toml! {
            table = "traded"
            collection = "traded"
            mode = "both"
            owner = "head"
            [fields]
            price = { kind = "decimal" }
            qty = { kind = "counter" }
        };
        let config = config(&place.url(), vec![toml::Value::Table(settings)]);
        let bridges = Bridges::new(self.head.handle(), folder);
        bridges.take_up(std::slice::from_ref(&config)).await;
        bridges.ask("shop", BridgeCommand::Install).await.unwrap().unwrap();
        wait_until("the rows are loaded", async || {
            bridges.reports().get("shop").is_some_and(|report| report.state == "running")
        })
        .await;
        bridges.ask("shop", BridgeCommand::Pause).await.unwrap().unwrap();
        // Two trade, three do so in a ring, and the last wants what another one will have.
        let wanted = [(1, "b"), (2, "a"), (3, "d"), (4, "e"), (5, "c"), (6, "a")];
        let edits = wanted.map(|(id, code)| {
            let patch = json!({ "code": code }).as_object().cloned().unwrap();
            RecordEdit::new(table, id.to_string(), Edit::Merge { patch, create: false })
        });
        let transaction = LocalTransaction { origin: None, edits: edits.to_vec() };
        self.head.handle().write(vec![transaction]).await.unwrap().remove(0).unwrap();
        bridges.ask("shop", BridgeCommand::Resume).await.unwrap().unwrap();
        let ring = BTreeMap::from([("3", "d"), ("4", "e"), ("5", "c")]);
        wait_until("three rows have traded", async || {
            let rows = place.session().await.rows(table).await;
            ring.iter().all(|(id, code)| rows[*id][3].as_deref() == Some(code))
        })
        .await;
        // Two records that are to have one value cannot both: once one of them gives way, all is well.
        let patch = json!({ "code": "g" }).as_object().cloned().unwrap();
        let edits = vec![RecordEdit::new(table, "6", Edit::Merge { patch, create: false })];
        let transaction = LocalTransaction { origin: None, edits };
        self.head.handle().write(vec![transaction]).await.unwrap().remove(0).unwrap();
        let all = BTreeMap::from([("1", "b"), ("2", "a"), ("6", "g")]);
        wait_until("two rows have traded", async || {
            let rows = place.session().await.rows(table).await;
            all.iter().all(|(id, code)| rows[*id][3].as_deref() == Some(code))
        })
        .await;
        wait_until("nothing is set aside any more", async || {
            let errors = bridges.ask("shop", BridgeCommand::Errors).await.unwrap().unwrap();
            errors["errors"] == json!([])
        })
        .await;
        bridges.stop().await;
    }
}
