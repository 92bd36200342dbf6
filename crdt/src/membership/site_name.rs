//! What a site may be called.
//!
//! Names are for people, so one must not pass for another, nor for an id. What is checked by all sites, in the fold, is
//! fixed for ever, or two programs would know different members: the length, no invisible characters, no id. What hangs on
//! tables of Unicode, which grow, is checked where a name is given or let in: one script, and that no other site's name
//! looks like it (Unicode Technical Standard 39).

use unicode_security::MixedScript;
use unicode_security::confusable_detection::skeleton;

use super::SITE_NAME_BYTES_MAX;

/// What the id of a site begins with, as it is shown.
const ID_PREFIX: &str = "12D3KooW";

/// Characters without a shape of their own, by ranges: joiners, marks of direction, fillers, tags.
const INVISIBLE: [(char, char); 19] = [
    ('\u{ad}', '\u{ad}'),
    ('\u{34f}', '\u{34f}'),
    ('\u{61c}', '\u{61c}'),
    ('\u{115f}', '\u{1160}'),
    ('\u{17b4}', '\u{17b5}'),
    ('\u{180b}', '\u{180f}'),
    ('\u{200b}', '\u{200f}'),
    ('\u{2028}', '\u{202e}'),
    ('\u{2060}', '\u{206f}'),
    ('\u{2800}', '\u{2800}'),
    ('\u{3164}', '\u{3164}'),
    ('\u{e000}', '\u{f8ff}'),
    ('\u{fe00}', '\u{fe0f}'),
    ('\u{feff}', '\u{feff}'),
    ('\u{ffa0}', '\u{ffa0}'),
    ('\u{fff0}', '\u{ffff}'),
    ('\u{1bca0}', '\u{1bca3}'),
    ('\u{1d173}', '\u{1d17a}'),
    ('\u{e0000}', '\u{10ffff}'),
];

/// Why a name cannot be a site's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("site name {found:?} is not usable: {reason}")]
pub struct BadSiteName {
    /// What was given.
    pub found: String,
    /// What is wrong with it, and what was expected.
    pub reason: String,
}

/// Checks a name by the rules that hold for ever.
///
/// # Errors
/// [`BadSiteName`].
pub(crate) fn check_site_name(name: &str) -> Result<(), BadSiteName> {
    let invisible = |it: char| INVISIBLE.iter().any(|(first, last)| (*first..=*last).contains(&it));
    let reason = if !(1..=SITE_NAME_BYTES_MAX).contains(&name.len()) {
        let found = name.len();
        format!("it has {found} bytes, expected 1 to {SITE_NAME_BYTES_MAX}")
    } else if let Some(found) = name.chars().find(|it| it.is_control() || invisible(*it)) {
        format!("it has the character U+{:04X}, which nobody sees", u32::from(found))
    } else if name.trim() != name {
        "it begins or ends with a blank".to_owned()
    } else if name.starts_with(ID_PREFIX) {
        format!("it begins with {ID_PREFIX}, as the ids of sites do")
    } else {
        return Ok(());
    };
    Err(BadSiteName { found: name.to_owned(), reason })
}

/// Checks a name that a site is about to be given.
///
/// # Errors
/// [`BadSiteName`].
pub fn check_new_site_name(name: &str) -> Result<(), BadSiteName> {
    check_site_name(name)?;
    // Letters of each word on its own: an office may bear a name in two languages.
    match name.split(' ').find(|word| !word.is_single_script()) {
        None => Ok(()),
        Some(word) => Err(BadSiteName {
            found: name.to_owned(),
            reason: format!("{word:?} mixes letters of several scripts, which look alike"),
        }),
    }
}

/// Whether people take one name for the other.
pub(crate) fn looks_like(one: &str, other: &str) -> bool {
    let shape = |name: &str| skeleton(&name.to_lowercase()).collect::<String>();
    one == other || shape(one) == shape(other)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_offices_are_usable_in_any_language() {
        let good = [
            "head",
            "Branch 12",
            "Zürich-Nord",
            "Αθήνα",
            "Москва 3",
            "東京支店",
            "القاهرة",
            "Wien (Köln)",
        ];
        for name in good {
            assert_eq!(check_new_site_name(name), Ok(()), "{name}");
        }
    }

    #[test]
    fn what_nobody_sees_is_in_no_name() {
        let hidden = ["\u{7}", "\u{202e}", "\u{200b}", "\u{feff}", "\u{e0041}", "\u{3164}", "\n"];
        for character in hidden {
            let error = check_site_name(&format!("no{character}rth")).unwrap_err();
            assert!(error.reason.contains("nobody sees"), "{error}");
        }
    }

    #[test]
    fn a_name_is_no_id_and_has_its_length() {
        let id = "12D3KooWGRUVhMmfUYxqWMsbFGyS4uEKqzjzzoUEgUpFN4TDNTsm";
        for bad in [id, "", " north", "north ", &"x".repeat(SITE_NAME_BYTES_MAX + 1)] {
            assert!(check_site_name(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_word_has_letters_of_one_script() {
        // The second letter is Cyrillic.
        let error = check_new_site_name("n\u{43e}rth").unwrap_err();
        assert!(error.reason.contains("several scripts"), "{error}");
        assert!(check_site_name("n\u{43e}rth").is_ok(), "by what holds for ever it is a name");
    }

    #[test]
    fn names_that_look_alike_are_told_apart_by_nobody() {
        assert!(looks_like("cop", "\u{441}\u{43e}\u{440}"));
        assert!(looks_like("North", "north"));
        assert!(!looks_like("north", "south"));
    }
}
