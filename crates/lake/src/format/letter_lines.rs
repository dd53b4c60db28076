//! Dead letters of several files, gathered unchanged into one file, and read from it again.
//!
//! A file's compressed bytes are held while its lines are read; lines are decompressed one at a time.

use std::fmt;
use std::io::{BufRead, BufReader, Write};

use bytes::Bytes;
use flate2::read::MultiGzDecoder;
use flate2::write::GzEncoder;
use flate2::{Compression, GzBuilder};

use super::error::FormatError;

/// gzip level of gathered files, which is that of published ones.
const GZIP_LEVEL: u32 = 6;

/// A file's lines, taken from the first to the last.
pub(crate) struct LetterLines {
    bytes: Bytes,
    reader: BufReader<MultiGzDecoder<bytes::buf::Reader<Bytes>>>,
    at: u64,
}

/// A file in the making.
pub(crate) struct LetterGather {
    packed: GzEncoder<Vec<u8>>,
}

impl fmt::Debug for LetterLines {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "dead letters from line {}", self.at)
    }
}

impl LetterLines {
    pub(crate) fn of(bytes: Bytes) -> Self {
        let reader = BufReader::new(MultiGzDecoder::new(bytes::Buf::reader(bytes.clone())));
        Self { bytes, reader, at: 0 }
    }

    /// `rows` lines from the line `first` on, each with its line end.
    ///
    /// # Errors
    /// `Decode`: the file is not gzip, or has fewer lines.
    pub(crate) fn take(
        &mut self,
        first: u64,
        rows: u64,
        mut each: impl FnMut(&[u8]) -> Result<(), FormatError>,
    ) -> Result<(), FormatError> {
        if first < self.at {
            // Back only by beginning again.
            *self = Self::of(self.bytes.clone());
        }
        let mut line = Vec::new();
        while self.at < first + rows {
            line.clear();
            if self.reader.read_until(b'\n', &mut line).map_err(FormatError::decode)? == 0 {
                return Err(FormatError::decode("it has fewer messages than the ledger says"));
            }
            if self.at >= first {
                each(&line)?;
            }
            self.at += 1;
        }
        Ok(())
    }
}

impl LetterGather {
    pub(crate) fn new() -> Self {
        let gzip = GzBuilder::new().mtime(0).operating_system(255);
        Self { packed: gzip.write(Vec::new(), Compression::new(GZIP_LEVEL)) }
    }

    /// Takes `rows` lines of a file, from the line `first` on.
    pub(crate) fn take(&mut self, from: &mut LetterLines, first: u64, rows: u64) -> Result<(), FormatError> {
        from.take(first, rows, |line| self.packed.write_all(line).map_err(FormatError::decode))
    }

    /// The file.
    pub(crate) fn finish(self) -> Result<Vec<u8>, FormatError> {
        self.packed.finish().map_err(FormatError::decode)
    }
}

#[cfg(test)]
mod tests {
    use turnstile_message::{SourcePosition, TopicPartition};

    use super::*;
    use crate::format::{DeadLetterRecord, decode_dead_letters, encode_dead_letters};

    fn file(offsets: std::ops::Range<i64>) -> Bytes {
        let letter = |offset| DeadLetterRecord {
            position: SourcePosition { partition: TopicPartition::new("t", 0), offset },
            timestamp_ms: -1,
            reason: "type: x",
            field: None,
            key: None,
            value: Some(b"a\nb"),
        };
        encode_dead_letters(offsets.map(letter)).into()
    }

    #[test]
    fn gathered_letters_are_the_file_that_all_at_once_would_have_made() {
        let mut gather = LetterGather::new();
        let mut larger = LetterLines::of(file(0..10));
        gather.take(&mut larger, 3, 7).unwrap();
        gather.take(&mut LetterLines::of(file(10..12)), 0, 2).unwrap();
        let gathered = gather.finish().unwrap();
        assert_eq!(gathered, file(3..12));
        assert_eq!(decode_dead_letters(&gathered).unwrap().len(), 9);
    }

    #[test]
    fn lines_are_read_again_from_an_earlier_one_and_none_beyond_the_last() {
        let mut lines = LetterLines::of(file(0..4));
        let mut seen = 0;
        for (first, rows) in [(2, 2), (0, 1), (1, 3)] {
            lines
                .take(first, rows, |_| {
                    seen += 1;
                    Ok(())
                })
                .unwrap();
        }
        assert_eq!(seen, 6);
        assert!(lines.take(3, 2, |_| Ok(())).unwrap_err().to_string().contains("cannot be read"));
    }
}
