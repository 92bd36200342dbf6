//! `list`, `show`, `new`.

use super::error::CliError;
use super::output;
use crate::scenario::{LoadError, Readable, SHIPPED, Scenario, suggest};

const TEMPLATE: &str = include_str!("template.toml");
/// Width of the text in a list, in characters.
const WIDTH: usize = 100;

pub(super) fn list() -> Result<(), CliError> {
    for shipped in SHIPPED {
        let scenario = Scenario::parse(shipped.name, shipped.text).map_err(LoadError::from)?;
        let (offices, duration) = (scenario.offices.len(), Readable(scenario.duration_ms));
        output::line(format_args!("{}  ({offices} offices, {duration})", shipped.name))?;
        for text in wrapped(&scenario.about, WIDTH) {
            output::line(format_args!("    {text}"))?;
        }
    }
    Ok(())
}

pub(super) fn show(name: &str) -> Result<(), CliError> {
    match SHIPPED.iter().find(|shipped| shipped.name == name) {
        Some(shipped) => output::line(shipped.text.trim_end()),
        None => {
            let (name, suggestion) = (name.to_owned(), suggest(name));
            Err(LoadError::Unknown { name, suggestion }.into())
        }
    }
}

pub(super) fn new(name: &str) -> Result<(), CliError> {
    let good = |c: char| c.is_alphanumeric() || c == '-' || c == '_';
    if name.is_empty() || !name.chars().all(good) {
        return Err(CliError::usage(format!(
            "found the name {name:?}, expected letters, digits, - or _"
        )));
    }
    output::line(TEMPLATE.trim_end().replace("NAME", name))?;
    output::note(format_args!(
        "\nhint: keep it with `branchline-sim new {name} > {name}.toml`, change it, then `branchline-sim run {name}.toml`"
    ));
    Ok(())
}

/// Words in lines of at most `width` characters, where the words allow it.
pub(super) fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= width => {
                line.push(' ');
                line.push_str(word);
            }
            Some(_) | None => lines.push(word.to_owned()),
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_starting_file_is_a_scenario() {
        let scenario = Scenario::parse("mine", &TEMPLATE.replace("NAME", "mine"));
        assert_eq!(scenario.unwrap_or_else(|error| panic!("{error}")).offices.len(), 4);
    }

    #[test]
    fn long_texts_are_wrapped_between_words() {
        assert_eq!(wrapped("one two\n three", 7), ["one two", "three"]);
        assert_eq!(wrapped("unbreakable", 3), ["unbreakable"]);
    }
}
