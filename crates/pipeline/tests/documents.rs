//! The documents name what there is.

#[test]
fn every_function_of_the_dialect_is_in_the_document() {
    let text = include_str!("../../../docs/sql.md");
    let words: Vec<&str> = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').collect();
    let missing: Vec<&str> =
        turnstile_pipeline::function_names().into_iter().filter(|name| !words.contains(name)).collect();
    assert!(missing.is_empty(), "docs/sql.md lacks {missing:?}");
}

#[test]
fn every_key_of_the_file_is_in_the_document() {
    let text = include_str!("../../../docs/pipeline-file.md");
    // An unknown key far from all known ones makes each section list its keys.
    let set = ["qqqqqqqqqq", "source.qqqqqqqqqq", "stream.qqqqqqqqqq", "query.qqqqqqqqqq", "lake.qqqqqqqqqq"]
        .into_iter()
        .chain(["warehouse.qqqqqqqqqq", "source.schema.TIMESTAMP.qqqqqqqqqq", "source.registry.qqqqqqqqqq"])
        .chain(["track.qqqqqqqqqq", "track.tasks.qqqqqqqqqq", "track.prefect.qqqqqqqqqq", "track.lineage.qqqqqqqqqq"])
        .chain(["track.otlp.qqqqqqqqqq", "console.qqqqqqqqqq", "alerts.qqqqqqqqqq"])
        .map(|key| (key.to_owned(), "1".to_owned()))
        .collect::<Vec<_>>();
    let file = include_str!("../../../pipelines/mta-avro.toml");
    let error = turnstile_pipeline::Pipeline::from_str_with(file, "x.toml", &set).unwrap_err();
    let hints = error.problems().iter().filter_map(|problem| problem.hint.as_deref()?.strip_prefix("known: "));
    let hints: Vec<&str> = hints.collect();
    assert_eq!(hints.len(), set.len(), "{error}");
    let keys: Vec<&str> = hints.iter().flat_map(|keys| keys.split(", ")).collect();
    assert!(keys.len() > 30, "{keys:?}");
    for key in keys {
        assert!(text.contains(&format!("`{key}`")) || text.contains(&format!("`[{key}]`")), "{key}");
    }
}

const SPEC: &str = include_str!("../../../docs/pipeline-file.md");

/// A file in which no key stands but those that are required; `{section}` marks where more can follow.
const BARE: &str = r#"name = "x"
[source]
topic = "x"
{source}
[source.schema]
K = "string"
AT = { type = "timestamp", zone = "UTC" }
[stream]
event_time = "AT"
watermark = "1 minute"
{stream}
[query]
sql = "SELECT count(*) AS N FROM turnstile GROUP BY window(AT, '1 hour')"
[lake]
url = "file:./lake"
{lake}
"#;

const REGISTRY: &str = "registry = { url = \"http://localhost\" }";

/// The words in code quotes of a table's cell: `"csv"`, `"json"`.
fn quoted(cell: &str) -> Vec<&str> {
    cell.split('`').skip(1).step_by(2).filter_map(|code| code.strip_prefix('"')?.strip_suffix('"')).collect()
}

/// The rows of the first table below `heading`, their cells without what stands around them.
fn table(heading: &str) -> Vec<Vec<&'static str>> {
    let text = SPEC.split_once(&format!("\n{heading}\n")).unwrap().1;
    let rows = text.lines().skip_while(|line| !line.starts_with("|---")).skip(1);
    rows.take_while(|line| line.starts_with('|'))
        .map(|line| line.split(" | ").map(|cell| cell.trim_matches(['|', ' '])).collect())
        .collect()
}

/// What `check` says of the file with `line` in `section`, and the line's number.
fn check(section: &str, line: &str) -> (Result<(), String>, usize) {
    let format = if line.starts_with("format = ") && section == "source" { "" } else { "format = \"csv\"" };
    let needs_registry = section == "source" && ["\"avro\"", "\"json-schema\""].iter().any(|word| line.contains(word));
    let more = if needs_registry { REGISTRY } else { "" };
    let mut text = BARE.replace(&format!("{{{section}}}"), &format!("{line}\n{{{section}}}"));
    let header = format!("[{section}]");
    for (section, rest) in [("source", format!("{format}\n{more}")), ("stream", String::new()), ("lake", String::new())]
    {
        text = text.replace(&format!("{{{section}}}"), &rest);
    }
    let mut lines = text.lines();
    let before = lines.by_ref().position(|other| other == header).unwrap() + 1;
    let number = before + lines.position(|other| other == line).unwrap() + 1;
    let read = turnstile_pipeline::Pipeline::from_str(&text, "x.toml");
    (read.map(|_| ()).map_err(|error| error.to_string()), number)
}

