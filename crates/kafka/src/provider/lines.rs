//! `lines`: one message a line, from files or standard input.
//!
//! Lines keep their order. A line of `raw`, `csv` and `json` is the message's value as it stands; a row of `mta` becomes
//! the message that `mta-replay` makes of it, with the registers as in the file.

use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::time::Duration;
use std::vec::IntoIter;

use flate2::bufread::MultiGzDecoder;
use tokio_util::sync::CancellationToken;

use super::clock::ClockZone;
use super::mta_file::Columns;
use super::mta_replay::{TextBuffers, write_key, write_value};
use super::{ProducerRecord, Provider, ProviderError, SkippedRows};

/// Longest line: a broker that accepts larger messages is rarer than a file without line ends.
const MAX_LINE: usize = 64 << 20;

/// How many skipped rows are named.
const NAMED: usize = 10;

/// Bytes that are read from standard input ahead of what was sent: so many chunks of so many bytes.
const CHUNKS: usize = 16;
const CHUNK: usize = 64 << 10;

/// How late a stop is noticed while waiting for standard input.
const STOP_CHECK: Duration = Duration::from_millis(50);

/// What a line is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LineFormat {
    /// Any bytes.
    Raw,
    /// A row of comma-separated fields (RFC 4180), as many in every line.
    Csv,
    /// A JSON value.
    Json,
    /// A row of the MTA's weekly files, whose first line is their header.
    Mta,
}

/// Where lines come from. What is packed with gzip is unpacked: the content decides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LineInput {
    /// Standard input.
    Stdin,
    /// A file.
    File(PathBuf),
}

/// How lines become messages.
#[derive(Debug, Clone)]
pub struct LineSettings {
    /// What a line is.
    pub format: LineFormat,
    /// `csv`: the first line of each input names the fields and is not sent.
    pub header: bool,
    /// The field whose text is the message's key: of `csv` a name of the header, of `json` a member. Without one, `mta`
    /// has its own key and the others none.
    pub key_field: Option<String>,
    /// Leave wrong rows out, instead of ending with an error that names the first.
    pub skip_wrong: bool,
    /// `mta`: the zone of its times.
    pub zone: ClockZone,
}

/// The provider.
pub struct LineProvider {
    settings: LineSettings,
    waiting: IntoIter<LineInput>,
    current: Option<LineSource>,
    shutdown: CancellationToken,
    line: Vec<u8>,
    skipped_rows: SkippedRows,
    scratch: TextBuffers,
}

/// An input that is being read.
struct LineSource {
    name: PathBuf,
    from: Box<dyn BufRead + Send>,
    /// Number of the last line read.
    number: usize,
    layout: LineLayout,
}

/// What an input's first line defines for the others.
#[derive(Default)]
struct LineLayout {
    key_place: Option<usize>,
    width: Option<usize>,
    mta: Option<Columns>,
}

impl LineProvider {
    /// A provider of the lines of all inputs, one after the other. Shutdown ends waiting for standard input.
    ///
    /// # Errors
    /// `Settings` when the settings contradict each other.
    pub fn open(
        inputs: Vec<LineInput>,
        settings: LineSettings,
        shutdown: CancellationToken,
    ) -> Result<Self, ProviderError> {
        let row_error = |reason: &str| Err(ProviderError::Settings(reason.to_owned()));
        match (settings.format, &settings.key_field, settings.header) {
            (LineFormat::Raw | LineFormat::Mta, Some(_), _) => {
                return row_error("a key field needs the format csv or json");
            }
            (LineFormat::Csv, Some(_), false) => {
                return row_error("a key field of csv needs a header that names the fields");
            }
            (LineFormat::Raw | LineFormat::Json, _, true) => return row_error("a header needs the format csv"),
            _ => {}
        }
        if inputs.iter().filter(|input| **input == LineInput::Stdin).count() > 1 {
            return row_error("standard input can be read once");
        }
        Ok(Self {
            settings,
            waiting: inputs.into_iter(),
            current: None,
            shutdown,
            line: Vec::new(),
            skipped_rows: SkippedRows::default(),
            scratch: TextBuffers::default(),
        })
    }

    /// Reads the next line of the input into `self.line`, its end cut off; `false` when no input is left.
    fn advance(&mut self) -> Result<bool, ProviderError> {
        loop {
            if self.current.is_none() {
                let Some(input) = self.waiting.next() else { return Ok(false) };
                let mut open = LineSource::new(input, &self.shutdown)?;
                open.read_header(&self.settings, &mut self.line)?;
                self.current = Some(open);
            }
            let Some(open) = &mut self.current else { return Ok(false) };
            if open.read_line(&mut self.line)? {
                return Ok(true);
            }
            self.current = None;
        }
    }

