//! Columns in BigQuery's terms.

use arrow::datatypes::{DataType, Field, TimeUnit};
use serde_json::{Value, json};

use crate::change::TargetTable;

/// A decimal's digits before and after the point that NUMERIC and BIGNUMERIC hold. Source: BigQuery's "Data types".
const NUMERIC: (i16, i16) = (29, 9);
const BIGNUMERIC: (i16, i16) = (38, 38);

/// BigQuery's name for an Arrow type, as the API writes it; `None` if there is none.
pub(super) fn type_name(kind: &DataType) -> Option<&'static str> {
    Some(match kind {
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => "STRING",
        DataType::Int8 | DataType::Int16 | DataType::Int32 | DataType::Int64 => "INTEGER",
        DataType::UInt8 | DataType::UInt16 | DataType::UInt32 => "INTEGER",
        DataType::Float32 | DataType::Float64 => "FLOAT",
        DataType::Boolean => "BOOLEAN",
        DataType::Date32 => "DATE",
        DataType::Timestamp(TimeUnit::Microsecond, Some(_)) => "TIMESTAMP",
        DataType::Timestamp(TimeUnit::Microsecond, None) => "DATETIME",
        DataType::Decimal128(precision, scale) => {
            let (whole, scale) = (i16::from(*precision) - i16::from(*scale), i16::from(*scale));
            let fits = |(w, s): (i16, i16)| whole <= w && (0..=s).contains(&scale);
            if fits(NUMERIC) {
                "NUMERIC"
            } else if fits(BIGNUMERIC) {
                "BIGNUMERIC"
            } else {
                return None;
            }
        }
        _ => return None,
    })
}

/// The schema of a table: keys and the window's column are REQUIRED in the table itself, no column in its staging tables.
pub(super) fn schema(table: &TargetTable, required: &[&str]) -> Value {
    let fields = table.schema.fields().iter().map(|field| column(field, required.contains(&field.name().as_str())));
    json!({ "fields": fields.collect::<Vec<_>>() })
}

/// One column. Its `description` is the field's metadata of that name.
pub(super) fn column(field: &Field, required: bool) -> Value {
    let mut column = json!({
        "name": field.name(),
        "type": type_name(field.data_type()).unwrap_or("STRING"),
        "mode": if required { "REQUIRED" } else { "NULLABLE" },
    });
    if let Some(description) = field.metadata().get("description") {
        column["description"] = json!(description);
    }
    if let DataType::Decimal128(precision, scale) = field.data_type() {
        column["precision"] = json!(precision.to_string());
        column["scale"] = json!(scale.to_string());
    }
    column
}

/// The first column in which `have` (a table's schema as BigQuery reports it) differs from `want`.
pub(super) fn difference(want: &Value, have: &Value) -> Option<String> {
    let columns = |schema: &Value| schema["fields"].as_array().cloned().unwrap_or_default();
    let (want, have) = (columns(want), columns(have));
    for column in &want {
        let name = column["name"].as_str().unwrap_or_default();
        let Some(found) = have.iter().find(|other| same_name(other, name)) else {
            return Some(format!("column {name} should be {} and is missing", describe_type(column)));
        };
        if describe_type(found) != describe_type(column) {
            return Some(format!("column {name} should be {} and is {}", describe_type(column), describe_type(found)));
        }
    }
    let extra = have.iter().find(|column| !want.iter().any(|w| same_name(w, column["name"].as_str().unwrap_or(""))))?;
    Some(format!(
        "column {} is {} and should not be there",
        extra["name"].as_str().unwrap_or_default(),
        describe_type(extra)
    ))
}

fn same_name(column: &Value, name: &str) -> bool {
    column["name"].as_str().is_some_and(|other| other.eq_ignore_ascii_case(name))
}

/// The type with its mode, legacy and current type names treated alike. Precision is left out: not every service reports it.
fn describe_type(column: &Value) -> String {
    let kind = match column["type"].as_str().unwrap_or_default() {
        "INT64" => "INTEGER",
        "FLOAT64" => "FLOAT",
        "BOOL" => "BOOLEAN",
        other => other,
    };
    match column["mode"].as_str() {
        Some("REQUIRED") => format!("{kind} REQUIRED"),
        Some("REPEATED") => format!("{kind} REPEATED"),
        _ => kind.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_instant_and_a_local_time_have_different_types() {
        assert_eq!(type_name(&DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))), Some("TIMESTAMP"));
        assert_eq!(type_name(&DataType::Timestamp(TimeUnit::Microsecond, None)), Some("DATETIME"));
        assert_eq!(type_name(&DataType::Timestamp(TimeUnit::Nanosecond, None)), None);
    }

    #[test]
    fn a_decimal_takes_the_smallest_type_that_holds_it() {
        assert_eq!(type_name(&DataType::Decimal128(38, 9)), Some("NUMERIC"));
        assert_eq!(type_name(&DataType::Decimal128(38, 0)), Some("BIGNUMERIC"));
        assert_eq!(type_name(&DataType::Decimal128(38, 10)), Some("BIGNUMERIC"));
        assert_eq!(type_name(&DataType::Decimal128(10, -2)), None);
    }

    #[test]
    fn a_different_column_is_named_with_both_types() {
        let want = json!({"fields": [{"name": "n", "type": "INTEGER"}, {"name": "k", "type": "STRING"}]});
        let have = json!({"fields": [{"name": "N", "type": "INT64"}, {"name": "k", "type": "FLOAT64"}]});
        assert_eq!(difference(&want, &have).unwrap(), "column k should be STRING and is FLOAT");
        assert_eq!(difference(&want, &want), None);
        let more = json!({"fields": [{"name": "n", "type": "INTEGER"}, {"name": "k", "type": "STRING"},
            {"name": "x", "type": "DATE"}]});
        assert_eq!(difference(&want, &more).unwrap(), "column x is DATE and should not be there");
        assert_eq!(difference(&more, &want).unwrap(), "column x should be DATE and is missing");
    }
}
