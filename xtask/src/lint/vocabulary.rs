//! The field's words: words of a private language stand neither in sources nor in documents.
//!
//! In: the sources, and `vocabulary.txt` with the field's word beside each private one. Out: each place that has one.

use std::collections::HashMap;

use anyhow::{Context, Result, bail};

use super::sources::{LintFinding, SourceFile};

const LIST: &str = include_str!("vocabulary.txt");

/// Private words, and where they may stand after all.
#[derive(Debug, Default)]
struct Vocabulary {
    /// Not even in prose; by the first word of each phrase.
    anywhere: HashMap<String, Vec<(Vec<String>, String)>>,
    /// Not as the name of a function, type or module.
    item_names: HashMap<String, String>,
    /// A path's beginning and a phrase.
    allowed: Vec<(String, String)>,
}

/// Every place that has a private word.
///
/// # Errors
/// When the list itself is malformed.
pub(super) fn check(files: &[SourceFile]) -> Result<Vec<LintFinding>> {
    Ok(Vocabulary::parse(LIST)?.check(files))
}

impl Vocabulary {
    fn parse(list: &str) -> Result<Self> {
        let mut vocabulary = Self::default();
        for (line, text) in list.lines().enumerate().filter(|(_, text)| !text.is_empty() && !text.starts_with('#')) {
            let fields: Vec<&str> = text.split('|').map(str::trim).collect();
            match fields[..] {
                ["anywhere", phrase, instead] if !phrase.is_empty() && !instead.is_empty() => {
                    let phrase = words(phrase);
                    let first = phrase.first().cloned().context("a phrase without letters")?;
                    vocabulary.anywhere.entry(first).or_default().push((phrase, instead.to_owned()));
                }
                ["item", name, instead] if !instead.is_empty() => {
                    vocabulary.item_names.insert(name.to_owned(), instead.to_owned());
                }
                ["allow", path, phrase, reason] if !reason.is_empty() => {
                    vocabulary.allowed.push((path.to_owned(), words(phrase).join(" ")));
                }
                _ => bail!("vocabulary.txt:{}: expected kind | word | the field's word: {text}", line + 1),
            }
        }
        Ok(vocabulary)
    }

    fn check(&self, files: &[SourceFile]) -> Vec<LintFinding> {
        let mut findings = Vec::new();
        for file in files {
            for (line, text) in file.text.lines().enumerate() {
                for (word, instead) in self.private_words(text) {
                    if !self.is_allowed(&file.path, &word) {
                        let text = format!("`{word}` is a private word; write {instead}");
                        findings.push(LintFinding { path: file.path.clone(), line: line + 1, text });
                    }
                }
            }
        }
        findings
    }

    /// The private words of one line, with the field's words.
    fn private_words(&self, line: &str) -> Vec<(String, &str)> {
        let line_words = words(line);
        let mut found = Vec::new();
        for at in 0..line_words.len() {
            for (phrase, instead) in self.anywhere.get(&line_words[at]).into_iter().flatten() {
                if line_words[at..].starts_with(phrase) {
                    found.push((phrase.join(" "), instead.as_str()));
                }
            }
        }
        let item = item_name(line).and_then(|name| self.item_names.get_key_value(name));
        found.extend(item.map(|(name, instead)| (name.clone(), instead.as_str())));
        found
    }

    fn is_allowed(&self, path: &str, word: &str) -> bool {
        self.allowed.iter().any(|(allowed, phrase)| path.starts_with(allowed.as_str()) && phrase == word)
    }
}

/// The words of a text or an identifier in lower case: `KeepHouse`, `keep_house` and `keep house` are the same.
fn words(text: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut after_lower = false;
    for c in text.chars() {
        if !c.is_alphabetic() || (c.is_uppercase() && after_lower) {
            words.push(String::new());
        }
        if c.is_alphabetic() {
            words.last_mut().into_iter().for_each(|word| word.extend(c.to_lowercase()));
        }
        after_lower = c.is_lowercase();
    }
    words.retain(|word| !word.is_empty());
    words
}

/// The name of the function, type or module that a line of Rust defines.
fn item_name(line: &str) -> Option<&str> {
    let mut rest = line.split_whitespace().skip_while(|word| {
        word.starts_with("pub") || matches!(*word, "async" | "const" | "unsafe") || word.starts_with("in ")
    });
    let keyword = rest.next()?;
    let name = rest.next()?.split(|c: char| !c.is_alphanumeric() && c != '_').next()?;
    matches!(keyword, "fn" | "struct" | "enum" | "trait" | "type" | "mod").then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(list: &str, path: &str, text: &str) -> Vec<String> {
        let file = SourceFile { path: path.into(), text: text.into() };
        let findings = Vocabulary::parse(list).unwrap().check(&[file]);
        findings.iter().map(LintFinding::to_string).collect()
    }

    const FOR_TESTS: &str = "\
# Comments and empty lines are skipped.

anywhere | keep_house | run_housekeeping
item | look | poll
allow | docs/old.md | keep house | it quotes an old name
";

    #[test]
    fn a_private_word_is_found_in_prose_and_in_every_form_of_identifier() {
        for text in ["fn keep_house() {}", "struct KeepHouse;", "They keep house.", "let x = keep_house_now;"] {
            let expected = "src/a.rs:1: `keep house` is a private word; write run_housekeeping";
            assert_eq!(found(FOR_TESTS, "src/a.rs", text), [expected], "{text}");
        }
        assert!(found(FOR_TESTS, "src/a.rs", "keeps a household; housekeeping").is_empty());
    }

    #[test]
    fn a_word_that_is_plain_english_is_refused_as_a_name_only() {
        assert_eq!(found(FOR_TESTS, "src/a.rs", "    pub(crate) async fn look(&self) {").len(), 1);
        assert!(found(FOR_TESTS, "src/a.rs", "// look here\nfn look_up() {}").is_empty());
    }

    #[test]
    fn an_exception_holds_for_its_path_only() {
        assert!(found(FOR_TESTS, "docs/old.md", "keep house").is_empty());
        assert_eq!(found(FOR_TESTS, "docs/new.md", "keep house").len(), 1);
    }

    #[test]
    fn the_list_is_well_formed_and_an_entry_without_the_fields_word_is_an_error() {
        assert!(!Vocabulary::parse(LIST).unwrap().anywhere.is_empty());
        assert!(Vocabulary::parse("anywhere | told |").is_err());
        assert!(Vocabulary::parse("allow | docs | told").is_err());
    }
}
