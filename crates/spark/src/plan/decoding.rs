//! Messages of any format as rows, in SQL. The same messages are rows, and the others are rejected for the same reason, as by the
//! embedded engine (docs/pipeline-file.md, `format`).

use std::fmt::Write as _;

use turnstile_pipeline::{Field, MESSAGE_ORDER, MessageFormat, Pipeline};

use super::clock::CLOCK;
use super::columns::{DETAIL, FIELD, KEY, MESSAGES_VIEW, REASON, SENT, VALUE};
use super::schemas::{FRAMED, ID, KnownSchemas, RegistrySchemas, SCHEMA_ID};
use super::sql_text::{quoted, text};
use super::{avro, csv, field, json};

/// No field is to blame.
pub(super) const NO_FIELD: &str = "CAST(NULL AS string)";

/// A byte order mark.
const MARK: &str = "'\\uFEFF'";

/// How messages of one format become rows.
pub(super) struct Decoding {
    /// Common table expressions, from `messages` to `typed`, which has the columns [`value`] of the needed fields.
    pub(super) steps: Vec<String>,
    /// Why messages are rejected, in the order in which the embedded engine looks.
    pub(super) cases: Vec<RejectionCase>,
}

/// A reason to reject a message, in SQL.
pub(super) struct RejectionCase {
    /// When it holds.
    pub(super) when: String,
    /// The reason, as in the dead letters.
    pub(super) reason: String,
    /// The field that is to blame.
    pub(super) field: String,
    /// What was found.
    pub(super) detail: String,
}

impl RejectionCase {
    pub(super) fn new(when: impl Into<String>, reason: &str, field: impl Into<String>, detail: String) -> Self {
        Self { when: when.into(), reason: text(reason), field: field.into(), detail }
    }

    /// The column `problem` is the first thing that is wrong, a struct.
    pub(super) fn problem() -> Self {
        Self {
            when: "problem IS NOT NULL".to_owned(),
            reason: "problem.reason".to_owned(),
            field: "problem.field".to_owned(),
            detail: "problem.detail".to_owned(),
        }
    }

    /// The value is no UTF-8.
    pub(super) fn not_utf8() -> Self {
        Self::new("NOT utf8", "not-utf8", NO_FIELD, text("the value is not UTF-8"))
    }
}

/// Column of a field's value: the needed field number `at`. The fields' own names come last, so that they may be any.
pub(super) fn value(at: usize) -> String {
    format!("value{at}")
}

/// A column for each needed field of the messages' values, after a comma.
pub(super) fn columns(
    needed: &[&Field],
    of: impl Fn(&Field, usize) -> String,
    name: impl Fn(usize) -> String,
) -> String {
    let mut all = String::new();
    for (at, field) in needed.iter().enumerate().filter(|(_, field)| field.metadata.is_none()) {
        write!(all, ", {} AS {}", of(field, at), name(at)).ok();
    }
    all
}

/// The values of the needed fields: `of` says those of the messages' values, Kafka gives the others.
pub(super) fn values(needed: &[&Field], of: impl Fn(&Field, usize) -> String) -> String {
    let mut all = columns(needed, of, value);
    for (at, field) in needed.iter().enumerate() {
        if let Some(given) = field::of_message(field) {
            write!(all, ", {given} AS {}", value(at)).ok();
        }
    }
    all
}

/// A field's value does not fit its type.
pub(super) fn expected(field: &Field, found: &str) -> String {
    format!("concat({}, left({found}, 200))", text(&format!("expected {}, found ", field.kind.spark_name())))
}

/// A text without the byte order mark that it begins with.
pub(super) fn unmarked(text: &str) -> String {
    format!("CASE WHEN startswith({text}, {MARK}) THEN substring({text}, 2) ELSE {text} END")
}

/// The query of all messages with a value: the columns that the pipeline's query needs, where a message stands, and why it is
/// rejected.
///
/// # Errors
/// There are too many schemas.
pub(super) fn rows(pipeline: &Pipeline, schemas: &RegistrySchemas) -> Result<String, Vec<String>> {
    let needed: Vec<&Field> = pipeline.query.columns.iter().map(|at| &pipeline.source.schema[*at]).collect();
    let [topic, partition, offset] = MESSAGE_ORDER;
    let format = pipeline.source.format;
    let body = match format {
        MessageFormat::Avro | MessageFormat::JsonSchema => {
            format!("CASE WHEN {FRAMED} THEN {ID} END AS {SCHEMA_ID}, CASE WHEN {FRAMED} THEN substring(value, 6) END")
        }
        MessageFormat::Csv | MessageFormat::Json => "value".to_owned(),
    };
    let messages = format!(
        "messages AS (SELECT *, is_valid_utf8(CAST(body AS string)) AS utf8 FROM \
         (SELECT topic AS {topic}, partition AS {partition}, offset AS {offset}, timestamp AS {SENT}, key AS {KEY}, \
         value AS {VALUE}, {body} AS body FROM {MESSAGES_VIEW} WHERE value IS NOT NULL))"
    );
    let known = match format {
        MessageFormat::Avro | MessageFormat::JsonSchema => KnownSchemas::of(pipeline, &needed, schemas)?,
        MessageFormat::Csv | MessageFormat::Json => KnownSchemas::default(),
    };
    let decoding = match format {
        MessageFormat::Csv => csv::decoding(pipeline, &needed),
        MessageFormat::Json | MessageFormat::JsonSchema => json::decoding(pipeline, &needed),
        MessageFormat::Avro => avro::decoding(&known.programs, &needed),
    };
    let mut cases = known.cases;
    cases.extend(decoding.cases);
    cases.extend(event_time(pipeline, &needed));
    let choose = |which: fn(&RejectionCase) -> &str| {
        let whens = cases.iter().map(|case| format!("WHEN {} THEN {}", case.when, which(case)));
        format!("CASE {} END", whens.collect::<Vec<_>>().join(" "))
    };
    let reasons = format!(
        "reasons AS (SELECT *, {} AS {REASON}, {} AS {FIELD}, {} AS {DETAIL} FROM typed)",
        choose(|case| &case.reason),
        choose(|case| &case.field),
        choose(|case| &case.detail),
    );
    let steps: Vec<String> = [messages].into_iter().chain(decoding.steps).chain([reasons]).collect();
    let columns = needed.iter().enumerate().map(|(at, field)| format!("{} AS {}", value(at), quoted(&field.name)));
    let more = [topic, partition, offset, SENT, KEY, VALUE, REASON, FIELD, DETAIL].map(str::to_owned);
    let columns: Vec<String> = columns.chain(more).collect();
    Ok(format!("WITH {} SELECT {} FROM reasons", steps.join(",\n"), columns.join(", ")))
}

/// The event time is missing, or lies in the future.
fn event_time(pipeline: &Pipeline, needed: &[&Field]) -> Vec<RejectionCase> {
    let name = &needed[pipeline.query.event_time].name;
    let event = value(pipeline.query.event_time);
    let missing =
        RejectionCase::new(format!("{event} IS NULL"), "event-time", text(name), text("the event time is missing"));
    let future = pipeline.stream.future_us.map(|future_us| {
        RejectionCase::new(
            format!("{event} > {CLOCK} + INTERVAL '{}' SECOND", seconds(future_us)),
            "future",
            NO_FIELD,
            format!("concat('the event time ', string({event}), ' lies too far ahead of the clock')"),
        )
    });
    [missing].into_iter().chain(future).collect()
}

/// Microseconds as seconds with six decimal places.
fn seconds(us: i64) -> String {
    format!("{}.{:06}", us / 1_000_000, us % 1_000_000)
}
