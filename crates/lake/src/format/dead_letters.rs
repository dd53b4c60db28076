//! Dead letters: rejected messages with position, reason and original bytes.
//!
//! Gzipped JSON Lines. Bytes that are UTF-8 are under `key` and `value`, others under `key_base64` and
//! `value_base64`; a null is in neither.

use std::io::{BufRead, BufReader, Write};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use flate2::read::MultiGzDecoder;
use flate2::{Compression, GzBuilder};
use serde::{Deserialize, Serialize};
use turnstile_message::{SourcePosition, TopicPartition};
use turnstile_values::{BoxError, caused};

use super::error::FormatError;

/// A message that could not be processed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadLetterRecord<'a> {
    /// Where the message stands.
    pub position: SourcePosition,
    /// Its timestamp, milliseconds since the epoch as the broker gave it; -1 when it has none.
    pub timestamp_ms: i64,
    /// Why it was refused.
    pub reason: &'a str,
    /// The field that did not fit, when it was one.
    pub field: Option<&'a str>,
    /// Its key.
    pub key: Option<&'a [u8]>,
    /// Its value.
    pub value: Option<&'a [u8]>,
}

/// A dead letter, read from a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnedDeadLetter {
    /// Where the message stands.
    pub position: SourcePosition,
    /// Its timestamp, milliseconds since the epoch; -1 when it has none.
    pub timestamp_ms: i64,
    /// Why it was refused.
    pub reason: String,
    /// The field that did not fit, when it was one.
    pub field: Option<String>,
    /// Its key.
    pub key: Option<Vec<u8>>,
    /// Its value.
    pub value: Option<Vec<u8>>,
}

#[derive(Serialize, Deserialize)]
struct DeadLetterLine {
    topic: String,
    partition: i32,
    offset: i64,
    timestamp_ms: i64,
    reason: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    field: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    key: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    key_base64: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    value: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    value_base64: Option<String>,
}

/// The file that holds `letters`, in that order. The same letters give the same bytes.
pub fn encode_dead_letters<'a>(letters: impl IntoIterator<Item = DeadLetterRecord<'a>>) -> Vec<u8> {
    let mut packed = GzBuilder::new().mtime(0).operating_system(255).write(Vec::new(), Compression::new(6));
    for letter in letters {
        let (key, key_base64) = text_or_base64(letter.key);
        let (value, value_base64) = text_or_base64(letter.value);
        let line = DeadLetterLine {
            topic: letter.position.partition.topic.to_string(),
            partition: letter.position.partition.partition,
            offset: letter.position.offset,
            timestamp_ms: letter.timestamp_ms,
            reason: letter.reason.to_owned(),
            field: letter.field.map(str::to_owned),
            key,
            key_base64,
            value,
            value_base64,
        };
        let mut json = serde_json::to_vec(&line).expect("a dead letter is plain data");
        json.push(b'\n');
        packed.write_all(&json).expect("writing to memory does not fail");
    }
    packed.finish().expect("writing to memory does not fail")
}

/// Reads what [`encode_dead_letters`] wrote.
///
/// # Errors
/// `Decode`: the bytes are not such a file; names the line.
pub fn decode_dead_letters(bytes: &[u8]) -> Result<Vec<OwnedDeadLetter>, FormatError> {
    let mut letters = Vec::new();
    for (number, line) in BufReader::new(MultiGzDecoder::new(bytes)).split(b'\n').enumerate() {
        let wrong = || format!("line {} is wrong", number + 1);
        let line = line.map_err(|e| FormatError::decode(caused(wrong(), e)))?;
        letters.push(letter(&line).map_err(|e| FormatError::decode(caused(wrong(), e)))?);
    }
    Ok(letters)
}

/// Reads one line of a file of dead letters.
///
/// # Errors
/// `Decode`: it is not such a line.
pub(crate) fn decode_dead_letter(line: &[u8]) -> Result<OwnedDeadLetter, FormatError> {
    letter(line).map_err(|error| FormatError::decode(caused("a line is wrong", error)))
}

fn letter(line: &[u8]) -> Result<OwnedDeadLetter, BoxError> {
    let line: DeadLetterLine = serde_json::from_slice(line)?;
    Ok(OwnedDeadLetter {
        position: SourcePosition { partition: TopicPartition::new(line.topic, line.partition), offset: line.offset },
        timestamp_ms: line.timestamp_ms,
        reason: line.reason,
        field: line.field,
        key: bytes_of(line.key, line.key_base64)?,
        value: bytes_of(line.value, line.value_base64)?,
    })
}

/// Dead letters in a file.
pub(super) fn count(bytes: &[u8]) -> Result<u64, FormatError> {
    let mut lines = 0;
    for line in BufReader::new(MultiGzDecoder::new(bytes)).split(b'\n') {
        line.map_err(FormatError::decode)?;
        lines += 1;
    }
    Ok(lines)
}

fn text_or_base64(bytes: Option<&[u8]>) -> (Option<String>, Option<String>) {
    match bytes.map(|bytes| (std::str::from_utf8(bytes), bytes)) {
        None => (None, None),
        Some((Ok(text), _)) => (Some(text.to_owned()), None),
        Some((Err(_), bytes)) => (None, Some(BASE64_STANDARD.encode(bytes))),
    }
}

fn bytes_of(text: Option<String>, base64: Option<String>) -> Result<Option<Vec<u8>>, base64::DecodeError> {
    match (text, base64) {
        (Some(text), _) => Ok(Some(text.into_bytes())),
        (None, Some(base64)) => BASE64_STANDARD.decode(base64).map(Some),
        (None, None) => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use turnstile_values::human;

    use super::*;

    #[test]
    fn the_original_bytes_are_read_back_whatever_they_are() {
        let values: [Option<&[u8]>; 4] = [Some(b"A001,\"R001\"\n"), Some(b"\xff\x00"), Some(b""), None];
        let letters: Vec<DeadLetterRecord<'_>> = values
            .into_iter()
            .enumerate()
            .map(|(at, value)| DeadLetterRecord {
                position: SourcePosition { partition: TopicPartition::new("t", 1), offset: at as i64 },
                timestamp_ms: -1,
                reason: "ENTRIES: \"abc\" is not an int",
                field: Some("ENTRIES"),
                key: value,
                value,
            })
            .collect();
        let bytes = encode_dead_letters(letters.clone());
        assert_eq!(bytes, encode_dead_letters(letters));
        assert_eq!(count(&bytes).unwrap(), 4);
        let read = decode_dead_letters(&bytes).unwrap();
        for (at, value) in values.into_iter().enumerate() {
            assert_eq!(read[at].value.as_deref(), value);
            assert_eq!(read[at].key.as_deref(), value);
            assert_eq!(read[at].position.to_string(), format!("t[1]@{at}"));
        }
    }

    #[test]
    fn a_damaged_file_is_an_error_that_names_the_line() {
        let mut packed = GzBuilder::new().write(Vec::new(), Compression::new(1));
        packed.write_all(b"{}\n").unwrap();
        let error = decode_dead_letters(&packed.finish().unwrap()).unwrap_err();
        assert!(human::error(&error).contains("line 1"), "{error}");
        assert!(decode_dead_letters(b"x").is_err());
    }
}
