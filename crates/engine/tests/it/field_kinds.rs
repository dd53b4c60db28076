//! Every type of field, from CSV, from JSON and from Kafka's metadata, in every place of a query: as a group's key, in
//! aggregates, as what makes messages duplicates. What must come out is computed row by row from a list.

use std::collections::BTreeMap;

use turnstile_pipeline::Pipeline;

use crate::spilling::MemoryFiles;
use crate::story::Story;

/// A type: how `[source.schema]` declares it, and three values in ascending order.
struct Kind {
    declared: &'static str,
    values: [Value; 3],
}

/// A value as CSV and JSON write it, and as it is shown.
#[derive(Clone, Copy)]
struct Value {
    csv: &'static str,
    json: &'static str,
    shown: &'static str,
}

const fn value(csv: &'static str, json: &'static str, shown: &'static str) -> Value {
    Value { csv, json, shown }
}

const KINDS: [Kind; 8] = [
    Kind {
        declared: "\"string\"",
        values: [
            value("A", r#""A""#, "A"),
            value(
                "\"Ä \"\"longer\"\", than a view\"",
                r#""\u00c4 \"longer\", than a view""#,
                "Ä \"longer\", than a view",
            ),
            value("本", r#""本""#, "本"),
        ],
    },
    Kind {
        declared: "\"int\"",
        values: [
            value("-2147483648", "-2147483648", "-2147483648"),
            value("0", "0", "0"),
            value("2147483647", "2147483647", "2147483647"),
        ],
    },
    Kind {
        declared: "\"long\"",
        values: [
            value("-9223372036854775808", "-9223372036854775808", "-9223372036854775808"),
            // Doubles cannot hold it.
            value("9007199254740993", "9007199254740993", "9007199254740993"),
            value("9223372036854775807", "9223372036854775807", "9223372036854775807"),
        ],
    },
    Kind {
        declared: "\"double\"",
        values: [value("-2.5", "-2.5", "-2.5"), value("1e-7", "1e-7", "1e-7"), value("3", "3", "3.0")],
    },
    Kind {
        declared: "\"decimal(38, 2)\"",
        values: [
            value("-0.05", "-0.05", "-0.05"),
            value("12.50", "12.5", "12.50"),
            value(
                "999999999999999999999999999999999999.99",
                "999999999999999999999999999999999999.99",
                "999999999999999999999999999999999999.99",
            ),
        ],
    },
    Kind {
        declared: "\"boolean\"",
        values: [value("false", "false", "false"), value("true", "true", "true"), value("TRUE", "true", "true")],
    },
    Kind {
        declared: "{ type = \"timestamp\", zone = \"America/New_York\" }",
        values: [
            value("1969-12-31 18:59:59", r#""1969-12-31 18:59:59""#, "1969-12-31T18:59:59-05:00"),
            value("2023-07-01 12:00:00", r#""2023-07-01 12:00:00""#, "2023-07-01T12:00:00-04:00"),
            value("9999-12-31 00:00:00", r#""9999-12-31 00:00:00""#, "9999-12-31T00:00:00-05:00"),
        ],
    },
    Kind {
        declared: "{ type = \"timestamp\", format = \"epoch-ms\", zone = \"UTC\" }",
        values: [
            value("-1", "-1", "1969-12-31T23:59:59.999Z"),
            value("1702108800250", "1702108800250", "2023-12-09T08:00:00.250Z"),
            value("1702108800251", "\"1702108800251\"", "2023-12-09T08:00:00.251Z"),
        ],
    },
];

/// The rows of a story in event time, the place of each one's value; the last cut's rows are lost with a crash otherwise.
const ROWS: [Option<usize>; 6] = [None, Some(1), Some(2), Some(0), Some(1), Some(2)];

const PARTITIONS: usize = 2;

fn pipeline(format: &str, declared: &str, stream: &str, sql: &str) -> Pipeline {
    let text = format!(
        "name = \"kinds\"\n[source]\ntopic = \"t\"\nformat = \"{format}\"\n[source.schema]\nN = \"int\"\nX = {declared}\n\
         AT = {{ type = \"timestamp\", zone = \"UTC\" }}\n[stream]\nevent_time = \"AT\"\nwatermark = \"1 hour\"\n{stream}\n\
         [query]\nsql = \"SELECT {sql}\"\n[lake]\nurl = \"file:./lake\"\n"
    );
    Pipeline::from_str(&text, "kinds.toml").unwrap_or_else(|error| panic!("{declared}: {error}"))
}

const AGGREGATES: &str = "min(X) AS LO, max(X) AS HI, count(X) AS N, count(DISTINCT X) AS KINDS, first(X) AS A, last(X) AS Z, \
                          first(X) IGNORE NULLS AS A_VALUE, min_by(X, N) AS BY_N, max_by(N, X) AS N_OF, max(X) FILTER (WHERE N < 2) \
                          AS EARLY FROM turnstile GROUP BY window(AT, '5 minutes')";
const KEYS: &str = "X, count(*) AS C, sum(N) AS S FROM turnstile GROUP BY window(AT, '5 minutes'), X";
const COUNT: &str = "count(*) AS C FROM turnstile GROUP BY window(AT, '5 minutes')";

/// Each row goes to the next partition; every second one is cut, and followed by a crash.
fn windows(pipeline: &Pipeline, message: impl Fn(usize) -> String) -> (Vec<String>, u64) {
    let mut story = Story::new(pipeline, PARTITIONS);
    for row in 0..ROWS.len() {
        story.timestamp_ms = timestamp_ms(row);
        story.value(row % PARTITIONS, Some(message(row).as_bytes()));
        if row % 2 == 1 {
            story.cut().crash();
        }
    }
    story.drain();
    assert_eq!(story.dead_letters, []);
    (story.text(), story.counters.duplicate)
}

fn timestamp_ms(row: usize) -> i64 {
    1_700_000_000_000 + row as i64 * 250
}

/// What the three queries give of rows whose values have these ranks and texts, in event time.
fn expected(rows: &[Option<(usize, String)>]) -> [String; 3] {
    let ranked = |at: usize| rows[at].clone();
    let text = |value: Option<(usize, String)>| value.map(|(_, text)| text).unwrap_or_default();
    let values: Vec<(usize, String)> = rows.iter().flatten().cloned().collect();
    let (least, most) = (values.iter().min().cloned(), values.iter().max().cloned());
    // Of rows that share the largest value, the last one.
    let n_of = (0..rows.len()).max_by_key(|at| (ranked(*at).map(|(rank, _)| rank), *at)).unwrap();
    let kinds: BTreeMap<usize, &String> = values.iter().map(|(rank, text)| (*rank, text)).collect();
    let cells = [
        text(least),
        text(most),
        values.len().to_string(),
        kinds.len().to_string(),
        text(ranked(0)),
        text(ranked(rows.len() - 1)),
        text(values.first().cloned()),
        text(ranked(0)),
        n_of.to_string(),
        text(rows[..2].iter().flatten().max().cloned()),
    ];
    let mut groups: BTreeMap<Option<(usize, String)>, (usize, usize)> = BTreeMap::new();
    for (at, row) in rows.iter().enumerate() {
        let group = groups.entry(row.clone()).or_default();
        *group = (group.0 + 1, group.1 + at);
    }
    let distinct = groups.len();
    let groups = groups.into_iter().map(|(key, (count, sum))| format!("{}|{count}|{sum}", text(key)));
    let groups = groups.collect::<Vec<_>>().join("; ");
    [format!("08:00: {}", cells.join("|")), format!("08:00: {groups}"), format!("08:00: {distinct}")]
}

#[track_caller]
fn check(format: &str, declared: &str, rows: &[Option<(usize, String)>], message: impl Fn(usize) -> String) {
    let [aggregates, groups, count] = expected(rows);
    let found = |stream: &str, sql: &str| windows(&pipeline(format, declared, stream, sql), &message);
    let what = format!("{format}, {declared}");
    assert_eq!(found("", AGGREGATES).0, [aggregates], "{what}: in aggregates");
    assert_eq!(found("", KEYS).0, [groups], "{what}: as a key");
    let (windows, duplicate) = found("dedup = [\"X\"]", COUNT);
    let distinct: u64 = count.rsplit(' ').next().unwrap().parse().unwrap();
    assert_eq!((windows, duplicate), (vec![count], rows.len() as u64 - distinct), "{what}: as a dedup field");
    assert_eq!(found("dedup = [\"X\", \"N\"]", COUNT).0, [format!("08:00: {}", rows.len())], "{what}: beside another");
}

fn at(row: usize) -> String {
    format!("2023-12-09 08:00:{row:02}")
}

#[test]
fn a_field_of_every_type_is_a_key_an_argument_and_a_mark_of_duplicates() {
    for kind in &KINDS {
        // Equal values have one rank.
        let rank = |place: usize| (0..=place).find(|at| kind.values[*at].shown == kind.values[place].shown).unwrap();
        let rows = ROWS.map(|row| row.map(|place| (rank(place), kind.values[place].shown.to_owned())));
        check("csv", kind.declared, &rows, |row| {
            let x = ROWS[row].map_or("", |place| kind.values[place].csv);
            format!("{row},{x},{}", at(row))
        });
        check("json", kind.declared, &rows, |row| {
            let x = ROWS[row].map_or("null", |place| kind.values[place].json);
            format!(r#"{{"X":{x},"AT":"{}","N":{row}}}"#, at(row))
        });
    }
}

#[test]
fn a_field_of_kafka_s_metadata_is_a_key_an_argument_and_a_mark_of_duplicates() {
    type Shown = fn(usize) -> (usize, String);
    let kinds: [(&str, Shown); 4] = [
        ("{ metadata = \"topic\" }", |_| (0, "t".to_owned())),
        ("{ metadata = \"partition\" }", |row| (row % PARTITIONS, (row % PARTITIONS).to_string())),
        ("{ metadata = \"offset\" }", |row| (row / PARTITIONS, (row / PARTITIONS).to_string())),
        ("{ metadata = \"timestamp\", zone = \"America/New_York\" }", |row| {
            let at = chrono::DateTime::from_timestamp_millis(timestamp_ms(row) - 5 * 3_600_000).unwrap();
            let fraction = if row % 4 == 0 { "" } else { "%.3f" };
            (row, at.format(&format!("%FT%T{fraction}-05:00")).to_string())
        }),
    ];
    for (declared, shown) in kinds {
        let rows: Vec<Option<(usize, String)>> = (0..ROWS.len()).map(|row| Some(shown(row))).collect();
        check("csv", declared, &rows, |row| format!("{row},{}", at(row)));
        check("json", declared, &rows, |row| format!(r#"{{"AT":"{}","N":{row}}}"#, at(row)));
    }
}

/// Zero has two signs and NaN many bits; neither makes another value of it.
#[test]
fn doubles_that_are_equal_are_duplicates_and_one_distinct_value() {
    for (values, distinct) in
        [(["0.0", "-0.0", "0"], 1), (["NaN", "NaN", "1"], 2), (["Infinity", "-Infinity", "Infinity"], 2)]
    {
        let message = |row: usize| format!("{row},{},{}", values[row % 3], at(row));
        let found = |stream: &str, sql: &str| windows(&pipeline("csv", "\"double\"", stream, sql), message).0;
        let expected = [format!("08:00: {distinct}")];
        assert_eq!(found("dedup = [\"X\"]", COUNT), expected, "{values:?}");
        let sql = COUNT.replace("count(*)", "count(DISTINCT X)");
        assert_eq!(found("", &sql), expected, "{values:?}");
    }
}

/// State that does not fit memory is sorted and merged by its keys, and read back in parts: of every type.
#[test]
fn keys_and_arguments_of_every_type_survive_on_disk() {
    const GROUPS: usize = 8_000;
    type Text = fn(usize) -> String;
    let kinds: [(&str, Text); 7] = [
        ("\"string\"", |n| format!("station {n}, longer than a view")),
        ("\"int\"", |n| (n as i64 - 6_000).to_string()),
        ("\"long\"", |n| (n as i64 * 1_000_000_000_007 - 6_000_000_000_000_000).to_string()),
        ("\"double\"", |n| (n as f64 / 8.0 - 700.0).to_string()),
        ("\"decimal(38, 2)\"", |n| format!("-{n}00000000000000000000.05")),
        ("\"boolean\"", |n| (n % 3 == 0).to_string()),
        ("{ type = \"timestamp\", format = \"epoch-s\", zone = \"America/New_York\" }", |n| {
            (n as i64 * 86_400 - 500_000_000).to_string()
        }),
    ];
    let sql = "X, N, min(X) AS LO, max(X) AS HI, first(X) AS A, last(X) AS Z, count(X) AS C, count(DISTINCT X) AS D \
               FROM turnstile GROUP BY window(AT, '5 minutes'), X, N";
    for (declared, text) in kinds {
        let run = |memory: &str, space| {
            let pipeline = pipeline("csv", declared, &format!("dedup = [\"X\", \"N\", \"AT\"]\n{memory}"), sql);
            let mut story = Story::spilling(&pipeline, PARTITIONS, space);
            for turn in 0..4 {
                // Every fifth value is a null, and the last turn brings only duplicates.
                let value = |n: usize| if n % 5 == 4 { String::new() } else { text(n) };
                let quoted = |n: usize| format!("{n},\"{}\",{}", value(n), at(turn.min(2)));
                let rows = (0..GROUPS).map(|n| if turn == 1 { GROUPS - 1 - n } else { n });
                story.values(turn % PARTITIONS, rows.map(quoted)).cut();
                if turn == 1 {
                    story.crash();
                }
            }
            story.drain();
            assert_eq!(story.dead_letters, [], "{declared}");
            assert_eq!(story.counters.duplicate, GROUPS as u64, "{declared}");
            story.text()
        };
        let roomy = run("", None);
        let (space, usage) = MemoryFiles::new(usize::MAX);
        assert_eq!(run("memory = \"1 MiB\"", Some(space)), roomy, "{declared}");
        assert!(usage.lock().bytes > 1 << 18, "{declared}: {:?}", usage.lock());
        let whole = roomy[0].split("; ").filter(|row| row.ends_with("|3|1")).count();
        assert_eq!(whole, GROUPS - GROUPS / 5, "{declared}");
    }
}
