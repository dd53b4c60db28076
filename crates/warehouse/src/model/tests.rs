use super::*;

fn parse(texts: &[(&str, &str)]) -> Result<Models, ModelError> {
    Models::parse(texts.iter().copied(), "ext_turnstile")
}

const FACT: &str = "\
-- Facts: of each turnstile.
-- kind: incremental
-- key: log_id
-- window: window_start
-- column log_id: The key. [unique, not_null]
-- column station_id: Whose. [relationship(dim_station.station_id)]
-- column division: Line: BMT or IND. [accepted(BMT, 'IND')]
-- check: conservation(entries, exits)

SELECT a AS log_id, s.station_id FROM EXT_TURNSTILE e JOIN dim_station s ON s.station_name = e.station
";
const STATION: &str = "-- kind: dimension\n-- key: station_id\nSELECT station AS station_id FROM ext_turnstile";

#[test]
fn a_header_says_what_the_table_is_and_the_order_follows_from_the_sql() {
    let models = parse(&[("models/a_fact.sql", FACT), ("models/dim_station.sql", STATION)]).unwrap();
    let names: Vec<&str> = models.iter().map(|model| model.name.as_str()).collect();
    assert_eq!(names, ["dim_station", "a_fact"]);
    let fact = models.get("a_fact").unwrap();
    assert_eq!((fact.kind, fact.sql_line), (ModelKind::Incremental, 10));
    assert_eq!(fact.reads, ["dim_station", "ext_turnstile"]);
    assert_eq!(fact.columns[2].text, "Line: BMT or IND.");
    let checks: Vec<String> = fact.checks.iter().map(Check::text).collect();
    assert_eq!(
        checks,
        [
            "unique(log_id)",
            "not_null(log_id)",
            "relationship(station_id -> dim_station.station_id)",
            "accepted(division: BMT, IND)",
            "conservation(entries, exits)"
        ]
    );
}

#[test]
fn the_models_that_come_with_it_are_in_order() {
    let models = parse(&BUILT_IN).unwrap();
    assert!(models.get("fact_turnstile").is_some_and(|fact| fact.key == ["log_id"]));
}

#[test]
fn a_fault_is_named_with_file_line_and_what_to_do() {
    for (text, place, reason, hint) in [
        ("-- kind: incremental\n-- window: w\nSELECT 1 FROM ext_turnstile", "m.sql:1", "has no key", "-- key:"),
        ("-- kind: incremental\n-- key: a\nSELECT 1 FROM ext_turnstile", "m.sql:1", "has no window", "window.start"),
        ("SELECT 1 FROM ext_turnstile", "m.sql:1", "no kind", "-- kind:"),
        ("-- kind: incremantal\nSELECT 1", "m.sql:1", "cannot be \"incremantal\"", "did you mean \"incremental\"?"),
        ("-- kind: view\n-- kye: a\nSELECT 1", "m.sql:2", "\"kye\" is not a header keyword", "did you mean \"key\"?"),
        ("-- kind: view\n\nSELECT a FRM b", "m.sql:3", "", ""),
        ("-- kind: view\nSELECT 1; SELECT 2", "m.sql:2", "not one SELECT", "one table"),
        ("-- kind: view\nDROP TABLE x", "m.sql:2", "not one SELECT", "one table"),
        ("-- kind: view\nSELECT * FROM ext_turnstil", "m.sql:2", "reads ext_turnstil", "\"ext_turnstile\"?"),
        ("-- kind: view\n-- column a: x [uniq]\nSELECT 1", "m.sql:2", "\"uniq\" is not a check", "not_null"),
        ("-- kind: view\n-- key: a b\nSELECT 1", "m.sql:2", "is not a valid name", "letters"),
        ("-- kind: view\n-- name: ext_turnstile\nSELECT 1", "m.sql:1", "a table of the lake", "another name"),
    ] {
        let error = parse(&[("m.sql", text)]).unwrap_err();
        assert!(error.to_string().starts_with(place), "{text}: {error}");
        assert!(error.reason.contains(reason), "{text}: {error}");
        assert!(error.hint.contains(hint), "{text}: {}", error.hint);
    }
}

#[test]
fn a_cycle_is_named_with_its_path() {
    let view = |of: &str| format!("-- kind: view\nSELECT * FROM {of}");
    let (a, b, c, d) = (view("b"), view("c"), view("a"), view("a"));
    let error = parse(&[("a.sql", &a), ("b.sql", &b), ("c.sql", &c), ("d.sql", &d)]).unwrap_err();
    assert!(error.reason.ends_with("in a cycle: a -> b -> c -> a"), "{error}");
}

#[test]
fn what_a_comment_says_does_not_make_another_model() {
    let model = |comment: &str| {
        let text = format!("-- kind: view\n-- description: {comment}\nSELECT * FROM ext_turnstile");
        parse(&[("m.sql", &text)]).unwrap().get("m").unwrap().fingerprint()
    };
    assert_eq!(model("one"), model("another"));
}
