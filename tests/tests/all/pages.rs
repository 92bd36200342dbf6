//! The pages about the code name files that are there.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// The pages, with the folders in which a path that is written in one may begin.
const PAGES: [(&str, &[&str]); 12] = [
    ("README.md", &[""]),
    ("crdt/docs/records.md", &["", "crdt/src"]),
    ("node/docs/files.md", &[""]),
    ("node/docs/library.md", &[""]),
    ("node/docs/offices.md", &[""]),
    ("tests/README.md", &[""]),
    ("simulations/README.md", &[""]),
    ("ARCHITECTURE.md", &["", "crdt/src/replica"]),
    ("CONTRIBUTING.md", &["", "crdt/src"]),
    ("SECURITY.md", &[""]),
    ("crdt/docs/glossary.md", &["", "crdt/src"]),
    ("crdt/docs/membership.md", &["", "crdt/src/membership"]),
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// What stands between backticks, outside blocks of code.
fn quoted(page: &str) -> Vec<&str> {
    let text = page.split("```").step_by(2);
    text.flat_map(|text| text.split('`').skip(1).step_by(2)).collect()
}

/// Whether a quoted text is the path of a source file, a page or a folder of the project.
fn is_path(text: &str) -> bool {
    let is_plain = text.chars().all(|it| it.is_ascii_alphanumeric() || "/._-".contains(it));
    let of_project = ["crdt/", "node/", "cli/", "tests/", "simulations/"];
    let is_file = text.ends_with(".rs") || text.ends_with(".md");
    is_plain && (is_file || of_project.iter().any(|folder| text.starts_with(folder)))
}

#[test]
fn paths_in_pages_lead_somewhere() {
    let (mut seen, mut missing) = (0, Vec::new());
    for (page, folders) in PAGES {
        let text = fs::read_to_string(root().join(page)).unwrap();
        for path in quoted(&text).into_iter().filter(|text| is_path(text)) {
            seen += 1;
            if !folders.iter().any(|folder| root().join(folder).join(path).exists()) {
                missing.push(format!("{page}: {path}"));
            }
        }
    }
    assert!(seen > 100, "only {seen} paths were found: are they still quoted?");
    assert!(missing.is_empty(), "these lead nowhere: {missing:#?}");
}

/// The sources of a folder, with those below it.
fn sources(folder: &Path, found: &mut String) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() && !path.ends_with("target") {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push_str(&fs::read_to_string(&path).unwrap());
        }
    }
}

/// All sources of the project.
fn code() -> String {
    let mut code = String::new();
    for folder in ["crdt", "node", "cli", "tests", "simulations"] {
        sources(&root().join(folder), &mut code);
    }
    code
}

#[test]
fn the_recipes_name_what_is_there() {
    let is_of_name = |it: char| it.is_ascii_alphanumeric() || it == '_';
    let code = code();
    let words: BTreeSet<&str> = code.split(|it| !is_of_name(it)).collect();
    let page = fs::read_to_string(root().join("CONTRIBUTING.md")).unwrap();
    let is_name = |text: &&str| text.chars().all(|it| is_of_name(it) || it == ':');
    let names: Vec<&str> = quoted(&page).into_iter().filter(is_name).collect();
    assert!(names.len() > 40, "only {} names were found: are they still quoted?", names.len());
    let is_there = |name: &&str| name.split("::").all(|part| words.contains(part));
    let missing: Vec<&str> = names.into_iter().filter(|name| !is_there(name)).collect();
    assert!(missing.is_empty(), "nothing of the code is called {missing:#?}");
}

#[test]
fn every_promise_of_security_names_a_test_that_is_there() {
    let page = fs::read_to_string(root().join("SECURITY.md")).unwrap();
    let is_name = |text: &&str| {
        text.len() > 20 && text.chars().all(|it| it == '_' || it.is_ascii_lowercase())
    };
    let names: Vec<&str> = quoted(&page).into_iter().filter(is_name).collect();
    assert!(names.len() > 20, "only {} tests are named", names.len());
    let code = code();
    for name in names {
        assert!(code.contains(&format!("fn {name}(")), "no test is called {name}");
    }
}
