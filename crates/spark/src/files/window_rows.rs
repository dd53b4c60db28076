//! The rows that a batch wrote, by window.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Int64Array, RecordBatch, StringArray, StructArray, UInt32Array,
};
use arrow::compute::{
    CastOptions, SortColumn, cast_with_options, concat_batches, lexsort_to_indices, take_record_batch,
};
use arrow::datatypes::{DataType, Int32Type, Int64Type, SchemaRef, TimeUnit, TimestampMicrosecondType};
use bytes::Bytes;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReaderBuilder};
use turnstile_pipeline::{SPARK_BLOCK, SPARK_BLOCKS, SPARK_HAVING, SPARK_MESSAGES, WINDOW_END, WINDOW_START};

use super::UnknownFormat;

const WHAT: &str = "a file of rows that Spark wrote";

/// Rows in memory at once while a file is read.
const BATCH_ROWS: usize = 8_192;

/// A window, `[start, end)`, microseconds since the epoch.
pub type SparkWindowBounds = (i64, i64);

/// The blocks of offsets, of [`SPARK_BLOCK`] each, in which a window's messages stand: the first and the last, by topic and
/// partition.
pub type BlockRanges = BTreeMap<String, BTreeMap<i32, (i64, i64)>>;

/// A window of a batch.
#[derive(Debug, Clone)]
pub struct SparkWindowRows {
    /// The window.
    pub bounds: SparkWindowBounds,
    /// The rows of the result, of the schema that was asked for, in ascending order of their columns. Groups for which HAVING is
    /// not true are left out.
    pub rows: RecordBatch,
    /// Messages of all groups.
    pub messages: u64,
    /// Where they stand.
    pub blocks: BlockRanges,
}

/// The files of one batch. Their bytes are Parquet.
#[derive(Debug, Default)]
pub struct BatchFiles {
    files: Vec<Bytes>,
    /// Rows by window, in all files.
    windows: BTreeMap<SparkWindowBounds, u64>,
    /// Bytes that the rows take unpacked, about.
    unpacked: u64,
}

impl BatchFiles {
    /// Takes one more file.
    ///
    /// # Errors
    /// It is not one that a plan of this release makes.
    pub fn add(&mut self, file: Bytes) -> Result<(), UnknownFormat> {
        let metadata = ArrowReaderMetadata::load(&file, ArrowReaderOptions::new()).map_err(unknown)?;
        let groups = metadata.metadata().row_groups();
        self.unpacked += groups.iter().map(|group| group.total_byte_size().max(0) as u64).sum::<u64>();
        let builder = ParquetRecordBatchReaderBuilder::new_with_metadata(file.clone(), metadata);
        let mask = ProjectionMask::columns(builder.parquet_schema(), [WINDOW_START, WINDOW_END]);
        for batch in builder.with_projection(mask).with_batch_size(BATCH_ROWS).build().map_err(unknown)? {
            let batch = batch.map_err(unknown)?;
            let (starts, ends) = (instants(&batch, WINDOW_START)?, instants(&batch, WINDOW_END)?);
            for bounds in starts.values().iter().copied().zip(ends.values().iter().copied()) {
                *self.windows.entry(bounds).or_default() += 1;
            }
        }
        self.files.push(file);
        Ok(())
    }

    /// The windows, oldest first.
    pub fn windows(&self) -> impl Iterator<Item = SparkWindowBounds> + '_ {
        self.windows.keys().copied()
    }

    /// The windows in runs whose rows take about `limit` bytes each, or are one window.
    pub fn runs(&self, limit: u64) -> Vec<Vec<SparkWindowBounds>> {
        let rows: u64 = self.windows.values().sum();
        let of_row = self.unpacked / rows.max(1) + 1;
        let mut runs: Vec<(u64, Vec<SparkWindowBounds>)> = Vec::new();
        for (bounds, rows) in &self.windows {
            let bytes = rows * of_row;
            match runs.last_mut() {
                Some((taken, run)) if *taken + bytes <= limit => {
                    *taken += bytes;
                    run.push(*bounds);
                }
                _ => runs.push((bytes, vec![*bounds])),
            }
        }
        runs.into_iter().map(|(_, run)| run).collect()
    }

    /// The rows of some windows, with the columns of `output`, by their names.
    ///
    /// # Errors
    /// The files do not have these columns, or a value does not fit its column's type.
    pub fn read(
        &self,
        windows: &[SparkWindowBounds],
        output: &SchemaRef,
    ) -> Result<Vec<SparkWindowRows>, UnknownFormat> {
        let mut parts: BTreeMap<SparkWindowBounds, Part> =
            windows.iter().map(|bounds| (*bounds, Part::default())).collect();
        for file in &self.files {
            let builder = ParquetRecordBatchReaderBuilder::try_new(file.clone()).map_err(unknown)?;
            for batch in builder.with_batch_size(BATCH_ROWS).build().map_err(unknown)? {
                take(&batch.map_err(unknown)?, output, &mut parts)?;
            }
        }
        parts.into_iter().map(|(bounds, part)| part.into_rows(bounds, output)).collect()
    }
}

#[derive(Default)]
struct Part {
    rows: Vec<RecordBatch>,
    messages: u64,
    blocks: BlockRanges,
}

