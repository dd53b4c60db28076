//! What is read from fields of each type, as text or as JSON.

use arrow::util::display::array_value_to_string;
use turnstile_message::{BatchBuilder, TopicPartition};
use turnstile_pipeline::Pipeline;

use super::*;

/// Decodes `values` by a schema of the field X, of the type `kind`, and the event time T in seconds since 1970. A row is
/// shown as X, a rejected message as its reason.
fn read(format: &str, kind: &str, values: &[&str]) -> Vec<String> {
    let text = format!(
        "name = \"t\"\n[source]\ntopic = \"t\"\nformat = {format}\n[source.schema]\nX = {kind}\n\
         T = {{ type = \"timestamp\", format = \"epoch-s\", zone = \"America/New_York\" }}\n\
         [stream]\nevent_time = \"T\"\nwatermark = \"0 seconds\"\n\
         [query]\nsql = \"SELECT X, count(*) AS N FROM turnstile GROUP BY window(T, '5 minutes'), X\"\n\
         [lake]\nurl = \"file:./lake\"\n"
    );
    let pipeline = Pipeline::from_str(&text, "test").unwrap_or_else(|error| panic!("{error}"));
    let mut decoder = Decoder::new(Arc::new(DecodePlan::new(&pipeline).unwrap()));
    let mut batch = BatchBuilder::default();
    let partition = TopicPartition::new("t", 0);
    for (offset, value) in values.iter().enumerate() {
        batch.push(&partition, offset as i64, 0, None, Some(value.as_bytes()));
    }
    let decoded = decoder.decode(&batch.finish());
    let mut shown: Vec<(u32, String)> = Vec::new();
    for (at, row) in decoded.rows.iter().enumerate() {
        let x = &decoded.columns[0];
        let text = if x.is_null(at) { "null".to_owned() } else { array_value_to_string(x, at).unwrap() };
        shown.push((*row, text));
    }
    for (row, rejection) in &decoded.rejected {
        let field = rejection.field.as_deref().unwrap_or("-");
        shown.push((*row, format!("{} {field}: {}", rejection.reason, rejection.detail)));
    }
    shown.sort();
    shown.into_iter().map(|(_, text)| text).collect()
}

const CSV: &str = "\"csv\"";
const JSON: &str = "\"json\"";

#[test]
fn an_empty_csv_field_is_null_whatever_its_type() {
    for kind in ["string", "int", "long", "double", "boolean", "decimal(5, 1)"] {
        assert_eq!(read(CSV, &format!("\"{kind}\""), &[",1", "\"\",1"]), ["null", "null"], "{kind}");
    }
    let date = "{ type = \"timestamp\", format = \"yyyy-MM-dd\", zone = \"UTC\" }";
    assert_eq!(read(CSV, date, &[",1"]), ["null"]);
    // As Spark reads it, a blank is a text, and no number.
    assert_eq!(read(CSV, "\"string\"", &[" ,1"]), [" "]);
    assert_eq!(read(CSV, "\"int\"", &[" ,1"]), ["type X: expected int, found \" \""]);
    // The event time is needed.
    assert_eq!(read(CSV, "\"int\"", &["1,"]), ["event-time T: the event time is missing"]);
}

#[test]
fn an_empty_text_is_a_text_where_the_pipeline_says_so() {
    let format = "\"csv\"\nempty = \"text\"";
    assert_eq!(read(format, "\"string\"", &[",1", "\"\",1", "X,T\n,1"]), ["", "", ""]);
    assert_eq!(read(format, "\"int\"", &[",1"]), ["null"]);
}

#[test]
fn a_byte_order_mark_is_no_part_of_a_row_a_header_or_an_object() {
    let mark = "\u{feff}";
    let rows = [
        format!("{mark}a,1"),
        format!("\"{mark}a,1\""),
        "\"\\ufeff\\u0061,1\"".to_owned(),
        format!("{mark}X,T\na,1"),
        format!("X,T\n{mark}a,1"),
        format!("{mark}\"a\",1"),
    ];
    assert_eq!(read(CSV, "\"string\"", &rows.each_ref().map(String::as_str)), ["a"; 6]);
    assert_eq!(read(JSON, "\"string\"", &[&format!("{mark}{{\"X\":\"a\",\"T\":1}}")]), ["a"]);
    // Within the text it is a character like others.
    assert_eq!(read(CSV, "\"string\"", &[&format!("a{mark},1")]), [format!("a{mark}")]);
}

