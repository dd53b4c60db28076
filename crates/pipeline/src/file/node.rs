//! The tree, its positions, and the values set from outside.

use std::error::Error;
use std::ops::Range;
use std::sync::Arc;

use toml_edit::{Document, Item};

use crate::error::Problem;

/// A position: which text, and which bytes of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TextSpan {
    /// 0 is the file; the others are the values set from outside, in order.
    pub(crate) text: usize,
    pub(crate) bytes: Range<usize>,
}

/// A problem with its position in bytes.
#[derive(Debug, Clone)]
pub(crate) struct Fault {
    pub(crate) at: TextSpan,
    pub(crate) message: String,
    pub(crate) cause: Option<Arc<dyn Error + Send + Sync>>,
    pub(crate) hint: Option<String>,
}

impl Fault {
    pub(crate) fn new(at: &TextSpan, message: impl Into<String>) -> Self {
        Self { at: at.clone(), message: message.into(), cause: None, hint: None }
    }

    /// A parser's error: the message says what it read.
    pub(crate) fn caused_by(self, error: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self { cause: Some(error.into().into()), ..self }
    }

    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

/// A value and its position.
#[derive(Debug, Clone)]
pub(crate) struct TomlNode {
    pub(crate) value: TomlValue,
    pub(crate) at: TextSpan,
}

/// A TOML value.
#[derive(Debug, Clone)]
pub(crate) enum TomlValue {
    Text(String),
    Integer(i64),
    Float(f64),
    Boolean(bool),
    Datetime,
    List(Vec<TomlNode>),
    Table(TomlTable),
}

impl TomlValue {
    /// The type as it is named in messages.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            TomlValue::Text(_) => "a string",
            TomlValue::Integer(_) => "an integer",
            TomlValue::Float(_) => "a number",
            TomlValue::Boolean(_) => "a boolean",
            TomlValue::Datetime => "a date",
            TomlValue::List(_) => "a list",
            TomlValue::Table(_) => "a table",
        }
    }
}

/// The entries of a table in the order of the text.
#[derive(Debug, Clone, Default)]
pub(crate) struct TomlTable {
    pub(crate) entries: Vec<TomlEntry>,
}

/// One `key = value`.
#[derive(Debug, Clone)]
pub(crate) struct TomlEntry {
    pub(crate) key: String,
    pub(crate) key_at: TextSpan,
    pub(crate) node: TomlNode,
}

impl TomlTable {
    pub(crate) fn get(&self, key: &str) -> Option<&TomlEntry> {
        self.entries.iter().find(|entry| entry.key == key)
    }
}

/// The texts that a pipeline is read from, and the tree they make together.
#[derive(Debug)]
pub(crate) struct PipelineText {
    texts: Vec<Text>,
    pub(crate) root: TomlNode,
}

#[derive(Debug)]
struct Text {
    name: String,
    text: String,
}

impl PipelineText {
    /// Reads `text`, then puts each of `overrides` (dotted key, value) in its place.
    ///
    /// The value of an override is TOML; one that is not is taken as a string, because a shell eats quotes.
    pub(crate) fn parse(name: &str, text: &str, overrides: &[(String, String)]) -> Result<Self, Vec<Problem>> {
        let mut texts = vec![Text { name: name.to_owned(), text: text.to_owned() }];
        let document = Document::parse(text).map_err(|error| {
            let bytes = error.span().unwrap_or(0..0);
            let (line, column) = line_column(text, bytes.start);
            let message = error.message().trim().replace('\n', ", ");
            vec![Problem { source: name.to_owned(), line, column, message, cause: None, hint: None }]
        })?;
        let mut root = from_item(document.as_item(), 0, 0..0).unwrap_or_else(|| empty_table(0));
        let mut problems = Vec::new();
        for (key, value) in overrides {
            let index = texts.len();
            texts.push(Text { name: format!("set {key}"), text: value.clone() });
            let problem = |message: &str| Problem {
                source: format!("set {key}"),
                line: 1,
                column: 1,
                message: message.to_owned(),
                cause: None,
                hint: Some("write <table>.<key>=<value>, as in stream.commit='100 ms'".to_owned()),
            };
            match toml_edit::Key::parse(key) {
                Ok(path) => {
                    let path: Vec<String> = path.iter().map(|part| part.get().to_owned()).collect();
                    if !place(&mut root, &path, override_node(value, index)) {
                        problems.push(problem("a part of the key is not a table"));
                    }
                }
                Err(_) => problems.push(problem("this is not a key")),
            }
        }
        if problems.is_empty() { Ok(Self { texts, root }) } else { Err(problems) }
    }

    /// A fault with its place as file, line and column.
    pub(crate) fn locate(&self, fault: &Fault) -> Problem {
        let text = &self.texts[fault.at.text];
        let (line, column) = line_column(&text.text, fault.at.bytes.start);
        let Fault { message, cause, hint, .. } = fault.clone();
        Problem { source: text.name.clone(), line, column, message, cause, hint }
    }

    /// The text at a place as it was written.
    pub(crate) fn written(&self, at: &TextSpan) -> &str {
        self.texts[at.text].text.get(at.bytes.clone()).unwrap_or_default()
    }
}

