//! From the text of a field to its value: which texts are numbers and times is the embedded engine's rule, so that both accept
//! the same messages.

use turnstile_pipeline::{EpochUnit, Field, FieldKind, MESSAGE_ORDER, MessageMetadata, TimestampFormat};

use super::columns::SENT;
use super::sql_text::text;

/// Blanks that may stand around numbers and booleans: those of ASCII.
pub(super) const BLANKS: &str = "' \\t\\r\\n\\u000C'";

/// Microseconds of the years 1 to 9999, UTC.
const WITHIN: &str = "BETWEEN -62135596800000000 AND 253402300799999999";

/// The value of a text in SQL: null if `raw` is null or does not fit; nothing in it can fail.
pub(super) fn value(kind: &FieldKind, raw: &str) -> String {
    let trimmed = format!("trim(BOTH {BLANKS} FROM {raw})");
    let if_like =
        |pattern: &str, value: String| format!("CASE WHEN {trimmed} RLIKE {} THEN {value} END", text(pattern));
    let whole = "\\A[+-]?[0-9]+\\z";
    match kind {
        FieldKind::String => raw.to_owned(),
        FieldKind::Int => if_like(whole, format!("try_cast({trimmed} AS int)")),
        FieldKind::Long => if_like(whole, format!("try_cast({trimmed} AS bigint)")),
        FieldKind::Double => format!(
            "CASE WHEN {trimmed} RLIKE {number} THEN try_cast({trimmed} AS double) \
             WHEN {trimmed} RLIKE {infinity} THEN try_cast({trimmed} AS double) \
             WHEN {trimmed} RLIKE {nan} THEN double('NaN') END",
            number = text("\\A[+-]?([0-9]+\\.?[0-9]*|\\.[0-9]+)([eE][+-]?[0-9]+)?\\z"),
            infinity = text("(?i)\\A[+-]?inf(inity)?\\z"),
            nan = text("(?i)\\A[+-]?nan\\z"),
        ),
        FieldKind::Boolean => {
            format!("CASE lower({trimmed}) WHEN 'true' THEN true WHEN 'false' THEN false END")
        }
        FieldKind::Decimal { precision, scale } => decimal(&trimmed, *precision, *scale),
        FieldKind::Timestamp { format, .. } => match format {
            TimestampFormat::Pattern(pattern) => {
                let pattern = text(&pattern.to_string());
                let time = format!("try_to_timestamp({raw}, {pattern})");
                format!("CASE WHEN unix_micros({time}) {WITHIN} THEN {time} END")
            }
            TimestampFormat::Epoch(unit) => {
                let digits = match unit {
                    EpochUnit::Seconds => 6,
                    EpochUnit::Milliseconds => 3,
                    EpochUnit::Microseconds => 0,
                };
                // What lies below a microsecond is cut off towards the past.
                let number = format!("try_cast({trimmed} AS decimal(38, 9)) * {}", 10_i64.pow(digits));
                let micros = format!("try_cast(floor({number}) AS bigint)");
                let instant = format!("timestamp_micros({micros})");
                if_like("\\A[+-]?[0-9]{1,24}(\\.[0-9]+)?\\z", format!("CASE WHEN {micros} {WITHIN} THEN {instant} END"))
            }
            TimestampFormat::Iso => iso(&trimmed),
        },
    }
}

/// A decimal number with all its digits, or null: Spark's own cast rounds.
fn decimal(trimmed: &str, precision: u8, scale: i8) -> String {
    let like = text(r"\A[+-]?(?:[0-9]++\.?+[0-9]*+|\.[0-9]++)(?:[eE][+-]?[0-9]++)?+\z");
    let mantissa = format!("regexp_extract({trimmed}, {}, 1)", text(r"\A[+-]?([0-9.]++)"));
    let exponent = format!("regexp_extract({trimmed}, {}, 1)", text(r"[eE]([+-]?[0-9]++)\z"));
    // Of an exponent beyond 16 bits, nothing fits.
    let exponent = format!("CASE WHEN {exponent} = '' THEN 0 ELSE int(try_cast({exponent} AS smallint)) END");
    let digits = format!("replace({mantissa}, '.', '')");
    let after =
        format!("CASE WHEN instr({mantissa}, '.') > 0 THEN length({mantissa}) - instr({mantissa}, '.') ELSE 0 END");
    let zeros = format!("length({digits}) - length(trim(TRAILING '0' FROM {digits}))");
    format!(
        "CASE WHEN NOT {trimmed} RLIKE {like} OR ({exponent}) IS NULL THEN NULL \
         WHEN trim(TRAILING '0' FROM {digits}) = '' THEN CAST(0 AS decimal({precision}, {scale})) \
         WHEN ({after}) - ({exponent}) - ({zeros}) <= {scale} THEN try_cast({trimmed} AS decimal({precision}, {scale})) END"
    )
}

/// ISO 8601 as docs/pipeline-file.md describes it.
fn iso(raw: &str) -> String {
    let like = concat!(
        r"\A([0-9]{4}-[0-9]{2}-[0-9]{2})(?:[Tt ]([0-9]{2}:[0-9]{2})(:[0-9]{2}(?:[.,]([0-9]{1,9}))?+)?+",
        r"([zZ]|([+-][0-9]{2}):?+([0-9]{2})?+)?+)?+\z"
    );
    let like = text(like);
    let part = |at: u8| format!("regexp_extract({raw}, {like}, {at})");
    let or = |part: String, other: &str| format!("coalesce(nullif({part}, ''), '{other}')");
    let clock = format!("concat({}, ' ', {}, left({}, 3))", part(1), or(part(2), "00:00"), or(part(3), ":00"),);
    let micros = format!("int(left(rpad({}, 6, '0'), 6))", part(4));
    let format = text("yyyy-MM-dd HH:mm:ss");
    let local = format!("try_to_timestamp({clock}, {format})");
    // As if at UTC: the pattern takes an offset too.
    let utc = format!("try_to_timestamp(concat({clock}, 'Z'), {})", text("yyyy-MM-dd HH:mm:ssXXX"));
    let [hours, minutes] = [format!("int({})", or(part(6), "0")), format!("int({})", or(part(7), "0"))];
    let seconds = format!(
        "(CASE WHEN startswith({}, '-') THEN -1 ELSE 1 END * (abs({hours}) * 3600L + {minutes} * 60L))",
        part(6)
    );
    let fits = format!("abs({hours}) < 19 AND {minutes} < 60");
    let at_offset = format!("unix_micros({utc}) - {seconds} * 1000000L");
    let all = format!(
        "CASE WHEN NOT {raw} RLIKE {like} THEN NULL WHEN {} = '' THEN unix_micros({local}) + {micros} \
         WHEN {fits} THEN {at_offset} + {micros} END",
        part(5)
    );
    format!("CASE WHEN {all} {WITHIN} THEN timestamp_micros({all}) END")
}

/// The value of a field that Kafka gives.
pub(super) fn of_message(field: &Field) -> Option<String> {
    let [topic, partition, offset] = MESSAGE_ORDER;
    Some(match field.metadata? {
        MessageMetadata::Timestamp => SENT.to_owned(),
        MessageMetadata::Topic => topic.to_owned(),
        MessageMetadata::Partition => partition.to_owned(),
        MessageMetadata::Offset => offset.to_owned(),
    })
}
