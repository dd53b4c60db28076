use std::fs;
use std::io::Write as _;

use super::batch::fixtures;
use super::*;

const LIMITS: LogLimits = LogLimits {
    max_message_bytes: 1 << 20,
    segment_bytes: 4_000,
    segment_ms: None,
    retention_ms: None,
    retention_bytes: None,
};

fn open(dir: &Path) -> Log {
    Log::open(dir, 0).unwrap()
}

fn fill(log: &mut Log, batches: usize) {
    for _ in 0..batches {
        log.append(&fixtures::batch(10), &LIMITS, 0).unwrap();
    }
}

/// Base offsets of all batches from `offset` on.
fn read_all(log: &Log, mut offset: i64) -> Vec<i64> {
    let mut out = Vec::new();
    while let Some(slice) = log.read(offset, 1).unwrap() {
        let mut bytes = vec![0; slice.len];
        slice.read(&mut bytes).unwrap();
        let header = BatchHeader::read(&bytes).unwrap();
        assert!(header.is_intact(&bytes));
        out.push(header.base_offset);
        offset = header.last_offset() + 1;
    }
    out
}

fn segment_files(dir: &Path) -> Vec<String> {
    let mut names: Vec<_> = fs::read_dir(dir).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.retain(|name| name.ends_with(".log"));
    names.sort();
    names
}

#[test]
fn batches_come_back_in_order_across_segments_and_a_clean_stop() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = open(dir.path());
    fill(&mut log, 100);
    assert!(log.segments.len() > 3);
    log.close().unwrap();
    let log = open(dir.path());
    assert_eq!((log.start(), log.end()), (0, 1_000));
    assert_eq!(read_all(&log, 0), (0..100).map(|n| n * 10).collect::<Vec<_>>());
    assert_eq!(read_all(&log, 985), [980, 990]);
}

#[test]
fn an_offset_outside_the_log_is_out_of_range_and_the_end_is_not() {
    let mut log = Log::in_memory(Budget::new(u64::MAX));
    fill(&mut log, 2);
    assert!(log.read(20, 1).unwrap().is_none());
    assert_eq!(log.read(21, 1).unwrap_err(), ResponseError::OffsetOutOfRange);
    assert_eq!(log.read(-1, 1).unwrap_err(), ResponseError::OffsetOutOfRange);
}

#[test]
fn a_torn_end_is_truncated_and_appending_continues_there() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = open(dir.path());
    fill(&mut log, 30);
    let newest = log.active().path().unwrap().to_owned();
    drop(log);
    for tail in [fixtures::batch(10)[..90].to_vec(), vec![0; 5_000], b"garbage".to_vec(), vec![0xff; 300]] {
        fs::OpenOptions::new().append(true).open(&newest).unwrap().write_all(&tail).unwrap();
        let log = open(dir.path());
        assert_eq!(log.end(), 300);
        assert_eq!(read_all(&log, 0).len(), 30);
    }
    let mut log = open(dir.path());
    fill(&mut log, 1);
    assert_eq!(read_all(&log, 290), [290, 300]);
}

#[test]
fn however_the_last_batch_is_torn_all_batches_before_it_survive() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = open(dir.path());
    fill(&mut log, 5);
    let file = log.active().path().unwrap().to_owned();
    drop(log);
    let whole = fs::read(&file).unwrap();
    for cut in whole.len() / 5 * 4..whole.len() {
        fs::write(&file, &whole[..cut]).unwrap();
        assert_eq!(open(dir.path()).end(), 40, "cut after {cut} bytes");
        fs::write(&file, &whole).unwrap();
    }
    assert_eq!(open(dir.path()).end(), 50);
}

#[test]
fn a_crash_after_a_clean_stop_checks_only_what_came_since() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = open(dir.path());
    fill(&mut log, 3);
    log.close().unwrap();
    let mut log = open(dir.path());
    fill(&mut log, 2);
    drop(log);
    assert_eq!(read_all(&open(dir.path()), 0), [0, 10, 20, 30, 40]);
}

