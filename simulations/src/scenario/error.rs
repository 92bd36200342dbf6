//! What is wrong with a scenario file, and where.

use std::fmt;
use std::ops::Range;

/// A place in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// From 1.
    pub line: usize,
    /// In characters, from 1.
    pub column: usize,
    /// The line itself.
    pub text: String,
}

impl Place {
    /// Where a range of bytes begins in a text.
    pub(super) fn of(text: &str, range: &Range<usize>) -> Self {
        let before = text.get(..range.start.min(text.len())).unwrap_or(text);
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        let line = text.get(line_start..).unwrap_or_default().lines().next().unwrap_or_default();
        Self {
            line: before.matches('\n').count() + 1,
            column: before.get(line_start..).unwrap_or_default().chars().count() + 1,
            text: line.to_owned(),
        }
    }
}

/// What is wrong with a scenario file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScenarioError {
    /// The scenario.
    pub name: String,
    /// Where; `None` where it is the file as a whole.
    pub place: Option<Place>,
    /// Which key, where the message alone does not say it.
    pub key: Option<String>,
    /// What was found and what was expected.
    pub message: String,
}

impl fmt::Display for ScenarioError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "scenario {}", self.name)?;
        if let Some(place) = &self.place {
            write!(f, ", line {}, column {}", place.line, place.column)?;
        }
        if let Some(key) = &self.key {
            write!(f, ", key `{key}`")?;
        }
        write!(f, ": {}", self.message)?;
        if let Some(Place { line, column, text }) = &self.place {
            let margin = line.to_string();
            let (blank, lead) = (" ".repeat(margin.len()), " ".repeat(column - 1));
            write!(f, "\n{blank} |\n{margin} | {text}\n{blank} | {lead}^")?;
        }
        Ok(())
    }
}

impl std::error::Error for ScenarioError {}

/// A fault of the content, before the file's name is added.
#[derive(Debug)]
pub(super) struct Wrong {
    pub(super) range: Option<Range<usize>>,
    pub(super) key: Option<String>,
    pub(super) message: String,
}

impl Wrong {
    pub(super) fn at(range: Range<usize>, key: &str, message: String) -> Self {
        Self { range: Some(range), key: Some(key.to_owned()), message }
    }

    pub(super) fn with_text(self, name: &str, text: &str) -> ScenarioError {
        let place = self.range.map(|range| Place::of(text, &range));
        ScenarioError { name: name.to_owned(), place, key: self.key, message: self.message }
    }
}

impl From<toml::de::Error> for Wrong {
    fn from(error: toml::de::Error) -> Self {
        Self { range: error.span(), key: None, message: error.message().replace('\n', " ") }
    }
}
