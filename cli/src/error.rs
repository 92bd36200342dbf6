//! Why a command did not do what it should, as a person reads it.

use std::error::Error;
use std::io;
use std::path::Path;

use branchline_node::api::{ErrorBody, ErrorPlace};
use branchline_node::site::SiteError;
use branchline_node::storage::OpenError;
use branchline_node::storage::folder::FolderError;
use branchline_node::storage::ownership::{self, User};
use branchline_node::storage::room;
use branchline_node::{ConfigError, InitError, RotateError, StartError};

use crate::output;

/// Why a command did not do what it should.
#[derive(Debug)]
pub(crate) struct CliError {
    kind: Kind,
    message: String,
    hint: Option<String>,
    /// The API's code, where the API refused.
    code: Option<String>,
    /// Where a parameter is wrong.
    at: Option<ErrorPlace>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// It was tried and failed.
    Failed,
    /// It was asked wrongly.
    Usage,
    /// It failed, and everything was said already; the process ends with this.
    Reported(u8),
    /// Nobody reads the output any more.
    ClosedPipe,
}

impl CliError {
    pub(crate) fn failed(message: impl Into<String>) -> Self {
        Self { kind: Kind::Failed, message: message.into(), hint: None, code: None, at: None }
    }

    /// It was asked wrongly.
    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self { kind: Kind::Usage, ..Self::failed(message) }
    }

    /// It failed, and everything was said already.
    pub(crate) fn reported() -> Self {
        Self::told_with(1)
    }

    /// It did not end well, everything was said already, and the process ends with `exit_code`.
    pub(crate) fn told_with(exit_code: u8) -> Self {
        Self { kind: Kind::Reported(exit_code), ..Self::failed("") }
    }

    /// What went wrong, and what to do.
    pub(crate) fn message(&self) -> String {
        match &self.hint {
            Some(hint) => format!("{} ({hint})", self.message),
            None => self.message.clone(),
        }
    }

    pub(crate) fn hint(self, hint: impl Into<String>) -> Self {
        Self { hint: Some(hint.into()), ..self }
    }

    /// A data folder could not be opened.
    pub(crate) fn of_start(error: StartError, data: &Path) -> Self {
        match &error {
            StartError::Open(open) if open.is_full() => Self::from(error).hint(make_room(data)),
            _ => error.into(),
        }
    }

    /// A file could not be read or written.
    pub(crate) fn file(what: &str, path: &std::path::Path, error: &io::Error) -> Self {
        Self::failed(format!("cannot {what} {}: {error}", path.display()))
    }

    /// What the API answered.
    pub(crate) fn of_api(status: u16, body: &[u8]) -> Self {
        match serde_json::from_slice(body) {
            Ok(ErrorBody { error }) => Self {
                // Only what was asked has places.
                kind: if error.at.is_some() { Kind::Usage } else { Kind::Failed },
                // What it says of other sites' data is to look like nothing else.
                message: output::visible(&error.message),
                hint: error.hint.as_deref().map(output::visible),
                code: Some(error.code),
                at: error.at,
            },
            Err(_) => Self::failed(format!("the node answered with HTTP status {status}")),
        }
    }

    /// Points at the place in the text of the parameter that is wrong, if that is among `parameters`.
    pub(crate) fn pointing(self, parameters: &[(&str, Option<&str>)]) -> Self {
        let found = self.at.as_ref().and_then(|at| {
            let (_, text) = parameters.iter().find(|(name, _)| *name == at.parameter)?;
            let text = (*text)?;
            Some((text, text.get(..at.offset)?.chars().count()))
        });
        let Some((text, column)) = found else { return self };
        let line: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        let message =
            format!("{}\n\n  {line}\n  {:>width$}", self.message, "^", width = column + 1);
        Self { message, ..self }
    }

    /// Whether the API refused with this code.
    pub(crate) fn is(&self, code: branchline_node::api::Code) -> bool {
        self.code.as_deref() == Some(code.as_str())
    }

    /// What the process ends with.
    pub(crate) fn exit_code(&self) -> u8 {
        match self.kind {
            Kind::ClosedPipe => 0,
            Kind::Failed => 1,
            Kind::Reported(exit_code) => exit_code,
            Kind::Usage => 2,
        }
    }

    /// Says it on stderr.
    pub(crate) fn report(&self) {
        match self.kind {
            Kind::Reported(_) | Kind::ClosedPipe => {}
            Kind::Failed | Kind::Usage => {
                output::note(format_args!("error: {}", self.message));
                if let Some(hint) = &self.hint {
                    output::note(format_args!("\nhint: {hint}"));
                }
            }
        }
    }
}

/// An error of writing to stdout.
impl From<io::Error> for CliError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Self { kind: Kind::ClosedPipe, ..Self::failed("") },
            _ => Self::failed(format!("cannot write the output: {error}")),
        }
    }
}

impl From<ConfigError> for CliError {
    fn from(error: ConfigError) -> Self {
        Self::usage(text_of(&error))
    }
}

