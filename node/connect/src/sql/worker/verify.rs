//! Verifying: rows against their views, and views against their records.

use serde_json::json;

use super::BridgeWorker;
use super::apply::wanted::agrees;
use super::command::BridgeAnswer;
use super::rows::is_as_viewed;
use crate::sql::cell::Key;

/// Differences that are named; the others are counted.
const NAMED_MAX: usize = 100;
/// Rows that are verified at a time.
const VERIFIED_AT_A_TIME: usize = 1_000;

impl BridgeWorker {
    /// Compares rows with their views, and views with their records.
    pub(super) async fn verify(&mut self, table: Option<&str>, repair: bool) -> BridgeAnswer {
        let mut answers = Vec::new();
        for mapping in self.meant(table)? {
            let bound = &mapping.bound;
            let (mut rows, mut differing, mut named) = (0_u64, 0_u64, Vec::new());
            let mut differs = |what: &str, key: String| {
                differing += 1;
                if named.len() < NAMED_MAX {
                    named.push(json!({ "what": what, "name": key }));
                }
            };
            let mut after: Option<Key> = None;
            loop {
                self.database.begin_read(std::slice::from_ref(bound)).await?;
                let page = self.database.page(bound, after.as_ref(), VERIFIED_AT_A_TIME).await?;
                self.database.end_read().await?;
                let Some(last) = page.last() else { break };
                after = Some(last.key.clone());
                let keys: Vec<Key> = page.iter().map(|read| read.key.clone()).collect();
                let views = self.state.views(bound.number, &keys).await?;
                for read in &page {
                    rows += 1;
                    match views.get(&read.key) {
                        Some(view) if is_as_viewed(&mapping, &read.row, view) => {}
                        Some(_) => {
                            differs("the row is not as the node knows it", read.key.to_text())
                        }
                        None if !read.is_captured
                            || mapping.is_deleted(&read.row).unwrap_or(true) => {}
                        None => differs("the node does not know the row", read.key.to_text()),
                    }
                }
            }
            let mut after: Option<Key> = None;
            loop {
                let views = self.state.views_behind(
                    bound.number,
                    bound.key.len(),
                    after.as_ref(),
                    VERIFIED_AT_A_TIME,
                );
                let views = views.await?;
                let Some(last) = views.last() else { break };
                after = Some(last.key.clone());
                let ids = views.iter().map(|view| view.id.clone()).collect();
                let records = self.records(&mapping.collection, ids).await?;
                let keys: Vec<Key> = views.iter().map(|view| view.key.clone()).collect();
                for found in self.read_rows(bound, keys).await? {
                    if found.row.is_none() {
                        differs("the row is gone", found.key.to_text());
                    }
                }
                for view in &views {
                    let is_same = agrees(&mapping, view, records.get(&view.id));
                    if !is_same {
                        differs("row and record differ", view.id.clone());
                    }
                }
            }
            if repair && differing > 0 {
                self.compare_again(bound.number).await?;
            }
            answers.push(json!({
                "table": bound.table.to_string(),
                "rows": rows,
                "differing": differing,
                "differences": named,
                "repairing": repair && differing > 0,
            }));
        }
        self.reread_tables().await?;
        Ok(json!({ "tables": answers }))
    }
}
