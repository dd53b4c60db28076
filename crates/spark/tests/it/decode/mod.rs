//! The same messages are rows on Spark and in the embedded engine, with the same values; the others are rejected for the same
//! reason.

mod avro;
mod csv;
mod exact;
mod json;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::DateTime;
use turnstile_engine::{Inspected, Inspector};
use turnstile_message::{BatchBuilder, SchemaKind, TopicPartition, WriterSchema};
use turnstile_pipeline::Pipeline;
use turnstile_spark::{
    DataSource, FIELD, MESSAGES_VIEW, REASON, ROWS_VIEW, RegistrySchemas, Relation, Session, SparkPlan, StreamSink,
    StreamTrigger,
};

use crate::server::{session, shared};

const PATIENCE: Duration = Duration::from_secs(180);

/// Messages that are made of the others, a part replaced.
const MUTATED: usize = 1_500;

/// A pipeline whose query needs all fields of `schema`, which has the event time T. Messages with other fields are rejected if
/// `strict`.
fn pipeline(format: &str, schema: &str, strict: bool) -> Pipeline {
    let names: Vec<&str> = schema.lines().filter_map(|line| line.split_once(" = ")).map(|(name, _)| name).collect();
    let keys = names.iter().filter(|name| **name != "T").copied().collect::<Vec<_>>().join(", ");
    let extra = if strict { "error" } else { "ignore" };
    let more = match format {
        // An empty text: a null, or a text.
        "csv" => format!("empty = \"{}\"", if strict { "null" } else { "text" }),
        "avro" | "json-schema" => "[source.registry]\nurl = \"http://127.0.0.1:1\"".to_owned(),
        _ => String::new(),
    };
    let file = format!(
        r#"
name = "decode"
[source]
topic = "x"
format = "{format}"
extra_fields = "{extra}"
{more}
[source.schema]
{schema}
[stream]
event_time = "T"
watermark = "1 minute"
late = "drop"
future = "off"
[query]
sql = """SELECT {keys}, count(*) AS N FROM turnstile GROUP BY window(T, '5 minutes'), {keys}"""
[lake]
url = "file:./lake"
"#
    );
    Pipeline::from_str(&file, "decode.toml").unwrap()
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

/// The schemas of all ids in `messages`: those of `known`, and of no others.
fn schemas(known: &[(u32, WriterSchema)], messages: &[Vec<u8>]) -> RegistrySchemas {
    let ids = messages.iter().filter_map(|message| match message[..] {
        [0, a, b, c, d, ..] => Some((u32::from_be_bytes([a, b, c, d]), None)),
        _ => None,
    });
    let known = known.iter().map(|(id, schema)| (*id, Some(Arc::new(schema.clone()))));
    ids.chain(known).collect()
}

fn schema_of(kind: SchemaKind, text: &str) -> WriterSchema {
    WriterSchema { kind, text: text.to_owned(), references: Vec::new() }
}

fn by_engine(pipeline: &Pipeline, fields: &Fields, messages: &[Vec<u8>], schemas: &RegistrySchemas) -> Decoded {
    let mut batch = BatchBuilder::default();
    let partition = TopicPartition::new("x", 0);
    for (offset, message) in messages.iter().enumerate() {
        batch.push(&partition, offset as i64, 0, None, Some(message));
    }
    let mut inspector = Inspector::new(pipeline).unwrap();
    for (id, schema) in schemas {
        inspector.register_schema(*id, schema.as_deref());
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

async fn by_spark(
    session: &Session,
    pipeline: &Pipeline,
    fields: &Fields,
    messages: &[Vec<u8>],
    schemas: &RegistrySchemas,
) -> Decoded {
    let dir = tempfile::tempdir().unwrap();
    let input = dir.path().join("in");
    fs::create_dir(&input).unwrap();
    let mut lines = String::new();
    for (offset, message) in messages.iter().enumerate() {
        let value = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, message);
        writeln!(lines, "{{\"topic\":\"x\",\"partition\":0,\"offset\":{offset},\"timestamp\":\"2026-08-01 00:00:00\",\"value\":\"{value}\"}}").unwrap();
    }
    fs::write(input.join("messages.json"), lines).unwrap();
    let plan = SparkPlan::of(pipeline, schemas).unwrap();
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
async fn compare(
    [format, schema]: [&str; 2],
    fields: &Fields,
    messages: &[Vec<u8>],
    known: &[(u32, WriterSchema)],
    same: impl Fn(&[u8], &str, &str) -> bool,
) {
    let session = session(shared()).await;
    let schemas = match known {
        [] => RegistrySchemas::new(),
        known => schemas(known, messages),
    };
    let (mut wrong, mut all_rows) = (Vec::new(), 0);
    for strict in [true, false] {
        let pipeline = pipeline(format, schema, strict);
        let (rows, more) = differences(&session, &pipeline, fields, messages, &schemas, &same).await;
        all_rows += rows;
        wrong.extend(more);
    }
    session.release().await.unwrap();
    let rejected = 2 * messages.len() - all_rows;
    assert!(all_rows > 100 && rejected > 100, "{all_rows} rows, {rejected} rejected: too few of one kind");
    assert!(wrong.is_empty(), "{} differences:\n{}", wrong.len(), wrong.join("\n"));
}

/// How many messages are rows, and those of which both do not make the same.
async fn differences(
    session: &Session,
    pipeline: &Pipeline,
    fields: &Fields,
    messages: &[Vec<u8>],
    schemas: &RegistrySchemas,
    same: &impl Fn(&[u8], &str, &str) -> bool,
) -> (usize, Vec<String>) {
    let ours = by_engine(pipeline, fields, messages, schemas);
    let theirs = by_spark(session, pipeline, fields, messages, schemas).await;
    let rows = ours.iter().filter(|text| !text.starts_with("rejected")).count();
    let both = messages.iter().zip(&ours).zip(&theirs);
    let wrong = both.filter(|((message, ours), theirs)| ours != theirs && !same(message, ours, theirs)).map(
        |((message, ours), theirs)| {
            format!("{:?}\n    engine: {ours}\n    Spark:  {theirs}", String::from_utf8_lossy(message))
        },
    );
    (rows, wrong.collect())
}
