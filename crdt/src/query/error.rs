//! Why a query cannot be asked.

use std::fmt;

use crate::record::{Kind, NameError};

/// A part of a query, as its parameter is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum QueryPart {
    /// The filter.
    Where,
    /// The order.
    Order,
    /// The fields by which records are grouped.
    By,
    /// The fields that are summed up.
    Sum,
    /// The fields of which the average is taken.
    Avg,
    /// The fields of which the least value is looked for.
    Min,
    /// The fields of which the greatest value is looked for.
    Max,
}

impl QueryPart {
    /// The name of its parameter.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Where => "where",
            Self::Order => "order",
            Self::By => "by",
            Self::Sum => "sum",
            Self::Avg => "avg",
            Self::Min => "min",
            Self::Max => "max",
        }
    }
}

impl fmt::Display for QueryPart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A query that cannot be asked: anyone who wrote it is at fault.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("in {part}: {fault}")]
pub struct QueryError {
    /// Which part of the query is wrong.
    pub part: QueryPart,
    /// Where in its text, in bytes from the beginning.
    pub offset: usize,
    /// What is wrong there.
    pub fault: QueryFault,
}

/// What is wrong with a query.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum QueryFault {
    /// Something else was expected.
    #[error("expected {expected}, found {found}")]
    Unexpected {
        /// What could have been there.
        expected: &'static str,
        /// What is there.
        found: String,
    },
    /// A character begins nothing.
    #[error("unexpected character {found:?}")]
    Character {
        /// The character.
        found: char,
    },
    /// A string or a quoted name does not end.
    #[error("the quote {quote} is never closed")]
    Unclosed {
        /// The quotation mark.
        quote: char,
    },
    /// A number has too many digits.
    #[error("the number has more than {} digits", crate::record::DECIMAL_DIGITS_MAX)]
    Digits,
    /// A number's power of ten is beyond that of every value.
    #[error("the number's power of ten is beyond that of all values")]
    Power,
    /// A name is no field's.
    #[error("{0}")]
    Name(NameError),
    /// A literal does not fit the kind of the field.
    #[error("{path:?} is declared as {kind}, expected {expected}, found {found}")]
    Literal {
        /// The field.
        path: String,
        /// Its declared kind.
        kind: Kind,
        /// What fits.
        expected: &'static str,
        /// The literal.
        found: String,
    },
    /// A test does not fit the kind of the field, or the literal.
    #[error("{test} cannot be used with {of}")]
    Test {
        /// The test.
        test: &'static str,
        /// What it was asked of.
        of: String,
    },
    /// No record that was found has the field, and no schema declares it.
    #[error("no record has a field {path:?}")]
    UnknownField {
        /// The field.
        path: String,
    },
    /// A text is too long.
    #[error("it has {found} bytes, at most {} are possible", super::TEXT_BYTES_MAX)]
    TooLong {
        /// Its length in bytes.
        found: usize,
    },
    /// There are too many tests and literals.
    #[error("it has more than {} tests and values", super::ITEMS_MAX)]
    TooManyItems,
    /// There are too many fields.
    #[error("it names more than {} fields", super::FIELDS_MAX)]
    TooManyFields,
    /// It nests too deeply.
    #[error("it nests more than {} deep", super::NESTING_MAX)]
    TooDeep,
}
