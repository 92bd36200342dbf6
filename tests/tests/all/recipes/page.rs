//! The page of recipes, as a test reads it.

use std::path::Path;

const PAGE: &str = include_str!("../../../../node/docs/recipes.md");

/// What a recipe asks for, in the order of the page.
#[derive(Debug)]
pub(super) enum Step {
    /// The configuration of the site whose data folder has this name.
    Configuration { site: String, toml: String },
    /// Commands of a shell.
    Commands(String),
}

/// The steps of the recipe under a heading.
pub(super) fn recipe(heading: &str) -> Vec<Step> {
    let begin = format!("\n## {heading}\n");
    let (_, rest) = PAGE.split_once(&begin).expect("the page has the recipe");
    let text = rest.split("\n## ").next().unwrap_or_default();
    let mut steps = Vec::new();
    let mut parts = text.split("```");
    while let (Some(before), Some(block)) = (parts.next(), parts.next()) {
        let (language, content) = block.split_once('\n').expect("a block has lines");
        match language {
            "toml" => {
                steps.push(Step::Configuration { site: site_of(before), toml: content.to_owned() })
            }
            "sh" => steps.push(Step::Commands(content.to_owned())),
            other => panic!("a recipe has a block of {other:?}"),
        }
    }
    assert!(!steps.is_empty(), "the recipe has steps");
    steps
}

/// The headings of all recipes.
pub(super) fn headings() -> Vec<&'static str> {
    PAGE.lines().filter_map(|line| line.strip_prefix("## ")).collect()
}

/// ``In `head/branchline.toml`:``
fn site_of(before: &str) -> String {
    let line = before.trim_end().lines().last().unwrap_or_default();
    let path = line.split('`').nth(1).unwrap_or_default();
    let site = path.strip_suffix("/branchline.toml");
    site.unwrap_or_else(|| panic!("whose configuration: {line:?}")).to_owned()
}

/// A step's text with what it names put in the place of what the page names: files and servers of the test.
pub(super) fn placed(text: &str, folder: &Path, servers: &[(&str, String)]) -> String {
    let mut text = text.replace("/srv/", &format!("{}/", folder.display()));
    for (named, server) in servers {
        text = text.replace(named, server);
    }
    text
}
