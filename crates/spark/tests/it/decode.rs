//! The same messages are rows on Spark and in the embedded engine, with the same values; the others are rejected for the same
//! reason.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::time::{Duration, Instant};

use chrono::DateTime;
use turnstile_engine::{Inspected, Inspector};
use turnstile_message::{BatchBuilder, SchemaKind, TopicPartition, WriterSchema};
use turnstile_pipeline::Pipeline;
use turnstile_spark::{
    DataSource, FIELD, MESSAGES_VIEW, REASON, ROWS_VIEW, Relation, Session, SparkPlan, StreamSink, StreamTrigger,
};

use crate::server::{session, shared};

const PATIENCE: Duration = Duration::from_secs(180);

/// Messages that are made of the others, a part replaced.
const MUTATED: usize = 1_500;

const FILE: &str = r#"
name = "decode"
[source]
topic = "x"
format = "csv"
extra_fields = "EXTRA"
empty = "EMPTY"
[source.schema]
S = "string"
I = "int"
L = "long"
D = "double"
B = "boolean"
E = { type = "timestamp", format = "epoch-ms", zone = "America/New_York" }
T = { type = "timestamp", format = "yyyy-MM-dd HH:mm:ss", zone = "America/New_York" }
[stream]
event_time = "T"
watermark = "1 minute"
late = "drop"
future = "off"
[query]
sql = """SELECT S, I, L, D, B, E, count(*) AS N FROM turnstile GROUP BY window(T, '5 minutes'), S, I, L, D, B, E"""
[lake]
url = "file:./lake"
"#;

