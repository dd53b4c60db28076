//! Claims about maintenance beside a stream that a test drives.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;

use super::*;
use crate::format::FileEncoding;
use crate::read::{RowLocation, audit, explain};
use crate::scene::{DAY, MINUTE, PIPELINE, TestPipeline, read_current, rows, shown};

const COMPACT: MaintenancePolicy = MaintenancePolicy {
    compact: Compact::ClosedDays,
    letters: Compact::Off,
    retain_us: None,
    grace_us: None,
    sweep_all: false,
};
const COLLECT: MaintenancePolicy = MaintenancePolicy {
    compact: Compact::Off,
    letters: Compact::Off,
    retain_us: None,
    grace_us: Some(10 * MINUTE),
    sweep_all: true,
};

fn retain(retain_us: i64) -> MaintenancePolicy {
    MaintenancePolicy { retain_us: Some(retain_us), ..COLLECT }
}

async fn act(stream: &TestPipeline, policy: &MaintenancePolicy, loaded: &[LoadedBound]) -> Applied {
    maintain(&stream.lake, PIPELINE, policy, loaded, &crate::slot::WriterId::default(), |_| {}).await.unwrap().unwrap()
}

async fn planned(stream: &TestPipeline, policy: &MaintenancePolicy, loaded: &[LoadedBound]) -> MaintenancePlan {
    plan(&stream.catalog().await, policy, loaded, stream.lake.clock().now_us())
}

/// Publishes the windows of a morning, and then says that the stream has come so far.
async fn stream_until(format: FileEncoding, minutes: &[i64], until_us: i64) -> TestPipeline {
    let mut stream = TestPipeline::begin(8).await;
    stream.format = format;
    for minute in minutes {
        stream.publish(&[(*minute, 1)]).await;
    }
    stream.until_us = until_us;
    stream.commit(vec![]).await;
    stream
}

async fn data_files(stream: &TestPipeline) -> Vec<String> {
    stream.lake.list("window_date=1970-01-01", None).await.unwrap()
}

async fn reads(stream: &TestPipeline, expected: &[(i64, u32)]) {
    let expected: BTreeMap<i64, Vec<String>> =
        expected.iter().map(|(minute, version)| (*minute, rows(*minute, *version))).collect();
    let found = read_current(&stream.lake, &stream.catalog().await).await.unwrap();
    assert_eq!(found, Some(expected));
}

#[tokio::test]
async fn a_day_that_is_over_becomes_one_file_with_the_same_rows() {
    for format in [FileEncoding::CsvGz, FileEncoding::Parquet] {
        let mut stream = stream_until(format, &[0, 5, 10, 15], DAY).await;
        assert!(planned(&stream, &COMPACT, &[]).await.is_empty(), "a window may still reach over midnight");
        stream.until_us = DAY + 5 * MINUTE;
        stream.commit(vec![]).await;
        let applied = act(&stream, &COMPACT, &[]).await;
        assert_eq!((applied.compacted.len(), applied.retired, applied.failed.len()), (1, 4, 0));
        reads(&stream, &[(0, 1), (5, 1), (10, 1), (15, 1)]).await;
        let catalog = stream.catalog().await;
        let current = catalog.current(..);
        assert!(current.iter().all(|extent| extent.object.compacted && extent.object.windows == 4));
        assert_eq!(current.iter().map(|extent| extent.first_row).collect::<Vec<_>>(), [0, 1, 3, 6]);
        assert_eq!(catalog.leaving().len(), 4);
        assert!(planned(&stream, &COMPACT, &[]).await.is_empty(), "once is enough");
        assert!(audit(&stream.lake, PIPELINE).await.unwrap().is_well());
    }
}

#[tokio::test]
async fn a_day_waits_for_its_last_windows_to_be_at_their_names() {
    let mut stream = stream_until(FileEncoding::CsvGz, &[0, 5, 10], DAY).await;
    stream.until_us = 2 * DAY;
    stream.publish(&[(24 * 60 - 5, 1)]).await;
    assert!(planned(&stream, &COMPACT, &[]).await.is_empty(), "the last window may still be on its way");
    let by_hand = planned(&stream, &MaintenancePolicy { compact: Compact::All, ..COMPACT }, &[]).await;
    assert_eq!(by_hand.compact[0].parts.len(), 3, "a person wants what can be had now");
    stream.commit(vec![]).await;
    let applied = act(&stream, &COMPACT, &[]).await;
    assert_eq!((applied.compacted.len(), applied.retired), (1, 4));
    reads(&stream, &[(0, 1), (5, 1), (10, 1), (24 * 60 - 5, 1)]).await;
}

