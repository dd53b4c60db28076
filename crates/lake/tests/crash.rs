//! A process that is killed at any step of the protocol loses nothing and doubles nothing.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use turnstile_lake::{CRASH_STEPS, Lake, MAINTENANCE_CRASH_STEPS, StoreOptions, audit};

/// The step that is only reached once the log is long enough to be rolled up.
const ROLLS_UP: &str = "commit-after-history";

/// Windows that make the log long enough: a segment, and the slots kept after it.
const LONG: i64 = 1_045;

/// An example, which cargo builds beside the tests.
fn program(name: &str) -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let path = test.parent().and_then(Path::parent).unwrap().join("examples").join(name);
    assert!(path.exists(), "{} is not built: run `cargo test -p turnstile-lake`", path.display());
    path
}

/// Runs the program; whether it came to its end.
fn commit_windows(lake: &Path, windows: i64, crash_at: Option<&str>) -> bool {
    let mut command = Command::new(program("commit_windows"));
    command.arg(url(lake)).arg(windows.to_string());
    runs_to_its_end(command, crash_at)
}

/// Commits the windows of two days, compacts, retires and deletes; whether it came to its end.
fn maintain_days(lake: &Path, crash_at: Option<&str>) -> bool {
    let mut command = Command::new(program("maintain_days"));
    command.arg(url(lake));
    runs_to_its_end(command, crash_at)
}

fn runs_to_its_end(mut command: Command, crash_at: Option<&str>) -> bool {
    command.env_remove("TURNSTILE_CRASH_AT");
    if let Some(step) = crash_at {
        command.env("TURNSTILE_CRASH_AT", step);
    }
    let output = command.output().unwrap();
    // An abort has no exit code; any other failure would be another fault.
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() || output.status.code().is_none(), "{:?}: {stderr}", output.status);
    output.status.success()
}

fn url(lake: &Path) -> String {
    format!("file:{}", lake.display())
}

/// All data files with their bytes.
fn data_files(lake: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut files = BTreeMap::new();
    for folder in std::fs::read_dir(lake).unwrap().map(|entry| entry.unwrap().path()) {
        if folder.file_name().unwrap() == "_turnstile" {
            continue;
        }
        for file in std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()) {
            files.insert(file.strip_prefix(lake).unwrap().to_path_buf(), std::fs::read(&file).unwrap());
        }
    }
    files
}

async fn assert_well(lake: &Path, files: usize) {
    let lake = Lake::open_for_reading(&url(lake), &StoreOptions::default()).await.unwrap();
    let found = audit(&lake, "example").await.unwrap();
    assert!(found.is_well() && found.files == files as u64, "{found}");
}

#[tokio::test]
async fn a_crash_at_any_step_leaves_the_lake_of_the_undisturbed_run() {
    let folder = tempfile::tempdir().unwrap();
    let undisturbed = folder.path().join("undisturbed");
    assert!(commit_windows(&undisturbed, 10, None));
    let expected = data_files(&undisturbed);
    assert_eq!(expected.len(), 10);

    for step in CRASH_STEPS.iter().filter(|step| **step != ROLLS_UP) {
        for nth in [1, 2, 5] {
            let lake = folder.path().join(format!("{step}-{nth}"));
            let crash = format!("{step}:{nth}");
            // A start is passed once; steps of a commit, many times.
            let crashes = nth == 1 || !step.starts_with("open");
            assert_eq!(commit_windows(&lake, 10, Some(&crash)), !crashes, "{crash}");
            assert!(commit_windows(&lake, 10, None), "{crash}");
            assert_eq!(data_files(&lake), expected, "{crash}");
            assert_well(&lake, 10).await;
        }
    }
}

#[tokio::test]
async fn a_process_that_crashes_at_every_start_still_comes_to_its_end() {
    let folder = tempfile::tempdir().unwrap();
    let lake = folder.path().join("lake");
    let mut crashes = 0;
    // Each start gets one commit further before it is killed.
    while !commit_windows(&lake, 10, Some("commit-after-publish:2")) {
        crashes += 1;
        assert!(crashes <= 10, "the pipeline does not move on");
    }
    assert!(crashes >= 4, "{crashes} crashes");
    assert_eq!(data_files(&lake).len(), 10);
    assert_well(&lake, 10).await;
}

#[tokio::test]
async fn a_crash_while_the_log_is_rolled_up_loses_no_provenance() {
    let folder = tempfile::tempdir().unwrap();
    let lake = folder.path().join("lake");
    assert!(!commit_windows(&lake, LONG, Some(ROLLS_UP)), "the step was not reached");
    assert!(commit_windows(&lake, LONG, None));
    assert!(lake.join("_turnstile/example/history").is_dir());
    assert_well(&lake, LONG as usize).await;
}

#[tokio::test]
async fn a_crash_at_any_step_of_maintenance_leaves_the_lake_of_the_undisturbed_run() {
    let folder = tempfile::tempdir().unwrap();
    let undisturbed = folder.path().join("undisturbed");
    assert!(maintain_days(&undisturbed, None));
    // A compacted object's name holds the attempt, its bytes do not.
    let contents = |lake: &Path| {
        let mut contents: Vec<Vec<u8>> = data_files(lake).into_values().collect();
        contents.sort();
        contents
    };
    let expected = contents(&undisturbed);
    assert_eq!(expected.len(), 7, "one object of 21 windows, and six windows of the second day");

    for step in MAINTENANCE_CRASH_STEPS {
        for crash in [(*step).to_owned(), format!("{step}:2")] {
            let lake = folder.path().join(crash.replace(':', "-"));
            // Only one step is passed twice: retiring comes before deleting.
            let crashes = crash == *step || *step == "maintain-after-retire";
            assert_eq!(maintain_days(&lake, Some(&crash)), !crashes, "{crash}");
            assert_well(&lake, 30).await;
            assert!(maintain_days(&lake, None), "{crash}");
            assert!(contents(&lake) == expected, "{crash}: {:?}", data_files(&lake).keys());
            assert_well(&lake, 30).await;
        }
    }
}
