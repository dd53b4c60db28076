//! What was not delivered yet, on disk: a queue of JSON lines, bounded in bytes.
//!
//! Segments `<number>.jsonl` are appended to and deleted once they are delivered; `position` holds how far that is.
//! When the folder is full, or the disk, the oldest segment is dropped and its lines are counted. A line that was cut
//! off by a crash is left out. Start at [`ReportSpool::open`].

use std::collections::VecDeque;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use crate::change::RunChange;

/// Into how many segments the folder is divided, about: so much is dropped at once.
const SEGMENTS: u64 = 16;
/// No segment is smaller.
const MIN_SEGMENT_BYTES: u64 = 4 << 10;
/// How many processes can have a folder of one pipeline at once.
const MAX_FOLDERS: u32 = 8;
/// Bytes of items that the server will never take, kept for people.
const REFUSED_BYTES: u64 = 1 << 20;

/// A place in the queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct SpoolPosition {
    segment: u64,
    offset: u64,
}

#[derive(Debug)]
struct SpoolSegment {
    number: u64,
    bytes: u64,
}

/// The queue. One process has a folder at a time.
#[derive(Debug)]
pub(super) struct ReportSpool {
    dir: PathBuf,
    max_bytes: u64,
    segments: VecDeque<SpoolSegment>,
    head: SpoolPosition,
    last: Option<File>,
    dropped: u64,
    // Held until the value is dropped.
    _lock: File,
}

impl ReportSpool {
    /// Opens the folder, or creates it; another process's folder is left to it and one beside it is used.
    ///
    /// # Errors
    /// The folder cannot be made or read, or too many processes use folders beside it.
    pub(super) fn open(base: &Path, max_bytes: u64) -> io::Result<Self> {
        for number in 1..=MAX_FOLDERS {
            let dir = numbered(base, number);
            fs::create_dir_all(&dir)?;
            let lock = File::create(dir.join("lock"))?;
            if lock.try_lock().is_ok() {
                let mut spool = Self::locked(dir, max_bytes, lock)?;
                for other in number + 1..=MAX_FOLDERS {
                    spool.adopt(&numbered(base, other));
                }
                return Ok(spool);
            }
        }
        Err(io::Error::new(io::ErrorKind::ResourceBusy, format!("{MAX_FOLDERS} processes use {}", base.display())))
    }

    /// Takes what an earlier process left in a folder beside this one.
    fn adopt(&mut self, dir: &Path) {
        let Ok(lock) = File::open(dir.join("lock")) else { return };
        if lock.try_lock().is_err() {
            return;
        }
        let Ok(mut other) = Self::locked(dir.to_path_buf(), self.max_bytes, lock) else { return };
        if let Ok((items, end)) = other.peek(usize::MAX) {
            self.append(&items);
            other.advance(end);
        }
    }

    fn locked(dir: PathBuf, max_bytes: u64, lock: File) -> io::Result<Self> {
        let mut segments = Vec::new();
        for entry in fs::read_dir(&dir)? {
            let entry = entry?;
            let name = entry.file_name();
            let number = name.to_str().and_then(|name| name.strip_suffix(".jsonl")?.parse().ok());
            if let Some(number) = number {
                segments.push(SpoolSegment { number, bytes: entry.metadata()?.len() });
            }
        }
        segments.sort_by_key(|segment| segment.number);
        let text = fs::read_to_string(dir.join("position")).unwrap_or_default();
        let mut numbers = text.split_whitespace().map_while(|number| number.parse().ok());
        let kept = (numbers.next(), numbers.next());
        let first = segments.first().map_or(1, |segment| segment.number);
        let head = match kept {
            (Some(segment), Some(offset)) if segment >= first => SpoolPosition { segment, offset },
            _ => SpoolPosition { segment: first, offset: 0 },
        };
        let segments = segments.into();
        let mut spool = Self { dir, max_bytes, segments, head, last: None, dropped: 0, _lock: lock };
        spool.forget_delivered();
        Ok(spool)
    }

    /// Whether everything was delivered.
    pub(super) fn is_empty(&self) -> bool {
        match self.segments.back() {
            None => true,
            Some(last) => last.number == self.head.segment && self.head.offset >= last.bytes,
        }
    }

    /// Bytes that were not delivered yet.
    pub(super) fn bytes(&self) -> u64 {
        let all: u64 = self.segments.iter().map(|segment| segment.bytes).sum();
        all.saturating_sub(self.head.offset)
    }

    /// How many items were dropped since the folder was opened.
    pub(super) fn dropped(&self) -> u64 {
        self.dropped
    }

    /// Adds items; the oldest are dropped when there is no room.
    pub(super) fn append(&mut self, changes: &[RunChange]) {
        for change in changes {
            // Plain data: it cannot fail.
            let Ok(mut line) = serde_json::to_vec(change) else { continue };
            line.push(b'\n');
            self.make_room(line.len() as u64);
            // A full disk: what is dropped may give the room that is lacking.
            if self.write(&line).is_err() {
                self.drop_oldest();
                if self.write(&line).is_err() {
                    self.dropped += 1;
                }
            }
        }
    }

