use std::sync::atomic::Ordering;

use super::*;
use crate::maintenance::{Applied, MaintenancePolicy, maintain};
use crate::read::{DeadLetterReader, RowLocation, audit, dead_letter_files, explain};
use crate::scene::{DAY, PIPELINE, TestPipeline};
use crate::slot::WriterId;

const AUTOMATIC: MaintenancePolicy = MaintenancePolicy {
    compact: Compact::Off,
    letters: Compact::ClosedDays,
    retain_us: None,
    grace_us: Some(0),
    sweep_all: false,
};
const ALL: MaintenancePolicy = MaintenancePolicy { letters: Compact::All, ..AUTOMATIC };

/// Commits one dead letter each, at the same time, and one commit after them, which confirms them.
async fn commits(stream: &mut TestPipeline, count: usize, at_us: i64) {
    stream.clock.set(at_us);
    for _ in 0..count {
        let letters = stream.dead_letters();
        stream.commit(vec![letters]).await;
    }
    stream.commit(vec![]).await;
}

async fn act(stream: &TestPipeline, policy: &MaintenancePolicy) -> Applied {
    let applied = maintain(&stream.lake, PIPELINE, policy, &[], &WriterId::default(), |_| {}).await;
    applied.unwrap().unwrap()
}

/// The offsets of all dead letters that are still in the lake, in the order of their commits.
async fn offsets(stream: &TestPipeline) -> Vec<i64> {
    let mut reader = DeadLetterReader::new(&stream.lake);
    let mut offsets = Vec::new();
    for file in dead_letter_files(&stream.lake, PIPELINE).await.unwrap() {
        let letters = reader.read(&file).await.unwrap().unwrap_or_default();
        offsets.extend(letters.into_iter().map(|letter| letter.position.offset));
    }
    offsets
}

async fn files(stream: &TestPipeline) -> Vec<String> {
    stream.lake.list("_dead_letters", None).await.unwrap()
}

async fn is_well(stream: &TestPipeline) {
    let found = audit(&stream.lake, PIPELINE).await.unwrap();
    assert!(found.is_well() && found.leftovers.is_empty(), "{found}");
}

#[tokio::test]
async fn many_files_of_a_day_become_one_and_every_message_is_found_in_it() {
    let mut stream = TestPipeline::begin(8).await;
    commits(&mut stream, FILES - 1, DAY).await;
    assert!(act(&stream, &AUTOMATIC).await.letters.is_empty(), "there are not many yet");
    commits(&mut stream, 10, DAY + 1).await;
    let all = offsets(&stream).await;
    assert_eq!(all.len(), FILES + 9);

    let made = act(&stream, &AUTOMATIC).await.letters;
    assert_eq!((made.len(), made[0].parts.len()), (1, FILES + 9));
    assert_eq!(offsets(&stream).await, all);
    act(&stream, &AUTOMATIC).await;
    assert_eq!(files(&stream).await, [made[0].name.as_str()]);
    assert_eq!(offsets(&stream).await, all);
    is_well(&stream).await;
    let found = audit(&stream.lake, PIPELINE).await.unwrap().to_string();
    assert!(
        found.starts_with("all is well: 0 files, 73 dead-letter files (73 retired, 1 compacted objects)"),
        "{found}"
    );

    let held = explain(&stream.lake, PIPELINE, &made[0].name).await.unwrap().files;
    assert_eq!(held.len(), FILES + 9);
    assert_eq!(held[5].place, RowLocation::Compacted { object: made[0].name.clone(), first_row: 5 });
}

#[tokio::test]
async fn all_files_of_a_day_that_is_over_become_one_and_those_of_the_next_day_stay() {
    let mut stream = TestPipeline::begin(8).await;
    commits(&mut stream, FILES, DAY).await;
    act(&stream, &AUTOMATIC).await;
    commits(&mut stream, 3, DAY + 1).await;
    assert!(act(&stream, &AUTOMATIC).await.letters.is_empty(), "what was merged waits for the end of the day");
    commits(&mut stream, 2, 2 * DAY).await;
    let all = offsets(&stream).await;
    let made = act(&stream, &AUTOMATIC).await.letters;
    assert_eq!((made.len(), made[0].parts.len(), made[0].rows), (1, FILES + 3, FILES as u64 + 3));
    act(&stream, &AUTOMATIC).await;
    assert_eq!(files(&stream).await.len(), 3, "one object, and two files of the next day");
    assert_eq!(offsets(&stream).await, all);
    is_well(&stream).await;
}

#[tokio::test]
async fn asked_for_the_files_of_a_day_that_is_not_over_become_one_too() {
    let mut stream = TestPipeline::begin(8).await;
    commits(&mut stream, 3, DAY).await;
    assert_eq!(act(&stream, &ALL).await.letters[0].parts.len(), 3);
    assert!(act(&stream, &ALL).await.letters.is_empty(), "one object is left as it is");
}

#[tokio::test]
async fn an_object_of_dead_letters_goes_when_the_newest_of_them_is_old_enough() {
    let mut stream = TestPipeline::begin(8).await;
    commits(&mut stream, 3, DAY).await;
    act(&stream, &ALL).await;
    commits(&mut stream, 1, 3 * DAY).await;
    let retain = MaintenancePolicy { letters: Compact::Off, retain_us: Some(DAY), ..AUTOMATIC };
    let retired = act(&stream, &retain).await.retired;
    assert_eq!(retired, 1);
    act(&stream, &retain).await;
    assert_eq!(files(&stream).await.len(), 1);
    assert_eq!(offsets(&stream).await.len(), 1);
    is_well(&stream).await;
}

/// A process that dies at any write: every message is found at every moment, and the next one finishes.
#[tokio::test]
async fn a_death_at_any_write_loses_no_dead_letter_and_counts_none_twice() {
    let mut deaths = 0;
    for writes in 0.. {
        let mut stream = TestPipeline::begin(8).await;
        commits(&mut stream, 4, DAY).await;
        commits(&mut stream, 2, 2 * DAY).await;
        let all = offsets(&stream).await;
        stream.mortal.writes_left.store(writes, Ordering::SeqCst);
        let died = maintain(&stream.lake, PIPELINE, &ALL, &[], &WriterId::default(), |_| {}).await;
        stream.mortal.writes_left.store(usize::MAX, Ordering::SeqCst);
        assert_eq!(offsets(&stream).await, all, "after {writes} writes");
        assert!(audit(&stream.lake, PIPELINE).await.unwrap().is_well(), "after {writes} writes");
        for _ in 0..2 {
            act(&stream, &MaintenancePolicy { sweep_all: true, ..ALL }).await;
        }
        assert_eq!(offsets(&stream).await, all, "after {writes} writes");
        assert_eq!(files(&stream).await.len(), 2, "after {writes} writes: one object a day");
        is_well(&stream).await;
        if died.is_ok() {
            break;
        }
        deaths += 1;
    }
    assert!(deaths >= 3, "{deaths} deaths");
}