/// Messages of every form, and what is nearly one.
fn messages() -> Vec<Vec<u8>> {
    let time = "2026-08-01 08:00:00";
    let mut all: Vec<Vec<u8>> = Vec::new();
    let mut add = |text: &str| all.push(text.as_bytes().to_vec());
    add(&format!("a,1,2,3.5,true,1785542400000,{time}"));
    for end in ["\n", "\r\n", "\r", "\n\n", " "] {
        add(&format!("a,1,2,3.5,true,1785542400000,{time}{end}"));
    }
    for text in [
        "",
        "\"\"",
        " ",
        "\"a,b\"",
        "\"a\"\"b\"",
        "a\"b",
        "\"a\"b",
        "\"a",
        "é",
        "\"x\ny\"",
        "x\ny",
        "\u{feff}a",
        "'",
        "\\",
    ] {
        add(&format!("{text},1,2,3.5,true,1785542400000,{time}"));
    }
    for int in [
        "+7",
        "-7",
        "007",
        "2147483647",
        "2147483648",
        "-2147483649",
        "7.0",
        "1e3",
        "x",
        " 7 ",
        "\t7",
        "7\u{a0}",
        "+",
        "٧",
    ] {
        add(&format!("a,{int},2,3.5,true,1785542400000,{time}"));
        add(&format!("a,1,{int},3.5,true,1785542400000,{time}"));
    }
    for long in ["9223372036854775807", "9223372036854775808", "-9223372036854775808", "00000000000000000000007"] {
        add(&format!("a,1,{long},3.5,true,1785542400000,{time}"));
    }
    for double in [
        "1.",
        ".5",
        "-.5e-3",
        "1e308",
        "1e309",
        "-1e309",
        "nan",
        "NaN",
        "-nan",
        "inf",
        "-Infinity",
        "+INF",
        "1d",
        "1f",
        "0x1p3",
        "1_0",
        "--1",
        "1e",
        "e5",
        " 1.5 ",
        "-0.0",
        "4.9e-324",
        "1e-400",
    ] {
        add(&format!("a,1,2,{double},true,1785542400000,{time}"));
    }
    for boolean in ["TRUE", "False", " true ", "t", "1", "yes", "no"] {
        add(&format!("a,1,2,3.5,{boolean},1785542400000,{time}"));
    }
    for epoch in [
        "0",
        "-1",
        "1.5",
        "-1.5",
        "1785542400000.0009",
        "1.",
        ".5",
        "+5",
        "1e3",
        "253402300799999",
        "253402300800000",
        "-62135596800000",
        "-62135596800001",
        "99999999999999999999",
    ] {
        add(&format!("a,1,2,3.5,true,{epoch},{time}"));
    }
    for time in [
        "",
        "2026-08-01",
        "2026-8-1 08:00:00",
        "2026-08-01 8:00:00",
        "2026-08-01T08:00:00",
        "2026-08-01 08:00:00.5",
        " 2026-08-01 08:00:00",
        "2026-02-30 08:00:00",
        "2026-13-01 08:00:00",
        "2026-08-01 24:00:00",
        "2026-08-01 23:59:60",
        "2026-03-08 02:30:00",
        "2026-11-01 01:30:00",
        "0001-01-01 00:00:00",
        "0000-01-01 00:00:00",
        "9999-12-31 23:59:59",
        "10000-01-01 00:00:00",
        "1883-11-18 12:00:00",
        "-026-08-01 08:00:00",
        "2026-08-01 08:00:00 ",
    ] {
        add(&format!("a,1,2,3.5,true,1785542400000,{time}"));
    }
    // Too few fields, too many.
    for row in ["", "a", ",", "a,1,2,3.5,true,1785542400000", ",,,,,,", "\"", "\"\"", "{}", "null"] {
        add(row);
    }
    add(&format!("a,1,2,3.5,true,1785542400000,{time},more"));
    // In a JSON string.
    for inner in [
        format!("a,1,2,3.5,true,1785542400000,{time}"),
        format!("\\\"a\\\",1,2,3.5,true,1785542400000,{time}"),
        format!("a\\u00e9,1,2,3.5,true,1785542400000,{time}\\n"),
        format!("\\ufeffa,1,2,3.5,true,1785542400000,{time}\\r\\n"),
        format!("\u{feff}a,1,2,3.5,true,1785542400000,{time}"),
        format!("a\\x,1,2,3.5,true,1785542400000,{time}"),
        format!("a\\ud800,1,2,3.5,true,1785542400000,{time}"),
        format!("a\\/b,1,2,3.5,true,1785542400000,{time}"),
        format!("a\",\"b,1,2,3.5,true,1785542400000,{time}"),
    ] {
        add(&format!("\"{inner}\""));
    }
    add(&format!("\"a\",1,2,3.5,true,1785542400000,\"{time}\""));
    add(&format!("\"a\"\"b\",1,2,3.5,true,1785542400000,\"{time}\""));
    add("\"a\"][\"b\"");
    // A header line and a row.
    for (header, row) in [
        ("S,I,L,D,B,E,T".to_owned(), format!("a,1,2,3.5,true,1785542400000,{time}")),
        ("T,S".to_owned(), format!("{time},a")),
        (" T , S ".to_owned(), format!("{time},a")),
        ("T,S,S".to_owned(), format!("{time},a,b")),
        ("T,S,X".to_owned(), format!("{time},a,b")),
        ("T,S".to_owned(), time.to_owned()),
        ("T,S".to_owned(), format!("{time},a,b")),
        ("X,Y".to_owned(), format!("{time},a")),
        ("T,\"S\"".to_owned(), format!("{time},\"a\nb\"")),
        ("T,S".to_owned(), format!("{time},a\n{time},b")),
        ("t,s".to_owned(), format!("{time},a")),
        ("\u{feff}T,S".to_owned(), format!("\u{feff}{time},a")),
        ("T".to_owned(), String::new()),
    ] {
        for end in ["\n", "\r\n"] {
            add(&format!("{header}{end}{row}"));
            add(&format!("{header}{end}{row}{end}{end}"));
        }
        let json = format!("\"{header}\n{row}\"").replace('\n', "\\n");
        add(&json);
    }
    all.push(b"\xff,1,2,3.5,true,1785542400000,2026-08-01 08:00:00".to_vec());
    all.push(b"\xef\xbb\xbfa,1,2,3.5,true,1785542400000,2026-08-01 08:00:00".to_vec());
    all.push(b"\xed\xa0\x80,1,2,3.5,true,1785542400000,2026-08-01 08:00:00".to_vec());
    mutate(&mut all);
    all
}

