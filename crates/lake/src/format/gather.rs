//! Rows of several files of one format, gathered unchanged into one file.
//!
//! In: whole files, and which of their rows. Out: one file of the same format, with the rows in input order.
//! A file's compressed bytes are held while its rows are read; rows are decompressed one batch at a time.

use std::io::{BufRead, BufReader, Write};

use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use bytes::Bytes;
use flate2::read::MultiGzDecoder;
use flate2::write::GzEncoder;
use flate2::{Compression, GzBuilder};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder,
};

use super::portable::portable_schema;
use super::{FileEncoding, FormatError};

/// FileRows that are unpacked at a time.
const BATCH_ROWS: usize = 8_192;

/// gzip level of gathered CSV files: they are written once and kept for long.
const GZIP_LEVEL: u32 = 6;

/// A file's rows, taken from the first to the last.
pub(crate) enum FileRows {
    Csv { bytes: Bytes, reader: Box<BufReader<MultiGzDecoder<bytes::buf::Reader<Bytes>>>>, header: Vec<u8>, at: u64 },
    Parquet { bytes: Bytes, reader: ParquetRecordBatchReader, schema: SchemaRef, left: Option<RecordBatch>, at: u64 },
}

/// A file in the making.
pub(crate) enum Gather {
    Csv { header: Option<Vec<u8>>, packed: GzEncoder<Vec<u8>> },
    Parquet { schema: Option<SchemaRef>, writer: Option<ArrowWriter<Vec<u8>>> },
}

impl Gather {
    /// An empty file.
    pub(crate) fn new(format: FileEncoding) -> Self {
        match format {
            FileEncoding::CsvGz => {
                let gzip = GzBuilder::new().mtime(0).operating_system(255);
                Self::Csv { header: None, packed: gzip.write(Vec::new(), Compression::new(GZIP_LEVEL)) }
            }
            FileEncoding::Parquet => Self::Parquet { schema: None, writer: None },
        }
    }

    /// Takes `rows` rows of a file, from its row `first` on.
    ///
    /// # Errors
    /// `Decode`: the file is not of the format, has fewer rows, or other columns than the files before.
    pub(crate) fn take(&mut self, from: &mut FileRows, first: u64, rows: u64) -> Result<(), FormatError> {
        from.seek(first)?;
        match (self, from) {
            (Self::Csv { header, packed }, FileRows::Csv { reader, header: columns, at, .. }) => {
                same_columns(header, columns, packed)?;
                let mut record = Vec::new();
                for _ in 0..rows {
                    next_record(reader, &mut record)?;
                    packed.write_all(&record).map_err(FormatError::decode)?;
                    *at += 1;
                }
                Ok(())
            }
            (Self::Parquet { schema, writer }, FileRows::Parquet { reader, schema: columns, left, at, .. }) => {
                let known = schema.get_or_insert_with(|| columns.clone());
                if known != columns {
                    return Err(other_columns(&format!("{:?}", names(known)), &format!("{:?}", names(columns))));
                }
                let writer = match writer {
                    Some(writer) => writer,
                    none => none.insert(super::parquet::large_writer(columns.clone()).map_err(FormatError::decode)?),
                };
                let mut missing = rows;
                while missing > 0 {
                    let batch = next_batch(reader, left, missing)?;
                    missing -= batch.num_rows() as u64;
                    *at += batch.num_rows() as u64;
                    writer.write(&batch).map_err(FormatError::decode)?;
                }
                Ok(())
            }
            _ => Err(FormatError::decode("its format differs from that of the files before it")),
        }
    }

    /// The file.
    ///
    /// # Errors
    /// `Decode`: nothing was taken.
    pub(crate) fn finish(self) -> Result<Vec<u8>, FormatError> {
        match self {
            Self::Csv { packed, .. } => packed.finish().map_err(FormatError::decode),
            Self::Parquet { writer: Some(writer), .. } => writer.into_inner().map_err(FormatError::decode),
            Self::Parquet { writer: None, .. } => Err(FormatError::decode("it has no rows")),
        }
    }
}

