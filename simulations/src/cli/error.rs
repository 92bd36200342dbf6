//! Why a command did not do what it should, as a person reads it.

use std::io;
use std::path::Path;

use crate::scenario::LoadError;
use crate::trace::TraceFileError;

/// Why a command did not do what it should.
#[derive(Debug)]
pub(super) struct CliError {
    kind: ErrorKind,
    message: String,
    hint: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ErrorKind {
    Failed,
    Usage,
    /// A promise did not hold, and that was said already.
    Reported,
    /// Nobody reads the output any more.
    ClosedPipe,
}

impl CliError {
    pub(super) fn failed(message: impl Into<String>) -> Self {
        Self { kind: ErrorKind::Failed, message: message.into(), hint: None }
    }

    /// It was asked wrongly.
    pub(super) fn usage(message: impl Into<String>) -> Self {
        Self { kind: ErrorKind::Usage, ..Self::failed(message) }
    }

    /// A promise did not hold, and that was said already.
    pub(super) fn reported() -> Self {
        Self { kind: ErrorKind::Reported, ..Self::failed("") }
    }

    pub(super) fn hint(self, hint: impl Into<String>) -> Self {
        Self { hint: Some(hint.into()), ..self }
    }

    /// A file could not be written.
    pub(super) fn unwritable(path: &Path, error: &io::Error) -> Self {
        Self::failed(format!("cannot write {}: {error}", path.display()))
    }

    /// What the process ends with.
    pub(super) fn exit_code(&self) -> u8 {
        match self.kind {
            ErrorKind::ClosedPipe => 0,
            ErrorKind::Failed | ErrorKind::Reported => 1,
            ErrorKind::Usage => 2,
        }
    }

    /// Says it on stderr.
    pub(super) fn report(&self) {
        match self.kind {
            ErrorKind::Reported | ErrorKind::ClosedPipe => {}
            ErrorKind::Failed | ErrorKind::Usage => {
                super::output::note(format_args!("error: {}", self.message));
                if let Some(hint) = &self.hint {
                    super::output::note(format_args!("\nhint: {hint}"));
                }
            }
        }
    }
}

/// An error of writing to stdout.
impl From<io::Error> for CliError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Self { kind: ErrorKind::ClosedPipe, ..Self::failed("") },
            _ => Self::failed(format!("cannot write the output: {error}")),
        }
    }
}

impl From<LoadError> for CliError {
    fn from(error: LoadError) -> Self {
        let hint = match &error {
            LoadError::Unknown { suggestion: Some(close), .. } => {
                Some(format!("did you mean {close}?"))
            }
            LoadError::Unknown { suggestion: None, .. } => Some(
                "`branchline-sim list` shows all, `branchline-sim new NAME` starts your own"
                    .to_owned(),
            ),
            LoadError::Scenario(_) => {
                Some("`branchline-sim new NAME` prints a file that explains every key".to_owned())
            }
            LoadError::Io { .. } => None,
        };
        Self { hint, ..Self::usage(error.to_string()) }
    }
}

impl From<TraceFileError> for CliError {
    fn from(error: TraceFileError) -> Self {
        let reported = Self::failed(error.to_string());
        match error {
            TraceFileError::TooLong { .. } => reported.hint("allow more with --trace-mib-max"),
            TraceFileError::Io { .. } => reported,
        }
    }
}
