//! How the pages of a list follow each other.

use std::fmt;
use std::str::FromStr;

use url::Url;

use super::config::PageConfig;

/// A place among pages that are counted, where a list may move while it is read.
///
/// Rows that are deleted meanwhile let later ones slide to the page before, behind the reader's back: so that page is read once
/// more after each one, and what is new on it counts as well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PagingStep {
    /// A page that was not read before.
    Ahead {
        /// Its number, or the number of items before it.
        at: u64,
        /// The page before it.
        before: Option<u64>,
    },
    /// The page before, once more.
    Back {
        /// Which.
        at: u64,
        /// Where the list goes on; `None`: nowhere.
        next: Option<u64>,
        /// The page that was read last.
        last: u64,
    },
}

impl PagingStep {
    /// The first page of a list.
    pub(super) fn first(at: u64) -> Self {
        Self::Ahead { at, before: None }
    }

    /// Where it is.
    pub(super) fn at(self) -> u64 {
        match self {
            Self::Ahead { at, .. } | Self::Back { at, .. } => at,
        }
    }

    /// The step after this one. `items`: how many the page had; `width`: how far the next page is from it.
    pub(super) fn next(self, items: usize, width: u64, reread: bool) -> Option<Self> {
        match self {
            Self::Ahead { at, before } => {
                let next = (items > 0).then(|| at.saturating_add(width));
                match before.filter(|_| reread) {
                    Some(before) => Some(Self::Back { at: before, next, last: at }),
                    None => next.map(|next| Self::Ahead { at: next, before: Some(at) }),
                }
            }
            Self::Back { next, last, .. } => {
                next.map(|next| Self::Ahead { at: next, before: Some(last) })
            }
        }
    }
}

impl fmt::Display for PagingStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown =
            |number: Option<u64>| number.map_or("-".to_owned(), |number| number.to_string());
        match self {
            Self::Ahead { at, before } => write!(f, "ahead {at} {}", shown(*before)),
            Self::Back { at, next, last } => write!(f, "back {at} {} {last}", shown(*next)),
        }
    }
}

impl FromStr for PagingStep {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let number = |text: &str| text.parse().map_err(|_| ());
        let maybe = |text: &str| if text == "-" { Ok(None) } else { number(text).map(Some) };
        match text.split(' ').collect::<Vec<_>>()[..] {
            ["ahead", at, before] => Ok(Self::Ahead { at: number(at)?, before: maybe(before)? }),
            ["back", at, next, last] => {
                Ok(Self::Back { at: number(at)?, next: maybe(next)?, last: number(last)? })
            }
            _ => Err(()),
        }
    }
}

impl PageConfig {
    /// Where the list begins, for pages that are counted.
    pub(super) fn first_step(&self) -> Option<PagingStep> {
        match self {
            Self::Number { first, .. } => Some(PagingStep::first(*first)),
            Self::Offset { .. } => Some(PagingStep::first(0)),
            Self::Cursor { .. } | Self::Link => None,
        }
    }
}

/// An address with a parameter set, in the place of one of the same name.
pub(super) fn with_param(
    address: &str,
    name: &str,
    value: &str,
) -> Result<String, url::ParseError> {
    let mut url = Url::parse(address)?;
    let others: Vec<(String, String)> = url
        .query_pairs()
        .filter(|(other, _)| other != name)
        .map(|(name, value)| (name.into_owned(), value.into_owned()))
        .collect();
    url.query_pairs_mut().clear().extend_pairs(others).append_pair(name, value);
    Ok(url.into())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// The places that are read of a list with so many items on its pages.
    fn read(pages: &[usize], reread: bool) -> Vec<u64> {
        let mut step = Some(PagingStep::first(1));
        let mut places = Vec::new();
        while let Some(at) = step {
            assert_eq!(at.to_string().parse(), Ok(at));
            places.push(at.at());
            let index = usize::try_from(at.at() - 1).unwrap();
            step = at.next(pages.get(index).copied().unwrap_or(0), 1, reread);
        }
        places
    }

    #[test]
    fn each_page_before_is_read_once_more_and_the_list_ends_behind_an_empty_page() {
        assert_eq!(read(&[2, 2, 1], true), [1, 2, 1, 3, 2, 4, 3]);
        assert_eq!(read(&[2, 2, 1], false), [1, 2, 3, 4]);
        assert_eq!(read(&[], true), [1]);
        assert_eq!(read(&[1], true), [1, 2, 1]);
    }

    #[test]
    fn an_offset_goes_on_behind_what_came() {
        let step = PagingStep::first(0).next(100, 100, true).unwrap();
        assert_eq!(step, PagingStep::Ahead { at: 100, before: Some(0) });
        let back = step.next(40, 40, true).unwrap();
        assert_eq!(back, PagingStep::Back { at: 0, next: Some(140), last: 100 });
        assert_eq!(
            back.next(100, 100, true),
            Some(PagingStep::Ahead { at: 140, before: Some(100) })
        );
        for text in ["", "ahead", "back 1 2", "ahead x -", "sideways 1 2"] {
            assert_eq!(text.parse::<PagingStep>(), Err(()), "{text}");
        }
    }

    #[test]
    fn a_parameter_takes_the_place_of_one_of_its_name() {
        for (address, expected) in [
            ("https://x/a", "https://x/a?page=2"),
            ("https://x/a?page=1&limit=10", "https://x/a?limit=10&page=2"),
            ("https://x/a?q=a%20b%26c", "https://x/a?q=a+b%26c&page=2"),
        ] {
            assert_eq!(with_param(address, "page", "2").unwrap(), expected);
        }
        assert!(with_param("no address", "page", "2").is_err());
    }
}
