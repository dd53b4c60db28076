//! What is refused, and how it is said. The snapshots are the catalogue; read them as a user would.

use turnstile_pipeline::{Pipeline, PipelineError};

const GOOD: &str = r#"name = "trips"

[source]
topic = "trips"
format = "csv"
[source.schema]
STATION = "string"
ENTRIES = "int"
EXITS = "long"
RATE = "double"
OPEN = "boolean"
AT = { type = "timestamp", zone = "America/New_York" }

[stream]
event_time = "AT"
watermark = "5 minutes"

[query]
sql = """
SQL
"""

[lake]
url = "file:./lake"
"#;

const QUERY: &str = "SELECT STATION, sum(ENTRIES) AS N\nFROM turnstile\nGROUP BY window(AT, '5 minutes'), STATION";

fn problems(text: &str, set: &[(&str, &str)]) -> String {
    let set: Vec<(String, String)> = set.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
    match Pipeline::from_str_with(text, "x.toml", &set) {
        Ok(_) => "accepted".to_owned(),
        Err(error) => error.to_string(),
    }
}

fn good() -> String {
    GOOD.replace("SQL", QUERY)
}

/// Every case as its own lines: what was changed, then what was said.
fn catalogue<'a>(cases: impl IntoIterator<Item = (&'a str, String)>) -> String {
    cases.into_iter().map(|(case, said)| format!("# {}\n{said}\n\n", case.replace('\n', "⏎"))).collect()
}

#[test]
fn the_file_that_the_other_tests_spoil_is_accepted() {
    assert_eq!(problems(&good(), &[]), "accepted");
}

