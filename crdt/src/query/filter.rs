//! Filters: which records a query is about.

use std::cmp::Ordering;

use data_encoding::BASE64;

use super::lexer::Word;
use crate::record::Field;
use crate::record::NamedValues;
use crate::record::Number;
use crate::record::Scalar;
use crate::record::{Datetime, Kind, Whole, WrittenNumber, timestamp_from_text};

/// Which records a query is about.
#[derive(Debug, Clone, PartialEq)]
pub struct Filter {
    pub(super) root: Node,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Node {
    All(Vec<Self>),
    Any(Vec<Self>),
    Not(Box<Self>),
    Test(Test),
}

/// A question about one field.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Test {
    pub(super) field: Field,
    pub(super) condition: Condition,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Condition {
    Compare(Comparison, Literal),
    In(Vec<Literal>),
    StartsWith(String),
    IsNull,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Comparison {
    Equal,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

/// A value that stands in a filter, read as the kind of its field says.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Literal {
    Null,
    Bool(bool),
    Number(Number),
    Timestamp(i64),
    Datetime(Datetime),
    Str(String),
    Bytes(Vec<u8>),
    /// A string for a field of no declared kind, which reads as a moment too.
    StrOrTimestamp(String, i64),
}

impl Filter {
    /// Whether a record is one of those.
    #[must_use]
    pub fn matches(&self, fields: &impl NamedValues) -> bool {
        self.root.matches(fields)
    }

    /// The fields that it asks about.
    pub(super) fn fields(&self) -> Vec<&Field> {
        self.root.tests().into_iter().map(|test| &test.field).collect()
    }

    /// The tests that it consists of.
    pub(super) fn tests(&self) -> Vec<&Test> {
        self.root.tests()
    }
}

impl Node {
    fn matches(&self, fields: &impl NamedValues) -> bool {
        match self {
            Self::All(nodes) => nodes.iter().all(|node| node.matches(fields)),
            Self::Any(nodes) => nodes.iter().any(|node| node.matches(fields)),
            Self::Not(node) => !node.matches(fields),
            Self::Test(test) => test.matches(fields),
        }
    }

    fn tests(&self) -> Vec<&Test> {
        match self {
            Self::All(nodes) | Self::Any(nodes) => nodes.iter().flat_map(Self::tests).collect(),
            Self::Not(node) => node.tests(),
            Self::Test(test) => vec![test],
        }
    }
}

impl Test {
    fn matches(&self, fields: &impl NamedValues) -> bool {
        let found = self.field.scalar(fields);
        match &self.condition {
            Condition::IsNull => found == Scalar::Null,
            Condition::StartsWith(prefix) => {
                matches!(found, Scalar::Str(text) if text.starts_with(prefix))
            }
            Condition::In(literals) => {
                literals.iter().any(|literal| Comparison::Equal.holds(found, literal))
            }
            Condition::Compare(comparison, literal) => comparison.holds(found, literal),
        }
    }
}

impl Comparison {
    fn holds(self, found: Scalar<'_>, literal: &Literal) -> bool {
        let Some(ordering) = literal.compare(found) else { return false };
        match self {
            Self::Equal => ordering == Ordering::Equal,
            Self::Less => ordering == Ordering::Less,
            Self::LessOrEqual => ordering != Ordering::Greater,
            Self::Greater => ordering == Ordering::Greater,
            Self::GreaterOrEqual => ordering != Ordering::Less,
        }
    }
}

impl Literal {
    /// Whether strings are the values of a kind.
    pub(super) fn is_text(kind: Kind) -> bool {
        matches!(kind, Kind::String | Kind::Text)
    }

    /// The literal that a word is for a field of that kind: `None` if it is none at all, an error if it does not fit.
    pub(super) fn of(word: &Word, kind: Option<Kind>) -> Option<Result<Self, Kind>> {
        match word {
            Word::Str(text) => Some(Self::of_string(text, kind)),
            Word::Number(text) => {
                let written = WrittenNumber::read(text)?;
                let number = Number::of_written(&written)?;
                Some(Self::of_number(number, written.whole() != Whole::Broken, kind))
            }
            word if word.is("null") => Some(Ok(Self::Null)),
            word if word.is("true") => Some(Self::of_bool(true, kind)),
            word if word.is("false") => Some(Self::of_bool(false, kind)),
            Word::Bare(_) | Word::Path(_) | Word::Symbol(_) | Word::End => None,
        }
    }

    fn of_string(text: &str, kind: Option<Kind>) -> Result<Self, Kind> {
        let text_of = || text.to_owned();
        match kind {
            None => Ok(match timestamp_from_text(text) {
                Some(ms) => Self::StrOrTimestamp(text_of(), ms),
                None => Self::Str(text_of()),
            }),
            Some(Kind::String | Kind::Text) => Ok(Self::Str(text_of())),
            Some(kind @ Kind::Timestamp) => {
                timestamp_from_text(text).map(Literal::Timestamp).ok_or(kind)
            }
            Some(kind @ Kind::Datetime) => text.parse().map(Literal::Datetime).map_err(|_| kind),
            Some(kind @ Kind::Bytes) => {
                BASE64.decode(text.as_bytes()).map(Literal::Bytes).map_err(|_| kind)
            }
            Some(
                kind @ (Kind::Integer
                | Kind::Float
                | Kind::Boolean
                | Kind::Decimal
                | Kind::Counter
                | Kind::List
                | Kind::Map),
            ) => Err(kind),
        }
    }

    fn of_number(number: Number, is_whole: bool, kind: Option<Kind>) -> Result<Self, Kind> {
        match kind {
            None | Some(Kind::Float | Kind::Decimal) => Ok(Self::Number(number)),
            Some(Kind::Integer | Kind::Counter) if is_whole => Ok(Self::Number(number)),
            Some(
                kind @ (Kind::Integer
                | Kind::Counter
                | Kind::String
                | Kind::Boolean
                | Kind::Timestamp
                | Kind::Datetime
                | Kind::Bytes
                | Kind::Text
                | Kind::List
                | Kind::Map),
            ) => Err(kind),
        }
    }

    fn of_bool(b: bool, kind: Option<Kind>) -> Result<Self, Kind> {
        match kind {
            None | Some(Kind::Boolean) => Ok(Self::Bool(b)),
            Some(kind) => Err(kind),
        }
    }

    /// The literals that fit a kind.
    pub(super) fn fitting(kind: Kind) -> &'static str {
        match kind {
            Kind::String | Kind::Text => "a string in quotes",
            Kind::Integer | Kind::Counter => "a whole number",
            Kind::Float | Kind::Decimal => "a number without quotes",
            Kind::Boolean => "true or false",
            Kind::Timestamp => "a moment such as '2026-01-31T09:30:00Z'",
            Kind::Datetime => {
                "a time such as '2026-01-31T09:30:00.5Z', or without a zone '2026-01-31T09:30:00.5'"
            }
            Kind::Bytes => "base64 in quotes",
            Kind::List | Kind::Map => "\"is null\" or \"is not null\"",
        }
    }

    /// The name of what it is; `None` for null, with which every value can be compared.
    pub(super) fn name(&self) -> Option<&'static str> {
        match self {
            Self::Null => None,
            Self::Bool(_) => Some("boolean"),
            Self::Number(_) => Some("number"),
            Self::Timestamp(_) => Some("timestamp"),
            Self::Datetime(_) => Some("datetime"),
            Self::Str(_) | Self::StrOrTimestamp(..) => Some("text"),
            Self::Bytes(_) => Some("bytes"),
        }
    }

    /// The values that it stands for: each is compared with values like it.
    pub(super) fn scalars(&self) -> impl Iterator<Item = Scalar<'_>> {
        let (one, other) = match self {
            Self::Null => (Scalar::Null, None),
            Self::Bool(b) => (Scalar::Bool(*b), None),
            Self::Number(number) => (Scalar::Number(*number), None),
            Self::Timestamp(ms) => (Scalar::Timestamp(*ms), None),
            Self::Datetime(time) => (Scalar::Datetime(*time), None),
            Self::Str(text) => (Scalar::Str(text), None),
            Self::Bytes(bytes) => (Scalar::Bytes(bytes), None),
            Self::StrOrTimestamp(text, ms) => (Scalar::Str(text), Some(Scalar::Timestamp(*ms))),
        };
        std::iter::once(one).chain(other)
    }

    /// How a value compares with it, if it does.
    fn compare(&self, found: Scalar<'_>) -> Option<Ordering> {
        self.scalars().find(|scalar| scalar.is_like(found)).map(|scalar| found.cmp(&scalar))
    }
}
