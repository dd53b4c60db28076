//! One name, one type: no two structs, enums, traits or type aliases of the workspace share a name.
//!
//! In: the sources. Out: each type whose name stands elsewhere too. Tests may name their helpers freely.

use std::collections::BTreeMap;

use super::sources::{LintFinding, SourceFile};

/// Names that may stand more than once, and why.
const EXCEPTIONS: [(&str, &str); 0] = [];

/// Types whose names stand more than once.
pub(super) fn check(files: &[SourceFile]) -> Vec<LintFinding> {
    let mut definitions: BTreeMap<&str, Vec<(&str, usize)>> = BTreeMap::new();
    for file in files.iter().filter(|file| is_product_code(&file.path)) {
        for (line, text) in file.text.lines().enumerate() {
            if text == "#[cfg(test)]" && file.text.lines().nth(line + 1) == Some("mod tests {") {
                break;
            }
            if let Some(name) = defined_type(text).filter(|name| EXCEPTIONS.iter().all(|(known, _)| known != name)) {
                definitions.entry(name).or_default().push((&file.path, line + 1));
            }
        }
    }
    let shared = definitions.iter().filter(|(_, places)| places.len() > 1);
    shared.flat_map(|(name, places)| places.iter().map(|place| finding(name, *place, places))).collect()
}

fn finding(name: &str, (path, line): (&str, usize), all: &[(&str, usize)]) -> LintFinding {
    let others: Vec<String> =
        all.iter().filter(|other| **other != (path, line)).map(|(path, line)| format!("{path}:{line}")).collect();
    let text = format!(
        "the type name {name} is also defined in {}: prefix one with its domain, or use one type",
        others.join(", ")
    );
    LintFinding { path: path.to_owned(), line, text }
}

fn is_product_code(path: &str) -> bool {
    let source = path.starts_with("src/") || path.contains("/src/");
    let test = path.ends_with("tests.rs") || path.contains("/tests/") || path.contains("/simulation/");
    source && !test && path.ends_with(".rs")
}

/// The name of the type that `line` defines. Associated types are indented and belong to their trait.
fn defined_type(line: &str) -> Option<&str> {
    let (indented, rest) = (line.starts_with(' '), line.trim_start());
    let rest = match rest.strip_prefix("pub(") {
        Some(rest) => rest.split_once(") ")?.1,
        None => rest.strip_prefix("pub ").unwrap_or(rest),
    };
    let (keyword, rest) = rest.split_once(' ')?;
    let name = rest.split(|c: char| !c.is_alphanumeric() && c != '_').next()?;
    let defines = matches!(keyword, "struct" | "enum" | "trait" | "union") || (keyword == "type" && !indented);
    (defines && name.starts_with(char::is_uppercase)).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str, text: &str) -> SourceFile {
        SourceFile { path: path.into(), text: text.into() }
    }

    #[test]
    fn a_name_that_stands_twice_is_reported_at_both_places() {
        let files = [
            file("crates/a/src/lib.rs", "//! A.\npub(crate) struct Plan<T> {\n"),
            file("src/main.rs", "enum Plan {\n"),
            file("src/other.rs", "struct Planner;\n"),
        ];
        let found = check(&files);
        assert_eq!(found.len(), 2);
        assert_eq!((found[0].path.as_str(), found[0].line), ("crates/a/src/lib.rs", 2));
        assert!(found[0].text.contains("src/main.rs:1"), "{}", found[0].text);
    }

    #[test]
    fn tests_associated_types_and_uses_are_not_definitions() {
        let files = [
            file("src/a.rs", "struct Plan;\nuse x::Plan;\nimpl Plan {\n    type Item = Plan;\n"),
            file("src/b.rs", "struct B;\n#[cfg(test)]\nmod tests {\n    struct Plan;\n"),
            file("src/b/tests.rs", "struct Plan;\n"),
            file("crates/a/tests/it/main.rs", "struct Plan;\n"),
            file("src/c.rs", "trait C {\n    type Item;\n}\ntype Item = u8;\n"),
        ];
        assert!(check(&files).is_empty());
    }
}
