//! What people are shown.

use serde::{Deserialize, Serialize};

/// An edge that the server has refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EdgeAnswer {
    /// What it is called: `orders/7:hasCustomer:customers/12`.
    pub id: String,
    /// The object where it begins, by collection and record.
    pub object: String,
    /// The property that it is.
    pub property: String,
    /// The object where it leads.
    pub target: String,
    /// How often it was refused.
    pub attempts: u32,
    /// Why it was refused last.
    pub error: String,
    /// When, in ms since 1970.
    pub failed_ms: Option<i64>,
    /// When it is tried again by itself; `None`: it waits for a change of its object, or a person.
    pub due_ms: Option<i64>,
}
