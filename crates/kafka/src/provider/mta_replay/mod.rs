//! `mta-replay`: the real weeks, as if they happened again.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::PathBuf;
use std::vec::IntoIter;

use chrono::NaiveDateTime;
use chrono_tz::Tz;
use xxhash_rust::xxh3::xxh3_128;

use super::clock::{instant_ms, stamp};
use super::mta_file::{FileSummary, MtaFile, TurnstileReading, summarize};
use super::{ProducerRecord, Provider, ProviderError, SkippedRows};

/// The largest step of a register, per reading, that counts as people.
pub const DEFAULT_STEP_CAP: i64 = 10_000;

/// Most turnstiles whose last reading is kept; the real subway has about 5,000.
const MAX_TURNSTILES: usize = 1_000_000;

/// What ENTRIES and EXITS of a message hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RegisterMode {
    /// The cumulative registers, as in the file.
    AsInFile,
    /// The step since the turnstile's previous reading in this replay: 0 for its first one, for a step below 0 and for
    /// one above the cap.
    Increments {
        /// The largest step that counts as people.
        cap: i64,
    },
}

/// The provider. One message a row, in event order across turnstiles, with the 13 fields and the form of `test-station`;
/// its key is `CA,UNIT,SCP`. Files are replayed one after the other in the order of their time, and one is held in memory
/// at a time.
#[derive(Debug)]
pub struct MtaReplayProvider {
    registers: RegisterMode,
    zone: Tz,
    total: u64,
    waiting: IntoIter<FileSummary>,
    current: Option<OpenFile>,
    last: HashMap<Box<str>, (i64, i64)>,
    /// Wrong rows, where they are skipped.
    skipped: Option<SkippedRows>,
    scratch: TextBuffers,
}

/// Text that is used again for every message.
#[derive(Debug, Default)]
pub(super) struct TextBuffers {
    line: String,
    hashed: String,
}

#[derive(Debug)]
struct OpenFile {
    path: PathBuf,
    rows: MtaFile,
    place: usize,
    ends_at: Option<NaiveDateTime>,
}

impl MtaReplayProvider {
    /// Scans the files and sorts them by time; `zone` is the zone of their clocks. With `skip_wrong`, rows that are no readings
    /// are counted and left out.
    ///
    /// # Errors
    /// A file that cannot be read, has another header or no rows, or begins with the same moment as another one.
    pub fn open(files: &[PathBuf], registers: RegisterMode, zone: Tz, skip_wrong: bool) -> Result<Self, ProviderError> {
        if files.is_empty() {
            return Err(ProviderError::Settings("mta-replay needs at least one file".to_owned()));
        }
        let mut waiting: Vec<FileSummary> = files.iter().map(|file| summarize(file)).collect::<Result<_, _>>()?;
        waiting.sort_by_key(|summary| summary.first_at);
        if let Some(pair) = waiting.windows(2).find(|pair| pair[0].first_at == pair[1].first_at) {
            return Err(ProviderError::Overlap { first: pair[0].file.clone(), second: pair[1].file.clone() });
        }
        let total = waiting.iter().map(|summary| summary.rows as u64).sum();
        Ok(Self {
            registers,
            zone,
            total,
            waiting: waiting.into_iter(),
            current: None,
            last: HashMap::new(),
            skipped: skip_wrong.then(SkippedRows::default),
            scratch: TextBuffers::default(),
        })
    }

    /// Advances to the next row, in the next file if need be; `false` at the end of the last one.
    fn advance(&mut self) -> Result<bool, ProviderError> {
        loop {
            if let Some(open) = &mut self.current {
                open.place += 1;
                if open.place < open.rows.len() {
                    return Ok(true);
                }
            }
            let Some(next) = self.waiting.next() else { return Ok(false) };
            let before = self.current.take().map(|done| (done.path, done.ends_at));
            let rows = MtaFile::load(&next.file, self.skipped.as_mut())?;
            let span = rows.span();
            if let (Some((first, Some(ended))), Some(span)) = (before, &span)
                && span.start < ended
            {
                return Err(ProviderError::Overlap { first, second: next.file });
            }
            let found = rows.len() > 0;
            self.current = Some(OpenFile { path: next.file, rows, place: 0, ends_at: span.map(|span| span.end) });
            if found {
                return Ok(true);
            }
        }
    }
}