#[test]
fn every_wrong_value_is_named_with_its_place() {
    let cases = [
        ("watermark = \"5 minutes\"", "watermrk = \"5 minutes\""),
        ("watermark = \"5 minutes\"", "watermark = 5"),
        ("watermark = \"5 minutes\"", "watermark = \"5 parsecs\""),
        ("watermark = \"5 minutes\"", "watermark = \"1 month\""),
        ("watermark = \"5 minutes\"", ""),
        ("watermark = \"5 minutes\"", "watermark = \"5 minutes\"\nidle = \"0 seconds\""),
        ("watermark = \"5 minutes\"", "watermark = \"5 minutes\"\nlate = \"corect\""),
        ("watermark = \"5 minutes\"", "watermark = \"5 minutes\"\ncorrect_for = \"1 hour\""),
        ("watermark = \"5 minutes\"", "watermark = \"5 minutes\"\ncommit = 100"),
        ("watermark = \"5 minutes\"", "watermark = \"5 minutes\"\ncommit = { evry = \"1 second\" }"),
        ("watermark = \"5 minutes\"", "watermark = \"5 minutes\"\nmemory = \"1 MB\"\nworkers = 0"),
        ("watermark = \"5 minutes\"", "watermark = \"5 minutes\"\ndedup = [\"STATON\", \"AT\", \"AT\"]"),
        ("watermark = \"5 minutes\"", "watermark = \"5 minutes\"\ndedup = \"all\""),
        ("event_time = \"AT\"", "event_time = \"STATION\""),
        ("event_time = \"AT\"", "event_time = \"TA\""),
        ("[stream]", "[steam]"),
        ("ENTRIES = \"int\"", "ENTRIES = \"itn\""),
        ("ENTRIES = \"int\"", "ENTRIES = \"timestamp\""),
        ("ENTRIES = \"int\"", "ENTRIES = \"int\"\nstation = \"int\""),
        ("ENTRIES = \"int\"", "ENTRIES = \"int\"\nwindow = \"int\"\n__x = \"int\""),
        ("America/New_York", "America/NewYork"),
        ("zone =", "format = \"YYYY-MM-dd\", zone ="),
        ("zone =", "format = \"HH:mm\", zone ="),
        (", zone = \"America/New_York\"", ""),
        ("format = \"csv\"", "format = \"avro\""),
        ("format = \"csv\"", "format = \"arvo\""),
        ("format = \"csv\"", "format = \"csv\"\nregistry = { url = \"http://r\" }"),
        ("format = \"csv\"", "format = \"avro\"\nregistry = { url = \"http://joe:hush@r\" }"),
        ("format = \"csv\"", "format = \"avro\"\nregistry = { url = \"localhost:8081\", user = \"joe\" }"),
        ("format = \"csv\"", "format = \"avro\"\nregistry = { ulr = \"http://r\", password_env = \"P\" }"),
        (
            "format = \"csv\"",
            "format = \"json-schema\"\nregistry = { url = \"http://r\", user = \"joe\", password = \"hush\" }",
        ),
        (
            "format = \"csv\"",
            "format = \"avro\"\nregistry = { url = \"http://r?q\", user = \"j\", password_env = \"P\", password_file = \"f\" }",
        ),
        ("format = \"csv\"", "format = \"cvs\""),
        ("topic = \"trips\"", "topic = \"trips and more\""),
        ("name = \"trips\"", "name = \"../trips\""),
        ("url = \"file:./lake\"", "url = \"ftp://lake\""),
        ("url = \"file:./lake\"", "url = \"file:./lake\"\nformat = \"delta\""),
        ("url = \"file:./lake\"", "url = \"file:./lake\"\nformat = \"parquet\"\nindex_column = true"),
        ("url = \"file:./lake\"", "url = \"file:./lake\"\ncompact = \"weekly\""),
        ("url = \"file:./lake\"", "url = \"file:./lake\"\ngrace = \"a while\"\nmaintain = \"0 minutes\""),
        ("url = \"file:./lake\"", "url = \"file:./lake\"\n[warehouse]\ntable = \"t\"\nschedule = \"61 * * * *\""),
        (
            "url = \"file:./lake\"",
            "url = \"file:./lake\"\n[warehouse]\ntable = \"t\"\nschedule = \"daily\"\ntls_key = \"k.pem\"",
        ),
        ("url = \"file:./lake\"", "url = \"file:./lake"),
        ("topic = \"trips\"", "topic = \"trips\"\nkafka = { \"a\" = [1] }"),
    ];
    let said = cases.map(|(good_text, bad)| (bad, problems(&good().replacen(good_text, bad, 1), &[])));
    insta::assert_snapshot!("values", catalogue(said));
}