fn line_column(text: &str, offset: usize) -> (usize, usize) {
    let before = text.get(..offset).unwrap_or(text);
    let line_start = before.rfind('\n').map_or(0, |at| at + 1);
    (before.matches('\n').count() + 1, before[line_start..].chars().count() + 1)
}

fn empty_table(text: usize) -> TomlNode {
    TomlNode { value: TomlValue::Table(TomlTable::default()), at: TextSpan { text, bytes: 0..0 } }
}

fn override_node(value: &str, index: usize) -> TomlNode {
    // The prefix must not move the spans, so the value is parsed behind a key and its span moved back.
    const PREFIX: &str = "v = ";
    let parsed = Document::parse(format!("{PREFIX}{value}")).ok();
    let node = parsed.as_ref().and_then(|document| {
        let table = document.as_table();
        let item = table.get("v").filter(|_| table.len() == 1)?;
        let mut node = from_item(item, index, 0..0)?;
        shift(&mut node, PREFIX.len());
        Some(node)
    });
    node.unwrap_or_else(|| TomlNode {
        value: TomlValue::Text(value.to_owned()),
        at: TextSpan { text: index, bytes: 0..value.len() },
    })
}

fn shift(node: &mut TomlNode, by: usize) {
    let back = |at: &mut TextSpan| at.bytes = at.bytes.start.saturating_sub(by)..at.bytes.end.saturating_sub(by);
    back(&mut node.at);
    match &mut node.value {
        TomlValue::List(items) => items.iter_mut().for_each(|item| shift(item, by)),
        TomlValue::Table(table) => table.entries.iter_mut().for_each(|entry| {
            back(&mut entry.key_at);
            shift(&mut entry.node, by);
        }),
        _ => {}
    }
}

/// Puts `node` under `path`, creating tables as needed. False when a part of the path is a plain value.
fn place(root: &mut TomlNode, path: &[String], node: TomlNode) -> bool {
    let TomlValue::Table(table) = &mut root.value else { return false };
    let [key, rest @ ..] = path else { return false };
    let at = TextSpan { text: node.at.text, bytes: 0..0 };
    let index = match table.entries.iter().position(|entry| entry.key == *key) {
        Some(index) => index,
        None => {
            let node = TomlNode { value: TomlValue::Table(TomlTable::default()), at: at.clone() };
            table.entries.push(TomlEntry { key: key.clone(), key_at: at.clone(), node });
            table.entries.len() - 1
        }
    };
    let entry = &mut table.entries[index];
    if rest.is_empty() {
        entry.key_at = at;
        entry.node = node;
        return true;
    }
    place(&mut entry.node, rest, node)
}

fn from_item(item: &Item, text: usize, fallback: Range<usize>) -> Option<TomlNode> {
    let bytes = item.span().unwrap_or(fallback);
    let value = match item {
        Item::None => return None,
        Item::Value(value) => return Some(from_value(value, text, bytes)),
        Item::Table(table) => TomlValue::Table(TomlTable {
            entries: table
                .iter()
                .filter_map(|(key, item)| {
                    let key_bytes = table.key(key).and_then(|key| key.span()).unwrap_or(bytes.clone());
                    entry(key, key_bytes, from_item(item, text, bytes.clone())?, text)
                })
                .collect(),
        }),
        Item::ArrayOfTables(tables) => TomlValue::List(
            tables.iter().filter_map(|table| from_item(&Item::Table(table.clone()), text, bytes.clone())).collect(),
        ),
    };
    Some(TomlNode { value, at: TextSpan { text, bytes } })
}

fn entry(key: &str, key_bytes: Range<usize>, node: TomlNode, text: usize) -> Option<TomlEntry> {
    Some(TomlEntry { key: key.to_owned(), key_at: TextSpan { text, bytes: key_bytes }, node })
}

fn from_value(value: &toml_edit::Value, text: usize, fallback: Range<usize>) -> TomlNode {
    let bytes = value.span().unwrap_or(fallback);
    let inner = match value {
        toml_edit::Value::String(v) => TomlValue::Text(v.value().clone()),
        toml_edit::Value::Integer(v) => TomlValue::Integer(*v.value()),
        toml_edit::Value::Float(v) => TomlValue::Float(*v.value()),
        toml_edit::Value::Boolean(v) => TomlValue::Boolean(*v.value()),
        toml_edit::Value::Datetime(_) => TomlValue::Datetime,
        toml_edit::Value::Array(items) => {
            TomlValue::List(items.iter().map(|item| from_value(item, text, bytes.clone())).collect())
        }
        toml_edit::Value::InlineTable(table) => TomlValue::Table(TomlTable {
            entries: table
                .iter()
                .filter_map(|(key, value)| {
                    let key_bytes = table.key(key).and_then(|key| key.span()).unwrap_or(bytes.clone());
                    entry(key, key_bytes, from_value(value, text, bytes.clone()), text)
                })
                .collect(),
        }),
    };
    TomlNode { value: inner, at: TextSpan { text, bytes } }
}
