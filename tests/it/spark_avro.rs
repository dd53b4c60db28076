//! Messages whose schemas are in a registry, on a cluster: Confluent's serializers, two writers, ids that the registry does not know.

use std::path::Path;

use crate::interop::python;
use crate::registry::{at, pipeline};
use crate::scene::{Scene, messages, published_rows, text};
use crate::spark_scene::{audit, closing, counters, dead_letters, files, finish_slowly, run_on, server, spark_lake};

/// Readings two days later, which close all windows before; `what` makes them different from others.
fn later(what: &str) -> Vec<String> {
    closing().into_iter().map(|row| String::from_utf8(row).unwrap().replace("end-", what)).collect()
}

/// Runs `pipeline` on both engines until everything is read, and compares what they publish, reject and count; what the run on the
/// cluster said.
fn on_both(scene: &Scene, pipeline: &Path, remote: &str) -> String {
    let embedded = ["run", pipeline.to_str().unwrap(), "--until-end"];
    let embedded = finish_slowly(scene.spawn(&embedded, &[]));
    assert!(embedded.status.success(), "{}", text(&embedded));
    let output = run_on(scene, pipeline, remote, &["--until-end"]);
    assert!(output.status.success(), "{}", text(&output));
    let (ours, theirs) = (scene.lake(), spark_lake(scene));
    assert_eq!(files(&ours), files(&theirs));
    assert!(!published_rows(&theirs).is_empty());
    assert_eq!(dead_letters(scene, pipeline, &ours), dead_letters(scene, pipeline, &theirs));
    assert_eq!(counters(scene, pipeline, &ours), counters(scene, pipeline, &theirs));
    audit(scene, pipeline);
    text(&output)
}

#[test]
#[ignore = "needs servers: cargo xtask test"]
fn avro_of_a_registry_is_the_same_on_a_cluster() {
    let scene = Scene::apache("spark-avro", 3);
    let server = server(&scene);
    let url = turnstile_testkit::registry();
    let avro = |rows: &[String], first: &str| python("sender.py", &scene, &["avro", &url, first], rows);
    let file = pipeline(&scene, "avro", &at(&url));
    // The second writer's schema comes when the query runs already, and so do ids that the registry does not know.
    avro(&messages(400), "400");
    avro(&later("end-"), "400");
    let said = on_both(&scene, &file, &server.remote());
    assert_eq!(said.matches("the query is started again with them").count(), 1, "{said}");
    let rows: Vec<String> = messages(1_000).split_off(400);
    avro(
        &rows
            .iter()
            .map(|row| row.replace("08-01-26", "08-04-26").replace("2026-08-01", "2026-08-04"))
            .collect::<Vec<_>>(),
        "0",
    );
    avro(&messages(100).split_off(90), "0");
    avro(&later("then-").iter().map(|row| row.replace("2026-08-03", "2026-08-09")).collect::<Vec<_>>(), "400");
    let said = on_both(&scene, &file, &server.remote());
    assert!(said.contains("4711000 (unknown to the registry)"), "{said}");
    let letters = dead_letters(&scene, &file, &spark_lake(&scene));
    for (reason, count) in [("schema", 2), ("wire-format", 4), ("avro", 2), ("late", 10)] {
        let found = letters.iter().filter(|letter| letter.contains(&format!(" {reason}"))).count();
        assert_eq!(found, count, "{reason}: {letters:#?}");
    }
}

#[test]
#[ignore = "needs servers: cargo xtask test"]
fn json_of_a_registry_is_the_same_on_a_cluster() {
    let scene = Scene::apache("spark-json-schema", 3);
    let server = server(&scene);
    let url = turnstile_testkit::registry();
    let json = |rows: &[String]| python("sender.py", &scene, &["json-schema", &url], rows);
    let file = pipeline(&scene, "json-schema", &at(&url));
    json(&messages(400));
    json(&later("end-"));
    let said = on_both(&scene, &file, &server.remote());
    assert!(said.contains("4711000 (unknown to the registry)"), "{said}");
    let letters = dead_letters(&scene, &file, &spark_lake(&scene));
    assert_eq!(letters.iter().filter(|letter| letter.contains(" schema")).count(), 2, "{letters:#?}");
}
