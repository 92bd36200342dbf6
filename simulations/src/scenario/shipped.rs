//! The scenarios that come with the program, and those in files.

use std::io;
use std::path::{Path, PathBuf};

use super::{Scenario, ScenarioError};

/// A scenario that comes with the program.
#[derive(Clone, Copy, Debug)]
pub struct Shipped {
    /// Its name.
    pub name: &'static str,
    /// Its file.
    pub text: &'static str,
}

macro_rules! shipped {
    ($($name:literal),* $(,)?) => {
        /// All scenarios that come with the program, from the plain to the wild.
        pub const SHIPPED: &[Shipped] = &[$(Shipped {
            name: $name,
            text: include_str!(concat!("../../scenarios/", $name, ".toml")),
        }),*];
    };
}

shipped!(
    "office-outage",
    "hub-outage",
    "two-way-split",
    "islands",
    "chain",
    "flapping-link",
    "one-way-link",
    "mass-rejoin",
    "deep-backlog",
    "hot-record",
    "late-joiner",
    "clock-chaos",
    "crash-restart",
    "torn-frames",
    "bit-flips",
    "restored-backup",
    "cloned-disk",
    "full-disk",
    "short-room",
    "byzantine-member",
    "revoked-liar",
    "revoked-in-a-split",
    "two-admins",
    "rotated-keys",
    "rolling-upgrade",
    "everything",
);

/// Why there is no such scenario.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// No scenario comes with the program under this name, and it is no file.
    #[error("there is no scenario {name:?}, and no file of that name")]
    Unknown {
        /// What was asked for.
        name: String,
        /// A scenario of nearly that name.
        suggestion: Option<&'static str>,
    },
    /// The file cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file is no scenario.
    #[error(transparent)]
    Scenario(#[from] ScenarioError),
}

/// The scenario that comes with the program under this name, or the one in the file at this path.
///
/// # Errors
/// [`LoadError`] where there is no such scenario or file, or its text is none.
pub fn load(name: &str) -> Result<Scenario, LoadError> {
    if let Some(shipped) = SHIPPED.iter().find(|shipped| shipped.name == name) {
        return Ok(Scenario::parse(shipped.name, shipped.text)?);
    }
    let path = Path::new(name);
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(LoadError::Unknown { name: name.to_owned(), suggestion: suggest(name) });
        }
        Err(source) => return Err(LoadError::Io { path: path.to_owned(), source }),
    };
    let stem = path.file_stem().map(|stem| stem.to_string_lossy().into_owned());
    Ok(Scenario::parse(stem.as_deref().unwrap_or(name), &text)?)
}

/// The shipped scenario whose name is nearly this one.
pub fn suggest(name: &str) -> Option<&'static str> {
    closest(name, SHIPPED.iter().map(|shipped| shipped.name))
}

/// The name that is nearly this one.
fn closest<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    // The share of letters in common; at 0.8 a slip of the finger is found and nothing far-fetched.
    const ALIKE_MIN: f64 = 0.8;
    let alike = |other: &'a str| (strsim::jaro_winkler(name, other), other);
    let best = known.map(alike).max_by(|(one, _), (other, _)| one.total_cmp(other));
    best.filter(|(alike, _)| *alike >= ALIKE_MIN).map(|(_, name)| name)
}
