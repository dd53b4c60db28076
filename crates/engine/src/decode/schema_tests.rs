//! Messages that begin with a schema's id.

use std::collections::BTreeMap;

use arrow::array::{Array, AsArray};
use arrow::datatypes::Decimal128Type;
use turnstile_message::SchemaKind;

use super::tests::{CSV, rows};
use super::*;
use turnstile_message::{BatchBuilder, TopicPartition};
use turnstile_pipeline::Pipeline;

const AT: i64 = 1_695_405_900;

/// Avro's encoding, as far as these tests need it.
#[derive(Default, Clone)]
struct Bytes(Vec<u8>);

impl Bytes {
    fn of(id: u32) -> Self {
        let mut bytes = vec![0];
        bytes.extend(id.to_be_bytes());
        Self(bytes)
    }

    fn long(mut self, number: i64) -> Self {
        let mut bits = ((number << 1) ^ (number >> 63)) as u64;
        while bits > 0x7f {
            self.0.push(bits as u8 | 0x80);
            bits >>= 7;
        }
        self.0.push(bits as u8);
        self
    }

    fn text(self, text: &str) -> Self {
        let mut longer = self.long(text.len() as i64);
        longer.0.extend(text.as_bytes());
        longer
    }

    fn raw(mut self, bytes: &[u8]) -> Self {
        self.0.extend(bytes);
        self
    }
}

fn avro(text: &str) -> WriterSchema {
    WriterSchema { kind: SchemaKind::Avro, text: text.to_owned(), references: Vec::new() }
}

