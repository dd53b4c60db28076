//! The types that columns are decoded to.

use arrow::datatypes::{DataType, TimeUnit};
use turnstile_pipeline::TimestampPattern;

/// The name of the timestamp type.
pub(crate) const TIMESTAMP: &str = "timestamp";

/// The type of a column to build.
#[derive(Debug, Clone)]
pub(crate) enum ColumnType {
    Text,
    Int,
    Long,
    Double,
    Boolean,
    Timestamp(TimestampPattern, chrono_tz::Tz),
}

impl ColumnType {
    /// The type's name as the pipeline file writes it.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Text => "string",
            Self::Int => "int",
            Self::Long => "long",
            Self::Double => "double",
            Self::Boolean => "boolean",
            Self::Timestamp(..) => TIMESTAMP,
        }
    }

    /// The Arrow type.
    pub(crate) fn data_type(&self) -> DataType {
        match self {
            Self::Text => DataType::Utf8View,
            Self::Int => DataType::Int32,
            Self::Long => DataType::Int64,
            Self::Double => DataType::Float64,
            Self::Boolean => DataType::Boolean,
            Self::Timestamp(_, zone) => DataType::Timestamp(TimeUnit::Microsecond, Some(zone.name().into())),
        }
    }
}
