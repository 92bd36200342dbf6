//! Text of other sites, made visible: what a terminal or a browser would act upon, and what would show a reader something
//! else than what is there, is written as JSON writes it (`\u001b`). So JSON stays the JSON that it was.

use std::borrow::Cow;
use std::fmt::Write as _;

/// Unicode's format characters (general category Cf) and its separators of lines and paragraphs: they have no shape, turn
/// the direction of writing, or join what stands beside them.
const INVISIBLE: [(char, char); 22] = [
    ('\u{ad}', '\u{ad}'),
    ('\u{600}', '\u{605}'),
    ('\u{61c}', '\u{61c}'),
    ('\u{6dd}', '\u{6dd}'),
    ('\u{70f}', '\u{70f}'),
    ('\u{890}', '\u{891}'),
    ('\u{8e2}', '\u{8e2}'),
    ('\u{180e}', '\u{180e}'),
    ('\u{200b}', '\u{200f}'),
    ('\u{2028}', '\u{202e}'),
    ('\u{2060}', '\u{206f}'),
    ('\u{3164}', '\u{3164}'),
    ('\u{feff}', '\u{feff}'),
    ('\u{ffa0}', '\u{ffa0}'),
    ('\u{fff9}', '\u{fffb}'),
    ('\u{110bd}', '\u{110bd}'),
    ('\u{110cd}', '\u{110cd}'),
    ('\u{13430}', '\u{1343f}'),
    ('\u{1bca0}', '\u{1bca3}'),
    ('\u{1d173}', '\u{1d17a}'),
    ('\u{e0000}', '\u{e007f}'),
    ('\u{10fffe}', '\u{10ffff}'),
];

/// Text as one line.
pub fn one_line(text: &str) -> Cow<'_, str> {
    escaped(text, |_| false)
}

/// Text of several lines, with tabs.
pub fn lines(text: &str) -> Cow<'_, str> {
    escaped(text, |c| c == '\n' || c == '\t')
}

fn escaped(text: &str, is_kept: impl Fn(char) -> bool) -> Cow<'_, str> {
    let is_hidden = |c: char| is_invisible(c) && !is_kept(c);
    if !text.contains(is_hidden) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if is_hidden(c) {
            for unit in c.encode_utf16(&mut [0; 2]) {
                // A string takes whatever is written to it.
                let _ = write!(shown, "\\u{unit:04x}");
            }
        } else {
            shown.push(c);
        }
    }
    Cow::Owned(shown)
}

fn is_invisible(c: char) -> bool {
    c.is_control() || !c.is_ascii() && INVISIBLE.iter().any(|(from, to)| (*from..=*to).contains(&c))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn nothing_that_a_terminal_acts_upon_is_left() {
        for (text, expected) in [
            ("Tee \u{e9} \u{4f60}\u{597d} \u{1f600}", "Tee \u{e9} \u{4f60}\u{597d} \u{1f600}"),
            ("a\u{1b}[2Jb\n\tc\r", r"a\u001b[2Jb\u000a\u0009c\u000d"),
            ("\u{9b}31m\u{7f}\u{0}", r"\u009b31m\u007f\u0000"),
            ("TEA\u{202e}xslx\u{2066}\u{200d}\u{feff}", r"TEA\u202exslx\u2066\u200d\ufeff"),
            ("tag\u{e0041}", r"tag\udb40\udc41"),
        ] {
            assert_eq!(one_line(text), expected);
        }
        assert_eq!(lines("a\n\tb\u{1b}"), "a\n\tb\\u001b");
    }

    proptest! {
        #[test]
        fn json_that_is_made_visible_is_the_same_json(text in any::<String>()) {
            let json = serde_json::to_string(&text).unwrap();
            prop_assert_eq!(serde_json::from_str::<String>(&one_line(&json)).unwrap(), text);
        }
    }
}