/// Each key of `[source]`, `[stream]` and `[lake]` takes the words that the document lists for it, and no other word: neither
/// one of another key nor one in other letters.
#[test]
fn every_word_of_the_document_is_accepted_and_every_other_one_is_refused_with_its_place() {
    let keys: Vec<(&str, &str, Vec<&str>)> = ["source", "stream", "lake"]
        .into_iter()
        .flat_map(|section| table(&format!("## `[{section}]`")).into_iter().map(move |row| (section, row)))
        .map(|(section, row)| (section, row[0].trim_matches('`'), quoted(row[1])))
        .filter(|(_, _, words)| !words.is_empty())
        .collect();
    let names: Vec<&str> = keys.iter().map(|(_, key, _)| *key).collect();
    assert_eq!(
        names,
        [
            "discover",
            "format",
            "extra_fields",
            "empty",
            "dedup",
            "late",
            "failed_groups",
            "idle",
            "quiet",
            "future",
            "spill",
            "format",
            "compact",
            "maintain"
        ]
    );
    let all: Vec<String> = keys
        .iter()
        .flat_map(|(_, _, words)| words)
        .flat_map(|word| [(*word).to_owned(), word.to_uppercase(), format!("{word} "), word.replace('-', "_")])
        .chain(["", "on", "true", "none", "default", "never"].map(str::to_owned))
        .collect();
    for (section, key, words) in &keys {
        for word in &all {
            let listed = words.contains(&word.as_str());
            let (said, line) = check(section, &format!("{key} = \"{word}\""));
            match said {
                Ok(()) => assert!(listed, "[{section}] {key} = {word:?} is accepted, and not in the document"),
                Err(error) => {
                    assert!(!listed, "[{section}] {key} = {word:?}: {error}");
                    assert!(error.starts_with(&format!("x.toml:{line}:")), "[{section}] {key} = {word:?}: {error}");
                    assert!(error.contains(key), "[{section}] {key} = {word:?}: {error}");
                }
            }
        }
    }
}

/// The same for the types of fields, for what Kafka knows of a message, and for the forms of a timestamp.
#[test]
fn every_type_of_the_document_is_accepted_and_every_other_one_is_refused_with_its_place() {
    let field = |value: &str| {
        let line = format!("X = {value}");
        let text = BARE.replace("{source}", "format = \"csv\"").replace("{stream}", "").replace("{lake}", "");
        let text = text.replace("K = \"string\"", &line);
        let number = text.lines().position(|other| other == line).unwrap() + 1;
        match turnstile_pipeline::Pipeline::from_str(&text, "x.toml") {
            Ok(_) => true,
            Err(error) => {
                let error = error.to_string();
                assert!(error.starts_with(&format!("x.toml:{number}:")), "{value}: {error}");
                false
            }
        }
    };
    let rows = table("### `[source.schema]`");
    let mut types: Vec<&str> = rows.iter().flat_map(|row| [row[0], row[1]]).flat_map(quoted).collect();
    assert_eq!(types.len(), 10, "{types:?}");
    for word in &mut types {
        if word.starts_with("decimal(p") {
            *word = if word.contains('s') { "decimal(12, 2)" } else { "decimal(12)" };
        }
        assert!(field(&format!("\"{word}\"")) && field(&format!("{{ type = \"{word}\" }}")), "{word}");
    }
    for word in
        ["String", "INT", "float", "date", "text", "decimal()", "decimal(0)", "decimal(10,-1)", "long ", "", "binary"]
    {
        assert!(!field(&format!("\"{word}\"")), "{word}");
        assert!(!field(&format!("{{ type = \"{word}\" }}")), "{word}");
    }
    for word in ["iso", "epoch-s", "epoch-ms", "epoch-us"] {
        assert!(SPEC.contains(&format!("`\"{word}\"`")), "{word}");
        let timestamp = |word: &str| format!("{{ type = \"timestamp\", format = \"{word}\", zone = \"UTC\" }}");
        assert!(field(&timestamp(word)), "{word}");
        for other in [word.to_uppercase(), word.replace('-', "_") + "1", format!("{word}-x")] {
            assert!(!field(&timestamp(&other)), "{other}");
        }
    }
    for word in ["timestamp", "topic", "partition", "offset"] {
        assert!(SPEC.contains(&format!("`\"{word}\"`")), "{word}");
        assert!(field(&format!("{{ metadata = \"{word}\" }}")), "{word}");
        assert!(!field(&format!("{{ metadata = \"{}\" }}", word.to_uppercase())), "{word}");
    }
    for word in ["key", "headers", "value", ""] {
        assert!(!field(&format!("{{ metadata = \"{word}\" }}")), "{word}");
    }
}
