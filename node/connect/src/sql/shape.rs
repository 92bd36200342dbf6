//! Tables as a database's catalogue has them, and the part of one that a bridge works on.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A table's name, and its schema where the database has such: `public.sales`, `sales`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct TableName {
    /// PostgreSQL's schema; `None` elsewhere.
    pub schema: Option<String>,
    /// The table.
    pub name: String,
}

impl fmt::Display for TableName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.schema {
            Some(schema) => write!(f, "{schema}.{}", self.name),
            None => f.write_str(&self.name),
        }
    }
}

/// What a column can hold, in terms common to the three databases. It decides which kinds of field fit the column, and
/// what is checked before a value is written, since databases round and cut without a word.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ColumnType {
    /// Whole numbers from `min` to `max`.
    Integer {
        /// The least.
        min: i128,
        /// The greatest.
        max: i128,
    },
    /// Exact numbers; `None`: of any number of digits (PostgreSQL's bare `numeric`).
    Decimal {
        /// All digits, and those behind the point.
        digits: Option<(u32, u32)>,
    },
    /// Floats of 32 or 64 bits.
    Float {
        /// Whether of 64 bits.
        is_double: bool,
    },
    /// True or false: `t`/`f` or `true`/`false` as text, 1 or 0 as a number.
    Boolean,
    /// Text.
    Text {
        /// Most characters.
        chars_max: Option<u64>,
        /// The characters that fit.
        charset: Charset,
        /// Whether blanks at the end do not count (`char(n)`).
        is_padded: bool,
    },
    /// Bytes.
    Bytes {
        /// Most bytes.
        bytes_max: Option<u64>,
        /// Filled up with zeros to so many bytes (`BINARY(n)`).
        padded_to: Option<u64>,
    },
    /// A date with a time.
    DateTime {
        /// Digits of a second's fraction that are kept.
        digits: u8,
        /// Whether it is a moment (PostgreSQL's `timestamptz`, MariaDB's `TIMESTAMP`); read and written in UTC.
        has_zone: bool,
    },
    /// A date, as text.
    Date,
    /// A time of day, as text.
    Time,
    /// JSON as the text that was written (`json`, MariaDB's JSON) or as the database normalises it (`jsonb`).
    Json {
        /// Whether the database normalises it.
        is_normalised: bool,
    },
    /// A UUID: 36 characters in lower case.
    Uuid,
    /// One of these labels, by text.
    Enum {
        /// The labels.
        labels: Vec<String>,
    },
    /// Some of these labels, with commas between, in the order of the definition (MariaDB's `SET`).
    Set {
        /// The labels.
        labels: Vec<String>,
    },
    /// Any value of SQLite, whose column does not keep what it is given (`NUMERIC`, `JSON`, `UUID` affinities).
    Loose,
    /// Anything else that has a text form which the database reads back (inet, arrays, ranges, intervals, xml, …).
    Other,
    /// What no field can keep.
    Refused {
        /// Why, and what to do.
        why: String,
    },
}

/// The characters that a text column takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Charset {
    /// All of Unicode.
    Unicode,
    /// All but U+0000 (PostgreSQL).
    UnicodeWithoutNul,
    /// The basic multilingual plane (MariaDB's utf8mb3): no emoji.
    BasicPlane,
    /// Latin 1.
    Latin1,
    /// ASCII.
    Ascii,
}

/// A column as the catalogue has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ColumnShape {
    /// Its name.
    pub name: String,
    /// Its type as the database writes it: `numeric(12,2)`, `bigint(20) unsigned`.
    pub declared: String,
    /// What it can hold.
    pub kind: ColumnType,
    /// Whether NULL is allowed.
    pub is_nullable: bool,
    /// Whether it has a default, so that an INSERT may leave it out.
    pub has_default: bool,
    /// Whether the database computes it (generated, virtual): never written, not captured.
    pub is_generated: bool,
    /// Whether the database numbers it (serial, identity, AUTO_INCREMENT, SQLite's INTEGER PRIMARY KEY).
    pub is_numbered: bool,
    /// Whether explicit values need `OVERRIDING SYSTEM VALUE` (identity ALWAYS).
    pub is_identity_always: bool,
    /// Why two keys that differ in bytes can be one key here (collations that ignore case, accents or trailing blanks).
    pub key_trap: Option<String>,
}

/// A unique index besides the primary key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UniqueIndex {
    /// Its name.
    pub name: String,
    /// Its columns; of an index over an expression or part of the rows, what there are.
    pub columns: Vec<String>,
    /// Whether it is plain: whole columns, all rows.
    pub is_plain: bool,
}

