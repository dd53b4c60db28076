//! The columns of the ledger's tables.

use std::borrow::Cow;
use std::sync::Arc;

use turnstile_lake::{CommitRecord, FileEntry, FileKind, OwnedDeadLetter};
use turnstile_message::OffsetRange;

use super::record_column::ColumnValue::{Instant, Number, Text};
use super::record_column::RecordColumn;

/// A file and the commit that published it.
pub(super) struct CommitFile {
    commit: Arc<CommitRecord>,
    file: usize,
}

/// A range of offsets that a file was made from.
pub(super) struct FileRange {
    file: CommitFile,
    range: usize,
}

/// A dead letter and the file that holds it.
pub(super) struct DeadLetterRow {
    pub(super) letter: OwnedDeadLetter,
    pub(super) file: Arc<str>,
}

pub(super) const FILES: [RecordColumn<CommitFile>; 13] = [
    RecordColumn::nullable("name", Text(|row| borrowed(&row.file().name))),
    RecordColumn::nullable("kind", Text(|row| borrowed(kind_word(&row.file().kind)))),
    RecordColumn::nullable("window_start", Instant(|row| row.window().map(|(start_us, ..)| start_us))),
    RecordColumn::nullable("window_end", Instant(|row| row.window().map(|(_, end_us, _)| end_us))),
    RecordColumn::nullable("version", Number(|row| row.window().map(|(.., version)| version.into()))),
    RecordColumn::nullable("rows", Number(|row| count(row.file().rows))),
    RecordColumn::nullable("bytes", Number(|row| count(row.file().bytes))),
    RecordColumn::nullable("messages", Number(|row| count(row.file().messages()))),
    RecordColumn::nullable("sha256", Text(|row| Some(Cow::from(row.file().sha256.to_string())))),
    RecordColumn::nullable("seq", Number(|row| count(row.commit.seq))),
    RecordColumn::nullable("epoch", Number(|row| count(row.commit.epoch))),
    RecordColumn::nullable("host", Text(|row| borrowed(&row.commit.host))),
    RecordColumn::nullable("committed_at", Instant(|row| Some(row.commit.committed_at_us))),
];

pub(super) const OFFSETS: [RecordColumn<FileRange>; 6] = [
    RecordColumn::nullable("file", Text(|row| borrowed(&row.file.file().name))),
    RecordColumn::nullable("topic", Text(|row| borrowed(&row.range().partition.topic))),
    RecordColumn::nullable("partition", Number(|row| Some(row.range().partition.partition.into()))),
    RecordColumn::nullable("first_offset", Number(|row| Some(row.range().first))),
    RecordColumn::nullable("last_offset", Number(|row| Some(row.range().last))),
    RecordColumn::nullable("messages", Number(|row| count(row.range().messages))),
];

pub(super) const CONSERVATION: [RecordColumn<Arc<CommitRecord>>; 10] = [
    RecordColumn::nullable("seq", Number(|commit| count(commit.seq))),
    RecordColumn::nullable("committed_at", Instant(|commit| Some(commit.committed_at_us))),
    RecordColumn::nullable("read", Number(|commit| count(commit.counters.read))),
    RecordColumn::nullable("aggregated", Number(|commit| count(commit.counters.aggregated))),
    RecordColumn::nullable("filtered", Number(|commit| count(commit.counters.filtered))),
    RecordColumn::nullable("duplicate", Number(|commit| count(commit.counters.duplicate))),
    RecordColumn::nullable("late", Number(|commit| count(commit.counters.late))),
    RecordColumn::nullable("dead_lettered", Number(|commit| count(commit.counters.dead_lettered))),
    RecordColumn::nullable("tombstones", Number(|commit| count(commit.counters.tombstones))),
    RecordColumn::nullable("difference", Number(|commit| Some(difference(commit)))),
];

pub(super) const DEAD_LETTERS: [RecordColumn<DeadLetterRow>; 9] = [
    RecordColumn::nullable("topic", Text(|row| borrowed(&row.letter.position.partition.topic))),
    RecordColumn::nullable("partition", Number(|row| Some(row.letter.position.partition.partition.into()))),
    RecordColumn::nullable("offset", Number(|row| Some(row.letter.position.offset))),
    RecordColumn::nullable("timestamp", Instant(|row| Some(row.letter.timestamp_ms * 1000))),
    RecordColumn::nullable("reason", Text(|row| borrowed(&row.letter.reason))),
    RecordColumn::nullable("field", Text(|row| row.letter.field.as_deref().map(Cow::from))),
    RecordColumn::nullable("key", Text(|row| row.letter.key.as_deref().map(String::from_utf8_lossy))),
    RecordColumn::nullable("value", Text(|row| row.letter.value.as_deref().map(String::from_utf8_lossy))),
    RecordColumn::nullable("file", Text(|row| borrowed(&row.file))),
];

/// The rows of `files`.
pub(super) fn files_of(commit: Arc<CommitRecord>) -> Vec<CommitFile> {
    (0..commit.files.len()).map(|file| CommitFile { commit: commit.clone(), file }).collect()
}

/// The rows of `offsets`.
pub(super) fn offsets_of(commit: Arc<CommitRecord>) -> Vec<FileRange> {
    let ranges = |(file, entry): (usize, &FileEntry)| {
        let commit = commit.clone();
        let row = move |range| FileRange { file: CommitFile { commit: commit.clone(), file }, range };
        (0..entry.sources.len()).map(row)
    };
    commit.files.iter().enumerate().flat_map(ranges).collect()
}

impl CommitFile {
    fn file(&self) -> &FileEntry {
        &self.commit.files[self.file]
    }

    /// First instant, end and version of a window's file.
    fn window(&self) -> Option<(i64, i64, u32)> {
        match self.file().kind {
            FileKind::Window { start_us, end_us, version } => Some((start_us, end_us, version)),
            FileKind::DeadLetters => None,
        }
    }
}

impl FileRange {
    fn range(&self) -> &OffsetRange {
        &self.file.file().sources[self.range]
    }
}

fn kind_word(kind: &FileKind) -> &'static str {
    match kind {
        FileKind::Window { .. } => "window",
        FileKind::DeadLetters => "dead_letters",
    }
}

fn difference(commit: &CommitRecord) -> i64 {
    let c = &commit.counters;
    let terms = [c.aggregated, c.filtered, c.duplicate, c.late, c.dead_lettered, c.tombstones];
    c.read as i64 - terms.iter().sum::<u64>() as i64
}

fn borrowed(text: &str) -> Option<Cow<'_, str>> {
    Some(Cow::from(text))
}

fn count(number: u64) -> Option<i64> {
    Some(number as i64)
}
