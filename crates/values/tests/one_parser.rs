//! Guard: durations, sizes and secrets have one home. A second parser would take other forms than the first.

use std::fs;
use std::path::{Path, PathBuf};

/// What only a parser of durations or sizes, a second secret, or a second length of a day would hold.
const SIGNS: [&str; 8] = [
    "\"ms\" =>",
    "\"ms\" |",
    "\"min\" =>",
    "\"min\" |",
    "\"minutes\" =>",
    "\"mib\" =>",
    "struct Secret",
    "const DAY_US",
];

#[test]
fn no_other_crate_parses_durations_or_sizes_or_hides_secrets() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut sources = Vec::new();
    for folder in ["crates", "src", "xtask"] {
        collect(&root.join(folder), &mut sources);
    }
    assert!(sources.len() > 100, "the sources were not found");
    let found: Vec<String> = sources.iter().flat_map(|file| signs_in(file)).collect();
    assert!(found.is_empty(), "use turnstile-values instead:\n{}", found.join("\n"));
}

fn collect(folder: &Path, sources: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
        let path = entry.path();
        if path.is_dir() && !path.ends_with("crates/values") && !path.ends_with("target") {
            collect(&path, sources);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            sources.push(path);
        }
    }
}

fn signs_in(file: &Path) -> Vec<String> {
    let text = fs::read_to_string(file).unwrap();
    let lines = text.lines().enumerate();
    lines
        .filter(|(_, line)| SIGNS.iter().any(|sign| line.contains(sign)))
        .map(|(at, line)| format!("{}:{}: {}", file.display(), at + 1, line.trim()))
        .collect()
}
