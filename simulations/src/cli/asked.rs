//! The scenario that was asked for, its runs, and the command that repeats one.

use std::any::Any;
use std::cell::RefCell;
use std::panic::{self, AssertUnwindSafe, catch_unwind};

use super::error::CliError;
use crate::outcome::Outcome;
use crate::run::run;
use crate::scenario::{self, SHIPPED, Scenario};
use crate::trace::TraceSink;

/// A scenario as someone asked for it.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    /// A name or a path.
    pub(super) argument: String,
    pub(super) scenario: Scenario,
}

impl Asked {
    pub(super) fn load(argument: &str) -> Result<Self, CliError> {
        let scenario = scenario::load(argument)?;
        Ok(Self { argument: argument.to_owned(), scenario })
    }

    /// Every scenario that comes with the program.
    pub(super) fn all() -> Result<Vec<Self>, CliError> {
        SHIPPED.iter().map(|shipped| Self::load(shipped.name)).collect()
    }

    /// Runs it once. A panic of the product ends this run, not the program: it is a finding, reported with its seed.
    pub(super) fn run(&self, seed: u64, trace: &mut dyn TraceSink) -> Result<Outcome, Panicked> {
        catch_unwind(AssertUnwindSafe(|| run(&self.scenario, seed, trace)))
            .map_err(|payload| Panicked::of(payload.as_ref()))
    }

    /// The command that shows a run again.
    pub(super) fn command(&self, verb: &str, seed: u64) -> String {
        format!("branchline-sim {verb} {} --seed {seed}", quoted(&self.argument))
    }

    /// A run that panicked, as a person reads it.
    pub(super) fn panicked(&self, seed: u64, panicked: &Panicked) -> CliError {
        CliError::failed(format!("the run panicked: {}", panicked.message))
            .hint(format!("reproduce it with `{}`", self.command("run", seed)))
    }
}

/// The product panicked in a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Panicked {
    pub(super) message: String,
}

thread_local! {
    /// Where this thread panicked last.
    static PLACE: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Keeps panics off the screen, for the product catches some and the others are reported with their seed. With
/// `RUST_BACKTRACE` set they are shown as usual.
pub(super) fn note_panics() {
    if std::env::var_os("RUST_BACKTRACE").is_none() {
        panic::set_hook(Box::new(|info| {
            let place = info.location().map(ToString::to_string);
            PLACE.with(|last| *last.borrow_mut() = place);
        }));
    }
}

impl Panicked {
    fn of(payload: &(dyn Any + Send)) -> Self {
        let text = payload.downcast_ref::<&str>().map(ToString::to_string);
        let text = text.or_else(|| payload.downcast_ref::<String>().cloned());
        let text = text.unwrap_or_else(|| "without a message".to_owned());
        let message = match PLACE.with(|last| last.borrow_mut().take()) {
            Some(place) => format!("{text} ({place})"),
            None => text,
        };
        Self { message }
    }
}

/// An argument as a shell takes it.
fn quoted(argument: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./".contains(c);
    if argument.chars().all(plain) {
        argument.to_owned()
    } else {
        format!("'{}'", argument.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_can_be_pasted_into_a_shell() {
        assert_eq!(quoted("two-way-split"), "two-way-split");
        assert_eq!(quoted("our office's plan.toml"), r"'our office'\''s plan.toml'");
    }
}