/// Flips a bit in the middle of a segment and gives its position.
fn damage(file: &Path) -> u64 {
    let mut bytes = fs::read(file).unwrap();
    let half = bytes.len() / 2;
    bytes[half] ^= 1;
    fs::write(file, bytes).unwrap();
    half as u64
}

#[test]
fn damage_before_a_safe_segment_is_refused_with_its_position() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = open(dir.path());
    fill(&mut log, 100);
    let file = log.segments[1].path().unwrap().to_owned();
    log.close().unwrap();
    let at = damage(&file);
    fs::remove_file(file.with_extension("index")).unwrap();
    match Log::open(dir.path(), 0) {
        Err(OpenLogError::Corrupt(corrupt)) => {
            assert_eq!(corrupt.path, file);
            assert!(corrupt.position <= at && corrupt.offset > 0);
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_segment_shorter_than_what_was_safe_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = open(dir.path());
    fill(&mut log, 5);
    let file = log.active().path().unwrap().to_owned();
    log.close().unwrap();
    fs::OpenOptions::new().write(true).open(&file).unwrap().set_len(500).unwrap();
    assert!(matches!(Log::open(dir.path(), 0), Err(OpenLogError::Corrupt(_))));
}

#[test]
fn damage_among_segments_that_were_never_safe_truncates_the_log_there() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = open(dir.path());
    fill(&mut log, 100);
    let file = log.segments[1].path().unwrap().to_owned();
    drop(log);
    damage(&file);
    let mut log = open(dir.path());
    assert_eq!(log.segments.len(), 2);
    assert_eq!(segment_files(dir.path()).len(), 2);
    let end = log.end();
    fill(&mut log, 1);
    assert_eq!(read_all(&log, end), [end]);
}

#[test]
fn a_damaged_index_is_rebuilt() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = open(dir.path());
    fill(&mut log, 100);
    let index = log.segments[1].path().unwrap().with_extension("index");
    log.close().unwrap();
    fs::write(index, "nonsense").unwrap();
    assert_eq!(read_all(&open(dir.path()), 0).len(), 100);
}

#[test]
fn a_batch_sent_twice_is_stored_once_also_after_a_crash() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = open(dir.path());
    for sequence in 0..3 {
        log.append(&fixtures::idempotent(10, 5, 0, sequence * 10), &LIMITS, 0).unwrap();
    }
    drop(log);
    let mut log = open(dir.path());
    let again = log.append(&fixtures::idempotent(10, 5, 0, 10), &LIMITS, 0).unwrap();
    assert_eq!((again.base_offset, log.end()), (10, 30));
    let gap = log.append(&fixtures::idempotent(10, 5, 0, 50), &LIMITS, 0).unwrap_err();
    assert_eq!(gap, ResponseError::OutOfOrderSequenceNumber);
}

#[test]
fn what_a_producer_sent_is_known_although_its_segment_was_closed_and_the_broker_stopped() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = open(dir.path());
    log.append(&fixtures::idempotent(10, 5, 0, 0), &LIMITS, 0).unwrap();
    fill(&mut log, 60);
    log.close().unwrap();
    let mut log = open(dir.path());
    assert_eq!(log.append(&fixtures::idempotent(10, 5, 0, 0), &LIMITS, 0).unwrap().base_offset, 0);
}

#[test]
fn anything_but_one_intact_batch_is_refused_with_the_reason() {
    let mut log = Log::in_memory(Budget::new(1_000));
    let mut refused = |bytes: &[u8]| log.append(bytes, &LIMITS, 0).unwrap_err();
    let batch = fixtures::batch(3);
    assert_eq!(refused(&batch[..70]), ResponseError::CorruptMessage);
    assert_eq!(refused(&[&batch[..], &batch[..]].concat()), ResponseError::InvalidRecord);
    assert_eq!(refused(&fixtures::batch(100_000)), ResponseError::MessageTooLarge);
    let mut flipped = batch.clone();
    flipped[65] ^= 1;
    assert_eq!(refused(&flipped), ResponseError::CorruptMessage);
    assert_eq!(refused(&fixtures::assemble(0x10, &[0], (1, 0, 0), b"")), ResponseError::InvalidTxnState);
    assert_eq!(refused(&fixtures::assemble(0x20, &[0], (-1, -1, -1), b"")), ResponseError::InvalidRecord);
    assert_eq!(refused(&fixtures::assemble(7, &[0], (-1, -1, -1), b"")), ResponseError::UnsupportedCompressionType);
    assert_eq!(refused(&fixtures::batch(100)), ResponseError::PolicyViolation, "the memory is full");
    assert_eq!(log.end(), 0);
}

