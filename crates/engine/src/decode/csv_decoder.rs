//! CSV messages to columns: one row, a row in a JSON string, or a header line and a row.
//!
//! Start at [`CsvDecoder::decode`].

use super::column_builder::ColumnBuilder;
use super::csv::{CsvFields, cut};
use super::decode_plan::DecodePlan;
use super::rejection::{Reason, Rejection, byte_order_mark, check_utf8};
use super::text_view::TextBuffer;

/// Where a row's values go.
pub(crate) struct RowBuilder<'a> {
    pub(crate) plan: &'a DecodePlan,
    pub(crate) columns: &'a mut [ColumnBuilder],
    /// The second text buffer.
    pub(crate) unescaped: &'a mut Vec<u8>,
}

/// Decodes CSV messages; keeps its scratch memory and the last header between them.
#[derive(Debug, Default)]
pub(crate) struct CsvDecoder {
    fields: CsvFields,
    header: Option<CsvHeader>,
}

/// A header line seen in messages of the header-and-row form, and the field that each of its names is.
#[derive(Debug)]
struct CsvHeader {
    line: Vec<u8>,
    /// None: a field that the schema does not have and that is ignored.
    fields: Vec<Option<usize>>,
}

impl CsvDecoder {
    /// Decodes the message in `values[start..start + len]`.
    #[inline]
    pub(crate) fn decode(
        &mut self,
        values: &[u8],
        mut start: usize,
        len: usize,
        out: &mut RowBuilder<'_>,
    ) -> Result<(), Rejection> {
        let mark = byte_order_mark(&values[start..start + len]);
        start += mark;
        let mut len = without_line_end(&values[start..start + len - mark]).len();
        let text = &values[start..start + len];
        check_utf8(text)?;
        if let [b'"', inner @ .., b'"'] = text {
            match memchr::memchr2(b'"', b'\\', inner) {
                None => {
                    let mark = byte_order_mark(inner);
                    (start, len) = (start + 1 + mark, without_line_end(&inner[mark..]).len());
                }
                Some(_) => {
                    // A JSON string with escapes, or a CSV row whose first and last fields are quoted.
                    if let Ok(line) = serde_json::from_slice::<String>(text) {
                        let line = without_line_end(line.as_bytes());
                        return self.unescaped_line(&line[byte_order_mark(line)..], out);
                    }
                }
            }
        }
        if memchr::memchr(b'\n', &values[start..start + len]).is_some() {
            return self.lines(&values[start..start + len], out);
        }
        cut(values, start, len, TextBuffer::Values, out.unescaped, &mut self.fields)
            .map_err(|e| Rejection::new(Reason::Csv, None, e))?;
        self.push_fields(values, None, out)
    }

    /// A line from a JSON string with escapes: its fields move to the second buffer.
    #[cold]
    fn unescaped_line(&mut self, line: &[u8], out: &mut RowBuilder<'_>) -> Result<(), Rejection> {
        if memchr::memchr(b'\n', line).is_some() {
            return self.lines(line, out);
        }
        self.cut_row(line, out)?;
        self.push_fields(&[], None, out)
    }

    /// Text with line ends inside: a row whose quoted field holds them, or a header line and one row, the form that the
    /// original's second producer writes.
    #[cold]
    fn lines(&mut self, text: &[u8], out: &mut RowBuilder<'_>) -> Result<(), Rejection> {
        let (first, rest) = text.split_at(memchr::memchr(b'\n', text).unwrap_or(text.len()));
        let first = without_line_end(&text[..first.len() + 1]);
        if self.header.as_ref().is_none_or(|known| known.line != first) {
            let cut = cut(first, 0, first.len(), TextBuffer::Values, out.unescaped, &mut self.fields);
            if cut.is_err() {
                // The line end lies within a quoted field, or cutting the whole text reports what is wrong.
                self.cut_row(text, out)?;
                return self.push_fields(&[], None, out);
            }
            self.fields.move_to_unescaped(first, out.unescaped);
            self.header = Some(CsvHeader { line: first.to_vec(), fields: self.header_fields(out)? });
        }
        let mut row = &rest[1..];
        row = &row[byte_order_mark(row)..];
        while let [before @ .., b'\n' | b'\r'] = row {
            row = before;
        }
        self.cut_row(row, out)?;
        self.push_fields(&[], self.header.as_ref().map(|header| header.fields.as_slice()), out)
    }

