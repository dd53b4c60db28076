//! The log of one partition: segments of record batches, oldest first.
//!
//! In: one record batch at a time. Out: slices of whole batches by offset, offsets by time.
//! Knows nothing of topics, requests or who waits for messages; reads no clock. Start at [`Log::append`].

pub(crate) mod batch;
mod inside;
mod medium;
mod producers;
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
pub(crate) use medium::{Budget, Medium};
use producers::{Producers, Verdict};
pub use recovery::Corrupt;
use recovery::Seal;
pub(crate) use recovery::Unopened;
pub(crate) use segment::{Segment, Slice};

use crate::state_file;

/// The only leader epoch: one broker leads from the first batch on.
pub(crate) const LEADER_EPOCH: i32 = 0;

/// Holds the first offset that DeleteRecords left readable.
const START_FILE: &str = "start";

/// What a topic allows and keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Limits {
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
    segments: VecDeque<Segment>,
    producers: Producers,
    /// First offset that may be read; lies in the first segment or at its start.
    start: i64,
    /// Whether something was appended since the last [`Log::take_flush`].
    dirty: bool,
    /// Closed segments whose index files are still to be written.
    seals: Vec<Seal>,
}

/// Work for the disk, to be done after the log's lock is given back.
#[derive(Debug)]
pub(crate) struct Flush {
    active: Option<Arc<Medium>>,
    seals: Vec<Seal>,
}

impl Flush {
    /// Finishes closed segments, and forces the newest to the disk if `sync_active`.
    pub(crate) fn run(self, sync_active: bool) -> io::Result<()> {
        self.seals.into_iter().try_for_each(Seal::set)?;
        self.active.filter(|_| sync_active).map_or(Ok(()), |medium| medium.sync())
    }
}

/// A batch that is stored.
#[derive(Debug)]
pub(crate) struct Appended {
    pub(crate) base_offset: i64,
    /// What to force to the disk if that is wanted; `None` for a batch that was there already.
    pub(crate) medium: Option<Arc<Medium>>,
}

impl Log {
    /// A log without a folder.
    pub(crate) fn in_memory(budget: Budget) -> Self {
        let segments = VecDeque::from([Segment::in_memory(0, &budget)]);
        Self { dir: None, budget, segments, producers: Producers::default(), start: 0, dirty: false, seals: Vec::new() }
    }

    /// The log in `dir`, which is made when missing. `now`: wall clock, milliseconds.
    pub(crate) fn open(dir: &Path, now: i64) -> Result<Self, Unopened> {
        let recovery::Recovered { segments, producers } = recovery::open(dir, now)?;
        let path = dir.join(START_FILE);
        let lines = state_file::read(&path).map_err(|error| Unopened::Io(path, error))?.unwrap_or_default();
        let asked = lines.first().and_then(|line| line.parse().ok()).unwrap_or(0);
        let (dir, budget) = (Some(dir.to_owned()), Budget::new(0));
        let mut log = Self { dir, budget, segments, producers, start: 0, dirty: false, seals: Vec::new() };
        log.start = log.segments[0].base_offset.max(asked).min(log.end());
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

    fn active(&self) -> &Segment {
        self.segments.back().expect("a log has at least one segment")
    }

    /// Stores `records`, which must be exactly one batch, unless an idempotent producer sent it before.
    pub(crate) fn append(&mut self, records: &[u8], limits: &Limits, now: i64) -> Result<Appended, ResponseError> {
        let mut header = judge(records, limits)?;
        if let Verdict::Known(base_offset) = self.producers.judge(&header)? {
            return Ok(Appended { base_offset, medium: None });
        }
        if self.dir.is_none() && !self.budget.has_room(records.len()) {
            return Err(ResponseError::PolicyViolation);
        }
        self.roll_if_due(records.len() as u64, limits, now).map_err(|error| self.failed("start a segment", &error))?;
        header.base_offset = self.end();
        let head = head_at(records, header.base_offset, LEADER_EPOCH);
        let active = self.segments.back_mut().expect("a log has at least one segment");
        let appended = active.append(&header, &head, records, now).and_then(|()| active.medium());
        let medium = appended.map_err(|error| self.failed("append", &error))?;
        self.producers.remember(&header, header.base_offset);
        self.dirty = true;
        Ok(Appended { base_offset: header.base_offset, medium: Some(medium) })
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
        slice.map(Some).map_err(|error| self.failed("read", &error))
    }

    /// Offset and timestamp of the first message at or after the instant `at_least`.
    pub(crate) fn find_time(&self, at_least: i64) -> Result<Option<(i64, i64)>, ResponseError> {
        let look = || -> io::Result<Option<(i64, i64)>> {
            for segment in self.segments.iter().filter(|segment| segment.max_timestamp >= at_least) {
                let mut from = self.start;
                while let Some((header, batch)) = segment.batch_at_time(from, at_least)? {
                    if let Some(found) = inside::first_record(&batch, &header, from, at_least)? {
                        return Ok(Some(found));
                    }
                    from = header.last_offset() + 1;
                }
            }
            Ok(None)
        };
        look().map_err(|error| self.failed("look for a time", &error))
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
                written.map_err(|error| self.failed("note the first offset", &error))?;
            }
            self.start = offset;
            while self.segments.len() > 1 && self.segments[1].base_offset <= offset {
                self.delete_oldest();
            }
        }
        Ok(self.start)
    }

    /// Deletes what is older or more than `limits` keep. True when something was deleted.
    pub(crate) fn retain(&mut self, limits: &Limits, now: i64) -> bool {
        let before = self.start;
        let expired = |segment: &Segment| {
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
                self.failed("start a segment", &error);
                break;
            }
            self.delete_oldest();
            self.start = self.start.max(self.segments[0].base_offset);
        }
        self.start > before
    }

    /// What the disk still has to be given.
    pub(crate) fn take_flush(&mut self) -> Flush {
        let dirty = std::mem::take(&mut self.dirty);
        let active = dirty.then(|| self.active().medium().ok()).flatten();
        Flush { active, seals: std::mem::take(&mut self.seals) }
    }

    /// Writes down what the next start would otherwise have to find out.
    pub(crate) fn close(&mut self) -> io::Result<()> {
        self.take_flush().run(true)?;
        Seal::of(self.active(), &self.producers)?.map_or(Ok(()), Seal::set)
    }

    fn roll_if_due(&mut self, more: u64, limits: &Limits, now: i64) -> io::Result<()> {
        let active = self.active();
        let old = |begun: i64| limits.segment_ms.is_some_and(|ms| begun.saturating_add_unsigned(ms) <= now);
        if active.len > 0 && (active.len + more > limits.segment_bytes || active.begun_at.is_some_and(old)) {
            self.roll()?;
        }
        Ok(())
    }

    /// Closes the active segment and begins the next.
    fn roll(&mut self) -> io::Result<()> {
        let base = self.end();
        let next = match &self.dir {
            Some(dir) => Segment::in_file(base, &recovery::segment_path(dir, base))?,
            None => Segment::in_memory(base, &self.budget),
        };
        self.seals.extend(Seal::of(self.active(), &self.producers)?);
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
            self.failed("delete a segment", &error);
        }
    }

    fn failed(&self, what: &str, error: &io::Error) -> ResponseError {
        let dir = self.dir.as_deref().unwrap_or(Path::new("memory"));
        tracing::error!(partition = %dir.display(), %error, "cannot {what}");
        ResponseError::KafkaStorageError
    }
}

/// Whether `records` may be stored at all.
fn judge(records: &[u8], limits: &Limits) -> Result<BatchHeader, ResponseError> {
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
