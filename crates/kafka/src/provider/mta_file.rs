//! One weekly MTA file, held in memory in event order.
//!
//! All forms in use are read: `CA` or `C/A` as the first name, with or without an unnamed index column before it, with or
//! without quotes, with or without padding after the last name, gzip or plain; and the files from before October 2014, which
//! have no header and up to eight readings a line: `C/A,UNIT,SCP`, then `DATE,TIME,DESC,ENTRIES,EXITS` of each. These name no
//! station, line or division.

use std::borrow::Cow;
use std::io::{BufRead, BufReader, Read};
use std::ops::Range;
use std::path::{Path, PathBuf};

use chrono::{NaiveDate, NaiveDateTime};
use flate2::bufread::MultiGzDecoder;

use super::csv_fields::csv_fields;
use super::{BYTE_ORDER_MARK, ProviderError, SkippedRows};

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
    let (mut bytes, mut number, mut form) = (Vec::new(), 0, None);
    let (mut rows, mut first_at) = (0, None);
    loop {
        bytes.clear();
        if lines.read_until(b'\n', &mut bytes).map_err(unreadable)? == 0 {
            break;
        }
        number += 1;
        let text = String::from_utf8_lossy(&bytes);
        let Some(form) = &form else {
            let (found, is_header) = FileForm::of_first_line(file, &text)?;
            if !is_header {
                rows += found.rows(file, number, &text)?.len();
                first_at = found.first_time(file, number, &text);
            }
            form = Some(found);
            continue;
        };
        if text.trim().is_empty() {
            continue;
        }
        // What is wrong is said, or skipped, when the file is loaded.
        rows += form.rows(file, number, &text).map_or(1, |rows| rows.len());
        first_at = first_at.or_else(|| form.first_time(file, number, &text));
    }
    let nothing = if rows == 0 { "a header without rows" } else { "no row has a date and a time" };
    let first_at = first_at.ok_or_else(|| row_error(file, 1, nothing.to_owned()))?;
    Ok(FileSummary { file: file.to_owned(), rows, first_at })
}

impl MtaFile {
    /// Reads and checks a whole file. Rows that are wrong end it or, when `skipped` is given, are counted there.
    pub(super) fn load(file: &Path, mut skipped: Option<&mut SkippedRows>) -> Result<Self, ProviderError> {
        let mut text = String::new();
        let mut limited = open(file)?.take(MAX_FILE_BYTES as u64 + 1);
        limited
            .read_to_string(&mut text)
            .map_err(|source| ProviderError::Unreadable { file: file.to_owned(), source })?;
        if text.len() > MAX_FILE_BYTES {
            return Err(ProviderError::TooLarge { file: file.to_owned(), limit: MAX_FILE_BYTES, unit: "bytes" });
        }
        let (form, mut number) = match text.lines().next() {
            Some(first) => {
                FileForm::of_first_line(file, first).map(|(form, is_header)| (form, usize::from(is_header)))?
            }
            None => return Err(row_error(file, 1, "the file is empty".to_owned())),
        };
        let columns = form.columns();
        let mut rows: Vec<RowRef> = Vec::new();
        let mut kept = String::with_capacity(text.len());
        for line in text.lines().skip(number) {
            number += 1;
            if line.trim().is_empty() {
                continue;
            }
            let mut keep = |row: &str| {
                let fields = columns.split(file, number, row)?;
                let at = columns.reading(file, number, &fields)?.at;
                let start = kept.len();
                kept.push_str(row);
                rows.push(RowRef { at, line: number as u32, start: start as u32, end: kept.len() as u32 });
                Ok(())
            };
            let taken = form.rows(file, number, line).and_then(|found| found.iter().try_for_each(|row| keep(row)));
            match (taken, &mut skipped) {
                (Err(error @ ProviderError::Row { .. }), Some(skipped)) => skipped.add(&error),
                (taken, _) => taken?,
            }
            if rows.len() > MAX_FILE_ROWS {
                return Err(ProviderError::TooLarge { file: file.to_owned(), limit: MAX_FILE_ROWS, unit: "rows" });
            }
        }
        let text = kept;
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
    let mut text: Box<dyn BufRead> =
        if is_gzip { Box::new(BufReader::with_capacity(1 << 16, MultiGzDecoder::new(plain))) } else { Box::new(plain) };
    if text.fill_buf().map_err(unreadable)?.starts_with(BYTE_ORDER_MARK) {
        text.consume(BYTE_ORDER_MARK.len());
    }
    Ok(text)
}

fn row_error(file: &Path, line: usize, reason: String) -> ProviderError {
    ProviderError::Row { file: file.to_owned(), line, reason, source: None }
}

/// How a file's lines hold readings.
#[derive(Debug)]
enum FileForm {
    /// One a line, after a header.
    Headed(Columns),
    /// Up to eight a line, without a header: from before October 2014.
    Grouped,
}

/// Fields of a reading in a line of [`FileForm::Grouped`].
const GROUP: usize = 5;

impl FileForm {
    /// The form, and whether the line is a header.
    fn of_first_line(file: &Path, line: &str) -> Result<(Self, bool), ProviderError> {
        let line = unquoted(line).map_err(|reason| row_error(file, 1, reason))?;
        let fields: Vec<&str> = line.split(',').map(str::trim).collect();
        let grouped = fields.len() > 3 && (fields.len() - 3).is_multiple_of(GROUP);
        if grouped && old_date(fields[3]).is_some() && time(fields[4]).is_some() {
            return Ok((Self::Grouped, false));
        }
        Ok((Self::Headed(Columns::parse(file, &line)?), true))
    }

