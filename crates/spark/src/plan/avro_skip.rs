//! Where Avro values end that the query does not need: arrays, maps, records and unions of them, also those that contain themselves.
//!
//! The types are constants of the query, and one loop walks through them with a stack of what is still to be skipped. Its text is
//! the same for every schema.

use std::collections::HashMap;

use turnstile_message::{AvroSchema, AvroShape, AvroTypeId};

use super::avro::{hex_at, number_bits, number_len, with, zigzag};

/// How deeply values may be nested, and how many of them may take no bytes: as in the embedded engine.
const MAX_DEPTH: usize = 64;
const MAX_EMPTY: usize = 100_000;

/// How a value of a type is skipped: the number of each kind.
#[derive(Debug, Clone, Copy, PartialEq)]
#[repr(u8)]
enum Skip {
    /// The type null.
    Null = 0,
    /// Another type of no bytes.
    Empty = 1,
    /// So many bytes.
    Bytes = 2,
    Number = 3,
    Text = 4,
    Union = 5,
    Record = 6,
    Array = 7,
    /// An array of pairs.
    Map = 8,
}

/// One row for each type that can come.
#[derive(Default)]
struct Types {
    number: HashMap<AvroTypeId, usize>,
    skips: Vec<Skip>,
    sizes: Vec<usize>,
    /// Types within it; the fields of a record last one first.
    inner: Vec<Vec<usize>>,
}

impl Types {
    /// The number of a type, after all that can come within it have theirs.
    fn add(&mut self, schema: &AvroSchema, kind: AvroTypeId) -> usize {
        if let Some(known) = self.number.get(&kind) {
            return *known;
        }
        let (skip, size) = match &schema.get(kind).shape {
            AvroShape::Null => (Skip::Null, 0),
            AvroShape::Fixed(0) => (Skip::Empty, 0),
            AvroShape::Record(fields) if fields.is_empty() => (Skip::Empty, 0),
            AvroShape::Boolean => (Skip::Bytes, 1),
            AvroShape::Float => (Skip::Bytes, 4),
            AvroShape::Double => (Skip::Bytes, 8),
            AvroShape::Fixed(size) => (Skip::Bytes, *size),
            AvroShape::Int | AvroShape::Long | AvroShape::Enum(_) => (Skip::Number, 0),
            AvroShape::Bytes | AvroShape::String => (Skip::Text, 0),
            AvroShape::Union(_) => (Skip::Union, 0),
            AvroShape::Record(_) => (Skip::Record, 0),
            AvroShape::Array(_) => (Skip::Array, 0),
            AvroShape::Map(_) => (Skip::Map, 0),
        };
        let at = self.push(skip, size);
        self.number.insert(kind, at);
        let inner = match &schema.get(kind).shape {
            AvroShape::Union(branches) => branches.iter().map(|branch| self.add(schema, *branch)).collect(),
            AvroShape::Record(fields) => fields.iter().rev().map(|(_, kind)| self.add(schema, *kind)).collect(),
            AvroShape::Array(items) => vec![self.add(schema, *items)],
            AvroShape::Map(values) => {
                let key = self.push(Skip::Text, 0);
                let value = self.add(schema, *values);
                let pair = self.push(Skip::Record, 0);
                self.inner[pair] = vec![value, key];
                vec![pair]
            }
            _ => Vec::new(),
        };
        self.inner[at] = inner;
        at
    }

    fn push(&mut self, skip: Skip, size: usize) -> usize {
        self.skips.push(skip);
        self.sizes.push(size);
        self.inner.push(Vec::new());
        self.skips.len() - 1
    }

    /// Most rounds between two that read a byte: each is one of a different type.
    fn rounds_without_bytes(&self) -> usize {
        let reads = |skip: &&Skip| matches!(skip, Skip::Bytes | Skip::Number | Skip::Text | Skip::Union);
        self.skips.iter().filter(|skip| !reads(skip)).count()
    }
}

fn list(numbers: impl IntoIterator<Item = usize>) -> String {
    let numbers = numbers.into_iter().map(|number| number.to_string()).collect::<Vec<_>>().join(", ");
    format!("CAST(array({numbers}) AS array<int>)")
}

/// What is to be skipped: a value of type `kind` (`left` is -1), or an array of such values, `left` more in its block, the last of
/// which began at `from`.
fn frame(kind: &str, left: &str, from: &str, depth: &str) -> String {
    format!("named_struct('kind', {kind}, 'left', {left}, 'from', {from}, 'depth', {depth})")
}

fn value_frame(kind: &str, depth: &str) -> String {
    frame(kind, "-1L", "-1L", depth)
}

fn state(at: &str, stack: &str, empty: &str) -> String {
    format!("named_struct('at', {at}, 'stack', {stack}, 'empty', {empty})")
}

