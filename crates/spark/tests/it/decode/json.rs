//! JSON, with a schema's id before it and without.

use turnstile_message::SchemaKind;

use super::{Shown, compare, mutate, schema_of, shown};

const SCHEMA: &str = r#"S = "string"
I = "int"
L = "long"
D = "double"
B = "boolean"
C = "decimal(10, 2)"
E = { type = "timestamp", format = "epoch-ms", zone = "America/New_York" }
T = { type = "timestamp", format = "yyyy-MM-dd HH:mm:ss", zone = "America/New_York" }
X = { type = "string", path = "meta.x" }
Y = { type = "long", path = "meta.loc.y" }"#;

/// JSON messages of every form, and what is nearly one.
fn json_messages() -> Vec<Vec<u8>> {
    let time = r#""T":"2026-08-01 08:00:00""#;
    let mut all: Vec<Vec<u8>> = Vec::new();
    let mut add = |text: &str| all.push(text.as_bytes().to_vec());
    let whole = format!(
        r#"{{"S":"a","I":1,"L":2,"D":3.5,"B":true,"C":1.25,"E":1785542400000,{time},"meta":{{"x":"b","loc":{{"y":3}}}}}}"#
    );
    add(&whole);
    let values = [
        "null",
        "true",
        "false",
        "0",
        "-0",
        "7",
        "-7",
        "007",
        "+7",
        "1.0",
        "1.5",
        "1e3",
        "1E+3",
        "1e-3",
        "1.",
        ".5",
        "-",
        "1e",
        "2147483647",
        "2147483648",
        "-2147483649",
        "9223372036854775807",
        "9223372036854775808",
        "18446744073709551615",
        "18446744073709551616",
        "-9223372036854775809",
        "123456789012345678901234567890",
        "1.2345678901234567",
        "0.1234567890123456789",
        "1e308",
        "1e309",
        "-1e400",
        "1e-400",
        "4.9e-324",
        "2.2250738585072011e-308",
        "\"\"",
        "\" \"",
        "\"a\"",
        "\"7\"",
        "\" 7 \"",
        "\"1.5\"",
        "\"true\"",
        "\"NaN\"",
        "\"1e3\"",
        "\"a\\u00e9\"",
        "\"a\\ud83d\\ude00\"",
        "\"a\\ud800\"",
        "\"\\udc00\"",
        "\"a\\x\"",
        "\"a\\u12\"",
        "\"a\tb\"",
        "\"a\\tb\"",
        "\"a\\/b\\\\\\\"c\"",
        "\"é\"",
        "[]",
        "{}",
        "[1,2]",
        "{\"a\":{\"b\":[null,{}]}}",
        "[1,]",
        "{,}",
        "{\"a\"}",
        "[1 2]",
        "tru",
        "nulll",
        "NaN",
        "Infinity",
        "'a'",
        "\"2026-08-01 09:00:00\"",
        "\"2026-02-30 09:00:00\"",
        "\"1785542400000.5\"",
        "1785542400000.25",
        "99999999999999999999",
        "[[[[[[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]]]]]",
    ];
    for value in values {
        for name in ["S", "I", "L", "D", "B", "C", "E", "more"] {
            add(&format!(r#"{{{time},"{name}":{value}}}"#));
        }
        add(&format!(r#"{{"T":{value}}}"#));
        add(&format!(r#"{{{time},"meta":{value}}}"#));
        add(&format!(r#"{{{time},"meta":{{"x":{value}}}}}"#));
        add(&format!(r#"{{{time},"meta":{{"loc":{{"y":{value}}}}}}}"#));
        add(&format!(r#"{{{time},"meta":{{"loc":{value},"x":"b"}}}}"#));
    }
    for text in [
        "",
        "{}",
        "[]",
        "null",
        "1",
        "\"a\"",
        "{",
        "}",
        "{\"T\"",
        "{\"T\":}",
        "{:1}",
        "{\"T\":1,}",
        "{,\"T\":1}",
        "{\"T\" 1}",
        "{T:1}",
    ] {
        add(text);
    }
    for text in [
        format!("{{{time}}}"),
        format!(" {{ {time} }} "),
        format!("\t\r\n{{\n{time}\r}}\n"),
        format!("\u{feff}{{{time}}}"),
        format!("\u{feff}\u{feff}{{{time}}}"),
        format!("{{{time}}}x"),
        format!("{{{time}}}{{{time}}}"),
        format!("{{{time}}},"),
        format!("\u{b}{{{time}}}"),
        format!("\u{a0}{{{time}}}"),
        format!("{{{time},{time}}}"),
        format!(r#"{{{time},"S":"a","S":"b"}}"#),
        format!(r#"{{{time},"S":1,"S":"b"}}"#),
        format!(r#"{{{time},"unused":"a","unused":"b"}}"#),
        format!(r#"{{{time},"more":1,"more":2}}"#),
        format!(r#"{{{time},"\u0053":"a"}}"#),
        format!(r#"{{{time},"\u0053":"a","S":"b"}}"#),
        format!(r#"{{{time},"\ud800":"a"}}"#),
        format!(r#"{{{time},"s":"a"}}"#),
        format!(r#"{{{time},"meta":{{"x":"a"}},"meta":{{"x":"b"}}}}"#),
        format!(r#"{{{time},"meta":{{"x":"a"}},"meta":{{"loc":{{"y":1}}}}}}"#),
        format!(r#"{{{time},"meta":{{"x":"a","x":"b"}}}}"#),
        format!(r#"{{{time},"meta":{{"z":"a"}}}}"#),
        format!(r#"{{{time},"meta":{{"loc":{{"z":1,"y":2}}}}}}"#),
        format!(r#"{{{time},"meta":{{"loc":{{"y":1,"y":2}}}}}}"#),
        format!(r#"{{{time},"x":"a"}}"#),
        format!(r#"{{{time},"meta.x":"a"}}"#),
        format!(r#"{{{time},"more":1,"I":"x"}}"#),
        format!(r#"{{{time},"I":"x","more":1}}"#),
        format!(r#"{{{time},"I":"x","L":"y"}}"#),
        format!(r#"{{{time},"L":"y","I":"x"}}"#),
        format!(r#"{{"I":"x","meta":1,{time}}}"#),
        format!(r#"{{"meta":{{"x":1}},"I":"x",{time}}}"#),
        format!(r#"{{"I":"x","meta":{{"x":1}},{time}}}"#),
        format!(r#"{{{time},"":1}}"#),
        format!(r#"{{{time},"a\"b":"c:{{[,"}}"#),
        format!(r#"{{{time},"S":"}}]{{[\":,"}}"#),
        format!(r#"{{{time},"S":"a""I":1}}"#),
        format!(r#"{{{time},"S":"a" "I":1}}"#),
        format!(r#"{{{time},"unused":[1,[2,{{"S":"x"}}]],"S":"y"}}"#),
        format!("\"{{{time}}}\""),
    ] {
        add(&text);
    }
    all.push(b"{\"T\":\"\xff\"}".to_vec());
    mutate(&mut all);
    all
}

/// A message with two faults may be rejected for another one of them: what is no JSON is noticed first on Spark, and here what
/// comes first.
fn has_two_faults(message: &[u8], ours: &str, theirs: &str) -> bool {
    let is_json = serde_json::from_slice::<&serde_json::value::RawValue>(message).is_ok();
    !is_json && ours.starts_with("rejected: ") && theirs == shown("json", None)
}

/// The fields of [`SCHEMA`].
const FIELDS: [(&str, Shown); 10] = [
    ("S", Shown::Text),
    ("I", Shown::Text),
    ("L", Shown::Text),
    ("D", Shown::Double),
    ("B", Shown::Text),
    ("C", Shown::Text),
    ("E", Shown::Instant),
    ("T", Shown::LocalTime),
    ("X", Shown::Text),
    ("Y", Shown::Text),
];

#[tokio::test]
#[ignore = "needs servers: cargo xtask test"]
async fn json_messages_are_the_same_rows_on_spark() {
    compare(["json", SCHEMA], &FIELDS, &json_messages(), &[], has_two_faults).await;
}

#[tokio::test]
#[ignore = "needs servers: cargo xtask test"]
async fn messages_with_a_schema_s_id_are_the_same_rows_on_spark() {
    let framed = |message: Vec<u8>| [&[0, 0, 0, 0, 7], &message[..]].concat();
    let mut messages: Vec<Vec<u8>> = json_messages().into_iter().step_by(3).map(framed).collect();
    messages.extend([
        vec![],
        vec![0],
        vec![0, 0, 0, 0, 7],
        vec![1, 0, 0, 0, 7, b'{', b'}'],
        vec![0, 0, 0, 0, 8, b'{', b'}'],
        vec![0, 0, 0, 0, 9, b'{', b'}'],
        vec![0, 255, 255, 255, 255, b'{', b'}'],
        vec![0xff; 7],
        vec![0, 0xff],
    ]);
    let two_faults =
        |message: &[u8], ours: &str, theirs: &str| has_two_faults(message.get(5..).unwrap_or_default(), ours, theirs);
    let known = [(7, schema_of(SchemaKind::Json, "{}")), (8, schema_of(SchemaKind::Avro, "\"int\""))];
    compare(["json-schema", SCHEMA], &FIELDS, &messages, &known, two_faults).await;
}