#[test]
fn what_a_stream_cannot_do_is_refused_where_it_stands() {
    let group = "FROM turnstile GROUP BY window(AT, '5 minutes'), STATION";
    let cases = [
        format!("SELECT STATION {group} ORDER BY STATION"),
        format!("SELECT STATION {group} LIMIT 5"),
        format!("SELECT DISTINCT STATION {group}"),
        "SELECT STATION FROM turnstile JOIN other ON true GROUP BY window(AT, '5 minutes'), STATION".into(),
        "SELECT STATION FROM turnstile, other GROUP BY window(AT, '5 minutes'), STATION".into(),
        "SELECT STATION FROM (SELECT * FROM turnstile) GROUP BY window(AT, '5 minutes'), STATION".into(),
        format!("SELECT (SELECT 1) AS x {group}"),
        format!("SELECT STATION {group} HAVING STATION IN (SELECT 'a')"),
        format!("WITH t AS (SELECT 1) SELECT STATION {group}"),
        format!("SELECT STATION {group} UNION ALL SELECT STATION {group}"),
        format!("SELECT STATION,\n  row_number() OVER (ORDER BY STATION) AS r {group}"),
        "SELECT STATION, sum(ENTRIES) AS n FROM turnstile GROUP BY STATION".into(),
        "SELECT sum(ENTRIES) AS n FROM turnstile".into(),
        format!("SELECT STATION {group}, window(AT, '1 hour')"),
        "SELECT STATION FROM turnstil GROUP BY window(AT, '5 minutes'), STATION".into(),
        "SELECT STATION FROM trips GROUP BY window(AT, '5 minutes'), STATION".into(),
        format!("SELECT STATON {group}"),
        format!("SELECT other.STATION {group}"),
        format!("SELECT STATION, sun(ENTRIES) AS n {group}"),
        format!("SELECT STATION, quartile(ENTRIES) AS n {group}"),
        "SELECT STATION FROM turnstile GROUP BY window(AT, '0 minutes'), STATION".into(),
        "SELECT STATION FROM turnstile GROUP BY window(AT, '5 minutes', '10 minutes'), STATION".into(),
        "SELECT STATION FROM turnstile GROUP BY window(AT, '5 minutes', '5 minutes', '6 minutes'), STATION".into(),
        "SELECT STATION FROM turnstile GROUP BY window(AT, '100 ms'), STATION".into(),
        "SELECT STATION FROM turnstile GROUP BY window(AT, 300), STATION".into(),
        "SELECT STATION FROM turnstile GROUP BY window(STATION, '5 minutes'), STATION".into(),
        "SELECT STATION FROM turnstile GROUP BY window(AT), STATION".into(),
        format!("SELECT window {group}"),
        format!("SELECT window.middle AS m {group}"),
        format!("SELECT STATION, window(AT, '5 minutes') AS w {group}"),
        "SELECT STATION FROM turnstile WHERE window.start > AT GROUP BY window(AT, '5 minutes'), STATION".into(),
        "SELECT STATION FROM turnstile WHERE sum(ENTRIES) > 1 GROUP BY window(AT, '5 minutes'), STATION".into(),
        "SELECT STATION FROM turnstile WHERE ENTRIES GROUP BY window(AT, '5 minutes'), STATION".into(),
        format!("SELECT STATION, sum(max(ENTRIES)) AS n {group}"),
        format!("SELECT STATION,\n       ENTRIES {group}"),
        format!("SELECT STATION, sum(ENTRIES) + EXITS AS n {group}"),
        format!("SELECT STATION, sum(STATION) AS n {group}"),
        format!("SELECT STATION, nth_value(ENTRIES, 2) AS n {group}"),
        format!("SELECT STATION, collect_list(ENTRIES) AS n {group}"),
        format!("SELECT STATION, current_timestamp() AS n {group}"),
        format!("SELECT STATION, rand() AS n {group}"),
        format!("SELECT STATION, sum(DISTINCT ENTRIES) AS n {group}"),
        format!("SELECT STATION, percentile(ENTRIES, 2) AS n {group}"),
        format!("SELECT STATION, increase(RATE) AS n {group}"),
        format!("SELECT STATION, increase(ENTRIES, 0) AS n {group}"),
        format!("SELECT STATION, jumps(ENTRIES) AS n {group}"),
        format!("SELECT STATION, increase(ENTRIES) FILTER (WHERE OPEN) AS n {group}"),
        format!("SELECT STATION, sum(ENTRIES) AS n, max(EXITS) AS N {group}"),
        format!("SELECT * {group}"),
        format!("SELECT STATION, upper(STATION, 1) AS n {group}"),
        format!("SELECT STATION, date_format(window.end, 'YYYY') AS n {group}"),
        format!("SELECT STATION, window.end - window.start AS n {group}"),
        format!("SELECT STATION, CAST(sum(ENTRIES) AS tinyint) AS n {group}"),
        format!("SELECT STATION, sum(ENTRIES) DIV 2 AS n {group}"),
        format!("SELECT STATION {group} HAVING N > 1"),
        "SELECT STATION FROM turnstile WHERE ENTRIES > 'many' GROUP BY window(AT, '5 minutes'), STATION".into(),
        "SELECT STATION FROM turnstile WHERE AT > '2023-99-01' GROUP BY window(AT, '5 minutes'), STATION".into(),
        "SELECT STATION FROM turnstile WHERE AT = 5 GROUP BY window(AT, '5 minutes'), STATION".into(),
        "SELECT STATION FROM turnstile WHERE AT > TIMESTAMP 'noon' GROUP BY window(AT, '5 minutes'), STATION".into(),
        "SELECT STATION FROM turnstile WHERE AT + INTERVAL 1 MONTH > AT GROUP BY window(AT, '5 minutes'), STATION".into(),
        "SELECT STATION FROM turnstile WHERE OPEN AND STATION RLIKE GROUP BY window(AT, '5 minutes'), STATION".into(),
        "SELECT STATION FROM turnstile WHERE STATION AND OPEN GROUP BY window(AT, '5 minutes'), STATION".into(),
        "SELECT STATION FROM turnstile WHERE CASE WHEN ENTRIES THEN OPEN END GROUP BY window(AT, '5 minutes'), STATION".into(),
        format!("SELECT STATION, count_if(ENTRIES) AS n {group}"),
        format!("SELECT STATION, sum(ENTRIES) FILTER (WHERE ENTRIES) AS n {group}"),
        format!("SELECT STATION, if(STATION, 1, 2) AS n {group}"),
        "SELECT STATION FROM turnstile WHERE upper(STATION) || AT + 1 = 'x' GROUP BY window(AT, '5 minutes'), STATION".into(),
        "SELECT STATION FROM turnstile WHERE ENTRIES[0] = 1 GROUP BY window(AT, '5 minutes'), STATION".into(),
        "SELECT STATION FROM turnstile WHERE hour(ENTRIES) = 1 GROUP BY window(AT, '5 minutes'), STATION".into(),
        "SELECT STATION FROM turnstile WHERE date_trunc('fortnight', AT) = AT GROUP BY window(AT, '5 minutes'), STATION".into(),
        "SELECT STATION FROM turnstile GROUP BY window(AT, '5 minutes'), 7".into(),
        "SELECT STATION FROM turnstile GROUP BY ROLLUP(STATION)".into(),
        "SELECT STATION FROM turnstile GROUP BY ALL".into(),
        "SELECT STATION FROM turnstile GROUP BY window(AT, '5 minutes', STATION".into(),
        "INSERT INTO x VALUES (1)".into(),
        "SELECT 1; SELECT 2".into(),
        String::new(),
    ];
    let said: Vec<(&str, String)> =
        cases.iter().map(|sql| (sql.as_str(), problems(&GOOD.replace("SQL", sql), &[]))).collect();
    for (sql, said) in &said {
        assert_ne!(said, "accepted", "{sql}");
    }
    insta::assert_snapshot!("sql", catalogue(said));
}

