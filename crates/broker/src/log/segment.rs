//! One segment of a partition: consecutive batches, and a sparse index over them.
//!
//! In: validated batches. Out: where a batch lies, by offset or by time. Knows nothing of other segments.
//! The index is kept in memory and written beside the file when the segment is closed; it can always be
//! rebuilt from the batches. Start at [`LogSegment::append`].

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::batch::{BatchHeader, HEADER_BYTES};
use super::medium::{Budget, SegmentStorage};

/// An index entry is added each time this many bytes have been appended: 24 bytes of memory each.
const INDEX_EVERY_BYTES: u64 = 16 << 10;
/// Read at once while walking from an index entry.
const WALK_BYTES: usize = 8 << 10;

#[derive(Debug)]
pub(crate) struct LogSegment {
    pub(crate) base_offset: i64,
    pub(crate) len: u64,
    /// Offset that the next batch gets.
    pub(crate) next_offset: i64,
    /// Largest timestamp; `i64::MIN` while empty.
    pub(crate) max_timestamp: i64,
    /// When the first batch was appended or found, wall clock in milliseconds; `None` while empty.
    pub(crate) begun_at: Option<i64>,
    handle: SegmentHandle,
    index: Vec<IndexEntry>,
}

#[derive(Debug)]
enum SegmentHandle {
    Open(Arc<SegmentStorage>, Option<PathBuf>),
    /// Closed segments are opened by each reader, so that old segments hold no files open.
    Closed(PathBuf),
}

/// A batch that begins at `position`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct IndexEntry {
    pub(crate) offset: i64,
    pub(crate) position: u64,
    /// Largest timestamp of all batches before it.
    pub(crate) timestamp_before: i64,
}

/// A range of a segment's bytes, to be read after the partition's lock is released.
#[derive(Debug)]
pub(crate) struct Slice {
    medium: Arc<SegmentStorage>,
    position: u64,
    pub(crate) len: usize,
}

impl Slice {
    /// Fills `into`, which is [`Slice::len`] bytes long.
    pub(crate) fn read(&self, into: &mut [u8]) -> io::Result<()> {
        self.medium.read_at(self.position, into)
    }
}

impl LogSegment {
    pub(crate) fn in_memory(base_offset: i64, budget: &Budget) -> Self {
        Self::new(base_offset, SegmentHandle::Open(Arc::new(SegmentStorage::in_memory(budget)), None))
    }

    /// Opens the file at `path` and assumes that it is empty: `recovery` finds what it holds.
    pub(crate) fn in_file(base_offset: i64, path: &Path) -> io::Result<Self> {
        let medium = Arc::new(SegmentStorage::open(path)?);
        Ok(Self::new(base_offset, SegmentHandle::Open(medium, Some(path.to_owned()))))
    }

    fn new(base_offset: i64, handle: SegmentHandle) -> Self {
        let (next_offset, max_timestamp) = (base_offset, i64::MIN);
        Self { base_offset, len: 0, next_offset, max_timestamp, begun_at: None, handle, index: Vec::new() }
    }

    pub(crate) fn path(&self) -> Option<&Path> {
        match &self.handle {
            SegmentHandle::Open(_, path) => path.as_deref(),
            SegmentHandle::Closed(path) => Some(path),
        }
    }

    pub(crate) fn medium(&self) -> io::Result<Arc<SegmentStorage>> {
        match &self.handle {
            SegmentHandle::Open(medium, _) => Ok(medium.clone()),
            SegmentHandle::Closed(path) => SegmentStorage::open(path).map(Arc::new),
        }
    }

    /// Closes the file. Nothing is appended afterwards.
    pub(crate) fn close(&mut self) {
        if let SegmentHandle::Open(_, Some(path)) = &mut self.handle {
            self.handle = SegmentHandle::Closed(std::mem::take(path));
        }
    }

    /// Appends `batch` with its first bytes replaced by `head`. `header` is the batch's, base offset assigned.
    pub(crate) fn append(&mut self, header: &BatchHeader, head: &[u8; 16], batch: &[u8], now: i64) -> io::Result<()> {
        self.medium()?.append(self.len, head, &batch[head.len()..])?;
        self.add_batch(header, now);
        Ok(())
    }

    /// Adds a batch that lies at the end of the file to the index and the totals.
    pub(crate) fn add_batch(&mut self, header: &BatchHeader, now: i64) {
        if self.index.last().is_none_or(|last| self.len - last.position >= INDEX_EVERY_BYTES) {
            let timestamp_before = self.max_timestamp;
            self.index.push(IndexEntry { offset: header.base_offset, position: self.len, timestamp_before });
        }
        self.begun_at.get_or_insert(now);
        self.len += header.size as u64;
        self.next_offset = header.last_offset() + 1;
        self.max_timestamp = self.max_timestamp.max(header.max_timestamp);
    }

    pub(crate) fn index(&self) -> &[IndexEntry] {
        &self.index
    }

    /// Restores what an index file says of a prefix of the file, so that only the rest has to be read.
    pub(crate) fn resume(
        &mut self,
        len: u64,
        next_offset: i64,
        max_timestamp: i64,
        index: Vec<IndexEntry>,
        begun_at: i64,
    ) {
        self.begun_at = (len > 0).then_some(begun_at);
        (self.len, self.next_offset, self.max_timestamp, self.index) = (len, next_offset, max_timestamp, index);
    }

