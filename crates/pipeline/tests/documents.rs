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
        .map(|key| (key.to_owned(), "1".to_owned()))
        .collect::<Vec<_>>();
    let file = include_str!("../../../pipelines/mta-avro.toml");
    let error = turnstile_pipeline::Pipeline::from_str_with(file, "x.toml", &set).unwrap_err();
    let hints: Vec<&str> = error.problems().iter().filter_map(|problem| problem.hint.as_deref()).collect();
    assert_eq!(hints.len(), set.len(), "{error}");
    let keys: Vec<&str> =
        hints.iter().filter_map(|hint| hint.strip_prefix("known: ")).flat_map(|keys| keys.split(", ")).collect();
    assert!(keys.len() > 30, "{keys:?}");
    for key in keys {
        assert!(text.contains(&format!("`{key}`")) || text.contains(&format!("`[{key}]`")), "{key}");
    }
}
