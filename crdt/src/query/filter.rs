//! Filters: which records a query is about.

use std::cmp::Ordering;

use data_encoding::BASE64;

use super::lexer::Word;
use crate::record::Field;
use crate::record::Number;
use crate::record::Scalar;
use crate::record::{Datetime, Fields, Kind, Whole, WrittenNumber, timestamp_from_text};

/// Which records a query is about.
#[derive(Debug, Clone, PartialEq)]
pub struct Filter {
    pub(super) root: Node,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Node {
    All(Vec<Node>),
    Any(Vec<Node>),
    Not(Box<Node>),
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
    pub fn matches(&self, fields: &Fields) -> bool {
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
    fn matches(&self, fields: &Fields) -> bool {
        match self {
            Node::All(nodes) => nodes.iter().all(|node| node.matches(fields)),
            Node::Any(nodes) => nodes.iter().any(|node| node.matches(fields)),
            Node::Not(node) => !node.matches(fields),
            Node::Test(test) => test.matches(fields),
        }
    }

    fn tests(&self) -> Vec<&Test> {
        match self {
            Node::All(nodes) | Node::Any(nodes) => nodes.iter().flat_map(Node::tests).collect(),
            Node::Not(node) => node.tests(),
            Node::Test(test) => vec![test],
        }
    }
}

impl Test {
    fn matches(&self, fields: &Fields) -> bool {
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
            Comparison::Equal => ordering == Ordering::Equal,
            Comparison::Less => ordering == Ordering::Less,
            Comparison::LessOrEqual => ordering != Ordering::Greater,
            Comparison::Greater => ordering == Ordering::Greater,
            Comparison::GreaterOrEqual => ordering != Ordering::Less,
        }
    }
}

impl Literal {
    /// Whether strings are the values of a kind.
    pub(super) fn is_text(kind: Kind) -> bool {
        matches!(kind, Kind::String | Kind::Text)
    }

    /// The literal that a word is for a field of that kind: `None` if it is none at all, an error if it does not fit.
    pub(super) fn of(word: &Word, kind: Option<Kind>) -> Option<Result<Literal, Kind>> {
        match word {
            Word::Str(text) => Some(Literal::of_string(text, kind)),
            Word::Number(text) => {
                let written = WrittenNumber::read(text)?;
                let number = Number::of_written(&written)?;
                Some(Literal::of_number(number, written.whole() != Whole::Broken, kind))
            }
            word if word.is("null") => Some(Ok(Literal::Null)),
            word if word.is("true") => Some(Literal::of_bool(true, kind)),
            word if word.is("false") => Some(Literal::of_bool(false, kind)),
            Word::Bare(_) | Word::Path(_) | Word::Symbol(_) | Word::End => None,
        }
    }

    fn of_string(text: &str, kind: Option<Kind>) -> Result<Literal, Kind> {
        let text_of = || text.to_owned();
        match kind {
            None => Ok(match timestamp_from_text(text) {
                Some(ms) => Literal::StrOrTimestamp(text_of(), ms),
                None => Literal::Str(text_of()),
            }),
            Some(Kind::String | Kind::Text) => Ok(Literal::Str(text_of())),
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

    fn of_number(number: Number, is_whole: bool, kind: Option<Kind>) -> Result<Literal, Kind> {
        match kind {
            None | Some(Kind::Float | Kind::Decimal) => Ok(Literal::Number(number)),
            Some(Kind::Integer | Kind::Counter) if is_whole => Ok(Literal::Number(number)),
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

    fn of_bool(b: bool, kind: Option<Kind>) -> Result<Literal, Kind> {
        match kind {
            None | Some(Kind::Boolean) => Ok(Literal::Bool(b)),
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
            Literal::Null => None,
            Literal::Bool(_) => Some("boolean"),
            Literal::Number(_) => Some("number"),
            Literal::Timestamp(_) => Some("timestamp"),
            Literal::Datetime(_) => Some("datetime"),
            Literal::Str(_) | Literal::StrOrTimestamp(..) => Some("text"),
            Literal::Bytes(_) => Some("bytes"),
        }
    }

    /// The values that it stands for: each is compared with values like it.
    pub(super) fn scalars(&self) -> impl Iterator<Item = Scalar<'_>> {
        let (one, other) = match self {
            Literal::Null => (Scalar::Null, None),
            Literal::Bool(b) => (Scalar::Bool(*b), None),
            Literal::Number(number) => (Scalar::Number(*number), None),
            Literal::Timestamp(ms) => (Scalar::Timestamp(*ms), None),
            Literal::Datetime(time) => (Scalar::Datetime(*time), None),
            Literal::Str(text) => (Scalar::Str(text), None),
            Literal::Bytes(bytes) => (Scalar::Bytes(bytes), None),
            Literal::StrOrTimestamp(text, ms) => (Scalar::Str(text), Some(Scalar::Timestamp(*ms))),
        };
        std::iter::once(one).chain(other)
    }

    /// How a value compares with it, if it does.
    fn compare(&self, found: Scalar<'_>) -> Option<Ordering> {
        self.scalars().find(|scalar| scalar.is_like(found)).map(|scalar| found.cmp(&scalar))
    }
}
