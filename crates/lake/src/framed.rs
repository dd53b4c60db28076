//! The text form of a chain's record: a header line, then one line of JSON.
//!
//! In: plain data. Out: bytes with length and checksum, and the data again.
//! Refuses to know what the data means. Source: docs/ledger.md, "A slot".

use serde::Serialize;
use serde::de::DeserializeOwned;
use turnstile_values::{BoxError, caused};

/// Format version of the ledger's records: what this program writes, and the newest that it reads.
pub(crate) const FORMAT: u32 = 1;

/// Bytes of a header line, at most.
const HEADER: usize = 200;

/// Why bytes are not a record that this program can read.
#[derive(Debug)]
pub enum Unreadable {
    /// They are not what was written.
    Damaged(BoxError),
    /// A newer program wrote them.
    Newer {
        /// Their format version.
        found: u32,
        /// The newest that this program reads.
        known: u32,
    },
}

/// The record's bytes, under its magic word and format version.
pub fn encode<T: Serialize + ?Sized>(magic: &str, format: u32, record: &T) -> Vec<u8> {
    // Text, numbers, lists and maps with text keys: nothing that JSON cannot hold.
    let mut body = serde_json::to_vec(record).expect("a record is plain data");
    body.push(b'\n');
    let header = format!("{magic} {format} crc32c={:08x} length={}\n", crc32c::crc32c(&body), body.len());
    [header.as_bytes(), &body].concat()
}

/// Reads what [`encode`] wrote, and checks that it arrived whole.
///
/// # Errors
/// The bytes are damaged, or of a newer format.
pub fn decode<T: DeserializeOwned>(magic: &str, format: u32, bytes: &[u8]) -> Result<T, Unreadable> {
    let damaged = |what: &'static str| Unreadable::Damaged(what.into());
    let end = bytes.iter().take(HEADER).position(|b| *b == b'\n').ok_or_else(|| damaged("it has no header line"))?;
    let header = std::str::from_utf8(&bytes[..end]).map_err(|_| damaged("its header line is not text"))?;
    let body = &bytes[end + 1..];
    let mut words = header.split(' ');
    if words.next() != Some(magic) {
        return Err(damaged("it does not begin with the chain's magic word"));
    }
    let version = words.next().and_then(|word| word.parse::<u32>().ok());
    match version.ok_or_else(|| damaged("its header line has no format version"))? {
        found if found == format => {}
        found if found > format => return Err(Unreadable::Newer { found, known: format }),
        _ => return Err(damaged("its format version does not exist")),
    }
    let crc = words.next().and_then(|w| w.strip_prefix("crc32c=")).and_then(|w| u32::from_str_radix(w, 16).ok());
    let length = words.next().and_then(|w| w.strip_prefix("length=")).and_then(|w| w.parse::<usize>().ok());
    let (Some(crc), Some(length)) = (crc, length) else { return Err(damaged("its header line is incomplete")) };
    if body.len() != length {
        return Err(Unreadable::Damaged(format!("it has {} bytes where its header says {length}", body.len()).into()));
    }
    if crc32c::crc32c(body) != crc {
        return Err(damaged("its checksum does not match"));
    }
    serde_json::from_slice(body).map_err(|e| Unreadable::Damaged(caused("its record cannot be read", e)))
}