#[tokio::test]
async fn retired_files_go_after_the_grace_for_readers_and_an_audit_does_not_miss_them() {
    let stream = stream_until(FileEncoding::Parquet, &[0, 5, 10], 2 * DAY).await;
    stream.clock.set(7 * DAY);
    act(&stream, &COMPACT, &[]).await;
    stream.clock.set(7 * DAY + 10 * MINUTE - 1);
    let early = planned(&stream, &COLLECT, &[]).await;
    assert_eq!((early.delete.len(), early.keep.len()), (0, 3));
    assert!(early.keep[0].reason.contains("may read it for 10 minutes"), "{}", early.keep[0].reason);
    act(&stream, &COLLECT, &[]).await;
    assert_eq!(data_files(&stream).await.len(), 4);
    stream.clock.set(7 * DAY + 10 * MINUTE);
    assert_eq!(act(&stream, &COLLECT, &[]).await.deleted, 3);
    assert_eq!(data_files(&stream).await.len(), 1);
    assert_eq!(stream.catalog().await.leaving(), []);
    reads(&stream, &[(0, 1), (5, 1), (10, 1)]).await;
    let found = audit(&stream.lake, PIPELINE).await.unwrap();
    assert!(found.is_well() && (found.retired, found.compacted) == (3, 1), "{found}");
}

#[tokio::test]
async fn a_correction_after_a_compaction_is_what_readers_read_and_a_later_one_folds_it_in() {
    let mut stream = stream_until(FileEncoding::CsvGz, &[0, 5, 10, 15, 20, 25, 30, 35, 40, 45, 55, 59], 2 * DAY).await;
    let others = [5, 10, 15, 20, 25, 30, 35, 40, 45, 55, 59].map(|minute| (minute, 1));
    act(&stream, &COMPACT, &[]).await;
    stream.publish(&[(0, 2)]).await;
    let corrected: Vec<_> = [(0, 2)].into_iter().chain(others).collect();
    reads(&stream, &corrected).await;
    assert_eq!(stream.catalog().await.current(..)[1].object.windows, 11, "the first window's rows are skipped");
    assert!(
        planned(&stream, &MaintenancePolicy { compact: Compact::All, ..COMPACT }, &[]).await.compact.is_empty(),
        "the ledger does not say yet that the correction is at its final name"
    );
    stream.commit(vec![]).await;
    assert!(planned(&stream, &COMPACT, &[]).await.compact.is_empty(), "one small file is not worth it");
    let applied = act(&stream, &MaintenancePolicy { compact: Compact::All, ..COMPACT }, &[]).await;
    assert_eq!((applied.compacted.len(), applied.retired), (1, 2), "the correction and the object before");
    reads(&stream, &corrected).await;
    let catalog = stream.catalog().await;
    assert_eq!(catalog.current(..)[0].object.windows, 12);
    let superseded = catalog.extent(0, 5 * MINUTE, 1).unwrap();
    assert!(superseded.gone && !superseded.current);
    assert!(audit(&stream.lake, PIPELINE).await.unwrap().is_well());
}

#[tokio::test]
async fn windows_are_retired_when_their_time_has_come_and_every_warehouse_has_loaded_them() {
    let mut stream = stream_until(FileEncoding::CsvGz, &[0, 5], DAY).await;
    stream.publish(&[(12 * 60, 1)]).await;
    stream.commit(vec![]).await;
    let bound = |target: &str, seq| LoadedBound { target: target.into(), seq };
    let half_a_day = retain(DAY / 2);

    let unloaded = planned(&stream, &half_a_day, &[bound("embedded", Some(9)), bound("postgres", Some(2))]).await;
    assert_eq!((unloaded.retire.len(), unloaded.keep.len()), (1, 1));
    assert_eq!(
        unloaded.retire[0].reason,
        "window ended 1970-01-01T00:05Z, retained for 12 hours, loaded by embedded (seq 9) and postgres (seq 2)"
    );
    assert_eq!(unloaded.keep[0].reason, "not loaded by postgres yet: it is at seq 2, the rows are of seq 3");
    let unknown = planned(&stream, &half_a_day, &[bound("embedded", None)]).await;
    assert_eq!((unknown.retire.len(), unknown.keep.len()), (0, 2));
    assert_eq!(unknown.keep[0].reason, "whether embedded has loaded it is not known");

    let applied = act(&stream, &half_a_day, &[]).await;
    assert_eq!(applied.retired, 2);
    reads(&stream, &[(12 * 60, 1)]).await;
    stream.clock.set(DAY);
    assert_eq!(act(&stream, &half_a_day, &[]).await.deleted, 2);
    assert_eq!(data_files(&stream).await.len(), 1);
    assert!(audit(&stream.lake, PIPELINE).await.unwrap().is_well());

    // A correction of a window that is gone brings it back whole, until its time has come again.
    stream.publish(&[(0, 2)]).await;
    reads(&stream, &[(0, 2), (12 * 60, 1)]).await;
}

