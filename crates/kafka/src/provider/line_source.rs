//! One input of `lines`: a file or standard input, line by line, and what its first line defines.

use std::io::{BufRead, BufReader, Read};
use std::path::PathBuf;

use flate2::bufread::MultiGzDecoder;
use tokio_util::sync::CancellationToken;

use super::csv_fields::csv_fields;
use super::mta_file::{Columns, unquoted};
use super::stdin::{CHUNK, StdinChunks};
use super::{BYTE_ORDER_MARK, ProviderError};
use chrono_tz::Tz;

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
    pub zone: Tz,
}

/// Longest line: a broker that accepts larger messages is rarer than a file without line ends.
const MAX_LINE: usize = 64 << 20;

/// An input that is being read.
pub(super) struct LineSource {
    pub(super) name: PathBuf,
    format: LineFormat,
    from: Box<dyn BufRead + Send>,
    /// Number of the last line read.
    pub(super) number: usize,
    pub(super) layout: LineLayout,
}

/// What an input's first line defines for the others.
#[derive(Default)]
pub(super) struct LineLayout {
    pub(super) key_place: Option<usize>,
    pub(super) width: Option<usize>,
    pub(super) mta: Option<Columns>,
}

impl LineSource {
    pub(super) fn new(
        input: LineInput,
        format: LineFormat,
        shutdown: &CancellationToken,
    ) -> Result<Self, ProviderError> {
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
        Ok(Self { name, format, from, number: 0, layout: LineLayout::default() })
    }

    /// Reads the first line.
    pub(super) fn read_header(&mut self, settings: &LineSettings, line: &mut Vec<u8>) -> Result<(), ProviderError> {
        let is_mta = settings.format == LineFormat::Mta;
        if !(settings.header || is_mta) || !self.read_line(line)? {
            return Ok(());
        }
        if is_mta {
            let header = String::from_utf8_lossy(line).into_owned();
            let header = unquoted(&header).map_err(|reason| self.row_error(reason))?;
            self.layout.mta = Some(Columns::parse(&self.name, &header)?);
            return Ok(());
        }
        let names = csv_fields(line).map_err(|e| self.row_error(e))?;
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

    pub(super) fn read_line(&mut self, line: &mut Vec<u8>) -> Result<bool, ProviderError> {
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
        if self.number == 1 && self.format != LineFormat::Raw && line.starts_with(BYTE_ORDER_MARK) {
            line.drain(..BYTE_ORDER_MARK.len());
        }
        Ok(true)
    }

    pub(super) fn row_error(&self, reason: String) -> ProviderError {
        ProviderError::Row { file: self.name.clone(), line: self.number, reason, source: None }
    }

    pub(super) fn no_json(&self, error: serde_json::Error) -> ProviderError {
        let (file, line, reason) = (self.name.clone(), self.number, "no JSON".to_owned());
        ProviderError::Row { file, line, reason, source: Some(error) }
    }
}