#[test]
fn a_json_number_that_does_not_fit_is_shown_as_the_message_writes_it() {
    let messages = [
        r#"{"X":1.0,"T":1}"#,
        r#"{"X":1E3,"T":1}"#,
        r#"{"X": -0.0 ,"T":1}"#,
        r#"{"X":123456789012345678901,"T":1}"#,
        r#"{"X":2147483648,"T":1}"#,
        r#"{"X":"1.0","T":1}"#,
        r#"{"X":[1],"T":1}"#,
        r#"{"X":true,"T":1}"#,
        r#"{"X":-7,"T":1}"#,
    ];
    let found = ["1.0", "1E3", "-0.0", "123456789012345678901", "2147483648", "\"1.0\"", "[…]", "true"];
    let expected = found.map(|text| format!("type X: expected int, found {text}"));
    assert_eq!(read(JSON, "\"int\"", &messages), [&expected[..], &["-7".to_owned()]].concat());
}

#[test]
fn decimals_keep_every_digit() {
    let kind = "\"decimal(12,2)\"";
    assert_eq!(read(CSV, kind, &["12.50,1", "-0.05,1", "1e3,1", "0.1,1"]), ["12.50", "-0.05", "1000.00", "0.10"]);
    assert_eq!(
        read(CSV, kind, &["1.005,1", "10000000000,1", "x,1"]),
        ["1.005", "10000000000", "x"].map(|text| format!("type X: expected decimal(12,2), found {text:?}"))
    );
    let messages = [
        r#"{"X":9007199254740.93,"T":1}"#,
        r#"{"X":9007199254.93,"T":1}"#,
        r#"{"X":"0.10","T":1}"#,
        r#"{"X":"\u0030.2","T":1}"#,
        r#"{"X":1E2,"T":1}"#,
        r#"{"X":null,"T":1}"#,
        r#"{"T":1}"#,
        r#"{"X":{},"T":1}"#,
    ];
    assert_eq!(
        read(JSON, kind, &messages),
        [
            "type X: expected decimal(12,2), found 9007199254740.93",
            "9007199254.93",
            "0.10",
            "0.20",
            "100.00",
            "null",
            "null",
            "type X: expected decimal(12,2), found {}",
        ]
    );
}

#[test]
fn times_are_read_as_iso_text_and_as_numbers_since_1970() {
    let time = |format: &str| format!("{{ type = \"timestamp\", format = \"{format}\", zone = \"America/New_York\" }}");
    let rows = ["1970-01-01T05:00:00Z,1", "1970-01-01,1", "1970-01-01 00:00:00.5,1", "1970-01-01T10:30+05:30,1", "1,1"];
    assert_eq!(
        read(CSV, &time("iso"), &rows),
        [
            "1970-01-01T00:00:00-05:00",
            "1970-01-01T00:00:00-05:00",
            "1970-01-01T00:00:00.500-05:00",
            "1970-01-01T00:00:00-05:00",
            "type X: expected timestamp, found \"1\"",
        ]
    );
    let messages = [
        r#"{"X":18000123,"T":1}"#,
        r#"{"X":"18000123","T":1}"#,
        r#"{"X":18000123.25,"T":1}"#,
        r#"{"X":null,"T":1}"#,
        r#"{"X":"1970-01-01","T":1}"#,
        r#"{"X":99999999999999999,"T":1}"#,
        r#"{"X":253402300800000,"T":1}"#,
    ];
    assert_eq!(
        read(JSON, &time("epoch-ms"), &messages),
        [
            "1970-01-01T00:00:00.123-05:00",
            "1970-01-01T00:00:00.123-05:00",
            "1970-01-01T00:00:00.123250-05:00",
            "null",
            "type X: expected timestamp, found \"1970-01-01\"",
            "type X: expected timestamp, found 99999999999999999",
            "type X: expected timestamp, found 253402300800000",
        ]
    );
    assert_eq!(read(CSV, &time("epoch-us"), &["18000000000,1"]), ["1970-01-01T00:00:00-05:00"]);
}

