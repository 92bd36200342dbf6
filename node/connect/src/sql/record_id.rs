//! How a row's record is called: `{site}-{id}`.
//!
//! Two keys never give one id, and an id gives the key back. The value of the first placeholder stays as it is, but for
//! `%` and control characters; in the values of all others, every character that stands between or around the
//! placeholders is written as `%2D` as well. Read from its end, an id can then be taken apart in one way only. The rule
//! does not ask what a placeholder is called: a branch writes `{site}-{id}`, and head office, where the site is a column,
//! reads the same id by `{office}-{id}`.

use std::fmt;
use std::fmt::Write as _;

use super::value::RECORD_ID_BYTES_MAX;

/// The placeholder of the site's own name, unless a column of the key is called so.
const SITE: &str = "site";

/// A template of record ids.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdTemplate {
    text: String,
    /// What stands before each placeholder, and the placeholder.
    parts: Vec<(String, Placeholder)>,
    /// What stands behind the last one.
    end: String,
    /// How many columns the key has.
    columns: usize,
}

/// What an id takes in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Placeholder {
    /// The site's name.
    Site,
    /// The value of a column of the key, by its place in the key.
    Column(usize),
}

/// What an id was made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdParts {
    /// The name of the site; `None` where the template does not ask for it.
    pub site: Option<String>,
    /// The values of the key, in the key's order.
    pub key: Vec<String>,
}

/// Why a template cannot promise that two keys never give one id.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    /// Braces that do not match, or hold nothing.
    #[error("the braces of {template:?} do not match: write each column as {{NAME}}")]
    Braces {
        /// The template.
        template: String,
    },
    /// A placeholder is neither a column of the key nor the site.
    #[error(
        "{{{name}}} of {template:?} is no column of the key ({key}){}: only those and {{site}} name a row for good",
        nearest(.near)
    )]
    Unknown {
        /// The template.
        template: String,
        /// The placeholder.
        name: String,
        /// The key's columns.
        key: String,
        /// A column of the key that is called nearly so.
        near: Option<String>,
    },
    /// A placeholder is there twice.
    #[error("{{{name}}} is twice in {template:?}: leave one of them out")]
    Twice {
        /// The template.
        template: String,
        /// The placeholder.
        name: String,
    },
    /// A column of the key is missing.
    #[error(
        "{{{column}}} is missing in {template:?}: rows that differ in it alone would have one id"
    )]
    Missing {
        /// The template.
        template: String,
        /// The column.
        column: String,
    },
    /// Two placeholders stand side by side.
    #[error(
        "{template:?} has nothing between {{{first}}} and {{{second}}}: put a text there, such as -"
    )]
    Adjacent {
        /// The template.
        template: String,
        /// A placeholder.
        first: String,
        /// The one behind it.
        second: String,
    },
    /// What separates two placeholders could be part of an escaped character.
    #[error(
        "{separator:?} in {template:?} does not separate: digits and the letters A to F occur in escaped characters, put \
         another one beside them, such as -"
    )]
    Separator {
        /// The template.
        template: String,
        /// What stands between two placeholders.
        separator: String,
    },
    /// A character that no text of a template may have.
    #[error("{template:?} holds {found:?}, which is kept for escaped characters")]
    Character {
        /// The template.
        template: String,
        /// The character.
        found: char,
    },
}

fn nearest(near: &Option<String>) -> String {
    near.as_ref().map(|near| format!(", did you mean {{{near}}}?")).unwrap_or_default()
}

/// Why there is no id for a key, or no key for an id.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
    /// The id would be too long.
    #[error("an id of {found} bytes, expected at most {RECORD_ID_BYTES_MAX}")]
    TooLong {
        /// How long it would be.
        found: usize,
    },
    /// The id would be empty.
    #[error("an empty id, expected at least one character")]
    Empty,
    /// The key has another number of columns.
    #[error("a key of {found} values, expected {expected}")]
    Columns {
        /// How many values it has.
        found: usize,
        /// How many the template takes.
        expected: usize,
    },
    /// The id is not one that the template gives.
    #[error("an id of another form, expected {template:?}")]
    Form {
        /// The template.
        template: String,
    },
}