    fn columns(&self) -> Columns {
        match self {
            Self::Headed(columns) => *columns,
            Self::Grouped => Columns { places: std::array::from_fn(|place| place), width: NAMES.len() },
        }
    }

    /// The rows in a line, each with the fields of [`FileForm::columns`], in its order.
    fn rows<'a>(&self, file: &Path, number: usize, line: &'a str) -> Result<Vec<Cow<'a, str>>, ProviderError> {
        let line = unquoted(line.trim_end()).map_err(|reason| row_error(file, number, reason))?;
        if let Self::Headed(_) = self {
            return Ok(vec![line]);
        }
        let fields: Vec<&str> = line.split(',').map(str::trim).collect();
        let Some((turnstile, groups)) = fields.split_at_checked(3).filter(|(_, groups)| groups.len() % GROUP == 0)
        else {
            let wanted = "three names and five fields of each reading";
            return Err(row_error(file, number, format!("{} fields where a line has {wanted}", fields.len())));
        };
        let row = |group: &[&str]| {
            let date = old_date(group[0])
                .ok_or_else(|| row_error(file, number, format!("DATE: expected mm-dd-yy, found \"{}\"", group[0])))?;
            let date = date.format("%m/%d/%Y");
            Ok(Cow::Owned(format!("{},,,,{date},{}", turnstile.join(","), group[1..].join(","))))
        };
        groups.chunks(GROUP).filter(|group| group.iter().any(|field| !field.is_empty())).map(row).collect()
    }

    /// The time of the line's first reading that has one.
    fn first_time(&self, file: &Path, number: usize, line: &str) -> Option<NaiveDateTime> {
        let (columns, rows) = (self.columns(), self.rows(file, number, line).ok()?);
        let fields = columns.split(file, number, rows.first()?).ok()?;
        columns.time(file, number, &fields).ok()
    }
}

/// A line without the quotes around its fields.
pub(super) fn unquoted(line: &str) -> Result<Cow<'_, str>, String> {
    if !line.contains('"') {
        return Ok(Cow::Borrowed(line));
    }
    let fields = csv_fields(line.trim_end().as_bytes())?;
    if fields.iter().any(|field| field.contains(&b',') || field.contains(&b'"')) {
        return Err("a field with a comma or a quote in it, which a message of this form cannot have".to_owned());
    }
    String::from_utf8(fields.join(&b',')).map(Cow::Owned).map_err(|_| "not UTF-8".to_owned())
}

/// `mm-dd-yy` of the years 2000 to 2099.
fn old_date(text: &str) -> Option<NaiveDate> {
    let t = text.as_bytes();
    if t.len() != 8 || t[2] != b'-' || t[5] != b'-' {
        return None;
    }
    NaiveDate::from_ymd_opt(2000 + number(&t[6..])? as i32, number(&t[..2])?, number(&t[3..5])?)
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
        let names: Vec<&str> = header.split(',').map(str::trim).collect();
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
