//! Which kinds of fields a column can be.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::{Options, TimeForm};
use crate::sql::database::Engine;
use crate::sql::shape::{ColumnShape, ColumnType};
use crate::sql::value::DECIMAL_DIGITS_MAX;

/// The kinds of fields that one cell can be: all of a schema's but `list` and `map`, which merge by parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FieldKind {
    /// A string, replaced as a whole.
    String,
    /// A whole number of 64 bits.
    Integer,
    /// A float of 64 bits.
    Float,
    /// True or false.
    Boolean,
    /// A moment, in milliseconds.
    Timestamp,
    /// A time to the nanosecond, in UTC or without a zone, as text.
    Datetime,
    /// Bytes.
    Bytes,
    /// An exact number, as text.
    Decimal,
    /// A number to which concurrent increments add up.
    Counter,
    /// A text in which concurrent edits merge.
    Text,
}

impl FieldKind {
    const ALL: [Self; 10] = [
        Self::String,
        Self::Integer,
        Self::Float,
        Self::Boolean,
        Self::Timestamp,
        Self::Datetime,
        Self::Bytes,
        Self::Decimal,
        Self::Counter,
        Self::Text,
    ];

    /// The name that schemas have for it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::String => "string",
            Self::Integer => "integer",
            Self::Float => "float",
            Self::Boolean => "boolean",
            Self::Timestamp => "timestamp",
            Self::Datetime => "datetime",
            Self::Bytes => "bytes",
            Self::Decimal => "decimal",
            Self::Counter => "counter",
            Self::Text => "text",
        }
    }

    /// Whether it is a date with a time.
    #[must_use]
    pub fn is_time(self) -> bool {
        matches!(self, Self::Timestamp | Self::Datetime)
    }
}

impl fmt::Display for FieldKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for FieldKind {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let known = Self::ALL.into_iter().find(|kind| kind.as_str() == text);
        known.ok_or_else(|| match text {
            "list" | "map" => format!(
                "a column is written as a whole, and a {text} merges by its parts: use the kind string, which keeps the text"
            ),
            _ => {
                let names: Vec<&str> = Self::ALL.into_iter().map(Self::as_str).collect();
                format!("{text:?} is no kind of field; a column can be: {}", names.join(", "))
            }
        })
    }
}

