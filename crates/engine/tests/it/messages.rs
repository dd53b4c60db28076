//! From the bytes of messages to the rows of windows: what users of comparable systems reported as lost, wrong or stuck.
//!
//! Each test is one such case, with the smallest input that shows it.

use turnstile_pipeline::Pipeline;
use turnstile_values::human;

use crate::story::Story;

/// A pipeline of CSV rows, with the event time TIMESTAMP as their last field. `schema` are the fields before it.
fn csv(schema: &str, zone: &str, sql: &str) -> Pipeline {
    let time = format!("TIMESTAMP = {{ type = \"timestamp\", zone = \"{zone}\" }}");
    read(&format!("format = \"csv\"\n[source.schema]\n{schema}\n{time}"), sql)
}

/// A pipeline whose `[source]` ends with `source`.
fn read(source: &str, sql: &str) -> Pipeline {
    let text = format!(
        "name = \"case\"\n[source]\ntopic = \"t\"\n{source}\n[stream]\nevent_time = \"TIMESTAMP\"\nwatermark = \"0 seconds\"\n\
         [query]\nsql = \"\"\"{sql}\"\"\"\n[lake]\nurl = \"file:./lake\"\n"
    );
    Pipeline::from_str(&text, "case.toml").unwrap_or_else(|error| panic!("{error}"))
}

/// What becomes of `messages`: the windows as text, then the reasons of the dead letters.
fn outcome(pipeline: &Pipeline, messages: &[&str]) -> (Vec<String>, Vec<String>) {
    let mut story = Story::new(pipeline, 1);
    story.values(0, messages.iter().map(|message| (*message).to_owned())).drain();
    let letters = story.dead_letters.iter().map(|letter| {
        let field = letter.rejection.field.as_deref().unwrap_or("-");
        format!("{} {field}: {}", letter.rejection.reason, letter.rejection.detail)
    });
    (story.text(), letters.collect())
}

#[track_caller]
fn expect(pipeline: &Pipeline, messages: &[&str], windows: &[&str]) {
    assert_eq!(outcome(pipeline, messages), (windows.iter().map(|w| (*w).to_owned()).collect(), Vec::new()));
}

/// Case A1.
#[test]
fn an_empty_number_is_null_and_its_row_counts() {
    let sql = "SELECT STATION, count(*) AS READINGS, count(STATION) AS NAMED, sum(ENTRIES) AS ENTRIES, sum(EXITS) AS EXITS \
               FROM turnstile GROUP BY window(TIMESTAMP, '5 minutes'), STATION";
    let pipeline = csv("STATION = \"string\"\nENTRIES = \"int\"\nEXITS = \"int\"", "UTC", sql);
    let messages = ["South,4,6,2023-12-09 08:00:01", "South,5,,2023-12-09 08:01:01", ",7,1,2023-12-09 08:02:01"];
    expect(&pipeline, &messages, &["08:00: |1|0|7|1; South|2|2|9|6"]);
}

/// Case A2.
#[test]
fn a_byte_order_mark_before_a_header_takes_no_field_away() {
    let sql =
        "SELECT CA, STATION, sum(ENTRIES) AS N FROM turnstile GROUP BY window(TIMESTAMP, '5 minutes'), CA, STATION";
    for extra in ["ignore", "error"] {
        let source = format!(
            "format = \"csv\"\nextra_fields = \"{extra}\"\n[source.schema]\nCA = \"string\"\nSTATION = \"string\"\n\
             ENTRIES = \"int\"\nTIMESTAMP = {{ type = \"timestamp\", zone = \"UTC\" }}"
        );
        let messages = [
            "CA,STATION,ENTRIES,TIMESTAMP\nA1,South,3,2023-12-09 08:00:00",
            "\u{feff}CA,STATION,ENTRIES,TIMESTAMP\nA2,South,4,2023-12-09 08:00:00",
            "\u{feff}A3,South,5,2023-12-09 08:00:00",
        ];
        expect(&read(&source, sql), &messages, &["08:00: A1|South|3; A2|South|4; A3|South|5"]);
    }
}

/// Cases A3 and A5: as writers in Java, Go, JavaScript and Python leave zeros out.
#[test]
fn a_fraction_may_be_shorter_than_its_pattern_and_an_optional_one_may_be_missing() {
    let sql = "SELECT K, date_format(min(TIMESTAMP), 'HH:mm:ss.SSSSSS') AS T FROM turnstile \
               GROUP BY window(TIMESTAMP, '5 minutes'), K";
    let source = |pattern: &str| {
        format!(
            "format = \"csv\"\n[source.schema]\nK = \"string\"\n\
             TIMESTAMP = {{ type = \"timestamp\", format = \"{pattern}\", zone = \"UTC\" }}"
        )
    };
    let messages = [
        "a,2023-12-09T08:00:00.250Z",
        "b,2023-12-09T08:00:01.25Z",
        "c,2023-12-09T08:00:02.2Z",
        "d,2023-12-09T08:00:03Z",
    ];
    let windows = ["08:00: a|08:00:00.250000; b|08:00:01.250000; c|08:00:02.200000"];
    let strict = read(&source("yyyy-MM-dd'T'HH:mm:ss.SSSX"), sql);
    let (found, letters) = outcome(&strict, &messages);
    assert_eq!(found, windows);
    assert_eq!(letters, ["type TIMESTAMP: expected timestamp, found \"2023-12-09T08:00:03Z\""]);
    let optional = read(&source("yyyy-MM-dd'T'HH:mm:ss[.SSSSSS]X"), sql);
    expect(&optional, &messages, &[&format!("{}; d|08:00:03.000000", windows[0])]);
}

