//! `lines`: one message per line, from files or standard input.
//!
//! Lines keep their order. A line of `raw`, `csv` and `json` is sent unchanged as the message's value; a row of `mta`
//! becomes the message that `mta-replay` would send, with the registers as in the file.

use std::path::Path;
use std::vec::IntoIter;

use tokio_util::sync::CancellationToken;

use super::clock::instant_ms;
use super::csv_fields::csv_fields;
use super::line_source::{LineFormat, LineInput, LineSettings, LineSource};
use super::mta_file::unquoted;
use super::mta_replay::{TextBuffers, write_key, write_value};
use super::{ProducerRecord, Provider, ProviderError, SkippedRows};

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
                let mut open = LineSource::new(input, self.settings.format, &self.shutdown)?;
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
                let value: serde_json::Value = serde_json::from_slice(line).map_err(|e| open.no_json(e))?;
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
                let text = unquoted(text).map_err(|reason| open.row_error(reason))?;
                let fields = columns.split(&open.name, open.number, &text)?;
                let reading = columns.reading(&open.name, open.number, &fields)?;
                write_key(&reading, record);
                record.event_at_ms = instant_ms(self.settings.zone, reading.at);
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
                Err(error) if self.settings.skip_wrong => self.skipped_rows.add(&error),
                filled => return filled.map(|()| true),
            }
        }
        Ok(false)
    }

    fn skipped_rows(&self) -> SkippedRows {
        self.skipped_rows.clone()
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
        LineSettings { format, header: false, key_field: None, skip_wrong: false, zone: chrono_tz::UTC }
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
        assert!(skipped_rows.first[1].contains(":4: a quoted field does not end"), "{skipped_rows:?}");
    }

    #[test]
    fn a_byte_order_mark_is_no_part_of_a_text_and_bytes_keep_it() {
        let header = LineSettings { header: true, key_field: Some("CA".into()), ..settings(LineFormat::Csv) };
        let json = LineSettings { key_field: Some("CA".into()), ..settings(LineFormat::Json) };
        for (settings, text, key, value) in [
            (header, "CA,N\nA1,1", Some("A1"), "A1,1"),
            (settings(LineFormat::Csv), "\"A1\",1", None, "\"A1\",1"),
            (json, "{\"CA\":\"A1\"}", Some("A1"), "{\"CA\":\"A1\"}"),
            (settings(LineFormat::Raw), "A1", None, "\u{feff}A1"),
        ] {
            let (rows, _) = sent(format!("\u{feff}{text}\n").as_bytes(), settings).unwrap();
            assert_eq!(rows, [(key.map(str::to_owned), value.to_owned())]);
        }
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