    fn segment_bytes(&self) -> u64 {
        (self.max_bytes / SEGMENTS).max(MIN_SEGMENT_BYTES)
    }

    fn make_room(&mut self, more: u64) {
        while self.segments.len() > 1 && self.segments.iter().map(|s| s.bytes).sum::<u64>() + more > self.max_bytes {
            self.drop_oldest();
        }
    }

    fn write(&mut self, line: &[u8]) -> io::Result<()> {
        if self.last.is_none() || self.segments.back().is_none_or(|last| last.bytes >= self.segment_bytes()) {
            let number = self.segments.back().map_or(self.head.segment, |last| last.number + 1);
            self.last = Some(OpenOptions::new().create(true).append(true).open(self.file(number))?);
            self.segments.push_back(SpoolSegment { number, bytes: 0 });
        }
        let (Some(file), Some(segment)) = (&mut self.last, self.segments.back_mut()) else { return Ok(()) };
        let written = file.write_all(line);
        if written.is_err() {
            // Half a line would join with the next one.
            let _ = file.set_len(segment.bytes);
        } else {
            segment.bytes += line.len() as u64;
        }
        written
    }

    fn drop_oldest(&mut self) {
        let Some(oldest) = self.segments.pop_front() else { return };
        let from = if oldest.number == self.head.segment { self.head.offset } else { 0 };
        self.dropped += self.lines(oldest.number, from).map_or(0, |lines| lines.count() as u64);
        let _ = fs::remove_file(self.file(oldest.number));
        if self.segments.is_empty() {
            self.last = None;
        }
        self.head = SpoolPosition { segment: self.segments.front().map_or(oldest.number + 1, |s| s.number), offset: 0 };
        self.keep_position();
    }

    /// The oldest items, at most `limit`, with the place behind the last of them.
    ///
    /// # Errors
    /// The files cannot be read.
    pub(super) fn peek(&self, limit: usize) -> io::Result<(Vec<RunChange>, SpoolPosition)> {
        let (mut items, mut end) = (Vec::new(), self.head);
        for segment in &self.segments {
            if segment.number != self.head.segment {
                end = SpoolPosition { segment: segment.number, offset: 0 };
            }
            for line in self.lines(segment.number, end.offset)? {
                let line = line?;
                if items.len() >= limit {
                    return Ok((items, end));
                }
                end.offset += line.len() as u64 + 1;
                if let Ok(item) = serde_json::from_slice(&line) {
                    items.push(item);
                }
            }
            // A last line without its end counts as read.
            end.offset = end.offset.max(segment.bytes);
        }
        Ok((items, end))
    }

    /// Everything before `end` was delivered. A place before the head, of items that were dropped, changes nothing.
    pub(super) fn advance(&mut self, end: SpoolPosition) {
        if (end.segment, end.offset) > (self.head.segment, self.head.offset) {
            self.head = end;
            self.forget_delivered();
            self.keep_position();
        }
    }

    /// Keeps an item that the server will never take, for people.
    pub(super) fn set_aside(&self, line: &str) {
        let path = self.dir.join("refused.txt");
        let file = OpenOptions::new().create(true).append(true).open(path);
        let kept =
            file.and_then(
                |mut file| {
                    if file.metadata()?.len() < REFUSED_BYTES { writeln!(file, "{line}") } else { Ok(()) }
                },
            );
        if let Err(error) = kept {
            tracing::debug!(%error, "a refused item is not kept");
        }
    }

    fn forget_delivered(&mut self) {
        while let Some(first) = self.segments.front() {
            let is_last = self.segments.len() == 1;
            let done = first.number < self.head.segment
                || (first.number == self.head.segment && self.head.offset >= first.bytes && is_last);
            if !done {
                break;
            }
            let _ = fs::remove_file(self.file(first.number));
            let number = first.number;
            self.segments.pop_front();
            if is_last {
                self.last = None;
                self.head = SpoolPosition { segment: number.max(self.head.segment) + 1, offset: 0 };
            }
        }
    }

    fn keep_position(&self) {
        let temporary = self.dir.join("position.new");
        let text = format!("{} {}\n", self.head.segment, self.head.offset);
        let kept = fs::write(&temporary, text).and_then(|()| fs::rename(&temporary, self.dir.join("position")));
        if let Err(error) = kept {
            // After a restart some items are delivered twice; the server knows most of them by their ids.
            tracing::debug!(%error, "the position of the spool is not kept");
        }
    }

    fn lines(&self, number: u64, from: u64) -> io::Result<impl Iterator<Item = io::Result<Vec<u8>>> + use<>> {
        let mut file = File::open(self.file(number))?;
        file.seek(SeekFrom::Start(from))?;
        Ok(BufReader::new(file.take(u64::MAX)).split(b'\n'))
    }

