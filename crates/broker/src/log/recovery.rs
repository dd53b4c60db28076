//! Loads a partition's folder: which segments there are, what they hold, where a crash tore the newest.
//!
//! In: the folder. Out: segments, what idempotent producers sent, or [`OpenLogError`]. Knows nothing of topics.
//! An index file covers a prefix of its segment: those bytes were on the disk before it was written, and are
//! trusted. All others are read batch by batch, checksums included. Damage among them is what a crash
//! leaves: the log is truncated there. Damage among covered bytes is an error, since truncating would lose
//! messages that were safe. Start at [`open`].

use std::collections::VecDeque;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::batch::{BatchHeader, HEADER_BYTES};
use super::medium::SegmentStorage;
use super::producers::ProducerStateManager;
use super::segment::{IndexEntry, LogSegment};
use crate::state_file;

/// Read at once while checking batches; grows for a batch that is larger.
const SCAN_BYTES: usize = 1 << 20;

/// A segment does not hold what was safely on the disk before.
#[derive(Debug, thiserror::Error)]
#[error("{} is damaged at byte {position} (offset {offset}): move its folder away to continue without the topic, or restore the file", path.display())]
pub struct CorruptLog {
    /// The segment file.
    pub path: PathBuf,
    /// Where the first damaged batch begins.
    pub position: u64,
    /// The offset that it would have had.
    pub offset: i64,
}

/// Why a partition's folder cannot be opened.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OpenLogError {
    #[error("cannot use {}", path.display())]
    Io { path: PathBuf, source: io::Error },
    #[error(transparent)]
    Corrupt(#[from] CorruptLog),
}

impl OpenLogError {
    pub(super) fn io(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { path, source }
    }
}

/// What a folder holds.
pub(crate) struct RecoveredLog {
    /// Oldest first, at least one; the last is open for appending.
    pub(crate) segments: VecDeque<LogSegment>,
    pub(crate) producers: ProducerStateManager,
}

pub(crate) fn segment_path(dir: &Path, base_offset: i64) -> PathBuf {
    dir.join(format!("{base_offset:020}.log"))
}

/// Opens the partition folder `dir`, created if missing. `now`: wall clock, milliseconds.
pub(crate) fn open(dir: &Path, now: i64) -> Result<RecoveredLog, OpenLogError> {
    fs::create_dir_all(dir).map_err(OpenLogError::io(dir))?;
    let mut bases = Vec::new();
    for entry in fs::read_dir(dir).map_err(OpenLogError::io(dir))? {
        let name = entry.map_err(OpenLogError::io(dir))?.file_name();
        if let Some(base) = name.to_str().and_then(|name| name.strip_suffix(".log")?.parse::<i64>().ok()) {
            bases.push(base);
        }
    }
    bases.sort_unstable();
    if bases.is_empty() {
        bases.push(0);
    }
    let mut recovered = RecoveredLog { segments: VecDeque::new(), producers: ProducerStateManager::default() };
    for (at, base) in bases.iter().enumerate() {
        let path = segment_path(dir, *base);
        let mut segment = LogSegment::in_file(*base, &path).map_err(OpenLogError::io(&path))?;
        let covered = load_index(&mut segment, &mut recovered.producers, now);
        let file_len = fs::metadata(&path).map_err(OpenLogError::io(&path))?.len();
        let medium = segment.medium().map_err(OpenLogError::io(&path))?;
        scan(&medium, file_len, &mut segment, &mut recovered.producers, now).map_err(OpenLogError::io(&path))?;
        let later = &bases[at + 1..];
        let gap = later.first().is_some_and(|next| *next != segment.next_offset);
        if segment.len < file_len || segment.len < covered || gap {
            let later_is_safe = later.iter().any(|base| segment_path(dir, *base).with_extension("index").exists());
            if segment.len < covered || later_is_safe {
                return Err(CorruptLog { path, position: segment.len, offset: segment.next_offset }.into());
            }
            let (bytes, offset) = (file_len - segment.len, segment.next_offset);
            let segments = later.len();
            tracing::warn!(file = %path.display(), offset, bytes, segments, "truncated a torn end");
            for base in later {
                let path = segment_path(dir, *base);
                fs::remove_file(&path).map_err(OpenLogError::io(&path))?;
            }
            medium.truncate(segment.len).map_err(OpenLogError::io(&path))?;
            recovered.segments.push_back(segment);
            break;
        }
        if !later.is_empty() {
            segment.close();
        }
        recovered.segments.push_back(segment);
    }
    Ok(recovered)
}

