//! `[[bridge]]` of `branchline.toml`.
//!
//! ```toml
#![doc = include_str!("example.toml")]
//! ```

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use serde::de::value::MapAccessDeserializer;
use serde::de::{self, Deserializer, MapAccess, Visitor};
use serde::{Deserialize, Serialize};

use super::codec::{TimeForm, ZeroDate};

/// A bridge: one database, and the tables of it that are kept in step.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BridgeConfig {
    /// Its name, unique at this site: lower-case letters, digits, `-` and `_`.
    pub name: String,
    /// `postgres://USER@HOST/DATABASE`, `mysql://USER@HOST/DATABASE` (MariaDB) or `sqlite:PATH`.
    pub url: String,
    /// A file that holds the password.
    #[serde(default)]
    pub password_file: Option<PathBuf>,
    /// The space of the collections.
    #[serde(default = "main_space")]
    pub space: String,
    /// How often the database is looked at: `100ms`, `1s`.
    #[serde(default = "poll_default")]
    pub poll: String,
    /// PostgreSQL: whether triggers are to wake the bridge while it sleeps. Not built yet: only `false` is taken.
    #[serde(default)]
    pub notify: bool,
    /// The tables.
    #[serde(default, rename = "table")]
    pub tables: Vec<TableConfig>,
}

/// A table of a bridge.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TableConfig {
    /// The table, as `NAME` or `SCHEMA.NAME`.
    pub table: String,
    /// The collection.
    pub collection: String,
    /// Which way.
    pub mode: Mode,
    /// The columns that name a row; default: the primary key.
    #[serde(default)]
    pub key: Vec<String>,
    /// How a row's record is called: columns and fields in braces, `{site}` for this site's name. Default: the key's
    /// values, joined by `-`.
    #[serde(default)]
    pub record_id: Option<String>,
    /// Captured rows: SQL of the database that is true for the rows that count, `{site}` for this site's name. Applied
    /// records: a filter, in the language of `list --where`.
    #[serde(default, rename = "where")]
    pub filter: Option<String>,
    /// What becomes of the other side when a row or record leaves the filter.
    #[serde(default)]
    pub on_leave: BridgeOnLeave,
    /// A column that says that a row is deleted: a time or a boolean. Default: rows are deleted.
    #[serde(default)]
    pub deleted: Option<String>,
    /// A column, time or boolean, that says that the row was handed to a link.
    #[serde(default)]
    pub sent: Option<String>,
    /// A column, time or boolean, that says that `acked_by` holds the row durably.
    #[serde(default)]
    pub acked: Option<String>,
    /// The name of the site whose receipt counts.
    #[serde(default)]
    pub acked_by: Option<String>,
    /// Without the receipt by then, `sent` is taken back: `1h`.
    #[serde(default = "ack_timeout_default")]
    pub ack_timeout: String,
    /// What to do about the application's own triggers and cascades on an applied table.
    #[serde(default)]
    pub side_effects: Option<SideEffects>,
    /// The part of a table that may be deleted at once without a person's word: `20%`.
    #[serde(default = "mass_change_default")]
    pub mass_change: String,
    /// The name of the site whose first value of a counter counts where several offices load the same row.
    #[serde(default)]
    pub owner: Option<String>,
    /// The time zone of columns that have none: `Europe/Madrid`.
    #[serde(default)]
    pub zone: Option<String>,
    /// What a MariaDB date of zeros is.
    #[serde(default)]
    pub zero_date: ZeroDate,
    /// Whether a person accepts that a column cannot keep all that a field can.
    #[serde(default)]
    pub lossy: bool,
    /// What differs from the fields that `bridge plan` finds by itself, by column.
    #[serde(default)]
    pub fields: BTreeMap<String, FieldConfig>,
}

/// Which way a table is kept in step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// From the table to the collection.
    Capture,
    /// From the collection to the table.
    Apply,
    /// Both.
    Both,
}

impl Mode {
    /// As the configuration writes it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Capture => "capture",
            Self::Apply => "apply",
            Self::Both => "both",
        }
    }

    /// Whether rows become records.
    #[must_use]
    pub fn captures(self) -> bool {
        matches!(self, Self::Capture | Self::Both)
    }

    /// Whether records become rows.
    #[must_use]
    pub fn applies(self) -> bool {
        matches!(self, Self::Apply | Self::Both)
    }
}

/// What becomes of the other side when a row or record leaves the filter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BridgeOnLeave {
    /// It stays as it is.
    #[default]
    Keep,
    /// It is deleted.
    Delete,
}

/// What to do about an application's triggers and cascades.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SideEffects {
    /// What they change is captured like any change of the application.
    Capture,
    /// The table is not bridged while there are any.
    Refuse,
}

/// How one column is mapped: a field's name, or a table.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub enum FieldConfig {
    /// The field is called so.
    Name(String),
    /// Any of these.
    Table(FieldTable),
}

/// By hand, so that an error names the key that is wrong.
impl<'de> Deserialize<'de> for FieldConfig {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;
        impl<'de> Visitor<'de> for Either {
            type Value = FieldConfig;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("the name of a field, or a table like { field = \"price\", kind = \"decimal\" }")
            }

            fn visit_str<E: de::Error>(self, name: &str) -> Result<FieldConfig, E> {
                Ok(FieldConfig::Name(name.to_owned()))
            }

            fn visit_map<M: MapAccess<'de>>(self, map: M) -> Result<FieldConfig, M::Error> {
                FieldTable::deserialize(MapAccessDeserializer::new(map)).map(FieldConfig::Table)
            }
        }
        deserializer.deserialize_any(Either)
    }
}

/// How one column is mapped, in full.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct FieldTable {
    /// The field; default: the column's name.
    pub field: Option<String>,
    /// The field's kind, as schemas name it.
    pub kind: Option<String>,
    /// How the column holds a time, where its type does not say: `text`, `unix`, `unix-ms` or `julian`.
    pub form: TimeForm,
    /// The column is left out.
    pub skip: bool,
    /// A field that no column has, with this text; `{site}` is this site's name.
    pub constant: Option<String>,
}

fn main_space() -> String {
    "main".to_owned()
}

fn poll_default() -> String {
    "100ms".to_owned()
}

fn ack_timeout_default() -> String {
    "1h".to_owned()
}

fn mass_change_default() -> String {
    "20%".to_owned()
}
