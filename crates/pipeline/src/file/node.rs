//! The tree, its positions, and the values set from outside.

use std::ops::Range;

use toml_edit::{Document, Item};

use crate::error::Problem;

/// A place: which text, and which bytes of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct At {
    /// 0 is the file; the others are the values set from outside, in order.
    pub(crate) text: usize,
    pub(crate) bytes: Range<usize>,
}

/// A problem that still knows its place in bytes.
#[derive(Debug, Clone)]
pub(crate) struct Fault {
    pub(crate) at: At,
    pub(crate) message: String,
    pub(crate) hint: Option<String>,
}

impl Fault {
    pub(crate) fn new(at: &At, message: impl Into<String>) -> Self {
        Self { at: at.clone(), message: message.into(), hint: None }
    }

    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

/// A value and where it stands.
#[derive(Debug, Clone)]
pub(crate) struct Node {
    pub(crate) value: Value,
    pub(crate) at: At,
}

/// What a TOML value is.
#[derive(Debug, Clone)]
pub(crate) enum Value {
    Text(String),
    Integer(i64),
    Float(f64),
    Boolean(bool),
    Datetime,
    List(Vec<Node>),
    Table(Table),
}

impl Value {
    /// The type in a person's words.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Value::Text(_) => "a string",
            Value::Integer(_) => "an integer",
            Value::Float(_) => "a number",
            Value::Boolean(_) => "a boolean",
            Value::Datetime => "a date",
            Value::List(_) => "a list",
            Value::Table(_) => "a table",
        }
    }
}

/// The entries of a table in the order of the text.
#[derive(Debug, Clone, Default)]
pub(crate) struct Table {
    pub(crate) entries: Vec<Entry>,
}

/// One `key = value`.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) key: String,
    pub(crate) key_at: At,
    pub(crate) node: Node,
}

impl Table {
    pub(crate) fn get(&self, key: &str) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.key == key)
    }
}

/// The texts that a pipeline is read from, and the tree they make together.
#[derive(Debug)]
pub(crate) struct File {
    texts: Vec<Text>,
    pub(crate) root: Node,
}

#[derive(Debug)]
struct Text {
    name: String,
    text: String,
}

impl File {
    /// Reads `text`, then puts each of `overrides` (dotted key, value) in its place.
    ///
    /// The value of an override is TOML; one that is not is taken as a string, because a shell eats quotes.
    pub(crate) fn parse(name: &str, text: &str, overrides: &[(String, String)]) -> Result<Self, Vec<Problem>> {
        let mut texts = vec![Text { name: name.to_owned(), text: text.to_owned() }];
        let document = Document::parse(text).map_err(|error| {
            let bytes = error.span().unwrap_or(0..0);
            let (line, column) = line_column(text, bytes.start);
            let message = error.message().trim().replace('\n', ", ");
            vec![Problem { source: name.to_owned(), line, column, message, hint: None }]
        })?;
        let mut root = from_item(document.as_item(), 0, 0..0).unwrap_or_else(|| empty_table(0));
        let mut problems = Vec::new();
        for (key, value) in overrides {
            let index = texts.len();
            texts.push(Text { name: format!("--set {key}"), text: value.clone() });
            let problem = |message: &str| Problem {
                source: format!("--set {key}"),
                line: 1,
                column: 1,
                message: message.to_owned(),
                hint: Some("write --set <table>.<key>=<value>, as in --set stream.commit='100 ms'".to_owned()),
            };
            match toml_edit::Key::parse(key) {
                Ok(path) => {
                    let path: Vec<String> = path.iter().map(|part| part.get().to_owned()).collect();
                    if !place(&mut root, &path, override_node(value, index)) {
                        problems.push(problem("the key leads through a value that is not a table"));
                    }
                }
                Err(_) => problems.push(problem("this is not a key")),
            }
        }
        if problems.is_empty() { Ok(Self { texts, root }) } else { Err(problems) }
    }

    /// A fault with its place as a person finds it: file, line, column.
    pub(crate) fn locate(&self, fault: &Fault) -> Problem {
        let text = &self.texts[fault.at.text];
        let (line, column) = line_column(&text.text, fault.at.bytes.start);
        Problem { source: text.name.clone(), line, column, message: fault.message.clone(), hint: fault.hint.clone() }
    }

