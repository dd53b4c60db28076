use arrow::array::{Array, AsArray};
use arrow::datatypes::{Int32Type, TimestampMicrosecondType};
use turnstile_message::{BatchBuilder, TopicPartition};

use turnstile_pipeline::Pipeline;

use super::*;

pub(super) const CSV: &str = r#"
name = "t"
[source]
topic = "t"
format = "csv"
[source.schema]
STATION = "string"
ENTRIES = "int"
TIMESTAMP = { type = "timestamp", format = "yyyy-MM-dd HH:mm:ss", zone = "America/New_York" }
[stream]
event_time = "TIMESTAMP"
watermark = "5 minutes"
[query]
sql = "SELECT STATION, sum(ENTRIES) AS ENTRIES FROM turnstile GROUP BY window(TIMESTAMP, '5 minutes'), STATION"
[lake]
url = "file:./lake"
"#;

fn decode(pipeline: &str, values: &[Option<&[u8]>]) -> Decoded {
    let pipeline = Pipeline::from_str(pipeline, "test").unwrap();
    let mut decoder = Decoder::new(Arc::new(DecodePlan::new(&pipeline).unwrap()));
    let mut batch = BatchBuilder::default();
    let partition = TopicPartition::new("t", 0);
    for (offset, value) in values.iter().enumerate() {
        batch.push(&partition, offset as i64, 0, None, *value);
    }
    decoder.decode(&batch.finish())
}

pub(super) fn rows(decoded: &Decoded) -> Vec<(Option<&str>, i32, i64)> {
    let stations = decoded.columns[0].as_string_view();
    let entries = decoded.columns[1].as_primitive::<Int32Type>();
    let times = decoded.columns[2].as_primitive::<TimestampMicrosecondType>();
    (0..stations.len())
        .map(|i| (stations.is_valid(i).then(|| stations.value(i)), entries.value(i), times.value(i) / 1_000_000))
        .collect()
}

