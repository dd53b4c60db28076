//! Claims about catalogs, against an oracle that reads the whole ledger.

use std::collections::BTreeMap;

use turnstile_message::{Counters, PartitionPosition};

use super::*;
use crate::format::{FileEncoding, window_name};
use crate::ledger::Commit;
use crate::maintenance::{Compact, MaintenancePolicy, maintain};
use crate::read::{entries, published_since};
use crate::scene::{MINUTE, PIPELINE, TestPipeline, excluded, shown};
use crate::slot::{FileKind, WriterId};

#[tokio::test]
async fn readers_read_the_highest_version_of_each_window() {
    let mut stream = TestPipeline::begin(1024).await;
    stream.publish(&[(0, 1), (5, 1)]).await;
    let seq = stream.publish(&[(10, 1), (0, 2)]).await;
    let catalog = stream.catalog().await;
    assert_eq!(shown(&catalog.current(..)), [(0, 2), (5, 1), (10, 1)]);
    assert_eq!(shown(&catalog.history()), [(0, 1), (0, 2), (5, 1), (10, 1)]);
    assert_eq!(catalog.position(), CatalogPosition { seq, maintenance: 0 });
    let corrected = catalog.extent(0, 5 * MINUTE, 2).unwrap();
    assert_eq!((corrected.seq, corrected.rows, corrected.object.windows), (seq, 2, 1));
    let superseded = catalog.extent(0, 5 * MINUTE, 1).unwrap();
    assert!(!superseded.current && !superseded.gone && superseded.object.windows == 0);
    assert_eq!(
        corrected.object.name.as_ref(),
        window_name("window_date", PIPELINE, 0, 5 * MINUTE, 2, FileEncoding::CsvGz)
    );
}

#[tokio::test]
async fn a_range_shows_the_windows_that_overlap_it_over_midnight_too() {
    const DAY: i64 = 24 * 60;
    let mut stream = TestPipeline::begin(1024).await;
    stream.publish(&[(DAY - 7, 1), (DAY - 2, 1), (DAY + 3, 1), (-3, 1)]).await;
    let catalog = stream.catalog().await;
    let between = |from: i64, until: i64| shown(&catalog.current(from * MINUTE..until * MINUTE));
    assert_eq!(between(DAY, DAY + 3), [(DAY - 2, 1)]);
    assert_eq!(between(DAY, DAY + 4), [(DAY - 2, 1), (DAY + 3, 1)]);
    assert_eq!(between(DAY - 3, DAY - 2), [(DAY - 7, 1)]);
    assert_eq!(between(0, 1), [(-3, 1)]);
    assert_eq!(between(1, 1), []);
    assert_eq!(shown(&catalog.current((DAY + 3) * MINUTE..)), [(DAY + 3, 1)]);
    assert_eq!(shown(&catalog.current(..=-3 * MINUTE)), [(-3, 1)]);
}

#[tokio::test]
async fn a_pipeline_without_a_ledger_has_no_catalog() {
    let lake = TestPipeline::begin(8).await.lake;
    assert!(Catalog::read(&lake, "stations").await.unwrap().is_none());
    assert!(published_since(&lake, "stations", 0).await.unwrap().is_none());
}

#[tokio::test]
async fn a_commit_that_is_not_published_yet_is_left_out_with_those_after_it() {
    let mut stream = TestPipeline::begin(1024).await;
    let whole = stream.publish(&[(0, 1)]).await;
    stream.publish(&[(0, 2), (5, 1)]).await;
    let missing = window_name("window_date", PIPELINE, 0, 5 * MINUTE, 2, FileEncoding::CsvGz);
    let bytes = stream.lake.read(&missing).await.unwrap().unwrap();
    // As a crash between the slot and the last file leaves it.
    stream.delete(&missing).await;
    let before = stream.catalog().await;
    assert_eq!((before.position().seq, before.newest().seq), (whole, whole + 1));
    assert_eq!((shown(&before.current(..)), before.waiting()), (vec![(0, 1)], &[missing.clone()][..]));
    let since = published_since(&stream.lake, PIPELINE, whole).await.unwrap().unwrap();
    assert_eq!((since.until, since.commits.len()), (whole, 0));

    let mut stream = stream.restarted().await;
    assert_eq!(stream.lake.read(&missing).await.unwrap().unwrap(), bytes, "the start publishes it");
    let after = before.advance(&stream.lake).await.unwrap();
    assert_eq!((shown(&after.current(..)), after.waiting().len()), (vec![(0, 2), (5, 1)], 0));
    stream.publish(&[(10, 1)]).await;
    assert_eq!(shown(&after.advance(&stream.lake).await.unwrap().current(..)), [(0, 2), (5, 1), (10, 1)]);
}