#[test]
fn deleted_records_stay_deleted() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = open(dir.path());
    fill(&mut log, 100);
    assert_eq!(log.delete_before(1_001), Err(ResponseError::OffsetOutOfRange));
    assert_eq!(log.delete_before(555), Ok(555));
    assert_eq!(log.delete_before(500), Ok(555), "the start never moves back");
    assert!(segment_files(dir.path())[0] > format!("{:020}.log", 400));
    assert_eq!(log.read(554, 1).unwrap_err(), ResponseError::OffsetOutOfRange);
    drop(log);
    let mut log = open(dir.path());
    assert_eq!((log.start(), read_all(&log, 555)[0]), (555, 550));
    assert_eq!(log.delete_before(1_000), Ok(1_000));
    drop(log);
    assert_eq!((open(dir.path()).start(), open(dir.path()).end()), (1_000, 1_000));
}

#[test]
fn retention_by_size_deletes_whole_segments_and_keeps_at_least_the_limit() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = open(dir.path());
    fill(&mut log, 100);
    let limits = LogLimits { retention_bytes: Some(5_000), ..LIMITS };
    assert!(log.apply_retention(&limits, 0));
    assert!(log.bytes() >= 5_000 && log.bytes() < 9_000, "{}", log.bytes());
    assert_eq!(segment_files(dir.path()).len(), log.segments.len());
    assert!(!log.apply_retention(&limits, 0));
}

#[test]
fn retention_by_time_goes_by_the_messages_own_time_and_takes_the_newest_segment_too() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = open(dir.path());
    for time in 0..100 {
        log.append(&fixtures::stamped(&[time * 100; 10]), &LIMITS, 0).unwrap();
    }
    let limits = LogLimits { retention_ms: Some(1_000), ..LIMITS };
    assert!(log.apply_retention(&limits, 6_000));
    assert!(log.start() > 0 && log.start() <= 500);
    assert!(log.apply_retention(&limits, 1_000_000));
    assert_eq!((log.start(), log.end(), log.bytes()), (1_000, 1_000, 0));
    drop(log);
    let mut log = open(dir.path());
    assert_eq!((log.start(), log.end()), (1_000, 1_000));
    fill(&mut log, 1);
    assert_eq!(read_all(&log, 1_000), [1_000]);
}

#[test]
fn a_segment_is_closed_when_it_is_old_enough() {
    let mut log = Log::in_memory(Budget::new(u64::MAX));
    let limits = LogLimits { segment_ms: Some(500), segment_bytes: 1 << 30, ..LIMITS };
    for now in [0, 499, 500, 900, 1_000] {
        log.append(&fixtures::batch(1), &limits, now).unwrap();
    }
    assert_eq!(log.segments.iter().map(|s| s.base_offset).collect::<Vec<_>>(), [0, 2, 4]);
}

#[test]
fn a_time_finds_the_first_message_at_or_after_it() {
    let mut log = Log::in_memory(Budget::new(u64::MAX));
    for base in 0..50 {
        log.append(&fixtures::stamped(&[base * 100, base * 100 + 30, base * 100 + 60]), &LIMITS, 0).unwrap();
    }
    assert_eq!(log.find_time(0), Ok(Some((0, 0))));
    assert_eq!(log.find_time(1_031), Ok(Some((32, 1_060))));
    assert_eq!(log.find_time(1_061), Ok(Some((33, 1_100))));
    assert_eq!(log.find_time(4_961), Ok(None));
    assert_eq!(log.find_latest_time(), Ok(Some((149, 4_960))));
    log.delete_before(35).unwrap();
    assert_eq!(log.find_time(0), Ok(Some((35, 1_160))), "deleted messages are not found");
    assert_eq!(Log::in_memory(Budget::new(0)).find_latest_time(), Ok(None));
}