#[test]
fn a_register_cannot_be_corrected() {
    let sql = "SELECT STATION, increase(ENTRIES) AS N FROM turnstile GROUP BY window(AT, '1 day'), STATION";
    insta::assert_snapshot!("correct", problems(&GOOD.replace("SQL", sql), &[("stream.late", "correct")]));
}

#[test]
fn a_value_set_from_outside_is_checked_like_the_file_and_named_by_its_key() {
    let cases: [&[(&str, &str)]; 8] = [
        &[("stream.watermrk", "5 minutes")],
        &[("stream.watermark", "5 parsecs")],
        &[("stream.watermark", "\"10 minutes\"")],
        &[("stream.commit", "100 ms"), ("stream.workers", "2"), ("stream.dedup", "[\"STATION\"]")],
        &[("stream.watermark.x", "1")],
        &[("stream..x", "1")],
        &[("query.sql", "SELECT STATON FROM turnstile GROUP BY window(AT, '5 minutes'), STATION")],
        &[("lake.options.endpoint", "http://localhost:1")],
    ];
    let said = cases.map(|set| (format!("{set:?}"), problems(&good(), set)));
    insta::assert_snapshot!("set", catalogue(said.iter().map(|(case, said)| (case.as_str(), said.clone()))));
}

#[test]
fn the_place_of_an_sql_error_is_where_an_editor_finds_it() {
    for quotes in [("\"\"\"\n", "\"\"\""), ("'''", "'''"), ("\"", "\"")] {
        let sql = "SELECT STATON FROM turnstile GROUP BY window(AT, '5 minutes'), STATION";
        let text = GOOD.replace("\"\"\"\nSQL\n\"\"\"", &format!("{}{sql}{}", quotes.0, quotes.1));
        let error = Pipeline::from_str(&text, "x.toml").unwrap_err();
        let PipelineError::Invalid(problems) = &error else { panic!("{error}") };
        let line = text.lines().nth(problems[0].line - 1).unwrap();
        assert!(line[problems[0].column - 1..].starts_with("STATON"), "{error}");
    }
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let error = Pipeline::from_path("no/such.toml").unwrap_err();
    assert_eq!(error.to_string(), "cannot read the pipeline file no/such.toml");
    assert!(std::error::Error::source(&error).is_some());
    assert!(error.problems().is_empty());
}