#[tokio::test]
async fn a_compacted_object_is_retired_as_a_whole_when_its_last_window_is_old() {
    let mut stream = stream_until(FileEncoding::CsvGz, &[0, 5, 23 * 60], 2 * DAY).await;
    act(&stream, &COMPACT, &[]).await;
    let retain_a_day = retain(DAY);
    assert!(planned(&stream, &retain_a_day, &[]).await.retire.is_empty() || stream.until_us >= 2 * DAY);
    stream.until_us = 2 * DAY + 6 * MINUTE;
    stream.commit(vec![]).await;
    let due = planned(&stream, &retain_a_day, &[LoadedBound { target: "embedded".into(), seq: Some(3) }]).await;
    assert_eq!(due.keep[0].reason, "not loaded by embedded yet: it is at seq 3, the rows are of seq 4");
    let due = planned(&stream, &retain_a_day, &[]).await;
    assert_eq!(due.retire.len(), 1);
    assert_eq!(
        due.retire[0].reason,
        "the last of 3 windows ended 1970-01-01T23:05Z, retained for 1 day, no warehouse loads it"
    );
    assert!(
        planned(&stream, &MaintenancePolicy { compact: Compact::All, ..retain_a_day }, &[]).await.compact.is_empty(),
        "what is about to go is not compacted"
    );
    act(&stream, &retain_a_day, &[]).await;
    assert_eq!(shown(&stream.catalog().await.current(..)), []);
}

#[tokio::test]
async fn dead_letters_go_by_the_time_at_which_they_were_written() {
    let mut stream = TestPipeline::begin(8).await;
    for day in 0..3 {
        stream.clock.set(day * DAY);
        let letters = stream.dead_letters();
        stream.commit(vec![letters]).await;
    }
    stream.commit(vec![]).await;
    let unloaded = [LoadedBound { target: "postgres".into(), seq: Some(0) }];
    let plan = planned(&stream, &retain(DAY), &unloaded).await;
    let reasons: Vec<_> = plan.retire.iter().map(|object| object.reason.as_str()).collect();
    assert_eq!(
        reasons,
        ["written 1970-01-01T00:00Z, retained for 1 day", "written 1970-01-02T00:00Z, retained for 1 day"]
    );
    act(&stream, &retain(DAY), &unloaded).await;
    let gone: Vec<bool> = stream.catalog().await.dead_letters().iter().map(|file| file.gone).collect();
    assert_eq!(gone, [true, true, false]);
    stream.clock.set(5 * DAY);
    assert_eq!(act(&stream, &COLLECT, &[]).await.deleted, 2);
    assert_eq!(stream.catalog().await.dead_letters().len(), 1);
}

#[tokio::test]
async fn what_is_staged_or_pending_is_never_touched() {
    let mut stream = TestPipeline::begin(8).await;
    stream.until_us = 9 * DAY;
    stream.publish(&[(0, 1), (5, 1)]).await;
    let policy = MaintenancePolicy { compact: Compact::All, ..retain(DAY) };
    assert_eq!(planned(&stream, &policy, &[]).await.retire, []);
    let pending = stream.window(0, 1).name;
    stream.delete(&pending).await;
    assert_eq!(planned(&stream, &policy, &[]).await.retire, []);
    stream.commit(vec![]).await;
    assert_eq!(planned(&stream, &policy, &[]).await.retire.len(), 2, "the ledger says that they are there");
}

#[tokio::test]
async fn a_file_that_changed_is_named_and_its_day_is_left_as_it_is() {
    let stream = stream_until(FileEncoding::CsvGz, &[0, 5, 1440, 1445], 3 * DAY).await;
    let name = stream.window(5, 1).name;
    stream.delete(&name).await;
    stream.lake.create(&name, "other bytes".into()).await.unwrap();
    let applied = act(&stream, &COMPACT, &[]).await;
    assert_eq!(applied.compacted.len(), 1, "the other day is compacted");
    let [MaintenanceError::Changed { name: named, .. }] = applied.failed.as_slice() else { panic!("{applied:?}") };
    assert_eq!(*named, name);
    assert_eq!(stream.catalog().await.extent(0, 5 * MINUTE, 1).unwrap().object.name.as_ref(), stream.window(0, 1).name);
}