impl IdTemplate {
    /// The template of tables that name none: the key's columns, joined by `-`.
    ///
    /// # Errors
    /// [`TemplateError`], where a column has a brace in its name.
    pub fn of_key(key: &[&str]) -> Result<Self, TemplateError> {
        let names: Vec<String> = key.iter().map(|name| format!("{{{name}}}")).collect();
        Self::parse(&names.join("-"), key)
    }

    /// Reads a template over these columns of a key.
    ///
    /// # Errors
    /// [`TemplateError`]: two keys could have one id.
    pub fn parse(text: &str, key: &[&str]) -> Result<Self, TemplateError> {
        let template = || text.to_owned();
        let braces = || TemplateError::Braces { template: template() };
        let mut parts: Vec<(String, Placeholder)> = Vec::new();
        let mut names: Vec<&str> = Vec::new();
        let mut rest = text;
        while let Some((before, behind)) = rest.split_once('{') {
            let (name, behind) = behind.split_once('}').ok_or_else(braces)?;
            if name.is_empty() || name.contains('{') || before.contains('}') {
                return Err(braces());
            }
            let column = key.iter().position(|column| *column == name);
            let placeholder = match column {
                Some(column) => Placeholder::Column(column),
                None if name == SITE => Placeholder::Site,
                None => return Err(unknown(text, name, key)),
            };
            if names.contains(&name) {
                return Err(TemplateError::Twice { template: template(), name: name.to_owned() });
            }
            if let Some(first) = names.last() {
                check_separator(text, first, before, name)?;
            }
            names.push(name);
            parts.push((before.to_owned(), placeholder));
            rest = behind;
        }
        if rest.contains('}') {
            return Err(braces());
        }
        if let Some(column) = key.iter().find(|column| !names.contains(column)) {
            let column = (*column).to_owned();
            return Err(TemplateError::Missing { template: template(), column });
        }
        let is_kept = |c: char| c == '%' || c.is_control();
        let literals = parts.iter().map(|(before, _)| &before[..]).chain([rest]);
        if let Some(found) = literals.flat_map(str::chars).find(|c| is_kept(*c)) {
            return Err(TemplateError::Character { template: template(), found });
        }
        Ok(Self { text: template(), parts, end: rest.to_owned(), columns: key.len() })
    }

    /// Whether ids name the site by its own name, and not by a column.
    #[must_use]
    pub fn has_site(&self) -> bool {
        self.parts.iter().any(|(_, placeholder)| *placeholder == Placeholder::Site)
    }

    /// The id of the record of a row.
    ///
    /// # Errors
    /// [`IdError`] where it would be empty or too long, or the key has another number of values.
    pub fn id(&self, site: &str, key: &[String]) -> Result<String, IdError> {
        if key.len() != self.columns {
            return Err(IdError::Columns { found: key.len(), expected: self.columns });
        }
        let mut id = String::new();
        for (n, (before, placeholder)) in self.parts.iter().enumerate() {
            id.push_str(before);
            let value = match placeholder {
                Placeholder::Site => site,
                Placeholder::Column(column) => key.get(*column).map_or("", String::as_str),
            };
            self.escape(value, n == 0, &mut id);
        }
        id.push_str(&self.end);
        match id.len() {
            0 => Err(IdError::Empty),
            found if found > RECORD_ID_BYTES_MAX => Err(IdError::TooLong { found }),
            _ => Ok(id),
        }
    }

    /// What an id was made of.
    ///
    /// # Errors
    /// [`IdError::Form`]: the template does not give such an id.
    pub fn take_apart(&self, id: &str) -> Result<IdParts, IdError> {
        let form = || IdError::Form { template: self.text.clone() };
        let mut site = None;
        let mut key = vec![String::new(); self.columns];
        let mut rest = id.strip_suffix(&self.end[..]).ok_or_else(form)?;
        for (n, (before, placeholder)) in self.parts.iter().enumerate().rev() {
            let escaped = match n {
                0 => rest.strip_prefix(&before[..]).ok_or_else(form)?,
                _ => {
                    let (left, escaped) = rest.rsplit_once(&before[..]).ok_or_else(form)?;
                    rest = left;
                    escaped
                }
            };
            let value = unescape(escaped).ok_or_else(form)?;
            match placeholder {
                Placeholder::Site => site = Some(value),
                Placeholder::Column(column) => {
                    *key.get_mut(*column).ok_or_else(form)? = value;
                }
            }
        }
        // One key has one id: anyone who escapes more or less than the rule says means none.
        let again = self.id(site.as_deref().unwrap_or_default(), &key);
        if again.as_deref() == Ok(id) { Ok(IdParts { site, key }) } else { Err(form()) }
    }

