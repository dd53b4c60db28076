//! The types that columns are decoded to.

use std::borrow::Cow;

use turnstile_pipeline::TimestampFormat;

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
    /// Digits in all, and after the point.
    Decimal(u8, i8),
    Timestamp(TimestampFormat, chrono_tz::Tz),
}

impl ColumnType {
    /// The type's name as the pipeline file writes it.
    pub(crate) fn name(&self) -> Cow<'static, str> {
        Cow::Borrowed(match self {
            Self::Text => "string",
            Self::Int => "int",
            Self::Long => "long",
            Self::Double => "double",
            Self::Boolean => "boolean",
            Self::Timestamp(..) => TIMESTAMP,
            Self::Decimal(precision, scale) => return Cow::Owned(format!("decimal({precision},{scale})")),
        })
    }
}