#[tokio::test]
async fn a_foreign_file_at_a_final_name_is_not_read() {
    let mut stream = TestPipeline::begin(1024).await;
    stream.publish(&[(0, 1)]).await;
    let name = window_name("window_date", PIPELINE, 0, 5 * MINUTE, 1, FileEncoding::CsvGz);
    stream.delete(&name).await;
    stream.lake.create(&name, "by hand".into()).await.unwrap();
    assert_eq!((stream.catalog().await.current(..), stream.catalog().await.waiting()), (vec![], &[name][..]));
}

#[tokio::test]
async fn a_catalog_that_advances_is_the_one_that_is_read_afresh() {
    let mut stream = TestPipeline::begin(4).await;
    let mut advancing = stream.catalog().await;
    let mut random = 7u64;
    for step in 0..120u64 {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let minute = (step * 37 % 60 * 120) as i64;
        match (random >> 33) % 4 {
            0 => drop(stream.commit(vec![]).await),
            1 => {
                let letters = stream.dead_letters();
                stream.commit(vec![letters]).await;
            }
            _ => drop(stream.publish(&[(minute, step as u32 + 1)]).await),
        }
        if (random >> 40).is_multiple_of(3) {
            advancing = advancing.advance(&stream.lake).await.unwrap();
            let fresh = stream.catalog().await;
            assert_eq!(advancing.inner.table, fresh.inner.table, "step {step}");
            assert_eq!(advancing.position(), fresh.position());
            agrees_with_the_ledger(&stream, &fresh).await;
        }
    }
}

async fn agrees_with_the_ledger(stream: &TestPipeline, catalog: &Catalog) {
    let mut highest = BTreeMap::new();
    let mut letters = Vec::new();
    for published in entries(&stream.lake, PIPELINE).await.unwrap() {
        match published.file.kind {
            FileKind::Window { start_us, version, .. } => {
                let counts = highest.entry(start_us / MINUTE).or_insert(0);
                *counts = version.max(*counts);
            }
            FileKind::DeadLetters => letters.push(published.file.name),
        }
    }
    assert_eq!(shown(&catalog.current(..)), highest.into_iter().collect::<Vec<_>>());
    let names: Vec<String> = catalog.dead_letters().iter().map(|file| file.name.to_string()).collect();
    assert_eq!(names, letters);
}

#[tokio::test]
async fn what_was_published_since_a_commit_is_the_rest_of_the_ledger() {
    let mut stream = TestPipeline::begin(4).await;
    for step in 0..30 {
        stream.publish(&[(step * 5, 1)]).await;
    }
    let all = published_since(&stream.lake, PIPELINE, 0).await.unwrap().unwrap();
    assert_eq!((all.until, all.commits.len()), (31, 31));
    for after in 0..=31 {
        let since = published_since(&stream.lake, PIPELINE, after).await.unwrap().unwrap();
        assert_eq!(since.commits, all.commits[after as usize..], "after {after}");
    }
    let error = published_since(&stream.lake, PIPELINE, 32).await.unwrap_err();
    assert!(
        matches!(&error, LedgerError::Corrupt { reason, .. } if reason.to_string().contains("commit 32")),
        "{error}"
    );
}