    fn file(&self, number: u64) -> PathBuf {
        self.dir.join(format!("{number:012}.jsonl"))
    }
}

/// The folder `base`, or the one beside it with this number.
fn numbered(base: &Path, number: u32) -> PathBuf {
    let mut name = base.as_os_str().to_owned();
    if number > 1 {
        name.push(format!("-{number}"));
    }
    name.into()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use uuid::Uuid;

    use super::*;

    fn item(number: i64) -> RunChange {
        RunChange::Seen { flow_run: Uuid::nil(), at_us: number }
    }

    fn numbers(items: &[RunChange]) -> Vec<i64> {
        let number = |item: &RunChange| match item {
            RunChange::Seen { at_us, .. } => *at_us,
            other => panic!("{other:?}"),
        };
        items.iter().map(number).collect()
    }

    #[test]
    fn a_full_spool_drops_the_oldest_counts_them_and_keeps_its_limit() {
        let dir = tempfile::tempdir().unwrap();
        let limit = 64 << 10;
        let mut spool = ReportSpool::open(&dir.path().join("s"), limit).unwrap();
        let items: Vec<_> = (0..5_000).map(item).collect();
        spool.append(&items);
        assert!(spool.bytes() <= limit && spool.bytes() > limit / 2, "{}", spool.bytes());
        let (kept, _) = spool.peek(10_000).unwrap();
        assert_eq!(spool.dropped() + kept.len() as u64, 5_000);
        let kept = numbers(&kept);
        assert_eq!((kept[0], *kept.last().unwrap()), (spool.dropped() as i64, 4_999));
        let on_disk: u64 =
            fs::read_dir(dir.path().join("s")).unwrap().map(|e| e.unwrap().metadata().unwrap().len()).sum();
        assert!(on_disk <= limit + 100, "{on_disk}");
    }

    #[test]
    fn a_line_that_was_cut_off_is_left_out_and_the_next_ones_are_read() {
        let dir = tempfile::tempdir().unwrap();
        let mut spool = ReportSpool::open(dir.path(), 1 << 20).unwrap();
        spool.append(&[item(1)]);
        drop(spool);
        let segment = dir.path().join(format!("{:012}.jsonl", 1));
        OpenOptions::new().append(true).open(&segment).unwrap().write_all(b"{\"Seen\":{\"flow").unwrap();
        let mut spool = ReportSpool::open(dir.path(), 1 << 20).unwrap();
        spool.append(&[item(2)]);
        let (items, end) = spool.peek(10).unwrap();
        assert_eq!(numbers(&items), [1, 2]);
        spool.advance(end);
        assert!(spool.is_empty());
    }

    #[test]
    fn a_second_process_has_a_folder_beside_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s");
        let first = ReportSpool::open(&path, 1 << 20).unwrap();
        let second = ReportSpool::open(&path, 1 << 20).unwrap();
        assert_eq!((&first.dir, &second.dir), (&path, &dir.path().join("s-2")));
        let (mut first, mut second) = (first, second);
        first.append(&[item(1)]);
        second.append(&[item(2)]);
        drop((first, second));
        let mut next = ReportSpool::open(&path, 1 << 20).unwrap();
        let (items, end) = next.peek(10).unwrap();
        assert_eq!(numbers(&items), [1, 2], "what the second left is delivered by the next");
        next.advance(end);
        assert!(next.is_empty() && ReportSpool::open(&path, 1 << 20).unwrap().is_empty());
    }

    proptest! {
        /// Appended, delivered in pieces, closed and opened again at will: every item once, in order.
        #[test]
        fn every_item_is_read_once_and_in_order(steps in prop::collection::vec((0u8..4, 0usize..40), 1..60)) {
            let dir = tempfile::tempdir().unwrap();
            let open = || ReportSpool::open(dir.path(), 1 << 30).unwrap();
            let mut spool = open();
            // Small segments, though the limit is never reached.
            spool.max_bytes = 1;
            let (mut next, mut read) = (0, Vec::new());
            for (kind, count) in steps {
                match kind {
                    0 => { drop(spool); spool = open(); }
                    1 => {
                        let (items, end) = spool.peek(count).unwrap();
                        read.extend(numbers(&items));
                        spool.advance(end);
                    }
                    _ => {
                        spool.max_bytes = 1 << 30;
                        let items: Vec<_> = (next..next + count as i64).map(item).collect();
                        next += count as i64;
                        spool.append(&items);
                    }
                }
            }
            let (items, end) = spool.peek(usize::MAX).unwrap();
            read.extend(numbers(&items));
            spool.advance(end);
            prop_assert!(spool.is_empty() && spool.bytes() == 0);
            prop_assert_eq!(read, (0..next).collect::<Vec<_>>());
        }
    }
}