    /// The text at a place as it was written.
    pub(crate) fn written(&self, at: &At) -> &str {
        self.texts[at.text].text.get(at.bytes.clone()).unwrap_or_default()
    }
}

fn line_column(text: &str, offset: usize) -> (usize, usize) {
    let before = text.get(..offset).unwrap_or(text);
    let line_start = before.rfind('\n').map_or(0, |at| at + 1);
    (before.matches('\n').count() + 1, before[line_start..].chars().count() + 1)
}

fn empty_table(text: usize) -> Node {
    Node { value: Value::Table(Table::default()), at: At { text, bytes: 0..0 } }
}

fn override_node(value: &str, index: usize) -> Node {
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
    node.unwrap_or_else(|| Node { value: Value::Text(value.to_owned()), at: At { text: index, bytes: 0..value.len() } })
}

fn shift(node: &mut Node, by: usize) {
    let back = |at: &mut At| at.bytes = at.bytes.start.saturating_sub(by)..at.bytes.end.saturating_sub(by);
    back(&mut node.at);
    match &mut node.value {
        Value::List(items) => items.iter_mut().for_each(|item| shift(item, by)),
        Value::Table(table) => table.entries.iter_mut().for_each(|entry| {
            back(&mut entry.key_at);
            shift(&mut entry.node, by);
        }),
        _ => {}
    }
}

/// Puts `node` under `path`, making tables on the way. False when the way is blocked by a plain value.
fn place(root: &mut Node, path: &[String], node: Node) -> bool {
    let Value::Table(table) = &mut root.value else { return false };
    let [key, rest @ ..] = path else { return false };
    let at = At { text: node.at.text, bytes: 0..0 };
    let index = match table.entries.iter().position(|entry| entry.key == *key) {
        Some(index) => index,
        None => {
            let node = Node { value: Value::Table(Table::default()), at: at.clone() };
            table.entries.push(Entry { key: key.clone(), key_at: at.clone(), node });
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

fn from_item(item: &Item, text: usize, fallback: Range<usize>) -> Option<Node> {
    let bytes = item.span().unwrap_or(fallback);
    let value = match item {
        Item::None => return None,
        Item::Value(value) => return Some(from_value(value, text, bytes)),
        Item::Table(table) => Value::Table(Table {
            entries: table
                .iter()
                .filter_map(|(key, item)| {
                    let key_bytes = table.key(key).and_then(|key| key.span()).unwrap_or(bytes.clone());
                    entry(key, key_bytes, from_item(item, text, bytes.clone())?, text)
                })
                .collect(),
        }),
        Item::ArrayOfTables(tables) => Value::List(
            tables.iter().filter_map(|table| from_item(&Item::Table(table.clone()), text, bytes.clone())).collect(),
        ),
    };
    Some(Node { value, at: At { text, bytes } })
}

fn entry(key: &str, key_bytes: Range<usize>, node: Node, text: usize) -> Option<Entry> {
    Some(Entry { key: key.to_owned(), key_at: At { text, bytes: key_bytes }, node })
}

fn from_value(value: &toml_edit::Value, text: usize, fallback: Range<usize>) -> Node {
    let bytes = value.span().unwrap_or(fallback);
    let inner = match value {
        toml_edit::Value::String(v) => Value::Text(v.value().clone()),
        toml_edit::Value::Integer(v) => Value::Integer(*v.value()),
        toml_edit::Value::Float(v) => Value::Float(*v.value()),
        toml_edit::Value::Boolean(v) => Value::Boolean(*v.value()),
        toml_edit::Value::Datetime(_) => Value::Datetime,
        toml_edit::Value::Array(items) => {
            Value::List(items.iter().map(|item| from_value(item, text, bytes.clone())).collect())
        }
        toml_edit::Value::InlineTable(table) => Value::Table(Table {
            entries: table
                .iter()
                .filter_map(|(key, value)| {
                    let key_bytes = table.key(key).and_then(|key| key.span()).unwrap_or(bytes.clone());
                    entry(key, key_bytes, from_value(value, text, bytes.clone()), text)
                })
                .collect(),
        }),
    };
    Node { value: inner, at: At { text, bytes } }
}
