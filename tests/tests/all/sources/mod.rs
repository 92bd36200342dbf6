//! How the sources are laid out: small files, small folders, one name for one thing, and no circles between modules that
//! nobody has thought about.

mod circles;
mod text;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// The crates of the workspace, by the folder of their sources.
const CRATES: [&str; 6] =
    ["crdt/src", "node/src", "node/connect/src", "node/page/src", "cli/src", "simulations/src"];
/// A file has one step of something, and is read at one sitting.
const FILE_LINES_MAX: usize = 500;
/// What a folder holds is seen at one look.
const FOLDER_FILES_MAX: usize = 16;
/// The replica conducts its parts, and these do the work.
const REPLICA_METHODS_MAX: usize = 60;
/// Where the methods of the replica stand: what it offers, how it takes an input in, how a group ends.
const REPLICA_FILES_MAX: usize = 3;
/// Words of a dialect that the field has others for.
const DIALECT: [&str; 4] = ["tell", "told", "anew", "whoever"];
/// Where they are the plain word they may stand; they are not to come back everywhere.
const DIALECT_MAX: usize = 40;
/// Names that two types of a crate have, each with its reason.
const SAME_NAMES: [(&str, &str); 1] =
    // Of indexes and of realms: each is private to its part.
    [("crdt/src", "Round")];

/// A source file of a crate.
struct Source {
    path: PathBuf,
    text: String,
}

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// All sources below a folder of the workspace.
fn sources(folder: &str) -> Vec<Source> {
    let mut found = Vec::new();
    let mut folders = vec![workspace().join(folder)];
    while let Some(folder) = folders.pop() {
        for item in std::fs::read_dir(&folder).expect("a folder of sources") {
            let path = item.expect("an item of the folder").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = std::fs::read_to_string(&path).expect("text");
                found.push(Source { path, text });
            }
        }
    }
    found
}

#[test]
fn no_source_file_is_long_and_no_folder_is_full() {
    let mut faults = Vec::new();
    let mut folders: BTreeMap<PathBuf, usize> = BTreeMap::new();
    for folder in
        ["crdt", "node", "cli", "simulations", "tests/src", "tests/tests", "tests/decoders"]
    {
        for Source { path, text } in sources(folder) {
            let lines = text.lines().count();
            if lines > FILE_LINES_MAX {
                faults.push(format!("{}: {lines} lines", path.display()));
            }
            *folders.entry(path.parent().expect("a folder").to_owned()).or_default() += 1;
        }
    }
    let full = folders.iter().filter(|(_, files)| **files > FOLDER_FILES_MAX);
    faults.extend(full.map(|(folder, files)| format!("{}: {files} files", folder.display())));
    assert!(
        faults.is_empty(),
        "expected at most {FILE_LINES_MAX} lines in a file and {FOLDER_FILES_MAX} files in a folder: {faults:#?}"
    );
}

#[test]
fn no_type_name_occurs_twice_in_a_crate() {
    let mut faults = Vec::new();
    for folder in CRATES {
        let mut places: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for Source { path, text } in sources(folder) {
            for name in text::types(&text::code(&text)) {
                places.entry(name).or_default().push(path.display().to_string());
            }
        }
        places.retain(|name, places| places.len() > 1 && !SAME_NAMES.contains(&(folder, name)));
        faults.extend(places);
    }
    assert!(
        faults.is_empty(),
        "one word for one thing, so that it can be searched for: {faults:#?}"
    );
}

#[test]
fn modules_import_each_other_in_one_direction() {
    let mut faults = Vec::new();
    for folder in CRATES {
        let crate_root = workspace().join(folder);
        let modules = sources(folder).into_iter().map(|source| {
            (
                circles::module(&crate_root, &source.path),
                text::without_tests(&text::code(&source.text)),
            )
        });
        faults.extend(circles::unknown(folder, &modules.collect()));
    }
    assert!(
        faults.is_empty(),
        "these modules import each other in a circle: move what they share below both, {faults:#?}"
    );
}

#[test]
fn the_replica_conducts_and_a_group_ends_in_one_place() {
    let (mut files, mut methods, mut commits) = (Vec::new(), 0, 0);
    for Source { path, text } in sources("crdt/src/replica") {
        let code = text::without_tests(&text::code(&text));
        commits += code.matches("self.commit()").count();
        let found = text::methods(&code, "Replica");
        if found > 0 {
            methods += found;
            files.push(path);
        }
    }
    assert!(commits == 1, "expected one place that ends a group, found {commits}");
    assert!(
        (1..=REPLICA_METHODS_MAX).contains(&methods) && files.len() <= REPLICA_FILES_MAX,
        "expected at most {REPLICA_METHODS_MAX} methods of the replica in {REPLICA_FILES_MAX} files, found {methods} in {files:?}"
    );
}

#[test]
fn the_sources_keep_to_the_words_of_the_field() {
    let folders = ["crdt", "node", "cli", "simulations", "tests/src", "tests/tests"];
    let texts = folders.into_iter().flat_map(sources);
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    let in_text =
        |text: &str| text.split(|c| !is_word(c)).filter(|word| DIALECT.contains(word)).count();
    let found: usize = texts.map(|source| in_text(&source.text)).sum();
    assert!(
        found <= DIALECT_MAX,
        "expected {DIALECT:?} at most {DIALECT_MAX} times, found {found}: crdt/docs/glossary.md has the words"
    );
}