fn record(fields: &str) -> WriterSchema {
    avro(&format!(r#"{{"type": "record", "name": "reading", "fields": [{fields}]}}"#))
}

/// STATION, ENTRIES and TIMESTAMP, in this order, as plain as can be.
fn plain() -> WriterSchema {
    record(
        r#"{"name": "STATION", "type": "string"}, {"name": "ENTRIES", "type": "int"},
           {"name": "TIMESTAMP", "type": {"type": "long", "logicalType": "timestamp-millis"}}"#,
    )
}

fn decoder(format: &str, extra_fields: &str) -> Decoder {
    decoder_of(CSV, format, extra_fields)
}

fn decoder_of(pipeline: &str, format: &str, extra_fields: &str) -> Decoder {
    let source = format!("format = \"{format}\"\n{extra_fields}\nregistry = {{ url = \"http://localhost:8081\" }}");
    let pipeline = Pipeline::from_str(&pipeline.replace(r#"format = "csv""#, &source), "test").unwrap();
    Decoder::new(Arc::new(DecodePlan::new(&pipeline).unwrap()))
}

fn batch(values: &[&[u8]]) -> MessageBatch {
    let mut batch = BatchBuilder::default();
    let partition = TopicPartition::new("t", 0);
    values.iter().enumerate().for_each(|(at, value)| batch.push(&partition, at as i64, 0, None, Some(value)));
    batch.finish()
}

fn decode_with(mut decoder: Decoder, schemas: &[(u32, WriterSchema)], values: &[&[u8]]) -> Decoded {
    let schemas: BTreeMap<_, _> = schemas.iter().map(|(id, schema)| (*id, schema)).collect();
    let batch = batch(values);
    for id in decoder.missing_schemas(&batch) {
        decoder.register_schema(id, schemas.get(&id).copied());
    }
    assert_eq!(decoder.first_unregistered(&batch), None);
    decoder.decode(&batch)
}

fn rejections(decoded: &Decoded) -> Vec<String> {
    let said = |r: &Rejection| format!("{} {}: {}", r.reason, r.field.as_deref().unwrap_or("-"), r.detail);
    decoded.rejected.iter().map(|(_, rejection)| said(rejection)).collect()
}

#[test]
fn fields_are_found_by_name_in_any_order_and_what_is_not_wanted_is_passed_over() {
    let writer = record(
        r#"{"name": "nested", "type": {"type": "record", "name": "n", "namespace": "x", "fields": [
                {"name": "again", "type": ["null", "n"]}, {"name": "d", "type": "double"},
                {"name": "f", "type": {"type": "fixed", "name": "two", "size": 2}}]}},
           {"name": "TIMESTAMP", "type": {"type": "long", "logicalType": "timestamp-micros"}},
           {"name": "list", "type": {"type": "array", "items": {"type": "map", "values": "long"}}},
           {"name": "ENTRIES", "type": ["null", "int"]},
           {"name": "colour", "type": {"type": "enum", "name": "c", "symbols": ["RED"]}},
           {"name": "STATION", "type": ["string", "null"]},
           {"name": "flags", "type": {"type": "array", "items": "boolean"}}, {"name": "b", "type": ["bytes", "float"]}"#,
    );
    let message = |station: Option<&str>| {
        let inner = Bytes::default().long(0).raw(&1.5f64.to_le_bytes()).raw(b"ab");
        let bytes = Bytes::of(7).long(1).raw(&inner.0).raw(&2.5f64.to_le_bytes()).raw(b"cd");
        let bytes = bytes.long(AT * 1_000_000 + 5);
        // One block of two maps, the second empty; then a block that says its length; then the end.
        let maps = Bytes::default().long(1).text("k").long(-70_000).long(0).long(0);
        let block = Bytes::default().long(0);
        let bytes = bytes.long(2).raw(&maps.0).long(-1).long(block.0.len() as i64).raw(&block.0).long(0);
        let bytes = bytes.long(1).long(-3).long(0);
        let bytes = match station {
            Some(station) => bytes.long(0).text(station),
            None => bytes.long(1),
        };
        bytes.long(3).raw(&[1, 0, 1]).long(0).long(1).raw(&0.5f32.to_le_bytes()).0
    };
    let (long, null) = (message(Some("A station with a long name, é")), message(None));
    let decoded = decode_with(decoder("avro", ""), &[(7, writer)], &[&long, &null]);
    assert_eq!(rejections(&decoded), [""; 0]);
    assert_eq!(rows(&decoded), [(Some("A station with a long name, é"), -3, AT), (None, -3, AT)]);
}

#[test]
fn schemas_change_from_message_to_message_and_a_field_that_the_writer_lacks_is_null() {
    let without = record(r#"{"name": "TIMESTAMP", "type": "string"}, {"name": "ENTRIES", "type": "long"}"#);
    let without_time = record(r#"{"name": "ENTRIES", "type": "int"}"#);
    let first = Bytes::of(1).text("S").long(7).long(AT * 1_000);
    let second = Bytes::of(70_000).text("2023-09-22 14:05:00").long(8);
    let third = Bytes::of(3).long(9);
    let decoded = decode_with(
        decoder("avro", ""),
        &[(1, plain()), (70_000, without), (3, without_time)],
        &[&first.0, &second.0, &third.0, &first.0],
    );
    assert_eq!(rows(&decoded), [(Some("S"), 7, AT), (None, 8, AT), (Some("S"), 7, AT)]);
    assert_eq!(rejections(&decoded), ["event-time TIMESTAMP: the event time is missing"]);
}

#[test]
fn decimals_are_read_from_bytes_numbers_and_text_and_plain_numbers_as_times() {
    let text = CSV
        .replace(r#"STATION = "string""#, r#"STATION = "decimal(6, 2)""#)
        .replace(r#"format = "yyyy-MM-dd HH:mm:ss""#, r#"format = "epoch-ms""#);
    let writer = |kind: &str| {
        record(&format!(r#"{{"name": "STATION", "type": {kind}}}, {{"name": "TIMESTAMP", "type": "long"}}"#))
    };
    let decimal = r#""logicalType": "decimal", "precision": 8, "scale""#;
    let writers = [
        (1, writer(&format!(r#"{{"type": "bytes", {decimal}: 3}}"#))),
        (2, writer(&format!(r#"{{"type": "fixed", "name": "f", "size": 4, {decimal}: 0}}"#))),
        (3, writer(r#"["null", "long", "string", "double"]"#)),
        (4, writer(r#"{"type": "bytes", "logicalType": "decimal"}"#)),
    ];
    let of = |id: u32| Bytes::of(id);
    let values = [
        of(1).long(2).raw(&[0x04, 0xd8]).long(AT * 1_000), // 1.240
        of(1).long(2).raw(&[0xfb, 0x1e]).long(AT * 1_000), // -1.250
        of(1).long(2).raw(&[0x04, 0xd9]).long(AT * 1_000), // 1.241
        of(1).long(0).long(AT * 1_000),
        of(2).raw(&[0, 0, 0, 7]).long(AT * 1_000),
        of(3).long(0).long(AT * 1_000),
        of(3).long(1).long(-7).long(AT * 1_000),
        of(3).long(2).text("7.5").long(AT * 1_000),
        of(3).long(3).raw(&1.5f64.to_le_bytes()).long(AT * 1_000),
        of(4).long(1).raw(&[7]).long(AT * 1_000),
    ];
    let values: Vec<&[u8]> = values.iter().map(|bytes| bytes.0.as_slice()).collect();
    let decoded = decode_with(decoder_of(&text, "avro", ""), &writers, &values);
    let decimals = decoded.columns[0].as_primitive::<Decimal128Type>();
    let shown: Vec<String> = (0..decimals.len())
        .map(|at| if decimals.is_null(at) { "null".into() } else { decimals.value_as_string(at) })
        .collect();
    assert_eq!(shown, ["1.24", "-1.25", "7.00", "null", "-7.00", "7.50"]);
    assert_eq!(decoded.event_us, [AT * 1_000_000; 6]);
    assert_eq!(
        rejections(&decoded),
        [
            "type STATION: expected decimal(6,2), found the decimal 1.241 (schema 1)",
            "type STATION: expected decimal(6,2), found a decimal of no bytes, or of more than 16 (schema 1)",
            "type STATION: expected decimal(6,2), found the double 1.5 (schema 3)",
            "type STATION: expected decimal(6,2), found bytes (schema 4)",
        ]
    );
}

/// Case A13: what Java's and Python's serializers make of an enum and of an identifier.
#[test]
fn the_symbol_of_an_enum_and_a_uuid_are_texts() {
    let writer = |kind: &str| {
        record(&format!(
            r#"{{"name": "STATION", "type": {kind}}}, {{"name": "TIMESTAMP", "type": {{"type": "long", "logicalType": "timestamp-millis"}}}}"#
        ))
    };
    let writers = [
        (1, writer(r#"{"type": "enum", "name": "s", "symbols": ["NORTH", "A_SYMBOL_LONGER_THAN_A_VIEW"]}"#)),
        (2, writer(r#"{"type": "string", "logicalType": "uuid"}"#)),
        (3, writer(r#"["null", {"type": "enum", "name": "s", "symbols": ["NORTH"]}]"#)),
        (4, writer(r#"{"type": "fixed", "size": 16, "name": "u", "logicalType": "uuid"}"#)),
    ];
    let uuid = "c1aff138-fa51-4e39-9627-2305dbade9bc";
    let values = [
        Bytes::of(1).long(0),
        Bytes::of(1).long(1),
        Bytes::of(2).text(uuid),
        Bytes::of(3).long(1).long(0),
        Bytes::of(3).long(0),
        Bytes::of(1).long(2),
        Bytes::of(4).raw(&[7; 16]),
    ]
    .map(|value| value.long(AT * 1_000).0);
    let decoded = decode_with(decoder("avro", ""), &writers, &values.each_ref().map(Vec::as_slice));
    let texts: Vec<Option<&str>> = decoded.columns[0].as_string_view().iter().collect();
    assert_eq!(texts, [Some("NORTH"), Some("A_SYMBOL_LONGER_THAN_A_VIEW"), Some(uuid), Some("NORTH"), None]);
    let rejected = rejections(&decoded);
    assert!(rejected[0].starts_with("avro STATION: an enum's symbol has the number 2"), "{rejected:?}");
    assert_eq!(rejected[1], "type STATION: expected string, found fixed bytes (schema 4)");
}

#[test]
fn times_of_every_kind_are_instants() {
    let writer = |kind: &str| {
        record(&format!(r#"{{"name": "ENTRIES", "type": "int"}}, {{"name": "TIMESTAMP", "type": {{"type": {kind}}}}}"#))
    };
    let writers = [
        (1, writer(r#""long", "logicalType": "timestamp-nanos""#)),
        (2, writer(r#""long", "logicalType": "local-timestamp-millis""#)),
        (3, writer(r#""int", "logicalType": "date""#)),
        (4, writer(r#""enum", "name": "e", "symbols": ["x"]"#)),
        (5, writer(r#""long""#)),
    ];
    let of = |id: u32, number: i64| Bytes::of(id).long(1).long(number).0;
    let local = 1_695_391_500; // 2023-09-22 14:05:00 on the zone's clock
    let values = [of(1, AT * 1_000_000_000 + 999), of(2, local * 1_000), of(3, 19_622), of(4, 0), of(5, AT), of(1, -1)];
    let decoded = decode_with(decoder("avro", ""), &writers, &values.each_ref().map(Vec::as_slice));
    let times: Vec<i64> = rows(&decoded).into_iter().map(|row| row.2).collect();
    assert_eq!(times, [AT, AT, 1_695_355_200, 0], "midnight in New York; a nanosecond before the epoch is cut off");
    assert_eq!(
        rejections(&decoded),
        [
            "type TIMESTAMP: expected timestamp, found \"x\" (schema 4)",
            &format!("type TIMESTAMP: expected timestamp, found the long {AT} (schema 5)")
        ]
    );
    assert_eq!(decoded.event_us[3], -1);
}

#[test]
fn what_does_not_fit_names_field_type_and_what_was_found() {
    let writers = [
        (
            1,
            record(
                r#"{"name": "STATION", "type": {"type": "array", "items": "int"}}, {"name": "ENTRIES", "type": "int"}"#,
            ),
        ),
        (2, record(r#"{"name": "ENTRIES", "type": ["null", "long", "string", "double"]}"#)),
        (3, avro(r#""string""#)),
        (4, avro("{")),
        (5, plain()),
        (6, record(r#"{"name": "ENTRIES", "type": {"type": "bytes", "logicalType": "decimal", "precision": 4}}"#)),
        (7, WriterSchema { kind: SchemaKind::Json, text: "{}".to_owned(), references: Vec::new() }),
    ];
    let entries = |branch: i64| Bytes::of(2).long(branch);
    let good = Bytes::of(5).text("S").long(1).long(AT * 1_000);
    let cases = [
        (Bytes::of(1).long(0).long(1), "type STATION: expected string, found an array (schema 1)"),
        (entries(1).long(1 << 40), "type ENTRIES: expected int, found the long 1099511627776 (schema 2)"),
        (entries(2).text("abc"), "type ENTRIES: expected int, found \"abc\" (schema 2)"),
        (entries(3).raw(&1f64.to_le_bytes()), "type ENTRIES: expected int, found the double 1 (schema 2)"),
        (entries(4), "avro ENTRIES: a union's branch has the number 4, but the schema has only 4 (schema 2)"),
        (Bytes::of(3).text("x"), "schema -: expected the schema of a record, found that of a string (schema 3)"),
        (
            Bytes::of(4),
            "schema -: the schema cannot be read: its text is not JSON: EOF while parsing an object at line 1 column 1 (schema 4)",
        ),
        (Bytes::of(5).raw(&[4, 0xff, 0xff]).long(1).long(1), "not-utf8 STATION: the text is not UTF-8 (schema 5)"),
        (Bytes::of(5).text("S"), "avro ENTRIES: the message ends too early (schema 5)"),
        (Bytes::of(5).long(99), "avro STATION: the message ends too early (schema 5)"),
        (Bytes::of(5).long(-1), "avro STATION: a text is -1 bytes long (schema 5)"),
        (Bytes::of(5).raw(&[0xff; 10]), "avro STATION: a number is longer than 64 bits (schema 5)"),
        (good.clone().long(0), "avro -: 1 bytes follow the record (schema 5)"),
        (Bytes::of(5).text("S").long(1 << 33), "avro ENTRIES: an int is 8589934592 (schema 5)"),
        (
            Bytes::of(5).text("S").long(1).long(i64::MAX),
            "type TIMESTAMP: expected timestamp, found the timestamp 9223372036854775807 (schema 5)",
        ),
        (Bytes::of(6).text("ab"), "type ENTRIES: expected int, found the decimal 24930 (schema 6)"),
        (Bytes::of(7), "schema -: its language is JSON, and the pipeline's format is avro (schema 7)"),
        (Bytes::of(4711), "schema -: the registry does not know schema 4711"),
        (Bytes(b"{\"a\": 1}".to_vec()), "wire-format -: the value begins with byte 123, not with 0 and a schema id"),
        (Bytes(vec![0, 0, 0, 0]), "wire-format -: the value is 4 bytes long, too short for a schema id"),
        (Bytes(Vec::new()), "wire-format -: the value is 0 bytes long, too short for a schema id"),
    ];
    let mut values: Vec<&[u8]> = cases.iter().map(|(bytes, _)| bytes.0.as_slice()).collect();
    values.push(&good.0);
    let decoded = decode_with(decoder("avro", ""), &writers, &values);
    assert_eq!(rejections(&decoded), cases.each_ref().map(|(_, expected)| (*expected).to_owned()));
    assert_eq!(rows(&decoded), [(Some("S"), 1, AT)], "bad rows leave nothing behind");
}

#[test]
fn a_field_that_the_schema_does_not_know_is_an_error_only_where_the_pipeline_says_so() {
    let writer = || record(r#"{"name": "more", "type": "int"}, {"name": "TIMESTAMP", "type": "string"}"#);
    let message = Bytes::of(1).long(5).text("2023-09-22 14:05:00");
    let ignored = decode_with(decoder("avro", ""), &[(1, writer())], &[&message.0]);
    assert_eq!(ignored.event_us, [AT * 1_000_000]);
    let refused = decode_with(decoder("avro", "extra_fields = \"error\""), &[(1, writer())], &[&message.0]);
    assert_eq!(rejections(&refused), ["fields more: the schema has no such field (schema 1)"]);
}

#[test]
fn a_few_bytes_cannot_occupy_the_decoder_for_long() {
    let writer = record(
        r#"{"name": "empty", "type": {"type": "array", "items": "null"}},
           {"name": "TIMESTAMP", "type": {"type": "long", "logicalType": "timestamp-millis"}}"#,
    );
    let message = Bytes::of(1).long(i64::MAX).long(0).long(AT * 1_000);
    let decoded = decode_with(decoder("avro", ""), &[(1, writer)], &[&message.0]);
    assert_eq!(decoded.event_us, [AT * 1_000_000]);

    // Two nulls in a record, two of those in the next, and so on: 2^40 values of no bytes.
    let mut nested = "\"null\"".to_owned();
    for level in 0..40 {
        nested = format!(
            r#"{{"type": "record", "name": "r{level}", "fields": [{{"name": "a", "type": {nested}}}, {{"name": "b", "type": "{}"}}]}}"#,
            if level == 0 { "null".to_owned() } else { format!("r{}", level - 1) }
        );
    }
    let writer = record(&format!(r#"{{"name": "many", "type": {nested}}}"#));
    let decoded = decode_with(decoder("avro", ""), &[(1, writer)], &[&Bytes::of(1).0]);
    assert_eq!(rejections(&decoded), ["avro many: the message contains more than 100000 empty values (schema 1)"]);

    let writer = record(
        r#"{"name": "list", "type": {"type": "record", "name": "l", "fields": [{"name": "next", "type": ["l", "null"]}]}}"#,
    );
    let decoded = decode_with(decoder("avro", ""), &[(1, writer)], &[&Bytes::of(1).raw(&[0; 10_000]).0]);
    assert_eq!(rejections(&decoded), ["avro list: values are nested more than 64 levels deep (schema 1)"]);
}

#[test]
fn every_cut_of_a_message_is_refused_without_harm() {
    let writer = record(
        r#"{"name": "list", "type": {"type": "array", "items": ["null", {"type": "map", "values": "string"}]}},
           {"name": "STATION", "type": "string"}, {"name": "ENTRIES", "type": "int"},
           {"name": "TIMESTAMP", "type": {"type": "long", "logicalType": "timestamp-millis"}}"#,
    );
    let map = Bytes::default().long(1).text("key").text("value").long(0);
    let list = Bytes::of(1).long(2).long(0).long(1).raw(&map.0).long(0);
    let whole = list.text("A station with a long name").long(7).long(AT * 1_000).0;
    let cuts: Vec<&[u8]> = (5..=whole.len()).map(|len| &whole[..len]).collect();
    let decoded = decode_with(decoder("avro", ""), &[(1, writer.clone())], &cuts);
    assert_eq!((decoded.rejected.len(), rows(&decoded).len()), (cuts.len() - 1, 1));
    // Any byte changed: a row or a rejection, never more.
    let changed: Vec<Vec<u8>> = (5..whole.len())
        .flat_map(|at| [0x00, 0x01, 0x7f, 0x80, 0xff].map(|byte| (at, byte)))
        .map(|(at, byte)| {
            let mut bytes = whole.clone();
            bytes[at] = byte;
            bytes
        })
        .collect();
    let values: Vec<&[u8]> = changed.iter().map(Vec::as_slice).collect();
    let decoded = decode_with(decoder("avro", ""), &[(1, writer)], &values);
    assert_eq!(decoded.rejected.len() + decoded.rows.len(), values.len());
    assert!(decoded.columns.iter().all(|column| column.len() == decoded.rows.len()));
}

#[test]
fn json_of_a_schema_follows_its_id() {
    let json = WriterSchema { kind: SchemaKind::Json, text: "{}".to_owned(), references: Vec::new() };
    let row = br#"{"STATION":"A station with a long name","ENTRIES":7,"TIMESTAMP":"2023-09-22 14:05:00"}"#;
    let values = [
        Bytes::of(9).raw(row).0,
        Bytes::of(9).raw(br#"{"ENTRIES":"x"}"#).0,
        Bytes::of(8).raw(row).0,
        row.to_vec(),
        Bytes::of(10).raw(row).0,
    ];
    let values = values.each_ref().map(Vec::as_slice);
    let decoded = decode_with(decoder("json-schema", ""), &[(9, json), (10, plain())], &values);
    assert_eq!(rows(&decoded), [(Some("A station with a long name"), 7, AT)]);
    assert_eq!(
        rejections(&decoded),
        [
            "type ENTRIES: expected int, found \"x\" (schema 9)",
            "schema -: the registry does not know schema 8",
            "wire-format -: the value begins with byte 123, not with 0 and a schema id",
            "schema -: its language is AVRO, and the pipeline's format is json-schema (schema 10)",
        ]
    );
}

#[test]
fn each_schema_is_requested_once_and_an_unknown_one_again_with_the_next_batch() {
    let mut decoder = decoder("avro", "");
    let (one, two) = (Bytes::of(1).text("S").long(1).long(AT * 1_000), Bytes::of(2));
    let batch = batch(&[&one.0, &two.0, &one.0, &two.0, b"junk"]);
    assert_eq!(decoder.missing_schemas(&batch), [1, 2]);
    assert_eq!(decoder.first_unregistered(&batch), Some(1));
    decoder.register_schema(1, Some(&plain()));
    assert_eq!(decoder.first_unregistered(&batch), Some(2));
    decoder.register_schema(2, None);
    assert_eq!(decoder.first_unregistered(&batch), None);
    assert_eq!(decoder.decode(&batch).rejected.len(), 3);
    assert_eq!(decoder.missing_schemas(&batch), [2]);
    decoder.register_schema(2, Some(&plain()));
    assert!(rejections(&decoder.decode(&batch))[0].starts_with("avro STATION: the message ends too early"));
    assert_eq!(decoder.missing_schemas(&batch), [0; 0]);
}

#[test]
fn no_more_schemas_are_kept_than_the_limit() {
    let mut decoder = decoder("avro", "");
    for id in 0..2_500 {
        let message = Bytes::of(id).text("S").long(1).long(AT * 1_000);
        let batch = batch(&[&message.0]);
        assert_eq!(decoder.missing_schemas(&batch), [id]);
        decoder.register_schema(id, Some(&plain()));
        assert_eq!(decoder.decode(&batch).rows.len(), 1);
        assert!(decoder.schemas.len() <= 1_001);
    }
    let huge = WriterSchema { references: vec![" ".repeat(33 << 20) + "\"int\""], ..plain() };
    let message = Bytes::of(9_000).text("S").long(1).long(AT * 1_000);
    let batch = batch(&[&message.0]);
    decoder.missing_schemas(&batch);
    decoder.register_schema(9_000, Some(&huge));
    assert_eq!(decoder.missing_schemas(&batch), [9_000], "its bytes count, too");
}