#[test]
fn a_csv_line_plain_or_in_a_json_string_gives_the_same_row() {
    let decoded = decode(
        CSV,
        &[
            Some(b"A longer station name,7,2023-09-22 14:05:00"),
            Some(br#""A longer station name,7,2023-09-22 14:05:00""#),
            Some(br#""A n\u00e1me\tlonger than a view,7,2023-09-22 14:05:00""#),
            Some(b"\"Station, with comma\",7,2023-09-22 14:05:00"),
            None,
        ],
    );
    let at = 1_695_405_900;
    assert_eq!(decoded.rejected, []);
    assert_eq!(decoded.tombstones, 1);
    assert_eq!(decoded.rows, [0, 1, 2, 3]);
    assert_eq!(rows(&decoded)[..2], [(Some("A longer station name"), 7, at); 2]);
    assert_eq!(rows(&decoded)[2], (Some("A n\u{e1}me\tlonger than a view"), 7, at));
    assert_eq!(rows(&decoded)[3], (Some("Station, with comma"), 7, at));
}

#[test]
fn a_header_line_names_the_fields_of_its_row() {
    let decoded = decode(
        CSV,
        &[Some(b"ENTRIES,TIMESTAMP,STATION\n7,2023-09-22 14:05:00,Test-Station"), Some(b"ENTRIES,STATION\n7,X")],
    );
    assert_eq!(rows(&decoded), [(Some("Test-Station"), 7, 1_695_405_900)]);
    assert_eq!(decoded.rejected[0].1.reason, Reason::EventTime);
}

fn rejections(decoded: &Decoded) -> Vec<String> {
    let text = |r: &Rejection| format!("{} {}: {}", r.reason, r.field.as_deref().unwrap_or("-"), r.detail);
    decoded.rejected.iter().map(|(_, r)| text(r)).collect()
}

#[test]
fn a_quoted_field_may_hold_line_ends() {
    let decoded = decode(
        CSV,
        &[
            Some(b"\"Two\nlines\",7,2023-09-22 14:05:00"),
            Some(b"\"Two\r\nlines, \"\"quoted\"\"\",7,2023-09-22 14:05:00\r\n"),
            Some(b"ENTRIES,TIMESTAMP,STATION\n7,2023-09-22 14:05:00,\"Under\na header\""),
            Some(br#""\"Two\nlines\",7,2023-09-22 14:05:00""#),
        ],
    );
    assert_eq!(rejections(&decoded), [""; 0]);
    let stations: Vec<_> = rows(&decoded).into_iter().map(|row| row.0.unwrap()).collect();
    assert_eq!(stations, ["Two\nlines", "Two\r\nlines, \"quoted\"", "Under\na header", "Two\nlines"]);
}

#[test]
fn one_line_end_behind_a_message_is_no_part_of_it() {
    let decoded = decode(
        CSV,
        &[
            Some(b"S,7,2023-09-22 14:05:00\n"),
            Some(b"S,7,2023-09-22 14:05:00\r\n"),
            Some(b"\"S,7,2023-09-22 14:05:00\"\n"),
            Some(b"\"S,7,2023-09-22 14:05:00\n\""),
            Some(br#""\u0053,7,2023-09-22 14:05:00\n""#),
            Some(b"\"\\u0053,7,2023-09-22 14:05:00\"\r\n"),
        ],
    );
    assert_eq!(rejections(&decoded), [""; 0]);
    assert_eq!(rows(&decoded), [(Some("S"), 7, 1_695_405_900); 6]);
}

#[test]
fn two_rows_in_one_message_are_no_row() {
    let decoded = decode(
        CSV,
        &[
            Some(b"\"Quoted\",7,2023-09-22 14:05:00\n\"Quoted\",7,2023-09-22 14:05:00"),
            Some(b"\"Two\nlines\",7,2023-09-22 14:05:00\nmore"),
            Some(b"STATION,ENTRIES,TIMESTAMP\nS,7,2023-09-22 14:05:00\nS,7,2023-09-22 14:05:00"),
            Some(b"\"Never closed\n,7,2023-09-22 14:05:00"),
        ],
    );
    assert_eq!(
        rejections(&decoded),
        [
            "fields -: the message has two lines, and the first is not a header with the schema's names",
            "fields -: the message contains more than one row",
            "fields -: the message contains more than one row",
            "csv -: a quoted field is not closed",
        ]
    );
}

#[test]
fn a_header_names_the_field_that_it_should_not() {
    let messages = [
        "\"STATION\",\"ENTRIES\", TIMESTAMP\nS,7,2023-09-22 14:05:00",
        "STATION,ENTRIES,MORE,TIMESTAMP\nS,7,x,2023-09-22 14:05:00",
        "STATION,ENTRIES,STATION,TIMESTAMP\nS,7,x,2023-09-22 14:05:00",
        "TIMESTAMP,STATION,ENTRIES\n2023-09-22 14:05:00,S",
    ];
    let values: Vec<_> = messages.iter().map(|message| Some(message.as_bytes())).collect();
    let twice = "fields STATION: the header names it twice";
    let short = "fields ENTRIES: expected 3 fields, found 2";

    let strict = decode(CSV, &values);
    assert_eq!(rows(&strict), [(Some("S"), 7, 1_695_405_900)]);
    assert_eq!(rejections(&strict), ["fields MORE: the header names it, but the schema does not", twice, short]);

    let ignoring = decode(&CSV.replace("format = \"csv\"", "format = \"csv\"\nextra_fields = \"ignore\""), &values);
    assert_eq!(rows(&ignoring), [(Some("S"), 7, 1_695_405_900); 2]);
    assert_eq!(rejections(&ignoring), [twice, short]);
}

#[test]
fn fields_behind_the_schema_s_are_left_out_when_the_pipeline_says_so() {
    let values: [Option<&[u8]>; 2] = [Some(b"S,7,2023-09-22 14:05:00,more"), Some(b"S,7,2023-09-22 14:05:00,\"a\",b")];
    assert_eq!(decode(CSV, &values).rejected.len(), 2);
    let ignoring = decode(&CSV.replace("format = \"csv\"", "format = \"csv\"\nextra_fields = \"ignore\""), &values);
    assert_eq!(rows(&ignoring), [(Some("S"), 7, 1_695_405_900); 2]);
}

#[test]
fn what_does_not_fit_names_field_type_and_text() {
    let cases: [(&[u8], &str); 8] = [
        (b"S,abc,2023-09-22 14:05:00", r#"type ENTRIES: expected int, found "abc""#),
        (b"S,7,2023-13-22 14:05:00", r#"type TIMESTAMP: expected timestamp, found "2023-13-22 14:05:00""#),
        (b"S,7", "fields TIMESTAMP: expected 3 fields, found 2"),
        (b"S,7,2023-09-22 14:05:00,more", "fields -: expected 3 fields, found 4"),
        (b"S\xff,7,2023-09-22 14:05:00", "not-utf8 -: the value is not UTF-8 from byte 1"),
        (b"\"S,7,2023", "csv -: a quoted field is not closed"),
        (b"a\nb", "fields -: the message has two lines, and the first is not a header with the schema's names"),
        (b"", "fields ENTRIES: expected 3 fields, found 1"),
    ];
    let values: Vec<_> =
        cases.iter().map(|(value, _)| Some(*value)).chain([Some(&b"S,1,2023-09-22 14:05:00"[..])]).collect();
    let decoded = decode(CSV, &values);
    assert_eq!(rejections(&decoded), cases.map(|(_, expected)| expected));
    assert_eq!(rows(&decoded), [(Some("S"), 1, 1_695_405_900)], "bad rows leave nothing behind");
}

#[test]
fn json_objects_are_read_by_name_with_nulls_and_escapes() {
    let pipeline = CSV.replace(r#"format = "csv""#, "format = \"json\"\nextra_fields = \"ignore\"");
    let decoded = decode(
        &pipeline,
        &[
            Some(br#"{"TIMESTAMP":"2023-09-22 14:05:00","ENTRIES":7,"STATION":"caf\u00e9 and a longer text","x":[1,{"y":2}]}"#),
            Some(br#"{"STATION":null,"ENTRIES":8,"TIMESTAMP":"2023-09-22 14:05:00"}"#),
            Some(br#"{"STATION":"S","ENTRIES":1.5,"TIMESTAMP":"2023-09-22 14:05:00"}"#),
            Some(br#"{"STATION":"S","ENTRIES":1}"#),
            Some(br#"{"STATION":"S","STATION":"T"}"#),
            Some(b"[1]"),
            Some(b"{"),
        ],
    );
    let at = 1_695_405_900;
    assert_eq!(rows(&decoded), [(Some("café and a longer text"), 7, at), (None, 8, at)]);
    let reasons: Vec<_> = decoded.rejected.iter().map(|(row, r)| (*row, r.reason)).collect();
    assert_eq!(
        reasons,
        [(2, Reason::Type), (3, Reason::EventTime), (4, Reason::Fields), (5, Reason::Json), (6, Reason::Json)]
    );
}

#[test]
fn odd_local_times_are_counted() {
    let decoded = decode(
        CSV,
        &[Some(b"S,1,2023-11-05 01:30:00"), Some(b"S,1,2023-11-05 01:30:00"), Some(b"S,1,2023-03-12 02:30:00")],
    );
    assert_eq!(decoded.odd_times, (2, 1));
}

#[test]
fn a_number_of_json_is_the_double_nearest_to_its_text() {
    let pipeline = CSV.replace("csv", "json").replace("\"int\"", "\"double\"");
    let mut texts: Vec<String> =
        ["18446744073709551615", "9223372036854775808", "1.2345678901234567", "2.2250738585072011e-308", "-0"]
            .map(str::to_owned)
            .into();
    // Digits without a pattern.
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    for exponent in (-300..300).chain(-30..30) {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        texts.push(format!("{}.{:015}e{exponent}", state % 10, state >> 14));
    }
    let messages: Vec<String> = texts
        .iter()
        .map(|text| format!(r#"{{"STATION":"S","ENTRIES":{text},"TIMESTAMP":"2023-09-22 14:05:00"}}"#))
        .collect();
    let values: Vec<Option<&[u8]>> = messages.iter().map(|message| Some(message.as_bytes())).collect();
    let decoded = decode(&pipeline, &values);
    assert_eq!(decoded.rejected, []);
    let read = decoded.columns[1].as_primitive::<arrow::datatypes::Float64Type>();
    for (text, read) in texts.iter().zip(read.values()) {
        assert_eq!(*read, text.parse::<f64>().unwrap(), "{text}");
    }
    let infinite = decode(&pipeline, &[Some(br#"{"ENTRIES":1e400,"TIMESTAMP":"2023-09-22 14:05:00"}"#)]);
    assert_eq!(rejections(&infinite), ["type ENTRIES: expected double, found 1e400"]);
}
