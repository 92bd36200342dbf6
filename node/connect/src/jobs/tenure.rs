//! Which site runs a connector, where all sites can see it. Two that push the same orders would double them.
//!
//! The collection `connectors` has a record for each, `source crm` or `sink netsuite`. Its field `holder` names the term, a
//! number that grows with each takeover, and the site. A connector begins where it is configured and no record stands yet;
//! where another site's stands, it rests until somebody takes it over. Of two sites that begin while they cannot hear each
//! other, the one that the record shows in the end goes on.

use branchline_node::Handle;
use branchline_node::handle::{ReadError, Stopped};
use branchline_node::records::{Expected, NotWritten, Value, Version, View, WriteError};
use jiff::Timestamp;
use serde_json::json;

/// The collection.
pub const CONNECTORS: &str = "connectors";

/// Who runs a connector, and since when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tenure {
    /// The site's id.
    pub site: String,
    /// How often the connector has been taken over, from 1. What is sent under a lower term than another is out of date.
    pub term: u64,
    /// Since when, by that site's clock.
    pub since: String,
}

/// Why it is not known, or could not be settled, who runs a connector.
#[derive(Debug, thiserror::Error)]
pub enum TenureError {
    /// The record cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The record cannot be written.
    #[error(transparent)]
    Write(#[from] NotWritten),
    /// The record holds something else.
    #[error(
        "the record {key:?} of {CONNECTORS} has no holder that can be read: found {found}, expected a number and a site's id"
    )]
    Unreadable {
        /// The record.
        key: String,
        /// What was found.
        found: String,
    },
}

impl Tenure {
    /// Who runs a connector, by its record; `None`: nobody has begun it.
    ///
    /// # Errors
    /// [`TenureError`].
    pub async fn look(node: &Handle, key: &str) -> Result<Option<Self>, TenureError> {
        match node.get(CONNECTORS, key).await? {
            Some(view) => Ok(Some(Self::of(key, &view)?)),
            None => Ok(None),
        }
    }

    /// Who runs a connector: this site, if nobody has begun it yet.
    ///
    /// # Errors
    /// [`TenureError`].
    pub async fn look_or_begin(node: &Handle, key: &str) -> Result<Self, TenureError> {
        if let Some(tenure) = Self::look(node, key).await? {
            return Ok(tenure);
        }
        let first = Self::mine(node, 1);
        match first.write(node, key, Expected::Missing).await {
            Ok(()) => Ok(first),
            // Somebody's record came in between.
            Err(NotWritten::Write(WriteError::Edit(error))) => match Self::look(node, key).await? {
                Some(tenure) => Ok(tenure),
                None => Err(NotWritten::Write(WriteError::Edit(error)).into()),
            },
            Err(error) => Err(error.into()),
        }
    }

    /// From now on this site runs the connector; anyone who ran it before stops when it hears of that.
    ///
    /// # Errors
    /// [`TenureError`].
    pub async fn take_over(node: &Handle, key: &str) -> Result<Self, TenureError> {
        let Some(view) = node.get(CONNECTORS, key).await? else {
            return Self::look_or_begin(node, key).await;
        };
        let now = Self::of(key, &view)?;
        if now.is_of(node) {
            return Ok(now);
        }
        let next = Self::mine(node, now.term.saturating_add(1));
        next.write(node, key, Expected::OneOf(vec![Version::of(&view)])).await?;
        Ok(next)
    }

    /// What the site is called for people.
    ///
    /// # Errors
    /// The node has stopped.
    pub async fn site_name(&self, node: &Handle) -> Result<String, Stopped> {
        let names = node.names().await?;
        let of = names.into_iter().find(|(site, _)| site.to_string() == self.site);
        Ok(of.map_or_else(|| self.site.clone(), |(_, name)| name))
    }

    /// Whether it is this site that runs it.
    #[must_use]
    pub fn is_of(&self, node: &Handle) -> bool {
        self.site == node.site().to_string()
    }

    fn mine(node: &Handle, term: u64) -> Self {
        let since = Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
        Self { site: node.site().to_string(), term, since }
    }

    async fn write(&self, node: &Handle, key: &str, expected: Expected) -> Result<(), NotWritten> {
        // One field: of two that begin at once, term and site are of the same one.
        let holder = format!("{} {}", self.term, self.site);
        let fields = json!({ "holder": holder, "since": self.since });
        let transaction = node.transaction().put(CONNECTORS, key, fields).expected(expected);
        transaction.commit().await.map(|_| ())
    }

    fn of(key: &str, view: &View) -> Result<Self, TenureError> {
        let holder = text(view, "holder").unwrap_or_default();
        let (term, site) = holder.split_once(' ').unwrap_or_default();
        match term.parse() {
            Ok(term) if !site.is_empty() => Ok(Self {
                site: site.to_owned(),
                term,
                since: text(view, "since").unwrap_or_default().to_owned(),
            }),
            Ok(_) | Err(_) => {
                Err(TenureError::Unreadable { key: key.to_owned(), found: format!("{holder:?}") })
            }
        }
    }
}

/// The text that a field of a record holds; `None`: it holds none.
pub(crate) fn text<'a>(view: &'a View, name: &str) -> Option<&'a str> {
    match view.fields.get(name) {
        Some(Value::Str(text) | Value::Text(text)) => Some(text),
        Some(_) | None => None,
    }
}
