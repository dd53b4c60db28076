//! One weekly MTA file, held in memory in event order.
//!
//! Both forms in use are read: `CA` or `C/A` as the first name, with or without an unnamed index column before it,
//! with or without padding after the last name, gzip or plain.

use std::io::{BufRead, BufReader, Read};
use std::ops::Range;
use std::path::{Path, PathBuf};

use chrono::{NaiveDate, NaiveDateTime};
use flate2::bufread::MultiGzDecoder;

use super::ProviderError;

/// Most rows of one file: eight times the largest week.
pub const MAX_FILE_ROWS: usize = 2_000_000;

/// Most bytes of one file, decompressed.
const MAX_FILE_BYTES: usize = 256 * 1024 * 1024;

const NAMES: [&str; 11] =
    ["CA", "UNIT", "SCP", "STATION", "LINENAME", "DIVISION", "DATE", "TIME", "DESC", "ENTRIES", "EXITS"];

/// What is known of a file before it is replayed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct FileSummary {
    pub(super) file: PathBuf,
    pub(super) rows: usize,
    pub(super) first_at: NaiveDateTime,
}

/// A file's readings in event order.
#[derive(Debug)]
pub(super) struct MtaFile {
    file: PathBuf,
    text: String,
    columns: Columns,
    rows: Vec<RowRef>,
}

/// Where a reading lies in the text.
#[derive(Debug, Clone, Copy)]
struct RowRef {
    at: NaiveDateTime,
    line: u32,
    start: u32,
    end: u32,
}

/// One reading.
#[derive(Debug)]
pub(super) struct TurnstileReading<'a> {
    pub(super) at: NaiveDateTime,
    pub(super) line: u32,
    /// `CA` to `DESC`, as in the file.
    pub(super) texts: [&'a str; 9],
    pub(super) entries: i64,
    pub(super) exits: i64,
}

/// Finds out when a file begins and how many rows it has, without keeping it.
pub(super) fn summarize(file: &Path) -> Result<FileSummary, ProviderError> {
    let unreadable = |source| ProviderError::Unreadable { file: file.to_owned(), source };
    let mut lines = open(file)?;
    let mut line = String::new();
    lines.read_line(&mut line).map_err(unreadable)?;
    let columns = Columns::parse(file, &line)?;
    let (mut rows, mut first_at) = (0, None);
    let mut bytes = Vec::new();
    loop {
        bytes.clear();
        if lines.read_until(b'\n', &mut bytes).map_err(unreadable)? == 0 {
            break;
        }
        if bytes.trim_ascii().is_empty() {
            continue;
        }
        rows += 1;
        if first_at.is_none() {
            let text = String::from_utf8_lossy(&bytes);
            let fields = columns.split(file, 2, text.trim_end())?;
            first_at = Some(columns.time(file, 2, &fields)?);
        }
    }
    let first_at = first_at.ok_or_else(|| row_error(file, 1, "a header without rows".to_owned()))?;
    Ok(FileSummary { file: file.to_owned(), rows, first_at })
}

impl MtaFile {
    /// Reads and checks a whole file.
    pub(super) fn load(file: &Path) -> Result<Self, ProviderError> {
        let mut text = String::new();
        let mut limited = open(file)?.take(MAX_FILE_BYTES as u64 + 1);
        limited
            .read_to_string(&mut text)
            .map_err(|source| ProviderError::Unreadable { file: file.to_owned(), source })?;
        if text.len() > MAX_FILE_BYTES {
            return Err(ProviderError::TooLarge { file: file.to_owned(), limit: MAX_FILE_BYTES, unit: "bytes" });
        }
        let header = text.lines().next().unwrap_or_default();
        let columns = Columns::parse(file, header)?;
        let mut rows: Vec<RowRef> = Vec::new();
        let mut start = 0;
        for (number, raw) in text.split_inclusive('\n').enumerate() {
            let (line, row) = (number + 1, raw.trim_end());
            if number > 0 && !row.is_empty() {
                let fields = columns.split(file, line, row)?;
                let at = columns.reading(file, line, &fields)?.at;
                rows.push(RowRef { at, line: line as u32, start: start as u32, end: (start + row.len()) as u32 });
            }
            start += raw.len();
            if rows.len() > MAX_FILE_ROWS {
                return Err(ProviderError::TooLarge { file: file.to_owned(), limit: MAX_FILE_ROWS, unit: "rows" });
            }
        }
        // Files are ordered by turnstile; a topic is ordered by time. Rows of one moment keep the file's order.
        rows.sort_by_key(|row| (row.at, row.line));
        Ok(Self { file: file.to_owned(), text, columns, rows })
    }

    pub(super) fn len(&self) -> usize {
        self.rows.len()
    }

    pub(super) fn span(&self) -> Option<Range<NaiveDateTime>> {
        Some(self.rows.first()?.at..self.rows.last()?.at)
    }

