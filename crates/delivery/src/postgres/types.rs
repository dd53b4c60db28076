//! PostgreSQL's types for Arrow's.

use arrow::datatypes::{DataType, TimeUnit};

/// A column's type in PostgreSQL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PgType {
    Text,
    Int4,
    Int8,
    Float8,
    Bool,
    Numeric {
        precision: u8,
        scale: u8,
    },
    Date,
    /// An instant.
    TimestampTz,
    /// A local time.
    Timestamp,
}

impl PgType {
    /// The type for an Arrow type, if there is one.
    pub(super) fn of(arrow: &DataType) -> Option<Self> {
        Some(match arrow {
            DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => PgType::Text,
            DataType::Dictionary(_, values) => match PgType::of(values)? {
                PgType::Text => PgType::Text,
                _ => return None,
            },
            DataType::Int32 => PgType::Int4,
            DataType::Int64 => PgType::Int8,
            DataType::Float64 => PgType::Float8,
            DataType::Boolean => PgType::Bool,
            DataType::Decimal128(precision, scale) => {
                PgType::Numeric { precision: *precision, scale: u8::try_from(*scale).ok()? }
            }
            DataType::Date32 => PgType::Date,
            DataType::Timestamp(TimeUnit::Microsecond, Some(_)) => PgType::TimestampTz,
            DataType::Timestamp(TimeUnit::Microsecond, None) => PgType::Timestamp,
            _ => return None,
        })
    }

    /// Its name, as the server's `format_type` writes it.
    pub(super) fn sql(self) -> String {
        match self {
            PgType::Text => "text".into(),
            PgType::Int4 => "integer".into(),
            PgType::Int8 => "bigint".into(),
            PgType::Float8 => "double precision".into(),
            PgType::Bool => "boolean".into(),
            PgType::Numeric { precision, scale } => format!("numeric({precision},{scale})"),
            PgType::Date => "date".into(),
            PgType::TimestampTz => "timestamp with time zone".into(),
            PgType::Timestamp => "timestamp without time zone".into(),
        }
    }

    /// Whether a column of the type `existing` can hold every value unchanged.
    pub(super) fn fits(self, existing: &str) -> bool {
        existing == self.sql()
            || match self {
                PgType::Text => existing == "character varying",
                PgType::Int4 => existing == "bigint" || existing == "numeric",
                PgType::Int8 | PgType::Numeric { .. } => existing == "numeric",
                _ => false,
            }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_arrow_type_of_a_table_has_a_postgresql_type() {
        let dictionary = DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8));
        for (arrow, sql) in [
            (DataType::Utf8View, "text"),
            (dictionary, "text"),
            (DataType::Int32, "integer"),
            (DataType::Decimal128(20, 3), "numeric(20,3)"),
            (DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())), "timestamp with time zone"),
            (DataType::Timestamp(TimeUnit::Microsecond, None), "timestamp without time zone"),
        ] {
            assert_eq!(PgType::of(&arrow).unwrap().sql(), sql);
        }
        assert_eq!(PgType::of(&DataType::Timestamp(TimeUnit::Second, None)), None);
        assert_eq!(PgType::of(&DataType::Decimal128(5, -2)), None);
    }

    #[test]
    fn a_wider_column_fits_and_a_narrower_one_does_not() {
        assert!(PgType::Int4.fits("bigint") && !PgType::Int8.fits("integer"));
        assert!(PgType::Text.fits("character varying") && !PgType::Text.fits("character varying(10)"));
        assert!(PgType::Numeric { precision: 10, scale: 2 }.fits("numeric"));
        assert!(!PgType::TimestampTz.fits("timestamp without time zone"));
    }
}
