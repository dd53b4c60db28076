//! Cuts CSV messages into fields: one row, one line in a JSON string, or a header line and a row.

use super::text_view::TextBuffer;

/// Where each field of a row lies, in one buffer.
#[derive(Debug, Default)]
pub(crate) struct CsvFields {
    /// `(start, length)` of each field.
    pub(crate) spans: Vec<(u32, u32)>,
    /// The buffer they lie in, when all of them lie in the same one.
    home: Option<TextBuffer>,
    /// Per field, when they do not.
    homes: Vec<TextBuffer>,
}

impl CsvFields {
    #[inline]
    pub(crate) fn home(&self, field: usize) -> TextBuffer {
        self.home.unwrap_or_else(|| self.homes[field])
    }

    pub(crate) fn len(&self) -> usize {
        self.spans.len()
    }

    /// Moves every field that lies in `line` to the second buffer: `line` will not outlive the call.
    pub(crate) fn move_to_unescaped(&mut self, line: &[u8], unescaped: &mut Vec<u8>) {
        let homes = (0..self.len()).map(|field| self.home(field)).collect::<Vec<_>>();
        for (span, home) in self.spans.iter_mut().zip(&homes) {
            if *home == TextBuffer::Values {
                let to = unescaped.len();
                unescaped.extend_from_slice(&line[span.0 as usize..(span.0 + span.1) as usize]);
                span.0 = to as u32;
            }
        }
        self.home = Some(TextBuffer::Unescaped);
    }

    /// Whether a field of `row` that is not quoted holds a line end.
    pub(crate) fn hold_bare_line_end(&self, row: &[u8]) -> bool {
        self.spans.iter().enumerate().any(|(field, (start, len))| {
            let (start, len) = (*start as usize, *len as usize);
            self.home(field) == TextBuffer::Values
                && memchr::memchr(b'\n', &row[start..start + len]).is_some()
                && (start == 0 || row[start - 1] != b'"')
        })
    }

    fn start(&mut self, home: Option<TextBuffer>) {
        self.spans.clear();
        self.homes.clear();
        self.home = home;
    }
}

/// Cuts `buffer[start..start + len]`, a row of RFC 4180 CSV, at its commas into `fields`. Line ends are as any other
/// character.
///
/// Quoted fields that hold doubled quotes are unescaped into `unescaped`.
/// Source: <https://www.rfc-editor.org/rfc/rfc4180>.
#[inline]
pub(crate) fn cut(
    buffer: &[u8],
    start: usize,
    len: usize,
    home: TextBuffer,
    unescaped: &mut Vec<u8>,
    fields: &mut CsvFields,
) -> Result<(), &'static str> {
    fields.start(Some(home));
    let line = &buffer[start..start + len];
    let mut field = 0;
    for at in memchr::memchr2_iter(b',', b'"', line) {
        if line[at] == b'"' {
            return cut_quoted(buffer, start, len, home, unescaped, fields);
        }
        fields.spans.push(((start + field) as u32, (at - field) as u32));
        field = at + 1;
    }
    fields.spans.push(((start + field) as u32, (len - field) as u32));
    Ok(())
}

#[cold]
fn cut_quoted(
    buffer: &[u8],
    start: usize,
    len: usize,
    home: TextBuffer,
    unescaped: &mut Vec<u8>,
    fields: &mut CsvFields,
) -> Result<(), &'static str> {
    fields.start(None);
    let end = start + len;
    let mut at = start;
    loop {
        if at < end && buffer[at] == b'"' {
            let text = at + 1;
            let mut close = text;
            let mut doubled = false;
            loop {
                match memchr::memchr(b'"', &buffer[close..end]) {
                    None => return Err("a quoted field is not closed"),
                    Some(found) if buffer[..end].get(close + found + 1) == Some(&b'"') => {
                        doubled = true;
                        close += found + 2;
                    }
                    Some(found) => {
                        close += found;
                        break;
                    }
                }
            }
            if doubled {
                let to = unescaped.len();
                let mut rest = &buffer[text..close];
                while let Some(found) = memchr::memchr(b'"', rest) {
                    unescaped.extend_from_slice(&rest[..=found]);
                    rest = &rest[found + 2..];
                }
                unescaped.extend_from_slice(rest);
                fields.spans.push((to as u32, (unescaped.len() - to) as u32));
                fields.homes.push(TextBuffer::Unescaped);
            } else {
                fields.spans.push((text as u32, (close - text) as u32));
                fields.homes.push(home);
            }
            at = close + 1;
            if at < end && buffer[at] != b',' {
                return Err("text follows a quoted field");
            }
        } else {
            let comma = memchr::memchr(b',', &buffer[at..end]).map_or(end, |found| at + found);
            if memchr::memchr(b'"', &buffer[at..comma]).is_some() {
                return Err("an unquoted field contains a quote");
            }
            fields.spans.push((at as u32, (comma - at) as u32));
            fields.homes.push(home);
            at = comma;
        }
        if at >= end {
            return Ok(());
        }
        at += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(line: &str) -> Result<Vec<String>, &'static str> {
        let mut fields = CsvFields::default();
        // A first text that the second buffer already holds must not shift what is added.
        let mut unescaped = b"before".to_vec();
        let buffer = format!("##{line}##");
        cut(buffer.as_bytes(), 2, line.len(), TextBuffer::Values, &mut unescaped, &mut fields)?;
        Ok((0..fields.len())
            .map(|i| {
                let (start, len) = fields.spans[i];
                let from = if fields.home(i) == TextBuffer::Values { buffer.as_bytes() } else { &unescaped };
                String::from_utf8(from[start as usize..(start + len) as usize].to_vec()).unwrap()
            })
            .collect())
    }

    #[test]
    fn plain_fields_are_cut_at_commas() {
        assert_eq!(fields("a,b,,d").unwrap(), ["a", "b", "", "d"]);
        assert_eq!(fields("").unwrap(), [""]);
        assert_eq!(fields(",").unwrap(), ["", ""]);
    }

    #[test]
    fn quoted_fields_keep_commas_and_doubled_quotes() {
        assert_eq!(fields(r#"a,"b,c",d"#).unwrap(), ["a", "b,c", "d"]);
        assert_eq!(fields(r#""say ""hi"", you",x"#).unwrap(), [r#"say "hi", you"#, "x"]);
        assert_eq!(fields(r#"x,"""""#).unwrap(), ["x", "\""]);
        assert_eq!(fields(r#"x,"""#).unwrap(), ["x", ""]);
        assert_eq!(fields(r#"x,"a""#.trim_end_matches('"')), Err("a quoted field is not closed"));
        assert_eq!(fields(r#"x,"a"b"#), Err("text follows a quoted field"));
        assert_eq!(fields(r#"x,a"b"#), Err("an unquoted field contains a quote"));
        assert_eq!(fields(r#""a","#).unwrap(), ["a", ""]);
    }
}
