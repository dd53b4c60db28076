//! Small state kept as a text file: a heading, lines, a checksum. Replaced as a whole, atomically.
//!
//! In: lines of tab-separated fields. Out: the same lines, or an error if the file is not intact.
//! Knows nothing of what the lines mean.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::Path;

/// The format's name and version. A reader refuses any other.
const HEADING: &str = "turnstile-broker 1";

/// Replaces the file at `path`. A kill at any moment leaves the old lines or the new ones; with `durable`
/// so does a power loss.
pub(crate) fn write(path: &Path, lines: impl IntoIterator<Item = String>, durable: bool) -> io::Result<()> {
    let mut text = format!("{HEADING}\n");
    for line in lines {
        text.push_str(&line);
        text.push('\n');
    }
    let crc = crc32c::crc32c(text.as_bytes());
    let _ = writeln!(text, "crc32c\t{crc:08x}");
    let new = path.with_extension("new");
    let mut file = File::create(&new)?;
    file.write_all(text.as_bytes())?;
    if durable {
        file.sync_all()?;
    }
    fs::rename(&new, path)?;
    if durable && let Some(folder) = path.parent() {
        File::open(folder)?.sync_all()?;
    }
    Ok(())
}

/// The lines of the file at `path`; `None` if it does not exist. `InvalidData` if it is not intact.
pub(crate) fn read(path: &Path) -> io::Result<Option<Vec<String>>> {
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let damaged = |what: &str| io::Error::new(io::ErrorKind::InvalidData, what.to_owned());
    let end = text.rfind("crc32c\t").ok_or_else(|| damaged("the checksum is missing"))?;
    let (body, crc) = text.split_at(end);
    if crc.trim_end() != format!("crc32c\t{:08x}", crc32c::crc32c(body.as_bytes())) {
        return Err(damaged("the checksum does not match"));
    }
    let mut lines = body.lines();
    match lines.next() {
        Some(HEADING) => Ok(Some(lines.map(str::to_owned).collect())),
        Some(other) => Err(damaged(&format!("written in another format: {other:?}, not {HEADING:?}"))),
        None => Err(damaged("the file is empty")),
    }
}

/// `text` without tabs, line ends and percent signs, for use in a field or a file name.
pub(crate) fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'.' | b'_' | b'-' => out.push(byte as char),
            _ => {
                let _ = write!(out, "%{byte:02x}");
            }
        }
    }
    out
}

/// The text that [`escape`] was given, or `None` if `text` does not come from it.
pub(crate) fn unescape(text: &str) -> Option<String> {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        out.push(match byte {
            b'%' => (hex(bytes.next()?)? << 4) | hex(bytes.next()?)?,
            other => other,
        });
    }
    String::from_utf8(out).ok()
}

fn hex(digit: u8) -> Option<u8> {
    (digit as char).to_digit(16).map(|value| value as u8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_file_gives_back_its_lines_and_notices_damage() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("state");
        assert!(read(&path).unwrap().is_none());
        write(&path, ["a\t1".to_owned(), "crc32c\tno".to_owned()], true).unwrap();
        assert_eq!(read(&path).unwrap().unwrap(), ["a\t1", "crc32c\tno"]);
        let mut bytes = fs::read(&path).unwrap();
        bytes[25] ^= 1;
        fs::write(&path, bytes).unwrap();
        assert_eq!(read(&path).unwrap_err().kind(), io::ErrorKind::InvalidData);
    }

    #[test]
    fn any_text_survives_escaping() {
        for text in ["plain-1.x", "a b\tc\n%25", "größe/..", ""] {
            assert_eq!(unescape(&escape(text)).as_deref(), Some(text));
        }
        assert_eq!(unescape("%zz"), None);
    }
}
