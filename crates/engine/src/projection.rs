//! HAVING and the SELECT list of a closed window.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, RecordBatch, TimestampMicrosecondArray};
use arrow::compute::{SortColumn, cast, filter_record_batch, lexsort_to_indices, take_record_batch};
use arrow::datatypes::{FieldRef, Schema, SchemaRef};

use crate::error::EngineError;
use crate::stream_plan::StreamPlan;

impl StreamPlan {
    /// The result rows of the window that begins at `start_us`: keys and aggregates, having and
    /// projection applied, ordered by key so that equal contents give equal files.
    pub(crate) fn project(
        &self,
        start_us: i64,
        keys: Vec<ArrayRef>,
        aggregates: Vec<ArrayRef>,
        rows: usize,
    ) -> Result<RecordBatch, EngineError> {
        let mut columns = self.bounds(start_us, rows)?;
        columns.extend(keys);
        columns.extend(aggregates);
        let columns = columns
            .into_iter()
            .zip(self.aggregated.fields())
            .map(|(c, f)| if c.data_type() == f.data_type() { Ok(c) } else { cast(&c, f.data_type()) })
            .collect::<Result<Vec<_>, _>>()?;
        let mut batch = RecordBatch::try_new(nullable(&self.aggregated), columns)?;
        if !self.keys.is_empty() {
            let by: Vec<_> = (2..2 + self.keys.len())
                .map(|at| SortColumn { values: Arc::clone(batch.column(at)), options: None })
                .collect();
            batch = take_record_batch(&batch, &lexsort_to_indices(&by, None)?)?;
        }
        if let Some(having) = &self.having {
            let keep = having.evaluate(&batch)?.into_array(batch.num_rows())?;
            batch = filter_record_batch(&batch, keep.as_boolean())?;
        }
        let rows = batch.num_rows();
        let columns = self
            .output
            .iter()
            .zip(self.output_schema.fields())
            .map(|(expr, field)| {
                let column = expr.evaluate(&batch)?.into_array(rows)?;
                Ok(if column.data_type() == field.data_type() { column } else { cast(&column, field.data_type())? })
            })
            .collect::<Result<Vec<_>, EngineError>>()?;
        Ok(RecordBatch::try_new(self.rows_schema(), columns)?)
    }

    /// The columns of a closed window's rows: those of [`StreamPlan::output_schema`], each of which may be null.
    pub fn rows_schema(&self) -> SchemaRef {
        nullable(&self.output_schema)
    }

    /// The window's start and end as columns of `rows` equal values.
    fn bounds(&self, start_us: i64, rows: usize) -> Result<Vec<ArrayRef>, EngineError> {
        let first = self.input.fields().len() - 2;
        [start_us, self.end(start_us)]
            .into_iter()
            .enumerate()
            .map(|(at, instant)| {
                // The number is the instant in any zone; a cast would interpret it as local time.
                let array = TimestampMicrosecondArray::from_value(instant, rows);
                Ok(Arc::new(array.with_data_type(self.input.field(first + at).data_type().clone())) as ArrayRef)
            })
            .collect()
    }
}

fn nullable(schema: &Schema) -> SchemaRef {
    let fields = schema.fields().iter().map(|f| Arc::new(f.as_ref().clone().with_nullable(true)));
    Arc::new(Schema::new(fields.collect::<Vec<FieldRef>>()))
}
