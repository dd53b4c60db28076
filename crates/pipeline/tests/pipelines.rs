//! The pipelines that come with the project: each reads, plans and means what it says.

use turnstile_pipeline::{AggregateKind, DedupSettings, FieldPolicy, LatePolicy, MessageFormat, Pipeline, WindowSpec};

fn shipped(name: &str) -> Pipeline {
    let path = format!("{}/../../pipelines/{name}.toml", env!("CARGO_MANIFEST_DIR"));
    Pipeline::from_path(path).unwrap_or_else(|error| panic!("{error}"))
}

const MINUTE: i64 = 60_000_000;

#[test]
fn the_turnstile_job_dates_its_rows_by_the_window_and_decodes_only_what_it_needs() {
    let job = shipped("mta-turnstile");
    insta::assert_snapshot!("mta-turnstile", format!("{}{}", job.explain(), job.output_schema_tree()));
    let query = &job.query;
    assert_eq!(query.window, WindowSpec { size_us: 5 * MINUTE, slide_us: 5 * MINUTE, offset_us: 0 });
    let names = |places: &[usize]| -> Vec<&str> {
        places.iter().map(|place| job.source.schema[query.columns[*place]].name.as_str()).collect()
    };
    assert_eq!(names(&[query.event_time]), ["TIMESTAMP"]);
    assert_eq!(names(&query.dedup), ["ID", "STATION", "TIMESTAMP"]);
    // DATE and TIME of the message are not decoded.
    assert_eq!(query.columns, [0, 1, 2, 3, 4, 5, 8, 9, 10, 11, 12]);
}

#[test]
fn the_avro_job_computes_what_the_turnstile_job_does_from_other_messages() {
    let (csv, avro) = (shipped("mta-turnstile"), shipped("mta-avro"));
    assert_eq!((avro.source.format, avro.source.extra_fields), (MessageFormat::Avro, FieldPolicy::Ignore));
    let registry = avro.source.registry.as_ref().unwrap();
    assert_eq!((registry.url.as_str(), &registry.user, &registry.password), ("http://localhost:8081", &None, &None));
    assert!(avro.explain().contains("avro, localhost:9092, schemas of http://localhost:8081"), "{}", avro.explain());
    assert_eq!(avro.source.schema, csv.source.schema);
    assert_eq!(avro.query.canonical, csv.query.canonical);
    assert_ne!(avro.plan_hash, csv.plan_hash);
}

#[test]
fn the_message_schema_prints_as_spark_prints_it() {
    insta::assert_snapshot!("message-schema", shipped("mta-turnstile").message_schema_tree());
}

#[test]
fn the_query_of_the_design_is_planned_as_it_stands() {
    let text = include_str!("../../../pipelines/mta-turnstile.toml");
    let start = text.find("SELECT").unwrap();
    let end = start + text[start..].find("\"\"\"").unwrap();
    let design =
        "SELECT CA, UNIT, SCP, STATION, LINENAME, DIVISION, DATE, date_format(window.end, 'HH:mm:ss') AS TIME, DESC,
       window.start AS START, window.end AS END, sum(ENTRIES) AS ENTRIES, sum(EXITS) AS EXITS
FROM turnstile
GROUP BY window(TIMESTAMP, '5 minutes', '5 minutes'), CA, UNIT, SCP, STATION, LINENAME, DIVISION, DATE, DESC
";
    let text = format!("{}{design}{}", &text[..start], &text[end..]);
    let pipeline = Pipeline::from_str(&text, "design.toml").unwrap_or_else(|error| panic!("{error}"));
    let names: Vec<&str> = pipeline.query.output.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(
        names,
        [
            "CA", "UNIT", "SCP", "STATION", "LINENAME", "DIVISION", "DATE", "TIME", "DESC", "START", "END", "ENTRIES",
            "EXITS"
        ]
    );
}

#[test]
fn the_station_job_groups_by_station_alone() {
    let job = shipped("mta-stations");
    let keys: Vec<String> = job.query.keys.iter().map(ToString::to_string).collect();
    assert_eq!(keys, ["STATION"]);
    assert_ne!(job.lake.url, shipped("mta-turnstile").lake.url);
}

#[test]
fn the_register_jobs_count_steps_backwards_and_steps_too_large() {
    for (name, size_us, offset_us) in
        [("mta-registers", 1440 * MINUTE, 300 * MINUTE), ("mta-registers-4h", 240 * MINUTE, 0)]
    {
        let job = shipped(name);
        assert_eq!(job.query.window, WindowSpec { size_us, slide_us: size_us, offset_us }, "{name}");
        assert_eq!(
            (job.stream.late, matches!(job.stream.dedup, DedupSettings::Fields(_))),
            (LatePolicy::DeadLetter, true)
        );
        let kinds: Vec<&str> = job
            .query
            .aggregates
            .iter()
            .map(|aggregate| match &aggregate.kind {
                AggregateKind::Increase { cap: Some(10_000), .. } => "increase",
                AggregateKind::Resets { .. } => "resets",
                AggregateKind::Jumps { cap: 10_000, .. } => "jumps",
                AggregateKind::Function { .. } => "function",
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(kinds, ["increase", "increase", "resets", "jumps", "resets", "jumps", "function"]);
    }
}

#[test]
fn the_plan_hash_changes_with_results_and_with_nothing_else() {
    let text = include_str!("../../../pipelines/mta-turnstile.toml");
    let hash = |set: &[(&str, &str)], text: &str| {
        let set: Vec<(String, String)> = set.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        Pipeline::from_str_with(text, "x.toml", &set).unwrap_or_else(|error| panic!("{error}")).plan_hash
    };
    let plain = hash(&[], text);
    assert_eq!(plain.len(), 32);
    // What releases without the key recorded: they read an empty text as a text.
    assert_eq!(hash(&[("source.empty", "text")], text), "f69359d966481b5a3345d616aad1abd9");
    for same in [
        ("lake.url", "gs://bucket/turnstile"),
        ("stream.commit", "100 ms"),
        ("stream.memory", "64 MiB"),
        ("stream.workers", "3"),
        ("source.kafka", "{}"),
        ("name", "other"),
    ] {
        assert_eq!(hash(&[same], text), plain, "{same:?}");
    }
    assert_eq!(hash(&[], &text.replace("FROM turnstile\n", "  from   turnstile -- all of it\n")), plain);
    for other in [
        ("stream.watermark", "6 minutes"),
        ("stream.dedup", "value"),
        ("stream.late", "drop"),
        ("stream.idle", "off"),
        ("stream.future", "off"),
        ("source.format", "json"),
        ("source.extra_fields", "ignore"),
        ("source.schema.ENTRIES", "long"),
        ("query.sql", "SELECT count(*) AS n FROM turnstile GROUP BY window(TIMESTAMP, '5 minutes')"),
    ] {
        assert_ne!(hash(&[other], text), plain, "{other:?}");
    }
}
