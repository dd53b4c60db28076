//! Records of the lake and the warehouse as `--json` prints them: docs/command-line.md.

use serde::Serialize;
use serde_json::Value;
use turnstile_values::human;

/// Numbers that only identify something. They use all 64 bits, which JavaScript and jq do not keep.
const IDS: [&str; 1] = ["fingerprint"];

/// `record` for a program: an instant, which the record has in microseconds under a key with that unit, is text under the
/// key without it; an id is text.
///
/// # Errors
/// The record is no JSON.
pub(super) fn record_as_json(record: &impl Serialize) -> serde_json::Result<Value> {
    Ok(converted(serde_json::to_value(record)?))
}

fn converted(value: Value) -> Value {
    match value {
        Value::Array(values) => values.into_iter().map(converted).collect(),
        Value::Object(members) => members.into_iter().map(|(key, value)| member(key, converted(value))).collect(),
        other => other,
    }
}

fn member(key: String, value: Value) -> (String, Value) {
    if IDS.contains(&key.as_str()) {
        let text = if value.is_number() { value.to_string().into() } else { value };
        return (key, text);
    }
    match (key.strip_suffix("_us"), value.as_i64()) {
        (Some(name), Some(us)) => (name.to_owned(), human::instant(us).into()),
        (Some(name), None) if value.is_null() => (name.to_owned(), value),
        _ => (key, value),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn instants_and_ids_of_records_are_text() {
        let record = json!({
            "committed_at_us": 1_785_571_200_000_001_i64, "watermark_us": null, "seq": 7,
            "positions": [{ "next_offset": 42, "fingerprint": u64::MAX, "max_event_us": -1 }],
        });
        let expected = json!({
            "committed_at": "2026-08-01T08:00:00.000001Z", "watermark": null, "seq": 7,
            "positions": [{
                "next_offset": 42, "fingerprint": "18446744073709551615", "max_event": "1969-12-31T23:59:59.999999Z",
            }],
        });
        assert_eq!(record_as_json(&record).unwrap(), expected);
    }
}
