//! Functions that models use beside DataFusion's own.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, StringViewBuilder};
use arrow::datatypes::DataType;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use datafusion::common::Result;
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility};
use md5::{Digest, Md5};
use turnstile_values::human;

/// `surrogate_key(a, b, …)`: the MD5 of the values as text, joined by `-`, in 32 hexadecimal digits.
///
/// A null counts as `_dbt_utils_surrogate_key_null_`; an instant is `YYYY-MM-DD HH:MM:SS` in UTC. The same as
/// `dbt_utils.generate_surrogate_key` gives where the warehouse casts to text the same way.
pub(crate) fn surrogate_key() -> ScalarUDF {
    ScalarUDF::from(SurrogateKey { signature: Signature::variadic_any(Volatility::Immutable) })
}

const NULL: &str = "_dbt_utils_surrogate_key_null_";

/// Without a `Z`, as databases cast instants to text.
const FORMAT: FormatOptions<'static> = FormatOptions::new()
    .with_timestamp_format(Some("%Y-%m-%d %H:%M:%S%.f"))
    .with_timestamp_tz_format(Some("%Y-%m-%d %H:%M:%S%.f"));

#[derive(Debug, PartialEq, Eq, Hash)]
struct SurrogateKey {
    signature: Signature,
}

impl ScalarUDFImpl for SurrogateKey {
    fn name(&self) -> &str {
        "surrogate_key"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Utf8View)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let columns: Vec<ArrayRef> =
            args.args.iter().map(|value| value.to_array(args.number_rows)).collect::<Result<_>>()?;
        let texts: Vec<ArrayFormatter<'_>> = columns
            .iter()
            .map(|column| ArrayFormatter::try_new(column.as_ref(), &FORMAT))
            .collect::<std::result::Result<_, _>>()?;
        let mut keys = StringViewBuilder::with_capacity(args.number_rows);
        let mut joined = String::new();
        for row in 0..args.number_rows {
            joined.clear();
            for (at, (column, text)) in columns.iter().zip(&texts).enumerate() {
                if at > 0 {
                    joined.push('-');
                }
                if column.data_type().is_null() || column.is_null(row) {
                    joined.push_str(NULL);
                } else {
                    text.value(row).write(&mut joined)?;
                }
            }
            keys.append_value(human::hex(&Md5::digest(joined.as_bytes())));
        }
        Ok(ColumnarValue::Array(Arc::new(keys.finish())))
    }
}

#[cfg(test)]
mod tests {
    use datafusion::prelude::SessionContext;

    use super::*;

    async fn query(sql: &str) -> String {
        let session = SessionContext::new();
        session.register_udf(surrogate_key());
        let rows = session.sql(sql).await.unwrap().collect().await.unwrap();
        ArrayFormatter::try_new(rows[0].column(0), &FORMAT).unwrap().value(0).to_string()
    }

    #[tokio::test]
    async fn it_is_the_md5_of_the_joined_texts() {
        // printf 'R001-A001-7' | md5sum
        assert_eq!(query("SELECT surrogate_key('R001', 'A001', 7)").await, "6ccfe843ce8bd9e80841aeb83db752a5");
    }

    #[tokio::test]
    async fn an_instant_is_text_in_utc_and_null_is_not_the_empty_text() {
        let instant = "arrow_cast('2026-08-01T08:05:00Z', 'Timestamp(Microsecond, Some(\"UTC\"))')";
        assert_eq!(
            query(&format!("SELECT surrogate_key({instant}) = surrogate_key('2026-08-01 08:05:00')")).await,
            "true"
        );
        assert_eq!(query("SELECT surrogate_key(NULL, 'a') = surrogate_key('', 'a')").await, "false");
    }
}
