//! Rows in aligned columns, as psql prints them.

use std::io::Write;

use arrow::datatypes::{DataType, SchemaRef};
use arrow::error::ArrowError;
use arrow::record_batch::RecordBatch;
use arrow::util::display::{ArrayFormatter, FormatOptions};

/// Rows that are looked at to find the columns' widths. Later ones may stick out.
const MEASURED: usize = 5_000;

/// The widest column: longer values stick out, and push the rest of their row to the right.
const WIDEST: usize = 60;

pub(super) const FORMAT: FormatOptions<'static> = FormatOptions::new()
    .with_null("")
    .with_timestamp_format(Some("%Y-%m-%d %H:%M:%S%.f"))
    .with_timestamp_tz_format(Some("%Y-%m-%d %H:%M:%S%.f%:::z"));

/// A table on a writer.
pub(super) struct ResultTable<'a> {
    schema: SchemaRef,
    out: &'a mut (dyn Write + Send),
    held: Vec<Vec<String>>,
    widths: Option<Vec<usize>>,
}

impl<'a> ResultTable<'a> {
    pub(super) fn new(schema: SchemaRef, out: &'a mut (dyn Write + Send)) -> Self {
        Self { schema, out, held: Vec::new(), widths: None }
    }

    pub(super) fn write(&mut self, batch: &RecordBatch) -> Result<(), ArrowError> {
        let columns = batch.columns().iter().map(|column| ArrayFormatter::try_new(column.as_ref(), &FORMAT));
        let columns = columns.collect::<Result<Vec<_>, _>>()?;
        let is_plan = is_plan(&self.schema);
        for row in 0..batch.num_rows() {
            let cell = |column: &ArrayFormatter<'_>| column.value(row).try_to_string();
            let cells = columns.iter().map(cell).collect::<Result<Vec<_>, _>>()?;
            match cells.as_slice() {
                [kind, plan] if is_plan => {
                    let kinds = std::iter::once(kind.as_str()).chain(std::iter::repeat(""));
                    self.held
                        .extend(kinds.zip(plan.lines()).map(|(kind, line)| vec![kind.to_owned(), line.to_owned()]));
                }
                cells => self.held.push(cells.iter().map(|text| on_one_line(text)).collect()),
            }
            if self.widths.is_some() || self.held.len() >= MEASURED {
                self.flush()?;
            }
        }
        Ok(())
    }

    pub(super) fn finish(mut self) -> Result<(), ArrowError> {
        self.flush()
    }

    fn flush(&mut self) -> Result<(), ArrowError> {
        let rows = std::mem::take(&mut self.held);
        if self.widths.is_none() {
            let names: Vec<String> = self.schema.fields().iter().map(|field| field.name().clone()).collect();
            let width = |at: usize| {
                let cells = rows.iter().map(|row| row[at].chars().count()).max().unwrap_or(0).min(WIDEST);
                cells.max(names[at].chars().count())
            };
            let widths: Vec<usize> = (0..names.len()).map(width).collect();
            self.line(&names, &widths)?;
            let rule: Vec<String> = widths.iter().map(|width| "-".repeat(width + 2)).collect();
            writeln!(self.out, "{}", rule.join("+"))?;
            self.widths = Some(widths);
        }
        let widths = self.widths.clone().unwrap_or_default();
        rows.iter().try_for_each(|row| self.line(row, &widths))
    }

    fn line(&mut self, cells: &[String], widths: &[usize]) -> Result<(), ArrowError> {
        let padded = cells.iter().zip(widths).zip(self.schema.fields()).map(|((cell, width), field)| {
            if is_number(field.data_type()) { format!(" {cell:>width$} ") } else { format!(" {cell:<width$} ") }
        });
        let line = padded.collect::<Vec<_>>().join("|");
        writeln!(self.out, "{}", line.trim_end())?;
        Ok(())
    }
}

/// Whether the rows are the answer to EXPLAIN: a plan is a tree on several lines.
fn is_plan(schema: &SchemaRef) -> bool {
    schema.fields().iter().map(|field| field.name().as_str()).eq(["plan_type", "plan"])
}

fn is_number(kind: &DataType) -> bool {
    kind.is_numeric()
}

fn on_one_line(text: &str) -> String {
    text.replace('\n', "\\n").replace('\r', "\\r").replace('\t', "\\t")
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, Int64Array, StringArray, TimestampMicrosecondArray};

    use super::*;

    #[test]
    fn a_plan_is_shown_as_a_tree() {
        let batch = RecordBatch::try_from_iter([
            ("plan_type", Arc::new(StringArray::from(vec!["logical_plan"])) as ArrayRef),
            ("plan", Arc::new(StringArray::from(vec!["Limit\n  Scan: t"]))),
        ])
        .unwrap();
        let mut out = Vec::new();
        let mut table = ResultTable::new(batch.schema(), &mut out);
        table.write(&batch).unwrap();
        table.finish().unwrap();
        let text = String::from_utf8(out).unwrap();
        assert!(text.ends_with(" logical_plan | Limit\n              |   Scan: t\n"), "{text}");
    }

    #[test]
    fn numbers_stand_right_and_text_left_under_their_names() {
        let start = TimestampMicrosecondArray::from(vec![1_785_571_200_000_000, 0]).with_timezone("UTC");
        let batch = RecordBatch::try_from_iter([
            ("station", Arc::new(StringArray::from(vec![Some("Test-Station1"), None])) as ArrayRef),
            ("entries", Arc::new(Int64Array::from(vec![7, 12345]))),
            ("start", Arc::new(start)),
        ])
        .unwrap();
        let mut out = Vec::new();
        let mut table = ResultTable::new(batch.schema(), &mut out);
        table.write(&batch).unwrap();
        table.finish().unwrap();
        let expected = " station       | entries | start\n\
                        ---------------+---------+------------------------\n \
                        Test-Station1 |       7 | 2026-08-01 08:00:00+00\n               \
                        |   12345 | 1970-01-01 00:00:00+00\n";
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }
}
