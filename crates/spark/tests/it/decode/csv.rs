//! CSV, plain and in a JSON string, with a header line and without.

use super::{Shown, compare, mutate};

const SCHEMA: &str = r#"S = "string"
I = "int"
L = "long"
D = "double"
B = "boolean"
E = { type = "timestamp", format = "epoch-ms", zone = "America/New_York" }
T = { type = "timestamp", format = "yyyy-MM-dd HH:mm:ss", zone = "America/New_York" }"#;

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
    compare(["csv", SCHEMA], &fields, &messages(), &[], |_, _, _| false).await;
}