#[tokio::test]
async fn nothing_that_lies_before_a_position_is_read_again() {
    let mut stream = TestPipeline::begin(4).await;
    for step in 0..30 {
        stream.publish(&[(step * 5, 1)]).await;
    }
    let catalog = stream.catalog().await;
    // Whoever reads these would find them missing.
    let history = stream.lake.list("_turnstile/mta/history", None).await.unwrap();
    let newest = stream.ledger.newest().history.unwrap().last;
    assert!(history.len() as u64 >= newest / 4 && newest > 20);
    stream.lake.delete(&history[..history.len() - 2]).await.unwrap();
    stream.publish(&[(150, 1)]).await;
    assert_eq!(catalog.advance(&stream.lake).await.unwrap().current(..).len(), 31);
    assert_eq!(
        published_since(&stream.lake, PIPELINE, newest).await.unwrap().unwrap().commits.len() as u64,
        32 - newest
    );
    assert!(Catalog::read(&stream.lake, PIPELINE).await.is_err(), "the whole chain is no longer there");
}

#[tokio::test]
async fn a_ledger_that_is_another_one_is_not_taken_for_the_same() {
    let mut stream = TestPipeline::begin(1024).await;
    stream.publish(&[(0, 1)]).await;
    let catalog = stream.catalog().await;
    let mut other = TestPipeline::begin(1024).await;
    for minute in 0..3 {
        other.publish(&[(minute * 5, 2)]).await;
    }
    let error = catalog.advance(&other.lake).await.unwrap_err();
    assert!(matches!(error, LedgerError::Corrupt { .. }), "{error}");
}

#[tokio::test]
async fn a_checkpoint_stands_for_all_that_lies_before_it() {
    let mut stream = TestPipeline::begin(4).await;
    for step in 0..20 {
        stream.publish(&[(step * 300, 1), (step * 300, 2)]).await;
        let letters = stream.dead_letters();
        stream.commit(vec![letters]).await;
    }
    let whole = stream.catalog().await;
    whole.write_checkpoint(&stream.lake).await.unwrap();
    stream.publish(&[(0, 3), (9_000, 1)]).await;
    let fresh = stream.catalog().await;
    assert_eq!(fresh.inner.table, whole.advance(&stream.lake).await.unwrap().inner.table);
    agrees_with_the_ledger(&stream, &fresh).await;

    for step in 40..60 {
        stream.publish(&[(step * 300, 1)]).await;
    }
    let history = stream.lake.list("_turnstile/mta/history", None).await.unwrap();
    let before: Vec<String> =
        history.iter().filter(|name| **name < format!("_turnstile/mta/history/{:020}", 37)).cloned().collect();
    assert!(before.len() > 8 && before.len() < history.len(), "{history:?}");
    stream.lake.delete(&before).await.unwrap();
    assert_eq!(stream.catalog().await.current(..).len(), 41, "what lies before it is not read");
}

#[tokio::test]
async fn late_rows_and_duplicates_add_up_by_window_from_the_first_commit_that_counts_them() {
    let mut stream = TestPipeline::begin(4).await;
    let expected = |from: u64, until: u64, window: i64| {
        let of_window = (from..=until).map(excluded).filter(|one| one.start_us == window * 5 * MINUTE);
        of_window.fold((0, 0), |sum, one| (sum.0 + one.late, sum.1 + one.duplicates))
    };
    let counted = |catalog: &Catalog, window: i64| {
        let found = catalog.excluded(window * 5 * MINUTE, (window + 1) * 5 * MINUTE);
        (found.late, found.duplicates)
    };
    for minute in 0..20 {
        stream.publish(&[(minute * 5, 1)]).await;
    }
    let catalog = stream.catalog().await;
    catalog.write_checkpoint(&stream.lake).await.unwrap();
    for minute in 20..23 {
        stream.publish(&[(minute * 5, 1)]).await;
    }
    let catalog = stream.catalog().await;
    assert_eq!(catalog.excluded_from(), 0);
    for window in 0..7 {
        assert_eq!(counted(&catalog, window), expected(1, 23, window), "{window}");
    }
    assert_eq!(counted(&catalog, 99), (0, 0));
    // An earlier release commits, and this one goes on.
    let newest = catalog.newest().clone();
    let counters = Counters { read: 30, aggregated: 30, ..newest.counters.clone() };
    let positions = newest.positions.iter().map(|at| PartitionPosition { next_offset: 30, ..at.clone() }).collect();
    let by_the_other =
        Commit { positions, counters, published_until_us: newest.published_until_us, ..Commit::default() };
    let seq = stream.ledger.commit(by_the_other).await.unwrap().seq;
    assert_eq!(catalog.advance(&stream.lake).await.unwrap().excluded_from(), seq + 1);
    assert_eq!(stream.catalog().await.excluded_from(), seq + 1);
}

