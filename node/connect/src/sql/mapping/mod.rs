//! A table's settings and its shape together: which column is which field, or why not.
//!
//! [`map`] makes a [`Mapping`] or says by name why there is none; it reads nothing but its arguments. The methods of a
//! [`Mapping`] are what the worker needs of it: a row as a record's fields, the difference of two rows, a record as a row
//! to insert or to update, and the ids between.

mod build;
mod checks;
mod rows;
#[cfg(test)]
mod tests;
mod units;

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json};

pub use build::{map, map_as};
pub use rows::{Address, Difference, RecordFields};
pub(in crate::sql) use units::nearest;

use super::codec::{Codec, FieldKind};
use super::config::{BridgeOnLeave, Mode, SideEffects};
use super::database::Engine;
use super::record_id::IdTemplate;
use super::shape::Bound;
use super::value::{Filter, Schema, Value};

/// How a table and a collection are kept in step.
#[derive(Clone, Debug)]
pub struct Mapping {
    /// What the database is asked with.
    pub bound: Bound,
    /// The kind of database.
    pub engine: Engine,
    /// Which way.
    pub mode: Mode,
    /// The collection.
    pub collection: String,
    /// How records are called.
    pub template: IdTemplate,
    /// The columns of [`Mapping::bound`], in its order.
    pub columns: Vec<MappedColumn>,
    /// Fields that no column has, and what they hold.
    pub constants: BTreeMap<String, String>,
    /// The column of [`Mapping::bound`] that says that a row is deleted. `None`: rows are deleted.
    pub deleted: Option<usize>,
    /// The column that says that a row was handed to a link. It is not among those that are read.
    pub sent: Option<String>,
    /// The column that says that `acked_by` holds the row. It is not among those that are read.
    pub acked: Option<String>,
    /// The name of the site whose receipt counts.
    pub acked_by: Option<String>,
    /// Without the receipt by then, `sent` is taken back.
    pub ack_timeout: Duration,
    /// A filter on records that are applied, in the language of `list --where`: [`Mapping::filter`].
    pub record_filter: Option<String>,
    /// What becomes of the other side when a row or record leaves the filter.
    pub on_leave: BridgeOnLeave,
    /// Whether a counter's first value counts where this office loads a row: no other office is named as its owner.
    pub is_owner: bool,
    /// What to do about the application's triggers and cascades; always there where they matter.
    pub side_effects: Option<SideEffects>,
    /// The part of the table's rows that may be deleted at once without a person's word, from 0 to 1.
    pub mass_change: f64,
}

/// A column that is read.
#[derive(Clone, Debug)]
pub struct MappedColumn {
    /// The field. `None`: the column is read for the key alone, or says that the row is deleted.
    pub field: Option<String>,
    /// Between its cells and the field's values.
    pub codec: Codec,
    /// Whether it is part of the key. A key's field is written when a record begins, and never after.
    pub is_key: bool,
}

impl MappedColumn {
    /// Whether it is a counter.
    #[must_use]
    pub fn is_counter(&self) -> bool {
        self.codec.field() == FieldKind::Counter
    }
}

impl Mapping {
    /// The kinds of the fields, by name: what the collection's schema has to say.
    #[must_use]
    pub fn kinds(&self) -> BTreeMap<String, FieldKind> {
        let columns = self.columns.iter().filter_map(|column| {
            column.field.as_ref().map(|field| (field.clone(), column.codec.field()))
        });
        let constants = self.constants.keys().map(|field| (field.clone(), FieldKind::String));
        columns.chain(constants).collect()
    }

    /// The schema that the collection needs, as `schema apply` takes it.
    #[must_use]
    pub fn schema(&self) -> Json {
        let fields = self.kinds().into_iter().map(|(field, kind)| (field, kind.as_str().into()));
        let fields: Map<String, Json> = fields.collect();
        Json::Object(Map::from_iter([(self.collection.clone(), Json::Object(fields))]))
    }

    /// The filter on records, read.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn filter(&self) -> Result<Option<Filter>, String> {
        let Some(text) = &self.record_filter else { return Ok(None) };
        let declared = |(field, kind): (String, FieldKind)| (field, Value::Str(kind.to_string()));
        let schema = Schema::from_fields(&self.kinds().into_iter().map(declared).collect());
        let schema = schema.map_err(|error| error.to_string())?;
        Filter::parse(text, &schema).map(Some).map_err(|error| error.to_string())
    }
}

/// Why a table cannot be bridged as it is configured.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// The column or setting.
    pub what: String,
    /// Why, and what to do.
    pub why: String,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.what, self.why)
    }
}

/// What a column is to the bridge.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Names the row.
    Key,
    /// Is a field.
    Field,
    /// Is a field to which the changes of all offices add up.
    Counter,
    /// A field that no column has.
    Constant,
    /// Says that the row is deleted.
    Deleted,
    /// Says that the row was handed to a link.
    Sent,
    /// Says that another office holds the row.
    Acked,
    /// Computed by the database.
    Generated,
    /// Left out.
    Skipped,
}

impl Role {
    /// Its name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Key => "key",
            Self::Field => "field",
            Self::Counter => "counter",
            Self::Constant => "constant",
            Self::Deleted => "deleted",
            Self::Sent => "sent",
            Self::Acked => "acked",
            Self::Generated => "generated",
            Self::Skipped => "skipped",
        }
    }
}

/// A column as `bridge plan` shows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line {
    /// The column; empty for a field that no column has.
    pub column: String,
    /// Its type, as the database writes it.
    pub declared: String,
    /// What it is to the bridge.
    pub role: Role,
    /// The field.
    pub field: Option<String>,
    /// The field's kind.
    pub kind: Option<FieldKind>,
    /// What a person should know of it.
    pub note: String,
}

/// What became of a table's settings.
#[derive(Clone, Debug)]
pub struct Mapped {
    /// The mapping, where nothing is refused.
    pub mapping: Option<Mapping>,
    /// The columns, also of a table that is refused.
    pub lines: Vec<Line>,
    /// Why it is refused.
    pub refusals: Vec<Refusal>,
    /// What a person should know.
    pub warnings: Vec<String>,
}

impl Mapped {
    /// The mapping.
    ///
    /// # Errors
    /// Why there is none.
    pub fn into_result(self) -> Result<Mapping, Vec<Refusal>> {
        self.mapping.ok_or(self.refusals)
    }
}
