//! The offices' names, and finding an office by its name.

use std::ops::Range;

use toml::Spanned;

use crate::scenario::Office;
use crate::scenario::error::Wrong;
use crate::scenario::file::{Offices, Pair};

/// Most offices: each pair may be linked, so that the work grows with their square.
const OFFICES_MAX: usize = 100;
/// Longest name of an office, in characters, so that tables and charts stay readable.
const NAME_CHARS_MAX: usize = 40;

pub(super) struct Names(Vec<String>);

impl Names {
    pub(super) fn of(offices: &Spanned<Offices>) -> Result<Self, Wrong> {
        let wrong = |message| Err(Wrong::at(offices.span(), "offices", message));
        let names = match offices.get_ref() {
            // A count that is out of bounds must not be unrolled first.
            Offices::Count(count) => match usize::try_from(*count) {
                Ok(count) if count <= OFFICES_MAX => {
                    (1..=count).map(|number| format!("office-{number}")).collect()
                }
                Ok(_) | Err(_) => {
                    return wrong(format!("found {count}, expected 2 to {OFFICES_MAX} offices"));
                }
            },
            Offices::Names(names) => names.clone(),
        };
        if !(2..=OFFICES_MAX).contains(&names.len()) {
            return wrong(format!("found {}, expected 2 to {OFFICES_MAX} offices", names.len()));
        }
        for (at, name) in names.iter().enumerate() {
            let good = |c: char| c.is_alphanumeric() || c == '-' || c == '_';
            let chars = name.chars().count();
            if chars == 0 || chars > NAME_CHARS_MAX || !name.chars().all(good) {
                return wrong(format!(
                    "found the name {name:?}, expected 1 to {NAME_CHARS_MAX} letters, digits, - or _"
                ));
            }
            if names[..at].contains(name) {
                return wrong(format!("found {name:?} twice, expected each office once"));
            }
        }
        Ok(Self(names))
    }

    pub(super) fn into_inner(self) -> Vec<String> {
        self.0
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// The office of this name.
    pub(super) fn find(&self, name: &Spanned<String>, key: &str) -> Result<Office, Wrong> {
        let found = name.get_ref();
        self.0.iter().position(|known| known == found).ok_or_else(|| {
            let expected = match self.0.as_slice() {
                [first, .., last] if self.0.len() > 12 => format!("{first} … {last}"),
                few => few.join(", "),
            };
            let message = format!("found the office {found:?}, expected one of {expected}");
            Wrong::at(name.span(), key, message)
        })
    }

    /// The offices of these names; one or more, each once.
    pub(super) fn find_all(
        &self,
        names: &[Spanned<String>],
        range: Range<usize>,
        key: &str,
    ) -> Result<Vec<Office>, Wrong> {
        if names.is_empty() {
            return Err(Wrong::at(range, key, "found no office, expected one or more".to_owned()));
        }
        let mut offices = Vec::new();
        for name in names {
            let office = self.find(name, key)?;
            if offices.contains(&office) {
                let message = format!("found {:?} twice, expected it once", name.get_ref());
                return Err(Wrong::at(name.span(), key, message));
            }
            offices.push(office);
        }
        Ok(offices)
    }

    /// The two offices of a link, as written.
    pub(super) fn pair(&self, [a, b]: &Pair, key: &str) -> Result<(Office, Office), Wrong> {
        let (from, to) = (self.find(a, key)?, self.find(b, key)?);
        if from == to {
            let message =
                format!("found a link from {:?} to itself, expected two offices", a.get_ref());
            return Err(Wrong::at(b.span(), key, message));
        }
        Ok((from, to))
    }
}
