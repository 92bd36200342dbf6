//! What a sink would push.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use branchline_node::Handle;
use serde::Serialize;
use serde_json::Value as Json;

use super::group::look::{LookError, look};
use super::group::shape::Shape;
use super::push::{MadeItem, PushJob, Pusher, WantedItem};
use super::state::{DueGroup, SinkState, Which};
use crate::jobs::store::StoreError;

/// Groups that are looked at together.
const PAGE: usize = 100;

/// Why it cannot be said what a sink would push.
#[derive(Debug, thiserror::Error)]
pub enum SurveyError {
    /// The sink's own file.
    #[error(transparent)]
    State(#[from] StoreError),
    /// The records.
    #[error(transparent)]
    Look(#[from] LookError),
}

/// How much a sink would push.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counting {
    /// Groups that were looked at.
    pub groups: u64,
    /// Objects that would be created.
    pub create: u64,
    /// Objects that would be updated.
    pub update: u64,
    /// Objects that would be deleted.
    pub delete: u64,
    /// Groups of which nothing would be sent.
    pub unchanged: u64,
    /// Groups that are refused as they are, or have no representation.
    pub aside: u64,
}

impl Counting {
    /// What would be sent.
    #[must_use]
    pub fn pushes(&self) -> u64 {
        self.create + self.update + self.delete
    }

    pub(super) fn add(&mut self, other: &Self) {
        self.groups += other.groups;
        self.create += other.create;
        self.update += other.update;
        self.delete += other.delete;
        self.unchanged += other.unchanged;
        self.aside += other.aside;
    }
}

/// What would be sent of a group.
#[derive(Clone, Debug, PartialEq)]
pub struct PlannedItem {
    /// The primary record's id.
    pub id: String,
    /// `create`, `update`, `delete` or `set aside`.
    pub action: &'static str,
    /// What the object would be.
    pub representation: Option<Json>,
    /// Why it would be set aside.
    pub error: Option<String>,
}

/// Looks at groups without sending anything.
pub(super) struct Surveyor {
    pub(super) shape: Arc<Shape>,
    pub(super) node: Handle,
    pub(super) pusher: Arc<Pusher>,
}

/// Some of the groups.
pub(super) struct SurveyPage {
    /// The last of them; `None`: there are no more.
    pub(super) last: Option<String>,
    pub(super) counting: Counting,
}

impl Surveyor {
    /// Looks at the groups behind `after`, and shows `visit` what would be sent of them.
    pub(super) async fn page(
        &mut self,
        state: &mut SinkState,
        after: Option<&str>,
        mut visit: impl FnMut(PlannedItem),
    ) -> Result<SurveyPage, SurveyError> {
        let rows = state.groups(Which::All, after, PAGE).await?;
        let last = rows.last().map(|row| row.id.clone());
        let mut groups = Vec::with_capacity(rows.len());
        for row in &rows {
            groups.push((row.id.clone(), state.members(&self.shape, &row.id).await?));
        }
        let shape = Arc::clone(&self.shape);
        let looked = look(&self.node, shape, &self.pusher.collection, groups).await?;
        let mut counting = Counting::default();
        for (row, looked) in rows.into_iter().zip(looked) {
            let known = looked.known.clone().unwrap_or_default();
            let due = DueGroup { id: row.id, touch: 0, tries: 0, forced: 0 };
            let job = PushJob {
                due,
                gathered: looked.gathered,
                known: looked.known,
                stale: Arc::new(AtomicBool::new(false)),
            };
            let wanted = self.pusher.wanted(&job, &known).await;
            let planned = |action, made: Option<MadeItem>, error| PlannedItem {
                id: job.due.id.clone(),
                action,
                representation: made.map(|made| made.representation),
                error,
            };
            match wanted {
                WantedItem::Nothing => continue,
                WantedItem::Unchanged => counting.unchanged += 1,
                WantedItem::Aside => {
                    counting.aside += 1;
                    visit(planned("set aside", None, known.error.clone()));
                }
                WantedItem::Impossible(what) => {
                    counting.aside += 1;
                    visit(planned("set aside", None, Some(what)));
                }
                WantedItem::Create(made) => {
                    counting.create += 1;
                    visit(planned("create", Some(made), None));
                }
                WantedItem::Update(_, made) => {
                    counting.update += 1;
                    visit(planned("update", Some(made), None));
                }
                WantedItem::Delete => {
                    counting.delete += 1;
                    visit(planned("delete", None, None));
                }
            }
            counting.groups += 1;
        }
        Ok(SurveyPage { last, counting })
    }
}