/// Adds messages that have a part of another one, or a character that means something, at a random place.
fn mutate(all: &mut Vec<Vec<u8>>) {
    let seed = std::env::var("TURNSTILE_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(1_u64);
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut below = move |bound: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state % bound.max(1) as u64) as usize
    };
    let known = all.clone();
    for _ in 0..MUTATED {
        let mut message = known[below(known.len())].clone();
        let at = below(message.len() + 1);
        let until = (at + below(4)).min(message.len());
        let piece: Vec<u8> = match below(3) {
            0 => b"\",\n\r \\'0159+-.:eTS"[below(18)..][..1].to_vec(),
            1 => Vec::new(),
            _ => {
                let other = &known[below(known.len())];
                let from = below(other.len() + 1);
                other[from..(from + below(6)).min(other.len())].to_vec()
            }
        };
        message.splice(at..until, piece);
        all.push(message);
    }
}

/// Per message: the fields' texts, or why it is rejected.
type Decoded = Vec<String>;

/// How the values of a field are compared.
#[derive(Clone, Copy, PartialEq)]
enum Shown {
    /// As text.
    Text,
    /// As the number that the text means.
    Double,
    /// As microseconds.
    Instant,
    /// The same, of a local time: the changes of a zone's clock are known until 2100 here, and go on for ever in Java
    /// (docs/sql.md).
    LocalTime,
}