impl Part {
    fn into_rows(self, bounds: SparkWindowBounds, output: &SchemaRef) -> Result<SparkWindowRows, UnknownFormat> {
        let rows = concat_batches(output, &self.rows).map_err(unknown)?;
        let columns = rows.columns().iter().map(|values| SortColumn { values: Arc::clone(values), options: None });
        let order = lexsort_to_indices(&columns.collect::<Vec<_>>(), None).map_err(unknown)?;
        let rows = take_record_batch(&rows, &order).map_err(unknown)?;
        Ok(SparkWindowRows { bounds, rows, messages: self.messages, blocks: self.blocks })
    }
}

/// Adds the rows of `batch` to the windows that are wanted.
fn take(
    batch: &RecordBatch,
    output: &SchemaRef,
    parts: &mut BTreeMap<SparkWindowBounds, Part>,
) -> Result<(), UnknownFormat> {
    let (starts, ends) = (instants(batch, WINDOW_START)?, instants(batch, WINDOW_END)?);
    let having = column(batch, SPARK_HAVING)?;
    let having: &BooleanArray = having.as_boolean_opt().ok_or_else(|| wrong_type(SPARK_HAVING))?;
    let messages = column(batch, SPARK_MESSAGES)?;
    let messages: &Int64Array = messages.as_primitive_opt::<Int64Type>().ok_or_else(|| wrong_type(SPARK_MESSAGES))?;
    let blocks = column(batch, SPARK_BLOCKS)?;
    let blocks = blocks.as_list_opt::<i32>().ok_or_else(|| wrong_type(SPARK_BLOCKS))?;
    let mut chosen: BTreeMap<SparkWindowBounds, Vec<u32>> = BTreeMap::new();
    for row in 0..batch.num_rows() {
        let bounds = (starts.value(row), ends.value(row));
        let Some(part) = parts.get_mut(&bounds) else { continue };
        part.messages += messages.value(row).max(0) as u64;
        add_blocks(&mut part.blocks, &blocks.value(row))?;
        if having.is_valid(row) && having.value(row) {
            chosen.entry(bounds).or_default().push(row as u32);
        }
    }
    if chosen.is_empty() {
        return Ok(());
    }
    let columns = output.fields().iter().map(|field| {
        let values = column(batch, field.name())?;
        let options = CastOptions { safe: false, ..CastOptions::default() };
        cast_with_options(values, field.data_type(), &options).map_err(unknown)
    });
    let columns: Vec<ArrayRef> = columns.collect::<Result<_, _>>()?;
    let all = RecordBatch::try_new(Arc::clone(output), columns).map_err(unknown)?;
    for (bounds, rows) in chosen {
        let rows = take_record_batch(&all, &UInt32Array::from(rows)).map_err(unknown)?;
        if let Some(part) = parts.get_mut(&bounds) {
            part.rows.push(rows);
        }
    }
    Ok(())
}

/// Adds `array<struct<topic, partition, block>>` of one group.
fn add_blocks(ranges: &mut BlockRanges, blocks: &ArrayRef) -> Result<(), UnknownFormat> {
    let wrong = || wrong_type(SPARK_BLOCKS);
    let blocks: &StructArray = blocks.as_struct_opt().ok_or_else(wrong)?;
    let [topics, partitions, numbers] = blocks.columns() else { return Err(wrong()) };
    let topics: &StringArray = topics.as_string_opt().ok_or_else(wrong)?;
    let partitions = partitions.as_primitive_opt::<Int32Type>().ok_or_else(wrong)?;
    let numbers = numbers.as_primitive_opt::<Int64Type>().ok_or_else(wrong)?;
    for at in 0..blocks.len() {
        let (partition, number) = (partitions.value(at), numbers.value(at));
        let topic = match ranges.get_mut(topics.value(at)) {
            Some(known) => known,
            None => ranges.entry(topics.value(at).to_owned()).or_default(),
        };
        let (first, last) = topic.entry(partition).or_insert((number, number));
        (*first, *last) = ((*first).min(number), (*last).max(number));
    }
    Ok(())
}

/// The offsets of a range of blocks, first and last.
pub fn offsets_of_blocks((first, last): (i64, i64)) -> (i64, i64) {
    (first * SPARK_BLOCK, (last + 1) * SPARK_BLOCK - 1)
}

fn instants<'a>(
    batch: &'a RecordBatch,
    name: &str,
) -> Result<&'a arrow::array::PrimitiveArray<TimestampMicrosecondType>, UnknownFormat> {
    let values = column(batch, name)?;
    match values.data_type() {
        DataType::Timestamp(TimeUnit::Microsecond, _) if values.null_count() == 0 => Ok(values.as_primitive()),
        _ => Err(wrong_type(name)),
    }
}

fn column<'a>(batch: &'a RecordBatch, name: &str) -> Result<&'a ArrayRef, UnknownFormat> {
    batch.column_by_name(name).ok_or_else(|| UnknownFormat::new(WHAT, format!("it has no column {name}")))
}

fn wrong_type(name: &str) -> UnknownFormat {
    UnknownFormat::new(WHAT, format!("column {name} has another type"))
}

fn unknown(error: impl ToString) -> UnknownFormat {
    UnknownFormat::new(WHAT, error)
}
