//! Rust as far as it takes to see names: comments, strings and tests are cut out.

/// The text without comments and without what is in strings.
pub(super) fn code(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let skipped = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            rest.find("*/").map_or(rest.len(), |end| end + 2)
        } else if let Some(hashes) = raw_string(rest) {
            let end = format!("\"{}", "#".repeat(hashes));
            let begin = hashes + 2;
            rest[begin..].find(&end).map_or(rest.len(), |at| begin + at + end.len())
        } else if first == '"' {
            string(rest)
        } else {
            literal(rest)
        };
        if skipped == 0 {
            out.push(first);
            rest = &rest[first.len_utf8()..];
        } else {
            out.push(' ');
            rest = &rest[skipped..];
        }
    }
    out
}

/// How many `#` stand around the raw string that begins here.
fn raw_string(rest: &str) -> Option<usize> {
    let behind = rest.strip_prefix('r')?;
    let hashes = behind.bytes().take_while(|byte| *byte == b'#').count();
    behind[hashes..].starts_with('"').then_some(hashes)
}

/// The length of the string that begins here.
fn string(rest: &str) -> usize {
    let mut is_escaped = true;
    for (at, byte) in rest.bytes().enumerate() {
        match byte {
            b'"' if !is_escaped => return at + 1,
            _ => is_escaped = byte == b'\\' && !is_escaped,
        }
    }
    rest.len()
}

/// The length of the character literal that begins here, 0 for anything else, such as a lifetime.
fn literal(rest: &str) -> usize {
    let Some(inner) = rest.strip_prefix('\'') else { return 0 };
    if inner.starts_with('\\') {
        return inner[2..].find('\'').map_or(0, |end| end + 4);
    }
    let first = inner.chars().next().map_or(0, char::len_utf8);
    if first > 0 && inner[first..].starts_with('\'') { first + 2 } else { 0 }
}

/// The code up to the module of its own tests, which stands last in a file.
pub(super) fn without_tests(code: &str) -> String {
    let begins = code.find("\n#[cfg(test)]\n").filter(|at| code[*at..].contains("mod tests {"));
    code[..begins.unwrap_or(code.len())].to_owned()
}

/// The names of the types that code declares, except those that an implementation gives to a trait.
pub(super) fn types(code: &str) -> Vec<String> {
    let mut found = Vec::new();
    for line in code.lines() {
        let declared = line.trim_start();
        let is_inner = declared.len() < line.len();
        let words = declared.split(|c: char| c.is_whitespace() || "(){}<:;=".contains(c));
        let words: Vec<_> = words.filter(|word| !word.is_empty()).collect();
        let begins = match words.as_slice() {
            ["pub", "crate" | "super" | "in", ..] | ["pub", ..] | [_, ..] => {
                words.iter().position(|word| matches!(*word, "struct" | "enum" | "trait" | "type"))
            }
            [] => None,
        };
        let Some(at) = begins else { continue };
        let is_visibility = |word: &&str| {
            word.starts_with("pub")
                || word.contains("crate")
                || *word == "super"
                || *word == "in"
                || word.chars().all(|c| c.is_lowercase() || c == '_')
        };
        let is_declared = at == 0 || (words[0] == "pub" && words[..at].iter().all(is_visibility));
        if !is_declared || (is_inner && words[at] == "type") {
            continue;
        }
        if let Some(name) = words.get(at + 1).filter(|name| name.starts_with(char::is_uppercase)) {
            found.push((*name).to_owned());
        }
    }
    found
}

/// How many methods the implementations of a type declare that belong to no trait.
pub(super) fn methods(code: &str, of: &str) -> usize {
    let mut is_inside = false;
    let mut count = 0;
    for line in code.lines() {
        if line.starts_with("impl") {
            let named = line.split(|c: char| !c.is_alphanumeric()).any(|word| word == of);
            is_inside = named && !line.contains(" for ");
        } else if line.starts_with('}') {
            is_inside = false;
        } else if is_inside && line.starts_with("    ") && !line.starts_with("     ") {
            count += usize::from(line.split_whitespace().any(|word| word == "fn"));
        }
    }
    count
}