    fn escape(&self, value: &str, is_first: bool, id: &mut String) {
        for c in value.chars() {
            if c == '%' || c.is_control() || (!is_first && self.has_literal(c)) {
                for byte in c.encode_utf8(&mut [0; 4]).bytes() {
                    // Writing to a string cannot fail.
                    let _ = write!(id, "%{byte:02X}");
                }
            } else {
                id.push(c);
            }
        }
    }

    /// Whether a character occurs outside of the placeholders.
    fn has_literal(&self, c: char) -> bool {
        self.end.contains(c) || self.parts.iter().any(|(before, _)| before.contains(c))
    }
}

/// The template as it was written.
impl fmt::Display for IdTemplate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

fn unknown(text: &str, name: &str, key: &[&str]) -> TemplateError {
    TemplateError::Unknown {
        template: text.to_owned(),
        name: name.to_owned(),
        key: key.join(", "),
        near: super::mapping::nearest(name, key.iter().copied()),
    }
}

/// Checks what stands between two placeholders: some character of it must occur in no escaped value.
fn check_separator(
    text: &str,
    first: &str,
    separator: &str,
    second: &str,
) -> Result<(), TemplateError> {
    if separator.is_empty() {
        return Err(TemplateError::Adjacent {
            template: text.to_owned(),
            first: first.to_owned(),
            second: second.to_owned(),
        });
    }
    if separator.chars().all(|c| matches!(c, '%' | '0'..='9' | 'A'..='F')) {
        let (template, separator) = (text.to_owned(), separator.to_owned());
        return Err(TemplateError::Separator { template, separator });
    }
    Ok(())
}

