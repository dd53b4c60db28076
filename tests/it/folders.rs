//! The folders of a lake's files: one key for a pipeline, which no column of its rows has.

use std::collections::BTreeSet;

use crate::scene::{SQL, Scene, data_files, messages, text};

/// The keys of the folders that hold the lake's files.
fn keys(scene: &Scene) -> BTreeSet<String> {
    let key = |file: &std::path::PathBuf| {
        let folder = file.parent().unwrap().file_name().unwrap().to_string_lossy();
        folder.split_once('=').unwrap().0.to_owned()
    };
    data_files(&scene.lake()).iter().map(key).collect()
}

#[test]
fn a_pipeline_keeps_the_key_that_its_files_have_and_refuses_another() {
    let scene = Scene::embedded(1);
    let all = messages(400);
    scene.send(all[..200].iter().map(String::as_bytes));
    // What earlier releases wrote, and what a new pipeline can be given.
    let pipeline = scene.pipeline_with("", "partition = \"date\"", SQL);
    let drained = scene.drain(&pipeline);
    assert!(drained.status.success(), "{}", text(&drained));
    assert_eq!(keys(&scene), BTreeSet::from(["date".to_owned()]));

    scene.send(all[200..].iter().map(String::as_bytes));
    let pipeline = scene.pipeline("");
    let before = data_files(&scene.lake()).len();
    let drained = scene.drain(&pipeline);
    assert!(drained.status.success(), "{}", text(&drained));
    assert!(data_files(&scene.lake()).len() > before);
    assert_eq!(keys(&scene), BTreeSet::from(["date".to_owned()]), "no folders of two keys");

    let pipeline = scene.pipeline_with("", "partition = \"day\"", SQL);
    let refused = scene.drain(&pipeline);
    assert_eq!(refused.status.code(), Some(3), "{}", text(&refused));
    let said = text(&refused);
    assert!(said.contains("are in folders date=…, and [lake] partition is \"day\""), "{said}");
    assert!(said.contains("take `partition` out to continue with date"), "{said}");
    assert!(scene.audit(&scene.pipeline("")).starts_with("all is well"));
}

#[test]
fn a_new_pipeline_s_folders_have_a_key_that_no_column_of_its_rows_has() {
    let scene = Scene::embedded(1);
    scene.send(messages(200).iter().map(String::as_bytes));
    let with_date = SQL.replace("count(*) AS N", "count(*) AS N, CAST(window.start AS date) AS DATE");
    let pipeline = scene.pipeline_with("", "", &with_date);
    let drained = scene.drain(&pipeline);
    assert!(drained.status.success(), "{}", text(&drained));
    assert_eq!(keys(&scene), BTreeSet::from(["window_date".to_owned()]));

    let clash = SQL.replace("count(*) AS N", "count(*) AS N, CAST(window.start AS date) AS Window_Date");
    let refused = scene.turnstile(&["check", scene.pipeline_with("", "", &clash).to_str().unwrap()]);
    assert_eq!(refused.status.code(), Some(3), "{}", text(&refused));
    assert!(text(&refused).contains("the query has a column Window_Date"), "{}", text(&refused));
    let other = scene.pipeline_with("", "partition = \"utc_day\"", &clash);
    let checked = scene.turnstile(&["check", other.to_str().unwrap()]);
    assert!(checked.status.success(), "{}", text(&checked));
}
