//! Reads one table strictly: every unknown key is a fault.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::error::Error;

use turnstile_values::{duration, nearest, size, suggest};

use super::{Fault, TextSpan, TomlNode, TomlTable, TomlValue};
use crate::properties::is_secret;

/// Collects faults, so that a person sees all of them at once.
pub(crate) type Faults = RefCell<Vec<Fault>>;

/// A value with the place it was read from.
#[derive(Debug, Clone)]
pub(crate) struct Placed<T> {
    pub(crate) value: T,
    pub(crate) at: TextSpan,
}

/// Reads the keys of one table. Call [`TableReader::finish`] when all known keys were asked for.
#[derive(Debug)]
pub(crate) struct TableReader<'a> {
    table: &'a TomlTable,
    at: TextSpan,
    path: String,
    known: Vec<&'static str>,
    /// Needed keys that are not there; a misspelt one is reported once, as the unknown key it is.
    missing: RefCell<Vec<&'static str>>,
    faults: &'a Faults,
}

impl<'a> TableReader<'a> {
    /// A reader of the table at `node`; `path` is its dotted name, empty for the file itself.
    pub(crate) fn new(node: &'a TomlNode, path: &str, faults: &'a Faults) -> Option<Self> {
        match &node.value {
            TomlValue::Table(table) => Some(Self {
                table,
                at: node.at.clone(),
                path: path.to_owned(),
                known: Vec::new(),
                missing: RefCell::default(),
                faults,
            }),
            other => {
                let message = format!("[{path}] must be a table, not {}", other.kind());
                faults.borrow_mut().push(Fault::new(&node.at, message));
                None
            }
        }
    }

    /// The table's place, where a missing key is reported.
    pub(crate) fn at(&self) -> &TextSpan {
        &self.at
    }

    /// Records a fault.
    pub(crate) fn fault(&self, fault: Fault) {
        self.faults.borrow_mut().push(fault);
    }

    /// The value of `key` as it is; from now on the key is known.
    pub(crate) fn node(&mut self, key: &'static str) -> Option<&'a TomlNode> {
        self.known.push(key);
        self.table.get(key).map(|entry| &entry.node)
    }

    /// Whether `key` is given.
    pub(crate) fn has(&self, key: &str) -> bool {
        self.table.get(key).is_some()
    }

    /// The place of a key that must not be given, if it is; it is suggested for no other key.
    pub(crate) fn forbidden(&mut self, key: &'static str) -> Option<&'a TextSpan> {
        let entry = self.table.get(key)?;
        self.known.push(key);
        Some(&entry.key_at)
    }

    /// Reports `key` as missing unless it is there; passes `value` through.
    pub(crate) fn required<T>(&self, key: &'static str, value: Option<T>) -> Option<T> {
        if value.is_none() && self.table.get(key).is_none() {
            self.missing.borrow_mut().push(key);
        }
        value
    }

    /// A string.
    pub(crate) fn text(&mut self, key: &'static str) -> Option<Placed<String>> {
        let node = self.node(key)?;
        match &node.value {
            TomlValue::Text(text) => Some(Placed { value: text.clone(), at: node.at.clone() }),
            _ => self.wrong(key, node, "a string"),
        }
    }

    /// A string that `parse` understands.
    pub(crate) fn parsed<T, E: Into<Box<dyn Error + Send + Sync>>>(
        &mut self,
        key: &'static str,
        hint: &str,
        parse: impl Fn(&str) -> Result<T, E>,
    ) -> Option<Placed<T>> {
        let text = self.text(key)?;
        match parse(&text.value) {
            Ok(value) => Some(Placed { value, at: text.at }),
            Err(error) => {
                self.fault(Fault::new(&text.at, key).caused_by(error).hint(hint));
                None
            }
        }
    }

    /// A duration in microseconds.
    pub(crate) fn duration(&mut self, key: &'static str) -> Option<i64> {
        self.parsed(key, duration::HINT, duration::parse_us).map(|placed| placed.value)
    }

    /// A duration longer than nothing.
    pub(crate) fn positive_duration(&mut self, key: &'static str) -> Option<i64> {
        self.parsed(key, duration::HINT, duration::parse_positive_us).map(|placed| placed.value)
    }

    /// A duration, or `off`, which is `Some(None)`. Nothing written is `None`.
    pub(crate) fn duration_or_off(&mut self, key: &'static str) -> Option<Option<i64>> {
        let parse = |text: &str| if text == "off" { Ok(None) } else { duration::parse_positive_us(text).map(Some) };
        self.parsed(key, "write \"off\", or a duration such as \"5 minutes\"", parse).map(|placed| placed.value)
    }

    /// A number of bytes.
    pub(crate) fn bytes(&mut self, key: &'static str) -> Option<u64> {
        let node = self.node(key)?;
        if let TomlValue::Integer(count) = node.value
            && let Ok(count) = u64::try_from(count)
        {
            return Some(count);
        }
        self.parsed(key, size::HINT, size::parse).map(|placed| placed.value)
    }

    /// An integer from 1.
    pub(crate) fn count(&mut self, key: &'static str) -> Option<u64> {
        let node = self.node(key)?;
        match node.value {
            TomlValue::Integer(count) if count >= 1 => Some(count as u64),
            TomlValue::Integer(count) => {
                self.fault(Fault::new(&node.at, format!("{key} must be at least 1, not {count}")));
                None
            }
            _ => self.wrong(key, node, "an integer from 1"),
        }
    }

    /// `true` or `false`.
    pub(crate) fn boolean(&mut self, key: &'static str) -> Option<bool> {
        let node = self.node(key)?;
        match node.value {
            TomlValue::Boolean(value) => Some(value),
            _ => self.wrong(key, node, "true or false"),
        }
    }

    /// One of a few words.
    pub(crate) fn choice<T: Copy>(&mut self, key: &'static str, choices: &[(&'static str, T)]) -> Option<T> {
        let text = self.text(key)?;
        match choices.iter().find(|(word, _)| *word == text.value) {
            Some((_, value)) => Some(*value),
            None => {
                let words: Vec<&str> = choices.iter().map(|(word, _)| *word).collect();
                let message = format!("{key} cannot be \"{}\"", text.value);
                self.fault(Fault::new(&text.at, message).hint(suggest(&text.value, words)));
                None
            }
        }
    }