/// Checks that fields of this kind can hold what the column does.
pub(super) fn check(
    shape: &ColumnShape,
    field: FieldKind,
    options: &Options,
) -> Result<(), String> {
    use FieldKind::{
        Boolean, Bytes, Counter, Datetime, Decimal, Float, Integer, String, Text, Timestamp,
    };
    let is_sqlite = options.engine == Engine::Sqlite;
    let wrong = || {
        let fits = infer(shape, false, options).map(|kind| format!(", use the kind {kind}"));
        Err(format!("{} cannot be a {field}{}", shape.declared, fits.unwrap_or_default()))
    };
    let demand_lossy = |why: &str| {
        if options.is_lossy {
            Ok(())
        } else {
            Err(format!("{why}; lossy = true for the table accepts that"))
        }
    };
    if options.form != TimeForm::Text && !field.is_time() {
        return Err(format!("form is for the kinds timestamp and datetime, not for {field}"));
    }
    match (&shape.kind, field) {
        (ColumnType::Refused { why }, _) => Err(why.clone()),
        (ColumnType::Integer { min, max }, Integer | Counter) => {
            check_range(*min, *max, shape)?;
            check_counter(shape, field)
        }
        (ColumnType::Integer { .. }, Decimal | Boolean) => Ok(()),
        (ColumnType::Integer { .. }, Timestamp | Datetime) => match options.form {
            TimeForm::Unix | TimeForm::UnixMs => Ok(()),
            TimeForm::Text | TimeForm::Julian => {
                Err("whole numbers: say form = \"unix\" (seconds) or \"unix-ms\"".to_owned())
            }
        },
        (ColumnType::Decimal { digits }, Decimal) => match digits {
            Some((all, _)) if u64::from(*all) > DECIMAL_DIGITS_MAX as u64 => {
                demand_lossy(&format!(
                    "{} has {all} digits, decimals of the node have {DECIMAL_DIGITS_MAX}: longer numbers would be set aside",
                    shape.declared
                ))
            }
            Some(_) | None => Ok(()),
        },
        (ColumnType::Decimal { digits: Some((_, 0)) }, Integer) => Ok(()),
        (ColumnType::Decimal { .. }, Counter) => {
            Err("a counter is a whole number: only integer columns can be one".to_owned())
        }
        (ColumnType::Decimal { .. }, Float) => demand_lossy("floats do not keep all decimals"),
        (ColumnType::Float { .. }, Decimal) => demand_lossy("the column keeps floats"),
        (ColumnType::Float { .. }, Timestamp | Datetime) if is_sqlite => match options.form {
            TimeForm::Text => Err("numbers: say form = \"unix\" or \"julian\"".to_owned()),
            TimeForm::Unix | TimeForm::UnixMs | TimeForm::Julian => Ok(()),
        },
        (ColumnType::Float { .. }, Float) | (ColumnType::Boolean, Boolean) => Ok(()),
        (ColumnType::Text { .. }, Text) if shape.is_nullable => {
            Err("a field of the kind text is never NULL, and the column may be: use string"
                .to_owned())
        }
        (ColumnType::Text { .. }, String | Text | Decimal) | (ColumnType::Bytes { .. }, Bytes) => {
            Ok(())
        }
        (ColumnType::Text { .. }, Timestamp | Datetime) if options.form == TimeForm::Text => Ok(()),
        (ColumnType::DateTime { .. }, Timestamp | Datetime)
            if options.form != TimeForm::Text && !is_sqlite =>
        {
            Err("form is for columns of numbers".to_owned())
        }
        (ColumnType::Date, Timestamp | Datetime) if is_sqlite => Ok(()),
        (ColumnType::DateTime { .. }, Datetime) => Ok(()),
        (ColumnType::DateTime { digits, has_zone }, Timestamp) => {
            if !has_zone && options.zone.is_none() && !is_sqlite {
                return Err("a timestamp is a moment, and the column has no zone: say zone = \"Europe/Madrid\" or \
                            the like for the table, or use the kind datetime"
                    .to_owned());
            }
            if *digits > 3 {
                demand_lossy(&format!(
                    "{} keeps {digits} digits of a second, a timestamp three: use the kind datetime",
                    shape.declared
                ))
            } else {
                Ok(())
            }
        }
        (
            ColumnType::Date
            | ColumnType::Time
            | ColumnType::Uuid
            | ColumnType::Enum { .. }
            | ColumnType::Set { .. }
            | ColumnType::Json { .. }
            | ColumnType::Other,
            String,
        ) => Ok(()),
        (ColumnType::Loose, Decimal) => demand_lossy(&format!(
            "SQLite keeps {} as floats, 0.1 is not exact in them: make the column TEXT or whole cents, or use the kind float",
            shape.declared
        )),
        (ColumnType::Loose, String | Integer | Float | Boolean | Bytes | Timestamp | Datetime) => {
            Ok(())
        }
        (ColumnType::Loose, Counter) => Err(format!(
            "a counter is a whole number, and SQLite keeps any value in {}: make the column INTEGER",
            shape.declared
        )),
        (
            ColumnType::Integer { .. }
            | ColumnType::Decimal { .. }
            | ColumnType::Float { .. }
            | ColumnType::Boolean
            | ColumnType::Text { .. }
            | ColumnType::Bytes { .. }
            | ColumnType::DateTime { .. }
            | ColumnType::Date
            | ColumnType::Time
            | ColumnType::Json { .. }
            | ColumnType::Uuid
            | ColumnType::Enum { .. }
            | ColumnType::Set { .. }
            | ColumnType::Other
            | ColumnType::Loose,
            _,
        ) => wrong(),
    }
}

/// Whether all that the column holds are whole numbers of the node. Numbers that the database gives out are, whatever the
/// column could hold beside them: they begin at 1, and any larger one is set aside.
fn check_range(min: i128, max: i128, shape: &ColumnShape) -> Result<(), String> {
    if shape.is_numbered || (min >= i64::MIN.into() && max <= i64::MAX.into()) {
        Ok(())
    } else {
        Err(format!(
            "{} holds up to {max}, and whole numbers of the node end at {}: use the kind decimal",
            shape.declared,
            i64::MAX
        ))
    }
}