impl From<SiteError> for CliError {
    fn from(error: SiteError) -> Self {
        match &error {
            SiteError::NoSite { path } => Self::failed(format!("{} holds no site", path.display()))
                .hint(format!(
                    "make one with `branchline --data {} init --name NAME --found`, or name another folder with --data",
                    path.display()
                )),
            SiteError::Exists { path, name } => {
                Self::failed(format!("{} holds the site {name} already", path.display()))
                    .hint("use another folder: `branchline --data DIR init --name NAME`")
            }
            SiteError::Io { path, source } if source.kind() == io::ErrorKind::PermissionDenied => {
                let folder = path.parent().unwrap_or(path);
                match ownership::check_owner_of(folder) {
                    Err(foreign) => foreign.into(),
                    Ok(()) => Self::failed(text_of(&error)),
                }
            }
            SiteError::Io { path, source } if room::is_full(source) => {
                Self::failed(text_of(&error)).hint(make_room(path.parent().unwrap_or(path)))
            }
            SiteError::Name(_) | SiteError::Damaged { .. } | SiteError::Io { .. } => {
                Self::failed(text_of(&error))
            }
        }
    }
}

impl From<FolderError> for CliError {
    fn from(error: FolderError) -> Self {
        match &error {
            FolderError::Locked { path, process, is_node: _ } => {
                let holder =
                    process.map_or("another process".to_owned(), |id| format!("process {id}"));
                Self::failed(format!("the data folder {} is in use by {holder}", path.display()))
                    .hint("`branchline status` asks the node that uses it; stop that process to use the folder in another way")
            }
            FolderError::Foreign { path, owner, user } => {
                Self::failed(text_of(&error)).hint(of_owner(path, *owner, *user))
            }
            FolderError::Writable { path } => Self::failed(text_of(&error)).hint(format!(
                "it holds the site's secret key: keep others out with `chmod go-w {}`",
                path.display()
            )),
            FolderError::NoFile { .. } => Self::failed(text_of(&error))
                .hint("nothing is written through it: put the file itself there, or remove it"),
            FolderError::NotADataFolder { .. }
            | FolderError::NotEmpty { .. }
            | FolderError::NewerFormat { .. }
            | FolderError::UnknownFormat { .. }
            | FolderError::Io { .. } => Self::failed(text_of(&error)),
        }
    }
}

impl From<StartError> for CliError {
    fn from(error: StartError) -> Self {
        match error {
            StartError::Config(error) => error.into(),
            StartError::Site(error) => error.into(),
            StartError::Open(OpenError::Folder(error)) => error.into(),
            StartError::Api { address, source } => {
                Self::failed(format!("the API cannot listen on {address}: {source}"))
                    .hint("choose another port with --api 127.0.0.1:PORT; port 0 takes a free one")
            }
            StartError::Socket { .. } => Self::failed(text_of(&error))
                .hint("the data folder must be on a local file system, one that supports sockets"),
            StartError::Open(OpenError::Journal(_) | OpenError::Tables(_))
            | StartError::Clock(_)
            | StartError::Store(_)
            | StartError::Network(_)
            | StartError::NoRandomness
            | StartError::Extension { .. }
            | StartError::Thread { .. } => Self::failed(text_of(&error)),
        }
    }
}

impl From<RotateError> for CliError {
    fn from(error: RotateError) -> Self {
        match error {
            RotateError::Start(error) => error.into(),
            RotateError::Decision(error) => Self::failed(error.to_string()),
        }
    }
}

impl From<InitError> for CliError {
    fn from(error: InitError) -> Self {
        match error {
            InitError::Folder(error) => error.into(),
            InitError::Start(error) => error.into(),
        }
    }
}

/// What to do about a disk that is full.
fn make_room(path: &Path) -> String {
    match room::left(path) {
        Some(left) => format!("{left}: make room, and try again"),
        None => format!("make room on the disk of {}, and try again", path.display()),
    }
}

/// What to do about a folder, or a file in one, that belongs to another user.
fn of_owner(path: &Path, owner: User, user: User) -> String {
    let (owner, user, shown) = (owner.name(), user.name(), path.display());
    if path.is_dir() {
        format!(
            "work as that user: `sudo -u {owner} branchline --data {shown} ...`; or, if all of it is to be {user}'s: `sudo chown -R {user} {shown}`"
        )
    } else {
        format!(
            "another user's command has left it: `sudo chown {user} {shown}` if it is the site's, or else remove it"
        )
    }
}

/// An error's text, followed by those of its sources that it does not repeat itself.
pub(crate) fn text_of(error: &dyn Error) -> String {
    let mut text = error.to_string().trim_end().to_owned();
    let mut source = error.source();
    while let Some(error) = source {
        let more = error.to_string();
        if !text.contains(more.trim_end()) {
            text = format!("{text}: {}", more.trim_end());
        }
        source = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_wrong_place_is_pointed_at_below_the_text() {
        let text = "name = 'é' and price > 'x'";
        let offset = text.find("'x'");
        let error = json!({"code": "bad_query", "message": "wrong", "hint": null, "at": {"parameter": "where", "offset": offset}});
        let body = json!({ "error": error }).to_string();
        let error = CliError::of_api(400, body.as_bytes())
            .pointing(&[("order", None), ("where", Some(text))]);
        assert_eq!(error.exit_code(), 2);
        let lines: Vec<&str> = error.message.lines().collect();
        assert_eq!(lines[2], format!("  {text}"));
        assert_eq!(
            lines[3].chars().count(),
            lines[2].chars().position(|c| c == 'x').unwrap_or_default()
        );
        let elsewhere = CliError::of_api(400, body.as_bytes()).pointing(&[("where", Some("x"))]);
        assert_eq!(elsewhere.message, "wrong");
    }
}