#[test]
fn a_service_accounts_key_in_an_argument_is_refused_and_not_repeated() {
    let bigquery = "[warehouse]\ntable = \"t\"\nschedule = \"hourly\"\n[warehouse.bigquery]\nproject = \"1234\"\ndataset = \"d\"\n";
    let text = format!("{}\n{bigquery}", good());
    let key = r#"{"private_key": "hush"}"#;
    let quoted = format!("'{key}'");
    for (name, value) in [
        ("warehouse.bigquery.credentials.json", key),
        ("warehouse.bigquery.credentials.json", &quoted),
        ("warehouse.bigquery.credentials", key),
        ("warehouse.bigquery.credentials", &quoted),
        ("warehouse.bigquery.credentials", "{ json = \"hush\" }"),
    ] {
        let said = problems(&text, &[(name, value)]);
        assert!(said.contains("is a secret") && !said.contains("hush"), "{name} {value}: {said}");
        assert!(said.contains("file"), "{said}");
    }
    assert_eq!(problems(&text, &[("warehouse.bigquery.credentials.file", "key.json")]), "accepted");
    assert_eq!(problems(&text, &[("warehouse.bigquery.credentials", "none")]), "accepted");
}

#[test]
fn a_targets_keys_are_checked_like_all_others() {
    let warehouse = "[warehouse]\ntable = \"t\"\nschedule = \"hourly\"\n";
    for (section, expected) in [
        (
            "postgres",
            "sslmod = \"require\"",
            "unknown key \"sslmod\" in [warehouse.postgres]; did you mean \"sslmode\"?",
        ),
        ("postgres", "sslmode = \"verify_full\"", "sslmode cannot be \"verify_full\"; did you mean \"verify-full\"?"),
        ("postgres", "port = \"5432\"", "port must be an integer from 1, not a string"),
        ("postgres", "port = 70000", "port cannot be 70000; write a number from 1 to 65535"),
        ("postgres", "statement_timeout = \"soon\"", "statement_timeout: \"soon\" is not a duration"),
        ("postgres", "statement_timeout = \"0 ms\"", "statement_timeout: \"0 ms\" is not between 1 ms and 24 days"),
        ("postgres", "lock_timeout = \"30 days\"", "lock_timeout: \"30 days\" is not between 1 ms and 24 days"),
        (
            "postgres",
            "password = \"hush\"",
            "a password does not belong here, where others can read it; set PGPASSWORD",
        ),
        (
            "bigquery",
            "project = \"p\"\ndatset = \"d\"",
            "unknown key \"datset\" in [warehouse.bigquery]; did you mean \"dataset\"?",
        ),
        ("bigquery", "project = \"p\"", "[warehouse.bigquery] needs the key \"dataset\""),
        (
            "bigquery",
            "project = \"p\"\ndataset = \"d\"\njob_secs = \"5\"",
            "job_secs must be an integer from 1, not a string",
        ),
        (
            "bigquery",
            "project = \"p\"\ndataset = \"d\"\ncredentials = \"{hush}\"",
            "credentials is neither \"default\" nor \"none\"",
        ),
        ("bigquery", "project = \"p\"\ndataset = \"d\"\ncredentials = {}", "credentials takes exactly one key"),
    ]
    .map(|(section, keys, expected)| (format!("[warehouse.{section}]\n{keys}\n"), expected))
    {
        let found = problems(&format!("{}\n{warehouse}{section}", good()), &[]);
        assert!(found.contains(expected) && !found.contains("hush"), "{section}: {found}");
    }
}

