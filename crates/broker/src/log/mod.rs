//! The log of one partition: segments of record batches, oldest first.
//!
//! In: one record batch at a time. Out: slices of whole batches by offset, offsets by time.
//! Knows nothing of topics, requests and waiting clients; reads no clock. Start at [`Log::append`].

pub(crate) mod batch;
mod medium;
mod producers;
mod record_search;
mod recovery;
mod segment;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use kafka_protocol::ResponseError;

use batch::{BatchHeader, head_at};
pub(crate) use medium::{Budget, SegmentStorage};
use producers::{ProducerStateManager, SequenceCheck};
pub use recovery::CorruptLog;
use recovery::IndexFile;
pub(crate) use recovery::OpenLogError;
pub(crate) use segment::{LogSegment, Slice};

use crate::state_file;

/// The only leader epoch: one broker leads from the first batch on.
pub(crate) const LEADER_EPOCH: i32 = 0;

/// Holds the first offset that DeleteRecords left readable.
const START_FILE: &str = "start";

/// What a topic allows and keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LogLimits {
    pub(crate) max_message_bytes: u32,
    pub(crate) segment_bytes: u64,
    pub(crate) segment_ms: Option<u64>,
    pub(crate) retention_ms: Option<u64>,
    pub(crate) retention_bytes: Option<u64>,
}

#[derive(Debug)]
pub(crate) struct Log {
    dir: Option<PathBuf>,
    budget: Budget,
    /// Oldest first, never empty; batches go to the last.
    segments: VecDeque<LogSegment>,
    producers: ProducerStateManager,
    /// First offset that may be read; lies in the first segment or at its start.
    start: i64,
    /// Whether something was appended since the last [`Log::take_flush`].
    dirty: bool,
    /// Index files of closed segments, still to be written.
    index_files: Vec<IndexFile>,
}

/// Work for the disk, to be done after the log's lock is released.
#[derive(Debug)]
pub(crate) struct Flush {
    active: Option<Arc<SegmentStorage>>,
    index_files: Vec<IndexFile>,
}

impl Flush {
    /// Finishes closed segments, and forces the newest to the disk if `sync_active`.
    pub(crate) fn run(self, sync_active: bool) -> io::Result<()> {
        self.index_files.into_iter().try_for_each(IndexFile::write)?;
        self.active.filter(|_| sync_active).map_or(Ok(()), |medium| medium.sync())
    }
}

/// A batch that is stored.
#[derive(Debug)]
pub(crate) struct AppendInfo {
    pub(crate) base_offset: i64,
    /// What to force to the disk if the settings ask for it; `None` for a batch that was stored before.
    pub(crate) medium: Option<Arc<SegmentStorage>>,
}

impl Log {
    /// A log without a folder.
    pub(crate) fn in_memory(budget: Budget) -> Self {
        let segments = VecDeque::from([LogSegment::in_memory(0, &budget)]);
        Self {
            dir: None,
            budget,
            segments,
            producers: ProducerStateManager::default(),
            start: 0,
            dirty: false,
            index_files: Vec::new(),
        }
    }

    /// The log in `dir`, which is created if missing. `now`: wall clock, milliseconds.
    pub(crate) fn open(dir: &Path, now: i64) -> Result<Self, OpenLogError> {
        let recovery::RecoveredLog { segments, producers } = recovery::open(dir, now)?;
        let path = dir.join(START_FILE);
        let lines = state_file::read(&path).map_err(OpenLogError::io(path))?.unwrap_or_default();
        let deleted_before = lines.first().and_then(|line| line.parse().ok()).unwrap_or(0);
        let (dir, budget) = (Some(dir.to_owned()), Budget::new(0));
        let mut log = Self { dir, budget, segments, producers, start: 0, dirty: false, index_files: Vec::new() };
        log.start = log.segments[0].base_offset.max(deleted_before).min(log.end());
        Ok(log)
    }

    /// First offset that can be read.
    pub(crate) fn start(&self) -> i64 {
        self.start
    }