/// The fields of a pipeline, in the order in which its query names them.
type Fields = [(&'static str, Shown)];

fn shown(reason: &str, field: Option<&str>) -> String {
    format!("rejected: {reason} {}", field.unwrap_or("-"))
}

/// Microseconds of an instant as the inspector shows it. Before 1883 the offset had seconds, which it does not show.
fn instant(shown: &str) -> i64 {
    let us = DateTime::parse_from_rfc3339(shown).unwrap().timestamp_micros();
    if shown.ends_with("-04:56") { us + 2_000_000 } else { us }
}

fn known_clock(us: i64) -> String {
    const YEAR_2100: i64 = 4_102_444_800_000_000;
    if us < YEAR_2100 { us.to_string() } else { "after 2100".to_owned() }
}

fn by_engine(pipeline: &Pipeline, fields: &Fields, messages: &[Vec<u8>]) -> Decoded {
    let mut batch = BatchBuilder::default();
    let partition = TopicPartition::new("x", 0);
    for (offset, message) in messages.iter().enumerate() {
        batch.push(&partition, offset as i64, 0, None, Some(message));
    }
    let mut inspector = Inspector::new(pipeline).unwrap();
    let schema = WriterSchema { kind: SchemaKind::Json, text: "{}".to_owned(), references: Vec::new() };
    for message in messages {
        if let [0, a, b, c, d, ..] = message[..] {
            inspector.register_schema(u32::from_be_bytes([a, b, c, d]), Some(&schema));
        }
    }
    let inspected = inspector.inspect(&batch.finish()).unwrap();
    let text = |inspected: Inspected| match inspected {
        Inspected::Fields(values) => {
            let mut text = String::new();
            for (field, (_, shown)) in values.into_iter().zip(fields) {
                let field = field.map(|field| match shown {
                    Shown::Text => field,
                    Shown::Double => format!("{:?}", field.parse::<f64>().unwrap()),
                    Shown::Instant => instant(&field).to_string(),
                    Shown::LocalTime => known_clock(instant(&field)),
                });
                write!(text, "{field:?} ").unwrap();
            }
            text
        }
        Inspected::Rejected(rejection) => shown(rejection.reason.as_str(), rejection.field.as_deref()),
        Inspected::Tombstone => "tombstone".to_owned(),
    };
    inspected.into_iter().map(text).collect()
}

async fn by_spark(session: &Session, pipeline: &Pipeline, fields: &Fields, messages: &[Vec<u8>]) -> Decoded {
    let dir = tempfile::tempdir().unwrap();
    let input = dir.path().join("in");
    fs::create_dir(&input).unwrap();
    let mut lines = String::new();
    for (offset, message) in messages.iter().enumerate() {
        let value = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, message);
        writeln!(lines, "{{\"topic\":\"x\",\"partition\":0,\"offset\":{offset},\"timestamp\":\"2026-08-01 00:00:00\",\"value\":\"{value}\"}}").unwrap();
    }
    fs::write(input.join("messages.json"), lines).unwrap();
    let plan = SparkPlan::of(pipeline).unwrap();
    session.set(plan.settings.iter().map(|(key, value)| (*key, value.as_str()))).await.unwrap();
    let source = DataSource {
        format: "json".into(),
        schema: Some(
            "topic string, partition int, offset bigint, timestamp timestamp, key binary, value binary".into(),
        ),
        options: BTreeMap::from([("path".to_owned(), input.display().to_string())]),
    };
    session.create_view(MESSAGES_VIEW, Relation::stream(source)).await.unwrap();
    session.create_view(ROWS_VIEW, Relation::sql(plan.rows)).await.unwrap();
    let texts = fields.iter().fold(String::new(), |mut texts, (name, shown)| {
        let text = match shown {
            Shown::Text | Shown::Double => format!("string({name})"),
            Shown::Instant | Shown::LocalTime => format!("string(unix_micros({name}))"),
        };
        write!(texts, ", {text} AS {name}").unwrap();
        texts
    });
    let table =
        Relation::sql(format!("SELECT __offset AS __o, {REASON} AS __r, {FIELD} AS __f{texts} FROM {ROWS_VIEW}"));
    let sink = StreamSink {
        format: "json".into(),
        path: dir.path().join("out").display().to_string(),
        checkpoint: dir.path().join("checkpoint").display().to_string(),
        options: BTreeMap::from([("ignoreNullFields".to_owned(), "false".to_owned())]),
        trigger: StreamTrigger::AvailableNow,
        name: format!("decode-{}", uuid::Uuid::new_v4()),
    };
    let query = session.start(table, &sink).await.unwrap();
    let began = Instant::now();
    while session.query_state(&query).await.unwrap().active {
        assert!(began.elapsed() < PATIENCE, "Spark does not finish");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    if let Some(failure) = session.query_failure(&query).await.unwrap() {
        panic!("{failure}");
    }
    let mut decoded = vec!["missing".to_owned(); messages.len()];
    for file in fs::read_dir(dir.path().join("out")).unwrap().map(|file| file.unwrap().path()) {
        if file.extension().is_none_or(|extension| extension != "json") {
            continue;
        }
        for line in fs::read_to_string(file).unwrap().lines() {
            let row: serde_json::Value = serde_json::from_str(line).unwrap();
            let get = |name: &str| row[name].as_str();
            let text = match get("__r") {
                Some(reason) => shown(reason, get("__f")),
                None => fields.iter().fold(String::new(), |mut text, (name, shown)| {
                    let field = get(name).map(|field| match shown {
                        Shown::Text | Shown::Instant => field.to_owned(),
                        Shown::Double => format!("{:?}", field.replace("Infinity", "inf").parse::<f64>().unwrap()),
                        Shown::LocalTime => known_clock(field.parse().unwrap()),
                    });
                    write!(text, "{field:?} ").unwrap();
                    text
                }),
            };
            decoded[row["__o"].as_u64().unwrap() as usize] = text;
        }
    }
    decoded
}

/// Compares what both make of `messages`; `same` says whether two answers that differ are meant to.
async fn compare(file: &str, fields: &Fields, messages: &[Vec<u8>], same: impl Fn(&[u8], &str, &str) -> bool) {
    let session = session(shared()).await;
    let mut wrong = Vec::new();
    for (extra, empty) in [("error", "null"), ("ignore", "text")] {
        let file = file.replace("EXTRA", extra).replace("EMPTY", empty);
        let pipeline = Pipeline::from_str(&file, "decode.toml").unwrap();
        let ours = by_engine(&pipeline, fields, messages);
        let theirs = by_spark(&session, &pipeline, fields, messages).await;
        let rows = ours.iter().filter(|text| !text.starts_with("rejected")).count();
        assert!(rows > 50 && ours.len() - rows > 50, "{rows} rows of {}: too few of one kind", ours.len());
        for ((message, ours), theirs) in messages.iter().zip(&ours).zip(&theirs) {
            if ours != theirs && !same(message, ours, theirs) {
                wrong.push(format!("{:?}\n    engine: {ours}\n    Spark:  {theirs}", String::from_utf8_lossy(message)));
            }
        }
    }
    session.release().await.unwrap();
    assert!(wrong.is_empty(), "{} differences:\n{}", wrong.len(), wrong.join("\n"));
}

#[tokio::test]
#[ignore = "needs servers: cargo xtask test"]
async fn csv_messages_are_the_same_rows_on_spark() {
    let fields = [
        ("S", Shown::Text),
        ("I", Shown::Text),
        ("L", Shown::Text),
        ("D", Shown::Double),
        ("B", Shown::Text),
        ("E", Shown::Instant),
        ("T", Shown::LocalTime),
    ];
    compare(FILE, &fields, &messages(), |_, _, _| false).await;
}

/// Decimals, ISO 8601, and names that the plan uses for itself.
const EXACT: &str = r#"
name = "exact"
[source]
topic = "x"
format = "csv"
extra_fields = "EXTRA"
empty = "EMPTY"
[source.schema]
value0 = "decimal(10, 2)"
names = "decimal(38, 0)"
line = "decimal(38, 37)"
T = { type = "timestamp", format = "iso", zone = "America/New_York" }
[stream]
event_time = "T"
watermark = "1 minute"
late = "drop"
future = "off"
[query]
sql = """SELECT value0, names, line, count(*) AS N FROM turnstile GROUP BY window(T, '5 minutes'), value0, names, line"""
[lake]
url = "file:./lake"
"#;

const DECIMALS: [&str; 40] = [
    "12.50",
    " 12.5 ",
    "-0.05",
    "+7",
    "1.2500",
    "1.25E3",
    "125e-2",
    "0e300",
    "0e-300",
    "0.0000",
    ".5",
    "5.",
    "99999999.99",
    "100000000",
    "1.005",
    "1e30",
    "1e99999",
    "1e-99999",
    "",
    ".",
    "-",
    "1.2.3",
    "NaN",
    "1",
    "-1",
    "1e1",
    "1e+1",
    "1E-1",
    "e5",
    "1e",
    "00012.30",
    "9999999999999999999999999999999999999",
    "99999999999999999999999999999999999999",
    "1_0",
    "0x1",
    "1d",
    "1.0000000000000000000000000000000000000",
    "1.00000000000000000000000000000000000000000",
    "12.3e-1",
    "1200e-2",
];

const ISO: [&str; 44] = [
    "2026-08-01",
    "2026-08-01T08:00",
    "2026-08-01t08:00",
    "2026-08-01 08:00:01",
    "2026-08-01T08:00:01.5",
    "2026-08-01T08:00:01,5",
    "2026-08-01T08:00:01.123456789",
    "2026-08-01T08:00:01.1234567890",
    "2026-08-01T08:00:01Z",
    "2026-08-01T08:00:01z",
    "2026-08-01T08:00Z",
    "2026-08-01T08:00:01.5+05:30",
    "2026-08-01T08:00:01-0800",
    "2026-08-01T08:00:01+05",
    "2026-08-01T08:00+01",
    "2026-08-01Z",
    "2026-08-01T",
    "2026-08-01T08",
    "2026-08-01T08:00:",
    "2026-08-01T08:00:01.",
    "2026-08-01T24:00",
    "2026-08-01T23:60",
    "2026-08-01T23:59:60",
    "2026-02-30",
    "2026-13-01",
    "2026-8-1",
    "20260801",
    "0001-01-01",
    "0000-01-01",
    "9999-12-31T23:59:59",
    "9999-12-31T23:59:59.999999-01:00",
    "0001-01-01T00:00:00+01:00",
    "2026-03-08T02:30",
    "2026-11-01T01:30",
    "2026-11-01T01:30-04:00",
    "2026-08-01T08:00:01+18:59",
    "2026-08-01T08:00:01+19:00",
    "2026-08-01T08:00:01+05:60",
    "2026-08-01T08:00:01-00:30",
    "2026-08-01T08:00:01+5:30",
    " 2026-08-01",
    "2026-08-01 ",
    "1969-12-31T23:59:59.999999Z",
    "+2026-08-01",
];

#[tokio::test]
#[ignore = "needs servers: cargo xtask test"]
async fn decimals_and_iso_times_are_the_same_on_spark() {
    let mut all: Vec<Vec<u8>> = Vec::new();
    for decimal in DECIMALS {
        for row in [format!("{decimal},1,0.5"), format!("1,{decimal},0.5"), format!("1,2,{decimal}")] {
            all.push(format!("{row},2026-08-01T08:00:00Z").into_bytes());
        }
    }
    all.extend(ISO.map(|time| format!("1.5,2,0.5,{time}").into_bytes()));
    mutate(&mut all);
    let fields = [("value0", Shown::Text), ("names", Shown::Text), ("line", Shown::Text), ("T", Shown::LocalTime)];
    compare(EXACT, &fields, &all, |_, _, _| false).await;
}

const JSON: &str = r#"
name = "json"
[source]
topic = "x"
format = "json"
extra_fields = "EXTRA"
[source.schema]
S = "string"
I = "int"
L = "long"
D = "double"
B = "boolean"
C = "decimal(10, 2)"
E = { type = "timestamp", format = "epoch-ms", zone = "America/New_York" }
T = { type = "timestamp", format = "yyyy-MM-dd HH:mm:ss", zone = "America/New_York" }
X = { type = "string", path = "meta.x" }
Y = { type = "long", path = "meta.loc.y" }
[stream]
event_time = "T"
watermark = "1 minute"
late = "drop"
future = "off"
[query]
sql = """SELECT S, I, L, D, B, C, E, X, Y, count(*) AS N FROM turnstile
  GROUP BY window(T, '5 minutes'), S, I, L, D, B, C, E, X, Y"""
[lake]
url = "file:./lake"
"#;

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

/// The fields of [`JSON`].
const JSON_FIELDS: [(&str, Shown); 10] = [
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
    compare(JSON, &JSON_FIELDS, &json_messages(), has_two_faults).await;
}

#[tokio::test]
#[ignore = "needs servers: cargo xtask test"]
async fn messages_with_a_schema_s_id_are_the_same_rows_on_spark() {
    let file = JSON.replace("\"json\"\nextra", "\"json-schema\"\nextra");
    let file = file.replace("[source.schema]", "[source.registry]\nurl = \"http://127.0.0.1:1\"\n[source.schema]");
    let framed = |message: Vec<u8>| [&[0, 0, 0, 0, 7], &message[..]].concat();
    let mut messages: Vec<Vec<u8>> = json_messages().into_iter().step_by(3).map(framed).collect();
    messages.extend([
        vec![],
        vec![0],
        vec![0, 0, 0, 0, 7],
        vec![1, 0, 0, 0, 7, b'{', b'}'],
        vec![0xff; 7],
        vec![0, 0xff],
    ]);
    let two_faults =
        |message: &[u8], ours: &str, theirs: &str| has_two_faults(message.get(5..).unwrap_or_default(), ours, theirs);
    compare(&file, &JSON_FIELDS, &messages, two_faults).await;
}