impl FileRows {
    /// Opens a file.
    ///
    /// # Errors
    /// `Decode`: the bytes are not a file of the format.
    pub(crate) fn open(format: FileEncoding, bytes: Bytes) -> Result<Self, FormatError> {
        match format {
            FileEncoding::CsvGz => {
                let unpacked = MultiGzDecoder::new(bytes::Buf::reader(bytes.clone()));
                let mut reader = Box::new(BufReader::new(unpacked));
                let mut header = Vec::new();
                next_record(&mut reader, &mut header)?;
                Ok(Self::Csv { bytes, reader, header, at: 0 })
            }
            FileEncoding::Parquet => {
                let stored =
                    ArrowReaderMetadata::load(&bytes, ArrowReaderOptions::new()).map_err(FormatError::decode)?;
                // Batches bear the file's schema without annotations; what is written must too. Earlier releases stored
                // text as views: their files and newer ones have the same columns.
                let schema = portable_schema(&stored.schema().as_ref().clone().with_metadata(Default::default()));
                let options = ArrowReaderOptions::new().with_schema(schema.clone());
                let stored =
                    ArrowReaderMetadata::try_new(stored.metadata().clone(), options).map_err(FormatError::decode)?;
                let builder = ParquetRecordBatchReaderBuilder::new_with_metadata(bytes.clone(), stored);
                let reader = builder.with_batch_size(BATCH_ROWS).build().map_err(FormatError::decode)?;
                Ok(Self::Parquet { bytes, reader, schema, left: None, at: 0 })
            }
        }
    }

    /// Goes to a row. Back only by beginning again.
    fn seek(&mut self, row: u64) -> Result<(), FormatError> {
        if row < self.at() {
            *self = match self {
                Self::Csv { bytes, .. } => Self::open(FileEncoding::CsvGz, bytes.clone())?,
                Self::Parquet { bytes, .. } => Self::open(FileEncoding::Parquet, bytes.clone())?,
            };
        }
        match self {
            Self::Csv { reader, at, .. } => {
                let mut record = Vec::new();
                while *at < row {
                    next_record(reader, &mut record)?;
                    *at += 1;
                }
            }
            Self::Parquet { reader, left, at, .. } => {
                while *at < row {
                    *at += next_batch(reader, left, row - *at)?.num_rows() as u64;
                }
            }
        }
        Ok(())
    }

    fn at(&self) -> u64 {
        match self {
            Self::Csv { at, .. } | Self::Parquet { at, .. } => *at,
        }
    }
}

/// The first file's header is the gathered one's; the others' must be the same.
fn same_columns(header: &mut Option<Vec<u8>>, columns: &[u8], packed: &mut impl Write) -> Result<(), FormatError> {
    match header {
        Some(known) if known == columns => Ok(()),
        Some(known) => Err(other_columns(&String::from_utf8_lossy(known), &String::from_utf8_lossy(columns))),
        None => {
            packed.write_all(columns).map_err(FormatError::decode)?;
            *header = Some(columns.to_vec());
            Ok(())
        }
    }
}

/// One record with its line end: lines, except for line ends within quotes.
fn next_record(reader: &mut impl BufRead, record: &mut Vec<u8>) -> Result<(), FormatError> {
    record.clear();
    loop {
        if reader.read_until(b'\n', record).map_err(FormatError::decode)? == 0 {
            if record.is_empty() {
                return Err(FormatError::decode("it has fewer rows than the ledger says"));
            }
            // A last line without an end.
            record.push(b'\n');
            return Ok(());
        }
        let quotes = record.iter().filter(|byte| **byte == b'"').count();
        if record.ends_with(b"\n") && quotes % 2 == 0 {
            return Ok(());
        }
    }
}

/// Some of the next rows, at most `most`.
fn next_batch(
    reader: &mut ParquetRecordBatchReader,
    left: &mut Option<RecordBatch>,
    most: u64,
) -> Result<RecordBatch, FormatError> {
    let batch = match left.take() {
        Some(batch) => batch,
        None => match reader.next() {
            Some(batch) => batch.map_err(FormatError::decode)?,
            None => return Err(FormatError::decode("it has fewer rows than the ledger says")),
        },
    };
    let most = usize::try_from(most).unwrap_or(usize::MAX);
    if batch.num_rows() <= most {
        return Ok(batch);
    }
    *left = Some(batch.slice(most, batch.num_rows() - most));
    Ok(batch.slice(0, most))
}

fn names(schema: &SchemaRef) -> Vec<String> {
    schema.fields().iter().map(|field| format!("{} {}", field.name(), field.data_type())).collect()
}