    /// Offset that the next message gets.
    pub(crate) fn end(&self) -> i64 {
        self.active().next_offset
    }

    /// Bytes of all segments.
    pub(crate) fn bytes(&self) -> u64 {
        self.segments.iter().map(|segment| segment.len).sum()
    }

    fn active(&self) -> &LogSegment {
        self.segments.back().expect("a log has at least one segment")
    }

    /// Stores `records`, which must be exactly one batch, unless an idempotent producer sent it before.
    pub(crate) fn append(&mut self, records: &[u8], limits: &LogLimits, now: i64) -> Result<AppendInfo, ResponseError> {
        let mut header = validate(records, limits)?;
        if let SequenceCheck::Duplicate(base_offset) = self.producers.check_sequence(&header)? {
            return Ok(AppendInfo { base_offset, medium: None });
        }
        if self.dir.is_none() && !self.budget.has_room(records.len()) {
            return Err(ResponseError::PolicyViolation);
        }
        self.roll_if_due(records.len() as u64, limits, now)
            .map_err(|error| self.storage_error("start a segment", &error))?;
        header.base_offset = self.end();
        let head = head_at(records, header.base_offset, LEADER_EPOCH);
        let active = self.segments.back_mut().expect("a log has at least one segment");
        let appended = active.append(&header, &head, records, now).and_then(|()| active.medium());
        let medium = appended.map_err(|error| self.storage_error("append", &error))?;
        self.producers.record(&header, header.base_offset);
        self.dirty = true;
        Ok(AppendInfo { base_offset: header.base_offset, medium: Some(medium) })
    }

    /// Whole batches from the one that holds `offset` on; `None` at the end of the log. The first comes
    /// even when it is larger than `max_bytes`.
    pub(crate) fn read(&self, offset: i64, max_bytes: usize) -> Result<Option<Slice>, ResponseError> {
        if offset < self.start || offset > self.end() {
            return Err(ResponseError::OffsetOutOfRange);
        }
        if offset == self.end() {
            return Ok(None);
        }
        let at = self.segments.partition_point(|segment| segment.base_offset <= offset).saturating_sub(1);
        let slice = self.segments[at].slice(offset, max_bytes);
        slice.map(Some).map_err(|error| self.storage_error("read", &error))
    }

    /// Offset and timestamp of the first message at or after the instant `at_least`.
    pub(crate) fn find_time(&self, at_least: i64) -> Result<Option<(i64, i64)>, ResponseError> {
        let find = || -> io::Result<Option<(i64, i64)>> {
            for segment in self.segments.iter().filter(|segment| segment.max_timestamp >= at_least) {
                let mut from = self.start;
                while let Some((header, batch)) = segment.batch_at_time(from, at_least)? {
                    if let Some(found) = record_search::first_record(&batch, &header, from, at_least)? {
                        return Ok(Some(found));
                    }
                    from = header.last_offset() + 1;
                }
            }
            Ok(None)
        };
        find().map_err(|error| self.storage_error("find a time", &error))
    }

    /// Offset and timestamp of the first message that has the largest timestamp of all.
    pub(crate) fn find_latest_time(&self) -> Result<Option<(i64, i64)>, ResponseError> {
        match self.segments.iter().map(|segment| segment.max_timestamp).max() {
            Some(i64::MIN) | None => Ok(None),
            Some(latest) => self.find_time(latest),
        }
    }

    /// Makes everything before `offset` unreadable and deletes the segments that hold nothing else.
    pub(crate) fn delete_before(&mut self, offset: i64) -> Result<i64, ResponseError> {
        if offset > self.end() || offset < 0 {
            return Err(ResponseError::OffsetOutOfRange);
        }
        if offset > self.start {
            if let Some(dir) = &self.dir {
                let written = state_file::write(&dir.join(START_FILE), [offset.to_string()], true);
                written.map_err(|error| self.storage_error("save the first offset", &error))?;
            }
            self.start = offset;
            while self.segments.len() > 1 && self.segments[1].base_offset <= offset {
                self.delete_oldest();
            }
        }
        Ok(self.start)
    }

