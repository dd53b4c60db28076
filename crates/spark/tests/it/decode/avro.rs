//! Avro messages: every declared type beside every writer's type, and records of all shapes.

use std::fmt::Write as _;

use turnstile_message::{SchemaKind, WriterSchema};

use super::{Shown, compare, differences, mutate, pipeline, schema_of, schemas};
use crate::server::{session, shared};

/// A number of variable length.
fn long(number: i64) -> Vec<u8> {
    let mut bits = ((number << 1) ^ (number >> 63)) as u64;
    let mut bytes = Vec::new();
    while bits >= 0x80 {
        bytes.push(bits as u8 | 0x80);
        bits >>= 7;
    }
    bytes.push(bits as u8);
    bytes
}

/// Bytes after their length.
fn text(bytes: impl AsRef<[u8]>) -> Vec<u8> {
    let bytes = bytes.as_ref();
    [&long(bytes.len() as i64), bytes].concat()
}

fn longs(numbers: &[i64]) -> Vec<Vec<u8>> {
    numbers.iter().map(|number| long(*number)).collect()
}

fn texts(texts: &[&str]) -> Vec<Vec<u8>> {
    texts.iter().map(text).collect()
}

fn framed(id: u32, record: &[u8]) -> Vec<u8> {
    [&[0], &id.to_be_bytes()[..], record].concat()
}