    /// Makes a message of the line.
    fn fill(&mut self, record: &mut ProducerRecord) -> Result<(), ProviderError> {
        let Some(open) = &mut self.current else { return Ok(()) };
        let line = &self.line;
        record.reset();
        match self.settings.format {
            LineFormat::Raw => record.value.extend_from_slice(line),
            LineFormat::Csv => {
                let fields = csv_fields(line).map_err(|reason| open.row_error(reason))?;
                let width = *open.layout.width.get_or_insert(fields.len());
                if width != fields.len() {
                    return Err(open.row_error(format!("{} fields where the first line has {width}", fields.len())));
                }
                if let Some(place) = open.layout.key_place {
                    record.set_key(&fields[place]);
                }
                record.value.extend_from_slice(line);
            }
            LineFormat::Json => {
                let value: serde_json::Value =
                    serde_json::from_slice(line).map_err(|e| open.row_error(format!("no JSON: {e}")))?;
                if let Some(name) = &self.settings.key_field {
                    match value.get(name) {
                        None | Some(serde_json::Value::Null) => {}
                        Some(serde_json::Value::String(text)) => record.set_key(text.as_bytes()),
                        Some(other) => record.set_key(other.to_string().as_bytes()),
                    }
                }
                record.value.extend_from_slice(line);
            }
            LineFormat::Mta => {
                let Some(columns) = &open.layout.mta else { return Err(open.row_error("no header".to_owned())) };
                let text = std::str::from_utf8(line).map_err(|_| open.row_error("not UTF-8".to_owned()))?;
                let fields = columns.split(&open.name, open.number, text)?;
                let reading = columns.reading(&open.name, open.number, &fields)?;
                write_key(&reading, record);
                record.event_at_ms = self.settings.zone.instant_ms(reading.at);
                write_value(&reading, (reading.entries, reading.exits), record, &mut self.scratch);
            }
        }
        Ok(())
    }
}

impl Provider for LineProvider {
    fn name(&self) -> &'static str {
        "lines"
    }

    fn total(&self) -> Option<u64> {
        None
    }

    fn next(&mut self, record: &mut ProducerRecord) -> Result<bool, ProviderError> {
        while self.advance()? {
            // An empty message means something, an empty row does not.
            if self.line.is_empty() && self.settings.format != LineFormat::Raw {
                continue;
            }
            match self.fill(record) {
                Err(error) if self.settings.skip_wrong => {
                    self.skipped_rows.rows += 1;
                    if self.skipped_rows.first.len() < NAMED {
                        self.skipped_rows.first.push(error.to_string());
                    }
                }
                filled => return filled.map(|()| true),
            }
        }
        Ok(false)
    }

    fn skipped_rows(&self) -> SkippedRows {
        self.skipped_rows.clone()
    }
}

impl LineSource {
    fn new(input: LineInput, shutdown: &CancellationToken) -> Result<Self, ProviderError> {
        let (name, plain): (PathBuf, Box<dyn Read + Send>) = match input {
            LineInput::Stdin => ("standard input".into(), Box::new(StdinChunks::start(shutdown.clone()))),
            LineInput::File(file) => {
                let opened = std::fs::File::open(&file);
                let opened = opened.map_err(|source| ProviderError::Unreadable { file: file.clone(), source })?;
                (file, Box::new(opened))
            }
        };
        let mut plain = BufReader::with_capacity(CHUNK, plain);
        let start = plain.fill_buf().map_err(|source| ProviderError::Unreadable { file: name.clone(), source })?;
        let is_gzip = start.starts_with(&[0x1F, 0x8B]);
        let from: Box<dyn BufRead + Send> = if is_gzip {
            Box::new(BufReader::with_capacity(CHUNK, MultiGzDecoder::new(plain)))
        } else {
            Box::new(plain)
        };
        Ok(Self { name, from, number: 0, layout: LineLayout::default() })
    }

    /// Reads the first line.
    fn read_header(&mut self, settings: &LineSettings, line: &mut Vec<u8>) -> Result<(), ProviderError> {
        let is_mta = settings.format == LineFormat::Mta;
        if !(settings.header || is_mta) || !self.read_line(line)? {
            return Ok(());
        }
        if is_mta {
            let header = String::from_utf8_lossy(line).into_owned();
            self.layout.mta = Some(Columns::parse(&self.name, &header)?);
            return Ok(());
        }
        let names = csv_fields(line.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(line)).map_err(|e| self.row_error(e))?;
        if let Some(key) = &settings.key_field {
            let place = names.iter().position(|name| name.trim_ascii() == key.as_bytes());
            let place = place.ok_or_else(|| {
                let names = names.iter().map(|name| String::from_utf8_lossy(name)).collect::<Vec<_>>().join(", ");
                self.row_error(format!("the header has no field \"{key}\"; it has {names}"))
            })?;
            self.layout.key_place = Some(place);
        }
        self.layout.width = Some(names.len());
        Ok(())
    }

