//! CSV messages as rows, in SQL: one row, a row in a JSON string, or a header line and a row.

use turnstile_pipeline::{EmptyText, Field, FieldKind, FieldPolicy, Pipeline};

use super::decoding::{self, Decoding, NO_FIELD, RejectionCase, unmarked};
use super::field;
use super::json::JSON_STRING;
use super::sql_text::text;

/// A field of RFC 4180 in quotes. Possessive: a field is read in one way only.
const QUOTED: &str = "\"[^\"]*+(?:\"\"[^\"]*+)*+\"";

/// How CSV messages become rows.
pub(super) fn decoding(pipeline: &Pipeline, needed: &[&Field]) -> Decoding {
    let source = &pipeline.source;
    let fields: Vec<&Field> = source.schema.iter().filter(|field| field.metadata.is_none()).collect();
    // A line end may lie within quotes only.
    let csv_field = format!("(?:{QUOTED}|[^\",\\n]*+)");
    let row = format!("\\A{csv_field}(?:,{csv_field})*+\\z");
    // With a comma before it, every field begins with one.
    let cut = |row: &str| {
        let all = format!("regexp_extract_all(concat(',', {row}), {}, 1)", text(&format!(",({csv_field})")));
        format!(
            "transform({all}, f -> CASE WHEN startswith(f, '\"') \
             THEN replace(substring(f, 2, length(f) - 2), '\"\"', '\"') ELSE f END)"
        )
    };
    let without_end = |text: &str| {
        format!(
            "CASE WHEN endswith({text}, '\\r\\n') THEN left({text}, length({text}) - 2) \
             WHEN endswith({text}, '\\n') THEN left({text}, length({text}) - 1) ELSE {text} END"
        )
    };
    let steps = [
        "marked AS (SELECT *, CASE WHEN utf8 THEN CAST(body AS string) END AS t0 FROM messages)".to_owned(),
        format!("ended AS (SELECT *, {} AS t1 FROM marked)", unmarked("t0")),
        format!("texts AS (SELECT *, {} AS t2 FROM ended)", without_end("t1")),
        // A JSON string is one element of an array that holds nothing else.
        format!(
            "unwrapped AS (SELECT *, CASE \
             WHEN NOT (length(t2) >= 2 AND startswith(t2, '\"') AND endswith(t2, '\"')) THEN t2 \
             WHEN instr(substring(t2, 2, length(t2) - 2), '\"') = 0 AND instr(t2, '\\\\') = 0 \
             THEN substring(t2, 2, length(t2) - 2) \
             WHEN t2 RLIKE {json} THEN coalesce(get(from_json(concat('[', t2, ']'), 'array<string>'), 0), t2) \
             ELSE t2 END AS t3 FROM texts)",
            json = text(JSON_STRING),
        ),
        format!(
            "inner_marked AS (SELECT *, CASE WHEN t3 = t2 THEN t3 ELSE {} END AS t4 FROM unwrapped)",
            unmarked("t3")
        ),
        format!(
            "lines AS (SELECT *, CASE WHEN t3 = t2 THEN t4 ELSE {} END AS t5 FROM inner_marked)",
            without_end("t4")
        ),
        format!(
            "heads AS (SELECT *, CASE WHEN instr(t5, '\\n') > 0 THEN {} END AS head FROM \
             (SELECT *, substring_index(t5, '\\n', 1) AS head0 FROM lines))",
            "CASE WHEN endswith(head0, '\\r') THEN left(head0, length(head0) - 1) ELSE head0 END"
        ),
        // Where the first line is no row, its line end lies within a quoted field.
        format!(
            "headed AS (SELECT *, CASE WHEN head RLIKE {row} THEN transform({head}, n -> trim(BOTH {blanks} FROM n)) END AS names, \
             CASE WHEN head RLIKE {row} \
             THEN regexp_replace({rest}, '[\\\\r\\\\n]+\\\\z', '') ELSE t5 END AS line FROM heads)",
            row = text(&row),
            blanks = field::BLANKS,
            head = cut("head"),
            rest = unmarked("substring(t5, instr(t5, '\\n') + 1)"),
        ),
        format!(
            "fields AS (SELECT *, CASE WHEN line RLIKE {row} THEN {cut} END AS cut FROM headed)",
            row = text(&row),
            cut = cut("line"),
        ),
        raw(&fields, needed, pipeline),
        typed(needed),
    ];
    Decoding { steps: steps.into(), cases: cases(&fields, needed, pipeline) }
}

