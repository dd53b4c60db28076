//! The types that columns of models' tables have, and their names in the record.

use arrow::datatypes::{DataType, TimeUnit};

use crate::source::timestamp_type;

/// Types without parameters, with their names in the record.
const TYPES: [(&str, DataType); 7] = [
    ("text", DataType::Utf8View),
    ("int8", DataType::Int64),
    ("int4", DataType::Int32),
    ("float8", DataType::Float64),
    ("bool", DataType::Boolean),
    ("date", DataType::Date32),
    ("timestamp", DataType::Timestamp(TimeUnit::Microsecond, None)),
];

/// The name of a table's type; `None` for one that tables do not have.
pub(crate) fn type_name(kind: &DataType) -> Option<String> {
    if *kind == timestamp_type() {
        return Some("timestamptz".to_owned());
    }
    if let DataType::Decimal128(precision, scale) = kind {
        return Some(format!("decimal({precision},{scale})"));
    }
    TYPES.iter().find(|(_, known)| known == kind).map(|(name, _)| (*name).to_owned())
}

pub(super) fn parse_type(name: &str) -> Option<DataType> {
    if name == "timestamptz" {
        return Some(timestamp_type());
    }
    if let Some(inner) = name.strip_prefix("decimal(").and_then(|rest| rest.strip_suffix(')')) {
        let (precision, scale) = inner.split_once(',')?;
        return Some(DataType::Decimal128(precision.parse().ok()?, scale.parse().ok()?));
    }
    TYPES.iter().find(|(known, _)| *known == name).map(|(_, kind)| kind.clone())
}

/// The type that a table stores for a column that a query computes as `kind`; `None` when it has none.
pub(crate) fn storage_type(kind: &DataType) -> Option<DataType> {
    use DataType::*;
    Some(match kind {
        Utf8 | LargeUtf8 | Utf8View => Utf8View,
        Dictionary(_, value) => storage_type(value)?,
        Int8 | Int16 | UInt8 | UInt16 | Int32 => Int32,
        // Counts and sums of unsigned numbers come as these; they do not leave 63 bits.
        UInt32 | UInt64 | Int64 => Int64,
        Float16 | Float32 | Float64 => Float64,
        Boolean | Date32 | Decimal128(_, _) => kind.clone(),
        Date64 => Date32,
        Timestamp(_, Some(_)) => timestamp_type(),
        Timestamp(_, None) => Timestamp(TimeUnit::Microsecond, None),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::new_null_array;
    use arrow::datatypes::{Field, Schema};
    use arrow::record_batch::RecordBatch;
    use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

    use super::*;
    use crate::store::encode;

    /// pyarrow 14 and older Arrow libraries refuse a file whose stored schema names a view.
    #[test]
    fn a_table_s_file_has_no_type_that_older_readers_refuse() {
        let decimal = [("decimal", DataType::Decimal128(38, 10)), ("timestamptz", timestamp_type())];
        for (name, kind) in TYPES.into_iter().chain(decimal) {
            let schema = Arc::new(Schema::new(vec![Field::new("x", kind.clone(), true)]));
            let batch = RecordBatch::try_new(schema.clone(), vec![new_null_array(&kind, 2)]).unwrap();
            let file = ParquetRecordBatchReaderBuilder::try_new(encode(&schema, &[batch]).unwrap()).unwrap();
            let stored = if name == "text" { DataType::Utf8 } else { kind };
            assert_eq!(*file.schema().field(0).data_type(), stored, "{name}");
        }
    }

    #[test]
    fn every_type_that_is_stored_has_a_name_that_leads_back() {
        for kind in [
            DataType::Utf8,
            DataType::UInt64,
            DataType::Int8,
            DataType::Float32,
            DataType::Boolean,
            DataType::Date64,
            DataType::Decimal128(12, 2),
            DataType::Timestamp(TimeUnit::Nanosecond, None),
            DataType::Timestamp(TimeUnit::Second, Some("America/New_York".into())),
        ] {
            let kept = storage_type(&kind).unwrap();
            assert_eq!(parse_type(&type_name(&kept).unwrap()), Some(kept), "{kind}");
        }
        assert_eq!(storage_type(&DataType::Binary), None);
    }
}