    /// The reading at `place` in event order.
    pub(super) fn reading(&self, place: usize) -> Result<TurnstileReading<'_>, ProviderError> {
        let row = self.rows[place];
        let text = &self.text[row.start as usize..row.end as usize];
        let fields = self.columns.split(&self.file, row.line as usize, text)?;
        self.columns.reading(&self.file, row.line as usize, &fields)
    }
}

fn open(file: &Path) -> Result<Box<dyn BufRead>, ProviderError> {
    let unreadable = |source| ProviderError::Unreadable { file: file.to_owned(), source };
    let mut plain = BufReader::with_capacity(1 << 16, std::fs::File::open(file).map_err(unreadable)?);
    // The content decides, not the name: files are renamed more often than they are repacked.
    let is_gzip = plain.fill_buf().map_err(unreadable)?.starts_with(&[0x1F, 0x8B]);
    Ok(if is_gzip { Box::new(BufReader::with_capacity(1 << 16, MultiGzDecoder::new(plain))) } else { Box::new(plain) })
}

fn row_error(file: &Path, line: usize, reason: String) -> ProviderError {
    ProviderError::Row { file: file.to_owned(), line, reason, source: None }
}

/// Where each of the eleven columns stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Columns {
    places: [usize; 11],
    width: usize,
}

/// Fields of a row, by the order of [`NAMES`].
pub(super) type RowFields<'a> = [&'a str; 11];

impl Columns {
    pub(super) fn parse(file: &Path, header: &str) -> Result<Self, ProviderError> {
        let names: Vec<&str> = header.trim_start_matches('\u{FEFF}').split(',').map(str::trim).collect();
        let mut places = [0; 11];
        for (place, name) in places.iter_mut().zip(NAMES) {
            let found = names.iter().position(|n| *n == name || (name == "CA" && *n == "C/A"));
            *place = found.ok_or_else(|| row_error(file, 1, format!("the header has no column {name}")))?;
        }
        Ok(Self { places, width: names.len() })
    }

    pub(super) fn split<'a>(&self, file: &Path, line: usize, row: &'a str) -> Result<RowFields<'a>, ProviderError> {
        let mut fields = [""; 11];
        let mut width = 0;
        for field in row.split(',') {
            if let Some(name) = self.places.iter().position(|place| *place == width) {
                fields[name] = field.trim();
            }
            width += 1;
        }
        if row.contains('"') {
            return Err(row_error(file, line, "a quoted field; MTA files have none".to_owned()));
        }
        if width != self.width {
            return Err(row_error(file, line, format!("{width} fields where the header has {}", self.width)));
        }
        Ok(fields)
    }

    fn time(&self, file: &Path, line: usize, fields: &RowFields<'_>) -> Result<NaiveDateTime, ProviderError> {
        let wrong = |column, form, text| row_error(file, line, format!("{column}: expected {form}, found \"{text}\""));
        let date = date(fields[6]).ok_or_else(|| wrong("DATE", "mm/dd/yyyy", fields[6]))?;
        let time = time(fields[7]).ok_or_else(|| wrong("TIME", "HH:MM:SS", fields[7]))?;
        Ok(date.and_time(time))
    }

    pub(super) fn reading<'a>(
        &self,
        file: &Path,
        line: usize,
        fields: &RowFields<'a>,
    ) -> Result<TurnstileReading<'a>, ProviderError> {
        let register = |column: usize| {
            fields[column].parse::<i64>().map_err(|_| {
                let (name, text) = (NAMES[column], fields[column]);
                row_error(file, line, format!("{name}: expected a whole number, found \"{text}\""))
            })
        };
        let mut texts = [""; 9];
        texts.copy_from_slice(&fields[..9]);
        Ok(TurnstileReading {
            at: self.time(file, line, fields)?,
            line: line as u32,
            texts,
            entries: register(9)?,
            exits: register(10)?,
        })
    }
}

/// `mm/dd/yyyy`. Written out, since chrono's format strings are parsed again for every row.
fn date(text: &str) -> Option<NaiveDate> {
    let t = text.as_bytes();
    if t.len() != 10 || t[2] != b'/' || t[5] != b'/' {
        return None;
    }
    NaiveDate::from_ymd_opt(number(&t[6..])? as i32, number(&t[..2])?, number(&t[3..5])?)
}

/// `HH:MM:SS`.
fn time(text: &str) -> Option<chrono::NaiveTime> {
    let t = text.as_bytes();
    if t.len() != 8 || t[2] != b':' || t[5] != b':' {
        return None;
    }
    chrono::NaiveTime::from_hms_opt(number(&t[..2])?, number(&t[3..5])?, number(&t[6..])?)
}

fn number(digits: &[u8]) -> Option<u32> {
    digits.iter().try_fold(0, |sum, digit| digit.is_ascii_digit().then(|| sum * 10 + u32::from(digit - b'0')))
}