    fn read_line(&mut self, line: &mut Vec<u8>) -> Result<bool, ProviderError> {
        line.clear();
        let read = (&mut self.from).take(MAX_LINE as u64 + 1).read_until(b'\n', line);
        let read = read.map_err(|source| ProviderError::Unreadable { file: self.name.clone(), source })?;
        if read == 0 {
            return Ok(false);
        }
        self.number += 1;
        if line.len() > MAX_LINE {
            return Err(self.row_error(format!("a line of more than {MAX_LINE} bytes")));
        }
        if line.last() == Some(&b'\n') {
            line.pop();
            if line.last() == Some(&b'\r') {
                line.pop();
            }
        }
        Ok(true)
    }

    fn row_error(&self, reason: String) -> ProviderError {
        ProviderError::Row { file: self.name.clone(), line: self.number, reason }
    }
}

/// The fields of a row, unquoted.
fn csv_fields(line: &[u8]) -> Result<Vec<Vec<u8>>, String> {
    let mut fields = Vec::new();
    let mut rest = line;
    loop {
        let mut field = Vec::new();
        if let Some(quoted) = rest.strip_prefix(b"\"") {
            rest = quoted;
            loop {
                let at = rest.iter().position(|byte| *byte == b'"');
                let at = at.ok_or("a quoted field that does not end in its line; a message is one line")?;
                field.extend_from_slice(&rest[..at]);
                rest = &rest[at + 1..];
                match rest.strip_prefix(b"\"") {
                    Some(more) => {
                        field.push(b'"');
                        rest = more;
                    }
                    None => break,
                }
            }
            if !matches!(rest.first(), None | Some(b',')) {
                return Err("text after a quoted field".to_owned());
            }
        } else {
            let end = rest.iter().position(|byte| *byte == b',').unwrap_or(rest.len());
            field.extend_from_slice(&rest[..end]);
            rest = &rest[end..];
        }
        fields.push(field);
        match rest.split_first() {
            Some((_, more)) => rest = more,
            None => return Ok(fields),
        }
    }
}

/// Standard input, read by a separate thread so that waiting for it can be interrupted.
struct StdinChunks {
    chunks: Receiver<io::Result<Vec<u8>>>,
    chunk: Vec<u8>,
    used: usize,
    shutdown: CancellationToken,
}

impl StdinChunks {
    fn start(shutdown: CancellationToken) -> Self {
        let (send, chunks) = sync_channel(CHUNKS);
        // The thread ends with its input or with the first chunk that is no longer received; nothing waits for it.
        std::thread::spawn(move || {
            let mut stdin = io::stdin().lock();
            loop {
                let mut chunk = vec![0; CHUNK];
                let read = stdin.read(&mut chunk);
                let ended = !matches!(read, Ok(n) if n > 0);
                let sent = send.send(read.map(|n| {
                    chunk.truncate(n);
                    chunk
                }));
                if ended || sent.is_err() {
                    return;
                }
            }
        });
        Self { chunks, chunk: Vec::new(), used: 0, shutdown }
    }
}

impl Read for StdinChunks {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        while self.used == self.chunk.len() {
            match self.chunks.recv_timeout(STOP_CHECK) {
                Ok(chunk) => (self.chunk, self.used) = (chunk?, 0),
                Err(RecvTimeoutError::Timeout) if !self.shutdown.is_cancelled() => continue,
                // Stopped: nothing more is sent, not even a line that was cut off here.
                Err(_) => return Ok(0),
            }
            if self.chunk.is_empty() {
                return Ok(0);
            }
        }
        let n = out.len().min(self.chunk.len() - self.used);
        out[..n].copy_from_slice(&self.chunk[self.used..self.used + n]);
        self.used += n;
        Ok(n)
    }
}

/// For errors that name it.
impl std::fmt::Debug for LineProvider {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let at: Option<(&Path, usize)> = self.current.as_ref().map(|open| (open.name.as_path(), open.number));
        f.debug_struct("Lines").field("settings", &self.settings).field("at", &at).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn settings(format: LineFormat) -> LineSettings {
        LineSettings { format, header: false, key_field: None, skip_wrong: false, zone: ClockZone::Local }
    }

