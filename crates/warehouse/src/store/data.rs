//! The files of tables: Parquet, written whole.

use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;
use arrow::record_batch::RecordBatch;
use bytes::Bytes;
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::WriterProperties;
use turnstile_lake::{FileEncoding, portable_schema};

/// Rows a row group: what one core reads at a time.
const ROW_GROUP: usize = 131_072;

/// The bytes of a file with these rows, whose types are those that older Parquet readers know too.
pub(crate) fn encode(schema: &SchemaRef, batches: &[RecordBatch]) -> Result<Bytes, ArrowError> {
    let properties = WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::default()))
        .set_max_row_group_row_count(Some(ROW_GROUP))
        .set_created_by("turnstile".to_owned())
        .build();
    let stored = portable_schema(schema);
    let mut writer = ArrowWriter::try_new(Vec::new(), stored, Some(properties)).map_err(ArrowError::from)?;
    for batch in batches {
        writer.write(batch).map_err(ArrowError::from)?;
    }
    Ok(writer.into_inner().map_err(ArrowError::from)?.into())
}

/// How names of tables' files end. Not as the lake's data files do: a reader of all Parquet files below the lake's root
/// would count tables' rows beside those that they were computed from.
const EXTENSION: &str = "table";

/// A name that no other attempt uses: number of the load to be, a nonce, a number within the load.
pub(crate) fn new_name(root: &str, table: &str, load: u64, nonce: &str, number: usize) -> String {
    format!("{root}/tables/{table}/{load:020}-{nonce}-{number}.{EXTENSION}")
}

/// Whether a table's file has the name of a data file, as those of earlier releases had.
pub(crate) fn is_named_as_data(name: &str) -> bool {
    FileEncoding::of(name).is_some()
}

/// The number of the load that a file was written for.
pub(super) fn load_of(name: &str) -> Option<u64> {
    name.rsplit('/').next()?.get(..20)?.parse().ok()
}