#[test]
fn tracking_console_and_alerts_have_defaults_and_wrong_values_are_named() {
    let pipeline = Pipeline::from_str(&good(), "p.toml").unwrap();
    assert_eq!(pipeline.track.flow, "MTA Spark Data Stream flow");
    assert_eq!(
        (pipeline.track.tasks.write.as_str(), pipeline.track.retain_us),
        ("Write to Storage", 30 * 86_400_000_000)
    );
    assert_eq!((pipeline.console.listen, pipeline.alerts.webhook), (None, None));
    let api = "api = \"http://h/api/\"\n";
    for (section, keys, expected) in [
        ("track", "store = \"off\"\nretain = \"0 s\"", "retain: it must be greater than zero"),
        ("track", "prefect = \"http://h\"", "[track.prefect] must be a table, not a string"),
        ("track.prefect", "api = \"h:4200\"", "it must begin with http:// or https://"),
        (
            "track.prefect",
            "api = \"http://u:hush@h\"",
            "it contains a user: write the user or key into its own setting",
        ),
        (
            "track.prefect",
            &format!("{api}key = \"hush\""),
            "key does not belong here, where others can read it; write key_env = \"NAME\"",
        ),
        ("track.prefect", &format!("{api}key_env = \"A\"\nkey_file = \"b\""), "key_env and key_file are both set"),
        ("track.prefect", &format!("{api}tags = \"a\""), "tags must be a list of strings, not a string"),
        ("track.prefect", &format!("{api}tags = [1]"), "tags must be a list of strings, not an integer"),
        ("track.lineage", "namespace = \"x\"", "[track.lineage] needs either file or url"),
        ("track.lineage", "file = \"x\"\nkey_env = \"K\"", "a file needs no key"),
        ("track.otlp", "interval = \"1 s\"", "[track.otlp] needs the key \"endpoint\""),
        ("console", "tls_cert = \"x\"", "tls_cert and tls_key have no effect without each other"),
        ("console", "token = \"hush\"", "token does not belong here"),
        ("alerts", "lag = \"soon\"", "lag: \"soon\" is not a duration"),
        ("alerts", "webhook = \"https://h/hush\"", "webhook does not belong here"),
    ] {
        let found = problems(&format!("{}\n[{section}]\n{keys}\n", good()), &[]);
        assert!(found.contains(expected) && !found.contains("hush"), "[{section}] {keys}: {found}");
    }
}

#[test]
fn a_target_takes_digits_as_a_name_and_hides_its_secrets() {
    let sections = "[warehouse]\ntable = \"t\"\nschedule = \"hourly\"\n\
                    [warehouse.postgres]\nurl = \"postgres://u:hush@h/d\"\ndatabase = 2026\nport = 1\nconnect_timeout = 5\n\
                    [warehouse.bigquery]\nproject = 1234\ndataset = \"d\"\nretry_secs = 0\ncredentials = { json = \"hush\" }\n";
    let pipeline = Pipeline::from_str(&format!("{}\n{sections}", good()), "p.toml").unwrap();
    let warehouse = pipeline.warehouse.unwrap();
    assert!(!format!("{warehouse:?}").contains("hush"), "{warehouse:?}");
    let (postgres, bigquery) = (warehouse.postgres.unwrap(), warehouse.bigquery.unwrap());
    assert_eq!((postgres.database.as_deref(), postgres.port), (Some("2026"), Some(1)));
    assert_eq!(postgres.connect_timeout_us, Some(5_000_000));
    assert_eq!((bigquery.project.as_str(), bigquery.retry_secs), ("1234", Some(0)));
}

