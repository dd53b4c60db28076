//! Which topics a pipeline reads: one, several, or all whose names match.

use std::error::Error;
use std::fmt;

use regex::Regex;

use crate::file::read::TableReader;
use crate::file::{Fault, TomlNode, TomlValue};

/// The topics of a source.
#[derive(Debug, Clone)]
pub enum TopicSelection {
    /// These topics; at least one, without duplicates.
    Named(Vec<String>),
    /// All whose whole names match, also those that are created later. The cluster's own (`__…`) never do.
    Matching(TopicPattern),
}

/// A regular expression over topic names. It begins with `^`, as in Kafka's own clients.
#[derive(Debug, Clone)]
pub struct TopicPattern {
    text: String,
    regex: Regex,
}

impl TopicSelection {
    /// Whether the topic `name` is one of them.
    pub fn contains(&self, name: &str) -> bool {
        match self {
            TopicSelection::Named(names) => names.iter().any(|known| known == name),
            TopicSelection::Matching(pattern) => !name.starts_with("__") && pattern.regex.is_match(name),
        }
    }

    /// The topic, when it is a single one that is named.
    pub fn single(&self) -> Option<&str> {
        match self {
            TopicSelection::Named(names) if names.len() == 1 => names.first().map(String::as_str),
            _ => None,
        }
    }
}

impl fmt::Display for TopicSelection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TopicSelection::Named(names) => f.write_str(&names.join(", ")),
            TopicSelection::Matching(pattern) => f.write_str(&pattern.text),
        }
    }
}

const HINT: &str = "write a name, a list of names, or a pattern such as \"^mta-.*\"; see Kafka's rules for topic names";

/// Reads `topic`. The outer `None`: it is missing or invalid, and a fault was reported.
pub(crate) fn read(reader: &mut TableReader<'_>) -> Option<TopicSelection> {
    let node = reader.node("topic");
    let node = reader.required("topic", node)?;
    let topics: Result<_, Box<dyn Error + Send + Sync>> = match &node.value {
        TomlValue::Text(text) if text.starts_with('^') => {
            pattern(text).map(TopicSelection::Matching).map_err(Into::into)
        }
        TomlValue::Text(name) => name_of(name).map(|name| TopicSelection::Named(vec![name])).map_err(Into::into),
        TomlValue::List(items) => return list(reader, node, items),
        other => Err(format!("must be a name or a list of names, not {}", other.kind()).into()),
    };
    topics.map_err(|error| reader.fault(Fault::new(&node.at, "topic").caused_by(error).hint(HINT))).ok()
}

fn list(reader: &mut TableReader<'_>, node: &TomlNode, items: &[TomlNode]) -> Option<TopicSelection> {
    let mut names: Vec<String> = Vec::new();
    let mut whole = true;
    let mut fault = |at: &TomlNode, message: String| {
        reader.fault(Fault::new(&at.at, format!("topic: {message}")).hint(HINT));
        whole = false;
    };
    if items.is_empty() {
        fault(node, "the list of topics is empty".to_owned());
    }
    for item in items {
        match &item.value {
            TomlValue::Text(name) if names.contains(name) => fault(item, format!("\"{name}\" is listed twice")),
            TomlValue::Text(name) => match name_of(name) {
                Ok(name) => names.push(name),
                Err(message) => fault(item, message),
            },
            other => fault(item, format!("a name must be a string, not {}", other.kind())),
        }
    }
    whole.then_some(TopicSelection::Named(names))
}

fn name_of(name: &str) -> Result<String, String> {
    let legal = name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-'));
    if name.is_empty() || name.len() > 249 || name == "." || name == ".." || !legal {
        return Err(format!("\"{name}\" is not a topic name: 1 to 249 of a-z A-Z 0-9 . _ -"));
    }
    Ok(name.to_owned())
}

/// Of the parser's lines the last says what is wrong.
#[derive(Debug, thiserror::Error)]
#[error("\"{text}\" is not a pattern: {}", error.to_string().lines().last().unwrap_or_default())]
struct PatternError {
    text: String,
    error: regex::Error,
}

fn pattern(text: &str) -> Result<TopicPattern, PatternError> {
    // The whole name has to match: `^mta` alone is not to take `mta-old`.
    let regex = Regex::new(&format!("^(?:{})$", text.trim_start_matches('^').trim_end_matches('$')));
    let text = text.to_owned();
    match regex {
        Ok(regex) => Ok(TopicPattern { text, regex }),
        Err(error) => Err(PatternError { text, error }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_takes_whole_names_and_never_the_clusters_own() {
        let topics = TopicSelection::Matching(pattern("^mta-(east|west)").unwrap());
        assert!(topics.contains("mta-east") && topics.contains("mta-west"));
        assert!(!topics.contains("mta-east-old") && !topics.contains("old-mta-east"));
        assert!(!TopicSelection::Matching(pattern("^.*").unwrap()).contains("__consumer_offsets"));
        assert!(pattern("^mta-(").unwrap_err().to_string().contains("unclosed group"));
    }
}
