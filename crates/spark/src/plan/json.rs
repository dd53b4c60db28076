//! JSON messages as rows, in SQL. Spark's own JSON functions take what is no JSON, forget members that appear twice and lose the
//! text of numbers; here the text is checked and cut by regular expressions, each of which reads it once.

use std::fmt::Write as _;

use turnstile_pipeline::{Field, FieldKind, FieldPolicy, Pipeline, TimestampFormat};

use super::decoding::{self, Decoding, NO_FIELD, RejectionCase, unmarked};
use super::field;
use super::sql_text::text;

/// How deep arrays and objects may lie within each other.
const LEVELS: usize = 24;

/// A string in JSON, from end to end. An escape of half a character is none.
pub(super) const JSON_STRING: &str = "\\A\"(?:[^\"\\\\\\x00-\\x1f]|\\\\[\"\\\\/bfnrt]|\\\\u(?![dD][89a-fA-F])[0-9a-fA-F]{4}\
                           |\\\\u[dD][89abAB][0-9a-fA-F]{2}\\\\u[dD][c-fC-F][0-9a-fA-F]{2})*+\"\\z";

/// A string of JSON, in quotes; halves of a surrogate pair are not looked at.
const STRING: &str = r#""[^"\\\x00-\x1f]*+(?:\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4})[^"\\\x00-\x1f]*+)*+""#;

/// A number of JSON.
const NUMBER: &str = r"-?(?:0|[1-9][0-9]*+)(?:\.[0-9]++)?+(?:[eE][+-]?[0-9]++)?+";

const BLANKS: &str = r"[ \t\r\n]";

/// How JSON messages become rows.
pub(super) fn decoding(pipeline: &Pipeline, needed: &[&Field]) -> Decoding {
    let fields: Vec<&Field> = pipeline.source.schema.iter().filter(|field| field.metadata.is_none()).collect();
    let objects = Objects::of(&fields);
    let mut steps = vec![
        "bytes AS (SELECT *, CASE WHEN utf8 THEN CAST(body AS string) END AS t0 FROM messages)".to_owned(),
        format!("texts AS (SELECT *, {} AS json0 FROM bytes)", unmarked("t0")),
    ];
    steps.extend(check());
    for (at, path) in objects.paths.iter().enumerate() {
        let object = match path.split_last() {
            None => "CASE WHEN valid THEN json0 END".to_owned(),
            Some((name, outer)) => {
                let member = objects.member(outer, name);
                format!("CASE WHEN startswith({member}, '{{') THEN {member} END")
            }
        };
        steps.extend(cut(at, &object));
    }
    let last = objects.paths.len() - 1;
    let mut tokens = String::new();
    for (at, field) in needed.iter().enumerate().filter(|(_, field)| field.metadata.is_none()) {
        if let Some((name, outer)) = field.path.split_last() {
            write!(tokens, ", nullif({}, 'null') AS {}", objects.member(outer, name), token(at)).ok();
        }
    }
    steps.push(format!("tokens AS (SELECT *{tokens} FROM named{last})"));
    steps.push(format!("read AS (SELECT *{} FROM tokens)", decoding::columns(needed, |_, at| decoded(at), string)));
    let values = decoding::values(needed, |field, at| value(field, &token(at), &string(at)));
    steps.push(format!("valued AS (SELECT *{values} FROM read)"));
    steps.push(format!("typed AS (SELECT *, {} AS problem FROM valued)", problem(&objects, &fields, needed, pipeline)));
    let broken =
        format!("NOT valid{}", objects.each(|at| format!(" OR (raw_names{at} IS NOT NULL AND names{at} IS NULL)")));
    let no_object = format!("the value is not a JSON object, or is nested deeper than {LEVELS} levels");
    let cases = vec![
        RejectionCase::not_utf8(),
        RejectionCase::new(broken, "json", NO_FIELD, text(&no_object)),
        RejectionCase::problem(),
    ];
    Decoding { steps, cases }
}