#[test]
fn what_a_field_is_read_from_is_checked() {
    let text = GOOD.replace("SQL", QUERY);
    let json = ("source.format", "json");
    for (set, said) in [
        (&[("source.schema.RATE", "decimal(12, 2)")][..], "accepted"),
        (&[("source.schema.RATE", "decimal")], "accepted"),
        (&[("source.schema.RATE", "decimal(39, 2)")], "unknown type \"decimal(39, 2)\""),
        (&[("source.schema.RATE", "decimal(5, 6)")], "unknown type \"decimal(5, 6)\""),
        (&[("source.empty", "none")], "empty cannot be \"none\""),
        (&[("source.empty", "text"), json], "empty is for format = \"csv\""),
        (&[("source.schema.AT.format", "epoch_ms")], "unknown format \"epoch_ms\""),
        (&[("source.schema.AT.format", "dMMyyyy")], "cannot read what it writes: \"5012026\""),
        (&[("source.schema.RATE", "{ type = \"double\", path = \"a.b\" }")], "path is for members of JSON objects"),
        (&[("source.schema.RATE", "{ type = \"double\", path = \"a.b\" }"), json], "accepted"),
        (&[("source.schema.RATE", "{ type = \"double\", path = \"a..b\" }"), json], "\"a..b\" has an empty name"),
        (&[("source.schema.RATE", "{ type = \"double\", path = \"OPEN.b\" }"), json], "the path OPEN"),
    ] {
        let found = problems(&text, set);
        assert!(found.contains(said), "{set:?}: {found}");
    }
}

#[test]
fn a_column_that_readers_take_for_the_folders_key_is_refused() {
    let with = |column: &str, lake: &str| {
        let text = good().replacen("sum(ENTRIES) AS N", &format!("sum(ENTRIES) AS {column}"), 1);
        problems(&text.replacen("[lake]", &format!("[lake]\n{lake}"), 1), &[])
    };
    let refused = with("Window_Date", "");
    assert!(refused.contains("a column Window_Date, and the files are in folders window_date=…"), "{refused}");
    assert!(refused.contains("rename the column with AS, or set [lake] partition"), "{refused}");
    assert!(with("DAY", "partition = \"day\"").contains("a column DAY"));
    assert_eq!(with("Window_Date", "partition = \"day\""), "accepted");
    // For those who continue with the key of earlier releases, whatever columns they have.
    assert_eq!(with("DATE", "partition = \"date\""), "accepted");
    for wrong in ["Day", "_day", "1st", "a=b", ""] {
        let refused = with("N", &format!("partition = \"{wrong}\""));
        assert!(refused.contains("is not a name for folders; write a small letter"), "{refused}");
    }
}

/// Case B15: where Spark's own windows differ, the query is refused with its place.
#[test]
fn a_window_of_another_kind_is_refused_where_it_stands() {
    for (sql, said) in [
        (
            "SELECT STATION\nFROM turnstile\nGROUP BY session_window(AT, '5 minutes'), STATION",
            "x.toml:22:10: session_window is not supported: only windows of a fixed size are supported; write window(…)",
        ),
        (
            "SELECT STATION, session_window(AT, '5 minutes') AS W FROM turnstile GROUP BY window(AT, '5 minutes'), STATION",
            "x.toml:20:17: session_window is not supported",
        ),
    ] {
        let found = problems(&GOOD.replace("SQL", sql), &[]);
        assert!(found.contains(said), "{found}");
    }
}