/// Cases A7 and A9.
#[test]
fn broken_json_becomes_dead_letters_and_the_next_good_message_counts() {
    let source = "format = \"json\"\n[source.schema]\nK = \"string\"\nN = \"int\"\n\
                  TIMESTAMP = { type = \"timestamp\", zone = \"UTC\" }";
    let sql = "SELECT K, sum(N) AS N FROM turnstile GROUP BY window(TIMESTAMP, '5 minutes'), K";
    let row = |n: &str| format!(r#"{{"K":"a","N":{n},"TIMESTAMP":"2023-12-09 08:00:00"}}"#);
    let messages = [row("004"), r#"{"K":"a","N":1"#.to_owned(), row("2"), row("1.0"), row("1E3"), row("3")];
    let (windows, letters) = outcome(&read(source, sql), &messages.each_ref().map(String::as_str));
    assert_eq!(windows, ["08:00: a|5"]);
    assert!(letters[..2].iter().all(|letter| letter.starts_with("json -: ")), "{letters:?}");
    assert_eq!(letters[2..], ["type N: expected int, found 1.0", "type N: expected int, found 1E3"]);
}

/// Case A10.
#[test]
fn the_event_time_may_be_a_number_since_1970() {
    let sql = "SELECT K, count(*) AS N FROM turnstile GROUP BY window(TIMESTAMP, '5 minutes'), K";
    for (format, number) in [("epoch-s", "1702108800"), ("epoch-ms", "1702108800250"), ("epoch-us", "1702108800250001")]
    {
        let source = format!(
            "format = \"json\"\n[source.schema]\nK = \"string\"\n\
             TIMESTAMP = {{ type = \"timestamp\", format = \"{format}\", zone = \"UTC\" }}"
        );
        let message = format!(r#"{{"K":"a","TIMESTAMP":{number}}}"#);
        expect(&read(&source, sql), &[&message], &["08:00: a|1"]);
    }
}

/// Case A11: a CSV row in a JSON string, with what has to be quoted in either.
#[test]
fn commas_quotes_and_line_ends_in_quotes_are_the_field_s() {
    let sql = "SELECT K, sum(N) AS N FROM turnstile GROUP BY window(TIMESTAMP, '5 minutes'), K";
    let pipeline = csv("K = \"string\"\nN = \"int\"", "UTC", sql);
    let messages = [
        r#""\"South, \"\"A\"\"\ngate\",3,2023-12-09 08:00:00""#,
        "\"South, \"\"A\"\"\ngate\",4,2023-12-09 08:00:00\r\n",
    ];
    expect(&pipeline, &messages, &["08:00: South, \"A\"\ngate|7"]);
}

/// Case B2: five hours of the day before would be counted in.
#[test]
fn a_date_beside_a_timestamp_is_midnight_of_the_event_time_s_zone() {
    let messages = ["eve,2023-12-08 19:00:00", "late,2023-12-08 23:59:59", "day,2023-12-09 00:00:00"];
    for condition in [
        "TIMESTAMP >= DATE '2023-12-09'",
        "DATE '2023-12-09' <= TIMESTAMP",
        "TIMESTAMP >= to_date('2023-12-09')",
        "TIMESTAMP BETWEEN DATE '2023-12-09' AND DATE '2023-12-10'",
        "TIMESTAMP IN (DATE '2023-12-09', DATE '2023-12-10')",
        "TIMESTAMP >= '2023-12-09'",
    ] {
        let sql = format!("SELECT K FROM turnstile WHERE {condition} GROUP BY window(TIMESTAMP, '1 day'), K");
        expect(&csv("K = \"string\"", "America/New_York", &sql), &messages, &["00:00: day"]);
    }
}

/// Case B3: nothing that a group's sum comes to may end the pipeline.
#[test]
fn the_square_root_of_a_negative_sum_is_no_number_and_its_window_is_published() {
    let sql = "SELECT K, sqrt(sum(D)) AS R, ceil(sum(D) * 1e300) AS C, floor(sum(D) * 1e300) AS F FROM turnstile \
               GROUP BY window(TIMESTAMP, '5 minutes'), K";
    let messages = ["a,4,2023-12-09 08:00:00", "b,-1,2023-12-09 08:00:00", "c,9,2023-12-09 08:10:00"];
    let (most, least) = (i64::MAX, i64::MIN);
    expect(
        &csv("K = \"string\"\nD = \"double\"", "UTC", sql),
        &messages,
        &[&format!("08:00: a|2.0|{most}|{most}; b|NaN|{least}|{least}"), &format!("08:10: c|3.0|{most}|{most}")],
    );
}

/// Case B4.
#[test]
fn amounts_are_rounded_by_their_decimal_text() {
    let sql = "SELECT K, round(sum(D), 2) AS R, CAST(sum(D) AS decimal(10, 2)) AS C FROM turnstile \
               GROUP BY window(TIMESTAMP, '5 minutes'), K";
    let messages = ["a,1.005,2023-12-09 08:00:00", "b,0.285,2023-12-09 08:00:00", "c,-1.255,2023-12-09 08:00:00"];
    let windows = ["08:00: a|1.01|1.01; b|0.29|0.29; c|-1.26|-1.26"];
    expect(&csv("K = \"string\"\nD = \"double\"", "UTC", sql), &messages, &windows);
}

/// Case B6.
#[test]
fn a_constant_timestamp_has_the_text_of_a_column_s() {
    let sql = "SELECT K, string(min(TIMESTAMP)) AS A, string(TIMESTAMP '2023-12-09 03:00:00') AS B, \
               concat('since ', to_timestamp('2023-12-09 11:22:33.5')) AS C FROM turnstile \
               GROUP BY window(TIMESTAMP, '5 minutes'), K";
    let windows = ["08:00: a|2023-12-09 03:00:00|2023-12-09 03:00:00|since 2023-12-09 11:22:33.5"];
    expect(&csv("K = \"string\"", "America/New_York", sql), &["a,2023-12-09 03:00:00"], &windows);
}

/// Cases B11 and B13: days are UTC's in every zone, as Spark's, and a start moves them.
#[test]
fn days_are_those_of_utc_whatever_the_zone_and_a_start_before_1970_moves_them() {
    for (zone, window, messages, windows) in [
        (
            "UTC",
            "'1 day', '1 day', '-5 hours'",
            ["1,2023-12-08 18:59:59", "2,2023-12-08 19:00:00"],
            ["day -2 19:00: 1", "day -1 19:00: 2"],
        ),
        (
            "America/New_York",
            "'1 day'",
            ["1,2023-12-08 18:59:59", "2,2023-12-08 19:00:00"],
            ["day -1 00:00: 1", "00:00: 2"],
        ),
        (
            "America/New_York",
            "'1 day', '1 day', '5 hours'",
            ["1,2023-12-08 23:59:59", "2,2023-12-09 00:00:00"],
            ["day -1 05:00: 1", "05:00: 2"],
        ),
    ] {
        let sql = format!("SELECT sum(N) AS N FROM turnstile GROUP BY window(TIMESTAMP, {window})");
        expect(&csv("N = \"int\"", zone, &sql), &messages, &windows);
    }
}

/// Case B12.
#[test]
fn a_sum_beyond_64_bits_is_an_error_and_one_that_comes_back_is_right() {
    let sql = "SELECT K, sum(N) AS N FROM turnstile GROUP BY window(TIMESTAMP, '5 minutes'), K";
    let pipeline = csv("K = \"string\"\nN = \"long\"", "UTC", sql);
    let row = |n: i64| format!("a,{n},2023-12-09 08:00:00");
    let (huge, back) = ([row(i64::MAX), row(1)], row(-7));
    let mut story = Story::new(&pipeline, 1);
    story.values(0, huge.clone());
    let error = human::error(&story.drain_error());
    assert!(error.contains("9223372036854775808 does not fit 64 bits"), "{error}");
    expect(&pipeline, &[&huge[0], &huge[1], &back], &["08:00: a|9223372036854775801"]);
}

/// Case B15: what Spark's users look for first.
#[test]
fn times_with_a_pattern_pairs_and_the_value_of_the_largest_row_are_computed() {
    let sql = "SELECT K, count(DISTINCT A, B) AS PAIRS, max_by(A, N) AS TOP, \
               date_format(max(to_timestamp(B, 'dd.MM.yyyy HH:mm')), 'yyyy-MM-dd HH:mm') AS LAST, \
               max(unix_timestamp(B, 'dd.MM.yyyy HH:mm')) AS SECS, max(to_date(B, 'dd.MM.yyyy HH:mm')) AS DAY, \
               max(locate('y', A, 2)) AS AT FROM turnstile GROUP BY window(TIMESTAMP, '5 minutes'), K";
    let pipeline = csv("K = \"string\"\nA = \"string\"\nB = \"string\"\nN = \"int\"", "UTC", sql);
    let messages = [
        "k,xy,01.12.2023 10:00,1,2023-12-09 08:00:00",
        "k,xy,01.12.2023 10:00,5,2023-12-09 08:00:00",
        "k,yx,02.12.2023 09:30,3,2023-12-09 08:00:00",
        "k,yx,,3,2023-12-09 08:00:00",
    ];
    expect(&pipeline, &messages, &["08:00: k|2|xy|2023-12-02 09:30|1701509400|2023-12-02|2"]);
}
