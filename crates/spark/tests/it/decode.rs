//! The same messages are rows on Spark and in the embedded engine, with the same values; the others are rejected for the same
//! reason.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::time::{Duration, Instant};

use chrono::DateTime;
use turnstile_engine::{Inspected, Inspector};
use turnstile_message::{BatchBuilder, TopicPartition};
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

fn shown(reason: &str, field: Option<&str>) -> String {
    format!("rejected: {reason} {}", field.unwrap_or("-"))
}

/// Microseconds of an instant as the inspector shows it. Before 1883 the offset had seconds, which it does not show.
fn instant(shown: &str) -> i64 {
    let us = DateTime::parse_from_rfc3339(shown).unwrap().timestamp_micros();
    if shown.ends_with("-04:56") { us + 2_000_000 } else { us }
}

/// The changes of a zone's clock are known until 2100 here, and go on for ever in Java (docs/sql.md).
fn known_clock(us: i64) -> String {
    const YEAR_2100: i64 = 4_102_444_800_000_000;
    if us < YEAR_2100 { us.to_string() } else { "after 2100".to_owned() }
}

fn by_engine(pipeline: &Pipeline, messages: &[Vec<u8>]) -> Decoded {
    let mut batch = BatchBuilder::default();
    let partition = TopicPartition::new("x", 0);
    for (offset, message) in messages.iter().enumerate() {
        batch.push(&partition, offset as i64, 0, None, Some(message));
    }
    let inspected = Inspector::new(pipeline).unwrap().inspect(&batch.finish()).unwrap();
    let text = |inspected: Inspected| match inspected {
        Inspected::Fields(fields) => {
            let mut text = String::new();
            for (at, field) in fields.into_iter().enumerate() {
                let field = field.map(|field| match at {
                    3 => format!("{:?}", field.parse::<f64>().unwrap()),
                    5 => instant(&field).to_string(),
                    6 => known_clock(instant(&field)),
                    _ => field,
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

async fn by_spark(session: &Session, pipeline: &Pipeline, messages: &[Vec<u8>]) -> Decoded {
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
    let table = Relation::sql(format!(
        "SELECT __offset AS o, {REASON} AS r, {FIELD} AS f, S, string(I) AS I, string(L) AS L, string(D) AS D, \
         string(B) AS B, string(unix_micros(E)) AS E, string(unix_micros(T)) AS T FROM {ROWS_VIEW}"
    ));
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
            let text = match get("r") {
                Some(reason) => shown(reason, get("f")),
                None => ["S", "I", "L", "D", "B", "E", "T"].iter().fold(String::new(), |mut text, name| {
                    let field = get(name).map(|field| match *name {
                        "D" => format!("{:?}", field.replace("Infinity", "inf").parse::<f64>().unwrap()),
                        "T" => known_clock(field.parse().unwrap()),
                        _ => field.to_owned(),
                    });
                    write!(text, "{field:?} ").unwrap();
                    text
                }),
            };
            decoded[row["o"].as_u64().unwrap() as usize] = text;
        }
    }
    decoded
}

#[tokio::test]
#[ignore = "needs servers: cargo xtask test"]
async fn csv_messages_are_the_same_rows_on_spark() {
    let messages = messages();
    let session = session(shared()).await;
    let mut wrong = Vec::new();
    for (extra, empty) in [("error", "null"), ("ignore", "text")] {
        let file = FILE.replace("EXTRA", extra).replace("EMPTY", empty);
        let pipeline = Pipeline::from_str(&file, "decode.toml").unwrap();
        let ours = by_engine(&pipeline, &messages);
        let theirs = by_spark(&session, &pipeline, &messages).await;
        let rows = ours.iter().filter(|text| !text.starts_with("rejected")).count();
        assert!(rows > 200 && ours.len() - rows > 200, "{rows} rows of {}: too few of one kind", ours.len());
        for ((message, ours), theirs) in messages.iter().zip(&ours).zip(&theirs) {
            if ours != theirs {
                wrong.push(format!("{:?}\n    engine: {ours}\n    Spark:  {theirs}", String::from_utf8_lossy(message)));
            }
        }
    }
    session.release().await.unwrap();
    assert!(wrong.is_empty(), "{} differences:\n{}", wrong.len(), wrong.join("\n"));
}