    /// The schema field of each name in `self.fields`; none for a name that is ignored.
    fn header_fields(&self, out: &RowBuilder<'_>) -> Result<Vec<Option<usize>>, Rejection> {
        let names: Vec<String> = (0..self.fields.len())
            .map(|at| {
                let (start, len) = self.fields.spans[at];
                String::from_utf8_lossy(&out.unescaped[start as usize..(start + len) as usize]).trim().to_owned()
            })
            .collect();
        let fields: Vec<Option<usize>> =
            names.iter().map(|name| out.plan.names.iter().position(|known| known == name)).collect();
        if fields.iter().all(Option::is_none) {
            let detail = "the message has two lines, and the first is not a header with the schema's names";
            return Err(Rejection::new(Reason::Fields, None, detail));
        }
        for (at, name) in names.iter().enumerate() {
            let fault = match fields[at] {
                None if out.plan.extra_is_error => "the header names it, but the schema does not",
                Some(_) if fields[..at].contains(&fields[at]) => "the header names it twice",
                _ => continue,
            };
            return Err(Rejection::new(Reason::Fields, Some(name), fault));
        }
        Ok(fields)
    }

    /// Cuts one row that does not outlive the call: its fields move to the second buffer. Line ends are allowed only
    /// within quoted fields.
    fn cut_row(&mut self, row: &[u8], out: &mut RowBuilder<'_>) -> Result<(), Rejection> {
        cut(row, 0, row.len(), TextBuffer::Values, out.unescaped, &mut self.fields)
            .map_err(|e| Rejection::new(Reason::Csv, None, e))?;
        if self.fields.hold_bare_line_end(row) {
            return Err(Rejection::new(Reason::Fields, None, "the message contains more than one row"));
        }
        self.fields.move_to_unescaped(row, out.unescaped);
        Ok(())
    }

    /// Appends the row that `self.fields` describes; `order` gives the schema field of each, when it is not
    /// the schema's own order.
    #[inline]
    fn push_fields(
        &self,
        values: &[u8],
        order: Option<&[Option<usize>]>,
        out: &mut RowBuilder<'_>,
    ) -> Result<(), Rejection> {
        let expected = order.map_or(out.plan.names.len(), <[_]>::len);
        let found = self.fields.len();
        if found < expected || (found > expected && out.plan.extra_is_error) {
            let missing = match order {
                None => Some(found),
                Some(order) => order.get(found).copied().flatten(),
            };
            let missing = missing.filter(|_| found < expected).and_then(|field| out.plan.names.get(field));
            return Err(field_count(missing, expected, found));
        }
        for (at, column) in out.columns.iter_mut().enumerate() {
            let field = out.plan.field_of[at];
            let place = match order {
                None => field,
                Some(order) => match order.iter().position(|f| *f == Some(field)) {
                    Some(place) => place,
                    None => {
                        column.push_null();
                        continue;
                    }
                },
            };
            let (start, len) = self.fields.spans[place];
            if len == 0 && (out.plan.empty_text_is_null || !column.is_text()) {
                column.push_null();
                continue;
            }
            let home = self.fields.home(place);
            let buffer = if home == TextBuffer::Values { values } else { out.unescaped.as_slice() };
            if !column.push_text(buffer, start as usize, len as usize, home) {
                let text = String::from_utf8_lossy(&buffer[start as usize..(start + len) as usize]);
                let detail = format!("expected {}, found {text:?}", out.plan.types[field].name());
                return Err(Rejection::new(Reason::Type, Some(&out.plan.names[field]), detail));
            }
        }
        Ok(())
    }
}

#[cold]
fn field_count(missing: Option<&String>, expected: usize, found: usize) -> Rejection {
    Rejection::new(Reason::Fields, missing.map(String::as_str), format!("expected {expected} fields, found {found}"))
}

/// Strips one trailing line end.
#[inline]
fn without_line_end(text: &[u8]) -> &[u8] {
    match text {
        [line @ .., b'\r', b'\n'] | [line @ .., b'\n'] => line,
        _ => text,
    }
}