    /// Deletes segments that are older or more than `limits` keep. True when something was deleted.
    pub(crate) fn apply_retention(&mut self, limits: &LogLimits, now: i64) -> bool {
        let before = self.start;
        let expired = |segment: &LogSegment| {
            limits.retention_ms.is_some_and(|keep| segment.max_timestamp.saturating_add_unsigned(keep) < now)
        };
        while self.segments[0].len > 0 {
            let spare = self.bytes() - self.segments[0].len;
            let too_many = limits.retention_bytes.is_some_and(|keep| spare >= keep) && self.segments.len() > 1;
            if !too_many && !expired(&self.segments[0]) {
                break;
            }
            if self.segments.len() == 1
                && let Err(error) = self.roll()
            {
                self.storage_error("start a segment", &error);
                break;
            }
            self.delete_oldest();
            self.start = self.start.max(self.segments[0].base_offset);
        }
        self.start > before
    }

    /// What is still to be written to the disk.
    pub(crate) fn take_flush(&mut self) -> Flush {
        let dirty = std::mem::take(&mut self.dirty);
        let active = dirty.then(|| self.active().medium().ok()).flatten();
        Flush { active, index_files: std::mem::take(&mut self.index_files) }
    }

    /// Writes the index of the active segment, so that the next start need not read its batches.
    pub(crate) fn close(&mut self) -> io::Result<()> {
        self.take_flush().run(true)?;
        IndexFile::of(self.active(), &self.producers)?.map_or(Ok(()), IndexFile::write)
    }

    fn roll_if_due(&mut self, more: u64, limits: &LogLimits, now: i64) -> io::Result<()> {
        let active = self.active();
        let old = |begun: i64| limits.segment_ms.is_some_and(|ms| begun.saturating_add_unsigned(ms) <= now);
        if active.len > 0 && (active.len + more > limits.segment_bytes || active.begun_at.is_some_and(old)) {
            self.roll()?;
        }
        Ok(())
    }

    /// Closes the active segment and starts the next.
    fn roll(&mut self) -> io::Result<()> {
        let base = self.end();
        let next = match &self.dir {
            Some(dir) => LogSegment::in_file(base, &recovery::segment_path(dir, base))?,
            None => LogSegment::in_memory(base, &self.budget),
        };
        self.index_files.extend(IndexFile::of(self.active(), &self.producers)?);
        if let Some(active) = self.segments.back_mut() {
            active.close();
        }
        self.segments.push_back(next);
        Ok(())
    }

    fn delete_oldest(&mut self) {
        if let Some(oldest) = self.segments.pop_front()
            && let Err(error) = oldest.delete()
        {
            self.storage_error("delete a segment", &error);
        }
    }

    fn storage_error(&self, what: &str, error: &io::Error) -> ResponseError {
        let dir = self.dir.as_deref().unwrap_or(Path::new("memory"));
        tracing::error!(partition = %dir.display(), %error, "cannot {what}");
        ResponseError::KafkaStorageError
    }
}

/// The header of `records`, if they are one batch that may be stored.
fn validate(records: &[u8], limits: &LogLimits) -> Result<BatchHeader, ResponseError> {
    if records.len() > limits.max_message_bytes as usize {
        return Err(ResponseError::MessageTooLarge);
    }
    let header = BatchHeader::read(records).ok_or(ResponseError::CorruptMessage)?;
    if header.size < records.len() || header.is_control() {
        return Err(ResponseError::InvalidRecord);
    }
    if header.is_transactional() {
        return Err(ResponseError::InvalidTxnState);
    }
    if !header.is_intact(records) {
        return Err(ResponseError::CorruptMessage);
    }
    if header.records < 1 || header.last_offset_delta != header.records - 1 {
        return Err(ResponseError::InvalidRecord);
    }
    if header.codec() > 4 {
        return Err(ResponseError::UnsupportedCompressionType);
    }
    Ok(header)
}
