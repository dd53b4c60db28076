//! The first rows of a result as text, for a page.

use arrow::array::Array;
use arrow::datatypes::{DataType, Field};
use arrow::error::ArrowError;
use arrow::record_batch::RecordBatch;
use arrow::util::display::ArrayFormatter;

use super::result_table::FORMAT;
use crate::store::{storage_type, type_name};

/// The first rows of a result as text.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TextRows {
    /// The columns.
    pub columns: Vec<TextColumn>,
    /// A cell a column; `None` is null. Instants as PostgreSQL prints them, in UTC.
    pub rows: Vec<Vec<Option<String>>>,
    /// There were more rows than the limits allow.
    pub truncated: bool,
}

/// A column of such a result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TextColumn {
    /// Its name.
    pub name: String,
    /// Its type as models' tables name it, or as Arrow does.
    pub type_name: String,
    /// Its type.
    pub data_type: DataType,
}

impl TextColumn {
    pub(super) fn of(field: &Field) -> Self {
        let named = storage_type(field.data_type()).as_ref().and_then(type_name);
        let type_name = named.unwrap_or_else(|| field.data_type().to_string());
        Self { name: field.name().clone(), type_name, data_type: field.data_type().clone() }
    }
}

impl TextRows {
    /// Adds rows of `batch` until there are `max_rows`, or `room` bytes are used; what is left of `room`. Rows that do not fit
    /// make the result `truncated`.
    pub(super) fn extend(&mut self, batch: &RecordBatch, max_rows: usize, room: usize) -> Result<usize, ArrowError> {
        let columns = batch.columns().iter().map(|column| ArrayFormatter::try_new(column.as_ref(), &FORMAT));
        let columns = columns.collect::<Result<Vec<_>, _>>()?;
        let mut room = room;
        for row in 0..batch.num_rows() {
            let cell = |(at, column): (usize, &ArrayFormatter<'_>)| {
                let array = batch.column(at);
                if array.is_null(row) { Ok(None) } else { column.value(row).try_to_string().map(Some) }
            };
            let cells = columns.iter().enumerate().map(cell).collect::<Result<Vec<_>, _>>()?;
            let bytes: usize = cells.iter().flatten().map(String::len).sum();
            if self.rows.len() == max_rows || bytes > room {
                self.truncated = true;
                return Ok(0);
            }
            room -= bytes;
            self.rows.push(cells);
        }
        Ok(room)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{Int64Array, StringArray};

    use super::*;

    #[test]
    fn rows_beyond_a_limit_make_the_result_truncated_and_null_is_no_text() {
        let names = StringArray::from(vec![Some("a"), None, Some("ccc")]);
        let batch = RecordBatch::try_from_iter([
            ("name", Arc::new(names) as Arc<dyn Array>),
            ("n", Arc::new(Int64Array::from(vec![1, 2, 3]))),
        ])
        .unwrap();
        let column = TextColumn::of(batch.schema().field(1));
        assert_eq!((column.name.as_str(), column.type_name.as_str()), ("n", "int8"));
        let text = |cell: &str| Some(cell.to_owned());
        for (max_rows, room, count, truncated, left) in
            [(9, 99, 3, false, 92), (2, 99, 2, true, 0), (3, 99, 3, false, 92), (9, 3, 2, true, 0)]
        {
            let mut rows = TextRows::default();
            assert_eq!(rows.extend(&batch, max_rows, room).unwrap(), left);
            assert_eq!((rows.rows.len(), rows.truncated), (count, truncated), "{max_rows} {room}");
            assert_eq!(rows.rows[..2], [vec![text("a"), text("1")], vec![None, text("2")]]);
        }
    }
}