fn other_columns(known: &str, found: &str) -> FormatError {
    let (known, found) = (known.trim_end(), found.trim_end());
    FormatError::decode(format!("its columns are {found}; those of the files before it are {known}"))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, Int64Array, StringArray};
    use arrow::compute::concat_batches;
    use arrow::datatypes::DataType;
    use turnstile_values::human;

    use super::*;
    use crate::format::{EncodeOptions, count_rows, encode_window};

    fn batch(from: i64, until: i64) -> RecordBatch {
        let stations = StringArray::from_iter_values((from..until).map(|n| format!("line\n\"{n}\"")));
        RecordBatch::try_from_iter([
            ("STATION", Arc::new(stations) as ArrayRef),
            ("ENTRIES", Arc::new(Int64Array::from_iter_values(from..until))),
        ])
        .unwrap()
    }

    fn file(format: FileEncoding, batch: &RecordBatch) -> Bytes {
        encode_window(format, batch, &EncodeOptions::default()).unwrap().into()
    }

    fn gathered(format: FileEncoding) -> Vec<u8> {
        let mut gather = Gather::new(format);
        let mut large = FileRows::open(format, file(format, &batch(0, 30_000))).unwrap();
        let mut small = FileRows::open(format, file(format, &batch(-5, 0))).unwrap();
        gather.take(&mut large, 10, 20_000).unwrap();
        gather.take(&mut small, 0, 5).unwrap();
        gather.take(&mut large, 25_000, 3).unwrap();
        gather.take(&mut large, 1, 2).unwrap();
        gather.finish().unwrap()
    }

    fn expected() -> RecordBatch {
        let parts = [batch(10, 20_010), batch(-5, 0), batch(25_000, 25_003), batch(1, 3)];
        concat_batches(&parts[0].schema(), &parts).unwrap()
    }

    #[test]
    fn gathered_csv_is_the_file_that_all_rows_at_once_would_have_made() {
        let unpack = |bytes: &[u8]| std::io::read_to_string(MultiGzDecoder::new(bytes)).unwrap();
        assert!(
            unpack(&gathered(FileEncoding::CsvGz)) == unpack(&file(FileEncoding::CsvGz, &expected())),
            "other text"
        );
        assert!(gathered(FileEncoding::CsvGz) == gathered(FileEncoding::CsvGz), "the same rows give the same bytes");
    }

    #[test]
    fn gathered_parquet_holds_the_rows_in_the_order_in_which_they_came() {
        let bytes = gathered(FileEncoding::Parquet);
        assert_eq!(count_rows("x.parquet", &bytes).unwrap(), 20_010);
        assert_eq!(bytes, gathered(FileEncoding::Parquet), "the same rows give the same bytes");
        let reader = ParquetRecordBatchReader::try_new(Bytes::from(bytes), 1 << 20).unwrap();
        let read: Vec<RecordBatch> = reader.collect::<Result<_, _>>().unwrap();
        assert_eq!(concat_batches(&read[0].schema(), &read).unwrap(), expected());
    }

    #[test]
    fn files_of_releases_that_stored_text_as_views_are_gathered_with_newer_ones() {
        let views = |batch: &RecordBatch| {
            let text = arrow::compute::cast(batch.column(0), &DataType::Utf8View).unwrap();
            RecordBatch::try_from_iter([("STATION", text), ("ENTRIES", batch.column(1).clone())]).unwrap()
        };
        let old = |batch: &RecordBatch| {
            let options = EncodeOptions { text_views: true, ..EncodeOptions::default() };
            Bytes::from(encode_window(FileEncoding::Parquet, &views(batch), &options).unwrap())
        };
        for both in [
            [old(&batch(0, 5)), file(FileEncoding::Parquet, &batch(5, 9))],
            [file(FileEncoding::Parquet, &batch(0, 5)), old(&batch(5, 9))],
        ] {
            let mut gather = Gather::new(FileEncoding::Parquet);
            for (bytes, rows) in both.into_iter().zip([5, 4]) {
                let mut rows_of = FileRows::open(FileEncoding::Parquet, bytes).unwrap();
                gather.take(&mut rows_of, 0, rows).unwrap();
            }
            let bytes = Bytes::from(gather.finish().unwrap());
            let reader = ParquetRecordBatchReader::try_new(bytes, 1 << 20).unwrap();
            let read: Vec<RecordBatch> = reader.collect::<Result<_, _>>().unwrap();
            assert_eq!(concat_batches(&read[0].schema(), &read).unwrap(), batch(0, 9));
        }
    }

    #[test]
    fn files_of_other_columns_and_files_that_end_early_are_refused() {
        for format in [FileEncoding::CsvGz, FileEncoding::Parquet] {
            let mut gather = Gather::new(format);
            let mut rows = FileRows::open(format, file(format, &batch(0, 5))).unwrap();
            gather.take(&mut rows, 0, 3).unwrap();
            let error = human::error(&gather.take(&mut rows, 3, 3).unwrap_err());
            assert!(error.contains("fewer rows"), "{error}");
            let mut other = FileRows::open(format, file(format, &batch(0, 5).project(&[1]).unwrap())).unwrap();
            let error = human::error(&gather.take(&mut other, 0, 1).unwrap_err());
            assert!(error.contains("its columns are"), "{error}");
        }
    }
}