/// Where values of `kinds`, one after another, end that begin at `at`; null if they are malformed.
pub(super) fn end_of(schema: &AvroSchema, kinds: &[AvroTypeId], at: &str) -> String {
    let mut types = Types::default();
    let first: Vec<usize> = kinds.iter().rev().map(|kind| types.add(schema, *kind)).collect();
    let first = first.iter().map(|kind| value_frame(&kind.to_string(), "0")).collect::<Vec<_>>().join(", ");
    let skips = list(types.skips.iter().map(|skip| *skip as usize));
    let sizes = list(types.sizes.iter().copied());
    let inner = types.inner.iter().map(|inner| list(inner.iter().copied())).collect::<Vec<_>>().join(", ");
    let inner = format!("get(array({inner}), f.kind)");
    let skip = |skip: Skip| skip as u8;

    let to = |at: &str, stack: &str| state(at, stack, "s.empty");
    let malformed = to("CAST(NULL AS bigint)", "rest");
    let push = |frames: &str| format!("concat(rest, array({frames}))");
    let within = |end: &str| format!("CASE WHEN {end} <= octet_length(body) THEN {end} END");
    let empty = state(&format!("CASE WHEN s.empty < {MAX_EMPTY} THEN s.at END"), "rest", "s.empty + 1L");
    let fields = format!("transform({inner}, k -> {})", value_frame("k", "f.depth + 1"));
    let of_array = |depth: &str| to("s.at", &push(&frame(&format!("get({inner}, 0)"), "0L", "-1L", depth)));
    let item =
        push(&format!("{}, {}", frame("f.kind", "f.left - 1L", "s.at", "f.depth"), value_frame("f.kind", "f.depth")));

    // What begins with a number: its end is `next`.
    let number = zigzag("bits");
    let text = |next: &str, len: &str| {
        format!("CASE WHEN {len} >= 0 AND {len} <= octet_length(body) - {next} THEN {next} + {len} END")
    };
    let size = zigzag("size_bits");
    let after_size = with("after", &format!("next + {}", number_len("size_hex")), &text("after", &size));
    let after_size = with("size_hex", &hex_at("next", 10), &with("size_bits", &number_bits("size_hex"), &after_size));
    let block = format!(
        "CASE WHEN {number} = 0 THEN {} WHEN {number} > 0 THEN {} ELSE {} END",
        to("next", "rest"),
        to("next", &push(&frame("f.kind", &number, "-1L", "f.depth"))),
        to(&after_size, &push(&frame("f.kind", "0L", "-1L", "f.depth"))),
    );
    let branch = format!("get({inner}, try_cast({number} AS int))");
    let union = with(
        "branch",
        &format!("CASE WHEN {number} >= 0 THEN {branch} END"),
        &format!(
            "CASE WHEN branch IS NULL THEN {malformed} WHEN get({skips}, branch) = {} THEN {} ELSE {} END",
            skip(Skip::Null),
            to("next", "rest"),
            to("next", &push(&value_frame("branch", "f.depth + 1"))),
        ),
    );
    let by_number = format!(
        "CASE WHEN next IS NULL THEN {malformed} WHEN f.left >= 0 THEN {block} \
         ELSE CASE skip WHEN {} THEN {} WHEN {} THEN {} ELSE {union} END END",
        skip(Skip::Number),
        to("next", "rest"),
        skip(Skip::Text),
        to(&text("next", &number), "rest"),
    );
    let by_number = with("next", &format!("s.at + {}", number_len("hex")), &by_number);
    let by_number = with("hex", &hex_at("s.at", 10), &with("bits", &number_bits("hex"), &by_number));
    let value = format!(
        "CASE WHEN f.left > 0 AND f.from <> s.at THEN {item} WHEN f.left < 0 AND f.depth > {MAX_DEPTH} \
         THEN {malformed} WHEN skip IN ({}, {}) THEN {empty} WHEN skip = {} THEN {bytes} WHEN skip = {} THEN {record} \
         WHEN skip = {} THEN {array} WHEN skip = {} THEN {map} ELSE {by_number} END",
        skip(Skip::Null),
        skip(Skip::Empty),
        skip(Skip::Bytes),
        skip(Skip::Record),
        skip(Skip::Array),
        skip(Skip::Map),
        item = to("s.at", &item),
        bytes = to(&within(&format!("s.at + get({sizes}, f.kind)")), "rest"),
        record = to("s.at", &format!("concat(rest, {fields})")),
        array = of_array("f.depth + 1"),
        map = of_array("f.depth"),
    );
    // An array's count of items stands where it is in none of its blocks.
    let round = with("skip", &format!("CASE WHEN f.left < 0 THEN get({skips}, f.kind) ELSE -1 END"), &value);
    let round = with("rest", "slice(s.stack, 1, size(s.stack) - 1)", &round);
    let round = with("f", "element_at(s.stack, -1)", &round);
    let rounds = format!("(octet_length(body) - {at} + 1L) * {}L + {}L", types.rounds_without_bytes() + 2, kinds.len());
    format!(
        "aggregate(sequence(1L, {rounds}), {}, (s, i) -> CASE WHEN s.at IS NULL OR size(s.stack) = 0 THEN s ELSE {round} END, \
         s -> CASE WHEN size(s.stack) = 0 THEN s.at END)",
        state(&format!("CAST({at} AS bigint)"), &format!("array({first})"), "0L"),
    )
}