fn check_counter(shape: &ColumnShape, field: FieldKind) -> Result<(), String> {
    if field == FieldKind::Counter && shape.is_nullable {
        Err("a counter always has a number, and the column may be NULL: make it NOT NULL"
            .to_owned())
    } else {
        Ok(())
    }
}

/// The kind that suits a column best.
pub(super) fn infer(
    shape: &ColumnShape,
    is_key: bool,
    options: &Options,
) -> Result<FieldKind, String> {
    let field = match &shape.kind {
        ColumnType::Integer { min, max } => match check_range(*min, *max, shape) {
            Ok(()) => FieldKind::Integer,
            Err(_) => FieldKind::Decimal,
        },
        ColumnType::Decimal { .. } => FieldKind::Decimal,
        ColumnType::Float { .. } => FieldKind::Float,
        ColumnType::Boolean => FieldKind::Boolean,
        ColumnType::Bytes { .. } => FieldKind::Bytes,
        ColumnType::DateTime { digits, has_zone } => {
            let is_moment = *has_zone || options.zone.is_some();
            if is_moment && *digits <= 3 && !is_key {
                FieldKind::Timestamp
            } else {
                FieldKind::Datetime
            }
        }
        ColumnType::Text { .. }
        | ColumnType::Date
        | ColumnType::Time
        | ColumnType::Json { .. }
        | ColumnType::Uuid
        | ColumnType::Enum { .. }
        | ColumnType::Set { .. }
        | ColumnType::Other => FieldKind::String,
        ColumnType::Loose => infer_loose(&shape.declared)?,
        ColumnType::Refused { why } => return Err(why.clone()),
    };
    check(shape, field, options)?;
    Ok(field)
}

fn infer_loose(declared: &str) -> Result<FieldKind, String> {
    let upper = declared.to_ascii_uppercase();
    let has = |word: &str| upper.contains(word);
    match () {
        () if has("DATE") || has("TIME") => Ok(FieldKind::Datetime),
        () if has("BOOL") => Ok(FieldKind::Boolean),
        () if has("DEC") || has("NUM") => Err(format!(
            "SQLite keeps {declared} as floats or whole numbers, so decimals are not exact: make the column TEXT or whole \
             cents, or say the kind: float, integer or boolean, or decimal with lossy = true"
        )),
        () => Ok(FieldKind::String),
    }
}

/// Checks that a column of this kind can name rows: that equal keys have one text.
pub(in crate::sql) fn check_key(
    shape: &ColumnShape,
    field: FieldKind,
    options: &Options,
) -> Result<(), String> {
    let is_sqlite = options.engine == Engine::Sqlite;
    let fits = match &shape.kind {
        ColumnType::Integer { .. } | ColumnType::Decimal { digits: Some(_) } => {
            matches!(field, FieldKind::Integer | FieldKind::Decimal)
        }
        ColumnType::Text { .. } | ColumnType::Enum { .. } | ColumnType::Uuid => {
            field == FieldKind::String
        }
        ColumnType::Date => field == FieldKind::String,
        ColumnType::Bytes { padded_to, .. } => padded_to.is_none(),
        // PostgreSQL and MariaDB write a time in one way only.
        ColumnType::DateTime { .. } => {
            !is_sqlite && field == FieldKind::Datetime && options.zone.is_none()
        }
        ColumnType::Loose => matches!(field, FieldKind::String | FieldKind::Integer),
        ColumnType::Decimal { digits: None }
        | ColumnType::Float { .. }
        | ColumnType::Boolean
        | ColumnType::Time
        | ColumnType::Json { .. }
        | ColumnType::Set { .. }
        | ColumnType::Other
        | ColumnType::Refused { .. } => false,
    };
    if fits {
        Ok(())
    } else {
        Err(format!(
            "{} as {field} names no rows, since one value of it can be written in several ways: take whole numbers, text, a \
         UUID or a date as the key",
            shape.declared
        ))
    }
}