    fn file(bytes: &[u8]) -> (tempfile::TempDir, LineInput) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lines");
        std::fs::write(&path, bytes).unwrap();
        (dir, LineInput::File(path))
    }

    type Sent = Vec<(Option<String>, String)>;

    fn sent(bytes: &[u8], settings: LineSettings) -> Result<(Sent, SkippedRows), ProviderError> {
        let (_dir, input) = file(bytes);
        let mut lines = LineProvider::open(vec![input], settings, CancellationToken::new())?;
        let (mut record, mut sent) = (ProducerRecord::default(), Vec::new());
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        while lines.next(&mut record)? {
            sent.push((record.key().map(text), text(&record.value)));
        }
        Ok((sent, lines.skipped_rows()))
    }

    #[test]
    fn raw_lines_are_sent_as_they_are_empty_ones_too() {
        let (sent, _) = sent(b"a,\"b\n\nlast", settings(LineFormat::Raw)).unwrap();
        assert_eq!(sent.iter().map(|(_, value)| value.as_str()).collect::<Vec<_>>(), ["a,\"b", "", "last"]);
        assert!(sent.iter().all(|(key, _)| key.is_none()));
    }

    #[test]
    fn a_header_names_the_key_and_is_not_sent() {
        let with_key = LineSettings { header: true, key_field: Some("STATION".into()), ..settings(LineFormat::Csv) };
        let (rows, _) = sent(b"CA,STATION\r\nA1,\"59 ST, \"\"N\"\"\"\r\nA2,GRAND\r\n", with_key.clone()).unwrap();
        let expected = [(Some("59 ST, \"N\""), "A1,\"59 ST, \"\"N\"\"\""), (Some("GRAND"), "A2,GRAND")];
        assert_eq!(rows, expected.map(|(key, value)| (key.map(str::to_owned), value.to_owned())));
        let error = sent(b"CA,UNIT\nA1,R1\n", with_key).unwrap_err().to_string();
        assert!(error.ends_with(":1: the header has no field \"STATION\"; it has CA, UNIT"), "{error}");
    }

    #[test]
    fn a_json_member_is_the_key_and_its_absence_is_none() {
        let with_key = LineSettings { key_field: Some("id".into()), ..settings(LineFormat::Json) };
        let (rows, _) = sent(b"{\"id\":\"a\"}\n{\"id\": 7}\n{\"id\":null}\n{}\n", with_key).unwrap();
        let keys: Vec<_> = rows.iter().map(|(key, _)| key.as_deref()).collect();
        assert_eq!(keys, [Some("a"), Some("7"), None, None]);
    }

    #[test]
    fn a_wrong_row_ends_it_with_its_line_or_is_left_out_and_counted() {
        let header = LineSettings { header: true, ..settings(LineFormat::Csv) };
        let input = b"A,B\n1,2\n3\n4,\"5\n6,7\n";
        let error = sent(input, header.clone()).unwrap_err().to_string();
        assert!(error.ends_with("lines:3: 1 fields where the first line has 2"), "{error}");
        let (rows, skipped_rows) = sent(input, LineSettings { skip_wrong: true, ..header }).unwrap();
        assert_eq!(rows.iter().map(|(_, value)| value.as_str()).collect::<Vec<_>>(), ["1,2", "6,7"]);
        assert_eq!(skipped_rows.rows, 2);
        assert!(skipped_rows.first[1].contains(":4: a quoted field that does not end"), "{skipped_rows:?}");
    }

    #[test]
    fn rows_of_the_weekly_files_become_the_replay_s_messages_in_the_file_s_order() {
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        let week = ",CA,UNIT,SCP,STATION,LINENAME,DIVISION,DATE,TIME,DESC,ENTRIES,EXITS   \n\
             0,A002,R051,02-00-00,59 ST,NQR456W,BMT,12/30/2023,07:00:00,REGULAR,5,6\n\
             1,A001,R051,02-00-00,59 ST,NQR456W,BMT,12/30/2023,03:00:00,REGULAR,3,4\n";
        gzip.write_all(week.as_bytes()).unwrap();
        let (rows, _) = sent(&gzip.finish().unwrap(), settings(LineFormat::Mta)).unwrap();
        assert_eq!(rows[0].0.as_deref(), Some("A002,R051,02-00-00"));
        let line: String = serde_json::from_str(&rows[1].1).unwrap();
        assert!(line.starts_with("A001,R051,02-00-00,59 ST,NQR456W,BMT,12/30/2023,03:00:00,REGULAR,3,4,"), "{line}");
        assert!(line.ends_with(",2023-12-30 03:00:00"), "{line}");
    }

    #[test]
    fn settings_that_contradict_each_other_are_refused() {
        let row_error = [
            LineSettings { key_field: Some("x".into()), ..settings(LineFormat::Raw) },
            LineSettings { key_field: Some("x".into()), ..settings(LineFormat::Csv) },
            LineSettings { header: true, ..settings(LineFormat::Json) },
        ];
        for settings in row_error {
            assert!(matches!(sent(b"", settings), Err(ProviderError::Settings(_))));
        }
    }
}