/// The steps that say whether the text is an object, in column `valid`: tokens become single characters, and then from the inside
/// out each array and object becomes one.
fn check() -> [String; 3] {
    let scalar = format!("{NUMBER}|true|false|null");
    // A number that goes on after it has ended is none.
    let tokens = format!(r#"\A(?:""|{NUMBER}(?![0-9.eE+-])|true|false|null|{BLANKS}|[\[\]{{}},:])*+\z"#);
    let one = r#"(?:0|"")"#;
    let object = format!(r#"\{{(?:"":{one}(?:,"":{one})*+)?+\}}"#);
    let inner = format!(r"\[(?:{one}(?:,{one})*+)?+\]|{object}");
    [
        format!("masked AS (SELECT *, regexp_replace(json0, {}, '\"\"') AS mask0 FROM texts)", text(STRING)),
        format!(
            "shortened AS (SELECT *, CASE WHEN mask0 RLIKE {} \
             THEN regexp_replace(regexp_replace(mask0, {}, '0'), {}, '') END AS mask FROM masked)",
            text(&tokens),
            text(&scalar),
            text(&format!("{BLANKS}+")),
        ),
        format!(
            "checked AS (SELECT *, CASE WHEN mask IS NULL OR NOT startswith(mask, '{{') THEN false \
             WHEN mask RLIKE {} THEN true \
             ELSE aggregate(sequence(1, {LEVELS}), mask, (m, i) -> \
             CASE WHEN length(m) = 1 THEN m ELSE regexp_replace(m, {}, '0') END) = '0' END AS valid FROM shortened)",
            text(&format!(r"\A{object}\z")),
            text(&inner),
        ),
    ]
}

/// The steps that cut the text `object` of the object number `at` into `names` and `tokens` of its members.
fn cut(at: usize, object: &str) -> [String; 3] {
    let before = if at == 0 { "checked".to_owned() } else { format!("named{}", at - 1) };
    let mut value = format!("[\\[{{](?:{STRING}|[^\"\\[\\]{{}}]++)*+[\\]}}]");
    for _ in 1..LEVELS {
        value = format!("[\\[{{](?:{STRING}|[^\"\\[\\]{{}}]++|{value})*+[\\]}}]");
    }
    let member = format!("({STRING}){BLANKS}*+:{BLANKS}*+({STRING}|[^\"\\[\\]{{}},: \\t\\r\\n]++|{value})");
    let member = text(&member);
    [
        format!("object{at} AS (SELECT *, {object} AS text{at} FROM {before})"),
        format!(
            "members{at} AS (SELECT *, regexp_extract_all(text{at}, {member}, 1) AS raw_names{at}, \
             regexp_extract_all(text{at}, {member}, 2) AS tokens{at} FROM object{at})"
        ),
        format!(
            "named{at} AS (SELECT *, CASE WHEN instr(text{at}, '\\\\') = 0 \
             THEN transform(raw_names{at}, n -> substring(n, 2, length(n) - 2)) \
             WHEN forall(raw_names{at}, n -> n RLIKE {strict}) \
             THEN from_json(concat('[', array_join(raw_names{at}, ','), ']'), 'array<string>') END AS names{at} \
             FROM members{at})",
            strict = text(JSON_STRING),
        ),
    ]
}

/// The objects that lead to fields: their paths, outer ones before inner ones.
struct Objects<'a> {
    paths: Vec<&'a [String]>,
}

impl<'a> Objects<'a> {
    fn of(fields: &[&'a Field]) -> Self {
        let mut paths: Vec<&[String]> = vec![&[]];
        for field in fields {
            for len in 1..field.path.len() {
                if !paths.contains(&&field.path[..len]) {
                    paths.push(&field.path[..len]);
                }
            }
        }
        paths.sort_by_key(|path| path.len());
        Self { paths }
    }

    fn number(&self, path: &[String]) -> usize {
        self.paths.iter().position(|known| *known == path).unwrap_or_default()
    }

    /// The text of a member.
    fn member(&self, object: &[String], name: &str) -> String {
        let at = self.number(object);
        let found = format!("array_position(names{at}, {})", text(name));
        format!("CASE WHEN {found} > 0 THEN get(tokens{at}, int({found}) - 1) END")
    }

    /// Where an object stands: the numbers of the members that lead to it, outermost first.
    fn place(&self, path: &[String]) -> String {
        let mut numbers = Vec::new();
        for len in 1..=path.len() {
            let at = self.number(&path[..len - 1]);
            numbers.push(format!("int(array_position(names{at}, {}))", text(&path[len - 1])));
        }
        numbers.join(", ")
    }

    fn each(&self, of: impl Fn(usize) -> String) -> String {
        (0..self.paths.len()).map(of).collect()
    }
}

/// The first thing that is wrong with a member, in the order of the message.
fn problem<'a>(objects: &Objects<'a>, fields: &[&'a Field], needed: &[&'a Field], pipeline: &Pipeline) -> String {
    let mut problems = Vec::new();
    let mut add = |path: &[String], member: &str, reason: &str, field: String, detail: String| {
        let outer = objects.place(path);
        let comma = if outer.is_empty() { "" } else { ", " };
        problems.push(format!(
            "CASE WHEN {member} IS NOT NULL THEN named_struct('at', array({outer}{comma}int({member})), \
             'reason', {reason}, 'field', {field}, 'detail', {detail}) END"
        ));
    };
    let dotted = |path: &[String], name: &str| {
        let mut all = path.to_vec();
        all.push(name.to_owned());
        text(&all.join("."))
    };
    for (at, path) in objects.paths.iter().enumerate() {
        // The name of a member of this object, if `of` is the path of one.
        let member = |of: &'a [String]| of.split_last().filter(|(_, outer)| outer == path).map(|(name, _)| name);
        let inner: Vec<&String> = objects.paths.iter().filter_map(|inner| member(inner)).collect();
        if pipeline.source.extra_fields == FieldPolicy::Error {
            let own = fields.iter().filter_map(|field| member(&field.path));
            let known = own.chain(inner.iter().copied()).map(|name| text(name)).collect::<Vec<_>>().join(", ");
            let unknown = format!("get(filter(names{at}, n -> NOT array_contains(array({known}), n)), 0)");
            let prefix = text(&path.iter().fold(String::new(), |all, name| all + name + "."));
            let detail = text("the schema has no such field");
            let place = format!("nullif(array_position(names{at}, {unknown}), 0)");
            add(path, &place, &text("fields"), format!("concat({prefix}, {unknown})"), detail);
        }
        let looked_at = needed.iter().filter_map(|field| member(&field.path));
        for name in looked_at.chain(inner.iter().copied()) {
            let second = format!(
                "CASE WHEN size(array_distinct(names{at})) < size(names{at}) \
                 THEN get(filter(sequence(1, size(names{at})), k -> get(names{at}, k - 1) = {}), 1) END",
                text(name)
            );
            add(path, &second, &text("fields"), dotted(path, name), text("the field appears twice"));
        }
        for name in &inner {
            let token = objects.member(path, name);
            let place = format!(
                "CASE WHEN {token} <> 'null' AND NOT startswith({token}, '{{') \
                 THEN array_position(names{at}, {}) END",
                text(name)
            );
            let detail = format!("concat('expected an object, found ', left({token}, 200))");
            add(path, &place, &text("type"), dotted(path, name), detail);
        }
    }
    for (at, field) in needed.iter().enumerate().filter(|(_, field)| field.metadata.is_none()) {
        let Some((name, path)) = field.path.split_last() else { continue };
        let (number, value, token) = (objects.number(path), decoding::value(at), token(at));
        let place = format!("array_position(names{number}, {})", text(name));
        let mismatch = format!("CASE WHEN {token} IS NOT NULL AND {value} IS NULL THEN {place} END");
        let reason = if takes_number_text(&field.kind) {
            text("type")
        } else {
            // What cannot be read at all is no JSON to the embedded engine.
            let unreadable = format!(
                "(startswith({token}, '\"') AND {} IS NULL) OR ({token} RLIKE {} AND NOT {})",
                string(at),
                text(&format!("\\A{NUMBER}\\z")),
                is_finite(&format!("try_cast({token} AS double)")),
            );
            format!("CASE WHEN {unreadable} THEN 'json' ELSE 'type' END")
        };
        let blamed = format!("CASE WHEN {reason} = 'type' THEN {} END", text(&field.name));
        add(path, &mismatch, &reason, blamed, decoding::expected(field, &token));
    }
    format!("array_min(filter(array({}), p -> p IS NOT NULL))", problems.join(", "))
}

/// Whether a number is read by its text.
fn takes_number_text(kind: &FieldKind) -> bool {
    match kind {
        FieldKind::Double | FieldKind::Decimal { .. } => true,
        FieldKind::Timestamp { format, .. } => matches!(format, TimestampFormat::Epoch(_)),
        FieldKind::String | FieldKind::Int | FieldKind::Long | FieldKind::Boolean => false,
    }
}

/// The value of a field whose JSON text is `token`, and `string` if that is a string.
fn value(field: &Field, token: &str, string: &str) -> String {
    let of_string = field::value(&field.kind, string);
    let is_number = format!("{token} RLIKE {}", text(&format!("\\A{NUMBER}\\z")));
    let of_number = match &field.kind {
        FieldKind::String => None,
        // A whole number as JSON writes it; -0 is none.
        FieldKind::Int | FieldKind::Long => {
            let whole = text(r"\A-?(?:[1-9][0-9]*+|(?<!-)0)\z");
            Some((format!("{token} RLIKE {whole}"), field::value(&field.kind, token)))
        }
        FieldKind::Double => {
            let number = field::value(&field.kind, token);
            Some((is_number, format!("CASE WHEN {} THEN {number} END", is_finite(&number))))
        }
        FieldKind::Boolean => Some((format!("{token} IN ('true', 'false')"), format!("boolean({token})"))),
        kind if takes_number_text(kind) => Some((is_number, field::value(kind, token))),
        FieldKind::Decimal { .. } | FieldKind::Timestamp { .. } => None,
    };
    match of_number {
        None => format!("CASE WHEN startswith({token}, '\"') THEN {of_string} END"),
        Some((when, value)) => {
            format!("CASE WHEN startswith({token}, '\"') THEN {of_string} WHEN {when} THEN {value} END")
        }
    }
}

fn is_finite(number: &str) -> String {
    format!("{number} BETWEEN -1.7976931348623157E308D AND 1.7976931348623157E308D")
}

/// Column of a field's JSON text; null if it has none or `null`.
fn token(at: usize) -> String {
    format!("token{at}")
}

/// Column of a field's text, if it is a string.
fn string(at: usize) -> String {
    format!("string{at}")
}

fn decoded(at: usize) -> String {
    let token = token(at);
    format!(
        "CASE WHEN NOT startswith({token}, '\"') THEN NULL \
         WHEN instr({token}, '\\\\') = 0 THEN substring({token}, 2, length({token}) - 2) \
         WHEN {token} RLIKE {} THEN get(from_json(concat('[', {token}, ']'), 'array<string>'), 0) END",
        text(JSON_STRING)
    )
}