/// The step from `before` to `now`, or 0 where it cannot be people.
fn step(before: i64, now: i64, cap: i64) -> i64 {
    match now.checked_sub(before) {
        Some(step) if (0..=cap).contains(&step) => step,
        _ => 0,
    }
}

impl Provider for MtaReplayProvider {
    fn name(&self) -> &'static str {
        "mta-replay"
    }

    fn total(&self) -> Option<u64> {
        Some(self.total)
    }

    fn next(&mut self, record: &mut ProducerRecord) -> Result<bool, ProviderError> {
        if !self.advance()? {
            return Ok(false);
        }
        let Some(open) = &self.current else { return Ok(false) };
        let reading = open.rows.reading(open.place)?;
        record.reset();
        write_key(&reading, record);
        record.event_at_ms = instant_ms(self.zone, reading.at);

        let (entries, exits) = match self.registers {
            RegisterMode::AsInFile => (reading.entries, reading.exits),
            RegisterMode::Increments { cap } => {
                let now = (reading.entries, reading.exits);
                // The key is text of the file, so it is UTF-8.
                let key = String::from_utf8_lossy(&record.key);
                let known = self.last.len();
                match self.last.get_mut(&*key) {
                    Some(before) => {
                        let steps = (step(before.0, now.0, cap), step(before.1, now.1, cap));
                        *before = now;
                        steps
                    }
                    None if known < MAX_TURNSTILES => {
                        self.last.insert(key.into(), now);
                        (0, 0)
                    }
                    None => {
                        return Err(ProviderError::TooLarge {
                            file: open.path.clone(),
                            limit: MAX_TURNSTILES,
                            unit: "turnstiles",
                        });
                    }
                }
            }
        };
        write_value(&reading, (entries, exits), record, &mut self.scratch);
        Ok(true)
    }

    fn skipped_rows(&self) -> SkippedRows {
        self.skipped.clone().unwrap_or_default()
    }
}

/// The turnstile: `CA,UNIT,SCP`.
pub(super) fn write_key(reading: &TurnstileReading<'_>, record: &mut ProducerRecord) {
    let [ca, unit, scp, ..] = reading.texts;
    record.key.clear();
    record.keyed = true;
    for (at, part) in [ca, unit, scp].into_iter().enumerate() {
        if at > 0 {
            record.key.push(b',');
        }
        record.key.extend_from_slice(part.as_bytes());
    }
}

/// The 13 fields as a JSON string that holds one CSV line.
pub(super) fn write_value(
    reading: &TurnstileReading<'_>,
    registers: (i64, i64),
    record: &mut ProducerRecord,
    scratch: &mut TextBuffers,
) {
    let id = row_id(reading, &mut scratch.hashed);
    let line = &mut scratch.line;
    line.clear();
    for text in reading.texts {
        line.push_str(text);
        line.push(',');
    }
    let (entries, exits) = registers;
    let stamp = stamp(reading.at);
    // Writing to a string or a vector cannot fail.
    let _ = write!(line, "{entries},{exits},{},{}", id.hyphenated(), String::from_utf8_lossy(&stamp));
    let _ = serde_json::to_writer(record.value.by_ref(), line);
}

/// A UUID that depends on the row's line number and fields alone: the same file gives the same IDs under any name, packed
/// or not, and two equal readings of one file differ.
fn row_id(reading: &TurnstileReading<'_>, scratch: &mut String) -> uuid::Uuid {
    scratch.clear();
    let _ = write!(scratch, "{}", reading.line);
    for text in reading.texts {
        scratch.push(',');
        scratch.push_str(text);
    }
    let _ = write!(scratch, ",{},{}", reading.entries, reading.exits);
    uuid::Builder::from_custom_bytes(xxh3_128(scratch.as_bytes()).to_be_bytes()).into_uuid()
}

#[cfg(test)]
mod tests;