/// Adds the intact batches behind those that `segment` knows. Offsets have no gaps: nothing is compacted.
fn scan(
    medium: &SegmentStorage,
    file_len: u64,
    segment: &mut LogSegment,
    producers: &mut ProducerStateManager,
    now: i64,
) -> io::Result<()> {
    let (mut window, mut window_at) = (Vec::new(), segment.len);
    loop {
        let within = (segment.len - window_at) as usize;
        let left = (file_len - segment.len) as usize;
        let have = &window[within..];
        let header = BatchHeader::read(have);
        let needed = header.map_or(HEADER_BYTES, |header| header.size);
        if needed > left || (header.is_none() && have.len() >= HEADER_BYTES) {
            return Ok(());
        }
        if have.len() < needed {
            window_at = segment.len;
            window.resize(SCAN_BYTES.max(needed).min(left), 0);
            medium.read_at(window_at, &mut window)?;
            continue;
        }
        let Some(header) = header.filter(|header| header.is_intact(&have[..header.size])) else { return Ok(()) };
        if header.base_offset != segment.next_offset {
            return Ok(());
        }
        producers.record(&header, header.base_offset);
        segment.add_batch(&header, now);
    }
}

/// An index file to be written once the segment's bytes are on the disk.
#[derive(Debug)]
pub(crate) struct IndexFile {
    medium: Arc<SegmentStorage>,
    path: PathBuf,
    lines: Vec<String>,
}

impl IndexFile {
    /// The index file of `segment` as it is now; `None` for a segment in memory.
    pub(crate) fn of(segment: &LogSegment, producers: &ProducerStateManager) -> io::Result<Option<Self>> {
        let Some(path) = segment.path().map(Path::to_owned) else { return Ok(None) };
        let (max, begun) = (segment.max_timestamp, segment.begun_at.unwrap_or(0));
        let mut lines = vec![format!("segment\t{}\t{}\t{max}\t{begun}", segment.len, segment.next_offset)];
        let index = segment.index().iter();
        lines.extend(index.map(|e| format!("batch\t{}\t{}\t{}", e.offset, e.position, e.timestamp_before)));
        lines.extend(producers.lines());
        Ok(Some(Self { medium: segment.medium()?, path, lines }))
    }

    /// Forces the segment to the disk, then writes the index file, unless retention has deleted the segment.
    pub(crate) fn write(self) -> io::Result<()> {
        self.medium.sync()?;
        if self.path.exists() {
            state_file::write(&self.path.with_extension("index"), self.lines, true)
        } else {
            Ok(())
        }
    }
}

/// Loads the index file of `segment`, if there is one that is intact and not longer than the file.
/// Gives the bytes that it covers.
fn load_index(segment: &mut LogSegment, producers: &mut ProducerStateManager, now: i64) -> u64 {
    let Some(path) = segment.path().map(|path| path.with_extension("index")) else { return 0 };
    let unusable = |why: &dyn std::fmt::Display| {
        tracing::warn!(file = %path.display(), %why, "rebuilding an index");
        0
    };
    let lines = match state_file::read(&path) {
        Ok(Some(lines)) => lines,
        Ok(None) => return 0,
        Err(error) => return unusable(&error),
    };
    let file_len = fs::metadata(path.with_extension("log")).map_or(0, |meta| meta.len());
    let mut known = None;
    let (mut index, mut sent) = (Vec::new(), ProducerStateManager::default());
    for line in &lines {
        let fields: Vec<&str> = line.split('\t').collect();
        let parsed = match fields[..] {
            ["segment", len, next, max, begun] => numbers([len, next, max, begun]).map(|numbers| known = Some(numbers)),
            ["batch", offset, position, before] => {
                numbers([offset, position, before]).map(|[offset, position, before]| {
                    index.push(IndexEntry { offset, position: position as u64, timestamp_before: before });
                })
            }
            ["producer", ..] => sent.restore(&fields[1..]),
            _ => None,
        };
        if parsed.is_none() {
            return unusable(&format!("cannot read {line:?}"));
        }
    }
    let Some([len, next_offset, max_timestamp, begun_at]) = known else { return unusable(&"it is empty") };
    if len as u64 <= file_len {
        segment.resume(len as u64, next_offset, max_timestamp, index, if begun_at > 0 { begun_at } else { now });
        *producers = sent;
    }
    len as u64
}

fn numbers<const N: usize>(fields: [&str; N]) -> Option<[i64; N]> {
    let mut out = [0; N];
    for (number, field) in out.iter_mut().zip(fields) {
        *number = field.parse().ok()?;
    }
    Some(out)
}