    /// Strings; none when the key is not given.
    pub(crate) fn texts(&mut self, key: &'static str) -> Vec<String> {
        let Some(node) = self.node(key) else { return Vec::new() };
        let TomlValue::List(items) = &node.value else {
            self.wrong::<()>(key, node, "a list of strings");
            return Vec::new();
        };
        let text = |item: &TomlNode| match &item.value {
            TomlValue::Text(text) => Some(text.clone()),
            _ => self.wrong(key, item, "a list of strings"),
        };
        items.iter().filter_map(text).collect()
    }

    /// A table of settings whose keys are not ours: strings, numbers and booleans, all taken as text.
    pub(crate) fn properties(&mut self, key: &'static str) -> BTreeMap<String, String> {
        let mut out = BTreeMap::new();
        let Some(node) = self.node(key) else { return out };
        let TomlValue::Table(table) = &node.value else {
            self.wrong::<()>(key, node, "a table");
            return out;
        };
        let faults = self.faults;
        flatten(table, "", &mut |name, node| {
            let text = match &node.value {
                TomlValue::Text(text) => text.clone(),
                TomlValue::Integer(value) => value.to_string(),
                TomlValue::Float(value) => value.to_string(),
                TomlValue::Boolean(value) => value.to_string(),
                other => {
                    let message = format!("{key}: \"{name}\" must be a string, not {}", other.kind());
                    self.fault(Fault::new(&node.at, message));
                    return;
                }
            };
            // The file itself is the text 0; all others stood in an argument.
            if node.at.text > 0 && is_secret(&name) {
                faults.borrow_mut().push(secret_argument(key, &name, &node.at));
            }
            out.insert(name, text);
        });
        out
    }

    /// Reports every unknown key, and every required key that is missing.
    pub(crate) fn finish(self) {
        let place = if self.path.is_empty() { "the file".to_owned() } else { format!("[{}]", self.path) };
        let mut missing = self.missing.take();
        for entry in &self.table.entries {
            if self.known.contains(&entry.key.as_str()) {
                continue;
            }
            let meant = nearest(&entry.key, self.known.iter().copied());
            missing.retain(|key| meant != Some(key));
            let message = format!("unknown key \"{}\" in {place}", entry.key);
            self.fault(Fault::new(&entry.key_at, message).hint(suggest(&entry.key, self.known.iter().copied())));
        }
        for key in missing {
            self.fault(Fault::new(&self.at, format!("{place} needs the key \"{key}\"")));
        }
    }

    fn wrong<T>(&self, key: &str, node: &TomlNode, expected: &str) -> Option<T> {
        self.fault(Fault::new(&node.at, format!("{key} must be {expected}, not {}", node.value.kind())));
        None
    }
}

/// Kafka's names hold dots, which TOML reads as nested tables unless they are quoted; both are meant.
fn secret_argument(table: &str, name: &str, at: &TextSpan) -> Fault {
    let hint = if table == "kafka" {
        let variable = name.to_uppercase().replace('.', "_");
        format!("set TURNSTILE_KAFKA_{variable}, or \"{name}.file\" to the path of a file that holds it")
    } else {
        "set the environment variable that the store's own tools use".to_owned()
    };
    let message = format!("\"{name}\" is a secret, and every user of the machine can see a command's arguments");
    Fault::new(at, message).hint(hint)
}

fn flatten<'a>(table: &'a TomlTable, prefix: &str, visit: &mut impl FnMut(String, &'a TomlNode)) {
    for entry in &table.entries {
        let name = if prefix.is_empty() { entry.key.clone() } else { format!("{prefix}.{}", entry.key) };
        match &entry.node.value {
            TomlValue::Table(inner) => flatten(inner, &name, visit),
            _ => visit(name, &entry.node),
        }
    }
}
