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
        // Refused before.
        FieldKind::Decimal { .. } => "CAST(NULL AS decimal)".to_owned(),
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
            // Refused before.
            TimestampFormat::Iso => "CAST(NULL AS timestamp)".to_owned(),
        },
    }
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
