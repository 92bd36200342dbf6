//! Data to stdout, messages to stderr.

use std::fmt::Display;
use std::io::{self, Write};

use serde::Serialize;

use super::error::CliError;

/// One line of data.
pub(super) fn line(text: impl Display) -> Result<(), CliError> {
    Ok(writeln!(io::stdout().lock(), "{text}")?)
}

/// One line of JSON.
pub(super) fn json(value: &impl Serialize) -> Result<(), CliError> {
    line(serde_json::to_string(value).map_err(io::Error::from)?)
}

/// A message. Nobody is left to read it where stderr is closed.
pub(super) fn note(text: impl Display) {
    let _ = writeln!(io::stderr().lock(), "{text}");
}