/// Writer's types, and encoded values of each, sound ones and others.
fn types() -> Vec<(&'static str, Vec<Vec<u8>>)> {
    let whole = [0, 1, -1, 7, 86_400, 1_785_571_200, i64::from(i32::MAX), i64::from(i32::MIN), 1 << 31, -(1 << 31) - 1];
    let wide = [
        1_785_571_200_000,
        1_785_571_200_000_000,
        253_402_300_799,
        253_402_300_800,
        i64::MAX,
        i64::MIN,
        -62_135_596_801,
    ];
    let times = [
        -1,
        -999,
        -1_000,
        -1_001,
        1_773_023_400,
        1_793_511_000,
        253_402_300_799_999,
        253_402_300_800_000,
        -62_135_596_800_001,
    ];
    let times = [&whole[..], &wide, &times, &times.map(|time| time * 1_000), &[-62_135_596_800_000]].concat();
    let odd = || {
        [
            vec![0x82, 0x00],
            vec![0x80],
            vec![0xff; 10],
            [vec![0xff; 9], vec![1]].concat(),
            [vec![0x80; 9], vec![2]].concat(),
        ]
    };
    let mut all_longs = longs(&[&whole[..], &wide].concat());
    all_longs.extend(odd());
    let words = [
        "",
        "ab",
        "é",
        "12",
        " 7 ",
        "-1",
        "12.50",
        "1e3",
        "true",
        "False",
        "NaN",
        "-inf",
        "2026-08-01 08:00:00",
        "2026-03-08 02:30:00",
        "1785571200",
        "99999999999999999999",
        "a text of more than sixty-four bytes, so that its length takes two bytes",
    ];
    let mut all_texts = texts(&words);
    all_texts.extend([
        text([0xff, 0xfe]),
        text([0xc3]),
        long(-1),
        long(200),
        long(1 << 20),
        long(i64::from(i32::MAX) - 8),
        long(1 << 40),
        long(i64::MAX),
    ]);
    let mut floats: Vec<Vec<u8>> =
        (0..=255_u32).map(|exponent| (exponent << 23 | 0x2a_aaab).to_le_bytes().to_vec()).collect();
    floats.extend(
        [0, 1 << 31, 1, 0x7f80_0000, 0xff80_0000, 0x7fc0_0000, 0xffc0_0001, 0x7f7f_ffff, 0x807f_ffff_u32]
            .map(|bits| bits.to_le_bytes().to_vec()),
    );
    let mut doubles: Vec<Vec<u8>> =
        (0..=2_047_u64).map(|exponent| (exponent << 52 | 0xa_aaaa_aaaa_aaab).to_le_bytes().to_vec()).collect();
    let edges = [
        0,
        1 << 63,
        1,
        0x7ff0 << 48,
        0xfff0 << 48,
        0x7ff8 << 48,
        0x7fef_ffff_ffff_ffff,
        0x800f_ffff_ffff_ffff,
        0x3ff8_u64 << 48,
    ];
    doubles.extend(edges.map(|bits| bits.to_le_bytes().to_vec()));
    let decimals: Vec<Vec<u8>> = [
        &[0x04, 0xe2][..],
        &[0xff],
        &[0x00],
        &[],
        &[0x80],
        &[0xff; 20],
        &[0x00; 18],
        &[0x00, 0x80],
        &[0x7f; 9],
        &[0x4b; 16],
        &[0x80; 17],
    ]
    .map(text)
    .to_vec();
    let fixed = |size: usize| [0x00, 0x01, 0x7f, 0x80, 0xff].map(|byte| vec![byte; size]).to_vec();
    let in_union = |branch: i64, value: &[u8]| [&long(branch), value].concat();
    let blocks = [
        vec![0],
        [long(2), long(5), long(6), long(0)].concat(),
        [long(1), long(5), long(1), long(6), long(0)].concat(),
        [long(-2), long(2), long(5), long(6), long(0)].concat(),
        [long(-1), long(-1), long(5), long(0)].concat(),
        [long(i64::MAX), long(5), long(0)].concat(),
        [long(i64::MIN), long(0), long(0)].concat(),
        [long(2), long(5)].concat(),
    ];
    let times = || {
        let mut all = longs(&times);
        all.extend(odd());
        all
    };
    vec![
        (r#""null""#, vec![vec![]]),
        (r#""boolean""#, vec![vec![0], vec![1], vec![2], vec![255]]),
        (r#""int""#, all_longs.clone()),
        (
            r#"{"type": "int", "logicalType": "date"}"#,
            longs(&[&whole[..], &[20_666, 20_520, -719_162, -719_163, 2_932_896, 2_932_897]].concat()),
        ),
        (r#""long""#, all_longs),
        (r#"{"type": "long", "logicalType": "timestamp-millis"}"#, times()),
        (r#"{"type": "long", "logicalType": "timestamp-micros"}"#, times()),
        (r#"{"type": "long", "logicalType": "timestamp-nanos"}"#, times()),
        (r#"{"type": "long", "logicalType": "local-timestamp-millis"}"#, times()),
        (r#"{"type": "long", "logicalType": "local-timestamp-micros"}"#, times()),
        (r#"{"type": "long", "logicalType": "local-timestamp-nanos"}"#, times()),
        (r#""float""#, floats),
        (r#""double""#, doubles),
        (r#""string""#, all_texts.clone()),
        (
            r#"{"type": "enum", "name": "e", "symbols": ["A", "12", "true", "12.5", "2026-08-01 08:00:00"]}"#,
            longs(&[0, 1, 2, 3, 4, 5, -1, 1 << 32]),
        ),
        (r#""bytes""#, all_texts),
        (r#"{"type": "bytes", "logicalType": "decimal", "precision": 30, "scale": 2}"#, decimals.clone()),
        (r#"{"type": "bytes", "logicalType": "decimal", "precision": 30, "scale": 0}"#, decimals),
        (
            r#"{"type": "fixed", "name": "f", "size": 2, "logicalType": "decimal", "precision": 4, "scale": 3}"#,
            fixed(2),
        ),
        (
            r#"{"type": "fixed", "name": "f", "size": 20, "logicalType": "decimal", "precision": 40, "scale": 1}"#,
            fixed(20),
        ),
        (r#"{"type": "fixed", "name": "f", "size": 3}"#, fixed(3)),
        (r#"{"type": "array", "items": "long"}"#, blocks.to_vec()),
        (r#"{"type": "map", "values": "long"}"#, vec![vec![0], [long(1), text("k"), long(5), long(0)].concat()]),
        (r#"{"type": "record", "name": "i", "fields": [{"name": "a", "type": "int"}]}"#, longs(&[1])),
        (
            r#"["null", "string"]"#,
            vec![long(0), in_union(1, &text("12")), in_union(1, &text([0xff])), long(2), long(-1)],
        ),
        (
            r#"["int", "string", "null", "double", "boolean", {"type": "long", "logicalType": "timestamp-millis"}]"#,
            vec![
                in_union(0, &long(12)),
                in_union(0, &long(1 << 40)),
                in_union(1, &text("2026-08-01 08:00:00")),
                long(2),
                in_union(3, &1.5_f64.to_le_bytes()),
                in_union(4, &[1]),
                in_union(5, &long(1_785_571_200_000)),
                long(6),
            ],
        ),
        (
            r#"["null", {"type": "array", "items": "int"}, {"type": "bytes", "logicalType": "decimal", "precision": 9, "scale": 1}]"#,
            vec![long(0), in_union(1, &[0]), in_union(2, &text([0x04, 0xe2])), in_union(2, &text([]))],
        ),
        (r#"["long"]"#, vec![in_union(0, &long(7)), long(1)]),
        (r#"[["null", "int"], "long"]"#, vec![in_union(0, &in_union(1, &long(7))), in_union(1, &long(8))]),
        ("[]", vec![vec![], long(0)]),
    ]
}

/// Messages of each writer's type in the field X, between the event time and a field that the query does not need.
fn messages_of_types() -> (Vec<(u32, WriterSchema)>, Vec<Vec<u8>>) {
    let (mut known, mut messages) = (Vec::new(), Vec::new());
    let begin = long(1_785_571_200_000_000);
    for (id, (kind, values)) in (1..).zip(types()) {
        let schema = format!(
            r#"{{"type": "record", "name": "r", "fields": [{{"name": "T", "type": {{"type": "long", "logicalType": "timestamp-micros"}}}},
            {{"name": "X", "type": {kind}}}, {{"name": "Z", "type": "int"}}]}}"#
        );
        known.push((id, schema_of(SchemaKind::Avro, &schema)));
        let record = |value: &[u8]| [&begin, value, &long(7)].concat();
        messages.extend(values.iter().map(|value| framed(id, &record(value))));
        // One of them cut off at each byte, and longer than it may be.
        let first = record(&values[values.len() / 2]);
        messages.extend((0..first.len()).map(|len| framed(id, &first[..len])));
        messages.push(framed(id, &[&first[..], &[0]].concat()));
    }
    (known, messages)
}

#[tokio::test]
#[ignore = "needs servers: cargo xtask test"]
async fn every_declared_type_takes_the_same_avro_values_on_spark() {
    let (known, messages) = messages_of_types();
    let schemas = schemas(&known, &messages);
    let session = session(shared()).await;
    let (mut rows, mut wrong) = (0, Vec::new());
    for (declared, shown) in [
        (r#""string""#, Shown::Text),
        (r#""int""#, Shown::Text),
        (r#""long""#, Shown::Text),
        (r#""double""#, Shown::Double),
        (r#""boolean""#, Shown::Text),
        (r#""decimal(10, 2)""#, Shown::Text),
        (r#"{ type = "timestamp", format = "yyyy-MM-dd HH:mm:ss", zone = "America/New_York" }"#, Shown::LocalTime),
        (r#"{ type = "timestamp", format = "epoch-ms", zone = "America/New_York" }"#, Shown::LocalTime),
    ] {
        let schema =
            format!("X = {declared}\nT = {{ type = \"timestamp\", format = \"iso\", zone = \"America/New_York\" }}");
        let pipeline = pipeline("avro", &schema, false);
        let fields = [("X", shown), ("T", Shown::Instant)];
        let (more, differ) = differences(&session, &pipeline, &fields, &messages, &schemas, &|_, _, _| false).await;
        rows += more;
        wrong.extend(differ.into_iter().map(|text| format!("{declared}: {text}")));
    }
    session.release().await.unwrap();
    assert!(rows > 2_000, "{rows} rows");
    assert!(wrong.is_empty(), "{} differences:\n{}", wrong.len(), wrong.join("\n"));
}

/// Schemas of one pipeline's messages, those that it cannot read too.
const SHAPES: [&str; 9] = [
    r#"{"type": "record", "name": "r", "fields": [{"name": "S", "type": "string"}, {"name": "I", "type": "int"},
        {"name": "T", "type": {"type": "long", "logicalType": "timestamp-millis"}}]}"#,
    // Another order, nulls, and much that the query does not need.
    r#"{"type": "record", "name": "r", "namespace": "a.b", "fields": [
        {"name": "tags", "type": {"type": "array", "items": "string"}},
        {"name": "T", "type": ["null", {"type": "long", "logicalType": "timestamp-millis"}]},
        {"name": "more", "type": {"type": "map", "values": ["null", "double", {"type": "record", "name": "Inner", "fields": [
            {"name": "x", "type": "float"}, {"name": "y", "type": {"type": "array", "items": {"type": "array", "items": "null"}}}]}]}},
        {"name": "one", "type": "Inner"}, {"name": "none", "type": "null"},
        {"name": "I", "type": ["string", "null", "int"]}, {"name": "flag", "type": "boolean"},
        {"name": "either", "type": ["Inner", "long", "null"]},
        {"name": "S", "type": {"type": "enum", "name": "c.E", "symbols": ["RED", "it's"]}},
        {"name": "colour", "type": "c.E"}, {"name": "raw", "type": "bytes"}, {"name": "fix", "type": {"type": "fixed", "name": "F", "size": 3}}]}"#,
    // Without fields that the pipeline has.
    r#"{"type": "record", "name": "r", "fields": [{"name": "T", "type": {"type": "long", "logicalType": "timestamp-millis"}}]}"#,
    r#"{"type": "record", "name": "r", "fields": [{"name": "S", "type": "string"}]}"#,
    r#"{"type": "record", "name": "r", "fields": []}"#,
    r#""string""#,
    r#"{"type": "record"}"#,
    "{",
    r#"{"type": "record", "name": "r", "fields": [{"name": "T", "type": {"type": "long", "logicalType": "timestamp-millis"}},
        {"name": "S", "type": {"type": "record", "name": "List", "fields": [{"name": "next", "type": ["null", "List"]}]}}]}"#,
];

fn messages_of_shapes() -> Vec<Vec<u8>> {
    let time = || long(1_785_571_200_000);
    let mut all = Vec::new();
    for number in [0, 5, -7, 1 << 40] {
        all.push(framed(1, &[text("abc"), long(number), time()].concat()));
    }
    let inner = |floats: usize| {
        let arrays = [long(2), long(3), long(0), long(0), long(0)].concat();
        [&1.5_f32.to_le_bytes()[..], if floats == 0 { &[0] } else { &arrays }].concat()
    };
    let tags = [
        vec![0],
        [long(2), text("a"), text(""), long(0)].concat(),
        [long(-1), long(2), text("a"), long(1), text("b"), long(0)].concat(),
    ];
    let maps = [
        vec![0],
        [long(1), text("k"), long(0), long(0)].concat(),
        [long(2), text("k"), long(1), vec![0; 8], text("k"), long(2), inner(1), long(0)].concat(),
        [long(1), text("k"), long(3), long(0)].concat(),
    ];
    let eithers = [[long(0), inner(0)].concat(), [long(1), long(1 << 50)].concat(), long(2), long(3)];
    let numbers =
        [[long(0), text("12")].concat(), [long(0), text("x")].concat(), long(1), [long(2), long(-3)].concat()];
    for (at, number) in numbers.iter().enumerate() {
        for tag in &tags {
            for map in &maps {
                for either in &eithers {
                    let when = if at == 3 { long(0) } else { [long(1), time()].concat() };
                    let rest = [
                        vec![u8::from(at == 1)],
                        either.clone(),
                        long(at as i64 % 2),
                        long(at as i64),
                        text([0xff]),
                        vec![1, 2, 3],
                    ];
                    all.push(framed(
                        2,
                        &[tag.clone(), when, map.clone(), inner(at), number.clone(), rest.concat()].concat(),
                    ));
                }
            }
        }
    }
    for (id, record) in [
        (3, time()),
        (4, text("abc")),
        (5, vec![]),
        (5, vec![0]),
        (6, text("x")),
        (7, vec![]),
        (8, vec![1]),
        (10, time()),
        (99, vec![]),
    ] {
        all.push(framed(id, &record));
    }
    all.push(framed(9, &[time(), long(1), long(0)].concat()));
    all.extend([vec![], vec![0], vec![0, 0, 0, 0], vec![0, 0, 0, 0, 1], vec![1, 0, 0, 0, 1, 0]]);
    let begins: Vec<Vec<u8>> = all.iter().filter(|message| message.len() > 40).step_by(40).cloned().collect();
    all.extend(begins.iter().flat_map(|message| (0..message.len()).map(|len| message[..len].to_vec())));
    mutate(&mut all);
    all
}

#[tokio::test]
#[ignore = "needs servers: cargo xtask test"]
async fn avro_messages_of_many_schemas_are_the_same_rows_on_spark() {
    let mut known: Vec<(u32, WriterSchema)> =
        (1..).zip(SHAPES).map(|(id, text)| (id, schema_of(SchemaKind::Avro, text))).collect();
    known.push((10, schema_of(SchemaKind::Json, "{}")));
    // So wide that what the query does not need is read together.
    let mut wide = String::new();
    (0..80).for_each(|at| write!(wide, r#"{{"name": "w{at}", "type": ["null", "string"]}}, "#).unwrap());
    let text_of = format!(
        r#"{{"type": "record", "name": "r", "fields": [{wide} {{"name": "T", "type": {{"type": "long", "logicalType": "timestamp-millis"}}}}]}}"#
    );
    known.push((11, schema_of(SchemaKind::Avro, &text_of)));
    let mut messages = messages_of_shapes();
    let fields =
        |with: usize| (0..80).flat_map(move |at| if at == with { [long(1), text("w")].concat() } else { long(0) });
    messages
        .extend([0, 40, 99].map(|with| framed(11, &fields(with).chain(long(1_785_571_200_000)).collect::<Vec<u8>>())));
    messages.push(framed(11, &fields(3).collect::<Vec<u8>>()));
    let schema =
        "S = \"string\"\nI = \"int\"\nT = { type = \"timestamp\", format = \"iso\", zone = \"America/New_York\" }";
    let fields = [("S", Shown::Text), ("I", Shown::Text), ("T", Shown::Instant)];
    // Fields that are read together are not named.
    let same = |message: &[u8], ours: &str, theirs: &str| {
        message.starts_with(&[0, 0, 0, 0, 11]) && ours.starts_with("rejected: avro") && theirs == "rejected: avro -"
    };
    compare(["avro", schema], &fields, &messages, &known, same).await;
}