/// A foreign key, out of a table or into it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ForeignKey {
    /// Its name.
    pub name: String,
    /// The table that refers.
    pub from: TableName,
    /// Its columns.
    pub from_columns: Vec<String>,
    /// The table that is referred to.
    pub to: TableName,
    /// Its columns.
    pub to_columns: Vec<String>,
    /// `CASCADE`, `SET NULL`, `SET DEFAULT`, `RESTRICT` or `NO ACTION`.
    pub on_delete: String,
    /// The same for changes of the key.
    pub on_update: String,
}

impl ForeignKey {
    /// Whether the database changes rows of [`ForeignKey::from`] by itself.
    #[must_use]
    pub fn cascades(&self) -> bool {
        let is_passive = |action: &str| matches!(action, "RESTRICT" | "NO ACTION");
        !is_passive(&self.on_delete) || !is_passive(&self.on_update)
    }
}

/// A trigger on a table that is not the bridge's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TriggerShape {
    /// Its name.
    pub name: String,
    /// `BEFORE INSERT`, `AFTER UPDATE OR DELETE`.
    pub event: String,
    /// Whether it may fire for what the bridge writes.
    pub is_enabled: bool,
}

/// A table as the catalogue has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableShape {
    /// Its name, with the schema in which it was found.
    pub name: TableName,
    /// Its columns, in their order.
    pub columns: Vec<ColumnShape>,
    /// The columns of its primary key, in the key's order; empty where it has none.
    pub primary_key: Vec<String>,
    /// Unique indexes besides it.
    pub unique: Vec<UniqueIndex>,
    /// Foreign keys out of the table and into it; of servers also those further up whose cascades reach the table.
    pub foreign_keys: Vec<ForeignKey>,
    /// Triggers that are not the bridge's.
    pub triggers: Vec<TriggerShape>,
    /// Why no bridge can work on it: a view, an engine without transactions, row security, … each with what to do.
    pub refusals: Vec<String>,
    /// What a person should know of it.
    pub warnings: Vec<String>,
}

impl TableShape {
    /// A column by name.
    #[must_use]
    pub fn column(&self, name: &str) -> Option<&ColumnShape> {
        self.columns.iter().find(|column| column.name == name)
    }

    /// The foreign keys, of this table and of those further up, by whose cascades rows of this table are changed: what
    /// [`Bound::silent_cascades`] holds where the database fires no triggers for them (MariaDB).
    #[must_use]
    pub fn cascades_from_above(&self) -> Vec<ForeignKey> {
        let mut tables = vec![&self.name];
        let mut found: Vec<ForeignKey> = Vec::new();
        let mut next = 0;
        while let Some(table) = tables.get(next).copied() {
            next += 1;
            for key in self.foreign_keys.iter().filter(|key| key.from == *table && key.cascades()) {
                found.push(key.clone());
                if !tables.contains(&&key.to) {
                    tables.push(&key.to);
                }
            }
        }
        found
    }

    /// All that is unique besides these columns, the primary key included: what [`Bound::unique`] is for a table whose
    /// rows are named by `key`.
    #[must_use]
    pub fn unique_besides(&self, key: &[String]) -> Vec<UniqueIndex> {
        let primary = UniqueIndex {
            name: "PRIMARY KEY".to_owned(),
            columns: self.primary_key.clone(),
            is_plain: true,
        };
        let others = self.unique.iter().cloned().chain([primary]);
        let is_key = |index: &UniqueIndex| {
            index.columns.len() == key.len() && index.columns.iter().all(|name| key.contains(name))
        };
        others.filter(|index| !index.columns.is_empty() && !is_key(index)).collect()
    }
}

/// The part of a table that a bridge works on: all that is needed to write the SQL for it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bound {
    /// The table's number in the bridge, from 1, as notes have it. It never changes once installed.
    pub number: u32,
    /// The table.
    pub table: TableName,
    /// The columns that are read: those of the key and those that are mapped. [`Row`](super::cell::Row)s follow their order.
    pub columns: Vec<ColumnShape>,
    /// Which of the columns are the key's, in the key's order.
    pub key: Vec<usize>,
    /// SQL that is true for rows that are captured; `{site}` stands for this site's name, which is bound as a parameter.
    pub filter: Option<String>,
    /// The site's name as it was when the bridge was installed.
    pub site: String,
    /// Unique indexes besides the key, where rows can vanish by `REPLACE` (SQLite).
    pub unique: Vec<UniqueIndex>,
    /// Whether the table is captured, so that it has triggers.
    pub is_captured: bool,
    /// Whether a cascade of the table changes rows of the same table, so that the guard would hide them.
    pub cascades_to_itself: bool,
    /// Foreign keys of this table and of those further up by whose cascades its rows are changed without its triggers: of
    /// MariaDB [`TableShape::cascades_from_above`], else empty.
    pub silent_cascades: Vec<ForeignKey>,
}

impl Bound {
    /// The key's columns, in the key's order.
    pub fn key_columns(&self) -> impl Iterator<Item = &ColumnShape> {
        self.key.iter().filter_map(|index| self.columns.get(*index))
    }
}
