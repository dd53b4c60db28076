//! State that exceeds its memory: the run goes on with files, and the lake is the same.

use std::path::Path;

use crate::scene::{Scene, expected, messages, text};

/// A pipeline whose windows and messages seen all stay open until the topic's end.
fn tight(scene: &Scene, settings: &str) -> std::path::PathBuf {
    let pipeline = scene.pipeline(&format!("dedup = [\"ID\"]\nmemory = \"1 MiB\"\n{settings}"));
    let file = std::fs::read_to_string(&pipeline).unwrap();
    std::fs::write(&pipeline, file.replace("watermark = \"5 minutes\"", "watermark = \"365 days\"")).unwrap();
    pipeline
}

fn in_folder(folder: &Path) -> usize {
    std::fs::read_dir(folder).unwrap().count()
}

#[test]
fn a_backlog_larger_than_the_memory_is_read_through() {
    let scene = Scene::embedded(2);
    let sent = messages(60_000);
    // Each is sent twice; the second ones are duplicates of messages that are on disk by then.
    scene.send(sent.iter().chain(&sent).map(String::as_bytes));
    let folder = tempfile::tempdir().unwrap();
    // Some 400 commits: more increments than a slot may refer to, so they are merged.
    let settings = format!("commit = {{ rows = 300 }}\nspill_dir = \"{}\"", folder.path().display());
    let pipeline = tight(&scene, &settings);
    let output = scene.drain(&pipeline);
    assert!(output.status.success(), "{}", text(&output));
    assert_eq!(scene.rows(), expected(&sent));
    let audit = scene.audit(&pipeline);
    assert!(audit.contains("120000 read = 60000 aggregated + 60000 duplicate"), "{audit}");
    assert_eq!(in_folder(folder.path()), 0, "the files have no name");
}

#[test]
fn state_that_may_not_be_spilled_or_finds_no_room_ends_the_run_with_what_to_change() {
    let scene = Scene::embedded(1);
    scene.send(messages(60_000).iter().map(String::as_bytes));
    for (settings, said) in [
        ("spill = \"off\"", "more than `[stream] memory` allows"),
        ("spill = \"64 KiB\"", "`[stream] spill` allows 64 KiB"),
        ("spill_dir = \"/nowhere/at/all\"", "no file can be created in /nowhere/at/all"),
    ] {
        let output = scene.drain(&tight(&scene, settings));
        assert_eq!(output.status.code(), Some(1), "{settings}: {}", text(&output));
        let printed = text(&output);
        assert!(printed.contains(said) && printed.contains("nothing was lost"), "{settings}: {printed}");
    }
}