/// `None`: there is a `%` without two digits behind it, or bytes that are no text.
fn unescape(escaped: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(escaped.len());
    let mut rest = escaped.as_bytes();
    while let Some((first, behind)) = rest.split_first() {
        rest = behind;
        if *first == b'%' {
            let (digits, behind) = rest.split_at_checked(2)?;
            bytes.push(u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?);
            rest = behind;
        } else {
            bytes.push(*first);
        }
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn id(template: &str, key: &[&str], site: &str, values: &[&str]) -> String {
        let values: Vec<String> = values.iter().map(|value| (*value).to_owned()).collect();
        IdTemplate::parse(template, key).unwrap().id(site, &values).unwrap()
    }

    #[test]
    fn head_office_reads_the_id_that_a_branch_writes() {
        let written = id("{site}-{id}", &["id"], "north-east 5%", &["7-a"]);
        assert_eq!(written, "north-east 5%25-7%2Da");
        let head = IdTemplate::parse("{office}-{id}", &["office", "id"]).unwrap();
        assert_eq!(head.take_apart(&written).unwrap().key, ["north-east 5%", "7-a"]);
        let branch = IdTemplate::parse("{site}-{id}", &["id"]).unwrap();
        let parts = branch.take_apart(&written).unwrap();
        assert_eq!(parts, IdParts { site: Some("north-east 5%".into()), key: vec!["7-a".into()] });
        assert!(branch.has_site() && !head.has_site());
    }

    #[test]
    fn the_default_joins_the_columns_of_the_key() {
        let template = IdTemplate::of_key(&["a", "b"]).unwrap();
        assert_eq!(template.to_string(), "{a}-{b}");
        assert_eq!(template.id("x", &["1".into(), "2".into()]).unwrap(), "1-2");
        assert!(IdTemplate::of_key(&["a}"]).is_err() && IdTemplate::of_key(&["{a"]).is_err());
    }

    #[test]
    fn a_column_called_site_is_the_column() {
        let template = IdTemplate::parse("{site}/{id}", &["site", "id"]).unwrap();
        assert!(!template.has_site());
        assert_eq!(template.id("head", &["north".into(), "7".into()]).unwrap(), "north/7");
    }

    #[test]
    fn templates_that_could_give_two_keys_one_id_are_refused() {
        let error = |text, key: &[&str]| IdTemplate::parse(text, key).unwrap_err();
        assert!(matches!(error("{a}{b}", &["a", "b"]), TemplateError::Adjacent { .. }));
        assert!(matches!(error("{a}2{b}", &["a", "b"]), TemplateError::Separator { .. }));
        assert!(matches!(error("{a}-", &["a", "b"]), TemplateError::Missing { .. }));
        assert!(matches!(error("fixed", &["a"]), TemplateError::Missing { .. }));
        assert!(matches!(error("{a}-{a}", &["a"]), TemplateError::Twice { .. }));
        assert!(matches!(error("{a}%{b}", &["a", "b"]), TemplateError::Separator { .. }));
        assert!(matches!(error("{a}-%{b}", &["a", "b"]), TemplateError::Character { .. }));
        for braces in ["{a", "a}", "{}", "{{a}", "{a}-}", "}{a}"] {
            assert!(matches!(error(braces, &["a"]), TemplateError::Braces { .. }), "{braces}");
        }
        let unknown = error("{offce}-{id}", &["office", "id"]).to_string();
        assert!(unknown.contains("did you mean {office}?"), "{unknown}");
    }

    #[test]
    fn an_id_that_the_template_does_not_give_has_no_key() {
        let template = IdTemplate::parse("no {a}-{b}.", &["a", "b"]).unwrap();
        for id in
            ["", "x", "no 1-2", "1-2.", "no 12.", "no 1-%2.", "no 1-%41.", "no 1-%2d.", "no 1-2 3."]
        {
            assert!(template.take_apart(id).is_err(), "{id}");
        }
        assert_eq!(template.take_apart("no 1-2.").unwrap().key, ["1", "2"]);
    }

    #[test]
    fn an_id_is_neither_empty_nor_longer_than_the_node_takes() {
        let template = IdTemplate::parse("{a}", &["a"]).unwrap();
        assert_eq!(template.id("", &[String::new()]), Err(IdError::Empty));
        assert!(template.id("", &["x".repeat(255)]).is_ok());
        assert_eq!(template.id("", &["%".repeat(100)]), Err(IdError::TooLong { found: 300 }));
        let found = template.id("", &[]);
        assert_eq!(found, Err(IdError::Columns { found: 0, expected: 1 }));
    }

    /// Templates over three columns, and values that are hard on them.
    fn template() -> impl Strategy<Value = IdTemplate> {
        let separator = "[-:/ a2F]{0,2}[-:/ a][-2F]{0,2}";
        let order = Just(["{a}", "{b}", "{c}", "{site}"]).prop_shuffle();
        ("[-:2]{0,2}", separator, separator, separator, "[-:2F]{0,2}", order).prop_map(
            |(start, one, two, three, end, [w, x, y, z])| {
                let text = format!("{start}{w}{one}{x}{two}{y}{three}{z}{end}");
                IdTemplate::parse(&text, &["a", "b", "c"]).unwrap()
            },
        )
    }

    fn value() -> impl Strategy<Value = String> {
        "([-:/ %2DFa\n\u{7f}\u{85}é\u{1f600}]|%2D|%25){0,6}"
    }

    proptest! {
        #[test]
        fn an_id_gives_its_key_back(
            template in template(), site in value(), key in proptest::collection::vec(value(), 3),
        ) {
            if let Ok(id) = template.id(&site, &key) {
                prop_assert!(id.len() <= RECORD_ID_BYTES_MAX && !id.chars().any(char::is_control));
                let parts = template.take_apart(&id);
                prop_assert_eq!(parts, Ok(IdParts { site: Some(site), key }));
            }
        }

        #[test]
        fn two_keys_never_give_one_id(
            template in template(),
            one in proptest::collection::vec(value(), 4), two in proptest::collection::vec(value(), 4),
        ) {
            let id = |values: &[String]| template.id(&values[0], &values[1..]);
            prop_assert!(one == two || id(&one).is_err() || id(&one) != id(&two));
        }

        #[test]
        fn an_id_that_gives_a_key_is_the_id_of_that_key(template in template(), id in "[-:/ %2DFa\u{e9}]{0,30}") {
            if let Ok(IdParts { site, key }) = template.take_apart(&id) {
                prop_assert_eq!(template.id(&site.unwrap_or_default(), &key), Ok(id));
            }
        }
    }
}
