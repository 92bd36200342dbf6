//! Which modules of a crate import each other.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// The path of a module: `["record", "view"]`.
type Module = Vec<String>;

/// Modules that know each other, by the crate and the module that holds them. What stands here has grown so and waits to
/// be parted, or is one thing in several files; nothing is to come to it.
const KNOWN: &[(&str, &str, &[&str])] = &[
    ("crdt/src", "", &["log", "membership"]),
    ("crdt/src", "record", &["change", "history", "value", "view"]),
    ("crdt/src", "record::foreign", &["merge", "translation"]),
    (
        "crdt/src",
        "replica",
        &["batch", "context", "group", "indexes", "links", "realms", "status", "task"],
    ),
    ("crdt/src", "replica::batch", &["accept", "foresight", "made", "recall", "stage", "write"]),
    (
        "node/src",
        "",
        &[
            "api",
            "builder",
            "bundle",
            "config",
            "drafts",
            "driver",
            "events",
            "extension",
            "feed",
            "handle",
            "metrics",
            "node",
            "records",
            "site",
            "storage",
            "sync",
        ],
    ),
    ("node/src", "api::exchange", &["changes", "events"]),
    ("node/src", "api::records", &["documents", "record"]),
    ("node/src", "storage", &["folder", "ownership"]),
    ("node/connect/src", "", &["kinds", "sink", "source"]),
    ("node/connect/src", "", &["api", "extension"]),
    ("node/connect/src", "http", &["auth", "config", "service"]),
    ("node/connect/src", "jobs", &["secret", "template"]),
    (
        "node/connect/src",
        "sink",
        &[
            "back_off", "config", "failure", "group", "http", "item", "push", "sinks", "state",
            "survey", "task", "verify", "weaviate", "worker",
        ],
    ),
    ("node/connect/src", "source", &["apply", "pull", "runner"]),
    ("node/connect/src", "sql", &["mapping", "record_id"]),
    ("node/connect/src", "sql::mapping", &["build", "checks"]),
    ("node/connect/src", "sql::mariadb", &["cascade", "install"]),
    (
        "node/page/src",
        "",
        &[
            "assets", "config", "form", "guard", "layout", "live", "office", "sign_in", "tls",
            "views",
        ],
    ),
    ("node/page/src", "views", &["conflicts", "records", "sums"]),
    ("cli/src", "", &["error", "output"]),
    ("cli/src", "", &["args", "commands"]),
    ("cli/src", "commands::import", &["csv", "ids"]),
    ("cli/src", "commands::records", &["schema", "schema_check"]),
    ("simulations/src", "cli", &["error", "output"]),
];

/// The module of a file.
pub(super) fn module(root: &Path, file: &Path) -> Module {
    let inside = file.strip_prefix(root).expect("below the root").with_extension("");
    let mut parts: Module = inside.iter().map(|part| part.to_string_lossy().into_owned()).collect();
    if parts.last().is_some_and(|last| matches!(last.as_str(), "mod" | "lib" | "main")) {
        parts.pop();
    }
    parts
}

/// Circles between modules beside each other that are not [`KNOWN`].
pub(super) fn unknown(folder: &str, modules: &Vec<(Module, String)>) -> Vec<String> {
    let mut arrows: BTreeMap<Module, BTreeSet<(String, String)>> = BTreeMap::new();
    let paths: BTreeSet<_> = modules.iter().map(|(module, _)| module.clone()).collect();
    for (module, code) in modules {
        if module.iter().any(|part| matches!(part.as_str(), "tests" | "testing")) {
            continue;
        }
        for target in imports(module, code) {
            let common = module.iter().zip(&target).take_while(|(a, b)| a == b).count();
            let (Some(from), Some(to)) = (module.get(common), target.get(common)) else { continue };
            if paths.contains(&target[..=common]) && paths.contains(&module[..=common]) {
                let arrow = (from.clone(), to.clone());
                arrows.entry(module[..common].to_vec()).or_default().insert(arrow);
            }
        }
    }
    let mut faults = Vec::new();
    for (parent, arrows) in arrows {
        let place = parent.join("::");
        for circle in circles(&arrows) {
            let is_known = KNOWN.iter().any(|(known_in, parent, known)| {
                *known_in == folder
                    && *parent == place
                    && circle.iter().all(|m| known.contains(&m.as_str()))
            });
            if !is_known {
                faults.push(format!("{folder} {place}: {}", circle.join(", ")));
            }
        }
    }
    faults
}

/// The sets of modules each of which leads to all others of its set.
fn circles(arrows: &BTreeSet<(String, String)>) -> Vec<Vec<String>> {
    let reached = |from: &String| {
        let mut seen = BTreeSet::new();
        let mut open = vec![from.clone()];
        while let Some(at) = open.pop() {
            let next = arrows.iter().filter(|(a, _)| *a == at).map(|(_, b)| b.clone());
            open.extend(next.filter(|module| seen.insert(module.clone())));
        }
        seen
    };
    let all: BTreeSet<_> = arrows.iter().map(|(from, _)| from.clone()).collect();
    let reach: BTreeMap<_, _> =
        all.iter().map(|module| (module.clone(), reached(module))).collect();
    let mut circles = BTreeSet::new();
    for (module, reached) in &reach {
        if reached.contains(module) {
            let back =
                |other: &&String| reach.get(*other).is_some_and(|there| there.contains(module));
            circles.insert(reached.iter().filter(back).cloned().collect::<Vec<_>>());
        }
    }
    circles.into_iter().collect()
}

/// All paths of the crate that code names by `crate::` or `super::`, in imports or elsewhere.
fn imports(module: &Module, code: &str) -> Vec<Module> {
    let mut found = Vec::new();
    for head in ["crate::", "super::"] {
        for (at, _) in code.match_indices(head) {
            let is_whole = !code[..at].ends_with(|c: char| c.is_alphanumeric() || "_:".contains(c));
            if is_whole {
                tree(&code[at..], &mut Vec::new(), &mut found);
            }
        }
    }
    found.iter().filter_map(|path| absolute(module, path)).collect()
}

/// Reads `a::{b, c::d}`, and gives what is behind it.
fn tree<'c>(mut code: &'c str, before: &mut Module, found: &mut Vec<Module>) -> &'c str {
    let depth = before.len();
    loop {
        if let Some(mut inner) = code.strip_prefix('{') {
            loop {
                inner = tree(inner.trim_start(), before, found).trim_start();
                match inner.strip_prefix(',') {
                    Some(behind) => inner = behind,
                    None => break,
                }
            }
            before.truncate(depth);
            return inner.trim_start().strip_prefix('}').unwrap_or(inner);
        }
        let end = code.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(code.len());
        before.push(code[..end].to_owned());
        code = &code[end..];
        match code.strip_prefix("::") {
            Some(behind) => code = behind,
            None => break,
        }
    }
    found.push(before.clone());
    before.truncate(depth);
    // Behind `as NAME`.
    let code = code.trim_start();
    code.strip_prefix("as ").map_or(code, |renamed| {
        renamed.trim_start_matches(|c: char| c.is_alphanumeric() || c == '_')
    })
}

/// Where a path leads, seen from the root of the crate.
fn absolute(module: &Module, path: &Module) -> Option<Module> {
    let mut at = if path[0] == "crate" { Vec::new() } else { module.clone() };
    for part in path {
        match part.as_str() {
            "crate" => {}
            "super" => drop(at.pop()?),
            part => at.push(part.to_owned()),
        }
    }
    Some(at)
}