#[tokio::test]
async fn a_checkpoint_that_is_damaged_or_of_another_ledger_is_passed_over() {
    for of_another in [false, true] {
        let mut stream = TestPipeline::begin(4).await;
        for step in 0..10 {
            stream.publish(&[(step * 5, 1)]).await;
        }
        let mut other = TestPipeline::begin(4).await;
        for step in 0..9 {
            other.publish(&[(step * 5, 7)]).await;
        }
        let foreign = other.catalog().await.encode();
        let bytes = if of_another { foreign } else { foreign[..foreign.len() - 9].to_vec() };
        let name = format!("_turnstile/{PIPELINE}/catalog/{:020}-{:020}.jsonl.gz", 10, 0);
        assert!(stream.lake.create(&name, bytes.into()).await.unwrap());
        agrees_with_the_ledger(&stream, &stream.catalog().await).await;
        // Also when the slot that it stands on is rolled up by now.
        for step in 10..30 {
            stream.publish(&[(step * 5, 1)]).await;
        }
        agrees_with_the_ledger(&stream, &stream.catalog().await).await;
    }
}

#[tokio::test]
async fn checkpoints_are_written_when_due_and_two_stay() {
    let mut stream = TestPipeline::begin(512).await;
    for round in 0..4 {
        let catalog = stream.catalog().await;
        assert_eq!(catalog.checkpoint(&stream.lake).await.unwrap(), round > 0);
        assert!(!catalog.checkpoint(&stream.lake).await.unwrap(), "it was just written");
        for _ in 0..1_024 {
            stream.commit(vec![]).await;
        }
    }
    assert_eq!(stream.lake.list("_turnstile/mta/catalog", None).await.unwrap().len(), 2);
}

#[tokio::test]
async fn a_checkpoint_of_a_release_that_knew_no_objects_of_dead_letters_hides_none() {
    let mut stream = TestPipeline::begin(1024).await;
    for _ in 0..3 {
        let letters = stream.dead_letters();
        stream.commit(vec![letters]).await;
    }
    stream.commit(vec![]).await;
    let policy = MaintenancePolicy { letters: Compact::All, ..MaintenancePolicy::default() };
    maintain(&stream.lake, PIPELINE, &policy, &[], &WriterId::default(), |_| {}).await.unwrap();
    let whole = stream.catalog().await;
    assert_eq!(whole.letters_objects().count(), 1);
    // The same checkpoint as this release writes it, and as the other would have.
    let text = std::io::read_to_string(flate2::read::GzDecoder::new(&whole.encode()[..])).unwrap();
    let count = text.lines().count() as u64 - 1;
    let older = text.lines().filter(|line| !line.starts_with("{\"letters\":")).map(|line| format!("{line}\n"));
    let older: String = older.collect();
    let older = older
        .replace(",\"letters\":true", "")
        .replace(&format!("\"lines\":{count}"), &format!("\"lines\":{}", count - 1));
    assert_ne!(older, text);
    for text in [text, older] {
        let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        std::io::Write::write_all(&mut packed, text.as_bytes()).unwrap();
        let at = whole.position();
        let name = format!("_turnstile/{PIPELINE}/catalog/{:020}-{:020}.jsonl.gz", at.seq, at.maintenance);
        assert!(stream.lake.create(&name, packed.finish().unwrap().into()).await.unwrap());
        assert_eq!(stream.catalog().await.inner.table, whole.inner.table);
        stream.delete(&name).await;
    }
}