#[test]
fn members_of_nested_objects_are_read_by_their_path() {
    let kind = "{ type = \"double\", path = \"meta.loc.lat\" }";
    let messages = [
        r#"{"meta":{"loc":{"lat":40.5}},"T":1}"#,
        r#"{"T":1,"meta":null}"#,
        r#"{"T":1,"meta":{"loc":null}}"#,
        r#"{"T":1}"#,
        r#"{"T":1,"meta":{"loc":5}}"#,
        r#"{"T":1,"meta":[]}"#,
        r#"{"T":1,"meta":{"loc":{"lat":"x","lon":1}}}"#,
        r#"{"T":1,"meta":{"loc":{"lat":1,"lat":1}}}"#,
        r#"{"T":1,"meta":{"other":1}}"#,
        r#"{"T":1,"meta":{"loc":{"lat":tru}}}"#,
        r#"{"T":1,"meta.loc.lat":1}"#,
        r#"{"T":1,"meta":{"loc":{"lat":1}},"meta":{}}"#,
        r#"{"T":1,"meta":{"loc":{"lat":1},"loc":null}}"#,
    ];
    let nested = read(JSON, kind, &messages);
    assert_eq!(
        nested[..9],
        [
            "40.5",
            "null",
            "null",
            "null",
            "type meta.loc: expected an object, found 5",
            "type meta: expected an object, found []",
            "type X: expected double, found \"x\"",
            "fields meta.loc.lat: the field appears twice",
            "fields meta.other: the schema has no such field",
        ]
    );
    assert!(nested[9].starts_with("json -:"), "{}", nested[9]);
    assert_eq!(nested[10], "fields meta.loc.lat: the schema has no such field");
    assert_eq!(nested[11..], ["fields meta: the field appears twice", "fields meta.loc: the field appears twice"]);
    let ignoring = "\"json\"\nextra_fields = \"ignore\"";
    assert_eq!(read(ignoring, kind, &[r#"{"T":1,"meta":{"loc":{"lat":-1,"lon":2},"x":[{}]},"y":{}}"#]), ["-1.0"]);
    let number = "{ type = \"int\", path = \"a.b\" }";
    assert_eq!(read(JSON, number, &[r#"{"T":1,"a":{"b":1.50}}"#]), ["type X: expected int, found 1.50"]);
}

#[test]
fn borrowed_text_of_a_nested_object_is_where_it_was_read() {
    let kind = "{ type = \"string\", path = \"a.b\" }";
    let messages =
        [r#"{"T":1,"a":{"b":"longer than twelve bytes"}}"#, r#"{"a":{"b":"with \" escapes, long too"},"T":1}"#];
    assert_eq!(read(JSON, kind, &messages), ["longer than twelve bytes", "with \" escapes, long too"]);
}

/// The event time is Kafka's timestamp; the other fields say where the message stands.
#[test]
fn what_kafka_knows_of_a_message_is_a_field_like_others() {
    for (format, good, short) in [("csv", "a,7", "a"), ("json", "{\"X\":\"a\",\"N\":7}", "[1]")] {
        let text = format!(
            "name = \"t\"\n[source]\ntopic = [\"t\", \"u\"]\nformat = \"{format}\"\n[source.schema]\n\
             SENT = {{ metadata = \"timestamp\", zone = \"America/New_York\" }}\nX = \"string\"\n\
             P = {{ metadata = \"partition\" }}\nO = {{ metadata = \"offset\" }}\nN = \"int\"\n\
             FROM_TOPIC = {{ metadata = \"topic\" }}\n[stream]\nevent_time = \"SENT\"\nwatermark = \"0 seconds\"\n\
             [query]\nsql = \"SELECT X, FROM_TOPIC, P, max(O) AS O, date_format(SENT, 'HH:mm') AS H, sum(N) AS N \
             FROM turnstile GROUP BY window(SENT, '5 minutes'), X, FROM_TOPIC, P, date_format(SENT, 'HH:mm')\"\n\
             [lake]\nurl = \"file:./lake\"\n"
        );
        let pipeline = Pipeline::from_str(&text, "test").unwrap_or_else(|error| panic!("{error}"));
        let mut decoder = Decoder::new(Arc::new(DecodePlan::new(&pipeline).unwrap()));
        let mut batch = BatchBuilder::default();
        let messages =
            [("t", 1, 5, 1_700_000_000_000, good), ("t", 1, 6, 1, short), ("t", 1, 7, -1, good), ("u", 0, 9, 2, good)];
        for (topic, partition, offset, timestamp_ms, value) in messages {
            let partition = TopicPartition::new(topic, partition);
            batch.push(&partition, offset, timestamp_ms, None, Some(value.as_bytes()));
        }
        let decoded = decoder.decode(&batch.finish());
        let shown = |row: usize| {
            let cells = decoded.columns.iter().map(|column| array_value_to_string(column, row).unwrap());
            cells.collect::<Vec<_>>().join("|")
        };
        assert_eq!(shown(0), "2023-11-14T17:13:20-05:00|a|1|5|7|t", "{format}");
        assert_eq!(shown(1), "1969-12-31T19:00:00.002-05:00|a|0|9|7|u");
        assert_eq!((&*decoded.event_us, &*decoded.rows), (&[1_700_000_000_000_000, 2_000][..], &[0, 3][..]));
        let reasons: Vec<_> = decoded.rejected.iter().map(|(row, why)| (*row, why.reason)).collect();
        assert_eq!(reasons[1], (2, Reason::EventTime), "a message without a timestamp has no event time");
        assert_eq!(reasons[0].0, 1, "its value lacks a field");
    }
}