#[tokio::test]
async fn of_two_that_maintain_at_once_one_wins_and_the_other_leaves_nothing_behind() {
    let stream = stream_until(FileEncoding::CsvGz, &[0, 5], 2 * DAY).await;
    let catalog = stream.catalog().await;
    let plan = planned(&stream, &COMPACT, &[]).await;
    let writer = crate::slot::WriterId::default();
    let first = apply(&stream.lake, &catalog, &plan, &writer, |_| {}).await.unwrap();
    let second = apply(&stream.lake, &catalog, &plan, &writer, |_| {}).await.unwrap();
    assert!(!first.raced && second.raced && second.compacted.is_empty());
    assert_eq!(data_files(&stream).await.len(), 3);
    reads(&stream, &[(0, 1), (5, 1)]).await;
    assert!(audit(&stream.lake, PIPELINE).await.unwrap().is_well());
}

#[tokio::test]
async fn explain_leads_from_a_compacted_object_and_from_its_windows_to_their_messages() {
    let stream = stream_until(FileEncoding::CsvGz, &[0, 5], 2 * DAY).await;
    let object = act(&stream, &COMPACT, &[]).await.compacted.remove(0).name;
    for what in [object.as_str(), object.split_once('/').unwrap().1] {
        let found = explain(&stream.lake, PIPELINE, what).await.unwrap().files;
        let names: Vec<_> = found.iter().map(|published| published.file.name.clone()).collect();
        assert_eq!(names, [stream.window(0, 1).name, stream.window(5, 1).name]);
        assert_eq!(found[1].file.sources, stream.window(5, 1).sources);
        assert_eq!(found[1].place, RowLocation::Compacted { object: object.clone(), first_row: 1 });
    }
    let found = explain(&stream.lake, PIPELINE, "1970-01-01T00:05Z").await.unwrap().files;
    assert_eq!((found.len(), &found[0].place), (1, &RowLocation::Compacted { object: object.clone(), first_row: 1 }));
    act(&stream, &retain(DAY / 2), &[]).await;
    let found = explain(&stream.lake, PIPELINE, "1970-01-01T00:05Z").await.unwrap().files;
    assert!(matches!(&found[0].place, RowLocation::Retired { reason, .. } if reason.contains("retained")), "{found:?}");
}

/// A process that dies at any write of maintenance: readers read the same at every moment, and the next one finishes.
#[tokio::test]
async fn a_death_at_any_write_changes_nothing_that_readers_read() {
    let expected = [(0, 1), (5, 2), (10, 1), (1440, 1), (1445, 1)];
    let mut deaths = 0;
    for writes in 0.. {
        let mut stream = stream_until(FileEncoding::CsvGz, &[-1440, -1435, 0, 5, 10, 1440, 1445], 3 * DAY).await;
        stream.publish(&[(5, 2)]).await;
        stream.commit(vec![]).await;
        let policy = MaintenancePolicy { compact: Compact::All, ..retain(3 * DAY) };
        stream.mortal.writes_left.store(writes, Ordering::SeqCst);
        let died = maintain(&stream.lake, PIPELINE, &policy, &[], &crate::slot::WriterId::default(), |_| {}).await;
        stream.mortal.writes_left.store(usize::MAX, Ordering::SeqCst);
        let current = read_current(&stream.lake, &stream.catalog().await).await.unwrap().unwrap();
        for (minute, version) in expected {
            assert_eq!(current.get(&minute), Some(&rows(minute, version)), "after {writes} writes");
        }
        let found = audit(&stream.lake, PIPELINE).await.unwrap();
        assert!(found.is_well(), "after {writes} writes: {found}");

        act(&stream, &MaintenancePolicy { sweep_all: true, ..policy }, &[]).await;
        stream.clock.set(DAY);
        act(&stream, &policy, &[]).await;
        reads(&stream, &expected).await;
        let found = audit(&stream.lake, PIPELINE).await.unwrap();
        assert!(found.is_well() && found.leftovers.is_empty(), "after {writes} writes: {found}");
        assert_eq!(
            stream.lake.list("window_date=1970-01-01", None).await.unwrap().len(),
            2,
            "one object, and version 1"
        );
        if died.is_ok() {
            break;
        }
        deaths += 1;
    }
    assert!(deaths >= 5, "{deaths} deaths");
}