/// Column of a field's text.
fn raw_name(at: usize) -> String {
    format!("raw{at}")
}

/// The text of each field, null if it is empty and that means null.
fn raw(fields: &[&Field], needed: &[&Field], pipeline: &Pipeline) -> String {
    let texts = needed.iter().enumerate().map(|(at, field)| {
        let Some(place) = fields.iter().position(|known| known.name == field.name) else {
            return format!("CAST(NULL AS string) AS {}", raw_name(at));
        };
        let named = format!("array_position(names, {})", text(&field.name));
        let found = format!(
            "CASE WHEN names IS NULL THEN get(cut, {place}) WHEN {named} > 0 THEN get(cut, int({named}) - 1) END"
        );
        let keeps_empty = field.kind == FieldKind::String && pipeline.source.empty == EmptyText::Text;
        let found = if keeps_empty { found } else { format!("nullif({found}, '')") };
        format!("{found} AS {}", raw_name(at))
    });
    format!("raws AS (SELECT *, {} FROM fields)", texts.collect::<Vec<_>>().join(", "))
}

/// The value of each field.
fn typed(needed: &[&Field]) -> String {
    let values = needed.iter().enumerate().map(|(at, field)| {
        let value = field::of_message(field).unwrap_or_else(|| field::value(&field.kind, &raw_name(at)));
        format!("{value} AS {}", decoding::value(at))
    });
    format!("typed AS (SELECT *, {} FROM raws)", values.collect::<Vec<_>>().join(", "))
}

/// Why a message is rejected.
fn cases(fields: &[&Field], needed: &[&Field], pipeline: &Pipeline) -> Vec<RejectionCase> {
    let names = fields.iter().map(|field| text(&field.name)).collect::<Vec<_>>().join(", ");
    let known = format!("array({names})");
    let extra = pipeline.source.extra_fields == FieldPolicy::Error;
    let expected = format!("coalesce(size(names), {})", fields.len());
    let mut cases = vec![
        RejectionCase::not_utf8(),
        RejectionCase::new(
            format!("names IS NOT NULL AND NOT arrays_overlap(names, {known})"),
            "fields",
            NO_FIELD,
            text("the message has two lines, and the first is not a header with the schema's names"),
        ),
    ];
    if extra {
        cases.push(RejectionCase::new(
            format!("size(array_except(names, {known})) > 0"),
            "fields",
            format!("get(array_except(names, {known}), 0)"),
            text("the header names it, but the schema does not"),
        ));
    }
    let twice = format!("get(filter({known}, k -> size(filter(names, n -> n = k)) > 1), 0)");
    cases.push(RejectionCase::new(format!("{twice} IS NOT NULL"), "fields", twice, text("the header names it twice")));
    let lines = format!("\\A(?:{QUOTED}|[^\",]*+)(?:,(?:{QUOTED}|[^\",]*+))*+\\z");
    cases.push(RejectionCase::new(
        format!("cut IS NULL AND line RLIKE {}", text(&lines)),
        "fields",
        NO_FIELD,
        text("the message contains more than one row"),
    ));
    let no_row = text("the value is not a row of comma-separated fields");
    cases.push(RejectionCase::new("cut IS NULL", "csv", NO_FIELD, no_row));
    let differs = if extra { "<>" } else { "<" };
    cases.push(RejectionCase::new(
        format!("size(cut) {differs} {expected}"),
        "fields",
        format!(
            "CASE WHEN size(cut) < {expected} \
             THEN get(filter(array(get(coalesce(names, {known}), size(cut))), n -> array_contains({known}, n)), 0) END"
        ),
        format!("concat('expected ', {expected}, ' fields, found ', size(cut))"),
    ));
    for (at, field) in needed.iter().enumerate().filter(|(_, field)| field.metadata.is_none()) {
        let (raw, value) = (raw_name(at), decoding::value(at));
        let found = decoding::expected(field, &format!("concat('\"', {raw}, '\"')"));
        let when = format!("{raw} IS NOT NULL AND {value} IS NULL");
        cases.push(RejectionCase::new(when, "type", text(&field.name), found));
    }
    cases
}