    /// Whole batches from the one that holds `offset` on: at least one, more while they fit into
    /// `max_bytes`. `offset` must lie in the segment.
    pub(crate) fn slice(&self, offset: i64, max_bytes: usize) -> io::Result<Slice> {
        let from = self.index.partition_point(|entry| entry.offset <= offset).saturating_sub(1);
        let (position, first) = self
            .walk(from, |header| header.last_offset() >= offset)?
            .ok_or_else(|| io::Error::new(io::ErrorKind::UnexpectedEof, format!("no batch holds offset {offset}")))?;
        let limit = position + max_bytes as u64;
        let after_first = position + first.size as u64;
        let end = if self.len <= limit {
            self.len
        } else {
            // The last indexed batch start within the limit: ends on a whole batch without reading any.
            let at = self.index.partition_point(|entry| entry.position <= limit);
            at.checked_sub(1).map_or(after_first, |at| self.index[at].position.max(after_first))
        };
        Ok(Slice { medium: self.medium()?, position, len: (end - position) as usize })
    }

    /// The first batch with a message from `from_offset` on whose largest timestamp is `at_least` or
    /// later, with all its bytes.
    pub(crate) fn batch_at_time(&self, from_offset: i64, at_least: i64) -> io::Result<Option<(BatchHeader, Vec<u8>)>> {
        let by_time = self.index.partition_point(|entry| entry.timestamp_before < at_least);
        let by_offset = self.index.partition_point(|entry| entry.offset <= from_offset);
        let matches = |header: &BatchHeader| header.max_timestamp >= at_least && header.last_offset() >= from_offset;
        let Some((position, header)) = self.walk(by_time.max(by_offset).saturating_sub(1), matches)? else {
            return Ok(None);
        };
        let mut batch = vec![0; header.size];
        self.medium()?.read_at(position, &mut batch)?;
        Ok(Some((header, batch)))
    }

    /// Walks the batches from index entry `from` on; gives the first that `matches`.
    fn walk(&self, from: usize, matches: impl Fn(&BatchHeader) -> bool) -> io::Result<Option<(u64, BatchHeader)>> {
        let medium = self.medium()?;
        let mut position = self.index.get(from).map_or(0, |entry| entry.position);
        let (mut window, mut window_at) = (Vec::new(), 0u64);
        while position < self.len {
            let within = (position - window_at) as usize;
            if window.len() < within + HEADER_BYTES {
                window.resize(WALK_BYTES.min((self.len - position) as usize), 0);
                medium.read_at(position, &mut window)?;
                window_at = position;
                continue;
            }
            let header = BatchHeader::read(&window[within..])
                .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, format!("no batch at byte {position}")))?;
            if matches(&header) {
                return Ok(Some((position, header)));
            }
            position += header.size as u64;
        }
        Ok(None)
    }

    /// Deletes the segment. Readers that hold a slice can still read it.
    pub(crate) fn delete(self) -> io::Result<()> {
        match self.path() {
            Some(path) => {
                let _ = std::fs::remove_file(path.with_extension("index"));
                std::fs::remove_file(path)
            }
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::batch::{fixtures, head_at};
    use super::*;

    fn filled(sizes: &[usize]) -> LogSegment {
        let mut segment = LogSegment::in_memory(100, &Budget::new(u64::MAX));
        for (n, records) in sizes.iter().enumerate() {
            let mut batch = fixtures::stamped(&vec![n as i64 * 10; *records]);
            let head = head_at(&batch, segment.next_offset, 0);
            batch[..16].copy_from_slice(&head);
            let header = BatchHeader::read(&batch).unwrap();
            segment.append(&header, &head, &batch, 0).unwrap();
        }
        segment
    }

    fn offsets(slice: &Slice) -> Vec<i64> {
        let mut bytes = vec![0; slice.len];
        slice.read(&mut bytes).unwrap();
        let (mut rest, mut out) = (&bytes[..], Vec::new());
        while let Some(header) = BatchHeader::read(rest) {
            assert!(header.is_intact(&rest[..header.size]));
            out.push(header.base_offset);
            rest = &rest[header.size..];
        }
        assert!(rest.is_empty(), "a slice ends with a whole batch");
        out
    }

    #[test]
    fn a_slice_starts_at_the_batch_that_holds_the_offset_and_ends_with_a_whole_one() {
        let segment = filled(&[3; 2_000]);
        assert_eq!(offsets(&segment.slice(104, 1).unwrap()), [103]);
        for offset in [100, 101, 1_234, 5_000, 6_099] {
            let slice = segment.slice(offset, 60_000).unwrap();
            assert!(slice.len <= 60_000);
            let offsets = offsets(&slice);
            assert!(offsets[0] <= offset && offset < offsets[0] + 3);
            assert!(offset > 5_900 || slice.len > 60_000 - INDEX_EVERY_BYTES as usize * 2);
        }
    }

    #[test]
    fn a_batch_is_found_by_time() {
        let segment = filled(&[2; 1_000]);
        for (at_least, offset) in [(-5, 100), (0, 100), (1, 102), (5_000, 1_100), (9_990, 2_098)] {
            assert_eq!(segment.batch_at_time(0, at_least).unwrap().unwrap().0.base_offset, offset);
        }
        assert!(segment.batch_at_time(0, 9_991).unwrap().is_none());
    }

    #[test]
    fn memory_is_freed_when_the_last_reader_is_dropped() {
        let budget = Budget::new(1_000);
        let mut segment = LogSegment::in_memory(0, &budget);
        let batch = fixtures::batch(20);
        let header = BatchHeader::read(&batch).unwrap();
        segment.append(&header, &head_at(&batch, 0, 0), &batch, 0).unwrap();
        assert!(!budget.has_room(1_000));
        let slice = segment.slice(0, 1).unwrap();
        segment.delete().unwrap();
        assert_eq!(offsets(&slice), [0]);
        drop(slice);
        assert!(budget.has_room(1_000));
    }
}
